/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: an upstream's answer as events.
 *
 * What      Events of a stream, or a whole response, become events of canon.
 * How       The key of an item is its output_index, of its parts content_index or summary_index:
 *           ids change from event to event with some vendors (openai-responses.md, 8.3). A block
 *           begins with the first text. Whatever was not streamed is taken from what says it whole
 *           (….done, the item's done, the terminal response), so that a stream with nothing but its
 *           end works like one with all deltas, and a whole body is such an end.
 *
 *             message    a block for each part        function, custom   one block
 *             reasoning  one block; encrypted_content of the item's done is its SIGNATURE. Without
 *                        text: REDACTED
 *             others     VENDOR, or MEDIA, when they are done
 *
 * Owns      Nothing: items lie in the answer's arena.
 * Not here  Framing and completion: protocol/decode.c.
 */
#include "protocol/openai_responses_priv.h"

#include "text/utf8.h"

static struct openai_responses_decoder *self_of(struct decode *base)
{
    return (struct openai_responses_decoder *)base;
}

/* --- small readers ------------------------------------------------------------------------ */

static struct str get_str(yyjson_val *object, const char *key)
{
    return json_get_str(object, str_c(key));
}

/* In the answer's arena. */
static struct str keep_str(struct openai_responses_decoder *d, yyjson_val *object, const char *key)
{
    struct str text = get_str(object, key);

    if (text.n == 0)
        return STR_NULL;
    return str_copy(d->base.options.arena, utf8_repair(text, d->base.options.scratch));
}

static uint32_t get_index(yyjson_val *object, const char *key, uint32_t otherwise)
{
    int64_t value;

    if (!json_to_int64(json_get(object, str_c(key)), &value) || value < 0 || value >= INT32_MAX)
        return otherwise;
    return (uint32_t)value;
}

/* --- blocks ------------------------------------------------------------------------------- */

static void begin_answer(struct openai_responses_decoder *d, yyjson_val *response)
{
    int64_t created;

    if (d->started)
        return;
    d->started = true;
    struct event *start = decode_event(&d->base, EVENT_START, 0, EVENT_NO_BLOCK);
    start->start.id = utf8_repair(get_str(response, "id"), d->base.options.scratch);
    start->start.model = utf8_repair(get_str(response, "model"), d->base.options.scratch);
    if (json_to_int64(json_get(response, STR("created_at")), &created) && created > 0)
        start->start.created_s = created;
}

static struct event *begin_block(struct openai_responses_decoder *d, enum block_kind kind,
                                 uint32_t index)
{
    begin_answer(d, NULL);
    if (d->blocks >= OPENAI_RESPONSES_BLOCKS_MAX)
        d->base.too_many = true;
    struct event *event = decode_event(&d->base, EVENT_BLOCK_BEGIN, 0, d->blocks++);
    event->begin.kind = kind;
    event->begin.index = index;
    return event;
}

static void end_block(struct openai_responses_decoder *d, uint32_t block)
{
    (void)decode_event(&d->base, EVENT_BLOCK_END, 0, block);
}

/* --- items -------------------------------------------------------------------------------- */

static enum openai_responses_kind kind_of(struct str type)
{
    if (str_eq(type, STR("message")))
        return OPENAI_RESPONSES_MESSAGE;
    if (str_eq(type, STR("reasoning")))
        return OPENAI_RESPONSES_REASONING;
    if (str_eq(type, STR("function_call")))
        return OPENAI_RESPONSES_FUNCTION;
    if (str_eq(type, STR("custom_tool_call")))
        return OPENAI_RESPONSES_CUSTOM;
    return OPENAI_RESPONSES_OTHER;
}

static struct openai_responses_item *find_item(const struct openai_responses_decoder *d,
                                               uint32_t index)
{
    struct openai_responses_item *item = d->items;

    while (item != NULL && item->index != index)
        item = item->next;
    return item;
}

/* NULL: the arena is full, or there are too many: the frame fails. */
static struct openai_responses_item *add_item(struct openai_responses_decoder *d, uint32_t index,
                                              enum openai_responses_kind kind)
{
    struct openai_responses_item *item = ARENA_NEW(d->base.options.arena,
                                                   struct openai_responses_item);

    /* Bounded like the blocks: each is looked for. */
    d->base.too_many = d->base.too_many || d->items_n >= OPENAI_RESPONSES_BLOCKS_MAX;
    if (arena_overflowed(d->base.options.arena) || d->base.too_many)
        return NULL;
    d->items_n++;
    item->next = d->items;
    item->index = index;
    item->kind = kind;
    item->block = EVENT_NO_BLOCK;
    d->items = item;
    return item;
}

/* The item that an event is of: by its output_index, else the last one. One that was not announced
 * begins with its first event. NULL: of another kind, or no memory. */
static struct openai_responses_item *item_of(struct openai_responses_decoder *d, yyjson_val *root,
                                             enum openai_responses_kind kind)
{
    uint32_t last = d->items != NULL ? d->items->index : 0;
    uint32_t index = get_index(root, "output_index", last);
    struct openai_responses_item *item = find_item(d, index);

    if (item == NULL)
        item = add_item(d, index, kind);
    return item != NULL && item->kind == kind && !item->done ? item : NULL;
}

/* --- messages ----------------------------------------------------------------------------- */

static struct openai_responses_part *part_of(struct openai_responses_decoder *d,
                                             struct openai_responses_item *item, uint32_t index)
{
    struct openai_responses_part *part = item->parts;

    while (part != NULL && part->index != index)
        part = part->next;
    if (part != NULL)
        return part;
    part = ARENA_NEW(d->base.options.arena, struct openai_responses_part);
    d->base.too_many = d->base.too_many || d->parts_n >= OPENAI_RESPONSES_BLOCKS_MAX;
    if (arena_overflowed(d->base.options.arena) || d->base.too_many)
        return NULL;
    d->parts_n++;
    part->next = item->parts;
    part->index = index;
    part->block = EVENT_NO_BLOCK;
    item->parts = part;
    return part;
}

/* Whether there is a place for more: the part's block is open, or could be begun. */
static bool open_part(struct openai_responses_decoder *d, struct openai_responses_item *item,
                      struct openai_responses_part *part, enum block_kind kind)
{
    if (part->block != EVENT_NO_BLOCK)
        return part->open;
    struct event *begin = begin_block(d, kind, item->index);
    begin->begin.name = STR_NULL;
    part->block = begin->block;
    part->open = true;
    part->refusal = kind == BLOCK_REFUSAL;
    return true;
}

static void say_part(struct openai_responses_decoder *d, struct openai_responses_item *item,
                     struct openai_responses_part *part, enum block_kind kind, struct str text)
{
    if (text.n == 0 || part == NULL || !open_part(d, item, part, kind))
        return;
    decode_text(&d->base, EVENT_TEXT, 0, part->block, text);
    part->said = true;
}

/* {"type":"url_citation","url":…} as Chat Completions nests it; others as they are. */
static struct str citation_text(struct openai_responses_decoder *d, yyjson_val *annotation)
{
    struct arena *scratch = d->base.options.scratch;
    struct str json = json_text(annotation, scratch);
    struct str title = get_str(annotation, "title");
    struct buf out;

    if (!str_eq(get_str(annotation, "type"), STR("url_citation")))
        return json;
    buf_init(&out, json.n * 2 + 256);
    buf_add(&out, STR("{\"type\":\"url_citation\",\"url_citation\":{"));
    openai_responses_add_string(&out, "url", get_str(annotation, "url"));
    openai_responses_add_string(&out, "title", str_is_null(title) ? STR("") : title);
    static const char *const numbers[] = {"start_index", "end_index"};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct str token = json_number_token(json_get(annotation, str_c(numbers[i])));
        if (token.n == 0)
            continue;
        openai_responses_add_key(&out, numbers[i]);
        buf_add(&out, token);
    }
    buf_add(&out, STR("}}"));
    json = str_copy(scratch, buf_str(&out));
    buf_fini(&out);
    return json;
}

static void say_citation(struct openai_responses_decoder *d, struct openai_responses_item *item,
                         struct openai_responses_part *part, yyjson_val *annotation)
{
    if (part == NULL || !yyjson_is_obj(annotation) || !open_part(d, item, part, BLOCK_TEXT) ||
        part->refusal)
        return;
    decode_text(&d->base, EVENT_CITATION, 0, part->block, citation_text(d, annotation));
    part->citations++;
}

static void say_logprobs(struct openai_responses_decoder *d, struct openai_responses_part *part,
                         yyjson_val *list)
{
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0 || part == NULL || !part->open ||
        part->refusal)
        return;
    struct str json = json_text(list, d->base.options.scratch);
    struct str whole = str_print(d->base.options.scratch, "{\"content\":%.*s}", STR_ARG(json));
    decode_text(&d->base, EVENT_LOGPROBS, 0, part->block, whole);
    part->logprobs_said = true;
}

/* A part as it is in the end: says what was not said. */
static void finish_part(struct openai_responses_decoder *d, struct openai_responses_item *item,
                        uint32_t index, yyjson_val *whole)
{
    bool refusal = str_eq(get_str(whole, "type"), STR("refusal"));
    struct openai_responses_part *part = part_of(d, item, index);
    yyjson_val *annotations = json_get(whole, STR("annotations"));
    size_t at;
    size_t count;
    yyjson_val *annotation;

    if (part == NULL)
        return;
    if (!part->said)
        say_part(d, item, part, refusal ? BLOCK_REFUSAL : BLOCK_TEXT,
                 get_str(whole, refusal ? "refusal" : "text"));
    if (!refusal && !part->logprobs_said)
        say_logprobs(d, part, json_get(whole, STR("logprobs")));
    uint32_t said = part->citations;
    yyjson_arr_foreach(annotations, at, count, annotation)
    {
        if (at >= said)
            say_citation(d, item, part, annotation);
    }
    if (part->open)
        end_block(d, part->block);
    part->open = false;
}

static void read_text_delta(struct openai_responses_decoder *d, yyjson_val *root, bool refusal)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_MESSAGE);

    if (item == NULL)
        return;
    struct openai_responses_part *part = part_of(d, item, get_index(root, "content_index", 0));
    say_part(d, item, part, refusal ? BLOCK_REFUSAL : BLOCK_TEXT, get_str(root, "delta"));
    if (!refusal)
        say_logprobs(d, part, json_get(root, STR("logprobs")));
}

/* output_text.done, refusal.done: the part may still get annotations. */
static void read_text_done(struct openai_responses_decoder *d, yyjson_val *root, bool refusal)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_MESSAGE);

    if (item == NULL)
        return;
    struct openai_responses_part *part = part_of(d, item, get_index(root, "content_index", 0));
    if (part != NULL && !part->said)
        say_part(d, item, part, refusal ? BLOCK_REFUSAL : BLOCK_TEXT,
                 get_str(root, refusal ? "refusal" : "text"));
}

static void read_annotation(struct openai_responses_decoder *d, yyjson_val *root)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_MESSAGE);

    if (item != NULL)
        say_citation(d, item, part_of(d, item, get_index(root, "content_index", 0)),
                     json_get(root, STR("annotation")));
}

/* content_part.done; of reasoning too, which says nothing new. */
static void read_part_done(struct openai_responses_decoder *d, yyjson_val *root)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_MESSAGE);

    if (item != NULL)
        finish_part(d, item, get_index(root, "content_index", 0), json_get(root, STR("part")));
}

static void finish_message(struct openai_responses_decoder *d, struct openai_responses_item *item,
                           yyjson_val *whole)
{
    yyjson_val *content = json_get(whole, STR("content"));
    size_t at;
    size_t count;
    yyjson_val *part;

    yyjson_arr_foreach(content, at, count, part)
    {
        if (!d->base.too_many)
            finish_part(d, item, (uint32_t)at, part);
    }
    for (struct openai_responses_part *open = item->parts; open != NULL; open = open->next) {
        if (open->open)
            end_block(d, open->block);
        open->open = false;
    }
}

/* --- reasoning ---------------------------------------------------------------------------- */

static void say_reasoning(struct openai_responses_decoder *d, struct openai_responses_item *item,
                          uint32_t part, bool from_text, struct str text)
{
    if (text.n == 0 || (item->said && item->from_text != from_text))
        return;
    if (item->block == EVENT_NO_BLOCK) {
        struct event *begin = begin_block(d, BLOCK_REASONING, item->index);
        begin->begin.id = item->id;
        item->block = begin->block;
    } else if (item->part != part) {
        decode_text(&d->base, EVENT_REASONING, 0, item->block, STR("\n\n"));
    }
    decode_text(&d->base, EVENT_REASONING, 0, item->block, text);
    item->said = true;
    item->from_text = from_text;
    item->part = part;
}

static void read_reasoning_delta(struct openai_responses_decoder *d, yyjson_val *root,
                                 bool from_text)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_REASONING);

    if (item != NULL)
        say_reasoning(d, item, get_index(root, from_text ? "content_index" : "summary_index", 0),
                      from_text, get_str(root, "delta"));
}

/* Whether the part was said already: they come in order. */
static bool part_said(const struct openai_responses_item *item, uint32_t part)
{
    return item->said && part <= item->part;
}

static void read_reasoning_done(struct openai_responses_decoder *d, yyjson_val *root,
                                bool from_text)
{
    struct openai_responses_item *item = item_of(d, root, OPENAI_RESPONSES_REASONING);
    uint32_t part = get_index(root, from_text ? "content_index" : "summary_index", 0);

    if (item != NULL && !part_said(item, part))
        say_reasoning(d, item, part, from_text, get_str(root, "text"));
}

static void finish_texts(struct openai_responses_decoder *d, struct openai_responses_item *item,
                         yyjson_val *list, bool from_text)
{
    size_t at;
    size_t count;
    yyjson_val *part;

    yyjson_arr_foreach(list, at, count, part)
    {
        if (!part_said(item, (uint32_t)at))
            say_reasoning(d, item, (uint32_t)at, from_text, get_str(part, "text"));
    }
}

static void finish_reasoning(struct openai_responses_decoder *d, struct openai_responses_item *item,
                             yyjson_val *whole)
{
    struct str encrypted = get_str(whole, "encrypted_content");

    if (!item->said || !item->from_text)
        finish_texts(d, item, json_get(whole, STR("summary")), false);
    if (!item->said || item->from_text)
        finish_texts(d, item, json_get(whole, STR("content")), true);
    if (item->block == EVENT_NO_BLOCK && encrypted.n > 0) {
        struct event *begin = begin_block(d, BLOCK_REDACTED, item->index);
        begin->begin.id = item->id;
        item->block = begin->block;
    }
    if (item->block == EVENT_NO_BLOCK)
        return;
    decode_text(&d->base, EVENT_SIGNATURE, 0, item->block, encrypted);
    end_block(d, item->block);
}

/* --- calls -------------------------------------------------------------------------------- */

/* Begins when the name is known. */
static void begin_call(struct openai_responses_decoder *d, struct openai_responses_item *item,
                       yyjson_val *whole)
{
    struct str name = get_str(whole, "name");
    struct str space = get_str(whole, "namespace");

    if (item->block != EVENT_NO_BLOCK || name.n == 0)
        return;
    struct arena *scratch = d->base.options.scratch;
    struct event *begin = begin_block(d, BLOCK_TOOL, item->index);
    item->call_id = keep_str(d, whole, "call_id");
    if (str_is_null(item->call_id))
        item->call_id = keep_str(d, whole, "id");
    if (str_is_null(item->call_id))
        item->call_id = str_print(d->base.options.arena, "call_%u", item->index);
    begin->begin.id = item->call_id;
    begin->begin.name = utf8_repair(name, scratch);
    begin->begin.space = space.n > 0 ? utf8_repair(space, scratch) : STR_NULL;
    begin->begin.custom = item->kind == OPENAI_RESPONSES_CUSTOM;
    item->block = begin->block;
    d->calls = true;
}

static void say_arguments(struct openai_responses_decoder *d, struct openai_responses_item *item,
                          struct str text)
{
    if (text.n == 0 || item->block == EVENT_NO_BLOCK)
        return;
    decode_text(&d->base, EVENT_TOOL_ARGS, 0, item->block, text);
    item->said = true;
}

static void read_arguments_delta(struct openai_responses_decoder *d, yyjson_val *root,
                                 enum openai_responses_kind kind)
{
    struct openai_responses_item *item = item_of(d, root, kind);

    if (item != NULL)
        say_arguments(d, item, get_str(root, "delta"));
}

static void read_arguments_done(struct openai_responses_decoder *d, yyjson_val *root,
                                enum openai_responses_kind kind)
{
    bool custom = kind == OPENAI_RESPONSES_CUSTOM;
    struct openai_responses_item *item = item_of(d, root, kind);

    if (item != NULL && !item->said)
        say_arguments(d, item, get_str(root, custom ? "input" : "arguments"));
}

static void finish_call(struct openai_responses_decoder *d, struct openai_responses_item *item,
                        yyjson_val *whole)
{
    bool custom = item->kind == OPENAI_RESPONSES_CUSTOM;

    begin_call(d, item, whole);
    if (!item->said)
        say_arguments(d, item, get_str(whole, custom ? "input" : "arguments"));
    if (item->block != EVENT_NO_BLOCK)
        end_block(d, item->block);
}

/* --- what the vendor runs ----------------------------------------------------------------- */

static void finish_other(struct openai_responses_decoder *d, struct openai_responses_item *item,
                         yyjson_val *whole)
{
    struct arena *scratch = d->base.options.scratch;
    struct str type = get_str(whole, "type");
    struct str image = get_str(whole, "result");
    bool is_image = str_eq(type, STR("image_generation_call")) && image.n > 0;
    struct event *begin = begin_block(d, is_image ? BLOCK_MEDIA : BLOCK_VENDOR, item->index);
    uint32_t block = begin->block;

    begin->begin.name = utf8_repair(type, scratch);
    if (is_image) {
        struct str format = get_str(whole, "output_format");
        struct str json = json_quote(image, scratch);
        decode_text(&d->base, EVENT_TEXT, 0, block,
                    str_print(scratch, "{\"media_type\":\"image/%s\",\"data\":%.*s}",
                              str_eq(format, STR("webp"))   ? "webp"
                              : str_eq(format, STR("jpeg")) ? "jpeg"
                                                            : "png",
                              STR_ARG(json)));
    } else {
        decode_text(&d->base, EVENT_TEXT, 0, block, json_text(whole, scratch));
    }
    end_block(d, block);
}

/* --- items, begun and done ---------------------------------------------------------------- */

static void read_item_added(struct openai_responses_decoder *d, yyjson_val *root)
{
    yyjson_val *whole = json_get(root, STR("item"));
    uint32_t index = get_index(root, "output_index", d->items == NULL ? 0 : d->items->index + 1);

    if (!yyjson_is_obj(whole))
        return;
    /* Some give all items one number: where the last one is done, this is another. */
    struct openai_responses_item *item = find_item(d, index);
    if (item != NULL && !item->done)
        return;
    item = add_item(d, index, kind_of(get_str(whole, "type")));
    if (item == NULL)
        return;
    item->id = keep_str(d, whole, "id");
    if (item->kind == OPENAI_RESPONSES_FUNCTION || item->kind == OPENAI_RESPONSES_CUSTOM)
        begin_call(d, item, whole);
}

/* whole: the item as it is in the end. */
static void finish_item(struct openai_responses_decoder *d, struct openai_responses_item *item,
                        yyjson_val *whole)
{
    if (item->done)
        return;
    item->done = true;
    if (str_is_null(item->id))
        item->id = keep_str(d, whole, "id");
    switch (item->kind) {
    case OPENAI_RESPONSES_MESSAGE:
        finish_message(d, item, whole);
        return;
    case OPENAI_RESPONSES_REASONING:
        finish_reasoning(d, item, whole);
        return;
    case OPENAI_RESPONSES_FUNCTION:
    case OPENAI_RESPONSES_CUSTOM:
        finish_call(d, item, whole);
        return;
    case OPENAI_RESPONSES_OTHER:
        finish_other(d, item, whole);
        return;
    }
    BUG("no such kind of item");
}

static void read_item_done(struct openai_responses_decoder *d, yyjson_val *root)
{
    yyjson_val *whole = json_get(root, STR("item"));
    uint32_t index = get_index(root, "output_index", d->items == NULL ? 0 : d->items->index);
    enum openai_responses_kind kind = kind_of(get_str(whole, "type"));

    if (!yyjson_is_obj(whole))
        return;
    struct openai_responses_item *item = find_item(d, index);
    if (item == NULL)
        item = add_item(d, index, kind);
    if (item != NULL && item->kind == kind)
        finish_item(d, item, whole);
}

/* The at-th item of those that came, where as many came as the output has: those may be numbered
 * with gaps. */
static struct openai_responses_item *nth_item(const struct openai_responses_decoder *d, uint32_t at,
                                              size_t count)
{
    struct openai_responses_item *item = d->items; /* the last one first */

    if (d->items_n != count)
        return NULL;
    for (size_t n = count - 1; n > at && item != NULL; n--)
        item = item->next;
    return item;
}

/* The item that an element of the terminal response's output is: by its place, unless that is of
 * another kind (some leave items out), or by its id, or as one of as many. NULL: it is new. */
static struct openai_responses_item *match_item(const struct openai_responses_decoder *d,
                                                yyjson_val *whole, uint32_t at, size_t count)
{
    enum openai_responses_kind kind = kind_of(get_str(whole, "type"));
    struct openai_responses_item *item = find_item(d, at);
    struct str id = get_str(whole, "id");

    if (item != NULL && item->kind == kind)
        return item;
    for (item = d->items; item != NULL; item = item->next) {
        if (item->kind == kind && id.n > 0 && str_eq(item->id, id))
            return item;
    }
    item = nth_item(d, at, count);
    return item != NULL && item->kind == kind ? item : NULL;
}

static void finish_output(struct openai_responses_decoder *d, yyjson_val *output)
{
    size_t at;
    size_t count;
    yyjson_val *whole;

    yyjson_arr_foreach(output, at, count, whole)
    {
        if (!yyjson_is_obj(whole) || d->base.too_many || arena_overflowed(d->base.options.arena))
            continue;
        struct openai_responses_item *item = match_item(d, whole, (uint32_t)at, count);
        if (item == NULL && find_item(d, (uint32_t)at) != NULL)
            continue;
        if (item == NULL)
            item = add_item(d, (uint32_t)at, kind_of(get_str(whole, "type")));
        if (item == NULL)
            return;
        if (item->done && item->kind == OPENAI_RESPONSES_MESSAGE)
            finish_message(d, item, whole); /* a refusal may stand here only */
        else
            finish_item(d, item, whole);
    }
}

/* --- the end ------------------------------------------------------------------------------ */

static int64_t count_of(yyjson_val *object, const char *key)
{
    int64_t value;

    return json_to_int64(json_get(object, str_c(key)), &value) && value >= 0 ? value : -1;
}

static void read_usage(struct openai_responses_decoder *d, yyjson_val *usage)
{
    if (!yyjson_is_obj(usage))
        return;
    yyjson_val *input = json_get(usage, STR("input_tokens_details"));
    yyjson_val *output = json_get(usage, STR("output_tokens_details"));
    struct usage *to = &decode_event(&d->base, EVENT_USAGE, 0, EVENT_NO_BLOCK)->usage;
    to->input = count_of(usage, "input_tokens");
    to->output = count_of(usage, "output_tokens");
    to->total = count_of(usage, "total_tokens");
    to->cached = count_of(input, "cached_tokens");
    to->cache_written = count_of(input, "cache_write_tokens");
    to->reasoning = count_of(output, "reasoning_tokens");
    if (to->input >= 0 && to->cached > to->input)
        to->cached = to->input;
}

static void read_error(struct openai_responses_decoder *d, yyjson_val *root)
{
    yyjson_val *inner = json_get(root, STR("error"));
    yyjson_val *fields = yyjson_is_obj(inner) ? inner : root;
    struct event *event = &d->error;
    struct str message = keep_str(d, fields, "message");
    int64_t status;

    if (d->failed)
        return;
    *event = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
    if (message.n == 0 && yyjson_is_str(inner))
        message = keep_str(d, root, "error");
    event->error.message = message.n > 0 ? message : STR("the response failed");
    event->error.code = keep_str(d, fields, "code");
    /* Of a flat error it is the event's. */
    if (fields != root)
        event->error.type = keep_str(d, fields, "type");
    event->error.status = openai_responses_status_of(event->error.code);
    if (event->error.status == 0)
        event->error.status = openai_responses_status_of(event->error.type);
    if (json_to_int64(json_get(fields, STR("code")), &status) && status >= 400 && status <= 599)
        event->error.status = (int)status;
    d->failed = true;
}

/* The answer ends with the error that was read. */
static void say_error(struct openai_responses_decoder *d)
{
    *decode_event(&d->base, EVENT_ERROR, 0, EVENT_NO_BLOCK) = d->error;
    d->base.over = true;
}

/* Within a response response.failed follows, and belongs to it: the answer ends with that. */
static void read_error_event(struct openai_responses_decoder *d, yyjson_val *root)
{
    read_error(d, root);
    if (!d->started)
        say_error(d);
}

/* Every block that is open ends. */
static void close_all(struct openai_responses_decoder *d)
{
    for (struct openai_responses_item *item = d->items; item != NULL; item = item->next) {
        if (item->done)
            continue;
        item->done = true;
        if (item->kind == OPENAI_RESPONSES_MESSAGE)
            finish_message(d, item, NULL);
        else if (item->block != EVENT_NO_BLOCK)
            end_block(d, item->block);
    }
}

/* cut: the event says that it is not complete, whatever the response does. */
static void stop(struct openai_responses_decoder *d, yyjson_val *response, bool cut)
{
    struct str reason = get_str(json_get(response, STR("incomplete_details")), "reason");
    struct str status = get_str(response, "status");

    begin_answer(d, response);
    struct event *event = decode_event(&d->base, EVENT_STOP, 0, EVENT_NO_BLOCK);
    event->stop.native = reason.n > 0 ? utf8_repair(reason, d->base.options.scratch) : STR_NULL;
    event->stop.reason = d->calls ? STOP_TOOL : STOP_END;
    if (str_eq(reason, STR("content_filter")))
        event->stop.reason = STOP_FILTER;
    else if (reason.n > 0 || cut || str_eq(status, STR("incomplete")))
        event->stop.reason = STOP_LENGTH;
    else if (str_eq(status, STR("queued")) || str_eq(status, STR("in_progress")) ||
             str_eq(status, STR("cancelled")))
        event->stop.reason = STOP_OTHER;
    if (event->stop.reason == STOP_OTHER)
        event->stop.native = utf8_repair(status, d->base.options.scratch);
    d->stopped = true;
}

/* A response as it is in the end: a terminal event's, or a whole body. */
static void finish_answer(struct openai_responses_decoder *d, yyjson_val *response, bool cut)
{
    begin_answer(d, response);
    finish_output(d, json_get(response, STR("output")));
    close_all(d);
    read_usage(d, json_get(response, STR("usage")));
    stop(d, response, cut);
}

/* type: the event's, null of a whole body. An error that came before stays one. */
static void read_terminal(struct openai_responses_decoder *d, yyjson_val *response, struct str type)
{
    struct str status = get_str(response, "status");

    if (d->failed || str_eq(status, STR("failed")) || str_eq(type, STR("response.failed")) ||
        yyjson_is_obj(json_get(response, STR("error")))) {
        begin_answer(d, response);
        read_usage(d, json_get(response, STR("usage")));
        read_error(d, response);
        say_error(d);
        return;
    }
    finish_answer(d, response, str_eq(type, STR("response.incomplete")));
    d->base.terminated = d->base.options.stream;
}

/* --- events of a stream ------------------------------------------------------------------- */

enum word {
    WORD_NONE,
    WORD_BEGIN,
    WORD_ITEM_ADDED,
    WORD_ITEM_DONE,
    WORD_PART_DONE,
    WORD_TEXT_DELTA,
    WORD_TEXT_DONE,
    WORD_ANNOTATION,
    WORD_REFUSAL_DELTA,
    WORD_REFUSAL_DONE,
    WORD_ARGUMENTS_DELTA,
    WORD_ARGUMENTS_DONE,
    WORD_INPUT_DELTA,
    WORD_INPUT_DONE,
    WORD_SUMMARY_DELTA,
    WORD_SUMMARY_DONE,
    WORD_REASONING_DELTA,
    WORD_REASONING_DONE,
    WORD_TERMINAL,
    WORD_ERROR,
    WORD_KEEPALIVE
};

static enum word word_of(struct str type)
{
    static const struct {
        struct str type;
        enum word word;
    } words[] = {
        {STR_INIT("response.output_text.delta"), WORD_TEXT_DELTA},
        {STR_INIT("response.function_call_arguments.delta"), WORD_ARGUMENTS_DELTA},
        {STR_INIT("response.reasoning_summary_text.delta"), WORD_SUMMARY_DELTA},
        {STR_INIT("response.reasoning_text.delta"), WORD_REASONING_DELTA},
        {STR_INIT("response.custom_tool_call_input.delta"), WORD_INPUT_DELTA},
        {STR_INIT("response.created"), WORD_BEGIN},
        {STR_INIT("response.queued"), WORD_BEGIN},
        {STR_INIT("response.in_progress"), WORD_BEGIN},
        {STR_INIT("response.output_item.added"), WORD_ITEM_ADDED},
        {STR_INIT("response.output_item.done"), WORD_ITEM_DONE},
        {STR_INIT("response.content_part.done"), WORD_PART_DONE},
        {STR_INIT("response.output_text.done"), WORD_TEXT_DONE},
        {STR_INIT("response.output_text.annotation.added"), WORD_ANNOTATION},
        {STR_INIT("response.refusal.delta"), WORD_REFUSAL_DELTA},
        {STR_INIT("response.refusal.done"), WORD_REFUSAL_DONE},
        {STR_INIT("response.function_call_arguments.done"), WORD_ARGUMENTS_DONE},
        {STR_INIT("response.custom_tool_call_input.done"), WORD_INPUT_DONE},
        {STR_INIT("response.reasoning_summary_text.done"), WORD_SUMMARY_DONE},
        {STR_INIT("response.reasoning_text.done"), WORD_REASONING_DONE},
        {STR_INIT("response.completed"), WORD_TERMINAL},
        {STR_INIT("response.incomplete"), WORD_TERMINAL},
        {STR_INIT("response.failed"), WORD_TERMINAL},
        {STR_INIT("response.cancelled"), WORD_TERMINAL},
        {STR_INIT("error"), WORD_ERROR},
        {STR_INIT("keepalive"), WORD_KEEPALIVE},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(type, words[i].type))
            return words[i].word;
    }
    return WORD_NONE;
}

/* What texts say. */
static void read_text_word(struct openai_responses_decoder *d, enum word word, yyjson_val *root)
{
    if (word == WORD_TEXT_DELTA || word == WORD_REFUSAL_DELTA)
        read_text_delta(d, root, word == WORD_REFUSAL_DELTA);
    else if (word == WORD_TEXT_DONE || word == WORD_REFUSAL_DONE)
        read_text_done(d, root, word == WORD_REFUSAL_DONE);
    else if (word == WORD_ARGUMENTS_DELTA)
        read_arguments_delta(d, root, OPENAI_RESPONSES_FUNCTION);
    else if (word == WORD_ARGUMENTS_DONE)
        read_arguments_done(d, root, OPENAI_RESPONSES_FUNCTION);
    else if (word == WORD_INPUT_DELTA)
        read_arguments_delta(d, root, OPENAI_RESPONSES_CUSTOM);
    else if (word == WORD_INPUT_DONE)
        read_arguments_done(d, root, OPENAI_RESPONSES_CUSTOM);
    else if (word == WORD_SUMMARY_DELTA || word == WORD_REASONING_DELTA)
        read_reasoning_delta(d, root, word == WORD_REASONING_DELTA);
    else if (word == WORD_SUMMARY_DONE || word == WORD_REASONING_DONE)
        read_reasoning_done(d, root, word == WORD_REASONING_DONE);
}

static void read_event(struct openai_responses_decoder *d, yyjson_val *root, struct str event)
{
    struct str type = get_str(root, "type");
    enum word word = word_of(type.n > 0 ? type : event);
    yyjson_val *response = json_get(root, STR("response"));

    /* Some say an error without any type, or with one of its own. */
    if (word == WORD_NONE &&
        (str_eq(event, STR("error")) || yyjson_is_obj(json_get(root, STR("error")))))
        word = WORD_ERROR;
    if (word == WORD_BEGIN)
        begin_answer(d, response);
    else if (word == WORD_ITEM_ADDED)
        read_item_added(d, root);
    else if (word == WORD_ITEM_DONE)
        read_item_done(d, root);
    else if (word == WORD_PART_DONE)
        read_part_done(d, root);
    else if (word == WORD_ANNOTATION)
        read_annotation(d, root);
    else if (word == WORD_TERMINAL)
        read_terminal(d, response, type.n > 0 ? type : event);
    else if (word == WORD_ERROR)
        read_error_event(d, root);
    else if (word == WORD_KEEPALIVE)
        (void)decode_event(&d->base, EVENT_KEEPALIVE, 0, EVENT_NO_BLOCK);
    else
        read_text_word(d, word, root);
}

/* --- the decoder -------------------------------------------------------------------------- */

static void read_root(struct decode *base, yyjson_val *root, struct str event, struct frame *frame)
{
    struct openai_responses_decoder *d = self_of(base);

    if (base->options.stream) {
        read_event(d, root, event);
        frame->error = d->failed;
    } else if (yyjson_is_arr(json_get(root, STR("output"))))
        read_terminal(d, root, STR_NULL);
    else if (json_get(root, STR("error")) != NULL)
        read_error_event(d, root);
}

/* Some servers end with what ends a stream of Chat Completions. */
static bool read_other(struct decode *base, struct str data, struct frame *frame)
{
    struct openai_responses_decoder *d = self_of(base);

    (void)frame;
    if (!d->started || !str_eq(str_trim(data), STR("[DONE]")))
        return false;
    if (d->failed) {
        say_error(d);
        return true;
    }
    close_all(d);
    stop(d, NULL, false);
    return true;
}

static const char *check_whole(struct decode *base, yyjson_val *root)
{
    (void)root;
    return self_of(base)->stopped ? NULL : "a response";
}

static bool complete(const struct decode *base)
{
    const struct openai_responses_decoder *d = (const struct openai_responses_decoder *)base;

    return d->stopped || d->failed;
}

/* An error that nothing followed. */
static void finish(struct decode *base)
{
    struct openai_responses_decoder *d = self_of(base);

    if (d->failed && !base->over)
        say_error(d);
}

static bool match(struct decode *base, struct str data)
{
    struct openai_responses_decoder *d = self_of(base);

    return d->template.holes > 0 && openai_responses_template_match(d, data);
}

static void learn(struct decode *base, struct str data)
{
    openai_responses_template_learn(self_of(base), data);
}

void openai_responses_decode_init(void *decoder, const struct decoder_options *options)
{
    static const struct decode_ops ops = {
        .read = read_root,
        .quick = match,
        .learn = learn,
        .read_other = read_other,
        .check_whole = check_whole,
        .complete = complete,
        .finish = finish,
    };
    struct openai_responses_decoder *d = decoder;

    decode_init(&d->base, &ops, options);
}

enum error_code openai_responses_decode_bytes(void *decoder, struct str bytes, bool end,
                                              struct error *e)
{
    struct openai_responses_decoder *d = decoder;

    return decode_bytes(&d->base, bytes, end, e);
}

void openai_responses_decode_fini(void *decoder)
{
    struct openai_responses_decoder *d = decoder;

    decode_fini(&d->base);
}
