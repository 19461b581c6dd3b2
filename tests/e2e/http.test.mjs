/* SPDX-License-Identifier: MIT */
/*
 * HTTP as the world sends it: targets, hosts, versions, expectations, codings, limits of time and
 * number; on raw sockets, as no library would send it.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import zlib from "node:zlib";

import { Client, limited, now, raw, until, within } from "./lib/http1.mjs";
import { Mock, chunk, delta } from "./lib/mock.mjs";
import { KEY, SLOW, backend, in_time, start, stop_all, test } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const BODY = JSON.stringify({ model: "mock:m1", messages: [{ role: "user", content: "x" }] });
const AUTH = `Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

const latin1 = (text) => Buffer.from(text, "latin1");
const post = (more = "", body = BODY, { target = CHAT, host = "localhost" } = {}) =>
    latin1(`POST ${target} HTTP/1.1\r\nHost: ${host}\r\n${AUTH}${more}` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
const get = (target, more = "", host = "localhost") =>
    latin1(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`);

function is_error(answer, status, code, text) {
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.json.error.code, code);
    assert.match(answer.json.error.message, text);
}

/* ---- targets and hosts ---- */

for (const host of ["localhost", "127.0.0.1", "LOCALHOST:1", "[::1]", "127.0.0.1:65535"]) {
    test(`http: a target in absolute form with the host ${host} is ours; Host is not looked at`,
        async () => {
            for (const scheme of ["http", "HTTPS"]) {
                const { response } = await raw(proxy.port,
                    post("", BODY, { target: `${scheme}://${host}${CHAT}?x=1`,
                        host: "elsewhere.example" }));
                assert.equal(response.status, 200, response.text);
            }
        });
}

test("http: a target in absolute form with another host is refused: no forward proxy", async () => {
    const count = mock.posts().length;
    for (const host of ["api.openai.com", "localhost.example", "127.0.0.2:80", "[::2]"]) {
        const { response } = await raw(proxy.port, post("", BODY,
            { target: `http://${host}${CHAT}` }));
        is_error(response, 400, null, /another host/);
    }
    assert.equal(mock.posts().length, count);
});

test("http: CONNECT is 405, whatever follows it is not served", async () => {
    const count = mock.posts().length;
    for (const head of ["CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n",
        `CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`]) {
        const { response } = await raw(proxy.port, Buffer.concat([latin1(head), post()]),
            { method: "CONNECT", wait_close: true });
        is_error(response, 405, "method_not_allowed", /CONNECT/);
        assert.match(response.get("allow"), /GET/);
        assert.match(response.get("connection"), /close/);
    }
    assert.equal(mock.posts().length, count);
});

test("http: OPTIONS: the server's methods, a path's methods, an unknown path", async () => {
    const whole = await raw(proxy.port, latin1("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert.equal(whole.response.status, 204);
    assert.match(whole.response.get("allow"), /GET.*POST/);
    for (const [path, allow] of [[CHAT, "POST, OPTIONS"], ["/v1/models", "GET, HEAD, OPTIONS"],
        ["/healthz", "GET, HEAD, OPTIONS"]]) {
        const answer = await proxy.call({ method: "OPTIONS", path });
        assert.equal(answer.status, 204, answer.text);
        assert.equal(answer.get("allow"), allow);
        assert.equal(answer.get("access-control-allow-origin"), undefined);
    }
    assert.equal((await proxy.call({ method: "OPTIONS", path: "/nope" })).status, 404);
    const stranger = await raw(proxy.port,
        latin1(`OPTIONS ${CHAT} HTTP/1.1\r\nHost: localhost\r\n\r\n`), { method: "OPTIONS" });
    assert.equal(stranger.response.status, 401);
});

test("http: HEAD is GET without its body, its length told", async () => {
    for (const path of ["/healthz", "/v1/models", "/"]) {
        const one = await proxy.call({ method: "GET", path });
        const other = await proxy.call({ method: "HEAD", path });
        assert.equal(other.status, 200);
        assert.equal(other.get("content-length"), String(one.body.length));
        assert.equal(other.body.length, 0);
    }
});

/* ---- what is ambiguous is refused ---- */

const CHUNKED = `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}Transfer-Encoding: chunked\r\n`;
const HEAD = `POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}`;
const N = BODY.length;
for (const [what, text] of [
    ["two equal lengths", `${HEAD}Content-Length: ${N}\r\nContent-Length: ${N}\r\n\r\n${BODY}`],
    ["a list of lengths", `${HEAD}Content-Length: ${N}, ${N}\r\n\r\n${BODY}`],
    ["chunked and a length", `${CHUNKED}Content-Length: ${N}\r\n\r\n0\r\n\r\n`],
    ["chunked twice", `${CHUNKED}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["chunked not last", `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ["another transfer coding", `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ["a look-alike of chunked", `${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ["chunked behind a control", `${HEAD}Transfer-Encoding: \u000bchunked\r\n\r\n0\r\n\r\n`],
    ["chunked in quotes", `${HEAD}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`],
    ["chunked in HTTP/1.0", `POST ${CHAT} HTTP/1.0\r\nHost: a\r\n${AUTH}` +
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a folded header", `GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n`],
    ["a bare LF", "GET / HTTP/1.1\nHost: a\n\n"],
    ["a bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"],
    ["a bare CR in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n"],
    ["a bare CR before the request line", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\u0000: b\r\n\r\n"],
    ["a NUL in the target", "GET /\u0000 HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a blank before the colon", `${HEAD}Content-Length : ${N}\r\n\r\n${BODY}`],
    ["a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"],
    ["two blanks in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["a blank in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"],
    ["HTTP/0.9", "GET /\r\n\r\n"],
    ["no Host", "GET / HTTP/1.1\r\n\r\n"],
    ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"],
    ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"],
    ["a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"],
    ["a target with a user", "GET http://u@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["a target without a host", "GET http:///x HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["a target of another scheme", "GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["* without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["two Origins", "GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nOrigin: http://a\r\n\r\n"],
    ["a chunk size with a sign", `${CHUNKED}\r\n+5\r\nhello\r\n0\r\n\r\n`],
    ["a chunk size with a blank", `${CHUNKED}\r\n5 \r\nhello\r\n0\r\n\r\n`],
    ["a chunk size in C's hex", `${CHUNKED}\r\n0x5\r\nhello\r\n0\r\n\r\n`],
    ["an empty chunk size", `${CHUNKED}\r\n\r\nhello\r\n0\r\n\r\n`],
    ["a chunk size beyond 64 bits", `${CHUNKED}\r\n10000000000000000\r\nhello`],
    ["a chunk that is longer than its size", `${CHUNKED}\r\n5\r\nhelloX\r\n0\r\n\r\n`],
    ["a chunk size with a bare LF", `${CHUNKED}\r\n5\nhello\r\n0\r\n\r\n`],
    ["a bare LF in a chunk extension", `${CHUNKED}\r\n5;a=b\nc\r\nhello\r\n0\r\n\r\n`],
    ["a bare CR in a quoted extension", `${CHUNKED}\r\n5;a="\rb"\r\nhello\r\n0\r\n\r\n`],
    ["a folded trailer", `${CHUNKED}\r\n0\r\nX: y\r\n z\r\n\r\n`],
    ["a length as a trailer", `${CHUNKED}\r\n0\r\nContent-Length: 5\r\n\r\n`],
]) {
    test(`http: ${what}: 400, closed, and what follows it is not served`, async () => {
        const count = mock.posts().length;
        const { response } = await raw(proxy.port, Buffer.concat([latin1(text), post()]),
            { method: text.startsWith("GET") ? "GET" : "POST", wait_close: true });
        is_error(response, 400, "bad_request", /^Malformed HTTP request: ./);
        assert.match(response.get("connection"), /close/);
        assert.equal(mock.posts().length, count);
    });
}

test("http: chunked bodies: extensions and trailers are dropped, zeros before a size are not wrong",
    async () => {
        const at = Math.floor(N / 2);
        const { response } = await raw(proxy.port, latin1(`${CHUNKED}\r\n` +
            `0000${at.toString(16)};a;b="c d"\r\n${BODY.slice(0, at)}\r\n` +
            `${(N - at).toString(16).toUpperCase()}\r\n${BODY.slice(at)}\r\n` +
            "0;z\r\nHost: b\r\nAuthorization: Bearer other\r\nX-Trailer: t\r\n\r\n"));
        assert.equal(response.status, 200, response.text);
        assert.equal(mock.posts().at(-1).get("x-trailer"), undefined);
        assert.equal(mock.posts().at(-1).body.toString(), BODY.replace("mock:", ""));
    });

/* ---- versions, expectations, upgrades ---- */

test("http: HTTP/1.0: whole answers with a length, closed unless keep-alive was asked for",
    async () => {
        const old = (more) => latin1(`POST ${CHAT} HTTP/1.0\r\n${AUTH}${more}` +
            `Content-Length: ${N}\r\n\r\n${BODY}`);
        const { response } = await raw(proxy.port, old(""), { wait_close: true });
        assert.equal(response.status, 200, response.text);
        assert.equal(response.ended, "length");
        assert.match(response.get("connection"), /close/);
        const client = await Client.connect(proxy.port);
        for (let i = 0; i < 3; i++) {
            client.methods.push("POST");
            client.write(old("Connection: keep-alive\r\nExpect: 100-continue\r\n"));
            const answer = await client.response();
            assert.equal(answer.status, 200);
            assert.match(answer.get("connection"), /keep-alive/);
        }
        /* RFC 9110, 10.1.1: an expectation in HTTP/1.0 is to be ignored. */
        assert.equal(client.informational.length, 0);
        client.destroy();
    });

test("http: 100 Continue: once, after admission; another expectation is ignored", async () => {
    const client = await Client.connect(proxy.port);
    for (const expect of ["100-continue", "100-Continue", "x, 100-continue"]) {
        const before_it = client.informational.length;
        client.methods.push("POST");
        const bytes = post(`Expect: ${expect}\r\n`);
        client.write(bytes.subarray(0, bytes.length - N));
        await until(() => client.informational.length > before_it, "100 Continue");
        client.write(latin1(BODY));
        assert.equal((await client.response()).status, 200);
        assert.equal(client.informational.length, before_it + 1);
    }
    client.methods.push("POST");
    client.write(post("Expect: the-unexpected\r\n"));
    assert.equal((await client.response()).status, 200);
    assert.equal(client.informational.length, 3);
    /* Refused from the head: no 100, and the body is not waited for. */
    client.methods.push("POST");
    client.write(latin1(`POST ${CHAT} HTTP/1.1\r\nHost: a\r\n${AUTH}Expect: 100-continue\r\n` +
        `Content-Length: ${1 << 30}\r\n\r\n`));
    is_error(await client.response(), 413, "request_too_large", /body_bytes_max/);
    assert.equal(client.informational.length, 3);
    client.destroy();
});

test("http: websockets are 426 on every path; other upgrades are ignored", async () => {
    const upgrade = (what) => `Connection: Upgrade\r\nUpgrade: ${what}\r\n`;
    for (const path of ["/v1/chat/completions", "/v1/realtime", "/", "/healthz", "/metrics"]) {
        const { response } = await raw(proxy.port, get(path, AUTH + upgrade("websocket") +
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        { method: "GET" });
        assert.equal(response.status, 426, path);
        assert.match(response.get("upgrade"), /HTTP\/1\.1/);
        assert.match(response.get("connection"), /upgrade/i);
    }
    const { response } = await raw(proxy.port, post(upgrade("h2c") + "HTTP2-Settings: AAMAAABk\r\n"));
    assert.equal(response.status, 200, response.text);
});

test("http: what any Connection line names does not go up", async () => {
    const { response } = await raw(proxy.port, post("Connection: keep-alive\r\nX-Title: one\r\n" +
        "OpenAI-Beta: two\r\nIdempotency-Key: three\r\nConnection: x-title, OpenAI-Beta\r\n"));
    assert.equal(response.status, 200, response.text);
    const up = mock.posts().at(-1);
    assert.equal(up.get("x-title"), undefined);
    assert.equal(up.get("openai-beta"), undefined);
    assert.equal(up.get("idempotency-key"), "three");
});

/* ---- compressed bodies ---- */

const gzip = (value) => zlib.gzipSync(typeof value === "string" ? value : JSON.stringify(value));
const coded = (body, coding = "gzip", more = "") => Buffer.concat([latin1(
    `${HEAD}Content-Encoding: ${coding}\r\n${more}Content-Length: ${body.length}\r\n\r\n`), body]);

for (const coding of ["gzip", "x-gzip", "GZIP", "identity, gzip"]) {
    test(`http: a body in ${coding} is unpacked and goes up plain`, async () => {
        const { response } = await raw(proxy.port, coded(gzip(BODY), coding));
        assert.equal(response.status, 200, response.text);
        const up = mock.posts().at(-1);
        assert.equal(up.get("content-encoding"), undefined);
        assert.equal(up.body.toString(), BODY.replace("mock:", ""));
    });
}

test("http: a gzip body may come in chunks, byte by byte, in several members", async () => {
    const bytes = Buffer.concat([gzip(BODY.slice(0, 20)), gzip(BODY.slice(20))]);
    const chunks = Array.from(bytes, (_, i) => chunk(bytes.subarray(i, i + 1)));
    const client = await Client.connect(proxy.port);
    client.methods.push("POST");
    client.write(latin1(`${CHUNKED}Content-Encoding: gzip\r\n\r\n`));
    for (const part of chunks) {
        client.write(part);
        await new Promise((resolve) => setImmediate(resolve));
    }
    client.write(latin1("0\r\n\r\n"));
    const answer = await client.response();
    assert.equal(answer.status, 200, answer.text);
    assert.equal(mock.posts().at(-1).body.toString(), BODY.replace("mock:", ""));
    client.destroy();
});

test("http: a gzip body that is damaged or breaks off is 400, and nothing goes up", async () => {
    const bytes = gzip(BODY);
    const damaged = Buffer.from(bytes);
    damaged[damaged.length - 6] ^= 0x55;
    const count = mock.posts().length;
    for (const body of [bytes.subarray(0, bytes.length - 1), bytes.subarray(0, 12), damaged,
        Buffer.from("no gzip at all")]) {
        is_error((await raw(proxy.port, coded(body))).response, 400, null, /gzip/);
    }
    assert.equal(mock.posts().length, count);
    /* The body of one that breaks off was read whole: the connection lives on. */
    const client = await Client.connect(proxy.port);
    for (const [body, status] of [[bytes.subarray(0, 12), 400], [bytes, 200]]) {
        client.methods.push("POST");
        client.write(coded(body));
        assert.equal((await client.response()).status, status);
    }
    client.destroy();
});

test("http: other codings are 415", async () => {
    for (const coding of ["deflate", "br", "zstd", "gzip, gzip", "compress",
        "gzip\r\nContent-Encoding: gzip"]) {
        const { response } = await raw(proxy.port, coded(gzip(BODY), coding));
        assert.equal(response.status, 415, coding);
        assert.match(response.get("accept-encoding"), /gzip/);
    }
});

test("http: body_bytes_max counts what was unpacked, and is met exactly", async () => {
    const max = 64 * 1024;
    const small = await start({ config: { body_bytes_max: max,
        backends: { mock: backend(mock) } } });
    const sized = (n) => {
        const empty = JSON.stringify({ model: "mock:m1", user: "",
            messages: [{ role: "user", content: "x" }] });
        return empty.replace("\"user\":\"\"", `"user":"${"u".repeat(n - empty.length)}"`);
    };
    assert.equal((await raw(small.port, coded(gzip(sized(max))))).response.status, 200);
    for (const body of [gzip(sized(max + 1)), gzip("x".repeat(100 << 20))]) {
        const { response } = await raw(small.port, coded(body));
        is_error(response, 413, "request_too_large", /body_bytes_max/);
    }
    await small.stop();
});

/* ---- time and number ---- */

test("http: header_timeout is for the whole head: a byte now and then does not help", async () => {
    const hasty = await start({ config: { header_timeout: "500ms",
        backends: { mock: backend(mock) } } });
    const at = now();
    const client = await Client.connect(hasty.port);
    const drip = setInterval(() => client.write(latin1("x")), 50);
    client.methods.push("GET");
    client.write(latin1("GET / HTTP/1.1\r\nHost: a\r\nX: "));
    const answer = await client.response();
    clearInterval(drip);
    is_error(answer, 408, "request_timeout", /header_timeout/);
    assert.ok(now() - at >= 400);
    await within(5_000, "the proxy closes", client.closed);
    const silent = await Client.connect(hasty.port);
    await limited(8_000, "a client that sends nothing is let go", silent.closed);
    await hasty.stop();
});

test("http: after a refused head the rest is read for a second at most, and not answered",
    () => in_time(1_000, async () => {
        const client = await Client.connect(proxy.port);
        client.methods.push("GET");
        client.write(get("/", `X: ${"x".repeat(40_000)}\r\n`));
        const answer = await client.response();
        const at = now();
        is_error(answer, 431, "headers_too_large", /header_bytes_max/);
        const drip = setInterval(() => client.write(get("/healthz")), 50);
        const closed = new Promise((resolve) => client.socket.on("close", resolve));
        await within(10_000, "the connection is closed", closed);
        clearInterval(drip);
        assert.ok(now() - at < (SLOW ? 8_000 : 3_000), `${now() - at} ms`);
        assert.equal(client.responses.length, 0, "a request behind a refused one was answered");
    }));

test("http: body_idle_timeout ends a body that stopped coming", async () => {
    const hasty = await start({ config: { body_idle_timeout: "300ms",
        backends: { mock: backend(mock) } } });
    const { response } = await raw(hasty.port, post().subarray(0, -5), { wait_close: true });
    is_error(response, 408, "request_timeout", /body_idle_timeout/);
    await hasty.stop();
});

test("http: write_timeout lets go of a client that takes nothing, and of its upstream", async () => {
    const hasty = await start({ config: { write_timeout: "500ms",
        backends: { mock: backend(mock) } } });
    let upstream;
    mock.next(async (ex) => {
        upstream = ex;
        await ex.open_stream();
        for (let i = 0; i < 4_000 && !ex.socket.destroyed; i++) {
            await ex.event(delta("m1", { content: "y".repeat(16_384) }));
        }
    });
    const client = await Client.connect(hasty.port);
    client.send({ path: CHAT, headers: hasty.headers(), body: BODY.replace("{", "{\"stream\":true,") });
    await client.head();
    client.socket.pause();
    await limited(40_000, "the upstream is let go", upstream.closed);
    client.destroy();
    await hasty.stop();
});

test("http: connections beyond connections_max get 503, those that were served go on", async () => {
    const full = await start({ config: { connections_max: 2, workers: 2,
        backends: { mock: backend(mock) } } });
    const ask = async (client) => {
        client.send({ path: CHAT, headers: full.headers(), body: BODY });
        return client.response();
    };
    /* Until the program has noticed that the one who saw it start has left. */
    const early = [];
    for (const end = now() + 60_000; early.length < 2;) {
        const client = await Client.connect(full.port);
        const { status } = await ask(client);
        if (status === 200) {
            early.push(client);
        } else {
            assert.equal(status, 503);
            assert.ok(now() < end, "the place of one that left stays taken");
            client.destroy();
        }
    }
    const late = await Client.connect(full.port);
    const answer = await ask(late);
    is_error(answer, 503, "overloaded", /connections_max/);
    assert.match(answer.get("retry-after"), /^\d+$/);
    await within(5_000, "the late one is closed", late.closed);
    for (const client of early) {
        assert.equal((await ask(client)).status, 200);
    }
    /* Probes are answered however full it is; far beyond the limit connections are closed. */
    const crowd = [];
    for (let i = 0; i < 200; i++) {
        crowd.push(await Client.connect(full.port));
    }
    const probe = crowd[0];
    probe.send({ method: "GET", path: "/healthz" });
    assert.equal((await probe.response()).status, 200);
    await within(10_000, "the last of a crowd is closed", crowd.at(-1).closed);
    for (const client of crowd) {
        client.destroy();
    }
    early[0].destroy();
    const end = now() + 60_000;
    for (;;) {
        const next = await Client.connect(full.port);
        const again = await ask(next).catch(() => null);
        next.destroy();
        if (again?.status === 200) {
            break;
        }
        assert.ok(now() < end, "the place of one that left stays taken");
    }
    early[1].destroy();
    await full.stop();
});
