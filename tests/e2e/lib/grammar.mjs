/* SPDX-License-Identifier: MIT */
/*
 * What clients of each protocol rely on in a stream, told from their side: each function gets the
 * events [{event, data}] (data parsed, "[DONE]" a string) of an answer that ended well and asserts.
 *
 * Not the program's own checker (lint-stream): this one is written from what clients broke on.
 */
import assert from "node:assert/strict";

const one = (set, what) => assert.equal(set.size, 1, `${what} changes: ${[...set].join(" ")}`);

function chat_calls(chunks) {
    const ids = [];
    for (const { choices: [choice] } of chunks) {
        for (const call of choice?.delta.tool_calls ?? []) {
            if (call.index === ids.length) {
                assert.match(call.id ?? "", /./, "a call without an id");
                assert.equal(call.type, "function");
                assert.match(call.function.name ?? "", /./, "a call without a name");
                ids.push(call.id);
            } else {
                assert.ok(call.index < ids.length && call.index >= 0, `index ${call.index}`);
                assert.ok(call.id === undefined || call.id === ids[call.index],
                    "the id of a call changes");
            }
            assert.equal(typeof (call.function.arguments ?? ""), "string",
                "arguments are no text");
        }
    }
    assert.equal(new Set(ids).size, ids.length, "two calls with one id");
    return ids;
}

function chat(events) {
    assert.equal(events.at(-1).data, "[DONE]");
    const chunks = events.slice(0, -1).map((event) => event.data);
    for (const name of ["id", "created", "model", "object"]) {
        one(new Set(chunks.map((chunk) => chunk[name])), name);
    }
    const with_choice = chunks.filter((chunk) => chunk.choices.length > 0);
    assert.equal(with_choice[0].choices[0].delta.role, "assistant", "the role comes first");
    const finishes = with_choice.map((chunk) => chunk.choices[0].finish_reason ?? null);
    assert.ok(finishes.slice(0, -1).every((finish) => finish === null),
        "a finish reason before the end");
    const ids = chat_calls(with_choice);
    if (ids.length > 0) {
        assert.equal(finishes.at(-1), "tool_calls");
    } else {
        assert.ok(finishes.at(-1));
    }
    for (const { choices: [{ delta }] } of with_choice.slice(1)) {
        assert.notEqual(delta.content, null, "content goes back to null");
        assert.notEqual(delta.reasoning_content, null, "reasoning goes back to null");
        assert.ok(!(delta.content && delta.reasoning_content), "reasoning beside content");
    }
    assert.deepEqual(chunks.filter((chunk) => chunk.usage).map((chunk) => chunk.choices.length),
        [0], "usage comes once, alone");
}

const CLOSERS = { message: ["output_text", "refusal"], function_call: ["function_call_arguments"],
    reasoning: [], custom_tool_call: ["custom_tool_call_input"] };

function responses_item(index, events) {
    const types = events.map((event) => event.type.slice("response.".length));
    assert.equal(types[0], "output_item.added", `item ${index} begins with ${types[0]}`);
    assert.equal(types.at(-1), "output_item.done", `item ${index} ends with ${types.at(-1)}`);
    const [first, last] = [events[0].item, events.at(-1).item];
    one(new Set([first.id, last.id, ...events.slice(1, -1).map((event) => event.item_id)]),
        `the id of item ${index}`);
    assert.equal(first.type, last.type);
    const closers = CLOSERS[last.type];
    if (closers?.length > 0) {
        assert.ok(types.some((type) => closers.some((name) => type === `${name}.done`)),
            `no .done of item ${index}: ${types}`);
    }
    const open = types.filter((type) => /part\.added$/.test(type)).length;
    assert.equal(types.filter((type) => /part\.done$/.test(type)).length, open);
    return last;
}

function responses(events) {
    const list = events.map((event) => event.data);
    assert.deepEqual(events.map((event) => event.event), list.map((data) => data.type));
    assert.deepEqual(list.map((data) => data.sequence_number), list.map((_, i) => i));
    assert.deepEqual(list.slice(0, 2).map((data) => data.type),
        ["response.created", "response.in_progress"]);
    const last = list.at(-1);
    assert.match(last.type, /^response\.(completed|incomplete)$/);
    one(new Set(list.filter((data) => data.response).map((data) => data.response.id)),
        "the response's id");
    const { response } = last;
    assert.equal(response.object, "response");
    assert.match(response.model, /./);
    const indices = [...new Set(list.filter((data) => data.output_index !== undefined)
        .map((data) => data.output_index))];
    assert.deepEqual(indices, indices.map((_, i) => i), "output indices");
    const items = indices.map((index) => responses_item(index,
        list.filter((data) => data.output_index === index)));
    assert.deepEqual(response.output, items, "the last event has the whole output");
    assert.equal(new Set(items.map((item) => item.id)).size, items.length, "an id twice");
}

function anthropic_block(index, events) {
    const types = events.map((event) => event.type);
    assert.equal(types[0], "content_block_start");
    assert.equal(types.at(-1), "content_block_stop");
    assert.ok(types.slice(1, -1).every((type) => type === "content_block_delta"));
    const block = events[0].content_block;
    const deltas = events.slice(1, -1).map((event) => event.delta);
    if (block.type === "tool_use") {
        assert.deepEqual(block.input, {}, "input is an object");
        assert.match(block.id, /^[A-Za-z0-9_-]+$/);
        const text = deltas.map((delta) => delta.partial_json).join("");
        assert.equal(typeof JSON.parse(text === "" ? "{}" : text), "object");
    } else if (block.type === "thinking") {
        assert.equal(block.thinking, "");
        assert.ok(deltas.some((delta) => delta.type === "signature_delta"), "no signature");
    }
    const kinds = { text: ["text_delta", "citations_delta"], tool_use: ["input_json_delta"],
        thinking: ["thinking_delta", "signature_delta"], redacted_thinking: [] };
    assert.ok(deltas.every((delta) => kinds[block.type].includes(delta.type)),
        `a delta of another kind in ${block.type}`);
    return block.type;
}

function anthropic(events) {
    const list = events.map((event) => event.data).filter((data) => data.type !== "ping");
    assert.deepEqual(events.map((event) => event.event), events.map((event) => event.data.type));
    assert.equal(list[0].type, "message_start");
    assert.deepEqual(list.slice(-2).map((data) => data.type), ["message_delta", "message_stop"]);
    const inner = list.slice(1, -2);
    const order = inner.map((data) => data.index);
    assert.deepEqual(order, [...order].sort((a, b) => a - b), "blocks overlap");
    const indices = [...new Set(order)];
    assert.deepEqual(indices, indices.map((_, i) => i), "indices of blocks");
    const kinds = indices.map((index) => anthropic_block(index,
        inner.filter((data) => data.index === index)));
    const finish = list.at(-2).delta.stop_reason;
    assert.equal(finish === "tool_use", kinds.includes("tool_use"), `${finish} of ${kinds}`);
    assert.equal(typeof list.at(-2).usage.output_tokens, "number");
}

function gemini(events) {
    const list = events.map((event) => event.data);
    const finishes = list.map((data) => data.candidates?.[0]?.finishReason);
    assert.ok(finishes.slice(0, -1).every((finish) => finish === undefined),
        "a finish reason before the end");
    assert.ok(finishes.at(-1));
    assert.ok(list.at(-1).usageMetadata, "usage comes last");
    one(new Set(list.map((data) => data.responseId)), "responseId");
    const parts = list.flatMap((data) => data.candidates?.[0]?.content?.parts ?? []);
    const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
    for (const call of calls) {
        assert.ok(call.args && typeof call.args === "object" && !Array.isArray(call.args));
    }
    assert.equal(new Set(calls.map((call) => call.id)).size, calls.length, "an id twice");
}

export const GRAMMARS = { "openai-chat": chat, "openai-responses": responses, anthropic, gemini };
