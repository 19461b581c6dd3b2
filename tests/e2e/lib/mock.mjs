/* SPDX-License-Identifier: MIT */
/*
 * An upstream on raw sockets.
 *
 * What      Every byte it receives is kept, every byte it sends is chosen by the test: framing,
 *           places of the cuts, resets, silence.
 * How       A request goes to the script queued by next(), else to the one registered with on()
 *           for its model, else to the fallback: a small OpenAI, unless the test sets another.
 * Notes     The time at which the peer closed or reset each connection (`closed`), for the tests
 *           of cancellation.
 */
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

import { CRLF, Parser, now, open, within } from "./http1.mjs";
import { cut } from "./random.mjs";

const turn = () => new Promise((resolve) => setImmediate(resolve));

export function chunk(bytes) {
    const data = Buffer.from(bytes);
    return Buffer.concat([Buffer.from(data.length.toString(16) + CRLF), data, Buffer.from(CRLF)]);
}

export const LAST_CHUNK = Buffer.from("0" + CRLF + CRLF);

export function head_bytes(status, headers) {
    const list = Array.isArray(headers) ? headers : Object.entries(headers);
    return Buffer.from([`HTTP/1.1 ${status} Scripted`, ...list.map(([n, v]) => `${n}: ${v}`)]
        .join(CRLF) + CRLF + CRLF, "latin1");
}

/** One request and the means to answer it. */
export class Exchange {
    constructor(connection, head) {
        const [method, target] = head.start.split(" ");
        this.connection = connection;
        this.socket = connection.socket;
        this.head = head;
        this.method = method;
        this.target = target;
        this.at = now();
        this.early = false;
        this.parts = [];
    }

    get body() {
        return Buffer.concat(this.parts);
    }

    get json() {
        return JSON.parse(this.body.toString("utf8"));
    }

    get(name) {
        return this.head.get(name);
    }

    /** Resolves with {how, at} when the peer ends this exchange's connection. */
    get closed() {
        return this.connection.closed;
    }

    /** Resolves when the bytes were handed to the kernel: the peer's backpressure is felt. */
    async write(bytes) {
        if (this.socket.destroyed) {
            return;
        }
        if (!this.socket.write(bytes)) {
            await Promise.race([once(this.socket, "drain"), this.closed]);
        }
    }

    /** Writes in parts of their own turn, cut at `cuts` random places. */
    async scatter(bytes, cuts, rng) {
        for (const part of cuts > 0 ? cut(bytes, cuts, rng) : [bytes]) {
            await this.write(part);
            await turn();
        }
    }

    async open_stream(headers = {}) {
        await this.write(head_bytes(200, {
            "content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked",
            ...headers,
        }));
    }

    /** One SSE event as one chunk, unless it brings its own bytes. */
    async event(data) {
        const text = typeof data === "string" ? data : `data: ${JSON.stringify(data)}\n\n`;
        await this.write(chunk(text));
    }

    async close_stream(done = true) {
        await this.write(done ? Buffer.concat([chunk("data: [DONE]\n\n"), LAST_CHUNK]) :
            LAST_CHUNK);
    }

    /** A whole answer. framing: "length", "chunked" or "close". */
    async respond({ status = 200, headers = {}, body = "", framing = "length", cuts = 0,
        rng = null }) {
        const bytes = Buffer.from(body);
        const list = Array.isArray(headers) ? [...headers] : Object.entries(headers);
        let framed = bytes;
        if (framing === "length") {
            list.push(["content-length", bytes.length]);
        } else if (framing === "chunked") {
            list.push(["transfer-encoding", "chunked"]);
            const parts = bytes.length === 0 ? [] :
                cuts > 0 ? cut(bytes, 1 + rng.below(cuts), rng) : [bytes];
            framed = Buffer.concat([...parts.map(chunk), LAST_CHUNK]);
        } else {
            list.push(["connection", "close"]);
        }
        await this.scatter(Buffer.concat([head_bytes(status, list), framed]), cuts, rng);
        if (framing === "close") {
            this.socket.end();
        }
    }

    async json_answer(value, { status = 200, headers = {} } = {}) {
        await this.respond({
            status, headers: { "content-type": "application/json", ...headers },
            body: JSON.stringify(value),
        });
    }

    fin() {
        this.socket.end();
    }

    rst() {
        this.connection.reset();
    }

    /** FIN, also under TLS, where it comes without a close_notify. */
    truncate() {
        this.connection.under.end();
    }
}

export class Mock {
    constructor({ fallback = openai, on_get = openai } = {}) {
        this.fallback = fallback;
        this.on_get = on_get;
        this.requests = [];
        this.connections = 0;
        this.sockets = new Set();
        this.under = new Map();         /* with TLS: the TCP sockets, by their remote port */
        this.raw = new Set();           /* all of these; one within its handshake is no other's */
        this.queue = [];
        this.early = null;              /* the script of the next POST, run at its head */
        this.models = new Map();
        this.errors = [];
        this.waiting = [];
    }

    static async start({ tls: options = null, port = 0, ...rest } = {}) {
        const mock = new Mock(rest);
        const accept = (socket) => mock.accept(socket);
        mock.server = options ? tls.createServer({ ...options, allowHalfOpen: true }, accept) :
            net.createServer({ allowHalfOpen: true, noDelay: true }, accept);
        if (options) {
            mock.server.on("connection", (socket) => {
                mock.under.set(socket.remotePort, socket);
                mock.raw.add(socket);
                socket.on("close", () => mock.raw.delete(socket));
            });
        }
        mock.server.listen(port, "127.0.0.1");
        await once(mock.server, "listening");
        open.add(mock);
        mock.port = mock.server.address().port;
        mock.url = `${options ? "https" : "http"}://127.0.0.1:${mock.port}/v1`;
        return mock;
    }

    accept(socket) {
        const under = this.under.get(socket.remotePort) ?? socket;
        const connection = { n: this.connections++, socket, under };
        this.under.delete(socket.remotePort);
        connection.reset = () => {
            under.resetAndDestroy();
            socket.destroy();
        };
        socket.reset = connection.reset;
        socket.setNoDelay(true);
        this.sockets.add(socket);
        connection.closed = new Promise((resolve) => {
            const gone = (how) => () => resolve({ how, at: now() });
            socket.on("end", () => {
                gone("fin")();
                socket.end();
            });
            socket.on("error", gone("rst"));
            socket.on("close", () => {
                gone("close")();
                this.sockets.delete(socket);
            });
        });
        let exchange = null;
        const parser = new Parser("request", {
            head: (head) => {
                exchange = new Exchange(connection, head);
                this.answer_early(exchange);
            },
            data: (bytes) => exchange.parts.push(Buffer.from(bytes)),
            end: () => this.dispatch(exchange),
        });
        socket.on("data", (bytes) => {
            try {
                parser.push(bytes);
            } catch (error) {
                this.errors.push(error);
                socket.destroy();
            }
        });
    }

    /** A POST that `early` answers when its head is there; its body goes to nobody else. */
    answer_early(exchange) {
        if (this.early === null || exchange.method !== "POST") {
            return;
        }
        exchange.early = true;
        const script = this.early;
        this.early = null;
        this.run(script, exchange);
    }

    dispatch(exchange) {
        this.requests.push(exchange);
        for (const waiter of this.waiting.splice(0)) {
            waiter(exchange);
        }
        if (!exchange.early) {
            this.run(this.pick(exchange), exchange);
        }
    }

    run(script, exchange) {
        Promise.resolve(script(exchange)).catch((error) => {
            this.errors.push(error);
            exchange.socket.destroy();
        });
    }

    pick(exchange) {
        if (exchange.method === "POST") {
            if (this.queue.length > 0) {
                return this.queue.shift();
            }
            let model = null;
            try {
                model = exchange.json.model;
            } catch {
                /* Not JSON: the fallback's. */
            }
            if (this.models.has(model)) {
                return this.models.get(model);
            }
        }
        return exchange.method === "POST" ? this.fallback : this.on_get;
    }

    /** Answers the next POST with this script. */
    next(script) {
        this.queue.push(script);
    }

    /** Answers requests for this model with this script. */
    on(model, script) {
        this.models.set(model, script);
    }

    /** The exchange of the next request that comes. */
    arrival() {
        const arrived = within(10_000, "a request at the upstream",
            new Promise((resolve) => this.waiting.push(resolve)));
        arrived.catch(() => {});
        return arrived;
    }

    posts() {
        return this.requests.filter((r) => r.method === "POST");
    }

    abandon() {
        open.delete(this);
        for (const socket of [...this.sockets, ...this.raw]) {
            socket.destroy();
        }
        this.server.close();
    }

    async stop() {
        const closed = once(this.server, "close");
        this.abandon();
        await closed;
        if (this.errors.length > 0) {
            throw new AggregateError(this.errors, `mock: ${this.errors[0].message}`);
        }
    }
}

/* ---- A small OpenAI ---- */

export function whole(model, message, finish = "stop") {
    return {
        id: "chatcmpl-mock", object: "chat.completion", created: 1700000000, model,
        choices: [{
            index: 0, logprobs: null, finish_reason: finish,
            message: { role: "assistant", content: null, refusal: null, ...message },
        }],
        usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 },
    };
}

export function delta(model, value, finish = null, more = {}) {
    return {
        id: "chatcmpl-mock", object: "chat.completion.chunk", created: 1700000000, model,
        choices: [{ index: 0, delta: value, logprobs: null, finish_reason: finish }], ...more,
    };
}

/** The chunks of a streamed text, a word each. */
export function text_chunks(model, words, usage = false) {
    const chunks = [delta(model, { role: "assistant", content: "", refusal: null }),
        ...words.map((w) => delta(model, { content: w })), delta(model, {}, "stop")];
    if (usage) {
        chunks.push({ ...delta(model, {}), choices: [],
            usage: { prompt_tokens: 7, completion_tokens: words.length, total_tokens: 12 } });
    }
    return chunks;
}

export function sse(chunks, done = true) {
    return chunks.map((c) => `data: ${JSON.stringify(c)}\n\n`).join("") +
        (done ? "data: [DONE]\n\n" : "");
}

export const MODELS = ["m1", "m2", "vendor/m3"];

/** The fallback: lists models, answers any chat with "Hello from MODEL". */
export async function openai(ex) {
    const path = ex.target.split("?")[0];
    if (ex.method === "GET" && path === "/v1/models") {
        await ex.json_answer({ object: "list", data: MODELS.map((id) => ({
            id, object: "model", created: 1700000000, owned_by: "mock" })) });
    } else if (ex.method === "POST" && path === "/v1/chat/completions") {
        const { model, stream, stream_options: options } = ex.json;
        if (stream) {
            await ex.respond({
                headers: { "content-type": "text/event-stream; charset=utf-8" },
                framing: "chunked",
                body: sse(text_chunks(model, ["Hello", " from", ` ${model}`],
                    options?.include_usage)),
            });
        } else {
            await ex.json_answer(whole(model, { content: `Hello from ${model}` }));
        }
    } else {
        await ex.json_answer({ error: { message: `no ${ex.method} ${ex.target}`,
            type: "invalid_request_error", param: null, code: "unknown_url" } }, { status: 404 });
    }
}
