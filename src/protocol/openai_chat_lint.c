/* SPDX-License-Identifier: MIT */
#include "protocol/openai_chat_lint.h"

#include "text/json.h"
#include "text/sse.h"

enum { CHOICES_MAX = 128, TOOLS_MAX = 4096, BYTES_MAX = 64 * 1024 * 1024 };

struct lint_choice {
    bool begun;
    bool finished;
    uint32_t tools;
    struct str *tool_ids; /* by index, TOOLS_MAX of them; NULL before the first */
};

struct lint {
    uint32_t broken;
    bool include_usage;
    bool ended; /* [DONE] or an error */
    bool failed;
    uint32_t usage_chunks;
    struct str id;
    struct str model;
    int64_t created;
    bool begun;
    struct arena arena;
    struct lint_choice choices[CHOICES_MAX];
};

static void expect(struct lint *lint, bool holds, enum openai_chat_lint_rule rule)
{
    assert(rule < OPENAI_CHAT_LINT_COUNT);
    if (!holds)
        lint->broken |= 1u << rule;
}

#define EXPECT(lint, holds, rule) expect((lint), (holds), OPENAI_CHAT_LINT_##rule)

static void lint_head(struct lint *lint, yyjson_val *root)
{
    struct str id = json_get_str(root, STR("id"));
    struct str model = json_get_str(root, STR("model"));
    int64_t created = -1;
    bool integer = json_to_int64(json_get(root, STR("created")), &created);

    EXPECT(lint, str_eq(json_get_str(root, STR("object")), STR("chat.completion.chunk")), OBJECT);
    EXPECT(lint, id.n > 0 && (!lint->begun || str_eq(id, lint->id)), ID);
    EXPECT(lint,
           integer && !str_is_null(model) &&
               (!lint->begun || (str_eq(model, lint->model) && created == lint->created)),
           MODEL);
    lint->begun = true;
    lint->id = id;
    lint->model = model;
    lint->created = created;
}

static bool id_is_new(const struct lint_choice *c, struct str id)
{
    for (uint32_t i = 0; i < c->tools; i++) {
        if (str_eq(c->tool_ids[i], id))
            return false;
    }
    return true;
}

static void lint_call(struct lint *lint, struct lint_choice *c, yyjson_val *call)
{
    struct str id = json_get_str(call, STR("id"));
    struct str type = json_get_str(call, STR("type"));
    yyjson_val *inner = json_get(call,
                                 str_eq(type, STR("custom")) ? STR("custom") : STR("function"));
    int64_t index;

    if (!json_to_int64(json_get(call, STR("index")), &index) || index < 0 || index > c->tools ||
        index >= TOOLS_MAX) {
        EXPECT(lint, false, TOOL_INDEX);
        return;
    }
    if (index < c->tools) {
        EXPECT(lint, id.n == 0 || str_eq(id, c->tool_ids[index]), TOOL_BEGIN);
        return;
    }
    if (c->tool_ids == NULL)
        c->tool_ids = arena_array(&lint->arena, TOOLS_MAX, sizeof(*c->tool_ids));
    assert(!arena_overflowed(&lint->arena));
    EXPECT(lint, id.n > 0 && id_is_new(c, id), TOOL_BEGIN);
    EXPECT(lint, str_eq(type, STR("function")) || str_eq(type, STR("custom")), TOOL_BEGIN);
    EXPECT(lint, json_get_str(inner, STR("name")).n > 0, TOOL_BEGIN);
    c->tool_ids[c->tools++] = id;
}

static void lint_finish(struct lint *lint, struct lint_choice *c, yyjson_val *choice)
{
    static const char *const words[] = {"stop", "length", "tool_calls", "content_filter",
                                        "function_call"};
    yyjson_val *finish = json_get(choice, STR("finish_reason"));
    bool known = false;

    EXPECT(lint, yyjson_is_null(finish) || yyjson_is_str(finish), CHOICE);
    if (!yyjson_is_str(finish))
        return;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        known |= str_eq(json_str(finish), str_c(words[i]));
    EXPECT(lint, known && !c->finished, FINISH);
    c->finished = true;
}

static bool says_something(yyjson_val *delta)
{
    return json_get_str(delta, STR("content")).n > 0 || json_get_str(delta, STR("refusal")).n > 0 ||
           json_get_str(delta, STR("reasoning_content")).n > 0 ||
           json_get_str(delta, STR("reasoning")).n > 0 ||
           yyjson_arr_size(json_get(delta, STR("tool_calls"))) > 0;
}

static void lint_choice(struct lint *lint, yyjson_val *choice)
{
    yyjson_val *delta = json_get(choice, STR("delta"));
    int64_t index = -1;
    size_t at;
    size_t count;
    yyjson_val *call;

    EXPECT(lint, json_to_int64(json_get(choice, STR("index")), &index), CHOICE);
    EXPECT(lint, yyjson_is_obj(delta), CHOICE);
    if (index < 0 || index >= CHOICES_MAX) {
        EXPECT(lint, false, CHOICE);
        return;
    }
    struct lint_choice *c = &lint->choices[index];
    if (!c->begun)
        EXPECT(lint, str_eq(json_get_str(delta, STR("role")), STR("assistant")), ROLE);
    c->begun = true;
    EXPECT(lint, !c->finished || !says_something(delta), AFTER_FINISH);
    yyjson_arr_foreach(json_get(delta, STR("tool_calls")), at, count, call)
    {
        lint_call(lint, c, call);
    }
    lint_finish(lint, c, choice);
}

static void lint_chunk(struct lint *lint, yyjson_val *root)
{
    yyjson_val *choices = json_get(root, STR("choices"));
    yyjson_val *usage = json_get(root, STR("usage"));
    size_t at;
    size_t count;
    yyjson_val *choice;

    lint_head(lint, root);
    EXPECT(lint, yyjson_is_arr(choices), CHOICE);
    EXPECT(lint, !lint->include_usage || usage != NULL, USAGE_NULL);
    if (yyjson_arr_size(choices) == 0 && yyjson_is_obj(usage)) {
        EXPECT(lint, lint->include_usage && lint->usage_chunks == 0, USAGE);
        lint->usage_chunks++;
    }
    yyjson_arr_foreach(choices, at, count, choice)
    {
        lint_choice(lint, choice);
    }
}

static void lint_frame(struct lint *lint, const struct sse_frame *frame)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;

    if (str_is_null(frame->data))
        return;
    EXPECT(lint, !lint->ended, AFTER_END);
    if (str_eq(frame->data, STR("[DONE]"))) {
        lint->ended = true;
        return;
    }
    yyjson_val *root = json_read(frame->data, &options, &lint->arena, &ignored);
    if (!yyjson_is_obj(root)) {
        EXPECT(lint, false, FRAME);
    } else if (yyjson_is_obj(json_get(root, STR("error")))) {
        lint->ended = true;
        lint->failed = true;
    } else {
        lint_chunk(lint, root);
    }
}

uint32_t openai_chat_lint(struct str stream, bool include_usage)
{
    struct lint lint = {.include_usage = include_usage};
    struct sse sse;
    struct sse_frame frame;
    struct error ignored;

    arena_init(&lint.arena, BYTES_MAX, 64 * 1024, NULL);
    sse_init(&sse, BYTES_MAX);
    sse_feed(&sse, stream);
    while (sse_next(&sse, &frame, &ignored))
        lint_frame(&lint, &frame);
    if (sse_end(&sse, &frame))
        lint_frame(&lint, &frame);
    sse_fini(&sse);

    EXPECT(&lint, lint.ended, DONE);
    for (size_t i = 0; i < CHOICES_MAX && !lint.failed; i++)
        EXPECT(&lint, !lint.choices[i].begun || lint.choices[i].finished, FINISH);
    if (!lint.failed)
        EXPECT(&lint, lint.usage_chunks == (include_usage ? 1 : 0), USAGE);
    arena_fini(&lint.arena);
    return lint.broken;
}

void openai_chat_lint_print(uint32_t broken, struct buf *out)
{
    static const char *const names[] = {
#define LINT(name, text) #name ": " text,
        OPENAI_CHAT_LINT_RULES(LINT)
#undef LINT
    };

    assert(broken >> OPENAI_CHAT_LINT_COUNT == 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if ((broken >> i & 1) != 0)
            buf_print(out, "%s%s", out->n > 0 ? "; " : "", names[i]);
    }
}
