/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/anthropic_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_anthropic;

enum { OUT_MAX = 64 * 1024 * 1024 };

/* --- recordings --------------------------------------------------------------------------- */

/* Arguments that are nothing may be said as {}, and between the tokens of JSON there may be blanks,
 * which other texts have too: of a body that is written from a stream. */
static void simplify(struct buf *text, bool blanks)
{
    static const struct str nothing = STR_INIT(" text={}\n");
    size_t n = 0;

    for (size_t i = 0; i < text->n; i++) {
        if (str_starts(str_from(buf_str(text), i), nothing))
            i += nothing.n - 1;
        if (!blanks || text->p[i] != ' ')
            text->p[n++] = text->p[i];
    }
    text->n = n;
}

/* What our bytes say is what the recorded ones say. */
static void expect_same(const struct trial *trial, struct str bytes, bool stream, size_t line)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct trial again;
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&again, &protocol_anthropic, bytes, &cuts);
    trial_digest(trial, true, &want);
    trial_digest(&again, true, &got);
    simplify(&want, !stream);
    simplify(&got, !stream);
    if (!str_eq(buf_str(&want), buf_str(&got)))
        fail_msg("line %zu, stream %d\n--- got\n%.*s\n--- want\n%.*s", line, stream,
                 STR_ARG(buf_str(&got)), STR_ARG(buf_str(&want)));
    trial_fini(&again);
    buf_fini(&want);
    buf_fini(&got);
}

static void encode_again(struct trial *trial, bool stream, bool same, size_t line)
{
    const struct encoder_options options = {.stream = stream, .same_protocol = same};
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial->frames[0].changed = true;
    if (trial_encode(trial, &protocol_anthropic, &options, &out, &e) != OK ||
        trial_lint(&protocol_anthropic, buf_str(&out), stream, &e) != OK)
        fail_msg("line %zu: %s\n%.*s", line, e.detail, STR_ARG(buf_str(&out)));
    if (same)
        expect_same(trial, buf_str(&out), stream, line);
    buf_fini(&out);
}

static void each_recording(void *ctx, const struct recording *recording)
{
    const struct trial_cuts cuts = {.stream = recording->stream};
    const struct encoder_options raw = {.stream = recording->stream, .same_protocol = true};
    size_t *count = ctx;
    struct trial trial;
    struct error e = {.code = OK};
    struct buf out;

    if (recording->status != 200)
        return;
    *count += 1;
    trial_decode(&trial, &protocol_anthropic, recording->body, &cuts);
    if (trial.error.code != OK || !trial_check(&trial, &e) ||
        !trial_is_raw(&trial, recording->body))
        fail_msg("line %zu: %s %s", recording->line, trial.error.detail, e.detail);

    buf_init(&out, OUT_MAX);
    assert_int_equal(trial_encode(&trial, &protocol_anthropic, &raw, &out, &e), OK);
    assert_true(str_eq(buf_str(&out), recording->body));
    if (trial_lint(&protocol_anthropic, buf_str(&out), recording->stream, &e) != OK)
        fail_msg("line %zu as it came: %s", recording->line, e.detail);
    buf_fini(&out);
    for (int i = 0; i < 4; i++)
        encode_again(&trial, i % 2 == 0, i / 2 == 0, recording->line);
    trial_fini(&trial);
}

/* Catches: a recorded answer that does not go through byte by byte, is read as no legal events, or
 * says something else, or nothing that the vendor's SDKs take, when we write it. */
static void test_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (recordings_each("anthropic_messages", each_recording, &count))
        assert_true(count > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recordings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
