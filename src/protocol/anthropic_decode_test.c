/* SPDX-License-Identifier: MIT */
/*
 * Answers of upstreams: the files of tests/golden/anthropic (*.sse streams, *.json whole bodies),
 * cut, broken off and changed.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "protocol/anthropic_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_anthropic;

#define ROOT "tests/golden/anthropic"

enum { OUT_MAX = 16 * 1024 * 1024, PATH_SIZE = 512, MUTATIONS = 300 };

typedef void file_fn(const char *name, struct str bytes, bool stream);

static void each_file(file_fn *each)
{
    DIR *dir = opendir(ROOT);
    const struct dirent *entry;
    size_t count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[PATH_SIZE];
        struct arena arena;
        bool stream = str_ends(str_c(entry->d_name), STR(".sse"));
        if (!stream && !str_ends(str_c(entry->d_name), STR(".json")))
            continue;
        arena_init(&arena, OUT_MAX, 4096, NULL);
        (void)snprintf(path, sizeof(path), ROOT "/%s", entry->d_name);
        each(entry->d_name, recordings_read_file(path, &arena), stream);
        arena_fini(&arena);
        count++;
    }
    assert_int_equal(closedir(dir), 0);
    assert_true(count >= 18);
}

static void dump_of(struct str bytes, const struct trial_cuts *cuts, struct buf *out)
{
    struct trial trial;

    trial_decode(&trial, &protocol_anthropic, bytes, cuts);
    trial_dump(&trial, out);
    trial_fini(&trial);
}

/* --- laws --------------------------------------------------------------------------------- */

static void laws(const char *name, struct str bytes, bool stream)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct error e;

    if (trial_laws(&protocol_anthropic, bytes, &cuts, &e) != OK)
        fail_msg("%s: %s", name, e.detail);
}

/* Catches: events that are none, bytes that change, an answer that we write and no client takes. */
static void test_laws(void **state)
{
    (void)state;
    each_file(laws);
}

static void split(const char *name, struct str bytes, bool stream)
{
    struct trial_cuts cuts = {.stream = stream};
    struct buf want;
    struct buf got;

    if (!stream)
        return;
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    dump_of(bytes, &cuts, &want);
    for (cuts.at = 1; cuts.at < bytes.n; cuts.at++) {
        buf_reset(&got);
        dump_of(bytes, &cuts, &got);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            fail_msg("%s cut at %zu\n--- got\n%.*s", name, cuts.at, STR_ARG(buf_str(&got)));
    }
    buf_fini(&want);
    buf_fini(&got);
}

/* Catches: a cut that changes what is read. */
static void test_split(void **state)
{
    (void)state;
    each_file(split);
}

/* Where the frame ends that says that the answer has. */
static size_t end_of_answer(const struct trial *trial)
{
    size_t n = 0;

    for (size_t i = 0; i < trial->n; i++) {
        n += trial->frames[i].raw.n;
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            enum event_kind kind = trial->frames[i].events[k].kind;
            if (kind == EVENT_STOP || kind == EVENT_ERROR)
                return n;
        }
    }
    return SIZE_MAX;
}

static void broken_off(const char *name, struct str bytes, bool stream)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct trial whole;
    struct trial part;

    trial_decode(&whole, &protocol_anthropic, bytes, &cuts);
    size_t end = end_of_answer(&whole);
    assert_true(end <= bytes.n);
    for (size_t n = 0; n < bytes.n; n++) {
        struct error e;
        trial_decode(&part, &protocol_anthropic, str_head(bytes, n), &cuts);
        /* Its last line may lack its end. */
        if (part.error.code == OK && n + 4 < end)
            fail_msg("%s: complete after %zu bytes of %zu", name, n, end);
        if (part.error.code != OK && n >= end)
            fail_msg("%s: not complete after %zu bytes of %zu", name, n, end);
        if (!trial_check(&part, &e))
            fail_msg("%s: %zu bytes: %s", name, n, e.detail);
        trial_fini(&part);
    }
    trial_fini(&whole);
}

/* Catches: success claimed for an answer that broke off. */
static void test_broken_off(void **state)
{
    (void)state;
    each_file(broken_off);
}

/* The same JSON in other bytes: it is parsed. */
static void expect_parsed_the_same(const char *name, struct str bytes)
{
    const struct str quick = STR("{\"type\":\"content_block_delta\"");
    const struct trial_cuts cuts = {.stream = true};
    struct trial trial;
    struct buf slow;
    struct buf want;
    struct buf got;

    buf_init(&slow, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    for (size_t i = 0; i < bytes.n; i++) {
        bool here = str_starts(str_from(bytes, i), quick);
        buf_add(&slow, here ? STR("{ ") : str_of(bytes.p + i, 1));
    }
    trial_decode(&trial, &protocol_anthropic, bytes, &cuts);
    trial_events(&trial, &got);
    trial_fini(&trial);
    trial_decode(&trial, &protocol_anthropic, buf_str(&slow), &cuts);
    trial_events(&trial, &want);
    trial_fini(&trial);
    if (!str_eq(buf_str(&got), buf_str(&want)))
        fail_msg("%s\n--- got\n%.*s\n--- parsed\n%.*s", name, STR_ARG(buf_str(&got)),
                 STR_ARG(buf_str(&want)));
    buf_fini(&slow);
    buf_fini(&want);
    buf_fini(&got);
}

static void quick(const char *name, struct str bytes, bool stream)
{
    if (stream)
        expect_parsed_the_same(name, bytes);
}

static void quick_recording(void *ctx, const struct recording *recording)
{
    (void)ctx;
    if (recording->stream && recording->status == 200)
        expect_parsed_the_same("a recording", recording->body);
}

/* Catches: a delta that is not parsed and read as something else than if it were. */
static void test_quick(void **state)
{
    (void)state;
    each_file(quick);
    (void)recordings_each("anthropic_messages", quick_recording, NULL);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void mutate(char *bytes, size_t *n, uint64_t *seed)
{
    static const char *const pieces[] = {"\"index\":1", "null",     "{}",       "\n\n", "data: ",
                                         "\"text\"",    "thinking", "tool_use", "-1",   "\\ud800"};
    size_t at = (size_t)(next_random(seed) % *n);
    struct str piece = str_c(pieces[next_random(seed) % COUNT_OF(pieces)]);
    size_t size = 1 + (size_t)(next_random(seed) % 40);

    switch (next_random(seed) % 4) {
    case 0:
        bytes[at] = (char)next_random(seed);
        return;
    case 1: /* out */
        if (size > *n - at)
            size = *n - at;
        memmove(bytes + at, bytes + at + size, *n - at - size);
        *n -= size;
        return;
    case 2: /* twice */
        if (size > *n - at)
            size = *n - at;
        memmove(bytes + at + size, bytes + at, *n - at);
        *n += size;
        return;
    default:
        if (piece.n <= *n - at)
            memcpy(bytes + at, piece.p, piece.n);
        return;
    }
}

static void mutations(const char *name, struct str bytes, bool stream)
{
    const struct trial_cuts cuts = {.stream = stream};
    uint64_t seed = 88172645463325252u;
    char *changed = mem_new(bytes.n * 2 + 1024);

    for (int i = 0; i < MUTATIONS; i++) {
        size_t n = bytes.n;
        struct error e;
        memcpy(changed, bytes.p, n);
        for (uint64_t k = 1 + next_random(&seed) % 4; k > 0 && n > 1; k--)
            mutate(changed, &n, &seed);
        if (trial_laws(&protocol_anthropic, str_of(changed, n), &cuts, &e) != OK)
            fail_msg("%s, %d: %s\n%.*s", name, i, e.detail, (int)n, changed);
        if (stream)
            expect_parsed_the_same(name, str_of(changed, n));
    }
    mem_free(changed);
}

/* Catches: bytes that are not this protocol and break the laws. */
static void test_mutations(void **state)
{
    (void)state;
    each_file(mutations);
}

/* --- what is read ------------------------------------------------------------------------- */

struct reading {
    const char *what;
    const char *file;
    const char *line; /* that is among the events */
};

static const struct reading readings[] = {
    {"usage is what the cache had too", "text.sse",
     "{\"kind\":\"USAGE\",\"input\":17,\"output\":20,\"total\":37,\"cached\":5,"
     "\"cache_written\":0}"},
    {"a ping is a sign of life", "text.sse", "{\"kind\":\"KEEPALIVE\"}"},
    {"arguments as the model wrote them", "thinking_tools.sse",
     "{\"kind\":\"TOOL_ARGS\",\"block\":2,\"text\":\"{\\\"a\\\": 12345678901234567890\"}"},
    {"thinking tokens", "thinking_tools.sse",
     "{\"kind\":\"USAGE\",\"input\":17,\"output\":20,\"total\":37,\"cached\":5,\"cache_written\":0,"
     "\"reasoning\":7}"},
    {"a refusal is a filter's", "redacted_refusal.sse",
     "{\"kind\":\"STOP\",\"reason\":\"FILTER\",\"native\":\"refusal\"}"},
    {"redacted thinking is a signature", "redacted_refusal.sse",
     "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"b3BhcXVl\"}"},
    {"a stop sequence", "omitted_thinking.sse",
     "{\"kind\":\"STOP\",\"reason\":\"SEQUENCE\",\"native\":\"stop_sequence\","
     "\"sequence\":\"END\"}"},
    {"a vendor's block, its input put together", "server_tools.sse",
     "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"{\\\"type\\\":\\\"server_tool_use\\\",\\\"id\\\":"
     "\\\"srvtoolu_1\\\",\\\"name\\\":\\\"web_search\\\",\\\"input\\\":{\\\"query\\\":"
     "\\\"x y\\\"}}\"}"},
    {"a citation of the web, counted in characters", "server_tools.sse",
     "{\"kind\":\"CITATION\",\"block\":3,\"text\":\"{\\\"type\\\":\\\"url_citation\\\","
     "\\\"url_citation\\\":{\\\"url\\\":\\\"https://a/b\\\",\\\"title\\\":\\\"A\\\","
     "\\\"start_index\\\":5,\\\"end_index\\\":13,\\\"cited_text\\\":\\\"q\\\","
     "\\\"encrypted_index\\\":\\\"idx\\\"}}\"}"},
    {"what a delta says of a vendor's block", "compaction.sse",
     "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"{\\\"type\\\":\\\"compaction\\\",\\\"content\\\":"
     "\\\"sum\\\",\\\"encrypted_content\\\":\\\"e\\\"}\"}"},
    {"a pause", "compaction.sse",
     "{\"kind\":\"STOP\",\"reason\":\"PAUSE\",\"native\":\"pause_turn\"}"},
    {"counts that come late", "late_counts.sse",
     "{\"kind\":\"USAGE\",\"input\":37,\"output\":21,\"total\":58,\"cached\":4}"},
    {"an input that is there from the start", "full_input.sse",
     "{\"kind\":\"TOOL_ARGS\",\"block\":0,\"text\":\"{\\\"a\\\":1.0}\"}"},
    {"calls are a reason to stop", "full_input.sse",
     "{\"kind\":\"STOP\",\"reason\":\"TOOL\",\"native\":\"end_turn\"}"},
    {"an error", "error.sse",
     "{\"kind\":\"ERROR\",\"status\":529,\"type\":\"overloaded_error\","
     "\"message\":\"Overloaded\"}"},
    {"a full context", "context.sse",
     "{\"kind\":\"STOP\",\"reason\":\"CONTEXT\",\"native\":\"model_context_window_exceeded\"}"},
    {"an error under 200", "error.json",
     "{\"kind\":\"ERROR\",\"status\":400,\"type\":\"invalid_request_error\","
     "\"message\":\"prompt is too long: 5 tokens > 4 maximum\"}"},
    {"a thought behind a signature is another's", "thought_after_signature.sse",
     "{\"kind\":\"REASONING\",\"block\":1,\"text\":\"more\"}"},
    {"a whole body's signature", "all.json",
     "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"c2ln\"}"},
};

static void test_readings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(readings); i++) {
        const struct reading *r = &readings[i];
        const struct trial_cuts cuts = {.stream = str_ends(str_c(r->file), STR(".sse"))};
        char path[PATH_SIZE];
        struct arena arena;
        struct trial trial;
        struct buf out;

        arena_init(&arena, OUT_MAX, 4096, NULL);
        buf_init(&out, OUT_MAX);
        (void)snprintf(path, sizeof(path), ROOT "/%s", r->file);
        trial_decode(&trial, &protocol_anthropic, recordings_read_file(path, &arena), &cuts);
        trial_events(&trial, &out);
        if (str_find(buf_str(&out), str_print(&arena, "%s\n", r->line), 0) == SIZE_MAX)
            fail_msg("%s: no\n%s\namong\n%.*s", r->what, r->line, STR_ARG(buf_str(&out)));
        buf_fini(&out);
        trial_fini(&trial);
        arena_fini(&arena);
    }
}

/* Catches: more blocks than a bound, or bytes without one. */
static void test_bounds(void **state)
{
    const struct trial_cuts cuts = {.stream = true};
    struct trial trial;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (int i = 0; i < ANTHROPIC_BLOCKS_MAX + 1; i++)
        buf_print(
            &out,
            "data: {\"type\":\"content_block_start\",\"index\":%d,\"content_block\":{\"type\":"
            "\"text\"}}\n\n",
            i);
    trial_decode(&trial, &protocol_anthropic, buf_str(&out), &cuts);
    assert_int_equal(trial.error.code, ERR_UPSTREAM_TOO_LARGE);
    trial_fini(&trial);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_laws),       cmocka_unit_test(test_split),
        cmocka_unit_test(test_broken_off), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_quick),      cmocka_unit_test(test_readings),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
