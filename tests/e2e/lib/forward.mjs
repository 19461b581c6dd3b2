/* SPDX-License-Identifier: MIT */
/*
 * A forward proxy: CONNECT and absolute-form, with and without TLS of its own, with Basic
 * authentication, and with scripts for what goes wrong.
 *
 * Origins are names that exist nowhere: `routes` says which port of this machine each one is
 * (loopback itself is never reached through a proxy).
 */
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import net from "node:net";

import { open } from "./http1.mjs";

export class Forward {
    /** routes: {"name:port": port}; auth: "user:password"; tls: {key, cert}. */
    static async start({ routes, auth = null, tls = null }) {
        const forward = new Forward();
        forward.routes = routes;
        forward.auth = auth && `Basic ${Buffer.from(auth).toString("base64")}`;
        forward.connects = [];          /* {target, headers, socket} */
        forward.requests = [];          /* {method, url, headers} in absolute-form */
        forward.script = null;          /* of the next CONNECTs: (socket, req) => … */
        forward.sockets = new Set();
        forward.connections = 0;
        forward.agent = new http.Agent({ keepAlive: false });
        const server = tls ? https.createServer(tls) : http.createServer();
        forward.server = server;
        server.on(tls ? "secureConnection" : "connection", () => { forward.connections++; });
        server.on("connection", (socket) => {
            forward.sockets.add(socket);
            socket.on("error", () => {});
            socket.on("close", () => forward.sockets.delete(socket));
        });
        server.on("connect", (req, socket, head) => forward.connect(req, socket, head));
        server.on("request", (req, res) => forward.request(req, res));
        server.on("tlsClientError", () => {});
        server.keepAliveTimeout = 60_000;
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        open.add(forward);
        forward.port = server.address().port;
        forward.name = `127.0.0.1:${forward.port}`;
        forward.scheme = tls ? "https" : "http";
        return forward;
    }

    /** As a variable says it. */
    url(credentials = "") {
        return `${this.scheme}://${credentials && `${credentials}@`}${this.name}`;
    }

    connect(req, socket, head) {
        this.connects.push({ target: req.url, headers: req.headers, socket });
        socket.on("error", () => {});
        if (this.script) {
            this.script(socket, req);
            return;
        }
        if (this.auth && req.headers["proxy-authorization"] !== this.auth) {
            socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n" +
                "Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 4\r\n\r\nnope");
            return;
        }
        const port = this.routes[req.url];
        if (!port) {
            socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
            return;
        }
        const up = net.connect({ port, host: "127.0.0.1", noDelay: true }, () => {
            socket.write("HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n");
            up.write(head);
            up.pipe(socket).pipe(up);
        });
        this.sockets.add(up);
        up.on("error", () => socket.destroy());
        socket.on("close", () => up.destroy());
        up.on("close", () => {
            this.sockets.delete(up);
            socket.destroy();
        });
    }

    request(req, res) {
        this.requests.push({ method: req.method, url: req.url, headers: req.headers });
        if (this.auth && req.headers["proxy-authorization"] !== this.auth) {
            res.writeHead(407, { "proxy-authenticate": "Basic realm=\"x\"" }).end("nope");
            return;
        }
        const url = new URL(req.url);
        const port = this.routes[`${url.hostname}:${url.port || 80}`];
        if (!port) {
            res.writeHead(502).end();
            return;
        }
        const headers = { ...req.headers };
        delete headers["proxy-authorization"];
        const up = http.request({ host: "127.0.0.1", port, agent: this.agent, method: req.method,
            path: url.pathname + url.search, headers }, (answer) => {
            res.writeHead(answer.statusCode, answer.rawHeaders);
            answer.pipe(res);
        });
        up.on("error", () => res.destroy());
        res.on("close", () => up.destroy());
        req.pipe(up);
    }

    abandon() {
        open.delete(this);
        for (const socket of this.sockets) {
            socket.destroy();
        }
        this.server.close();
    }

    async stop() {
        const closed = once(this.server, "close");
        this.abandon();
        await closed;
    }
}
