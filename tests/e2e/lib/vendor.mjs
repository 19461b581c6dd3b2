/* SPDX-License-Identifier: MIT */
/*
 * OpenAI as its reference describes it, behind a mock: what an application stores can be fetched,
 * listed page by page and deleted again; what it asks is answered from what it sent, so that a byte
 * that was changed on the way shows in the answer. Not a test's script: it behaves alike for all.
 *
 *   vendor = new Vendor(); mock = await Mock.start({ fallback: vendor.answer });
 *   mock.on_get = vendor.answer
 *
 * vendor.seen: {method, path, query, type, form, json} of each request, form with its files' bytes.
 */
import { createHash } from "node:crypto";

import { sse } from "./mock.mjs";

const CREATED = 1700000000;

export const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Bytes that no text has, the same for each name. */
export function noise(name, n) {
    const parts = [];
    for (let i = 0, have = 0; have < n; i++, have += 32) {
        parts.push(createHash("sha256").update(`${name} ${i}`).digest());
    }
    return Buffer.concat(parts).subarray(0, n);
}

/** A vector that depends on the text alone; as floats of 32 bits. */
export function vector(text, n = 8) {
    const bytes = createHash("sha512").update(text).digest();
    return Array.from({ length: n }, (_, i) => Math.fround(bytes.readInt16LE(2 * (i % 32)) / 32768 +
        Math.floor(i / 32)));
}

/** The smallest value that a JSON Schema takes. */
export function instance(schema, hint = "said") {
    if (schema.enum) {
        return schema.enum[0];
    }
    switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
        return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) =>
            [name, instance(inner, hint)]));
    case "array":
        return [instance(schema.items ?? {}, hint)];
    case "integer":
    case "number":
        return 42;
    case "boolean":
        return true;
    default:
        return hint;
    }
}

const words_of = (text) => text.match(/\s*\S+/g) ?? [];
const tokens_of = (text) => words_of(text).length;
const text_of = (content) => typeof content === "string" ? content :
    (content ?? []).map((part) => part.text ?? `[${part.type}]`).join(" ");

/* What is stored: the collection's name in the path, its objects' prefix and name. */
const KINDS = {
    files: ["file", "file"], batches: ["batch", "batch"], uploads: ["upload", "upload"],
    vector_stores: ["vs", "vector_store"], "fine_tuning/jobs": ["ftjob", "fine_tuning.job"],
    containers: ["cntr", "container"], evals: ["eval", "eval"], assistants: ["asst", "assistant"],
    threads: ["thread", "thread"], parts: ["part", "upload.part"], events: ["ftevent",
        "fine_tuning.job.event"], file_batches: ["vsfb", "vector_store.file_batch"],
    messages: ["msg", "thread.message"], checkpoints: ["ftckpt", "fine_tuning.job.checkpoint"],
    runs: ["run", "thread.run"], "chat/completions": ["chatcmpl", "chat.completion"],
};

class Refused extends Error {
    constructor(status, message, code = null, param = null) {
        super(message);
        Object.assign(this, { status, body: { error: { message,
            type: "invalid_request_error", param, code } } });
    }
}

export class Vendor {
    constructor({ models = ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "whisper-1",
        "tts-1", "gpt-image-1", "omni-moderation-latest", "ft:gpt-4o:acme::1"] } = {}) {
        this.models = models;
        this.stored = new Map();
        this.bytes = new Map();
        this.serial = 0;
        this.seen = [];
        this.answer = (ex) => this.run(ex);
    }

    get last() {
        return this.seen.at(-1);
    }

    async run(ex) {
        const [path, query = ""] = ex.target.split("?");
        const type = ex.get("content-type") ?? null;
        const asked = { method: ex.method, path: path.replace(/^\/v1/, ""), type, json: null,
            query: new URLSearchParams(query), form: null, auth: ex.get("authorization") };
        try {
            if (type?.startsWith("multipart/form-data")) {
                asked.form = await this.read_form(ex.body, type);
            } else if (ex.body.length > 0) {
                asked.json = ex.json;
            }
            this.seen.push(asked);
            const answer = await this.route(asked, ex);
            if (answer !== undefined) {
                await ex.json_answer(answer, { headers: { "x-request-id": "req_vendor",
                    "openai-processing-ms": "12" } });
            }
        } catch (error) {
            if (!(error instanceof Refused)) {
                throw error;
            }
            await ex.json_answer(error.body, { status: error.status,
                headers: { "x-request-id": "req_refused" } });
        }
    }

    /** {name: [text or {name, type, bytes}]} */
    async read_form(body, type) {
        const data = await new Response(body, { headers: { "content-type": type } }).formData();
        const form = {};
        for (const [name, value] of data) {
            form[name] = [...form[name] ?? [], typeof value === "string" ? value :
                { name: value.name, type: value.type,
                    bytes: Buffer.from(await value.arrayBuffer()) }];
        }
        return form;
    }

    async route(asked, ex) {
        const { method, path, json, form } = asked;
        const key = `${method} ${path}`;
        const model = json?.model ?? form?.model?.[0];
        const known = ROUTES[key];
        if (known) {
            if (known.model !== false && !this.models.includes(model)) {
                throw new Refused(404, `The model \`${model}\` does not exist`, "model_not_found");
            }
            return known.run.call(this, asked, ex);
        }
        if (path.startsWith("/models")) {
            return this.model_list(asked);
        }
        return this.collection(asked, ex);
    }

    model_list({ method, path }) {
        const entry = (id) => ({ id, object: "model", created: CREATED, owned_by: "vendor" });
        const id = decodeURIComponent(path.slice("/models/".length));
        if (path === "/models") {
            return { object: "list", data: this.models.map(entry) };
        }
        if (!this.models.includes(id)) {
            throw new Refused(404, `The model '${id}' does not exist`, "model_not_found", "model");
        }
        return method === "DELETE" ? { id, object: "model", deleted: true } : entry(id);
    }

    /* --- what is stored ------------------------------------------------------------------- */

    /** POST /things makes one; GET lists; …/ID fetches; POST changes; DELETE; …/ID/verb. */
    async collection(asked, ex) {
        const { method, path, json, form } = asked;
        const parts = path.slice(1).split("/");
        const name = parts.splice(0, `${parts[0]}/${parts[1]}` in KINDS ? 2 : 1).join("/");
        if (!(name in KINDS)) {
            throw new Refused(404, `Invalid URL (${method} /v1${path})`, "unknown_url");
        }
        if (parts.length === 0) {
            return method === "GET" ? this.list(name, asked.query) : this.make(name, json, form);
        }
        const one = this.stored.get(parts[0]);
        if (!one) {
            throw new Refused(404, `No such ${KINDS[name][1]} object: ${parts[0]}`, null, "id");
        }
        if (parts.length === 1) {
            return this.one(one, method, json);
        }
        return this.below(one, parts.slice(1), asked, ex);
    }

    one(one, method, json) {
        if (method === "DELETE") {
            this.stored.delete(one.id);
            return { id: one.id, object: `${one.object}.deleted`, deleted: true };
        }
        return Object.assign(one, method === "POST" ? json : {});
    }

    async below(one, [verb, id, ...rest], asked, ex) {
        if (verb === "content") {
            await ex.respond({ headers: { "content-type": "application/octet-stream",
                "content-disposition": `attachment; filename="${one.filename}"`,
                etag: "\"v1\"" }, framing: "chunked", body: this.bytes.get(one.id) });
            return undefined;
        }
        if (verb === "cancel") {
            return Object.assign(one, { status: one.object === "batch" ? "cancelling" :
                "cancelled" });
        }
        if (verb === "complete") {
            return this.complete(one, asked.json);
        }
        if (verb === "search") {
            return { object: "vector_store.search_results.page", has_more: false, next_page: null,
                search_query: [].concat(asked.json.query), data: [] };
        }
        const kind = verb === "files" && one.object === "vector_store" ? "files" : verb;
        if (!(kind in KINDS)) {
            throw new Refused(404, `Invalid URL (${asked.method} /v1${asked.path})`, "unknown_url");
        }
        if (id === undefined) {
            return asked.method === "GET" ? this.list(kind, asked.query, one.id) :
                this.make(kind, asked.json, asked.form, { parent: one.id });
        }
        const inner = this.stored.get(id);
        if (!inner) {
            throw new Refused(404, `No such object: ${id}`);
        }
        return rest.length > 0 ? this.below(inner, rest, asked, ex) :
            this.one(inner, asked.method, asked.json);
    }

    make(name, json, form, more = {}) {
        const [prefix, object] = KINDS[name];
        const one = { id: json?.file_id ?? `${prefix}-${++this.serial}`, object,
            created_at: CREATED, ...json, ...more };
        const file = form?.file?.[0] ?? form?.data?.[0];
        if (file) {
            this.bytes.set(one.id, file.bytes);
            Object.assign(one, { bytes: file.bytes.length, filename: file.name,
                purpose: form.purpose?.[0] });
        }
        one.status = { batches: "validating", uploads: "pending", files: "processed",
            "fine_tuning/jobs": "queued" }[name] ?? "completed";
        this.stored.set(one.id, one);
        return one;
    }

    complete(upload, { part_ids }) {
        const bytes = Buffer.concat(part_ids.map((id) => this.bytes.get(id)));
        const file = this.make("files", { purpose: upload.purpose, filename: upload.filename });
        this.bytes.set(file.id, bytes);
        return Object.assign(upload, { status: "completed", file: Object.assign(file,
            { bytes: bytes.length }) });
    }

    list(name, query, parent) {
        const all = [...this.stored.values()].filter((o) => o.object === KINDS[name][1] &&
            (parent === undefined || o.parent === parent));
        const from = query.get("after") ? all.findIndex((o) => o.id === query.get("after")) + 1 : 0;
        const data = all.slice(from, from + Number(query.get("limit") ?? 20));
        return { object: "list", data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ??
            null, has_more: from + data.length < all.length };
    }

    /* --- what is computed ----------------------------------------------------------------- */

    usage_of(json, text) {
        const input = json.messages.reduce((n, m) => n + tokens_of(text_of(m.content)), 0);
        return { prompt_tokens: input, completion_tokens: tokens_of(text),
            total_tokens: input + tokens_of(text) };
    }

    /** Calls each tool once, when a user spoke last; else says what the tools gave. */
    message_of(json) {
        const { messages, tools = [], response_format: format, tool_choice } = json;
        const last = messages.at(-1);
        if (last.role !== "tool" && tools.length > 0 && tool_choice !== "none") {
            const named = tool_choice?.function?.name;
            return { content: null, tool_calls: tools.filter((t) => !named ||
                t.function.name === named).map((tool, i) => ({ id: `call_${i}_${++this.serial}`,
                type: "function", function: { name: tool.function.name, arguments:
                    JSON.stringify(instance(tool.function.parameters, text_of(last.content))) } })) };
        }
        if (format?.type === "json_schema") {
            return { content: JSON.stringify(instance(format.json_schema.schema,
                text_of(last.content))) };
        }
        const results = messages.filter((m) => m.role === "tool");
        return { content: results.length > 0 ? `It is ${results.map((m) => text_of(m.content))
            .join(" and ")}.` : `You said: ${text_of(last.content)}`,
        ...(json.reasoning_effort ? { reasoning_content: "Let me think about it." } : {}) };
    }

    async chat({ json }, ex) {
        const head = { id: `chatcmpl-${++this.serial}`, created: CREATED, model: json.model };
        const message = this.message_of(json);
        const usage = this.usage_of(json, message.content ?? "");
        const finish = message.tool_calls ? "tool_calls" : "stop";
        const one = { ...head, object: "chat.completion", choices: [{ index: 0, logprobs: null,
            message: { role: "assistant", refusal: null, annotations: [], ...message },
            finish_reason: finish }], usage, service_tier: "default", system_fingerprint: "fp_1" };
        if (json.store) {
            this.stored.set(one.id, { ...one, metadata: json.metadata });
        }
        if (!json.stream) {
            return one;
        }
        const chunk = (delta, end = null) => ({ ...head, object: "chat.completion.chunk",
            choices: [{ index: 0, delta, logprobs: null, finish_reason: end }] });
        const pieces = [chunk({ role: "assistant", content: message.tool_calls ? null : "" }),
            ...words_of(message.reasoning_content ?? "").map((w) =>
                chunk({ reasoning_content: w })),
            ...words_of(message.content ?? "").map((w) => chunk({ content: w })),
            ...(message.tool_calls ?? []).flatMap((call, index) => [
                chunk({ tool_calls: [{ index, id: call.id, type: "function", function:
                    { name: call.function.name, arguments: "" } }] }),
                ...(call.function.arguments.match(/[^]{1,5}/g) ?? []).map((text) =>
                    chunk({ tool_calls: [{ index, function: { arguments: text } }] }))]),
            chunk({}, finish)];
        if (json.stream_options?.include_usage) {
            pieces.push({ ...head, object: "chat.completion.chunk", choices: [], usage });
        }
        await this.stream(ex, pieces);
        return undefined;
    }

    async stream(ex, pieces, named = false) {
        const body = named ? pieces.map((p) =>
            `event: ${p.type}\ndata: ${JSON.stringify(p)}\n\n`).join("") : sse(pieces);
        await ex.respond({ headers: { "content-type": "text/event-stream; charset=utf-8" },
            framing: "chunked", body });
    }

    async completion({ json }, ex) {
        const prompts = [].concat(json.prompt);
        const texts = prompts.map((prompt) => ` and so on after ${prompt}`);
        const make = (parts, end) => ({ id: "cmpl-1", object: "text_completion", created: CREATED,
            model: json.model, choices: parts.map((text, index) => ({ index, text, logprobs: null,
                finish_reason: end })) });
        if (!json.stream) {
            const count = (list) => list.reduce((n, text) => n + tokens_of(text), 0);
            return { ...make(texts, "stop"), usage: { prompt_tokens: count(prompts),
                completion_tokens: count(texts), total_tokens: count([...prompts, ...texts]) } };
        }
        await this.stream(ex, [...words_of(texts[0]).map((w) => make([w], null)),
            make([""], "stop")]);
        return undefined;
    }

    embeddings({ json }) {
        const inputs = typeof json.input === "string" ? [json.input] : json.input;
        if (inputs.length === 0 || inputs.includes("")) {
            throw new Refused(400, "'$.input' is invalid.", null, "input");
        }
        const code = (list) => json.encoding_format === "base64" ?
            Buffer.from(Float32Array.from(list).buffer).toString("base64") : list;
        const n = inputs.reduce((sum, text) => sum + tokens_of(`${text}`), 0);
        return { object: "list", model: json.model, usage: { prompt_tokens: n, total_tokens: n },
            data: inputs.map((text, index) => ({ object: "embedding", index,
                embedding: code(vector(`${text}`, json.dimensions)) })) };
    }

    images({ json, form }) {
        const seed = [...form?.image ?? [], ...form?.["image[]"] ?? []];
        const of = (i) => noise(`${json?.prompt ?? form.prompt?.[0]} ${i}`, 1024)
            .toString("base64");
        return { created: CREATED, background: "opaque", output_format: "png", size: "1024x1024",
            quality: "low", data: Array.from({ length: Number(json?.n ?? form?.n?.[0] ?? 1) },
                (_, i) => ({ b64_json: of(i) })),
            usage: { input_tokens: 3 + seed.length, output_tokens: 272,
                total_tokens: 275 + seed.length, input_tokens_details: { text_tokens: 3,
                    image_tokens: seed.length } } };
    }

    async generate(asked, ex) {
        if (!asked.json.stream) {
            return this.images(asked);
        }
        const b64_json = noise(asked.json.prompt, 512).toString("base64");
        await this.stream(ex, [0, 1].map((i) => ({ type: "image_generation.partial_image", b64_json,
            partial_image_index: i, created_at: CREATED })).concat({ b64_json,
            type: "image_generation.completed", created_at: CREATED, usage: { input_tokens: 3,
                output_tokens: 9, total_tokens: 12 } }), true);
        return undefined;
    }

    async speech({ json }, ex) {
        await ex.respond({ headers: { "content-type": "audio/mpeg" }, framing: "chunked",
            cuts: 0, body: noise(`${json.voice} ${json.input}`, 300_000) });
        return undefined;
    }

    async transcription({ form }, ex) {
        const [file] = form.file;
        const text = `heard ${file.bytes.length} bytes of ${file.name}: ${sha(file.bytes)}`;
        if (form.response_format?.[0] === "text") {
            await ex.respond({ headers: { "content-type": "text/plain; charset=utf-8" },
                body: `${text}\n` });
            return undefined;
        }
        if (form.stream?.[0] === "true") {
            await this.stream(ex, [...words_of(text).map((delta) => ({ delta,
                type: "transcript.text.delta" })), { type: "transcript.text.done", text }]);
            return undefined;
        }
        return { text, usage: { type: "duration", seconds: 3 } };
    }

    moderation({ json }) {
        const inputs = [].concat(json.input);
        return { id: "modr-1", model: json.model, results: inputs.map((text) => ({
            flagged: /attack/.test(text), categories: { violence: /attack/.test(text) },
            category_scores: { violence: /attack/.test(text) ? 0.9 : 0.01 },
            category_applied_input_types: { violence: ["text"] } })) };
    }
}

const ROUTES = {
    "POST /chat/completions": { run: Vendor.prototype.chat },
    "POST /completions": { run: Vendor.prototype.completion },
    "POST /embeddings": { run: Vendor.prototype.embeddings },
    "POST /images/generations": { run: Vendor.prototype.generate },
    "POST /images/edits": { run: Vendor.prototype.images },
    "POST /images/variations": { run: Vendor.prototype.images, model: false },
    "POST /audio/speech": { run: Vendor.prototype.speech },
    "POST /audio/transcriptions": { run: Vendor.prototype.transcription },
    "POST /audio/translations": { run: Vendor.prototype.transcription },
    "POST /moderations": { run: Vendor.prototype.moderation },
};
