/* SPDX-License-Identifier: MIT */
/* What goes out is checked: what we said wrong ends the process, an upstream's is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/checked.h"
#include "gateway/gateway_priv.h"

#define CHUNK(delta, finish)                                                                  \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"," \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define BEGIN CHUNK("{\"role\":\"assistant\",\"content\":\"hi\"}", "null")
#define END   CHUNK("{}", "\"stop\"")
#define DONE  "data: [DONE]\n\n"
#define ODD   CHUNK("{\"tool_calls\":[{\"index\":3}]}", "null")

struct piece {
    const char *text; /* NULL: the end */
    bool raw;
};

static int64_t say(const struct piece *pieces)
{
    struct station *station = mem_new(sizeof(*station));
    struct exchange *x = mem_new(sizeof(*x));
    struct backend backend = {.slot = 3};

    x->station = station;
    x->attempt.backend = &backend;
    x->call.request.stream = true;
    x->call.intake.protocol = protocol_find(STR("openai-chat"));
    checked_begin(x);
    assert_int_equal(x->checked != NULL, ATTR_CHECKS);
    for (; pieces->text != NULL; pieces++)
        checked_bytes(x, str_c(pieces->text), pieces->raw);
    checked_end(x);
    int64_t counted = metric_get(&station->metrics, METRIC_raw_violations_total, 3);
    checked_free(&x->checked);
    mem_free(x);
    mem_free(station);
    return counted;
}

static bool aborts(const struct piece *pieces)
{
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        (void)say(pieces);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_what_is_right_passes(void **state)
{
    (void)state;
    assert_int_equal(say((struct piece[]){{BEGIN, true}, {END DONE, true}, {NULL, 0}}), 0);
    assert_int_equal(say((struct piece[]){{BEGIN, false}, {END DONE, false}, {NULL, 0}}), 0);
    assert_int_equal(say((struct piece[]){{BEGIN, true}, {END DONE, false}, {NULL, 0}}), 0);
}

static void test_an_upstreams_violation_is_counted_once(void **state)
{
    (void)state;
    assert_int_equal(say((struct piece[]){{BEGIN, true}, {ODD, true}, {ODD, true}, {NULL, 0}}),
                     ATTR_CHECKS);
    assert_int_equal(say((struct piece[]){{BEGIN, true}, {NULL, 0}}), ATTR_CHECKS);
    /* What we say behind it may be wrong because it was. */
    assert_int_equal(say((struct piece[]){{BEGIN ODD, true}, {ODD, false}, {NULL, 0}}),
                     ATTR_CHECKS);
}

static void test_our_own_is_a_bug(void **state)
{
    (void)state;
    assert_int_equal(aborts((struct piece[]){{BEGIN, true}, {ODD, false}, {NULL, 0}}), ATTR_CHECKS);
    /* An answer taken over is ours to end. */
    assert_int_equal(aborts((struct piece[]){{BEGIN, true}, {END, false}, {NULL, 0}}), ATTR_CHECKS);
    assert_false(aborts((struct piece[]){{BEGIN, false}, {END DONE, false}, {NULL, 0}}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_right_passes),
        cmocka_unit_test(test_an_upstreams_violation_is_counted_once),
        cmocka_unit_test(test_our_own_is_a_bug),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
