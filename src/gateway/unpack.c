/* SPDX-License-Identifier: MIT */
/*
 * What      gzip bodies of requests, decoded piece by piece within body_bytes_max.
 * How       feed ─► pieces ─► body_take. A read of 64 KiB can unpack to 64 MiB: after
 *           TURN_BYTES the rest of it waits, the body is paused, and a timer goes on in a turn of
 *           its own, so that other exchanges of the worker do not wait.
 * Owns      The decoder, and the rest of one piece of body while it waits.
 * Not here  The limits of bodies (exchange), which codings there are (http/coding, admit).
 */
#include "gateway/unpack.h"

#include "base/mem.h"
#include "gateway/gateway_priv.h"
#include "gateway/opaque.h"
#include "http/coding.h"

enum { PIECE_SIZE = 16 * 1024, TURN_BYTES = 1024 * 1024, REST_BYTES_MAX = 256 * 1024 };

struct unpack {
    struct exchange *x;
    struct decoding *decoding;
    struct buf rest;
    bool waits; /* rest does, though it may be empty: the decoder may have more */
    struct timer timer;
};

static void on_turn(struct timer *timer);

struct unpack *unpack_new(struct exchange *x)
{
    struct decoding *decoding = coding_new(&(struct decoding_options){
        .coding = CODING_GZIP,
        .bytes_max = x->call.config->body_bytes_max,
        .budget = &x->station->gateway->inflight,
    });

    if (decoding == NULL)
        return NULL;
    struct unpack *unpack = mem_new(sizeof(*unpack));
    unpack->x = x;
    unpack->decoding = decoding;
    buf_init(&unpack->rest, REST_BYTES_MAX);
    timer_init(&unpack->timer, x->station->loop, on_turn);
    return unpack;
}

enum unpack_part {
    PART_ALL,  /* nothing is left, or nobody wants it */
    PART_TURN, /* there is more to be done with the same bytes, in another turn */
    PART_WAIT  /* the same, when there is room for it */
};

static bool is_wanted(const struct exchange *x)
{
    return x->state == EXCHANGE_BODY || x->state == EXCHANGE_OPAQUE;
}

/* A turn's part. */
static enum unpack_part take_part(struct unpack *unpack, struct str *bytes)
{
    struct exchange *x = unpack->x;
    char buffer[PIECE_SIZE];
    struct str piece;

    for (size_t taken = 0; taken < TURN_BYTES; taken += piece.n) {
        piece = STR_NULL;
        switch (
            coding_next(unpack->decoding, bytes, buffer, sizeof(buffer), &piece, &x->call.error)) {
        case DECODING_PIECE:
            body_take(x, piece);
            break;
        case DECODING_MORE:
            return PART_ALL;
        case DECODING_BOMB:
            (void)FAIL(&x->call.error, ERR_TOO_LARGE,
                       "unpacked, the body is larger than body_bytes_max (%zu bytes)",
                       x->call.config->body_bytes_max);
            exchange_run(x);
            break;
        case DECODING_FAILED:
            exchange_run(x);
            break;
        }
        if (!is_wanted(x))
            return PART_ALL;
        if (opaque_is_paused(x))
            return PART_WAIT;
    }
    return PART_TURN;
}

void unpack_feed(struct unpack *unpack, struct str bytes)
{
    assert(unpack->rest.n == 0 && !timer_armed(&unpack->timer));
    enum unpack_part part = take_part(unpack, &bytes);
    if (part == PART_ALL)
        return;
    unpack->waits = true;
    bool kept = buf_add(&unpack->rest, bytes);
    assert(kept); /* a piece is one read, or a carry-over */
    server_pause(unpack->x->client, true);
    if (part == PART_TURN)
        timer_start(&unpack->timer, 0);
}

static void on_turn(struct timer *timer)
{
    struct unpack *unpack = CONTAINER_OF(timer, struct unpack, timer);
    struct str bytes = buf_str(&unpack->rest);
    struct exchange *x = unpack->x;

    if (!is_wanted(x)) /* refused meanwhile: it was not read on in time */
        return;
    enum unpack_part part = take_part(unpack, &bytes);
    if (!is_wanted(x))
        return;
    buf_drop(&unpack->rest, unpack->rest.n - bytes.n);
    if (part != PART_ALL) {
        if (part == PART_TURN)
            timer_start(timer, 0);
        return;
    }
    timer_stop(timer);
    unpack->waits = false;
    buf_fini(&unpack->rest);
    server_pause(x->client, false);
}

bool unpack_resume(struct unpack *unpack)
{
    if (unpack->waits && !timer_armed(&unpack->timer))
        timer_start(&unpack->timer, 0);
    return unpack->waits;
}

bool unpack_complete(const struct unpack *unpack)
{
    assert(unpack->rest.n == 0);
    return coding_complete(unpack->decoding);
}

void unpack_free(struct unpack **unpack)
{
    struct unpack *u = *unpack;

    if (u == NULL)
        return;
    timer_stop(&u->timer);
    coding_free(&u->decoding);
    buf_fini(&u->rest);
    mem_free(u);
    *unpack = NULL;
}
