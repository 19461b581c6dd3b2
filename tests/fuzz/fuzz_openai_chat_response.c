/* SPDX-License-Identifier: MIT */
/*
 * openai_chat_decode_bytes, openai_chat_encode_frame, openai_chat_encode_end.
 *
 * The first byte says what the rest is: 'w' and 'W' a whole body, anything else a stream; 'W' and
 * capital letters: of a vendor whose raw answers are mended, by its lowest bits with a dialect.
 * Oracles: templates on = templates off; any cut = none; canon/check; raw frames are the input;
 * what we encode passes the checker of streams, and says the same when it is decoded again. Of
 * mends: any cut = none, templates on = off; what was mended is complete and is not mended again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/openai_chat_lint.h"
#include "protocol/openai_chat_decode_priv.h"
#include "protocol/trial.h"

enum { OUT_MAX = 64 * 1024 * 1024, SHORT = 1024 };

extern const struct protocol protocol_openai_chat;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, struct str got, struct str want)
{
    fprintf(stderr, "%s\n--- got\n%.*s\n--- want\n%.*s\n", what, STR_ARG(got), STR_ARG(want));
    abort();
}

static void expect_equal(const char *what, const struct buf *got, const struct buf *want)
{
    if (!str_eq(buf_str(got), buf_str(want)))
        fail(what, buf_str(got), buf_str(want));
}

static void templates_off(void *decoder)
{
    struct openai_chat_decoder *d = decoder;

    d->templates_off = true;
}

static void check_laws(struct str bytes, bool stream)
{
    static const struct trial_cuts others[] = {{.step = 0},
                                               {.step = 1},
                                               {.step = 7, .seed = 12345},
                                               {.step = 200, .seed = 7}};
    struct trial_cuts cuts = {.stream = stream, .prepare = templates_off};
    struct trial trial;
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
    trial_dump(&trial, &want);
    trial_fini(&trial);
    for (size_t i = 0; i < COUNT_OF(others) && stream; i++) {
        cuts = others[i];
        cuts.stream = true;
        /* Byte by byte costs a call a byte: of long inputs the random cuts must do. */
        if (cuts.step == 1 && bytes.n > SHORT)
            continue;
        buf_reset(&got);
        trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
        trial_dump(&trial, &got);
        trial_fini(&trial);
        expect_equal("laws", &got, &want);
    }
    buf_fini(&want);
    buf_fini(&got);
}

/* A frame's bytes may be others, and depend on nothing else. */
static void check_mends(struct str bytes, bool stream, uint8_t which)
{
    const struct dialect dialect = {
        .usage_reasoning_excluded = (which & 1) != 0,
        .usage_cached_excluded = (which & 2) != 0,
    };
    const struct trial_cuts all[] = {{.step = 0, .prepare = templates_off},
                                     {.step = 0},
                                     {.step = 3, .seed = 99},
                                     {.step = 100, .seed = 5}};
    struct trial trial;
    struct trial again;
    struct error e;
    struct buf want;
    struct buf got;
    struct buf raw;
    struct buf bytes_again;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    buf_init(&raw, OUT_MAX);
    buf_init(&bytes_again, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(all) && (stream || i < 2); i++) {
        struct trial_cuts cuts = all[i];
        cuts.stream = stream;
        cuts.mend = true;
        cuts.dialect = &dialect;
        buf_reset(&got);
        trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
        trial_dump(&trial, i == 0 ? &want : &got);
        if (i == 0 && !trial_check(&trial, &e))
            fail("check of mends", str_c(e.detail), bytes);
        if (i == 0 && trial.error.code == OK) {
            cuts = (struct trial_cuts){.stream = stream, .mend = true, .dialect = &dialect};
            trial_raw(&trial, &raw);
            trial_decode(&again, &protocol_openai_chat, buf_str(&raw), &cuts);
            trial_raw(&again, &bytes_again);
            if (again.error.code != OK)
                fail("mended is not complete", str_c(again.error.detail), buf_str(&raw));
            expect_equal("mended twice", &bytes_again, &raw);
            trial_fini(&again);
        }
        trial_fini(&trial);
        if (i > 0)
            expect_equal("mends and cuts", &got, &want);
    }
    buf_fini(&want);
    buf_fini(&got);
    buf_fini(&raw);
    buf_fini(&bytes_again);
}

/* As a stream of ours for any client: well formed. */
static void check_lint(const struct trial *trial)
{
    const struct encoder_options options = {.stream = true};
    /* An upstream's call may have no name at all, or any id. */
    const uint32_t excused = 1u << OPENAI_CHAT_LINT_TOOL_BEGIN;
    struct buf out;
    struct buf names;
    struct error e;

    buf_init(&out, OUT_MAX);
    buf_init(&names, OUT_MAX);
    if (trial_encode(trial, &protocol_openai_chat, &options, &out, &e) != OK)
        abort();
    uint32_t broken = openai_chat_lint(buf_str(&out), false) & ~excused;
    openai_chat_lint_print(broken, &names);
    if (broken != 0)
        fail("lint", buf_str(&out), buf_str(&names));
    buf_fini(&names);
    buf_fini(&out);
}

/* Whether an upstream gave one id to two calls: what is read from what we make of it then is not
 * what it said, as ids must differ. */
static bool repeats_an_id(struct str digest)
{
    const struct str begin = STR("\"id\":\"");

    for (size_t at = 0; (at = str_find(digest, begin, at)) != SIZE_MAX; at += begin.n) {
        size_t end = str_find_char(digest, '"', at + begin.n);
        if (end == SIZE_MAX)
            break;
        struct str whole = str_of(digest.p + at, end + 1 - at);
        if (str_find(digest, whole, end) != SIZE_MAX)
            return true;
    }
    return false;
}

/* What says that it is no image is none of a message's images. */
static bool has_odd_image(struct str digest)
{
    const struct str begin = STR("\"media_type\":\"");
    const struct str right = STR("image/");

    for (size_t at = 0; (at = str_find(digest, begin, at)) != SIZE_MAX; at += begin.n) {
        if (!str_starts(str_from(digest, at + begin.n), right))
            return true;
    }
    return false;
}

/* Taken over from the first frame on: says the same. */
static void check_says_the_same(struct trial *trial)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    const struct trial_cuts cuts = {.stream = true};
    struct trial again;
    struct error e;
    struct buf out;
    struct buf want;
    struct buf got;

    buf_init(&out, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial->frames[0].changed = true;
    if (trial_encode(trial, &protocol_openai_chat, &options, &out, &e) != OK)
        abort();
    trial_decode(&again, &protocol_openai_chat, buf_str(&out), &cuts);
    if (again.error.code != OK)
        fail("decoded again", str_c(again.error.detail), buf_str(&out));
    trial_digest(trial, false, &want);
    trial_digest(&again, false, &got);
    if (!repeats_an_id(buf_str(&want)) && !has_odd_image(buf_str(&want)))
        expect_equal("says", &got, &want);
    trial_fini(&again);
    buf_fini(&out);
    buf_fini(&want);
    buf_fini(&got);
}

static void check_collected(const struct trial *trial)
{
    const struct encoder_options options = {.stream = false};
    const struct trial_cuts cuts = {.stream = false};
    struct trial again;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    enum error_code code = trial_encode(trial, &protocol_openai_chat, &options, &out, &e);
    /* The terminator alone ends a stream; a body has a choice, or is an error. */
    bool empty = !trial_has(trial, EVENT_BLOCK_BEGIN) && !trial_has(trial, EVENT_STOP);
    if (code != OK && !(empty && code == ERR_UPSTREAM_BROKEN))
        abort();
    if (code != OK) {
        buf_fini(&out);
        return;
    }
    trial_decode(&again, &protocol_openai_chat, buf_str(&out), &cuts);
    if (again.error.code != OK || !trial_check(&again, &e))
        fail("collected", str_c(again.error.detail), buf_str(&out));
    trial_fini(&again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trial trial;
    struct error e;

    if (size < 2)
        return 0;
    bool stream = data[0] != 'w' && data[0] != 'W';
    struct str bytes = str_of((const char *)data + 1, size - 1);
    const struct trial_cuts cuts = {.stream = stream};

    if (data[0] >= 'A' && data[0] <= 'Z') {
        check_mends(bytes, stream, data[0]);
        return 0;
    }
    check_laws(bytes, stream);
    trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
    if (!trial_check(&trial, &e))
        fail("check", str_c(e.detail), bytes);
    if (!trial_is_raw(&trial, bytes))
        fail("raw", bytes, STR(""));
    if (trial.error.code == OK) {
        check_lint(&trial);
        check_collected(&trial);
        check_says_the_same(&trial);
    }
    trial_fini(&trial);
    return 0;
}
