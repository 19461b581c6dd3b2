/* SPDX-License-Identifier: MIT */
/*
 * Gemini: a checker of answers: would a client's SDK take this?
 *
 * What      Events, JSON arrays and whole bodies, cut anywhere, against gemini.md 6, 7 and 11.
 * How       Each line of events is one response, as is each element of an array; the rules are the
 *           same for all three. The first violation is told, with its line, and stays.
 * Owns      The bytes of the response that has not come whole.
 * Not here  What answers mean: gemini_decode.c, of which nothing is used here but JSON.
 */
#include "protocol/gemini_priv.h"

enum { CARRY_MAX = 64 * 1024 * 1024, CANDIDATES_MAX = 128, IDS_MAX = 4096 };

struct lint_candidate {
    bool begun;
    bool finished;
};

struct gemini_lint_state {
    struct lint_candidate candidates[CANDIDATES_MAX];
    struct str ids[IDS_MAX]; /* of calls */
    size_t ids_n;
};

void gemini_lint_init(void *state, const struct lint_options *options)
{
    struct gemini_lint *lint = state;

    lint->options = *options;
    lint->line = 1;
    buf_init(&lint->carry, CARRY_MAX);
    lint->state = arena_alloc(options->arena, sizeof(*lint->state));
    if (!arena_overflowed(options->arena))
        memset(lint->state, 0, sizeof(*lint->state));
}

void gemini_lint_fini(void *state)
{
    struct gemini_lint *lint = state;

    buf_fini(&lint->carry);
}

static enum error_code wrong(struct gemini_lint *lint, const char *what, struct error *e)
{
    lint->failed = true;
    return FAIL(e, ERR_INTERNAL, "line %zu: %s", lint->line, what);
}

#define MUST(lint, holds, what, e)             \
    do {                                       \
        if (!(holds))                          \
            return wrong((lint), (what), (e)); \
    } while (0)

/* --- parts -------------------------------------------------------------------------------- */

static bool is_base64(struct str text)
{
    size_t n = 0;

    for (; n < text.n && text.p[n] != '='; n++) {
        char c = text.p[n];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && c != '+' && c != '/')
            return false;
    }
    return text.n % 4 == 0 && text.n - n <= 2;
}

static enum error_code check_call(struct gemini_lint *lint, yyjson_val *call, struct error *e)
{
    struct gemini_lint_state *state = lint->state;
    yyjson_val *args = json_get(call, STR("args"));
    struct str id = json_get_str(call, STR("id"));

    MUST(lint, yyjson_is_obj(call), "a functionCall is an object", e);
    /* Pieces of a call (Vertex) do not say it again. */
    MUST(lint, json_get_str(call, STR("name")).n > 0 || (args == NULL && id.n == 0),
         "a functionCall has a name", e);
    MUST(lint, args == NULL || yyjson_is_obj(args), "args are an object", e);
    if (id.n == 0)
        return OK;
    for (size_t i = 0; i < state->ids_n; i++)
        MUST(lint, !str_eq(id, state->ids[i]), "ids of calls are unique", e);
    if (state->ids_n < IDS_MAX)
        state->ids[state->ids_n++] = id;
    return OK;
}

static enum error_code check_media(struct gemini_lint *lint, yyjson_val *media, const char *key,
                                   struct error *e)
{
    MUST(lint, yyjson_is_obj(media), "inlineData and fileData are objects", e);
    MUST(lint, yyjson_is_str(json_get(media, str_c(key))), "media have data or a fileUri", e);
    MUST(lint, strcmp(key, "data") != 0 || json_get_str(media, STR("mimeType")).n > 0,
         "inlineData has a mimeType", e);
    return OK;
}

static enum error_code check_part(struct gemini_lint *lint, yyjson_val *part, struct error *e)
{
    static const char *const beside[] = {"thought", "thoughtSignature", "videoMetadata",
                                         "mediaResolution", "partMetadata"};
    yyjson_val *text = json_get(part, STR("text"));
    yyjson_val *thought = json_get(part, STR("thought"));
    yyjson_val *signature = json_get(part, STR("thoughtSignature"));
    size_t payloads = yyjson_obj_size(part);

    MUST(lint, yyjson_is_obj(part), "a part is an object", e);
    for (size_t i = 0; i < COUNT_OF(beside); i++)
        payloads -= json_get(part, str_c(beside[i])) != NULL ? 1 : 0;
    MUST(lint, payloads <= 1 && (payloads == 1 || signature != NULL), "a part has one payload", e);
    MUST(lint, text == NULL || yyjson_is_str(text), "text is a string", e);
    MUST(lint, thought == NULL || yyjson_is_bool(thought), "thought is true or false", e);
    MUST(lint, signature == NULL || is_base64(json_str(signature)), "thoughtSignature is base64",
         e);
    if (json_get(part, STR("functionCall")) != NULL)
        return check_call(lint, json_get(part, STR("functionCall")), e);
    if (json_get(part, STR("inlineData")) != NULL)
        return check_media(lint, json_get(part, STR("inlineData")), "data", e);
    if (json_get(part, STR("fileData")) != NULL)
        return check_media(lint, json_get(part, STR("fileData")), "fileUri", e);
    return OK;
}

/* --- candidates --------------------------------------------------------------------------- */

static bool is_finish(struct str word)
{
    static const char *const words[] = {
        "STOP",
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "UNEXPECTED_TOOL_CALL",
        "MALFORMED_FUNCTION_CALL",
        "IMAGE_OTHER",
        "TOO_MANY_TOOL_CALLS",
        "IMAGE_PROHIBITED_CONTENT",
        "NO_IMAGE",
        "IMAGE_RECITATION",
        "MISSING_THOUGHT_SIGNATURE",
        "MODEL_ARMOR",
        "MALFORMED_RESPONSE",
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(word, str_c(words[i])))
            return true;
    }
    return false;
}

static enum error_code check_candidate(struct gemini_lint *lint, yyjson_val *v, struct error *e)
{
    yyjson_val *content = json_get(v, STR("content"));
    yyjson_val *parts = json_get(content, STR("parts"));
    yyjson_val *finish = json_get(v, STR("finishReason"));
    struct str role = json_get_str(content, STR("role"));
    int64_t index = 0;
    size_t at;
    size_t count;
    yyjson_val *part;

    MUST(lint, yyjson_is_obj(v), "a candidate is an object", e);
    MUST(lint,
         json_get(v, STR("index")) == NULL || json_to_int64(json_get(v, STR("index")), &index),
         "index is an integer", e);
    MUST(lint, index >= 0 && index < CANDIDATES_MAX, "index is in its bounds", e);
    struct lint_candidate *c = &lint->state->candidates[index];
    MUST(lint, !c->finished, "a candidate says nothing after its finishReason", e);
    c->begun = true;
    MUST(lint, content == NULL || yyjson_is_obj(content), "content is an object", e);
    MUST(lint, role.n == 0 || str_eq(role, STR("model")), "the role is model", e);
    MUST(lint, parts == NULL || yyjson_is_arr(parts), "parts are a list", e);
    yyjson_arr_foreach(parts, at, count, part)
    {
        TRY(check_part(lint, part, e));
    }
    /* proto3 allows an enumeration's number for its name. */
    MUST(lint, finish == NULL || yyjson_is_raw(finish) || is_finish(json_str(finish)),
         "finishReason is a known word", e);
    c->finished = finish != NULL;
    return OK;
}

/* --- a response --------------------------------------------------------------------------- */

static enum error_code check_error(struct gemini_lint *lint, yyjson_val *error, struct error *e)
{
    int64_t code;

    MUST(lint, json_to_int64(json_get(error, STR("code")), &code) && code >= 400 && code < 600,
         "an error has a code", e);
    MUST(lint, yyjson_is_str(json_get(error, STR("message"))), "an error has a message", e);
    MUST(lint, json_get_str(error, STR("status")).n > 0, "an error has a status", e);
    lint->ended = true;
    return OK;
}

/* A count; absent is 0. */
static bool count_of(yyjson_val *usage, const char *key, int64_t *ret_count)
{
    yyjson_val *v = json_get(usage, str_c(key));

    *ret_count = 0;
    return v == NULL || (json_to_int64(v, ret_count) && *ret_count >= 0);
}

static enum error_code check_usage(struct gemini_lint *lint, yyjson_val *usage, struct error *e)
{
    int64_t prompt;
    int64_t output;
    int64_t thoughts;
    int64_t tools;
    int64_t total;
    int64_t cached;

    MUST(lint, yyjson_is_obj(usage), "usageMetadata is an object", e);
    MUST(lint,
         count_of(usage, "promptTokenCount", &prompt) &&
             count_of(usage, "candidatesTokenCount", &output) &&
             count_of(usage, "thoughtsTokenCount", &thoughts) &&
             count_of(usage, "toolUsePromptTokenCount", &tools) &&
             count_of(usage, "cachedContentTokenCount", &cached) &&
             count_of(usage, "totalTokenCount", &total),
         "counts are integers, and not negative", e);
    return OK;
}

/* The same in all responses of an answer; null where a response does not say it. */
static bool stays(struct str *known, yyjson_val *v)
{
    struct str said = json_str(v);

    if (said.n == 0)
        return v == NULL;
    if (known->n == 0)
        *known = said;
    return str_eq(*known, said);
}

static enum error_code check_response(struct gemini_lint *lint, struct str text, struct error *e)
{
    const struct json_read_options options = {.depth_max = 512};
    struct error why;
    yyjson_val *root = json_read(text, &options, lint->options.arena, &why);
    yyjson_val *candidates = json_get(root, STR("candidates"));
    yyjson_val *feedback = json_get(root, STR("promptFeedback"));
    size_t at;
    size_t count;
    yyjson_val *v;

    MUST(lint, !arena_overflowed(lint->options.arena), "too long to be checked", e);
    MUST(lint, yyjson_is_obj(root), "a response is a JSON object", e);
    MUST(lint, !lint->ended, "nothing comes after the end", e);
    lint->chunks++;
    if (json_get(root, STR("error")) != NULL)
        return check_error(lint, json_get(root, STR("error")), e);
    MUST(lint, candidates == NULL || yyjson_is_arr(candidates), "candidates are a list", e);
    MUST(lint, stays(&lint->model, json_get(root, STR("modelVersion"))),
         "modelVersion is a string and stays the same", e);
    MUST(lint, stays(&lint->id, json_get(root, STR("responseId"))),
         "responseId is a string and stays the same", e);
    yyjson_arr_foreach(candidates, at, count, v)
    {
        TRY(check_candidate(lint, v, e));
    }
    if (json_get_str(feedback, STR("blockReason")).n > 0)
        lint->blocked = true;
    if (json_get(root, STR("usageMetadata")) != NULL)
        return check_usage(lint, json_get(root, STR("usageMetadata")), e);
    return OK;
}

static enum error_code check_end(struct gemini_lint *lint, struct error *e)
{
    bool begun = lint->blocked;

    if (lint->ended)
        return OK;
    for (size_t i = 0; i < CANDIDATES_MAX; i++) {
        const struct lint_candidate *c = &lint->state->candidates[i];
        begun |= c->begun;
        MUST(lint, !c->begun || c->finished, "each candidate has a finishReason", e);
    }
    MUST(lint, begun, "an answer has a candidate, or its prompt was blocked", e);
    return OK;
}

/* --- framing ------------------------------------------------------------------------------ */

/* A line of events, without its end. */
static enum error_code check_line(struct gemini_lint *lint, struct str line, struct error *e)
{
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0) {
        lint->in_event = false;
        return OK;
    }
    if (line.p[0] == ':')
        return OK;
    MUST(lint, str_starts(line, STR("data: ")), "a line is data, a comment, or empty", e);
    MUST(lint, !lint->in_event, "an event is one line", e);
    lint->in_event = true;
    return check_response(lint, str_from(line, strlen("data: ")), e);
}

static enum error_code check_events(struct gemini_lint *lint, bool end, struct error *e)
{
    size_t from = 0;
    size_t at;

    while ((at = str_find_char(buf_str(&lint->carry), '\n', from)) != SIZE_MAX) {
        TRY(check_line(lint, str_of(lint->carry.p + from, at - from), e));
        lint->line++;
        from = at + 1;
    }
    buf_drop(&lint->carry, from);
    if (!end)
        return OK;
    MUST(lint, lint->carry.n == 0 && !lint->in_event, "the last event ends with an empty line", e);
    return check_end(lint, e);
}

/* A byte between the elements of an array, at depth 1 or outside. */
static enum error_code check_between(struct gemini_lint *lint, char c, struct error *e)
{
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';

    if (blank)
        return OK;
    if (!lint->array_begun) {
        MUST(lint, c == '[', "an array begins with [", e);
        lint->array_begun = true;
        lint->element_may = true;
        return OK;
    }
    MUST(lint, !lint->array_ended, "nothing comes after the array", e);
    if (c == ',') {
        MUST(lint, !lint->element_may, "a comma stands between elements", e);
        lint->element_may = true;
        lint->comma = true;
    } else if (c == ']') {
        MUST(lint, !lint->comma, "no comma before the array's end", e);
        lint->array_ended = true;
    } else {
        MUST(lint, c == '{' && lint->element_may, "elements are objects, with commas between", e);
        lint->depth = 1;
    }
    return OK;
}

static void step_inside(struct gemini_lint *lint, char c)
{
    if (lint->in_string) {
        if (lint->escaped)
            lint->escaped = false;
        else if (c == '\\')
            lint->escaped = true;
        else
            lint->in_string = c != '"';
    } else if (c == '"') {
        lint->in_string = true;
    } else if (c == '{' || c == '[') {
        lint->depth++;
    } else if (c == '}' || c == ']') {
        lint->depth--;
    }
}

static enum error_code check_array(struct gemini_lint *lint, struct str bytes, bool end,
                                   struct error *e)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (lint->depth == 0) {
            TRY(check_between(lint, c, e));
            if (lint->depth == 1)
                (void)buf_add_char(&lint->carry, c);
        } else {
            (void)buf_add_char(&lint->carry, c);
            step_inside(lint, c);
            if (lint->depth == 0) {
                TRY(check_response(lint, buf_str(&lint->carry), e));
                buf_reset(&lint->carry);
                lint->element_may = false;
                lint->comma = false;
            }
        }
        lint->line += c == '\n' ? 1 : 0;
    }
    if (!end)
        return OK;
    MUST(lint, lint->array_ended, "the array has an end", e);
    return check_end(lint, e);
}

enum error_code gemini_lint_bytes(void *state, struct str bytes, bool end, struct error *e)
{
    struct gemini_lint *lint = state;

    if (lint->failed || arena_overflowed(lint->options.arena))
        return FAIL(e, ERR_INTERNAL, "line %zu: as said before", lint->line);
    if (lint->options.array)
        return check_array(lint, bytes, end, e);
    (void)buf_add(&lint->carry, bytes);
    MUST(lint, buf_ok(&lint->carry), "too long to be checked", e);
    if (lint->options.stream)
        return check_events(lint, end, e);
    if (!end)
        return OK;
    TRY(check_response(lint, buf_str(&lint->carry), e));
    return check_end(lint, e);
}
