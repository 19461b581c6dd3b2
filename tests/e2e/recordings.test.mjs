/* SPDX-License-Identifier: MIT */
/*
 * Every recorded answer of the four protocols, to clients of all four.
 *
 * A mock upstream replays ../shared/recordings. A client of the same protocol gets the bytes as
 * they are. Clients of the other three, streaming or not, whatever the upstream did, get what a
 * second reader (lib/read*.mjs) finds in the recording: text, reasoning, tools and arguments,
 * finish reason, usage; and bytes that their protocol's schema and grammar accept.
 *
 * Every recorded request, to backends of all four: an answer, or a refusal that says what cannot
 * be said there; what reaches the upstream is what its protocol's schema accepts.
 *
 * RECORDING=12    only the one in this line, with all that differs
 * Builds that look for races, or count lines, replay every SPARSE-th of a protocol; those that look
 * at values (release) and at memory (asan) all of them.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { parse, write } from "./lib/exact.mjs";
import { Mock } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_backends, missing_clients } from "./lib/protocols.mjs";
import { PROGRAM, ROOT, run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";
import { read_answer, values_of } from "./lib/read.mjs";
import { violation } from "./lib/schemas.mjs";

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const absent = fs.existsSync(SHARED) ? false : "../shared/recordings is absent";
const APIS = { openai_chat: "openai-chat", openai_responses: "openai-responses",
    anthropic_messages: "anthropic", gemini_generate: "gemini" };
const PARALLEL = 8;
const ONLY = process.env.RECORDING;
const SPARSE = /\/(tsan|cov)\//.test(PROGRAM) && !ONLY ? 4 : 1;
const nth = {};

const LIST = absent ? [] : fs.readFileSync(SHARED, "utf8").trimEnd().split("\n")
    .map((line, i) => ({ line: i + 1, ...JSON.parse(line) }))
    .filter((x) => APIS[x.api] && (!ONLY || String(x.line) === ONLY))
    .map((x) => ({ ...x, protocol: APIS[x.api] }))
    .filter((x) => (nth[x.protocol] = (nth[x.protocol] ?? -1) + 1) % SPARSE === 0);

/* ---- The upstream ---- */

const rng = random("recordings");
const mock = await Mock.start();
const no_backend = await missing_backends();
const short = (name) => PROTOCOLS[name].short;
const by_model = new Map(LIST.map((x) => [`r${x.line}`, x]));
const seen = new Map();                 /* "model tag" -> the exchange at the upstream */

/* Gemini's array, to a proxy that did not ask for one: as the same in events. */
function replayed(x, target) {
    const array = x.protocol === "gemini" && /^\s*\[/.test(x.response_body) && x.status < 400;
    if (!array || /:streamGenerateContent$/.test(target)) {
        return { body: Buffer.from(x.response_body), headers: x.response_headers };
    }
    return { headers: { "content-type": "text/event-stream" }, body: Buffer.from(
        parse(x.response_body).map((value) => `data: ${write(value)}\r\n\r\n`).join("")) };
}

async function play(ex) {
    const name = /\/models\/([^/:]+):/.exec(ex.target)?.[1] ?? ex.json.model;
    const x = by_model.get(name);
    if (x) {
        const { body, headers } = replayed(x, ex.target);
        await ex.respond({ status: x.status, headers, body, framing: "chunked", cuts: 3, rng });
        return;
    }
    seen.set(name, ex);
    const protocol = NAMES.find((n) => short(n) === /^(..)-/.exec(name)[1]);
    const stream = protocol === "gemini" ? ex.target.includes(":stream") : ex.json.stream;
    await ex.respond({
        headers: { "content-type": stream ? "text/event-stream" : "application/json" },
        body: stream ? PROTOCOLS[protocol].stream(name, "ok") :
            write(PROTOCOLS[protocol].whole(name, "ok")),
    });
}
mock.fallback = play;

/* A key that is refused is asked again where there is no other; one that met its limit cools down:
 * those answers have backends of their own, the latter one for each time that they are asked for. */
const ASKED_MAX = 6;
const fails = (x) => x.status >= 400 || /"error":\s*[{"]/.test(x.response_body.slice(0, 4096));
const cools = (x) => x.status === 429 || (x.status < 400 && fails(x));
const asked = new Map();
const own_name = (x, i) => `${short(x.protocol)}-${x.line}${cools(x) ? `-${i}` : ""}`;
const is_alone = (x) => cools(x) || [401, 403].includes(x.status);
const own_names = (x) => Array.from({ length: cools(x) ? ASKED_MAX : 1 }, (_, i) => own_name(x, i));
function backend_of(x) {
    if (!is_alone(x)) {
        return short(x.protocol);
    }
    const i = asked.get(x.line) ?? 0;
    asked.set(x.line, i + 1);
    assert.ok(i < ASKED_MAX || !cools(x), "more backends are needed");
    return own_name(x, i);
}
const backends = {};
for (const [name, protocol] of [...NAMES.map((n) => [short(n), n]),
    ...LIST.filter(is_alone).flatMap((x) => own_names(x).map((name) => [name, x.protocol]))]) {
    if (!no_backend.get(protocol)) {
        backends[name] = { protocol, api_url: mock.url.replace(/\/v1$/, PROTOCOLS[protocol].base),
            api_keys: ["upstream-key-1"] };
    }
}
const proxy = await start({ config: { default_backend: "oc", retries: 0, backends } });
const no_client = await missing_clients(proxy);

after(() => stop_all(proxy, mock));

async function each(list, work) {
    let next = 0;
    await Promise.all(Array.from({ length: PARALLEL }, async () => {
        while (next < list.length) {
            await work(list[next++]);
        }
    }));
}

/* ---- The client ---- */

/* They all want to see reasoning, and usage. */
const ASK = {
    "openai-chat": (stream) => ({ reasoning_effort: "high", stream,
        ...(stream ? { stream_options: { include_usage: true } } : {}) }),
    "openai-responses": (stream) => ({ reasoning: { effort: "high", summary: "auto" }, stream,
        include: ["reasoning.encrypted_content"] }),
    anthropic: (stream) => ({ max_tokens: 20000, stream,
        thinking: { type: "enabled", budget_tokens: 10000 } }),
    gemini: () => ({ generationConfig: { thinkingConfig: { includeThoughts: true } } }),
};

function ask(client, model, stream, { array = false } = {}) {
    const protocol = PROTOCOLS[client];
    const body = { ...protocol.request("Hi"), ...ASK[client](stream) };
    return proxy.call({ path: protocol.path(model, { stream, array }), body: JSON.stringify(
        client === "gemini" ? body : { model, ...body }) });
}

/* ---- What is to come of it ---- */

const FINISH = {
    "openai-chat": { end: "stop", stop_seq: "stop", max_tokens: "length", context_full: "length",
        tool_use: "tool_calls", pause: "stop", filter: "content_filter" },
    "openai-responses": { end: "completed", stop_seq: "completed",
        max_tokens: "max_output_tokens", context_full: "max_output_tokens",
        tool_use: "completed", pause: "completed", filter: "content_filter" },
    anthropic: { end: "end_turn", stop_seq: "stop_sequence", max_tokens: "max_tokens",
        context_full: "model_context_window_exceeded", tool_use: "tool_use",
        pause: "pause_turn", filter: "refusal" },
    gemini: { end: "STOP", stop_seq: "STOP", max_tokens: "MAX_TOKENS",
        context_full: "MAX_TOKENS", tool_use: "STOP", pause: "STOP", filter: "SAFETY" },
};

const squeeze = (text) => text.replace(/\s+/g, " ").trim();

/** Arguments as the value they say, numbers by their digits. */
function value_of(text) {
    try {
        return write(parse(text === "" ? "{}" : text));
    } catch {
        return text;
    }
}

function tools_of(reading, client) {
    const object = client === "anthropic" || client === "gemini";
    return reading.tools.map(({ name, arguments: args, custom }) => {
        const value = value_of(args);
        if (custom) {
            return object ? `${name} ${write({ input: args })}` : `${name} ${args}`;
        }
        if (!object) {
            return `${name} ${value}`;
        }
        try {
            parse(value);
        } catch {
            return `${name} ${write({ _invalid_json: args })}`;
        }
        return `${name} ${value.startsWith("{") ? value : `{"value":${value}}`}`;
    });
}

function compare_usage(wanted, got, client, out) {
    if (!wanted) {
        return;
    }
    const names = ["input", "cached", "output", "reasoning",
        ...(client === "gemini" ? [] : ["cache_write"])];
    for (const name of names) {
        if ((got?.[name] ?? null) !== wanted[name]) {
            out.push(`usage ${name}: ${wanted[name]} came, ${got?.[name]} went`);
        }
    }
}

function compare(wanted, got, client, out) {
    const refusal = wanted.refusal ?? "";
    const in_text = client === "anthropic" || client === "gemini";
    const text = in_text ? wanted.text + refusal : wanted.text;
    if (got.text !== text) {
        out.push(`text: ${JSON.stringify(text.slice(0, 300))} came, ${
            JSON.stringify(got.text.slice(0, 300))} went`);
    }
    if (!in_text && (got.refusal ?? "") !== refusal) {
        out.push(`refusal: ${JSON.stringify(refusal)} came, ${JSON.stringify(got.refusal)} went`);
    }
    if (squeeze(got.reasoning) !== squeeze(wanted.reasoning)) {
        out.push(`reasoning: ${JSON.stringify(wanted.reasoning.slice(0, 300))} came, ${
            JSON.stringify(got.reasoning.slice(0, 300))} went`);
    }
    const a = tools_of(wanted, client);
    const b = got.tools.map((tool, i) => `${tool.name === wanted.tools[i]?.flat ?
        wanted.tools[i].name : tool.name} ${tool.custom ? tool.arguments :
        value_of(tool.arguments)}`);
    /* What is already on its way cannot be taken back when it turns out to be no JSON. */
    for (const [i, tool] of wanted.tools.entries()) {
        if (client === "anthropic" && a[i].includes("_invalid_json") &&
            got.tools[i]?.arguments === tool.arguments) {
            a[i] = b[i];
        }
    }
    if (JSON.stringify(a) !== JSON.stringify(b)) {
        out.push(`tools: ${JSON.stringify(a).slice(0, 400)} came, ${
            JSON.stringify(b).slice(0, 400)} went`);
    }
    const refused = refusal !== "" && wanted.stop === "end" && in_text;
    const finish = FINISH[client][refused ? "filter" : wanted.stop];
    const blocked = got.finish === "blocked" && finish === "SAFETY" && text === "";
    if (got.finish !== finish && !blocked) {
        out.push(`finish: ${wanted.finish} came, ${got.finish} went, not ${finish}`);
    }
    compare_usage(wanted.usage, got.usage, client, out);
}

/** Why a recording cannot be compared for this client, or null. Short, each with its reason. */
function excepted(x, wanted, client) {
    if (wanted.stop === null && wanted.error === null) {
        return "ends without a finish reason";
    }
    if (wanted.finish === "queued") {
        return "an answer that is still to be made (background)";
    }
    if (client === "anthropic" && wanted.tools.some((tool) => tool.custom)) {
        return "a custom tool that no client of this protocol can have declared";
    }
    if (/executableCode|codeExecutionResult/.test(x.response_body)) {
        return "code that ran at the vendor's becomes text";
    }
    if (/"type":\s*"(?:image_generation_call|output_audio)"|"inlineData"/.test(x.response_body)) {
        return "media that the other protocols' answers have no place for";
    }
    if (x.protocol === "openai-chat" && /"audio":\s*\{/.test(x.response_body)) {
        return "media that the other protocols' answers have no place for";
    }
    return null;
}

/* ---- Is what the client got well said? ---- */

/* Captures wait in a directory until all of a pair are there: the checker takes many at once. */
class Captures {
    constructor(client) {
        this.client = client;
        this.dir = temp_dir();
        this.kinds = { stream: [], whole: [] };
        this.labels = new Map();
    }

    add(bytes, stream, label) {
        const kind = this.kinds[stream ? "stream" : "whole"];
        const name = `${stream ? "s" : "w"}${kind.length}`;
        fs.writeFileSync(path.join(this.dir, name), bytes);
        kind.push(name);
        this.labels.set(name, label);
    }

    /** What it says of them: ["label: line N: …"]. */
    async check() {
        const said = [];
        for (const [kind, names] of Object.entries(this.kinds)) {
            const args = ["lint-stream", "--protocol", this.client,
                ...(kind === "whole" ? ["--whole"] : []), ...names];
            const { code, stdout, all } = names.length === 0 ? { code: 0, stdout: "" } :
                await run(args, { dir: this.dir });
            assert.ok(code < 2, all);
            said.push(...stdout.split("\n").filter(Boolean).map((line) => line.replace(/^\w+/,
                (name) => `${this.labels.get(name)}: lint-stream`)));
        }
        fs.rmSync(this.dir, { recursive: true, force: true });
        return said;
    }
}

function well_said(client, got, stream, out) {
    const { values } = values_of(got.body, got.get("content-type") ?? "");
    for (const value of values) {
        const bad = violation(client, stream ? "event" : "whole", JSON.parse(write(value)));
        if (bad) {
            out.push(`schema: ${bad}`);
            break;
        }
    }
}

/* ---- Errors ---- */

const ERROR_SHAPES = {
    "openai-chat": (v) => typeof v.error?.message === "string" && "type" in v.error,
    "openai-responses": (v) => typeof v.error?.message === "string" && "type" in v.error,
    anthropic: (v) => v.type === "error" && typeof v.error?.message === "string",
    gemini: (v) => typeof v.error?.message === "string" && typeof v.error.status === "string",
};

function compare_error(x, wanted, got, client, out) {
    if (got.status < 400) {
        const { error } = read_answer(client, got.body, got.get("content-type") ?? "");
        if (error === null) {
            out.push(`an error came (${wanted.error?.message}), none went`);
        }
        return;
    }
    if (!ERROR_SHAPES[client](got.json)) {
        out.push(`no error of ${client}: ${got.text.slice(0, 300)}`);
        return;
    }
    const ours = [401, 403].includes(x.status) ||
        /API_KEY_INVALID|API key not valid/.test(x.response_body);
    const unknown = /model.*does not exist|model_not_found|not_found_error/
        .test(x.response_body);
    const status = ours ? [502, 400, 403] : unknown ? [404] : [x.status, ...({ 422: [400], 415: [400], 500: [502],
        529: [503], 503: [529], 408: [504], 402: [429] }[x.status] ?? [])];
    if (x.status >= 400 && !status.includes(got.status)) {
        out.push(`status: ${x.status} came, ${got.status} went: ${got.text.slice(0, 200)}`);
    }
    const said = wanted.error?.message;
    if (!ours && said && !got.json.error.message.includes(said.slice(0, 150))) {
        out.push(`message: ${JSON.stringify(said.slice(0, 200))} came, ${
            JSON.stringify(got.json.error.message.slice(0, 200))} went`);
    }
}

/* ---- The matrix of answers ---- */

const table = [];

function tally(kind, from, to) {
    const row = { kind, from, to, passed: 0, failures: [], skipped: new Map() };
    table.push(row);
    return row;
}

function skip_one(row, why) {
    row.skipped.set(why, (row.skipped.get(why) ?? 0) + 1);
}

function judge(t, row) {
    const { passed, failures } = row;
    t.diagnostic(`${row.kind} ${row.from} -> ${row.to}: ${passed} passed, ${
        failures.length} failed, SEED=${SEED}`);
    for (const [why, n] of row.skipped) {
        t.diagnostic(`  ${n} skipped: ${why}`);
    }
    assert.equal(failures.length, 0, `${failures.length} of ${passed + failures.length}:\n${
        failures.slice(0, ONLY ? 1000 : 12).join("\n")}`);
    assert.ok(passed > 0 || ONLY, "nothing was replayed");
}

const shape_of = (x) => x.stream ? "stream" : "whole";
const label = (x, stream) => `line ${x.line} (${x.provider} ${x.model ?? ""} ${shape_of(x)} to ${
    stream ? "stream" : "whole"})`;

async function translate(x, client, stream, row, captures) {
    let wanted;
    try {
        wanted = read_answer(x.protocol, Buffer.from(x.response_body),
            x.response_headers["content-type"]);
    } catch (error) {
        if (x.status < 400) {
            row.failures.push(`${label(x, stream)}: the recording: ${error.message}`);
            return;
        }
        wanted = { error: { message: "" } };
    }
    const why = x.status >= 400 ? null : excepted(x, wanted, client);
    if (why) {
        skip_one(row, why);
        return;
    }
    const out = [];
    try {
        const got = await ask(client, `${backend_of(x)}:r${x.line}`, stream);
        if (x.status >= 400 || wanted.error) {
            compare_error(x, wanted, got, client, out);
        } else if (got.status !== 200) {
            out.push(`status ${got.status}: ${got.text.slice(0, 400)}`);
        } else {
            const reading = read_answer(client, got.body, got.get("content-type"));
            compare(wanted, reading, client, out);
            if (reading.differs) {
                out.push(`it contradicts itself: ${reading.differs}`);
            }
            well_said(client, got, stream, out);
            captures.add(got.body, stream, label(x, stream));
        }
    } catch (error) {
        out.push(error.message);
    }
    if (out.length === 0) {
        row.passed++;
    } else {
        row.failures.push(`${label(x, stream)}: ${out.join("; ")}`);
    }
}

for (const from of NAMES) {
    const list = LIST.filter((x) => x.protocol === from);
    for (const to of NAMES.filter((name) => name !== from)) {
        const skip = absent || no_client.get(to) || no_backend.get(from) || false;
        test(`recordings: answers of ${from} to clients of ${to} say the same`, { skip },
            async (t) => {
                const row = tally("answers", from, to);
                const jobs = list.flatMap((x) => fails(x) ? [[x, x.stream]] :
                    [[x, x.stream], [x, !x.stream]]);
                const captures = new Captures(to);
                await each(jobs, ([x, stream]) => translate(x, to, stream, row, captures));
                row.failures.push(...await captures.check());
                judge(t, row);
            });
    }
    const skip = absent || no_client.get(from) || no_backend.get(from) || false;
    test(`recordings: answers of ${from} to its own clients, byte for byte`, { skip },
        async (t) => {
            const row = tally("answers", from, from);
            await each(list, async (x) => {
                const array = /^\s*\[/.test(x.response_body) && from === "gemini";
                const got = await ask(from, `${backend_of(x)}:r${x.line}`, x.stream || array,
                    { array });
                if (got.status === x.status && got.body.equals(Buffer.from(x.response_body))) {
                    row.passed++;
                } else {
                    row.failures.push(`${label(x, x.stream)}: status ${got.status}, ${
                        got.body.length} bytes instead of ${x.response_body.length}: ${
                        got.text.slice(0, 200)}`);
                }
            });
            judge(t, row);
        });
}

/* ---- The matrix of requests ---- */

/* What policy R of the matrix refuses, as our messages say it; one line each. */
const REFUSALS = [
    /image|picture|media|audio|video|file|document|pdf|modalit/i,
    /\bn\b|candidate|choices/i,
    /previous_response|conversation|background|prompt|item_reference|cached_?content/i,
    /tool|function/i,
    /mcp/i,
    /needs a backend of the client's protocol/,
];

/* Recorded requests that their own vendor refused may be refused here, too. */
const refused_anyway = (x) => x.status >= 400;

function request_of(x, to) {
    const model = `${short(to)}:${short(to)}-${x.line}-${x.protocol}`;
    const stream = x.protocol === "gemini" ? /:stream/.test(x.endpoint) :
        x.request.stream === true;
    const target = PROTOCOLS[x.protocol].path(model, { stream });
    return { name: model.slice(3), path: target, body: JSON.stringify(
        x.protocol === "gemini" ? x.request : { ...x.request, model }) };
}

function check_request(x, to, up, out) {
    const value = parse(up.body);
    if (x.protocol === to || refused_anyway(x)) {
        return;
    }
    const bad = violation(to, "request", JSON.parse(write(value)));
    if (bad) {
        out.push(`upstream's schema: ${bad}`);
    }
    if (to === "gemini") {
        const nulls = /[{,]"[^"]*":null/.exec(write(value).replace(/"args":\{.*?\}/g, ""));
        if (nulls || !(value.contents?.length > 0)) {
            out.push(`no request of Gemini: ${nulls ? nulls[0] : "no contents"}`);
        }
    }
}

async function send(x, to, row) {
    const { name, path: target, body } = request_of(x, to);
    const out = [];
    try {
        const got = await proxy.call({ path: target, body });
        if (got.status === 200) {
            const up = seen.get(name);
            check_request(x, to, up, out);
            seen.delete(name);
        } else if (got.status === 400 && x.protocol !== to && !refused_anyway(x)) {
            const said = got.json.error?.message ?? "";
            if (!REFUSALS.some((pattern) => pattern.test(said))) {
                out.push(`refused: ${said}`);
            } else {
                skip_one(row, `refused: ${said.slice(0, 90)}`);
                return;
            }
        } else if (!(refused_anyway(x) && got.status === 400)) {
            out.push(`status ${got.status}: ${got.text.slice(0, 300)}`);
        }
    } catch (error) {
        out.push(error.message);
    }
    if (out.length === 0) {
        row.passed++;
    } else {
        row.failures.push(`line ${x.line} (${x.provider}): ${out.join("; ")}`);
    }
}

for (const from of NAMES) {
    const list = LIST.filter((x) => x.protocol === from && x.request);
    for (const to of NAMES) {
        const skip = absent || no_client.get(from) || no_backend.get(to) || false;
        test(`recordings: requests of ${from} to backends of ${to}`, { skip }, async (t) => {
            const row = tally("requests", from, to);
            await each(list, (x) => send(x, to, row));
            judge(t, row);
        });
    }
}

test("recordings: the table", { skip: absent }, (t) => {
    const cell = (row) => `${row.passed} passed, ${row.failures.length} failed, ${
        [...row.skipped.values()].reduce((a, b) => a + b, 0)} skipped`;
    for (const row of table) {
        t.diagnostic(`${row.kind.padEnd(9)} ${row.from.padEnd(17)} -> ${row.to.padEnd(17)} ${
            cell(row)}`);
    }
    assert.ok(table.length > 0 || ONLY, "no pair was there");
});
