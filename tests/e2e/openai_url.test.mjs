/* SPDX-License-Identifier: MIT */
/*
 * openai-url: a session's own URL for OpenAI backends. Where it may lead, what goes along, and what
 * stays where it was. What names stand for is in ../fault/door.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { Scene, each_way } from "./lib/chats.mjs";
import { Mock, openai } from "./lib/mock.mjs";
import { run, stop_all, test } from "./lib/proxy.mjs";

const CHAT = "openai-chat";

/* Whatever the base, it is a small OpenAI. */
const anywhere = (ex) => openai(Object.create(ex, { target: { value: "/v1/chat/completions" } }));
const elsewhere = await Mock.start({ fallback: anywhere });
const twin = await Mock.start({ fallback: anywhere });
const scene = await Scene.start({ config: { allowed_url_hosts: ["127.0.0.1"] },
    backends: (s) => ({
        openai: { api_url: s.base(CHAT), api_keys: ["sk-own-1"], headers: { "x-own": "own-2" } },
        team: { type: "openai", api_url: twin.url, api_keys: ["sk-team-1"],
            headers: { "x-team": "team-2" } },
    }) });
after(() => stop_all(scene, elsewhere, twin));

const OWN = { model: "openai:m1" };

async function set(where, session, options = {}) {
    await scene.command(CHAT, `!/set(openai-url=${where})`, `OpenAI URL set to ${where}`,
        { session, ...options });
}

/** A prompt that goes to `mock`, and what that got. */
async function goes_to(mock, session, { protocol = CHAT, ...options } = {}) {
    const before = mock.posts().length;
    const got = await scene.say(protocol, "Hi", { session, ...OWN, ...options });
    assert.equal(got.status, 200, got.answer.text);
    assert.equal(got.up.length, mock === scene.mock ? 1 : 0, "it went to the configured URL");
    const ups = mock.posts().slice(before);
    assert.equal(ups.length, 1);
    return Object.assign(ups[0], { got });
}

test("openai-url: with or without the version, for every client, whole and streamed", () =>
    each_way(async (protocol, stream) => {
        for (const url of [elsewhere.url, elsewhere.url.replace(/\/v1$/, ""),
            `${elsewhere.url}/`, elsewhere.url.replace(/\/v1$/, "/compat/v2")]) {
            const session = scene.id();
            await set(url, session);
            const up = await goes_to(elsewhere, session, { protocol, stream });
            assert.equal(up.target, /compat/.test(url) ? "/compat/v2/chat/completions" :
                "/v1/chat/completions");
            assert.equal(up.get("host"), `127.0.0.1:${elsewhere.port}`);
            assert.equal(up.json.model, "m1");
            assert.equal(up.got.answer.get("x-llm-proxy-backend"), "openai");
        }
    }));

test("openai-url: no key and no header of a backend goes there", async () => {
    const session = scene.id();
    await set(elsewhere.url, session);
    const up = await goes_to(elsewhere, session);
    assert.equal(up.get("authorization"), undefined);
    assert.equal(up.get("x-api-key"), undefined);
    assert.match(JSON.stringify(up.head), /user-agent/i);
    assert.doesNotMatch(JSON.stringify(up.head), /sk-|own-2|team-2|client-key|upstream-key/);
});

test("openai-url: the key of the backend with just that host and port goes there", async () => {
    const session = scene.id();
    await set(twin.url.replace(/\/v1$/, "/other/v1"), session);
    const up = await goes_to(twin, session);
    assert.equal(up.target, "/other/v1/chat/completions");
    assert.equal(up.get("authorization"), "Bearer sk-team-1");
    assert.equal(up.get("x-team"), "team-2");
    assert.equal(up.get("x-own"), undefined);
});

test("openai-url: of its session only, and of OpenAI backends only", async () => {
    const session = scene.id();
    await set(elsewhere.url, session);
    assert.equal((await goes_to(scene.mock, scene.id())).get("authorization"), "Bearer sk-own-1");
    await goes_to(scene.mock, session, { model: "oc:m1" });
    await goes_to(elsewhere, session, { model: "team:m1" });
    await scene.command(CHAT, "!/unset(openai-url)", /./, { session });
    assert.equal((await goes_to(scene.mock, session)).get("x-own"), "own-2");
});

test("openai-url: what is not allowed is refused, and changes nothing", async () => {
    const session = scene.id();
    await set(elsewhere.url, session);
    for (const [url, why] of [
        ["http://10.0.0.1/v1", /10\.0\.0\.1, is not in allowed_url_hosts/],
        ["http://127.0.0.2/v1", /127\.0\.0\.2, is not in allowed_url_hosts/],
        ["http://localhost/v1", /localhost, is not in allowed_url_hosts/],
        ["http://169.254.169.254/latest", /is not in allowed_url_hosts/],
        ["http://[::1]/v1", /is not in allowed_url_hosts/],
        ["http://2130706433/v1", /neither a name nor an address/],
        ["http://0x7f.0.0.1/v1", /neither a name nor an address/],
        ["http://127.1/v1", /neither a name nor an address/],
        ["http://127.0.0.1@evil.example/v1", /user name/],
        ["http://evil.example/v1", /evil\.example, is not in allowed_url_hosts/],
        ["ftp://127.0.0.1/v1", /http:\/\/ or https:\/\//],
        ["http://127.0.0.1/v1?x=y", /query/],
    ]) {
        await scene.command(CHAT, `!/set(openai-url="${url}")`, why, { session });
    }
    await goes_to(elsewhere, session);
});

test("openai-url: a redirect is not followed", async () => {
    const session = scene.id();
    await set(elsewhere.url, session);
    elsewhere.next((ex) => ex.respond({ status: 302, headers: {
        location: `${scene.base(CHAT)}/chat/completions` } }));
    const got = await scene.say(CHAT, "Hi", { session, ...OWN });
    assert.equal(got.status, 502, got.answer.text);
    assert.equal(got.up.length, 0);
});

test("openai-url: what the configuration does not allow any more is not gone to", async () => {
    const one = await Scene.start({ config: { allowed_url_hosts: ["127.0.0.1"] },
        backends: (s) => ({ openai: { api_url: s.base(CHAT), api_keys: ["sk-own-1"] } }) });
    try {
        const session = one.id();
        await one.command(CHAT, `!/set(openai-url=${elsewhere.url})`, /^OpenAI URL set/,
            { session });
        const before = elsewhere.posts().length;
        const say = () => one.say(CHAT, "Hi", { session, ...OWN });
        assert.equal((await say()).status, 200);
        assert.equal(elsewhere.posts().length, before + 1);
        await one.proxy.reload({ ...one.config, allowed_url_hosts: ["other.example"] });
        const refused = await say();
        assert.equal(refused.status, 403, refused.answer.text);
        assert.match(refused.answer.text, /is not in allowed_url_hosts/);
        assert.equal(refused.up.length, 0, "it went to the configured URL with its key");
        assert.equal(elsewhere.posts().length, before + 1);
    } finally {
        await stop_all(one);
    }
});

test("openai-url: a name is not looked up by a proxy", async () => {
    const one = await Scene.start({ config: { allowed_url_hosts: ["api.example"],
        http_proxy: elsewhere.url.replace(/\/v1$/, "") },
    backends: (s) => ({ openai: { api_url: s.base(CHAT), api_keys: ["sk-own-1"] } }) });
    try {
        const session = one.id();
        const before = elsewhere.posts().length;
        await one.command(CHAT, "!/set(openai-url=http://api.example/v1)", /^OpenAI URL set/,
            { session });
        const refused = await one.say(CHAT, "Hi", { session, ...OWN });
        assert.equal(refused.status, 403, refused.answer.text);
        assert.match(refused.answer.text, /api\.example would be looked up by a proxy/);
        assert.equal(elsewhere.posts().length, before);
    } finally {
        await stop_all(one);
    }
});

test("allowed_url_hosts: what is no host is a fault with its place", async () => {
    for (const host of ["*", "https://a.example", "a.example/v1", "127.1"]) {
        const { code, all } = await run(["--check-config"],
            { config: { allowed_url_hosts: ["a.example", host] } });
        assert.equal(code, 1, all);
        assert.match(all, /config\.yaml:\d+:\d+: error: allowed_url_hosts: number 2 is no host/);
    }
});
