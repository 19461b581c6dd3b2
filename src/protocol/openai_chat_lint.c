/* SPDX-License-Identifier: MIT */
/*
 * What      Checks what a client gets of Chat Completions against the rules of openai_chat_lint.h.
 * How       Streams: bytes -> SSE frames, cut anywhere -> each chunk's JSON against what the chunks
 *           before it said. Whole bodies are kept to their end and then read. What is found wrong
 *           sets its rule's bit; the first one also keeps its line.
 * Owns      The frame's JSON and the part of a frame that was cut; ids are the caller's arena's.
 * Not here  Whether what was said is what the upstream said (tests compare that).
 */
#include "protocol/openai_chat_lint.h"

#include "text/json.h"

enum { TOOLS_MAX = 4096, BYTES_MAX = 256 * 1024 * 1024, SCRATCH = 64 * 1024 };

static const char *const rule_texts[] = {
#define LINT(name, text) text,
    OPENAI_CHAT_LINT_RULES(LINT)
#undef LINT
};

static void expect(struct openai_chat_lint *lint, bool holds, enum openai_chat_lint_rule rule)
{
    assert(rule < OPENAI_CHAT_LINT_COUNT);
    if (holds)
        return;
    lint->broken |= 1u << rule;
    if (lint->first_line == 0) {
        lint->first_line = lint->line;
        lint->first = rule;
    }
}

#define EXPECT(lint, holds, rule) expect((lint), (holds), OPENAI_CHAT_LINT_##rule)

/* --- what streams and whole bodies have in common --- */

static void lint_head(struct openai_chat_lint *lint, yyjson_val *root, struct str object)
{
    struct str id = json_get_str(root, STR("id"));
    struct str model = json_get_str(root, STR("model"));
    int64_t created = -1;
    bool integer = json_to_int64(json_get(root, STR("created")), &created);

    EXPECT(lint, str_eq(json_get_str(root, STR("object")), object), OBJECT);
    EXPECT(lint, id.n > 0 && (!lint->begun || str_eq(id, lint->id)), ID);
    EXPECT(lint,
           integer && !str_is_null(model) &&
               (!lint->begun || (str_eq(model, lint->model) && created == lint->created)),
           MODEL);
    if (!lint->begun || !str_eq(id, lint->id))
        lint->id = str_copy(lint->arena, id);
    if (!lint->begun || !str_eq(model, lint->model))
        lint->model = str_copy(lint->arena, model);
    lint->begun = true;
    lint->created = created;
}

static void lint_usage(struct openai_chat_lint *lint, yyjson_val *usage)
{
    static const char *const members[] = {"prompt_tokens", "completion_tokens", "total_tokens"};
    int64_t ignored;

    if (!yyjson_is_obj(usage))
        return;
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        yyjson_val *count = json_get(usage, str_c(members[i]));
        EXPECT(lint, count == NULL || json_to_int64(count, &ignored), COUNTS);
    }
}

static void lint_error(struct openai_chat_lint *lint, yyjson_val *error)
{
    EXPECT(lint, !str_is_null(json_get_str(error, STR("message"))), ERROR);
    EXPECT(lint, json_get(error, STR("type")) != NULL, ERROR);
    lint->ended = true;
    lint->failed = true;
}

/* NULL: the choice's index is none, which was told. */
static struct openai_chat_lint_choice *choice_of(struct openai_chat_lint *lint, yyjson_val *choice)
{
    int64_t index = -1;
    bool integer = json_to_int64(json_get(choice, STR("index")), &index);

    if (!integer || index < 0 || index >= OPENAI_CHAT_LINT_CHOICES_MAX) {
        EXPECT(lint, false, CHOICE);
        return NULL;
    }
    return &lint->choices[index];
}

static void lint_finish(struct openai_chat_lint *lint, struct openai_chat_lint_choice *c,
                        yyjson_val *choice)
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

static bool id_is_new(const struct openai_chat_lint_choice *c, struct str id)
{
    for (size_t i = 0; i < c->tools; i++) {
        if (str_eq(c->tool_ids[i], id))
            return false;
    }
    return true;
}

static void remember_tool(struct openai_chat_lint *lint, struct openai_chat_lint_choice *c,
                          struct str id)
{
    if (c->tools == c->tools_size) {
        size_t size = c->tools_size == 0 ? 8 : 2 * c->tools_size;
        struct str *ids = arena_array(lint->arena, size, sizeof(*ids));
        if (arena_overflowed(lint->arena))
            return;
        if (c->tools > 0)
            memcpy(ids, c->tool_ids, c->tools * sizeof(*ids));
        c->tool_ids = ids;
        c->tools_size = size;
    }
    c->tool_ids[c->tools++] = str_copy(lint->arena, id);
}

/* The beginning of a call, or all of it. */
static void lint_call_begin(struct openai_chat_lint *lint, struct openai_chat_lint_choice *c,
                            yyjson_val *call)
{
    struct str id = json_get_str(call, STR("id"));
    struct str type = json_get_str(call, STR("type"));
    yyjson_val *inner = json_get(call,
                                 str_eq(type, STR("custom")) ? STR("custom") : STR("function"));

    EXPECT(lint, id.n > 0 && id_is_new(c, id), TOOL_BEGIN);
    EXPECT(lint, str_eq(type, STR("function")) || str_eq(type, STR("custom")), TOOL_BEGIN);
    EXPECT(lint, json_get_str(inner, STR("name")).n > 0, TOOL_BEGIN);
    remember_tool(lint, c, id);
}

/* --- streams --- */

static void lint_call(struct openai_chat_lint *lint, struct openai_chat_lint_choice *c,
                      yyjson_val *call)
{
    struct str id = json_get_str(call, STR("id"));
    int64_t index;

    if (!json_to_int64(json_get(call, STR("index")), &index) || index < 0 ||
        index > (int64_t)c->tools || index >= TOOLS_MAX) {
        EXPECT(lint, false, TOOL_INDEX);
        return;
    }
    if (index < (int64_t)c->tools)
        EXPECT(lint, id.n == 0 || str_eq(id, c->tool_ids[index]), TOOL_BEGIN);
    else
        lint_call_begin(lint, c, call);
}

static bool says_something(yyjson_val *delta)
{
    return json_get_str(delta, STR("content")).n > 0 || json_get_str(delta, STR("refusal")).n > 0 ||
           json_get_str(delta, STR("reasoning_content")).n > 0 ||
           json_get_str(delta, STR("reasoning")).n > 0 ||
           yyjson_arr_size(json_get(delta, STR("tool_calls"))) > 0;
}

static void lint_choice(struct openai_chat_lint *lint, yyjson_val *choice)
{
    struct openai_chat_lint_choice *c = choice_of(lint, choice);
    yyjson_val *delta = json_get(choice, STR("delta"));
    size_t at;
    size_t count;
    yyjson_val *call;

    EXPECT(lint, yyjson_is_obj(delta), CHOICE);
    if (c == NULL)
        return;
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

static void lint_chunk(struct openai_chat_lint *lint, yyjson_val *root)
{
    yyjson_val *choices = json_get(root, STR("choices"));
    yyjson_val *usage = json_get(root, STR("usage"));
    size_t at;
    size_t count;
    yyjson_val *choice;

    lint_head(lint, root, STR("chat.completion.chunk"));
    lint_usage(lint, usage);
    EXPECT(lint, yyjson_is_arr(choices), CHOICE);
    if (lint->asked == OPENAI_CHAT_LINT_USAGE_ASKED)
        EXPECT(lint, usage != NULL, USAGE_NULL);
    if (yyjson_arr_size(choices) == 0 && yyjson_is_obj(usage)) {
        EXPECT(lint, lint->asked != OPENAI_CHAT_LINT_USAGE_NOT_ASKED && lint->usage_chunks == 0,
               USAGE);
        lint->usage_chunks++;
    }
    yyjson_arr_foreach(choices, at, count, choice)
    {
        lint_choice(lint, choice);
    }
}

static void lint_data(struct openai_chat_lint *lint, struct str data)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;

    EXPECT(lint, !lint->ended, AFTER_END);
    if (str_eq(data, STR("[DONE]"))) {
        lint->ended = true;
        return;
    }
    yyjson_val *root = json_read(data, &options, &lint->scratch, &ignored);
    if (!yyjson_is_obj(root))
        EXPECT(lint, false, FRAME);
    else if (yyjson_is_obj(json_get(root, STR("error"))))
        lint_error(lint, json_get(root, STR("error")));
    else
        lint_chunk(lint, root);
    arena_rewind(&lint->scratch);
}

static void lint_frame(struct openai_chat_lint *lint, const struct sse_frame *frame)
{
    size_t before_data;
    size_t lines = sse_count_lines(frame->raw, &before_data);

    lint->line = lint->lines + before_data + 1;
    lint->lines += lines;
    if (!str_is_null(frame->data))
        lint_data(lint, frame->data);
}

static void lint_stream_end(struct openai_chat_lint *lint)
{
    lint->line = lint->lines + (lint->lines == 0);
    EXPECT(lint, lint->ended, DONE);
    if (lint->failed)
        return;
    for (size_t i = 0; i < OPENAI_CHAT_LINT_CHOICES_MAX; i++)
        EXPECT(lint, !lint->choices[i].begun || lint->choices[i].finished, FINISH);
    if (lint->asked != OPENAI_CHAT_LINT_USAGE_UNKNOWN)
        EXPECT(lint, lint->usage_chunks == (lint->asked == OPENAI_CHAT_LINT_USAGE_ASKED ? 1 : 0),
               USAGE);
}

static void stream_bytes(struct openai_chat_lint *lint, struct str bytes, bool end)
{
    struct sse_frame frame;
    struct error e = {.code = OK};

    sse_feed(&lint->sse, bytes);
    while (sse_next(&lint->sse, &frame, &e))
        lint_frame(lint, &frame);
    lint->line = lint->lines + 1;
    EXPECT(lint, e.code == OK, FRAME);
    if (!end)
        return;
    if (sse_end(&lint->sse, &frame))
        lint_frame(lint, &frame);
    lint_stream_end(lint);
}

/* --- whole bodies --- */

static void lint_message(struct openai_chat_lint *lint, yyjson_val *choice)
{
    struct openai_chat_lint_choice *c = choice_of(lint, choice);
    yyjson_val *message = json_get(choice, STR("message"));
    yyjson_val *content = json_get(message, STR("content"));
    size_t at;
    size_t count;
    yyjson_val *call;

    EXPECT(lint, str_eq(json_get_str(message, STR("role")), STR("assistant")), MESSAGE);
    EXPECT(lint, yyjson_is_str(content) || yyjson_is_null(content), MESSAGE);
    if (c == NULL)
        return;
    EXPECT(lint, !c->begun, CHOICE);
    c->begun = true;
    yyjson_arr_foreach(json_get(message, STR("tool_calls")), at, count, call)
    {
        bool custom = str_eq(json_get_str(call, STR("type")), STR("custom"));
        yyjson_val *inner = json_get(call, custom ? STR("custom") : STR("function"));
        struct str member = custom ? STR("input") : STR("arguments");
        lint_call_begin(lint, c, call);
        EXPECT(lint, !str_is_null(json_get_str(inner, member)), MESSAGE);
    }
    lint_finish(lint, c, choice);
    EXPECT(lint, c->finished, FINISH);
}

static void lint_whole(struct openai_chat_lint *lint, struct str body)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;
    yyjson_val *root = json_read(body, &options, &lint->scratch, &ignored);
    yyjson_val *choices = json_get(root, STR("choices"));
    size_t at;
    size_t count;
    yyjson_val *choice;

    lint->line = 1;
    if (!yyjson_is_obj(root)) {
        EXPECT(lint, false, FRAME);
        return;
    }
    if (yyjson_is_obj(json_get(root, STR("error")))) {
        lint_error(lint, json_get(root, STR("error")));
        return;
    }
    lint_head(lint, root, STR("chat.completion"));
    lint_usage(lint, json_get(root, STR("usage")));
    EXPECT(lint, yyjson_arr_size(choices) > 0, CHOICE);
    yyjson_arr_foreach(choices, at, count, choice)
    {
        lint_message(lint, choice);
    }
}

static void whole_bytes(struct openai_chat_lint *lint, struct str bytes, bool end)
{
    lint->line = 1;
    EXPECT(lint, buf_add(&lint->body, bytes), FRAME);
    if (end)
        lint_whole(lint, buf_str(&lint->body));
}

/* --- */

void openai_chat_lint_init(void *state, const struct lint_options *options)
{
    struct openai_chat_lint *lint = state;

    lint->arena = options->arena;
    lint->stream = options->stream;
    arena_init(&lint->scratch, BYTES_MAX, SCRATCH, NULL);
    sse_init(&lint->sse, BYTES_MAX);
    buf_init(&lint->body, BYTES_MAX);
}

void openai_chat_lint_fini(void *state)
{
    struct openai_chat_lint *lint = state;

    arena_fini(&lint->scratch);
    sse_fini(&lint->sse);
    buf_fini(&lint->body);
}

enum error_code openai_chat_lint_bytes(void *state, struct str bytes, bool end, struct error *e)
{
    struct openai_chat_lint *lint = state;

    if (lint->first_line == 0 && lint->stream)
        stream_bytes(lint, bytes, end);
    else if (lint->first_line == 0)
        whole_bytes(lint, bytes, end);
    if (lint->first_line == 0)
        return OK;
    return FAIL(e, ERR_INTERNAL, "line %zu: %s", lint->first_line, rule_texts[lint->first]);
}

uint32_t openai_chat_lint(struct str stream, bool include_usage)
{
    struct openai_chat_lint lint = {.line = 0};
    struct arena arena;

    arena_init(&arena, BYTES_MAX, SCRATCH, NULL);
    openai_chat_lint_init(&lint, &(struct lint_options){.stream = true, .arena = &arena});
    lint.asked = include_usage ? OPENAI_CHAT_LINT_USAGE_ASKED : OPENAI_CHAT_LINT_USAGE_NOT_ASKED;
    stream_bytes(&lint, stream, true);
    openai_chat_lint_fini(&lint);
    arena_fini(&arena);
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
