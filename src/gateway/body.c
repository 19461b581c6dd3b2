/* SPDX-License-Identifier: MIT */
/*
 * What      A request's body on its way in: where it is kept, and how far it may grow.
 * How       Declared and small: one piece of the request arena. Large, or of unknown length and no
 *           longer small: memory of its own (large), which can grow without leaving anything
 *           behind, and is counted as a whole when its length is declared.
 * Not here  Reading it (exchange), its coding (unpack).
 */
#include "gateway/body.h"

#include "gateway/gateway_priv.h"
#include "gateway/opaque.h"
#include "gateway/unpack.h"

/* Room in memory of its own, for a large body and for one that outgrows the connection's arena. */
static bool large_make_room(struct exchange *x, size_t need)
{
    size_t body_bytes_max = x->call.config->body_bytes_max;
    bool declared = need <= x->body_hint;
    const char *old = x->body;

    if (x->large == NULL)
        x->large = large_new(x->branch, exchange_wake, x);
    else
        old = NULL;
    /* A declared length is taken at once: nothing grows, and who is too much learns it early. */
    char *body = declared ? large_room(x->large, x->body_n, x->body_hint, x->body_hint)
                          : large_room(x->large, x->body_n, need, body_bytes_max);
    if (body == NULL) {
        exchange_fail_starved(x, &x->call.error);
        return false;
    }
    if (old != NULL)
        memcpy(body, old, x->body_n);
    x->body = body;
    x->body_size = large_size(x->large);
    return true;
}

static bool make_room(struct exchange *x, size_t need)
{
    if (UNLIKELY(x->large != NULL || (need > LARGE_MOVE_BYTES && need > x->body_hint)))
        return large_make_room(x, need);
    size_t size = x->body_size * 2 > need ? x->body_size * 2 : need;
    if (size < x->body_hint)
        size = x->body_hint;
    x->body = arena_grow(x->call.arena, x->body, x->body_n, size);
    x->body_size = size;
    return !exchange_overflowed(x, &x->call.error);
}

void body_expect(struct exchange *x, size_t length)
{
    assert(x->state == EXCHANGE_BODY && x->body_n == 0);
    x->body_hint = length;
    if (UNLIKELY(length > LARGE_BYTES))
        (void)large_make_room(x, length);
}

void body_take(struct exchange *x, struct str bytes)
{
    const struct config *config = x->call.config;

    if (UNLIKELY(x->opaque != NULL)) {
        opaque_body(x, bytes);
        return;
    }
    if (bytes.n > config->body_bytes_max - x->body_n) {
        FAIL(&x->call.error, ERR_TOO_LARGE, "the body is larger than body_bytes_max (%zu bytes)",
             config->body_bytes_max);
        exchange_run(x);
        return;
    }
    size_t need = x->body_n + bytes.n;
    if (need > x->body_size && !make_room(x, need)) {
        exchange_run(x);
        return;
    }
    memcpy(x->body + x->body_n, bytes.p, bytes.n);
    x->body_n += bytes.n;
    x->bytes_up = x->body_n;
}

void body_come(struct exchange *x, struct str bytes)
{
    if (x->state != EXCHANGE_BODY && x->state != EXCHANGE_OPAQUE)
        return; /* refused already: the rest of the body is dropped */
    if (UNLIKELY(x->unpack != NULL))
        unpack_feed(x->unpack, bytes);
    else
        body_take(x, bytes);
}

void body_end(struct exchange *x)
{
    if (x->state != EXCHANGE_BODY && x->state != EXCHANGE_OPAQUE)
        return;
    x->body_complete = true;
    if (UNLIKELY(x->unpack != NULL) && !unpack_complete(x->unpack))
        FAIL(&x->call.error, ERR_BAD_REQUEST, "the gzip body breaks off");
    unpack_free(&x->unpack);
    if (UNLIKELY(x->opaque != NULL)) {
        opaque_body_end(x);
        return;
    }
    if (UNLIKELY(x->large != NULL)) {
        large_body_end(x->large, x->body_n);
        x->body = NULL; /* it may have moved */
    }
    exchange_run(x);
}

struct str body_text(const struct exchange *x)
{
    if (UNLIKELY(x->large != NULL))
        return large_body(x->large);
    return str_of(x->body == NULL ? "" : x->body, x->body_n);
}
