/* SPDX-License-Identifier: MIT */
/*
 * coding_*: gzip and deflate in pieces, against zlib in one go.
 *
 * Input     [which][cut][bytes]: bit 0 of which says deflate, bits 1 to 3 the buffer's size.
 * Laws      Any cut and any buffer give what one call of inflate gives: the same bytes, the same
 *           end. bytes_max is hard to the byte. Past the ratio it is a bomb, below it is none, and
 *           never is more handed out than the limits allow. The budget gets back what it gave; one
 *           that has too little fails and leaves nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 8192,
    OUT_MAX = 1 << 24,
    RATIO = 100,
    FREE_OUTPUT = 64 * 1024, /* coding.h */
};

enum end { END_MORE, END_COMPLETE, END_FAILED, END_BOMB, END_NO_MEMORY };

struct result {
    struct buf out;
    enum end end;
};

/* ---- the plain way ---- */

static bool is_wrapped(struct str in)
{
    const unsigned char *p = (const unsigned char *)in.p;

    return in.n >= 2 && (p[0] & 15) == 8 && p[0] >> 4 <= 7 && (p[0] * 256 + p[1]) % 31 == 0;
}

/* One call as far as it goes; grows the output. */
static int inflate_all(z_stream *z, struct buf *out)
{
    int rc = Z_OK;

    do {
        char *to = buf_reserve(out, 1 << 16);
        assert(to != NULL);
        z->next_out = (Bytef *)to;
        z->avail_out = 1 << 16;
        rc = inflate(z, Z_NO_FLUSH);
        buf_added(out, (1 << 16) - z->avail_out);
    } while (rc == Z_OK && (z->avail_in > 0 || z->avail_out == 0));
    return rc;
}

static void decode_plain(struct result *result, enum coding coding, struct str in)
{
    z_stream z = {.next_in = (const Bytef *)in.p, .avail_in = (uInt)in.n};
    int bits = coding == CODING_GZIP ? 31 : is_wrapped(in) ? 15 : -15;

    buf_init(&result->out, OUT_MAX);
    result->end = END_MORE;
    if (coding == CODING_DEFLATE && in.n < 2)
        return; /* which of the two it is cannot be known */
    int rc = inflateInit2(&z, bits);
    assert(rc == Z_OK);
    for (;;) {
        rc = inflate_all(&z, &result->out);
        bool again = rc == Z_STREAM_END && coding == CODING_GZIP && z.avail_in >= 2 &&
                     z.next_in[0] == 0x1f && z.next_in[1] == 0x8b;
        if (!again)
            break;
        rc = inflateReset(&z);
        assert(rc == Z_OK);
    }
    if (rc == Z_STREAM_END)
        result->end = END_COMPLETE;
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        result->end = END_FAILED;
    (void)inflateEnd(&z);
}

/* ---- ours ---- */

struct trial {
    enum coding coding;
    size_t first, step, buffer;
    size_t bytes_max, ratio_max;
    struct arena_budget *budget;
};

static enum end decode_piece(struct decoding *d, struct str piece, const struct trial *trial,
                             struct buf *out)
{
    struct str got = STR_NULL;
    struct error e = {.code = OK};
    char *buffer = mem_new(trial->buffer);
    enum end end = END_MORE;

    for (bool more = true; more;) {
        switch (coding_next(d, &piece, buffer, trial->buffer, &got, &e)) {
        case DECODING_PIECE:
            assert(got.n > 0 && got.n <= trial->buffer);
            more = buf_add(out, got);
            assert(more && out->n <= trial->bytes_max);
            break;
        case DECODING_MORE:
            assert(piece.n == 0);
            more = false;
            break;
        case DECODING_BOMB:
            assert(e.code == ERR_TOO_LARGE);
            end = END_BOMB;
            more = false;
            break;
        case DECODING_FAILED:
            assert(e.code == ERR_BAD_REQUEST || e.code == ERR_OVERLOADED);
            end = e.code == ERR_OVERLOADED ? END_NO_MEMORY : END_FAILED;
            more = false;
            break;
        }
    }
    mem_free(buffer);
    return end;
}

static void decode_ours(struct result *result, struct str in, const struct trial *trial)
{
    const struct decoding_options options = {.coding = trial->coding,
                                             .bytes_max = trial->bytes_max,
                                             .ratio_max = trial->ratio_max,
                                             .budget = trial->budget};
    struct decoding *d = coding_new(&options);
    size_t at = 0;

    buf_init(&result->out, OUT_MAX);
    result->end = d == NULL ? END_NO_MEMORY : END_MORE;
    assert(d != NULL || trial->budget->max > 0);
    while (at < in.n && result->end == END_MORE) {
        size_t n = at == 0 && trial->first > 0 ? trial->first : trial->step;
        struct str piece = str_head(str_from(in, at), n);
        /* A copy of its own, so that reading beyond it is seen. */
        char *copy = mem_new(piece.n);
        memcpy(copy, piece.p, piece.n);
        result->end = decode_piece(d, str_of(copy, piece.n), trial, &result->out);
        mem_free(copy);
        at += piece.n;
    }
    if (result->end == END_MORE && coding_complete(d))
        result->end = END_COMPLETE;
    coding_free(&d);
    assert(atomic_load(&trial->budget->used) == 0);
}

/* ---- laws ---- */

static void check_same(const struct result *plain, struct str in, struct trial trial)
{
    struct result ours;

    decode_ours(&ours, in, &trial);
    if (in.n == 0)
        assert(ours.end == END_COMPLETE);
    else
        assert(ours.end == plain->end);
    assert(str_eq(buf_str(&ours.out), buf_str(&plain->out)));
    buf_fini(&ours.out);
}

/* The limit is the size, then one less. */
static void check_bytes_max(const struct result *plain, struct str in, struct trial trial)
{
    struct result ours;

    if (plain->out.n < 2)
        return;
    trial.bytes_max = plain->out.n;
    check_same(plain, in, trial);
    trial.bytes_max = plain->out.n - 1;
    decode_ours(&ours, in, &trial);
    assert(ours.end == END_BOMB);
    assert(str_starts(buf_str(&plain->out), buf_str(&ours.out)));
    buf_fini(&ours.out);
}

static void check_ratio(const struct result *plain, struct str in, struct trial trial)
{
    struct result ours;

    trial.ratio_max = RATIO;
    decode_ours(&ours, in, &trial);
    if (plain->out.n <= FREE_OUTPUT)
        assert(ours.end != END_BOMB);
    else if (plain->out.n > in.n * RATIO)
        assert(ours.end == END_BOMB);
    assert(ours.out.n <= FREE_OUTPUT || ours.out.n <= in.n * RATIO);
    if (ours.end != END_BOMB)
        assert(ours.out.n == plain->out.n);
    buf_fini(&ours.out);
}

static void check_budget(const struct result *plain, struct str in, struct trial trial)
{
    struct arena_budget budget = {.max = 40000};
    struct result ours;

    trial.budget = &budget;
    decode_ours(&ours, in, &trial);
    assert(ours.end == END_NO_MEMORY || ours.end == plain->end || in.n == 0);
    buf_fini(&ours.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t buffers[] = {65536, 1, 2, 7, 100, 4096, 16384, 40000};
    struct arena_budget budget = {.max = 0};
    struct result plain;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct str in = str_of((const char *)data + 2, size - 2);
    const size_t n = in.n + 1;
    struct trial trial = {.coding = (data[0] & 1) != 0 ? CODING_DEFLATE : CODING_GZIP,
                          .step = n,
                          .buffer = 65536,
                          .bytes_max = OUT_MAX,
                          .budget = &budget};

    decode_plain(&plain, trial.coding, in);
    /* Byte by byte into a byte, what a bomb makes would take too long. */
    bool large = plain.out.n > 200000;
    check_same(&plain, in, trial);
    trial.buffer = large ? 16384 : buffers[(data[0] >> 1) & 7];
    trial.first = data[1] % n;
    check_same(&plain, in, trial);
    check_bytes_max(&plain, in, trial);
    check_ratio(&plain, in, trial);
    check_budget(&plain, in, trial);
    trial.first = 0;
    trial.step = 1;
    check_same(&plain, in, trial);
    trial.step = 1 + data[1] % 50;
    check_ratio(&plain, in, trial);
    buf_fini(&plain.out);
    return 0;
}
