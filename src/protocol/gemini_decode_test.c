/* SPDX-License-Identifier: MIT */
/*
 * Answers read: what each response means, in all three framings; that cuts change nothing; that an
 * answer that broke off never claims to be complete; errors, framed and not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/gemini_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_gemini;

enum { OUT_MAX = 64 * 1024 * 1024, MUTATIONS = 4000 };

#define CAND(members) "{\"candidates\":[{" members "}]}"
#define TEXT(text)    "\"content\":{\"parts\":[{\"text\":\"" text "\"}],\"role\":\"model\"}"
#define CALL(call)    "\"content\":{\"parts\":[{\"functionCall\":" call "}]}"
#define STOP_AS(word) "\"finishReason\":\"" word "\""
#define EVENT(json)   "data: " json "\r\n\r\n"

static const char stream[] = EVENT(CAND(TEXT("h\\u00e9 "))) ": comment\r\n\r\n" EVENT(
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\",\"thought\":true},{"
    "\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"}]\\\"\"}},\"thoughtSignature\":"
    "\"QUJD\"}]}}]}")
    EVENT("{\"candidates\":[{" TEXT("") "," STOP_AS(
        "STOP") "}],\"usageMetadata\":{"
                "\"promptTokenCount\":1,\"candidatesTokenCount\":2,\"totalTokenCount\":3}}");

static const char array[] = "[" CAND(TEXT("a]\\\"[ ")) "\n,\r\n" CAND(
    TEXT("b")) ",{\"candidates\":[{" TEXT("") "," STOP_AS("STOP") "}]}\n]\n";

/* --- cuts --------------------------------------------------------------------------------- */

static void dump_with(const char *bytes, size_t n, const struct trial_cuts *cuts, struct buf *out)
{
    struct trial trial;
    struct error e;

    buf_reset(out);
    trial_decode(&trial, &protocol_gemini, str_of(bytes, n), cuts);
    if (!trial_check(&trial, &e))
        fail_msg("%s", e.detail);
    trial_dump(&trial, out);
    trial_fini(&trial);
}

static void check_cuts(const char *bytes, bool is_array)
{
    size_t n = strlen(bytes);
    struct trial_cuts cuts = {.stream = true, .array = is_array};
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    dump_with(bytes, n, &cuts, &want);
    cuts.step = 1;
    dump_with(bytes, n, &cuts, &got);
    assert_true(str_eq(buf_str(&want), buf_str(&got)));
    cuts.step = 0;
    for (cuts.at = 1; cuts.at < n; cuts.at++) {
        dump_with(bytes, n, &cuts, &got);
        if (!str_eq(buf_str(&want), buf_str(&got)))
            fail_msg("cut at %zu:\n%.*s", cuts.at, STR_ARG(buf_str(&got)));
    }
    buf_fini(&want);
    buf_fini(&got);
}

static void test_cuts(void **state)
{
    (void)state;
    check_cuts(stream, false);
    check_cuts(array, true);
}

/* Ended after each byte: complete only with the finish reason. */
static void check_ends(const char *bytes, bool is_array)
{
    const struct trial_cuts cuts = {.stream = true, .array = is_array};
    size_t complete = strlen(bytes);

    for (size_t n = 0; n <= strlen(bytes); n++) {
        struct trial trial;
        struct error e;
        trial_decode(&trial, &protocol_gemini, str_of(bytes, n), &cuts);
        assert_true(trial_check(&trial, &e));
        if (trial.error.code == OK && n < complete)
            complete = n;
        assert_true(trial.error.code == OK || trial.error.code == ERR_UPSTREAM_BROKEN);
        assert_true(n < complete || trial.error.code == OK);
        trial_fini(&trial);
    }
    /* The last response is there whole. */
    struct str head = str_of(bytes, complete);
    assert_true(str_find(head, STR("STOP"), 0) != SIZE_MAX);
    assert_true(complete > 0 && bytes[complete - 1] == '}');
}

static void test_ends(void **state)
{
    (void)state;
    check_ends(stream, false);
    check_ends(array, true);
}

/* --- what it means ------------------------------------------------------------------------ */

struct meaning {
    const char *body;
    const char *has[6]; /* of the events, in order */
};

static const struct meaning meanings[] = {
    {CAND(TEXT("a") "," STOP_AS("STOP")), {"\"TEXT\"", "\"a\"", "\"END\"", "\"STOP\""}},
    {CAND(TEXT("a") "," STOP_AS("MAX_TOKENS")), {"\"a\"", "\"LENGTH\"", "MAX_TOKENS"}},
    {CAND(TEXT("a") "," STOP_AS("SAFETY")), {"\"FILTER\"", "SAFETY"}},
    {CAND(STOP_AS("RECITATION")), {"\"FILTER\"", "RECITATION"}},
    {CAND(STOP_AS("IMAGE_PROHIBITED_CONTENT")), {"\"FILTER\""}},
    {CAND(TEXT("a") "," STOP_AS("LANGUAGE")), {"\"END\"", "LANGUAGE"}},
    {CAND(TEXT("a") "," STOP_AS("WHATEVER")), {"\"END\"", "WHATEVER"}},
    {CAND(TEXT("a") ",\"finishReason\":2"), {"\"LENGTH\""}},
    {CAND(TEXT("a") ",\"finishReason\":77"), {"\"END\"", "OTHER"}},
    {CAND(TEXT("a")), {"\"a\"", "\"END\""}},
    /* The model failed: an error, or the end of what it said. */
    {CAND(STOP_AS("MALFORMED_FUNCTION_CALL") ",\"finishMessage\":\"bad call\""),
     {"ERROR", "502", "MALFORMED_FUNCTION_CALL", "bad call"}},
    {CAND(TEXT("a") "," STOP_AS("MALFORMED_FUNCTION_CALL")), {"\"a\"", "\"END\""}},
    {CAND(STOP_AS("TOO_MANY_TOOL_CALLS")), {"ERROR", "ended with TOO_MANY_TOOL_CALLS"}},
    /* The prompt was refused; nothing at all was said. */
    {"{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}}",
     {"START", "\"FILTER\"", "PROHIBITED_CONTENT"}},
    {"{\"usageMetadata\":{\"promptTokenCount\":1}}", {"START", "USAGE", "\"END\""}},
    /* Calls. */
    {CAND(CALL("{\"name\":\"f\"}") "," STOP_AS("STOP")),
     {"\"TOOL\"", "call_", "\"f\"", "BLOCK_END", "\"TOOL\""}},
    {CAND(
         CALL("{\"id\":\"x\",\"name\":\"f\",\"args\":{ \"n\": 12345678901234567890 }}") "," STOP_AS(
             "STOP")),
     {"\"x\"", "{\\\"n\\\":12345678901234567890}"}},
    /* Media and parts that others do not know. */
    {CAND("\"content\":{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"aGk=\"},"
          "\"thoughtSignature\":\"QUJD\"}]}"),
     {"\"MEDIA\"", "media_type\\\":\\\"image/png", "aGk=", "QUJD"}},
    {CAND("\"content\":{\"parts\":[{\"executableCode\":{\"code\":\"print(1)\"}}]}"),
     {"\"VENDOR\"", "executableCode", "print(1)", "\"TEXT\"", "executableCode", "```python"}},
    {CAND("\"content\":{\"parts\":[{\"newThing\":{\"a\":1}}]}"),
     {"\"VENDOR\"", "part", "newThing"}},
    {CAND("\"content\":{\"parts\":[{\"thought\":true,\"inlineData\":{\"data\":\"x\"}}]}"),
     {"\"VENDOR\"", "inlineData"}},
    {CAND("\"content\":{\"parts\":[{\"thoughtSignature\":\"QUJD\"}]}"), {"SIGNATURE", "QUJD"}},
    /* A text's signature says nothing of where the text ends; a second one is another text's. */
    {CAND("\"content\":{\"parts\":[{\"text\":\"a\",\"thoughtSignature\":\"QUJD\"},{\"text\":\"b\"},"
          "{\"text\":\"c\",\"thoughtSignature\":\"REVG\"}]}"),
     {"\"TEXT\",\"block\":0,\"text\":\"b\"", "\"block\":1,\"text\":\"c\"", "REVG"}},
    /* Thoughts and text that take turns. */
    {CAND("\"content\":{\"parts\":[{\"text\":\"a\",\"thought\":true},{\"text\":\"b\"},{\"text\":"
          "\"c\",\"thought\":true},{\"text\":\"d\"}]}"),
     {"\"REASONING\"", "\"TEXT\"", "\"block\":1", "\"block\":2", "\"block\":3"}},
    /* Usage. */
    {"{\"candidates\":[{" STOP_AS(
         "STOP") "}],\"usageMetadata\":{\"promptTokenCount\":10,"
                 "\"cachedContentTokenCount\":99,\"toolUsePromptTokenCount\":5,"
                 "\"candidatesTokenCount\":\"3\","
                 "\"thoughtsTokenCount\":4,\"totalTokenCount\":22}}",
     {"\"input\":15", "\"output\":7", "\"total\":22", "\"cached\":15", "\"reasoning\":4"}},
    /* Sources: bytes become characters. */
    {CAND(TEXT(
         "h\\u00e9llo") ",\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":"
                        "\"https://a\"}}],\"groundingSupports\":[{\"segment\":{\"startIndex\":3,"
                        "\"endIndex\":6},"
                        "\"groundingChunkIndices\":[0,7]}]}"),
     {"CITATION", "groundingChunks", "CITATION", "start_index\\\":2,\\\"end_index\\\":5",
      "https://a"}},
    {CAND(TEXT("abc") ",\"citationMetadata\":{\"citationSources\":[{\"endIndex\":2,\"uri\":"
                      "\"https://b\"}]}"),
     {"CITATION", "citationSources", "CITATION", "start_index\\\":0,\\\"end_index\\\":2",
      "https://b"}},
    {CAND(TEXT(
         "hi") ",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"hi\","
               "\"logProbability\":-0.25}],\"topCandidates\":[{\"candidates\":[{\"token\":\"hi\","
               "\"logProbability\":-0.25}]}]}"),
     {"LOGPROBS", "token\\\":\\\"hi", "-0.25", "bytes\\\":[104,105]", "top_logprobs"}},
};

static void expect_events(const struct trial *trial, const struct meaning *meaning)
{
    struct buf out;
    size_t at = 0;

    buf_init(&out, OUT_MAX);
    trial_events(trial, &out);
    for (size_t i = 0; i < COUNT_OF(meaning->has) && meaning->has[i] != NULL; i++) {
        at = str_find(buf_str(&out), str_c(meaning->has[i]), at);
        if (at == SIZE_MAX)
            fail_msg("%s\nnot in\n%.*s", meaning->has[i], STR_ARG(buf_str(&out)));
        at += strlen(meaning->has[i]) - 1;
    }
    buf_fini(&out);
}

static void test_meanings(void **state)
{
    const struct trial_cuts cuts = {.stream = false};
    struct trial trial;
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(meanings); i++) {
        trial_decode(&trial, &protocol_gemini, str_c(meanings[i].body), &cuts);
        if (trial.error.code != OK || !trial_check(&trial, &e))
            fail_msg("%s: %s", meanings[i].body, trial.error.detail);
        expect_events(&trial, &meanings[i]);
        trial_fini(&trial);
    }
}

static void test_not_ours(void **state)
{
    static const char *const bodies[] = {"{}", "[]", "1", "{\"choices\":[]}", "<html>", "[1]"};
    const struct trial_cuts cuts = {.stream = false};
    struct trial trial;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        trial_decode(&trial, &protocol_gemini, str_c(bodies[i]), &cuts);
        assert_int_equal(trial.error.code, ERR_UPSTREAM_BROKEN);
        trial_fini(&trial);
    }
}

/* The same call has the same id however often it is read; other calls have others. */
static void test_ids(void **state)
{
    static const char body[] = CAND(
        "\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}},{\"functionCall\":{\"name\":"
        "\"f\"}}]}");
    const struct trial_cuts cuts = {.stream = false};
    struct trial a;
    struct trial b;

    (void)state;
    trial_decode(&a, &protocol_gemini, str_c(body), &cuts);
    trial_decode(&b, &protocol_gemini, str_c(body), &cuts);
    struct str first = a.frames[0].events[1].begin.id;
    struct str second = a.frames[0].events[3].begin.id;
    assert_int_equal(first.n, strlen("call_") + 24);
    assert_false(str_eq(first, second));
    assert_true(str_eq(first, b.frames[0].events[1].begin.id));
    trial_fini(&a);
    trial_fini(&b);
}

/* --- errors ------------------------------------------------------------------------------- */

#define ERROR_JSON                                                                  \
    "{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":" \
    "\"UNAVAILABLE\"}}"

static void test_errors(void **state)
{
    static const struct {
        const char *bytes;
        bool stream;
        bool array;
    } cases[] = {
        {EVENT(CAND(TEXT("a"))) EVENT(ERROR_JSON), true, false},
        {EVENT(CAND(TEXT("a"))) EVENT("[" ERROR_JSON "]"), true, false},
        /* Not framed as events are. */
        {EVENT(CAND(TEXT("a"))) ERROR_JSON "\r\n\r\n", true, false},
        {EVENT(CAND(TEXT("a"))) ERROR_JSON, true, false},
        {EVENT(
             CAND(TEXT("a"))) "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"The "
                              "model is overloaded.\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n",
         true, false},
        {EVENT(CAND(TEXT("a"))) "[" ERROR_JSON "]\n", true, false},
        {"[" CAND(TEXT("a")) "\n,\n" ERROR_JSON "]", true, true},
        {ERROR_JSON, true, true},
        {"[" ERROR_JSON "]", false, false},
        {ERROR_JSON, false, false},
    };
    static const struct meaning want = {NULL,
                                        {"ERROR", "503", "UNAVAILABLE",
                                         "The model is overloaded."}};
    struct trial trial;
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct trial_cuts cuts = {.stream = cases[i].stream, .array = cases[i].array};
        trial_decode(&trial, &protocol_gemini, str_c(cases[i].bytes), &cuts);
        if (trial.error.code != OK || !trial_check(&trial, &e))
            fail_msg("%s: %s", cases[i].bytes, trial.error.detail);
        expect_events(&trial, &want);
        assert_true(trial_has(&trial, EVENT_ERROR));
        trial_fini(&trial);
    }
}

/* --- bounds ------------------------------------------------------------------------------- */

static enum push take(void *ctx, struct frame *frame)
{
    (void)frame;
    *(size_t *)ctx += 1;
    return PUSH_OK;
}

static enum error_code decode_bounded(const char *bytes, bool is_array, size_t event_max,
                                      size_t arena_max, size_t step, struct error *e)
{
    struct gemini_decoder d = {.calls = 0};
    struct arena scratch;
    struct arena answer;
    size_t frames = 0;
    const struct decoder_options options = {
        .stream = true,
        .array = is_array,
        .event_bytes_max = event_max,
        .depth_max = 32,
        .scratch = &scratch,
        .arena = &answer,
        .sink = take,
        .sink_ctx = &frames,
    };
    struct str rest = str_c(bytes);
    enum error_code code = OK;

    arena_init(&scratch, arena_max, 512, NULL);
    arena_init(&answer, arena_max, 512, NULL);
    gemini_decode_init(&d, &options);
    for (; code == OK && rest.n > step; rest = str_from(rest, step))
        code = gemini_decode_bytes(&d, str_head(rest, step), false, e);
    if (code == OK)
        code = gemini_decode_bytes(&d, rest, true, e);
    gemini_decode_fini(&d);
    arena_fini(&answer);
    arena_fini(&scratch);
    return code;
}

/* An element, or an event, that is longer than allowed: however it comes. */
static void test_too_long(void **state)
{
    static const size_t steps[] = {1, 7, 64, 100000};
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(decode_bounded(array, true, 40, 1 << 20, steps[i], &e),
                         ERR_UPSTREAM_TOO_LARGE);
        assert_int_equal(decode_bounded(stream, false, 40, 1 << 20, steps[i], &e),
                         ERR_UPSTREAM_TOO_LARGE);
        assert_int_equal(decode_bounded(array, true, 4096, 1 << 20, steps[i], &e), OK);
    }
}

static void test_memory(void **state)
{
    struct error e;

    (void)state;
    for (size_t max = 512; max < 32 * 1024; max += 512) {
        enum error_code code = decode_bounded(stream, false, 1 << 20, max, 100000, &e);
        assert_true(code == OK || code == ERR_UPSTREAM_TOO_LARGE);
    }
}

static void test_too_many(void **state)
{
    struct buf bytes;
    struct trial trial;
    const struct trial_cuts cuts = {.stream = false};

    (void)state;
    buf_init(&bytes, OUT_MAX);
    buf_add(&bytes, STR("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}"));
    for (int i = 0; i < GEMINI_BLOCKS_MAX; i++)
        buf_add(&bytes, STR(",{\"functionCall\":{\"name\":\"f\"}}"));
    buf_add(&bytes, STR("]}}]}"));
    trial_decode(&trial, &protocol_gemini, buf_str(&bytes), &cuts);
    assert_int_equal(trial.error.code, ERR_UPSTREAM_TOO_LARGE);
    trial_fini(&trial);
    buf_fini(&bytes);
}

/* --- templates ---------------------------------------------------------------------------- */

static enum push dump_frame(void *ctx, struct frame *frame)
{
    struct buf *out = ctx;

    buf_print(out, "frame %zu %d\n", frame->raw.n, frame->usage_only);
    for (uint32_t i = 0; i < frame->n; i++) {
        dump_event(out, &frame->events[i]);
        buf_add_char(out, '\n');
    }
    return PUSH_OK;
}

/* How many responses were read by a template. */
static uint32_t dump_stream(struct str bytes, bool is_array, bool templates, struct buf *out)
{
    struct gemini_decoder d = {.calls = 0};
    struct arena scratch;
    struct arena answer;
    struct error e;
    const struct decoder_options options = {
        .stream = true,
        .array = is_array,
        .event_bytes_max = OUT_MAX,
        .depth_max = 64,
        .scratch = &scratch,
        .arena = &answer,
        .sink = dump_frame,
        .sink_ctx = out,
    };

    buf_reset(out);
    arena_init(&scratch, OUT_MAX, 512, NULL);
    arena_init(&answer, OUT_MAX, 512, NULL);
    gemini_decode_init(&d, &options);
    if (!templates)
        d.template.tries = UINT32_MAX;
    buf_print(out, "%s\n", error_name(gemini_decode_bytes(&d, bytes, true, &e)));
    gemini_decode_fini(&d);
    arena_fini(&answer);
    arena_fini(&scratch);
    return d.template.matched;
}

/* Read with templates and without, it says the same. Returns how many they read. */
static uint32_t check_templates(struct str bytes, bool is_array)
{
    struct buf with;
    struct buf without;

    buf_init(&with, OUT_MAX);
    buf_init(&without, OUT_MAX);
    uint32_t matched = dump_stream(bytes, is_array, true, &with);
    assert_int_equal(dump_stream(bytes, is_array, false, &without), 0);
    if (!str_eq(buf_str(&with), buf_str(&without)))
        fail_msg("%.*s\n--- with\n%.*s\n--- without\n%.*s", STR_ARG(bytes), STR_ARG(buf_str(&with)),
                 STR_ARG(buf_str(&without)));
    buf_fini(&with);
    buf_fini(&without);
    return matched;
}

#define TOLD(text, prompt, output)                                                            \
    EVENT("{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"" text "\"}],\"role\": " \
          "\"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": " prompt       \
          ",\"candidatesTokenCount\": " output ",\"promptTokensDetails\": [{\"modality\": "   \
          "\"TEXT\",\"tokenCount\": " prompt "}]},\"modelVersion\": \"gemini-2.5\"}")

#define BESIDE(text, more) \
    EVENT("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" text "\"}]}}]," more "}")
#define TWICE(prompt, output)                              \
    "\"usageMetadata\":{\"promptTokenCount\":" prompt "}," \
    "\"usageMetadata\":{\"candidatesTokenCount\":" output "}"
#define HIDDEN(text, other)                                                               \
    EVENT("{\"candidates\":[{\"content\":{\"parts\":[{\"te\\u0078t\":\"" text "\",\"x\":" \
          "{\"text\":\"" other "\"}}]}}]}")

static void test_templates(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t matched;
    } cases[] = {
        {TOLD("a", "1", "2") TOLD("b", "1", "3") TOLD("c\\n\\u00e9", "1", "44") TOLD("", "1", "5")
             TOLD("d", "10", "123456"),
         2},
        /* What is no count, or no JSON, is parsed, and says what it says then. */
        {TOLD("a", "1", "2") TOLD("b", "1", "3") TOLD("c", "1", "04") TOLD("d", "1", "-4")
             TOLD("e", "1", "4.0") TOLD("f", "1", "1234567890123456789")
                 TOLD("f", "1", "9999999999999999999") TOLD("g", "1", "5"),
         1},
        {TOLD("a", "1", "2") TOLD("b", "1", "3") TOLD("c\\ud800", "1", "4") TOLD("d\xff", "1", "5")
             TOLD("e\\x", "1", "5"),
         1},
        /* Another kind of block opens, another text comes beside the first. */
        {TOLD("a", "1", "2") TOLD("b", "1", "3") EVENT(
             "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\",\"thought\":true}]}}]}")
             TOLD("c", "1", "4") TOLD("d", "1", "5") TOLD("e", "1", "6"),
         1},
        {EVENT(CAND("\"content\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}"))
             EVENT(CAND("\"content\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}")),
         0},
        /* Counts that are no bare digits are said with those that are. */
        {TOLD("a", "\"7\"", "2") TOLD("b", "\"7\"", "3") TOLD("c", "\"7\"", "4"), 0},
        {TOLD("a", "7.0", "2") TOLD("b", "7.0", "3") TOLD("c", "7e0", "4"), 0},
        /* Members of these names elsewhere say nothing of usage. */
        {BESIDE("a", "\"x\":{\"totalTokenCount\":1}") BESIDE("b", "\"x\":{\"totalTokenCount\":2}")
             BESIDE("c", "\"x\":{\"totalTokenCount\":3}"),
         0},
        {BESIDE("a", TWICE("2", "0")) BESIDE("b", TWICE("2", "4")) BESIDE("c", TWICE("3", "5")), 0},
        /* A key that is another than it looks: the text is the one before. */
        {HIDDEN("a", "a") HIDDEN("b", "b") HIDDEN("c", "d") HIDDEN("e", "f"), 0},
    };
    struct buf many;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t matched = check_templates(str_c(cases[i].bytes), false);
        if (matched < cases[i].matched)
            fail_msg("%zu: %u", i, matched);
    }
    /* Where something else is another each time they are given up, and nothing is lost. */
    buf_init(&many, OUT_MAX);
    for (int i = 0; i < 100; i++)
        buf_print(&many,
                  "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],"
                  "\"turnToken\":\"%d\"}\n\n",
                  i);
    assert_int_equal(check_templates(buf_str(&many), false), 0);
    buf_fini(&many);
}

static void recorded_template(void *ctx, const struct recording *recording)
{
    if (recording->stream && recording->status == 200)
        *(uint32_t *)ctx += check_templates(recording->body, str_starts(recording->body, STR("[")));
}

static void test_recorded_templates(void **state)
{
    uint32_t matched = 0;

    (void)state;
    if (!recordings_each("gemini_generate", recorded_template, &matched))
        skip();
    printf("%u responses by templates\n", matched);
    assert_true(matched > 20);
}

/* --- damage ------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Whatever comes: events that canon/check takes, and the frames are the bytes. */
static void check_mutations(const char *bytes, bool is_stream, bool is_array)
{
    static const char others[] = "{}[]\",:\\u0ntf-1e. \r\n";
    const struct trial_cuts cuts = {.stream = is_stream, .array = is_array};
    uint64_t seed = 88172645463325252u;
    size_t n = strlen(bytes);
    char text[4096];

    assert_true(n < sizeof(text));
    for (size_t i = 0; i < MUTATIONS; i++) {
        struct trial trial;
        struct error e;
        memcpy(text, bytes, n);
        for (size_t k = next_random(&seed) % 3 + 1; k > 0; k--)
            text[next_random(&seed) % n] = others[next_random(&seed) % (sizeof(others) - 1)];
        trial_decode(&trial, &protocol_gemini, str_of(text, n), &cuts);
        if (!trial_check(&trial, &e))
            fail_msg("%.*s: %s", (int)n, text, e.detail);
        assert_true(trial.n == 0 || trial_is_raw(&trial, str_of(text, n)));
        trial_fini(&trial);
    }
}

static void test_mutations(void **state)
{
    (void)state;
    check_mutations(stream, true, false);
    check_mutations(array, true, true);
    for (size_t i = 0; i < COUNT_OF(meanings); i += 4)
        check_mutations(meanings[i].body, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_recorded_templates),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
