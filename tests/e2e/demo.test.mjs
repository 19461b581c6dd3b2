/* SPDX-License-Identifier: MIT */
/*
 * The built-in demo backend, as somebody sees it who has neither key nor config.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { after, before } from "node:test";

import { DEMO_MODELS } from "./lib/demo.mjs";
import { request, sse_data } from "./lib/http1.mjs";
import { PROGRAM, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";

const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "Hello there, who are you?" }];

let proxy;

before(async () => {
    proxy = await start({ args: ["--demo"] });
});

after(() => stop_all(proxy));

test("demo: --demo alone makes the proxy ready, and demo the default backend", async () => {
    assert.equal((await request(proxy.port, { method: "GET", path: "/readyz" })).status, 200);
    for (const model of ["assistant", "demo:assistant", "demo/assistant"]) {
        const answer = await proxy.chat({ model, messages: MESSAGES });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.get("x-llm-proxy-backend"), "demo");
        assert.equal(answer.get("x-llm-proxy-model"), "assistant");
    }
    const answer = await proxy.chat({ messages: MESSAGES });
    assert.equal(answer.status, 200, "without a model: the backend's default");
    assert.equal(answer.get("x-llm-proxy-model"), "assistant");
});

/* All that it says on the standard output at the start. */
async function banner(...args) {
    const dir = temp_dir();
    const child = spawn(PROGRAM, ["--demo", "--port", "0", ...args],
        { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    let log = "";
    const ended = new Promise((resolve) => {
        child.on("close", resolve);
    });
    child.stdout.setEncoding("utf8").on("data", (piece) => { text += piece; });
    child.stderr.setEncoding("utf8").on("data", (piece) => {
        log += piece;
        if (/ msg=start\.ready /.test(log)) {
            child.kill("SIGTERM");
        }
    });
    await ended;
    fs.rmSync(dir, { recursive: true, force: true });
    return text;
}

test("demo: the banner says where commands in the chat are listed", async () => {
    assert.match(await banner(), /^ {2}Say !\/help in the chat/m);
    assert.match(await banner("--command-prefix", "%/"), /^ {2}Say %\/help in the chat/m);
    assert.doesNotMatch(await banner("--disable-interactive-commands"), /help/);
});

test("demo: its models are in the list", async () => {
    const answer = await proxy.call({ method: "GET", path: "/v1/models" });
    assert.deepEqual(answer.json.data.map((m) => m.id), DEMO_MODELS);
});

test("demo: a stream's words arrive one by one, not in a heap at the end", async () => {
    const client = await proxy.connect();
    client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify({
        model: "demo:assistant", messages: MESSAGES, stream: true }) });
    const answer = await client.response();
    client.destroy();
    assert.equal(answer.status, 200);
    assert.match(answer.get("content-type"), /^text\/event-stream/);
    const words = sse_data(answer.text).filter((d) => d !== "[DONE]").map((d) => JSON.parse(d))
        .filter((c) => (c.choices[0]?.delta.content ?? "") !== "");
    assert.ok(words.length >= 5, `${words.length} chunks with text`);
    const times = answer.pieces.map((p) => p.at);
    const gaps = times.slice(1).map((at, i) => at - times[i]).filter((gap) => gap >= 5);
    assert.ok(gaps.length >= 4, `${gaps.length} pauses in ${times.length} arrivals`);
    assert.ok(answer.text.endsWith("data: [DONE]\n\n"));
});

test("demo: a stream is well-formed: role first, one finish, one id, terminator", async () => {
    const answer = await proxy.chat({ model: "demo:echo", messages: MESSAGES, stream: true });
    const data = sse_data(answer.text);
    assert.equal(data.pop(), "[DONE]");
    const chunks = data.map((d) => JSON.parse(d));
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
    assert.ok(chunks.every((c) => c.object === "chat.completion.chunk"));
    const ends = chunks.map((c) => c.choices[0]?.finish_reason ?? null);
    assert.deepEqual(ends.filter((f) => f !== null), ["stop"]);
    assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""),
        MESSAGES[0].content);
});

test("demo: echo is faithful to long text, line breaks and every kind of character", async () => {
    for (const text of ["a", "two  blanks\n\nand lines\r\n",
        "tab\there \"quotes\" \\ / \u0001 é 🙂", "日本語の文章 ".repeat(200),
        "e\u0301 \u202e rtl \u2028"]) {
        const messages = [{ role: "user", content: text }];
        const whole = await proxy.chat({ model: "demo:echo", messages });
        assert.equal(whole.json.choices[0].message.content, text);
    }
});

test("demo: an unknown demo model is an error, not a guess", async () => {
    const answer = await proxy.chat({ model: "demo:gpt-9", messages: MESSAGES });
    assert.equal(answer.status, 404, answer.text);
    assert.equal(answer.json.error.type, "invalid_request_error");
});
