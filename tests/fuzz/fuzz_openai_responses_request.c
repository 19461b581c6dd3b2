/* SPDX-License-Identifier: MIT */
/*
 * Requests of the Responses API: read, and written for each protocol.
 *
 * Oracles: what is refused is refused with words; an outline finds what is read, and its edits
 * leave a request; what is written is JSON, and to the same protocol the same bytes; written twice
 * it is the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "canon/dump.h"
#include "protocol/protocol.h"
#include "protocol/turns_for_test.h"
#include "text/json.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, struct str text)
{
    fprintf(stderr, "%s\n%.*s\n", what, STR_ARG(text));
    abort();
}

static void join(const struct wire *wire, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < wire->body_n; i++)
        buf_add(out, wire->body[i]);
}

static bool write_body(const struct protocol *protocol, struct request *request, bool same,
                       struct arena *arena, struct buf *out)
{
    struct translation t = {.arena = arena};
    const struct dialect dialect = {.usage = DIALECT_USAGE_OPTION};
    const struct encode_request how = {
        .model = same ? STR_NULL : STR("m"),
        .dialect = &dialect,
        .operation = OP_GENERATE,
        .same_protocol = same,
        .vendor = STR("v"),
        .translation = same ? NULL : &t,
    };
    struct error e = {.code = OK};
    struct wire wire;

    if (protocol->request_encode(request, &how, arena, &wire, &e) != OK) {
        if (e.detail[0] == '\0')
            fail("refused without words", str_c(protocol->name));
        return false;
    }
    join(&wire, out);
    return true;
}

static void check_written(struct request *request, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 256};
    struct buf first;
    struct buf second;
    struct error e = {.code = OK};

    buf_init(&first, ARENA_MAX);
    buf_init(&second, ARENA_MAX);
    for (size_t i = 0; i < protocol_count; i++) {
        if (!write_body(protocol_table[i], request, false, arena, &first))
            continue;
        if (json_read(buf_str(&first), &options, arena, &e) == NULL)
            fail(e.detail, buf_str(&first));
        if (!write_body(protocol_table[i], request, false, arena, &second) ||
            !str_eq(buf_str(&first), buf_str(&second)))
            fail("another one the second time", buf_str(&second));
    }
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct protocol *protocol = protocol_find(STR("openai-responses"));
    const struct request_limits limits = {.depth_max = 64, .operation = OP_GENERATE};
    struct str body = str_of((const char *)data, size);
    struct arena arena;
    struct request request;
    struct error e = {.code = OK};
    struct buf out;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    buf_init(&out, ARENA_MAX);
    if (protocol->request_decode(body, &limits, &arena, &request, &e) == OK) {
        bool session = json_index_find(&request.index, STR("session_id")) != NULL;
        if (write_body(protocol, &request, true, &arena, &out) && !session &&
            !str_eq(buf_str(&out), body))
            fail("not the same bytes", buf_str(&out));
        const char *problem = turns_walk(protocol, &request, &limits, &arena);
        if (problem != NULL)
            fail(problem, body);
        if (protocol->request_decode_full(&request, &limits, &arena, &e) == OK) {
            problem = turns_disagree(protocol, &request, &arena);
            if (problem != NULL)
                fail(problem, body);
            buf_reset(&out);
            (void)dump_request(&out, &request);
            check_written(&request, &arena);
        } else if (e.detail[0] == '\0') {
            fail("refused without words", body);
        }
    } else if (e.detail[0] == '\0') {
        fail("refused without words", body);
    }
    buf_fini(&out);
    arena_fini(&arena);
    return 0;
}
