/* SPDX-License-Identifier: MIT */
/*
 * Every recorded Chat Completions answer of a vendor, through a backend of that vendor's type, to a
 * client of the same protocol: the bytes that came, but where such a client would misread them.
 * Those are listed here with the reason; they are right by the checker and the schema, and say what
 * the recording says.
 *
 * RECORDING=12    only the one in this line
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { parse, write } from "./lib/exact.mjs";
import { Mock } from "./lib/mock.mjs";
import { ROOT, run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { SEED, random } from "./lib/random.mjs";
import { read_answer, values_of } from "./lib/read.mjs";
import { violation } from "./lib/schemas.mjs";

const SHARED = path.join(ROOT, "../shared/recordings/shared.jsonl");
const absent = fs.existsSync(SHARED) ? false : "../shared/recordings is absent";
const ONLY = process.env.RECORDING;

/* Whose answers are recorded under another name, or come from a server of that make. */
const VENDOR = { moonshotai: "moonshot", alibaba: "qwen", gpustack: "vllm", crusoe: "vllm" };
const VENDORS = ["openai", "openrouter", "groq", "mistral", "deepseek", "xai", "together",
    "cerebras", "perplexity", "moonshot", "zai", "qwen", "huggingface", "azure", "ollama", "vllm"];

/* Lines of the recordings whose bytes change, and why. */
const THINK = "its text begins with <think> (think_tags): told as reasoning";
const MENDED = new Map(Object.entries({
    [THINK]: [478, 507, 509],
    "content is a list of parts": [519, 521, 522, 525, 531, 537, 538, 539],
    "calls without number or type": [518, 544],
    "no role in the first chunk": [472, 480, 524],
    "cached tokens where only this vendor's clients look": [541, 542],
    "no finish_reason": [913],
    "finish_reason eos": [967],
    "an empty list of calls": [963, 965, 966],
    "completion_tokens are without reasoning_tokens": [997, 998, 999, 1000, 1001],
    "no object": [545],
}).flatMap(([why, lines]) => lines.map((line) => [line, why])));
/* What clients do not mind, and so stays as it came. */
const HARMLESS = [
    [/model and created stay the same/, "created counts on"],
    [/id is not empty and stays the same/, "an id for each chunk"],
    [/finish_reason/, "none in chunks that do not finish"],
];

const LIST = absent ? [] : fs.readFileSync(SHARED, "utf8").trimEnd().split("\n")
    .map((line, i) => ({ line: i + 1, ...JSON.parse(line) }))
    .filter((x) => x.api === "openai_chat" && (!ONLY || String(x.line) === ONLY))
    .map((x) => ({ ...x, vendor: VENDOR[x.provider] ?? x.provider }))
    .filter((x) => VENDORS.includes(x.vendor));

/* A key that is refused, or met its limit, cools down: those have backends of their own. */
const backend_of = (x) => x.status < 400 ? x.vendor : `${x.vendor}-${x.line}`;
const rng = random("vendor answers");
const by_model = new Map(LIST.map((x) => [`r${x.line}`, x]));
let mock;
let proxy;

before(async () => {
    const backends = {};
    mock = await Mock.start();
    mock.fallback = async (ex) => {
        const name = ex.json?.model ?? /deployments\/(r\d+)\//.exec(ex.target)?.[1];
        const x = by_model.get(name);
        await ex.respond({ status: x.status, headers: x.response_headers,
            body: Buffer.from(x.response_body), framing: "chunked", cuts: 5, rng });
    };
    for (const x of LIST) {
        backends[backend_of(x)] = { type: x.vendor, api_url: mock.url,
            api_keys: ["upstream-key-1"] };
    }
    proxy = await start({ config: { default_backend: "openai", retries: 0,
        backends: { openai: { api_url: mock.url, api_keys: ["upstream-key-1"] }, ...backends } } });
});

after(() => stop_all(proxy, mock));

async function ask(x) {
    const body = { model: `${backend_of(x)}:r${x.line}`, stream: x.stream,
        ...(x.stream ? { stream_options: { include_usage: true } } : {}),
        messages: [{ role: "user", content: "Hi" }] };
    return proxy.chat(JSON.stringify(body));
}

/** What the checker and the schema say of an answer, "" for nothing. */
async function complaints(x, got) {
    const dir = temp_dir();
    fs.writeFileSync(path.join(dir, "answer"), got.body);
    const { code, stdout } = await run(["lint-stream", "--protocol", "openai-chat",
        ...(x.stream ? [] : ["--whole"]), "answer"], { dir });
    fs.rmSync(dir, { recursive: true, force: true });
    const { values } = values_of(got.body, got.get("content-type") ?? "");
    const bad = values.map((value) => violation("openai-chat", x.stream ? "event" : "whole",
        JSON.parse(write(value)))).find((one) => one);
    return [code === 0 ? "" : stdout.trim(), bad ?? ""]
        .filter((why) => why !== "" && !HARMLESS.some(([pattern]) => pattern.test(why)))
        .join(", schema: ");
}

/** What stands in the tags at the beginning of a text. */
function untagged(x, reading) {
    const [all, reasoning] = MENDED.get(x.line) === THINK ?
        /^\s*<think>([^]*?)<\/think>/.exec(reading.text) : ["", ""];
    return { ...reading, text: reading.text.slice(all.length),
        reasoning: reading.reasoning + reasoning };
}

const PLAIN = (reading) => ({ text: reading.text.trim(), reasoning: reading.reasoning.trim(),
    tools: reading.tools.map(({ name, arguments: args }) => [name, write(parse(args || "{}"))]) });

test("vendor answers: every recording's bytes, but for those that a client would misread",
    { skip: absent }, async (t) => {
        const wrong = [];
        let raw = 0;
        for (const x of LIST) {
            const got = await ask(x);
            const label = `line ${x.line} (${x.vendor} ${x.model})`;
            const same = got.body.equals(Buffer.from(x.response_body));
            if (got.status !== x.status) {
                wrong.push(`${label}: status ${got.status}: ${got.text.slice(0, 200)}`);
            } else if (same === MENDED.has(x.line)) {
                wrong.push(`${label}: ${same ? "has not changed" : "has changed"}`);
            }
            raw += same ? 1 : 0;
            if (process.env.SEEN && !same) {
                fs.writeFileSync(path.join(process.env.SEEN, `${x.vendor}-${x.line}`), got.body);
            }
            if (same || got.status >= 400) {
                continue;
            }
            const why = await complaints(x, got);
            if (why !== "") {
                wrong.push(`${label}: ${why}`);
            }
            const type = got.get("content-type") ?? "";
            const came = PLAIN(untagged(x,
                read_answer("openai-chat", Buffer.from(x.response_body), type)));
            const went = PLAIN(read_answer("openai-chat", got.body, type));
            if (JSON.stringify(came) !== JSON.stringify(went)) {
                wrong.push(`${label}: ${JSON.stringify(came).slice(0, 300)} came, ${
                    JSON.stringify(went).slice(0, 300)} went`);
            }
        }
        t.diagnostic(`${LIST.length} answers, ${raw} of them byte for byte, SEED=${SEED}`);
        assert.equal(wrong.length, 0, wrong.join("\n"));
    });
