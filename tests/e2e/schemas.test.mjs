/* SPDX-License-Identifier: MIT */
/*
 * What the proxy says by itself, held against OpenAI's and Anthropic's own documents
 * (../shared/specs): answers to commands, the demo's, errors of every kind, lists of models, kept
 * responses, numbers of tokens. (What it translates: golden, recordings, embeddings.)
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { absent, no_validator, violation, violations } from "./lib/schemas.mjs";

const skip = absent || no_validator;
const CLIENTS = ["openai-chat", "openai-responses", "anthropic"];

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { default_backend: "mock", retries: 0, json_depth_max: 16,
        backends: { mock: backend(mock), lost: { protocol: "openai-chat", api_keys: ["k"],
            api_url: "http://127.0.0.1:9/v1" } } }, args: ["--demo"] });
});

after(() => stop_all(proxy, mock));

const path_of = (client, stream = false) => PROTOCOLS[client].path("", { stream, array: false });

const ask = (client, model, text, more = {}) => proxy.chat({ model,
    ...PROTOCOLS[client].request(text), ...more }, { path: path_of(client) });

/** Its status is this, and nothing in it is against the document. */
function well_formed(client, answer, status = 200) {
    assert.equal(answer.status, status, answer.text.slice(0, 500));
    assert.deepEqual(violations(client, answer), [], answer.text.slice(0, 1000));
    return answer;
}

for (const client of CLIENTS) {
    for (const stream of [false, true]) {
        test(`schemas: ${client}, stream ${stream}: commands are answered in its form`, { skip },
            async () => {
                for (const text of ["!/help", "!/hello", "!/status", "!/set(temperature=0.5)",
                    "!/set(temperature=warm)", "!/nonsense"]) {
                    well_formed(client, await ask(client, "mock:m1", text, { stream }));
                }
            });

        test(`schemas: ${client}, stream ${stream}: the demo's models, and what they call`,
            { skip }, async () => {
                const listed = await proxy.call({ method: "GET", path: "/v1/models" });
                const names = JSON.parse(listed.text).data.map((m) => m.id)
                    .filter((id) => /^demo:(assistant|echo|tools|reason|long)$/.test(id));
                assert.ok(names.length >= 2, listed.text);
                const tool = { name: "weather", description: "Weather of a city" };
                const schema = { type: "object", properties: { city: { type: "string" } } };
                const tools = { "openai-chat": [{ type: "function", function: { ...tool,
                    parameters: schema } }], "openai-responses": [{ type: "function", ...tool,
                    parameters: schema, strict: false }],
                anthropic: [{ ...tool, input_schema: schema }] }[client];
                /* demo:long goes on for many seconds unless it is told to end. */
                const end = client === "openai-responses" ? { max_output_tokens: 100 } :
                    { max_tokens: 100 };
                await Promise.all(names.map(async (name) => well_formed(client, await ask(client,
                    name, "What is the weather in Oslo?", { stream,
                        ...(name === "demo:tools" ? { tools } : {}),
                        ...(name === "demo:long" ? end : {}) }))));
            });

        test(`schemas: ${client}, stream ${stream}: a chat of another protocol's backend`, { skip },
            async () => {
                well_formed(client, await ask(client, "mock:m1", "Hi", { stream }));
            });
    }

    test(`schemas: ${client}: errors of every kind have its form`, { skip }, async () => {
        const path = path_of(client);
        const raw = (body, more = {}) => proxy.call({ path, body, ...more });
        const deep = `{"model":"mock:m1","metadata":${"[".repeat(40)}${"]".repeat(40)}}`;
        const cases = [
            [401, () => raw("{}", { headers: { authorization: "Bearer wrong",
                "x-api-key": "wrong" } })],
            [400, () => raw("{")], [400, () => raw("[]")], [400, () => raw("{}")],
            [400, () => raw("{\"model\":\"m\",\"model\":\"n\"}")], [400, () => raw(deep)],
            [400, () => ask(client, "nobody:m", "Hi")],
            [502, () => ask(client, "lost:m", "Hi")],
            [405, () => proxy.call({ method: "PUT", path, body: "{}" })],
            [415, () => raw("x", { headers: { "content-encoding": "br" } })],
        ];
        for (const [status, call] of cases) {
            const answer = await call();
            assert.equal(answer.status, status, `${call}: ${answer.text}`);
            assert.deepEqual(violations(client, answer), [], answer.text);
        }
    });
}

test("schemas: an unknown path, and errors of opaque ones, have OpenAI's form", { skip },
    async () => {
        for (const [status, method, path] of [[404, "GET", "/v1"], [404, "POST", "/nowhere"],
            [404, "POST", "/v1/embeddings"]]) {
            const answer = await proxy.call({ method, path, ...(method === "POST" ?
                { body: "{\"model\":\"demo:echo\",\"input\":\"a\"}" } : {}) });
            well_formed("openai-chat", answer, status);
        }
    });

test("schemas: lists of models, and one of them", { skip }, async () => {
    const list = await proxy.call({ method: "GET", path: "/v1/models" });
    const value = JSON.parse(list.text);
    assert.equal(violation("openai-chat", "models", value), null);
    for (const { id } of value.data) {
        const one = await proxy.call({ method: "GET",
            path: `/v1/models/${encodeURIComponent(id)}` });
        assert.equal(one.status, 200, one.text);
        assert.equal(violation("openai-chat", "model", JSON.parse(one.text)), null);
    }
});

test("schemas: kept responses, their streams said again, and numbers of tokens", { skip },
    async () => {
        const made = well_formed("openai-responses", await ask("openai-responses", "mock:m1",
            "Hi"));
        const { id } = JSON.parse(made.text);
        well_formed("openai-responses", await proxy.call({ method: "GET",
            path: `/v1/responses/${id}` }));
        well_formed("openai-responses", await proxy.call({ method: "GET",
            path: `/v1/responses/${id}?stream=true` }));
        const next = await ask("openai-responses", "mock:m1", "And?",
            { previous_response_id: id });
        well_formed("openai-responses", next);
        const count = await proxy.chat({ model: "mock:m1", input: "Hi" },
            { path: "/v1/responses/input_tokens" });
        assert.equal(count.status, 200, count.text);
        assert.equal(violation("openai-responses", "count", JSON.parse(count.text)), null);
        const lost = await proxy.call({ method: "GET", path: "/v1/responses/resp_none" });
        well_formed("openai-responses", lost, 404);
    });

test("schemas: what is wrong is found", { skip }, () => {
    const answer = (value, more = {}) => ({ status: 200, text: JSON.stringify(value),
        body: Buffer.from(JSON.stringify(value)), get: () => "application/json", ...more });
    assert.notDeepEqual(violations("openai-chat", answer({ choices: [] })), []);
    assert.notDeepEqual(violations("openai-chat", answer({ error: "no" }, { status: 400 })), []);
    assert.notDeepEqual(violations("anthropic", answer({ type: "message" })), []);
    const events = "data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n";
    assert.notDeepEqual(violations("openai-chat", answer({}, { text: events,
        body: Buffer.from(events), get: () => "text/event-stream" })), []);
});
