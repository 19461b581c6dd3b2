/* SPDX-License-Identifier: MIT */
/*
 * What must be left after a fault: nothing.
 *
 * baseline(proxy)   notes descriptors and memory in flight while nobody asks anything.
 * settled(proxy)    waits, with a limit, until the gauges are back: no request but the one that
 *                   asks, no client connection but its own, no upstream connection but idle ones
 *                   that the mock sees too, and as many descriptors as that makes.
 *
 * The gauges are read over a connection of their own; it is counted, and so is its memory.
 */
import assert from "node:assert/strict";
import fs from "node:fs";

import { Client, now } from "../e2e/lib/http1.mjs";
import { KEY, SLOW } from "../e2e/lib/proxy.mjs";

export { until } from "../e2e/lib/http1.mjs";

const SETTLE_MS = SLOW ? 60_000 : 30_000;
const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** The gauges and counters of /metrics by name, labels added up; over `client` if one is given. */
export async function metrics(proxy, client = null) {
    const asker = client ?? await proxy.connect();
    asker.send({ method: "GET", path: "/metrics",
        headers: { Authorization: `Bearer ${proxy.key ?? KEY}` } });
    const answer = await asker.response();
    if (client === null) {
        asker.destroy();
    }
    assert.equal(answer.status, 200, answer.text);
    const sums = {};
    for (const line of answer.text.split("\n")) {
        const found = /^(\w+)(?:\{[^}]*\})? (-?\d+)$/.exec(line);
        if (found) {
            sums[found[1]] = (sums[found[1]] ?? 0) + Number(found[2]);
        }
    }
    return sums;
}

/** Open descriptors, but /dev/null: a worker keeps one in reserve from its first accept on. */
export function fds(proxy) {
    const dir = `/proc/${proxy.pid}/fd`;
    return fs.readdirSync(dir).filter((name) => {
        try {
            return fs.readlinkSync(`${dir}/${name}`) !== "/dev/null";
        } catch {
            return false; /* closed since */
        }
    }).length;
}

async function reading(proxy, asker) {
    const sums = await metrics(proxy, asker);
    const upstreams = sums.llm_proxy_upstream_connections;
    return {
        clients: sums.llm_proxy_connections - 1,
        upstreams,
        requests: sums.llm_proxy_requests_active - 1,
        inflight: sums.llm_proxy_inflight_bytes,
        files: fds(proxy) - upstreams - 1,
    };
}

/** Reads until `good(reading)`; the last reading. */
async function reading_until(proxy, good) {
    const end = now() + SETTLE_MS;
    const asker = await proxy.connect();
    try {
        let last = await reading(proxy, asker);
        while (!good(last) && now() < end) {
            await pause(5);
            last = await reading(proxy, asker);
        }
        return last;
    } finally {
        asker.destroy();
    }
}

export async function baseline(proxy) {
    let before = null;
    const at = await reading_until(proxy, (r) => {
        const same = before !== null && before.files === r.files &&
            before.inflight === r.inflight;
        before = r;
        return same && r.clients === 0 && r.requests === 0;
    });
    proxy.at_rest = { files: at.files, inflight: at.inflight };
    return proxy.at_rest;
}

/**
 * open: client connections that the test itself still holds. mocks: the upstreams; without them
 * the number of idle upstream connections is not looked at.
 */
export async function settled(proxy, { open = 0, mocks = null } = {}) {
    const rest = proxy.at_rest ?? await baseline(proxy);
    const idle = () => mocks.reduce((n, mock) => n + mock.sockets.size, 0);
    const wrong = (r) => Object.entries({
        "client connections": r.clients - open,
        "requests being worked on": r.requests,
        "upstream connections that the upstream does not see": mocks ? r.upstreams - idle() : 0,
        "descriptors": r.files - rest.files - open,
        "bytes in flight": r.inflight - rest.inflight,
    }).filter(([, n]) => n !== 0);
    const last = await reading_until(proxy, (r) => wrong(r).length === 0);
    assert.deepEqual(Object.fromEntries(wrong(last)), {}, "left behind");
    return last;
}

/** The whole of what a client was told: status, type and code of an error, or the bytes. */
export function told(answer) {
    let error = null;
    try {
        error = answer.json.error ?? null;
    } catch {
        /* Not JSON. */
    }
    return { status: answer.status, type: error?.type, code: error?.code,
        message: error?.message, ended: answer.ended };
}

/** An error of the proxy's own making, in the shape of OpenAI and in nothing else. */
export function is_error(answer, status, type, code, what = "") {
    assert.equal(answer.status, status, `${what} ${answer.text}`);
    assert.notEqual(answer.ended, "cut", what);
    assert.match(answer.get("content-type"), /^application\/json/, what);
    const { error, ...more } = answer.json;
    assert.deepEqual(more, {}, what);
    assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"], what);
    assert.equal(error.type, type, `${what} ${answer.text}`);
    assert.equal(error.code, code, `${what} ${answer.text}`);
    assert.ok(error.message.length > 0, what);
    return error;
}

/** Runs `job(item)` for all items, `lanes` at a time, a lane() object of its own each. */
export async function in_lanes(items, lanes, lane, job) {
    let next = 0;
    const list = [...items];
    await Promise.all(Array.from({ length: Math.min(lanes, list.length) }, async () => {
        const own = await lane();
        while (next < list.length) {
            await job(own, list[next++]);
        }
        own.close?.();
    }));
}

/** A connection that is made anew whenever the proxy has closed it. */
export class Lane {
    constructor(proxy) {
        this.proxy = proxy;
        this.client = null;
    }

    async ask(options) {
        if (this.client === null || this.client.failure || this.client.socket.destroyed) {
            this.client?.destroy();
            this.client = await Client.connect(this.proxy.port);
        }
        const client = this.client;
        client.send({ path: "/v1/chat/completions", ...options,
            headers: this.proxy.headers(options.headers) });
        const answer = await client.response();
        /* A stream that broke is closed without a word of it in its head. */
        if (answer.ended === "cut" || answer.ended === "close" ||
            /close/i.test(answer.get("connection") ?? "") ||
            /"backend_error"/.test(answer.text)) {
            this.close();
        }
        return answer;
    }

    close() {
        this.client?.destroy();
        this.client = null;
    }
}
