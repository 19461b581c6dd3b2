/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 on bytes, for tests that must see framing: what a real client library hides.
 *
 * Parser      reads requests (kind "request") or responses, however the bytes are cut.
 * Client      one connection to the proxy; sends any bytes, also wrong ones.
 * request     one request on a connection of its own, the whole answer.
 *
 * Not here: leniency. A message that is not well formed is an error of the test.
 */
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

export const CRLF = "\r\n";

/* Everything that keeps this process alive; a test that fails leaves some of it behind. Each has
 * abandon(). */
export const open = new Set();

export function now() {
    return performance.now();
}

/* How much longer than a machine at rest a loaded one may take. */
const PATIENCE = 6;

/**
 * For what hangs: rejects with `what` when the promise takes much longer than `ms`, which is time
 * enough on a machine at rest. It says nothing of how fast something is.
 */
export function within(ms, what, promise) {
    return limited(ms * PATIENCE, what, promise);
}

/** Rejects with `what` after `ms`; the timer does not outlive the promise. */
export async function limited(ms, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** Waits, as within() does, until `holds()`, or what it promises, is something; that is returned. */
export async function until(holds, what, ms = 20_000) {
    const end = now() + ms * PATIENCE;
    for (;;) {
        const value = await holds();
        if (value) {
            return value;
        }
        if (now() > end) {
            throw new Error(`not within ${ms * PATIENCE} ms: ${what}`);
        }
        await new Promise((wake) => setTimeout(wake, 2));
    }
}

export class Head {
    constructor(raw) {
        const lines = raw.toString("latin1").split(CRLF);
        this.raw = raw;
        this.start = lines[0];
        this.fields = [];
        for (const line of lines.slice(1)) {
            if (line === "") {
                continue;
            }
            const colon = line.indexOf(":");
            if (colon < 1 || /\s/.test(line.slice(0, colon))) {
                throw new Error(`not a header line: ${JSON.stringify(line)}`);
            }
            this.fields.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
        }
    }

    /** All values of the header, joined as HTTP joins them; undefined when it is absent. */
    get(name) {
        const wanted = name.toLowerCase();
        const found = this.fields.filter(([n]) => n.toLowerCase() === wanted).map(([, v]) => v);
        return found.length === 0 ? undefined : found.join(", ");
    }

    names() {
        return this.fields.map(([n]) => n.toLowerCase());
    }

    get status() {
        const m = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(this.start);
        if (!m) {
            throw new Error(`not a status line: ${JSON.stringify(this.start)}`);
        }
        return Number(m[1]);
    }
}

/**
 * Calls on.head(head), on.data(bytes), on.end(how) with how one of "length", "chunked", "close",
 * "empty". `bodiless(head)` says that a response has no body whatever its headers say (HEAD).
 */
export class Parser {
    constructor(kind, on) {
        this.kind = kind;
        this.on = on;
        this.rest = Buffer.alloc(0);
        this.state = "head";
        this.left = 0;
    }

    get between() {
        return this.state === "head" && this.rest.length === 0;
    }

    push(bytes) {
        let input = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
        this.rest = Buffer.alloc(0);
        while (input !== null && input.length > 0) {
            input = this[`in_${this.state}`](input);
        }
    }

    /** The peer closed. True when that is where a message may end. */
    eof() {
        if (this.state === "until_close") {
            this.state = "head";
            this.on.end("close");
            return true;
        }
        return this.between;
    }

    keep(input) {
        this.rest = input;
        return null;
    }

    in_head(input) {
        const end = input.indexOf("\r\n\r\n");
        if (end < 0) {
            return this.keep(input);
        }
        const head = new Head(input.subarray(0, end + 2));
        this.framing(head);
        return input.subarray(end + 4);
    }

    framing(head) {
        const chunked = /(^|[\s,])chunked$/i.test(head.get("transfer-encoding") ?? "");
        const length = head.get("content-length");
        if (chunked && length !== undefined) {
            throw new Error("both chunked and content-length");
        }
        const response = this.kind === "response";
        const status = response ? head.status : 0;
        if (response && status >= 100 && status < 200) {
            this.on.informational?.(head);
            return;
        }
        const bodiless = response && (status === 204 || status === 304 ||
            (this.on.bodiless?.(head) ?? false));
        this.on.head(head);
        if (bodiless) {
            this.on.end("empty");
        } else if (chunked) {
            this.state = "size";
        } else if (length !== undefined) {
            if (!/^\d+$/.test(length)) {
                throw new Error(`content-length: ${length}`);
            }
            this.left = Number(length);
            this.state = "length";
            if (this.left === 0) {
                this.state = "head";
                this.on.end("length");
            }
        } else if (response) {
            this.state = "until_close";
        } else {
            this.on.end("empty");
        }
    }

    in_length(input) {
        const part = input.subarray(0, this.left);
        this.left -= part.length;
        this.on.data(part);
        if (this.left === 0) {
            this.state = "head";
            this.on.end("length");
        }
        return input.subarray(part.length);
    }

    in_size(input) {
        const end = input.indexOf(CRLF);
        if (end < 0) {
            return this.keep(input);
        }
        const line = input.toString("latin1", 0, end);
        if (!/^[0-9a-fA-F]+(;.*)?$/.test(line)) {
            throw new Error(`not a chunk size: ${JSON.stringify(line)}`);
        }
        this.left = parseInt(line, 16);
        this.state = this.left === 0 ? "trailer" : "chunk";
        return input.subarray(end + 2);
    }

    in_chunk(input) {
        const part = input.subarray(0, this.left);
        this.left -= part.length;
        this.on.data(part);
        if (this.left === 0) {
            this.state = "chunk_end";
        }
        return input.subarray(part.length);
    }

    in_chunk_end(input) {
        if (input.length < 2) {
            return this.keep(input);
        }
        if (input[0] !== 13 || input[1] !== 10) {
            throw new Error("a chunk is longer than its size says");
        }
        this.state = "size";
        return input.subarray(2);
    }

    in_trailer(input) {
        const end = input.indexOf(CRLF);
        if (end < 0) {
            return this.keep(input);
        }
        if (end === 0) {
            this.state = "head";
            this.on.end("chunked");
        }
        return input.subarray(end + 2);
    }

    in_until_close(input) {
        this.on.data(input);
        return input.subarray(input.length);
    }
}

/** An answer while and after it arrives. */
export class Response {
    constructor(head) {
        this.head = head;
        this.status = head.status;
        this.pieces = [];               /* {at, bytes}, as the parser handed them out */
        this.ended = null;              /* "length" "chunked" "close" "empty", or "cut" */
        this.done = new Promise((resolve) => {
            this.finish = (how) => {
                this.ended = how;
                resolve(this);
            };
        });
    }

    get(name) {
        return this.head.get(name);
    }

    get body() {
        return Buffer.concat(this.pieces.map((p) => p.bytes));
    }

    get text() {
        return this.body.toString("utf8");
    }

    get json() {
        return JSON.parse(this.text);
    }
}

/** Bytes of a request with a correct length, unless `headers` bring their own framing. */
export function request_bytes({ method = "POST", path = "/", headers = {}, body = null, port }) {
    const lines = [`${method} ${path} HTTP/1.1`];
    const list = Array.isArray(headers) ? headers : Object.entries(headers);
    const has = (name) => list.some(([n]) => n.toLowerCase() === name);
    if (!has("host")) {
        lines.push(`Host: 127.0.0.1:${port}`);
    }
    for (const [n, v] of list) {
        lines.push(`${n}: ${v}`);
    }
    const bytes = body === null ? Buffer.alloc(0) : Buffer.from(body);
    if (body !== null && !has("content-length") && !has("transfer-encoding")) {
        lines.push(`Content-Length: ${bytes.length}`);
    }
    return Buffer.concat([Buffer.from(lines.join(CRLF) + CRLF + CRLF, "latin1"), bytes]);
}

export class Client {
    constructor(port, socket) {
        this.port = port;
        this.socket = socket;
        this.methods = [];              /* of the requests whose answers are to come */
        this.responses = [];            /* whose heads have come and nobody took yet */
        this.waiting = [];
        this.informational = [];
        this.current = null;
        this.failure = null;
        this.on_data = null;
        this.closed = new Promise((resolve) => {
            this.resolve_closed = resolve;
        });
        this.parser = new Parser("response", {
            informational: (head) => this.informational.push(head),
            bodiless: () => this.methods.shift() === "HEAD",
            head: (head) => {
                this.current = new Response(head);
                this.deliver(this.current);
            },
            data: (bytes) => {
                if (this.on_data) {
                    this.on_data(bytes);
                } else {
                    this.current.pieces.push({ at: now(), bytes: Buffer.from(bytes) });
                }
            },
            end: (how) => {
                const response = this.current;
                this.current = null;
                response.finish(how);
            },
        });
        open.add(this);
        socket.setNoDelay(true);
        socket.on("data", (bytes) => {
            try {
                this.parser.push(bytes);
            } catch (error) {
                this.fail(error);
                socket.destroy();
            }
        });
        socket.on("end", () => this.gone("fin"));
        socket.on("error", (error) => this.gone(error.code === "ECONNRESET" ? "rst" : error.code));
        socket.on("close", () => {
            open.delete(this);
            this.gone("close");
        });
    }

    /** secure: options of tls.connect, for TLS. */
    static async connect(port, host = "127.0.0.1", secure = null) {
        const socket = secure ? tls.connect({ port, host, ...secure }) :
            net.connect({ port, host });
        await once(socket, secure ? "secureConnect" : "connect");
        return new Client(port, socket);
    }

    deliver(response) {
        const waiter = this.waiting.shift();
        if (waiter) {
            waiter.resolve(response);
        } else {
            this.responses.push(response);
        }
    }

    fail(error) {
        this.failure ??= error;
        for (const waiter of this.waiting.splice(0)) {
            waiter.reject(this.failure);
        }
    }

    gone(how) {
        this.parser.eof();
        this.current?.finish("cut");
        this.current = null;
        this.fail(new Error(`the connection ended (${how}) before an answer`));
        this.resolve_closed({ how, at: now() });
    }

    write(bytes) {
        this.socket.write(bytes);
    }

    send(options) {
        this.methods.push(options.method ?? "POST");
        this.write(request_bytes({ port: this.port, ...options }));
    }

    /** The next answer, as soon as its head is there. */
    async head() {
        if (this.responses.length > 0) {
            return this.responses.shift();
        }
        if (this.failure) {
            throw this.failure;
        }
        return within(20_000, "the head of an answer", new Promise((resolve, reject) => {
            this.waiting.push({ resolve, reject });
        }));
    }

    /** The next answer, whole. */
    async response() {
        const response = await this.head();
        return within(20_000, "the end of an answer", response.done);
    }

    destroy() {
        this.socket.destroy();
    }

    abandon() {
        this.destroy();
    }
}

/** One request, one connection, the whole answer. */
export async function request(port, { secure, ...options }) {
    const client = await Client.connect(port, "127.0.0.1", secure);
    try {
        client.send(options);
        return await client.response();
    } finally {
        client.destroy();
    }
}

/** Bytes sent as they are; resolves with the answer and how the connection then ended. */
export async function raw(port, bytes, { method = "POST", wait_close = false } = {}) {
    const client = await Client.connect(port);
    try {
        client.methods.push(method);
        client.write(bytes);
        const response = await client.response();
        const closed = wait_close ?
            await within(5_000, "the proxy closes the connection", client.closed) : null;
        return { response, closed };
    } finally {
        client.destroy();
    }
}

/** The data of each SSE event of a body, comments and other fields left out. */
export function sse_data(text) {
    return text.split(/\r\n\r\n|\n\n|\r\r/)
        .map((event) => event.split(/\r\n|\n|\r/)
            .filter((line) => line.startsWith("data:"))
            .map((line) => line.slice(5).replace(/^ /, ""))
            .join("\n"))
        .filter((data) => data !== "");
}
