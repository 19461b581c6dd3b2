/* SPDX-License-Identifier: MIT */
/*
 * Conversations are JSON as a client could send it: {"m":[{"r":"a","c":[{"k":"think","t":"…",
 * "s":"…"}, …]}, …]}, read into turns that know their source. A signature "@vendor:payload" is
 * packed before.
 */
#include "canon/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"
#include "canon/call_digest.h"
#include "canon/recall.h"
#include "text/json_string.h"

static const struct seal seal = {.key = {{7}}};
static const struct seal other_seal = {.key = {{8}}};

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 16 * 1024 * 1024, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* "@v:p" becomes p packed for v; "!v:p" the same by somebody who has not our key. */
static struct str pack_all(const char *text)
{
    struct buf out;
    struct str rest = str_c(text);

    buf_init(&out, 1024 * 1024);
    while (rest.n > 0) {
        char c = rest.p[0];
        if ((c != '@' && c != '!') || out.n == 0 || out.p[out.n - 1] != '"') {
            buf_add_char(&out, c);
            rest = str_from(rest, 1);
            continue;
        }
        size_t colon = str_find_char(rest, ':', 0);
        size_t end = str_find_char(rest, '"', 0);
        struct str vendor = str_of(rest.p + 1, colon - 1);
        struct str payload = str_of(rest.p + colon + 1, end - colon - 1);
        buf_add(&out, seal_pack(c == '@' ? &seal : &other_seal, vendor, STR("m"), payload, &arena));
        rest = str_from(rest, end);
    }
    struct str all = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return all;
}

static struct str string_of(struct str object, const char *key)
{
    struct str value = json_object_find(object, str_c(key));

    return str_is_null(value) ? STR_NULL : json_string_value(value, &arena);
}

static struct part *read_part(struct str source)
{
    struct part *part = ARENA_NEW(&arena, struct part);
    struct str kind = string_of(source, "k");

    part->source = source;
    part->text = string_of(source, "t");
    part->id = string_of(source, "id");
    part->signature = string_of(source, "s");
    if (str_is_null(part->signature))
        part->signature = string_of(json_object_find(source, STR("deep")), "s");
    part->redacted = str_eq(kind, STR("redacted"));
    part->kind = str_eq(kind, STR("call"))   ? PART_TOOL_CALL
                 : str_eq(kind, STR("text")) ? PART_TEXT
                                             : PART_REASONING;
    return part;
}

static struct request read_request(struct str source)
{
    struct request request = {.source = source, .full = true};
    struct turn **to = &request.turns;
    struct str messages = json_object_find(source, STR("m"));
    struct str message;
    size_t at = 0;

    while (json_array_next(messages, &at, &message)) {
        struct turn *turn = ARENA_NEW(&arena, struct turn);
        struct part **part = &turn->parts;
        struct str element;
        size_t cursor = 0;
        turn->source = message;
        turn->role = str_eq(string_of(message, "r"), STR("a")) ? ROLE_ASSISTANT : ROLE_USER;
        while (json_array_next(json_object_find(message, STR("c")), &cursor, &element)) {
            *part = read_part(element);
            part = &(*part)->next;
        }
        *to = turn;
        to = &turn->next;
    }
    return request;
}

static const struct reason_options options = {.seal = &seal, .vendor = STR_INIT("v")};

/* --- same protocol --- */

struct edit_row {
    const char *in;
    const char *out;
};

static const struct edit_row edit_rows[] = {
    /* Nothing packed: nothing done. */
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"t\":\"x\",\"s\":\"EqRaw\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"t\":\"x\",\"s\":\"EqRaw\"}]}]}"},
    /* Its own: unpacked. */
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@v:EqRaw\"},{\"k\":\"text\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"EqRaw\"},{\"k\":\"text\"}]}]}"},
    /* Another's, forged, or its own without anything: the block goes, with one comma. */
    {"{\"m\":[{\"r\":\"a\",\"c\":[ {\"k\":\"think\",\"s\":\"@w:Eq\"} , {\"k\":\"text\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[ {\"k\":\"text\"}]}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"} ,{\"k\":\"redacted\",\"s\":\"!v:Eq\"} ]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"}  ]}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"},{\"k\":\"think\",\"s\":\"@v:\"},"
     "{\"k\":\"call\"}]}"
     "]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"},{\"k\":\"call\"}]}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:1\"},{\"k\":\"think\","
     "\"s\":\"@w:2\"},"
     "{\"k\":\"text\"},{\"k\":\"think\",\"s\":\"@w:3\"},{\"k\":\"think\",\"s\":\"@w:4\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"}]}]}"},
    /* Nothing is left of the message: it goes. */
    {"{\"m\":[{\"r\":\"u\"},{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:1\"},"
     "{\"k\":\"redacted\","
     "\"s\":\"@w:2\"}]},{\"r\":\"u\"}]}",
     "{\"m\":[{\"r\":\"u\"},{\"r\":\"u\"}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:1\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
     "\"think\",\"s\":\"@w:1\"}]}]}",
     "{\"m\":[]}"},
    /* Of calls and texts the signature alone. */
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\",\"s\":\"@w:1\",\"t\":\"x\"},"
     "{\"s\":\"@v:2\",\"k\":"
     "\"text\"},{\"k\":\"text\",\"s\":\"@w:1\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\",\"t\":\"x\"},{\"s\":\"2\",\"k\":\"text\"},{\"k\":"
     "\"text\"}]}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"s\":\"@w:1\"},{\"k\":\"call\","
     "\"s\":\"@v:2\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"s\":\"none\"},{\"k\":\"call\","
     "\"s\":\"2\"}]}]}"},
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\",\"deep\":{\"s\":\"@w:1\"}}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\",\"deep\":{\"s\":\"\"}}]}]}"},
    /* What is packed for itself may need escapes. */
    {"{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@v:a\\b\"}]}]}",
     "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"a\\\\b\"}]}]}"},
    /* In what the user says it is just text. */
    {"{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"cHgxL\"}]}]}",
     "{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"cHgxL\"}]}]}"},
};

static void test_edit(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(edit_rows); i++) {
        struct str source = pack_all(edit_rows[i].in);
        struct request request = read_request(source);
        struct str *pieces;
        struct buf out;
        size_t n;
        size_t bytes;
        buf_init(&out, 64 * 1024);
        reason_edit(&request, &options, STR("none"), &arena);
        json_edit_apply(&request.edits, source, &arena, &pieces, &n, &bytes);
        for (size_t k = 0; k < n; k++)
            buf_add(&out, pieces[k]);
        if (!str_eq(buf_str(&out), str_c(edit_rows[i].out)))
            fail_msg("%s:\n%.*s", edit_rows[i].in, STR_ARG(buf_str(&out)));
        struct json_index index;
        struct error e;
        assert_int_equal(json_index_read(&index, buf_str(&out), 16, NULL, &arena, &e), OK);
        buf_fini(&out);
    }
}

/* Catches: a place that is looked for at each repetition of what a client wrote: hours of work. */
static void test_repeated(void **state)
{
    static const char period[] = "cHgxL";
    struct buf body;

    (void)state;
    buf_init(&body, 4 * 1024 * 1024);
    (void)buf_add(&body, STR("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\",\"t\":\""));
    while (body.n < 2 * 1024 * 1024)
        (void)buf_add(&body, str_c(period));
    (void)buf_add(&body, STR("\",\"s\":\""));
    while (body.n < 3 * 1024 * 1024)
        (void)buf_add(&body, str_c(period));
    (void)buf_add(&body, STR("\"}]}]}"));
    struct request request = read_request(buf_str(&body));
    reason_edit(&request, &options, STR("none"), &arena);
    assert_false(arena_overflowed(&arena));
    assert_int_equal(request.edits.n, 1);
    buf_fini(&body);
}

static void test_is_packed_in(void **state)
{
    (void)state;
    assert_false(reason_is_packed_in(STR_NULL));
    assert_false(reason_is_packed_in(STR("")));
    assert_false(reason_is_packed_in(str_c(edit_rows[0].in)));
    for (size_t i = 1; i < COUNT_OF(edit_rows); i++)
        assert_true(reason_is_packed_in(pack_all(edit_rows[i].in)));
}

/* --- written anew --- */

static void write_parts(const struct request *request, struct buf *out)
{
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        buf_add_char(out, turn->role == ROLE_USER ? 'U' : 'A');
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            buf_print(out, " %s", request_part_name(part->kind));
            if (!str_is_null(part->signature))
                buf_print(out, "~%.*s", STR_ARG(part->signature));
            if (!str_is_null(part->vendor))
                buf_print(out, "(%.*s)", STR_ARG(part->vendor));
        }
        buf_add_char(out, ';');
    }
}

static void expect(const char *json, const struct reason_options *how, const char *wanted)
{
    struct request request = read_request(pack_all(json));
    struct request opened;
    struct buf before;
    struct buf out;

    buf_init(&before, 64 * 1024);
    buf_init(&out, 64 * 1024);
    write_parts(&request, &before);
    reason_open(&request, how, &arena, &opened);
    write_parts(&opened, &out);
    if (!str_eq(buf_str(&out), str_c(wanted)))
        fail_msg("%s:\n%.*s\ninstead of\n%s", json, STR_ARG(buf_str(&out)), wanted);
    /* Another attempt sees it as it was. */
    buf_reset(&out);
    write_parts(&request, &out);
    assert_true(str_eq(buf_str(&out), buf_str(&before)));
    buf_fini(&before);
    buf_fini(&out);
}

static void test_open(void **state)
{
    (void)state;
    /* Its own; its own without a signature; another's, forged, raw; without. */
    expect(
        "{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\"}]},{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":"
        "\"@v:Eq\"},{\"k\":\"think\",\"t\":\"x\",\"s\":\"@v:\"},{\"k\":\"text\"}]}]}",
        &options, "U text;A reasoning~Eq(v) reasoning(v) text;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:Eq\"},{\"k\":\"think\",\"s\":"
           "\"!v:Eq\"},{\"k\":\"think\",\"s\":\"EqRaw\"},{\"k\":\"text\"}]}]}",
           &options, "A text;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"t\":\"x\"},{\"k\":\"text\"}]}]}",
           &options, "A reasoning text;");
    /* Redacted. */
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"redacted\",\"s\":\"@v:Eq\"},"
           "{\"k\":\"redacted\",\"s\":"
           "\"@w:Eq\"},{\"k\":\"redacted\",\"s\":\"Eq\"},{\"k\":\"redacted\"},{\"k\":\"text\"}]}]}",
           &options, "A reasoning~Eq(v) text;");
    /* Calls and texts stay, whoever signed them. */
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"s\":\"@v:Eq\"},{\"k\":\"call\",\"s\":"
           "\"@w:Eq\"},{\"k\":\"text\",\"s\":\"Eq\"}]}]}",
           &options, "A tool_call~Eq(v) tool_call text;");
    /* A message of nothing else is empty then; canon/fit drops it. */
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:Eq\"}]},{\"r\":\"u\"}]}",
           &options, "A;U;");
}

/* Thoughts that a client has in pieces are one again, with the signature that follows them. */
static void test_joined(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct request opened;
        struct request request = read_request(pack_all(
            own ? "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"t\":\"I ne\"}]},"
                  "{\"r\":\"a\",\"c\":"
                  "[{\"k\":\"think\",\"t\":\"ed\"},{\"k\":\"think\",\"t\":\"\",\"s\":\"@v:Eq\"},"
                  "{\"k\":\"call\"},{\"k\":\"think\",\"t\":\"alone\"}]}]}"
                : "{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"t\":\"I ne\"}]},"
                  "{\"r\":\"a\",\"c\":"
                  "[{\"k\":\"think\",\"t\":\"ed\"},{\"k\":\"think\",\"t\":\"\",\"s\":\"@w:Eq\"},"
                  "{\"k\":\"call\"},{\"k\":\"think\",\"t\":\"alone\"}]}]}"));
        reason_open(&request, &options, &arena, &opened);
        assert_null(opened.turns->parts);
        const struct part *part = opened.turns->next->parts;
        if (own) {
            assert_true(str_eq(part->text, STR("I need")));
            assert_true(str_eq(part->signature, STR("Eq")));
            part = part->next;
        }
        assert_int_equal(part->kind, PART_TOOL_CALL);
        assert_true(str_eq(part->next->text, STR("alone")));
        assert_null(part->next->next);
        assert_true(str_eq(request.turns->parts->text, STR("I ne")));
    }
}

/* What is kept, by key. */
static struct str find(void *ctx, struct str key, struct arena *to)
{
    const char *const *kept = ctx;

    (void)to;
    for (size_t i = 0; kept[i] != NULL; i += 2) {
        if (str_eq(key, str_c(kept[i])))
            return str_c(kept[i + 1]);
    }
    return STR_NULL;
}

/* Of a call without name and arguments. */
static void call_key(const char *id, uint64_t asked, char to[RECALL_KEY_MAX + 1])
{
    struct str key = recall_call_key(asked, str_c(id), call_digest_of(STR_NULL, STR_NULL), to);

    to[key.n] = '\0';
}

/* With the digest in the place of each @. */
static void call_value(const char *text, char *to)
{
    for (; *text != '\0'; text++) {
        if (*text == '@')
            to += snprintf(to, 32, "16:%016llx",
                           (unsigned long long)call_digest_of(STR_NULL, STR_NULL));
        else
            *to++ = *text;
    }
    *to = '\0';
}

static void test_completed(void **state)
{
    char text_key[RECALL_KEY_MAX + 1];
    struct request request = read_request(STR(
        "{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"hi\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
        "\"text\",\"t\":\"ho\"}]}]}"));
    (void)state;
    struct str key = recall_text_key(recall_asked(&request), recall_said(request.turns->next),
                                     text_key);
    text_key[key.n] = '\0';
    char keys[3][RECALL_KEY_MAX + 1];
    char values[3][200];
    call_key("a", 0, keys[0]);
    call_key("b", 0, keys[1]);
    call_key("d", 0, keys[2]);
    call_value("V1:v0:0:R0:2:hm3:sigC1:a@0:", values[0]);
    call_value("V1:w0:0:R0:2:hm3:sigC1:b@0:", values[1]);
    call_value("V1:v0:0:C1:c@2:s1C1:d@2:s2", values[2]);
    const char *kept[] = {
        keys[0], values[0], keys[1],  values[1],
        keys[2], values[2], text_key, "V1:v0:0:R0:2:hm3:sigT0:0:0:",
        NULL,
    };
    struct reason_options with = options;
    with.find = find;
    with.ctx = kept;

    /* By call; not another's; by any of its calls; by its text. */
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"text\"},{\"k\":\"call\",\"id\":\"a\"}]}]}", &with,
           "A text reasoning~sig(v) tool_call;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"id\":\"b\"}]}]}", &with, "A tool_call;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"id\":\"c\"},{\"k\":\"call\","
           "\"id\":\"d\"}]}]}",
           &with, "A tool_call~s1(v) tool_call~s2(v);");
    expect("{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"hi\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
           "\"text\",\"t\":\"ho\"}]}]}",
           &with, "U text;A reasoning~sig(v) text;");
    expect("{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"ha\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
           "\"text\",\"t\":\"ho\"}]}]}",
           &with, "U text;A text;");
    /* What the client brought is not told twice; another's makes room for what was kept. */
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@v:Eq\"},{\"k\":\"call\","
           "\"id\":\"a\"}"
           "]}]}",
           &with, "A reasoning~Eq(v) tool_call;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"think\",\"s\":\"@w:Eq\"},{\"k\":\"call\","
           "\"id\":\"a\"}"
           "]}]}",
           &with, "A reasoning~sig(v) tool_call;");
    /* After another question, or further on. */
    expect("{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"text\",\"t\":\"hi\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
           "\"call\",\"id\":\"a\"}]}]}",
           &with, "U text;A tool_call;");
    expect("{\"m\":[{\"r\":\"a\",\"c\":[{\"k\":\"call\",\"id\":\"a\"}]},{\"r\":\"a\",\"c\":[{\"k\":"
           "\"call\",\"id\":\"a\"}]}]}",
           &with, "A reasoning~sig(v) tool_call;A tool_call;");
    /* Users have no reasoning. */
    expect("{\"m\":[{\"r\":\"u\",\"c\":[{\"k\":\"call\",\"id\":\"a\"}]}]}", &with, "U tool_call;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_edit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_packed_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(test_completed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
