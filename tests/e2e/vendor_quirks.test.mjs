/* SPDX-License-Identifier: MIT */
/*
 * What vendors answer (quirks.md), case by case: tests/golden/vendors_answers/VENDOR.json, each to
 * clients of all four protocols. A client of Chat Completions gets the bytes that came, or `raw`;
 * all read what `reads` says.
 *
 * GOLDEN=part     only the cases whose vendor or title has that part
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { parse, write } from "./lib/exact.mjs";
import { differences } from "./lib/match.mjs";
import { Mock } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_clients } from "./lib/protocols.mjs";
import { ROOT, start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";
import { read_answer } from "./lib/read.mjs";
import { sse_events } from "./lib/sse.mjs";

const DIR = path.join(ROOT, "tests/golden/vendors_answers");
const MEMBERS = new Set(["case", "quirks", "upstream", "status", "message", "reads", "raw"]);
const TOOLS = ["f", "g"];

const CASES = fs.readdirSync(DIR).filter((file) => file.endsWith(".json")).flatMap((file) =>
    JSON.parse(fs.readFileSync(path.join(DIR, file), "utf8")).map((one, i) =>
        ({ ...one, vendor: file.replace(".json", ""), name: `${file.replace(".json", "")}-${i}` })))
    .filter((one) => `${one.vendor} ${one.case}`.includes(process.env.GOLDEN ?? ""));

const rng = random("vendor quirks");
const mock = await Mock.start();
/* A key that met its limit cools down: such a case has backends of its own. */
const cools = (one) => /429/.test(JSON.stringify(one.upstream));
const backend_of = (one, client) => cools(one) ? `${one.name}-${PROTOCOLS[client].short}` :
    one.vendor;
const backends = Object.fromEntries(CASES.flatMap((one) => NAMES.map((client) =>
    [backend_of(one, client), { type: one.vendor, api_url: mock.url,
        api_keys: ["upstream-key-1"] }])));
const proxy = await start({ config: { default_backend: Object.keys(backends)[0], retries: 0,
    retry_wait_max: 0, backends } });
const no_client = await missing_clients(proxy);

after(() => stop_all(proxy, mock));

function bytes_of({ events, bytes = "", body }) {
    if (!events) {
        return typeof body === "string" ? body : JSON.stringify(body);
    }
    return bytes + events.map((event) =>
        `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");
}

/* Each declares the tools that the cases call. */
const DECLARED = {
    "openai-chat": (name) => ({ type: "function", function: { name, parameters: {
        type: "object", properties: { x: { type: "integer" } } } } }),
    "openai-responses": (name) => ({ type: "function", name, parameters: {
        type: "object", properties: { x: { type: "integer" } } } }),
    anthropic: (name) => ({ name, input_schema: { type: "object",
        properties: { x: { type: "integer" } } } }),
    gemini: (name) => ({ functionDeclarations: [{ name, parameters: { type: "OBJECT",
        properties: { x: { type: "INTEGER" } } } }] }),
};

function request_of(one, client, stream) {
    const protocol = PROTOCOLS[client];
    const model = `${backend_of(one, client)}:m1`;
    const calls = one.reads?.tools !== undefined;
    const body = { ...protocol.request("Hi"),
        ...(calls ? { tools: TOOLS.map(DECLARED[client]) } : {}) };
    if (client !== "gemini") {
        Object.assign(body, { model, stream });
    }
    if (client === "openai-chat" && stream) {
        body.stream_options = { include_usage: true };
    }
    if (client === "gemini") {
        body.generationConfig = { thinkingConfig: { includeThoughts: true } };
    }
    if (client === "openai-responses") {
        body.reasoning = { summary: "auto" };
    }
    return { path: protocol.path(model, { stream }), body: JSON.stringify(body) };
}

function compare_raw(one, got, came, out) {
    if (one.raw === "same") {
        if (got.text !== came) {
            out.push(`bytes: ${JSON.stringify(got.text)} went, ${JSON.stringify(came)} came`);
        }
        return;
    }
    const said = one.upstream.events ? sse_events(got.body).map(({ data }) => data)
        .filter((data) => data !== "[DONE]").map((data) => parse(data)) : parse(got.text);
    out.push(...differences(parse(JSON.stringify(one.raw)), said, new Map(), "raw"));
}

function compare_reads(wanted, got, client, out) {
    const reading = read_answer(client, got.body, got.get("content-type") ?? "");
    const { error, tools, ...others } = wanted;
    if (Boolean(error) !== Boolean(reading.error)) {
        out.push(`error: ${JSON.stringify(reading.error)}`);
    }
    if (tools) {
        const plain = (list) => list.map((tool) => [tool.name, write(parse(tool.arguments))]);
        assert.deepEqual(plain(reading.tools), plain(tools));
    }
    out.push(...differences(parse(JSON.stringify({ $has: { ...others, ...(others.usage && reading.usage ?
        { usage: { $has: others.usage } } : {}) } })), parse(JSON.stringify(reading)), new Map(),
    "reads"));
}

for (const one of CASES) {
    test(`vendor ${one.vendor}: ${one.case}`, async () => {
        for (const name of Object.keys(one)) {
            assert.ok(MEMBERS.has(name) || ["vendor", "name"].includes(name), `member ${name}`);
        }
        const came = bytes_of(one.upstream);
        const stream = Boolean(one.upstream.events);
        const wrong = [];
        for (const client of NAMES.filter((name) => !no_client.get(name))) {
            mock.fallback = (ex) => ex.respond({ status: one.upstream.status ?? 200,
                headers: { "content-type": one.upstream.type ??
                    (stream ? "text/event-stream" : "application/json") },
                body: Buffer.from(came), framing: "chunked", cuts: 4, rng });
            const got = await proxy.call(request_of(one, client, stream));
            const out = [];
            const status = one.status?.[client] ?? one.status?.["*"] ??
                (one.reads ? 200 : got.status);
            if (got.status !== status) {
                out.push(`status ${got.status}, not ${status}: ${got.text.slice(0, 300)}`);
            } else if (got.status >= 400) {
                if (one.message && !got.text.includes(one.message)) {
                    out.push(`no "${one.message}" in ${got.text.slice(0, 300)}`);
                }
            } else if (one.reads) {
                compare_reads(one.reads, got, client, out);
            }
            if (client === "openai-chat" && one.raw && out.length === 0) {
                compare_raw(one, got, came, out);
            }
            wrong.push(...out.map((line) => `${client}: ${line}`));
        }
        assert.equal(wrong.length, 0, wrong.join("\n"));
    });
}
