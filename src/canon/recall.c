/* SPDX-License-Identifier: MIT */
/*
 * Kept reasoning.
 *
 * What      A choice's blocks of reasoning, and the signatures of its calls and texts, as one text.
 * How       A row of records, the first one the vendor's: a letter and four fields, each
 *           "LENGTH:bytes".
 *             V vendor   R reasoning   X redacted   C a call (id, digest)   T a text
 *           All calls are there, as places; texts as places too.
 * Not here  Where it is kept, and under whose name (state/vault, gateway/reasoning).
 */
#include "canon/recall.h"

/* The size of a state: it lies in an arena. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "canon/call_digest.h"

enum {
    FIELDS = 3,
    ASKED_MAX = 32 * 1024,
    ID_SHOWN_MAX = 64,
    DIGEST_SIZE = 16,
    PARTS_MAX = 8192 /* of a turn that something is put into */
};

enum field { FIELD_ID, FIELD_TEXT, FIELD_SIGNATURE };

struct record {
    char kind;
    struct str fields[FIELDS];
};

/* --- keys --- */

struct str recall_call_key(uint64_t asked, struct str id, uint64_t digest, char to[RECALL_KEY_MAX])
{
    unsigned long long before = asked;
    unsigned long long call = digest;
    int n;

    if (id.n <= ID_SHOWN_MAX) {
        n = snprintf(to, RECALL_KEY_MAX, "c:%016llx:%016llx:", before, call);
        assert(n > 0 && (size_t)n + id.n < RECALL_KEY_MAX);
        if (id.n > 0)
            memcpy(to + n, id.p, id.n);
        return str_of(to, (size_t)n + id.n);
    }
    n = snprintf(to, RECALL_KEY_MAX, "d:%016llx:%016llx:%016llx:%zu", before, call,
                 (unsigned long long)XXH3_64bits(id.p, id.n), id.n);
    assert(n > 0 && n < RECALL_KEY_MAX);
    return str_of(to, (size_t)n);
}

struct str recall_text_key(uint64_t asked, uint64_t said, char to[RECALL_KEY_MAX])
{
    int n = snprintf(to, RECALL_KEY_MAX, "t:%016llx:%016llx", (unsigned long long)asked,
                     (unsigned long long)said);

    assert(n > 0 && n < RECALL_KEY_MAX);
    return str_of(to, (size_t)n);
}

/* Of what the user said. */
static uint64_t hash_of(const struct turn *turn)
{
    uint64_t hash = 0;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        struct str text = str_head(part->text, ASKED_MAX);
        if (part->kind == PART_TEXT && text.n > 0)
            hash = XXH3_64bits_withSeed(text.p, text.n, hash + part->text.n);
    }
    return hash;
}

void recall_asked_by(struct recall_asked *so_far, const struct turn *turn)
{
    if (turn->role == ROLE_USER) {
        const uint64_t both[] = {so_far->user, hash_of(turn)};
        so_far->asked = XXH3_64bits(both, sizeof(both));
        so_far->user = both[1];
        return;
    }
    for (const struct part *part = turn->role == ROLE_ASSISTANT ? turn->parts : NULL; part != NULL;
         part = part->next)
        so_far->asked += part->kind == PART_TOOL_CALL;
}

uint64_t recall_asked(const struct request *request)
{
    const struct turn *last[] = {NULL, request->turns}; /* two of the user's */
    struct recall_asked so_far = {0, 0};

    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        if (turn->role != ROLE_USER)
            continue;
        last[0] = last[1];
        last[1] = turn;
    }
    for (const struct turn *turn = last[0] != NULL ? last[0] : last[1]; turn != NULL;
         turn = turn->next)
        recall_asked_by(&so_far, turn);
    return so_far.asked;
}

struct recall_said {
    XXH64_state_t state;
};

struct recall_said *recall_said_new(struct arena *arena)
{
    struct recall_said *said = ARENA_NEW(arena, struct recall_said);

    (void)XXH64_reset(&said->state, 0);
    return said;
}

void recall_said_add(struct recall_said *said, struct str text)
{
    if (text.n > 0)
        (void)XXH64_update(&said->state, text.p, text.n);
}

uint64_t recall_said_end(const struct recall_said *said)
{
    return XXH64_digest(&said->state);
}

uint64_t recall_said(const struct turn *turn)
{
    struct recall_said said;

    (void)XXH64_reset(&said.state, 0);
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_TEXT)
            recall_said_add(&said, part->text);
    }
    return recall_said_end(&said);
}

/* --- writing --- */

static struct str digest_text(uint64_t digest, char to[DIGEST_SIZE + 1])
{
    (void)snprintf(to, DIGEST_SIZE + 1, "%016llx", (unsigned long long)digest);
    return str_of(to, DIGEST_SIZE);
}

uint64_t recall_digest(const struct collect_block *call)
{
    assert(call->kind == BLOCK_TOOL);
    return call->user == NULL ? call_digest_of(call->name, STR_NULL)
                              : call_digest_end(call->user, call->name);
}

static void add_record(struct buf *out, char kind, struct str id, struct str text,
                       struct str signature)
{
    const struct str fields[FIELDS] = {id, text, signature};

    (void)buf_add_char(out, kind);
    for (size_t i = 0; i < FIELDS; i++) {
        (void)buf_add_int64(out, (int64_t)fields[i].n);
        (void)buf_add_char(out, ':');
        (void)buf_add(out, fields[i]);
    }
}

static void add_block(struct buf *out, const struct collect_block *block)
{
    struct str text = buf_str(&block->text);
    char digest[DIGEST_SIZE + 1];

    switch (block->kind) {
    case BLOCK_REASONING:
        if (text.n > 0 || block->signature.n > 0)
            add_record(out, 'R', block->id, text, block->signature);
        return;
    case BLOCK_REDACTED:
        add_record(out, 'X', block->id, STR_NULL, block->signature);
        return;
    case BLOCK_TOOL:
        add_record(out, 'C', block->id, digest_text(recall_digest(block), digest),
                   block->signature);
        return;
    case BLOCK_TEXT:
        add_record(out, 'T', STR_NULL, STR_NULL, block->signature);
        return;
    case BLOCK_REFUSAL:
    case BLOCK_MEDIA:
    case BLOCK_VENDOR:
        return;
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

static bool is_reasoning(const struct collect_block *block)
{
    return block->kind == BLOCK_REASONING || block->kind == BLOCK_REDACTED;
}

/* Most answers hold nothing that their vendor wants back. */
static bool is_worth(const struct collect_choice *choice, enum recall_what what)
{
    for (const struct collect_block *block = choice->blocks; block != NULL; block = block->next) {
        if (block->signature.n > 0 ||
            (what == RECALL_UNSIGNED_TOO && is_reasoning(block) && block->text.n > 0))
            return true;
    }
    return false;
}

bool recall_write(const struct collect_choice *choice, struct str vendor, enum recall_what what,
                  struct buf *out)
{
    if (!is_worth(choice, what))
        return false;
    add_record(out, 'V', vendor, STR_NULL, STR_NULL);
    for (const struct collect_block *block = choice->blocks; block != NULL; block = block->next)
        add_block(out, block);
    return buf_ok(out);
}

/* --- reading --- */

static bool take_field(struct str *rest, struct str *ret_field)
{
    struct str digits;
    int64_t n;

    if (!str_cut(rest, ':', &digits) || !str_to_int64(digits, &n) || n < 0 || (uint64_t)n > rest->n)
        return false;
    *ret_field = str_head(*rest, (size_t)n);
    *rest = str_from(*rest, (size_t)n);
    return true;
}

static bool take_record(struct str *rest, struct record *ret_record)
{
    if (rest->n == 0)
        return false;
    ret_record->kind = rest->p[0];
    *rest = str_from(*rest, 1);
    for (size_t i = 0; i < FIELDS; i++) {
        if (!take_field(rest, &ret_record->fields[i]))
            return false;
    }
    return true;
}

static struct str or_null(struct str s)
{
    return s.n == 0 ? STR_NULL : s;
}

/* From *at on: the next call of that id, or text. Where it hangs; NULL: there is none. */
static struct part **find_part(struct part **at, const struct record *record)
{
    for (; *at != NULL; at = &(*at)->next) {
        if (record->kind == 'C'
                ? (*at)->kind == PART_TOOL_CALL && str_eq((*at)->id, record->fields[FIELD_ID])
                : (*at)->kind == PART_TEXT)
            return at;
    }
    return NULL;
}

struct call {
    const struct part *part;
    char digest[DIGEST_SIZE + 1];
    bool met; /* a record says it */
};

struct calls {
    struct call *all;
    size_t n;
};

/* False: too many parts, or no memory. */
static bool read_calls(const struct turn *turn, struct arena *arena, struct calls *ret_calls)
{
    size_t parts = 0;
    size_t n = 0;

    for (const struct part *part = turn->parts; part != NULL; part = part->next, parts++)
        n += part->kind == PART_TOOL_CALL;
    *ret_calls = (struct calls){.all = arena_array(arena, n, sizeof(struct call))};
    if (parts > PARTS_MAX || arena_overflowed(arena))
        return false;
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TOOL_CALL)
            continue;
        struct call *call = &ret_calls->all[ret_calls->n++];
        *call = (struct call){.part = part};
        (void)digest_text(call_digest_of(part->name, part->text), call->digest);
    }
    return true;
}

/* Mostly it is the next one. */
static bool meet(const struct calls *calls, size_t next, const struct record *record)
{
    for (size_t i = 0; i < calls->n; i++) {
        struct call *call = &calls->all[(next + i) % calls->n];
        if (!call->met && str_eq(call->part->id, record->fields[FIELD_ID]) &&
            str_eq(str_of(call->digest, DIGEST_SIZE), record->fields[FIELD_TEXT])) {
            call->met = true;
            return true;
        }
    }
    return false;
}

/* Whether it is the vendor's, and its calls are the turn's. */
static bool is_of(struct str kept, struct str vendor, const struct turn *turn, struct arena *arena)
{
    struct record record;
    struct calls calls;
    size_t met = 0;

    if (!take_record(&kept, &record) || record.kind != 'V' ||
        !str_eq(record.fields[FIELD_ID], vendor) || !read_calls(turn, arena, &calls))
        return false;
    while (take_record(&kept, &record)) {
        if (record.kind == 'C' && !meet(&calls, met++, &record))
            return false;
    }
    return met == calls.n && kept.n == 0;
}

static struct part *reasoning_of(const struct record *record, struct str vendor,
                                 struct arena *arena)
{
    struct part *part = ARENA_NEW(arena, struct part);

    *part = (struct part){
        .kind = PART_REASONING,
        .text = or_null(record->fields[FIELD_TEXT]),
        .id = or_null(record->fields[FIELD_ID]),
        .signature = or_null(record->fields[FIELD_SIGNATURE]),
        .vendor = vendor,
        .redacted = record->kind == 'X',
    };
    return part;
}

static bool reasons(const struct turn *turn)
{
    const struct part *part = turn->parts;

    while (part != NULL && part->kind != PART_REASONING)
        part = part->next;
    return part != NULL;
}

static bool has_kept_thoughts(struct str kept)
{
    struct record record;

    while (take_record(&kept, &record)) {
        if (record.kind == 'R' || record.kind == 'X')
            return true;
    }
    return false;
}

/* Thoughts that the client was shown and sends back, whole or a piece of them, without what makes
 * them the vendor's: what was kept says them. */
static void drop_unsigned(struct turn *turn)
{
    struct part **to = &turn->parts;

    while (*to != NULL) {
        const struct part *part = *to;
        if (part->kind == PART_REASONING && str_is_null(part->signature))
            *to = part->next;
        else
            to = &(*to)->next;
    }
}

bool recall_apply(struct str kept, struct str vendor, struct turn *turn, struct arena *arena)
{
    struct part **at = &turn->parts;
    struct part *waiting = NULL; /* reasoning that stood before the next call or text */
    struct part **waiting_end = &waiting;
    struct record record;

    if (!is_of(kept, vendor, turn, arena))
        return false;
    if (has_kept_thoughts(kept))
        drop_unsigned(turn);
    bool has_reasoning = reasons(turn);
    while (take_record(&kept, &record) && !arena_overflowed(arena)) {
        if (record.kind == 'R' || record.kind == 'X') {
            if (has_reasoning)
                continue;
            *waiting_end = reasoning_of(&record, vendor, arena);
            waiting_end = &(*waiting_end)->next;
            continue;
        }
        struct part **place = record.kind == 'V' ? NULL : find_part(at, &record);
        if (place == NULL) /* texts may have become one; a call stands where the client put it */
            continue;
        struct part *part = *place;
        *waiting_end = part;
        *place = waiting;
        waiting = NULL;
        waiting_end = &waiting;
        at = &part->next;
        if (record.fields[FIELD_SIGNATURE].n > 0 && str_is_null(part->signature)) {
            part->signature = record.fields[FIELD_SIGNATURE];
            part->vendor = vendor;
        }
    }
    /* Thoughts behind all else lead to nothing; what nobody could read may be of the whole
     * answer. */
    for (struct part *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        if (!waiting->redacted)
            continue;
        waiting->next = *at;
        *at = waiting;
        at = &waiting->next;
    }
    return true;
}
