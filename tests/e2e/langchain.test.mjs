/* SPDX-License-Identifier: MIT */
/*
 * LangChain's package for OpenAI (ChatOpenAI, OpenAIEmbeddings, OpenAI): what an application built
 * on it sees through the proxy, of a vendor (lib/vendor.mjs) and of the demo.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { Vendor, vector } from "./lib/vendor.mjs";

const [chain, tools, messages, zod] = await Promise.all(["@langchain/openai",
    "@langchain/core/tools", "@langchain/core/messages", "zod"].map((name) =>
    import(name).catch(() => null)));
const skip = chain && tools && messages && zod ? false :
    "the packages of LangChain are not installed: npm ci in tests/e2e";

let vendor;
let mock;
let proxy;

before(async () => {
    vendor = new Vendor();
    mock = await Mock.start({ fallback: vendor.answer });
    mock.on_get = vendor.answer;
    proxy = await start({ config: { default_backend: "mock", retries: 0,
        backends: { mock: backend(mock) } }, args: ["--demo"] });
});

after(() => stop_all(proxy, mock));

const settings = (more) => ({ apiKey: KEY, maxRetries: 0,
    configuration: { baseURL: `${proxy.url}/v1` }, ...more });
const chat = (model = "mock:gpt-4o", more = {}) => new chain.ChatOpenAI(settings({ model,
    temperature: 0, ...more }));

test("langchain: invoke, with usage", { skip }, async () => {
    const answer = await chat().invoke([["system", "Be brief."], ["human", "Oslo, please"]]);
    assert.equal(answer.content, "You said: Oslo, please");
    assert.deepEqual([answer.usage_metadata.input_tokens, answer.usage_metadata.output_tokens],
        [4, 4]);
    assert.equal(answer.response_metadata.finish_reason, "stop");
    assert.equal(answer.response_metadata.model_name, "gpt-4o");
});

test("langchain: stream, piece by piece, with usage", { skip }, async () => {
    const parts = [];
    let whole;
    for await (const part of await chat().stream("Oslo, please")) {
        parts.push(part.content);
        whole = whole ? whole.concat(part) : part;
    }
    assert.deepEqual(parts.filter(Boolean), ["You", " said:", " Oslo,", " please"]);
    assert.equal(whole.usage_metadata.total_tokens, 6);
});

test("langchain: several at once", { skip }, async () => {
    const answers = await chat().batch(["a", "b", "c"]);
    assert.deepEqual(answers.map((a) => a.content), ["a", "b", "c"].map((t) => `You said: ${t}`));
});

for (const stream of [false, true]) {
    test(`langchain: tools are bound, called, and answered (stream: ${stream})`, { skip },
        async () => {
            const weather = tools.tool(async ({ city }) => `snow in ${city}`, { name: "weather",
                description: "Weather of a city", schema: zod.z.object({ city: zod.z.string() }) });
            const model = chat().bindTools([weather]);
            const ask = async (history) => {
                if (!stream) {
                    return model.invoke(history);
                }
                let whole;
                for await (const part of await model.stream(history)) {
                    whole = whole ? whole.concat(part) : part;
                }
                return whole;
            };
            const history = [new messages.HumanMessage("Oslo")];
            const first = await ask(history);
            assert.deepEqual(first.tool_calls.map((c) => [c.name, c.args]),
                [["weather", { city: "Oslo" }]]);
            history.push(first, await weather.invoke(first.tool_calls[0]));
            assert.equal((await ask(history)).content, "It is snow in Oslo.");
            assert.deepEqual(vendor.last.json.messages.map((m) => m.role),
                ["user", "assistant", "tool"]);
        });
}

for (const method of ["jsonSchema", "functionCalling"]) {
    test(`langchain: structured output by ${method}`, { skip }, async () => {
        const schema = zod.z.object({ city: zod.z.string(), degrees: zod.z.number() });
        const model = chat().withStructuredOutput(schema, { name: "report", method });
        assert.deepEqual(await model.invoke("Oslo"), { city: "Oslo", degrees: 42 });
    });
}

test("langchain: by the Responses API, of a backend that only knows chats", { skip }, async () => {
    const answer = await chat("mock:gpt-4o", { useResponsesApi: true }).invoke("Oslo");
    assert.equal(answer.text, "You said: Oslo");
    let text = "";
    for await (const part of await chat("mock:gpt-4o", { useResponsesApi: true }).stream("Oslo")) {
        text += part.text;
    }
    assert.equal(text, "You said: Oslo");
});

test("langchain: embeddings of a query and of documents", { skip }, async () => {
    const model = new chain.OpenAIEmbeddings(settings({ model: "mock:text-embedding-3-small",
        batchSize: 4 }));
    assert.deepEqual(await model.embedQuery("first"), vector("first"));
    const texts = Array.from({ length: 10 }, (_, i) => `text ${i}`);
    assert.deepEqual(await model.embedDocuments(texts), texts.map((text) => vector(text)));
    assert.ok(vendor.last.json.input.length <= 4);
});

test("langchain: legacy completions, whole and streamed", { skip }, async () => {
    const model = new chain.OpenAI(settings({ model: "mock:gpt-4o" }));
    assert.equal(await model.invoke("Once"), " and so on after Once");
    let text = "";
    for await (const part of await model.stream("Once")) {
        text += part;
    }
    assert.equal(text, " and so on after Once");
});

test("langchain: errors have their status and the proxy's words", { skip }, async () => {
    await assert.rejects(chat("nobody:m").invoke("a"), (error) => {
        assert.equal(error.status, 400);
        assert.match(error.message, /Unknown backend: nobody/);
        return true;
    });
});

test("langchain: the demo, whole and streamed", { skip }, async () => {
    assert.equal((await chat("demo:echo").invoke("Grüße, 世界!")).content, "Grüße, 世界!");
    let text = "";
    for await (const part of await chat("demo:echo").stream("one two three")) {
        text += part.content;
    }
    assert.equal(text, "one two three");
    assert.match((await chat("demo:echo").invoke("!/hello")).content, /llm-proxy/);
});

test("langchain: the demo calls a tool, and says what it gave", { skip }, async () => {
    const weather = tools.tool(async () => "snow in Oslo", { name: "weather",
        description: "Weather of a city", schema: zod.z.object({ city: zod.z.string() }) });
    const model = chat("demo:tools").bindTools([weather]);
    const history = [new messages.HumanMessage("How is it in Oslo?")];
    const first = await model.invoke(history);
    assert.deepEqual(first.tool_calls.map((c) => [c.name, Object.keys(c.args)]),
        [["weather", ["city"]]]);
    history.push(first, await weather.invoke(first.tool_calls[0]));
    assert.match((await model.invoke(history)).content, /snow in Oslo/);
});
