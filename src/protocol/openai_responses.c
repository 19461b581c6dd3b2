/* SPDX-License-Identifier: MIT */
/*
 * The Responses API of OpenAI, and of others who took it over.
 *
 * What      The protocol's table entry, its routes, its errors and counts.
 * How       Errors as bodies and lists of models are those of Chat Completions: the API is one.
 *           An error within a stream is said twice: flat, as the specification has it, and nested,
 *           as it comes over the wire; clients read one or the other.
 * Owns      Nothing.
 * Not here  Requests (openai_responses_request.c, openai_responses_upstream.c), answers
 *           (openai_responses_decode.c, openai_responses_encode.c), responses that are kept
 *           (gateway).
 */
#include "canon/failure.h"
#include "protocol/openai_responses_lint.h"
#include "protocol/openai_responses_priv.h"
#include "protocol/openai_responses_replay.h"
#include "protocol/turns.h"

extern const struct protocol protocol_openai_chat;

enum { COUNT_DEPTH_MAX = 16, ERROR_BYTES_MAX = 16 * 1024 };

/* --- pieces of JSON ----------------------------------------------------------------------- */

void openai_responses_add_key(struct buf *out, const char *key)
{
    if (out->n > 0 && out->p[out->n - 1] != '{')
        buf_add_char(out, ',');
    buf_add_char(out, '"');
    buf_add(out, str_c(key));
    buf_add(out, STR("\":"));
}

void openai_responses_add_string(struct buf *out, const char *key, struct str value)
{
    if (str_is_null(value))
        return;
    openai_responses_add_key(out, key);
    json_add_string(out, value);
}

static void add_count(struct buf *out, const char *key, int64_t value)
{
    openai_responses_add_key(out, key);
    buf_add_int64(out, value < 0 ? 0 : value);
}

void openai_responses_add_usage(struct buf *out, const struct usage *usage)
{
    int64_t input = usage->input < 0 ? 0 : usage->input;
    int64_t output = usage->output < 0 ? 0 : usage->output;

    buf_add_char(out, '{');
    add_count(out, "input_tokens", input);
    buf_add(out, STR(",\"input_tokens_details\":{"));
    add_count(out, "cached_tokens", usage->cached);
    add_count(out, "cache_write_tokens", usage->cache_written);
    buf_add_char(out, '}');
    add_count(out, "output_tokens", output);
    buf_add(out, STR(",\"output_tokens_details\":{"));
    add_count(out, "reasoning_tokens", usage->reasoning);
    buf_add_char(out, '}');
    add_count(out, "total_tokens", usage->total < 0 ? input + output : usage->total);
    buf_add_char(out, '}');
}

/* --- errors ------------------------------------------------------------------------------- */

/* The words that a response's error may have as code; clients know no others. */
static const struct {
    struct str code;
    int status;
} codes[] = {
    {STR_INIT("server_error"), 500},
    {STR_INIT("rate_limit_exceeded"), 429},
    {STR_INIT("insufficient_quota"), 429},
    {STR_INIT("context_length_exceeded"), 400},
    {STR_INIT("invalid_prompt"), 400},
    {STR_INIT("bio_policy"), 400},
    {STR_INIT("data_residency_mismatch"), 400},
    {STR_INIT("vector_store_timeout"), 504},
    {STR_INIT("invalid_image"), 400},
    {STR_INIT("invalid_image_format"), 400},
    {STR_INIT("invalid_base64_image"), 400},
    {STR_INIT("invalid_image_url"), 400},
    {STR_INIT("image_too_large"), 400},
    {STR_INIT("image_too_small"), 400},
    {STR_INIT("image_parse_error"), 400},
    {STR_INIT("image_content_policy_violation"), 400},
    {STR_INIT("invalid_image_mode"), 400},
    {STR_INIT("image_file_too_large"), 400},
    {STR_INIT("unsupported_image_media_type"), 400},
    {STR_INIT("empty_image_file"), 400},
    {STR_INIT("failed_to_download_image"), 400},
    {STR_INIT("image_file_not_found"), 400},
    /* Types, which some say alone. */
    {STR_INIT("invalid_request_error"), 400},
    {STR_INIT("authentication_error"), 401},
    {STR_INIT("rate_limit_error"), 429},
};
enum { CODES_TYPES = 3 };

int openai_responses_status_of(struct str code)
{
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        if (str_eq(code, codes[i].code))
            return codes[i].status;
    }
    return 0;
}

/* The word for it; clients act on some of them. */
static struct str code_word(const struct event *error)
{
    int status = error->error.status;

    if (error->error.code.n > 0)
        return error->error.code;
    if (status == 429)
        return STR("rate_limit_exceeded");
    return status >= 400 && status < 500 ? STR("invalid_prompt") : STR("server_error");
}

/* One that a response's error may have: who reads it may know these only, as an enumeration. */
static struct str known_word(const struct event *error)
{
    struct str word = code_word(error);

    for (size_t i = 0; i < COUNT_OF(codes) - CODES_TYPES; i++) {
        if (str_eq(word, codes[i].code))
            return word;
    }
    enum error_code class = failure_code(error);
    if (class == ERR_UPSTREAM_RATE_LIMITED)
        return STR("rate_limit_exceeded");
    if (class == ERR_BILLING)
        return STR("insufficient_quota");
    return class == ERR_CONTEXT_TOO_LONG ? STR("context_length_exceeded") : STR("server_error");
}

void openai_responses_add_error_fields(struct buf *out, const struct event *error, bool of_response)
{
    assert(error->kind == EVENT_ERROR);
    openai_responses_add_string(out, "code", of_response ? known_word(error) : code_word(error));
    openai_responses_add_string(out, "message",
                                str_is_null(error->error.message) ? STR("") : error->error.message);
}

void openai_responses_add_error(struct buf *out, const struct event *error)
{
    openai_responses_add_error_fields(out, error, false);
    buf_add(out, STR(",\"param\":null,\"error\":{"));
    openai_responses_add_string(out, "type",
                                error->error.type.n > 0 ? error->error.type : STR("server_error"));
    openai_responses_add_error_fields(out, error, false);
    buf_add(out, STR(",\"param\":null}"));
}

/* What ends a stream that fails here: the error in the words of Chat Completions. */
static void break_stream(struct openai_responses_encoder *enc, const struct error *error,
                         struct buf *out)
{
    struct arena arena;
    struct event event;
    struct buf body;

    buf_init(&body, ERROR_BYTES_MAX);
    arena_init(&arena, ERROR_BYTES_MAX * 16, 4096, NULL);
    protocol_openai_chat.error_encode(error, STR_NULL, false, &body);
    protocol_openai_chat.error_decode(0, buf_str(&body), &arena, &event);
    openai_responses_encode_error(enc, &event, out);
    arena_fini(&arena);
    buf_fini(&body);
}

static void encode_break(void *encoder, const struct error *error, struct buf *out)
{
    break_stream(encoder, error, out);
}

static void error_encode(const struct error *error, struct str request_id, bool in_stream,
                         struct buf *out)
{
    struct openai_responses_encoder enc;
    struct arena arena;

    if (!in_stream) {
        protocol_openai_chat.error_encode(error, request_id, false, out);
        return;
    }
    /* Outside of any answer. */
    enc = (struct openai_responses_encoder){.options = {.stream = true, .arena = &arena}};
    arena_init(&arena, ERROR_BYTES_MAX * 16, 4096, NULL);
    enc.id = str_print(&arena, "resp_%.*s", STR_ARG(request_id));
    enc.model = STR("");
    enc.created = enc.running = true;
    openai_responses_collect_echo(&enc);
    break_stream(&enc, error, out);
    arena_fini(&arena);
}

static void error_decode(int status, struct str body, struct arena *arena, struct event *ret_error)
{
    protocol_openai_chat.error_decode(status, body, arena, ret_error);
    if (ret_error->error.status == 0)
        ret_error->error.status = openai_responses_status_of(ret_error->error.code);
}

/* --- models and counts -------------------------------------------------------------------- */

static bool models_decode(struct str body, struct arena *arena,
                          void (*add)(void *ctx, struct str id, struct str source), void *ctx,
                          struct str *ret_next)
{
    return protocol_openai_chat.models_decode(body, arena, add, ctx, ret_next);
}

static void models_encode(const struct model_entry *models, size_t n, bool one, struct buf *out)
{
    protocol_openai_chat.models_encode(models, n, one, out);
}

static bool count_decode(struct str body, struct arena *arena, int64_t *ret_tokens)
{
    const struct json_read_options options = {
        .depth_max = COUNT_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    yyjson_val *root = json_read(body, &options, arena, &ignored);

    return json_to_int64(json_get(root, STR("input_tokens")), ret_tokens) && *ret_tokens >= 0;
}

static void count_encode(int64_t tokens, struct buf *out)
{
    buf_add(out, STR("{\"object\":\"response.input_tokens\",\"input_tokens\":"));
    buf_add_int64(out, tokens);
    buf_add_char(out, '}');
}

/* --- the protocol ------------------------------------------------------------------------- */

#define CONVERSATIONS(method, version)                         \
    {(method), version "/conversations", OP_CONVERSATIONS},    \
    {                                                          \
        (method), version "/conversations/*", OP_CONVERSATIONS \
    }

#define RESPONSES(version)                                                                       \
    {"POST", version "/responses", OP_GENERATE},                                                 \
        {"POST", version "/responses/input_tokens", OP_COUNT_TOKENS},                            \
        {"POST", version "/responses/compact", OP_COMPACT},                                      \
        {"GET", version "/responses/*", OP_REPLY_GET},                                           \
        {"DELETE", version "/responses/*", OP_REPLY_DELETE},                                     \
        {"GET", version "/responses/*/input_items", OP_REPLY_INPUT},                             \
        {"POST", version "/responses/*/cancel", OP_REPLY_CANCEL}, CONVERSATIONS("GET", version), \
        CONVERSATIONS("POST", version), CONVERSATIONS("DELETE", version)

static const struct route routes[] = {
    RESPONSES("/v1"),
    RESPONSES("/v2"),
    {NULL, NULL, OP_COUNT},
};

const struct protocol protocol_openai_responses = {
    .name = "openai-responses",
    .routes = routes,
    .models_path = "/models",
    .api_version = "/v1",
    .request_decode = openai_responses_request_decode,
    .request_decode_full = openai_responses_request_decode_full,
    .request_encode = openai_responses_upstream_encode,
    .outline_next = turns_openai_responses_next,
    .outline_last = turns_openai_responses_last,
    .outline_call = turns_openai_responses_call,
    .outline_words = turns_openai_words,
    .decoder_size = sizeof(struct openai_responses_decoder),
    .decoder_init = openai_responses_decode_init,
    .response_decode = openai_responses_decode_bytes,
    .decoder_fini = openai_responses_decode_fini,
    .encoder_size = sizeof(struct openai_responses_encoder),
    .encoder_init = openai_responses_encode_init,
    .response_encode = openai_responses_encode_frame,
    .encoder_end = openai_responses_encode_end,
    .encoder_break = encode_break,
    .encoder_fini = openai_responses_encode_fini,
    .error_encode = error_encode,
    .error_decode = error_decode,
    .models_decode = models_decode,
    .models_encode = models_encode,
    .stream_content_type = "text/event-stream; charset=utf-8",
    .count_decode = count_decode,
    .count_encode = count_encode,
    .replay = openai_responses_replay,
    .lint_size = sizeof(struct openai_responses_lint),
    .lint_init = openai_responses_lint_init,
    .lint_bytes = openai_responses_lint_bytes,
    .lint_fini = openai_responses_lint_fini,
};
