/* SPDX-License-Identifier: MIT */
/*
 * The vendors' own packages as clients, each used as its documentation shows, behind one face:
 *
 *   talk = new Talk(proxy, model, {prompt, image, tools, schema, thinking, drop})
 *   turn = await talk.turn(stream, signal)
 *          {text, reasoning, calls: [{id, name, args}], usage: {input, cached, output}, finish,
 *           deltas: how many pieces of text came}
 *   talk.results([{id, name, text}])       what the tools gave; the next turn() sends it
 *
 * The history is what the package gave, put back as it is; with drop: only the members that its
 * documentation names (OpenAI's Chat Completions).
 */
import { KEY } from "./proxy.mjs";

const load = (name) => import(name).catch(() => null);
const [openai, anthropic, google] = await Promise.all(["openai", "@anthropic-ai/sdk",
    "@google/genai"].map(load));

const WEATHER = { type: "object", properties: { city: { type: "string",
    description: "Name of the city" } }, required: ["city"] };

class Talk {
    constructor(proxy, model, options) {
        Object.assign(this, { proxy, model, options, history: [] });
    }
}

/* ---- openai, Chat Completions ---- */

class ChatTalk extends Talk {
    constructor(...rest) {
        super(...rest);
        const { prompt, image } = this.options;
        this.client = new openai.default({ apiKey: KEY, baseURL: `${this.proxy.url}/v1`,
            maxRetries: 0 });
        this.history = [{ role: "user", content: image ? [{ type: "text", text: prompt },
            { type: "image_url", image_url: { url: `data:${image.type};base64,${
                image.data}` } }] : prompt }];
    }

    body() {
        const { tools, schema, thinking } = this.options;
        return { model: this.model, messages: this.history,
            ...(thinking ? { reasoning_effort: "high" } : {}),
            ...(tools ? { tools: [{ type: "function", function: { name: "weather",
                description: "Weather of a city", parameters: WEATHER } }] } : {}),
            ...(schema ? { response_format: { type: "json_schema", json_schema: {
                name: "answer", schema, strict: true } } } : {}) };
    }

    async turn(stream, signal) {
        let deltas = 0;
        let reasoning = "";
        let answer;
        if (stream) {
            const runner = this.client.chat.completions.stream({ ...this.body(),
                stream_options: { include_usage: true } }, { signal });
            runner.on("content.delta", () => { deltas++; });
            /* The package keeps the last piece of members that it does not know. */
            runner.on("chunk", (chunk) => {
                reasoning += chunk.choices[0]?.delta?.reasoning_content ?? "";
            });
            answer = await runner.finalChatCompletion();
        } else {
            answer = await this.client.chat.completions.create(this.body(), { signal });
        }
        const [{ message, finish_reason }] = answer.choices;
        const { content, tool_calls, role } = message;
        this.history.push(!this.options.drop ? message : { role, content,
            tool_calls: tool_calls?.map(({ id, type, function: f }) => ({ id, type,
                function: { name: f.name, arguments: f.arguments } })) });
        const { usage } = answer;
        return { text: content ?? "", deltas,
            reasoning: stream ? reasoning : message.reasoning_content ?? "",
            calls: (tool_calls ?? []).map((call) => ({ id: call.id, name: call.function.name,
                args: JSON.parse(call.function.arguments) })),
            finish: finish_reason, usage: { input: usage.prompt_tokens,
                cached: usage.prompt_tokens_details?.cached_tokens,
                output: usage.completion_tokens } };
    }

    results(list) {
        this.history.push(...list.map(({ id, text }) => ({ role: "tool", tool_call_id: id,
            content: text })));
    }
}

/* ---- openai, Responses ---- */

class ResponsesTalk extends Talk {
    constructor(...rest) {
        super(...rest);
        const { prompt, image } = this.options;
        this.client = new openai.default({ apiKey: KEY, baseURL: `${this.proxy.url}/v1`,
            maxRetries: 0 });
        this.history = [{ role: "user", content: image ? [{ type: "input_text", text: prompt },
            { type: "input_image", detail: "auto", image_url: `data:${image.type};base64,${
                image.data}` }] : prompt }];
    }

    body() {
        const { tools, schema, thinking } = this.options;
        return { model: this.model, input: this.history, store: false,
            ...(thinking ? { reasoning: { effort: "high", summary: "auto" },
                include: ["reasoning.encrypted_content"] } : {}),
            ...(tools ? { tools: [{ type: "function", name: "weather", strict: false,
                description: "Weather of a city", parameters: WEATHER }] } : {}),
            ...(schema ? { text: { format: { type: "json_schema", name: "answer", schema,
                strict: true } } } : {}) };
    }

    async turn(stream, signal) {
        let deltas = 0;
        let answer;
        if (stream) {
            const runner = this.client.responses.stream(this.body(), { signal });
            runner.on("response.output_text.delta", () => { deltas++; });
            let failed = null;
            runner.on("error", (error) => { failed ??= error; });
            runner.on("event", (event) => {
                if (event.type === "error" || event.type === "response.failed") {
                    failed ??= new Error(JSON.stringify(event));
                }
            });
            answer = await runner.finalResponse();
            if (failed) {
                throw failed;
            }
        } else {
            answer = await this.client.responses.create(this.body(), { signal });
        }
        const items = answer.output.map(({ parsed, parsed_arguments, ...item }) => item);
        this.history.push(...items);
        const of = (type) => items.filter((item) => item.type === type);
        return { text: answer.output_text, deltas, finish: answer.status,
            reasoning: of("reasoning").flatMap((item) => item.summary)
                .map((part) => part.text).join(""),
            calls: of("function_call").map((item) => ({ id: item.call_id, name: item.name,
                args: JSON.parse(item.arguments) })),
            usage: { input: answer.usage.input_tokens,
                cached: answer.usage.input_tokens_details?.cached_tokens,
                output: answer.usage.output_tokens } };
    }

    results(list) {
        this.history.push(...list.map(({ id, text }) => ({ type: "function_call_output",
            call_id: id, output: text })));
    }
}

/* ---- @anthropic-ai/sdk ---- */

class MessagesTalk extends Talk {
    constructor(...rest) {
        super(...rest);
        const { prompt, image } = this.options;
        this.client = new anthropic.default({ apiKey: KEY, baseURL: this.proxy.url,
            maxRetries: 0 });
        this.history = [{ role: "user", content: image ? [{ type: "text", text: prompt },
            { type: "image", source: { type: "base64", media_type: image.type,
                data: image.data } }] : prompt }];
    }

    body() {
        const { tools, schema, thinking } = this.options;
        return { model: this.model, messages: this.history, max_tokens: 16000,
            ...(thinking ? { thinking: { type: "enabled", budget_tokens: 4000 } } : {}),
            ...(tools ? { tools: [{ name: "weather", description: "Weather of a city",
                input_schema: WEATHER }] } : {}),
            ...(schema ? { output_config: { format: { type: "json_schema", schema } } } : {}) };
    }

    async turn(stream, signal) {
        let deltas = 0;
        let answer;
        if (stream) {
            const runner = this.client.messages.stream(this.body(), { signal });
            runner.on("text", () => { deltas++; });
            answer = await runner.finalMessage();
        } else {
            answer = await this.client.messages.create(this.body(), { signal });
        }
        this.history.push({ role: "assistant", content: answer.content });
        const of = (type) => answer.content.filter((block) => block.type === type);
        const { usage } = answer;
        const cached = usage.cache_read_input_tokens ?? 0;
        return { text: of("text").map((block) => block.text).join(""), deltas,
            reasoning: of("thinking").map((block) => block.thinking).join(""),
            calls: of("tool_use").map((block) => ({ id: block.id, name: block.name,
                args: block.input })),
            finish: answer.stop_reason, usage: { cached, output: usage.output_tokens,
                input: usage.input_tokens + cached + (usage.cache_creation_input_tokens ?? 0) } };
    }

    results(list) {
        this.history.push({ role: "user", content: list.map(({ id, text }) => ({
            type: "tool_result", tool_use_id: id, content: text })) });
    }
}

/* ---- @google/genai ---- */

class GenaiTalk extends Talk {
    constructor(...rest) {
        super(...rest);
        const { prompt, image } = this.options;
        this.client = new google.GoogleGenAI({ apiKey: KEY, vertexai: false,
            httpOptions: { baseUrl: this.proxy.url } });
        this.history = [{ role: "user", parts: [{ text: prompt }, ...(image ? [{
            inlineData: { mimeType: image.type, data: image.data } }] : [])] }];
    }

    body(signal) {
        const { tools, schema, thinking } = this.options;
        return { model: this.model, contents: this.history, config: { abortSignal: signal,
            ...(thinking ? { thinkingConfig: { includeThoughts: true, thinkingBudget: 4000 } } :
                {}),
            ...(tools ? { tools: [{ functionDeclarations: [{ name: "weather",
                description: "Weather of a city", parametersJsonSchema: WEATHER }] }] } : {}),
            ...(schema ? { responseMimeType: "application/json", responseJsonSchema: schema } :
                {}) } };
    }

    async turn(stream, signal) {
        const parts = [];
        let deltas = 0;
        let last = {};
        const take = (chunk) => {
            parts.push(...chunk.candidates?.[0]?.content?.parts ?? []);
            deltas += chunk.candidates?.[0]?.content?.parts?.some((part) => part.text &&
                !part.thought) ? 1 : 0;
            last = { usage: chunk.usageMetadata ?? last.usage,
                finish: chunk.candidates?.[0]?.finishReason ?? last.finish };
        };
        if (stream) {
            for await (const chunk of await this.client.models.generateContentStream(
                this.body(signal))) {
                take(chunk);
            }
        } else {
            take(await this.client.models.generateContent(this.body(signal)));
        }
        this.history.push({ role: "model", parts });
        const said = (thought) => parts.filter((part) => part.text &&
            (part.thought ?? false) === thought).map((part) => part.text).join("");
        return { text: said(false), reasoning: said(true), deltas, finish: last.finish,
            calls: parts.filter((part) => part.functionCall).map(({ functionCall: call }) => ({
                id: call.id, name: call.name, args: call.args })),
            usage: { input: last.usage?.promptTokenCount,
                cached: last.usage?.cachedContentTokenCount,
                output: (last.usage?.candidatesTokenCount ?? 0) +
                    (last.usage?.thoughtsTokenCount ?? 0) } };
    }

    results(list) {
        this.history.push({ role: "user", parts: list.map(({ id, name, text }) => ({
            functionResponse: { id, name, response: { output: text } } })) });
    }
}

export const SDKS = [
    { name: "openai chat", protocol: "openai-chat", Talk: ChatTalk, there: openai,
        finish: { end: "stop", tools: "tool_calls" } },
    { name: "openai responses", protocol: "openai-responses", Talk: ResponsesTalk, there: openai,
        finish: { end: "completed", tools: "completed" } },
    { name: "anthropic", protocol: "anthropic", Talk: MessagesTalk, there: anthropic,
        finish: { end: "end_turn", tools: "tool_use" } },
    { name: "genai", protocol: "gemini", Talk: GenaiTalk, there: google,
        finish: { end: "STOP", tools: "STOP" } },
];
