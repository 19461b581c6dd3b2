/* SPDX-License-Identifier: MIT */
/*
 * Bodies of 10 MB, honest and hostile: no other stream waits for them, the memory they take is
 * bounded and given back, and when there is no room for more the answer is 503.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before } from "node:test";
import zlib from "node:zlib";

import { until, within } from "./lib/http1.mjs";
import { Mock, whole } from "./lib/mock.mjs";
import { KEY, SLOW, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";
import { Measured } from "./lib/turns.mjs";

const MB = 1000 * 1000;
const SIZE = 10 * MB;
const WAIT_MS = 20; /* docs/ARCHITECTURE.md says what it is on a quiet machine */
/* What a process takes beside the bodies themselves: stacks of threads, the kernel's pages. A
 * sanitizer keeps what was freed, and shadows the rest. */
const EXTRA = (SLOW ? 2000 : 2) * MB;

const ANSWER = JSON.stringify(whole("m1", { content: "ok" }));
const CHAT = "/v1/chat/completions";

let mock;
let proxy;
let hold = null; /* a promise that the upstream waits for before it answers */

before(async () => {
    mock = await Mock.start();
    /* The bodies are not to be parsed in this process. */
    mock.pick = (exchange) => mock.queue.shift() ?? (exchange.method === "POST" ? async (ex) => {
        await hold;
        await ex.respond({ headers: { "content-type": "application/json" }, body: ANSWER });
    } : mock.on_get);
    proxy = await start({ config: { workers: 1, backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

/** A request of about `size` bytes, whose array `x` has `item` as often as it fits. */
function body_of(item, size = SIZE) {
    const begin = "{\"model\":\"mock:m1\",\"messages\":[],\"x\":[0";
    const n = Math.floor((size - begin.length - 2) / item.length);
    return Buffer.from(begin + item.repeat(n) + "]}");
}

const HONEST = Buffer.from(JSON.stringify({ model: "mock:m1", messages: [{ role: "user",
    content: "lång text, \"quoted\" \n".repeat(SIZE / 25) }] }));
const BODIES = {
    "honest text": HONEST,
    "empty objects": body_of(",{}"),
    "empty arrays": body_of(",[]"),
    "numbers": body_of(",-1.5e7"),
    "escapes": body_of(",\"\\u00e4\\n\\\\\""),
    "nested to the limit": body_of("," + "[".repeat(100) + "]".repeat(100)),
    "keys that might stand twice": Buffer.from("{\"model\":\"mock:m1\",\"messages\":[{" +
        Array.from({ length: 900_000 }, (_, i) => `"k${i}":1`).join(",") + "}]}"),
    "members of the root": Buffer.from("{\"model\":\"mock:m1\",\"messages\":[]" +
        Array.from({ length: 900_000 }, (_, i) => `,"k${i}":1`).join("") + "}"),
};

/* Of a built-in backend the conversation is read as well. */
const turn = `{"role":"user","content":"a \\n ${"short sentence. ".repeat(4)}"},`;
const DEMO_BODIES = {
    "honest text": Buffer.from(HONEST.toString("utf8").replace("mock:m1", "demo:assistant")),
    "short turns": Buffer.from("{\"model\":\"demo:assistant\",\"messages\":[" +
        turn.repeat(SIZE / turn.length) + turn.slice(0, -1) + "]}"),
    "long turns": Buffer.from("{\"model\":\"demo:assistant\",\"messages\":[" +
        Array(4000).fill(turn.replace("a ", "a ".repeat(1250))).join("").slice(0, -1) + "]}"),
};

function post(body) {
    return proxy.call({ path: CHAT, body });
}

async function gauge(name = "llm_proxy_inflight_bytes") {
    const { text } = await proxy.call({ method: "GET", path: "/metrics" });
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)[1]);
}

function peak_bytes() {
    const text = fs.readFileSync(`/proc/${proxy.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)[1]) * 1024;
}

/** From now on VmHWM is the peak of what comes. */
function reset_peak() {
    fs.writeFileSync(`/proc/${proxy.pid}/clear_refs`, "5");
}

/* ---- No other stream waits ---- */

const bytes_of = (text) => Buffer.from(text);
const ANSWERS = {
    "a long text": bytes_of(JSON.stringify(whole("m1", { content: "lång \\ ".repeat(MB) }))),
    "no JSON": bytes_of("[".repeat(SIZE)),
    "values": bytes_of(`{"choices":[],"x":[0${",{}".repeat(SIZE / 3)}]}`),
};

/* One read of it decodes to megabytes. */
const dense = random("dense");
const DENSE = bytes_of(JSON.stringify(whole("m1", { content: Array.from({ length: SIZE / 1000 },
    () => "a".repeat(980) + dense.below(2 ** 30) + dense.below(2 ** 30)).join("") })));

test("large: the loop is never busy for more than 20 ms at once with bodies of 10 MB",
    { skip: SLOW && "a sanitizer's own time" }, async (t) => {
        const measured = await Measured.start({ inflight_bytes_max: "1GiB",
            backends: { mock: backend(mock) } }, ["--demo"]);
        const measure = (what, run) => measured.at_most(WAIT_MS, t, what, run);
        try {
            for (const [what, body] of Object.entries(BODIES)) {
                await measure(what, async (one) => {
                    const { status } = await one.call({ path: CHAT, body });
                    assert.ok(status === 200 || status === 413, `${status}`);
                });
            }
            for (const [what, body] of Object.entries(DEMO_BODIES)) {
                await measure(`built-in: ${what}`, async (one) => {
                    const { status } = await one.call({ path: CHAT, body });
                    assert.ok(status === 200 || status === 413, `${status}`);
                });
            }
            for (const what of ["honest text", "numbers"]) {
                const body = zlib.gzipSync(BODIES[what]);
                await measure(`gzip: ${what}`, async (one) => {
                    const { status } = await one.call({ path: CHAT, body,
                        headers: { "Content-Encoding": "gzip" } });
                    assert.ok(status === 200 || status === 413, `${status}`);
                });
            }
            for (const [what, body, more] of [...Object.entries(ANSWERS),
                ["gzip, near the ratio of a bomb", DENSE, { "content-encoding": "gzip" }]]) {
                const sent = more ? zlib.gzipSync(body) : body;
                assert.ok(sent.length * 100 > body.length, "a bomb");
                await measure(`an answer: ${what}`, async (one) => {
                    mock.next((ex) => ex.respond({ headers: { "content-type": "application/json",
                        ...more }, body: sent }));
                    const answer = await one.call({ path: CHAT, body: JSON.stringify({
                        model: "mock:m1", messages: [] }) });
                    assert.ok(answer.status === 502 ? !more : answer.body.equals(body));
                });
            }
        } finally {
            await measured.stop();
        }
        assert.deepEqual(measured.complaints, []);
    });

/* ---- Memory ---- */

for (const [what, body] of Object.entries(BODIES)) {
    const times = body === HONEST ? 6 : 12;
    test(`large: ${what}: at most ${times} times its size, then its size, then nothing`, async () => {
        let answer_now;
        await post(body.subarray(0, 2 * MB)); /* no JSON; threads and buffers are there now */
        await proxy.memory_back();
        const before = proxy.rss_kib() * 1024;
        reset_peak();
        hold = new Promise((resolve) => { answer_now = resolve; });
        mock.requests.length = 0;
        const answer = post(body);
        const arrived = await Promise.race([answer, mock.arrival()]);
        if (arrived.status === undefined) {
            /* The upstream has it whole; `sent` is told in the same moment or a little later. */
            await until(async () => await gauge() <= body.length + 64 * 1024,
                `no more is held than ${body.length} bytes`);
            const held = proxy.rss_kib() * 1024 - before;
            assert.ok(held <= body.length + EXTRA, `RSS grew by ${held} for ${body.length}`);
        }
        answer_now();
        hold = null;
        const { status } = await answer;
        assert.ok(status === 200 || (status === 413 && body !== HONEST), `status ${status}`);
        const peak = peak_bytes() - before;
        assert.ok(peak <= times * body.length + (SLOW ? EXTRA : 0),
            `peak of ${(peak / body.length).toFixed(1)} times its size`);
        await proxy.memory_back();
        const left = proxy.rss_kib() * 1024 - before;
        assert.ok(left <= EXTRA, `${left} bytes were not given back`);
    });
}

test("large: a chunked body of 10 MB goes up as it came", async () => {
    const client = await proxy.connect();
    client.methods.push("POST");
    client.write(`POST ${CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${KEY}\r\n` +
        "Transfer-Encoding: chunked\r\n\r\n");
    mock.requests.length = 0;
    for (let at = 0; at < HONEST.length; at += 77_777) {
        const piece = HONEST.subarray(at, at + 77_777);
        client.write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece,
            Buffer.from("\r\n")]));
    }
    client.write("0\r\n\r\n");
    const answer = await client.response();
    assert.equal(answer.status, 200);
    assert.ok(mock.posts()[0].body.equals(
        Buffer.from(HONEST.toString("utf8").replace("mock:m1", "m1"))));
    client.destroy();
});

/* ---- Clients that leave ---- */

test("large: clients leave at any moment of a body's reading, and nothing stays behind",
    async (t) => {
        const rng = random("leave");
        const bodies = [body_of(",{}", 3 * MB), body_of(",-1.5e7", 3 * MB), HONEST];
        for (let i = 0; i < (SLOW ? 30 : 90); i++) {
            const client = await proxy.connect();
            client.send({ path: CHAT, headers: proxy.headers(), body: bodies[i % 3] });
            const wait = rng.below(SLOW ? 200 : 40);
            await new Promise((resolve) => setTimeout(resolve, wait));
            client.destroy();
        }
        await proxy.memory_back();
        const answer = await post(HONEST);
        assert.equal(answer.status, 200);
        t.diagnostic(`${await gauge()} bytes in flight`);
    });

/* ---- No room for all ---- */

test("large: 200 clients with large bodies at once: some are served, the others get 503",
    { timeout: 300_000 }, async (t) => {
        const limit = 32 * MB;
        const one = await start({ config: { inflight_bytes_max: limit,
            backends: { mock: backend(mock) } } });
        try {
            const body = body_of(",\"text text text\"", 2 * MB);
            await one.call({ path: CHAT, body });
            const rss = one.rss_kib() * 1024;
            let peak = 0;
            const watch = setInterval(() => {
                peak = Math.max(peak, one.rss_kib() * 1024);
            }, 5);
            const counts = {};
            await Promise.all(Array.from({ length: 200 }, async () => {
                const answer = await one.call({ path: CHAT, body }).catch(
                    (error) => ({ status: error.message }));
                counts[answer.status] = (counts[answer.status] ?? 0) + 1;
                if (answer.status === 503) {
                    assert.match(answer.get("retry-after") ?? "", /^\d+$/);
                    assert.equal(answer.json.error.code, "overloaded");
                }
            }));
            clearInterval(watch);
            t.diagnostic(`${JSON.stringify(counts)}, RSS ${rss / MB} MB, at most ${peak / MB} MB`);
            assert.deepEqual(Object.keys(counts).filter((s) => s !== "200" && s !== "503"), []);
            assert.ok(counts[200] > 0, "nobody was served");
            assert.ok(counts[503] > 0, "there was room for all");
            /* Beside what is counted: what the kernel has not taken of answers and requests, and
             * a connection's own kilobytes. */
            assert.ok(peak - rss < limit + 16 * MB + EXTRA, `RSS grew by ${(peak - rss) / MB} MB`);
            await one.memory_back();
            const again = await one.call({ path: CHAT, body });
            assert.equal(again.status, 200);
            await one.memory_back();
        } finally {
            await one.stop();
        }
    });

/* ---- Large answers ---- */

test("large: a built-in backend without room says so as well: 503 with Retry-After, nothing else",
    async (t) => {
        const turns = "{\"role\":\"user\",\"content\":\"of more than a few words each\"},".repeat(30_000).slice(0, -1);
        const body = `{"model":"demo:echo","messages":[${turns}]}`;
        const statuses = {};
        /* From too little to enough, which is more where a sanitizer pads what is taken: each step
         * of the built-in backend is short once. */
        for (let limit = 10 * MB; limit <= 80 * MB && !statuses[200]; limit += SLOW ? 2 * MB :
            500_000) {
            const one = await start({ config: { workers: 1, body_bytes_max: 2 * MB,
                inflight_bytes_max: limit }, args: ["--demo"] });
            const answer = await one.call({ path: CHAT, body });
            statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
            if (answer.status !== 200) {
                assert.equal(answer.status, 503, `${limit}: ${answer.text}`);
                assert.equal(answer.json.error.code, "overloaded");
                assert.equal(answer.get("retry-after"), "1", `${limit}: ${answer.text}`);
            }
            await one.stop();
        }
        t.diagnostic(JSON.stringify(statuses));
        assert.ok(statuses[200] > 0 && statuses[503] > 0);
    });

test("large: a whole answer of 10 MB reaches the client byte for byte, also one that reads slowly",
    async () => {
        const body = Buffer.from(JSON.stringify(whole("m1", { content: "lång \\ ".repeat(MB) })));
        for (const framing of ["length", "chunked", "close"]) {
            mock.next((ex) => ex.respond({ headers: { "content-type": "application/json" },
                framing, body }));
            const client = await proxy.connect();
            client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify({
                model: "mock:m1", messages: [] }) });
            const answer = await client.head();
            client.socket.pause();
            await new Promise((resolve) => setTimeout(resolve, 100));
            client.socket.resume();
            await within(20_000, "the whole answer", answer.done);
            assert.equal(answer.status, 200);
            assert.ok(answer.body.equals(body), framing);
            client.destroy();
        }
        await proxy.memory_back();
    });

test("large: a hostile answer is read within bounds, a large error keeps its bytes", async () => {
    const error = Buffer.from(JSON.stringify({ error: { message: "m".repeat(3 * MB), code: 1 } }));
    mock.next((ex) => ex.respond({ status: 422, headers: { "content-type": "application/json" },
        body: error }));
    const first = await post(JSON.stringify({ model: "mock:m1", messages: [] }));
    assert.equal(first.status, 422);
    assert.ok(first.body.equals(error));
    for (const [what, text] of [["no JSON", "[".repeat(3 * MB)], ["values",
        `{"choices":[],"x":[0${",{}".repeat(MB)}]}`]]) {
        mock.next((ex) => ex.respond({ headers: { "content-type": "application/json" },
            body: text }));
        const answer = await post(JSON.stringify({ model: "mock:m1", messages: [] }));
        assert.ok(answer.status === 502 || answer.text === text, what);
    }
    await proxy.memory_back();
});
