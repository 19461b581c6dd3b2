/* SPDX-License-Identifier: MIT */
/*
 * One conversation in the words of each protocol, asked, and what came of it.
 *
 * A turn is one of
 *   {system: text}
 *   {user: text | [text | {image} | {result}]}      texts are parts of their own in a list
 *   {assistant: text}
 *   {call: {id, name, args}}                        the assistant calls a tool
 *   {result: {id, name, text}}                      what it gave
 *
 * body_of(protocol, turns, more) writes the request, ask(…) sends it and reads the answer; Scene is
 * a proxy with a backend of each protocol, all of them one mock that answers "Hello from MODEL".
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

import { GRAMMARS } from "./grammar.mjs";
import { open } from "./http1.mjs";
import { LAST_CHUNK, Mock, chunk } from "./mock.mjs";
import { NAMES, PROTOCOLS } from "./protocols.mjs";
import { PROGRAM, start, stop_all } from "./proxy.mjs";
import { read_answer } from "./read.mjs";
import { sse_events } from "./sse.mjs";
import { stream, whole } from "./upstream.mjs";

export const PNG = { type: "image/png", data: "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ" +
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==" };
const data_url = ({ type, data }) => `data:${type};base64,${data}`;

const list_of = (user) => typeof user === "string" ? null : user;

/* ---- Chat Completions ---- */

function chat_turn(turn) {
    if (turn.system !== undefined) {
        return { role: "system", content: turn.system };
    }
    if (turn.assistant !== undefined) {
        return { role: "assistant", content: turn.assistant };
    }
    if (turn.call) {
        const { id, name, args } = turn.call;
        return { role: "assistant", content: null, tool_calls: [{ id, type: "function",
            function: { name, arguments: JSON.stringify(args) } }] };
    }
    if (turn.result) {
        return { role: "tool", tool_call_id: turn.result.id, content: turn.result.text };
    }
    return { role: "user", content: list_of(turn.user)?.map((part) => typeof part === "string" ?
        { type: "text", text: part } :
        { type: "image_url", image_url: { url: data_url(part.image) } }) ?? turn.user };
}

const chat_body = (turns) => ({ messages: turns.map(chat_turn) });

/* ---- Responses ---- */

function responses_turn(turn) {
    if (turn.assistant !== undefined) {
        return { type: "message", role: "assistant",
            content: [{ type: "output_text", text: turn.assistant, annotations: [] }] };
    }
    if (turn.call) {
        const { id, name, args } = turn.call;
        return { type: "function_call", call_id: id, name, arguments: JSON.stringify(args) };
    }
    if (turn.result) {
        return { type: "function_call_output", call_id: turn.result.id,
            output: turn.result.text };
    }
    return { role: "user", content: list_of(turn.user)?.map((part) => typeof part === "string" ?
        { type: "input_text", text: part } :
        { type: "input_image", detail: "auto", image_url: data_url(part.image) }) ?? turn.user };
}

function responses_body(turns) {
    const system = turns.filter((turn) => turn.system !== undefined);
    return { ...(system.length > 0 ? { instructions: system.map((turn) => turn.system)
        .join("\n") } : {}),
    input: turns.filter((turn) => turn.system === undefined).map(responses_turn) };
}

/* ---- Messages ---- */

const result_block = ({ id, text }) => ({ type: "tool_result", tool_use_id: id, content: text });

function messages_turn(turn) {
    if (turn.assistant !== undefined) {
        return { role: "assistant", content: turn.assistant };
    }
    if (turn.call) {
        const { id, name, args } = turn.call;
        return { role: "assistant", content: [{ type: "tool_use", id, name, input: args }] };
    }
    if (turn.result) {
        return { role: "user", content: [result_block(turn.result)] };
    }
    return { role: "user", content: list_of(turn.user)?.map((part) => typeof part === "string" ?
        { type: "text", text: part } : part.result ? result_block(part.result) :
            { type: "image", source: { type: "base64", media_type: part.image.type,
                data: part.image.data } }) ?? turn.user };
}

function messages_body(turns) {
    const system = turns.filter((turn) => turn.system !== undefined);
    return { max_tokens: 1000, ...(system.length > 0 ?
        { system: system.map((turn) => turn.system).join("\n") } : {}),
    messages: turns.filter((turn) => turn.system === undefined).map(messages_turn) };
}

/* ---- Gemini ---- */

const response_part = ({ id, name, text }) => ({ functionResponse: { id, name,
    response: { output: text } } });

function gemini_turn(turn) {
    if (turn.assistant !== undefined) {
        return { role: "model", parts: [{ text: turn.assistant }] };
    }
    if (turn.call) {
        return { role: "model", parts: [{ functionCall: turn.call }] };
    }
    if (turn.result) {
        return { role: "user", parts: [response_part(turn.result)] };
    }
    return { role: "user", parts: (list_of(turn.user) ?? [turn.user]).map((part) =>
        typeof part === "string" ? { text: part } : part.result ? response_part(part.result) :
            { inlineData: { mimeType: part.image.type, data: part.image.data } }) };
}

function gemini_body(turns) {
    const system = turns.filter((turn) => turn.system !== undefined);
    return { ...(system.length > 0 ? { systemInstruction: { parts: system.map((turn) =>
        ({ text: turn.system })) } } : {}),
    contents: turns.filter((turn) => turn.system === undefined).map(gemini_turn) };
}

/* ---- All ---- */

const BODIES = { "openai-chat": chat_body, "openai-responses": responses_body,
    anthropic: messages_body, gemini: gemini_body };

/** more: members that stand beside the conversation. */
export const body_of = (protocol, turns, more = {}) => ({ ...BODIES[protocol](turns), ...more });

/** A tool of the client's, as it offers it. */
export function tool_of(protocol, name, schema = { type: "object",
    properties: { result: { type: "string" } }, required: ["result"] }) {
    const description = "What it is.";
    switch (protocol) {
    case "openai-chat":
        return { type: "function", function: { name, description, parameters: schema } };
    case "openai-responses":
        return { type: "function", name, description, parameters: schema, strict: false };
    case "anthropic":
        return { name, description, input_schema: schema };
    default:
        return { functionDeclarations: [{ name, description, parametersJsonSchema: schema }] };
    }
}

const ID_OF = {
    "openai-chat": (value) => value.id,
    "openai-responses": (value) => value.response?.id ?? (value.object ? value.id : undefined),
    anthropic: (value) => value.message?.id ?? (value.role ? value.id : undefined),
    gemini: (value) => value.responseId,
};
const MODEL_OF = {
    "openai-chat": (value) => value.model,
    "openai-responses": (value) => value.response?.model ?? value.model,
    anthropic: (value) => value.message?.model ?? value.model,
    gemini: (value) => value.modelVersion,
};

/** What the program's own checker says of an answer; "": nothing. */
export function lint(protocol, got) {
    const args = ["lint-stream", "--protocol", protocol,
        ...(got.stream ? got.array ? ["--array"] : [] : ["--whole"])];
    const { status, stdout, stderr } = spawnSync(PROGRAM, args, { input: got.answer.body });
    return status === 0 ? "" : `${stdout}${stderr}` || `exit ${status}`;
}

/* Events as lib/grammar.mjs wants them. */
const events_of = (bytes) => sse_events(bytes).map(({ event, data }) => ({ event,
    data: data === "[DONE]" ? data : JSON.parse(data) }));

function read(protocol, answer, { stream: streamed, array }) {
    const reading = read_answer(protocol, answer.body, answer.get("content-type") ?? "");
    const values = !streamed || array ? [answer.json].flat() :
        events_of(answer.body).map((event) => event.data).filter((data) => data !== "[DONE]");
    const first = (of) => values.map(of).find((value) => value !== undefined);
    return { reading, values, text: reading.text, id: first(ID_OF[protocol]),
        model: first(MODEL_OF[protocol]) };
}

/**
 * Sends a request: {answer, status, text, reading, id, model, values, stream, array}.
 * options: model, stream, array (Gemini's stream without SSE), session (x-session-id), headers,
 * and everything else of the call.
 */
export async function ask(proxy, protocol, body, options = {}) {
    const { model, stream: streamed = false, array = false, session, headers = {},
        path, ...rest } = options;
    const target = path ?? PROTOCOLS[protocol].path(model ?? "m1", { stream: streamed, array });
    const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(
        protocol === "gemini" ? body : { ...(model === undefined ? {} : { model }), ...body,
            ...(streamed ? { stream: true } : {}),
            ...(streamed && protocol === "openai-chat" ?
                { stream_options: { include_usage: true } } : {}) });
    const answer = await proxy.call({ path: target, body: bytes, ...rest,
        headers: { ...(session ? { "x-session-id": session } : {}), ...headers } });
    const got = { answer, status: answer.status, stream: streamed && answer.status === 200, array };
    if (answer.status !== 200) {
        return { ...got, error: answer.json.error };
    }
    return Object.assign(got, read(protocol, answer, got));
}

/* The checker is a process: the first answers of each form are shown to it, then one of many. */
const linted = new Map();

function is_to_be_linted(protocol, got) {
    const form = [protocol, got.stream, got.array, got.reading.stop].join(" ");
    const n = linted.get(form) ?? 0;
    linted.set(form, n + 1);
    return n < 4 || n % 16 === 0;
}

/** It is the protocol's regular answer, whole or as a stream. */
export function assert_well_formed(protocol, got) {
    if (is_to_be_linted(protocol, got)) {
        assert.equal(lint(protocol, got), "");
    }
    if (got.stream && !got.array) {
        GRAMMARS[protocol](events_of(got.answer.body));
    }
}

const NOTHING = { input: 0, cached: 0, cache_write: 0, output: 0, reasoning: 0 };
const COMMAND_ID = (protocol) => protocol === "anthropic" ? "msg_proxy_cmd_processed" :
    "proxy_cmd_processed";

/** The proxy itself has answered, by a text (a string, or a pattern). */
export function assert_by_proxy(protocol, got, text) {
    assert.equal(got.status, 200, got.answer.text);
    assert.equal(got.id, COMMAND_ID(protocol), got.answer.text);
    if (text instanceof RegExp) {
        assert.match(got.text, text);
    } else if (text !== undefined) {
        assert.equal(got.text, text);
    }
    assert.deepEqual(got.reading.usage, NOTHING);
    assert.equal(got.reading.stop, "end");
    assert.match(got.answer.get("x-session-id") ?? "", /^[A-Za-z0-9._:-]{1,128}$/);
    assert_well_formed(protocol, got);
}

const ENDS = { "openai-chat": /\/chat\/completions$/, "openai-responses": /\/responses$/,
    anthropic: /\/messages$/, gemini: /:(stream)?[gG]enerateContent$/ };

/** The protocol in which an upstream was asked. */
export const asked_in = (ex) => NAMES.find((name) => ENDS[name].test(ex.target.split("?")[0]));

export const model_asked = (ex) => asked_in(ex) === "gemini" ?
    decodeURIComponent(/models\/(.+):/.exec(ex.target)[1]) : ex.json.model;

const is_stream = (ex) => asked_in(ex) === "gemini" ? /:stream/.test(ex.target) :
    ex.json.stream === true;

async function say_hello(ex) {
    const protocol = asked_in(ex);
    if (!protocol) {
        await ex.json_answer({ input_tokens: 77, totalTokens: 77,
            object: "response.input_tokens" });
        return;
    }
    const model = model_asked(ex);
    const script = { blocks: [{ text: `Hello from ${model}` }] };
    if (!is_stream(ex)) {
        await ex.json_answer(whole(protocol, model, script));
        return;
    }
    await ex.open_stream();
    await ex.write(chunk(stream(protocol, model, script).join("")));
    await ex.write(LAST_CHUNK);
}

export class Scene {
    /** config: options of the proxy; backends: more of them, as (mock) => {…}. */
    static async start({ config = {}, backends = () => ({}), ...rest } = {}) {
        const scene = new Scene();
        scene.mock = await Mock.start({ fallback: say_hello });
        scene.sessions = 0;
        scene.config = { default_backend: "oc", retries: 0, ...config, backends: {
            ...Object.fromEntries(NAMES.map((name) => [PROTOCOLS[name].short, { protocol: name,
                api_keys: ["upstream-key-1"], models: ["m1", "m2"],
                api_url: scene.base(name) }])), ...backends(scene) } };
        try {
            scene.proxy = await start({ config: scene.config, ...rest });
        } catch (error) {
            scene.mock.abandon();
            throw error;
        }
        return scene;
    }

    base(name) {
        return this.mock.url.replace(/\/v1$/, PROTOCOLS[name].base);
    }

    /** What a failed test has ended already is left alone. */
    async stop() {
        await stop_all(...[this.proxy, this.mock].filter((one) => open.has(one)));
    }

    /** An id of a session that nobody has. */
    id() {
        return `session-${++this.sessions}`;
    }

    /** GET /v2/sessions/{id}: {status, text, json}; json is {} where there is none. What was asked
     * before is in its history. */
    async session(id, options = {}) {
        await this.proxy.counted();
        const { status, text } = await this.proxy.call({ method: "GET",
            path: `/v2/sessions/${encodeURIComponent(id)}`, ...options });
        return { status, text, json: status === 200 ? JSON.parse(text) : {} };
    }

    /** What the upstream is asked while `run` runs. */
    async asked(run) {
        const before = this.mock.posts().length;
        await run();
        return this.mock.posts().slice(before);
    }

    /** A conversation that is asked, in the session: {...ask(), up: what the upstream got}. */
    async say(protocol, turns, { to = protocol, more, model = `${PROTOCOLS[to].short}:m1`,
        ...options } = {}) {
        const list = typeof turns === "string" ? [{ user: turns }] : turns;
        let got;
        const up = await this.asked(async () => {
            got = await ask(this.proxy, protocol, body_of(protocol, list, more),
                { model, ...options });
        });
        return { ...got, up };
    }

    /** Messages of commands only. */
    async command(protocol, turns, text, options = {}) {
        const got = await this.say(protocol, turns, options);
        assert.equal(got.up.length, 0, "a command went to a backend");
        assert_by_proxy(protocol, got, text);
        return got;
    }

    /** One that must reach a backend; its exchange there. */
    async prompt(protocol, turns, options = {}) {
        const got = await this.say(protocol, turns, options);
        assert.equal(got.status, 200, got.answer.text);
        assert.equal(got.up.length, 1, `the proxy answered by itself: ${got.text}`);
        assert.match(got.text, /^Hello from /);
        return Object.assign(got.up[0], { got });
    }
}

/** Runs for every protocol, whole and streamed. */
export async function each_way(run) {
    for (const protocol of NAMES) {
        for (const streamed of [false, true]) {
            try {
                await run(protocol, streamed);
            } catch (error) {
                error.message = `${protocol}${streamed ? ", streamed" : ""}: ${error.message}`;
                throw error;
            }
        }
    }
}

/** The protocol that comes after this one: for translated requests. */
export const other = (protocol) => NAMES[(NAMES.indexOf(protocol) + 1) % NAMES.length];
