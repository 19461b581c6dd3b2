/* SPDX-License-Identifier: MIT */
/*
 * Upstreams that do everything an upstream may not do.
 *
 * A row of ROWS is one fault: `script` says what the upstream sends, `whole` and `stream` what the
 * client must get who asked for a whole answer and for a stream. After each of them the next
 * requests must get their own answers (and nothing of the fault's), and nothing may be left
 * behind. All rows run against a plain upstream with one worker, and against TLS with two.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before } from "node:test";
import zlib from "node:zlib";

import { available, make } from "../e2e/lib/certs.mjs";
import { now, sse_data, within } from "../e2e/lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, delta, head_bytes, openai, sse, text_chunks, whole }
    from "../e2e/lib/mock.mjs";
import { SLOW, backend, in_time, start, stop_all, temp_dir, test } from
    "../e2e/lib/proxy.mjs";
import { baseline, is_error, metrics, settled, until } from "./settled.mjs";

const HEADER_MAX = 4096;
const RESPONSE_MAX = 256 * 1024;
const EVENT_MAX = 16 * 1024;
const SILENCE_MS = SLOW ? 2000 : 400;
const turn = (ms = 0) => new Promise((wake) => setTimeout(wake, ms));

const FLAVOURS = [
    { name: "plain", workers: 1, tls: false, skip: false },
    { name: "TLS, two workers", workers: 2, tls: true,
        skip: available() ? false : "the openssl command is not installed" },
];

let dir = null;

before(async () => {
    if (available()) {
        dir = temp_dir();
    }
    const certs = dir ? make(dir) : null;
    for (const flavour of FLAVOURS.filter((f) => !f.skip)) {
        const mock = await Mock.start({ tls: flavour.tls ? certs.good : null });
        mock.fallback = echo;
        flavour.mock = mock;
        const tls = flavour.tls ? { ca_file: certs.ca } : {};
        flavour.proxy = await start({ config: {
            workers: flavour.workers, retries: 0, default_backend: "mock",
            proxy_timeout: "20s", header_bytes_max: HEADER_MAX, response_bytes_max: RESPONSE_MAX,
            sse_event_bytes_max: EVENT_MAX,
            backends: { mock: backend(mock, tls),
                quick: backend(mock, { ...tls, proxy_timeout: `${SILENCE_MS}ms` }) },
        } });
        for (const stream of [false, true]) {
            await next_works(flavour, stream);
        }
        await baseline(flavour.proxy);
    }
});

after(async () => {
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(...FLAVOURS.flatMap((f) => [f.proxy, f.mock]));
});

/* Of the row that runs: settles when the client has a byte of its answer's body. */
let relayed = null;

/* ---- Requests, and the answers that are right ---- */

let serial = 0;
const body_of = (model, stream, user) => JSON.stringify({ model, stream, user,
    messages: [{ role: "user", content: "x" }] });

/** The fallback: an answer that only this request can have. */
async function echo(ex) {
    if (ex.method !== "POST") {
        await openai(ex);
    } else if (ex.json.stream) {
        await ex.respond({ headers: { "content-type": "text/event-stream" }, framing: "chunked",
            body: sse(text_chunks("m1", [ex.json.user])) });
    } else {
        await ex.json_answer(whole("m1", { content: ex.json.user }));
    }
}

async function next_works({ proxy }, stream) {
    const user = `marker-${serial++}`;
    const answer = await proxy.chat(body_of("mock:m1", stream, user));
    assert.equal(answer.status, 200, answer.text);
    if (stream) {
        assert.equal(answer.text, sse(text_chunks("m1", [user])));
    } else {
        assert.deepEqual(answer.json, whole("m1", { content: user }));
    }
}

const GOOD = JSON.stringify(whole("m1", { content: "right" }));
const EVENTS = sse(text_chunks("m1", ["right", " and", " complete"]));
const FIRST = sse([delta("m1", { role: "assistant", content: "so far" })], false);
const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream" };
const CHUNKED = { "transfer-encoding": "chunked" };
const asked = (ex) => ex.json.stream;

/** The right answer to what was asked, as bytes without a frame. */
const right = (ex) => asked(ex) ? EVENTS : GOOD;
const type_of = (ex) => asked(ex) ? SSE_TYPE : JSON_TYPE;

/* ---- What a client must get ---- */

const broken = (answer, what) => {
    const error = is_error(answer, 502, "backend_error", "upstream_unreachable", what);
    assert.match(error.message, /mock|quick/, "the backend is named");
};
const refused = (pattern) => (answer, what) => {
    const error = is_error(answer, 502, "backend_error", answer.json?.error?.code, what);
    assert.match(error.message, pattern, what);
};
const timeout = (answer, what) => {
    const error = is_error(answer, 504, "backend_error", "upstream_timeout", what);
    assert.match(error.message, /^Connection timeout/, what);
};
const fine = (answer, what) => {
    assert.equal(answer.status, 200, `${what} ${answer.text}`);
    assert.ok(answer.text === GOOD || answer.text === EVENTS, `${what}\n${answer.text}`);
    assert.notEqual(answer.ended, "cut", what);
};
/** 200, exactly these bytes. */
const bytes = (text, status = 200) => (answer, what) => {
    assert.equal(answer.status, status, `${what} ${answer.text}`);
    assert.equal(answer.text, text, what);
    assert.notEqual(answer.ended, "cut", what);
};
/** A stream that began: the events so far, one error event, the last chunk, no [DONE]. */
const mid = (text = FIRST, code = "upstream_unreachable") => (answer, what) => {
    assert.equal(answer.status, 200, `${what} ${answer.text}`);
    assert.ok(answer.text.startsWith(text), `${what}\n${answer.text}`);
    const data = sse_data(answer.text.slice(text.length));
    assert.equal(data.length, 1, `${what}: one error event, not ${answer.text}`);
    const { error } = JSON.parse(data[0]);
    assert.equal(error.type, "backend_error", what);
    if (code) {
        assert.equal(error.code, code, what);
    }
    assert.equal(answer.ended, "chunked", what);
};
/** A stream made of a whole answer, or a whole one collected from a stream: its text. */
const says = (text) => (answer, what) => {
    assert.equal(answer.status, 200, `${what} ${answer.text}`);
    const said = /event-stream/.test(answer.get("content-type")) ?
        sse_data(answer.text).filter((d) => d !== "[DONE]").map((d) =>
            JSON.parse(d).choices[0]?.delta.content ?? "").join("") :
        answer.json.choices[0].message.content;
    assert.equal(said, text, what);
    assert.notEqual(answer.ended, "cut", what);
};
const both = (want) => ({ whole: want, stream: want });

/* ---- Bytes of upstreams ---- */

const latin = (text) => Buffer.from(text, "latin1");
const send = (...parts) => (ex) => ex.write(Buffer.concat(parts.map((p) =>
    typeof p === "string" ? latin(p) : p)));
const send_fin = (...parts) => async (ex) => {
    await send(...parts)(ex);
    ex.fin();
};
const with_length = (text) => `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
/** A right answer with another status line. */
const status_line = (line) => (ex) => ex.write(latin(`${line}\r\ncontent-type: ${
    type_of(ex)["content-type"]}\r\ncontent-length: ${right(ex).length}\r\n\r\n${right(ex)}`));
const extra_headers = (text) => (ex) => ex.write(latin(`HTTP/1.1 200 OK\r\ncontent-type: ${
    type_of(ex)["content-type"]}\r\ncontent-length: ${right(ex).length}\r\n${text}\r\n${
    right(ex)}`));
/** A head of exactly n bytes, the empty line included. */
const head_of = (n) => (ex) => {
    const start = `HTTP/1.1 200 OK\r\ncontent-type: ${type_of(ex)["content-type"]}\r\n` +
        `content-length: ${right(ex).length}\r\nx-fill: `;
    return ex.write(latin(`${start}${"f".repeat(n - start.length - 4)}\r\n\r\n${right(ex)}`));
};
const coded = (coding, encode, break_it = (b) => b) => (ex) => ex.respond({
    headers: { ...type_of(ex), "content-encoding": coding },
    framing: "chunked", body: break_it(encode(Buffer.from(right(ex)))) });
const gzip = (b) => zlib.gzipSync(b);
const cut_end = (n) => (b) => b.subarray(0, b.length - n);
const flip = (at) => (b) => {
    const copy = Buffer.from(b);
    copy[copy.length + at] ^= 0xff;
    return copy;
};
/** A stream of these bytes, chunked, ended as it should be. */
const stream_of = (text) => (ex) => ex.respond({ headers: SSE_TYPE, framing: "chunked",
    body: text });
const of_type = (type, body) => (ex) => ex.respond({ headers: { "content-type": type },
    body: typeof body === "function" ? body(ex) : body });
/** The first event, and after it was relayed what `then` does. */
const after_first = (then) => async (ex) => {
    await ex.open_stream();
    await ex.event(FIRST);
    if (asked(ex)) {
        await within(20_000, "the client gets the first event", relayed);
    }
    await then(ex);
};
const page = (status) => (ex) => ex.respond({ status, headers: { "content-type": "text/html" },
    body: "<!DOCTYPE html><html><h1>It works!</h1></html>" });
const big_json = (n) => JSON.stringify({ ...whole("m1", { content: "" }), pad: "" })
    .replace("\"pad\":\"\"", () => `"pad":"${"p".repeat(n)}"`);
const json_of = (n) => big_json(n - big_json(0).length);

/* ---- The rows ---- */

const ROWS = {
    /* Ends */
    "FIN without a byte": { script: (ex) => ex.fin(), ...both(broken) },
    "RST without a byte": { script: (ex) => ex.rst(), ...both(broken) },
    "FIN inside the head": { script: send_fin("HTTP/1.1 200 OK\r\ncontent-ty"), ...both(broken) },
    "RST inside a body with a length": { script: async (ex) => {
        await ex.write(latin(with_length(GOOD).slice(0, -5)));
        ex.rst();
    }, ...both(broken) },
    "FIN inside a stream's event": { script: after_first(async (ex) => {
        await ex.event("data: {\"id\":\"never whole");
        ex.fin();
    }), whole: broken, stream: mid() },
    "RST inside a stream's event": { script: after_first(async (ex) => {
        await ex.event("data: {\"id\":\"never whole");
        await turn(5);
        ex.rst();
    }), whole: broken, stream: mid() },
    "a last chunk that is missing": { script: after_first((ex) => ex.fin()),
        whole: broken, stream: mid() },
    "a stream that ends well-formed without a finish reason": {
        script: after_first((ex) => ex.close_stream(false)), whole: broken, stream: mid() },
    "a short stream without a finish reason": { script: stream_of(FIRST), whole: broken,
        stream: (a, w) => a.status === 200 ? mid()(a, w) : broken(a, w) },
    "a stream that ends behind its finish reason, without [DONE]": {
        script: stream_of(sse(text_chunks("m1", ["ok"]), false)),
        whole: says("ok"), stream: bytes(sse(text_chunks("m1", ["ok"]), false)) },

    /* Not HTTP */
    "another protocol's greeting": { script: send("SSH-2.0-OpenSSH_9.2p1\r\n"), ...both(broken) },
    "random bytes": { script: send(Buffer.from(Array.from({ length: 600 }, (_, i) =>
        (i * 167 + 13) & 255))), ...both(broken) },
    "a TLS alert": { script: send(Buffer.from([21, 3, 1, 0, 2, 2, 40])), ...both(broken) },
    "HTTP/0.9": { script: send_fin("<html>old</html>"), ...both(broken) },
    "HTTP/0.9 with right JSON": { script: send_fin(GOOD), ...both(broken) },
    "HTTP/2's preface": { script: send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ...both(broken) },
    "the request, sent back": { script: send("POST /v1/chat/completions HTTP/1.1\r\n",
        "host: x\r\ncontent-length: 0\r\n\r\n"), ...both(broken) },

    /* Status lines */
    "no reason phrase": { script: status_line("HTTP/1.1 200"), ...both(fine) },
    "an empty reason phrase": { script: status_line("HTTP/1.1 200 "), ...both(fine) },
    "a reason phrase of other letters": { script: status_line("HTTP/1.1 200 Gr\xfc\xdf Gott"),
        ...both(fine) },
    "HTTP/1.0": { script: status_line("HTTP/1.0 200 OK"), ...both(fine) },
    "HTTP/1.9": { script: status_line("HTTP/1.9 200 OK"), ...both(broken) },
    "HTTP/2.0 in the status line": { script: status_line("HTTP/2.0 200 OK"), ...both(broken) },
    "http/1.1": { script: status_line("http/1.1 200 OK"), ...both(broken) },
    "status 99": { script: status_line("HTTP/1.1 99 Low"), ...both(broken) },
    "status 099": { script: status_line("HTTP/1.1 099 Low"), ...both(broken) },
    "status 600": { script: status_line("HTTP/1.1 600 High"), ...both(broken) },
    "status 999": { script: status_line("HTTP/1.1 999 High"), ...both(broken) },
    "status 2000": { script: status_line("HTTP/1.1 2000 Long"), ...both(broken) },
    "status 20": { script: status_line("HTTP/1.1 20 Short"), ...both(broken) },
    "status 0": { script: status_line("HTTP/1.1 000 None"), ...both(broken) },
    "status -200": { script: status_line("HTTP/1.1 -200 OK"), ...both(broken) },
    "a status of letters": { script: status_line("HTTP/1.1 OK 200"), ...both(broken) },
    "a status line of blanks": { script: status_line("         "), ...both(broken) },
    "two status lines": { script: status_line("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK"),
        ...both(broken) },

    /* Heads */
    "a NUL in a header's value": { script: extra_headers("x-a: 1\u00002\r\n"), ...both(broken) },
    "a NUL in a header's name": { script: extra_headers("x\u0000a: 1\r\n"), ...both(broken) },
    "a NUL in the reason phrase": { script: status_line("HTTP/1.1 200 O\u0000K"),
        ...both(broken) },
    "a folded header": { script: extra_headers("x-a: 1\r\n 2\r\n"), ...both(broken) },
    "a header without a colon": { script: extra_headers("nonsense\r\n"), ...both(broken) },
    "a header without a name": { script: extra_headers(": x\r\n"), ...both(broken) },
    "a blank before the colon": { script: extra_headers("x-a : 1\r\n"), ...both(broken) },
    "a bare CR in a header": { script: extra_headers("x-a: 1\rx-b: 2\r\n"), ...both(broken) },
    "a head of exactly header_bytes_max": { script: head_of(HEADER_MAX), ...both(fine) },
    "a head one byte over header_bytes_max": { script: head_of(HEADER_MAX + 1),
        ...both(broken) },
    "a head without end": { script: async (ex) => {
        await ex.write(latin("HTTP/1.1 200 OK\r\n"));
        for (let i = 0; i < 1000 && !ex.socket.destroyed; i++) {
            await ex.write(latin(`x-${i}: ${"y".repeat(100)}\r\n`));
        }
    }, ...both(broken) },
    "a thousand headers": { script: extra_headers("a:\r\n".repeat(1000)), ...both((a, w) =>
        a.status === 200 ? fine(a, w) : broken(a, w)) },
    "two thousand headers": { script: extra_headers("a:\r\n".repeat(2000)), ...both(broken) },
    "the same header many times": { script: extra_headers("x-request-id: a\r\n".repeat(50)),
        ...both(fine) },

    /* Lengths */
    "two different lengths": { script: send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
        "content-length: 3\r\n\r\n{}x"), ...both(broken) },
    "two lengths in one header": { script: send(
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n{}"), ...both(broken) },
    "a length and chunks": { script: (ex) => ex.write(latin(`HTTP/1.1 200 OK\r\ncontent-length: ${
        right(ex).length}\r\ntransfer-encoding: chunked\r\n\r\n${right(ex)}`)), ...both(broken) },
    "chunks and a length": { script: (ex) => ex.write(Buffer.concat([latin("HTTP/1.1 200 OK\r\n" +
        `transfer-encoding: chunked\r\ncontent-length: ${right(ex).length}\r\n\r\n`),
    chunk(right(ex)), LAST_CHUNK])), ...both(broken) },
    "a negative length": { script: send("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"),
        ...both(broken) },
    "a length that no integer holds": { script: send(
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}"), ...both(broken) },
    "a length of 2^64-1": { script: send_fin(
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n", GOOD), ...both(broken) },
    "a hexadecimal length": { script: send("HTTP/1.1 200 OK\r\ncontent-length: 0x10\r\n\r\n{}"),
        ...both(broken) },
    "a length longer than the body": { script: (ex) => send_fin(with_length(right(ex) + " ")
        .slice(0, -1))(ex), ...both(broken) },
    "a body longer than its length": { script: (ex) => ex.write(latin(with_length(GOOD) +
        "garbage")), whole: bytes(GOOD), stream: says("right") },
    "another transfer coding": { script: (ex) => ex.write(Buffer.concat([head_bytes(200,
        { ...type_of(ex), "transfer-encoding": "gzip, chunked" }), chunk(gzip(right(ex))),
    LAST_CHUNK])), ...both(broken) },
    "a transfer coding that nobody knows": { script: (ex) => ex.write(Buffer.concat([
        head_bytes(200, { ...type_of(ex), "transfer-encoding": "xchunked" }), chunk(right(ex)),
        LAST_CHUNK])), ...both(broken) },

    /* Chunks */
    "a chunk size that is no number": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }));
        await ex.write(latin("xyz\r\n{}\r\n0\r\n\r\n"));
    }, ...both(broken) },
    "a negative chunk size": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        "-2\r\n{}\r\n0\r\n\r\n"), ...both(broken) },
    "a chunk size that no integer holds": { script: send(head_bytes(200,
        { ...JSON_TYPE, ...CHUNKED }), "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"), ...both(broken) },
    "a chunk size of 2^64-1": { script: send_fin(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        "ffffffffffffffff\r\n", GOOD), ...both(broken) },
    "a chunk longer than its size": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        "2\r\n{}}\r\n0\r\n\r\n"), ...both(broken) },
    "a chunk shorter than its size": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        "3\r\n{}\r\n0\r\n\r\n"), ...both(broken) },
    "chunks that end with LF alone": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        "2\n{}\n0\n\n"), ...both(broken) },
    "a wrong chunk in the middle of a stream": { script: after_first((ex) => ex.write(
        latin("nonsense\r\n"))), whole: broken, stream: mid() },
    "chunks of one byte": { script: (ex) => ex.write(Buffer.concat([head_bytes(200,
        { ...type_of(ex), ...CHUNKED }), ...[...Buffer.from(right(ex))].map((b) =>
        chunk(Buffer.from([b]))), LAST_CHUNK])), ...both(fine) },
    "chunk extensions": { script: (ex) => ex.write(latin("HTTP/1.1 200 OK\r\ncontent-type: " +
        `${type_of(ex)["content-type"]}\r\ntransfer-encoding: chunked\r\n\r\n${
            right(ex).length.toString(16)};a=b;c="d e"\r\n${right(ex)}\r\n0;x\r\n\r\n`)),
    ...both(fine) },
    "a chunk bomb: extensions without end": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...type_of(ex), ...CHUNKED }));
        await ex.write(latin(`2;${"x".repeat(64 * 1024)}\r\n{}\r\n0\r\n\r\n`));
    }, ...both(broken) },
    "a chunk bomb: a size of many zeros": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }));
        await ex.write(latin(`${"0".repeat(64 * 1024)}2\r\n{}\r\n0\r\n\r\n`));
    }, ...both(broken) },
    "an answer cut off without a word of TLS": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...type_of(ex), connection: "close" }));
        await ex.write(latin(right(ex).slice(0, -40)));
        ex.truncate();
    }, whole: broken, stream: (a, w) => a.status === 502 ? broken(a, w) :
        mid(EVENTS.slice(0, a.text.indexOf("data: {\"error")))(a, w) },
    "a chunk bomb: many tiny chunks, each with an extension": { script: (ex) =>
        ex.write(Buffer.concat([head_bytes(200, { ...type_of(ex), ...CHUNKED }),
            ...Array(2000).fill(latin("1;abcdef\r\n \r\n")), LAST_CHUNK])), ...both(broken) },
    "trailers": { script: (ex) => ex.write(Buffer.concat([head_bytes(200, { ...type_of(ex),
        ...CHUNKED }), chunk(right(ex)), latin("0\r\nx-checksum: 1\r\nset-cookie: a=b\r\n\r\n")])),
    whole: (a, w) => (fine(a, w), assert.equal(a.get("set-cookie"), undefined)),
    stream: (a, w) => (fine(a, w), assert.equal(a.get("set-cookie"), undefined)) },
    "trailers that contradict": { script: (ex) => ex.write(Buffer.concat([head_bytes(200,
        { ...type_of(ex), ...CHUNKED }), chunk(right(ex)),
    latin("0\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n")])),
    ...both((a, w) => a.status === 200 ? fine(a, w) : broken(a, w)) },
    "trailers without end": { script: async (ex) => {
        await ex.write(Buffer.concat([head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
            chunk(GOOD), latin("0\r\n")]));
        for (let i = 0; i < 1000 && !ex.socket.destroyed; i++) {
            await ex.write(latin(`x-${i}: ${"y".repeat(100)}\r\n`));
        }
    }, ...both(broken) },

    /* Pages, types, bodies */
    "an HTML page, 200": { script: page(200), whole: refused(/./), stream: refused(/./) },
    "an HTML page, 502": { script: page(502), ...both((a, w) =>
        is_error(a, 502, "server_error", a.json.error.code, w)) },
    "an HTML page, 503": { script: page(503), ...both((a, w) =>
        assert.equal(a.json.error.code !== undefined && a.status, 503, w)) },
    "an HTML page that says it is JSON": { script: of_type("application/json",
        "<html></html>"), ...both(broken) },
    "an HTML page that says it is a stream": { script: of_type("text/event-stream",
        "<html>\n\n</html>\n\n"), ...both(broken) },
    "right JSON that says it is HTML": { script: (ex) => of_type("text/html", GOOD)(ex),
        whole: bytes(GOOD), stream: says("right") },
    "right JSON without a type, to who asked for no stream": { script: (ex) => ex.respond({
        body: asked(ex) ? EVENTS : GOOD }), ...both(fine) },
    "JSON that says it is a stream": { script: of_type("text/event-stream", GOOD),
        ...both(broken) },
    "a stream that says it is JSON": { script: of_type("application/json", EVENTS),
        ...both(broken) },
    "a stream that says it is plain text": { script: of_type("text/plain", EVENTS),
        whole: broken, stream: bytes(EVENTS) },
    "JSON of another shape": { script: of_type("application/json", "{\"ok\":true}"),
        ...both(broken) },
    "JSON that is an array": { script: of_type("application/json", "[]"), ...both(broken) },
    "JSON that is null": { script: of_type("application/json", "null"), ...both(broken) },
    "JSON cut off, its length right": { script: of_type("application/json", GOOD.slice(0, -3)),
        ...both(broken) },
    "JSON and more behind it": { script: of_type("application/json", `${GOOD}{}`),
        ...both(broken) },
    "an empty body": { script: of_type("application/json", ""), ...both(broken) },
    "an empty body in chunks": { script: (ex) => ex.respond({ headers: JSON_TYPE,
        framing: "chunked" }), ...both(broken) },
    "an empty body that ends with the connection": { script: (ex) => ex.respond({
        headers: JSON_TYPE, framing: "close" }), ...both(broken) },
    "an empty stream": { script: stream_of(""), ...both(broken) },
    "a stream of comments only": { script: stream_of(": ping\n\n: ping\n\n"), whole: broken,
        stream: (a, w) => a.status === 200 ? mid(": ping\n\n: ping\n\n")(a, w) : broken(a, w) },
    "204": { script: (ex) => ex.write(head_bytes(204, {})), ...both(broken) },
    "204 with a body that nobody may read": { script: (ex) => ex.write(Buffer.concat([
        head_bytes(204, {}), latin("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")])),
    ...both(broken) },
    "205": { script: (ex) => ex.respond({ status: 205 }), ...both(broken) },
    "304": { script: (ex) => ex.write(head_bytes(304, {})), ...both(broken) },
    "206 with right JSON": { script: (ex) => ex.respond({ status: 206, headers: JSON_TYPE,
        body: GOOD }), whole: (a) => assert.ok([200, 206, 502].includes(a.status)),
    stream: (a) => assert.ok([200, 206, 502].includes(a.status)) },
    "invalid UTF-8 in JSON": { script: (ex) => ex.respond({ headers: JSON_TYPE,
        body: Buffer.concat([latin(GOOD.slice(0, GOOD.indexOf("right"))), Buffer.from([0xff, 0xc0]),
            latin(GOOD.slice(GOOD.indexOf("right")))]) }),
    ...both((a, w) => assert.ok(a.status === 200 || a.status === 502, w)) },

    /* Size */
    "a body of exactly response_bytes_max": { script: of_type("application/json",
        json_of(RESPONSE_MAX)), whole: bytes(json_of(RESPONSE_MAX)), stream: says("") },
    "a body one byte over response_bytes_max": { script: of_type("application/json",
        json_of(RESPONSE_MAX + 1)), ...both(refused(/response_bytes_max/)) },
    "a body without end": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }));
        while (!ex.socket.destroyed && ex.socket.writable) {
            await ex.write(chunk("x".repeat(65536)));
            await turn();
        }
    }, ...both(refused(/response_bytes_max/)) },
    "an event over sse_event_bytes_max": { script: after_first((ex) =>
        ex.event(sse([delta("m1", { content: "z".repeat(EVENT_MAX) })], false))),
    whole: refused(/event/), stream: mid(FIRST, null) },
    "an event over sse_event_bytes_max, the first": { script: stream_of(sse([delta("m1",
        { content: "z".repeat(EVENT_MAX) })])), ...both(refused(/event/)) },
    "an event without end": { script: async (ex) => {
        await ex.open_stream();
        await ex.event("data: ");
        while (!ex.socket.destroyed && ex.socket.writable) {
            await ex.event("x".repeat(4096));
            await turn();
        }
    }, ...both(refused(/event/)) },
    "comments without end are no event": { script: async (ex) => {
        await ex.open_stream();
        for (let i = 0; i < 40; i++) {
            await ex.event(`: ${"c".repeat(1000)}\n\n`);
        }
        await ex.event(EVENTS);
        await ex.close_stream(false);
    }, whole: says("right and complete"), stream: (a, w) => {
        assert.equal(a.status, 200, w);
        assert.ok(a.text.endsWith(EVENTS), w);
    } },

    /* Streams of other habits */
    "CRLF": { script: stream_of(EVENTS.replaceAll("\n", "\r\n")), whole:
        says("right and complete"), stream: bytes(EVENTS.replaceAll("\n", "\r\n")) },
    "CR alone": { script: stream_of(EVENTS.replaceAll("\n", "\r")), whole:
        says("right and complete"), stream: bytes(EVENTS.replaceAll("\n", "\r")) },
    "LF, CR and CRLF mixed": { script: stream_of(mixed(EVENTS)), whole:
        says("right and complete"), stream: bytes(mixed(EVENTS)) },
    "a byte order mark": { script: stream_of(`\ufeff${EVENTS}`), whole:
        says("right and complete"), stream: (a, w) => {
        assert.equal(a.status, 200, w);
        assert.equal(a.text.replace(/^\ufeff/, ""), EVENTS, w);
    } },
    "an event in two data lines": { script: stream_of(EVENTS.replace("data: {",
        "data: {\ndata: ")),
        whole: says("right and complete"),
        stream: bytes(EVENTS.replace("data: {", "data: {\ndata: ")) },
    "other fields and unknown ones": { script: stream_of(EVENTS.replaceAll("data:",
        "event: x\nid: 1\nretry: 5\nnonsense\ndata:")), whole: says("right and complete"),
    stream: bytes(EVENTS.replaceAll("data:", "event: x\nid: 1\nretry: 5\nnonsense\ndata:")) },
    "data that is no JSON, and no end": { script: after_first(async (ex) => {
        await ex.event("data: nonsense\n\n");
        await ex.close_stream(false);
    }), whole: broken, stream: (a, w) => mid(a.text.includes("nonsense") ?
        `${FIRST}data: nonsense\n\n` : FIRST)(a, w) },
    "data that is no JSON, in the middle": { script: after_first(async (ex) => {
        await ex.event("data: nonsense\n\n");
        await ex.event(EVENTS);
        await ex.close_stream(false);
    }), whole: (a, w) => a.status === 502 ? broken(a, w) : says("so farright and complete")(a, w),
    stream: (a, w) => a.text.includes("\"error\"") ? mid()(a, w) :
        bytes(`${FIRST}data: nonsense\n\n${EVENTS}`)(a, w) },
    "invalid UTF-8 in an event": { script: async (ex) => {
        await ex.open_stream();
        await ex.write(chunk(Buffer.concat([latin(FIRST.slice(0, FIRST.indexOf("so far"))),
            Buffer.from([0xff, 0xfe]), latin(FIRST.slice(FIRST.indexOf("so far")))])));
        await ex.event(sse([delta("m1", {}, "stop")], false));
        await ex.close_stream();
    }, ...both((a, w) => assert.ok(a.status === 200 || a.status === 502, w)) },
    "[DONE] and then more events": { script: stream_of(EVENTS + FIRST), whole:
        says("right and complete"), stream: (a, w) => {
        assert.equal(a.status, 200, w);
        assert.ok(a.text.startsWith(EVENTS), w);
        assert.ok(!a.text.includes("\"error\""), w);
    } },

    /* More answers than requests */
    "two answers in one write": { script: (ex) => ex.write(latin(with_length(GOOD) +
        with_length(GOOD.replace("right", "wrong")))), whole: bytes(GOOD),
    stream: says("right") },
    "a second answer a moment later": { script: async (ex) => {
        await ex.write(latin(with_length(GOOD)));
        await turn(10);
        await ex.write(latin(with_length(GOOD.replace("right", "wrong"))));
    }, whole: bytes(GOOD), stream: says("right"), settle_ms: 30 },
    "blank lines behind an answer": { script: (ex) => ex.write(latin(with_length(GOOD) +
        "\r\n\r\n")), whole: bytes(GOOD), stream: says("right") },
    "blank lines before an answer": { script: (ex) => ex.write(latin(`\r\n${with_length(GOOD)}`)),
        ...both((a, w) => a.status === 200 ? says("right")(a, w) : broken(a, w)) },

    /* Interim answers, switches, redirects */
    "100 Continue first": { script: (ex) => ex.write(latin(
        `HTTP/1.1 100 Continue\r\n\r\n${with_length(GOOD)}`)), whole: bytes(GOOD),
    stream: says("right") },
    "103 Early Hints, several": { script: (ex) => ex.write(latin("HTTP/1.1 103 Early Hints\r\n" +
        `link: <x>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${
            with_length(GOOD)}`)), whole: bytes(GOOD), stream: says("right") },
    "interim answers, and then nothing": { script: send_fin("HTTP/1.1 100 Continue\r\n\r\n"),
        ...both(broken) },
    "an interim answer with a body": { script: send("HTTP/1.1 100 Continue\r\n",
        "content-length: 5\r\n\r\nhello", with_length(GOOD)), ...both(broken) },
    "10,000 interim answers": { script: async (ex) => {
        for (let i = 0; i < 100 && !ex.socket.destroyed; i++) {
            await ex.write(latin("HTTP/1.1 102 Processing\r\n\r\n".repeat(100)));
        }
        await ex.write(latin(with_length(GOOD)));
    }, ...both((a, w) => a.status === 200 ? says("right")(a, w) : broken(a, w)) },
    "101 Switching Protocols": { script: send(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ...both(broken) },
    ...Object.fromEntries([300, 301, 302, 303, 305, 307, 308].map((status) => [
        `redirect ${status}`, { script: (ex) => ex.respond({ status, headers: {
            location: "/v1/elsewhere", ...JSON_TYPE }, body: GOOD }), ...both(broken) }])),
    "a redirect without a body, the connection closed": { script: (ex) => ex.respond({
        status: 302, headers: { location: "http://127.0.0.1:1/" }, framing: "close" }),
    ...both(broken) },

    /* Codings */
    "gzip": { script: coded("gzip", gzip), ...both(fine) },
    "x-gzip, in capitals": { script: coded("X-GZIP", gzip), ...both(fine) },
    "deflate": { script: coded("deflate", (b) => zlib.deflateSync(b)), ...both(fine) },
    "deflate without its wrapper": { script: coded("deflate", (b) => zlib.deflateRawSync(b)),
        ...both(fine) },
    "identity": { script: coded("identity", (b) => b), ...both(fine) },
    "gzip, a byte a chunk": { script: (ex) => ex.write(Buffer.concat([head_bytes(200,
        { ...type_of(ex), ...CHUNKED, "content-encoding": "gzip" }),
    ...[...gzip(Buffer.from(right(ex)))].map((b) => chunk(Buffer.from([b]))), LAST_CHUNK])),
    ...both(fine) },
    "gzip in two members": { script: coded("gzip", (b) => Buffer.concat([gzip(b.subarray(0, 50)),
        gzip(b.subarray(50))])), ...both(fine) },
    "gzip that is not": { script: coded("gzip", (b) => b), ...both(broken) },
    "gzip cut off": { script: coded("gzip", gzip, cut_end(20)), whole: broken,
        stream: (a, w) => a.status === 502 ? broken(a, w) : coded_broken(a, w) },
    "gzip without its trailer": { script: coded("gzip", gzip, cut_end(8)), whole: broken,
        stream: (a, w) => a.status === 200 && !a.text.includes("\"error\"") ?
            fine(a, w) : a.status === 502 ? broken(a, w) : coded_broken(a, w) },
    "gzip with a wrong checksum": { script: coded("gzip", gzip, flip(-6)), whole: broken,
        stream: (a, w) => a.status === 200 && !a.text.includes("\"error\"") ?
            fine(a, w) : a.status === 502 ? broken(a, w) : coded_broken(a, w) },
    "gzip with a wrong byte": { script: coded("gzip", gzip, flip(-30)), whole: broken,
        stream: (a, w) => a.status === 502 ? broken(a, w) : coded_broken(a, w) },
    "deflate cut off": { script: coded("deflate", (b) => zlib.deflateSync(b), cut_end(20)),
        whole: broken, stream: (a, w) => a.status === 502 ? broken(a, w) : coded_broken(a, w) },
    "br": { script: coded("br", (b) => zlib.brotliCompressSync(b)), ...both(broken) },
    "zstd": { script: coded("zstd", (b) => b), ...both(broken) },
    "a coding that nobody knows": { script: coded("rot13", (b) => b), ...both(broken) },
    "gzip twice": { script: coded("gzip, gzip", (b) => gzip(gzip(b))), ...both(broken) },
    "a gzip bomb": { script: (ex) => ex.respond({ headers: { ...type_of(ex),
        "content-encoding": "gzip" }, body: gzip(Buffer.alloc(32 * 1024 * 1024, 32)) }),
    ...both(refused(/./)) },
    "a gzip bomb of comments, in a stream that began": { script: async (ex) => {
        await ex.write(head_bytes(200, { ...SSE_TYPE, ...CHUNKED, "content-encoding": "gzip" }));
        const comments = Buffer.from(": c\n\n".repeat(4 * 1024 * 1024));
        await ex.write(chunk(gzip(Buffer.concat([Buffer.from(FIRST), comments]))));
        await ex.write(LAST_CHUNK);
    }, whole: refused(/./), stream: (a, w) => {
        if (a.status === 200) {
            assert.match(sse_data(a.text).at(-1), /backend_error/, w);
        } else {
            refused(/./)(a, w);
        }
    } },
    "a gzip error": { script: (ex) => ex.respond({ status: 400, headers: { ...JSON_TYPE,
        "content-encoding": "gzip" }, body: gzip("{\"error\":{\"message\":\"bad\"}}") }),
    ...both(bytes("{\"error\":{\"message\":\"bad\"}}", 400)) },

    /* Slow, but right */
    "a byte every few milliseconds": { script: async (ex) => {
        const all = Buffer.concat([head_bytes(200, { ...type_of(ex), ...CHUNKED }),
            chunk(right(ex)), LAST_CHUNK]);
        for (const byte of all.subarray(0, 150)) {
            await ex.write(Buffer.from([byte]));
            await turn(1);
        }
        await ex.write(all.subarray(150));
    }, ...both(fine) },
};

function mixed(text) {
    let n = 0;
    return text.replace(/\n\n/g, () => ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"][n++ % 4]);
}

/** What was decoded before the fault, and an error event. */
function coded_broken(answer, what) {
    assert.equal(answer.status, 200, what);
    const data = sse_data(answer.text);
    assert.match(data.at(-1), /"backend_error"/, `${what}\n${answer.text}`);
    assert.equal(answer.ended, "chunked", what);
}

async function run_row(flavour, name, row, stream) {
    const { proxy, mock } = flavour;
    const what = `${name}, ${stream ? "stream" : "whole"}`;
    const seen = mock.posts().length;
    mock.on("fault", row.script);
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: body_of("mock:fault", stream, "u") });
    relayed = client.head().then(async (answer) => {
        await until(() => answer.pieces.length > 0 || answer.ended, "the first byte of a body");
        return answer;
    });
    const answer = await relayed;
    await within(20_000, `${what}: the end of the answer`, answer.done);
    client.destroy();
    row[stream ? "stream" : "whole"](answer, what);
    assert.ok(!answer.text.includes("upstream-key-1"), what);
    /* Once, or once more where a pooled connection died unanswered. */
    const asked = mock.posts().slice(seen);
    assert.ok(asked.length === 1 || asked.length === 2, `${what}: asked ${asked.length} times`);
    assert.ok(asked.every((ex) => ex.json.model === "fault"), what);
    if (row.settle_ms) {
        await turn(row.settle_ms);
    }
    await next_works(flavour, stream);
    await next_works(flavour, !stream);
}

for (const flavour of FLAVOURS) {
    for (const [name, row] of Object.entries(ROWS)) {
        test(`upstream, ${flavour.name}: ${name}`, { skip: flavour.skip }, async () => {
            for (const stream of [false, true]) {
                await run_row(flavour, name, row, stream);
            }
            await settled(flavour.proxy, { mocks: [flavour.mock] });
        });
    }
}

/* ---- Time ---- */

const STALLS = {
    "silent": { script: () => {}, ...both(timeout) },
    "in the status line": { script: send("HTTP/1.1 2"), ...both(timeout) },
    "in the head": { script: send("HTTP/1.1 200 OK\r\ncontent-type: appl"), ...both(timeout) },
    "behind the head": { script: (ex) => ex.write(head_bytes(200, { ...type_of(ex),
        ...CHUNKED })), ...both(timeout) },
    "behind an interim answer": { script: send("HTTP/1.1 100 Continue\r\n\r\n"),
        ...both(timeout) },
    "in a body with a length": { script: send(with_length(GOOD).slice(0, -10)),
        ...both(timeout) },
    "in a chunk size": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }), "1"),
        ...both(timeout) },
    "in a chunk": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }), "100\r\n{"),
        ...both(timeout) },
    "before the last chunk": { script: send(head_bytes(200, { ...JSON_TYPE, ...CHUNKED }),
        chunk(GOOD)), ...both(timeout) },
    "inside the first event": { script: send(head_bytes(200, { ...SSE_TYPE, ...CHUNKED }),
        chunk("data: {\"id\":")), ...both(timeout) },
    "between events": { script: async (ex) => {
        await ex.open_stream();
        await ex.event(FIRST);
    }, whole: timeout, stream: mid(FIRST, "upstream_timeout") },
    "inside an event": { script: async (ex) => {
        await ex.open_stream();
        await ex.event(`${FIRST}data: {"id":`);
    }, whole: timeout, stream: mid(FIRST, "upstream_timeout") },
    "inside compressed bytes": { script: (ex) => ex.write(Buffer.concat([head_bytes(200,
        { ...type_of(ex), ...CHUNKED, "content-encoding": "gzip" }),
    chunk(gzip(Buffer.from(right(ex))).subarray(0, 20))])), ...both(timeout) },
};

for (const flavour of FLAVOURS) {
    test(`upstream, ${flavour.name}: one that stalls, anywhere, is let go after proxy_timeout`,
        { skip: flavour.skip }, async () => {
            const { proxy, mock } = flavour;
            const from = mock.requests.length;
            const failures = [];
            await Promise.all(Object.entries(STALLS).flatMap(([name, row]) => {
                mock.on(name, row.script);
                return [false, true].map(async (stream) => {
                    const at = now();
                    try {
                        const answer = await proxy.chat(body_of(`quick:${name}`, stream, "u"));
                        row[stream ? "stream" : "whole"](answer, `${name}, ${stream}`);
                        const took = now() - at;
                        assert.ok(took >= SILENCE_MS * 0.95 && took < SILENCE_MS + 10_000,
                            `${name}: after ${took} ms`);
                    } catch (error) {
                        failures.push(`${name}, ${stream ? "stream" : "whole"}: ${error.message}`);
                    }
                });
            }));
            assert.deepEqual(failures, []);
            for (const ex of mock.requests.slice(from)) {
                await within(5_000, "the stalled connection is closed", ex.closed);
            }
            await next_works(flavour, false);
            await next_works(flavour, true);
            await settled(proxy, { mocks: [mock] });
        });

    test(`upstream, ${flavour.name}: one that is slow, but never silent, outlives proxy_timeout`,
        { skip: flavour.skip }, async () => {
            const { proxy, mock } = flavour;
            mock.on("drip", async (ex) => {
                const bytes = Buffer.concat([head_bytes(200, { ...type_of(ex), ...CHUNKED }),
                    chunk(right(ex)), LAST_CHUNK]);
                const n = 12;
                for (let i = 0; i < n; i++) {
                    await ex.write(bytes.subarray(Math.floor(bytes.length * i / n),
                        Math.floor(bytes.length * (i + 1) / n)));
                    await turn(SILENCE_MS / 6);
                }
            });
            await in_time(SILENCE_MS / 3, async () => {
                const answers = await Promise.all([false, true].map((stream) =>
                    proxy.chat(body_of("quick:drip", stream, "u"))));
                answers.forEach((answer) => fine(answer, "drip"));
            });
            await settled(proxy, { mocks: [mock] });
        });

    /* ---- Idle connections ---- */

    test(`upstream, ${flavour.name}: answers to nobody on an idle connection are nobody's`,
        { skip: flavour.skip }, async () => {
            const { proxy, mock } = flavour;
            for (const [what, act] of Object.entries({
                "an answer": (s) => s.write(with_length(GOOD.replace("right", "wrong"))),
                "408, as some servers say before they close": (s) =>
                    s.end("HTTP/1.1 408 Request Time-out\r\nconnection: close\r\n\r\n"),
                "one byte": (s) => s.write("H"),
                "garbage": (s) => s.write("\u0000\u0001\u0002"),
                "FIN": (s) => s.end(),
                "RST": (s) => s.reset(),
            })) {
                await next_works(flavour, false);
                await until(() => mock.sockets.size > 0, "an idle connection");
                const idle = [...mock.sockets];
                idle.forEach(act);
                /* At once, so that the bytes and the request may cross; and when they came. */
                await next_works(flavour, false);
                await until(() => idle.every((s) => s.destroyed || s.readableEnded),
                    `${what}: the idle connections are let go`);
                await next_works(flavour, true);
                await settled(proxy, { mocks: [mock] });
            }
        });

    /* ---- Before the request was read ---- */

    for (const [what, status, end] of [["413 and closes", 413, "fin"], ["413 and resets", 413,
        "rst"], ["413 and reads on", 413, null], ["401 and reads on", 401, null],
    ["200 and reads on", 200, null]]) {
        test(`upstream, ${flavour.name}: one that answers ${what} before the body was read`,
            { skip: flavour.skip }, async () => {
                const { proxy, mock } = flavour;
                const bodies = [100_000, 6_000_000];
                const said = `{"error":{"message":"early","type":"t","code":"c","param":null}}`;
                for (const size of bodies) {
                    mock.early = async (ex) => {
                        if (end !== null) {
                            ex.socket.pause();
                        }
                        await ex.respond({ status, headers: JSON_TYPE,
                            body: status === 200 ? GOOD : said });
                        if (end) {
                            await turn(5);
                            ex.socket.resume();
                            ex[end]();
                        }
                    };
                    const body = JSON.stringify({ ...JSON.parse(body_of("mock:m1", false, "u")),
                        pad: "p".repeat(size) });
                    const answer = await proxy.chat(body);
                    if (status === 200) {
                        bytes(GOOD)(answer, what);
                    } else if (end === "rst" && answer.status === 502) {
                        broken(answer, what); /* the reset overtook the answer */
                    } else {
                        bytes(said, status)(answer, what);
                    }
                }
                await next_works(flavour, false);
                await settled(proxy, { mocks: [mock] });
            });
    }
}

test("upstream: the counters of all this are whole, and nothing grew", async (t) => {
    for (const { name, proxy, skip } of FLAVOURS) {
        if (skip) {
            continue;
        }
        const sums = await metrics(proxy);
        assert.ok(sums.llm_proxy_attempt_failures_total > 100);
        assert.equal(sums.llm_proxy_cancelled_total, 0, "no client left");
        t.diagnostic(`${name}: ${proxy.rss_kib()} KiB resident`);
        assert.ok(proxy.rss_kib() < (SLOW ? 600 : 40) * 1024, `${proxy.rss_kib()} KiB`);
    }
});
