/* SPDX-License-Identifier: MIT */
/*
 * The four protocols as tests need them: paths, a least request, a least answer, and whether the
 * program under test knows them.
 */
import { request } from "./http1.mjs";
import { run } from "./proxy.mjs";

const sse = (list) => list.map((data) => `data: ${JSON.stringify(data)}\n\n`).join("");
const named = (list) => list.map((data) =>
    `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`).join("");

function responses_item(text) {
    return { id: "msg_mock", type: "message", status: "completed", role: "assistant",
        content: [{ type: "output_text", text, annotations: [], logprobs: [] }] };
}

function responses_object(model, status, output) {
    return { id: "resp_mock", object: "response", created_at: 1700000000, status, model, output,
        error: null, incomplete_details: null, instructions: null, metadata: {},
        parallel_tool_calls: true, temperature: 1, top_p: 1, tool_choice: "auto", tools: [],
        usage: status === "in_progress" ? null : { input_tokens: 7,
            input_tokens_details: { cached_tokens: 0 }, output_tokens: 5,
            output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 12 } };
}

function responses_events(model, text) {
    const item = responses_item(text);
    const part = item.content[0];
    const at = { item_id: item.id, output_index: 0, content_index: 0 };
    return [
        { type: "response.created", response: responses_object(model, "in_progress", []) },
        { type: "response.in_progress", response: responses_object(model, "in_progress", []) },
        { type: "response.output_item.added", output_index: 0,
            item: { ...item, status: "in_progress", content: [] } },
        { type: "response.content_part.added", ...at, part: { ...part, text: "" } },
        { type: "response.output_text.delta", ...at, delta: text, logprobs: [] },
        { type: "response.output_text.done", ...at, text, logprobs: [] },
        { type: "response.content_part.done", ...at, part },
        { type: "response.output_item.done", output_index: 0, item },
        { type: "response.completed", response: responses_object(model, "completed", [item]) },
    ].map((event, i) => ({ ...event, sequence_number: i }));
}

function gemini_answer(text) {
    return { candidates: [{ content: { role: "model", parts: [{ text }] }, finishReason: "STOP",
        index: 0 }], usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 5,
        totalTokenCount: 12 }, modelVersion: "mock", responseId: "mock" };
}

function chat_chunk(model, delta, finish = null) {
    return { id: "chatcmpl-mock", object: "chat.completion.chunk", created: 1700000000, model,
        choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] };
}

export const PROTOCOLS = {
    "openai-chat": {
        short: "oc",
        base: "/v1",
        path: () => "/v1/chat/completions",
        upstream_path: () => "/v1/chat/completions",
        request: (text) => ({ messages: [{ role: "user", content: text }] }),
        whole: (model, text) => ({ id: "chatcmpl-mock", object: "chat.completion",
            created: 1700000000, model, choices: [{ index: 0, logprobs: null,
                finish_reason: "stop", message: { role: "assistant", content: text,
                    refusal: null } }],
            usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 } }),
        stream: (model, text) => sse([chat_chunk(model, { role: "assistant", content: "" }),
            chat_chunk(model, { content: text }), chat_chunk(model, {}, "stop"),
            { ...chat_chunk(model, {}), choices: [],
                usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 } }]) +
            "data: [DONE]\n\n",
    },
    "openai-responses": {
        short: "or",
        base: "/v1",
        path: () => "/v1/responses",
        upstream_path: () => "/v1/responses",
        request: (text) => ({ input: text }),
        whole: (model, text) => responses_object(model, "completed", [responses_item(text)]),
        stream: (model, text) => named(responses_events(model, text)),
    },
    anthropic: {
        short: "an",
        base: "",
        path: () => "/v1/messages",
        upstream_path: () => "/v1/messages",
        request: (text) => ({ max_tokens: 100, messages: [{ role: "user", content: text }] }),
        whole: (model, text) => ({ id: "msg_mock", type: "message", role: "assistant", model,
            content: [{ type: "text", text }], stop_reason: "end_turn", stop_sequence: null,
            usage: { input_tokens: 7, output_tokens: 5 } }),
        stream: (model, text) => named([
            { type: "message_start", message: { id: "msg_mock", type: "message",
                role: "assistant", model, content: [], stop_reason: null, stop_sequence: null,
                usage: { input_tokens: 7, output_tokens: 1 } } },
            { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
            { type: "content_block_delta", index: 0, delta: { type: "text_delta", text } },
            { type: "content_block_stop", index: 0 },
            { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null },
                usage: { output_tokens: 5 } },
            { type: "message_stop" },
        ]),
    },
    gemini: {
        short: "ge",
        base: "",
        path: (model, { stream, array }) => `/v1beta/models/${model}:${stream ?
            `streamGenerateContent${array ? "" : "?alt=sse"}` : "generateContent"}`,
        upstream_path: (model, stream) => `/v1beta/models/${model}:${stream ?
            "streamGenerateContent" : "generateContent"}`,
        request: (text) => ({ contents: [{ role: "user", parts: [{ text }] }] }),
        whole: (_, text) => gemini_answer(text),
        stream: (_, text) => sse([gemini_answer(text)]),
    },
};

export const NAMES = Object.keys(PROTOCOLS);
export const by_short = (short) => NAMES.find((name) => PROTOCOLS[name].short === short);

/** Why a backend of this protocol cannot be configured; null: it can. */
async function backend_missing(name) {
    const { code, all } = await run(["--check-config"], { config: { default_backend: "b",
        backends: { b: { protocol: name, api_url: "http://127.0.0.1:9/v1", api_keys: ["k"] } } },
    });
    const told = all.split("\n").find((line) => /does not speak|protocol/.test(line));
    return code === 0 && !/does not speak/.test(all) ? null :
        `no backends of ${name}: ${(told ?? all).trim()}`;
}

/** name -> why backends of it are not there, or null. Before the program runs. */
export async function missing_backends() {
    return new Map(await Promise.all(NAMES.map(async (name) =>
        [name, await backend_missing(name)])));
}

/** name -> why clients of it are not served, or null. */
export async function missing_clients(proxy) {
    const missing = new Map();
    for (const name of NAMES) {
        const target = PROTOCOLS[name].path("no-such-backend:m", { stream: false });
        const { status } = await request(proxy.port, { path: target, headers: proxy.headers(),
            body: "{" });
        missing.set(name, status === 404 ? `no clients of ${name}: 404 for ${target}` : null);
    }
    return missing;
}
