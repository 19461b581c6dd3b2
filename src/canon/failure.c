/* SPDX-License-Identifier: MIT */
/*
 * Classes of upstreams' errors.
 *
 * How       What is said counts before the status, as vendors disagree on statuses: codes and types
 *           are words of a table, and some classes are known by their message alone. Then the
 *           status; without one: UPSTREAM_ERROR.
 * Not here  What is done about them (gateway/), what clients read (each protocol).
 */
#include "canon/failure.h"

#include "text/json.h"
#include "text/utf8.h"

enum { MESSAGE_BYTES_MAX = 2048, BODY_DEPTH_MAX = 64, WAIT_S_MAX = 24 * 3600 };

struct word {
    struct str word;
    enum error_code code;
};

/* Codes and types, whole. */
static const struct word words[] = {
    {STR_INIT("context_length_exceeded"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("exceed_context_size_error"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("model_context_window_exceeded"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("insufficient_quota"), ERR_BILLING},
    {STR_INIT("billing_hard_limit_reached"), ERR_BILLING},
    {STR_INIT("billing_error"), ERR_BILLING},
    {STR_INIT("insufficient_balance"), ERR_BILLING},
    {STR_INIT("content_policy_violation"), ERR_POLICY},
    {STR_INIT("content_filter"), ERR_POLICY},
    {STR_INIT("moderation"), ERR_POLICY},
    {STR_INIT("invalid_api_key"), ERR_UPSTREAM_KEY},
    {STR_INIT("API_KEY_INVALID"), ERR_UPSTREAM_KEY},
    {STR_INIT("authentication_error"), ERR_UPSTREAM_KEY},
    {STR_INIT("UNAUTHENTICATED"), ERR_UPSTREAM_KEY},
    {STR_INIT("model_not_found"), ERR_MODEL_NOT_FOUND},
    {STR_INIT("rate_limit_exceeded"), ERR_UPSTREAM_RATE_LIMITED},
    {STR_INIT("rate_limit_error"), ERR_UPSTREAM_RATE_LIMITED},
    {STR_INIT("RESOURCE_EXHAUSTED"), ERR_UPSTREAM_RATE_LIMITED},
    {STR_INIT("request_too_large"), ERR_TOO_LARGE},
    {STR_INIT("timeout_error"), ERR_UPSTREAM_TIMEOUT},
    {STR_INIT("DEADLINE_EXCEEDED"), ERR_UPSTREAM_TIMEOUT},
    {STR_INIT("overloaded_error"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("overloaded"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("engine_overloaded"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("slow_down"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("UNAVAILABLE"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("insufficient_system_resource"), ERR_UPSTREAM_OVERLOADED},
    {STR_INIT("not_found_error"), ERR_MODEL_NOT_FOUND},
    {STR_INIT("permission_error"), ERR_UPSTREAM_KEY},
};

/* Phrases of messages, in lower case; of errors below 500 only. */
static const struct word phrases[] = {
    {STR_INIT("prompt is too long"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("maximum context length"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("context length exceeded"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("context window"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("exceeds the available context size"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("exceeds the maximum number of tokens"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("input token count"), ERR_CONTEXT_TOO_LONG},
    {STR_INIT("credit balance is too low"), ERR_BILLING},
    {STR_INIT("insufficient balance"), ERR_BILLING},
    {STR_INIT("insufficient credits"), ERR_BILLING},
    {STR_INIT("api key not valid"), ERR_UPSTREAM_KEY},
    {STR_INIT("invalid api key"), ERR_UPSTREAM_KEY},
    {STR_INIT("incorrect api key"), ERR_UPSTREAM_KEY},
    {STR_INIT("content policy"), ERR_POLICY},
    {STR_INIT("content management policy"), ERR_POLICY},
    {STR_INIT("flagged by moderation"), ERR_POLICY},
    {STR_INIT("requires moderation"), ERR_POLICY},
    {STR_INIT("input was flagged"), ERR_POLICY},
};

/* Whether text holds the phrase, in any letter case. */
static bool says(struct str text, struct str phrase)
{
    for (size_t i = 0; i + phrase.n <= text.n; i++) {
        if (str_starts_nocase(str_from(text, i), phrase))
            return true;
    }
    return false;
}

static enum error_code by_word(struct str said)
{
    if (said.n == 0)
        return OK;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq_nocase(said, words[i].word))
            return words[i].code;
    }
    return OK;
}

static enum error_code by_phrase(struct str message)
{
    for (size_t i = 0; i < COUNT_OF(phrases); i++) {
        if (says(message, phrases[i].word))
            return phrases[i].code;
    }
    return OK;
}

static enum error_code by_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return ERR_UPSTREAM_KEY;
    case 402:
        return ERR_BILLING;
    case 404:
        return ERR_MODEL_NOT_FOUND;
    case 408:
    case 504:
    case 524:
        return ERR_UPSTREAM_TIMEOUT;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
        return ERR_UPSTREAM_RATE_LIMITED;
    case 498:
    case 503:
    case 529:
        return ERR_UPSTREAM_OVERLOADED;
    default:
        return status >= 400 && status < 500 ? ERR_BAD_REQUEST : ERR_UPSTREAM_ERROR;
    }
}

/* Whether a class that words or phrases tell can have come with this status. */
static bool fits(enum error_code code, int status)
{
    if (status == 0 || status == 200)
        return true;
    if (code == ERR_CONTEXT_TOO_LONG)
        return status < 500;
    if (code == ERR_UPSTREAM_OVERLOADED || code == ERR_UPSTREAM_TIMEOUT)
        return status >= 500 || status == 429 || status == 408;
    if (code == ERR_MODEL_NOT_FOUND)
        return status == 404 || status == 400 || status == 403;
    return status < 500;
}

enum error_code failure_code(const struct event *error)
{
    struct str message = str_head(error->error.message, MESSAGE_BYTES_MAX);
    int status = error->error.status;
    enum error_code code;

    assert(error->kind == EVENT_ERROR);
    code = by_word(error->error.code);
    if (code == OK || !fits(code, status))
        code = by_word(error->error.type);
    /* "rate limit" is what some say when there is no money, "bad request" when there is no room. */
    if (code == OK || code == ERR_UPSTREAM_RATE_LIMITED || !fits(code, status)) {
        enum error_code said = by_phrase(message);
        if (said != OK && fits(said, status))
            return said;
    }
    if (code != OK && fits(code, status))
        return code;
    return by_status(status);
}

/* What stands between two tags; null without it, or with tags in it. */
static struct str between(struct str page, struct str open, struct str close)
{
    size_t begin = str_find(page, open, 0);
    size_t end = begin == SIZE_MAX ? SIZE_MAX : str_find(page, close, begin + open.n);

    if (end == SIZE_MAX)
        return STR_NULL;
    struct str text = str_trim(str_of(page.p + begin + open.n, end - begin - open.n));
    return text.n > 0 && str_find_char(text, '<', 0) == SIZE_MAX ? text : STR_NULL;
}

/* Of a page, as what stands before a vendor answers with, only its title says anything. */
static struct str message_of(const struct event *error)
{
    struct str message = utf8_head(error->error.message, MESSAGE_BYTES_MAX);
    struct str page = str_trim(message);

    if (!str_starts_nocase(page, STR("<!doctype html")) && !str_starts_nocase(page, STR("<html")))
        return message;
    struct str title = between(page, STR("<title>"), STR("</title>"));
    if (str_is_null(title))
        title = between(page, STR("<h1>"), STR("</h1>"));
    return str_is_null(title) ? STR("a page instead of an answer") : title;
}

/* What a backend says behind the words that our own message begins with. */
static struct str without_model(struct str message, struct str model)
{
    const struct str begin = STR("Model not found: ");

    if (!str_starts(message, begin) || !str_starts(str_from(message, begin.n), model))
        return message;
    struct str rest = str_from(message, begin.n + model.n);
    if (rest.n > 0 && rest.p[0] != ':' && rest.p[0] != ' ')
        return message; /* a longer name */
    return str_trim(str_starts(rest, STR(":")) ? str_from(rest, 1) : rest);
}

void failure_make(const struct event *error, const struct failure_names *names,
                  struct error *ret_error)
{
    enum error_code code = failure_code(error);
    struct str message = message_of(error);

    if (code == ERR_UPSTREAM_KEY) {
        (void)FAIL(ret_error, code, "backend %.*s refused its key %.*s",
                   STR_ARG(utf8_head(names->backend, 40)), STR_ARG(utf8_head(names->key, 40)));
        return;
    }
    if (code == ERR_MODEL_NOT_FOUND) {
        message = without_model(message, names->model);
        (void)FAIL(ret_error, code, "%.*s", STR_ARG(utf8_head(names->model, 120)));
        ret_error->said_after = true;
        ret_error->said = message.n > 0 ? message : STR_NULL;
        return;
    }
    /* The log shows its beginning. */
    (void)FAIL(ret_error, code, "%.*s (%d from %.*s)", STR_ARG(utf8_head(message, 150)),
               error->error.status, STR_ARG(utf8_head(names->backend, 40)));
    if (message.n > 0)
        ret_error->said = message;
}

/* --- how long to wait --------------------------------------------------------------------- */

/* "34.07s", "1m26.4s", "120ms", "7.66 seconds": what stands at the beginning; 0: none. */
static double read_duration(struct str text)
{
    double total = 0;

    while (text.n > 0 && text.p[0] >= '0' && text.p[0] <= '9') {
        double value;
        size_t n = 0;
        while (n < text.n && ((text.p[n] >= '0' && text.p[n] <= '9') || text.p[n] == '.'))
            n++;
        /* "in 5." ends a sentence. */
        struct str number = str_head(text, text.p[n - 1] == '.' ? n - 1 : n);
        if (!str_to_double(number, &value))
            return total;
        text = str_from(text, n);
        if (text.n > 0 && text.p[0] == ' ')
            text = str_from(text, 1);
        if (str_starts(text, STR("ms"))) {
            total += value / 1000;
            text = str_from(text, 2);
        } else if (str_starts(text, STR("h"))) {
            total += value * 3600;
            text = str_from(text, 1);
        } else if (str_starts(text, STR("m"))) {
            total += value * 60;
            text = str_from(text, 1);
        } else {
            return total + value;
        }
    }
    return total;
}

static double message_wait(struct str message)
{
    static const struct str leads[] = {STR_INIT("try again in "), STR_INIT("retry in "),
                                       STR_INIT("retry after "), STR_INIT("retry_after_seconds ")};

    for (size_t i = 0; i + 8 < message.n; i++) {
        struct str rest = str_from(message, i);
        for (size_t k = 0; k < COUNT_OF(leads); k++) {
            if (str_starts_nocase(rest, leads[k]))
                return read_duration(str_from(rest, leads[k].n));
        }
    }
    return 0;
}

/* google.rpc.RetryInfo: {"retryDelay":"34.07s"} */
static double retry_info(yyjson_val *root)
{
    yyjson_val *object = yyjson_is_arr(root) ? yyjson_arr_get_first(root) : root;
    yyjson_val *details = json_get(json_get(object, STR("error")), STR("details"));
    size_t at;
    size_t count;
    yyjson_val *detail;

    if (!yyjson_is_arr(details))
        return 0;
    yyjson_arr_foreach(details, at, count, detail)
    {
        struct str delay = json_get_str(detail, STR("retryDelay"));
        if (delay.n > 0)
            return read_duration(delay);
    }
    return 0;
}

double failure_wait_s(const struct event *error, struct str body, struct arena *arena)
{
    const struct json_read_options options = {
        .depth_max = BODY_DEPTH_MAX,
        .allow_invalid_utf8 = true,
    };
    struct error ignored;
    double wait = 0;

    if (body.n > 0)
        wait = retry_info(json_read(body, &options, arena, &ignored));
    if (wait <= 0)
        wait = message_wait(str_head(error->error.message, MESSAGE_BYTES_MAX));
    return wait > WAIT_S_MAX ? WAIT_S_MAX : wait;
}
