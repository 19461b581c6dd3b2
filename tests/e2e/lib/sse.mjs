/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events as the standard describes them: [{event, data, id}], comments left out; an
 * event whose blank line is missing is not there. The bytes are read as a client would: CR, LF or
 * CRLF, several data lines joined by LF, one blank behind the colon is no part of the value.
 */
export function sse_events(bytes) {
    const text = Buffer.from(bytes).toString("utf8").replace(/^\uFEFF/, "");
    const events = [];
    let data = [];
    let event = null;
    const lines = text.split(/\r\n|\n|\r/);
    lines.pop();                        /* what no line end follows */
    for (const line of lines) {
        if (line === "") {
            if (data.length > 0) {
                events.push({ event, data: data.join("\n") });
            }
            data = [];
            event = null;
            continue;
        }
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "data") {
            data.push(value);
        } else if (name === "event") {
            event = value;
        }
    }
    return events;
}
