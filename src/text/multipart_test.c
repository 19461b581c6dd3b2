/* SPDX-License-Identifier: MIT */
/* Fields of forms: what is found, what is not, and that no cut makes another of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "text/multipart.h"

static struct arena arena;

static void test_boundary(void **state)
{
    static const struct {
        const char *type;
        const char *boundary; /* NULL: none */
    } cases[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"Multipart/Form-Data;BOUNDARY=abc", "abc"},
        {"multipart/form-data; charset=utf-8; boundary=\"a b;c\"", "a b;c"},
        {"multipart/form-data; boundary=\"a\\\"b\"", "a\"b"},
        {"multipart/form-data; boundary=abc ; x=y", "abc"},
        {"multipart/form-data; flag; boundary=abc", "abc"},
        {"multipart/form-data; x=\"boundary=no\"; boundary=yes", "yes"},
        {"multipart/form-data; boundary=\"open", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"ends \"", NULL},
        {"multipart/form-data; boundary=\"a\tb\"", NULL},
        {"multipart/form-data", NULL},
        {"multipart/mixed; boundary=abc", NULL},
        {"application/json; boundary=abc", NULL},
        {"multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901",
         NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str found = multipart_boundary(str_c(cases[i].type), &arena);
        if (cases[i].boundary == NULL)
            assert_true(str_is_null(found));
        else if (!str_eq(found, str_c(cases[i].boundary)))
            fail_msg("%s: %.*s", cases[i].type, STR_ARG(found));
    }
}

#define PART(head, value) "--b\r\n" head "\r\n\r\n" value "\r\n"
#define NAMED(name)       "Content-Disposition: form-data; name=" name

static void test_find(void **state)
{
    static const struct {
        const char *body;
        const char *value; /* NULL: none */
        size_t count;
    } cases[] = {
        {PART(NAMED("\"model\""), "m-1") "--b--", "m-1", 1},
        {PART(NAMED("model"), "m-1") "--b--\r\n", "m-1", 1},
        {PART("content-disposition:form-data;NAME=\"model\"", "") "--b--", "", 1},
        {"a preamble\r\n" PART(NAMED("\"model\""), "m-1") "--b--", "m-1", 1},
        {"--b \t\r\n" NAMED("\"model\"") "\r\n\r\nm-1\r\n--b--", "m-1", 1},
        {PART("X: y\r\n" NAMED("\"model\"") "\r\nContent-Type: text/plain", "m") "--b--", "m", 1},
        {PART(NAMED("\"mo\\del\""), "m") "--b--", "m", 1},
        {PART(NAMED("\"file\"; filename=\"model\""), "x") PART(NAMED("\"model\""), "m") "--b--",
         "m", 1},
        {PART(NAMED("\"model\""), "m") PART(NAMED("\"model\""), "n") "--b--", "m", 2},
        /* Folded. */
        {PART("Content-Disposition: form-data;\r\n name=\"model\"", "m") "--b--", "m", 1},
        {PART("Content-Disposition:\r\n\tform-data; name=\r\n model\r\nX: y", "m") "--b--", "m", 1},
        {PART("X: y\r\n " NAMED("\"model\""), "no") "--b--", NULL, 0},
        {PART(NAMED("\"x\""), " ; name=\"model\"\r\n\r\nno") "--b--", NULL, 0},
        {"--b\r\n" NAMED("\"model\"") "\r\n \r\n\t\r\n--b--", NULL, 0},
        /* Values that look like more than they are. */
        {PART(NAMED("\"file\""), "--bb\r\n" NAMED("\"model\"") "\r\n\r\nno") "--b--", NULL, 0},
        {PART(NAMED("\"file\""), "x--b\r\n" NAMED("\"model\"") "\r\n\r\nno") "--b--", NULL, 0},
        {PART(NAMED("\"file\""), "x\n--b\r\n" NAMED("\"model\"") "\r\n\r\nno") "--b--", NULL, 0},
        {PART(NAMED("\"x\"\r\n\r\n" NAMED("\"model\"")), "no") "--b--", NULL, 0},
        {PART(NAMED("\"model\""), "a\r\n\r\nb") "--b--", "a\r\n\r\nb", 1},
        /* Not of that name. */
        {PART(NAMED("\"models\""), "m") "--b--", NULL, 0},
        {PART(NAMED("\"mode\""), "m") "--b--", NULL, 0},
        {PART("Content-Disposition: attachment; name=\"model\"", "m") "--b--", NULL, 0},
        {PART("Content-Disposition: form-data; name=\"model", "m") "--b--", NULL, 0},
        {PART("Content-Disposition: form-data", "m") "--b--", NULL, 0},
        {PART("X: form-data; name=\"model\"", "m") "--b--", NULL, 0},
        /* Behind the end, without one, without anything. */
        {"--b--\r\n" PART(NAMED("\"model\""), "m") "--b--", NULL, 0},
        {PART(NAMED("\"model\""), "m"), NULL, 0},
        {"--b\r\n--b\r\n--b--", NULL, 0},
        {"--b\r\n" NAMED("\"model\"") "\r\n--b--", NULL, 0},
        {"--b", NULL, 0},
        {"", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str body = str_c(cases[i].body);
        struct multipart_field field = multipart_find(body, STR("b"), STR("model"));
        assert_int_equal(field.count, cases[i].count);
        if (cases[i].value == NULL)
            continue;
        struct str value = str_of(body.p + field.begin, field.end - field.begin);
        if (!str_eq(value, str_c(cases[i].value)))
            fail_msg("%s: %.*s", cases[i].body, STR_ARG(value));
    }
}

/* The beginning of a body has the field as a whole, or has not; nothing else. */
static void test_cut(void **state)
{
    static const char text[] = PART(NAMED("\"file\"; filename=\"a\""), "--b x\r\n--\r\n--bx")
        PART(NAMED("\"model\""), "m-1\r\n-") PART(NAMED("\"n\""), "1") "--b--\r\n";
    struct str body = str_of(text, sizeof(text) - 1);
    struct multipart_field whole = multipart_find(body, STR("b"), STR("model"));
    size_t found = 0;

    (void)state;
    assert_int_equal(whole.count, 1);
    for (size_t n = 0; n <= body.n; n++) {
        char *exact = mem_raw(n + 1); /* so that a sanitizer sees who reads behind it */
        memcpy(exact, body.p, n);
        struct multipart_field field = multipart_find(str_of(exact, n), STR("b"), STR("model"));
        mem_free(exact);
        if (field.count == 0)
            continue;
        found++;
        assert_int_equal(field.begin, whole.begin);
        assert_int_equal(field.end, whole.end);
        assert_true(n > whole.end);
    }
    assert_true(found > 20);
}

/* Whatever it is: nothing is read outside of it, and what is found lies within. */
static void test_chance(void **state)
{
    static const char pieces[][24] = {"--b",
                                      "\r\n",
                                      "--",
                                      "b",
                                      ":",
                                      ";",
                                      "name",
                                      "=",
                                      "\"",
                                      "model",
                                      "form-data",
                                      "\\",
                                      " ",
                                      "\n",
                                      "--b\r\n",
                                      "--b--",
                                      "Content-Disposition: "};
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[256];
        size_t n = 0;
        while (n < 200) {
            seed = seed * 1664525 + 1013904223;
            const char *piece = pieces[(seed >> 16) % COUNT_OF(pieces)];
            memcpy(text + n, piece, strlen(piece));
            n += strlen(piece);
            if ((seed >> 8) % 40 == 0)
                break;
        }
        struct multipart_field field = multipart_find(str_of(text, n), STR("b"), STR("model"));
        assert_true(field.begin <= field.end && field.end <= n);
        (void)multipart_boundary(str_of(text, n), &arena);
    }
}

/* A line costs what its bytes do, whatever stands in it: with squares each took many seconds. */
static void test_long_lines(void **state)
{
    static const struct {
        const char *piece;
        const char *end;
    } cases[] = {{";", ""}, {";", "="}, {";a=\"\"", ""}, {";a=\"\"", " "}, {";a=", ";"}};
    enum { PIECES = 1000 * 1000, BLANKS = 200 * 1000 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf body;
        buf_init(&body, 8 * 1024 * 1024);
        (void)buf_add(&body, STR("--b\r\nContent-Disposition: form-data"));
        for (size_t n = 0; n < PIECES; n++)
            (void)buf_add(&body, str_c(cases[i].piece));
        for (size_t n = 0; n < BLANKS; n++)
            (void)buf_add(&body, str_c(cases[i].end));
        assert_true(buf_add(&body, STR("; name=model\r\n\r\nm\r\n--b--\r\n")));
        clock_t began = clock();
        struct multipart_field field = multipart_find(buf_str(&body), STR("b"), STR("model"));
        assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
        assert_int_equal(field.count, 1);
        buf_fini(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boundary),   cmocka_unit_test(test_find),
        cmocka_unit_test(test_cut),        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_long_lines),
    };

    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
