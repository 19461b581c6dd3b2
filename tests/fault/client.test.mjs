/* SPDX-License-Identifier: MIT */
/*
 * Clients that do everything a client may not do: read slowly or never, leave at any moment, send
 * too slowly, too much, or bytes that two parsers would read differently.
 *
 * For each: what it got, what the upstream got of it, that its upstream request is cancelled, that
 * other clients are served meanwhile, and that nothing is left behind.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { after, before, beforeEach } from "node:test";
import zlib from "node:zlib";

import { limited, now, open, request_bytes, within } from "../e2e/lib/http1.mjs";
import { Mock, chunk, delta, head_bytes, openai, sse, text_chunks }
    from "../e2e/lib/mock.mjs";
import { KEY, SLOW, backend, gone_at_once, held_up_for, in_time, start, stop_all, test }
    from "../e2e/lib/proxy.mjs";
import { SEED, random } from "../e2e/lib/random.mjs";
import { baseline, settled, until } from "./settled.mjs";

const CHAT = "/v1/chat/completions";
const HEAD_MS = SLOW ? 6000 : 2000;
const WRITE_MS = SLOW ? 3000 : 800;
const CROWD = SLOW ? 300 : 1000;
const CONNECTIONS_MAX = 40;
/* A sanitizer keeps what was freed. */
const GROWTH_MAX_KIB = (SLOW ? 600 : 16) * 1024;
const turn = (ms = 0) => new Promise((wake) => setTimeout(wake, ms));

let mock;
let proxy;          /* short times for the slow */
let patient;        /* default times, for all that must not run into them */
let narrow;         /* few connections */

before(async () => {
    mock = await Mock.start();
    const backends = { mock: backend(mock) };
    proxy = await start({ config: { backends, header_timeout: `${HEAD_MS}ms`,
        body_idle_timeout: `${HEAD_MS}ms`, keepalive_timeout: `${2 * HEAD_MS}ms`,
        write_timeout: `${WRITE_MS}ms`, workers: 2 } });
    patient = await start({ config: { backends, workers: 2, forward_headers: ["x-forwarded"] } });
    narrow = await start({ config: { backends, connections_max: CONNECTIONS_MAX } });
    for (const p of [proxy, patient, narrow]) {
        await works(p);
        await baseline(p);
    }
});

after(() => stop_all(proxy, patient, narrow, mock));

beforeEach(() => {
    mock.queue.length = 0;
    mock.requests.length = 0;
    mock.fallback = openai;
});

const body_of = (model, stream = false, more = {}) => JSON.stringify({ model, stream,
    messages: [{ role: "user", content: "x" }], ...more });

const chat_bytes = (p, model, stream = false, more = {}) => request_bytes({ path: CHAT,
    port: p.port, headers: p.headers(), body: body_of(model, stream, more) });

async function works(p) {
    const answer = await p.chat(body_of("mock:m1"));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.choices[0].message.content, "Hello from m1");
}

/** A bare socket: what it got, and how it ended. */
class Bare {
    static async connect(p) {
        const bare = new Bare();
        bare.socket = net.connect({ port: p.port, host: "127.0.0.1", allowHalfOpen: true });
        bare.got = [];
        bare.ended = null;
        bare.socket.on("data", (bytes) => bare.got.push(bytes));
        bare.closed = new Promise((resolve) => {
            const gone = (how) => () => {
                bare.ended ??= how;
                resolve(bare.ended);
            };
            bare.socket.on("end", gone("fin"));
            bare.socket.on("error", gone("rst"));
            bare.socket.on("close", gone("close"));
        });
        await once(bare.socket, "connect");
        bare.socket.setNoDelay(true);
        open.add(bare);
        bare.socket.on("close", () => open.delete(bare));
        return bare;
    }

    abandon() {
        this.socket.destroy();
    }

    get text() {
        return Buffer.concat(this.got).toString("latin1");
    }

    /** The status of each answer in what came. */
    get statuses() {
        return [...this.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((m) => Number(m[1]));
    }

    leave(how) {
        if (how === "rst") {
            this.socket.resetAndDestroy();
        } else {
            this.socket.destroy();
        }
    }
}

/* ---- Slow readers ---- */

/** Streams until the connection ends. */
async function endless(ex) {
    await ex.open_stream();
    while (!ex.socket.destroyed && ex.socket.writable) {
        await ex.event(delta("m1", { content: "x".repeat(8000) }));
        await turn();
    }
}

test("client: one that does not read is closed after write_timeout, its upstream let go",
    async (t) => {
        mock.fallback = endless;
        const before_kib = proxy.rss_kib();
        const readers = [];
        const count = 10;
        for (let i = 0; i < count; i++) {
            const bare = await Bare.connect(proxy);
            bare.socket.pause();
            bare.socket.write(chat_bytes(proxy, "mock:slow", true));
            readers.push(bare);
        }
        await until(() => mock.posts().length === count, "all requests at the upstream");
        const exchanges = mock.posts();
        let most = 0;
        const watch = setInterval(() => { most = Math.max(most, proxy.rss_kib()); }, 20);
        for (const ex of exchanges) {
            await limited(50_000, "the upstream is cancelled", ex.closed);
        }
        clearInterval(watch);
        t.diagnostic(`${count} slow readers: ${most - before_kib} KiB`);
        assert.ok(most - before_kib < GROWTH_MAX_KIB, `${most - before_kib} KiB`);
        for (const bare of readers) {
            bare.socket.resume();
            assert.ok(["rst", "fin"].includes(await within(10_000, "closed", bare.closed)));
            assert.ok(!bare.text.includes("[DONE]"));
            assert.ok(!bare.text.endsWith("0\r\n\r\n"), "no end that claims success");
            bare.leave();
        }
        mock.fallback = openai;
        await works(proxy);
        await settled(proxy);
    });

test("client: one that reads a little now and then is served to the end", async () => {
    const words = Array.from({ length: 400 }, (_, i) => `${i} ${"w".repeat(4000)}`);
    const whole = sse(text_chunks("m1", words));
    mock.fallback = (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
        framing: "chunked", body: whole });
    await in_time(WRITE_MS / 4, async () => {
        const client = await proxy.connect();
        client.send({ path: CHAT, headers: proxy.headers(), body: body_of("mock:m1", true) });
        const answer = await client.head();
        while (!answer.ended) {
            client.socket.pause();
            await turn(WRITE_MS / 20);
            client.socket.resume();
            await turn();
        }
        client.destroy();
        assert.equal(answer.text, whole);
    });
    await settled(proxy);
});

/* ---- Leaving ---- */

/* What was sent when the client leaves, and what the upstream does meanwhile. */
const STATES = {
    "before any byte": { bytes: () => "" },
    "in the request line": { bytes: () => "POST /v1/ch" },
    "in the headers": { bytes: (all) => all.subarray(0, 60) },
    "behind the headers": { bytes: (all) => all.subarray(0, all.indexOf("\r\n\r\n") + 4) },
    "in the body": { bytes: (all) => all.subarray(0, all.length - 10) },
    "in a chunk": { bytes: (all) => chunked_of(all).subarray(0, -10) },
    "while the upstream is silent": { bytes: (all) => all, upstream: () => {} },
    "while the upstream is in its head": { bytes: (all) => all,
        upstream: (ex) => ex.write(Buffer.from("HTTP/1.1 200 OK\r\ncontent-")) },
    "while the upstream is in a whole body": { bytes: (all) => all, upstream: (ex) =>
        ex.write(Buffer.concat([head_bytes(200, { "content-type": "application/json",
            "content-length": 1000 }), Buffer.from("{\"id\"")])) },
    "behind the head of a stream": { stream: true, bytes: (all) => all, upstream: (ex) =>
        ex.open_stream() },
    "in a stream": { stream: true, bytes: (all) => all, heard: true, upstream: async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { content: "so far" }));
    } },
    "in an event of a stream": { stream: true, bytes: (all) => all, heard: true,
        upstream: async (ex) => {
            await ex.open_stream();
            await ex.event(`data: ${JSON.stringify(delta("m1", { content: "a" }))}\n\ndata: {"i`);
        } },
    "with a further request sent ahead": { bytes: (all) => Buffer.concat([all, all]),
        upstream: () => {} },
    "with half a further request sent ahead": { bytes: (all) => Buffer.concat([all,
        all.subarray(0, 50)]), upstream: () => {} },
};

function chunked_of(all) {
    const end = all.indexOf("\r\n\r\n");
    const head = all.toString("latin1", 0, end).replace(/\r\nContent-Length: \d+/i,
        "\r\nTransfer-Encoding: chunked");
    return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), chunk(all.subarray(end + 4)),
        Buffer.from("0\r\n\r\n")]);
}

for (const [name, state] of Object.entries(STATES)) {
    for (const how of ["fin", "rst", "half"]) {
        test(`client: leaves ${name}, ${how === "half" ? "by a half-close" : `by ${how}`}`,
            async () => {
                mock.fallback = state.upstream ?? openai;
                const bare = await Bare.connect(patient);
                const bytes = state.bytes(chat_bytes(patient, "mock:m1", state.stream));
                if (bytes.length > 0) {
                    bare.socket.write(bytes);
                }
                if (state.upstream) {
                    await until(() => mock.posts().length > 0, "the request at the upstream");
                }
                if (state.heard) {
                    await until(() => bare.text.includes("data:"), "the first event");
                }
                const leave = async () => {
                    if (how !== "half") {
                        bare.leave(how);
                        return;
                    }
                    bare.socket.end();
                    await within(10_000, "the proxy closes too", bare.closed);
                    assert.ok(bare.statuses.every((s) => s === 400 || s === 200), bare.text);
                    assert.ok(state.heard || !bare.statuses.includes(200), bare.text);
                    bare.leave();
                };
                if (state.upstream) {
                    await gone_at_once(patient, leave, mock.posts()[0].closed,
                        "the upstream is cancelled");
                } else {
                    await leave();
                }
                assert.ok(mock.posts().length <= 1, "what was sent ahead is not begun");
                assert.equal(mock.posts().length === 1, state.upstream !== undefined);
                mock.fallback = openai;
                await works(patient);
                await settled(patient);
            });
    }
}

test("client: leaves behind random bytes of pipelined requests, 300 times", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const rng = random("leaves");
    mock.fallback = async (ex) => {
        if (ex.json.stream) {
            await ex.open_stream();
            await ex.event(delta("m1", { content: "a" }));
            await turn(rng.below(3));
            await ex.event(delta("m1", {}, "stop"));
            await ex.close_stream();
        } else {
            await openai(ex);
        }
    };
    const all = Buffer.concat([chat_bytes(patient, "mock:m1", true), chat_bytes(patient,
        "mock:m2"), chunked_of(chat_bytes(patient, "mock:m1")), request_bytes({ method: "GET",
        path: "/healthz", port: patient.port })]);
    for (let round = 0; round < (SLOW ? 10 : 30); round++) {
        await Promise.all(Array.from({ length: 10 }, async () => {
            const bare = await Bare.connect(patient);
            bare.socket.write(all.subarray(0, rng.below(all.length + 1)));
            await turn(rng.below(8));
            bare.leave(rng.pick(["fin", "rst"]));
        }));
    }
    mock.fallback = openai;
    await works(patient);
    await settled(patient);
});

/* ---- Smuggling ---- */

const SMUGGLED = `POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${KEY}\r\n` +
    `Content-Type: application/json\r\nX-Smuggled: 1\r\nContent-Length: ${
        Buffer.byteLength(body_of("mock:smuggled"))}\r\n\r\n${body_of("mock:smuggled")}`;
const BODY = body_of("mock:m1");
const LEN = BODY.length;
const HEX = LEN.toString(16);
const head = (lines, line = `POST ${CHAT} HTTP/1.1`) => `${line}\r\nHost: localhost\r\n` +
    `Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n${lines}\r\n`;
const CHUNKED = "Transfer-Encoding: chunked\r\n";
const TAIL = "0\r\n\r\n";
/* refused: 400 (or another error), the connection closed, the upstream has seen nothing.
 * body: everything up to `ahead` is one request; what follows is its body. */
const SMUGGLERS = {
    "a length and chunked": head(`Content-Length: ${LEN}\r\n${CHUNKED}`) +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "chunked and a length": head(`${CHUNKED}Content-Length: 4\r\n`) +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "chunked and a length of 0": head(`${CHUNKED}Content-Length: 0\r\n`) + TAIL,
    "two lengths": head(`Content-Length: ${LEN}\r\nContent-Length: 0\r\n`) + BODY,
    "two equal lengths": head(`Content-Length: ${LEN}\r\nContent-Length: ${LEN}\r\n`) + BODY,
    "a list of lengths": head(`Content-Length: ${LEN}, ${LEN}\r\n`) + BODY,
    "a length with a sign": head(`Content-Length: +${LEN}\r\n`) + BODY,
    "a hexadecimal length": head(`Content-Length: 0x${HEX}\r\n`) + BODY,
    "a length with a blank in it": head("Content-Length: 1 0\r\n") + BODY,
    "an empty length": head("Content-Length: \r\n") + BODY,
    "a negative length": head("Content-Length: -1\r\n") + BODY,
    "a length that no integer holds": head("Content-Length: 18446744073709551616\r\n") + BODY,
    "a length with a tab and letters": head("Content-Length: 5\tx\r\n") + BODY,
    "TE.TE: two codings": head(`${CHUNKED}Transfer-Encoding: identity\r\n`) +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: identity first": head(`Transfer-Encoding: identity\r\n${CHUNKED}`) +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: twice chunked": head(CHUNKED + CHUNKED) + `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: xchunked": head(`Transfer-Encoding: xchunked\r\nContent-Length: ${LEN}\r\n`) + BODY,
    "TE.TE: a list that ends otherwise": head("Transfer-Encoding: chunked, identity\r\n") +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: gzip, chunked": head("Transfer-Encoding: gzip, chunked\r\n") +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: quoted": head("Transfer-Encoding: \"chunked\"\r\n") + `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: a vertical tab": head("Transfer-Encoding: \u000bchunked\r\n") +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: a blank before the colon": head(`Transfer-Encoding : chunked\r\nContent-Length: ${
        LEN}\r\n`) + BODY,
    "TE.TE: a NUL": head("Transfer-Encoding: chunked\u0000\r\n") + `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "TE.TE: obs-fold": head(`Transfer-Encoding:\r\n chunked\r\nContent-Length: ${LEN}\r\n`) +
        BODY,
    "TE.TE: hidden behind a bare LF": head(`X-A: b\nTransfer-Encoding: chunked\r\n` +
        `Content-Length: ${LEN}\r\n`) + BODY,
    "TE.TE: hidden behind a bare CR": head(`X-A: b\rTransfer-Encoding: chunked\r\n` +
        `Content-Length: ${LEN}\r\n`) + BODY,
    "chunked in HTTP/1.0": head(CHUNKED, `POST ${CHAT} HTTP/1.0`) +
        `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "a folded header": head(`X-A: 1\r\n 2\r\nContent-Length: ${LEN}\r\n`) + BODY,
    "a first header that is folded": `POST ${CHAT} HTTP/1.1\r\n Host: a\r\n\r\n`,
    "a head of bare LFs": (head(`Content-Length: ${LEN}\r\n`) + BODY).replaceAll("\r\n", "\n"),
    "an empty line of a bare LF": head(`Content-Length: ${LEN}`).slice(0, -2) + `\n${BODY}`,
    "an empty line of CR CR LF": head("X-A: 1").slice(0, -2) + "\r\r\n",
    "a chunk size with a sign": head(CHUNKED) + `+${HEX}\r\n${BODY}\r\n${TAIL}`,
    "a chunk size with 0x": head(CHUNKED) + `0x${HEX}\r\n${BODY}\r\n${TAIL}`,
    "a chunk size with a blank in it": head(CHUNKED) + `${HEX} 1\r\n${BODY}\r\n${TAIL}`,
    "a chunk size before it": head(CHUNKED) + ` ${HEX}\r\n${BODY}\r\n${TAIL}`,
    "a chunk size with underscores": head(CHUNKED) + `1_0\r\n${BODY}\r\n${TAIL}`,
    "a chunk size that no integer holds": head(CHUNKED) + `10000000000000000${HEX}\r\n${BODY}\r\n`,
    "an empty chunk size": head(CHUNKED) + `\r\n${BODY}\r\n${TAIL}`,
    "a chunk line that ends with LF": head(CHUNKED) + `${HEX}\n${BODY}\r\n${TAIL}`,
    "a chunk line that ends with CR": head(CHUNKED) + `${HEX}\r${BODY}\r\n${TAIL}`,
    "a chunk extension with a bare LF": head(CHUNKED) + `${HEX};a\nb\r\n${BODY}\r\n${TAIL}`,
    "a chunk extension with a bare CR": head(CHUNKED) + `${HEX};a\rb\r\n${BODY}\r\n${TAIL}`,
    "a chunk that ends with LF": head(CHUNKED) + `${HEX}\r\n${BODY}\n${TAIL}`,
    "a chunk that does not end": head(CHUNKED) + `${HEX}\r\n${BODY}XX${TAIL}`,
    "a chunk longer than it says": head(CHUNKED) + `5\r\n${BODY}\r\n${TAIL}`,
    "a last chunk that ends with LF": head(CHUNKED) + `${HEX}\r\n${BODY}\r\n0\n\n`,
    "a trailer that is folded": head(CHUNKED) + `${HEX}\r\n${BODY}\r\n0\r\nX-A: 1\r\n b\r\n\r\n`,
    "a trailer with a NUL": head(CHUNKED) + `${HEX}\r\n${BODY}\r\n0\r\nX-A: \u0000\r\n\r\n`,
    "two Hosts": head(`Host: other\r\nContent-Length: ${LEN}\r\n`) + BODY,
    "a request line with two blanks": head(`Content-Length: ${LEN}\r\n`,
        `POST  ${CHAT} HTTP/1.1`) + BODY,
    "a request line with a tab": head(`Content-Length: ${LEN}\r\n`,
        `POST\t${CHAT} HTTP/1.1`) + BODY,
    "a target with a blank": head(`Content-Length: ${LEN}\r\n`, `POST ${CHAT} x HTTP/1.1`) + BODY,
    "a target with a NUL": head(`Content-Length: ${LEN}\r\n`, `POST ${CHAT}\u0000 HTTP/1.1`) +
        BODY,
    "HTTP/1.10": head(`Content-Length: ${LEN}\r\n`, `POST ${CHAT} HTTP/1.10`) + BODY,
    "HTTP/1.2 and more": head(`Content-Length: ${LEN}\r\n`, `POST ${CHAT} HTTP/1.1x`) + BODY,
    "HTTP/0.9": `GET /smuggled\r\n\r\n`,
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method of small letters": head(`Content-Length: ${LEN}\r\n`, `post ${CHAT} HTTP/1.1`) +
        BODY,
};

for (const [name, text] of Object.entries(SMUGGLERS)) {
    test(`client: smuggling by ${name}: one refusal, and not a byte behind it is a request`,
        async () => {
            const bytes = Buffer.from(text + SMUGGLED + SMUGGLED, "latin1");
            /* In one write, and so that each part is a read of its own. */
            for (const at of [bytes.length, Buffer.byteLength(text, "latin1")]) {
                const bare = await Bare.connect(patient);
                bare.socket.write(bytes.subarray(0, at));
                if (at < bytes.length) {
                    await turn(3);
                    bare.socket.write(bytes.subarray(at));
                }
                await within(15_000, "the proxy closes", bare.closed);
                bare.leave();
                assert.deepEqual(bare.statuses.map((s) => s >= 400 && s < 500), [true],
                    bare.text);
                assert.equal(bare.statuses[0], 400, bare.text);
                assert.match(bare.text, /"bad_request"|"invalid_request_error"/);
                assert.match(bare.text, /\r\nconnection: close\r\n/i);
            }
            assert.deepEqual(mock.posts().map((ex) => ex.json.model), [], "nothing went on");
            await works(patient);
            await settled(patient);
        });
}

/* Odd, but with one meaning only: what follows is the next request, and no more. */
const ODD = {
    "chunk extensions": head(CHUNKED) + `${HEX};a=b;c="d;e"\r\n${BODY}\r\n0;z\r\n\r\n`,
    "a chunk size with zeros before it": head(CHUNKED) + `000${HEX}\r\n${BODY}\r\n00\r\n\r\n`,
    "capital hexadecimal": head(CHUNKED) + `${HEX.toUpperCase()}\r\n${BODY}\r\n${TAIL}`,
    "Chunked": head("transfer-ENCODING: Chunked\r\n") + `${HEX}\r\n${BODY}\r\n${TAIL}`,
    "trailers that would be framing": head(CHUNKED) + `${HEX}\r\n${BODY}\r\n0\r\n` +
        "X-Trailer: 1\r\n\r\n",
    "blank lines before the request": `\r\n\r\n${head(`Content-Length: ${LEN}\r\n`)}${BODY}`,
    "a length with zeros before it": head(`Content-Length: 000${LEN}\r\n`) + BODY,
    "blanks around a value": head(`Content-Length:   ${LEN}  \r\n`) + BODY,
    "a body that looks like a request": head(`Content-Length: ${LEN}\r\n`) + BODY,
};

for (const [name, text] of Object.entries(ODD)) {
    test(`client: ${name}: the request is read as what it is, and the next one is the next`,
        async () => {
            const next = request_bytes({ method: "GET", path: "/healthz", port: patient.port });
            const bare = await Bare.connect(patient);
            bare.socket.write(Buffer.concat([Buffer.from(text, "latin1"), next]));
            await until(() => bare.statuses.length >= 2 || bare.ended, "two answers");
            await turn(5);
            assert.deepEqual(bare.statuses, [200, 200], bare.text);
            bare.leave();
            assert.deepEqual(mock.posts().map((ex) => ex.json.model), ["m1"]);
            assert.deepEqual(mock.posts()[0].json.messages, JSON.parse(BODY).messages);
            await settled(patient);
        });
}

test("client: a GET with a body does not make a request of it", async () => {
    const inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (const [framing, bytes] of [[`Content-Length: ${inner.length}\r\n`, inner],
        [CHUNKED, `${inner.length.toString(16)}\r\n${inner}\r\n${TAIL}`]]) {
        const bare = await Bare.connect(patient);
        bare.socket.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n${framing}\r\n${bytes}` +
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        await until(() => bare.statuses.length >= 2 || bare.ended, "the answers");
        assert.ok(bare.statuses.every((s) => s === 200 || s === 400), bare.text);
        assert.ok(!bare.text.includes("smuggled"), bare.text);
        bare.leave();
    }
    await settled(patient);
});

/* ---- Coded bodies ---- */

const coded = (coding, body, more = "") => Buffer.concat([Buffer.from(head(
    `Content-Encoding: ${coding}\r\nContent-Length: ${body.length}\r\n${more}`)), body]);
const gzip = (text) => zlib.gzipSync(Buffer.from(text));
const damaged = (bytes, at) => {
    const copy = Buffer.from(bytes);
    copy[copy.length + at] ^= 0xff;
    return copy;
};
const CODED = {
    "gzip": [coded("gzip", gzip(BODY)), [200]],
    "gzip cut off": [coded("gzip", gzip(BODY).subarray(0, -20)), [400]],
    "gzip without its trailer": [coded("gzip", gzip(BODY).subarray(0, -8)), [400]],
    "gzip with a wrong checksum": [coded("gzip", damaged(gzip(BODY), -6)), [400]],
    "gzip that is not": [coded("gzip", Buffer.from(BODY)), [400]],
    "gzip and something behind it": [coded("gzip", Buffer.concat([gzip(BODY),
        Buffer.from("GET /smuggled HTTP/1.1\r\n\r\n")])), [200, 400]],
    "an empty body that is to be gzip": [coded("gzip", Buffer.alloc(0)), [400]],
    "a gzip bomb": [coded("gzip", gzip(Buffer.alloc(90 * 1024 * 1024, 32))), [413]],
    "a gzip bomb of JSON": [coded("gzip", gzip(BODY.replace("\"x\"",
        () => `"${"x".repeat(30 * 1024 * 1024)}"`))), [200, 413]],
    "a gzip bomb in a gzip bomb": [coded("gzip", gzip(gzip(Buffer.alloc(90 << 20, 32)))), [400]],
    "br": [coded("br", zlib.brotliCompressSync(Buffer.from(BODY))), [415]],
    "a coding that nobody knows": [coded("rot13", Buffer.from(BODY)), [415]],
};

for (const [name, [bytes, wanted]] of Object.entries(CODED)) {
    test(`client: a body in ${name}: ${wanted.join(" or ")}, and the next request works`,
        async () => {
            const before_kib = patient.rss_kib();
            const bare = await Bare.connect(patient);
            bare.socket.write(bytes);
            await until(() => bare.statuses.length > 0 || bare.ended, "an answer", 20_000);
            await turn(5);
            assert.equal(bare.statuses.length, 1, bare.text);
            assert.ok(wanted.includes(bare.statuses[0]), bare.text);
            assert.ok(!bare.text.includes("smuggled"), bare.text);
            bare.leave();
            assert.equal(mock.posts().length, bare.statuses[0] === 200 ? 1 : 0);
            await works(patient);
            await settled(patient);
            assert.ok(patient.rss_kib() - before_kib < GROWTH_MAX_KIB * 4);
        });
}

/* ---- Header injection ---- */

const EVIL = "\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
const INJECTIONS = {
    "the model": { body: (e) => body_of(`mock:m1${e}`) },
    "the backend's name": { body: (e) => body_of(`mo${e}ck:m1`) },
    "a model without a backend": { body: (e) => body_of(`m1${e}`) },
    "the model, a stream": { body: (e) => body_of(`mock:m1${e}`, true) },
    "session_id in the body": { body: (e) => body_of("mock:m1", false, { session_id: `s${e}` }) },
    "user": { body: (e) => body_of("mock:m1", false, { user: `u${e}` }) },
    "the query, percent-encoded": { path: (e) => `${CHAT}?a=${encodeURIComponent(e)}` },
    "the query's name": { path: (e) => `${CHAT}?${encodeURIComponent(e)}=1` },
    "a percent-encoded path": { path: (e) => `/v1/models/${encodeURIComponent(e)}`, get: true },
    "the session, percent-encoded": { headers: (e) => ({ "X-Session-Id":
        `s${encodeURIComponent(e)}` }) },
    "the idempotency key, percent-encoded": { headers: (e) => ({ "Idempotency-Key":
        encodeURIComponent(e), "X-Title": encodeURIComponent(e) }) },
};

for (const [where, how] of Object.entries(INJECTIONS)) {
    test(`client: line breaks in ${where} are no headers, neither up nor down`, async () => {
        for (const evil of [EVIL, EVIL.replaceAll("\r\n", "\n"), EVIL.replaceAll("\r\n", "\r"),
            `\u0000${EVIL}`, EVIL.replaceAll("\r\n", "\u010d\u010a"), "\u2028X-Evil: 1\u2028"]) {
            const client = await patient.connect();
            client.send({ method: how.get ? "GET" : "POST", path: how.path?.(evil) ?? CHAT,
                headers: [...patient.headers(), ...Object.entries(how.headers?.(evil) ?? {})],
                body: how.get ? null : how.body?.(evil) ?? BODY });
            const answer = await client.response();
            assert.ok(answer.status === 200 || (answer.status >= 400 && answer.status < 500),
                `${answer.status} ${answer.text}`);
            assert.ok(!answer.head.names().includes("x-evil"), answer.head.raw.toString());
            assert.ok(!/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u00ff]/.test(
                answer.head.raw.toString("latin1")), "only visible ASCII in the head");
            /* Nor is there another answer on this connection. */
            client.send({ method: "GET", path: "/healthz" });
            assert.equal((await client.response()).text, "{\"status\":\"ok\"}\n");
            client.destroy();
        }
        for (const ex of mock.requests) {
            assert.ok(!ex.head.names().includes("x-evil"), ex.head.raw.toString());
            assert.ok(!ex.target.includes("/evil"), ex.target);
        }
        assert.deepEqual(mock.errors, []);
        await settled(patient);
    });
}

/* Each header that goes up is held against what Connection names: once, not once for each. */
test("client: a large head in which Connection names much is read in no time", async () => {
    const roomy = await start({ config: { backends: { mock: backend(mock) }, workers: 1,
        header_bytes_max: "1MiB" } });
    try {
        const half = 500_000;
        const name = "x-title: t\r\n";
        const lines = `connection: ${",".repeat(half)}x-title\r\n` +
            name.repeat(half / name.length);
        const body = body_of("mock:m1");
        const bare = await Bare.connect(roomy);
        bare.socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: localhost:${roomy.port}\r\n` +
            `authorization: Bearer ${KEY}\r\nconnection: close\r\n${lines}` +
            `content-length: ${body.length}\r\n\r\n${body}`);
        await limited(SLOW ? 20_000 : 6_000, "the answer", bare.closed);
        assert.deepEqual(bare.statuses, [200]);
        assert.ok(!mock.posts().at(-1).head.names().includes("x-title"));
        await works(roomy);
    } finally {
        await stop_all(roomy);
    }
});

test("client: line breaks in a header itself are malformed HTTP", async () => {
    for (const name of ["X-Session-Id", "Idempotency-Key", "X-Forwarded", "Authorization"]) {
        for (const evil of ["a\nX-Evil: 1", "a\rX-Evil: 1", "a\u0000X-Evil: 1"]) {
            const bare = await Bare.connect(patient);
            bare.socket.write(Buffer.from(head(`${name}: ${evil}\r\nContent-Length: ${LEN}\r\n`) +
                BODY, "latin1"));
            await within(10_000, "the proxy closes", bare.closed);
            assert.deepEqual(bare.statuses, [400], bare.text);
            bare.leave();
        }
    }
    assert.equal(mock.posts().length, 0);
    await settled(patient);
});

/* ---- Crowds ---- */

async function crowd(p, n) {
    const list = [];
    for (let i = 0; i < n; i += 100) {
        list.push(...await Promise.all(Array.from({ length: Math.min(100, n - i) }, () =>
            Bare.connect(p))));
    }
    return list;
}

/** Meanwhile others are served; of how long they wait, less than it was held up itself. */
async function others_served(p, done) {
    let count = 0;
    let slowest = 0;
    let over = false;
    done.finally(() => { over = true; }).catch(() => {});
    while (!over) {
        const at = now();
        const held_up = await held_up_for(() => works(p));
        slowest = Math.max(slowest, now() - at - held_up);
        count++;
        await turn(20);
    }
    return { count, slowest };
}

for (const [what, openings, drip] of [
    ["drip a head", [`POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\n`], "X-A: b\r\n"],
    ["drip a request line", ["GET /"], "a"],
    ["stop in a head, in a body, in a chunk", [`POST ${CHAT} HTTP/1.1\r\nHost: local`,
        head("Content-Length: 1000\r\n") + "{", head(CHUNKED) + "5\r\n{"], null],
]) {
    test(`client: slowloris: ${CROWD} that ${what} get 408 in time, others are served`,
        async (t) => {
            const list = await crowd(proxy, CROWD);
            const began = now();
            list.forEach((bare, i) => bare.socket.write(openings[i % openings.length]));
            const dripping = drip && setInterval(() => list.forEach((bare) => {
                if (bare.ended === null) {
                    bare.socket.write(drip);
                }
            }), HEAD_MS / 7.5); /* not in the moment in which they are closed */
            const all = within(HEAD_MS + 30_000, "all are closed",
                Promise.all(list.map((bare) => bare.closed)));
            const { count, slowest } = await others_served(proxy, all);
            await all;
            clearInterval(dripping);
            const took = now() - began;
            list.forEach((bare) => bare.leave());
            t.diagnostic(`closed within ${took.toFixed()} ms; ${count} others, the slowest ${
                slowest.toFixed()} ms; ${proxy.rss_kib()} KiB`);
            assert.ok(took < HEAD_MS * 2 + (SLOW ? 20_000 : 8_000), `${took} ms`);
            const told = list.filter((bare) => bare.statuses.length === 1 &&
                bare.statuses[0] === 408 && bare.text.includes("\"request_timeout\"")).length;
            /* A drip that crosses the close may turn the answer into a reset. */
            assert.ok(told >= (drip ? CROWD * 0.9 : CROWD), `${told} of ${CROWD} were told`);
            assert.ok(count > 2);
            assert.ok(slowest < (SLOW ? 5000 : 1000), `others waited ${slowest} ms`);
            assert.equal(mock.posts().filter((ex) => ex.json.model !== "m1").length, 0);
            await settled(proxy);
        });
}

test(`client: ${CROWD} idle connections cost little, and end after keepalive_timeout`,
    async (t) => {
        const before_kib = proxy.rss_kib();
        const list = await crowd(proxy, CROWD);
        const ask = request_bytes({ method: "GET", path: "/healthz", port: proxy.port });
        list.forEach((bare) => bare.socket.write(ask));
        await until(() => list.every((bare) => bare.statuses.length === 1), "all are answered",
            20_000);
        const all = limited(65_000, "all are closed",
            Promise.all(list.map((bare) => bare.closed)));
        const { count } = await others_served(proxy, all);
        await all;
        t.diagnostic(`${((proxy.rss_kib() - before_kib) * 1024 / CROWD).toFixed()} bytes each, ${
            count} others served`);
        assert.ok(list.every((bare) => bare.statuses.length === 1 && bare.statuses[0] === 200));
        assert.ok(proxy.rss_kib() - before_kib < (SLOW ? 50_000 : 8000));
        list.forEach((bare) => bare.leave());
        await settled(proxy);
    });

test("client: connections over connections_max get 503, far beyond they are closed", async () => {
    const list = await crowd(narrow, CONNECTIONS_MAX + 400);
    const ask = request_bytes({ path: CHAT, port: narrow.port, headers: narrow.headers(),
        body: BODY });
    /* Connected here may still be waiting to be accepted there: who is asked and answered at once
     * leaves its place to the next, and nobody is far beyond. */
    await until(() => list.filter((bare) => bare.ended).length >= 200,
        "those far beyond are closed", 20_000);
    list.forEach((bare) => bare.socket.write(ask));
    await until(() => list.every((bare) => bare.statuses.length === 1 || bare.ended),
        "each is answered or closed", 20_000);
    const answered = (status) => list.filter((bare) => bare.statuses[0] === status).length;
    const closed = list.filter((bare) => bare.statuses.length === 0 && bare.ended).length;
    /* The connection of the test before may not be closed yet, and then counts, too. */
    assert.ok([CONNECTIONS_MAX - 1, CONNECTIONS_MAX].includes(answered(200)),
        `${answered(200)} were served`);
    assert.ok(answered(503) >= 100, `${answered(503)} were told`);
    assert.ok(closed >= 200, `${closed} were closed`);
    assert.equal(answered(200) + answered(503) + closed, list.length);
    const full = list.find((bare) => bare.statuses[0] === 503).text;
    assert.match(full, /\r\nretry-after: \d+\r\n/i);
    assert.match(full, /\r\nconnection: close\r\n/i);
    assert.match(full, /"overloaded"/);
    list.forEach((bare) => bare.leave());
    await until(() => list.every((bare) => bare.socket.destroyed), "all have left");
    await settled(narrow);
    await works(narrow);
});

/* ---- Floods ---- */

test("client: 5,000 pipelined requests are answered in order", async () => {
    const client = await patient.connect();
    const many = 5000;
    const kinds = [["/healthz", 200], ["/", 200], ["/nothing", 404], ["/readyz", 200]];
    for (let i = 0; i < many; i++) {
        client.methods.push("GET");
    }
    client.write(Buffer.concat(Array.from({ length: many }, (_, i) => request_bytes({
        method: "GET", path: kinds[i % 4][0], port: patient.port, headers: patient.headers() }))));
    for (let i = 0; i < many; i++) {
        const answer = await client.response();
        assert.equal(answer.status, kinds[i % 4][1], `answer ${i}: ${answer.text}`);
    }
    client.destroy();
    await settled(patient);
});

test("client: one that sends requests and never reads is held, then closed", async (t) => {
    /* Large answers, so that the kernel's buffers are soon full. */
    const ask = request_bytes({ method: "GET", path: "/metrics", port: proxy.port,
        headers: proxy.headers() });
    const flood = Buffer.concat(Array(1000).fill(ask));
    const before_kib = proxy.rss_kib();
    const list = await crowd(proxy, SLOW ? 3 : 10);
    let sent = 0;
    for (const bare of list) {
        bare.socket.pause();
        const pump = () => {
            while (bare.ended === null && !bare.socket.destroyed && sent < 512 * 1024 * 1024) {
                sent += flood.length;
                if (!bare.socket.write(flood)) {
                    bare.socket.once("drain", pump);
                    return;
                }
            }
        };
        pump();
    }
    let most = 0;
    const watch = setInterval(() => { most = Math.max(most, proxy.rss_kib()); }, 10);
    /* A paused socket does not see the end: it is seen by who writes. */
    const over = until(() => list.every((bare) => bare.socket.destroyed || bare.ended),
        "all are closed", WRITE_MS + 30_000);
    const { count } = await others_served(proxy, over);
    await over;
    clearInterval(watch);
    t.diagnostic(`${sent >> 20} MiB offered, ${most - before_kib} KiB grown, ${count} others`);
    assert.ok(most - before_kib < GROWTH_MAX_KIB, `${most - before_kib} KiB`);
    list.forEach((bare) => bare.leave());
    await settled(proxy);
});

test("client: nothing of all this grew the process", (t) => {
    for (const p of [proxy, patient, narrow]) {
        t.diagnostic(`${p.rss_kib()} KiB resident`);
        assert.ok(p.rss_kib() < (SLOW ? 800 : 48) * 1024, `${p.rss_kib()} KiB`);
    }
});
