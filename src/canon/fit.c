/* SPDX-License-Identifier: MIT */
#include "canon/fit.h"

#include "text/json.h"
#include "text/json_index.h"

enum error_code fit_request(const struct request *request, const struct fit_rules *rules,
                            struct translation *t, struct arena *arena, struct request *ret_request,
                            struct error *e)
{
    (void)rules;
    (void)t;
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_request = *request;
    return OK;
}

const struct turn *fit_conversation(const struct request *fitted)
{
    const struct turn *turn = fitted->turns;

    while (turn != NULL && (turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER))
        turn = turn->next;
    return turn;
}

static struct str join3(struct arena *arena, struct str a, struct str b, struct str c)
{
    struct str pieces[3] = {a, b, c};
    char *to = arena_alloc(arena, a.n + b.n + c.n);
    size_t n = 0;

    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        if (pieces[i].n > 0)
            memcpy(to + n, pieces[i].p, pieces[i].n);
        n += pieces[i].n;
    }
    return str_of(to, n);
}

struct str fit_arguments(struct str text, struct translation *t, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 0};
    struct str bare = str_trim(text);
    struct error ignored;

    if (bare.n == 0 || str_eq(bare, STR("null")))
        return STR("{}");
    yyjson_val *root = json_read(bare, &options, arena, &ignored);
    if (yyjson_is_obj(root))
        return bare;
    if (root != NULL)
        return join3(arena, STR("{\"value\":"), bare, STR("}"));
    translation_warn(t, "changed:arguments");
    return join3(arena, STR("{\"_invalid_json\":"), json_quote(text, arena), STR("}"));
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

struct str fit_result(const struct part *result, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 0};
    struct error ignored;
    bool media;
    struct str text = fit_result_text(result, arena, &media);
    struct str bare = str_trim(text);

    if (result->is_error)
        return join3(arena, STR("{\"error\":"), json_quote(text, arena), STR("}"));
    if (bare.n > 0 && bare.p[0] == '{' && yyjson_is_obj(json_read(bare, &options, arena, &ignored)))
        return bare;
    if (bare.n > 0 && bare.p[0] != '"' && json_read(bare, &options, arena, &ignored) != NULL)
        return join3(arena, STR("{\"output\":"), bare, STR("}"));
    return join3(arena, STR("{\"output\":"), json_quote(text, arena), STR("}"));
}
