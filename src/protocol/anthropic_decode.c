/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: an upstream's answer as events.
 *
 * What      The events of its stream, or a whole message, as ours (framing: protocol/decode.h).
 * How       A block of the upstream's has an index of its own; ours are numbered in order of their
 *           begin. Upstreams that only look like Anthropic leave out starts and stops, and say
 *           counts late: what is missing is made up, later counts overwrite earlier ones
 *           (anthropic-messages.md, 7.3).
 *           Two things wait for the end of their block: citations, as they name the end of what
 *           they are about, and blocks that are no other protocol's, as their input comes in
 *           pieces.
 *           Complete is an answer with an error, a stop_reason or message_stop.
 * Owns      Nothing: blocks lie in the answer's arena.
 * Not here  Whether the client gets raw or new bytes: anthropic_encode.c.
 */
#include "protocol/anthropic_priv.h"

#include "text/utf8.h"

static struct anthropic_decoder *of(struct decode *d)
{
    return (struct anthropic_decoder *)(void *)d;
}

static struct str valid(struct anthropic_decoder *d, struct str text)
{
    return utf8_repair(text, d->base.options.scratch);
}

static struct str keep(struct anthropic_decoder *d, struct str text)
{
    return str_copy(d->base.options.arena, utf8_repair(text, d->base.options.scratch));
}

/* --- what the answer is ------------------------------------------------------------------- */

/* Theirs leaves out what the cache gave and took; sums must not pass what can be counted. */
static struct event usage_event(const struct anthropic_decoder *d)
{
    const int64_t limit = INT64_MAX / 8;
    int64_t read = d->cache_read > 0 ? d->cache_read : 0;
    int64_t written = d->cache_written > 0 ? d->cache_written : 0;
    struct event event = {.kind = EVENT_USAGE, .block = EVENT_NO_BLOCK};
    struct usage *u = &event.usage;

    *u = (struct usage){-1, d->output, -1, d->cache_read, d->cache_written, d->thinking};
    if (d->input >= 0 && d->input < limit && read < limit && written < limit)
        u->input = d->input + read + written;
    if (u->input >= 0 && u->output >= 0 && u->output < limit)
        u->total = u->input + u->output;
    return event;
}

static void read_usage(struct anthropic_decoder *d, yyjson_val *usage)
{
    struct {
        const char *key;
        int64_t *to;
    } fields[] = {
        {"input_tokens", &d->input},
        {"cache_read_input_tokens", &d->cache_read},
        {"cache_creation_input_tokens", &d->cache_written},
        {"output_tokens", &d->output},
    };
    int64_t value;

    if (!yyjson_is_obj(usage))
        return;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (json_to_int64(json_get(usage, str_c(fields[i].key)), &value) && value >= 0)
            *fields[i].to = value;
    }
    yyjson_val *details = json_get(usage, STR("output_tokens_details"));
    if (json_to_int64(json_get(details, STR("thinking_tokens")), &value) && value >= 0)
        d->thinking = value;
    if (d->input < 0 && d->output < 0)
        return;

    *decode_event(&d->base, EVENT_USAGE, 0, EVENT_NO_BLOCK) = usage_event(d);
}

static void start(struct anthropic_decoder *d, yyjson_val *message)
{
    if (d->started)
        return;
    d->started = true;
    struct event *event = decode_event(&d->base, EVENT_START, 0, EVENT_NO_BLOCK);
    event->start.id = valid(d, json_get_str(message, STR("id")));
    event->start.model = valid(d, json_get_str(message, STR("model")));
}

/* --- blocks ------------------------------------------------------------------------------- */

static struct anthropic_block *find_open(struct anthropic_decoder *d, int64_t wire)
{
    for (struct anthropic_block *b = d->blocks; b != NULL; b = b->next) {
        if (b->wire == wire && b->open)
            return b;
    }
    return NULL;
}

/* A citation as others know it, where it is of the web; what only this protocol says stays as it
 * is. text: characters of the answer, [begin, end). */
static struct str citation_of(struct anthropic_decoder *d, struct str text, uint64_t begin)
{
    struct arena *scratch = d->base.options.scratch;
    const char *const kept[] = {"cited_text", "encrypted_index"};
    struct buf out;

    struct str type = json_string_value(json_object_find(text, STR("type")), scratch);
    struct str url = json_object_find(text, STR("url"));
    struct str title = json_object_find(text, STR("title"));
    if (!str_eq(type, STR("web_search_result_location")) || url.n == 0)
        return text;
    buf_init(&out, text.n + 256);
    buf_print(&out, "{\"type\":\"url_citation\",\"url_citation\":{\"url\":%.*s,\"title\":%.*s,",
              STR_ARG(url), STR_ARG(title.n > 1 && title.p[0] == '"' ? title : STR("\"\"")));
    buf_print(&out, "\"start_index\":%llu,\"end_index\":%llu", (unsigned long long)begin,
              (unsigned long long)d->chars);
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        struct str value = json_object_find(text, str_c(kept[i]));
        if (value.n > 1 && value.p[0] == '"')
            buf_print(&out, ",\"%s\":%.*s", kept[i], STR_ARG(value));
    }
    buf_add(&out, STR("}}"));
    struct str citation = buf_ok(&out) ? str_copy(scratch, buf_str(&out)) : text;
    buf_fini(&out);
    return citation;
}

static void end_text(struct anthropic_decoder *d, struct anthropic_block *b)
{
    for (const struct anthropic_text *c = b->citations.first; c != NULL; c = c->next)
        decode_text(&d->base, EVENT_CITATION, 0, b->number, citation_of(d, c->text, b->text_begin));
}

static void end_tool(struct anthropic_decoder *d, struct anthropic_block *b)
{
    if (!b->said && b->start.n > 2)
        decode_text(&d->base, EVENT_TOOL_ARGS, 0, b->number, b->start);
}

/* The block's input as its pieces say; null where they say nothing that is JSON. */
static struct str joined_input(struct anthropic_decoder *d, const struct anthropic_block *b)
{
    const struct json_read_options options = {.depth_max = d->base.options.depth_max,
                                              .allow_invalid_utf8 = true};
    struct arena *scratch = d->base.options.scratch;
    struct error ignored;
    size_t n = 0;

    for (const struct anthropic_text *t = b->input.first; t != NULL; t = t->next)
        n += t->text.n;
    if (n == 0)
        return STR_NULL;
    char *to = arena_alloc(scratch, n);
    if (arena_overflowed(scratch))
        return STR_NULL;
    size_t at = 0;
    for (const struct anthropic_text *t = b->input.first; t != NULL; t = t->next) {
        memcpy(to + at, t->text.p, t->text.n);
        at += t->text.n;
    }
    yyjson_val *root = json_read(str_of(to, n), &options, scratch, &ignored);
    return root == NULL ? STR_NULL : json_text(root, scratch);
}

/* One member of the block, unless a later word of it stands elsewhere. */
static void add_vendor_member(struct buf *out, const struct json_member *m)
{
    if (out->n > 1)
        buf_add_char(out, ',');
    json_add_string(out, m->key);
    buf_add_char(out, ':');
    buf_add(out, m->value);
}

static void end_vendor(struct anthropic_decoder *d, struct anthropic_block *b)
{
    struct arena *scratch = d->base.options.scratch;
    struct str input = joined_input(d, b);
    struct json_member m;
    struct buf out;
    size_t cursor = 0;

    if (input.n == 0 && b->patch.n == 0) {
        decode_text(&d->base, EVENT_TEXT, 0, b->number, b->start);
        return;
    }
    buf_init(&out, 2 * (b->start.n + b->patch.n) + input.n + 64);
    buf_add_char(&out, '{');
    while (json_object_next(b->start, &cursor, scratch, &m)) {
        bool patched = b->patch.n > 0 && !str_eq(m.key, STR("type")) &&
                       !str_is_null(json_object_find(b->patch, m.key));
        if (!patched && (input.n == 0 || !str_eq(m.key, STR("input"))))
            add_vendor_member(&out, &m);
    }
    cursor = 0;
    while (b->patch.n > 0 && json_object_next(b->patch, &cursor, scratch, &m)) {
        if (!str_eq(m.key, STR("type")))
            add_vendor_member(&out, &m);
    }
    m = (struct json_member){.key = STR("input"), .value = input};
    if (input.n > 0)
        add_vendor_member(&out, &m);
    buf_add_char(&out, '}');
    struct str text = buf_ok(&out) ? str_copy(scratch, buf_str(&out)) : b->start;
    buf_fini(&out);
    decode_text(&d->base, EVENT_TEXT, 0, b->number, text);
}

static void end_block(struct anthropic_decoder *d, struct anthropic_block *b)
{
    assert(b->open);
    if (b->kind == BLOCK_TEXT)
        end_text(d, b);
    else if (b->kind == BLOCK_TOOL)
        end_tool(d, b);
    else if (b->kind == BLOCK_VENDOR)
        end_vendor(d, b);
    if (!b->has_sign && b->signature.n > 0 &&
        (b->kind == BLOCK_REASONING || b->kind == BLOCK_REDACTED))
        decode_text(&d->base, EVENT_SIGNATURE, 0, b->number, b->signature);
    (void)decode_event(&d->base, EVENT_BLOCK_END, 0, b->number);
    b->open = false;
}

static void end_all(struct anthropic_decoder *d)
{
    /* The oldest first: what is shown of them was said in that order. */
    for (;;) {
        struct anthropic_block *oldest = NULL;
        for (struct anthropic_block *b = d->blocks; b != NULL; b = b->next) {
            if (b->open)
                oldest = b;
        }
        if (oldest == NULL)
            return;
        end_block(d, oldest);
    }
}

/* source: the block as the upstream says it; NULL: it said none. */
static struct anthropic_block *begin_block(struct anthropic_decoder *d, int64_t wire,
                                           enum block_kind kind, yyjson_val *source)
{
    struct arena *arena = d->base.options.arena;
    struct anthropic_block *b = find_open(d, wire);

    start(d, NULL);
    if (b != NULL)
        end_block(d, b);
    b = ARENA_NEW(arena, struct anthropic_block);
    if (d->blocks_n == ANTHROPIC_BLOCKS_MAX || arena_overflowed(arena)) {
        d->base.too_many |= d->blocks_n == ANTHROPIC_BLOCKS_MAX;
        d->lost = (struct anthropic_block){.wire = wire, .kind = kind, .open = true};
        return &d->lost;
    }
    *b = (struct anthropic_block){
        .next = d->blocks,
        .wire = wire,
        .number = d->blocks_n++,
        .kind = kind,
        .open = true,
        .text_begin = d->chars,
    };
    d->blocks = b;

    struct event *event = decode_event(&d->base, EVENT_BLOCK_BEGIN, 0, b->number);
    event->begin.kind = kind;
    event->begin.index = wire >= 0 && wire < EVENT_NO_INDEX ? (uint32_t)wire : EVENT_NO_INDEX;
    if (kind == BLOCK_TOOL) {
        struct str id = json_get_str(source, STR("id"));
        d->has_tool = true;
        event->begin.id = id.n > 0 ? valid(d, id)
                                   : str_print(d->base.options.scratch, "toolu_%u", b->number);
        event->begin.name = valid(d, json_get_str(source, STR("name")));
    } else if (kind == BLOCK_VENDOR) {
        event->begin.name = valid(d, json_get_str(source, STR("type")));
    }
    return b;
}

/* The open block that a delta of that kind is for. */
static struct anthropic_block *block_for(struct anthropic_decoder *d, int64_t wire,
                                         enum block_kind kind)
{
    struct anthropic_block *b = find_open(d, wire);

    return b != NULL && b->kind == kind ? b : begin_block(d, wire, kind, NULL);
}

static enum block_kind kind_of(struct str type)
{
    static const struct {
        const char *type;
        enum block_kind kind;
    } kinds[] = {
        {"text", BLOCK_TEXT},
        {"tool_use", BLOCK_TOOL},
        {"thinking", BLOCK_REASONING},
        {"redacted_thinking", BLOCK_REDACTED},
    };

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (str_eq(type, str_c(kinds[i].type)))
            return kinds[i].kind;
    }
    return BLOCK_VENDOR;
}

static void count_chars(struct anthropic_decoder *d, struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += (text.p[i] & 0xC0) != 0x80;
    d->chars += n;
}

static void add_text(struct anthropic_decoder *d, const struct anthropic_block *b, struct str text)
{
    count_chars(d, text);
    decode_text(&d->base, EVENT_TEXT, 0, b->number, text);
}

static void add_citations(struct anthropic_decoder *d, struct anthropic_block *b, yyjson_val *list)
{
    size_t at;
    size_t count;
    yyjson_val *citation;

    yyjson_arr_foreach(list, at, count, citation)
    {
        struct str text = keep(d, json_text(citation, d->base.options.scratch));
        anthropic_add_text(&b->citations, text, d->base.options.arena);
    }
}

/* A block with what its start holds already: of a whole message that is all. */
static struct anthropic_block *start_block(struct anthropic_decoder *d, int64_t wire,
                                           yyjson_val *source)
{
    enum block_kind kind = kind_of(json_get_str(source, STR("type")));
    struct anthropic_block *b = begin_block(d, wire, kind, source);

    switch (kind) {
    case BLOCK_TEXT:
        add_citations(d, b, json_get(source, STR("citations")));
        add_text(d, b, json_get_str(source, STR("text")));
        break;
    case BLOCK_REASONING:
        decode_text(&d->base, EVENT_REASONING, 0, b->number, json_get_str(source, STR("thinking")));
        b->signature = keep(d, json_get_str(source, STR("signature")));
        break;
    case BLOCK_REDACTED:
        b->has_sign = true;
        decode_text(&d->base, EVENT_SIGNATURE, 0, b->number, json_get_str(source, STR("data")));
        break;
    case BLOCK_TOOL:
        if (yyjson_obj_size(json_get(source, STR("input"))) > 0)
            b->start = keep(d, json_text(json_get(source, STR("input")), d->base.options.scratch));
        break;
    case BLOCK_VENDOR:
        b->start = keep(d, json_text(source, d->base.options.scratch));
        break;
    case BLOCK_REFUSAL:
    case BLOCK_MEDIA:
    case BLOCK_KIND_COUNT:
        BUG("not a block of this protocol");
    }
    return b;
}

/* --- deltas ------------------------------------------------------------------------------- */

static void read_input_delta(struct anthropic_decoder *d, int64_t wire, yyjson_val *delta)
{
    struct anthropic_block *b = find_open(d, wire);
    struct str piece = json_get_str(delta, STR("partial_json"));

    if (b == NULL || piece.n == 0)
        return;
    if (b->kind == BLOCK_TOOL) {
        b->said = true;
        decode_text(&d->base, EVENT_TOOL_ARGS, 0, b->number, piece);
    } else if (b->kind == BLOCK_VENDOR) {
        anthropic_add_text(&b->input, keep(d, piece), d->base.options.arena);
    }
}

static void read_signature_delta(struct anthropic_decoder *d, int64_t wire, yyjson_val *delta)
{
    struct anthropic_block *b = block_for(d, wire, BLOCK_REASONING);
    struct str signature = json_get_str(delta, STR("signature"));

    if (b->has_sign || signature.n == 0)
        return;
    b->has_sign = true;
    decode_text(&d->base, EVENT_SIGNATURE, 0, b->number, signature);
}

/* Behind a signature, which is of what was said before it, in a block of its own. */
static void add_thought(struct anthropic_decoder *d, int64_t wire, struct str text)
{
    struct anthropic_block *b = block_for(d, wire, BLOCK_REASONING);

    if (b->has_sign)
        b = begin_block(d, wire, BLOCK_REASONING, NULL);
    decode_text(&d->base, EVENT_REASONING, 0, b->number, text);
}

static void read_delta(struct anthropic_decoder *d, int64_t wire, yyjson_val *delta)
{
    struct str type = json_get_str(delta, STR("type"));
    struct anthropic_block *b;

    if (str_eq(type, STR("text_delta"))) {
        struct str text = json_get_str(delta, STR("text"));
        if (text.n > 0)
            add_text(d, block_for(d, wire, BLOCK_TEXT), text);
    } else if (str_eq(type, STR("input_json_delta"))) {
        read_input_delta(d, wire, delta);
    } else if (str_eq(type, STR("thinking_delta"))) {
        struct str text = json_get_str(delta, STR("thinking"));
        if (text.n > 0)
            add_thought(d, wire, text);
    } else if (str_eq(type, STR("signature_delta"))) {
        read_signature_delta(d, wire, delta);
    } else if (str_eq(type, STR("citations_delta"))) {
        yyjson_val *citation = json_get(delta, STR("citation"));
        b = block_for(d, wire, BLOCK_TEXT);
        if (yyjson_is_obj(citation))
            anthropic_add_text(&b->citations, keep(d, json_text(citation, d->base.options.scratch)),
                               d->base.options.arena);
    } else {
        b = find_open(d, wire);
        if (b != NULL && b->kind == BLOCK_VENDOR && yyjson_is_obj(delta))
            b->patch = keep(d, json_text(delta, d->base.options.scratch));
    }
}

/* --- the end ------------------------------------------------------------------------------ */

static enum stop_reason reason_of(const struct anthropic_decoder *d, struct str word)
{
    static const struct {
        const char *word;
        enum stop_reason reason;
    } reasons[] = {
        {"end_turn", STOP_END},
        {"max_tokens", STOP_LENGTH},
        {"stop_sequence", STOP_SEQUENCE},
        {"tool_use", STOP_TOOL},
        {"pause_turn", STOP_PAUSE},
        /* Not the model's words: its vendor's classifiers stopped it. */
        {"refusal", STOP_FILTER},
        {"model_context_window_exceeded", STOP_CONTEXT},
    };
    enum stop_reason reason = word.n == 0 ? STOP_END : STOP_OTHER;

    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        if (str_eq(word, str_c(reasons[i].word)))
            reason = reasons[i].reason;
    }
    /* Some say one where they mean the other (mapping.md, 9). */
    if (reason == STOP_END || reason == STOP_TOOL)
        reason = d->has_tool ? STOP_TOOL : STOP_END;
    return reason;
}

static void stop(struct anthropic_decoder *d, yyjson_val *source)
{
    struct str word = json_get_str(source, STR("stop_reason"));

    if (d->stopped)
        return;
    start(d, NULL);
    end_all(d);
    d->stopped = true;
    struct event *event = decode_event(&d->base, EVENT_STOP, 0, EVENT_NO_BLOCK);
    event->stop.reason = reason_of(d, word);
    event->stop.native = word.n > 0 ? valid(d, word) : STR_NULL;
    event->stop.sequence = STR_NULL;
    if (event->stop.reason == STOP_SEQUENCE) {
        struct str sequence = json_get_str(source, STR("stop_sequence"));
        event->stop.sequence = sequence.n > 0 ? valid(d, sequence) : STR_NULL;
    }
}

static void fail(struct anthropic_decoder *d, yyjson_val *root)
{
    struct arena *scratch = d->base.options.scratch;
    struct event error;

    if (!anthropic_read_error(root, scratch, &error)) {
        error = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
        error.error.message = STR("unknown error");
    }
    *decode_event(&d->base, EVENT_ERROR, 0, EVENT_NO_BLOCK) = error;
    d->base.over = true;
}

/* --- one value ---------------------------------------------------------------------------- */

static void read_message(struct anthropic_decoder *d, yyjson_val *root)
{
    yyjson_val *content = json_get(root, STR("content"));
    size_t at;
    size_t count;
    yyjson_val *block;

    if (!yyjson_is_arr(content)) {
        if (yyjson_is_obj(json_get(root, STR("error"))) ||
            str_eq(json_get_str(root, STR("type")), STR("error")))
            fail(d, root);
        return;
    }
    start(d, root);
    yyjson_arr_foreach(content, at, count, block)
    {
        if (yyjson_is_obj(block) && !d->base.too_many)
            end_block(d, start_block(d, (int64_t)at, block));
    }
    read_usage(d, json_get(root, STR("usage")));
    stop(d, root);
}

/* The number of a block; some leave it out where there is but one. */
static int64_t wire_of(const struct anthropic_decoder *d, yyjson_val *root)
{
    int64_t wire;

    if (json_to_int64(json_get(root, STR("index")), &wire))
        return wire;
    return d->blocks == NULL ? 0 : d->blocks->wire;
}

static void read_block_event(struct anthropic_decoder *d, yyjson_val *root, struct str type)
{
    int64_t wire = wire_of(d, root);

    if (d->stopped || d->base.too_many)
        return;
    if (str_eq(type, STR("content_block_delta"))) {
        read_delta(d, wire, json_get(root, STR("delta")));
    } else if (str_eq(type, STR("content_block_start"))) {
        yyjson_val *block = json_get(root, STR("content_block"));
        if (yyjson_is_obj(block))
            (void)start_block(d, wire, block);
    } else {
        struct anthropic_block *b = find_open(d, wire);
        if (b != NULL)
            end_block(d, b);
    }
}

static void read_stream_event(struct anthropic_decoder *d, yyjson_val *root, struct str type,
                              struct frame *frame)
{
    if (str_starts(type, STR("content_block_"))) {
        read_block_event(d, root, type);
    } else if (str_eq(type, STR("message_start"))) {
        yyjson_val *message = json_get(root, STR("message"));
        bool again = d->started;
        start(d, message);
        if (!again)
            read_usage(d, json_get(message, STR("usage")));
    } else if (str_eq(type, STR("message_delta"))) {
        yyjson_val *delta = json_get(root, STR("delta"));
        start(d, NULL);
        if (json_get_str(delta, STR("stop_reason")).n > 0)
            stop(d, delta);
        read_usage(d, json_get(root, STR("usage")));
    } else if (str_eq(type, STR("message_stop"))) {
        stop(d, NULL);
        frame->terminator = true;
        d->base.terminated = true;
    } else if (str_eq(type, STR("ping"))) {
        (void)decode_event(&d->base, EVENT_KEEPALIVE, 0, EVENT_NO_BLOCK);
    } else if (str_eq(type, STR("error")) ||
               (type.n == 0 && yyjson_is_obj(json_get(root, STR("error"))))) {
        fail(d, root);
    }
}

static void read(struct decode *base, yyjson_val *root, struct str event, struct frame *frame)
{
    struct anthropic_decoder *d = of(base);
    struct str type = json_get_str(root, STR("type"));

    if (!base->options.stream)
        read_message(d, root);
    else
        read_stream_event(d, root, type.n > 0 ? type : event, frame);
}

/* --- without parsing ---------------------------------------------------------------------- */

/* {"type":"content_block_delta","index":N,"delta":{"type":"TYPE","MEMBER":"TEXT"}}, with blanks
 * before the last two braces' ends, as the vendor pads its events: nearly all that a stream is.
 * Whatever looks so is read the same by the parser: the text is checked as it checks it, and all
 * else is the same bytes. */
static const struct {
    struct str words; /* from the index on, to the text */
    enum block_kind kind;
    enum event_kind event;
} quick_deltas[] = {
    {STR_INIT(",\"delta\":{\"type\":\"text_delta\",\"text\":\""), BLOCK_TEXT, EVENT_TEXT},
    {STR_INIT(",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\""), BLOCK_TOOL,
     EVENT_TOOL_ARGS},
    {STR_INIT(",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\""), BLOCK_REASONING,
     EVENT_REASONING},
};

/* A number as JSON writes it, of few digits; -1: none. */
static int64_t quick_index(struct str *rest)
{
    int64_t value = 0;
    size_t n = 0;

    while (n < rest->n && n < 8 && rest->p[n] >= '0' && rest->p[n] <= '9')
        value = value * 10 + (rest->p[n++] - '0');
    if (n == 0 || (n > 1 && rest->p[0] == '0'))
        return -1;
    *rest = str_from(*rest, n);
    return value;
}

static bool quick_ends(struct str rest)
{
    return str_starts(rest, STR("\"}")) && str_eq(str_trim(str_from(rest, 2)), STR("}"));
}

/* The open block of that kind, to which a delta adds; NULL: the parser knows what to do. */
static struct anthropic_block *quick_block(struct anthropic_decoder *d, int64_t wire,
                                           enum block_kind kind)
{
    struct anthropic_block *b = find_open(d, wire);

    return b != NULL && b->kind == kind && !b->has_sign ? b : NULL;
}

static bool quick(struct decode *base, struct str data)
{
    const struct str begin = STR("{\"type\":\"content_block_delta\",\"index\":");
    struct anthropic_decoder *d = of(base);
    bool escaped;
    size_t which = 0;

    if (d->stopped || base->too_many || !str_starts(data, begin))
        return false;
    struct str rest = str_from(data, begin.n);
    int64_t wire = quick_index(&rest);
    while (which < COUNT_OF(quick_deltas) && !str_starts(rest, quick_deltas[which].words))
        which++;
    if (wire < 0 || which == COUNT_OF(quick_deltas))
        return false;
    rest = str_from(rest, quick_deltas[which].words.n);
    size_t n = json_string_scan(rest.p, rest.n, &escaped);
    if (n == SIZE_MAX || n == 0 || !quick_ends(str_from(rest, n)))
        return false;
    struct anthropic_block *b = quick_block(d, wire, quick_deltas[which].kind);
    if (b == NULL)
        return false;

    struct str text = str_of(rest.p, n);
    if (escaped)
        /* The quotes stand around it. */
        text = json_string_value(str_of(rest.p - 1, n + 2), base->options.scratch);
    if (b->kind == BLOCK_TEXT)
        count_chars(d, text);
    b->said = true;
    decode_event(base, quick_deltas[which].event, 0, b->number)->text = text;
    return true;
}

static const char *check_whole(struct decode *base, yyjson_val *root)
{
    (void)root;
    return of(base)->started ? NULL : "a message";
}

static bool complete(const struct decode *base)
{
    return ((const struct anthropic_decoder *)(const void *)base)->stopped;
}

static const struct decode_ops ops = {
    .read = read,
    .quick = quick,
    .check_whole = check_whole,
    .complete = complete,
};

void anthropic_decode_init(void *decoder, const struct decoder_options *options)
{
    struct anthropic_decoder *d = decoder;

    decode_init(&d->base, &ops, options);
    d->input = -1;
    d->output = -1;
    d->cache_read = -1;
    d->cache_written = -1;
    d->thinking = -1;
}

void anthropic_decode_fini(void *decoder)
{
    struct anthropic_decoder *d = decoder;

    decode_fini(&d->base);
}

enum error_code anthropic_decode_bytes(void *decoder, struct str bytes, bool end, struct error *e)
{
    struct anthropic_decoder *d = decoder;

    return decode_bytes(&d->base, bytes, end, e);
}
