/* SPDX-License-Identifier: MIT */
/*
 * A certificate authority for one test run, made by the openssl command in a temporary directory.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

export function available() {
    try {
        execFileSync("openssl", ["version"], { stdio: "ignore" });
        return true;
    } catch {
        return false;
    }
}

/**
 * Makes in `dir`: ca.pem; good (localhost, 127.0.0.1), host (another name), expired, all signed by
 * it; self (self-signed, right names). Returns {ca, good: {key, cert}, …}, ca as a path.
 */
export function make(dir) {
    const at = (name) => path.join(dir, name);
    const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
    const key = (name) => openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
        "-out", `${name}.key`);
    const read = (name) => ({ key: fs.readFileSync(at(`${name}.key`)),
        cert: fs.readFileSync(at(`${name}.pem`)) });
    const RIGHT = "DNS:localhost,IP:127.0.0.1";

    key("ca");
    openssl("req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "2", "-subj",
        "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
        "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem");
    const signed = (name, names, ...more) => {
        key(name);
        fs.writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n` +
            "extendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n");
        openssl("req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-out",
            `${name}.csr`);
        openssl("x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-sha256", "-extfile", `${name}.ext`, "-out", `${name}.pem`,
            ...(more.length > 0 ? more : ["-days", "2"]));
        return read(name);
    };
    key("self");
    openssl("req", "-x509", "-new", "-key", "self.key", "-sha256", "-days", "2", "-subj",
        "/CN=localhost", "-addext", `subjectAltName=${RIGHT}`, "-out", "self.pem");
    return {
        ca: at("ca.pem"),
        self: read("self"),
        good: signed("good", RIGHT),
        host: signed("host", "DNS:elsewhere.example,IP:127.0.0.9"),
        expired: signed("expired", RIGHT, "-days", "-1"),
    };
}
