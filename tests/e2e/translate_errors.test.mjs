/* SPDX-License-Identifier: MIT */
/*
 * Upstreams that fail, seen by clients of another protocol: the status, type and message of theirs,
 * before the answer began and in the middle of it; and when to come again.
 */
import assert from "node:assert/strict";
import { after, beforeEach } from "node:test";

import { within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_backends, missing_clients } from "./lib/protocols.mjs";
import { SLOW, start, stop_all, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";
import { stream } from "./lib/upstream.mjs";

const mock = await Mock.start();
const no_backend = await missing_backends();
/* An error cools a key: each test has a backend of its own. */
const EACH = 64; /* no configuration has more */
const proxies = new Map(await Promise.all(NAMES.map(async (name) => {
    const { short, base } = PROTOCOLS[name];
    const backends = {};
    for (let i = 0; i < EACH; i++) {
        backends[`${short}${i}`] = { protocol: name, api_keys: [`upstream-secret-${i}`],
            api_url: mock.url.replace(/\/v1$/, base) };
    }
    return [name, await start({ config: { retries: 0, retry_wait_max: 0,
        proxy_timeout: SLOW ? "6s" : "3s", backends } })];
})));
const no_client = await missing_clients(proxies.get("openai-chat"));
const used = new Map();

after(() => stop_all(...proxies.values(), mock));

/* What a failed test left unanswered is not the next one's. */
beforeEach(() => {
    mock.queue.length = 0;
    mock.models.clear();
});

/** A backend that no test had. */
function fresh(protocol) {
    const i = used.get(protocol) ?? 0;
    used.set(protocol, i + 1);
    assert.ok(i < EACH, "more backends are needed");
    return { name: `${PROTOCOLS[protocol].short}${i}`, proxy: proxies.get(protocol),
        secret: `upstream-secret-${i}` };
}

function request_of(client, { name, proxy }, { streamed = false, array = false } = {}) {
    const one = PROTOCOLS[client];
    const body = one.request("hello");
    if (client !== "gemini") {
        Object.assign(body, { model: `${name}:m1`, stream: streamed });
    }
    return { path: one.path(`${name}:m1`, { stream: streamed, array }),
        headers: proxy.headers(), body: JSON.stringify(body) };
}

const ask = (client, at, options) => at.proxy.call(request_of(client, at, options));

/** An error as the vendor says it. */
function body_of(protocol, { status, message, type, code }) {
    if (protocol === "anthropic") {
        return { type: "error", error: { type, message }, request_id: "req_up" };
    }
    if (protocol === "gemini") {
        return { error: { code: status, message, status: type } };
    }
    return { error: { message, type, param: null, code: code ?? null } };
}

/* What an upstream fails with: its status and words; what each kind of client gets. */
const CLASSES = {
    "a bad request": { status: 400, message: "temperature: wrong",
        type: { openai: "invalid_request_error", anthropic: "invalid_request_error",
            gemini: "INVALID_ARGUMENT" },
        get: { openai: [400, "invalid_request_error"], anthropic: [400, "invalid_request_error"],
            gemini: [400, "INVALID_ARGUMENT"] }, says: /^temperature: wrong$/ },
    "too long a prompt": { status: 400, message: "prompt is too long: 9 > 8",
        type: { openai: "invalid_request_error", anthropic: "invalid_request_error",
            gemini: "INVALID_ARGUMENT" }, code: "context_length_exceeded",
        get: { openai: [400, "invalid_request_error", "context_length_exceeded"],
            anthropic: [400, "invalid_request_error"], gemini: [400, "INVALID_ARGUMENT"] },
        says: /prompt is too long: 9 > 8/ },
    "our key": { status: 401, message: "invalid key SECRET",
        type: { openai: "invalid_request_error", anthropic: "authentication_error",
            gemini: "UNAUTHENTICATED" }, code: "invalid_api_key",
        get: { openai: [502, "backend_error", "upstream_auth"], anthropic: [502, "api_error"],
            gemini: [502, "UNAVAILABLE"] }, says: /refused its key/ },
    "an unknown model": { status: 404, message: "model m1 is not here",
        type: { openai: "invalid_request_error", anthropic: "not_found_error",
            gemini: "NOT_FOUND" }, code: "model_not_found",
        get: { openai: [404, "invalid_request_error", "model_not_found"],
            anthropic: [404, "not_found_error"], gemini: [404, "NOT_FOUND"] },
        says: /^Model not found: m1: model m1 is not here/ },
    "a rate limit": { status: 429, message: "slower, please",
        type: { openai: "requests", anthropic: "rate_limit_error",
            gemini: "RESOURCE_EXHAUSTED" }, code: "rate_limit_exceeded",
        get: { openai: [429, "rate_limit_error", "rate_limit_exceeded"],
            anthropic: [429, "rate_limit_error"], gemini: [429, "RESOURCE_EXHAUSTED"] },
        says: /^slower, please$/ },
    "a fault of its own": { status: 500, message: "oops",
        type: { openai: "server_error", anthropic: "api_error", gemini: "INTERNAL" },
        get: { openai: [502], anthropic: [502, "api_error"], gemini: [502] }, says: /^oops$/ },
    "too much to do": { status: 503, message: "busy",
        type: { openai: "server_error", anthropic: "overloaded_error", gemini: "UNAVAILABLE" },
        get: { openai: [503, "server_error", "overloaded"], anthropic: [529, "overloaded_error"],
            gemini: [503, "UNAVAILABLE"] }, says: /^busy$/ },
};
const family = (protocol) => protocol.replace(/-.*/, "");

function is_error(client, answer, [status, type, code], says) {
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.get("content-type"), /^application\/json/);
    const { error } = answer.json;
    const shown = { openai: ["code", "message", "param", "type"],
        anthropic: ["message", "type"], gemini: ["code", "message", "status"] };
    const kind = family(client);
    assert.deepEqual(Object.keys(error).filter((k) => k !== "details").sort(), shown[kind]);
    assert.match(error.message, says);
    if (type !== undefined) {
        assert.equal(kind === "gemini" ? error.status : error.type, type);
    }
    if (kind === "anthropic") {
        assert.equal(answer.json.type, "error");
        assert.ok(answer.get("request-id"));
    }
    if (kind === "gemini") {
        assert.equal(error.code, status);
    }
    if (code !== undefined) {
        assert.equal(error.code, code);
    }
}

const PAIRS = NAMES.flatMap((client) => NAMES.filter((upstream) => upstream !== client)
    .map((upstream) => ({ client, upstream, skip: no_backend.get(upstream) ||
        no_client.get(client) || false })));

for (const { client, upstream, skip } of PAIRS) {
    const pair = `${client} to ${upstream}`;
    const error_of = (one, secret) => body_of(upstream, { ...one,
        message: one.message.replace("SECRET", secret), type: one.type[family(upstream)] });

    for (const [what, one] of Object.entries(CLASSES)) {
        const status = upstream === "anthropic" && one.status === 503 ? 529 : one.status;
        test(`translate_errors: ${pair}: ${what}, ${status}`, { skip }, async () => {
            const at = fresh(upstream);
            const body = error_of({ ...one, status }, at.secret);
            mock.next((ex) => ex.json_answer(body, { status }));
            const answer = await ask(client, at);
            is_error(client, answer, one.get[family(client)], one.says);
            assert.ok(!answer.text.includes(at.secret), "a key is told");
            assert.equal(answer.get("x-llm-proxy-backend"), at.name);
        });
    }

    test(`translate_errors: ${pair}: a stream's first event is an error, under status 200`,
        { skip }, async () => {
            const at = fresh(upstream);
            const data = error_of({ ...CLASSES["too much to do"], status: 529 }, at.secret);
            const told = upstream === "openai-responses" ? { type: "error", sequence_number: 0,
                code: data.error.code, message: data.error.message, param: null } : data;
            const named = upstream === "anthropic" || upstream === "openai-responses";
            mock.next(async (ex) => {
                await ex.open_stream();
                await ex.event(`${named ? "event: error\n" : ""}data: ${
                    JSON.stringify(told)}\n\n`);
                await ex.write(LAST_CHUNK);
            });
            const answer = await ask(client, at, { streamed: true });
            assert.ok(answer.status >= 500, `${answer.status} ${answer.text}`);
            assert.match(answer.get("content-type"), /^application\/json/);
            assert.match(answer.json.error.message, /busy/);
        });

    test(`translate_errors: ${pair}: a whole answer that is an error, under status 200`,
        { skip }, async () => {
            const at = fresh(upstream);
            const data = error_of(CLASSES["a rate limit"], at.secret);
            mock.next((ex) => ex.json_answer(data));
            is_error(client, await ask(client, at), CLASSES["a rate limit"].get[family(client)],
                /slower, please/);
        });

    for (const how of ["an error", "its end"]) {
        test(`translate_errors: ${pair}: ${how} in the middle of a stream`, { skip }, async () => {
            const at = fresh(upstream);
            const events = stream(upstream, "m1", { blocks: [{ text: "Half of it" }],
                ...(how === "an error" ? { fail: { type: "overloaded_error",
                    message: `busy ${at.secret}` } } : { cut: true }) });
            let begun;
            const committed = new Promise((resolve) => { begun = resolve; });
            mock.next(async (ex) => {
                await ex.open_stream();
                const told = how === "an error" ? events.findIndex((event) =>
                    event.includes("busy")) : events.length;
                for (const event of events.slice(0, told)) {
                    await ex.write(chunk(event));
                }
                await committed; /* so that it comes in another read */
                for (const event of events.slice(told)) {
                    await ex.write(chunk(event));
                }
                if (how === "an error") {
                    await ex.write(LAST_CHUNK);
                } else {
                    ex.fin();
                }
            });
            const connection = await at.proxy.connect();
            connection.send(request_of(client, at, { streamed: true }));
            const answer = await connection.head();
            begun();
            await within(5000, "the end of the stream", answer.done);
            connection.destroy();
            assert.equal(answer.status, 200);
            assert.ok(!answer.text.includes(at.secret), "a key is told");
            const reading = read_answer(client, answer.body, answer.get("content-type"));
            assert.equal(reading.text, "Half of it");
            assert.ok(reading.error, `no error: ${answer.text}`);
            assert.match(reading.error.message, how === "an error" ? /busy/ : /broke off|end/);
            /* Nothing stands behind it that an end would be taken for. */
            assert.doesNotMatch(answer.text, /\[DONE\]|message_stop|response\.completed|"STOP"/);
        });
    }

    test(`translate_errors: ${pair}: when to come again, whatever said so`, { skip }, async () => {
        const limited = error_of(CLASSES["a rate limit"]);
        const soon = new Date(Date.now() + 30_000).toISOString().replace(/\.\d+/, "");
        for (const [headers, message, expected, exact] of [
            [{ "retry-after": "6.2" }, null, [7, 7], "6200"],
            [{ "retry-after": new Date(Date.now() + 20_000).toUTCString() }, null, [8, 20]],
            [{ "retry-after-ms": "1500", "retry-after": "9" }, null, [2, 2], "1500"],
            [{ "retry-after": "soon" }, "Please try again in 3s", [3, 3]],
            [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m4s" }, null,
                [64, 64]],
            [{ "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": soon }, null, [21, 30]],
            [{}, "Please try again in 7.66s.", [8, 8], "7660"],
            [{}, null, null],
        ]) {
            const at = fresh(upstream);
            const body = structuredClone(limited);
            body.error.message = message ?? body.error.message;
            mock.next((ex) => ex.json_answer(body, { status: 429, headers }));
            const answer = await ask(client, at);
            assert.equal(answer.status, 429, answer.text);
            const seconds = answer.get("retry-after") ?? null;
            if (expected === null) {
                assert.equal(seconds, null);
            } else {
                assert.match(seconds ?? "none", /^\d+$/, JSON.stringify(headers));
                assert.ok(Number(seconds) >= expected[0] && Number(seconds) <= expected[1],
                    `${seconds} for ${JSON.stringify(headers)} ${message}`);
            }
            const told_ms = answer.get("retry-after-ms");
            if (exact !== undefined) {
                assert.equal(told_ms, exact);
            }
            assert.equal(told_ms === undefined || Math.ceil(told_ms / 1000) === Number(seconds),
                true, `${told_ms} ms, ${seconds} s`);
            /* Google's clients look into the body. */
            const delay = answer.json.error.details?.find((one) =>
                one["@type"] === "type.googleapis.com/google.rpc.RetryInfo")?.retryDelay;
            if (client === "gemini" && expected !== null) {
                assert.match(delay ?? "none", /^\d+(\.\d{3})?s$/);
                assert.equal(Math.ceil(parseFloat(delay)), Number(seconds));
            } else {
                assert.equal(delay, undefined);
            }
        }
    });
}

/* ---- Errors of ours, in every shape ---- */

for (const client of NAMES) {
    const skip = no_client.get(client) || false;
    test(`translate_errors: ${client}: errors of the proxy's own`, { skip }, async () => {
        const proxy = proxies.get("openai-chat");
        const one = PROTOCOLS[client];
        const kind = family(client);
        const path = one.path("nobody:m1", { stream: false });
        const body = JSON.stringify(client === "gemini" ? one.request("x") :
            { ...one.request("x"), model: "nobody:m1" });
        is_error(client, await proxy.call({ path, body }), { openai: [400,
            "invalid_request_error", "unknown_backend"], anthropic: [400, "invalid_request_error"],
        gemini: [400, "INVALID_ARGUMENT"] }[kind], /^Unknown backend: nobody/);
        is_error(client, await proxy.call({ path, body, headers: { Authorization: "Bearer no" } }),
            { openai: [401, "authentication_error", "invalid_api_key"],
                anthropic: [401, "authentication_error"], gemini: [401, "UNAUTHENTICATED"] }[kind],
            /^Unauthorized/);
        is_error(client, await proxy.call({ path, body: "{" }), { openai: [400,
            "invalid_request_error"], anthropic: [400, "invalid_request_error"],
        gemini: [400, "INVALID_ARGUMENT"] }[kind], /./);
        is_error(client, await proxy.call({ method: "PUT", path, body }), { openai: [405],
            anthropic: [405], gemini: [405] }[kind], /^Method not allowed: PUT/);
        /* Below a path of its own; what is nobody's is OpenAI's. */
        const nowhere = { anthropic: "/anthropic/nowhere", gemini: "/v1beta/nowhere",
            openai: "/nowhere" }[kind];
        is_error(client, await proxy.call({ path: nowhere, body }), { openai: [404,
            "invalid_request_error", "not_found"], anthropic: [404, "not_found_error"],
        gemini: [404, "NOT_FOUND"] }[kind], /^Not found: POST/);
    });
}

test("translate_errors: an upstream that cannot be reached, is silent, or is none", async () => {
    const client = NAMES.find((n) => n !== "openai-chat" && !no_client.get(n));
    assert.ok(client, "only one protocol is there");
    for (const [script, status] of [[(ex) => ex.fin(), 502], [() => {}, 504],
        [(ex) => ex.respond({ headers: { "content-type": "text/html" }, body: "<html>" }), 502],
        [(ex) => ex.respond({ status: 502, headers: { "content-type": "text/html" },
            body: "<html>Bad gateway" }), 502]]) {
        const at = fresh("openai-chat");
        mock.on("m1", script);
        const answer = await within(8000, "an answer", ask(client, at));
        mock.models.delete("m1");
        assert.equal(answer.status, status, answer.text);
        assert.ok(answer.json.error.message.length > 0);
    }
});
