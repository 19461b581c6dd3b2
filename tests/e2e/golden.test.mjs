/* SPDX-License-Identifier: MIT */
/*
 * Translation, case by case: tests/golden/translate/*.json against the running program. A case is
 * one exchange (or several turns) from a client of one protocol to a backend of another; its
 * README tells the format. INDEX says which rows of the translation matrix they cover.
 *
 * GOLDEN=part     only the cases whose file names have that part
 * SEEN=dir        writes there, a file a case, what reached the upstream and the client
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { Num, parse, write } from "./lib/exact.mjs";
import { INDEX, coverage, index_text, load_cases, read_index } from "./lib/golden.mjs";
import { differences, spell } from "./lib/match.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_backends, missing_clients } from "./lib/protocols.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";
import { violations } from "./lib/schemas.mjs";
import { sse_events } from "./lib/sse.mjs";

const plain = (value) => value instanceof Num ? value.value : value;

const ALL = load_cases();
const CASES = ALL.filter((one) => !one.error);
const WANTED = CASES.filter((one) => one.file.includes(process.env.GOLDEN ?? ""));
const turns_of = (one) => one.turns ?? [one];

/* A key that is refused, or met its limit, cools down: such a case has a backend of its own. */
const alone = (one) => one.options || one.vendor || turns_of(one).some((turn) =>
    [401, 402, 403, 429].includes(plain(turn.upstream?.status)) ||
    /"(RESOURCE_EXHAUSTED|rate_limit\w*|insufficient_quota)"/.test(write(turn.upstream ?? null)));

const mock = await Mock.start();
const no_backend = await missing_backends();
const backends = {};
const name_of = new Map();

function add_backend(name, one) {
    const { base } = PROTOCOLS[one.backend];
    backends[name] = {
        ...(one.vendor ? { type: one.vendor } : { protocol: one.backend }),
        api_url: mock.url.replace(/\/v1$/, base), api_keys: ["upstream-key-1"],
        ...JSON.parse(write(one.options ?? {})),
    };
}

for (const name of NAMES.filter((n) => !no_backend.get(n))) {
    add_backend(PROTOCOLS[name].short, { backend: name });
}
for (const [i, one] of WANTED.entries()) {
    const name = alone(one) ? `c${i}` : PROTOCOLS[one.backend].short;
    if (!no_backend.get(one.backend)) {
        if (!backends[name]) {
            add_backend(name, one);
        }
        name_of.set(one, name);
    }
}

/* One worker: what it answers to others says how far it is with a stream (answer(), below). */
const proxy = await start({ config: { default_backend: "oc", retries: 0, workers: 1, backends } });
const no_client = await missing_clients(proxy);

after(() => stop_all(proxy, mock));

/* ---- The upstream ---- */

function event_bytes(event) {
    if (typeof event === "string") {
        return event;
    }
    const data = typeof event.data === "string" ? event.data : write(event.data);
    return `${event.event ? `event: ${event.event}\n` : ""}data: ${data}\n\n`;
}

/* "$TOOL": the name that the request's first tool has at the upstream. */
function named(script, one, ex) {
    const text = write(script);
    return text.includes("\"$TOOL\"") ? parse(text.replaceAll("\"$TOOL\"", JSON.stringify(
        read_request(one.backend, parse(ex.body), ex.target).tools[0].name))) : script;
}

async function answer(ex, one, given = {}) {
    const script = named(given, one, ex);
    const status = plain(script.status) ?? 200;
    const headers = script.headers ?? {};
    if (script.events) {
        const bytes = script.events.map(event_bytes);
        const breaks = script.cut || bytes.some((text) => /"error":\s*\{/.test(text));
        await ex.open_stream(headers);
        for (const text of bytes) {
            await ex.write(chunk(text));
            if (breaks) {               /* the worker has read it: it has gone its way */
                await proxy.call({ method: "GET", path: "/healthz" });
            }
        }
        if (script.cut) {
            ex.fin();
        } else {
            await ex.write(LAST_CHUNK);
        }
        return;
    }
    let { body } = script;
    let type = "application/json";
    if (body === undefined) {
        const model = one.model ?? "m1";
        const stream = one.backend === "gemini" ? ex.target.includes(":stream") : ex.json.stream;
        body = PROTOCOLS[one.backend][stream ? "stream" : "whole"](model, "ok");
        type = stream ? "text/event-stream" : type;
    }
    await ex.respond({ status, headers: { "content-type": type, ...headers },
        body: typeof body === "string" ? body : write(body) });
}

/* ---- The client ---- */

function request_of(one, turn, bindings) {
    const { request = {} } = turn;
    const body = spell(request.body ?? JSON.parse(JSON.stringify(
        PROTOCOLS[one.client].request("Hi"))), bindings);
    const model = `${name_of.get(one)}:${one.model ?? "m1"}`;
    const stream = one.client === "gemini" ? request.stream === true || request.array === true :
        body.stream === true;
    const target = request.path ?? PROTOCOLS[one.client].path(model, { stream,
        array: request.array === true });
    const named = one.client === "gemini" || "model" in body ? body : { model, ...body };
    return { path: target, headers: request.headers ?? {}, body: write(named), stream };
}

function check_upstream(one, turn, stream, seen, bindings, out) {
    const expected = turn.expect_upstream;
    if (expected === null) {
        if (seen.length > 0) {
            out.push(`the upstream got a request: ${seen[0].body.toString().slice(0, 300)}`);
        }
        return;
    }
    if (seen.length !== 1) {
        out.push(`${seen.length} requests reached the upstream`);
        return;
    }
    const [target, query = ""] = seen[0].target.split("?");
    const model = one.model ?? "m1";
    const wanted = expected?.path ?? PROTOCOLS[one.backend].upstream_path(model, stream);
    const wanted_query = expected?.query ?? (one.backend === "gemini" && stream ? "alt=sse" : "");
    if (target !== wanted || query !== wanted_query) {
        out.push(`upstream's path: expected ${wanted}?${wanted_query}, is ${seen[0].target}`);
    }
    for (const [name, value] of Object.entries(expected?.headers ?? {})) {
        const got = seen[0].get(name) ?? null;
        out.push(...differences(value, got, bindings, `upstream's header ${name}`));
    }
    if (expected?.body !== undefined) {
        const has = Object.hasOwn(expected.body, "$has");
        const body = one.backend === "gemini" || has || "model" in expected.body ? expected.body :
            { ...expected.body, model };
        out.push(...differences(body, parse(seen[0].body), bindings, "upstream"));
    }
}

function client_events(one, turn, got) {
    if (turn.request?.array) {
        return parse(got.text).map((data) => ({ event: null, data }));
    }
    return sse_events(got.body).map(({ event, data }) => ({ event,
        data: /^\s*[{[]/.test(data) && data !== "[DONE]" ? parse(data) : data }));
}

function check_client(one, turn, got, bindings, out) {
    const expected = turn.expect_client ?? {};
    const status = plain(expected.status) ?? 200;
    if (got.status !== status) {
        out.push(`status: expected ${status}, is ${got.status}: ${got.text.slice(0, 500)}`);
        return;
    }
    for (const [name, value] of Object.entries(expected.headers ?? {})) {
        out.push(...differences(value, got.get(name) ?? null, bindings,
            `client's header ${name}`));
    }
    if (expected.body !== undefined) {
        out.push(...differences(expected.body, parse(got.text), bindings, "client"));
    }
    if (expected.events !== undefined) {
        const events = client_events(one, turn, got);
        const wanted = expected.events.map((event, i) => typeof event === "string" ?
            { event: events[i]?.event ?? null, data: event } :
            { event: events[i]?.event ?? null, ...event });
        out.push(...differences(wanted, events, bindings, "client's events"));
    }
    if (expected.reads !== undefined) {
        const value = read_answer(one.client, got.body, got.get("content-type") ?? "");
        out.push(...differences({ $has: expected.reads }, parse(JSON.stringify(value)), bindings,
            "client reads"));
    }
    const warnings = (got.get("x-llm-proxy-warnings") ?? "").split(/,\s*/).filter(Boolean);
    if (turn.warnings !== "$ANY") {
        out.push(...differences([...turn.warnings ?? []].sort(), warnings.sort(), bindings,
            "warnings"));
    }
}

/* For whoever writes a case: a line a turn. */
function remember(one, up, got) {
    if (process.env.SEEN) {
        fs.appendFileSync(path.join(process.env.SEEN, one.file), JSON.stringify({
            target: up?.target ?? null, upstream: up?.body.toString() ?? null, status: got.status,
            client: got.text, warnings: got.get("x-llm-proxy-warnings") ?? "" }) + "\n");
    }
}

async function run_turn(one, turn, bindings, out) {
    const { path: target, headers, body, stream } = request_of(one, turn, bindings);
    mock.requests.length = 0;
    mock.fallback = (ex) => answer(ex, one, turn.upstream);
    const got = await proxy.call({ path: target, headers, body });
    remember(one, mock.posts()[0], got);
    check_client(one, turn, got, bindings, out);
    if (one.client !== one.backend) {   /* what is translated is ours: by the vendor's document */
        out.push(...violations(one.client, got).map((line) => `schema: ${line}`));
    }
    check_upstream(one, turn, stream, mock.posts(), bindings, out);
}

for (const one of WANTED) {
    const skip = no_client.get(one.client) ?? no_backend.get(one.backend) ?? false;
    test(`golden ${one.file}: ${one.case}`, { skip }, async () => {
        const bindings = new Map();
        const wrong = [];
        for (const [i, turn] of turns_of(one).entries()) {
            const out = [];
            await run_turn(one, turn, bindings, out);
            wrong.push(...out.map((line) => one.turns ? `turn ${i + 1}: ${line}` : line));
        }
        assert.equal(wrong.length, 0, `${one.file}:\n${wrong.join("\n")}`);
    });
}

/* ---- The index ---- */

test("golden: every case can be read, and says what it is and which rows it is for", () => {
    for (const one of ALL) {
        assert.equal(one.error, undefined, `${one.file}: ${one.error?.message}`);
        assert.ok(typeof one.case === "string" && one.case !== "", `${one.file} has no case`);
        assert.ok(one.rows?.length > 0, `${one.file} has no rows`);
    }
});

test("golden: INDEX names every case in the rows that it is for, and no other file", (t) => {
    const list = read_index();
    const rows = new Set(list.filter((entry) => entry.row).map((entry) => entry.row));
    assert.equal(rows.size, list.filter((entry) => entry.row).length, "a row stands twice");
    for (const one of CASES) {
        for (const row of one.rows) {
            assert.ok(rows.has(row), `${one.file}: INDEX has no row ${row}`);
        }
    }
    assert.equal(fs.readFileSync(INDEX, "utf8"), index_text(list, CASES),
        "node tests/e2e/lib/golden.mjs writes it again");
    const { missing, cells } = coverage(list, CASES);
    for (const one of missing) {
        t.diagnostic(`missing: ${one}`);
    }
    t.diagnostic(`${missing.length} of ${cells} pairs of a row without a case`);
    assert.equal(missing.length, 0);
});
