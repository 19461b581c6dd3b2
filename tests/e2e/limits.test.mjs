/* SPDX-License-Identifier: MIT */
/*
 * Every limit of the configuration: met exactly it passes, passed by one it gets the answer that is
 * defined for it, whose message names the option. Times are met and passed with room, as a loaded
 * machine needs it; to the millisecond they are in the unit tests of http and io, on a virtual
 * clock. The first test holds this file against the program's own table of options.
 */
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, beforeEach } from "node:test";
import zlib from "node:zlib";

import { Client, limited, now, raw, request, request_bytes, within } from "./lib/http1.mjs";
import { Mock, chunk, head_bytes, LAST_CHUNK, whole } from "./lib/mock.mjs";
import { SLOW, backend, in_time, not_built, run, start, stop_all, test } from
    "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "x" }];
const BODY = { model: "mock:m1", messages: MESSAGES };
const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream" };
const HEADER_MAX = 2048;
const BODY_MAX = 4096;
const RESPONSE_MAX = 4096;
const EVENT_MAX = 1024;
const DEPTH_MAX = 8;

/* The least and the most that each may be set to, and one step beyond. */
const RANGES = {
    connections_max: [1, 1000000, 0, 1000001],
    upstream_connections_max: [1, 1000000, 0, 1000001],
    header_bytes_max: ["1KiB", "1MiB", "1023", "1048577"],
    body_bytes_max: ["1KiB", "4GiB", "1023", "4294967297"],
    inflight_bytes_max: ["1MiB", "1024GiB", "1048575", "1025GiB"],
    response_bytes_max: ["1KiB", "4GiB", "1023", "4294967297"],
    json_depth_max: [8, 1024, 7, 1025],
    sse_event_bytes_max: ["1KiB", "1GiB", "1023", "1073741825"],
    connect_timeout: ["10ms", "10m", "9ms", "600001ms"],
    proxy_timeout: ["10ms", "24h", "9ms", "86400001ms"],
    header_timeout: ["10ms", "10m", "9ms", "600001ms"],
    body_idle_timeout: ["10ms", "1h", "9ms", "3600001ms"],
    keepalive_timeout: ["10ms", "24h", "9ms", "86400001ms"],
    write_timeout: ["10ms", "1h", "9ms", "3600001ms"],
    upstream_idle_timeout: ["0", "24h", null, "86400001ms"],
    drain_timeout: ["0", "1h", null, "3600001ms"],
    retry_wait_max: ["0", "10m", null, "600001ms"],
};

/* Limits of features that are not there yet: the program says so. */
const LATER = { hold_bytes_max: "4MiB", tool_args_bytes_max: "1MiB",
    opaque_peek_bytes: "1MiB", first_token_timeout: "30s", stream_idle_timeout: "30s" };

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: {
        default_backend: "mock", header_bytes_max: HEADER_MAX, body_bytes_max: BODY_MAX,
        response_bytes_max: RESPONSE_MAX, sse_event_bytes_max: EVENT_MAX,
        json_depth_max: DEPTH_MAX, backends: { mock: backend(mock) },
    } });
});

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
});

/* ---- helpers ---- */

function is_error(answer, status, type, code, option) {
    assert.equal(answer.status, status, answer.text);
    const { error } = answer.json;
    assert.equal(error.type, type, answer.text);
    assert.equal(error.code, code, answer.text);
    assert.match(error.message, new RegExp(`\\b${option}\\b`), answer.text);
}

/** {"model":…,"messages":[…],"user":"…"} of exactly `size` bytes. */
function body_of(size, more = {}) {
    const empty = JSON.stringify({ ...BODY, ...more, user: "" });
    assert.ok(empty.length <= size);
    return JSON.stringify({ ...BODY, ...more, user: "u".repeat(size - empty.length) });
}

/** A whole answer of exactly `size` bytes. */
function answer_of(size) {
    const empty = JSON.stringify(whole("m1", { content: "" })).length;
    const text = JSON.stringify(whole("m1", { content: "c".repeat(size - empty) }));
    assert.equal(text.length, size);
    return text;
}

/** A request's head of exactly `size` bytes, from its first byte to the empty line's end. */
function head_of(size, port, { method = "GET", path = "/healthz", minor = 1 } = {}) {
    const fixed = `${method} ${path} HTTP/1.${minor}\r\nHost: 127.0.0.1:${port}\r\nX-Pad: \r\n\r\n`;
    return fixed.replace("X-Pad: ", `X-Pad: ${"p".repeat(size - fixed.length)}`);
}

const chunks_of = (text, step) => Buffer.concat([
    ...Array.from({ length: Math.ceil(text.length / step) }, (_, i) =>
        chunk(text.slice(i * step, (i + 1) * step))), LAST_CHUNK]);

async function lives(one = proxy) {
    const answer = await request(one.port, { method: "GET", path: "/healthz" });
    assert.equal(answer.status, 200);
}

/** Resolves with how and when the proxy ended the connection. */
async function closed_by_proxy(socket, ms, what) {
    const began = now();
    await within(ms, what, new Promise((resolve) => {
        socket.on("close", resolve);
        socket.on("error", () => {});
        socket.resume();
    }));
    return now() - began;
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* ---- The table ---- */

test("limits: this file knows every limit of the program's table, and its range", async () => {
    const { all } = await run(["--print-config"]);
    const printed = [...all.matchAll(/^(\w+_(?:max|timeout)):/gm)].map((m) => m[1]);
    assert.deepEqual(printed.sort(), Object.keys(RANGES).sort());
});

for (const [option, [least, most, below, above]] of Object.entries(RANGES)) {
    test(`limits: ${option} may be ${least} to ${most}, and nothing beyond`, async () => {
        for (const value of [least, most]) {
            const { code, all } = await run(["--check-config"], { config: { [option]: value } });
            assert.equal(code, 0, all);
        }
        for (const value of [below, above]) {
            if (value !== null) {
                const { code, all } = await run(["--check-config"],
                    { config: { [option]: value } });
                assert.equal(code, 1, `${option}: ${value}: ${all}`);
                assert.match(all, new RegExp(`\\b${option}\\b`));
            }
        }
    });
}

test("limits: those of features that are still to come are named in a warning", async () => {
    for (const [option, value] of Object.entries(LATER)) {
        const line = await not_built(option, value);
        const { all } = await run(["--print-config"]);
        assert.ok(line || new RegExp(`^${option}:`, "m").test(all),
            `${option} is neither in force nor named in a warning`);
    }
});

/* ---- Heads ---- */

for (const [what, options] of [["", {}], [" of HTTP/1.0", { minor: 0 }],
    [" of a path that wants a key", { path: "/nowhere" }]]) {
    test(`limits: header_bytes_max: a request's head${what}`, async () => {
        const exact = await raw(proxy.port, head_of(HEADER_MAX, proxy.port, options));
        assert.equal(exact.response.status, options.path ? 401 : 200, exact.response.text);
        const over = await raw(proxy.port, head_of(HEADER_MAX + 1, proxy.port, options),
            { wait_close: true });
        is_error(over.response, 431, "invalid_request_error", "headers_too_large",
            "header_bytes_max");
        await lives();
    });
}

test("limits: header_bytes_max: a request line alone", async () => {
    const line = `GET /${"x".repeat(HEADER_MAX)} HTTP/1.1\r\nHost: h\r\n\r\n`;
    const { response } = await raw(proxy.port, line, { wait_close: true });
    is_error(response, 431, "invalid_request_error", "headers_too_large", "header_bytes_max");
});

test("limits: header_bytes_max: chunk extensions and trailers cost their bytes and one each",
    async () => {
        const head = (extra) => Buffer.concat([request_bytes({ path: CHAT, port: proxy.port,
            headers: proxy.headers([["Transfer-Encoding", "chunked"]]) }), extra]);
        const text = JSON.stringify(BODY);
        const size = text.length.toString(16);
        for (const [over, status] of [[0, 200], [1, 431]]) {
            const ext = "e".repeat(HEADER_MAX - 1 + over);
            const extension = Buffer.from(`${size};${ext}\r\n${text}\r\n0\r\n\r\n`);
            const trailer = Buffer.concat([chunk(text), Buffer.from(
                `0\r\nT: ${"t".repeat(HEADER_MAX - 3 + over)}\r\n\r\n`)]);
            for (const extra of [extension, trailer]) {
                const { response } = await raw(proxy.port, head(extra));
                assert.equal(response.status, status, response.text);
                if (over) {
                    is_error(response, 431, "invalid_request_error", "headers_too_large",
                        "header_bytes_max");
                }
            }
        }
    });

test("limits: header_bytes_max: the head of a backend's answer", async () => {
    const text = JSON.stringify(whole("m1", { content: "x" }));
    const head = (size) => {
        const fixed = head_bytes(200, { ...JSON_TYPE, "content-length": text.length, "x-pad": "" });
        return head_bytes(200, { ...JSON_TYPE, "content-length": text.length,
            "x-pad": "p".repeat(size - fixed.length) });
    };
    assert.equal(head(HEADER_MAX).length, HEADER_MAX);
    mock.next((ex) => ex.write(Buffer.concat([head(HEADER_MAX), Buffer.from(text)])));
    assert.equal((await proxy.chat(BODY)).status, 200);
    mock.next((ex) => ex.write(Buffer.concat([head(HEADER_MAX + 1), Buffer.from(text)])));
    is_error(await proxy.chat(BODY), 502, "backend_error", "upstream_unreachable",
        "header_bytes_max");
});

test("limits: header_bytes_max at 1 MiB with the least body_bytes_max: any head of that size",
    async () => {
        const large = await start({ config: { header_bytes_max: "1MiB", body_bytes_max: "1KiB",
            header_timeout: "60s" } });
        try {
            const size = 1 << 20;
            /* As many headers as fit. */
            const first = `GET /healthz HTTP/1.1\r\nHost: h\r\n`;
            const many = first + "a:\r\n".repeat(Math.floor((size - first.length - 2) / 4));
            for (const bytes of [head_of(size, large.port), `${many}\r\n`]) {
                assert.ok(bytes.length <= size);
                const { response } = await raw(large.port, bytes);
                assert.equal(response.status, 200, response.text);
            }
            const { response } = await raw(large.port, head_of(size + 1, large.port));
            is_error(response, 431, "invalid_request_error", "headers_too_large",
                "header_bytes_max");
        } finally {
            await stop_all(large);
        }
    });

/* ---- Bodies ---- */

test("limits: body_bytes_max: a body with a length is refused from its head", async () => {
    const answer = await proxy.chat(body_of(BODY_MAX));
    assert.equal(answer.status, 200, answer.text);
    is_error(await proxy.chat(body_of(BODY_MAX + 1)), 413, "invalid_request_error",
        "request_too_large", "body_bytes_max");
    /* Without a byte of it. */
    const { response } = await raw(proxy.port, request_bytes({ path: CHAT, port: proxy.port,
        headers: proxy.headers([["Content-Length", String(BODY_MAX + 1)]]) }));
    is_error(response, 413, "invalid_request_error", "request_too_large", "body_bytes_max");
});

test("limits: body_bytes_max: a body in chunks, of any size", async () => {
    for (const step of [1, 100, BODY_MAX + 1]) {
        for (const [size, status] of [[BODY_MAX, 200], [BODY_MAX + 1, 413]]) {
            const { response } = await raw(proxy.port, Buffer.concat([request_bytes({ path: CHAT,
                port: proxy.port, headers: proxy.headers([["Transfer-Encoding", "chunked"]]) }),
            chunks_of(body_of(size), step)]));
            assert.equal(response.status, status, response.text);
            if (status === 413) {
                is_error(response, 413, "invalid_request_error", "request_too_large",
                    "body_bytes_max");
            }
        }
    }
});

test("limits: body_bytes_max: of a gzip body, decoded", async () => {
    const send = (size) => proxy.chat(zlib.gzipSync(body_of(size)),
        { headers: { "Content-Encoding": "gzip" } });
    const exact = await send(BODY_MAX);
    assert.equal(exact.status, 200, exact.text);
    is_error(await send(BODY_MAX + 1), 413, "invalid_request_error", "request_too_large",
        "body_bytes_max");
});

test("limits: json_depth_max: a request's body", async () => {
    /* The body itself is one. */
    const deep = (n) => `${JSON.stringify(BODY).slice(0, -1)},"metadata":${"[".repeat(n - 1)}${
        "]".repeat(n - 1)}}`;
    assert.equal((await proxy.chat(deep(DEPTH_MAX))).status, 200);
    is_error(await proxy.chat(deep(DEPTH_MAX + 1)), 400, "invalid_request_error", null,
        "json_depth_max");
});

test("limits: inflight_bytes_max: a body that cannot fit is refused from its head", async () => {
    const MAX = 1 << 20;
    const small = await start({ config: { inflight_bytes_max: MAX, body_bytes_max: "8MiB",
        default_backend: "mock", backends: { mock: backend(mock) } } });
    try {
        const expect = (size) => request_bytes({ path: CHAT, port: small.port,
            headers: small.headers([["Content-Length", String(size)], ["Expect", "100-continue"]]),
        });
        const { response } = await raw(small.port, expect(MAX + 1));
        is_error(response, 503, "server_error", "overloaded", "inflight_bytes_max");
        /* Nor is there room for the body and what holds its request. */
        is_error(await small.chat(body_of(MAX)), 503, "server_error", "overloaded",
            "inflight_bytes_max");
        /* One that does not tell its length is refused while it comes. */
        const chunked = await raw(small.port, Buffer.concat([request_bytes({ path: CHAT,
            port: small.port, headers: small.headers([["Transfer-Encoding", "chunked"]]) }),
        chunks_of(body_of(MAX), 50_000)]));
        is_error(chunked.response, 503, "server_error", "overloaded", "inflight_bytes_max");
        /* And nothing of it stays. */
        for (let i = 0; i < 20; i++) {
            await small.memory_back();
            const quarter = await small.chat(body_of(MAX / 4));
            assert.equal(quarter.status, 200, quarter.text);
        }
    } finally {
        await stop_all(small);
    }
});

/* ---- Answers ---- */

test("limits: response_bytes_max: an answer that is collected", async () => {
    for (const framing of ["length", "chunked", "close"]) {
        mock.next((ex) => ex.respond({ headers: JSON_TYPE, framing,
            body: answer_of(RESPONSE_MAX) }));
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.text.length, RESPONSE_MAX);
        mock.next((ex) => ex.respond({ headers: JSON_TYPE, framing,
            body: answer_of(RESPONSE_MAX + 1) }));
        is_error(await proxy.chat(BODY), 502, "backend_error", "upstream_too_large",
            "response_bytes_max");
    }
});

test("limits: response_bytes_max: of a coded answer, decoded", async () => {
    for (const [coding, code] of [["gzip", zlib.gzipSync], ["deflate", zlib.deflateSync]]) {
        const coded = (size) => (ex) => ex.respond({ body: code(answer_of(size)),
            headers: { ...JSON_TYPE, "content-encoding": coding } });
        mock.next(coded(RESPONSE_MAX));
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.text.length, RESPONSE_MAX);
        mock.next(coded(RESPONSE_MAX + 1));
        is_error(await proxy.chat(BODY), 502, "backend_error", "upstream_too_large",
            "response_bytes_max");
    }
});

/* Bodies over 1 MiB are read and written in threads of their own. */
test("limits: the same for large bodies: body_bytes_max, response_bytes_max, json_depth_max",
    async () => {
        const MAX = 3 << 20;
        const large = await start({ config: { body_bytes_max: MAX, response_bytes_max: MAX,
            json_depth_max: DEPTH_MAX, default_backend: "mock",
            backends: { mock: backend(mock) } } });
        try {
            const gzip = { headers: { "Content-Encoding": "gzip" } };
            const words = Array.from({ length: MAX / 4 }, (_, i) => i.toString(36)).join(" ");
            const text = (size) => {
                const empty = JSON.stringify({ ...BODY, user: "" }).length;
                return JSON.stringify({ ...BODY, user: words.slice(0, size - empty) });
            };
            assert.equal(text(MAX).length, MAX);
            for (const [body, options] of [[text(MAX), {}], [zlib.gzipSync(text(MAX)), gzip]]) {
                const answer = await large.chat(body, options);
                assert.equal(answer.status, 200, answer.text);
            }
            for (const [body, options] of [[text(MAX + 1), {}],
                [zlib.gzipSync(text(MAX + 1)), gzip]]) {
                is_error(await large.chat(body, options), 413, "invalid_request_error",
                    "request_too_large", "body_bytes_max");
            }
            const deep = (n) => `${text(MAX / 2).slice(0, -1)},"metadata":${"[".repeat(n - 1)}${
                "]".repeat(n - 1)}}`;
            assert.equal((await large.chat(deep(DEPTH_MAX))).status, 200);
            is_error(await large.chat(deep(DEPTH_MAX + 1)), 400, "invalid_request_error", null,
                "json_depth_max");
            mock.next((ex) => ex.respond({ headers: JSON_TYPE, body: answer_of(MAX) }));
            assert.equal((await large.chat(BODY)).text.length, MAX);
            mock.next((ex) => ex.respond({ headers: JSON_TYPE, framing: "chunked",
                body: answer_of(MAX + 1) }));
            is_error(await large.chat(BODY), 502, "backend_error", "upstream_too_large",
                "response_bytes_max");
        } finally {
            await stop_all(large);
        }
    });

test("limits: json_depth_max: a backend's answer", async () => {
    const deep = (n) => JSON.stringify(whole("m1", { content: "x" })).replace("\"usage\":",
        `"deep":${"[".repeat(n - 1)}${"]".repeat(n - 1)},"usage":`);
    mock.next((ex) => ex.respond({ headers: JSON_TYPE, body: deep(DEPTH_MAX) }));
    const answer = await proxy.chat(BODY);
    assert.equal(answer.status, 200, answer.text);
    mock.next((ex) => ex.respond({ headers: JSON_TYPE, body: deep(DEPTH_MAX + 1) }));
    is_error(await proxy.chat(BODY), 502, "backend_error", "upstream_unreachable",
        "json_depth_max");
});

const event_of = (size, end = "\n\n") => {
    const text = (n) => `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk",
        created: 1, model: "m1", choices: [{ index: 0, delta: { content: "c".repeat(n) },
            finish_reason: null }] })}${end}`;
    return text(size - text(0).length);
};
const STOP_EVENT = `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk",
    created: 1, model: "m1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`;

test("limits: sse_event_bytes_max: an event of a stream, its end included", async () => {
    for (const end of ["\n\n", "\r\n\r\n"]) {
        for (const step of [1, 100, 10_000]) {
            mock.next((ex) => ex.respond({ headers: SSE_TYPE, framing: "chunked", cuts: 3,
                rng: { below: () => step },
                body: event_of(EVENT_MAX, end) + STOP_EVENT + "data: [DONE]\n\n" }));
            const answer = await proxy.chat({ ...BODY, stream: true });
            assert.equal(answer.status, 200, answer.text);
            assert.match(answer.text, /\[DONE\]/);
            assert.doesNotMatch(answer.text, /"error"/);
        }
    }
    mock.next((ex) => ex.respond({ headers: SSE_TYPE, framing: "chunked",
        body: event_of(EVENT_MAX + 1) + STOP_EVENT + "data: [DONE]\n\n" }));
    is_error(await proxy.chat({ ...BODY, stream: true }), 502, "backend_error",
        "upstream_too_large", "sse_event_bytes_max");
    /* After the answer has begun, as an event. */
    const client = await Client.connect(proxy.port);
    try {
        let begun;
        const answer_begun = new Promise((resolve) => { begun = resolve; });
        mock.next(async (ex) => {
            await ex.open_stream();
            await ex.event(event_of(200));
            await answer_begun;
            await ex.event(event_of(EVENT_MAX + 1));
            await ex.write(LAST_CHUNK);
        });
        client.methods.push("POST");
        client.write(request_bytes({ path: CHAT, port: proxy.port, headers: proxy.headers(),
            body: JSON.stringify({ ...BODY, stream: true }) }));
        const late = await client.head();
        begun();
        await within(10_000, "the end of the stream", late.done);
        assert.equal(late.status, 200);
        assert.match(late.text, /"error".*sse_event_bytes_max/);
        assert.doesNotMatch(late.text, /\[DONE\]/);
    } finally {
        client.destroy();
    }
});

/* ---- Connections ---- */

test("limits: connections_max: one more gets 503, and a place when one leaves", async () => {
    const few = await start({ config: { connections_max: 2, default_backend: "mock",
        backends: { mock: backend(mock) } } });
    const clients = [];
    const ask = async () => {
        const client = await Client.connect(few.port);
        clients.push(client);
        client.methods.push("GET");
        client.write(request_bytes({ method: "GET", path: "/v1/models", port: few.port,
            headers: few.headers() }));
        return client.response();
    };
    /* Until the program has noticed who left. */
    const ask_until_ok = () => retry(async () => {
        const answer = await ask();
        if (answer.status === 200) {
            return true;
        }
        clients.pop().destroy();
        return false;
    });
    try {
        assert.ok(await ask_until_ok());
        assert.ok(await ask_until_ok());
        is_error(await ask(), 503, "server_error", "overloaded", "connections_max");
        /* Those that are open go on, and probes are answered. */
        await lives(few);
        clients.pop().destroy();
        clients.pop().destroy();
        assert.ok(await ask_until_ok());
    } finally {
        clients.forEach((c) => c.destroy());
        await stop_all(few);
    }
});

test("limits: connections_max: those far beyond it are closed without an answer", async () => {
    const MARGIN = 128;
    const few = await start({ config: { connections_max: 1 } });
    const sockets = [];
    try {
        let closed = 0;
        for (let i = 0; i < 1 + 2 * MARGIN; i++) {
            const socket = net.connect({ port: few.port, host: "127.0.0.1" });
            socket.on("error", () => {});
            socket.on("close", () => { closed++; });
            socket.resume();
            sockets.push(socket);
        }
        assert.ok(await retry(() => closed >= MARGIN - 2), `${closed} were closed`);
        assert.ok(closed <= MARGIN + 2, `${closed} were closed`);
        sockets.splice(0).forEach((socket) => socket.destroy());
        assert.ok(await retry(() => lives(few).then(() => true, () => false)));
    } finally {
        sockets.forEach((socket) => socket.destroy());
        await stop_all(few);
    }
});

async function retry(once) {
    const end = now() + (SLOW ? 60_000 : 20_000);
    for (;;) {
        const result = await once();
        if (result || now() > end) {
            return result;
        }
        await wait(10);
    }
}

test("limits: upstream_connections_max: one more gets 503 at once", async () => {
    const few = await start({ config: { default_backend: "mock",
        backends: { mock: backend(mock, { upstream_connections_max: 2 }) } } });
    try {
        const held = [];
        const hold = (ex) => new Promise((resolve) => held.push(() => {
            resolve(ex.json_answer(whole("m1", { content: "x" })));
        }));
        mock.next(hold);
        mock.next(hold);
        const running = [few.chat(BODY), few.chat(BODY)];
        assert.ok(await retry(() => held.length === 2), `${held.length} came`);
        is_error(await few.chat(BODY), 503, "server_error", "overloaded",
            "upstream_connections_max");
        held.forEach((release) => release());
        for (const answer of await Promise.all(running)) {
            assert.equal(answer.status, 200, answer.text);
        }
        await few.counted();
        assert.equal((await few.chat(BODY)).status, 200);
    } finally {
        await stop_all(few);
    }
});

/* ---- Times ---- */

/* Waits of a third of it have room on a loaded machine; where they have not, in_time sees it. */
const SHORT = SLOW ? 2000 : 900;

test("limits: header_timeout: 408 for a head that does not end, none for one in time", async () => {
    const slow = await start({ config: { header_timeout: `${SHORT}ms` } });
    try {
        const head = `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${slow.port}\r\n`;
        const at = now();
        const client = await Client.connect(slow.port);
        client.methods.push("GET");
        client.write(head);
        const response = await client.response();
        is_error(response, 408, "invalid_request_error", "request_timeout", "header_timeout");
        assert.ok(now() - at >= SHORT - 20, "it did not wait");
        await within(5_000, "the connection closes", client.closed);
        await in_time(SHORT / 3, async () => {
            const quick = await Client.connect(slow.port);
            quick.methods.push("GET");
            quick.write(head);
            await wait(SHORT / 3);
            quick.write("\r\n");
            assert.equal((await quick.response()).status, 200);
            quick.destroy();
        });
    } finally {
        await stop_all(slow);
    }
});

test("limits: body_idle_timeout: 408 for a body that stops, none for one that drips", async () => {
    const slow = await start({ config: { body_idle_timeout: `${SHORT}ms`, default_backend: "mock",
        backends: { mock: backend(mock) } } });
    try {
        const text = JSON.stringify(BODY);
        const begin = async () => {
            const client = await Client.connect(slow.port);
            client.methods.push("POST");
            client.write(request_bytes({ path: CHAT, port: slow.port,
                headers: slow.headers([["Content-Length", String(text.length)]]) }));
            return client;
        };
        const stops = await begin();
        stops.write(text.slice(0, 10));
        is_error(await stops.response(), 408, "invalid_request_error",
            "request_timeout", "body_idle_timeout");
        await in_time(SHORT / 3, async () => {
            const drips = await begin();
            for (let at = 0; at < text.length; at += Math.ceil(text.length / 6)) {
                drips.write(text.slice(at, at + Math.ceil(text.length / 6)));
                await wait(SHORT / 3);
            }
            assert.equal((await drips.response()).status, 200);
            drips.destroy();
        });
    } finally {
        await stop_all(slow);
    }
});

test("limits: keepalive_timeout: an idle connection is kept that long", async () => {
    const short = await start({ config: { keepalive_timeout: `${SHORT}ms` } });
    try {
        await in_time(SHORT / 3, async () => {
            const client = await Client.connect(short.port);
            for (let i = 0; i < 3; i++) {
                client.methods.push("GET");
                client.write(request_bytes({ method: "GET", path: "/healthz", port: short.port }));
                assert.equal((await client.response()).status, 200);
                await wait(SHORT / 3);
            }
            const at = now();
            await limited(60_000, "the proxy closes the idle connection", client.closed);
            assert.ok(now() - at >= SHORT / 3, "it did not wait");
        });
    } finally {
        await stop_all(short);
    }
});

test("limits: write_timeout: a client that takes nothing is let go, and its upstream", async () => {
    const slow = await start({ config: { write_timeout: `${SHORT}ms`, default_backend: "mock",
        backends: { mock: backend(mock) } } });
    try {
        const gone = new Promise((resolve) => mock.next(async (ex) => {
            await ex.open_stream();
            const event = event_of(16_000);
            let left = false;
            ex.closed.then(() => { left = true; });
            while (!left) {
                await Promise.race([ex.event(event), ex.closed]);
            }
            resolve(await ex.closed);
        }));
        const socket = net.connect({ port: slow.port, host: "127.0.0.1" });
        socket.on("error", () => {});
        socket.pause();
        socket.write(request_bytes({ path: CHAT, port: slow.port, headers: slow.headers(),
            body: JSON.stringify({ ...BODY, stream: true }) }));
        await limited(50_000, "the upstream is let go", gone);
        socket.destroy();
        await lives(slow);
    } finally {
        await stop_all(slow);
    }
});

test("limits: proxy_timeout: 504 for a silent backend, none for one that drips", async () => {
    const slow = await start({ config: { default_backend: "mock",
        backends: { mock: backend(mock, { proxy_timeout: `${SHORT}ms`, retries: 0 }) } } });
    try {
        mock.next(() => {});
        is_error(await slow.chat(BODY), 504, "backend_error", "upstream_timeout",
            "proxy_timeout");
        await in_time(SHORT / 3, async () => {
            mock.next(async (ex) => {
                await ex.open_stream();
                for (let i = 0; i < 5; i++) {
                    await ex.event(event_of(200));
                    await wait(SHORT / 3);
                }
                await ex.event(STOP_EVENT);
                await ex.close_stream();
            });
            const answer = await slow.chat({ ...BODY, stream: true });
            assert.match(answer.text, /\[DONE\]/);
            assert.doesNotMatch(answer.text, /"error"/);
        });
    } finally {
        await stop_all(slow);
    }
});

test("limits: connect_timeout: 504 for a handshake that does not come", async () => {
    const sockets = [];
    const silent = net.createServer((socket) => {
        socket.on("error", () => {});
        sockets.push(socket);
    });
    silent.listen(0, "127.0.0.1");
    const port = await new Promise((resolve) => silent.on("listening", () =>
        resolve(silent.address().port)));
    const slow = await start({ config: { default_backend: "mute", connect_timeout: `${SHORT}ms`,
        backends: { mute: { protocol: "openai-chat", api_url: `https://127.0.0.1:${port}/v1`,
            api_keys: ["k"], retries: 0 } } } });
    try {
        const at = now();
        is_error(await slow.chat({ ...BODY, model: "mute:m" }), 504, "backend_error",
            "upstream_timeout", "connect_timeout");
        assert.ok(now() - at >= SHORT - 20, "it did not wait");
    } finally {
        sockets.forEach((s) => s.destroy());
        silent.close();
        await stop_all(slow);
    }
});

test("limits: upstream_idle_timeout: an unused connection is kept that long; 0: never", async () => {
    for (const ms of [SHORT, 0]) {
        const short = await start({ config: { upstream_idle_timeout: `${ms}ms`, workers: 1,
            default_backend: "mock", backends: { mock: backend(mock) } } });
        try {
            const seen = [];
            for (let i = 0; i < 3; i++) {
                mock.next((ex) => {
                    seen.push(ex);
                    return ex.json_answer(whole("m1", { content: "x" }));
                });
                assert.equal((await short.chat(BODY)).status, 200);
            }
            const different = new Set(seen.map((ex) => ex.connection.n)).size;
            assert.equal(different, ms === 0 ? 3 : 1);
            await limited(50_000, "the idle connection is closed", seen[2].closed);
        } finally {
            await stop_all(short);
        }
    }
});

test("limits: drain_timeout: running exchanges get that long, and no more", async () => {
    for (const [drain, takes] of [[`${20 * SHORT}ms`, SHORT], [`${SHORT}ms`, null], ["0", null]]) {
        const one = await start({ config: { drain_timeout: drain, default_backend: "mock",
            backends: { mock: backend(mock) } } });
        let answered;
        const came = new Promise((resolve) => mock.next(async (ex) => {
            resolve();
            await ex.open_stream();
            await ex.event(event_of(200));
            if (takes !== null) {
                await wait(takes);
                await ex.event(STOP_EVENT);
                await ex.close_stream();
            }
        }));
        try {
            answered = one.chat({ ...BODY, stream: true }).catch((error) => error);
            await came;
            const at = now();
            one.child.kill("SIGTERM");
            const answer = await answered;
            const done = /\[DONE\]/.test(answer.text ?? "");
            assert.equal(done, takes !== null, "the answer's end");
            await limited(28_000, "the program ends", one.exited);
            if (takes === null && drain !== "0") {
                assert.ok(now() - at >= SHORT - 20, "it did not wait");
            }
        } finally {
            await stop_all(one);
        }
    }
});

/* ---- All of them ---- */

test("limits: with all of them at their least the program answers, and says what is wrong",
    async () => {
        const least = Object.fromEntries(Object.entries(RANGES).map(([k, v]) => [k, v[0]]));
        /* What the client needs in order to speak at all stays within reach of a loaded machine. */
        const times = { header_timeout: "5s", body_idle_timeout: "5s", keepalive_timeout: "5s",
            write_timeout: "5s", connect_timeout: "5s", proxy_timeout: "5s" };
        const one = await start({ config: { ...least, ...times, default_backend: "mock",
            backends: { mock: backend(mock) } } });
        try {
            await lives(one);
            const small = await retry(async () => {
                const answer = await one.chat(BODY);
                return answer.status === 503 ? null : answer;
            });
            assert.equal(small.status, 200, small.text);
            is_error(await retry(async () => {
                const answer = await one.chat(body_of(1025));
                return answer.status === 503 ? null : answer;
            }), 413, "invalid_request_error", "request_too_large", "body_bytes_max");
            await lives(one);
        } finally {
            await stop_all(one);
        }
    });

test("limits: times at their least end what is late, and the program lives", async () => {
    const times = Object.fromEntries(Object.entries(RANGES).filter(([k]) => /timeout$/.test(k))
        .map(([k, v]) => [k, v[0]]));
    const one = await start({ config: { ...times, header_timeout: "10s", default_backend: "mock",
        backends: { mock: backend(mock, { retries: 0 }) } } });
    try {
        for (let i = 0; i < 3; i++) {
            mock.next(() => {});
            is_error(await one.chat(BODY), 504, "backend_error", "upstream_timeout",
                "proxy_timeout|connect_timeout");
        }
        const client = await Client.connect(one.port);
        client.methods.push("GET");
        client.write(request_bytes({ method: "GET", path: "/healthz", port: one.port }));
        assert.equal((await client.response()).status, 200);
        await limited(60_000, "the proxy closes the idle connection", client.closed);
        await lives(one);
    } finally {
        await stop_all(one);
    }
});

test("limits: with all of them at their most the program answers, without taking the memory",
    async () => {
        const most = Object.fromEntries(Object.entries(RANGES).map(([k, v]) => [k, v[1]]));
        const one = await start({ config: { ...most, drain_timeout: "5s", default_backend: "mock",
            backends: { mock: backend(mock) } } });
        try {
            const answer = await one.chat(BODY);
            assert.equal(answer.status, 200, answer.text);
            assert.equal((await one.chat({ ...BODY, stream: true })).status, 200);
            if (!SLOW) {
                assert.ok(one.rss_kib() < 32 * 1024, `${one.rss_kib()} KiB`);
            }
        } finally {
            await stop_all(one);
        }
    });
