/* SPDX-License-Identifier: MIT */
/*
 * Upstreams that code their answers although identity was asked for: what the client gets is the
 * decoded body, event by event where it is a stream; bombs and damaged ones are a 502.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import zlib from "node:zlib";

import { within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, head_bytes, sse, text_chunks, whole } from "./lib/mock.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";
import { cut, random } from "./lib/random.mjs";

const CHAT = "/v1/chat/completions";
const BODY = { model: "mock:m1", messages: [{ role: "user", content: "x" }] };
const STREAM = { ...BODY, stream: true };
const LIMIT = 1024 * 1024;
const rng = random("coding");

const CODERS = {
    gzip: ["gzip", zlib.createGzip, zlib.gzipSync],
    "x-gzip": ["x-gzip", zlib.createGzip, zlib.gzipSync],
    deflate: ["deflate", zlib.createDeflate, zlib.deflateSync],
    "deflate without its wrapper": ["deflate", zlib.createDeflateRaw, zlib.deflateRawSync],
};

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: {
        default_backend: "mock", response_bytes_max: LIMIT, retries: 0, proxy_timeout: "5s",
        backends: { mock: backend(mock) },
    } });
});

after(() => stop_all(proxy, mock));

function answer_with(body, coding, more = {}) {
    return (ex) => ex.respond({
        headers: { "content-type": "application/json", "content-encoding": coding }, body, ...more,
    });
}

async function is_502(answer, message) {
    assert.equal(answer.status, 502, answer.text);
    const { error } = answer.json;
    assert.equal(error.type, "backend_error");
    assert.match(error.message, message);
    /* And the backend works on. */
    assert.equal((await proxy.chat(BODY)).status, 200);
}

/* ---- Whole answers ---- */

for (const [what, [coding, , pack]] of Object.entries(CODERS)) {
    for (const framing of ["length", "chunked", "close"]) {
        test(`coding: a ${what} answer, ${framing}: the client gets the decoded bytes`, async () => {
            const content = Array.from({ length: 5000 }, () => `räksmörgås ${rng.below(999)}`);
            const body = ` ${JSON.stringify(whole("m1", { content: content.join(" ") }))}\n`;
            mock.next(answer_with(pack(body), coding, { framing, cuts: 20, rng }));
            const answer = await proxy.chat(BODY);
            assert.equal(answer.status, 200);
            assert.equal(answer.text, body);
            assert.equal(answer.get("content-encoding"), undefined);
            assert.equal(answer.get("content-length"), String(Buffer.byteLength(body)));
        });
    }
}

test("coding: several members, and padding after the last", async () => {
    const body = JSON.stringify(whole("m1", { content: "in pieces" }));
    const members = Buffer.concat([zlib.gzipSync(body.slice(0, 20)), zlib.gzipSync(""),
        zlib.gzipSync(body.slice(20)), Buffer.alloc(100)]);
    mock.next(answer_with(members, "gzip", { cuts: 10, rng }));
    assert.equal((await proxy.chat(BODY)).text, body);
});

test("coding: an upstream's error is decoded, and passed on with its own bytes", async () => {
    const body = "{ \"error\" : {\"message\":\"context too long\",\"code\":400} }\n";
    mock.next(answer_with(zlib.gzipSync(body), "gzip", { status: 400 }));
    const answer = await proxy.chat(BODY);
    assert.equal(answer.status, 400);
    assert.equal(answer.text, body);
});

test("coding: the list of models", async () => {
    const listing = await Mock.start();
    listing.on_get = answer_with(zlib.gzipSync(JSON.stringify({ object: "list",
        data: [{ id: "coded", object: "model", created: 1, owned_by: "x" }] })), "gzip");
    const own = await start({ config: { backends: { one: backend(listing) } } });
    const answer = await own.call({ method: "GET", path: "/v1/models" });
    assert.deepEqual(answer.json.data.map((m) => m.id), ["one:coded"]);
    await stop_all(own, listing);
});

test("coding: a coding that we cannot decode is a 502, two of one kind too", async () => {
    for (const coding of ["br", "zstd", "gzip, gzip", "deflate, gzip", "compress"]) {
        mock.next(answer_with(zlib.gzipSync("{}"), coding));
        await is_502(await proxy.chat(BODY), new RegExp(`content-encoding ${coding}`));
    }
});

/* ---- Bounds ---- */

test("coding: response_bytes_max is met exactly, decoded; one byte more is a 502", async () => {
    const empty = JSON.stringify(whole("m1", { content: "" })).length;
    let filler = "";
    while (filler.length < LIMIT) {
        filler += rng.below(2 ** 30).toString(36);
    }
    for (const [more, status] of [[0, 200], [1, 502]]) {
        const body = JSON.stringify(whole("m1",
            { content: filler.slice(0, LIMIT - empty + more) }));
        assert.equal(body.length, LIMIT + more);
        mock.next(answer_with(zlib.gzipSync(body), "gzip"));
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, status);
        if (status === 200) {
            assert.equal(answer.text, body);
        } else {
            await is_502(answer, /too large.*1048576 bytes/);
        }
    }
});

for (const [what, [coding, , pack]] of Object.entries(CODERS)) {
    test(`coding: a ${what} bomb is a 502, and costs no memory`, async () => {
        /* 200 MiB of blanks in 200 kB: 1,000 times its bytes. */
        const bomb = pack(Buffer.alloc(200 * 1024 * 1024, " "), { level: 9 });
        const rss = proxy.rss_kib();
        for (const body of [BODY, STREAM]) {
            mock.next(answer_with(bomb, coding));
            await is_502(await proxy.chat(body), /too large.*(100 times|1048576 bytes)/);
        }
        assert.ok(proxy.rss_kib() - rss < 16 * 1024, `${proxy.rss_kib() - rss} kB more`);
    });
}

/* ---- Damage ---- */

test("coding: cut inside the coded body, though its framing is whole: 502", async () => {
    const coded = zlib.gzipSync(JSON.stringify(whole("m1", { content: "to be cut" })));
    for (const n of [1, 9, 10, 11, 40, coded.length - 8, coded.length - 1]) {
        for (const framing of ["length", "chunked", "close"]) {
            mock.next(answer_with(coded.subarray(0, n), "gzip", { framing }));
            await is_502(await proxy.chat(BODY), /broke off or was not valid.*content coding/);
        }
    }
});

test("coding: a wrong check sum, and bytes that are not coded at all: 502", async () => {
    const coded = zlib.gzipSync(JSON.stringify(whole("m1", { content: "to be damaged" })));
    coded[coded.length - 8] ^= 1;
    mock.next(answer_with(coded, "gzip"));
    await is_502(await proxy.chat(BODY), /not valid gzip: incorrect data check/);
    mock.next(answer_with(JSON.stringify(whole("m1", { content: "plain" })), "gzip"));
    await is_502(await proxy.chat(BODY), /not valid gzip: incorrect header check/);
});

/* ---- Streams ---- */

/** Codes with a flush after each part; resolves with the bytes of each, and those of the end. */
async function flushed(make, parts) {
    const coder = make();
    const out = [];
    let got = [];
    coder.on("data", (bytes) => got.push(bytes));
    for (const part of parts) {
        coder.write(part);
        await new Promise((done) => coder.flush(zlib.constants.Z_SYNC_FLUSH, done));
        out.push(Buffer.concat(got));
        got = [];
    }
    const ended = new Promise((done) => coder.on("end", done));
    coder.end();
    await ended;
    out.push(Buffer.concat(got));
    return out;
}

for (const [what, [coding, make]] of Object.entries(CODERS)) {
    test(`coding: a ${what} stream is passed on event by event`, async () => {
        const events = [...text_chunks("m1", ["One", " two", " three"])
            .map((c) => `data: ${JSON.stringify(c)}\n\n`), "data: [DONE]\n\n"];
        const pieces = await flushed(make, events);
        let seen = 0;
        let wake = () => {};
        mock.next(async (ex) => {
            await ex.open_stream({ "content-encoding": coding });
            for (let i = 0; i < events.length; i++) {
                await ex.write(chunk(pieces[i]));
                /* Not before the client has this one does the upstream send the next. */
                await within(10_000, `event ${i} at the client`, new Promise((done) => {
                    wake = () => seen > i && done();
                    wake();
                }));
            }
            await ex.write(Buffer.concat([chunk(pieces[events.length]), LAST_CHUNK]));
        });
        const client = await proxy.connect();
        let text = "";
        client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(STREAM) });
        client.on_data = (bytes) => {
            text += bytes.toString("utf8");
            seen = text.split("\n\n").length - 1;
            wake();
        };
        const answer = await client.response();
        assert.equal(answer.status, 200);
        assert.equal(text, events.join(""));
        assert.equal(answer.get("content-encoding"), undefined);
        client.destroy();
    });
}

test("coding: a stream, cut anywhere, has its own bytes; longer than response_bytes_max too",
    async () => {
        const words = Array.from({ length: 8000 }, () => ` ${rng.below(2 ** 30).toString(36)}`);
        const text = sse(text_chunks("m1", words));
        assert.ok(text.length > LIMIT);
        const coded = zlib.gzipSync(text);
        mock.next(async (ex) => {
            await ex.open_stream({ "content-encoding": "gzip" });
            for (const part of cut(coded, 200, rng)) {
                await ex.write(chunk(part));
            }
            await ex.write(LAST_CHUNK);
        });
        const answer = await proxy.chat(STREAM);
        assert.equal(answer.status, 200);
        assert.ok(answer.text === text);
    });

test("coding: a stream that becomes a bomb ends with an error in the stream, not with [DONE]",
    async () => {
        const first = sse(text_chunks("m1", ["Hello"]), false);
        const [head, bomb] = await flushed(() => zlib.createGzip({ level: 9 }),
            [first, `: ${" ".repeat(60 * 1024 * 1024)}\n\n`]);
        mock.next(async (ex) => {
            await ex.open_stream({ "content-encoding": "gzip" });
            await ex.write(chunk(head));
            await ex.write(chunk(bomb));
        });
        const rss = proxy.rss_kib();
        const answer = await proxy.chat(STREAM);
        assert.equal(answer.status, 200);
        assert.ok(answer.text.startsWith(first));
        assert.match(answer.text, /"backend_error".*\n/);
        assert.match(answer.text, /100 times/);
        assert.doesNotMatch(answer.text, /\[DONE\]/);
        assert.ok(proxy.rss_kib() - rss < 16 * 1024);
    });

test("coding: a client that reads nothing stops a coded stream, which goes on when it reads",
    async () => {
        /* 20 MB of text in 0.25 MB: within the ratio. What is decoded must not pile up. */
        const events = sse(text_chunks("m1", Array.from({ length: 20_000 },
            (_, i) => ` word ${i} ${"lorem ipsum ".repeat(60)}${rng.below(2 ** 30)}`)));
        const coded = zlib.gzipSync(events);
        assert.ok(events.length / coded.length < 95, `${events.length / coded.length}`);
        let written = false;
        mock.next(async (ex) => {
            await ex.write(head_bytes(200, { "content-type": "text/event-stream",
                "content-encoding": "gzip", "content-length": coded.length }));
            await ex.write(coded);
            written = true;
        });
        const rss = proxy.rss_kib();
        const client = await proxy.connect();
        client.socket.pause();
        const arrival = mock.arrival();
        client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(STREAM) });
        await arrival;
        /* As much as sockets take; then nothing moves. */
        let before = -1;
        while (before !== proxy.rss_kib()) {
            before = proxy.rss_kib();
            await new Promise((done) => setTimeout(done, 200));
        }
        assert.ok(before - rss < 8 * 1024, `${before - rss} kB for a client that reads nothing`);
        client.socket.resume();
        const answer = await client.response();
        assert.ok(answer.text === events);
        assert.ok(written);
        /* The upstream's connection listens again, though its last bytes had to wait. On the same
         * connection, and so with the same worker and its pool. */
        client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify(BODY) });
        assert.equal((await client.response()).status, 200);
        client.destroy();
        assert.equal(mock.posts().at(-1).connection.n, mock.posts().at(-2).connection.n);
    });
