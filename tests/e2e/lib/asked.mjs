/* SPDX-License-Identifier: MIT */
/*
 * What a request asks for, as an upstream of its protocol understands it.
 *
 *   system       [text], in order                 schema      of the answer, or null
 *   users        [text] of users                  images      [{type, data}] or [{url}]
 *   tools        [{name, schema}]                 choice      none auto required NAME, or null
 *   calls        [{id, name, arguments}]          results     [{id, name, text}]
 *   signatures   [text] of reasoning in the history, wherever the protocol has them
 *   stream       whether it is to be a stream
 *
 * Written from the protocols' documents; shares nothing with the program.
 */
import { write } from "./exact.mjs";

const plain = () => ({ system: [], users: [], tools: [], calls: [], results: [], images: [],
    signatures: [], reasoning: [], schema: null, choice: null, stream: false });

const texts = (content) => typeof content === "string" ? [content] :
    (content ?? []).filter((part) => typeof part.text === "string").map((part) => part.text);

function image_of(url) {
    const found = /^data:([^;]+);base64,(.*)$/s.exec(url);
    return found ? { type: found[1], data: found[2] } : { url };
}

function chat_message(asked, message) {
    switch (message.role) {
    case "system":
    case "developer":
        asked.system.push(...texts(message.content));
        break;
    case "tool":
        asked.results.push({ id: message.tool_call_id, name: null,
            text: texts(message.content).join("\n") });
        break;
    case "assistant":
        for (const call of message.tool_calls ?? []) {
            asked.calls.push({ id: call.id, name: call.function.name,
                arguments: call.function.arguments });
        }
        if (message.reasoning_content) {
            asked.reasoning.push(message.reasoning_content);
        }
        break;
    default:
        asked.users.push(...texts(message.content));
        for (const part of Array.isArray(message.content) ? message.content : []) {
            if (part.type === "image_url") {
                asked.images.push(image_of(part.image_url.url));
            }
        }
    }
}

function chat(body, asked) {
    for (const message of body.messages) {
        chat_message(asked, message);
    }
    asked.tools = (body.tools ?? []).map(({ function: f }) => ({ name: f.name,
        schema: f.parameters }));
    asked.choice = body.tool_choice?.function?.name ?? body.tool_choice ?? null;
    asked.schema = body.response_format?.json_schema?.schema ?? null;
}

function responses_item(asked, item) {
    if (item.type === "function_call") {
        asked.calls.push({ id: item.call_id, name: item.name, arguments: item.arguments });
    } else if (item.type === "function_call_output") {
        asked.results.push({ id: item.call_id, name: null, text: texts(item.output).join("\n") });
    } else if (item.type === "reasoning") {
        if (item.encrypted_content) {
            asked.signatures.push(item.encrypted_content);
        }
    } else if (["system", "developer"].includes(item.role)) {
        asked.system.push(...texts(item.content));
    } else if (item.role === "user") {
        asked.users.push(...texts(item.content));
        for (const part of Array.isArray(item.content) ? item.content : []) {
            if (part.type === "input_image") {
                asked.images.push(image_of(part.image_url));
            }
        }
    }
}

function responses(body, asked) {
    asked.system = body.instructions ? [body.instructions] : [];
    const input = typeof body.input === "string" ? [{ role: "user", content: body.input }] :
        body.input;
    for (const item of input) {
        responses_item(asked, item);
    }
    asked.tools = (body.tools ?? []).map((tool) => ({ name: tool.name,
        schema: tool.parameters }));
    asked.choice = body.tool_choice?.name ?? body.tool_choice ?? null;
    asked.schema = body.text?.format?.schema ?? null;
}

function anthropic_block(asked, role, block) {
    switch (block.type) {
    case "text":
        (role === "user" ? asked.users : []).push(block.text);
        break;
    case "image":
        asked.images.push(block.source.type === "base64" ?
            { type: block.source.media_type, data: block.source.data } :
            { url: block.source.url });
        break;
    case "tool_use":
        asked.calls.push({ id: block.id, name: block.name, arguments: write(block.input) });
        break;
    case "tool_result":
        asked.results.push({ id: block.tool_use_id, name: null,
            text: texts(block.content).join("\n") });
        break;
    case "thinking":
        asked.signatures.push(block.signature);
        asked.reasoning.push(block.thinking);
        break;
    default:
    }
}

function anthropic(body, asked) {
    asked.system = texts(body.system);
    for (const message of body.messages) {
        const blocks = typeof message.content === "string" ?
            [{ type: "text", text: message.content }] : message.content;
        for (const block of blocks) {
            anthropic_block(asked, message.role, block);
        }
    }
    asked.tools = (body.tools ?? []).map((tool) => ({ name: tool.name,
        schema: tool.input_schema }));
    const { type, name } = body.tool_choice ?? {};
    asked.choice = name ?? { any: "required" }[type] ?? type ?? null;
    asked.schema = body.output_config?.format?.schema ?? null;
}

function gemini_part(asked, role, part) {
    if (part.thoughtSignature) {
        asked.signatures.push(part.thoughtSignature);
    }
    if (part.functionCall) {
        const { id, name, args } = part.functionCall;
        asked.calls.push({ id: id ?? null, name, arguments: write(args ?? {}) });
    } else if (part.functionResponse) {
        const { id, name, response } = part.functionResponse;
        const inner = response.output ?? response.error ?? response;
        asked.results.push({ id: id ?? null, name,
            text: typeof inner === "string" ? inner : write(inner) });
    } else if (part.inlineData) {
        asked.images.push({ type: part.inlineData.mimeType, data: part.inlineData.data });
    } else if (part.text && role === "user") {
        asked.users.push(part.text);
    }
}

function gemini(body, asked) {
    asked.system = (body.systemInstruction?.parts ?? []).map((part) => part.text);
    for (const content of body.contents) {
        for (const part of content.parts) {
            gemini_part(asked, content.role, part);
        }
    }
    asked.tools = (body.tools ?? []).flatMap((tool) => tool.functionDeclarations ?? [])
        .map((tool) => ({ name: tool.name,
            schema: tool.parametersJsonSchema ?? tool.parameters }));
    const config = body.toolConfig?.functionCallingConfig;
    asked.choice = config ? config.allowedFunctionNames?.[0] ??
        { AUTO: "auto", ANY: "required", NONE: "none" }[config.mode] : null;
    const generation = body.generationConfig ?? {};
    asked.schema = generation.responseJsonSchema ?? generation.responseSchema ?? null;
}

const READERS = { "openai-chat": chat, "openai-responses": responses, anthropic, gemini };

/** body: parsed. target: the request's path (Gemini says there whether to stream). */
export function read_request(protocol, body, target) {
    const asked = plain();
    READERS[protocol](body, asked);
    asked.stream = protocol === "gemini" ? target.includes(":stream") : body.stream === true;
    return asked;
}
