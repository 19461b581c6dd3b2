/* SPDX-License-Identifier: MIT */
/*
 * Sessions, as who uses them and who runs the program sees them.
 *
 * What      Lists them, shows one with its history, forgets one.
 * How       A client sees its own; an admin all of them in the list, and another client's when it
 *           names it (?client=NAME), as ids are each client's own.
 * Not here  The table (state/session), who asks (gateway/admit).
 */
#include "admin/admin_sessions.h"

#include "admin/admin_json.h"
#include "gateway/site.h"
#include "pipeline/session_key.h"
#include "text/json.h"
#include "text/url.h"

enum { LIMIT = 100, LIMIT_MAX = 1000 };

/* --- the query --- */

/* The parameter's value, decoded; null without it. */
static struct str parameter(const struct gateway_ask *ask, struct str name)
{
    struct str rest = ask->query;
    struct str key;
    struct str value;

    while (url_query_next(&rest, &key, &value)) {
        if (str_eq(key, name))
            return str_is_null(value) ? STR("") : url_decode(value, true, ask->arena);
    }
    return STR_NULL;
}

static enum error_code read_limit(const struct gateway_ask *ask, size_t *ret_limit, struct error *e)
{
    struct str text = parameter(ask, STR("limit"));
    int64_t n = LIMIT;

    if (!str_is_null(text) && (!str_to_int64(text, &n) || n < 1 || n > LIMIT_MAX))
        return FAIL(e, ERR_BAD_REQUEST, "limit is not a number from 1 to %d", LIMIT_MAX);
    *ret_limit = (size_t)n;
    return OK;
}

/* Whose sessions are meant. *ret_named: the request says whose. */
static enum error_code read_scope(const struct gateway_ask *ask, struct session_scope *ret_scope,
                                  bool *ret_named, struct error *e)
{
    struct str name = parameter(ask, STR("client"));

    *ret_scope = ask->scope;
    *ret_named = !str_is_null(name);
    if (!*ret_named || (ask->client != NULL && str_eq(name, ask->client->name)))
        return OK;
    if (!ask->is_admin)
        return FAIL(e, ERR_FORBIDDEN, "sessions of another client need an admin's key");
    for (size_t i = 0; i < ask->site->keys_n && ask->client != NULL; i++) {
        if (str_eq(name, ask->site->keys[i].name)) {
            *ret_scope = site_scope(ask->site, &ask->site->keys[i]);
            return OK;
        }
    }
    return FAIL(e, ERR_NOT_FOUND, "no client has the name %.*s", STR_ARG(str_head(name, 80)));
}

/* --- JSON --- */

static void add_text(struct buf *out, const char *name, struct str value)
{
    (void)buf_print(out, ",\"%s\":", name);
    admin_json_text(out, value);
}

/* -1: not said. */
static void add_count(struct buf *out, const char *name, int64_t value)
{
    (void)buf_print(out, ",\"%s\":", name);
    if (value < 0)
        (void)buf_add(out, STR("null"));
    else
        (void)buf_add_int64(out, value);
}

static void add_stats(struct buf *out, const struct session_stats *stats)
{
    (void)buf_add(out, STR(",\"stats\":{\"requests\":"));
    (void)buf_add_int64(out, stats->requests);
    add_count(out, "commands", stats->commands);
    add_count(out, "failures", stats->failures);
    add_count(out, "tokens_in", stats->tokens_in);
    add_count(out, "tokens_out", stats->tokens_out);
    add_count(out, "tokens_cached", stats->tokens_cached);
    (void)buf_add(out, STR("}"));
}

static void add_item(struct buf *out, const struct session_item *item)
{
    (void)buf_add(out, STR("{\"time\":"));
    admin_json_time(out, item->time_ms);
    add_text(out, "handler", item->by_proxy ? STR("proxy") : STR("backend"));
    (void)buf_print(out, ",\"failed\":%s", item->failed ? "true" : "false");
    add_text(out, "prompt", item->prompt);
    add_text(out, "answer", item->answer);
    add_text(out, "backend", item->backend);
    add_text(out, "model", item->model);
    add_text(out, "project", item->project);
    add_count(out, "tokens_in", item->tokens_in);
    add_count(out, "tokens_out", item->tokens_out);
    (void)buf_add(out, STR("}"));
}

/* Without its closing brace. */
static void add_session(struct buf *out, const struct session_view *view)
{
    (void)buf_add(out, STR("{\"id\":"));
    (void)json_add_string(out, view->id);
    add_text(out, "client", view->client);
    (void)buf_add(out, STR(",\"created\":"));
    admin_json_time(out, view->stats.created_ms);
    (void)buf_add(out, STR(",\"last_seen\":"));
    admin_json_time(out, view->stats.seen_ms);
    (void)buf_add(out, STR(",\"settings\":"));
    (void)settings_write(&view->settings, out);
    add_stats(out, &view->stats);
}

/* --- routes --- */

static bool no_memory(const struct gateway_ask *ask, struct error *e)
{
    if (!arena_overflowed(ask->arena))
        return false;
    FAIL(e, ERR_OVERLOADED, "there is no memory for the answer");
    return true;
}

int admin_sessions_list(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    struct session_scope scope;
    struct session_view *views = NULL;
    bool named = false;
    size_t limit = 0;

    if (read_limit(ask, &limit, e) != OK || read_scope(ask, &scope, &named, e) != OK)
        return 0;
    bool all = ask->is_admin && !named;
    size_t n = sessions_list(gateway_sessions(ask->gateway), all ? NULL : &scope, limit,
                             ask->now_ms, ask->arena, &views);
    if (no_memory(ask, e))
        return 0;
    (void)buf_add(out, STR("{\"sessions\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            (void)buf_add(out, STR(",\n"));
        add_session(out, &views[i]);
        (void)buf_add(out, STR("}"));
    }
    (void)buf_add(out, STR("]}\n"));
    return 200;
}

static int unknown(struct str id, struct error *e)
{
    FAIL(e, ERR_NOT_FOUND, "no session with the id %.*s", STR_ARG(str_head(id, SESSION_ID_MAX)));
    return 0;
}

static int show(const struct gateway_ask *ask, struct session *session, struct buf *out,
                struct error *e)
{
    struct session_view view;

    session_view(session, ask->arena, &view);
    session_leave(&session);
    if (no_memory(ask, e))
        return 0;
    add_session(out, &view);
    (void)buf_add(out, STR(",\"history\":["));
    for (size_t i = 0; i < view.history_n; i++) {
        if (i > 0)
            (void)buf_add(out, STR(",\n"));
        add_item(out, &view.history[i]);
    }
    (void)buf_add(out, STR("]}\n"));
    return 200;
}

int admin_sessions_one(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    struct sessions *sessions = gateway_sessions(ask->gateway);
    struct session_scope scope;
    struct session_key_room room;
    bool named = false;

    if (read_scope(ask, &scope, &named, e) != OK)
        return 0;
    if (ask->rest.n == 0)
        return unknown(ask->rest, e);
    /* As requests give it: it may be one of which only the digest is kept. */
    struct str id = session_key_legal(ask->rest, &room);
    if (str_eq(ask->method, STR("DELETE")))
        return gateway_forget_session(ask, &scope, id) ? 204 : unknown(ask->rest, e);
    struct session *session = session_find(sessions, &scope, id, ask->now_ms);
    return session == NULL ? unknown(ask->rest, e) : show(ask, session, out, e);
}
