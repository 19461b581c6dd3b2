/* SPDX-License-Identifier: MIT */
/*
 * A hundred thousand requests and a million streamed events through one process, among clients
 * that leave and upstreams that break: every answer is right to the byte, and afterwards the
 * process is as large as it was when it was warm, with as many descriptors and nothing in flight.
 *
 * The load client and the mock upstream are those of the bench (tests/bench), compiled here; the
 * troublemakers are ours. A tenth of the counts under sanitizers.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { now, request_bytes, within } from "../e2e/lib/http1.mjs";
import { Mock, chunk, delta, head_bytes, openai } from "../e2e/lib/mock.mjs";
import { ROOT, SLOW, backend, start, stop_all, temp_dir, test } from "../e2e/lib/proxy.mjs";
import { SEED, random } from "../e2e/lib/random.mjs";
import { baseline, fds, metrics, settled } from "./settled.mjs";

const SHARE = SLOW ? 10 : 1;
const REQUESTS = 100_000 / SHARE;
const EVENTS = 1_000_000 / SHARE;
const ROUND_MS = 1000;
/* So many rounds as it takes, which is for the machine to say; each gets on by a hundredth. */
const ROUNDS_MAX = 100;
const SOAK_MS = 300_000;
const GROWTH_KIB = SLOW ? 256 * 1024 : 1024;
const KEY = "bench-key-0123456789"; /* the load client's */
const turn = (ms) => new Promise((wake) => setTimeout(wake, ms));

let dir;
let bench;
let mock;
let proxy;
let warm;

/** As tests/bench/run does it: the mock's files are called mock_…, bulk is a
 * program of its own, the rest is the load client. */
function build() {
    const bench_dir = path.join(ROOT, "tests/bench");
    const names = fs.readdirSync(bench_dir).filter((name) => name.endsWith(".c"));
    const mocks = names.filter((name) => name.startsWith("mock_"));
    const cc = process.env.CC?.split(" ") ?? ["cc"];
    const link = (out, list, ...libraries) => execFileSync(cc[0], [...cc.slice(1),
        "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-o", path.join(dir, out),
        ...list.map((name) => path.join(bench_dir, name)), ...libraries], { stdio: "pipe" });
    link("mock_upstream", [...mocks, "form.c", "shape.c"], "-lssl", "-lcrypto");
    link("load", names.filter((name) => !mocks.includes(name) && name !== "bulk.c"));
}

before(async () => {
    dir = temp_dir();
    build();
    bench = spawn(path.join(dir, "mock_upstream"), { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await within(10_000, "the mock upstream listens", once(bench.stdout, "data"));
    const port = Number(/^port (\d+)/.exec(line)[1]);
    mock = await Mock.start();
    proxy = await start({ config: { workers: 2, retries: 0, api_keys: [KEY],
        default_backend: "bench", logging: { level: "error" }, proxy_timeout: "20s",
        backends: { mock: backend(mock), bench: { protocol: "openai-chat",
            api_url: `http://127.0.0.1:${port}/v1`, api_keys: ["k"] } } } });
    proxy.key = KEY;
});

after(async () => {
    bench?.kill("SIGTERM");
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(proxy, mock);
});

/* ---- The load ---- */

/** One round of the load client: {answers, errors, events}. */
async function round(answer, connections) {
    const child = spawn(path.join(dir, "load"), ["loop", "--port", String(proxy.port),
        "--answer", answer, "--connections", String(connections), "--time-ms",
        String(ROUND_MS)], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
    child.stderr.setEncoding("utf8").on("data", (text) => { complaint += text; });
    const [code] = await within(60_000, "a round of the load", once(child, "close"));
    const count = (name) => Number(new RegExp(`\\b${name}=(\\d+)`).exec(out)?.[1] ?? NaN);
    assert.equal(code, 0, out + complaint);
    assert.equal(count("errors"), 0, complaint);
    return { answers: count("answers"), events: count("events") };
}

async function load_until(answer, connections, what, target) {
    let done = 0;
    for (let i = 0; i < ROUNDS_MAX && done < target; i++) {
        done += (await round(answer, connections))[what];
    }
    assert.ok(done >= target, `${done} ${what} of ${target}`);
    return done;
}

/* ---- The troublemakers ---- */

const BODY = (model, stream) => JSON.stringify({ model: `mock:${model}`, stream,
    messages: [{ role: "user", content: "x" }] });

async function breaking(ex, rng) {
    const how = rng.pick(["fin", "rst"]);
    switch (rng.below(4)) {
    case 0:
        break;
    case 1:
        await ex.write(head_bytes(200, { "content-type": "application/json",
            "content-length": 100 }).subarray(0, 10 + rng.below(40)));
        break;
    case 2:
        await ex.open_stream();
        await ex.event(delta("m1", { content: "a" }));
        await ex.write(chunk("data: {\"id\""));
        break;
    default:
        await ex.write(Buffer.from("garbage\r\n\r\n"));
    }
    ex[how]();
}

/** Leaving clients and breaking upstreams until told to stop; how many. */
async function trouble(stop) {
    const rng = random("trouble");
    mock.on("breaks", (ex) => breaking(ex, rng));
    mock.on("hangs", async (ex) => {
        if (ex.json.stream) {
            await ex.open_stream();
            await ex.event(delta("m1", { content: "so far" }));
        }
    });
    mock.on("m1", openai);
    let count = 0;
    await Promise.all(Array.from({ length: 4 }, async () => {
        while (!stop.now) {
            const stream = rng.below(2) === 0;
            const headers = [["Authorization", `Bearer ${KEY}`],
                ["Content-Type", "application/json"]];
            const client = await proxy.connect();
            client.methods.push("POST");
            const model = rng.pick(["breaks", "hangs", "m1"]);
            const bytes = request_bytes({ path: "/v1/chat/completions", port: proxy.port,
                headers, body: BODY(model, stream) });
            if (model === "breaks") {
                client.write(bytes);
                const answer = await client.response();
                assert.ok(answer.status === 502 || stream || answer.status === 200, answer.text);
            } else if (model === "m1") {
                client.write(bytes);
                assert.equal((await client.response()).status, 200);
            } else {
                client.write(bytes.subarray(0, 1 + rng.below(bytes.length)));
                await turn(rng.below(10));
            }
            if (rng.below(2) === 0) {
                client.socket.resetAndDestroy();
            } else {
                client.destroy();
            }
            mock.requests.length = 0;
            count++;
            await turn(5);
        }
    }));
    return count;
}

async function with_trouble(job) {
    const stop = { now: false };
    const made = trouble(stop);
    made.catch(() => {});
    try {
        const done = await job();
        stop.now = true;
        return { done, troubles: await made };
    } finally {
        stop.now = true;
        await made.catch(() => {});
    }
}

/* ---- Warm, the two runs, flat ---- */

test("soak: warm-up, a tenth of it all", async (t) => {
    await baseline(proxy);
    await with_trouble(() => load_until("unary", 32, "answers", REQUESTS / 10));
    await with_trouble(() => load_until("burst", 32, "events", EVENTS / 10));
    await settled(proxy);
    warm = { rss: proxy.rss_kib(), fds: fds(proxy) };
    t.diagnostic(`${warm.rss} KiB, ${warm.fds} descriptors`);
});

test(`soak: ${REQUESTS} requests, each answered right`, { ms: SOAK_MS }, async (t) => {
    const at = now();
    const { done, troubles } = await with_trouble(() =>
        load_until("unary", 32, "answers", REQUESTS));
    t.diagnostic(`SEED=${SEED}: ${done} requests, ${troubles} troubles, ${
        ((now() - at) / 1000).toFixed(1)} s, ${proxy.rss_kib()} KiB`);
    assert.ok(troubles > 20);
    await settled(proxy);
});

test(`soak: ${EVENTS} streamed events, each at its place`, { ms: SOAK_MS }, async (t) => {
    const at = now();
    const { done, troubles } = await with_trouble(() =>
        load_until("burst", 32, "events", EVENTS));
    t.diagnostic(`${done} events, ${troubles} troubles, ${((now() - at) / 1000).toFixed(1)} s, ${
        proxy.rss_kib()} KiB`);
    await settled(proxy);
});

test("soak: memory and descriptors are what they were when it was warm", async (t) => {
    const last = await settled(proxy);
    const sums = await metrics(proxy);
    const grown = proxy.rss_kib() - warm.rss;
    t.diagnostic(`${grown} KiB grown, ${fds(proxy)} descriptors, ${last.upstreams} idle upstream ` +
        `connections, ${sums.llm_proxy_requests_total} requests in all`);
    assert.ok(grown < GROWTH_KIB, `${grown} KiB`);
    assert.equal(last.requests, 0);
    assert.equal(last.clients, 0);
    assert.ok(last.upstreams <= 2 * 32 + 8, `${last.upstreams} upstream connections`);
    assert.ok(sums.llm_proxy_requests_total >= REQUESTS);
    assert.ok(sums.llm_proxy_frames_total >= EVENTS);
    assert.equal(sums.llm_proxy_log_lines_dropped_total, 0);
});
