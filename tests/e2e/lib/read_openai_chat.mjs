/* SPDX-License-Identifier: MIT */
/* Reads answers of Chat Completions, streamed or whole, as other vendors write them too. */
import { Reading, count, mark_custom, usage_of } from "./reading.mjs";

const STOPS = {
    stop: "end", eos: "end", end_turn: "end", length: "max_tokens", max_tokens: "max_tokens",
    model_length: "context_full", tool_calls: "tool_use", function_call: "tool_use",
    tool_use: "tool_use", content_filter: "filter", safety: "filter", recitation: "filter",
    error: "error", insufficient_system_resource: "error", abort: "error",
};

function add_content(reading, content) {
    if (typeof content === "string") {
        reading.add_text(content);
        return;
    }
    for (const part of content ?? []) {
        if (part.type === "thinking") {
            for (const inner of [part.thinking].flat()) {
                reading.add_reasoning(inner?.text ?? inner);
            }
        } else if (part.type === "refusal") {
            reading.add_refusal(part.refusal);
        } else if (typeof part.text === "string") {
            reading.add_text(part.text);
        }
    }
}

/* Both at once say the same; details alone have text where they are not encrypted. */
function add_reasoning(reading, message) {
    const plain = message.reasoning_content ?? message.reasoning;
    if (typeof plain === "string") {
        reading.add_reasoning(plain);
        return;
    }
    for (const detail of message.reasoning_details ?? []) {
        reading.add_reasoning(detail.text ?? detail.summary);
    }
}

function tool_for(reading, call, slots) {
    const index = call.index === undefined || call.index === null ? null : count(call.index);
    const at = index ?? (call.id || slots.size === 0 ? slots.size : slots.size - 1);
    const there = slots.get(at);
    const other = there && call.id && there.id && call.id !== there.id;
    if (there && !other) {
        return there;
    }
    const tool = { name: "", arguments: "", id: call.id ?? null };
    reading.tools.push(tool);
    slots.set(at, tool);
    return tool;
}

function add_message(reading, message, slots) {
    if (!message) {
        return;
    }
    add_reasoning(reading, message);
    add_content(reading, message.content);
    reading.add_refusal(message.refusal);
    for (const call of message.tool_calls ?? []) {
        const tool = tool_for(reading, call, slots);
        const body = call.function ?? call.custom ?? {};
        if (call.custom && !tool.custom) {
            mark_custom(tool);
        }
        tool.name ||= body.name ?? "";
        const args = body.arguments ?? body.input ?? "";
        tool.arguments += typeof args === "string" ? args : JSON.stringify(args);
        tool.id ??= call.id ?? null;
    }
    if (message.function_call) {
        const tool = tool_for(reading, { index: 0 }, slots);
        tool.name ||= message.function_call.name ?? "";
        tool.arguments += message.function_call.arguments ?? "";
    }
}

function read_usage(reading, usage) {
    if (!usage) {
        return;
    }
    const input = count(usage.prompt_tokens);
    let output = count(usage.completion_tokens);
    const reasoning = count(usage.completion_tokens_details?.reasoning_tokens);
    /* xAI and others count reasoning beside the rest. */
    if (reasoning > output || (reasoning > 0 &&
        count(usage.total_tokens) === input + output + reasoning)) {
        output += reasoning;
    }
    const details = usage.prompt_tokens_details ?? {};
    const cached = count(details.cached_tokens ?? usage.prompt_cache_hit_tokens ??
        usage.num_cached_tokens ?? usage.cached_tokens);
    reading.usage = usage_of({ input, output, reasoning, cached,
        cache_write: count(details.cache_write_tokens) });
}

/** values: the whole body alone, or the data of each event of a stream. */
export function read_openai_chat(values, stream) {
    const readings = new Map([[0, new Reading()]]);
    const slots = new Map();
    for (const value of values) {
        if (value.error) {
            readings.get(0).fail(value.error);
        }
        for (const choice of value.choices ?? []) {
            const index = count(choice.index);
            if (!readings.has(index)) {
                readings.set(index, new Reading());
            }
            if (!slots.has(index)) {
                slots.set(index, new Map());
            }
            const reading = readings.get(index);
            /* Perplexity's chunks repeat the message so far beside what is new. */
            add_message(reading, stream ? choice.delta ?? choice.message :
                choice.message ?? choice.delta, slots.get(index));
            reading.finish = choice.finish_reason ?? reading.finish;
            if (choice.error) {
                reading.fail(choice.error);
            }
        }
        read_usage(readings.get(0), value.usage ?? value.x_groq?.usage);
    }
    const all = [...readings.keys()].sort((a, b) => a - b)
        .map((index) => readings.get(index).settle(STOPS));
    return Object.assign(all[0], all.length > 1 ? { choices: all.slice(1) } : {});
}
