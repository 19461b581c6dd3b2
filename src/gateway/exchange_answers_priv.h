/* SPDX-License-Identifier: MIT */
/*
 * For this room's tests only: what the probe's upstream answers, streamed and whole, and what of it
 * the client is to have.
 */
#pragma once

#include "gateway/exchange_probe_priv.h"

#define CHUNK(delta, finish)                                                                     \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\"," \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"

static const char stream_body[] = ": hello\n\n" CHUNK("{\"role\":\"assistant\",\"content\":\"\"}",
                                                      "null") CHUNK("{\"content\":\"one\"}", "null")
    CHUNK("{\"content\":\" two\"}", "null") CHUNK("{}", "\"stop\"") "data: [DONE]\n\n";

static const char whole_body[] =
    "{ \"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m-1\",\"choices\":"
    "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":"
    "\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}, "
    "\"x\" : 1 }\n";

static inline size_t print_answer(char *to, size_t size, bool stream)
{
    int n = stream ? snprintf(to, size,
                              "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                              "Set-Cookie: a=b\r\nX-Request-Id: up-1\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
                              sizeof(stream_body) - 1, stream_body)
                   : snprintf(to, size,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: %zu\r\n\r\n%s",
                              sizeof(whole_body) - 1, whole_body);
    assert_true(n > 0 && (size_t)n < size);
    return (size_t)n;
}

/* The body of the one answer in text, de-chunked. */
static inline struct str body_of(struct arena *arena, struct str text, bool *ret_complete)
{
    size_t head = str_find(text, STR("\r\n\r\n"), 0);
    struct buf body;

    *ret_complete = false;
    assert_true(head != SIZE_MAX);
    struct str rest = str_from(text, head + 4);
    if (str_find(str_head(text, head), STR("hunked"), 0) == SIZE_MAX) {
        *ret_complete = true;
        return rest;
    }
    buf_init(&body, TEXT_MAX);
    while (rest.n > 0) {
        size_t line = str_find(rest, STR("\r\n"), 0);
        if (line == SIZE_MAX)
            break;
        char size_text[16] = {0};
        memcpy(size_text, rest.p, line < 15 ? line : 15);
        size_t size = strtoul(size_text, NULL, 16);
        rest = str_from(rest, line + 2);
        if (size == 0) {
            *ret_complete = true;
            break;
        }
        (void)buf_add(&body, str_head(rest, size));
        rest = str_from(rest, size + 2);
    }
    struct str copy = str_copy(arena, buf_str(&body));
    buf_fini(&body);
    return copy;
}

/* Catches: bytes lost, joined or changed on the way, headers that leak, wherever the answer is
 * cut. */
static inline void check_answer(struct fixture *f, bool stream)
{
    struct arena arena;
    bool complete = false;

    arena_init(&arena, ARENA_MAX, 1024, NULL);
    struct str body = body_of(&arena, buf_str(&f->client.got), &complete);
    struct str want = stream ? str_c(stream_body) : str_c(whole_body);
    assert_true(complete);
    assert_int_equal(body.n, want.n);
    assert_memory_equal(body.p, want.p, want.n);
    assert_true(has(&f->client, "HTTP/1.1 200 "));
    assert_false(has(&f->client, "a=b"));
    arena_fini(&arena);
}
