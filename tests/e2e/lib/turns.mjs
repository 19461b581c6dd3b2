/* SPDX-License-Identifier: MIT */
/*
 * How long the program's loop is busy between two looks at its sockets: turns.c, preloaded.
 *
 * The time is the loop's own on its processor, and still depends on the machine, which may be
 * another one today or be shared with others. So each measurement has a second one beside it: a
 * fixed piece of work, done by the same thread in the same moment. A bound is for a machine that
 * needs MEASURE_MS for it; for one that needs more it is wider by as much.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { PROGRAM, start } from "./proxy.mjs";

const MEASURE_MS = 1.5;
const SIZE = 24;        /* struct turns */
const ROUNDS = 5;

/** The program with its loop's turns measured. */
export class Measured {
    static async start(config, args = []) {
        const one = new Measured();
        one.dir = fs.mkdtempSync(path.join(os.tmpdir(), "llm-proxy-turns-"));
        one.file = path.join(one.dir, "turns");
        one.complaints = [];
        fs.writeFileSync(one.file, Buffer.alloc(SIZE));
        one.proxy = await start({ config: { workers: 1, ...config }, args, env: {
            TURNS_FILE: one.file, LD_PRELOAD: path.join(path.dirname(PROGRAM), "turns.so") } });
        return one;
    }

    async round(run) {
        fs.writeFileSync(this.file, Buffer.alloc(SIZE), { flag: "r+" });
        await run(this.proxy);
        /* The turn that sent the answer is counted when it is over: before the next. */
        await this.proxy.call({ method: "GET", path: "/healthz" });
        const turns = fs.readFileSync(this.file);
        assert.ok(turns.readBigUInt64LE(8) >= 3n, "turns are not counted");
        const measure = Number(turns.readBigUInt64LE(16)) / 1e6;
        assert.ok(measure > 0, "the machine is not measured");
        return { busy: Number(turns.readBigUInt64LE(0)) / 1e6, slow: Math.max(1,
            measure / MEASURE_MS) };
    }

    /** Whether `run` keeps the loop busy for no more than `ms` at once. A bad moment of the machine
     * (pages that are not there, interrupts) may be tried again: a loop that is held up is so each
     * time. */
    async at_most(ms, t, what, run) {
        let best = { busy: Infinity, slow: 1 };
        for (let i = 0; i < ROUNDS && best.busy > ms * best.slow; i++) {
            const now = await this.round(run);
            best = now.busy / now.slow < best.busy / best.slow ? now : best;
        }
        const text = `${what}: ${best.busy.toFixed(1)} ms` + (best.slow === 1 ? "" :
            `, on a machine ${best.slow.toFixed(1)} times as slow`);
        t.diagnostic(text);
        if (best.busy > ms * best.slow) {
            this.complaints.push(text);
        }
    }

    async stop() {
        await this.proxy.stop();
        fs.rmSync(this.dir, { recursive: true });
    }
}
