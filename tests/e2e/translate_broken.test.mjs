/* SPDX-License-Identifier: MIT */
/*
 * Streams that break, seen by clients of another protocol: events that cannot be read, errors that
 * come at once or in the midst, beginnings that nothing follows. What a client gets must follow from
 * what came, never from how it was cut into reads.
 */
import assert from "node:assert/strict";
import { after, beforeEach } from "node:test";

import { within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";
import { read_answer } from "./lib/read.mjs";
import { stream } from "./lib/upstream.mjs";

const EACH = 24; /* an error may cool a key: backends take turns */
const END = /\[DONE\]|message_stop|response\.completed|"STOP"/;
const FINISH = { "openai-chat": "stop", "openai-responses": "completed", anthropic: "end_turn",
    gemini: "STOP" };
const mock = await Mock.start();
const backends = {};
for (const name of NAMES) {
    const { short, base } = PROTOCOLS[name];
    for (let i = 0; i < EACH / 2; i++) {
        backends[`${short}${i}`] = { protocol: name, api_keys: ["k"],
            api_url: mock.url.replace(/\/v1$/, base) };
    }
}
const proxy = await start({ config: { retries: 0, backends: { ...backends,
    tagged: { protocol: "openai-chat", api_keys: ["k"], api_url: mock.url, think_tags: true } } } });
let turn = 0;

after(() => stop_all(proxy, mock));

beforeEach(() => {
    mock.queue.length = 0;
});

const next_of = (upstream) => `${PROTOCOLS[upstream].short}${turn++ % (EACH / 2)}`;

function request_of(client, backend, { streamed = true, more = {} } = {}) {
    const one = PROTOCOLS[client];
    const body = { ...one.request("hello"), ...more };
    if (client !== "gemini") {
        Object.assign(body, { model: `${backend}:m1`, stream: streamed });
    }
    return { path: one.path(`${backend}:m1`, { stream: streamed }), headers: proxy.headers(),
        body: JSON.stringify(body) };
}

/** The answer to an upstream that says these pieces, each as a write of its own. */
async function ask(client, backend, pieces, options = {}) {
    mock.next(async (ex) => {
        await ex.open_stream();
        for (const piece of pieces) {
            await ex.write(chunk(piece));
            /* A read of its own, most of the time: nothing below relies on it. */
            await new Promise((wake) => setTimeout(wake, options.pause ?? 0));
        }
        if (options.fin) {
            ex.fin();
        } else {
            await ex.write(LAST_CHUNK);
        }
    });
    const answer = await within(10_000, "an answer",
        proxy.call(request_of(client, backend, options)));
    const type = answer.get("content-type");
    return { status: answer.status, text: answer.text, type,
        told: answer.status === 200 ? null : answer.json.error.message,
        id: answer.get("x-llm-proxy-request-id"),
        get reading() { return read_answer(client, answer.body, type); } };
}

const joined = (events) => [Buffer.from(events.join(""))];
const TEXT = { blocks: [{ text: "Half of it" }] };
const FAIL = { fail: { type: "overloaded_error", message: "busy now" } };

/* Where the first text stands in a stream. */
const text_at = (events) => events.findIndex((event) => /Half/.test(event));

/* What an upstream of each protocol says half of. */
const HALVES = {
    "openai-chat": "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"los\n\n",
    "openai-responses": "event: response.output_text.delta\n" +
        "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"los\n\n",
    anthropic: "event: content_block_delta\n" +
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"los\n\n",
    gemini: "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"los\r\n\r\n",
};

for (const client of NAMES) {
    for (const upstream of NAMES.filter((name) => name !== client)) {
        const pair = `${client} to ${upstream}`;

        test(`translate_broken: ${pair}: an event that cannot be read ends the stream`,
            async () => {
                const events = stream(upstream, "m1", TEXT);
                events.splice(text_at(events) + 1, 0, HALVES[upstream]);
                for (const pieces of [joined(events), events]) {
                    const answer = await ask(client, next_of(upstream), pieces);
                    assert.equal(answer.status, 200, answer.text);
                    assert.ok("Half of it".startsWith(answer.reading.text));
                    assert.ok(answer.reading.text.length > 0, answer.text);
                    assert.ok(answer.reading.error, `no error: ${answer.text}`);
                    assert.match(answer.reading.error.message, /no JSON/);
                    assert.doesNotMatch(answer.text, END);
                    await proxy.logged(new RegExp(
                        `request=${answer.id} .*outcome=UPSTREAM_BROKEN`), "no outcome");
                }
            });

        test(`translate_broken: ${pair}: nor is it left out of what is collected`, async () => {
            const events = stream(upstream, "m1", TEXT);
            events.splice(text_at(events) + 1, 0, HALVES[upstream]);
            const answer = await ask(client, next_of(upstream), events, { streamed: false });
            assert.equal(answer.status, 502, answer.text);
            assert.match(answer.told, /no JSON/);
        });

        test(`translate_broken: ${pair}: what says nothing does no harm`, async () => {
            const events = stream(upstream, "m1", TEXT);
            const harmless = [": keep-alive\n\n", "\n\n", "data:\n\n", "data: \n\n",
                "data: null\n\n", "data: []\n\n", "data: \"ping\"\n\n", "event: ping\ndata: {}\n\n",
                "event: new_thing\ndata: {\"type\":\"new_thing\",\"a\":[1]}\n\n",
                "retry: 10\n\n", "id: 3\n\n"];
            events.splice(text_at(events) + 1, 0, ...harmless);
            events.splice(1, 0, ...harmless);
            /* Behind the end nobody misses anything. */
            events.push("data: [DONE]\n\n", HALVES[upstream]);
            const { status, text, reading } = await ask(client, next_of(upstream),
                joined(events));
            assert.equal(status, 200, text);
            assert.equal(reading.error, null, text);
            assert.equal(reading.text, "Half of it");
            assert.equal(reading.finish, FINISH[client]);
        });

        test(`translate_broken: ${pair}: text, then an error, cut anywhere`, async () => {
            const rng = random(`broken ${pair}`);
            const events = stream(upstream, "m1", { ...TEXT, ...FAIL });
            const bytes = Buffer.from(events.join(""));
            const cuts = [[bytes], events];
            for (let i = 0; i < 4; i++) {
                const at = 1 + rng.below(bytes.length - 1);
                cuts.push([bytes.subarray(0, at), bytes.subarray(at)]);
            }
            for (const pieces of cuts) {
                const answer = await ask(client, next_of(upstream), pieces);
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.reading.text, "Half of it");
                assert.match(answer.reading.error?.message ?? answer.text, /busy now/);
                assert.doesNotMatch(answer.text, END);
            }
        });

        test(`translate_broken: ${pair}: a beginning, then an error, cut anywhere`, async () => {
            const rng = random(`beginning ${pair}`);
            const whole = stream(upstream, "m1", { ...TEXT, ...FAIL });
            const began = stream(upstream, "m1", { blocks: [], ...FAIL });
            const block = whole.slice(0, text_at(whole)); /* with the block opened */
            const failed = began.slice(began.findIndex((event) => /busy/.test(event)));
            for (const events of [began, [...block, ...failed],
                [": keep-alive\n\n", ...began], ["event: ping\ndata: {\"type\":\"ping\"}\n\n",
                    ...began.slice(0, -failed.length), ": still here\n\n", ...failed]]) {
                const bytes = Buffer.from(events.join(""));
                const at = 1 + rng.below(bytes.length - 1);
                for (const pieces of [[bytes], events,
                    [bytes.subarray(0, at), bytes.subarray(at)]]) {
                    const answer = await ask(client, next_of(upstream), pieces);
                    assert.ok(answer.status >= 500, `${answer.status} ${answer.text}`);
                    assert.match(answer.type, /^application\/json/);
                    assert.match(answer.told, /busy now/);
                }
            }
        });

        test(`translate_broken: ${pair}: text, then the end of the connection, in one read`,
            async () => {
                const events = stream(upstream, "m1", { ...TEXT, cut: true });
                for (const pieces of [joined(events), events]) {
                    const answer = await ask(client, next_of(upstream), pieces, { fin: true });
                    assert.equal(answer.status, 200, answer.text);
                    assert.equal(answer.reading.text, "Half of it");
                    assert.ok(answer.reading.error, answer.text);
                    assert.doesNotMatch(answer.text, END);
                }
            });
    }

    const upstream = NAMES[(NAMES.indexOf(client) + 1) % NAMES.length];
    /* The head alone, where the client's protocol has no word for "I am here". */
    test(`translate_broken: ${client}: a beginning does not wait for long`, async () => {
        const events = stream(upstream, "m1", TEXT);
        const alone = upstream !== "gemini"; /* it has no beginning apart */
        for (const first of [[": keep-alive\n\n"], ...(alone ? [events.slice(0, 1)] : [])]) {
            let begun;
            const committed = new Promise((resolve) => { begun = resolve; });
            mock.next(async (ex) => {
                await ex.open_stream();
                await ex.write(chunk(first.join("")));
                await committed; /* the rest comes only when the client has its head */
                for (const event of first[0] === events[0] ? events.slice(1) : events) {
                    await ex.write(chunk(event));
                }
                await ex.write(LAST_CHUNK);
            });
            const connection = await proxy.connect();
            connection.send(request_of(client, next_of(upstream)));
            const answer = await within(8000, "the head", connection.head());
            begun();
            await within(8000, "the end of the stream", answer.done);
            connection.destroy();
            const reading = read_answer(client, answer.body, answer.get("content-type"));
            assert.equal(answer.status, 200);
            assert.equal(reading.error, null);
            assert.equal(reading.text, "Half of it");
        }
    });

    test(`translate_broken: ${client}: of its own protocol everything goes down as it came`,
        async () => {
            const events = stream(client, "m1", TEXT);
            events.splice(text_at(events) + 1, 0, HALVES[client], "data: [1]\n\n");
            const answer = await ask(client, next_of(client), events);
            assert.equal(answer.status, 200);
            assert.equal(answer.text, events.join(""));
        });

    test(`translate_broken: ${client}: text and the connection's end in one read, as it came`,
        async () => {
            const events = stream(client, "m1", { ...TEXT, cut: true });
            const answer = await ask(client, next_of(client), joined(events), { fin: true });
            assert.equal(answer.status, 200, answer.text);
            assert.ok(answer.text.startsWith(events.join("")), answer.text);
            assert.ok(answer.reading.error, answer.text);
        });
}

test("translate_broken: a stream that was taken over ends at what cannot be read", async () => {
    const events = stream("openai-chat", "m1", { blocks: [{ text: "<think>Hm</think>Half of it" }] });
    events.splice(-2, 0, HALVES["openai-chat"]); /* behind the finish reason: nothing is missed */
    const good = await ask("openai-chat", "tagged", joined(events));
    assert.equal(good.reading.error, null, good.text);
    assert.equal(good.reading.text, "Half of it");
    events.splice(-4, 0, HALVES["openai-chat"]);
    const answer = await ask("openai-chat", "tagged", joined(events));
    assert.equal(answer.status, 200);
    assert.match(answer.reading.error?.message ?? answer.text, /no JSON/);
    assert.doesNotMatch(answer.text, END);
});

test("translate_broken: what was held back goes down before the error", async () => {
    const events = stream("openai-responses", "m1", { ...TEXT, blocks: [{ text: "Half of it STO" }],
        ...FAIL });
    for (const pieces of [joined(events), events]) {
        const answer = await ask("openai-chat", next_of("openai-responses"), pieces,
            { more: { stop: ["STOP HERE"] } });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.reading.text, "Half of it STO");
        assert.match(answer.reading.error.message, /busy now/);
    }
});
