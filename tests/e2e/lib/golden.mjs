/* SPDX-License-Identifier: MIT */
/*
 * The cases of tests/golden/translate and its INDEX; what they mean is in the README there.
 *
 *   node lib/golden.mjs      writes the file names of INDEX again, from the rows of the cases
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { parse } from "./exact.mjs";
import { PROTOCOLS } from "./protocols.mjs";
import { ROOT } from "./proxy.mjs";

export const GOLDEN = path.join(ROOT, "tests/golden/translate");
export const INDEX = path.join(ROOT, "tests/golden/INDEX");

const MEMBERS = new Set(["case", "rows", "client", "backend", "model", "vendor", "options",
    "turns", "request", "expect_upstream", "upstream", "expect_client", "warnings"]);

/** Every case, by file name; one that cannot be read is an Error in its place. */
export function load_cases() {
    return fs.readdirSync(GOLDEN).filter((file) => file.endsWith(".json")).sort().map((file) => {
        try {
            const value = parse(fs.readFileSync(path.join(GOLDEN, file), "utf8"));
            for (const name of Object.keys(value)) {
                if (!MEMBERS.has(name)) {
                    throw new Error(`unknown member ${name}`);
                }
            }
            for (const side of ["client", "backend"]) {
                if (!Object.hasOwn(PROTOCOLS, value[side])) {
                    throw new Error(`${side} is no protocol: ${value[side]}`);
                }
            }
            return { file, ...value };
        } catch (error) {
            return { file, error };
        }
    });
}

/* "an>ge", "*>ge" (any other protocol), "an>*". */
export function covers(pair, one) {
    const [client, backend] = pair.split(">");
    const from = PROTOCOLS[one.client].short;
    const to = PROTOCOLS[one.backend].short;
    return pair.includes("*") ? from !== to && (client === "*" || client === from) &&
        (backend === "*" || backend === to) : client === from && backend === to;
}

/** [{row, policy, pairs, title, files}] and the comment lines between them, in order. */
export function read_index() {
    const list = [];
    for (const line of fs.readFileSync(INDEX, "utf8").trimEnd().split("\n")) {
        if (line === "" || line.startsWith("#")) {
            list.push({ comment: line });
        } else if (/^\s/.test(line)) {
            list.at(-1).files.push(...line.trim().split(/\s+/));
        } else {
            const [row, policy, pairs, title] = line.split(/\s*\|\s*/);
            list.push({ row, policy, pairs: pairs.split(/\s+/), title, files: [] });
        }
    }
    return list;
}

export function index_text(list, cases) {
    const lines = [];
    for (const entry of list) {
        if (entry.comment !== undefined) {
            lines.push(entry.comment);
            continue;
        }
        lines.push(`${entry.row} | ${entry.policy} | ${entry.pairs.join(" ")} | ${entry.title}`);
        for (const one of cases.filter((c) => c.rows?.includes(entry.row))) {
            lines.push(`    ${one.file}`);
        }
    }
    return lines.join("\n") + "\n";
}

/** {missing: ["3.x an>ge"], cells}: which row has no case for which of its pairs. */
export function coverage(list, cases) {
    const missing = [];
    let cells = 0;
    for (const { row, pairs } of list.filter((entry) => entry.row)) {
        for (const pair of pairs) {
            cells++;
            if (!cases.some((one) => one.rows?.includes(row) && covers(pair, one))) {
                missing.push(`${row} ${pair}`);
            }
        }
    }
    return { missing, cells };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const cases = load_cases().filter((one) => !one.error);
    const list = read_index();
    fs.writeFileSync(INDEX, index_text(list, cases));
    const { missing, cells } = coverage(list, cases);
    console.log(missing.map((m) => `missing: ${m}`).join("\n"));
    console.log(`${missing.length} of ${cells} without a case`);
}
