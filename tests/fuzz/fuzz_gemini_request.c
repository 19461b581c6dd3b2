/* SPDX-License-Identifier: MIT */
/*
 * gemini_request_decode, _decode_full, gemini_upstream_encode.
 *
 * Oracles: an outline finds what is read, and its edits leave a request; what is edited is valid
 * and says what was asked for; what is written for an upstream from what was read is a request that
 * can be read; nothing but BAD_REQUEST and UNSUPPORTED is said of what is wrong.
 */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/gemini_priv.h"
#include "protocol/turns_for_test.h"

enum { DEPTH_MAX = 32, ARENA_BYTES_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is written nests a little deeper than what came. */
static const struct request_limits limits = {
    .depth_max = DEPTH_MAX,
    .rest = {"b:m:streamGenerateContent", 25},
};
static const struct request_limits deeper = {
    .depth_max = DEPTH_MAX + 16,
    .rest = {"m:generateContent", 17},
};

static struct str joined(const struct wire *wire, struct arena *arena)
{
    char *to = arena_alloc(arena, wire->body_bytes);
    size_t n = 0;

    for (size_t i = 0; i < wire->body_n; i++) {
        if (n + wire->body[i].n > wire->body_bytes)
            abort();
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
        .reasoning_budget = STR_INIT("600"),
        .generation_config = STR_INIT("{\"topK\":3,\"thinkingConfig\":{\"thinkingLevel\":\"LOW\","
                                      "\"includeThoughts\":true}}"),
    };
    const struct encode_request how = {.same_protocol = true,
                                       .model = STR("gemini-2.5 \"x\""),
                                       .steer = &steer};
    struct request again;
    struct wire wire;
    struct error e;

    if (gemini_upstream_encode(request, &how, arena, &wire, &e) != OK)
        abort();
    struct str body = joined(&wire, arena);
    if (gemini_request_decode(body, &limits, arena, &again, &e) != OK)
        abort();
    if (json_index_find(&again.index, STR("session_id")) != NULL)
        abort();
}

static void check_written(struct request *request, struct arena *arena)
{
    const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    struct translation t = {.arena = arena};
    const struct encode_request how = {
        .model = STR("gemini-3-pro"),
        .dialect = &dialect,
        .vendor = STR("gemini"),
        .translation = &t,
    };
    struct request again;
    struct wire wire;
    struct error e;

    if (gemini_request_decode_full(request, &limits, arena, &e) != OK) {
        if (e.code != ERR_BAD_REQUEST)
            abort();
        return;
    }
    if (turns_disagree(protocol_find(STR("gemini")), request, arena) != NULL)
        abort();
    if (gemini_upstream_encode(request, &how, arena, &wire, &e) != OK) {
        if (e.code != ERR_BAD_REQUEST && e.code != ERR_UNSUPPORTED &&
            e.code != ERR_UNSUPPORTED_VALUE)
            abort();
        return;
    }
    struct str body = joined(&wire, arena);
    if (gemini_request_decode(body, &deeper, arena, &again, &e) != OK ||
        gemini_request_decode_full(&again, &deeper, arena, &e) != OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct request request;
    struct error e;

    arena_init(&arena, ARENA_BYTES_MAX, 4096, NULL);
    if (gemini_request_decode(str_of((const char *)data, size), &limits, &arena, &request, &e) ==
        OK) {
        check_edits(&request, &arena);
        if (turns_walk(protocol_find(STR("gemini")), &request, &limits, &arena) != NULL)
            abort();
        check_written(&request, &arena);
    }
    if (arena_overflowed(&arena))
        abort();
    arena_fini(&arena);
    return 0;
}
