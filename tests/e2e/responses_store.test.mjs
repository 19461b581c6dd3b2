/* SPDX-License-Identifier: MIT */
/*
 * Responses that are kept: asked for, continued and deleted with the official `openai` package, over
 * backends of other protocols (kept here) and over one that speaks Responses (kept there).
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { parse } from "./lib/exact.mjs";
import { until } from "./lib/http1.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { missing_backends, missing_clients } from "./lib/protocols.mjs";
import { KEY, PROGRAM, start, stop_all, test as plain_test } from "./lib/proxy.mjs";
import { stream, whole } from "./lib/upstream.mjs";

const sdk = await import("openai").catch(() => null);
const OTHER_KEY = "client-key-2";
const PATHS = { "/v1/messages": "anthropic", "/v1/chat/completions": "openai-chat" };
const MODEL = "claude-sonnet-4-5";

/* ---- The upstreams ---- */

let asked = [];

/* Says what it was asked, as turns: "user:one assistant:…". */
const told = (seen) => seen.users.join("+");

async function translated(ex) {
    const protocol = PATHS[ex.target.split("?")[0]];
    const seen = read_request(protocol, parse(ex.body), ex.target);
    asked.push({ ...seen, body: ex.json, protocol });
    const last = seen.users.at(-1);
    const script = last === "call please" && seen.results.length === 0 ?
        { blocks: [{ tool: { id: "call_up_a", name: "weather", args: { city: "Oslo" } } }] } :
        last === "short please" ? { blocks: [{ text: "cut" }], finish: "max_tokens" } :
            { blocks: [{ text: `heard ${told(seen)}` }] };
    if (!seen.stream) {
        await ex.json_answer(whole(protocol, MODEL, script));
        return;
    }
    await ex.open_stream();
    for (const event of stream(protocol, MODEL, { ...script, cut: last === "broken please" })) {
        await ex.write(chunk(event));
    }
    await ex.write(LAST_CHUNK);
}

/* A small OpenAI that keeps what it made, and says it again as a stream. */
const kept = new Map();
const calls = [];
let made = 0;

async function native(ex) {
    const [path] = ex.target.split("?");
    const id = path.split("/")[3];
    calls.push({ method: ex.method, target: ex.target, key: ex.get("authorization"),
        accept: ex.get("accept"),
        json: ex.body.length > 0 ? ex.json : null });
    if (ex.method === "POST" && path === "/v1/responses") {
        const object = whole("openai-responses", ex.json.model, { blocks: [{ text: "hi" }] });
        object.id = `resp_native_${++made}`;
        kept.set(object.id, object);
        if (!ex.json.stream) {
            await ex.json_answer(object);
            return;
        }
        await ex.open_stream();
        for (const event of stream("openai-responses", ex.json.model,
            { blocks: [{ text: "hi" }] })) {
            await ex.write(chunk(event.replaceAll(/"resp_[a-z]+"/g, `"${object.id}"`)));
        }
        await ex.write(LAST_CHUNK);
        return;
    }
    if (path === "/v1/responses/compact" || path.startsWith("/v1/conversations")) {
        await ex.json_answer({ id: "it_was_here", object: "thing", method: ex.method, path });
        return;
    }
    if (!kept.has(id)) {
        await ex.json_answer({ error: { message: `no ${id}`, type: "invalid_request_error",
            param: null, code: null } }, { status: 404 });
        return;
    }
    if (ex.method === "DELETE") {
        kept.delete(id);
    }
    if (ex.method === "GET" && /[?&]stream=true/.test(ex.target)) {
        await ex.respond({ headers: { "content-type": "text/event-stream" },
            body: `event: response.completed\ndata: ${JSON.stringify({ sequence_number: 9,
                type: "response.completed", response: kept.get(id) })}\n\n` });
        return;
    }
    await ex.json_answer(ex.method === "DELETE" ? { id, object: "response", deleted: true } :
        path.endsWith("/input_items") ? { object: "list", data: [{ id: "msg_there",
            type: "message", role: "user", content: [] }], first_id: "msg_there",
        last_id: "msg_there", has_more: false } : kept.get(id));
}

const mock = await Mock.start({ fallback: translated });
const openai = await Mock.start({ fallback: native });
openai.on_get = native;
const base = mock.url.replace(/\/v1$/, "");
const config = (more = {}) => ({ default_backend: "an", metrics_public: true, retries: 0,
    api_keys: [KEY, OTHER_KEY], ...more, backends: {
        an: { protocol: "anthropic", api_url: base, api_keys: ["up-1"] },
        oc: { protocol: "openai-chat", api_url: mock.url, api_keys: ["up-2"] },
        or: { protocol: "openai-responses", api_url: openai.url, api_keys: ["upstream-3"] },
        /* Does not know what `or` made. */
        stranger: { protocol: "openai-responses", api_url: openai.url, api_keys: ["up-4"] },
    } });
const proxy = await start({ config: config() });
const no_client = (await missing_clients(proxy)).get("openai-responses");
const no_backend = await missing_backends();
const skip = !sdk ? "the openai package is not installed: npm ci in tests/e2e" :
    no_client || no_backend.get("anthropic") || no_backend.get("openai-responses") || false;

after(() => stop_all(proxy, mock, openai));

const test = (name, body) => plain_test(`responses_store: ${name}`, { skip }, body);
const client_of = (at, apiKey = KEY) => new sdk.default({ apiKey, baseURL: `${at.url}/v1`,
    maxRetries: 0 });
const client = sdk && client_of(proxy);
const other = sdk && client_of(proxy, OTHER_KEY);

const fresh = () => { asked = []; calls.length = 0; };

/** The whole response, asked for as a stream. */
async function streamed(at, body) {
    let last = null;
    for await (const event of await at.responses.create({ ...body, stream: true })) {
        last = event;
    }
    return last.response;
}

const failed = (status, code) => (error) => {
    assert.equal(error.status, status, String(error));
    assert.equal(error.code, code);
    return true;
};
const unknown = failed(404, "previous_response_not_found");
const not_found = failed(404, "not_found");
const unsupported = failed(400, "unsupported_value");

/* ---- Kept here ---- */

for (const backend of ["an", "oc"]) {
    const model = `${backend}:m`;

    test(`${backend}: what is made is there, as it was told, whole and streamed`, async () => {
        for (const make of [(b) => client.responses.create(b), (b) => streamed(client, b)]) {
            const response = await make({ model, input: "one", metadata: { a: "b" } });
            assert.equal(response.status, "completed");
            assert.equal(response.store, true);
            const again = await client.responses.retrieve(response.id);
            assert.deepEqual(JSON.parse(JSON.stringify({ ...again, output_text: undefined })),
                JSON.parse(JSON.stringify({ ...response, output_text: undefined })));
            assert.equal(again.output_text, "heard one");
            assert.deepEqual(await client.responses.delete(response.id),
                { id: response.id, object: "response", deleted: true });
            await assert.rejects(client.responses.retrieve(response.id), not_found);
            await assert.rejects(client.responses.delete(response.id), not_found);
            await assert.rejects(client.responses.create({ model, input: "x",
                previous_response_id: response.id }), unknown);
        }
    });

    test(`${backend}: a conversation goes on from what is kept, also over the other backend`,
        async () => {
            const one = await client.responses.create({ model, input: "one",
                instructions: "be kind" });
            const two = await streamed(client, { model, input: [{ role: "user",
                content: "two" }], previous_response_id: one.id });
            assert.equal(two.previous_response_id, one.id);
            fresh();
            const three = await client.responses.create({ model: backend === "an" ? "oc:m" : "an:m",
                input: "three", previous_response_id: two.id });
            assert.equal(three.output_text, "heard one+two+three");
            assert.equal(three.previous_response_id, two.id);
            const [seen] = asked;
            const text = JSON.stringify(seen.body);
            const order = ["one", "heard one", "two", "heard one+two", "three"]
                .map((word) => text.indexOf(`"${word}"`));
            assert.ok(order.every((at, i) => at >= 0 && (i === 0 || at > order[i - 1])), text);
            assert.ok(!text.includes("be kind"), "instructions are not inherited");
        });

    test(`${backend}: tool calls go on with their results alone`, async () => {
        const tools = [{ type: "function", name: "weather", strict: false, parameters: {
            type: "object", properties: { city: { type: "string" } } } }];
        const one = await client.responses.create({ model, tools, input: "call please" });
        const [call] = one.output.filter((item) => item.type === "function_call");
        assert.deepEqual(JSON.parse(call.arguments), { city: "Oslo" });
        fresh();
        await client.responses.create({ model, tools, previous_response_id: one.id, input: [
            { type: "function_call_output", call_id: call.call_id, output: "7 degrees" }] });
        assert.deepEqual(asked[0].results.map((result) => result.text), ["7 degrees"]);
        assert.deepEqual(asked[0].calls.map((c) => c.id), asked[0].results.map((r) => r.id));
    });
}

test("input items are listed page by page, in either order", async () => {
    const input = ["a", "b", "c"].flatMap((word) => [{ role: "user", content: word },
        { role: "assistant", content: `said ${word}` }]);
    const { id } = await client.responses.create({ model: "an:m", input });
    const words = (page) => page.map((item) => item.content[0].text);
    const list = async (query) => {
        const page = [];
        for await (const item of client.responses.inputItems.list(id, query)) {
            page.push(item);
        }
        return page;
    };
    const all = ["a", "said a", "b", "said b", "c", "said c"];
    assert.deepEqual(words(await list({ order: "asc", limit: 2 })), all);
    assert.deepEqual(words(await list({ limit: 4 })), [...all].reverse());
    const items = await list({ order: "asc" });
    assert.equal(new Set(items.map((item) => item.id)).size, 6);
    assert.ok(items.every((item) => /^msg_/.test(item.id) && item.type === "message"));
    assert.deepEqual(words((await client.responses.inputItems.list(id, { order: "asc",
        after: items[3].id })).data), ["c", "said c"]);
    await assert.rejects(client.responses.inputItems.list(id, { limit: 0 }), { status: 400 });
    await assert.rejects(client.responses.inputItems.list(id, { after: "nope" }), { status: 400 });
});

const plain = (object) => JSON.parse(JSON.stringify({ ...object, output_text: undefined }));

test("a kept response is told again as a stream, from any number on", async () => {
    const tools = [{ type: "function", name: "weather", strict: false, parameters: {
        type: "object", properties: { city: { type: "string" } } } }];
    for (const [backend, input, type] of [["an", "one", "message"], ["oc", "call please",
        "function_call"], ["an", "short please", "message"]]) {
        for (const make of [(b) => client.responses.create(b), (b) => streamed(client, b)]) {
            const made = await make({ model: `${backend}:m`, input, tools });
            const answer = await proxy.call({ method: "GET",
                path: `/v1/responses/${made.id}?stream=true`, headers: proxy.headers() });
            assert.equal(answer.status, 200);
            assert.match(answer.get("content-type"), /^text\/event-stream/);
            assert.equal(answer.get("x-accel-buffering"), "no");
            const lint = spawnSync(PROGRAM, ["lint-stream", "--protocol", "openai-responses"],
                { input: answer.body });
            assert.equal(lint.status, 0, `${lint.stdout}${lint.stderr}\n${answer.text}`);
            const events = [];
            for await (const event of await client.responses.retrieve(made.id,
                { stream: true })) {
                events.push(event);
            }
            assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
            assert.equal(events[0].type, "response.created");
            assert.equal(events.at(-1).type, `response.${made.status}`);
            assert.deepEqual(plain(events.at(-1).response), plain(made));
            const [item] = made.output.filter((one) => one.type === type);
            const delta = events.find((event) => event.type.endsWith(".delta"));
            assert.equal(delta.delta, item.arguments ?? item.content[0].text);
            assert.equal(delta.item_id, item.id);
            const rest = [];
            for await (const event of await client.responses.retrieve(made.id,
                { stream: true, starting_after: 3 })) {
                rest.push(event);
            }
            assert.deepEqual(rest.map(plain), events.slice(4).map(plain));
            await assert.rejects(other.responses.retrieve(made.id, { stream: true }), not_found);
        }
    }
    const { id } = await client.responses.create({ model: "an:m", input: "x" });
    for (const query of ["stream=true&starting_after=x", "starting_after=1"]) {
        const answer = await proxy.call({ method: "GET", path: `/v1/responses/${id}?${query}`,
            headers: proxy.headers() });
        assert.equal(answer.status, 400, query);
    }
});

test("what its backend has is asked for as a stream there", async () => {
    const { id } = await client.responses.create({ model: "or:gpt", input: "one" });
    fresh();
    const events = [];
    for await (const event of await client.responses.retrieve(id, { stream: true,
        starting_after: 4 })) {
        events.push(event);
    }
    assert.deepEqual(events.map((event) => [event.type, event.sequence_number]),
        [["response.completed", 9]]);
    assert.match(calls[0].target, /stream=true/);
    assert.match(calls[0].target, /starting_after=4/);
    assert.equal(calls[0].accept, "text/event-stream");
});

test("an item that is referred to stands in its place", async () => {
    const one = await client.responses.create({ model: "an:m", input: "one" });
    fresh();
    await client.responses.create({ model: "oc:m", input: [
        { role: "user", content: "before" }, { type: "item_reference", id: one.output[0].id },
        { role: "user", content: "after" }] });
    assert.match(JSON.stringify(asked[0].body.messages), /before.*heard one.*after/);
    for (const at of [client, other]) {
        const id = at === client ? "msg_nobody" : one.output[0].id;
        await assert.rejects(at.responses.create({ model: "an:m", input: [
            { type: "item_reference", id }] }), { status: 400 });
    }
});

test("two clients do not see each other's", async () => {
    const { id } = await client.responses.create({ model: "an:m", input: "mine" });
    await assert.rejects(other.responses.retrieve(id), not_found);
    await assert.rejects(other.responses.inputItems.list(id), not_found);
    await assert.rejects(other.responses.delete(id), not_found);
    await assert.rejects(other.responses.create({ model: "an:m", input: "x",
        previous_response_id: id }), unknown);
    assert.equal((await client.responses.retrieve(id)).id, id);
});

test("store: false is never kept, nor what failed or broke off", async () => {
    const before = await stored_bytes();
    const off = await client.responses.create({ model: "an:m", input: "x", store: false });
    assert.equal(off.store, false);
    await assert.rejects(client.responses.retrieve(off.id), not_found);
    await assert.rejects(client.responses.create({ model: "an:m", input: "y",
        previous_response_id: off.id }), unknown);
    await streamed(client, { model: "an:m", input: "x", store: false });
    /* It may fail before anything of it went out; then there is no id to ask for. */
    const broken = [];
    await assert.rejects(async () => {
        for await (const event of await client.responses.create({ model: "an:m", stream: true,
            input: "broken please" })) {
            broken.push(event);
            assert.notEqual(event.type, "response.completed");
            if (event.type === "error" || event.type === "response.failed") {
                throw new Error("as it should");
            }
        }
    });
    await assert.rejects(client.responses.retrieve(broken[0]?.response.id ?? "none"), not_found);
    assert.equal(await stored_bytes(), before);
    /* One that was cut short is complete in its way. */
    const short = await client.responses.create({ model: "an:m", input: "short please" });
    assert.equal(short.status, "incomplete");
    assert.equal((await client.responses.retrieve(short.id)).status, "incomplete");
});

async function stored_bytes(at = proxy) {
    return Number(/^llm_proxy_responses_store_bytes (\d+)$/m.exec(await at.counted())[1]);
}

test("what only a backend can do is refused where it is none", async () => {
    const { id } = await client.responses.create({ model: "an:m", input: "x" });
    await assert.rejects(client.responses.cancel(id), unsupported);
    await assert.rejects(client.responses.cancel("resp_unknown"), unsupported);
    await assert.rejects(client.post("/conversations", { body: {} }), unsupported);
    await assert.rejects(client.post("/responses/compact", { body: { model: "an:m",
        input: [] } }), unsupported);
});

/* ---- Kept there ---- */

test("what a Responses backend made stays there: only its place is remembered", async () => {
    for (const make of [(b) => client.responses.create(b), (b) => streamed(client, b)]) {
        fresh();
        const one = await make({ model: "or:gpt", input: "one" });
        assert.match(one.id, /^resp_native_/);
        const two = await make({ model: "or:gpt", input: "two", previous_response_id: one.id });
        assert.deepEqual(calls[1].json.previous_response_id, one.id);
        assert.deepEqual(calls[1].json.input, "two");
        assert.equal(calls[1].key, "Bearer upstream-3");
        assert.equal((await client.responses.retrieve(two.id)).id, two.id);
        const { data } = await client.responses.inputItems.list(two.id, { limit: 3 });
        assert.equal(data[0].id, "msg_there");
        assert.equal(calls.at(-1).target, `/v1/responses/${two.id}/input_items?limit=3`);
        assert.equal((await client.responses.cancel(two.id)).id, two.id);
        await assert.rejects(other.responses.retrieve(two.id), not_found);
        await assert.rejects(other.responses.create({ model: "or:gpt", input: "x",
            previous_response_id: two.id }), unknown);
        /* Only that backend has it, whatever is asked for. */
        await assert.rejects(client.responses.create({ model: "stranger:gpt", input: "x",
            previous_response_id: two.id }), unknown);
        await assert.rejects(client.responses.create({ model: "an:m", input: "x",
            previous_response_id: two.id }), unknown);
        const { deleted } = await client.responses.delete(two.id);
        assert.equal(deleted, true);
        assert.ok(!kept.has(two.id));
        await assert.rejects(client.responses.retrieve(two.id), not_found);
        const off = await make({ model: "or:gpt", input: "x", store: false });
        await assert.rejects(client.responses.retrieve(off.id), not_found);
    }
});

test("what was made with a key goes on with that key, also when it is not the first any more",
    async () => {
        const keys = (api_keys) => {
            const next = config();
            next.backends.or.api_keys = api_keys;
            return proxy.reload(next);
        };
        const used = () => calls.map((call) => call.key.replace("Bearer ", ""));
        try {
            await keys({ first: "upstream-3" });
            const { id } = await client.responses.create({ model: "or:gpt", input: "one" });
            await keys({ second: "upstream-5", first: "upstream-3" });
            fresh();
            const two = await client.responses.create({ model: "or:gpt", input: "two" });
            await client.responses.create({ model: "or:gpt", input: "x",
                previous_response_id: id });
            await client.responses.create({ model: "or:gpt", input: "x",
                previous_response_id: two.id });
            await client.responses.retrieve(id);
            await client.responses.inputItems.list(id);
            await client.responses.cancel(two.id);
            await client.post("/responses/compact", { body: { model: "or:gpt", input: [],
                previous_response_id: id } });
            assert.deepEqual(used(), ["upstream-5", "upstream-3", "upstream-5", "upstream-3",
                "upstream-3", "upstream-5", "upstream-3"]);
            /* It is there no more: the backend says what it can do with another one. */
            await keys({ second: "upstream-5" });
            fresh();
            await client.responses.retrieve(id);
            assert.deepEqual(used(), ["upstream-5"]);
        } finally {
            await proxy.reload(config());
        }
    });

test("what goes wrong at the backend that has it is told as what it is", async () => {
    const { id } = await client.responses.create({ model: "or:gpt", input: "x" });
    const answers = [
        [(ex) => ex.json_answer({ error: { message: "who is upstream-3?" } }, { status: 401 }),
            failed(502, "upstream_auth")],
        [(ex) => ex.json_answer({ error: { message: "oops upstream-3", code: "boom" } },
            { status: 500 }), (error) => {
            assert.equal(error.status, 500);
            assert.equal(error.code, "boom");
            assert.doesNotMatch(error.message, /upstream-3/, "our key in what the backend said");
            return true;
        }],
        [(ex) => ex.respond({ status: 302, headers: { location: "/elsewhere" } }),
            failed(502, "upstream_unreachable")],
        [(ex) => ex.rst(), failed(502, "upstream_unreachable")],
    ];
    try {
        for (const [script, expected] of answers) {
            openai.on_get = script;
            await assert.rejects(client.responses.retrieve(id), expected);
        }
        /* It was in no way lost. */
        openai.on_get = native;
        assert.equal((await client.responses.retrieve(id)).id, id);
        /* Gone there, gone here. */
        kept.delete(id);
        await assert.rejects(client.responses.delete(id), { status: 404 });
        calls.length = 0;
        await assert.rejects(client.responses.retrieve(id), not_found);
        assert.equal(calls.length, 0);
    } finally {
        openai.on_get = native;
    }
});

test("a Responses backend goes on from what it did not make: the items come along", async () => {
    const one = await client.responses.create({ model: "an:m", input: "one" });
    fresh();
    await client.responses.create({ model: "or:gpt", input: "two",
        previous_response_id: one.id });
    const [{ json }] = calls;
    assert.ok(!("previous_response_id" in json));
    assert.deepEqual(json.input.map((item) => [item.role, item.content[0].text]),
        [["user", "one"], ["assistant", "heard one"], ["user", "two"]]);
    assert.ok(json.input.every((item) => !("id" in item)), "ids of another one's");
});

test("no path leads to anything else of the backend, and to nobody else's", async () => {
    const { id } = await client.responses.create({ model: "or:gpt", input: "mine" });
    await proxy.reload(config({ default_backend: "or" }));
    try {
        fresh();
        await assert.rejects(other.responses.cancel(id), not_found);
        for (const path of ["conversations/../files", "conversations/%2e%2e/files",
            "conversations/..%2Ffiles", "responses/../files/f_1/cancel"]) {
            const answer = await proxy.call({ method: path.endsWith("cancel") ? "POST" : "GET",
                path: `/v1/${path}`, headers: { authorization: `Bearer ${KEY}` } });
            assert.equal(answer.status, 404, path);
        }
        assert.deepEqual(calls, []);
    } finally {
        await proxy.reload(config());
    }
});

test("compact and conversations go to the backend that the model, or the default, names",
    async () => {
        fresh();
        const done = await client.post("/responses/compact", { body: { model: "or:gpt",
            input: [] } });
        assert.equal(done.id, "it_was_here");
        assert.equal(calls[0].json.model, "gpt");
        await proxy.reload(config({ default_backend: "or" }));
        try {
            const talk = await client.post("/conversations", { body: { metadata: {} } });
            assert.deepEqual([talk.method, talk.path], ["POST", "/v1/conversations"]);
            const items = await client.get("/conversations/conv_1/items");
            assert.deepEqual([items.method, items.path],
                ["GET", "/v1/conversations/conv_1/items"]);
        } finally {
            await proxy.reload(config());
        }
    });

/* ---- Bounds ---- */

test("the oldest leave past max_bytes, all past ttl, and a reload changes both", async () => {
    const small = await start({ config: config({ responses_store: { max_bytes: 16000 } }) });
    try {
        const mine = client_of(small);
        const ids = [];
        for (let i = 0; i < 12; i++) {
            ids.push((await mine.responses.create({ model: "an:m",
                input: `${i} ${"long ".repeat(200)}` })).id);
            assert.ok(await stored_bytes(small) <= 16000);
        }
        await assert.rejects(mine.responses.retrieve(ids[0]), not_found);
        assert.equal((await mine.responses.retrieve(ids[11])).id, ids[11]);
        /* What was kept lives through a reload, as far as it fits. */
        await small.reload(config({ responses_store: { max_bytes: "1MiB" } }));
        assert.equal((await mine.responses.retrieve(ids[11])).id, ids[11]);
        await small.reload(config({ responses_store: { max_bytes: "1MiB", ttl: "1s" } }));
        await until(() => mine.responses.retrieve(ids[11]).then(() => false, not_found),
            "it is gone after its time");
        await small.reload(config({ responses_store: { max_bytes: 0 } }));
        const off = await mine.responses.create({ model: "an:m", input: "x" });
        assert.equal(off.store, false);
        await assert.rejects(mine.responses.retrieve(off.id), not_found);
        assert.equal(await stored_bytes(small), 0);
    } finally {
        await stop_all(small);
    }
});

test("a key's name that goes to somebody else does not bring responses along", async () => {
    const at = await start({ config: config() });
    try {
        const { id } = await client_of(at).responses.create({ model: "an:m", input: "x" });
        /* "key1" is now the other's. */
        await at.reload(config({ api_keys: [OTHER_KEY, KEY] }));
        await assert.rejects(client_of(at, OTHER_KEY).responses.retrieve(id), not_found);
        assert.equal((await client_of(at).responses.retrieve(id)).id, id);
    } finally {
        await stop_all(at);
    }
});
