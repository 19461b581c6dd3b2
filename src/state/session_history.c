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
    FLAGS_SAME = FLAG_SAME_BACKEND | FLAG_SAME_MODEL | FLAG_SAME_PROJECT,
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
    /* Where the names of the item that was read last stand. */
    const unsigned char *names[SESSION_HISTORY_NAMES];
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
        if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            return false; /* too large, or longer than it had to be */
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

static void put_name(struct writer *w, struct str name, bool same, unsigned flag, unsigned *flags,
                     const unsigned char **ret_at)
{
    *ret_at = same ? NULL : w->at;
    if (same)
        *flags |= flag;
    else
        put_text(w, name);
}

/* Without its length. before: whose names it may share; NULL: it is the oldest. ret_names: where
 * its names stand in to, NULL: not there. */
static size_t write_item(const struct session_item *item, const struct session_item *before,
                         unsigned char to[ITEM_MAX],
                         const unsigned char *ret_names[SESSION_HISTORY_NAMES])
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
    put_name(&w, item->backend, before != NULL && str_eq(item->backend, before->backend),
             FLAG_SAME_BACKEND, &flags, &ret_names[0]);
    put_name(&w, item->model, before != NULL && str_eq(item->model, before->model), FLAG_SAME_MODEL,
             &flags, &ret_names[1]);
    put_name(&w, item->project, before != NULL && str_eq(item->project, before->project),
             FLAG_SAME_PROJECT, &flags, &ret_names[2]);
    to[0] = (unsigned char)flags;
    assert(w.at - to <= ITEM_MAX);
    return (size_t)(w.at - to);
}

static bool read_named(struct reader *r, bool same, const struct str *before, struct str *ret_text,
                       const unsigned char **ret_at)
{
    if (!same) {
        *ret_at = r->at;
        return get_text(r, SESSION_HISTORY_TEXT_MAX, ret_text);
    }
    if (before == NULL)
        return false;
    *ret_text = *before;
    return true;
}

static bool read_names(struct reader *r, unsigned flags, const struct session_item *before,
                       struct session_item *item)
{
    bool any = before != NULL;

    return read_named(r, (flags & FLAG_SAME_BACKEND) != 0, any ? &before->backend : NULL,
                      &item->backend, &r->names[0]) &&
           read_named(r, (flags & FLAG_SAME_MODEL) != 0, any ? &before->model : NULL, &item->model,
                      &r->names[1]) &&
           read_named(r, (flags & FLAG_SAME_PROJECT) != 0, any ? &before->project : NULL,
                      &item->project, &r->names[2]);
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
    struct reader in = *r;
    in.end = in.at + n;
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
                read_names(&in, flags, before, &item);
    if (!good || in.at != in.end)
        return false;
    in.end = r->end;
    *r = in;
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

/* The names of the newest one, nothing else of it; NULL: there is none. */
static const struct session_item *newest_names(const struct session_history *history,
                                               struct session_item *names)
{
    if (history == NULL || history->n == 0)
        return NULL;
    struct str *const to[] = {&names->backend, &names->model, &names->project};
    _Static_assert(COUNT_OF(to) == SESSION_HISTORY_NAMES, "all of them");
    for (size_t i = 0; i < COUNT_OF(to); i++) {
        struct reader r = reader_of(history);
        r.at = history->bytes + history->names[i];
        bool good = get_text(&r, SESSION_HISTORY_TEXT_MAX, to[i]);
        assert(good);
    }
    return names;
}

/* The item behind the oldest gets its names, and ends where it ended. names: where they are now;
 * the newest item's are these, or stand behind. */
static void move_names(struct session_history *history, size_t behind,
                       const unsigned char *const names[SESSION_HISTORY_NAMES])
{
    for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++) {
        if (history->names[i] < behind)
            history->names[i] = (uint32_t)(names[i] - history->bytes);
    }
}

/* To the names of an item of our own, which begins at r with its flags. */
static void skip_to_names(struct reader *r)
{
    unsigned flags = *r->at;
    struct str text;
    uint64_t value;
    bool good = true;

    r->at += 1 + 8;
    if ((flags & FLAG_TOKENS_IN) != 0)
        good = get_varint(r, &value);
    if ((flags & FLAG_TOKENS_OUT) != 0)
        good = get_varint(r, &value) && good;
    good = good && get_text(r, SESSION_BEGINNING_MAX, &text) &&
           get_text(r, SESSION_BEGINNING_MAX, &text);
    assert(good);
}

/* The oldest leaves, and the next one has all of its names, as is usual: they go behind it, nothing
 * is read or written anew. False: it has not. */
static bool drop_sharing(struct session_history *history)
{
    UNINITIALIZED unsigned char names[SESSION_HISTORY_NAMES * (2 + SESSION_HISTORY_TEXT_MAX)];
    struct reader r = reader_of(history);
    const unsigned char *at[SESSION_HISTORY_NAMES];
    uint64_t size[2];
    struct str text;

    bool good = get_varint(&r, &size[0]);
    const unsigned char *next = r.at + size[0];
    struct reader second = {.at = next, .end = r.end, .ours = true};
    good = good && get_varint(&second, &size[1]);
    assert(good);
    unsigned flags = *second.at;
    if ((flags & FLAGS_SAME) != FLAGS_SAME)
        return false;
    skip_to_names(&r);
    const unsigned char *first = r.at;
    size_t names_n = (size_t)(next - first);
    assert(names_n <= sizeof(names));
    memcpy(names, first, names_n);
    size_t behind = (size_t)(second.at + size[1] - history->bytes);
    for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++) {
        at[i] = history->bytes + behind - names_n + (r.at - first);
        good = get_text(&r, SESSION_HISTORY_TEXT_MAX, &text) && good;
    }
    assert(good && r.at == next);
    unsigned char *to = history->bytes + behind - names_n - size[1];
    memmove(to + 1, second.at + 1, size[1] - 1);
    memcpy(history->bytes + behind - names_n, names, names_n);
    to[0] = (unsigned char)(flags & ~(unsigned)FLAGS_SAME);
    unsigned char head[VARINT_MAX];
    size_t head_n = (size_t)(write_length(head, size[1] + names_n) - head);
    memcpy(to - head_n, head, head_n);
    assert(to - head_n >= history->bytes + history->begin);
    history->begin = (uint32_t)(to - head_n - history->bytes);
    move_names(history, behind, at);
    return true;
}

/* The oldest leaves. What the next one had by reference to it is put into it: both together had it
 * too, so there is room for it where they stand. */
static void drop_oldest(struct session_history *history)
{
    struct session_item items[2];
    UNINITIALIZED unsigned char text[ITEM_MAX];
    const unsigned char *names[SESSION_HISTORY_NAMES];

    assert(history->n > 0);
    history->n--;
    if (history->n == 0) {
        history->begin = 0;
        history->end = 0;
        return;
    }
    if (drop_sharing(history))
        return;
    struct reader r = reader_of(history);
    bool good = read_item(&r, NULL, &items[0]) && read_item(&r, &items[0], &items[1]);
    assert(good);
    size_t n = write_item(&items[1], NULL, text, names);
    unsigned char head[VARINT_MAX];
    size_t head_n = (size_t)(write_length(head, n) - head);
    size_t behind = (size_t)(r.at - history->bytes);
    assert(behind - history->begin >= head_n + n);
    history->begin = (uint32_t)(behind - head_n - n);
    unsigned char *to = history->bytes + history->begin + head_n;
    memcpy(history->bytes + history->begin, head, head_n);
    memcpy(to, text, n);
    for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++)
        names[i] = to + (names[i] - text);
    move_names(history, behind, names);
}

/* Room for n more bytes at the end. */
static void make_room(struct session_history **history_ptr, size_t n)
{
    struct session_history *history = *history_ptr;
    size_t used = history == NULL ? 0 : history->end - history->begin;

    if (history != NULL && history->begin > 0 && history->size - history->end < n) {
        memmove(history->bytes, history->bytes + history->begin, used);
        for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++)
            history->names[i] -= history->begin;
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
    struct session_item before;
    UNINITIALIZED unsigned char text[ITEM_MAX];
    const unsigned char *names[SESSION_HISTORY_NAMES];

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
    size_t n = write_item(&kept, newest_names(*history_ptr, &before), text, names);
    make_room(history_ptr, n + VARINT_MAX);
    struct session_history *history = *history_ptr;
    unsigned char *at = write_length(history->bytes + history->end, n);
    memcpy(at, text, n);
    for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++) {
        if (names[i] != NULL)
            history->names[i] = (uint32_t)(at - history->bytes + (names[i] - text));
    }
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
        for (size_t i = 0; i < SESSION_HISTORY_NAMES; i++)
            history->names[i] = (uint32_t)(r.names[i] - (const unsigned char *)bytes.p);
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
