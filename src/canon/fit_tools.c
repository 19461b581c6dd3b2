/* SPDX-License-Identifier: MIT */
/*
 * Definitions of tools, and which may be called.
 *
 * How       Names that the target does not take are changed by a pure function, so that calls of
 *           the same tool in the conversation are named alike without a look into a table.
 * Not here  Schemas (canon/schema): each protocol asks for its own.
 */
#include "canon/fit_priv.h"

#include <xxhash.h>

#include "text/json.h"
#include "text/json_index.h"

enum { HEX_SIZE = 9, NAME_BYTES_MAX = 128 };

/* --- names -------------------------------------------------------------------------------- */

static size_t name_max(enum fit_names names)
{
    switch (names) {
    case FIT_NAMES_OPENAI:
    case FIT_NAMES_GEMINI:
        return 64;
    case FIT_NAMES_ANTHROPIC:
        return 128;
    }
    BUG("no such kind of name");
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_char(enum fit_names names, char c)
{
    if (is_letter(c) || (c >= '0' && c <= '9') || c == '-')
        return true;
    return names == FIT_NAMES_GEMINI && (c == '.' || c == ':');
}

static bool is_legal(enum fit_names names, struct str name)
{
    if (name.n == 0 || name.n > name_max(names))
        return false;
    if (names == FIT_NAMES_GEMINI && !is_letter(name.p[0]))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (!is_name_char(names, name.p[i]))
            return false;
    }
    return true;
}

struct str fit_tools_name(const struct fitter *f, struct str name)
{
    enum fit_names names = f->rules->names;
    char to[NAME_BYTES_MAX + 1];
    size_t n = 0;

    if (is_legal(names, name))
        return name;
    if (names == FIT_NAMES_GEMINI && (name.n == 0 || !is_letter(name.p[0])))
        to[n++] = '_';
    for (size_t i = 0; i < name.n && n < name_max(names) - HEX_SIZE; i++)
        to[n++] = is_name_char(names, name.p[i]) ? name.p[i] : '_';
    assert(n + HEX_SIZE <= name_max(names));
    (void)snprintf(to + n, HEX_SIZE + 1, "_%08x", fit_hash(name, 0));
    return str_copy(f->arena, str_of(to, n + HEX_SIZE));
}

/* --- definitions -------------------------------------------------------------------------- */

/* What the grammar of a custom tool's input says, in words: {type: grammar, grammar: {syntax,
 * definition}}, or the two beside the type. Null: any text. */
static struct str grammar_note(const struct fitter *f, struct str format)
{
    struct str grammar = format;
    struct str syntax;
    struct str definition;

    if (format.n == 0 || json_kind_of(format) != JSON_OBJECT)
        return STR_NULL;
    if (json_kind_of(json_object_find(format, STR("grammar"))) == JSON_OBJECT)
        grammar = json_object_find(format, STR("grammar"));
    syntax = json_object_find(grammar, STR("syntax"));
    definition = json_object_find(grammar, STR("definition"));
    if (definition.n == 0 || json_kind_of(definition) != JSON_STRING)
        return STR_NULL;
    bool regex = syntax.n > 0 && json_kind_of(syntax) == JSON_STRING &&
                 json_string_equals(str_of(syntax.p + 1, syntax.n - 2), STR("regex"));
    struct str pieces[] = {regex ? STR("input must match this regular expression:\n")
                                 : STR("input must follow this Lark grammar:\n"),
                           json_string_value(definition, f->arena)};
    return fit_join(f->arena, pieces, COUNT_OF(pieces));
}

/* A custom tool as a function with one string. */
static void wrap(struct fitter *f, struct tool *tool, struct str ours)
{
    struct str note = grammar_note(f, tool->format);
    struct str pieces[] = {tool->description, tool->description.n > 0 ? STR("\n\n") : STR(""),
                           note};

    if (f->t != NULL)
        translation_wrap(f->t, ours);
    if (!str_is_null(note))
        tool->description = fit_join(f->arena, pieces, COUNT_OF(pieces));
    tool->custom = false;
    tool->format = STR_NULL;
    tool->strict = -1;
    tool->schema = STR("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
                       "\"required\":[\"input\"],\"additionalProperties\":false}");
}

/* The names met so far: open addressing. */
struct names {
    struct str *slots;
    size_t mask;
    uint64_t seed;
};

static bool make_names(struct fitter *f, struct names *names, size_t n)
{
    size_t size = 16;

    while (size < n * 2)
        size *= 2;
    names->slots = arena_array(f->arena, size, sizeof(*names->slots));
    if (arena_overflowed(f->arena))
        return false;
    memset(names->slots, 0, size * sizeof(*names->slots));
    names->mask = size - 1;
    names->seed = (uint64_t)(uintptr_t)names->slots * 0x9e3779b97f4a7c15u;
    return true;
}

static bool has_name(const struct names *names, struct str name, size_t *ret_at)
{
    size_t at = XXH3_64bits_withSeed(name.p, name.n, names->seed) & names->mask;

    while (!str_is_null(names->slots[at]) && !str_eq(names->slots[at], name))
        at = (at + 1) & names->mask;
    *ret_at = at;
    return !str_is_null(names->slots[at]);
}

/* The tools that the target is told, in order. */
static size_t make_tools(struct fitter *f, const struct request *request, struct names *names,
                         struct tool **ret_tools)
{
    struct tool **to = ret_tools;
    size_t n = 0;
    size_t at;

    for (const struct tool *from = request->tools; from != NULL; from = from->next) {
        if (from->vendor) {
            translation_warn_of(f->t, "dropped:tool", from->name);
            continue;
        }
        if (has_name(names, from->name, &at)) {
            translation_warn_of(f->t, "dropped:tool", from->name);
            continue;
        }
        struct tool *tool = ARENA_NEW(f->arena, struct tool);
        if (arena_overflowed(f->arena))
            break;
        names->slots[at] = str_is_null(from->name) ? STR("") : from->name;
        *tool = *from;
        tool->next = NULL;
        tool->name = fit_tools_name(f, from->name);
        if (f->t != NULL && !str_eq(tool->name, from->name))
            translation_rename(f->t, from->name, tool->name);
        if (tool->custom && f->rules->wrap_custom)
            wrap(f, tool, from->name);
        *to = tool;
        to = &tool->next;
        n++;
    }
    return n;
}

/* --- which may be called ------------------------------------------------------------------ */

static void drop_choice(struct fitter *f, struct request *request, bool warn)
{
    if (warn)
        translation_warn(f->t, "dropped:tool_choice");
    request->tool_choice = TOOL_CHOICE_ABSENT;
    request->tool_choice_names = NULL;
    request->tool_choice_names_n = 0;
    request->tool_choice_required = false;
}

/* Names of tools that there are, as the target knows them. */
static void make_choice(struct fitter *f, const struct request *request, const struct names *names,
                        struct request *to)
{
    struct str *kept;
    size_t n = 0;
    size_t at;

    if (to->tools == NULL) {
        drop_choice(f, to, false);
        to->params.parallel_tool_calls = -1;
        return;
    }
    if (request->tool_choice == TOOL_CHOICE_OTHER)
        drop_choice(f, to, true);
    if (to->tool_choice_names_n == 0)
        return;
    kept = arena_array(f->arena, request->tool_choice_names_n, sizeof(*kept));
    if (arena_overflowed(f->arena))
        return;
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (has_name(names, request->tool_choice_names[i], &at))
            kept[n++] = fit_tools_name(f, request->tool_choice_names[i]);
    }
    to->tool_choice_names = kept;
    to->tool_choice_names_n = n;
    if (n == 0)
        drop_choice(f, to, true);
}

enum error_code fit_tools_make(struct fitter *f, const struct request *request,
                               struct request *ret_request, struct error *e)
{
    struct tool *tools = NULL;
    struct names names;
    size_t n = 0;

    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next)
        n++;
    if (n > 0 && !make_names(f, &names, n))
        return OK;
    if (n > 0)
        n = make_tools(f, request, &names, &tools);
    if (f->rules->tools_max > 0 && n > f->rules->tools_max)
        return FAIL(e, ERR_UNSUPPORTED, "\"tools\" has %zu elements, the backend takes at most %zu",
                    n, f->rules->tools_max);
    ret_request->tools = tools;
    make_choice(f, request, &names, ret_request);
    return OK;
}
