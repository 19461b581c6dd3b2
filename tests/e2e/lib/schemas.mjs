/* SPDX-License-Identifier: MIT */
/*
 * The JSON Schemas of ../shared/specs, where they are there: OpenAI's of both its protocols, and a
 * description of Messages. Gemini has none: null.
 *
 * Made usable first: "nullable" beside $ref and enum, oneOf that means anyOf, formats that say
 * nothing here; and the wire is right where the document says "required" and the wire leaves it out
 * (specs/README.md).
 */
import fs from "node:fs";
import path from "node:path";

import { ROOT } from "./proxy.mjs";
import { sse_events } from "./sse.mjs";

const SPECS = path.join(ROOT, "../shared/specs");
export const absent = fs.existsSync(SPECS) ? false : "../shared/specs is absent";

const { default: Ajv } = await import("ajv/dist/2020.js").catch(() => ({ default: null }));
export const no_validator = Ajv ? false : "the package ajv is not installed";

/* Required by the documents of answers, and not there in what the vendors send. */
const OFTEN_ABSENT = new Set(["logprobs", "refusal", "cache_write_tokens", "obfuscation",
    "container", "citations", "caller", "stop_details", "inference_geo", "server_tool_use",
    "service_tier", "cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens",
    "output_tokens_details", "iterations", "speed", "encrypted_content", "input_tokens",
    "start_index", "end_index"]);

/* answers: what may be absent may be null too. */
function tidy(node, answers) {
    if (Array.isArray(node)) {
        return node.map((item) => tidy(item, answers));
    }
    if (node === null || typeof node !== "object") {
        return node;
    }
    const made = {};
    const may_be_null = (key, schema) => answers && !node.required?.includes(key) ?
        { anyOf: [schema, { type: "null" }] } : schema;
    for (const [name, item] of Object.entries(node)) {
        if (name === "properties" || name === "$defs") {
            made[name] = Object.fromEntries(Object.entries(item).map(([key, value]) =>
                [key, name === "$defs" ? tidy(value, answers) :
                    may_be_null(key, tidy(value, answers))]));
        } else if (name === "oneOf") {
            made.anyOf = tidy(item, answers);
        } else if (name === "required" && Array.isArray(item)) {
            made.required = item.filter((key) => !answers || !OFTEN_ABSENT.has(key));
        } else if (!["format", "discriminator", "nullable", "default", "example",
            "$recursiveAnchor"].includes(name)) {
            made[name] = tidy(item, answers);
        }
    }
    return node.nullable ? { anyOf: [made, { type: "null" }] } : made;
}

class Spec {
    constructor(file, answers) {
        const { $defs } = JSON.parse(fs.readFileSync(path.join(SPECS, file), "utf8"));
        const options = { strict: false, validateFormats: false, validateSchema: false };
        this.ajv = new Ajv(options);
        this.verbose = new Ajv({ ...options, allErrors: true });
        this.defs = $defs;
        for (const ajv of [this.ajv, this.verbose]) {
            ajv.addSchema({ $id: "spec", $defs: tidy($defs, answers) });
        }
        this.types = new Map();
    }

    /** The complaint that lies deepest: of alternatives the one that came nearest. */
    check(name, value) {
        const path_of = `spec#/$defs/${name}`;
        if (this.ajv.getSchema(path_of)(value)) {
            return null;
        }
        const validate = this.verbose.getSchema(path_of);
        validate(value);
        const depth = (error) => error.instancePath.split("/").length +
            (error.keyword === "required" ? 0.5 : 0) - (error.keyword === "enum" ? 0.5 : 0);
        const first = validate.errors.reduce((a, b) => depth(b) > depth(a) ? b : a);
        return `${name}${first.instancePath} ${first.message} ${JSON.stringify(first.params)}`;
    }

    /** The definition of an event by its type, among those that the root names. */
    check_event(root, event) {
        if (!this.types.has(root)) {
            this.types.set(root, this.index(root));
        }
        const name = this.types.get(root).get(event.type);
        return name ? this.check(name, event) : `no event of type ${event.type}`;
    }

    index(root) {
        const list = this.defs[root].anyOf ?? this.defs[root].oneOf;
        return new Map(list.map(({ $ref }) => $ref.split("/").at(-1)).flatMap((name) => {
            const type = this.defs[name].properties.type;
            return (type.enum ?? [type.const]).map((value) => [value, name]);
        }));
    }
}

const usable = !absent && !no_validator;
const [openai, messages] = usable ? ["openai.json", "anthropic-via-openrouter.json"]
    .map((file) => new Spec(file, true)) : [];
const [openai_asked, messages_asked] = usable ? ["openai.json", "anthropic-via-openrouter.json"]
    .map((file) => new Spec(file, false)) : [];

/* The document knows what the assistant said only as a whole item with an id, which nobody has who
 * keeps no state; the wire takes output_text in a message as well. */
function with_plain_assistant(body) {
    if (!Array.isArray(body.input)) {
        return body;
    }
    return { ...body, input: body.input.map((item) => item.role !== "assistant" ||
        !Array.isArray(item.content) ? item : { ...item, content: item.content
            .map((part) => part.text ?? part.refusal).join("") }) };
}

/* Deltas of custom tools are on the wire, and not in the document. */
const custom_delta = (value) => value.choices?.some((choice) =>
    choice.delta?.tool_calls?.some((call) => call.type === "custom" || call.custom));

/* OpenAI's error events nest an error object on the wire. */
const responses_event = (event) => event.type === "error" ? null :
    openai.check_event("ResponseStreamEvent", event);

/* The document knows vectors as numbers only; base64 is what encoding_format asks for. */
const openai_embeddings = (value) => openai.check("CreateEmbeddingResponse", { ...value,
    data: value.data?.map((one) => typeof one.embedding === "string" ?
        { ...one, embedding: [0] } : one) });

const ANSWERS = {
    "openai-chat": {
        whole: (value) => openai.check("CreateChatCompletionResponse", value),
        event: (value) => value.error || custom_delta(value) ? null :
            openai.check("CreateChatCompletionStreamResponse", value),
        request: (value) => openai_asked.check("CreateChatCompletionRequest", value),
        embeddings: openai_embeddings,
        error: (value) => openai.check("ErrorResponse", value),
        models: (value) => openai.check("ListModelsResponse", value),
        model: (value) => openai.check("Model", value),
    },
    "openai-responses": {
        whole: (value) => openai.check("Response", value),
        event: responses_event,
        request: (value) => openai_asked.check("CreateResponse", with_plain_assistant(value)),
        error: (value) => openai.check("ErrorResponse", value),
        count: (value) => openai.check("TokenCountsResource", value),
    },
    anthropic: {
        whole: (value) => messages.check("MessagesResult", value),
        event: (value) => messages.check_event("MessagesStreamEvents", value),
        error: (value) => messages.check("AnthropicMessagesErrorResponse", value),
        request: (value) => messages_asked.check("MessagesRequest", value),
    },
};

/** What is wrong with a value by its protocol's document, or null. kind: whole, event, request,
 * error, and where there are such models, model, embeddings, count. */
export function violation(protocol, kind, value) {
    return usable && ANSWERS[protocol]?.[kind] ? ANSWERS[protocol][kind](value) : null;
}

/** All that is wrong with an HTTP answer (status, get(name), body, text) to a client of the
 * protocol; an error is one by its status, a stream by its type. */
export function violations(protocol, answer) {
    if (!usable || !ANSWERS[protocol]) {
        return [];
    }
    const found = (kind, value) => violation(protocol, kind, value) ?? [];
    if (!(answer.get("content-type") ?? "").startsWith("text/event-stream")) {
        return [found(answer.status >= 400 ? "error" : "whole", JSON.parse(answer.text))].flat();
    }
    return sse_events(answer.body).filter(({ data }) => data && data !== "[DONE]")
        .flatMap(({ data }) => found("event", JSON.parse(data)));
}
