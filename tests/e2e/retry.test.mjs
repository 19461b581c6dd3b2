/* SPDX-License-Identifier: MIT */
/*
 * Retries before commit, and keys that cool down.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock, whole } from "./lib/mock.mjs";
import { backend, not_built, start, stop_all, test } from "./lib/proxy.mjs";

const BODY = { model: "mock:m1", messages: [{ role: "user", content: "x" }] };
const answer_of = (ex) => ex.json_answer(whole("m1", { content: "x" }));

const skip = await not_built("retries", 2);

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: { default_backend: "mock", backends: { mock: backend(mock),
        cooling: backend(mock), patient: backend(mock) } } });
});

after(() => stop_all(proxy, mock));

test("retry: 500 twice and then an answer: retried, the client sees the answer", { skip },
    async () => {
        let n = 0;
        mock.on("flaky", (ex) => ++n < 3 ? ex.json_answer({ error: { message: "oops",
            type: "server_error", param: null, code: null } }, { status: 500 }) : answer_of(ex));
        const answer = await proxy.chat({ ...BODY, model: "patient:flaky" },
            { headers: { "Idempotency-Key": "one" } });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.get("x-llm-proxy-attempts"), "3");
        const keys = mock.posts().slice(-3).map((r) => r.get("idempotency-key"));
        assert.deepEqual(keys, ["one", "one", "one"]);
    });

test("retry: 400 is never retried", async () => {
    const count = mock.posts().length;
    mock.on("bad", (ex) => ex.json_answer({ error: { message: "no", type: "x", param: null,
        code: null } }, { status: 400 }));
    assert.equal((await proxy.chat({ ...BODY, model: "patient:bad" })).status, 400);
    assert.equal(mock.posts().length, count + 1);
});

test("retry: after a 429 the key cools down: the next request gets 429 at once, with the wait",
    async () => {
        mock.on("limited", (ex) => ex.json_answer({ error: { message: "slow down",
            type: "requests", param: null, code: "rate_limit_exceeded" } },
        { status: 429, headers: { "retry-after": "30" } }));
        const first = await proxy.chat({ ...BODY, model: "cooling:limited" });
        assert.equal(first.status, 429);
        assert.equal(first.json.error.message, "slow down");
        assert.equal(first.get("retry-after"), "30");
        const count = mock.posts().length;
        const second = await proxy.chat({ ...BODY, model: "cooling:m1" });
        assert.equal(second.status, 429);
        assert.equal(second.json.error.type, "rate_limit_error");
        assert.equal(second.json.error.code, "rate_limit_exceeded");
        assert.match(second.json.error.message, /^Rate limit exceeded/);
        const wait = Number(second.get("retry-after"));
        assert.ok(wait >= 20 && wait <= 30, `retry-after ${wait}`);
        assert.equal(mock.posts().length, count);
    });
