/* SPDX-License-Identifier: MIT */
/*
 * Secrets stay where they belong: keys of clients go no further than the proxy, keys of backends to
 * their backend and nowhere else, passwords of proxies to their proxy, what is said to nobody but
 * who it is said to.
 *
 * Each secret is a mark of its own. Exchanges that succeed and fail in every way are made at every
 * log level; then all that came out of the program is searched: standard error, standard output,
 * what clients got, metrics, printed configurations, complaints about broken ones.
 * /proc/PID/cmdline and environ are the user's own doing and not looked at.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, before } from "node:test";

import { Client, raw, request, request_bytes } from "../e2e/lib/http1.mjs";
import { Mock, chunk, delta, head_bytes, sse, text_chunks, whole } from "../e2e/lib/mock.mjs";
import { DEAD_PORT, run, start, stop_all, test, yaml } from "../e2e/lib/proxy.mjs";
import { settled, until } from "./settled.mjs";

const CHAT = "/v1/chat/completions";

/* Letters and digits only, so that no escaping hides one. */
const SECRETS = Object.fromEntries(["clientkey", "otherkey", "wrongkey", "upstreamkey", "quirkykey",
    "querykey", "extraheader", "proxyuser", "proxypass", "prompt", "answer", "cookie", "ownkey",
    "idempotency", "broken"].map((name) => [name, `Zq7${name}Mark${
    Buffer.from(name).toString("hex").slice(0, 12)}Xw9`]));
const S = SECRETS;
/* Its client is told, and so is the log: the backend never. */
const SESSION = "Zq7session-of-the-test";
const BASIC = Buffer.from(`${S.proxyuser}:${S.proxypass}`).toString("base64");

/** Which secrets stand in the text, plain or in base64. */
function found_in(text, except = []) {
    return [...Object.entries(SECRETS), ["basic credentials", BASIC]]
        .filter(([name, mark]) => !except.includes(name) && (text.includes(mark) ||
            text.includes(Buffer.from(mark).toString("base64").slice(2, -4))))
        .map(([name]) => name);
}

function nowhere(text, what, except = []) {
    const names = found_in(text, except);
    const at = names.length ? text.indexOf(SECRETS[names[0]] ?? BASIC) : 0;
    assert.deepEqual(names, [], `${what}: …${text.slice(Math.max(0, at - 200), at + 100)}…`);
}

let mock;
let forward;
const tunnels = [];

before(async () => {
    mock = await Mock.start({ fallback: answer });
    /* A forward proxy that lets nobody through, and notes who came. */
    forward = net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", (bytes) => {
            tunnels.push(bytes.toString("latin1"));
            socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n" +
                `x-echo: ${BASIC}\r\ncontent-length: 0\r\n\r\n`);
        });
    }).listen(0, "127.0.0.1");
    await once(forward, "listening");
});

after(async () => {
    forward?.close();
    await stop_all(mock);
});

/* ---- What upstreams do ---- */

const KINDS = {
    whole: (ex) => ex.json_answer(whole("m1", { content: S.answer })),
    stream: (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
        framing: "chunked", body: sse(text_chunks("m1", [S.answer])) }),
    reset: (ex) => ex.rst(),
    garbage: (ex) => ex.write(Buffer.from(`${S.answer} ${ex.get("authorization")}\r\n\r\n`)),
    half_head: async (ex) => {
        await ex.write(Buffer.from(`HTTP/1.1 200 OK\r\nx-echo: ${ex.get("authorization")}`));
        ex.fin();
    },
    bad_header: (ex) => ex.write(Buffer.from(`HTTP/1.1 200 OK\r\n${
        ex.get("authorization")}\r\n\r\n`)),
    not_json: (ex) => ex.respond({ headers: { "content-type": "application/json" },
        body: `${S.answer}` }),
    other_json: (ex) => ex.json_answer({ said: S.answer, headers: ex.head.fields }),
    html_400: (ex) => ex.respond({ status: 400, headers: { "content-type": "text/html" },
        body: `<html>${ex.head.raw.toString()}</html>` }),
    text_500: (ex) => ex.respond({ status: 500, headers: { "content-type": "text/plain" },
        body: `error: ${ex.get("authorization")}` }),
    json_401_text: (ex) => ex.respond({ status: 401, headers: { "content-type": "text/plain" },
        body: `Incorrect API key provided: ${ex.get("authorization")}` }),
    json_401: (ex) => ex.json_answer({ error: { message: `Incorrect API key: ${
        ex.get("authorization")}`, type: "authentication_error" } }, { status: 401 }),
    json_400: (ex) => ex.json_answer({ error: { message: "bad", param: S.upstreamkey } },
        { status: 400 }),
    json_200_error: (ex) => ex.json_answer({ error: { message: `bad ${S.upstreamkey}`,
        code: S.upstreamkey } }),
    stream_error: (ex) => ex.respond({ headers: { "content-type": "text/event-stream" },
        body: `data: {"error":{"message":"bad ${S.upstreamkey}","code":"${S.upstreamkey}"}}\n\n` }),
    redirect: (ex) => ex.respond({ status: 302, headers: {
        location: `http://127.0.0.1:1/?key=${S.upstreamkey}` } }),
    cut_stream: async (ex) => {
        await ex.open_stream();
        await ex.event(delta("m1", { content: S.answer }));
        ex.fin();
    },
    bad_event: async (ex) => {
        await ex.open_stream();
        await ex.event(`data: {"broken ${S.answer}\n\n`);
        await ex.close_stream(false);
    },
    bad_chunk: async (ex) => {
        await ex.write(Buffer.concat([head_bytes(200, { "content-type": "application/json",
            "transfer-encoding": "chunked" }), chunk("{"), Buffer.from(`${S.answer}\r\n`)]));
    },
    cookie: (ex) => ex.json_answer(whole("m1", { content: "x" }), { headers: {
        "set-cookie": S.cookie, server: S.cookie, "x-internal": S.cookie } }),
};

async function answer(ex) {
    await (KINDS[ex.method === "POST" ? ex.json.user : "whole"] ?? KINDS.whole)(ex);
}

/* ---- What clients do ---- */

const body_of = (kind, model = "mock:m1", more = {}) => JSON.stringify({ model, user: kind,
    stream: /stream|event/.test(kind), messages: [{ role: "user", content: S.prompt }], ...more });

const AUTH = { Authorization: `Bearer ${S.clientkey}`, "Content-Type": "application/json",
    Cookie: `session_id=${S.cookie}`, "OpenAI-Organization": S.ownkey,
    "Idempotency-Key": S.idempotency, "X-Session-Id": SESSION };

/** Everything once; the answers as text, heads and all. */
async function exchanges(p) {
    const got = [];
    const note = (name, response, own) => got.push({ name, own,
        text: response.head.raw.toString("latin1") + response.text });
    const ask = async (name, options, own = []) => note(name, await request(p.port, options), own);
    const chat = (name, body, more = {}, own = []) => ask(name, { path: CHAT, headers: AUTH, body,
        ...more }, own);

    for (const kind of Object.keys(KINDS)) {
        /* What the upstream says to the client is the client's. */
        await chat(kind, body_of(kind), {}, ["answer"]);
    }
    for (const backend of ["dead", "tunnel", "hop", "nobody"]) {
        await chat(backend, body_of("whole", `${backend}:m1`));
    }
    await chat("header key", body_of("whole"), { headers: { "x-api-key": S.otherkey } },
        ["answer"]);
    await chat("wrong key", body_of("whole"), { headers: { Authorization: `Bearer ${
        S.wrongkey}` } });
    await chat("wrong key, another header", body_of("whole"), { headers: {
        "x-goog-api-key": S.wrongkey } });
    await chat("own key beside", body_of("whole"), { headers: { ...AUTH, "api-key": S.wrongkey } },
        ["answer"]);
    await chat("keys in the query", body_of("whole"), { path: `${CHAT}?key=${S.querykey}&api_key=${
        S.querykey}` }, ["answer"]);
    await ask("a path that is not there", { method: "GET", headers: AUTH,
        path: `/v1/nothing?key=${S.querykey}` });
    await ask("a wrong method", { method: "DELETE", headers: AUTH,
        path: `${CHAT}?key=${S.querykey}` });
    for (const [name, body] of Object.entries({
        "a body that is no JSON": `{"model": "mock:m1", ${S.prompt}`,
        "a body with a string that breaks off": `{"model":"mock:m1","messages":"${S.prompt}`,
        "a body with messages of a wrong type": body_of("whole").replace(/"messages":\[/,
            `"messages":"${S.prompt}","x":[`),
        "a body with a wrong role": body_of("whole", "mock:m1", { messages: [{ role: 7,
            content: S.prompt }] }),
        "a body with a member twice": `{"model":"mock:m1","messages":[{"role":"user","content":"${
            S.prompt}","content":"${S.prompt}"}]}`,
    })) {
        await chat(name, body, {}, ["answer"]);
    }
    for (const [name, bytes] of Object.entries({
        "a malformed head": `POST ${CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization : ${
            S.clientkey}\r\n\r\n`,
        "a head with a NUL in its key": `POST ${CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: ${
            S.clientkey}\u0000\r\n\r\n`,
        "a request line that is none": `${S.clientkey} ${S.prompt}\r\n\r\n`,
        "a bad chunk": `POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${
            S.clientkey}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n` +
            `${S.prompt}\r\n`,
    })) {
        const { response } = await raw(p.port, Buffer.from(bytes, "latin1"),
            { wait_close: true });
        note(name, response);
    }
    const left = await Client.connect(p.port);
    left.write(request_bytes({ path: CHAT, port: p.port, headers: AUTH,
        body: body_of("whole") }).subarray(0, -10));
    left.destroy();
    await ask("metrics", { method: "GET", path: "/metrics", headers: AUTH });
    await ask("models", { method: "GET", path: "/v1/models", headers: AUTH });
    return got;
}

async function config_of(level) {
    const custom = (url, more) => ({ protocol: "openai-chat", api_url: url,
        api_keys: { main: S.upstreamkey }, headers: { "x-extra": S.extraheader }, ...more });
    return {
        retries: 0, connect_timeout: "2s", proxy_timeout: "5s", logging: { level },
        default_backend: "mock",
        backends: {
            mock: custom(mock.url),
            dead: custom(`http://127.0.0.1:${DEAD_PORT}/v1`),
            tunnel: custom("https://upstream.example/v1"),
            hop: custom("http://upstream.example/v1"),
        },
    };
}

const ENV = () => {
    const url = `http://${S.proxyuser}:${S.proxypass}@127.0.0.1:${forward.address().port}`;
    return { HTTPS_PROXY: url, HTTP_PROXY: url };
};

const KEYS = `api_keys:\n  - name: "one"\n    key: "${S.clientkey}"\n    admin: true\n` +
    `  - name: "two"\n    key: "${S.otherkey}"\n`;

async function yaml_of(level) {
    return KEYS + yaml(await config_of(level));
}

for (const level of ["debug", "info", "warning", "error"]) {
    test(`secrets: in nothing that comes out, logging at ${level}`, async () => {
        const proxy = await start({ config: await yaml_of(level), env: ENV() });
        proxy.key = S.clientkey;
        try {
            mock.requests.length = 0;
            tunnels.length = 0;
            const got = await exchanges(proxy);
            await until(() => tunnels.length > 0, "the forward proxy is asked");
            for (const { name, own, text } of got) {
                nowhere(text, `what the client got (${name})`, own);
            }
            /* The key went where it belongs, and to nobody else. */
            assert.ok(mock.posts().length > 10);
            for (const ex of mock.posts()) {
                assert.equal(ex.get("authorization"), `Bearer ${S.upstreamkey}`);
                nowhere(ex.head.raw.toString("latin1"), "what the backend got",
                    ["upstreamkey", "extraheader", "idempotency"]);
                assert.ok(!ex.head.raw.includes(SESSION), "the backend got the session's id");
            }
            for (const text of tunnels) {
                assert.ok(text.includes(BASIC), "the forward proxy gets its password");
            }
            const tunnel = tunnels.filter((text) => text.startsWith("CONNECT "));
            assert.ok(tunnel.length > 0);
            tunnel.forEach((text) => nowhere(text, "CONNECT",
                ["basic credentials", "proxyuser", "proxypass"]));
            await settled(proxy, {});
        } finally {
            await stop_all(proxy);
        }
        assert.ok(level === "error" || proxy.stderr.length > 0, "something was logged");
        nowhere(proxy.stderr, `the log at ${level}`);
    });
}

test("secrets: --print-config and --check-config show none", async () => {
    const text = await yaml_of("debug");
    const env = { ...ENV(), OPENAI_API_KEY: S.ownkey, ANTHROPIC_API_KEY_1: S.quirkykey,
        LLM_INTERACTIVE_PROXY_API_KEY: S.wrongkey };
    for (const args of [["--print-config"], ["--check-config"],
        ["--print-config", "--api-keys", S.otherkey]]) {
        const { all } = await run(args, { config: text, env });
        nowhere(all, args.join(" "));
        assert.ok(args[0] !== "--print-config" || /mock/.test(all), all);
    }
});

/* Faults of a configuration, with a secret in or beside what is wrong. */
const FAULTS = {
    "a key with blanks around": `api_keys: [" ${S.broken} "]\n`,
    "a key with a line break": `api_keys: ["${S.broken}\\n"]\n`,
    "a key with quotes": `api_keys: ["'${S.broken}'"]\n`,
    "a key that is a map": `api_keys: [{nam: "x", key: "${S.broken}"}]\n`,
    "keys that are a number beside one": `api_keys: [7, "${S.broken}"]\nport: x\n`,
    "an unknown option of a backend": `backends: {a: {protocol: openai-chat, api_url: ` +
        `"http://127.0.0.1:1/v1", api_keys: ["${S.broken}"], apikeys: ["${S.broken}"]}}\n`,
    "a backend's key with blanks": `backends: {a: {protocol: openai-chat, api_url: ` +
        `"http://127.0.0.1:1/v1", api_keys: ["${S.broken} "]}}\n`,
    "a backend's URL with a password": `backends: {a: {protocol: openai-chat, api_url: ` +
        `"http://user:${S.broken}@127.0.0.1:1/v1", api_keys: ["k"]}}\n`,
    "a backend's header with a line break": `backends: {a: {protocol: openai-chat, api_url: ` +
        `"http://127.0.0.1:1/v1", api_keys: ["k"], headers: {x-a: "${S.broken}\\r\\nx: y"}}}\n`,
    "YAML that breaks off in a key": `api_keys: ["${S.broken}\n`,
    "YAML with a key on a wrong line": `api_keys:\n  - "a"\n ${S.broken}\n`,
    "a proxy's URL that is none": `https_proxy: "http://user:${S.broken}@:port"\n`,
    "a proxy's URL of another kind": `https_proxy: "socks5://user:${S.broken}@127.0.0.1:1"\n`,
};

for (const [name, text] of Object.entries(FAULTS)) {
    test(`secrets: a complaint about ${name} does not show it`, async () => {
        for (const args of [["--check-config"], ["--print-config"]]) {
            const { code, all } = await run(args, { config: text });
            assert.ok(code !== 0 || args[0] === "--print-config" || all.length > 0);
            nowhere(all, `${args} of ${text}`);
        }
    });
}

test("secrets: a broken key or proxy of the environment is not shown", async () => {
    for (const env of [{ OPENAI_API_KEY: ` ${S.broken} ` }, { API_KEYS: `'${S.broken}'` },
        { HTTPS_PROXY: `http://u:${S.broken}@` }, { ALL_PROXY: `ftp://u:${S.broken}@h:1` },
        { LLM_INTERACTIVE_PROXY_API_KEY: `"${S.broken}"` }]) {
        for (const args of [["--check-config"], ["--print-config"]]) {
            const { all } = await run(args, { config: "port: 8001\n", env });
            nowhere(all, `${args} with ${Object.keys(env)}`);
        }
    }
});

test("secrets: the key made at the first start is in its file (0600), not in the log",
    async () => {
        const proxy = await start({ config: "logging: {level: debug}\n", args: ["--demo"] });
        let key;
        try {
            const file = path.join(proxy.dir, "data", "client.key");
            key = fs.readFileSync(file, "utf8").trim();
            assert.ok(key.length >= 20);
            assert.equal(fs.statSync(file).mode & 0o777, 0o600);
            const answer = await request(proxy.port, { path: CHAT, headers: {
                Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
            body: body_of("whole", "demo:demo") });
            assert.ok(!answer.text.includes(key));
        } finally {
            await stop_all(proxy);
        }
        assert.ok(!proxy.stderr.includes(key), proxy.stderr);
    });
