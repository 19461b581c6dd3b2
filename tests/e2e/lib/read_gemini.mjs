/* SPDX-License-Identifier: MIT */
/* Reads answers of generateContent and its streams, by events or as an array. */
import { write } from "./exact.mjs";
import { Reading, count, usage_of } from "./reading.mjs";

const FILTERS = ["SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION",
    "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"];
const BROKEN = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
    "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"];
const STOPS = {
    STOP: "end", MAX_TOKENS: "max_tokens", blocked: "filter",
    ...Object.fromEntries(FILTERS.map((name) => [name, "filter"])),
};

/* Some of Google's own clients write the enumeration's number. */
const NUMBERS = [null, "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"];
const word = (reason) => typeof reason === "object" && reason !== null ?
    NUMBERS[reason.value] ?? null : reason;

/* Vertex's arguments in pieces: each says where it belongs ("$.a[0].b") and more of it. */
function add_piece(args, { jsonPath, ...value }) {
    const steps = [...jsonPath.matchAll(/\.([^.[\]]+)|\[(?:'([^']*)'|(\d+))\]/g)]
        .map(([, name, quoted, index]) => index !== undefined ? Number(index) : name ?? quoted);
    const last = steps.pop();
    let at = args;
    for (const [i, step] of steps.entries()) {
        at = at[step] ??= typeof (steps[i + 1] ?? last) === "number" ? [] : {};
    }
    const [kind] = Object.keys(value).filter((name) => /Value$/.test(name));
    at[last] = kind === "stringValue" ? (at[last] ?? "") + value.stringValue :
        kind === "nullValue" ? null : value[kind];
}

function add_call(reading, { name, args, id, partialArgs, willContinue }) {
    if (!reading.open) {
        reading.open = { name, id: id ?? null, args: args ?? {} };
    }
    for (const piece of partialArgs ?? []) {
        if (piece.jsonPath) {
            add_piece(reading.open.args, piece);
        }
    }
    if (!willContinue) {
        reading.tools.push({ name: reading.open.name, arguments: write(reading.open.args),
            id: reading.open.id });
        reading.open = undefined;
    }
}

function add_part(reading, part) {
    if (part.functionCall) {
        add_call(reading, part.functionCall);
    } else if (typeof part.text === "string") {
        if (part.thought) {
            reading.add_reasoning(part.text);
        } else {
            reading.add_text(part.text);
        }
    }
}

function read_usage(reading, usage) {
    if (!usage) {
        return;
    }
    const reasoning = count(usage.thoughtsTokenCount);
    reading.usage = usage_of({
        input: count(usage.promptTokenCount) + count(usage.toolUsePromptTokenCount),
        cached: count(usage.cachedContentTokenCount),
        output: count(usage.candidatesTokenCount) + reasoning, reasoning });
}

/** values: the whole body alone, or each part of a stream. */
export function read_gemini(values) {
    const readings = new Map([[0, new Reading()]]);
    for (const value of values) {
        const first = readings.get(0);
        if (value.error) {
            first.fail(value.error);
        }
        for (const candidate of value.candidates ?? []) {
            const index = count(candidate.index);
            if (!readings.has(index)) {
                readings.set(index, new Reading());
            }
            const reading = readings.get(index);
            for (const part of candidate.content?.parts ?? []) {
                add_part(reading, part);
            }
            reading.finish = word(candidate.finishReason) ?? reading.finish;
        }
        if (value.promptFeedback?.blockReason && !value.candidates?.length) {
            first.finish ??= "blocked";
        }
        read_usage(first, value.usageMetadata);
    }
    const all = [...readings.keys()].sort((a, b) => a - b).map((index) => {
        const reading = readings.get(index).settle(STOPS);
        const empty = reading.text === "" && reading.tools.length === 0;
        return BROKEN.includes(reading.finish) && empty ?
            Object.assign(reading, { stop: "error" }) : reading;
    });
    return Object.assign(all[0], all.length > 1 ? { choices: all.slice(1) } : {});
}
