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
 * Makes in `dir`: ca.pem; good (localhost, 127.0.0.1), host (another name), openai
 * (api.openai.com), expired, future (not valid yet), all signed by it; deep (signed by an intermediate CA, whose certificate is not shown),
 * chain (the same with it); self (self-signed, right names); foreign (signed by a CA that is not
 * ca.pem). hashed: a directory as SSL_CERT_DIR names it, with ca.pem. Returns {ca, hashed, good:
 * {key, cert}, …}, ca and hashed as paths.
 */
export function make(dir) {
    const at = (name) => path.join(dir, name);
    const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
    const key = (name) => openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
        "-out", `${name}.key`);
    const read = (name) => ({ key: fs.readFileSync(at(`${name}.key`)),
        cert: fs.readFileSync(at(`${name}.pem`)) });
    const RIGHT = "DNS:localhost,IP:127.0.0.1";

    const authority = (name) => {
        key(name);
        openssl("req", "-x509", "-new", "-key", `${name}.key`, "-sha256", "-days", "2", "-subj",
            `/CN=Test ${name}`, "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign", "-out", `${name}.pem`);
    };
    const asked = (name, extensions) => {
        key(name);
        fs.writeFileSync(at(`${name}.ext`), extensions);
        openssl("req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-out",
            `${name}.csr`);
    };
    const LEAF = "extendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n";
    const signed = (name, names, { ca = "ca", days = "2", extensions = LEAF } = {}) => {
        asked(name, (names ? `subjectAltName=${names}\n` : "") + extensions);
        openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${ca}.pem`, "-CAkey", `${ca}.key`,
            "-CAcreateserial", "-sha256", "-extfile", `${name}.ext`, "-out", `${name}.pem`,
            "-days", days);
        return read(name);
    };
    /* `openssl x509` of OpenSSL 3.0 makes no certificate that begins later. */
    const later = (name, names) => {
        asked(name, `subjectAltName=${names}\n${LEAF}`);
        fs.writeFileSync(at("index.txt"), "");
        fs.writeFileSync(at("later.cnf"), `[ca]\ndefault_ca=d\n[d]\ndatabase=${at("index.txt")}\n` +
            `new_certs_dir=${dir}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n` +
            "[p]\ncommonName=supplied\n");
        openssl("ca", "-batch", "-config", "later.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
            "-in", `${name}.csr`, "-extfile", `${name}.ext`, "-out", `${name}.pem`, "-notext",
            "-startdate", "20490101000000Z", "-enddate", "20490201000000Z");
        return read(name);
    };
    authority("ca");
    authority("unknown");
    key("self");
    openssl("req", "-x509", "-new", "-key", "self.key", "-sha256", "-days", "2", "-subj",
        "/CN=localhost", "-addext", `subjectAltName=${RIGHT}`, "-out", "self.pem");
    const middle = signed("middle", null,
        { extensions: "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n" });
    const deep = signed("deep", RIGHT, { ca: "middle" });
    const hash = openssl("x509", "-in", "ca.pem", "-noout", "-subject_hash").toString().trim();
    fs.mkdirSync(at("hashed"));
    fs.symlinkSync(at("ca.pem"), at(`hashed/${hash}.0`));
    return {
        ca: at("ca.pem"),
        hashed: at("hashed"),
        self: read("self"),
        good: signed("good", RIGHT),
        host: signed("host", "DNS:elsewhere.example,IP:127.0.0.9"),
        openai: signed("openai", "DNS:api.openai.com"),
        expired: signed("expired", RIGHT, { days: "-1" }),
        future: later("future", RIGHT),
        foreign: signed("foreign", RIGHT, { ca: "unknown" }),
        deep,
        chain: { key: deep.key, cert: Buffer.concat([deep.cert, middle.cert]) },
    };
}
