/* SPDX-License-Identifier: MIT */
/*
 * What settings do to the requests behind them: which backend and model, which parameters, in the
 * words of each protocol and model family; and that nothing else of a request changes.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { Scene, asked_in, body_of, each_way, model_asked, other, tool_of } from "./lib/chats.mjs";
import { parse } from "./lib/exact.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { Mock } from "./lib/mock.mjs";
import { run, start, stop_all, test } from "./lib/proxy.mjs";
import { error_body } from "./lib/upstream.mjs";

const scene = await Scene.start();
const scenes = [scene];
after(() => stop_all(...scenes));

async function scene_with(options) {
    const one = await Scene.start(options);
    scenes.push(one);
    return one;
}

const users = (up) => read_request(asked_in(up), parse(up.body), up.target).users;
const went_to = (up) => `${PROTOCOLS[asked_in(up)].short}:${model_asked(up)}`;

/* The word for a parameter where each protocol has it. */
const PLACE = {
    temperature: (body) => body.temperature ?? body.generationConfig?.temperature,
};

/* ---- Which backend, which model ---- */

test("model: the session's replaces what the request names, also an explicit backend", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        const to = PROTOCOLS[other(protocol)].short;
        const options = { stream, session };
        await scene.command(protocol, `!/set(model=${to}:better)`, /better/, options);
        for (const model of ["m1", "oc:m1", "an:claude", "ge:m2"]) {
            assert.equal(went_to(await scene.prompt(protocol, "Hi", { ...options, model })),
                `${to}:better`);
        }
        await scene.command(protocol, "!/unset(model)", /model/i, options);
        await scene.command(protocol, "!/unset(backend)", /./, options);
        assert.equal(went_to(await scene.prompt(protocol, "Hi", { ...options, model: "an:m9" })),
            "an:m9");
    }));

test("model: a bare one is a model of the session's backend, or of the default one", async () => {
    for (const protocol of NAMES) {
        const session = scene.id();
        await scene.command(protocol, "!/model(plain)", /^Model changed to plain\nModel plain is not /,
            { session });
        assert.equal(went_to(await scene.prompt(protocol, "Hi", { session, model: "m1" })),
            "oc:plain");
        await scene.command(protocol, "!/backend(an)", "Backend changed to an", { session });
        assert.equal(went_to(await scene.prompt(protocol, "Hi", { session, model: "ge:m1" })),
            "an:plain");
    }
});

test("backend: alone it keeps the request's model, without the prefix", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        const to = PROTOCOLS[other(protocol)].short;
        await scene.command(protocol, `!/set(backend=${to})`, `Backend changed to ${to}`,
            { session });
        for (const model of ["m7", "oc:m7", "an:m7", "ge/m7"]) {
            if (protocol === "gemini" && model.includes("/")) {
                continue;
            }
            assert.equal(went_to(await scene.prompt(protocol, "Hi", { stream, session, model })),
                `${to}:m7`);
        }
        await scene.command(protocol, "!/unset(backend)", /backend/i, { session });
        assert.equal(went_to(await scene.prompt(protocol, "Hi", { session, model: "m7" })),
            "oc:m7");
    }));

test("one-off: the next backend call only", () => each_way(async (protocol, stream) => {
    for (const name of ["oneoff", "one-off", "oneoff"]) {
        const session = scene.id();
        const to = PROTOCOLS[other(protocol)].short;
        const options = { stream, session, model: `${PROTOCOLS[protocol].short}:m1` };
        await scene.command(protocol, "!/set(model=ge:kept)", undefined, options);
        await scene.command(protocol, `!/${name}(${to}:once)`, new RegExp(`${to}.once`), options);
        await scene.command(protocol, "!/pwd", undefined, options);
        assert.equal(went_to(await scene.prompt(protocol, "Hi", options)), `${to}:once`);
        assert.equal(went_to(await scene.prompt(protocol, "Hi", options)), "ge:kept");
    }
}));

test("one-off: with a slash, and used at once by what stands beside it", () =>
    each_way(async (protocol, stream) => {
        const options = { stream, session: scene.id(), model: "oc:m1" };
        const up = await scene.prompt(protocol, "!/oneoff(an/once) Hi", options);
        assert.equal(went_to(up), "an:once");
        assert.deepEqual(users(up), ["Hi"]);
        assert.equal(went_to(await scene.prompt(protocol, "Hi", options)), "oc:m1");
    }));

test("one-off: given back when the call fails, kept until one succeeds", () =>
    each_way(async (protocol, stream) => {
        const options = { stream, session: scene.id(), model: "oc:m1" };
        await scene.command(protocol, "!/oneoff(or:once)", undefined, options);
        for (const status of [400, 500]) {
            scene.mock.next((ex) => ex.json_answer(error_body("openai-responses", status,
                "no"), { status }));
            const failed = await scene.say(protocol, "Hi", options);
            assert.notEqual(failed.status, 200);
            assert.equal(went_to(failed.up[0]), "or:once");
        }
        scene.mock.next((ex) => ex.rst());      /* a pooled connection is replaced once */
        scene.mock.next((ex) => ex.rst());
        assert.notEqual((await scene.say(protocol, "Hi", options)).status, 200);
        scene.mock.queue.length = 0;            /* a new one is not: then one is left */
        assert.equal(went_to(await scene.prompt(protocol, "Hi", options)), "or:once");
        assert.equal(went_to(await scene.prompt(protocol, "Hi", options)), "oc:m1");
    }));

test("one-off: of two requests at once one takes it", async () => {
    const options = { session: scene.id(), model: "oc:m1" };
    await scene.command("openai-chat", "!/oneoff(an:once)", undefined, options);
    const ups = await scene.asked(() => Promise.all(Array.from({ length: 8 }, () =>
        scene.say("openai-chat", "Hi", options))));
    assert.deepEqual(ups.map(went_to).sort(), ["an:once", ...Array(7).fill("oc:m1")]);
});

test("one-off: a count of tokens does not take it", async () => {
    const options = { session: scene.id(), model: "an:m1" };
    await scene.command("anthropic", "!/oneoff(an:once)", undefined, options);
    const answer = await scene.proxy.call({ path: "/v1/messages/count_tokens",
        headers: { "x-session-id": options.session }, body: JSON.stringify({ model: "an:m1",
            messages: [{ role: "user", content: "Hi" }] }) });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(went_to(await scene.prompt("anthropic", "Hi", options)), "an:once");
});

test("default-backend: server-wide, an admin's, alone in its message", async () => {
    const keys = [{ name: "boss", key: "boss-key-1", admin: true },
        { name: "guest", key: "guest-key-1" }];
    const wide = await scene_with({ config: { api_keys: keys } });
    const as = (key) => ({ headers: { Authorization: `Bearer ${key}` }, model: "m1" });
    for (const protocol of NAMES) {
        await wide.command(protocol, "!/set(default-backend=an)", /admin/i,
            { ...as("guest-key-1"), session: wide.id() });
        assert.equal(went_to(await wide.prompt(protocol, "Hi", { ...as("guest-key-1"),
            session: wide.id() })), "oc:m1");
        await wide.command(protocol, "!/set(default-backend=ge)", /ge$/, { ...as("boss-key-1"),
            session: wide.id() });
        for (const key of ["guest-key-1", "boss-key-1"]) {
            assert.equal(went_to(await wide.prompt(protocol, "Hi", { ...as(key),
                session: wide.id() })), "ge:m1");
            assert.equal(went_to(await wide.prompt(protocol, "Hi", { ...as(key),
                session: wide.id(), model: "an:m1" })), "an:m1");
        }
        await wide.command(protocol, "!/unset(default-backend)", /./, { ...as("boss-key-1"),
            session: wide.id() });
        assert.equal(went_to(await wide.prompt(protocol, "Hi", { ...as("boss-key-1"),
            session: wide.id() })), "oc:m1");
    }
});

test("default-backend: over a restart, and as long as the backend works", async () => {
    const wide = await scene_with({ config: { session: { repository: "file",
        file_path: "./kept" } }, backends: (s) => ({ anthropic: { api_url: s.base("anthropic"),
        api_keys: ["sk-ant-1"] } }) });
    const left = { ...wide.config.backends };
    delete left.anthropic;
    const goes_to = async (where, backend, origin) => {
        const session = wide.id();
        assert.equal(went_to(await wide.prompt("openai-chat", "Hi", { session, model: "m1" })),
            `${where}:m1`);
        const { text } = await wide.command("openai-chat", "!/status", undefined, { session });
        assert.match(text, new RegExp(`^backend: ${backend} `, "m"));
        assert.match(text, new RegExp(`^default-backend: ${backend} \\(${origin}`, "m"));
    };
    await wide.command("openai-chat", "!/set(default-backend=anthropic)", undefined,
        { session: wide.id() });
    process.kill(wide.proxy.pid, "SIGKILL");
    await wide.proxy.exited;
    wide.proxy = await start({ dir: wide.proxy.dir });
    await goes_to("an", "anthropic", "set for all clients");
    await wide.proxy.reload({ ...wide.config, backends: left });
    await goes_to("oc", "oc", "config\\.yaml");
    /* The vendor's own URL wants a key. */
    await wide.proxy.reload({ ...wide.config, backends: { ...left,
        anthropic: { models: ["m1"] } } });
    await goes_to("oc", "oc", "config\\.yaml");
    await wide.proxy.reload(wide.config);
    await goes_to("an", "anthropic", "set for all clients");
});

/* ---- Parameters ---- */

test("temperature: of the session where the request has none, in every protocol's place", () =>
    each_way(async (protocol, stream) => {
        for (const to of NAMES) {
            const session = scene.id();
            await scene.command(protocol, "!/set(temperature=0.25)", undefined, { session });
            const up = await scene.prompt(protocol, "Hi", { to, stream, session });
            assert.equal(PLACE.temperature(up.json), 0.25, to);
            const more = protocol === "gemini" ? { generationConfig: { temperature: 0.75 } } :
                { temperature: 0.75 };
            const own = await scene.prompt(protocol, "Hi", { to, stream, session, more });
            assert.equal(PLACE.temperature(own.json), 0.75, `${to}: the request wins`);
        }
    }));

test("temperature: a model that refuses it gets none, and the client is told", async () => {
    for (const [to, model, taken] of [["openai-chat", "gpt-5", "gpt-4o"],
        ["openai-responses", "gpt-5", "gpt-4o"],
        ["anthropic", "claude-opus-4-7", "claude-sonnet-4-5"]]) {
        for (const protocol of [to, other(to)]) {
            const options = { session: scene.id(), more: room(protocol) };
            await scene.command(protocol, "!/set(temperature=0.25)", undefined, options);
            const warned = async (name) => {
                const up = await scene.prompt(protocol, "Hi",
                    { ...options, model: `${PROTOCOLS[to].short}:${name}` });
                return [up.json.temperature, up.got.answer.get("x-llm-proxy-warnings")];
            };
            assert.deepEqual(await warned(model), [undefined, "dropped:temperature"],
                `${protocol} to ${model}`);
            assert.deepEqual(await warned(taken), [0.25, undefined], `${protocol} to ${taken}`);
        }
    }
});

const between = (low, high) => (value) => value >= low && value <= high;
const one_of = (...list) => (value) => list.includes(value);

/* mapping.md 7.1: what each family calls an effort; where it stands. */
const EFFORT_AT = {
    chat: (body) => body.reasoning_effort,
    responses: (body) => body.reasoning?.effort,
    manual: (body) => body.thinking?.type === "enabled" ? body.thinking.budget_tokens : undefined,
    adaptive: (body) => body.thinking?.type === "adaptive" ? body.output_config?.effort :
        undefined,
    budget: (body) => body.generationConfig?.thinkingConfig?.thinkingBudget,
    level: (body) => body.generationConfig?.thinkingConfig?.thinkingLevel?.toUpperCase(),
};
const LEVELS = ["minimal", "low", "medium", "high", "maximum"];
const FAMILIES = [
    ["openai-chat", "gpt-5.2", "chat", [one_of("minimal", "low", "none"), one_of("low"),
        one_of("medium"), one_of("high"), one_of("xhigh", "max")]],
    ["openai-responses", "gpt-5.2", "responses", [one_of("minimal", "low", "none"), one_of("low"),
        one_of("medium"), one_of("high"), one_of("xhigh", "max")]],
    /* A name that nobody knows: who sets it knows that the model reasons. */
    ["openai-chat", "house-model", "chat", [one_of("low"), one_of("low"), one_of("medium"),
        one_of("high"), one_of("high")]],
    ["openai-responses", "house-model", "responses", [one_of("low"), one_of("low"),
        one_of("medium"), one_of("high"), one_of("high")]],
    ["anthropic", "claude-sonnet-4-5", "manual", [one_of(1024), between(1024, 2048),
        between(2048, 8192), between(4096, 16384), between(16384, 63000)]],
    ["anthropic", "claude-opus-4-6", "adaptive", [one_of("low"), one_of("low"), one_of("medium"),
        one_of("high"), one_of("max")]],
    ["gemini", "gemini-2.5-flash", "budget", [one_of(1024), between(1024, 4096), one_of(8192),
        between(16384, 24576), between(24576, 24576)]],
    ["gemini", "gemini-3-pro-preview", "level", [one_of("LOW"), one_of("LOW"),
        one_of("MEDIUM", "HIGH"), one_of("HIGH"), one_of("HIGH")]],
];

const room = (protocol) => protocol === "anthropic" ? { max_tokens: 64000 } : {};

for (const [to, model, at, wanted] of FAMILIES) {
    test(`reasoning-effort: ${model} of ${to}`, async () => {
        for (const [i, protocol] of [to, other(to)].entries()) {
            for (const [n, level] of LEVELS.entries()) {
                const session = scene.id();
                const options = { session, stream: (i + n) % 2 === 1, more: room(protocol),
                    model: `${PROTOCOLS[to].short}:${model}` };
                await scene.command(protocol, `!/set(reasoning-effort=${level})`,
                    `Reasoning effort set to ${level}`, options);
                const up = await scene.prompt(protocol, "Hi", options);
                const value = EFFORT_AT[at](up.json);
                assert.ok(wanted[n](value), `${level} by ${protocol}: ${value} of ${up.body}`);
                await scene.command(protocol, "!/unset(reasoning-effort)", undefined, options);
                assert.equal(EFFORT_AT[at]((await scene.prompt(protocol, "Hi", options)).json),
                    undefined);
            }
        }
    });
}

const BUDGETS = [["openai-chat", "gpt-5.2", "chat", one_of("medium")],
    ["openai-chat", "house-model", "chat", one_of("medium")],
    ["openai-responses", "gpt-5.2", "responses", one_of("medium")],
    ["anthropic", "claude-sonnet-4-5", "manual", one_of(2500)],
    ["anthropic", "claude-opus-4-6", "adaptive", one_of("medium")],
    ["gemini", "gemini-2.5-flash", "budget", one_of(2500)],
    ["gemini", "gemini-3-pro-preview", "level", one_of("MEDIUM", "HIGH", "LOW")]];

for (const [to, model, at, wanted] of BUDGETS) {
    test(`thinking-budget: ${model} of ${to}`, async () => {
        for (const protocol of [to, other(to)]) {
            const options = { session: scene.id(), more: room(protocol),
                model: `${PROTOCOLS[to].short}:${model}` };
            await scene.command(protocol, "!/set(thinking-budget=2500)",
                "Thinking budget set to 2500", options);
            const value = EFFORT_AT[at]((await scene.prompt(protocol, "Hi", options)).json);
            assert.ok(wanted(value), `by ${protocol}: ${value}`);
        }
    });
}

test("reasoning: a model that is known not to reason is asked for none", async () => {
    for (const to of ["openai-chat", "openai-responses"]) {
        for (const protocol of [to, other(to)]) {
            const options = { session: scene.id(), more: room(protocol),
                model: `${PROTOCOLS[to].short}:gpt-4o` };
            await scene.command(protocol, "!/set(reasoning-effort=high, thinking-budget=2500)",
                undefined, options);
            const { json } = await scene.prompt(protocol, "Hi", options);
            assert.deepEqual([json.reasoning_effort, json.reasoning], [undefined, undefined]);
        }
    }
});

test("reasoning: what the request says wins, to the byte", async () => {
    const own = {
        "openai-chat": [{ reasoning_effort: "low" }, "gpt-5.2"],
        "openai-responses": [{ reasoning: { effort: "low", summary: "auto" } }, "gpt-5.2"],
        anthropic: [{ max_tokens: 9000, thinking: { type: "enabled", budget_tokens: 1111 } },
            "claude-sonnet-4-5"],
        gemini: [{ generationConfig: { thinkingConfig: { thinkingBudget: 1111 } } },
            "gemini-2.5-flash"],
    };
    for (const [protocol, [more, model]] of Object.entries(own)) {
        const options = { session: scene.id(), model: `${PROTOCOLS[protocol].short}:${model}` };
        await scene.command(protocol, "!/set(reasoning-effort=high, thinking-budget=5000)",
            undefined, options);
        const up = await scene.prompt(protocol, "Hi", { ...options, more });
        for (const [name, value] of Object.entries(more)) {
            assert.deepEqual(up.json[name], value);
        }
    }
});

test("reasoning: an agent that keeps a small max_tokens is not made to think beyond it",
    async () => {
        const options = { session: scene.id(), model: "an:claude-sonnet-4-5" };
        await scene.command("anthropic", "!/set(reasoning-effort=maximum)", undefined, options);
        for (const max_tokens of [500, 2048, 9000]) {
            const { json } = await scene.prompt("anthropic", "Hi",
                { ...options, more: { max_tokens } });
            assert.equal(json.max_tokens, max_tokens);
            const budget = json.thinking?.budget_tokens;
            assert.ok(max_tokens <= 1024 ? budget === undefined :
                budget >= 1024 && budget < max_tokens, `${budget} of ${max_tokens}`);
        }
    });

test("gemini-generation-config: members of generationConfig that the request has not", async () => {
    const config = "{\"topK\": 5, \"temperature\": 0.125, \"stopSequences\": [\"a, b)\", \"c\"]," +
        " \"thinkingConfig\": {\"thinkingBudget\": 128}}";
    for (const protocol of NAMES) {
        const options = { session: scene.id(), to: "gemini", model: "ge:gemini-2.5-flash" };
        await scene.command(protocol, `!/set(gemini-generation-config=${config})`,
            /^Gemini generation config set to /, options);
        const { generationConfig: got } = (await scene.prompt(protocol, "Hi", options)).json;
        assert.equal(got.topK, 5);
        assert.equal(got.temperature, 0.125);
        assert.deepEqual(got.stopSequences, ["a, b)", "c"]);
        assert.equal(got.thinkingConfig.thinkingBudget, 128);
        const more = protocol === "gemini" ? { generationConfig: { temperature: 0.75 } } :
            { temperature: 0.75 };
        const own = await scene.prompt(protocol, "Hi", { ...options, more });
        assert.equal(own.json.generationConfig.temperature, 0.75);
        assert.equal(own.json.generationConfig.topK, 5);
        /* It is Gemini's alone. */
        const elsewhere = await scene.prompt(protocol, "Hi", { ...options, model: "oc:gpt-4o" });
        assert.equal(elsewhere.json.topK ?? elsewhere.json.top_k ??
            elsewhere.json.generationConfig, undefined);
    }
});

/* ---- The server's ---- */

const DEFAULTS = { model_defaults: { m1: { temperature: 0.125 }, "an:m2": { temperature: 0.375 },
    "gpt-5.2": { reasoning_effort: "high" } } };

test("model_defaults: used where neither request nor session says it", async () => {
    const served = await scene_with({ config: DEFAULTS });
    await each_way(async (protocol, stream) => {
        const more = protocol === "gemini" ? { generationConfig: { temperature: 0.75 } } :
            { temperature: 0.75 };
        for (const to of NAMES) {
            const short = PROTOCOLS[to].short;
            const options = { stream, session: served.id(), model: `${short}:m1` };
            const value = async (o) => PLACE.temperature((await served.prompt(protocol, "Hi",
                { ...options, ...o })).json);
            assert.equal(await value({}), 0.125, "by the model");
            assert.equal(await value({ model: `${short}:m2` }), short === "an" ? 0.375 :
                undefined, "by backend:model");
            assert.equal(await value({ more }), 0.75, "the request wins");
            await served.command(protocol, "!/set(temperature=0.25)", undefined, options);
            assert.equal(await value({}), 0.25, "the session wins");
            assert.equal(await value({ more }), 0.75, "the request still wins");
        }
        const up = await served.prompt(protocol, "Hi", { stream, session: served.id(),
            model: "oc:gpt-5.2" });
        assert.equal(up.json.reasoning_effort, "high");
    });
});

test("model_aliases: exact ones and regular expressions, for requests and for commands",
    async () => {
        const served = await scene_with({ config: { model_aliases: { fast: "an:quick-1",
            "^gpt-4(.*)$": "or:new-4\\1", "^(.*)-old$": "ge:\\1" } } });
        await each_way(async (protocol, stream) => {
            const options = { stream, session: served.id() };
            for (const [model, wanted] of [["fast", "an:quick-1"], ["gpt-4o-mini", "or:new-4o-mini"],
                ["model-old", "ge:model"], ["faster", "oc:faster"], ["xgpt-4", "oc:xgpt-4"]]) {
                assert.equal(went_to(await served.prompt(protocol, "Hi", { ...options, model })),
                    wanted);
            }
            await served.command(protocol, "!/set(model=fast)", undefined, options);
            assert.equal(went_to(await served.prompt(protocol, "Hi", { ...options, model: "m1" })),
                "an:quick-1");
            await served.command(protocol, "!/oneoff(gpt-4)", undefined, options);
        });
    });

test("--check-config finds wrong aliases and defaults", async () => {
    for (const config of [{ model_aliases: { "^(a$": "b" } }, { model_defaults: 3 },
        { model_defaults: { m1: { temperatur: 1 } } },
        { model_defaults: { m1: { temperature: "warm" } } }]) {
        const { code, all } = await run(["--check-config"], { config });
        assert.equal(code, 1, `${JSON.stringify(config)}: ${all}`);
        assert.match(all, /model_(aliases|defaults)/);
    }
});

/* ---- openai-url ---- */

test("openai-url: only to allowed hosts, alone, without a key", async () => {
    const elsewhere = await Mock.start();
    scenes.push(elsewhere);
    const open_door = await scene_with({ config: { allowed_url_hosts: ["127.0.0.1"],
        default_backend: "openai" }, backends: (s) => ({ openai: { api_url:
        s.base("openai-chat"), api_keys: ["sk-upstream-key-1"] } }) });
    const session = open_door.id();
    await open_door.command("openai-chat", `!/set(openai-url=${elsewhere.url})`,
        `OpenAI URL set to ${elsewhere.url}`, { session });
    let got;
    const none = await open_door.asked(async () => {
        got = await open_door.say("openai-chat", "Hi", { session, model: "openai:m1" });
    });
    assert.equal(got.status, 200, got.answer.text);
    assert.equal(none.length, 0, "it went to the configured URL");
    const [up] = elsewhere.posts();
    assert.equal(up.target, "/v1/chat/completions");
    assert.equal(up.get("authorization"), undefined, "a key was sent");
    assert.ok(!up.head.headers?.some(([, value]) => /upstream-key|client-key/.test(value)));
    /* Other backends, and other sessions, go where they went. */
    assert.equal((await open_door.prompt("openai-chat", "Hi", { session, model: "oc:m1" })).target,
        "/v1/chat/completions");
    assert.equal((await open_door.prompt("openai-chat", "Hi", { session: open_door.id(),
        model: "openai:m1" })).get("authorization"), "Bearer sk-upstream-key-1");
    await open_door.command("openai-chat", "!/set(openai-url=http://10.0.0.1/v1)", /./,
        { session });
    await open_door.command("openai-chat", "!/unset(openai-url)", /./, { session });
    assert.equal((await open_door.prompt("openai-chat", "Hi", { session, model: "openai:m1" }))
        .get("authorization"), "Bearer sk-upstream-key-1");
    /* None is allowed by default. */
    await scene.command("openai-chat", `!/set(openai-url=${elsewhere.url})`, /./,
        { session: scene.id() });
    assert.equal(elsewhere.posts().length, 1);
});

/* ---- Nothing else ---- */

/* A body as no library would write it; `model` is the only member whose value may change. */
function odd_body(protocol, model) {
    const talk = JSON.stringify(body_of(protocol, [{ system: "Sys ä" }, { user: "One" },
        { assistant: "1" }, { user: ["Two 🙂", "three"] }])).slice(1, -1);
    const named = protocol === "gemini" ? "" : `\n\t"model" : "${model}" ,`;
    return `\r\n {${named} "odd":[ 1.0e2,-0, 12345678901234567890 ],\t${talk} ,"tools": ${
        JSON.stringify([tool_of(protocol, "t")])} , "nested":{"temperature":9, "model":"x" }\n}`;
}

const EDITS = [
    ["temperature", "!/set(temperature=0.25)", [
        /"generationConfig": ?\{"temperature": ?0\.25\},?/, /"temperature": ?0\.25,?/]],
    ["project", "!/set(project=p)", []],
    ["model", null, []],
];

test("same protocol: settings are edits, every other byte stays", async () => {
    for (const protocol of NAMES) {
        const { short, path } = PROTOCOLS[protocol];
        for (const [what, command, added] of EDITS) {
            const session = scene.id();
            await scene.command(protocol, command ?? `!/set(model=${short}:better)`, undefined,
                { session });
            let answer;
            const [up] = await scene.asked(async () => {
                answer = await scene.proxy.call({ path: path(`${short}:m1`, {}),
                    headers: { "x-session-id": session }, body: odd_body(protocol,
                        `${short}:m1`) });
            });
            assert.equal(answer.status, 200, answer.text);
            const wanted = odd_body(protocol, command ? "m1" : "better");
            let got = up.body.toString();
            if (added.length > 0) {
                assert.equal(PLACE.temperature(up.json), 0.25);
                const there = added.map((pattern) => pattern.exec(got)).find((found) =>
                    found !== null);
                assert.ok(there, got);
                /* Without it, and the comma that came with it, it is what was sent. */
                const cut = (from, to) => got.slice(0, from) + got.slice(to);
                const at = there.index;
                const end = at + there[0].length;
                const ways = [cut(at, end), cut(at - 1, end), cut(at - 2, end), cut(at, end + 1)];
                got = ways.find((text) => text === wanted) ?? got;
            }
            assert.equal(got, wanted, `${protocol}: ${what}`);
        }
    }
});

test("a session's settings do not reach other paths' bodies, nor answers", async () => {
    const session = scene.id();
    await scene.command("openai-chat", "!/set(temperature=0.25)", undefined, { session });
    const answer = await scene.proxy.call({ method: "GET", path: "/v1/models",
        headers: { "x-session-id": session } });
    assert.equal(answer.status, 200);
    assert.equal(answer.get("x-session-id"), session);
    assert.doesNotMatch(answer.text, /temperature/);
});

test("every answer that passed admission carries x-session-id, also errors", async () => {
    for (const protocol of NAMES) {
        const session = scene.id();
        for (const options of [{ model: "nosuch:m" }, { more: { messages: 3, input: {}, contents: 3 } }]) {
            const got = await scene.say(protocol, "Hi", { ...options, session });
            assert.equal(got.status, 400, got.answer.text);
            assert.equal(got.answer.get("x-session-id"), session);
        }
        const own = await scene.say(protocol, "Hi");
        assert.match(own.answer.get("x-session-id"), /^[A-Za-z0-9._:-]{1,128}$/);
    }
    const refused = await scene.proxy.call({ path: "/v1/chat/completions", body: "{}",
        headers: { Authorization: "Bearer wrong", "x-session-id": "s" } });
    assert.equal(refused.status, 401);
});
