/* SPDX-License-Identifier: MIT */
/*
 * The program under test as a process.
 *
 * start() gives it a directory of its own, a config, a clean environment and a free port, waits
 * until /healthz answers; stop() ends it by SIGTERM and insists on exit 0 and on a standard error
 * without a sanitizer's report. run() is for the options that print and leave.
 *
 * LLM_PROXY   the program (default build/release/llm-proxy)
 * WORKERS     `workers:` of every config
 * SLOW=1      a sanitizer or debug build: the time limits are widened (set by itself when the
 *             path says so)
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import nodetest from "node:test";
import { fileURLToPath } from "node:url";

import { SEED } from "./random.mjs";
import { Client, limited, now, open, request, until, within } from "./http1.mjs";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const PROGRAM = path.resolve(ROOT, process.env.LLM_PROXY ?? "build/release/llm-proxy");
export const SLOW = process.env.SLOW === "1" || /\/(asan|tsan|debug|cov)\//.test(PROGRAM);
export const KEY = "client-key-1";

/** Time in which a client's leaving must have reached the upstream. */
export const CANCEL_MS = SLOW ? 1000 : 100;
const OTHERS = 20;

/* Limits for what hangs: nothing else comes near them, on any machine. */
const READY_MS = 60_000;
const TEST_MS = SLOW ? 300_000 : 120_000;
const STOP_MS = 60_000;
const REPORT = /ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|^BUG|Assertion/m;

const running = () => [...open].filter((o) => o instanceof Instance);

/**
 * A client leaves by `leave`; `gone`, the end of its exchange at the upstream, must come at once.
 * That is within CANCEL_MS, or, where the machine itself is held up, before others have been
 * answered OTHERS times, one after the other: what waits for a timer or for more bytes is slower.
 */
export async function gone_at_once(proxy, leave, gone, what = "the upstream sees the end") {
    const left = now();
    let others = 0;
    let over = false;
    const meanwhile = (async () => {
        while (!over) {
            await request(proxy.port, { method: "GET", path: "/healthz", secure: proxy.secure });
            others += over ? 0 : 1;
        }
    })();
    meanwhile.catch(() => {});
    let at;
    try {
        await leave();
        ({ at } = await within(SLOW ? 60_000 : 10_000, what, gone));
    } finally {
        over = true;
    }
    await meanwhile;
    assert.ok(at >= left, "it ended before the client left");
    assert.ok(at - left < CANCEL_MS || others < OTHERS,
        `${what}: after ${at - left} ms, and ${others} answers to others`);
}

/**
 * For what has to act within a time-out again and again: `attempt` with a watch beside it. Where it
 * fails and this process was held up for `ms` meanwhile, it could not act in time, and has another
 * try; else the failure is one.
 */
export async function in_time(ms, attempt) {
    for (let left = 3;; left--) {
        let longest = 0;
        let last = now();
        const watch = setInterval(() => {
            longest = Math.max(longest, now() - last);
            last = now();
        }, 5);
        try {
            return await attempt();
        } catch (error) {
            longest = Math.max(longest, now() - last);
            if (left === 0 || longest < ms) {
                throw error;
            }
        } finally {
            clearInterval(watch);
        }
    }
}

/** Runs `work`; for how long of it this process itself had not got its turn, in all. */
export async function held_up_for(work) {
    const STEP_MS = 5;
    let sum = 0;
    let last = now();
    const look = () => {
        sum += Math.max(0, now() - last - 2 * STEP_MS);
        last = now();
    };
    const watch = setInterval(look, STEP_MS);
    try {
        await work();
    } finally {
        clearInterval(watch);
    }
    look();
    return sum;
}

/** Plain data as block-style YAML. */
export function yaml(value, indent = "") {
    let text = "";
    for (const [key, item] of Object.entries(value)) {
        const name = /^[A-Za-z_][\w.-]*$/.test(key) ? key : JSON.stringify(key);
        if (item === undefined) {
            continue;
        }
        if (Array.isArray(item)) {
            text += `${indent}${name}:\n` + item.map((i) => `${indent}  - ${
                JSON.stringify(i)}\n`).join("");
        } else if (item !== null && typeof item === "object" && Object.keys(item).length > 0) {
            text += `${indent}${name}:\n${yaml(item, indent + "  ")}`;
        } else {
            text += `${indent}${name}: ${JSON.stringify(item)}\n`;
        }
    }
    return text;
}

export function temp_dir() {
    return fs.mkdtempSync(path.join(os.tmpdir(), "llm-proxy-e2e-"));
}

/** Nobody listens there: only root might, and no test does. */
export const DEAD_PORT = 1;

/* Below what the kernel hands out by itself, to connections as well. */
const PORTS = (() => {
    let end = 32_768;
    try {
        [end] = fs.readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split("\t")
            .map(Number);
    } catch {
        /* Not Linux. */
    }
    return { begin: 15_000, end };
})();

/** One that nobody has; and that nobody gets who did not ask for it. */
export async function free_port() {
    for (;;) {
        const count = PORTS.end - PORTS.begin;
        const port = count < 1000 ? 0 : PORTS.begin + Math.floor(Math.random() * count);
        const server = net.createServer();
        const taken = new Promise((resolve) => {
            server.once("error", resolve);
        });
        server.listen(port, "127.0.0.1");
        if (await Promise.race([taken, once(server, "listening")]) instanceof Error) {
            continue;
        }
        const { port: got } = server.address();
        server.close();
        await once(server, "close");
        return got;
    }
}

function environment(dir, more) {
    const env = { PATH: process.env.PATH, HOME: dir, LANG: "C.UTF-8" };
    for (const [name, value] of Object.entries(process.env)) {
        if (/^(A|L|T|UB)SAN_OPTIONS$|^GCOV_|^LD_LIBRARY_PATH$/.test(name)) {
            env[name] = value;
        }
    }
    return { ...env, ...more };
}

function config_text(config, defaults) {
    const workers = process.env.WORKERS ? { workers: Number(process.env.WORKERS) } : {};
    return typeof config === "string" ? config : yaml({ ...defaults, ...workers, ...config });
}

function prepare({ config = {}, files = {} }, defaults) {
    const dir = temp_dir();
    if (config !== null) {
        fs.writeFileSync(path.join(dir, "config.yaml"), config_text(config, defaults));
    }
    for (const [name, content] of Object.entries(files)) {
        fs.writeFileSync(path.join(dir, name), content);
    }
    return dir;
}

/** Runs the program to its end: {code, stdout, stderr, all, dir}. */
export async function run(args, options = {}) {
    const dir = options.dir ?? prepare({ config: null, ...options }, {});
    const child = spawn(PROGRAM, args, {
        cwd: dir, env: environment(dir, options.env), stdio: ["ignore", "pipe", "pipe"],
    });
    const out = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text) => { out.stdout += text; });
    child.stderr.setEncoding("utf8").on("data", (text) => { out.stderr += text; });
    const killer = setTimeout(() => child.kill("SIGKILL"), READY_MS);
    const [code, signal] = await once(child, "close");
    clearTimeout(killer);
    if (!options.dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    const all = out.stdout + out.stderr;
    assert.equal(signal, null, `llm-proxy ${args.join(" ")} ended by ${signal}:\n${all}`);
    assert.doesNotMatch(all, REPORT);
    return { code, ...out, all };
}

export class Instance {
    constructor(dir, port, secure) {
        this.dir = dir;
        this.port = port;
        this.secure = secure;
        this.url = `${secure ? "https" : "http"}://127.0.0.1:${port}`;
        this.stderr = "";
        this.exit = null;
    }

    get pid() {
        return this.child.pid;
    }

    spawn(args, env) {
        this.child = spawn(PROGRAM, args, {
            cwd: this.dir, env: environment(this.dir, env), stdio: ["ignore", "ignore", "pipe"],
        });
        this.child.stderr.setEncoding("utf8").on("data", (text) => { this.stderr += text; });
        this.exited = new Promise((resolve, reject) => {
            this.child.on("error", reject);
            this.child.on("close", (code, signal) => {
                this.exit = { code, signal };
                resolve(this.exit);
            });
        });
        this.exited.catch(() => {});
    }

    /** The log is written by a thread of its own, a little later: waits for a line of it. */
    async logged(pattern, what) {
        const end = now() + READY_MS;
        while (!pattern.test(this.stderr) && now() < end) {
            await new Promise((wake) => setTimeout(wake, 5));
        }
        assert.match(this.stderr, pattern, what);
    }

    /**
     * /metrics, once no request is worked on but `others` and this one: only then all that was
     * asked before has been counted, keys and connections were given back. A worker is at that for
     * a moment after the client has its answer, and another one may have this question already.
     */
    counted(others = 0, headers = {}) {
        let rests = false;
        return until(async () => {
            const { status, text } = await this.call({ method: "GET", path: "/metrics", headers });
            assert.equal(status, 200, text);
            const active = Number(/^llm_proxy_requests_active (\d+)$/m.exec(text)[1]);
            /* What stands in front of that number was read before it. */
            const rested = rests;
            rests = active === others + 1;
            return rested && rests && text;
        }, `no request is worked on but ${others}`);
    }

    /** Waits until the memory of all requests but this question was given back. */
    memory_back() {
        return until(async () => {
            const { text } = await this.call({ method: "GET", path: "/metrics" });
            return Number(/^llm_proxy_inflight_bytes (\d+)$/m.exec(text)[1]) <= 64 * 1024;
        }, "nothing is in flight");
    }

    /** Another config.yaml (none: only the signal), SIGHUP; what the log says of it. */
    async reload(config = null) {
        const told = () => [...this.stderr.matchAll(/^.*\breload\.(?:done|failed)\b.*\n/gm)];
        const before = told().length;
        const mark = this.stderr.length;
        if (config !== null) {
            const file = path.join(this.dir, "config.yaml");
            fs.writeFileSync(`${file}.new`, config_text(config, { port: this.port,
                api_keys: [KEY] }));
            fs.renameSync(`${file}.new`, file);
        }
        process.kill(this.pid, "SIGHUP");
        const end = now() + READY_MS;
        while (told().length === before) {
            assert.equal(this.exit, null, `it ended at SIGHUP:\n${this.stderr}`);
            assert.ok(now() < end, "the log says nothing of the reload");
            await new Promise((wake) => setTimeout(wake, 2));
        }
        return this.stderr.slice(mark);
    }

    /** How many descriptors it holds. */
    descriptors() {
        return fs.readdirSync(`/proc/${this.pid}/fd`).length;
    }

    async ready() {
        const end = now() + READY_MS;
        while (this.exit === null) {
            try {
                const answer = await request(this.port, { method: "GET", path: "/healthz",
                    secure: this.secure });
                assert.equal(answer.status, 200);
                return;
            } catch (error) {
                if (now() > end || error.code === "ERR_ASSERTION") {
                    throw new Error(`no answer from /healthz: ${error.message}\n${this.stderr}`);
                }
            }
            await Promise.race([this.exited, new Promise((r) => setTimeout(r, 5))]);
        }
        throw new Error(`llm-proxy ended at its start: ${JSON.stringify(this.exit)}\n${
            this.stderr}`);
    }

    /** One request with the client's key. */
    call(options) {
        return request(this.port, { secure: this.secure, ...options,
            headers: this.headers(options.headers) });
    }

    headers(more = {}) {
        const list = Array.isArray(more) ? more : Object.entries(more);
        return [["Authorization", `Bearer ${KEY}`], ["Content-Type", "application/json"], ...list]
            .filter(([name], i, all) => !all.slice(i + 1).some(([n]) =>
                i < 2 && n.toLowerCase() === name.toLowerCase()));
    }

    chat(body, { path: target = "/v1/chat/completions", headers = {} } = {}) {
        return this.call({ path: target, headers,
            body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        });
    }

    connect() {
        return Client.connect(this.port, "127.0.0.1", this.secure);
    }

    /** Counted page by page: what `status` says is some pages per processor off. */
    rss_kib() {
        try {
            const rollup = fs.readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
            return Number(/^Rss:\s+(\d+) kB/m.exec(rollup)[1]);
        } catch {
            const status = fs.readFileSync(`/proc/${this.pid}/status`, "utf8");
            return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]);
        }
    }

    /** For a process that has ended in its own way. */
    abandon() {
        open.delete(this);
        this.child.kill("SIGKILL");
        fs.rmSync(this.dir, { recursive: true, force: true });
    }

    /** SIGTERM, exit 0, nothing of a sanitizer: each test file ends with this. */
    async stop() {
        if (this.exit === null) {
            this.child.kill("SIGTERM");
        }
        try {
            const { code, signal } = await limited(STOP_MS, "llm-proxy ends after SIGTERM",
                this.exited);
            assert.deepEqual({ code, signal }, { code: 0, signal: null },
                `llm-proxy must leave with 0 after SIGTERM:\n${this.stderr}`);
            assert.doesNotMatch(this.stderr, REPORT);
        } finally {
            this.abandon();
        }
    }
}

/** config: an object, or YAML text (then the port is given on the command line). secure: where the
 * config makes it speak TLS, options of tls.connect with which clients come. A port that somebody
 * else took between its choice and the start is replaced by another. */
export async function start(options = {}) {
    for (let left = 5;; left--) {
        try {
            return await start_once(options);
        } catch (error) {
            if (left === 0 || !/:\d+ is already in use/.test(error.message)) {
                throw error;
            }
        }
    }
}

async function start_once({ config = {}, env = {}, args = [], files = {}, dir = null,
    secure = null }) {
    const port = await free_port();
    const where = dir ?? prepare({ config, files }, { port, api_keys: [KEY] });
    const proxy = new Instance(where, port, secure);
    const more = typeof config === "string" || config === null || dir ?
        ["--port", String(port)] : [];
    proxy.spawn([...more, ...args], env);
    open.add(proxy);
    try {
        await proxy.ready();
    } catch (error) {
        proxy.abandon();
        throw error;
    }
    return proxy;
}

/** Stops instances and mocks, all of them whatever one says; rejects with the first complaint. */
export async function stop_all(...list) {
    const results = [];
    for (const one of list.filter(Boolean)) {
        results.push(...await Promise.allSettled([one.stop()]));
    }
    const bad = results.find((r) => r.status === "rejected");
    if (bad) {
        throw bad.reason;
    }
}

/**
 * False when the option's feature is there, else why not: the program itself says which options
 * of the contract it accepts without effect. A test of such an option skips, by that name, and
 * comes alive with the feature.
 */
export async function not_built(option, value) {
    const { code, all } = await run(["--check-config"], { config: { [option]: value } });
    assert.equal(code, 0, all);
    const line = all.split("\n").find((text) => /warning/i.test(text) &&
        new RegExp(`\\b${option}\\b`).test(text));
    return line ? `the program says: ${line.trim()}` : false;
}

/** A custom backend of the plain protocol. */
export function backend(mock, more = {}) {
    return { protocol: "openai-chat", api_url: mock.url, api_keys: ["upstream-key-1"], ...more };
}

/**
 * node:test's test. When it fails, its report shows what the program wrote meanwhile, and the
 * seed; and what it opened is closed, so that the file still ends. Its limit, for a program that
 * hangs, is TEST_MS, or `ms` of the options.
 */
export function test(name, ...rest) {
    const body = rest.pop();
    const options = rest.pop() ?? {};
    return nodetest(name, options, async (t) => {
        const before = new Set(open);
        const marks = new Map(running().map((p) => [p, p.stderr.length]));
        try {
            await limited(options.ms ?? TEST_MS, "the end of the test", Promise.resolve(body(t)));
        } catch (error) {
            t.diagnostic(`SEED=${SEED}`);
            for (const p of running()) {
                const text = p.stderr.slice(marks.get(p) ?? 0).slice(-8192);
                t.diagnostic(`llm-proxy ${p.pid}${p.exit ? ` ended ${JSON.stringify(p.exit)}` :
                    ""}, standard error:\n${text}`);
            }
            for (const o of [...open].filter((one) => !before.has(one))) {
                o.abandon();
            }
            throw error;
        }
    });
}
