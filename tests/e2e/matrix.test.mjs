/* SPDX-License-Identifier: MIT */
/*
 * The vendors' packages against backends of every protocol: what an application sees, and what its
 * requests become.
 *
 * The upstream (lib/upstream.mjs) reads what it is asked (lib/asked.mjs), acts by the first word of
 * the user, and refuses, as the vendors do, reasoning that does not come back as it was signed.
 * A table of pairs and features is printed at the end.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { parse } from "./lib/exact.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { NAMES, PROTOCOLS, missing_backends, missing_clients } from "./lib/protocols.mjs";
import { gone_at_once, start, stop_all, test } from "./lib/proxy.mjs";
import { SDKS } from "./lib/sdks.mjs";
import { error_body, stream, whole } from "./lib/upstream.mjs";

const MODELS = { "openai-chat": "gpt-5.2", "openai-responses": "gpt-5.2",
    anthropic: "claude-sonnet-4-5", gemini: "gemini-3-pro-preview" };
const PNG = { type: "image/png", data: "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4" +
    "2mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==" };
const SCHEMA = { type: "object", properties: { city: { type: "string" },
    degrees: { type: "integer" } }, required: ["city", "degrees"], additionalProperties: false };
const SIGNATURE = `U0lHTkFUVVJF${"QUJDRA".repeat(20)}==`;
const THOUGHT = "The user wants the weather, so I ask for it.";
const TEXT = "It is a fine day: ä, 🙂, \"quoted\".";
const OSLO = { tool: { id: "call_up_a", name: "weather", args: { city: "Oslo" } } };
const ROME = { tool: { id: "call_up_b", name: "weather", args: { city: "Rome" } } };
const SIGNED = { reasoning: THOUGHT, signature: SIGNATURE };

/* ---- The upstream ---- */

const report = (asked) => ({ blocks: [{ text: `Seen: ${
    asked.results.map((result) => result.text).join(" and ")}.` }] });

const SCRIPTS = {
    text: () => ({ blocks: [{ text: TEXT }] }),
    tools: (asked) => asked.results.length > 0 ? report(asked) : { blocks: [OSLO] },
    parallel: (asked) => asked.results.length > 0 ? report(asked) :
        { blocks: [{ text: "Both." }, OSLO, ROME] },
    thinking: (asked) => asked.results.length > 0 ? report(asked) : { blocks: [SIGNED, OSLO] },
    schema: () => ({ blocks: [{ text: "{\"city\":\"Oslo\",\"degrees\":7}" }] }),
    broken: () => ({ blocks: [{ text: TEXT }], fail: { message: "Overloaded, sorry" } }),
};

const protocol_of = (target) => /\/chat\/completions$/.test(target) ? "openai-chat" :
    /\/responses$/.test(target) ? "openai-responses" :
        /\/messages$/.test(target) ? "anthropic" : "gemini";

const asked = [];                       /* of every request of the test that runs */

function refusal(protocol, seen) {
    const signed = protocol !== "openai-chat" && seen.calls.length > 0;
    return signed && !seen.signatures.includes(SIGNATURE) ?
        `the signature is missing or wrong: ${JSON.stringify(seen.signatures)}` : null;
}

async function upstream(ex) {
    const protocol = protocol_of(ex.target.split("?")[0]);
    const seen = read_request(protocol, parse(ex.body), ex.target);
    asked.push(seen);
    const feature = seen.users[0].split(" ")[0];
    const model = MODELS[protocol];
    if (/^\d+$/.test(feature)) {
        const status = Number(feature) === 503 && protocol === "anthropic" ? 529 :
            Number(feature);
        await ex.json_answer(error_body(protocol, status, `upstream says ${feature}`),
            { status, headers: status === 429 ? { "retry-after": "7" } : {} });
        return;
    }
    const wrong = feature === "thinking" ? refusal(protocol, seen) : null;
    if (wrong) {
        await ex.json_answer(error_body(protocol, 400, wrong), { status: 400 });
        return;
    }
    if (feature === "abort") {
        await abort_script(ex, protocol, model);
        return;
    }
    const script = SCRIPTS[feature](seen);
    if (!seen.stream) {
        await ex.json_answer(whole(protocol, model, script));
        return;
    }
    await ex.open_stream();
    for (const event of stream(protocol, model, script)) {
        await ex.write(chunk(event));
        await new Promise((resolve) => setImmediate(resolve));
    }
    await ex.write(LAST_CHUNK);
}

/* The beginning of a long answer, and then nothing. */
async function abort_script(ex, protocol, model) {
    await ex.open_stream();
    for (const event of stream(protocol, model, { blocks: [{ text: TEXT }], cut: true })) {
        await ex.write(chunk(event));
    }
}

const mock = await Mock.start({ fallback: upstream });
const no_backend = await missing_backends();
const backends = {};
for (const name of NAMES.filter((n) => !no_backend.get(n))) {
    const { short, base } = PROTOCOLS[name];
    /* What cools a key has, with each client, a backend of its own. */
    for (const kind of ["", ...["401", "429"].flatMap((error) =>
        SDKS.map((_, i) => `-${error}-${i}`))]) {
        backends[`${short}${kind}`] = { protocol: name, api_keys: ["upstream-key-1"],
            api_url: mock.url.replace(/\/v1$/, base) };
    }
}
const proxy = await start({ config: { default_backend: "oc", retries: 0, backends } });
const no_client = await missing_clients(proxy);

after(() => stop_all(proxy, mock));

/* ---- The features ---- */

const USAGE = { input: 30, cached: 10, output: 12 };

function talk_of(pair, feature, options = {}, backend = "") {
    asked.length = 0;
    const { sdk, to } = pair;
    const model = `${PROTOCOLS[to].short}${backend}:${MODELS[to]}`;
    return new sdk.Talk(proxy, model, { prompt: `${feature} please`, ...options });
}

async function text(pair, streamed) {
    const turn = await talk_of(pair, "text").turn(streamed);
    assert.equal(turn.text, TEXT);
    assert.equal(turn.finish, pair.sdk.finish.end);
    assert.deepEqual(turn.usage, USAGE);
    assert.equal(asked.length, 1);
    assert.deepEqual(asked[0].users, ["text please"]);
    if (streamed) {
        assert.ok(turn.deltas > 1, "the text came at once");
        assert.ok(asked[0].stream, "the upstream was asked for a stream");
    }
}

const CITIES = { Oslo: "7 degrees", Rome: "19 degrees" };

async function tools(pair, streamed, { feature = "tools", cities = ["Oslo"], ...options } = {}) {
    const talk = talk_of(pair, feature, { tools: true, ...options });
    const first = await talk.turn(streamed);
    assert.deepEqual(first.calls.map(({ name, args }) => ({ name, args })),
        cities.map((city) => ({ name: "weather", args: { city } })));
    assert.equal(new Set(first.calls.map((call) => call.id)).size, cities.length);
    assert.equal(first.finish, pair.sdk.finish.tools);
    talk.results(first.calls.map(({ id, name, args }) => ({ id, name, text: CITIES[args.city] })));
    const second = await talk.turn(streamed);
    assert.equal(second.text, `Seen: ${cities.map((city) => CITIES[city]).join(" and ")}.`);
    assert.equal(second.finish, pair.sdk.finish.end);
    const [one, two] = asked;
    assert.deepEqual(one.tools.map((tool) => tool.name), ["weather"]);
    assert.deepEqual(Object.keys(one.tools[0].schema.properties), ["city"]);
    assert.deepEqual(two.calls.map((call) => [call.id, JSON.parse(call.arguments)]),
        cities.map((city, i) => [["call_up_a", "call_up_b"][i], { city }]));
    assert.deepEqual(two.results.map((result) => result.id), two.calls.map((call) => call.id));
    return { first, second };
}

async function thinking(pair, streamed, options = {}) {
    const { first, second } = await tools(pair, streamed, { feature: "thinking", thinking: true,
        ...options });
    if (pair.to !== "openai-chat" || pair.sdk.protocol !== "openai-chat") {
        assert.equal(first.reasoning, THOUGHT);
    }
    assert.ok(!first.text.includes(THOUGHT), "reasoning was shown as text");
    assert.ok(!second.text.includes(THOUGHT));
}

async function image(pair) {
    await talk_of(pair, "text", { image: PNG }).turn(false);
    assert.deepEqual(asked[0].images, [PNG]);
}

async function schema(pair, streamed) {
    const turn = await talk_of(pair, "schema", { schema: SCHEMA }).turn(streamed);
    assert.deepEqual(JSON.parse(turn.text), { city: "Oslo", degrees: 7 });
    assert.deepEqual(Object.keys(asked[0].schema?.properties ?? {}), ["city", "degrees"]);
}

const STATUS = { 401: [502], 429: [429], 500: [502, 500], 503: [503, 529] };

async function error(pair, status) {
    const backend = [401, 429].includes(status) ? `-${status}-${SDKS.indexOf(pair.sdk)}` : "";
    for (const streamed of [false]) {
        const talk = talk_of(pair, String(status), {}, backend);
        await assert.rejects(talk.turn(streamed), (reason) => {
            const same = pair.sdk.protocol === pair.to;
            const wanted = same ? [status, ...STATUS[status]] : STATUS[status];
            assert.ok(wanted.includes(reason.status), `status ${reason.status}: ${reason}`);
            if (status !== 401) {
                assert.match(reason.message, new RegExp(`upstream says ${status}`));
            }
            if (status === 429 && reason.headers?.get) {
                assert.equal(reason.headers.get("retry-after"), "7");
            }
            return true;
        });
    }
}

async function broken(pair) {
    const talk = talk_of(pair, "broken");
    await assert.rejects(talk.turn(true), (reason) => {
        assert.match(String(reason.message) + JSON.stringify(reason.error ?? ""),
            /Overloaded, sorry/);
        return true;
    });
}

async function abort(pair) {
    const arrival = mock.arrival();
    const controller = new AbortController();
    const ending = talk_of(pair, "abort").turn(true, controller.signal);
    ending.catch(() => {});
    const ex = await arrival;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await gone_at_once(proxy, () => {
        controller.abort();
        return assert.rejects(ending);
    }, ex.closed, "the upstream sees the client leave");
}

const FEATURES = {
    text: (pair) => text(pair, false),
    stream: (pair) => text(pair, true),
    tools: (pair) => tools(pair, false),
    "tools, streamed": (pair) => tools(pair, true),
    "parallel tools": (pair) => tools(pair, false, { feature: "parallel",
        cities: ["Oslo", "Rome"] }),
    "parallel tools, streamed": (pair) => tools(pair, true, { feature: "parallel",
        cities: ["Oslo", "Rome"] }),
    images: image,
    "thinking with tools": (pair) => thinking(pair, false),
    "thinking with tools, streamed": (pair) => thinking(pair, true),
    "thinking, its fields dropped": (pair) => thinking(pair, true, { drop: true }),
    "JSON schema": (pair) => schema(pair, false),
    "JSON schema, streamed": (pair) => schema(pair, true),
    "error 401": (pair) => error(pair, 401),
    "error 429": (pair) => error(pair, 429),
    "error 500": (pair) => error(pair, 500),
    "error overloaded": (pair) => error(pair, 503),
    "error in a stream": broken,
    abort,
};

/* What a pair has not, with the reason. */
function excepted(pair, feature) {
    if (feature === "thinking, its fields dropped" && pair.sdk.protocol !== "openai-chat") {
        return "this package's clients drop nothing";
    }
    return null;
}

const results = new Map();

for (const sdk of SDKS) {
    for (const to of NAMES) {
        const pair = { sdk, to };
        const absent = (sdk.there ? false : `${sdk.name}: the package is not installed`) ||
            no_client.get(sdk.protocol) || no_backend.get(to) || false;
        const row = new Map();
        results.set(`${sdk.name} -> ${to}`, row);
        for (const [feature, work] of Object.entries(FEATURES)) {
            const why = excepted(pair, feature);
            if (why) {
                row.set(feature, "-");
                continue;
            }
            test(`matrix: ${sdk.name} to ${to}: ${feature}`, { skip: absent }, async () => {
                row.set(feature, "FAIL");
                await work(pair);
                row.set(feature, "ok");
            });
        }
    }
}

test("matrix: the table", (t) => {
    const names = Object.keys(FEATURES);
    names.forEach((name, i) => t.diagnostic(`${String(i + 1).padStart(2)} ${name}`));
    t.diagnostic(`${"".padEnd(36)}${names.map((_, i) => String(i + 1).padStart(5)).join("")}`);
    for (const [pair, row] of results) {
        t.diagnostic(`${pair.padEnd(36)}${names.map((name) =>
            (row.get(name) ?? "skip").padStart(5)).join("")}`);
    }
});
