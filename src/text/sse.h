/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events (WHATWG HTML, 9.2), cut anywhere, framed so that nothing is lost.
 *
 * A frame is all bytes up to and with the empty line that ends an event: comments, unknown fields,
 * line ends (LF, CRLF, CR, mixed) included. The frames' raw bytes in order are the input, byte for
 * byte. Comments or blank lines without a data field make frames with data null; comment lines are
 * held only until the next field, which begins a frame of its own, or empty line. A BOM at the
 * start belongs to the first frame. sse_end gives what is left as a last frame (an event without
 * its empty line counts: vendors end so).
 *
 * How the input was cut never changes the frames. So an empty line that ends in CR at the end of
 * the bytes waits for the next one: a LF would belong to it.
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
    struct buf carry;  /* the beginning of a frame whose end has not come */
    struct buf joined; /* data of several lines */
    struct str input;  /* fed and not yet taken */
    /* The rest is the parser's own: where in a line and in a frame the input is. */
    bool carry_given; /* the carry was handed out as a frame: the next call drops it */
    bool failed;
    bool line_begun;    /* the line has a byte */
    bool after_cr;      /* a line ended in CR: a LF would belong to its end */
    bool ended;         /* that line was empty */
    bool comments_only; /* the frame has comment lines, and no other */
    bool fields_begun;  /* the frame has a line that is no comment */
    bool bom_passed;    /* the stream's start is behind us */
    uint8_t bom_bytes;  /* of a BOM that is being read */
};

/* event_bytes_max bounds one frame (sse_event_bytes_max). Takes no memory yet. */
void sse_init(struct sse *sse, size_t event_bytes_max);
void sse_fini(struct sse *sse);

/* Gives the input; then sse_next until it returns false. The bytes are borrowed until then. */
void sse_feed(struct sse *sse, struct str bytes);
/* The next whole frame. False: no more (e->code OK; what is left was carried), or the frame passed
 * event_bytes_max (e->code UPSTREAM_TOO_LARGE, from then on always). */
NODISCARD bool sse_next(struct sse *sse, struct sse_frame *ret_frame, struct error *e);
/* What is fed and not yet taken, when a frame begins there; else empty. Who knows that a frame is
 * the first n bytes of it, at most event_bytes_max, takes it without having it looked for. */
struct str sse_ahead(struct sse *sse);
struct str sse_take(struct sse *sse, size_t n);
/* The input has ended, and sse_next said that there is no more: the rest as a frame, false when
 * there is none. */
NODISCARD bool sse_end(struct sse *sse, struct sse_frame *ret_frame);

/* How many lines a frame's raw bytes have, and of those how many stand before its first data
 * line. */
NODISCARD size_t sse_count_lines(struct str raw, size_t *ret_before_data);
