/* SPDX-License-Identifier: MIT */
/*
 * The errors that the proxy makes: status, type, code and how the message begins; and what it does
 * with upstreams that fail, before the answer began and in the middle of it.
 */
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, beforeEach } from "node:test";

import { limited, raw, request, request_bytes, sse_data, until, within } from "./lib/http1.mjs";
import { Mock, chunk, delta, head_bytes, sse, whole } from "./lib/mock.mjs";
import { DEAD_PORT, KEY, SLOW, backend, start, stop_all, test } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "x" }];
const BODY = { model: "mock:m1", messages: MESSAGES };
const STREAM = { ...BODY, stream: true };
const SSE = { "content-type": "text/event-stream" };
/* Long enough for an upstream on a loaded machine that is not silent at all. */
const SILENCE_MS = SLOW ? 4000 : 2000;

let mock;
let proxy;
let empty;

before(async () => {
    mock = await Mock.start();
    const one = () => backend(mock);
    proxy = await start({ config: {
        default_backend: "mock", proxy_timeout: `${SILENCE_MS}ms`, body_bytes_max: "64 KiB",
        response_bytes_max: "1 MiB",
        retries: 0, backends: { mock: one(), other: one(), an: one(),
            dead: { protocol: "openai-chat", api_url: `http://127.0.0.1:${DEAD_PORT}/v1`,
                api_keys: ["k"] } },
    } });
    empty = await start({});
});

after(() => stop_all(proxy, empty, mock));

/* What a failed test left unanswered is not the next one's. */
beforeEach(() => {
    mock.queue.length = 0;
});

function is_error(answer, status, type, code, message) {
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.get("content-type"), /^application\/json/);
    const { error } = answer.json;
    assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    assert.equal(error.type, type);
    if (code !== undefined) {
        assert.equal(error.code, code);
    }
    assert.match(error.message, message);
    return error;
}

/* ---- Before anything goes upstream ---- */

test("errors: without a functional backend a chat gets 503, not a crash or a hang", async () => {
    is_error(await empty.chat({ model: "gpt-4", messages: MESSAGES }), 503,
        "configuration_error", "no_functional_backends", /^No functional backends available/);
});

test("errors: an unknown backend is named, with the known ones", async () => {
    const error = is_error(await proxy.chat({ ...BODY, model: "nope:m1" }), 400,
        "invalid_request_error", "unknown_backend", /^Unknown backend: nope/);
    for (const name of ["mock", "other", "dead"]) {
        assert.match(error.message, new RegExp(`\\b${name}\\b`));
    }
});

const deep = (n) => "[".repeat(n) + "]".repeat(n);
const chat_with = (more) => `{"model":"mock:m1","messages":[{"role":"user","content":"x"}]${more}}`;

for (const [what, body, where] of [
    ["an empty body", "", /./],
    ["no JSON", "model=gpt-4", /./],
    ["JSON cut off", "{\"model\":\"mock:m1\",\"messages\":[", /./],
    ["JSON and more", chat_with("") + "{}", /./],
    ["a trailing comma", chat_with(","), /./],
    ["a control character in a string", "{\"model\":\"mock:m\n1\",\"messages\":[]}", /./],
    ["bytes that are not UTF-8", Buffer.concat([Buffer.from("{\"model\":\"mock:\xff", "latin1"),
        Buffer.from("\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}")]), /./],
    ["an array instead of an object", "[]", /./],
    ["a member twice in the root", chat_with(",\"model\":\"mock:m2\""), /model/],
    ["a member twice, one of them escaped", chat_with(",\"mod\\u0065l\":\"mock:m2\""), /mod/],
    ["a member twice in a message", "{\"model\":\"mock:m1\",\"messages\":[{\"role\":\"user\"," +
        "\"content\":\"x\",\"content\":\"y\"}]}", /messages.*0.*content/],
    ["a member twice in a content part", "{\"model\":\"mock:m1\",\"messages\":[{" +
        "\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\",\"text\":\"y\"}]}]}",
    /messages.*0.*content.*0.*text/],
    ["deeper than json_depth_max", chat_with(`,"metadata":${deep(200)}`), /deep.*metadata/],
    ["a model that is no string", chat_with("").replace("\"mock:m1\"", "7"), /model/],
    ["no messages", "{\"model\":\"mock:m1\"}", /messages/],
    ["messages that are no array", "{\"model\":\"mock:m1\",\"messages\":\"x\"}", /messages/],
]) {
    test(`errors: ${what} is refused with 400 and never sent on`, async () => {
        const count = mock.posts().length;
        is_error(await proxy.chat(body), 400, "invalid_request_error", undefined, where);
        assert.equal(mock.posts().length, count);
    });
}

test("errors: as deep as allowed, and twice elsewhere, is none of our business", async () => {
    assert.equal((await proxy.chat(chat_with(`,"metadata":${deep(120)}`))).status, 200);
    assert.equal((await proxy.chat(chat_with(",\"metadata\":{\"a\":1,\"a\":2}"))).status, 200);
});

test("errors: a body over its limit: 413 at once from the length, and when chunked", async () => {
    const declared = await raw(proxy.port, Buffer.from(`POST ${CHAT} HTTP/1.1\r\nHost: localhost` +
        `\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n` +
        "Content-Length: 70000\r\n\r\n"));
    is_error(declared.response, 413, "invalid_request_error", "request_too_large",
        /body_bytes_max/);
    const part = chunk("x".repeat(10_000));
    const chunked = await raw(proxy.port, Buffer.concat([Buffer.from(`POST ${CHAT} HTTP/1.1\r\n` +
        `Host: localhost\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n` +
        "Transfer-Encoding: chunked\r\n\r\n"), ...Array(8).fill(part)]));
    is_error(chunked.response, 413, "invalid_request_error", "request_too_large",
        /body_bytes_max/);
    const fits = chat_with(`,"user":"${"u".repeat(60_000)}"`);
    assert.equal((await proxy.chat(fits)).status, 200);
});

const AUTH = `Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;
const LEN = Buffer.byteLength(JSON.stringify(BODY));
for (const [what, text] of [
    ["two different lengths", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}Content-Length: ${LEN}` +
        `\r\nContent-Length: ${LEN + 1}\r\n\r\n${JSON.stringify(BODY)}`],
    ["a length and chunked", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}Content-Length: ${LEN}` +
        `\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["a folded header", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n${AUTH}` +
        `Content-Length: ${LEN}\r\n\r\n${JSON.stringify(BODY)}`],
    ["a NUL in a header", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\nX-A: 1\u00002\r\n${AUTH}` +
        `Content-Length: ${LEN}\r\n\r\n${JSON.stringify(BODY)}`],
    ["a chunk size that is no number", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}` +
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"],
    ["a length that is no number", `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}` +
        "Content-Length: +5\r\n\r\n12345"],
    ["no Host", `POST ${CHAT} HTTP/1.1\r\n${AUTH}Content-Length: ${LEN}\r\n\r\n${
        JSON.stringify(BODY)}`],
    ["bytes that are no HTTP", "\u0016\u0003\u0001\u0002\u0000\u0001\r\n\r\n"],
]) {
    test(`errors: ${what} is malformed HTTP: 400, the connection is closed, nothing goes on`,
        async () => {
            const count = mock.posts().length;
            const { response } = await raw(proxy.port, Buffer.from(text, "latin1"),
                { wait_close: true });
            is_error(response, 400, "invalid_request_error", "bad_request", /./);
            assert.equal(mock.posts().length, count);
        });
}

test("errors: headers over header_bytes_max: 431, the option named, connection closed",
    async () => {
        for (const text of [
            `GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Long: ${"x".repeat(40_000)}\r\n\r\n`,
            `GET /v1/models?${"x".repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
            `GET /v1/models HTTP/1.1\r\nHost: a\r\n${"X-Many: 1\r\n".repeat(4_000)}\r\n`]) {
            const { response } = await raw(proxy.port, Buffer.from(text),
                { method: "GET", wait_close: true });
            is_error(response, 431, "invalid_request_error", "headers_too_large",
                /header_bytes_max/);
        }
    });

test("errors: 30 kB of headers, under the limit, are fine", async () => {
    const answer = await proxy.call({ path: CHAT, body: JSON.stringify(BODY),
        headers: { "X-Long": "x".repeat(30_000) } });
    assert.equal(answer.status, 200);
});

test("errors: an unknown path is 404 with method and path", async () => {
    for (const [method, path] of [["POST", "/v4/nothing/here"], ["GET", "/nope"],
        ["POST", "/v1/chat/completions/"], ["GET", "/v3/models"]]) {
        is_error(await proxy.call({ method, path, body: method === "POST" ? "{}" : null }), 404,
            "invalid_request_error", "not_found",
            new RegExp(`${method}.*${path.replaceAll("/", "\\/")}`));
    }
});

test("errors: a wrong method is 405 with Allow", async () => {
    for (const [method, path, allow] of [["GET", CHAT, /\bPOST\b/],
        ["DELETE", "/v2/chat/completions", /\bPOST\b/], ["POST", "/v1/models", /\bGET\b/],
        ["PUT", "/metrics", /\bGET\b/], ["POST", "/healthz", /\bGET\b/]]) {
        const answer = await proxy.call({ method, path });
        is_error(answer, 405, "invalid_request_error", "method_not_allowed",
            new RegExp(`${method}.*${path.replaceAll("/", "\\/")}`));
        assert.match(answer.get("allow"), allow);
    }
});

test("errors: after a refused request the same connection serves the next", async () => {
    const client = await proxy.connect();
    for (const body of ["{", JSON.stringify(BODY), "[]", JSON.stringify(BODY)]) {
        client.send({ path: CHAT, headers: proxy.headers(), body });
        const answer = await client.response();
        assert.equal(answer.status, body.startsWith("{\"") ? 200 : 400);
    }
    client.destroy();
});

/* ---- Upstreams that fail before their answer began ---- */

const openai_answer = (ex) => ex.json_answer(whole("m1", { content: "x" }));

test("errors: an upstream that nobody listens on: 502, its backend named", async () => {
    for (const stream of [false, true]) {
        const answer = await proxy.chat({ ...BODY, model: "dead:m1", stream });
        is_error(answer, 502, "backend_error", "upstream_unreachable",
            /^Could not connect.*dead/);
        assert.equal(answer.get("x-llm-proxy-backend"), "dead");
    }
});

test("errors: a silent upstream: 504 after proxy_timeout, and the upstream is let go", async () => {
    for (const stream of [false, true]) {
        const arrival = mock.arrival();
        mock.next(() => {});
        const at = performance.now();
        is_error(await proxy.chat({ ...BODY, stream }), 504, "backend_error",
            "upstream_timeout", /^Connection timeout/);
        const took = performance.now() - at;
        assert.ok(took >= SILENCE_MS - 20 && took < 10 * SILENCE_MS, `after ${took} ms`);
        await within(2_000, "the upstream's connection is closed", (await arrival).closed);
    }
});

for (const [what, script] of Object.entries({
    "closes without a byte": (ex) => ex.fin(),
    "resets without a byte": (ex) => ex.rst(),
    "sends garbage": (ex) => ex.write(Buffer.from("SSH-2.0-OpenSSH_9\r\n\r\n")),
    "sends half a head": async (ex) => {
        await ex.write(Buffer.from("HTTP/1.1 200 OK\r\ncontent-ty"));
        ex.fin();
    },
    "sends two lengths": (ex) => ex.write(Buffer.concat([head_bytes(200, [
        ["content-length", 2], ["content-length", 3]]), Buffer.from("{}x")])),
    "redirects": (ex) => ex.respond({ status: 302, headers: { location: mock.url } }),
    "switches protocols": (ex) => ex.write(head_bytes(101, { upgrade: "x",
        connection: "upgrade" })),
    "breaks off a body with a length": async (ex) => {
        await ex.write(head_bytes(200, { "content-type": "application/json",
            "content-length": 500 }));
        await ex.write(Buffer.from("{\"id\":\"x\","));
        ex.fin();
    },
    "breaks off a chunked body": async (ex) => {
        await ex.write(head_bytes(200, { "content-type": "application/json",
            "transfer-encoding": "chunked" }));
        await ex.write(chunk(JSON.stringify(whole("m1", { content: "x" }))));
        ex.fin();
    },
    "sends a wrong chunk size": async (ex) => {
        await ex.write(head_bytes(200, { "content-type": "application/json",
            "transfer-encoding": "chunked" }));
        await ex.write(Buffer.from("xyz\r\n{}\r\n0\r\n\r\n"));
    },
    "answers with a coding that nobody asked for": (ex) => ex.respond({
        headers: { "content-type": "application/json", "content-encoding": "br" },
        body: "\u0001\u0002" }),
    "answers with more than response_bytes_max": (ex) => ex.respond({ framing: "chunked",
        headers: { "content-type": "application/json" },
        body: `{"x":"${"y".repeat(1_200_000)}"}` }),
})) {
    test(`errors: an upstream that ${what}: 502 in our shape`, async () => {
        /* Each time: a connection from the pool that dies unanswered is replaced once. */
        mock.on("bad", script);
        const answer = await proxy.chat({ ...BODY, model: "mock:bad" });
        assert.equal(answer.status, 502, answer.text);
        const { error } = answer.json;
        assert.equal(error.type, "backend_error");
        assert.ok(error.message.length > 0);
        assert.ok(!answer.text.includes("upstream-key-1"));
        /* And the backend works on. */
        assert.equal((await proxy.chat(BODY)).status, 200);
    });
}

test("errors: a connection that died in the pool is replaced without the client noticing",
    async () => {
        const client = await proxy.connect();
        const ask = async () => {
            client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(BODY) });
            return client.response();
        };
        mock.next(openai_answer);
        mock.next((ex) => ex.rst());
        assert.equal((await ask()).status, 200);
        const answer = await ask();
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.get("x-llm-proxy-attempts"), "1");
        client.destroy();
    });

test("errors: an upstream's 200 with an error body reaches the client with its own bytes",
    async () => {
        const body = "{ \"error\" : {\"message\":\"context too long\",\"code\":400} }\n";
        mock.next((ex) => ex.respond({ headers: { "content-type": "application/json" }, body }));
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, 200);
        assert.equal(answer.text, body);
    });

test("errors: a broken answer's backend is named, though its name be a word of what went wrong",
    async () => {
        mock.next((ex) => ex.respond({ headers: SSE, body: "data: {\n\n" }));
        const answer = await proxy.chat({ ...STREAM, model: "an:m1", max_tokens: 9 },
            { path: "/v1/messages" });
        assert.equal(answer.status, 502, answer.text);
        assert.match(answer.json.error.message, /an event of .*\(backend an\)$/);
    });

test("errors: an upstream's error page that is no JSON becomes our shape, its status kept",
    async () => {
        mock.next((ex) => ex.respond({ status: 400, headers: { "content-type": "text/html" },
            body: "<html><h1>Bad Request</h1></html>" }));
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, 400);
        assert.match(answer.get("content-type"), /^application\/json/);
        assert.equal(typeof answer.json.error.message, "string");
    });

/* ---- Streams that fail in the middle ---- */

const START = delta("m1", { role: "assistant", content: "so far" });

for (const [what, end] of Object.entries({
    "closed": (ex) => ex.fin(),
    "reset": (ex) => ex.rst(),
    "ended well-formed, but without finish reason or [DONE]": (ex) => ex.close_stream(false),
    "continued with a wrong chunk": (ex) => ex.write(Buffer.from("nonsense\r\n")),
    "silent for proxy_timeout": () => {},
})) {
    test(`errors: a stream that is ${what} gets an error event and no [DONE]`, async () => {
        const events = sse([START], false);
        let more;
        mock.next(async (ex) => {
            await ex.open_stream();
            await ex.event(events);
            more = () => end(ex);
        });
        const client = await proxy.connect();
        client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(STREAM) });
        const answer = await client.head();
        await until(() => answer.body.length >= events.length, "the first event");
        more();
        await within(10_000, "the end of the stream", answer.done);
        assert.equal(answer.status, 200);
        assert.equal(answer.ended, "chunked", "the error event must be followed by the last chunk");
        assert.ok(answer.text.startsWith(events), answer.text);
        const rest = sse_data(answer.text.slice(events.length));
        assert.equal(rest.length, 1, `one error event, not ${JSON.stringify(rest)}`);
        const { error } = JSON.parse(rest[0]);
        assert.equal(error.type, "backend_error");
        assert.ok(["upstream_unreachable", "upstream_timeout"].includes(error.code), error.code);
        assert.ok(error.message.length > 0);
        assert.ok(!answer.text.includes("[DONE]"));
        await limited(50_000, "the connection is closed after a broken stream", client.closed);
        client.destroy();
    });
}

test("errors: a stream broken off inside an event: the half event is not sent as a whole one",
    async () => {
        const second = `data: ${JSON.stringify(delta("m1", { content: "never finished" }))}`;
        mock.next(async (ex) => {
            await ex.open_stream();
            await ex.event(sse([START], false) + second.slice(0, -20));
            ex.fin();
        });
        const answer = await proxy.chat(STREAM);
        const data = sse_data(answer.text).map((d) => JSON.parse(d));
        assert.equal(data.length, 2, answer.text);
        assert.deepEqual(data[0], START);
        assert.equal(data[1].error.type, "backend_error");
        assert.ok(!answer.text.includes("[DONE]"));
    });

test("errors: the upstream's own error event is the end: nothing is added", async () => {
    const body = sse([START, { error: { message: "overloaded", type: "server_error", param: null,
        code: 503 } }], false);
    for (const framing of ["chunked", "close"]) {
        mock.next((ex) => ex.respond({ headers: SSE, framing, body }));
        const answer = await proxy.chat(STREAM);
        assert.equal(answer.status, 200);
        assert.equal(answer.text, body, framing);
        assert.notEqual(answer.ended, "cut");
    }
});

test("errors: an upstream that answers a stream request with whole JSON error keeps its status",
    async () => {
        mock.next((ex) => ex.json_answer({ error: { message: "no", type: "x", param: null,
            code: "y" } }, { status: 422 }));
        const answer = await proxy.chat(STREAM);
        assert.equal(answer.status, 422);
        assert.equal(answer.json.error.code, "y");
    });

test("errors: a request that follows malformed HTTP in the same write is not served (smuggling)",
    async () => {
        const bad = Buffer.from(`POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}Content-Length: 5\r\n` +
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        const smuggled = request_bytes({ path: CHAT, port: proxy.port, headers: proxy.headers(),
            body: JSON.stringify({ ...BODY, model: "mock:smuggled" }) });
        const { response } = await raw(proxy.port, Buffer.concat([bad, smuggled]),
            { wait_close: true });
        assert.equal(response.status, 400);
        assert.ok(!mock.posts().some((r) => r.body.includes("smuggled")));
    });

test("errors: /readyz tells whether a backend is functional", async () => {
    const get = (p) => request(p.port, { method: "GET", path: "/readyz" });
    assert.equal((await get(proxy)).status, 200);
    assert.equal((await get(empty)).status, 503);
});

test("errors: an error in an upstream's stream is no success for who asked for no stream",
    async () => {
        for (const framed of [`data: ${JSON.stringify({ error: { message: "no", type: "x",
            code: 503 } })}\n\n`, sse([delta("m1", { content: "a" })], false) +
            "data: {\"error\":{\"message\":\"no\",\"type\":\"x\"}}\n\n"]) {
            mock.next((ex) => ex.respond({ headers: SSE, framing: "chunked", body: framed }));
            const answer = await proxy.chat(BODY);
            assert.ok(answer.status >= 500, `${answer.status} ${answer.text}`);
            assert.match(answer.json.error.message, /no/);
        }
    });

test("errors: bodies in flight beyond inflight_bytes_max get 503, and the memory comes back",
    async () => {
        const small = await start({ config: { default_backend: "mock",
            inflight_bytes_max: "8 MiB", backends: { mock: backend(mock) } } });
        try {
            const body = JSON.stringify({ ...BODY, user: "u".repeat(2_000_000) });
            const head = `POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\n${AUTH}`;
            const half = Math.floor(body.length / 2);
            /* Twenty declare 2 MB at once and send the half of it. */
            const sockets = await Promise.all(Array.from({ length: 20 }, () =>
                new Promise((done) => {
                    const socket = net.connect(small.port, "127.0.0.1", () => {
                        socket.write(`${head}Content-Length: ${body.length}\r\n\r\n` +
                            body.slice(0, half));
                        done(socket);
                    });
                    socket.answer = new Promise((got) => {
                        socket.once("data", (data) => got(Number(data.toString().slice(9, 12))));
                        socket.once("error", () => got(0));
                    });
                })));
            /* None is whole and makes room for another before most were told that there is none. */
            await within(20_000, "ten refusals", new Promise((enough) => {
                let refused = 0;
                sockets.forEach((s) => s.answer.then(() => ++refused === 10 && enough()));
            }));
            for (const socket of sockets) {
                socket.write(body.slice(half));
            }
            const statuses = await Promise.all(sockets.map((s) => s.answer));
            assert.ok(statuses.filter((s) => s === 200).length >= 1, String(statuses));
            assert.ok(statuses.filter((s) => s === 503).length >= 10, String(statuses));
            sockets.forEach((s) => s.destroy());
            await small.memory_back();
            assert.equal((await small.chat({ ...BODY, user: "u".repeat(2_000_000) })).status, 200);
        } finally {
            await stop_all(small);
        }
    });

test("errors: no choices: a plain backend's own answer, but no stream that was asked for", async () => {
    const none = { id: "a", object: "chat.completion", created: 1, model: "m1", choices: [] };
    mock.next((ex) => ex.json_answer(none));
    const whole_one = await proxy.chat(BODY);
    assert.equal(whole_one.status, 200);
    assert.deepEqual(whole_one.json, none);
    mock.next((ex) => ex.json_answer(none));
    is_error(await proxy.chat(STREAM), 502, "backend_error", "upstream_unreachable", /no choices/);
});

test("errors: what goes wrong behind an upstream's [DONE] is no error of the answer", async () => {
    const events = sse([delta("m1", { content: "a" }), delta("m1", {}, "stop")]);
    for (const end of ["fin", "rst"]) {
        let upstream;
        mock.next(async (ex) => {
            upstream = ex;
            await ex.write(head_bytes(200, { ...SSE, "transfer-encoding": "chunked" }));
            await ex.write(chunk(events));
        });
        const client = await proxy.connect();
        client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(STREAM) });
        const answer = await client.head();
        await until(() => answer.body.length >= events.length, "[DONE]");
        upstream[end]();
        await within(10_000, "the end of the stream", answer.done);
        assert.equal(answer.text, events, end);
        assert.notEqual(answer.ended, "cut");
        client.destroy();
    }
});
