/* SPDX-License-Identifier: MIT */
/*
 * Which call of a tool a delta goes on with: as vendors number, name and repeat them. Each row is
 * cut everywhere, too. Whole answers of vendors stand in tests/golden/openai_chat.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_decode_priv.h"
#include "protocol/trial.h"

extern const struct protocol protocol_openai_chat;

enum { OUT_MAX = 64 * 1024, BLOCKS_MAX = 32 };

#define HEAD \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define CHUNK(delta, finish) \
    HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define DELTA(delta) CHUNK(delta, "null")
#define CALLS(calls) DELTA("{\"tool_calls\":[" calls "]}")
#define ENDS         CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n"
#define WHOLE(message)                                                                        \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":" \
    "[{\"index\":0,\"message\":" message ",\"finish_reason\":\"tool_calls\"}]}"

/* Members of a call. */
#define AT(index)     "{\"index\":" index
#define ID(id)        ",\"id\":\"" id "\""
#define NAME(name)    ",\"function\":{\"name\":\"" name "\"}}"
#define ARGS(args)    ",\"function\":{\"arguments\":\"" args "\"}}"
#define F(name, args) ",\"function\":{\"name\":\"" name "\",\"arguments\":\"" args "\"}}"

/* What a call became: "id name arguments;"; of an id that was made "*". */
static void print_call(struct buf *out, const struct event *begin, const struct buf *args)
{
    bool made = str_starts(begin->begin.id, STR("call_"));

    (void)buf_print(out, "%.*s %.*s %.*s%s%s;", STR_ARG(made ? STR("*") : begin->begin.id),
                    STR_ARG(begin->begin.name), STR_ARG(buf_str(args)),
                    begin->begin.custom ? " custom" : "", begin->begin.legacy ? " legacy" : "");
}

static void print_calls(const struct trial *trial, struct buf *out)
{
    const struct event *begins[BLOCKS_MAX] = {NULL};
    struct buf args[BLOCKS_MAX];

    for (int i = 0; i < BLOCKS_MAX; i++)
        buf_init(&args[i], OUT_MAX);
    for (size_t f = 0; f < trial->n; f++) {
        for (uint32_t i = 0; i < trial->frames[f].n; i++) {
            const struct event *event = &trial->frames[f].events[i];
            bool begin = event->kind == EVENT_BLOCK_BEGIN && event->begin.kind == BLOCK_TOOL;
            assert_true(event->block == EVENT_NO_BLOCK || event->block < BLOCKS_MAX);
            if (begin)
                begins[event->block] = event;
            if (event->kind == EVENT_TOOL_ARGS)
                (void)buf_add(&args[event->block], event->text);
        }
    }
    for (int i = 0; i < BLOCKS_MAX; i++) {
        if (begins[i] != NULL)
            print_call(out, begins[i], &args[i]);
        buf_fini(&args[i]);
    }
}

struct row {
    const char *what;
    const char *bytes;
    const char *calls;
};

/* odd: it goes down as it is, and no checker would take it. */
static void check_row(const struct row *row, bool odd)
{
    const struct trial_cuts how = {.stream = str_starts(str_c(row->bytes), STR("data:"))};
    struct trial trial;
    struct error e;
    struct buf got;

    buf_init(&got, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, str_c(row->bytes), &how);
    assert_int_equal(trial.error.code, OK);
    print_calls(&trial, &got);
    if (!str_eq(buf_str(&got), str_c(row->calls)))
        fail_msg("%s: %.*s instead of %s", row->what, STR_ARG(buf_str(&got)), row->calls);
    trial_fini(&trial);
    buf_fini(&got);
    e.detail[0] = '\0';
    bool lawful = trial_laws(&protocol_openai_chat, str_c(row->bytes), &how, &e) == OK;
    bool known = str_find(str_c(e.detail), STR("a unique id, a type and a name"), 0) != SIZE_MAX;
    if (lawful ? odd : !odd || !known)
        fail_msg("%s: \"%s\"", row->what, e.detail);
}

static const struct row rows[] = {
    {"as the protocol has them",
     CALLS(AT("0") ID("x") F("f", "")) CALLS(AT("0") ARGS("{")) CALLS(AT("0") ARGS("}")) ENDS,
     "x f {};"},
    {"two that interleave",
     CALLS(AT("0") ID("x") F("f", "1") "," AT("1") ID("y") F("g", "2")) CALLS(AT("1") ARGS("4"))
         CALLS(AT("0") ARGS("3")) ENDS,
     "x f 13;y g 24;"},
    {"without an index: by its place",
     CALLS("{\"id\":\"x\"" F("f", "1") ",{\"id\":\"y\"" F("g", "2"))
         CALLS("{\"id\":\"x\"" ARGS("3") ",{\"id\":\"y\"" ARGS("4")) ENDS,
     "x f 13;y g 24;"},
    {"an index that is none",
     CALLS("{\"index\":-1" ID("x") F("f", "1")) CALLS(AT("0") ARGS("2")) ENDS, "x f 12;"},
    {"a new id at an old index",
     CALLS(AT("0") ID("x") F("f", "1")) CALLS(AT("0") ID("y") F("g", "2")) CALLS(AT("0") ARGS("3"))
         ENDS,
     "x f 1;y g 23;"},
    {"back to an id that is not the newest at its index",
     CALLS(AT("0") ID("x") F("f", "1")) CALLS(AT("0") ID("y") F("g", "2"))
         CALLS(AT("0") ID("x") ARGS("3")) ENDS,
     "x f 13;y g 2;"},
    {"a piece with an id of its own and no name goes on",
     CALLS(AT("0") ID("x") F("f", "1")) CALLS(AT("0") ID("z") ARGS("2")) ENDS, "x f 12;"},
    {"an id that is known, at a new index, without a name",
     CALLS(AT("0") ID("x") F("f", "1")) CALLS(AT("3") ID("x") ARGS("2")) ENDS, "x f 12;"},
    {"whole ones, one a chunk, without id and index",
     CALLS("{\"type\":\"function\"" F("f", "{1}")) CALLS("{\"type\":\"function\"" F("f", "{2}"))
         ENDS,
     "* f {1};* f {2};"},
    {"the name said again with each piece",
     CALLS(AT("0") ID("x") F("f", "")) CALLS(AT("0") F("f", "1")) CALLS(AT("0") F("f", "2")) ENDS,
     "x f 12;"},
    {"another name at the same index, no id",
     CALLS(AT("0") F("f", "1")) CALLS(AT("0") F("g", "2")) ENDS, "* f 1;* g 2;"},
    {"the name comes late: what came before waits",
     CALLS(AT("0") ID("x") ARGS("1")) CALLS(AT("0") ARGS("2")) CALLS(AT("0") NAME("f")) ENDS,
     "x f 12;"},
    {"said whole once more with the finish reason",
     CALLS(AT("0") ID("x") F("f", "a")) CALLS(AT("0") ARGS("b"))
         CHUNK("{\"tool_calls\":[" AT("0") ID("x") F("f", "ab") "]}",
               "\"tool_calls\"") "data: [DONE]\n\n",
     "x f ab;"},
    {"as many bytes, but others, with the finish reason",
     CALLS(AT("0") ID("x") F("f", "ab"))
         CHUNK("{\"tool_calls\":[" AT("0") ID("x") F("f", "cd") "]}",
               "\"tool_calls\"") "data: [DONE]\n\n",
     "x f abcd;"},
    {"the same bytes again before the end are arguments",
     CALLS(AT("0") ID("x") F("f", "a")) CALLS(AT("0") ID("x") F("f", "a")) ENDS, "x f aa;"},
    {"empty ones, and what is no call", CALLS("{},null,7,\"x\",[]") CALLS(AT("0") F("", "")) ENDS,
     ""},
    {"no list", DELTA("{\"tool_calls\":{}}") DELTA("{\"tool_calls\":null}") ENDS, ""},
    {"arguments that are an object",
     CALLS(AT("0") ID("x") ",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}") ENDS,
     "x f {\"a\":1};"},
    {"a custom tool's",
     CALLS(AT("0") ID("x") ",\"type\":\"custom\",\"custom\":{\"name\":\"f\",\"input\":\"a b\"}}")
         ENDS,
     "x f a b custom;"},
    {"function_call, as it was",
     DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":\"1\"}}")
         DELTA("{\"function_call\":{\"arguments\":\"2\"}}") ENDS,
     "* f 12 legacy;"},
    {"function_call and tool_calls at index 0 are two",
     DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":\"1\"}}")
         CALLS(AT("0") ID("x") F("g", "2")) DELTA("{\"function_call\":{\"arguments\":\"3\"}}") ENDS,
     "* f 13 legacy;x g 2;"},
    {"behind the end nothing is said",
     CALLS(AT("0") ID("x") F("f", "1")) CHUNK("{}", "\"tool_calls\"")
         CALLS(AT("0") ARGS("2")) "data: [DONE]\n\n",
     "x f 1;"},
    {"of a whole message with an object for arguments and without an id",
     WHOLE(
         "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}"
         "]}"),
     "* f {};"},
};

/* No name, or an id twice. */
static const struct row odd_rows[] = {
    {"all with the same id, each with an index and a name",
     CALLS(AT("0") ID("x") F("f", "1")) CALLS(AT("1") ID("x") F("g", "2")) ENDS, "x f 1;x g 2;"},
    {"in a whole message each element is one",
     WHOLE("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
           "{\"id\":\"x\",\"type\":\"function\"" F(
               "f", "1") ","
                         "{\"id\":\"x\",\"type\":\"function\"" F("f", "1") ",{}]}"),
     "x f 1;x f 1;"},
    {"no name ever", CALLS(AT("0") ID("x") ARGS("1")) ENDS, "x  1;"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i], false);
    for (size_t i = 0; i < COUNT_OF(odd_rows); i++)
        check_row(&odd_rows[i], true);
}

/* A made id is one for each call, and the same in each reading of the answer. */
static void test_made_ids(void **state)
{
    const struct trial_cuts how = {.stream = true};
    const struct str bytes = STR(CALLS("{\"index\":0" F("f", "{1}"))
                                     CALLS("{\"index\":1" F("g", "")) ENDS);
    struct buf first;
    struct buf second;

    (void)state;
    buf_init(&first, OUT_MAX);
    buf_init(&second, OUT_MAX);
    for (int i = 0; i < 2; i++) {
        struct trial trial;
        struct buf *out = i == 0 ? &first : &second;
        trial_decode(&trial, &protocol_openai_chat, bytes, &how);
        for (size_t f = 0; f < trial.n; f++) {
            for (uint32_t n = 0; n < trial.frames[f].n; n++) {
                const struct event *event = &trial.frames[f].events[n];
                if (event->kind != EVENT_BLOCK_BEGIN)
                    continue;
                assert_true(str_starts(event->begin.id, STR("call_")));
                if (out->n > 0)
                    assert_true(str_find(buf_str(out), event->begin.id, 0) == SIZE_MAX);
                (void)buf_print(out, "%.*s ", STR_ARG(event->begin.id));
            }
        }
        trial_fini(&trial);
    }
    assert_true(first.n > 2 * 6);
    assert_true(str_eq(buf_str(&first), buf_str(&second)));
    buf_fini(&first);
    buf_fini(&second);
}

/* Google's signature goes down once, at the call that it stands in. */
static void test_signature(void **state)
{
#define SIGNED ",\"extra_content\":{\"google\":{\"thought_signature\":\"s1\"}}"
    const struct trial_cuts how = {.stream = true};
    struct trial trial;
    struct buf seen;

    (void)state;
    buf_init(&seen, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat,
                 STR(CALLS(AT("0") ID("x") SIGNED F("f", "1")) CALLS(AT("0") SIGNED ARGS("2"))
                         CALLS(AT("1") ID("y") F("g", "3")) ENDS),
                 &how);
    for (size_t f = 0; f < trial.n; f++) {
        for (uint32_t n = 0; n < trial.frames[f].n; n++) {
            const struct event *event = &trial.frames[f].events[n];
            if (event->kind == EVENT_SIGNATURE)
                (void)buf_print(&seen, "%u:%.*s;", event->block, STR_ARG(event->text));
        }
    }
    assert_true(str_eq(buf_str(&seen), STR("0:s1;")));
    trial_fini(&trial);
    buf_fini(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_made_ids),
        cmocka_unit_test(test_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
