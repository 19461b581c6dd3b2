/* SPDX-License-Identifier: MIT */
/*
 * The built-in demo backend, as somebody sees it who has neither key nor config.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { PNG, ask, assert_well_formed, body_of, tool_of } from "./lib/chats.mjs";
import { DEMO_MODELS } from "./lib/demo.mjs";
import { request, sse_data } from "./lib/http1.mjs";
import { NAMES } from "./lib/protocols.mjs";
import { PROGRAM, ROOT, run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "Hello there, who are you?" }];

let proxy;

before(async () => {
    proxy = await start({ args: ["--demo"] });
});

after(() => stop_all(proxy));

test("demo: --demo alone makes the proxy ready, and demo the default backend", async () => {
    assert.equal((await request(proxy.port, { method: "GET", path: "/readyz" })).status, 200);
    for (const model of ["assistant", "demo:assistant", "demo/assistant"]) {
        const answer = await proxy.chat({ model, messages: MESSAGES });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.get("x-llm-proxy-backend"), "demo");
        assert.equal(answer.get("x-llm-proxy-model"), "assistant");
    }
    const answer = await proxy.chat({ messages: MESSAGES });
    assert.equal(answer.status, 200, "without a model: the backend's default");
    assert.equal(answer.get("x-llm-proxy-model"), "assistant");
});

/* All that it says on the standard output at the start. */
async function banner(...args) {
    return start_text(["--demo", ...args], {});
}

async function start_text(args, env) {
    const dir = temp_dir();
    const child = spawn(PROGRAM, ["--port", "0", ...args],
        { cwd: dir, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    let text = "";
    let log = "";
    const ended = new Promise((resolve) => {
        child.on("close", resolve);
    });
    child.stdout.setEncoding("utf8").on("data", (piece) => { text += piece; });
    child.stderr.setEncoding("utf8").on("data", (piece) => {
        log += piece;
        if (/ msg=start\.ready /.test(log)) {
            child.kill("SIGTERM");
        }
    });
    await ended;
    fs.rmSync(dir, { recursive: true, force: true });
    return text;
}

test("demo: the banner says where commands in the chat are listed", async () => {
    assert.match(await banner(), /^ {2}Say !\/help in the chat/m);
    assert.match(await banner("--command-prefix", "%/"), /^ {2}Say %\/help in the chat/m);
    assert.doesNotMatch(await banner("--disable-interactive-commands"), /help/);
});

test("demo: the banner's example is one that works", async () => {
    const demo = await banner();
    assert.match(demo, /-d '\{"stream":true,"messages"/, "the demo has a default model");
    assert.doesNotMatch(demo, /MODEL/);

    const vendor = await start_text([], { OPENAI_API_KEY: "sk-1" });
    assert.match(vendor, /-d '\{"model":"MODEL","stream":true,"messages"/);
    assert.match(vendor, /^ {2}MODEL is one that the backend has; GET \/v1\/models lists them/m);

    const nobody = await start_text([], {});
    assert.match(nobody, /^No backend can answer yet: set a vendor's key/m);
    assert.doesNotMatch(nobody, /Try it|\/v1\/chat/);
});

test("demo: a base URL without its version is guessed", async () => {
    const answer = await proxy.call({ method: "POST", path: "/chat/completions", body: "{}" });
    assert.equal(answer.status, 404);
    assert.match(answer.text, /Not found: POST \/chat\/completions \(is \/v1 missing at the end/);
    const other = await proxy.call({ method: "POST", path: "/chatter", body: "{}" });
    assert.match(other.text, /Not found: POST \/chatter"/);
});

test("demo: its models are in the list", async () => {
    const answer = await proxy.call({ method: "GET", path: "/v1/models" });
    assert.deepEqual(answer.json.data.map((m) => m.id), DEMO_MODELS);
});

test("demo: a stream's words arrive one by one, not in a heap at the end", async () => {
    const client = await proxy.connect();
    client.send({ path: CHAT, headers: proxy.headers(), body: JSON.stringify({
        model: "demo:assistant", messages: MESSAGES, stream: true }) });
    const answer = await client.response();
    client.destroy();
    assert.equal(answer.status, 200);
    assert.match(answer.get("content-type"), /^text\/event-stream/);
    const words = sse_data(answer.text).filter((d) => d !== "[DONE]").map((d) => JSON.parse(d))
        .filter((c) => (c.choices[0]?.delta.content ?? "") !== "");
    assert.ok(words.length >= 5, `${words.length} chunks with text`);
    const times = answer.pieces.map((p) => p.at);
    const gaps = times.slice(1).map((at, i) => at - times[i]).filter((gap) => gap >= 5);
    assert.ok(gaps.length >= 4, `${gaps.length} pauses in ${times.length} arrivals`);
    assert.ok(answer.text.endsWith("data: [DONE]\n\n"));
});

test("demo: a stream is well-formed: role first, one finish, one id, terminator", async () => {
    const answer = await proxy.chat({ model: "demo:echo", messages: MESSAGES, stream: true });
    const data = sse_data(answer.text);
    assert.equal(data.pop(), "[DONE]");
    const chunks = data.map((d) => JSON.parse(d));
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
    assert.ok(chunks.every((c) => c.object === "chat.completion.chunk"));
    const ends = chunks.map((c) => c.choices[0]?.finish_reason ?? null);
    assert.deepEqual(ends.filter((f) => f !== null), ["stop"]);
    assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""),
        MESSAGES[0].content);
});

test("demo: echo is faithful to long text, line breaks and every kind of character", async () => {
    for (const text of ["a", "two  blanks\n\nand lines\r\n",
        "tab\there \"quotes\" \\ / \u0001 é 🙂", "日本語の文章 ".repeat(200),
        "e\u0301 \u202e rtl \u2028"]) {
        const messages = [{ role: "user", content: text }];
        const whole = await proxy.chat({ model: "demo:echo", messages });
        assert.equal(whole.json.choices[0].message.content, text);
    }
});

test("demo: an unknown demo model is an error, not a guess", async () => {
    const answer = await proxy.chat({ model: "demo:gpt-9", messages: MESSAGES });
    assert.equal(answer.status, 404, answer.text);
    assert.equal(answer.json.error.type, "invalid_request_error");
});

/* ---- every model, in every protocol ---- */

const say = (text) => [{ user: text }];

const WEATHER = { type: "object", properties: { city: { type: "string" },
    unit: { enum: ["celsius", "fahrenheit"] } }, required: ["city", "unit"] };
const TIME = { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] };

/* Members that offer tools in the protocol's way. */
const tools_of = (protocol) => ({ tools: [tool_of(protocol, "get_weather", WEATHER),
    tool_of(protocol, "get_time", TIME)] });

/* The members that ask for a choice of tools. */
const CHOICES = {
    "openai-chat": { none: { tool_choice: "none" }, required: { tool_choice: "required" },
        named: { tool_choice: { type: "function", function: { name: "get_time" } } } },
    "openai-responses": { none: { tool_choice: "none" }, required: { tool_choice: "required" },
        named: { tool_choice: { type: "function", name: "get_time" } } },
    anthropic: { none: { tool_choice: { type: "none" } }, required: { tool_choice: { type: "any" } },
        named: { tool_choice: { type: "tool", name: "get_time" } } },
    gemini: { none: { toolConfig: { functionCallingConfig: { mode: "NONE" } } },
        required: { toolConfig: { functionCallingConfig: { mode: "ANY" } } },
        named: { toolConfig: { functionCallingConfig: { mode: "ANY",
            allowedFunctionNames: ["get_time"] } } } },
};

/* At most so many tokens. */
const LIMITS = {
    "openai-chat": (n) => ({ max_completion_tokens: n }),
    "openai-responses": (n) => ({ max_output_tokens: n }),
    anthropic: (n) => ({ max_tokens: n }),
    gemini: (n) => ({ generationConfig: { maxOutputTokens: n } }),
};

/* Think, and show it. */
const THINK = {
    "openai-chat": { reasoning_effort: "high" },
    "openai-responses": { reasoning: { effort: "high", summary: "auto" } },
    anthropic: { max_tokens: 9000, thinking: { type: "enabled", budget_tokens: 8000 } },
    gemini: { generationConfig: { thinkingConfig: { thinkingBudget: 8000,
        includeThoughts: true } } },
};

async function ask_demo(protocol, model, turns, more, options = {}) {
    const got = await ask(proxy, protocol, body_of(protocol, turns, more),
        { model: `demo:${model}`, ...options });
    if (got.status === 200 && !got.reading.error) {
        assert_well_formed(protocol, got);
    }
    return got;
}

for (const protocol of NAMES) {
    for (const stream of [false, true]) {
        const how = stream ? "streamed" : "whole";

        test(`demo: ${protocol}, ${how}: tools are called, and their results are told`, async () => {
            const offer = tools_of(protocol);
            const choice = CHOICES[protocol];
            const calls = async (text, more = {}) => {
                const got = await ask_demo(protocol, "tools", say(text), { ...offer, ...more },
                    { stream });
                assert.equal(got.status, 200, got.answer.text);
                assert.equal(got.reading.stop, got.reading.tools.length > 0 ? "tool_use" : "end");
                return got.reading.tools.map((tool) => [tool.name, JSON.parse(tool.arguments)]);
            };
            const rome = ["get_weather", { city: "Rome", unit: "celsius" }];
            assert.deepEqual(await calls("How warm is Rome?"), [rome]);
            assert.deepEqual(await calls("Use get_time for Rome"), [["get_time", { zone: "Rome" }]]);
            assert.deepEqual(await calls("Tell me both of Rome"),
                [rome, ["get_time", { zone: "Rome" }]]);
            assert.deepEqual(await calls("How warm is Rome?", choice.none), []);
            assert.deepEqual(await calls("How warm is Rome?", choice.required), [rome]);
            assert.deepEqual(await calls("How warm is Rome?", choice.named),
                [["get_time", { zone: "Rome" }]]);
            const turns = [{ user: "How warm is Rome?" },
                { call: { id: "call_1", name: "get_weather", args: rome[1] } },
                { result: { id: "call_1", name: "get_weather", text: "21 degrees" } }];
            const told = await ask_demo(protocol, "tools", turns, offer, { stream });
            assert.match(told.text, /^The tool get_weather answered: .*21 degrees/);
            assert.deepEqual(told.reading.tools, []);
            const loop = [];
            for (const conversation of [turns, turns.slice(0, 1)]) {
                loop.push((await ask_demo(protocol, "tool-loop", conversation, offer, { stream }))
                    .reading.tools.map(({ name, arguments: args }) => [name, args]));
            }
            assert.deepEqual(loop[0], loop[1]);
            assert.equal(loop[0].length, 1);
        });

        test(`demo: ${protocol}, ${how}: it thinks before it answers`, async () => {
            const got = await ask_demo(protocol, "reason", say("Why?"), THINK[protocol],
                { stream });
            assert.equal(got.status, 200, got.answer.text);
            assert.match(got.reading.reasoning, protocol.startsWith("openai") ? /^Step 1 of 8: / :
                /^Step 1 of 7: /);
            assert.match(got.text, protocol.startsWith("openai") ?
                /^I thought in 8 steps, with effort high about: Why\?$/ :
                /^I thought in 7 steps, of 8000 tokens, about: Why\?$/);
            /* Anthropic's clients are told no count of it. */
            if (protocol !== "anthropic") {
                assert.ok(got.reading.usage.reasoning > 50);
                assert.ok(got.reading.usage.output > got.reading.usage.reasoning);
            }
        });

        test(`demo: ${protocol}, ${how}: max_tokens cuts long answers and loops`, async () => {
            for (const model of ["long", "loop"]) {
                const got = await ask_demo(protocol, model, say("Go on."), LIMITS[protocol](50),
                    { stream });
                assert.equal(got.status, 200, got.answer.text);
                assert.equal(got.text.length, 200);
                assert.equal(got.reading.stop, "max_tokens");
                assert.equal(got.reading.usage.output, 50);
            }
        });

        test(`demo: ${protocol}, ${how}: what fails is an error of the protocol`, async () => {
            for (const [model, status] of [["error-429", 429], ["error-500", 500]]) {
                const got = await ask_demo(protocol, model, say("Hi"), {}, { stream });
                /* To clients of another protocol a backend's failure is the gateway's. */
                assert.equal(got.status, status === 500 && protocol !== "openai-chat" ? 502 : status,
                    got.answer.text);
                assert.match(got.error.message, new RegExp(`the model ${model} always`));
                assert.equal(got.answer.get("retry-after"), status === 429 ? "2" : undefined);
            }
            const got = await ask_demo(protocol, "error-cut", say("Hi"), {}, { stream });
            if (stream) {
                assert.equal(got.status, 200, got.answer.text);
                assert.match(got.text, /^This answer breaks off/);
                assert.equal(got.reading.stop, "error");
                assert.match(got.reading.error.message, /broke off/);
            } else {
                assert.equal(got.status, 502, got.answer.text);
            }
            /* What failed takes nothing along: the next one is answered. */
            assert.equal((await ask_demo(protocol, "echo", say("Hi"), {}, { stream })).text, "Hi");
        });
    }
}

/* ---- Chat Completions in detail ---- */

test("demo: n, stop, JSON and what it does not have", async () => {
    const chat = (more) => proxy.chat({ model: "demo:echo",
        messages: [{ role: "developer", content: "Be brief." },
            { role: "user", content: "one two three" }], ...more });
    const many = (await chat({ n: 3, stop: " three", seed: 7, user: null })).json;
    assert.deepEqual(many.choices.map((c) => [c.index, c.message.content, c.finish_reason]),
        [0, 1, 2].map((i) => [i, "one two", "stop"]));
    assert.equal(many.usage.completion_tokens, 6);
    const object = (await chat({ response_format: { type: "json_object" } })).json;
    assert.deepEqual(JSON.parse(object.choices[0].message.content), { text: "one two three" });
    const refused = await chat({ logprobs: true, top_logprobs: 21 });
    assert.equal(refused.status, 400);
    assert.match(refused.json.error.message, /top_logprobs must be from 0 to 20/);
});

/* What the tokens say is the text, whole and streamed, to a client of Gemini's API too. */
test("demo: logprobs", async () => {
    const ask = { model: "demo:echo", messages: [{ role: "user", content: "Grüße, 日本 \u{1F600}!" }],
        logprobs: true };
    const said = (tokens) => tokens.map((t) => t.token).join("");
    for (const top of [0, 3]) {
        const { choices: [one] } = (await proxy.chat({ ...ask, top_logprobs: top })).json;
        const tokens = one.logprobs.content;
        assert.equal(said(tokens), ask.messages[0].content);
        for (const t of tokens) {
            assert.equal(Buffer.from(t.bytes).toString(), t.token);
            assert.equal(t.logprob, 0);
            assert.deepEqual(t.top_logprobs, top === 0 ? [] :
                [{ token: t.token, logprob: 0, bytes: t.bytes }]);
        }
    }
    const streamed = await proxy.chat({ ...ask, n: 2, stream: true });
    const chunks = sse_data(streamed.text).slice(0, -1).map((d) => JSON.parse(d));
    for (const index of [0, 1]) {
        const own = chunks.flatMap((c) => c.choices).filter((c) => c.index === index);
        assert.equal(said(own.flatMap((c) => c.logprobs?.content ?? [])), ask.messages[0].content);
        /* The SDK for Node counts those of a first chunk twice. */
        assert.deepEqual(own[0], { index, delta: { role: "assistant", content: "" },
            finish_reason: null });
    }
    const gemini = await proxy.call({ method: "POST",
        path: "/v1beta/models/demo:echo:generateContent",
        body: JSON.stringify({ contents: [{ parts: [{ text: "Hello there" }] }],
            generationConfig: { responseLogprobs: true, logprobs: 1 } }) });
    assert.equal(said(gemini.json.candidates[0].logprobsResult.chosenCandidates), "Hello there");
});

test("demo: functions, of before tool calls, are called as such", async () => {
    const ask = { model: "demo:tools", messages: [{ role: "user", content: "both in parallel" }],
        functions: ["get_one", "get_two"].map((name) => ({ name,
            parameters: { type: "object", properties: { x: { const: 5 } }, required: ["x"] } })) };
    const { choices: [one] } = (await proxy.chat(ask)).json;
    assert.deepEqual(one.message.function_call, { name: "get_one", arguments: '{"x":5}' });
    assert.equal(one.message.tool_calls, undefined);
    assert.equal(one.finish_reason, "function_call");
    const streamed = await proxy.chat({ ...ask, stream: true });
    const deltas = sse_data(streamed.text).slice(0, -1).map((d) => JSON.parse(d).choices[0]);
    assert.equal(deltas[0].delta.function_call.name, "get_one");
    assert.equal(deltas.map((d) => d.delta.function_call?.arguments ?? "").join(""), '{"x":5}');
    assert.equal(deltas.at(-1).finish_reason, "function_call");
    const { choices: [next] } = (await proxy.chat({ ...ask, messages: [...ask.messages, one.message,
        { role: "function", name: "get_one", content: "42" }] })).json;
    assert.equal(next.message.content, "The tool get_one answered: 42");
});

test("demo: images and files are noticed", async () => {
    for (const protocol of NAMES) {
        const got = await ask_demo(protocol, "echo", [{ user: ["Look", { image: PNG }] }]);
        assert.match(got.text, /^Look\n\[image, image\/png, \d+ bytes\]$/);
    }
});

test("demo: a slow answer takes its time", async () => {
    const begin = process.hrtime.bigint();
    const whole = await proxy.chat({ model: "demo:slow", messages: MESSAGES, max_tokens: 2 });
    assert.equal(whole.json.choices[0].message.content, "One word");
    assert.ok(Number(process.hrtime.bigint() - begin) / 1e6 >= 1900);
});

test("demo: error-silent answers nothing until the time-out", async () => {
    const impatient = await start({ args: ["--demo"], config: { proxy_timeout: "1s" } });
    for (const protocol of NAMES) {
        const got = await ask(impatient, protocol, body_of(protocol, say("Hi")),
            { model: "demo:error-silent" });
        assert.equal(got.status, 504, got.answer.text);
        assert.match(got.error.message, /^Connection timeout/);
    }
    await stop_all(impatient);
});

/* ---- schemas ---- */

const Ajv = (await import("ajv/dist/2020.js").catch(() => ({ default: null }))).default;

/* A schema that something satisfies. */
function random_schema(rng, depth = 0) {
    const { pick } = rng;
    const upto = (n) => rng.below(n + 1);
    const chance = (percent) => rng.below(100) < percent;
    const some = (percent, make) => chance(percent) ? make() : {};
    const kinds = ["string", "integer", "number", "boolean", "enum", "const", "format", "pattern",
        "nullable", ...(depth < 4 ? ["object", "object", "array", "array", "union", "all"] : [])];
    const deeper = () => random_schema(rng, depth + 1);
    switch (depth === 0 ? "object" : pick(kinds)) {
    case "string": {
        const least = upto(12);
        return { type: "string", ...some(50, () => ({ minLength: least })),
            ...some(50, () => ({ maxLength: least + upto(6) })) };
    }
    case "integer": {
        const least = upto(200) - 100;
        return { type: "integer", ...some(50, () => ({ minimum: least })),
            ...some(50, () => ({ maximum: least + 20 })),
            ...some(30, () => ({ multipleOf: 1 + upto(6) })) };
    }
    case "number": {
        const least = upto(1000) / 100 - 5;
        return { type: "number", ...some(50, () => ({ exclusiveMinimum: least })),
            ...some(50, () => ({ exclusiveMaximum: least + 0.5 })) };
    }
    case "boolean":
        return { type: "boolean" };
    case "enum":
        return { enum: [pick(["a", "b"]), "c", 7, null].slice(0, 1 + upto(3)) };
    case "const":
        return { const: pick(["fixed", 3, true, { a: [1, "x"] }]) };
    case "format":
        return { type: "string", format: pick(["date", "date-time", "email", "uuid", "ipv4"]) };
    case "pattern":
        return { type: "string", pattern: pick(["^[A-Z]{3}-\\d{2,4}$", "^(red|green)\\.?$",
            "^\\w+@\\w+$", "^[^\\s]{5,}$", "colou?r"]) };
    case "nullable":
        return { type: ["null", pick(["string", "integer", "boolean"])] };
    case "array": {
        const least = upto(3);
        return { type: "array", items: deeper(), ...some(60, () => ({ minItems: least })),
            ...some(40, () => ({ maxItems: least + upto(2) })) };
    }
    case "union":
        return { anyOf: [deeper(), deeper()] };
    case "all":
        return { allOf: [{ type: "integer", minimum: upto(9) }, { multipleOf: 1 + upto(4) }] };
    default: {
        const names = ["city", "query", "n", "list", "options"].slice(0, 1 + upto(4));
        return { type: "object",
            properties: Object.fromEntries(names.map((name) => [name, deeper()])),
            required: names.filter(() => chance(60)), additionalProperties: false };
    }
    }
}

test("demo: arguments and answers are what random schemas accept",
    { skip: Ajv ? false : "the package ajv is not installed" }, async () => {
        const rng = random("demo schemas");
        const ajv = new Ajv({ strict: false, validateFormats: false });
        for (let i = 0; i < 300; i++) {
            const schema = random_schema(rng);
            const text = ["How warm is Rome in 7 days?", "x", "", "Paris 3.5 -2"][i % 4];
            const messages = [{ role: "user", content: text }];
            const validate = ajv.compile(schema);
            const called = await proxy.chat({ model: "demo:tools", messages,
                tools: [tool_of("openai-chat", "f", schema)] });
            assert.equal(called.status, 200, `${JSON.stringify(schema)}: ${called.text}`);
            const args = called.json.choices[0].message.tool_calls[0].function.arguments;
            assert.ok(validate(JSON.parse(args)), `${JSON.stringify(schema)}: ${args}: ` +
                JSON.stringify(validate.errors));
            const said = await proxy.chat({ model: "demo:echo", messages, response_format: {
                type: "json_schema", json_schema: { name: "f", schema } } });
            assert.ok(validate(JSON.parse(said.json.choices[0].message.content)),
                `${JSON.stringify(schema)}: ${said.text}`);
        }
    });

/* ---- what the assistant says is so ---- */

/* A question for each of its texts, by its name in demo_text.c. */
const QUESTIONS = { overview: "Hello", sdk: "How do I use the Python SDK?",
    provider_key: "How do I set a key of OpenAI?", policies: "Which policy do keys have?",
    vendors: "Which vendors are there?", config_file: "Where is the config file?",
    local_server: "Can I use Ollama on a local server?", models: "Which models are there?",
    demo_models: "What can the demo do offline?", streaming: "Does streaming work?",
    client_key: "Why 401 unauthorized?", health: "Where are metrics and logs?",
    errors: "What does error 502 mean?", commands: "Which commands are there?",
    sessions: "What is a session?", other_paths: "Are there embeddings?",
    agents: "Which agents work, say aider?", tools: "How do tools work?",
    reasoning: "How about reasoning effort?", what_works: "What works in this version?" };

const page = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");

const all = (text, pattern) => [...text.matchAll(pattern)].map((m) => m[1] ?? m[0]);

const said = [];

test("demo: the assistant knows each of its topics", async () => {
    const texts = all(page("src/backend/demo_text.c"), /^static const char (\w+)\[\] = SELF/gm);
    assert.deepEqual(Object.keys(QUESTIONS).sort(), texts.sort());
    const answers = new Set();
    for (const [topic, question] of Object.entries(QUESTIONS)) {
        const { text } = await ask_demo("openai-chat", "assistant", say(question));
        assert.match(text, /^I am the proxy's built-in demo, not a language model/);
        assert.ok(!answers.has(text), `${topic}: ${text}`);
        answers.add(text);
    }
    answers.forEach((text) => said.push(text));
});

/* Words of the protocols, and of programs, that are none of ours. */
const WORDS = new Set(["max_tokens", "response_format", "stream_options", "include_usage",
    "reasoning_effort", "reasoning_content", "get_weather", "default_headers"]);
const CLIENTS_WORDS = new Set(["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL",
    "CLIENT_KEY", "PERF_SUMMARY"]);

test("demo: every command, option, path, file and variable that the assistant names is there",
    async () => {
        const text = said.join("\n");
        assert.ok(text.length > 5000);
        const help = (await run(["--help"])).stdout;
        const options = page("docs/CONFIGURATION.md");
        const reference = page("docs/API_REFERENCE.md");
        for (const name of new Set(all(text, /!\/([a-z-]+)/g))) {
            const got = await ask_demo("openai-chat", "echo", say(`!/help(${name})`));
            assert.doesNotMatch(got.text, /^Unknown/, name);
        }
        for (const line of new Set(all(text, /!\/(?:set|temperature|oneoff)\([^)]*\)/g))) {
            const got = await ask_demo("openai-chat", "echo", say(line));
            assert.doesNotMatch(got.text, /^(Unknown|Invalid)/, `${line}: ${got.text}`);
        }
        for (const flag of new Set(all(text, /\s(--[a-z-]+)/g))) {
            assert.ok(help.includes(flag), flag);
        }
        for (const file of new Set(all(text, /docs\/[\w/.-]+\.md|config\.example\.yaml/g))) {
            assert.ok(fs.existsSync(path.join(ROOT, file)), file);
        }
        for (const name of new Set(all(text, /\b([a-z]+_[a-z_]+)\b/g))) {
            assert.ok(WORDS.has(name) || options.includes(name) || reference.includes(name), name);
        }
        const vendors = all(page("src/backend/backends.def"), /^BACKEND\(\w+, \w+, [^,]+, "(\w+)"/gm);
        for (const name of new Set(all(text, /\b([A-Z]+_[A-Z_]+?)(?:_\d+)?\b/g))) {
            const vendor = /^(.+)_API_(?:KEY|BASE_URL)$/.exec(name)?.[1];
            assert.ok(CLIENTS_WORDS.has(name) || options.includes(name) ||
                vendors.includes(vendor), name);
        }
        for (const target of new Set(all(text, /(\/v1(?:beta)?\/[a-z/]*[a-z]|\/v2\/[a-z]+|\/[a-z]+z|\/metrics)\b/g))) {
            const get = await proxy.call({ method: "GET", path: target });
            const post = await proxy.call({ path: target, body: "{}" });
            assert.ok([get, post].some((answer) => answer.status !== 404 ||
                /demo/.test(answer.text)), `${target}: ${get.text} ${post.text}`);
        }
        for (const model of new Set(all(text, /demo:[a-z0-9-]+/g))) {
            assert.ok(DEMO_MODELS.includes(model), model);
        }
        assert.equal(DEMO_MODELS.filter((model) => text.includes(model)).length,
            DEMO_MODELS.length);
        assert.match(text, /I have twelve myself/);
        assert.equal(DEMO_MODELS.length, 12);
    });
