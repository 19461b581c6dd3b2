/* SPDX-License-Identifier: MIT */
/*
 * Conversations in a short notation: a turn a line, "U", "A", "S", "D" or "T" and its parts,
 * separated by '|'. A part is text, or one of call:ID:NAME:ARGS, custom:ID:NAME:INPUT,
 * res:ID:TEXT, err:ID:TEXT, think:TEXT, sign:SIGNATURE (redacted), ref:TEXT, img:URL, vend:TYPE.
 */
#include "canon/fit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"

enum { ARENA_MAX = 1024 * 1024 * 1024 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* --- the notation ------------------------------------------------------------------------- */

static bool take(struct str *s, const char *lead)
{
    if (!str_starts(*s, str_c(lead)))
        return false;
    *s = str_from(*s, strlen(lead));
    return true;
}

static struct str field(struct str *s)
{
    struct str value = STR("");

    (void)str_cut(s, ':', &value);
    return value;
}

static struct part *read_text(struct str text)
{
    struct part *part = ARENA_NEW(&arena, struct part);

    part->kind = PART_TEXT;
    part->text = text;
    return part;
}

static struct part *read_part(struct str s)
{
    struct part *part = ARENA_NEW(&arena, struct part);

    if (take(&s, "call:") || (part->custom = take(&s, "custom:"))) {
        part->kind = PART_TOOL_CALL;
        part->id = field(&s);
        part->name = field(&s);
        part->text = s.p == NULL ? STR("") : s;
    } else if (take(&s, "res:") || (part->is_error = take(&s, "err:"))) {
        part->kind = PART_TOOL_RESULT;
        part->was_text = true;
        part->id = field(&s);
        if (take(&s, "img:")) {
            part->parts = ARENA_NEW(&arena, struct part);
            part->parts->kind = PART_IMAGE;
            part->parts->data = s;
        } else {
            part->parts = read_text(s);
        }
    } else if (take(&s, "think:")) {
        part->kind = PART_REASONING;
        part->text = s;
    } else if (take(&s, "sign:")) {
        part->kind = PART_REASONING;
        part->redacted = true;
        part->signature = s;
    } else if (take(&s, "ref:")) {
        part->kind = PART_REFUSAL;
        part->text = s;
    } else if (take(&s, "img:")) {
        part->kind = PART_IMAGE;
        part->data = s;
        part->is_url = true;
    } else if (take(&s, "vend:")) {
        part->kind = PART_VENDOR;
        part->name = s;
    } else {
        part->text = s;
        part->kind = PART_TEXT;
    }
    return part;
}

static enum role role_of(char c)
{
    switch (c) {
    case 'S':
        return ROLE_SYSTEM;
    case 'D':
        return ROLE_DEVELOPER;
    case 'U':
        return ROLE_USER;
    case 'A':
        return ROLE_ASSISTANT;
    default:
        assert_int_equal(c, 'T');
        return ROLE_TOOL;
    }
}

static struct request read_request(const char *text)
{
    struct request request = {.full = true, .include_usage = -1};
    struct turn **to = &request.turns;
    struct str rest = str_c(text);
    struct str line;

    request.params.parallel_tool_calls = 1;
    while (str_cut(&rest, '\n', &line)) {
        struct turn *turn = ARENA_NEW(&arena, struct turn);
        struct part **part_to = &turn->parts;
        struct str parts = str_from(line, 2);
        struct str part;
        turn->role = role_of(line.p[0]);
        while (line.n > 2 && str_cut(&parts, '|', &part)) {
            *part_to = read_part(part);
            part_to = &(*part_to)->next;
        }
        *to = turn;
        to = &turn->next;
    }
    return request;
}

static void write_part(struct buf *out, const struct part *part)
{
    static const char *const leads[] = {
        [PART_TEXT] = "",           [PART_IMAGE] = "img:",       [PART_AUDIO] = "audio:",
        [PART_FILE] = "file:",      [PART_REFUSAL] = "ref:",     [PART_REASONING] = "think:",
        [PART_TOOL_CALL] = "call:", [PART_TOOL_RESULT] = "res:", [PART_VENDOR] = "vend:",
    };

    if (part->kind == PART_TOOL_CALL) {
        buf_print(out, "%s%.*s:%.*s:%.*s", part->custom ? "custom:" : "call:", STR_ARG(part->id),
                  STR_ARG(part->name), STR_ARG(part->text));
        return;
    }
    if (part->kind == PART_TOOL_RESULT) {
        buf_print(out, "%s%.*s:", part->is_error ? "err:" : "res:", STR_ARG(part->id));
        if (part->name.n > 0)
            buf_print(out, "(%.*s)", STR_ARG(part->name));
        if (part->custom)
            buf_add(out, STR("(custom)"));
        for (const struct part *inner = part->parts; inner != NULL; inner = inner->next)
            write_part(out, inner);
        return;
    }
    if (part->redacted)
        buf_print(out, "sign:%.*s", STR_ARG(part->signature));
    else
        buf_print(out, "%s%.*s", leads[part->kind],
                  STR_ARG(part->kind == PART_IMAGE ? part->data : part->text));
}

static struct str write_request(const struct request *request)
{
    static const char roles[] = {[ROLE_SYSTEM] = 'S',
                                 [ROLE_DEVELOPER] = 'D',
                                 [ROLE_USER] = 'U',
                                 [ROLE_ASSISTANT] = 'A',
                                 [ROLE_TOOL] = 'T'};
    struct buf out;

    buf_init(&out, ARENA_MAX);
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        buf_print(&out, "%s%c ", turn == request->turns ? "" : "\n", roles[turn->role]);
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part != turn->parts)
                buf_add_char(&out, '|');
            write_part(&out, part);
        }
    }
    struct str text = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static void expect(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("\n--- got\n%.*s\n--- want\n%s", STR_ARG(got), want);
}

static const struct fit_rules chat = {.prefill = true};
static const struct fit_rules anthropic = {
    .system = FIT_SYSTEM_FRONT,
    .ids = FIT_IDS_ANTHROPIC,
    .names = FIT_NAMES_ANTHROPIC,
    .merge_roles = true,
    .user_first = true,
    .results_one_turn = true,
    .args_object = true,
    .wrap_custom = true,
    .text_first = true,
    .no_blank_texts = true,
};
static const struct fit_rules gemini = {
    .system = FIT_SYSTEM_USER,
    .names = FIT_NAMES_GEMINI,
    .merge_roles = true,
    .user_first = true,
    .results_as_calls = true,
    .results_one_turn = true,
    .args_object = true,
    .wrap_custom = true,
    .prefill = true,
    .name_of_result = true,
};

struct row {
    const struct fit_rules *rules;
    const char *in;
    const char *out;
    const char *warnings;
};

static void check_row(const struct row *row)
{
    struct translation t = {.arena = &arena};
    struct request request = read_request(row->in);
    struct request fitted;
    struct error e;
    struct buf dump;
    struct buf warnings;

    buf_init(&dump, ARENA_MAX);
    buf_init(&warnings, ARENA_MAX);
    dump_request(&dump, &request);
    struct str before = str_copy(&arena, buf_str(&dump));
    assert_int_equal(fit_request(&request, row->rules, &t, &arena, &fitted, &e), OK);
    expect(write_request(&fitted), row->out);
    translation_write_warnings(&t, &warnings);
    expect(buf_str(&warnings), row->warnings);
    /* The request may go to another backend still. */
    buf_reset(&dump);
    dump_request(&dump, &request);
    assert_true(str_eq(buf_str(&dump), before));
    /* And what fits already stays as it is. */
    struct request again;
    assert_int_equal(fit_request(&fitted, row->rules, NULL, &arena, &again, &e), OK);
    expect(write_request(&again), str_z(&arena, write_request(&fitted)));
    buf_fini(&dump);
    buf_fini(&warnings);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_row(&rows[i]);
}

/* --- system texts and roles --------------------------------------------------------------- */

static void test_system(void **state)
{
    static const struct row rows[] = {
        {&chat, "S a\nD b\nU c\nS d\nU e", "S a\nD b\nU c\nS d\nU e", ""},
        {&anthropic, "S a|b\nU c\nS d\nU e", "S a|b\nS d\nU c|e", "changed:system"},
        {&gemini, "S a\nU c\nS d|x\nA e", "S a\nU c|[system]\nd|x\nA e", "changed:system"},
        {&anthropic, "S a", "S a\nU .", ""},
        {&gemini, "S a|img:x\nU b", "S a\nU b", "dropped:system_part"},
        {&chat, "S a", "S a", ""},
        {&chat, "S \nU a", "U a", ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_roles(void **state)
{
    static const struct row rows[] = {
        {&chat, "U a\nU b\nA c\nA d\nU e", "U a\nU b\nA c\nA d\nU e", ""},
        {&anthropic, "U a\nU b\nA c\nA d\nU e", "U a|b\nA c|d\nU e", ""},
        {&gemini, "U a\nU b\nA c\nA d\nU e", "U a|b\nA c|d\nU e", ""},
        {&chat, "A a\nU b", "A a\nU b", ""},
        {&anthropic, "A a\nU b", "U .\nA a\nU b", ""},
        {&gemini, "A a\nU b", "U .\nA a\nU b", ""},
        {&chat, "U a\nA b", "U a\nA b", ""},
        {&anthropic, "U a\nA b", "U a\nA b\nU Continue.", "changed:prefill"},
        {&gemini, "U a\nA b", "U a\nA b", ""},
        /* Empty texts and turns; what is signed has its place. */
        {&chat, "U a\nA \nU |b", "U a\nU b", ""},
        {&chat, "U  \nU b", "U  \nU b", ""},
        {&anthropic, "U  \nA b\nU c", "U .\nA b\nU c", ""},
        {&anthropic, "U a\nA \nU b", "U a|b", ""},
        {&anthropic, "U a|vend:search_result\nU b", "U a|b", "dropped:part:search_result"},
        /* Reasoning, text and calls of one answer, said in several turns. */
        {&chat, "U a\nA think:x\nA b\nA call:1:f:{}\nT res:1:r",
         "U a\nA think:x|b|call:1:f:{}\nT res:1:r", ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

/* --- calls and results -------------------------------------------------------------------- */

static void test_results(void **state)
{
    static const struct row rows[] = {
        {&chat, "U q\nA call:a:f:{}|call:b:g:{}\nT res:b:2\nT res:a:1\nU t",
         "U q\nA call:a:f:{}|call:b:g:{}\nT res:b:2\nT res:a:1\nU t", ""},
        {&anthropic, "U q\nA call:a:f:{}|call:b:g:{}\nT res:b:2\nT res:a:1\nU t",
         "U q\nA call:a:f:{}|call:b:g:{}\nT res:b:2|res:a:1\nU t", ""},
        {&gemini, "U q\nA call:a:f:{}|call:b:g:{}\nT res:b:2\nT res:a:1\nU t",
         "U q\nA call:a:f:{}|call:b:g:{}\nT res:a:(f)1|res:b:(g)2\nU t", ""},
        /* Results that stand apart from their calls. */
        {&chat, "A call:a:f:{}\nU x\nT res:a:1", "A call:a:f:{}\nT res:a:1\nU x", ""},
        {&chat, "U q\nA call:a:f:{}\nA call:b:f:{}\nT res:a:1\nT res:b:2",
         "U q\nA call:a:f:{}|call:b:f:{}\nT res:a:1\nT res:b:2", ""},
        /* One without the other. */
        {&chat, "U q\nT res:x:1", "U q\nU [tool result x] 1", "changed:tool_result"},
        {&chat, "U q\nT res:x:1|said beside", "U q\nU [tool result x] 1|said beside",
         "changed:tool_result"},
        {&chat, "U q\nT res:x:img:u", "U q\nU [tool result x]|img:u", "changed:tool_result"},
        {&chat, "U q\nA call:a:f:{}\nU t", "U q\nA call:a:f:{}\nT err:a:(no result available)\nU t",
         "added:tool_result"},
        {&anthropic, "U q\nA call:a:f:{}|call:b:f:{}\nT res:b:1",
         "U q\nA call:a:f:{}|call:b:f:{}\nT res:b:1|err:a:(no result available)",
         "added:tool_result"},
        {&chat, "T res:a:1\nA call:a:f:{}",
         "U [tool result a] 1\nA call:a:f:{}\nT err:a:(no result available)",
         "changed:tool_result,added:tool_result"},
        {&chat, "U q\nA call:a:f:{}\nT res:a:1\nT res:a:2",
         "U q\nA call:a:f:{}\nT res:a:1\nU [tool result a] 2", "changed:tool_result"},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_ids(void **state)
{
    static const struct fit_rules mistral = {.ids = FIT_IDS_MISTRAL, .prefill = true};
    static const struct fit_rules openai = {.ids = FIT_IDS_OPENAI, .prefill = true};
    static const struct fit_rules responses = {.ids = FIT_IDS_RESPONSES, .prefill = true};
    static const struct row rows[] = {
        /* The same id again in a later turn. */
        {&chat, "U q\nA call:c:f:{}\nT res:c:1\nA call:c:f:{}\nT res:c:2",
         "U q\nA call:c:f:{}\nT res:c:1\nA call:c_4ceeb64e:f:{}\nT res:c_4ceeb64e:2", ""},
        /* And twice in one. */
        {&chat, "U q\nA call:c:f:{}|call:c:f:{}\nT res:c:1\nT res:c:2",
         "U q\nA call:c:f:{}|call:c_4ceeb64e:f:{}\nT res:c:1\nT res:c_4ceeb64e:2", ""},
        /* A call that was never answered does not get a later one's result. */
        {&chat, "U q\nA call:c:f:{}\nU x\nA call:c:f:{}\nT res:c:2",
         "U q\nA call:c:f:{}\nT err:c:(no result available)\nU x\nA call:c_4ceeb64e:f:{}\n"
         "T res:c_4ceeb64e:2",
         "added:tool_result"},
        {&anthropic, "U q\nA call:a.b:f:{}\nT res:a.b:1",
         "U q\nA call:a_b_89b1fa9a:f:{}\nT res:a_b_89b1fa9a:1", ""},
        {&openai,
         "U q\nA call:0123456789012345678901234567890123456789x:f:{}\n"
         "T res:0123456789012345678901234567890123456789x:1",
         "U q\nA call:0123456789012345678901234567890_192feaa1:f:{}\n"
         "T res:0123456789012345678901234567890_192feaa1:1",
         ""},
        {&responses,
         "U q\nA call:0123456789012345678901234567890123456789x:f:{}\n"
         "T res:0123456789012345678901234567890123456789x:1",
         "U q\nA call:0123456789012345678901234567890123456789x:f:{}\n"
         "T res:0123456789012345678901234567890123456789x:1",
         ""},
        {&mistral, "U q\nA call:call_1:f:{}\nT res:call_1:1",
         "U q\nA call:nKjxuJn31:f:{}\nT res:nKjxuJn31:1", ""},
        {&mistral, "U q\nA call:abcDEF123:f:{}\nT res:abcDEF123:1",
         "U q\nA call:abcDEF123:f:{}\nT res:abcDEF123:1", ""},
        {&chat, "U q\nA call::f:{}\nT res::1", "U q\nA call:_1f6764bc:f:{}\nT res:_1f6764bc:1", ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

/* --- arguments, custom tools -------------------------------------------------------------- */

static void test_arguments(void **state)
{
    static const struct row rows[] = {
        {&chat, "U q\nA call:a:f:\nT res:a:1", "U q\nA call:a:f:{}\nT res:a:1", ""},
        {&chat, "U q\nA call:a:f:{\"a\":\nT res:a:1", "U q\nA call:a:f:{\"a\":\nT res:a:1", ""},
        {&anthropic, "U q\nA call:a:f:\nT res:a:1", "U q\nA call:a:f:{}\nT res:a:1", ""},
        {&anthropic, "U q\nA call:a:f:null\nT res:a:1", "U q\nA call:a:f:{}\nT res:a:1", ""},
        {&anthropic, "U q\nA call:a:f:{\"n\":12345678901234567890, \"m\":1.50}\nT res:a:1",
         "U q\nA call:a:f:{\"n\":12345678901234567890, \"m\":1.50}\nT res:a:1", ""},
        {&anthropic, "U q\nA call:a:f:[1]\nT res:a:1", "U q\nA call:a:f:{\"value\":[1]}\nT res:a:1",
         ""},
        {&anthropic, "U q\nA call:a:f:{\"a\nT res:a:1",
         "U q\nA call:a:f:{\"_invalid_json\":\"{\\\"a\"}\nT res:a:1", "changed:arguments"},
        {&chat, "U q\nA custom:a:f:x\nT res:a:1", "U q\nA custom:a:f:x\nT res:a:(custom)1", ""},
        {&anthropic, "U q\nA custom:a:f:x\"y\nT res:a:1",
         "U q\nA call:a:f:{\"input\":\"x\\\"y\"}\nT res:a:1", ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_order(void **state)
{
    static const struct row rows[] = {
        {&anthropic, "U q\nA a|call:1:f:{}|b|think:t\nT res:1:r",
         "U q\nA think:t|a|b|call:1:f:{}\nT res:1:r", ""},
        {&gemini, "U q\nA a|call:1:f:{}|b\nT res:1:r", "U q\nA a|call:1:f:{}|b\nT res:1:(f)r", ""},
        {&chat, "U q\nA sign:s|ref:no\nU x", "U q\nA sign:s|ref:no\nU x", ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

/* Catches: a request that means something else without what was left out. */
static void test_extra(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        enum error_code code;
        const char *warnings;
    } cases[] = {
        {"odd", "1", OK, ""},
        {"logit_bias", "{\"1\":2}", OK, "dropped:logit_bias"},
        {"logit_bias", "{}", OK, ""},
        {"safetySettings", "[{}]", OK, "dropped:safetySettings"},
        {"cachedContent", "\"c\"", ERR_UNSUPPORTED, ""},
        {"background", "false", OK, ""},
        {"background", "true", ERR_UNSUPPORTED_VALUE, ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct translation t = {.arena = &arena};
        struct extra extra = {.key = str_c(cases[i].key), .value = str_c(cases[i].value)};
        struct request request = read_request("U a");
        struct request fitted;
        struct error e;
        struct buf warnings;
        request.extra = &extra;
        buf_init(&warnings, ARENA_MAX);
        assert_int_equal(fit_request(&request, &chat, &t, &arena, &fitted, &e), cases[i].code);
        translation_write_warnings(&t, &warnings);
        expect(buf_str(&warnings), cases[i].warnings);
        buf_fini(&warnings);
    }
}

/* Catches: a request that asks for nothing, or for no answer, sent on as if it were one. */
static void test_nothing(void **state)
{
    static const struct {
        const struct fit_rules *rules;
        const char *turns;
        const char *max_tokens;
        enum error_code code;
    } cases[] = {
        {&chat, "U vend:a\nA vend:b", NULL, ERR_BAD_REQUEST},
        {&chat, "S s\nU vend:a", NULL, ERR_BAD_REQUEST},
        {&gemini, "U vend:a", NULL, ERR_BAD_REQUEST},
        {&chat, "U vend:a\nU q", NULL, OK},
        {&chat, "S s", NULL, OK},
        {&gemini, "S s", NULL, OK},
        {&chat, "", NULL, ERR_BAD_REQUEST},
        {&anthropic, "", NULL, ERR_BAD_REQUEST},
        {&anthropic, "U ", NULL, ERR_BAD_REQUEST},
        {&gemini, "U ", NULL, ERR_BAD_REQUEST},
        {&chat, "U q", "0", ERR_BAD_REQUEST},
        {&chat, "U q", "-1", ERR_BAD_REQUEST},
        {&gemini, "U q", "0.0", ERR_BAD_REQUEST},
        {&chat, "U q", "1", OK},
        {&chat, "U img:data:image/png", NULL, ERR_BAD_REQUEST},
        {&chat, "U img:data:image/png,a", NULL, OK},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct translation t = {.arena = &arena};
        struct request request = read_request(cases[i].turns[0] == '\0' ? "U a" : cases[i].turns);
        struct request fitted;
        struct error e;
        if (cases[i].turns[0] == '\0')
            request.turns = NULL;
        if (cases[i].max_tokens != NULL)
            request.params.max_tokens = str_c(cases[i].max_tokens);
        for (struct turn *turn = request.turns; turn != NULL; turn = turn->next) {
            for (struct part *part = turn->parts; part != NULL; part = part->next)
                part->is_url |= part->kind == PART_IMAGE;
        }
        if (fit_request(&request, cases[i].rules, &t, &arena, &fitted, &e) != cases[i].code)
            fail_msg("%s", cases[i].turns);
    }
}

static struct tool make_tool(const char *name)
{
    return (struct tool){.name = str_c(name), .strict = -1};
}

/* Names, doubles, tools that run elsewhere, custom ones; and which of them may be called. */
static void test_tools(void **state)
{
    struct tool tools[] = {make_tool("f"), make_tool("a b"), make_tool("f"), make_tool("web"),
                           make_tool("c")};
    struct str names[] = {STR("a b"), STR("web"), STR("none")};
    struct translation t = {.arena = &arena};
    struct request request = read_request("U q");
    struct request fitted;
    struct error e;
    struct buf warnings;

    (void)state;
    for (size_t i = 0; i + 1 < COUNT_OF(tools); i++)
        tools[i].next = &tools[i + 1];
    tools[3].vendor = true;
    tools[4].custom = true;
    tools[4].description = STR("d");
    tools[4].format = STR("{\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"g\"}");
    request.tools = tools;
    request.tool_choice = TOOL_CHOICE_SUBSET;
    request.tool_choice_names = names;
    request.tool_choice_names_n = COUNT_OF(names);
    buf_init(&warnings, ARENA_MAX);
    assert_int_equal(fit_request(&request, &anthropic, &t, &arena, &fitted, &e), OK);
    expect(fitted.tools->name, "f");
    assert_true(str_starts(fitted.tools->next->name, STR("a_b_")));
    expect(fitted.tools->next->next->name, "c");
    expect(fitted.tools->next->next->description, "d\n\ninput must follow this Lark grammar:\ng");
    assert_false(fitted.tools->next->next->custom);
    assert_null(fitted.tools->next->next->next);
    assert_int_equal(fitted.tool_choice_names_n, 1);
    assert_true(str_eq(fitted.tool_choice_names[0], fitted.tools->next->name));
    expect(translation_ours(&t, fitted.tools->next->name), "a b");
    assert_true(translation_is_wrapped(&t, STR("c")));
    translation_write_warnings(&t, &warnings);
    expect(buf_str(&warnings), "dropped:tool:f,dropped:tool:web");

    /* Nothing is left to choose. */
    request.tools = &tools[3];
    tools[3].next = NULL;
    assert_int_equal(fit_request(&request, &anthropic, &t, &arena, &fitted, &e), OK);
    assert_int_equal(fitted.tool_choice, TOOL_CHOICE_ABSENT);
    assert_int_equal(fitted.params.parallel_tool_calls, -1);
    request.tools = tools;
    request.tool_choice_names = names + 2;
    request.tool_choice_names_n = 1;
    assert_int_equal(fit_request(&request, &anthropic, &t, &arena, &fitted, &e), OK);
    assert_int_equal(fitted.tool_choice, TOOL_CHOICE_ABSENT);
    assert_int_equal(fitted.params.parallel_tool_calls, 1);
    buf_fini(&warnings);
}

static void test_too_many_tools(void **state)
{
    const struct fit_rules rules = {.tools_max = 2};
    struct tool tools[3] = {make_tool("a"), make_tool("b"), make_tool("c")};
    struct request request = read_request("U q");
    struct request fitted;
    struct error e;

    (void)state;
    tools[0].next = &tools[1];
    request.tools = tools;
    assert_int_equal(fit_request(&request, &rules, NULL, &arena, &fitted, &e), OK);
    tools[1].next = &tools[2];
    assert_int_equal(fit_request(&request, &rules, NULL, &arena, &fitted, &e), ERR_UNSUPPORTED);
}

static void test_names(void **state)
{
    static const struct {
        enum fit_names names;
        const char *name;
        bool legal;
    } cases[] = {
        {FIT_NAMES_OPENAI, "a-Z_9", true},
        {FIT_NAMES_OPENAI, "a.b", false},
        {FIT_NAMES_OPENAI, "", false},
        {FIT_NAMES_GEMINI, "a.b:c-d", true},
        {FIT_NAMES_GEMINI, "9a", false},
        {FIT_NAMES_GEMINI, "-a", false},
        {FIT_NAMES_ANTHROPIC, "9a", true},
        {FIT_NAMES_ANTHROPIC, "\xc3\xa4", false},
        {FIT_NAMES_OPENAI, "a1234567890123456789012345678901234567890123456789012345678901234",
         false},
        {FIT_NAMES_ANTHROPIC, "a1234567890123456789012345678901234567890123456789012345678901234",
         true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct fit_rules rules = {.names = cases[i].names};
        struct translation t = {.arena = &arena};
        struct tool tool = make_tool(cases[i].name);
        struct request request = read_request("U q");
        struct request fitted;
        struct error e;
        request.tools = &tool;
        assert_int_equal(fit_request(&request, &rules, &t, &arena, &fitted, &e), OK);
        assert_int_equal(str_eq(fitted.tools->name, tool.name), cases[i].legal);
        assert_true(fitted.tools->name.n > 0 && fitted.tools->name.n <= 128);
        /* A name that was made is legal. */
        tool.name = fitted.tools->name;
        assert_int_equal(fit_request(&request, &rules, &t, &arena, &fitted, &e), OK);
        assert_true(str_eq(fitted.tools->name, tool.name));
    }
}

static struct str result_of(const char *text, bool is_error)
{
    struct part inner = {.kind = PART_TEXT, .text = str_c(text)};
    const struct part result = {.kind = PART_TOOL_RESULT, .parts = &inner, .is_error = is_error};

    struct buf out;

    buf_init(&out, 4096);
    fit_add_result(&result, &arena, &out);
    struct str added = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return added;
}

static void test_result_object(void **state)
{
    struct part last = {.kind = PART_TEXT, .text = STR("b")};
    struct part image = {.kind = PART_IMAGE, .next = &last};
    struct part first = {.kind = PART_TEXT, .text = STR("a"), .next = &image};
    const struct part result = {.kind = PART_TOOL_RESULT, .parts = &first};
    bool media;

    (void)state;
    expect(result_of("plain \"x\"", false), "{\"output\":\"plain \\\"x\\\"\"}");
    expect(result_of(" {\"a\": 1.0} ", false), "{\"a\": 1.0}");
    expect(result_of("[1,2]", false), "{\"output\":[1,2]}");
    expect(result_of("7", false), "{\"output\":7}");
    expect(result_of("{\"a\":", false), "{\"output\":\"{\\\"a\\\":\"}");
    expect(result_of("", false), "{\"output\":\"\"}");
    expect(result_of("{\"a\":1}", true), "{\"error\":\"{\\\"a\\\":1}\"}");
    expect(fit_result_text(&result, &arena, &media), "a\nb");
    assert_true(media);
}

static struct part reasoning(const char *member, const char *text)
{
    return (struct part){.kind = PART_REASONING, .name = str_c(member), .text = str_c(text)};
}

/* Catches: reasoning that another vendor gets twice, as chat messages say it by several members. */
static void test_reasoning_once(void **state)
{
    struct part parts[] = {reasoning("reasoning_content", "a"), reasoning("reasoning", "b"),
                           reasoning("reasoning_details", "c"), reasoning(NULL, "d")};
    struct turn turn = {.role = ROLE_ASSISTANT, .parts = parts};
    struct request request = {.full = true, .turns = &turn};
    struct request fitted;
    struct error e;

    (void)state;
    for (size_t i = 0; i + 1 < COUNT_OF(parts); i++)
        parts[i].next = &parts[i + 1];
    assert_int_equal(fit_request(&request, &chat, NULL, &arena, &fitted, &e), OK);
    expect(write_request(&fitted), "A think:c|think:d");
    parts[2].text = STR_NULL;
    assert_int_equal(fit_request(&request, &chat, NULL, &arena, &fitted, &e), OK);
    expect(write_request(&fitted), "A think:a|think:d");
}

/* What is its own protocol's alone is not left out in silence. */
static void test_bound(void **state)
{
    struct request request = read_request("U a");
    struct request fitted;
    struct error e;

    (void)state;
    request.bound = STR("cachedContent");
    assert_int_equal(fit_request(&request, &chat, NULL, &arena, &fitted, &e), ERR_UNSUPPORTED);
}

static void test_conversation(void **state)
{
    struct request request = read_request("S a\nD b\nU c\nS d");

    (void)state;
    assert_int_equal(fit_conversation(&request)->role, ROLE_USER);
    request = read_request("S a");
    assert_null(fit_conversation(&request));
}

/* Forms of a grammar; what is none is not told. */
static void test_grammars(void **state)
{
    static const char *const cases[][2] = {
        {"{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\",\"definition\":\"g\"}}",
         "input must follow this Lark grammar:\ng"},
        {"{\"type\":\"grammar\",\"syntax\":\"regex\",\"definition\":\"g\"}",
         "input must match this regular expression:\ng"},
        {"{\"type\":\"text\"}", ""},
        {"7", ""},
        {"{\"definition\":7}", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct translation t = {.arena = &arena};
        struct tool tool = make_tool("c");
        struct request request = read_request("U q");
        struct request fitted;
        struct error e;
        tool.custom = true;
        tool.format = str_c(cases[i][0]);
        request.tools = &tool;
        assert_int_equal(fit_request(&request, &anthropic, &t, &arena, &fitted, &e), OK);
        assert_true(str_eq(fitted.tools->description, str_c(cases[i][1])));
    }
}

/* Catches: work that grows with the square of what a client sends. */
static void test_many(void **state)
{
    struct request request;
    struct request fitted;
    struct translation t = {.arena = &arena};
    struct error e;
    struct buf text;

    (void)state;
    buf_init(&text, ARENA_MAX);
    buf_add(&text, STR("A call:c:f:{}"));
    for (int i = 0; i < 20000; i++)
        buf_print(&text, "|call:%d:f:{}|call:c:f:{}", i);
    for (int i = 20000; i-- > 0;)
        buf_print(&text, "\nT res:%d:r|res:c:s", i);
    request = read_request(str_z(&arena, buf_str(&text)));
    assert_int_equal(fit_request(&request, &anthropic, &t, &arena, &fitted, &e), OK);
    size_t n = 0;
    for (const struct part *part = fitted.turns->next->next->parts; part != NULL; part = part->next)
        n += part->kind == PART_TOOL_RESULT;
    assert_int_equal(n, 40001);
    buf_fini(&text);
}

/* Catches: a user's id that OpenAI refuses, or that is cut within a character. */
static void test_user(void **state)
{
    static const struct fit_rules rules = {.user_bytes_max = 6};
    static const struct {
        const char *in;
        const char *out;
        const char *warnings;
    } rows[] = {{"abcdef", "abcdef", ""},
                {"abcdefg", "abcdef", "changed:user"},
                {"abcde\xc3\xa4g", "abcde", "changed:user"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct translation t = {.arena = &arena};
        struct request request = read_request("U a");
        struct request fitted;
        struct error e;
        struct buf warnings;

        buf_init(&warnings, ARENA_MAX);
        request.params.user = str_c(rows[i].in);
        assert_int_equal(fit_request(&request, &rules, &t, &arena, &fitted, &e), OK);
        expect(fitted.params.user, rows[i].out);
        translation_write_warnings(&t, &warnings);
        expect(buf_str(&warnings), rows[i].warnings);
        buf_fini(&warnings);
        assert_int_equal(fit_request(&request, &chat, &t, &arena, &fitted, &e), OK);
        expect(fitted.params.user, rows[i].in);
    }
}

/* Catches: a conversation that lacks what there was no memory for. */
static void test_memory(void **state)
{
    struct request request = read_request(
        "S s\nA think:t|a|call:1.2:f g:{\nU u|vend:x\nS t\nT res:1.2:r|err:zz:q\nA call:b:f:");
    struct str want = STR_NULL;
    size_t refused = 0;

    (void)state;
    for (size_t most = 32768; most >= 512; most -= 64) {
        struct arena small;
        arena_init(&small, most, 512, NULL);
        struct translation t = {.arena = &small};
        struct request fitted;
        struct error e;
        enum error_code code = fit_request(&request, &anthropic, &t, &small, &fitted, &e);
        if (code == OK) {
            struct str got = write_request(&fitted);
            if (str_is_null(want))
                want = got;
            assert_true(str_eq(got, want));
        } else {
            assert_int_equal(code, ERR_TOO_LARGE);
            refused++;
        }
        arena_fini(&small);
    }
    assert_true(refused > 4 && want.n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_system, setup, teardown),
        cmocka_unit_test_setup_teardown(test_roles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_results, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extra, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_result_object, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasoning_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conversation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grammars, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_user, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
