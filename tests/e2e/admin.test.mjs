/* SPDX-License-Identifier: MIT */
/*
 * What operators and agents probe: /, /healthz, /readyz, /metrics, and the list of models.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { request } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { backend, run, start, stop_all, test } from "./lib/proxy.mjs";

const MESSAGES = [{ role: "user", content: "x" }];

let mock;
let failing;
let proxy;

before(async () => {
    mock = await Mock.start();
    failing = await Mock.start();
    failing.on_get = (ex) => ex.json_answer({ error: { message: "no" } }, { status: 500 });
    proxy = await start({ config: { default_backend: "mock", backends: {
        mock: backend(mock), failing: backend(failing),
        fixed: backend(failing, { models: ["f1", "f2"] }) } } });
});

after(() => stop_all(proxy, mock, failing));

const get = (path, method = "GET") => proxy.call({ method, path });

test("admin: / tells name and version as JSON, without a key", async () => {
    const answer = await request(proxy.port, { method: "GET", path: "/" });
    assert.equal(answer.status, 200);
    assert.match(answer.get("content-type"), /^application\/json/);
    assert.equal(answer.json.name, "llm-proxy");
    const { stdout } = await run(["--version"]);
    assert.ok(stdout.includes(answer.json.version), `${answer.json.version} in ${stdout}`);
});

test("admin: HEAD answers as GET does, without the body, and the connection goes on", async () => {
    const client = await proxy.connect();
    for (const path of ["/", "/healthz", "/readyz", "/v1/models", "/metrics"]) {
        client.send({ method: "HEAD", path, headers: proxy.headers() });
        const head = await client.response();
        assert.equal(head.status, 200, path);
        assert.equal(head.ended, "empty");
        client.send({ method: "GET", path, headers: proxy.headers() });
        const whole = await client.response();
        assert.equal(whole.status, 200, path);
        assert.ok(whole.body.length > 0 || path === "/healthz" || path === "/readyz");
        assert.equal(head.get("content-type"), whole.get("content-type"));
    }
    client.destroy();
});

/** Prometheus text: every line parsed; {name{labels}: value}, and each family's type. */
function parse_metrics(text) {
    const values = new Map();
    const types = new Map();
    assert.ok(text.endsWith("\n"));
    for (const line of text.trimEnd().split("\n")) {
        if (line.startsWith("# TYPE ")) {
            const [, , name, type] = line.split(" ");
            assert.match(type, /^(counter|gauge|histogram|summary)$/);
            assert.ok(!types.has(name), `${name} is announced twice`);
            types.set(name, type);
        } else if (!line.startsWith("#") && line !== "") {
            const m = new RegExp("^([a-zA-Z_:][a-zA-Z0-9_:]*)(\\{(?:[a-zA-Z_]\\w*=\"(?:[^\"\\\\]|" +
                "\\\\.)*\",?)*\\})? (-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?|NaN|[+-]Inf)$").exec(line);
            assert.ok(m, `not a line of Prometheus text: ${line}`);
            const family = m[1].replace(/_(bucket|sum|count)$/, "");
            assert.ok(types.has(m[1]) || types.has(family), `${m[1]} has no TYPE`);
            assert.ok(!values.has(m[1] + (m[2] ?? "")), `${line} stands there twice`);
            values.set(m[1] + (m[2] ?? ""), Number(m[3]));
        }
    }
    return { values, types };
}

async function metrics() {
    const answer = await get("/metrics");
    assert.equal(answer.status, 200);
    assert.match(answer.get("content-type"), /^text\/plain/);
    return parse_metrics(await proxy.counted());
}

test("admin: /metrics is Prometheus text; its counters follow what happens", async () => {
    const one = await metrics();
    assert.ok(one.values.get("process_resident_memory_bytes") > 100_000);
    for (let i = 0; i < 3; i++) {
        assert.equal((await proxy.chat({ model: "mock:m1", messages: MESSAGES })).status, 200);
    }
    assert.equal((await proxy.chat({ model: "mock:m1", messages: MESSAGES,
        stream: true })).status, 200);
    assert.equal((await proxy.chat("{")).status, 400);
    const two = await metrics();
    const grown = (name, label = "") => {
        let sum = 0;
        for (const [key, value] of two.values) {
            if (key.startsWith(name) && key.includes(label)) {
                sum += value - (one.values.get(key) ?? 0);
            }
        }
        return sum;
    };
    assert.equal(grown("llm_proxy_attempts_total", "\"mock\""), 4);
    assert.equal(grown("llm_proxy_streams_total", "\"mock\""), 1);
    assert.ok(grown("llm_proxy_requests_total", "2xx") >= 4);
    assert.ok(grown("llm_proxy_requests_total", "4xx") >= 1);
    /* The mock says 7 in, 5 out in its whole answers. */
    assert.equal(grown("llm_proxy_tokens_input_total", "\"mock\""), 21);
    assert.equal(grown("llm_proxy_tokens_output_total", "\"mock\""), 15);
    for (const [key, value] of one.values) {
        if (one.types.get(key.replace(/\{.*/, "")) === "counter") {
            assert.ok((two.values.get(key) ?? -1) >= value, `${key} went down`);
        }
    }
});

test("admin: no label is made from what a client sends", async () => {
    await proxy.chat({ model: "mock:weird-model-name", messages: MESSAGES });
    await proxy.chat({ model: "weird-backend:m", messages: MESSAGES });
    await get("/weird-path");
    assert.doesNotMatch((await get("/metrics")).text, /weird/);
});

test("admin: the models of each backend, a failing one left out with a warning, models: wins",
    async () => {
        for (const path of ["/v1/models", "/v2/models"]) {
            const answer = await get(path);
            assert.equal(answer.status, 200);
            assert.equal(answer.json.object, "list");
            assert.deepEqual(answer.json.data.map((m) => m.id).sort(),
                ["fixed:f1", "fixed:f2", "mock:m1", "mock:m2", "mock:vendor/m3"]);
            for (const model of answer.json.data) {
                assert.equal(model.object, "model");
                assert.equal(typeof model.created, "number");
                assert.equal(typeof model.owned_by, "string");
            }
        }
        await proxy.logged(/failing/, "no warning names the failing backend");
    });

test("admin: the list is kept: clients asking do not reach the backends each time", async () => {
    const client = await proxy.connect();
    const asked = () => mock.requests.filter((r) => r.method === "GET").length;
    const counts = [];
    for (let i = 0; i < 6; i++) {
        client.send({ method: "GET", path: "/v1/models", headers: proxy.headers() });
        assert.equal((await client.response()).status, 200);
        counts.push(asked());
    }
    client.destroy();
    assert.equal(counts.at(-1), counts[0]);
    assert.ok(counts[0] > 0);
});

test("admin: one model by its id, plain and percent-encoded; an unknown one is 404", async () => {
    for (const path of ["/v1/models/mock:m1", "/v2/models/mock%3Am1"]) {
        const answer = await get(path);
        assert.equal(answer.status, 200, path);
        assert.equal(answer.json.id, "mock:m1");
    }
    for (const path of ["/v1/models/mock:vendor/m3", "/v1/models/mock%3Avendor%2Fm3"]) {
        assert.equal((await get(path)).json.id, "mock:vendor/m3", path);
    }
    const none = await get("/v1/models/mock:none");
    assert.equal(none.status, 404);
    assert.equal(none.json.error.type, "invalid_request_error");
});

test("admin: a backend whose list hangs does not hold up the answer for long", async () => {
    const hanging = await Mock.start();
    hanging.on_get = () => {};
    const other = await start({ config: { backends: { mock: backend(mock),
        hanging: backend(hanging) } } });
    const at = performance.now();
    const answer = await other.call({ method: "GET", path: "/v1/models" });
    const took = performance.now() - at;
    assert.deepEqual(answer.json.data.map((m) => m.id).sort(),
        ["mock:m1", "mock:m2", "mock:vendor/m3"]);
    assert.ok(took < 8_000, `took ${took} ms`);
    await other.stop();
    await hanging.stop();
});
