/* SPDX-License-Identifier: MIT */
/* Content codings: what zlib makes, cut anywhere, cut short, damaged, and bombs. */
#include "http/coding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    BITS_ZLIB = 15,
    BITS_GZIP = 15 + 16,
    BITS_RAW = -15,
    OUT_MAX = 64 * 1024 * 1024,
    WHOLE = 1 << 20, /* a cut beyond every input */
};

#define TEXT                                                         \
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n"  \
    "data: {\"choices\":[{\"delta\":{\"content\":\" world\"}}]}\n\n" \
    "data: [DONE]\n\n"

/* Appends s, coded, to `to`. flush: after each byte, as a server does after each event. */
static void pack(struct buf *to, struct str s, int bits, bool flush)
{
    Bytef out[4096];
    z_stream z = {0};
    size_t at = 0;
    int rc = Z_OK;

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    while (rc != Z_STREAM_END) {
        size_t n = flush && at < s.n ? 1 : s.n - at;
        z.next_in = (Bytef *)(uintptr_t)(s.p + at);
        z.avail_in = (uInt)n;
        at += n;
        do {
            z.next_out = out;
            z.avail_out = sizeof(out);
            rc = deflate(&z, at < s.n ? Z_SYNC_FLUSH : Z_FINISH);
            assert_true(rc >= Z_OK || rc == Z_BUF_ERROR);
            assert_true(buf_add(to, str_of((const char *)out, sizeof(out) - z.avail_out)));
        } while (z.avail_out == 0);
    }
    assert_int_equal(deflateEnd(&z), Z_OK);
}

static struct buf packed(struct str s, int bits)
{
    struct buf b;

    buf_init(&b, OUT_MAX);
    pack(&b, s, bits, false);
    return b;
}

/* What came of an input: the last step, the bytes before it, and whether it was complete. */
struct outcome {
    enum decoding_step step;
    bool complete;
    struct error e;
    struct buf out;
};

static enum decoding_step feed(struct decoding *decoding, struct str input, size_t buffer_size,
                               struct outcome *outcome)
{
    char buffer[16 * 1024];
    struct str piece = STR_NULL;

    for (;;) {
        enum decoding_step step = coding_next(decoding, &input, buffer, buffer_size, &piece,
                                              &outcome->e);
        if (step != DECODING_PIECE) {
            if (step == DECODING_MORE)
                assert_int_equal(input.n, 0);
            return step;
        }
        assert_true(piece.n > 0 && piece.n <= buffer_size);
        assert_true(buf_add(&outcome->out, piece));
    }
}

/* In two pieces, or byte by byte (cut 0). */
static struct outcome decode(const struct decoding_options *options, struct str input, size_t cut,
                             size_t buffer_size)
{
    struct decoding *decoding = coding_new(options);
    struct outcome outcome = {.step = DECODING_MORE};
    size_t at = 0;

    assert_non_null(decoding);
    buf_init(&outcome.out, OUT_MAX);
    while (at < input.n && outcome.step == DECODING_MORE) {
        size_t n = cut == 0 ? 1 : at == 0 && cut < input.n ? cut : input.n - at;
        outcome.step = feed(decoding, str_head(str_from(input, at), n), buffer_size, &outcome);
        at += n;
    }
    outcome.complete = outcome.step == DECODING_MORE && coding_complete(decoding);
    coding_free(&decoding);
    assert_null(decoding);
    return outcome;
}

static struct decoding_options plain(enum coding coding)
{
    return (struct decoding_options){.coding = coding, .bytes_max = OUT_MAX, .ratio_max = 100};
}

/* The same for every cut and byte by byte, and for a small buffer. */
static void check(enum coding coding, struct str input, struct str want, bool complete)
{
    const struct decoding_options options = plain(coding);

    for (size_t cut = 0; cut <= input.n; cut++) {
        struct outcome got = decode(&options, input, cut, cut % 3 == 0 ? 1 : 4096);
        if (got.step != DECODING_MORE || got.complete != complete ||
            !str_eq(buf_str(&got.out), want))
            fail_msg("cut %zu: step %d, complete %d, %zu bytes, %s", cut, (int)got.step,
                     got.complete, got.out.n, got.e.detail);
        buf_fini(&got.out);
    }
}

static void check_failed(enum coding coding, struct str input, const char *detail)
{
    const struct decoding_options options = plain(coding);

    for (size_t cut = 0; cut <= input.n; cut++) {
        struct outcome got = decode(&options, input, cut, 4096);
        assert_int_equal(got.step, DECODING_FAILED);
        assert_int_equal(got.e.code, ERR_BAD_REQUEST);
        assert_non_null(strstr(got.e.detail, detail));
        buf_fini(&got.out);
    }
}

static void test_of(void **state)
{
    static const struct {
        const char *value;
        enum coding coding;
    } rows[] = {
        {NULL, CODING_IDENTITY},
        {"", CODING_IDENTITY},
        {"identity", CODING_IDENTITY},
        {"Identity, IDENTITY", CODING_IDENTITY},
        {"gzip", CODING_GZIP},
        {"GZip", CODING_GZIP},
        {"x-gzip", CODING_GZIP},
        {"identity, gzip", CODING_GZIP},
        {" gzip , ", CODING_GZIP},
        {"deflate", CODING_DEFLATE},
        {"Deflate,identity", CODING_DEFLATE},
        {"gzip, gzip", CODING_OTHER},
        {"deflate, gzip", CODING_OTHER},
        {"br", CODING_OTHER},
        {"zstd", CODING_OTHER},
        {"gzip, br", CODING_OTHER},
        {"br, gzip", CODING_OTHER},
        {"gzip;q=1", CODING_OTHER},
        {"gzi", CODING_OTHER},
        {"gzipp", CODING_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(coding_of(str_c(rows[i].value)), rows[i].coding);
}

static void test_kinds(void **state)
{
    static const struct {
        enum coding coding;
        int bits;
    } rows[] = {{CODING_GZIP, BITS_GZIP}, {CODING_DEFLATE, BITS_ZLIB}, {CODING_DEFLATE, BITS_RAW}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf b = packed(STR(TEXT), rows[i].bits);
        check(rows[i].coding, buf_str(&b), STR(TEXT), true);
        /* Whatever is cut off: the bytes that came are right, but it is not complete. */
        const struct decoding_options options = plain(rows[i].coding);
        for (size_t n = 1; n < b.n; n++) {
            struct outcome got = decode(&options, str_head(buf_str(&b), n), WHOLE, 4096);
            assert_int_equal(got.step, DECODING_MORE);
            assert_false(got.complete);
            assert_true(str_starts(STR(TEXT), buf_str(&got.out)));
            buf_fini(&got.out);
        }
        buf_fini(&b);
        check(rows[i].coding, STR(""), STR(""), true);
        b = packed(STR(""), rows[i].bits);
        check(rows[i].coding, buf_str(&b), STR(""), true);
        buf_fini(&b);
    }
}

/* What was flushed comes out at once, without any byte of what follows it. */
static void test_flushed(void **state)
{
    const int bits[] = {BITS_GZIP, BITS_ZLIB, BITS_RAW};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bits); i++) {
        const struct decoding_options options = plain(i == 0 ? CODING_GZIP : CODING_DEFLATE);
        struct decoding *decoding = coding_new(&options);
        struct outcome got = {.step = DECODING_MORE};
        Bytef out[256];
        z_stream z = {0};

        buf_init(&got.out, OUT_MAX);
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits[i], 8, Z_DEFAULT_STRATEGY), Z_OK);
        for (size_t at = 0; at < STR(TEXT).n; at++) {
            z.next_in = (Bytef *)(uintptr_t)&TEXT[at];
            z.avail_in = 1;
            z.next_out = out;
            z.avail_out = sizeof(out);
            assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
            struct str input = str_of((const char *)out, sizeof(out) - z.avail_out);
            assert_int_equal(feed(decoding, input, 4096, &got), DECODING_MORE);
            assert_int_equal(got.out.n, at + 1);
        }
        assert_true(str_eq(buf_str(&got.out), STR(TEXT)));
        assert_int_equal(deflateEnd(&z), Z_DATA_ERROR); /* ended before its time */
        coding_free(&decoding);
        buf_fini(&got.out);
    }
}

static void test_members(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, OUT_MAX);
    pack(&b, STR("one "), BITS_GZIP, false);
    pack(&b, STR(""), BITS_GZIP, false);
    pack(&b, STR("two "), BITS_GZIP, true);
    size_t before = b.n;
    pack(&b, STR("three"), BITS_GZIP, false);
    check(CODING_GZIP, buf_str(&b), STR("one two three"), true);

    /* The first byte of a further member is none yet, two of them are. */
    check(CODING_GZIP, str_head(buf_str(&b), before + 1), STR("one two "), true);
    check(CODING_GZIP, str_head(buf_str(&b), before + 2), STR("one two "), false);
    check(CODING_GZIP, str_head(buf_str(&b), b.n - 1), STR("one two three"), false);
    buf_fini(&b);
}

static void test_after_the_end(void **state)
{
    static const char *const tails[] = {"\n", "garbage", "\x1fgarbage", "\x1f\x1f\x8b", "PK"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        struct buf b = packed(STR("text"), BITS_GZIP);
        assert_true(buf_add(&b, str_c(tails[i])));
        check(CODING_GZIP, buf_str(&b), STR("text"), true);
        buf_fini(&b);
        b = packed(STR("text"), i % 2 == 0 ? BITS_ZLIB : BITS_RAW);
        assert_true(buf_add(&b, str_c(tails[i])));
        check(CODING_DEFLATE, buf_str(&b), STR("text"), true);
        buf_fini(&b);
    }
    struct buf zeros = packed(STR("text"), BITS_GZIP);
    assert_true(buf_add(&zeros, str_of("\0\0\0\0\0\0\0", 7)));
    check(CODING_GZIP, buf_str(&zeros), STR("text"), true);
    /* But a member that begins is to be one. */
    buf_fini(&zeros);
    zeros = packed(STR("text"), BITS_GZIP);
    assert_true(buf_add(&zeros, STR("\x1f\x8b\x01garbage")));
    check_failed(CODING_GZIP, buf_str(&zeros), "gzip");
    buf_fini(&zeros);
}

static void test_damaged(void **state)
{
    struct buf b = packed(STR(TEXT), BITS_GZIP);

    (void)state;
    check_failed(CODING_GZIP, STR("{\"not\": \"coded\"}"), "incorrect header check");
    check_failed(CODING_DEFLATE, STR("not coded"), "invalid block type");
    /* zlib's bytes are no gzip, and the reverse. */
    struct buf zlib = packed(STR(TEXT), BITS_ZLIB);
    check_failed(CODING_GZIP, buf_str(&zlib), "incorrect header check");
    check_failed(CODING_DEFLATE, buf_str(&b), "deflate");
    /* A dictionary (RFC 1950, 2.2: FDICT). */
    check_failed(CODING_DEFLATE, str_of("\x78\xbb\x00\x00\x00\x01\x03\x00", 8), "dictionary");

    b.p[b.n - 8] ^= 1; /* CRC32 */
    check_failed(CODING_GZIP, buf_str(&b), "incorrect data check");
    b.p[b.n - 8] ^= 1;
    b.p[b.n - 4] ^= 1; /* ISIZE */
    check_failed(CODING_GZIP, buf_str(&b), "incorrect length check");
    zlib.p[zlib.n - 1] ^= 1; /* ADLER32 */
    check_failed(CODING_DEFLATE, buf_str(&zlib), "incorrect data check");
    buf_fini(&b);
    buf_fini(&zlib);
}

static struct buf zeros(size_t n, int bits)
{
    char *p = mem_new(n);
    struct buf b = packed(str_of(p, n), bits);

    mem_free(p);
    return b;
}

static void test_bytes_max(void **state)
{
    enum { SIZE = 100000 };
    struct buf b = zeros(SIZE, BITS_GZIP);
    struct decoding_options options = {.coding = CODING_GZIP, .bytes_max = SIZE};

    (void)state;
    for (size_t cut = 0; cut <= b.n; cut++) {
        options.bytes_max = SIZE;
        struct outcome got = decode(&options, buf_str(&b), cut, 4096);
        assert_true(got.complete && got.out.n == SIZE);
        buf_fini(&got.out);
        options.bytes_max = SIZE - 1;
        got = decode(&options, buf_str(&b), cut, 4096);
        assert_int_equal(got.step, DECODING_BOMB);
        assert_int_equal(got.e.code, ERR_TOO_LARGE);
        assert_non_null(strstr(got.e.detail, "99999 bytes"));
        assert_true(got.out.n < SIZE);
        buf_fini(&got.out);
    }
    buf_fini(&b);
}

static void test_ratio(void **state)
{
    enum { FREE = 64 * 1024, SIZE = 10 * 1024 * 1024 };
    struct decoding_options options = {.coding = CODING_DEFLATE, .bytes_max = SIZE};

    (void)state;
    /* A short body may be as dense as it likes. */
    struct buf b = zeros(FREE, BITS_ZLIB);
    assert_true(b.n < FREE / 500);
    char *want = mem_new(FREE);
    check(CODING_DEFLATE, buf_str(&b), str_of(want, FREE), true);
    mem_free(want);
    buf_fini(&b);

    b = zeros(SIZE, BITS_ZLIB);
    options.ratio_max = 0;
    struct outcome got = decode(&options, buf_str(&b), WHOLE, 4096);
    assert_true(got.complete && got.out.n == SIZE);
    buf_fini(&got.out);
    options.ratio_max = 100;
    for (size_t cut = 0; cut < 200; cut++) {
        got = decode(&options, buf_str(&b), cut, 4096);
        assert_int_equal(got.step, DECODING_BOMB);
        assert_non_null(strstr(got.e.detail, "100 times"));
        /* It was stopped as soon as it was one. */
        assert_true(got.out.n <= FREE + 4096);
        buf_fini(&got.out);
    }
    buf_fini(&b);
}

/* The ratio is met exactly, and passed by one: by bodies that come out in a single piece. */
static void test_ratio_exact(void **state)
{
    enum { BEGIN = 64 * 1024 + 1, END = BEGIN + 500 };
    static char buffer[END];
    int met = 0;
    int passed = 0;

    (void)state;
    for (size_t n = BEGIN; n < END; n++) {
        struct buf b = zeros(n, BITS_RAW);
        if (n % b.n <= 1) {
            const struct decoding_options options = {.coding = CODING_DEFLATE,
                                                     .bytes_max = END,
                                                     .ratio_max = n / b.n};
            struct decoding *decoding = coding_new(&options);
            struct str input = buf_str(&b);
            struct str piece = STR_NULL;
            struct error e;
            bool exact = n % b.n == 0;
            enum decoding_step step = coding_next(decoding, &input, buffer, END, &piece, &e);
            assert_int_equal(step, exact ? DECODING_PIECE : DECODING_BOMB);
            *(exact ? &met : &passed) += 1;
            coding_free(&decoding);
        }
        buf_fini(&b);
    }
    assert_true(met > 0 && passed > 0);
}

static void test_budget(void **state)
{
    struct arena_budget budget = {.max = 100000};
    struct decoding_options options = plain(CODING_GZIP);
    struct buf b = packed(STR(TEXT), BITS_GZIP);
    struct decoding *two[2];

    (void)state;
    options.budget = &budget;
    two[0] = coding_new(&options);
    two[1] = coding_new(&options);
    assert_non_null(two[0]);
    assert_non_null(two[1]);
    assert_null(coding_new(&options));
    size_t used = atomic_load(&budget.used);
    assert_true(used > 80000 && used < 100000);
    /* All of it was taken at the start: decoding takes no more. */
    struct outcome got = {.step = DECODING_MORE};
    buf_init(&got.out, OUT_MAX);
    assert_int_equal(feed(two[0], buf_str(&b), 16, &got), DECODING_MORE);
    assert_true(coding_complete(two[0]));
    assert_int_equal(atomic_load(&budget.used), used);
    coding_free(&two[0]);
    coding_free(&two[1]);
    coding_free(&two[1]);
    assert_int_equal(atomic_load(&budget.used), 0);
    buf_fini(&got.out);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_flushed),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_after_the_end),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_bytes_max),
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_ratio_exact),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
