/* SPDX-License-Identifier: MIT */
/*
 * openai-url with a name: what the name stands for is looked at after the look-up and before the
 * connection, each time. The names need no network: inject.c knows them.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Scene } from "../e2e/lib/chats.mjs";
import { Mock, whole } from "../e2e/lib/mock.mjs";
import { stop_all, test } from "../e2e/lib/proxy.mjs";
import { Inject, unavailable } from "./lib/inject.mjs";

const skip = unavailable();
const CHAT = "openai-chat";
let mock;
let inject;

/* No connection is kept: each request looks its name up. */
async function answer(ex) {
    await ex.json_answer(whole(ex.json.model, { content: "here" }),
        { headers: { connection: "close" } });
    ex.fin();
}

before(async () => {
    if (!skip) {
        mock = await Mock.start({ fallback: answer });
        inject = new Inject();
    }
});

after(async () => {
    await stop_all(mock);
    inject?.fini();
});

async function asked(allowed_url_hosts, name) {
    const scene = await Scene.start({ config: { allowed_url_hosts }, env: inject.env,
        backends: (s) => ({ openai: { api_url: s.base(CHAT), api_keys: ["sk-own-1"] } }) });
    try {
        const session = scene.id();
        const url = `http://${name}.inject.test:${mock.port}/v1`;
        const count = mock.posts().length;
        await scene.command(CHAT, `!/set(openai-url=${url})`, `OpenAI URL set to ${url}`,
            { session });
        const got = await scene.say(CHAT, "Hi", { session, model: "openai:m1" });
        assert.equal(got.up.length, 0, "it went to the configured URL");
        return { got, ups: mock.posts().slice(count) };
    } finally {
        await stop_all(scene);
    }
}

async function refused(...args) {
    const { got, ups } = await asked(...args);
    assert.equal(got.status, 403, got.answer.text);
    assert.match(got.answer.text, /private, loopback, link-local/);
    assert.equal(ups.length, 0, "it was connected to");
}

async function works(...args) {
    const { got, ups } = await asked(...args);
    assert.equal(got.status, 200, got.answer.text);
    assert.equal(ups.length, 1);
    assert.equal(ups[0].get("authorization"), undefined);
}

test("door: a listed name that stands for this machine is not connected to", { skip },
    async () => {
        await refused(["four.inject.test"], "four");
        await refused(["both.inject.test"], "both");
        await refused(["four.inject.test", "127.0.0.2", "::1", "127.0.0.1:9"], "four");
    });

test("door: it is where the address is listed too", { skip }, async () => {
    await works(["four.inject.test", "127.0.0.1"], "four");
    await works(["both.inject.test", `127.0.0.1:${mock.port}`], "both");
});
