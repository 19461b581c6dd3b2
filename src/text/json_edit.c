/* SPDX-License-Identifier: MIT */
/*
 * Edits by spans, and the commas of members that come and go.
 *
 * What      Collects edits; writes the edited text as pieces.
 * How       An edit is a span and what stands there instead. Removals and additions of members are
 *           noted as such: which comma goes with them depends on the other edits, so it is found
 *           at the end. Neighbours that are removed form a run [from .. to]:
 *
 *             { "a":1, "b":2, "c":3 }     run a..b: up to the next member, "c"
 *                      ^run^              the run is last: from the end of the last that stays
 *
 *           A removal takes the comma behind it, the last one the comma before it; the same in
 *           arrays. An addition has a comma before it, unless nothing stands there.
 * Owns      The list and the pieces are in the caller's arena.
 * Not here  Whether the result says what was meant: replacements are taken as they are.
 */
#include "text/json_edit.h"

#include <stdlib.h>

enum { EDITS_FIRST = 8 };

static void add_edit(struct json_edits *edits, struct arena *arena, struct json_edit edit)
{
    assert(edit.begin <= edit.end);
    if (edits->n == edits->size) {
        size_t size = edits->size == 0 ? EDITS_FIRST : edits->size * 2;
        struct json_edit *items = arena_grow(arena, edits->items, edits->size * sizeof(edit),
                                             size * sizeof(edit));
        if (arena_overflowed(arena))
            return;
        edits->items = items;
        edits->size = size;
    }
    edits->items[edits->n++] = edit;
}

void json_edit_span(struct json_edits *edits, struct arena *arena, size_t begin, size_t end,
                    struct str replacement)
{
    add_edit(edits, arena,
             (struct json_edit){.begin = begin, .end = end, .replacement = replacement});
}

void json_edit_value(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                     const struct json_member *member, struct str value)
{
    size_t begin = (size_t)(member->value.p - index->source.p);

    assert(begin + member->value.n == member->end);
    assert(value.n > 0);
    json_edit_span(edits, arena, begin, member->end, value);
}

void json_edit_remove(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                      const struct json_member *member)
{
    assert(member->begin > index->open && member->end <= index->close);
    add_edit(edits, arena,
             (struct json_edit){.begin = member->begin,
                                .end = member->end,
                                .kind = JSON_EDIT_REMOVE});
}

void json_edit_element(struct json_edits *edits, struct arena *arena, struct str source,
                       struct str element)
{
    size_t begin = (size_t)(element.p - source.p);

    assert(element.p > source.p && begin + element.n < source.n);
    add_edit(edits, arena,
             (struct json_edit){.begin = begin,
                                .end = begin + element.n,
                                .kind = JSON_EDIT_REMOVE});
}

/* The second half of a surrogate pair at p, alone. */
static bool is_low_half(const char *p, size_t n)
{
    return json_string_surrogate(p, n) == 6 && (p[3] | 0x20) >= 'c';
}

void json_edit_cut(struct json_edits *edits, struct arena *arena, struct str source,
                   struct json_string_cursor *cursor, size_t begin, size_t end)
{
    const char *base = cursor->body.p;
    size_t from = json_string_seek(cursor, begin);
    bool high = cursor->after_high;
    size_t to = json_string_seek(cursor, end);
    bool pair = high && is_low_half(base + to, cursor->body.n - to);
    size_t at = (size_t)(base - source.p);

    cursor->after_high = false;
    assert(base > source.p && at + cursor->body.n < source.n);
    /* Two halves that were apart would become a character: the first one is what it was read as. */
    json_edit_span(edits, arena, at + from - (pair ? 6 : 0), at + to,
                   pair ? STR("\\ufffd") : STR(""));
}

void json_edit_add(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                   struct str key, struct str value)
{
    /* Behind the last member, not before the brace: the blanks between stay where they are. */
    size_t at = index->n > 0 ? index->members[index->n - 1].end : index->open + 1;
    size_t n = key.n + value.n + 4;
    char *p = arena_alloc(arena, n);

    assert(key.n > 0 && value.n > 0);
    if (arena_overflowed(arena))
        return;
    p[0] = ',';
    p[1] = '"';
    memcpy(p + 2, key.p, key.n);
    p[key.n + 2] = '"';
    p[key.n + 3] = ':';
    memcpy(p + key.n + 4, value.p, value.n);
    add_edit(edits, arena,
             (struct json_edit){
                 .begin = at, .end = at, .replacement = str_of(p, n), .kind = JSON_EDIT_ADD});
}

/* By place; an insertion before what begins there; insertions at one place as they were made. */
static int compare(const void *left, const void *right)
{
    const struct json_edit *a = *(const struct json_edit *const *)left;
    const struct json_edit *b = *(const struct json_edit *const *)right;

    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if ((a->begin == a->end) != (b->begin == b->end))
        return a->begin == a->end ? -1 : 1;
    return (a > b) - (a < b);
}

static bool is_sorted(const struct json_edits *edits)
{
    for (size_t i = 1; i < edits->n; i++) {
        const struct json_edit *a = &edits->items[i - 1];
        const struct json_edit *b = &edits->items[i];
        if (compare(&a, &b) > 0)
            return false;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t blanks_after(struct str source, size_t at)
{
    while (at < source.n && is_blank(source.p[at]))
        at++;
    return at;
}

static size_t blanks_before(struct str source, size_t at)
{
    while (at > 0 && is_blank(source.p[at - 1]))
        at--;
    return at;
}

/* The pieces so far; done: up to where the source is written or left out. */
struct output {
    struct str source;
    struct str *parts;
    size_t n;
    size_t bytes;
    size_t done;
    bool empty; /* the root holds no member any more */
    bool added;
};

static void put(struct output *out, struct str part)
{
    if (part.n == 0)
        return;
    out->parts[out->n++] = part;
    out->bytes += part.n;
}

static void put_source(struct output *out, size_t end)
{
    assert(end >= out->done && end <= out->source.n);
    put(out, str_of(out->source.p + out->done, end - out->done));
    out->done = end;
}

/* Removes the run of neighbours that begins with edits[i]; returns how many they are. */
static size_t remove_run(struct output *out, const struct json_edit *const *edits, size_t n)
{
    struct str source = out->source;
    size_t from = edits[0]->begin;
    size_t end = edits[0]->end;
    size_t count = 1;
    size_t comma;

    for (;;) {
        comma = blanks_after(source, end);
        if (comma >= source.n || source.p[comma] != ',')
            break;
        size_t next = blanks_after(source, comma + 1);
        if (count == n || edits[count]->kind != JSON_EDIT_REMOVE || edits[count]->begin != next) {
            put_source(out, from);
            out->done = next;
            return count;
        }
        end = edits[count++]->end;
    }
    /* The last members go, and with them the comma before the first of them. */
    size_t before = blanks_before(source, from);
    assert(before > 0);
    if (source.p[before - 1] == ',') {
        from = blanks_before(source, before - 1);
    } else {
        assert(source.p[before - 1] == '{' || source.p[before - 1] == '[');
        out->empty = before - 1 == blanks_after(source, 0);
    }
    put_source(out, from);
    out->done = end;
    return count;
}

static void put_addition(struct output *out, const struct json_edit *edit)
{
    struct str source = out->source;
    size_t before = blanks_before(source, edit->begin);

    assert(before > 0);
    if (!out->added && source.p[before - 1] == '{')
        out->empty = true;
    put_source(out, edit->begin);
    put(out, str_from(edit->replacement, out->empty ? 1 : 0));
    out->empty = false;
    out->added = true;
}

static void put_edits(struct output *out, const struct json_edit *const *edits, size_t n)
{
    for (size_t i = 0; i < n;) {
        const struct json_edit *edit = edits[i];

        assert(edit->begin >= out->done);
        if (edit->kind == JSON_EDIT_REMOVE) {
            i += remove_run(out, edits + i, n - i);
            continue;
        }
        if (edit->kind == JSON_EDIT_ADD) {
            put_addition(out, edit);
        } else {
            put_source(out, edit->begin);
            put(out, edit->replacement);
            out->done = edit->end;
        }
        i++;
    }
}

void json_edit_apply(const struct json_edits *edits, struct str source, struct arena *arena,
                     struct str **ret_parts, size_t *ret_n, size_t *ret_bytes)
{
    struct output out = {.source = source};
    const struct json_edit **order = arena_array(arena, edits->n + 1, sizeof(*order));

    /* Each edit gives a piece of the source and a replacement at most. */
    out.parts = arena_array(arena, 2 * edits->n + 1, sizeof(*out.parts));
    if (arena_overflowed(arena)) {
        out.parts[0] = source;
        *ret_parts = out.parts;
        *ret_n = 1;
        *ret_bytes = source.n;
        return;
    }
    for (size_t i = 0; i < edits->n; i++)
        order[i] = &edits->items[i];
    if (!is_sorted(edits))
        qsort(order, edits->n, sizeof(*order), compare);
    put_edits(&out, order, edits->n);
    put_source(&out, source.n);
    *ret_parts = out.parts;
    *ret_n = out.n;
    *ret_bytes = out.bytes;
}
