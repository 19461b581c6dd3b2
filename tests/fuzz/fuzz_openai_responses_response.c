/* SPDX-License-Identifier: MIT */
/*
 * The decoder and encoder of the Responses API.
 *
 * The first byte says what the rest is: 'w' a whole body, anything else a stream.
 * Oracles: any cut = none; templates = none; canon/check; raw frames are the input; what we encode
 * passes the checker of streams and of bodies, and is complete when it is decoded again; taken over
 * anywhere it does not fail.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/openai_responses_for_test.h"

enum { OUT_MAX = 64 * 1024 * 1024, SHORT = 2048, TAKE_OVERS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, struct str got, struct str want)
{
    fprintf(stderr, "%s\n--- got\n%.*s\n--- want\n%.*s\n", what, STR_ARG(got), STR_ARG(want));
    abort();
}

static void check_cuts(struct str bytes, const struct trial *trial)
{
    static const size_t steps[] = {1, 7, 200};
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_dump(trial, &want);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct trial other;
        if (steps[i] == 1 && bytes.n > SHORT)
            continue;
        buf_reset(&got);
        trial_decode(&other, responses(), bytes,
                     &(struct trial_cuts){.stream = true, .step = steps[i]});
        trial_dump(&other, &got);
        trial_fini(&other);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            fail("cut", buf_str(&got), buf_str(&want));
    }
    buf_fini(&want);
    buf_fini(&got);
}

static void check_templates(struct str bytes, const struct trial *trial)
{
    struct trial other;
    struct buf more;
    struct buf want;
    struct buf got;

    buf_init(&more, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    forgetful(bytes, &more);
    trial_decode(&other, responses(), buf_str(&more), &(struct trial_cuts){.stream = true});
    trial_events(trial, &want);
    trial_events(&other, &got);
    trial_fini(&other);
    if (!str_eq(buf_str(&got), buf_str(&want)))
        fail("templates", buf_str(&got), buf_str(&want));
    buf_fini(&more);
    buf_fini(&want);
    buf_fini(&got);
}

/* As ours for any client. */
static void check_encoded(struct trial *trial, bool stream, bool same)
{
    const struct encoder_options options = {.stream = stream, .same_protocol = same};
    struct trial again;
    struct error e = {.code = OK};
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial_change_from(trial, 0);
    if (trial_encode(trial, responses(), &options, &out, &e) != OK)
        fail("encode", str_c(e.detail), STR(""));
    /* To its own clients a vendor's items go in its own words, whatever they are. */
    if (!same && trial_lint(responses(), buf_str(&out), stream, &e) != OK)
        fail("lint", buf_str(&out), str_c(e.detail));
    trial_decode(&again, responses(), buf_str(&out), &(struct trial_cuts){.stream = stream});
    if (again.error.code != OK || !trial_check(&again, &e))
        fail("decoded again", str_c(again.error.detail), buf_str(&out));
    trial_fini(&again);
    buf_fini(&out);
}

static void check_take_overs(struct trial *trial)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    size_t step = trial->n / TAKE_OVERS + 1;

    for (size_t from = 0; from < trial->n; from += step) {
        struct error e = {.code = OK};
        struct buf out;
        buf_init(&out, OUT_MAX);
        trial_change_from(trial, from);
        if (trial_encode(trial, responses(), &options, &out, &e) != OK)
            fail("take-over", str_c(e.detail), STR(""));
        buf_fini(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trial trial;
    struct error e = {.code = OK};

    if (size < 2)
        return 0;
    bool stream = data[0] != 'w';
    struct str bytes = str_of((const char *)data + 1, size - 1);

    trial_decode(&trial, responses(), bytes, &(struct trial_cuts){.stream = stream});
    if (!trial_check(&trial, &e))
        fail("check", str_c(e.detail), bytes);
    if (stream) {
        check_cuts(bytes, &trial);
        if (!trial_is_raw(&trial, bytes))
            fail("raw", bytes, STR(""));
        check_templates(bytes, &trial);
        check_take_overs(&trial);
    }
    if (trial.error.code == OK) {
        check_encoded(&trial, true, false);
        check_encoded(&trial, false, false);
        check_encoded(&trial, true, true);
    }
    trial_fini(&trial);
    return 0;
}
