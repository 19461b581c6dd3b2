/* SPDX-License-Identifier: MIT */
/*
 * Each system call of an exchange comes back short, or fails, one after the other.
 *
 * An exchange is run once to count its steps, then again with the fault at step k, for all k, and
 * each time with the fault for good from step k on. Whatever k is: the client gets the right answer
 * whole, or an error that says so, and never a part that looks finished; the next exchange works;
 * in the end no connection, request or descriptor is left.
 *
 * Only where the system says that the client's own connection is broken there may be no answer.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { available, make } from "../e2e/lib/certs.mjs";
import { now, sse_data } from "../e2e/lib/http1.mjs";
import { Mock, chunk, delta, sse, text_chunks, whole, LAST_CHUNK, head_bytes }
    from "../e2e/lib/mock.mjs";
import { SLOW, backend, start, stop_all, temp_dir, test } from "../e2e/lib/proxy.mjs";
import { FOREVER, Inject, LEG, OP, sockets_of, unavailable } from "./lib/inject.mjs";

const skip = unavailable();
const no_tls = skip || (available() ? false : "the openssl command is not installed");
const WORDS = ["How", " to", " be", " whole", " \u2014", " or", " not", " to", " be", "."];
const LARGE = 200_000;
const QUIET_MS = SLOW ? 20_000 : 5_000;
const STEPS_MAX = 600;

let dir;
let plain;
let secure;

/* Two of the program, one that listens for http and one for https; and the one in use. */
const rigs = { http: null, https: null };
let rig;
let inject;
let proxy;

function use(name) {
    rig = rigs[name];
    ({ inject, proxy } = rig);
}

async function open_rig(name, options) {
    const own = new Inject();
    rigs[name] = {
        inject: own,
        proxy: null,
        sockets: 0, /* at rest */
        alone: null, /* memory of the request that asks for the metrics, when there is no other */
    };
    rigs[name].proxy = await start({ ...options, env: own.env });
    use(name);
    await quiet();
    rig.sockets = await at_rest();
}

/** How many sockets there are when nobody asks: those there are when only one asks, without it. */
async function at_rest() {
    const client = await proxy.connect();
    const end = now() + QUIET_MS;
    try {
        for (;;) {
            client.send({ method: "GET", path: "/metrics", headers: proxy.headers() });
            const { text } = await client.response();
            if (/^llm_proxy_connections 1$/m.test(text)) {
                return sockets_of(proxy.pid).length - 1;
            }
            assert.ok(now() < end, "connections stay open");
        }
    } finally {
        client.destroy();
    }
}

/* ---- what the one client has ---- */

let got = "";
let listening = null;

/** Resolves when n events have come to the client, or it has gone. */
function heard(n) {
    const enough = () => got === null || got.split("\n\n").length > n;
    return enough() ? null : new Promise((resolve) => {
        listening = () => enough() && resolve();
    });
}

function hears(bytes) {
    got = bytes === null ? null : got + bytes.toString("latin1");
    listening?.();
}

/* ---- upstreams: the same answers, and no connection or one is kept ---- */

const kept = (ex) => ({ connection: ex.json.model.endsWith("cold") ? "close" : "keep-alive" });

async function answer(ex) {
    const { model, stream } = ex.json;
    const finish = () => {
        if (model.endsWith("cold")) {
            ex.fin();
        }
    };
    if (!stream) {
        const content = ex.body.length > LARGE ? "y".repeat(LARGE) : WORDS.join("");
        await ex.json_answer(whole(model, { content }), { headers: kept(ex) });
        finish();
        return;
    }
    /* An event goes when the client has the one before: all runs have the same steps. */
    await ex.write(head_bytes(200, { "content-type": "text/event-stream",
        "transfer-encoding": "chunked", ...kept(ex) }));
    for (const [i, one] of text_chunks(model, WORDS).entries()) {
        await Promise.race([heard(i), ex.closed]);
        await ex.write(chunk(sse([one], false)));
    }
    await ex.write(Buffer.concat([chunk("data: [DONE]\n\n"), LAST_CHUNK]));
    finish();
}

before(async () => {
    if (skip) {
        return;
    }
    dir = temp_dir();
    plain = await Mock.start({ fallback: answer });
    const backends = {
        plain: backend(plain),
        name: backend(plain, { api_url: `http://both.inject.test:${plain.port}/v1` }),
    };
    if (!no_tls) {
        const certs = make(dir);
        secure = await Mock.start({ tls: certs.good, fallback: answer });
        backends.secure = backend(secure, { ca_file: certs.ca });
        await open_rig("https", {
            config: { retries: 0, backends, tls: {
                cert: path.join(dir, "good.pem"), key: path.join(dir, "good.key") } },
            secure: { ca: fs.readFileSync(certs.ca), servername: "localhost" },
        });
    }
    await open_rig("http", { config: { retries: 0, backends } });
});

after(async () => {
    await stop_all(rigs.http?.proxy, rigs.https?.proxy, plain, secure);
    rigs.http?.inject.fini();
    rigs.https?.inject.fini();
    if (dir) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
});

/* ---- one exchange, and what may come of it ---- */

const body_of = ({ model, stream, large }) => JSON.stringify({ model, stream,
    messages: [{ role: "user", content: large ? "x".repeat(LARGE) : "To be?" }] });

/** {status, text, ended}; without a status: the connection ended before an answer. */
async function exchange(what) {
    let client;
    try {
        client = await proxy.connect();
    } catch (error) {
        assert.ok(proxy.secure, error); /* the handshake is a part of the exchange */
        return { text: "", ended: "cut" };
    }
    got = "";
    if (what.stream) {
        client.socket.on("data", hears);
    }
    try {
        client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
            body: body_of(what) });
        const response = await client.response();
        return { status: response.status, text: response.text, ended: response.ended };
    } catch (error) {
        if (!/^the connection ended/.test(error.message)) {
            throw error;
        }
        return { text: "", ended: "cut" };
    } finally {
        client.destroy();
        hears(null);
    }
}

/** "right", "error", or "cut"; anything else is a defect. */
function judge(outcome, wanted) {
    const { status, text, ended } = outcome;
    const complete = ended === "length" || ended === "chunked";
    if (status === 200 && complete && text === wanted) {
        return "right";
    }
    if (status >= 400 && complete) {
        assert.ok(JSON.parse(text).error.message.length > 0);
        return "error";
    }
    const events = sse_data(text);
    if (status === 200 && events.length > 0 && /^\{"error":\{/.test(events.at(-1))) {
        assert.ok(!events.includes("[DONE]"), text);
        return "error";
    }
    assert.equal(ended, "cut", `looks finished, and is neither whole nor an error: ${
        JSON.stringify(outcome)}`);
    return "cut";
}

async function gauges() {
    const text = (await proxy.call({ method: "GET", path: "/metrics" })).text;
    const sum = (name) => [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, "gm"))]
        .reduce((n, m) => n + Number(m[1]), 0);
    return {
        connections: sum("llm_proxy_connections"),
        requests: sum("llm_proxy_requests_active"),
        bytes: sum("llm_proxy_inflight_bytes"),
        upstream: sum("llm_proxy_upstream_connections"),
    };
}

/** Waits until nothing goes on; connections to upstreams are closed by these first. */
async function quiet() {
    const end = now() + QUIET_MS;
    let last;
    do {
        for (const mock of [plain, secure].filter(Boolean)) {
            for (const socket of mock.sockets) {
                socket.destroy();
            }
        }
        last = await gauges();
        if (last.connections === 1 && last.requests === 1 && last.upstream === 0 &&
            last.bytes === (rig.alone ??= last.bytes)) {
            break;
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
    } while (now() < end);
    /* The request that asks is there itself. */
    assert.deepEqual(last, { connections: 1, requests: 1, bytes: rig.alone, upstream: 0 });
}

async function nothing_is_left() {
    await quiet();
    const end = now() + QUIET_MS;
    while (sockets_of(proxy.pid).length !== rig.sockets && now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(sockets_of(proxy.pid).length, rig.sockets, "sockets are left open");
}

/**
 * The fault at step k, for all k. `may`: what may come of it. Returns how often what came.
 * The steps of two runs may differ by a read or two: it ends when two k in a row are behind the
 * last step.
 */
async function at_each_step(what, wanted, fault, calls, may) {
    const came = { right: 0, error: 0, cut: 0 };
    use(what.rig ?? "http");
    assert.equal(judge(await exchange(what), wanted), "right");
    inject.arm({ count: true }, calls);
    assert.equal(judge(await exchange(what), wanted), "right");
    const { steps } = inject.disarm();
    assert.ok(steps > 0, "the exchange has none of these steps");
    let behind = 0;
    let k = 0;
    while (behind < 2) {
        assert.ok(++k < STEPS_MAX, "the exchange does not come to an end");
        inject.arm(fault, { ...calls, at: k });
        const outcome = await exchange(what);
        const { hits } = inject.disarm();
        const where = `step ${k} of ${steps}, ${JSON.stringify(fault)}: ${JSON.stringify(outcome)}`;
        behind = hits > 0 ? 0 : behind + 1;
        const how = judge(outcome, wanted);
        assert.ok(hits > 0 ? may.includes(how) : how === "right", `${how} at ${where}`);
        came[how]++;
        assert.equal(judge(await exchange(what), wanted), "right", `after ${where}`);
    }
    /* How many reads it takes is for the moment to say: it may have been an odd one. */
    let least = steps;
    for (let again = 0; again < 10 && k <= least * 0.8; again++) {
        inject.arm({ count: true }, calls);
        assert.equal(judge(await exchange(what), wanted), "right");
        least = Math.min(least, inject.disarm().steps);
    }
    assert.ok(k > least * 0.8, `only ${k} of ${least} steps were reached`);
    return came;
}

/**
 * The same, until the fault has been felt. A connection that was over before closes whenever its
 * worker comes to it, which is a step, too: now and then all faults fall on those.
 */
async function at_each_step_felt(how, ...args) {
    for (let again = 0; again < 5; again++) {
        if ((await at_each_step(...args))[how] > 0) {
            return;
        }
    }
    assert.fail("no fault was ever felt");
}

/* ---- the table ---- */

const named = (ops) => Object.keys(OP).filter((name) => (ops & OP[name]) !== 0).join(", ");
const all = OP.read | OP.write;
const HARMLESS = [
    [{ short: true }, all, LEG.both],
    [{ error: "EAGAIN" }, all | OP.accept, LEG.both],
    [{ error: "EINTR" }, all | OP.accept | OP.connect | OP.poll, LEG.both],
    [{ error: "ENOBUFS" }, OP.write, LEG.both],
    [{ error: "ECONNABORTED" }, OP.accept, LEG.client],
    [{ error: "EMFILE" }, OP.accept, LEG.client],
    [{ error: "ENOMEM" }, OP.accept, LEG.client],
];
const HARD = [
    [{ error: "ECONNRESET" }, all | OP.connect],
    [{ error: "EPIPE" }, OP.write],
    [{ error: "ENOMEM" }, all | OP.socket | OP.connect],
    [{ error: "ETIMEDOUT" }, all | OP.connect],
    [{ error: "EMFILE" }, OP.socket],
    [{ error: "ENOBUFS" }, OP.socket | OP.connect],
    [{ error: "EADDRNOTAVAIL" }, OP.connect],
    [{ error: "ENETUNREACH" }, OP.connect],
];
const CASES = {
    "a whole answer": { model: "plain:m-cold", stream: false },
    "a large body and a large answer": { model: "plain:m-cold", stream: false, large: true },
    "a stream": { model: "plain:m-cold", stream: true },
    "a whole answer from one of two addresses": { model: "name:m-cold", stream: false },
    "a stream on a kept connection": { model: "plain:m-warm", stream: true },
    "a whole answer through TLS": { model: "secure:m-cold", stream: false, tls: true },
    "a stream through TLS": { model: "secure:m-cold", stream: true, tls: true },
    "a whole answer over https": { model: "plain:m-cold", stream: false, tls: true,
        rig: "https" },
    "a stream over https": { model: "plain:m-cold", stream: true, tls: true, rig: "https" },
};

for (const [name, what] of Object.entries(CASES)) {
    const why = what.tls ? no_tls : skip;
    const model = what.model.split(":")[1];
    const wanted = what.stream ? sse(text_chunks(model, WORDS)) :
        JSON.stringify(whole(model, { content: what.large ? "y".repeat(LARGE) : WORDS.join("") }));

    for (const [fault, ops, legs] of HARMLESS) {
        test(`inject: ${name}, ${fault.error ?? "a byte at a time"} in ${named(ops)}: as if ` +
            "nothing had happened", { skip: why }, async () => {
                const came = await at_each_step(what, wanted, fault, { ops, legs }, ["right"]);
                assert.equal(came.error + came.cut, 0);
                await nothing_is_left();
            });
    }
    for (const [fault, ops] of HARD.filter(([, wants]) => what.model !== "plain:m-warm" ||
        (wants & all) !== 0)) {
        test(`inject: ${name}, ${fault.error} from the upstream in ${named(ops)}: an error, or ` +
            "right", { skip: why }, async () => {
                for (const times of [1, FOREVER]) {
                    /* A kept connection that breaks before the answer is replaced. */
                    await at_each_step_felt(what.model === "plain:m-warm" ? "right" : "error",
                        what, wanted, fault, { ops, legs: LEG.upstream, times },
                        ["right", "error"]);
                }
                await nothing_is_left();
            });
        if ((ops & all) !== 0) {
            test(`inject: ${name}, ${fault.error} from the client in ${named(ops & all)}: cut, ` +
                "or right", { skip: why }, async () => {
                    for (const times of [1, FOREVER]) {
                        await at_each_step_felt("cut", what, wanted, fault,
                            { ops: ops & all, legs: LEG.client, times }, ["right", "cut"]);
                    }
                    await nothing_is_left();
                });
        }
    }
    if (what.large) {
        continue; /* a million steps, and nothing new */
    }
    test(`inject: ${name}, every read and write is one byte`, { skip: why }, async () => {
        use(what.rig ?? "http");
        inject.arm({ short: true }, { ops: all });
        const outcome = await exchange(what);
        const { hits } = inject.disarm();
        assert.equal(judge(outcome, wanted), "right");
        assert.ok(hits > wanted.length, `${hits} short transfers`);
        await nothing_is_left();
    });
}
