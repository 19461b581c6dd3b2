/* SPDX-License-Identifier: MIT */
/*
 * anthropic_request_decode, _decode_full, anthropic_upstream_encode.
 *
 * Oracles: an outline finds what is read, and its edits leave a request; what is edited is valid
 * and says what was asked for; what is written from the canonical form is read, and can be written,
 * again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/protocol.h"
#include "protocol/turns_for_test.h"

extern const struct protocol protocol_anthropic;

enum { DEPTH_MAX = 32, ARENA_BYTES_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A body of our own nests no deeper than what came, plus what a schema's wrapping adds. */
static const struct request_limits limits = {.depth_max = DEPTH_MAX};
static const struct request_limits deeper = {.depth_max = DEPTH_MAX + 32};

static void fail(const char *what, struct str got, struct str want)
{
    fprintf(stderr, "%s\n--- got\n%.*s\n--- want\n%.*s\n", what, STR_ARG(got), STR_ARG(want));
    abort();
}

static struct str joined(const struct wire *wire, struct arena *arena)
{
    char *to = arena_alloc(arena, wire->body_bytes);
    size_t n = 0;

    for (size_t i = 0; i < wire->body_n; i++) {
        if (wire->body[i].n > 0)
            memcpy(to + n, wire->body[i].p, wire->body[i].n);
        n += wire->body[i].n;
    }
    if (n != wire->body_bytes)
        abort();
    return str_of(to, n);
}

static void check_edits(struct request *request, struct arena *arena)
{
    static const struct steer steer = {
        .temperature = STR_INIT("0.5"),
        .reasoning_effort = STR_INIT("high"),
    };
    const struct encode_request how = {.same_protocol = true,
                                       .model = STR("the \"model\""),
                                       .steer = &steer};
    struct request again;
    struct wire wire;
    struct error e;

    if (protocol_anthropic.request_encode(request, &how, arena, &wire, &e) != OK)
        abort();
    struct str body = joined(&wire, arena);
    if (protocol_anthropic.request_decode(body, &limits, arena, &again, &e) != OK)
        fail("edited", str_c(e.detail), body);
    if (!str_eq(again.model, how.model) || again.stream != request->stream ||
        json_index_find(&again.index, STR("session_id")) != NULL)
        fail("edited", body, request->source);
}

/* Null: it cannot be written. */
static struct str write_again(struct str body, const struct request_limits *as, struct arena *arena)
{
    struct translation t = {.arena = arena};
    const struct encode_request how = {.model = STR("claude-sonnet-4-5"),
                                       .vendor = STR("anthropic"),
                                       .translation = &t};
    struct request request;
    struct wire wire;
    struct error e;

    if (protocol_anthropic.request_decode(body, as, arena, &request, &e) != OK ||
        protocol_anthropic.request_decode_full(&request, as, arena, &e) != OK)
        return STR_NULL;
    const char *problem = turns_disagree(&protocol_anthropic, &request, arena);
    if (problem != NULL)
        fail(problem, STR(""), body);
    if (protocol_anthropic.request_encode(&request, &how, arena, &wire, &e) != OK) {
        if (e.code != ERR_UNSUPPORTED && e.code != ERR_UNSUPPORTED_VALUE &&
            e.code != ERR_BAD_REQUEST)
            fail("written", str_c(error_name(e.code)), body);
        return STR_NULL;
    }
    return joined(&wire, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct request request;
    struct error e;
    struct str body = str_of((const char *)data, size);

    arena_init(&arena, ARENA_BYTES_MAX, 4096, NULL);
    if (protocol_anthropic.request_decode(body, &limits, &arena, &request, &e) == OK) {
        check_edits(&request, &arena);
        const char *problem = turns_walk(&protocol_anthropic, &request, &limits, &arena);
        if (problem != NULL)
            fail(problem, STR(""), body);
        struct str once = write_again(body, &limits, &arena);
        struct str twice = str_is_null(once) ? STR_NULL : write_again(once, &deeper, &arena);
        if (!str_is_null(once) && str_is_null(twice))
            fail("not read again", once, body);
    }
    if (arena_overflowed(&arena))
        abort();
    arena_fini(&arena);
    return 0;
}
