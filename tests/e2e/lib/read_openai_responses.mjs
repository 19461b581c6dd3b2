/* SPDX-License-Identifier: MIT */
/*
 * Reads answers of Responses. A stream is read twice: by its deltas, and by the whole response in
 * its last event; where both are there they must say the same (`differs`).
 */
import { Reading, count, mark_custom, usage_of } from "./reading.mjs";

const STOPS = {
    completed: "end", max_output_tokens: "max_tokens", content_filter: "filter",
    incomplete: "max_tokens", failed: "error", cancelled: "error",
};

/* A tool of a namespace: others know it as namespace__name. */
function named(tool, item) {
    return item.namespace ? Object.defineProperty(tool, "flat", {
        value: `${item.namespace}__${item.name}` }) : tool;
}

function add_item(reading, item) {
    if (item.type === "message") {
        for (const part of item.content ?? []) {
            if (part.type === "refusal") {
                reading.add_refusal(part.refusal);
            } else {
                reading.add_text(part.text);
            }
        }
    } else if (item.type === "reasoning") {
        for (const part of [...item.summary ?? [], ...item.content ?? []]) {
            reading.add_reasoning(part.text);
        }
    } else if (item.type === "function_call") {
        reading.tools.push(named({ name: item.name, arguments: item.arguments,
            id: item.call_id }, item));
    } else if (item.type === "custom_tool_call") {
        reading.tools.push(mark_custom({ name: item.name, arguments: item.input,
            id: item.call_id }));
    }
}

function finish(reading, response) {
    reading.finish = response.status === "incomplete" ?
        response.incomplete_details?.reason ?? "incomplete" : response.status ?? null;
    if (response.error) {
        reading.fail(response.error);
    }
    const { usage } = response;
    if (usage) {
        reading.usage = usage_of({ input: count(usage.input_tokens),
            output: count(usage.output_tokens),
            cached: count(usage.input_tokens_details?.cached_tokens),
            cache_write: count(usage.input_tokens_details?.cache_write_tokens),
            reasoning: count(usage.output_tokens_details?.reasoning_tokens) });
    }
}

function read_whole(response) {
    const reading = new Reading();
    if (response.object === "response" || response.output) {
        for (const item of response.output ?? []) {
            add_item(reading, item);
        }
        finish(reading, response);
    } else if (response.error) {
        reading.fail(response.error);
    }
    return reading.settle(STOPS);
}

/* The item of each output_index, filled by what comes for it; ids may change on the way. */
class Items {
    constructor() {
        this.list = new Map();
    }

    at(event, type) {
        const index = count(event.output_index);
        if (!this.list.has(index)) {
            this.list.set(index, { type, texts: new Map(), args: "" });
        }
        return this.list.get(index);
    }

    text(event, type, kind) {
        const { texts } = this.at(event, type);
        const key = `${kind} ${count(event.content_index ?? event.summary_index)}`;
        texts.set(key, (texts.get(key) ?? "") + event.delta);
    }

    begin(event) {
        const item = this.at(event, event.item.type);
        Object.assign(item, { type: event.item.type, name: event.item.name,
            namespace: event.item.namespace, id: event.item.call_id });
    }

    into(reading) {
        for (const index of [...this.list.keys()].sort((a, b) => a - b)) {
            const item = this.list.get(index);
            for (const [key, text] of item.texts) {
                const kind = key.split(" ")[0];
                if (kind === "text") {
                    reading.add_text(text);
                } else if (kind === "refusal") {
                    reading.add_refusal(text);
                } else {
                    reading.add_reasoning(text);
                }
            }
            if (item.type === "function_call" || item.type === "custom_tool_call") {
                const tool = named({ name: item.name, arguments: item.args, id: item.id }, item);
                reading.tools.push(item.type === "custom_tool_call" ? mark_custom(tool) : tool);
            }
        }
    }
}

const DELTAS = {
    "response.output_text.delta": (items, event) => items.text(event, "message", "text"),
    "response.refusal.delta": (items, event) => items.text(event, "message", "refusal"),
    "response.reasoning_summary_text.delta": (items, event) =>
        items.text(event, "reasoning", "summary"),
    "response.reasoning_text.delta": (items, event) => items.text(event, "reasoning", "thought"),
    "response.function_call_arguments.delta": (items, event) => {
        items.at(event, "function_call").args += event.delta;
    },
    "response.custom_tool_call_input.delta": (items, event) => {
        items.at(event, "custom_tool_call").args += event.delta;
    },
    "response.output_item.added": (items, event) => items.begin(event),
    /* Some servers say all of it only here. */
    "response.function_call_arguments.done": (items, event) => {
        items.at(event, "function_call").args ||= event.arguments;
    },
    "response.custom_tool_call_input.done": (items, event) => {
        items.at(event, "custom_tool_call").args ||= event.input;
    },
};

/** What deltas and the last response say differently: name of the member, or null. */
function compare(streamed, last) {
    const said = (reading) => ({ text: reading.text, reasoning: reading.reasoning,
        refusal: reading.refusal, tools: JSON.stringify(reading.tools) });
    const [a, b] = [said(streamed), said(last)];
    const name = Object.keys(a).find((key) => a[key] !== b[key]);
    return name ? `${name}: deltas ${JSON.stringify(a[name])}, last ${JSON.stringify(b[name])}` :
        null;
}

function read_stream(events) {
    const items = new Items();
    const reading = new Reading();
    let last = null;
    for (const event of events) {
        DELTAS[event.type]?.(items, event);
        if (event.type === "error") {
            reading.fail(event.error ?? event);
        } else if (["response.completed", "response.incomplete", "response.failed"]
            .includes(event.type)) {
            last = event.response;
            finish(reading, last);
        }
    }
    items.into(reading);
    reading.settle(STOPS);
    const whole = last?.output?.length > 0 ? read_whole(last) : null;
    if (whole && items.list.size === 0) {
        return Object.assign(whole, { differs: null });
    }
    return Object.assign(reading, { differs: whole ? compare(reading, whole) : null });
}

/** values: the whole body alone, or the data of each event of a stream. */
export function read_openai_responses(values, stream) {
    return stream ? read_stream(values) : read_whole(values[0]);
}
