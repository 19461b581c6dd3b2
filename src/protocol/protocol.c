/* SPDX-License-Identifier: MIT */
#include "protocol/protocol.h"

#include "text/url.h"

#define PROTOCOL(variable) extern const struct protocol variable;
#include "protocol/protocols.def"
#undef PROTOCOL

const struct protocol *const protocol_table[] = {
#define PROTOCOL(variable) &(variable),
#include "protocol/protocols.def"
#undef PROTOCOL
};
const size_t protocol_count = COUNT_OF(protocol_table);

const struct protocol *protocol_find(struct str name)
{
    for (size_t i = 0; i < protocol_count; i++) {
        if (str_eq(name, str_c(protocol_table[i]->name)))
            return protocol_table[i];
    }
    return NULL;
}

/* Whether a route's path serves this one; what its '*' takes of it, which is not empty, with the
 * action behind it (":generateContent"). Most of the table is left at the first byte that differs:
 * each request is held against all of it. */
static bool route_serves(const struct route *route, struct str path, struct str *ret_rest)
{
    const char *pattern = route->path;
    size_t n = 0;

    assert(pattern[0] == '/');
    assert(route->operation < OP_COUNT);
    *ret_rest = STR_NULL;
    while (n < path.n && pattern[n] == path.p[n] && pattern[n] != '*' && pattern[n] != '\0')
        n++;
    if (pattern[n] != '*')
        return pattern[n] == '\0' && n == path.n;
    struct str behind = str_c(pattern + n + 1);
    if (path.n <= n + behind.n || !str_ends(path, behind))
        return false;
    bool acts = str_starts(behind, STR(":"));
    *ret_rest = str_of(path.p + n, path.n - n - (acts ? 0 : behind.n));
    return true;
}

/* Of two that serve a path the one that says more of it. */
static bool is_nearer(const struct route *route, const struct route *than)
{
    if (than == NULL)
        return true;
    struct str a = str_c(route->path);
    struct str b = str_c(than->path);
    return a.n != b.n
               ? a.n > b.n
               : str_find_char(a, '*', 0) == SIZE_MAX && str_find_char(b, '*', 0) != SIZE_MAX;
}

/* HEAD comes with GET (RFC 9110, 9.3.2: the same but for the content). */
static bool method_serves(struct str have, struct str asked)
{
    return str_eq(have, asked) || (str_eq(have, STR("GET")) && str_eq(asked, STR("HEAD")));
}

static bool allow_has(struct str allow, struct str method)
{
    struct str item;

    while (str_cut(&allow, ',', &item)) {
        if (str_eq(str_trim(item), method))
            return true;
    }
    return false;
}

static void allow_add(struct str *allow, struct str method, struct arena *arena)
{
    if (allow_has(*allow, method))
        return;
    *allow = str_print(arena, "%.*s%s%.*s%s", STR_ARG(*allow), allow->n > 0 ? ", " : "",
                       STR_ARG(method), str_eq(method, STR("GET")) ? ", HEAD" : "");
}

/* The pattern that says most of a path, with its NUL; null where there is no such path. The method
 * does not count: with another one than the path has it is not to be taken for another path.
 * *ret_rest: as route_serves. */
static struct str pattern_of(struct str path, struct str *ret_rest)
{
    const struct route *best = NULL;
    struct str rest;

    *ret_rest = STR_NULL;
    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            if (!route_serves(route, path, &rest))
                continue;
            if (str_is_null(rest)) { /* the path itself: nothing says more of it */
                *ret_rest = STR_NULL;
                return str_c(route->path);
            }
            if (!is_nearer(route, best))
                continue;
            best = route;
            *ret_rest = rest;
        }
    }
    return best == NULL ? STR_NULL : str_c(best->path);
}

void protocol_route(struct str method, struct str path, struct arena *arena,
                    struct route_match *ret_match)
{
    struct str allow = STR_NULL;
    struct str rest;
    struct str pattern = pattern_of(path, &rest);

    *ret_match = (struct route_match){.path_known = !str_is_null(pattern)};
    if (str_is_null(pattern))
        return;
    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            if (strcmp(route->path, pattern.p) != 0)
                continue;
            if (method_serves(str_c(route->method), method)) {
                if (!str_is_null(rest))
                    rest = url_decode(rest, false, arena);
                ret_match->protocol = protocol_table[i];
                ret_match->operation = route->operation;
                ret_match->rest = rest;
                return;
            }
            allow_add(&allow, str_c(route->method), arena);
        }
    }
    ret_match->allow = allow;
}

/* How many segments path and pattern begin with together; one more where both go on with an action
 * behind a colon, as Gemini's do: the pattern's, or with POST any. */
static size_t nearness(struct str path, struct str pattern, bool post)
{
    size_t common = 0;
    struct str a;
    struct str b;

    while (str_cut(&path, '/', &a) && str_cut(&pattern, '/', &b)) {
        bool acts = str_starts(b, STR("*:")) &&
                    (post ? str_find_char(a, ':', 0) != SIZE_MAX : str_ends(a, str_from(b, 1)));
        if (acts)
            return common + 1;
        if (!str_eq(a, b))
            break;
        common++;
    }
    return common;
}

const struct protocol *protocol_of_path(struct str method, struct str path)
{
    const struct protocol *nearest = protocol_table[0];
    bool post = str_eq(method, STR("POST"));
    size_t most = 0;

    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            size_t common = nearness(path, str_c(route->path), post);
            if (common <= most)
                continue;
            most = common;
            nearest = protocol_table[i];
        }
    }
    return nearest;
}

/* --- reading what was edited -------------------------------------------------------------- */

/* The source with its edits, as one text. Null without memory. */
static struct str edited(const struct request *request, struct arena *arena)
{
    struct str *pieces;
    size_t n;
    size_t bytes;
    size_t at = 0;

    json_edit_apply(&request->edits, request->source, arena, &pieces, &n, &bytes);
    char *to = arena_alloc(arena, bytes);
    if (arena_overflowed(arena))
        return STR_NULL;
    for (size_t i = 0; i < n; i++) {
        assert(pieces[i].n <= bytes - at);
        memcpy(to + at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    assert(at == bytes);
    return str_of(to, bytes);
}

/* The request of the edited source, with the head that the first one had: who changed that has
 * changed its fields. */
static enum error_code settle(const struct protocol *protocol, struct request *request,
                              const struct request_limits *limits, struct arena *arena,
                              struct error *e)
{
    struct request_limits alone = *limits;
    struct str source = edited(request, arena);
    struct request again;

    alone.memory = NULL;
    if (str_is_null(source))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(protocol->request_decode(source, &alone, arena, &again, e));
    again.model = request->model;
    again.stream = request->stream;
    again.array = request->array;
    again.include_usage = request->include_usage;
    again.session_id = request->session_id;
    again.previous = request->previous;
    *request = again;
    return OK;
}

enum error_code protocol_read_full(const struct protocol *protocol, struct request *request,
                                   const struct request_limits *limits, struct arena *arena,
                                   struct error *e)
{
    if (request->edits.n > 0)
        TRY(settle(protocol, request, limits, arena, e));
    assert(request->edits.n == 0);
    return protocol->request_decode_full(request, limits, arena, e);
}
