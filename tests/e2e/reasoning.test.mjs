/* SPDX-License-Identifier: MIT */
/*
 * The reasoning round trip: signatures come back to the vendor that made them, unharmed, and to no
 * other; whatever the client's protocol does with them. Each conversation has two turns: the
 * backend thinks and calls a tool, the client sends the result, and the test looks at what reaches
 * the backend then.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, beforeEach } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { sse_events } from "./lib/sse.mjs";
import { stream as stream_of, whole as whole_of } from "./lib/upstream.mjs";

const SIGNATURE = "EqQBCgIYAhIkMTU5ZjU+/c2ln==";
const SECRET = "the foreign thought";
const CALL = { id: "call_weather1", name: "weather", args: { city: "Oslo" } };
const THINKS = { blocks: [{ reasoning: "I need the weather.", signature: SIGNATURE },
    { text: "Let me see." }, { tool: CALL }] };
const SAYS = { blocks: [{ text: "It rains." }] };
const SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

/* How vendors of Chat Completions say thoughts, and want them back: what the assistant's message
 * has of them. */
const THOUGHT = "I need the weather.";
const DETAILS = [
    { type: "reasoning.text", text: THOUGHT, format: "anthropic-claude-v1", index: 0,
        signature: SIGNATURE },
    { type: "reasoning.encrypted", data: "b3BhcXVl", id: "rs_1", format: "openai-responses-v1",
        index: 1 },
];
const PART = { type: "thinking", thinking: [{ type: "text", text: THOUGHT }] };
const VENDORS = {
    deepseek: { model: "deepseek-v4", says: { reasoning_content: THOUGHT },
        wants: { reasoning_content: THOUGHT } },
    moonshot: { model: "kimi-k2.6", says: { reasoning_content: THOUGHT },
        wants: { reasoning_content: THOUGHT } },
    groq: { model: "openai/gpt-oss-120b", says: { reasoning: THOUGHT },
        wants: { reasoning: THOUGHT } },
    mistral: { model: "magistral-medium-latest", says: { content: [PART] },
        wants: { content: [PART] } },
    openrouter: { model: "anthropic/claude-sonnet-4.5",
        says: { reasoning: THOUGHT, reasoning_details: DETAILS },
        wants: { reasoning_details: DETAILS } },
};

let mock;
let proxy;

/** Two backends for each protocol: those of one protocol are two vendors. */
function backends() {
    const list = {};
    for (const [name, { short }] of Object.entries(PROTOCOLS)) {
        for (const number of [1, 2]) {
            list[`${short}${number}`] = backend(mock, { protocol: name });
        }
    }
    list.open = backend(mock, { think_tags: true });
    for (const type of Object.keys(VENDORS)) {
        list[type] = { type, api_url: mock.url, api_keys: ["upstream-key-1"] };
    }
    return { backends: list, default_backend: "oc1" };
}

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: backends() });
});

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
    mock.requests.length = 0;
});

/** The next request is answered so, in the protocol's words. */
function answers(protocol, script, { streams = false, edit = (body) => body } = {}) {
    mock.next((ex) => streams ?
        ex.respond({ headers: { "content-type": "text/event-stream" }, framing: "chunked",
            body: stream_of(protocol, "m", script).join("") }) :
        ex.respond({ headers: { "content-type": "application/json" },
            body: JSON.stringify(edit(whole_of(protocol, "m", script))) }));
}

/* ---- clients: how each asks, keeps what it got, and sends a result ---- */

const oc = {
    ask: (model, more = {}) => ({ model, messages: [{ role: "user", content: "Weather?" }],
        tools: [{ type: "function", function: { name: "weather", parameters: SCHEMA } }],
        ...more }),
    async send(on, body) {
        const answer = await on.chat(body);
        assert.equal(answer.status, 200, answer.text);
        if (!body.stream) {
            return JSON.parse(answer.text).choices[0].message;
        }
        const message = { role: "assistant", content: "", tool_calls: [] };
        for (const { data } of sse_events(answer.text).filter((e) => e.data !== "[DONE]")) {
            const delta = JSON.parse(data).choices[0]?.delta ?? {};
            message.content += delta.content ?? "";
            for (const call of delta.tool_calls ?? []) {
                const known = message.tool_calls[call.index] ??= { ...call, type: "function",
                    function: { ...call.function, arguments: "" } };
                known.function.arguments += call.function?.arguments ?? "";
            }
        }
        return message;
    },
    /** As most clients do: what they do not know is not sent again. */
    go_on: (body, { content, tool_calls: calls }, model = body.model) => ({ ...body, model,
        messages: [...body.messages, { role: "assistant", content, tool_calls: calls?.map(
            ({ id, type, function: { name, arguments: text } }) =>
                ({ id, type, function: { name, arguments: text } })) },
        ...(calls ?? []).map(({ id }) => ({ role: "tool", tool_call_id: id, content: "rain" }))] }),
};

const an = {
    ask: (model, more = {}) => ({ model, max_tokens: 8000,
        thinking: { type: "enabled", budget_tokens: 2000 },
        messages: [{ role: "user", content: "Weather?" }],
        tools: [{ name: "weather", input_schema: SCHEMA }], ...more }),
    async send(on, body) {
        const answer = await on.chat(body, { path: "/v1/messages",
            headers: { "anthropic-version": "2023-06-01" } });
        assert.equal(answer.status, 200, answer.text);
        if (!body.stream) {
            return JSON.parse(answer.text).content;
        }
        const blocks = [];
        for (const { data } of sse_events(answer.text)) {
            const event = JSON.parse(data);
            const block = blocks[event.index];
            if (event.type === "content_block_start") {
                blocks[event.index] = { ...event.content_block, json: "" };
            } else if (event.type === "content_block_delta") {
                const { delta } = event;
                block.text = delta.text ? (block.text ?? "") + delta.text : block.text;
                block.thinking = delta.thinking ? block.thinking + delta.thinking : block.thinking;
                block.signature = delta.signature ?? block.signature;
                block.json += delta.partial_json ?? "";
            } else if (event.type === "content_block_stop") {
                block.input = block.type === "tool_use" ? JSON.parse(block.json) : undefined;
                delete block.json;
            }
        }
        return blocks;
    },
    go_on: (body, content, model = body.model) => ({ ...body, model, messages: [...body.messages,
        { role: "assistant", content }, { role: "user", content: content
            .filter(({ type }) => type === "tool_use").map(({ id }) =>
                ({ type: "tool_result", tool_use_id: id, content: "rain" })) }] }),
};

const or = {
    ask: (model, more = {}) => ({ model, input: [{ role: "user", content: "Weather?" }],
        store: false, include: ["reasoning.encrypted_content"],
        reasoning: { effort: "low", summary: "auto" },
        tools: [{ type: "function", name: "weather", parameters: SCHEMA, strict: false }],
        ...more }),
    async send(on, body) {
        const answer = await on.chat(body, { path: "/v1/responses" });
        assert.equal(answer.status, 200, answer.text);
        return body.stream ? JSON.parse(sse_events(answer.text).at(-1).data).response.output :
            JSON.parse(answer.text).output;
    },
    go_on: (body, output, model = body.model) => ({ ...body, model, input: [...body.input,
        ...output, ...output.filter(({ type }) => type === "function_call")
            .map(({ call_id: id }) => ({ type: "function_call_output", call_id: id,
                output: "rain" }))] }),
};

const ge = {
    ask: (model, more = {}) => ({ model, contents: [{ role: "user",
        parts: [{ text: "Weather?" }] }],
    generationConfig: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2000 } },
    tools: [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: SCHEMA }] }],
    ...more }),
    async send(on, { model, stream, ...body }) {
        const answer = await on.chat(body, { path: PROTOCOLS.gemini.path(model,
            { stream: Boolean(stream) }) });
        assert.equal(answer.status, 200, answer.text);
        return (stream ? sse_events(answer.text).map(({ data }) => JSON.parse(data)) :
            [JSON.parse(answer.text)]).flatMap((one) => one.candidates?.[0].content?.parts ?? []);
    },
    go_on: (body, parts, model = body.model) => ({ ...body, model, contents: [...body.contents,
        { role: "model", parts }, { role: "user", parts: parts.filter((p) => p.functionCall)
            .map(({ functionCall: { id, name } }) => ({ functionResponse: { ...(id ? { id } : {}),
                name, response: { output: "rain" } } })) }] }),
};

const CLIENTS = { oc, an, or, ge };
const up = () => mock.posts().at(-1).json;
const up_text = () => mock.posts().at(-1).body.toString();

/** The first turn with `first`, the second with `second` (its model may be another one's). */
async function two_turns(client, protocol, model, { streams = false, on = proxy,
    then = model, then_protocol = protocol, change = (x) => x, more = {} } = {}) {
    const body = client.ask(model, { ...(streams ? { stream: true } : {}), ...more });
    answers(protocol, THINKS, { streams });
    const got = await client.send(on, body);
    answers(then_protocol, SAYS, { streams });
    await client.send(on, client.go_on(body, change(got), then));
    return got;
}

/* ---- what reaches the backend ---- */

function thinking_in_messages({ messages }) {
    return messages.find(({ role }) => role === "assistant").content
        .filter(({ type }) => /thinking/.test(type));
}

const CHECKS = {
    an: () => assert.deepEqual(thinking_in_messages(up()), [{ type: "thinking",
        thinking: "I need the weather.", signature: SIGNATURE }]),
    or: () => assert.deepEqual(up().input.filter(({ type }) => type === "reasoning")
        .map(({ encrypted_content: blob }) => blob), [SIGNATURE]),
    ge: () => assert.deepEqual(up().contents.flatMap(({ parts }) => parts)
        .map(({ thoughtSignature: blob }) => blob).filter(Boolean), [SIGNATURE]),
};

const PROTOCOL_OF = { an: "anthropic", or: "openai-responses", ge: "gemini", oc: "openai-chat" };

for (const [name, client] of Object.entries(CLIENTS)) {
    for (const [target, check] of Object.entries(CHECKS)) {
        for (const streams of [false, true]) {
            test(`reasoning: ${name} client, ${target} backend${streams ? ", streamed" : ""}: ` +
                "the signature comes back unharmed", async () => {
                await two_turns(client, PROTOCOL_OF[target], `${target}1:m`, { streams });
                check();
                assert.doesNotMatch(up_text(), /cHgxL/);
            });
        }
    }
}

for (const [name, client] of Object.entries(CLIENTS)) {
    test(`reasoning: ${name} client: a conversation that moves takes nothing foreign along`,
        async () => {
            for (const from of ["an", "or", "ge"]) {
                for (const to of ["an2", "or2", "ge2", "oc2"]) {
                    if (from === name && to.startsWith(from)) {
                        continue; /* a raw signature is not known to be anybody's */
                    }
                    const script = { blocks: [{ reasoning: SECRET, signature: SIGNATURE },
                        { tool: CALL }] };
                    const body = client.ask(`${from}1:m`);
                    answers(PROTOCOL_OF[from], script);
                    const got = await client.send(proxy, body);
                    answers(PROTOCOL_OF[to.slice(0, 2)], SAYS);
                    await client.send(proxy, client.go_on(body, got, `${to}:m`));
                    const text = up_text();
                    assert.ok(!text.includes(SIGNATURE), `${from} to ${to}: ${text}`);
                    assert.doesNotMatch(text, /cHgxL/, `${from} to ${to}`);
                    if (!(from === name || name === to.slice(0, 2))) {
                        assert.ok(!text.includes(SECRET), `${from} to ${to}: ${text}`);
                    }
                    assert.match(text, /weather/);
                }
            }
        });
}

test("reasoning: another vendor's reasoning leaves a message of its own protocol, whole",
    async () => {
        const body = an.ask("ge1:m");
        answers("gemini", { blocks: [{ reasoning: SECRET, signature: SIGNATURE },
            { text: "Yes." }] });
        const got = await an.send(proxy, body);
        assert.ok(got.some(({ type }) => type === "thinking"), JSON.stringify(got));
        answers("anthropic", SAYS);
        const next = { ...an.go_on(body, got, "an1:m") };
        next.messages.pop();
        next.messages.push({ role: "user", content: "And now?" });
        await an.send(proxy, next);
        assert.deepEqual(up().messages, [{ role: "user", content: "Weather?" },
            { role: "assistant", content: [{ type: "text", text: "Yes." }] },
            { role: "user", content: "And now?" }]);
    });

test("reasoning: a seal that was changed, in any place, is nobody's", async () => {
    const body = an.ask("or1:m");
    answers("openai-responses", THINKS);
    const got = await an.send(proxy, body);
    const sealed = got.find(({ type }) => type === "thinking").signature;
    assert.match(sealed, /^cHgxL/);
    for (const at of [8, 20, 60, sealed.length - 1]) {
        const other = sealed[at] === "A" ? "B" : "A";
        const forged = sealed.slice(0, at) + other + sealed.slice(at + 1);
        const change = (blocks) => blocks.map((block) => block.type === "thinking" ?
            { ...block, signature: forged, thinking: "forged" } : block);
        answers("openai-responses", SAYS);
        const next = an.go_on(body, change(got));
        /* Nothing in the vault, either: another call. */
        const renamed = JSON.parse(JSON.stringify(next).replaceAll(CALL.id, "call_other"));
        await an.send(proxy, renamed);
        assert.ok(!up_text().includes(SIGNATURE), up_text());
        assert.ok(!up_text().includes("forged"), up_text());
        assert.doesNotMatch(up_text(), /cHgxL/);
    }
});

test("reasoning: one client's is not another's", async () => {
    const two = await start({ config: { ...backends(), api_keys: ["client-key-1", "other-key-22"] } });
    try {
        const body = oc.ask("an1:m");
        answers("anthropic", THINKS);
        const got = await oc.send(two, body);
        answers("anthropic", SAYS);
        const answer = await two.chat(oc.go_on(body, got),
            { headers: { authorization: "Bearer other-key-22" } });
        assert.equal(answer.status, 200, answer.text);
        assert.ok(!up_text().includes(SIGNATURE), up_text());
        answers("anthropic", SAYS);
        await oc.send(two, oc.go_on(body, got));
        CHECKS.an();
    } finally {
        await two.stop();
    }
});

/** What each client's answer is without thoughts and seals, as some send it again. */
const STRIPPED = {
    oc: (message) => message,
    an: (blocks) => blocks.filter(({ type }) => !/thinking/.test(type)),
    or: (items) => items.filter(({ type }) => type !== "reasoning"),
    ge: (parts) => parts.filter(({ thought }) => !thought)
        .map(({ thoughtSignature, ...part }) => part),
};

test("reasoning: what is kept of one client's is not another's, whatever they speak", async () => {
    const two = await start({ config: { ...backends(), api_keys: ["client-key-1", "other-key-22"] } });
    const other = { chat: (body, { headers, ...more } = {}) => two.chat(body, { ...more,
        headers: { ...headers, authorization: "Bearer other-key-22" } }) };
    try {
        for (const [name, client] of Object.entries(CLIENTS)) {
            for (const [target, check] of Object.entries(CHECKS)) {
                if (name === target) {
                    continue; /* raw: nothing is kept */
                }
                /* Ids as of servers that count them from zero; each pair its own question. */
                const script = { blocks: [THINKS.blocks[0], { tool: { ...CALL, id: "call_0" } }] };
                const body = JSON.parse(JSON.stringify(client.ask(`${target}1:m`))
                    .replace("Weather?", `Weather for ${name} of ${target}?`));
                answers(PROTOCOL_OF[target], script);
                const got = STRIPPED[name](await client.send(two, body));
                for (const on of [other, two]) {
                    answers(PROTOCOL_OF[target], SAYS);
                    await client.send(on, client.go_on(body, got));
                    if (on === two) {
                        check();
                    } else {
                        assert.ok(!up_text().includes(SIGNATURE), `${name} to ${target}`);
                        assert.ok(!up_text().includes(THINKS.blocks[0].reasoning));
                    }
                }
            }
        }
    } finally {
        await two.stop();
    }
});

test("reasoning: the vault and the seal outlive a new configuration; the seal a restart, too",
    async () => {
        const first = await start({ config: backends() });
        const body = oc.ask("an1:m");
        answers("anthropic", THINKS);
        const got = await oc.send(first, body);
        const sealed_body = an.ask("or1:m");
        answers("openai-responses", THINKS);
        const sealed = await an.send(first, sealed_body);
        await first.reload({ ...backends(), response_bytes_max: "1MiB" });
        answers("anthropic", SAYS);
        await oc.send(first, oc.go_on(body, got));
        CHECKS.an();

        const file = path.join(first.dir, "data", "seal.key");
        assert.equal(fs.statSync(file).mode & 0o777, 0o600);
        const key = fs.readFileSync(file, "utf8");
        assert.match(key, /^[0-9a-f]{64}\n$/);
        await first.stop();

        const second = await start({ config: backends(), files: {} });
        try {
            /* Without what was kept it still answers; the model only thinks anew. */
            answers("anthropic", SAYS);
            await oc.send(second, oc.go_on(body, got));
            assert.ok(!up_text().includes(SIGNATURE));
            assert.ok(!up_text().includes("I need the weather."));
            /* Another key: nothing of it is believed. */
            answers("openai-responses", SAYS);
            await an.send(second, an.go_on(sealed_body, sealed));
            assert.ok(!up_text().includes(SIGNATURE));
        } finally {
            await second.stop();
        }
        const third = await start({ config: { ...backends(), data_dir: "." },
            files: { "seal.key": key } });
        try {
            await third.logged(/start\.seal_key_readable/, "others can read it");
            answers("openai-responses", SAYS);
            await an.send(third, an.go_on(sealed_body, sealed));
            CHECKS.or();
        } finally {
            await third.stop();
        }
    });

test("reasoning: a seal's file that holds no key is said, and nothing is started with it",
    async () => {
        await assert.rejects(start({ config: { ...backends(), data_dir: "." },
            files: { "seal.key": "not a key\n" } }), /seal\.key does not hold a key/);
    });

test("reasoning: where the key cannot be kept it is told, and all goes on", async () => {
    const one = await start({ config: { ...backends(), data_dir: "file/data" },
        files: { file: "" } });
    try {
        await one.logged(/start\.seal_key_not_kept/, "the key is this process's only");
        await two_turns(an, "gemini", "ge1:m", { on: one });
        CHECKS.ge();
    } finally {
        await one.stop();
    }
});

/* ---- where nothing was kept ---- */

test("reasoning: Anthropic's models do not think for a call whose thoughts are lost", async () => {
    const body = oc.ask("an1:claude-sonnet-4-5", { reasoning_effort: "high" });
    const lost = { content: null, tool_calls: [{ id: "call_lost", type: "function",
        function: { name: "weather", arguments: "{}" } }] };
    answers("anthropic", SAYS);
    const answer = await proxy.chat(oc.go_on(body, lost));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(up().thinking, undefined);
    assert.match(answer.get("x-llm-proxy-warnings") ?? "", /thinking/);
    /* Without a call in the air they think as asked. */
    answers("anthropic", SAYS);
    await oc.send(proxy, body);
    assert.equal(up().thinking.type, "enabled");
});

test("reasoning: Gemini's models get the word that stands for a lost signature", async () => {
    const body = oc.ask("ge1:gemini-3-pro-preview");
    const lost = { content: null, tool_calls: [{ id: "call_lost", type: "function",
        function: { name: "weather", arguments: "{}" } }] };
    answers("gemini", SAYS);
    await oc.send(proxy, oc.go_on(body, lost));
    assert.deepEqual(up().contents.flatMap(({ parts }) => parts)
        .map(({ thoughtSignature: blob }) => blob).filter(Boolean),
    ["skip_thought_signature_validator"]);
});

test("reasoning: an answer without calls is known by what was asked and said", async () => {
    const script = { blocks: [{ reasoning: "Hm.", signature: SIGNATURE }, { text: "Yes." }] };
    const body = oc.ask("an1:m");
    answers("anthropic", script, { streams: true });
    const got = await oc.send(proxy, { ...body, stream: true });
    const next = (content) => ({ ...body, messages: [...body.messages,
        { role: "assistant", content }, { role: "user", content: "Sure?" }] });
    answers("anthropic", SAYS);
    await oc.send(proxy, next(got.content));
    assert.deepEqual(thinking_in_messages(up()).map(({ signature }) => signature), [SIGNATURE]);
    /* What it did not say it did not think, either. */
    answers("anthropic", SAYS);
    await oc.send(proxy, next("No."));
    assert.ok(!up_text().includes(SIGNATURE));
});

test("reasoning: equal ids of two conversations of one client are two answers", async () => {
    /* As of servers that count calls from zero in each answer. */
    const script = { blocks: [{ reasoning: "Hm.", signature: SIGNATURE },
        { tool: { ...CALL, id: "call_0" } }] };
    for (const [target, streams] of [["an", false], ["an", true], ["or", true], ["ge", false]]) {
        const protocol = PROTOCOL_OF[target];
        const body = oc.ask(`${target}1:m`, streams ? { stream: true } : {});
        answers(protocol, script, { streams });
        const got = await oc.send(proxy, body);
        const second = async (first, message) => {
            answers(protocol, SAYS, { streams });
            await oc.send(proxy, oc.go_on(first, message));
            return up_text().includes(SIGNATURE);
        };
        const edit = (args) => ({ ...got, tool_calls: got.tool_calls.map((call) =>
            ({ ...call, function: { ...call.function, ...args } })) });
        const other = { ...body, messages: [{ role: "user", content: "And in Rome?" }] };
        assert.equal(await second(other, got), false, "another question");
        assert.equal(await second(body, edit({ arguments: '{"city":"Rome"}' })), false);
        assert.equal(await second(body, edit({ name: "climate" })), false);
        /* Further on in the same conversation: the same call again, after its result. */
        assert.equal(await second(oc.go_on(body, edit({ arguments: "{}" })), got), false);
        /* Written anew by the client it is the same. */
        assert.equal(await second(body, edit({ arguments: '{ "city" :\t"\\u004fslo" }' })), true);
        assert.equal(await second(body, got), true);
    }
});

test("reasoning: conversations that go on with the same words and call are not mixed up", async () => {
    /* Two windows of one client: "go on", and both run the same command. */
    const talk = (task) => ({ ...oc.ask("an1:m"), messages: [{ role: "user", content: task },
        { role: "assistant", content: "So far." }, { role: "user", content: "Go on." }] });
    const thinks = (signature) => ({ blocks: [{ reasoning: `Of ${signature}`, signature },
        { tool: { ...CALL, id: "call_0" } }] });
    const seen = () => up().messages.flatMap(({ content }) => content)
        .flatMap((block) => block.signature ?? []);
    const begin = async (body, signature) => {
        answers("anthropic", thinks(signature));
        return oc.send(proxy, body);
    };
    const one = await begin(talk("Mend the first file."), "EqOne=");
    const two = await begin(talk("Mend the second file."), "EqTwo=");
    for (const [task, got, signature] of [["first", one, "EqOne="], ["second", two, "EqTwo="]]) {
        answers("anthropic", SAYS);
        await oc.send(proxy, oc.go_on(talk(`Mend the ${task} file.`), got));
        assert.deepEqual(seen(), [signature]);
    }
    answers("anthropic", SAYS);
    await oc.send(proxy, oc.go_on(talk("Mend nothing."), one));
    assert.deepEqual(seen(), []);
});

test("reasoning: each of equal calls of one conversation has its own", async () => {
    const thinks = (signature) => ({ blocks: [{ reasoning: "Hm.", signature },
        { tool: { ...CALL, id: "call_0" } }] });
    let body = oc.ask("an1:m", { stream: true });
    for (const signature of ["Eq1=", "Eq2=", "Eq3="]) {
        answers("anthropic", thinks(signature), { streams: true });
        body = oc.go_on(body, await oc.send(proxy, body));
    }
    answers("anthropic", SAYS, { streams: true });
    await oc.send(proxy, body);
    assert.deepEqual(up().messages.filter(({ role }) => role === "assistant")
        .map(({ content }) => content.find(({ type }) => type === "thinking")?.signature),
    ["Eq1=", "Eq2=", "Eq3="]);
});

test("reasoning: a client that did not ask to see it gets its signatures back all the same",
    async () => {
        for (const [client, more] of [[an, { thinking: undefined }],
            [or, { include: undefined, reasoning: undefined }],
            [ge, { generationConfig: undefined }]]) {
            for (const target of ["an", "ge", "or"]) {
                if (CLIENTS[target] !== client) {
                    await two_turns(client, PROTOCOL_OF[target], `${target}1:m`, { more });
                    CHECKS[target]();
                }
            }
        }
    });

test("reasoning: of bodies over 1 MiB, which are read and written in a job, all the same",
    async () => {
        const long = "x".repeat(1300 * 1024);
        const body = oc.ask("an1:m");
        answers("anthropic", THINKS);
        const got = await oc.send(proxy, body);
        answers("anthropic", SAYS);
        const next = oc.go_on(body, got);
        next.messages.push({ role: "user", content: long });
        await oc.send(proxy, next);
        CHECKS.an();

        const asked = an.ask("or1:m");
        answers("openai-responses", THINKS);
        const sealed = await an.send(proxy, asked);
        for (const [model, protocol] of [["or1:m", "openai-responses"], ["an1:m", "anthropic"]]) {
            answers(protocol, SAYS);
            const again = an.go_on(asked, sealed, model);
            again.messages.push({ role: "assistant", content: "." },
                { role: "user", content: long });
            await an.send(proxy, again);
            assert.equal(up_text().includes(SIGNATURE), model === "or1:m", model);
            assert.equal(up_text().includes("I need the weather."), model === "or1:m", model);
            assert.doesNotMatch(up_text(), /cHgxL/);
        }
    });

/* ---- tags ---- */

const TAGGED = "<think>\nHm, 1 < 2.\n</think>\n\nHello <b>you</b>";

for (const streams of [false, true]) {
    test(`reasoning: <think> tags become reasoning${streams ? ", cut at each byte" : ""}`,
        async () => {
            const text_of = (list) => list.map(({ text }) => text ?? "").join("");
            const cuts = streams ? [...Array(TAGGED.length).keys()].slice(1) : [0];
            for (const at of cuts) {
                const pieces = [TAGGED.slice(0, at), TAGGED.slice(at)].filter(Boolean);
                if (streams) {
                    const events = stream_of("openai-chat", "m", { blocks: [{ text: "XYZ" }] });
                    const said = events.filter((event) => /"content":"[XYZ]"/.test(event));
                    const all = [events[0], ...pieces.map((piece) =>
                        said[0].replace("\"X\"", JSON.stringify(piece))), ...events.slice(4)];
                    mock.next((ex) => ex.respond({ headers: {
                        "content-type": "text/event-stream" }, framing: "chunked",
                    body: all.join("") }));
                } else {
                    answers("openai-chat", { blocks: [{ text: TAGGED }] });
                }
                const got = await an.send(proxy, an.ask("open:m", { stream: streams }));
                assert.equal(got.filter(({ type }) => type === "thinking")
                    .map(({ thinking }) => thinking).join(""), "Hm, 1 < 2.\n", `cut at ${at}`);
                assert.equal(text_of(got), "Hello <b>you</b>", `cut at ${at}`);
            }
        });
}

test("reasoning: tags of a backend without think_tags are text", async () => {
    answers("openai-chat", { blocks: [{ text: TAGGED }] });
    const got = await an.send(proxy, an.ask("oc1:m"));
    assert.deepEqual(got, [{ type: "text", text: TAGGED }]);
});

test("reasoning: tags for a client of the same protocol, too", async () => {
    answers("openai-chat", { blocks: [{ text: TAGGED }] });
    const got = await oc.send(proxy, oc.ask("open:m"));
    assert.equal(got.content, "Hello <b>you</b>");
    assert.equal(got.reasoning_content, "Hm, 1 < 2.\n");
});

/* ---- vendors of Chat Completions ---- */

function vendor_message({ says }) {
    return { role: "assistant", content: null, ...says, tool_calls: [{ id: "abcdefghi",
        type: "function", function: { name: "weather", arguments: "{\"city\":\"Oslo\"}" } }] };
}

/** The same in pieces: details one by one, the signature last, as it happens. */
function vendor_deltas(vendor) {
    const { tool_calls: calls, content, reasoning_details: details, ...others } =
        vendor_message(vendor);
    const pieces = (details ?? []).flatMap(({ signature, text, ...rest }) => [
        ...(text ? [{ ...rest, text: text.slice(0, 6) }, { ...rest, text: text.slice(6) }] :
            [rest]),
        ...(signature ? [{ type: rest.type, format: rest.format, index: rest.index,
            signature }] : [])]);
    return [{ ...others, content: content ?? "" },
        ...pieces.map((piece) => ({ reasoning_details: [piece] })),
        { tool_calls: calls.map((call, index) => ({ index, ...call })) }];
}

function vendor_answers(vendor, streams) {
    const head = { id: "c", created: 1700000000, model: "m" };
    const chunk = (delta, finish) => `data: ${JSON.stringify({ ...head,
        object: "chat.completion.chunk",
        choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
    mock.next((ex) => streams ? ex.respond({ headers: { "content-type": "text/event-stream" },
        framing: "chunked", body: [...vendor_deltas(vendor).map((delta) => chunk(delta, null)),
            chunk({}, "tool_calls"), "data: [DONE]\n\n"].join("") }) :
        ex.respond({ headers: { "content-type": "application/json" }, body: JSON.stringify({
            ...head, object: "chat.completion", choices: [{ index: 0,
                message: vendor_message(vendor), finish_reason: "tool_calls" }] }) }));
}

const assistant_of = ({ messages }) => messages.find(({ role }) => role === "assistant");

for (const [type, vendor] of Object.entries(VENDORS)) {
    for (const [name, client] of Object.entries(CLIENTS).filter(([n]) => n !== "oc")) {
        for (const streams of [false, true]) {
            test(`reasoning: ${name} client, ${type}${streams ? ", streamed" : ""}: thoughts come ` +
                "back in the vendor's own form", async () => {
                const body = client.ask(`${type}:${vendor.model}`, streams ? { stream: true } : {});
                vendor_answers(vendor, streams);
                const got = await client.send(proxy, body);
                answers("openai-chat", SAYS, { streams });
                await client.send(proxy, client.go_on(body, got));
                const message = assistant_of(up());
                for (const [member, value] of Object.entries(vendor.wants)) {
                    assert.deepEqual(message[member], value, JSON.stringify(message));
                }
                assert.equal(message.tool_calls.length, 1);
                assert.doesNotMatch(up_text(), /cHgxL/);
            });
        }
    }
    test(`reasoning: oc client, ${type}: what it sends again reaches the vendor in its own form`,
        async () => {
            const body = oc.ask(`${type}:${vendor.model}`);
            vendor_answers(vendor, false);
            const got = await oc.send(proxy, body);
            answers("openai-chat", SAYS);
            await oc.send(proxy, { ...body, messages: [...body.messages, got,
                { role: "tool", tool_call_id: got.tool_calls[0].id, content: "rain" }] });
            for (const [member, value] of Object.entries(vendor.wants)) {
                assert.deepEqual(assistant_of(up())[member], value, up_text());
            }
        });
}
