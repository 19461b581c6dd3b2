/* SPDX-License-Identifier: MIT */
/*
 * The README's table of vendors: what of chat, stream and tools works with each vendor of
 * backends.def, tried with a client of Chat Completions that takes what OpenAI's own SDK takes and
 * nothing else; and whether it has its goldens.
 *
 * A mock answers as the vendor does (vendor_styles.mjs), at an address below /NAME; a backend is
 * `type: NAME` with that address as its api_url.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { LAST_CHUNK, Mock, chunk } from "./mock.mjs";
import { ROOT, start, stop_all } from "./proxy.mjs";
import { AFTER, ARGUMENTS, REASONING, STYLES, TEXT, TOOL, asked_for, stream, whole } from
    "./vendor_styles.mjs";

export const COLUMNS = ["chat", "stream", "tools", "golden"];
const GOLDENS = ["chat", "tools", "reason"];
const BEGIN = "<!-- vendors: tests/e2e/vendor_table.mjs writes this -->";
const END = "<!-- /vendors -->";

/** The vendors of backends.def, in its order: {name, protocol, url, variable}. */
export function vendors() {
    const text = fs.readFileSync(path.join(ROOT, "src/backend/backends.def"), "utf8")
        .replace(/\/\*[^]*?\*\//g, "");
    const line = /^BACKEND\((\w+),\s*protocol_(\w+),\s*(?:"([^"]*)"|NULL),\s*"(\w+)"/gm;
    const list = [...text.matchAll(line)].map(([, name, protocol, url, variable]) => ({ name,
        protocol: protocol.replaceAll("_", "-"), url: url ?? null, variable }));
    assert.equal(list.length, [...text.matchAll(/^BACKEND\(/gm)].length, "a line was not read");
    return list;
}

/* --- vendors of other protocols --- */

const anthropic_event = (type, more) => `event: ${type}\ndata: ${
    JSON.stringify({ type, ...more })}\n\n`;

function anthropic(body) {
    const last = body.messages.at(-1);
    const result = Array.isArray(last.content) && last.content.find((p) => p.type === "tool_result");
    const call = { type: "tool_use", id: "toolu_1", name: TOOL, input: ARGUMENTS };
    const block = result ? { type: "text", text: AFTER } :
        body.tools?.length > 0 ? call : { type: "text", text: TEXT };
    const usage = { input_tokens: 11, output_tokens: 7 };
    const message = { id: "msg_1", type: "message", role: "assistant", model: body.model,
        content: [block], stop_reason: block === call ? "tool_use" : "end_turn",
        stop_sequence: null, usage };
    if (!body.stream) {
        return JSON.stringify(message);
    }
    const begin = block === call ? { ...call, input: {} } : { type: "text", text: "" };
    const delta = block === call ? { type: "input_json_delta",
        partial_json: JSON.stringify(ARGUMENTS) } : { type: "text_delta", text: block.text };
    return anthropic_event("message_start", { message: { ...message, content: [],
        stop_reason: null } }) +
        anthropic_event("content_block_start", { index: 0, content_block: begin }) +
        anthropic_event("content_block_delta", { index: 0, delta }) +
        anthropic_event("content_block_stop", { index: 0 }) +
        anthropic_event("message_delta", { delta: { stop_reason: message.stop_reason,
            stop_sequence: null }, usage: { output_tokens: 7 } }) +
        anthropic_event("message_stop", {});
}

function gemini(body, target) {
    const result = body.contents.at(-1).parts.some((p) => p.functionResponse);
    const part = result ? { text: AFTER } : body.tools?.length > 0 ?
        { functionCall: { name: TOOL, args: ARGUMENTS } } : { text: TEXT };
    const answer = JSON.stringify({ candidates: [{ index: 0, finishReason: "STOP",
        content: { role: "model", parts: [part] } }], modelVersion: "m",
    usageMetadata: { promptTokenCount: 11, candidatesTokenCount: 7, totalTokenCount: 18 } });
    return target.includes(":streamGenerateContent") ? `data: ${answer}\r\n\r\n` : answer;
}

/* --- the server --- */

async function send(ex, text, streamed) {
    if (!streamed) {
        await ex.respond({ status: 200, headers: { "content-type": "application/json" },
            body: text });
        return;
    }
    await ex.open_stream();
    await ex.write(chunk(text));
    await ex.write(LAST_CHUNK);
}

/* Where a vendor's chat is, below its base. */
function expected_target(vendor, model) {
    return vendor.name === "azure" ?
        `/azure/openai/deployments/${model}/chat/completions?api-version=2024-10-21` :
        `/${vendor.name}/v1/chat/completions`;
}

async function answer(ex) {
    const name = ex.target.split("/")[1];
    const vendor = vendors().find((one) => one.name === name);
    const body = ex.json;
    if (vendor.protocol === "anthropic") {
        await send(ex, anthropic(body), body.stream);
        return;
    }
    if (vendor.protocol === "gemini") {
        await send(ex, gemini(body, ex.target), ex.target.includes(":stream"));
        return;
    }
    const style = STYLES[name];
    const { kind, refused } = style ? asked_for(style, body) :
        { refused: { status: 501, body: { error: { message: "no such style" } } } };
    const key = name === "azure" ? "api-key" : "authorization";
    if (ex.target !== expected_target(vendor, body.model) || !/secret-/.test(ex.get(key) ?? "")) {
        await ex.json_answer({ error: { message: `${ex.target} is not there` } }, { status: 404 });
    } else if (refused) {
        await ex.json_answer(refused.body, { status: refused.status });
    } else if (body.stream) {
        await send(ex, stream(style, body.model, kind, body.stream_options?.include_usage), true);
    } else {
        await send(ex, whole(style, body.model, kind), false);
    }
}

/* --- the client --- */

const FINISHES = ["stop", "length", "tool_calls", "content_filter", "function_call"];

function check_message(message, finish) {
    assert.ok(message.content === null || message.content === undefined ||
        typeof message.content === "string", "content is a string");
    assert.ok(FINISHES.includes(finish), `finish_reason ${finish}`);
    for (const call of message.tool_calls ?? []) {
        assert.ok(typeof call.id === "string" && call.id !== "", "a call's id");
        assert.equal(call.type, "function");
        assert.equal(typeof call.function.arguments, "string");
    }
    return { text: message.content ?? "", calls: message.tool_calls ?? [], finish };
}

function check_usage(usage) {
    assert.equal(usage.prompt_tokens + usage.completion_tokens, usage.total_tokens, "usage adds up");
    assert.ok((usage.completion_tokens_details?.reasoning_tokens ?? 0) <= usage.completion_tokens);
}

/** A stream, as OpenAI's SDK puts it together: by each call's index. */
function gather(text) {
    const message = { content: null, tool_calls: [] };
    let finish = null;
    const events = text.split(/\r?\n\r?\n/).filter((one) => /^data:/m.test(one))
        .map((one) => one.split(/\r?\n/).filter((l) => l.startsWith("data:"))
            .map((l) => l.slice(5).trim()).join("\n"));
    assert.equal(events.pop(), "[DONE]", "the stream ends with [DONE]");
    for (const event of events.map((one) => JSON.parse(one))) {
        assert.ok(Array.isArray(event.choices), "choices is a list");
        if (event.usage) {
            check_usage(event.usage);
        }
        for (const choice of event.choices) {
            const delta = choice.delta ?? {};
            assert.ok([null, undefined].includes(delta.content) ||
                typeof delta.content === "string", "a delta's content is a string");
            if (delta.content) {
                message.content = (message.content ?? "") + delta.content;
            }
            for (const call of delta.tool_calls ?? []) {
                assert.equal(typeof call.index, "number", "a call's index");
                const there = message.tool_calls[call.index] ??=
                    { id: "", type: "function", function: { name: "", arguments: "" } };
                there.id ||= call.id ?? "";
                there.function.name += call.function?.name ?? "";
                there.function.arguments += call.function?.arguments ?? "";
            }
            assert.ok(finish === null || !choice.finish_reason, "one finish_reason");
            finish ||= choice.finish_reason ?? null;
        }
    }
    return check_message(message, finish);
}

/** One request; what the client makes of the answer. */
async function ask(proxy, vendor, body) {
    const answer = await proxy.call({ path: "/v1/chat/completions", body: JSON.stringify(
        { model: `${vendor.name}:m1`, ...body }) });
    assert.equal(answer.status, 200, answer.text);
    if (body.stream) {
        return gather(answer.text);
    }
    const value = JSON.parse(answer.text);
    check_usage(value.usage);
    return check_message(value.choices[0].message, value.choices[0].finish_reason);
}

const SYSTEM = { role: "developer", content: "Be short." };
const QUESTION = [SYSTEM, { role: "user", content: "Why is the sky blue?" }];
const TOOLS = [{ type: "function", function: { name: TOOL, description: "Weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];

function check_text(reading, text) {
    assert.equal(reading.text.trim(), text);
    assert.ok(!reading.text.includes(REASONING));
    assert.equal(reading.finish, "stop");
    assert.equal(reading.calls.length, 0);
}

async function chat(proxy, vendor) {
    check_text(await ask(proxy, vendor, { messages: QUESTION, max_completion_tokens: 100 }), TEXT);
}

async function streamed(proxy, vendor) {
    for (const options of [{}, { stream_options: { include_usage: true } }]) {
        check_text(await ask(proxy, vendor, { messages: QUESTION, stream: true, ...options }), TEXT);
    }
}

async function tools(proxy, vendor) {
    for (const stream of [false, true]) {
        const messages = [SYSTEM, { role: "user", content: "What is the weather in Oslo?" }];
        const first = await ask(proxy, vendor, { messages, tools: TOOLS, tool_choice: "auto",
            stream });
        assert.equal(first.finish, "tool_calls");
        assert.equal(first.calls.length, 1);
        const [call] = first.calls;
        assert.equal(call.function.name, TOOL);
        assert.deepEqual(JSON.parse(call.function.arguments), ARGUMENTS);
        check_text(await ask(proxy, vendor, { stream, tools: TOOLS, messages: [...messages,
            { role: "assistant", content: null, tool_calls: [{ id: call.id, type: "function",
                function: call.function }] },
            { role: "tool", tool_call_id: call.id, content: "rain, 8 degrees" }] }), AFTER);
    }
}

function golden(vendor) {
    return GOLDENS.every((one) => fs.existsSync(path.join(ROOT, "tests/golden/vendors",
        `${vendor.name}-${one}.json`)));
}

/* --- the table --- */

async function tried(proxy, vendor, attempt) {
    try {
        await attempt(proxy, vendor);
        return { works: true };
    } catch (error) {
        return { works: false, why: error.message };
    }
}

/**
 * [{name, url, variable, chat, stream, tools, golden}], each of these {works, why}. plain: without
 * what this program knows of vendors.
 */
export async function measure({ plain = false } = {}) {
    const mock = await Mock.start({ fallback: answer });
    const at = (vendor) => `http://127.0.0.1:${mock.port}/${vendor.name}` +
        (vendor.name === "azure" ? "" : vendor.protocol === "gemini" ? "/v1beta" : "/v1");
    const backends = Object.fromEntries(vendors().map((vendor) => [vendor.name,
        { [plain ? "protocol" : "type"]: plain ? vendor.protocol : vendor.name,
            api_url: at(vendor), api_keys: [`secret-${vendor.name}`] }]));
    const proxy = await start({ config: { backends, default_backend: "openai" } });
    const rows = [];
    try {
        for (const vendor of vendors()) {
            rows.push({ ...vendor, chat: await tried(proxy, vendor, chat),
                stream: await tried(proxy, vendor, streamed),
                tools: await tried(proxy, vendor, tools), golden: { works: golden(vendor) } });
        }
    } finally {
        await stop_all(proxy, mock);
    }
    return rows;
}

export function table_of(rows) {
    const lines = rows.map((row) => `| \`${row.name}\` | ${row.url ? `\`${new URL(row.url).host}\`` :
        "your own"} | \`${row.variable}_API_${/^http:/.test(row.url ?? "") ? "BASE_URL" : "KEY"}\` |` +
        COLUMNS.map((one) => ` ${row[one].works ? "✓" : "–"} |`).join(""));
    return ["| vendor | where | variable | chat | stream | tools | golden |",
        "|---|---|---|---|---|---|---|", ...lines].join("\n") + "\n";
}

/** The table that stands in the README. */
export function table_in(readme) {
    const from = readme.indexOf(BEGIN);
    const to = readme.indexOf(END);
    assert.ok(from >= 0 && to > from, `README.md has no ${BEGIN} … ${END}`);
    return readme.slice(from + BEGIN.length, to).trim() + "\n";
}

export function readme_with(readme, table) {
    const old = table_in(readme);
    return readme.replace(`${BEGIN}\n\n${old}\n${END}`, `${BEGIN}\n\n${table}\n${END}`);
}
