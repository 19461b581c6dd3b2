/* SPDX-License-Identifier: MIT */
#include "text/json_halves.h"

#include <string.h>

#include "base/attr.h"
#include "text/json_string.h"

/* d800 to dbff. escape: a lone surrogate's. */
static bool is_first(const char *escape)
{
    return (escape[3] | 0x20) < 'c';
}

/* The first lone surrogate escape from *at on. ret_begins: it is what a string begins with. */
static bool next_lone(struct str data, size_t *at, bool *ret_begins)
{
    size_t after = *at;

    while (after < data.n) {
        const char *escape = memchr(data.p + after, '\\', data.n - after);
        if (escape == NULL)
            return false;
        *at = (size_t)(escape - data.p);
        size_t size = json_string_surrogate(escape, data.n - *at);
        *ret_begins = *at > after && escape[-1] == '"';
        if (size == JSON_HALF_SIZE)
            return true;
        after = *at + (size == 0 ? 2 : size);
    }
    return false;
}

static size_t copy_to(char *to, struct str text)
{
    if (text.n > 0)
        memcpy(to, text.p, text.n);
    return text.n;
}

struct str json_halves_join(struct json_halves *halves, struct str data, struct arena *arena)
{
    struct json_halves next = *halves;
    bool begins = false;
    size_t at = 0;
    size_t done = 0;
    size_t n = 0;

    if (LIKELY(!next_lone(data, &at, &begins)))
        return data;
    /* Each half that is put in has one of its own size behind it. */
    char *to = arena_alloc(arena, 2 * data.n);
    if (arena_overflowed(arena))
        return data;
    do {
        const char *escape = data.p + at;
        n += copy_to(to + n, str_of(data.p + done, at - done));
        done = at;
        at += JSON_HALF_SIZE;
        if (is_first(escape) && at < data.n && data.p[at] == '"') {
            memcpy(next.half, escape, JSON_HALF_SIZE);
            next.has = true;
            done = at;
        } else if (!is_first(escape) && begins && halves->has) {
            n += copy_to(to + n, str_of(halves->half, JSON_HALF_SIZE));
            next.has = false;
        }
    } while (next_lone(data, &at, &begins));
    n += copy_to(to + n, str_from(data, done));
    *halves = next;
    return str_of(to, n);
}

bool json_halves_cut(struct str body)
{
    if (body.n < JSON_HALF_SIZE)
        return false;
    const char *end = body.p + body.n - JSON_HALF_SIZE;
    return (json_string_surrogate(body.p, body.n) == JSON_HALF_SIZE && !is_first(body.p)) ||
           (json_string_surrogate(end, JSON_HALF_SIZE) == JSON_HALF_SIZE && is_first(end));
}
