/* SPDX-License-Identifier: MIT */
/*
 * Which headers and which query go up and come down: exact sets, so that nothing leaks.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock, delta, sse, whole } from "./lib/mock.mjs";
import { KEY, backend, not_built, start, stop_all, test } from "./lib/proxy.mjs";

const BODY = { model: "mock:m1", messages: [{ role: "user", content: "x" }] };

/* What agents and SDKs send and no upstream may see. */
const SECRET = {
    "Cookie": "session=1", "X-Api-Key": "client-own-1", "Api-Key": "client-own-2",
    "X-Goog-Api-Key": "client-own-3", "Proxy-Authorization": "Basic eDp5",
    "OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1", "X-Stainless-Lang": "js",
    "X-Stainless-Retry-Count": "0", "X-Stainless-Timeout": "600", "X-Forwarded-For": "10.0.0.9",
    "X-Forwarded-Host": "inside.example", "X-Forwarded-Proto": "https",
    "Forwarded": "for=10.0.0.9", "X-Real-Ip": "10.0.0.9", "TE": "trailers",
    "Connection": "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=9",
    "X-Unknown": "1", "Referer": "http://inside.example/", "Accept-Language": "no",
    "Accept-Encoding": "gzip, br", "X-Session-Id": "s1", "Traceparent": "00-1-2-3",
};
/* What passes between two sides of one protocol. */
const PASSED = {
    "anthropic-version": "2023-06-01", "anthropic-beta": "b1", "openai-beta": "assistants=v2",
    "idempotency-key": "idem-1", "x-client-request-id": "creq-1",
    "http-referer": "https://app.example", "x-title": "An app",
};

const unbuilt = await not_built("forward_headers", ["x-wanted"]);

let mock;
let proxy;

before(async () => {
    mock = await Mock.start();
    proxy = await start({ config: {
        default_backend: "mock",
        forward_headers: ["x-wanted", "X-Hop"], /* Connection names X-Hop: it stays here */
        backends: { mock: backend(mock, { headers: { "x-static": "from config" } }) },
    } });
});

after(() => stop_all(proxy, mock));

async function up(headers, body = BODY, path = "/v1/chat/completions") {
    mock.requests.length = 0;
    const answer = await proxy.chat(body, { headers, path });
    assert.equal(answer.status, 200, answer.text);
    return mock.posts()[0];
}

async function down(headers, more = {}) {
    mock.next((ex) => ex.respond({ headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(whole("m1", { content: "x" })), ...more }));
    return proxy.chat(BODY);
}

test("headers up: the exact set; nothing that identifies the client", async () => {
    const sent = await up({ ...SECRET, ...PASSED, "X-Wanted": "yes",
        "User-Agent": "OpenAI/JS 6.0", "Accept": "application/json" });
    const got = Object.fromEntries(sent.head.fields.map(([n, v]) => [n.toLowerCase(), v]));
    assert.equal(sent.head.fields.length, Object.keys(got).length, "a header is sent twice");
    const { accept, "user-agent": agent, ...rest } = got;
    assert.match(accept, /^(application\/json|\*\/\*)/);
    assert.match(agent, /^llm-proxy\/\d+\.\d+\.\d+/);
    const wanted = {
        "host": `127.0.0.1:${mock.port}`, "content-type": "application/json",
        "content-length": String(sent.body.length), "accept-encoding": "identity",
        "authorization": "Bearer upstream-key-1", "x-static": "from config",
        ...(unbuilt ? {} : { "x-wanted": "yes" }), ...PASSED,
    };
    assert.deepEqual(rest, wanted);
    assert.ok(!sent.head.raw.toString("latin1").includes(KEY), "the client's key went up");
});

test("headers up: whatever header the client's key came in, only the backend's goes up",
    async () => {
        for (const name of ["Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"]) {
            const sent = await up({ "Authorization": "", ...{
                [name]: name === "Authorization" ? `Bearer ${KEY}` : KEY } });
            assert.equal(sent.get("authorization"), "Bearer upstream-key-1", name);
            assert.ok(!sent.head.raw.toString("latin1").includes(KEY), name);
        }
    });

test("headers up: a content-type with a charset, and none at all", async () => {
    const charset = await up({ "Content-Type": "application/json; charset=utf-8" });
    assert.match(charset.get("content-type"), /^application\/json/);
    const body = JSON.stringify(BODY);
    const client = await proxy.connect();
    mock.requests.length = 0;
    client.send({ path: "/v1/chat/completions", headers: { Authorization: `Bearer ${KEY}` },
        body });
    const answer = await client.response();
    client.destroy();
    assert.equal(answer.status, 200, answer.text);
    assert.equal(mock.posts()[0].get("content-type"), "application/json");
});

test("headers up: the query goes along, keys in it do not", async () => {
    const sent = await up({}, BODY, "/v1/chat/completions?api-version=2&key=k1&b=a%20c&api_key=k2");
    const [path, query] = sent.target.split("?");
    assert.equal(path, "/v1/chat/completions");
    assert.equal(query, "api-version=2&b=a%20c");
});

test("headers up: a chunked request goes up whole", async () => {
    const body = Buffer.from(JSON.stringify({ ...BODY, model: "m1" }));
    const client = await proxy.connect();
    mock.requests.length = 0;
    client.methods.push("POST");
    client.write(Buffer.from("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" +
        `Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n` +
        "Transfer-Encoding: chunked\r\n\r\n"));
    for (const byte of body) {
        client.write(Buffer.from(`1\r\n${String.fromCharCode(byte)}\r\n`, "latin1"));
    }
    client.write(Buffer.from("0\r\nX-Trailer: dropped\r\n\r\n"));
    const answer = await client.response();
    client.destroy();
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(mock.posts()[0].body, body);
    assert.equal(mock.posts()[0].get("x-trailer"), undefined);
});

test("headers down: kept, dropped, and ours; the exact set", async () => {
    const kept = {
        "x-request-id": "req_up_1", "x-should-retry": "false", "retry-after-ms": "1500",
        "x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-tokens": "5",
        "x-ratelimit-reset-tokens": "6m0s", "openai-processing-ms": "12",
        "openai-version": "2020-10-01", "openai-organization": "org-up",
    };
    const dropped = {
        "set-cookie": "a=b", "server": "cloud", "alt-svc": "h3", "server-timing": "x;dur=1",
        "strict-transport-security": "max-age=1", "access-control-allow-origin": "*",
        "keep-alive": "timeout=5", "connection": "keep-alive, x-hop", "x-hop": "1",
        "x-powered-by": "php", "via": "1.1 x", "cf-ray": "1", "x-llm-proxy-backend": "forged",
    };
    const answer = await down({ ...kept, ...dropped });
    assert.equal(answer.status, 200);
    for (const [name, value] of Object.entries(kept)) {
        assert.equal(answer.get(name), value, name);
    }
    const ours = ["content-type", "content-length", "x-llm-proxy-request-id",
        "x-llm-proxy-backend", "x-llm-proxy-model", "x-llm-proxy-attempts"];
    for (const name of ours) {
        assert.notEqual(answer.get(name), undefined, `${name} is missing`);
    }
    /* May be there: what HTTP itself or a later feature of the contract adds. */
    const may = ["date", "connection", "server-timing", "x-session-id", "x-llm-proxy-cache",
        "x-llm-proxy-warnings"];
    const extra = answer.head.names().filter((n) => ![...Object.keys(kept), ...ours, ...may]
        .includes(n));
    assert.deepEqual(extra, [], "headers that should not be there");
    assert.notEqual(answer.get("server-timing"), "x;dur=1");
    assert.doesNotMatch(answer.get("connection") ?? "", /x-hop/);
    assert.equal(answer.get("x-llm-proxy-backend"), "mock");
    assert.equal(answer.get("x-llm-proxy-model"), "m1");
    assert.equal(answer.get("x-llm-proxy-attempts"), "1");
});

test("headers down: not our key, also where the upstream repeats it", async () => {
    const mark = "(API_KEY_HAS_BEEN_REDACTED)";
    const headers = (key) => ({ "x-request-id": `req-${key}`, "openai-organization": key,
        "x-ratelimit-limit-requests": `${key},${key}`, "retry-after-ms": `5${key}`,
        "content-type": `application/json; of="${key}"` });
    for (const status of [200, 400]) {
        const answer = await down(headers("upstream-key-1"), { status });
        assert.equal(answer.status, status);
        for (const [name, value] of Object.entries(headers(mark))) {
            assert.equal(answer.get(name), value, name);
        }
    }
    /* A client of another protocol gets the id only. */
    mock.next((ex) => ex.json_answer({ error: { message: "no" } }, { status: 400,
        headers: headers("upstream-key-1") }));
    const answer = await proxy.chat({ ...BODY, max_tokens: 9 }, { path: "/v1/messages" });
    assert.equal(answer.status, 400);
    assert.equal(answer.get("request-id"), `req-${mark}`);
    assert.doesNotMatch(answer.head.raw.toString("latin1"), /upstream-key-1/);
});

test("headers down: a large head that is all key, and grows as it is taken out", async () => {
    const short = await start({ config: { default_backend: "mock", header_bytes_max: "1MiB",
        backends: { mock: backend(mock, { api_keys: { short: "abcdef" } }) } } });
    try {
        const times = 170_000;
        mock.next((ex) => ex.json_answer(whole("m1", { content: "x" }),
            { headers: { "x-request-id": "abcdef".repeat(times) } }));
        const answer = await short.chat(BODY);
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.get("x-request-id") === "(API_KEY_HAS_BEEN_REDACTED)".repeat(times));
    } finally {
        await stop_all(short);
    }
});

test("headers down: our request id stands in where the upstream sends none, and differs each " +
    "time", async () => {
    const ids = new Set();
    for (let i = 0; i < 5; i++) {
        const answer = await down({});
        assert.equal(answer.get("x-request-id"), answer.get("x-llm-proxy-request-id"));
        ids.add(answer.get("x-request-id"));
    }
    assert.equal(ids.size, 5);
});

test("headers down: retry-after is whole seconds, rounded up", async () => {
    for (const [sent, wanted] of [["3", "3"], ["1.2", "2"], ["0.1", "1"], ["0", "0"]]) {
        mock.next((ex) => ex.json_answer({ error: { message: "no", type: "x", param: null,
            code: null } }, { status: 400, headers: { "retry-after": sent } }));
        assert.equal((await proxy.chat(BODY)).get("retry-after"), wanted, `for ${sent}`);
    }
});

test("headers down: retry-after as a date becomes whole seconds", async () => {
    mock.next((ex) => ex.json_answer({ error: { message: "no", type: "x", param: null,
        code: null } }, { status: 400,
        headers: { "retry-after": new Date(Date.now() + 90_000).toUTCString() } }));
    const got = (await proxy.chat(BODY)).get("retry-after");
    assert.match(got ?? "absent", /^\d+$/);
    assert.ok(Number(got) >= 85 && Number(got) <= 91, got);
});

test("headers down: streams may not be buffered on their way", async () => {
    mock.next((ex) => ex.respond({ headers: { "content-type": "text/event-stream",
        "cache-control": "max-age=60" }, framing: "chunked",
    body: sse([delta("m1", { content: "x" }, "stop")]) }));
    const answer = await proxy.chat({ ...BODY, stream: true });
    assert.match(answer.get("content-type"), /^text\/event-stream/);
    assert.equal(answer.get("x-accel-buffering"), "no");
    assert.equal(answer.get("cache-control"), "no-cache");
    assert.equal(answer.get("content-length"), undefined);
    assert.equal(answer.get("x-llm-proxy-backend"), "mock");
});

test("headers down: a model name outside visible ASCII is percent-encoded", async () => {
    const answer = await proxy.chat({ ...BODY, model: "mock:modell ä" });
    assert.equal(answer.status, 200);
    assert.equal(answer.get("x-llm-proxy-model"), "modell%20%C3%A4");
});

test("headers down: no way to split the answer through the model's name", async () => {
    const answer = await proxy.chat({ ...BODY, model: "mock:a\r\nx-evil: 1" });
    assert.equal(answer.get("x-evil"), undefined);
});
