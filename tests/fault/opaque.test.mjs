/* SPDX-License-Identifier: MIT */
/*
 * Opaque paths whose peers break, stall or leave: what goes through as it is has no words of its
 * own for a failure, so that an end must be seen as what it is.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { after, before } from "node:test";

import { within } from "../e2e/lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, head_bytes } from "../e2e/lib/mock.mjs";
import { SLOW, backend, gone_at_once, start, stop_all, test } from "../e2e/lib/proxy.mjs";
import { baseline, metrics, settled, until } from "./settled.mjs";

const MIB = 1024 * 1024;
const LARGE = (SLOW ? 40 : 200) * 1000 * 1000;
/* The kept mebibyte, what is on its way, and what an allocator rounds up to. */
const GROWTH_MAX_KIB = SLOW ? 100 * 1024 : 3 * 1024;
const SILENCE_MS = SLOW ? 3000 : 600;
const BLOCK = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * 7 + (i >> 10)) & 255));

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: {
        default_backend: "mock", workers: 1, body_idle_timeout: `${SILENCE_MS}ms`,
        backends: { mock: backend(mock),
            quick: backend(mock, { proxy_timeout: `${SILENCE_MS}ms` }) },
    } });
    await upload(3 * MIB, (ex) => taken(ex).then(() => answer(ex))).then(({ client }) =>
        client.response().then(() => client.destroy()));
    await baseline(proxy);
});

after(() => stop_all(proxy, mock));

const answer = (ex) => ex.json_answer({ object: "file" });

/* Counts what comes instead of keeping it. Resolves when `bytes` of it did. */
function taken(ex, bytes = Infinity) {
    const hash = createHash("sha1");
    return new Promise((resolve) => {
        ex.count = 0;
        const length = Math.min(bytes, Number(ex.get("content-length") ?? Infinity));
        ex.parts = { push(part) {
            ex.count += part.length;
            hash.update(part);
            if (ex.count >= length) {
                resolve({ digest: () => hash.digest("hex") });
            }
        } };
    });
}

/* A client that has begun an upload of `bytes`, with the exchange at the upstream. */
async function upload(bytes, script, headers = {}, path = "/v1/files", to = proxy) {
    const client = await to.connect();
    let came;
    const exchange = new Promise((resolve) => { came = resolve; });
    mock.early = async (ex) => {
        came(ex);
        await script(ex);
    };
    client.methods.push("POST");
    client.write(Buffer.from([`POST ${path} HTTP/1.1`, "Host: 127.0.0.1", ...proxy.headers({
        "Content-Type": "application/octet-stream", "Content-Length": bytes, ...headers })
        .map((line) => Array.isArray(line) ? line.join(": ") : line)].join("\r\n") + "\r\n\r\n"));
    const hash = createHash("sha1");
    const sending = (async () => {
        for (let left = bytes; left > 0 && !client.socket.destroyed;) {
            const piece = BLOCK.subarray(0, Math.min(left, BLOCK.length));
            hash.update(piece);
            left -= piece.length;
            if (!client.socket.write(piece)) {
                await new Promise((resolve) => {
                    client.socket.once("drain", resolve);
                    client.socket.once("close", resolve);
                });
            }
        }
        return hash.digest("hex");
    })();
    return { client, exchange, sending };
}

test("an answer that is cut anywhere is no whole one, and a 502 before its head", async () => {
    const body = "0123456789".repeat(4);
    const forms = [
        Buffer.concat([head_bytes(200, { "content-type": "audio/mpeg",
            "content-length": body.length }), Buffer.from(body)]),
        Buffer.concat([head_bytes(200, { "content-type": "audio/mpeg",
            "transfer-encoding": "chunked" }), chunk(body.slice(0, 17)), chunk(body.slice(17)),
        LAST_CHUNK]),
    ];
    for (const bytes of forms) {
        const head = bytes.indexOf("\r\n\r\n") + 4;
        for (let at = 0; at < bytes.length; at += at > head - 6 && at < head + 8 ? 1 : 5) {
            for (const how of ["fin", "rst"]) {
                /* Also on the connection that takes a stale one's place. */
                mock.fallback = (async (ex) => {
                    await ex.write(bytes.subarray(0, at));
                    await new Promise((wake) => setTimeout(wake, 2));
                    ex[how]();
                });
                const client = await proxy.connect();
                client.send({ path: "/v1/audio/speech", headers: proxy.headers(), body: "{}" });
                const got = await client.response();
                if (at < head) {
                    assert.equal(got.status, 502, `${how} behind ${at}`);
                    assert.equal(got.json.error.code, "upstream_unreachable");
                } else {
                    assert.equal(got.status, 200, `${how} behind ${at}`);
                    assert.equal(got.ended, "cut", `${how} behind ${at}: ${got.text}`);
                    assert.ok(body.startsWith(got.text));
                }
                client.destroy();
            }
        }
    }
    await settled(proxy, { mocks: [mock] });
});

test("an upload that nobody takes yet waits, in bounded memory, and then arrives whole",
    async () => {
        let done;
        const { client, exchange, sending } = await upload(LARGE, async (ex) => {
            done = taken(ex);
            ex.socket.pause();
        });
        const ex = await exchange;
        const begin = proxy.rss_kib();
        let most = begin;
        const watch = setInterval(() => { most = Math.max(most, proxy.rss_kib()); }, 20);
        await new Promise((wake) => setTimeout(wake, 500));
        const waiting = ex.count;
        assert.ok(waiting < LARGE / 2, "it was not held back");
        ex.socket.resume();
        const { digest } = await within(SLOW ? 120_000 : 60_000, "the upload", done);
        clearInterval(watch);
        await answer(ex);
        assert.equal((await client.response()).status, 200);
        assert.equal(digest(), await sending);
        assert.ok(most - begin < GROWTH_MAX_KIB, `memory grew by ${most - begin} KiB`);
        client.destroy();
        await settled(proxy, { mocks: [mock] });
    });

test("a download that nobody takes yet waits, in bounded memory, and then arrives whole",
    async () => {
        const sent = createHash("sha1");
        let bytes = 0;
        mock.on_get = async (ex) => {
            await ex.write(head_bytes(200, { "content-type": "application/octet-stream",
                "content-length": LARGE }));
            while (bytes < LARGE && !ex.socket.destroyed) {
                const piece = BLOCK.subarray(0, Math.min(LARGE - bytes, BLOCK.length));
                sent.update(piece);
                bytes += piece.length;
                await ex.write(piece);
            }
        };
        const client = await proxy.connect();
        const got = createHash("sha1");
        client.on_data = (part) => got.update(part);
        client.send({ method: "GET", path: "/v1/files/f/content", headers: proxy.headers() });
        const response = await client.head();
        client.socket.pause();
        const begin = proxy.rss_kib();
        let most = begin;
        const watch = setInterval(() => { most = Math.max(most, proxy.rss_kib()); }, 20);
        await new Promise((wake) => setTimeout(wake, 500));
        assert.ok(bytes < LARGE, "it was not held back");
        client.socket.resume();
        await within(SLOW ? 120_000 : 60_000, "the download", response.done);
        clearInterval(watch);
        assert.equal(response.ended, "length");
        assert.equal(got.digest("hex"), sent.digest("hex"));
        assert.ok(most - begin < GROWTH_MAX_KIB, `memory grew by ${most - begin} KiB`);
        client.destroy();
        await settled(proxy, { mocks: [mock] });
    });

test("a client that leaves an upload, or a download, ends it at the upstream at once",
    async () => {
        const up = await upload(10 * MIB, (ex) => taken(ex), { "Content-Length": 50 * MIB });
        const ex = await up.exchange;
        await up.sending;
        await until(async () => ex.count >= 9 * MIB, "the bytes at the upstream");
        await gone_at_once(proxy, () => up.client.destroy(), ex.closed);
        let began;
        const head = new Promise((resolve) => { began = resolve; });
        mock.on_get = async (one) => {
            await one.write(head_bytes(200, { "content-length": LARGE }));
            began(one);
        };
        const client = await proxy.connect();
        client.send({ method: "GET", path: "/v1/files/f/content", headers: proxy.headers() });
        const one = await head;
        await client.head();
        await gone_at_once(proxy, () => client.destroy(), one.closed);
        await settled(proxy, { mocks: [mock] });
    });

/* What the kernel holds of a socket, by its two ports: not yet acknowledged, not yet read. */
function kernel_holds(from, to) {
    const hex = (port) => port.toString(16).toUpperCase().padStart(4, "0");
    const row = fs.readFileSync("/proc/net/tcp", "utf8").split("\n")
        .find((line) => line.includes(`:${hex(from)} `) && line.includes(`:${hex(to)} `) &&
            line.indexOf(`:${hex(from)} `) < line.indexOf(`:${hex(to)} `));
    const [, unsent, unread] = / ([0-9A-F]{8}):([0-9A-F]{8}) /.exec(row ?? " 00000000:00000000 ");
    return { unsent: parseInt(unsent, 16), unread: parseInt(unread, 16) };
}

/* Sends as much as the proxy takes, and little of what only its kernel does: what the client's own
 * kernel still had to send would stand before the end. */
async function fill(client) {
    const ours = client.socket.localPort;
    let full = 0;
    for (let i = 0; i < 5000 && full < 40; i++) {
        full = kernel_holds(proxy.port, ours).unread > 0 ? full + 1 : 0;
        if (full === 0 && client.socket.writableLength === 0) {
            client.write(BLOCK.subarray(0, 64 * 1024));
        }
        await new Promise((wake) => setTimeout(wake, full > 0 ? 5 : 0));
    }
    assert.equal(full, 40, "the proxy reads on without end");
    await until(async () => kernel_holds(ours, proxy.port).unsent === 0, "all is with the proxy");
}

const LEAVE = {
    closes: (client) => client.socket.destroy(),
    "half-closes": (client) => client.socket.end(),
    resets: (client) => client.socket.resetAndDestroy(),
};

for (const [how, leave] of Object.entries(LEAVE)) {
    test(`a client that ${how} while nobody takes its upload is noticed soon`,
        { skip: !fs.existsSync("/proc/net/tcp") && "no /proc/net/tcp" }, async () => {
            const cancelled = async () => (await metrics(proxy)).llm_proxy_cancelled_total ?? 0;
            const before = await cancelled();
            const { client, exchange } = await upload(0, (ex) => ex.socket.pause(),
                { "Content-Length": LARGE });
            client.write(BLOCK);
            client.write(BLOCK);
            const ex = await exchange;
            await fill(client);
            assert.equal(await cancelled(), before, "it is waited for");
            client.head().catch(() => {});
            leave(client);
            await until(async () => await cancelled() === before + 1, "it is noticed");
            ex.parts = { push() {} };
            ex.socket.resume();
            await within(10_000, "the end at the upstream", ex.closed);
            client.destroy();
            await settled(proxy, { mocks: [mock] });
        });
}

test("a reset is noticed behind megabytes that nobody takes", async () => {
    const { client, exchange } = await upload(LARGE, (ex) => ex.socket.pause());
    const ex = await exchange;
    let sent = -1;
    await until(async () => {
        await new Promise((wake) => setTimeout(wake, 200));
        const moved = client.socket.bytesWritten !== sent;
        sent = client.socket.bytesWritten;
        return !moved;
    }, "nobody takes anything");
    client.head().catch(() => {});
    client.socket.resetAndDestroy();
    await until(async () => (await metrics(proxy)).llm_proxy_requests_active === 1, "it is noticed");
    ex.parts = { push() {} };
    ex.socket.resume();
    await within(10_000, "the end at the upstream", ex.closed);
    await settled(proxy, { mocks: [mock] });
});

test("an upload takes no connection that its backend may be closing", async () => {
    for (const size of [3 * MIB, 1000]) {
        /* Closes each connection at the second request on it, without a word. */
        const strict = await Mock.start({ fallback: answer, on_get: answer });
        const served = new Set();
        strict.answer_early = (ex) => {
            if (served.has(ex.connection)) {
                ex.rst();
            }
            served.add(ex.connection);
        };
        const own = await start({ config: { default_backend: "mock", workers: 1,
            backends: { mock: backend(strict) } } });
        for (let i = 0; i < 4; i++) {
            const got = await own.call({ method: "GET", path: "/v1/files" });
            assert.equal(got.status, 200, got.text);
            const up = await own.call({ path: "/v1/files", body: Buffer.alloc(size, 65) });
            assert.equal(up.status, 200, up.text);
        }
        assert.ok((await metrics(own)).llm_proxy_upstream_connections <= 2,
            "an upload adds no connection to those that wait");
        await stop_all(own, strict);
    }
});

test("an upload that the upstream breaks off is a 502; one that it refuses, its refusal",
    async () => {
        for (const how of ["fin", "rst"]) {
            const { client } = await upload(40 * MIB, async (ex) => {
                await taken(ex, 5 * MIB);
                ex[how]();
            });
            const got = await client.response();
            assert.equal(got.status, 502, how);
            client.destroy();
        }
        const { client } = await upload(40 * MIB, async (ex) => {
            await taken(ex, 5 * MIB);
            await ex.json_answer({ error: { message: "no more" } }, { status: 413 });
        });
        const got = await client.response();
        assert.equal(got.status, 413);
        assert.equal(got.json.error.message, "no more");
        client.destroy();
        await settled(proxy, { mocks: [mock] });
    });

test("who stops in the middle: a client is told by body_idle_timeout, an upstream by its own",
    async () => {
        const slow = await upload(2 * MIB, (ex) => taken(ex), { "Content-Length": 4 * MIB });
        const ex = await slow.exchange;
        const got = await slow.client.response();
        assert.equal(got.status, 408, got.text);
        assert.match(got.text, /body_idle_timeout/);
        await within(10_000, "the end at the upstream", ex.closed);
        slow.client.destroy();
        const stalled = await upload(40 * MIB, async (one) => { one.socket.pause(); }, {},
            "/v1/files?model=quick:m");
        const told = await stalled.client.response();
        assert.equal(told.status, 504, told.text);
        stalled.client.destroy();
        (await stalled.exchange).socket.destroy();
        await settled(proxy, { mocks: [mock] });
    });

test("uploads that stand still hold nothing of what all requests share, and go on", async () => {
    const own = await start({ config: { default_backend: "mock", inflight_bytes_max: "8MiB",
        workers: 1, backends: { mock: backend(mock) } } });
    const held = async () => Number(/^llm_proxy_inflight_bytes (\d+)$/m.exec((await own.call(
        { method: "GET", path: "/metrics" })).text)[1]);
    const uploads = [];
    for (let i = 0; i < 12; i++) {
        const { client, exchange, sending } = await upload(2 * MIB, (ex) => { ex.done = taken(ex); },
            { "Content-Length": 3 * MIB }, "/v1/files", own);
        const ex = await exchange;
        await sending;
        await until(async () => ex.count >= 2 * MIB - 64 * 1024, "the bytes at the upstream");
        uploads.push({ client, ex });
    }
    assert.ok(await held() < MIB, `${await held()} bytes`);
    for (const { client, ex } of uploads) {
        client.write(BLOCK);
        await ex.done;
        await answer(ex);
        assert.equal((await client.response()).status, 200);
        client.destroy();
    }
    await own.stop();
});

test("an upload that runs when the process is asked to end is carried to its end", async () => {
    const own = await start({ config: { default_backend: "mock",
        backends: { mock: backend(mock) } } });
    const client = await own.connect();
    let done;
    mock.early = async (ex) => {
        done = taken(ex).then(() => answer(ex));
    };
    client.methods.push("POST");
    client.write(Buffer.from(`POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ` +
        `client-key-1\r\nContent-Length: ${4 * MIB}\r\n\r\n`));
    client.write(BLOCK);
    client.write(BLOCK);
    await until(async () => done !== undefined, "the request at the upstream");
    process.kill(own.pid, "SIGTERM");
    await own.logged(/draining|shutdown|stopping|drain/, "the end has begun");
    client.write(BLOCK);
    client.write(BLOCK);
    const got = await client.response();
    assert.equal(got.status, 200, got.text);
    assert.equal(got.get("connection"), "close");
    await own.stop();
});
