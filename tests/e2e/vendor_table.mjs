/* SPDX-License-Identifier: MIT */
/*
 * Writes the README's table of vendors anew, and says why what does not work does not:
 * `node tests/e2e/vendor_table.mjs`, with the program that `make` has built.
 */
import fs from "node:fs";
import path from "node:path";

import { ROOT } from "./lib/proxy.mjs";
import { COLUMNS, measure, readme_with, table_of } from "./lib/vendor_table.mjs";

const file = path.join(ROOT, "README.md");
const rows = await measure();

for (const row of rows) {
    for (const column of COLUMNS.filter((one) => row[one].why)) {
        console.log(`${row.name}: ${column}: ${row[column].why.split("\n").slice(0, 6).join(" ")}`);
    }
}
fs.writeFileSync(file, readme_with(fs.readFileSync(file, "utf8"), table_of(rows)));
