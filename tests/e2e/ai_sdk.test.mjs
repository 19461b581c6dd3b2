/* SPDX-License-Identifier: MIT */
/*
 * The Vercel AI SDK with its provider for OpenAI-compatible servers: what an application built on
 * it sees, of a vendor (lib/vendor.mjs), of a Gemini backend behind the proxy, and of the demo.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { Vendor, noise, vector } from "./lib/vendor.mjs";

const [ai, compatible, zod] = await Promise.all(["ai", "@ai-sdk/openai-compatible", "zod"]
    .map((name) => import(name).catch(() => null)));
const skip = ai && compatible && zod ? false :
    "the packages ai and @ai-sdk/openai-compatible are not installed: npm ci in tests/e2e";

let vendor;
let mock;
let proxy;
let provider;

before(async () => {
    vendor = new Vendor();
    mock = await Mock.start({ fallback: vendor.answer });
    mock.on_get = vendor.answer;
    proxy = await start({ config: { default_backend: "mock", retries: 0,
        backends: { mock: backend(mock) } }, args: ["--demo"] });
    provider = compatible?.createOpenAICompatible({ name: "proxy", apiKey: KEY,
        baseURL: `${proxy.url}/v1`, includeUsage: true, supportsStructuredOutputs: true });
});

after(() => stop_all(proxy, mock));

const options = (more) => ({ model: provider("mock:gpt-4o"), maxRetries: 0, ...more });

test("ai sdk: generateText, with usage", { skip }, async () => {
    const { text, finishReason, usage, response } = await ai.generateText(options({
        prompt: "Oslo, please", system: "Be brief." }));
    assert.equal(text, "You said: Oslo, please");
    assert.equal(finishReason, "stop");
    assert.deepEqual([usage.inputTokens, usage.outputTokens, usage.totalTokens], [4, 4, 8]);
    assert.equal(response.modelId, "gpt-4o");
    assert.ok(response.headers["x-session-id"]);
});

test("ai sdk: streamText, piece by piece, with usage", { skip }, async () => {
    const result = ai.streamText(options({ prompt: "Oslo, please" }));
    const parts = [];
    for await (const part of result.textStream) {
        parts.push(part);
    }
    assert.deepEqual(parts, ["You", " said:", " Oslo,", " please"]);
    assert.equal((await result.usage).totalTokens, 6);
    assert.equal(await result.finishReason, "stop");
});

const weather = (asked) => ai.tool({ description: "Weather of a city",
    inputSchema: zod.z.object({ city: zod.z.string() }),
    execute: async ({ city }) => {
        asked.push(city);
        return { degrees: -3 };
    } });

for (const stream of [false, true]) {
    test(`ai sdk: tools are called, and what they give goes back (stream: ${stream})`, { skip },
        async () => {
            const asked = [];
            const request = options({ prompt: "Oslo", tools: { weather: weather(asked) },
                stopWhen: ai.stepCountIs(3) });
            const result = stream ? ai.streamText(request) : await ai.generateText(request);
            assert.equal(await result.text, "It is {\"degrees\":-3}.");
            assert.deepEqual(asked, ["Oslo"]);
            const [first] = await result.steps;
            assert.equal(first.finishReason, "tool-calls");
            assert.deepEqual(first.toolCalls.map((c) => [c.toolName, c.input]),
                [["weather", { city: "Oslo" }]]);
        });

    test(`ai sdk: structured output (stream: ${stream})`, { skip }, async () => {
        const schema = zod.z.object({ city: zod.z.string(), days: zod.z.array(
            zod.z.object({ degrees: zod.z.number() })) });
        const wanted = { city: "Oslo", days: [{ degrees: 42 }] };
        const request = options({ prompt: "Oslo", output: ai.Output.object({ schema }) });
        const result = stream ? ai.streamText(request) : await ai.generateText(request);
        assert.deepEqual(await result.output, wanted);
        assert.equal(vendor.last.json.response_format.type, "json_schema");
    });

    test(`ai sdk: reasoning of reasoning_content is apart from the text (stream: ${stream})`,
        { skip }, async () => {
            const request = options({ prompt: "Oslo",
                providerOptions: { proxy: { reasoningEffort: "high" } } });
            const result = stream ? ai.streamText(request) : await ai.generateText(request);
            assert.equal(await result.text, "You said: Oslo");
            assert.equal(await result.reasoningText, "Let me think about it.");
        });
}

test("ai sdk: embeddings, one and many", { skip }, async () => {
    const model = provider.embeddingModel("mock:text-embedding-3-small");
    const one = await ai.embed({ model, value: "first", maxRetries: 0 });
    assert.deepEqual(one.embedding, vector("first"));
    const values = Array.from({ length: 30 }, (_, i) => `text ${i}`);
    const many = await ai.embedMany({ model, values, maxRetries: 0 });
    assert.deepEqual(many.embeddings, values.map((text) => vector(text)));
    assert.equal(many.usage.tokens, 60);
});

test("ai sdk: legacy completions and images", { skip }, async () => {
    const { text } = await ai.generateText({ model: provider.completionModel("mock:gpt-4o"),
        prompt: "Once", maxRetries: 0 });
    assert.match(text, /^ and so on after/);
    const { image } = await ai.generateImage({ model: provider.imageModel("mock:gpt-image-1"),
        prompt: "a fjord", maxRetries: 0 });
    assert.deepEqual(Buffer.from(image.uint8Array), noise("a fjord 0", 1024));
});

test("ai sdk: errors have their status and the proxy's words", { skip }, async () => {
    await assert.rejects(ai.generateText(options({ model: provider("nobody:m"), prompt: "a" })),
        (error) => {
            assert.ok(ai.APICallError.isInstance(error), `${error}`);
            assert.equal(error.statusCode, 400);
            assert.match(error.message, /^Unknown backend: nobody/);
            return true;
        });
    await assert.rejects(ai.generateText(options({ model: provider("mock:none"), prompt: "a" })),
        (error) => error.statusCode === 404 && /does not exist/.test(error.message));
});

test("ai sdk: the demo, whole and streamed", { skip }, async () => {
    const { text } = await ai.generateText({ model: provider("demo:echo"), prompt: "Grüße, 世界!",
        maxRetries: 0 });
    assert.equal(text, "Grüße, 世界!");
    const streamed = ai.streamText({ model: provider("demo:echo"), prompt: "one two three",
        maxRetries: 0 });
    assert.equal(await streamed.text, "one two three");
    const command = await ai.generateText({ model: provider("demo:echo"), prompt: "!/hello",
        maxRetries: 0 });
    assert.match(command.text, /llm-proxy/);
});

test("ai sdk: the demo calls tools, and thinks apart from what it says", { skip }, async () => {
    const asked = [];
    const called = await ai.generateText({ model: provider("demo:tools"), maxRetries: 0,
        prompt: "How warm is it in Oslo?", tools: { weather: weather(asked) },
        stopWhen: ai.stepCountIs(3) });
    assert.equal(asked.length, 1);
    assert.match(called.text, /-3/, "what the tool gave is said");
    const thought = ai.streamText({ model: provider("demo:reason"), prompt: "Why?",
        maxRetries: 0 });
    assert.ok((await thought.reasoningText).length > 0);
    assert.ok((await thought.text).length > 0);
});
