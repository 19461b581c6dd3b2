/* SPDX-License-Identifier: MIT */
/*
 * Chance that can be repeated: SEED=n gives the same cuts again. The seed is in the report of
 * every test that uses it.
 */
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

export const SEED = seed;

/** A generator of its own for each name, so that one test's draws do not move another's. */
export function random(name) {
    let state = seed | 0;
    for (const c of name) {
        state = Math.imul(state ^ c.codePointAt(0), 0x01000193) | 0;
    }
    const next = () => {
        state = (state + 0x6d2b79f5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return {
        below: (n) => Math.floor(next() * n),
        pick: (list) => list[Math.floor(next() * list.length)],
    };
}

/** The bytes in at most `count + 1` parts, cut anywhere. */
export function cut(bytes, count, rng) {
    const at = new Set();
    for (let i = 0; i < count && bytes.length > 1; i++) {
        at.add(1 + rng.below(bytes.length - 1));
    }
    const places = [0, ...[...at].sort((a, b) => a - b), bytes.length];
    return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}
