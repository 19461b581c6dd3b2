/* SPDX-License-Identifier: MIT */
/*
 * What each vendor gets: tests/golden/vendors/VENDOR-{chat,tools,reason}.json against the running
 * program, with an upstream at the vendor's own path. Its README tells the format.
 *
 * GOLDEN=part     only the cases whose file names have that part
 * SEEN=dir        writes there, a file a case, the case with what reached the upstream
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { parse, write } from "./lib/exact.mjs";
import { differences } from "./lib/match.mjs";
import { Mock } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";

const ROOT = path.resolve(import.meta.dirname, "../..");
const DIR = path.join(ROOT, "tests/golden/vendors");
const KINDS = ["chat", "tools", "reason"];
const KEY = "vendor-key-1";

/* Of the program's own table: names, and the paths of their URLs. */
const VENDORS = new Map();
for (const [, name, url] of fs.readFileSync(path.join(ROOT, "src/backend/backends.def"), "utf8")
    .matchAll(/^BACKEND\((\w+), protocol_openai_chat, (?:"([^"]+)"|NULL)/gm)) {
    VENDORS.set(name, url ? new URL(url).pathname.replace(/\/$/, "") : "");
}

const CASES = fs.readdirSync(DIR).filter((file) => file.endsWith(".json")).sort()
    .map((file) => ({ file, name: path.basename(file, ".json"),
        vendor: file.slice(0, file.lastIndexOf("-")),
        ...parse(fs.readFileSync(path.join(DIR, file), "utf8")) }));
const WANTED = CASES.filter((one) => one.file.includes(process.env.GOLDEN ?? ""));

/** On any path: a client whose request was right gets an answer. */
async function answer(ex) {
    const chat = PROTOCOLS["openai-chat"];
    const stream = ex.json.stream === true;
    const body = chat[stream ? "stream" : "whole"](ex.json.model ?? "m1", "ok");
    await ex.respond({ body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "content-type": stream ? "text/event-stream" : "application/json" } });
}

const mock = await Mock.start({ fallback: answer });
const host = mock.url.replace(/\/v1$/, "");
const backends = {};
for (const one of WANTED) {
    backends[one.vendor] = { api_url: host + VENDORS.get(one.vendor), api_keys: [KEY],
        ...JSON.parse(write(one.options ?? {})) };
}
const proxy = await start({ config: { default_backend: "chat", retries: 0,
    backends: { chat: { protocol: "openai-chat", api_url: mock.url }, ...backends } } });

after(() => stop_all(proxy, mock));

/** Headers as they are anywhere: where this test runs, and how long the body is, stand for that. */
function headers_of(ex) {
    const shown = { host: "$HOST", "content-length": "$LENGTH" };
    return Object.fromEntries(ex.head.fields.map(([name, value]) => [name.toLowerCase(), value])
        .map(([name, value]) => [name, shown[name] ??
            value.replace(/^llm-proxy\/.*/, "llm-proxy/$VERSION")]).sort());
}

function remember(one, seen, warnings) {
    if (process.env.SEEN) {
        const { file, name, vendor, ...rest } = one;
        void name;
        void vendor;
        fs.writeFileSync(path.join(process.env.SEEN, file),
            write({ ...rest, upstream: seen, warnings }));
    }
}

for (const one of WANTED) {
    test(`vendors: ${one.name}: ${one.case}`, async () => {
        const client = PROTOCOLS[one.client ?? "openai-chat"];
        const model = `${one.vendor}:${one.model}`;
        const stream = one.request.stream === true;
        mock.requests.length = 0;
        const got = await proxy.call({ path: client.path(model, { stream }),
            body: write({ model, ...one.request }) });
        const sent = mock.posts();
        assert.equal(sent.length, 1, `${sent.length} requests went up: ${got.text}`);
        const seen = { line: `${sent[0].method} ${sent[0].target}`, headers: headers_of(sent[0]),
            body: parse(sent[0].body) };
        const warnings = (got.get("x-llm-proxy-warnings") ?? "").split(/,\s*/).filter(Boolean);
        remember(one, seen, warnings);
        const wrong = [...differences(one.upstream, seen, new Map(), "upstream"),
            ...differences(one.warnings ?? [], warnings, new Map(), "warnings")];
        assert.equal(wrong.length, 0, `${one.file}:\n${wrong.join("\n")}`);
        assert.equal(got.status, 200, got.text);
    });
}

test("vendors: each vendor has its three cases, and each case its vendor", () => {
    const files = new Set(CASES.map((one) => one.name));
    const wanted = [...VENDORS.keys()].flatMap((name) => KINDS.map((kind) => `${name}-${kind}`));
    assert.deepEqual(wanted.filter((name) => !files.has(name)), []);
    for (const one of CASES) {
        assert.ok(VENDORS.has(one.vendor), `${one.file}: no vendor of that name`);
        assert.ok(typeof one.case === "string" && one.case !== "", `${one.file} has no case`);
    }
});
