/* SPDX-License-Identifier: MIT */
/*
 * docs/COMMANDS.md against the running program: each row of its table of answers is typed into a
 * chat of its own, in one protocol after the other, and is answered as the page says.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after } from "node:test";

import { ask, assert_by_proxy, body_of } from "./lib/chats.mjs";
import { NAMES } from "./lib/protocols.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";

const PAGE = readFileSync(new URL("../../docs/COMMANDS.md", import.meta.url), "utf8");
const ROW = /^\| `(!\/.*?)` \| (.*) \|$/;

/* What the page says of its environment. Nothing listens where the backends are. */
const api_url = "http://127.0.0.1:9/v1";
const proxy = await start({ config: { default_backend: "openai",
    allowed_url_hosts: ["llm.example.com"], backends: {
        openai: { api_url, api_keys: ["key-of-openai-1"] },
        anthropic: { api_url, api_keys: ["key-of-anthropic-1"] },
        gemini: {} } } });
after(() => stop_all(proxy));

let sessions = 0;
async function say(protocol, text, stream) {
    const got = await ask(proxy, protocol, body_of(protocol, [{ user: text }]),
        { model: "openai:m1", stream, session: `row-${++sessions}` });
    assert_by_proxy(protocol, got, undefined);
    return got.text;
}

const rows = PAGE.split("\n").map((line) => ROW.exec(line)).filter(Boolean).map((found) => ({
    typed: found[1],
    told: found[2].split("<br>").map((line) => line.replace(/^`(.*)`$/, "$1")).join("\n") }));

test("docs/COMMANDS.md: every row is answered as it says, without a backend", async () => {
    assert.ok(rows.length > 100, `${rows.length} rows`);
    for (const [i, { typed, told }] of rows.entries()) {
        const protocol = NAMES[i % 4];
        const text = await say(protocol, typed, i % 8 > 3);
        assert.equal(text, told, `${typed}, ${protocol}`);
    }
});

/* The longer answers, behind their command in a block of their own. */
const block = (typed) => {
    const from = PAGE.indexOf(`\n\`${typed}\`\n\n\`\`\`\n`);
    assert.notEqual(from, -1, typed);
    const begin = from + typed.length + 9;
    return PAGE.slice(begin, PAGE.indexOf("\n```", begin));
};

test("docs/COMMANDS.md: help, hello, status and stats are what they are shown as", async () => {
    for (const [i, protocol] of NAMES.entries()) {
        for (const typed of ["!/help", "!/help(temperature)"]) {
            assert.equal(await say(protocol, typed, i % 2 === 1), block(typed));
        }
        const plain = (text) => text.replace(/llm-proxy \S+/, "llm-proxy V").replace(/, M:\d+/g, "")
            .replace(/(Session id|session): \S+/, "$1: S").replace(/\n?since: .*/, "")
            .replace(/^default-backend: openai .*$/m, "default-backend: openai");
        for (const typed of ["!/hello", "!/status", "!/stats"]) {
            assert.equal(plain(await say(protocol, typed, i % 2 === 1)), plain(block(typed)));
        }
    }
});
