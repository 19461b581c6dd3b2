/* SPDX-License-Identifier: MIT */
#include "command/names.h"

#include "text/utf8.h"

enum { NEAR_NAME_MAX = 64, NEAR_PREFIX_MIN = 3, NEAR_DISTANCE_MAX = 3 };

static char plain(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

bool names_eq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (plain(a.p[i]) != plain(b.p[i]))
            return false;
    }
    return true;
}

bool names_has(const char *list, struct str name)
{
    struct str rest = str_c(list);
    struct str one;

    while (str_cut(&rest, '|', &one)) {
        if (names_eq(one, name))
            return true;
    }
    return false;
}

void names_near_init(struct names_near *near, struct str name)
{
    *near = (struct names_near){.name = name, .distance = name.n < 4 ? 2 : NEAR_DISTANCE_MAX};
}

/* Words of it, as they stand: "budget" of "thinking-budget". */
static bool has_words(struct str name, struct str words)
{
    size_t at = 0;

    while ((at = str_find(name, words, at)) != SIZE_MAX) {
        size_t end = at + words.n;
        if ((at == 0 || name.p[at - 1] == '-') && (end == name.n || name.p[end] == '-'))
            return true;
        at++;
    }
    return false;
}

void names_near_try(struct names_near *near, struct str candidate, struct str canonical)
{
    char typed[NEAR_NAME_MAX];
    size_t n = near->name.n;

    if (n == 0 || n > sizeof(typed))
        return;
    for (size_t i = 0; i < n; i++)
        typed[i] = plain(near->name.p[i]);
    struct str name = str_of(typed, n);
    size_t distance = str_distance(name, candidate, NEAR_DISTANCE_MAX);
    /* "reasoning" and "effort" are far from "reasoning-effort", and yet what was meant. */
    if (n >= NEAR_PREFIX_MIN && (str_starts(candidate, name) || has_words(candidate, name)))
        distance = 1;
    if (distance < near->distance) {
        near->distance = distance;
        near->best = canonical;
    }
}

void names_near_try_list(struct names_near *near, const char *list, struct str canonical)
{
    struct str rest = str_c(list);
    struct str one;

    while (str_cut(&rest, '|', &one))
        names_near_try(near, one, canonical);
}

void names_show(struct str typed, struct buf *out)
{
    struct str shown = utf8_head(typed, NAMES_SHOWN_MAX);

    (void)buf_add(out, shown);
    if (shown.n < typed.n)
        (void)buf_add(out, STR("..."));
}

void names_say(const char *template, struct str value, struct buf *out)
{
    struct str text = str_c(template);
    size_t at = str_find_char(text, '*', 0);

    if (at == SIZE_MAX) {
        (void)buf_add(out, text);
        return;
    }
    (void)buf_add(out, str_head(text, at));
    (void)buf_add(out, value);
    (void)buf_add(out, str_from(text, at + 1));
}
