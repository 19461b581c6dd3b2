/* SPDX-License-Identifier: MIT */
/*
 * Connections on both sides: keep-alive, pipelining, reuse, HTTP/1.0, one write per turn.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { limited, raw, request_bytes } from "./lib/http1.mjs";
import { Mock, delta, sse, whole } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { cut, random } from "./lib/random.mjs";

const CHAT = "/v1/chat/completions";
const ask = (model, stream = false) => JSON.stringify({ model: `mock:${model}`, stream,
    messages: [{ role: "user", content: "x" }] });

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

const bytes_of = (model, more = {}) => request_bytes({ path: CHAT, port: proxy.port,
    headers: proxy.headers(), body: ask(model), ...more });

test("connection: requests one after another use one connection up, whole and streamed mixed",
    async () => {
        const client = await proxy.connect();
        const seen = new Set();
        for (let i = 0; i < 20; i++) {
            client.send({ path: CHAT, headers: proxy.headers(), body: ask(`k${i}`, i % 3 === 0) });
            const answer = await client.response();
            assert.equal(answer.status, 200);
            assert.ok(answer.text.includes(`k${i}`));
            seen.add(mock.posts().at(-1).connection.n);
        }
        client.destroy();
        assert.equal(seen.size, 1, "the upstream's connections were not used again");
    });

test("connection: pipelined requests are answered in their order, however slow the first",
    async () => {
        let release;
        mock.next(async (ex) => {
            await new Promise((resolve) => { release = resolve; });
            await ex.json_answer(whole("slow", { content: "slow" }));
        });
        const client = await proxy.connect();
        client.methods.push("POST", "POST", "GET", "POST");
        const arrival = mock.arrival();
        client.write(Buffer.concat([bytes_of("slow"), bytes_of("p2"),
            bytes_of("", { method: "GET", path: "/healthz", body: null }), bytes_of("p4")]));
        await arrival;
        release();
        const got = [];
        for (let i = 0; i < 4; i++) {
            got.push(await client.response());
        }
        assert.deepEqual(got.map((r) => r.status), [200, 200, 200, 200]);
        assert.equal(got[0].json.choices[0].message.content, "slow");
        assert.equal(got[1].json.choices[0].message.content, "Hello from p2");
        assert.equal(got[3].json.choices[0].message.content, "Hello from p4");
        client.destroy();
    });

test("connection: a request arriving in any pieces is the same request", async () => {
    const rng = random("pieces");
    const wanted = Buffer.from(ask("pieces").replace("mock:", ""));
    const client = await proxy.connect();
    for (let i = 0; i < 30; i++) {
        client.methods.push("POST");
        for (const part of cut(bytes_of("pieces"), i === 0 ? 10_000 : 1 + rng.below(6), rng)) {
            client.write(part);
            await new Promise((resolve) => setImmediate(resolve));
        }
        const answer = await client.response();
        assert.equal(answer.status, 200);
        assert.deepEqual(mock.posts().at(-1).body, wanted);
    }
    client.destroy();
});

test("connection: Connection: close is honoured after the whole answer", async () => {
    for (const stream of [false, true]) {
        const client = await proxy.connect();
        client.send({ path: CHAT, headers: [...proxy.headers(), ["Connection", "close"]],
            body: ask("c", stream) });
        const answer = await client.response();
        assert.equal(answer.status, 200);
        assert.match(answer.get("connection") ?? "", /close/i);
        await limited(50_000, "the proxy closes", client.closed);
    }
});

test("connection: an HTTP/1.0 client gets a stream that ends with the connection, not chunked",
    async () => {
        const body = ask("old", true);
        const { response } = await raw(proxy.port, Buffer.from(`POST ${CHAT} HTTP/1.0\r\n` +
            `Host: localhost\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json` +
            `\r\nContent-Length: ${body.length}\r\n\r\n${body}`), { wait_close: true });
        assert.equal(response.status, 200);
        assert.equal(response.get("transfer-encoding"), undefined);
        assert.ok(["close", "length"].includes(response.ended), response.ended);
        assert.ok(response.text.endsWith("data: [DONE]\n\n"));
    });

test("connection: an upstream that closes after each answer is no trouble", async () => {
    const client = await proxy.connect();
    for (let i = 0; i < 5; i++) {
        mock.next((ex) => ex.respond({ headers: { "content-type": "application/json" },
            framing: "close", body: JSON.stringify(whole("m", { content: `n${i}` })) }));
        client.send({ path: CHAT, headers: proxy.headers(), body: ask("m") });
        const answer = await client.response();
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.choices[0].message.content, `n${i}`);
    }
    client.destroy();
});

test("connection: an upstream connection with bytes nobody asked for is not used again",
    async () => {
        const client = await proxy.connect();
        mock.next(async (ex) => {
            const body = JSON.stringify(whole("m", { content: "good" }));
            await ex.write(Buffer.from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" +
                `Content-Length: ${body.length}\r\n\r\n${body}HTTP/1.1 200 OK\r\n` +
                "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n\"smugg\""));
        });
        client.send({ path: CHAT, headers: proxy.headers(), body: ask("m") });
        const first = await client.response();
        assert.ok([200, 502].includes(first.status));
        client.send({ path: CHAT, headers: proxy.headers(), body: ask("after") });
        const second = await client.response();
        assert.equal(second.status, 200, second.text);
        assert.equal(second.json.choices[0].message.content, "Hello from after");
        const [before, now] = mock.posts().slice(-2).map((ex) => ex.connection.n);
        assert.notEqual(now, before, "the connection was used again");
        client.destroy();
    });

test("connection: idle connections of one worker do not refuse the requests of another",
    async () => {
        const few = await start({ config: { workers: 3,
            backends: { mock: backend(mock, { upstream_connections_max: 2 }) } } });
        for (let i = 0; i < 60; i++) {
            const answer = await few.chat(ask(`few${i}`, i % 2 === 0));
            assert.equal(answer.status, 200, answer.text);
        }
        await few.stop();
    });

test("connection: a head as long as header_bytes_max allows goes down whole", async () => {
    const long = await start({ config: { header_bytes_max: "1MiB", upstream_idle_timeout: 0,
        backends: { mock: backend(mock), demo: {} } } });
    const headers = Object.fromEntries(Array.from({ length: 400 },
        (_, i) => [`x-ratelimit-${i}`, "v".repeat(1000)]));
    mock.next((ex) => ex.respond({ headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(whole("m", { content: "long" })) }));
    const answer = await long.chat(ask("m"));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.get("x-ratelimit-399")?.length, 1000);
    const demo = await long.chat(ask("m").replace("mock:m", "demo:echo"));
    assert.equal(demo.status, 200, demo.text);
    await long.stop();
});

test("connection: a status that HTTP does not know is no answer", async () => {
    mock.next((ex) => ex.write(Buffer.from(
        "HTTP/1.1 999 Odd\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")));
    const answer = await proxy.chat(ask("m"));
    assert.equal(answer.status, 502, answer.text);
});

test("connection: 1xx from the upstream is swallowed", async () => {
    mock.next(async (ex) => {
        await ex.write(Buffer.from("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"));
        await ex.json_answer(whole("m", { content: "final" }));
    });
    const answer = await proxy.chat(ask("m"));
    assert.equal(answer.status, 200);
    assert.equal(answer.json.choices[0].message.content, "final");
});

test("connection: head and first event of a stream, and events read together, leave together",
    async () => {
        const events = Array.from({ length: 40 }, (_, i) => delta("m", { content: `w${i}` }));
        mock.next((ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
            framing: "chunked", body: sse([...events, delta("m", {}, "stop")]) }));
        const client = await proxy.connect();
        let reads = 0;
        client.socket.on("data", () => reads++);
        client.send({ path: CHAT, headers: proxy.headers(), body: ask("m", true) });
        const answer = await client.response();
        assert.ok(answer.text.endsWith("[DONE]\n\n"));
        assert.ok(reads <= 4, `${reads} reads for what the upstream wrote at once`);
        client.destroy();
    });

test("connection: a target in absolute form with our own host is served", async () => {
    const body = ask("m1");
    const host = `127.0.0.1:${proxy.port}`;
    const { response } = await raw(proxy.port, Buffer.from(`POST http://${host}${CHAT} HTTP/1.1` +
        `\r\nHost: ${host}\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json` +
        `\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
    assert.equal(response.status, 200, response.text);
});
