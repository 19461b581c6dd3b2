/* SPDX-License-Identifier: MIT */
#include "protocol/protocol.h"

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

/* Whether a route's path serves this one; its rest for those that end in '*', which must not be
 * empty. */
static bool route_serves(const struct route *route, struct str path, struct str *ret_rest)
{
    struct str pattern = str_c(route->path);

    assert(route->path[0] == '/');
    assert(route->operation < OP_COUNT);
    if (!str_ends(pattern, STR("*"))) {
        *ret_rest = STR_NULL;
        return str_eq(pattern, path);
    }
    pattern.n--;
    if (!str_starts(path, pattern) || path.n == pattern.n)
        return false;
    *ret_rest = str_from(path, pattern.n);
    return true;
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

/* The methods that a path is served with; null where there is no such path. */
static struct str methods_of(struct str path, struct arena *arena)
{
    struct str allow = STR_NULL;
    struct str rest;

    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            if (route_serves(route, path, &rest))
                allow_add(&allow, str_c(route->method), arena);
        }
    }
    return allow;
}

void protocol_route(struct str method, struct str path, struct arena *arena,
                    struct route_match *ret_match)
{
    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            struct str rest;
            if (!method_serves(str_c(route->method), method) || !route_serves(route, path, &rest))
                continue;
            *ret_match = (struct route_match){
                .protocol = protocol_table[i],
                .operation = route->operation,
                .rest = rest,
                .path_known = true,
                .allow = STR_NULL,
            };
            return;
        }
    }
    struct str allow = methods_of(path, arena);
    *ret_match = (struct route_match){.path_known = !str_is_null(allow), .allow = allow};
}
