/* SPDX-License-Identifier: MIT */
/*
 * What writing a request for another protocol leaves to be done with its answer: stop sequences
 * that the target does not know, tools under other names, custom tools as functions, an answer's
 * form as a tool. The client must not notice.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach } from "node:test";

import { within } from "./lib/http1.mjs";
import { Mock, chunk } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { sse_events } from "./lib/sse.mjs";
import { stream as stream_of, whole as whole_of } from "./lib/upstream.mjs";

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { default_backend: "oc", backends: Object.fromEntries(
        Object.entries(PROTOCOLS).map(([name, { short }]) =>
            [short, backend(mock, { protocol: name })])) } });
});

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
    mock.requests.length = 0;
});

const up = () => mock.posts().at(-1).json;

function answers(protocol, script, streams) {
    mock.next((ex) => streams ?
        ex.respond({ headers: { "content-type": "text/event-stream" }, framing: "chunked",
            body: stream_of(protocol, "m", script).join("") }) :
        ex.respond({ headers: { "content-type": "application/json" },
            body: JSON.stringify(whole_of(protocol, "m", script)) }));
}

const chat_text = (text) => sse_events(text).filter(({ data }) => data !== "[DONE]")
    .map(({ data }) => JSON.parse(data).choices[0]).filter(Boolean);

for (const streams of [false, true]) {
    const how = streams ? ", streamed" : "";

    test(`restore: stop sequences are found here${how}`, async () => {
        const script = { blocks: [{ text: "one two EN END three" }] };
        answers("openai-responses", script, streams);
        const answer = await proxy.chat({ model: "or:m", stream: streams, stop: ["END", "four"],
            messages: [{ role: "user", content: "Hi" }] });
        assert.equal(up().stop, undefined);
        const choice = streams ? null : JSON.parse(answer.text).choices[0];
        const chunks = streams ? chat_text(answer.text) : [];
        assert.equal(streams ? chunks.map(({ delta }) => delta.content ?? "").join("") :
            choice.message.content, "one two EN ");
        assert.equal(streams ? chunks.at(-1).finish_reason : choice.finish_reason, "stop");

        answers("openai-responses", script, streams);
        const message = await proxy.chat({ model: "or:m", stream: streams, max_tokens: 100,
            stop_sequences: ["END"], messages: [{ role: "user", content: "Hi" }] },
        { path: "/v1/messages" });
        const end = streams ? sse_events(message.text).map(({ data }) => JSON.parse(data))
            .find(({ type }) => type === "message_delta").delta : JSON.parse(message.text);
        assert.equal(end.stop_reason, "stop_sequence");
        assert.equal(end.stop_sequence, "END");
    });

    test(`restore: a custom tool goes as a function and comes back as it was${how}`, async () => {
        const input = "*** Begin\n\"ä\" \\ \u{1F600}\n";
        answers("anthropic", { blocks: [{ tool: { id: "call_1", name: "patch",
            args: { input } } }] }, streams);
        const answer = await proxy.chat({ model: "an:m", stream: streams, input: "Hi",
            tools: [{ type: "custom", name: "patch", description: "Patches." }] },
        { path: "/v1/responses" });
        assert.deepEqual(up().tools[0].input_schema.required, ["input"]);
        const output = streams ?
            JSON.parse(sse_events(answer.text).at(-1).data).response.output :
            JSON.parse(answer.text).output;
        assert.equal(output[0].type, "custom_tool_call");
        assert.equal(output[0].name, "patch");
        assert.equal(output[0].call_id, "call_1");
        assert.equal(output[0].input, input);
        if (streams) {
            const deltas = sse_events(answer.text).map(({ data }) => JSON.parse(data))
                .filter(({ type }) => type === "response.custom_tool_call_input.delta");
            assert.equal(deltas.map(({ delta }) => delta).join(""), input);
        }
    });

    test(`restore: a name that the target refuses comes back as the client wrote it${how}`,
        async () => {
            const name = `${"long_".repeat(20)}name`;
            mock.next((ex) => {
                const [tool] = ex.json.tools;
                assert.match(tool.function.name, /^[A-Za-z0-9_-]{1,64}$/);
                const script = { blocks: [{ tool: { id: "call_1", name: tool.function.name,
                    args: {} } }] };
                return streams ? ex.respond({ headers: { "content-type": "text/event-stream" },
                    framing: "chunked", body: stream_of("openai-chat", "m", script).join("") }) :
                    ex.respond({ headers: { "content-type": "application/json" },
                        body: JSON.stringify(whole_of("openai-chat", "m", script)) });
            });
            const answer = await proxy.chat({ model: "oc:m", stream: streams, max_tokens: 100,
                messages: [{ role: "user", content: "Hi" }],
                tools: [{ name, input_schema: { type: "object" } }] }, { path: "/v1/messages" });
            const block = streams ? sse_events(answer.text).map(({ data }) => JSON.parse(data))
                .find(({ type }) => type === "content_block_start").content_block :
                JSON.parse(answer.text).content[0];
            assert.equal(block.name, name);
        });

    test(`restore: an answer's form, asked for as a tool, is text${how}`, async () => {
        const schema = { type: "object", properties: { a: { type: "integer" } },
            required: ["a"], additionalProperties: false };
        mock.next((ex) => {
            const script = { blocks: [{ tool: { id: "call_1", name: ex.json.tools[0].name,
                args: { a: 1 } } }] };
            return streams ? ex.respond({ headers: { "content-type": "text/event-stream" },
                framing: "chunked", body: stream_of("anthropic", "m", script).join("") }) :
                ex.respond({ headers: { "content-type": "application/json" },
                    body: JSON.stringify(whole_of("anthropic", "m", script)) });
        });
        const answer = await proxy.chat({ model: "an:claude-3-5-haiku-20241022", stream: streams,
            messages: [{ role: "user", content: "Hi" }], response_format: { type: "json_schema",
                json_schema: { name: "a", schema, strict: true } } });
        assert.equal(answer.status, 200, answer.text);
        const chunks = streams ? chat_text(answer.text) : [];
        const content = streams ? chunks.map(({ delta }) => delta.content ?? "").join("") :
            JSON.parse(answer.text).choices[0].message.content;
        assert.deepEqual(JSON.parse(content), { a: 1 });
        assert.equal(streams ? chunks.at(-1).finish_reason :
            JSON.parse(answer.text).choices[0].finish_reason, "stop");
        assert.doesNotMatch(answer.text, /tool_calls/);
    });
}

test("restore: after a stop sequence the upstream is cancelled, the client's answer is whole",
    async () => {
        const events = stream_of("openai-responses", "m", { blocks: [{ text: "aENDb" }] });
        const gone = new Promise((resolve) => mock.next(async (ex) => {
            const said = events.findIndex((event) => /output_text\.done/.test(event));
            await ex.open_stream();
            await ex.write(chunk(events.slice(0, said).join("")));
            resolve(ex.closed);
        }));
        const answer = await proxy.chat({ model: "or:m", stream: true, stop: "END",
            messages: [{ role: "user", content: "Hi" }] });
        assert.match(answer.text, /data: \[DONE\]\n\n$/);
        await within(2_000, "the upstream is cancelled", gone);
    });
