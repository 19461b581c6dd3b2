/* SPDX-License-Identifier: MIT */
/*
 * gemini_decode_bytes, gemini_encode_frame, gemini_encode_end, gemini_lint_bytes.
 *
 * The first byte says what the rest is: 'w' a whole body, 'a' a JSON array, anything else events.
 * Oracles: any cut = none; canon/check; raw frames are the input; what we encode for clients in all
 * forms passes the checker; what is taken over is a complete answer when it is read again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/gemini_priv.h"
#include "protocol/trial.h"

enum { OUT_MAX = 64 * 1024 * 1024, SHORT = 1024 };

extern const struct protocol protocol_gemini;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, struct str got, struct str want)
{
    fprintf(stderr, "%s\n--- got\n%.*s\n--- want\n%.*s\n", what, STR_ARG(got), STR_ARG(want));
    abort();
}

static void check_cuts(struct str bytes, const struct trial_cuts *whole)
{
    static const struct trial_cuts others[] = {{.step = 1},
                                               {.step = 7, .seed = 12345},
                                               {.step = 200, .seed = 7}};
    struct trial trial;
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&trial, &protocol_gemini, bytes, whole);
    trial_dump(&trial, &want);
    trial_fini(&trial);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct trial_cuts cuts = others[i];
        cuts.stream = true;
        cuts.array = whole->array;
        if (cuts.step == 1 && bytes.n > SHORT)
            continue;
        buf_reset(&got);
        trial_decode(&trial, &protocol_gemini, bytes, &cuts);
        trial_dump(&trial, &got);
        trial_fini(&trial);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            fail("cuts", buf_str(&got), buf_str(&want));
    }
    buf_fini(&want);
    buf_fini(&got);
}

static void lint(struct str bytes, const struct encoder_options *options)
{
    struct gemini_lint state = {.line = 0};
    struct arena arena;
    struct error e;

    arena_init(&arena, OUT_MAX, 64 * 1024, NULL);
    gemini_lint_init(&state, &(struct lint_options){.stream = options->stream,
                                                    .array = options->array,
                                                    .arena = &arena});
    /* An upstream's calls may have no name, or the same id twice. */
    if (gemini_lint_bytes(&state, bytes, true, &e) != OK &&
        str_find(str_c(e.detail), STR("ids of calls"), 0) == SIZE_MAX)
        fail("lint", bytes, str_c(e.detail));
    gemini_lint_fini(&state);
    arena_fini(&arena);
}

static void check_forms(const struct trial *trial)
{
    static const struct encoder_options forms[] = {{.stream = true},
                                                   {.stream = true, .array = true},
                                                   {.stream = false}};
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        buf_reset(&out);
        if (trial_encode(trial, &protocol_gemini, &forms[i], &out, &e) != OK)
            abort();
        lint(buf_str(&out), &forms[i]);
    }
    buf_fini(&out);
}

static void check_taken_over(struct trial *trial)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    const struct trial_cuts cuts = {.stream = true};
    struct trial again;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial->frames[0].changed = true;
    if (trial_encode(trial, &protocol_gemini, &options, &out, &e) != OK)
        abort();
    trial_decode(&again, &protocol_gemini, buf_str(&out), &cuts);
    if (again.error.code != OK || !trial_check(&again, &e))
        fail("decoded again", str_c(again.error.detail), buf_str(&out));
    trial_fini(&again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trial trial;
    struct error e;

    if (size < 2)
        return 0;
    const struct trial_cuts cuts = {.stream = data[0] != 'w', .array = data[0] == 'a'};
    struct str bytes = str_of((const char *)data + 1, size - 1);

    if (cuts.stream)
        check_cuts(bytes, &cuts);
    trial_decode(&trial, &protocol_gemini, bytes, &cuts);
    if (!trial_check(&trial, &e))
        fail("check", str_c(e.detail), bytes);
    if (!trial_is_raw(&trial, bytes) && trial.n > 0)
        fail("raw", bytes, STR(""));
    if (trial.error.code == OK && trial.n > 0) {
        check_forms(&trial);
        check_taken_over(&trial);
    }
    trial_fini(&trial);
    return 0;
}
