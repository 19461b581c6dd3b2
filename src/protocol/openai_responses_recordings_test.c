/* SPDX-License-Identifier: MIT */
/* Every recorded answer of the Responses API, through decoder and encoder in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"
#include "protocol/recordings_for_test.h"

enum { OUT_MAX = 256 * 1024 * 1024, CUTS_MAX = 120 };

struct tally {
    size_t n;
    size_t streams;
    size_t strict; /* streams whose own bytes pass the checker */
    size_t taken_over;
};

static void expect_same(const struct recording *recording, const char *what, struct str got,
                        struct str want)
{
    if (str_eq(got, want))
        return;
    printf("--- got\n%.*s\n--- want\n%.*s\n", STR_ARG(got), STR_ARG(want));
    fail_msg("line %zu (%.*s): %s", recording->line, STR_ARG(recording->provider), what);
}

/* How they were cut does not matter. */
static void join_logprobs(struct buf *digest)
{
    const struct str seam = STR("]}{\"content\":[");
    struct str rest = buf_str(digest);
    struct buf joined;

    buf_init(&joined, OUT_MAX);
    for (size_t at; (at = str_find(rest, seam, 0)) != SIZE_MAX;
         rest = str_from(rest, at + seam.n)) {
        buf_add(&joined, str_head(rest, at));
        buf_add_char(&joined, ',');
    }
    buf_add(&joined, rest);
    buf_reset(digest);
    buf_add(digest, buf_str(&joined));
    buf_fini(&joined);
}

static void at_least_zero(int64_t *count)
{
    *count = *count < 0 ? 0 : *count;
}

/* Clients insist on numbers: what the upstream did not say is 0 to them. */
static void digest_of(const struct trial *trial, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            struct event *event = &trial->frames[i].events[k];
            if (event->kind != EVENT_USAGE)
                continue;
            at_least_zero(&event->usage.cached);
            at_least_zero(&event->usage.cache_written);
            at_least_zero(&event->usage.reasoning);
        }
    }
    buf_reset(out);
    trial_digest(trial, true, out);
    join_logprobs(out);
}

/* Decoded again, it says the same. */
static void expect_says(const struct recording *recording, const char *what, struct str bytes,
                        bool stream, const struct trial *original)
{
    struct trial again;
    struct buf got;
    struct buf want;
    struct error e;

    buf_init(&got, OUT_MAX);
    buf_init(&want, OUT_MAX);
    trial_decode(&again, responses(), bytes, &(struct trial_cuts){.stream = stream});
    if (again.error.code != original->error.code || !trial_check(&again, &e)) {
        printf("%.*s\n", STR_ARG(bytes));
        fail_msg("line %zu: %s: %s", recording->line, what, again.error.detail);
    }
    digest_of(original, &want);
    digest_of(&again, &got);
    expect_same(recording, what, buf_str(&got), buf_str(&want));
    trial_fini(&again);
    buf_fini(&got);
    buf_fini(&want);
}

static void encode(struct trial *trial, const struct encoder_options *options, size_t from,
                   struct buf *out)
{
    struct error e;

    buf_reset(out);
    trial_change_from(trial, from);
    if (trial_encode(trial, responses(), options, out, &e) != OK)
        fail_msg("%s", e.detail);
}

static void expect_lint(const struct recording *recording, const char *what, struct str bytes,
                        bool stream)
{
    struct error e;

    if (trial_lint(responses(), bytes, stream, &e) != OK) {
        printf("%.*s\n", STR_ARG(bytes));
        fail_msg("line %zu: %s: %s", recording->line, what, e.detail);
    }
}

static bool is_strict(struct str bytes)
{
    struct error e;

    return trial_lint(responses(), bytes, true, &e) == OK;
}

static void check_take_over(const struct recording *recording, struct trial *trial, bool strict,
                            struct buf *out, struct tally *tally)
{
    const struct encoder_options same = {.stream = true, .same_protocol = true};
    size_t step = trial->n / CUTS_MAX + 1;

    for (size_t from = 0; from < trial->n; from += step) {
        encode(trial, &same, from, out);
        if (strict)
            expect_lint(recording, "take-over", buf_str(out), true);
        expect_says(recording, "take-over", buf_str(out), true, trial);
        tally->taken_over++;
    }
}

/* Deltas that are not parsed say what they would say. */
static void check_templates(const struct recording *recording, const struct trial *trial)
{
    struct trial other;
    struct buf bytes;
    struct buf got;
    struct buf want;

    buf_init(&bytes, OUT_MAX);
    buf_init(&got, OUT_MAX);
    buf_init(&want, OUT_MAX);
    forgetful(recording->body, &bytes);
    trial_decode(&other, responses(), buf_str(&bytes), &(struct trial_cuts){.stream = true});
    trial_events(trial, &want);
    trial_events(&other, &got);
    expect_same(recording, "without templates", buf_str(&got), buf_str(&want));
    trial_fini(&other);
    buf_fini(&bytes);
    buf_fini(&got);
    buf_fini(&want);
}

static void check_stream(const struct recording *recording, struct trial *trial,
                         struct tally *tally)
{
    const struct encoder_options same = {.stream = true, .same_protocol = true};
    struct buf out;
    bool strict = is_strict(recording->body);

    check_templates(recording, trial);
    buf_init(&out, OUT_MAX);
    encode(trial, &same, SIZE_MAX, &out);
    expect_same(recording, "raw", buf_str(&out), recording->body);
    if (!trial_has(trial, EVENT_ERROR))
        check_take_over(recording, trial, strict, &out, tally);
    tally->streams++;
    tally->strict += strict;
    buf_fini(&out);
}

static void check(void *ctx, const struct recording *recording)
{
    struct tally *tally = ctx;
    const struct encoder_options stream = {.stream = true, .same_protocol = false};
    const struct encoder_options whole = {.stream = false, .same_protocol = false};
    const struct encoder_options vendor = {.stream = false, .same_protocol = true};
    struct trial trial;
    struct error e;
    struct buf out;

    if (recording->status != 200)
        return;
    trial_decode(&trial, responses(), recording->body,
                 &(struct trial_cuts){.stream = recording->stream});
    if (trial.error.code != OK || !trial_check(&trial, &e))
        fail_msg("line %zu: %s %s", recording->line, trial.error.detail, e.detail);
    buf_init(&out, OUT_MAX);
    if (recording->stream)
        check_stream(recording, &trial, tally);
    encode(&trial, &stream, SIZE_MAX, &out);
    expect_lint(recording, "encoded", buf_str(&out), true);
    encode(&trial, &whole, SIZE_MAX, &out);
    expect_lint(recording, "collected", buf_str(&out), false);
    encode(&trial, &vendor, 0, &out);
    expect_lint(recording, "collected for its vendor", buf_str(&out), false);
    if (!trial_has(&trial, EVENT_ERROR))
        expect_says(recording, "collected for its vendor", buf_str(&out), false, &trial);
    tally->n++;
    buf_fini(&out);
    trial_fini(&trial);
}

static void test_recordings(void **state)
{
    struct tally tally = {.n = 0};

    (void)state;
    if (!recordings_each("openai_responses", check, &tally))
        skip();
    printf("%zu answers, %zu streams (%zu strict), %zu take-overs\n", tally.n, tally.streams,
           tally.strict, tally.taken_over);
    assert_true(tally.n > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recordings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
