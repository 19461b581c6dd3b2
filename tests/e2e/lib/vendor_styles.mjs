/* SPDX-License-Identifier: MIT */
/*
 * How vendors answer: the same three answers, each in its vendor's manner.
 *
 * What      vendor_answer(): what a vendor's server sends for a request of Chat Completions (or of
 *           its own protocol), by what docs/README's table says of vendors: chat, stream, tools.
 * How       A style is a few words of a vendor's: where reasoning stands, whether a tool call comes
 *           in one piece, what is odd about usage, what it refuses. The forms are those of recorded
 *           exchanges; the texts are made up.
 */
export const TEXT = "The sky is blue.";
export const REASONING = "Think about the sky.";
export const AFTER = "It rains in Oslo.";
export const TOOL = "get_weather";
export const ARGUMENTS = { city: "Oslo" };

/* Bodies of errors. */
const refusal = (message, param) => ({ status: 400,
    body: { error: { message, type: "invalid_request_error", param, code: null } } });
const detail = (message, param) => ({ status: 422,
    body: { object: "error", message: { detail: [{ type: "extra_forbidden", loc: ["body", param],
        msg: message }] }, type: "invalid_request_error", param: null, code: null } });

/** Refuses members of the root, in whichever shape. */
const without = (...names) => (body, error = refusal) => {
    const name = names.find((one) => body[one] !== undefined);
    return name && error(`Unknown parameter: ${name}`, name);
};
const no_developer = (body) => body.messages.some((m) => m.role === "developer") &&
    refusal("unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`",
        "messages");
const either = (...checks) => (body) => checks.map((check) => check(body)).find(Boolean);

const AZURE_FILTER = { hate: { filtered: false, severity: "safe" } };

export const STYLES = {
    openai: {},
    openrouter: { reasoning: "reasoning", comment: ": OPENROUTER PROCESSING\n\n", role_again: true,
        root: { provider: "Someone" }, choice: { native_finish_reason: "STOP" },
        usage: { cost: 0.00012, is_byok: false }, details: true },
    groq: { reasoning: "reasoning", whole_call: true, x_groq: true,
        refuses: without("logprobs", "logit_bias", "top_logprobs") },
    mistral: { reasoning: "parts", whole_call: true, id: "aB3dE6gH9", no_created_id: true,
        refuses: either(no_developer, (body) => without("max_completion_tokens", "user", "seed",
            "stream_options", "logprobs")(body, detail)) },
    deepseek: { reasoning: "reasoning_content", comment: ": keep-alive\n\n", blank_lines: true,
        usage: { prompt_cache_hit_tokens: 0, prompt_cache_miss_tokens: 11 },
        refuses: either(no_developer) },
    xai: { reasoning: "reasoning_content", whole_call: true, no_finish_key: true,
        usage_excludes: true },
    together: { reasoning: "think", finish: { stop: "eos" }, root: { prompt: [] } },
    fireworks: { reasoning: "reasoning_content" },
    cerebras: { reasoning: "reasoning", root: { time_info: { queue_time: 0.1 } },
        refuses: without("frequency_penalty", "presence_penalty") },
    perplexity: { reasoning: "think", cumulative: true, no_done: true, crlf: true,
        root: { citations: ["https://example.com"], search_results: [] },
        refuses: either(no_developer, (body) => without("tools", "tool_choice")(body),
            (body) => body.messages.some((m) => m.role === "tool") &&
                refusal("Last message must have role `user`.")) },
    nvidia: { reasoning: "think", nulls: true },
    moonshot: { reasoning: "reasoning_content", usage_in_choice: true,
        refuses: either(no_developer) },
    zai: { reasoning: "reasoning_content", whole_call: true, refuses: either(no_developer) },
    qwen: { reasoning: "reasoning_content", null_index: true, empty_text: true,
        refuses: either(no_developer) },
    minimax: { reasoning: "think", root: { base_resp: { status_code: 0, status_msg: "" } },
        refuses: either(no_developer) },
    huggingface: { reasoning: "think" },
    deepinfra: { reasoning: "reasoning_content", usage: { estimated_cost: 0.00002 } },
    sambanova: { reasoning: "think", whole_call: true, refuses: either(no_developer) },
    github: { reasoning: "think", filters: true },
    azure: { filters: true },
    ollama: { reasoning: "reasoning", whole_call: true, id: "call_8ch4rs01" },
    lmstudio: { reasoning: "think", root: { stats: {} },
        refuses: (body) => typeof body.tool_choice === "object" &&
            refusal("Invalid tool_choice type: 'object'") },
    vllm: { reasoning: "reasoning", empty_calls: true, choice: { stop_reason: null } },
    llamacpp: { reasoning: "reasoning_content", root: { timings: { predicted_per_second: 90 } } },
};

const usage_of = (style) => ({ prompt_tokens: 11, completion_tokens: style.usage_excludes ? 5 : 7,
    total_tokens: 18, completion_tokens_details: { reasoning_tokens: 2 }, ...style.usage });

/** The content and the reasoning's member of a whole message. */
function message_of(style, text, reasons) {
    const member = { reasoning_content: "reasoning_content", reasoning: "reasoning" }[
        style.reasoning];
    const message = { role: "assistant", content: text };
    if (reasons && style.reasoning === "think") {
        message.content = `<think>\n${REASONING}\n</think>\n\n${text}`;
    } else if (reasons && style.reasoning === "parts") {
        message.content = [{ type: "thinking", thinking: [{ type: "text", text: REASONING }] },
            { type: "text", text }];
    } else if (reasons && member) {
        message[member] = REASONING;
    } else if (style.nulls) {
        message.reasoning_content = null;
    }
    if (style.details && reasons) {
        message.reasoning_details = [{ type: "reasoning.text", text: REASONING, index: 0,
            format: "unknown" }];
    }
    if (style.empty_calls) {
        message.tool_calls = [];
    }
    return message;
}

const call_of = (style) => ({ id: style.id ?? "call_abc123", type: "function",
    function: { name: TOOL, arguments: JSON.stringify(ARGUMENTS) } });

function root_of(style, model, object) {
    return { id: "chatcmpl-1", object, created: 1760000000, model, ...style.root };
}

const finish_of = (style, reason) => style.finish?.[reason] ?? reason;

export function whole(style, model, kind) {
    const calls = kind === "call";
    const message = message_of(style, calls ? "" : kind === "after" ? AFTER : TEXT,
        kind === "chat");
    if (calls) {
        message.content = style.empty_text ? "" : null;
        message.tool_calls = [{ ...call_of(style), ...(style.null_index ? { index: 0 } : {}) }];
    }
    const body = { ...root_of(style, model, "chat.completion"), choices: [{ index: 0, message,
        finish_reason: finish_of(style, calls ? "tool_calls" : "stop"), ...style.choice,
        ...(style.filters ? { content_filter_results: AZURE_FILTER } : {}) }],
    usage: usage_of(style), ...(style.filters ? { prompt_filter_results: [{ prompt_index: 0,
        content_filter_results: AZURE_FILTER }] } : {}) };
    return (style.blank_lines ? "\n\n\n" : "") + JSON.stringify(body);
}

/** The deltas of an answer. */
function deltas_of(style, kind) {
    if (kind === "call") {
        const call = call_of(style);
        if (style.whole_call) {
            return [{ tool_calls: [{ index: 0, ...call }] }];
        }
        const index = style.null_index ? null : 0;
        const half = call.function.arguments.length >> 1;
        return [{ ...(style.empty_text ? { content: "" } : {}), tool_calls: [{ index, ...call,
            function: { name: TOOL, arguments: "" } }] },
        ...[call.function.arguments.slice(0, half), call.function.arguments.slice(half)].map(
            (text) => ({ tool_calls: [{ index, function: { arguments: text },
                ...(style.null_index ? { id: "", type: "function" } : {}) }] }))];
    }
    const text = (kind === "after" ? AFTER : TEXT).match(/\S+ ?/g);
    const words = text.map((content) => ({ content }));
    if (kind === "after" || !style.reasoning) {
        return words;
    }
    const thoughts = REASONING.match(/\S+ ?/g);
    switch (style.reasoning) {
    case "think":
        return [..."<th|ink>\n".split("|"), ...thoughts, "\n</thi", "nk>\n", "\n"].map(
            (content) => ({ content })).concat(words);
    case "parts":
        return [...thoughts.map((one) => ({ content: [{ type: "thinking",
            thinking: [{ type: "text", text: one }] }] })), ...words];
    default:
        return [...thoughts.map((one) => ({ content: style.nulls ? null : "",
            [style.reasoning]: one, ...(style.details ? { reasoning_details: [
                { type: "reasoning.text", text: one, index: 0, format: "unknown" }] } : {}) })),
        ...words];
    }
}

export function stream(style, model, kind, wants_usage) {
    const line = style.crlf ? "\r\n" : "\n";
    const root = root_of(style, model, "chat.completion.chunk");
    const out = [];
    const add = (chunk) => out.push(`data: ${JSON.stringify({ ...root, ...chunk })}${line}${line}`);
    const idle = style.no_finish_key ? {} : { finish_reason: null };
    let said = "";
    if (style.comment) {
        out.push(style.comment);
    }
    if (style.filters) {
        add({ id: "", object: "", created: 0, model: "", choices: [], prompt_filter_results: [
            { prompt_index: 0, content_filter_results: AZURE_FILTER }] });
    }
    const deltas = deltas_of(style, kind);
    deltas[0] = { role: "assistant", ...deltas[0] };
    for (const delta of deltas) {
        said += typeof delta.content === "string" ? delta.content : "";
        add({ choices: [{ index: 0, delta: { ...(style.role_again ? { role: "assistant" } : {}),
            ...delta, ...(style.empty_calls && !delta.tool_calls ? { tool_calls: [] } : {}) },
        ...(style.cumulative ? { message: { role: "assistant", content: said } } : {}), ...idle,
        ...(style.filters ? { content_filter_results: AZURE_FILTER } : {}) }] });
    }
    const reason = finish_of(style, kind === "call" ? "tool_calls" : "stop");
    const usage = usage_of(style);
    const last = { choices: [{ index: 0, delta: {}, finish_reason: reason, ...style.choice,
        ...(style.usage_in_choice ? { usage } : {}),
        ...(style.cumulative ? { message: { role: "assistant", content: said } } : {}) }] };
    if (style.x_groq) {
        last.x_groq = { id: "req_1", usage };
    }
    if (style.cumulative) {
        last.usage = usage;
    }
    add(last);
    if (wants_usage && !style.cumulative && !style.usage_in_choice) {
        add({ choices: [], usage });
    }
    if (!style.no_done) {
        out.push(`data: [DONE]${line}${line}`);
    }
    return out.join("");
}

/** Which of the three answers a request of Chat Completions asks for; what is wrong with it. */
export function asked_for(style, body) {
    const refused = style.refuses?.(body);
    if (refused) {
        return { refused };
    }
    const results = body.messages.filter((m) => m.role === "tool");
    if (results.length === 0) {
        return { kind: body.tools?.length > 0 ? "call" : "chat" };
    }
    const calls = body.messages.flatMap((m) => m.tool_calls ?? []);
    const sound = calls.length === 1 && results.length === 1 &&
        calls[0].id === (style.id ?? "call_abc123") && results[0].tool_call_id === calls[0].id &&
        calls[0].function.name === TOOL && typeof calls[0].function.arguments === "string";
    return sound ? { kind: "after" } :
        { refused: refusal(`tool messages do not fit: ${JSON.stringify(body.messages)}`) };
}
