/* SPDX-License-Identifier: MIT */
/*
 * Every recorded Chat Completions request, through a backend of its vendor's type, with quirks off,
 * and of the plain protocol: the bytes that the client sent, but for the model's name. Of the
 * vendor's type those change that are listed here, with the reason.
 *
 * RECORDING=12    only the one in this line
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { ROOT, start, stop_all, test } from "./lib/proxy.mjs";
import { vendors } from "./lib/vendor_table.mjs";

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const absent = fs.existsSync(SHARED) ? false : "../shared/recordings is absent";
const ONLY = process.env.RECORDING;

/* Whose requests are recorded under another name, or went to a server of that make. */
const VENDOR = { moonshotai: "moonshot", alibaba: "qwen", gpustack: "vllm", crusoe: "vllm" };

/* Of these the vendor takes the request as it was recorded, too, or refuses it: each line's body as
 * it arrives, by the reason. */
const EDITED = new Map(Object.entries({
    "an effort says thinking as well": [[311, ["}", ',"thinking":{"type":"enabled"}}']]],
    "an effort is a word for the template": [
        [473, ['"reasoning_effort":"none"', '"chat_template_kwargs":{"enable_thinking":false}']],
        [476, ['"reasoning_effort":"medium"', '"chat_template_kwargs":{"enable_thinking":true}']]],
    "a tool's message has the tool's name": [
        [530, ['{"role":"tool"', '{"name":"weather","role":"tool"'],
            ['{"role":"tool"', '{"name":"weather","role":"tool"']],
        [532, ['{"role":"tool"', '{"name":"image_fetch","role":"tool"']],
        [541, ['{"content":"See', '{"name":"get_file","content":"See']],
        [542, ['{"content":"File', '{"name":"get_file","content":"File']]],
    "the model refuses max_tokens and temperature": [
        [710, ['"max_tokens"', '"max_completion_tokens"'], [',"temperature":-0.5', ""]]],
    "at least 16 tokens": [[899, [":10", ":16"]], [906, [":10", ":16"]], [912, [":10", ":16"]]],
}).flatMap(([, lines]) => lines.map(([line, ...edits]) => [line, edits])));

const LIST = absent ? [] : fs.readFileSync(SHARED, "utf8").trimEnd().split("\n")
    .map((line, i) => ({ line: i + 1, ...JSON.parse(line) }))
    .filter((x) => x.api === "openai_chat" && x.request && (!ONLY || String(x.line) === ONLY))
    .map((x) => ({ ...x, vendor: VENDOR[x.provider] ?? x.provider,
        /* Azure's have it in the path. */
        request: x.request.model ? x.request : { ...x.request, model: "m1" } }));

/* Whose recorded streams were asked for usage by us, where the client did not. */
const ASKED = new Set(["azure", "deepseek", "groq", "openai", "openrouter", "together"]);
const VENDORS = vendors().filter((vendor) => vendor.protocol === "openai-chat")
    .map((vendor) => vendor.name);

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    const keys = ["upstream-key-1"];
    const backends = { plain: { protocol: "openai-chat", api_url: mock.url, api_keys: keys } };
    for (const name of VENDORS) {
        backends[`${name}-vendor`] = { type: name, api_url: mock.url, api_keys: keys };
        backends[`${name}-off`] = { type: name, api_url: mock.url, api_keys: keys, quirks: false };
    }
    proxy = await start({ config: { default_backend: "plain", retries: 0, backends } });
});

after(() => stop_all(proxy, mock));

/** What reaches the upstream of the recorded body, whose model names the backend. */
async function arrives(x, backend) {
    const { model } = x.request;
    const answer = await proxy.chat(JSON.stringify({ ...x.request, model: `${backend}:${model}` }));
    return answer.status === 200 ? mock.posts().at(-1).body.toString() :
        `${answer.status}: ${answer.text}`;
}

const sent = (x) => JSON.stringify(x.request);

/** The last place: a member of the root stands behind the messages. */
function replaced(text, [from, to]) {
    const at = text.lastIndexOf(from);
    assert.ok(at >= 0, from);
    return text.slice(0, at) + to + text.slice(at + from.length);
}

function edited(x) {
    const asks = x.request.stream && x.request.stream_options === undefined &&
        ASKED.has(x.vendor);
    const text = (EDITED.get(x.line) ?? []).reduce(replaced, sent(x));
    return asks ? replaced(text, ["}", ',"stream_options":{"include_usage":true}}']) : text;
}

function compare(wrong, x, backend, wanted, got) {
    if (wanted !== got) {
        let at = 0;
        while (wanted[at] === got[at]) {
            at++;
        }
        const near = (text) => text.slice(Math.max(0, at - 60), at + 120);
        wrong.push(`line ${x.line} to ${backend}: ${near(got)}\nnot ${near(wanted)}`);
    }
}

test("vendor exact: every recorded request of a vendor, to that vendor", { skip: absent },
    async (t) => {
        const list = LIST.filter((x) => VENDORS.includes(x.vendor));
        const wrong = [];
        for (const x of list) {
            compare(wrong, x, x.vendor, edited(x), await arrives(x, `${x.vendor}-vendor`));
        }
        t.diagnostic(`${list.length} requests`);
        assert.equal(wrong.length, 0, wrong.join("\n"));
    });

test("vendor exact: every recorded request, to the plain protocol", { skip: absent }, async () => {
    const wrong = [];
    for (const x of LIST) {
        compare(wrong, x, "plain", sent(x), await arrives(x, "plain"));
    }
    assert.equal(wrong.length, 0, wrong.join("\n"));
});

/* Each with another vendor's edits off: in turn all of them. */
test("vendor exact: every recorded request, to vendors without quirks", { skip: absent },
    async () => {
        const wrong = [];
        for (const [i, x] of LIST.entries()) {
            const name = VENDORS[i % VENDORS.length];
            compare(wrong, x, `${name}-off`, sent(x), await arrives(x, `${name}-off`));
        }
        assert.equal(wrong.length, 0, wrong.join("\n"));
    });
