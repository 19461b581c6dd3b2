/* SPDX-License-Identifier: MIT */
/*
 * Answers that are no answer: redirects, which are never followed nor shown; and refusals that come
 * before the request was read, with a reset behind them.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { after, before } from "node:test";

import { within } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { backend, start, stop_all, test } from "./lib/proxy.mjs";

const BODY = { model: "mock:m1", messages: [{ role: "user", content: "x" }] };
const SECRET = "hush-hush";
/* More than the sockets between the two take. */
const LARGE = { ...BODY, messages: [{ role: "user", content: "x".repeat(12_000_000) }] };

let mock;
let target;
let proxy;

before(async () => {
    mock = await Mock.start();
    target = await Mock.start();
    proxy = await start({ config: { retries: 0, default_backend: "mock",
        backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock, target));

async function is_502(answer, message) {
    assert.equal(answer.status, 502, answer.text);
    assert.equal(answer.json.error.type, "backend_error");
    assert.match(answer.json.error.message, message);
    assert.equal(answer.get("location"), undefined);
    for (const text of [answer.text, answer.head.raw.toString("latin1"), proxy.stderr]) {
        assert.ok(!text.includes(SECRET), text);
    }
}

for (const status of [300, 301, 302, 303, 304, 305, 307, 308]) {
    test(`refusal: a ${status} is a 502; it is not followed, and where it leads is not told`,
        async () => {
            for (const stream of [false, true]) {
                for (const type of ["text/html", "application/json", "text/event-stream"]) {
                    mock.next((ex) => ex.respond({ status, headers: { "content-type": type,
                        location: `${target.url}/chat/completions?token=${SECRET}` },
                    body: status === 304 ? "" : JSON.stringify({ error: { message:
                        `go to ${target.url}?token=${SECRET}`, type: "moved", code: "moved" } }),
                    framing: status === 304 ? "close" : "length" }));
                    await is_502(await proxy.chat({ ...BODY, stream }),
                        new RegExp(`status ${status} from mock`));
                }
            }
            /* The secrets of the request went nowhere else either. */
            assert.equal(target.connections, 0);
            assert.equal((await proxy.chat(BODY)).status, 200);
        });
}

/** An upstream that answers at the first byte, reads no more, and closes: the peer sees a reset. */
async function refuses(bytes) {
    const server = net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => {
            socket.pause();
            socket.write(bytes, () => socket.destroy());
        });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { server, url: `http://127.0.0.1:${server.address().port}/v1` };
}

test("refusal: a 413 before the request was read reaches the client, although a reset follows",
    async () => {
        const error = JSON.stringify({ error: { message: "too large for me", type: "x",
            param: null, code: "y" } });
        const { server, url } = await refuses("HTTP/1.1 413 Content Too Large\r\n" +
            `Content-Type: application/json\r\nContent-Length: ${error.length}\r\n` +
            `Connection: close\r\n\r\n${error}`);
        const own = await start({ config: { retries: 0, backends: { up: backend({ url }) } } });
        for (let i = 0; i < 20; i++) {
            const answer = await own.chat({ ...LARGE, model: "up:m1" });
            assert.equal(answer.status, 413, answer.text);
            assert.equal(answer.text, error);
        }
        await stop_all(own);
        server.close();
        await within(5_000, "the upstream closes", once(server, "close"));
    });

test("refusal: a reset instead of an answer to a large request is a 502", async () => {
    const { server, url } = await refuses("");
    const own = await start({ config: { retries: 0, backends: { up: backend({ url }) } } });
    const answer = await own.chat({ ...LARGE, model: "up:m1" });
    assert.equal(answer.status, 502, answer.text);
    await stop_all(own);
    server.close();
});
