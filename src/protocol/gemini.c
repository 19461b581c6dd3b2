/* SPDX-License-Identifier: MIT */
/*
 * Gemini: the generateContent family of Google's API (gemini.md).
 *
 * What      The protocol's table entry, its routes, its errors, lists of models, counts of tokens.
 * How       Errors that we make: one switch over all codes (contract: behaviour.md, section 2).
 *           Errors that upstreams make: {"error":{…}}, also in a list of one.
 * Owns      Nothing.
 * Not here  Requests (gemini_request.c, gemini_upstream.c), answers (gemini_decode.c,
 *           gemini_encode.c).
 */
#include "protocol/gemini_priv.h"

#include "canon/failure.h"
#include "protocol/turns.h"
#include "text/url.h"
#include "text/utf8.h"

/* --- errors that we make ------------------------------------------------------------------ */

static struct str error_word(enum error_code code)
{
    switch (code) {
    case ERR_UNAUTHORIZED:
        return STR("UNAUTHENTICATED");
    case ERR_RATE_LIMITED:
    case ERR_UPSTREAM_RATE_LIMITED:
    case ERR_BILLING:
        return STR("RESOURCE_EXHAUSTED");
    case ERR_NO_BACKEND:
    case ERR_UPSTREAM_UNREACHABLE:
    case ERR_UPSTREAM_BROKEN:
    case ERR_UPSTREAM_TOO_LARGE:
    case ERR_UPSTREAM_KEY:
    case ERR_UPSTREAM_OVERLOADED:
    case ERR_OVERLOADED:
    case ERR_DRAINING:
        return STR("UNAVAILABLE");
    case ERR_UPSTREAM_TIMEOUT:
    case ERR_REQUEST_TIMEOUT:
        return STR("DEADLINE_EXCEEDED");
    case ERR_FORBIDDEN:
        return STR("PERMISSION_DENIED");
    case ERR_NOT_FOUND:
    case ERR_MODEL_NOT_FOUND:
    case ERR_UNKNOWN_RESPONSE:
        return STR("NOT_FOUND");
    case ERR_CLIENT_LEFT:
        return STR("CANCELLED");
    case ERR_UPSTREAM_ERROR:
    case ERR_CONFIG:
    case ERR_SYSTEM:
    case ERR_INTERNAL:
        return STR("INTERNAL");
    case ERR_BAD_HTTP:
    case ERR_BAD_REQUEST:
    case ERR_UNKNOWN_BACKEND:
    case ERR_METHOD_NOT_ALLOWED:
    case ERR_TOO_LARGE:
    case ERR_UNSUPPORTED_MEDIA:
    case ERR_UPGRADE_REQUIRED:
    case ERR_HEADERS_TOO_LARGE:
    case ERR_CONTEXT_TOO_LONG:
    case ERR_POLICY:
    case ERR_UNSUPPORTED:
    case ERR_UNSUPPORTED_VALUE:
        return STR("INVALID_ARGUMENT");
    case OK:
    case ERROR_COUNT:
        break;
    }
    BUG("no such error");
}

/* When to try again, as Google's clients look for it. */
static void add_retry_info(int64_t wait_ms, struct buf *out)
{
    buf_add(out, STR(",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
                     "\"retryDelay\":\""));
    buf_add_int64(out, wait_ms / 1000);
    if (wait_ms % 1000 != 0)
        buf_print(out, ".%03d", (int)(wait_ms % 1000));
    buf_add(out, STR("s\"}]"));
}

void gemini_say_error(const struct error *error, struct buf *out)
{
    struct str pieces[ERROR_PIECES];

    error_told(error, pieces);
    buf_print(out, "{\"error\":{\"code\":%d,\"message\":\"", error_status(error));
    for (size_t i = 0; i < ERROR_PIECES; i++)
        json_add_escaped(out, pieces[i]);
    buf_add(out, STR("\",\"status\":"));
    json_add_string(out, error_word(error->code));
    if (error->wait_ms > 0)
        add_retry_info(error->wait_ms, out);
    buf_add(out, STR("}}"));
}

static void error_encode(const struct error *error, struct str request_id, bool in_stream,
                         struct buf *out)
{
    /* The shape has no place for it; the client has it in x-llm-proxy-request-id. */
    (void)request_id;
    if (in_stream)
        buf_add(out, STR("data: "));
    gemini_say_error(error, out);
    if (in_stream)
        buf_add(out, STR("\r\n\r\n"));
}

/* --- errors that upstreams make ----------------------------------------------------------- */

static struct str valid_text(yyjson_val *object, const char *key, struct arena *arena)
{
    struct str text = json_get_str(object, str_c(key));

    return text.n == 0 ? STR_NULL : utf8_repair(utf8_head(text, GEMINI_MESSAGE_BYTES_MAX), arena);
}

/* ErrorInfo's reason ("API_KEY_INVALID"); else which quota was used up. */
static struct str reason_in(yyjson_val *details, struct arena *arena)
{
    struct str quota = STR_NULL;
    size_t at;
    size_t count;
    yyjson_val *detail;

    yyjson_arr_foreach(details, at, count, detail)
    {
        struct str reason = valid_text(detail, "reason", arena);
        yyjson_val *first = yyjson_arr_get_first(json_get(detail, STR("violations")));
        if (!str_is_null(reason))
            return reason;
        if (str_is_null(quota))
            quota = valid_text(first, "quotaId", arena);
    }
    return quota;
}

bool gemini_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error)
{
    int64_t status;

    if (yyjson_is_arr(root))
        root = yyjson_arr_get_first(root);
    yyjson_val *error = json_get(root, STR("error"));
    if (!yyjson_is_obj(error) && !yyjson_is_str(error))
        return false;
    struct str message = valid_text(error, "message", arena);
    if (str_is_null(message))
        message = valid_text(root, "error", arena);
    *ret_error = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
    ret_error->error.message = str_is_null(message) ? STR("unknown error") : message;
    ret_error->error.type = valid_text(error, "status", arena);
    ret_error->error.code = reason_in(json_get(error, STR("details")), arena);
    if (json_to_int64(json_get(error, STR("code")), &status) && status >= 400 && status <= 599)
        ret_error->error.status = (int)status;
    return true;
}

static void error_decode(int status, struct str body, struct arena *arena, struct event *ret_error)
{
    const struct json_read_options options = {
        .depth_max = GEMINI_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    struct event event;
    yyjson_val *root = json_read(body, &options, arena, &ignored);

    assert(ret_error != NULL);
    if (root == NULL || !gemini_read_error(root, arena, &event)) {
        struct str text = utf8_repair(utf8_head(str_trim(body), GEMINI_MESSAGE_BYTES_MAX), arena);
        event = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
        event.error.message = text.n > 0 ? text : str_print(arena, "HTTP status %d", status);
    }
    if (status >= 400)
        event.error.status = status;
    *ret_error = event;
}

void gemini_add_error(struct buf *out, const struct event *error)
{
    enum error_code code = failure_code(error);
    int status = error->error.status >= 400 ? error->error.status : error_status_of(code);
    struct str word = error_word(code);

    assert(error->kind == EVENT_ERROR);
    /* A word of Google's own stays. */
    for (int i = 1; i < ERROR_COUNT; i++) {
        if (str_eq(error->error.type, error_word((enum error_code)i)))
            word = error->error.type;
    }
    if (str_eq(error->error.type, STR("FAILED_PRECONDITION")) ||
        str_eq(error->error.type, STR("ABORTED")) ||
        str_eq(error->error.type, STR("ALREADY_EXISTS")))
        word = error->error.type;
    buf_print(out, "{\"error\":{\"code\":%d,\"message\":", status);
    json_add_string(out, error->error.message);
    buf_add(out, STR(",\"status\":"));
    json_add_string(out, word);
    buf_add(out, STR("}}"));
}

/* --- pieces of bodies --------------------------------------------------------------------- */

void gemini_add_key(struct buf *out, struct str key)
{
    if (out->n > 0 && out->p[out->n - 1] != '{')
        buf_add_char(out, ',');
    json_add_string(out, key);
    buf_add_char(out, ':');
}

void gemini_add_string(struct buf *out, struct str key, struct str value)
{
    gemini_add_key(out, key);
    json_add_string(out, value);
}

/* --- models ------------------------------------------------------------------------------- */

struct str gemini_model_bare(struct str model)
{
    return str_starts(model, STR("models/")) ? str_from(model, strlen("models/")) : model;
}

static bool models_decode(struct str body, struct arena *arena,
                          void (*add)(void *ctx, struct str id, struct str source), void *ctx,
                          struct str *ret_next)
{
    const struct json_read_options options = {
        .depth_max = GEMINI_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    yyjson_val *root = json_read(body, &options, arena, &ignored);
    yyjson_val *list = json_get(root, STR("models"));
    size_t at;
    size_t count;
    yyjson_val *model;

    if (!yyjson_is_arr(list))
        return false;
    yyjson_arr_foreach(list, at, count, model)
    {
        struct str name = gemini_model_bare(json_get_str(model, STR("name")));
        if (name.n > 0)
            add(ctx, utf8_repair(name, arena), json_text(model, arena));
    }
    struct str token = json_get_str(root, STR("nextPageToken"));
    *ret_next = token.n == 0 ? STR_NULL
                             : str_print(arena, "pageSize=1000&pageToken=%.*s",
                                         STR_ARG(url_encode(token, "", arena)));
    return true;
}

static void add_model(struct buf *out, const struct model_entry *model)
{
    buf_add(out, STR("{\"name\":\"models/"));
    json_add_escaped(out, model->id);
    buf_add(out, STR("\",\"baseModelId\":"));
    json_add_string(out, model->id);
    buf_add(out, STR(",\"version\":\"001\",\"displayName\":"));
    json_add_string(out, model->id);
    buf_add(out, STR(",\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]}"));
}

static void models_encode(const struct model_entry *models, size_t n, bool one, struct buf *out)
{
    if (one) {
        assert(n > 0);
        add_model(out, &models[0]);
        return;
    }
    buf_add(out, STR("{\"models\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_model(out, &models[i]);
    }
    buf_add(out, STR("]}"));
}

/* --- counts ------------------------------------------------------------------------------- */

static bool count_decode(struct str body, struct arena *arena, int64_t *ret_tokens)
{
    const struct json_read_options options = {.depth_max = GEMINI_DEPTH_MAX};
    struct error ignored;
    yyjson_val *root = json_read(body, &options, arena, &ignored);
    int64_t tokens;

    if (!json_to_int64(json_get(root, STR("totalTokens")), &tokens) || tokens < 0)
        return false;
    *ret_tokens = tokens;
    return true;
}

static void count_encode(int64_t tokens, struct buf *out)
{
    buf_print(out, "{\"totalTokens\":%lld}", (long long)tokens);
}

/* --- the protocol ------------------------------------------------------------------------- */

static const struct route routes[] = {
    {"POST", "/v1beta/models/*:countTokens", OP_COUNT_TOKENS},
    {"POST", "/v1/models/*:countTokens", OP_COUNT_TOKENS},
    {"POST", "/v1beta/models/*:generateContent", OP_GENERATE},
    {"POST", "/v1/models/*:generateContent", OP_GENERATE},
    {"POST", "/v1beta/models/*:streamGenerateContent", OP_GENERATE},
    {"POST", "/v1/models/*:streamGenerateContent", OP_GENERATE},
    /* What is no action is told so; one whose colon is encoded is one. */
    {"POST", "/v1beta/models/*", OP_GENERATE},
    {"POST", "/v1/models/*", OP_GENERATE},
    {"GET", "/v1beta/models", OP_MODELS},
    {"GET", "/v1beta/models/*", OP_MODEL},
    {NULL, NULL, OP_COUNT},
};

const struct protocol protocol_gemini = {
    .name = "gemini",
    .routes = routes,
    .models_path = "/models",
    .api_version = "/v1beta",
    .request_decode = gemini_request_decode,
    .request_decode_full = gemini_request_decode_full,
    .request_encode = gemini_upstream_encode,
    .outline_next = turns_gemini_next,
    .outline_last = turns_gemini_last,
    .outline_call = turns_gemini_call,
    .outline_words = turns_gemini_words,
    .decoder_size = sizeof(struct gemini_decoder),
    .decoder_init = gemini_decode_init,
    .response_decode = gemini_decode_bytes,
    .decoder_fini = gemini_decode_fini,
    .encoder_size = sizeof(struct gemini_encoder),
    .encoder_init = gemini_encode_init,
    .response_encode = gemini_encode_frame,
    .encoder_end = gemini_encode_end,
    .encoder_break = gemini_encode_break,
    .encoder_fini = gemini_encode_fini,
    .error_encode = error_encode,
    .error_decode = error_decode,
    .models_decode = models_decode,
    .models_encode = models_encode,
    .stream_content_type = "text/event-stream",
    .array_content_type = "application/json; charset=UTF-8",
    .count_decode = count_decode,
    .count_encode = count_encode,
    .lint_size = sizeof(struct gemini_lint),
    .lint_init = gemini_lint_init,
    .lint_bytes = gemini_lint_bytes,
    .lint_fini = gemini_lint_fini,
};
