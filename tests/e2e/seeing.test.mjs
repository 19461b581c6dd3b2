/* SPDX-License-Identifier: MIT */
/*
 * What operators see: where the time of a request goes (Server-Timing, PERF_SUMMARY,
 * /v2/performance), what backends are at (/v2/backends), metrics, and debug-stream.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { until, within } from "./lib/http1.mjs";
import { Mock, chunk, delta, whole } from "./lib/mock.mjs";
import { KEY, PROGRAM, backend, run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";

const skip_tls = available() ? false : "the openssl command is not installed";
const MESSAGES = [{ role: "user", content: "x" }];
const JOE = { Authorization: "Bearer joe-key-1" };
const UPSTREAM_KEYS = { first: "sk-upstream-secret-1", second: "sk-upstream-secret-2" };
const OWN = ["admission", "decode", "session", "command", "route", "encode"];
const NAMES = ["receive", ...OWN.slice(0, 5), "pause", "connect", "backend", "encode", "stream",
    "send"];

let mock;
let proxy;

const config = (more = {}) => ({
    default_backend: "mock",
    api_keys: [{ name: "boss", key: KEY, admin: true }, { name: "joe", key: "joe-key-1" }],
    backends: {
        mock: backend(mock, { api_keys: UPSTREAM_KEYS }),
        dead: backend(mock, { api_url: "http://127.0.0.1:1/v1" }),
        keyless: { type: "openai" },
    },
    ...more,
});

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: config() });
});

after(() => stop_all(proxy, mock));

const get = (path, headers) => proxy.call({ method: "GET", path, headers });
const ask = (more = {}, headers = {}) => proxy.chat({ model: "mock:m1", messages: MESSAGES,
    ...more }, { headers });
const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

async function json(path) {
    const answer = await get(path);
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.get("content-type"), /^application\/json/);
    return answer.json;
}

/* Both once all that was asked before is counted, but `others` that still run. */
const performance_of = async (name, others = 0) => {
    await proxy.counted(others);
    return (await json("/v2/performance")).backends.find((b) => b.backend === name);
};
const backend_of = async (name, others = 0) => {
    await proxy.counted(others);
    return (await json("/v2/backends")).backends.find((b) => b.name === name);
};

/** Strictly, as the header's grammar has it: {name: microseconds}, in its order. */
function timing_of(answer) {
    const text = answer.get("server-timing");
    assert.ok(text !== undefined, "there is no Server-Timing");
    const phases = new Map();
    for (const metric of text.split(", ")) {
        const m = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+);dur=(\d+)\.(\d{3})$/.exec(metric);
        assert.ok(m, `not a metric: ${metric}`);
        assert.ok(!phases.has(m[1]), `${m[1]} stands there twice`);
        phases.set(m[1], Number(m[2]) * 1000 + Number(m[3]));
    }
    assert.equal([...phases.keys()].at(-1), "total");
    const names = [...phases.keys()].slice(0, -1);
    assert.deepEqual(names, NAMES.filter((n) => names.includes(n)), "unknown, or out of order");
    for (const name of [...OWN, "backend"]) {
        assert.ok(phases.has(name), `${name} is missing: ${text}`);
    }
    let sum = 0;
    for (const name of names) {
        sum += phases.get(name);
    }
    assert.equal(sum, phases.get("total"), `the phases do not add up: ${text}`);
    return Object.fromEntries(phases);
}

/** The log line of an answer: {fields, names, phases}, checked for what always holds. */
async function line_of(answer, of = proxy) {
    const id = answer.get("x-llm-proxy-request-id");
    const pattern = new RegExp(`^.* msg=PERF_SUMMARY .*request=${id}.*$`, "m");
    await of.logged(pattern);
    const line = pattern.exec(of.stderr)[0];
    const fields = {};
    for (const [, name, quoted, bare] of line.matchAll(
        / ([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)) {
        fields[name] = quoted ?? bare;
    }
    const names = Object.keys(fields).slice(Object.keys(fields).indexOf("msg") + 1);
    const phases = {};
    assert.match(fields.breakdown, /^\[.*\]$/);
    for (const part of fields.breakdown.slice(1, -1).split(",")) {
        const m = /^([a-z]+):(\d+)\.(\d{6})$/.exec(part);
        assert.ok(m && NAMES.includes(m[1]), `not a phase: ${part}`);
        phases[m[1]] = Number(m[2]) * 1_000_000 + Number(m[3]);
    }
    const us = (text, decimals) => {
        assert.match(text, new RegExp(`^\\d+\\.\\d{${decimals}}s$`));
        return Math.round(Number.parseFloat(text) * 1e6);
    };
    const sum = Object.values(phases).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(us(fields.total, 3) - sum) <= 500, `the phases do not add up: ${line}`);
    const own = OWN.reduce((a, name) => a + (phases[name] ?? 0), 0);
    assert.equal(us(fields.overhead, 6), own, line);
    return { line, fields, names, phases, own };
}

test("timing: a whole answer says where its time went, and so does its line", async () => {
    const DELAY_MS = 60;
    mock.next(async (ex) => {
        await pause(DELAY_MS);
        await ex.json_answer(whole("m1", "hello"));
    });
    const answer = await ask({}, { "x-session-id": "timed-1" });
    assert.equal(answer.status, 200);
    const timing = timing_of(answer);
    assert.ok(timing.backend >= (DELAY_MS - 2) * 1000, "the backend's time is another's");
    const { fields, names, phases } = await line_of(answer);
    assert.deepEqual(names.slice(0, 6),
        ["session", "total", "backend", "model", "breakdown", "overhead"]);
    assert.equal(fields.session, "timed-1");
    assert.equal(fields.backend, "mock");
    assert.equal(fields.model, "m1");
    assert.equal(fields.client, "boss");
    assert.ok(["first", "second"].includes(fields.key), fields.key);
    assert.equal(fields.attempts, "1");
    /* What was over when the head was written is the same in both. */
    for (const name of [...OWN, "backend"]) {
        assert.equal(phases[name] ?? 0, timing[name], name);
    }
});

test("timing: connecting is told where there was no connection, and only there", async () => {
    const one = await start({ config: config({ workers: 1 }) });
    const first = timing_of(await one.chat({ model: "mock:m1", messages: MESSAGES }));
    const second = timing_of(await one.chat({ model: "mock:m1", messages: MESSAGES }));
    assert.ok(first.connect > 0);
    assert.equal(second.connect, undefined);
    await one.stop();
});

test("timing: a request that comes slowly was received, not worked on", async () => {
    const client = await proxy.connect();
    const body = Buffer.from(JSON.stringify({ model: "mock:m1", messages: MESSAGES }));
    const lines = proxy.headers().map(([n, v]) => `${n}: ${v}`).join("\r\n");
    client.methods.push("POST");
    client.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${proxy.port}\r\n${
        lines}\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`);
    await until(() => client.informational.length === 1, "100 Continue");
    client.write(body.subarray(0, 10)); /* what it has by now it has had for 50 ms then */
    await pause(50);
    client.write(body.subarray(10));
    const answer = await client.response();
    client.destroy();
    assert.equal(answer.status, 200);
    const timing = timing_of(answer);
    assert.ok(timing.receive >= 45_000, answer.get("server-timing"));
    assert.equal(timing.admission, 0);
    assert.ok((await line_of(answer)).own < timing.receive);
});

test("timing: a stream says its phases up to the first byte, its line all of them", async () => {
    let begun;
    const has_first = new Promise((resolve) => { begun = resolve; });
    mock.next(async (ex) => {
        await pause(40);
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "a" }));
        await has_first;
        await pause(60);
        await ex.event(delta("m1", { content: "b" }));
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "mock:m1", messages: MESSAGES, stream: true }) });
    const answer = await client.head();
    begun();
    await within(20_000, "the end", answer.done);
    client.destroy();
    const timing = timing_of(answer);
    assert.ok(timing.backend >= 38_000);
    assert.ok(timing.total < timing.backend + 5_000_000);
    assert.equal(timing.stream, undefined);
    const { phases, fields } = await line_of(answer);
    assert.ok(phases.stream >= 55_000, fields.breakdown);
    assert.equal(phases.backend, timing.backend);
    assert.ok(Number.parseFloat(fields.first_byte) >= 0.038);
});

test("timing: a client that does not read a stream is not waited for by the backend", async () => {
    const one = await start({ config: config({ workers: 1 }) });
    const text = "x".repeat(4096);
    let written = 0;
    let held = false;
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "a" }));
        while (!held) {
            await ex.event(delta("m1", { content: text }));
            written++;
        }
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    const client = await one.connect();
    client.on_data = () => {};
    client.send({ path: "/v1/chat/completions", headers: one.headers(),
        body: JSON.stringify({ model: "mock:m1", messages: MESSAGES, stream: true }) });
    const answer = await client.head();
    client.socket.pause();
    /* The same worker answers others meanwhile: it would have read on, had it wanted to. */
    await until(async () => {
        const before = written;
        for (let i = 0; i < 20; i++) {
            await one.call({ method: "GET", path: "/healthz" });
        }
        return written === before;
    }, "the backend is held back");
    held = true;
    await pause(110);
    client.socket.resume();
    await within(20_000, "the end", answer.done);
    client.destroy();
    const { phases } = await line_of(answer, one);
    assert.ok(phases.send >= 100_000, JSON.stringify(phases));
    await one.stop();
});

test("timing: commands and refusals have a line and no backend", async () => {
    const answer = await proxy.chat({ model: "mock:m1", messages: [{ role: "user",
        content: "!/hello" }] });
    const timing = timing_of(answer);
    assert.equal(timing.backend, 0);
    assert.equal(timing.route, 0);
    const { fields } = await line_of(answer);
    assert.equal(fields.backend, undefined);
    assert.equal(fields.attempts, undefined);
    const refused = await proxy.chat("{");
    assert.equal(refused.status, 400);
    timing_of(refused);
    const stranger = await ask({}, { Authorization: "Bearer nobody" });
    assert.equal(stranger.status, 401);
    assert.equal(stranger.get("server-timing"), undefined, "strangers learn how long it took");
});

test("timing: the session's time and the commands' are told apart", async () => {
    const file = await start({ config: config({ session: { repository: "file" } }) });
    const say = (content) => file.chat({ model: "mock:m1", messages: [{ role: "user", content }] },
        { headers: { "x-session-id": "timed" } });
    try {
        const plain = timing_of(await say("hello"));
        assert.equal(plain.command, 0, "there was none");
        const set = timing_of(await say("!/set(project=p)"));
        assert.ok(set.command > 20, `the database's sync is not in it: ${JSON.stringify(set)}`);
        await file.counted();
        const { all } = (await file.call({ method: "GET", path: "/v2/performance" })).json;
        assert.ok(all.phases.session.count >= 2 && all.phases.command.count >= 2);
        assert.ok(all.phases.command.p99 > 0.02);
    } finally {
        await file.stop();
    }
});

test("performance: percentiles are those of the lines", async () => {
    const one = await start({ config: config() });
    const N = 40;
    for (let i = 0; i < N; i++) {
        mock.next(async (ex) => {
            await pause(i % 5 === 0 ? 20 : 1);
            await ex.json_answer(whole("m1", "y"));
        });
        const answer = await one.chat({ model: "mock:m1", messages: MESSAGES });
        assert.equal(answer.status, 200);
    }
    const told = () => [...one.stderr.matchAll(/ msg=PERF_SUMMARY .*status=200 .*$/gm)];
    await until(() => told().length === N, "all lines");
    await one.counted();
    const columns = { overhead: [], backend: [], decode: [], first_byte: [] };
    for (const [line] of told()) {
        columns.overhead.push(Number(/overhead=([\d.]+)s/.exec(line)[1]) * 1000);
        columns.first_byte.push(Number(/first_byte=([\d.]+)s/.exec(line)[1]) * 1000);
        for (const name of ["backend", "decode"]) {
            columns[name].push(Number(new RegExp(`[\\[,]${name}:([\\d.]+)`).exec(line)?.[1] ?? 0) *
                1000);
        }
    }
    const answer = await one.call({ method: "GET", path: "/v2/performance" });
    const mine = answer.json.backends.find((b) => b.backend === "mock");
    assert.equal(mine.requests, N);
    assert.equal(mine.errors, 0);
    assert.equal(mine.cancelled, 0);
    for (const [name, values] of Object.entries(columns)) {
        const measure = mine.phases[name] ?? mine[name];
        assert.equal(measure.count, N, name);
        values.sort((a, b) => a - b);
        for (const p of [50, 90, 99]) {
            const exact = values[Math.ceil(values.length * p / 100) - 1];
            assert.ok(Math.abs(measure[`p${p}`] - exact) <= exact * answer.json.error_max + 0.0005,
                `${name} p${p}: ${measure[`p${p}`]} instead of ${exact}`);
        }
    }
    assert.equal(mine.total.count, N);
    assert.deepEqual(Object.keys(mine.phases), NAMES);
    assert.deepEqual(Object.entries(answer.json.phases).filter(([, p]) => p.overhead)
        .map(([name]) => name), OWN);
    assert.ok(answer.json.uptime_seconds > 0);
    assert.ok(Math.abs(Date.parse(answer.json.since) - Date.now()) < 300_000);
    assert.ok(answer.json.resident_memory_bytes > 1_000_000);
    assert.equal(answer.json.all.requests, N + answer.json.proxy.requests);
    /* All of it was in the last minutes (unit tests let them pass). */
    for (const part of [answer.json.all, answer.json.proxy, mine]) {
        const { recent, backend: _, ...ever } = part;
        assert.deepEqual(recent, ever);
    }
    assert.ok(answer.json.recent_seconds > 0);
    assert.ok(answer.json.recent_seconds <= answer.json.uptime_seconds);
    await one.stop();
});

test("performance: errors count, who left does not in the times", async () => {
    const one = await performance_of("mock");
    mock.next((ex) => ex.json_answer({ error: { message: "no" } }, { status: 400 }));
    assert.equal((await ask()).status, 400);
    const two = await performance_of("mock");
    assert.equal(two.requests, one.requests + 1);
    assert.equal(two.errors, one.errors + 1);
    assert.equal(two.total.count, one.total.count + 1);
    const asked = new Promise((resolve) => {
        mock.next((ex) => resolve(ex));
    });
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "mock:m1", messages: MESSAGES }) });
    await asked;
    client.destroy();
    const three = await performance_of("mock");
    assert.equal(three.requests, two.requests + 1);
    assert.equal(three.cancelled, two.cancelled + 1);
    assert.equal(three.total.count, two.total.count);
    assert.equal(three.errors, two.errors);
});

test("seeing: operators only", async () => {
    for (const path of ["/v2/performance", "/v2/backends"]) {
        assert.equal((await get(path)).status, 200);
        const joe = await get(path, JOE);
        assert.equal(joe.status, 403, path);
        assert.equal(joe.json.error.code, "forbidden");
        assert.equal((await get(path, { Authorization: "Bearer nobody" })).status, 401);
        const post = await proxy.call({ method: "POST", path, body: "{}" });
        assert.equal(post.status, 405);
        assert.match(post.get("allow"), /GET/);
    }
});

test("backends: what each is, why one does not work, keys by their names", async () => {
    await get("/v1/models");
    const answer = await get("/v2/backends");
    for (const key of Object.values(UPSTREAM_KEYS)) {
        assert.ok(!answer.text.includes(key), "a key is told");
    }
    const list = answer.json.backends;
    assert.deepEqual(list.map((b) => b.name).sort(), ["dead", "keyless", "mock"]);
    const [dead, keyless, mine] = ["dead", "keyless", "mock"]
        .map((name) => list.find((b) => b.name === name));
    assert.equal(mine.functional, true);
    assert.equal(mine.why, null);
    assert.equal(mine.default, true);
    assert.equal(dead.default, false);
    assert.deepEqual(mine.protocols, ["openai-chat"]);
    assert.equal(mine.url, mock.url);
    assert.equal(mine.type, null, "a plain protocol is no vendor's");
    assert.equal(keyless.functional, false);
    assert.match(keyless.why, /key/);
    assert.equal(keyless.type, "openai");
    assert.deepEqual(mine.keys.map((k) => k.name).sort(), ["first", "second"]);
    for (const key of mine.keys) {
        assert.equal(key.state, "usable");
        assert.equal(key.until, null);
        assert.equal(key.in_flight, 0);
    }
    /* Each worker has a list of its own, and another may answer. */
    await until(async () => {
        await get("/v1/models");
        return (await backend_of("mock")).models === 3;
    }, "the number of models is known");
});

test("backends: one that is called other is as good as any other", async () => {
    const one = await start({ config: config({ default_backend: "other",
        backends: { other: backend(mock), mock: backend(mock) } }) });
    try {
        mock.next((ex) => ex.json_answer({ error: { message: "no" } }, { status: 400 }));
        assert.equal((await one.chat({ model: "other:m", messages: MESSAGES })).status, 400);
        const seen = async (path) => (await one.call({ method: "GET", path })).json.backends
            .find((b) => (b.name ?? b.backend) === "other");
        await one.counted();
        const { errors, uses, latency, last_error } = await seen("/v2/backends");
        assert.deepEqual([errors, uses, latency.total.count, last_error.status], [1, 1, 1, 400]);
        assert.equal((await seen("/v2/performance")).requests, 1);
        const metrics = (await one.call({ method: "GET", path: "/metrics" })).text;
        assert.match(metrics, /^llm_proxy_attempts_total\{backend="other"\} 1$/m);
        assert.ok(!metrics.includes("(other)"), "nothing shares a slot");
    } finally {
        await one.stop();
    }
});

test("backends: in flight while it runs, not after; uses count", async () => {
    const one = await backend_of("mock");
    let release;
    const held = new Promise((resolve) => {
        release = resolve;
    });
    const asked = new Promise((resolve) => {
        mock.next(async (ex) => {
            resolve();
            await held;
            await ex.json_answer(whole("m1", "z"));
        });
    });
    const answer = ask();
    await asked;
    const during = await backend_of("mock", 1);
    assert.equal(one.in_flight, 0);
    assert.equal(during.in_flight, 1);
    assert.equal(during.connections.busy, during.in_flight);
    assert.ok(during.connections.open >= during.connections.busy);
    assert.equal(during.uses, one.uses + 1);
    assert.equal(during.keys.reduce((n, k) => n + k.in_flight, 0), 1);
    release();
    assert.equal((await answer).status, 200);
    const over = await backend_of("mock");
    assert.equal(over.in_flight, 0);
    assert.equal(over.latency.total.count, one.latency.total.count + 1);
    for (const measure of Object.values(over.latency).filter((m) => typeof m === "object")) {
        assert.ok(measure.p50 <= measure.p90 && measure.p90 <= measure.p99);
    }
});

test("backends: the last error, with its status and words, without keys", async () => {
    mock.next((ex) => ex.json_answer({ error: { message:
        `bad thing near ${UPSTREAM_KEYS.first} ${UPSTREAM_KEYS.second}` } }, { status: 418 }));
    assert.equal((await ask()).status, 418);
    const { last_error: error } = await backend_of("mock");
    assert.equal(error.status, 418);
    assert.match(error.text, /^bad thing near /);
    assert.doesNotMatch(error.text, /secret/);
    assert.ok(Math.abs(Date.parse(error.time) - Date.now()) < 60_000);
    assert.equal((await proxy.chat({ model: "dead:m", messages: MESSAGES })).status, 502);
    const dead = await backend_of("dead");
    assert.equal(dead.last_error.status, null);
    assert.equal(dead.last_error.code, "UPSTREAM_UNREACHABLE");
    assert.match(dead.last_error.text, /refused/);
    assert.ok(dead.errors >= 1);
});

test("backends: an error inside a stream is one, too", async () => {
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "a" }));
        await ex.event({ error: { message: "lost in the middle", code: 500 } });
        await ex.close_stream();
    });
    await ask({ stream: true });
    assert.match((await backend_of("mock")).last_error.text, /lost in the middle/);
});

test("backends: a key that cools and one that was refused, their errors; opaque paths count", async () => {
    const one = await start({ config: config({ workers: 1 }) });
    const state = async () => (await one.call({ method: "GET", path: "/v2/backends" })).json
        .backends.find((b) => b.name === "mock");
    mock.next((ex) => ex.json_answer({ error: { message: "no picture of that" } },
        { status: 400 }));
    const opaque = await one.call({ path: "/v1/images/generations",
        body: JSON.stringify({ model: "mock:i1", prompt: "x" }) });
    assert.equal(opaque.status, 400);
    timing_of(opaque);
    assert.equal((await state()).last_error.text, "no picture of that");
    mock.next((ex) => ex.json_answer({ error: { message: "slow down" } },
        { status: 429, headers: { "retry-after": "1800" } }));
    assert.equal((await one.chat({ model: "mock:m1", messages: MESSAGES })).status, 200);
    const limited = await state();
    assert.equal(limited.last_error.status, 429);
    assert.equal(limited.last_error.text, "slow down");
    const [cooling] = limited.keys.filter((k) => k.state === "cooling");
    const [usable] = limited.keys.filter((k) => k.state === "usable");
    const left = Date.parse(cooling.until) - Date.now();
    assert.ok(left > 1_500_000 && left <= 1_800_000, `it cools for ${left} ms`);
    assert.equal(cooling.last_error.status, 429);
    assert.equal(cooling.uses + usable.uses, 3);
    assert.equal(limited.uses, 3);
    const metric = strict((await one.call({ method: "GET", path: "/metrics" })).text);
    const keys = (kind) => [...metric.get(`llm_proxy_keys_${kind}`).samples.values()]
        .find((s) => s.labels.backend === "mock").value;
    assert.deepEqual([keys("usable"), keys("cooling"), keys("invalid")], [1, 1, 0]);
    mock.next((ex) => ex.json_answer({ error: { message: "no such key" } }, { status: 401 }));
    await one.chat({ model: "mock:m1", messages: MESSAGES });
    assert.deepEqual((await state()).keys.map((k) => k.state).sort(), ["cooling", "invalid"]);
    await one.stop();
});

test("timing: a pause for a key is told, and is nobody's overhead", async () => {
    const one = await start({ config: config({ backends: { mock: backend(mock) } }) });
    mock.next((ex) => ex.json_answer({ error: { message: "slow down" } },
        { status: 429, headers: { "retry-after-ms": "120" } }));
    const answer = await one.chat({ model: "mock:m1", messages: MESSAGES });
    assert.equal(answer.status, 200);
    const timing = timing_of(answer);
    assert.ok(timing.pause >= 100_000, answer.get("server-timing"));
    assert.ok(timing.backend < timing.total - timing.pause);
    await one.stop();
});

/** Prometheus' text format, every rule of it that a line or a family can break. */
function strict(text) {
    const families = new Map();
    let family = null;
    assert.ok(text.endsWith("\n") && !text.includes("\r"));
    for (const line of text.slice(0, -1).split("\n")) {
        const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
        if (meta) {
            if (meta[1] === "HELP") {
                assert.ok(!families.has(meta[2]), `${meta[2]} comes twice`);
                family = { name: meta[2], type: null, samples: new Map() };
                families.set(meta[2], family);
            } else {
                assert.equal(meta[2], family.name);
                assert.ok(family.type === null && family.samples.size === 0);
                assert.match(meta[3], /^(counter|gauge|histogram)$/);
                family.type = meta[3];
            }
            continue;
        }
        const m = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
        assert.ok(m, `neither a comment nor a sample: ${line}`);
        const labels = {};
        let rest = m[2] ?? "";
        while (rest !== "") {
            const pair = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)/.exec(rest);
            assert.ok(pair, `not labels: ${line}`);
            assert.ok(!(pair[1] in labels), `a label twice: ${line}`);
            labels[pair[1]] = pair[2];
            rest = rest.slice(pair[0].length);
        }
        assert.match(m[3], /^[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)$|^NaN$/, line);
        const suffix = family.type === "histogram" ? m[1].slice(family.name.length) : "";
        assert.equal(m[1], family.name + suffix, `${line} belongs to no family`);
        if (family.type === "histogram") {
            assert.match(suffix, /^_(bucket|sum|count)$/, line);
        }
        const key = m[1] + JSON.stringify(Object.entries(labels).sort());
        assert.ok(!family.samples.has(key), `twice: ${line}`);
        family.samples.set(key, { suffix, labels, value: Number(m[3].replace("Inf", "Infinity")) });
    }
    for (const { name, type, samples } of families.values()) {
        if (type === "counter") {
            assert.match(name, /_total$/);
        }
        if (type !== "histogram") {
            continue;
        }
        const series = new Map();
        for (const { suffix, labels, value } of samples.values()) {
            const { le, ...others } = labels;
            const key = JSON.stringify(others);
            const one = series.get(key) ?? { buckets: [] };
            series.set(key, one);
            if (suffix === "_bucket") {
                one.buckets.push([le === "+Inf" ? Infinity : Number(le), value]);
            } else {
                assert.equal(le, undefined);
                one[suffix] = value;
            }
        }
        for (const [key, { buckets, _sum: sum, _count: count }] of series) {
            assert.ok(buckets.length > 5 && buckets.at(-1)[0] === Infinity, name + key);
            for (let i = 1; i < buckets.length; i++) {
                assert.ok(buckets[i][0] > buckets[i - 1][0], `${name}: bounds fall`);
                assert.ok(buckets[i][1] >= buckets[i - 1][1], `${name}: counts fall`);
            }
            assert.equal(buckets.at(-1)[1], count);
            assert.ok(sum >= 0);
            /* The sum lies between what the buckets allow. */
            let least = 0;
            for (let i = 1; i < buckets.length; i++) {
                least += buckets[i - 1][0] * (buckets[i][1] - buckets[i - 1][1]);
            }
            assert.ok(sum >= least - 1e-3, `${name}${key}: ${sum} is less than ${least}`);
        }
    }
    return families;
}

async function metrics() {
    const families = strict(await proxy.counted());
    return (name, labels = {}, suffix = "") => {
        const family = families.get(`llm_proxy_${name}`);
        assert.ok(family, `there is no ${name}`);
        const found = [...family.samples.values()].filter((s) => s.suffix === suffix &&
            Object.entries(labels).every(([k, v]) => s.labels[k] === v));
        assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}`);
        return found[0].value;
    };
}

test("metrics: times by backend, tokens, bytes, connections and keys", async () => {
    const MOCK = { backend: "mock" };
    const one = await metrics();
    const usage = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150,
        prompt_tokens_details: { cached_tokens: 30 },
        completion_tokens_details: { reasoning_tokens: 20 } };
    let up = 0;
    for (let i = 0; i < 3; i++) {
        mock.next(async (ex) => {
            up += ex.body.length;
            await ex.json_answer({ ...whole("m1", "q"), usage });
        });
        assert.equal((await ask()).status, 200);
    }
    const two = await metrics();
    const grown = (name, labels, suffix) => two(name, labels, suffix) - one(name, labels, suffix);
    assert.equal(grown("request_seconds", MOCK, "_count"), 3);
    assert.equal(grown("first_byte_seconds", MOCK, "_count"), 3);
    assert.equal(grown("upstream_seconds", MOCK, "_count"), 3);
    assert.ok(grown("request_seconds", MOCK, "_sum") >= grown("upstream_seconds", MOCK, "_sum"));
    assert.ok(grown("upstream_seconds", MOCK, "_sum") > 0);
    assert.equal(grown("tokens_input_total", MOCK), 300);
    assert.equal(grown("tokens_output_total", MOCK), 150);
    assert.equal(grown("tokens_cached_total", MOCK), 90);
    assert.equal(grown("tokens_reasoning_total", MOCK), 60);
    assert.equal(grown("upstream_sent_bytes_total", MOCK), up);
    assert.ok(grown("client_bytes_up_total") >= up);
    assert.ok(grown("client_bytes_down_total") > 0);
    assert.equal(two("keys_usable", MOCK) + two("keys_cooling", MOCK) + two("keys_invalid", MOCK),
        2);
    assert.equal(two("upstream_connections", MOCK),
        two("upstream_connections_busy", MOCK) + two("upstream_connections_idle", MOCK));
    assert.ok(two("upstream_connections_idle", MOCK) >= 1);
});

test("metrics: a backend's name is the only label of its kind", async () => {
    await proxy.chat({ model: "made-up-model-name", messages: MESSAGES });
    const families = strict((await get("/metrics")).text);
    for (const { samples } of families.values()) {
        for (const { labels } of samples.values()) {
            for (const [name, value] of Object.entries(labels)) {
                assert.ok(["backend", "code", "status", "le"].includes(name), name);
                assert.ok(name !== "backend" || ["mock", "dead", "keyless", "other"]
                    .includes(value), value);
            }
        }
    }
});

/* --- debug-stream --- */

const env = { LLM_INTERACTIVE_PROXY_API_KEY: KEY };
const debug = (...args) => run(["debug-stream", ...args], { env });

/** The events: [{at, since, text}], and that the times agree with one another. */
function events_of(stdout) {
    const events = [...stdout.matchAll(/^ *(\d+\.\d{3}) ms {2}\+ *(\d+\.\d{3}) ms {2}(.*)$/gm)]
        .map(([, at, since, text]) => ({ at: Number(at), since: Number(since), text }));
    for (let i = 1; i < events.length; i++) {
        assert.ok(Math.abs(events[i].at - events[i - 1].at - events[i].since) < 0.002,
            `${events[i].at} is not ${events[i].since} after ${events[i - 1].at}`);
    }
    return events;
}

/** Its second event comes 80 ms after `told`, if not at once. */
function slow_stream({ told = null, cut = false }) {
    return async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "one" }));
        if (told !== null) {
            await told();
            await pause(80);
        }
        await ex.event(delta("m1", { content: "two" }));
        if (cut) {
            await ex.write(chunk("data: {\"half"));
            ex.rst();
            return;
        }
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    };
}

test("debug-stream: each event with its times", async () => {
    const child = spawn(PROGRAM, ["debug-stream", "--url", proxy.url, "--model", "mock:m1", "hi"],
        { env, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => { stdout += text; });
    child.stderr.setEncoding("utf8").on("data", (text) => { stderr += text; });
    mock.next(slow_stream({ told: () => until(() => /"content":"one"/.test(stdout), "one") }));
    const [code] = await once(child, "close");
    assert.equal(code, 0, stderr);
    assert.equal(mock.requests.at(-1).json.messages[0].content, "hi");
    const events = events_of(stdout);
    assert.equal(events[0].text, "HTTP 200");
    assert.match(events[1].text, /"content":"one"/);
    assert.match(events[2].text, /"content":"two"/);
    assert.ok(events[2].since >= 70, `${events[2].since}`);
    assert.equal(events.at(-1).text, "[DONE]");
    assert.match(stdout, /end: 4 events/);
    assert.match(stdout, /server-timing: /);
    assert.doesNotMatch(stdout + stderr, new RegExp(KEY));
});

test("debug-stream: the other protocols by the URL's path; the prompt from standard input",
    async () => {
        for (const path of ["/v1/messages", "/v1/responses", "/v1beta"]) {
            const { code, stdout, stderr } = await debug("--url", proxy.url + path, "--model",
                "mock:m1", "hi");
            assert.equal(code, 0, stdout + stderr);
        }
        const child = spawn(PROGRAM, ["debug-stream", `--url=${proxy.url}`, "--model=mock:m1"],
            { env, stdio: ["pipe", "ignore", "pipe"] });
        child.stdin.end("typed in\n");
        const [code] = await once(child, "close");
        assert.equal(code, 0);
        assert.equal(mock.requests.at(-1).json.messages[0].content, "typed in");
    });

test("debug-stream: errors with their status and headers, cut streams, nobody there", async () => {
    mock.next((ex) => ex.json_answer({ error: { message: "calm down" } },
        { status: 400, headers: { "x-ratelimit-limit-requests": "5" } }));
    const refused = await debug("--url", proxy.url, "--model", "mock:m1", "hi");
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /HTTP 400/);
    assert.match(refused.stdout, /x-ratelimit-limit-requests: 5/i);
    assert.match(refused.stdout, /calm down/);
    mock.next(slow_stream({ cut: true }));
    const cut = await debug("--url", proxy.url, "--model", "mock:m1", "hi");
    assert.equal(cut.code, 1, cut.all);
    assert.match(cut.stdout, /"content":"two"/);
    assert.match(cut.stderr, /error|broke|not what/);
    const nobody = await debug("--url", "http://127.0.0.1:1", "hi");
    assert.equal(nobody.code, 1);
    assert.match(nobody.stderr, /refused/);
    const wrong = await debug("--nonsense");
    assert.equal(wrong.code, 2);
    const key = await run(["debug-stream", "--url", proxy.url, "--api-key", "not-it", "hi"]);
    assert.equal(key.code, 1);
    assert.match(key.stdout, /HTTP 401/);
    assert.doesNotMatch(key.stderr, /no key was sent/);
    const keyless = await run(["debug-stream", "--url", proxy.url, "--data-dir", "none", "hi"]);
    assert.equal(keyless.code, 1);
    assert.match(keyless.stderr, /status 401\nno key was sent: .*--api-key.* none is no folder/);
});

test("debug-stream: Ctrl-C ends it at once, and the upstream's stream with it", async () => {
    let seen;
    const asked = new Promise((resolve) => {
        seen = resolve;
    });
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "endless" }));
        seen(ex);
    });
    const child = spawn(PROGRAM, ["debug-stream", `--url=${proxy.url}`, "--model=mock:m1", "x"],
        { env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
    const closed = once(child, "close");
    const ex = await asked;
    await until(() => /endless/.test(out), "the event is told");
    child.kill("SIGINT");
    const [code] = await within(20_000, "it ends", closed);
    assert.equal(code, 130);
    await within(20_000, "the upstream sees the end", ex.closed);
});

test("debug-stream: over TLS, verified", { skip: skip_tls }, async () => {
    const dir = temp_dir();
    const certs = make(dir);
    const secure = { ca: fs.readFileSync(certs.ca), servername: "localhost" };
    const one = await start({ secure, config: config({
        tls: { cert: `${dir}/good.pem`, key: `${dir}/good.key` } }) });
    const url = `https://localhost:${one.port}`;
    const good = await debug("--url", url, "--ca-file", certs.ca, "--model", "mock:m1", "hi");
    assert.equal(good.code, 0, good.all);
    assert.equal(events_of(good.stdout)[0].text, "HTTP 200");
    const unknown = await debug("--url", url, "--model", "mock:m1", "hi");
    assert.equal(unknown.code, 1, unknown.all);
    assert.match(unknown.stderr, /certificate/i);
    const anyway = await debug("--url", url, "--insecure", "--model", "mock:m1", "hi");
    assert.equal(anyway.code, 0, anyway.all);
    await one.stop();
    fs.rmSync(dir, { recursive: true, force: true });
});
