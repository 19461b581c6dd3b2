/* SPDX-License-Identifier: MIT */
/*
 * A client that does not read: the upstream is held back, the proxy's memory stays bounded, and
 * nothing is lost or doubled when the client reads on.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before } from "node:test";

import { now, within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, delta } from "./lib/mock.mjs";
import { SLOW, backend, gone_at_once, start, stop_all, test } from "./lib/proxy.mjs";

const MIB = 1024 * 1024;
/* What the kernel's buffers take of a stream that nobody reads is for the machine to say: the
 * upstream sends until the client reads again, and this much more; or until it is clear that
 * nobody holds it. */
const MORE = 48 * MIB;
const ENDLESS = 1024 * MIB;
/* A sanitizer keeps what was freed, and shadows the rest. */
const GROWTH_MAX_KIB = (SLOW ? 400 : 40) * 1024;

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

/** Waits until `read()` has not moved for 300 ms, and returns it. */
async function at_rest(read) {
    const end = now() + 120_000;
    let value = read();
    let since = now();
    while (now() - since < 300) {
        assert.ok(now() < end, "it never comes to rest");
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (read() !== value) {
            value = read();
            since = now();
        }
    }
    return value;
}

test("backpressure: a client that stops reading a long stream holds the upstream, not memory",
    async () => {
        const sent = { bytes: 0, hash: createHash("sha1") };
        const filler = "0123456789abcdef".repeat(1000);
        let total = ENDLESS;
        mock.next(async (ex) => {
            await ex.open_stream();
            for (let i = 0; sent.bytes < total; i++) {
                const event = Buffer.from(
                    `data: ${JSON.stringify(delta("m1", { content: `${i} ${filler}` }))}\n\n`);
                sent.hash.update(event);
                sent.bytes += event.length;
                await ex.write(chunk(event));
            }
            const end = Buffer.from(`data: ${JSON.stringify(delta("m1", {}, "stop"))}\n\n` +
                "data: [DONE]\n\n");
            sent.hash.update(end);
            sent.bytes += end.length;
            await ex.write(Buffer.concat([chunk(end), LAST_CHUNK]));
        });
        const client = await proxy.connect();
        const got = { bytes: 0, hash: createHash("sha1") };
        client.on_data = (bytes) => {
            got.bytes += bytes.length;
            got.hash.update(bytes);
        };
        const before_kib = proxy.rss_kib();
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify({ model: "mock:m1", stream: true,
                messages: [{ role: "user", content: "x" }] }) });
        const answer = await client.head();
        client.socket.pause();
        const held = await at_rest(() => sent.bytes);
        const grown = proxy.rss_kib() - before_kib;
        assert.ok(held < ENDLESS, `the upstream could send ${held >> 20} MiB unread`);
        assert.ok(grown < GROWTH_MAX_KIB, `the proxy grew by ${grown} KiB`);

        /* Meanwhile the same worker serves others. */
        const other = await proxy.chat({ model: "mock:m2",
            messages: [{ role: "user", content: "x" }] });
        assert.equal(other.status, 200);

        total = held + MORE;
        client.socket.resume();
        await within(SLOW ? 240_000 : 30_000, "the whole stream", answer.done);
        assert.equal(answer.ended, "chunked");
        assert.equal(got.bytes, sent.bytes);
        assert.equal(got.hash.digest("hex"), sent.hash.digest("hex"));
        client.destroy();
    });

test("backpressure: a client that leaves while it holds a stream lets the upstream go",
    async () => {
        mock.next(async (ex) => {
            await ex.open_stream();
            while (!ex.socket.destroyed && ex.socket.writable) {
                await ex.event(delta("m1", { content: "x".repeat(16_000) }));
            }
        });
        const arrival = mock.arrival();
        const client = await proxy.connect();
        client.on_data = () => {};
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify({ model: "mock:m1", stream: true,
                messages: [{ role: "user", content: "x" }] }) });
        const ex = await arrival;
        await client.head();
        client.socket.pause();
        await at_rest(() => ex.socket.bytesWritten);
        await gone_at_once(proxy, () => client.socket.resetAndDestroy(), ex.closed);
    });
