/* SPDX-License-Identifier: MIT */
/*
 * Gemini: responses like the one before, without parsing them.
 *
 * What      The responses of a stream differ in one text and in some counts of tokens. A template
 *           is a response with holes in these places; one that equals it outside of the holes says
 *           what it said, but for what stands in them.
 * How
 *             {"candidates":[{"content":{"parts":[{"text":"####"}], ... "promptTokenCount":##, ...}
 *             +--------------- piece --------------------+    +--------- piece --------+  +piece
 *
 *           learn    after a parsed response that only went on with a text, and said usage: its
 *                    bytes are walked once; numbers of known members are holes, as is the text.
 *                    What the holes hold must be what the events said.
 *           match    pieces are compared, holes read: a string that is checked, digits that are a
 *                    JSON integer. All else is the same bytes, so it parses to the same.
 *           Either holds only while the candidate's block is the one that was open then.
 *           Streams whose responses differ elsewhere too are given up after some tries.
 * Owns      The template, in the decoder.
 */
#include "protocol/gemini_priv.h"

enum { TRIES_MAX = 16, KEY_DEPTH = 2 };

static const char *const count_keys[GEMINI_COUNTS] = {
    [GEMINI_PROMPT] = "promptTokenCount",       [GEMINI_OUTPUT] = "candidatesTokenCount",
    [GEMINI_THOUGHTS] = "thoughtsTokenCount",   [GEMINI_CACHED] = "cachedContentTokenCount",
    [GEMINI_TOOLS] = "toolUsePromptTokenCount", [GEMINI_TOTAL] = "totalTokenCount",
};

const char *gemini_template_key(enum gemini_count count)
{
    return count_keys[count];
}

/* --- learning ----------------------------------------------------------------------------- */

/* A walk over a JSON text that is known to be valid. */
struct walk {
    struct str data;
    size_t at;
    size_t piece; /* where the present piece began */
    size_t depth;
    struct str key; /* of the member whose value comes */
    size_t usages;  /* objects that say usage, so far */
    bool in_usage;  /* in one, or deeper */
    struct gemini_template *to;
    struct str text; /* what the text's hole holds, with quotes */
};

/* Ends the piece before the hole [begin, end). False: too much. */
static bool add_hole(struct walk *w, uint8_t kind, size_t begin, size_t end)
{
    struct gemini_template *t = w->to;
    size_t n = begin - w->piece;

    if (t->holes == GEMINI_HOLES_MAX || t->bytes_n + n > sizeof(t->bytes))
        return false;
    memcpy(t->bytes + t->bytes_n, w->data.p + w->piece, n);
    t->bytes_n += n;
    t->piece_n[t->holes] = (uint16_t)n;
    t->kind[t->holes++] = kind;
    w->piece = end;
    return true;
}

static bool has_hole(const struct gemini_template *t, uint8_t kind)
{
    for (uint32_t i = 0; i < t->holes; i++) {
        if (t->kind[i] == kind)
            return true;
    }
    return false;
}

/* Which count of usage the value that comes is; GEMINI_COUNTS: none. */
static uint8_t count_of(const struct walk *w)
{
    uint8_t i = 0;

    if (w->depth != KEY_DEPTH || !w->in_usage)
        return GEMINI_COUNTS;
    while (i < GEMINI_COUNTS && !str_eq(w->key, str_c(count_keys[i])))
        i++;
    return i;
}

/* A string; keys are remembered, the text is a hole. False: there are two texts, or too much, or a
 * count is said as a string. */
static bool walk_string(struct walk *w)
{
    bool escaped;
    size_t begin = w->at;
    size_t n = json_string_skip(w->data.p + begin + 1, w->data.n - begin - 1, &escaped);

    if (n == SIZE_MAX)
        return false;
    w->at = begin + n + 2;
    size_t next = w->at;
    while (next < w->data.n && (unsigned char)w->data.p[next] <= ' ')
        next++;
    if (next < w->data.n && w->data.p[next] == ':') {
        w->key = str_of(w->data.p + begin + 1, n);
        return true;
    }
    if (!str_eq(w->key, STR("text")))
        return count_of(w) == GEMINI_COUNTS;
    w->text = str_of(w->data.p + begin, n + 2);
    return !has_hole(w->to, GEMINI_HOLE_TEXT) &&
           add_hole(w, GEMINI_HOLE_TEXT, begin + 1, w->at - 1);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits alone are a hole where they count tokens. False: a count that is said otherwise. */
static bool walk_number(struct walk *w)
{
    size_t begin = w->at;
    uint8_t count = count_of(w);
    bool digits = true;

    for (; w->at < w->data.n; w->at++) {
        char c = w->data.p[w->at];
        if (!is_digit(c) && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E')
            break;
        digits &= is_digit(c);
    }
    if (!digits)
        return count == GEMINI_COUNTS;
    if (str_eq(w->key, STR("tokenCount")))
        return add_hole(w, GEMINI_HOLE_ANY, begin, w->at);
    if (count == GEMINI_COUNTS)
        return true;
    return !has_hole(w->to, count) && add_hole(w, count, begin, w->at);
}

/* Between values. */
static void walk_other(struct walk *w)
{
    char c = w->data.p[w->at++];

    w->depth -= (c == '}' || c == ']') && w->depth > 0 ? 1 : 0;
    if ((c != '{' && c != '[') || ++w->depth != KEY_DEPTH)
        return;
    w->in_usage = str_eq(w->key, STR("usageMetadata"));
    w->usages += w->in_usage ? 1 : 0;
}

static bool walk_all(struct walk *w)
{
    while (w->at < w->data.n) {
        char c = w->data.p[w->at];
        if (c == '"') {
            if (!walk_string(w))
                return false;
        } else if ((c >= '0' && c <= '9') || c == '-') {
            if (!walk_number(w))
                return false;
        } else {
            walk_other(w);
        }
    }
    size_t rest = w->data.n - w->piece;
    if (w->to->bytes_n + rest > sizeof(w->to->bytes) || !has_hole(w->to, GEMINI_HOLE_TEXT))
        return false;
    memcpy(w->to->bytes + w->to->bytes_n, w->data.p + w->piece, rest);
    w->to->bytes_n += rest;
    w->to->piece_n[w->to->holes] = (uint16_t)rest;
    /* Keys are what they look like, and nothing is said twice. */
    return w->usages <= 1 && memchr(w->to->bytes, '\\', w->to->bytes_n) == NULL;
}

/* The frame's only events are a text of the open block, and usage perhaps. */
static struct gemini_choice *only_text(const struct gemini_decoder *d)
{
    const struct event *event = d->base.events;
    struct gemini_choice *c = d->choices;

    if (d->base.n < 1 || d->base.n > 2 || d->base.over || d->base.too_many ||
        (event->kind != EVENT_TEXT && event->kind != EVENT_REASONING) ||
        (d->base.n == 2 && d->base.events[1].kind != EVENT_USAGE))
        return NULL;
    while (c != NULL && c->index != event->choice)
        c = c->next;
    return c != NULL && c->open == event->block && !c->open_signed && !c->stopped ? c : NULL;
}

void gemini_template_learn(struct gemini_decoder *d, struct str data)
{
    struct gemini_template *t = &d->template;
    struct gemini_choice *c = t->tries < TRIES_MAX ? only_text(d) : NULL;
    struct walk w = {.data = data, .to = t};

    if (c == NULL || data.n > GEMINI_TEMPLATE_BYTES)
        return;
    t->tries++;
    t->choice = NULL;
    t->holes = 0;
    t->bytes_n = 0;
    if (!walk_all(&w))
        return;
    struct str said = json_string_value(w.text, d->base.options.scratch);
    if (!str_eq(said, d->base.events[0].text))
        return;
    t->thought = d->base.events[0].kind == EVENT_REASONING;
    t->block = c->open;
    t->choice = c;
}

/* --- matching ----------------------------------------------------------------------------- */

/* A count of at most 18 digits. False: it is none, or would not be JSON. */
static bool take_digits(struct str data, size_t *at, int64_t *ret_count)
{
    enum { DIGITS_MAX = 18 };
    size_t begin = *at;
    int64_t count = 0;

    while (*at < data.n && is_digit(data.p[*at]) && *at - begin < DIGITS_MAX)
        count = count * 10 + (data.p[(*at)++] - '0');
    size_t n = *at - begin;
    *ret_count = count;
    /* A further digit is not what the next piece begins with. */
    return n > 0 && (n == 1 || data.p[begin] != '0');
}

/* The holes of data, which is like the template. text: without quotes. */
static bool match(const struct gemini_template *t, struct str data, struct str *ret_text,
                  bool *ret_escaped, struct gemini_counts *counts)
{
    const char *bytes = t->bytes;
    size_t at = 0;

    for (uint32_t i = 0; i <= t->holes; i++) {
        size_t n = t->piece_n[i];
        int64_t count;
        if (data.n - at < n || memcmp(data.p + at, bytes, n) != 0)
            return false;
        at += n;
        bytes += n;
        if (i == t->holes)
            break;
        if (t->kind[i] == GEMINI_HOLE_TEXT) {
            size_t length = json_string_scan(data.p + at, data.n - at, ret_escaped);
            if (length == SIZE_MAX || length == 0)
                return false;
            *ret_text = str_of(data.p + at, length);
            at += length;
        } else {
            if (!take_digits(data, &at, &count))
                return false;
            if (t->kind[i] < GEMINI_COUNTS) {
                counts->count[t->kind[i]] = count;
                counts->said |= 1u << t->kind[i];
            }
        }
    }
    return at == data.n;
}

bool gemini_template_match(struct gemini_decoder *d, struct str data)
{
    struct gemini_template *t = &d->template;
    struct gemini_choice *c = t->choice;
    struct gemini_counts counts = {.said = 0};
    struct str text = STR_NULL;
    bool escaped = false;

    if (c == NULL || c->open != t->block || c->open_signed || c->stopped || d->base.n > 0 ||
        !match(t, data, &text, &escaped, &counts))
        return false;
    t->tries = 0;
    t->matched++;
    if (escaped)
        text = json_string_value(str_of(text.p - 1, text.n + 2), d->base.options.scratch);
    /* No scratch for what is two events at most. */
    d->base.events = t->events;
    d->base.size = COUNT_OF(t->events);
    struct event *event = decode_event(&d->base, t->thought ? EVENT_REASONING : EVENT_TEXT,
                                       c->index, c->open);
    event->text = text;
    if (!t->thought)
        gemini_cite_count(&c->offsets, text, d->base.options.arena);
    gemini_decode_usage(d, &counts);
    return true;
}
