/* SPDX-License-Identifier: MIT */
/*
 * What a golden expects against what came: deep, members that are not expected must not be there.
 * The placeholders are those of tests/golden/translate/README.md.
 *
 * Bindings: the names of "$ID:name", for all of one case.
 */
import { Num, parse, write } from "./exact.mjs";

const kind = (value) => value === null ? "null" : Array.isArray(value) ? "array" :
    value instanceof Num ? "number" : typeof value;

const short = (value) => {
    const text = value === undefined ? "nothing" : write(value);
    return text.length > 200 ? `${text.slice(0, 200)}…` : text;
};

const PLAIN = {
    $ANY: (value) => value !== undefined,
    $ID: (value) => typeof value === "string" && value !== "",
    $STR: (value) => typeof value === "string",
    $NUM: (value) => value instanceof Num,
    $TIME: (value) => value instanceof Num && /^\d{10}(\.\d+)?$/.test(value.source),
};

function same_number(expected, actual) {
    if (expected.source === actual.source) {
        return true;
    }
    const exact = (n) => !Number.isInteger(n.value) || Number.isSafeInteger(n.value);
    return exact(expected) && exact(actual) && expected.value === actual.value;
}

const OPERATORS = {
    $raw: (text, actual, at, out) => write(actual) === text || out(at, text, actual),
    $match: (text, actual, at, out) => (typeof actual === "string" &&
        new RegExp(text, "su").test(actual)) || out(at, `/${text}/`, actual),
    $contains: (text, actual, at, out) => (typeof actual === "string" &&
        actual.includes(text)) || out(at, `a text with ${JSON.stringify(text)}`, actual),
    $json: (value, actual, at, out, bindings) => {
        let inner;
        try {
            inner = parse(actual);
        } catch {
            out(at, `JSON text of ${short(value)}`, actual);
            return;
        }
        walk(value, inner, `${at}($json)`, out, bindings);
    },
    $has: (value, actual, at, out, bindings) => {
        if (kind(actual) !== "object") {
            out(at, "an object", actual);
            return;
        }
        for (const [name, item] of Object.entries(value)) {
            walk(item, actual[name], `${at}.${name}`, out, bindings);
        }
    },
    $one_of: (list, actual, at, out, bindings) => {
        if (!list.some((one) => differences(one, actual, bindings).length === 0)) {
            out(at, `one of ${short(list)}`, actual);
        }
    },
    $any_order: (list, actual, at, out, bindings) => {
        if (kind(actual) !== "array" || actual.length !== list.length) {
            out(at, short(list), actual);
            return;
        }
        const left = [...actual];
        for (const one of list) {
            const i = left.findIndex((item) => differences(one, item, bindings).length === 0);
            if (i < 0) {
                out(at, short(one), actual);
                return;
            }
            left.splice(i, 1);
        }
    },
};

function placeholder(expected, actual, at, out, bindings) {
    const named = /^\$ID:(\w+)$/.exec(expected)?.[1];
    if (named !== undefined) {
        if (!PLAIN.$ID(actual)) {
            out(at, expected, actual);
        } else if (bindings.has(named)) {
            walk(bindings.get(named), actual, at, out, null);
        } else {
            bindings.set(named, actual);
        }
        return true;
    }
    if (Object.hasOwn(PLAIN, expected)) {
        if (!PLAIN[expected](actual)) {
            out(at, expected, actual);
        }
        return true;
    }
    return false;
}

function operator_of(expected) {
    const names = Object.keys(expected);
    return names.length === 1 && Object.hasOwn(OPERATORS, names[0]) ? names[0] : null;
}

function walk(expected, actual, at, out, bindings) {
    if (bindings !== null && typeof expected === "string" &&
        placeholder(expected, actual, at, out, bindings)) {
        return;
    }
    if (actual === undefined || kind(expected) !== kind(actual)) {
        const operator = kind(expected) === "object" ? operator_of(expected) : null;
        if (operator && actual !== undefined) {
            OPERATORS[operator](expected[operator], actual, at, out, bindings);
        } else {
            out(at, short(expected), actual);
        }
        return;
    }
    switch (kind(expected)) {
    case "array":
        for (let i = 0; i < Math.max(expected.length, actual.length); i++) {
            if (i >= expected.length) {
                out(`${at}[${i}]`, "nothing", actual[i]);
            } else {
                walk(expected[i], actual[i], `${at}[${i}]`, out, bindings);
            }
        }
        break;
    case "object": {
        const operator = operator_of(expected);
        if (operator) {
            OPERATORS[operator](expected[operator], actual, at, out, bindings);
            break;
        }
        for (const [name, item] of Object.entries(expected)) {
            walk(item, actual[name], `${at}.${name}`, out, bindings);
        }
        for (const name of Object.keys(actual).filter((n) => !Object.hasOwn(expected, n))) {
            out(`${at}.${name}`, "nothing", actual[name]);
        }
        break;
    }
    case "number":
        if (!same_number(expected, actual)) {
            out(at, short(expected), actual);
        }
        break;
    default:
        if (expected !== actual && !(bindings !== null && expected === `$${actual}`)) {
            out(at, short(expected), actual);
        }
    }
}

/** One line each: where, what is expected, what is there. */
export function differences(expected, actual, bindings = new Map(), at = "") {
    const list = [];
    walk(expected, actual, at, (where, wanted, got) => list.push(`${where || "."}: expected ${
        typeof wanted === "string" ? wanted : short(wanted)}, is ${short(got)}`), bindings);
    return list;
}

/** A request as it is sent: "$ID:name" bound, {"$times"} and {"$long"} spelt out. */
export function spell(value, bindings, i = null) {
    if (typeof value === "string") {
        const named = /^\$ID:(\w+)$/.exec(value)?.[1];
        return named !== undefined && bindings.has(named) ? bindings.get(named) :
            i === null ? value : value.replaceAll("$I", String(i));
    }
    if (Array.isArray(value)) {
        return value.flatMap((item) => {
            if (kind(item) === "object" && Array.isArray(item.$times)) {
                return Array.from({ length: item.$times[0].value },
                    (_, n) => spell(item.$times[1], bindings, n));
            }
            return [spell(item, bindings, i)];
        });
    }
    if (kind(value) === "object") {
        if (Array.isArray(value.$long)) {
            return value.$long[0].repeat(value.$long[1].value);
        }
        if (Object.hasOwn(value, "$json") && Object.keys(value).length === 1) {
            return write(spell(value.$json, bindings, i));
        }
        return Object.fromEntries(Object.entries(value)
            .map(([name, item]) => [name, spell(item, bindings, i)]));
    }
    return value;
}
