/* SPDX-License-Identifier: MIT */
/*
 * TLS that breaks: towards upstreams, on the proxy's own port, and inside a tunnel of a forward
 * proxy.
 *
 * A relay stands between two peers that mean well, counts the bytes of each direction, and behind
 * byte n ends the connection (FIN, RST), changes the byte, or passes nothing more. n goes over the
 * whole exchange: handshake, request, answer. What must come of it: the right answer when nothing
 * of it was lost, else an error; never a wrong or a short answer, and nothing is left behind.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import { after, before } from "node:test";

import { available, make } from "../e2e/lib/certs.mjs";
import { Client, now, within } from "../e2e/lib/http1.mjs";
import { Mock, openai } from "../e2e/lib/mock.mjs";
import { SLOW, backend, held_up_for, start, stop_all, temp_dir, test }
    from "../e2e/lib/proxy.mjs";
import { SEED, random } from "../e2e/lib/random.mjs";
import { baseline, in_lanes, is_error, settled } from "./settled.mjs";

const skip = available() ? false : "the openssl command is not installed";
const CHAT = "/v1/chat/completions";
const LANES = 16;
const CONNECT_MS = SLOW ? 4000 : 1500;
const STRIDE = SLOW ? 40 : 9;
const STALLED = SLOW ? 60 : 300;

/* ---- The relay ---- */

class Relay {
    static async start(target) {
        const relay = new Relay();
        relay.plan = null;              /* of the next connection: {side, at, how} */
        relay.sockets = new Set();
        relay.server = net.createServer({ allowHalfOpen: true }, (from) =>
            relay.accept(from, net.connect({ port: target, host: "127.0.0.1",
                allowHalfOpen: true })));
        relay.server.listen(0, "127.0.0.1");
        await once(relay.server, "listening");
        relay.port = relay.server.address().port;
        return relay;
    }

    accept(near, far) {
        const ends = { up: far, down: near };
        const count = { up: 0, down: 0 };
        const plan = this.plan;
        this.plan = null;
        this.count = count;
        for (const socket of [near, far]) {
            socket.setNoDelay(true);
            this.sockets.add(socket);
            socket.on("error", () => {});
            socket.on("close", () => {
                this.sockets.delete(socket);
                ends.up.destroy();
                ends.down.destroy();
            });
        }
        let over = false;
        const pass = (side, bytes) => {
            const at = plan?.side === side ? plan.at - count[side] : Infinity;
            count[side] += bytes.length;
            if (over) {
                return;
            }
            if (at >= bytes.length) {
                ends[side].write(bytes);
            } else if (plan.how === "flip") {
                const changed = Buffer.from(bytes);
                if (at >= 0) {
                    changed[at] ^= 0x55;
                }
                ends[side].write(changed);
            } else {
                over = true;
                ends[side].write(bytes.subarray(0, Math.max(0, at)));
                if (plan.how === "fin") {
                    ends[side].end();
                } else if (plan.how === "rst") {
                    ends[side].resetAndDestroy();
                }
            }
        };
        near.on("data", (bytes) => pass("up", bytes));
        far.on("data", (bytes) => pass("down", bytes));
        near.on("end", () => over || far.end());
        far.on("end", () => over || near.end());
    }

    stop() {
        this.server.close();
        this.sockets.forEach((socket) => socket.destroy());
    }
}

/* ---- Peers ---- */

let dir;
let certs;
let mock;               /* over TLS */
let inner;              /* plain, behind the listener */
let proxy;              /* towards upstreams */
let listener;           /* with TLS on its own port */
let forward;            /* a forward proxy whose tunnels lead to the mock */
let tunneled;           /* which reaches its upstream through it */
const relays = [];

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    certs = make(dir);
    const user = async (ex) => {
        await (ex.method === "POST" ? ex.json_answer({ id: "x", object: "chat.completion",
            created: 1, model: "m1", choices: [{ index: 0, finish_reason: "stop",
                message: { role: "assistant", content: ex.json.user } }] }) : openai(ex));
    };
    mock = await Mock.start({ tls: certs.good, fallback: user });
    inner = await Mock.start({ fallback: user });
    const backends = {};
    for (let i = 0; i < LANES; i++) {
        relays.push(await Relay.start(mock.port));
        backends[`relay${i}`] = backend(mock, { ca_file: certs.ca,
            api_url: `https://127.0.0.1:${relays[i].port}/v1` });
    }
    const common = { retries: 0, upstream_idle_timeout: 0, connect_timeout: `${CONNECT_MS}ms`,
        proxy_timeout: `${CONNECT_MS}ms`, workers: 2 };
    proxy = await start({ config: { ...common, backends } });
    listener = await start({ config: { ...common, header_timeout: `${CONNECT_MS}ms`,
        tls: { cert: `${dir}/good.pem`, key: `${dir}/good.key` },
        backends: { mock: backend(inner) } },
    secure: { ca: fs.readFileSync(certs.ca), servername: "localhost" } });
    forward = await tunnel_server();
    tunneled = await start({ config: { ...common, https_proxy:
        `http://127.0.0.1:${forward.address().port}`, backends: { mock: backend(mock,
        { tls_verify: false, api_url: "https://upstream.example/v1" }) } } });
    for (const p of [proxy, listener, tunneled]) {
        await works(p);
        await baseline(p);
    }
});

after(async () => {
    relays.forEach((relay) => relay.stop());
    forward?.close();
    tunnel_sockets.forEach((socket) => socket.destroy());
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(proxy, listener, tunneled, mock, inner);
});

let serial = 0;
const body_of = (model, user) => JSON.stringify({ model, user,
    messages: [{ role: "user", content: "x" }] });

async function works(p) {
    const user = `next-${serial++}`;
    const answer = await p.chat(body_of("m1", user));
    assert.equal(answer.json.choices?.[0].message.content, user, answer.text);
}

/** The places to cut at: all bytes, every so many of them, other ones with each seed. */
function places(total, name) {
    const phase = random(name).below(STRIDE);
    const list = [];
    for (let n = phase; n < total; n += STRIDE) {
        list.push(n);
    }
    return list;
}

/* ---- Towards upstreams ---- */

for (const side of ["down", "up"]) {
    for (const how of ["fin", "rst", "flip"]) {
        test(`handshake: upstream, ${side === "up" ? "what it is sent" : "what it sends"}: ${
            how} at every ${STRIDE}th byte`, { skip }, async (t) => {
            await proxy.chat(body_of("relay0:m1", "count"));
            const total = relays[0].count[side];
            assert.ok(total > 300, `${total}`);
            const failures = [];
            const tally = { right: 0, error: 0 };
            let lane = 0;
            await in_lanes(places(total, `${side} ${how}`), LANES, () => lane++,
                async (i, at) => {
                    const user = `u-${serial++}`;
                    relays[i].plan = { side, at, how };
                    const answer = await proxy.chat(body_of(`relay${i}:m1`, user));
                    try {
                        if (answer.status === 200) {
                            assert.equal(answer.json.choices[0].message.content, user);
                            tally.right++;
                        } else {
                            is_error(answer, answer.status === 504 ? 504 : 502, "backend_error",
                                answer.status === 504 ? "upstream_timeout" :
                                    "upstream_unreachable");
                            tally.error++;
                        }
                        /* Sessions and tickets make a connection shorter or longer by some; and
                         * the version that the first record says, either way, is to be ignored
                         * (RFC 8446, 5.1). */
                        assert.ok(answer.status !== 200 || at > total / 2 ||
                            (how === "flip" && (at === 1 || at === 2)), "right in spite of it");
                    } catch (error) {
                        failures.push(`${at}: ${error.message} ${answer.text.slice(0, 200)}`);
                    }
                });
            assert.deepEqual(failures, []);
            t.diagnostic(`SEED=${SEED}: ${total} bytes, ${tally.error} errors, ${
                tally.right} right`);
            assert.ok(tally.error > tally.right);
            await works(proxy);
            await settled(proxy);
        });
    }
}

test("handshake: an upstream that stalls in it is let go after connect_timeout", { skip },
    async () => {
        const failures = [];
        await Promise.all([["down", 0], ["down", 1], ["down", 5], ["down", 100], ["down", 300],
            ["up", 0], ["up", 3], ["up", 100]].map(async ([side, at], i) => {
            relays[i].plan = { side, at, how: "stall" };
            const began = now();
            const answer = await proxy.chat(body_of(`relay${i}:m1`, "x"));
            const took = now() - began;
            if (![502, 504].includes(answer.status) || took < CONNECT_MS * 0.9 ||
                took > CONNECT_MS * 2 + 10_000) {
                failures.push(`${side} ${at}: ${answer.status} after ${took} ms ${answer.text}`);
            }
        }));
        assert.deepEqual(failures, []);
        await works(proxy);
        await settled(proxy);
    });

/* ---- The proxy's own port ---- */

async function ask_through(port, user, sent) {
    let client = null;
    try {
        client = await within(30_000, "a handshake", connect(port));
        client.send({ path: CHAT, headers: listener.headers(), body: body_of("m1", user) });
        sent();
        const answer = await client.response();
        return { status: answer.status, text: answer.text, ended: answer.ended };
    } catch (error) {
        return { error: error.message };
    } finally {
        client?.destroy();
    }
}

/** Client.connect, but one that fails when the connection ends within the handshake. */
async function connect(port) {
    const tls = await import("node:tls");
    const socket = tls.connect({ port, host: "127.0.0.1", ...listener.secure });
    await new Promise((resolve, reject) => {
        socket.once("secureConnect", resolve);
        socket.once("error", reject);
        socket.once("close", () => reject(new Error("closed within the handshake")));
    });
    return new Client(port, socket);
}

for (const side of ["up", "down"]) {
    for (const how of ["fin", "rst", "flip"]) {
        test(`handshake: client, ${side === "up" ? "what it sends" : "what it is sent"}: ${
            how} at every ${STRIDE}th byte`, { skip }, async (t) => {
            const own = [];
            for (let i = 0; i < LANES; i++) {
                own.push(await Relay.start(listener.port));
            }
            try {
                await ask_through(own[0].port, "count", () => {});
                const total = own[0].count[side];
                assert.ok(total > 300, `${total}`);
                const tally = { right: 0, error: 0 };
                let lane = 0;
                await in_lanes(places(total, `client ${side} ${how}`), LANES, () => lane++,
                    async (i, at) => {
                        const user = `u-${serial++}`;
                        own[i].plan = { side, at, how };
                        const got = await ask_through(own[i].port, user, () => {});
                        if (got.status === 200 && got.ended !== "cut") {
                            assert.equal(JSON.parse(got.text).choices[0].message.content, user);
                            tally.right++;
                        } else {
                            assert.ok(got.error || got.ended === "cut" || got.status === 400 ||
                                got.status === 408, JSON.stringify(got));
                            tally.error++;
                        }
                    });
                t.diagnostic(`SEED=${SEED}: ${total} bytes, ${tally.error} errors, ${
                    tally.right} right`);
                assert.ok(tally.error > tally.right);
            } finally {
                own.forEach((relay) => relay.stop());
            }
            for (const ex of inner.posts()) {
                assert.equal(ex.json.messages[0].content, "x", "only whole requests went on");
            }
            await works(listener);
            await settled(listener);
        });
    }
}

async function sockets(port, n) {
    return Promise.all(Array.from({ length: n }, async () => {
        const socket = net.connect({ port, host: "127.0.0.1" });
        socket.on("error", () => {});
        socket.gone = new Promise((resolve) => socket.on("close", () => resolve(now())));
        socket.resume();
        await once(socket, "connect");
        return socket;
    }));
}

test(`handshake: ${STALLED} clients that stall in it are closed in time, others are served`,
    { skip }, async (t) => {
        /* A record's head that promises a ClientHello; a byte of it now and then. */
        const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
        const list = await sockets(listener.port, STALLED);
        const began = now();
        list.forEach((socket, i) => socket.write(hello.subarray(0, i % (hello.length + 1))));
        const drip = setInterval(() => list.forEach((socket, i) => {
            if (i % 2 === 0 && !socket.destroyed) {
                socket.write(Buffer.from([i & 255]));
            }
        }), CONNECT_MS / 6);
        let slowest = 0;
        let over = false;
        const all = within(CONNECT_MS * 2 + 20_000, "all are closed",
            Promise.all(list.map((socket) => socket.gone)));
        all.finally(() => { over = true; }).catch(() => {});
        try {
            while (!over) {
                const at = now();
                const held_up = await held_up_for(() => works(listener));
                slowest = Math.max(slowest, now() - at - held_up);
            }
            await all;
        } finally {
            clearInterval(drip);
        }
        t.diagnostic(`closed within ${(now() - began).toFixed()} ms, others waited ${
            slowest.toFixed()} ms at most`);
        assert.ok(now() - began < CONNECT_MS * 2 + 10_000);
        assert.ok(slowest < (SLOW ? 5000 : 1000), `${slowest} ms`);
        await settled(listener);
    });

test("handshake: what is no TLS at all is closed at once", { skip }, async () => {
    for (const bytes of ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\u0000".repeat(200),
        "\u0016\u0003\u0001\u0000\u0005hello", "\u0080\u002e\u0001\u0003\u0001",
        "SSH-2.0-x\r\n", "\u0015\u0003\u0001\u0000\u0002\u0002\u0028",
        "\u0016\u0003\u0003\u00ff\u00ff" + "x".repeat(70_000)]) {
        const [socket] = await sockets(listener.port, 1);
        socket.write(Buffer.from(bytes, "latin1"));
        await within(CONNECT_MS + 10_000, `${JSON.stringify(bytes.slice(0, 20))} is closed`,
            socket.gone);
    }
    await works(listener);
    await settled(listener);
});

/* ---- Through a forward proxy ---- */

let tunnel_script = null;
const tunnel_sockets = new Set();

/** Tunnels lead to the mock, unless a script says otherwise for the next one. */
async function tunnel_server() {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        tunnel_sockets.add(socket);
        socket.on("close", () => tunnel_sockets.delete(socket));
        socket.on("error", () => {});
        socket.on("end", () => socket.end());
        socket.once("data", (head) => {
            const script = tunnel_script;
            tunnel_script = null;
            if (script) {
                script(socket, head);
                return;
            }
            const far = net.connect(mock.port, "127.0.0.1");
            tunnel_sockets.add(far);
            far.on("error", () => socket.destroy());
            socket.on("close", () => far.destroy());
            far.on("close", () => socket.destroy());
            far.once("connect", () => {
                socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
                socket.pipe(far);
                far.pipe(socket);
            });
        });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
}

const OK = "HTTP/1.1 200 OK\r\n\r\n";
const TUNNELS = {
    "closes": (s) => s.end(),
    "resets": (s) => s.resetAndDestroy(),
    "closes within its head": (s) => s.end("HTTP/1.1 200 O"),
    "stalls": () => {},
    "stalls within its head": (s) => s.write("HTTP/1.1 200 OK\r\nx-a: "),
    "opens the tunnel and stalls": (s) => s.write(OK),
    "opens the tunnel and closes": (s) => s.end(OK),
    "opens the tunnel and resets": (s) => {
        s.write(OK);
        s.resetAndDestroy();
    },
    "opens the tunnel and speaks HTTP": (s) => s.write(`${OK}HTTP/1.1 200 OK\r\n\r\n{}`),
    "opens the tunnel and speaks garbage": (s) => s.write(`${OK}\u0000\u0001\u0002`),
    "says garbage": (s) => s.write("SSH-2.0-x\r\n\r\n"),
    "answers 100 and then nothing": (s) => s.end("HTTP/1.1 100 Continue\r\n\r\n"),
    "answers 101": (s) => s.write("HTTP/1.1 101 Switching\r\n\r\n"),
    "answers 204 with a length": (s) =>
        s.end("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello"),
    "redirects": (s) => s.end("HTTP/1.1 302 Found\r\nlocation: http://a/\r\n\r\n"),
    "wants a password": (s) => s.end("HTTP/1.1 407 Auth\r\nproxy-authenticate: Basic\r\n" +
        "content-length: 0\r\n\r\n"),
    "answers with a page": (s) => s.end("HTTP/1.1 503 No\r\ncontent-type: text/html\r\n" +
        "content-length: 13\r\n\r\n<html></html>"),
    "answers with a head without end": (s) => {
        s.write("HTTP/1.1 200 OK\r\n");
        s.write(`x: ${"y".repeat(200_000)}\r\n`);
    },
    "answers with a body without end": (s) => {
        s.write("HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n");
        const more = () => s.destroyed || s.write(`1000\r\n${"z".repeat(4096)}\r\n`, () =>
            setImmediate(more));
        more();
    },
    "says two lengths": (s) => s.end(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n"),
};

for (const [name, script] of Object.entries(TUNNELS)) {
    test(`handshake: a forward proxy that ${name}`, { skip }, async () => {
        tunnel_script = script;
        const began = now();
        const answer = await tunneled.chat(body_of("m1", "x"));
        assert.ok(now() - began < CONNECT_MS * 2 + 5000, `${now() - began} ms`);
        assert.ok([502, 504].includes(answer.status), answer.text);
        is_error(answer, answer.status, "backend_error", answer.status === 502 ?
            "upstream_unreachable" : "upstream_timeout");
        assert.equal(tunnel_script, null, "it was asked");
        await works(tunneled);
        await settled(tunneled);
    });
}
