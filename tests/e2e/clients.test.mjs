/* SPDX-License-Identifier: MIT */
/*
 * Claude Code, Codex and Gemini CLI against backends of every protocol. What they
 * send was recorded (lib/programs.mjs); the model behind acts as agents' models do, and refuses, as
 * the vendors do, reasoning that does not come back as it was signed.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { parse } from "./lib/exact.mjs";
import { GRAMMARS } from "./lib/grammar.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { PROGRAMS } from "./lib/programs.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";
import { violation } from "./lib/schemas.mjs";
import { sse_events } from "./lib/sse.mjs";
import { error_body, stream, whole } from "./lib/upstream.mjs";

/* A server of Chat Completions without custom tools: all but Responses have them wrapped. */
const MODELS = { "openai-chat": "llama-3.3-70b", "openai-responses": "gpt-5.2",
    anthropic: "claude-sonnet-4-5", gemini: "gemini-3-pro-preview" };
const SIGNATURE = Buffer.from("A signature of the vendor's. ".repeat(4)).toString("base64");
const SIGNED = { reasoning: "I run both.", signature: SIGNATURE };
const FINAL = "Both ran: one says 1, the other says 2.";

/* ---- The upstream ---- */

let script = null;                      /* (seen) => what the model says */
let kept = false;                       /* the pair keeps its protocol */
let asked = [];                         /* {seen, body} of the running test */

const ENDS = { "openai-chat": /\/chat\/completions$/, "openai-responses": /\/responses$/,
    anthropic: /\/messages$/, gemini: /:(stream)?[gG]enerateContent$/ };

/* What a vendor says to a request that is not as it wants it. */
function complaint(protocol, body, seen) {
    const signed = protocol !== "openai-chat" && seen.calls.length > 0;
    if (signed && !seen.signatures.includes(SIGNATURE)) {
        return `the reasoning is not there, or changed: ${JSON.stringify(seen.signatures)}`;
    }
    return kept ? null : violation(protocol, "request", body);
}

async function upstream(ex) {
    const target = ex.target.split("?")[0];
    const protocol = NAMES.find((name) => ENDS[name].test(target));
    if (!protocol) {
        await ex.json_answer({ input_tokens: 77, totalTokens: 77 });
        return;
    }
    const body = ex.json;
    const seen = read_request(protocol, parse(ex.body), ex.target);
    asked.push({ seen, body });
    const wrong = complaint(protocol, body, seen);
    if (wrong) {
        await ex.json_answer(error_body(protocol, 400, wrong), { status: 400 });
        return;
    }
    const said = script(seen);
    if (!seen.stream) {
        await ex.json_answer(whole(protocol, MODELS[protocol], said));
        return;
    }
    await ex.open_stream();
    for (const event of stream(protocol, MODELS[protocol], said)) {
        await ex.write(chunk(event));
    }
    await ex.write(LAST_CHUNK);
}

const mock = await Mock.start({ fallback: upstream });
const proxy = await start({ config: { default_backend: "an", retries: 0,
    backends: Object.fromEntries(NAMES.map((name) => [PROTOCOLS[name].short, { protocol: name,
        api_keys: ["upstream-key-1"], api_url: mock.url.replace(/\/v1$/, PROTOCOLS[name].base) }])),
} });

after(() => stop_all(proxy, mock));

/* ---- What the programs do ---- */

/* Claude Code compares the answer's model with the one it asked for: see docs/clients. */
const model_of = (program, to) => program.protocol === "anthropic" && to === "anthropic" ?
    MODELS[to] : `${PROTOCOLS[to].short}:${MODELS[to]}`;

async function send(program, request) {
    const answer = await proxy.call({ path: request.path, headers: request.headers,
        body: JSON.stringify(request.body) });
    assert.equal(answer.status, 200, answer.text);
    return answer;
}

/** A streamed turn: {events, reading, answer}, the grammar found good. */
async function turn(program, request) {
    const answer = await send(program, request);
    const events = sse_events(answer.body).map(({ event, data }) => ({ event,
        data: JSON.parse(data) }));
    GRAMMARS[program.protocol](events);
    return { answer, events, reading: read_answer(program.protocol, answer.body,
        answer.get("content-type")) };
}

const warnings_of = ({ answer }) => (answer.get("x-llm-proxy-warnings") ?? "").split(",")
    .filter(Boolean).sort();

/* What the recorded requests have that a backend has not. */
const WARNINGS = {
    "claude-code": { "openai-chat": ["changed:user", "dropped:context_management"],
        "openai-responses": ["changed:user", "dropped:context_management"], anthropic: [],
        gemini: ["changed:system", "dropped:context_management"] },
    codex: { "openai-chat": ["dropped:tool:web_search"], "openai-responses": [],
        anthropic: ["dropped:tool:web_search"], gemini: ["dropped:tool:web_search"] },
    "gemini-cli": { "openai-chat": ["dropped:top_k"],
        "openai-responses": ["dropped:temperature", "dropped:top_k", "dropped:top_p"],
        anthropic: ["dropped:top_p"], gemini: [] },
};

function begin(program, to, says) {
    asked = [];
    kept = program.protocol === to;
    script = says;
}

const two_calls = (program) => ["echo 1", "echo 2"].map((command, i) => ({ tool: {
    id: `call_up_${"ab"[i]}`, name: program.shell, args: program.args(command) } }));

/* The texts that the program takes for one: Claude Code shows the last block's, Codex the last
 * item's. */
function shown(program, events) {
    if (program.protocol === "anthropic") {
        const blocks = events.filter(({ data }) => data.delta?.type === "text_delta");
        const last = blocks.at(-1).data.index;
        return blocks.filter(({ data }) => data.index === last)
            .map(({ data }) => data.delta.text).join("");
    }
    if (program.protocol === "openai-responses") {
        return events.at(-1).data.response.output.at(-1).content.map((part) => part.text).join("");
    }
    return events.flatMap(({ data }) => data.candidates[0].content?.parts ?? [])
        .filter((part) => !part.thought).map((part) => part.text).join("");
}

async function agent(program, to) {
    const calls = two_calls(program);
    begin(program, to, (seen) => ({ blocks: [SIGNED, ...seen.results.length > 0 ?
        [{ text: FINAL }] : calls] }));
    const first = program.ask(model_of(program, to));
    const one = await turn(program, first);
    assert.deepEqual(one.reading.tools.map(({ name, arguments: args }) => [name,
        JSON.parse(args)]), calls.map(({ tool }) => [tool.name, tool.args]));
    assert.equal(one.reading.reasoning, SIGNED.reasoning);
    assert.equal(one.reading.stop, "tool_use");
    assert.deepEqual(warnings_of(one), WARNINGS[program.short][to]);

    const results = Object.fromEntries(one.reading.tools.map(({ id }, i) => [id, `says ${i + 1}`]));
    const two = await turn(program, program.goes_on(first, one.events, results));
    assert.equal(shown(program, two.events), FINAL);
    assert.equal(two.reading.stop, "end");
    assert.deepEqual([two.reading.usage.input, two.reading.usage.cached,
        two.reading.usage.output], [30, 10, 12]);
    heard(program, to, calls);
}

/* What the model was told. */
function heard(program, to, calls) {
    const [{ seen: first }, { seen: second }] = asked;
    assert.equal(asked.length, 2);
    assert.match(first.users.join("\n"), /Run the command and tell me/);
    assert.ok(first.system.length > 0 && first.stream);
    assert.ok(first.tools.some((tool) => tool.name === program.shell));
    assert.ok(kept || first.tools.every((tool) => tool.name && tool.schema.type));
    assert.deepEqual(second.calls.map(({ id, name, arguments: args }) => [id, name,
        JSON.parse(args)]), calls.map(({ tool }) => [tool.id, tool.name, tool.args]));
    const said = new Map(second.results.map((result) => [result.id, result.text]));
    assert.deepEqual([said.get("call_up_a"), said.get("call_up_b")], ["says 1", "says 2"]);
}

for (const program of PROGRAMS) {
    for (const to of NAMES) {
        test(`clients: ${program.name} to ${to}: two tools at once, what they say, the answer`,
            () => agent(program, to));
    }
}

/* ---- What else they ask ---- */

const [claude, codex, gemini] = PROGRAMS;
const TITLE = "{\"title\":\"Two commands\"}";

test("clients: Claude Code looks first whether anybody is there, without a key", async () => {
    for (const method of ["HEAD", "GET"]) {
        const { status } = await proxy.call({ method, path: "/", headers: {} });
        assert.equal(status, 200);
    }
});

for (const to of NAMES) {
    test(`clients: Claude Code to ${to}: a title as JSON, a budget for thinking`, async () => {
        begin(claude, to, () => ({ blocks: [{ text: TITLE }] }));
        const title = await turn(claude, claude.ask(model_of(claude, to), "title"));
        assert.equal(title.reading.text, TITLE);
        assert.deepEqual(Object.keys(asked[0].seen.schema.properties), ["title"]);
        begin(claude, to, () => ({ blocks: [SIGNED, { text: FINAL }] }));
        const budget = await turn(claude, claude.ask(model_of(claude, to), "budget"));
        assert.equal(shown(claude, budget.events), FINAL);
    });

    test(`clients: Claude Code to ${to}: data of a form, by a tool`, async () => {
        begin(claude, to, () => ({ blocks: [{ tool: { id: "call_up_a", name: "StructuredOutput",
            args: { city: "Oslo", n: 1 } } }] }));
        const { reading } = await turn(claude, claude.ask(model_of(claude, to), "structured"));
        assert.deepEqual(JSON.parse(reading.tools[0].arguments), { city: "Oslo", n: 1 });
        assert.deepEqual(Object.keys(asked[0].seen.tools[0].schema.properties), ["city", "n"]);
    });

    test(`clients: Codex to ${to}: an answer of a form, an image`, async () => {
        begin(codex, to, () => ({ blocks: [{ text: "{\"city\":\"Oslo\",\"n\":1}" }] }));
        const { events } = await turn(codex, codex.ask(model_of(codex, to), "structured"));
        assert.deepEqual(JSON.parse(shown(codex, events)), { city: "Oslo", n: 1 });
        assert.deepEqual(Object.keys(asked[0].seen.schema.properties), ["city", "n"]);
        await turn(codex, codex.ask(model_of(codex, to), "image"));
        assert.equal(asked[1].seen.images.length, 1);
        assert.equal(asked[1].seen.images[0].type, "image/png");
    });

    test(`clients: Gemini CLI to ${to}: which model is to answer, how long a file is`, async () => {
        const score = "{\"complexity_reasoning\":\"Easy.\",\"complexity_score\":1}";
        begin(gemini, to, () => ({ blocks: [{ text: score }] }));
        const routing = await send(gemini, gemini.ask(model_of(gemini, to), "routing"));
        assert.equal(read_answer("gemini", routing.body, "application/json").text, score);
        const counted = await send(gemini, gemini.ask(model_of(gemini, to), "count"));
        assert.ok(counted.json.totalTokens > 0);
        await turn(gemini, gemini.ask(model_of(gemini, to), "level"));
    });
}

/* Tools whose arguments are text: patches, and the programs of newer models. */
const PATCH = "*** Begin Patch\n*** Add File: \"ä\".txt\n+\tone\n*** End Patch\n";
const TEXT_TOOLS = [
    { shape: "patch", offered: "apply_patch", item: { name: "apply_patch" } },
    { shape: "code", offered: "functions__exec", item: { name: "exec", namespace: "functions" } },
];

for (const to of NAMES.filter((name) => name !== "openai-responses")) {
    for (const { shape, offered, item } of TEXT_TOOLS) {
        test(`clients: Codex to ${to}: a ${shape} as text`, async () => {
            begin(codex, to, (seen) => ({ blocks: [SIGNED, seen.results.length > 0 ?
                { text: FINAL } : { tool: { id: "call_up_a", name: offered,
                    args: { input: PATCH } } }] }));
            const first = codex.ask(model_of(codex, to), shape);
            const one = await turn(codex, first);
            const call = one.events.at(-1).data.response.output.at(-1);
            assert.deepEqual({ ...call, id: null }, { id: null, type: "custom_tool_call",
                status: "completed", call_id: "call_up_a", ...item, input: PATCH });
            const two = await turn(codex, codex.goes_on(first, one.events,
                { call_up_a: [{ type: "input_text", text: "Done" }] }));
            assert.equal(shown(codex, two.events), FINAL);
            const { calls, results } = asked[1].seen;
            assert.deepEqual(calls.map((c) => [c.name, JSON.parse(c.arguments)]),
                [[offered, { input: PATCH }]]);
            assert.deepEqual(results.map((r) => r.text), ["Done"]);
        });
    }
}
