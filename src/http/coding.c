/* SPDX-License-Identifier: MIT */
/*
 * Content codings, decoded piece by piece.
 *
 * What      gzip and deflate with zlib, within bounds.
 * How       PROBE ─► RUN ─► AFTER ─► GARBAGE
 *                     │▲──────┘
 *                     └──► BROKEN ─► OVER: told when the bytes before it were given out
 *
 *           deflate begins in PROBE: its first two bytes tell whether the zlib wrapper (RFC 1950)
 *           is there. To be taken for it, a raw stream (RFC 1951) would have to begin with a stored
 *           block whose padding is not zero, which no encoder writes.
 *           AFTER a gzip member, two bytes 1F 8B begin the next one (RFC 1952, 2.2). Whatever else
 *           comes after the end is ignored, as browsers do: servers pad with zeros, and the
 *           check sums have vouched for what was decoded.
 *           Both limits are looked at after each piece, before it is given out.
 * Owns      zlib's state and window, both counted in the budget before the first is taken.
 * Not here  HTTP; who is to blame.
 */
#include "http/coding.h"

#define ZLIB_CONST
#include <zlib.h>

#include "base/mem.h"
#include "http/message.h"

enum {
    DECODING_MAGIC = 0x44434f44,
    WINDOW_BITS = 15, /* the largest */
    WRAPPER_GZIP = 16,
    /* Of zlib: its state is 7 KiB, the window, which comes with the first output, 32 KiB. */
    ZLIB_BYTES = 42 * 1024,
    FREE_OUTPUT = 64 * 1024, /* a ratio needs more than this to be one */
};

enum decoding_state {
    DECODING_PROBE,
    DECODING_RUN,
    DECODING_AFTER,
    DECODING_GARBAGE,
    DECODING_BROKEN,
    DECODING_OVER, /* failed, and told */
};

struct decoding {
    uint32_t magic;
    uint8_t state;   /* enum decoding_state */
    uint8_t head_n;  /* bytes that were taken, but wait for the next one or for zlib */
    bool no_memory;  /* what broke it was the budget */
    Bytef head[2];   /* they */
    size_t budgeted; /* taken from the budget */
    size_t used;     /* of that, by zlib */
    uint64_t in;     /* bytes that came */
    uint64_t out;
    struct decoding_options options;
    z_stream z;
};

enum coding coding_of(struct str header_value)
{
    enum coding found = CODING_IDENTITY;
    struct str rest = header_value;
    struct str part;

    while (str_cut(&rest, ',', &part)) {
        enum coding one = CODING_OTHER;
        part = str_trim(part);
        if (part.n == 0 || str_eq_nocase(part, STR("identity")))
            continue;
        if (str_eq_nocase(part, STR("gzip")) || str_eq_nocase(part, STR("x-gzip")))
            one = CODING_GZIP;
        else if (str_eq_nocase(part, STR("deflate")))
            one = CODING_DEFLATE;
        if (found != CODING_IDENTITY)
            return CODING_OTHER;
        found = one;
    }
    return found;
}

enum coding coding_of_headers(const struct http_headers *headers)
{
    enum coding found = CODING_IDENTITY;

    for (size_t i = 0; i < headers->n; i++) {
        const struct http_header *header = &headers->items[i];
        if (!str_eq_nocase(header->name, STR("Content-Encoding")))
            continue;
        enum coding one = coding_of(header->value);
        if (one != CODING_IDENTITY)
            found = found == CODING_IDENTITY ? one : CODING_OTHER;
    }
    return found;
}

/* ---- memory ---- */

static bool decoding_budget(struct decoding *d, size_t n)
{
    if (!arena_budget_take(d->options.budget, n))
        return false;
    d->budgeted += n;
    return true;
}

static voidpf zlib_alloc(voidpf ctx, uInt count, uInt size)
{
    struct decoding *d = NULL;
    size_t n = (size_t)count * size;

    CAST(d, ctx, DECODING_MAGIC);
    size_t left = d->budgeted - d->used;
    if (n > left && !decoding_budget(d, n - left))
        return Z_NULL;
    d->used += n;
    return mem_new(n);
}

static void zlib_free(voidpf ctx, voidpf p)
{
    (void)ctx;
    mem_free(p);
}

struct decoding *coding_new(const struct decoding_options *options)
{
    assert(options->coding == CODING_GZIP || options->coding == CODING_DEFLATE);
    assert(options->bytes_max > 0);
    size_t budgeted = sizeof(struct decoding) + ZLIB_BYTES;
    if (!arena_budget_take(options->budget, budgeted))
        return NULL;

    struct decoding *d = mem_new(sizeof(*d));
    bool gzip = options->coding == CODING_GZIP;
    d->magic = DECODING_MAGIC;
    d->options = *options;
    d->budgeted = budgeted;
    d->used = sizeof(*d);
    d->state = gzip ? DECODING_RUN : DECODING_PROBE;
    d->z.zalloc = zlib_alloc;
    d->z.zfree = zlib_free;
    d->z.opaque = d;
    if (inflateInit2(&d->z, gzip ? WINDOW_BITS + WRAPPER_GZIP : WINDOW_BITS) != Z_OK)
        coding_free(&d);
    return d;
}

void coding_free(struct decoding **decoding)
{
    struct decoding *d = *decoding;

    if (d == NULL)
        return;
    assert(d->magic == DECODING_MAGIC);
    *decoding = NULL;
    (void)inflateEnd(&d->z);
    arena_budget_give(d->options.budget, d->budgeted);
    d->magic = 0;
    mem_free(d);
}

/* ---- steps ---- */

static enum decoding_step decoding_fail(struct decoding *d, struct error *e, const char *why)
{
    d->state = DECODING_OVER;
    (void)FAIL(e, ERR_BAD_REQUEST, "the body is not valid %s: %s",
               d->options.coding == CODING_GZIP ? "gzip" : "deflate", why);
    return DECODING_FAILED;
}

static enum decoding_step tell_broken(struct decoding *d, struct error *e)
{
    if (!d->no_memory)
        return decoding_fail(d, e, d->z.msg != NULL ? d->z.msg : "it needs a dictionary");
    d->state = DECODING_OVER;
    (void)FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    return DECODING_FAILED;
}

/* The limits (decoding_options); within them the piece may be told. */
static bool decoding_bomb(struct decoding *d, struct error *e)
{
    size_t ratio = d->options.ratio_max;

    if (d->out > d->options.bytes_max) {
        (void)FAIL(e, ERR_TOO_LARGE, "decoded, the body has more than %zu bytes",
                   d->options.bytes_max);
        d->state = DECODING_OVER;
        return true;
    }
    if (ratio > 0 && d->out > FREE_OUTPUT && d->in < UINT64_MAX / ratio && d->out > d->in * ratio) {
        (void)FAIL(e, ERR_TOO_LARGE, "decoded, the body has more than %zu times its bytes", ratio);
        d->state = DECODING_OVER;
        return true;
    }
    return false;
}

static void take_byte(struct decoding *d, struct str *input)
{
    assert(d->head_n < sizeof(d->head) && input->n > 0);
    d->head[d->head_n++] = (Bytef)input->p[0];
    d->in++;
    *input = str_from(*input, 1);
}

/* RFC 1950, 2.2: method 8, a window of at most 32 KiB, and both bytes a multiple of 31. */
static bool has_wrapper(const Bytef head[2])
{
    return (head[0] & 0x0f) == Z_DEFLATED && head[0] >> 4 <= 7 &&
           (head[0] * 256 + head[1]) % 31 == 0;
}

/* The state after it is another one, or the input is used up. */
static void step_between(struct decoding *d, struct str *input)
{
    static const Bytef member[2] = {0x1f, 0x8b};

    while (input->n > 0 && d->head_n < 2) {
        take_byte(d, input);
        if (d->state == DECODING_AFTER && d->head[d->head_n - 1] != member[d->head_n - 1]) {
            d->state = DECODING_GARBAGE;
            d->head_n = 0;
            return;
        }
    }
    if (d->head_n < 2)
        return;
    int rc = d->state == DECODING_AFTER
                 ? inflateReset(&d->z)
                 : inflateReset2(&d->z, has_wrapper(d->head) ? WINDOW_BITS : -WINDOW_BITS);
    assert(rc == Z_OK);
    d->state = DECODING_RUN;
}

/* One call of zlib, on the bytes that waited or on the input. Returns its word. */
static int run_zlib(struct decoding *d, struct str *input, char *buffer, size_t buffer_size,
                    size_t *ret_produced)
{
    enum { UINT_LIMIT = 1 << 30 };
    bool waited = d->head_n > 0;
    size_t in_n = waited ? d->head_n : input->n < UINT_LIMIT ? input->n : UINT_LIMIT;
    size_t out_n = buffer_size < UINT_LIMIT ? buffer_size : UINT_LIMIT;

    d->z.next_in = waited ? d->head : (const Bytef *)input->p;
    d->z.avail_in = (uInt)in_n;
    d->z.next_out = (Bytef *)buffer;
    d->z.avail_out = (uInt)out_n;
    int rc = inflate(&d->z, Z_SYNC_FLUSH);
    size_t left = d->z.avail_in;
    *ret_produced = out_n - d->z.avail_out;
    d->out += *ret_produced;
    if (waited) {
        memmove(d->head, d->head + in_n - left, left);
        d->head_n = (uint8_t)left;
    } else {
        d->in += in_n - left;
        *input = str_from(*input, in_n - left);
    }
    return rc;
}

/* True: *ret_step is to be returned. */
static bool step_run(struct decoding *d, struct str *input, char *buffer, size_t buffer_size,
                     size_t *ret_produced)
{
    int rc = run_zlib(d, input, buffer, buffer_size, ret_produced);

    switch (rc) {
    case Z_OK:
    case Z_BUF_ERROR: /* nothing to do without more input */
        return *ret_produced > 0 || (d->head_n == 0 && input->n == 0);
    case Z_STREAM_END:
        d->head_n = 0;
        d->state = d->options.coding == CODING_GZIP ? DECODING_AFTER : DECODING_GARBAGE;
        return *ret_produced > 0;
    default:
        d->no_memory = rc == Z_MEM_ERROR;
        d->state = DECODING_BROKEN;
        return *ret_produced > 0;
    }
}

enum decoding_step coding_next(struct decoding *decoding, struct str *input, char *buffer,
                               size_t buffer_size, struct str *ret_piece, struct error *e)
{
    struct decoding *d = decoding;
    size_t produced = 0;

    assert(d->magic == DECODING_MAGIC);
    assert(buffer_size > 0);
    for (;;) {
        switch ((enum decoding_state)d->state) {
        case DECODING_PROBE:
        case DECODING_AFTER:
            step_between(d, input);
            if (input->n == 0 && d->state != DECODING_RUN)
                return DECODING_MORE;
            break;
        case DECODING_RUN:
            if (!step_run(d, input, buffer, buffer_size, &produced))
                break;
            if (decoding_bomb(d, e))
                return DECODING_BOMB;
            if (produced == 0)
                return DECODING_MORE;
            *ret_piece = str_of(buffer, produced);
            return DECODING_PIECE;
        case DECODING_GARBAGE:
            *input = str_from(*input, input->n);
            return DECODING_MORE;
        case DECODING_BROKEN:
            return tell_broken(d, e);
        case DECODING_OVER:
            BUG("a decoding that has failed goes on");
        }
    }
}

bool coding_complete(const struct decoding *decoding)
{
    assert(decoding->magic == DECODING_MAGIC);
    /* One byte of a further member's two is no member yet. */
    return decoding->state == DECODING_AFTER || decoding->state == DECODING_GARBAGE ||
           decoding->in == 0;
}
