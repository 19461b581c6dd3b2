/* SPDX-License-Identifier: MIT */
/*
 * What users of other gateways ran into (FIELD.md lists it, with the test of each): streams and
 * tools in every direction, told from the client's side.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { parse } from "./lib/exact.mjs";
import { GRAMMARS } from "./lib/grammar.mjs";
import { until, within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_backends, missing_clients } from "./lib/protocols.mjs";
import { SLOW, start, stop_all, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";
import { sse_events } from "./lib/sse.mjs";
import { error_body, stream, whole } from "./lib/upstream.mjs";

const MODELS = { "openai-chat": "gpt-5.2", "openai-responses": "gpt-5.2",
    anthropic: "claude-sonnet-4-5", gemini: "gemini-3-pro-preview" };
const OSLO = { tool: { id: "call_up_a", name: "weather", args: { city: "Oslo" } } };
const NOTHING = { tool: { id: "call_up_b", name: "now", args: {} } };
const THOUGHT = "I think about it.";
const ALL_KINDS = { blocks: [{ reasoning: THOUGHT, signature: "U0lHTkFUVVJF" },
    { text: "I shall look." }, OSLO, NOTHING] };

const mock = await Mock.start();
const no_backend = await missing_backends();
const backends = {};
for (const name of NAMES.filter((n) => !no_backend.get(n))) {
    const { short, base } = PROTOCOLS[name];
    for (const kind of ["", ...["e1", "e2", "e3"].flatMap((e) => NAMES.map((n) =>
        `-${e}-${PROTOCOLS[n].short}`))]) {
        backends[`${short}${kind}`] = { protocol: name, api_keys: ["upstream-key-1"],
            api_url: mock.url.replace(/\/v1$/, base) };
    }
}
const proxy = await start({ config: { default_backend: "oc", retries: 0, backends } });
const no_client = await missing_clients(proxy);

after(() => stop_all(proxy, mock));

const skip_of = (client, backend) => no_client.get(client) || no_backend.get(backend) || false;

function pairs(work) {
    for (const client of NAMES) {
        for (const backend of NAMES.filter((name) => name !== client)) {
            work(client, backend, skip_of(client, backend));
        }
    }
}

/* ---- Clients ---- */

const SCHEMA = { type: "object", properties: { city: { type: "string" } } };
const TOOLS = {
    "openai-chat": ["weather", "now"].map((name) => ({ type: "function",
        function: { name, parameters: SCHEMA } })),
    "openai-responses": ["weather", "now"].map((name) => ({ type: "function", name,
        parameters: SCHEMA, strict: false })),
    anthropic: ["weather", "now"].map((name) => ({ name, input_schema: SCHEMA })),
    gemini: [{ functionDeclarations: ["weather", "now"].map((name) => ({ name,
        parameters: SCHEMA })) }],
};
const THINK = {
    "openai-chat": { reasoning_effort: "high" },
    "openai-responses": { reasoning: { effort: "high", summary: "auto" } },
    anthropic: { max_tokens: 20000, thinking: { type: "enabled", budget_tokens: 8000 } },
    gemini: { generationConfig: { thinkingConfig: { includeThoughts: true } } },
};

function request_of(client, backend, { streamed = true, kind = "", more = {} } = {}) {
    const model = `${PROTOCOLS[backend].short}${kind}:${MODELS[backend]}`;
    const body = { ...PROTOCOLS[client].request("What is the weather?"), tools: TOOLS[client],
        ...THINK[client], ...more };
    if (client !== "gemini") {
        Object.assign(body, { model, stream: streamed });
    }
    if (client === "openai-chat" && streamed) {
        body.stream_options = { include_usage: true };
    }
    return { method: "POST", headers: proxy.headers(), body: JSON.stringify(body),
        path: PROTOCOLS[client].path(model, { stream: streamed }) };
}

async function ask(client, backend, options) {
    return proxy.call(request_of(client, backend, options));
}

/** Upstream events, as they are; stop after n of them with then(). */
function play(events, then = null) {
    mock.fallback = async (ex) => {
        await ex.open_stream();
        for (const event of events) {
            await ex.write(chunk(event));
        }
        await (then ? then(ex) : ex.write(LAST_CHUNK));
    };
}

const read = (client, got) => read_answer(client, got.body, got.get("content-type") ?? "");
const calls_of = (reading) => reading.tools.map(({ name, arguments: args }) =>
    `${name} ${JSON.stringify(JSON.parse(args === "" ? "{}" : args))}`);

/* ---- Streams ---- */

pairs((client, backend, skip) => {
    test(`field: grammar of a stream to ${client} from ${backend}: thoughts, text, two calls`,
        { skip }, async () => {
            play(stream(backend, MODELS[backend], ALL_KINDS));
            const got = await ask(client, backend);
            assert.equal(got.status, 200, got.text);
            const events = sse_events(got.body).map(({ event, data }) => ({ event,
                data: data === "[DONE]" ? data : JSON.parse(data) }));
            GRAMMARS[client](events);
            const reading = read(client, got);
            assert.deepEqual(calls_of(reading), ["weather {\"city\":\"Oslo\"}", "now {}"]);
            assert.equal(reading.text, "I shall look.");
            assert.equal(reading.reasoning, THOUGHT);
            assert.equal(new Set(reading.tools.map((tool) => tool.id)).size, 2);
            assert.deepEqual([reading.usage.input, reading.usage.cached, reading.usage.output],
                [30, 10, 12]);
        });

    test(`field: pieces from ${backend} reach ${client} at once: thoughts, text, arguments`,
        { skip }, async () => {
            const events = stream(backend, MODELS[backend], ALL_KINDS);
            const needles = ["I thin", "I sha", ...(client === "gemini" || backend === "gemini" ?
                [] : ["{\\\"cit"])];
            const conn = await proxy.connect();
            let got = "";
            mock.fallback = async (ex) => {
                await ex.open_stream();
                for (const event of events) {
                    await ex.write(chunk(event));
                    /* The next comes only when the client has what this one brought first. */
                    if (event.includes(needles[0])) {
                        const needle = needles.shift();
                        await until(() => got.includes(needle), `${needle} at the client`);
                    }
                }
                await ex.write(LAST_CHUNK);
            };
            conn.on_data = (bytes) => { got += bytes; };
            conn.send(request_of(client, backend));
            const head = await conn.head();
            await within(30_000, "the end", head.done);
            assert.deepEqual(needles, [], "the upstream was not asked for all of it");
            conn.destroy();
        });

    test(`field: an error of ${backend} in the middle ends the stream to ${client}`, { skip },
        async () => {
            const script = { blocks: [{ text: "Half an answ" }], fail: {
                message: "Rate limit reached" } };
            const conn = await proxy.connect();
            let seen = "";
            mock.fallback = async (ex) => {
                await ex.open_stream();
                for (const event of stream(backend, MODELS[backend], script)) {
                    if (event.includes("Rate limit")) {
                        await until(() => seen.includes("answ"), "the text at the client");
                    }
                    await ex.write(chunk(event));
                }
                await ex.write(LAST_CHUNK);
            };
            const parts = [];
            conn.on_data = (bytes) => {
                parts.push(Buffer.from(bytes));
                seen += bytes;
            };
            conn.send(request_of(client, backend, { kind: `-e1-${PROTOCOLS[client].short}` }));
            const { head, status } = await within(5_000, "the end", (await conn.head()).done);
            const got = { body: Buffer.concat(parts), text: seen, status,
                get: (name) => head.get(name) };
            conn.destroy();
            const reading = read(client, got);
            assert.match(reading.error?.message ?? "", /Rate limit reached/);
            assert.equal(reading.text, "Half an answ");
            assert.doesNotMatch(got.text, /\[DONE\]|"message_stop"|"response\.completed"/);
        });

    for (const [how, then] of [["ends", (ex) => ex.write(LAST_CHUNK)],
        ["breaks off", async (ex) => ex.fin()]]) {
        test(`field: a stream of ${backend} that ${how} without a finish is no success to ${
            client}`, { skip }, async () => {
            play(stream(backend, MODELS[backend], { blocks: [{ text: "Half an answ" }],
                cut: true }), then);
            const got = await ask(client, backend, { kind: `-e2-${PROTOCOLS[client].short}` });
            const reading = read(client, got);
            assert.ok(reading.error, `no error: ${got.text.slice(-400)}`);
            assert.doesNotMatch(got.text, /\[DONE\]|"message_stop"|"response\.completed"/);
            assert.doesNotMatch(got.text, /"finishReason"/);
        });
    }

    test(`field: an error of ${backend} as the first event is a status to ${client}`, { skip },
        async () => {
            const name = { "openai-chat": "", "openai-responses": "error", anthropic: "error",
                gemini: "" }[backend];
            const body = error_body(backend, backend === "anthropic" ? 529 : 503, "Overloaded");
            const data = backend === "openai-responses" ? { type: "error", sequence_number: 0,
                ...body } : body;
            play([`${name ? `event: ${name}\n` : ""}data: ${JSON.stringify(data)}\n\n`]);
            const got = await ask(client, backend, { kind: `-e3-${PROTOCOLS[client].short}` });
            assert.ok(got.status >= 500, `status ${got.status}: ${got.text}`);
            assert.match(got.json.error.message, /Overloaded/);
        });
});

/* ---- Tools, as servers send them that do it wrongly ---- */

const chat_delta = (tool_calls, finish = null) => `data: ${JSON.stringify({ id: "c",
    object: "chat.completion.chunk", created: 1700000000, model: "m", choices: [{ index: 0,
        delta: { role: "assistant", tool_calls }, finish_reason: finish }] })}\n\n`;
const call = (index, id, name, args) => ({ index, id, type: "function",
    function: { name, arguments: args } });

const ODD = {
    "every call has index 0": [chat_delta([call(0, "a", "weather", "{\"city\":\"Oslo\"}")]),
        chat_delta([call(0, "b", "now", "{}")]), chat_delta([], "tool_calls")],
    "the finish reason is stop": [chat_delta([call(0, "a", "weather", "{\"city\":\"Oslo\"}")]),
        chat_delta([call(1, "b", "now", "")]), chat_delta([], "stop")],
    "id and name come with every piece": [chat_delta([call(0, "a", "weather", "{\"ci")]),
        chat_delta([call(0, "a", "weather", "ty\":\"Oslo\"}")]),
        chat_delta([call(1, "b", "now", "{}")]), chat_delta([], "tool_calls")],
    "pieces of two calls alternate": [chat_delta([call(0, "a", "weather", "{\"ci")]),
        chat_delta([call(1, "b", "now", "{")]),
        chat_delta([{ index: 0, function: { arguments: "ty\":\"Oslo\"}" } }]),
        chat_delta([{ index: 1, function: { arguments: "}" } }]),
        chat_delta([], "tool_calls")],
    "both come in one piece": [chat_delta([call(0, "a", "weather", "{\"city\":\"Oslo\"}"),
        call(1, "b", "now", "")], "tool_calls")],
    "the arguments are an object": [chat_delta([call(0, "a", "weather", { city: "Oslo" }),
        call(1, "b", "now", {})], "tool_calls")],
};

for (const [what, events] of Object.entries(ODD)) {
    for (const client of NAMES.filter((name) => name !== "openai-chat")) {
        test(`field: calls of an upstream where ${what}, to ${client}`,
            { skip: skip_of(client, "openai-chat") }, async () => {
                play([...events, "data: [DONE]\n\n"]);
                const got = await ask(client, "openai-chat");
                const reading = read(client, got);
                assert.deepEqual(calls_of(reading), ["weather {\"city\":\"Oslo\"}", "now {}"],
                    got.text);
                assert.equal(reading.stop, "tool_use");
                assert.equal(new Set(reading.tools.map((tool) => tool.id)).size, 2);
            });
    }
}

/* ---- Usage ---- */

for (const client of NAMES.filter((name) => name !== "openai-chat")) {
    test(`field: usage beside a finish reason, in an extra chunk, or in every one: ${client}`,
        { skip: skip_of(client, "openai-chat") }, async () => {
            const usage = { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107,
                prompt_tokens_details: { cached_tokens: 90 } };
            const text = (content, finish, more = {}) => `data: ${JSON.stringify({ id: "c",
                object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0,
                    delta: content === null ? {} : { content }, finish_reason: finish }],
                ...more })}\n\n`;
            const alone = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk",
                created: 1, model: "m", choices: [], usage })}\n\n`;
            for (const events of [
                [text("a", null), text(null, "stop", { usage })],
                [text("a", null), text(null, "stop"), alone],
                [text("a", null, { usage: { ...usage, completion_tokens: 1 } }),
                    text(null, "stop", { usage })],
            ]) {
                play([...events, "data: [DONE]\n\n"]);
                const { usage: got } = read(client, await ask(client, "openai-chat"));
                assert.deepEqual([got.input, got.cached, got.output], [100, 90, 7]);
            }
        });
}

/* ---- Requests ---- */

async function upstream_sees(client, backend, more) {
    let seen = null;
    mock.fallback = async (ex) => {
        seen = { ex, ...read_request(backend, parse(ex.body), ex.target), body: ex.json };
        await ex.json_answer(whole(backend, MODELS[backend], { blocks: [{ text: "ok" }] }));
    };
    const got = await ask(client, backend, { streamed: false, more });
    assert.equal(got.status, 200, got.text);
    return seen;
}

const CHOICE_NONE = { "openai-chat": { tool_choice: "none" },
    "openai-responses": { tool_choice: "none" }, anthropic: { tool_choice: { type: "none" } },
    gemini: { toolConfig: { functionCallingConfig: { mode: "NONE" } } } };
const NO_TOOLS = { "openai-chat": { tool_choice: "auto", parallel_tool_calls: false },
    "openai-responses": { tool_choice: "auto", parallel_tool_calls: false },
    anthropic: { tool_choice: { type: "auto", disable_parallel_tool_use: true } },
    gemini: { toolConfig: { functionCallingConfig: { mode: "AUTO" } } } };

pairs((client, backend, skip) => {
    test(`field: tool_choice none of ${client} reaches ${backend}`, { skip }, async () => {
        const seen = await upstream_sees(client, backend, CHOICE_NONE[client]);
        assert.ok(seen.choice === "none" || seen.tools.length === 0, JSON.stringify(seen.body));
    });

    test(`field: without tools no choice of ${client} goes to ${backend}`, { skip }, async () => {
        const seen = await upstream_sees(client, backend, { tools: [], ...NO_TOOLS[client] });
        assert.equal(seen.choice, null, JSON.stringify(seen.body));
        assert.deepEqual(seen.tools, []);
        assert.doesNotMatch(seen.ex.body.toString(), /parallel|"tools"/);
    });
});

/* ---- What comes in odd pieces ---- */

const TURNS = { blocks: [{ reasoning: "First. " }, { text: "One. " }, { reasoning: "Second. " },
    { text: "Two." }, OSLO] };

pairs((client, backend, skip) => {
    test(`field: thoughts and text in turns from ${backend} to ${client}`, { skip }, async () => {
        play(stream(backend, MODELS[backend], TURNS));
        const got = await ask(client, backend);
        GRAMMARS[client](sse_events(got.body).map(({ event, data }) => ({ event,
            data: data === "[DONE]" ? data : JSON.parse(data) })));
        const reading = read(client, got);
        assert.equal(reading.text, "One. Two.");
        assert.equal(reading.reasoning.replace(/\s+/g, ""), "First.Second.");
        assert.deepEqual(calls_of(reading), ["weather {\"city\":\"Oslo\"}"]);
    });

    test(`field: a stream of ${backend} cut at every byte says the same to ${client}`, { skip },
        async () => {
            const bytes = Buffer.from(stream(backend, MODELS[backend], ALL_KINDS).join(""));
            const readings = [];
            for (const parts of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
                play(parts);
                const reading = read(client, await ask(client, backend));
                readings.push({ ...reading, tools: calls_of(reading) });
            }
            assert.deepEqual(readings[1], readings[0]);
        });

    test(`field: nothing but comments is no success: ${backend} to ${client}`, { skip },
        async () => {
            play([": ping\n\n", ": ping\n\n"]);
            const got = await ask(client, backend, { kind: `-e2-${PROTOCOLS[client].short}` });
            assert.ok(got.status >= 500 || read(client, got).error, got.text);
        });
});

/* ---- Histories ---- */

const CALL_ARGS = JSON.stringify({ city: "Oslo" });

/* A user, the model's thoughts (or none) and call, the tool's result. */
const HISTORY = {
    "openai-chat": (thought) => ({ messages: [{ role: "user", content: "Weather?" },
        { role: "assistant", content: null, ...(thought ? { reasoning_content: thought } : {}),
            tool_calls: [{ id: "call_1", type: "function", function: { name: "weather",
                arguments: CALL_ARGS } }] },
        { role: "tool", tool_call_id: "call_1", content: "7 degrees" }] }),
    "openai-responses": (thought) => ({ input: [{ role: "user", content: "Weather?" },
        ...(thought ? [{ type: "reasoning", id: "rs_1", summary: [{ type: "summary_text",
            text: thought }], encrypted_content: "Zm9yZWlnbg==" }] : []),
        { type: "function_call", call_id: "call_1", name: "weather", arguments: CALL_ARGS },
        { type: "function_call_output", call_id: "call_1", output: "7 degrees" }] }),
    anthropic: (thought) => ({ messages: [{ role: "user", content: "Weather?" },
        { role: "assistant", content: [...(thought ? [{ type: "thinking", thinking: thought,
            signature: "Zm9yZWlnbg==" }] : []),
        { type: "tool_use", id: "call_1", name: "weather", input: { city: "Oslo" } }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "call_1",
            content: "7 degrees" }] }] }),
    gemini: (thought) => ({ contents: [{ role: "user", parts: [{ text: "Weather?" }] },
        { role: "model", parts: [...(thought ? [{ text: thought, thought: true }] : []),
            { functionCall: { id: "call_1", name: "weather", args: { city: "Oslo" } },
                ...(thought ? { thoughtSignature: "Zm9yZWlnbg==" } : {}) }] },
        { role: "user", parts: [{ functionResponse: { id: "call_1", name: "weather",
            response: { output: "7 degrees" } } }] }] }),
};

pairs((client, backend, skip) => {
    test(`field: thoughts of the history are nobody's text: ${client} to ${backend}`, { skip },
        async () => {
            const seen = await upstream_sees(client, backend, HISTORY[client](THOUGHT));
            assert.equal(seen.calls.length, 1);
            assert.doesNotMatch(seen.ex.body.toString(), new RegExp(THOUGHT));
            assert.doesNotMatch(seen.ex.body.toString(), /Zm9yZWlnbg/,
                "a signature went to another vendor");
        });
});

for (const client of NAMES.filter((name) => name !== "anthropic")) {
    const skip = skip_of(client, "anthropic");

    test(`field: calls without thoughts in the history of ${client}: no thinking`, { skip },
        async () => {
            const { body } = await upstream_sees(client, "anthropic", HISTORY[client](null));
            assert.notEqual(body.thinking?.type, "enabled", JSON.stringify(body));
        });

    test(`field: a thought without a signature is not sent: ${client}`, { skip }, async () => {
        const { body } = await upstream_sees(client, "anthropic", HISTORY[client](THOUGHT));
        const blocks = body.messages.flatMap((message) => message.content)
            .filter((block) => block.type === "thinking");
        assert.ok(blocks.every((block) => block.signature), JSON.stringify(blocks));
    });

    test(`field: thinking and what does not go with it: ${client}`, { skip }, async () => {
        const more = {
            "openai-chat": { temperature: 0.2, top_p: 0.5, max_completion_tokens: 2000 },
            "openai-responses": { temperature: 0.2, top_p: 0.5, max_output_tokens: 2000 },
            gemini: { generationConfig: { temperature: 0.2, topP: 0.5, topK: 3,
                maxOutputTokens: 2000, thinkingConfig: { thinkingBudget: 8000 } } },
        }[client];
        const { body } = await upstream_sees(client, "anthropic", more);
        assert.equal(body.thinking.type, "enabled");
        assert.ok(body.thinking.budget_tokens >= 1024);
        assert.ok(body.max_tokens > body.thinking.budget_tokens, JSON.stringify(body));
        assert.ok([undefined, 1].includes(body.temperature), `temperature ${body.temperature}`);
        assert.ok(body.top_p === undefined || body.top_p >= 0.95, `top_p ${body.top_p}`);
        assert.equal(body.top_k, undefined);
    });
}

/* ---- Gemini ---- */

const HARD = { $schema: "http://json-schema.org/draft-07/schema#", type: "object",
    additionalProperties: false, $defs: { place: { type: "object", properties: {
        name: { type: "string", default: "Oslo" } }, additionalProperties: true } },
    properties: { where: { $ref: "#/$defs/place" }, kind: { const: "now" },
        days: { type: ["integer", "null"], exclusiveMinimum: 0 },
        more: { type: "object", propertyNames: { pattern: "^a" },
            additionalProperties: { type: "string" } },
        either: { oneOf: [{ type: "string", format: "uri" }, { type: "array" }] },
        format: { type: "string" } }, required: ["where", "gone"] };

const SUBSET = new Set(["type", "format", "title", "description", "nullable", "enum", "items",
    "minItems", "maxItems", "properties", "required", "minProperties", "maxProperties", "minimum",
    "maximum", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
    "default"]);
const JSON_SUBSET = new Set([...SUBSET, "$id", "$defs", "$ref", "$anchor", "prefixItems", "oneOf",
    "additionalProperties"]);

function words_of(schema, add) {
    if (schema === null || typeof schema !== "object") {
        return;
    }
    for (const [name, item] of Object.entries(schema)) {
        add(name);
        if (name === "properties" || name === "$defs") {
            Object.values(item).forEach((one) => words_of(one, add));
        } else if (["items", "additionalProperties"].includes(name)) {
            words_of(item, add);
        } else if (["anyOf", "oneOf", "allOf", "prefixItems"].includes(name)) {
            item.forEach((one) => words_of(one, add));
        }
    }
}

for (const client of ["openai-chat", "openai-responses", "anthropic"]) {
    test(`field: schemas as clients write them, of ${client} to gemini`,
        { skip: skip_of(client, "gemini") }, async () => {
            const tools = {
                "openai-chat": [{ type: "function", function: { name: "f", parameters: HARD } }],
                "openai-responses": [{ type: "function", name: "f", parameters: HARD,
                    strict: false }],
                anthropic: [{ name: "f", input_schema: HARD }],
            }[client];
            const { body } = await upstream_sees(client, "gemini", { tools });
            const [made] = body.tools[0].functionDeclarations;
            const known = made.parameters ? SUBSET : JSON_SUBSET;
            words_of(made.parameters ?? made.parametersJsonSchema, (word) =>
                assert.ok(known.has(word), `${word} in ${JSON.stringify(made)}`));
            const { properties, required } = made.parameters ?? made.parametersJsonSchema;
            assert.deepEqual(Object.keys(properties), Object.keys(HARD.properties));
            assert.deepEqual(required, ["where"]);
        });
}

for (const client of NAMES.filter((name) => name !== "gemini")) {
    test(`field: an image in an answer of gemini to ${client} is no memory`,
        { skip: skip_of(client, "gemini") }, async () => {
            const data = "QUJD".repeat(1 << 20);
            const before = proxy.rss_kib();
            for (let i = 0; i < 6; i++) {
                play([`data: ${JSON.stringify({ candidates: [{ content: { role: "model", parts: [
                    { text: "Here: " }, { inlineData: { mimeType: "image/png", data } }] },
                finishReason: "STOP", index: 0 }], usageMetadata: { promptTokenCount: 1,
                    candidatesTokenCount: 2, totalTokenCount: 3 } })}\n\n`]);
                const got = await ask(client, "gemini");
                assert.equal(got.status, 200, got.text.slice(0, 300));
                assert.match(read(client, got).text, /^Here: /);
            }
            assert.ok(SLOW || proxy.rss_kib() - before < 100 * 1024,
                `grew by ${proxy.rss_kib() - before} KiB`);
        });
}
