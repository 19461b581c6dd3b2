/* SPDX-License-Identifier: MIT */
/*
 * What vendors answer otherwise than OpenAI, in answers of some MB, which are read in a job of their
 * own: clients of two protocols get all of it, said rightly.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock, whole } from "./lib/mock.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";

const TEXT = "sixteen bytes \"\\ ".repeat(150_000);
const USAGE = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
const answer = (message, finish = "stop", usage = USAGE) => {
    const made = whole("m1", message);
    return { ...made, choices: [{ ...made.choices[0], finish_reason: finish }], usage };
};

/* What comes, and what of it stands beside the text. */
const CASES = {
    mistral: { says: "parts", body: answer({ content: [
        { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
        { type: "text", text: TEXT }] }), reasoning: "hm" },
    together: { says: "<think>, and eos", body: answer({ content: `<think>hm</think>${TEXT}` },
        "eos"), reasoning: "hm" },
    xai: { says: "tokens without those of reasoning", body: answer({ content: TEXT }, "stop",
        { prompt_tokens: 1, completion_tokens: 2, total_tokens: 13,
            completion_tokens_details: { reasoning_tokens: 10 } }), tokens: 12 },
    openrouter: { says: "no finish_reason", body: answer({ content: TEXT }, "") },
};

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    const backends = Object.fromEntries(Object.keys(CASES).map((type) =>
        [type, { type, api_url: mock.url, api_keys: ["upstream-key-1"] }]));
    proxy = await start({ config: { default_backend: "mistral", backends } });
});

after(() => stop_all(proxy, mock));

for (const [vendor, { says, body, reasoning = "", tokens = 2 }] of Object.entries(CASES)) {
    test(`vendor large: ${vendor}: ${says}`, async () => {
        const messages = [{ role: "user", content: "Hi" }];
        mock.fallback = (ex) => ex.json_answer(body);
        const chat = await proxy.chat({ model: `${vendor}:m1`, messages });
        assert.equal(chat.status, 200, chat.text.slice(0, 300));
        const { message, finish_reason: finish } = chat.json.choices[0];
        assert.ok(message.content === TEXT, "the text");
        assert.equal(message.reasoning_content ?? message.reasoning ?? "", reasoning);
        assert.equal(finish, "stop");
        assert.equal(chat.json.usage.completion_tokens, tokens);
        const other = await proxy.chat({ model: `${vendor}:m1`, max_tokens: 9, messages },
            { path: "/v1/messages" });
        assert.equal(other.status, 200, other.text.slice(0, 300));
        const of = (type) => other.json.content.filter((block) => block.type === type)
            .map((block) => block.text ?? block.thinking).join("");
        assert.ok(of("text") === TEXT, "the text in Messages");
        assert.equal(of("thinking"), reasoning);
        assert.equal(other.json.stop_reason, "end_turn");
        assert.equal(other.json.usage.output_tokens, tokens);
    });
}
