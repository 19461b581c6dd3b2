/* SPDX-License-Identifier: MIT */
/*
 * openai_chat_request_decode, _decode_full, openai_chat_upstream_encode.
 *
 * Oracles: what is edited is valid and says what was asked for; decode(encode(x)) = x.
 */
#include <stdint.h>
#include <stdlib.h>

#include "canon/dump.h"
#include "protocol/openai_chat_priv.h"

enum { DEPTH_MAX = 32, ARENA_BYTES_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct request_limits limits = {.depth_max = DEPTH_MAX};

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct request request;
    struct error e;
    struct str body = str_of((const char *)data, size);

    arena_init(&arena, ARENA_BYTES_MAX, 4096, NULL);
    if (openai_chat_request_decode(body, &limits, &arena, &request, &e) == OK) {
        check_edits(&request, &arena);
        check_round_trip(&request, &arena);
    }
    if (arena_overflowed(&arena))
        abort();
    arena_fini(&arena);
    return 0;
}
