/* SPDX-License-Identifier: MIT */
/*
 * What clients get: events of answers in any protocol as this one's, and raw streams taken over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/anthropic_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_anthropic;
extern const struct protocol protocol_openai_chat;

enum { OUT_MAX = 64 * 1024 * 1024 };

/* --- events ------------------------------------------------------------------------------- */

static void trial_of(struct trial *trial, const char *lines)
{
    struct error e = {.code = OK};
    struct buf quoted;

    buf_init(&quoted, OUT_MAX);
    for (const char *p = lines; *p != '\0'; p++)
        (void)buf_add_char(&quoted, *p == '\'' ? '"' : *p);
    if (trial_read(trial, buf_str(&quoted), &e) != OK)
        fail_msg("%s: %s", e.detail, lines);
    buf_fini(&quoted);
}

/* What a client gets, its event lines left out. */
static void encode(const char *lines, const struct encoder_options *options, struct buf *out)
{
    struct trial trial;
    struct error e;
    struct buf all;
    struct str rest;
    struct str line;

    trial_of(&trial, lines);
    if (!trial_check(&trial, &e))
        fail_msg("not events: %s", e.detail);
    buf_init(&all, OUT_MAX);
    assert_int_equal(trial_encode(&trial, &protocol_anthropic, options, &all, &e), OK);
    if (trial_lint(&protocol_anthropic, buf_str(&all), options->stream, &e) != OK)
        fail_msg("%s\n%.*s", e.detail, STR_ARG(buf_str(&all)));
    rest = buf_str(&all);
    while (str_cut(&rest, '\n', &line)) {
        if (line.n == 0 || str_starts(line, STR("event: ")))
            continue;
        buf_add(out, str_starts(line, STR("data: ")) ? str_from(line, 6) : line);
        buf_add_char(out, '\n');
    }
    buf_fini(&all);
    trial_fini(&trial);
}

static void expect(const char *what, const char *lines, const struct encoder_options *options,
                   const char *want)
{
    struct arena arena;
    struct buf out;

    arena_init(&arena, OUT_MAX, 4096, NULL);
    buf_init(&out, OUT_MAX);
    char *text = str_z(&arena, str_c(want));
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\'')
            *p = '"';
    }
    encode(lines, options, &out);
    if (!str_eq(buf_str(&out), str_c(text)))
        fail_msg("%s\n--- got\n%.*s\n--- want\n%s", what, STR_ARG(buf_str(&out)), text);
    buf_fini(&out);
    arena_fini(&arena);
}

#define START   "{'kind':'START','id':'c1','model':'m'}\n"
#define MESSAGE "{'id':'msg_ours','type':'message','role':'assistant','model':'m'"
#define MESSAGE_START                                                                    \
    "{'type':'message_start','message':" MESSAGE ",'content':[],'stop_reason':null,"     \
    "'stop_sequence':null,'usage':{'input_tokens':0,'cache_creation_input_tokens':null," \
    "'cache_read_input_tokens':null,'output_tokens':0}}}\n"
#define BLOCK(index, block) \
    "{'type':'content_block_start','index':" #index ",'content_block':" block "}\n"
#define DELTA(at, delta)        "{'type':'content_block_delta','index':" #at ",'delta':" delta "}\n"
#define TEXT_DELTA(index, text) DELTA(index, "{'type':'text_delta','text':'" text "'}")
#define INPUT_DELTA(index, text) \
    DELTA(index, "{'type':'input_json_delta','partial_json':'" text "'}")
#define BLOCK_STOP(index)    "{'type':'content_block_stop','index':" #index "}\n"
#define TEXT_BLOCK           "{'type':'text','text':''}"
#define TOOL_BLOCK(id, name) "{'type':'tool_use','id':'" id "','name':'" name "','input':{}}"
#define MESSAGE_STOP         "{'type':'message_stop'}\n"
#define STOP_AS(reason) \
    "{'type':'message_delta','delta':{'stop_reason':'" reason "','stop_sequence':null},"
#define NO_USAGE "'usage':{'output_tokens':0}}\n"

struct row {
    const char *what;
    const char *events;
    const char *stream;
    const char *whole; /* from its content on; NULL: not looked at */
};

static const struct row rows[] = {
    {"text, and usage that comes after the stop",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':0,'text':'a'}\n{'kind':'TEXT','block':0,'text':'b'}\n"
           "{'kind':'KEEPALIVE'}\n{'kind':'BLOCK_END','block':0}\n{'kind':'STOP','reason':'END'}\n"
           "{'kind':'USAGE','input':30,'output':7,'cached':10,'cache_written':5,'reasoning':2}\n",
     MESSAGE_START BLOCK(0, TEXT_BLOCK) TEXT_DELTA(0, "a")
         TEXT_DELTA(0, "b") "{'type':'ping'}\n" BLOCK_STOP(0) STOP_AS(
             "end_turn") "'usage':{'input_tokens':15,'cache_creation_input_tokens':5,"
                         "'cache_read_input_tokens':10,'output_tokens':7,'output_tokens_details':"
                         "{'thinking_tokens':2}}}\n" MESSAGE_STOP,
     "'content':[{'type':'text','text':'ab'}],'stop_reason':'end_turn','stop_sequence':null,"
     "'usage':{'input_tokens':15,'cache_creation_input_tokens':5,'cache_read_input_tokens':10,"
     "'output_tokens':7,'output_tokens_details':{'thinking_tokens':2}}}\n"},
    {"calls that come in turns: the second waits",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TOOL','id':'a','name':'f'}\n"
           "{'kind':'TOOL_ARGS','block':0,'text':'{'}\n"
           "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TOOL','id':'b','name':'g'}\n"
           "{'kind':'TOOL_ARGS','block':1,'text':'[1'}\n{'kind':'TOOL_ARGS','block':0,'text':'}'}\n"
           "{'kind':'TOOL_ARGS','block':1,'text':']'}\n"
           "{'kind':'BLOCK_BEGIN','block':2,'block_kind':'TOOL','id':'c','name':'h'}\n"
           "{'kind':'BLOCK_END','block':2}\n{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'BLOCK_END','block':1}\n{'kind':'STOP','reason':'END'}\n",
     MESSAGE_START BLOCK(0, TOOL_BLOCK("a", "f")) INPUT_DELTA(0, "{") INPUT_DELTA(0, "}")
         BLOCK_STOP(0) BLOCK(1, TOOL_BLOCK("b", "g")) INPUT_DELTA(1, "{\\'value\\':[1]}")
             BLOCK_STOP(1) BLOCK(2, TOOL_BLOCK("c", "h")) INPUT_DELTA(2, "{}") BLOCK_STOP(2)
                 STOP_AS("tool_use") NO_USAGE MESSAGE_STOP,
     "'content':[{'type':'tool_use','id':'a','name':'f','input':{}},{'type':'tool_use','id':'b',"
     "'name':'g','input':{'value':[1]}},{'type':'tool_use','id':'c','name':'h','input':{}}],"
     "'stop_reason':'tool_use','stop_sequence':null,'usage':{'input_tokens':0,"
     "'cache_creation_input_tokens':null,'cache_read_input_tokens':null,'output_tokens':0}}\n"},
    {"arguments that are no object",
     START
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TOOL','id':'a','name':'f'}\n"
     "{'kind':'TOOL_ARGS','block':0,'text':'nu'}\n{'kind':'TOOL_ARGS','block':0,'text':'ll'}\n"
     "{'kind':'BLOCK_END','block':0}\n"
     "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TOOL','id':'b','name':'f'}\n"
     "{'kind':'TOOL_ARGS','block':1,'text':' '}\n{'kind':'TOOL_ARGS','block':1,'text':'{}'}\n"
     "{'kind':'BLOCK_END','block':1}\n{'kind':'STOP','reason':'TOOL'}\n",
     MESSAGE_START BLOCK(0, TOOL_BLOCK("a", "f")) INPUT_DELTA(0, "{}") BLOCK_STOP(0)
         BLOCK(1, TOOL_BLOCK("b", "f")) INPUT_DELTA(1, "{}") BLOCK_STOP(1) STOP_AS("tool_use")
             NO_USAGE MESSAGE_STOP,
     NULL},
    {"thoughts, signed and not; empty blocks are none",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'REASONING'}\n"
           "{'kind':'REASONING','block':1,'text':'hm'}\n"
           "{'kind':'SIGNATURE','block':1,'text':'s1'}\n{'kind':'BLOCK_END','block':1}\n"
           "{'kind':'BLOCK_BEGIN','block':2,'block_kind':'REASONING'}\n"
           "{'kind':'REASONING','block':2,'text':'so'}\n{'kind':'BLOCK_END','block':2}\n"
           "{'kind':'BLOCK_BEGIN','block':3,'block_kind':'REASONING'}\n"
           "{'kind':'BLOCK_END','block':3}\n"
           "{'kind':'BLOCK_BEGIN','block':4,'block_kind':'REDACTED'}\n"
           "{'kind':'SIGNATURE','block':4,'text':'r'}\n{'kind':'BLOCK_END','block':4}\n"
           "{'kind':'BLOCK_BEGIN','block':5,'block_kind':'MEDIA'}\n"
           "{'kind':'TEXT','block':5,'text':'{}'}\n{'kind':'BLOCK_END','block':5}\n"
           "{'kind':'BLOCK_BEGIN','block':6,'block_kind':'VENDOR','name':'x'}\n"
           "{'kind':'TEXT','block':6,'text':'{}'}\n{'kind':'BLOCK_END','block':6}\n"
           "{'kind':'STOP','reason':'LENGTH'}\n",
     MESSAGE_START BLOCK(0, "{'type':'thinking','thinking':'','signature':''}")
         DELTA(0, "{'type':'thinking_delta','thinking':'hm'}")
             DELTA(0, "{'type':'signature_delta','signature':'s1'}") BLOCK_STOP(0)
                 BLOCK(1, "{'type':'thinking','thinking':'','signature':''}")
                     DELTA(1, "{'type':'thinking_delta','thinking':'so'}")
                         DELTA(1, "{'type':'signature_delta','signature':'cHgxLm5vbmU'}")
                             BLOCK_STOP(1) BLOCK(2, "{'type':'redacted_thinking','data':'r'}")
                                 BLOCK_STOP(2) STOP_AS("max_tokens") NO_USAGE MESSAGE_STOP,
     "'content':[{'type':'thinking','thinking':'hm','signature':'s1'},{'type':'thinking',"
     "'thinking':'so','signature':'cHgxLm5vbmU'},{'type':'redacted_thinking','data':'r'}],"
     "'stop_reason':'max_tokens','stop_sequence':null,'usage':{'input_tokens':0,"
     "'cache_creation_input_tokens':null,'cache_read_input_tokens':null,'output_tokens':0}}\n"},
    {"a refusal is said, and is a reason to stop",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REFUSAL'}\n"
           "{'kind':'TEXT','block':0,'text':'no'}\n{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'STOP','reason':'END'}\n",
     MESSAGE_START BLOCK(0, TEXT_BLOCK) TEXT_DELTA(0, "no") BLOCK_STOP(0) STOP_AS("refusal")
         NO_USAGE MESSAGE_STOP,
     NULL},
    {"other choices are not for this client; words of others are not known",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'BLOCK_BEGIN','choice':1,'block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','choice':1,'block':0,'text':'b'}\n{'kind':'TEXT','block':0,'text':'a'}\n"
           "{'kind':'BLOCK_END','block':0}\n{'kind':'BLOCK_END','choice':1,'block':0}\n"
           "{'kind':'STOP','reason':'OTHER','native':'odd'}\n"
           "{'kind':'STOP','choice':1,'reason':'LENGTH'}\n",
     MESSAGE_START BLOCK(0, TEXT_BLOCK) TEXT_DELTA(0, "a") BLOCK_STOP(0) STOP_AS("end_turn")
         NO_USAGE MESSAGE_STOP,
     NULL},
    {"citations: those that this protocol knows",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':0,'text':'a'}\n"
           "{'kind':'CITATION','block':0,'text':'{\\'type\\':\\'url_citation\\',\\'url_citation\\':"
           "{\\'url\\':\\'u\\',\\'title\\':\\'t\\'}}'}\n"
           "{'kind':'CITATION','block':0,'text':'{\\'type\\':\\'url_citation\\',\\'url_citation\\':"
           "{\\'url\\':\\'u\\',\\'title\\':\\'t\\',\\'cited_text\\':\\'q\\',\\'encrypted_index\\':"
           "\\'i\\'}}'}\n"
           "{'kind':'BLOCK_END','block':0}\n{'kind':'STOP','reason':'SEQUENCE','sequence':'E'}\n",
     MESSAGE_START BLOCK(0, TEXT_BLOCK) TEXT_DELTA(0, "a")
         DELTA(0, "{'type':'citations_delta','citation':{'type':'web_search_result_location',"
                  "'cited_text':'q','url':'u','title':'t','encrypted_index':'i'}}")
             BLOCK_STOP(0) "{'type':'message_delta','delta':{'stop_reason':'stop_sequence',"
                           "'stop_sequence':'E'}," NO_USAGE MESSAGE_STOP,
     "'content':[{'type':'text','text':'a','citations':[{'type':'web_search_result_location',"
     "'cited_text':'q','url':'u','title':'t','encrypted_index':'i'}]}],'stop_reason':"
     "'stop_sequence','stop_sequence':'E','usage':{'input_tokens':0,'cache_creation_input_tokens':"
     "null,'cache_read_input_tokens':null,'output_tokens':0}}\n"},
};

/* Catches: blocks open side by side, indexes with a gap, an end before the usage; anything that is
 * left out of a whole body. */
static void test_rows(void **state)
{
    const struct encoder_options stream = {.stream = true};
    const struct encoder_options whole = {.stream = false};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena;
        arena_init(&arena, OUT_MAX, 4096, NULL);
        expect(rows[i].what, rows[i].events, &stream, rows[i].stream);
        if (rows[i].whole != NULL) {
            struct str body = str_print(&arena, "%s,%s", MESSAGE, rows[i].whole);
            expect(rows[i].what, rows[i].events, &whole, str_z(&arena, body));
        }
        arena_fini(&arena);
    }
}

/* Catches: something that follows an error, or a foreign word in it. */
static void test_error(void **state)
{
    const char *const events = START
        "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
        "{'kind':'TEXT','block':0,'text':'a'}\n"
        "{'kind':'ERROR','status':503,'type':'server_error','message':'full'}\n";
    const struct encoder_options stream = {.stream = true};
    const struct encoder_options whole = {.stream = false};
    const char *const error =
        "{'type':'error','error':{'type':'overloaded_error','message':'full'}}";
    struct arena arena;

    (void)state;
    arena_init(&arena, OUT_MAX, 4096, NULL);
    struct str want = str_print(&arena, "%s%s\n",
                                MESSAGE_START BLOCK(0, TEXT_BLOCK) TEXT_DELTA(0, "a"), error);
    expect("in a stream", events, &stream, str_z(&arena, want));
    want = str_print(&arena, "%s\n", error);
    expect("of a whole body", events, &whole, str_z(&arena, want));
    arena_fini(&arena);
}

/* Catches: what waits held without a bound. */
static void test_bound(void **state)
{
    struct anthropic_encoder enc = {.started = false};
    struct event begin = {.kind = EVENT_BLOCK_BEGIN};
    struct event text = {.kind = EVENT_TOOL_ARGS, .block = 1, .text = STR("0123456789")};
    struct event start = {.kind = EVENT_START};
    struct frame frame = {.raw = STR("x"), .n = 1};
    struct arena arena;
    struct buf out;
    struct str raw;
    struct error e;
    enum error_code code = OK;

    (void)state;
    arena_init(&arena, OUT_MAX, 4096, NULL);
    buf_init(&out, OUT_MAX);
    anthropic_encode_init(&enc, &(struct encoder_options){.stream = true,
                                                          .arena = &arena,
                                                          .bytes_max = 1000});
    frame.events = &start;
    assert_int_equal(anthropic_encode_frame(&enc, &frame, &out, &raw, &e), OK);
    begin.begin.kind = BLOCK_TOOL;
    frame.events = &begin;
    for (begin.block = 0; begin.block < 2; begin.block++)
        assert_int_equal(anthropic_encode_frame(&enc, &frame, &out, &raw, &e), OK);
    frame.events = &text;
    size_t n = 0;
    for (; n < 200 && code == OK; n++)
        code = anthropic_encode_frame(&enc, &frame, &out, &raw, &e);
    assert_int_equal(code, ERR_UPSTREAM_TOO_LARGE);
    assert_int_equal(n, 101);
    anthropic_encode_fini(&enc);
    buf_fini(&out);
    arena_fini(&arena);
}

/* --- take-over ---------------------------------------------------------------------------- */

static void simplify(struct buf *text)
{
    static const struct str nothing = STR_INIT(" text={}\n");
    size_t n = 0;

    for (size_t i = 0; i < text->n; i++) {
        if (str_starts(str_from(buf_str(text), i), nothing))
            i += nothing.n - 1;
        text->p[n++] = text->p[i];
    }
    text->n = n;
}

/* The raw frames up to at, then frames of ours: one answer, that says the same. */
static void take_over(struct trial *trial, size_t at, size_t line)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    const struct trial_cuts cuts = {.stream = true};
    struct trial again;
    struct error e;
    struct buf out;
    struct buf want;
    struct buf got;

    buf_init(&out, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial->frames[at].changed = true;
    assert_int_equal(trial_encode(trial, &protocol_anthropic, &options, &out, &e), OK);
    trial->frames[at].changed = false;
    if (trial_lint(&protocol_anthropic, buf_str(&out), true, &e) != OK)
        fail_msg("line %zu, frame %zu: %s\n%.*s", line, at, e.detail, STR_ARG(buf_str(&out)));
    trial_decode(&again, &protocol_anthropic, buf_str(&out), &cuts);
    trial_digest(trial, true, &want);
    trial_digest(&again, true, &got);
    simplify(&want);
    simplify(&got);
    if (!str_eq(buf_str(&want), buf_str(&got)))
        fail_msg("line %zu, frame %zu\n--- got\n%.*s\n--- want\n%.*s", line, at,
                 STR_ARG(buf_str(&got)), STR_ARG(buf_str(&want)));
    trial_fini(&again);
    buf_fini(&got);
    buf_fini(&want);
    buf_fini(&out);
}

static void take_over_everywhere(struct str bytes, size_t line)
{
    const struct trial_cuts cuts = {.stream = true};
    struct trial trial;

    trial_decode(&trial, &protocol_anthropic, bytes, &cuts);
    assert_int_equal(trial.error.code, OK);
    /* Frames that say nothing are not what a stage changes. */
    for (size_t i = 0; i < trial.n; i++) {
        if (trial.frames[i].n > 0)
            take_over(&trial, i, line);
    }
    trial_fini(&trial);
}

static void each_recording(void *ctx, const struct recording *recording)
{
    (void)ctx;
    if (recording->stream && recording->status == 200 && recording->body.n < 40000)
        take_over_everywhere(recording->body, recording->line);
}

/* Catches: ids, indexes or blocks that do not go on where the upstream's bytes ended. */
static void test_take_over(void **state)
{
    static const char *const files[] = {"text",       "thinking_tools", "redacted_refusal",
                                        "crlf",       "server_tools",   "omitted_thinking",
                                        "compaction", "late_counts",    "context"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct arena arena;
        arena_init(&arena, OUT_MAX, 4096, NULL);
        struct str path = str_print(&arena, "tests/golden/anthropic/%s.sse", files[i]);
        struct str bytes = recordings_read_file(str_z(&arena, path), &arena);
        assert_true(bytes.n > 0);
        take_over_everywhere(bytes, i);
        arena_fini(&arena);
    }
    (void)recordings_each("anthropic_messages", each_recording, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_take_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
