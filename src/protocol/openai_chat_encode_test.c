/* SPDX-License-Identifier: MIT */
/*
 * What the client gets: raw to the byte, and after a take-over at any frame a stream that is well
 * formed and says what the changed events say. Over streams of our own, and over all recordings
 * where they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_lint.h"
#include "protocol/openai_chat_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_openai_chat;

enum { OUT_MAX = 256 * 1024 * 1024, ALL_FRAMES = 300, STRIDES = 40 };

#define CHUNK(choices)                                                                         \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\"," \
    "\"choices\":[" choices "]}\n\n"
#define DELTA(delta) CHUNK("{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}")
#define FINISH(word) CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"" word "\"}")
#define USAGE                                                                                    \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\","   \
    "\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}" \
    "\n\n"
#define DONE "data: [DONE]\n\n"

#define CALL(index, id, name)                                                              \
    DELTA("{\"tool_calls\":[{\"index\":" index ",\"id\":\"" id "\",\"type\":\"function\"," \
          "\"function\":{\"name\":\"" name "\",\"arguments\":\"\"}}]}")
#define ARGS(index, text) \
    DELTA("{\"tool_calls\":[{\"index\":" index ",\"function\":{\"arguments\":\"" text "\"}}]}")

/* Streams whose raw bytes are well formed: a take-over must keep them so. */
static const char *const streams[] = {
    DELTA("{\"role\":\"assistant\",\"content\":\"\"}") DELTA("{\"content\":\"one \"}")
        DELTA("{\"content\":\"two\\n\"}") DELTA("{\"content\":\"three\"}") FINISH("stop") DONE,
    /* Reasoning in a vendor's member, then text, then refusal. */
    DELTA("{\"role\":\"assistant\",\"reasoning\":\"let me\"}") DELTA("{\"reasoning\":\" see\"}")
        DELTA("{\"content\":\"a\"}") DELTA("{\"refusal\":\"no\"}") FINISH("stop") USAGE DONE,
    /* Parallel calls that interleave. */
    DELTA("{\"role\":\"assistant\",\"content\":null}") CALL("0", "call_a", "f")
        CALL("1", "call_b", "g") ARGS("0", "{\\\"x\\\":") ARGS("1", "{}") ARGS("0", "1}")
            FINISH("tool_calls") USAGE DONE,
    /* Text, a call, text again. */
    DELTA("{\"role\":\"assistant\",\"content\":\"before\"}") CALL("0", "call_a", "f")
        ARGS("0", "{}") DELTA("{\"content\":\"after\"}") FINISH("tool_calls") DONE,
    /* A custom tool. */
    DELTA("{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"call_c\",\"type\":"
          "\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"\"}}]}")
        DELTA("{\"tool_calls\":[{\"index\":0,\"custom\":{\"input\":\"select 1\"}}]}")
            FINISH("tool_calls") DONE,
    /* Two choices. */
    CHUNK("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":"
          "null}") CHUNK("{\"index\":1,\"delta\":{\"role\":\"assistant\",\"content\":\"b\"},"
                         "\"finish_reason\":null}")
        CHUNK("{\"index\":0,\"delta\":{\"content\":\"aa\"},\"finish_reason\":null}")
            CHUNK("{\"index\":1,\"delta\":{\"content\":\"bb\"},\"finish_reason\":null}")
                CHUNK("{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}")
                    CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}") DONE,
    /* Comments, log probabilities, annotations, details that are carried along. */
    ": hello\n\n" DELTA("{\"role\":\"assistant\",\"content\":\"x\"}")
        CHUNK("{\"index\":0,\"delta\":{\"content\":\"y\"},\"logprobs\":{\"content\":[{\"token\":"
              "\"y\",\"logprob\":-0.5}]},\"finish_reason\":null}")
            DELTA("{\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":"
                  "\"u\"}}]}") DELTA("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\","
                                     "\"data\":\"abc\"}]}") FINISH("stop") DONE,
    /* The old way to call a function. */
    DELTA("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}")
        DELTA("{\"function_call\":{\"arguments\":\"{}\"}}") FINISH("function_call") DONE,
    /* Nothing said at all. */
    DELTA("{\"role\":\"assistant\",\"content\":\"\"}") FINISH("length") DONE,
};

static void fail_differs(const char *what, struct str got, struct str want)
{
    fail_msg("%s\n--- got\n%.*s\n--- want\n%.*s", what, STR_ARG(got), STR_ARG(want));
}

static void expect_equal(const char *what, const struct buf *got, const struct buf *want)
{
    if (!str_eq(buf_str(got), buf_str(want)))
        fail_differs(what, buf_str(got), buf_str(want));
}

static void expect_str(const struct buf *got, const char *want)
{
    if (!str_eq(buf_str(got), str_c(want)))
        fail_differs("encoded", buf_str(got), str_c(want));
}

/* --- raw ---------------------------------------------------------------------------------- */

static void raw_is_equal(struct str body, const struct trial_cuts *cuts)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    struct trial trial;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, body, cuts);
    assert_int_equal(trial_encode(&trial, &protocol_openai_chat, &options, &out, &e), OK);
    if (!str_eq(buf_str(&out), body))
        fail_differs("raw bytes", buf_str(&out), body);
    buf_fini(&out);
    trial_fini(&trial);
}

static void test_raw(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        for (size_t step = 0; step < 40; step++) {
            const struct trial_cuts cuts = {.stream = true, .step = step};
            raw_is_equal(str_c(streams[i]), &cuts);
        }
    }
}

static void raw_recording(void *ctx, const struct recording *recording)
{
    size_t *count = ctx;

    if (!recording->stream || recording->status != 200)
        return;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const struct trial_cuts cuts = {.stream = true,
                                        .step = 700,
                                        .seed = seed * 1000 + recording->line};
        raw_is_equal(recording->body, &cuts);
    }
    (*count)++;
}

/* Catches: a byte lost, doubled or changed on the way of an answer that nobody changed. */
static void test_raw_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("openai_chat", raw_recording, &count))
        skip();
    assert_true(count > 100);
}

/* --- take-over ---------------------------------------------------------------------------- */

/* The change of a stage: texts in upper case. */
static void shout(struct trial *trial, struct frame *frame)
{
    frame->changed = true;
    for (uint32_t j = 0; j < frame->n; j++) {
        struct event *event = &frame->events[j];
        /* JSON of members that are carried along stays as it is. */
        if (event->kind != EVENT_TEXT || event->text.p[0] == '[' || event->text.p[0] == '{')
            continue;
        char *text = arena_alloc(&trial->arena, event->text.n);
        for (size_t at = 0; at < event->text.n; at++) {
            char c = event->text.p[at];
            text[at] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
        }
        event->text.p = text;
    }
}

static bool has_usage_chunk(const struct trial *trial)
{
    for (size_t i = 0; i < trial->n; i++) {
        if (trial->frames[i].usage_only)
            return true;
    }
    return false;
}

struct take_over {
    size_t line;
    uint32_t raw_broken; /* rules that the upstream itself breaks */
};

static void check_lint(const struct take_over *test, size_t k, struct str out, bool usage)
{
    /* From the first frame on it is all ours. */
    uint32_t excused = k == 0 ? 0 : test->raw_broken;
    uint32_t broken = openai_chat_lint(out, usage) & ~excused;
    struct buf names;

    if (broken == 0)
        return;
    buf_init(&names, 4096);
    openai_chat_lint_print(broken, &names);
    fail_msg("line %zu, frame %zu: %.*s\n%.*s", test->line, k, STR_ARG(buf_str(&names)),
             STR_ARG(out));
}

static void check_prefix(const struct trial *trial, size_t k, struct str out)
{
    for (size_t i = 0; i < k; i++) {
        assert_true(str_starts(out, trial->frames[i].raw));
        out = str_from(out, trial->frames[i].raw.n);
    }
}

/* The frames from k on are changed already. */
static void take_over_at(const struct take_over *test, const struct trial *trial, size_t k)
{
    const struct trial_cuts cuts = {.stream = true};
    struct encoder_options options = {.stream = true, .same_protocol = true};
    struct trial again;
    struct buf out;
    struct buf want;
    struct buf got;
    struct error e;

    buf_init(&out, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    options.include_usage = has_usage_chunk(trial);
    assert_int_equal(trial_encode(trial, &protocol_openai_chat, &options, &out, &e), OK);
    check_prefix(trial, k, buf_str(&out));
    check_lint(test, k, buf_str(&out), options.include_usage);

    trial_decode(&again, &protocol_openai_chat, buf_str(&out), &cuts);
    if (!trial_check(&again, &e))
        fail_msg("line %zu, frame %zu: %s", test->line, k, e.detail);
    assert_int_equal(again.error.code, trial->error.code);
    trial_digest(trial, options.include_usage, &want);
    trial_digest(&again, options.include_usage, &got);
    if (!str_eq(buf_str(&got), buf_str(&want)))
        print_error("line %zu, frame %zu\n", test->line, k);
    expect_equal("what is said", &got, &want);
    trial_fini(&again);
    buf_fini(&got);
    buf_fini(&want);
    buf_fini(&out);
}

/* From the last frame to the first: each time one more of them is changed. Each time costs the
 * whole stream, so of very long ones only some are tried, the ends always. */
static size_t take_over(struct str body, size_t line)
{
    const struct trial_cuts cuts = {.stream = true};
    struct take_over test = {.line = line};
    struct trial trial;
    size_t count = 0;

    trial_decode(&trial, &protocol_openai_chat, body, &cuts);
    test.raw_broken = openai_chat_lint(body, has_usage_chunk(&trial));
    size_t stride = trial.n <= ALL_FRAMES ? 1 : trial.n / STRIDES;
    for (size_t k = trial.n; k-- > 0;) {
        shout(&trial, &trial.frames[k]);
        if (k % stride != 0 && k >= 8 && k + 8 < trial.n)
            continue;
        take_over_at(&test, &trial, k);
        count++;
    }
    trial_fini(&trial);
    return count;
}

static void test_take_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool usage = str_find(str_c(streams[i]), STR("\"usage\":{"), 0) != SIZE_MAX;
        uint32_t broken = openai_chat_lint(str_c(streams[i]), usage);
        uint32_t excused = 1u << OPENAI_CHAT_LINT_USAGE_NULL;
        assert_int_equal(broken & ~excused, 0);
        assert_true(take_over(str_c(streams[i]), i) > 2);
    }
}

static void take_over_recording(void *ctx, const struct recording *recording)
{
    size_t *count = ctx;

    if (recording->stream && recording->status == 200)
        *count += take_over(recording->body, recording->line);
}

/* Catches: counters, ids or blocks that do not go on where the raw frames left them. */
static void test_take_over_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("openai_chat", take_over_recording, &count))
        skip();
    assert_true(count > 1000);
}

/* --- usage, ends, errors ------------------------------------------------------------------ */

static void expect_encoded(const char *stream, const struct encoder_options *options,
                           const char *want)
{
    const struct trial_cuts cuts = {.stream = true};
    struct trial trial;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, str_c(stream), &cuts);
    assert_int_equal(trial_encode(&trial, &protocol_openai_chat, options, &out, &e), OK);
    struct str said = buf_str(&out);
    struct str wanted = str_c(want);
    /* Ids of other protocols' answers are ours; this one's are "c1". */
    static const struct str ours = STR_INIT("\"id\":\"chatcmpl-ours\"");
    static const struct str theirs = STR_INIT("\"id\":\"c1\"");
    while (!options->same_protocol && str_starts(str_from(said, 7), ours) &&
           str_starts(str_from(wanted, 7), theirs)) {
        size_t end = str_find(said, STR("\n\n"), 0) + 2 - 7 - ours.n;
        said = str_from(said, 7 + ours.n);
        wanted = str_from(wanted, 7 + theirs.n);
        assert_true(str_eq(str_head(said, end), str_head(wanted, end)));
        said = str_from(said, end);
        wanted = str_from(wanted, end);
    }
    if (!str_eq(said, wanted))
        fail_differs("encoded", buf_str(&out), str_c(want));
    trial_fini(&trial);
    buf_fini(&out);
}

#define SAID DELTA("{\"role\":\"assistant\",\"content\":\"a\"}")
#define USAGE_BESIDE                                                                           \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\"," \
    "\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"prompt_tokens\":3,"                 \
    "\"completion_tokens\":2,\"total_tokens\":5}}\n\n"

/* Catches: usage that the client did not ask for, and anything hidden that is more than that. */
static void test_hide_usage(void **state)
{
    const struct encoder_options hide = {.stream = true, .same_protocol = true, .hide_usage = true};

    (void)state;
    expect_encoded(SAID FINISH("stop") USAGE DONE, &hide, SAID FINISH("stop") DONE);
    expect_encoded(SAID USAGE_BESIDE FINISH("stop") DONE, &hide,
                   SAID USAGE_BESIDE FINISH("stop") DONE);
}

/* Catches: an end added to raw bytes, or none added to our own. */
static void test_no_terminator(void **state)
{
    const struct encoder_options raw = {.stream = true, .same_protocol = true};
    const struct encoder_options own = {.stream = true, .now_s = 7};

    (void)state;
    expect_encoded(SAID FINISH("stop"), &raw, SAID FINISH("stop"));
    expect_encoded(SAID FINISH("stop"), &own, SAID FINISH("stop") DONE);
    expect_encoded(SAID FINISH("stop") DONE, &own, SAID FINISH("stop") DONE);
}

/* Catches: success claimed after an error, or after a stream that broke off. */
static void test_error_is_the_end(void **state)
{
    const struct encoder_options own = {.stream = true, .now_s = 7};

    (void)state;
    expect_encoded(SAID "data: {\"error\":{\"message\":\"x\",\"type\":\"t\"}}\n\n" SAID DONE, &own,
                   SAID "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\","
                        "\"param\":null,\"code\":\"upstream_error\"}}\n\n");
    expect_encoded(SAID SAID, &own, SAID DELTA("{\"content\":\"a\"}"));
}

/* --- whole bodies ------------------------------------------------------------------------- */

static void digest_of(struct str bytes, bool stream, bool usage, struct buf *out)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct trial trial;
    struct error e;

    trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
    assert_int_equal(trial.error.code, OK);
    if (!trial_check(&trial, &e))
        fail_msg("%s\n%.*s", e.detail, STR_ARG(bytes));
    trial_digest(&trial, usage, out);
    trial_fini(&trial);
}

static bool has_error(const struct trial *trial)
{
    for (uint32_t i = 0; i < trial->frames[0].n; i++) {
        if (trial->frames[0].events[i].kind == EVENT_ERROR)
            return true;
    }
    return false;
}

/* A whole body to a client that wants it whole: raw, or our own that says the same; to one that
 * wants a stream: a stream that says the same. */
static void whole_body(struct str body, size_t line)
{
    const struct trial_cuts cuts = {.stream = false};
    struct encoder_options options = {.same_protocol = true};
    struct trial trial;
    struct error e;
    struct buf out;
    struct buf want;
    struct buf got;

    buf_init(&out, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, body, &cuts);
    assert_int_equal(trial_encode(&trial, &protocol_openai_chat, &options, &out, &e), OK);
    assert_true(str_eq(buf_str(&out), body));
    trial_digest(&trial, true, &want);

    if (!has_error(&trial)) {
        trial.frames[0].changed = true;
        buf_reset(&out);
        assert_int_equal(trial_encode(&trial, &protocol_openai_chat, &options, &out, &e), OK);
        digest_of(buf_str(&out), false, true, &got);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            print_error("line %zu\n", line);
        expect_equal("as a body of ours", &got, &want);
    }
    options.stream = true;
    options.include_usage = str_find(buf_str(&want), STR("\"USAGE\""), 0) != SIZE_MAX;
    trial.frames[0].changed = false;
    buf_reset(&out);
    buf_reset(&got);
    assert_int_equal(trial_encode(&trial, &protocol_openai_chat, &options, &out, &e), OK);
    check_lint(&(struct take_over){.line = line}, 0, buf_str(&out), options.include_usage);
    digest_of(buf_str(&out), true, true, &got);
    if (!str_eq(buf_str(&got), buf_str(&want)))
        print_error("line %zu\n", line);
    expect_equal("as a stream", &got, &want);
    trial_fini(&trial);
    buf_fini(&got);
    buf_fini(&want);
    buf_fini(&out);
}

static void whole_recording(void *ctx, const struct recording *recording)
{
    size_t *count = ctx;

    if (recording->stream || recording->status != 200)
        return;
    whole_body(recording->body, recording->line);
    *count += 1;
}

static void test_whole_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("openai_chat", whole_recording, &count))
        skip();
    assert_true(count > 100);
}

static void test_whole(void **state)
{
    (void)state;
    whole_body(STR("{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\","
                   "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                   "\"a\\u0000b\",\"reasoning\":\"r\",\"tool_calls\":[{\"id\":\"x\",\"type\":"
                   "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                   "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":1,"
                   "\"completion_tokens\":2,\"total_tokens\":3}}"),
               0);
    whole_body(STR(" {\"error\":{\"message\":\"m\",\"type\":null}} \n"), 1);
}

/* Catches: a collected answer that grows without bound. */
static void test_collect_bound(void **state)
{
    struct arena arena;
    struct openai_chat_encoder enc = {.started = false};
    const struct encoder_options options = {.arena = &arena, .bytes_max = 4096};
    struct event events[2] = {
        {.kind = EVENT_BLOCK_BEGIN, .begin.kind = BLOCK_TEXT},
        {.kind = EVENT_TEXT, .text = STR("a text of some forty bytes, again and again")},
    };
    struct frame frame = {.events = events, .n = 2};
    enum error_code code = OK;
    struct str raw;
    struct error e;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    arena_init(&arena, 65536, 1024, NULL);
    openai_chat_encode_init(&enc, &options);
    for (size_t i = 0; i < 200 && code == OK; i++) {
        code = openai_chat_encode_frame(&enc, &frame, &out, &raw, &e);
        frame = (struct frame){.events = &events[1], .n = 1};
    }
    assert_int_equal(code, ERR_UPSTREAM_TOO_LARGE);
    openai_chat_encode_fini(&enc);
    arena_fini(&arena);
    buf_fini(&out);
}

/* --- events that no stream of ours has ---------------------------------------------------- */

/* The bytes for one frame of events, its end included. */
static enum error_code encode_within(const struct event *events, uint32_t n, bool stream,
                                     size_t arena_max, size_t bytes_max, struct buf *out)
{
    struct arena arena;
    struct openai_chat_encoder enc = {.started = false};
    const struct encoder_options options = {.stream = stream,
                                            .same_protocol = true,
                                            .id = STR("ours"),
                                            .model = STR("m"),
                                            .now_s = 7,
                                            .arena = &arena,
                                            .bytes_max = bytes_max};
    struct event copy[16];
    struct frame frame = {.events = copy, .n = n};
    enum error_code code;
    struct str raw;
    struct error e;

    assert_true(n <= COUNT_OF(copy));
    memcpy(copy, events, n * sizeof(*events));
    arena_init(&arena, arena_max, 512, NULL);
    openai_chat_encode_init(&enc, &options);
    code = openai_chat_encode_frame(&enc, &frame, out, &raw, &e);
    assert_true(str_is_null(raw));
    /* What was refused once stays refused. */
    if (code != OK && !stream)
        assert_int_equal(openai_chat_encode_frame(&enc, &frame, out, &raw, &e), code);
    else if (code == OK)
        code = openai_chat_encode_end(&enc, out, &e);
    openai_chat_encode_fini(&enc);
    arena_fini(&arena);
    return code;
}

/* S is the initializer of a str. */
#define S(literal)                        \
    {                                     \
        ("" literal), sizeof(literal) - 1 \
    }
#define BLOCK_AT(at, of, ...)                                                                 \
    {                                                                                         \
        .kind = EVENT_BLOCK_BEGIN, .block = (at), .begin = {.kind = BLOCK_##of, __VA_ARGS__ } \
    }
#define SAY(at, of, what)                                  \
    {                                                      \
        .kind = EVENT_##of, .block = (at), .text = S(what) \
    }
#define STOP_FOR(why)                                                     \
    {                                                                     \
        .kind = EVENT_STOP, .block = EVENT_NO_BLOCK, .stop.reason = (why) \
    }

static const struct event everything[] = {
    {.kind = EVENT_START, .block = EVENT_NO_BLOCK, .start = {S("c1"), S("m"), 7}},
    BLOCK_AT(0, REASONING, .name = S("thoughts")),
    SAY(0, REASONING, "hm"),
    BLOCK_AT(1, TEXT, .index = 0),
    SAY(1, TEXT, "said"),
    SAY(1, CITATION, "{\"type\":\"u\"}"),
    SAY(1, LOGPROBS, "{\"content\":[1],\"refusal\":[2]}"),
    BLOCK_AT(2, TOOL, .id = S("call_1"), .name = S("f")),
    SAY(2, TOOL_ARGS, "{\"a\":1}"),
    BLOCK_AT(3, VENDOR, .name = S("audio")),
    SAY(3, TEXT, "{\"id\":\"x\",\"data\":\"QQ\"}"),
    SAY(3, TEXT, "{\"data\":\"==\",\"id\":\"y\"}"),
    BLOCK_AT(4, VENDOR, .name = S("images")),
    SAY(4, TEXT, "[1]"),
    SAY(4, TEXT, "[2]"),
    STOP_FOR(STOP_TOOL),
};

#define HEAD_OF(object)                   \
    "{\"id\":\"c1\",\"object\":\"" object \
    "\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,"
#define EVERYTHING                                                                             \
    HEAD_OF("chat.completion")                                                                 \
    "\"message\":{\"role\":\"assistant\",\"content\":\"said\",\"refusal\":null,"               \
    "\"reasoning_content\":\"hm\",\"annotations\":[{\"type\":\"u\"}],\"tool_calls\":[{\"id\":" \
    "\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"             \
    "\"{\\\"a\\\":1}\"}}],\"audio\":{\"id\":\"y\",\"data\":\"QQ==\"},\"images\":[1,2]},"       \
    "\"logprobs\":{\"content\":[1],\"refusal\":[2]},\"finish_reason\":\"tool_calls\"}]}"

static bool collected_within(size_t bytes_max, struct str whole)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    enum error_code code = encode_within(everything, COUNT_OF(everything), false, 65536, bytes_max,
                                         &out);
    if (code == OK) {
        assert_true(str_eq(buf_str(&out), whole));
    } else {
        assert_int_equal(code, ERR_UPSTREAM_TOO_LARGE);
        assert_int_equal(out.n, 0);
    }
    buf_fini(&out);
    return code == OK;
}

/* Catches: a body that lacks what there was no room for; a bound that lets more pass than a larger
 * one. */
static void test_collect_every_bound(void **state)
{
    struct buf whole;
    size_t fits = 0;

    (void)state;
    buf_init(&whole, OUT_MAX);
    assert_int_equal(encode_within(everything, COUNT_OF(everything), false, 65536, 65536, &whole),
                     OK);
    expect_str(&whole, EVERYTHING);
    for (size_t bytes_max = 1; bytes_max <= 4096; bytes_max++) {
        bool ok = collected_within(bytes_max, buf_str(&whole));
        assert_true(ok || fits == 0);
        if (ok && fits == 0)
            fits = bytes_max;
    }
    assert_true(fits > 100);
    buf_fini(&whole);
}

/* Catches: a stream that goes on as if nothing was missing when the buffer is full. */
static void test_stream_every_bound(void **state)
{
    struct buf whole;

    (void)state;
    buf_init(&whole, OUT_MAX);
    assert_int_equal(encode_within(everything, COUNT_OF(everything), true, 65536, 65536, &whole),
                     OK);
    assert_true(str_ends(buf_str(&whole), STR(DONE)));
    for (size_t most = 1; most <= whole.n; most++) {
        struct buf out;
        buf_init(&out, most);
        enum error_code code = encode_within(everything, COUNT_OF(everything), true, 65536, 65536,
                                             &out);
        assert_int_equal(code, most < whole.n ? ERR_UPSTREAM_TOO_LARGE : OK);
        assert_true(str_starts(buf_str(&whole), buf_str(&out)));
        buf_fini(&out);
    }
    buf_fini(&whole);
}
/* Catches: a choice or block for which there was no memory, mistaken for another one. */
static void test_stream_memory(void **state)
{
    struct event choices[16];
    const struct event *const cases[] = {everything, choices};

    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(choices); i += 2) {
        choices[i] = (struct event)BLOCK_AT(0, TOOL, .id = S("i"), .name = S("f"));
        choices[i + 1] = (struct event)SAY(0, TOOL_ARGS, "{}");
        choices[i].choice = choices[i + 1].choice = i;
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf whole;
        size_t refused = 0;
        buf_init(&whole, OUT_MAX);
        assert_int_equal(encode_within(cases[i], 16, true, 65536, 65536, &whole), OK);
        for (size_t most = 16; most <= 8192; most += 16) {
            struct buf out;
            buf_init(&out, OUT_MAX);
            enum error_code code = encode_within(cases[i], 16, true, most, 65536, &out);
            assert_int_equal(code, code == OK ? OK : ERR_UPSTREAM_TOO_LARGE);
            assert_true(code != OK || str_eq(buf_str(&out), buf_str(&whole)));
            refused += code != OK;
            buf_fini(&out);
        }
        assert_true(refused > 4 && refused < 500);
        buf_fini(&whole);
    }
}

static void expect_events(const struct event *events, uint32_t n, bool stream, const char *want)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(encode_within(events, n, stream, 65536, 65536, &out), OK);
    expect_str(&out, want);
    buf_fini(&out);
}

/* Catches: bytes of one kind taken for another, and blocks that have no place in a body but leave
 * a mark there. */
static void test_odd_pieces(void **state)
{
    static const struct event events[] = {
        {.kind = EVENT_START, .block = EVENT_NO_BLOCK, .start = {S("c1"), S("m"), 7}},
        BLOCK_AT(0, REDACTED, .index = 0),
        SAY(0, SIGNATURE, "sealed"),
        BLOCK_AT(1, TEXT, .index = 0),
        SAY(1, TEXT, "a"),
        SAY(1, LOGPROBS, "null"),
        SAY(1, LOGPROBS, ""),
        BLOCK_AT(2, VENDOR, .name = S("audio")),
        SAY(2, TEXT, "{\"data\":\"Q\"}"),
        SAY(2, TEXT, "{\"data\":7}"),
        SAY(2, TEXT, "7"),
        BLOCK_AT(3, VENDOR, .name = S("images")),
        SAY(3, TEXT, "[1]"),
        SAY(3, TEXT, "{\"data\":\"no list\"}"),
        SAY(3, TEXT, ""),
        STOP_FOR(STOP_END),
    };

    (void)state;
    expect_events(events, COUNT_OF(events), false,
                  HEAD_OF("chat.completion") "\"message\":{\"role\":\"assistant\",\"content\":"
                                             "\"a\",\"refusal\":null,\"audio\":{\"data\":\"Q\"},"
                                             "\"images\":[1]},\"logprobs\":null,"
                                             "\"finish_reason\":\"stop\"}]}");
}

/* Catches: a reason that clients of this protocol do not know. */
static void test_finish_words(void **state)
{
    static const struct {
        struct event stop;
        const char *word;
    } cases[] = {
        {STOP_FOR(STOP_END), "stop"},
        {STOP_FOR(STOP_LENGTH), "length"},
        {STOP_FOR(STOP_TOOL), "stop"},
        {STOP_FOR(STOP_SEQUENCE), "stop"},
        {STOP_FOR(STOP_FILTER), "content_filter"},
        {STOP_FOR(STOP_REFUSAL), "stop"},
        {STOP_FOR(STOP_PAUSE), "stop"},
        {STOP_FOR(STOP_OTHER), "stop"},
        {{.kind = EVENT_STOP, .stop = {.reason = STOP_OTHER, .native = S("odd")}}, "odd"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct event *stop = &cases[i].stop;
        assert_true(str_eq(openai_chat_finish_word(stop, false, false), str_c(cases[i].word)));
    }
    assert_true(str_eq(openai_chat_finish_word(&cases[2].stop, true, false), STR("tool_calls")));
    assert_true(str_eq(openai_chat_finish_word(&cases[0].stop, true, true), STR("function_call")));
}

/* Catches: a choice left open at the end, and one that goes on after its finish reason. */
static void test_ends_of_choices(void **state)
{
    static const struct event open[] = {
        {.kind = EVENT_START, .block = EVENT_NO_BLOCK, .start = {S("c1"), S("m"), 7}},
        BLOCK_AT(0, TEXT, .index = 0),
        SAY(0, TEXT, "a"),
    };
    static const struct event late[] = {
        {.kind = EVENT_START, .block = EVENT_NO_BLOCK, .start = {S("c1"), S("m"), 7}},
        BLOCK_AT(0, TEXT, .index = 0),
        SAY(0, TEXT, "a"),
        STOP_FOR(STOP_LENGTH),
        SAY(0, TEXT, "late"),
        STOP_FOR(STOP_END),
    };

    (void)state;
    expect_events(open, COUNT_OF(open), true, SAID FINISH("stop") DONE);
    expect_events(late, COUNT_OF(late), true, SAID FINISH("length") DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_raw_recordings),
        cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_take_over_recordings),
        cmocka_unit_test(test_hide_usage),
        cmocka_unit_test(test_no_terminator),
        cmocka_unit_test(test_error_is_the_end),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_whole_recordings),
        cmocka_unit_test(test_collect_bound),
        cmocka_unit_test(test_collect_every_bound),
        cmocka_unit_test(test_stream_every_bound),
        cmocka_unit_test(test_stream_memory),
        cmocka_unit_test(test_odd_pieces),
        cmocka_unit_test(test_finish_words),
        cmocka_unit_test(test_ends_of_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
