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
import { Mock, delta, sse } from "./lib/mock.mjs";
import { backend, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const skip = available() ? false : "the openssl command is not installed";
const MESSAGES = [{ role: "user", content: "x" }];

let dir;
let certs;
let proxy;
let global;
let plain;
const mocks = {};

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    certs = make(dir);
    for (const name of ["good", "host", "self", "expired"]) {
        mocks[name] = await Mock.start({ tls: certs[name] });
    }
    plain = net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    }).listen(0, "127.0.0.1");
    await once(plain, "listening");
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
        unverified: one("self", { tls_verify: false }),
        not_tls: one("good", { api_url: `https://127.0.0.1:${plain.address().port}/v1` }),
    } } });
    global = await start({ config: { ca_file: certs.ca, backends: { good: one("good") } } });
});

after(async () => {
    plain?.close();
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    await stop_all(proxy, global, ...Object.values(mocks));
});

const ask = (name, p = proxy) => p.chat({ model: `${name}:m1`, messages: MESSAGES });

for (const name of ["good", "good_name", "unverified"]) {
    test(`tls: backend "${name}" is reached, whole and streamed`, { skip }, async () => {
        const answer = await ask(name);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.choices[0].message.content, "Hello from m1");
        const mock = mocks[name === "unverified" ? "self" : "good"];
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

for (const [name, why] of Object.entries({
    system: "signed by a CA that the system does not know",
    host: "for another host name", host_ip: "for another address", self: "self-signed",
    expired: "expired",
})) {
    test(`tls: a certificate that is ${why} is refused: 502, and no byte of the request goes out`,
        { skip }, async () => {
            const mock = mocks[{ system: "good", host_ip: "host" }[name] ?? name];
            const count = mock.posts().length;
            const answer = await ask(name);
            assert.equal(answer.status, 502, answer.text);
            const { error } = answer.json;
            assert.equal(error.type, "backend_error");
            assert.equal(error.code, "upstream_unreachable");
            assert.match(error.message, /certificate|verif|TLS/i);
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
