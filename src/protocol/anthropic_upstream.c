/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: the request that an upstream gets.
 *
 * What      A client's request of this protocol as its own bytes with a few spans replaced; any
 *           other request written from its canonical form.
 * How       same_protocol: a copy of the request's edits, and of ours: the model's name, no
 *           session_id, what settings ask for. The request itself stays as it is, so that it can
 *           be encoded again for the next attempt.
 *           Else: what is thought is decided first (anthropic_plan.c), as the form of all else
 *           depends on it; then canon/fit puts the conversation right, and it is written.
 * Owns      Nothing: pieces lie in the arena and in the client's body.
 */
#include "protocol/anthropic_priv.h"

#include "canon/fit.h"
#include "canon/traits.h"
#include "protocol/edits.h"

/* Marks of what is to be cached; more are refused. */
enum { CACHE_MAX = 4 };

/* --- edits of the client's body ----------------------------------------------------------- */

static void edit_source(const struct request *request, const struct encode_request *how,
                        struct arena *arena, struct wire *wire)
{
    struct json_edits edits = edits_copy(request, arena);

    edits_model(request, how, &edits, arena);
    if (edits_steer(how) != NULL) {
        struct str members = anthropic_steer_members(request, how, edits_steer(how), arena);
        edits_tell_unsaid(request, how, members, arena);
        edits_merge(request, members, NULL, &edits, arena);
    }
    edits_apply(request, &edits, arena, wire);
}

/* --- a body of our own -------------------------------------------------------------------- */

static const struct {
    const char *key;
    bool refused; /* left out, the request would mean something else */
} foreign[] = {
    {"logit_bias", false},         {"safetySettings", false}, {"labels", false},
    {"web_search_options", false}, {"cachedContent", true},
};

/* What others may say of it that this protocol cannot. */
static enum error_code check_foreign(const struct request *request, struct translation *t,
                                     struct error *e)
{
    const struct params *params = &request->params;
    double n;

    if (!str_is_null(params->n) && str_to_double(params->n, &n) && n > 1)
        return FAIL(e, ERR_UNSUPPORTED, "more than one choice (n)");
    for (const struct extra *extra = request->extra; extra != NULL; extra = extra->next) {
        for (size_t i = 0; i < COUNT_OF(foreign); i++) {
            if (!str_eq(extra->key, str_c(foreign[i].key)))
                continue;
            if (foreign[i].refused)
                return FAIL(e, ERR_UNSUPPORTED, "%s", foreign[i].key);
            translation_warn_of(t, "dropped", extra->key);
        }
        if (str_eq(extra->key, STR("modalities")) &&
            str_find(extra->value, STR("\"audio\""), 0) != SIZE_MAX)
            return FAIL(e, ERR_UNSUPPORTED, "an answer as audio (modalities)");
    }
    return OK;
}

/* The final form of the conversation depends on whether there is thinking. */
static enum error_code fit(const struct request *request, struct anthropic_writer *w,
                           struct request *ret_request)
{
    bool thinks = w->thinking == ANTHROPIC_THINKING_BUDGET ||
                  w->thinking == ANTHROPIC_THINKING_ADAPTIVE;
    const struct fit_rules rules = {
        .system = FIT_SYSTEM_FRONT,
        .ids = FIT_IDS_ANTHROPIC,
        .names = FIT_NAMES_ANTHROPIC,
        .merge_roles = true,
        .user_first = true,
        .results_one_turn = true,
        .args_object = true,
        .wrap_custom = true,
        .prefill = !thinks && !w->traits->prefill_refused,
        .text_first = true,
        .no_blank_texts = true,
    };

    return fit_request(request, &rules, w->t, w->arena, ret_request, w->e);
}

static size_t count_cache(const struct request *request)
{
    size_t n = 0;

    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next)
        n += !str_is_null(tool->cache);
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            n += !str_is_null(part->cache);
            for (const struct part *p = part->parts; p != NULL; p = p->next)
                n += !str_is_null(p->cache);
        }
    }
    return n;
}

static enum error_code write_body(struct request *request, const struct encode_request *how,
                                  struct arena *arena, struct wire *wire, struct error *e)
{
    struct str *piece = ARENA_NEW(arena, struct str);
    struct str model = str_is_null(how->model) ? request->model : how->model;
    struct request fitted;
    struct request steered;
    struct buf out;
    request = anthropic_steer_request(edits_steer(how), request, &steered);
    struct anthropic_writer w = {
        .out = &out,
        .arena = arena,
        .e = e,
        .how = how,
        .request = request,
        .params = &request->params,
        .traits = traits_of(TRAITS_ANTHROPIC, model),
        .t = how->translation,
    };

    assert(request->full);
    TRY(check_foreign(request, w.t, e));
    TRY(anthropic_plan_make(&w));
    TRY(fit(request, &w, &fitted));
    w.request = &fitted;
    size_t cached = count_cache(&fitted);
    w.cache_skip = cached > CACHE_MAX ? cached - CACHE_MAX : 0;

    buf_init(&out, arena->bytes_max);
    buf_expect(&out, request->source.n + request->source.n / 16);
    buf_add(&out, STR("{\"model\":"));
    json_add_string(&out, model);
    anthropic_plan_write_params(&w);
    anthropic_plan_write_tools(&w);
    enum error_code code = anthropic_write_conversation(&w);
    buf_add_char(&out, '}');
    bool ok = buf_ok(&out);
    *piece = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    TRY(code);
    if (!ok || arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    wire->body = piece;
    wire->body_n = 1;
    wire->body_bytes = piece->n;
    return OK;
}

enum error_code anthropic_upstream_encode(struct request *request, const struct encode_request *how,
                                          struct arena *arena, struct wire *ret_wire,
                                          struct error *e)
{
    struct wire wire = {
        .method = STR("POST"),
        .path = how->operation == OP_COUNT_TOKENS ? STR("/messages/count_tokens")
                                                  : STR("/messages"),
        .query = STR_NULL,
        .content_type = STR("application/json"),
    };

    if (how->same_protocol)
        edit_source(request, how, arena, &wire);
    else
        TRY(write_body(request, how, arena, &wire, e));
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_wire = wire;
    return OK;
}
