/* SPDX-License-Identifier: MIT */
/*
 * What the demo's models `tools` and `tool-loop` do.
 *
 * What      Calls tools that the client offers, with arguments that their schemas accept, and says
 *           what their results were.
 * How       A tool that the message names is called, else one whose name sounds as if it only
 *           looked at something (the client may really run it), else the first; several when the
 *           message says "both", "all" or "parallel".
 * Owns      Nothing.
 * Not here  Arguments (demo_instance.c).
 */
#include "backend/demo_tools.h"

#include "backend/demo_instance.h"
#include "text/utf8.h"

enum {
    CALLS_MAX = 8,
    ARGUMENTS_BYTES_MAX = 64 * 1024,
    RESULT_SHOWN_MAX = 300,
    RESULTS_BYTES_MAX = 8 * 1024,
    MESSAGE_LOOKED_AT = 2048,
    NAME_SHOWN_MAX = 64,
};

struct chosen {
    const struct tool *tools[CALLS_MAX];
    size_t n;
};

/* --- which tools ---------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* alone: not within another word. */
static bool has_word(struct str text, struct str word, bool alone)
{
    for (size_t at = 0; at + word.n <= text.n && word.n > 0; at++) {
        size_t end = at + word.n;
        if (!str_eq_nocase(str_of(text.p + at, word.n), word))
            continue;
        if (!alone || ((at == 0 || !is_name_char(text.p[at - 1])) &&
                       (end == text.n || !is_name_char(text.p[end]))))
            return true;
    }
    return false;
}

static bool may_call(const struct request *request, const struct tool *tool)
{
    if (tool->vendor)
        return false;
    if (request->tool_choice != TOOL_CHOICE_SUBSET && request->tool_choice != TOOL_CHOICE_NAMED)
        return true;
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (str_eq(request->tool_choice_names[i], tool->name))
            return true;
    }
    return false;
}

static bool sounds_harmless(struct str name)
{
    static const char *const words[] = {"get",  "list",    "read",  "search", "find",
                                        "look", "weather", "fetch", "query",  "show"};

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (has_word(name, str_c(words[i]), false))
            return true;
    }
    return false;
}

static void choose(struct chosen *chosen, const struct tool *tool)
{
    for (size_t i = 0; i < chosen->n; i++) {
        if (chosen->tools[i] == tool)
            return;
    }
    if (chosen->n < CALLS_MAX)
        chosen->tools[chosen->n++] = tool;
}

/* How many calls the message asks for. */
static size_t calls_wanted(const struct request *request, struct str message)
{
    if (request->params.parallel_tool_calls == 0)
        return 1;
    if (has_word(message, STR("all"), true))
        return CALLS_MAX;
    return has_word(message, STR("both"), true) || has_word(message, STR("parallel"), true) ? 2 : 1;
}

/* In the order of how well they fit: named by the message, harmless, any. */
static void choose_tools(const struct request *request, struct str message, struct chosen *chosen)
{
    size_t wanted = calls_wanted(request, message);

    for (int round = 0; round < 3; round++) {
        for (const struct tool *tool = request->tools; tool != NULL && chosen->n < wanted;
             tool = tool->next) {
            bool fits = round == 2 || (round == 1 && sounds_harmless(tool->name));
            if (round == 0)
                fits = has_word(message, tool->name, true);
            if (fits && may_call(request, tool))
                choose(chosen, tool);
        }
    }
    /* One tool alone, asked for in parallel: it is called as often as was asked. */
    for (const struct tool *only = chosen->n == 1 ? chosen->tools[0] : NULL;
         only != NULL && wanted == 2 && chosen->n < wanted;)
        chosen->tools[chosen->n++] = only;
}

/* --- calls ---------------------------------------------------------------------------------- */

static enum error_code add_call(struct demo_script *script, const struct tool *tool,
                                struct str message, struct arena *arena, struct error *e)
{
    struct demo_item *item = &script->items[script->n];
    struct buf arguments;
    bool made = true;

    assert(script->n < DEMO_ITEMS_MAX);
    *item = (struct demo_item){.kind = BLOCK_TOOL, .name = tool->name, .custom = tool->custom};
    buf_init(&arguments, ARGUMENTS_BYTES_MAX);
    if (tool->custom)
        item->text = message.n > 0 ? utf8_head(message, RESULT_SHOWN_MAX) : STR("demo");
    else if ((made = demo_instance(tool->schema, message, arena, &arguments)))
        item->text = str_copy(arena, buf_str(&arguments));
    buf_fini(&arguments);
    if (!made)
        return FAIL(e, ERR_BAD_REQUEST,
                    "the demo finds no arguments that the schema of the tool %.*s accepts",
                    STR_ARG(utf8_head(tool->name, NAME_SHOWN_MAX)));
    script->n++;
    return OK;
}

static void add_text(struct demo_script *script, struct str text)
{
    assert(script->n < DEMO_ITEMS_MAX);
    script->items[script->n++] = (struct demo_item){.kind = BLOCK_TEXT, .text = text};
}

/* --- results -------------------------------------------------------------------------------- */

static struct str name_of_call(const struct request *request, struct str id)
{
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_TOOL_CALL && str_eq(part->id, id))
                return part->name;
        }
    }
    return STR_NULL;
}

static void tell_result(const struct request *request, const struct part *result, struct buf *out)
{
    struct str name = result->name.n > 0 ? result->name : name_of_call(request, result->id);
    bool said = false;

    if (out->n > 0)
        (void)buf_add_char(out, '\n');
    (void)buf_print(out, "The tool %.*s answered: ", STR_ARG(utf8_head(name, NAME_SHOWN_MAX)));
    for (const struct part *part = result->parts; part != NULL; part = part->next) {
        struct str text = utf8_head(part->text, RESULT_SHOWN_MAX);
        if (said)
            (void)buf_add_char(out, ' ');
        if (part->kind != PART_TEXT)
            (void)buf_print(out, "[%s]", request_part_name(part->kind));
        else
            (void)buf_add(out, text);
        if (text.n < part->text.n)
            (void)buf_print(out, "... (%zu bytes)", part->text.n);
        said = true;
    }
    if (!said)
        (void)buf_add(out, STR("nothing"));
}

/* The results that the conversation ends with; null: it ends otherwise. */
static struct str results_of(const struct request *request, struct arena *arena)
{
    const struct turn *first = NULL;
    struct str text = STR_NULL;
    struct buf out;

    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        if (turn->role != ROLE_TOOL)
            first = NULL;
        else if (first == NULL)
            first = turn;
    }
    if (first == NULL)
        return STR_NULL;
    buf_init(&out, RESULTS_BYTES_MAX);
    for (const struct turn *turn = first; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL && buf_ok(&out);
             part = part->next) {
            if (part->kind == PART_TOOL_RESULT)
                tell_result(request, part, &out);
        }
    }
    /* Of many results those that found room. */
    text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

/* --- entry points --------------------------------------------------------------------------- */

enum error_code demo_tools_answer(struct demo_script *script, const struct request *request,
                                  struct arena *arena, struct error *e)
{
    struct str message = str_head(request_last_user_text(request, arena), MESSAGE_LOOKED_AT);
    struct chosen chosen = {.n = 0};
    bool forced = request->tool_choice == TOOL_CHOICE_REQUIRED ||
                  request->tool_choice == TOOL_CHOICE_NAMED ||
                  (request->tool_choice == TOOL_CHOICE_SUBSET && request->tool_choice_required);
    struct str results = results_of(request, arena);

    message = utf8_head(message, MESSAGE_LOOKED_AT);
    /* Names that are not among the tools were refused when the request was read. */
    if (request->tool_choice == TOOL_CHOICE_OTHER)
        return FAIL(e, ERR_BAD_REQUEST, "tool_choice asks for something that the demo cannot do");
    if (!str_is_null(results) && !forced) {
        add_text(script, results);
        return OK;
    }
    if (request->tool_choice != TOOL_CHOICE_NONE)
        choose_tools(request, message, &chosen);
    if (chosen.n == 0) {
        add_text(script, request->tool_choice == TOOL_CHOICE_NONE
                             ? STR("tool_choice is \"none\", so I call no tool.")
                             : STR("I would call a tool, but this request offers none: put some "
                                   "into \"tools\"."));
        return OK;
    }
    for (size_t i = 0; i < chosen.n; i++)
        TRY(add_call(script, chosen.tools[i], message, arena, e));
    return OK;
}

enum error_code demo_tools_loop(struct demo_script *script, const struct request *request,
                                struct arena *arena, struct error *e)
{
    struct chosen chosen = {.n = 0};

    if (request->tool_choice != TOOL_CHOICE_NONE)
        choose_tools(request, STR(""), &chosen);
    if (chosen.n == 0) {
        add_text(script, STR("I would call the same tool again and again, but may call none."));
        return OK;
    }
    return add_call(script, chosen.tools[0], STR(""), arena, e);
}
