/* SPDX-License-Identifier: MIT */
/*
 * Opaque paths: every path of OpenAI's API that the proxy has no words of its own for. What goes up
 * and comes down is held against what was sent, byte by byte; the rest is where it goes.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";

import { request, until } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, head_bytes } from "./lib/mock.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const rng = random("opaque");
const BINARY = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 31 + (i >> 8)) & 255));

let mock;
let other;
let anthropic;
let proxy;

/* Tells what came, so that a test sees it from the client's side. */
async function echo(ex) {
    await ex.json_answer({ method: ex.method, target: ex.target, bytes: ex.body.length,
        usage: { prompt_tokens: 3, total_tokens: 3 } }, { headers: { "x-request-id": "up-1" } });
}

async function scripted() {
    const one = await Mock.start({ fallback: echo });
    one.on_get = echo;
    return one;
}

before(async () => {
    [mock, other, anthropic] = [await scripted(), await scripted(), await scripted()];
    proxy = await start({ config: {
        default_backend: "mock",
        model_aliases: { "^small$": "other:embed-small" },
        backends: {
            mock: backend(mock),
            other: backend(other, { api_keys: ["upstream-key-2"] }),
            claude: { protocol: "anthropic", api_url: anthropic.url, api_keys: ["upstream-key-3"] },
        },
    }, args: ["--demo"] });
});

after(() => stop_all(proxy, mock, other, anthropic));

async function ask(method, path, { body = null, headers = {}, ...more } = {}) {
    mock.requests.length = 0;
    other.requests.length = 0;
    anthropic.requests.length = 0;
    return proxy.call({ method, path, headers, body, ...more });
}

const json = (value) => ({ body: JSON.stringify(value) });

function form(fields, boundary = "----b-17") {
    const parts = fields.map(([name, value, more = ""]) => Buffer.concat([
        Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`),
        Buffer.from(value), Buffer.from("\r\n")]));
    return { body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
        headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` } };
}

const PATHS = [
    ["POST", "/embeddings"], ["POST", "/completions"], ["POST", "/images/generations"],
    ["POST", "/audio/speech"], ["POST", "/moderations"], ["POST", "/rerank"],
    ["GET", "/files"], ["GET", "/files/file-1"], ["GET", "/files/file-1/content"],
    ["DELETE", "/files/file-1"], ["POST", "/batches"], ["POST", "/batches/batch_1/cancel"],
    ["GET", "/fine_tuning/jobs?limit=2&after=x%20y"], ["POST", "/fine_tuning/jobs/ft-1/cancel"],
    ["POST", "/vector_stores"], ["POST", "/vector_stores/vs_1/search"],
    ["PUT", "/vendor/thing"], ["PATCH", "/vendor/thing"], ["POST", "/uploads/u_1/complete"],
    ["GET", "/chat/completions/chatcmpl-1"],
];

test("every family of paths, under /v1 and /v2: method, path, query and body as they came",
    async () => {
        for (const [method, path] of PATHS) {
            for (const version of ["/v1", "/v2"]) {
                const body = method === "GET" || method === "DELETE" ? null : '{ "x" :1}';
                const answer = await ask(method, version + path, { body });
                assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
                assert.equal(answer.json.target, "/v1" + path);
                assert.equal(answer.json.method, method);
                assert.equal(mock.requests[0].body.toString(), body ?? "");
                assert.equal(mock.requests[0].get("content-length"),
                    body === null ? undefined : String(body.length));
                assert.equal(mock.requests[0].get("authorization"), "Bearer upstream-key-1");
            }
        }
    });

test("a model's prefix chooses the backend, and goes; everything else stays to the byte",
    async () => {
        const answer = await ask("POST", "/v1/embeddings", { body:
            '{ "input": ["other:x"], "nested": {"model": "other:no"},\n"model" : "other:e-1" }' });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(mock.requests.length, 0);
        assert.equal(other.requests[0].body.toString(),
            '{ "input": ["other:x"], "nested": {"model": "other:no"},\n"model" : "e-1" }');
        assert.equal(other.requests[0].get("authorization"), "Bearer upstream-key-2");
        assert.equal(answer.get("x-llm-proxy-backend"), "other");
        assert.equal(answer.get("x-llm-proxy-model"), "e-1");
        assert.equal(answer.get("x-request-id"), "up-1");
    });

test("the prefix in a query and in a form; a file beside it stays as it is", async () => {
    let answer = await ask("GET", "/v1/things?a=1&model=other%3Am%2F1&key=secret&b=2");
    assert.equal(answer.json.target, "/v1/things?a=1&model=m%2F1&b=2");
    assert.equal(other.requests.length, 1);
    const sent = form([["file", BINARY, '; filename="a.wav"\r\nContent-Type: audio/wav'],
        ["model", "other:whisper-1"], ["language", "en"]]);
    answer = await ask("POST", "/v1/audio/transcriptions", sent);
    assert.equal(answer.status, 200, answer.text);
    const expected = form([["file", BINARY, '; filename="a.wav"\r\nContent-Type: audio/wav'],
        ["model", "whisper-1"], ["language", "en"]]);
    assert.ok(other.requests[0].body.equals(expected.body));
    assert.equal(other.requests[0].get("content-type"), sent.headers["Content-Type"]);
});

test("an alias, a name without prefix, and none at all", async () => {
    await ask("POST", "/v1/embeddings", json({ model: "small" }));
    assert.deepEqual(other.requests[0].json, { model: "embed-small" });
    await ask("POST", "/v1/embeddings", json({ model: "plain" }));
    assert.deepEqual(mock.requests[0].json, { model: "plain" });
    await ask("POST", "/v1/moderations", json({ input: "x" }));
    assert.deepEqual(mock.requests[0].json, { input: "x" });
});

test("a session's backend is the default one; its model is for chats", async () => {
    const set = await proxy.chat({ model: "m1", messages: [{ role: "user",
        content: "!/set(backend=other) !/set(model=other:chatty)" }] },
    { headers: { "x-session-id": "s-1" } });
    assert.equal(set.status, 200, set.text);
    const answer = await ask("POST", "/v1/embeddings",
        { ...json({ model: "e" }), headers: { "x-session-id": "s-1" } });
    assert.deepEqual(other.requests[0].json, { model: "e" });
    assert.equal(answer.get("x-session-id"), "s-1");
    await ask("POST", "/v1/embeddings",
        { ...json({ model: "mock:e" }), headers: { "x-session-id": "s-1" } });
    assert.deepEqual(mock.requests[0].json, { model: "e" });
});

test("headers up: the contract's list, the client's type and accept, and no other", async () => {
    await ask("POST", "/v1/embeddings", { ...json({ model: "m" }), headers: {
        "Accept": "audio/mpeg", "OpenAI-Beta": "b", "Idempotency-Key": "i-1", "Cookie": "c=1",
        "OpenAI-Organization": "org", "X-Stainless-Lang": "js", "Range": "bytes=0-1",
        "X-Forwarded-For": "10.0.0.9", "User-Agent": "x", "Accept-Encoding": "gzip" } });
    const got = Object.fromEntries(mock.requests[0].head.fields.map(
        ([n, v]) => [n.toLowerCase(), v]));
    const { "user-agent": agent, ...rest } = got;
    assert.match(agent, /^llm-proxy\//);
    assert.deepEqual(rest, { host: `127.0.0.1:${mock.port}`, "content-type": "application/json",
        "content-length": "13", accept: "audio/mpeg", "accept-encoding": "identity",
        authorization: "Bearer upstream-key-1", "openai-beta": "b", "idempotency-key": "i-1" });
});

test("answers: status, the contract's headers, and the bytes, whatever coding", async () => {
    mock.next((ex) => ex.respond({ status: 206, body: BINARY, headers: {
        "content-type": "audio/mpeg", "content-encoding": "br", "etag": '"e"',
        "content-range": "bytes 0-1/9", "accept-ranges": "bytes", "set-cookie": "a=b",
        "content-disposition": 'attachment; filename="x"', "server": "s", "alt-svc": "x",
        "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT", "openai-version": "1",
        "x-ratelimit-limit-requests": "5" } }));
    const answer = await ask("POST", "/v1/audio/speech", json({ model: "tts" }));
    assert.equal(answer.status, 206);
    assert.ok(answer.body.equals(BINARY));
    const get = (name) => answer.get(name);
    assert.deepEqual(["content-type", "content-encoding", "etag", "content-range", "accept-ranges",
        "content-disposition", "last-modified", "openai-version", "x-ratelimit-limit-requests",
        "content-length", "set-cookie", "server", "alt-svc", "cache-control"].map(get),
    ["audio/mpeg", "br", '"e"', "bytes 0-1/9", "bytes", 'attachment; filename="x"',
        "Sun, 06 Nov 1994 08:49:37 GMT", "1", "5", String(BINARY.length), undefined, undefined,
        undefined, undefined]);
});

test("part of a file, and only if it has changed: ranges and conditions of GET and HEAD go up",
    async () => {
        const headers = { "Range": "bytes=2-5", "If-Range": '"e"', "If-None-Match": '"f"',
            "If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT" };
        mock.on_get = (ex) => ex.respond({ status: 304, headers: { etag: '"f"' }, body: "", framing: "length" });
        const answer = await ask("GET", "/v1/files/f/content", { headers });
        mock.on_get = echo;
        assert.equal(answer.status, 304);
        assert.equal(answer.get("etag"), '"f"');
        for (const [name, value] of Object.entries(headers)) {
            assert.equal(mock.requests[0].get(name), value);
        }
    });

test("what a client forbids to do unconditionally keeps its conditions, all of them", async () => {
    for (const method of ["PUT", "PATCH", "DELETE", "POST"]) {
        const answer = await ask(method, "/v1/files/f", { body: "{}", headers: [
            ["If-Match", '"a"'], ["if-match", '"b", "c"'], ["If-None-Match", "*"],
            ["If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"],
            ["If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"], ["Range", "bytes=0-1"]] });
        assert.equal(answer.status, 200, answer.text);
        assert.deepEqual(["if-match", "if-none-match", "if-unmodified-since", "if-modified-since",
            "range"].map((name) => mock.requests[0].get(name)),
        ['"a", "b", "c"', "*", "Sun, 06 Nov 1994 08:49:37 GMT", undefined, undefined], method);
    }
});

test("a method that expects a body says that it has none; others say nothing", async () => {
    for (const method of ["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD"]) {
        assert.equal((await ask(method, "/v1/files/f")).status, 200);
        assert.equal(mock.requests[0].get("content-length"),
            method.startsWith("P") ? "0" : undefined, method);
    }
});

test("HEAD, 204, an empty body, a length that is not said", async () => {
    mock.on_get = (ex) => ex.write(head_bytes(200, { "content-length": "123",
        "content-type": "audio/wav" }));
    let answer = await ask("HEAD", "/v1/files/f/content");
    assert.deepEqual([answer.status, answer.get("content-length"), answer.body.length],
        [200, "123", 0]);
    assert.equal(mock.requests[0].method, "HEAD");
    mock.on_get = (ex) => ex.write(head_bytes(204, {}));
    answer = await ask("DELETE", "/v1/files/f");
    assert.deepEqual([answer.status, answer.body.length], [204, 0]);
    mock.on_get = echo;
    mock.next((ex) => ex.respond({ body: "", headers: {} }));
    answer = await ask("POST", "/v1/batches/b/cancel", { body: "", headers:
        { "Content-Length": "0" } });
    assert.deepEqual([answer.status, answer.body.length], [200, 0]);
    assert.equal(mock.requests[0].get("content-length"), "0");
    for (const framing of ["chunked", "close"]) {
        mock.next((ex) => ex.respond({ body: BINARY, framing, cuts: 9, rng, headers:
            { "content-type": "image/png" } }));
        answer = await ask("POST", "/v1/images/edits", json({}));
        assert.ok(answer.body.equals(BINARY), framing);
    }
});

test("an error to HEAD has the length that the backend said, or none", async () => {
    const coded = gzipSync("x".repeat(50));
    for (const [headers, length] of [[{ "content-length": "77" }, "77"],
        [{ "transfer-encoding": "chunked" }, undefined], [{}, undefined],
        [{ "content-encoding": "gzip", "content-length": coded.length }, undefined]]) {
        mock.on_get = (ex) => ex.write(head_bytes(404, headers));
        const answer = await ask("HEAD", "/v1/files/f/content");
        assert.deepEqual([answer.status, answer.get("content-length"), answer.body.length],
            [404, length, 0]);
    }
    mock.on_get = echo;
});

test("a length that no body has is a 502, also of HEAD, and the next answer is whole", async () => {
    for (const length of ["9223372036854775808", "18446744073709551615"]) {
        for (const method of ["GET", "HEAD"]) {
            mock.on_get = (ex) => ex.write(head_bytes(200, { "content-length": length }));
            assert.equal((await ask(method, "/v1/files/f/content")).status, 502);
        }
    }
    mock.on_get = echo;
    assert.equal((await ask("GET", "/v1/files/f")).status, 200);
});

test("a stream's pieces come as they come", async () => {
    let go_on;
    const waits = new Promise((resolve) => { go_on = resolve; });
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.write(chunk("data: {\"a\":1}\n\n"));
        await waits;
        await ex.write(chunk("data: [DONE]\n\n"));
        await ex.write(LAST_CHUNK);
    });
    const client = await proxy.connect();
    client.send({ method: "POST", path: "/v1/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "m", stream: true }), port: proxy.port });
    const answer = await client.head();
    await until(() => answer.text.includes("\"a\":1"), "the first event");
    assert.equal(answer.get("x-accel-buffering"), "no");
    go_on();
    await answer.done;
    assert.equal(answer.text, "data: {\"a\":1}\n\ndata: [DONE]\n\n");
    client.destroy();
});

test("another key where one has enough; what names no model has the first one always", async () => {
    const keys = backend(mock, { type: "openai", api_keys: ["sk-key-a-1", "sk-key-b-2"],
        policy: "round-robin" });
    const own = await start({ config: { default_backend: "keys", backends: { keys } } });
    const used = () => mock.requests.map((r) => r.get("authorization").slice("Bearer ".length));
    const limited = (ex) => ex.json_answer({ error: { message: "slow down" } },
        { status: 429, headers: { "retry-after": "30" } });
    mock.requests.length = 0;
    for (let i = 0; i < 3; i++) {
        await own.call({ path: "/v1/files", body: "{}" });
    }
    assert.deepEqual(used(), ["sk-key-a-1", "sk-key-a-1", "sk-key-a-1"]);
    mock.requests.length = 0;
    mock.next(limited);
    let answer = await own.call({ path: "/v1/embeddings", body: '{"model":"keys:m"}' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.get("x-llm-proxy-attempts"), "2");
    assert.deepEqual(used().sort(), ["sk-key-a-1", "sk-key-b-2"]);
    assert.deepEqual(mock.requests.map((r) => r.json), [{ model: "m" }, { model: "m" }]);
    assert.equal(mock.requests[0].get("idempotency-key"), mock.requests[1].get("idempotency-key"));
    assert.ok(mock.requests[0].get("idempotency-key"));
    /* A body that is not kept has one attempt. */
    mock.requests.length = 0;
    mock.next(limited);
    answer = await own.call({ path: "/v1/embeddings", body:
        `{"model":"m","pad":"${"x".repeat(1 << 20)}"}` });
    assert.equal(answer.status, 429, answer.text);
    assert.equal(mock.requests.length, 1);
    await own.stop();
});

test("a model that was not found, or is left out, leaves no work to a key that cools", async () => {
    const own = await start({ config: { default_backend: "keys", backends: { keys: backend(mock,
        { type: "openai", api_keys: ["sk-key-a-1", "sk-key-b-2"] }) } } });
    mock.next((ex) => ex.json_answer({ error: { message: "slow down" } },
        { status: 429, headers: { "retry-after": "30" } }));
    await own.call({ path: "/v1/files", body: "{}" });
    mock.requests.length = 0;
    for (const body of [form([["file", Buffer.alloc(1 << 20)], ["model", "m"]]), json({})]) {
        const answer = await own.call({ path: "/v1/audio/transcriptions", ...body });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(mock.requests.pop().get("authorization"), "Bearer sk-key-b-2");
    }
    const answer = await own.call({ path: "/v1/files", body: "{}" });
    assert.equal(answer.status, 429);
    assert.equal(mock.requests.length, 0);
    await own.stop();
});

/* A connection on which the body comes by hand. */
async function upload(path, headers, more = {}) {
    const client = await proxy.connect();
    const list = proxy.headers({ "Content-Type": "application/octet-stream", ...headers });
    client.methods.push("POST");
    client.write(Buffer.from([`POST ${path} HTTP/1.1`, `Host: 127.0.0.1:${proxy.port}`,
        ...list.map(([n, v]) => `${n}: ${v}`)].join("\r\n") + "\r\n\r\n", "latin1"));
    return Object.assign(client, more);
}

test("a body beyond the peek: its length where it is known and nothing changes in it, else chunks",
    async () => {
        const large = Buffer.concat(Array.from({ length: 40 }, () => BINARY)); /* 2.8 MB */
        let answer = await ask("POST", "/v1/files", { body: large, headers:
            { "Content-Type": "application/octet-stream" } });
        assert.equal(answer.status, 200, answer.text);
        assert.ok(mock.requests[0].body.equals(large));
        assert.equal(mock.requests[0].get("content-length"), String(large.length));
        for (const chunked of [false, true]) {
            const fields = [["model", "other:w"], ["file", large, '; filename="f"']];
            const sent = form(fields);
            mock.requests.length = 0;
            other.requests.length = 0;
            const client = await upload("/v1/audio/transcriptions", { ...sent.headers, ...(chunked ?
                { "Transfer-Encoding": "chunked" } : { "Content-Length": sent.body.length }) });
            for (let at = 0; at < sent.body.length; at += 300_001) {
                const piece = sent.body.subarray(at, at + 300_001);
                client.write(chunked ? chunk(piece) : piece);
            }
            client.write(chunked ? LAST_CHUNK : Buffer.alloc(0));
            answer = await client.response();
            assert.equal(answer.status, 200, answer.text);
            assert.ok(other.requests[0].body.equals(
                form([["model", "w"], ["file", large, '; filename="f"']]).body));
            assert.equal(other.requests[0].get("transfer-encoding"), "chunked");
            assert.equal(other.requests[0].get("content-length"), undefined);
            client.destroy();
        }
        /* What stands behind the peek is not looked for. */
        answer = await ask("POST", "/v1/audio/transcriptions",
            form([["file", large, '; filename="f"'], ["model", "other:w"]]));
        assert.equal(answer.get("x-llm-proxy-backend"), "mock");
    });

test("gzip is undone on the way, also of what streams", async () => {
    for (const size of [1000, 5_000_000]) {
        const text = Buffer.from(`{"model":"other:z","pad":"${"ab".repeat(size / 2)}"}`);
        const answer = await ask("POST", "/v1/embeddings", { body: gzipSync(text), headers:
            { "Content-Encoding": "gzip" } });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(other.requests[0].body.toString(),
            `{"model":"z","pad":"${"ab".repeat(size / 2)}"}`);
        assert.equal(other.requests[0].get("content-encoding"), undefined);
    }
});

test("who waits for 100 Continue gets it once it was let in", async () => {
    const client = await upload("/v1/files", { "Content-Length": 2_000_000,
        "Expect": "100-continue" });
    await until(() => client.informational.length === 1, "100 Continue");
    client.write(Buffer.alloc(2_000_000, 65));
    assert.equal((await client.response()).json.bytes, 2_000_000);
    client.destroy();
});

test("an early refusal reaches a client that is still sending", async () => {
    mock.early = (ex) => ex.json_answer({ error: { message: "too large for us" } },
        { status: 413, headers: { connection: "close" } });
    const client = await upload("/v1/files", { "Content-Length": 100_000_000 });
    const piece = Buffer.alloc(1_500_000, 65);
    client.write(piece);
    const answer = await client.response();
    assert.equal(answer.status, 413);
    assert.equal(answer.json.error.message, "too large for us");
    client.destroy();
});

test("errors: the upstream's own, without our key; a redirect is not followed", async () => {
    mock.next((ex) => ex.json_answer({ error: { message: "bad key upstream-key-1" } },
        { status: 401 }));
    let answer = await ask("POST", "/v1/moderations", json({}));
    assert.equal(answer.status, 401);
    assert.equal(answer.json.error.message, "bad key (API_KEY_HAS_BEEN_REDACTED)");
    mock.next((ex) => ex.respond({ status: 302, headers: { location: "http://elsewhere/" } }));
    answer = await ask("POST", "/v1/moderations", json({}));
    assert.equal(answer.status, 502);
    assert.equal(answer.json.error.code, "upstream_unreachable");
    assert.equal(answer.get("location"), undefined);
    /* Also on the connection that takes a stale one's place. */
    const usual = mock.fallback;
    mock.fallback = (ex) => ex.fin();
    answer = await ask("POST", "/v1/moderations", json({}));
    mock.fallback = usual;
    assert.equal(answer.status, 502);
    assert.match(answer.json.error.message, /mock/);
});

test("a key of ours that the upstream repeats in a header stays here", async () => {
    const mark = "(API_KEY_HAS_BEEN_REDACTED)";
    const headers = (key) => ({ "x-request-id": `r-${key}`, "openai-version": `${key}${key}`,
        "openai-organization": `a ${key} b`, etag: `"${key}"`,
        "x-ratelimit-limit-requests": key.slice(1), "content-disposition":
            `attachment; filename="${key}"`, "content-type": `text/plain; x="${key}"` });
    for (const status of [200, 404]) {
        mock.next((ex) => ex.respond({ status, headers: headers("upstream-key-1"), body: "x" }));
        const answer = await ask("POST", "/v1/moderations", json({}));
        assert.equal(answer.status, status);
        const expected = { ...headers(mark), "x-ratelimit-limit-requests": "pstream-key-1" };
        for (const [name, value] of Object.entries(expected)) {
            assert.equal(answer.get(name), value, name);
        }
    }
});

test("an error that is coded is told plain, without our key; other codings as they came", async () => {
    const text = JSON.stringify({ error: { message: "no upstream-key-1 here" } });
    for (const [coding, pack] of [["gzip", gzipSync], ["deflate", deflateSync]]) {
        mock.next((ex) => ex.respond({ status: 403, body: pack(text), headers: {
            "content-encoding": coding, "content-type": "application/json" } }));
        const answer = await ask("POST", "/v1/moderations", json({}));
        assert.equal(answer.status, 403);
        assert.equal(answer.get("content-encoding"), undefined);
        assert.equal(answer.json.error.message, "no (API_KEY_HAS_BEEN_REDACTED) here");
    }
    mock.next((ex) => ex.respond({ status: 403, body: BINARY, headers: {
        "content-encoding": "br" } }));
    const answer = await ask("POST", "/v1/moderations", json({}));
    assert.deepEqual([answer.status, answer.get("content-encoding")], [403, "br"]);
    assert.ok(answer.body.equals(BINARY));
});

test("refused: no key, a backend nobody knows, paths that lead elsewhere, methods that are none",
    async () => {
        const bare = await request(proxy.port, { path: "/v1/embeddings", body: "{}" });
        assert.equal(bare.status, 401);
        const cases = [
            ["POST", "/v1/embeddings", json({ model: "nobody:m" }), 400, "unknown_backend"],
            ["POST", "/v1/embeddings", { body: '{"model":"a","model":"other:b"}' }, 400, null],
            ["POST", "/v1/../admin", {}, 404, "not_found"],
            ["POST", "/v1/files/%2e%2e/x", {}, 404, "not_found"],
            ["POST", "/v1/files/a%2Fb", {}, 404, "not_found"],
            ["POST", "/v1/%63hat/completions", {}, 404, "not_found"],
            ["POST", "/v1//files", {}, 404, "not_found"],
            ["POST", "/v1/files/", {}, 404, "not_found"],
            ["GET", "/v2/usage/nothing", {}, 404, "not_found"],
            ["GET", "/v1/chat/completions", {}, 405, "method_not_allowed"],
            ["PROPFIND", "/v1/files", {}, 405, "method_not_allowed"],
            ["POST", "/v1/embeddings", json({ model: "claude:m" }), 404, "not_found"],
            ["POST", "/v1/embeddings", json({ model: "demo:echo" }), 404, "not_found"],
        ];
        for (const [method, path, options, status, code] of cases) {
            const answer = await ask(method, path, { body: method === "POST" ? "{}" : null,
                ...options });
            assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
            assert.equal(answer.json.error.code, code, `${method} ${path}`);
            assert.equal(mock.requests.length + other.requests.length, 0, path);
        }
        const options = await ask("OPTIONS", "/v1/embeddings");
        assert.deepEqual([options.status, options.get("allow")],
            [204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]);
    });

test("Anthropic's batches and files go to a backend of its, in its terms", async () => {
    let answer = await ask("POST", "/v1/messages/batches", { body: "{}" });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(anthropic.requests[0].target, "/v1/messages/batches");
    assert.equal(anthropic.requests[0].get("x-api-key"), "upstream-key-3");
    assert.equal(anthropic.requests[0].get("anthropic-version"), "2023-06-01");
    const headers = { "anthropic-version": "2023-01-01", "anthropic-beta": "files-api" };
    await ask("GET", "/v1/files?limit=1", { headers });
    assert.equal(anthropic.requests[0].target, "/v1/files?limit=1");
    assert.equal(anthropic.requests[0].get("anthropic-version"), "2023-01-01");
    assert.equal(anthropic.requests[0].get("anthropic-beta"), "files-api");
    await ask("GET", "/v1/files?limit=1");
    assert.equal(mock.requests[0].target, "/v1/files?limit=1");
    answer = await ask("GET", "/v1/files?model=other:m", { headers });
    assert.equal(answer.status, 404);
    assert.equal(answer.json.type, "error");
    assert.equal(answer.json.error.type, "not_found_error");
});

test("tokens of an answer's usage are counted", async () => {
    const tokens = async () => Number(/tokens_input_total\{backend="mock"\} (\d+)/.exec((await
        proxy.counted()))?.[1] ?? 0);
    const before_it = await tokens();
    await ask("POST", "/v1/embeddings", json({ model: "m" }));
    assert.equal(await tokens() - before_it, 3);
});
