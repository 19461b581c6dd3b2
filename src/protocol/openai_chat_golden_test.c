/* SPDX-License-Identifier: MIT */
/*
 * Walks tests/golden/openai_chat: a folder is a case, its files say what it tests.
 *
 *   in.json      a client's request:   canon.json  what it says (canon/dump)
 *                                      out.json    encoded again from that
 *                                      error.txt   or why it is refused
 *   stream.sse   an upstream's stream: events.jsonl, out.sse as chunks of ours with usage, and
 *                                      out.json, collected
 *   body.json    an upstream's body:   the same three
 *
 * GOLDEN=write in the environment writes what is expected, to be looked at before it is kept.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/openai_chat_lint.h"
#include "protocol/openai_chat_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_openai_chat;

#define ROOT "tests/golden/openai_chat"

enum { OUT_MAX = 16 * 1024 * 1024, PATH_SIZE = 512, DEPTH_MAX = 64 };

struct golden {
    const char *name;
    struct arena arena;
    size_t compared;
};

static struct str golden_read(struct golden *golden, const char *file)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), ROOT "/%s/%s", golden->name, file);
    return recordings_read_file(path, &golden->arena);
}

static void golden_write(const struct golden *golden, const char *file, struct str text)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), ROOT "/%s/%s", golden->name, file);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(text.p, 1, text.n, out), text.n);
    assert_int_equal(fclose(out), 0);
}

static void golden_expect(struct golden *golden, const char *file, const struct buf *got)
{
    if (getenv("GOLDEN") != NULL)
        golden_write(golden, file, buf_str(got));
    struct str want = golden_read(golden, file);
    if (!str_eq(want, buf_str(got)))
        fail_msg("%s/%s\n--- got\n%.*s\n--- want\n%.*s", golden->name, file, STR_ARG(buf_str(got)),
                 STR_ARG(want));
    golden->compared++;
}

/* --- requests ----------------------------------------------------------------------------- */

static enum error_code read_request(struct golden *golden, struct str text, struct request *request,
                                    struct error *e)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX};

    TRY(openai_chat_request_decode(text, &limits, &golden->arena, request, e));
    return openai_chat_request_decode_full(request, &limits, &golden->arena, e);
}

static void golden_request(struct golden *golden, struct str in)
{
    const struct encode_request how = {.same_protocol = false};
    struct request request;
    struct wire wire;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    if (read_request(golden, in, &request, &e) != OK) {
        buf_print(&out, "%s: %s\n", error_name(e.code), e.detail);
        golden_expect(golden, "error.txt", &out);
        buf_fini(&out);
        return;
    }
    dump_request(&out, &request);
    golden_expect(golden, "canon.json", &out);

    buf_reset(&out);
    assert_int_equal(openai_chat_upstream_encode(&request, &how, &golden->arena, &wire, &e), OK);
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(&out, wire.body[i]);
    assert_int_equal(out.n, wire.body_bytes);
    golden_expect(golden, "out.json", &out);
    buf_fini(&out);
}

/* --- answers ------------------------------------------------------------------------------ */

static void golden_encode(struct golden *golden, const struct trial *trial, bool stream)
{
    const struct encoder_options options = {.stream = stream, .include_usage = true};
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(trial_encode(trial, &protocol_openai_chat, &options, &out, &e), OK);
    /* Not every upstream says usage, nor each call's name. */
    const uint32_t excused = 1u << OPENAI_CHAT_LINT_USAGE | 1u << OPENAI_CHAT_LINT_TOOL_BEGIN;
    if (stream && trial->error.code == OK)
        assert_int_equal(openai_chat_lint(buf_str(&out), true) & ~excused, 0);
    golden_expect(golden, stream ? "out.sse" : "out.json", &out);
    buf_fini(&out);
}

static void golden_answer(struct golden *golden, struct str bytes, bool stream)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct trial trial;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
    if (!trial_check(&trial, &e))
        fail_msg("%s: %s", golden->name, e.detail);
    trial_events(&trial, &out);
    if (trial.error.code != OK)
        buf_print(&out, "%s: %s\n", error_name(trial.error.code), trial.error.detail);
    golden_expect(golden, "events.jsonl", &out);
    buf_fini(&out);
    golden_encode(golden, &trial, true);
    if (trial.error.code == OK)
        golden_encode(golden, &trial, false);
    trial_fini(&trial);
}

static void golden_case(const char *name, size_t *count)
{
    struct golden golden = {.name = name};

    arena_init(&golden.arena, 64 * 1024 * 1024, 16 * 1024, NULL);
    struct str in = golden_read(&golden, "in.json");
    struct str stream = golden_read(&golden, "stream.sse");
    struct str body = golden_read(&golden, "body.json");
    if (!str_is_null(in))
        golden_request(&golden, in);
    if (!str_is_null(stream))
        golden_answer(&golden, stream, true);
    if (!str_is_null(body))
        golden_answer(&golden, body, false);
    if (golden.compared == 0)
        fail_msg("%s: nothing to test", name);
    *count += 1;
    arena_fini(&golden.arena);
}

static void test_goldens(void **state)
{
    DIR *dir = opendir(ROOT);
    const struct dirent *entry;
    size_t count = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            golden_case(entry->d_name, &count);
    }
    assert_int_equal(closedir(dir), 0);
    assert_true(count >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
