/* SPDX-License-Identifier: MIT */
/*
 * Names of backends: unknown, without addresses, with several, looked up slowly or not at all.
 * The names need no network: ../fault/inject.c knows them.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Client, now, until } from "../e2e/lib/http1.mjs";
import { Mock, whole } from "../e2e/lib/mock.mjs";
import { DEAD_PORT, SLOW, backend, start, stop_all, test } from "../e2e/lib/proxy.mjs";
import { EAI, FOREVER, Inject, OP, unavailable } from "./lib/inject.mjs";

const skip = unavailable();
const STUCK_MS = SLOW ? 4000 : 2000;

let mock;
let proxy;
let inject;

/* No connection is kept: each request looks its name up. */
async function answer(ex) {
    await ex.json_answer(whole(ex.json.model, { content: "here" }),
        { headers: { connection: "close" } });
    ex.fin();
}

function backends() {
    const at = (host, port = mock.port) => `http://${host}.inject.test:${port}/v1`;
    const to = (host, more = {}) => backend(mock, { api_url: at(host), ...more });
    return {
        literal: backend(mock),
        four: to("four"),
        both: to("both"),
        six: to("six"),
        none: to("none"),
        unknown: to("unknown"),
        dead: to("both", { api_url: at("both", DEAD_PORT) }),
        hasty: to("four", { connect_timeout: "300ms" }),
        patient: to("four", { connect_timeout: "20s" }),
    };
}

before(async () => {
    if (skip) {
        return;
    }
    mock = await Mock.start({ fallback: answer });
    inject = new Inject();
    proxy = await start({ config: { retries: 0, backends: backends() }, env: inject.env });
});

after(async () => {
    await stop_all(proxy, mock);
    inject?.fini();
});

const body_of = (name) => ({ model: `${name}:m1`, messages: [{ role: "user", content: "x" }] });

async function ask(name, p = proxy) {
    const at = now();
    const response = await p.chat(body_of(name));
    return { response, took: now() - at };
}

async function works(name) {
    const { response, took } = await ask(name);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json.choices[0].message.content, "here");
    return took;
}

async function fails(name, status, code, text) {
    const { response, took } = await ask(name);
    assert.equal(response.status, status, response.text);
    assert.equal(response.json.error.code, code);
    assert.match(response.json.error.message, text);
    return took;
}

test("dns: one address, and several of which the first refuses", { skip }, async () => {
    await works("four");
    await works("both");
});

test("dns: what cannot be reached is said by name or address", { skip }, async () => {
    await fails("none", 502, "upstream_unreachable", /host not found \(none\.inject\.test:\d+\)/);
    await fails("unknown", 502, "upstream_unreachable",
        /host not found \(unknown\.inject\.test:\d+\)/);
    await fails("six", 502, "upstream_unreachable", /connection refused \(\[::1\]:\d+\)/);
    await fails("dead", 502, "upstream_unreachable",
        /connection refused \(127\.0\.0\.1:\d+, the last of 2 addresses tried\)/);
});

for (const [name, eai] of Object.entries(EAI)) {
    test(`dns: the resolver fails with EAI_${name}: 502, and then it works`, { skip },
        async () => {
            inject.arm({ eai }, { ops: OP.resolve });
            await fails("four", 502, "upstream_unreachable", /\(four\.inject\.test:\d+\)/);
            assert.equal(inject.disarm().hits, 1);
            await works("four");
        });
}

test("dns: a slow look-up ends with connect_timeout, others do not wait for it", { skip },
    async () => {
        inject.arm({ delay: STUCK_MS }, { ops: OP.resolve, at: 1, times: 1 });
        const began = now();
        const took = await fails("hasty", 504, "upstream_timeout",
            /no address of the host within 300 ms .*\(four\.inject\.test:\d+\)/);
        assert.ok(took >= 290 && took < STUCK_MS, `${took} ms`);
        await works("four");
        assert.ok(now() - began < STUCK_MS, "it waited for what is stuck");
        assert.equal(inject.disarm().hits, 1);
    });

test("dns: two stuck look-ups hold up further names, and nothing else", { skip }, async () => {
    inject.arm({ delay: STUCK_MS }, { ops: OP.resolve, at: 1, times: 2 });
    const began = now();
    let back = 0;
    const stuck = [works("patient"), works("patient")];
    stuck.forEach((one) => one.finally(() => { back++; }).catch(() => {}));
    await until(() => inject.hits >= 2, "the look-ups begin");
    const third = works("patient").then(() => now() - began);
    for (let i = 0; i < 5; i++) {
        await works("literal");
        assert.equal(back, 0, "it waited for a look-up");
    }
    await Promise.all(stuck);
    /* Which answer is seen first is for the workers to say: it waited for a look-up's end. */
    assert.ok(await third >= STUCK_MS - 5, "no look-up had to wait: are there more threads now?");
    inject.disarm();
});

test("dns: clients that leave take their look-ups out of the line", { skip }, async () => {
    inject.arm({ delay: STUCK_MS }, { ops: OP.resolve, at: 1, times: FOREVER });
    const began = now();
    const clients = [];
    for (let i = 0; i < 12; i++) {
        const client = await Client.connect(proxy.port);
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: JSON.stringify(body_of("patient")) });
        clients.push(client);
    }
    const active = async () => Number(/^llm_proxy_requests_active (\d+)$/m.exec(
        (await proxy.call({ method: "GET", path: "/metrics" })).text)[1]);
    const there_are = (n) => until(async () => await active() === n, `${n} requests`);
    await there_are(13); /* with the one that asks */
    clients.forEach((client) => client.destroy());
    await there_are(1);
    await new Promise((resolve) => setImmediate(resolve));
    const { steps } = inject.disarm();
    /* Two at a time, each for STUCK_MS. */
    const turns = 1 + Math.floor((now() - began) / STUCK_MS);
    assert.ok(steps <= 2 * turns && steps < 12, `${steps} of 12 were looked up in ${turns} turns`);
    /* Behind the two that are stuck, and no others. */
    await works("patient");
    assert.ok(now() - began < (turns + 3) * STUCK_MS, "it waited for those that left");
});

test("dns: the program ends although a look-up does not", { skip }, async () => {
    const other = new Inject();
    const p = await start({ config: { drain_timeout: "200ms", backends: backends() },
        env: { ...other.env, TSAN_OPTIONS:
            `${process.env.TSAN_OPTIONS ?? ""} report_thread_leaks=0` } });
    try {
        other.arm({ delay: 60_000 }, { ops: OP.resolve });
        const client = await Client.connect(p.port);
        client.send({ path: "/v1/chat/completions", headers: p.headers(),
            body: JSON.stringify(body_of("patient")) });
        await until(() => other.hits >= 1, "the look-up begins");
        const at = now();
        await p.stop();
        assert.ok(now() - at < 30_000);
        assert.match(p.stderr, /stop\.left_behind/);
        client.destroy();
    } finally {
        other.fini();
    }
});
