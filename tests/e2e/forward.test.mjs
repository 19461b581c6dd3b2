/* SPDX-License-Identifier: MIT */
/*
 * Backends that are reached through a forward proxy: by a tunnel where they are https, in
 * absolute-form where they are http; and proxies that refuse, break off, or say nothing.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { Forward } from "./lib/forward.mjs";
import { within } from "./lib/http1.mjs";
import { Mock, sse, text_chunks } from "./lib/mock.mjs";
import { DEAD_PORT, backend, run, start, stop_all, temp_dir, test as plain_test } from
    "./lib/proxy.mjs";

const skip = available() ? false : "the openssl command is not installed";
const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "x" }];
const BODY = { model: "m1", messages: MESSAGES };
const SECURE = "elsewhere.example";     /* the name in certs.host */
const PLAIN = "plain.example";
const SECRET = "hush-hush";

let certs;
let secure;                             /* upstreams */
let plain;
let wrong;                              /* TLS, but not SECURE's certificate */
let routes;
const opened = [];                      /* by the test that runs */

before(async () => {
    if (skip) {
        return;
    }
    certs = make(temp_dir());
    secure = await Mock.start({ tls: certs.host });
    wrong = await Mock.start({ tls: certs.good });
    plain = await Mock.start();
    routes = { [`${SECURE}:443`]: secure.port, [`${SECURE}:8443`]: wrong.port,
        [`${PLAIN}:80`]: plain.port, [`${PLAIN}:8080`]: plain.port };
});

after(() => stop_all(secure, wrong, plain));

/** A test that stops what it opened. */
function test(name, options, body) {
    plain_test(name, options, async () => {
        try {
            await body();
        } catch (error) {
            opened.length = 0;          /* closed by the other test() */
            throw error;
        }
        await stop_all(...opened.splice(0).reverse());
    });
}

async function forward(options = {}) {
    const one = await Forward.start({ routes, ...options });
    opened.push(one);
    return one;
}

const at = (url, more = {}) => ({ ...backend({ url }), ...more });
const BACKENDS = () => ({
    secure: at(`https://${SECURE}/v1`), wrong: at(`https://${SECURE}:8443/v1`),
    plain: at(`http://${PLAIN}/v1`), other: at(`http://${PLAIN}:8080/v1`),
});

async function proxy_with({ config = {}, ...rest } = {}) {
    const one = await start({ config: { ca_file: certs.ca, default_backend: "secure", retries: 0,
        connect_timeout: "3s", proxy_timeout: "10s", backends: BACKENDS(), ...config }, ...rest });
    opened.push(one);
    return one;
}

async function is_refused(proxy, model, status, message) {
    const answer = await proxy.chat({ ...BODY, model });
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.json.error.message, message);
    for (const text of [answer.text, proxy.stderr]) {
        assert.ok(!text.includes(SECRET), text);
        assert.ok(!text.includes(Buffer.from(`user:${SECRET}`).toString("base64")));
        assert.ok(!text.includes("upstream-key-1"));
    }
}

/* ---- Ways that work ---- */

/* Where connections are counted: each worker has its own. */
const ONE = { workers: 1 };

for (const kind of ["http", "https"]) {
    test(`forward: an https backend through an ${kind} proxy: a tunnel, kept for the next request`,
        { skip }, async () => {
            const via = await forward({ auth: `user:${SECRET}`,
                tls: kind === "https" ? certs.good : null });
            const proxy = await proxy_with({ config: ONE,
                env: { HTTPS_PROXY: via.url(`user:${SECRET}`) } });
            const count = secure.connections;
            assert.equal((await proxy.chat(BODY)).json.choices[0].message.content,
                "Hello from m1");
            const streamed = await proxy.chat({ ...BODY, stream: true });
            assert.match(streamed.text, /"Hello".*" from".*\[DONE\]/s);
            const large = "z".repeat(3_000_000);
            assert.equal((await proxy.chat({ ...BODY,
                messages: [{ role: "user", content: large }] })).status, 200);
            assert.equal(secure.posts().at(-1).json.messages[0].content, large);
            assert.equal(via.connects.length, 1);
            assert.equal(via.requests.length, 0);
            assert.equal(secure.connections, count + 1);
            const [{ target, headers }] = via.connects;
            assert.equal(target, `${SECURE}:443`);
            assert.equal(headers.host, `${SECURE}:443`);
            assert.deepEqual(Object.keys(headers).sort(), ["host", "proxy-authorization"]);
            assert.equal(secure.posts().at(-1).get("host"), SECURE);
            assert.equal(secure.posts().at(-1).get("proxy-authorization"), undefined);
        });

    test(`forward: an http backend through an ${kind} proxy: absolute-form on one connection`,
        { skip }, async () => {
            const via = await forward({ auth: `us er:${SECRET}@`,
                tls: kind === "https" ? certs.good : null });
            const proxy = await proxy_with({ config: ONE, env: {
                http_proxy: via.url(`us%20er:${SECRET}%40`) } });
            for (const model of ["plain:m1", "other:m1"]) {
                assert.equal((await proxy.chat({ ...BODY, model })).status, 200);
                const streamed = await proxy.chat({ ...BODY, model, stream: true });
                assert.match(streamed.text, /"Hello".*" from".*\[DONE\]/s);
            }
            assert.deepEqual(via.requests.map((r) => `${r.method} ${r.url}`), [
                `POST http://${PLAIN}/v1/chat/completions`,
                `POST http://${PLAIN}/v1/chat/completions`,
                `POST http://${PLAIN}:8080/v1/chat/completions`,
                `POST http://${PLAIN}:8080/v1/chat/completions`]);
            assert.equal(via.requests[0].headers.host, PLAIN);
            assert.equal(via.requests[2].headers.host, `${PLAIN}:8080`);
            assert.equal(via.connects.length, 0);
            assert.equal(via.connections, 2);
        });
}

test("forward: a stream comes through a tunnel event by event; a client that leaves closes it",
    { skip }, async () => {
        const via = await forward();
        const proxy = await proxy_with({ config: { all_proxy: via.url() } });
        let seen = "";
        let wake = () => {};
        const events = text_chunks("m1", ["One", " two"]).map((c) => sse([c], false));
        let exchange;
        secure.next(async (ex) => {
            exchange = ex;
            await ex.open_stream();
            for (const [i, event] of events.entries()) {
                await ex.event(event);
                await within(10_000, `event ${i}`, new Promise((done) => {
                    wake = () => seen.split("\n\n").length > i + 1 && done();
                    wake();
                }));
            }
            assert.equal(seen, events.join(""));
            client.destroy();
        });
        const client = await proxy.connect();
        client.on_data = (bytes) => {
            seen += bytes;
            wake();
        };
        client.send({ path: CHAT, headers: proxy.headers(),
            body: JSON.stringify({ ...BODY, stream: true }) });
        await client.head();
        await within(10_000, "the client leaves", client.closed);
        await within(2_000, "the tunnel closes", exchange.closed);
    });

test("forward: a tunnel that died in the pool is replaced without the client noticing", { skip },
    async () => {
        const via = await forward();
        const proxy = await proxy_with({ config: { ...ONE, https_proxy: via.url() } });
        assert.equal((await proxy.chat(BODY)).status, 200);
        secure.next((ex) => ex.rst());
        const answer = await proxy.chat(BODY);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.get("x-llm-proxy-attempts"), "1");
        assert.equal(via.connects.length, 2);
    });

/* ---- Which ---- */

test("forward: loopback is never reached through a proxy, nor what NO_PROXY names", { skip },
    async () => {
        const via = await forward();
        const proxy = await proxy_with({
            config: { connect_timeout: "1s", backends: { ...BACKENDS(), local: backend(plain),
                localhost: at(plain.url.replace("127.0.0.1", "localhost")) } },
            files: { ".env": `ALL_PROXY=${via.url()}\nno_proxy=.example:443 10.0.0.0/8\n` },
        });
        for (const model of ["local:m1", "localhost:m1"]) {
            assert.equal((await proxy.chat({ ...BODY, model })).status, 200);
        }
        assert.ok((await proxy.chat(BODY)).status >= 502);
        assert.equal(via.connections, 0);
        /* Only that port. */
        assert.equal((await proxy.chat({ ...BODY, model: "plain:m1" })).status, 200);
        assert.equal(via.requests.length, 1);
    });

test("forward: the scheme decides which one; ALL_PROXY where there is none of its own", { skip },
    async () => {
        const [https_via, all_via] = [await forward(), await forward()];
        const proxy = await proxy_with({ env: { HTTPS_PROXY: https_via.url(),
            ALL_PROXY: all_via.url() } });
        assert.equal((await proxy.chat(BODY)).status, 200);
        assert.equal((await proxy.chat({ ...BODY, model: "plain:m1" })).status, 200);
        assert.equal(https_via.connects.length, 1);
        assert.equal(https_via.requests.length, 0);
        assert.equal(all_via.connects.length, 0);
        assert.equal(all_via.requests.length, 1);
    });

test("forward: another proxy after SIGHUP", { skip }, async () => {
    const [one, two] = [await forward(), await forward()];
    const proxy = await proxy_with({ config: ONE,
        files: { ".env": `HTTPS_PROXY=${one.url()}\n` } });
    assert.equal((await proxy.chat(BODY)).status, 200);
    fs.writeFileSync(`${proxy.dir}/.env`, `HTTPS_PROXY=${two.url()}\n`);
    proxy.child.kill("SIGHUP");
    await within(10_000, "a request through the other", (async () => {
        while (two.connects.length === 0) {
            assert.equal((await proxy.chat(BODY)).status, 200);
        }
    })());
    assert.equal(one.connects.length, 1);
});

/* ---- What goes wrong ---- */

test("forward: a proxy that is not there: 502 that names it", { skip }, async () => {
    const proxy = await proxy_with({ env: {
        ALL_PROXY: `http://user:${SECRET}@127.0.0.1:${DEAD_PORT}` } });
    for (const model of ["secure:m1", "plain:m1"]) {
        await is_refused(proxy, model, 502,
            new RegExp(`^Could not connect.*the proxy 127\\.0\\.0\\.1:${DEAD_PORT}: .*refused`));
    }
});

test("forward: wrong credentials are a 502, and not in it", { skip }, async () => {
    const via = await forward({ auth: "user:another" });
    const proxy = await proxy_with({ env: { ALL_PROXY: via.url(`user:${SECRET}`) } });
    await is_refused(proxy, "secure:m1", 502, new RegExp(
        `^Could not connect.*the proxy ${via.name} refused to connect to the backend: 407 Proxy`));
    await is_refused(proxy, "plain:m1", 502, new RegExp(
        `^Could not connect.*the proxy ${via.name} refused: 407 Proxy`));
});

test("forward: a 407 out of a tunnel is the backend's own, and no word of the proxy's", { skip },
    async () => {
        const via = await forward();
        const proxy = await proxy_with({ env: { ALL_PROXY: via.url() } });
        const body = JSON.stringify({ error: { message: "who asks?", type: "x" } });
        secure.queue.push((ex) => ex.respond({ status: 407,
            headers: { "content-type": "application/json" }, body }));
        const answer = await proxy.chat({ ...BODY, model: "secure:m1" });
        assert.equal(answer.status, 407, answer.text);
        assert.equal(answer.text, body);
    });

const ends = (bytes) => (socket) => socket.end(bytes);
const says = (bytes) => (socket) => socket.write(bytes);

for (const [what, status, message, script] of [
    ["403", 502, /refused to connect to the backend: 403 Forbidden/,
        ends("HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<html>hush-hush</html>")],
    ["502", 502, /: 502 Bad Gateway/, ends("HTTP/1.1 502 No\r\n\r\n")],
    ["504", 504, /: 504 Gateway Timeout/, ends("HTTP/1.1 504 No\r\n\r\n")],
    ["a redirect", 502, /: 302 Found/,
        ends("HTTP/1.1 302 X\r\nLocation: https://hush-hush/\r\n\r\n")],
    ["garbage", 502, /not valid HTTP/, ends("<html>hush-hush</html>")],
    ["FIN", 502, /closed the connection instead of answering/, ends("")],
    ["half a head", 502, /closed the connection instead of answering/, ends("HTTP/1.1 200 O")],
    ["a reset", 502, /reset/, (socket) => socket.resetAndDestroy()],
    ["an over-long head", 502, /more than 32768 bytes/,
        says(`HTTP/1.1 200 OK\r\nA: ${"x".repeat(40_000)}\r\n\r\n`)],
    ["bytes behind its head", 502, /bytes behind its answer/,
        says("HTTP/1.1 200 OK\r\n\r\n\x15\x03\x01")],
    ["no TLS in the tunnel", 502, /through the proxy/,
        (socket) => {
            socket.write("HTTP/1.1 200 OK\r\n\r\n");
            socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
        }],
    ["a tunnel that ends at once", 502, /through the proxy/,
        (socket) => {
            socket.write("HTTP/1.1 200 OK\r\n\r\n");
            socket.once("data", () => socket.end());
        }],
    ["nothing at all", 504, /no connection to the backend within 1000 ms/, () => {}],
    ["nothing in the tunnel", 504, /within/, says("HTTP/1.1 200 OK\r\n\r\n")],
]) {
    test(`forward: a proxy that answers CONNECT with ${what}: ${status}, and it works on`,
        { skip }, async () => {
            const via = await forward();
            const proxy = await proxy_with({ env: { HTTPS_PROXY: via.url(`user:${SECRET}`) },
                config: { connect_timeout: "1s" } });
            via.script = script;
            await is_refused(proxy, "secure:m1", status, message);
            assert.match((await proxy.chat(BODY)).json.error.message, new RegExp(via.name));
            via.script = null;
            assert.equal((await proxy.chat(BODY)).status, 200);
        });
}

test("forward: who answers in the tunnel is verified as without one", { skip }, async () => {
    const via = await forward();
    const proxy = await proxy_with({ config: { https_proxy: via.url() } });
    const count = wrong.requests.length;
    await is_refused(proxy, "wrong:m1", 502, /through the proxy.*(hostname|certificate)/i);
    assert.equal(wrong.requests.length, count);
    /* tls_verify of the backend is its own. */
    const careless = await proxy_with({ config: { https_proxy: via.url(), backends: {
        secure: at(`https://${SECURE}/v1`),
        wrong: at(`https://${SECURE}:8443/v1`, { tls_verify: false }) } } });
    assert.equal((await careless.chat({ ...BODY, model: "wrong:m1" })).status, 200);
});

test("forward: an https proxy that is not who it says gets neither request nor credentials",
    { skip }, async () => {
        const via = await forward({ tls: certs.self });
        const config = { all_proxy: via.url(`user:${SECRET}`) };
        const proxy = await proxy_with({ config });
        for (const model of ["secure:m1", "plain:m1"]) {
            await is_refused(proxy, model, 502, new RegExp(`the proxy ${via.name}.*certificate`));
        }
        assert.equal(via.connects.length + via.requests.length, 0);
        /* It is the top level's tls_verify that counts, not the backend's. */
        const careless = await proxy_with({ config: { ...config, tls_verify: false, default_backend: "plain", backends: {
            plain: at(`http://${PLAIN}/v1`, { tls_verify: true }) } } });
        assert.equal((await careless.chat({ ...BODY, model: "plain:m1" })).status, 200);
    });

/* ---- Configuration ---- */

test("forward: passwords are shown by nothing", { skip }, async () => {
    const env = { HTTPS_PROXY: `http://user:${SECRET}@proxy.test:3128` };
    const printed = await run(["--print-config"], { env, config: {
        http_proxy: `https://user:${SECRET}@proxy.test` } });
    assert.equal(printed.code, 0);
    assert.match(printed.all, /https_proxy: "http:\/\/\*\*\*@proxy\.test:3128"/);
    assert.match(printed.all, /http_proxy: "https:\/\/\*\*\*@proxy\.test"/);
    assert.ok(!printed.all.includes(SECRET));
    for (const url of [`socks5://user:${SECRET}@proxy.test:1080`, `http://user:${SECRET}@:x`,
        `http://user:${SECRET}@h/path`]) {
        const checked = await run(["--check-config"], { env: { ALL_PROXY: url }, config: {} });
        assert.equal(checked.code, 1);
        assert.match(checked.all, /environment ALL_PROXY: error: all_proxy: must be the URL of/);
        assert.ok(!checked.all.includes(SECRET), checked.all);
    }
});
