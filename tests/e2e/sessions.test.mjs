/* SPDX-License-Identifier: MIT */
/*
 * Sessions as HTTP shows them: which session an answer was of, what operators ask of them, and what
 * becomes of them when the disk, the process or the conversation does not go on as it should.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { Scene, ask, assert_by_proxy, body_of, other } from "./lib/chats.mjs";
import { now, request } from "./lib/http1.mjs";
import { NAMES, PROTOCOLS } from "./lib/protocols.mjs";
import { KEY, run, start, stop_all, temp_dir, test } from "./lib/proxy.mjs";

const KEYS = [{ name: "boss", key: KEY, admin: true }, { name: "one", key: "key-of-one-1" },
    { name: "two", key: "key-of-two-1" }];
const as = (key) => ({ Authorization: `Bearer ${key}` });
const LEGAL = /^[A-Za-z0-9._:-]{1,128}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const scene = await Scene.start({ config: { workers: 2, api_keys: KEYS, metrics_public: true,
    cors_origins: ["https://page.example"] } });
const scenes = [scene];
after(() => stop_all(...scenes));

async function scene_with(options) {
    const one = await Scene.start(options);
    scenes.push(one);
    return one;
}

const temperature = (up) => up.json.temperature ?? up.json.generationConfig?.temperature;
const id_of = (answer) => answer.get("x-session-id");

/* ---- Which session an answer was of ---- */

test("every answer that passed admission says its session: errors, lists, kept responses",
    async () => {
        const headers = { "x-session-id": "named" };
        const get = (target) => scene.proxy.call({ method: "GET", path: target, headers });
        for (const target of ["/v1/models", "/v1/models/oc:m1", "/v1/models/nobody",
            "/v1beta/models", "/v1/responses/resp_nobody"]) {
            assert.equal(id_of(await get(target)), "named", target);
        }
        for (const body of ["{", "[]", "{}", "{\"model\":\"nobody:x\",\"messages\":[]}"]) {
            const answer = await scene.proxy.chat(body, { headers });
            assert.equal(answer.status, 400, answer.text);
            assert.equal(id_of(answer), "named", body);
        }
        for (const protocol of NAMES) {
            const got = await scene.prompt(protocol, "Hi", { headers });
            assert.equal(id_of(got.got.answer), "named");
        }
        /* A made one where none is named, and no entry of the table for what is no conversation. */
        const list = await scene.proxy.call({ method: "GET", path: "/v1/models" });
        assert.match(id_of(list), LEGAL);
        assert.equal((await scene.session(id_of(list))).status, 404);
    });

test("what did not pass admission, and what is no protocol's, says none", async () => {
    const none = async (options) => {
        const answer = await request(scene.proxy.port, { headers: { "x-session-id": "named" },
            ...options });
        assert.equal(id_of(answer), undefined, options.path);
        return answer.status;
    };
    assert.equal(await none({ method: "GET", path: "/v1/models" }), 401);
    assert.equal(await none({ method: "GET", path: "/healthz" }), 200);
    assert.equal(await none({ method: "GET", path: "/readyz" }), 200);
    const lost = await scene.proxy.call({ method: "GET", path: "/nothing",
        headers: { "x-session-id": "named" } });
    assert.equal(lost.status, 404);
    assert.equal(id_of(lost), undefined);
});

test("web pages may read it", async () => {
    const got = await scene.prompt("openai-chat", "Hi",
        { headers: { origin: "https://page.example" } });
    assert.match(got.got.answer.get("access-control-expose-headers"), /\bx-session-id\b/);
    assert.match(id_of(got.got.answer), LEGAL);
});

test("cookies: the one of that name, wherever it stands and however it is written", async () => {
    for (const [cookie, id] of [["session_id=c-1", "c-1"], ["a=b;session_id=c-2", "c-2"],
        ["a=b; session_id=\"c-3\"; c=d", "c-3"], [" session_id = c-4 ;x", "c-4"],
        ["session_id=; session_id=c-5", "c-5"], ["xsession_id=no; session_id=c-6", "c-6"],
        ["session_id=c-7; session_id=no", "c-7"]]) {
        const got = await scene.prompt("openai-chat", "Hi", { headers: { cookie } });
        assert.equal(id_of(got.got.answer), id, cookie);
    }
    for (const cookie of ["session_id", "session_id=", "Session_ID=no", "x=session_id=no",
        "session_idx=no"]) {
        const got = await scene.prompt("openai-chat", "Hi", { headers: { cookie } });
        assert.match(id_of(got.got.answer), /^fp-[0-9a-f]{32}$/, cookie);
        assert.equal(got.get("cookie"), undefined);
    }
});

test("agents' headers: in their order, behind the cookie; an empty one is none", async () => {
    for (const [headers, id] of [
        [{ conversation_id: "a-3", "session-id": "a-2", session_id: "a-1" }, "a-1"],
        [{ conversation_id: "a-3", "session-id": "a-2" }, "a-2"],
        [{ conversation_id: "a-3", session_id: "" }, "a-3"],
        [{ "x-session-id": "", session_id: "a-4" }, "a-4"],
        [{ session_id: "a-1", cookie: "session_id=c-8" }, "c-8"]]) {
        const got = await scene.prompt("openai-chat", "Hi", { headers });
        assert.equal(id_of(got.got.answer), id);
    }
});

test("the log's line of an exchange begins with its session", async () => {
    await scene.prompt("openai-chat", "Hi", { session: "in-the-log" });
    await scene.proxy.logged(/msg=PERF_SUMMARY session=in-the-log total=/);
});

/* ---- What operators ask ---- */

test("GET /v2/sessions: what it says of each, in order, as many as asked for", async () => {
    const one = { headers: as("key-of-one-1") };
    for (const session of ["l-1", "l-2", "l-3"]) {
        await scene.prompt("openai-chat", "Hi", { session, ...one });
    }
    await scene.command("openai-chat", "!/set(temperature=0.25, project=\"p q\")", undefined,
        { session: "l-1", ...one });
    const list = async (query, headers) => {
        await scene.proxy.counted();
        const answer = await scene.proxy.call({ method: "GET", path: `/v2/sessions${query}`,
            headers });
        assert.equal(answer.status, 200, answer.text);
        assert.match(answer.get("content-type"), /^application\/json/);
        return answer.json.sessions;
    };
    const mine = await list("", one.headers);
    assert.deepEqual(mine.slice(0, 3).map((s) => s.id).sort(), ["l-1", "l-2", "l-3"]);
    assert.ok(mine.every((s) => s.client === "one"));
    const first = mine.find((s) => s.id === "l-1");
    assert.deepEqual(first.settings, { temperature: "0.25", project: "p q" });
    assert.match(first.created, TIME);
    assert.match(first.last_seen, TIME);
    assert.ok(Math.abs(Date.parse(first.last_seen) - Date.now()) < 60_000);
    assert.ok(Date.parse(first.created) <= Date.parse(first.last_seen));
    assert.equal(first.stats.requests, 1);
    assert.equal(first.stats.commands, 1);
    assert.equal(first.stats.failures, 0);
    assert.ok(first.stats.tokens_in > 0 && first.stats.tokens_out > 0);
    assert.equal("history" in first, false);
    assert.equal((await list("?limit=2", one.headers)).length, 2);
    assert.deepEqual((await list("?limit=1000", one.headers)).map((s) => s.id).sort(),
        mine.map((s) => s.id).sort());
    /* All of them for an admin, or those of the client that it names. */
    await scene.prompt("openai-chat", "Hi", { session: "l-2", headers: as("key-of-two-1") });
    const all = await list("?limit=1000", {});
    assert.deepEqual(all.filter((s) => s.id === "l-2").map((s) => s.client).sort(),
        ["one", "two"]);
    assert.ok((await list("?client=two&limit=1000", {})).every((s) => s.client === "two"));
    assert.ok((await list("?client=one", one.headers)).every((s) => s.client === "one"));
    assert.ok(!JSON.stringify(all).includes("key-of-"));
});

test("GET /v2/sessions: what is asked wrongly", async () => {
    const call = (target, headers = {}, method = "GET") => scene.proxy.call({ method, path: target,
        headers });
    for (const limit of ["0", "-1", "1001", "x", "", "1e2"]) {
        const answer = await call(`/v2/sessions?limit=${limit}`);
        assert.equal(answer.status, 400, limit);
        assert.match(answer.json.error.message, /limit is not a number from 1 to 1000/);
    }
    const foreign = await call("/v2/sessions?client=two", as("key-of-one-1"));
    assert.equal(foreign.status, 403);
    assert.equal(foreign.json.error.code, "forbidden");
    assert.equal((await call("/v2/sessions?client=nobody")).status, 404);
    assert.equal((await call("/v2/sessions/nobody")).json.error.code, "not_found");
    assert.equal((await call(`/v2/sessions/${"x".repeat(300)}`)).status, 404);
    assert.equal((await call("/v2/sessions/a/b")).status, 404);
    assert.equal((await call("/v2/sessions/")).status, 404);
    assert.equal((await call("/v2/sessions/%ff")).status, 400);
    assert.equal((await call("/v2/sessions/x", { Authorization: "Bearer wrong" })).status, 401);
    for (const [target, allow] of [["/v2/sessions", "GET, HEAD, OPTIONS"],
        ["/v2/sessions/x", "GET, HEAD, DELETE, OPTIONS"]]) {
        const answer = await call(target, {}, "POST");
        assert.equal(answer.status, 405);
        assert.equal(answer.get("allow"), allow);
        assert.equal((await call(target, {}, "OPTIONS")).get("allow"), allow);
    }
    assert.equal((await call("/v2/sessions", {}, "DELETE")).status, 405);
    const client = await scene.proxy.connect();
    client.send({ method: "HEAD", path: "/v2/sessions", headers: scene.proxy.headers() });
    const head = await client.response();
    assert.equal(head.status, 200);
    assert.equal(head.ended, "empty");
    client.destroy();
});

test("GET and DELETE /v2/sessions/{id}: an admin names the client", async () => {
    const options = { session: "of:one_1.2", headers: as("key-of-one-1") };
    await scene.command("openai-chat", "!/set(temperature=0.1)", undefined, options);
    await scene.prompt("openai-chat", "What it was", options);
    const at = "/v2/sessions/of%3Aone_1.2";
    const call = (method, target) => scene.proxy.call({ method, path: target });
    assert.equal((await call("GET", at)).status, 404);
    const view = await call("GET", `${at}?client=one`);
    assert.equal(view.status, 200, view.text);
    assert.equal(view.json.client, "one");
    assert.deepEqual(view.json.history.map((item) => item.handler), ["proxy", "backend"]);
    for (const item of view.json.history) {
        assert.match(item.time, TIME);
        assert.equal(item.failed, false);
    }
    assert.equal(view.json.history[1].prompt, "What it was");
    assert.equal(view.json.history[1].backend, "oc");
    assert.equal(view.json.history[1].model, "m1");
    assert.equal((await call("DELETE", at)).status, 404);
    const gone = await call("DELETE", `${at}?client=one`);
    assert.equal(gone.status, 204);
    assert.equal(gone.body.length, 0);
    assert.equal((await call("DELETE", `${at}?client=one`)).status, 404);
    assert.equal((await call("GET", `${at}?client=one`)).status, 404);
});

test("GET and DELETE /v2/sessions/{id}: by the id as it was given, though its digest is kept",
    async () => {
        const given = "of mine/\u00fc?";
        const options = { session: Buffer.from(given).toString("latin1") };
        await scene.command("openai-chat", "!/set(temperature=0.1)", undefined, options);
        const call = (method, id) => scene.proxy.call({ method,
            path: `/v2/sessions/${encodeURIComponent(id)}` });
        const view = await call("GET", given);
        assert.equal(view.status, 200, view.text);
        assert.match(view.json.id, /^[0-9a-f]{32}$/);
        assert.equal((await call("GET", view.json.id)).json.settings.temperature, "0.1");
        assert.equal((await call("DELETE", given)).status, 204);
        assert.equal((await call("GET", view.json.id)).status, 404);
    });

test("without authentication all are one client, and may see everything", async () => {
    const open = await scene_with({ config: { disable_auth: true } });
    await open.command("openai-chat", "!/set(temperature=0.1)", undefined, { session: "o-1" });
    const list = await open.proxy.call({ method: "GET", path: "/v2/sessions" });
    assert.deepEqual(list.json.sessions.map((s) => [s.id, s.client]), [["o-1", null]]);
    assert.equal((await open.session("o-1")).status, 200);
    assert.equal(temperature(await open.prompt("openai-chat", "Hi", { session: "o-1" })), 0.1);
});

test("metrics: sessions, commands, changes and those that failed", async () => {
    const own = await scene_with({ config: { metrics_public: true } });
    const value = async (name) => Number(new RegExp(`^llm_proxy_${name} (\\d+)$`, "m").exec(
        await own.proxy.counted())[1]);
    assert.equal(await value("sessions"), 0);
    await own.command("openai-chat", "!/set(temperature=0.1)", undefined, { session: "m-1" });
    await own.command("openai-chat", "!/set(temperature=99)", undefined, { session: "m-1" });
    await own.prompt("openai-chat", "Hi", { session: "m-2" });
    assert.equal(await value("sessions"), 2);
    assert.equal(await value("commands_total"), 2);
    assert.equal(await value("session_commits_total"), 1);
    assert.equal(await value("session_commit_failures_total"), 0);
});

/* ---- Another configuration ---- */

test("reload: bounds change at once, the repository waits for a restart", async () => {
    const config = (session) => ({ ...scene.config, session });
    const own = await scene_with({ config: { session: {} } });
    await own.prompt("openai-chat", "Hi", { session: "r-1" });
    const told = await own.proxy.reload({ ...config({ repository: "file", file_path: "./other",
        max_sessions: 1 }), backends: own.config.backends, port: own.proxy.port });
    assert.match(told, /needs_restart="?(workers, )?session\.repository, session\.file_path"?/);
    await own.prompt("openai-chat", "Hi", { session: "r-2" });
    assert.equal((await own.session("r-1")).status, 404);
    assert.equal((await own.session("r-2")).status, 200);
    assert.equal(fs.existsSync(path.join(own.proxy.dir, "other")), false);
});

test("start: a folder that cannot be used is a clear failure", async () => {
    const dir = temp_dir();
    fs.writeFileSync(path.join(dir, "file"), "");
    const { code, all } = await run(["--port", "0", "--demo"], { config: { session: {
        repository: "file", file_path: path.join(dir, "file", "sessions") } } });
    assert.notEqual(code, 0);
    assert.match(all, /start\.failed.*file/);
    fs.rmSync(dir, { recursive: true });
});

/* ---- Conversations that go on from the proxy's own answer ---- */

const said = (up) => JSON.stringify(up.json.messages ?? up.json.input ?? up.json.contents);

/** One turn of a Responses client that keeps its place by ids. */
async function turn(one, text, { to, previous, ...options }) {
    return one.say("openai-responses", text, { to, ...options, more: { store: true,
        ...(previous ? { previous_response_id: previous } : {}) } });
}

for (const to of ["openai-chat", "anthropic", "gemini"]) {
    test(`responses: a command amid a chain, kept here (${to})`, async () => {
        const own = await scene_with({ config: { workers: 2 } });
        for (const streamed of [false, true]) {
            const options = { to, stream: streamed, session: `chain-${streamed}` };
            const first = await turn(own, "One", options);
            const command = await turn(own, "!/set(temperature=0.3)", { ...options,
                previous: first.id });
            assert_by_proxy("openai-responses", command, /Temperature set to 0.3/);
            assert.equal(command.up.length, 0);
            const again = await turn(own, "!/set(project=p)", { ...options,
                previous: command.id });
            assert_by_proxy("openai-responses", again, /Project changed to p/);
            /* Without an id: there is one such answer of this client only. */
            const next = await turn(own, "Two", { to, stream: streamed, previous: again.id,
                session: streamed ? options.session : undefined });
            assert.equal(next.status, 200, next.answer.text);
            assert.equal(id_of(next.answer), options.session);
            assert.equal(temperature(next.up[0]), 0.3);
            assert.match(said(next.up[0]), /One.*Hello from m1.*Two/);
            assert.doesNotMatch(said(next.up[0]), /!\/set|Temperature set|Project changed/);
            const last = await turn(own, "Three", { ...options, previous: next.id });
            assert.match(said(last.up[0]), /One.*Two.*Three/);
        }
    });
}

test("responses: a command amid a chain that its backend keeps", async () => {
    const own = await scene_with({ config: { workers: 2 } });
    for (const streamed of [false, true]) {
        const options = { to: "openai-responses", stream: streamed, session: `raw-${streamed}` };
        const first = await turn(own, "One", options);
        const command = await turn(own, "!/set(temperature=0.3)", { ...options,
            previous: first.id });
        assert_by_proxy("openai-responses", command, /Temperature set to 0.3/);
        const next = await turn(own, "Two", { ...options, previous: command.id });
        assert.equal(next.status, 200, next.answer.text);
        assert.equal(next.up[0].json.previous_response_id, first.id);
        assert.equal(temperature(next.up[0]), 0.3);
        assert.equal(id_of(next.answer), options.session);
    }
});

test("responses: a command as the first thing that is said", async () => {
    const own = await scene_with({ config: { workers: 2 } });
    for (const to of NAMES) {
        const session = `first-${to}`;
        const command = await turn(own, "!/set(temperature=0.3)", { to, session });
        const next = await turn(own, "Two", { to, previous: command.id, session });
        assert.equal(next.status, 200, next.answer.text);
        assert.equal("previous_response_id" in next.up[0].json, false);
        assert.equal(temperature(next.up[0]), 0.3);
        assert.match(said(next.up[0]), /Two/);
        const last = await turn(own, "Three", { to, previous: next.id });
        assert.equal(last.status, 200, last.answer.text);
        assert.equal(id_of(last.answer), session);
        assert.equal(temperature(last.up[0]), 0.3);
    }
});

test("responses: which of two conversations goes on is never guessed", async () => {
    const own = await scene_with({ config: { workers: 2, api_keys: KEYS } });
    const place = {};
    for (const session of ["s-a", "s-b"]) {
        const options = { to: "openai-chat", session };
        place[session] = await turn(own, `Begin ${session}`, options);
        await turn(own, "!/set(temperature=0.3)", { ...options, previous: place[session].id });
    }
    const previous = "proxy_cmd_processed";
    const lost = await turn(own, "Two", { to: "openai-chat", previous });
    assert.equal(lost.status, 404, lost.answer.text);
    assert.match(lost.error.message, /^Previous response not found: .*x-session-id/);
    assert.equal(lost.up.length, 0);
    for (const session of ["s-a", "s-b"]) {
        const next = await turn(own, "Two", { to: "openai-chat", previous, session });
        assert.match(said(next.up[0]), new RegExp(`Begin ${session}.*Two`));
        const other_one = session === "s-a" ? "s-b" : "s-a";
        assert.doesNotMatch(said(next.up[0]), new RegExp(`Begin ${other_one}`));
    }
    /* The body's id, and the cookie's, name it as well. */
    const by_body = await own.say("openai-responses", "Two", { to: "openai-chat",
        more: { store: true, previous_response_id: previous, session_id: "s-b" } });
    assert.match(said(by_body.up[0]), /Begin s-b.*Two/);
    const by_cookie = await turn(own, "Two", { to: "openai-chat", previous,
        headers: { cookie: "session_id=s-a" } });
    assert.match(said(by_cookie.up[0]), /Begin s-a.*Two/);
    /* Another client has no such answer; a session that has none neither. */
    const stranger = await turn(own, "Two", { to: "openai-chat", previous,
        headers: as("key-of-two-1") });
    assert.equal(stranger.status, 404, stranger.answer.text);
    const without = await turn(own, "Two", { to: "openai-chat", previous, session: "s-c" });
    assert.equal(without.status, 404, without.answer.text);
    assert.match(without.error.message, /s-c/);
    /* What was forgotten stands in nobody's way. */
    const gone = await own.proxy.call({ method: "DELETE", path: "/v2/sessions/s-a" });
    assert.equal(gone.status, 204);
    const only = await turn(own, "Two", { to: "openai-chat", previous });
    assert.match(said(only.up[0]), /Begin s-b.*Two/);
    const view = await own.proxy.call({ method: "GET",
        path: "/v1/responses/proxy_cmd_processed" });
    assert.equal(view.status, 404);
});

test("responses: where a session sends them elsewhere, the chain goes along", async () => {
    const own = await scene_with({ config: { workers: 2 } });
    /* The model's name says a backend that speaks Responses, the session one that does not. */
    for (const size of [0, 1_500_000]) {
        const options = { to: "openai-responses", session: `moved-${size}` };
        await own.command("openai-responses", "!/set(backend=oc, model=moved)", undefined,
            options);
        const first = await turn(own, `One ${"x".repeat(size)}`, options);
        assert.match(first.up[0].target, /chat\/completions$/);
        const next = await turn(own, "Two", { ...options, previous: first.id });
        assert.equal(next.status, 200, next.answer.text.slice(0, 300));
        assert.match(next.up[0].target, /chat\/completions$/);
        assert.match(said(next.up[0]), /One .*Hello from moved.*Two/);
        const last = await turn(own, "Three", { ...options, previous: next.id });
        assert.match(said(last.up[0]), /One .*Two.*Three/);
    }
    /* What its backend alone has cannot go on elsewhere. */
    const options = { to: "openai-responses", session: "pinned" };
    const first = await turn(own, "One", options);
    await own.command("openai-responses", "!/set(backend=oc)", undefined, options);
    const next = await turn(own, "Two", { ...options, previous: first.id });
    assert.equal(next.status, 404, next.answer.text);
    assert.match(next.error.message, /only backend or has/);
});

/* ---- A disk that is full, and processes that end ---- */

const file = (more = {}) => ({ session: { repository: "file", file_path: "./kept", ...more } });

test("file: what was set is there after a restart, also scopes without a name", async () => {
    const first = await Scene.start({ config: { ...file(), api_keys: KEYS } });
    try {
        for (const key of ["key-of-one-1", "key-of-two-1"]) {
            await first.command("openai-chat", `!/set(project=${key.slice(4, 10)})`, undefined,
                { session: "kept", headers: as(key) });
        }
        const { dir } = first.proxy;
        process.kill(first.proxy.pid, "SIGKILL");
        await first.proxy.exited;
        first.proxy = await start({ dir });
        for (const key of ["key-of-one-1", "key-of-two-1"]) {
            const view = await first.session("kept", { headers: as(key) });
            assert.equal(view.json.settings.project, key.slice(4, 10));
        }
    } finally {
        await first.stop();
    }
});

test("file: a full disk is told to who sets something, and by /readyz; requests go on",
    async () => {
        const own = await scene_with({ config: { ...file(), metrics_public: true } });
        await own.command("openai-chat", "!/set(temperature=0.1)", undefined, { session: "d-1" });
        const ready = async () => (await request(own.proxy.port, { method: "GET",
            path: "/readyz" }));
        assert.equal((await ready()).json.status, "ready");
        /* Nothing may become longer than it is: what is written fails. */
        const { execFileSync } = await import("node:child_process");
        const limit = (n) => execFileSync("prlimit", ["--pid", String(own.proxy.pid),
            `--fsize=${n}:unlimited`]);
        limit(1);
        const refused = await own.say("openai-chat", "!/set(temperature=0.2)",
            { session: "d-1" });
        assert.equal(refused.status, 200, refused.answer.text);
        assert.match(refused.text, /not|cannot|could/i);
        assert.doesNotMatch(refused.text, /^Temperature set to 0.2$/);
        assert.equal(temperature(await own.prompt("openai-chat", "Hi", { session: "d-1" })), 0.1);
        const degraded = await ready();
        assert.equal(degraded.status, 200);
        assert.equal(degraded.json.status, "degraded");
        assert.ok(degraded.json.sessions.length > 5, degraded.text);
        assert.match(await own.proxy.counted(), /^llm_proxy_session_commit_failures_total [1-9]/m);
        limit("unlimited");
        const end = now() + 30_000;
        let told;
        do {
            told = await own.say("openai-chat", "!/set(temperature=0.3)", { session: "d-1" });
        } while (!/^Temperature set to 0.3$/.test(told.text) && now() < end);
        assert.equal(told.text, "Temperature set to 0.3");
        assert.equal((await ready()).json.status, "ready");
        assert.equal(temperature(await own.prompt("openai-chat", "Hi", { session: "d-1" })), 0.3);
    });

/** Commands of many sessions at once, on connections of their own; what was answered. */
async function commands_at_once(one, n, before_end) {
    const done = new Map();
    const jobs = Array.from({ length: n }, async (_, i) => {
        try {
            const got = await ask(one.proxy, NAMES[i % 4], body_of(NAMES[i % 4],
                [{ user: `!/set(project=p${i})` }]), { session: `at-once-${i}`,
                model: `${PROTOCOLS[NAMES[i % 4]].short}:m1`, stream: i % 3 === 0 });
            if (got.status === 200) {
                done.set(i, got.text);
            }
        } catch {
            /* The process has ended, or closes: not acknowledged. */
        }
    });
    await before_end(done);
    await Promise.all(jobs);
    return done;
}

for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`file: ${signal} while changes are on their way: none that was told is lost`, async () => {
        const own = await Scene.start({ config: { ...file(), workers: 2 } });
        try {
            const done = await commands_at_once(own, 100, async (told) => {
                while (told.size < 5) {
                    await new Promise((wake) => setTimeout(wake, 1));
                }
                process.kill(own.proxy.pid, signal);
            });
            const { code, signal: by } = await own.proxy.exited;
            assert.deepEqual({ code, by }, signal === "SIGTERM" ? { code: 0, by: null } :
                { code: null, by: "SIGKILL" }, own.proxy.stderr);
            own.proxy = await start({ dir: own.proxy.dir });
            assert.ok(done.size >= 5);
            for (const [i, text] of done) {
                assert.equal(text, `Project changed to p${i}`);
                const { json } = await own.session(`at-once-${i}`);
                assert.equal(json.settings?.project, `p${i}`, `session ${i} was told`);
            }
        } finally {
            await own.stop();
        }
    });
}

test("file: clients that leave before their change is through do no harm", async () => {
    const own = await scene_with({ config: { ...file(), workers: 2 } });
    for (let i = 0; i < 60; i++) {
        const client = await own.proxy.connect();
        client.send({ path: "/v1/chat/completions", headers: own.proxy.headers({
            "x-session-id": `left-${i}` }), body: JSON.stringify({ model: "oc:m1",
            messages: [{ role: "user", content: `!/set(project=p${i})` }] }) });
        if (i % 2 === 0) {
            await new Promise((wake) => setImmediate(wake));
        }
        client.destroy();
    }
    await own.command("openai-chat", "!/set(project=last)", "Project changed to last",
        { session: "left-last" });
    /* A change is made whole or not at all, whether anybody hears of it or not. */
    for (let i = 0; i < 60; i++) {
        const { status, json } = await own.session(`left-${i}`);
        assert.ok(status === 404 || [undefined, `p${i}`].includes(json.settings.project));
    }
});

test("large bodies: a command is found in a thread, and who leaves meanwhile does no harm",
    async () => {
        const own = await scene_with({ config: { workers: 2 } });
        const filler = "word ".repeat(400_000);
        const turns = [{ user: filler }, { assistant: "Yes" }, { user: "!/set(project=large)" }];
        for (const protocol of NAMES) {
            const session = `large-${protocol}`;
            await own.command(protocol, turns, "Project changed to large", { session });
            const up = await own.prompt(protocol, [...turns, { assistant: "Project changed" },
                { user: "And?" }], { session, to: other(protocol) });
            assert.doesNotMatch(said(up), /!\/set|Project changed/);
            const body = JSON.stringify(body_of(protocol, turns, protocol === "gemini" ? {} :
                { model: `${PROTOCOLS[protocol].short}:m1` }));
            for (let i = 0; i < 5; i++) {
                const client = await own.proxy.connect();
                client.send({ path: PROTOCOLS[protocol].path(`${PROTOCOLS[protocol].short}:m1`,
                    { stream: false }), headers: own.proxy.headers({ "x-session-id":
                    `${session}-${i}` }), body });
                await new Promise((wake) => setTimeout(wake, 3 * i));
                client.destroy();
            }
        }
        await own.prompt("openai-chat", "Hi");
    });
