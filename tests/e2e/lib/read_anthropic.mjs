/* SPDX-License-Identifier: MIT */
/* Reads answers of Messages. Tools that run at the vendor's (server_tool_use) are none here. */
import { write } from "./exact.mjs";
import { Reading, count, usage_of } from "./reading.mjs";

const STOPS = {
    end_turn: "end", stop_sequence: "stop_seq", max_tokens: "max_tokens", tool_use: "tool_use",
    pause_turn: "pause", refusal: "filter", model_context_window_exceeded: "context_full",
    compaction: "end",
};

const USAGE = ["input_tokens", "output_tokens", "cache_read_input_tokens",
    "cache_creation_input_tokens", "output_tokens_details"];

class Message {
    constructor() {
        this.reading = new Reading();
        this.blocks = new Map();
        this.usage = {};
        this.seen_usage = false;
    }

    merge_usage(usage) {
        for (const name of USAGE) {
            if (usage?.[name] !== undefined && usage[name] !== null) {
                this.usage[name] = usage[name];
                this.seen_usage = true;
            }
        }
    }

    begin(index, block) {
        const { reading } = this;
        if (block.type === "text") {
            reading.add_text(block.text);
        } else if (block.type === "thinking") {
            reading.add_reasoning(block.thinking);
        } else if (block.type === "tool_use") {
            const empty = !block.input || Object.keys(block.input).length === 0;
            const tool = { name: block.name, arguments: empty ? "" : write(block.input),
                id: block.id };
            reading.tools.push(tool);
            this.blocks.set(index, tool);
        }
    }

    delta(index, delta) {
        if (delta.type === "text_delta") {
            this.reading.add_text(delta.text);
        } else if (delta.type === "thinking_delta") {
            this.reading.add_reasoning(delta.thinking);
        } else if (delta.type === "input_json_delta" && this.blocks.has(index)) {
            this.blocks.get(index).arguments += delta.partial_json;
        }
    }

    done() {
        const { reading, usage } = this;
        if (this.seen_usage) {
            const cached = count(usage.cache_read_input_tokens);
            const cache_write = count(usage.cache_creation_input_tokens);
            reading.usage = usage_of({ input: count(usage.input_tokens) + cached + cache_write,
                cached, cache_write, output: count(usage.output_tokens),
                reasoning: count(usage.output_tokens_details?.thinking_tokens) });
        }
        for (const tool of reading.tools) {
            tool.arguments ||= "{}";
        }
        return reading.settle(STOPS);
    }
}

function read_event(message, event) {
    switch (event.type) {
    case "message_start":
        message.merge_usage(event.message.usage);
        for (const [i, block] of (event.message.content ?? []).entries()) {
            message.begin(i, block);
        }
        message.reading.finish = event.message.stop_reason ?? null;
        break;
    case "content_block_start":
        message.begin(count(event.index), event.content_block);
        break;
    case "content_block_delta":
        message.delta(count(event.index), event.delta);
        break;
    case "message_delta":
        message.reading.finish = event.delta.stop_reason ?? message.reading.finish;
        message.merge_usage(event.usage);
        break;
    case "error":
        message.reading.fail(event.error);
        break;
    default:
    }
}

/** values: the whole body alone, or the data of each event of a stream. */
export function read_anthropic(values, stream) {
    const message = new Message();
    if (stream) {
        for (const event of values) {
            read_event(message, event);
        }
    } else if (values[0].error) {
        message.reading.fail(values[0].error);
    } else {
        read_event(message, { type: "message_start", message: values[0] });
    }
    return message.done();
}
