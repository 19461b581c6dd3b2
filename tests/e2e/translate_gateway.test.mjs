/* SPDX-License-Identifier: MIT */
/*
 * What is around a translated exchange: paths, keys, lists of models, counted tokens, headers in
 * both directions, and the forms of a stream.
 */
import assert from "node:assert/strict";
import { after, beforeEach } from "node:test";

import { DEMO_MODELS } from "./lib/demo.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { KEY, start, stop_all, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";

const TEXT = "Hello from upstream";

/* Each protocol's server on one mock, known by the path that is asked for. */
function protocol_of(ex) {
    const path = ex.target.split("?")[0];
    return /\/chat\/completions$/.test(path) ? "openai-chat" :
        /\/responses$/.test(path) ? "openai-responses" :
            /\/messages$/.test(path) ? "anthropic" :
                /:(streamG|g)enerateContent$/.test(path) ? "gemini" : null;
}

const LISTS = {
    "openai-chat": { object: "list", data: [{ id: "m1", object: "model", created: 1700000000,
        owned_by: "mock" }] },
    anthropic: { data: [{ type: "model", id: "m1", display_name: "M 1",
        created_at: "2025-01-01T00:00:00Z" }], has_more: false, first_id: "m1", last_id: "m1" },
    gemini: { models: [{ name: "models/m1", displayName: "M 1", inputTokenLimit: 1000,
        supportedGenerationMethods: ["generateContent"] }] },
};

async function upstream(ex) {
    const protocol = protocol_of(ex);
    if (protocol === null) {
        await ex.json_answer({ detail: "Not Found" }, { status: 404 });
        return;
    }
    const streamed = protocol === "gemini" ? /:stream/.test(ex.target) : ex.json.stream === true;
    if (!streamed) {
        await ex.json_answer(PROTOCOLS[protocol].whole("m1", TEXT));
    } else if (protocol === "gemini" && !/alt=sse/.test(ex.target)) {
        await ex.respond({ headers: { "content-type": "application/json; charset=UTF-8" },
            framing: "chunked", body: `[${JSON.stringify(PROTOCOLS.gemini.whole("m1", TEXT))}\n]` });
    } else {
        await ex.open_stream();
        await ex.write(chunk(PROTOCOLS[protocol].stream("m1", TEXT)));
        await ex.write(LAST_CHUNK);
    }
}

async function lists(ex) {
    const [path] = ex.target.split("?");
    if (path === "/v1beta/models") {
        await ex.json_answer(LISTS.gemini);
    } else if (ex.get("x-api-key")) {
        await ex.json_answer(LISTS.anthropic);
    } else {
        await ex.json_answer(LISTS["openai-chat"]);
    }
}

const mock = await Mock.start({ fallback: upstream });
mock.on_get = lists;
const backends = Object.fromEntries(NAMES.map((name) => [PROTOCOLS[name].short, { protocol: name,
    api_keys: ["upstream-key-1"], api_url: mock.url.replace(/\/v1$/, PROTOCOLS[name].base) }]));
const proxy = await start({ config: { default_backend: "oc", backends }, args: ["--demo"] });

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
    mock.requests.length = 0;
});

function ask(client, model, { streamed = false, array = false, headers = {}, more = {} } = {}) {
    const one = PROTOCOLS[client];
    const body = { ...one.request("hello"), ...more };
    if (client !== "gemini") {
        Object.assign(body, { model, stream: streamed });
    }
    return proxy.call({ path: one.path(model, { stream: streamed, array }), headers,
        body: JSON.stringify(body) });
}

function says_hello(client, answer, text = TEXT) {
    assert.equal(answer.status, 200, answer.text);
    const reading = read_answer(client, answer.body, answer.get("content-type"));
    assert.equal(reading.error, null);
    assert.equal(reading.text, text);
    return reading;
}

/* ---- Every client to every backend ---- */

for (const client of NAMES) {
    for (const [name, { short }] of Object.entries(PROTOCOLS)) {
        test(`translate_gateway: ${client} to ${name}: whole and streamed`, async () => {
            says_hello(client, await ask(client, `${short}:m1`));
            const answer = await ask(client, `${short}:m1`, { streamed: true });
            says_hello(client, answer);
            assert.match(answer.get("content-type"), /^text\/event-stream/);
            for (const ex of mock.posts()) {
                assert.equal(protocol_of(ex), name);
                assert.equal(ex.get("authorization") ?? "", ["anthropic", "gemini"]
                    .includes(name) ? "" : "Bearer upstream-key-1");
            }
        });
    }
    test(`translate_gateway: ${client} to the built-in demo`, async () => {
        for (const streamed of [false, true]) {
            const reading = says_hello(client, await ask(client, "demo:echo", { streamed }),
                "hello");
            if (!streamed || client !== "openai-chat") { /* which was not asked for it */
                assert.ok(reading.usage.input > 0 && reading.usage.output > 0);
            }
        }
    });
}

/* A backend that only streams, or only does not: the client gets what it asked for. */
for (const client of NAMES) {
    for (const [name, { short, whole, stream }] of Object.entries(PROTOCOLS)) {
        test(`translate_gateway: ${client} to ${name}, which answers in the other form`, async () => {
            mock.next(async (ex) => {
                await ex.open_stream();
                await ex.write(chunk(stream("m1", TEXT)));
                await ex.write(LAST_CHUNK);
            });
            const answer = await ask(client, `${short}:m1`);
            says_hello(client, answer);
            assert.match(answer.get("content-type"), /^application\/json/);
            mock.next((ex) => ex.json_answer(whole("m1", TEXT)));
            const streamed = await ask(client, `${short}:m1`, { streamed: true });
            says_hello(client, streamed);
            assert.match(streamed.get("content-type"), /^text\/event-stream/);
        });
    }
}

/* ---- Paths and keys ---- */

test("translate_gateway: Gemini's paths: the last colon begins the action", async () => {
    const body = JSON.stringify(PROTOCOLS.gemini.request("hello"));
    for (const [path, model] of [
        ["/v1beta/models/ge:m1:generateContent", "m1"],
        ["/v1beta/models/ge%3Am1:generateContent", "m1"],
        ["/v1/models/ge:m1:generateContent", "m1"],
        ["/v1beta/models/ge:tuned:v2:generateContent", "tuned%3Av2|tuned:v2"],
        ["/v1beta/models/ge:a%2Fb:generateContent", "a%2Fb|a/b"],
    ]) {
        mock.requests.length = 0;
        const answer = await proxy.call({ path, body });
        says_hello("gemini", answer);
        const got = /\/models\/(.*):generateContent$/.exec(mock.posts()[0].target)[1];
        assert.ok(model.split("|").includes(got), `${path}: ${got}`);
    }
    const other = await proxy.call({ path: "/v1beta/models/oc%3Aa%2Fb:generateContent", body });
    says_hello("gemini", other);
    assert.equal(mock.posts().at(-1).json.model, "a/b");
    for (const path of ["/v1beta/models/ge:m1:nothing", "/v1beta/models/:generateContent",
        "/v1beta/models/m1%ff:generateContent", "/v1/models/ge:m1:nothing"]) {
        const answer = await proxy.call({ path, body });
        assert.ok([400, 404, 405].includes(answer.status), `${path}: ${answer.status}`);
        assert.equal(typeof answer.json.error.status, "string", path);
        assert.equal(answer.json.error.code, answer.status);
    }
});

test("translate_gateway: ?key= on Gemini's paths only; it goes neither up nor into the log",
    async () => {
        const body = JSON.stringify(PROTOCOLS.gemini.request("hello"));
        const path = "/v1beta/models/ge:m1:streamGenerateContent";
        const none = { Authorization: "none" };
        const answer = await proxy.call({ path: `${path}?key=${KEY}&alt=sse`, body,
            headers: none });
        says_hello("gemini", answer);
        assert.equal(mock.posts()[0].target, "/v1beta/models/m1:streamGenerateContent?alt=sse");
        assert.equal(mock.posts()[0].get("x-goog-api-key"), "upstream-key-1");
        says_hello("gemini", await proxy.call({ body, headers: none,
            path: `/v1/models/oc:m1:generateContent?key=${encodeURIComponent(KEY)}` }));
        for (const [wrong, status] of [["/v1beta/models/ge:m1:generateContent?key=no", 401],
            [`/v1beta/models/ge:m1:generateContent?%6bey=${KEY}`, 401],
            [`/v1/chat/completions?key=${KEY}`, 401], [`/v1/messages?key=${KEY}`, 401],
            [`/anthropic/v1/messages?key=${KEY}`, 401], [`/v1/responses?key=${KEY}`, 401],
            [`/v2/responses/input_tokens?key=${KEY}`, 401], [`/metrics?key=${KEY}`, 401],
            [`/v1/models?key=${KEY}`, 401], [`/v2/models/oc:m1?key=${KEY}`, 401],
            [`/v1/conversations?key=${KEY}`, 401], [`/nothing?key=${KEY}`, 401]]) {
            const method = /models(\/oc:m1)?\?|metrics/.test(wrong) ? "GET" : "POST";
            const refused = await proxy.call({ method, path: wrong, headers: none,
                ...method === "POST" && { body } });
            assert.equal(refused.status, status, wrong);
        }
        const list = await proxy.call({ method: "GET", path: `/v1beta/models?key=${KEY}`,
            headers: none });
        assert.equal(list.status, 200);
        assert.ok(!proxy.stderr.includes(KEY));
    });

/* Catches: a path that is there and is said not to be, in a shape that its clients do not know. */
test("translate_gateway: a wrong method is told as such, with those that there are", async () => {
    const rows = [
        ["GET", "/v1beta/models/ge:m1:generateContent", "POST", "gemini"],
        ["DELETE", "/v1/models/ge:m1:streamGenerateContent", "POST", "gemini"],
        ["HEAD", "/v1beta/models/m1:countTokens", "POST", "gemini"],
        ["POST", "/v1beta/models", "GET, HEAD", "gemini"],
        ["GET", "/v1/messages", "POST", "anthropic"],
        ["DELETE", "/anthropic/v1/messages", "POST", "anthropic"],
        ["PUT", "/v2/messages/count_tokens", "POST", "anthropic"],
        ["GET", "/v1/responses", "POST", "openai-responses"],
        ["PUT", "/v1/responses/resp_1", "GET, HEAD, DELETE", "openai-responses"],
        ["POST", "/v1/responses/resp_1/input_items", "GET, HEAD", "openai-responses"],
        ["GET", "/v2/responses/resp_1/cancel", "POST", "openai-responses"],
        ["DELETE", "/v1/responses/compact", "POST", "openai-responses"],
        ["PATCH", "/v1/conversations/conv_1", "GET, HEAD, POST, DELETE", "openai-responses"],
        ["GET", "/v1/chat/completions", "POST", "openai-chat"],
        ["POST", "/v1/models", "GET, HEAD", "openai-chat"],
    ];
    for (const [method, path, allow, shape] of rows) {
        const answer = await proxy.call({ method, path });
        const what = `${method} ${path}: ${answer.text}`;
        assert.deepEqual([answer.status, answer.get("allow")], [405, `${allow}, OPTIONS`], what);
        const asked = await proxy.call({ method: "OPTIONS", path });
        assert.deepEqual([asked.status, asked.get("allow")], [204, `${allow}, OPTIONS`], what);
        if (method === "HEAD") {
            assert.equal(answer.text, "");
        } else if (shape === "gemini") {
            assert.deepEqual([answer.json.error.code, answer.json.error.status],
                [405, "INVALID_ARGUMENT"], what);
        } else if (shape === "anthropic") {
            assert.deepEqual([answer.json.type, answer.json.error.type],
                ["error", "invalid_request_error"], what);
        } else {
            assert.equal(answer.json.error.code, "method_not_allowed", what);
        }
    }
    for (const path of ["/v1beta/models/ge:m1:nothing", "/v1/models/ge:m1:nothing",
        "/v1beta/models/ge:m1"]) {
        const answer = await proxy.call({ path, body: "{}" });
        assert.deepEqual([answer.status, answer.json.error.code, answer.json.error.status],
            [404, 404, "NOT_FOUND"], path);
    }
});

test("translate_gateway: HEAD is GET without its body", async () => {
    const made = await proxy.call({ path: "/v1/responses", body: JSON.stringify({ model: "an:m1",
        input: "hello" }) });
    assert.equal(made.status, 200, made.text);
    for (const path of ["/", "/healthz", "/v1/models", "/v1beta/models", "/anthropic/v1/models",
        "/v1/models/an:m1", "/v1beta/models/an:m1", `/v1/responses/${made.json.id}`,
        `/v1/responses/${made.json.id}/input_items`, "/v1/responses/resp_none"]) {
        const get = await proxy.call({ method: "GET", path });
        const head = await proxy.call({ method: "HEAD", path });
        assert.deepEqual([head.status, head.get("content-type"), head.text],
            [get.status, get.get("content-type"), ""], path);
        assert.equal(get.status, path.endsWith("none") ? 404 : 200, get.text);
        assert.equal(Number(head.get("content-length")), get.body.length, path);
    }
});

test("translate_gateway: each protocol's list of models, and one of them", async () => {
    const ids = ["oc:m1", "or:m1", "an:m1", "ge:m1", ...DEMO_MODELS];
    const get = (path, headers = {}) => proxy.call({ method: "GET", path, headers });
    for (const path of ["/v1/models", "/v2/models"]) {
        const { json } = await get(path);
        assert.equal(json.object, "list");
        assert.deepEqual(json.data.map((m) => m.id).sort(), [...ids].sort());
        const anthropic = await get(path, { "anthropic-version": "2023-06-01" });
        assert.equal(anthropic.json.has_more, false);
        assert.deepEqual(anthropic.json.data.map((m) => m.id).sort(), [...ids].sort());
        assert.ok(anthropic.json.data.every((m) => m.type === "model"));
        /* Google's Python package asks there since its third version. */
        for (const mark of [{ "x-goog-api-key": KEY },
            { "x-goog-api-client": "google-genai-sdk/3.4.0" }]) {
            const gemini = await get(path, mark);
            assert.deepEqual(gemini.json.models.map((m) => m.name).sort(),
                ids.map((id) => `models/${id}`).sort());
        }
    }
    assert.equal((await get("/v1/models/ge:m1", { "x-goog-api-key": KEY })).json.name,
        "models/ge:m1");
    assert.equal((await get("/v1/models/ge:zz", { "x-goog-api-key": KEY })).json.error.status,
        "NOT_FOUND");
    const below = await get("/anthropic/v1/models");
    assert.equal(below.json.has_more, false);
    const gemini = await get("/v1beta/models");
    assert.deepEqual(gemini.json.models.map((m) => m.name).sort(),
        ids.map((id) => `models/${id}`).sort());
    assert.equal((await get("/v1/models/an:m1")).json.id, "an:m1");
    assert.equal((await get("/v1/models/an%3Am1")).json.object, "model");
    const one = await get("/v1/models/an:m1", { "anthropic-version": "2023-06-01" });
    assert.deepEqual([one.json.type, one.json.id], ["model", "an:m1"]);
    assert.equal((await get("/v1beta/models/ge:m1")).json.name, "models/ge:m1");
    const missing = await get("/v1/models/an:zz", { "anthropic-version": "2023-06-01" });
    assert.deepEqual([missing.status, missing.json.error.type], [404, "not_found_error"]);
});

test("translate_gateway: a backend whose list fails is left out, and the client is told",
    async () => {
        const broken = await Mock.start();
        broken.on_get = (ex) => ex.json_answer({ error: { message: "no" } }, { status: 500 });
        const one = await start({ config: { backends: { ...backends,
            broken: { protocol: "openai-chat", api_url: broken.url, api_keys: ["k"] } } } });
        try {
            const answer = await one.call({ method: "GET", path: "/v1/models" });
            assert.equal(answer.status, 200);
            assert.equal(answer.get("x-llm-proxy-warnings"), "models_failed:broken");
            assert.ok(!answer.text.includes("broken:"));
            assert.ok(answer.text.includes("an:m1"));
        } finally {
            await stop_all(one, broken);
        }
        assert.equal((await proxy.call({ method: "GET", path: "/v1/models" }))
            .get("x-llm-proxy-warnings"), undefined);
    });

/* ---- Counting tokens ---- */

const COUNT = {
    anthropic: { path: () => "/v1/messages/count_tokens", read: (json) => json.input_tokens,
        body: (model) => ({ ...PROTOCOLS.anthropic.request("hello you"), model }) },
    gemini: { path: (model) => `/v1beta/models/${model}:countTokens`,
        read: (json) => json.totalTokens, body: () => PROTOCOLS.gemini.request("hello you") },
    "openai-responses": { path: () => "/v1/responses/input_tokens",
        read: (json) => json.input_tokens, body: (model) => ({ input: "hello you", model }) },
};
const ANSWERS = {
    anthropic: { target: "/v1/messages/count_tokens", body: { input_tokens: 4711 } },
    gemini: { target: "/v1beta/models/m1:countTokens", body: { totalTokens: 4711,
        promptTokensDetails: [{ modality: "TEXT", tokenCount: 4711 }] } },
    "openai-responses": { target: "/v1/responses/input_tokens",
        body: { object: "response.input_tokens", input_tokens: 4711 } },
};

const count = (client, model) => proxy.call({ path: COUNT[client].path(model),
    body: JSON.stringify(COUNT[client].body(model)) });

for (const client of Object.keys(COUNT)) {
    for (const [name, { target, body }] of Object.entries(ANSWERS)) {
        test(`translate_gateway: ${client} counts tokens at ${name}`, async () => {
            const bytes = JSON.stringify(body, null, 1);
            mock.next((ex) => ex.respond({ headers: { "content-type": "application/json" },
                body: bytes }));
            const answer = await count(client, `${PROTOCOLS[name].short}:m1`);
            assert.equal(answer.status, 200, answer.text);
            assert.equal(COUNT[client].read(answer.json), 4711);
            assert.equal(answer.get("x-llm-proxy-estimated"), undefined);
            assert.equal(mock.posts()[0].target, target);
            if (client === name) {
                assert.equal(answer.text, bytes);
            }
        });
    }

    test(`translate_gateway: ${client} counts tokens where nobody can: estimated, and said so`,
        async () => {
            for (const model of ["oc:m1", "demo:echo"]) {
                const answer = await count(client, model);
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.get("x-llm-proxy-estimated"), "true");
                const tokens = COUNT[client].read(answer.json);
                assert.ok(tokens > 2 && tokens < 20, `${tokens}`);
            }
            assert.equal(mock.posts().length, 0);
        });

    for (const [status, what] of [[404, { detail: "Not Found" }], [405, {}], [501, {}]]) {
        test(`translate_gateway: ${client} counts tokens at a backend that says ${status}`,
            async () => {
                for (const name of Object.keys(ANSWERS)) {
                    mock.next((ex) => ex.json_answer(what, { status }));
                    const answer = await count(client, `${PROTOCOLS[name].short}:m1`);
                    assert.equal(answer.status, 200, answer.text);
                    assert.equal(answer.get("x-llm-proxy-estimated"), "true");
                    assert.ok(COUNT[client].read(answer.json) > 2);
                }
                assert.equal(mock.posts().length, 3);
            });
    }

    test(`translate_gateway: ${client} counts tokens: other errors are the client's to see`,
        async () => {
            mock.next((ex) => ex.json_answer({ type: "error", error: { type: "not_found_error",
                message: "model: m1" } }, { status: 404 }));
            const missing = await count(client, "an:m1");
            assert.equal(missing.status, 404, missing.text);
            mock.next((ex) => ex.json_answer({ type: "error", error: {
                type: "invalid_request_error", message: "messages: bad" } }, { status: 400 }));
            const bad = await count(client, "an:m1");
            assert.equal(bad.status, 400, bad.text);
            assert.match(bad.json.error.message, /messages: bad/);
            /* A connection from the pool is replaced once. */
            mock.next((ex) => ex.fin());
            mock.next((ex) => ex.fin());
            assert.equal((await count(client, "an:m1")).status, 502);
        });
}

test("translate_gateway: tokens of 3 MB are counted as well, and estimated", async () => {
    const text = "word ".repeat(600_000);
    const body = JSON.stringify({ model: "an:m1", messages: [{ role: "user", content: text }] });
    mock.next((ex) => ex.json_answer({ input_tokens: 600_000 }));
    const asked = await proxy.call({ path: "/v1/messages/count_tokens", body });
    assert.equal(asked.json.input_tokens, 600_000);
    mock.next((ex) => ex.json_answer({ detail: "Not Found" }, { status: 404 }));
    const estimated = await proxy.call({ path: "/v1/messages/count_tokens", body });
    assert.equal(estimated.get("x-llm-proxy-estimated"), "true", estimated.text);
    assert.ok(Math.abs(estimated.json.input_tokens - 750_000) < 1000);
    const nobody = await proxy.call({ path: "/v1/messages/count_tokens",
        body: body.replace("an:m1", "oc:m1") });
    assert.equal(nobody.json.input_tokens, estimated.json.input_tokens);
});

/* ---- Headers ---- */

test("translate_gateway: what was dropped is told, in whole answers and streams", async () => {
    for (const streamed of [false, true]) {
        const answer = await ask("anthropic", "oc:m1", { streamed, more: { top_k: 7 } });
        says_hello("anthropic", answer);
        assert.match(answer.get("x-llm-proxy-warnings") ?? "none", /(^|,)dropped:top_k(,|$)/);
        assert.equal(mock.posts().at(-1).json.top_k, undefined);
    }
    const same = await ask("anthropic", "an:m1", { more: { top_k: 7 } });
    assert.equal(same.get("x-llm-proxy-warnings"), undefined);
    assert.equal(mock.posts().at(-1).json.top_k, 7);
});

test("translate_gateway: anthropic-version is always there for Anthropic's servers", async () => {
    const versions = async (client, headers = {}) => {
        mock.requests.length = 0;
        says_hello(client, await ask(client, "an:m1", { headers }));
        const { head } = mock.posts()[0];
        return head.fields.filter(([name]) => name.toLowerCase() === "anthropic-version")
            .map(([, value]) => value);
    };
    for (const client of NAMES) {
        assert.deepEqual(await versions(client), ["2023-06-01"], client);
    }
    assert.deepEqual(await versions("anthropic", { "anthropic-version": "2099-01-01" }),
        ["2099-01-01"]);
    assert.deepEqual(await versions("openai-chat", { "anthropic-version": "2099-01-01" }),
        ["2023-06-01"]);
    await ask("openai-chat", "an:m1", { headers: { "anthropic-beta": "x-1" } });
    assert.equal(mock.posts().at(-1).get("anthropic-beta"), undefined);
    await ask("anthropic", "an:m1", { headers: { "anthropic-beta": "x-1" } });
    assert.equal(mock.posts().at(-1).get("anthropic-beta"), "x-1");
    await ask("anthropic", "oc:m1", { headers: { "anthropic-beta": "x-1" } });
    assert.equal(mock.posts().at(-1).get("anthropic-beta"), undefined);
    assert.equal(mock.posts().at(-1).get("anthropic-version"), undefined);
});

test("translate_gateway: ids of the upstream's, under the name that the client knows", async () => {
    const with_id = (name) => async (ex) => {
        await ex.json_answer(PROTOCOLS[protocol_of(ex)].whole("m1", TEXT),
            { headers: { [name]: "req_1", "openai-version": "x", "openai-organization": "org" } });
    };
    mock.next(with_id("x-request-id"));
    const anthropic = await ask("anthropic", "oc:m1");
    assert.equal(anthropic.get("request-id"), "req_1");
    assert.equal(anthropic.get("openai-organization"), undefined);
    mock.next(with_id("request-id"));
    const chat = await ask("openai-chat", "an:m1");
    assert.equal(chat.get("x-request-id"), "req_1");
    const own = await ask("anthropic", "oc:m1");
    assert.equal(own.get("request-id"), own.get("x-llm-proxy-request-id"));
});

test("translate_gateway: limits are told as the client's protocol tells them", async () => {
    const openai = { "x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "1m30s", "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "4000", "x-ratelimit-reset-tokens": "120ms",
        "retry-after-ms": "5" };
    const soon = new Date(Math.floor(Date.now() / 1000) * 1000 + 90_000);
    const anthropic = { "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": soon.toISOString().replace(".000", ""),
        "anthropic-ratelimit-input-tokens-limit": "7" };
    const limits = (answer) => Object.fromEntries(answer.head.fields
        .filter(([name]) => /ratelimit|retry/i.test(name))
        .map(([name, value]) => [name.toLowerCase(), value]));
    const from = async (client, backend, headers) => {
        const name = NAMES.find((n) => PROTOCOLS[n].short === backend);
        mock.next((ex) => ex.json_answer(PROTOCOLS[name].whole("m1", TEXT), { headers }));
        return limits(await ask(client, `${backend}:m1`));
    };

    const to_anthropic = await from("anthropic", "oc", openai);
    const reset = Date.parse(to_anthropic["anthropic-ratelimit-requests-reset"]);
    assert.ok(Math.abs(reset - Date.now() - 90_000) < 5_000, JSON.stringify(to_anthropic));
    assert.match(to_anthropic["anthropic-ratelimit-tokens-reset"],
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    delete to_anthropic["anthropic-ratelimit-requests-reset"];
    delete to_anthropic["anthropic-ratelimit-tokens-reset"];
    assert.deepEqual(to_anthropic, { "anthropic-ratelimit-requests-limit": "100",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-tokens-limit": "5000",
        "anthropic-ratelimit-tokens-remaining": "4000" });

    for (const client of ["openai-chat", "openai-responses"]) {
        const to_openai = await from(client, "an", anthropic);
        const seconds = Number(/^([\d.]+)s$/.exec(to_openai["x-ratelimit-reset-requests"])[1]);
        assert.ok(seconds > 80 && seconds <= 91, `${seconds}`);
        delete to_openai["x-ratelimit-reset-requests"];
        assert.deepEqual(to_openai, { "x-ratelimit-limit-requests": "50",
            "x-ratelimit-remaining-requests": "49" });
    }
    /* OpenAI's two are one vendor's; Gemini knows none. */
    assert.equal((await from("openai-responses", "oc", openai))["x-ratelimit-reset-requests"],
        "1m30s");
    assert.deepEqual(await from("gemini", "oc", openai), {});
    assert.deepEqual(await from("openai-chat", "oc", openai), openai);
    assert.deepEqual(await from("anthropic", "an", anthropic), anthropic);
});

/* ---- Streams as JSON arrays ---- */

test("translate_gateway: Gemini's stream without alt=sse is a JSON array, to every backend",
    async () => {
        for (const name of NAMES) {
            const answer = await ask("gemini", `${PROTOCOLS[name].short}:m1`,
                { streamed: true, array: true });
            says_hello("gemini", answer);
            assert.match(answer.get("content-type"), /^application\/json/);
            assert.ok(Array.isArray(answer.json), answer.text);
        }
        const raw = mock.posts().find((ex) => protocol_of(ex) === "gemini");
        assert.ok(!raw.target.includes("alt="), raw.target);
    });

test("translate_gateway: an array of the upstream's goes down byte for byte, cut anywhere",
    async () => {
        const one = (text) => JSON.stringify(PROTOCOLS.gemini.whole("m1", text));
        const begun = JSON.stringify({ candidates: [{ content: { role: "model",
            parts: [{ text: "a, \"[{\\" }] }, index: 0 }] });
        const body = `[${begun}\n,\r\n${one("b]")}\n]\n`;
        for (let size = 1; size < body.length; size += 7) {
            mock.next(async (ex) => {
                await ex.write(Buffer.from("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" +
                    "transfer-encoding: chunked\r\n\r\n"));
                for (let at = 0; at < body.length; at += size) {
                    await ex.scatter(chunk(body.slice(at, at + size)), 0);
                }
                await ex.write(LAST_CHUNK);
            });
            const answer = await ask("gemini", "ge:m1", { streamed: true, array: true });
            assert.equal(answer.text, body);
        }
    });

test("translate_gateway: an array that breaks off ends as an array with an error in it",
    async () => {
        for (const [name, bytes] of [
            ["ge", `[${JSON.stringify({ candidates: [{ content: { role: "model",
                parts: [{ text: "a" }] }, index: 0 }] })}\n,`],
            ["an", PROTOCOLS.anthropic.stream("m1", "a").split("event: content_block_stop")[0]]]) {
            let go;
            const committed = new Promise((resolve) => { go = resolve; });
            mock.next(async (ex) => {
                await ex.write(Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: ${name === "ge" ?
                    "application/json" : "text/event-stream"}\r\n` +
                    "transfer-encoding: chunked\r\n\r\n"));
                await ex.write(chunk(bytes));
                await committed;
                ex.fin();
            });
            const connection = await proxy.connect();
            connection.send({ path: PROTOCOLS.gemini.path(`${name}:m1`, { stream: true,
                array: true }), headers: proxy.headers(),
            body: JSON.stringify(PROTOCOLS.gemini.request("x")) });
            const answer = await connection.head();
            go();
            await answer.done;
            connection.destroy();
            assert.equal(answer.status, 200);
            const list = JSON.parse(answer.text);
            assert.equal(list[0].candidates[0].content.parts[0].text, "a");
            assert.equal(list.at(-1).error.status, "UNAVAILABLE", answer.text);
        }
    });
