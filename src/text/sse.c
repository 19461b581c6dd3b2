/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events, framed.
 *
 * What      Cuts a byte stream into frames and finds their event and data fields.
 * How       frame_end looks for the end of the frame in the input and keeps, in a few flags, where
 *           it stopped: no byte is looked at twice for that, however the input is cut. A frame that
 *           lies in the input whole is handed out as a slice; the beginning of one whose end has
 *           not come is carried, and what belongs to it is added by the next calls:
 *
 *             input  [ frame | frame | frame | begi ]    carry  [ begi ]
 *             input  [ nning | frame | ...          ]    carry  [ beginning ]
 *
 *           frame_fields then reads a whole frame's lines.
 * Owns      The two buffers. The carry is given back with its frame, so that a stream which waits
 *           between events holds none.
 * Not here  What events mean, the retry and id fields (nobody asks for them).
 */
#include "text/sse.h"

#include "base/scan.h"

#define BOM "\xEF\xBB\xBF"

enum { BOM_SIZE = sizeof(BOM) - 1 };

void sse_init(struct sse *sse, size_t event_bytes_max)
{
    assert(event_bytes_max > 0);
    *sse = (struct sse){.input = STR("")};
    buf_init(&sse->carry, event_bytes_max);
    buf_init(&sse->joined, event_bytes_max);
}

void sse_fini(struct sse *sse)
{
    buf_fini(&sse->carry);
    buf_fini(&sse->joined);
    sse->input = STR("");
}

void sse_feed(struct sse *sse, struct str bytes)
{
    assert(sse->input.n == 0);
    if (bytes.n > 0)
        sse->input = bytes;
}

/* What belongs to the frame that was handed out: a stream that waits holds no memory. */
static void drop_given(struct sse *sse)
{
    if (UNLIKELY(sse->carry_given))
        buf_fini(&sse->carry);
    if (UNLIKELY(sse->joined.p != NULL))
        buf_fini(&sse->joined);
    sse->carry_given = false;
}

static void begin_line(struct sse *sse)
{
    sse->line_begun = false;
    sse->after_cr = false;
    sse->ended = false;
}

/* The bytes of a BOM at the stream's start are no part of the first line. */
static size_t pass_bom(struct sse *sse, struct str s)
{
    size_t i = 0;

    while (i < s.n && sse->bom_bytes < BOM_SIZE && s.p[i] == BOM[sse->bom_bytes]) {
        sse->bom_bytes++;
        i++;
    }
    if (sse->bom_bytes < BOM_SIZE && i == s.n)
        return i;
    sse->bom_passed = true;
    /* A part of one is a line like any other. */
    if (sse->bom_bytes < BOM_SIZE && sse->bom_bytes > 0) {
        sse->line_begun = true;
        sse->fields_begun = true;
    }
    return i;
}

/* The line's end was read, c its last byte. Whether the frame's end is behind it. */
static bool end_line(struct sse *sse, char c)
{
    bool empty = !sse->line_begun;

    if (c == '\r') {
        sse->after_cr = true;
        sse->ended = empty;
        return false;
    }
    begin_line(sse);
    return empty;
}

/*
 * Reads s, which continues the frame. Returns how many of its bytes are the frame's when its end
 * is known, else SIZE_MAX (all of them are).
 */
static size_t frame_end(struct sse *sse, struct str s)
{
    size_t i = UNLIKELY(!sse->bom_passed) ? pass_bom(sse, s) : 0;

    while (i < s.n) {
        if (UNLIKELY(sse->after_cr)) {
            bool ended = sse->ended;
            i += s.p[i] == '\n';
            begin_line(sse);
            if (ended)
                return i;
            continue;
        }
        char c = s.p[i];
        if (!sse->line_begun && c != '\n' && c != '\r') {
            if (c == ':') {
                sse->comments_only = !sse->fields_begun;
            } else if (UNLIKELY(sse->comments_only)) {
                return i;
            } else {
                sse->fields_begun = true;
            }
            sse->line_begun = true;
        }
        i += scan_line(s.p + i, s.n - i);
        if (i < s.n && end_line(sse, s.p[i++]))
            return i;
    }
    return SIZE_MAX;
}

/* --- fields --- */

/* Takes the next line off *rest, without its end. */
static struct str take_line(struct str *rest)
{
    size_t n = scan_line(rest->p, rest->n);
    struct str line = str_head(*rest, n);

    if (n < rest->n)
        n += rest->p[n] == '\r' && n + 1 < rest->n && rest->p[n + 1] == '\n' ? 2 : 1;
    *rest = str_from(*rest, n);
    return line;
}

/* A field's value when the line is one of that name; one blank after the colon is no part of it. */
static bool field_value(struct str line, struct str name, struct str *ret_value)
{
    if (!str_starts(line, name))
        return false;
    struct str value = str_from(line, name.n);
    if (value.n > 0 && value.p[0] != ':')
        return false;
    value = str_from(value, 1);
    if (value.n > 0 && value.p[0] == ' ')
        value = str_from(value, 1);
    *ret_value = value;
    return true;
}

/* A further data line: all of them move to the buffer. Less than the frame, so they fit. */
static void join(struct sse *sse, struct str *data, struct str line, bool first)
{
    if (first)
        buf_add(&sse->joined, *data);
    buf_add_char(&sse->joined, '\n');
    buf_add(&sse->joined, line);
    assert(buf_ok(&sse->joined));
    *data = buf_str(&sse->joined);
}

static void frame_fields(struct sse *sse, struct str raw, bool at_start, struct sse_frame *frame)
{
    struct str rest = raw;
    size_t lines = 0;

    assert(raw.n > 0);
    if (UNLIKELY(at_start) && str_starts(raw, STR(BOM)))
        rest = str_from(rest, BOM_SIZE);
    *frame = (struct sse_frame){.raw = raw};
    while (rest.n > 0) {
        struct str line = take_line(&rest);
        struct str value;
        if (field_value(line, STR("data"), &value)) {
            if (lines == 0)
                frame->data = value;
            else
                join(sse, &frame->data, value, lines == 1);
            lines++;
        } else if (field_value(line, STR("event"), &value)) {
            frame->event = value;
        }
    }
}

/* --- frames --- */

/* The frame is raw: the next one begins. */
static void give(struct sse *sse, struct str raw, struct sse_frame *ret_frame)
{
    bool at_start = sse->bom_bytes > 0;

    frame_fields(sse, raw, at_start, ret_frame);
    /* Only the first frame can begin with the stream's BOM. */
    sse->bom_bytes = 0;
    sse->comments_only = false;
    sse->fields_begun = false;
}

/* The input begins with a frame, which is not the stream's first. */
static bool at_frame(const struct sse *sse)
{
    assert(sse->carry.n > 0 || !sse->bom_passed ||
           (!sse->line_begun && !sse->after_cr && !sse->fields_begun));
    return sse->carry.n == 0 && sse->bom_passed;
}

/* The line end at at, LF or CR LF: its bytes. 0: none, or a CR behind which a LF may come. */
static size_t line_end(struct str s, size_t at)
{
    if (at < s.n && s.p[at] == '\n')
        return 1;
    return s.n - at >= 2 && s.p[at] == '\r' && s.p[at + 1] == '\n' ? 2 : 0;
}

/* The field that s begins with, if it is of that name and its line has an end, of *ret_n bytes. */
static bool simple_field(struct str s, struct str name, struct str *ret_value, size_t *ret_n)
{
    if (!str_starts(s, name))
        return false;
    size_t n = scan_line(s.p, s.n);
    size_t end = line_end(s, n);
    *ret_n = n + end;
    return end > 0 && field_value(str_head(s, n), name, ret_value);
}

/*
 * Most streams say nothing but one data line, an event line before it or none, and an empty line,
 * ended by LF or CR LF. Such a frame, whole in the input, is known after one scan. Anything else is
 * left to the general way.
 */
static bool give_simple(struct sse *sse, struct sse_frame *ret_frame)
{
    struct str s = sse->input;
    struct str event = STR_NULL;
    struct str data;
    size_t begin = 0;
    size_t n = 0;

    if (!at_frame(sse))
        return false;
    if (s.p[0] == 'e' && !simple_field(s, STR("event"), &event, &begin))
        return false;
    if (!simple_field(str_from(s, begin), STR("data"), &data, &n))
        return false;
    n += begin;
    size_t empty = line_end(s, n);
    n += empty;
    if (empty == 0 || n > sse->carry.size_max)
        return false;
    *ret_frame = (struct sse_frame){.raw = str_head(s, n), .event = event, .data = data};
    sse->input = str_from(s, n);
    return true;
}

static COLD bool too_large(struct sse *sse, struct error *e)
{
    sse->failed = true;
    sse->input = STR("");
    (void)FAIL(e, ERR_UPSTREAM_TOO_LARGE, "an event of more than %zu bytes", sse->carry.size_max);
    return false;
}

bool sse_next(struct sse *sse, struct sse_frame *ret_frame, struct error *e)
{
    drop_given(sse);
    if (UNLIKELY(sse->failed))
        return too_large(sse, e);
    e->code = OK;
    if (sse->input.n == 0)
        return false;
    if (give_simple(sse, ret_frame))
        return true;

    size_t n = frame_end(sse, sse->input);
    bool whole = n != SIZE_MAX;
    struct str part = str_head(sse->input, n);
    if (UNLIKELY(part.n > sse->carry.size_max - sse->carry.n))
        return too_large(sse, e);
    sse->input = str_from(sse->input, part.n);
    if (!whole || sse->carry.n > 0) {
        bool fits = buf_add(&sse->carry, part);
        assert(fits);
        if (!whole)
            return false;
        sse->carry_given = true;
        part = buf_str(&sse->carry);
    }
    give(sse, part, ret_frame);
    return true;
}

struct str sse_ahead(struct sse *sse)
{
    drop_given(sse);
    return at_frame(sse) && !sse->failed ? sse->input : STR("");
}

struct str sse_take(struct sse *sse, size_t n)
{
    struct str raw = str_head(sse->input, n);

    assert(at_frame(sse) && n > 0 && n <= sse->input.n && n <= sse->carry.size_max);
    sse->input = str_from(sse->input, n);
    return raw;
}

bool sse_end(struct sse *sse, struct sse_frame *ret_frame)
{
    drop_given(sse);
    assert(sse->input.n == 0);
    if (sse->failed || sse->carry.n == 0)
        return false;
    sse->carry_given = true;
    give(sse, buf_str(&sse->carry), ret_frame);
    return true;
}

size_t sse_count_lines(struct str text, size_t *ret_before_data)
{
    size_t lines = 0;
    bool found = false;
    bool at_begin = true;

    *ret_before_data = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (at_begin && !found && str_starts(str_from(text, i), STR("data"))) {
            *ret_before_data = lines;
            found = true;
        }
        at_begin = text.p[i] == '\n' ||
                   (text.p[i] == '\r' && (i + 1 == text.n || text.p[i + 1] != '\n'));
        lines += at_begin;
    }
    return lines;
}
