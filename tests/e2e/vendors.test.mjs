/* SPDX-License-Identifier: MIT */
/*
 * Vendors at their own addresses, which here are names in a forward proxy's table: OpenAI speaks two
 * protocols there, and each client gets its own one as it came.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { Forward } from "./lib/forward.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";

const skip = available() ? false : "the openssl command is not installed";
const CHAT = PROTOCOLS["openai-chat"];
const RESPONSES = PROTOCOLS["openai-responses"];
const TEXT = "Hello from OpenAI";

let mock;
let via;
let proxy;

/** As api.openai.com: both protocols, by their paths. */
async function openai(ex) {
    const spoken = ex.target === "/v1/responses" ? RESPONSES : CHAT;
    if (ex.json.stream !== true) {
        await ex.json_answer(spoken.whole(ex.json.model, TEXT));
        return;
    }
    await ex.open_stream();
    await ex.write(chunk(spoken.stream(ex.json.model, TEXT)));
    await ex.write(LAST_CHUNK);
}

before(async () => {
    if (skip) {
        return;
    }
    const certs = make(temp_dir());
    mock = await Mock.start({ tls: certs.openai, fallback: openai });
    via = await Forward.start({ routes: { "api.openai.com:443": mock.port } });
    proxy = await start({ config: { ca_file: certs.ca, default_backend: "openai", retries: 0,
        backends: { openai: { api_keys: ["sk-upstream-1"] },
            elsewhere: { type: "openai", api_keys: ["sk-upstream-2"],
                api_url: "https://api.openai.com/v1" } } }, env: { HTTPS_PROXY: via.url() } });
});

after(() => stop_all(...[proxy, via, mock].filter(Boolean)));

function ask(one, model, streamed, { more = {}, headers = {} } = {}) {
    return proxy.call({ path: one.path(model, { stream: streamed }), headers,
        body: JSON.stringify({ ...one.request("hello"), model, stream: streamed, ...more }) });
}

/** Both clients: what they said but for the backend's name, and what they get, byte for byte. */
for (const [name, one] of [["Chat Completions", CHAT], ["Responses", RESPONSES]]) {
    test(`vendors: openai in ${name}: as it came, in both directions`, { skip }, async () => {
        for (const streamed of [false, true]) {
            for (const model of ["openai:m1", "m1"]) {
                const more = { store: false, unknown_member: [1.50, "x"],
                    ...(streamed && one === CHAT ? { stream_options: { include_usage: true } } :
                        {}) };
                const answer = await ask(one, model, streamed,
                    { more, headers: { "openai-beta": "x=1" } });
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.text, streamed ? one.stream("m1", TEXT) :
                    JSON.stringify(one.whole("m1", TEXT)));
                const ex = mock.posts().at(-1);
                assert.equal(ex.target, one.path());
                assert.equal(ex.get("host"), "api.openai.com");
                assert.equal(ex.get("authorization"), "Bearer sk-upstream-1");
                assert.equal(ex.get("openai-beta"), "x=1");
                assert.deepEqual(ex.json, { ...one.request("hello"), model: "m1",
                    stream: streamed, ...more });
                assert.equal(answer.get("x-llm-proxy-warnings"), undefined);
            }
        }
    });
}

test("vendors: openai: an error in Responses is the vendor's own", { skip }, async () => {
    const body = JSON.stringify({ error: { message: "no such thing", type: "invalid_request_error",
        param: "input", code: "odd" } });
    mock.next((ex) => ex.respond({ status: 400, headers: { "content-type": "application/json" },
        body }));
    const answer = await ask(RESPONSES, "openai:m1", false);
    assert.equal(answer.status, 400);
    assert.equal(answer.text, body);
    assert.equal(mock.posts().at(-1).target, "/v1/responses");
});

test("vendors: openai: clients of other protocols are translated to Chat Completions", { skip },
    async () => {
        const one = PROTOCOLS.anthropic;
        const answer = await ask(one, "openai:m1", false);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(read_answer("anthropic", answer.body, answer.get("content-type")).text, TEXT);
        assert.equal(mock.posts().at(-1).target, "/v1/chat/completions");
    });

/* What answers at another address may know Chat Completions only. */
test("vendors: openai with api_url speaks Chat Completions to Responses' clients, too", { skip },
    async () => {
        for (const streamed of [false, true]) {
            const answer = await ask(RESPONSES, "elsewhere:m1", streamed);
            assert.equal(answer.status, 200, answer.text);
            assert.equal(read_answer("openai-responses", answer.body,
                answer.get("content-type")).text, TEXT);
            assert.equal(mock.posts().at(-1).target, "/v1/chat/completions");
            assert.equal(mock.posts().at(-1).get("authorization"), "Bearer sk-upstream-2");
        }
    });
