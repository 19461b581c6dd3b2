/* SPDX-License-Identifier: MIT */
/*
 * Answers and turns in short notation, parts divided by '|': think:TEXT[~SIGNATURE],
 * redacted~SIGNATURE, text:TEXT[~SIGNATURE], call:ID[=ARGUMENTS][~SIGNATURE].
 */
#include "canon/recall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/call_digest.h"

struct fixture {
    struct arena arena;
    struct collect collect;
    struct buf kept;
};

static void set_up(struct fixture *f)
{
    arena_init(&f->arena, 8 * 1024 * 1024, 1024, NULL);
    collect_init(&f->collect, &f->arena, 64 * 1024);
    buf_init(&f->kept, 64 * 1024);
}

static void tear_down(struct fixture *f)
{
    collect_fini(&f->collect);
    buf_fini(&f->kept);
    arena_fini(&f->arena);
}

static bool take(struct str *s, const char *lead)
{
    if (!str_starts(*s, str_c(lead)))
        return false;
    *s = str_from(*s, strlen(lead));
    return true;
}

/* --- answers --- */

static void tell(struct fixture *f, enum event_kind kind, uint32_t block, struct str text)
{
    const struct event event = {.kind = kind, .block = block, .text = text};

    if (!str_is_null(text))
        assert_true(collect_event(&f->collect, &event, NULL));
}

static void tell_block(struct fixture *f, uint32_t number, struct str word)
{
    struct event begin = {.kind = EVENT_BLOCK_BEGIN, .block = number};
    enum event_kind kind = EVENT_TEXT;
    struct str text = STR_NULL;
    struct str signature = STR_NULL;

    if (take(&word, "think:")) {
        begin.begin.kind = BLOCK_REASONING;
        begin.begin.id = STR("rs_1");
        kind = EVENT_REASONING;
    } else if (take(&word, "redacted")) {
        begin.begin.kind = BLOCK_REDACTED;
    } else if (take(&word, "call:")) {
        begin.begin.kind = BLOCK_TOOL;
    } else {
        assert_true(take(&word, "text:"));
        begin.begin.kind = BLOCK_TEXT;
    }
    signature = word;
    (void)str_cut(&signature, '~', &text);
    struct str args = text;
    if (begin.begin.kind == BLOCK_TOOL)
        (void)str_cut(&args, '=', &begin.begin.id);
    struct collect_block *block;
    assert_true(collect_event(&f->collect, &begin, &block));
    if (begin.begin.kind == BLOCK_TOOL && !str_is_null(args)) {
        block->user = ARENA_NEW(&f->arena, struct call_digest);
        call_digest_add(block->user, args);
    }
    if (begin.begin.kind != BLOCK_TOOL && begin.begin.kind != BLOCK_REDACTED)
        tell(f, kind, number, text);
    tell(f, EVENT_SIGNATURE, number, signature);
}

/* What is kept of the answer; null: nothing. */
static struct str keep(struct fixture *f, const char *answer, enum recall_what what)
{
    struct str rest = str_c(answer);
    struct str word;

    for (uint32_t i = 0; str_cut(&rest, '|', &word); i++)
        tell_block(f, i, word);
    return recall_write(collect_choice(&f->collect, 0), STR("v"), what, &f->kept)
               ? buf_str(&f->kept)
               : STR_NULL;
}

/* --- turns --- */

static struct part *read_part(struct fixture *f, struct str word)
{
    struct part *part = ARENA_NEW(&f->arena, struct part);

    if (take(&word, "think:")) {
        part->kind = PART_REASONING;
        part->text = word;
    } else if (take(&word, "call:")) {
        part->kind = PART_TOOL_CALL;
        (void)str_cut(&word, '~', &part->text);
        part->signature = word;
        (void)str_cut(&part->text, '=', &part->id);
    } else {
        assert_true(take(&word, "text:"));
        part->kind = PART_TEXT;
        part->text = word;
    }
    return part;
}

static struct turn read_turn(struct fixture *f, const char *text)
{
    struct turn turn = {.role = ROLE_ASSISTANT};
    struct part **to = &turn.parts;
    struct str rest = str_c(text);
    struct str word;

    while (str_cut(&rest, '|', &word)) {
        *to = read_part(f, word);
        to = &(*to)->next;
    }
    return turn;
}

static void write_turn(const struct turn *turn, struct buf *out)
{
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part != turn->parts)
            buf_add_char(out, '|');
        if (part->redacted)
            buf_add(out, STR("redacted"));
        else if (part->kind == PART_REASONING)
            buf_print(out, "think:%.*s", STR_ARG(part->text));
        else if (part->kind == PART_TOOL_CALL)
            buf_print(out, "call:%.*s%s%.*s", STR_ARG(part->id), str_is_null(part->text) ? "" : "=",
                      STR_ARG(part->text));
        else
            buf_print(out, "text:%.*s", STR_ARG(part->text));
        if (!str_is_null(part->signature))
            buf_print(out, "~%.*s", STR_ARG(part->signature));
    }
}

struct row {
    const char *answer;
    const char *turn;
    const char *after; /* NULL: not applied */
    enum recall_what what;
};

static const struct row rows[] = {
    {"think:hm~s|text:t|call:a|call:b", "text:t|call:a|call:b", "think:hm~s|text:t|call:a|call:b",
     RECALL_ALL},
    /* The client has no text, or one for several; calls before texts, or changed about. */
    {"think:hm~s|text:t|call:a", "call:a", "think:hm~s|call:a", RECALL_ALL},
    {"think:1~s|text:t|think:2~s|text:u|call:a", "text:tu|call:a",
     "think:1~s|text:tu|think:2~s|call:a", RECALL_ALL},
    {"think:1~s|call:a|think:2~s|call:b", "text:|call:a|call:b",
     "text:|think:1~s|call:a|think:2~s|call:b", RECALL_ALL},
    {"think:1~s|call:a|text:t", "text:t|call:a", "text:t|think:1~s|call:a", RECALL_ALL},
    {"think:1~s|redacted~r|think:2~t|call:a", "call:a", "think:1~s|redacted~r|think:2~t|call:a",
     RECALL_ALL},
    /* Signatures of calls and texts. */
    {"text:t|call:a~s|call:b", "text:t|call:a|call:b", "text:t|call:a~s|call:b", RECALL_ALL},
    {"think:hm|text:t~s", "text:t", "think:hm|text:t~s", RECALL_ALL},
    /* Reasoning behind all else leads to nothing. */
    {"text:t|think:hm~s", "text:t", "text:t", RECALL_ALL},
    {"text:t|call:a|redacted~r", "text:t|call:a", "text:t|call:a|redacted~r", RECALL_ALL},
    {"call:a|think:hm~s|redacted~r|redacted~q", "call:a", "call:a|redacted~r|redacted~q",
     RECALL_ALL},
    /* What it was shown and sends back without its signature is what was kept. */
    {"think:hm~s|call:a", "think:hm|call:a", "think:hm~s|call:a", RECALL_ALL},
    {"think:so hm~s|call:a", "think:hm|call:a", "think:so hm~s|call:a", RECALL_ALL},
    {"think:hm~s|call:a~t", "think:a piece|call:a", "think:hm~s|call:a~t", RECALL_ALL},
    {"call:a~t", "think:mine|call:a", "think:mine|call:a~t", RECALL_ALL},
    /* Signatures that the client has it keeps. */
    {"call:a~t", "call:a~mine", "call:a~mine", RECALL_ALL},
    /* Other calls: another answer. */
    {"think:hm~s|call:a", "call:b", NULL, RECALL_ALL},
    {"think:hm~s|call:a", "call:a|call:b", NULL, RECALL_ALL},
    {"think:hm~s|call:a|call:b", "call:a", NULL, RECALL_ALL},
    {"think:hm~s|text:t", "call:a", NULL, RECALL_ALL},
    /* Other arguments, too; written otherwise they are the same. */
    {"think:hm~s|call:a={\"x\":1}", "call:a={\"x\":2}", NULL, RECALL_ALL},
    {"think:hm~s|call:a={\"x\":1}", "call:a", NULL, RECALL_ALL},
    {"think:hm~s|call:a|call:b={\"x\":1}", "call:a|call:b={\"x\":3}", NULL, RECALL_ALL},
    {"think:hm~s|call:a={\"x\":1}", "call:a={ \"x\" : 1.0 }", "think:hm~s|call:a={ \"x\" : 1.0 }",
     RECALL_ALL},
    {"think:hm~s|call:a={}|call:a={\"x\":1}", "call:a={\"x\":1}|call:a",
     "think:hm~s|call:a={\"x\":1}|call:a", RECALL_ALL},
    {"think:hm~s|call:a|call:a", "call:a|call:a={\"x\":1}", NULL, RECALL_ALL},
    /* Without signatures. */
    {"think:hm|call:a", "call:a", "think:hm|call:a", RECALL_UNSIGNED_TOO},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f;
        struct buf out;
        set_up(&f);
        buf_init(&out, 4096);
        struct str kept = keep(&f, rows[i].answer, rows[i].what);
        assert_false(str_is_null(kept));
        struct turn turn = read_turn(&f, rows[i].turn);
        bool applied = recall_apply(kept, STR("v"), &turn, &f.arena);
        write_turn(&turn, &out);
        const char *after = rows[i].after == NULL ? rows[i].turn : rows[i].after;
        if (applied != (rows[i].after != NULL) || !str_eq(buf_str(&out), str_c(after)))
            fail_msg("%s, %s: %.*s", rows[i].answer, rows[i].turn, STR_ARG(buf_str(&out)));
        for (const struct part *part = turn.parts; part != NULL; part = part->next) {
            if (applied && part->kind == PART_REASONING && !str_eq(part->text, STR("mine")))
                assert_true(str_eq(part->vendor, STR("v")));
        }
        /* Not for anyone else. */
        turn = read_turn(&f, rows[i].turn);
        assert_false(recall_apply(kept, STR("w"), &turn, &f.arena));
        buf_fini(&out);
        tear_down(&f);
    }
}

static void test_nothing_to_keep(void **state)
{
    static const struct row none[] = {
        {.answer = "text:t", .what = RECALL_UNSIGNED_TOO},
        {.answer = "think:hm|text:t|call:a", .what = RECALL_ALL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        struct fixture f;
        set_up(&f);
        assert_true(str_is_null(keep(&f, none[i].answer, none[i].what)));
        tear_down(&f);
    }
    /* What does not fit is not kept by half. */
    struct fixture f;
    set_up(&f);
    buf_fini(&f.kept);
    buf_init(&f.kept, 10);
    assert_true(str_is_null(keep(&f, "think:hm~s|call:a", RECALL_ALL)));
    tear_down(&f);
}

/* The ids of items come back with them. */
static void test_ids(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    struct str kept = keep(&f, "think:~s|call:a", RECALL_ALL);
    struct turn turn = read_turn(&f, "call:a");
    assert_true(recall_apply(kept, STR("v"), &turn, &f.arena));
    assert_true(str_eq(turn.parts->id, STR("rs_1")));
    assert_true(str_is_null(turn.parts->text));
    tear_down(&f);
}

/* What was kept, cut or changed anywhere, harms nobody. */
static void test_broken(void **state)
{
    struct fixture f;
    struct turn turn;

    (void)state;
    set_up(&f);
    struct str kept = keep(&f, "think:hm~s|redacted~r|text:t|call:a~s", RECALL_ALL);
    char *copy = str_z(&f.arena, kept);
    for (size_t n = 0; n < kept.n; n++) {
        turn = read_turn(&f, "text:t|call:a");
        assert_false(recall_apply(str_head(kept, n), STR("v"), &turn, &f.arena));
    }
    for (size_t i = 0; i < kept.n; i++) {
        for (const char *c = "9:VRXCT-\xff"; *c != '\0'; c++) {
            char was = copy[i];
            copy[i] = *c;
            turn = read_turn(&f, "text:t|call:a");
            (void)recall_apply(str_of(copy, kept.n), STR("v"), &turn, &f.arena);
            copy[i] = was;
        }
    }
    tear_down(&f);
}

/* Of a turn of very many parts nothing is looked for. */
static void test_many(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    struct str kept = keep(&f, "think:hm~s|call:a", RECALL_ALL);
    struct turn turn = read_turn(&f, "call:a");
    struct part **to = &turn.parts->next;
    for (int i = 0; i < 8192; i++) {
        *to = read_part(&f, STR("text:"));
        to = &(*to)->next;
    }
    assert_false(recall_apply(kept, STR("v"), &turn, &f.arena));
    tear_down(&f);
}

/* --- keys --- */

static void test_keys(void **state)
{
    char a[RECALL_KEY_MAX];
    char b[RECALL_KEY_MAX];
    char id[300];

    (void)state;
    assert_true(str_eq(recall_call_key(1, STR("call_1"), 0x2a, a),
                       STR("c:0000000000000001:000000000000002a:call_1")));
    memset(id, 'x', sizeof(id));
    for (size_t n = 60; n < sizeof(id); n++) {
        struct str one = recall_call_key(1, str_of(id, n), 2, a);
        struct str other = recall_call_key(1, str_of(id, n + 1 == sizeof(id) ? 1 : n + 1), 2, b);
        assert_false(str_eq(one, other));
    }
    struct str text = recall_text_key(1, 2, a);
    assert_false(str_eq(text, recall_text_key(2, 1, b)));
    assert_false(str_eq(text, recall_call_key(1, text, 2, b)));
}

static void test_said(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    struct turn turn = read_turn(&f, "text:one |call:a|think:hm|text:two");
    struct turn other = read_turn(&f, "text:one two");
    uint64_t said = recall_said(&turn);
    assert_true(said == recall_said(&other));
    struct str whole = STR("one two");
    for (size_t i = 0; i <= whole.n; i++) {
        struct recall_said *pieces = recall_said_new(&f.arena);
        recall_said_add(pieces, str_head(whole, i));
        recall_said_add(pieces, STR_NULL);
        recall_said_add(pieces, str_from(whole, i));
        assert_true(recall_said_end(pieces) == said);
    }
    other = read_turn(&f, "text:one three");
    assert_false(recall_said(&other) == said);
    tear_down(&f);
}

static void test_asked(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    struct turn turns[] = {read_turn(&f, "text:a"), read_turn(&f, "text:b"),
                           read_turn(&f, "text:c|text:d"), read_turn(&f, "text:b")};
    static const enum role roles[] = {ROLE_USER, ROLE_ASSISTANT, ROLE_USER, ROLE_TOOL};
    struct request request = {.full = true, .turns = turns};
    for (size_t i = 0; i < COUNT_OF(turns); i++) {
        turns[i].role = roles[i];
        turns[i].next = i + 1 < COUNT_OF(turns) ? &turns[i + 1] : NULL;
    }
    struct recall_asked so_far = {0, 0};
    recall_asked_by(&so_far, &turns[0]);
    uint64_t first = so_far.asked;
    uint64_t last = recall_asked(&request);
    assert_false(first == 0 || first == last);
    /* With each call it is another question; with texts and results it is not. */
    recall_asked_by(&so_far, &turns[1]);
    assert_true(first == so_far.asked);
    recall_asked_by(&so_far, &turns[3]);
    assert_true(first == so_far.asked);
    recall_asked_by(&so_far, &turns[2]);
    assert_true(last == so_far.asked);
    struct turn calls = read_turn(&f, "call:a|text:t|call:b");
    calls.role = ROLE_ASSISTANT;
    recall_asked_by(&so_far, &calls);
    assert_false(last == so_far.asked);
    /* "Go on" is said in many conversations: what was said before it counts as well, what was said
     * before that does not, as clients leave out beginnings. */
    struct turn older = read_turn(&f, "text:older");
    older.role = ROLE_USER;
    older.next = &turns[0];
    request.turns = &older;
    assert_true(last == recall_asked(&request));
    request.turns = &turns[0];
    turns[0].parts->text = STR("z");
    assert_false(last == recall_asked(&request));
    turns[0].parts->text = STR("a");
    assert_true(last == recall_asked(&request));
    turns[2].parts->next->text = STR("e");
    assert_false(last == recall_asked(&request));
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),  cmocka_unit_test(test_nothing_to_keep),
        cmocka_unit_test(test_ids),   cmocka_unit_test(test_broken),
        cmocka_unit_test(test_keys),  cmocka_unit_test(test_said),
        cmocka_unit_test(test_asked), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
