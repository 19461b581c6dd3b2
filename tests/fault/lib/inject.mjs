/* SPDX-License-Identifier: MIT */
/*
 * The handle of ../inject.c: starts the program with it, arms it, reads what it counted.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { PROGRAM, temp_dir } from "../../e2e/lib/proxy.mjs";

/* As in inject.c. */
export const OP = { read: 1, write: 2, accept: 4, connect: 8, socket: 16, resolve: 32, poll: 64,
    disk: 128 };
export const LEG = { client: 1, upstream: 2, both: 3, file: 4 };
export const FOREVER = 0xffffffff;
export const EAI = { AGAIN: -3, FAIL: -4, NONAME: -2, MEMORY: -10, SYSTEM: -11 };
const MODE = { count: 0, short: 1, error: 2, delay: 3 };
const AT = { armed: 0, mode: 4, value: 8, ops: 12, legs: 16, at: 20, times: 24, steps: 28,
    hits: 32 };
const SIZE = 36;
const { errno } = os.constants;

const LIBRARY = path.join(path.dirname(PROGRAM), "inject.so");

/* A sanitizer's runtime insists on being first. */
function runtime() {
    const needed = execFileSync("ldd", [PROGRAM], { encoding: "utf8" });
    return [...needed.matchAll(/=> (\S*lib(?:a|t)san\S*)/g)].map((m) => m[1]);
}

/** False where it works, else why not. */
export function unavailable() {
    if (os.platform() !== "linux") {
        return "system calls are made to fail on Linux only";
    }
    if (!fs.existsSync(LIBRARY)) {
        return `there is no ${LIBRARY}: make builds it`;
    }
    try {
        runtime();
    } catch (error) {
        return `ldd does not read the program: ${error.message}`;
    }
    return false;
}

export class Inject {
    constructor() {
        this.dir = temp_dir();
        this.path = path.join(this.dir, "control");
        fs.writeFileSync(this.path, Buffer.alloc(SIZE));
        this.fd = fs.openSync(this.path, "r+");
        this.env = {
            LD_PRELOAD: [...runtime(), LIBRARY].join(" "),
            INJECT_CONTROL: this.path,
        };
    }

    put(at, value) {
        const word = Buffer.alloc(4);
        word.writeInt32LE(value | 0);
        fs.writeSync(this.fd, word, 0, 4, at);
    }

    get(at) {
        const word = Buffer.alloc(4);
        fs.readSync(this.fd, word, 0, 4, at);
        return word.readUInt32LE();
    }

    /**
     * fault: {count: true} | {short: true} | {error: "ECONNRESET"} | {eai: number} | {delay: ms};
     * ops and legs of the calls that count; at: the first of them with the fault, from 1, or 0 for
     * all; times: how many in a row.
     */
    arm(fault, { ops, legs = LEG.both, at = 0, times = 1 }) {
        this.put(AT.armed, 0);
        this.put(AT.mode, fault.short ? MODE.short : fault.error || fault.eai ? MODE.error :
            fault.delay ? MODE.delay : MODE.count);
        this.put(AT.value, fault.error ? errno[fault.error] : fault.eai ?? fault.delay ?? 0);
        this.put(AT.ops, ops);
        this.put(AT.legs, legs);
        this.put(AT.at, at);
        this.put(AT.times, times);
        this.put(AT.steps, 0);
        this.put(AT.hits, 0);
        this.put(AT.armed, 1);
    }

    /** Faults since arm(). */
    get hits() {
        return this.get(AT.hits);
    }

    /** {steps, hits} since arm(). */
    disarm() {
        this.put(AT.armed, 0);
        return { steps: this.get(AT.steps), hits: this.get(AT.hits) };
    }

    fini() {
        fs.closeSync(this.fd);
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}

/** Open descriptors of a process, sockets only, as "socket:[inode]". */
export function sockets_of(pid) {
    const dir = `/proc/${pid}/fd`;
    const found = [];
    for (const name of fs.readdirSync(dir)) {
        try {
            const target = fs.readlinkSync(path.join(dir, name));
            if (target.startsWith("socket:")) {
                found.push(target);
            }
        } catch {
            /* Closed meanwhile. */
        }
    }
    return found;
}
