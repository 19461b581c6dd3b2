/* SPDX-License-Identifier: MIT */
/*
 * What      The environment: the real one first, then .env of the working directory; and ${NAME}
 *           in texts of the config file.
 * How       .env is lines of NAME=value: export before a name, quotes ('…' literal, "…" with
 *           escapes), # comments, blanks around all of it. A line that is none of these is
 *           skipped with a warning: the file may be other programs' too.
 * Owns      Nothing; values lie in the reader's arena or in the environment.
 * Not here  What a variable means (config_table.c, config_args.c, config_backends.c).
 */
#include "state/config_priv.h"

#include <errno.h>

static bool is_name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

/* Length of the variable's name at the beginning of s. */
static size_t name_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_name_char(s.p[n], n == 0))
        n++;
    return n;
}

static struct str skip_blanks(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_from(s, 1);
    return s;
}

static char unescaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

/* The value in quotes at the beginning of s; false: not closed, or something but a comment
 * follows. */
static bool read_quoted(struct str s, struct arena *arena, struct str *ret_value)
{
    char quote = s.p[0];
    char *to = arena_array(arena, s.n, 1);
    size_t n = 0;
    size_t i = 1;

    assert(quote == '"' || quote == '\'');
    if (arena_overflowed(arena))
        return false;
    for (; i < s.n && s.p[i] != quote; i++) {
        if (quote == '"' && s.p[i] == '\\' && i + 1 < s.n)
            to[n++] = unescaped(s.p[++i]);
        else
            to[n++] = s.p[i];
    }
    if (i == s.n)
        return false;
    assert(n < s.n);
    struct str rest = str_trim(str_from(s, i + 1));
    *ret_value = str_of(to, n);
    return rest.n == 0 || rest.p[0] == '#';
}

static struct str read_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '#' && (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
            return str_trim(str_head(s, i));
    }
    return str_trim(s);
}

static bool read_line(struct str line, struct arena *arena, struct config_env_line *ret_line)
{
    if (str_starts(line, STR("export ")) || str_starts(line, STR("export\t")))
        line = skip_blanks(str_from(line, 7));
    struct str name = str_head(line, name_length(line));
    struct str rest = skip_blanks(str_from(line, name.n));
    if (name.n == 0 || rest.n == 0 || rest.p[0] != '=')
        return false;
    rest = skip_blanks(str_from(rest, 1));
    ret_line->name = name;
    if (rest.n > 0 && (rest.p[0] == '"' || rest.p[0] == '\''))
        return read_quoted(rest, arena, &ret_line->value);
    ret_line->value = read_plain(rest);
    return true;
}

void config_env_read(struct config_reader *r)
{
    struct str text;
    struct str line;
    int error = 0;
    int number = 0;

    assert(r->env == NULL);
    if (!config_slurp(r, STR(".env"), &text, &error)) {
        if (r->source->env_wanted || (error != ENOENT && r->source->again))
            config_fault(r, STR(".env"), "cannot be read: %s", strerror(error));
        else if (error != ENOENT)
            config_warn(r, STR(".env"), "cannot be read: %s", strerror(error));
        return;
    }
    size_t lines = 1;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    r->env = arena_array(&r->arena, lines, sizeof(*r->env));
    if (str_starts(text, STR("\xEF\xBB\xBF")))
        text = str_from(text, 3);
    while (!arena_overflowed(&r->arena) && str_cut(&text, '\n', &line)) {
        assert(r->env_n < lines);
        struct config_env_line *item = &r->env[r->env_n];
        number++;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (read_line(line, &r->arena, item))
            r->env_n++;
        else
            config_warn(r, str_print(&r->arena, ".env:%d:1", number),
                        "not a NAME=value line; it is skipped");
    }
    if (r->env_n == 0 && r->source->env_wanted)
        config_fault(r, STR(".env"), "has no variables, and had some before");
}

/* Set at all; then *ret_value may be empty. */
static bool find(struct config_reader *r, struct str name, struct str *ret_value, bool *ret_dot)
{
    for (char **e = r->source->environ; e != NULL && *e != NULL; e++) {
        struct str entry = str_c(*e);
        if (entry.n > name.n && str_starts(entry, name) && entry.p[name.n] == '=') {
            *ret_value = str_from(entry, name.n + 1);
            *ret_dot = false;
            return true;
        }
    }
    /* Of several lines the last counts, as in a shell. */
    for (size_t i = r->env_n; i > 0; i--) {
        if (str_eq(r->env[i - 1].name, name)) {
            *ret_value = r->env[i - 1].value;
            *ret_dot = true;
            return true;
        }
    }
    return false;
}

struct str config_env_get(struct config_reader *r, const char *name, struct str *ret_where)
{
    struct str value;
    bool dot;

    assert(name_length(str_c(name)) == strlen(name));
    if (!find(r, str_c(name), &value, &dot) || value.n == 0)
        return STR_NULL;
    *ret_where = str_print(&r->arena, "%s %s", dot ? ".env" : "environment", name);
    return value;
}

struct str config_env_get_either(struct config_reader *r, const char *name, const char *also,
                                 struct str *ret_where)
{
    struct str where = STR_NULL;
    struct str value = config_env_get(r, name, ret_where);
    struct str other = also == NULL ? STR_NULL : config_env_get(r, also, &where);

    if (str_is_null(other))
        return value;
    if (!str_is_null(value) && str_starts(*ret_where, STR("environment ")) &&
        !str_starts(where, STR("environment ")))
        return value;
    *ret_where = where;
    return other;
}

/* The reference at s ("${…"); returns its length, 0 after a fault. */
static size_t expand_one(struct config_reader *r, struct str s, struct str where, struct buf *out)
{
    size_t close = str_find_char(s, '}', 0);
    struct str inside = str_from(str_head(s, close), 2);
    struct str name = str_head(inside, name_length(inside));
    struct str rest = str_from(inside, name.n);
    struct str value;
    bool dot;

    assert(str_starts(s, STR("${")));
    if (close == SIZE_MAX || name.n == 0 || (rest.n > 0 && !str_starts(rest, STR(":-")))) {
        config_fault(r, where,
                     "\"${\" begins no ${NAME} or ${NAME:-default}; a literal one is "
                     "written $${");
        return 0;
    }
    bool is_set = find(r, name, &value, &dot);
    if (rest.n > 0 && (!is_set || value.n == 0)) {
        (void)buf_add(out, str_from(rest, 2));
        return close + 1;
    }
    if (!is_set) {
        config_fault(r, where,
                     "${%.*s}: this variable is not set in the environment, and there "
                     "is no default (${%.*s:-default})",
                     STR_ARG(name), STR_ARG(name));
        return 0;
    }
    (void)buf_add(out, value);
    return close + 1;
}

bool config_env_expand(struct config_reader *r, struct str text, struct str where,
                       struct str *ret_text, bool *ret_expanded)
{
    struct buf out;
    bool ok = true;

    *ret_expanded = false;
    if (str_find(text, STR("${"), 0) == SIZE_MAX) {
        *ret_text = text;
        return true;
    }
    buf_init(&out, CONFIG_FILE_BYTES_MAX);
    while (ok && text.n > 0) {
        size_t used = 1;
        if (str_starts(text, STR("$${"))) {
            (void)buf_add(&out, STR("${"));
            used = 3;
        } else if (str_starts(text, STR("${"))) {
            used = expand_one(r, text, where, &out);
            *ret_expanded = true;
            ok = used > 0;
        } else {
            (void)buf_add_char(&out, text.p[0]);
        }
        assert(used <= text.n);
        text = str_from(text, used);
    }
    if (ok && !buf_ok(&out)) {
        config_fault(r, where, "too long");
        ok = false;
    }
    if (ok)
        *ret_text = str_copy(&r->arena, buf_str(&out));
    if (out.p != NULL)
        buf_fini(&out);
    return ok;
}
