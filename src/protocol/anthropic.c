/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages, the wire format of Claude and of what looks like it.
 *
 * What      The protocol's table entry, its routes, its errors, lists of models and counts; pieces
 *           of messages that streams and whole bodies have in common.
 * How       Errors that we make: one switch over all codes (contract: behaviour.md, section 2).
 *           Errors that upstreams make: Anthropic's shape, and what servers in front of it say.
 * Owns      Nothing.
 * Not here  Requests (anthropic_request.c, anthropic_upstream.c), answers (anthropic_decode.c,
 *           anthropic_encode.c).
 */
#include "protocol/anthropic_priv.h"

#include "canon/failure.h"
#include "protocol/turns.h"
#include "text/url.h"
#include "text/utf8.h"

enum { MESSAGE_BYTES_MAX = 2048, DEPTH_MAX = 64, STATUS_BILLING = 402, STATUS_OVERLOADED = 529 };

/* --- errors that we make ------------------------------------------------------------------ */

/* The type of an error as this protocol's clients know it. */
static const char *type_of(enum error_code code)
{
    switch (code) {
    case ERR_UNAUTHORIZED:
        return "authentication_error";
    case ERR_RATE_LIMITED:
    case ERR_UPSTREAM_RATE_LIMITED:
        return "rate_limit_error";
    case ERR_BILLING:
        return "billing_error";
    case ERR_TOO_LARGE:
        return "request_too_large";
    case ERR_FORBIDDEN:
        return "permission_error";
    case ERR_NOT_FOUND:
    case ERR_MODEL_NOT_FOUND:
    case ERR_UNKNOWN_RESPONSE:
        return "not_found_error";
    case ERR_UPSTREAM_TIMEOUT:
        return "timeout_error";
    case ERR_OVERLOADED:
    case ERR_DRAINING:
    case ERR_UPSTREAM_OVERLOADED:
        return "overloaded_error";
    case ERR_UNKNOWN_BACKEND:
    case ERR_BAD_REQUEST:
    case ERR_BAD_HTTP:
    case ERR_HEADERS_TOO_LARGE:
    case ERR_REQUEST_TIMEOUT:
    case ERR_METHOD_NOT_ALLOWED:
    case ERR_UNSUPPORTED_MEDIA:
    case ERR_UPGRADE_REQUIRED:
    case ERR_CONTEXT_TOO_LONG:
    case ERR_POLICY:
    case ERR_UNSUPPORTED:
    case ERR_UNSUPPORTED_VALUE:
        return "invalid_request_error";
    case ERR_NO_BACKEND:
    case ERR_UPSTREAM_UNREACHABLE:
    case ERR_UPSTREAM_BROKEN:
    case ERR_UPSTREAM_TOO_LARGE:
    case ERR_UPSTREAM_ERROR:
    case ERR_UPSTREAM_KEY:
    case ERR_CLIENT_LEFT:
    case ERR_CONFIG:
    case ERR_SYSTEM:
    case ERR_INTERNAL:
        return "api_error";
    case OK:
    case ERROR_COUNT:
        break;
    }
    BUG("no such error");
}

/* Clients know a request that is too long by these words, and shorten it (anthropic-messages.md,
 * 8). */
static struct str too_long_words(struct str message)
{
    const struct str words = STR("prompt is too long");

    return str_find(message, words, 0) == SIZE_MAX ? STR("prompt is too long: ") : STR("");
}

static void add_error(struct buf *out, const char *type, const struct str pieces[ERROR_PIECES],
                      struct str request_id)
{
    buf_add(out, STR("{\"type\":\"error\",\"error\":{\"type\":"));
    json_add_string(out, str_c(type));
    buf_add(out, STR(",\"message\":\""));
    for (size_t i = 0; i < ERROR_PIECES; i++)
        json_add_escaped(out, pieces[i]);
    buf_add(out, STR("\"}"));
    if (request_id.n > 0)
        anthropic_add_member(out, "request_id", request_id);
    buf_add_char(out, '}');
}

static void error_encode(const struct error *error, struct str request_id, bool in_stream,
                         struct buf *out)
{
    struct str told[ERROR_PIECES];
    struct str pieces[ERROR_PIECES];

    assert(error->code != OK);
    error_told(error, told);
    memcpy(pieces, told, sizeof(pieces));
    if (error->code == ERR_CONTEXT_TOO_LONG) {
        /* The upstream's words, or the detail: ours say it in other words. */
        struct str words = told[4].n > 0 ? told[4] : told[2].n > 0 ? told[2] : told[0];
        for (size_t i = 0; i < ERROR_PIECES; i++)
            pieces[i] = STR("");
        pieces[0] = too_long_words(words);
        pieces[1] = words;
    }
    if (in_stream)
        buf_add(out, STR("event: error\ndata: "));
    add_error(out, type_of(error->code), pieces, request_id);
    if (in_stream)
        buf_add(out, STR("\n\n"));
}

static int error_status_here(const struct error *error)
{
    if (error->code == ERR_BILLING)
        return STATUS_BILLING;
    if (error->code == ERR_UPSTREAM_OVERLOADED)
        return STATUS_OVERLOADED;
    return error_status(error);
}

/* --- errors that upstreams make ----------------------------------------------------------- */

/* The status that a type of error stands for; 0: unknown. */
static int status_of_type(struct str type)
{
    static const struct {
        const char *type;
        int status;
    } types[] = {
        {"invalid_request_error", 400}, {"authentication_error", 401},
        {"billing_error", 402},         {"permission_error", 403},
        {"not_found_error", 404},       {"request_too_large", 413},
        {"rate_limit_error", 429},      {"api_error", 500},
        {"timeout_error", 504},         {"overloaded_error", STATUS_OVERLOADED},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, str_c(types[i].type)))
            return types[i].status;
    }
    return 0;
}

static struct str text_of(yyjson_val *object, const char *key, struct arena *arena)
{
    struct str text = json_get_str(object, str_c(key));

    return text.n == 0 ? STR_NULL : utf8_repair(utf8_head(text, MESSAGE_BYTES_MAX), arena);
}

/* A code is a word or a number; numbers that are an HTTP status count as such. */
static void read_code(yyjson_val *fields, struct arena *arena, struct event *error)
{
    static const char *const keys[] = {"status", "status_code", "code"};
    int64_t number;

    error->error.code = text_of(fields, "code", arena);
    for (size_t i = 0; i < COUNT_OF(keys) && error->error.status == 0; i++) {
        if (json_to_int64(json_get(fields, str_c(keys[i])), &number) && number >= 400 &&
            number <= 599)
            error->error.status = (int)number;
    }
}

bool anthropic_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error)
{
    yyjson_val *inner = json_get(root, STR("error"));
    yyjson_val *fields = yyjson_is_obj(inner) ? inner : root;
    struct str message = text_of(fields, "message", arena);

    if (str_is_null(message))
        message = text_of(root, "error", arena);
    if (str_is_null(message))
        message = text_of(root, "message", arena);
    if (str_is_null(message))
        message = text_of(root, "detail", arena);
    if (str_is_null(message) && !yyjson_is_obj(inner))
        return false;
    *ret_error = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
    ret_error->error.message = str_is_null(message) ? STR("unknown error") : message;
    /* The root's own type is "error". */
    ret_error->error.type = fields == inner ? text_of(fields, "type", arena) : STR_NULL;
    read_code(fields, arena, ret_error);
    int status = status_of_type(ret_error->error.type);
    if (status != 0)
        ret_error->error.status = status;
    return true;
}

static void error_decode(int status, struct str body, struct arena *arena, struct event *ret_error)
{
    const struct json_read_options options = {.depth_max = DEPTH_MAX, .allow_invalid_utf8 = true};
    struct error ignored;
    struct event event;
    yyjson_val *root = json_read(body, &options, arena, &ignored);

    if (root == NULL || !anthropic_read_error(root, arena, &event)) {
        struct str text = utf8_repair(utf8_head(str_trim(body), MESSAGE_BYTES_MAX), arena);
        event = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
        event.error.message = text.n > 0 ? text : str_print(arena, "HTTP status %d", status);
    }
    if (status >= 400)
        event.error.status = status;
    *ret_error = event;
}

void anthropic_add_error(struct buf *out, const struct event *error, bool same)
{
    struct str pieces[ERROR_PIECES] = {STR(""), error->error.message};
    enum error_code code = failure_code(error);
    const char *type = type_of(code);

    assert(error->kind == EVENT_ERROR);
    if (code == ERR_CONTEXT_TOO_LONG)
        pieces[0] = too_long_words(error->error.message);
    if (!same || error->error.type.n == 0) {
        add_error(out, type, pieces, STR_NULL);
        return;
    }
    buf_add(out, STR("{\"type\":\"error\",\"error\":{\"type\":"));
    json_add_string(out, error->error.type);
    anthropic_add_member(out, "message", error->error.message);
    buf_add(out, STR("}}"));
}

/* --- pieces of JSON ----------------------------------------------------------------------- */

void anthropic_add_member(struct buf *out, const char *key, struct str value)
{
    buf_add(out, STR(",\""));
    buf_add(out, str_c(key));
    buf_add(out, STR("\":"));
    json_add_string(out, value);
}

void anthropic_add_head(struct buf *out, const struct anthropic_encoder *enc)
{
    bool known = enc->options.same_protocol && enc->id.n > 0;

    /* Ids of another protocol would be taken for this one's. */
    buf_add(out, known ? STR("{\"id\":\"") : STR("{\"id\":\"msg_"));
    json_add_escaped(out, known ? enc->id : enc->options.id);
    buf_add(out, STR("\",\"type\":\"message\",\"role\":\"assistant\""));
    anthropic_add_member(out, "model", enc->model.n > 0 ? enc->model : enc->options.model);
}

static struct str stop_word(const struct anthropic_encoder *enc)
{
    switch (enc->reason) {
    case STOP_END:
    case STOP_TOOL:
        if (enc->has_tool)
            return STR("tool_use");
        return enc->refused ? STR("refusal") : STR("end_turn");
    case STOP_LENGTH:
        return STR("max_tokens");
    case STOP_SEQUENCE:
        return STR("stop_sequence");
    case STOP_FILTER:
    case STOP_REFUSAL:
        return STR("refusal");
    case STOP_PAUSE:
        return STR("pause_turn");
    case STOP_CONTEXT:
        return STR("model_context_window_exceeded");
    case STOP_OTHER:
        /* A word that is no other's. */
        if (enc->options.same_protocol && enc->native.n > 0)
            return enc->native;
        return enc->has_tool ? STR("tool_use") : STR("end_turn");
    case STOP_REASON_COUNT:
        break;
    }
    BUG("no such reason");
}

void anthropic_add_stop(struct buf *out, const struct anthropic_encoder *enc)
{
    buf_add(out, STR("\"stop_reason\":"));
    json_add_string(out, stop_word(enc));
    buf_add(out, STR(",\"stop_sequence\":"));
    if (enc->reason == STOP_SEQUENCE && enc->sequence.n > 0)
        json_add_string(out, enc->sequence);
    else
        buf_add(out, STR("null"));
}

/* A count that is not known: null where the member must be, else left out. */
static void add_cached(struct buf *out, struct str key, int64_t value, bool known, bool must)
{
    if (!known && !must)
        return;
    buf_add(out, key);
    if (known)
        buf_add_int64(out, value);
    else
        buf_add(out, STR("null"));
}

void anthropic_add_usage(struct buf *out, const struct usage *usage, bool start)
{
    int64_t cached = usage->cached > 0 ? usage->cached : 0;
    int64_t written = usage->cache_written > 0 ? usage->cache_written : 0;
    int64_t input = usage->input < 0 ? 0 : usage->input;

    /* Some say more of the cache than of the prompt: the sum is to stay. */
    cached = cached > input ? input : cached;
    written = written > input - cached ? input - cached : written;
    buf_add(out, STR(",\"usage\":{"));
    if (start || usage->input >= 0) {
        buf_add(out, STR("\"input_tokens\":"));
        buf_add_int64(out, input - cached - written);
        add_cached(out, STR(",\"cache_creation_input_tokens\":"), written,
                   usage->cache_written >= 0, start);
        add_cached(out, STR(",\"cache_read_input_tokens\":"), cached, usage->cached >= 0, start);
        buf_add_char(out, ',');
    }
    buf_add(out, STR("\"output_tokens\":"));
    buf_add_int64(out, usage->output < 0 ? 0 : usage->output);
    if (usage->reasoning >= 0)
        buf_print(out, ",\"output_tokens_details\":{\"thinking_tokens\":%lld}",
                  (long long)usage->reasoning);
    buf_add_char(out, '}');
}

/* --- citations ---------------------------------------------------------------------------- */

/* "key":value, a string's source. */
static void add_source(struct buf *out, const char *key, struct str value)
{
    bool string = value.n > 1 && value.p[0] == '"';

    buf_print(out, ",\"%s\":", key);
    buf_add(out, string ? value : STR("\"\""));
}

bool anthropic_add_citation(struct buf *out, struct str citation, struct arena *arena)
{
    static const char *const own[] = {"char_location", "page_location", "content_block_location",
                                      "search_result_location", "web_search_result_location"};
    static const char *const members[] = {"cited_text", "url", "title", "encrypted_index"};
    struct str type = json_string_value(json_object_find(citation, STR("type")), arena);
    struct str inner = json_object_find(citation, STR("url_citation"));

    for (size_t i = 0; i < COUNT_OF(own); i++) {
        if (str_eq(type, str_c(own[i]))) {
            buf_add(out, citation);
            return true;
        }
    }
    /* Without it the vendor would refuse the citation when the client sends it back. */
    if (!str_eq(type, STR("url_citation")) ||
        str_is_null(json_object_find(inner, STR("encrypted_index"))))
        return false;
    buf_add(out, STR("{\"type\":\"web_search_result_location\""));
    for (size_t i = 0; i < COUNT_OF(members); i++)
        add_source(out, members[i], json_object_find(inner, str_c(members[i])));
    buf_add_char(out, '}');
    return true;
}

void anthropic_add_text(struct anthropic_texts *texts, struct str text, struct arena *arena)
{
    struct anthropic_text *more = ARENA_NEW(arena, struct anthropic_text);

    if (arena_overflowed(arena))
        return;
    more->text = text;
    if (texts->last == NULL)
        texts->first = more;
    else
        texts->last->next = more;
    texts->last = more;
}

/* --- models ------------------------------------------------------------------------------- */

static bool models_decode(struct str body, struct arena *arena,
                          void (*add)(void *ctx, struct str id, struct str source), void *ctx,
                          struct str *ret_next)
{
    const struct json_read_options options = {.depth_max = DEPTH_MAX, .allow_invalid_utf8 = true};
    struct error ignored;
    struct str last = STR_NULL;
    yyjson_val *root = json_read(body, &options, arena, &ignored);
    yyjson_val *list = json_get(root, STR("data"));
    size_t at;
    size_t count;
    yyjson_val *model;

    if (!yyjson_is_arr(list))
        return false;
    yyjson_arr_foreach(list, at, count, model)
    {
        struct str id = json_get_str(model, STR("id"));
        if (id.n == 0)
            continue;
        last = utf8_repair(id, arena);
        add(ctx, last, json_text(model, arena));
    }
    if (json_get_str(root, STR("last_id")).n > 0)
        last = json_get_str(root, STR("last_id"));
    *ret_next = last.n > 0 && yyjson_is_true(json_get(root, STR("has_more")))
                    ? str_print(arena, "limit=1000&after_id=%.*s",
                                STR_ARG(url_encode(last, "", arena)))
                    : STR_NULL;
    return true;
}

/* RFC 3339, UTC: the days since 0000-03-01 are counted in eras of 400 years. */
static void add_time(struct buf *out, int64_t seconds)
{
    enum { DAY = 86400, ERA = 146097, TO_EPOCH = 719468 };
    const int64_t last = (int64_t)253402300799; /* of year 9999 */

    if (seconds < 0 || seconds > last)
        seconds = 0;
    int64_t days = seconds / DAY + TO_EPOCH;
    int64_t of_day = seconds % DAY;
    int64_t of_era = days % ERA;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;

    year += days / ERA * 400 + (month >= 10);
    month += month < 10 ? 3 : -9;
    buf_print(out, "\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", (int)year, (int)month, (int)day,
              (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60));
}

static void add_model(struct buf *out, const struct model_entry *model)
{
    buf_add(out, STR("{\"type\":\"model\""));
    anthropic_add_member(out, "id", model->id);
    anthropic_add_member(out, "display_name", model->id);
    buf_add(out, STR(",\"created_at\":"));
    add_time(out, model->created_s);
    buf_add_char(out, '}');
}

static void add_id(struct buf *out, const char *key, const struct model_entry *model)
{
    if (model != NULL)
        anthropic_add_member(out, key, model->id);
    else
        buf_print(out, ",\"%s\":null", key);
}

static void models_encode(const struct model_entry *models, size_t n, bool one, struct buf *out)
{
    if (one) {
        assert(n > 0);
        add_model(out, &models[0]);
        return;
    }
    buf_add(out, STR("{\"data\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_model(out, &models[i]);
    }
    buf_add(out, STR("],\"has_more\":false"));
    add_id(out, "first_id", n > 0 ? &models[0] : NULL);
    add_id(out, "last_id", n > 0 ? &models[n - 1] : NULL);
    buf_add_char(out, '}');
}

/* --- counts ------------------------------------------------------------------------------- */

static bool count_decode(struct str body, struct arena *arena, int64_t *ret_tokens)
{
    const struct json_read_options options = {.depth_max = DEPTH_MAX, .allow_invalid_utf8 = true};
    struct error ignored;
    yyjson_val *root = json_read(body, &options, arena, &ignored);
    int64_t tokens;

    if (!json_to_int64(json_get(root, STR("input_tokens")), &tokens) || tokens < 0)
        return false;
    *ret_tokens = tokens;
    return true;
}

static void count_encode(int64_t tokens, struct buf *out)
{
    assert(tokens >= 0);
    buf_add(out, STR("{\"input_tokens\":"));
    buf_add_int64(out, tokens);
    buf_add_char(out, '}');
}

/* --- the protocol ------------------------------------------------------------------------- */

static const struct route routes[] = {
    {"POST", "/v1/messages", OP_GENERATE},
    {"POST", "/v2/messages", OP_GENERATE},
    {"POST", "/anthropic/v1/messages", OP_GENERATE},
    {"POST", "/v1/messages/count_tokens", OP_COUNT_TOKENS},
    {"POST", "/v2/messages/count_tokens", OP_COUNT_TOKENS},
    {"POST", "/anthropic/v1/messages/count_tokens", OP_COUNT_TOKENS},
    {"GET", "/anthropic/v1/models", OP_MODELS},
    {"GET", "/anthropic/v1/models/*", OP_MODEL},
    {NULL, NULL, OP_COUNT},
};

const struct protocol protocol_anthropic = {
    .name = "anthropic",
    .routes = routes,
    .models_path = "/models",
    .api_version = "/v1",
    .request_decode = anthropic_request_decode,
    .request_decode_full = anthropic_request_decode_full,
    .request_encode = anthropic_upstream_encode,
    .outline_next = turns_anthropic_next,
    .outline_last = turns_anthropic_last,
    .outline_call = turns_anthropic_call,
    .outline_words = turns_anthropic_words,
    .decoder_size = sizeof(struct anthropic_decoder),
    .decoder_init = anthropic_decode_init,
    .response_decode = anthropic_decode_bytes,
    .decoder_fini = anthropic_decode_fini,
    .encoder_size = sizeof(struct anthropic_encoder),
    .encoder_init = anthropic_encode_init,
    .response_encode = anthropic_encode_frame,
    .encoder_end = anthropic_encode_end,
    .encoder_fini = anthropic_encode_fini,
    .error_encode = error_encode,
    .error_decode = error_decode,
    .models_decode = models_decode,
    .models_encode = models_encode,
    .stream_content_type = "text/event-stream; charset=utf-8",
    .error_status = error_status_here,
    .count_decode = count_decode,
    .count_encode = count_encode,
    .lint_size = sizeof(struct anthropic_lint),
    .lint_init = anthropic_lint_init,
    .lint_bytes = anthropic_lint_bytes,
    .lint_fini = anthropic_lint_fini,
};
