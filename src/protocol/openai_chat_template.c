/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: decoding a frame by comparing it with an earlier one.
 *
 * What      Most frames of a stream differ from the one before by their text alone. Such a frame
 *           is decoded by two comparisons and one scan of the text; nothing is parsed.
 * How       A frame that was parsed and yielded one TEXT, REASONING or TOOL_ARGS event is kept as
 *           its pieces around the holes where strings stood:
 *
 *               data: {"id":"c1",…,"delta":{"content":" HOLE "},…}],"obfuscation":" HOLE "}\n\n
 *               '------------- piece 0 --------------'      '------- piece 1 ------'      '-2-'
 *
 *           Later bytes that are piece 0, a string's body, piece 1 [, a string's body, piece 2] are
 *           a frame that yields the same event with the new text; its end need not be looked for.
 *
 * Why this is right, step by step:
 *   1. Framing. Bodies of JSON strings hold no control characters (json_string_scan refuses
 *      them), so no line ends: both frames have the same lines, and the same `data` but for the
 *      holes. (Templates are learned only from frames whose data is one slice of raw.) The last
 *      piece ends in the LF of an empty line, and with it the frame. (Behind a CR a LF might
 *      belong to it: such frames are not learned.)
 *   2. Grammar. JSON is read from the left. Piece 0 is the same bytes, so both readers stand after
 *      the opening quote of the same string. The scan checks that a body follows which is valid
 *      and ends right before piece 1, that begins with the closing quote: both readers leave the
 *      string, with the same stack. The same goes for the second hole. So both texts are valid
 *      together, and their trees differ in the values of these strings only. (No key is a hole,
 *      and pieces hold no backslash: keys are what they look like, and which of two members with
 *      one key counts is the same.)
 *   3. Meaning. What the first frame yielded is a function of its tree and of the decoder's
 *      state. The state is the same: every change of it counts `version` up, and a template is of
 *      one version, the one after its frame. That the frame itself changed the state does no harm,
 *      as its tree, read again in the state after it, yields the text alone: START comes once, and
 *      a block that is open is not begun again. Nothing asks for the text but whether it is empty:
 *      a hole that is the text must not be. A tool call is looked up by index alone, for frames
 *      whose delta has an id or a name are not learned. `obfuscation` and `p` are never read.
 *   4. What the event leaves behind, the count and hash of a call's arguments, is done here too.
 *
 * Owns      Copies of the pieces, bounded, in the answer's arena.
 * Not here  Reading JSON: openai_chat_delta.c. The test that both ways agree on each recording, and
 *           the fuzzer that looks for a frame where they do not.
 */
#include "protocol/openai_chat_decode_priv.h"

#include "text/json_index.h"

enum {
    PIECES_MAX = 3,
    LEARN_BYTES_MAX = 64 * 1024,
    /* Where frames never match, learning stops: each would cost a search in vain. */
    LEARNED_MAX = 24,
};

/* A hole in raw: a string's body, [begin, end). */
struct hole {
    size_t begin;
    size_t end;
};

/* --- match -------------------------------------------------------------------------------- */

static bool text_set(struct openai_chat_decoder *d, struct str body, bool escaped)
{
    if (!escaped) {
        d->single.text = body;
        return true;
    }
    /* The quotes stand around it: pieces end and begin with them. */
    d->single.text = json_string_value(str_of(body.p - 1, body.n + 2), d->options.scratch);
    return !arena_overflowed(d->options.scratch) && d->single.text.n > 0;
}

/* How many bytes of raw, which begins with a frame, are one like the template; 0: it is not. */
static size_t template_matches(struct openai_chat_decoder *d, const struct openai_chat_template *t,
                               struct str raw)
{
    const char *piece = t->bytes;
    struct str text = STR_NULL;
    bool text_escaped = false;
    size_t at = 0;

    assert(t->holes == 1 || t->holes == 2);
    assert(t->text_hole < t->holes);
    for (uint32_t i = 0;; i++) {
        size_t n = t->piece_n[i];
        bool escaped;
        assert(at <= raw.n);
        if (n > raw.n - at || memcmp(raw.p + at, piece, n) != 0)
            return 0;
        at += n;
        piece += n;
        if (i == t->holes)
            break;
        size_t body = json_string_scan(raw.p + at, raw.n - at, &escaped);
        if (body == SIZE_MAX || (escaped && json_halves_cut(str_of(raw.p + at, body))))
            return 0;
        if (i == t->text_hole) {
            text = str_of(raw.p + at, body);
            text_escaped = escaped;
        }
        at += body;
    }
    if (text.n == 0)
        return 0;
    d->single.kind = t->kind;
    d->single.choice = t->choice;
    d->single.block = t->block;
    return text_set(d, text, text_escaped) ? at : 0;
}

size_t openai_chat_template_match(struct openai_chat_decoder *d, struct str raw)
{
    for (size_t i = 0; i < OPENAI_CHAT_TEMPLATES; i++) {
        struct openai_chat_template *t = &d->templates[i];
        if (t->version != d->version || t->holes == 0)
            continue;
        size_t n = template_matches(d, t, raw);
        if (n == 0 || n > d->options.event_bytes_max)
            continue;
        if (t->tool != NULL)
            openai_chat_delta_count_args(t->tool, d->single.text);
        if (i > 0) {
            struct openai_chat_template used = *t;
            memmove(&d->templates[1], &d->templates[0], i * sizeof(used));
            d->templates[0] = used;
        }
        d->matched++;
        return n;
    }
    return 0;
}

/* --- learn -------------------------------------------------------------------------------- */

static struct str element(struct str array, size_t at)
{
    size_t cursor = 0;
    struct str value;

    if (array.n == 0 || json_kind_of(array) != JSON_ARRAY)
        return STR_NULL;
    while (json_array_next(array, &cursor, &value)) {
        if (at-- == 0)
            return value;
    }
    return STR_NULL;
}

static struct str member(struct str object, const char *key)
{
    if (object.n == 0 || json_kind_of(object) != JSON_OBJECT)
        return STR_NULL;
    return json_object_find(object, str_c(key));
}

/* The string value as a hole of raw. */
static bool hole_of(struct str value, struct str raw, struct hole *ret_hole)
{
    if (value.n < 2 || value.p[0] != '"')
        return false;
    assert(value.p >= raw.p);
    assert(value.p + value.n <= raw.p + raw.n);
    ret_hole->begin = (size_t)(value.p - raw.p) + 1;
    ret_hole->end = ret_hole->begin + value.n - 2;
    return true;
}

static struct str place_find(const struct openai_chat_place *place, struct str choices)
{
    struct str message = member(element(choices, place->choice_at), place->message);

    if (place->inner != NULL)
        message = member(element(member(message, "tool_calls"), place->tool_at), place->inner);
    return member(message, place->member);
}

/* The holes of a frame in the order of its bytes; 0: it cannot be a template. */
static uint32_t find_holes(const struct openai_chat_decoder *d, const struct sse_frame *sse,
                           struct hole holes[2], uint32_t *ret_text_hole)
{
    struct json_fields root = {.n = 0};
    struct str choices = json_fields_find(&root, sse->data, STR("choices"));

    if (!hole_of(place_find(&d->place, choices), sse->raw, &holes[0]))
        return 0;
    *ret_text_hole = 0;
    struct str padding = json_fields_find(&root, sse->data, STR("obfuscation"));
    if (str_is_null(padding))
        padding = json_fields_find(&root, sse->data, STR("p"));
    if (!hole_of(padding, sse->raw, &holes[1]))
        return 1;
    if (holes[1].begin < holes[0].begin) {
        struct hole first = holes[1];
        holes[1] = holes[0];
        holes[0] = first;
        *ret_text_hole = 1;
    }
    assert(holes[0].end < holes[1].begin);
    return 2;
}

/* The text event that the frame yielded last, after nothing but what it had to begin; else NULL. */
static const struct event *text_event(const struct openai_chat_decoder *d)
{
    for (uint32_t i = 0; i + 1 < d->n; i++) {
        enum event_kind kind = d->events[i].kind;
        if (kind != EVENT_START && kind != EVENT_BLOCK_BEGIN && kind != EVENT_BLOCK_END)
            return NULL;
    }
    if (d->n == 0)
        return NULL;
    const struct event *last = &d->events[d->n - 1];
    bool text = last->kind == EVENT_TEXT || last->kind == EVENT_REASONING ||
                last->kind == EVENT_TOOL_ARGS;
    return text ? last : NULL;
}

/* The bytes are one slice of raw (else raw and data lie in different buffers). */
static bool lies_in(struct str data, struct str raw)
{
    uintptr_t begin = (uintptr_t)raw.p;
    uintptr_t at = (uintptr_t)data.p;

    return at >= begin && at - begin <= raw.n && data.n <= raw.n - (at - begin);
}

/* The slot to fill: that of the same pieces where there is one (only its version is old), else
 * the last, used longest ago. */
static struct openai_chat_template *slot_for(struct openai_chat_decoder *d)
{
    struct openai_chat_template last = d->templates[OPENAI_CHAT_TEMPLATES - 1];

    memmove(&d->templates[1], &d->templates[0], (OPENAI_CHAT_TEMPLATES - 1) * sizeof(last));
    d->templates[0] = last;
    return &d->templates[0];
}

static bool store_pieces(struct openai_chat_decoder *d, struct openai_chat_template *t,
                         struct str raw, const struct hole *holes, uint32_t n)
{
    size_t total = raw.n;
    size_t at = 0;
    char *to;

    for (uint32_t i = 0; i < n; i++)
        total -= holes[i].end - holes[i].begin;
    if (total > OPENAI_CHAT_TEMPLATE_BYTES_MAX)
        return false;
    if (t->bytes_size < total) {
        t->bytes = arena_alloc(d->options.arena, OPENAI_CHAT_TEMPLATE_BYTES_MAX);
        t->bytes_size = OPENAI_CHAT_TEMPLATE_BYTES_MAX;
        if (arena_overflowed(d->options.arena)) {
            t->bytes_size = 0;
            return false;
        }
    }
    to = t->bytes;
    for (uint32_t i = 0; i <= n; i++) {
        size_t end = i < n ? holes[i].begin : raw.n;
        assert(end > at);
        t->piece_n[i] = end - at;
        memcpy(to, raw.p + at, end - at);
        to += end - at;
        at = i < n ? holes[i].end : raw.n;
    }
    assert((size_t)(to - t->bytes) == total);
    return memchr(t->bytes, '\\', total) == NULL;
}

void openai_chat_template_learn(struct openai_chat_decoder *d, const struct sse_frame *sse)
{
    const struct event *event = text_event(d);
    struct hole holes[PIECES_MAX - 1];
    uint32_t text_hole = 0;

    /* Finding the places walks the frame several times; one of megabytes has none like it. */
    if (event == NULL || !d->place.known || sse->raw.n > LEARN_BYTES_MAX ||
        !lies_in(sse->data, sse->raw))
        return;
    /* A byte order mark is one in the first frame only, and a stream's last needs no empty line. */
    if (str_starts(sse->raw, STR("\xEF")) || !str_ends(sse->raw, STR("\n")))
        return;
    if (d->learned >= LEARNED_MAX && d->learned > d->matched)
        return;
    uint32_t n = find_holes(d, sse, holes, &text_hole);
    if (n == 0)
        return;

    struct openai_chat_template *t = slot_for(d);
    d->learned++;
    t->holes = 0;
    if (!store_pieces(d, t, sse->raw, holes, n))
        return;
    t->holes = n;
    t->text_hole = text_hole;
    t->version = d->version;
    t->kind = event->kind;
    t->choice = event->choice;
    t->block = event->block;
    t->tool = event->kind == EVENT_TOOL_ARGS ? d->place.tool : NULL;
    assert(event->kind != EVENT_TOOL_ARGS || t->tool != NULL);
    assert(event->block != EVENT_NO_BLOCK);
}
