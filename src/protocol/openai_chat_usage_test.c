/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_decode_priv.h"

enum { BYTES_MAX = 64 * 1024 };

static const struct dialect beside = {.usage_reasoning_excluded = true,
                                      .usage_cached_excluded = true};

#define COUNTS(in, out, total) "\"prompt_tokens\":" in ",\"completion_tokens\":" out total
#define CACHED(n)              ",\"prompt_tokens_details\":{\"cached_tokens\":" n "}"
#define REASONS(n)             ",\"completion_tokens_details\":{\"reasoning_tokens\":" n "}"
#define TOTAL(n)               ",\"total_tokens\":" n

static const struct row {
    const char *root;
    const struct dialect *dialect;
    enum openai_chat_usage_verdict verdict;
    struct usage usage;
} rows[] = {
    {"{}", NULL, OPENAI_CHAT_USAGE_NONE, {0}},
    {"{\"usage\":null}", NULL, OPENAI_CHAT_USAGE_NONE, {0}},
    {"{\"usage\":{}}", NULL, OPENAI_CHAT_USAGE_EMPTY, {0}},
    {"{\"usage\":{" COUNTS("3", "2", TOTAL("5")) "}}",
     NULL,
     OPENAI_CHAT_USAGE_FINE,
     {3, 2, 5, -1, -1, -1}},
    {"{\"usage\":{" COUNTS("3", "2", "") "}}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 2, 5, -1, -1, -1}},
    {"{\"x_groq\":{\"usage\":{" COUNTS("3", "2", TOTAL("5")) "}}}",
     NULL,
     OPENAI_CHAT_USAGE_FINE,
     {3, 2, 5, -1, -1, -1}},
    {"{\"choices\":[{\"usage\":{" COUNTS("3", "2", TOTAL("5")) "}}]}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 2, 5, -1, -1, -1}},
    /* Reasoning beside the rest: by the sum, by its size, by the dialect; and within. */
    {"{\"usage\":{" COUNTS("3", "9", TOTAL("17")) REASONS("5") "}}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 14, 17, -1, -1, 5}},
    {"{\"usage\":{" COUNTS("3", "2", TOTAL("5")) REASONS("7") "}}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 9, 12, -1, -1, 7}},
    {"{\"usage\":{" COUNTS("3", "9", TOTAL("99")) REASONS("5") "}}",
     &beside,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 14, 17, -1, -1, 5}},
    {"{\"usage\":{" COUNTS("3", "9", TOTAL("12")) REASONS("5") "}}",
     &beside,
     OPENAI_CHAT_USAGE_FINE,
     {3, 9, 12, -1, -1, 5}},
    /* Cached ones beside the rest, by the dialect; and more than there were. */
    {"{\"usage\":{" COUNTS("3", "1", TOTAL("4")) CACHED("5") "}}",
     &beside,
     OPENAI_CHAT_USAGE_MISREAD,
     {8, 1, 9, 5, -1, -1}},
    {"{\"usage\":{" COUNTS("3", "1", TOTAL("4")) CACHED("5") "}}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 1, 4, 3, -1, -1}},
    {"{\"usage\":{" COUNTS("3", "1", TOTAL("4")) ",\"prompt_cache_hit_tokens\":2}}",
     NULL,
     OPENAI_CHAT_USAGE_MISREAD,
     {3, 1, 4, 2, -1, -1}},
};

/* Catches: a count of a vendor's that is not found, not put right, or mended without need. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct usage usage = {0};
        struct arena arena;
        arena_init(&arena, BYTES_MAX, 0, NULL);
        yyjson_val *root = json_read(str_c(row->root), &(struct json_read_options){0}, &arena,
                                     NULL);
        assert_non_null(root);
        const struct json_keys keys = json_keys_of(root);
        if (openai_chat_usage_read(&keys, row->dialect, &usage) != row->verdict)
            fail_msg("%s: the verdict", row->root);
        if (row->verdict == OPENAI_CHAT_USAGE_FINE || row->verdict == OPENAI_CHAT_USAGE_MISREAD)
            assert_memory_equal(&usage, &row->usage, sizeof(usage));
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
