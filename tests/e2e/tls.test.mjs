/* SPDX-License-Identifier: MIT */
/*
 * TLS to upstreams: verified against the CA and the name, or not at all when the user says so.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { Mock, delta, sse, whole } from "./lib/mock.mjs";
import { backend, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const skip = available() ? false : "the openssl command is not installed";
const MESSAGES = [{ role: "user", content: "x" }];

let dir;
let certs;
let proxy;
let global;
let hashed;
let plain;
let cutter;
const mocks = {};

/** Someone on the way to the port who takes out close_notify (in TLS 1.3 the only record of 19 bytes)
 * and leaves the FIN. */
async function cut_alerts(port) {
    const server = net.createServer((client) => {
        const up = net.connect(port, "127.0.0.1");
        let rest = Buffer.alloc(0);
        client.on("error", () => {}).on("close", () => up.destroy()).pipe(up);
        up.on("error", () => {}).on("end", () => client.end()).on("data", (bytes) => {
            rest = Buffer.concat([rest, bytes]);
            while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
                const size = 5 + rest.readUInt16BE(3);
                if (size !== 24) {
                    client.write(rest.subarray(0, size));
                }
                rest = rest.subarray(size);
            }
        });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
}

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    certs = make(dir);
    for (const name of ["good", "host", "self", "expired", "future", "foreign", "deep", "chain"]) {
        mocks[name] = await Mock.start({ tls: certs[name] });
    }
    mocks.old = await Mock.start({ tls: { ...certs.good, minVersion: "TLSv1.1",
        maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } });
    mocks.first = await Mock.start({ tls: certs.good });
    mocks.second = await Mock.start({ tls: certs.good });
    plain = net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    }).listen(0, "127.0.0.1");
    await once(plain, "listening");
    cutter = await cut_alerts(mocks.good.port);
    const local = (name) => `https://localhost:${mocks[name].port}/v1`;
    const one = (name, more) => backend(mocks[name], more);
    proxy = await start({ config: { retries: 0, backends: {
        good: one("good", { ca_file: certs.ca }),
        good_name: one("good", { ca_file: certs.ca, api_url: local("good") }),
        system: one("good"),
        host: one("host", { ca_file: certs.ca, api_url: local("host") }),
        host_ip: one("host", { ca_file: certs.ca }),
        self: one("self", { ca_file: certs.ca }),
        expired: one("expired", { ca_file: certs.ca }),
        future: one("future", { ca_file: certs.ca }),
        foreign: one("foreign", { ca_file: certs.ca }),
        deep: one("deep", { ca_file: certs.ca }),
        chain: one("chain", { ca_file: certs.ca }),
        old: one("old", { ca_file: certs.ca }),
        second: one("second", { ca_file: certs.ca, upstream_idle_timeout: 0 }),
        fresh: one("first", { ca_file: certs.ca, upstream_idle_timeout: 0 }),
        fresh_name: one("first", { ca_file: certs.ca, upstream_idle_timeout: 0,
            api_url: local("first") }),
        fresh_unverified: one("first", { tls_verify: false, upstream_idle_timeout: 0 }),
        unverified: one("self", { tls_verify: false }),
        cut: one("good", { ca_file: certs.ca,
            api_url: `https://127.0.0.1:${cutter.address().port}/v1` }),
        not_tls: one("good", { api_url: `https://127.0.0.1:${plain.address().port}/v1` }),
    } } });
    global = await start({ config: { ca_file: certs.ca, backends: { good: one("good") } } });
    hashed = await start({ env: { SSL_CERT_DIR: certs.hashed },
        config: { backends: { good: one("good"), foreign: one("foreign") } } });
});

after(async () => {
    plain?.close();
    cutter?.close();
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(proxy, global, hashed, ...Object.values(mocks));
});

const ask = (name, p = proxy) => p.chat({ model: `${name}:m1`, messages: MESSAGES });

for (const name of ["good", "good_name", "unverified", "chain"]) {
    test(`tls: backend "${name}" is reached, whole and streamed`, { skip }, async () => {
        const answer = await ask(name);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.choices[0].message.content, "Hello from m1");
        const mock = mocks[{ unverified: "self", chain: "chain" }[name] ?? "good"];
        const body = sse([...Array.from({ length: 2000 }, (_, i) => delta("m1",
            { content: `word ${i} ` })), delta("m1", {}, "stop")]);
        mock.next((ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
            framing: "chunked", body, cuts: 40, rng: random(`tls ${name}`) }));
        const streamed = await proxy.chat({ model: `${name}:m1`, messages: MESSAGES,
            stream: true });
        assert.equal(streamed.text, body);
    });
}

test("tls: ca_file at the top level is every backend's", { skip }, async () => {
    assert.equal((await ask("good", global)).status, 200);
});

test("tls: SSL_CERT_DIR is where CAs are looked up", { skip }, async () => {
    assert.equal((await ask("good", hashed)).status, 200);
    assert.equal((await ask("foreign", hashed)).status, 502);
});

for (const [name, why, text] of [
    ["system", "signed by a CA that the system does not know", /local issuer certificate/],
    ["foreign", "signed by a CA that ca_file does not have", /local issuer certificate/],
    ["host", "for another host name", /hostname mismatch/],
    ["host_ip", "for another address", /IP address mismatch/],
    ["self", "self-signed", /self-signed certificate/],
    ["expired", "expired", /certificate has expired/],
    ["future", "not valid yet", /not yet valid/],
    ["deep", "shown without the CA in between", /local issuer certificate/],
    ["old", "shown in TLS 1.1", /protocol version/],
]) {
    test(`tls: a certificate that is ${why} is refused: 502, and no byte of the request goes out`,
        { skip }, async () => {
            const mock = mocks[{ system: "good", host_ip: "host" }[name] ?? name];
            const count = mock.posts().length;
            const answer = await ask(name);
            assert.equal(answer.status, 502, answer.text);
            const { error } = answer.json;
            assert.equal(error.type, "backend_error");
            assert.equal(error.code, "upstream_unreachable");
            assert.match(error.message, text);
            assert.ok(!error.message.includes("upstream-key-1"));
            assert.equal(mock.posts().length, count);
        });
}

test("tls: an upstream that speaks plain HTTP on an https URL: 502, not a hang", { skip },
    async () => {
        const answer = await ask("not_tls");
        assert.equal(answer.status, 502, answer.text);
        assert.equal(answer.json.error.code, "upstream_unreachable");
    });

test("tls: the connection is kept and used again", { skip }, async () => {
    const client = await proxy.connect();
    const seen = new Set();
    for (let i = 0; i < 3; i++) {
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify({ model: "good:m1", messages: MESSAGES }) });
        assert.equal((await client.response()).status, 200);
        seen.add(mocks.good.posts().at(-1).connection.n);
    }
    client.destroy();
    assert.equal(seen.size, 1);
});

test("tls: the second connection resumes the session; none is offered elsewhere", { skip },
    async () => {
        const hellos = [];
        const watch = (mock) => mock.server.on("secureConnection",
            (socket) => hellos.push(socket.isSessionReused()));
        watch(mocks.first);
        watch(mocks.second);
        const reused = async (name) => {
            hellos.length = 0;
            assert.equal((await ask(name)).status, 200);
            assert.equal(hellos.length, 1, "one connection a request");
            return hellos[0];
        };
        /* Another port shows the same certificate, but is another server. */
        assert.deepEqual([await reused("fresh"), await reused("second")], [false, false]);
        assert.deepEqual([await reused("fresh"), await reused("fresh")], [true, true]);
        assert.equal(await reused("second"), true);
        /* Another name of the same server; and settings under which nothing was verified. */
        assert.deepEqual([await reused("fresh_name"), await reused("fresh_name")], [false, true]);
        assert.deepEqual([await reused("fresh_unverified"), await reused("fresh_unverified")],
            [false, false]);
    });

test("tls: a body that ends with the connection is whole only with close_notify", { skip },
    async () => {
        const body = JSON.stringify(whole("m1", { content: "to the end" }));
        for (let i = 0; i < 2; i++) {
            mocks.good.next((ex) => ex.respond({ framing: "close", body,
                headers: { "content-type": "application/json" } }));
        }
        const good = await ask("good");
        assert.equal(good.status, 200, good.text);
        assert.equal(good.text, body);
        const cut = await ask("cut");
        assert.equal(cut.status, 502, cut.text);
        assert.equal(cut.json.error.code, "upstream_unreachable");
        assert.match(cut.json.error.message, /close_notify/);
    });

test("tls: a client that leaves closes the upstream's connection", { skip }, async () => {
    mocks.good.next(() => {});
    const arrival = mocks.good.arrival();
    const client = await proxy.connect();
    client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
        body: JSON.stringify({ model: "good:m1", messages: MESSAGES }) });
    const ex = await arrival;
    client.destroy();
    await ex.closed;
});
