/* SPDX-License-Identifier: MIT */
/*
 * The repository of sessions under a process that is killed, and on a disk that cannot be written.
 *
 * What was answered must be there: a setting that the user was told of is never older after a kill
 * than it was said to be, and never one that nobody has set.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";

import { random } from "../e2e/lib/random.mjs";
import { SLOW, start, stop_all, temp_dir, test } from "../e2e/lib/proxy.mjs";
import { Inject, LEG, OP, unavailable } from "./lib/inject.mjs";

const KILLS = SLOW ? 40 : 200;
const CLIENTS = 8;
/* Longer than it takes to commit some changes, on any disk. */
const LIFE_MS = 60;

const folders = [];
after(() => {
    for (const folder of folders) {
        fs.rmSync(folder, { recursive: true, force: true });
    }
});

function folder() {
    folders.push(temp_dir());
    return folders.at(-1);
}

/* What outlives the process is in the folder: the sessions, and the key that makes their owners'
 * names. */
const config_of = (dir, workers) => ({ backends: { demo: {} }, default_backend: "demo", workers,
    data_dir: dir, session: { repository: "file", file_path: path.join(dir, "sessions") } });

const set_body = (session, n) => JSON.stringify({ model: "demo", session_id: session,
    messages: [{ role: "user", content: `!/set(project=p${n}, temperature=0.${n})` }] });

/** Sets one number after the other until the connection ends; `said` is the last that was. */
async function set_numbers(proxy, state) {
    let client;
    try {
        client = await proxy.connect();
        for (;;) {
            state.sent++;
            client.send({ path: "/v1/chat/completions", headers: proxy.headers(),
                body: set_body(state.session, state.sent) });
            const answer = await client.response();
            if (answer.ended === "cut") {
                break;
            }
            assert.equal(answer.status, 200, answer.text);
            assert.match(answer.text, new RegExp(`Project changed to p${state.sent}\\b`));
            state.said = state.sent;
        }
    } catch (error) {
        if (error.code === "ERR_ASSERTION") {
            throw error;
        }
    } finally {
        client?.destroy();
    }
}

const talk = (proxy) => async (content) => {
    const { json } = await proxy.chat({ model: "demo:echo", session_id: "s",
        messages: [{ role: "user", content }] });
    return json.choices[0].message.content;
};
const ready_of = (proxy) => async () =>
    (await proxy.call({ method: "GET", path: "/readyz" })).json;

/** What each session has set now, both parts of it. */
async function check(proxy, states) {
    for (const state of states) {
        const answer = await proxy.call({ method: "GET", path: `/v2/sessions/${state.session}` });
        if (answer.status === 404) {
            assert.equal(state.said, 0, `${state.session} is lost, ${state.said} was said`);
            continue;
        }
        assert.equal(answer.status, 200, answer.text);
        const { project = "p0", temperature = "0.0" } = answer.json.settings;
        const n = Number(project.slice(1));
        assert.equal(temperature, `0.${n}`, "a change that is in force in part");
        assert.ok(n >= state.said && n <= state.sent,
            `${state.session} has ${n}: ${state.said} was said, ${state.sent} sent`);
        state.said = n;
    }
}

test(`killed ${KILLS} times at any moment: nothing that was said is lost`, async () => {
    const dir = folder();
    const rng = random("kills");
    const states = Array.from({ length: CLIENTS }, (_, i) =>
        ({ session: `kept-${i}`, sent: 0, said: 0 }));
    let in_flight = 0;
    for (let kill = 0; kill < KILLS; kill++) {
        const proxy = await start({ config: config_of(dir, 1 + kill % 3) });
        try {
            await check(proxy, states);
            const all = Promise.all(states.map((state) => set_numbers(proxy, state)));
            await new Promise((wake) => setTimeout(wake, rng.below(LIFE_MS)));
            proxy.child.kill("SIGKILL");
            await proxy.exited;
            await all;
            in_flight += states.filter((state) => state.sent > state.said).length;
            assert.doesNotMatch(proxy.stderr, /set_aside|unreadable|unwritable/);
        } finally {
            proxy.abandon();
        }
    }
    /* Else it was not killed while there was something to lose. */
    assert.ok(in_flight > KILLS, `only ${in_flight} changes were on their way`);
    assert.ok(states.every((state) => state.said > KILLS / 4), JSON.stringify(states));
    const last = await start({ config: config_of(dir, 2) });
    await check(last, states);
    await last.stop();
});

for (const [error, why] of [
    ["EROFS", "the database cannot be written: read-only"],
    ["ENOSPC", "the disk is full"],
    ["EDQUOT", "the disk quota is used up"],
    ["EIO", "the database cannot be written: Input/output error"],
]) {
    test(`${error} where the database is written: who sets something is told why, as is /readyz, ` +
        "and requests go on", { skip: unavailable() }, async () => {
        const inject = new Inject();
        const proxy = await start({ config: config_of(folder()), env: inject.env });
        const say = talk(proxy);
        const ready = ready_of(proxy);
        try {
            assert.equal(await say("!/set(temperature=0.1)"), "Temperature set to 0.1");
            inject.arm({ error }, { ops: OP.disk, legs: LEG.file });
            assert.equal(await say("!/set(temperature=0.2)"),
                `Settings cannot be kept: ${why}\nNothing was changed.`);
            assert.equal(await say("Hello"), "Hello");
            assert.deepEqual(await ready(), { status: "degraded", sessions: why });
            assert.match(await say("!/status"), /^temperature: 0\.1 \(session\)$/m);
            inject.disarm();
            const end = Date.now() + 30_000;
            while ((await ready()).status !== "ready" && Date.now() < end) {
                await say("!/set(temperature=0.3)");
            }
            assert.equal(await say("!/set(temperature=0.3)"), "Temperature set to 0.3");
        } finally {
            inject.disarm();
            await stop_all(proxy);
            inject.fini();
        }
    });

    test(`${error} from the start on: it starts, says so, and keeps what is set when it can`,
        { skip: unavailable() }, async () => {
            const inject = new Inject();
            inject.arm({ error }, { ops: OP.disk, legs: LEG.file });
            const dir = folder();
            const proxy = await start({ config: config_of(dir), env: inject.env });
            const ready = ready_of(proxy);
            try {
                assert.deepEqual(await ready(), { status: "degraded", sessions: why });
                assert.equal(await talk(proxy)("Hello"), "Hello");
                assert.equal(await talk(proxy)("!/set(temperature=0.2)"),
                    `Settings cannot be kept: ${why}\nNothing was changed.`);
                inject.disarm();
                const end = Date.now() + 30_000;
                while ((await ready()).status !== "ready" && Date.now() < end) {
                    await new Promise((wake) => setTimeout(wake, 50));
                }
                assert.equal(await talk(proxy)("!/set(temperature=0.3)"), "Temperature set to 0.3");
            } finally {
                inject.disarm();
                await stop_all(proxy);
                inject.fini();
            }
            const next = await start({ config: config_of(dir) });
            assert.match(await talk(next)("!/status"), /^temperature: 0\.3 \(session\)$/m);
            await next.stop();
        });
}
