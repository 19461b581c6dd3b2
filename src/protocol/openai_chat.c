/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions, the wire format of OpenAI and of most others.
 *
 * What      The protocol's table entry, its routes, its errors and its lists of models.
 * How       Errors that we make: one switch over all codes (contract: behaviour.md, section 2).
 *           Errors that upstreams make: any of the shapes seen (openai-chat.md, 9; quirk 25).
 * Owns      Nothing.
 * Not here  Requests (openai_chat_request.c, openai_chat_upstream.c), answers
 *           (openai_chat_decode.c, openai_chat_encode.c).
 */
#include "protocol/openai_chat_decode_priv.h"

#include "canon/failure.h"
#include "text/url.h"
#include "text/utf8.h"

#include "protocol/openai_chat_lint.h"
#include "protocol/turns.h"

enum { MESSAGE_BYTES_MAX = 2048, ERROR_DEPTH_MAX = 64, MODELS_DEPTH_MAX = 64 };

/* --- errors that we make ------------------------------------------------------------------ */

struct words {
    const char *type;
    const char *code; /* NULL: null */
};

#define WORDS(code, type, word) \
    case ERR_##code:            \
        return (struct words)   \
        {                       \
            type, word          \
        }

static struct words error_words(enum error_code code)
{
    switch (code) {
        WORDS(UNAUTHORIZED, "authentication_error", "invalid_api_key");
        WORDS(NO_BACKEND, "configuration_error", "no_functional_backends");
        WORDS(UNKNOWN_BACKEND, "invalid_request_error", "unknown_backend");
        WORDS(RATE_LIMITED, "rate_limit_error", "rate_limit_exceeded");
        WORDS(UPSTREAM_UNREACHABLE, "backend_error", "upstream_unreachable");
        WORDS(UPSTREAM_BROKEN, "backend_error", "upstream_unreachable");
        WORDS(UPSTREAM_TOO_LARGE, "backend_error", "upstream_too_large");
        WORDS(UPSTREAM_TIMEOUT, "backend_error", "upstream_timeout");
        WORDS(UPSTREAM_ERROR, "server_error", "upstream_error");
        WORDS(UPSTREAM_KEY, "backend_error", "upstream_auth");
        WORDS(UPSTREAM_RATE_LIMITED, "rate_limit_error", "rate_limit_exceeded");
        WORDS(BILLING, "insufficient_quota", "insufficient_quota");
        WORDS(CONTEXT_TOO_LONG, "invalid_request_error", "context_length_exceeded");
        WORDS(POLICY, "invalid_request_error", "content_policy_violation");
        WORDS(UNKNOWN_RESPONSE, "invalid_request_error", "previous_response_not_found");
        WORDS(UNSUPPORTED_VALUE, "invalid_request_error", "unsupported_value");
        WORDS(UNSUPPORTED, "invalid_request_error", "unsupported_parameter");
        WORDS(BAD_REQUEST, "invalid_request_error", NULL);
        WORDS(BAD_HTTP, "invalid_request_error", "bad_request");
        WORDS(TOO_LARGE, "invalid_request_error", "request_too_large");
        WORDS(HEADERS_TOO_LARGE, "invalid_request_error", "headers_too_large");
        WORDS(REQUEST_TIMEOUT, "invalid_request_error", "request_timeout");
        WORDS(FORBIDDEN, "permission_error", "forbidden");
        WORDS(NOT_FOUND, "invalid_request_error", "not_found");
        WORDS(MODEL_NOT_FOUND, "invalid_request_error", "model_not_found");
        WORDS(METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_allowed");
        WORDS(UNSUPPORTED_MEDIA, "invalid_request_error", "unsupported_media_type");
        WORDS(UPGRADE_REQUIRED, "invalid_request_error", "upgrade_required");
        WORDS(UPSTREAM_OVERLOADED, "server_error", "overloaded");
        WORDS(OVERLOADED, "server_error", "overloaded");
        WORDS(DRAINING, "server_error", "overloaded");
        WORDS(CLIENT_LEFT, "server_error", "client_left");
        WORDS(CONFIG, "server_error", "internal_error");
        WORDS(SYSTEM, "server_error", "internal_error");
        WORDS(INTERNAL, "server_error", "internal_error");
    case OK:
    case ERROR_COUNT:
        break;
    }
    BUG("no such error");
}

#undef WORDS

/* A string, or null for the absent one. */
static void add_string(struct buf *out, struct str s)
{
    if (str_is_null(s))
        buf_add(out, STR("null"));
    else
        json_add_string(out, s);
}

static void error_encode(const struct error *error, struct str request_id, bool in_stream,
                         struct buf *out)
{
    struct words words = error_words(error->code);
    struct str pieces[ERROR_PIECES];

    error_told(error, pieces);
    /* The shape has no place for it; the client has it in x-llm-proxy-request-id. */
    (void)request_id;
    if (in_stream)
        buf_add(out, STR("data: "));
    buf_add(out, STR("{\"error\":{\"message\":\""));
    for (size_t i = 0; i < ERROR_PIECES; i++)
        json_add_escaped(out, pieces[i]);
    buf_add(out, STR("\",\"type\":"));
    add_string(out, str_c(words.type));
    buf_add(out, STR(",\"param\":null,\"code\":"));
    add_string(out, str_c(words.code));
    buf_add(out, in_stream ? STR("}}\n\n") : STR("}}"));
}

/* --- errors that upstreams make ----------------------------------------------------------- */

static struct str valid_text(yyjson_val *object, const char *key, struct arena *arena)
{
    struct str text = json_get_str(object, str_c(key));

    return text.n == 0 ? STR_NULL : utf8_repair(utf8_head(text, MESSAGE_BYTES_MAX), arena);
}

/* A code is a word or a number. */
static struct str code_text(yyjson_val *object, struct arena *arena)
{
    struct str word = valid_text(object, "code", arena);
    int64_t number;

    if (str_is_null(word) && json_to_int64(json_get(object, STR("code")), &number))
        return str_print(arena, "%lld", (long long)number);
    return word;
}

/* An HTTP status among the members; 0 without one. */
static int status_in(yyjson_val *object)
{
    static const char *const keys[] = {"code", "status", "status_code"};
    int64_t status;

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        yyjson_val *v = json_get(object, str_c(keys[i]));
        bool number = json_to_int64(v, &status) || str_to_int64(json_str(v), &status);
        if (number && status >= 400 && status <= 599)
            return (int)status;
    }
    return 0;
}

/* FastAPI: {"detail":"…"}, or a list of {"msg":"…"} or of other things. */
static struct str detail_text(yyjson_val *root, struct arena *arena)
{
    yyjson_val *detail = json_get(root, STR("detail"));
    struct str text = valid_text(root, "detail", arena);

    if (!str_is_null(text) || detail == NULL || yyjson_is_null(detail))
        return text;
    text = valid_text(yyjson_arr_get_first(detail), "msg", arena);
    if (!str_is_null(text))
        return text;
    return utf8_repair(utf8_head(json_text(detail, arena), MESSAGE_BYTES_MAX), arena);
}

static bool is_said_detail(yyjson_val *detail)
{
    return json_str(detail).n > 0 || yyjson_arr_size(detail) > 0;
}

/* MiniMax: {"base_resp":{"status_code":1008,"status_msg":"…"}} beside whatever else, with status
 * 200; 0: all is well. */
static yyjson_val *base_failure(yyjson_val *root)
{
    yyjson_val *base = json_get(root, STR("base_resp"));
    int64_t code;

    return json_to_int64(json_get(base, STR("status_code")), &code) && code != 0 ? base : NULL;
}

static bool read_base_failure(yyjson_val *root, struct arena *arena, struct event *ret_error)
{
    static const struct {
        int code;
        int status;
    } known[] = {
        {1001, 504}, {1002, 429}, {1004, 401}, {1008, 402}, {1026, 400}, {1027, 400},
        {1039, 429}, {1041, 429}, {2013, 400}, {2049, 401}, {2056, 429},
    };
    yyjson_val *base = base_failure(root);
    int64_t code;

    if (base == NULL || !json_to_int64(json_get(base, STR("status_code")), &code))
        return false;
    struct str message = valid_text(base, "status_msg", arena);
    *ret_error = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
    ret_error->error.message = str_is_null(message) ? STR("unknown error") : message;
    ret_error->error.code = str_print(arena, "%lld", (long long)code);
    ret_error->error.status = 502;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (known[i].code == code)
            ret_error->error.status = known[i].status;
    }
    return true;
}

bool openai_chat_is_bare_error(yyjson_val *root)
{
    bool has_message = yyjson_is_str(json_get(root, STR("message")));

    if (str_eq(json_get_str(root, STR("object")), STR("error")) || base_failure(root) != NULL)
        return true;
    if (json_get(root, STR("choices")) != NULL || json_get_str(root, STR("id")).n > 0)
        return false;
    return (has_message && (status_in(root) != 0 || json_get(root, STR("type")) != NULL ||
                            json_get(root, STR("code")) != NULL)) ||
           is_said_detail(json_get(root, STR("detail")));
}

bool openai_chat_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error)
{
    if (yyjson_is_arr(root))
        root = yyjson_arr_get_first(root);

    yyjson_val *inner = json_get(root, STR("error"));
    yyjson_val *fields = yyjson_is_obj(inner) ? inner : root;
    if (inner == NULL && read_base_failure(root, arena, ret_error))
        return true;
    struct str message = valid_text(fields, "message", arena);

    if (str_is_null(message))
        message = valid_text(root, "error", arena);
    if (str_is_null(message))
        message = valid_text(root, "message", arena);
    if (str_is_null(message))
        message = detail_text(root, arena);
    if (str_is_null(message) && !yyjson_is_obj(inner))
        return false;
    *ret_error = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
    ret_error->error.message = str_is_null(message) ? STR("unknown error") : message;
    ret_error->error.type = valid_text(fields, "type", arena);
    ret_error->error.code = code_text(fields, arena);
    ret_error->error.status = status_in(fields);
    if (ret_error->error.status == 0 && fields != root)
        ret_error->error.status = status_in(root);
    return true;
}

static void error_decode(int status, struct str body, struct arena *arena, struct event *ret_error)
{
    assert(ret_error != NULL);
    const struct json_read_options options = {
        .depth_max = ERROR_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    struct event event;
    yyjson_val *root = json_read(body, &options, arena, &ignored);

    if (root == NULL || !openai_chat_read_error(root, arena, &event)) {
        struct str text = utf8_repair(utf8_head(str_trim(body), MESSAGE_BYTES_MAX), arena);
        event = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
        event.error.message = text.n > 0 ? text : str_print(arena, "HTTP status %d", status);
    }
    if (status >= 400)
        event.error.status = status;
    *ret_error = event;
}

void openai_chat_add_error(struct buf *out, const struct event *error, bool own)
{
    enum error_code code = failure_code(error);
    struct words words = error_words(code);
    struct str message = error->error.message;

    assert(error->kind == EVENT_ERROR);
    /* Who refuses our key may quote it. */
    if (!own && code == ERR_UPSTREAM_KEY)
        message = str_c(error_text(code));
    buf_add(out, STR("{\"error\":{\"message\":"));
    json_add_string(out, message);
    buf_add(out, STR(",\"type\":"));
    add_string(out, own ? error->error.type : str_c(words.type));
    buf_add(out, STR(",\"param\":null,\"code\":"));
    add_string(out, own ? error->error.code : str_c(words.code));
    buf_add(out, STR("}}"));
}

/* --- pieces of bodies --------------------------------------------------------------------- */

void openai_chat_add_key(struct buf *out, struct str key)
{
    if (out->n > 0 && out->p[out->n - 1] != '{')
        buf_add_char(out, ',');
    json_add_string(out, key);
    buf_add_char(out, ':');
}

struct str openai_chat_join(struct arena *arena, struct str a, struct str b)
{
    char *to = arena_alloc(arena, a.n + b.n);

    if (arena_overflowed(arena))
        return STR("");
    if (a.n > 0)
        memcpy(to, a.p, a.n);
    if (b.n > 0)
        memcpy(to + a.n, b.p, b.n);
    return str_of(to, a.n + b.n);
}

struct str openai_chat_finish_word(const struct event *stop, bool tools, bool legacy)
{
    assert(stop->kind == EVENT_STOP);
    switch (stop->stop.reason) {
    case STOP_END:
    case STOP_TOOL:
        if (!tools)
            return STR("stop");
        return legacy ? STR("function_call") : STR("tool_calls");
    case STOP_LENGTH:
    case STOP_CONTEXT:
        return STR("length");
    case STOP_FILTER:
        return STR("content_filter");
    case STOP_SEQUENCE:
    case STOP_REFUSAL:
    case STOP_PAUSE:
        return STR("stop");
    case STOP_OTHER:
        return stop->stop.native.n > 0 ? stop->stop.native : STR("stop");
    case STOP_REASON_COUNT:
        break;
    }
    BUG("no such reason");
}

/* The string at key, with its quotes; null without one. */
static struct str string_at(struct str object, const char *key)
{
    struct str value = json_object_find(object, str_c(key));

    return value.n > 2 && json_kind_of(value) == JSON_STRING ? value : STR_NULL;
}

bool openai_chat_add_image(struct buf *out, struct str media)
{
    struct str url = string_at(media, "url");
    struct str type = string_at(media, "media_type");
    struct str data = string_at(media, "data");

    if (str_is_null(url) && (str_is_null(data) || !str_starts(type, STR("\"image/"))))
        return false;
    buf_add(out, STR("{\"type\":\"image_url\",\"image_url\":{\"url\":"));
    if (!str_is_null(url)) {
        buf_add(out, url);
    } else {
        /* Both are bodies of JSON strings as they stand. */
        buf_add(out, STR("\"data:"));
        buf_add(out, str_of(type.p + 1, type.n - 2));
        buf_add(out, STR(";base64,"));
        buf_add(out, str_from(data, 1));
    }
    return buf_add(out, STR("}}"));
}

bool openai_chat_is_annotation(struct str json)
{
    return str_eq(string_at(json, "type"), STR("\"url_citation\"")) &&
           json_object_find(json, STR("url_citation")).n > 0;
}

static void add_count(struct buf *out, const char *key, int64_t value)
{
    openai_chat_add_key(out, str_c(key));
    buf_add_int64(out, value);
}

void openai_chat_add_usage(struct buf *out, const struct usage *usage)
{
    int64_t input = usage->input < 0 ? 0 : usage->input;
    int64_t output = usage->output < 0 ? 0 : usage->output;

    assert(usage->total >= -1 && usage->cached >= -1 && usage->reasoning >= -1);
    buf_add_char(out, '{');
    add_count(out, "prompt_tokens", input);
    add_count(out, "completion_tokens", output);
    add_count(out, "total_tokens", usage->total < 0 ? input + output : usage->total);
    if (usage->cached >= 0 || usage->cache_written >= 0) {
        buf_add(out, STR(",\"prompt_tokens_details\":{"));
        if (usage->cached >= 0)
            add_count(out, "cached_tokens", usage->cached);
        if (usage->cache_written >= 0)
            add_count(out, "cache_write_tokens", usage->cache_written);
        buf_add_char(out, '}');
    }
    if (usage->reasoning >= 0) {
        buf_add(out, STR(",\"completion_tokens_details\":{"));
        add_count(out, "reasoning_tokens", usage->reasoning);
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
}

/* --- models ------------------------------------------------------------------------------- */

/* Vendors' lists: {"data":[…]}, the bare list (Together, GitHub), {"models":[…]}, in which a model
 * may have no id but a name. */
static yyjson_val *models_list(yyjson_val *root, bool *ret_named)
{
    yyjson_val *list = yyjson_is_arr(root) ? root : json_get(root, STR("data"));

    *ret_named = !yyjson_is_arr(list);
    return yyjson_is_arr(list) ? list : json_get(root, STR("models"));
}

static struct str model_id(yyjson_val *model, bool named)
{
    struct str id = json_get_str(model, STR("id"));

    return id.n == 0 && named ? json_get_str(model, STR("name")) : id;
}

/* The two ways in which vendors have pages: a cursor of OpenAI's other lists, and a token. */
static struct str next_page(yyjson_val *root, struct str last_id, struct arena *arena)
{
    struct str token = json_get_str(root, STR("next_page_token"));
    struct str last = json_get_str(root, STR("last_id"));

    if (token.n == 0)
        token = json_get_str(root, STR("nextPageToken"));
    if (token.n > 0)
        return str_print(arena, "pageToken=%.*s", STR_ARG(url_encode(token, "", arena)));
    if (!yyjson_is_true(json_get(root, STR("has_more"))))
        return STR_NULL;
    if (last.n == 0)
        last = last_id;
    return last.n == 0 ? STR_NULL
                       : str_print(arena, "after=%.*s", STR_ARG(url_encode(last, "", arena)));
}

static bool models_decode(struct str body, struct arena *arena,
                          void (*add)(void *ctx, struct str id, struct str source), void *ctx,
                          struct str *ret_next)
{
    const struct json_read_options options = {
        .depth_max = MODELS_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    struct str last = STR_NULL;
    yyjson_val *root = json_read(body, &options, arena, &ignored);
    bool named = false;
    yyjson_val *list = models_list(root, &named);
    size_t at;
    size_t count;
    yyjson_val *model;

    if (!yyjson_is_arr(list))
        return false;
    yyjson_arr_foreach(list, at, count, model)
    {
        struct str id = model_id(model, named);
        if (id.n == 0)
            continue;
        last = utf8_repair(id, arena);
        add(ctx, last, json_text(model, arena));
    }
    *ret_next = next_page(root, last, arena);
    return true;
}

static void add_model(struct buf *out, const struct model_entry *model)
{
    buf_add(out, STR("{\"id\":"));
    json_add_string(out, model->id);
    buf_add(out, STR(",\"object\":\"model\",\"created\":"));
    buf_add_int64(out, model->created_s);
    buf_add(out, STR(",\"owned_by\":"));
    json_add_string(out, model->owner);
    buf_add_char(out, '}');
}

static void models_encode(const struct model_entry *models, size_t n, bool one, struct buf *out)
{
    if (one) {
        assert(n > 0);
        add_model(out, &models[0]);
        return;
    }
    buf_add(out, STR("{\"object\":\"list\",\"data\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_model(out, &models[i]);
    }
    buf_add(out, STR("]}"));
}

/* --- the protocol ------------------------------------------------------------------------- */

static const struct route routes[] = {
    {"POST", "/v1/chat/completions", OP_GENERATE},
    {"POST", "/v2/chat/completions", OP_GENERATE},
    {"GET", "/v1/models", OP_MODELS},
    {"GET", "/v2/models", OP_MODELS},
    {"GET", "/v1/models/*", OP_MODEL},
    {"GET", "/v2/models/*", OP_MODEL},
    {NULL, NULL, OP_COUNT},
};

const struct protocol protocol_openai_chat = {
    .name = "openai-chat",
    .routes = routes,
    .models_path = "/models",
    .api_version = "/v1",
    .request_decode = openai_chat_request_decode,
    .request_decode_full = openai_chat_request_decode_full,
    .request_encode = openai_chat_upstream_encode,
    .outline_next = turns_openai_chat_next,
    .outline_last = turns_openai_chat_last,
    .outline_call = turns_openai_chat_call,
    .outline_words = turns_openai_words,
    .decoder_size = sizeof(struct openai_chat_decoder),
    .decoder_init = openai_chat_decode_init,
    .response_decode = openai_chat_decode_bytes,
    .decoder_fini = openai_chat_decode_fini,
    .encoder_size = sizeof(struct openai_chat_encoder),
    .encoder_init = openai_chat_encode_init,
    .response_encode = openai_chat_encode_frame,
    .encoder_end = openai_chat_encode_end,
    .encoder_fini = openai_chat_encode_fini,
    .error_encode = error_encode,
    .error_decode = error_decode,
    .models_decode = models_decode,
    .models_encode = models_encode,
    .stream_content_type = "text/event-stream; charset=utf-8",
    .lint_size = sizeof(struct openai_chat_lint),
    .lint_init = openai_chat_lint_init,
    .lint_bytes = openai_chat_lint_bytes,
    .lint_fini = openai_chat_lint_fini,
};
