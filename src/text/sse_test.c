/* SPDX-License-Identifier: MIT */
#include "text/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EVENT_MAX = 4096 };

/* Frames are written down as R<raw>E<event>D<data>; an absent field has no letter. */
static void note_frame(struct buf *log, const struct sse_frame *frame)
{
    buf_add(log, STR("R<"));
    buf_add(log, frame->raw);
    buf_add(log, STR(">"));
    if (!str_is_null(frame->event)) {
        buf_add(log, STR("E<"));
        buf_add(log, frame->event);
        buf_add(log, STR(">"));
    }
    if (!str_is_null(frame->data)) {
        buf_add(log, STR("D<"));
        buf_add(log, frame->data);
        buf_add(log, STR(">"));
    }
    buf_add_char(log, '\n');
}

/* Feeds a copy that is exactly as long, and gone afterwards. */
static bool feed(struct sse *sse, struct str bytes, struct buf *log, struct buf *raw)
{
    struct sse_frame frame;
    struct error e = {.code = ERR_INTERNAL};
    char *copy = test_malloc(bytes.n + 1);

    memcpy(copy, bytes.p, bytes.n);
    sse_feed(sse, str_of(copy, bytes.n));
    while (sse_next(sse, &frame, &e)) {
        assert_int_equal(e.code, OK);
        note_frame(log, &frame);
        buf_add(raw, frame.raw);
    }
    test_free(copy);
    if (e.code != OK)
        assert_int_equal(e.code, ERR_UPSTREAM_TOO_LARGE);
    return e.code == OK;
}

/* Cut at a and b (and after each byte when a is SIZE_MAX). The frames go to log. */
static void run(struct str input, size_t a, size_t b, struct buf *log)
{
    struct sse sse;
    struct sse_frame frame;
    struct buf raw;

    sse_init(&sse, EVENT_MAX);
    buf_init(&raw, 1 << 20);
    buf_reset(log);
    if (a == SIZE_MAX) {
        for (size_t i = 0; i < input.n; i++)
            assert_true(feed(&sse, str_of(input.p + i, 1), log, &raw));
    } else {
        assert_true(feed(&sse, str_head(input, a), log, &raw));
        assert_true(feed(&sse, str_from(str_head(input, b), a), log, &raw));
        assert_true(feed(&sse, str_from(input, b), log, &raw));
    }
    if (sse_end(&sse, &frame)) {
        buf_add(log, STR("end "));
        note_frame(log, &frame);
        buf_add(&raw, frame.raw);
    }
    assert_false(sse_end(&sse, &frame));
    /* Nothing is lost, nothing comes twice. */
    if (!str_eq(buf_str(&raw), input))
        fail_msg("raw is not the input");
    buf_fini(&raw);
    sse_fini(&sse);
}

static void check_log(const struct buf *is, struct str want, struct str input, size_t a, size_t b)
{
    if (!str_eq(buf_str(is), want))
        fail_msg("input \"%.*s\" cut at %zu and %zu:\n%.*sinstead of\n%.*s", STR_ARG(input), a, b,
                 STR_ARG(buf_str(is)), STR_ARG(want));
}

/* The split law: whole, each cut in two, byte by byte. */
static void check_splits(struct str input, struct str want)
{
    struct buf log;

    buf_init(&log, 1 << 20);
    for (size_t a = 0; a <= input.n; a++) {
        run(input, a, input.n, &log);
        check_log(&log, want, input, a, input.n);
    }
    run(input, SIZE_MAX, 0, &log);
    check_log(&log, want, input, SIZE_MAX, 0);
    buf_fini(&log);
}

static void test_frames(void **state)
{
    const struct {
        struct str input;
        struct str want;
    } cases[] = {
        {STR(""), STR("")},
        {STR("data: a\n\n"), STR("R<data: a\n\n>D<a>\n")},
        {STR("data:a\n\ndata:  b\n\n"), STR("R<data:a\n\n>D<a>\nR<data:  b\n\n>D< b>\n")},
        {STR("data: a\r\n\r\n"), STR("R<data: a\r\n\r\n>D<a>\n")},
        {STR("data: a\r\rdata: b\n\n"), STR("R<data: a\r\r>D<a>\nR<data: b\n\n>D<b>\n")},
        {STR("data: a\r\r"), STR("end R<data: a\r\r>D<a>\n")},
        {STR("data: a\n\r\ndata: b\r\n\n"), STR("R<data: a\n\r\n>D<a>\nR<data: b\r\n\n>D<b>\n")},
        {STR("data: a\r\n\rdata: b\n\r"), STR("R<data: a\r\n\r>D<a>\nend R<data: b\n\r>D<b>\n")},
        {STR("event: x\ndata: {}\nid: 1\nretry: 2\nfoo\n\n"),
         STR("R<event: x\ndata: {}\nid: 1\nretry: 2\nfoo\n\n>E<x>D<{}>\n")},
        {STR("event: x\nevent: y\n\n"), STR("R<event: x\nevent: y\n\n>E<y>\n")},
        {STR("data: a\ndata: b\ndata\ndata:\n\n"),
         STR("R<data: a\ndata: b\ndata\ndata:\n\n>D<a\nb\n\n>\n")},
        {STR("data\n\n"), STR("R<data\n\n>D<>\n")},
        {STR("event\ndatax: 1\nxdata: 2\nDATA: 3\n\n"),
         STR("R<event\ndatax: 1\nxdata: 2\nDATA: 3\n\n>E<>\n")},
        {STR(" data: a\n\n"), STR("R< data: a\n\n>\n")},
        /* blank lines */
        {STR("\n\ndata: a\n\n\n"), STR("R<\n>\nR<\n>\nR<data: a\n\n>D<a>\nR<\n>\n")},
        {STR("\r\n\r\rdata: a"), STR("R<\r\n>\nR<\r>\nR<\r>\nend R<data: a>D<a>\n")},
        /* comments */
        {STR(": ping\n\ndata: a\n\n"), STR("R<: ping\n\n>\nR<data: a\n\n>D<a>\n")},
        {STR(": ping\n:\ndata: a\n\n"), STR("R<: ping\n:\n>\nR<data: a\n\n>D<a>\n")},
        {STR(": ping\rdata: a\n\n"), STR("R<: ping\r>\nR<data: a\n\n>D<a>\n")},
        {STR("data: a\n: c\ndata: b\n\n"), STR("R<data: a\n: c\ndata: b\n\n>D<a\nb>\n")},
        {STR(": pi"), STR("end R<: pi>\n")},
        {STR(": ping\n"), STR("end R<: ping\n>\n")},
        /* the end without an empty line */
        {STR("data: a\n\ndata: [DONE]"), STR("R<data: a\n\n>D<a>\nend R<data: [DONE]>D<[DONE]>\n")},
        {STR("data: [DONE]\n"), STR("end R<data: [DONE]\n>D<[DONE]>\n")},
        {STR("data: [DONE]\r"), STR("end R<data: [DONE]\r>D<[DONE]>\n")},
        /* byte order marks */
        {STR("\xEF\xBB\xBF"
             "data: a\n\n"),
         STR("R<\xEF\xBB\xBF"
             "data: a\n\n>D<a>\n")},
        {STR("\xEF\xBB\xBF\n"), STR("R<\xEF\xBB\xBF\n>\n")},
        {STR("\xEF\xBB\xBF"), STR("end R<\xEF\xBB\xBF>\n")},
        {STR("\xEF\xBB\xBF: c\ndata: a\n\n"), STR("R<\xEF\xBB\xBF: c\n>\nR<data: a\n\n>D<a>\n")},
        {STR("\xEF\xBB\n\n"), STR("R<\xEF\xBB\n\n>\n")},
        {STR("\xEF\xBB"
             "data: a\n\n"),
         STR("R<\xEF\xBB"
             "data: a\n\n>\n")},
        {STR("\n\xEF\xBB\xBF"
             "data: a\n\n"),
         STR("R<\n>\nR<\xEF\xBB\xBF"
             "data: a\n\n>\n")},
        {STR("data: \xEF\xBB\xBF\n\n"), STR("R<data: \xEF\xBB\xBF\n\n>D<\xEF\xBB\xBF>\n")},
        /* NUL is a byte like any other */
        {STR("data: a\0b\n\n"), STR("R<data: a\0b\n\n>D<a\0b>\n")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_splits(cases[i].input, cases[i].want);
}

/* Random rows of what matters to framing, cut in three wherever it may be. */
static void test_random_splits(void **state)
{
    const struct str pieces[] = {STR("\n"),           STR("\r"),   STR("\r\n"),    STR("data: x"),
                                 STR("data"),         STR(":c"),   STR("event:e"), STR(" "),
                                 STR("\xEF\xBB\xBF"), STR("\n\n"), STR("\xEF"),    STR("z")};
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        char text[128];
        size_t n = 0;
        struct buf want;
        struct buf log;
        for (int i = 0; i < 7; i++) {
            seed = seed * 1664525 + 1013904223;
            struct str piece = pieces[(seed >> 16) % COUNT_OF(pieces)];
            memcpy(text + n, piece.p, piece.n);
            n += piece.n;
        }
        buf_init(&want, 1 << 16);
        buf_init(&log, 1 << 16);
        run(str_of(text, n), SIZE_MAX, 0, &want);
        for (size_t a = 0; a <= n; a++) {
            for (size_t b = a; b <= n; b++) {
                run(str_of(text, n), a, b, &log);
                check_log(&log, buf_str(&want), str_of(text, n), a, b);
            }
        }
        buf_fini(&want);
        buf_fini(&log);
    }
}

/* What is there at once, before any further byte, and what has to wait. */
static void test_latency(void **state)
{
    const struct {
        struct str input;
        bool at_once;
    } cases[] = {
        {STR("data: a\n\n"), true},    {STR("data: a\r\n\r\n"), true}, {STR("data: a\r\n\n"), true},
        {STR("data: a\n\r\n"), true},  {STR("data: a\r\r"), false},    {STR("data: a\n"), false},
        {STR("data: a\r\n\r"), false}, {STR(": c\n"), false},          {STR(": c\nd"), true},
        {STR(": c\n\n"), true},        {STR(": c\n: c\n"), false},     {STR("\n"), true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sse sse;
        struct sse_frame frame;
        struct error e;
        sse_init(&sse, EVENT_MAX);
        sse_feed(&sse, cases[i].input);
        if (sse_next(&sse, &frame, &e) != cases[i].at_once)
            fail_msg("case %zu", i);
        sse_fini(&sse);
    }
}

/* Slices of the input where a frame lies in it whole; no memory for a stream that waits. */
static void test_no_copy(void **state)
{
    struct str input = STR("data: a\n\nevent: e\ndata: b\n\ndata: c\ndata: d\n\ndata: par");
    struct sse sse;
    struct sse_frame frame;
    struct error e;

    (void)state;
    sse_init(&sse, EVENT_MAX);
    sse_feed(&sse, input);
    assert_true(sse_next(&sse, &frame, &e));
    assert_ptr_equal(frame.raw.p, input.p);
    assert_ptr_equal(frame.data.p, input.p + 6);
    assert_true(sse_next(&sse, &frame, &e));
    assert_ptr_equal(frame.raw.p, input.p + 9);
    assert_ptr_equal(frame.event.p, input.p + 16);
    assert_ptr_equal(frame.data.p, input.p + 24);
    assert_null(sse.joined.p);
    assert_true(sse_next(&sse, &frame, &e));
    assert_ptr_equal(frame.raw.p, input.p + 27);
    assert_false(sse_next(&sse, &frame, &e));
    assert_int_equal(sse.carry.n, 9);
    sse_feed(&sse, STR("t\n\n"));
    assert_true(sse_next(&sse, &frame, &e));
    assert_true(str_eq(frame.data, STR("part")));
    assert_false(sse_next(&sse, &frame, &e));
    assert_null(sse.carry.p);
    assert_null(sse.joined.p);
    sse_fini(&sse);
}

/* The bound holds for each frame, to the byte, however it is cut, and a refusal is for good. */
static void test_bound(void **state)
{
    enum { MAX = 16 };
    struct str fits = STR("data: 0123456\n\n\ndata: 01234567\n\n");
    struct str over = STR("data: 012345678\n\n");

    (void)state;
    for (size_t cut = 0; cut <= over.n; cut++) {
        struct sse sse;
        struct sse_frame frame;
        struct error e;
        size_t frames = 0;
        sse_init(&sse, MAX);
        sse_feed(&sse, fits);
        while (sse_next(&sse, &frame, &e))
            frames++;
        assert_int_equal(frames, 3);
        assert_int_equal(e.code, OK);
        sse_feed(&sse, str_head(over, cut));
        assert_false(sse_next(&sse, &frame, &e));
        sse_feed(&sse, str_from(over, cut));
        assert_false(sse_next(&sse, &frame, &e));
        assert_int_equal(e.code, ERR_UPSTREAM_TOO_LARGE);
        sse_feed(&sse, fits);
        assert_false(sse_next(&sse, &frame, &e));
        assert_int_equal(e.code, ERR_UPSTREAM_TOO_LARGE);
        assert_false(sse_end(&sse, &frame));
        sse_fini(&sse);
    }
}

/* A frame of many small pieces is not looked at from its start with each of them: this would take
 * minutes. */
static void test_many_pieces(void **state)
{
    enum { N = 1 << 21 };
    struct sse sse;
    struct sse_frame frame;
    struct error e;

    (void)state;
    sse_init(&sse, 1 << 22);
    for (int i = 0; i < N; i++) {
        sse_feed(&sse, i % 2 == 0 ? STR("x") : STR("\n"));
        assert_false(sse_next(&sse, &frame, &e));
    }
    sse_feed(&sse, STR("data: a\n\n"));
    assert_true(sse_next(&sse, &frame, &e));
    assert_int_equal(frame.raw.n, N + 9);
    assert_true(str_eq(frame.data, STR("a")));
    sse_fini(&sse);
}

static void test_lines(void **state)
{
    static const struct {
        const char *raw;
        size_t lines;
        size_t before_data;
    } cases[] = {
        {"", 0, 0},
        {"data: a\n\n", 2, 0},
        {"event: x\ndata: a\ndata: b\n\n", 4, 1},
        {": c\r\nevent: x\r\ndata: a\r\n\r\n", 4, 2},
        {"event: x\rdata: a\r\r", 3, 1},
        {"event: data\n\n", 2, 0},
        {"data: the rest", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t before = SIZE_MAX;
        assert_int_equal(sse_count_lines(str_c(cases[i].raw), &before), cases[i].lines);
        assert_int_equal(before, cases[i].before_data);
    }
}

/* A frame may be taken by who knows it; what is in the midst of one, or the stream's start, is not
 * offered. */
static void test_ahead(void **state)
{
    (void)state;
    struct sse sse;
    struct sse_frame frame;
    struct error e;

    sse_init(&sse, EVENT_MAX);
    sse_feed(&sse, STR("data: 1\n\ndata: 2\n\n: c\n\ndata: 3\n"));
    assert_int_equal(sse_ahead(&sse).n, 0);
    assert_true(sse_next(&sse, &frame, &e));
    assert_true(str_eq(frame.data, STR("1")));
    assert_true(str_starts(sse_ahead(&sse), STR("data: 2\n\n: c")));
    assert_true(str_eq(sse_take(&sse, 9), STR("data: 2\n\n")));
    assert_true(sse_next(&sse, &frame, &e));
    assert_true(str_eq(frame.raw, STR(": c\n\n")));
    assert_false(sse_next(&sse, &frame, &e));
    assert_int_equal(e.code, OK);
    assert_int_equal(sse_ahead(&sse).n, 0);
    sse_feed(&sse, STR("\ndata: 4\n\n"));
    assert_int_equal(sse_ahead(&sse).n, 0);
    assert_true(sse_next(&sse, &frame, &e));
    assert_true(str_eq(frame.raw, STR("data: 3\n\n")));
    assert_true(str_eq(sse_ahead(&sse), STR("data: 4\n\n")));
    assert_int_equal(sse_take(&sse, 9).n, 9);
    assert_int_equal(sse_ahead(&sse).n, 0);
    assert_false(sse_next(&sse, &frame, &e));
    assert_false(sse_end(&sse, &frame));
    sse_fini(&sse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),  cmocka_unit_test(test_random_splits),
        cmocka_unit_test(test_latency), cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_bound),   cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
