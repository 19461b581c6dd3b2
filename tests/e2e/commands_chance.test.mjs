/* SPDX-License-Identifier: MIT */
/*
 * Whole conversations by chance, turn by turn as a client holds them, with commands in them that
 * work, fail, are nobody's, or change the rules for what follows. Beside each conversation stands
 * the same one as it is without its commands, which this test has written by itself.
 *
 * After each turn: what goes up is to the byte what goes up of that other conversation, in the same
 * protocol and in another; it is a request that the vendor takes; it begins with what went up the
 * turn before; and what the proxy answers by itself is a regular answer.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import zlib from "node:zlib";

import { PNG, Scene, ask, assert_well_formed, body_of, other, tool_of } from "./lib/chats.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { stop_all, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";
import { violation } from "./lib/schemas.mjs";

const scene = await Scene.start();
const untouched = await Scene.start({ config: { disable_interactive_commands: true } });
after(() => stop_all(scene, untouched));

/* ---- Texts ---- */

const HERE = "\ue000";                  /* where a command stood */

/** The text without its commands, as section 6 of the contract and the README say it. */
function without(text) {
    for (let at = text.indexOf(HERE); at >= 0; at = text.indexOf(HERE)) {
        let [before, behind] = [text.slice(0, at), text.slice(at + 1)];
        const rest = behind.replace(/^[ \t]+/, "");
        if (rest === "" || /^[\r\n]/.test(rest)) {
            [before, behind] = [before.replace(/[ \t]+$/, ""), rest];
        } else if (/^[.,;:!?]/.test(behind)) {
            before = before.replace(/[ \t]+$/, "");
        } else {
            behind = rest;
        }
        text = before + behind;
    }
    return text;
}

const REMINDER = "<system-reminder>\nThe time is !/pwd o'clock.\n</system-reminder>";
const GAPS = [" ", "\n", "\n\n", "  ", "\r\n", "\t", " \n "];

class Talk {
    constructor(rng, protocol) {
        this.rng = rng;
        this.protocol = protocol;
        this.n = 0;
        this.prefix = "!/";
        this.interactive = true;
        this.turns = [];                /* what the client sends */
        this.clean = [];                /* what is left of it */
        this.kind = rng.pick(["plain", "plain", "plain", "native", "xml"]);
        this.system = { native: "You are Cline, an engineer.", xml: "You are Roo, an engineer." +
            " Call <attempt_completion>.", plain: "Be brief. \"!/hello\" is nothing to you." }[
            this.kind];
        this.tools = this.kind === "native" ? ["attempt_completion", "read"] :
            this.kind === "plain" ? ["read"] : [];
        this.pending = null;            /* a call of ours that the client answers next */
    }

    mark(what) {
        return `${what}${this.n++}z`;
    }

    /** A command that works; it may change the rules behind this message. */
    command() {
        const mark = this.mark("CMD");
        return this.prefix + this.rng.pick([`project(${mark})`, `set(project=${mark})`, "pwd",
            `set(project="${mark}, (x)")`, `project(name='it\\'s ${mark}')`, "hello", "status",
            `set(project_dir=${"/"}, project=${mark})`, "unset(project)", "help(set)",
            `set(project=${mark},\tinteractive=${this.interactive})`]);
    }

    failing() {
        const mark = this.mark("CMD");
        return this.prefix + this.rng.pick([`set(projekt=${mark})`, `set(project = ${mark})`,
            `set("project"="${mark}")`, `set(project=${mark} temperature=1)`, "set",
            `set (project=${mark})`, `temperature(${mark})`,
            `set(command-prefix=$/, project-dir=/none/${mark})`,
            `set(interactive=false, temperature=${mark})`, `set(command-prefix=${mark}x12345)`]);
    }

    /** Once in a text only, what a client adds: of two, what stands between is nobody's words, as
     * the first one's end may be part of what it holds. */
    decoy() {
        const p = this.prefix;
        const mark = this.mark("TXT");
        const picked = this.rng.pick([`\`${p}project(${mark})\``, `\n\`\`\`sh\n${p}hello ${mark}\n\`\`\`\n`,
            `x${p}project(${mark})`, `word (${p}project(${mark}))`,
            `${p}project(${mark})x`,
            `\n<file_content path="a">\n${p}set(project=${mark})\n</file_content>\n`,
            `${p} project(${mark})`, `https://a.b/${p}pwd/${mark}`, `#!/bin/sh ${mark}`,
            `word ${p}nobody(${mark}) word`, `\n~~~\n${p}pwd ${mark}\n~~~\n`, `${p}Pwd ${mark}`]);
        const again = picked.includes("<file_content") && this.added;
        this.added ||= picked.includes("<file_content");
        return again ? this.decoy() : picked;
    }

    word() {
        return this.rng.pick(["word", "ä🙂", "1!", "\"quoted\"", "a\\b", "a<b>c", "line\nbreak",
            "`code`", "\ud7ff\uffff", "\\u0021/pwd", "</p>", "\u2028", "C:\\!\\pwd"]);
    }

    /** [as sent, as left]: n commands that `make` makes, among words. */
    text(n, make) {
        let [sent, left] = ["", ""];
        this.added = false;
        const add = (a, b = a) => {
            const gap = sent === "" ? "" : this.rng.pick(GAPS);
            const mark = b === HERE ? this.rng.pick(["", "", ".", ",", "?", ""]) : "";
            sent += gap + a + mark;
            left += gap + b + mark;
        };
        add(`say ${this.mark("TXT")}`);
        for (let i = 1 + this.rng.below(4); i > 0 || n > 0; i--) {
            if (n > 0 && (i <= 1 || this.rng.below(2) === 0)) {
                add(make(n--), HERE);
            } else {
                add(this.rng.below(2) ? this.decoy() : this.word());
            }
        }
        const wrap = this.kind === "xml" && this.rng.below(2) ?
            (text) => `<task>\n${text}\n</task>` : (text) => text;
        return [wrap(sent), wrap(without(left))];
    }

    only(n, make) {
        const list = Array.from({ length: n }, (_, i) => make(n - i));
        return this.rng.pick(["", " ", "\n"]) + list.join(this.rng.pick(GAPS)) +
            this.rng.pick(["", "\n", " ", "."]);
    }

    /** {user, left}: the message, and what it is without commands; null: nothing. */
    mixed(n, make) {
        const [sent, left] = this.text(n, make);
        const parts = [[sent, left]];
        const more = this.rng.below(6);
        if (more === 0) {
            parts.push(this.text(0));
        } else if (more === 1) {
            parts.push([{ image: PNG }, { image: PNG }]);
        } else if (more === 2) {
            parts.splice(this.rng.below(2), 0, [REMINDER, REMINDER]);
        } else if (more === 3 && n > 0) {
            parts.splice(this.rng.below(2), 0, [this.only(n, make), null]);
        } else if (more === 4) {
            return { user: sent, left };
        }
        return { user: parts.map(([a]) => a),
            left: parts.map(([, b]) => b).filter((b) => b !== null) };
    }

    pure(n, make) {
        const text = this.only(n, make);
        return this.rng.pick([{ user: text, left: null }, { user: [text], left: null },
            { user: [REMINDER, text], left: [REMINDER], told: true },
            { user: [text, `<environment_details>\n${this.prefix}pwd\n</environment_details>`],
                left: null }]);
    }

    /** The result of a call that stays comes in the user's next message. */
    beside_result() {
        return this.in_parts() && this.pending?.kept === true;
    }

    in_parts() {
        return ["anthropic", "gemini"].includes(this.protocol);
    }

    next() {
        const message = this.choose();
        if ((message.left === null || message.told) && this.beside_result()) {
            return { ...message, told: false, answers: message.fails === true,
                left: [message.user].flat().filter((text) => text[0] === "<") };
        }
        return message;
    }

    /** The next message of the user: {user, left, answers: by the proxy}. */
    choose() {
        const good = () => this.command();
        const n = 1 + this.rng.below(3);
        const bad = (i) => i === 1 + (n >> 1) ? this.failing() : this.command();
        const p = this.prefix;
        switch (this.rng.below(12)) {
        case 0: case 1: case 2:
            return { ...this.mixed(0, good), answers: false };
        case 3: case 4:
            return { ...this.mixed(n, good), answers: false };
        case 5: case 6:
            return { ...this.pure(n, good), answers: true };
        case 7:
            return { ...this.mixed(n, bad), answers: true };
        case 8:
            return { ...this.pure(n, bad), answers: true, fails: true };
        case 9: {
            const text = `${p}nobody(${this.mark("CMD")})`;
            return this.interactive ? { user: text, left: null, answers: true, fails: true } :
                { user: `${p}nobody(${this.mark("TXT")})`, left: `${p}nobody(TXT${this.n - 1}z)`,
                    answers: false };
        }
        case 10: {
            const to = this.rng.pick(["!/", "$/", "//", "\"!", "\\x", "!!/", "ab", "@cmd:"]);
            const quoted = `"${to.replace(/["\\]/g, "\\$&")}"`;
            const change = to.length === 2 && to[0] === to[1] ? null : to;
            const text = change === null ? `${p}unset(command-prefix)` :
                this.rng.pick([`${p}set(command-prefix=${quoted})`,
                    `${p}set(project=${this.mark("CMD")}, command_prefix=${quoted})`]);
            this.prefix = change ?? "!/";
            return { user: text, left: null, answers: true };
        }
        default:
            this.interactive = !this.interactive;
            return { user: this.rng.pick([`${p}interactive(${this.interactive})`,
                `${p}set(interactive=${this.interactive})`]), left: null, answers: true };
        }
    }

    /* One message more, behind the result of a call that is ours. */
    add(list, user, result) {
        if (result === null) {
            list.push({ user });
        } else if (["anthropic", "gemini"].includes(this.protocol)) {
            list.push({ user: [{ result }, ...[user].flat()] });
        } else {
            list.push({ result }, { user });
        }
    }

    say({ user, left }) {
        const { pending } = this;
        this.add(this.turns, user, pending?.result ?? null);
        if (left !== null) {
            const parts = pending !== null && !pending.kept && this.in_parts();
            this.add(this.clean, parts ? [left].flat() : left,
                pending?.kept ? pending.result : null);
        } else if (pending?.kept) {
            this.clean.push({ result: pending.result });
        }
        this.pending = null;
    }

    /** What the proxy answered; kept: it stays in the history. */
    answered(text, kept) {
        if (this.kind !== "native") {
            return { assistant: text };
        }
        const id = `call_${this.n++}`;
        this.pending = { kept, result: { id, name: "attempt_completion", text: "Seen." } };
        return { call: { id, name: "attempt_completion", args: { result: text } } };
    }

    /** The model calls a tool instead, and the client says what it gave. */
    work(large) {
        const id = `call_${this.n++}`;
        const text = `${this.prefix}hello ${this.mark("TXT")}${large ? " !/pwd".repeat(2e5) : ""}`;
        return [{ call: { id, name: "read", args: { path: `${this.prefix}pwd` } } },
            { result: { id, name: "read", text } }, { assistant: "Read." }];
    }
}

/* ---- Requests ---- */

const LISTS = { "openai-chat": "messages", "openai-responses": "input", anthropic: "messages",
    gemini: "contents" };
const ascii = (text) => text.replace(/[\u007f-\uffff]/g, (c) =>
    "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const WRITERS = [(text) => text, (text) => text.replaceAll("!", "\\u0021"),
    (text) => text.replaceAll("/", "\\/"), ascii,
    (text) => ascii(text.replaceAll("$", "\\u0024").replaceAll("p", "\\u0070"))];

function request_of(talk, turns, to) {
    const { protocol } = talk;
    const tools = talk.tools.map((name) => tool_of(protocol, name));
    return body_of(protocol, [{ system: talk.system }, ...turns], {
        ...(tools.length > 0 ? { tools } : {}),
        ...(protocol === "gemini" ? {} : { model: `${PROTOCOLS[to].short}:m1` }) });
}

async function send(scene, talk, turns, { to, session, write, stream, array, gzip }) {
    const text = write(JSON.stringify({ ...request_of(talk, turns, to),
        ...(stream && talk.protocol !== "gemini" ? { stream: true } : {}),
        ...(stream && talk.protocol === "openai-chat" ?
            { stream_options: { include_usage: true } } : {}) }));
    let got;
    const up = await scene.asked(async () => {
        got = await ask(scene.proxy, talk.protocol, gzip ? zlib.gzipSync(text) : text,
            { model: `${PROTOCOLS[to].short}:m1`, session, stream, array,
                headers: gzip ? { "content-encoding": "gzip" } : {} });
    });
    return { ...got, up };
}

/* ---- What vendors refuse ---- */

function texts_in(value) {
    if (Array.isArray(value)) {
        return value.flatMap(texts_in);
    }
    return value === null || typeof value !== "object" ? [] :
        [...(typeof value.text === "string" ? [value.text] : []),
            ...Object.values(value).flatMap(texts_in)];
}

/** Calls and results: each result behind its call, each call answered. */
function pairs(body) {
    const open = new Set();
    const walk = (value) => {
        if (Array.isArray(value)) {
            value.forEach(walk);
        } else if (value !== null && typeof value === "object") {
            const call = value.type === "tool_use" || value.functionCall ||
                value.type === "function_call" || (value.type === "function" && value.id);
            const id = value.tool_use_id ?? value.tool_call_id ?? value.functionResponse?.id ??
                (value.type === "function_call_output" ? value.call_id : undefined);
            if (call) {
                open.add(value.functionCall?.id ?? value.call_id ?? value.id);
            } else if (id !== undefined) {
                assert.ok(open.delete(id), `the result of ${id} has no call`);
            }
            Object.values(value).forEach(walk);
        }
    };
    walk(body.messages ?? body.input ?? body.contents);
    assert.equal(open.size, 0, `${[...open]} have no result`);
}

function taken_by_vendor(protocol, body) {
    const list = body[LISTS[protocol]];
    assert.equal(violation(protocol, "request", body), null);
    assert.ok(list.length > 0, "an empty conversation");
    assert.ok(texts_in(list).every((text) => text !== ""), "an empty text");
    for (const message of list) {
        assert.notEqual(message.content, "", "an empty message");
        assert.notDeepEqual(message.content ?? message.parts, [], "a message without parts");
    }
    pairs(body);
    if (protocol === "anthropic") {
        /* Messages of the user may follow each other: where our answer stood between them. */
        list.forEach(({ role }, i) => assert.ok(role === "user" || (i > 0 &&
            list[i - 1].role === "user"), `the ${role} at ${i}`));
    }
}

/* ---- The conversations ---- */

const ROUNDS = Number(process.env.ROUNDS ?? 36);
const TURNS = 9;

async function take_turn(talk, how, before) {
    const message = talk.next();
    talk.say(message);
    const got = await send(scene, talk, talk.turns, how);
    assert.equal(got.status, 200, got.answer.text);
    assert_well_formed(talk.protocol, got);
    assert.equal(got.up.length, message.answers ? 0 : 1, got.text || got.answer.text);
    if (message.answers) {
        assert.match(got.id, /proxy_cmd_processed$/);
    } else {
        const clean = await send(untouched, talk, talk.clean, how);
        const [sent, wanted] = [got.up[0].body.toString(), clean.up[0].body.toString()];
        const body = got.up[0].json;
        if (sent.length < 1e6) {
            assert.equal(sent, wanted);
        }
        assert.ok(sent === wanted, "large ones differ");
        taken_by_vendor(how.to, body);
        const list = body[LISTS[how.to]];
        assert.deepEqual(list.slice(0, before.length), before, "the beginning has changed");
        before = list;
    }
    const kept = message.left !== null && !message.told;
    const answer = message.answers ? [talk.answered(got.text || "Done.", kept)] :
        how.works ? talk.work(how.large) : [{ assistant: got.text }];
    talk.turns.push(...answer);
    talk.clean.push(...(kept ? answer : []));
    return before;
}

test("conversations with commands go up as they are without them", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    for (let round = 0; round < ROUNDS; round++) {
        const rng = random(`conversation ${round}`);
        const protocol = NAMES[round % 4];
        const talk = new Talk(rng, protocol);
        const session = scene.id();
        const to = rng.below(2) ? protocol : other(protocol);
        const write = rng.pick(WRITERS);
        let before = [];
        for (let i = 0; i < TURNS; i++) {
            const stream = rng.below(2) === 0;
            const how = { to, session, write, stream,
                array: stream && protocol === "gemini" && rng.below(2) === 0,
                gzip: rng.below(4) === 0, large: round % 40 === 3,
                works: talk.kind !== "xml" && rng.below(4) === 0 };
            try {
                before = await take_turn(talk, how, before);
            } catch (error) {
                error.message = `round ${round}, turn ${i}, ${protocol} to ${to}, ${talk.kind}: ${
                    error.message}\n${JSON.stringify(talk.turns).slice(0, 4000)}`;
                throw error;
            }
        }
    }
});
