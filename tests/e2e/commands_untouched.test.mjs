/* SPDX-License-Identifier: MIT */
/*
 * Two properties. Text without commands goes up as it came, to the byte: over all recordings and a
 * corpus of source files, in the shapes in which agents send them. And a command never reaches any
 * upstream: over conversations made by chance.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { read_request } from "./lib/asked.mjs";
import { Scene, ask, asked_in, body_of, other } from "./lib/chats.mjs";
import { parse } from "./lib/exact.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { ROOT, stop_all, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";

const scene = await Scene.start();
after(() => stop_all(scene));

const users = (up) => read_request(asked_in(up), parse(up.body), up.target).users;

/* ---- Bytes ---- */

const ascii = (text) => text.replace(/[\u007f-\uffff]/g, (c) =>
    "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const WRITERS = [
    (value) => JSON.stringify(value),
    (value) => JSON.stringify(value, null, 2) + "\n",
    (value) => ascii(JSON.stringify(value)).replaceAll("/", "\\/"),
    (value) => " \r\n\t" + JSON.stringify(value, null, "\t").replaceAll("\n", "\r\n") + "  ",
];

function same_bytes(got, wanted, what) {
    if (got.equals(wanted)) {
        return;
    }
    let i = 0;
    while (got[i] === wanted[i] && i < got.length && i < wanted.length) {
        i++;
    }
    const near = (bytes) => JSON.stringify(bytes.toString("utf8", Math.max(0, i - 30), i + 60));
    assert.fail(`${what} differs at byte ${i} (${got.length} instead of ${wanted.length}): ${
        near(got)} instead of ${near(wanted)}`);
}

/** What came of a body for the protocol's own backend: {status, up}. */
async function send(protocol, bytes, { model = "m1", stream = false } = {}) {
    let answer;
    const up = await scene.asked(async () => {
        answer = await scene.proxy.call({ path: PROTOCOLS[protocol].path(
            `${PROTOCOLS[protocol].short}:${model}`, { stream }), body: bytes });
    });
    return { status: answer.status, text: answer.text, up };
}

/** The request with its model named for the protocol's backend, and as it must arrive there. */
function both(protocol, request, write) {
    if (protocol === "gemini") {
        const text = write(request);
        return { sent: text, wanted: text };
    }
    const { model, ...rest } = request;
    return { sent: write({ model: `${PROTOCOLS[protocol].short}:m1`, ...rest }),
        wanted: write({ model: "m1", ...rest }) };
}

/* ---- Recordings ---- */

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const APIS = { openai_chat: "openai-chat", openai_responses: "openai-responses",
    anthropic_messages: "anthropic", gemini_generate: "gemini" };
const DECOY = "\nLook at `!/hello` and x!/y, https://a.b/!/c(d), (!/pwd)\n```\n!/set(project=p)\n```";
const there = fs.existsSync(SHARED);
const recorded = there ? fs.readFileSync(SHARED, "utf8").trimEnd().split("\n")
    .map((line, i) => ({ line: i + 1, ...JSON.parse(line) }))
    .filter((x) => APIS[x.api] && x.request) : [];

/* The parts of a user's message where text may be added: [holder, key]. */
function texts_of(message) {
    const key = message.parts ? "parts" : "content";
    if (typeof message[key] === "string") {
        return [[message, key]];
    }
    return (message[key] ?? []).filter((part) => typeof part?.text === "string" && !part.thought)
        .map((part) => [part, "text"]);
}

/** The request with the decoy behind every text of its users. */
function with_decoys(protocol, request) {
    const copy = structuredClone(request);
    if (typeof copy.input === "string") {
        copy.input += DECOY;
        return copy;
    }
    const list = [copy.messages ?? copy.input ?? copy.contents].flat();
    for (const message of list.filter((m) => m && (m.role === "user" ||
        (protocol === "gemini" && m.role === undefined)))) {
        for (const [holder, key] of texts_of(message)) {
            holder[key] += DECOY;
        }
    }
    return copy;
}

const VARIANTS = [
    ["as they are", (_, request) => request],
    ["with a prefix beside the conversation", (_, request) => ({ ...request,
        zz_note: "!/set(project=p)" })],
    ["with what is no command behind every text of their users", with_decoys],
];

for (const [what, change] of VARIANTS) {
    test(`recordings ${what} go up to the byte`,
        { skip: there ? false : "../shared/recordings is absent" }, async (t) => {
            const rng = random(`recordings ${what}`);
            const failures = [];
            let refused = 0;
            for (const x of recorded) {
                const protocol = APIS[x.api];
                const { sent, wanted } = both(protocol, change(protocol, x.request),
                    rng.pick(WRITERS));
                const { status, up, text } = await send(protocol, sent,
                    { stream: protocol === "gemini" && x.stream });
                if (up.length === 0 && status >= 400 && !/Invalid arguments|command/.test(text)) {
                    refused++;      /* for what it asks, not for what it says */
                    continue;
                }
                try {
                    assert.equal(up.length, 1, `not sent: ${text.slice(0, 200)}`);
                    same_bytes(up[0].body, Buffer.from(wanted), "the request");
                } catch (error) {
                    failures.push(`line ${x.line} (${x.provider}): ${error.message}`);
                }
            }
            t.diagnostic(`${recorded.length} requests, ${refused} refused, SEED=${SEED}`);
            assert.ok(refused < recorded.length / 10, `${refused} were refused`);
            assert.deepEqual(failures.slice(0, 5), [], `${failures.length} differ`);
        });
}

/* ---- Source files ---- */

const MAX = 200_000;

function corpus() {
    let list;
    try {
        list = execFileSync("git", ["ls-files", "src", "docs", "tools", "tests/e2e"],
            { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n");
    } catch {
        const walk = (dir) => fs.readdirSync(path.join(ROOT, dir), { withFileTypes: true })
            .flatMap((entry) => entry.name === "node_modules" ? [] : entry.isDirectory() ?
                walk(`${dir}/${entry.name}`) : `${dir}/${entry.name}`);
        list = ["src", "docs", "tools", "tests/e2e"].flatMap(walk);
    }
    return list.filter(Boolean).map((name) => ({ name,
        text: fs.readFileSync(path.join(ROOT, name), "utf8") }))
        .filter(({ text }) => text.length > 0 && text.length < MAX &&
            !/[\u0000\ufffd]/.test(text));
}

const files = corpus();
const fence_of = (text) => "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)]
    .map(([run]) => run.length + 1)));

/* As agents show files. */
const SHAPES = [
    ({ name, text }) => `<file_content path="${name}">\n${text}\n</file_content>`,
    ({ name, text }) => `[read_file for '${name}'] Result:\n${text}`,
    ({ name, text }) => `${name}\n${fence_of(text)}\n${text}\n${fence_of(text)}\n`,
];

/* What may hold a command when it is a user's own text. */
const SUSPECT = /(^|[ \t\r\n])!\/[a-z]/;

test("source files, as users and agents send them, go up to the byte", async (t) => {
    const rng = random("corpus");
    assert.ok(files.length > 100, `${files.length} files`);
    let plain = 0;
    for (const [i, file] of files.entries()) {
        const protocol = NAMES[(i + SEED) % 4];
        const more = { max_tokens: undefined };
        const parts = SHAPES.map((shape) => shape(file));
        const messages = [[{ user: parts }]];
        if (!SUSPECT.test(file.text)) {
            plain++;
            messages.push([{ user: file.text }, { assistant: file.text },
                { user: [file.text, "What is it?"] }]);
        }
        messages.push([{ user: "Go" }, { call: { id: "call_1", name: "read", args: {} } },
            { result: { id: "call_1", name: "read", text: file.text } }]);
        const request = body_of(protocol, messages[(i + (SEED >> 2)) % messages.length],
            protocol === "anthropic" ? {} : more);
        const { sent, wanted } = both(protocol, request, rng.pick(WRITERS));
        const { up, text } = await send(protocol, sent);
        assert.equal(up.length, 1, `${file.name}: not sent: ${text.slice(0, 200)}`);
        same_bytes(up[0].body, Buffer.from(wanted), `${protocol}: ${file.name}`);
        if (i % 8 === 0) {
            const moved = await scene.prompt(protocol, [{ user: parts }], { to: other(protocol) });
            assert.equal(users(moved).join("\n\n"), parts.join("\n\n"),
                `${file.name} to ${other(protocol)}`);
        }
    }
    t.diagnostic(`${files.length} files, ${plain} of them also plain, SEED=${SEED}`);
});

/* ---- By chance ---- */

class Conversation {
    constructor(rng) {
        this.rng = rng;
        this.n = 0;
        this.kept = [];                 /* marks that must arrive */
        this.gone = [];                 /* marks of commands */
    }

    mark(list) {
        const mark = `${list === this.gone ? "CMD" : "TXT"}${this.n++}z`;
        list.push(mark);
        return mark;
    }

    command() {
        const mark = this.mark(this.gone);
        return this.rng.pick([`!/project(${mark})`, `!/set(project=${mark})`,
            `!/set(project="${mark}, (x)")`, `!/project(name='${mark} y')`,
            `!/set(project=${mark}, temperature=0.5)`, `!/pwd !/project(${mark})`]);
    }

    decoy() {
        const mark = this.mark(this.kept);
        return this.rng.pick([`\`!/project(${mark})\``, `\n\`\`\`\n!/project(${mark})\n\`\`\`\n`,
            `x!/project(${mark})`, `(!/project(${mark}))`, `!/project(${mark})x`,
            /* Each of a name of its own: between two of one name nobody speaks. */
            `\n<part-${mark} path="a">\n!/project(${mark})\n</part-${mark}>\n`,
            `!/ project(${mark})`, `https://a.b/!/project(${mark})`,
            `#!/bin/sh ${mark}`, `\n~~~\n!/project(${mark})\n~~~\n`]);
    }

    word() {
        return this.rng.pick(["word", "ä🙂", "1!", "\"quoted\"", "a\\b", "a<b>c", "line\nbreak", "?",
            "`code`", "tab\there"]);
    }

    /** Segments with a blank or a line break between them. */
    text(commands) {
        let text = "";
        const n = 1 + this.rng.below(5);
        let left = commands;
        for (let i = 0; i < n || left > 0; i++) {
            const kind = this.rng.below(3);
            const segment = left > 0 && (kind === 0 || i >= n) ? (left--, this.command() +
                this.rng.pick(["", "", ".", ",", "?"])) : kind === 1 ? this.decoy() : this.word();
            text += (text === "" ? "" : this.rng.pick([" ", "\n", "\n\n", "  "])) + segment;
        }
        return this.rng.below(6) === 0 ? `<task>\n${text}\n</task>` : text;
    }

    pure() {
        const list = Array.from({ length: 1 + this.rng.below(3) }, () => this.command());
        return this.rng.pick(["", " ", "\n"]) + list.join(this.rng.pick([" ", "\n", "\n\n"])) +
            this.rng.pick(["", "\n", " "]);
    }

    /** A user's message with words, so that it always goes up. */
    mixed() {
        const marked = `begins ${this.mark(this.kept)} `;
        const one = () => this.text(this.rng.below(3));
        return this.rng.below(3) === 0 ? [marked + one(), one()] : marked + one();
    }

    older() {
        const turns = [];
        for (let i = this.rng.below(4); i > 0; i--) {
            const kind = this.rng.below(4);
            if (kind === 0) {
                turns.push({ user: this.pure() }, { assistant: "What the proxy said." });
            } else if (kind === 1) {
                const id = `call_${this.n++}`;
                turns.push({ user: this.mixed() }, { call: { id, name: "t", args: { a: 1 } } },
                    { result: { id, name: "t", text: `!/project(${this.mark(this.kept)})` } },
                    { assistant: "Done." });
            } else {
                turns.push({ user: this.mixed() },
                    { assistant: `!/project(${this.mark(this.kept)})` });
            }
        }
        return turns;
    }
}

const ESCAPERS = [(text) => text, (text) => text, (text) => text.replaceAll("!", "\\u0021"),
    (text) => text.replaceAll("/", "\\/"), (text) => ascii(text)];

test("a command never reaches any upstream, and nothing else is lost", async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    let up_n = 0;
    for (let round = 0; round < 400; round++) {
        const rng = random(`conversation ${round}`);
        const talk = new Conversation(rng);
        const turns = [{ system: "Be nice. !/project(system)" }, ...talk.older()];
        const pure = rng.below(5) === 0;
        turns.push({ user: pure ? talk.pure() : talk.mixed() });
        const protocol = NAMES[round % 4];
        const to = rng.pick(NAMES);
        const model = `${PROTOCOLS[to].short}:m1`;
        const body = body_of(protocol, turns, protocol === "gemini" ? {} : { model });
        const bytes = rng.pick(ESCAPERS)(JSON.stringify(body));
        let got;
        const ups = await scene.asked(async () => {
            got = await ask(scene.proxy, protocol, bytes, { model, session: scene.id() });
        });
        const where = `round ${round}, ${protocol} to ${to}:\n${JSON.stringify(turns)}\n`;
        assert.equal(got.status, 200, where + got.answer.text);
        assert.equal(ups.length, pure ? 0 : 1, where + got.text);
        if (pure) {
            assert.match(got.id, /proxy_cmd_processed/);
            continue;
        }
        up_n++;
        const text = ups[0].body.toString();
        assert.doesNotMatch(text, /CMD\d+z/, where);
        for (const mark of talk.kept) {
            assert.ok(text.includes(mark), `${mark} is lost: ${where}${text}`);
        }
    }
    assert.ok(up_n > 200);
});
