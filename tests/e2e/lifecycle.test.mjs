/* SPDX-License-Identifier: MIT */
/*
 * Start and end of the process.
 */
import assert from "node:assert/strict";
import net from "node:net";
import { after, before } from "node:test";

import { limited, now, until, within } from "./lib/http1.mjs";
import { Mock, delta } from "./lib/mock.mjs";
import { backend, run, start, stop_all, test, yaml } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const STREAM = JSON.stringify({ model: "mock:m1", stream: true,
    messages: [{ role: "user", content: "x" }] });

let mock;

before(async () => {
    mock = await Mock.start();
});

after(() => stop_all(mock));

const refuses = (port) => new Promise((resolve) => {
    const socket = net.connect({ port, host: "127.0.0.1" });
    socket.on("connect", () => {
        socket.destroy();
        resolve(false);
    });
    socket.on("error", () => resolve(true));
});

async function half_a_stream(proxy) {
    let finish;
    mock.next(async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "half" }));
        await new Promise((resolve) => { finish = resolve; });
        await ex.event(delta("m1", { content: " whole" }));
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    const client = await proxy.connect();
    client.send({ path: CHAT, headers: proxy.headers(), body: STREAM });
    const answer = await client.head();
    return { client, answer, finish: () => finish() };
}

async function listener_closed(proxy) {
    await until(() => refuses(proxy.port), "the listener is closed after SIGTERM");
}

test("lifecycle: SIGTERM: no new connections, the running stream finishes, exit 0", async () => {
    const proxy = await start({ config: { backends: { mock: backend(mock) } } });
    const { client, answer, finish } = await half_a_stream(proxy);
    const idle = await proxy.connect();
    idle.send({ method: "GET", path: "/healthz" });
    await idle.response();
    process.kill(proxy.pid, "SIGTERM");
    await listener_closed(proxy);
    assert.equal(proxy.exit, null, "it left while a stream was running");
    finish();
    await within(10_000, "the stream's end", answer.done);
    assert.equal(answer.ended, "chunked");
    assert.match(answer.text, / whole/);
    assert.match(answer.text, /\[DONE\]/);
    client.destroy();
    idle.destroy();
    await proxy.stop();
});

test("lifecycle: while it drains, open connections get 503 and Connection: close, probes an answer",
    async () => {
        const proxy = await start({ config: { backends: { mock: backend(mock) } } });
        const { client, answer, finish } = await half_a_stream(proxy);
        const others = [];
        for (let i = 0; i < 4; i++) {
            const other = await proxy.connect();
            other.send({ method: "GET", path: "/healthz" });
            await other.response();
            others.push(other);
        }
        const count = mock.posts().length;
        process.kill(proxy.pid, "SIGTERM");
        await listener_closed(proxy);
        const ask = async (other, options) => {
            other.send(options);
            const got = await other.response();
            assert.match(got.get("connection") ?? "", /close/i);
            await within(5_000, "the proxy closes", other.closed);
            return got;
        };
        const refused = await ask(others[0], { path: CHAT, headers: proxy.headers(),
            body: STREAM });
        assert.equal(refused.status, 503);
        assert.match(refused.get("retry-after") ?? "", /^\d+$/);
        assert.equal(refused.json.error.type, "server_error");
        assert.equal(refused.json.error.code, "overloaded");
        const models = await ask(others[1], { method: "GET", path: "/v1/models",
            headers: proxy.headers() });
        assert.equal(models.status, 503);
        assert.equal((await ask(others[2], { method: "GET", path: "/healthz" })).status, 200);
        assert.equal((await ask(others[3], { method: "GET", path: "/readyz" })).status, 503);
        assert.equal(mock.posts().length, count);
        assert.equal(proxy.exit, null, "it left while a stream was running");
        finish();
        await within(10_000, "the stream's end", answer.done);
        assert.match(answer.text, /\[DONE\]/);
        client.destroy();
        await proxy.stop();
    });

test("lifecycle: idle connections do not hold the end up", async () => {
    const proxy = await start({ config: { workers: 3, backends: { mock: backend(mock) } } });
    const idle = [];
    for (let i = 0; i < 12; i++) {
        const other = await proxy.connect();
        if (i % 3 !== 0) {
            other.send({ method: "GET", path: "/healthz" });
            await other.response();
        }
        if (i % 3 === 2) {
            other.write(Buffer.from("GET /healthz HTTP/1.1\r\nHo"));
        }
        idle.push(other);
    }
    process.kill(proxy.pid, "SIGTERM");
    await limited(20_000, "the process ends", proxy.exited);
    for (const other of idle) {
        await within(1_000, "the connection is closed", other.closed);
    }
    await proxy.stop();
});

test("lifecycle: drain_timeout ends what does not end by itself, with exit 0", async () => {
    const proxy = await start({ config: { drain_timeout: "1s",
        backends: { mock: backend(mock) } } });
    const { client, answer } = await half_a_stream(proxy);
    const at = now();
    process.kill(proxy.pid, "SIGTERM");
    await limited(20_000, "the process ends", proxy.exited);
    assert.ok(now() - at >= 900, "it did not wait for drain_timeout");
    await within(1_000, "the client is let go", answer.done);
    assert.ok(!answer.text.includes("[DONE]"), "a broken stream must not look finished");
    await proxy.logged(/PERF_SUMMARY.*outcome=aborted/);
    client.destroy();
    await proxy.stop();
});

test("lifecycle: a second signal ends at once", async () => {
    const proxy = await start({ config: { backends: { mock: backend(mock) } } });
    const { client } = await half_a_stream(proxy);
    process.kill(proxy.pid, "SIGINT");
    await listener_closed(proxy);
    process.kill(proxy.pid, "SIGINT");
    await limited(20_000, "the process ends", proxy.exited);
    client.destroy();
    proxy.abandon();
});

test("lifecycle: a second start on the same port is a clear error", async () => {
    const proxy = await start({ config: { backends: { mock: backend(mock) } } });
    const { code, all } = await run(["--port", String(proxy.port)], {
        config: yaml({ api_keys: ["k"], backends: { mock: backend(mock) } }) });
    assert.notEqual(code, 0);
    assert.match(all, new RegExp(`\\b${proxy.port}\\b`));
    assert.match(all, /in use/i);
    await proxy.stop();
});

test("lifecycle: api_url with and without the version segment, and with a slash at its end",
    async () => {
        const bare = mock.url.replace(/\/v1$/, "");
        const urls = [bare, `${bare}/`, `${bare}/v1`, `${bare}/v1/`];
        const proxy = await start({ config: { backends: Object.fromEntries(urls.map((url, i) =>
            [`b${i}`, backend(mock, { api_url: url })])) } });
        for (let i = 0; i < urls.length; i++) {
            const answer = await proxy.chat({ model: `b${i}:m1`, messages: [{ role: "user",
                content: "x" }] });
            assert.equal(answer.status, 200, urls[i]);
            assert.equal(mock.posts().at(-1).target, "/v1/chat/completions", urls[i]);
        }
        await proxy.stop();
    });

test("lifecycle: keys from the environment make the vendor's backend functional", async () => {
    const proxy = await start({ config: {}, env: { OPENAI_API_KEY: "sk-env-1",
        OPENAI_API_BASE_URL: mock.url } });
    const answer = await proxy.chat({ model: "gpt-x", messages: [{ role: "user",
        content: "x" }] });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.get("x-llm-proxy-backend"), "openai");
    assert.equal(mock.posts().at(-1).get("authorization"), "Bearer sk-env-1");
    assert.equal(mock.posts().at(-1).json.model, "gpt-x");
    assert.ok(!proxy.stderr.includes("sk-env-1"), "the key is in the log");
    await proxy.stop();
});

test("lifecycle: logs hold neither keys nor what was said", async () => {
    const proxy = await start({ args: ["--log-level", "DEBUG"],
        config: { backends: { mock: backend(mock) } } });
    await proxy.chat({ model: "mock:m1", messages: [{ role: "user", content: "private-words" }] });
    await proxy.call({ path: CHAT, body: "{\"model\": private-words",
        headers: { Authorization: "Bearer wrong-key-shown" } });
    await proxy.chat({ model: "mock:m1", messages: [{ role: "user", content: "x" }] });
    await proxy.stop();
    await proxy.logged(/./, "no log at all");
    for (const secret of ["client-key-1", "upstream-key-1", "private-words", "wrong-key-shown",
        "Hello from"]) {
        assert.ok(!proxy.stderr.includes(secret), `${secret} is in the log`);
    }
});
