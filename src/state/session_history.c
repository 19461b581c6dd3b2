/* SPDX-License-Identifier: MIT */
#include "state/session_history.h"

#include "base/mem.h"
#include "text/utf8.h"

enum {
    FLAG_BY_PROXY = 1,
    FLAG_FAILED = 2,
    FLAG_TOKENS_IN = 4,
    FLAG_TOKENS_OUT = 8,
    FLAG_SAME_BACKEND = 16,
    FLAG_SAME_MODEL = 32,
    FLAG_SAME_PROJECT = 64,
    FLAGS_ALL = 127
};

enum {
    GRAIN = 64, /* blocks grow by so much */
    HEAP_WORD = 8,
    VARINT_MAX = 10, /* bytes of the longest */
    ITEM_MAX = 1 + 8 + 2 * VARINT_MAX + 2 * (2 + SESSION_BEGINNING_MAX) +
               3 * (2 + SESSION_HISTORY_TEXT_MAX)
};

/* --- numbers and texts --- */

struct writer {
    unsigned char *at;
};

struct reader {
    const unsigned char *at;
    const unsigned char *end;
    bool ours; /* from our own memory: the texts are known to be UTF-8 */
};

static void put_varint(struct writer *w, uint64_t value)
{
    while (value >= 128) {
        *w->at++ = (unsigned char)(value | 128);
        value >>= 7;
    }
    *w->at++ = (unsigned char)value;
}

static bool get_varint(struct reader *r, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned char byte = *r->at++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static void put_text(struct writer *w, struct str text)
{
    put_varint(w, text.n);
    if (text.n > 0)
        memcpy(w->at, text.p, text.n);
    w->at += text.n;
}

static bool get_text(struct reader *r, size_t max, struct str *ret_text)
{
    uint64_t n;

    if (!get_varint(r, &n) || n > max || n > (size_t)(r->end - r->at))
        return false;
    *ret_text = n == 0 ? STR_NULL : str_of((const char *)r->at, n);
    r->at += n;
    return r->ours || utf8_valid(*ret_text);
}

/* --- one item --- */

/* Without its length. before: the item before it, NULL: it is the oldest. */
static size_t write_item(const struct session_item *item, const struct session_item *before,
                         unsigned char to[ITEM_MAX])
{
    struct writer w = {.at = to + 1};
    unsigned flags = 0;
    uint64_t time = (uint64_t)item->time_ms;

    for (unsigned i = 0; i < 8; i++)
        *w.at++ = (unsigned char)(time >> (8 * i));
    if (item->by_proxy)
        flags |= FLAG_BY_PROXY;
    if (item->failed)
        flags |= FLAG_FAILED;
    if (item->tokens_in >= 0) {
        flags |= FLAG_TOKENS_IN;
        put_varint(&w, (uint64_t)item->tokens_in);
    }
    if (item->tokens_out >= 0) {
        flags |= FLAG_TOKENS_OUT;
        put_varint(&w, (uint64_t)item->tokens_out);
    }
    put_text(&w, item->prompt);
    put_text(&w, item->answer);
    if (before != NULL && str_eq(item->backend, before->backend))
        flags |= FLAG_SAME_BACKEND;
    else
        put_text(&w, item->backend);
    if (before != NULL && str_eq(item->model, before->model))
        flags |= FLAG_SAME_MODEL;
    else
        put_text(&w, item->model);
    if (before != NULL && str_eq(item->project, before->project))
        flags |= FLAG_SAME_PROJECT;
    else
        put_text(&w, item->project);
    to[0] = (unsigned char)flags;
    assert(w.at - to <= ITEM_MAX);
    return (size_t)(w.at - to);
}

static bool read_named(struct reader *r, bool same, const struct str *before, struct str *ret_text)
{
    if (!same)
        return get_text(r, SESSION_HISTORY_TEXT_MAX, ret_text);
    if (before == NULL)
        return false;
    *ret_text = *before;
    return true;
}

/* Tokens: known or not, and not more than an int64_t has. */
static bool read_tokens(struct reader *r, bool known, int64_t *ret_tokens)
{
    uint64_t value = 0;

    *ret_tokens = -1;
    if (!known)
        return true;
    if (!get_varint(r, &value) || value > INT64_MAX)
        return false;
    *ret_tokens = (int64_t)value;
    return true;
}

/* Reads the item at r, its length included. Its texts lie where it was read from. */
static bool read_item(struct reader *r, const struct session_item *before,
                      struct session_item *ret_item)
{
    struct session_item item = {.by_proxy = false};
    uint64_t n;
    uint64_t time = 0;

    if (!get_varint(r, &n) || n < 9 || n > ITEM_MAX || n > (size_t)(r->end - r->at))
        return false;
    struct reader in = {.at = r->at, .end = r->at + n, .ours = r->ours};
    unsigned flags = *in.at++;
    for (unsigned i = 0; i < 8; i++)
        time |= (uint64_t)*in.at++ << (8 * i);
    item.time_ms = (int64_t)time;
    item.by_proxy = (flags & FLAG_BY_PROXY) != 0;
    item.failed = (flags & FLAG_FAILED) != 0;
    bool good = flags <= FLAGS_ALL &&
                read_tokens(&in, (flags & FLAG_TOKENS_IN) != 0, &item.tokens_in) &&
                read_tokens(&in, (flags & FLAG_TOKENS_OUT) != 0, &item.tokens_out) &&
                get_text(&in, SESSION_BEGINNING_MAX, &item.prompt) &&
                get_text(&in, SESSION_BEGINNING_MAX, &item.answer) &&
                read_named(&in, (flags & FLAG_SAME_BACKEND) != 0,
                           before == NULL ? NULL : &before->backend, &item.backend) &&
                read_named(&in, (flags & FLAG_SAME_MODEL) != 0,
                           before == NULL ? NULL : &before->model, &item.model) &&
                read_named(&in, (flags & FLAG_SAME_PROJECT) != 0,
                           before == NULL ? NULL : &before->project, &item.project);
    if (!good || in.at != in.end)
        return false;
    r->at = in.end;
    *ret_item = item;
    return true;
}

static struct reader reader_of(const struct session_history *history)
{
    return (struct reader){.at = history->bytes + history->begin,
                           .end = history->bytes + history->end,
                           .ours = true};
}

static unsigned char *write_length(unsigned char *to, size_t n)
{
    struct writer w = {.at = to};

    put_varint(&w, n);
    return w.at;
}

/* --- the block --- */

static struct str cut(struct str text, size_t max)
{
    struct str head = utf8_head(text, max);

    head.n = utf8_valid_prefix(head);
    return head;
}

/* The newest one; NULL: there is none. Its texts lie in the block. */
static const struct session_item *newest(const struct session_history *history,
                                         struct session_item items[2])
{
    struct session_item *before = NULL;

    if (history == NULL || history->n == 0)
        return NULL;
    struct reader r = reader_of(history);
    for (uint32_t i = 0; i < history->n; i++) {
        bool good = read_item(&r, before, &items[i & 1]);
        assert(good);
        before = &items[i & 1];
    }
    assert(r.at == r.end);
    return before;
}

/* The oldest leaves. What the next one had by reference to it is put into it: both together had it
 * too, so there is room for it where they stand. */
static void drop_oldest(struct session_history *history)
{
    struct session_item items[2];
    unsigned char text[ITEM_MAX];
    struct reader r = reader_of(history);

    assert(history->n > 0);
    history->n--;
    if (history->n == 0) {
        history->begin = 0;
        history->end = 0;
        return;
    }
    bool good = read_item(&r, NULL, &items[0]) && read_item(&r, &items[0], &items[1]);
    assert(good);
    size_t n = write_item(&items[1], NULL, text);
    unsigned char head[VARINT_MAX];
    size_t head_n = (size_t)(write_length(head, n) - head);
    size_t behind = (size_t)(r.at - history->bytes);
    assert(behind - history->begin >= head_n + n);
    history->begin = (uint32_t)(behind - head_n - n);
    memcpy(history->bytes + history->begin, head, head_n);
    memcpy(history->bytes + history->begin + head_n, text, n);
}

/* Room for n more bytes at the end. */
static void make_room(struct session_history **history_ptr, size_t n)
{
    struct session_history *history = *history_ptr;
    size_t used = history == NULL ? 0 : history->end - history->begin;

    if (history != NULL && history->begin > 0 && history->size - history->end < n) {
        memmove(history->bytes, history->bytes + history->begin, used);
        history->begin = 0;
        history->end = (uint32_t)used;
    }
    if (history != NULL && history->size - history->end >= n)
        return;
    bool fresh = history == NULL;
    /* The heap adds HEAP_WORD to a block: so it has no gap. */
    size_t whole = (sizeof(*history) + used + n + HEAP_WORD + GRAIN - 1) / GRAIN * GRAIN -
                   HEAP_WORD;
    history = mem_resize(history, whole);
    if (fresh)
        memset(history, 0, sizeof(*history));
    history->size = (uint32_t)(whole - sizeof(*history));
    *history_ptr = history;
}

void session_history_add(struct session_history **history_ptr, const struct session_item *item,
                         size_t max)
{
    struct session_item kept = *item;
    struct session_item items[2];
    unsigned char text[ITEM_MAX];

    if (max == 0) {
        session_history_clear(*history_ptr);
        return;
    }
    kept.prompt = cut(item->prompt, SESSION_BEGINNING_MAX);
    kept.answer = cut(item->answer, SESSION_BEGINNING_MAX);
    kept.backend = cut(item->backend, SESSION_HISTORY_TEXT_MAX);
    kept.model = cut(item->model, SESSION_HISTORY_TEXT_MAX);
    kept.project = cut(item->project, SESSION_HISTORY_TEXT_MAX);
    while (*history_ptr != NULL && (*history_ptr)->n >= max)
        drop_oldest(*history_ptr);
    size_t n = write_item(&kept, newest(*history_ptr, items), text);
    make_room(history_ptr, n + VARINT_MAX);
    struct session_history *history = *history_ptr;
    unsigned char *at = write_length(history->bytes + history->end, n);
    memcpy(at, text, n);
    history->end = (uint32_t)(at + n - history->bytes);
    history->n++;
    assert(history->end <= history->size);
}

void session_history_clear(struct session_history *history)
{
    if (history == NULL)
        return;
    history->begin = 0;
    history->end = 0;
    history->n = 0;
}

struct str session_history_bytes(const struct session_history *history)
{
    if (history == NULL)
        return STR("");
    return str_of((const char *)history->bytes + history->begin, history->end - history->begin);
}

bool session_history_load(struct str bytes, size_t max, struct session_history **ret_history)
{
    struct session_history *history = NULL;
    struct session_item items[2];
    struct reader r = {.at = (const unsigned char *)bytes.p,
                       .end = (const unsigned char *)bytes.p + bytes.n};
    const struct session_item *before = NULL;
    size_t n = 0;

    if (bytes.n > UINT32_MAX / 2)
        return false;
    while (bytes.n > 0 && r.at < r.end) {
        if (!read_item(&r, before, &items[n & 1]))
            return false;
        before = &items[n & 1];
        n++;
    }
    if (n > 0 && max > 0) {
        make_room(&history, bytes.n);
        memcpy(history->bytes, bytes.p, bytes.n);
        history->end = (uint32_t)bytes.n;
        history->n = (uint32_t)n;
        while (history->n > max)
            drop_oldest(history);
    }
    *ret_history = history;
    return true;
}

void session_history_items(struct str bytes, struct arena *arena, struct session_item **ret_items,
                           size_t *ret_n)
{
    struct session_item items[2];
    struct reader r = {.at = (const unsigned char *)bytes.p,
                       .end = (const unsigned char *)bytes.p + bytes.n,
                       .ours = true};
    size_t n = 0;

    for (struct reader all = r; bytes.n > 0 && all.at < all.end; n++) {
        bool good = read_item(&all, n == 0 ? NULL : &items[(n - 1) & 1], &items[n & 1]);
        assert(good);
    }
    *ret_items = arena_array(arena, n, sizeof(**ret_items));
    *ret_n = 0;
    if (arena_overflowed(arena))
        return;
    for (size_t i = 0; i < n; i++) {
        bool good = read_item(&r, i == 0 ? NULL : &(*ret_items)[i - 1], &(*ret_items)[i]);
        assert(good);
    }
    *ret_n = n;
}
