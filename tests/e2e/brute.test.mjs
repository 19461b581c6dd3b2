/* SPDX-License-Identifier: MIT */
/*
 * Wrong keys: who is slowed down, and who is not. How the waits grow is a unit test's matter
 * (src/gateway/strikes_test.c): their clock is not ours to turn.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { request } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";

let mock;

before(async () => {
    mock = await Mock.start();
});

after(() => stop_all(mock));

const WRONG = "Bearer not-the-key";
const RIGHT = `Bearer ${KEY}`;
const begin = (more = {}) => start({ config: { ...more, backends: { mock: backend(mock) } } });
const ask = (proxy, authorization, headers = {}, path = "/v1/models") => request(proxy.port, {
    method: "GET", path, headers: { ...authorization ? { Authorization: authorization } : {},
        ...headers } });

async function strike_out(proxy, headers = {}) {
    for (let i = 0; i < 5; i++) {
        const answer = await ask(proxy, WRONG, headers);
        assert.equal(answer.status, 401, `wrong key number ${i + 1}: ${answer.text}`);
        assert.equal(answer.get("retry-after"), undefined);
    }
}

function is_slowed(answer) {
    assert.equal(answer.status, 429, answer.text);
    assert.equal(answer.json.error.type, "rate_limit_error");
    assert.match(answer.json.error.message, /wrong API keys/);
    const wait = Number(answer.get("retry-after"));
    assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 30, answer.get("retry-after"));
}

test("brute: the sixth wrong key is told to wait, on all workers; the right one is not", async () => {
    const proxy = await begin({ workers: 3 });
    await strike_out(proxy);
    for (let i = 0; i < 12; i++) {
        is_slowed(await ask(proxy, WRONG));
    }
    is_slowed(await ask(proxy, "Bearer another-wrong-one", {}, "/v1/chat/completions"));
    is_slowed(await ask(proxy, null, { "x-api-key": "wrong" }, "/metrics"));
    /* No key is no guess; what needs none is not slowed down. */
    assert.equal((await ask(proxy, null)).status, 401);
    assert.equal((await ask(proxy, WRONG, {}, "/healthz")).status, 200);
    /* The right one passes, and all is forgotten. */
    assert.equal((await ask(proxy, RIGHT)).status, 200);
    await strike_out(proxy);
    is_slowed(await ask(proxy, WRONG));
    await proxy.stop();
    assert.ok(!proxy.stderr.includes("not-the-key"));
});

test("brute: missing keys are not counted", async () => {
    const proxy = await begin();
    for (let i = 0; i < 20; i++) {
        assert.equal((await ask(proxy, null)).status, 401);
        assert.equal((await ask(proxy, "Bearer ")).status, 401);
        assert.equal((await ask(proxy, "Basic dXNlcjpwYXNz")).status, 401);
    }
    await strike_out(proxy);
    await proxy.stop();
});

test("brute: each of several wrong keys in a request counts", async () => {
    const proxy = await begin();
    const three = { "x-api-key": "wrong-2", "api-key": "wrong-3" };
    assert.equal((await ask(proxy, WRONG, three)).status, 401);
    const slowed = await ask(proxy, WRONG, three);
    is_slowed(slowed);
    assert.match(slowed.json.error.message, /^Rate limit exceeded/);
    assert.equal((await ask(proxy, WRONG, { ...three, "x-goog-api-key": KEY })).status, 200);
    await strike_out(proxy);
    await proxy.stop();
});

test("brute: X-Forwarded-For of a stranger is not believed", async () => {
    const proxy = await begin();
    for (let i = 0; i < 5; i++) {
        assert.equal((await ask(proxy, WRONG, { "X-Forwarded-For": `192.0.2.${i}` })).status, 401);
    }
    is_slowed(await ask(proxy, WRONG, { "X-Forwarded-For": "192.0.2.99" }));
    await proxy.stop();
});

test("brute: behind trusted proxies each client counts by itself, the rightmost one that is not "
    + "trusted", async () => {
    const proxy = await begin({ trusted_proxies: ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"] });
    const from = (list) => ({ "X-Forwarded-For": list });
    await strike_out(proxy, from("192.0.2.1"));
    is_slowed(await ask(proxy, WRONG, from("192.0.2.1")));
    /* The same client by another way, and with a story of its own on the left. */
    is_slowed(await ask(proxy, WRONG, from("192.0.2.1, 10.1.1.1")));
    is_slowed(await ask(proxy, WRONG, from("198.51.100.7, 192.0.2.1 ,fd00::7")));
    is_slowed(await ask(proxy, WRONG, from("192.0.2.1:4711")));
    is_slowed(await request(proxy.port, { method: "GET", path: "/v1/models", headers: [
        ["Authorization", WRONG], ["X-Forwarded-For", "203.0.113.9, 192.0.2.1"],
        ["X-Forwarded-For", "10.9.9.9"]] }));
    /* Others. */
    assert.equal((await ask(proxy, WRONG, from("192.0.2.2"))).status, 401);
    assert.equal((await ask(proxy, WRONG, from("192.0.2.1, 192.0.2.3"))).status, 401);
    assert.equal((await ask(proxy, WRONG)).status, 401);
    /* A right key of one clears nobody else. */
    assert.equal((await ask(proxy, RIGHT, from("192.0.2.2"))).status, 200);
    is_slowed(await ask(proxy, WRONG, from("192.0.2.1")));
    /* IPv6 by its network. */
    for (let i = 0; i < 5; i++) {
        assert.equal((await ask(proxy, WRONG, from(`2001:db8::${i}`))).status, 401);
    }
    is_slowed(await ask(proxy, WRONG, from("[2001:db8::ffff]:443")));
    await proxy.stop();
    assert.match(proxy.stderr, /peer=\S*192\.0\.2\.1\b/);
});
