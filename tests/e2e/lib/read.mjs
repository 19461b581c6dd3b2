/* SPDX-License-Identifier: MIT */
/* The bytes of an answer, of any of the protocols, whole, by events or as an array, to a Reading. */
import { parse } from "./exact.mjs";
import { read_anthropic } from "./read_anthropic.mjs";
import { read_gemini } from "./read_gemini.mjs";
import { read_openai_chat } from "./read_openai_chat.mjs";
import { read_openai_responses } from "./read_openai_responses.mjs";
import { sse_events } from "./sse.mjs";

const READERS = {
    "openai-chat": read_openai_chat,
    "openai-responses": read_openai_responses,
    anthropic: read_anthropic,
    gemini: read_gemini,
};

/** Every JSON value of an answer: {values, stream}. */
export function values_of(bytes, content_type) {
    if (/event-stream/.test(content_type)) {
        /* A last event whose blank line is missing counts: recordings end so. */
        const events = sse_events(Buffer.concat([Buffer.from(bytes), Buffer.from("\n\n")]));
        return { stream: true, values: events.map((event) => event.data)
            .filter((data) => data !== "[DONE]" && /^\s*[{[]/.test(data)).map(parse) };
    }
    const value = parse(Buffer.from(bytes).toString("utf8"));
    return Array.isArray(value) ? { stream: true, values: value } :
        { stream: false, values: [value] };
}

export function read_answer(protocol, bytes, content_type) {
    const { values, stream } = values_of(bytes, content_type);
    return READERS[protocol](values, stream);
}
