/* SPDX-License-Identifier: MIT */
/*
 * What an upstream says, written in each of the four protocols.
 *
 * A script: {blocks, finish, usage, fail}
 *   blocks   {reasoning, signature} | {text} | {tool: {id, name, args}}, in order
 *   finish   "end" (default; "tool_use" where there are tools), "max_tokens"
 *   usage    {input, cached, cache_write, output, reasoning}
 *   fail     after the blocks, in a stream: {type, message} as the protocol says it
 *   cut      after the blocks the stream ends, as if it were broken
 *
 * whole(protocol, model, script) is a body, stream(…) a list of events as bytes.
 */

const USAGE = { input: 30, cached: 10, cache_write: 0, output: 12, reasoning: 4 };
const usage_of = (script) => ({ ...USAGE, ...script.usage });
const finish_of = (script) => script.finish ??
    (script.blocks.some((block) => block.tool) ? "tool_use" : "end");

/* Each text in three parts, so that deltas are seen to be put together. */
function thirds(text) {
    const a = Math.ceil(text.length / 3);
    return [text.slice(0, a), text.slice(a, 2 * a), text.slice(2 * a)].filter(Boolean);
}

const plain_event = (data) => `data: ${JSON.stringify(data)}\n\n`;
const named_event = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;

/* ---- Chat Completions ---- */

const CHAT_FINISH = { end: "stop", tool_use: "tool_calls", max_tokens: "length" };

function chat_usage(script) {
    const { input, cached, output, reasoning } = usage_of(script);
    return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output,
        prompt_tokens_details: { cached_tokens: cached },
        completion_tokens_details: { reasoning_tokens: reasoning } };
}

const chat_call = ({ id, name, args }) => ({ id, type: "function",
    function: { name, arguments: JSON.stringify(args) } });

function chat_whole(model, script) {
    const of = (name) => script.blocks.filter((block) => block[name] !== undefined)
        .map((block) => block[name]);
    const [text, reasoning, tools] = [of("text"), of("reasoning"), of("tool")];
    return { id: "chatcmpl-up", object: "chat.completion", created: 1700000000, model,
        choices: [{ index: 0, logprobs: null, finish_reason: CHAT_FINISH[finish_of(script)],
            message: { role: "assistant", content: text.length > 0 ? text.join("") : null,
                refusal: null,
                ...(reasoning.length > 0 ? { reasoning_content: reasoning.join("") } : {}),
                ...(tools.length > 0 ? { tool_calls: tools.map(chat_call) } : {}) } }],
        usage: chat_usage(script) };
}

function chat_stream(model, script) {
    const chunk = (delta, finish = null) => plain_event({ id: "chatcmpl-up",
        object: "chat.completion.chunk", created: 1700000000, model,
        choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] });
    const list = [chunk({ role: "assistant", content: "" })];
    let index = 0;
    for (const { text, reasoning, tool } of script.blocks) {
        list.push(...thirds(text ?? "").map((part) => chunk({ content: part })),
            ...thirds(reasoning ?? "").map((part) => chunk({ reasoning_content: part })));
        if (tool) {
            const call = chat_call(tool);
            list.push(chunk({ tool_calls: [{ index, ...call,
                function: { name: tool.name, arguments: "" } }] }),
            ...thirds(call.function.arguments).map((part) => chunk({
                tool_calls: [{ index, function: { arguments: part } }] })));
            index++;
        }
    }
    if (script.fail) {
        return [...list, plain_event({ error: { message: script.fail.message, code: null,
            param: null, type: "server_error" } })];
    }
    return script.cut ? list : [...list, chunk({}, CHAT_FINISH[finish_of(script)]),
        plain_event({ id: "chatcmpl-up", object: "chat.completion.chunk", created: 1700000000,
            model, choices: [], usage: chat_usage(script) }), "data: [DONE]\n\n"];
}

/* ---- Responses ---- */

function responses_item({ text, reasoning, signature, tool }, i) {
    if (tool) {
        return { type: "function_call", id: `fc_${i}`, call_id: tool.id, name: tool.name,
            arguments: JSON.stringify(tool.args), status: "completed" };
    }
    if (reasoning !== undefined) {
        return { type: "reasoning", id: `rs_${i}`,
            summary: [{ type: "summary_text", text: reasoning }],
            ...(signature ? { encrypted_content: signature } : {}) };
    }
    return { type: "message", id: `msg_${i}`, role: "assistant", status: "completed",
        content: [{ type: "output_text", text, annotations: [], logprobs: [] }] };
}

function responses_object(model, script, status, output) {
    const { input, cached, output: out, reasoning } = usage_of(script);
    return { id: "resp_up", object: "response", created_at: 1700000000, status, model, output,
        error: null, incomplete_details: status === "incomplete" ?
            { reason: "max_output_tokens" } : null,
        instructions: null, metadata: {}, parallel_tool_calls: true, temperature: 1, top_p: 1,
        tool_choice: "auto", tools: [], usage: status === "in_progress" ? null : {
            input_tokens: input, input_tokens_details: { cached_tokens: cached },
            output_tokens: out, output_tokens_details: { reasoning_tokens: reasoning },
            total_tokens: input + out } };
}

const responses_status = (script) => finish_of(script) === "max_tokens" ? "incomplete" :
    "completed";

function item_events(item, index) {
    const at = { item_id: item.id, output_index: index };
    const [begin, end] = [(skeleton) => ({ type: "response.output_item.added",
        output_index: index, item: { ...item, ...skeleton } }),
    { type: "response.output_item.done", output_index: index, item }];
    if (item.type === "function_call") {
        return [begin({ arguments: "", status: "in_progress" }),
            ...thirds(item.arguments).map((delta) => ({
                type: "response.function_call_arguments.delta", ...at, delta })),
            { type: "response.function_call_arguments.done", ...at, name: item.name,
                arguments: item.arguments }, end];
    }
    if (item.type === "reasoning") {
        const part = item.summary[0];
        const where = { ...at, summary_index: 0 };
        return [begin({ summary: [], ...(item.encrypted_content ?
            { encrypted_content: "early" } : {}) }),
        { type: "response.reasoning_summary_part.added", ...where, part: { ...part, text: "" } },
        ...thirds(part.text).map((delta) => ({
            type: "response.reasoning_summary_text.delta", ...where, delta })),
        { type: "response.reasoning_summary_text.done", ...where, text: part.text },
        { type: "response.reasoning_summary_part.done", ...where, part }, end];
    }
    const part = item.content[0];
    const where = { ...at, content_index: 0 };
    return [begin({ content: [], status: "in_progress" }),
        { type: "response.content_part.added", ...where, part: { ...part, text: "" } },
        ...thirds(part.text).map((delta) => ({ type: "response.output_text.delta", ...where,
            delta, logprobs: [] })),
        { type: "response.output_text.done", ...where, text: part.text, logprobs: [] },
        { type: "response.content_part.done", ...where, part }, end];
}

function responses_stream(model, script) {
    const items = script.blocks.map(responses_item);
    const begun = responses_object(model, script, "in_progress", []);
    const list = [{ type: "response.created", response: begun },
        { type: "response.in_progress", response: begun }, ...items.flatMap(item_events)];
    if (script.fail) {
        const error = { code: "server_error", message: script.fail.message };
        list.push({ type: "error", error: { type: "server_error", param: null, ...error } },
            { type: "response.failed", response: { ...begun, status: "failed", error } });
    } else if (!script.cut) {
        const status = responses_status(script);
        list.push({ type: `response.${status}`,
            response: responses_object(model, script, status, items) });
    }
    return list.map((event, i) => named_event({ ...event, sequence_number: i }));
}

/* ---- Messages ---- */

const MESSAGES_FINISH = { end: "end_turn", tool_use: "tool_use", max_tokens: "max_tokens" };

function messages_block({ text, reasoning, signature, tool }) {
    if (tool) {
        return { type: "tool_use", id: tool.id, name: tool.name, input: tool.args };
    }
    return reasoning === undefined ? { type: "text", text } :
        { type: "thinking", thinking: reasoning, signature: signature ?? "" };
}

function messages_object(model, script, content) {
    const { input, cached, cache_write, output } = usage_of(script);
    return { id: "msg_up", type: "message", role: "assistant", model, content,
        stop_reason: MESSAGES_FINISH[finish_of(script)], stop_sequence: null,
        usage: { input_tokens: input - cached - cache_write,
            cache_creation_input_tokens: cache_write, cache_read_input_tokens: cached,
            output_tokens: output } };
}

function block_events(block, index) {
    const delta = (value) => ({ type: "content_block_delta", index, delta: value });
    const around = (start, deltas) => [{ type: "content_block_start", index,
        content_block: start }, ...deltas.map(delta), { type: "content_block_stop", index }];
    if (block.type === "tool_use") {
        return around({ ...block, input: {} }, thirds(JSON.stringify(block.input))
            .map((part) => ({ type: "input_json_delta", partial_json: part })));
    }
    if (block.type === "thinking") {
        return around({ type: "thinking", thinking: "", signature: "" }, [
            ...thirds(block.thinking).map((part) => ({ type: "thinking_delta",
                thinking: part })),
            { type: "signature_delta", signature: block.signature }]);
    }
    return around({ type: "text", text: "" }, thirds(block.text)
        .map((part) => ({ type: "text_delta", text: part })));
}

function messages_stream(model, script) {
    const start = messages_object(model, script, []);
    const list = [{ type: "message_start", message: { ...start, stop_reason: null,
        usage: { ...start.usage, output_tokens: 1 } } }, { type: "ping" },
    ...script.blocks.map(messages_block).flatMap(block_events)];
    if (script.fail) {
        list.push({ type: "error", error: { type: "overloaded_error",
            message: script.fail.message } });
    } else if (!script.cut) {
        list.push({ type: "message_delta", delta: { stop_reason: start.stop_reason,
            stop_sequence: null }, usage: { output_tokens: start.usage.output_tokens } },
        { type: "message_stop" });
    }
    return list.map(named_event);
}

/* ---- Gemini ---- */

const GEMINI_FINISH = { end: "STOP", tool_use: "STOP", max_tokens: "MAX_TOKENS" };

/* The signature of a thought stands on the part behind it. */
function gemini_parts(blocks, cut_up) {
    let signature;
    return blocks.flatMap((block) => {
        const signed = signature ? { thoughtSignature: signature } : {};
        if (block.reasoning !== undefined) {
            signature = block.signature;
            return (cut_up ? thirds(block.reasoning) : [block.reasoning])
                .map((text) => ({ text, thought: true }));
        }
        signature = undefined;
        if (block.tool) {
            const { id, name, args } = block.tool;
            return [{ functionCall: { id, name, args }, ...signed }];
        }
        return (cut_up ? thirds(block.text) : [block.text])
            .map((text, i) => ({ text, ...(i === 0 ? signed : {}) }));
    });
}

function gemini_usage(script) {
    const { input, cached, output, reasoning } = usage_of(script);
    return { promptTokenCount: input, cachedContentTokenCount: cached,
        candidatesTokenCount: output - reasoning, thoughtsTokenCount: reasoning,
        totalTokenCount: input + output };
}

const gemini_object = (model, parts, more = {}) => ({
    candidates: [{ content: { role: "model", parts }, ...more, index: 0 }],
    modelVersion: model, responseId: "up" });

function gemini_whole(model, script) {
    return { ...gemini_object(model, gemini_parts(script.blocks, false),
        { finishReason: GEMINI_FINISH[finish_of(script)] }), usageMetadata: gemini_usage(script) };
}

function gemini_stream(model, script) {
    const list = gemini_parts(script.blocks, true).map((part) => gemini_object(model, [part]));
    if (script.fail) {
        list.push({ error: { code: 503, status: "UNAVAILABLE", message: script.fail.message } });
    } else if (!script.cut) {
        list.push({ ...gemini_object(model, [{ text: "" }],
            { finishReason: GEMINI_FINISH[finish_of(script)] }),
        usageMetadata: gemini_usage(script) });
    }
    return list.map((data) => plain_event(data).replaceAll("\n", "\r\n"));
}

/* ---- All ---- */

const WRITERS = {
    "openai-chat": [chat_whole, chat_stream],
    "openai-responses": [(model, script) => responses_object(model, script,
        responses_status(script), script.blocks.map(responses_item)), responses_stream],
    anthropic: [(model, script) => messages_object(model, script,
        script.blocks.map(messages_block)), messages_stream],
    gemini: [gemini_whole, gemini_stream],
};

export const whole = (protocol, model, script) => WRITERS[protocol][0](model, script);
export const stream = (protocol, model, script) => WRITERS[protocol][1](model, script);

/** An error's body in the words of the protocol's vendor. */
export function error_body(protocol, status, message) {
    const google = { 400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE" };
    const claude = { 400: "invalid_request_error", 401: "authentication_error",
        404: "not_found_error", 429: "rate_limit_error", 500: "api_error",
        529: "overloaded_error" };
    const openai = { 400: ["invalid_request_error", null],
        401: ["invalid_request_error", "invalid_api_key"],
        404: ["invalid_request_error", "model_not_found"],
        429: ["requests", "rate_limit_exceeded"], 500: ["server_error", null],
        503: ["server_error", "overloaded"] };
    if (protocol === "gemini") {
        return { error: { code: status, message, status: google[status] } };
    }
    if (protocol === "anthropic") {
        return { type: "error", error: { type: claude[status], message },
            request_id: "req_up" };
    }
    const [type, code] = openai[status];
    return { error: { message, type, param: null, code } };
}
