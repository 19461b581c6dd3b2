/* SPDX-License-Identifier: MIT */
/*
 * What      Reasoning and signatures of a request, opened for one vendor.
 * How       Written anew: a copy of the turns; of those that change, of their parts as well.
 *           Same protocol: spans of the source. A packed text has no escapes in JSON, so it stands
 *           in a part's source as it is.
 * Not here  Fallbacks for what is missing then (the protocols' encoders).
 */
#include "canon/reason.h"

#include "base/scan.h"
#include "canon/call_digest.h"
#include "canon/recall.h"
#include "text/json.h"

/* --- one signature --- */

enum whose { OWN, OTHERS };

/* *ret_signature: of our own, unpacked; null: there was none to begin with. */
static enum whose open_signature(const struct reason_options *options, struct str signature,
                                 struct arena *arena, struct str *ret_signature)
{
    struct sealed sealed;

    *ret_signature = STR_NULL;
    if (!seal_open(options->seal, signature, arena, &sealed) ||
        !str_eq(sealed.vendor, options->vendor))
        return OTHERS;
    if (sealed.payload.n > 0)
        *ret_signature = sealed.payload;
    return OWN;
}

/* --- written anew --- */

/* As the vendor may see it; false: not at all. */
static bool open_part(struct part *part, const struct reason_options *options, struct arena *arena)
{
    bool thought = part->kind == PART_REASONING;
    struct str signature = STR_NULL;

    if (str_is_null(part->signature))
        return !thought || (!part->redacted && part->text.n > 0);
    enum whose whose = open_signature(options, part->signature, arena, &signature);
    part->signature = signature;
    if (whose == OWN)
        part->vendor = options->vendor;
    return whose == OWN || !thought;
}

static void open_parts(struct turn *turn, const struct reason_options *options, struct arena *arena)
{
    struct part **to = &turn->parts;

    while (*to != NULL) {
        if (open_part(*to, options, arena))
            to = &(*to)->next;
        else
            *to = (*to)->next;
    }
}

/* Thoughts that a client sends in the pieces it got them in, the signature in one of its own at the
 * end (Gemini's SDKs do, each in a message of its own): the signature is of all of them. */
struct thought {
    struct part *part;
    struct thought *before;
};

struct thoughts {
    struct thought *last;
    size_t bytes;
};

static void join_thoughts(const struct thoughts *thoughts, struct part *signature,
                          struct arena *arena)
{
    char *to = arena_alloc(arena, thoughts->bytes);
    size_t n = thoughts->bytes;

    if (arena_overflowed(arena))
        return;
    for (struct thought *piece = thoughts->last; piece != NULL; piece = piece->before) {
        struct str text = piece->part->text;
        n -= text.n;
        memcpy(to + n, text.p, text.n);
        piece->part->text = STR_NULL;
    }
    assert(n == 0);
    signature->text = str_of(to, thoughts->bytes);
}

static void see_part(struct thoughts *thoughts, struct part *part, struct arena *arena)
{
    bool thought = part->kind == PART_REASONING && !part->redacted;

    if (thought && str_is_null(part->signature)) {
        struct thought *piece = ARENA_NEW(arena, struct thought);
        if (arena_overflowed(arena) || part->text.n == 0)
            return;
        *piece = (struct thought){.part = part, .before = thoughts->last};
        thoughts->last = piece;
        thoughts->bytes += part->text.n;
        return;
    }
    if (thought && part->text.n == 0 && thoughts->last != NULL)
        join_thoughts(thoughts, part, arena);
    *thoughts = (struct thoughts){.last = NULL};
}

/* A copy of the turn; an assistant's has parts of its own. */
static struct turn *copy_turn(const struct turn *was, struct thoughts *thoughts,
                              struct arena *arena)
{
    struct turn *turn = ARENA_NEW(arena, struct turn);
    struct part **to = &turn->parts;

    if (arena_overflowed(arena))
        return NULL;
    *turn = *was;
    if (was->role != ROLE_ASSISTANT) {
        *thoughts = (struct thoughts){.last = NULL};
        return turn;
    }
    for (const struct part *part = was->parts; part != NULL && !arena_overflowed(arena);
         part = part->next) {
        struct part *copy = ARENA_NEW(arena, struct part);
        *copy = *part;
        *to = copy;
        to = &copy->next;
        see_part(thoughts, copy, arena);
    }
    *to = NULL;
    return turn;
}

/* What was kept of the answer that the turn was; asked: before it. */
static struct str find_kept(uint64_t asked, const struct turn *turn,
                            const struct reason_options *options, struct arena *arena)
{
    char key[RECALL_KEY_MAX];
    bool calls = false;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TOOL_CALL)
            continue;
        calls = true;
        uint64_t digest = call_digest_of(part->name, part->text);
        struct str kept = options->find(options->ctx, recall_call_key(asked, part->id, digest, key),
                                        arena);
        if (!str_is_null(kept))
            return kept;
    }
    if (calls)
        return STR_NULL;
    return options->find(options->ctx, recall_text_key(asked, recall_said(turn), key), arena);
}

/* Whether something of it can have been dropped on its way through the client. */
static bool may_lack(const struct turn *turn)
{
    bool reasons = false;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_TOOL_CALL && str_is_null(part->signature))
            return true;
        reasons |= part->kind == PART_REASONING || !str_is_null(part->signature);
    }
    return !reasons;
}

/* turn: a copy, its parts are still the original's. was: the original. */
static void open_turn(uint64_t asked, const struct turn *was, struct turn *turn,
                      const struct reason_options *options, struct arena *arena)
{
    if (was->role != ROLE_ASSISTANT)
        return;
    open_parts(turn, options, arena);
    if (options->find == NULL || !may_lack(turn))
        return;
    struct str kept = find_kept(asked, was, options, arena);
    if (!str_is_null(kept))
        (void)recall_apply(kept, options->vendor, turn, arena);
}

void reason_open(const struct request *request, const struct reason_options *options,
                 struct arena *arena, struct request *ret_request)
{
    struct thoughts thoughts = {.last = NULL};
    struct turn **to = &ret_request->turns;

    assert(request->full);
    *ret_request = *request;
    for (const struct turn *was = request->turns; was != NULL; was = was->next) {
        struct turn *turn = copy_turn(was, &thoughts, arena);
        if (turn == NULL)
            break;
        *to = turn;
        to = &turn->next;
    }
    *to = NULL;
    const struct turn *was = request->turns;
    struct recall_asked so_far = {0, 0};
    for (struct turn *turn = ret_request->turns; turn != NULL && !arena_overflowed(arena);
         turn = turn->next, was = was->next) {
        open_turn(so_far.asked, was, turn, options, arena);
        recall_asked_by(&so_far, was);
    }
}

/* --- same protocol --- */

bool reason_is_packed_in(struct str body)
{
    return body.n > 0 && scan_find(body.p, body.n, seal_prefix.p, seal_prefix.n) < body.n;
}

/* Spans of elements or members that go, in the order of the source. */
struct gone {
    size_t begin;
    size_t end;
    struct gone *next;
};

struct editing {
    struct request *request;
    const struct reason_options *options;
    struct str call_without;
    struct arena *arena;
    struct gone *gone;
    struct gone **gone_end;
    size_t end; /* of the last one */
};

static bool lies_in(struct str inner, struct str outer)
{
    return inner.n > 0 && inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n;
}

static void remove_span(struct editing *editing, struct str span)
{
    struct gone *gone = ARENA_NEW(editing->arena, struct gone);
    size_t begin = (size_t)(span.p - editing->request->source.p);

    if (begin < editing->end) /* it went already */
        return;
    *gone = (struct gone){.begin = begin, .end = begin + span.n};
    *editing->gone_end = gone;
    editing->gone_end = &gone->next;
    editing->end = gone->end;
}

/* The packed text with its quotes, where it stands; null: nowhere as it is. Only quotes are looked
 * at, and there is none in it: linear, whatever the client wrote. */
static struct str quoted_in(struct str source, struct str packed)
{
    if (str_find_char(packed, '"', 0) != SIZE_MAX) /* no seal */
        return STR_NULL;
    for (size_t at = 0; (at = str_find_char(source, '"', at)) != SIZE_MAX; at++) {
        struct str rest = str_from(source, at + 1);
        if (str_starts(rest, packed) && rest.n > packed.n && rest.p[packed.n] == '"')
            return str_of(source.p + at, packed.n + 2);
    }
    return STR_NULL;
}

static void replace(struct editing *editing, struct str quoted, struct str text)
{
    struct request *request = editing->request;
    size_t begin = (size_t)(quoted.p - request->source.p);

    json_edit_span(&request->edits, editing->arena, begin, begin + quoted.n,
                   json_quote(text, editing->arena));
}

/* The member of the part whose value it is goes; where it lies deeper, it becomes empty. */
static void remove_member(struct editing *editing, const struct part *part, struct str quoted)
{
    struct json_member member;
    size_t cursor = 0;

    while (json_object_next(part->source, &cursor, editing->arena, &member)) {
        if (member.value.p == quoted.p) {
            remove_span(editing, str_of(part->source.p + member.begin, member.end - member.begin));
            return;
        }
    }
    replace(editing, quoted, STR(""));
}

/* True: the part goes. */
static bool edit_part(struct editing *editing, const struct part *part)
{
    struct str quoted = quoted_in(part->source, part->signature);
    struct str signature;

    if (str_is_null(quoted))
        return false;
    enum whose whose = open_signature(editing->options, part->signature, editing->arena,
                                      &signature);
    if (whose == OWN && !str_is_null(signature)) {
        replace(editing, quoted, signature);
    } else if (part->kind == PART_REASONING) {
        return true;
    } else if (part->kind == PART_TOOL_CALL && !str_is_null(editing->call_without)) {
        replace(editing, quoted, editing->call_without);
    } else {
        remove_member(editing, part, quoted);
    }
    return false;
}

static void edit_turn(struct editing *editing, const struct turn *turn)
{
    struct str source = editing->request->source;
    struct gone **before = editing->gone_end;
    size_t before_end = editing->end;
    size_t parts = 0;
    size_t removed = 0;
    bool inside = lies_in(turn->source, source);

    for (const struct part *part = turn->parts; part != NULL && !arena_overflowed(editing->arena);
         part = part->next) {
        parts++;
        inside = inside && lies_in(part->source, turn->source);
        if (!seal_is_packed(part->signature) || !lies_in(part->source, source) ||
            !edit_part(editing, part))
            continue;
        removed++;
        remove_span(editing, part->source);
    }
    if (removed == 0 || removed < parts || !inside)
        return;
    /* All of it: with the message. Items that make a turn together are none. */
    *before = NULL;
    editing->gone_end = before;
    editing->end = before_end;
    remove_span(editing, turn->source);
}

static size_t skip_blanks(struct str source, size_t at)
{
    while (at < source.n && (source.p[at] == ' ' || source.p[at] == '\t' || source.p[at] == '\n' ||
                             source.p[at] == '\r'))
        at++;
    return at;
}

static size_t skip_blanks_back(struct str source, size_t at)
{
    while (at > 0 && (source.p[at - 1] == ' ' || source.p[at - 1] == '\t' ||
                      source.p[at - 1] == '\n' || source.p[at - 1] == '\r'))
        at--;
    return at;
}

/* Neighbours go together, with one comma. */
static void apply_gone(struct editing *editing)
{
    struct str source = editing->request->source;

    for (struct gone *gone = editing->gone; gone != NULL; gone = gone->next) {
        size_t begin = gone->begin;
        size_t end = skip_blanks(source, gone->end);
        while (gone->next != NULL && end < source.n && source.p[end] == ',' &&
               skip_blanks(source, end + 1) == gone->next->begin) {
            gone = gone->next;
            end = skip_blanks(source, gone->end);
        }
        if (end < source.n && source.p[end] == ',') {
            end = skip_blanks(source, end + 1);
        } else {
            end = gone->end;
            size_t before = skip_blanks_back(source, begin);
            if (before > 0 && source.p[before - 1] == ',')
                begin = before - 1;
        }
        json_edit_span(&editing->request->edits, editing->arena, begin, end, STR(""));
    }
}

void reason_edit(struct request *request, const struct reason_options *options,
                 struct str call_without, struct arena *arena)
{
    struct editing editing = {.request = request,
                              .options = options,
                              .call_without = call_without,
                              .arena = arena};

    assert(request->full);
    editing.gone_end = &editing.gone;
    for (const struct turn *turn = request->turns; turn != NULL && !arena_overflowed(arena);
         turn = turn->next) {
        if (turn->role == ROLE_ASSISTANT)
            edit_turn(&editing, turn);
    }
    if (!arena_overflowed(arena))
        apply_gone(&editing);
}
