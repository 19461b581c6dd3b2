/* SPDX-License-Identifier: MIT */
/*
 * An upstream that breaks off behind every single byte of its answer, with FIN and with RST.
 *
 * Recorded exchanges (our own fixtures, and the shortest of ../shared/recordings where it is
 * there), in each framing, are sent up to byte n of head and body, for all n. What the client may
 * get is worked out from the bytes that were sent: an error before anything of the answer came, the
 * whole events and one error event after that, the answer itself when it was complete; never an
 * end that claims more than came.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { sse_data } from "../e2e/lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, head_bytes, openai } from "../e2e/lib/mock.mjs";
import { ROOT, SLOW, backend, start, stop_all, test } from "../e2e/lib/proxy.mjs";
import { random } from "../e2e/lib/random.mjs";
import { Lane, baseline, in_lanes, is_error, settled } from "./settled.mjs";

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const FIXTURES = new URL("../e2e/fixtures/exchanges.jsonl", import.meta.url);
const LANES = 16;
/* Under a sanitizer every so many places, another set of them with each seed. */
const STRIDE = SLOW ? 9 : 1;

const load = (file) => fs.readFileSync(file, "utf8").trimEnd().split("\n").map(JSON.parse);

function shortest(list, good) {
    return list.filter(good).reduce((a, b) =>
        b.response_body.length < a.response_body.length ? b : a);
}

const complete = (x) => x.stream && x.status === 200 && /"finish_reason":\s*"/.test(
    x.response_body) && /data: ?\[DONE\]\s*$/.test(x.response_body) &&
    !/"error"/.test(x.response_body);
const whole_answer = (x) => !x.stream && x.status === 200 && /"choices"/.test(x.response_body);

const own = load(FIXTURES);
const EXCHANGES = [
    ["fixture, whole", shortest(own, whole_answer)],
    ["fixture, stream", shortest(own, complete)],
    ["fixture, error", shortest(own, (x) => x.status === 400)],
];
if (fs.existsSync(SHARED)) {
    const chats = load(SHARED).filter((x) => x.api === "openai_chat");
    EXCHANGES.push(["recording, whole", shortest(chats, whole_answer)],
        ["recording, stream", shortest(chats, complete)]);
}

let mock;
let proxy;
const scripts = new Map();

before(async () => {
    mock = await Mock.start({ fallback: async (ex) => {
        const script = ex.method === "POST" ? scripts.get(ex.json.user) : null;
        await (script ? script(ex) : openai(ex));
    } });
    proxy = await start({ config: { retries: 0, proxy_timeout: "20s",
        backends: { mock: backend(mock) } } });
    await next_works();
    await baseline(proxy);
});

after(() => stop_all(proxy, mock));

const body_of = (user, stream) => JSON.stringify({ model: "mock:m1", user, stream,
    messages: [{ role: "user", content: "x" }] });

async function next_works() {
    const lane = new Lane(proxy);
    const next = await lane.ask({ body: body_of("next", false) });
    lane.close();
    assert.equal(next.json.choices[0].message.content, "Hello from m1");
}

/* ---- The bytes of an answer ---- */

function framed(x, framing) {
    const body = Buffer.from(x.response_body);
    const headers = Object.entries(x.response_headers);
    if (framing === "length") {
        headers.push(["content-length", body.length]);
    } else if (framing === "chunked") {
        headers.push(["transfer-encoding", "chunked"]);
    } else {
        headers.push(["connection", "close"]);
    }
    const head = head_bytes(x.status, headers);
    if (framing !== "chunked") {
        return { bytes: Buffer.concat([head, body]), body, head: head.length,
            body_at: (n) => Math.max(0, n - head.length) };
    }
    /* Three chunks; how many bytes of the body are there behind n bytes of it all. */
    const third = Math.ceil(body.length / 3);
    const parts = [0, 1, 2].map((i) => body.subarray(i * third, (i + 1) * third))
        .filter((p) => p.length > 0);
    const all = [head];
    const marks = [];
    let at = head.length;
    let from = 0;
    for (const part of parts) {
        const bytes = chunk(part);
        marks.push({ at: at + bytes.indexOf("\r\n") + 2, from, n: part.length });
        all.push(bytes);
        at += bytes.length;
        from += part.length;
    }
    all.push(LAST_CHUNK);
    return { bytes: Buffer.concat(all), body, head: head.length, body_at: (n) =>
        marks.reduce((sum, m) => sum + Math.min(Math.max(0, n - m.at), m.n), 0) };
}

/** Where the events of a stream end, each behind its blank line. */
function event_ends(body) {
    const text = body.toString("latin1");
    const ends = [];
    for (const found of text.matchAll(/\r\n\r\n|\n\n|\r\r/g)) {
        ends.push(found.index + found[0].length);
    }
    return ends;
}

/* ---- What the client may get ---- */

function check_whole(answer, x, cut) {
    if (cut.complete) {
        assert.equal(answer.status, x.status, answer.text);
        assert.equal(answer.text, x.response_body);
    } else if (x.status !== 200 && cut.headed && answer.status === x.status) {
        /* The status of a broken error may be told, its body not. */
        is_error(answer, x.status, answer.json.error.type, answer.json.error.code);
    } else {
        is_error(answer, 502, "backend_error", "upstream_unreachable");
    }
}

function check_stream(answer, x, cut) {
    const body = Buffer.from(x.response_body);
    const ends = event_ends(body).filter((end) => end <= cut.body);
    const sure = ends.length > 0 ? ends.at(-1) : 0;
    const came = body.toString("utf8", 0, sure);
    const data = sse_data(came);
    const done = data.includes("[DONE]");
    const finished = done || data.some((d) => JSON.parse(d).choices?.some((c) =>
        c.finish_reason));
    if (cut.complete) {
        assert.equal(answer.text, x.response_body);
        return;
    }
    if (answer.status === 502) {
        assert.ok(!finished || cut.how === "rst", "complete, and yet refused");
        is_error(answer, 502, "backend_error", "upstream_unreachable");
        return;
    }
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.ended, "chunked");
    const got = sse_data(answer.text);
    const failed = got.length > 0 && got.at(-1).includes("\"backend_error\"");
    const relayed = failed ? answer.text.slice(0, answer.text.lastIndexOf("data: ")) : answer.text;
    if (cut.how === "fin") {
        assert.ok(relayed.startsWith(came), "an event that came whole is lost");
    }
    assert.ok(x.response_body.startsWith(relayed.trimEnd()), "bytes that never came");
    assert.ok(Buffer.byteLength(relayed.trimEnd()) <= cut.body, "more than what came");
    if (done) {
        assert.ok(!failed, "an error behind [DONE]");
    } else if (!finished && !sse_data(relayed).some((d) => /"finish_reason":\s*"/.test(d))) {
        assert.ok(failed, "an end that claims success");
    }
    if (relayed.includes("[DONE]")) {
        assert.ok(body.toString("latin1", 0, cut.body).includes("[DONE]"), "a [DONE] never came");
    }
}

/* ---- The cuts ---- */

async function one(lane, name, x, framing, how, n, parts) {
    const id = `${name}/${framing}/${how}/${n}`;
    scripts.set(id, async (ex) => {
        await ex.write(parts.bytes.subarray(0, n));
        ex[how]();
    });
    const answer = await lane.ask({ body: body_of(id, x.stream) });
    scripts.delete(id);
    const body = parts.body_at(n);
    const all = framing === "close" ? n === parts.bytes.length && how === "fin" :
        n === parts.bytes.length;
    const cut = { how, body, headed: n >= parts.head, complete: all };
    try {
        (x.stream ? check_stream : check_whole)(answer, x, cut);
    } catch (error) {
        return `${id} (${body} bytes of the body): ${error.message.slice(0, 300)}; got ${
            answer.status} ${answer.text.slice(0, 400)}`;
    }
    return null;
}

for (const [name, x] of EXCHANGES) {
    for (const framing of ["length", "chunked", "close"]) {
        const parts = framed(x, framing);
        test(`cuts: ${name}, ${framing}: FIN and RST behind each of ${parts.bytes.length} bytes`,
            async (t) => {
                const phase = random(`${name} ${framing}`).below(STRIDE);
                const jobs = [];
                for (let n = 0; n <= parts.bytes.length; n++) {
                    if (n % STRIDE === phase || n === parts.bytes.length) {
                        jobs.push([n, "fin"], [n, "rst"]);
                    }
                }
                const failures = [];
                const seen = mock.posts().length;
                await in_lanes(jobs, LANES, () => new Lane(proxy), async (lane, [n, how]) => {
                    const failure = await one(lane, name, x, framing, how, n, parts);
                    if (failure) {
                        failures.push(failure);
                    }
                });
                assert.equal(failures.length, 0, `${failures.length} of ${jobs.length}:\n${
                    failures.slice(0, 5).join("\n")}`);
                const asked = mock.posts().length - seen;
                assert.ok(asked >= jobs.length && asked <= 2 * jobs.length, `${asked} requests`);
                t.diagnostic(`${jobs.length} cuts`);
                mock.requests.length = 0;
                await next_works();
                await settled(proxy, { mocks: [mock] });
            });
    }
}

test("cuts: thousands of broken connections later the process is no larger", (t) => {
    t.diagnostic(`${proxy.rss_kib()} KiB resident`);
    assert.ok(proxy.rss_kib() < (SLOW ? 600 : 16) * 1024, `${proxy.rss_kib()} KiB`);
});
