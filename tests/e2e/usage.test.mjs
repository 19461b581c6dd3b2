/* SPDX-License-Identifier: MIT */
/*
 * Asking for usage where the client did not: only where the vendor's dialect has it, and then
 * exactly one frame is hidden.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach } from "node:test";

import { Mock, delta, sse, text_chunks } from "./lib/mock.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const MESSAGES = "\"messages\": [{\"role\": \"user\", \"content\": \"stream_options\"}]";
const SSE = { "content-type": "text/event-stream" };
const USAGE = { ...delta("m1", {}), choices: [],
    usage: { prompt_tokens: 11, completion_tokens: 22, total_tokens: 33 } };
const EVENTS = text_chunks("m1", ["one", " two"]);

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    const vendor = (more) => ({ type: "openai", api_url: mock.url, api_keys: ["sk-1"], ...more });
    proxy = await start({ config: { backends: { vendor: vendor(), old: vendor(),
        off: vendor({ quirks: false }), plain: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
    mock.requests.length = 0;
});

const stream = (model, more = "") => `{"model":"${model}", "stream": true, ${MESSAGES}${more}}`;
const up = () => mock.posts().at(-1);

/** The answer that the upstream gives to a request with usage. */
function with_usage(events = EVENTS) {
    return sse([...events, USAGE]);
}

function answers(body, cuts = 8) {
    mock.next((ex) => ex.respond({ headers: SSE, framing: "chunked", body, cuts,
        rng: random("usage") }));
}

async function counted(name) {
    const text = await proxy.counted();
    const line = text.split("\n").find((l) => l.startsWith(`llm_proxy_tokens_${name}_total{`) &&
        l.includes("\"vendor\""));
    return Number(line?.split(" ")[1] ?? 0);
}

test("usage: asked for on the client's behalf, counted, and its one frame hidden", async () => {
    const before_in = await counted("input");
    answers(with_usage());
    const sent = stream("vendor:m1");
    const answer = await proxy.chat(sent);
    assert.deepEqual(up().json, { ...JSON.parse(sent), model: "m1",
        stream_options: { include_usage: true } });
    assert.ok(up().body.toString().includes(MESSAGES), "other members were written anew");
    assert.equal(answer.text, sse(EVENTS));
    assert.equal(await counted("input") - before_in, 11);
});

test("usage: other stream options of the client stay, and ours joins them", async () => {
    answers(with_usage());
    const answer = await proxy.chat(stream("vendor:m1",
        ", \"stream_options\": {\"include_obfuscation\": false}"));
    assert.deepEqual(up().json.stream_options, { include_obfuscation: false,
        include_usage: true });
    assert.equal(answer.text, sse(EVENTS));
});

test("usage: a client that says anything about it gets its own request and every frame",
    async () => {
        for (const wish of ["true", "false"]) {
            const sent = stream("m1", `, "stream_options": {"include_usage": ${wish}}`);
            answers(with_usage());
            const answer = await proxy.chat(sent.replace("\"m1\"", "\"vendor:m1\""));
            assert.equal(up().body.toString(), sent);
            assert.equal(answer.text, with_usage(), wish);
        }
    });

test("usage: what is not that one frame is not hidden", async () => {
    const odd = [{ ...EVENTS[0], usage: null }, { ...EVENTS[1],
        usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } },
    { ...delta("m1", {}), choices: [], prompt_filter_results: [] }, ...EVENTS.slice(2)];
    answers(sse(odd));
    assert.equal((await proxy.chat(stream("vendor:m1"))).text, sse(odd));
});

test("usage: whole answers are not touched", async () => {
    const sent = `{"model":"m1","stream":false,${MESSAGES}}`;
    await proxy.chat(sent.replace("\"m1\"", "\"vendor:m1\""));
    assert.equal(up().body.toString(), sent);
});

test("usage: neither the plain protocol nor quirks: off asks", async () => {
    for (const name of ["plain", "off"]) {
        answers(with_usage());
        const sent = stream("m1");
        const answer = await proxy.chat(sent.replace("\"m1\"", `"${name}:m1"`));
        assert.equal(up().body.toString(), sent, name);
        assert.equal(answer.text, with_usage(), name);
    }
});

test("usage: an upstream that refuses stream_options is asked once more without, and never " +
    "again with", async () => {
    mock.on("legacy", (ex) => "stream_options" in ex.json ?
        ex.json_answer({ error: { message: "Unknown parameter: 'stream_options'.",
            type: "invalid_request_error", param: "stream_options", code: null } },
        { status: 400 }) : ex.respond({ headers: SSE, framing: "chunked", body: sse(EVENTS) }));
    for (let i = 0; i < 3; i++) {
        const answer = await proxy.chat(stream("old:legacy"));
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.text, sse(EVENTS));
    }
    const asked = mock.posts().map((r) => "stream_options" in r.json);
    assert.deepEqual(asked, [true, false, false, false]);
});
