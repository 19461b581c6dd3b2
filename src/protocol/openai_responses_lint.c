/* SPDX-License-Identifier: MIT */
/*
 * What      Checks what a client gets of the Responses API (openai-responses.md, 6 to 8).
 * How       Streams: bytes -> SSE frames, cut anywhere -> each event's JSON against the state of
 *           its item. Numbers of events and items are dense; items and parts begin, speak and end
 *           in order; what is said at an end is what was said before, joined; the terminal response
 *           holds the items as they were done. Whole bodies are kept to their end and then read.
 *           Events of types that are not known here only count.
 * Owns      One frame's JSON, joined texts, the part of a frame that was cut; items lie in the
 *           caller's arena.
 * Not here  Whether what was said is what the upstream said (tests compare that).
 */
#include "protocol/openai_responses_lint.h"

enum { ITEMS_MAX = 8192, BYTES_MAX = 256 * 1024 * 1024, SCRATCH = 64 * 1024, DEPTH_MAX = 256 };

/* --- violations --------------------------------------------------------------------------- */

/* The first one counts. */
static void expect(struct openai_responses_lint *lint, bool holds, const char *rule)
{
    if (holds || lint->broken != NULL)
        return;
    lint->broken = rule;
    lint->broken_line = lint->line;
}

static bool is_count(yyjson_val *v)
{
    int64_t value;

    return json_to_int64(v, &value) && value >= 0;
}

static struct str get_str(yyjson_val *object, const char *key)
{
    return json_get_str(object, str_c(key));
}

static yyjson_val *get(yyjson_val *object, const char *key)
{
    return json_get(object, str_c(key));
}

/* --- the response object ------------------------------------------------------------------ */

static void lint_usage(struct openai_responses_lint *lint, yyjson_val *usage)
{
    yyjson_val *input = get(usage, "input_tokens_details");
    yyjson_val *output = get(usage, "output_tokens_details");

    expect(lint, usage != NULL, "a response has the member usage");
    if (!yyjson_is_obj(usage))
        return;
    expect(lint,
           is_count(get(usage, "input_tokens")) && is_count(get(usage, "output_tokens")) &&
               is_count(get(usage, "total_tokens")) && is_count(get(input, "cached_tokens")) &&
               is_count(get(output, "reasoning_tokens")),
           "usage has whole numbers: input, output, total, cached, reasoning");
}

/* What strict clients insist on. */
static void lint_members(struct openai_responses_lint *lint, yyjson_val *response)
{
    static const char *const keys[] = {
        "instructions", "tool_choice", "parallel_tool_calls", "temperature", "top_p",
        "metadata",     "error",       "incomplete_details",
    };

    for (size_t i = 0; i < COUNT_OF(keys); i++)
        expect(lint, get(response, keys[i]) != NULL,
               "a response repeats instructions, tool_choice, parallel_tool_calls, temperature, "
               "top_p, metadata, and says error and incomplete_details");
    expect(lint, yyjson_is_arr(get(response, "tools")), "a response has the list tools");
    expect(lint, yyjson_is_arr(get(response, "output")), "a response has the list output");
    expect(lint, is_count(get(response, "created_at")), "created_at is a whole number");
    expect(lint, yyjson_is_str(get(response, "model")), "a response has a model");
    expect(lint, str_eq(get_str(response, "object"), STR("response")), "object is response");
}

/* One identity from the beginning to the end. */
static void lint_id(struct openai_responses_lint *lint, yyjson_val *response)
{
    struct str id = get_str(response, "id");

    expect(lint, id.n > 0, "a response has an id");
    if (lint->id.n == 0)
        lint->id = str_copy(lint->arena, id);
    expect(lint, str_eq(id, lint->id), "the response's id stays the same");
}

static void lint_status(struct openai_responses_lint *lint, yyjson_val *response, const char *want)
{
    struct str status = get_str(response, "status");
    yyjson_val *error = get(response, "error");
    struct str reason = get_str(get(response, "incomplete_details"), "reason");

    if (want != NULL)
        expect(lint, str_eq(status, str_c(want)), "the status is the event's");
    if (str_eq(status, STR("failed")))
        expect(lint, get_str(error, "code").n > 0 && !str_is_null(get_str(error, "message")),
               "a failed response has an error with code and message");
    else
        expect(lint, !yyjson_is_obj(error), "only a failed response has an error");
    expect(lint, str_eq(status, STR("incomplete")) == (reason.n > 0),
           "an incomplete response has a reason, others have none");
}

/* --- items -------------------------------------------------------------------------------- */

static void lint_part(struct openai_responses_lint *lint, yyjson_val *part)
{
    struct str type = get_str(part, "type");

    if (str_eq(type, STR("output_text"))) {
        expect(lint, yyjson_is_str(get(part, "text")) && yyjson_is_arr(get(part, "annotations")),
               "output_text has text and annotations");
    } else if (str_eq(type, STR("refusal"))) {
        expect(lint, yyjson_is_str(get(part, "refusal")), "a refusal has its text");
    } else {
        expect(lint, yyjson_is_str(get(part, "text")), "a part has a type and text");
    }
}

static void lint_parts(struct openai_responses_lint *lint, yyjson_val *list)
{
    size_t at;
    size_t count;
    yyjson_val *part;

    yyjson_arr_foreach(list, at, count, part) lint_part(lint, part);
}

/* An item as such, whether it is begun or done. */
static void lint_item(struct openai_responses_lint *lint, yyjson_val *item)
{
    struct str type = get_str(item, "type");

    expect(lint, get_str(item, "id").n > 0 && type.n > 0, "an item has an id and a type");
    if (str_eq(type, STR("message"))) {
        expect(lint, str_eq(get_str(item, "role"), STR("assistant")),
               "a message is the assistant's");
        expect(lint, yyjson_is_arr(get(item, "content")), "a message has the list content");
        expect(lint, get_str(item, "status").n > 0, "a message has a status");
        lint_parts(lint, get(item, "content"));
    } else if (str_eq(type, STR("reasoning"))) {
        expect(lint, yyjson_is_arr(get(item, "summary")), "reasoning has the list summary");
        lint_parts(lint, get(item, "summary"));
        lint_parts(lint, get(item, "content"));
    } else if (str_eq(type, STR("function_call"))) {
        expect(lint,
               get_str(item, "call_id").n > 0 && get_str(item, "name").n > 0 &&
                   yyjson_is_str(get(item, "arguments")),
               "a call has call_id, name and arguments");
    } else if (str_eq(type, STR("custom_tool_call"))) {
        expect(lint,
               get_str(item, "call_id").n > 0 && get_str(item, "name").n > 0 &&
                   yyjson_is_str(get(item, "input")),
               "a custom call has call_id, name and input");
    }
}

static struct openai_responses_lint_item *item_at(struct openai_responses_lint *lint,
                                                  yyjson_val *root)
{
    int64_t index = -1;
    struct openai_responses_lint_item *item = lint->items;

    if (json_to_int64(get(root, "output_index"), &index)) {
        while (item != NULL && item->index != index)
            item = item->next;
    } else {
        item = NULL;
    }
    expect(lint, item != NULL, "output_index names an item that has begun");
    return item;
}

/* The open item that an event is of, by index and id. */
static struct openai_responses_lint_item *open_item(struct openai_responses_lint *lint,
                                                    yyjson_val *root)
{
    struct openai_responses_lint_item *item = item_at(lint, root);

    if (item == NULL)
        return NULL;
    expect(lint, item->open, "nothing is said of an item that is done");
    expect(lint, str_eq(get_str(root, "item_id"), item->id), "item_id is the item's");
    return item->open ? item : NULL;
}

static void lint_item_added(struct openai_responses_lint *lint, yyjson_val *root)
{
    yyjson_val *whole = get(root, "item");
    struct str id = get_str(whole, "id");
    int64_t index = -1;

    expect(lint, json_to_int64(get(root, "output_index"), &index) && index == lint->items_n,
           "the output_index of items is 0, 1, 2 and so on");
    lint_item(lint, whole);
    for (struct openai_responses_lint_item *i = lint->items; i != NULL; i = i->next)
        expect(lint, !str_eq(i->id, id), "ids of items are unique");
    struct openai_responses_lint_item *item = ARENA_NEW(lint->arena,
                                                        struct openai_responses_lint_item);
    struct str kept = str_copy(lint->arena, id);
    struct str type = str_copy(lint->arena, get_str(whole, "type"));
    expect(lint, !arena_overflowed(lint->arena) && lint->items_n < ITEMS_MAX,
           "an answer has a bounded number of items");
    if (lint->broken != NULL)
        return;
    item->index = lint->items_n++;
    item->id = kept;
    item->type = type;
    item->open = true;
    item->next = lint->items;
    buf_init(&item->text, BYTES_MAX);
    buf_init(&item->done, BYTES_MAX);
    lint->items = item;
}

static bool is_call(const struct openai_responses_lint_item *item)
{
    return str_eq(item->type, STR("function_call")) || str_eq(item->type, STR("custom_tool_call"));
}

static void lint_item_done(struct openai_responses_lint *lint, yyjson_val *root)
{
    yyjson_val *whole = get(root, "item");
    struct openai_responses_lint_item *item = item_at(lint, root);

    lint_item(lint, whole);
    if (item == NULL)
        return;
    expect(lint, item->open, "an item is done once");
    expect(lint, !item->part_open, "an item is done when its parts are");
    expect(lint, str_eq(get_str(whole, "id"), item->id), "an item keeps its id");
    expect(lint, str_eq(get_str(whole, "type"), item->type), "an item keeps its type");
    if (is_call(item)) {
        bool custom = str_eq(item->type, STR("custom_tool_call"));
        expect(lint, item->text_done, "arguments are done before their call is");
        expect(lint, str_eq(get_str(whole, custom ? "input" : "arguments"), buf_str(&item->text)),
               "a call's arguments are those that were streamed");
    }
    if (str_eq(item->type, STR("message")))
        expect(lint, (int64_t)yyjson_arr_size(get(whole, "content")) == item->parts,
               "a message holds the parts that were streamed");
    item->open = false;
    (void)buf_add(&item->done, json_text(whole, &lint->scratch));
}

/* --- parts and texts ---------------------------------------------------------------------- */

static void lint_part_added(struct openai_responses_lint *lint, yyjson_val *root,
                            const char *index_key)
{
    struct openai_responses_lint_item *item = open_item(lint, root);
    int64_t index = -1;

    if (item == NULL)
        return;
    expect(lint, !is_call(item), "calls have no parts");
    expect(lint, !item->part_open, "one part of an item after the other");
    expect(lint, json_to_int64(get(root, index_key), &index) && index == item->parts,
           "the index of parts is 0, 1, 2 and so on");
    lint_part(lint, get(root, "part"));
    item->part_open = true;
    item->text_done = false;
    buf_reset(&item->text);
    item->parts++;
}

static void lint_index(struct openai_responses_lint *lint,
                       const struct openai_responses_lint_item *item, yyjson_val *root,
                       const char *index_key)
{
    int64_t index = -1;

    if (index_key == NULL)
        return;
    expect(lint, item->part_open, "text is said of a part that has begun");
    expect(lint, json_to_int64(get(root, index_key), &index) && index + 1 == item->parts,
           "text names the part that is open");
}

static void lint_delta(struct openai_responses_lint *lint, yyjson_val *root, const char *index_key)
{
    struct openai_responses_lint_item *item = open_item(lint, root);

    expect(lint, yyjson_is_str(get(root, "delta")), "a delta has text");
    if (item == NULL)
        return;
    lint_index(lint, item, root, index_key);
    expect(lint, !item->text_done, "no delta comes after the text is done");
    (void)buf_add(&item->text, get_str(root, "delta"));
}

static void lint_text_done(struct openai_responses_lint *lint, yyjson_val *root,
                           const char *index_key, const char *key)
{
    struct openai_responses_lint_item *item = open_item(lint, root);

    if (item == NULL)
        return;
    lint_index(lint, item, root, index_key);
    expect(lint, !item->text_done, "text is done once");
    expect(lint, yyjson_is_str(get(root, key)) && str_eq(get_str(root, key), buf_str(&item->text)),
           "text that is done is what its deltas said");
    item->text_done = true;
}

static void lint_part_done(struct openai_responses_lint *lint, yyjson_val *root,
                           const char *index_key)
{
    struct openai_responses_lint_item *item = open_item(lint, root);
    yyjson_val *part = get(root, "part");
    bool refusal = str_eq(get_str(part, "type"), STR("refusal"));

    lint_part(lint, part);
    if (item == NULL)
        return;
    lint_index(lint, item, root, index_key);
    expect(lint, item->text_done, "a part is done after its text");
    expect(lint, str_eq(get_str(part, refusal ? "refusal" : "text"), buf_str(&item->text)),
           "a part holds what its deltas said");
    item->part_open = false;
}

/* --- beginning and end -------------------------------------------------------------------- */

static void lint_begin(struct openai_responses_lint *lint, yyjson_val *root, bool created)
{
    yyjson_val *response = get(root, "response");

    expect(lint, created == !lint->created, "response.created is first, and comes once");
    expect(lint, lint->items == NULL, "response.in_progress comes before the items");
    lint->running = lint->running || !created;
    lint->created = true;
    lint_id(lint, response);
    lint_members(lint, response);
    expect(lint, yyjson_arr_size(get(response, "output")) == 0, "a response begins without output");
}

/* Items as they were done, in their order. */
static void lint_output(struct openai_responses_lint *lint, yyjson_val *output)
{
    struct openai_responses_lint_item *item = lint->items;
    size_t at = yyjson_arr_size(output);

    expect(lint, (int64_t)at == lint->items_n, "the output has all items");
    /* Both from the last on: the newest item is the first of the list. */
    for (; item != NULL && at > 0; item = item->next) {
        struct str whole = json_text(yyjson_arr_get(output, --at), &lint->scratch);
        expect(lint, !item->open, "all items are done before the end");
        expect(lint, str_eq(whole, buf_str(&item->done)),
               "the output has the items as they were done");
    }
}

static void lint_terminal(struct openai_responses_lint *lint, yyjson_val *root, const char *status)
{
    yyjson_val *response = get(root, "response");

    expect(lint, (lint->created && lint->running) || lint->failed,
           "response.created and response.in_progress come first");
    lint_id(lint, response);
    lint_members(lint, response);
    lint_status(lint, response, status);
    lint_usage(lint, get(response, "usage"));
    if (!str_eq(str_c(status), STR("failed")))
        lint_output(lint, get(response, "output"));
    lint->ended = true;
}

static void lint_error(struct openai_responses_lint *lint, yyjson_val *root)
{
    yyjson_val *inner = get(root, "error");
    yyjson_val *fields = yyjson_is_obj(inner) ? inner : root;

    expect(lint, !str_is_null(get_str(fields, "message")), "an error has a message");
    lint->failed = true;
}

/* --- events of a stream ------------------------------------------------------------------- */

/* Texts: what their events are called, which index they carry, and where the text stands. */
static const struct {
    const char *delta;
    const char *done;
    const char *index;
    const char *key;
} texts[] = {
    {"response.output_text.delta", "response.output_text.done", "content_index", "text"},
    {"response.refusal.delta", "response.refusal.done", "content_index", "refusal"},
    {"response.reasoning_text.delta", "response.reasoning_text.done", "content_index", "text"},
    {"response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
     "summary_index", "text"},
    {"response.function_call_arguments.delta", "response.function_call_arguments.done", NULL,
     "arguments"},
    {"response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", NULL,
     "input"},
};

static bool lint_text(struct openai_responses_lint *lint, yyjson_val *root, struct str type)
{
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (str_eq(type, str_c(texts[i].delta))) {
            lint_delta(lint, root, texts[i].index);
            if (i == 0)
                expect(lint, yyjson_is_arr(get(root, "logprobs")), "a text delta has logprobs");
            return true;
        }
        if (!str_eq(type, str_c(texts[i].done)))
            continue;
        lint_text_done(lint, root, texts[i].index, texts[i].key);
        if (texts[i].index == NULL && texts[i].key[0] == 'a')
            expect(lint, get_str(root, "name").n > 0, "arguments that are done name their tool");
        return true;
    }
    return false;
}

static void lint_event(struct openai_responses_lint *lint, yyjson_val *root, struct str type)
{
    if (lint_text(lint, root, type))
        return;
    if (str_eq(type, STR("response.created")))
        lint_begin(lint, root, true);
    else if (str_eq(type, STR("response.in_progress")) || str_eq(type, STR("response.queued")))
        lint_begin(lint, root, false);
    else if (str_eq(type, STR("response.output_item.added")))
        lint_item_added(lint, root);
    else if (str_eq(type, STR("response.output_item.done")))
        lint_item_done(lint, root);
    else if (str_eq(type, STR("response.content_part.added")))
        lint_part_added(lint, root, "content_index");
    else if (str_eq(type, STR("response.content_part.done")))
        lint_part_done(lint, root, "content_index");
    else if (str_eq(type, STR("response.reasoning_summary_part.added")))
        lint_part_added(lint, root, "summary_index");
    else if (str_eq(type, STR("response.reasoning_summary_part.done")))
        lint_part_done(lint, root, "summary_index");
    else if (str_eq(type, STR("response.completed")))
        lint_terminal(lint, root, "completed");
    else if (str_eq(type, STR("response.incomplete")))
        lint_terminal(lint, root, "incomplete");
    else if (str_eq(type, STR("response.failed")))
        lint_terminal(lint, root, "failed");
    else if (str_eq(type, STR("error")))
        lint_error(lint, root);
}

static void lint_sequence(struct openai_responses_lint *lint, yyjson_val *root)
{
    int64_t sequence = -1;
    bool known = json_to_int64(get(root, "sequence_number"), &sequence);

    expect(lint, known && sequence == lint->sequence, "sequence_number is 0, 1, 2 and so on");
    lint->sequence++;
}

static void lint_frame(struct openai_responses_lint *lint, const struct sse_frame *sse)
{
    const struct json_read_options options = {.depth_max = DEPTH_MAX};
    struct error ignored;
    size_t before_data;

    /* The event field says half of it: a frame's first line is where it goes wrong. */
    lint->line = lint->lines + 1;
    lint->lines += sse_count_lines(sse->raw, &before_data);
    if (str_is_null(sse->data))
        return;
    expect(lint, !lint->ended, "nothing comes after the end");
    arena_rewind(&lint->scratch);
    yyjson_val *root = json_read(sse->data, &options, &lint->scratch, &ignored);
    struct str type = get_str(root, "type");
    expect(lint, type.n > 0, "each frame is a JSON object with a type");
    expect(lint, str_eq(type, sse->event), "the event field is the type");
    if (lint->broken != NULL)
        return;
    lint_sequence(lint, root);
    lint_event(lint, root, type);
    expect(lint, lint->created || lint->failed, "response.created is first");
}

/* --- whole bodies ------------------------------------------------------------------------- */

static void lint_whole(struct openai_responses_lint *lint)
{
    const struct json_read_options options = {.depth_max = DEPTH_MAX};
    struct error ignored;
    size_t at;
    size_t count;
    yyjson_val *item;

    lint->line = 1;
    yyjson_val *root = json_read(buf_str(&lint->body), &options, &lint->scratch, &ignored);
    expect(lint, yyjson_is_obj(root), "the body is a JSON object");
    if (yyjson_is_obj(get(root, "error")) && get(root, "object") == NULL) {
        expect(lint, !str_is_null(get_str(get(root, "error"), "message")),
               "an error has a message");
        return;
    }
    lint_id(lint, root);
    lint_members(lint, root);
    lint_status(lint, root, NULL);
    lint_usage(lint, get(root, "usage"));
    yyjson_val *output = get(root, "output");
    yyjson_arr_foreach(output, at, count, item) lint_item(lint, item);
}

/* --- the checker -------------------------------------------------------------------------- */

void openai_responses_lint_init(void *state, const struct lint_options *options)
{
    struct openai_responses_lint *lint = state;

    assert(options->arena != NULL);
    lint->arena = options->arena;
    lint->stream = options->stream;
    arena_init(&lint->scratch, BYTES_MAX, SCRATCH, NULL);
    buf_init(&lint->body, BYTES_MAX);
    sse_init(&lint->sse, BYTES_MAX);
}

void openai_responses_lint_fini(void *state)
{
    struct openai_responses_lint *lint = state;

    for (struct openai_responses_lint_item *i = lint->items; i != NULL; i = i->next) {
        buf_fini(&i->text);
        buf_fini(&i->done);
    }
    lint->items = NULL;
    sse_fini(&lint->sse);
    buf_fini(&lint->body);
    arena_fini(&lint->scratch);
}

static void lint_stream(struct openai_responses_lint *lint, struct str bytes, bool end)
{
    struct sse_frame frame;
    struct error e = {.code = OK};

    sse_feed(&lint->sse, bytes);
    while (sse_next(&lint->sse, &frame, &e))
        lint_frame(lint, &frame);
    expect(lint, e.code == OK, "a frame has a bounded length");
    if (!end)
        return;
    if (sse_end(&lint->sse, &frame)) {
        lint->line = lint->lines + 1;
        expect(lint, false, "each frame ends with an empty line");
        lint_frame(lint, &frame);
    }
    lint->line = lint->lines + 1;
    expect(lint, lint->ended, "the stream ends with a terminal event");
}

enum error_code openai_responses_lint_bytes(void *state, struct str bytes, bool end,
                                            struct error *e)
{
    struct openai_responses_lint *lint = state;

    if (lint->broken == NULL && lint->stream) {
        lint_stream(lint, bytes, end);
    } else if (lint->broken == NULL) {
        expect(lint, buf_add(&lint->body, bytes), "a body has a bounded length");
        if (end)
            lint_whole(lint);
    }
    if (lint->broken == NULL)
        return OK;
    return FAIL(e, ERR_INTERNAL, "line %zu: %s", lint->broken_line, lint->broken);
}
