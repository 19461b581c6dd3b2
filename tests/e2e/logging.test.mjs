/* SPDX-License-Identifier: MIT */
/*
 * The log: its forms, levels of single rooms, lines for requests and answers; and another
 * configuration of it while it runs.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { until } from "./lib/http1.mjs";
import { Mock } from "./lib/mock.mjs";
import { SLOW, backend, run, start, stop_all, test } from "./lib/proxy.mjs";

const SAID = { messages: [{ role: "user", content: "Hi" }], model: "m1" };
const COMMAND = { messages: [{ role: "user", content: "!/hello" }], model: "m1" };

let mock;

before(async () => {
    mock = await Mock.start();
});

after(() => stop_all(mock));

const config = (logging) => ({ default_backend: "up", logging,
    backends: { up: backend(mock) } });

/** A proxy with that log, asked once with `session`, until its line is there. */
async function spoken(logging, options, body) {
    const proxy = await start({ config: config(logging) });
    try {
        await body(proxy, await proxy.chat(SAID, options));
    } finally {
        await stop_all(proxy);
    }
}

test("logging: json is a JSON object a line, in all of the program's life", () =>
    spoken({ format: "json", level: "debug" }, { headers: { "x-session-id": "a\"b c" } },
        async (proxy, answer) => {
            assert.equal(answer.status, 200);
            await proxy.logged(/"msg":"PERF_SUMMARY".*\n/);
            await proxy.stop();
            const lines = proxy.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
            assert.ok(lines.length > 2);
            for (const line of lines) {
                assert.match(line.ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
                assert.match(line.level, /^(debug|info|warning|error)$/);
                assert.ok(line.room && line.msg, JSON.stringify(line));
            }
            const wide = lines.find((line) => line.msg === "PERF_SUMMARY");
            assert.equal(wide.room, "gateway");
            assert.equal(wide.backend, "up");
            assert.equal(wide.status, 200);
            assert.equal(wide.session, answer.get("x-session-id"));
            assert.equal(wide.request, answer.get("x-llm-proxy-request-id"));
        }));

test("logging: a template as Python's logging has it", () =>
    spoken({ format: "%(asctime)s - %(name)s - %(levelname)-7s - %(session)s - %(message)s" },
        { headers: { "x-session-id": "tpl" } },
        async (proxy) => {
            await proxy.logged(new RegExp("^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d,\\d{3} - gateway"
                + " - INFO    - tpl - PERF_SUMMARY session=tpl .*backend=up .*\\n", "m"));
            assert.match(proxy.stderr, / - main - INFO {4}- - - start\.ready version=/);
        }));

test("logging: per_module lets one room say more than the rest, by Python's names too", () =>
    spoken({ level: "warning", per_module: { "src.core.services.command_service": "debug",
        httpx: "error" } }, {}, async (proxy) => {
        await proxy.chat(COMMAND);
        await proxy.logged(/ level=debug room=command class=CommandService msg=commands\.run .*\n/);
        await proxy.stop();
        assert.doesNotMatch(proxy.stderr, /PERF_SUMMARY|level=info/);
    }));

/* The guide's `… | grep "BackendService"`. */
test("logging: what Python called a backend's log is found by that name", async () => {
    const failing = await Mock.start();
    failing.on_get = (ex) => ex.json_answer({ error: { message: "no" } }, { status: 500 });
    const proxy = await start({ config: { backends: { up: backend(failing) } } });
    await proxy.call({ method: "GET", path: "/v1/models" });
    await proxy.logged(/ room=backend class=BackendService msg=models\.failed backend=up .*\n/);
    await stop_all(proxy, failing);
});

test("logging: a backend's log has it from the start, and each attempt at debug", () =>
    spoken({ per_module: { "src.core.services.backend_service": "debug" } }, {},
        async (proxy, answer) => {
            const id = answer.get("x-llm-proxy-request-id");
            await proxy.logged(new RegExp("level=debug room=backend class=BackendService "
                + `msg=attempt\\.answered session=\\S+ request=${id} backend=up model=m1 key=\\S+ `
                + "attempt=1 status=200 first_byte_us=\\d+\\n"));
            assert.match(proxy.stderr, new RegExp("level=info room=backend class=BackendService "
                + "msg=backend\\.ready backend=up protocol=openai-chat host=127\\.0\\.0\\.1:\\d+ "
                + "keys=1 default=true\\n"));
        }));

test("logging: a key that cools or is refused is told by its name", async () => {
    const keys = { one: "first-secret", two: "second-secret", three: "third-secret" };
    const vendor = await Mock.start({ fallback: (ex) => {
        const key = ex.get("authorization").replace("Bearer ", "");
        const status = key === keys.one ? 429 : key === keys.two ? 401 : 200;
        return ex.json_answer(status === 200 ? { choices: [{ index: 0, finish_reason: "stop",
            message: { role: "assistant", content: "ok" } }] } :
            { error: { message: `not with ${key}` } }, { status, headers: { "retry-after": "20" } });
    } });
    const proxy = await start({ config: { backends: { up: backend(vendor, { policy: "failover",
        api_keys: keys }) } } });
    const warned = "level=warning room=backend class=BackendService msg=key";
    await proxy.chat(SAID);
    await proxy.logged(/PERF_SUMMARY.* key=three attempts=3 .*\n/);
    assert.match(proxy.stderr, new RegExp(`${warned}\\.cools .*key=one attempt=1 status=429 `
        + ".*wait_ms=20000 "));
    assert.match(proxy.stderr, new RegExp(`${warned}\\.refused .*key=two attempt=2 status=401 `));
    assert.doesNotMatch(proxy.stderr, /secret/);
    await stop_all(proxy, vendor);
});

test("logging: request_logging and response_logging are lines of their own", () =>
    spoken({ request_logging: true, response_logging: true }, {}, async (proxy, answer) => {
        const id = answer.get("x-llm-proxy-request-id");
        await proxy.logged(new RegExp(`msg=request\\.received request=${id} method=POST `
            + "path=/v1/chat/completions peer=127\\.0\\.0\\.1:\\d+\\n"));
        await proxy.logged(new RegExp(`msg=response\\.sent request=${id} status=200 `
            + `bytes=${answer.body.length} ms=\\d+ outcome=ok\\n`));
        /* Refused ones, and what makes no PERF_SUMMARY, as well. */
        await proxy.call({ method: "GET", path: "/nowhere" });
        await proxy.logged(/msg=request\.received request=\w+ method=GET path=\/nowhere /);
    }));

test("logging: without them there are none", () => spoken({}, {}, async (proxy) => {
    await proxy.logged(/PERF_SUMMARY/);
    assert.doesNotMatch(proxy.stderr, /request\.received|response\.sent/);
}));

test("logging: SIGHUP changes form and levels, and no line is lost or torn", async () => {
    const proxy = await start({ config: config({ level: "info" }) });
    let asked = 0;
    let over = false;
    const asking = Promise.all([1, 2, 3].map(async () => {
        while (!over) {
            await proxy.chat(SAID);
            asked++;
        }
    }));
    const forms = ["json", "%(levelname)s|%(message)s", "logfmt"];
    for (let round = 0; round < (SLOW ? 3 : 9); round++) {
        assert.match(await proxy.reload(config({ level: "info", format: forms[round % 3] })),
            /reload\.done/);
    }
    over = true;
    await asking;
    const closed = () => [...proxy.stderr.matchAll(/PERF_SUMMARY/g)].length === asked;
    await until(closed, `${asked} requests, a line each`);
    for (const line of proxy.stderr.trimEnd().split("\n")) {
        assert.match(line, /^(ts=\S+ level=.* msg=|\{"ts":.*\}$|[A-Z]+\|[A-Za-z_.]+( |$))/, line);
    }
    await stop_all(proxy);
});

test("logging: what is wrong is said with its place", async () => {
    const faults = [
        ["{format: xml}", /config\.yaml:1:\d+: error: logging\.format: must be json, logfmt/],
        ["{format: '%(msg)s'}", /logging\.format: %\(msg\) is unknown; there are asctime/],
        ["{per_module: {nobody: info}}",
            /config\.yaml:1:\d+: error: logging\.per_module\.nobody: nobody logs by that name; .* gateway/],
        ["{per_module: {backend: loud}}", /logging\.per_module\.backend: must be debug, info/],
        ["{per_module: debug}", /logging\.per_module: must be a map of levels/],
        ["{per_module: {http: info, http: info}}", /logging\.per_module: duplicate key/],
    ];
    for (const [text, why] of faults) {
        const { code, all } = await run(["--check-config"], { config: `logging: ${text}\n` });
        assert.equal(code, 1, text);
        assert.match(all, why);
    }
    const { stdout } = await run(["--print-config"], { config:
        "logging: {format: json, per_module: {httpx: warning, backend: debug}}\n" });
    assert.match(stdout, /format: "json" +# config\.yaml:1/);
    assert.match(stdout, /per_module: \{http: warning, backend: debug\} +# config\.yaml:1/);
});
