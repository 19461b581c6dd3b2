/* SPDX-License-Identifier: MIT */
/*
 * Commands as users of real clients type them: what agents wrap around them, what they take as an
 * answer, and how a conversation goes on that has had commands in it.
 */
import assert from "node:assert/strict";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { Scene, asked_in, assert_by_proxy, assert_well_formed, body_of, each_way, model_asked, other,
    tool_of } from "./lib/chats.mjs";
import { parse } from "./lib/exact.mjs";
import { PROGRAMS } from "./lib/programs.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { stop_all, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";
import { read_answer } from "./lib/read.mjs";

const scene = await Scene.start();
after(() => stop_all(scene));

const seen_by = (up) => read_request(asked_in(up), parse(up.body), up.target);
const users = (up) => seen_by(up).users;
const temperature = (up) => up.json.temperature ?? up.json.generationConfig?.temperature;
/* Gemini wants its tools in one. */
const tools_of = (protocol, ...names) => ({ tools: names.map((name) => tool_of(protocol, name)) });

/* ---- Cline and Roo Code ---- */

const DETAILS = "<environment_details>\n# VSCode Visible Files\nsrc/a.sh\n\n# Current Time\n" +
    "22/11/2026, 9:00 PM\n!/set(project=details)\n</environment_details>";
const AGENTS = [
    ["Cline", "You are Cline, a highly skilled software engineer with extensive knowledge in many " +
        "programming languages.\n\n====\n\nTOOL USE\n\nYou have access to a set of tools.\n\n" +
        "## attempt_completion\nUsage:\n<attempt_completion>\n<result>\nYour final result here\n" +
        "</result>\n</attempt_completion>"],
    ["Roo", "You are Roo, a highly skilled software engineer.\n\n====\n\nTOOL USE\n\n" +
        "## attempt_completion\n<attempt_completion>\n<result>\n\n</result>\n" +
        "</attempt_completion>"],
];

/* The proxy's answer as a call of attempt_completion. */
function completion_of(protocol, got, text) {
    assert.equal(got.status, 200, got.answer.text);
    assert.match(got.id, /^(msg_)?proxy_cmd_processed$/);
    assert.equal(got.reading.stop, "tool_use");
    assert.equal(got.reading.tools.length, 1, got.answer.text);
    const [call] = got.reading.tools;
    assert.equal(call.name, "attempt_completion");
    assert.deepEqual(JSON.parse(call.arguments), { result: text });
    assert_well_formed(protocol, got);
    return call;
}

for (const [agent, system] of AGENTS) {
    test(`${agent} with tools: the answer is its attempt_completion, and the next turn goes on ` +
        "without command, answer and result", () => each_way(async (protocol, stream) => {
        const more = tools_of(protocol, "execute_command", "attempt_completion");
        const options = { stream, more, session: scene.id() };
        const task = { user: ["<task>\n!/set(temperature=0.2)\n</task>", DETAILS] };
        const got = await scene.say(protocol, [{ system }, task], options);
        assert.equal(got.up.length, 0);
        const told = completion_of(protocol, got, "Temperature set to 0.2");
        const id = told.id ?? "call_none";
        assert.match(id, /^call_[0-9a-f]{24}$/);
        const call = { id, name: "attempt_completion", args: JSON.parse(told.arguments) };
        const result = { id, name: call.name, text: "The user has seen it." };
        for (const to of [protocol, other(protocol)]) {
            for (const behind of [[{ result }, { user: ["Write a poem", DETAILS] }],
                ...(protocol === "anthropic" || protocol === "gemini" ?
                    [[{ user: [{ result }, "Write a poem", DETAILS] }]] : [])]) {
                const up = await scene.prompt(protocol, [{ system }, task, { call }, ...behind],
                    { ...options, to });
                const seen = seen_by(up);
                /* Parts become one text where a protocol's message has only one. */
                assert.equal(seen.users.join("\n\n"), `Write a poem\n\n${DETAILS}`);
                assert.deepEqual(seen.calls, []);
                assert.deepEqual(seen.results, []);
                assert.equal(temperature(up), 0.2);
            }
        }
        const { json } = await scene.session(options.session);
        assert.doesNotMatch(JSON.stringify(json.settings ?? json), /"project":"details"/);
    }));

    test(`${agent} with tools: what the user answers as the result of our call is the user's text, ` +
        "and commands in it are text", () => each_way(async (protocol, stream) => {
        const more = tools_of(protocol, "attempt_completion");
        const id = "call_0123456789abcdef01234567";
        const call = { id, name: "attempt_completion", args: { result: "Temperature set to 0.2" } };
        const text = "The user has provided feedback on the results.\n<feedback>\n" +
            "Write a poem\n!/set(temperature=0.9)\n</feedback>";
        for (const ahead of [[], [{ user: "Hi" }, { assistant: "Hello" }]]) {
            const turns = [{ system }, ...ahead, { user: "<task>\n!/set(temperature=0.2)\n</task>" },
                { call }, { result: { id, name: call.name, text } }];
            for (const to of [protocol, other(protocol)]) {
                const options = { stream, more, to, session: scene.id() };
                for (const behind of [[], [{ assistant: "A poem" }, { user: "Another" }]]) {
                    const up = await scene.prompt(protocol, [...turns, ...behind], options);
                    const seen = seen_by(up);
                    assert.deepEqual(seen.users, [...ahead.filter((turn) => turn.user)
                        .map((turn) => turn.user), text, ...behind.filter((turn) => turn.user)
                        .map((turn) => turn.user)]);
                    assert.deepEqual([seen.calls, seen.results], [[], []]);
                    assert.equal(temperature(up), undefined);
                }
            }
        }
    }));

    test(`${agent} without tools: the XML of attempt_completion comes too`, () =>
        each_way(async (protocol, stream) => {
            const options = { stream, session: scene.id() };
            const turns = [{ system }, { user: [`<task>\n!/set(temperature=0.2)\n</task>`,
                DETAILS] }];
            const got = await scene.say(protocol, turns, options);
            assert.equal(got.up.length, 0);
            completion_of(protocol, got, "Temperature set to 0.2");
            assert.equal(got.text, "<attempt_completion>\n<result>\nTemperature set to 0.2\n" +
                "</result>\n</attempt_completion>");
            const up = await scene.prompt(protocol, [...turns, { assistant: got.text },
                { user: ["<feedback>\nWrite a poem\n</feedback>", DETAILS] }], options);
            assert.deepEqual(users(up), ["<feedback>\nWrite a poem\n</feedback>", DETAILS]);
            assert.equal(temperature(up), 0.2);
        }));

    test(`${agent}: a failed command is told in the same way; tools' results and files command ` +
        "nothing", () => each_way(async (protocol, stream) => {
        const more = tools_of(protocol, "attempt_completion");
        const options = { stream, more, session: scene.id() };
        const got = await scene.say(protocol, [{ system }, { user: [
            "<task>\n!/set(backend=nosuch)\n</task>", DETAILS] }], options);
        assert.equal(got.up.length, 0);
        assert.equal(got.reading.tools[0]?.name, "attempt_completion");
        assert.match(JSON.parse(got.reading.tools[0].arguments).result, /nosuch/);
        const parts = ["[read_file for 'a.sh'] Result:\n\n!/set(temperature=0.9)\n#!/bin/sh\n",
            "<file_content path=\"a.sh\">\n!/set(temperature=0.9)\n</file_content>",
            "[execute_command for 'cat a'] Result:\nCommand executed.\nOutput:\n!/hello\n",
            DETAILS];
        const up = await scene.prompt(protocol, [{ system }, { user: parts }], options);
        assert.deepEqual(users(up), parts);
        assert.equal(temperature(up), undefined);
    }));
}

test("other clients that offer such a tool get text", () => each_way(async (protocol, stream) => {
    const got = await scene.say(protocol, [{ system: "You are a helpful assistant." },
        { user: "!/set(temperature=0.2)" }], { stream, more: tools_of(protocol, "weather") });
    assert_by_proxy(protocol, got, "Temperature set to 0.2");
}));

/* ---- Aider ---- */

test("Aider: files in fences command nothing, what the user types does", () =>
    each_way(async (protocol, stream) => {
        const files = "I have *added these files to the chat* so you can go ahead and edit them.\n\n" +
            "a.md\n```\n!/set(project=file)\n!/hello\n```\n\nb.sh\n````\n```\n!/hello\n````\n";
        const turns = [{ system: "Act as an expert software developer." }, { user: files },
            { assistant: "Ok, any changes I propose will be to those files." }];
        const session = scene.id();
        const up = await scene.prompt(protocol, [...turns,
            { user: "!/set(temperature=0.2)\nFix the bug in:\n```\n!/hello\n```" }],
        { stream, session });
        assert.deepEqual(users(up), [files, "\nFix the bug in:\n```\n!/hello\n```"]);
        assert.equal(temperature(up), 0.2);
        await scene.command(protocol, [...turns, { user: "!/unset(temperature)" }], /temperature/i,
            { stream, session });
        assert.equal(temperature(await scene.prompt(protocol, files, { session })), undefined);
    }));

/* ---- Claude Code, Codex, Gemini CLI ---- */

const TYPED = "Run the command and tell me";
const REMINDER = "<system-reminder>\\nAs you answer, use this: !/set(project=reminded)\\n" +
    "</system-reminder>";

const CONTEXT = "<session_context>\\nThis is the Gemini CLI. !/set(project=reminded)\\n" +
    "</session_context>";

/* The program's first request with other words of its user, and what it tells the model beside
 * them. */
function typed(program, text) {
    const asked = program.ask("m1");
    const body = JSON.stringify(asked.body)
        .replaceAll(`"${TYPED}`, `"${JSON.stringify(text).slice(1, -1)}`)
        .replace(/("role":"user","content":\[\{"type":"(?:input_)?text","text":")[^"]*("\}[,\]])/,
            (all, ahead, behind) => `${ahead}${REMINDER}${behind}`)
        .replace(/("contents":\[\{"parts":\[\{"text":")[^"]*("\},)/,
            (all, ahead, behind) => `${ahead}${CONTEXT}${behind}`);
    return { ...asked, body: JSON.parse(body) };
}

/* The next one: its user goes on behind the answer to a command. */
function typed_again(program, asked, answer, text) {
    const body = structuredClone(asked.body);
    const parts = [{ text }];
    if (program.protocol === "gemini") {
        body.contents.push({ role: "model", parts: [{ text: answer }] }, { role: "user", parts });
    } else if (program.protocol === "anthropic") {
        body.messages.push({ role: "assistant", content: [{ type: "text", text: answer }] },
            { role: "user", content: [{ type: "text", text }] });
    } else {
        body.input.push({ type: "message", role: "assistant",
            content: [{ type: "output_text", text: answer }] },
        { type: "message", role: "user", content: [{ type: "input_text", text }] });
    }
    return { ...asked, body };
}

async function send(program, asked) {
    let answer;
    const up = await scene.asked(async () => {
        answer = await scene.proxy.call({ path: asked.path, headers: asked.headers,
            body: JSON.stringify(asked.body) });
    });
    assert.equal(answer.status, 200, answer.text);
    return { up, answer, reading: read_answer(program.protocol, answer.body,
        answer.get("content-type")) };
}

for (const program of PROGRAMS) {
    test(`${program.name}: a command is answered, and its session keeps what it set`, async () => {
        const model = `${PROTOCOLS[program.protocol].short}:special-model`;
        const command = `!/set(model=${model}, project=${program.short})`;
        const first = await send(program, typed(program, command));
        assert.equal(first.up.length, 0, "the command went to a backend");
        assert.match(first.reading.text, /special-model/);
        const id = first.answer.get("x-session-id");
        const { text } = await scene.session(id);
        assert.match(text, new RegExp(`"project" ?: ?"${program.short}"`));
        assert.doesNotMatch(text, /"project" ?: ?"reminded"/);
        if (program.short !== "gemini-cli") {       /* a chat that begins anew begins anew */
            const second = await send(program, typed(program, "Hello"));
            assert.equal(second.answer.get("x-session-id"), id);
            assert.equal(second.up.length, 1);
            assert.equal(model_asked(second.up[0]), "special-model");
        }
    });
}

for (const program of PROGRAMS) {
    test(`${program.name}: what it tells the model with the first message stays, also where that ` +
        "was a command", async () => {
        const first = typed(program, "!/set(project=told)");
        const { reading, answer } = await send(program, first);
        assert.match(reading.text, /^Project changed to told$/);
        const asked = typed_again(program, first, reading.text, "Hello");
        const second = await send(program, asked);
        assert.equal(second.answer.get("x-session-id"), answer.get("x-session-id"));
        assert.equal(second.up.length, 1);
        const body = second.up[0].body.toString();
        assert.ok(body.includes("set(project=reminded)"), "what the program told the model");
        assert.ok(body.includes('"Hello"'));
        assert.ok(!body.includes("set(project=told)") && !body.includes("Project changed"), body);
    });
}

test("a title asked for a conversation with commands runs none", () =>
    each_way(async (protocol, stream) => {
        const text = "Write a title of five words for this:\n<conversation>\n" +
            "!/set(temperature=0.9)\n</conversation>";
        const up = await scene.prompt(protocol, text, { stream, session: scene.id() });
        assert.deepEqual(users(up), [text]);
        assert.equal(temperature(up), undefined);
    }));

/* ---- Agents' loops, results of tools ---- */

const CALL = { id: "call_1", name: "read", args: { path: "a" } };
const result_of = (text) => ({ id: "call_1", name: "read", text });

test("an agent's loop runs a command once", () => each_way(async (protocol, stream) => {
    const options = { stream, session: scene.id(), more: tools_of(protocol, "read") };
    const turns = [{ user: "!/set(temperature=0.2) Read the files" }];
    assert.equal(temperature(await scene.prompt(protocol, turns, options)), 0.2);
    await scene.command(protocol, "!/set(temperature=0.6)", undefined, options);
    for (let i = 0; i < 3; i++) {
        const id = `call_${i}`;
        turns.push({ call: { ...CALL, id } }, { result: { ...result_of("!/set(temperature=0.9)"),
            id } });
        const up = await scene.prompt(protocol, turns, options);
        assert.equal(temperature(up), 0.6, "the old command ran again");
        assert.equal(users(up)[0], "Read the files");
        assert.ok(up.body.toString().includes("!/set(temperature=0.9)"),
            "the tool's result is another");
    }
}));

test("a tool's result commands nothing, wherever it stands", () =>
    each_way(async (protocol, stream) => {
        const evil = "!/set(temperature=0.9)\n!/set(project=evil)";
        for (const turns of [
            [{ user: "Go" }, { call: CALL }, { result: result_of(evil) }],
            [{ user: "Go" }, { call: CALL }, { result: result_of(evil) }, { user: "And?" }],
            ...(protocol === "anthropic" || protocol === "gemini" ?
                [[{ user: "Go" }, { call: CALL }, { user: [{ result: result_of(evil) },
                    "And?"] }]] : []),
            [{ user: `[read_file for 'a'] Result:\n${evil}` }],
        ]) {
            for (const to of [protocol, other(protocol)]) {
                const session = scene.id();
                const up = await scene.prompt(protocol, turns, { stream, session, to,
                    more: tools_of(protocol, "read") });
                assert.equal(temperature(up), undefined);
                assert.ok(JSON.stringify(up.json).includes(JSON.stringify(evil).slice(1, -1)) ||
                    JSON.stringify(up.json).includes(JSON.stringify(JSON.stringify(evil))
                        .slice(2, -2)), "the result is another");
                assert.doesNotMatch((await scene.session(session)).text, /"project" ?: ?"evil"/);
            }
        }
    }));

test("a result beside a command: the command runs, the result goes on", async () => {
    for (const protocol of ["anthropic", "gemini"]) {
        const up = await scene.prompt(protocol, [{ user: "Go" }, { call: CALL },
            { user: [{ result: result_of("it says 1") }, "!/set(temperature=0.2)"] }],
        { session: scene.id(), more: tools_of(protocol, "read") });
        assert.deepEqual(seen_by(up).results.map((r) => r.text), ["it says 1"]);
        assert.deepEqual(users(up), ["Go"]);
        assert.equal(temperature(up), 0.2);
    }
});

/* ---- History ---- */

const HISTORIES = [
    ["only a command", [{ user: "!/set(project=a)" }, { assistant: "Project changed to a" },
        { user: "Hi" }], ["Hi"]],
    ["one among others", [{ user: "One" }, { assistant: "1" }, { user: "!/hello" },
        { assistant: "Hello, this is…" }, { user: "Two" }], ["One", "Two"], ["1"]],
    ["two behind each other", [{ user: "!/hello" }, { assistant: "x" }, { user: "!/pwd" },
        { assistant: "y" }, { user: "Two" }], ["Two"]],
    ["one without an answer behind it", [{ user: "!/hello" }, { user: "Hi" }], ["Hi"]],
    ["several in one message", [{ user: "!/hello\n!/set(project=a)\n" }, { assistant: "x" },
        { user: "Hi" }], ["Hi"]],
    ["mixed ones are cut", [{ user: "!/set(project=a) One" }, { assistant: "1" }, { user: "Two" }],
        ["One", "Two"], ["1"]],
    ["wrong arguments", [{ user: "!/set (project=a)" }, { assistant: "Invalid arguments: …" },
        { user: "Hi" }], ["Hi"]],
    ["unknown names alone on their line", [{ user: "!/foo(bar=1)" },
        { assistant: "Unknown command: foo" }, { user: "Hi" }], ["Hi"]],
    ["in parts", [{ user: ["!/set(project=a)", "One"] }, { assistant: "1" },
        { user: ["!/pwd"] }, { assistant: "x" }, { user: "Two" }], ["One", "Two"], ["1"]],
    ["text that is none stays", [{ user: "#!/bin/sh\n`!/hello`" }, { assistant: "!/hello" },
        { user: "Hi" }], ["#!/bin/sh\n`!/hello`", "Hi"], ["!/hello"]],
    ["with a newest command", [{ user: "!/set(project=a)" }, { assistant: "x" },
        { user: "!/set(project=b) Hi" }], ["Hi"]],
    ["a new prefix from where it was set", [{ user: "!/set(command-prefix=$/)" },
        { assistant: "x" }, { user: "$/pwd" }, { assistant: "y" },
        { user: "!/pwd is text" }, { assistant: "z" }, { user: "Hi" }],
    ["!/pwd is text", "Hi"], ["z"]],
];

for (const [what, turns, wanted, said = []] of HISTORIES) {
    test(`history: ${what}`, () => each_way(async (protocol, stream) => {
        for (const to of [protocol, other(protocol)]) {
            const session = scene.id();
            const up = await scene.prompt(protocol, turns, { stream, to, session });
            assert.deepEqual(users(up), wanted, to);
            const body = up.body.toString();
            for (const { assistant } of turns.filter((turn) => turn.assistant)) {
                assert.equal(body.includes(JSON.stringify(assistant)), said.includes(assistant),
                    `${assistant} of ${body}`);
            }
        }
    }));
}

test("history: what is left of a conversation is the same each time, to the byte", async (t) => {
    const rng = random("history");
    t.diagnostic(`SEED=${SEED}`);
    const list_key = { "openai-chat": "messages", "openai-responses": "input",
        anthropic: "messages", gemini: "contents" };
    const pure = ["!/set(project=p)", "!/hello", "!/status\n!/pwd", "!/foo(bar)", "!/set (x=1)"];
    const mixed = ["!/set(project=p) Please", "Is it !/set(temperature=0.2)?",
        "Line\n!/temperature(0.3)\nLine", "a !/pwd, b"];
    const plain = ["Hello", "#!/bin/sh\n`!/hello`", "```\n!/hello\n```", "ä 🙂 \"q\""];
    for (const protocol of NAMES) {
        for (const to of [protocol, other(protocol)]) {
            const session = scene.id();
            const turns = [];
            let before = "";
            for (let i = 0; i < 14; i++) {
                const kind = i % 2 === 0 ? plain : rng.pick([pure, mixed, plain]);
                const text = rng.pick(kind);
                turns.push({ user: rng.below(3) === 0 ? [text] : text });
                const got = await scene.say(protocol, turns, { to, session,
                    stream: rng.below(2) === 1 });
                assert.equal(got.status, 200, got.answer.text);
                turns.push({ assistant: got.text });
                if (got.up.length === 0) {
                    assert.equal(kind, pure);
                    continue;
                }
                const body = got.up[0].body.toString();
                const list = body.slice(body.indexOf(`"${list_key[to]}":`));
                assert.ok(list.startsWith(before),
                    `${protocol} to ${to}:\n${before}\nis not how this begins:\n${list}`);
                const { length } = JSON.stringify(got.up[0].json[list_key[to]]);
                before = to === protocol ? list.slice(0, list.lastIndexOf("]")) :
                    list.slice(0, length + list_key[to].length + 2);
                assert.doesNotMatch(body, /!\/(set|status|temperature|pwd|foo)/);
            }
        }
    }
});

test("history: 2000 messages with commands among them", async () => {
    const turns = [];
    for (let i = 0; i < 500; i++) {
        turns.push({ user: `!/set(project=p${i})` }, { assistant: `Project changed to p${i}` },
            { user: `Question ${i} !/temperature(0.1)` }, { assistant: `Answer ${i}` });
    }
    turns.push({ user: "!/set(temperature=0.5) Last" });
    const wanted = [...Array.from({ length: 500 }, (_, i) => `Question ${i}`), "Last"];
    for (const protocol of NAMES) {
        for (const to of [protocol, other(protocol)]) {
            const up = await scene.prompt(protocol, turns, { to, session: scene.id() });
            assert.deepEqual(users(up), wanted);
            assert.equal(temperature(up), 0.5);
            assert.doesNotMatch(up.body.toString(), /!\/|Project changed/);
        }
    }
});

test("history: other members of the request stay as they are, to the byte", async () => {
    const odd = " {  \"x\" : 1.0e2 ,\"y\":[ ] }";
    for (const protocol of NAMES) {
        const model = `${PROTOCOLS[protocol].short}:m1`;
        const write = (turns, name) => `{ "odd" :${odd}, ${protocol === "gemini" ? "" :
            `"model":"${name}",`}${JSON.stringify(body_of(protocol, turns)).slice(1, -1)
        } ,"z" :null}\n`;
        let answer;
        const [up] = await scene.asked(async () => {
            answer = await scene.proxy.call({ path: PROTOCOLS[protocol].path(model, {}),
                headers: { "x-session-id": scene.id() },
                body: write([{ user: "!/hello" }, { assistant: "x" }, { user: "One !/pwd two" }],
                    model) });
        });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(up.body.toString(), write([{ user: "One two" }], "m1"));
    }
});
