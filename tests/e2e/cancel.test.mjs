/* SPDX-License-Identifier: MIT */
/*
 * A client that leaves costs nothing more: the upstream sees its connection closed within 100 ms,
 * in whatever state the exchange is.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { until, within } from "./lib/http1.mjs";
import { Mock, chunk, delta, head_bytes } from "./lib/mock.mjs";
import { backend, gone_at_once, start, stop_all, test } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const ask = (stream) => JSON.stringify({ model: "mock:m1", stream,
    messages: [{ role: "user", content: "x" }] });

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

const LEAVE = {
    "closes": (client) => client.socket.destroy(),
    "resets": (client) => client.socket.resetAndDestroy(),
    "half-closes": (client) => client.socket.end(),
};

const STATES = {
    "while the upstream has not answered a stream request": {
        stream: true, script: () => {},
    },
    "while the upstream has not answered a whole request": {
        stream: false, script: () => {},
    },
    "in the middle of a stream": {
        stream: true, some: true,
        script: async (ex) => {
            await ex.open_stream();
            await ex.event(delta("m1", { role: "assistant", content: "x" }));
        },
    },
    "between the upstream's head and its first event": {
        stream: true, script: (ex) => ex.open_stream(),
    },
    "in the middle of a whole body": {
        stream: false,
        script: async (ex) => {
            await ex.write(head_bytes(200, { "content-type": "application/json",
                "transfer-encoding": "chunked" }));
            await ex.write(chunk("{\"id\":\"x\","));
        },
    },
};

for (const [where, { stream, script, some }] of Object.entries(STATES)) {
    for (const [how, leave] of Object.entries(LEAVE)) {
        test(`cancel: a client that ${how} ${where} ends the upstream's work at once`,
            async () => {
                let written;
                const scripted = new Promise((resolve) => { written = resolve; });
                mock.next(async (ex) => {
                    await script(ex);
                    written();
                });
                const arrival = mock.arrival();
                const client = await proxy.connect();
                client.send({ path: CHAT, headers: proxy.headers(), body: ask(stream) });
                const ex = await within(5_000, "the request at the upstream", arrival);
                await scripted;
                if (some) {
                    const answer = await client.head();
                    assert.equal(answer.status, 200);
                } else {
                    client.head().catch(() => {});
                }
                await gone_at_once(proxy, () => leave(client), ex.closed);
                client.destroy();
            });
    }
}

test("cancel: a client that leaves a stream in full flow stops the upstream", async () => {
    mock.next(async (ex) => {
        await ex.open_stream();
        while (!ex.socket.destroyed && ex.socket.writable) {
            await ex.event(delta("m1", { content: "x".repeat(1000) }));
        }
    });
    const arrival = mock.arrival();
    const client = await proxy.connect();
    client.send({ path: CHAT, headers: proxy.headers(), body: ask(true) });
    const ex = await arrival;
    const answer = await client.head();
    await until(() => answer.body.length >= 100_000, "it flows");
    await gone_at_once(proxy, () => client.destroy(), ex.closed);
});

test("cancel: one client leaving does not touch another's stream on the same backend",
    async () => {
        const go = [];
        const script = async (ex) => {
            await ex.open_stream();
            await ex.event(delta("m1", { role: "assistant", content: "x" }));
            await new Promise((resolve) => go.push(resolve));
            await ex.event(delta("m1", {}, "stop"));
            await ex.close_stream();
        };
        mock.next(script);
        mock.next(script);
        const clients = [await proxy.connect(), await proxy.connect()];
        for (const client of clients) {
            client.send({ path: CHAT, headers: proxy.headers(), body: ask(true) });
        }
        await clients[0].head();
        const stays = await clients[1].head();
        const first = mock.posts().at(-2).connection.closed;
        const second = mock.posts().at(-1).connection.closed;
        clients[0].destroy();
        await within(5_000, "one upstream connection is closed", Promise.race([first, second]));
        for (const resolve of go) {
            resolve();
        }
        await within(5_000, "the other stream's end", stays.done);
        assert.equal(stays.ended, "chunked");
        assert.match(stays.text, /\[DONE\]/);
        clients[1].destroy();
    });

test("cancel: a request sent ahead on the same connection is not taken for leaving", async () => {
    let release;
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "x" }));
        await new Promise((resolve) => { release = resolve; });
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    const client = await proxy.connect();
    client.send({ path: CHAT, headers: proxy.headers(), body: ask(true) });
    const stream = await client.head();
    client.send({ path: CHAT, headers: proxy.headers(), body: ask(false) });
    assert.equal(stream.ended, null);
    release();
    await within(5_000, "the end of the stream", stream.done);
    assert.match(stream.text, /\[DONE\]/);
    const second = await client.response();
    assert.equal(second.json.choices[0].message.content, "Hello from m1");
    client.destroy();
});
