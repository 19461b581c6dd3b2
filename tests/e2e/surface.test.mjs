/* SPDX-License-Identifier: MIT */
/*
 * The official `openai` package over the whole of OpenAI's API, through the proxy, against a vendor
 * that behaves as OpenAI's reference says (lib/vendor.mjs): each method gives what it gives when
 * the package talks to the vendor itself.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { Mock } from "./lib/mock.mjs";
import { KEY, backend, start, stop_all, test } from "./lib/proxy.mjs";
import { Vendor, noise, sha, vector } from "./lib/vendor.mjs";

const [sdk, zods, zod] = await Promise.all(["openai", "openai/helpers/zod", "zod"].map((name) =>
    import(name).catch(() => null)));
const skip = sdk && zods && zod ? false :
    "the openai package is not installed: npm ci in tests/e2e";
const OpenAI = sdk?.default;
const { toFile } = sdk ?? {};

let vendor;
let second;
let mock;
let mock2;
let proxy;
let client;
let direct;

async function serve(which) {
    const one = await Mock.start({ fallback: which.answer });
    one.on_get = which.answer;
    return one;
}

before(async () => {
    vendor = new Vendor();
    second = new Vendor();
    [mock, mock2] = [await serve(vendor), await serve(second)];
    proxy = await start({ config: { default_backend: "mock", retries: 0, backends: {
        mock: backend(mock), second: backend(mock2, { api_keys: ["upstream-key-2"] }) } } });
    const make = (baseURL) => OpenAI && new OpenAI({ apiKey: KEY, baseURL, maxRetries: 0 });
    client = make(`${proxy.url}/v1`);
    direct = make(mock.url);
});

after(() => stop_all(proxy, mock, mock2));

/** The same call through the proxy and to the vendor itself gives the same; what the proxy gave. */
async function same(call, model, tidy = (v) => v) {
    const through = await call(client, `mock:${model}`);
    const by = vendor.last;
    assert.equal(by.auth, "Bearer upstream-key-1", "the backend's key goes up, not the client's");
    const plain = await call(direct, model);
    const { auth, ...asked } = vendor.last;
    const { auth: _, ...proxied } = by;
    const bare = ({ form, type, query, ...rest }) => ({ ...rest, query: `${query}`,
        type: type?.split(";")[0] ?? null, form });
    assert.deepEqual(bare(proxied), bare(asked), "the vendor was asked something else");
    assert.deepEqual(tidy(through), tidy(plain));
    return through;
}

const collect = async (stream) => {
    const list = [];
    for await (const part of await stream) {
        list.push(part);
    }
    return list;
};
const anon = ({ id, ...rest }) => rest;
const bytes_of = async (answer) => Buffer.from(await answer.arrayBuffer());

/* ---- chat ---- */

const ASK = [{ role: "user", content: "Oslo, please" }];
const TOOLS = [{ type: "function", function: { name: "weather", description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } },
        required: ["city"], additionalProperties: false } } }];

test("surface: chat, whole and by the stream helper", { skip }, async () => {
    const answer = await same((c, model) => c.chat.completions.create({ model, messages: ASK }),
        "gpt-4o", anon);
    assert.equal(answer.choices[0].message.content, "You said: Oslo, please");
    const seen = { content: "", chunks: 0 };
    const runner = client.chat.completions.stream({ model: "mock:gpt-4o", messages: ASK,
        stream_options: { include_usage: true } })
        .on("content", (delta) => { seen.content += delta; })
        .on("chunk", () => { seen.chunks++; });
    const final = await runner.finalChatCompletion();
    assert.equal(seen.content, "You said: Oslo, please");
    assert.equal(final.choices[0].message.content, seen.content);
    assert.equal(seen.chunks, 7);
    assert.deepEqual({ ...await runner.totalUsage() },
        { prompt_tokens: 2, completion_tokens: 4, total_tokens: 6 });
});

for (const stream of [false, true]) {
    test(`surface: runTools calls the functions and ends with what they gave (stream: ${stream})`,
        { skip }, async () => {
            const asked = [];
            const runner = client.chat.completions.runTools({ model: "mock:gpt-4o", stream,
                messages: ASK, tools: [{ type: "function", function: { ...TOOLS[0].function,
                    parse: JSON.parse, function: async ({ city }) => {
                        asked.push(city);
                        return `snow in ${city}`;
                    } } }] });
            assert.equal(await runner.finalContent(), "It is snow in Oslo, please.");
            assert.deepEqual(asked, ["Oslo, please"]);
            assert.deepEqual(vendor.last.json.messages.map((m) => m.role),
                ["user", "assistant", "tool"]);
        });

    test(`surface: parse gives what the schema says (stream: ${stream})`, { skip }, async () => {
        const Report = zod.z.object({ city: zod.z.string(), days: zod.z.array(zod.z.object({
            degrees: zod.z.number(), snow: zod.z.boolean() })) });
        const body = { model: "mock:gpt-4o", messages: ASK,
            response_format: zods.zodResponseFormat(Report, "report") };
        const answer = stream ? await client.chat.completions.stream(body).finalChatCompletion() :
            await client.chat.completions.parse(body);
        assert.deepEqual(answer.choices[0].message.parsed,
            { city: "Oslo, please", days: [{ degrees: 42, snow: true }] });
        assert.equal(vendor.last.json.response_format.json_schema.strict, true);
        const tool = zods.zodFunction({ name: "report", parameters: Report });
        const called = await client.chat.completions.parse({ model: "mock:gpt-4o", messages: ASK,
            tools: [tool] });
        assert.deepEqual(called.choices[0].message.tool_calls[0].function.parsed_arguments,
            { city: "Oslo, please", days: [{ degrees: 42, snow: true }] });
    });
}

test("surface: a chat completion that was stored is fetched, changed and deleted", { skip },
    async () => {
        const { id } = await client.chat.completions.create({ model: "mock:gpt-4o", store: true,
            messages: ASK, metadata: { topic: "weather" } });
        assert.equal((await client.chat.completions.retrieve(id)).metadata.topic, "weather");
        await client.chat.completions.update(id, { metadata: { topic: "snow" } });
        assert.equal((await client.chat.completions.retrieve(id)).metadata.topic, "snow");
        assert.equal((await client.chat.completions.delete(id)).deleted, true);
        await assert.rejects(client.chat.completions.retrieve(id), OpenAI.NotFoundError);
    });

/* ---- responses: of a backend that only knows chats ---- */

test("surface: responses, whole, streamed, parsed, fetched and deleted", { skip }, async () => {
    const model = "mock:gpt-4o";
    const first = await client.responses.create({ model, input: "Oslo, please" });
    assert.equal(first.output_text, "You said: Oslo, please");
    assert.equal((await client.responses.retrieve(first.id)).output_text, first.output_text);
    const items = await client.responses.inputItems.list(first.id);
    assert.equal(items.data[0].content[0].text, "Oslo, please");
    const next = await client.responses.create({ model, input: "And Rome?",
        previous_response_id: first.id });
    assert.equal(next.output_text, "You said: And Rome?");
    assert.deepEqual(vendor.last.json.messages.map((m) => m.role), ["user", "assistant", "user"]);
    await client.responses.delete(first.id);
    await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);

    const runner = client.responses.stream({ model, input: "Oslo, please" });
    let text = "";
    runner.on("response.output_text.delta", ({ delta }) => { text += delta; });
    assert.equal((await runner.finalResponse()).output_text, text);
    assert.equal(text, "You said: Oslo, please");
    const parsed = await client.responses.parse({ model, input: "Oslo",
        text: { format: zods.zodTextFormat(zod.z.object({ city: zod.z.string() }), "place") } });
    assert.deepEqual(parsed.output_parsed, { city: "Oslo" });
});

/* ---- what is computed ---- */

test("surface: legacy completions, whole and streamed", { skip }, async () => {
    const whole = await same((c, model) => c.completions.create({ model, prompt: "Once" }),
        "gpt-4o");
    assert.equal(whole.choices[0].text, " and so on after Once");
    const parts = await same((c, model) => collect(c.completions.create({ model, stream: true,
        prompt: "Once" })), "gpt-4o");
    assert.equal(parts.map((p) => p.choices[0].text).join(""), " and so on after Once");
    assert.equal(parts.length, 6);
});

test("surface: embeddings, in base64 as the package asks for, and as numbers", { skip },
    async () => {
        const input = ["first", "second", "dritte \u00e4\ud83d\ude00"];
        const answer = await same((c, model) => c.embeddings.create({ model, input }),
            "text-embedding-3-small");
        assert.equal(vendor.last.json.encoding_format, "base64");
        assert.deepEqual(answer.data.map((d) => d.embedding), input.map((t) => vector(t)));
        const floats = await same((c, model) => c.embeddings.create({ model, input: "one",
            encoding_format: "float", dimensions: 3, user: "u" }), "text-embedding-3-small");
        assert.deepEqual(floats.data[0].embedding, vector("one", 3));
        const tokens = await same((c, model) => c.embeddings.create({ model, input: [[1, 2], [3]] }),
            "text-embedding-3-small");
        assert.equal(tokens.data.length, 2);
    });

test("surface: images are made, also streamed, edited from files, and varied", { skip },
    async () => {
        const made = await same((c, model) => c.images.generate({ model, prompt: "a fjord", n: 2 }),
            "gpt-image-1");
        assert.equal(made.data.length, 2);
        const events = await same((c, model) => collect(c.images.generate({ model, stream: true,
            prompt: "a fjord", partial_images: 2 })), "gpt-image-1");
        assert.deepEqual(events.map((e) => e.type), ["image_generation.partial_image",
            "image_generation.partial_image", "image_generation.completed"]);
        const file = (name, n) => toFile(noise(name, n), `${name}.png`, { type: "image/png" });
        const edited = await same(async (c, model) => c.images.edit({ model, prompt: "snow",
            image: [await file("a", 70_000), await file("b", 900)],
            mask: await file("mask", 300) }), "gpt-image-1");
        assert.equal(edited.usage.input_tokens_details.image_tokens, 2);
        assert.equal(sha(vendor.last.form["image[]"][0].bytes), sha(noise("a", 70_000)));
        await same(async (c) => c.images.createVariation({ image: await file("a", 5000) }), "");
    });

test("surface: audio goes up as a file, and comes down as bytes", { skip }, async () => {
    const sound = noise("sound", 200_000);
    const file = () => toFile(sound, "talk.mp3", { type: "audio/mpeg" });
    const heard = await same(async (c, model) => c.audio.transcriptions.create({ model,
        file: await file() }), "whisper-1");
    assert.match(heard.text, new RegExp(`200000 bytes of talk.mp3: ${sha(sound)}`));
    const streamed = await same(async (c, model) => collect(c.audio.transcriptions.create({ model,
        file: await file(), stream: true })), "whisper-1");
    assert.equal(streamed.at(-1).text, heard.text);
    const text = await same(async (c, model) => c.audio.transcriptions.create({ model,
        file: await file(), response_format: "text" }), "whisper-1");
    assert.equal(text, `${heard.text}\n`);
    await same(async (c, model) => c.audio.translations.create({ model, file: await file() }),
        "whisper-1");
    const speech = await client.audio.speech.create({ model: "mock:tts-1", voice: "alloy",
        input: "Hello" });
    assert.equal(speech.headers.get("content-type"), "audio/mpeg");
    assert.equal(sha(await bytes_of(speech)), sha(noise("alloy Hello", 300_000)));
});

test("surface: moderations", { skip }, async () => {
    const answer = await same((c, model) => c.moderations.create({ model,
        input: ["hello", "attack"] }), "omni-moderation-latest");
    assert.deepEqual(answer.results.map((r) => r.flagged), [false, true]);
});

/* ---- what is stored ---- */

const upload = (name, bytes, purpose = "batch") => toFile(bytes, name)
    .then((file) => client.files.create({ file, purpose }));

test("surface: files are stored, listed page by page, read and deleted", { skip }, async () => {
    const content = Buffer.concat([Buffer.from("\0\r\n--\r\n"), noise("file", 3 << 20)]);
    const made = await upload("data.jsonl", content);
    assert.deepEqual([made.bytes, made.filename, made.purpose],
        [content.length, "data.jsonl", "batch"]);
    const more = [];
    for (const name of ["b", "c", "d"]) {
        more.push(await upload(name, Buffer.from(name)));
    }
    const listed = await collect(client.files.list({ limit: 2 }));
    assert.deepEqual(listed.map((f) => f.id).slice(-4), [made, ...more].map((f) => f.id));
    assert.equal(vendor.last.query.get("limit"), "2");
    assert.ok(vendor.last.query.get("after"), "pages are asked for by the query");
    assert.equal((await client.files.retrieve(made.id)).filename, "data.jsonl");
    const back = await client.files.content(made.id);
    assert.equal(back.headers.get("content-disposition"), "attachment; filename=\"data.jsonl\"");
    assert.equal(back.headers.get("etag"), "\"v1\"");
    assert.equal(sha(await bytes_of(back)), sha(content));
    assert.equal((await client.files.delete(made.id)).deleted, true);
    await assert.rejects(client.files.retrieve(made.id), (error) => {
        assert.ok(error instanceof OpenAI.NotFoundError);
        assert.match(error.error.message, /No such file object/, "the vendor's own words");
        return true;
    });
});

test("surface: a large file goes up in parts", { skip }, async () => {
    const halves = [noise("one", 1 << 20), noise("two", 1 << 20)];
    const begun = await client.uploads.create({ bytes: 2 << 20, filename: "big.jsonl",
        mime_type: "text/jsonl", purpose: "fine-tune" });
    const parts = [];
    for (const data of halves) {
        parts.push(await client.uploads.parts.create(begun.id, { data: await toFile(data) }));
    }
    const done = await client.uploads.complete(begun.id, { part_ids: parts.map((p) => p.id) });
    assert.equal(done.status, "completed");
    assert.equal(sha(await bytes_of(await client.files.content(done.file.id))),
        sha(Buffer.concat(halves)));
    const other = await client.uploads.create({ bytes: 1, filename: "x", mime_type: "text/plain",
        purpose: "batch" });
    assert.equal((await client.uploads.cancel(other.id)).status, "cancelled");
});

test("surface: batches and fine-tuning jobs are begun, watched and stopped", { skip }, async () => {
    const input = await upload("in.jsonl", Buffer.from("{}\n"));
    const batch = await client.batches.create({ input_file_id: input.id,
        endpoint: "/v1/chat/completions", completion_window: "24h" });
    assert.equal((await client.batches.retrieve(batch.id)).status, "validating");
    assert.equal((await collect(client.batches.list())).at(-1).id, batch.id);
    assert.equal((await client.batches.cancel(batch.id)).status, "cancelling");

    const job = await client.fineTuning.jobs.create({ model: "mock:gpt-4o-mini",
        training_file: input.id });
    assert.equal(vendor.last.json.model, "gpt-4o-mini", "the prefix is the proxy's own");
    assert.equal((await client.fineTuning.jobs.retrieve(job.id)).status, "queued");
    assert.equal((await collect(client.fineTuning.jobs.list({ limit: 1 }))).at(-1).id, job.id);
    assert.deepEqual(await collect(client.fineTuning.jobs.listEvents(job.id)), []);
    assert.deepEqual(await collect(client.fineTuning.jobs.checkpoints.list(job.id)), []);
    assert.equal((await client.fineTuning.jobs.cancel(job.id)).status, "cancelled");
});

test("surface: vector stores and their files", { skip }, async () => {
    const store = await client.vectorStores.create({ name: "docs", metadata: { a: "b" } });
    const file = await upload("doc.txt", Buffer.from("text"), "assistants");
    await client.vectorStores.files.create(store.id, { file_id: file.id });
    assert.equal((await collect(client.vectorStores.files.list(store.id))).length, 1);
    await client.vectorStores.update(store.id, { name: "more docs" });
    assert.equal((await client.vectorStores.retrieve(store.id)).name, "more docs");
    assert.deepEqual(await collect(client.vectorStores.search(store.id, { query: "where?" })), []);
    const batch = await client.vectorStores.fileBatches.create(store.id, { file_ids: [file.id] });
    assert.equal((await client.vectorStores.fileBatches.retrieve(batch.id,
        { vector_store_id: store.id })).id, batch.id);
    assert.ok((await collect(client.vectorStores.list())).some((s) => s.id === store.id));
    assert.equal((await client.vectorStores.delete(store.id)).deleted, true);
});

test("surface: what else the API has: containers, evals, assistants, threads", { skip },
    async () => {
        const box = await client.containers.create({ name: "box" });
        assert.equal((await client.containers.retrieve(box.id)).name, "box");
        await client.containers.delete(box.id);
        const made = await client.evals.create({ data_source_config: { type: "custom",
            item_schema: {} }, testing_criteria: [] });
        assert.equal((await client.evals.retrieve(made.id)).object, "eval");
        const helper = await client.beta.assistants.create({ model: "mock:gpt-4o" });
        assert.equal(helper.model, "gpt-4o");
        const thread = await client.beta.threads.create({});
        await client.beta.threads.messages.create(thread.id, { role: "user", content: "hi" });
        const run = await client.beta.threads.runs.create(thread.id, { assistant_id: helper.id });
        assert.equal(run.status, "completed");
    });

test("surface: models are the proxy's own list", { skip }, async () => {
    const ids = (await collect(client.models.list())).map((m) => m.id);
    assert.deepEqual(ids.filter((id) => id.startsWith("second:")),
        second.models.map((id) => `second:${id}`));
    for (const id of ["mock:gpt-4o", "mock:ft:gpt-4o:acme::1"]) {
        assert.equal((await client.models.retrieve(id)).id, id);
    }
});

/* ---- which backend, which key ---- */

test("surface: the model says the backend: in JSON, in a form, by default", { skip }, async () => {
    const before_mock = mock.requests.length;
    const count = second.seen.length;
    await client.embeddings.create({ model: "second:text-embedding-3-small", input: "a" });
    await client.images.edit({ model: "second:gpt-image-1", prompt: "p",
        image: await toFile(noise("i", 99), "i.png", { type: "image/png" }) });
    await client.audio.transcriptions.create({ model: "second:whisper-1",
        file: await toFile(noise("s", 9999), "s.mp3") });
    await client.moderations.create({ model: "second:omni-moderation-latest", input: "a" });
    assert.equal(second.seen.length, count + 4);
    assert.equal(mock.requests.length, before_mock);
    for (const asked of second.seen.slice(count)) {
        assert.equal(asked.auth, "Bearer upstream-key-2");
        assert.doesNotMatch(asked.json?.model ?? asked.form.model[0], /:/);
    }
    await client.files.list();
    assert.equal(vendor.last.path, "/files", "what names no model goes to the default backend");
});

test("surface: the vendor's refusals are the application's errors", { skip }, async () => {
    for (const c of [client, direct]) {
        await assert.rejects(c.embeddings.create({ model: "text-embedding-3-small", input: [] }),
            (error) => {
                assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
                assert.equal(error.param, "input");
                assert.equal(error.requestID, "req_refused");
                return true;
            });
        await assert.rejects(c.images.generate({ model: "none", prompt: "p" }),
            (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
    }
    await assert.rejects(client.embeddings.create({ model: "nobody:m", input: "a" }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
        assert.equal(error.code, "unknown_backend");
        assert.match(error.error.message, /^Unknown backend: nobody/);
        return true;
    });
});

test("surface: a stranger's key opens no path", { skip }, async () => {
    const stranger = new OpenAI({ apiKey: "wrong", baseURL: `${proxy.url}/v1`, maxRetries: 0 });
    const seen = vendor.seen.length;
    for (const call of [() => stranger.files.list(), () => stranger.embeddings.create({
        model: "text-embedding-3-small", input: "a" }), () => stranger.audio.speech.create({
        model: "tts-1", voice: "alloy", input: "a" }), () => stranger.files.delete("file-1")]) {
        await assert.rejects(call(), OpenAI.AuthenticationError);
    }
    assert.equal(vendor.seen.length, seen);
});
