/* SPDX-License-Identifier: MIT */
/*
 * The conversation that README.md shows: typed into a shell in a terminal (a pty of script(1)),
 * with the real program behind, and what the terminal then shows, with its times.
 *
 * events     [[seconds, text]] as they came
 * cast       the same as asciicast v2, one line an event
 * transcript the same as plain text, without escapes
 * svg        the same as a picture: lines appear when they came. Made from the cast alone.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { request } from "./http1.mjs";
import { PROGRAM, ROOT, free_port, temp_dir } from "./proxy.mjs";

export const CAST = "docs/commands.cast";
export const SVG = "docs/commands.svg";

const CONFIG = "session:\n  repository: file\n";
const START = "llm-proxy --demo >log 2>&1 &";
const PROMPT = "$ ";
const WIDTH = 100;
const LIMIT_MS = 60_000;

/* What is typed, line by line. */
export const LINES = [
    "cat config.yaml",
    START,
    "say '!/hello'",
    "say '!/set(model=demo:echo, project=tour)'",
    "say 'This goes to the model, which says it again.'",
    "say '!/oneoff(demo:assistant) How do I see metrics?'",
    "say 'The one-off is used up. !/temperature(0.2)'",
    "say '!/set(modle=demo:assistant)'",
    `kill -9 %1; wait; ${START}`,
    "say '!/status'",
];

/** Why it cannot be recorded here, or false. */
export function missing() {
    for (const [tool, ...args] of [["script", "--version"], ["curl", "--version"]]) {
        const { status, stdout } = spawnSync(tool, args, { encoding: "utf8" });
        if (status !== 0 || (tool === "script" && !/util-linux/.test(stdout))) {
            return `${tool} is not here`;
        }
    }
    return false;
}

const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

class Terminal {
    constructor(dir, env) {
        this.events = [];
        this.text = "";
        this.begun = Date.now();
        this.child = spawn("script", ["-qefc", "sh -i", "/dev/null"], { cwd: dir, env: { ...env,
            PS1: PROMPT, TERM: "dumb" }, stdio: ["pipe", "pipe", "ignore"] });
        this.closed = new Promise((resolve) => {
            this.child.on("close", resolve);
        });
        this.child.stdout.setEncoding("utf8").on("data", (text) => {
            this.events.push([(Date.now() - this.begun) / 1000, text]);
            this.text += text;
        });
    }

    async until(what, ready) {
        const end = Date.now() + LIMIT_MS;
        while (!await ready()) {
            assert.ok(Date.now() < end && this.child.exitCode === null, `${what}:\n${this.text}`);
            await pause(5);
        }
    }

    async type(line, typing_ms) {
        for (const part of typing_ms > 0 ? line : [line]) {
            this.child.stdin.write(part);
            await pause(typing_ms);
        }
        const at = this.text.length;
        this.child.stdin.write("\n");
        await this.until(`no prompt behind ${line}`, () => this.text.length > at &&
            this.text.endsWith(`\n${PROMPT}`));
    }
}

/** Has the conversation: {events}. typing_ms: between two keys; reading_ms: between two lines. */
export async function record({ typing_ms = 0, reading_ms = 0 } = {}) {
    const dir = temp_dir();
    const port = await free_port();
    const bin = path.join(dir, ".bin");
    fs.mkdirSync(bin);
    fs.symlinkSync(PROGRAM, path.join(bin, "llm-proxy"));
    fs.symlinkSync(path.join(ROOT, "tools/say"), path.join(bin, "say"));
    fs.writeFileSync(path.join(dir, "config.yaml"), CONFIG);
    const terminal = new Terminal(dir, { PATH: `${bin}:${process.env.PATH}`, HOME: dir,
        LANG: "C.UTF-8", LLM_INTERACTIVE_PROXY_API_KEY: "key-of-the-tour",
        PROXY_PORT: String(port), LLM_PROXY_URL: `http://127.0.0.1:${port}`,
        SAY_SESSION: "tour" });
    const serves = () => request(port, { method: "GET", path: "/healthz" })
        .then(({ status }) => status === 200, () => false);
    try {
        await terminal.until("no prompt", () => terminal.text.endsWith(PROMPT));
        for (const line of LINES) {
            await pause(reading_ms);
            await terminal.type(line, typing_ms);
            if (line.endsWith(START)) {
                await terminal.until("the proxy does not start", serves);
            }
        }
        await pause(reading_ms);
        return { events: [...terminal.events] };
    } finally {
        terminal.child.stdin.write("kill -9 $!; exit\n");
        const killer = setTimeout(() => terminal.child.kill("SIGKILL"), 5_000);
        await terminal.closed;
        clearTimeout(killer);
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

/* ---- asciicast ---- */

export function cast_of(events, timestamp) {
    const header = { version: 2, width: WIDTH, height: 40, timestamp,
        title: "llm-proxy: commands in the chat", env: { TERM: "dumb", SHELL: "/bin/sh" } };
    return [header, ...events.map(([at, text]) => [at, "o", text])]
        .map((line) => JSON.stringify(line) + "\n").join("");
}

export const read_cast = (cast) => cast.trimEnd().split("\n").slice(1)
    .map((line) => JSON.parse(line)).map(([at, , text]) => [at, text]);

/* ---- Plain text ---- */

/** [{at, text}]: each line with the time at which it was complete; the last prompt left out. */
function lines_of(events) {
    const lines = [];
    let text = "";
    for (const [at, part] of events) {
        const pieces = (text + part).replaceAll("\r", "").split("\n");
        text = pieces.pop();
        lines.push(...pieces.map((piece) => ({ at, text: piece })));
    }
    return lines;
}

export const transcript_of = (events) => lines_of(events).map((line) => line.text.trimEnd())
    .join("\n") + "\n";

/** Without what is another each time: ids of processes, times, the version. */
export const same_each_time = (text) => text.replace(/^\[\d+\].*\n/gm, "")
    .replace(/\d+\.\d+\.\d+[\w.+-]*/g, "VERSION")
    .replace(/\b\d+(\.\d+)? ?(ms|s|seconds?|minutes?)\b/g, "TIME")
    .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+Z?/g, "DATE");

/* ---- README ---- */

const BEGIN = "<!-- recorded by tools/record: begin -->\n";
const END = "<!-- recorded by tools/record: end -->\n";

export function readme_part(readme) {
    const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
    assert.ok(begin >= 0 && end > begin, "README.md has no place for the recording");
    return /```console\n([^]*?)```\n/.exec(readme.slice(begin, end))?.[1] ?? "";
}

export function readme_with(readme, transcript) {
    const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
    assert.ok(begin >= 0 && end > begin, "README.md has no place for the recording");
    return `${readme.slice(0, begin)}${BEGIN}\`\`\`console\n${transcript}\`\`\`\n${
        readme.slice(end)}`;
}

/* ---- The picture ---- */

const [LINE, CHAR, EDGE, FONT] = [19, 8.05, 16, 13.4];
const escape_xml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");

/* Words of a line, no wider than the terminal. */
function wrapped(text) {
    const parts = [];
    for (let rest = text; ;) {
        if (rest.length <= WIDTH) {
            return [...parts, rest];
        }
        const at = rest.lastIndexOf(" ", WIDTH);
        const end = at > 0 ? at : WIDTH;
        parts.push(rest.slice(0, end));
        rest = rest.slice(end).replace(/^ /, "");
    }
}

export function svg_of(events) {
    const rows = lines_of(events).flatMap(({ at, text }) => wrapped(text.trimEnd())
        .map((part) => ({ at, text: part, typed: text.startsWith(PROMPT) })));
    const [width, height] = [Math.round(WIDTH * CHAR + 2 * EDGE), rows.length * LINE + 2 * EDGE];
    const body = rows.map(({ at, text, typed }, i) => text === "" ? "" :
        `<text x="${EDGE}" y="${EDGE + 14 + i * LINE}"${typed ? " class=\"t\"" : ""} ` +
        `style="animation-delay:${at.toFixed(1)}s" xml:space="preserve">${
            escape_xml(text)}</text>\n`).join("");
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${
        width}" height="${height}" role="img" aria-label="A conversation with commands">\n` +
        "<style>text{font:" + `${FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;` +
        "fill:#d5d9e0;animation:a .15s backwards}.t{fill:#8fd694}" +
        "@keyframes a{from{opacity:0}}@media(prefers-reduced-motion:reduce)" +
        "{text{animation:none}}</style>\n" +
        `<rect width="100%" height="100%" rx="8" fill="#16191f"/>\n${body}</svg>\n`;
}
