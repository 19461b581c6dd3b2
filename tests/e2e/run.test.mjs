/* SPDX-License-Identifier: MIT */
/*
 * tools/run, which `make run` starts the program with: what it finds on a machine and what it makes
 * of it. It reads its ports from the source, so a copy of it reads them from copies in which they
 * are the mocks'; a script that says its arguments stands in the program's place.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { free_port, PROGRAM, ROOT, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";

const TOOL = path.join("tools", "run");
const TABLE = path.join("src", "backend", "backends.def");
const OPTIONS = path.join("src", "io", "io.opt");
const USUAL = { ollama: 11434, lmstudio: 1234, vllm: 8000, llamacpp: 8080 };
const LISTS = {
    ollama: { "/api/version": { version: "0.12.3" } },
    lmstudio: { "/v1/models": { data: [], object: "list" } },
    vllm: { "/v1/models": { object: "list", data: [{ id: "m", owned_by: "vllm" }] } },
    llamacpp: { "/props": { default_generation_settings: { n_ctx: 4096 }, total_slots: 1 } },
};

const ports = {};
let folder;

function copy(file, change) {
    const to = path.join(folder, file);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.writeFileSync(to, change(fs.readFileSync(path.join(ROOT, file), "utf8")), { mode: 0o755 });
}

before(async () => {
    folder = temp_dir();
    for (const name of Object.keys(USUAL)) {
        ports[name] = await free_port();
    }
    copy(TOOL, (text) => text);
    copy(OPTIONS, (text) => {
        const own = `OPT(count, port, "${USUAL.vllm}"`;
        assert.ok(text.includes(own), "vLLM's usual port is the proxy's own");
        return text.replace(own, `OPT(count, port, "${ports.vllm}"`);
    });
    copy(TABLE, (text) => {
        for (const [name, port] of Object.entries(USUAL)) {
            assert.ok(text.includes(`"http://localhost:${port}/v1"`), name);
            text = text.replace(`"http://localhost:${port}/v1"`,
                `"http://localhost:${ports[name]}/v1"`);
        }
        return text;
    });
    fs.writeFileSync(path.join(folder, "program"), "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done\n" +
        "env | grep _API_BASE_URL= | sort\n", { mode: 0o755 });
});

after(() => fs.rmSync(folder, { recursive: true, force: true }));

/** What the program gets: its arguments, then the URLs in its environment, a line each. */
function run(args = [], { env = {}, files = {} } = {}) {
    const cwd = temp_dir();
    for (const [name, text] of Object.entries(files)) {
        fs.writeFileSync(path.join(cwd, name), text);
    }
    return new Promise((resolve, reject) => {
        execFile(path.join(folder, TOOL), [path.join(folder, "program"), ...args],
            { cwd, env: { PATH: process.env.PATH, ...env } }, (error, stdout, stderr) => {
                fs.rmSync(cwd, { recursive: true, force: true });
                if (error) {
                    reject(new Error(`${error}\n${stderr}`));
                } else {
                    resolve({ lines: stdout.split("\n").filter(Boolean), said: stderr });
                }
            });
    });
}

async function listening(names, call, answers = LISTS) {
    const mocks = [];
    try {
        for (const name of names) {
            const on_get = async (ex) => {
                const body = answers[name][ex.target];
                await (body === undefined ? ex.json_answer({ error: "no such path" }, { status: 404 })
                    : ex.json_answer(body));
            };
            mocks.push(await Mock.start({ port: ports[name], on_get }));
        }
        await call();
    } finally {
        await stop_all(...mocks);
    }
}

test("run: nothing to be found: the demo backend", async () => {
    const { lines, said } = await run(["--workers", "1"]);
    assert.deepEqual(lines, ["--demo", "--workers", "1"]);
    assert.match(said, /demo backend/);
});

test("run: a key, a config file or an argument: nothing is looked for", async () => {
    await listening(["ollama"], async () => {
        for (const args of [["--config", "x"], ["--config=x"], ["--demo"],
            ["--default-backend", "openai"]]) {
            assert.deepEqual((await run(args)).lines, args);
        }
        for (const name of ["GROQ_API_KEY", "OPENAI_API_KEY_7", "HF_TOKEN", "LLM_BACKEND",
            "AZURE_OPENAI_ENDPOINT", "VLLM_API_BASE_URL"]) {
            const { lines } = await run([], { env: { [name]: "x" } });
            assert.deepEqual(lines.filter((line) => line.startsWith("--")), [], name);
        }
        assert.deepEqual((await run([], { files: { "config.yaml": "port: 1\n" } })).lines, []);
        assert.deepEqual((await run([], { files: { ".env": "export XAI_API_KEY=k\n" } })).lines,
            []);
        for (const file of ["XAI_API_KEY=\n", "XAI_API_KEY='' # later\n", "#XAI_API_KEY=k\n",
            "GITHUB_TOKEN=x\n"]) {
            assert.deepEqual((await run([], { files: { ".env": file } })).lines,
                ["--default-backend", "ollama"], file);
        }
    });
});

for (const name of Object.keys(USUAL)) {
    test(`run: ${name} at its usual port is the default backend`, async () => {
        await listening([name], async () => {
            const { lines, said } = await run(["--workers=1"]);
            const port = name === "vllm" ? ["--port", String(ports.vllm + 1)] : [];
            assert.deepEqual(lines, ["--default-backend", name, ...port, "--workers=1"]);
            assert.match(said, new RegExp(`found ${name} at http://localhost:${ports[name]}`));
        });
    });
}

test("run: vLLM at our port, and a port that was chosen", async () => {
    await listening(["vllm"], async () => {
        assert.deepEqual((await run(["--port", "9"])).lines,
            ["--default-backend", "vllm", "--port", "9"]);
        assert.deepEqual((await run([], { env: { PROXY_PORT: "9" } })).lines,
            ["--default-backend", "vllm"]);
    });
});

test("run: several: the first is the default, the others are backends, too", async () => {
    await listening(["llamacpp", "lmstudio"], async () => {
        const { lines } = await run();
        assert.deepEqual(lines, ["--default-backend", "lmstudio",
            `LLAMACPP_API_BASE_URL=http://localhost:${ports.llamacpp}/v1`]);
    });
});

test("run: something else at these ports is none of them", async () => {
    const other = { "/": { hello: 1 }, "/v1/models": { error: "no key" }, "/props": {} };
    await listening(Object.keys(USUAL), async () => {
        assert.deepEqual((await run()).lines, ["--demo"]);
    }, Object.fromEntries(Object.keys(USUAL).map((name) => [name, other])));
});

test("run: what says nothing at such a port holds it up a moment only", async () => {
    const mock = await Mock.start({ port: ports.lmstudio, on_get: (ex) => ex.closed });
    try {
        assert.deepEqual((await run()).lines, ["--demo"]);
    } finally {
        await stop_all(mock);
    }
});

/* The same with the program itself: a backend that nothing but --default-backend names. */
test("run: --default-backend makes a local backend exist", async () => {
    const mock = await Mock.start();
    const proxy = await start({ env: { OLLAMA_API_BASE_URL: `http://127.0.0.1:${mock.port}/v1` },
        args: ["--default-backend", "ollama"], config: {} });
    try {
        const answer = await proxy.call({ path: "/v1/chat/completions", body: JSON.stringify(
            { model: "llama3:8b", messages: [{ role: "user", content: "hi" }] }) });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(mock.posts().at(-1).json.model, "llama3:8b");
        assert.equal(mock.posts().at(-1).get("authorization"), undefined);
    } finally {
        await stop_all(proxy, mock);
    }
});

test("run: --default-backend alone: at its usual port; vLLM's is the proxy's own", async () => {
    const check = (...args) => new Promise((resolve) => {
        const cwd = temp_dir();
        execFile(PROGRAM, ["--check-config", ...args], { cwd, env: { PATH: process.env.PATH } },
            (error, stdout, stderr) => resolve({ code: error?.code ?? 0, text: stdout + stderr }));
    });
    for (const name of ["ollama", "lmstudio", "llamacpp"]) {
        const { code, text } = await check("--default-backend", name);
        assert.equal(code, 0, text);
        assert.doesNotMatch(text, /not functional|No functional/);
    }
    const { code, text } = await check("--default-backend", "vllm");
    assert.equal(code, 1);
    assert.match(text, /backends\.vllm\.api_url: at port 8000 of this machine the proxy itself/);
    assert.equal((await check("--default-backend", "vllm", "--port", "8001")).code, 0);
});
