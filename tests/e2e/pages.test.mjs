/* SPDX-License-Identifier: MIT */
/*
 * The pages in docs/clients: none is forgotten by the index, none points at what is not there, and
 * each says where the proxy is and how that was tried.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { ROOT, test } from "./lib/proxy.mjs";

const DIR = path.join(ROOT, "docs/clients");
const PAGES = fs.readdirSync(DIR).filter((name) => name.endsWith(".md") && name !== "README.md");
const read = (name) => fs.readFileSync(path.join(DIR, name), "utf8");

test("pages: the index names each client's page once", () => {
    const named = [...read("README.md").matchAll(/^\| \[[^\]]+\]\(([\w-]+\.md)\) \|/gm)]
        .map((m) => m[1]);
    assert.deepEqual(named.sort(), PAGES.sort());
});

test("pages: each says where the proxy is, and what was tried", () => {
    for (const name of PAGES) {
        const text = read(name);
        assert.match(text, /^# .+\n/, name);
        assert.match(text, /http:\/\/127\.0\.0\.1:8000\b/, name);
        assert.match(text, /\b([Tt]ried with .*\d+\.\d+|Not tried)/, name);
    }
});

test("pages: what they point at is there", () => {
    for (const name of [...PAGES, "README.md"]) {
        for (const [, target] of read(name).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
            assert.ok(fs.existsSync(path.join(DIR, target)), `${name}: ${target}`);
        }
    }
});
