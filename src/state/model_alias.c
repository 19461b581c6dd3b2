/* SPDX-License-Identifier: MIT */
/*
 * What      Names of models that stand for others.
 * How       Exact ones are sorted and found by halving; expressions were compiled when the
 *           configuration was read, and are tried in order. The C library has one lock in each
 *           compiled expression: two workers that ask the same one wait for each other as long as
 *           one match takes, which is bounded by the length of the name, as neither references
 *           back nor counts are allowed in an expression.
 * Owns      The compiled expressions; the table is the arena's.
 * Not here  Reading them from YAML (config_models.c), what a name means (backend/resolve).
 */
#include "state/model_alias.h"

#include <regex.h>
#include <stdlib.h>

#include "state/config.h"
#include "text/utf8.h"

enum { GROUPS_MAX = 9 };

struct exact {
    struct str name;
    struct str target;
};

struct pattern {
    struct str text;
    struct str target;
    regex_t compiled; /* of ^(text)$: what it calls group 1 is the whole */
};

struct model_aliases {
    struct exact *exact;
    size_t exact_n;
    size_t exact_size;
    struct pattern *patterns;
    size_t patterns_n;
    struct arena *arena;
};

/* --- reading --- */

bool model_alias_is_pattern(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] != '\0' && strchr("^$*+?()[]{}|\\", key.p[i]) != NULL)
            return true;
    }
    return false;
}

struct model_aliases *model_alias_list_new(size_t n, struct arena *arena)
{
    struct model_aliases *aliases = ARENA_NEW(arena, struct model_aliases);

    assert(n <= MODEL_ALIASES_MAX);
    aliases->exact = arena_array(arena, n + 1, sizeof(*aliases->exact));
    aliases->exact_size = n;
    aliases->patterns = arena_array(arena, n < MODEL_PATTERNS_MAX ? n + 1 : MODEL_PATTERNS_MAX,
                                    sizeof(*aliases->patterns));
    aliases->arena = arena;
    return aliases;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What would make a match take longer than the name is long, or the expression larger. */
static enum error_code check_pattern(struct str text, struct error *e)
{
    if (text.n == 0 || text.n > MODEL_NAME_BYTES_MAX)
        return FAIL(e, ERR_CONFIG, "an expression has 1 to %d bytes", MODEL_NAME_BYTES_MAX);
    if (utf8_has_control(text))
        return FAIL(e, ERR_CONFIG, "an expression has no control characters");
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '{')
            return FAIL(e, ERR_CONFIG, "an expression has no counts ({n,m}); write it out");
        if (text.p[i] == '\\' && i + 1 < text.n && is_digit(text.p[++i]))
            return FAIL(e, ERR_CONFIG, "\\%c stands in a target, not in an expression", text.p[i]);
    }
    return OK;
}

static enum error_code check_target(struct str target, bool pattern, size_t groups, struct error *e)
{
    if (target.n == 0 || target.n > MODEL_NAME_BYTES_MAX)
        return FAIL(e, ERR_CONFIG, "the target is a model's name of 1 to %d bytes",
                    MODEL_NAME_BYTES_MAX);
    if (utf8_has_control(target))
        return FAIL(e, ERR_CONFIG, "the target is a model's name, without control characters");
    for (size_t i = 0; i < target.n; i++) {
        if (target.p[i] == ' ')
            return FAIL(e, ERR_CONFIG, "the target is a model's name, without blanks");
        if (!pattern || target.p[i] != '\\')
            continue;
        char next = i + 1 < target.n ? target.p[++i] : '\0';
        if (next != '\\' && !is_digit(next))
            return FAIL(e, ERR_CONFIG, "behind a \\ of the target stands 0 to 9, or another \\");
        if (is_digit(next) && (size_t)(next - '0') > groups)
            return FAIL(e, ERR_CONFIG, "the target has \\%c, the expression has %zu groups", next,
                        groups);
    }
    return OK;
}

static enum error_code add_pattern(struct model_aliases *aliases, struct str text,
                                   struct str target, struct error *e)
{
    char whole[MODEL_NAME_BYTES_MAX + sizeof("^()$")] = "^(";
    char why[128] = "";

    if (aliases->patterns_n == MODEL_PATTERNS_MAX)
        return FAIL(e, ERR_CONFIG, "more than %d expressions", MODEL_PATTERNS_MAX);
    TRY(check_pattern(text, e));
    memcpy(whole + 2, text.p, text.n);
    memcpy(whole + 2 + text.n, ")$", sizeof(")$"));
    struct pattern *pattern = &aliases->patterns[aliases->patterns_n];
    *pattern = (struct pattern){.text = text, .target = target};
    int status = regcomp(&pattern->compiled, whole, REG_EXTENDED);
    if (status != 0) {
        (void)regerror(status, &pattern->compiled, why, sizeof(why));
        return FAIL(e, ERR_CONFIG, "not a POSIX extended regular expression: %s", why);
    }
    size_t groups = pattern->compiled.re_nsub - 1;
    enum error_code code = check_target(target, true, groups < GROUPS_MAX ? groups : GROUPS_MAX, e);
    if (code != OK)
        regfree(&pattern->compiled);
    else
        aliases->patterns_n++;
    return code;
}

enum error_code model_alias_list_add(struct model_aliases *aliases, struct str key,
                                     struct str target, bool pattern, struct error *e)
{
    if (arena_overflowed(aliases->arena))
        return OK; /* which the reader tells */
    if (pattern)
        return add_pattern(aliases, key, target, e);
    if (key.n == 0 || key.n > MODEL_NAME_BYTES_MAX)
        return FAIL(e, ERR_CONFIG, "an alias has 1 to %d bytes", MODEL_NAME_BYTES_MAX);
    if (utf8_has_control(key))
        return FAIL(e, ERR_CONFIG, "an alias has no line breaks and control characters");
    TRY(check_target(target, false, 0, e));
    assert(aliases->exact_n < aliases->exact_size);
    aliases->exact[aliases->exact_n++] = (struct exact){.name = key, .target = target};
    return OK;
}

static int compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.p, b.p, n);

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

static int compare_exact(const void *a, const void *b)
{
    const struct exact *first = a;
    const struct exact *second = b;

    return compare(first->name, second->name);
}

void model_alias_list_sort(struct model_aliases *aliases)
{
    if (aliases->exact_n > 1 && !arena_overflowed(aliases->arena))
        qsort(aliases->exact, aliases->exact_n, sizeof(*aliases->exact), compare_exact);
}

void model_alias_list_fini(struct model_aliases *aliases)
{
    if (aliases == NULL)
        return;
    for (size_t i = 0; i < aliases->patterns_n; i++)
        regfree(&aliases->patterns[i].compiled);
    aliases->patterns_n = 0;
}

/* --- asking --- */

static const struct exact *find_exact(const struct model_aliases *aliases, struct str name)
{
    size_t low = 0;
    size_t high = aliases->exact_n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(aliases->exact[middle].name, name);
        if (order == 0)
            return &aliases->exact[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The target with what the groups matched in it; null when that is no name: too long, or empty. */
static struct str fill(struct str target, struct str name, const regmatch_t *groups,
                       struct arena *arena)
{
    char text[MODEL_NAME_BYTES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < target.n; i++) {
        struct str part = str_of(target.p + i, 1);
        if (*part.p == '\\') {
            char next = target.p[++i];
            part = str_of(target.p + i, 1);
            if (is_digit(next)) {
                const regmatch_t *group = &groups[next - '0' + 1];
                part = STR("");
                if (next == '0')
                    part = name;
                else if (group->rm_so >= 0)
                    part = str_of(name.p + group->rm_so, (size_t)(group->rm_eo - group->rm_so));
            }
        }
        if (part.n > sizeof(text) - n)
            return STR_NULL;
        memcpy(text + n, part.p, part.n);
        n += part.n;
    }
    return n == 0 ? STR_NULL : str_copy(arena, str_of(text, n));
}

static struct str match(const struct pattern *pattern, struct str name, struct arena *arena)
{
    regmatch_t groups[GROUPS_MAX + 2];
    char text[MODEL_NAME_BYTES_MAX + 1]; /* sanitizers look for an end, whatever the flags say */

    assert(name.n <= MODEL_NAME_BYTES_MAX);
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    groups[0] = (regmatch_t){.rm_so = 0, .rm_eo = (regoff_t)name.n};
    if (regexec(&pattern->compiled, text, COUNT_OF(groups), groups, REG_STARTEND) != 0)
        return STR_NULL;
    assert(groups[0].rm_so == 0 && (size_t)groups[0].rm_eo == name.n);
    return fill(pattern->target, name, groups, arena);
}

struct str model_alias(const struct config *config, struct str name, struct arena *arena)
{
    const struct model_aliases *aliases = config->model_aliases;

    if (LIKELY(aliases == NULL) || name.n == 0 || name.n > MODEL_NAME_BYTES_MAX)
        return name;
    const struct exact *exact = find_exact(aliases, name);
    if (exact != NULL)
        return exact->target;
    for (size_t i = 0; i < aliases->patterns_n; i++) {
        struct str target = match(&aliases->patterns[i], name, arena);
        if (!str_is_null(target))
            return target;
    }
    return name;
}

bool model_alias_exact(const struct config *config, size_t i, struct str *ret_name,
                       struct str *ret_target)
{
    const struct model_aliases *aliases = config->model_aliases;

    if (aliases == NULL || i >= aliases->exact_n)
        return false;
    *ret_name = aliases->exact[i].name;
    *ret_target = aliases->exact[i].target;
    return true;
}

bool model_alias_pattern(const struct config *config, size_t i, struct str *ret_pattern,
                         struct str *ret_target)
{
    const struct model_aliases *aliases = config->model_aliases;

    if (aliases == NULL || i >= aliases->patterns_n)
        return false;
    *ret_pattern = aliases->patterns[i].text;
    *ret_target = aliases->patterns[i].target;
    return true;
}
