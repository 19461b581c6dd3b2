/* SPDX-License-Identifier: MIT */
/*
 * TLS on the proxy's own port: real https clients, and those that speak something else.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { limited, now, request, until, within } from "./lib/http1.mjs";
import { Mock, delta, sse, whole } from "./lib/mock.mjs";
import { KEY, PROGRAM, SLOW, backend, free_port, run, start, stop_all, temp_dir, test } from
    "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const skip = available() ? false : "the openssl command is not installed";
const sdk = await import("openai").catch(() => null);
const no_sdk = sdk ? skip : "the openai package is not installed: npm ci in tests/e2e";
const MESSAGES = [{ role: "user", content: "x" }];
const HEADER_TIMEOUT_MS = SLOW ? 4000 : 1000;

let dir;
let certs;
let secure;
let mock;
let proxy;
let several;
const paths = (name) => ({ cert: `${dir}/${name}.pem`, key: `${dir}/${name}.key` });

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    certs = make(dir);
    secure = { ca: fs.readFileSync(certs.ca), servername: "localhost" };
    mock = await Mock.start();
    const config = { tls: paths("good"), backends: { mock: backend(mock) } };
    proxy = await start({ secure, config: { ...config, workers: 1,
        header_timeout: HEADER_TIMEOUT_MS / 1000, logging: { level: "debug" } } });
    several = await start({ secure, config: { ...config, workers: 3 } });
});

after(async () => {
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(proxy, several, mock);
});

const ask = (p = proxy) => p.chat({ model: "m1", messages: MESSAGES });

async function connections(p) {
    const { text } = await p.call({ method: "GET", path: "/metrics" });
    return Number(/^llm_proxy_connections(?:\{\})? (\d+)$/m.exec(text)[1]);
}

/** Nothing stays behind: all that is open is the connection that asks. */
async function nothing_open(p = proxy) {
    await until(async () => await connections(p) <= 1, "all connections are closed");
}

/** Resolves when the socket is gone, however it went. */
const closed = (socket) => new Promise((resolve) => {
    socket.on("error", () => {});
    socket.on("close", resolve);
});

function connect(options = {}) {
    const socket = tls.connect({ port: proxy.port, host: "127.0.0.1", ...secure, ...options });
    socket.on("error", () => {});
    return socket;
}

test("listener: an answer, whole, over one and over several workers", { skip }, async () => {
    for (const p of [proxy, several]) {
        const answers = await Promise.all(Array.from({ length: 8 }, () => ask(p)));
        for (const answer of answers) {
            assert.equal(answer.status, 200, answer.text);
            assert.equal(answer.json.choices[0].message.content, "Hello from m1");
        }
    }
});

test("listener: node's https client verifies it, and uses a connection again", { skip },
    async () => {
        const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: secure.ca });
        const sockets = new Set();
        const get = () => new Promise((resolve, reject) => {
            const message = https.get({ host: "localhost", family: 4, port: proxy.port, agent,
                path: "/healthz" }, (answer) => {
                sockets.add(answer.socket);
                answer.resume().on("end", () => resolve(answer.statusCode));
            });
            message.on("error", reject);
        });
        for (let i = 0; i < 3; i++) {
            assert.equal(await get(), 200);
        }
        assert.equal(sockets.size, 1);
        agent.destroy();
    });

test("listener: a stream comes event by event, byte for byte", { skip }, async () => {
    const body = sse([...Array.from({ length: 3000 }, (_, i) => delta("m1",
        { content: `word ${i} ` })), delta("m1", {}, "stop")]);
    mock.next((ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
        framing: "chunked", body, cuts: 60, rng: random("listener stream") }));
    const streamed = await proxy.chat({ model: "m1", messages: MESSAGES, stream: true });
    assert.equal(streamed.text, body);
    assert.equal(streamed.ended, "chunked");

    /* An event leaves when it came, not with the next one. */
    const arrival = mock.arrival();
    mock.next(() => {});
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "m1", messages: MESSAGES, stream: true }) });
    const ex = await arrival;
    await ex.open_stream();
    for (let i = 1; i <= 3; i++) {
        await ex.event(delta("m1", { content: `w${i}` }));
        const answer = i === 1 ? client.answer = await client.head() : client.answer;
        await until(() => answer.text.includes(`"w${i}"`), `event ${i}`);
    }
    await ex.event(delta("m1", {}, "stop"));
    await ex.close_stream();
    await client.answer.done;
    client.destroy();
});

test("listener: the openai package, streamed and whole", { skip: no_sdk }, async () => {
    const agent = new https.Agent({ ca: secure.ca });
    /* The package takes a fetch: one over node's https, which knows the CA. */
    const fetch = (url, init) => new Promise((resolve, reject) => {
        const message = https.request(url, { method: init.method, agent, family: 4,
            headers: Object.fromEntries(new Headers(init.headers)) }, (answer) => {
            resolve(new Response(new ReadableStream({
                start(controller) {
                    answer.on("data", (bytes) => controller.enqueue(new Uint8Array(bytes)));
                    answer.on("end", () => controller.close());
                    answer.on("error", (error) => controller.error(error));
                },
            }), { status: answer.statusCode, headers: answer.headers }));
        });
        message.on("error", reject);
        message.end(init.body);
    });
    const openai = new sdk.default({ apiKey: KEY, maxRetries: 0, fetch,
        baseURL: `https://localhost:${proxy.port}/v1` });
    const answer = await openai.chat.completions.create({ model: "m1", messages: MESSAGES });
    assert.equal(answer.choices[0].message.content, "Hello from m1");
    const stream = await openai.chat.completions.create({ model: "m1", messages: MESSAGES,
        stream: true });
    let text = "";
    for await (const part of stream) {
        text += part.choices[0]?.delta?.content ?? "";
    }
    assert.equal(text, "Hello from m1");
    agent.destroy();
});

test("listener: big bodies, both ways", { skip }, async () => {
    const content = "abcdefgh".repeat(700_000);
    mock.next((ex) => ex.json_answer(whole("m1", { content: ex.json.messages[0].content })));
    const answer = await proxy.chat({ model: "m1", messages: [{ role: "user", content }] });
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    assert.equal(answer.json.choices[0].message.content.length, content.length);
    assert.ok(answer.json.choices[0].message.content === content);
});

test("listener: keep-alive, pipelined requests, and an end with close_notify", { skip },
    async () => {
        const client = await proxy.connect();
        for (let i = 0; i < 3; i++) {
            client.send({ method: "GET", path: "/healthz" });
        }
        for (let i = 0; i < 3; i++) {
            assert.equal((await client.response()).status, 200);
        }
        client.send({ method: "GET", path: "/healthz", headers: { Connection: "close" } });
        const last = await client.response();
        assert.equal(last.get("connection"), "close");
        const { how } = await limited(50_000, "the proxy closes", client.closed);
        assert.equal(how, "fin"); /* node tells an end without close_notify as an error */
        client.destroy();
    });

test("listener: TLS 1.2 and 1.3, nothing older; http/1.1 where asked for, else refused", { skip },
    async () => {
        for (const version of ["TLSv1.2", "TLSv1.3"]) {
            const socket = connect({ minVersion: version, maxVersion: version,
                ALPNProtocols: ["h2", "http/1.1"] });
            await within(10_000, version, once(socket, "secureConnect"));
            assert.equal(socket.getProtocol(), version);
            assert.equal(socket.alpnProtocol, "http/1.1");
            socket.destroy();
        }
        for (const options of [
            { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" },
            { ALPNProtocols: ["h2"] },
            { maxVersion: "TLSv1.2", ciphers: "AES128-SHA" },
        ]) {
            const socket = connect(options);
            const [error] = await within(10_000, "a refusal", once(socket, "error"));
            assert.match(error.message, /alert|EPROTO|ECONNRESET/i);
            socket.destroy();
        }
        assert.equal((await ask()).status, 200);
        await nothing_open();
    });

test("listener: a client's session is resumed, and not by a listener started anew", { skip },
    async () => {
        const one = async (port, session) => {
            const socket = connect({ port, session, maxVersion: "TLSv1.3" });
            const ticket = once(socket, "session").then(([bytes]) => bytes);
            await within(10_000, "a handshake", once(socket, "secureConnect"));
            const reused = socket.isSessionReused();
            const bytes = await within(10_000, "a ticket", ticket);
            socket.destroy();
            return { reused, bytes };
        };
        const first = await one(proxy.port);
        assert.equal(first.reused, false);
        assert.equal((await one(proxy.port, first.bytes)).reused, true);
        assert.equal((await one(several.port, first.bytes)).reused, false);
    });

test("listener: plain HTTP gets a clear answer, garbage is closed", { skip }, async () => {
    const answer = await request(proxy.port, { method: "GET", path: "/healthz" });
    assert.equal(answer.status, 400);
    assert.match(answer.json.error.message, /https:\/\//);
    assert.equal(answer.ended, "close");
    await proxy.logged(/client\.broken peer=127\S+ detail="TLS: the client speaks HTTP/);
    for (const garbage of ["\0\0\0\0\0\0\0\0", "SSH-2.0-x\r\n", "\x16\x03\x01\xff\xff".repeat(9),
        "\x80\x2e\x01\0\x02", "x".repeat(200_000)]) {
        const socket = net.connect(proxy.port, "127.0.0.1");
        const gone = closed(socket);
        socket.resume();
        socket.write(Buffer.from(garbage, "latin1"));
        await within(10_000, "garbage is refused", gone);
        socket.destroy();
    }
    assert.equal((await ask()).status, 200);
    await nothing_open();
});

test("listener: who leaves in the handshake, at any byte, leaves nothing behind", { skip },
    async () => {
        /* A client's first flight, recorded. */
        const server = net.createServer().listen(0, "127.0.0.1");
        await once(server, "listening");
        const probe = tls.connect({ ...secure, port: server.address().port });
        probe.on("error", () => {});
        const [socket] = await once(server, "connection");
        const [hello] = await once(socket, "data");
        probe.destroy();
        socket.destroy();
        server.close();
        assert.ok(hello.length > 100);
        for (let n = 0; n < hello.length; n += n < 12 ? 1 : 23) {
            const client = net.connect(proxy.port, "127.0.0.1");
            const gone = closed(client);
            await once(client, "connect");
            client.write(hello.subarray(0, n));
            if (n % 2 === 0) {
                client.end();
                client.resume();
                await within(10_000, `the proxy closes, cut at ${n}`, gone);
            } else {
                client.resetAndDestroy();
            }
        }
        assert.equal((await ask()).status, 200);
        await nothing_open();
    });

test("listener: a handshake that does not end is cut by header_timeout", { skip }, async () => {
    const started = now();
    const silent = net.connect(proxy.port, "127.0.0.1");
    const slow = net.connect(proxy.port, "127.0.0.1");
    const both = [silent, slow].map((socket) => closed(socket.resume()));
    slow.write(Buffer.from([0x16, 0x03, 0x01, 0x01, 0x00, 0x01]));
    const drip = setInterval(() => slow.write(Buffer.from([0])), 20);
    try {
        await within(20_000, "both are closed", Promise.all(both));
    } finally {
        clearInterval(drip);
        silent.destroy();
        slow.destroy();
    }
    const took = now() - started;
    assert.ok(took >= HEADER_TIMEOUT_MS - 50, `closed after ${took} ms`);
    assert.equal((await ask()).status, 200);
});

test("listener: a client that leaves cancels its upstream", { skip }, async () => {
    for (const leave of [(s) => s.end(), (s) => s.destroy()]) {
        mock.next(() => {});
        const arrival = mock.arrival();
        const client = await proxy.connect();
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify({ model: "m1", messages: MESSAGES, stream: true }) });
        const ex = await arrival;
        leave(client.socket);
        await within(10_000, "the upstream is closed", ex.closed);
        client.destroy();
    }
    await nothing_open();
});

test("listener: a slow reader holds back the upstream, and gets all of it", { skip }, async () => {
    /* What the kernel's buffers on the way hold is for the machine to say: until the client reads
     * again, and a little more. A gigabyte is more than they hold. */
    let events = 340_000;
    let sent = 0;
    mock.next(async (ex) => {
        await ex.open_stream();
        for (; sent < events; sent++) {
            await ex.event(delta("m1", { content: `${"word ".repeat(600)}${sent};` }));
        }
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "m1", messages: MESSAGES, stream: true }) });
    const answer = await client.head();
    client.socket.pause();
    let last = -1;
    const end = now() + 120_000;
    while (sent !== last) {
        assert.ok(now() < end, "the upstream is not held back");
        last = sent;
        await new Promise((wake) => setTimeout(wake, SLOW ? 1000 : 300));
    }
    assert.ok(sent < events, "the upstream could send it all");
    events = sent + 5000;
    client.socket.resume();
    await within(SLOW ? 200_000 : 30_000, "the whole stream", answer.done);
    assert.equal(answer.ended, "chunked");
    const numbers = [...answer.text.matchAll(/word (\d+);/g)].map(([, n]) => Number(n));
    assert.equal(numbers.length, events);
    assert.ok(numbers.every((n, i) => n === i));
    client.destroy();
});

test("listener: without authentication it is still TLS, on loopback", { skip }, async () => {
    const open = await start({ secure, config: { tls: paths("good"), disable_auth: true,
        backends: { mock: backend(mock) } } });
    try {
        const answer = await request(open.port, { secure, path: "/v1/chat/completions",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ model: "m1", messages: MESSAGES }) });
        assert.equal(answer.status, 200, answer.text);
    } finally {
        await stop_all(open);
    }
});

test("listener: SIGTERM lets a running stream end, and leaves with 0", { skip }, async () => {
    const one = await start({ secure, config: { tls: paths("good"),
        backends: { mock: backend(mock) } } });
    const arrival = mock.arrival();
    mock.next(() => {});
    const client = await one.connect();
    client.send({ path: "/v1/chat/completions", headers: one.headers(),
        body: JSON.stringify({ model: "m1", messages: MESSAGES, stream: true }) });
    const ex = await arrival;
    await ex.open_stream();
    await ex.event(delta("m1", { content: "before" }));
    const answer = await client.head();
    one.child.kill("SIGTERM");
    await one.logged(/stop\.draining/);
    await ex.event(delta("m1", { content: "after" }, "stop"));
    await ex.close_stream();
    await within(10_000, "the stream ends", answer.done);
    assert.equal(answer.ended, "chunked");
    assert.match(answer.text, /"after"/);
    await stop_all(one);
});

test("listener: files that are wrong are named, at the start and by --check-config", { skip },
    async () => {
        fs.writeFileSync(`${dir}/empty.pem`, "nothing\n");
        const key = fs.readFileSync(`${dir}/good.key`, "utf8");
        const cases = [
            [{ cert: `${dir}/good.pem` }, /tls\.cert: tls\.key is missing/],
            [{ key: `${dir}/good.key` }, /tls\.key: tls\.cert is missing/],
            [{ ...paths("good"), cert: `${dir}/none.pem` }, /tls\.cert: cannot be read: No such/],
            [{ ...paths("good"), key: `${dir}/empty.pem` }, /cannot read a key from ".*empty\.pem"/],
            [{ ...paths("good"), cert: `${dir}/empty.pem` },
                /cannot read a certificate from ".*empty\.pem"/],
            [{ cert: `${dir}/good.pem`, key: `${dir}/host.key` },
                /the key in ".*host\.key" is not that of the certificate in ".*good\.pem"/],
        ];
        for (const [files, pattern] of cases) {
            for (const args of [["--check-config"], []]) {
                const { code, all } = await run(args, { config: { port: 0, tls: files,
                    backends: { mock: backend(mock) } } });
                assert.equal(code, 1, all);
                assert.match(all, pattern);
                assert.match(all, /config\.yaml:\d+:\d+: error/);
                assert.ok(!all.includes(key.split("\n")[1]), "no key in a message");
            }
        }
        const { code, all } = await run(["--check-config"], { config: { tls: paths("expired"),
            backends: { mock: backend(mock) } } });
        assert.equal(code, 0, all);
        assert.match(all, /warning: tls\.cert: the certificate has expired/);
    });

test("listener: SIGHUP takes new files, and keeps the old ones when they are wrong", { skip },
    async () => {
        const files = (name) => Object.fromEntries(["pem", "key"].map((end) =>
            [`listener.${end}`, fs.readFileSync(`${dir}/${name}.${end}`)]));
        const one = await start({ secure, files: files("good"), config: {
            tls: { cert: "listener.pem", key: "listener.key" },
            backends: { mock: backend(mock) } } });
        const names = async () => {
            const socket = connect({ port: one.port, rejectUnauthorized: false });
            await within(10_000, "a handshake", once(socket, "secureConnect"));
            const { subjectaltname } = socket.getPeerCertificate();
            socket.destroy();
            return subjectaltname;
        };
        const put = (some) => Object.entries(some).forEach(([name, content]) =>
            fs.writeFileSync(`${one.dir}/${name}`, content));
        const old = await one.connect();
        assert.match(await names(), /DNS:localhost/);
        put({ ...files("good"), "listener.key": fs.readFileSync(`${dir}/host.key`) });
        one.child.kill("SIGHUP");
        await one.logged(/reload\.failed/);
        assert.match(one.stderr, /listener\.key/);
        assert.match(await names(), /DNS:localhost/);
        put(files("host"));
        one.child.kill("SIGHUP");
        await one.logged(/reload\.done/);
        assert.match(await names(), /DNS:elsewhere\.example/);
        /* A connection goes on with what it began with. */
        old.send({ method: "GET", path: "/healthz" });
        assert.equal((await old.response()).status, 200);
        old.destroy();
        await stop_all(one);
    });

test("listener: the banner says https", { skip }, async () => {
    const port = await free_port();
    fs.writeFileSync(`${dir}/banner.yaml`, `tls: {cert: good.pem, key: good.key}\nport: ${port}\n`);
    const child = spawn(PROGRAM, ["--demo", "--config", "banner.yaml"],
        { cwd: dir, stdio: ["ignore", "pipe", "ignore"] });
    try {
        let text = "";
        child.stdout.setEncoding("utf8");
        await within(20_000, "the banner", (async () => {
            for await (const part of child.stdout) {
                text += part;
                if (text.includes("Try it")) {
                    return;
                }
            }
        })());
        assert.match(text, new RegExp(`listening on\\s+https://127\\.0\\.0\\.1:${port}\n`));
    } finally {
        child.kill("SIGKILL");
        await closed(child);
    }
});

test("listener: relative paths begin at the working directory", { skip }, async () => {
    const files = Object.fromEntries(["good.pem", "good.key"].map((name) =>
        [name, fs.readFileSync(`${dir}/${name}`)]));
    const one = await start({ secure, files, config: { tls: { cert: "good.pem",
        key: "./good.key" }, backends: { mock: backend(mock) } } });
    assert.equal((await ask(one)).status, 200);
    await stop_all(one);
});
