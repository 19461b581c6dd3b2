/* SPDX-License-Identifier: MIT */
/*
 * Who may in: every form of the key, who is refused, what needs admin, the key made at first start.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { request, until } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, temp_dir, test, yaml } from "./lib/proxy.mjs";

const BODY = JSON.stringify({ model: "mock:m1", messages: [{ role: "user", content: "x" }] });
const CHAT = "/v1/chat/completions";

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: yaml({ backends: { mock: backend(mock) } }) +
        "api_keys:\n  - {name: boss, key: admin-key, admin: true}\n" +
        `  - {name: user, key: ${KEY}}\n  - plain-key\n` });
});

after(() => stop_all(proxy, mock));

const ask = (headers, target = CHAT) => request(proxy.port, { path: target, body: BODY,
    headers: { "Content-Type": "application/json", ...headers } });

function refused(answer) {
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.get("www-authenticate"), "Bearer");
    assert.match(answer.get("content-type"), /^application\/json/);
    const { error } = answer.json;
    assert.equal(error.type, "authentication_error");
    assert.equal(error.code, "invalid_api_key");
    assert.ok("param" in error);
    assert.match(error.message, /^Unauthorized/);
}

for (const [what, headers] of Object.entries({
    "Authorization: Bearer": { "Authorization": `Bearer ${KEY}` },
    "Bearer and two blanks": { "Authorization": `Bearer  ${KEY}` },
    "bearer in small letters": { "authorization": `bearer ${KEY}` },
    "x-api-key": { "x-api-key": KEY },
    "api-key": { "api-key": KEY },
    "x-goog-api-key": { "x-goog-api-key": KEY },
    "a right key beside a stranger's": { "Authorization": "Bearer other", "x-api-key": KEY },
    "the same the other way round": { "api-key": "other", "Authorization": `Bearer ${KEY}` },
    "a key given as a plain string": { "Authorization": "Bearer plain-key" },
    "an admin's key": { "Authorization": "Bearer admin-key" },
})) {
    test(`auth: ${what} is let in`, async () => {
        const answer = await ask(headers);
        assert.equal(answer.status, 200, answer.text);
    });
}

/* A right key between the wrong ones: it clears the slow-down of wrong keys. */
for (const [what, headers] of Object.entries({
    "no key": {},
    "an empty Bearer": { "Authorization": "Bearer " },
    "a wrong key": { "Authorization": "Bearer wrong" },
    "a right key's beginning": { "Authorization": `Bearer ${KEY.slice(0, -1)}` },
    "a right key and more": { "Authorization": `Bearer ${KEY}x` },
    "the backend's key": { "Authorization": "Bearer upstream-key-1" },
    "Basic with the right key": { "Authorization": `Basic ${KEY}` },
    "two wrong keys": { "Authorization": "Bearer other", "x-api-key": `${KEY}x` },
    "the key in another letter case": { "x-api-key": KEY.toUpperCase() },
})) {
    test(`auth: ${what} is refused, and nothing goes upstream`, async () => {
        assert.equal((await ask({ "x-api-key": KEY })).status, 200);
        const count = mock.posts().length;
        refused(await ask(headers));
        assert.equal(mock.posts().length, count);
    });
}

test("auth: every path but /, /healthz, /readyz wants a key, unknown ones too", async () => {
    for (const target of ["/", "/healthz", "/readyz"]) {
        const answer = await request(proxy.port, { method: "GET", path: target });
        assert.equal(answer.status, 200, target);
    }
    for (const target of ["/v1/models", "/v2/models", "/metrics", "/v1/models/mock:m1"]) {
        refused(await request(proxy.port, { method: "GET", path: target }));
    }
    refused(await ask({}, "/v2/chat/completions"));
});

test("auth: refused before the body: the answer comes while the body is still to be sent",
    async () => {
        const client = await proxy.connect();
        client.methods.push("POST");
        client.write(Buffer.from(`POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\n` +
            "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"));
        refused(await client.response());
        client.destroy();
    });

test("auth: 100 Continue only after the key was found right", async () => {
    const head = (key) => Buffer.from(`POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\n` +
        `Authorization: Bearer ${key}\r\nContent-Type: application/json\r\n` +
        `Expect: 100-continue\r\nContent-Length: ${BODY.length}\r\n\r\n`);
    const stranger = await proxy.connect();
    stranger.methods.push("POST");
    stranger.write(head("wrong"));
    refused(await stranger.response());
    assert.equal(stranger.informational.length, 0);
    stranger.destroy();
    const client = await proxy.connect();
    client.methods.push("POST");
    const before_body = client.head();
    client.write(head(KEY));
    await until(() => client.informational.length > 0, "100 Continue");
    assert.equal(client.informational[0].status, 100);
    client.write(Buffer.from(BODY));
    const answer = await before_body;
    assert.equal(answer.status, 200);
    client.destroy();
});

test("auth: /metrics is for admins; another's key gets 403", async () => {
    const get = (key) => request(proxy.port, { method: "GET", path: "/metrics",
        headers: { Authorization: `Bearer ${key}` } });
    assert.equal((await get("admin-key")).status, 200);
    const answer = await get(KEY);
    assert.equal(answer.status, 403);
    assert.equal(answer.json.error.type, "permission_error");
    assert.equal(answer.json.error.code, "forbidden");
});

test("auth: no key configured: one is made, kept with mode 0600, and found again", async () => {
    const dir = temp_dir();
    const text = yaml({ backends: { mock: backend(mock) } });
    fs.writeFileSync(path.join(dir, "config.yaml"), text);
    const keep = temp_dir();
    const options = (where) => ({ dir: where, args: ["--config", "config.yaml"] });
    const first = await start(options(dir));
    const file = path.join(dir, "data/client.key");
    const key = fs.readFileSync(file, "utf8").trim();
    assert.ok(key.length >= 20, "too short to be a secret");
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
    const call = (proxy_, k) => request(proxy_.port, { path: CHAT, body: BODY,
        headers: { "Content-Type": "application/json", "Authorization": `Bearer ${k}` } });
    assert.equal((await call(first, key)).status, 200);
    assert.equal((await call(first, "wrong")).status, 401);
    const metrics = await request(first.port, { method: "GET", path: "/metrics",
        headers: { Authorization: `Bearer ${key}` } });
    assert.equal(metrics.status, 200, "the only key is admin");
    assert.ok(!first.stderr.includes(key), "the key is in the log");
    fs.cpSync(dir, keep, { recursive: true });
    await first.stop();
    const second = await start(options(keep));
    assert.equal(fs.readFileSync(path.join(keep, "data/client.key"), "utf8").trim(), key);
    assert.equal((await call(second, key)).status, 200);
    await second.stop();
});

test("auth: --disable-auth binds to loopback whatever host says, and needs no key", async () => {
    const open = await start({ config: { host: "0.0.0.0", api_keys: undefined,
        backends: { mock: backend(mock) } }, args: ["--disable-auth"] });
    const answer = await request(open.port, { path: CHAT, body: BODY,
        headers: { "Content-Type": "application/json" } });
    assert.equal(answer.status, 200, answer.text);
    const port = open.port.toString(16).toUpperCase().padStart(4, "0");
    const listening = fs.readFileSync(`/proc/${open.pid}/net/tcp`, "utf8").split("\n")
        .map((line) => line.trim().split(/\s+/))
        .filter(([, local, , state]) => state === "0A" && local.endsWith(`:${port}`))
        .map(([, local]) => local.split(":")[0]);
    assert.ok(listening.length > 0);
    assert.ok(listening.every((address) => address === "0100007F"), `${listening}`);
    await open.logged(/loopback|127\.0\.0\.1/i, "no warning");
    await open.stop();
});
