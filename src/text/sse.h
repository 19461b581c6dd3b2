/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events (WHATWG HTML, 9.2), cut anywhere, framed so that nothing is lost.
 *
 * A frame is all bytes up to and with the empty line that ends an event: comments, unknown fields,
 * line ends (LF, CRLF, CR, mixed) included. The frames' raw bytes in order are the input, byte for
 * byte. Comments or blank lines without a data field make frames with data null; a BOM at the start
 * belongs to the first frame. sse_end gives what is left as a last frame (an event without its empty line counts:
 * vendors end so). A comment that is complete with its line end is held only until the next
 * field or empty line.
 *
 * raw and data are valid until the next sse_* call on the parser: they lie in the input where a
 * frame lies in it whole and its data is one line, else in the parser's buffer.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct sse_frame {
    struct str raw;
    struct str event; /* the event field, null without one */
    struct str data;  /* data lines joined by LF; null without any data field */
};

struct sse {
    struct buf carry;     /* the beginning of a frame whose end has not come */
    struct buf joined;    /* data of several lines, or of lines that were carried */
    /* The rest is the parser's own. */
    size_t scanned;
    bool last_was_cr;
    bool bom_checked;
    struct str input;
    size_t at;
};

/* event_bytes_max bounds one frame (sse_event_bytes_max). Takes no memory yet. */
void sse_init(struct sse *sse, size_t event_bytes_max);
void sse_fini(struct sse *sse);

/* Gives the input; then sse_next until it returns false. The bytes are borrowed until then. */
void sse_feed(struct sse *sse, struct str bytes);
/* The next whole frame. False: no more (what is left was carried) or, with e->code set,
 * the frame passed event_bytes_max. */
NODISCARD bool sse_next(struct sse *sse, struct sse_frame *ret_frame, struct error *e);
/* The input has ended: the rest as a frame, false when there is none. */
NODISCARD bool sse_end(struct sse *sse, struct sse_frame *ret_frame);
