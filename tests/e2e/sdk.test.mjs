/* SPDX-License-Identifier: MIT */
/*
 * The official `openai` package as the client: what an application sees.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { within } from "./lib/http1.mjs";
import { Mock, delta, sse, text_chunks, whole } from "./lib/mock.mjs";
import { KEY, SLOW, backend, gone_at_once, start, stop_all, test } from "./lib/proxy.mjs";

const sdk = await import("openai").catch(() => null);
const skip = sdk ? false : "the openai package is not installed: npm ci in tests/e2e";
const OpenAI = sdk?.default;

const ASK = [{ role: "user", content: "What is the weather in Oslo and in Rome?" }];
const TOOLS = [{ type: "function", function: { name: "weather", description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } } } } }];
const call = (id, city) => ({ id, type: "function",
    function: { name: "weather", arguments: JSON.stringify({ city }) } });

/* Each error has a backend of its own: a key that met a 429 cools down. */
const ERRORS = {
    400: { message: "bad temperature", type: "invalid_request_error", param: "temperature",
        code: "invalid_value" },
    401: { message: "Incorrect API key provided", type: "invalid_request_error", param: null,
        code: "invalid_api_key" },
    403: { message: "not for you", type: "permission_error", param: null, code: "no_access" },
    404: { message: "no such model", type: "invalid_request_error", param: null,
        code: "model_not_found" },
    422: { message: "cannot", type: "invalid_request_error", param: null, code: null },
    429: { message: "slow down", type: "requests", param: null, code: "rate_limit_exceeded" },
    500: { message: "oops", type: "server_error", param: null, code: null },
    503: { message: "overloaded", type: "server_error", param: null, code: "overloaded" },
};

let mock;
let proxy;
let client;

before(async () => {
    mock = await Mock.start();
    const backends = { mock: backend(mock) };
    for (const status of Object.keys(ERRORS)) {
        backends[`e${status}`] = backend(mock);
        backends[`e${status}s`] = backend(mock);
        mock.on(`status-${status}`, (ex) => ex.json_answer({ error: ERRORS[status] }, {
            status: Number(status), headers: status === "429" ? { "retry-after": "7" } : {} }));
    }
    proxy = await start({ config: { default_backend: "mock", retries: 0, backends },
        args: ["--demo"] });
    client = OpenAI && new OpenAI({ apiKey: KEY, baseURL: `${proxy.url}/v1`, maxRetries: 0 });
});

after(() => stop_all(proxy, mock));

async function tools_whole(ex) {
    const { model, messages } = ex.json;
    const results = messages.filter((m) => m.role === "tool").map((m) => m.content);
    await ex.json_answer(results.length === 0 ?
        whole(model, { tool_calls: [call("call_a", "Oslo"), call("call_b", "Rome")] },
            "tool_calls") :
        whole(model, { content: `It is ${results.join(" and ")}.` }));
}

async function tools_stream(ex) {
    const { model, messages } = ex.json;
    const results = messages.filter((m) => m.role === "tool").map((m) => m.content);
    const start_of = (index, id) => delta(model, { tool_calls: [{ index, id, type: "function",
        function: { name: "weather", arguments: "" } }] });
    const more = (index, text) => delta(model, { tool_calls: [{ index,
        function: { arguments: text } }] });
    const chunks = results.length > 0 ? text_chunks(model, ["It is ", results.join(" and "), "."]) :
        [delta(model, { role: "assistant", content: null }),
            start_of(0, "call_a"), more(0, "{\"ci"), more(0, "ty\":\"Oslo\"}"),
            start_of(1, "call_b"), more(1, "{\"city\""), more(1, ":\"Rome\"}"),
            delta(model, {}, "tool_calls")];
    await ex.respond({ headers: { "content-type": "text/event-stream" }, framing: "chunked",
        body: sse(chunks) });
}

test("sdk: a whole chat is the upstream's answer, member for member", { skip }, async () => {
    const answer = await client.chat.completions.create({ model: "mock:m1", messages: ASK });
    assert.deepEqual({ ...answer }, whole("m1", { content: "Hello from m1" }));
});

test("sdk: the /v2 twin answers as /v1 does, whole and streamed", { skip }, async () => {
    const v2 = new OpenAI({ apiKey: KEY, baseURL: `${proxy.url}/v2`, maxRetries: 0 });
    const answer = await v2.chat.completions.create({ model: "mock:m1", messages: ASK });
    assert.equal(answer.choices[0].message.content, "Hello from m1");
    assert.equal(mock.requests.at(-1).target, "/v1/chat/completions");
    let text = "";
    for await (const part of await v2.chat.completions.create(
        { model: "mock:m2", messages: ASK, stream: true })) {
        text += part.choices[0].delta.content ?? "";
    }
    assert.equal(text, "Hello from m2");
    assert.deepEqual((await v2.models.list()).data.map((m) => m.id).sort(),
        (await client.models.list()).data.map((m) => m.id).sort());
});

test("sdk: a streamed chunk reaches the client before the upstream sends the next",
    { skip }, async () => {
        const words = ["one", " two", " three", " four"];
        const sent = text_chunks("paced", words, true);
        let go;
        let seen = 0;
        mock.on("paced", async (ex) => {
            await ex.open_stream();
            for (const part of sent) {
                const next = new Promise((resolve) => { go = resolve; });
                await ex.event(part);
                await within(10_000, `the client sees chunk ${seen}`, next);
            }
            await ex.close_stream();
        });
        const got = [];
        for await (const part of await client.chat.completions.create({ model: "mock:paced",
            messages: ASK, stream: true, stream_options: { include_usage: true } })) {
            got.push(part);
            seen++;
            go();
        }
        assert.deepEqual(got.map((c) => ({ ...c })), sent);
    });

test("sdk: parallel tool calls, whole, and the turn that brings their results", { skip },
    async () => {
        mock.on("tools", tools_whole);
        const first = await client.chat.completions.create({ model: "mock:tools", messages: ASK,
            tools: TOOLS, parallel_tool_calls: true });
        const message = first.choices[0].message;
        assert.equal(first.choices[0].finish_reason, "tool_calls");
        assert.deepEqual(message.tool_calls, [call("call_a", "Oslo"), call("call_b", "Rome")]);
        const second = await client.chat.completions.create({ model: "mock:tools", tools: TOOLS,
            messages: [...ASK, message,
                { role: "tool", tool_call_id: "call_a", content: "snow" },
                { role: "tool", tool_call_id: "call_b", content: "sun" }] });
        assert.equal(second.choices[0].message.content, "It is snow and sun.");
        assert.deepEqual(mock.requests.at(-1).json.tools, TOOLS);
    });

test("sdk: parallel tool calls, streamed in fragments, assembled by the SDK's own helper",
    { skip }, async () => {
        mock.on("tools-s", tools_stream);
        const first = await client.chat.completions.stream({ model: "mock:tools-s",
            messages: ASK, tools: TOOLS }).finalChatCompletion();
        const { finish_reason: finish, message } = first.choices[0];
        assert.equal(finish, "tool_calls");
        assert.deepEqual(message.tool_calls.map((c) => [c.id, c.function.name,
            c.function.arguments]), [["call_a", "weather", "{\"city\":\"Oslo\"}"],
            ["call_b", "weather", "{\"city\":\"Rome\"}"]]);
        const second = await client.chat.completions.stream({ model: "mock:tools-s",
            tools: TOOLS, messages: [...ASK,
                { role: "assistant", content: null, tool_calls: message.tool_calls.map((c) =>
                    ({ id: c.id, type: c.type, function: { name: c.function.name,
                        arguments: c.function.arguments } })) },
                { role: "tool", tool_call_id: "call_a", content: "snow" },
                { role: "tool", tool_call_id: "call_b", content: "sun" }] })
            .finalChatCompletion();
        assert.equal(second.choices[0].message.content, "It is snow and sun.");
    });

test("sdk: several choices keep their indexes in a stream", { skip }, async () => {
    mock.on("n2", async (ex) => {
        const part = (index, value, finish = null) => {
            const c = delta("n2", value, finish);
            c.choices[0].index = index;
            return c;
        };
        await ex.respond({ headers: { "content-type": "text/event-stream" }, framing: "chunked",
            body: sse([part(1, { role: "assistant", content: "b" }),
                part(0, { role: "assistant", content: "a" }), part(1, { content: "B" }),
                part(0, { content: "A" }), part(0, {}, "stop"), part(1, {}, "length")]) });
    });
    const texts = ["", ""];
    const ends = [];
    for await (const c of await client.chat.completions.create({ model: "mock:n2", n: 2,
        messages: ASK, stream: true })) {
        const { index, delta: d, finish_reason: finish } = c.choices[0];
        texts[index] += d.content ?? "";
        if (finish) {
            ends[index] = finish;
        }
    }
    assert.deepEqual([texts, ends], [["aA", "bB"], ["stop", "length"]]);
});

test("sdk: aborting a stream closes the upstream's connection at once", { skip }, async () => {
    mock.on("endless", async (ex) => {
        await ex.open_stream();
        await ex.event(delta("endless", { role: "assistant", content: "still" }));
    });
    const arrival = mock.arrival();
    const abort = new AbortController();
    const stream = await client.chat.completions.create({ model: "mock:endless", messages: ASK,
        stream: true }, { signal: abort.signal });
    const { closed } = await arrival;
    const parts = stream[Symbol.asyncIterator]();
    assert.equal((await parts.next()).value.choices[0].delta.content, "still");
    await gone_at_once(proxy, () => abort.abort(), closed);
    await parts.return?.();
});

test("sdk: aborting a whole answer closes the upstream's connection at once", { skip },
    async () => {
        mock.on("silent", () => {});
        const arrival = mock.arrival();
        const abort = new AbortController();
        const answer = client.chat.completions.create({ model: "mock:silent", messages: ASK },
            { signal: abort.signal });
        const { closed } = await arrival;
        await gone_at_once(proxy, () => {
            abort.abort();
            return assert.rejects(answer, OpenAI.APIUserAbortError);
        }, closed);
    });

test("sdk: a wrong key is an AuthenticationError with the proxy's code", { skip }, async () => {
    const before_count = mock.posts().length;
    const stranger = new OpenAI({ apiKey: "wrong", baseURL: `${proxy.url}/v1`, maxRetries: 0 });
    await assert.rejects(stranger.chat.completions.create({ model: "mock:m1", messages: ASK }),
        (error) => {
            assert.ok(error instanceof OpenAI.AuthenticationError, `${error}`);
            assert.equal(error.status, 401);
            assert.equal(error.code, "invalid_api_key");
            assert.equal(error.type, "authentication_error");
            assert.match(error.error.message, /^Unauthorized/);
            return true;
        });
    assert.equal(mock.posts().length, before_count);
});

test("sdk: an unknown path is a NotFoundError in OpenAI's shape", { skip }, async () => {
    const lost = new OpenAI({ apiKey: KEY, baseURL: `${proxy.url}/nowhere`, maxRetries: 0 });
    await assert.rejects(lost.chat.completions.create({ model: "mock:m1", messages: ASK }),
        (error) => {
            assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
            assert.equal(error.code, "not_found");
            assert.equal(error.type, "invalid_request_error");
            assert.match(error.error.message, /POST.*\/nowhere\/chat\/completions/);
            return true;
        });
});

for (const [status, body] of Object.entries(ERRORS)) {
    for (const stream of [false, true]) {
        test(`sdk: the upstream's ${status} reaches the client as it is (stream: ${stream})`,
            { skip }, async () => {
                const name = `e${status}${stream ? "s" : ""}`;
                await assert.rejects(client.chat.completions.create({ messages: ASK, stream,
                    model: `${name}:status-${status}` }), (error) => {
                    assert.ok(error instanceof OpenAI.APIError, `${error}`);
                    assert.equal(error.status, Number(status));
                    assert.deepEqual(error.error, body);
                    if (status === "429") {
                        assert.ok(error instanceof OpenAI.RateLimitError);
                        assert.equal(error.headers.get("retry-after"), "7");
                    }
                    return true;
                });
            });
    }
}

test("sdk: an error event in a stream is raised, after the chunks before it", { skip },
    async () => {
        mock.on("breaks", async (ex) => {
            await ex.open_stream();
            await ex.event(delta("breaks", { role: "assistant", content: "so far" }));
            await ex.event({ error: { message: "the GPU caught fire", type: "server_error",
                param: null, code: "fire" } });
            await ex.close_stream(false);
        });
        let text = "";
        await assert.rejects(async () => {
            for await (const part of await client.chat.completions.create({
                model: "mock:breaks", messages: ASK, stream: true })) {
                text += part.choices[0].delta.content ?? "";
            }
        }, (error) => error instanceof OpenAI.APIError && /caught fire/.test(error.message));
        assert.equal(text, "so far");
    });

test("sdk: a stream that the upstream breaks off is an error to the application, not an end",
    { skip }, async () => {
        for (const how of ["fin", "rst"]) {
            mock.on("cut", async (ex) => {
                await ex.open_stream();
                await ex.event(delta("cut", { role: "assistant", content: "half" }));
            });
            const arrival = mock.arrival();
            let text = "";
            await assert.rejects(async () => {
                const stream = await client.chat.completions.create({ model: "mock:cut",
                    messages: ASK, stream: true });
                const ex = await arrival;
                for await (const part of stream) {
                    text += part.choices[0].delta.content ?? "";
                    ex[how]();
                }
            }, (error) => error instanceof OpenAI.APIError, how);
            assert.equal(text, "half");
        }
    });

test("sdk: models are listed as backend:model and can be retrieved by that id", { skip },
    async () => {
        const ids = (await client.models.list()).data.map((m) => m.id);
        for (const id of ["mock:m1", "mock:m2", "mock:vendor/m3", "demo:assistant",
            "demo:echo"]) {
            assert.ok(ids.includes(id), `${id} in ${ids}`);
        }
        assert.equal(new Set(ids).size, ids.length);
        const one = await client.models.retrieve("mock:m1");
        assert.deepEqual([one.id, one.object], ["mock:m1", "model"]);
        const slash = await client.models.retrieve("mock:vendor/m3");
        assert.equal(slash.id, "mock:vendor/m3");
        await assert.rejects(client.models.retrieve("mock:none"), OpenAI.NotFoundError);
    });

test("sdk: every id of the list can be used as a model", { skip }, async () => {
    for (const { id } of (await client.models.list()).data.filter((m) =>
        m.id.startsWith("mock:"))) {
        const answer = await client.chat.completions.create({ model: id, messages: ASK });
        assert.equal(answer.choices[0].message.content, `Hello from ${id.slice(5)}`);
    }
});

test("sdk: demo:echo says the last user message, whole and streamed", { skip }, async () => {
    const wanted = "Grüße, 世界! “quoted” \"too\"\n2nd";
    const messages = [{ role: "system", content: "Be brief." },
        { role: "user", content: "first" }, { role: "assistant", content: "second" },
        { role: "user", content: [{ type: "text", text: wanted }] }];
    const answer = await client.chat.completions.create({ model: "demo:echo", messages });
    assert.equal(answer.choices[0].message.content, wanted);
    assert.equal(answer.choices[0].finish_reason, "stop");
    const streamed = await client.chat.completions.stream({ model: "demo:echo", messages })
        .finalChatCompletion();
    assert.equal(streamed.choices[0].message.content, wanted);
    assert.equal(streamed.choices[0].finish_reason, "stop");
});

test("sdk: demo:assistant answers, with usage when asked for", { skip }, async () => {
    const answer = await client.chat.completions.create({ model: "demo:assistant",
        messages: [{ role: "user", content: "Hello" }] });
    assert.ok(answer.choices[0].message.content.length > 0);
    let usage = null;
    let text = "";
    for await (const part of await client.chat.completions.create({ model: "demo:assistant",
        messages: [{ role: "user", content: "Hello" }], stream: true,
        stream_options: { include_usage: true } })) {
        usage = part.usage ?? usage;
        text += part.choices[0]?.delta.content ?? "";
    }
    assert.ok(text.length > 0);
    assert.ok(usage.total_tokens >= usage.completion_tokens);
});

test("sdk: fifty streams at once do not mix", { skip }, async () => {
    const texts = await Promise.all(Array.from({ length: SLOW ? 20 : 50 }, async (_, i) => {
        const answer = await client.chat.completions.stream({ model: `mock:many-${i}`,
            messages: ASK }).finalChatCompletion();
        return answer.choices[0].message.content === `Hello from many-${i}`;
    }));
    assert.ok(texts.every(Boolean), "a stream brought another's text");
});
