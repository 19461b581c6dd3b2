/* SPDX-License-Identifier: MIT */
/*
 * sse_*: the split law, and no byte lost.
 *
 * Laws      The first byte of the input says where the rest is cut: the frames are those of the
 *           whole input and of the input byte by byte. All raw bytes in order are the input. The
 *           data is what a plain reader of the frame's lines finds.
 */
#include <stdint.h>
#include <stdlib.h>

#include "text/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENT_MAX = 512, FRAMES_MAX = 1 << 20 };

/* All frames of one run as bytes that can be compared. */
struct record {
    struct buf frames;
    struct buf raw;
    bool failed;
};

static void add_field(struct buf *b, char kind, struct str field)
{
    if (str_is_null(field))
        return;
    buf_add_char(b, kind);
    buf_add_int64(b, (int64_t)field.n);
    buf_add_char(b, ':');
    buf_add(b, field);
}

/* The data lines of a frame, found the slow way. */
static void check_data(const struct sse_frame *frame, bool first)
{
    struct buf want;
    bool any = false;
    size_t at = 0;

    if (first && str_starts(frame->raw, STR("\xEF\xBB\xBF")))
        at = 3;
    buf_init(&want, 2 * EVENT_MAX);
    while (at < frame->raw.n) {
        size_t end = at;
        while (end < frame->raw.n && frame->raw.p[end] != '\n' && frame->raw.p[end] != '\r')
            end++;
        struct str line = str_of(frame->raw.p + at, end - at);
        bool bare = str_eq(line, STR("data"));
        if (bare || str_starts(line, STR("data:"))) {
            line = str_from(line, bare ? 4 : 5);
            if (str_starts(line, STR(" ")))
                line = str_from(line, 1);
            if (any)
                buf_add_char(&want, '\n');
            buf_add(&want, line);
            any = true;
        }
        at = end + 1;
    }
    assert(any == !str_is_null(frame->data));
    assert(str_eq(buf_str(&want), frame->data));
    buf_fini(&want);
}

static void note(struct record *record, const struct sse_frame *frame)
{
    bool first = record->raw.n == 0;

    assert(frame->raw.n > 0 && frame->raw.n <= EVENT_MAX);
    check_data(frame, first);
    add_field(&record->frames, 'r', frame->raw);
    add_field(&record->frames, 'e', frame->event);
    add_field(&record->frames, 'd', frame->data);
    buf_add(&record->raw, frame->raw);
}

static void run(struct record *record, struct str input, size_t first, size_t step)
{
    struct sse sse;
    struct sse_frame frame;
    struct error e = {.code = OK};
    size_t at = 0;

    sse_init(&sse, EVENT_MAX);
    buf_init(&record->frames, FRAMES_MAX);
    buf_init(&record->raw, FRAMES_MAX);
    while (at < input.n && e.code == OK) {
        size_t n = at == 0 && first > 0 ? first : step;
        n = n < input.n - at ? n : input.n - at;
        /* A copy of its own, so that a slice of bytes that are gone is seen. */
        char *copy = malloc(n);
        assert(copy != NULL);
        memcpy(copy, input.p + at, n);
        sse_feed(&sse, str_of(copy, n));
        while (sse_next(&sse, &frame, &e))
            note(record, &frame);
        free(copy);
        at += n;
    }
    record->failed = e.code != OK;
    if (sse_end(&sse, &frame)) {
        buf_add_char(&record->frames, '$');
        note(record, &frame);
    }
    assert(!sse_end(&sse, &frame));
    sse_fini(&sse);
    assert(buf_ok(&record->frames) && buf_ok(&record->raw));
    if (record->failed)
        assert(e.code == ERR_UPSTREAM_TOO_LARGE && str_starts(input, buf_str(&record->raw)));
    else
        assert(str_eq(buf_str(&record->raw), input));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 8192)
        return 0;
    struct str input = str_of((const char *)data + 1, size - 1);
    const size_t cuts[][2] = {{0, input.n},
                              {data[0] % input.n, input.n},
                              {data[0] & 15u, 1u + (data[0] >> 4)},
                              {0, 1}};
    struct record want;

    run(&want, input, cuts[0][0], cuts[0][1]);
    for (size_t i = 1; i < COUNT_OF(cuts); i++) {
        struct record is;
        run(&is, input, cuts[i][0], cuts[i][1]);
        assert(is.failed == want.failed);
        assert(str_eq(buf_str(&is.frames), buf_str(&want.frames)));
        buf_fini(&is.frames);
        buf_fini(&is.raw);
    }
    buf_fini(&want.frames);
    buf_fini(&want.raw);
    return 0;
}
