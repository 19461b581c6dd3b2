/* SPDX-License-Identifier: MIT */
/*
 * The tour that README.md gives: what a first user types, at the program as `make run` starts it
 * with the demo, and what comes back, as it came.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { request } from "./http1.mjs";
import { PROGRAM, ROOT, free_port, temp_dir } from "./proxy.mjs";

const LIMIT_MS = 60_000;
const SHOWN_PORT = 8000;

const START = "make run";

/* What is typed, one after the other. */
const LINES = [
    START,
    "KEY=$(cat data/client.key)",
    'ask() { curl -sSN "http://127.0.0.1:8000$1" -H "Authorization: Bearer $KEY" "${@:2}"; }',
    "ask /v1/chat/completions -d '{\"model\":\"demo:echo\",\"stream\":true,\n" +
        '    "messages":[{"role":"user","content":"One word, another"}]}\' | ' +
        "grep -oE '\"delta.*|.DONE.'",
    "ask /v1/messages -d '{\"model\":\"demo:tools\",\"max_tokens\":100,\n" +
        '    "messages":[{"role":"user","content":"How warm is Rome?"}],\n' +
        '    "tools":[{"name":"get_weather","input_schema":{"type":"object",\n' +
        '    "properties":{"city":{"type":"string"}},"required":["city"]}}]}\'; echo',
    "ask /v1/chat/completions -i -d '{\"model\":\"demo:error-429\",\"messages\":[]}' |\n" +
        "    grep -i -E '^HTTP|retry|message|backend|timing'",
    "ask /v1/models | grep -o 'demo:[a-z0-9-]*' | paste -s -d ' '",
    "ask /metrics | grep -E '^llm_proxy_(requests_total..*[24]xx|tokens_(in|out)put)'",
];

/** Why it cannot be had here, or false. */
export function missing() {
    return ["curl", "bash"].map((tool) => spawnSync(tool, ["--version"]).status === 0 ? false :
        `${tool} is not here`).find(Boolean) ?? false;
}

const type = (line) => line.split("\n").map((part, i) => `${i === 0 ? "$" : ">"} ${part}\n`)
    .join("");

/** Goes through it: the text of a terminal. */
export async function tour() {
    const dir = temp_dir();
    const port = await free_port();
    const env = { PATH: process.env.PATH, HOME: dir, LANG: "C.UTF-8", PROXY_PORT: String(port),
        NO_PROXY: "127.0.0.1" };
    const child = spawn(path.join(ROOT, "tools/run"), [PROGRAM, "--demo"],
        { cwd: dir, env, stdio: ["ignore", "pipe", "ignore"] });
    const closed = new Promise((resolve) => {
        child.on("close", resolve);
    });
    let banner = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { banner += text; });
    try {
        for (const end = Date.now() + LIMIT_MS; ; await new Promise((r) => { setTimeout(r, 20); })) {
            assert.ok(Date.now() < end && child.exitCode === null, "the proxy does not start");
            const up = await request(port, { method: "GET", path: "/healthz" }).catch(() => null);
            if (up?.status === 200 && /!\/help/.test(banner)) {
                break;
            }
        }
        const script = LINES.slice(1).map((line) => `echo ${"=".repeat(20)}\n${line}\n`).join("")
            .replaceAll(`127.0.0.1:${SHOWN_PORT}`, `127.0.0.1:${port}`);
        const { status, stdout, stderr } = spawnSync("bash", ["-c", script], { cwd: dir, env,
            encoding: "utf8", timeout: LIMIT_MS });
        assert.equal(status, 0, stderr);
        const answers = [banner, ...stdout.split(`${"=".repeat(20)}\n`).slice(1)];
        return LINES.map((line, i) => type(line) + answers[i]).join("")
            .replaceAll("\r", "").replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${SHOWN_PORT}`)
            .replace(/\n+$/, "\n").replace(/\n\n+(?=\n)/g, "\n");
    } finally {
        child.kill("SIGTERM");
        await closed;
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

/** Without what is another each time. */
export const same_each_time = (text) => text.replace(/^llm-proxy \d+\.\S+/m, "llm-proxy VERSION")
    .replace(/dur=[\d.]+/g, "dur=TIME").replace(/^(.*"2xx"\}) \d+/m, "$1 N").replace(/\b(chatcmpl|msg|call)[-_]\w+/g, "$1-ID");

const BEGIN = "<!-- tour by tools/record: begin -->\n";
const END = "<!-- tour by tools/record: end -->\n";

function place(readme) {
    const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
    assert.ok(begin >= 0 && end > begin, "README.md has no place for the tour");
    return [begin, end];
}

export function tour_part(readme) {
    return /```console\n([^]*?)```\n/.exec(readme.slice(...place(readme)))?.[1] ?? "";
}

export function readme_with_tour(readme, text) {
    const [begin, end] = place(readme);
    return `${readme.slice(0, begin)}${BEGIN}\`\`\`console\n${text}\`\`\`\n${readme.slice(end)}`;
}
