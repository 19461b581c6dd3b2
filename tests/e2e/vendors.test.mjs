/* SPDX-License-Identifier: MIT */
/*
 * Vendors at their own addresses, which here are names in a forward proxy's table: OpenAI speaks two
 * protocols there, and each client gets its own one as it came. Azure's deployments, and the lists
 * of models that vendors have, or have not.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { available, make } from "./lib/certs.mjs";
import { Forward } from "./lib/forward.mjs";
import { LAST_CHUNK, Mock, chunk } from "./lib/mock.mjs";
import { PROTOCOLS } from "./lib/protocols.mjs";
import { run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { read_answer } from "./lib/read.mjs";

const skip = available() ? false : "the openssl command is not installed";
const CHAT = PROTOCOLS["openai-chat"];
const RESPONSES = PROTOCOLS["openai-responses"];
const TEXT = "Hello from OpenAI";

let mock;
let via;
let proxy;

/** As api.openai.com: both protocols, by their paths. */
async function openai(ex) {
    const spoken = ex.target === "/v1/responses" ? RESPONSES : CHAT;
    if (ex.json.stream !== true) {
        await ex.json_answer(spoken.whole(ex.json.model, TEXT));
        return;
    }
    await ex.open_stream();
    await ex.write(chunk(spoken.stream(ex.json.model, TEXT)));
    await ex.write(LAST_CHUNK);
}

before(async () => {
    if (skip) {
        return;
    }
    const certs = make(temp_dir());
    mock = await Mock.start({ tls: certs.openai, fallback: openai });
    via = await Forward.start({ routes: { "api.openai.com:443": mock.port } });
    proxy = await start({ config: { ca_file: certs.ca, default_backend: "openai", retries: 0,
        backends: { openai: { api_keys: ["sk-upstream-1"] },
            elsewhere: { type: "openai", api_keys: ["sk-upstream-2"],
                api_url: "https://api.openai.com/v1" } } }, env: { HTTPS_PROXY: via.url() } });
});

after(() => stop_all(...[proxy, via, mock].filter(Boolean)));

function ask(one, model, streamed, { more = {}, headers = {} } = {}) {
    return proxy.call({ path: one.path(model, { stream: streamed }), headers,
        body: JSON.stringify({ ...one.request("hello"), model, stream: streamed, ...more }) });
}

/** Both clients: what they said but for the backend's name, and what they get, byte for byte. */
for (const [name, one] of [["Chat Completions", CHAT], ["Responses", RESPONSES]]) {
    test(`vendors: openai in ${name}: as it came, in both directions`, { skip }, async () => {
        for (const streamed of [false, true]) {
            for (const model of ["openai:m1", "m1"]) {
                const more = { store: false, unknown_member: [1.50, "x"],
                    ...(streamed && one === CHAT ? { stream_options: { include_usage: true } } :
                        {}) };
                const answer = await ask(one, model, streamed,
                    { more, headers: { "openai-beta": "x=1" } });
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.text, streamed ? one.stream("m1", TEXT) :
                    JSON.stringify(one.whole("m1", TEXT)));
                const ex = mock.posts().at(-1);
                assert.equal(ex.target, one.path());
                assert.equal(ex.get("host"), "api.openai.com");
                assert.equal(ex.get("authorization"), "Bearer sk-upstream-1");
                assert.equal(ex.get("openai-beta"), "x=1");
                assert.deepEqual(ex.json, { ...one.request("hello"), model: "m1",
                    stream: streamed, ...more });
                assert.equal(answer.get("x-llm-proxy-warnings"), undefined);
            }
        }
    });
}

test("vendors: openai: an error in Responses is the vendor's own", { skip }, async () => {
    const body = JSON.stringify({ error: { message: "no such thing", type: "invalid_request_error",
        param: "input", code: "odd" } });
    mock.next((ex) => ex.respond({ status: 400, headers: { "content-type": "application/json" },
        body }));
    const answer = await ask(RESPONSES, "openai:m1", false);
    assert.equal(answer.status, 400);
    assert.equal(answer.text, body);
    assert.equal(mock.posts().at(-1).target, "/v1/responses");
});

test("vendors: openai: clients of other protocols are translated to Chat Completions", { skip },
    async () => {
        const one = PROTOCOLS.anthropic;
        const answer = await ask(one, "openai:m1", false);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(read_answer("anthropic", answer.body, answer.get("content-type")).text, TEXT);
        assert.equal(mock.posts().at(-1).target, "/v1/chat/completions");
    });

/* What answers at another address may know Chat Completions only. */
test("vendors: openai with api_url speaks Chat Completions to Responses' clients, too", { skip },
    async () => {
        for (const streamed of [false, true]) {
            const answer = await ask(RESPONSES, "elsewhere:m1", streamed);
            assert.equal(answer.status, 200, answer.text);
            assert.equal(read_answer("openai-responses", answer.body,
                answer.get("content-type")).text, TEXT);
            assert.equal(mock.posts().at(-1).target, "/v1/chat/completions");
            assert.equal(mock.posts().at(-1).get("authorization"), "Bearer sk-upstream-2");
        }
    });

/* --- Azure --- */

const KEY = "azure-secret-1";

/** What goes up for one request of a client, and what comes down. */
async function through(backend, { path = "/v1/chat/completions", body, headers, method }, script) {
    const upstream = await Mock.start({ on_get: script, fallback: script });
    const at = (text) => text.replace("MOCK", `http://127.0.0.1:${upstream.port}`);
    const one = await start({ config: { backends: { mine: { ...backend,
        api_url: at(backend.api_url) } }, default_backend: "mine" } });
    try {
        const answer = await one.call({ method, path, headers,
            body: body === undefined ? undefined : JSON.stringify(body) });
        return { answer, asked: upstream.requests };
    } finally {
        await stop_all(one, upstream);
    }
}

const hello = async (ex) => ex.json_answer(CHAT.whole("gpt-4o-2024-08-06", TEXT));
const chat = (model) => ({ model, messages: [{ role: "user", content: "hi" }] });

test("vendors: azure: a model is a deployment, in the path; the version is in the query", async () => {
    for (const [api_url, version, path, target] of [
        ["MOCK", undefined, "/v1/chat/completions",
            "/openai/deployments/my%20gpt%2F4o/chat/completions?api-version=2024-10-21"],
        ["MOCK/", "2025-04-01-preview", "/v1/chat/completions?x=1&key=k",
            "/openai/deployments/my%20gpt%2F4o/chat/completions?x=1&api-version=2025-04-01-preview"],
        ["MOCK/openai/v1", "2024-10-21", "/v1/chat/completions", "/openai/v1/chat/completions"],
        ["MOCK/models", undefined, "/v1/chat/completions",
            "/models/chat/completions?api-version=2024-05-01-preview"],
        ["MOCK", undefined, "/v1/embeddings",
            "/openai/deployments/my%20gpt%2F4o/embeddings?api-version=2024-10-21"],
        ["MOCK/openai/v1", undefined, "/v1/embeddings", "/openai/v1/embeddings"],
    ]) {
        for (const model of ["my gpt/4o", "mine:my gpt/4o"]) {
            const { answer, asked } = await through({ type: "azure", api_url, api_key: KEY,
                api_version: version }, { path, body: path.includes("embed") ?
                { model, input: "x" } : chat(model) }, hello);
            assert.equal(answer.status, 200, answer.text);
            assert.equal(asked.length, 1);
            assert.equal(asked[0].target, target);
            assert.equal(asked[0].get("api-key"), KEY);
            assert.equal(asked[0].get("authorization"), undefined);
            assert.equal(asked[0].json.model, "my gpt/4o");
        }
    }
});

test("vendors: azure: clients of other protocols reach a deployment, too", async () => {
    for (const name of ["anthropic", "gemini", "openai-responses"]) {
        const one = PROTOCOLS[name];
        const { answer, asked } = await through({ type: "azure", api_url: "MOCK", api_key: KEY },
            { path: one.path("gpt-4o", { stream: false }), body: { ...one.request("hi"),
                ...(name === "gemini" ? {} : { model: "gpt-4o" }) } }, hello);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(asked[0].target,
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21");
        assert.equal(read_answer(name, answer.body, answer.get("content-type")).text, TEXT);
    }
});

test("vendors: azure: the SDK's own variables; a token in a header instead of a key", async () => {
    const upstream = await Mock.start({ fallback: hello });
    const url = `http://127.0.0.1:${upstream.port}`;
    const one = await start({ config: {}, env: { AZURE_OPENAI_ENDPOINT: url,
        AZURE_OPENAI_API_KEY: KEY, OPENAI_API_VERSION: "2024-06-01" } });
    const other = await start({ config: { backends: { azure: { api_url: url,
        headers: { authorization: "Bearer entra" } } } } });
    try {
        for (const proxy of [one, other]) {
            const answer = await proxy.call({ path: "/v1/chat/completions",
                body: JSON.stringify(chat("azure:d1")) });
            assert.equal(answer.status, 200, answer.text);
        }
        const [first, second] = upstream.posts();
        assert.equal(first.target,
            "/openai/deployments/d1/chat/completions?api-version=2024-06-01");
        assert.equal(first.get("api-key"), KEY);
        assert.equal(second.get("api-key"), undefined);
        assert.equal(second.get("authorization"), "Bearer entra");
    } finally {
        await stop_all(one, other, upstream);
    }
});

test("vendors: azure: no deployment is named: said before anything is asked", async () => {
    const { answer, asked } = await through({ type: "azure", api_url: "MOCK", api_key: KEY },
        { body: { messages: chat("").messages } }, hello);
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, /model: missing: backend mine has it in the path/);
    assert.equal(asked.length, 0);
});

/* --- lists of models --- */

const IDS = ["a", "org/b:free"];
const data = { object: "list", data: IDS.map((id) => ({ id, object: "model" })) };
const listed = (answer) => JSON.parse(answer.text).data.map((model) => model.id);

const LISTS = [
    ["openai: data", { type: "openai", api_url: "MOCK/v1" }, { "/v1/models": data }],
    ["together: a bare list", { type: "together", api_url: "MOCK/v1" },
        { "/v1/models": data.data }],
    ["github: its catalog is beside its base", { type: "github", api_url: "MOCK/inference" },
        { "/catalog/models": IDS.map((id) => ({ id, name: "N", publisher: "P" })) }],
    ["perplexity: below /v1, chat is not", { type: "perplexity", api_url: "MOCK" },
        { "/v1/models": data }],
    ["deepseek", { type: "deepseek", api_url: "MOCK" }, { "/models": data }],
    ["names instead of ids", { type: "ollama", api_url: "MOCK" },
        { "/v1/models": { models: IDS.map((name) => ({ name, model: name })) } }],
    ["azure by version", { type: "azure", api_url: "MOCK" },
        { "/openai/models?api-version=2024-10-21": data }],
    ["azure's v1", { type: "azure", api_url: "MOCK/openai/v1" }, { "/openai/v1/models": data }],
    ["anthropic in pages", { type: "anthropic", api_url: "MOCK/v1" }, {
        "/v1/models": { data: [{ type: "model", id: IDS[0] }], has_more: true, last_id: "a" },
        "/v1/models?limit=1000&after_id=a": { data: [{ type: "model", id: IDS[1] }],
            has_more: false, last_id: IDS[1] } }],
    ["gemini in pages", { type: "gemini", api_url: "MOCK" }, {
        "/v1beta/models": { models: [{ name: "models/a" }], nextPageToken: "t/1" },
        "/v1beta/models?pageSize=1000&pageToken=t%2F1": { models: [{ name: "org/b:free" }] } }],
];

for (const [name, backend, pages] of LISTS) {
    test(`vendors: models of ${name}`, async () => {
        const { answer, asked } = await through({ ...backend, api_key: "k" },
            { method: "GET", path: "/v1/models" }, (ex) => pages[ex.target] === undefined ?
                ex.json_answer({ error: ex.target }, { status: 400 }) :
                ex.json_answer(pages[ex.target]));
        assert.equal(answer.get("x-llm-proxy-warnings"), undefined, asked.map((a) => a.target));
        assert.deepEqual(listed(answer), IDS.map((id) => `mine:${id}`));
        assert.deepEqual(asked.map((one) => one.target), Object.keys(pages));
    });
}

test("vendors: a backend that has no list of models", async () => {
    const { answer, asked } = await through({ type: "perplexity", api_url: "MOCK", api_key: "k" },
        { method: "GET", path: "/v1/models" }, (ex) => ex.json_answer({}, { status: 404 }));
    assert.equal(answer.status, 200);
    assert.deepEqual(listed(answer), []);
    assert.equal(answer.get("x-llm-proxy-warnings"), undefined);
    assert.equal(asked.length, 1);
});

test("vendors: models: in the configuration: nobody is asked; what is listed can be called",
    async () => {
        const { answer, asked } = await through({ type: "openrouter", api_url: "MOCK", models: IDS,
            api_key: "k" }, { method: "GET", path: "/v1/models" }, hello);
        assert.deepEqual(listed(answer), IDS.map((id) => `mine:${id}`));
        assert.equal(asked.length, 0);
        for (const model of ["mine:org/b:free", "org/b:free"]) {
            const called = await through({ type: "openrouter", api_url: "MOCK", api_key: "k" },
                { body: chat(model) }, hello);
            assert.equal(called.answer.status, 200, called.answer.text);
            assert.equal(called.asked[0].json.model, "org/b:free");
        }
    });

/* --- several of one kind --- */

test("vendors: several backends of one vendor, each with its own key", async () => {
    const upstream = await Mock.start({ fallback: hello });
    const url = `http://127.0.0.1:${upstream.port}`;
    const one = await start({ config: { backends: {
        "team-a": { type: "groq", api_url: url, api_key: "gsk_a" },
        "team-b": { type: "groq", api_url: url, api_keys: { first: "gsk_b" } } } },
    env: { GROQ_API_KEY_1: "gsk_1", GROQ_API_KEY_2: "gsk_2", GROQ_API_BASE_URL: url } });
    try {
        for (const [backend, key] of [["team-a", "gsk_a"], ["team-b", "gsk_b"],
            ["groq", "gsk_[12]"]]) {
            const answer = await one.call({ path: "/v1/chat/completions",
                body: JSON.stringify(chat(`${backend}:m`)) });
            assert.equal(answer.status, 200, answer.text);
            assert.equal(answer.get("x-llm-proxy-backend"), backend);
            assert.match(upstream.posts().at(-1).get("authorization"), new RegExp(`^Bearer ${key}$`));
        }
    } finally {
        await stop_all(one, upstream);
    }
});

/** --check-config says what is wrong, at its line. */
test("vendors: --check-config", async () => {
    for (const [config, code, line] of [
        ["backends:\n  azure: {api_key: k}\n", 0,
            "config.yaml:2:3: warning: backends.azure is not functional: it has no api_url (set " +
            "AZURE_API_BASE_URL)"],
        ["backends:\n  a: {type: azure, api_url: 'https://x.openai.azure.com'}\n", 0,
            "config.yaml:2:3: warning: backends.a is not functional: it has no key (set " +
            "backends.a.api_keys)"],
        ["backends:\n  groq: {api_key: k, api_version: 2024-10-21}\n", 0,
            "config.yaml:2:3: warning: backends.groq.api_version: has no effect: requests to this " +
            "URL name no version"],
        ["backends:\n  groq: {api_key: sk-1}\n", 0, "config.yaml:2:3: warning: " +
            "backends.groq.api_keys.default: Invalid API key format: keys of groq begin with gsk_"],
        ["backends:\n  vllm:\n", 1, "config.yaml:2:3: error: backends.vllm.api_url: at port 8000 of " +
            "this machine the proxy itself listens; start it with another --port"],
        ["backends:\n  a: {type: groc}\n", 1, "config.yaml:2:13: error: backends.a.type: unknown " +
            "vendor; the nearest is groq; a backend of another one needs protocol: and api_url: " +
            "instead"],
        ["backends:\n  ollama:\n  lmstudio: {}\n", 0, null],
    ]) {
        const { code: got, all } = await run(["--check-config"], { config });
        assert.equal(got, code, all);
        if (line === null) {
            assert.doesNotMatch(all, /warning|error/);
        } else {
            assert.ok(all.split("\n").includes(line), `${line}\n${all}`);
        }
    }
});

test("vendors: xai counts no tokens: they are estimated, not asked of it", { skip }, async () => {
    const certs = make(temp_dir());
    const upstream = await Mock.start({ tls: certs.openai, fallback: openai });
    const forward = await Forward.start({ routes: { "api.x.ai:443": upstream.port } });
    const one = await start({ config: { tls_verify: false, backends: { xai: { api_key: "xai-1" } } },
        env: { HTTPS_PROXY: forward.url() } });
    try {
        const count = await one.call({ path: "/v1/messages/count_tokens", body: JSON.stringify(
            { model: "xai:grok", messages: [{ role: "user", content: "hi" }] }) });
        assert.equal(count.status, 200, count.text);
        assert.ok(JSON.parse(count.text).input_tokens > 0);
        assert.notEqual(count.get("x-llm-proxy-estimated"), undefined);
        assert.equal(upstream.posts().length, 0);
        const answer = await one.call({ path: "/v1/responses", body: JSON.stringify(
            { model: "xai:m1", input: "hi", unknown_member: 1 }) });
        assert.equal(answer.text, JSON.stringify(RESPONSES.whole("m1", TEXT)));
        assert.equal(upstream.posts().at(-1).target, "/v1/responses");
    } finally {
        await stop_all(one, forward, upstream);
    }
});
