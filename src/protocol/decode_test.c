/* SPDX-License-Identifier: MIT */
/*
 * The framing that decoders share, with a protocol of its own that says what it was given. All is
 * told as text, a line for each frame: its bytes (~ is LF, ^ is CR), what it is, its events; then
 * how it ended. That text is the same however the bytes are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "protocol/decode.h"

enum { OUT_MAX = 4 * 1024 * 1024, EVENT_MAX = 4096, DEPTH_MAX = 8 };

enum form { EVENTS, ARRAY, WHOLE };

struct plain {
    struct decode base;
    bool learned;
    bool finished;
    bool stopped;
};

/* --- a protocol --------------------------------------------------------------------------- */

static struct plain *plain_of(struct decode *d)
{
    return CONTAINER_OF(d, struct plain, base);
}

static int64_t number(yyjson_val *root, const char *key)
{
    int64_t value = 0;

    (void)json_to_int64(json_get(root, str_c(key)), &value);
    return value;
}

static void plain_read(struct decode *d, yyjson_val *root, struct str event, struct frame *frame)
{
    struct plain *plain = plain_of(d);

    assert_true(yyjson_is_obj(root));
    frame->usage_only = json_get(root, STR("usage")) != NULL;
    if (!str_is_null(event))
        decode_text(d, EVENT_TEXT, 0, 0, event);
    decode_text(d, EVENT_TEXT, 1, 2, json_get_str(root, STR("text")));
    for (int64_t i = 0; i < number(root, "many"); i++)
        decode_text(d, EVENT_TEXT, 0, (uint32_t)i, STR("m"));
    if (number(root, "keep") > 0)
        (void)arena_alloc(d->options.arena, (size_t)number(root, "keep"));
    if (json_get(root, STR("error")) != NULL) {
        (void)decode_event(d, EVENT_ERROR, 0, EVENT_NO_BLOCK);
        d->over = true;
    }
    if (number(root, "stop") > 0) {
        (void)decode_event(d, EVENT_STOP, 0, EVENT_NO_BLOCK);
        plain->stopped = true;
    }
    plain->finished = plain->finished || number(root, "finish") > 0 || plain->stopped;
    d->too_many = d->too_many || number(root, "blocks") > 0;
}

#define QUICK "{\"text\":\"q"

/* What begins like what was learned: everything behind that is said. */
static bool plain_quick(struct decode *d, struct str data)
{
    if (!plain_of(d)->learned || !str_starts(data, STR(QUICK)))
        return false;
    decode_text(d, EVENT_REASONING, 0, 0, str_from(data, STR(QUICK).n));
    return true;
}

static void plain_learn(struct decode *d, struct str data)
{
    plain_of(d)->learned = str_starts(data, STR(QUICK));
}

static bool plain_read_other(struct decode *d, struct str data, struct frame *frame)
{
    (void)d;
    assert_false(frame->terminator);
    return str_eq(data, STR("[DONE]"));
}

static void plain_read_list(struct decode *d, yyjson_val *list, struct frame *frame)
{
    size_t at;
    size_t count;
    yyjson_val *v;

    yyjson_arr_foreach(list, at, count, v)
    {
        if (yyjson_is_obj(v))
            plain_read(d, v, STR_NULL, frame);
    }
}

static const char *plain_check_whole(struct decode *d, yyjson_val *root)
{
    (void)root;
    return plain_of(d)->finished ? NULL : "a whole one";
}

static bool plain_complete(const struct decode *d)
{
    return ((const struct plain *)(const void *)d)->finished; /* base is its first member */
}

static void plain_finish(struct decode *d)
{
    if (!plain_of(d)->stopped)
        (void)decode_event(d, EVENT_STOP, 0, EVENT_NO_BLOCK);
}

static const struct decode_ops all_ops = {
    .read = plain_read,
    .quick = plain_quick,
    .learn = plain_learn,
    .read_list = plain_read_list,
    .read_other = plain_read_other,
    .check_whole = plain_check_whole,
    .complete = plain_complete,
    .finish = plain_finish,
};

static const struct decode_ops few_ops = {.read = plain_read, .complete = plain_complete};

/* --- what is told ------------------------------------------------------------------------- */

struct told {
    struct buf text;
    struct buf raw; /* of all frames */
    size_t frames;
    size_t stop_at; /* PUSH_STOP to the frame of this number, from 1 */
    uint32_t not_json;
    enum error_code code;
};

static void add_event(struct buf *out, const struct event *event)
{
    if (event->kind == EVENT_TEXT)
        buf_print(out, " %u.%u=%.*s", event->choice, event->block, STR_ARG(event->text));
    else if (event->kind == EVENT_REASONING)
        buf_print(out, " quick=%.*s", STR_ARG(event->text));
    else
        buf_print(out, " %s", event_kind_name(event->kind));
}

static enum push take(void *ctx, struct frame *frame)
{
    struct told *told = ctx;

    assert_false(str_is_null(frame->raw));
    assert_false(frame->changed);
    assert_true(told->stop_at == 0 || told->frames < told->stop_at);
    told->frames++;
    for (size_t i = 0; i < frame->raw.n; i++) {
        char c = frame->raw.p[i];
        buf_add_char(&told->text, (char)(c == '\n' ? '~' : c == '\r' ? '^' : c));
    }
    buf_add(&told->raw, frame->raw);
    buf_add(&told->text, STR(" |"));
    if (frame->terminator)
        buf_add(&told->text, STR(" END"));
    if (frame->whole)
        buf_add(&told->text, STR(" WHOLE"));
    if (frame->usage_only)
        buf_add(&told->text, STR(" USAGE"));
    if (frame->hole)
        buf_add(&told->text, STR(" HOLE"));
    for (uint32_t i = 0; i < frame->n; i++)
        add_event(&told->text, &frame->events[i]);
    buf_add(&told->text, STR("\n"));
    return told->frames == told->stop_at ? PUSH_STOP : PUSH_OK;
}

struct setting {
    const struct decode_ops *ops; /* NULL: all_ops */
    enum form form;
    size_t event_max; /* 0: EVENT_MAX */
    size_t arena_max; /* 0: OUT_MAX */
    size_t stop_at;
};

struct cuts {
    size_t first; /* bytes of the first piece */
    size_t step;  /* of all others */
    bool end_apart;
};

static void told_init(struct told *told, size_t stop_at)
{
    *told = (struct told){.stop_at = stop_at};
    buf_init(&told->text, OUT_MAX);
    buf_init(&told->raw, OUT_MAX);
}

static void told_fini(struct told *told)
{
    buf_fini(&told->text);
    buf_fini(&told->raw);
}

/* Gives the bytes; each piece in memory of its own, so that nothing reads on. */
static enum error_code feed(struct decode *d, struct str bytes, const struct cuts *cuts,
                            struct error *e)
{
    size_t n = cuts->first;
    bool end = false;

    while (!end) {
        n = n < bytes.n ? n : bytes.n;
        end = n == bytes.n && (!cuts->end_apart || n == 0);
        char *piece = mem_new(n + 1);
        if (n > 0)
            memcpy(piece, bytes.p, n);
        enum error_code code = decode_bytes(d, str_of(piece, n), end, e);
        mem_free(piece);
        if (code != OK)
            return code;
        bytes = str_from(bytes, n);
        n = cuts->step;
    }
    return OK;
}

static void tell(struct str bytes, const struct setting *setting, const struct cuts *cuts,
                 struct told *told)
{
    struct plain plain = {.finished = false};
    struct error e = {.code = OK};
    struct arena scratch;
    struct arena arena;
    size_t arena_max = setting->arena_max == 0 ? OUT_MAX : setting->arena_max;
    const struct decoder_options options = {
        .stream = setting->form != WHOLE,
        .array = setting->form == ARRAY,
        .event_bytes_max = setting->event_max == 0 ? EVENT_MAX : setting->event_max,
        .depth_max = DEPTH_MAX,
        .scratch = &scratch,
        .arena = &arena,
        .sink = take,
        .sink_ctx = told,
    };

    arena_init(&scratch, arena_max, 512, NULL);
    arena_init(&arena, arena_max, 512, NULL);
    decode_init(&plain.base, setting->ops == NULL ? &all_ops : setting->ops, &options);
    told->code = feed(&plain.base, bytes, cuts, &e);
    if (told->code == OK)
        buf_add(&told->text, STR("OK"));
    else
        buf_print(&told->text, "%s: %s", error_name(told->code), e.detail);
    told->not_json = plain.base.not_json;
    decode_fini(&plain.base);
    arena_fini(&arena);
    arena_fini(&scratch);
}

static void expect_cut(struct str bytes, const struct setting *setting, const struct cuts *cuts,
                       const char *want)
{
    struct told told;

    told_init(&told, setting->stop_at);
    tell(bytes, setting, cuts, &told);
    if (!str_eq(buf_str(&told.text), str_c(want)))
        fail_msg("%.*s\ncut at %zu, then every %zu\n--- got\n%.*s\n--- want\n%s", STR_ARG(bytes),
                 cuts->first, cuts->step, STR_ARG(buf_str(&told.text)), want);
    if (told.code == OK && setting->stop_at == 0)
        assert_true(str_eq(buf_str(&told.raw), bytes));
    told_fini(&told);
}

/* Whole bodies come whole; all else is cut everywhere. */
static void expect_with(const char *text, const struct setting *setting, const char *want)
{
    struct str bytes = str_c(text);

    if (setting->form == WHOLE) {
        expect_cut(bytes, setting, &(struct cuts){bytes.n, 1, false}, want);
        return;
    }
    for (size_t cut = 0; cut <= bytes.n; cut++)
        expect_cut(bytes, setting, &(struct cuts){cut, bytes.n, (cut & 1) != 0}, want);
    for (size_t step = 1; step <= 7; step++)
        expect_cut(bytes, setting, &(struct cuts){step, step, (step & 1) != 0}, want);
}

static void expect(const char *text, enum form form, const char *want)
{
    const struct setting setting = {.form = form};

    expect_with(text, &setting, want);
}

/* --- events ------------------------------------------------------------------------------- */

#define BROKEN "UPSTREAM_BROKEN: "
#define CUT    BROKEN "the stream ended without a finish reason"
#define LARGE  "UPSTREAM_TOO_LARGE: "
#define LONG   LARGE "an event is longer than "

static void test_events(void **state)
{
    (void)state;
    expect("data: {\"text\":\"a\"}\n\ndata: {\"stop\":1}\n\n", EVENTS,
           "data: {\"text\":\"a\"}~~ | 1.2=a\ndata: {\"stop\":1}~~ | STOP\nOK");
    expect("event: x\r\ndata: {\"finish\":1,\r\ndata: \"usage\":0}\r\n\r\n", EVENTS,
           "event: x^~data: {\"finish\":1,^~data: \"usage\":0}^~^~ | USAGE 0.0=x\n | STOP\nOK");
    expect(": hi\n\n\ndata: {\"stop\":1}\n\n", EVENTS,
           ": hi~~ | KEEPALIVE\n~ | KEEPALIVE\ndata: {\"stop\":1}~~ | STOP\nOK");
    /* Neither empty texts nor what is no text are events; bytes that are no text are mended. */
    expect("data: {\"text\":\"\"}\n\ndata: {\"text\":\"\xff\"}\n\ndata: {\"stop\":1}\n\n", EVENTS,
           "data: {\"text\":\"\"}~~ |\ndata: {\"text\":\"\xff\"}~~ | 1.2=\xef\xbf\xbd\n"
           "data: {\"stop\":1}~~ | STOP\nOK");
    /* More events than a frame begins with, in order. */
    expect("data: {\"many\":9,\"stop\":1}\n\n", EVENTS,
           "data: {\"many\":9,\"stop\":1}~~ | 0.0=m 0.1=m 0.2=m 0.3=m 0.4=m 0.5=m 0.6=m 0.7=m "
           "0.8=m STOP\nOK");
}

static void test_the_end_of_events(void **state)
{
    const struct setting few = {.ops = &few_ops, .form = EVENTS};

    (void)state;
    expect("", EVENTS, CUT);
    expect("data: {\"text\":\"a\"}\n\n", EVENTS, "data: {\"text\":\"a\"}~~ | 1.2=a\n" CUT);
    /* Without its empty line it counts only if the answer is complete with it. */
    expect("data: {\"stop\":1}", EVENTS, "data: {\"stop\":1} | STOP\nOK");
    expect("data: {\"stop\":1}\n", EVENTS, "data: {\"stop\":1}~ | STOP\nOK");
    expect("data: {\"text\":\"a\"}\n", EVENTS, CUT);
    expect("data: {\"stop\":1}\n\ndata: {\"te", EVENTS,
           "data: {\"stop\":1}~~ | STOP\ndata: {\"te |\nOK");
    /* The terminator is a finish too; what it lacks is said behind it. */
    expect("data: [DONE]\n\n", EVENTS, "data: [DONE]~~ | END\n | STOP\nOK");
    expect("data: {\"finish\":1}\n\n", EVENTS, "data: {\"finish\":1}~~ |\n | STOP\nOK");
    /* What follows the end goes on as it is, and says nothing. */
    expect("data: [DONE]\n\ndata: {\"text\":\"a\"}\n\n: c\n\n{\"error\":1}\n\n", EVENTS,
           "data: [DONE]~~ | END\ndata: {\"text\":\"a\"}~~ |\n: c~~ |\n{\"error\":1}~~ |\n"
           " | STOP\nOK");
    /* A protocol without a terminator and without anything to add. */
    expect_with("data: [DONE]\n\n", &few, "data: [DONE]~~ |\n" CUT);
    expect_with("data: {\"finish\":1}\n\n", &few, "data: {\"finish\":1}~~ |\nOK");
}

static void test_errors(void **state)
{
    (void)state;
    expect("data: {\"error\":1}\n\n", EVENTS, "data: {\"error\":1}~~ | ERROR\nOK");
    expect("data: [{\"error\":1}]\n\n", EVENTS, "data: [{\"error\":1}]~~ | ERROR\nOK");
    /* It ends the answer. */
    expect("data: {\"error\":1}\n\ndata: {\"text\":\"a\"}\n\ndata: [DONE]\n\n", EVENTS,
           "data: {\"error\":1}~~ | ERROR\ndata: {\"text\":\"a\"}~~ |\ndata: [DONE]~~ |\nOK");
    /* Not framed as events are. */
    expect("{\"error\":1}\n\n", EVENTS, "{\"error\":1}~~ | ERROR\nOK");
    expect("{\"error\":1}", EVENTS, "{\"error\":1} | ERROR\nOK");
    expect("data: {\"text\":\"a\"}\n\n[{\n \"error\":1}]\n", EVENTS,
           "data: {\"text\":\"a\"}~~ | 1.2=a\n[{~ \"error\":1}]~ | ERROR\nOK");
    /* An object that is none is not one. */
    expect("{\"text\":\"a\"}\n\n", EVENTS, "{\"text\":\"a\"}~~ |\n" CUT);
    expect("{\"error\"\n\n", EVENTS, "{\"error\"~~ | HOLE\n" CUT);
}

static uint32_t not_json_of(const char *bytes, enum form form)
{
    const struct setting setting = {.form = form};
    struct told told;

    told_init(&told, 0);
    tell(str_c(bytes), &setting, &(struct cuts){1, 1, true}, &told);
    told_fini(&told);
    return told.not_json;
}

/* Catches: what cannot be read taken for something, or ending the answer. */
static void test_data_that_is_no_object(void **state)
{
    (void)state;
    expect(
        "data: no\n\ndata: 3\n\ndata: []\n\ndata:\n\ndata: {\"stop\":1}\n\n", EVENTS,
        "data: no~~ | HOLE\ndata: 3~~ |\ndata: []~~ |\ndata:~~ |\ndata: {\"stop\":1}~~ | STOP\nOK");
    /* A hole is what was lost while more was to come: a list, a half, but not what says nothing. */
    expect("data: [1]\n\ndata: \"ping\"\n\n{\"a\":1\n\n", EVENTS,
           "data: [1]~~ | HOLE\ndata: \"ping\"~~ |\n{\"a\":1~~ | HOLE\n" CUT);
    expect("data: {\"finish\":1}\n\ndata: {\"te\n\n{\"te\n\n", EVENTS,
           "data: {\"finish\":1}~~ |\ndata: {\"te~~ |\n{\"te~~ |\n | STOP\nOK");
    assert_int_equal(not_json_of("data: no\n\ndata: {\"text\":\n\ndata: {}\n\n", EVENTS), 2);
    assert_int_equal(not_json_of("{\"text\":\"a\"}\n\n: c\n\n", EVENTS), 1);
    assert_int_equal(not_json_of("data: {\"a\":[[[[[[[[[1]]]]]]]]]}\n\n", EVENTS), 1);
    assert_int_equal(not_json_of("[{\"finish\":1},{\"a\"}]", ARRAY), 1);
}

/* Catches: the quick way asked before anything was learned, or its data read twice. */
static void test_quick(void **state)
{
    const struct setting few = {.ops = &few_ops, .form = EVENTS};
    static const char bytes[] = "data: {\"text\":\"q1\"}\n\ndata: {\"text\":\"q2\"}\n\n"
                                "data: {\"stop\":1}\n\n";

    (void)state;
    expect(bytes, EVENTS,
           "data: {\"text\":\"q1\"}~~ | 1.2=q1\ndata: {\"text\":\"q2\"}~~ | quick=2\"}\n"
           "data: {\"stop\":1}~~ | STOP\nOK");
    expect_with(bytes, &few,
                "data: {\"text\":\"q1\"}~~ | 1.2=q1\ndata: {\"text\":\"q2\"}~~ | 1.2=q2\n"
                "data: {\"stop\":1}~~ | STOP\nOK");
    /* Other data is learned from in its place; after the end nothing is quick either. */
    expect("data: {\"text\":\"q1\"}\n\ndata: {\"finish\":1}\n\ndata: {\"text\":\"q2\"}\n\n"
           "data: [DONE]\n\ndata: {\"text\":\"q3\"}\n\n",
           EVENTS,
           "data: {\"text\":\"q1\"}~~ | 1.2=q1\ndata: {\"finish\":1}~~ |\n"
           "data: {\"text\":\"q2\"}~~ | 1.2=q2\ndata: [DONE]~~ | END\n"
           "data: {\"text\":\"q3\"}~~ |\n | STOP\nOK");
}

/* --- arrays ------------------------------------------------------------------------------- */

static void test_arrays(void **state)
{
    (void)state;
    expect("[{\"text\":\"a\"},\r\n{\"stop\":1}]", ARRAY,
           "[{\"text\":\"a\"} | 1.2=a\n,^~{\"stop\":1} | STOP\n] | END\nOK");
    expect(" [ {\"text\":\"a\"} , {\"stop\":1} ] \n", ARRAY,
           " [ {\"text\":\"a\"} | 1.2=a\n , {\"stop\":1} | STOP\n ] | END\n ~ |\nOK");
    /* Brackets and quotes of strings, and of what lies within. */
    expect("[{\"text\":\"]}\\\"[{\\\\\",\"x\":[{\"y\":[]}]},{\"stop\":1}]", ARRAY,
           "[{\"text\":\"]}\\\"[{\\\\\",\"x\":[{\"y\":[]}]} | 1.2=]}\"[{\\\n"
           ",{\"stop\":1} | STOP\n] | END\nOK");
    /* An element in place of a list, and a list in a list. */
    expect("{\"stop\":1}", ARRAY, "{\"stop\":1} | STOP\nOK");
    expect("{\"error\":1}\n", ARRAY, "{\"error\":1} | ERROR\n~ |\nOK");
    expect("[[{\"error\":1}]]", ARRAY, "[[{\"error\":1}] | ERROR\n] | END\nOK");
    /* Elements that are no objects say nothing. */
    expect("[1,{\"stop\":1},2]", ARRAY, "[1,{\"stop\":1} | HOLE\n,2] | HOLE\n" CUT);
}

static void test_the_end_of_arrays(void **state)
{
    (void)state;
    expect("", ARRAY, CUT);
    expect("[]", ARRAY, "[] | END\n" CUT);
    expect("[{\"text\":\"a\"}]", ARRAY, "[{\"text\":\"a\"} | 1.2=a\n] | END\n" CUT);
    expect("[{\"finish\":1}]", ARRAY, "[{\"finish\":1} |\n] | END\n | STOP\nOK");
    /* The array's own end may be missing, an element's may not. */
    expect("[{\"stop\":1}", ARRAY, "[{\"stop\":1} | STOP\nOK");
    expect("[{\"text\":\"a\"", ARRAY, CUT);
    expect("[{\"stop\":1},{\"text\":\"a\"", ARRAY, "[{\"stop\":1} | STOP\n,{\"text\":\"a\" |\nOK");
    /* What follows goes on as it is. */
    expect("[{\"finish\":1}]{\"text\":\"a\"}]x", ARRAY,
           "[{\"finish\":1} |\n] | END\n{\"text\":\"a\"} |\n] | END\nx |\n | STOP\nOK");
}

/* --- whole bodies ------------------------------------------------------------------------- */

static void test_whole(void **state)
{
    const struct setting few = {.ops = &few_ops, .form = WHOLE};

    (void)state;
    expect("{\"text\":\"a\",\"finish\":1}", WHOLE,
           "{\"text\":\"a\",\"finish\":1} | WHOLE 1.2=a STOP\nOK");
    expect("{\"stop\":1}", WHOLE, "{\"stop\":1} | WHOLE STOP\nOK");
    expect("{\"text\":\"a\"}", WHOLE, BROKEN "the answer is not a whole one");
    expect("3", WHOLE, BROKEN "the answer is not a whole one");
    /* An error is not asked whether it is an answer, and is not finished. */
    expect("{\"error\":1}", WHOLE, "{\"error\":1} | WHOLE ERROR\nOK");
    expect("[{\"text\":\"a\"},{\"stop\":1}]", WHOLE,
           "[{\"text\":\"a\"},{\"stop\":1}] | WHOLE 1.2=a STOP\nOK");
    expect_with("[{\"text\":\"a\"},{\"stop\":1}]", &few,
                "[{\"text\":\"a\"},{\"stop\":1}] | WHOLE 1.2=a\nOK");
    expect_with("3", &few, "3 | WHOLE\nOK");
    expect_with("[3]", &few, "[3] | WHOLE\nOK");
}

static void test_whole_that_is_no_json(void **state)
{
    static const char *const cases[] = {"", "<html>", "{\"text\":\"a\"", "{}{}",
                                        "{\"a\":[[[[[[[[[1]]]]]]]]]}"};
    const struct setting setting = {.form = WHOLE};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str bytes = str_c(cases[i]);
        struct told told;
        told_init(&told, 0);
        tell(bytes, &setting, &(struct cuts){bytes.n, 1, false}, &told);
        assert_int_equal(told.code, ERR_UPSTREAM_BROKEN);
        assert_int_equal(told.frames, 0);
        if (str_find(buf_str(&told.text), STR(BROKEN "the answer is "), 0) != 0)
            fail_msg("%s: %.*s", cases[i], STR_ARG(buf_str(&told.text)));
        told_fini(&told);
    }
}

/* --- bounds ------------------------------------------------------------------------------- */

/* Catches: a bound that depends on the cut, or that is off by one. */
static void test_event_bytes_max(void **state)
{
    static const char events[] = "data: {\"stop\":1}\n\ndata: {\"x\":\"0123456789\"}\n\n";
    static const char array[] = "[{\"stop\":1},{\"x\":\"0123456789\"}]";

    (void)state;
    expect_with(events, &(struct setting){.form = EVENTS, .event_max = 27},
                "data: {\"stop\":1}~~ | STOP\ndata: {\"x\":\"0123456789\"}~~ |\nOK");
    expect_with(events, &(struct setting){.form = EVENTS, .event_max = 23},
                "data: {\"stop\":1}~~ | STOP\n" LONG "23 bytes (sse_event_bytes_max)");
    expect_with(array, &(struct setting){.form = ARRAY, .event_max = 19},
                "[{\"stop\":1} | STOP\n,{\"x\":\"0123456789\"} |\n] | END\nOK");
    expect_with(array, &(struct setting){.form = ARRAY, .event_max = 18},
                "[{\"stop\":1} | STOP\n" LONG "18 bytes (sse_event_bytes_max)");
    /* One that has no end. */
    expect_with("[{\"x\":\"0123456789", &(struct setting){.form = ARRAY, .event_max = 10},
                LONG "10 bytes (sse_event_bytes_max)");
    expect_with("data: {\"x\":\"0123456789", &(struct setting){.form = EVENTS, .event_max = 10},
                LONG "10 bytes (sse_event_bytes_max)");
}

static void test_memory(void **state)
{
    static const struct {
        const char *bytes;
        enum form form;
        const char *want;
    } cases[] = {
        {"data: {\"many\":1000}\n\n", EVENTS, LARGE "an event does not fit into memory"},
        {"data: {\"keep\":40000}\n\n", EVENTS, LARGE "an event does not fit into memory"},
        {"data: {\"blocks\":1}\n\n", EVENTS, LARGE "the answer has too many blocks"},
        {"[{\"many\":1000}]", ARRAY, LARGE "an event does not fit into memory"},
        {"[{\"blocks\":1}]", ARRAY, LARGE "the answer has too many blocks"},
        {"{\"many\":1000,\"finish\":1}", WHOLE, LARGE "an event does not fit into memory"},
        {"{\"blocks\":1,\"finish\":1}", WHOLE, LARGE "the answer has too many blocks"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_with(cases[i].bytes,
                    &(struct setting){.form = cases[i].form, .arena_max = 16 * 1024},
                    cases[i].want);
}

/* A body that is larger than the scratch when it is read. */
static void test_whole_larger_than_memory(void **state)
{
    struct buf body;

    (void)state;
    buf_init(&body, OUT_MAX);
    buf_add(&body, STR("{\"x\":["));
    for (size_t i = 0; i < 4000; i++)
        buf_add(&body, STR("0,"));
    buf_add(&body, STR("0]}"));
    expect_cut(buf_str(&body), &(struct setting){.form = WHOLE, .arena_max = 4096},
               &(struct cuts){body.n, 1, false}, LARGE "the answer does not fit into memory");
    buf_fini(&body);
}

/* Catches: a decoder that finds the scratch as another left it, full. */
static void test_scratch_is_shared(void **state)
{
    static const char *const bytes[] = {"data: {\"many\":1000}\n\n", "data: {\"stop\":1}\n\n"};
    struct arena scratch;
    struct arena arena;

    (void)state;
    arena_init(&scratch, 16 * 1024, 512, NULL);
    arena_init(&arena, OUT_MAX, 512, NULL);
    for (size_t i = 0; i < 6; i++) {
        struct plain plain = {.finished = false};
        struct error e = {.code = OK};
        struct told told;
        told_init(&told, 0);
        decode_init(&plain.base, &all_ops,
                    &(struct decoder_options){.stream = true,
                                              .event_bytes_max = EVENT_MAX,
                                              .scratch = &scratch,
                                              .arena = &arena,
                                              .sink = take,
                                              .sink_ctx = &told});
        assert_int_equal(decode_bytes(&plain.base, str_c(bytes[i % 2]), true, &e),
                         i % 2 == 0 ? ERR_UPSTREAM_TOO_LARGE : OK);
        assert_int_equal(told.frames, i % 2);
        decode_fini(&plain.base);
        told_fini(&told);
    }
    arena_fini(&arena);
    arena_fini(&scratch);
}

/* Catches: frames behind the one that the sink would not go beyond. */
static void test_stop(void **state)
{
    (void)state;
    expect_with("data: {\"text\":\"a\"}\n\ndata: {\"text\":\"b\"}\n\ndata: [DONE]\n\n",
                &(struct setting){.form = EVENTS, .stop_at = 1},
                "data: {\"text\":\"a\"}~~ | 1.2=a\nOK");
    expect_with("data: {\"finish\":1}", &(struct setting){.form = EVENTS, .stop_at = 1},
                "data: {\"finish\":1} |\nOK");
    expect_with("[{\"text\":\"a\"},{\"text\":\"b\"},{\"text\":\"c\"}]",
                &(struct setting){.form = ARRAY, .stop_at = 2},
                "[{\"text\":\"a\"} | 1.2=a\n,{\"text\":\"b\"} | 1.2=b\nOK");
    expect_with("[{\"finish\":1}]\n", &(struct setting){.form = ARRAY, .stop_at = 3},
                "[{\"finish\":1} |\n] | END\n~ |\nOK");
    expect_with("{\"stop\":1}", &(struct setting){.form = WHOLE, .stop_at = 1},
                "{\"stop\":1} | WHOLE STOP\nOK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_the_end_of_events),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_data_that_is_no_object),
        cmocka_unit_test(test_quick),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_the_end_of_arrays),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_whole_that_is_no_json),
        cmocka_unit_test(test_event_bytes_max),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_whole_larger_than_memory),
        cmocka_unit_test(test_scratch_is_shared),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
