/* SPDX-License-Identifier: MIT */
/*
 * Out of file descriptors, really: the running program's limit is lowered (prlimit), and filled.
 *
 * Whoever cannot be served is told so or sent away, nobody hangs, nothing spins; what stands goes
 * on; and when descriptors come back, so does everything.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { after, before } from "node:test";

import { available, make } from "../e2e/lib/certs.mjs";
import { Client, now, until, within } from "../e2e/lib/http1.mjs";
import { Mock, delta } from "../e2e/lib/mock.mjs";
import { SLOW, backend, start, stop_all, temp_dir, test } from "../e2e/lib/proxy.mjs";

const LIMIT_MS = SLOW ? 20_000 : 8_000;
const TICKS = 100; /* a second, as Linux tells CPU times to everybody */

function unavailable() {
    try {
        execFileSync("prlimit", ["--pid", String(process.pid), "--nofile"], { stdio: "ignore" });
        return false;
    } catch {
        return "the prlimit command is not installed, or does not work here";
    }
}

const skip = unavailable();
const no_tls = skip || (available() ? false : "the openssl command is not installed");

let dir;
let mock;
let secure;
let proxy;
let operator; /* a connection from before: asks when nobody else can get in */

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    mock = await Mock.start();
    const backends = { mock: backend(mock) };
    const env = {};
    if (!no_tls) {
        const certs = make(dir);
        secure = await Mock.start({ tls: certs.good });
        env.SSL_CERT_FILE = certs.ca;
        backends.secure = backend(secure);
    }
    /* A worker opens what it keeps with its first connection: all of them have had one, which is
     * sure only where they are few. */
    proxy = await start({ config: { retries: 0, workers: 2, backends }, env });
    const clients = [];
    await add(clients, 64);
    for (const client of clients) {
        client.send({ method: "GET", path: "/healthz" });
        assert.equal((await client.response()).status, 200);
        client.destroy();
    }
});

after(async () => {
    operator?.destroy();
    await stop_all(proxy, mock, secure);
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
});

const fds = () => fs.readdirSync(`/proc/${proxy.pid}/fd`).map(Number);
const limit_to = (n) => execFileSync("prlimit", ["--pid", String(proxy.pid), `--nofile=${n}:`]);

/** So that exactly so many numbers are free: the limit is on numbers, and there are gaps. */
function leave_free(free) {
    const used = new Set(fds());
    let limit = 0;
    for (let found = 0; found < free; limit++) {
        found += used.has(limit) ? 0 : 1;
    }
    limit_to(limit);
}

function cpu_ms() {
    const stat = fs.readFileSync(`/proc/${proxy.pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS;
}

async function gauges() {
    operator.send({ method: "GET", path: "/metrics", headers: proxy.headers() });
    const { text } = await operator.response();
    const sum = (name) => [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, "gm"))]
        .reduce((n, m) => n + Number(m[1]), 0);
    return { connections: sum("llm_proxy_connections"), requests: sum("llm_proxy_requests_active"),
        upstream: sum("llm_proxy_upstream_connections") };
}

function drop_upstreams() {
    for (const upstream of [mock, secure].filter(Boolean)) {
        for (const socket of upstream.sockets) {
            socket.destroy();
        }
    }
}

/** body(free) with so many descriptors left; then all of them, and nothing is left over. */
async function with_free(free, body) {
    operator = await proxy.connect();
    await gauges();
    drop_upstreams(); /* kept ones would be used again */
    await until(async () => (await gauges()).upstream === 0, "idle connections close");
    const before_fds = fds().length;
    const soft = Number(execFileSync("prlimit", ["--pid", String(proxy.pid), "--nofile",
        "--noheadings", "--output=SOFT"], { encoding: "utf8" }));
    const clients = [];
    leave_free(free);
    try {
        await body(clients);
    } finally {
        limit_to(soft);
        clients.forEach((client) => client.destroy());
    }
    drop_upstreams();
    await until(async () => {
        const { connections, requests, upstream } = await gauges();
        return connections === 1 && requests === 1 && upstream === 0;
    }, "everything is closed again");
    await until(() => fds().length === before_fds, "all descriptors are back");
    assert.equal((await proxy.chat(ask("mock"))).status, 200);
    drop_upstreams();
    operator.destroy();
}

const ask = (name, stream = false) => ({ model: `${name}:m1`, stream,
    messages: [{ role: "user", content: "x" }] });

async function add(clients, n) {
    for (let i = 0; i < n; i++) {
        const client = await Client.connect(proxy.port);
        client.closed.then(({ how }) => { client.how = how; });
        clients.push(client);
    }
}

test("descriptors: who does not get in is sent away, nothing spins", { skip }, async () => {
    await with_free(10, async (clients) => {
        await add(clients, 40);
        const away = () => clients.filter((c) => c.how !== undefined).length;
        await until(() => away() >= 30, "30 of 40 are sent away");
        const used = cpu_ms();
        const at = now();
        /* They come again and again, for a while: this is what spins where it is not done well. At
         * their own pace: how much they cost is not to be a matter of how fast this machine is. */
        while (now() - at < 1_000) {
            await add(clients, 1);
            await within(LIMIT_MS, "the end of one too many", clients.at(-1).closed);
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const share = (cpu_ms() - used) / (now() - at);
        assert.ok(share < (SLOW ? 0.5 : 0.1), `${Math.round(share * 100)} % of a CPU`);
        const inside = clients.filter((c) => c.how === undefined);
        assert.equal(inside.length, 10);
        await until(async () => (await gauges()).connections === 11, "the rest is inside");
        await proxy.logged(/msg=accept\.failed error="too many open files"/);
        /* One leaves, one comes in. */
        inside[0].destroy();
        await until(async () => (await gauges()).connections === 10, "the place is free");
        const late = await proxy.connect();
        late.send({ method: "GET", path: "/healthz" });
        assert.equal((await late.response()).status, 200);
        late.destroy();
    });
});

test("descriptors: none for the upstream: 502 that says so, and then it works", { skip },
    async () => {
        await with_free(1, async (clients) => {
            await add(clients, 1);
            for (let i = 0; i < 3; i++) {
                clients[0].send({ path: "/v1/chat/completions", headers: proxy.headers(),
                    body: JSON.stringify(ask("mock", i === 1)) });
                const refused = await clients[0].response();
                assert.equal(refused.status, 502, refused.text);
                assert.match(refused.json.error.message, /too many open files/);
            }
            leave_free(1);
            clients[0].send({ path: "/v1/chat/completions", headers: proxy.headers(),
                body: JSON.stringify(ask("mock")) });
            assert.equal((await clients[0].response()).status, 200);
        });
    });

test("descriptors: streams that run go on while others are refused", { skip }, async () => {
    const finish = [];
    mock.on("m1", async (ex) => {
        if (!ex.json.stream) {
            await mock.fallback(ex);
            return;
        }
        await ex.open_stream();
        await ex.event(delta("m1", { role: "assistant", content: "first" }));
        await Promise.race([new Promise((resolve) => finish.push(resolve)), ex.closed]);
        await ex.event(delta("m1", {}, "stop"));
        await ex.close_stream();
    });
    /* Seven descriptors: three streams have both legs, the fourth lacks one. */
    await with_free(7, async (clients) => {
        const heads = [];
        await add(clients, 4);
        for (const client of clients) {
            client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
                body: JSON.stringify(ask("mock", true)) });
            heads.push(await client.head());
        }
        assert.deepEqual(heads.map((h) => h.status), [200, 200, 200, 502]);
        await until(() => finish.length === 3, "three streams wait");
        finish.forEach((go) => go());
        for (const head of heads.slice(0, 3)) {
            await within(LIMIT_MS, "the end of a stream", head.done);
            assert.equal(head.ended, "chunked");
            assert.match(head.text, /data: \[DONE\]\n\n$/);
        }
    });
    mock.models.delete("m1");
});

test("descriptors: none for a connection with TLS: an error, and then it is made",
    { skip: no_tls }, async () => {
        await with_free(1, async (clients) => {
            await add(clients, 1);
            clients[0].send({ path: "/v1/chat/completions", headers: proxy.headers(),
                body: JSON.stringify(ask("secure")) });
            const refused = await clients[0].response();
            assert.ok(refused.status >= 500, refused.text);
        });
        const answer = await proxy.chat(ask("secure"));
        assert.equal(answer.status, 200, answer.text);
    });

test("descriptors: none for the configuration: the old one stays, and then it is read", { skip },
    async () => {
        const count = (pattern) => [...proxy.stderr.matchAll(pattern)].length;
        await with_free(1, async (clients) => {
            await add(clients, 1);
            await until(async () => (await gauges()).connections === 2, "it has the last one");
            process.kill(proxy.pid, "SIGHUP");
            await until(() => count(/msg=reload\.failed/g) === 1, "the reload fails");
            await proxy.logged(/config\.yaml: [^\n]*[Tt]oo many open files/);
            clients[0].send({ method: "GET", path: "/v1/models", headers: {} });
            assert.equal((await clients[0].response()).status, 401);
        });
        assert.equal(count(/msg=reload\.done/g), 0);
        process.kill(proxy.pid, "SIGHUP");
        await until(() => count(/msg=reload\.done/g) === 1, "it is read");
        assert.equal((await proxy.chat(ask("mock"))).status, 200);
    });
