/* SPDX-License-Identifier: MIT */
/* The README's table of vendors says what is true, of every vendor (lib/vendor_table.mjs). */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { before } from "node:test";

import { ROOT, test } from "./lib/proxy.mjs";
import { COLUMNS, measure, table_in, table_of, vendors } from "./lib/vendor_table.mjs";
import { STYLES } from "./lib/vendor_styles.mjs";

let rows;
let readme;

before(async () => {
    rows = await measure();
    readme = table_in(fs.readFileSync(path.join(ROOT, "README.md"), "utf8"));
});

test("vendor table: every vendor has a style to be tried with", () => {
    for (const vendor of vendors().filter((one) => one.protocol === "openai-chat")) {
        assert.ok(STYLES[vendor.name], vendor.name);
    }
    assert.ok(vendors().length >= 26);
});

for (const vendor of vendors()) {
    test(`vendor table: ${vendor.name}`, () => {
        const row = rows.find((one) => one.name === vendor.name);
        const line = readme.split("\n").find((one) => one.startsWith(`| \`${vendor.name}\` |`));
        assert.ok(line, `${vendor.name} is missing in the README: node tests/e2e/vendor_table.mjs`);
        const ticks = line.split("|").slice(-1 - COLUMNS.length, -1).map((one) => one.trim());
        assert.deepEqual(Object.fromEntries(COLUMNS.map((one, i) => [one, ticks[i] === "✓"])),
            Object.fromEntries(COLUMNS.map((one) => [one, row[one].works])),
            COLUMNS.map((one) => row[one].why ?? "").join("\n"));
    });
}

test("vendor table: as the command writes it", () => {
    assert.equal(readme, table_of(rows));
});

/* Catches: a client, or vendors, that would find nothing wrong with anything. */
test("vendor table: without dialects the same client fails where vendors are odd", async () => {
    const plain = await measure({ plain: true });
    const fails = (column) => plain.filter((one) => !one[column].works).map((one) => one.name);
    const odd = ["mistral", "deepseek", "xai", "together", "perplexity", "nvidia", "moonshot", "zai",
        "qwen", "minimax", "huggingface", "sambanova", "github", "azure", "lmstudio"];
    assert.deepEqual(fails("chat"), odd);
    assert.deepEqual(fails("stream"), odd);
    for (const name of ["openai", "anthropic", "gemini", "openrouter", "groq"]) {
        assert.ok(!fails("tools").includes(name), name);
    }
});
