/* SPDX-License-Identifier: MIT */
/*
 * Configuration as a user meets it: --check-config, --print-config, the order of the sources.
 */
import assert from "node:assert/strict";

import { run, test, yaml } from "./lib/proxy.mjs";

const check = (config, more = {}) => run(["--check-config"], { config, ...more });

/* Each faulty line carries its key, and what the report must say about it. */
const FAULTY = `\
hosst: 127.0.0.1                 # 1: no such key
port: 70000                      # 2: out of range
disable_auth: perhaps            # 3: wrong type
proxy_timeout: 5 parsecs         # 4: no duration
body_bytes_max: 10 KiBB          # 5: no size
logging:
  levle: info                    # 6: no such key, one level down
  level: loud                    # 7: no such value
drain_timeout: 20
drain_timeout: 30                # 8: a key twice
backends:
  nameless:                      # 9: neither a vendor's name nor a protocol
    api_url: http://127.0.0.1:9/v1
    api_keys: [k]
  misspelt:
    protocol: openai-chatt       # 10: no such protocol
    api_url: http://127.0.0.1:9/v1
    api_keys: [k]
`;
const FAULTS = [
    [1, "hosst", /\bhost\b/], [2, "port", /70000|65535|range/],
    [3, "disable_auth", /true|false|bool|flag|yes/i], [4, "proxy_timeout", /duration|parsecs/i],
    [5, "body_bytes_max", /size|KiB/i], [7, "levle", /level/], [8, "level", /loud|debug/i],
    [10, "drain_timeout", /twice|duplicate|again|already/i], [12, "nameless", /protocol/],
    [16, "protocol", /openai-chat\b/],
];

test("config: ten different faults are all named, each with line, column and key", async () => {
    const { code, all } = await check(FAULTY);
    assert.equal(code, 1, all);
    const lines = FAULTY.split("\n");
    const found = all.split("\n").map((text) => ({ text,
        m: /config\.yaml:(\d+):(\d+): /.exec(text) })).filter(({ m }) => m);
    for (const [line, key, says] of FAULTS) {
        const here = found.filter(({ m }) => Number(m[1]) === line ||
            (key === "nameless" && [12, 13].includes(Number(m[1]))));
        assert.equal(here.length, 1, `line ${line} (${key}) must be named once:\n${all}`);
        const [{ text, m }] = here;
        assert.match(text, new RegExp(`\\b${key}\\b`), text);
        assert.match(text, says, text);
        const source = lines[Number(m[1]) - 1];
        const of_key = source.search(/\S/) + 1;
        const of_value = source.indexOf(":") + 1 + source.slice(source.indexOf(":") + 1)
            .search(/\S/) + 1;
        assert.ok([of_key, of_value].includes(Number(m[2])),
            `column ${m[2]} is neither the key's (${of_key}) nor the value's (${of_value})`);
    }
    const errors = found.filter(({ text }) => !/: warning: /.test(text));
    assert.equal(errors.length, FAULTS.length, `nothing else is a fault:\n${all}`);
});

test("config: an unknown key is answered with the nearest valid one", async () => {
    for (const [wrong, right] of [["prot", "port"], ["proxy_timout", "proxy_timeout"],
        ["body-bytes-max", "body_bytes_max"]]) {
        const { code, all } = await check(`${wrong}: 1\n`);
        assert.equal(code, 1);
        assert.match(all, new RegExp(`config\\.yaml:1:1: .*\\b${wrong}\\b.*\\b${right}\\b`));
    }
});

test("config: what is no YAML at all is one fault with its place", async () => {
    for (const [text, line] of [["port: [1, 2\nhost: x\n", 2], ["a: b: c\n", 1],
        ["port: 1\n\thost: x\n", 2], ["- port\n", 1]]) {
        const { code, all } = await check(text);
        assert.equal(code, 1, all);
        const m = /config\.yaml:(\d+):(\d+): /.exec(all);
        assert.ok(m, all);
        assert.ok(Math.abs(Number(m[1]) - line) <= 1, `line ${m[1]} for ${JSON.stringify(text)}`);
    }
});

test("config: faults stop the start, too: nothing listens with half a configuration", async () => {
    const { code, all } = await run([], { config: FAULTY });
    assert.notEqual(code, 0);
    assert.match(all, /config\.yaml:1:1: /);
    assert.match(all, /config\.yaml:16:/);
});

test("config: a file that is not there is named", async () => {
    const { code, all } = await run(["--check-config", "--config", "missing.yaml"]);
    assert.equal(code, 1);
    assert.match(all, /missing\.yaml/);
});

test("config: a file of certificates that holds none is a fault of whoever is trusted by it",
    async () => {
        const up = (scheme, more) => ({ protocol: "openai-chat", api_url: `${scheme}://h/v1`,
            api_keys: ["k"], ...more });
        const config = yaml({ https_proxy: "https://p", backends: {
            bad: up("https", { ca_file: "config.yaml" }), plain: up("http"),
            unverified: up("https", { tls_verify: false }), environment: up("https") } });
        const env = { SSL_CERT_FILE: "/nonexistent/ca.pem" };
        const { code, all } = await run(["--check-config"], { config, env });
        assert.equal(code, 1, all);
        assert.match(all, /config\.yaml:3:3: error: backends\.bad: [^\n]*"config\.yaml"/);
        assert.match(all, /error: backends\.environment: [^\n]*"\/nonexistent\/ca\.pem"/);
        assert.match(all, /error: proxies: [^\n]*"\/nonexistent\/ca\.pem"/);
        assert.match(all, /^3 faults$/m);
        const trusting = await run(["--check-config"], { config: config.replace(/ca_file.*/, "") });
        assert.equal(trusting.code, 0, trusting.all);
    });

test("config: a good one is good, with every kind of value", async () => {
    const { code, all } = await check(yaml({ host: "127.0.0.1", port: 8123, workers: 2,
        proxy_timeout: 1.5, connect_timeout: "250ms", keepalive_timeout: "2m",
        body_bytes_max: "1 MiB", header_bytes_max: 16384, disable_auth: false,
        api_keys: ["k1", "k2"], logging: { level: "DEBUG" },
        backends: { mine: { protocol: "openai-chat", api_url: "http://127.0.0.1:9/v1",
            api_keys: { first: "a", second: "b" } },
        one: { protocol: "openai-chat", base_url: "http://127.0.0.1:9", api_key: "c" },
        openai: { api_keys: ["d"] }, other: { type: "openai", api_key: "e" } },
        default_backend: "mine" }) + "tls_verify: true\n");
    assert.equal(code, 0, all);
    assert.doesNotMatch(all, /error/i);
});

test("config: an option of a later feature is checked, named in a warning, and no fault",
    async () => {
        const { code, all } = await check("response_cache: {enabled: true, ttl: 60}\n" +
            "loop_detection: {enabled: true}\nport: 8123\n");
        assert.equal(code, 0, all);
        assert.match(all, /warning.*response_cache/i);
        assert.match(all, /loop_detection/);
        const wrong = await check("response_cache: {enabled: [1]}\n");
        assert.equal(wrong.code, 1, "its type is checked all the same");
    });

test("config: a key with blanks or quotes around it is refused: Invalid API key format",
    async () => {
        for (const key of [" sk-abc", "sk-abc ", "'sk-abc'", "\"sk-abc\"", "sk-abc\n"]) {
            for (const config of [{ api_keys: [key] }, { backends: { openai: {
                api_keys: [key] } } }]) {
                const { code, all } = await check(yaml(config));
                assert.equal(code, 1, JSON.stringify(config));
                assert.match(all, /Invalid API key format/);
                assert.ok(!all.includes("sk-abc"), "the key itself is shown");
            }
            const { code, all } = await check("port: 8123\n", { env: { OPENAI_API_KEY: key } });
            assert.equal(code, 1, JSON.stringify(key));
            assert.match(all, /Invalid API key format/);
            assert.match(all, /OPENAI_API_KEY/);
        }
    });

/* The line of --print-config that shows this option. */
async function printed(option, args, options) {
    const { code, stdout, all } = await run(["--print-config", ...args], options);
    assert.equal(code, 0, all);
    const line = stdout.split("\n").find((text) => new RegExp(`^\\s*${option}\\b`).test(text));
    assert.ok(line, `${option} is not printed:\n${stdout}`);
    return line;
}

test("config: the sources' order: command line, environment, .env, file, default", async () => {
    const file = { config: "port: 8101\n" };
    const dotenv = { ...file, files: { ".env": "# comment\n\nPROXY_PORT=8102\n" } };
    const env = { ...dotenv, env: { PROXY_PORT: "8103" } };
    for (const [args, options, value, origin] of [
        [["--port", "8104"], env, "8104", /command line/i],
        [[], env, "8103", /environment.*PROXY_PORT|PROXY_PORT.*environment/i],
        [[], dotenv, "8102", /\.env/],
        [[], file, "8101", /config\.yaml:1/],
        [[], { config: "host: 127.0.0.1\n" }, "8000", /default/],
    ]) {
        const line = await printed("port", args, options);
        assert.match(line, new RegExp(`\\b${value}\\b`));
        assert.match(line, origin);
    }
});

test("config: --print-config never shows a key", async () => {
    const { code, all } = await run(["--print-config"], {
        config: "api_keys: [client-secret-1]\nbackends:\n  openai:\n    api_keys: [sk-secret-2]\n",
        env: { OPENAI_API_KEY_1: "sk-secret-3", API_KEYS: "client-secret-4" } });
    assert.equal(code, 0, all);
    assert.doesNotMatch(all, /secret/);
});

test("config: ${NAME} and ${NAME:-default} are replaced from the environment", async () => {
    const config = "data_dir: ${WHERE}/x\nhost: ${BIND:-127.0.0.2}\n";
    const env = { WHERE: "/tmp/there" };
    assert.match(await printed("data_dir", [], { config, env }), /\/tmp\/there\/x/);
    assert.match(await printed("host", [], { config, env }), /127\.0\.0\.2/);
    assert.match(await printed("host", [], { config, env: { ...env, BIND: "127.0.0.3" } }),
        /127\.0\.0\.3/);
});

test("config: environment variables of the contract reach their options", async () => {
    const env = { PROXY_HOST: "127.0.0.4", PROXY_TIMEOUT: "77", LLM_BACKEND: "openai",
        OPENAI_API_KEY: "sk-x", LOG_LEVEL: "warning" };
    const options = { config: null, env };
    assert.match(await printed("host", [], options), /127\.0\.0\.4/);
    assert.match(await printed("proxy_timeout", [], options), /77/);
    assert.match(await printed("default_backend", [], options), /openai/);
});

test("config: --version, --help, and an unknown argument", async () => {
    const version = await run(["--version"]);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /llm-proxy \d+\.\d+\.\d+/);
    const help = await run(["--help"]);
    assert.equal(help.code, 0);
    for (const option of ["--config", "--port", "--check-config", "--print-config", "--demo"]) {
        assert.ok(help.stdout.includes(option), option);
    }
    const wrong = await run(["--prot", "1"]);
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stderr, /--prot/);
});

test("config: --manual config documents every option that --print-config prints", async () => {
    const manual = await run(["--manual", "config"]);
    assert.equal(manual.code, 0);
    for (const option of ["port", "proxy_timeout", "body_bytes_max", "json_depth_max",
        "upstream_connections_max", "tls_verify"]) {
        assert.match(manual.stdout, new RegExp(`\\b${option}\\b`));
    }
    const none = await run(["--manual", "nothing"]);
    assert.notEqual(none.code, 0);
});
