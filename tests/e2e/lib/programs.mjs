/* SPDX-License-Identifier: MIT */
/*
 * How the agents' programs speak: what they ask first is recorded (fixtures/clients, made short and
 * nobody's), what they make of an answer is written here as they were seen to do it.
 *
 *   ask(model, more)        a request: {path, headers, body}; more: the name of another recorded
 *                           shape, laid over that of a turn
 *   goes_on(asked, events, results)
 *                           the next one: what the program keeps of the answer's events, and what
 *                           its tools said, by the calls' ids
 *   shell                   its tool that runs commands; args: the call's, for a command
 */
import fs from "node:fs";
import path from "node:path";

import { ROOT } from "./proxy.mjs";

const recorded = (name) => JSON.parse(fs.readFileSync(path.join(ROOT,
    `tests/e2e/fixtures/clients/${name}.json`), "utf8"));

function shape(recording, more) {
    const { turn } = recording;
    const over = more ? recording[more] : {};
    return { path: over.path ?? turn.path, headers: { ...turn.headers, ...over.headers },
        body: structuredClone(over.path ? over.body : { ...turn.body, ...over.body }) };
}

/* ---- Claude Code ---- */

/* The blocks of a streamed message, as the SDK puts them together. */
function message_of(events) {
    const message = structuredClone(events[0].data.message);
    const texts = [];
    for (const { data } of events) {
        const block = message.content[data.index];
        if (data.type === "content_block_start") {
            message.content[data.index] = structuredClone(data.content_block);
            texts[data.index] = "";
        } else if (data.type === "content_block_delta") {
            const { delta } = data;
            if (delta.type === "input_json_delta") {
                texts[data.index] += delta.partial_json;
            } else if (delta.type === "signature_delta") {
                block.signature = delta.signature;
            } else {
                const member = delta.type === "thinking_delta" ? "thinking" : "text";
                block[member] += delta[member];
            }
        } else if (data.type === "content_block_stop" && block.type === "tool_use") {
            block.input = JSON.parse(texts[data.index] || "{}");
        }
    }
    return message;
}

const claude = recorded("claude-code");

/** Thinking of a model that is not called as it was asked for goes; results come as they end. */
function claude_goes_on(asked, events, results) {
    const message = message_of(events);
    const body = structuredClone(asked.body);
    for (const { content } of body.messages.filter((m) => Array.isArray(m.content))) {
        content.forEach((block) => delete block.cache_control);
    }
    const content = message.content.filter((block) => block.type !== "thinking" ||
        message.model === asked.body.model);
    const blocks = content.filter((block) => block.type === "tool_use").map((block) => ({
        tool_use_id: block.id, type: "tool_result", content: results[block.id],
        is_error: false })).reverse();
    blocks.at(-1).cache_control = { type: "ephemeral" };
    body.messages.push({ role: "assistant", content }, { role: "user", content: blocks });
    return { ...asked, body };
}

/* ---- Codex ---- */

const codex = recorded("codex");

/** What was said is said again, with the ids that it came with. */
function codex_goes_on(asked, events, results) {
    const items = events.filter(({ data }) => data.type === "response.output_item.done")
        .map(({ data }) => data.item);
    const said = items.map((item) => item.type !== "reasoning" ? item : { type: item.type,
        id: item.id, summary: item.summary, content: null,
        encrypted_content: item.encrypted_content });
    const done = items.filter((item) => item.call_id).map((item) => ({
        type: `${item.type}_output`, id: `out_${item.id}`, call_id: item.call_id,
        output: results[item.call_id] }));
    return { ...asked, body: { ...asked.body, input: [...asked.body.input, ...said, ...done] } };
}

/* ---- Gemini CLI ---- */

const gemini = recorded("gemini-cli");

/** Thoughts go, and what is empty; a first call without a signature gets Google's word for none. */
function gemini_goes_on(asked, events, results) {
    const parts = events.flatMap(({ data }) => data.candidates?.[0].content?.parts ?? [])
        .filter((part) => !part.thought && part.text !== "").map((part) => structuredClone(part));
    const calls = parts.filter((part) => part.functionCall);
    if (calls.length > 0) {
        calls[0].thoughtSignature ??= "skip_thought_signature_validator";
    }
    const done = calls.map(({ functionCall: { id, name } }) => ({ functionResponse: { name,
        response: { output: results[id] }, id } }));
    return { ...asked, body: { ...asked.body, contents: [...asked.body.contents,
        { parts, role: "model" }, { parts: done, role: "user" }] } };
}

/* ---- All ---- */

const in_body = (recording) => (model, more) => {
    const asked = shape(recording, more);
    return { ...asked, body: { model, ...asked.body } };
};

export const PROGRAMS = [
    { name: claude.program, short: "claude-code", protocol: "anthropic", shell: "Bash",
        args: (command) => ({ command, description: "Runs it" }), ask: in_body(claude),
        goes_on: claude_goes_on },
    { name: codex.program, short: "codex", protocol: "openai-responses", shell: "exec_command",
        args: (cmd) => ({ cmd }), ask: in_body(codex), goes_on: codex_goes_on },
    { name: gemini.program, short: "gemini-cli", protocol: "gemini", shell: "run_shell_command",
        args: (command) => ({ command, description: "Runs it" }),
        ask: (model, more) => {
            const asked = shape(gemini, more);
            return { ...asked, path: asked.path.replace("MODEL", model) };
        }, goes_on: gemini_goes_on },
];
