/* SPDX-License-Identifier: MIT */
#include "canon/collect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"

struct fixture {
    struct arena arena;
    struct arena lines;
    struct collect collect;
};

static void begin(struct fixture *f, size_t arena_max, size_t bytes_max)
{
    arena_init(&f->arena, arena_max, 1024, NULL);
    arena_init(&f->lines, 1024 * 1024, 1024, NULL);
    collect_init(&f->collect, &f->arena, bytes_max);
}

static void end(struct fixture *f)
{
    collect_fini(&f->collect);
    arena_fini(&f->arena);
    arena_fini(&f->lines);
}

/* The event is told from memory that is gone when the call returns. */
static bool say(struct fixture *f, const char *line, struct collect_block **ret_block)
{
    struct error e;
    struct event event;

    arena_rewind(&f->lines);
    if (dump_event_read(str_c(line), &f->lines, &event, &e) != OK)
        fail_msg("%s: %s", line, e.detail);
    bool ok = collect_event(&f->collect, &event, ret_block);
    arena_rewind(&f->lines);
    return ok;
}

static void told(struct fixture *f, const char *line)
{
    assert_true(say(f, line, NULL));
}

static void is(struct str got, const char *wanted)
{
    if (wanted == NULL ? !str_is_null(got) : !str_eq(got, str_c(wanted)))
        fail_msg("'%.*s' instead of '%s'", STR_ARG(got), wanted == NULL ? "(null)" : wanted);
}

static void tell_answer(struct fixture *f)
{
    struct collect_block *block;

    told(f, "{\"kind\":\"START\",\"id\":\"i\",\"model\":\"m\",\"created\":7}");
    told(f, "{\"kind\":\"KEEPALIVE\"}");
    told(f, "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"REASONING\",\"id\":\"rs\"}");
    told(f, "{\"kind\":\"REASONING\",\"block\":0,\"text\":\"hm\"}");
    told(f, "{\"kind\":\"REASONING\",\"block\":0,\"text\":\"m\"}");
    told(f, "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"sig\"}");
    told(f, "{\"kind\":\"BLOCK_END\",\"block\":0}");
    assert_true(say(f, "{\"kind\":\"BLOCK_BEGIN\",\"block\":1,\"block_kind\":\"TEXT\"}", &block));
    assert_int_equal(block->number, 1);
    assert_true(block->open);
    told(f, "{\"kind\":\"BLOCK_BEGIN\",\"block\":2,\"block_kind\":\"TOOL\",\"id\":\"c1\","
            "\"name\":\"f\",\"custom\":true}");
    told(f, "{\"kind\":\"TEXT\",\"block\":1,\"text\":\"one \"}");
    told(f, "{\"kind\":\"TOOL_ARGS\",\"block\":2,\"text\":\"{\"}");
    assert_true(say(f, "{\"kind\":\"TEXT\",\"block\":1,\"text\":\"two\"}", &block));
    is(buf_str(&block->text), "one two");
    told(f, "{\"kind\":\"CITATION\",\"block\":1,\"text\":\"{\\\"a\\\":1}\"}");
    told(f, "{\"kind\":\"CITATION\",\"block\":1,\"text\":\"{\\\"b\\\":2}\"}");
    told(f, "{\"kind\":\"LOGPROBS\",\"block\":1,\"text\":\"{}\"}");
    told(f, "{\"kind\":\"TOOL_ARGS\",\"block\":2,\"text\":\"}\"}");
    told(f, "{\"kind\":\"BLOCK_END\",\"block\":2}");
    assert_true(say(f, "{\"kind\":\"BLOCK_END\",\"block\":1}", &block));
    assert_false(block->open);
    told(f, "{\"kind\":\"USAGE\",\"input\":5,\"output\":1}");
    told(f, "{\"kind\":\"USAGE\",\"output\":9,\"cached\":2}");
    assert_true(say(f,
                    "{\"kind\":\"STOP\",\"reason\":\"SEQUENCE\",\"native\":\"n\","
                    "\"sequence\":\"s\"}",
                    &block));
    assert_null(block);
}

static void test_answer(void **state)
{
    struct fixture f;
    struct collect_block *block;

    (void)state;
    begin(&f, 1024 * 1024, 4096);
    tell_answer(&f);

    const struct collect *c = &f.collect;
    assert_true(c->started);
    is(c->id, "i");
    is(c->model, "m");
    assert_int_equal(c->created_s, 7);
    assert_int_equal(c->usage.input, 5);
    assert_int_equal(c->usage.output, 9);
    assert_int_equal(c->usage.cached, 2);
    assert_int_equal(c->usage.total, -1);
    assert_false(c->failed);

    const struct collect_choice *choice = collect_choice(c, 0);
    assert_true(choice->stopped && choice->has_tool);
    assert_int_equal(choice->reason, STOP_SEQUENCE);
    is(choice->native, "n");
    is(choice->sequence, "s");
    block = choice->blocks;
    is(block->id, "rs");
    is(block->name, NULL);
    is(buf_str(&block->text), "hmm");
    is(block->signature, "sig");
    block = block->next;
    is(block->citations->text, "{\"a\":1}");
    is(block->citations->next->text, "{\"b\":2}");
    assert_null(block->citations->next->next);
    is(block->logprobs->text, "{}");
    is(block->signature, NULL);
    block = block->next;
    assert_ptr_equal(block, collect_block(c, 0, 2));
    assert_true(block->custom);
    is(block->id, "c1");
    is(block->name, "f");
    is(buf_str(&block->text), "{}");
    assert_null(block->next);

    /* What was written is no longer counted. */
    size_t before = c->bytes;
    collect_forget(&f.collect, collect_block(c, 0, 1));
    assert_int_equal(c->bytes, before - strlen("one two"));
    is(buf_str(&collect_block(c, 0, 1)->text), "");
    end(&f);
}

/* Choices are in order of their index, whichever comes first; numbers are each choice's own. */
static void test_choices(void **state)
{
    static const uint32_t order[] = {5, 0, 7, 3};
    struct fixture f;
    char line[128];

    (void)state;
    begin(&f, 1024 * 1024, 4096);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        snprintf(line, sizeof(line),
                 "{\"kind\":\"BLOCK_BEGIN\",\"choice\":%u,\"block\":0,\"block_kind\":\"TEXT\"}",
                 order[i]);
        told(&f, line);
        snprintf(line, sizeof(line),
                 "{\"kind\":\"TEXT\",\"choice\":%u,\"block\":0,\"text\":\"%u\"}", order[i],
                 order[i]);
        told(&f, line);
    }
    static const char *const wanted[] = {"0", "3", "5", "7"};
    const struct collect_choice *choice = f.collect.choices;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++, choice = choice->next)
        is(buf_str(&choice->blocks->text), wanted[i]);
    assert_null(choice);
    assert_null(collect_choice(&f.collect, 1));
    assert_null(collect_choice(&f.collect, 8));
    assert_null(collect_block(&f.collect, 1, 0));
    assert_null(collect_block(&f.collect, 0, 1));
    /* A choice that says nothing. */
    told(&f, "{\"kind\":\"STOP\",\"choice\":1,\"reason\":\"END\"}");
    assert_null(collect_choice(&f.collect, 1)->blocks);
    end(&f);
}

static void test_many_blocks(void **state)
{
    struct fixture f;
    char line[128];

    (void)state;
    begin(&f, 1024 * 1024, 4096);
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof(line),
                 "{\"kind\":\"BLOCK_BEGIN\",\"block\":%d,\"block_kind\":\"TOOL\",\"id\":\"c%d\"}",
                 i, i);
        told(&f, line);
    }
    for (int i = 99; i >= 0; i--) {
        snprintf(line, sizeof(line), "{\"kind\":\"TOOL_ARGS\",\"block\":%d,\"text\":\"%d\"}", i, i);
        told(&f, line);
    }
    uint32_t n = 0;
    for (const struct collect_block *b = f.collect.choices->blocks; b != NULL; b = b->next, n++) {
        snprintf(line, sizeof(line), "%u", n);
        assert_int_equal(b->number, n);
        is(buf_str(&b->text), line);
    }
    assert_int_equal(n, 100);
    end(&f);
}

static void test_error(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 1024 * 1024, 4096);
    told(&f, "{\"kind\":\"ERROR\",\"status\":529,\"type\":\"t\",\"code\":\"c\",\"message\":\"m\"}");
    assert_true(f.collect.failed);
    assert_int_equal(f.collect.error.error.status, 529);
    is(f.collect.error.error.type, "t");
    is(f.collect.error.error.code, "c");
    is(f.collect.error.error.message, "m");
    assert_null(f.collect.choices);
    end(&f);
}

/* Whatever passes the bound: no more is taken, and it is said each time. */
static void test_bytes_max(void **state)
{
    static const char *const last[] = {
        "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"1234\"}",
        "{\"kind\":\"CITATION\",\"block\":0,\"text\":\"1234\"}",
        "{\"kind\":\"LOGPROBS\",\"block\":0,\"text\":\"1234\"}",
        "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"1234\"}",
        "{\"kind\":\"STOP\",\"reason\":\"END\",\"native\":\"1234\"}",
        "{\"kind\":\"START\",\"id\":\"1234\"}",
        "{\"kind\":\"ERROR\",\"message\":\"1234\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"block\":1,\"block_kind\":\"TEXT\",\"id\":\"1234\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        for (size_t max = 3; max <= 7; max++) {
            struct fixture f;
            struct collect_block *block;
            begin(&f, 1024 * 1024, max);
            told(&f, "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"TEXT\"}");
            told(&f, "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"abc\"}");
            assert_int_equal(say(&f, last[i], &block), max >= 7);
            if (max < 7) {
                assert_null(block);
                assert_false(say(&f, "{\"kind\":\"KEEPALIVE\"}", NULL));
                is(buf_str(&collect_block(&f.collect, 0, 0)->text), "abc");
            }
            end(&f);
        }
    }
}

/* However little the arena may hold, nothing is written where there is none. */
static void test_arena_max(void **state)
{
    bool fits = false;

    (void)state;
    for (size_t max = 512; max < 64 * 1024 && !fits; max += 512) {
        struct fixture f;
        char line[128];
        begin(&f, max, 1024 * 1024);
        fits = true;
        for (int i = 0; i < 20 && fits; i++) {
            snprintf(line, sizeof(line),
                     "{\"kind\":\"BLOCK_BEGIN\",\"choice\":%d,\"block\":%d,"
                     "\"block_kind\":\"TEXT\",\"id\":\"an id that takes some room\"}",
                     i / 10, i % 10);
            fits = say(&f, line, NULL);
            if (fits) {
                snprintf(line, sizeof(line),
                         "{\"kind\":\"LOGPROBS\",\"choice\":%d,\"block\":%d,\"text\":\"[1,2,3]\"}",
                         i / 10, i % 10);
                fits = say(&f, line, NULL);
            }
        }
        if (!fits)
            assert_false(say(&f, "{\"kind\":\"STOP\",\"reason\":\"END\"}", NULL));
        end(&f);
    }
    assert_true(fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),      cmocka_unit_test(test_choices),
        cmocka_unit_test(test_many_blocks), cmocka_unit_test(test_error),
        cmocka_unit_test(test_bytes_max),   cmocka_unit_test(test_arena_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
