/* SPDX-License-Identifier: MIT */
/*
 * The checker of Anthropic Messages: each rule is broken once, in a stream that is right but for
 * that, and told with its line, however the bytes are cut. Texts are written with ' for ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/anthropic_priv.h"

enum { OUT_MAX = 1024 * 1024 };

static struct str quoted(const char *text, struct buf *out)
{
    buf_reset(out);
    for (; *text != '\0'; text++)
        buf_add_char(out, *text == '\'' ? '"' : *text);
    return buf_str(out);
}

/* What it says of the text when its first piece has `cut` bytes, and all others `step`. */
static enum error_code lint(struct str text, bool stream, size_t cut, size_t step, struct error *e)
{
    struct anthropic_lint state = {.line = 0};
    struct error again;
    struct arena arena;
    enum error_code code = OK;

    arena_init(&arena, OUT_MAX, 1024, NULL);
    anthropic_lint_init(&state, &(struct lint_options){.stream = stream, .arena = &arena});
    for (size_t n = cut; code == OK && text.n > 0; n = step) {
        code = anthropic_lint_bytes(&state, str_head(text, n), false, e);
        text = str_from(text, n < text.n ? n : text.n);
    }
    if (code == OK)
        code = anthropic_lint_bytes(&state, STR_NULL, true, e);
    if (code != OK) { /* and says so from then on */
        assert_int_equal(anthropic_lint_bytes(&state, STR(""), true, &again), ERR_INTERNAL);
        assert_string_equal(again.detail, e->detail);
    }
    anthropic_lint_fini(&state);
    arena_fini(&arena);
    return code;
}

/* want NULL: it is right. */
static void expect(const char *text, bool stream, const char *want)
{
    struct buf bytes;

    buf_init(&bytes, OUT_MAX);
    struct str all = quoted(text, &bytes);
    for (size_t cut = 0; cut <= all.n; cut += 1 + all.n / 64) {
        for (size_t step = 1; step <= all.n + 2; step += all.n + 1) {
            struct error e = {.code = OK};
            enum error_code code = lint(all, stream, cut, step, &e);
            if ((code == OK) != (want == NULL) || (want != NULL && strcmp(e.detail, want) != 0))
                fail_msg("%s\ncut at %zu, then every %zu\nwant %s\ngot %s", text, cut, step,
                         want == NULL ? "nothing" : want, code == OK ? "nothing" : e.detail);
        }
    }
    buf_fini(&bytes);
}

struct lint_case {
    const char *text;
    const char *want;
};

static void expect_each(const struct lint_case *cases, size_t n, bool stream)
{
    for (size_t i = 0; i < n; i++)
        expect(cases[i].text, stream, cases[i].want);
}

/* --- streams ------------------------------------------------------------------------------ */

/* Three lines, the second of which is what can be wrong. */
#define EVENT(type, rest) "event: " type "\ndata: {'type':'" type "'" rest "}\n\n"
#define USAGE             "'usage':{'input_tokens':1,'output_tokens':0}"
#define MESSAGE(members)                                                                   \
    "{'id':'m','type':'message','role':'assistant','model':'x','content':[],'stop_reason'" \
    ":null,'stop_sequence':null," members "}"
#define START_OF(message) EVENT("message_start", ",'message':" message)
#define START             START_OF(MESSAGE(USAGE))
#define BEGIN(n, block)   EVENT("content_block_start", ",'index':" n ",'content_block':" block)
#define DELTA(n, delta)   EVENT("content_block_delta", ",'index':" n ",'delta':" delta)
#define FINISH(n)         EVENT("content_block_stop", ",'index':" n)
#define LAST_OF(members)  EVENT("message_delta", "," members)
#define COUNT             "'usage':{'output_tokens':2}"
#define LAST(why)         LAST_OF("'delta':{'stop_reason':'" why "','stop_sequence':null}," COUNT)
#define END               EVENT("message_stop", "")
#define TAIL(reason)      LAST(reason) END
#define TEXT              "{'type':'text','text':''}"
#define THINKING          "{'type':'thinking','thinking':'','signature':''}"
#define TOOL              "{'type':'tool_use','id':'t','name':'f','input':{}}"
#define SAY               DELTA("0", "{'type':'text_delta','text':'a'}")
#define ARGS(n)           DELTA(n, "{'type':'input_json_delta','partial_json':'{}'}")
#define PING              EVENT("ping", "")
#define ERROR             EVENT("error", ",'error':{'type':'api_error','message':'m'}")

static void test_right_streams(void **state)
{
    static const char *const cases[] = {
        START TAIL("end_turn"),
        START BEGIN("0", TEXT) SAY SAY FINISH("0") TAIL("end_turn"),
        PING START PING BEGIN("0", TEXT) PING FINISH("0") PING TAIL("refusal"),
        ": hello\n\n" START ": c\n: d\n\n" TAIL("max_tokens"),
        ERROR,
        START BEGIN("0", TEXT) SAY ERROR,
        START BEGIN("0", THINKING) DELTA("0", "{'type':'thinking_delta','thinking':'a'}")
            DELTA("0", "{'type':'signature_delta','signature':'s'}") FINISH("0") BEGIN("1", TOOL)
                ARGS("1") FINISH("1") TAIL("tool_use"),
        START BEGIN("0", "{'type':'redacted_thinking','data':'d'}") FINISH("0") TAIL("pause_turn"),
        START BEGIN("0", TEXT) DELTA("0", "{'type':'citations_delta','citation':{}}") FINISH("0")
            TAIL("stop_sequence"),
        /* What we do not know passes: events, blocks, deltas; input of other vendors' tools. */
        START EVENT("odd", ",'x':1") BEGIN("0", "{'type':'odd'}") DELTA("0", "{'type':'odd_delta'}")
            FINISH("0") TAIL("compaction"),
        START BEGIN("0", "{'type':'server_tool_use','id':'s','name':'web_search','input':{}}")
            ARGS("0") FINISH("0") TAIL("end_turn"),
        /* A second one has usage alone. */
        START LAST("end_turn") LAST_OF("'delta':{}," COUNT) END,
        START LAST_OF("'delta':{'stop_reason':'stop_sequence','stop_sequence':'x'}," COUNT) END,
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect(cases[i], true, NULL);
}

static void test_framing(void **state)
{
    static const struct lint_case cases[] = {
        {"", "line 1: a stream ends with message_stop or an error"},
        {START, "line 3: a stream ends with message_stop or an error"},
        {START "data: [DONE]\n\n", "line 4: data is a JSON object"},
        {START "event: x\ndata: []\n\n", "line 5: data is a JSON object"},
        {START "event: x\ndata: {}\n\n", "line 5: an event has a type"},
        {START "event: x\ndata: {'type':'ping'}\n\n", "line 5: the event's name is its type"},
        {START "data: {'type':'ping'}\n\n", "line 4: the event's name is its type"},
        {START TAIL("end_turn") PING, "line 11: nothing comes after the end"},
        {ERROR START, "line 5: nothing comes after the end"},
        /* Lines of comments, of fields, and line ends of all kinds. */
        {START ": a\n: b\n\nid: 3\rdata: x\r\n\n", "line 8: data is a JSON object"},
        /* The first one, not the gravest. */
        {START FINISH("0") "data: x\n\n", "line 5: content_block_stop is of the open block"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), true);
}

static void test_messages(void **state)
{
    static const struct lint_case cases[] = {
        {TAIL("end_turn"), "line 2: message_start comes first"},
        {START START, "line 5: message_start comes once"},
        {START_OF("{'type':'message'}"), "line 2: a message has an id"},
        {START_OF("{'id':'m','type':'text'}"), "line 2: a message is of type message"},
        {START_OF("{'id':'m','type':'message','role':'user'}"),
         "line 2: a message is of the assistant"},
        {START_OF("{'id':'m','type':'message','role':'assistant'}"),
         "line 2: a message says its model"},
        {START_OF("{'id':'m','type':'message','role':'assistant','model':'x'}"),
         "line 2: a message's content is a list"},
        {START_OF(MESSAGE("'usage':{'input_tokens':1}")),
         "line 2: a message's usage counts input_tokens and output_tokens"},
        {START_OF(MESSAGE("'usage':{'input_tokens':1,'output_tokens':-1}")),
         "line 2: a message's usage counts input_tokens and output_tokens"},
        {START_OF("{'id':'m','type':'message','role':'assistant','model':'x','content':[" TEXT
                  "],'stop_reason':null," USAGE "}"),
         "line 2: a message is empty at its start"},
        {START_OF("{'id':'m','type':'message','role':'assistant','model':'x','content':[],"
                  "'stop_reason':'end_turn'," USAGE "}"),
         "line 2: stop_reason is null at the start"},
        {START END, "line 5: message_delta comes before message_stop"},
        {START LAST_OF(COUNT), "line 5: message_delta has a delta"},
        {START LAST_OF("'delta':{'stop_reason':'end_turn'}"),
         "line 5: message_delta's usage counts output_tokens"},
        {START BEGIN("0", TEXT) LAST("end_turn"), "line 8: no block is open at message_delta"},
        {START LAST("end_turn") BEGIN("0", TEXT), "line 8: no block comes after message_delta"},
        {START EVENT("error", ",'error':{'message':'m'}"), "line 5: an error has a type"},
        {START EVENT("error", ",'error':{'type':'t'}"), "line 5: an error has a message"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), true);
}

static void test_stops(void **state)
{
    static const struct lint_case cases[] = {
        {START LAST("stop"), "line 5: stop_reason is one of the known words"},
        {START LAST_OF("'delta':{}," COUNT), "line 5: stop_reason is one of the known words"},
        {START LAST_OF("'delta':{'stop_reason':'end_turn','stop_sequence':1}," COUNT),
         "line 5: stop_sequence is a string or null"},
        {START LAST("tool_use"), "line 5: a message without tool_use does not stop for tool_use"},
        {START BEGIN("0", TOOL) ARGS("0") FINISH("0") LAST("end_turn"),
         "line 14: a message with tool_use stops for tool_use"},
        {START LAST("end_turn") LAST("stop"), "line 8: stop_reason is one of the known words"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), true);
}

static void test_blocks(void **state)
{
    static const struct lint_case cases[] = {
        {START BEGIN("0", TEXT) BEGIN("1", TEXT), "line 8: one block is open at a time"},
        {START BEGIN("1", TEXT), "line 5: blocks are numbered from 0 without a gap"},
        {START BEGIN("'0'", TEXT), "line 5: blocks are numbered from 0 without a gap"},
        {START BEGIN("0", TEXT) FINISH("0") BEGIN("0", TEXT),
         "line 11: blocks are numbered from 0 without a gap"},
        {START BEGIN("0", "{}"), "line 5: a block has a type"},
        {START BEGIN("0", "{'type':'text'}"), "line 5: a text block has a text"},
        {START BEGIN("0", "{'type':'thinking','thinking':''}"),
         "line 5: a thinking block has thinking and signature"},
        {START BEGIN("0", "{'type':'thinking','signature':''}"),
         "line 5: a thinking block has thinking and signature"},
        {START BEGIN("0", "{'type':'redacted_thinking'}"),
         "line 5: a redacted_thinking block has data"},
        {START BEGIN("0", "{'type':'tool_use','name':'f','input':{}}"),
         "line 5: a tool_use block has an id and a name"},
        {START BEGIN("0", "{'type':'tool_use','id':'t','input':{}}"),
         "line 5: a tool_use block has an id and a name"},
        {START BEGIN("0", "{'type':'tool_use','id':'t','name':'f','input':'{}'}"),
         "line 5: a tool_use block's input is an object"},
        {START BEGIN("0", "{'type':'tool_use','id':'t','name':'f','input':{'a':1}}"),
         "line 5: a tool_use block's input is empty at its start"},
        {START FINISH("0"), "line 5: content_block_stop is of the open block"},
        {START BEGIN("0", TEXT) FINISH("1"), "line 8: content_block_stop is of the open block"},
        {START BEGIN("0", TEXT) FINISH("0") FINISH("0"),
         "line 11: content_block_stop is of the open block"},
        {START BEGIN("0", TOOL) FINISH("0"), "line 8: a tool_use block has an input_json_delta"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), true);
}

static void test_deltas(void **state)
{
    static const struct lint_case cases[] = {
        {START SAY, "line 5: a delta is of the open block"},
        {START BEGIN("0", TEXT) DELTA("1", "{'type':'text_delta','text':'a'}"),
         "line 8: a delta is of the open block"},
        {START BEGIN("0", TEXT) FINISH("0") SAY, "line 11: a delta is of the open block"},
        {START BEGIN("0", TEXT) DELTA("0", "{}"), "line 8: a delta has a type"},
        {START BEGIN("0", TEXT) DELTA("0", "{'type':'text_delta'}"), "line 8: a delta has a text"},
        {START BEGIN("0", THINKING) DELTA("0", "{'type':'thinking_delta','text':'a'}"),
         "line 8: a delta has a text"},
        {START BEGIN("0", THINKING) DELTA("0", "{'type':'signature_delta'}"),
         "line 8: a delta has a text"},
        {START BEGIN("0", TOOL) DELTA("0", "{'type':'input_json_delta','partial_json':{}}"),
         "line 8: a delta has a text"},
        {START BEGIN("0", THINKING) SAY, "line 8: a delta fits the kind of its block"},
        {START BEGIN("0", TOOL) SAY, "line 8: a delta fits the kind of its block"},
        {START BEGIN("0", TEXT) ARGS("0"), "line 8: a delta fits the kind of its block"},
        {START BEGIN("0", TEXT) DELTA("0", "{'type':'signature_delta','signature':'s'}"),
         "line 8: a delta fits the kind of its block"},
        {START BEGIN("0", "{'type':'odd'}") SAY, "line 8: a delta fits the kind of its block"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), true);
}

/* --- whole bodies ------------------------------------------------------------------------- */

#define BODY(content, reason)                                                       \
    "{'id':'m','type':'message','role':'assistant','model':'x','content':[" content \
    "],'stop_reason':'" reason "','stop_sequence':null," USAGE "}"

static void test_right_bodies(void **state)
{
    static const char *const cases[] = {
        BODY("", "end_turn"),
        BODY("{'type':'text','text':'a'}", "max_tokens"),
        BODY(THINKING "," TOOL, "tool_use"),
        BODY("{'type':'tool_use','id':'t','name':'f','input':{'a':1}}", "tool_use"),
        BODY("{'type':'odd'}", "model_context_window_exceeded"),
        "{'type':'error','error':{'type':'api_error','message':'m'}}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect(cases[i], false, NULL);
}

static void test_bodies(void **state)
{
    static const struct lint_case cases[] = {
        {"", "line 1: a body is a JSON object"},
        {"[]", "line 1: a body is a JSON object"},
        {"{'id':'m'", "line 1: a body is a JSON object"},
        {"{}", "line 1: a message has an id"},
        {"{'type':'error','error':{'message':'m'}}", "line 1: an error has a type"},
        {"{'type':'error','error':{'type':'t'}}", "line 1: an error has a message"},
        {BODY("{'type':'text'}", "end_turn"), "line 1: a text block has a text"},
        {BODY("{'type':'text','text':'a'},{}", "end_turn"), "line 1: a block has a type"},
        {BODY("{'type':'tool_use','id':'t','name':'f'}", "tool_use"),
         "line 1: a tool_use block's input is an object"},
        {BODY("", "stop"), "line 1: stop_reason is one of the known words"},
        {BODY("", "tool_use"), "line 1: a message without tool_use does not stop for tool_use"},
        {BODY(TOOL, "end_turn"), "line 1: a message with tool_use stops for tool_use"},
    };

    (void)state;
    expect_each(cases, COUNT_OF(cases), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_streams), cmocka_unit_test(test_framing),
        cmocka_unit_test(test_messages),      cmocka_unit_test(test_stops),
        cmocka_unit_test(test_blocks),        cmocka_unit_test(test_deltas),
        cmocka_unit_test(test_right_bodies),  cmocka_unit_test(test_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
