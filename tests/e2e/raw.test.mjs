/* SPDX-License-Identifier: MIT */
/*
 * Fidelity of raw mode: the same protocol on both sides, so nothing but the edited spans of the
 * request changes and not one byte of the answer.
 *
 * Every exchange of fixtures/exchanges.jsonl, and where ../shared/recordings is there every
 * recorded Chat Completions exchange, is replayed by the mock, cut at random places, through a
 * custom backend.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { Mock, chunk, delta, sse } from "./lib/mock.mjs";
import { ROOT, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const FIXTURES = new URL("fixtures/exchanges.jsonl", import.meta.url);

const load = (file) => fs.readFileSync(file, "utf8").trimEnd().split("\n")
    .map((line, i) => ({ line: i + 1, ...JSON.parse(line) }));

const SETS = [{ name: "fixtures", list: load(FIXTURES), skip: false }];
if (fs.existsSync(SHARED)) {
    SETS.push({ name: "recordings", list: load(SHARED).filter((x) => x.api === "openai_chat"),
        skip: false });
} else {
    SETS.push({ name: "recordings", list: [], skip: "../shared/recordings is absent" });
}

const limited = SETS.flatMap((set) => set.list.filter((x) => x.status === 429)
    .map((x) => [`limited-${set.name}-${x.line}`, x]));

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    /* A key that met a 429 cools down: each of those recordings has a backend of its own. */
    const backends = { mock: backend(mock, { colon_names: true, slash_names: true }) };
    for (const [name] of limited) {
        backends[name] = backend(mock);
    }
    proxy = await start({ config: { default_backend: "mock", retries: 0, backends } });
});

after(() => stop_all(proxy, mock));

/* ---- What is sent ---- */

const ascii = (text) => text.replace(/[\u007f-\uffff]/g, (c) =>
    "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const WRITERS = [
    (value) => JSON.stringify(value),
    (value) => JSON.stringify(value, null, 2) + "\n",
    (value) => ascii(JSON.stringify(value)),
    (value) => " \r\n\t" + JSON.stringify(value, null, "\t").replaceAll("\n", "\r\n") + "  ",
];

function request_of(x) {
    return x.request ?? { messages: [{ role: "user", content: "Hi" }], stream: x.stream,
        model: x.model ?? "m" };
}

/* ---- What is replayed ---- */

const as_crlf = (body) => body.includes("\r") ? null : body.replaceAll("\n", "\r\n");

function with_comments(body, rng) {
    const nl = body.includes("\r\n") ? "\r\n" : "\n";
    return body.split(nl + nl).map((event) => {
        const inside = rng.below(3) === 0 && event !== "" ? `: inside${nl}` : "";
        const ahead = rng.below(3) === 0 ? `: keep-alive ${rng.below(1000)}${nl}${nl}` : "";
        return ahead + inside + event;
    }).join(nl + nl);
}

function without_done(body) {
    return /"finish_reason":\s*"/.test(body) && /data: ?\[DONE\]\s*$/.test(body) ?
        body.replace(/data: ?\[DONE\]\s*$/, "") : null;
}

/** One replay; throws what differs. */
async function replay(x, { prefix, body, framing, cuts, rng }) {
    const wanted = Buffer.from(body);
    mock.requests.length = 0;
    mock.fallback = (ex) => ex.respond({ status: x.status, headers: x.response_headers,
        body: wanted, framing, cuts, rng });
    const request = request_of(x);
    const write = rng.pick(WRITERS);
    const named = prefix === null || !("model" in request) ? request :
        { ...request, model: `${prefix}:${request.model}` };
    const answer = await proxy.chat(write(named));
    assert.equal(answer.status, x.status, `status, and this body: ${answer.text.slice(0, 300)}`);
    assert.notEqual(answer.ended, "cut", "the answer is cut");
    same_bytes(answer.body, wanted, "the body of the answer");
    assert.equal(answer.get("content-type"), x.response_headers["content-type"]);
    const up = mock.posts().at(-1);
    same_bytes(up.body, Buffer.from(write(request)), "the body of the request");
    assert.equal(up.target, "/v1/chat/completions");
}

function same_bytes(got, wanted, what) {
    if (got.equals(wanted)) {
        return;
    }
    let i = 0;
    while (got[i] === wanted[i] && i < got.length && i < wanted.length) {
        i++;
    }
    const near = (bytes) => JSON.stringify(bytes.toString("utf8", Math.max(0, i - 30), i + 60));
    assert.fail(`${what} differs at byte ${i} (${got.length} instead of ${wanted.length}): ` +
        `${near(got)} instead of ${near(wanted)}`);
}

/** Replays each; one failure shows which, and how many others. */
async function replay_all(t, list, options_of) {
    const failures = [];
    let count = 0;
    for (const x of list) {
        const options = options_of(x);
        if (options === null) {
            continue;
        }
        count++;
        try {
            await replay(x, { cuts: 12, framing: "chunked", prefix: "mock", ...options });
        } catch (error) {
            failures.push(`line ${x.line} (${x.name ?? `${x.provider} ${x.model}`}): ${
                error.message}`);
        }
    }
    t.diagnostic(`${count} exchanges, SEED=${SEED}`);
    assert.ok(count > 0, "nothing was replayed");
    assert.equal(failures.length, 0, `${failures.length} of ${count} differ:\n${
        failures.slice(0, 8).join("\n")}`);
}

for (const { name, list, skip } of SETS) {
    const streams = list.filter((x) => x.stream);
    const unlimited = list.filter((x) => x.status !== 429);

    test(`raw ${name}: every answer byte for byte; of the request only the prefix of the model ` +
        "is gone", { skip }, async (t) => {
        const rng = random(`prefix ${name}`);
        await replay_all(t, list, (x) => ({ body: x.response_body, rng,
            prefix: x.status === 429 ? limited.find(([, y]) => y === x)[0] : "mock" }));
    });

    test(`raw ${name}: without a prefix the request is byte-identical`, { skip }, async (t) => {
        const rng = random(`plain ${name}`);
        await replay_all(t, unlimited, (x) => ({ body: x.response_body, rng, prefix: null }));
    });

    test(`raw ${name}: bodies with a length, and bodies that end with the connection`, { skip },
        async (t) => {
            const rng = random(`framing ${name}`);
            await replay_all(t, unlimited, (x) => ({ body: x.response_body, rng,
                framing: rng.pick(["length", "close"]) }));
        });

    test(`raw ${name}: streams with CRLF line ends`, { skip }, async (t) => {
        const rng = random(`crlf ${name}`);
        await replay_all(t, streams, (x) => {
            const body = as_crlf(x.response_body);
            return body === null ? null : { body, rng };
        });
    });

    test(`raw ${name}: streams with comments between and inside events`, { skip }, async (t) => {
        const rng = random(`comments ${name}`);
        await replay_all(t, streams, (x) => ({ rng, body: with_comments(x.response_body, rng) }));
    });

    test(`raw ${name}: a stream that ends after its finish reason without [DONE] gains nothing`,
        { skip }, async (t) => {
            const rng = random(`done ${name}`);
            await replay_all(t, streams, (x) => {
                const body = without_done(x.response_body);
                return body === null ? null : { body, rng,
                    framing: rng.pick(["chunked", "close"]) };
            });
        });
}

test("raw: a short stream, cut at every single place", async () => {
    const body = Buffer.from(sse([delta("m", { role: "assistant", content: "ä🙂" }),
        delta("m", {}, "stop")]).replaceAll("\n", "\r\n"));
    const request = JSON.stringify({ model: "m1", stream: true,
        messages: [{ role: "user", content: "x" }] });
    for (let at = 1; at < body.length; at++) {
        mock.fallback = async (ex) => {
            await ex.open_stream();
            for (const part of [body.subarray(0, at), body.subarray(at)]) {
                await ex.write(chunk(part));
                await new Promise((resolve) => setImmediate(resolve));
            }
            await ex.close_stream(false);
        };
        const answer = await proxy.chat(request);
        same_bytes(answer.body, body, `cut at ${at}, the body`);
    }
});

test("raw: events of 1 MB, and 20,000 events in one write", async () => {
    const rng = random("large");
    const large = sse([delta("m", { role: "assistant", content: "x" }),
        delta("m", { content: "lång text ".repeat(100_000) }), delta("m", {}, "stop")]);
    const many = sse([...Array.from({ length: 20_000 }, (_, i) =>
        delta("m", { content: `w${i} ` })), delta("m", {}, "stop")]);
    for (const body of [large, many]) {
        for (const cuts of [0, 200]) {
            await replay({ stream: true, status: 200, request: { model: "m1", stream: true,
                messages: [{ role: "user", content: "x" }] },
            response_headers: { "content-type": "text/event-stream" } },
            { prefix: "mock", body, framing: "chunked", cuts, rng });
        }
    }
});

test("raw: a request of 3 MB goes up byte for byte, its prefix cut out", async () => {
    const rng = random("request");
    const content = "data:image/png;base64," + "QUJD".repeat(750_000);
    await replay({ status: 200, stream: false, response_headers: {
        "content-type": "application/json" }, request: { messages: [{ role: "user",
        content: [{ type: "image_url", image_url: { url: content } }] }], model: "m1" } },
    { prefix: "mock", framing: "length", cuts: 0, rng, body: JSON.stringify({ id: "c",
        choices: [{ index: 0, message: { role: "assistant", content: "ok" },
            finish_reason: "stop" }] }) });
});

test("raw: session_id goes, wherever it stands, and nothing else with it", async () => {
    mock.fallback = (ex) => ex.json_answer({ id: "c", choices: [] });
    const rest = "\"messages\": [ {\"role\":\"user\",\"content\":\"session_id\"} ]";
    const cases = [
        [`{"session_id":"s1","model":"m1",${rest}}`, `{"model":"m1",${rest}}`],
        [`{"model":"m1" , "session_id" : "s1" ,${rest}}`, `{"model":"m1",${rest}}`],
        [`{"model":"m1",${rest},\n "session_id": "s1"\n}`, `{"model":"m1",${rest}\n}`],
        [`{"model":"m1","metadata":{"session_id":"stays"},${rest},"session_id":"s,}1"}`,
            `{"model":"m1","metadata":{"session_id":"stays"},${rest}}`],
    ];
    for (const [body, kept] of cases) {
        mock.requests.length = 0;
        assert.equal((await proxy.chat(body)).status, 200);
        const up = mock.posts()[0];
        assert.equal("session_id" in up.json, false, up.body.toString());
        const wanted = JSON.parse(body);
        delete wanted.session_id;
        assert.deepEqual(up.json, wanted);
        assert.equal(up.body.toString().replace(/\s/g, ""), kept.replace(/\s/g, ""),
            "more than the member changed");
        assert.ok(up.body.toString().includes(rest));
    }
});

test("raw: plain protocol: a stream's request is not asked for usage", async () => {
    mock.fallback = (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
        framing: "chunked", body: sse([delta("m1", { content: "x" }, "stop")]) });
    const body = "{\"model\":\"m1\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," +
        "\"stream\":true}";
    mock.requests.length = 0;
    await proxy.chat(body);
    assert.equal(mock.posts()[0].body.toString(), body);
});
