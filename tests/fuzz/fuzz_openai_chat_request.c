/* SPDX-License-Identifier: MIT */
/*
 * openai_chat_request_decode, _decode_full, openai_chat_upstream_encode; fit_request, schema_fit
 * and every protocol's request_encode.
 *
 * Oracles: an outline finds what is read, and its edits leave a request; what is edited is valid
 * and says what was asked for; decode(encode(x)) = x; what is written for another protocol is read
 * by that one; what is fitted to a vendor, who is made of the input, fits.
 */
#include <stdint.h>
#include <stdlib.h>

#include "canon/dump.h"
#include "protocol/dialect_for_test.h"
#include "protocol/openai_chat_priv.h"
#include "protocol/turns_for_test.h"

enum { DEPTH_MAX = 32, ARENA_BYTES_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct request_limits limits = {.depth_max = DEPTH_MAX};

static const struct steer steer = {
    .temperature = STR_INIT("0.5"),
    .max_tokens = STR_INIT("9"),
    .reasoning_effort = STR_INIT("high"),
};

static struct str encode(struct request *request, const struct encode_request *how,
                         struct arena *arena)
{
    struct wire wire;
    struct error e;
    struct str body = STR("");

    if (openai_chat_upstream_encode(request, how, arena, &wire, &e) != OK)
        abort();
    for (size_t i = 0; i < wire.body_n; i++)
        body = openai_chat_join(arena, body, wire.body[i]);
    if (body.n != wire.body_bytes)
        abort();
    return body;
}

/* The client's bytes with our edits. */
static void check_edits(struct request *request, struct arena *arena)
{
    const struct encode_request how = {.same_protocol = true,
                                       .model = STR("the \"model\""),
                                       .steer = &steer,
                                       .add_usage = true};
    struct str body = encode(request, &how, arena);
    struct request again;
    struct error e;

    if (openai_chat_request_decode(body, &limits, arena, &again, &e) != OK)
        abort();
    if (!str_eq(again.model, how.model) || again.stream != request->stream ||
        json_index_find(&again.index, STR("session_id")) != NULL)
        abort();
    if (request->stream && again.include_usage != (request->include_usage == 0 ? 0 : 1))
        abort();
}

static void check_round_trip(struct request *request, struct arena *arena)
{
    const struct encode_request how = {.same_protocol = false};
    struct request again;
    struct error e;
    struct buf want;
    struct buf got;

    if (openai_chat_request_decode_full(request, &limits, arena, &e) != OK) {
        if (e.code != ERR_BAD_REQUEST)
            abort();
        return;
    }
    if (turns_disagree(protocol_find(STR("openai-chat")), request, arena) != NULL)
        abort();
    request->session_id = STR_NULL;
    /* A body of our own nests no deeper than what came, plus what a part of ours adds. */
    const struct request_limits deeper = {.depth_max = DEPTH_MAX + 8};
    struct str body = encode(request, &how, arena);
    if (openai_chat_request_decode(body, &deeper, arena, &again, &e) != OK ||
        openai_chat_request_decode_full(&again, &deeper, arena, &e) != OK)
        abort();
    buf_init(&want, ARENA_BYTES_MAX);
    buf_init(&got, ARENA_BYTES_MAX);
    dump_request(&want, request);
    dump_request(&got, &again);
    if (!str_eq(buf_str(&want), buf_str(&got)))
        abort();
    buf_fini(&want);
    buf_fini(&got);
}

/* To each protocol: refused, or a request of that one. */
static void check_translated(struct request *request, struct arena *arena)
{
    for (size_t i = 0; request->full && i < protocol_count; i++) {
        const struct protocol *to = protocol_table[i];
        const struct request_limits deeper = {.depth_max = DEPTH_MAX * 2 + 16,
                                              .operation = OP_GENERATE,
                                              .rest = STR("m:generateContent")};
        const struct dialect dialect = {.usage = DIALECT_USAGE_OPTION};
        struct translation t = {.arena = arena};
        const struct encode_request how = {.model = STR("m"),
                                           .dialect = &dialect,
                                           .operation = OP_GENERATE,
                                           .translation = &t};
        struct request again;
        struct wire wire;
        struct error e;
        struct str body = STR("");
        if (to->request_encode(request, &how, arena, &wire, &e) != OK) {
            if (e.code != ERR_BAD_REQUEST && e.code != ERR_UNSUPPORTED &&
                e.code != ERR_UNSUPPORTED_VALUE)
                abort();
            continue;
        }
        for (size_t k = 0; k < wire.body_n; k++)
            body = openai_chat_join(arena, body, wire.body[k]);
        if (to->request_decode(body, &deeper, arena, &again, &e) != OK ||
            to->request_decode_full(&again, &deeper, arena, &e) != OK)
            abort();
    }
}

/* null: it cannot be said to that vendor. */
static struct str fit(struct request *request, const struct encode_request *how,
                      struct arena *arena)
{
    struct wire wire;
    struct error e;
    struct str body = STR("");

    if (openai_chat_upstream_encode(request, how, arena, &wire, &e) != OK) {
        if (e.code != ERR_UNSUPPORTED && e.code != ERR_UNSUPPORTED_VALUE)
            abort();
        return STR_NULL;
    }
    for (size_t i = 0; i < wire.body_n; i++)
        body = openai_chat_join(arena, body, wire.body[i]);
    return body;
}

/* The vendor refuses nothing of what was fitted to him. */
static void check_dialect(struct request *request, struct arena *arena)
{
    uint64_t number = request->source.n;

    for (size_t i = 0; i < request->source.n; i++)
        number = number * 31 + (unsigned char)request->source.p[i];
    const struct dialect dialect = dialect_for_test(number);
    struct translation t = {.arena = arena};
    struct encode_request how = {.same_protocol = true,
                                 .dialect = &dialect,
                                 .steer = number % 3 == 0 ? &steer : NULL,
                                 .translation = &t};
    const struct request_limits deeper = {.depth_max = DEPTH_MAX + 8};
    struct request again;
    struct error e;

    struct str once = fit(request, &how, arena);
    if (str_is_null(once))
        return;
    bool dropped = json_index_find(&request->index, STR("messages")) != NULL &&
                   (dialect.drop & DIALECT_DROP(messages)) != 0;
    if (dropped)
        return;
    if (openai_chat_request_decode(once, &deeper, arena, &again, &e) != OK)
        abort();
    how.steer = NULL;
    if (!str_eq(once, fit(&again, &how, arena)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct request request;
    struct error e;
    struct str body = str_of((const char *)data, size);

    arena_init(&arena, ARENA_BYTES_MAX, 4096, NULL);
    if (openai_chat_request_decode(body, &limits, &arena, &request, &e) == OK) {
        check_edits(&request, &arena);
        check_dialect(&request, &arena);
        if (turns_walk(protocol_find(STR("openai-chat")), &request, &limits, &arena) != NULL)
            abort();
        check_round_trip(&request, &arena);
        check_translated(&request, &arena);
    }
    if (arena_overflowed(&arena))
        abort();
    arena_fini(&arena);
    return 0;
}
