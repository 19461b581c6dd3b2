/* SPDX-License-Identifier: MIT */
/*
 * What      Checks what a client gets of Anthropic Messages: what the vendor's SDKs build a message
 *           from (anthropic-messages.md, 7.1 and 12).
 * How         message_start (content_block_start content_block_delta* content_block_stop)*
 *             message_delta+ message_stop
 *           with ping anywhere, and error as an end. One block is open at a time, indexes count up
 *           from 0. Events and deltas of kinds that we do not know pass, as SDKs let them.
 *           Bytes -> SSE frames, cut anywhere -> each event's JSON. Whole bodies are kept to their
 *           end. The first violation is kept, with its line.
 * Owns      The frame's JSON and the part of a frame that was cut.
 * Not here  Whether what was said is what the upstream said, and whether a tool's arguments are
 *           JSON: they are as the model wrote them.
 */
#include "protocol/anthropic_priv.h"

enum { BYTES_MAX = 256 * 1024 * 1024, SCRATCH = 64 * 1024 };

static void expect(struct anthropic_lint *lint, bool holds, const char *what)
{
    if (holds || lint->what != NULL)
        return;
    lint->what = what;
    lint->first_line = lint->line;
}

static bool is_string(yyjson_val *object, const char *key)
{
    return yyjson_is_str(json_get(object, str_c(key)));
}

static bool is_said(yyjson_val *object, const char *key)
{
    return json_get_str(object, str_c(key)).n > 0;
}

static bool is_count(yyjson_val *object, const char *key)
{
    int64_t value;

    return json_to_int64(json_get(object, str_c(key)), &value) && value >= 0;
}

/* --- pieces ------------------------------------------------------------------------------- */

static void lint_error(struct anthropic_lint *lint, yyjson_val *root)
{
    yyjson_val *error = json_get(root, STR("error"));

    expect(lint, is_said(error, "type"), "an error has a type");
    expect(lint, is_string(error, "message"), "an error has a message");
    lint->ended = true;
}

static void lint_head(struct anthropic_lint *lint, yyjson_val *message)
{
    expect(lint, is_said(message, "id"), "a message has an id");
    expect(lint, str_eq(json_get_str(message, STR("type")), STR("message")),
           "a message is of type message");
    expect(lint, str_eq(json_get_str(message, STR("role")), STR("assistant")),
           "a message is of the assistant");
    expect(lint, is_string(message, "model"), "a message says its model");
    expect(lint, yyjson_is_arr(json_get(message, STR("content"))), "a message's content is a list");
    yyjson_val *usage = json_get(message, STR("usage"));
    expect(lint, is_count(usage, "input_tokens") && is_count(usage, "output_tokens"),
           "a message's usage counts input_tokens and output_tokens");
}

static void lint_stop(struct anthropic_lint *lint, yyjson_val *object)
{
    static const char *const words[] = {"end_turn",   "max_tokens",
                                        "tool_use",   "stop_sequence",
                                        "pause_turn", "refusal",
                                        "compaction", "model_context_window_exceeded"};
    struct str reason = json_get_str(object, STR("stop_reason"));
    yyjson_val *sequence = json_get(object, STR("stop_sequence"));
    bool known = false;

    for (size_t i = 0; i < COUNT_OF(words); i++)
        known |= str_eq(reason, str_c(words[i]));
    expect(lint, known, "stop_reason is one of the known words");
    expect(lint, sequence == NULL || yyjson_is_null(sequence) || yyjson_is_str(sequence),
           "stop_sequence is a string or null");
    expect(lint, !str_eq(reason, STR("tool_use")) || lint->has_tool,
           "a message without tool_use does not stop for tool_use");
    expect(lint, !str_eq(reason, STR("end_turn")) || !lint->has_tool,
           "a message with tool_use stops for tool_use");
}

/* A block as it begins; whole: with all it has. */
static void lint_block(struct anthropic_lint *lint, yyjson_val *block, bool whole)
{
    struct str type = json_get_str(block, STR("type"));
    yyjson_val *input = json_get(block, STR("input"));

    expect(lint, type.n > 0, "a block has a type");
    if (str_eq(type, STR("text"))) {
        expect(lint, is_string(block, "text"), "a text block has a text");
    } else if (str_eq(type, STR("thinking"))) {
        expect(lint, is_string(block, "thinking") && is_string(block, "signature"),
               "a thinking block has thinking and signature");
    } else if (str_eq(type, STR("redacted_thinking"))) {
        expect(lint, is_string(block, "data"), "a redacted_thinking block has data");
    } else if (str_eq(type, STR("tool_use"))) {
        lint->has_tool = true;
        expect(lint, is_said(block, "id") && is_string(block, "name"),
               "a tool_use block has an id and a name");
        expect(lint, yyjson_is_obj(input), "a tool_use block's input is an object");
        expect(lint, whole || yyjson_obj_size(input) == 0,
               "a tool_use block's input is empty at its start");
    }
}

/* --- streams ------------------------------------------------------------------------------ */

static void lint_message_start(struct anthropic_lint *lint, yyjson_val *root)
{
    yyjson_val *message = json_get(root, STR("message"));

    expect(lint, !lint->started, "message_start comes once");
    lint->started = true;
    lint_head(lint, message);
    expect(lint, yyjson_arr_size(json_get(message, STR("content"))) == 0,
           "a message is empty at its start");
    expect(lint, yyjson_is_null(json_get(message, STR("stop_reason"))),
           "stop_reason is null at the start");
}

static void lint_block_start(struct anthropic_lint *lint, yyjson_val *root)
{
    yyjson_val *block = json_get(root, STR("content_block"));
    int64_t index = -1;

    expect(lint, !lint->open, "one block is open at a time");
    expect(lint, json_to_int64(json_get(root, STR("index")), &index) && index == lint->blocks,
           "blocks are numbered from 0 without a gap");
    lint_block(lint, block, false);
    lint->blocks++;
    lint->open = true;
    lint->said = false;
    lint->kind = ANTHROPIC_LINT_OTHER;
    struct str type = json_get_str(block, STR("type"));
    if (str_eq(type, STR("text")))
        lint->kind = ANTHROPIC_LINT_TEXT;
    else if (str_eq(type, STR("thinking")))
        lint->kind = ANTHROPIC_LINT_THINKING;
    else if (str_eq(type, STR("tool_use")))
        lint->kind = ANTHROPIC_LINT_TOOL;
}

static bool of_open_block(struct anthropic_lint *lint, yyjson_val *root)
{
    int64_t index = -1;
    bool known = json_to_int64(json_get(root, STR("index")), &index);

    return lint->open && known && index == lint->blocks - 1;
}

static void lint_delta(struct anthropic_lint *lint, yyjson_val *root)
{
    static const struct {
        const char *type;
        const char *member; /* a string; NULL: none */
        enum anthropic_lint_kind kind;
    } deltas[] = {
        {"text_delta", "text", ANTHROPIC_LINT_TEXT},
        {"citations_delta", NULL, ANTHROPIC_LINT_TEXT},
        {"thinking_delta", "thinking", ANTHROPIC_LINT_THINKING},
        {"signature_delta", "signature", ANTHROPIC_LINT_THINKING},
        {"input_json_delta", "partial_json", ANTHROPIC_LINT_TOOL},
    };
    yyjson_val *delta = json_get(root, STR("delta"));
    struct str type = json_get_str(delta, STR("type"));

    expect(lint, of_open_block(lint, root), "a delta is of the open block");
    expect(lint, type.n > 0, "a delta has a type");
    for (size_t i = 0; i < COUNT_OF(deltas); i++) {
        if (!str_eq(type, str_c(deltas[i].type)))
            continue;
        expect(lint, deltas[i].member == NULL || is_string(delta, deltas[i].member),
               "a delta has a text");
        /* Input is what other vendors' tools have too. */
        expect(lint,
               lint->kind == deltas[i].kind ||
                   (lint->kind == ANTHROPIC_LINT_OTHER && deltas[i].kind == ANTHROPIC_LINT_TOOL),
               "a delta fits the kind of its block");
        lint->said = true;
    }
}

static void lint_block_stop(struct anthropic_lint *lint, yyjson_val *root)
{
    expect(lint, of_open_block(lint, root), "content_block_stop is of the open block");
    expect(lint, lint->kind != ANTHROPIC_LINT_TOOL || lint->said,
           "a tool_use block has an input_json_delta");
    lint->open = false;
}

static void lint_message_delta(struct anthropic_lint *lint, yyjson_val *root)
{
    yyjson_val *delta = json_get(root, STR("delta"));

    expect(lint, !lint->open, "no block is open at message_delta");
    expect(lint, yyjson_is_obj(delta), "message_delta has a delta");
    expect(lint, is_count(json_get(root, STR("usage")), "output_tokens"),
           "message_delta's usage counts output_tokens");
    if (!lint->stopped || is_string(delta, "stop_reason"))
        lint_stop(lint, delta);
    lint->stopped = true;
}

static void lint_event(struct anthropic_lint *lint, yyjson_val *root, struct str type)
{
    if (str_eq(type, STR("ping")))
        return;
    if (str_eq(type, STR("error"))) {
        lint_error(lint, root);
        return;
    }
    if (str_eq(type, STR("message_start"))) {
        lint_message_start(lint, root);
        return;
    }
    expect(lint, lint->started, "message_start comes first");
    if (str_eq(type, STR("message_delta"))) {
        lint_message_delta(lint, root);
    } else if (str_eq(type, STR("message_stop"))) {
        expect(lint, lint->stopped, "message_delta comes before message_stop");
        lint->ended = true;
    } else if (str_starts(type, STR("content_block_"))) {
        expect(lint, !lint->stopped, "no block comes after message_delta");
        if (str_eq(type, STR("content_block_start")))
            lint_block_start(lint, root);
        else if (str_eq(type, STR("content_block_delta")))
            lint_delta(lint, root);
        else if (str_eq(type, STR("content_block_stop")))
            lint_block_stop(lint, root);
    }
}

static void lint_data(struct anthropic_lint *lint, const struct sse_frame *frame)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;

    expect(lint, !lint->ended, "nothing comes after the end");
    yyjson_val *root = json_read(frame->data, &options, &lint->scratch, &ignored);
    struct str type = json_get_str(root, STR("type"));
    expect(lint, yyjson_is_obj(root), "data is a JSON object");
    expect(lint, type.n > 0, "an event has a type");
    expect(lint, str_eq(type, frame->event), "the event's name is its type");
    if (lint->what == NULL)
        lint_event(lint, root, type);
    arena_rewind(&lint->scratch);
}

static void lint_frame(struct anthropic_lint *lint, const struct sse_frame *frame)
{
    size_t before_data;
    size_t lines = sse_count_lines(frame->raw, &before_data);

    lint->line = lint->lines + before_data + 1;
    lint->lines += lines;
    if (!str_is_null(frame->data))
        lint_data(lint, frame);
}

static void stream_bytes(struct anthropic_lint *lint, struct str bytes, bool end)
{
    struct sse_frame frame;
    struct error e = {.code = OK};

    sse_feed(&lint->sse, bytes);
    while (sse_next(&lint->sse, &frame, &e))
        lint_frame(lint, &frame);
    lint->line = lint->lines + 1;
    expect(lint, e.code == OK, "an event is of bounded size");
    if (!end)
        return;
    if (sse_end(&lint->sse, &frame))
        lint_frame(lint, &frame);
    lint->line = lint->lines + (lint->lines == 0);
    expect(lint, lint->ended, "a stream ends with message_stop or an error");
}

/* --- whole bodies ------------------------------------------------------------------------- */

static void lint_whole(struct anthropic_lint *lint, struct str body)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;
    yyjson_val *root = json_read(body, &options, &lint->scratch, &ignored);
    size_t at;
    size_t count;
    yyjson_val *block;

    expect(lint, yyjson_is_obj(root), "a body is a JSON object");
    if (str_eq(json_get_str(root, STR("type")), STR("error"))) {
        lint_error(lint, root);
        return;
    }
    lint_head(lint, root);
    yyjson_arr_foreach(json_get(root, STR("content")), at, count, block)
    {
        lint_block(lint, block, true);
    }
    lint_stop(lint, root);
}

/* ------------------------------------------------------------------------------------------ */

void anthropic_lint_init(void *state, const struct lint_options *options)
{
    struct anthropic_lint *lint = state;

    lint->stream = options->stream;
    lint->line = 1;
    arena_init(&lint->scratch, BYTES_MAX, SCRATCH, NULL);
    sse_init(&lint->sse, BYTES_MAX);
    buf_init(&lint->body, BYTES_MAX);
}

void anthropic_lint_fini(void *state)
{
    struct anthropic_lint *lint = state;

    arena_fini(&lint->scratch);
    sse_fini(&lint->sse);
    buf_fini(&lint->body);
}

enum error_code anthropic_lint_bytes(void *state, struct str bytes, bool end, struct error *e)
{
    struct anthropic_lint *lint = state;

    if (lint->what == NULL && lint->stream) {
        stream_bytes(lint, bytes, end);
    } else if (lint->what == NULL) {
        expect(lint, buf_add(&lint->body, bytes), "a body is of bounded size");
        if (end)
            lint_whole(lint, buf_str(&lint->body));
    }
    if (lint->what == NULL)
        return OK;
    return FAIL(e, ERR_INTERNAL, "line %zu: %s", lint->first_line, lint->what);
}
