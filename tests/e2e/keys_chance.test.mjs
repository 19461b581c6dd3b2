/* SPDX-License-Identifier: MIT */
/*
 * Many clients at once, of all protocols, at backends of all protocols with several keys each whose
 * upstream answers by chance: as asked, 429, 401, an error of its own, an error as a stream's first
 * or last event, late, broken off, or not at all. Meanwhile the configuration is read again with
 * other keys, names and policies, and clients leave.
 *
 * After it: each client that stayed has had one answer, its own, in its own terms; no key is in any
 * of them, in the log, or in what operators see; nothing is in flight; each exchange tried each key
 * once, or once more after a pause, with one idempotency key.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Client, within } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { SLOW, start, stop_all, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";

const KEYS = ["alpha", "beta", "gamma", "delta"].map((name) => `sk-secret-of-${name}-1`);
const POLICIES = ["sticky", "round-robin", "failover", "least-used"];
const CLIENTS = 40;
const TURNS = SLOW ? 8 : 16;            /* requests of each */
const LARGE = 1_100_000;                /* read and written in jobs */

const chance = random("keys");
const uses = new Map();                 /* a request's number -> what came up of it */
let mock;

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

const protocol_of = (ex) => ex.target.includes("enerateContent") ? "gemini" :
    NAMES.find((name) => ex.target.endsWith(PROTOCOLS[name].path("m1", {})));

/* ---- The upstream ---- */

/** Each repeats the key that it got. */
function error_of(protocol, [status, type, code, word], key) {
    const message = `${code} with ${key}`;
    if (protocol === "gemini") {
        return { error: { code: status, message, status: word } };
    }
    return protocol === "anthropic" ? { type: "error", error: { type, message } } :
        { error: { message, type: "x", param: null, code } };
}

const LIMIT = [429, "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"];
const REFUSAL = [401, "authentication_error", "invalid_api_key", "UNAUTHENTICATED"];
const BROKEN = [500, "api_error", "server_error", "INTERNAL"];

function error_event(protocol, error) {
    const data = protocol === "openai-responses" ? { sequence_number: 0, ...error.error,
        type: "error" } : error;
    const name = protocol === "anthropic" || protocol === "openai-responses" ?
        "event: error\n" : "";
    return `${name}data: ${JSON.stringify(data)}\n\n`;
}

async function upstream(ex) {
    const protocol = protocol_of(ex);
    const one = PROTOCOLS[protocol];
    const text = ex.body.toString("utf8");
    const number = /number (\d+)\./.exec(text)[1];
    const key = KEYS.find((k) => [ex.get("authorization"), ex.get("x-api-key"),
        ex.get("x-goog-api-key")].some((shown) => shown?.endsWith(k)));
    const streams = ex.target.includes("streamGenerate") || /"stream":\s*true/.test(text);
    const headers = { "content-type": streams ? "text/event-stream" : "application/json" };
    const wait = { "retry-after-ms": chance.pick(["20", "100", "2000"]) };
    const said = streams ? one.stream("m1", `fine ${number}.`) :
        JSON.stringify(one.whole("m1", `fine ${number}.`));
    const limit = error_of(protocol, LIMIT, key);
    const error = (kind, more) => ex.json_answer(error_of(protocol, kind, key),
        { status: kind[0], headers: more });
    const n = chance.below(100);
    uses.set(number, [...uses.get(number) ?? [], { key, n, whole: text.includes("the end"),
        idempotency: ex.get("idempotency-key") }]);
    if (n < 12) {
        await error(LIMIT, wait);
    } else if (n < 16) {
        await error(REFUSAL);
    } else if (n < 20) {
        await error(BROKEN);
    } else if (n < 24) {
        ex.rst();
    } else if (n < 28) {
        await ex.respond({ headers: { ...headers, "content-length": said.length + 9 },
            framing: "close", body: said.slice(0, said.length / 2) });
    } else if (n < 34 && streams) {
        await ex.respond({ headers: { ...headers, ...wait }, body: error_event(protocol, limit) });
    } else if (n < 38 && streams) {
        const events = said.split("\n\n");
        await ex.respond({ headers, framing: "chunked", body: events.slice(0, events.length / 2)
            .map((event) => `${event}\n\n`).join("") + error_event(protocol, limit) });
    } else {
        await sleep(n > 90 ? 30 + chance.below(200) : 0);
        await ex.respond({ headers, body: said, framing: n % 2 ? "chunked" : "length" });
    }
}

before(async () => {
    mock = await Mock.start({ fallback: upstream });
});

after(() => stop_all(mock));

/* ---- Configurations and clients ---- */

function config() {
    const some = () => Object.fromEntries(KEYS.filter((_, i) => i === 0 || chance.below(3) > 0)
        .map((key, i) => [chance.below(4) === 0 ? `renamed${i}` : `key-${key}`.slice(-8), key]));
    return { default_backend: NAMES[0], metrics_public: true, retry_wait_max: "300ms",
        backends: Object.fromEntries(NAMES.map((name) => [name, { protocol: name,
            api_url: mock.url.replace(/\/v1$/, PROTOCOLS[name].base),
            policy: chance.pick(POLICIES), api_keys: some() }])) };
}

let numbers = 0;

function request_of(session) {
    const number = ++numbers;
    const client = chance.pick(NAMES);
    const one = PROTOCOLS[client];
    const stream = chance.below(2) === 0;
    const model = `${chance.pick(NAMES)}:m1`;
    const padding = "x".repeat(chance.below(12) === 0 ? LARGE : chance.below(200));
    const asked = one.request(`number ${number}. ${padding} the end`);
    const body = client === "gemini" ? asked : { model, ...(stream ? { stream } : {}), ...asked };
    return { number, stream, options: { path: one.path(model, { stream }),
        headers: session ? { "x-session-id": session } : {}, body: JSON.stringify(body) } };
}

function assert_shows_no_key(text) {
    for (const key of KEYS) {
        const at = text.indexOf(key);
        assert.equal(at, -1, `a key in ${text.slice(Math.max(0, at - 500), at + 100)}`);
    }
}

function assert_answered({ number, stream }, got) {
    assert_shows_no_key(JSON.stringify(got.head.fields) + got.text);
    const answers = [...got.text.matchAll(/fine (\d+)\./g)].map((match) => match[1]);
    assert.ok(answers.every((one) => one === String(number)), `${number}: ${got.text}`);
    if (got.status !== 200) {
        assert.ok(got.json.error.message.length > 0, got.text);
    } else if (!stream) {
        assert.equal(answers.length, 1, got.text);
        assert.equal(typeof got.json, "object");
    } else {
        assert.ok(answers.length > 0 || got.text.includes("rror"), got.text);
    }
}

async function client_of(proxy, session) {
    for (let i = 0; i < TURNS; i++) {
        const asked = request_of(session);
        if (chance.below(6) > 0) {
            assert_answered(asked, await proxy.chat(asked.options.body, asked.options));
            continue;
        }
        const leaver = await Client.connect(proxy.port);
        leaver.send({ ...asked.options, headers: proxy.headers(asked.options.headers) });
        await sleep(chance.below(chance.pick([3, 40, 400])));
        leaver.destroy();
    }
}

async function backends_at_rest(proxy) {
    for (let left = 400;; left--) {
        const { text, json } = await proxy.call({ method: "GET", path: "/v2/backends" });
        assert_shows_no_key(text);
        if (left === 0 || !/"in_flight":\s*[1-9]/.test(text)) {
            return json;
        }
        await sleep(25);
    }
}

test("keys: by chance: each client has its answer, nothing stays behind, no key is shown",
    { ms: SLOW ? 500_000 : 200_000 }, async (t) => {
        t.diagnostic(`SEED=${SEED}`);
        const proxy = await start({ config: { workers: 2, ...config() } });
        let over = false;
        const reloads = (async () => {
            while (!over) {
                await sleep(chance.below(400));
                assert.match(await proxy.reload({ workers: 2, ...config() }), /reload\.done/);
            }
        })();
        try {
            await within(SLOW ? 450_000 : 180_000, "all answers", Promise.all(Array.from(
                { length: CLIENTS }, (_, i) => client_of(proxy, i % 2 ? `session-${i}` : null))));
        } finally {
            over = true;
        }
        await reloads;
        assert.doesNotMatch(JSON.stringify(await backends_at_rest(proxy)), /"in_flight":\s*[1-9]/);
        assert_shows_no_key(await proxy.counted() + proxy.stderr);
        for (const [number, all] of uses) {
            const what = `${number}: ${JSON.stringify(all)}`;
            assert.ok(all.every(({ key, whole }) => key && whole), what);
            assert.equal(new Set(all.map((one) => one.idempotency)).size, 1, what);
            for (const key of KEYS) {
                /* A reused connection that was reset is replaced, which is no attempt. */
                const of = all.filter((one) => one.key === key && (one.n < 20 || one.n >= 24));
                assert.ok(of.length <= 2, what);
            }
        }
        await proxy.stop();
    });
