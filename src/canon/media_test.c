/* SPDX-License-Identifier: MIT */
#include "canon/media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(struct str got, const char *want)
{
    if (str_is_null(got) != (want == NULL) || !str_eq(got, str_c(want)))
        fail_msg("%.*s, not %s", STR_ARG(got), want == NULL ? "null" : want);
}

static void test_urls(void **state)
{
    static const struct {
        const char *url;
        const char *type;
        const char *data;
        bool is_url;
    } cases[] = {
        {"https://x/i.png", NULL, "https://x/i.png", true},
        {"data:image/png;base64,QUJD", "image/png", "QUJD", false},
        {"DATA:text/plain;charset=utf-8;base64,QQ==", "text/plain;charset=utf-8", "QQ==", false},
        {"data:;base64,QQ==", "", "QQ==", false},
        {"data:text/plain,hello", NULL, "data:text/plain,hello", true},
        {"", NULL, "", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct part part = {.kind = PART_IMAGE};
        media_set_url(&part, str_c(cases[i].url));
        expect(part.media_type, cases[i].type);
        expect(part.data, cases[i].data);
        assert_int_equal(part.is_url, cases[i].is_url);
    }
}

/* Catches: data that a vendor would be asked to fetch, or that is not what the URL holds. */
static void test_take_apart(void **state)
{
    static const struct {
        const char *url;
        const char *type;
        const char *data; /* NULL: it cannot be read */
        bool is_url;
    } cases[] = {
        {"https://x/i,png", NULL, "https://x/i,png", true},
        {"data:text/plain,hello%20you", "text/plain", "aGVsbG8geW91", false},
        {"data:text/plain;charset=utf-8,a", "text/plain;charset=utf-8", "YQ==", false},
        {"data:image/png;BASE64,iVBORw%3D%3D", "image/png", "iVBORw==", false},
        {"DATA:image/png;base64,+/8=", "image/png", "+/8=", false},
        {"data:,ab", NULL, "YWI=", false},
        {"data:image/svg+xml,%00%FF+", "image/svg+xml", "AP8r", false},
        {"data:,", NULL, "", false},
        {"data:image/png", NULL, NULL, true},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct part part = {.kind = PART_IMAGE, .is_url = true, .data = str_c(cases[i].url)};
        assert_int_equal(media_take_apart(&part, &arena), cases[i].data != NULL);
        if (cases[i].data == NULL)
            continue;
        expect(part.media_type, cases[i].type);
        expect(part.data, cases[i].data);
        assert_int_equal(part.is_url, cases[i].is_url);
    }
    arena_fini(&arena);
}

/* Catches: an image that a vendor refuses as its type is misnamed, wrong or missing. */
static void test_types(void **state)
{
    static const struct {
        enum part_kind kind;
        const char *said;
        const char *data;
        const char *type;
        const char *format;
    } cases[] = {
        {PART_IMAGE, "image/jpg", "QUJD", "image/jpeg", "image/jpeg"},
        {PART_IMAGE, "IMAGE/PNG; q=1", "QUJD", "image/png", "image/png"},
        {PART_IMAGE, NULL, "iVBORw0KGgoAAAANSUhEUg", "image/png", "image/png"},
        {PART_IMAGE, "image/png", "/9j/4AAQSkZJRgABAQ", "image/jpeg", "image/jpeg"},
        {PART_IMAGE, NULL, "R0lGODlhAQABAIAAAP", "image/gif", "image/gif"},
        {PART_IMAGE, NULL, "R0lGODdhAQABAIAAAP", "image/gif", "image/gif"},
        {PART_IMAGE, NULL, "UklGRiQAAABXRUJQVlA4", "image/webp", "image/webp"},
        {PART_IMAGE, NULL, "UklGRiQAAABXQVZFZm10", NULL, NULL},
        {PART_IMAGE, NULL, "QUJD", NULL, NULL},
        {PART_IMAGE, "image/x-odd", "!!", "image/x-odd", "image/x-odd"},
        {PART_FILE, NULL, "JVBERi0xLjcK", "application/pdf", "application/pdf"},
        {PART_FILE, "application/x-pdf", "QUJD", "application/pdf", "application/pdf"},
        {PART_FILE, "text/plain;charset=utf-8", "QUJD", "text/plain", "text/plain"},
        {PART_AUDIO, "wav", "QUJD", "audio/wav", "wav"},
        {PART_AUDIO, "audio/mpeg", "QUJD", "audio/mp3", "mp3"},
        {PART_AUDIO, "audio/x-wav", "QUJD", "audio/wav", "wav"},
        {PART_AUDIO, NULL, "iVBORw0KGgo", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct part part = {.kind = cases[i].kind,
                                  .media_type = str_c(cases[i].said),
                                  .data = str_c(cases[i].data)};
        expect(media_type_of(&part), cases[i].type);
        expect(media_audio_format(&part), cases[i].format);
    }
}

static void test_url_of(void **state)
{
    struct part part = {.kind = PART_IMAGE, .data = STR("https://x"), .is_url = true};
    struct arena arena;

    (void)state;
    arena_init(&arena, 2048, 512, NULL);
    expect(media_url(&part, &arena), "https://x");
    part = (struct part){.kind = PART_IMAGE, .media_type = STR("image/jpg"), .data = STR("QUJD")};
    expect(media_url(&part, &arena), "data:image/jpeg;base64,QUJD");
    part.media_type = STR_NULL;
    expect(media_url(&part, &arena), "data:application/octet-stream;base64,QUJD");
    /* What does not fit is not written. */
    static char large[4096];
    memset(large, 'A', sizeof(large));
    part.data = str_of(large, sizeof(large));
    expect(media_url(&part, &arena), "");
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

static void test_text(void **state)
{
    static const char *const cases[][2] = {
        {"aGVsbG8=", "hello"},
        {"aGVsbG8", "hello"},
        {"", ""},
        {"4oKs_w", "\xe2\x82\xac\xef\xbf\xbd"},
        {"a b", NULL},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 4096, 512, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct part part = {.kind = PART_FILE, .data = str_c(cases[i][0])};
        expect(media_text(&part, &arena), cases[i][1]);
    }
    static char large[8192];
    memset(large, 'A', sizeof(large));
    const struct part part = {.kind = PART_FILE, .data = str_of(large, sizeof(large))};
    expect(media_text(&part, &arena), NULL);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),  cmocka_unit_test(test_take_apart),
        cmocka_unit_test(test_types), cmocka_unit_test(test_url_of),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
