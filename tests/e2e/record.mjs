/* SPDX-License-Identifier: MIT */
/*
 * The pages that lib/recording.mjs makes, written anew; tools/record is the way to call it.
 */
import fs from "node:fs";
import path from "node:path";

import { ROOT } from "./lib/proxy.mjs";
import { CAST, SVG, cast_of, read_cast, readme_with, record, svg_of, transcript_of } from
    "./lib/recording.mjs";
import { readme_with_tour, tour } from "./lib/tour.mjs";

const { events } = await record({ typing_ms: 25, reading_ms: 900 });
const cast = cast_of(events, Math.floor(Date.now() / 1000));
const readme = path.join(ROOT, "README.md");
const old = fs.readFileSync(readme, "utf8");

fs.writeFileSync(path.join(ROOT, CAST), cast);
fs.writeFileSync(path.join(ROOT, SVG), svg_of(read_cast(cast)));
fs.writeFileSync(readme, readme_with_tour(readme_with(old, transcript_of(events)),
    await tour()));
