/* SPDX-License-Identifier: MIT */
/*
 * JSON that keeps what JSON.parse loses: numbers stay the text they were (Num), and a member that
 * stands twice is an error. write() gives the same numbers back.
 *
 * Not here: integer-like member names in their order; JavaScript puts them first.
 */

export class Num {
    constructor(source) {
        this.source = source;
    }

    get value() {
        return Number(this.source);
    }

    toJSON() {
        return this.value;
    }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const BLANK = /[ \t\r\n]*/y;
const WORDS = new Map([["true", true], ["false", false], ["null", null]]);

class Reader {
    constructor(text) {
        this.text = text;
        this.at = 0;
    }

    fail(what) {
        throw new SyntaxError(`JSON: ${what} at ${this.at}: ${
            JSON.stringify(this.text.slice(this.at, this.at + 40))}`);
    }

    take(pattern) {
        pattern.lastIndex = this.at;
        const found = pattern.exec(this.text);
        if (found === null) {
            return null;
        }
        this.at += found[0].length;
        return found[0];
    }

    next() {
        this.take(BLANK);
        return this.text[this.at];
    }

    expect(char) {
        if (this.next() !== char) {
            this.fail(`no ${char}`);
        }
        this.at++;
    }

    value() {
        const char = this.next();
        if (char === "{") {
            return this.object();
        }
        if (char === "[") {
            return this.array();
        }
        if (char === "\"") {
            return this.string();
        }
        for (const [word, value] of WORDS) {
            if (this.text.startsWith(word, this.at)) {
                this.at += word.length;
                return value;
            }
        }
        const number = this.take(NUMBER);
        return number === null ? this.fail("no value") : new Num(number);
    }

    string() {
        this.next();
        const source = this.take(STRING);
        return source === null ? this.fail("no string") : JSON.parse(source);
    }

    object() {
        const object = {};
        this.expect("{");
        if (this.next() === "}") {
            this.at++;
            return object;
        }
        for (;;) {
            const name = this.string();
            if (Object.hasOwn(object, name)) {
                this.fail(`a second ${name}`);
            }
            this.expect(":");
            object[name] = this.value();
            if (this.next() === "}") {
                this.at++;
                return object;
            }
            this.expect(",");
        }
    }

    array() {
        const array = [];
        this.expect("[");
        if (this.next() === "]") {
            this.at++;
            return array;
        }
        for (;;) {
            array.push(this.value());
            if (this.next() === "]") {
                this.at++;
                return array;
            }
            this.expect(",");
        }
    }
}

export function parse(text) {
    const reader = new Reader(String(text));
    const value = reader.value();
    if (reader.next() !== undefined) {
        reader.fail("more after the value");
    }
    return value;
}

export function write(value) {
    if (value instanceof Num) {
        return value.source;
    }
    if (Array.isArray(value)) {
        return `[${value.map(write).join(",")}]`;
    }
    if (value !== null && typeof value === "object") {
        return `{${Object.entries(value).filter(([, item]) => item !== undefined)
            .map(([name, item]) => `${JSON.stringify(name)}:${write(item)}`).join(",")}}`;
    }
    return JSON.stringify(value);
}
