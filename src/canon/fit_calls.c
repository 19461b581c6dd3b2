/* SPDX-License-Identifier: MIT */
/*
 * Calls of tools and their results.
 *
 * What      Finds for each call its result, wherever it stands behind it, and gives both an id that
 *           the target takes and that no other call has.
 * How       One pass over calls and results in order, with a table of the ids met so far: a call
 *           makes its id's entry point to it; a result takes the first call of its id, in the
 *           latest turn that has one, which has no result yet. Ids may come again in later turns
 *           ("call_0"): their number among those of the same id goes into the new id, so that an
 *           earlier turn keeps its ids while the conversation grows.
 * Owns      Nothing: all lies in the arena.
 * Not here  Where results are put, and what stands in for those that there are not (fit.c).
 */
#include "canon/fit_priv.h"

#include <xxhash.h>

/* Of one id as it came. */
struct entry {
    struct str id;
    bool used;
    uint32_t calls;          /* with this id so far */
    struct fit_use *first;   /* without a result, of the latest turn that has any; NULL: none */
    struct fit_use *last;    /* of that turn */
    const struct turn *turn; /* that one */
};

struct table {
    struct entry *entries;
    size_t mask;
    uint64_t seed;
};

/* --- new ids ------------------------------------------------------------------------------ */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static size_t id_max(enum fit_ids ids)
{
    switch (ids) {
    case FIT_IDS_ANY:
        return SIZE_MAX;
    case FIT_IDS_OPENAI:
        return 40;
    case FIT_IDS_ANTHROPIC:
    case FIT_IDS_RESPONSES:
        return 64;
    case FIT_IDS_MISTRAL:
        return 9;
    }
    BUG("no such kind of id");
}

static bool is_legal(enum fit_ids ids, struct str id)
{
    if (id.n == 0 || id.n > id_max(ids) || (ids == FIT_IDS_MISTRAL && id.n != id_max(ids)))
        return false;
    for (size_t i = 0; i < id.n; i++) {
        bool mark = id.p[i] == '_' || id.p[i] == '-';
        if (ids == FIT_IDS_MISTRAL && !is_plain(id.p[i]))
            return false;
        if (ids == FIT_IDS_ANTHROPIC && !is_plain(id.p[i]) && !mark)
            return false;
    }
    return true;
}

/* Nine of 62 characters: the hash's digits. */
static struct str mistral_id(struct arena *arena, struct str id, uint32_t number)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t value = (uint64_t)fit_hash(id, number) << 32 | fit_hash(id, ~number);
    char *to = arena_alloc(arena, 9);

    for (size_t i = 0; i < 9; i++) {
        to[i] = digits[value % 62];
        value /= 62;
    }
    return str_of(to, 9);
}

/* number: of those with the same id, from 0. */
static struct str new_id(enum fit_ids ids, struct arena *arena, struct str id, uint32_t number)
{
    size_t keep = id_max(ids) == SIZE_MAX ? id.n : id_max(ids) - 9;
    size_t n = id.n < keep ? id.n : keep;
    char hex[9];
    char *to;

    if (number == 0 && is_legal(ids, id))
        return id;
    if (ids == FIT_IDS_MISTRAL)
        return mistral_id(arena, id, number);
    to = arena_alloc(arena, n + 9);
    if (arena_overflowed(arena))
        return STR("lost");
    for (size_t i = 0; i < n; i++) {
        bool keep_it = is_plain(id.p[i]) || id.p[i] == '_' || id.p[i] == '-';
        to[i] = keep_it || ids != FIT_IDS_ANTHROPIC ? id.p[i] : '_';
    }
    /* Not within a character. */
    while (n < id.n && n > 0 && ((unsigned char)id.p[n] & 0xC0) == 0x80)
        n--;
    (void)snprintf(hex, sizeof(hex), "%08x", fit_hash(id, number));
    to[n] = '_';
    memcpy(to + n + 1, hex, 8);
    return str_of(to, n + 9);
}

struct str fit_calls_id(enum fit_ids ids, struct str id, struct arena *arena)
{
    return new_id(ids, arena, id, 0);
}

/* --- the table ---------------------------------------------------------------------------- */

static struct entry *find_entry(struct table *table, struct str id)
{
    size_t at = XXH3_64bits_withSeed(id.p, id.n, table->seed) & table->mask;

    while (table->entries[at].used && !str_eq(table->entries[at].id, id))
        at = (at + 1) & table->mask;
    return &table->entries[at];
}

static bool make_table(struct fitter *f, struct table *table, size_t n)
{
    size_t size = 16;

    while (size < n * 2)
        size *= 2;
    table->entries = arena_array(f->arena, size, sizeof(*table->entries));
    if (arena_overflowed(f->arena))
        return false;
    memset(table->entries, 0, size * sizeof(*table->entries));
    table->mask = size - 1;
    /* Where entries lie says nothing about the result: who sends ids must not foresee it. */
    table->seed = (uint64_t)(uintptr_t)table->entries * 0x9e3779b97f4a7c15u;
    return true;
}

static void take_call(struct fitter *f, struct entry *entry, struct fit_use *use)
{
    struct str id = use->part->id;

    if (!entry->used) {
        entry->used = true;
        entry->id = id;
    }
    if (entry->first == NULL || entry->turn != use->turn)
        entry->first = use;
    else
        entry->last->next = use;
    entry->last = use;
    entry->turn = use->turn;
    use->part->id = new_id(f->rules->ids, f->arena, id, entry->calls++);
}

static void take_result(struct entry *entry, struct fit_use *use)
{
    struct fit_use *call = entry->first;

    if (call == NULL)
        return;
    call->other = use;
    use->other = call;
    use->part->id = call->part->id;
    use->part->custom = call->part->custom;
    use->part->name = call->part->name;
    entry->first = call->next;
}

static size_t count_uses(const struct turn *turns)
{
    size_t n = 0;

    for (const struct turn *turn = turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next)
            n += part->kind == PART_TOOL_CALL || part->kind == PART_TOOL_RESULT;
    }
    return n;
}

void fit_calls_pair(struct fitter *f, struct turn *turns, struct fit_calls *ret_calls)
{
    size_t n = count_uses(turns);
    struct fit_use *uses = arena_array(f->arena, n, sizeof(*uses));
    struct table table;

    *ret_calls = (struct fit_calls){.uses = uses};
    if (n == 0 || arena_overflowed(f->arena) || !make_table(f, &table, n))
        return;
    memset(uses, 0, n * sizeof(*uses));
    for (const struct turn *turn = turns; turn != NULL; turn = turn->next) {
        for (struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind != PART_TOOL_CALL && part->kind != PART_TOOL_RESULT)
                continue;
            struct fit_use *use = &uses[ret_calls->n++];
            use->part = part;
            use->turn = turn;
            use->call = part->kind == PART_TOOL_CALL;
            if (use->call)
                take_call(f, find_entry(&table, part->id), use);
            else
                take_result(find_entry(&table, part->id), use);
        }
    }
    assert(ret_calls->n == n);
}
