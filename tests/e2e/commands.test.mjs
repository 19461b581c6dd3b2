/* SPDX-License-Identifier: MIT */
/*
 * Commands in the chat, sentence by sentence: the guide's chapters "Command Processing Errors" and
 * "Session Management Issues", and what the contract says of the grammar, the places and the
 * answers. What clients make of it is in commands_clients, what settings do in steering.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import zlib from "node:zlib";

import { PNG, Scene, ask, assert_by_proxy, assert_well_formed, body_of, each_way, other } from
    "./lib/chats.mjs";
import { NAMES } from "./lib/protocols.mjs";
import { KEY, run, stop_all, test } from "./lib/proxy.mjs";
import { read_request } from "./lib/asked.mjs";
import { asked_in } from "./lib/chats.mjs";
import { parse } from "./lib/exact.mjs";
import { SDKS } from "./lib/sdks.mjs";

const scene = await Scene.start();
const scenes = [scene];
after(() => stop_all(...scenes));

async function scene_with(options) {
    const one = await Scene.start(options);
    scenes.push(one);
    return one;
}

/* The texts of users that an upstream got. */
const users = (up) => read_request(asked_in(up), parse(up.body), up.target).users;

/* The temperature, wherever the protocol has it. */
const temperature = (up) => up.json.temperature ?? up.json.generationConfig?.temperature;

/* ---- The guide ---- */

test("guide: a command in its form is answered by the proxy, and no backend is asked", () =>
    each_way((protocol, stream) => scene.command(protocol, "!/set(project=myproject)",
        "Project changed to myproject", { stream, session: scene.id() })));

test("guide: its request with curl enables interactive mode", async () => {
    const answer = await scene.proxy.call({ path: "/v2/chat/completions", headers: {
        Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
    body: "{\"model\":\"gpt-4\", \"messages\":[{\"role\":\"user\",\"content\":" +
        "\"!/interactive(true)\"}]}" });
    assert.equal(answer.status, 200, answer.text);
    const { id, object, model, choices, usage } = answer.json;
    assert.deepEqual({ id, object, model, usage }, { id: "proxy_cmd_processed",
        object: "chat.completion", model: "gpt-4", usage: { ...usage, prompt_tokens: 0,
            completion_tokens: 0, total_tokens: 0 } });
    assert.equal(choices.length, 1);
    assert.equal(choices[0].message.content, "Interactive mode enabled");
    assert.equal(choices[0].finish_reason, "stop");
});

test("guide: a blank after the prefix: it is text", () => each_way(async (protocol, stream) => {
    const text = "!/ set(project=myproject)";
    const up = await scene.prompt(protocol, text, { stream, session: scene.id() });
    assert.deepEqual(users(up), [text]);
}));

const INVALID = [
    ["!/set (project=myproject)", /blank|space/],
    ["!/set(project = myproject)", /=/],
    ["!/set(\"project\"=\"myproject\")", /quote/],
    ["!/set(project=myproject temperature=0.7)", /comma/],
    ["!/set(project=\"my project)", /quote/],
    ["!/set(project='my project)", /quote/],
    ["!/set(project=my project)", /./],
    ["!/set(project=myproject,)", /comma/],
    ["!/set(,project=myproject)", /comma/],
    ["!/set()", /./],
    ["!/set", /./],
];

for (const [text, what] of INVALID) {
    test(`guide: ${text} is answered with what is wrong, and changes nothing`, async () => {
        for (const [i, protocol] of NAMES.entries()) {
            const session = scene.id();
            const stream = i % 2 === 1;
            const { text: told } = await scene.command(protocol, text, /^Invalid arguments: ./,
                { stream, session });
            assert.match(told, what);
            const { json } = await scene.session(session);
            assert.doesNotMatch(JSON.stringify(json?.settings ?? json), /myproject|"my /);
        }
    });
}

const VALUES = [
    ["!/set(project=\"my project with spaces\")", "my project with spaces"],
    ["!/set(project='my project with spaces')", "my project with spaces"],
    ["!/set(project=\"a, b (c) 'd'\")", "a, b (c) 'd'"],
    ["!/set(project='say \\'hi\\', \\\\ or not')", "say 'hi', \\ or not"],
    ["!/set(project=\"two = 2\")", "two = 2"],
    ["!/set(project=a=b)", "a=b"],
    ["!/set( project=x )", "x"],
    ["!/project(name=p1)", "p1"],
    ["!/project(p2)", "p2"],
    ["!/project(\"p 3\")", "p 3"],
    ["!/set(project=ä🙂)", "ä🙂"],
];

test("guide: values with blanks are quoted; quotes hold commas, parentheses, blanks, escapes",
    async () => {
        for (const [i, [text, value]] of VALUES.entries()) {
            await scene.command(NAMES[i % 4], text, `Project changed to ${value}`,
                { session: scene.id() });
        }
    });

test("guide: arguments are separated by commas, and both hold in the next request", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        await scene.command(protocol, "!/set(project=myproject, temperature=0.7)",
            "Project changed to myproject\nTemperature set to 0.7", { stream, session });
        const up = await scene.prompt(protocol, "Hello", { stream, session });
        assert.equal(temperature(up), 0.7);
        assert.deepEqual(users(up), ["Hello"]);
    }));

test("guide: settings persist with a session id, and belong to it", async () => {
    for (const protocol of NAMES) {
        const [one, two] = [scene.id(), "client1-session1"];
        await scene.command(protocol, "!/set(temperature=0.7)", "Temperature set to 0.7",
            { session: one });
        for (const [session, wanted] of [[one, 0.7], [two, undefined], [one, 0.7]]) {
            const up = await scene.prompt(protocol, "Hello", { session });
            assert.equal(temperature(up), wanted);
            assert.equal(up.got.answer.get("x-session-id"), session);
            assert.equal(up.get("x-session-id"), undefined, "the id goes to the upstream");
        }
    }
});

test("guide: loop detection of a session, in the guide's spellings", async () => {
    const session = scene.id();
    await scene.command("openai-chat", "!/set(loop_detection_enabled=false)",
        "Loop detection disabled", { session });
    await scene.command("openai-chat",
        "!/set(tool_loop_detection_enabled=true, tool_loop_max_repeats=3)",
        "Tool call loop detection enabled\nTool call loop max repeats set to 3", { session });
    await scene.command("openai-chat", "!/set(loop-detection=true)", "Loop detection enabled",
        { session });
});

test("guide: with disable_interactive_commands nothing is looked for or removed", async () => {
    for (const options of [{ config: { disable_interactive_commands: true } },
        { config: { session: { disable_interactive_commands: true } } },
        { args: ["--disable-interactive-commands"] }]) {
        const quiet = await scene_with(options);
        for (const [i, protocol] of NAMES.entries()) {
            const turns = [{ user: "!/hello" }, { assistant: "Hi" },
                { user: "!/set(project=p)\nand !/hello then" }];
            const up = await quiet.prompt(protocol, turns, { stream: i % 2 === 1,
                session: quiet.id() });
            assert.deepEqual(users(up), ["!/hello", "!/set(project=p)\nand !/hello then"]);
        }
    }
});

/* ---- Where a command is one ---- */

const TEXTS = [
    "#!/bin/sh\nset -e\n",
    "#!/usr/bin/env python3",
    "see https://example.org/!/set(project=p) there",
    "x!/set(project=p)",
    "(!/hello)",
    "\"!/hello\"",
    "'!/set(project=p)'",
    "*!/hello*",
    "-!/hello",
    "grep -E '^!/set\\(' src",
    "/^!/hello$/",
    "!/set(project=p)x",
    "!/set(project=p)/y",
    "!/hello/world",
    "!/hello.txt",
    "!/hello:8080",
    "!/hello=1",
    "path/!/hello",
    "! /hello",
    "!//hello",
    "!/",
    "!/ ",
    "!/\nhello",
    "!/1set(project=p)",
    "!/-hello",
    "/hello",
    "a name in the middle: !/no-such-name of this line",
    "!/no-such-name(x=1) is not alone on its line",
    "Use `!/set(project=p)` for it.",
    "Use ``!/set(project=p) ` `` for it.",
    "```\n!/set(project=p)\n```",
    "Text\n```sh\n!/set(project=p)\n```\nmore",
    "~~~\n!/set(project=p)\n~~~",
    "````\n```\n!/set(project=p)\n```\n````",
    "An open fence:\n```\n!/set(project=p)",
    "[read_file for 'a.sh'] Result:\n!/set(project=p)",
    "<file_content path=\"a.md\">\n!/set(project=p)\n</file_content>",
    "Look:\n<source>\n!/set(project=p)\n!/hello\n</source>\nWhat is it?",
    "<environment_details>\n!/set(project=p)\n</environment_details>",
];

for (const [i, protocol] of NAMES.entries()) {
    test(`text stays text, to the byte: ${protocol}`, async () => {
        const session = scene.id();
        for (const [n, text] of TEXTS.entries()) {
            const up = await scene.prompt(protocol, text, { session, stream: n % 2 === i % 2 });
            assert.deepEqual(users(up), [text]);
        }
        assert.doesNotMatch((await scene.session(session)).text, /"project" ?: ?"p"/);
    });
}

const COMMANDS = [
    "!/set(temperature=0.25)", "  !/set(temperature=0.25)", "\t!/set(temperature=0.25)  ",
    "\n\n!/set(temperature=0.25)\n", "!/set(temperature=0.25).", "!/set(temperature=0.25)!",
    "!/temperature(0.25)", "!/temperature(value=0.25)", "!/set(temperature='0.25')",
    "!/set(Temperature=0.25)", "!/set(\ttemperature=0.25\t)",
    "!/set(temperature=0.5)\n!/set(temperature=0.25)",
    "!/set(temperature=0.5, temperature=0.25)",
    "<task>\n!/set(temperature=0.25)\n</task>", "<feedback>\n!/set(temperature=0.25)\n</feedback>",
    "<user_message>\n!/set(temperature=0.25)\n</user_message>",
    "<answer>\n!/set(temperature=0.25)\n</answer>",
    "<user_query>\n!/set(temperature=0.25)\n</user_query>",
];

for (const [i, protocol] of NAMES.entries()) {
    test(`a command is one: ${protocol}`, async () => {
        for (const [n, text] of COMMANDS.entries()) {
            const session = scene.id();
            const got = await scene.say(protocol, text, { session, stream: n % 2 === i % 2 });
            if (text.includes("temperature=0.5, ")) {
                assert_by_proxy(protocol, got, /./);        /* twice: either way of reading it */
                continue;
            }
            assert.equal(got.up.length, 0, JSON.stringify(text));
            assert_by_proxy(protocol, got, /Temperature set to 0\.25$/);
            assert.equal(temperature(await scene.prompt(protocol, "Hi", { session })), 0.25, text);
        }
    });
}

const RESTS = [
    ["Please use this: !/set(temperature=0.2)", "Please use this:"],
    ["Actually, !/set(temperature=0.2) nevermind.", "Actually, nevermind."],
    ["Line1\n!/set(temperature=0.2)\nLine3", "Line1\n\nLine3"],
    ["!/set(temperature=0.2) Write a poem", "Write a poem"],
    ["!/set(temperature=0.2)\nWrite a poem", "\nWrite a poem"],
    ["!/set(temperature=0.2)\r\nWrite", "\r\nWrite"],
    ["Be cool !/set(temperature=0.2), and write", "Be cool, and write"],
    ["Is it !/set(temperature=0.2)?", "Is it?"],
    ["a !/set(temperature=0.1) b !/set(temperature=0.2) c", "a b c"],
    ["😀 !/set(temperature=0.2) \"ä\" \\ \u0001", "😀 \"ä\" \\ \u0001"],
    ["```\n!/hello\n```\n!/set(temperature=0.2)\nWhat is that?", "```\n!/hello\n```\n\nWhat is that?"],
    ["Line\n    !/set(temperature=0.2)\n    code", "Line\n\n    code"],
];

for (const protocol of NAMES) {
    test(`what is left goes to the backend, with the new settings: ${protocol}`, async () => {
        for (const [n, [text, rest]] of RESTS.entries()) {
            for (const to of [protocol, other(protocol)]) {
                const up = await scene.prompt(protocol, text, { to, session: scene.id(),
                    stream: n % 2 === 1 });
                assert.deepEqual(users(up), [rest], to);
                assert.equal(temperature(up), 0.2, to);
            }
        }
    });
}

test("an image is something left; the part that becomes empty goes", () =>
    each_way(async (protocol, stream) => {
        for (const to of [protocol, other(protocol)]) {
            const up = await scene.prompt(protocol, [{ user: ["!/set(temperature=0.2)",
                { image: PNG }] }], { to, stream, session: scene.id() });
            const seen = read_request(asked_in(up), parse(up.body), up.target);
            assert.deepEqual(seen.users, []);
            assert.deepEqual(seen.images, [PNG]);
            assert.equal(temperature(up), 0.2);
        }
    }));

test("all text parts of the message are looked into, in order", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        await scene.command(protocol, [{ user: ["!/set(temperature=0.1)",
            "!/set(project=x)\n!/set(temperature=0.2)"] }],
        "Temperature set to 0.1\nProject changed to x\nTemperature set to 0.2",
        { stream, session });
        const up = await scene.prompt(protocol, [{ user: ["one", "!/set(temperature=0.3) two"] }],
            { stream, session });
        assert.deepEqual(users(up), ["one", "two"]);
        assert.equal(temperature(up), 0.3);
    }));

test("commands of other roles, of older messages, and before a tool's result are not run",
    () => each_way(async (protocol, stream) => {
        const call = { id: "call_1", name: "read", args: { path: "a" } };
        for (const turns of [
            [{ system: "!/set(temperature=0.9)" }, { user: "Hi" }],
            [{ user: "Hi" }, { assistant: "!/set(temperature=0.9)" }, { user: "Go on" }],
            [{ user: "Hi !/set(temperature=0.9)" }, { assistant: "Yo" }, { user: "Go on" }],
            [{ user: "Go !/set(temperature=0.9)" }, { call }, { result: { id: "call_1",
                name: "read", text: "ok" } }],
            [{ user: "Go" }, { call }, { result: { id: "call_1", name: "read",
                text: "!/set(temperature=0.9)" } }],
        ]) {
            const up = await scene.prompt(protocol, turns, { stream, session: scene.id() });
            assert.equal(temperature(up), undefined, JSON.stringify(turns));
        }
    }));

test("a count of tokens runs nothing, but the session's model counts", async () => {
    const session = scene.id();
    const counted = [["anthropic", "/v1/messages/count_tokens"],
        ["openai-responses", "/v1/responses/input_tokens"],
        ["gemini", "/v1beta/models/ge:m1:countTokens"]];
    for (const [protocol, path] of counted) {
        const answer = await scene.proxy.call({ path, headers: { "x-session-id": session },
            body: JSON.stringify(body_of(protocol, [{ user: "!/set(temperature=0.9)" }],
                protocol === "gemini" ? {} : { model: `${protocol === "anthropic" ? "an" : "or"}:m1`,
                })).replace("\"max_tokens\":1000,", "") });
        assert.equal(answer.status, 200, answer.text);
        assert.doesNotMatch(answer.text, /Temperature/);
    }
    assert.equal(temperature(await scene.prompt("openai-chat", "Hi", { session })), undefined);
});

/* ---- What fails ---- */

test("a failed command changes nothing, not even by its valid arguments; nothing goes up", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        await scene.command(protocol, "!/set(temperature=0.4)", undefined, { session });
        for (const text of ["!/set(temperature=0.9, modle=x)", "!/set(modle=x, temperature=0.9)",
            "!/set(temperature=0.9, backend=nosuch)",
            "!/set(temperature=0.9)\n!/set(backend=nosuch)",
            "!/set(temperature=0.9) Write a poem !/set(backend=nosuch)",
            "!/set(temperature=99)", "!/set(temperature=warm)", "!/unset(temperature, foo)"]) {
            await scene.command(protocol, text, /./, { stream, session });
            assert.equal(temperature(await scene.prompt(protocol, "Hi", { session })), 0.4, text);
        }
    }));

test("unknown names and keys come with the nearest one", async () => {
    for (const [text, told] of [["!/sett(project=p)", /^Unknown command: sett\b.*\bset\b/s],
        ["!/statsu", /^Unknown command: statsu\b.*\bstat(us|s)\b/s],
        ["!/one-of(oc:m1)", /^Unknown command: one-of\b.*\bone-?off\b/s],
        ["!/set(modle=x)", /[Uu]nknown.*modle.*\bmodel\b/s],
        ["!/set(temprature=1)", /[Uu]nknown.*temprature.*\btemperature\b/s],
        ["!/unset(temprature)", /[Uu]nknown.*temprature.*\btemperature\b/s],
        ["!/help(sett)", /[Uu]nknown command: sett\b.*\bset\b/s]]) {
        for (const protocol of NAMES) {
            await scene.command(protocol, text, told, { session: scene.id() });
        }
    }
});

test("a name that nothing is near is told too, alone on its line", () =>
    each_way((protocol, stream) => scene.command(protocol, "!/xyzzyplugh(bar=1)",
        /^Unknown command: xyzzyplugh/, { stream, session: scene.id() })));

test("without interactive mode an unknown name is text; known ones run", async () => {
    const mute = await scene_with({ config: { disable_interactive_mode: true } });
    await each_way(async (protocol, stream) => {
        const session = mute.id();
        const up = await mute.prompt(protocol, "!/foo(bar=1)", { stream, session });
        assert.deepEqual(users(up), ["!/foo(bar=1)"]);
        await mute.command(protocol, "!/set(project=p)", "Project changed to p", { session });
        await mute.command(protocol, "!/interactive(true)", "Interactive mode enabled",
            { session });
        await mute.command(protocol, "!/foo(bar=1)", /^Unknown command: foo/, { session });
        await mute.command(protocol, "!/set(interactive=off)", "Interactive mode disabled",
            { session });
        assert.deepEqual(users(await mute.prompt(protocol, "!/foo(bar=1)", { session })),
            ["!/foo(bar=1)"]);
    });
});

test("booleans in all usual spellings, and what is none", async () => {
    const session = scene.id();
    for (const word of ["true", "TRUE", "yes", "On", "1", "enabled"]) {
        await scene.command("openai-chat", `!/interactive(${word})`, "Interactive mode enabled",
            { session });
    }
    for (const word of ["false", "no", "OFF", "0", "disabled"]) {
        await scene.command("openai-chat", `!/interactive(${word})`,
            "Interactive mode disabled", { session });
    }
    await scene.command("openai-chat", "!/interactive(perhaps)", /perhaps/, { session });
});

test("values are checked against what they set", async () => {
    for (const text of ["!/set(backend=nosuch)", "!/backend(nosuch)", "!/set(model=nosuch:m)",
        "!/set(default-backend=nosuch)", "!/oneoff(nosuch:m)", "!/oneoff()", "!/oneoff",
        "!/set(temperature=-1)", "!/set(temperature=2.5)", "!/set(temperature=0.5x)",
        "!/set(temperature=nan)", "!/set(reasoning-effort=extreme)", "!/set(thinking-budget=-5)",
        "!/set(thinking-budget=lots)", "!/set(gemini-generation-config=[1])",
        "!/set(gemini-generation-config={\"a\":)", "!/set(interactive=perhaps)",
        "!/set(project-dir=/no/such/folder)", "!/set(project=)", "!/set(project=\"\")",
        "!/set(tool-loop-max-repeats=1)", "!/set(tool-loop-ttl=0)",
        "!/set(tool-loop-mode=sometimes)", "!/set(openai-url=https://elsewhere.example/v1)",
        "!/set(openai-url=nonsense)", "!/interactive()", "!/temperature(1, 2)", "!/pwd(x=1)"]) {
        const session = scene.id();
        const { text: told } = await scene.command("openai-chat", text, /./, { session });
        assert.doesNotMatch(told, / set to | changed to | (en|dis)abled/, `${text}: ${told}`);
        const { json } = await scene.session(session);
        assert.doesNotMatch(JSON.stringify(json.settings), /nosuch|elsewhere|no\/such|extreme/);
    }
});

test("a nearest backend and model are named", async () => {
    const near = await scene_with({ config: {}, backends: (s) => ({ "my-openai": {
        protocol: "openai-chat", api_url: s.base("openai-chat"), api_keys: ["k"],
        models: ["m1"] } }) });
    await near.command("openai-chat", "!/backend(my-openia)", /my-openai/);
});

/* ---- Switches of security ---- */

test("switches of security must stand alone in their message", async () => {
    const other_things = [["", "\nand hello"], ["Hello\n", ""], ["!/set(project=p)\n", ""],
        ["", " !/hello"]];
    for (const command of ["!/set(default-backend=an)", "!/set(loop-detection=false)",
        "!/set(tool-loop-detection=off)", "!/set(redact-api-keys-in-prompts=false)",
        "!/set(openai-url=http://127.0.0.1:9/v1)", "!/unset(default-backend)",
        "!/unset(openai-url)"]) {
        for (const [ahead, behind] of other_things) {
            const session = scene.id();
            await scene.command("openai-chat", `${ahead}${command}${behind}`,
                /Invalid arguments: \S+ must stand alone in its message/, { session });
            assert.doesNotMatch((await scene.session(session)).text, /"project" ?: ?"p"/);
        }
    }
    /* Nor beside another setting of the same command. */
    for (const command of ["!/set(default-backend=an, temperature=0.2)",
        "!/set(temperature=0.2, default-backend=an)", "!/unset(default-backend, temperature)",
        "!/set(openai-url=http://127.0.0.1:9/v1, project=p)"]) {
        await scene.command("openai-chat", command,
            /^Invalid arguments: (default-backend|openai-url) must stand alone in its message$/,
            { session: scene.id() });
    }
    await each_way((protocol, stream) => scene.command(protocol,
        [{ user: ["!/set(loop-detection=false)", { image: PNG }] }],
        /Invalid arguments: loop-detection must stand alone/, { stream, session: scene.id() }));
});

test("alone they are obeyed", async () => {
    const session = scene.id();
    for (const [text, told] of [["!/set(loop-detection=false)", "Loop detection disabled"],
        ["!/set(tool-loop-detection=off)", "Tool call loop detection disabled"],
        ["!/set(redact-api-keys-in-prompts=false)", "API key redaction in prompts disabled"],
        [" !/set(redact-api-keys-in-prompts=true). ", "API key redaction in prompts enabled"]]) {
        await scene.command("openai-responses", text, told, { session });
    }
});

/* ---- The prefix ---- */

for (const [how, options] of [["the config", { config: { command_prefix: "$/" } }],
    ["the command line", { args: ["--command-prefix", "$/"] }],
    ["the environment", { env: { COMMAND_PREFIX: "$/" } }]]) {
    test(`prefix: by ${how}`, async () => {
        const one = await scene_with(options);
        await each_way(async (protocol, stream) => {
            const session = one.id();
            await one.command(protocol, "$/set(project=z)", "Project changed to z",
                { stream, session });
            const up = await one.prompt(protocol, "$/set(temperature=0.5) hello !/set(project=q)",
                { stream, session });
            assert.deepEqual(users(up), ["hello !/set(project=q)"]);
            assert.equal(temperature(up), 0.5);
        });
    });
}

test("prefix: of a session, and no other's; unset, it is the configured one again", async () => {
    for (const protocol of NAMES) {
        const [session, elsewhere] = [scene.id(), scene.id()];
        await scene.command(protocol, "!/set(command-prefix=%%:)",
            "Command prefix changed to %%:", { session });
        await scene.command(protocol, "%%:set(project=p)", "Project changed to p", { session });
        assert.deepEqual(users(await scene.prompt(protocol, "!/hello", { session })),
            ["!/hello"]);
        await scene.command(protocol, "!/hello", /./, { session: elsewhere });
        await scene.command(protocol, "%%:unset(command-prefix)", /!\//, { session });
        await scene.command(protocol, "!/pwd", "Project directory not set", { session });
    }
});

const WRONG_PREFIXES = ["!", "!!", "a b", "!/234567890", "!\u0007"];

test("prefix: wrong ones are refused, by the command and at the start", async () => {
    const session = scene.id();
    for (const prefix of ["", ...WRONG_PREFIXES]) {
        await scene.command("openai-chat", `!/set(command-prefix="${prefix}")`, /prefix/i,
            { session });
        await scene.command("openai-chat", "!/pwd", "Project directory not set", { session });
    }
    for (const prefix of WRONG_PREFIXES) {
        const { code, all } = await run(["--command-prefix", prefix, "--check-config"]);
        assert.notEqual(code, 0, JSON.stringify(prefix));
        assert.match(all, /prefix/);
        const checked = await run(["--check-config"], { config: { command_prefix: prefix } });
        assert.equal(checked.code, 1, checked.all);
        assert.match(checked.all, /command_prefix/);
    }
    await scene.command("openai-chat", "!/set(command-prefix=\"1234567890\")",
        "Command prefix changed to 1234567890", { session });
    await scene.command("openai-chat", "1234567890pwd", "Project directory not set", { session });
});

/* ---- Projects ---- */

test("force_set_project: no backend is asked before a project is set", async () => {
    for (const options of [{ config: { force_set_project: true } },
        { config: { session: { force_set_project: true } } }, { args: ["--force-set-project"] }]) {
        const strict = await scene_with(options);
        await each_way(async (protocol, stream) => {
            const session = strict.id();
            const refused = await strict.say(protocol, "Hello", { stream, session });
            assert.equal(refused.status, 400, refused.answer.text);
            assert.equal(refused.error.message,
                "Project name not set. Use !/set(project=<name>) before sending prompts.");
            assert.equal(refused.up.length, 0);
            const { type, status } = refused.error;
            assert.equal(type ?? status, protocol === "gemini" ? "INVALID_ARGUMENT" :
                "invalid_request_error");
            await strict.command(protocol, "!/pwd", undefined, { stream, session });
            const up = await strict.prompt(protocol, "!/set(project=p) Hello", { stream, session });
            assert.deepEqual(users(up), ["Hello"]);
            await strict.prompt(protocol, "Hello", { stream, session });
        });
    }
});

test("project-dir: pwd tells it; a folder that is not there is refused", async () => {
    const session = scene.id();
    await scene.command("anthropic", "!/pwd", "Project directory not set", { session });
    await scene.command("anthropic", `!/set(project-dir=${scene.proxy.dir})`,
        `Project directory set to ${scene.proxy.dir}`, { session });
    await scene.command("anthropic", "!/pwd", scene.proxy.dir, { session });
    await scene.command("anthropic", "!/project-dir(/no/such/folder)", /\/no\/such\/folder/,
        { session });
    await scene.command("anthropic", "!/pwd", scene.proxy.dir, { session });
});

/* ---- What is told ---- */

test("hello: name, session, functional backends, where help is", () =>
    each_way(async (protocol, stream) => {
        const session = scene.id();
        const { text } = await scene.command(protocol, "!/hello", /llm-proxy/i,
            { stream, session });
        for (const part of [session, "oc", "or", "an", "ge", "!/help"]) {
            assert.ok(text.includes(part), `${part} in ${text}`);
        }
    }));

test("help: lists every command of the contract; help of one shows its use", async () => {
    const { text } = await scene.command("gemini", "!/help", /./);
    for (const name of ["help", "hello", "set", "unset", "interactive", "backend", "model",
        "temperature", "project", "project-dir", "pwd", "oneoff", "status", "stats"]) {
        assert.match(text, new RegExp(`\\b${name}\\b`));
        const one = await scene.command("gemini", `!/help(${name})`, new RegExp(name));
        assert.match(one.text, new RegExp(`!/${name}`), "usage or an example");
    }
});

test("status: what is in force, and from where; stats: what the session did", async () => {
    for (const protocol of NAMES) {
        const session = scene.id();
        await scene.command(protocol, "!/set(temperature=0.35, model=an:special-model)",
            undefined, { session });
        const { text } = await scene.command(protocol, "!/status", /0\.35/, { session });
        assert.match(text, /special-model/);
        assert.match(text, /session/);
        await scene.prompt(protocol, "Hello", { session });
        await scene.proxy.counted();
        await scene.command(protocol, "!/stats", /\b1\b/, { session });
    }
});

test("docs/COMMANDS.md: every command of the contract", async () => {
    const { code, stdout } = await run(["--manual", "COMMANDS"]);
    assert.equal(code, 0);
    for (const name of ["help", "hello", "set", "unset", "interactive", "oneoff", "status"]) {
        assert.match(stdout, new RegExp(`!/${name}\\b|\`${name}`));
    }
    for (const text of ["Backend changed to", "Model changed to", "Project changed to",
        "Temperature set to", "Interactive mode enabled", "Loop detection disabled",
        "Tool call loop max repeats set to"]) {
        assert.ok(stdout.includes(text), text);
    }
});

/* ---- Forms of the request ---- */

const escaped = (body, ...pairs) => pairs.reduce((text, [from, to]) => text.replaceAll(from, to),
    JSON.stringify(body));

test("a prefix and a name with escaped characters are what they mean", () =>
    each_way(async (protocol, stream) => {
        for (const pairs of [[["!/", "\\u0021\\/"]], [["!/", "!\\/"]], [["!/", "\\u0021/"]],
            [["!/", "!\\u002f"]], [["!/set", "!\\u002F\\u0073et"]]]) {
            const session = scene.id();
            const target = `${{ "openai-chat": "oc", "openai-responses": "or", anthropic: "an",
                gemini: "ge" }[protocol]}:m1`;
            const send = (text) => scene.asked(async () => {
                const body = body_of(protocol, [{ user: text }], protocol === "gemini" ? {} :
                    { model: target, ...(stream ? { stream: true } : {}), ...(stream &&
                        protocol === "openai-chat" ? { stream_options: { include_usage: true } } :
                        {}) });
                got = await ask(scene.proxy, protocol, escaped(body, ...pairs),
                    { stream, session, model: target });
            });
            let got;
            assert.equal((await send("!/set(temperature=0.6)")).length, 0);
            assert_by_proxy(protocol, got, "Temperature set to 0.6");
            const [up] = await send("a !/set(temperature=0.3) b");
            assert.deepEqual(users(up), ["a b"]);
            assert.equal(temperature(up), 0.3);
        }
    }));

test("gzip bodies", () => each_way(async (protocol, stream) => {
    const session = scene.id();
    const send = async (text) => {
        let got;
        const up = await scene.asked(async () => {
            const body = body_of(protocol, [{ user: text }], protocol === "gemini" ? {} :
                { model: "m1", ...(stream ? { stream: true } : {}), ...(stream &&
                    protocol === "openai-chat" ? { stream_options: { include_usage: true } } :
                    {}) });
            got = await ask(scene.proxy, protocol, zlib.gzipSync(JSON.stringify(body)),
                { stream, session, headers: { "content-encoding": "gzip" } });
        });
        return { up, got };
    };
    const { up: none, got } = await send("!/set(temperature=0.6)");
    assert.equal(none.length, 0);
    assert_by_proxy(protocol, got, "Temperature set to 0.6");
    const { up: [up] } = await send("!/set(project=p) Hello");
    assert.deepEqual(users(up), ["Hello"]);
    assert.equal(temperature(up), 0.6);
}));

test("bodies of more than 1 MiB: a command behind, before and amid much text", async () => {
    const much = "Much text, with #!/bin/sh and 1!/2 in it.\n".repeat(30_000);
    for (const [i, protocol] of NAMES.entries()) {
        for (const to of [protocol, other(protocol)]) {
            const up = await scene.prompt(protocol, `${much}!/set(temperature=0.2)\n${much}`,
                { to, session: scene.id(), stream: i % 2 === 1 });
            assert.equal(temperature(up), 0.2);
            assert.ok(users(up)[0] === `${much}\n${much}`, "the text is another");
        }
        await scene.command(protocol, [{ user: "Read" }, { assistant: much },
            { user: "!/set(temperature=0.2)" }], "Temperature set to 0.2", { session: scene.id() });
    }
});

test("Gemini's stream as an array", async () => {
    const session = scene.id();
    await scene.command("gemini", "!/set(temperature=0.2)", "Temperature set to 0.2",
        { stream: true, array: true, session });
    const up = await scene.prompt("gemini", "!/set(project=p) Hello",
        { stream: true, array: true, session });
    assert.deepEqual(users(up), ["Hello"]);
});

test("paths of /v2 and of /anthropic are the same", async () => {
    for (const [protocol, path] of [["openai-chat", "/v2/chat/completions"],
        ["openai-responses", "/v2/responses"], ["anthropic", "/v2/messages"],
        ["anthropic", "/anthropic/v1/messages"], ["gemini", "/v1/models/m1:generateContent"]]) {
        const session = scene.id();
        await scene.command(protocol, "!/set(temperature=0.2)", "Temperature set to 0.2",
            { path, session });
        assert.equal(temperature(await scene.prompt(protocol, "Hello", { path, session })), 0.2);
    }
});

test("the answer's model is the one that the request names", () =>
    each_way(async (protocol, stream) => {
        const got = await scene.command(protocol, "!/pwd", undefined,
            { stream, model: "an:my-model" });
        assert.equal(got.model, "an:my-model");
    }));

test("a command needs neither a backend that answers nor a model that exists", async () => {
    const dead = await scene_with({ config: { default_backend: "dead" }, backends: () => ({
        dead: { protocol: "openai-chat", api_url: "http://127.0.0.1:9/v1", api_keys: ["k"] } }) });
    await each_way((protocol, stream) => dead.command(protocol, "!/set(project=p)",
        "Project changed to p", { stream, model: "nothing-of-the-kind" }));
});

/* ---- The vendors' packages ---- */

const next_user = (sdk, text) => sdk.protocol === "gemini" ? { role: "user", parts: [{ text }] } :
    { role: "user", content: text };
const SHORTS = { "openai-chat": "oc", "openai-responses": "or", anthropic: "an", gemini: "ge" };

for (const sdk of SDKS) {
    for (const streamed of [false, true]) {
        test(`package: ${sdk.name}${streamed ? ", streamed" : ""}: a chat with commands, without ` +
            "any header", { skip: sdk.there ? false : "the package is not installed" },
        async () => {
            const prompt = `!/set(temperature=0.15, project=${sdk.protocol}${streamed})`;
            const talk = new sdk.Talk(scene.proxy, `${SHORTS[sdk.protocol]}:m1`, { prompt });
            const none = await scene.asked(async () => {
                const turn = await talk.turn(streamed);
                assert.equal(turn.text, `Temperature set to 0.15\nProject changed to ${
                    sdk.protocol}${streamed}`);
                assert.equal(turn.finish, sdk.finish.end);
                assert.deepEqual([turn.usage.input, turn.usage.output], [0, 0]);
            });
            assert.equal(none.length, 0);
            talk.history.push(next_user(sdk, "Hello there"));
            const [up] = await scene.asked(() => talk.turn(streamed));
            assert.deepEqual(users(up), ["Hello there"]);
            assert.equal(temperature(up), 0.15);
            assert.doesNotMatch(up.body.toString(), /!\/|Temperature set/);
            talk.history.push(next_user(sdk, "!/unset(temperature) And now?"));
            const [last] = await scene.asked(() => talk.turn(streamed));
            assert.deepEqual(users(last), ["Hello there", "And now?"]);
            assert.equal(temperature(last), undefined);
        });
    }
}

test("ordinary answers are well-formed and no command's", () =>
    each_way(async (protocol, stream) => {
        const { got } = await scene.prompt(protocol, "Hello", { stream });
        assert.doesNotMatch(got.id, /proxy_cmd/);
        assert_well_formed(protocol, got);
    }));
