/* SPDX-License-Identifier: MIT */
#include "gateway/listener.h"

#define PLAIN_ANSWER                                                                          \
    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n" \
    "{\"error\":{\"message\":\"This port speaks TLS: the URL begins with https://.\","        \
    "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"bad_request\"}}"

const struct str listener_plain_answer = {.p = PLAIN_ANSWER, .n = sizeof(PLAIN_ANSWER) - 1};

/* What is wrong with the certificate and can be lived with; NULL: nothing. */
static const char *warning_of(const struct tls_context *context, int64_t now_ms)
{
    int64_t begin_ms = 0;
    int64_t end_ms = 0;

    tls_server_validity(context, &begin_ms, &end_ms);
    if (now_ms < begin_ms)
        return "the certificate is not valid yet: clients will refuse it";
    if (now_ms >= end_ms)
        return "the certificate has expired: clients will refuse it";
    return NULL;
}

enum error_code listener_tls_new(const struct config *config, struct tls_context **ret_context,
                                 struct error *e)
{
    *ret_context = NULL;
    if (config->tls_cert.n == 0)
        return OK;
    assert(config->tls_key.n > 0); /* checked with the configuration */
    return tls_server_new(config->tls_cert, config->tls_key, ret_context, e);
}

size_t listener_check(const struct config *config, int64_t now_ms, struct buf *report)
{
    struct tls_context *context = NULL;
    struct str where = config_origin(config, "tls.cert");
    struct error e;

    if (config->tls_cert.n == 0)
        return 0;
    if (listener_tls_new(config, &context, &e) != OK) {
        (void)buf_print(report, "%.*s: error: tls: %s\n", STR_ARG(where), e.detail);
        return 1;
    }
    const char *warning = warning_of(context, now_ms);
    if (warning != NULL)
        (void)buf_print(report, "%.*s: warning: tls.cert: %s\n", STR_ARG(where), warning);
    tls_context_unref(&context);
    return 0;
}
