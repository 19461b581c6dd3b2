/* SPDX-License-Identifier: MIT */
/*
 * Sessions: whose they are, how long they last, and what many requests at once make of them.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { Scene, body_of, each_way, model_asked } from "./lib/chats.mjs";
import { Client, now } from "./lib/http1.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { KEY, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";
import { random } from "./lib/random.mjs";

const KEYS = [{ name: "boss", key: KEY, admin: true }, { name: "one", key: "key-of-one-1" },
    { name: "two", key: "key-of-two-1" }];
const as = (key) => ({ Authorization: `Bearer ${key}` });

const scene = await Scene.start({ config: { workers: 2, api_keys: KEYS } });
const scenes = [scene];
after(() => stop_all(...scenes));

async function scene_with(options) {
    const one = await Scene.start(options);
    scenes.push(one);
    return one;
}

const temperature = (up) => up.json.temperature ?? up.json.generationConfig?.temperature;

/* ---- Ids ---- */

const UUID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
const SOURCES = [
    ["the header x-session-id", NAMES, (id) => ({ headers: { "x-session-id": id } }), "by-header"],
    ["the body's session_id", NAMES, (id) => ({ more: { session_id: id } }), "by-body"],
    ["the cookie session_id", NAMES, (id) => ({ headers: { cookie: `a=b; session_id=${id}; c=d` } }),
        "by-cookie"],
    ["the header session_id", NAMES, (id) => ({ headers: { session_id: id } }), "by-agent"],
    ["the header session-id", NAMES, (id) => ({ headers: { "session-id": id } }), "by-agent-2"],
    ["the header conversation_id", NAMES, (id) => ({ headers: { conversation_id: id } }),
        "by-agent-3"],
    ["a UUID in metadata.user_id", ["anthropic"], (id) => ({ more: { metadata: {
        user_id: `user_0123abcd_account__session_${id}` } } }), UUID],
    ["Claude Code's metadata.user_id", ["anthropic"], (id) => ({ more: { metadata: {
        user_id: JSON.stringify({ device_id: "0123", account_uuid: "", session_id: id }) } } }),
    UUID.replace("0190", "0191")],
    ["a UUID in prompt_cache_key", ["openai-chat", "openai-responses"], (id) => ({ more: {
        prompt_cache_key: id } }), UUID.replace("0190", "0192")],
];

for (const [what, protocols, options_of, id] of SOURCES) {
    test(`id: ${what}`, async () => {
        for (const protocol of protocols) {
            const options = options_of(`${id}`);
            await scene.command(protocol, "!/set(temperature=0.2)", "Temperature set to 0.2",
                options);
            const up = await scene.prompt(protocol, "Another talk", options);
            assert.equal(temperature(up), 0.2);
            assert.equal(up.got.answer.get("x-session-id"), id);
            assert.equal("session_id" in up.json, false);
            await scene.command(protocol, "!/unset(temperature)", undefined, options);
        }
    });
}

test("id: what is no UUID does not count, and the order is kept", async () => {
    const ids = (got) => got.answer.get("x-session-id");
    const { got } = await scene.prompt("anthropic", "Hi",
        { more: { metadata: { user_id: "user-17" } } });
    assert.notEqual(ids(got), "user-17");
    const order = await scene.prompt("openai-chat", "Hi", { more: { session_id: "second",
        prompt_cache_key: UUID }, headers: { "x-session-id": "first", cookie: "session_id=third",
        session_id: "fourth" } });
    assert.equal(ids(order.got), "first");
    const next = await scene.prompt("openai-chat", "Hi", { more: { session_id: "second" },
        headers: { cookie: "session_id=third", session_id: "fourth" } });
    assert.equal(ids(next.got), "second");
    const third = await scene.prompt("openai-chat", "Hi", {
        headers: { cookie: "session_id=third", session_id: "fourth" } });
    assert.equal(ids(third.got), "third");
});

test("id: odd ones are replaced by a digest, the same each time", async () => {
    const seen = new Set();
    for (const odd of ["with blank", "a/b", "x".repeat(129), "x".repeat(3000), "ä".normalize(),
        "\"quoted\"", "a;b"]) {
        const headers = { "x-session-id": Buffer.from(odd).toString("latin1") };
        const { answer } = await scene.command("openai-chat", "!/set(temperature=0.2)", undefined,
            { headers });
        const id = answer.get("x-session-id");
        assert.match(id, /^[0-9a-f]{32}$/);
        const up = await scene.prompt("openai-chat", "Hi", { headers });
        assert.equal(temperature(up), 0.2);
        assert.equal(up.got.answer.get("x-session-id"), id);
        seen.add(id);
    }
    assert.equal(seen.size, 7);
    for (const good of ["x".repeat(128), "a.b_c:d-e", "0"]) {
        const { got } = await scene.prompt("openai-chat", "Hi", { session: good });
        assert.equal(got.answer.get("x-session-id"), good);
    }
});

test("id: previous_response_id leads to the session that made it", async () => {
    const first = await scene.command("openai-responses", "!/set(temperature=0.2)", undefined,
        { session: "of-a-chain" });
    assert.equal(first.answer.get("x-session-id"), "of-a-chain");
    /* A response that is kept here: of a backend of another protocol. */
    const made = await scene.prompt("openai-responses", "Hello", { session: "of-a-chain",
        to: "openai-chat", more: { store: true } });
    const next = await scene.prompt("openai-responses", "And now?", { to: "openai-chat",
        more: { previous_response_id: made.got.id } });
    assert.equal(next.got.answer.get("x-session-id"), "of-a-chain");
    assert.equal(temperature(next), 0.2);
});

/* ---- Whose ---- */

test("two clients with the same id never meet", () => each_way(async (protocol, stream) => {
    const session = `shared-${protocol}-${stream}`;
    const [one, two] = ["key-of-one-1", "key-of-two-1"].map((key) => ({ session, stream,
        headers: as(key) }));
    await scene.command(protocol, "!/set(temperature=0.1, project=mine)", undefined, one);
    assert.equal(temperature(await scene.prompt(protocol, "Hi", two)), undefined);
    await scene.command(protocol, "!/set(temperature=0.9)", undefined, two);
    assert.equal(temperature(await scene.prompt(protocol, "Hi", one)), 0.1);
    assert.equal(temperature(await scene.prompt(protocol, "Hi", two)), 0.9);
    const view = async (key) => scene.session(session, { headers: as(key) });
    assert.match((await view("key-of-one-1")).text, /"mine"/);
    assert.doesNotMatch((await view("key-of-two-1")).text, /"mine"/);
    const list = (await scene.proxy.call({ method: "GET", path: "/v2/sessions",
        headers: as("key-of-two-1") }));
    assert.equal(list.status, 200, list.text);
    assert.doesNotMatch(list.text, /"mine"/);
    assert.match(list.text, new RegExp(session));
}));

test("GET and DELETE /v2/sessions/{id}: one's own; an admin sees all", async () => {
    const session = "to-be-forgotten";
    const options = { session, headers: as("key-of-one-1") };
    await scene.command("openai-chat", "!/set(temperature=0.1)", undefined, options);
    const answer = (method, key) => scene.proxy.call({ method, path: `/v2/sessions/${session}`,
        headers: as(key) });
    assert.equal((await answer("GET", "key-of-two-1")).status, 404);
    assert.equal((await answer("DELETE", "key-of-two-1")).status, 404);
    assert.equal(temperature(await scene.prompt("openai-chat", "Hi", options)), 0.1);
    assert.match((await scene.proxy.call({ method: "GET", path: "/v2/sessions" })).text,
        /to-be-forgotten/);
    const gone = await answer("DELETE", "key-of-one-1");
    assert.ok(gone.status === 200 || gone.status === 204, gone.text);
    assert.equal((await answer("GET", "key-of-one-1")).status, 404);
    assert.equal(temperature(await scene.prompt("openai-chat", "Hi", options)), undefined);
});

test("history: what the session did, at most max_history_items", async () => {
    const short = await scene_with({ config: { session: { max_history_items: 3 } } });
    const options = { session: "abc" };
    await short.command("openai-chat", "!/set(project=p)", undefined, options);
    await short.proxy.counted(); /* in this order, whichever workers they go to */
    await short.prompt("openai-chat", "A question", options);
    const items = async () => {
        const { json } = await short.session("abc");
        return json.history;
    };
    const two = await items();
    assert.deepEqual(two.map((item) => item.handler), ["proxy", "backend"]);
    assert.match(JSON.stringify(two[1]), /A question.*Hello from m1|Hello from m1.*A question/);
    assert.match(JSON.stringify(two[1]), /"p"/);
    for (let i = 0; i < 5; i++) {
        await short.proxy.counted();
        await short.prompt("openai-chat", `Question ${i}`, { ...options, stream: i % 2 === 1 });
    }
    const last = await items();
    assert.equal(last.length, 3);
    assert.match(JSON.stringify(last[2]), /Question 4/);
    assert.doesNotMatch(JSON.stringify(last), /Question 1/);
});

test("a failure of the backend leaves nothing behind in the session", () =>
    each_way(async (protocol, stream) => {
        const options = { session: `failed-${protocol}-${stream}`, stream };
        await scene.command(protocol, "!/set(temperature=0.2)", undefined, options);
        for (const status of [404, 422, 400]) {
            scene.mock.next((ex) => ex.json_answer({ error: { message: "no such model",
                type: "not_found_error", code: status, status: "NOT_FOUND" } }, { status }));
            const failed = await scene.say(protocol, "Hi", options);
            assert.ok(failed.status >= 400, failed.answer.text);
            const up = await scene.prompt(protocol, "Hi", options);
            assert.equal(temperature(up), 0.2);
            assert.equal(model_asked(up), "m1");
        }
    }));

/* ---- Fingerprints ---- */

test("a chat without any header keeps its settings, others do not get them", () =>
    each_way(async (protocol, stream) => {
        const system = { system: `You are ${protocol} ${stream}.` };
        const first = { user: `Hello, I am ${protocol} ${stream} !/set(temperature=0.2)` };
        const options = { stream };
        const one = await scene.prompt(protocol, [system, first], options);
        assert.equal(temperature(one), 0.2);
        const id = one.got.answer.get("x-session-id");
        assert.match(id, /^fp-[0-9a-f]{32}$/);
        const turns = [system, first, { assistant: one.got.text }];
        for (const text of ["Go on", "And further"]) {
            turns.push({ user: text });
            const up = await scene.prompt(protocol, turns, options);
            assert.equal(temperature(up), 0.2);
            assert.equal(up.got.answer.get("x-session-id"), id);
            turns.push({ assistant: up.got.text });
        }
        await scene.command(protocol, [...turns, { user: "!/set(temperature=0.4)" }],
            "Temperature set to 0.4", options);
        assert.equal(temperature(await scene.prompt(protocol, [...turns,
            { user: "!/set(temperature=0.4)" }, { assistant: "Temperature set to 0.4" },
            { user: "So" }], options)), 0.4);
        for (const changed of [[{ system: "Another." }, ...turns.slice(1)],
            [system, { user: "Another beginning" }, ...turns.slice(2)]]) {
            const up = await scene.prompt(protocol, [...changed, { user: "Hm" }], options);
            assert.equal(temperature(up), undefined);
            assert.notEqual(up.got.answer.get("x-session-id"), id);
        }
        const anew = await scene.prompt(protocol, [system, { user: first.user.split(" !/")[0] }],
            options);
        assert.equal(temperature(anew), undefined);
    }));

test("a request without any assistant turn begins its fingerprint's session anew", async () => {
    for (const protocol of NAMES) {
        const first = { user: "Say the same !/set(temperature=0.2)" };
        const begun = [{ system: `Anew ${protocol}` }, first];
        assert.equal(temperature(await scene.prompt(protocol, begun)), 0.2);
        await scene.command(protocol, [...begun, { assistant: "x" },
            { user: "!/set(project=p, model=an:other)" }], undefined);
        assert.equal(model_asked(await scene.prompt(protocol, [...begun, { assistant: "x" },
            { user: "?" }])), "other");
        const up = await scene.prompt(protocol, begun);
        assert.equal(temperature(up), 0.2);
        assert.equal(model_asked(up), "m1", "the old one's model");
    }
});

test("continuity: none: each request without an id is its own", async () => {
    const none = await scene_with({ config: { session: { continuity: "none" } } });
    for (const protocol of NAMES) {
        const turns = [{ user: "Hi !/set(temperature=0.2)" }];
        const first = await none.prompt(protocol, turns);
        assert.equal(temperature(first), 0.2);
        const up = await none.prompt(protocol, [...turns, { assistant: "x" }, { user: "And?" }]);
        assert.equal(temperature(up), undefined);
        assert.notEqual(up.got.answer.get("x-session-id"), first.got.answer.get("x-session-id"));
        assert.doesNotMatch(up.got.answer.get("x-session-id"), /^fp-/);
    }
});

/* ---- Many at once ---- */

/** Requests of one session over several connections at a time. */
async function storm(proxy, jobs, connections = 8) {
    const queue = [...jobs];
    const answers = [];
    await Promise.all(Array.from({ length: connections }, async () => {
        const client = await Client.connect(proxy.port);
        try {
            while (queue.length > 0) {
                const { protocol, model, session, turns } = queue.shift();
                client.send({ path: PROTOCOLS[protocol].path(model, { stream: false }),
                    headers: proxy.headers({ "x-session-id": session }),
                    body: JSON.stringify(body_of(protocol, turns, protocol === "gemini" ? {} :
                        { model })) });
                const answer = await client.response();
                assert.equal(answer.status, 200, answer.text);
                answers.push(answer);
            }
        } finally {
            client.destroy();
        }
    }));
    return answers;
}

for (const repository of ["in_memory", "file"]) {
    test(`${repository}: concurrent commands and requests of one session: whole states, none ` +
        "lost", async () => {
        const own = await scene_with({ config: { workers: 2, session: { repository,
            file_path: temp_dir() } } });
        const rng = random(repository);
        const session = "crowded";
        /* A state is whole when its parts are of one command: temperature n/1000, project pn. */
        const jobs = [];
        for (let n = 1; n <= 300; n++) {
            const protocol = NAMES[n % 4];
            const model = `${PROTOCOLS[protocol].short}:m1`;
            jobs.push({ protocol, model, session, turns: [{ user: rng.below(2) === 0 ? "Hi" :
                `!/set(temperature=0.${String(n).padStart(3, "0")}9, model=${
                    PROTOCOLS[rng.pick(NAMES)].short}:model-${n})` }] });
        }
        const ups = await own.asked(() => storm(own.proxy, jobs));
        assert.equal(ups.length, jobs.filter((job) => job.turns[0].user === "Hi").length);
        for (const up of ups) {
            const n = /^model-(\d+)$/.exec(model_asked(up))?.[1];
            const value = temperature(up);
            assert.equal(value, n === undefined ? undefined :
                Number(`0.${n.padStart(3, "0")}9`), "a state of two commands");
        }
        /* Each its own key: none is lost, in whatever order they came. */
        const keys = ["project=together", "temperature=0.5", "reasoning-effort=low",
            "thinking-budget=2000", "tool-loop-ttl=77", "tool-loop-max-repeats=5",
            "interactive=false", "model=an:last"];
        for (let round = 0; round < 5; round++) {
            const id = `each-${round}`;
            await storm(own.proxy, keys.map((key) => ({ protocol: "openai-chat", model: "oc:m1",
                session: id, turns: [{ user: `!/set(${key})` }] })));
            const { json, text } = await own.session(id);
            for (const part of ["together", "0.5", "low", "2000", "77", "last"]) {
                assert.ok(JSON.stringify(json.settings ?? json).includes(part),
                    `${part} is lost: ${text}`);
            }
        }
    });
}

/* ---- How long ---- */

for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`file: settings are there again after ${signal}`, async () => {
        const first = await Scene.start({ config: { session: { repository: "file",
            file_path: "./data/sessions" } } });
        const copy = temp_dir();
        try {
            for (const [i, protocol] of NAMES.entries()) {
                await first.command(protocol, `!/set(temperature=0.${i + 1}, project="p ${i}", ` +
                    "model=an:kept)", undefined, { session: `kept-${i}`, stream: i % 2 === 1 });
                await first.command(protocol, "!/oneoff(ge:once)", undefined,
                    { session: `kept-${i}` });
            }
            await first.command("openai-chat", [{ system: "FP" }, { user: "One" },
                { assistant: "1" }, { user: "!/set(temperature=0.7)" }]);
            process.kill(first.proxy.pid, signal);
            await first.proxy.exited;
            fs.cpSync(first.proxy.dir, copy, { recursive: true });
            if (signal === "SIGTERM") {
                await first.proxy.stop();
            } else {
                first.proxy.abandon();
            }
            first.proxy = await start({ dir: copy });
            for (const [i, protocol] of NAMES.entries()) {
                const session = `kept-${i}`;
                const once = await first.prompt(protocol, "Hi", { session });
                assert.equal(model_asked(once), "once");
                const up = await first.prompt(protocol, "Hi", { session });
                assert.equal(temperature(up), Number(`0.${i + 1}`));
                assert.equal(model_asked(up), "kept");
                assert.match((await first.session(session)).text, new RegExp(`"p ${i}"`));
            }
            assert.equal(temperature(await first.prompt("openai-chat", [{ system: "FP" },
                { user: "One" }, { assistant: "1" }, { user: "And?" }])), 0.7);
        } finally {
            await first.stop();
        }
    });
}

const KEEPING = { config: { session: { repository: "file", file_path: "./kept" } } };
const database_of = (dir) => fs.readdirSync(path.join(dir, "kept")).map((name) =>
    path.join(dir, "kept", name)).filter((name) => !/-(wal|shm|journal)$|lock/.test(name))
    .sort((a, b) => fs.statSync(b).size - fs.statSync(a).size)[0];

test("file: a damaged database is set aside with a word in the log, and never overwritten",
    async () => {
        const first = await Scene.start(KEEPING);
        const copy = temp_dir();
        try {
            await first.command("openai-chat", "!/set(temperature=0.2)", undefined,
                { session: "s" });
            process.kill(first.proxy.pid, "SIGTERM");
            await first.proxy.exited;
            fs.cpSync(first.proxy.dir, copy, { recursive: true });
            await first.proxy.stop();
            const file = database_of(copy);
            const garbage = Buffer.from("This is no database. ".repeat(1000));
            fs.writeFileSync(file, garbage);
            for (const left of fs.readdirSync(path.dirname(file))) {
                if (/-(wal|shm)$/.test(left)) {
                    fs.rmSync(path.join(path.dirname(file), left));
                }
            }
            first.proxy = await start({ dir: copy });
            await first.proxy.logged(/kept.*(damaged|set aside|not a database)|(damaged|aside).*kept/i);
            const aside = fs.readdirSync(path.dirname(file)).map((name) =>
                fs.readFileSync(path.join(path.dirname(file), name)));
            assert.ok(aside.some((bytes) => bytes.equals(garbage)), "it was overwritten");
            assert.equal(temperature(await first.prompt("openai-chat", "Hi", { session: "s" })),
                undefined);
            await first.command("openai-chat", "!/set(temperature=0.3)", undefined,
                { session: "s" });
        } finally {
            await first.stop();
        }
    });

test("file: a second process does not take the same database", async () => {
    const folder = temp_dir();
    const config = { session: { repository: "file", file_path: folder } };
    await scene_with({ config });
    await assert.rejects(Scene.start({ config }), /(another process|in use|locked)/i);
});

test("in_memory: nothing is written, and a restart begins anew", async () => {
    const first = await Scene.start({ config: { session: { file_path: "./kept" } } });
    try {
        await first.command("openai-chat", "!/set(temperature=0.2)", undefined, { session: "s" });
        assert.equal(fs.existsSync(path.join(first.proxy.dir, "kept")), false);
    } finally {
        await first.stop();
    }
});

test("idle sessions end after expiry_seconds; use keeps them", async () => {
    for (const repository of ["in_memory", "file"]) {
        const brief = await scene_with({ config: { session: { expiry_seconds: "1s", repository,
            file_path: "./s" } } });
        await brief.command("openai-chat", "!/set(temperature=0.2)", undefined,
            { session: "idle" });
        const begun = now();
        let value = 0.2;
        /* Asked again and again it stays: the clock of the one that nobody asks for runs on. */
        while (now() - begun < 1500) {
            await brief.prompt("openai-chat", "Hi", { session: "busy" });
            await new Promise((wake) => setTimeout(wake, 50));
        }
        value = temperature(await brief.prompt("openai-chat", "Hi", { session: "idle" }));
        assert.equal(value, undefined, repository);
    }
});

test("at most max_sessions: the idlest leave first", async () => {
    const few = await scene_with({ config: { workers: 1, session: { max_sessions: 64 } } });
    for (let i = 0; i < 400; i++) {
        assert.equal((await few.say("openai-chat", "!/set(temperature=0.2)",
            { session: `s${i}` })).text, "Temperature set to 0.2");
    }
    const { text } = await few.proxy.call({ method: "GET", path: "/v2/sessions" });
    assert.ok((text.match(/"s\d+"/g) ?? []).length <= 64 * 2, text.slice(0, 300));
    assert.equal(temperature(await few.prompt("openai-chat", "Hi", { session: "s399" })), 0.2);
    assert.equal(temperature(await few.prompt("openai-chat", "Hi", { session: "s0" })), undefined);
});
