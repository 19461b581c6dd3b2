/* SPDX-License-Identifier: MIT */
/*
 * Several keys of one backend: which one a request takes, keys that cool down after a 429, keys
 * that are refused, and what clients are told when there is none left.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach } from "node:test";

import { now, within } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { SLOW, start, stop_all, test } from "./lib/proxy.mjs";

const KEYS = { alpha: "secret-alpha-1", beta: "secret-beta-22", gamma: "secret-gamma-333" };
const SECRETS = Object.values(KEYS);
const [A, B, C] = Object.keys(KEYS);

let mock;
let scripts;
let seen;

/* The key's name, whatever header it came in. */
function key_of(ex) {
    const shown = ex.get("authorization")?.replace("Bearer ", "") ?? ex.get("x-api-key") ??
        ex.get("x-goog-api-key");
    return Object.keys(KEYS).find((name) => KEYS[name] === shown) ?? shown;
}

const protocol_of = (ex) => NAMES.find((name) => ["generateContent", "streamGenerateContent"]
    .some((word) => ex.target.includes(`:${word}`)) ? name === "gemini" :
    ex.target.endsWith(PROTOCOLS[name].path("m1", {})));

function answer(ex) {
    const one = PROTOCOLS[protocol_of(ex)];
    const streamed = protocol_of(ex) === "gemini" ? ex.target.includes("streamGenerate") :
        ex.json.stream;
    return streamed ? ex.respond({ headers: { "content-type": "text/event-stream" },
        body: one.stream("m1", "fine") }) : ex.json_answer(one.whole("m1", "fine"));
}

/* Each key's script, else an answer; which keys came, in their order. */
async function dispatch(ex) {
    const key = key_of(ex);
    seen.push(key);
    await (scripts.get(key) ?? answer)(ex);
}

before(async () => {
    mock = await Mock.start({ fallback: dispatch });
});

beforeEach(() => {
    scripts = new Map();
    seen = [];
});

after(() => stop_all(mock));

const backend = (more = {}, protocol = "openai-chat") => ({ protocol,
    api_url: mock.url.replace(/\/v1$/, PROTOCOLS[protocol].base), api_keys: KEYS, ...more });

/** A proxy of its own, as what keys have met stays with it. */
async function serve(backends, run, more = {}) {
    const proxy = await start({ config: { default_backend: Object.keys(backends)[0],
        metrics_public: true, ...more, backends } });
    try {
        return await run(proxy);
    } finally {
        for (const secret of SECRETS) {
            assert.ok(!proxy.stderr.includes(secret), `the log shows ${secret}`);
        }
        await proxy.stop();
    }
}

let chats = 0;

/** A conversation that nobody had before: without a session's id it is a new one. */
function ask(proxy, { session, stream, client = "openai-chat", model = "m1", headers = {},
    text = `chat ${chats++}` } = {}) {
    const one = PROTOCOLS[client];
    const body = client === "gemini" ? one.request(text) :
        { model, ...(stream ? { stream } : {}), ...one.request(text) };
    return proxy.chat(body, { path: one.path(model, { stream }),
        headers: { ...headers, ...(session ? { "x-session-id": session } : {}) } });
}

async function fine(proxy, options) {
    const got = await ask(proxy, options);
    assert.equal(got.status, 200, got.text);
    assert.match(got.text, /fine/);
    for (const secret of SECRETS) {
        assert.ok(!got.text.includes(secret));
        assert.ok(!JSON.stringify(got.head).includes(secret));
    }
    return got;
}

const failing = (status, error, headers = {}) => (ex) => ex.json_answer({ error }, { status,
    headers });
const limit = (headers = {}, message = "slow down") => failing(429, { message, type: "requests",
    param: null, code: "rate_limit_exceeded" }, headers);
const refusal = (status = 401) => failing(status, { message: "who are you?",
    type: "invalid_request_error", param: null, code: "invalid_api_key" });

function metric(text, name, labels = "") {
    const line = text.split("\n").find((one) => one.startsWith(`llm_proxy_${name}${labels}`));
    return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

const metrics_of = (proxy) => proxy.counted();

/* ---- Policies ---- */

test("keys: sticky: a session keeps its key, new sessions take the next", () =>
    serve({ up: backend() }, async (proxy) => {
        for (const session of ["one", "two", "three", "four"]) {
            await fine(proxy, { session });
        }
        assert.deepEqual(seen, [A, B, C, A]);
        seen.length = 0;
        for (const session of ["three", "one", "four", "two", "three", "one"]) {
            await fine(proxy, { session });
        }
        assert.deepEqual(seen, [C, A, A, B, C, A]);
    }));

test("keys: sticky: a chat without any id keeps its key, too, and its streams", () =>
    serve({ up: backend({ policy: "sticky" }) }, async (proxy) => {
        const first = { role: "user", content: "what is a key?" };
        const chat = (messages, more = {}) => proxy.chat({ model: "m1", messages, ...more });
        await chat([first]);
        await chat([{ role: "user", content: "somebody else" }]);
        for (const stream of [false, true]) {
            const got = await chat([first, { role: "assistant", content: "fine" },
                { role: "user", content: "go on" }], { stream });
            assert.equal(got.status, 200, got.text);
        }
        assert.deepEqual(seen, [A, B, A, A]);
    }));

test("keys: sticky: a session leaves a key that cools, and stays where it went", () =>
    serve({ up: backend() }, async (proxy) => {
        await fine(proxy, { session: "one" });
        scripts.set(A, limit({ "retry-after-ms": "60" }));
        const moved = await fine(proxy, { session: "one" });
        assert.equal(moved.get("x-llm-proxy-attempts"), "2");
        scripts.clear();
        const ready = now() + 80;
        while (now() < ready) {
            await fine(proxy, { session: "one" });
        }
        await fine(proxy, { session: "one" });
        assert.deepEqual([...new Set(seen.slice(2))], [B]);
    }));

test("keys: round-robin: each request takes the next, sessions or not", () =>
    serve({ up: backend({ policy: "round-robin" }) }, async (proxy) => {
        for (let i = 0; i < 9; i++) {
            await fine(proxy, { session: i % 2 ? "one" : undefined });
        }
        assert.deepEqual(seen, [A, B, C, A, B, C, A, B, C]);
    }));

test("keys: round-robin: a key that cools leaves its turns to all others alike", () =>
    serve({ up: backend({ policy: "round-robin" }) }, async (proxy) => {
        scripts.set(A, limit({ "retry-after": "600" }));
        await fine(proxy);
        seen.length = 0;
        for (let i = 0; i < 12; i++) {
            await fine(proxy);
        }
        assert.deepEqual([A, B, C].map((key) => seen.filter((one) => one === key).length),
            [0, 6, 6]);
    }));

test("keys: failover: always the first that works", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        for (let i = 0; i < 3; i++) {
            await fine(proxy, { session: `s${i}` });
        }
        scripts.set(A, limit({ "retry-after": "600" }));
        for (let i = 0; i < 3; i++) {
            await fine(proxy);
        }
        assert.deepEqual(seen, [A, A, A, A, B, B, B]);
    }));

test("keys: least-used: where the fewest requests run, then where the fewest ran", () =>
    serve({ up: backend({ policy: "least-used" }) }, async (proxy) => {
        let finish;
        const held = new Promise((resolve) => { finish = resolve; });
        scripts.set(A, async (ex) => {
            await held;
            await answer(ex);
        });
        const arrived = mock.arrival();
        const slow = ask(proxy);
        await arrived;
        for (let i = 0; i < 4; i++) {
            await proxy.counted(1);
            await fine(proxy);
        }
        assert.deepEqual(seen, [A, B, C, B, C]);
        finish();
        assert.equal((await slow).status, 200);
        scripts.clear();
        await proxy.counted();
        await fine(proxy); /* the first has run once, the others twice */
        assert.equal(seen.at(-1), A);
    }));

test("keys: a word that is no policy is a fault with the words that are", async () => {
    await assert.rejects(serve({ up: backend({ policy: "random" }) }, () => {}),
        /policy: must be one of sticky, round-robin, failover, least-used/);
});

/* ---- Many keys ---- */

/** An Anthropic conversation of about so many bytes. */
function conversation(bytes) {
    const pair = [{ role: "user", content: "q".repeat(700) }, { role: "assistant", content: [
        { type: "text", text: "a \"quoted\" word, ".repeat(60) }] }];
    const messages = Array.from({ length: Math.floor(bytes / JSON.stringify(pair).length) },
        () => pair).flat();
    return { model: "m1", max_tokens: 100, messages: [...messages,
        { role: "user", content: "go on" }] };
}

const MANY = Object.fromEntries(Array.from({ length: 20 }, (_, i) =>
    [`key${i}`, `secret-number-${String(i).padStart(4, "0")}`]));

/* Each attempt writes the translated body; what the one before it wrote has gone by then. A body up
 * to 1 MiB is written in the loop, a larger one in a job. */
for (const [name, bytes, status, config] of [
    ["900 kB, all say 429", 900e3, 429, { body_bytes_max: "1MiB", inflight_bytes_max: "8MiB" }],
    ["900 kB, the last answers", 900e3, 200, { inflight_bytes_max: "8MiB" }],
    ["3 MB, the last answers", 3e6, 200, { body_bytes_max: "3MiB", inflight_bytes_max: "40MiB" }],
]) {
    test(`keys: 20 of them, a translated request of ${name}: asked each, in the memory of one`,
        () => serve({ up: backend({ api_keys: MANY }) }, async (proxy) => {
            const held = [];
            const bodies = new Set();
            for (const key of Object.values(MANY)) {
                scripts.set(key, async (ex) => {
                    bodies.add(ex.body.toString());
                    const { text } = await proxy.call({ method: "GET", path: "/metrics" });
                    held.push(metric(text, "inflight_bytes"));
                    await (status === 200 && seen.length === 20 ? answer :
                        limit({ "retry-after": "600" }))(ex);
                });
            }
            const got = await proxy.chat(conversation(bytes), { path: "/v1/messages",
                headers: { "anthropic-version": "2023-06-01" } });
            assert.equal(got.status, status, got.text);
            assert.equal(got.get("x-llm-proxy-attempts"), "20");
            assert.deepEqual([...seen].sort(), Object.values(MANY).sort());
            assert.equal(bodies.size, 1, "the keys got different bodies");
            assert.ok(Math.max(...held) < held[0] * 1.1, `in flight: ${held.join(" ")}`);
        }, config));
}

/* ---- 429 ---- */

/** The seconds that a client is told when both keys cool, as the first names it. */
async function cooled(headers, error = {}, { protocol = "openai-chat" } = {}) {
    const body = { message: "slow down", type: "requests", param: null,
        code: "rate_limit_exceeded", ...error };
    return serve({ up: backend({ policy: "failover", api_keys: { alpha: KEYS.alpha } },
        protocol) }, async (proxy) => {
        scripts.set(A, failing(429, body, headers));
        seen.length = 0;
        const first = await ask(proxy, { client: protocol });
        assert.equal(first.status, 429, first.text);
        const second = await ask(proxy, { client: protocol });
        assert.equal(second.status, 429, second.text);
        assert.match(second.json.error.message, /^Rate limit exceeded/);
        assert.deepEqual(seen, [A]);
        return { first, wait: Number(second.get("retry-after")) };
    }, { retry_wait_max: 0 });
}

const rfc3339 = (ms) => new Date(Date.now() + ms).toISOString().replace(/\.\d+/, "");

for (const [what, headers, error, low, high] of [
    ["Retry-After in seconds", { "retry-after": "40" }, {}, 35, 40],
    ["Retry-After with a fraction", { "retry-after": "39.2" }, {}, 35, 40],
    ["Retry-After as a date", () => ({ "retry-after": new Date(Date.now() + 100_000)
        .toUTCString() }), {}, 90, 100],
    ["retry-after-ms before Retry-After", { "retry-after-ms": "200500", "retry-after": "9" }, {},
        195, 201],
    ["the reset of what is used up", { "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s" }, {}, 355, 360],
    ["no negative remainder", { "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-reset-requests": "6m0s" }, {}, 55, 60],
    ["Anthropic's reset of what is used up", () => ({
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": rfc3339(120_000),
        "anthropic-ratelimit-requests-remaining": "5",
        "anthropic-ratelimit-requests-reset": rfc3339(999_000) }), {}, 110, 120],
    ["Gemini's RetryInfo", {}, { code: 429, status: "RESOURCE_EXHAUSTED", details: [
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34.07s" }] }, 30, 35],
    ["nothing at all: a minute", {}, {}, 55, 60],
    ["nonsense: a minute", { "retry-after": "soon", "x-ratelimit-reset-tokens": "-3s" }, {}, 55,
        60],
    ["no credit left", {}, { type: "insufficient_quota", code: "insufficient_quota" }, 55, 60],
]) {
    test(`keys: how long a key cools: ${what}`, async () => {
        const { wait } = await cooled(typeof headers === "function" ? headers() : headers, error);
        assert.ok(wait >= low - (SLOW ? 20 : 0) && wait <= high, `${wait} s`);
    });
}

test("keys: after a 429 the next key is tried at once, and the client sees only its answer", () =>
    serve({ up: backend() }, async (proxy) => {
        scripts.set(A, limit({ "retry-after": "30" }));
        scripts.set(B, limit({ "retry-after": "20" }));
        const begin = now();
        const got = await fine(proxy, { stream: true });
        assert.ok(now() - begin < (SLOW ? 20_000 : 4000), "it has waited");
        assert.deepEqual(seen, [A, B, C]);
        assert.equal(got.get("x-llm-proxy-attempts"), "3");
        assert.equal(got.get("retry-after"), undefined);
        await proxy.logged(/PERF_SUMMARY.*key=gamma.*attempts=3/, "the log names the key");
        const text = await metrics_of(proxy);
        assert.equal(metric(text, "keys_cooling", '{backend="up"}'), 2);
        assert.equal(metric(text, "key_cooldowns_total", '{backend="up"}'), 2);
        assert.equal(metric(text, "key_switches_total", '{backend="up"}'), 2);
    }));

test("keys: all cool: 429 at once with the shortest wait, and the upstream is not asked", () =>
    serve({ up: backend() }, async (proxy) => {
        for (const [key, wait] of [[A, "300"], [B, "100"], [C, "200"]]) {
            scripts.set(key, limit({ "retry-after": wait, "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "0" }));
        }
        const first = await ask(proxy);
        assert.equal(first.status, 429);
        assert.equal(first.json.error.message, "slow down");
        const soonest = Number(first.get("retry-after")); /* the last one's own is 200 */
        assert.ok(soonest > 60 && soonest <= 100, `${soonest}`);
        assert.equal(first.get("x-llm-proxy-attempts"), "3");
        assert.equal(first.get("x-ratelimit-remaining-requests"), "0");
        for (const client of NAMES) {
            const got = await ask(proxy, { client, stream: client === "openai-chat" });
            assert.equal(got.status, 429, got.text);
            const wait = Number(got.get("retry-after"));
            assert.ok(wait > 60 && wait <= 100, `${wait}`);
            assert.match(got.json.error.message, /^Rate limit exceeded/);
            assert.equal(got.get("x-ratelimit-remaining"), "0");
            assert.equal(got.get("x-ratelimit-limit"), "60");
            const at = Number(got.get("x-ratelimit-reset")) - Date.now() / 1000;
            assert.ok(Math.abs(at - wait) < 5, `${at} ${wait}`);
            assert.equal(got.get("x-llm-proxy-attempts"), "0");
        }
        assert.equal(seen.length, 3);
        const { error } = (await ask(proxy)).json;
        assert.deepEqual([error.type, error.code], ["rate_limit_error", "rate_limit_exceeded"]);
        const anthropic = (await ask(proxy, { client: "anthropic" })).json;
        assert.equal(anthropic.error.type, "rate_limit_error");
        const gemini = (await ask(proxy, { client: "gemini" })).json;
        assert.equal(gemini.error.status, "RESOURCE_EXHAUSTED");
    }));

test("keys: one key, a short wait: the request waits once, and gets its answer", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }) }, async (proxy) => {
        let n = 0;
        scripts.set(A, (ex) => ++n === 1 ? limit({ "retry-after-ms": "300" })(ex) : answer(ex));
        const begin = now();
        const got = await fine(proxy);
        assert.ok(now() - begin >= 300, `${now() - begin} ms`);
        assert.equal(got.get("x-llm-proxy-attempts"), "2");
        assert.equal(metric(await metrics_of(proxy), "key_waits_total", '{backend="up"}'), 1);
    }));

test("keys: a request waits once only: the second 429 is its answer", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }) }, async (proxy) => {
        scripts.set(A, limit({ "retry-after-ms": "50" }));
        const got = await ask(proxy);
        assert.equal(got.status, 429);
        assert.equal(got.json.error.message, "slow down");
        assert.equal(got.get("retry-after"), "1");
        assert.deepEqual(seen, [A, A]);
    }));

test("keys: who comes while a key cools does not wait", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }) }, async (proxy) => {
        let n = 0;
        scripts.set(A, (ex) => ++n === 1 ? limit({ "retry-after-ms": "4000" })(ex) : answer(ex));
        const arrived = mock.arrival();
        const first = ask(proxy);
        await arrived;
        let second;
        do { /* until the answer is known to the proxy */
            second = await ask(proxy);
        } while (second.status === 200 && n < 50);
        assert.equal(second.status, 429, second.text);
        assert.match(second.json.error.message, /^Rate limit exceeded/);
        assert.equal((await first).status, 200);
    }, { workers: 1 }));

test("keys: a wait beyond retry_wait_max is the client's, of the backend before the top level",
    () => serve({
        up: backend({ api_keys: { alpha: KEYS.alpha }, retry_wait_max: "20ms" }),
        patient: backend({ api_keys: { beta: KEYS.beta } }),
    }, async (proxy) => {
        let n = 0;
        scripts.set(A, limit({ "retry-after-ms": "200" }));
        scripts.set(B, (ex) => ++n === 1 ? limit({ "retry-after-ms": "200" })(ex) : answer(ex));
        const got = await ask(proxy);
        assert.equal(got.status, 429);
        assert.equal(got.get("retry-after-ms"), "200");
        assert.deepEqual(seen, [A]);
        await fine(proxy, { model: "patient:m1" });
    }, { retry_wait_max: "1s" }));

test("keys: a client that leaves while its request waits leaves nothing behind", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }) }, async (proxy) => {
        scripts.set(A, limit({ "retry-after-ms": "4500" }));
        const client = await proxy.connect();
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify({ model: "m1", messages: [{ role: "user", content: "x" }] }) });
        const end = now() + 20_000;
        let text = "";
        do {
            text = await proxy.counted(1);
            assert.ok(now() < end, text);
        } while (metric(text, "key_waits_total", '{backend="up"}') !== 1);
        client.destroy();
        await proxy.logged(/outcome=client_left/, "its end is told");
        await proxy.counted();
        assert.deepEqual(seen, [A]);
    }));

/* ---- Streams, other protocols, large requests ---- */

const ERRORS = {
    "openai-chat": { message: "slow down", type: "requests", param: null,
        code: "rate_limit_exceeded" },
    "openai-responses": { type: "error", code: "rate_limit_exceeded", message: "slow down",
        param: null, sequence_number: 0 },
    anthropic: { type: "rate_limit_error", message: "slow down" },
    gemini: { code: 429, message: "slow down", status: "RESOURCE_EXHAUSTED" },
};

function event_of(protocol) {
    const error = ERRORS[protocol];
    if (protocol === "openai-responses") {
        return `event: error\ndata: ${JSON.stringify(error)}\n\n`;
    }
    return protocol === "anthropic" ?
        `event: error\ndata: ${JSON.stringify({ type: "error", error })}\n\n` :
        `data: ${JSON.stringify({ error })}\n\n`;
}

for (const upstream of NAMES) {
    for (const client of NAMES) {
        test(`keys: ${client} to ${upstream}: 429, and an error as the first event`, () =>
            serve({ up: backend({ policy: "failover" }, upstream) }, async (proxy) => {
                const error = ERRORS[upstream];
                scripts.set(A, (ex) => ex.json_answer(upstream === "anthropic" ?
                    { type: "error", error } : { error }, { status: 429,
                    headers: { "retry-after": "77" } }));
                scripts.set(B, (ex) => ex.respond({ headers: {
                    "content-type": "text/event-stream" }, body: event_of(upstream) }));
                const got = await fine(proxy, { client, stream: true });
                assert.deepEqual(seen, [A, B, C]);
                assert.equal(got.get("x-llm-proxy-attempts"), "3");
                assert.ok(!got.text.includes("slow down"));
                /* All cool but the last: it is the next one's. */
                await fine(proxy, { client });
                assert.equal(seen.at(-1), C);
                const bytes = mock.posts().slice(-4).map((ex) => ex.body.toString());
                assert.equal(bytes[0], bytes[2]);
            }));
    }
}

test("keys: an error event as the first of a stream, and no other key: it is the client's", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }) }, async (proxy) => {
        scripts.set(A, (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
            body: event_of("openai-chat") + "data: [DONE]\n\n" }));
        const got = await ask(proxy, { stream: true });
        assert.equal(got.status, 200);
        assert.equal(got.text, event_of("openai-chat") + "data: [DONE]\n\n");
        const again = await ask(proxy, { stream: true });
        assert.equal(again.status, 429, again.text);
        assert.deepEqual(seen, [A]);
    }));

test("keys: an error in the middle of a stream is the client's, and the key cools", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        const begin = PROTOCOLS["openai-chat"].stream("m1", "half").split("\n\n").slice(0, 2);
        scripts.set(A, (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
            body: `${begin.join("\n\n")}\n\n${event_of("openai-chat")}` }));
        const got = await ask(proxy, { stream: true });
        assert.equal(got.status, 200);
        assert.match(got.text, /half[\s\S]*slow down/);
        await fine(proxy);
        assert.deepEqual(seen, [A, B]);
    }));

for (const type of ["error", "authentication_error"]) {
    test(`keys: what a stream says of an error in several events (${type}) shows no key`, () =>
        serve({ up: backend({}, "openai-responses") }, async (proxy) => {
            const named = (data, name = data.type) =>
                `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
            const message = `Incorrect API key provided: ${KEYS.alpha}`;
            const response = { id: "resp_1", object: "response", created_at: 1, model: "m1",
                status: "in_progress", output: [], error: null };
            scripts.set(A, (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
                body: named({ type: "response.created", sequence_number: 0, response }) +
                    `data: no JSON: ${message}\n\n` +
                    named({ type, sequence_number: 1, code: "invalid_api_key", message,
                        param: null }, "error") +
                    named({ type: "response.failed", sequence_number: 2, response: { ...response,
                        status: "failed", error: { code: "invalid_api_key", message } } }) }));
            const got = await ask(proxy, { client: "openai-responses", stream: true });
            assert.equal(got.status, 200, got.text);
            assert.equal(got.text.split("(API_KEY_HAS_BEEN_REDACTED)").length, 4, got.text);
            assert.ok(!got.text.includes(KEYS.alpha), got.text);
        }));
}

test("keys: 200 with an error as its body is that error", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        scripts.set(A, (ex) => ex.json_answer({ error: ERRORS["openai-chat"] }));
        await fine(proxy);
        assert.deepEqual(seen, [A, B]);
    }));

for (const [upstream, size] of [["openai-chat", 3], ["anthropic", 3], ["openai-chat", 0.5]]) {
    test(`keys: ${size} MiB to ${upstream}: the next key gets the same request`, () =>
        serve({ up: backend({}, upstream) }, async (proxy) => {
            scripts.set(A, limit({ "retry-after": "30" }));
            scripts.set(B, refusal());
            await fine(proxy, { text: "sixteen bytes.  ".repeat(size * 65536) });
            assert.deepEqual(seen, [A, B, C]);
            const [a, b, c] = mock.posts().slice(-3).map((ex) => ex.body);
            assert.ok(a.length > size * 1024 * 1024);
            assert.ok(a.equals(b) && b.equals(c));
        }));
}

/* ---- 401, 403 ---- */

for (const status of [401, 403]) {
    test(`keys: ${status}: the key is skipped while another one works`, () =>
        serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
            scripts.set(A, refusal(status));
            const got = await fine(proxy);
            assert.equal(got.get("x-llm-proxy-attempts"), "2");
            await fine(proxy);
            await fine(proxy);
            assert.deepEqual(seen, [A, B, B, B]);
            assert.equal(metric(await metrics_of(proxy), "key_refusals_total",
                '{backend="up"}'), 1);
        }));
}

test("keys: all are refused: they are tried again, and the answer is the client's", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        for (const key of [A, B, C]) {
            scripts.set(key, refusal());
        }
        for (let i = 0; i < 2; i++) {
            const got = await ask(proxy);
            assert.equal(got.status, 401);
            assert.equal(got.json.error.message, "who are you?");
        }
        assert.deepEqual(seen, [A, B, C, A, B, C]);
        /* One that works again is as good as any. */
        scripts.delete(B);
        await fine(proxy);
        await proxy.counted();
        await fine(proxy);
        assert.deepEqual(seen.slice(6), [A, B, B]);
        /* The others are still marked: only where the one that works fails are they asked. */
        scripts.set(B, limit({ "retry-after": "600" }));
        const got = await ask(proxy);
        assert.equal(got.status, 429);
        assert.deepEqual(seen.slice(9), [B]);
    }));

for (const stream of [false, true]) {
    test(`keys: one is refused while the other cools: 429, first and next (${stream})`, () =>
        serve({ up: backend({ policy: "failover", api_keys: { alpha: KEYS.alpha,
            beta: KEYS.beta } }) }, async (proxy) => {
            scripts.set(A, limit({ "retry-after": "300" }));
            scripts.set(B, refusal());
            for (const [attempts, asked] of [["2", [A, B]], ["0", [A, B]]]) {
                const got = await ask(proxy, { stream });
                assert.equal(got.status, 429, got.text);
                assert.match(got.json.error.message, /^Rate limit exceeded/);
                const wait = Number(got.get("retry-after"));
                assert.ok(wait > 240 && wait <= 300, `${wait}`);
                assert.equal(got.get("x-llm-proxy-attempts"), attempts);
                assert.deepEqual(seen, asked);
            }
            const text = await metrics_of(proxy);
            assert.equal(metric(text, "key_switches_total", '{backend="up"}'), 1);
            assert.equal(metric(text, "keys_invalid", '{backend="up"}'), 1);
            await proxy.logged(/ msg=key\.refused .*backend=up .*key=beta .*status=401 /);
            assert.equal([...proxy.stderr.matchAll(/ msg=key\.refused /g)].length, 1);
        }));
}

test("keys: a refused one comes back by a new value in its place, and is shown until then", () => {
    const config = (beta) => ({ default_backend: "up", metrics_public: true, backends: {
        up: backend({ policy: "failover", api_keys: { alpha: beta, beta: KEYS.beta } }) } });
    const { backends, ...more } = config(KEYS.alpha);
    return serve(backends, async (proxy) => {
        const shown = async () => (await proxy.call({ method: "GET", path: "/v2/backends" })).json
            .backends.find((b) => b.name === "up").keys[0];
        scripts.set(A, refusal(403));
        const begin = Date.now();
        await fine(proxy);
        const { state, until, last_error } = await shown();
        assert.deepEqual([state, until, last_error.status], ["invalid", null, 403]);
        const at = Date.parse(last_error.time);
        assert.ok(at >= begin - 1000 && at <= Date.now() + 1000, last_error.time);
        scripts.clear();
        await proxy.reload(config(KEYS.alpha));
        await fine(proxy);
        assert.equal((await shown()).state, "invalid", "the same key has not worked yet");
        await proxy.reload(config(KEYS.gamma));
        await fine(proxy);
        assert.deepEqual(seen, [A, B, B, C]);
        assert.equal((await shown()).state, "usable");
        assert.equal((await shown()).last_error, null);
    }, more);
});

test("keys: of another protocol's client, the refusal names the key, never shows it", () =>
    serve({ up: backend({ api_keys: { alpha: KEYS.alpha } }, "anthropic") }, async (proxy) => {
        scripts.set(A, failing(401, { type: "authentication_error",
            message: `invalid x-api-key: ${KEYS.alpha}` }));
        const got = await ask(proxy);
        assert.equal(got.status, 502);
        assert.match(got.json.error.message, /backend up refused its key alpha/);
        assert.ok(!got.text.includes(KEYS.alpha));
    }));

test("keys: 403 of a moderation, and other errors, are no fault of the key", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        for (const [status, error] of [
            [403, { message: "your input was flagged", type: "x", code: "moderation" }],
            [400, { message: "no", type: "invalid_request_error", code: null }],
            [404, { message: "no such model", type: "x", code: "model_not_found" }],
            [500, { message: "oops", type: "server_error", code: null }],
        ]) {
            scripts.set(A, failing(status, error));
            assert.equal((await ask(proxy)).status, status);
        }
        scripts.clear();
        await fine(proxy);
        assert.deepEqual(seen, [A, A, A, A, A]);
    }));

/* ---- The rest ---- */

test("keys: one idempotency key per exchange: the client's on every attempt", () =>
    serve({ up: backend() }, async (proxy) => {
        scripts.set(A, limit({ "retry-after": "30" }));
        await fine(proxy, { headers: { "Idempotency-Key": "the-client's" } });
        assert.deepEqual(mock.posts().slice(-2).map((ex) => ex.get("idempotency-key")),
            ["the-client's", "the-client's"]);
    }));

test("keys: one idempotency key per exchange: ours where OpenAI's backend has several keys", () =>
    serve({ up: { type: "openai", api_url: mock.url, api_keys: KEYS },
        single: { type: "openai", api_url: mock.url, api_keys: { beta: KEYS.beta } } },
    async (proxy) => {
        scripts.set(A, limit({ "retry-after": "30" }));
        await fine(proxy);
        const [one, two] = mock.posts().slice(-2).map((ex) => ex.get("idempotency-key"));
        assert.match(one, /^llm-proxy-[0-9a-z]{8,}$/);
        assert.equal(one, two);
        await fine(proxy);
        assert.notEqual(mock.posts().at(-1).get("idempotency-key"), one);
        await fine(proxy, { headers: { "Idempotency-Key": "mine" } });
        assert.equal(mock.posts().at(-1).get("idempotency-key"), "mine");
        await fine(proxy, { model: "single:m1" });
        assert.equal(mock.posts().at(-1).get("idempotency-key"), undefined);
    }));

test("keys: what a key has met outlives a reload, of another policy, order and name too", () =>
    serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        scripts.set(A, limit({ "retry-after": "600" }));
        scripts.set(B, refusal());
        await fine(proxy);
        assert.deepEqual(seen, [A, B, C]);
        scripts.clear();
        const config = (more) => ({ default_backend: "up", metrics_public: true,
            backends: { up: backend(more) } });
        await proxy.reload(config({ policy: "round-robin",
            api_keys: { gamma: KEYS.gamma, beta: KEYS.beta, alpha: KEYS.alpha } }));
        seen.length = 0;
        for (let i = 0; i < 4; i++) {
            await fine(proxy);
        }
        assert.deepEqual(seen, [C, C, C, C]);
        /* A new secret is a new key, whatever its name. */
        await proxy.reload(config({ policy: "failover", api_keys: { alpha: KEYS.beta,
            gamma: KEYS.gamma } }));
        seen.length = 0;
        await fine(proxy);
        assert.deepEqual(seen, [B]);
    }));

test("keys: a backend that takes no key has none that could cool", () =>
    serve({ up: backend({ api_keys: undefined }) }, async (proxy) => {
        scripts.set(undefined, limit({ "retry-after": "30" }));
        for (let i = 0; i < 2; i++) {
            const got = await ask(proxy);
            assert.equal(got.status, 429);
            assert.equal(got.json.error.message, "slow down");
            assert.equal(got.get("retry-after"), "30");
        }
        scripts.clear();
        await fine(proxy);
        assert.equal(seen.length, 3);
    }));

test("keys: the list of models is asked with a key that works", async () => {
    const asked = [];
    mock.on_get = (ex) => {
        asked.push(key_of(ex));
        return ex.json_answer({ object: "list", data: [{ id: "m1", object: "model" }] });
    };
    await serve({ up: backend({ policy: "failover" }) }, async (proxy) => {
        scripts.set(A, refusal());
        await fine(proxy);
        const list = await proxy.call({ method: "GET", path: "/v1/models" });
        assert.equal(list.status, 200, list.text);
        assert.deepEqual(asked, [B]);
    });
});

test("keys: numbered variables of the environment are one backend's keys", async () => {
    const proxy = await start({ config: { default_backend: "openai" }, env: {
        OPENAI_API_KEY_1: KEYS.alpha, OPENAI_API_KEY_2: KEYS.beta,
        OPENAI_API_BASE_URL: mock.url } });
    try {
        for (let i = 0; i < 4; i++) {
            await fine(proxy);
        }
        assert.deepEqual(seen, [A, B, A, B]);
    } finally {
        await proxy.stop();
    }
});

test("keys: many at once on two workers: nobody fails while a key works, and the rest is even",
    () => serve({ up: backend({ policy: "least-used" }) }, async (proxy) => {
        scripts.set(A, limit({ "retry-after": "600" }));
        const sessions = Array.from({ length: 8 }, (_, i) => `s${i}`);
        const got = await within(SLOW ? 240_000 : 60_000, "all answers", Promise.all(
            Array.from({ length: 160 }, (_, i) => ask(proxy, { session: sessions[i % 8],
                stream: i % 3 === 0 }))));
        assert.deepEqual([...new Set(got.map((one) => one.status))], [200]);
        const of = (key) => seen.filter((one) => one === key).length;
        assert.equal(of(B) + of(C), 160);
        assert.ok(Math.min(of(B), of(C)) > 40, `${of(B)} ${of(C)}`);
        /* All that had begun before the first 429 was known, no more. */
        assert.ok(of(A) < 160, `${of(A)}`);
        assert.equal(metric(await metrics_of(proxy), "keys_cooling", '{backend="up"}'), 1);
    }, { workers: 2 }));
