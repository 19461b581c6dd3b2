/* SPDX-License-Identifier: MIT */
/*
 * A request put into the form that a target takes.
 *
 * What      Turns and parts are copied, put right and put in order; the source stays as it is.
 * How       shape   copies turns: what the target has no place for is left out, system texts go to
 *                   their place, an assistant's turns that are one become one
 *           pair    calls find their results, both get their ids (fit_calls.c)
 *           place   results go behind the turn that called; what has no counterpart gets one
 *           finish  turns of one role in a row become one, and what must begin and end does
 *           Texts are shared with the source, and lie in the arena where they were changed.
 * Owns      Nothing: all lies in the arena.
 * Not here  Parameters, and what a protocol calls things: who writes the body knows them.
 */
#include "canon/fit_priv.h"

#include "canon/media.h"
#include "text/json.h"
#include "text/json_index.h"
#include "text/utf8.h"

/* --- pieces ------------------------------------------------------------------------------- */

uint32_t fit_hash(struct str text, uint32_t more)
{
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 0x01000193u;
    for (unsigned i = 0; i < 4; i++)
        hash = (hash ^ (more >> 8 * i & 0xff)) * 0x01000193u;
    /* FNV's low bits know little of the last bytes. */
    hash ^= hash >> 16;
    hash *= 0x85ebca6bu;
    return hash ^ hash >> 13;
}

struct str fit_join(struct arena *arena, const struct str *pieces, size_t n)
{
    size_t total = 0;
    char *to;

    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    to = arena_alloc(arena, total);
    if (arena_overflowed(arena))
        return STR("");
    total = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > 0)
            memcpy(to + total, pieces[i].p, pieces[i].n);
        total += pieces[i].n;
    }
    return str_of(to, total);
}

/* Parts and turns in the making. Past the arena's cap nodes are in no list: the memory is used
 * again. */
struct parts {
    struct part *first;
    struct part **end; /* NULL: empty */
};

struct turns {
    struct turn *first;
    struct turn **end; /* NULL: empty */
    struct turn *last;
    struct part **parts_end; /* of last */
};

/* NULL past the arena's cap. */
static struct part *add_part(struct fitter *f, struct parts *to, const struct part *from)
{
    struct part *part = arena_alloc(f->arena, sizeof(*part));

    if (arena_overflowed(f->arena))
        return NULL;
    *part = *from;
    part->next = NULL;
    *(to->end == NULL ? &to->first : to->end) = part;
    to->end = &part->next;
    return part;
}

static struct part *add_text(struct fitter *f, struct parts *to, struct str text)
{
    const struct part part = {.kind = PART_TEXT, .text = text};

    return add_part(f, to, &part);
}

/* Parts that go on with the last turn. */
static void append_parts(struct turns *to, const struct parts *parts)
{
    if (parts->first == NULL)
        return;
    *to->parts_end = parts->first;
    to->parts_end = parts->end;
}

/* A turn with these parts, like from where it is not NULL; none without parts. */
static void add_turn(struct fitter *f, struct turns *to, enum role role, const struct turn *from,
                     const struct parts *parts)
{
    struct turn *turn;

    if (parts->first == NULL)
        return;
    turn = arena_alloc(f->arena, sizeof(*turn));
    if (arena_overflowed(f->arena))
        return;
    *turn = from != NULL ? *from : (struct turn){.source = STR_NULL};
    turn->role = role;
    turn->content_was_null = false;
    turn->parts = parts->first;
    turn->next = NULL;
    *(to->end == NULL ? &to->first : to->end) = turn;
    to->end = &turn->next;
    to->last = turn;
    to->parts_end = parts->end;
}

/* --- shape: what stays -------------------------------------------------------------------- */

static bool is_blank(struct str text)
{
    return str_trim(text).n == 0;
}

/* Whether a part is kept; what is dropped and was something is told. */
static bool keeps(struct fitter *f, const struct part *part)
{
    switch (part->kind) {
    case PART_TEXT:
        if (part->text.n == 0 || (f->rules->no_blank_texts && is_blank(part->text)))
            return !str_is_null(part->signature);
        return true;
    case PART_REFUSAL:
        return part->text.n > 0;
    case PART_REASONING:
        return part->text.n > 0 || !str_is_null(part->signature) || !str_is_null(part->id);
    case PART_VENDOR:
        translation_warn_of(f->t, "dropped:part", part->name);
        return false;
    case PART_IMAGE:
    case PART_AUDIO:
    case PART_FILE:
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
        return true;
    case PART_KIND_COUNT:
        break;
    }
    BUG("no such kind of part");
}

/* What documents have besides, that no other protocol has. */
static void tell_document(struct fitter *f, const struct part *part)
{
    for (const struct extra *extra = part->extra; extra != NULL; extra = extra->next) {
        bool asked = str_find(extra->value, STR("true"), 0) != SIZE_MAX;
        if (str_eq(extra->key, STR("context")) && extra->value.n > 2)
            translation_warn(f->t, "dropped:context");
        else if (str_eq(extra->key, STR("citations")) && asked)
            translation_warn(f->t, "dropped:citations");
    }
}

static void shape_media(struct fitter *f, struct part *part)
{
    if (part == NULL)
        return;
    if (part->kind == PART_FILE)
        tell_document(f, part);
    if (part->is_url && !media_take_apart(part, f->arena))
        f->unreadable = true;
}

/* What a result says, without what is dropped. */
static struct part *result_parts(struct fitter *f, const struct part *from)
{
    struct parts parts = {.first = NULL};

    for (const struct part *part = from; part != NULL; part = part->next) {
        if (keeps(f, part))
            shape_media(f, add_part(f, &parts, part));
    }
    return parts.first;
}

/* {"input":"…"} */
static struct str wrapped_input(struct fitter *f, struct str text)
{
    struct str pieces[] = {STR("{\"input\":"), json_quote(text, f->arena), STR("}")};

    return fit_join(f->arena, pieces, COUNT_OF(pieces));
}

static void shape_call(struct fitter *f, struct part *part)
{
    part->name = fit_tools_name(f, part->name);
    if (part->custom) {
        if (!f->rules->wrap_custom)
            return;
        part->text = wrapped_input(f, part->text);
        part->custom = false;
    } else if (f->rules->args_object) {
        part->text = fit_arguments(part->text, f->t, f->arena);
    } else if (is_blank(part->text)) {
        part->text = STR("{}");
    }
}

static void shape_part(struct fitter *f, const struct part *from, struct parts *to)
{
    if (!keeps(f, from))
        return;
    struct part *part = add_part(f, to, from);
    if (part == NULL)
        return;
    if (part->kind == PART_TOOL_CALL)
        shape_call(f, part);
    else if (part->kind == PART_TOOL_RESULT)
        part->parts = result_parts(f, from->parts);
    else
        shape_media(f, part);
}

/* Chat messages say the same reasoning by several members; the most telling one counts: details,
 * which are signed, then reasoning_content, then reasoning. Null: it has none. */
static struct str telling_member(const struct turn *turn)
{
    struct str best = STR_NULL;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_REASONING || str_is_null(part->name) || part->redacted)
            continue;
        if (str_eq(part->name, STR("reasoning_details")) && part->text.n > 0)
            return part->name;
        if (str_is_null(best) && !str_eq(part->name, STR("reasoning_details")))
            best = part->name;
    }
    return best;
}

static bool says_again(const struct part *part, struct str member)
{
    return part->kind == PART_REASONING && !str_is_null(part->name) && part->text.n > 0 &&
           !str_eq(part->name, member) && !str_is_null(member);
}

/* --- shape: system texts ------------------------------------------------------------------ */

static bool is_system(const struct turn *turn)
{
    return turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER;
}

/* Texts and nothing else. tag: stands before the first one. */
static struct parts shape_texts(struct fitter *f, const struct turn *from, struct str tag)
{
    struct parts parts = {.first = NULL};

    for (const struct part *part = from->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT && part->kind != PART_VENDOR)
            translation_warn(f->t, "dropped:system_part");
        else
            shape_part(f, part, &parts);
    }
    if (tag.n > 0 && parts.first != NULL) {
        struct str pieces[] = {tag, parts.first->text};
        parts.first->text = fit_join(f->arena, pieces, COUNT_OF(pieces));
    }
    return parts;
}

static void shape_system(struct fitter *f, const struct turn *from, bool leading,
                         struct turns *front, struct turns *to)
{
    enum fit_system where = leading ? FIT_SYSTEM_FRONT : f->rules->system;
    struct parts parts = shape_texts(f, from,
                                     where == FIT_SYSTEM_USER ? STR("[system]\n") : STR(""));

    switch (where) {
    case FIT_SYSTEM_KEEP:
        add_turn(f, to, from->role, from, &parts);
        return;
    case FIT_SYSTEM_FRONT:
        if (!leading)
            translation_warn(f->t, "changed:system");
        add_turn(f, front, from->role, from, &parts);
        return;
    case FIT_SYSTEM_USER:
        translation_warn(f->t, "changed:system");
        add_turn(f, to, ROLE_USER, NULL, &parts);
        return;
    }
    BUG("no such place of system texts");
}

/* --- shape: turns ------------------------------------------------------------------------- */

/* Whether all parts are of these kinds, as bits. */
static bool only(const struct part *parts, unsigned kinds)
{
    for (const struct part *part = parts; part != NULL; part = part->next) {
        if ((kinds & 1u << part->kind) == 0)
            return false;
    }
    return true;
}

/* Whether the parts of an assistant's turn go on with what the last one said. */
static bool goes_on(const struct fitter *f, const struct turns *to, const struct part *parts)
{
    const unsigned reasoning = 1u << PART_REASONING;
    const unsigned calls = 1u << PART_TOOL_CALL;

    if (to->last == NULL || to->last->role != ROLE_ASSISTANT)
        return false;
    return f->rules->merge_roles || only(to->last->parts, reasoning) ||
           only(parts, reasoning | calls);
}

static void shape_turn(struct fitter *f, const struct turn *from, struct turns *to)
{
    bool assistant = from->role == ROLE_ASSISTANT;
    struct str member = assistant ? telling_member(from) : STR_NULL;
    struct parts parts = {.first = NULL};

    for (const struct part *part = from->parts; part != NULL; part = part->next) {
        if (!says_again(part, member))
            shape_part(f, part, &parts);
    }
    if (!assistant || !goes_on(f, to, parts.first)) {
        add_turn(f, to, from->role, from, &parts);
        return;
    }
    to->last->content_was_text = false;
    if (str_is_null(to->last->phase))
        to->last->phase = from->phase;
    append_parts(to, &parts);
}

static void shape(struct fitter *f, const struct turn *turns, struct turns *front, struct turns *to)
{
    bool leading = true;

    for (const struct turn *from = turns; from != NULL; from = from->next) {
        if (arena_overflowed(f->arena))
            return;
        leading = leading && is_system(from);
        if (is_system(from))
            shape_system(f, from, leading, front, to);
        else
            shape_turn(f, from, to);
    }
}

/* --- place: results behind their calls ---------------------------------------------------- */

/* The results of a turn's calls: uses[0..n) are the calls. */
struct row {
    struct fit_use *uses;
    size_t n;
};

static struct part missing_result(const struct part *call)
{
    return (struct part){
        .kind = PART_TOOL_RESULT,
        .id = call->id,
        .name = call->name,
        .custom = call->custom,
        .is_error = true,
        .was_text = true,
    };
}

static void add_result(struct fitter *f, const struct fit_use *call, struct turns *to,
                       struct parts *all)
{
    const struct part none = missing_result(call->part);
    struct parts alone = {.first = NULL};
    struct parts *parts = f->rules->results_one_turn ? all : &alone;
    struct parts text = {.first = NULL};
    struct part *part = add_part(f, parts, call->other != NULL ? call->other->part : &none);

    if (part == NULL)
        return;
    if (call->other == NULL) {
        (void)add_text(f, &text, STR("(no result available)"));
        part->parts = text.first;
        translation_warn(f->t, "added:tool_result");
    }
    if (!f->rules->name_of_result)
        part->name = STR_NULL;
    if (!f->rules->results_one_turn)
        add_turn(f, to, ROLE_TOOL, call->other != NULL ? call->other->turn : NULL, parts);
}

/* By the order in which the results came; calls without one are the last. */
static int compare_results(const void *a, const void *b)
{
    const struct fit_use *const *left = a;
    const struct fit_use *const *right = b;
    uintptr_t l = (*left)->other == NULL ? UINTPTR_MAX : (uintptr_t)(*left)->other;
    uintptr_t r = (*right)->other == NULL ? UINTPTR_MAX : (uintptr_t)(*right)->other;

    if (l != r)
        return l < r ? -1 : 1;
    return *left < *right ? -1 : *left > *right;
}

static void place_results(struct fitter *f, const struct row *row, struct turns *to)
{
    struct parts all = {.first = NULL};
    const struct fit_use **calls = arena_array(f->arena, row->n, sizeof(*calls));

    if (row->n == 0 || arena_overflowed(f->arena))
        return;
    for (size_t i = 0; i < row->n; i++)
        calls[i] = &row->uses[i];
    if (!f->rules->results_as_calls)
        qsort(calls, row->n, sizeof(*calls), compare_results);
    for (size_t i = 0; i < row->n; i++)
        add_result(f, calls[i], to, &all);
    add_turn(f, to, ROLE_TOOL, NULL, &all);
}

/* Results of calls that there are not: what they say, as the user's. */
static void place_orphan(struct fitter *f, const struct part *result, struct parts *to)
{
    struct str pieces[] = {STR("[tool result "), result->id, STR("]"), STR(""), STR("")};
    const struct part *first = result->parts;

    translation_warn(f->t, "changed:tool_result");
    if (first != NULL && first->kind == PART_TEXT) {
        pieces[3] = STR(" ");
        pieces[4] = first->text;
        first = first->next;
    }
    (void)add_text(f, to, fit_join(f->arena, pieces, COUNT_OF(pieces)));
    for (const struct part *part = first; part != NULL; part = part->next)
        (void)add_part(f, to, part);
}

/* A turn of role TOOL: its results have their place already. */
static void place_tool(struct fitter *f, const struct turn *turn, const struct row *row,
                       struct turns *to)
{
    struct parts orphans = {.first = NULL};
    const struct fit_use *use = row->uses;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TOOL_RESULT) {
            (void)add_part(f, &orphans, part);
            continue;
        }
        assert(use < row->uses + row->n && use->part == part);
        if (use->other == NULL)
            place_orphan(f, part, &orphans);
        use++;
    }
    add_turn(f, to, ROLE_USER, NULL, &orphans);
}

/* Reasoning, what was said, calls. */
static struct part *in_order(struct fitter *f, struct part *parts)
{
    struct parts lists[3] = {{.first = NULL}};
    struct parts all = {.first = NULL};

    for (struct part *part = parts, *next; part != NULL; part = next) {
        struct parts *to = &lists[part->kind == PART_REASONING   ? 0
                                  : part->kind == PART_TOOL_CALL ? 2
                                                                 : 1];
        next = part->next;
        part->next = NULL;
        *(to->end == NULL ? &to->first : to->end) = part;
        to->end = &part->next;
    }
    (void)f;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (lists[i].first == NULL)
            continue;
        *(all.end == NULL ? &all.first : all.end) = lists[i].first;
        all.end = lists[i].end;
    }
    return all.first;
}

static void place(struct fitter *f, const struct turn *turns, const struct fit_calls *calls,
                  struct turns *to)
{
    size_t at = 0;

    for (const struct turn *turn = turns; turn != NULL; turn = turn->next) {
        struct row row = {.uses = calls->uses + at};
        while (at < calls->n && calls->uses[at].turn == turn) {
            row.n++;
            at++;
        }
        if (turn->role == ROLE_TOOL) {
            place_tool(f, turn, &row, to);
            continue;
        }
        struct parts parts = {.first = turn->parts, .end = NULL};
        if (f->rules->text_first && turn->role == ROLE_ASSISTANT)
            parts.first = in_order(f, turn->parts);
        for (struct part *part = parts.first; part != NULL; part = part->next)
            parts.end = &part->next;
        add_turn(f, to, turn->role, turn, &parts);
        place_results(f, &row, to);
    }
    assert(at == calls->n || arena_overflowed(f->arena));
}

/* --- finish ------------------------------------------------------------------------------- */

static void add_said(struct fitter *f, struct turns *to, enum role role, struct str text)
{
    struct parts parts = {.first = NULL};

    (void)add_text(f, &parts, text);
    add_turn(f, to, role, NULL, &parts);
}

static void finish(struct fitter *f, const struct turn *turns, struct turns *to)
{
    if (f->rules->user_first && (turns == NULL || turns->role == ROLE_ASSISTANT))
        add_said(f, to, ROLE_USER, STR("."));
    for (const struct turn *turn = turns; turn != NULL; turn = turn->next) {
        struct parts parts = {.first = turn->parts};
        for (struct part *part = turn->parts; part != NULL; part = part->next)
            parts.end = &part->next;
        if (f->rules->merge_roles && to->last != NULL && to->last->role == turn->role &&
            turn->role != ROLE_TOOL) {
            to->last->content_was_text = false;
            append_parts(to, &parts);
        } else {
            add_turn(f, to, turn->role, turn, &parts);
        }
    }
    if (f->rules->prefill || to->last == NULL || to->last->role != ROLE_ASSISTANT)
        return;
    translation_warn(f->t, "changed:prefill");
    add_said(f, to, ROLE_USER, STR("Continue."));
}

/* The head: what Claude Code calls its user begins with the device, and ends with what changes. */
static void shorten_user(const struct fitter *f, struct params *params)
{
    size_t max = f->rules->user_bytes_max;

    if (max == 0 || params->user.n <= max)
        return;
    params->user = utf8_head(params->user, max);
    translation_warn(f->t, "changed:user");
}

/* Whether all that was said in the conversation was of kinds that only its vendor has. */
static bool is_vendors_own(const struct turn *turns)
{
    bool any = false;

    for (const struct turn *turn = turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL && !is_system(turn);
             part = part->next)
            any |= part->kind == PART_VENDOR;
    }
    return any;
}

/* Without anything said every protocol refuses the request, or answers to what nobody asked. */
static enum error_code check_said(const struct request *request, const struct turns *front,
                                  const struct turns *placed, struct error *e)
{
    if (placed->first != NULL)
        return OK;
    if (is_vendors_own(request->turns))
        return FAIL(e, ERR_BAD_REQUEST,
                    "the conversation has nothing but items that only a backend of the client's "
                    "protocol knows");
    if (front->first == NULL)
        return FAIL(e, ERR_BAD_REQUEST, "the conversation is empty");
    return OK;
}

/* None is what Anthropic takes as "only warm the cache": elsewhere an answer would be made. */
static enum error_code check_max_tokens(const struct params *params, struct error *e)
{
    double value;

    if (str_is_null(params->max_tokens) || !str_to_double(params->max_tokens, &value) || value >= 1)
        return OK;
    return FAIL(e, ERR_BAD_REQUEST,
                "the greatest number of tokens to answer with must be at "
                "least 1");
}

enum error_code fit_request(const struct request *request, const struct fit_rules *rules,
                            struct translation *t, struct arena *arena, struct request *ret_request,
                            struct error *e)
{
    struct fitter f = {.rules = rules, .t = t, .arena = arena};
    struct request fitted = *request;
    struct turns front = {.first = NULL};
    struct turns shaped = {.first = NULL};
    struct turns placed = {.first = NULL};
    struct turns finished = {.first = NULL};
    struct fit_calls calls;

    assert(request->full);
    if (!str_is_null(request->bound))
        return FAIL(e, ERR_UNSUPPORTED, "\"%.*s\" needs a backend of the client's protocol",
                    STR_ARG(request->bound));
    TRY(check_max_tokens(&request->params, e));
    TRY(fit_extra_check(&f, request->extra, e));
    TRY(fit_tools_make(&f, request, &fitted, e));
    shorten_user(&f, &fitted.params);
    shape(&f, request->turns, &front, &shaped);
    fit_calls_pair(&f, shaped.first, &calls);
    if (!arena_overflowed(arena))
        place(&f, shaped.first, &calls, &placed);
    finish(&f, placed.first, &finished);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    if (f.unreadable)
        return FAIL(e, ERR_BAD_REQUEST, "a data: URL without a comma has no data");
    TRY(check_said(request, &front, &placed, e));
    if (front.first != NULL)
        *front.end = finished.first;
    fitted.turns = front.first != NULL ? front.first : finished.first;
    *ret_request = fitted;
    return OK;
}

const struct turn *fit_conversation(const struct request *fitted)
{
    const struct turn *turn = fitted->turns;

    while (turn != NULL && is_system(turn))
        turn = turn->next;
    return turn;
}

/* --- arguments and results ---------------------------------------------------------------- */

/* Whether text is one JSON value; *ret_object: an object. */
static bool is_json(struct str text, struct arena *arena, bool *ret_object)
{
    const struct json_read_options options = {.depth_max = 0};

    *ret_object = false;
    /* What values begin with: most results are none of them, and not worth a parser. */
    if (text.n == 0 || strchr("{[\"-0123456789tfn", text.p[0]) == NULL || text.p[0] == '\0')
        return false;
    yyjson_val *root = json_read(text, &options, arena, NULL);

    *ret_object = yyjson_is_obj(root);
    return root != NULL;
}

struct str fit_arguments(struct str text, struct translation *t, struct arena *arena)
{
    struct str bare = str_trim(text);
    bool object;

    if (bare.n == 0 || str_eq(bare, STR("null")))
        return STR("{}");
    bool valid = is_json(bare, arena, &object);
    if (valid && object)
        return bare;
    struct str pieces[] = {STR("{\"value\":"), bare, STR("}")};
    if (!valid) {
        translation_warn(t, "changed:arguments");
        pieces[0] = STR("{\"_invalid_json\":");
        pieces[1] = json_quote(text, arena);
    }
    return fit_join(arena, pieces, COUNT_OF(pieces));
}

void fit_add_result(const struct part *result, struct arena *arena, struct buf *out)
{
    bool media;
    bool object = false;
    struct str text = fit_result_text(result, arena, &media);
    struct str bare = str_trim(text);
    bool valid = !result->is_error && bare.n > 0 && is_json(bare, arena, &object);

    if (valid && object) {
        buf_add(out, bare);
        return;
    }
    buf_add(out, result->is_error ? STR("{\"error\":") : STR("{\"output\":"));
    if (valid)
        buf_add(out, bare);
    else
        json_add_string(out, text);
    buf_add_char(out, '}');
}

struct str fit_result_text(const struct part *result, struct arena *arena, bool *ret_media)
{
    size_t total = 0;
    size_t n = 0;
    struct str only = STR("");
    char *to;

    *ret_media = false;
    for (const struct part *part = result->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT) {
            *ret_media = true;
            continue;
        }
        only = part->text;
        total += part->text.n + 1;
        n++;
    }
    if (n <= 1)
        return only;
    to = arena_alloc(arena, total);
    if (arena_overflowed(arena))
        return STR("");
    n = 0;
    for (const struct part *part = result->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT)
            continue;
        if (n > 0)
            to[n++] = '\n';
        if (part->text.n > 0)
            memcpy(to + n, part->text.p, part->text.n);
        n += part->text.n;
    }
    assert(n <= total);
    return str_of(to, n);
}
