/* SPDX-License-Identifier: MIT */
/*
 * OpenAI's embeddings of a Gemini backend: with the packages of applications, and on the wire. The
 * backend behaves as Google's: at most 100 in a call, no base64, usage where the model says it.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { violation } from "./lib/schemas.mjs";
import { vector } from "./lib/vendor.mjs";

const [sdk, chain, ai, compatible] = await Promise.all(["openai", "@langchain/openai", "ai",
    "@ai-sdk/openai-compatible"].map((name) => import(name).catch(() => null)));
const missing = (...list) => list.every(Boolean) ? false :
    "a package is not installed: npm ci in tests/e2e";

const MODEL = "gemini-embedding-001";
let mock;
let chat;
let proxy;
let client;
let script = null;                      /* for the next call; null: Google's own behaviour */

const refuse = (ex, status, message, name, more = {}) => ex.json_answer({ error: {
    code: status, message, status: name, ...more } }, { status });

/** Google's batchEmbedContents. */
async function google(ex) {
    const [, model, action] = /^\/v1beta\/models\/([^:]+):(\w+)$/.exec(ex.target) ?? [];
    if (script) {
        const answer = script;
        script = null;
        return answer(ex);
    }
    if (action !== "batchEmbedContents") {
        return refuse(ex, 404, `no ${ex.method} ${ex.target}`, "NOT_FOUND");
    }
    const { requests, ...rest } = ex.json;
    if (!/embedding/.test(model)) {
        return refuse(ex, 404, `models/${model} is not found for API version v1beta, or is not ` +
            "supported for embedContent.", "NOT_FOUND");
    }
    if (requests.length > 100) {
        return refuse(ex, 400, "* BatchEmbedContentsRequest.requests: at most 100 requests can be" +
            " in one batch", "INVALID_ARGUMENT");
    }
    assert.deepEqual(rest, {});
    const embeddings = requests.map((one) => {
        assert.equal(one.model, `models/${model}`);
        assert.deepEqual(Object.keys(one.content), ["parts"]);
        return { values: vector(one.content.parts[0].text, one.outputDimensionality ?? 8) };
    });
    const usage = model === MODEL ? {} : { usageMetadata: { promptTokenCount: requests.length * 3 } };
    return ex.respond({ headers: { "content-type": "application/json; charset=UTF-8" },
        framing: "chunked", body: JSON.stringify({ embeddings, ...usage }, null, 2) });
}

before(async () => {
    mock = await Mock.start({ fallback: google });
    chat = await Mock.start();
    const url = mock.url.replace(/\/v1$/, "/v1beta");
    const one = (more = {}) => ({ type: "gemini", api_url: url, ...more });
    proxy = await start({ config: { default_backend: "chat", retries: 0, response_bytes_max: "1MiB",
        backends: { chat: backend(chat), google: one({ api_keys: ["google-key-1"] }),
            two: one({ api_keys: { first: "google-key-5", other: "google-key-6" } }),
            cut: one({ api_keys: ["google-key-3"] }),
            refused: one({ api_keys: ["google-key-4"] }),
            claude: { protocol: "anthropic", api_url: chat.url, api_keys: ["k"] } } } });
    client = sdk && new sdk.default({ apiKey: KEY, baseURL: `${proxy.url}/v1`, maxRetries: 0 });
});

after(() => stop_all(proxy, mock, chat));

const ask = (body) => proxy.chat({ model: `google:${MODEL}`, ...body },
    { path: "/v1/embeddings" });

/** A call that must be refused with this status before anything goes up. */
async function refused(body, status, message, path = "/v1/embeddings") {
    const count = mock.requests.length;
    const answer = await proxy.chat(typeof body === "string" ? body :
        { model: `google:${MODEL}`, ...body }, { path });
    assert.equal(answer.status, status, answer.text);
    const { error } = JSON.parse(answer.text);
    assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    assert.match(error.message, message);
    assert.equal(mock.requests.length, count, "nothing may reach the upstream");
    return error;
}

test("embeddings: the openai package's, in base64 and as numbers, short and long",
    { skip: missing(sdk) }, async () => {
        const text = "Grüße \u{1f600} \"quoted\"\n\\ \u2028";
        const one = await client.embeddings.create({ model: `google:${MODEL}`, input: text });
        assert.deepEqual(one.data, [{ object: "embedding", index: 0, embedding: vector(text) }]);
        assert.equal(one.model, MODEL);
        const up = mock.requests.at(-1);
        assert.equal(up.get("x-goog-api-key"), "google-key-1");
        assert.equal(up.get("authorization"), undefined);
        assert.equal(up.target, `/v1beta/models/${MODEL}:batchEmbedContents`);
        const floats = await client.embeddings.create({ model: `google:models/${MODEL}`,
            input: ["a", "b"], encoding_format: "float", dimensions: 3, user: "u" });
        assert.deepEqual(floats.data.map((d) => d.embedding), [vector("a", 3), vector("b", 3)]);
        assert.equal(mock.requests.at(-1).json.requests[1].outputDimensionality, 3);
    });

test("embeddings: a model in the query goes before one in the body", async () => {
    const own = await start({ config: { default_backend: "google", backends: { google:
        { type: "gemini", api_url: mock.url.replace(/\/v1$/, "/v1beta"), api_keys: ["k"] } } } });
    for (const body of [{ input: "a" }, { input: "a", model: "no-embedding" }]) {
        const answer = await own.chat(body, { path: `/v1/embeddings?model=${MODEL}` });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.model, MODEL);
        assert.equal(mock.requests.at(-1).target, `/v1beta/models/${MODEL}:batchEmbedContents`);
    }
    await own.stop();
});

test("embeddings: LangChain's and the AI SDK's", { skip: missing(chain, ai, compatible) },
    async () => {
        const texts = Array.from({ length: 230 }, (_, i) => `text ${i}`);
        const model = new chain.OpenAIEmbeddings({ apiKey: KEY, maxRetries: 0,
            model: `google:${MODEL}`, configuration: { baseURL: `${proxy.url}/v1` } });
        assert.deepEqual(await model.embedDocuments(texts), texts.map((t) => vector(t)));
        const provider = compatible.createOpenAICompatible({ name: "proxy", apiKey: KEY,
            baseURL: `${proxy.url}/v1` });
        const many = await ai.embedMany({ model: provider.embeddingModel(`google:${MODEL}`),
            values: texts, maxRetries: 0 });
        assert.deepEqual(many.embeddings, texts.map((t) => vector(t)));
    });

for (const n of [1, 100, 101, 250, 2048]) {
    test(`embeddings: ${n} inputs are one list, whatever number of calls that takes`, async () => {
        const input = Array.from({ length: n }, (_, i) => `t${i}`);
        const before_n = mock.requests.length;
        const answer = await ask({ input, dimensions: 4 });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(mock.requests.length - before_n, Math.ceil(n / 100));
        const { data } = JSON.parse(answer.text);
        assert.deepEqual(data, input.map((text, index) => ({ object: "embedding", index,
            embedding: vector(text, 4) })));
        assert.equal(answer.get("content-length"), `${answer.body.length}`);
        assert.equal(answer.get("x-llm-proxy-model"), MODEL);
        assert.equal(answer.get("x-llm-proxy-backend"), "google");
        assert.equal(answer.get("x-llm-proxy-warnings"), undefined);
    });
}

test("embeddings: usage is what the backend says, else an estimate that says so", async () => {
    const known = await ask({ model: "google:gemini-embedding-2", input: Array(150).fill("a b") });
    assert.deepEqual(JSON.parse(known.text).usage, { prompt_tokens: 450, total_tokens: 450 });
    assert.equal(known.get("x-llm-proxy-estimated"), undefined);
    const guessed = await ask({ input: ["12345678", "123"] });
    assert.deepEqual(JSON.parse(guessed.text).usage, { prompt_tokens: 3, total_tokens: 3 });
    assert.equal(guessed.get("x-llm-proxy-estimated"), "true");
    await proxy.logged(/tokens_in=450\b/, "the log says how many");
    assert.equal(violation("openai-chat", "embeddings", JSON.parse(known.text)), null);
});

test("embeddings: what Gemini has no word for is left out and told", async () => {
    const answer = await ask({ input: "a", input_type: "query", truncate: "END", user: "u",
        session_id: "s1" });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.get("x-llm-proxy-warnings").split(",").sort(),
        ["dropped:input_type", "dropped:truncate"]);
});

test("embeddings: what cannot be asked is refused before anything goes up", async () => {
    const error = await refused({ input: [[1, 2], [3]] }, 400, /tokens .* send text/);
    assert.equal(error.type, "invalid_request_error");
    await refused({ input: [1, 2] }, 400, /send text/);
    await refused({ input: "" }, 400, /input is an empty text/);
    await refused({ input: ["a", ""] }, 400, /input\[1\] is an empty text/);
    await refused({ input: [] }, 400, /input is an empty array/);
    await refused({}, 400, /input is missing/);
    await refused({ input: Array(2049).fill("a") }, 400, /more than 2048/);
    await refused({ input: "a", encoding_format: "int8" }, 400, /encoding_format must be/);
    await refused({ input: "a", dimensions: 0 }, 400, /dimensions must be/);
    await refused(`{"model":"google:${MODEL}","input":"a","input":"b"}`, 400, /duplicate key/);
    await refused({ input: "x".repeat(1 << 20) }, 413, /opaque_peek_bytes/);
    await refused({ input: "a", model: "claude:m" }, 404, /claude speaks anthropic/);
    await refused({ input: "a" }, 404, /google speaks gemini/, "/v1/moderations");
    await refused({ input: "a", model: "google:" }, 400, /./);
});

test("embeddings: the backend's errors are OpenAI's, whichever call they come from", async () => {
    const lost = await ask({ model: "google:no-such-model", input: "a" });
    assert.equal(lost.status, 404, lost.text);
    assert.match(JSON.parse(lost.text).error.message, /^Model not found: no-such-model: models\//);
    for (const first of [true, false]) {
        const input = Array(first ? 1 : 120).fill("a");
        const fail = (ex) => refuse(ex, 400, "The input is too long.", "INVALID_ARGUMENT");
        script = first ? fail : async (ex) => {
            await google(ex);
            script = fail;
        };
        const answer = await ask({ input });
        assert.equal(answer.status, 400, answer.text);
        assert.match(JSON.parse(answer.text).error.message, /The input is too long\./);
        assert.equal(violation("openai-chat", "error", JSON.parse(answer.text)), null);
    }
    script = (ex) => refuse(ex, 403, "google-key-4 may not do this", "PERMISSION_DENIED");
    const key = await ask({ model: `refused:${MODEL}`, input: "a" });
    assert.equal(key.status, 502, key.text);
    assert.match(key.text, /refused its key/);
    assert.doesNotMatch(key.text, /google-key-4/);
});

test("embeddings: a key that meets its limit between two calls: another one goes on", async () => {
    const count = mock.requests.length;
    script = async (ex) => {
        await google(ex);
        script = (next) => refuse(next, 429, "Resource has been exhausted", "RESOURCE_EXHAUSTED");
    };
    const input = Array.from({ length: 230 }, (_, i) => `t${i}`);
    const answer = await ask({ model: `two:${MODEL}`, input, input_type: "q" });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(JSON.parse(answer.text).data.map((d) => d.embedding),
        input.map((text) => vector(text)));
    assert.equal(answer.get("x-llm-proxy-warnings"), "dropped:input_type");
    const calls = mock.requests.slice(count);
    const [first, other] = ["google-key-5", "google-key-6"];
    const used = calls.map((ex) => ex.get("x-goog-api-key"));
    assert.deepEqual(used[0] === first ? used : used.map((k) => k === first ? other : first),
        [first, first, other, other]);
    assert.deepEqual(calls.map((ex) => ex.json.requests.length), [100, 100, 100, 30]);
});

test("embeddings: an answer that is broken, short or none is no success", async () => {
    const say = (body) => (ex) => ex.respond({ headers: { "content-type": "application/json" },
        body });
    const whole = JSON.stringify({ embeddings: [{ values: [1, 2] }] });
    for (const body of ["", "{}", "<html>", whole.slice(0, -2), `${whole}x`,
        JSON.stringify({ embeddings: [] }), JSON.stringify({ embeddings: [{ values: [] }] }),
        JSON.stringify({ embeddings: [{ values: [1] }, { values: [2] }] }),
        JSON.stringify({ error: { code: 500, message: "m", status: "INTERNAL" } })]) {
        script = say(body);
        const answer = await ask({ input: "a" });
        assert.equal(answer.status, 502, `${body}: ${answer.text}`);
        assert.match(JSON.parse(answer.text).error.message, /embeddings|broke off/);
    }
    script = async (ex) => {
        await ex.open_stream({ "content-type": "application/json" });
        await ex.event("{\"embeddings\":[{\"values\":[1,");
        ex.fin();
    };
    const cut = await ask({ model: `cut:${MODEL}`, input: "a" });
    assert.equal(cut.status, 502, cut.text);
    assert.equal((await ask({ input: "a" })).status, 200, "and the next one is well");
});

test("embeddings: response_bytes_max bounds what all calls bring together", async () => {
    const big = await ask({ input: Array.from({ length: 200 }, (_, i) => `t${i}`),
        dimensions: 1024 });
    assert.equal(big.status, 502, big.text.slice(0, 300));
    assert.match(big.text, /response_bytes_max/);
    const base64 = await ask({ input: Array.from({ length: 150 }, (_, i) => `t${i}`),
        dimensions: 1024, encoding_format: "base64" });
    assert.equal(base64.status, 200, base64.text.slice(0, 300));
    const { data } = JSON.parse(base64.text);
    for (const [i, { embedding }] of data.entries()) {
        const bytes = Buffer.from(embedding, "base64");
        assert.deepEqual(Array.from({ length: 1024 }, (_, k) => bytes.readFloatLE(4 * k)),
            vector(`t${i}`, 1024));
    }
});

test("embeddings: a client that leaves ends the call, and no other is made", async () => {
    const calls = mock.requests.length;
    script = () => {};
    const arrival = mock.arrival();
    const abort = new AbortController();
    const asked = fetch(`${proxy.url}/v1/embeddings`, { method: "POST", signal: abort.signal,
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ model: `google:${MODEL}`, input: Array(300).fill("a") }) });
    asked.catch(() => {});
    const { closed } = await arrival;
    abort.abort();
    await closed;
    assert.equal((await ask({ input: "a" })).status, 200);
    assert.equal(mock.requests.length, calls + 2);
});
