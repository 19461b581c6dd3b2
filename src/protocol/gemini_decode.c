/* SPDX-License-Identifier: MIT */
/*
 * Gemini: an upstream's answer as frames.
 *
 * What      Reads GenerateContentResponses, streamed (events, a JSON array) or whole: gemini.md, 6,
 *           7 and 15.
 * How       Framing is decode.c's. Of each response: its candidates' parts, then what is said of
 *           them (citations, log probabilities), their finish reasons, the prompt's block, usage.
 *           Parts are increments: a text that follows one of its kind goes on with the same block.
 *           A thought with a signature ends its block, as a signed part must stay apart; of a text
 *           the rest goes on with it, as clients of other protocols take what comes in two texts
 *           for two answers (Claude Code shows the last one). Calls come whole, but for Vertex'
 *           streamed arguments: these are put together first.
 *           Complete: each candidate that began has its finish reason.
 * Owns      Candidates, in the answer's arena. Events and their text are scratch.
 * Not here  Whether the client gets raw or new bytes: gemini_encode.c.
 */
#include "protocol/gemini_priv.h"

#include "text/utf8.h"

#define HASH_BEGIN 0xcbf29ce484222325u
#define HASH_PRIME 0x100000001b3u

static uint64_t hash_add(uint64_t hash, struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * HASH_PRIME;
    return hash;
}

/* --- blocks ------------------------------------------------------------------------------- */

static void end_open(struct gemini_decoder *d, struct gemini_choice *c)
{
    if (c->open == EVENT_NO_BLOCK)
        return;
    assert(c->open < c->blocks);
    if (c->args != NULL) {
        struct str text = gemini_args_text(c->args, d->base.options.scratch);
        if (!str_eq(text, STR("{}")))
            decode_text(&d->base, EVENT_TOOL_ARGS, c->index, c->open, text);
        decode_text(&d->base, EVENT_SIGNATURE, c->index, c->open, c->args_signature);
        c->args = NULL;
        c->args_signature = STR_NULL;
    }
    decode_event(&d->base, EVENT_BLOCK_END, c->index, c->open);
    c->open = EVENT_NO_BLOCK;
    c->open_signed = false;
    c->text_signed = false;
}

/* The event's begin, to be filled in; NULL: too many. */
static struct event *block_begin(struct gemini_decoder *d, struct gemini_choice *c,
                                 enum block_kind kind)
{
    assert(d->started && !d->base.over && !c->stopped);
    end_open(d, c);
    if (c->blocks >= GEMINI_BLOCKS_MAX) {
        d->base.too_many = true;
        return NULL;
    }
    c->open = c->blocks++;
    c->open_kind = kind;
    struct event *event = decode_event(&d->base, EVENT_BLOCK_BEGIN, c->index, c->open);
    event->begin.kind = kind;
    event->begin.index = EVENT_NO_INDEX;
    return event;
}

/* --- parts -------------------------------------------------------------------------------- */

static void read_text(struct gemini_decoder *d, struct gemini_choice *c, bool thought,
                      struct str text, struct str signature)
{
    enum block_kind kind = thought ? BLOCK_REASONING : BLOCK_TEXT;
    bool goes_on = c->open != EVENT_NO_BLOCK && c->open_kind == kind && !c->open_signed &&
                   !(c->text_signed && signature.n > 0);

    if (text.n == 0 && signature.n == 0)
        return;
    if (!goes_on && block_begin(d, c, kind) == NULL)
        return;
    decode_text(&d->base, thought ? EVENT_REASONING : EVENT_TEXT, c->index, c->open, text);
    if (!thought)
        gemini_cite_count(&c->offsets, text, d->base.options.arena);
    decode_text(&d->base, EVENT_SIGNATURE, c->index, c->open, signature);
    c->open_signed = thought && signature.n > 0;
    c->text_signed = c->text_signed || (!thought && signature.n > 0);
}

/* "call_" and 24 letters and digits: the same for the same answer, others for any other. */
static struct str make_id(struct gemini_decoder *d, struct str name, struct str args)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    enum { DIGITS = 24, HALF = 12, BASE = sizeof(digits) - 1 };
    char id[5 + DIGITS] = "call_";
    uint64_t hash = hash_add(hash_add(d->seed, name), args);

    hash = (hash ^ d->calls++) * HASH_PRIME;
    for (size_t i = 0; i < DIGITS; i++) {
        if (i == HALF)
            hash = (hash_add(d->seed ^ d->calls, args) + 1) * HASH_PRIME;
        /* The high bits: FNV mixes upwards. */
        id[5 + i] = digits[(hash >> 40) % BASE];
        hash = (hash ^ (hash >> 29)) * HASH_PRIME + i;
    }
    return str_copy(d->base.options.scratch, str_of(id, sizeof(id)));
}

static bool goes_on(yyjson_val *call)
{
    return yyjson_is_true(json_get(call, STR("willContinue")));
}

static void call_begin(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *call,
                       struct str signature)
{
    struct arena *scratch = d->base.options.scratch;
    struct str name = json_get_str(call, STR("name"));
    struct str id = json_get_str(call, STR("id"));
    yyjson_val *args = json_get(call, STR("args"));
    yyjson_val *partial = json_get(call, STR("partialArgs"));
    struct str text = yyjson_obj_size(args) > 0 ? json_text(args, scratch) : STR("");
    struct event *begin = block_begin(d, c, BLOCK_TOOL);

    if (begin == NULL)
        return;
    begin->begin.name = utf8_repair(name, scratch);
    begin->begin.id = id.n > 0 ? utf8_repair(id, scratch) : make_id(d, name, text);
    c->has_call = true;
    if (goes_on(call) || partial != NULL) {
        c->args = gemini_args_new(d->base.options.arena);
        c->args_signature = str_copy(d->base.options.arena, signature);
        gemini_args_add(c->args, partial);
        if (goes_on(call))
            return;
    } else {
        decode_text(&d->base, EVENT_TOOL_ARGS, c->index, c->open, text);
        decode_text(&d->base, EVENT_SIGNATURE, c->index, c->open, signature);
    }
    end_open(d, c);
}

/* A call begins with its name. What has none goes on with the one that came before. */
static void read_call(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *call,
                      struct str signature)
{
    if (json_get_str(call, STR("name")).n > 0) {
        call_begin(d, c, call, signature);
    } else if (c->args != NULL) {
        gemini_args_add(c->args, json_get(call, STR("partialArgs")));
        if (!goes_on(call))
            end_open(d, c);
    }
}

static void add_member(struct buf *out, const char *key, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return;
    gemini_add_string(out, str_c(key), json_str(value));
}

/* What a block of JSON says, as its only TEXT. */
static void say_json(struct gemini_decoder *d, struct gemini_choice *c, struct str json)
{
    decode_text(&d->base, EVENT_TEXT, c->index, c->open, json);
    end_open(d, c);
}

static void read_media(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *media,
                       struct str signature)
{
    struct buf out;

    if (block_begin(d, c, BLOCK_MEDIA) == NULL)
        return;
    buf_init(&out, d->base.options.scratch->bytes_max);
    buf_add_char(&out, '{');
    add_member(&out, "media_type", json_get(media, STR("mimeType")));
    add_member(&out, "data", json_get(media, STR("data")));
    add_member(&out, "url", json_get(media, STR("fileUri")));
    if (signature.n > 0)
        gemini_add_string(&out, STR("signature"), signature);
    buf_add_char(&out, '}');
    /* An arena that is full fails the frame; so does a buffer at the same bound. */
    d->base.too_many |= !buf_ok(&out);
    say_json(d, c, str_copy(d->base.options.scratch, buf_str(&out)));
    buf_fini(&out);
}

/* What others are told of code that ran: fenced text (mapping.md, 4.5). It stands in a block that
 * names what it is said of: this protocol's clients have that itself. */
static void say_code(struct gemini_decoder *d, struct gemini_choice *c, const char *kind,
                     struct str language, struct str code)
{
    struct event *begin;

    if (code.n == 0)
        return;
    begin = block_begin(d, c, BLOCK_TEXT);
    if (begin == NULL)
        return;
    begin->begin.name = str_c(kind);
    struct str text = str_print(d->base.options.scratch, "\n```%.*s\n%.*s%s```\n",
                                STR_ARG(language), STR_ARG(code),
                                str_ends(code, STR("\n")) ? "" : "\n");
    decode_text(&d->base, EVENT_TEXT, c->index, c->open, text);
    end_open(d, c);
}

/* Any other part, as it is. */
static void read_vendor(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *part)
{
    static const char *const kinds[] = {"executableCode", "codeExecutionResult", "toolCall",
                                        "toolResponse",   "inlineData",          "fileData"};
    yyjson_val *payload = NULL;
    const char *kind = "part";
    struct event *begin;

    for (size_t i = 0; i < COUNT_OF(kinds) && payload == NULL; i++) {
        payload = json_get(part, str_c(kinds[i]));
        if (payload != NULL)
            kind = kinds[i];
    }
    begin = block_begin(d, c, BLOCK_VENDOR);
    if (begin == NULL)
        return;
    begin->begin.name = str_c(kind);
    say_json(d, c, json_text(part, d->base.options.scratch));
    if (str_eq(str_c(kind), STR("executableCode")))
        say_code(d, c, kind, STR("python"), json_get_str(payload, STR("code")));
    else if (str_eq(str_c(kind), STR("codeExecutionResult")))
        say_code(d, c, kind, STR(""), json_get_str(payload, STR("output")));
}

static void read_part(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *part)
{
    yyjson_val *text = json_get(part, STR("text"));
    yyjson_val *call = json_get(part, STR("functionCall"));
    yyjson_val *inline_data = json_get(part, STR("inlineData"));
    yyjson_val *file_data = json_get(part, STR("fileData"));
    struct str signature = json_get_str(part, STR("thoughtSignature"));
    bool thought = yyjson_is_true(json_get(part, STR("thought")));

    if (yyjson_is_str(text))
        read_text(d, c, thought, json_str(text), signature);
    else if (yyjson_is_obj(call))
        read_call(d, c, call, signature);
    else if (yyjson_is_obj(inline_data) && !thought)
        read_media(d, c, inline_data, signature);
    else if (yyjson_is_obj(file_data) && !thought)
        read_media(d, c, file_data, signature);
    else if (yyjson_obj_size(part) == (size_t)(signature.n > 0) + (size_t)thought)
        read_text(d, c, thought, STR(""), signature);
    else
        read_vendor(d, c, part);
}

/* --- candidates --------------------------------------------------------------------------- */

struct finish {
    const char *word;
    enum stop_reason reason;
    bool failure; /* of the model: an error where it has said nothing yet */
};

/* mapping.md, 9. Others, also those to come, end the answer. */
static struct finish finish_of(struct str word)
{
    static const struct finish words[] = {
        {"STOP", STOP_END, false},
        {"MAX_TOKENS", STOP_LENGTH, false},
        {"SAFETY", STOP_FILTER, false},
        {"RECITATION", STOP_FILTER, false},
        {"BLOCKLIST", STOP_FILTER, false},
        {"PROHIBITED_CONTENT", STOP_FILTER, false},
        {"SPII", STOP_FILTER, false},
        {"IMAGE_SAFETY", STOP_FILTER, false},
        {"IMAGE_PROHIBITED_CONTENT", STOP_FILTER, false},
        {"IMAGE_RECITATION", STOP_FILTER, false},
        {"MODEL_ARMOR", STOP_FILTER, false},
        {"MALFORMED_FUNCTION_CALL", STOP_END, true},
        {"UNEXPECTED_TOOL_CALL", STOP_END, true},
        {"TOO_MANY_TOOL_CALLS", STOP_END, true},
        {"MALFORMED_RESPONSE", STOP_END, true},
        {"MISSING_THOUGHT_SIGNATURE", STOP_END, true},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(word, str_c(words[i].word)))
            return words[i];
    }
    return (struct finish){.word = NULL, .reason = STOP_END};
}

enum stop_reason gemini_decode_reason(struct str native)
{
    return finish_of(native).reason;
}

static void stop(struct gemini_decoder *d, struct gemini_choice *c, enum stop_reason reason,
                 struct str native)
{
    struct event *event;

    assert(!c->stopped);
    end_open(d, c);
    c->stopped = true;
    event = decode_event(&d->base, EVENT_STOP, c->index, EVENT_NO_BLOCK);
    event->stop.reason = reason == STOP_END && c->has_call ? STOP_TOOL : reason;
    event->stop.native = native.n > 0 ? utf8_repair(native, d->base.options.scratch) : STR_NULL;
}

/* The model failed before it said anything: who asked may ask again. */
static void fail(struct gemini_decoder *d, struct str word, struct str message)
{
    struct arena *scratch = d->base.options.scratch;
    struct event *event = decode_event(&d->base, EVENT_ERROR, 0, EVENT_NO_BLOCK);
    struct str text = utf8_head(message, GEMINI_MESSAGE_BYTES_MAX);

    event->error.status = 502;
    event->error.type = STR("INTERNAL");
    event->error.code = utf8_repair(word, scratch);
    event->error.message = text.n > 0 ? utf8_repair(text, scratch)
                                      : str_print(scratch, "the model's answer ended with %.*s",
                                                  STR_ARG(event->error.code));
    d->base.over = true;
}

/* Its name; servers that print enumerations as numbers exist. */
static struct str finish_word(yyjson_val *v)
{
    static const char *const words[] = {"", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"};
    int64_t number;

    if (!json_to_int64(v, &number) || number < 0)
        return json_str(v);
    return str_c(number < (int64_t)COUNT_OF(words) ? words[number] : "OTHER");
}

static void read_finish(struct gemini_decoder *d, struct gemini_choice *c, yyjson_val *candidate)
{
    struct str word = finish_word(json_get(candidate, STR("finishReason")));

    if (word.n == 0 || str_eq(word, STR("FINISH_REASON_UNSPECIFIED")))
        return;
    struct finish finish = finish_of(word);
    if (finish.failure && c->blocks == 0)
        fail(d, word, json_get_str(candidate, STR("finishMessage")));
    else
        stop(d, c, finish.reason, word);
}

/* NULL: past our bound, or there is no memory. */
static struct gemini_choice *choice_of(struct gemini_decoder *d, int64_t index)
{
    struct gemini_choice **to = &d->choices;

    if (index < 0 || index >= GEMINI_CHOICES_MAX)
        return NULL;
    while (*to != NULL && (*to)->index < (uint32_t)index)
        to = &(*to)->next;
    if (*to != NULL && (*to)->index == (uint32_t)index)
        return *to;

    struct gemini_choice *c = ARENA_NEW(d->base.options.arena, struct gemini_choice);
    if (arena_overflowed(d->base.options.arena))
        return NULL;
    c->next = *to;
    c->index = (uint32_t)index;
    c->open = EVENT_NO_BLOCK;
    *to = c;
    return c;
}

static void read_candidate(struct gemini_decoder *d, yyjson_val *candidate)
{
    yyjson_val *parts = json_get(json_get(candidate, STR("content")), STR("parts"));
    int64_t index = 0;
    size_t at;
    size_t count;
    yyjson_val *part;

    (void)json_to_int64(json_get(candidate, STR("index")), &index);
    struct gemini_choice *c = choice_of(d, index);
    if (c == NULL || c->stopped)
        return;
    yyjson_arr_foreach(parts, at, count, part)
    {
        if (yyjson_is_obj(part))
            read_part(d, c, part);
        if (d->base.too_many)
            return;
    }
    if (c->open != EVENT_NO_BLOCK && c->open_kind == BLOCK_TEXT) {
        struct str logprobs = gemini_cite_logprobs(json_get(candidate, STR("logprobsResult")),
                                                   d->base.options.scratch);
        decode_text(&d->base, EVENT_LOGPROBS, c->index, c->open, logprobs);
        gemini_cite_read(&d->base, c, candidate);
    }
    read_finish(d, c, candidate);
}

/* --- a response --------------------------------------------------------------------------- */

static void start(struct gemini_decoder *d, yyjson_val *root)
{
    struct arena *scratch = d->base.options.scratch;
    struct event *event = decode_event(&d->base, EVENT_START, 0, EVENT_NO_BLOCK);

    event->start.id = utf8_repair(json_get_str(root, STR("responseId")), scratch);
    event->start.model = utf8_repair(json_get_str(root, STR("modelVersion")), scratch);
    d->seed = hash_add(hash_add(HASH_BEGIN, event->start.id), event->start.model);
    d->started = true;
}

/* Of what nobody has used so many of, the most that there is. */
static int64_t sum(int64_t a, int64_t b)
{
    int64_t n;

    return __builtin_add_overflow(a, b, &n) ? INT64_MAX : n;
}

void gemini_decode_usage(struct gemini_decoder *d, const struct gemini_counts *counts)
{
    const unsigned needed = 1u << GEMINI_PROMPT | 1u << GEMINI_OUTPUT | 1u << GEMINI_THOUGHTS |
                            1u << GEMINI_TOTAL;
    const int64_t *count = counts->count;

    if ((counts->said & needed) == 0)
        return;
    int64_t input = sum(count[GEMINI_PROMPT], count[GEMINI_TOOLS]);
    int64_t output = sum(count[GEMINI_OUTPUT], count[GEMINI_THOUGHTS]);
    int64_t cached = count[GEMINI_CACHED] > input ? input : count[GEMINI_CACHED];
    struct usage usage = {
        .input = input,
        .output = output,
        .total = (counts->said >> GEMINI_TOTAL & 1) != 0 ? count[GEMINI_TOTAL] : sum(input, output),
        .cached = (counts->said >> GEMINI_CACHED & 1) != 0 ? cached : -1,
        .cache_written = -1,
        .reasoning = (counts->said >> GEMINI_THOUGHTS & 1) != 0 ? count[GEMINI_THOUGHTS] : -1,
    };
    if (d->usage_known && memcmp(&usage, &d->usage, sizeof(usage)) == 0)
        return;
    d->usage = usage;
    d->usage_known = true;
    decode_event(&d->base, EVENT_USAGE, 0, EVENT_NO_BLOCK)->usage = usage;
}

/* Absent is 0 in this protocol; numbers may be strings. */
static void read_usage(struct gemini_decoder *d, yyjson_val *root)
{
    yyjson_val *usage = json_get(root, STR("usageMetadata"));
    struct gemini_counts counts = {.said = 0};

    if (usage == NULL)
        return;
    for (unsigned i = 0; i < GEMINI_COUNTS; i++) {
        yyjson_val *v = json_get(usage, str_c(gemini_template_key((enum gemini_count)i)));
        int64_t count;
        if ((!json_to_int64(v, &count) && !str_to_int64(json_str(v), &count)) || count < 0)
            continue;
        counts.count[i] = count;
        counts.said |= 1u << i;
    }
    gemini_decode_usage(d, &counts);
}

/* The prompt was refused: there is no candidate. */
static void read_feedback(struct gemini_decoder *d, yyjson_val *root)
{
    struct str reason = json_get_str(json_get(root, STR("promptFeedback")), STR("blockReason"));

    if (reason.n == 0 || d->choices != NULL || str_eq(reason, STR("BLOCK_REASON_UNSPECIFIED")))
        return;
    struct gemini_choice *c = choice_of(d, 0);
    if (c != NULL)
        stop(d, c, STOP_FILTER, reason);
}

static void decode_response(struct decode *base, yyjson_val *root, struct str event,
                            struct frame *frame)
{
    struct gemini_decoder *d = (struct gemini_decoder *)base;
    yyjson_val *candidates = json_get(root, STR("candidates"));
    struct event error;
    size_t at;
    size_t count;
    yyjson_val *candidate;

    (void)event;
    if (json_get(root, STR("error")) != NULL &&
        gemini_read_error(root, base->options.scratch, &error)) {
        *decode_event(base, EVENT_ERROR, 0, EVENT_NO_BLOCK) = error;
        base->over = true;
        return;
    }
    if (!d->started)
        start(d, root);
    yyjson_arr_foreach(candidates, at, count, candidate)
    {
        if (yyjson_is_obj(candidate) && !base->over)
            read_candidate(d, candidate);
    }
    if (base->over)
        return;
    read_feedback(d, root);
    read_usage(d, root);
    frame->usage_only = !frame->whole && count == 0 && base->n == 1 &&
                        base->events[0].kind == EVENT_USAGE;
}

/* Some answer a call that is no stream with the list of a stream. */
static void read_whole_list(struct decode *base, yyjson_val *list, struct frame *frame)
{
    size_t at;
    size_t count;
    yyjson_val *root;

    yyjson_arr_foreach(list, at, count, root)
    {
        if (yyjson_is_obj(root) && !base->over)
            decode_response(base, root, STR_NULL, frame);
    }
}

static const char *check_whole(struct decode *d, yyjson_val *root)
{
    (void)d;
    if (yyjson_is_arr(root))
        root = yyjson_arr_get_first(root);
    if (yyjson_is_arr(json_get(root, STR("candidates"))) ||
        yyjson_is_obj(json_get(root, STR("promptFeedback"))) ||
        yyjson_is_obj(json_get(root, STR("usageMetadata"))))
        return NULL;
    return "a GenerateContentResponse";
}

static bool complete(const struct decode *base)
{
    const struct gemini_decoder *d = (const struct gemini_decoder *)base;

    for (const struct gemini_choice *c = d->choices; c != NULL; c = c->next) {
        if (!c->stopped)
            return false;
    }
    return d->choices != NULL;
}

/* A whole body is complete, also one that does not say why it ends. */
static void finish(struct decode *base)
{
    struct gemini_decoder *d = (struct gemini_decoder *)base;

    if (base->options.stream || base->too_many)
        return;
    if (d->choices == NULL)
        (void)choice_of(d, 0);
    for (struct gemini_choice *c = d->choices; c != NULL; c = c->next) {
        if (!c->stopped)
            stop(d, c, STOP_END, STR_NULL);
    }
}

/* --- entry points ------------------------------------------------------------------------- */

static bool quick(struct decode *base, struct str data)
{
    return gemini_template_match((struct gemini_decoder *)base, data);
}

static void learn(struct decode *base, struct str data)
{
    gemini_template_learn((struct gemini_decoder *)base, data);
}

static const struct decode_ops ops = {
    .quick = quick,
    .learn = learn,
    .read = decode_response,
    .read_list = read_whole_list,
    .check_whole = check_whole,
    .complete = complete,
    .finish = finish,
};

void gemini_decode_init(void *decoder, const struct decoder_options *options)
{
    struct gemini_decoder *d = decoder;

    assert(offsetof(struct gemini_decoder, base) == 0);
    decode_init(&d->base, &ops, options);
}

void gemini_decode_fini(void *decoder)
{
    struct gemini_decoder *d = decoder;

    decode_fini(&d->base);
}

enum error_code gemini_decode_bytes(void *decoder, struct str bytes, bool end, struct error *e)
{
    struct gemini_decoder *d = decoder;

    return decode_bytes(&d->base, bytes, end, e);
}
