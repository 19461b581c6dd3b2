/* SPDX-License-Identifier: MIT */
/*
 * Web pages: which origins may use the proxy, what their browsers are told, and which names the
 * proxy may be called by where no key protects it.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { raw, request } from "./lib/http1.mjs";
import { Mock, delta } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const APP = "https://app.example";
const body = (stream = false, model = "m1") => JSON.stringify({ model: `mock:${model}`, stream,
    messages: [{ role: "user", content: "x" }] });

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { header_bytes_max: "8KiB", cors_origins: [APP,
        "http://localhost:5173", "tauri://localhost", "https://port.example:443"],
    backends: { mock: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

function is_forbidden(answer, text = /cors_origins/) {
    assert.equal(answer.status, 403, answer.text);
    assert.equal(answer.json.error.type, "permission_error");
    assert.equal(answer.json.error.code, "forbidden");
    assert.match(answer.json.error.message, text);
    assert.equal(answer.get("access-control-allow-origin"), undefined);
}

function is_open_to(answer, origin) {
    assert.equal(answer.get("access-control-allow-origin"), origin);
    assert.match(answer.get("vary") ?? "", /\borigin\b/i);
    assert.equal(answer.get("access-control-allow-credentials"), undefined);
    for (const name of ["x-request-id", "x-llm-proxy-request-id", "retry-after",
        "x-llm-proxy-model"]) {
        assert.ok(answer.get("access-control-expose-headers").split(/, */).includes(name), name);
    }
}

for (const origin of ["https://evil.example", "http://app.example", "https://app.example:8443",
    "https://app.example.evil.example", "https://sub.app.example", "null", "", "file://",
    "http://localhost:5174", "http://localhost", "http://127.0.0.1:1", "https://app.example/",
    "https://app.example, https://app.example"]) {
    test(`cors: the origin ${JSON.stringify(origin)} is refused on every path, key or not`,
        async () => {
            const count = mock.posts().length;
            const headers = { Origin: origin };
            for (const [method, path] of [["POST", CHAT], ["GET", "/v1/models"], ["GET", "/"],
                ["GET", "/healthz"], ["GET", "/metrics"], ["GET", "/nope"], ["OPTIONS", CHAT]]) {
                is_forbidden(await proxy.call({ method, path, headers,
                    body: method === "POST" ? body() : null }));
                is_forbidden(await request(proxy.port, { method, path, headers }));
            }
            is_forbidden(await request(proxy.port, { method: "OPTIONS", path: CHAT,
                headers: { ...headers, "Access-Control-Request-Method": "POST" } }));
            assert.equal(mock.posts().length, count);
        });
}

for (const origin of [APP, "HTTPS://App.Example", "https://app.example:443",
    "http://localhost:5173", "tauri://localhost", "https://port.example"]) {
    test(`cors: the origin ${origin} is let in with a key, and may read answers and errors`,
        async () => {
            const headers = { Origin: origin };
            is_open_to(await proxy.call({ path: CHAT, headers, body: body() }), origin);
            const stream = await proxy.call({ path: CHAT, headers, body: body(true) });
            assert.match(stream.text, /\[DONE\]/);
            is_open_to(stream, origin);
            for (const [options, status] of [
                [{ method: "GET", path: "/v1/models" }, 200],
                [{ method: "GET", path: "/healthz" }, 200],
                [{ path: "/nope", body: "{}" }, 404],
                [{ method: "PUT", path: CHAT }, 405],
                [{ path: CHAT, body: "{" }, 400],
                [{ path: CHAT, body: body(false, "m1").replace("mock:", "gone:") }, 400],
                [{ method: "GET", path: "/v1/models", headers:
                    { Authorization: "Bearer wrong" } }, 401]]) {
                const answer = await proxy.call({ ...options,
                    headers: { ...headers, ...options.headers } });
                assert.equal(answer.status, status, answer.text);
                is_open_to(answer, origin);
            }
        });
}

test("cors: a refusal by HTTP itself can be read too", async () => {
    const { response } = await raw(proxy.port, Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n` +
        `Origin: ${APP}\r\nX-Long: ${"x".repeat(9_000)}\r\n\r\n`), { method: "GET" });
    assert.equal(response.status, 431);
    is_open_to(response, APP);
});

test("cors: a preflight needs no key and tells what was asked for", async () => {
    const asked = "authorization, content-type, x-stainless-os";
    for (const path of [CHAT, "/v1/models", "/healthz", "/nope"]) {
        const answer = await request(proxy.port, { method: "OPTIONS", path, headers: {
            Origin: APP, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked } });
        assert.equal(answer.status, 204, answer.text);
        is_open_to(answer, APP);
        assert.match(answer.get("access-control-allow-methods"), /\bPOST\b/);
        assert.equal(answer.get("access-control-allow-headers"), asked);
        assert.match(answer.get("access-control-max-age"), /^\d+$/);
        assert.equal(answer.get("content-length"), undefined);
    }
    /* What is no list of names, or an endless one, is not said again. */
    for (const list of [`x-${"y".repeat(3000)}`, "x-\u00e4"]) {
        const answer = await request(proxy.port, { method: "OPTIONS", path: CHAT, headers: {
            Origin: APP, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": list } });
        assert.equal(answer.status, 204);
        assert.equal(answer.get("access-control-allow-headers"), undefined);
    }
    /* OPTIONS of a page, but no preflight: a request as any other. */
    const plain = await request(proxy.port, { method: "OPTIONS", path: CHAT,
        headers: { Origin: APP } });
    assert.equal(plain.status, 401);
});

test("cors: the upstream's own CORS headers never go down", async () => {
    mock.next(async (ex) => {
        await ex.open_stream({ "access-control-allow-origin": "*",
            "access-control-allow-credentials": "true", "access-control-expose-headers": "z" });
        await ex.event(delta("m1", { content: "x" }, "stop"));
        await ex.close_stream();
    });
    const answer = await proxy.call({ path: CHAT, headers: { Origin: APP }, body: body(true) });
    is_open_to(answer, APP);
    mock.next(async (ex) => {
        await ex.open_stream({ "access-control-allow-origin": "*" });
        await ex.event(delta("m1", { content: "x" }, "stop"));
        await ex.close_stream();
    });
    const other = await proxy.call({ path: CHAT, body: body(true) });
    assert.equal(other.get("access-control-allow-origin"), undefined);
});

test("cors: our own origin is let in without being listed: scheme, host and port of the request",
    async () => {
        for (const [host, origin] of [["127.0.0.1:8000", "http://127.0.0.1:8000"],
            ["proxy.lan", "http://proxy.lan"], ["proxy.lan:80", "http://proxy.lan"],
            ["[::1]:8000", "http://[::1]:8000"]]) {
            const answer = await proxy.call({ path: CHAT, body: body(),
                headers: { Host: host, Origin: origin } });
            assert.equal(answer.status, 200, answer.text);
            assert.equal(answer.get("access-control-allow-origin"), undefined);
        }
        for (const [host, origin] of [["127.0.0.1:8000", "http://127.0.0.1:8001"],
            ["proxy.lan", "https://proxy.lan"], ["proxy.lan:8000", "http://proxy.lan"]]) {
            is_forbidden(await proxy.call({ path: CHAT, body: body(),
                headers: { Host: host, Origin: origin } }));
        }
    });

test("cors: behind a trusted proxy that says https, our own origin is the https one", async () => {
    const behind = await start({ config: { trusted_proxies: ["127.0.0.1"],
        backends: { mock: backend(mock) } } });
    const ask = (origin, proto) => behind.call({ method: "GET", path: "/v1/models", headers: {
        Host: "proxy.lan", Origin: origin, ...proto ? { "X-Forwarded-Proto": proto } : {} } });
    assert.equal((await ask("https://proxy.lan", "https")).status, 200);
    assert.equal((await ask("http://proxy.lan", "http")).status, 200);
    is_forbidden(await ask("http://proxy.lan", "https"));
    is_forbidden(await ask("https://proxy.lan", null));
    await behind.stop();
    /* Of anybody else it is not believed. */
    is_forbidden(await proxy.call({ method: "GET", path: "/v1/models", headers: {
        Host: "proxy.lan", Origin: "https://proxy.lan", "X-Forwarded-Proto": "https" } }));
});

test("cors: over TLS our own origin is the https one",
    { skip: available() ? false : "the openssl command is not installed" }, async () => {
        const dir = temp_dir();
        const certs = make(dir);
        const secure = { ca: fs.readFileSync(certs.ca), servername: "localhost" };
        const safe = await start({ secure, config: { backends: { mock: backend(mock) },
            tls: { cert: `${dir}/good.pem`, key: `${dir}/good.key` } } });
        const ask = (host, origin) => safe.call({ method: "GET", path: "/v1/models",
            headers: { Host: host, Origin: origin } });
        for (const [host, origin] of [["proxy.lan", "https://proxy.lan"],
            ["proxy.lan:443", "https://proxy.lan"], ["proxy.lan:8", "https://proxy.lan:8"]]) {
            assert.equal((await ask(host, origin)).status, 200);
        }
        for (const [host, origin] of [["proxy.lan", "http://proxy.lan"],
            ["proxy.lan:80", "https://proxy.lan"], ["proxy.lan", "https://proxy.lan:80"]]) {
            is_forbidden(await ask(host, origin));
        }
        await safe.stop();
        fs.rmSync(dir, { recursive: true, force: true });
    });

test("cors: * lets every origin in, a key is still needed", async () => {
    const open = await start({ config: { cors_origins: ["*"],
        backends: { mock: backend(mock) } } });
    for (const origin of ["https://any.example", "null", "app://obsidian.md"]) {
        is_open_to(await open.call({ path: CHAT, headers: { Origin: origin }, body: body() }),
            origin);
        const stranger = await request(open.port, { path: CHAT, headers: { Origin: origin },
            body: body() });
        assert.equal(stranger.status, 401);
        is_open_to(stranger, origin);
    }
    /* What is no origin is not said again. */
    for (const origin of ["", "x y", "https://a/b", "https://\u00e4.example"]) {
        is_forbidden(await open.call({ path: CHAT, headers: { Origin: origin }, body: body() }));
    }
    await open.stop();
});

test("cors: without authentication only this machine's names are answered (DNS rebinding)",
    async () => {
        const free = await start({ config: `host: 127.0.0.1\ndisable_auth: true\nbackends:\n` +
            `  mock: {protocol: openai-chat, api_url: "${mock.url}", api_keys: [k]}\n` });
        const ask = (host, path = "/v1/models", more = {}) => request(free.port, { method: "GET",
            path, headers: { Host: host, ...more } });
        for (const host of ["localhost", "LocalHost:9", "127.0.0.1", `127.0.0.1:${free.port}`,
            "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:1"]) {
            assert.equal((await ask(host)).status, 200, host);
        }
        for (const host of ["evil.example", `evil.example:${free.port}`, "localhost.evil.example",
            "127.0.0.1.evil.example", "0.0.0.0", "127.0.0.2", "[::2]", "2130706433", "localhost."]) {
            for (const path of ["/v1/models", "/", "/healthz", "/nope"]) {
                is_forbidden(await ask(host, path), /disable_auth/);
            }
            /* The page's own origin does not help it. */
            is_forbidden(await ask(host, "/v1/models", { Origin: `http://${host}` }), /disable_auth/);
        }
        const { response } = await raw(free.port, Buffer.from("GET / HTTP/1.0\r\n\r\n"),
            { method: "GET" });
        is_forbidden(response, /disable_auth/);
        is_forbidden(await ask("localhost", "/v1/models", { Origin: "http://evil.example" }));
        await free.stop();
    });

test("cors: SIGHUP takes other origins, for connections that are open, too", async () => {
    const one = await start({ config: { cors_origins: [APP], backends: { mock: backend(mock) } } });
    const client = await one.connect();
    const ask = async (origin) => {
        client.send({ method: "GET", path: "/v1/models",
            headers: [...one.headers(), ["Origin", origin]] });
        return client.response();
    };
    is_open_to(await ask(APP), APP);
    is_forbidden(await ask("https://next.example"));
    const file = `${one.dir}/config.yaml`;
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(APP, "https://next.example"));
    process.kill(one.pid, "SIGHUP");
    await one.logged(/reload\.done/);
    is_forbidden(await ask(APP));
    is_open_to(await ask("https://next.example"), "https://next.example");
    client.destroy();
    await one.stop();
});

test("cors: with authentication any name will do", async () => {
    const answer = await request(proxy.port, { path: CHAT, body: body(), headers: {
        Host: "proxy.lan:1234", Authorization: `Bearer ${KEY}` } });
    assert.equal(answer.status, 200, answer.text);
});
