/* SPDX-License-Identifier: MIT */
/*
 * Answers are written as scripts, parts divided by '|':
 *   S  START      +N kind[ id name]  BLOCK_BEGIN      -N  BLOCK_END      N=text  what N holds
 *   N~text SIGNATURE   N@text CITATION   N%text LOGPROBS   U USAGE   E ERROR   K KEEPALIVE
 *   !REASON[=sequence] STOP       "1." in front: of choice 1
 * What comes out is written the same way, texts of a block in a row joined, custom tools as
 * "custom". Every row is fed whole, event by event, and with each text cut at each character.
 */
#include "canon/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/check.h"
#include "canon/digest.h"
#include "canon/dump.h"

enum { EVENTS_MAX = 256, LIST_MAX = 4 };

struct row {
    const char *what;
    const char *in;
    const char *out;
    struct str stop[LIST_MAX];
    const char *wrapped;
    const char *json_tool;
    const char *echo;
    bool renamed; /* "a.b" went as "a_b" */
    bool think;
    uint32_t choices;
    bool cut; /* RESTORE_CUT */
};

#define N(literal) STR_INIT(literal)

static const struct row rows[] = {
    /* --- names --- */
    {.what = "a name back, others as they are",
     .renamed = true,
     .in = "S|+0 tool c1 a_b|0={}|-0|+1 tool c2 f|1={}|-1|!TOOL|U",
     .out = "S|+0 tool c1 a.b|0={}|-0|+1 tool c2 f|1={}|-1|!TOOL|U"},
    /* --- custom tools --- */
    {.what = "a custom tool unwrapped",
     .wrapped = "patch",
     .in = "S|+0 tool c1 patch|0={\"input\":\"a\\nb \\ud83d\\ude00\"}|0~sig|-0|!TOOL",
     .out = "S|+0 custom c1 patch|0=a\nb \xf0\x9f\x98\x80|0~sig|-0|!TOOL"},
    {.what = "known by the client's name",
     .wrapped = "a.b",
     .renamed = true,
     .in = "S|+0 tool c1 a_b|0={\"input\":\"x\"}|-0|!TOOL",
     .out = "S|+0 custom c1 a.b|0=x|-0|!TOOL"},
    {.what = "nothing in it, and broken off in an escape",
     .wrapped = "patch",
     .in = "S|+0 tool c1 patch|-0|+1 tool c2 patch|1={\"input\":\"x\\u00|-1|!LENGTH",
     .out = "S|+0 custom c1 patch|-0|+1 custom c2 patch|1=x\\u00|-1|!LENGTH"},
    {.what = "two at once, among others",
     .wrapped = "patch",
     .in = "S|+0 tool c1 patch|+1 tool c2 f|0={\"input\"|1={\"a\"|0=:\"x\"}|1=:1}|-0|-1|!TOOL",
     .out = "S|+0 custom c1 patch|+1 tool c2 f|1={\"a\"|0=x|1=:1}|-0|-1|!TOOL"},
    /* --- the JSON tool --- */
    {.what = "the JSON tool is text, and the end is an end",
     .json_tool = "json",
     .in = "S|+0 tool c1 json|0={\"a\":1}|0~sig|-0|!TOOL|U",
     .out = "S|+0 text|0={\"a\":1}|-0|!END|U"},
    {.what = "without arguments it is an empty object",
     .json_tool = "json",
     .in = "S|+0 tool c1 json|0%[1]|-0|!TOOL",
     .out = "S|+0 text|0%[1]|0={}|-0|!END"},
    {.what = "another call stays one",
     .json_tool = "json",
     .in = "S|+0 tool c1 json|0={}|-0|+1 tool c2 f|1={}|-1|!TOOL",
     .out = "S|+0 text|0={}|-0|+1 tool c2 f|1={}|-1|!TOOL"},
    {.what = "cut short it is cut short",
     .json_tool = "json",
     .in = "S|+0 tool c1 json|0={\"a|-0|!LENGTH",
     .out = "S|+0 text|0={\"a|-0|!LENGTH"},
    {.what = "stop sequences in the JSON tool",
     .json_tool = "json",
     .stop = {N("END")},
     .cut = true,
     .in = "S|+0 tool c1 json|0={\"a\":\"xEND\"}|-0|!TOOL",
     .out = "S|+0 text|0={\"a\":\"x|-0|!SEQUENCE=END"},
    /* --- stop sequences --- */
    {.what = "none met",
     .stop = {N("END"), N("STOP")},
     .in = "S|+0 text|0=a STO b EN|0@{}|-0|!END|U",
     .out = "S|+0 text|0=a STO b |0@{}|0=EN|-0|!END|U"},
    {.what = "one met: nothing after it but usage",
     .stop = {N("END")},
     .cut = true,
     .in = "S|K|+0 text|0=hello ENEND of it|-0|+1 tool c1 f|1={}|-1|U|K|!END|U",
     .out = "S|K|+0 text|0=hello EN|-0|!SEQUENCE=END|U|U"},
    {.what = "at the very beginning",
     .stop = {N("END")},
     .cut = true,
     .in = "S|+0 text|0=END|-0|!END",
     .out = "S|+0 text|-0|!SEQUENCE=END"},
    {.what = "the one that ends first",
     .stop = {N("abcd"), N("bc")},
     .cut = true,
     .in = "S|+0 text|0=xabcd|-0|!END",
     .out = "S|+0 text|0=xa|-0|!SEQUENCE=bc"},
    {.what = "not in reasoning, arguments, refusals; not across blocks",
     .stop = {N("END")},
     .in = "S|+0 reasoning|0=END|-0|+1 tool c1 f|1=END|-1|+2 refusal|2=END|-2|+3 text|3=EN|-3|"
           "+4 text|4=D|-4|!TOOL",
     .out = "S|+0 reasoning|0=END|-0|+1 tool c1 f|1=END|-1|+2 refusal|2=END|-2|+3 text|3=EN|-3|"
            "+4 text|4=D|-4|!TOOL"},
    {.what = "what is open is closed",
     .stop = {N("END")},
     .cut = true,
     .in = "S|+0 tool c1 f|0={|+1 text|1=aENDb|0=}|-0|-1|!TOOL",
     .out = "S|+0 tool c1 f|0={|+1 text|1=a|-0|-1|!SEQUENCE=END"},
    {.what = "each choice for itself; the others go on",
     .stop = {N("END")},
     .choices = 2,
     .cut = true,
     .in = "S|+0 text|0=aE|1.+0 text|1.0=bEN|0=NDx|1.0=d|1.-0|1.!END|-0|!END|U",
     .out = "S|+0 text|0=a|1.+0 text|1.0=b|-0|!SEQUENCE=END|1.0=ENd|1.-0|1.!END|U"},
    {.what = "all of them",
     .stop = {N("END")},
     .choices = 2,
     .cut = true,
     .in = "S|+0 text|0=aEND|1.+0 text|1.0=bEND|1.0=d|1.-0|1.!END|-0|!END|U",
     .out = "S|+0 text|0=a|-0|!SEQUENCE=END|1.+0 text|1.0=b|1.-0|1.!SEQUENCE=END|U"},
    {.what = "held when it fails",
     .stop = {N("END")},
     .in = "S|+0 text|0=aEN|E",
     .out = "S|+0 text|0=aEN|E"},
    {.what = "characters of several bytes",
     .stop = {N("\xc3\xa9\xe2\x82\xac")},
     .cut = true,
     .in = "S|+0 text|0=\xc3\xa8\xc3\xa9\xc3\xa9\xe2\x82\xacx|-0|!END",
     .out = "S|+0 text|0=\xc3\xa8\xc3\xa9|-0|!SEQUENCE=\xc3\xa9\xe2\x82\xac"},
    /* --- tags --- */
    {.what = "an echo of what the request ended with",
     .echo = "The sky",
     .in = "S|+0 text|0=The sky is blue.|-0|!END",
     .out = "S|+0 text|0= is blue.|-0|!END"},
    {.what = "it is none after all",
     .echo = "The sky",
     .in = "S|+0 text|0=The sea.|-0|!END",
     .out = "S|+0 text|0=The sea.|-0|!END"},
    {.what = "a piece of it is the whole answer",
     .echo = "The sky",
     .in = "S|+0 text|0=The s|-0|!END",
     .out = "S|+0 text|0=The s|-0|!END"},
    {.what = "an echo is left out once, behind thoughts too",
     .echo = "ab",
     .think = true,
     .in = "S|+0 reasoning|0=ab|-0|+1 text|1=ababc|-1|!END",
     .out = "S|+0 reasoning|0=ab|-0|+1 text|1=abc|-1|!END"},
    {.what = "an echo, and a stop sequence behind it",
     .echo = "END",
     .stop = {N("END")},
     .in = "S|+0 text|0=ENDaEND|-0|!END",
     .out = "S|+0 text|0=a|-0|!SEQUENCE=END",
     .cut = true},
    {.what = "other tags: each is closed by its own",
     .think = true,
     .in = "S|+0 text|0=<seed:think>a</think>b</seed:think>c|-0|!END",
     .out = "S|+0 reasoning|0=a</think>b|-0|+1 text|1=c|-1|!END"},
    {.what = "<thinking>",
     .think = true,
     .in = "S|+0 text|0=<thinking>a</thinking>c|-0|!END",
     .out = "S|+0 reasoning|0=a|-0|+1 text|1=c|-1|!END"},
    {.what = "<reasoning>, unclosed",
     .think = true,
     .in = "S|+0 text|0=<reasoning>a</thinking>c|-0|!LENGTH",
     .out = "S|+0 reasoning|0=a</thinking>c|-0|!LENGTH"},
    {.what = "an upstream that tells reasoning apart speaks of tags",
     .think = true,
     .in = "S|+0 reasoning|0=a|-0|+1 text|1=<think>b</think>|-1|!END",
     .out = "S|+0 reasoning|0=a|-0|+1 text|1=<think>b</think>|-1|!END"},
    {.what = "no tags",
     .think = true,
     .in = "S|+0 text|0=a < b <thin> </think>|-0|!END",
     .out = "S|+0 text|0=a < b <thin> </think>|-0|!END"},
    {.what = "first reasoning, then text",
     .think = true,
     .in = "S|+0 text|0=<think>\nhm\nm\n</think>\n\nHello|-0|!END|U",
     .out = "S|+0 reasoning|0=hm\nm\n|-0|+1 text|1=Hello|-1|!END|U"},
    {.what = "blanks before it",
     .think = true,
     .in = "S|+0 text|0= \n<think>a</think> \nb|-0|!END",
     .out = "S|+0 reasoning|0=a|-0|+1 text|1= \nb|-1|!END"},
    {.what = "blanks, and no tag; many blanks",
     .think = true,
     .in = "S|+0 text|0= \n b|-0|+1 text|1=            <think>b</think> |-1|!END",
     .out = "S|+0 text|0= \n b|-0|+1 text|1=            |-1|+2 reasoning|2=b|-2|!END"},
    {.what = "blanks alone, and nothing",
     .think = true,
     .in = "S|+0 text|0= |-0|+1 text|-1|!END",
     .out = "S|+0 text|0= |-0|+1 text|-1|!END"},
    {.what = "empty reasoning is none",
     .think = true,
     .in = "S|+0 text|0=<think>\n\n</think>\n\nHello|-0|+1 text|1=<think></think>|-1|!END",
     .out = "S|+0 text|0=Hello|-0|+1 text|-1|!END"},
    {.what = "not closed",
     .think = true,
     .in = "S|+0 text|0=<think>hm </thi|-0|!LENGTH",
     .out = "S|+0 reasoning|0=hm </thi|-0|!LENGTH"},
    {.what = "in the middle, and again",
     .think = true,
     .in = "S|+0 text|0=a<think>b</think>c<think>d|-0|+1 tool c1 f|1={}|-1|!TOOL",
     .out = "S|+0 text|0=a<think>b</think>c<think>d|-0|+1 tool c1 f|1={}|-1|!TOOL"},
    {.what = "again, behind the thoughts",
     .think = true,
     .in = "S|+0 text|0=<think>a</think><think>b</think>|-0|!END",
     .out = "S|+0 reasoning|0=a|-0|+1 text|1=<think>b</think>|-1|!END"},
    {.what = "a tag in reasoning is reasoning, a half one is text",
     .think = true,
     .in = "S|+0 text|0=<think>a<think>b</think><thi|-0|!END",
     .out = "S|+0 reasoning|0=a<think>b|-0|+1 text|1=<thi|-1|!END"},
    {.what = "others are numbered anew while a text is open",
     .think = true,
     .in = "S|+0 text|0=<think>a|+1 tool c1 f|1={|0=b</think>c|1=}|-1|-0|!TOOL",
     .out = "S|+0 reasoning|0=a|+1 tool c1 f|1={|0=b|-0|+2 text|2=c|1=}|-1|-2|!TOOL"},
    {.what = "a tool in the time of blanks",
     .think = true,
     .in = "S|+0 text|0= |+1 tool c1 f|1={}|-1|0=x|-0|!TOOL",
     .out = "S|+0 tool c1 f|0={}|-0|+1 text|1= x|-1|!TOOL"},
    {.what = "what belongs to texts",
     .think = true,
     .in = "S|+0 text|0=<th|0%[1]|0=ink>|0%[2]|0=a|0%[3]|0@{1}|0=</think>|0@{2}|0=b|0%[4]|-0|!END",
     .out = "S|+0 reasoning|0=a|0%[3]|-0|+1 text|1@{2}|1=b|1%[4]|-1|!END"},
    {.what = "tags and stop sequences: not in reasoning, not over a tag",
     .think = true,
     .stop = {N("END")},
     .cut = true,
     .in = "S|+0 text|0=<think>END</think>aEN<think>b</think>D cEND|-0|!END",
     .out = "S|+0 reasoning|0=END|-0|+1 text|1=aEN<think>b</think>D c|-1|!SEQUENCE=END"},
    {.what = "a stop sequence of blanks, after the tag's own",
     .think = true,
     .stop = {N("\n\n")},
     .cut = true,
     .in = "S|+0 text|0=<think>a\n\n</think>\n\nb\n\nc|-0|!END",
     .out = "S|+0 reasoning|0=a\n\n|-0|+1 text|1=b|-1|!SEQUENCE=\n\n"},
    {.what = "in a stop sequence of blanks nothing was said",
     .think = true,
     .stop = {N("\n\n")},
     .cut = true,
     .in = "S|+0 text|0=\n\nb|-0|!END",
     .out = "S|!SEQUENCE=\n\n"},
    {.what = "a stop sequence that begins like the tag",
     .think = true,
     .stop = {N("<x")},
     .cut = true,
     .in = "S|+0 text|0=a<<think>b</think><x|-0|!END",
     .out = "S|+0 text|0=a<<think>b</think>|-0|!SEQUENCE=<x"},
    {.what = "a stop sequence that is the tag's beginning, before another block",
     .think = true,
     .stop = {N("<t")},
     .cut = true,
     .in = "S|+0 text|0=a<t|+1 text|1=b|-0|-1|!END",
     .out = "S|+0 text|0=a|-0|!SEQUENCE=<t"},
    {.what = "what could be a tag's beginning does not wait for another block",
     .think = true,
     .in = "S|+0 text|0=a<|+1 text|1=b|0=c|-0|-1|!END",
     .out = "S|+0 text|0=a<|+1 text|1=b|0=c|-0|-1|!END"},
    {.what = "held when it fails, in tags",
     .think = true,
     .in = "S|+0 text|0=<think>a</think> <t|E",
     .out = "S|+0 reasoning|0=a|-0|+1 text|1= <t|E"},
};

/* --- scripts --- */

struct script {
    struct event events[EVENTS_MAX];
    enum block_kind kinds[EVENTS_MAX]; /* of choice * 8 + block */
    size_t n;
};

static struct str until(struct str *rest, char sep)
{
    struct str part = STR_NULL;

    return str_cut(rest, sep, &part) ? part : STR_NULL;
}

static enum block_kind kind_of(struct str name)
{
    if (str_eq(name, STR("text")))
        return BLOCK_TEXT;
    if (str_eq(name, STR("reasoning")))
        return BLOCK_REASONING;
    if (str_eq(name, STR("refusal")))
        return BLOCK_REFUSAL;
    assert_true(str_eq(name, STR("tool")));
    return BLOCK_TOOL;
}

static enum stop_reason reason_of(struct str name)
{
    for (int reason = 0; reason < STOP_REASON_COUNT; reason++) {
        if (str_eq(name, str_c(event_stop_name((enum stop_reason)reason))))
            return (enum stop_reason)reason;
    }
    fail_msg("no such reason");
    return STOP_OTHER;
}

static enum event_kind kind_inside(char mark, enum block_kind block)
{
    if (mark == '~')
        return EVENT_SIGNATURE;
    if (mark == '@')
        return EVENT_CITATION;
    if (mark == '%')
        return EVENT_LOGPROBS;
    assert_int_equal(mark, '=');
    if (block == BLOCK_TOOL)
        return EVENT_TOOL_ARGS;
    return block == BLOCK_REASONING ? EVENT_REASONING : EVENT_TEXT;
}

static void read_event(struct script *script, struct str word, struct event *event)
{
    if (word.n > 2 && word.p[1] == '.') {
        event->choice = (uint32_t)(word.p[0] - '0');
        word = str_from(word, 2);
    }
    char first = word.p[0];
    struct str rest = str_from(word, 1);
    event->block = EVENT_NO_BLOCK;
    if (first == 'S') {
        event->kind = EVENT_START;
    } else if (first == 'K') {
        event->kind = EVENT_KEEPALIVE;
    } else if (first == 'E') {
        event->kind = EVENT_ERROR;
    } else if (first == 'U') {
        event->kind = EVENT_USAGE;
        event->usage = (struct usage){1, 2, 3, -1, -1, -1};
    } else if (first == '!') {
        event->kind = EVENT_STOP;
        event->stop.reason = reason_of(rest);
        event->stop.native = STR("native");
    } else if (first == '+' || first == '-') {
        event->kind = first == '-' ? EVENT_BLOCK_END : EVENT_BLOCK_BEGIN;
        event->block = (uint32_t)(rest.p[0] - '0');
        if (first == '-')
            return;
        rest = str_from(rest, 2);
        event->begin.kind = kind_of(until(&rest, ' '));
        event->begin.id = until(&rest, ' ');
        event->begin.name = until(&rest, ' ');
        event->begin.index = EVENT_NO_INDEX;
        script->kinds[event->choice * 8 + event->block] = event->begin.kind;
    } else {
        event->block = (uint32_t)(first - '0');
        event->kind = kind_inside(rest.p[0], script->kinds[event->choice * 8 + event->block]);
        event->text = str_from(rest, 1);
    }
}

static void read_script(const char *text, struct script *script)
{
    struct str rest = str_c(text);
    struct str word;

    memset(script, 0, sizeof(*script));
    while (str_cut(&rest, '|', &word)) {
        assert_in_range(script->n, 0, EVENTS_MAX - 1);
        read_event(script, word, &script->events[script->n++]);
    }
}

/* --- what comes out --- */

struct out {
    struct buf script;
    struct check *check;
    struct digest *digest;
    struct arena arena;
    uint32_t last_choice; /* of the text that is being written */
    uint32_t last_block;
    bool in_text;
};

static void write_kind(struct buf *out, const struct event *event)
{
    static const char *const names[] = {"text", "reasoning", "redacted", "tool", "refusal"};

    buf_print(out, " %s", event->begin.custom ? "custom" : names[event->begin.kind]);
    if (event->begin.kind == BLOCK_TOOL)
        buf_print(out, " %.*s %.*s", STR_ARG(event->begin.id), STR_ARG(event->begin.name));
}

static bool is_text(const struct event *event)
{
    return event->kind == EVENT_TEXT || event->kind == EVENT_REASONING ||
           event->kind == EVENT_TOOL_ARGS;
}

/* The letter of an event that says no more. */
static char letter_of(enum event_kind kind)
{
    if (kind == EVENT_START)
        return 'S';
    if (kind == EVENT_KEEPALIVE)
        return 'K';
    if (kind == EVENT_ERROR)
        return 'E';
    return kind == EVENT_USAGE ? 'U' : '\0';
}

static char mark_of(enum event_kind kind)
{
    if (kind == EVENT_SIGNATURE)
        return '~';
    if (kind == EVENT_CITATION)
        return '@';
    return kind == EVENT_LOGPROBS ? '%' : '=';
}

static bool goes_on(const struct out *out, const struct event *event)
{
    return is_text(event) && out->in_text && out->last_choice == event->choice &&
           out->last_block == event->block;
}

static void write_event(struct out *out, const struct event *event)
{
    struct buf *script = &out->script;

    if (goes_on(out, event)) {
        buf_add(script, event->text);
        return;
    }
    out->in_text = is_text(event);
    out->last_choice = event->choice;
    out->last_block = event->block;
    if (script->n > 0)
        buf_add_char(script, '|');
    if (event->choice > 0)
        buf_print(script, "%u.", event->choice);
    if (letter_of(event->kind) != '\0') {
        buf_add_char(script, letter_of(event->kind));
    } else if (event->kind == EVENT_STOP) {
        buf_print(script, "!%s", event_stop_name(event->stop.reason));
        if (!str_is_null(event->stop.sequence))
            buf_print(script, "=%.*s", STR_ARG(event->stop.sequence));
    } else if (event->kind == EVENT_BLOCK_BEGIN) {
        buf_print(script, "+%u", event->block);
        write_kind(script, event);
    } else if (event->kind == EVENT_BLOCK_END) {
        buf_print(script, "-%u", event->block);
    } else {
        assert_true(event->text.n > 0);
        buf_print(script, "%u%c%.*s", event->block, mark_of(event->kind), STR_ARG(event->text));
    }
}

static void take(struct out *out, const struct frame *frame)
{
    struct error e;

    for (uint32_t i = 0; i < frame->n; i++) {
        if (check_event(out->check, &frame->events[i], &e) != OK)
            fail_msg("%s; %.*s", e.detail, STR_ARG(buf_str(&out->script)));
        digest_event(out->digest, &frame->events[i]);
        write_event(out, &frame->events[i]);
    }
}

/* --- running --- */

static void make_translation(const struct row *row, struct arena *arena, struct translation *t)
{
    *t = (struct translation){.arena = arena, .stop = row->stop};
    while (t->stop_n < LIST_MAX && !str_is_null(row->stop[t->stop_n]))
        t->stop_n++;
    if (row->renamed)
        translation_rename(t, STR("a.b"), STR("a_b"));
    if (row->wrapped != NULL)
        translation_wrap(t, str_c(row->wrapped));
    t->json_tool = str_c(row->json_tool);
    t->echo = str_c(row->echo);
}

/* frames: how many events each has; the last one takes the rest. Text is given from memory that is
 * gone after the push. */
static void run(const struct row *row, const struct script *script, size_t events_each,
                struct buf *ret_script, struct buf *ret_digest)
{
    struct arena arena;
    struct arena scratch;
    struct translation t;
    struct out out = {.in_text = false};
    enum restore_verdict verdict = RESTORE_OK;

    arena_init(&arena, 1024 * 1024, 1024, NULL);
    arena_init(&scratch, 1024 * 1024, 1024, NULL);
    arena_init(&out.arena, 1024 * 1024, 1024, NULL);
    buf_init(&out.script, 64 * 1024);
    out.check = check_new(&out.arena);
    out.digest = digest_new();
    make_translation(row, &arena, &t);
    struct restore *restore = restore_new(&(struct restore_options){
        .translation = &t, .think_tags = row->think, .choices = row->choices, .arena = &arena});
    assert_non_null(restore);

    for (size_t i = 0; i < script->n; i += events_each) {
        size_t n = script->n - i < events_each ? script->n - i : events_each;
        struct frame frame = {.events = arena_array(&scratch, n, sizeof(struct event)),
                              .n = (uint32_t)n};
        struct buf before;
        buf_init(&before, 64 * 1024);
        for (size_t k = 0; k < n; k++) {
            frame.events[k] = script->events[i + k];
            if (frame.events[k].kind >= EVENT_TEXT && frame.events[k].kind <= EVENT_LOGPROBS)
                frame.events[k].text = str_copy(&scratch, frame.events[k].text);
            dump_event(&before, &frame.events[k]);
        }
        verdict = restore_frame(restore, &frame, &scratch);
        assert_int_not_equal(verdict, RESTORE_FULL);
        take(&out, &frame);
        /* What is not said to be changed is as it was. */
        struct buf after;
        buf_init(&after, 64 * 1024);
        for (size_t k = 0; k < frame.n; k++)
            dump_event(&after, &frame.events[k]);
        if (!frame.changed)
            assert_true(str_eq(buf_str(&before), buf_str(&after)));
        buf_fini(&before);
        buf_fini(&after);
        arena_rewind(&scratch);
    }
    if (verdict != (row->cut ? RESTORE_CUT : RESTORE_OK))
        fail_msg("%s: the verdict", row->what);
    buf_add(ret_script, buf_str(&out.script));
    digest_write(out.digest, true, ret_digest);
    digest_free(&out.digest);
    buf_fini(&out.script);
    arena_fini(&out.arena);
    arena_fini(&scratch);
    arena_fini(&arena);
}

static bool is_boundary(struct str s, size_t at)
{
    return at == s.n || ((unsigned char)s.p[at] & 0xc0) != 0x80;
}

/* Splits the texts: only event `which` at `at`, or (which SIZE_MAX) all into characters. */
static void cut_script(const struct script *from, size_t which, size_t at, struct script *to)
{
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        struct event event = from->events[i];
        struct str text = is_text(&event) ? event.text : STR_NULL;
        size_t begin = 0;
        for (size_t end = 1; end < text.n; end++) {
            if (!is_boundary(text, end) || (which != SIZE_MAX && (i != which || end != at)))
                continue;
            event.text = str_of(text.p + begin, end - begin);
            to->events[to->n++] = event;
            begin = end;
        }
        if (is_text(&event))
            event.text = str_from(text, begin);
        assert_in_range(to->n, 0, EVENTS_MAX - 1);
        to->events[to->n++] = event;
    }
}

struct wanted {
    const struct row *row;
    struct buf digest;
};

static void compare(const struct wanted *wanted, const struct script *script, size_t events_each,
                    bool in_order)
{
    struct buf out;
    struct buf digest;

    buf_init(&out, 64 * 1024);
    buf_init(&digest, 64 * 1024);
    run(wanted->row, script, events_each, &out, &digest);
    if (in_order && !str_eq(buf_str(&out), str_c(wanted->row->out)))
        fail_msg("%s:\n%.*s\ninstead of\n%s", wanted->row->what, STR_ARG(buf_str(&out)),
                 wanted->row->out);
    if (!str_eq(buf_str(&digest), buf_str(&wanted->digest)))
        fail_msg("%s:\n%.*s\ninstead of\n%.*s", wanted->row->what, STR_ARG(buf_str(&digest)),
                 STR_ARG(buf_str(&wanted->digest)));
    buf_fini(&out);
    buf_fini(&digest);
}

static void check_row(const struct row *row)
{
    struct script script;
    struct script cut;
    struct wanted wanted = {.row = row};
    struct buf first;

    read_script(row->in, &script);
    buf_init(&wanted.digest, 64 * 1024);
    buf_init(&first, 64 * 1024);
    run(row, &script, 1, &first, &wanted.digest);
    compare(&wanted, &script, 1, true);
    compare(&wanted, &script, 2, true);
    compare(&wanted, &script, 3, true);
    compare(&wanted, &script, EVENTS_MAX, true);
    cut_script(&script, SIZE_MAX, 0, &cut);
    compare(&wanted, &cut, 1, false);
    compare(&wanted, &cut, EVENTS_MAX, false);
    for (size_t i = 0; i < script.n; i++) {
        for (size_t at = 1; is_text(&script.events[i]) && at < script.events[i].text.n; at++) {
            cut_script(&script, i, at, &cut);
            compare(&wanted, &cut, 1, false);
        }
    }
    buf_fini(&first);
    buf_fini(&wanted.digest);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i]);
}

/* Texts of few words, in all company: what comes out is an answer, and the same for each cut. */
static void test_random(void **state)
{
    static const char *const words[] = {"<think>", "</think>", "<", "END", "EN", "\n", " ", "a"};
    struct row row = {.what = "random", .stop = {N("END"), N("a<"), N("\n\n")}, .think = true};
    uint32_t seed = 7;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct buf text;
        struct script script;
        struct script cut;
        struct wanted wanted = {.row = &row};
        struct buf out;
        buf_init(&text, 4096);
        buf_init(&wanted.digest, 4096);
        buf_init(&out, 4096);
        buf_add(&text, STR("S|+0 text"));
        for (int i = 0; i < 12; i++) {
            seed = seed * 1103515245u + 12345u;
            buf_print(&text, "%s%s", seed >> 30 == 0 || i == 0 ? "|0=" : "",
                      words[(seed >> 16) % COUNT_OF(words)]);
        }
        buf_add(&text, STR("|-0|+1 tool c f|1={}|-1|!TOOL"));
        buf_add_char(&text, '\0');
        read_script(text.p, &script);
        cut_script(&script, SIZE_MAX, 0, &cut);
        struct arena arena;
        arena_init(&arena, 1024 * 1024, 1024, NULL);
        /* Met or not: asked of a first run. */
        struct translation t;
        make_translation(&row, &arena, &t);
        struct restore *restore = restore_new(
            &(struct restore_options){.translation = &t, .think_tags = true, .arena = &arena});
        struct frame frame = {.events = arena_array(&arena, script.n, sizeof(struct event)),
                              .n = (uint32_t)script.n};
        memcpy(frame.events, script.events, script.n * sizeof(struct event));
        row.cut = restore_frame(restore, &frame, &arena) == RESTORE_CUT;
        arena_fini(&arena);

        run(&row, &script, 1, &out, &wanted.digest);
        compare(&wanted, &script, EVENTS_MAX, false);
        compare(&wanted, &cut, 1, false);
        compare(&wanted, &cut, 3, false);
        compare(&wanted, &cut, EVENTS_MAX, false);
        buf_fini(&text);
        buf_fini(&out);
        buf_fini(&wanted.digest);
    }
}

/* Frames with nothing to change stay as they are: their raw bytes may go on. */
static void test_unchanged(void **state)
{
    static const char *const scripts[] = {
        "S|+0 text|0=Hello, w|-0|+1 tool c1 f|1={}|-1|!TOOL|U",
        "S|+0 reasoning|0=<think>|0~s|-0|+1 text|1=1 < 2, |1@{}|1%[]|1=2 < 3|-1|!END|U",
    };

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(scripts); i++) {
        struct row row = {.stop = {N("END")}};
        struct script script;
        struct arena arena;
        struct translation t;
        if (i % 2 == 1)
            row = (struct row){.think = true, .wrapped = "g", .json_tool = "h", .renamed = true};
        arena_init(&arena, 1024 * 1024, 1024, NULL);
        make_translation(&row, &arena, &t);
        struct restore *restore = restore_new(
            &(struct restore_options){.translation = &t, .think_tags = row.think, .arena = &arena});
        read_script(scripts[i / 2], &script);
        struct frame frame = {.events = script.events, .n = (uint32_t)script.n};
        assert_int_equal(restore_frame(restore, &frame, &arena), RESTORE_OK);
        assert_false(frame.changed);
        assert_ptr_equal(frame.events, script.events);
        assert_int_equal(frame.n, script.n);
        arena_fini(&arena);
    }
}

static void test_nothing_to_do(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    const struct translation t = {.arena = &arena};
    assert_null(restore_new(&(struct restore_options){.arena = &arena}));
    assert_null(restore_new(&(struct restore_options){.translation = &t, .arena = &arena}));
    arena_fini(&arena);
}

/* The answer breaks off at each event: what is held comes out, and what came out is an answer as
 * far as it goes. */
static void test_broken_off(void **state)
{
    static const struct row row = {
        .stop = {N("END")},
        .wrapped = "patch",
        .think = true,
        .in = "S|+0 text|0= |0=<think>ab</thi|0=nk>|0=c EN|+1 tool c1 patch|1={\"input\":\"x\\|"
              "+2 text|2=<t"};
    static const char *const ends[] = {"",   "",   "",     " ",    "",      "",
                                       "EN", "EN", "\\EN", "\\EN", "<t\\EN"};
    struct script script;

    (void)state;
    read_script(row.in, &script);
    assert_int_equal(script.n + 1, COUNT_OF(ends));
    for (size_t n = 0; n <= script.n; n++) {
        struct arena arena;
        struct out out = {.in_text = false};
        struct translation t;
        struct frame frame;
        struct buf held;
        arena_init(&arena, 1024 * 1024, 1024, NULL);
        arena_init(&out.arena, 1024 * 1024, 1024, NULL);
        buf_init(&out.script, 4096);
        buf_init(&held, 4096);
        out.check = check_new(&out.arena);
        out.digest = digest_new();
        make_translation(&row, &arena, &t);
        struct restore *restore = restore_new(
            &(struct restore_options){.translation = &t, .think_tags = true, .arena = &arena});
        for (size_t i = 0; i < n; i++) {
            struct event event = script.events[i];
            frame = (struct frame){.events = &event, .n = 1};
            assert_int_equal(restore_frame(restore, &frame, &arena), RESTORE_OK);
            take(&out, &frame);
        }
        restore_end(restore, &frame, &arena);
        take(&out, &frame);
        for (uint32_t i = frame.n; i-- > 0;) {
            if (is_text(&frame.events[i]))
                buf_add(&held, frame.events[i].text);
        }
        if (n != 4 && !str_eq(buf_str(&held), str_c(ends[n])))
            fail_msg("%zu: held '%.*s'", n, STR_ARG(buf_str(&held)));
        digest_free(&out.digest);
        buf_fini(&out.script);
        buf_fini(&held);
        arena_fini(&out.arena);
        arena_fini(&arena);
    }
}

/* However little memory there is, it says so and breaks nothing. */
static void test_full(void **state)
{
    (void)state;
    for (size_t max = 512; max < 24 * 1024; max += 512) {
        static const struct row row = {.stop = {N("END")}, .think = true};
        struct arena arena;
        struct arena scratch;
        struct translation t;
        enum restore_verdict verdict = RESTORE_OK;
        arena_init(&arena, max, 512, NULL);
        arena_init(&scratch, max, 512, NULL);
        make_translation(&row, &arena, &t);
        struct restore *restore = restore_new(
            &(struct restore_options){.translation = &t, .think_tags = true, .arena = &arena});
        if (restore == NULL)
            assert_true(arena_overflowed(&arena));
        for (uint32_t i = 0; restore != NULL && i < 400 && verdict == RESTORE_OK; i++) {
            char tags[15 * 16];
            struct event events[] = {
                {.kind = EVENT_BLOCK_BEGIN, .block = i, .begin.kind = BLOCK_TEXT},
                {.kind = EVENT_TEXT, .block = i},
            };
            for (size_t k = 0; k < sizeof(tags); k += 15)
                memcpy(tags + k, "<think></think>", 15);
            memcpy(tags + 7, "x", 1);
            events[1].text = str_of(tags, sizeof(tags));
            struct frame frame = {.events = events, .n = 2};
            verdict = restore_frame(restore, &frame, &scratch);
            arena_rewind(&scratch);
        }
        if (restore != NULL)
            assert_int_equal(verdict, RESTORE_FULL);
        arena_fini(&arena);
        arena_fini(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_random),
        cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_broken_off),
        cmocka_unit_test(test_unchanged),     cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
