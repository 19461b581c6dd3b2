/* SPDX-License-Identifier: MIT */
/*
 * What the client gets: raw to the byte, after a take-over at any frame a stream that is well
 * formed and says what the events say, and whole bodies. Over streams of our own in all forms, and
 * over all recordings where they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/gemini_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_gemini;

enum { OUT_MAX = 256 * 1024 * 1024, FORMS = 3, TAKEOVERS_MAX = 40 };

#define TAIL ",\"modelVersion\":\"m\",\"responseId\":\"r\"}"
#define PARTS(parts) \
    "{\"candidates\":[{\"content\":{\"parts\":[" parts "],\"role\":\"model\"},\"index\":0}]" TAIL
#define LAST(parts, word)                                                                    \
    "{\"candidates\":[{\"content\":{\"parts\":[" parts                                       \
    "],\"role\":\"model\"},\"finishReason\":\"" word                                         \
    "\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4," \
    "\"totalTokenCount\":18,\"cachedContentTokenCount\":3,\"thoughtsTokenCount\":5}" TAIL

enum { CHUNKS_MAX = 8 };

/* Responses of one answer, in any framing. */
static const char *const answers[][CHUNKS_MAX] = {
    {PARTS("{\"text\":\"one \"}"), PARTS("{\"text\":\"tw\\u00f6\\n\"}"),
     LAST("{\"text\":\"\"}", "STOP")},
    /* Thoughts, then text, then a thought again: separate blocks. */
    {PARTS("{\"text\":\"let me\",\"thought\":true}"), PARTS("{\"text\":\"a\"}"),
     PARTS("{\"text\":\"see\",\"thought\":true},{\"text\":\"b\",\"thoughtSignature\":\"QUJD\"}"),
     LAST("{\"text\":\"\",\"thoughtSignature\":\"REVG\"}", "MAX_TOKENS")},
    /* Parallel calls, the first one signed. */
    {PARTS("{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"x\":12345678901234567890}},"
           "\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"name\":\"g\"}}"),
     LAST("{\"text\":\"\"}", "STOP")},
    /* Pictures, code that ran, a tool of the vendor's. */
    {PARTS("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBO\"},"
           "\"thoughtSignature\":\"QUJD\"}"),
     PARTS("{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"print(1)\"}}"),
     PARTS("{\"codeExecutionResult\":{\"outcome\":\"OUTCOME_OK\",\"output\":\"1\\n\"}}"),
     PARTS("{\"toolCall\":{\"toolType\":\"x\",\"id\":\"1\"}}"),
     PARTS("{\"fileData\":{\"mimeType\":\"video/mp4\",\"fileUri\":\"https://f\"}}"),
     LAST("{\"text\":\"done\"}", "STOP")},
    /* The prompt was refused. */
    {"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":4,"
     "\"totalTokenCount\":4}" TAIL},
    /* Two candidates. */
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"content\":{\"parts\":[{"
     "\"text\":\"b\"}]},\"index\":1}]" TAIL,
     "{\"candidates\":[{\"finishReason\":\"STOP\"}]" TAIL,
     "{\"candidates\":[{\"finishReason\":\"SAFETY\",\"index\":1}]" TAIL},
    /* Log probabilities and sources. */
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"h\\u00e9\"}]},\"logprobsResult\":{"
     "\"chosenCandidates\":[{\"token\":\"h\\u00e9\",\"logProbability\":-0.5,\"tokenId\":7}],"
     "\"topCandidates\":[{\"candidates\":[{\"token\":\"h\\u00e9\",\"logProbability\":-0.5},{"
     "\"token\":\"x\",\"logProbability\":-2}]}]}}]" TAIL,
     "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"llo\"}]},\"finishReason\":\"STOP\","
     "\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"https://a\","
     "\"title\":\"A\"}}],"
     "\"groundingSupports\":[{\"segment\":{\"startIndex\":1,\"endIndex\":6},"
     "\"groundingChunkIndices\":[0]}]}}]" TAIL},
    /* Vertex: arguments in pieces. */
    {PARTS(
         "{\"functionCall\":{\"name\":\"f\",\"willContinue\":true},\"thoughtSignature\":\"QUJD\"}"),
     PARTS("{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.a\",\"stringValue\":\"x\","
           "\"willContinue\":true}],\"willContinue\":true}}"),
     PARTS("{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.a\",\"stringValue\":\"y\"},{"
           "\"jsonPath\":\"$.b[0].c\",\"numberValue\":1.50},{\"jsonPath\":\"$.b[1]\","
           "\"boolValue\":true},{\"jsonPath\":\"$['d.e']\",\"nullValue\":\"NULL_VALUE\"}],"
           "\"willContinue\":true}}"),
     PARTS("{\"functionCall\":{}}"), LAST("{\"text\":\"\"}", "STOP")},
};

static void frame_answer(const char *const *chunks, bool array, struct buf *out)
{
    for (size_t i = 0; i < CHUNKS_MAX && chunks[i] != NULL; i++) {
        if (array)
            buf_add(out, i == 0 ? STR("[") : STR(",\r\n"));
        buf_print(out, array ? "%s" : "data: %s\r\n\r\n", chunks[i]);
    }
    if (array)
        buf_add(out, STR("]\n"));
}

static enum error_code lint(struct str bytes, bool stream, bool array, size_t step, struct error *e)
{
    struct arena arena;
    struct gemini_lint state = {.line = 0};
    enum error_code code = OK;

    arena_init(&arena, OUT_MAX, 64 * 1024, NULL);
    gemini_lint_init(&state,
                     &(struct lint_options){.stream = stream, .array = array, .arena = &arena});
    for (; code == OK && bytes.n > step; bytes = str_from(bytes, step))
        code = gemini_lint_bytes(&state, str_head(bytes, step), false, e);
    if (code == OK)
        code = gemini_lint_bytes(&state, bytes, true, e);
    gemini_lint_fini(&state);
    arena_fini(&arena);
    return code;
}

static void expect_lint(struct str bytes, bool stream, bool array)
{
    struct error e;

    if (lint(bytes, stream, array, SIZE_MAX, &e) != OK)
        fail_msg("%s\n%.*s", e.detail, STR_ARG(bytes));
    if (bytes.n < 4096 && lint(bytes, stream, array, 1, &e) != OK)
        fail_msg("byte by byte: %s\n%.*s", e.detail, STR_ARG(bytes));
}

/* What the answer says, calls' ids that we made included. */
static void expect_says(const struct trial *want, struct str bytes, bool stream, bool array)
{
    const struct trial_cuts cuts = {.stream = stream, .array = array};
    struct trial got;
    struct error e;
    struct buf a;
    struct buf b;

    buf_init(&a, OUT_MAX);
    buf_init(&b, OUT_MAX);
    trial_decode(&got, &protocol_gemini, bytes, &cuts);
    if (got.error.code != OK || !trial_check(&got, &e))
        fail_msg("%s\n%.*s", got.error.detail, STR_ARG(bytes));
    trial_digest(want, true, &a);
    trial_digest(&got, true, &b);
    if (!str_eq(buf_str(&a), buf_str(&b)))
        fail_msg("%.*s\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(bytes), STR_ARG(buf_str(&b)),
                 STR_ARG(buf_str(&a)));
    trial_fini(&got);
    buf_fini(&a);
    buf_fini(&b);
}

static void encode(const struct trial *trial, const struct encoder_options *options,
                   struct buf *out)
{
    struct error e;

    if (trial_encode(trial, &protocol_gemini, options, out, &e) != OK)
        fail_msg("%s", e.detail);
}

/* A call's pieces went out raw before frame at: the client then gets it whole once more. */
static bool in_pieces(const struct trial *trial, size_t at)
{
    bool open = false;

    for (size_t i = 0; i < at; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            const struct event *event = &trial->frames[i].events[k];
            if (event->kind == EVENT_BLOCK_BEGIN)
                open = event->begin.kind == BLOCK_TOOL;
            else if (event->kind == EVENT_BLOCK_END)
                open = false;
        }
    }
    return open;
}

/* raw: the bytes themselves. Taken over at frame k: well formed, and says the same. */
static void check_takeovers(struct trial *trial, struct str bytes, bool array, bool well_formed)
{
    const struct encoder_options options = {.stream = true, .array = array, .same_protocol = true};
    size_t step = trial->n / TAKEOVERS_MAX + 1;
    struct buf out;

    buf_init(&out, OUT_MAX);
    encode(trial, &options, &out);
    assert_true(str_eq(buf_str(&out), bytes));
    for (size_t k = 0; k < trial->n; k += step) {
        buf_reset(&out);
        trial->frames[k].changed = true;
        encode(trial, &options, &out);
        trial->frames[k].changed = false;
        if (well_formed)
            expect_lint(buf_str(&out), true, array);
        if (!in_pieces(trial, k))
            expect_says(trial, buf_str(&out), true, array);
    }
    buf_fini(&out);
}

/* Catches: an error of ours in the midst of a stream that leaves an array open or stands behind its
 * end, and one that is taken for success. */
static void check_broken(const struct trial *trial, bool array, bool same)
{
    for (size_t n = 1; n <= trial->n; n++) {
        const struct trial_cuts cuts = {.stream = true, .array = array};
        struct arena answer;
        struct encoder_options options = {.stream = true,
                                          .array = array,
                                          .same_protocol = same,
                                          .arena = &answer,
                                          .bytes_max = OUT_MAX,
                                          .model = STR("m"),
                                          .id = STR("ours")};
        struct gemini_encoder enc = {.begun = false};
        struct error e = {.code = OK};
        struct trial got;
        struct buf out;

        buf_init(&out, OUT_MAX);
        arena_init(&answer, OUT_MAX, 1024, NULL);
        gemini_encode_init(&enc, &options);
        for (size_t i = 0; i < n; i++) {
            struct str raw;
            assert_int_equal(gemini_encode_frame(&enc, &trial->frames[i], &out, &raw, &e), OK);
            (void)buf_add(&out, raw);
        }
        bool over = enc.ended;
        (void)FAIL(&e, ERR_UPSTREAM_TIMEOUT, "it is late");
        gemini_encode_break(&enc, &e, &out);
        assert_true(over == (str_find(buf_str(&out), STR("it is late"), 0) == SIZE_MAX));
        if (!same)
            expect_lint(buf_str(&out), true, array);
        trial_decode(&got, &protocol_gemini, buf_str(&out), &cuts);
        assert_int_equal(got.error.code, OK);
        assert_true(trial_has(&got, EVENT_ERROR) != over);
        trial_fini(&got);
        gemini_encode_fini(&enc);
        arena_fini(&answer);
        buf_fini(&out);
    }
}

/* For a client of ours whose upstream was another protocol's: vendors' parts are left out, all else
 * is said. */
static void check_forms(const struct trial *trial, bool vendor)
{
    static const struct encoder_options forms[FORMS] = {{.stream = true},
                                                        {.stream = true, .array = true},
                                                        {.stream = false}};
    struct buf out;

    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < FORMS; i++) {
        buf_reset(&out);
        encode(trial, &forms[i], &out);
        expect_lint(buf_str(&out), forms[i].stream, forms[i].array);
        if (!vendor)
            expect_says(trial, buf_str(&out), forms[i].stream, forms[i].array);
    }
    buf_fini(&out);
}

static bool has_vendor(const struct trial *trial)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            const struct event *event = &trial->frames[i].events[k];
            if (event->kind == EVENT_BLOCK_BEGIN && event->begin.kind == BLOCK_VENDOR)
                return true;
        }
    }
    return false;
}

static void test_answers(void **state)
{
    struct trial trial;
    struct error e;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        for (int array = 0; array <= 1; array++) {
            const struct trial_cuts cuts = {.stream = true, .array = array == 1};
            buf_reset(&bytes);
            frame_answer(answers[i], array == 1, &bytes);
            trial_decode(&trial, &protocol_gemini, buf_str(&bytes), &cuts);
            assert_int_equal(trial.error.code, OK);
            if (!trial_check(&trial, &e))
                fail_msg("%zu: %s", i, e.detail);
            assert_true(trial_is_raw(&trial, buf_str(&bytes)));
            expect_lint(buf_str(&bytes), true, array == 1);
            check_takeovers(&trial, buf_str(&bytes), array == 1, true);
            check_forms(&trial, has_vendor(&trial));
            check_broken(&trial, array == 1, true);
            check_broken(&trial, array == 1, false);
            trial_fini(&trial);
        }
    }
    buf_fini(&bytes);
}

/* --- answers of another protocol ---------------------------------------------------------- */

#define CHAT(message, finish)                                                                   \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"g\",\"choices\":[{" \
    "\"index\":0,\"message\":{\"role\":\"assistant\"," message "},\"finish_reason\":\"" finish  \
    "\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}"
#define CALLED(args)                                                                       \
    "\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{" \
    "\"name\":\"f\",\"arguments\":\"" args "\"}}]"

static void test_other_protocols(void **state)
{
    static const struct {
        const char *body;
        const char *want;
    } cases[] = {
        {CHAT("\"content\":\"h\u00e9llo\",\"annotations\":[{\"type\":\"url_citation\","
              "\"url_citation\":{"
              "\"url\":\"https://a\",\"title\":\"A\",\"start_index\":1,\"end_index\":5}},{\"type\":"
              "\"url_citation\",\"url_citation\":{\"url\":\"https://b\"}}]",
              "stop"),
         "\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"https://a\","
         "\"title\":\"A\"}}"
         ",{\"web\":{\"uri\":\"https://b\"}}],"
         "\"groundingSupports\":[{\"segment\":{\"startIndex\":1,"
         "\"endIndex\":6},\"groundingChunkIndices\":[0]}]}"},
        {CHAT(CALLED("{\\\"a\\\": 1.50}"), "tool_calls"), "\"args\":{\"a\":1.50}"},
        {CHAT(CALLED(""), "tool_calls"), "\"args\":{}"},
        {CHAT(CALLED("[1]"), "tool_calls"), "\"args\":{\"value\":[1]}"},
        {CHAT(CALLED("{\\\"a"), "tool_calls"), "\"args\":{\"_invalid_json\":\"{\\\"a\"}"},
        {CHAT("\"content\":null,\"refusal\":\"No.\"", "stop"), "{\"text\":\"No.\"}"},
        {CHAT("\"content\":\"a\"", "length"), "\"finishReason\":\"MAX_TOKENS\""},
        {CHAT("\"content\":\"a\"", "content_filter"), "\"finishReason\":\"SAFETY\""},
        {CHAT("\"content\":\"a\"", "stop"),
         "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,"
         "\"totalTokenCount\":5}"},
    };
    static const struct encoder_options forms[FORMS] = {{.stream = true},
                                                        {.stream = true, .array = true},
                                                        {.stream = false}};
    const struct trial_cuts cuts = {.stream = false};
    struct trial trial;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        trial_decode(&trial, protocol_find(STR("openai-chat")), str_c(cases[i].body), &cuts);
        assert_int_equal(trial.error.code, OK);
        for (size_t k = 0; k < FORMS; k++) {
            buf_reset(&out);
            encode(&trial, &forms[k], &out);
            expect_lint(buf_str(&out), forms[k].stream, forms[k].array);
            if (str_find(buf_str(&out), str_c(cases[i].want), 0) == SIZE_MAX)
                fail_msg("%s\nnot in\n%.*s", cases[i].want, STR_ARG(buf_str(&out)));
        }
        trial_fini(&trial);
    }
    buf_fini(&out);
}

/* Catches: a signature that SDKs cannot decode. */
static void test_signatures(void **state)
{
    static const struct {
        const char *said;
        const char *want; /* NULL: none */
    } cases[] = {
        {"QUJD", "\"thoughtSignature\":\"QUJD\""},
        {"QUI", "\"thoughtSignature\":\"QUI=\""},
        {"Q_-", "\"thoughtSignature\":\"Q/+=\""},
        {"QQ", "\"thoughtSignature\":\"QQ==\""},
        {"QUJDQ", NULL},
        {"Q", NULL},
        {"QU!D", NULL},
    };
    const struct trial_cuts cuts = {.stream = true};
    const struct encoder_options options = {.stream = true};
    struct trial trial;
    struct buf in;
    struct buf out;

    (void)state;
    buf_init(&in, OUT_MAX);
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        buf_reset(&in);
        buf_reset(&out);
        buf_print(&in,
                  "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":"
                  "\"f\"},\"thoughtSignature\":\"%s\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n",
                  cases[i].said);
        trial_decode(&trial, &protocol_gemini, buf_str(&in), &cuts);
        encode(&trial, &options, &out);
        expect_lint(buf_str(&out), true, false);
        struct str want = cases[i].want == NULL ? STR("thoughtSignature") : str_c(cases[i].want);
        if ((str_find(buf_str(&out), want, 0) == SIZE_MAX) != (cases[i].want == NULL))
            fail_msg("%s: %.*s", cases[i].said, STR_ARG(buf_str(&out)));
        trial_fini(&trial);
    }
    buf_fini(&in);
    buf_fini(&out);
}

/* --- recordings --------------------------------------------------------------------------- */

struct seen {
    size_t streams;
    size_t arrays;
    size_t bodies;
    size_t errors;
};

static void check_recording(void *ctx, const struct recording *recording)
{
    struct seen *seen = ctx;
    bool array = recording->stream && str_starts(recording->body, STR("["));
    const struct trial_cuts cuts = {.stream = recording->stream, .array = array};
    struct trial trial;
    struct error e;

    if (recording->status != 200 || recording->body.n == 0) {
        seen->errors++;
        return;
    }
    trial_decode(&trial, &protocol_gemini, recording->body, &cuts);
    if (!trial_check(&trial, &e))
        fail_msg("recording %zu: %s", recording->line, e.detail);
    if (trial.error.code != OK) {
        printf("recording %zu: %s\n", recording->line, trial.error.detail);
        trial_fini(&trial);
        return;
    }
    assert_true(trial_is_raw(&trial, recording->body));
    if (recording->stream)
        check_takeovers(&trial, recording->body, array, true);
    check_forms(&trial, has_vendor(&trial));
    *(array ? &seen->arrays : recording->stream ? &seen->streams : &seen->bodies) += 1;
    trial_fini(&trial);
}

static void test_recordings(void **state)
{
    struct seen seen = {.streams = 0};

    (void)state;
    if (!recordings_each("gemini_generate", check_recording, &seen))
        skip();
    printf("%zu streams, %zu arrays, %zu bodies, %zu errors\n", seen.streams, seen.arrays,
           seen.bodies, seen.errors);
    assert_true(seen.streams >= 80 && seen.arrays >= 10 && seen.bodies >= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_other_protocols),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_recordings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
