/* SPDX-License-Identifier: MIT */
/*
 * What a reader found in an answer, the same for all protocols.
 *
 *   text        what the user sees           refusal    the model's refusal in words, or null
 *   reasoning   thoughts and summaries       error      {type, message} of an error, or null
 *   tools       [{name, arguments, id}], arguments as JSON text (with custom: true, the text)
 *   finish      the protocol's word          stop       canonical (table 9 of the matrix), or null
 *   usage       {input, cached, cache_write, output, reasoning}: input with all of the cache's
 *               part, output with the reasoning's; null where the answer has none
 *
 * Readers are written from the protocols' documents, and share nothing with the program.
 */
import { write } from "./exact.mjs";

export class Reading {
    constructor() {
        this.text = "";
        this.reasoning = "";
        this.tools = [];
        this.refusal = null;
        this.finish = null;
        this.stop = null;
        this.usage = null;
        this.error = null;
    }

    add_text(text) {
        this.text += text ?? "";
    }

    add_reasoning(text) {
        this.reasoning += text ?? "";
    }

    add_refusal(text) {
        if (text) {
            this.refusal = (this.refusal ?? "") + text;
        }
    }

    fail(error) {
        if (typeof error === "string") {
            this.error = { type: null, message: error };
        } else {
            this.error = { type: error?.type ?? error?.status ?? null,
                message: error?.message ?? write(error) };
        }
        this.stop = "error";
    }

    /** A finish reason is believed less than the calls that are there. */
    settle(table) {
        if (this.error) {
            this.stop = "error";
        } else if (this.finish !== null || this.tools.length > 0) {
            this.stop = table[this.finish] ?? "end";
            if (this.stop === "end" && this.tools.length > 0) {
                this.stop = "tool_use";
            } else if (this.stop === "tool_use" && this.tools.length === 0) {
                this.stop = "end";
            }
        }
        for (const tool of this.tools) {
            tool.arguments ??= "";
        }
        return this;
    }
}

/** A tool whose arguments are text. */
export function mark_custom(tool) {
    return Object.assign(tool, { custom: true });
}

/** A number of an answer read with lib/exact.mjs. */
export function count(value) {
    return value === undefined || value === null ? 0 : value.value ?? value;
}

/** cached of a server that counts wrong is no more than all. */
export function usage_of({ input, cached = 0, cache_write = 0, output, reasoning = 0 }) {
    return { input, cached: Math.min(cached, input), cache_write, output, reasoning };
}
