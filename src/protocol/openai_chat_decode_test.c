/* SPDX-License-Identifier: MIT */
/*
 * The laws of decoding. What single streams mean stands in tests/golden/openai_chat.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/openai_chat_decode_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_openai_chat;

enum { OUT_MAX = 256 * 1024 * 1024 };

#define HEAD \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define DELTA(delta) \
    HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}\n\n"
#define TEXT(text) DELTA("{\"content\":\"" text "\"}")
#define FINISH     HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE       "data: [DONE]\n\n"
#define ROLE       DELTA("{\"role\":\"assistant\",\"content\":\"\"}")
#define PADDED(text, padding)                                       \
    HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text \
         "\"},\"finish_reason\":null}],\"obfuscation\":\"" padding "\"}\n\n"

/* A whole call, for its index and the number in its id. */
#define CALLS_AT                                                                            \
    DELTA("{\"tool_calls\":[{\"index\":%d,\"id\":\"call_%d\",\"function\":{\"name\":\"f\"," \
          "\"arguments\":\"{}\"}}]}")

static void templates_off(void *decoder)
{
    struct openai_chat_decoder *d = decoder;

    d->templates_off = true;
}

static uint32_t matched_of(const struct trial *trial)
{
    const struct openai_chat_decoder *d = trial->decoder;

    return d->matched;
}

static void dump_of(struct str bytes, const struct trial_cuts *cuts, struct buf *out)
{
    struct trial trial;
    struct error e;

    trial_decode(&trial, &protocol_openai_chat, bytes, cuts);
    if (!trial_check(&trial, &e))
        fail_msg("%s\n%.*s", e.detail, STR_ARG(bytes));
    trial_dump(&trial, out);
    trial_fini(&trial);
}

static void same_dump(const char *what, struct str bytes, const struct trial_cuts *cuts,
                      const struct buf *want)
{
    struct buf got;

    buf_init(&got, OUT_MAX);
    dump_of(bytes, cuts, &got);
    if (!str_eq(buf_str(&got), buf_str(want)))
        fail_msg("%s (step %zu)\n--- got\n%.*s\n--- want\n%.*s", what, cuts->step,
                 STR_ARG(buf_str(&got)), STR_ARG(buf_str(want)));
    buf_fini(&got);
}

/* --- templates ---------------------------------------------------------------------------- */

#define CRS(text, ends) \
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}" ends

/* Streams in which frames resemble each other without being alike: traps for a template. */
static const char *const traps[] = {
    /* The text ends the string early, or seems to. */
    ROLE TEXT("a") TEXT("b\\\"}") TEXT("c\\\\") TEXT("\\\\\\\"") TEXT("d") FINISH DONE,
    /* Empty text says nothing. */
    ROLE TEXT("a") TEXT("") TEXT("b") FINISH DONE,
    /* Escapes, of every kind, cut pairs too. */
    ROLE TEXT("a") TEXT("\\u00e4\\n\\/") TEXT("\\ud83d\\ude00") TEXT("\\ud83d") TEXT("\\ude00")
        TEXT("\\u0000") FINISH DONE,
    /* Another member in place of the suffix: finish, usage, a second choice. */
    ROLE TEXT("a") TEXT("b") HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"c\"},"
                                  "\"finish_reason\":\"stop\"}]}\n\n" TEXT("late") DONE,
    ROLE TEXT("a") TEXT("b\"},\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{\"content\":\"x")
        FINISH DONE,
    /* The same bytes mean another thing after the block has changed. */
    ROLE TEXT("a") TEXT("b") DELTA("{\"reasoning\":\"r\"}") DELTA("{\"reasoning\":\"s\"}") TEXT("c")
        TEXT("d") DELTA("{\"reasoning\":\"t\"}") TEXT("e") FINISH DONE,
    /* Calls: by index, a new id, a repeated one, names. */
    ROLE DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"\"}}]}")
        DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]}")
            DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1\"}}]}")
                DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"y\",\"function\":{\"name\":\"g\","
                      "\"arguments\":\"{\"}}]}")
                    DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"2\"}}]}")
                        DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}")
                            FINISH DONE,
    /* A call that is said again at the end, having been streamed by a template. */
    ROLE DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"\"}}]}")
        DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"a\"}}]}")
            DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"b\"}}]}")
                DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"c\"}}]}") HEAD
    "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":"
    "\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"abc\"}}]},"
    "\"finish_reason\":\"tool_calls\"}]}\n\n" DONE,
    /* Padding beside the text, before it, broken, escaped. */
    PADDED("a", "xyz") PADDED("b", "") PADDED("c", "\\\"") PADDED("d", "\\ud800") PADDED("", "q")
        PADDED("e", "p\"},{\"") FINISH DONE,
    HEAD
    "\"obfuscation\":\"12\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n" HEAD
    "\"obfuscation\":\"345\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\n\n" HEAD
    "\"obfuscation\":\"6\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n" FINISH
        DONE,
    /* Lines beside the data, a mark at the beginning, other line ends. */
    "\xEF\xBB\xBF" TEXT("a") "\xEF\xBB\xBF" TEXT("b") "id: 1\n" TEXT("c") "id: 1\n" TEXT(
        "d") "id: 2\n" TEXT("e") ": x\n" TEXT("f") FINISH DONE,
    /* Lines that end in CR, behind which a LF may come and may not. */
    CRS("a", "\r\r") CRS("b", "\r\r") "\n" CRS("c", "\r\r\n") CRS("d", "\r\r\n")
        CRS("e", "\r\n\r\n") CRS("f", "\r\n\r\n") CRS("g", "\n\r") CRS("h", "\n\r\n")
            CRS("i", "\n\r\n") CRS("j", "\n\n") CRS("k", "\n\n\n\n") CRS("l", "\n\n") FINISH DONE,
    /* A string that never ends, where the template waits for its end. */
    ROLE TEXT("a") TEXT("b") HEAD
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"c\n\n" TEXT("d") FINISH DONE,
    /* Two members of one key, and keys with escapes. */
    DELTA("{\"content\":\"a\",\"content\":\"x\"}") DELTA("{\"content\":\"b\",\"content\":\"x\"}")
        DELTA("{\"c\\u006fntent\":\"c\",\"content\":\"y\"}")
            DELTA("{\"c\\u006fntent\":\"d\",\"content\":\"y\"}") FINISH DONE,
    /* Text in two places at once, and in a list. */
    DELTA("{\"content\":\"a\",\"refusal\":\"r\"}") DELTA("{\"content\":\"b\",\"refusal\":\"r\"}")
        DELTA("{\"content\":[{\"type\":\"text\",\"text\":\"c\"}]}")
            DELTA("{\"content\":[{\"type\":\"text\",\"text\":\"d\"}]}") FINISH DONE,
    /* After the end nothing is said. */
    ROLE TEXT("a") TEXT("b") DONE TEXT("c") TEXT("d") ": ping\n\n" DONE,
    /* Nor after an error. */
    ROLE TEXT("a") TEXT("b") "data: {\"error\":{\"message\":\"x\"}}\n\n" TEXT("c") TEXT("d"),
};

/* Catches: a template that matches a frame which parsing reads otherwise. */
static void test_templates_traps(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(traps); i++) {
        struct trial_cuts cuts = {.stream = true, .prepare = templates_off};
        struct buf want;
        buf_init(&want, OUT_MAX);
        dump_of(str_c(traps[i]), &cuts, &want);
        cuts.prepare = NULL;
        for (size_t step = 0; step < 100; step = step * 3 + 1) {
            cuts.step = step;
            same_dump("templates", str_c(traps[i]), &cuts, &want);
        }
        buf_fini(&want);
    }
}

/* Catches: templates that never match, so that the laws above would hold for nothing. */
static void test_templates_match(void **state)
{
    const struct trial_cuts cuts = {.stream = true};
    static const struct {
        const char *stream;
        uint32_t matched;
    } cases[] = {
        {ROLE TEXT("a") TEXT("b") TEXT("\\n") TEXT("d") FINISH DONE, 3},
        {PADDED("a", "xyz") PADDED("b", "") PADDED("c", "\\\"") FINISH DONE, 2},
        {DELTA("{\"reasoning\":\"r\"}") DELTA("{\"reasoning\":\"s\"}")
             DELTA("{\"reasoning\":\"t\"}") TEXT("c") TEXT("d") FINISH DONE,
         3},
        {DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\","
               "\"arguments\":\"\"}}]}")
             DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"a\"}}]}") DELTA(
                 "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"b\"}}]}") FINISH DONE,
         1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trial trial;
        trial_decode(&trial, &protocol_openai_chat, str_c(cases[i].stream), &cuts);
        assert_int_equal(trial.error.code, OK);
        assert_int_equal(matched_of(&trial), cases[i].matched);
        trial_fini(&trial);
    }
}

/* --- the split law ------------------------------------------------------------------------ */

static void obeys_split_law(struct str bytes, size_t steps)
{
    struct trial_cuts cuts = {.stream = true};
    struct buf want;

    buf_init(&want, OUT_MAX);
    dump_of(bytes, &cuts, &want);
    for (cuts.step = 1; cuts.step <= steps; cuts.step++)
        same_dump("split", bytes, &cuts, &want);
    buf_fini(&want);
}

static void test_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(traps); i++)
        obeys_split_law(str_c(traps[i]), 40);
}

/* --- recordings --------------------------------------------------------------------------- */

struct totals {
    size_t streams;
    size_t bodies;
    size_t frames;
    size_t matched;
};

static void stream_obeys(const struct recording *recording, struct totals *totals)
{
    struct trial_cuts cuts = {.stream = true, .prepare = templates_off};
    struct trial trial;
    struct buf want;

    buf_init(&want, OUT_MAX);
    dump_of(recording->body, &cuts, &want);
    cuts.prepare = NULL;
    same_dump("templates", recording->body, &cuts, &want);
    cuts.step = 900;
    cuts.seed = recording->line + 1;
    same_dump("split", recording->body, &cuts, &want);
    buf_fini(&want);

    cuts.step = 0;
    trial_decode(&trial, &protocol_openai_chat, recording->body, &cuts);
    if (trial.error.code != OK)
        fail_msg("line %zu: %s", recording->line, trial.error.detail);
    totals->streams++;
    totals->frames += trial.n;
    totals->matched += matched_of(&trial);
    trial_fini(&trial);
}

static void body_obeys(const struct recording *recording, struct totals *totals)
{
    const struct trial_cuts cuts = {.stream = false};
    struct trial trial;
    struct error e;

    trial_decode(&trial, &protocol_openai_chat, recording->body, &cuts);
    if (trial.error.code != OK)
        fail_msg("line %zu: %s", recording->line, trial.error.detail);
    assert_int_equal(trial.n, 1);
    assert_true(trial.frames[0].whole && trial.frames[0].n > 0);
    if (!trial_check(&trial, &e))
        fail_msg("line %zu: %s", recording->line, e.detail);
    totals->bodies++;
    trial_fini(&trial);
}

static void recording_obeys(void *ctx, const struct recording *recording)
{
    if (recording->status != 200)
        return;
    if (recording->stream)
        stream_obeys(recording, ctx);
    else
        body_obeys(recording, ctx);
}

static void test_recordings(void **state)
{
    struct totals totals = {0};

    (void)state;
    if (!recordings_each("openai_chat", recording_obeys, &totals))
        skip();
    assert_true(totals.streams > 100 && totals.bodies > 100);
    /* Some vendors number each chunk: those are parsed. Most frames must not be. */
    assert_true(totals.matched * 2 > totals.frames);
}

/* --- ends --------------------------------------------------------------------------------- */

/* Catches: a frame that nobody can read passed over where it may have said something, or taken for
 * the end of the answer where it says nothing. */
static void test_holes(void **state)
{
    static const struct {
        const char *bytes;
        size_t holes;
    } rows[] = {
        {ROLE TEXT("a") "data: {\"choices\":[{\"delta\n\n" TEXT("b") FINISH DONE, 1},
        {ROLE "data: no\n\ndata: [1]\n\ndata: [[[\n\n" TEXT("b") FINISH DONE, 3},
        {ROLE TEXT("a") "data:\n\ndata: \n\n: c\n\ndata: null\n\ndata: []\n\n"
                        "data: \"ping\"\n\nevent: ping\ndata: {}\n\nid: 1\n\n" FINISH DONE,
         0},
        {ROLE TEXT("a") FINISH "data: {\"usage\n\n" DONE "data: no\n\n", 0},
        {"data: no\n\n" ROLE TEXT("a") FINISH DONE, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct trial trial;
        size_t holes = 0;
        trial_decode(&trial, &protocol_openai_chat, str_c(rows[i].bytes),
                     &(struct trial_cuts){.stream = true, .step = 1 + i * 7});
        assert_int_equal(trial.error.code, OK);
        for (size_t k = 0; k < trial.n; k++) {
            holes += trial.frames[k].hole;
            assert_true(!trial.frames[k].hole || trial.frames[k].n == 0);
        }
        assert_int_equal(holes, rows[i].holes);
        trial_fini(&trial);
    }
}

static void test_ends(void **state)
{
    const struct trial_cuts cuts = {.stream = true};
    static const struct {
        const char *stream;
        enum error_code code;
        size_t frames;
    } cases[] = {
        {"", ERR_UPSTREAM_BROKEN, 0},
        {ROLE TEXT("a"), ERR_UPSTREAM_BROKEN, 2},
        {ROLE TEXT("a") FINISH, OK, 3},
        {ROLE TEXT("a") DONE, OK, 3},
        {DONE, OK, 1},
        {": ping\n\n", ERR_UPSTREAM_BROKEN, 1},
        /* Behind the last empty line: the terminator counts, half a frame does not. */
        {ROLE TEXT("a") FINISH "data: [DONE]", OK, 4},
        {ROLE TEXT("a") "data: [DONE]\n", OK, 3},
        {ROLE TEXT("a") "data: {\"id\":\"c", ERR_UPSTREAM_BROKEN, 2},
        {ROLE TEXT("a") FINISH "data: {\"id\":\"c", OK, 4},
        {"data: {\"error\":{\"message\":\"x\"}}", OK, 1},
        {"data: {\"error\":\"x\"}\n\n", OK, 1},
        /* Two choices, one of which never ends. */
        {HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"},{\"index\":1,"
              "\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\n",
         ERR_UPSTREAM_BROKEN, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trial trial;
        trial_decode(&trial, &protocol_openai_chat, str_c(cases[i].stream), &cuts);
        if (trial.error.code != cases[i].code || trial.n != cases[i].frames)
            fail_msg("case %zu: %s, %zu frames", i, error_name(trial.error.code), trial.n);
        trial_fini(&trial);
    }
}

struct stopper {
    size_t frames;
};

static enum push stop_at_second(void *ctx, struct frame *frame)
{
    struct stopper *stopper = ctx;

    (void)frame;
    return ++stopper->frames == 2 ? PUSH_STOP : PUSH_FULL;
}

static enum push take_all(void *ctx, struct frame *frame)
{
    struct stopper *stopper = ctx;

    (void)frame;
    stopper->frames++;
    return PUSH_OK;
}

/* Catches: scratch that grows with the number of frames. */
static void test_scratch_stays_small(void **state)
{
    struct arena scratch;
    struct arena answer;
    struct stopper stopper = {0};
    struct openai_chat_decoder d = {.n = 0};
    const struct decoder_options options = {
        .stream = true,
        .event_bytes_max = 4096,
        .depth_max = 16,
        .scratch = &scratch,
        .arena = &answer,
        .sink = take_all,
        .sink_ctx = &stopper,
    };
    struct error e;

    (void)state;
    arena_init(&scratch, 65536, 1024, NULL);
    arena_init(&answer, 65536, 1024, NULL);
    openai_chat_decode_init(&d, &options);
    assert_int_equal(openai_chat_decode_bytes(&d, STR(ROLE TEXT("a\\n")), false, &e), OK);
    size_t held = arena_bytes(&scratch);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(openai_chat_decode_bytes(&d, STR(TEXT("c\\n")), false, &e), OK);
    assert_int_equal(stopper.frames, 1002);
    assert_true(held <= 8192 && arena_bytes(&scratch) == held);
    openai_chat_decode_fini(&d);
    arena_fini(&scratch);
    arena_fini(&answer);
}

/* Catches: frames pushed to who has said that it wants no more; an end reported as broken off. */
static void test_stop(void **state)
{
    struct arena scratch;
    struct arena answer;
    struct stopper stopper = {0};
    struct openai_chat_decoder d = {.n = 0};
    const struct decoder_options options = {
        .stream = true,
        .event_bytes_max = 4096,
        .depth_max = 16,
        .scratch = &scratch,
        .arena = &answer,
        .sink = stop_at_second,
        .sink_ctx = &stopper,
    };
    struct error e;

    (void)state;
    arena_init(&scratch, 65536, 1024, NULL);
    arena_init(&answer, 65536, 1024, NULL);
    openai_chat_decode_init(&d, &options);
    assert_int_equal(openai_chat_decode_bytes(&d, STR(ROLE TEXT("a") TEXT("b")), false, &e), OK);
    assert_int_equal(openai_chat_decode_bytes(&d, STR(TEXT("c")), false, &e), OK);
    assert_int_equal(openai_chat_decode_bytes(&d, STR(""), true, &e), OK);
    assert_int_equal(stopper.frames, 2);
    openai_chat_decode_fini(&d);
    arena_fini(&scratch);
    arena_fini(&answer);
}

static enum error_code decode_within(size_t scratch_max, size_t answer_max, size_t event_max,
                                     struct str bytes)
{
    struct arena scratch;
    struct arena answer;
    struct stopper stopper = {.frames = 2};
    struct openai_chat_decoder d = {.n = 0};
    const struct decoder_options options = {
        .stream = true,
        .event_bytes_max = event_max,
        .depth_max = 16,
        .scratch = &scratch,
        .arena = &answer,
        .sink = stop_at_second,
        .sink_ctx = &stopper,
    };
    struct error e;

    arena_init(&scratch, scratch_max, 1024, NULL);
    arena_init(&answer, answer_max, 1024, NULL);
    openai_chat_decode_init(&d, &options);
    enum error_code code = openai_chat_decode_bytes(&d, bytes, true, &e);
    openai_chat_decode_fini(&d);
    arena_fini(&scratch);
    arena_fini(&answer);
    return code;
}

/* Catches: a bound that does not hold, or that fails as something else. */
static void test_bounds(void **state)
{
    struct buf many;

    (void)state;
    assert_int_equal(decode_within(65536, 65536, 4096, STR(ROLE TEXT("a") FINISH)), OK);
    assert_int_equal(decode_within(65536, 65536, 128, STR(ROLE TEXT("a") FINISH)),
                     ERR_UPSTREAM_TOO_LARGE);
    assert_int_equal(decode_within(512, 65536, 4096, STR(ROLE TEXT("a") FINISH)),
                     ERR_UPSTREAM_TOO_LARGE);
    assert_int_equal(decode_within(65536, 256, 4096, STR(ROLE TEXT("a") FINISH)),
                     ERR_UPSTREAM_TOO_LARGE);
    /* More blocks than an answer can have. */
    buf_init(&many, OUT_MAX);
    for (int i = 0; i < 2100; i++)
        buf_add(&many, STR(TEXT("a") DELTA("{\"reasoning\":\"r\"}")));
    buf_add(&many, STR(FINISH));
    assert_int_equal(decode_within(65536, 1 << 20, 4096, buf_str(&many)), ERR_UPSTREAM_TOO_LARGE);
    buf_fini(&many);
}

/* Catches: one call more than an answer can have, counted as a block of text or not at all. */
static void test_calls_bound(void **state)
{
    struct buf many;
    struct buf last;

    (void)state;
    buf_init(&many, OUT_MAX);
    for (int i = 0; i < OPENAI_CHAT_BLOCKS_MAX; i++)
        buf_print(&many, CALLS_AT, i, i);
    buf_init(&last, OUT_MAX);
    buf_add(&last, buf_str(&many));
    buf_add(&many, STR(FINISH));
    assert_int_equal(decode_within(16 << 20, 16 << 20, 4096, buf_str(&many)), OK);
    buf_print(&last, CALLS_AT, OPENAI_CHAT_BLOCKS_MAX, OPENAI_CHAT_BLOCKS_MAX);
    buf_add(&last, STR(FINISH));
    assert_int_equal(decode_within(16 << 20, 16 << 20, 4096, buf_str(&last)),
                     ERR_UPSTREAM_TOO_LARGE);
    buf_fini(&last);

    /* The blocks are used up by text: the call has none. */
    buf_reset(&many);
    for (int i = 0; i < OPENAI_CHAT_BLOCKS_MAX / 2; i++)
        buf_add(&many, STR(TEXT("a") DELTA("{\"reasoning\":\"r\"}")));
    buf_init(&last, OUT_MAX);
    buf_add(&last, buf_str(&many));
    buf_add(&many, STR(FINISH));
    assert_int_equal(decode_within(16 << 20, 16 << 20, 4096, buf_str(&many)), OK);
    buf_print(&last, CALLS_AT, 0, 0);
    buf_add(&last, STR(FINISH));
    assert_int_equal(decode_within(16 << 20, 16 << 20, 4096, buf_str(&last)),
                     ERR_UPSTREAM_TOO_LARGE);
    buf_fini(&last);
    buf_fini(&many);
}

struct told {
    struct buf events;
};

static enum push tell(void *ctx, struct frame *frame)
{
    struct told *told = ctx;

    for (uint32_t i = 0; i < frame->n; i++)
        dump_event(&told->events, &frame->events[i]);
    return PUSH_OK;
}

static enum error_code decode_told(size_t scratch_max, size_t answer_max, bool stream,
                                   struct str bytes, struct told *told)
{
    struct arena scratch;
    struct arena answer;
    struct openai_chat_decoder d = {.n = 0};
    const struct decoder_options options = {
        .stream = stream,
        .event_bytes_max = 65536,
        .depth_max = 16,
        .scratch = &scratch,
        .arena = &answer,
        .sink = tell,
        .sink_ctx = told,
    };
    struct error e;

    arena_init(&scratch, scratch_max, 512, NULL);
    arena_init(&answer, answer_max, 512, NULL);
    openai_chat_decode_init(&d, &options);
    enum error_code code = openai_chat_decode_bytes(&d, bytes, true, &e);
    openai_chat_decode_fini(&d);
    arena_fini(&scratch);
    arena_fini(&answer);
    return code;
}

/* With that much memory it is told in full, or refused: what was told before is how it begins. */
static bool told_within(size_t scratch_max, size_t answer_max, bool stream, struct str bytes,
                        struct str whole)
{
    struct told told;

    buf_init(&told.events, OUT_MAX);
    enum error_code code = decode_told(scratch_max, answer_max, stream, bytes, &told);
    if (code == OK)
        assert_true(str_eq(buf_str(&told.events), whole));
    else
        assert_int_equal(code, ERR_UPSTREAM_TOO_LARGE);
    assert_true(str_starts(whole, buf_str(&told.events)));
    buf_fini(&told.events);
    return code == OK;
}

static void told_or_refused(bool stream, struct str bytes)
{
    struct told whole;
    size_t refused = 0;

    buf_init(&whole.events, OUT_MAX);
    assert_int_equal(decode_told(1 << 20, 1 << 20, stream, bytes, &whole), OK);
    for (size_t most = 64; most <= 32768; most += 64) {
        refused += !told_within(most, 1 << 20, stream, bytes, buf_str(&whole.events));
        refused += !told_within(1 << 20, most, stream, bytes, buf_str(&whole.events));
    }
    assert_true(refused > 8 && refused < 800);
    buf_fini(&whole.events);
}

static enum error_code decode_in(struct arena *scratch, bool stream, struct str bytes)
{
    struct arena answer;
    struct told told;
    struct openai_chat_decoder d = {.n = 0};
    struct error e;
    const struct decoder_options options = {
        .stream = stream,
        .event_bytes_max = 65536,
        .depth_max = 16,
        .scratch = scratch,
        .arena = &answer,
        .sink = tell,
        .sink_ctx = &told,
    };

    buf_init(&told.events, OUT_MAX);
    arena_init(&answer, 65536, 512, NULL);
    openai_chat_decode_init(&d, &options);
    enum error_code code = openai_chat_decode_bytes(&d, bytes, true, &e);
    openai_chat_decode_fini(&d);
    arena_fini(&answer);
    buf_fini(&told.events);
    return code;
}

/* Catches: one answer too large for the scratch, which is shared, and none is read after it. */
static void test_scratch_recovers(void **state)
{
    struct str small = STR("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},"
                           "\"finish_reason\":\"stop\"}]}\n\n");
    struct arena scratch;
    struct buf large;

    (void)state;
    buf_init(&large, OUT_MAX);
    buf_add(&large, STR("data: {\"choices\":["));
    for (int i = 0; i < 1000; i++)
        buf_add(&large, STR("{\"index\":0,\"delta\":{\"content\":\"\\u00e4\"}},"));
    buf_add(&large, STR("{}]}\n\n"));
    assert_true(buf_ok(&large));
    /* Blocks of its own for all, and none at all. */
    for (size_t most = 4096; most <= 16384; most *= 4) {
        arena_init(&scratch, most, 512, NULL);
        assert_int_equal(decode_in(&scratch, true, small), OK);
        assert_int_equal(decode_in(&scratch, true, buf_str(&large)), ERR_UPSTREAM_TOO_LARGE);
        assert_int_equal(decode_in(&scratch, true, small), OK);
        assert_int_equal(decode_in(&scratch, false, str_from(buf_str(&large), 6)),
                         ERR_UPSTREAM_TOO_LARGE);
        assert_int_equal(decode_in(&scratch, false, str_from(small, 6)), OK);
        assert_int_equal(decode_in(&scratch, true, small), OK);
        arena_fini(&scratch);
    }
    buf_fini(&large);
}

/* Catches: an answer cut short for want of memory that goes for a whole one. */
static void test_memory(void **state)
{
    struct buf many;

    (void)state;
    buf_init(&many, OUT_MAX);
    buf_add(&many, STR(ROLE TEXT("a\\n") TEXT("b\\n")));
    buf_print(&many, CALLS_AT, 0, 0);
    buf_print(&many, CALLS_AT, 1, 1);
    buf_add(&many, STR(DELTA("{\"audio\":{\"id\":\"x\"},\"images\":[{\"a\":\"b\"}],"
                             "\"reasoning_details\":[{\"text\":\"c\"}]}")));
    buf_add(&many, STR(HEAD "\"choices\":["));
    for (int i = 1; i < 20; i++)
        buf_print(&many,
                  "%s{\"index\":%d,\"delta\":{\"content\":\"\\u00e4\"},"
                  "\"finish_reason\":\"stop\"}",
                  i == 1 ? "" : ",", i);
    buf_add(&many, STR("]}\n\n" FINISH DONE));
    told_or_refused(true, buf_str(&many));

    buf_reset(&many);
    buf_add(&many, STR("{\"id\":\"c\",\"choices\":["));
    for (int i = 0; i < 20; i++)
        buf_print(&many,
                  "%s{\"index\":%d,\"message\":{\"content\":\"a\"},"
                  "\"finish_reason\":\"stop\"}",
                  i == 0 ? "" : ",", i);
    buf_add(&many, STR("]}"));
    told_or_refused(false, buf_str(&many));
    buf_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates_traps),
        cmocka_unit_test(test_templates_match),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_recordings),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_scratch_stays_small),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_calls_bound),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_scratch_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
