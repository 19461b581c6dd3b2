/* SPDX-License-Identifier: MIT */
#include "canon/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* STR is no constant. */
#define S(literal)                        \
    {                                     \
        ("" literal), sizeof(literal) - 1 \
    }
#define START                                        \
    {                                                \
        .kind = EVENT_START, .block = EVENT_NO_BLOCK \
    }
#define BEGIN(of, n)                                                      \
    {                                                                     \
        .kind = EVENT_BLOCK_BEGIN, .block = (n), .begin.kind = BLOCK_##of \
    }
#define TOOL(n)                                                                               \
    {                                                                                         \
        .kind = EVENT_BLOCK_BEGIN, .block = (n), .begin.kind = BLOCK_TOOL, .begin.id = S("c") \
    }
#define SAY(of, n)                                       \
    {                                                    \
        .kind = EVENT_##of, .block = (n), .text = S("t") \
    }
#define BEND(n)                               \
    {                                         \
        .kind = EVENT_BLOCK_END, .block = (n) \
    }
#define STOP                                        \
    {                                               \
        .kind = EVENT_STOP, .block = EVENT_NO_BLOCK \
    }
#define USAGE(count)                                \
    {                                               \
        .kind = EVENT_USAGE, .usage.input = (count) \
    }
#define BAD                 \
    {                       \
        .kind = EVENT_ERROR \
    }
#define PING                    \
    {                           \
        .kind = EVENT_KEEPALIVE \
    }

enum { EVENTS_MAX = 8 };

struct row {
    const char *what;
    size_t wrong_at; /* index of the event that is refused; n: none is */
    bool ends;       /* check_end(complete) says yes */
    size_t n;
    struct event events[EVENTS_MAX];
};

static const struct row rows[] = {
    {"an answer",
     7,
     true,
     7,
     {START, BEGIN(TEXT, 0), SAY(TEXT, 0), SAY(LOGPROBS, 0), BEND(0), STOP, USAGE(1)}},
    {"calls that interleave",
     7,
     true,
     7,
     {START, TOOL(0), TOOL(1), SAY(TOOL_ARGS, 0), BEND(1), BEND(0), STOP}},
    {"signatures where there are any",
     7,
     false,
     7,
     {START, BEGIN(REASONING, 0), SAY(SIGNATURE, 0), BEGIN(REDACTED, 1), SAY(SIGNATURE, 1), TOOL(2),
      SAY(SIGNATURE, 2)}},
    {"nothing at all", 0, true, 0, {START}},
    {"nothing said", 2, true, 2, {START, STOP}},
    {"pings anywhere, an error at the end", 3, false, 3, {PING, START, BAD}},
    {"no START", 0, false, 1, {BEGIN(TEXT, 0)}},
    {"START twice", 1, false, 2, {START, START}},
    {"a block out of order", 1, false, 2, {START, BEGIN(TEXT, 1)}},
    {"text of no block", 1, false, 2, {START, SAY(TEXT, 0)}},
    {"text of a block that has ended", 3, false, 4, {START, BEGIN(TEXT, 0), BEND(0), SAY(TEXT, 0)}},
    {"a block ended twice", 3, false, 4, {START, BEGIN(TEXT, 0), BEND(0), BEND(0)}},
    {"text in reasoning", 2, false, 3, {START, BEGIN(REASONING, 0), SAY(TEXT, 0)}},
    {"arguments in text", 2, false, 3, {START, BEGIN(TEXT, 0), SAY(TOOL_ARGS, 0)}},
    {"a citation in a refusal", 2, false, 3, {START, BEGIN(REFUSAL, 0), SAY(CITATION, 0)}},
    {"signed text", 3, false, 3, {START, BEGIN(TEXT, 0), SAY(SIGNATURE, 0)}},
    {"a signature in a refusal", 2, false, 3, {START, BEGIN(REFUSAL, 0), SAY(SIGNATURE, 0)}},
    {"a block signed twice",
     3,
     false,
     4,
     {START, BEGIN(REDACTED, 0), SAY(SIGNATURE, 0), SAY(SIGNATURE, 0)}},
    {"reasoning after its signature",
     3,
     false,
     4,
     {START, BEGIN(REASONING, 0), SAY(SIGNATURE, 0), SAY(REASONING, 0)}},
    {"reasoning in a call", 2, false, 3, {START, TOOL(0), SAY(REASONING, 0)}},
    {"a call without an id", 1, false, 2, {START, BEGIN(TOOL, 0)}},
    {"STOP with a block open", 2, false, 3, {START, BEGIN(TEXT, 0), STOP}},
    {"something after STOP", 2, false, 3, {START, STOP, BEGIN(TEXT, 0)}},
    {"something after ERROR", 2, false, 3, {START, BAD, PING}},
    {"a fault, then what is right", 1, false, 4, {START, START, PING, USAGE(1)}},
    {"no such block", 1, false, 2, {START, BEGIN(KIND_COUNT, 0)}},
    {"no such reason",
     1,
     false,
     2,
     {START, {.kind = EVENT_STOP, .stop.reason = STOP_REASON_COUNT}}},
    {"an id that is not UTF-8",
     1,
     false,
     2,
     {START, {.kind = EVENT_BLOCK_BEGIN, .begin.kind = BLOCK_TOOL, .begin.id = S("\xff")}}},
    {"a name that is not UTF-8",
     1,
     false,
     2,
     {START, {.kind = EVENT_BLOCK_BEGIN, .begin.kind = BLOCK_TEXT, .begin.name = S("\xff")}}},
    {"usage before START", 0, false, 1, {USAGE(1)}},
    {"a negative count", 1, false, 2, {START, USAGE(-2)}},
    {"no STOP", 3, false, 3, {START, BEGIN(TEXT, 0), BEND(0)}},
    {"a choice too many", 1, false, 2, {START, {.kind = EVENT_STOP, .choice = 128}}},
    {"text that is not UTF-8",
     2,
     false,
     3,
     {START, BEGIN(TEXT, 0), {.kind = EVENT_TEXT, .text = S("\xff")}}},
};

static void check_row(const struct row *row)
{
    struct arena arena;
    struct error e;
    size_t wrong_at = row->n;

    arena_init(&arena, 1024 * 1024, 1024, NULL);
    struct check *check = check_new(&arena);
    for (size_t i = 0; i < row->n; i++) {
        enum error_code code = check_event(check, &row->events[i], &e);
        if (code != OK && wrong_at == row->n)
            wrong_at = i;
        /* A fault stays. */
        if (wrong_at < row->n)
            assert_int_equal(code, ERR_INTERNAL);
    }
    if (wrong_at != row->wrong_at)
        fail_msg("%s: wrong at %zu", row->what, wrong_at);
    if ((check_end(check, true, &e) == OK) != row->ends)
        fail_msg("%s: its end", row->what);
    arena_fini(&arena);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i]);
}

static void test_bounds(void **state)
{
    struct arena arena;
    struct error e;
    struct event event = START;
    enum error_code code;

    (void)state;
    arena_init(&arena, 8 * 1024 * 1024, 1024, NULL);
    struct check *check = check_new(&arena);
    code = check_event(check, &event, &e);
    event = (struct event){.kind = EVENT_BLOCK_BEGIN, .begin.kind = BLOCK_TEXT};
    for (; code == OK && event.block < 5000; event.block++)
        code = check_event(check, &event, &e);
    assert_int_equal(code, ERR_INTERNAL);
    assert_int_equal(event.block, 4097);
    assert_int_equal(check_end(check, false, &e), ERR_INTERNAL);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
