/* SPDX-License-Identifier: MIT */
/*
 * What README.md shows of a conversation is what the program says: it is had again, in a terminal,
 * and compared but for ids and times. tools/record writes it anew.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { ROOT, test } from "./lib/proxy.mjs";
import { CAST, LINES, SVG, missing, read_cast, readme_part, record, same_each_time, svg_of,
    transcript_of } from "./lib/recording.mjs";
import { missing as missing_tour, same_each_time as same_tour, tour, tour_part } from "./lib/tour.mjs";

const page = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");

test("recording: the conversation of the README, had again", { skip: missing() }, async () => {
    const { events } = await record();
    assert.equal(same_each_time(transcript_of(events)),
        same_each_time(readme_part(page("README.md"))), "tools/record writes it anew");
});

test("recording: the tour of the README, gone through again", { skip: missing_tour() }, async () => {
    assert.equal(same_tour(await tour()), same_tour(tour_part(page("README.md"))),
        "tools/record writes it anew");
});

test("recording: the README's text, the cast and the picture are of one recording", () => {
    const cast = page(CAST);
    const [header] = cast.split("\n");
    assert.equal(JSON.parse(header).version, 2);
    const events = read_cast(cast);
    const times = events.map(([at]) => at);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    assert.equal(transcript_of(events), readme_part(page("README.md")));
    for (const line of LINES) {
        assert.ok(transcript_of(events).includes(`$ ${line}\n`), line);
    }
    assert.equal(svg_of(events), page(SVG));
    assert.ok(Buffer.byteLength(page(SVG)) < 60_000);
});
