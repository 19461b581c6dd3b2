/* SPDX-License-Identifier: MIT */
/*
 * Translated exchanges of size: bodies of 10 MB hold up nobody and are given back, clients that do
 * not read hold the upstream, clients that leave end its work, whatever the pair.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { now, until, within } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk, head_bytes } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { SLOW, gone_at_once, start, stop_all, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";
import { read_answer } from "./lib/read.mjs";
import { Measured } from "./lib/turns.mjs";
import { stream } from "./lib/upstream.mjs";

const MB = 1000 * 1000;
/* Under a sanitizer, which takes ten times as long, it is enough that it is large. */
const SIZE = (SLOW ? 3 : 10) * MB;
const WAIT_MS = 20;
const EXTRA = (SLOW ? 2000 : 2) * MB;
const KIB = 1024;

let mock;
let proxy;

function backends_at(one) {
    return Object.fromEntries(NAMES.map((name) => [PROTOCOLS[name].short, { protocol: name,
        api_keys: ["upstream-key-1"], api_url: one.url.replace(/\/v1$/, PROTOCOLS[name].base) }]));
}

before(async () => {
    mock = await Mock.start();
    /* The bodies are not to be parsed in this process. Whose client has left is asked for nothing. */
    mock.pick = () => mock.queue.shift() ?? ((ex) => ex.fin());
    proxy = await start({ config: { workers: 1, default_backend: "oc",
        backends: backends_at(mock) } });
});

after(() => stop_all(proxy, mock));

const PAIRS = NAMES.flatMap((client) => NAMES.filter((name) => name !== client)
    .map((name) => [client, name]));

function request_of(client, upstream, { text = "hello", streamed = false,
    store = false } = {}) {
    const one = PROTOCOLS[client];
    const model = `${PROTOCOLS[upstream].short}:m1`;
    const body = one.request(text);
    if (client !== "gemini") {
        Object.assign(body, { model, stream: streamed });
    }
    if (client === "openai-responses") {
        body.store = store;
    }
    return { path: one.path(model, { stream: streamed }), headers: proxy.headers(),
        body: JSON.stringify(body) };
}

async function gauge(name = "llm_proxy_inflight_bytes") {
    const { text } = await proxy.call({ method: "GET", path: "/metrics" });
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)[1]);
}

/* ---- Large bodies ---- */

const LINE = "lång text, \"quoted\" \n";
const LARGE = LINE.repeat(Math.floor(SIZE / Buffer.byteLength(JSON.stringify(LINE))));

for (const [client, upstream] of PAIRS) {
    test(`translate_large: ${client} to ${upstream}: large up and large down, whole and streamed`,
        async () => {
            for (const streamed of [false, true]) {
                const one = PROTOCOLS[upstream];
                mock.next(async (ex) => {
                    const asked = ex.body.toString("utf8");
                    assert.ok(asked.includes("quoted") && asked.length > SIZE * 0.8);
                    if (!streamed) {
                        await ex.json_answer(one.whole("m1", LARGE));
                        return;
                    }
                    await ex.open_stream();
                    await ex.write(chunk(one.stream("m1", LARGE)));
                    await ex.write(LAST_CHUNK);
                });
                const answer = await proxy.call(request_of(client, upstream,
                    { text: LARGE, streamed }));
                assert.equal(answer.status, 200, answer.text.slice(0, 500));
                const reading = read_answer(client, answer.body, answer.get("content-type"));
                assert.equal(reading.error, null);
                assert.ok(reading.text === LARGE, `${reading.text.length} characters`);
            }
            await proxy.memory_back();
        });
}

/* ---- No other stream waits ---- */

test("translate_large: the loop is never busy for more than 20 ms at once with translated 10 MB",
    { skip: SLOW && "a sanitizer's own time" }, async (t) => {
        const measured = await Measured.start({ inflight_bytes_max: "1GiB",
            backends: backends_at(mock) });
        try {
            for (const [client, upstream] of PAIRS) {
                for (const way of ["up", "down"]) {
                    await measured.at_most(WAIT_MS, t, `${client} to ${upstream}, ${way}`,
                        async (one) => {
                            mock.next((ex) => ex.json_answer(PROTOCOLS[upstream].whole("m1",
                                way === "down" ? LARGE : "ok")));
                            const answer = await one.call(request_of(client, upstream,
                                { text: way === "up" ? LARGE : "hello" }));
                            assert.equal(answer.status, 200);
                        });
                }
            }
        } finally {
            await measured.stop();
        }
        assert.deepEqual(measured.complaints, []);
    });

test("translate_large: the loop is never busy for more than 20 ms at once with kept responses of " +
    "10 MB", { skip: SLOW && "a sanitizer's own time" }, async (t) => {
    const measured = await Measured.start({ inflight_bytes_max: "1GiB",
        responses_store: { max_bytes: "512MiB" }, backends: backends_at(mock) });
    const one = measured.proxy;
    const measure = (what, run) => measured.at_most(WAIT_MS, t, what, run);
    const ask = async (upstream, body, said = "ok") => {
        mock.next((ex) => ex.json_answer(PROTOCOLS[upstream].whole("m1", said)));
        const answer = await one.call({ path: "/v1/responses", headers: one.headers(),
            body: JSON.stringify({ model: `${PROTOCOLS[upstream].short}:m1`, ...body }) });
        assert.equal(answer.status, 200, answer.text.slice(0, 300));
        return JSON.parse(answer.text).id;
    };
    const get = async (path, method = "GET") => {
        const answer = await one.call({ method, path: `/v1/responses/${path}`,
            headers: one.headers() });
        assert.equal(answer.status, 200, answer.text.slice(0, 300));
        await one.call({ method: "GET", path: "/healthz" }); /* its turn is over, and counted */
        return answer;
    };
    try {
        const many = Array.from({ length: 100_000 }, (_, i) => ({ role: "user",
            content: `${i} ${"words ".repeat(14)}` }));
        let long;
        let short_turns;
        let answered;
        await measure("a long text, kept", async () => {
            long = await ask("anthropic", { input: LARGE });
        });
        await measure("many items, kept", async () => {
            short_turns = await ask("openai-chat", { input: many });
        });
        await measure("a long answer, kept", async () => {
            answered = await ask("anthropic", { input: "hello" }, LARGE);
        });
        for (const [what, id] of Object.entries({ long, short_turns, answered })) {
            for (const upstream of ["anthropic", "openai-chat", "openai-responses"]) {
                await measure(`${what}, continued over ${upstream}`, () =>
                    ask(upstream, { input: "hello", previous_response_id: id, store: false }));
            }
            await measure(`${what}, asked for`, () => get(id));
            await measure(`${what}, as a stream`, () => get(`${id}?stream=true`));
            await measure(`${what}, its items`, () => get(`${id}/input_items?limit=2`));
        }
        await measure("what an item refers to", async () => {
            const { output } = JSON.parse((await get(answered)).text);
            await ask("anthropic", { input: [{ type: "item_reference", id: output[0].id },
                { role: "user", content: "again" }] });
        });
        const gone = [long, short_turns, answered];
        await measure("deleted", async () => {
            if (gone.length > 0) {
                await get(gone.pop(), "DELETE");
            }
        });
    } finally {
        await measured.stop();
    }
    assert.deepEqual(measured.complaints, []);
});

/* ---- Memory ---- */

for (const [client, upstream] of PAIRS) {
    test(`translate_large: ${client} to ${upstream}: once a stream has begun its request is gone`,
        async () => {
            const events = stream(upstream, "m1", { blocks: [{ text: "one two three" }] });
            let go;
            const looked = new Promise((resolve) => { go = resolve; });
            await proxy.memory_back();
            mock.next(async (ex) => {
                await ex.open_stream();
                for (const event of events.slice(0, -1)) {
                    await ex.write(chunk(event));
                }
                await looked;
                await ex.write(chunk(events.at(-1)));
                await ex.write(LAST_CHUNK);
            });
            const connection = await proxy.connect();
            connection.send(request_of(client, upstream, { text: "y".repeat(900_000),
                streamed: true }));
            const answer = await connection.head();
            await until(async () => await gauge() <= 128 * KIB, "the request is given back");
            go();
            await within(SLOW ? 60_000 : 5000, "the rest", answer.done);
            connection.destroy();
            const reading = read_answer(client, answer.body, answer.get("content-type"));
            assert.equal(reading.text, "one two three");
            assert.equal(reading.error, null);
        });
}

/* ---- A client that does not read ---- */

const chat_delta = (text) => ({ id: "c", object: "chat.completion.chunk", created: 1, model: "m1",
    choices: [{ index: 0, delta: { content: text }, finish_reason: null }] });

for (const client of NAMES.filter((name) => name !== "openai-chat")) {
    test(`translate_large: ${client}: a stream that grows on its way waits for a client that does ` +
        "not read", async () => {
        /* An event of a few bytes becomes hundreds. */
        const TOTAL = 36 * MB;
        let sent = 0;
        mock.next(async (ex) => {
            await ex.open_stream();
            for (let i = 0; sent < TOTAL; i++) {
                const events = Array.from({ length: 64 }, () =>
                    `data: ${JSON.stringify(chat_delta("x"))}\n\n`).join("");
                sent += events.length;
                await ex.write(chunk(events));
            }
            await ex.write(chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":" +
                "\"stop\"}]}\n\ndata: [DONE]\n\n"));
            await ex.write(LAST_CHUNK);
        });
        const connection = await proxy.connect();
        const before_kib = proxy.rss_kib();
        connection.send(request_of(client, "openai-chat", { streamed: true }));
        const answer = await connection.head();
        connection.socket.pause();
        let since = now();
        for (let seen = -1; now() - since < 300;) {
            if (sent !== seen) {
                seen = sent;
                since = now();
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        /* What the kernel holds between the two is its own matter, and much on loopback. */
        const grown = proxy.rss_kib() - before_kib;
        assert.ok(grown < (SLOW ? 400 : 16) * 1024, `the proxy grew by ${grown} KiB of ${
            sent >> 10} KiB`);
        connection.socket.resume();
        await within(SLOW ? 240_000 : 30_000, "the whole stream", answer.done);
        connection.destroy();
        assert.ok(sent >= TOTAL);
        const reading = read_answer(client, answer.body, answer.get("content-type"));
        assert.equal(reading.error, null);
        assert.match(reading.text, /^x{10000,}$/);
        await proxy.memory_back();
    });
}

/* ---- Clients that leave ---- */

const STATES = {
    "before the upstream answers": { streamed: true, script: () => {} },
    "before the upstream answers as a whole": { streamed: false, script: () => {} },
    "behind the upstream's head": { streamed: true, script: (ex) => ex.open_stream() },
    "in the middle of a stream": { streamed: true, some: true, script: async (ex, upstream) => {
        await ex.open_stream();
        for (const event of stream(upstream, "m1", { blocks: [{ reasoning: "hm" },
            { text: "one two three" }], cut: true })) {
            await ex.write(chunk(event));
        }
    } },
    "in the middle of a whole body": { streamed: false, script: async (ex) => {
        await ex.write(head_bytes(200, { "content-type": "application/json",
            "transfer-encoding": "chunked" }));
        await ex.write(chunk("{\"id\":\"x\","));
    } },
    "while a stream is collected for it": { streamed: false, script: async (ex, upstream) => {
        await ex.open_stream();
        for (const event of stream(upstream, "m1", { blocks: [{ text: "one" }], cut: true })) {
            await ex.write(chunk(event));
        }
    } },
};

for (const [client, upstream] of PAIRS) {
    test(`translate_large: ${client} to ${upstream}: who leaves ends the upstream's work at once, ` +
        "in every state", async () => {
        for (const [where, { streamed, some, script }] of Object.entries(STATES)) {
            let written;
            const scripted = new Promise((resolve) => { written = resolve; });
            mock.next(async (ex) => {
                await script(ex, upstream);
                written();
            });
            const arrival = mock.arrival();
            const connection = await proxy.connect();
            connection.send(request_of(client, upstream, { streamed }));
            const ex = await within(SLOW ? 60_000 : 5000, "the request at the upstream", arrival);
            await scripted;
            const head = connection.head();
            head.catch(() => {});
            if (some) {
                assert.equal((await head).status, 200);
            }
            await gone_at_once(proxy, () => connection.destroy(), ex.closed,
                `the upstream sees the end: ${where}`);
        }
    });
}

test("translate_large: clients leave at any moment of a large body's translation", async () => {
    const rng = random("translate_leave");
    const text = LARGE.slice(0, 3 * MB);
    for (let i = 0; i < (SLOW ? 24 : 72); i++) {
        const [client, upstream] = PAIRS[i % PAIRS.length];
        mock.queue.length = 0;
        mock.next((ex) => ex.json_answer(PROTOCOLS[upstream].whole("m1", text)).catch(() => {}));
        const connection = await proxy.connect();
        connection.send(request_of(client, upstream, { text }));
        connection.head().catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, rng.below(SLOW ? 300 : 60)));
        connection.destroy();
    }
    mock.queue.length = 0;
    await proxy.memory_back();
    const left = proxy.rss_kib() * KIB;
    assert.ok(left < 120 * MB + EXTRA, `${left} bytes are kept`);
    mock.next((ex) => ex.json_answer(PROTOCOLS.anthropic.whole("m1", "ok")));
    const answer = await proxy.call(request_of("openai-chat", "anthropic", { text }));
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
});
