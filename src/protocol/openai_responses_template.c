/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: decoding a delta by comparing it with the one before.
 *
 * What      Deltas of one text differ in three values: the number, the text, the padding. Such
 *           an event is decoded by comparisons and scans; nothing is parsed.
 * How       An event that was parsed and said one TEXT, REASONING or TOOL_ARGS is kept as its
 *           pieces around the holes where these values stood:
 *
 *               {…,"sequence_number": HOLE ,…,"delta":" HOLE ",…,"obfuscation":" HOLE "}
 *               '------ piece 0 ----'    '-- piece 1 -'     '----- piece 2 ----'    '3'
 *
 * Why this is right: JSON is read from the left. A piece is the same bytes, so both readers stand
 * in the same place; a hole is checked to hold a whole string body, or a number that is one token,
 * and to end where the next piece begins: both leave it with the same stack. So both texts are
 * valid together, and their trees differ in these values only (no piece holds a backslash: keys
 * are what they look like). What the first one said is a function of its tree and of the decoder's
 * state; any event that is parsed may change that, and ends the template. That the first one itself
 * changed it does no harm: read again in the state after it, it says its text alone, as its item
 * and block are open then. The number and the padding are never read, and the text must not be
 * empty.
 *
 * Owns      A copy of the pieces, bounded, in the answer's arena.
 * Not here  Reading JSON: openai_responses_decode.c.
 */
#include "protocol/openai_responses_priv.h"

enum { LEARN_BYTES_MAX = 16 * 1024, NUMBER_DIGITS_MAX = 15 };

/* A hole in data, [begin, end). */
struct hole {
    size_t begin;
    size_t end;
    bool number;
    bool text;
};

/* --- match -------------------------------------------------------------------------------- */

/* The length of the number that stands there, as JSON writes whole ones; SIZE_MAX: none. */
static size_t scan_number(const char *p, size_t n)
{
    size_t digits = 0;

    while (digits < n && digits <= NUMBER_DIGITS_MAX && p[digits] >= '0' && p[digits] <= '9')
        digits++;
    if (digits == 0 || digits > NUMBER_DIGITS_MAX || (digits > 1 && p[0] == '0'))
        return SIZE_MAX;
    return digits;
}

static struct str unescape(struct openai_responses_decoder *d, struct str body, bool escaped)
{
    /* The quotes stand around it: pieces end and begin with them. */
    return escaped ? json_string_value(str_of(body.p - 1, body.n + 2), d->base.options.scratch)
                   : body;
}

bool openai_responses_template_match(struct openai_responses_decoder *d, struct str data)
{
    const struct openai_responses_template *t = &d->template;
    const char *piece = t->bytes;
    struct str text = STR_NULL;
    bool text_escaped = false;
    size_t at = 0;

    for (uint32_t i = 0;; i++) {
        size_t n = t->piece_n[i];
        bool escaped = false;
        assert(at <= data.n);
        if (n > data.n - at || memcmp(data.p + at, piece, n) != 0)
            return false;
        at += n;
        piece += n;
        if (i == t->holes)
            break;
        size_t body = t->number[i] ? scan_number(data.p + at, data.n - at)
                                   : json_string_scan(data.p + at, data.n - at, &escaped);
        if (body == SIZE_MAX)
            return false;
        if (i == t->text_hole) {
            text = str_of(data.p + at, body);
            text_escaped = escaped;
        }
        at += body;
    }
    if (at != data.n || text.n == 0)
        return false;
    text = unescape(d, text, text_escaped);
    if (text.n == 0)
        return false;
    decode_event(&d->base, t->kind, 0, t->block)->text = text;
    return true;
}

/* --- learn -------------------------------------------------------------------------------- */

static bool add_hole(struct hole *holes, uint32_t *n, struct str data, const char *key)
{
    struct str value = json_object_find(data, str_c(key));
    struct hole hole = {.text = key[0] == 'd'};

    if (value.n == 0)
        return key[0] != 'd';
    hole.begin = (size_t)(value.p - data.p);
    hole.end = hole.begin + value.n;
    hole.number = value.p[0] != '"';
    if (hole.number && scan_number(value.p, value.n) != value.n)
        return false;
    if (!hole.number) {
        hole.begin++;
        hole.end--;
    }
    /* In the order of their bytes. */
    uint32_t at = *n;
    for (; at > 0 && holes[at - 1].begin > hole.begin; at--)
        holes[at] = holes[at - 1];
    holes[at] = hole;
    (*n)++;
    return true;
}

/* The text that the event said last, after nothing but what it had to begin; else NULL. */
static const struct event *text_event(const struct openai_responses_decoder *d)
{
    if (d->base.n == 0)
        return NULL;
    for (uint32_t i = 0; i + 1 < d->base.n; i++) {
        enum event_kind kind = d->base.events[i].kind;
        if (kind != EVENT_START && kind != EVENT_BLOCK_BEGIN && kind != EVENT_REASONING)
            return NULL;
    }
    const struct event *last = &d->base.events[d->base.n - 1];
    bool text = last->kind == EVENT_TEXT || last->kind == EVENT_REASONING ||
                last->kind == EVENT_TOOL_ARGS;
    return text ? last : NULL;
}

static bool store(struct openai_responses_decoder *d, struct str data, const struct hole *holes,
                  uint32_t n)
{
    struct openai_responses_template *t = &d->template;
    size_t at = 0;
    size_t total = 0;

    if (t->bytes == NULL) {
        t->bytes = arena_alloc(d->base.options.arena, OPENAI_RESPONSES_TEMPLATE_BYTES_MAX);
        if (arena_overflowed(d->base.options.arena)) {
            t->bytes = NULL;
            return false;
        }
    }
    for (uint32_t i = 0; i <= n; i++) {
        size_t end = i < n ? holes[i].begin : data.n;
        if (end - at > OPENAI_RESPONSES_TEMPLATE_BYTES_MAX - total)
            return false;
        memcpy(t->bytes + total, data.p + at, end - at);
        t->piece_n[i] = end - at;
        total += end - at;
        if (i == n)
            break;
        t->number[i] = holes[i].number;
        if (holes[i].text)
            t->text_hole = i;
        at = holes[i].end;
    }
    return memchr(t->bytes, '\\', total) == NULL;
}

void openai_responses_template_learn(struct openai_responses_decoder *d, struct str data)
{
    const struct event *event = text_event(d);
    struct hole holes[OPENAI_RESPONSES_TEMPLATE_HOLES];
    uint32_t n = 0;

    d->template.holes = 0;
    if (event == NULL || data.n > LEARN_BYTES_MAX || arena_overflowed(d->base.options.scratch))
        return;
    if (!add_hole(holes, &n, data, "delta") || !add_hole(holes, &n, data, "sequence_number") ||
        !add_hole(holes, &n, data, "obfuscation"))
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (holes[i].text && holes[i].number)
            return;
    }
    if (!store(d, data, holes, n))
        return;
    d->template.holes = n;
    d->template.kind = event->kind;
    d->template.block = event->block;
}
