/* SPDX-License-Identifier: MIT */
/* Answers made by hand: what vendors do otherwise, cuts, take-overs, mutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"

enum { OUT_MAX = 64 * 1024 * 1024, MUTATIONS = 1000 };

static const struct trial_cuts streamed = {.stream = true};

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 16 * 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* ' is " in what follows; each line is the data of an event. */
static struct str stream_of(const char *lines)
{
    struct str rest = str_c(lines);
    struct str line;
    struct buf out;

    buf_init(&out, OUT_MAX);
    while (str_cut(&rest, '\n', &line)) {
        buf_add(&out, STR("data: "));
        for (size_t i = 0; i < line.n; i++)
            buf_add_char(&out, line.p[i] == '\'' ? '"' : line.p[i]);
        buf_add(&out, STR("\n\n"));
    }
    struct str text = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static struct str quoted(const char *text)
{
    struct str s = str_c(text);
    char *copy = arena_alloc(&arena, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        copy[i] = (char)(s.p[i] == '\'' ? '"' : s.p[i]);
    return str_of(copy, s.n);
}

static void expect(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
}

#define CREATED                                                                             \
    "{'type':'response.created','sequence_number':0,'response':{'id':'resp_1','model':'m'," \
    "'created_at':5,'status':'in_progress','output':[]}}\n"
#define ADDED(index, item) \
    "{'type':'response.output_item.added','output_index':" index ",'item':{" item "}}\n"
#define TEXT(index, text)                                                      \
    "{'type':'response.output_text.delta','item_id':'x','output_index':" index \
    ",'content_index':0,'delta':'" text "','logprobs':[]}\n"
#define DONE(index, item) \
    "{'type':'response.output_item.done','output_index':" index ",'item':{" item "}}\n"
#define COMPLETED(output)                                                          \
    "{'type':'response.completed','response':{'id':'resp_1','status':'completed'," \
    "'output':[" output "],'usage':{'input_tokens':3,'output_tokens':2,'total_tokens':5}}}"
#define MESSAGE(text)                                                                    \
    "'type':'message','id':'msg_1','role':'assistant','content':[{'type':'output_text'," \
    "'text':'" text "','annotations':[]}]"

#define SUMMARY_DELTA                                                                  \
    "{'type':'response.reasoning_summary_text.delta','output_index':0,'summary_index'" \
    ":0,'delta':'A'}\n"
#define SUMMARY_DONE                                                                  \
    "{'type':'response.reasoning_summary_text.done','output_index':0,'summary_index'" \
    ":1,'text':'B'}\n"
#define THREE "{'text':'A'},{'text':'B'},{'text':'C'}"
#define ARGS_DONE \
    "{'type':'response.function_call_arguments.done','output_index':0,'arguments':'{}'}\n"

/* --- what vendors do otherwise ------------------------------------------------------------ */

static const struct {
    const char *what;
    const char *lines;
    const char *events; /* the digest; null: it is not complete */
} odd_streams[] = {
    {"all deltas",
     CREATED ADDED("0", "'type':'message','id':'a','content':[]") TEXT("0", "Hel") TEXT("0", "lo")
         DONE("0", MESSAGE("Hello")) COMPLETED("{" MESSAGE("Hello") "}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=Hello\nSTOP choice 0 END\n"},
    {"nothing but the end", CREATED COMPLETED("{" MESSAGE("Hello") "}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=Hello\nSTOP choice 0 END\n"},
    {"no end of the item", CREATED TEXT("0", "Hello") COMPLETED("{" MESSAGE("Hello") "}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=Hello\nSTOP choice 0 END\n"},
    {"an output without items",
     CREATED ADDED("0", "'type':'message','id':'a'") TEXT("0", "Hello") COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=Hello\nSTOP choice 0 END\n"},
    {"a refusal that stands in the end only",
     CREATED ADDED("0", "'type':'message','id':'a'") DONE("0",
                                                          "'type':'message','id':'a','content':[]")
         COMPLETED("{'type':'message','id':'b','content':[{'type':'refusal','refusal':'No.'}]}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REFUSAL'} text=No.\nSTOP choice 0 END\n"},
    {"encrypted content is that of the end",
     CREATED ADDED("0", "'type':'reasoning','id':'rs_1','encrypted_content':'short'")
         DONE("0", "'type':'reasoning','id':'rs_1','summary':[],'encrypted_content':'longer'")
             COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REDACTED','id':'rs_1'} "
     "signature=longer\nSTOP choice 0 END\n"},
    {"parts of a summary, without their frames",
     CREATED ADDED("0", "'type':'reasoning','id':'rs_1'")
         SUMMARY_DELTA SUMMARY_DONE DONE("0", "'type':'reasoning','id':'rs_1','summary':[" THREE
                                              "]") COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REASONING','id':'rs_1'} "
     "text=A\n\nB\n\nC\nSTOP choice 0 END\n"},
    {"arguments in their end only",
     CREATED ADDED("0", "'type':'function_call','id':'f','call_id':'c','name':'n'")
         ARGS_DONE COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TOOL','id':'c','name':'n'} "
     "text={}\nSTOP choice 0 TOOL\n"},
    {"no call_id, and a name that comes late",
     CREATED ADDED("0", "'type':'function_call','id':'f'")
         DONE("0", "'type':'function_call','id':'f','name':'n','arguments':'{}'") COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TOOL','id':'f','name':'n'} "
     "text={}\nSTOP choice 0 TOOL\n"},
    {"a list that leaves out an item",
     CREATED ADDED("0", "'type':'reasoning','id':'r'") ADDED("1", "'type':'message','id':'msg_1'")
         TEXT("1", "x") DONE("1", MESSAGE("x")) COMPLETED("{" MESSAGE("x") "}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=x\nSTOP choice 0 END\n"},
    {"the end of another API", CREATED TEXT("0", "x") "[DONE]",
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=x\nSTOP choice 0 END\n"},
    {"cut off", CREATED TEXT("0", "x"), NULL},
    {"nothing", "", NULL},
    {"an error, flat",
     "{'type':'error','code':'rate_limit_exceeded','message':'slow','param':null}",
     "ERROR 429 rate_limit_exceeded\n"},
    {"an error, nested, and nothing after it",
     CREATED "{'type':'error','error':{'type':'t','code':'server_error','message':'m'}}",
     "ERROR 500 server_error\n"},
    {"a response that failed",
     CREATED "{'type':'response.failed','response':{'status':'failed','error':{'code':"
             "'insufficient_quota','message':'m'},'output':[]}}",
     "ERROR 429 insufficient_quota\n"},
    {"a failure that does not say so in its status",
     CREATED TEXT("0", "x") "{'type':'response.failed','response':{'id':'r','error':null}}",
     "ERROR 0 \n"},
    {"an error, and an end that does not know of it",
     CREATED TEXT("0", "x") "{'type':'error','code':'server_error','message':'m'}\n" COMPLETED(""),
     "ERROR 500 server_error\n"},
    {"an end that is none, without a reason",
     CREATED TEXT("0", "x") "{'type':'response.incomplete','response':{'id':'r'}}",
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=x\nSTOP choice 0 LENGTH\n"},
    {"numbers with gaps, ids that change",
     CREATED TEXT("3", "a") TEXT("7", "b") COMPLETED("{" MESSAGE("a") "},{" MESSAGE("b") "}"),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=a\n"
     "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TEXT'} text=b\nSTOP choice 0 END\n"},
    {"one number for all items",
     CREATED ADDED("0", "'type':'message','id':'a'") TEXT("0", "a") DONE("0", MESSAGE("a"))
         ADDED("0", "'type':'message','id':'b'") TEXT("0", "b") DONE("0", MESSAGE("b"))
             COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=a\n"
     "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TEXT'} text=b\nSTOP choice 0 END\n"},
    {"what is not known",
     CREATED "{'type':'response.odd.delta','output_index':0,'delta':'x'}\n"
             "{'type':'keepalive','sequence_number':3}\nno json\n" TEXT("0", "x") COMPLETED(""),
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=x\nSTOP choice 0 END\n"},
};

static void test_odd_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(odd_streams); i++) {
        struct trial trial;
        struct error e = {.code = OK};
        struct buf got;
        buf_init(&got, OUT_MAX);
        trial_decode(&trial, responses(), stream_of(odd_streams[i].lines), &streamed);
        if (!trial_check(&trial, &e))
            fail_msg("%s: %s", odd_streams[i].what, e.detail);
        assert_int_equal(trial.error.code,
                         odd_streams[i].events == NULL ? ERR_UPSTREAM_BROKEN : OK);
        if (odd_streams[i].events != NULL && odd_streams[i].events[0] == 'E') {
            const struct frame *last = &trial.frames[trial.n - 1];
            const struct event *error = &last->events[last->n - 1];
            assert_int_equal(error->kind, EVENT_ERROR);
            buf_print(&got, "ERROR %d %.*s\n", error->error.status, STR_ARG(error->error.code));
        } else if (odd_streams[i].events != NULL) {
            trial_digest(&trial, false, &got);
        }
        if (odd_streams[i].events != NULL)
            expect(buf_str(&got), quoted(odd_streams[i].events));
        trial_fini(&trial);
        buf_fini(&got);
    }
}

static void test_whole(void **state)
{
    static const struct {
        const char *body;
        enum error_code code;
        const char *digest;
    } cases[] = {
        {"{'id':'r','object':'response','status':'incomplete','incomplete_details':{'reason':"
         "'content_filter'},'output':[{" MESSAGE("x") "}]}",
         OK, "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'} text=x\nSTOP choice 0 FILTER\n"},
        {"{'status':'incomplete','incomplete_details':{'reason':'odd'},'output':[]}", OK,
         "STOP choice 0 LENGTH\n"},
        {"{'status':'queued','output':[]}", OK, "STOP choice 0 OTHER\n"},
        {"{'status':'completed','output':[{'type':'image_generation_call','id':'ig','result':'AA',"
         "'output_format':'webp'},{'type':'web_search_call','id':'w'}]}",
         OK,
         "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'MEDIA','name':'image_generation_call'} "
         "text={'media_type':'image/webp','data':'AA'}\n"
         "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'VENDOR','name':'web_search_call'} "
         "text={'type':'web_search_call','id':'w'}\nSTOP choice 0 END\n"},
        {"{'object':'list'}", ERR_UPSTREAM_BROKEN, NULL},
        {"[]", ERR_UPSTREAM_BROKEN, NULL},
        {"no", ERR_UPSTREAM_BROKEN, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trial trial;
        struct error e = {.code = OK};
        struct buf got;
        buf_init(&got, OUT_MAX);
        trial_decode(&trial, responses(), quoted(cases[i].body),
                     &(struct trial_cuts){.stream = false});
        assert_int_equal(trial.error.code, cases[i].code);
        assert_true(cases[i].code != OK || trial_check(&trial, &e));
        trial_digest(&trial, false, &got);
        if (cases[i].code == OK)
            expect(buf_str(&got), quoted(cases[i].digest));
        trial_fini(&trial);
        buf_fini(&got);
    }
}

/* --- cuts --------------------------------------------------------------------------------- */

#define FULL_HEAD                                                                               \
    CREATED                                                                                     \
    "{'type':'response.in_progress','sequence_number':1,'response':{'id':'resp_1'}}\n"          \
    "{'type':'response.output_item.added','sequence_number':2,'output_index':0,'item':{'type':" \
    "'reasoning','id':'rs_1','summary':[]}}\n"                                                  \
    "{'type':'response.reasoning_summary_part.added','sequence_number':3,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':0,'part':{'type':'summary_text','text':''}}\n"            \
    "{'type':'response.reasoning_summary_text.delta','sequence_number':4,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':0,'delta':'One'}\n"                                       \
    "{'type':'response.reasoning_summary_text.done','sequence_number':5,'item_id':'rs_1',"      \
    "'output_index':0,'summary_index':0,'text':'One'}\n"                                        \
    "{'type':'response.reasoning_summary_part.done','sequence_number':6,'item_id':'rs_1',"      \
    "'output_index':0,'summary_index':0,'part':{'type':'summary_text','text':'One'}}\n"         \
    "{'type':'response.reasoning_summary_part.added','sequence_number':7,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':1,'part':{'type':'summary_text','text':''}}\n"            \
    "{'type':'response.reasoning_summary_text.delta','sequence_number':8,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':1,'delta':'Two'}\n"                                       \
    "{'type':'response.reasoning_summary_text.delta','sequence_number':9,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':1,'delta':' too'}\n"                                      \
    "{'type':'response.reasoning_summary_text.done','sequence_number':10,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':1,'text':'Two too'}\n"                                    \
    "{'type':'response.reasoning_summary_part.done','sequence_number':11,'item_id':'rs_1',"     \
    "'output_index':0,'summary_index':1,'part':{'type':'summary_text','text':'Two too'}}\n"     \
    "{'type':'response.output_item.done','sequence_number':12,'output_index':0,'item':{'type':" \
    "'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':'One'},{'type':"          \
    "'summary_text','text':'Two too'}],'encrypted_content':'E'}}"

#define FULL_TAIL                                                                                \
    "{'type':'response.output_item.added','sequence_number':13,'output_index':1,'item':{'type':" \
    "'message','id':'msg_1','role':'assistant','status':'in_progress','content':[]}}\n"          \
    "{'type':'response.content_part.added','sequence_number':14,'item_id':'msg_1',"              \
    "'output_index':1,'content_index':0,'part':{'type':'output_text','text':'','annotations':[]" \
    "}}\n"                                                                                       \
    "{'type':'response.output_text.delta','sequence_number':15,'item_id':'msg_1','output_index'" \
    ":1,'content_index':0,'delta':'H\\u00e9l','logprobs':[]}\n"                                  \
    "{'type':'response.output_text.annotation.added','sequence_number':16,'item_id':'msg_1',"    \
    "'output_index':1,'content_index':0,'annotation_index':0,'annotation':{'type':"              \
    "'url_citation','url':'u','title':'t','start_index':0,'end_index':1}}\n"                     \
    "{'type':'response.output_text.delta','sequence_number':17,'item_id':'msg_1','output_index'" \
    ":1,'content_index':0,'delta':'lo','logprobs':[]}\n"                                         \
    "{'type':'response.output_text.done','sequence_number':18,'item_id':'msg_1','output_index':" \
    "1,'content_index':0,'text':'H\\u00e9llo','logprobs':[]}\n"                                  \
    "{'type':'response.content_part.done','sequence_number':19,'item_id':'msg_1','output_index'" \
    ":1,'content_index':0,'part':{'type':'output_text','text':'H\\u00e9llo','annotations':[{"    \
    "'type':'url_citation','url':'u','title':'t','start_index':0,'end_index':1}]}}\n"            \
    "{'type':'response.output_item.done','sequence_number':20,'output_index':1,'item':{'type':"  \
    "'message','id':'msg_1','role':'assistant','status':'completed','content':[{'type':"         \
    "'output_text','text':'H\\u00e9llo','annotations':[{'type':'url_citation','url':'u','title'" \
    ":'t','start_index':0,'end_index':1}]}]}}\n"                                                 \
    "{'type':'response.output_item.added','sequence_number':21,'output_index':2,'item':{'type':" \
    "'function_call','id':'fc_1','call_id':'c1','name':'f','namespace':'n','arguments':''}}\n"   \
    "{'type':'response.output_item.added','sequence_number':22,'output_index':3,'item':{'type':" \
    "'custom_tool_call','id':'ctc_1','call_id':'c2','name':'g','input':''}}\n"                   \
    "{'type':'response.custom_tool_call_input.delta','sequence_number':23,'item_id':'ctc_1',"    \
    "'output_index':3,'delta':'free'}\n"                                                         \
    "{'type':'response.function_call_arguments.delta','sequence_number':24,'item_id':'fc_1',"    \
    "'output_index':2,'delta':'{\\'a\\':1}'}\n"                                                  \
    "{'type':'response.function_call_arguments.done','sequence_number':25,'item_id':'fc_1',"     \
    "'output_index':2,'name':'f','arguments':'{\\'a\\':1}'}\n"                                   \
    "{'type':'response.output_item.done','sequence_number':26,'output_index':2,'item':{'type':"  \
    "'function_call','id':'fc_1','call_id':'c1','name':'f','namespace':'n','arguments':"         \
    "'{\\'a\\':1}','status':'completed'}}\n"                                                     \
    "{'type':'response.custom_tool_call_input.done','sequence_number':27,'item_id':'ctc_1',"     \
    "'output_index':3,'input':'free'}\n"                                                         \
    "{'type':'response.output_item.done','sequence_number':28,'output_index':3,'item':{'type':"  \
    "'custom_tool_call','id':'ctc_1','call_id':'c2','name':'g','input':'free'}}\n"               \
    "{'type':'response.completed','sequence_number':29,'response':{'id':'resp_1','status':"      \
    "'completed','output':[],'usage':{'input_tokens':3,'output_tokens':2,'total_tokens':5}}}"

static struct str full_stream(void)
{
    struct str head = stream_of(FULL_HEAD);
    struct str tail = stream_of(FULL_TAIL);

    return str_print(&arena, "%.*s%.*s", STR_ARG(head), STR_ARG(tail));
}

/* Catches: frames that depend on how the bytes were cut. */
static void test_split(void **state)
{
    struct str bytes = full_stream();
    struct trial whole;
    struct buf want;
    struct buf got;

    (void)state;
    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&whole, responses(), bytes, &streamed);
    assert_int_equal(whole.error.code, OK);
    trial_dump(&whole, &want);
    for (size_t step = 1; step < 300; step = step * 2 + 1) {
        struct trial trial;
        buf_reset(&got);
        trial_decode(&trial, responses(), bytes,
                     &(struct trial_cuts){.stream = true, .step = step});
        trial_dump(&trial, &got);
        expect(buf_str(&got), buf_str(&want));
        trial_fini(&trial);
    }
    trial_fini(&whole);
    buf_fini(&want);
    buf_fini(&got);
}

/* Catches: success that was not said. Two cuts, in two places at once, see all bytes. */
static void test_cut_anywhere(void **state)
{
    struct str bytes = full_stream();
    const struct encoder_options options = {.stream = true};
    /* The last event counts once its line is there. */
    size_t enough = bytes.n - 2;

    (void)state;
    for (size_t n = 0; n < bytes.n; n++) {
        struct trial trial;
        struct error e = {.code = OK};
        struct buf out;
        trial_decode(&trial, responses(), str_head(bytes, n), &streamed);
        assert_int_equal(trial.error.code == OK, n >= enough);
        if (!trial_check(&trial, &e))
            fail_msg("at %zu: %s", n, e.detail);
        buf_init(&out, OUT_MAX);
        if (n % 7 == 0 && trial.error.code != OK) {
            assert_int_equal(trial_encode(&trial, responses(), &options, &out, &e), OK);
            assert_int_equal(str_find(buf_str(&out), STR("response.completed"), 0), SIZE_MAX);
        }
        buf_fini(&out);
        trial_fini(&trial);
    }
}

/* --- take-overs --------------------------------------------------------------------------- */

static bool is_event(struct str line)
{
    return str_starts(line, STR("data: "));
}

/* Event lines are added to what was made without them, for the checker. */
static struct str with_events(struct str bytes)
{
    struct str line;
    struct str before = STR("");
    struct buf out;

    buf_init(&out, OUT_MAX);
    while (str_cut(&bytes, '\n', &line)) {
        if (is_event(line) && !str_starts(before, STR("event: "))) {
            size_t at = str_find(line, STR("\"type\":\""), 0) + 8;
            size_t end = str_find_char(line, '"', at);
            buf_add(&out, STR("event: "));
            buf_add(&out, str_of(line.p + at, end - at));
            buf_add_char(&out, '\n');
        }
        buf_add(&out, line);
        if (bytes.p != NULL)
            buf_add_char(&out, '\n');
        before = line;
    }
    struct str text = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

/* Catches: numbers that begin again, items that are said twice or never, texts that were not said;
 * and an answer that says something else afterwards. */
static void test_take_over(void **state)
{
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    struct trial trial;
    struct buf want;

    (void)state;
    buf_init(&want, OUT_MAX);
    trial_decode(&trial, responses(), full_stream(), &streamed);
    trial_digest(&trial, false, &want);
    for (size_t from = 0; from < trial.n; from++) {
        struct error e = {.code = OK};
        struct trial again;
        struct buf out;
        struct buf got;
        buf_init(&out, OUT_MAX);
        buf_init(&got, OUT_MAX);
        trial_change_from(&trial, from);
        assert_int_equal(trial_encode(&trial, responses(), &options, &out, &e), OK);
        struct str text = with_events(buf_str(&out));
        trial_decode(&again, responses(), text, &streamed);
        trial_digest(&again, false, &got);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            fail_msg("from %zu\n%.*s\n%.*s", from, STR_ARG(buf_str(&got)), STR_ARG(text));
        /* The beginning lacks what strict clients want; ours does not. */
        if (from == 0 && trial_lint(responses(), text, true, &e) != OK)
            fail_msg("from %zu: %s\n%.*s", from, e.detail, STR_ARG(text));
        trial_fini(&again);
        buf_fini(&out);
        buf_fini(&got);
    }
    trial_fini(&trial);
    buf_fini(&want);
}

/* Catches: an item in its end that is not what the client saw of it. */
static void test_take_over_says_what_was_sent(void **state)
{
    static const struct {
        size_t from; /* a frame of FULL */
        const char *want;
    } cases[] = {
        {5, "'item_id':'rs_1','output_index':0,'summary_index':0,'text':'One\\n\\nTwo too'"},
        {6, "'summary_index':1,'text':'Two too'"},
        {9, "'sequence_number':9,'item_id':'rs_1','output_index':0,'summary_index':1,'delta':' "
            "too'"},
        {15, "'type':'response.output_text.delta','sequence_number':15,'item_id':'msg_1',"
             "'output_index':1,'content_index':0,'delta':'H\xc3\xa9l'"},
        {17, "'text':'H\xc3\xa9llo','logprobs':[]"},
        {24, "'type':'response.output_item.done','sequence_number':26,'output_index':2,'item':{"
             "'id':'fc_1','type':'function_call','status':'completed','call_id':'c1','name':'f',"
             "'namespace':'n','arguments':'{\\'a\\':1}'}"},
    };
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    struct trial trial;

    (void)state;
    trial_decode(&trial, responses(), full_stream(), &streamed);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e = {.code = OK};
        struct buf out;
        buf_init(&out, OUT_MAX);
        trial_change_from(&trial, cases[i].from);
        assert_int_equal(trial_encode(&trial, responses(), &options, &out, &e), OK);
        if (str_find(buf_str(&out), quoted(cases[i].want), 0) == SIZE_MAX)
            fail_msg("from %zu: no %s in\n%.*s", cases[i].from, cases[i].want,
                     STR_ARG(buf_str(&out)));
        buf_fini(&out);
    }
    trial_fini(&trial);
}

/* The first n frames of trial, and then a failure here. */
static void encode_broken(struct trial *trial, size_t n, bool same, struct buf *out)
{
    struct arena answer;
    struct encoder_options options = {.stream = true, .same_protocol = same, .arena = &answer};
    struct error e = {.code = OK};

    arena_init(&answer, OUT_MAX, 1024, NULL);
    options.bytes_max = OUT_MAX;
    options.id = STR("ours");
    options.model = STR("m");
    options.now_s = 1700000000;
    void *encoder = arena_zalloc(&answer, responses()->encoder_size);
    responses()->encoder_init(encoder, &options);
    for (size_t i = 0; i < n; i++) {
        struct str raw;
        assert_int_equal(responses()->response_encode(encoder, &trial->frames[i], out, &raw, &e),
                         OK);
        (void)buf_add(out, raw);
    }
    (void)FAIL(&e, ERR_UPSTREAM_TIMEOUT, "it is late");
    responses()->encoder_break(encoder, &e, out);
    responses()->encoder_fini(encoder);
    arena_fini(&answer);
}

/* Catches: an error of ours in the midst of a stream whose numbers or id begin again, that leaves
 * out what was said, or that stands behind the end. */
static void test_broken(void **state)
{
    struct trial trial;

    (void)state;
    trial_decode(&trial, responses(), full_stream(), &streamed);
    for (size_t n = 0; n <= 2 * trial.n + 1; n++) {
        size_t frames = n / 2;
        bool same = n % 2 == 1;
        struct error e = {.code = OK};
        struct trial again;
        struct buf out;
        buf_init(&out, OUT_MAX);
        encode_broken(&trial, frames, same, &out);
        struct str said = buf_str(&out);
        if (!same && trial_lint(responses(), said, true, &e) != OK)
            fail_msg("after %zu: %s\n%.*s", frames, e.detail, STR_ARG(said));
        bool over = same && frames == trial.n;
        assert_true(over == (str_find(said, STR("it is late"), 0) == SIZE_MAX));
        if (same && !over)
            assert_true(str_find(said,
                                 str_print(&arena, "\"error\",\"sequence_number\":%zu,",
                                           frames == 0 ? (size_t)2 : frames + (frames == 1)),
                                 0) != SIZE_MAX);
        trial_decode(&again, responses(), said, &streamed);
        assert_true(over || trial_has(&again, EVENT_ERROR));
        assert_false(!over && trial_has(&again, EVENT_STOP));
        trial_fini(&again);
        buf_fini(&out);
    }
    trial_fini(&trial);
}

/* --- the encoder's own -------------------------------------------------------------------- */

static void trial_of(struct trial *trial, const char *lines)
{
    struct error e = {.code = OK};

    if (trial_read(trial, quoted(lines), &e) != OK)
        fail_msg("%s: %s", e.detail, lines);
}

#define START        "{'kind':'START','id':'x','model':'m2'}\n"
#define STOP(reason) "{'kind':'STOP','reason':'" reason "'}"

static const struct {
    const char *events;
    const char *request; /* NULL: none */
    const char *wants[4];
    const char *never;
} encoded[] = {
    {START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':0,'text':'a'}\n{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':1,'text':'b'}\n{'kind':'BLOCK_END','block':1}\n" STOP("END"),
     NULL,
     {"'content':[{'type':'output_text','annotations':[],'logprobs':[],'text':'a'},{'type':"
      "'output_text','annotations':[],'logprobs':[],'text':'b'}]",
      "'content_index':1,'delta':'b'", "event: response.completed", "'id':'resp_ours'"},
     "'output_index':1"},
    {START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REASONING'}\n"
           "{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':1,'text':'b'}\n{'kind':'BLOCK_END','block':1}\n" STOP("LENGTH"),
     NULL,
     {"'id':'msg_ours_0'", "event: response.incomplete",
      "'incomplete_details':{'reason':'max_output_tokens'}", "'status':'incomplete'"},
     "reasoning_summary"},
    {START
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REASONING'}\n"
     "{'kind':'REASONING','block':0,'text':'hm'}\n"
     "{'kind':'SIGNATURE','block':0,'text':'sig'}\n{'kind':'BLOCK_END','block':0}\n" STOP("END"),
     "{'model':'m','input':'x','include':['reasoning.encrypted_content'],'metadata':{'a':'b'}}",
     {"'encrypted_content':'sig'", "'summary':[{'type':'summary_text','text':'hm'}]",
      "'metadata':{'a':'b'}", "'summary_index':0,'delta':'hm'"},
     NULL},
    {START
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'REASONING'}\n"
     "{'kind':'REASONING','block':0,'text':'hm'}\n"
     "{'kind':'SIGNATURE','block':0,'text':'sig'}\n{'kind':'BLOCK_END','block':0}\n"
     "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'REDACTED'}\n"
     "{'kind':'SIGNATURE','block':1,'text':'red'}\n{'kind':'BLOCK_END','block':1}\n" STOP("FILTER"),
     "{'model':'m','input':'x'}",
     {"'incomplete_details':{'reason':'content_filter'}", "'store':false", "'text':'hm'",
      "'tools':[]"},
     "encrypted_content"},
    {START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TOOL','id':'c','name':'n__f'}\n"
           "{'kind':'BLOCK_END','block':0}\n"
           "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'TOOL','id':'d','name':'p',"
           "'custom':true}\n{'kind':'TOOL_ARGS','block':1,'text':'x'}\n"
           "{'kind':'BLOCK_END','block':1}\n" STOP("TOOL"),
     "{'model':'m','input':'x','tools':[{'type':'namespace','name':'n','tools':[{'type':"
     "'function','name':'f'}]},{'type':'custom','name':'p'},{'type':'function','name':'q'}]}",
     {"'name':'f','namespace':'n','arguments':'{}'", "'type':'custom_tool_call'", "'input':'x'",
      "'name':'q','parameters':null,'strict':false"},
     NULL},
    {START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':0,'text':'a'}\n"
           "{'kind':'CITATION','block':0,'text':'{\\'type\\':\\'url_citation\\',"
           "\\'url_citation\\':{\\'url\\':\\'u\\'}}'}\n"
           "{'kind':'CITATION','block':0,'text':'{\\'type\\':\\'odd\\'}'}\n"
           "{'kind':'LOGPROBS','block':0,'text':'{\\'content\\':[{\\'token\\':\\'a\\'}]}'}\n"
           "{'kind':'KEEPALIVE'}\n{'kind':'BLOCK_END','block':0}\n" STOP("END"),
     NULL,
     {"'annotation_index':0,'annotation':{'type':'url_citation','url':'u'}",
      "'logprobs':[{'token':'a'}]", ": keep-alive\n\n", "event: response.completed"},
     "odd"},
    {START
     "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'MEDIA'}\n"
     "{'kind':'TEXT','block':0,'text':'{\\'media_type\\':\\'image/png\\',\\'data\\':"
     "\\'QUJD\\'}'}\n{'kind':'BLOCK_END','block':0}\n"
     "{'kind':'BLOCK_BEGIN','block':1,'block_kind':'VENDOR','name':'v'}\n"
     "{'kind':'TEXT','block':1,'text':'{\\'v\\':1}'}\n{'kind':'BLOCK_END','block':1}\n"
     "{'kind':'BLOCK_BEGIN','block':2,'block_kind':'REFUSAL'}\n"
     "{'kind':'TEXT','block':2,'text':'No.'}\n{'kind':'BLOCK_END','block':2}\n" STOP("REFUSAL"),
     NULL,
     {"'type':'image_generation_call','status':'completed','result':'QUJD'",
      "event: response.refusal.done", "'refusal':'No.'", "event: response.completed"},
     "'v'"},
    {START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
           "{'kind':'TEXT','block':0,'text':'a'}\n"
           "{'kind':'ERROR','status':429,'message':'slow'}",
     NULL,
     {"event: error\n", "'code':'rate_limit_exceeded','message':'slow'", "event: response.failed",
      "'status':'incomplete'"},
     "response.completed"},
};

static void test_encoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(encoded); i++) {
        const struct request_limits limits = {.depth_max = 64, .operation = OP_GENERATE};
        struct request request;
        struct error e = {.code = OK};
        struct trial trial;
        struct buf out;
        bool given = encoded[i].request != NULL;
        if (given)
            assert_int_equal(responses()->request_decode(quoted(encoded[i].request), &limits,
                                                         &arena, &request, &e),
                             OK);
        if (given)
            assert_int_equal(responses()->request_decode_full(&request, &limits, &arena, &e), OK);
        const struct encoder_options options = {.stream = true, .request = given ? &request : NULL};
        buf_init(&out, OUT_MAX);
        trial_of(&trial, encoded[i].events);
        trial_change_from(&trial, 0);
        assert_int_equal(trial_encode(&trial, responses(), &options, &out, &e), OK);
        if (trial_lint(responses(), buf_str(&out), true, &e) != OK)
            fail_msg("case %zu: %s\n%.*s", i, e.detail, STR_ARG(buf_str(&out)));
        for (size_t k = 0; k < COUNT_OF(encoded[i].wants); k++) {
            if (str_find(buf_str(&out), quoted(encoded[i].wants[k]), 0) == SIZE_MAX)
                fail_msg("case %zu: no %s in\n%.*s", i, encoded[i].wants[k],
                         STR_ARG(buf_str(&out)));
        }
        if (encoded[i].never != NULL &&
            str_find(buf_str(&out), quoted(encoded[i].never), 0) != SIZE_MAX)
            fail_msg("case %zu: %s in\n%.*s", i, encoded[i].never, STR_ARG(buf_str(&out)));
        trial_fini(&trial);
        buf_fini(&out);
    }
}

/* Catches: memory without bound. */
static void test_bounded(void **state)
{
    const struct encoder_options options = {.stream = false, .bytes_max = 100};
    struct trial trial;
    struct error e = {.code = OK};
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    trial_of(&trial, START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'TEXT'}\n"
                           "{'kind':'TEXT','block':0,'text':'0123456789012345678901234567890123456"
                           "7890123456789012345678901234567890123456789012345678901234567890123456"
                           "789'}");
    assert_int_equal(trial_encode(&trial, responses(), &options, &out, &e), ERR_UPSTREAM_TOO_LARGE);
    trial_fini(&trial);
    buf_fini(&out);
}

/* --- anything at all ---------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Events obey their grammar; what we make of them is what a client takes. */
static void try_stream(struct str bytes)
{
    const struct encoder_options stream = {.stream = true};
    const struct encoder_options whole = {.stream = false};
    const struct encoder_options same = {.stream = true, .same_protocol = true};
    struct trial trial;
    struct error e = {.code = OK};
    struct buf out;

    trial_decode(&trial, responses(), bytes, &streamed);
    if (!trial_check(&trial, &e))
        fail_msg("%s\n%.*s", e.detail, STR_ARG(bytes));
    buf_init(&out, OUT_MAX);
    trial_change_from(&trial, 0);
    assert_int_equal(trial_encode(&trial, responses(), &stream, &out, &e), OK);
    if (trial.error.code == OK && trial_lint(responses(), buf_str(&out), true, &e) != OK)
        fail_msg("%s\n%.*s\n%.*s", e.detail, STR_ARG(bytes), STR_ARG(buf_str(&out)));
    buf_reset(&out);
    trial_change_from(&trial, 0);
    assert_int_equal(trial_encode(&trial, responses(), &whole, &out, &e), OK);
    if (trial.error.code == OK && trial_lint(responses(), buf_str(&out), false, &e) != OK)
        fail_msg("%s\n%.*s\n%.*s", e.detail, STR_ARG(bytes), STR_ARG(buf_str(&out)));
    for (size_t from = 0; from < trial.n; from += 5) {
        trial_change_from(&trial, from);
        assert_int_equal(trial_encode(&trial, responses(), &same, &out, &e), OK);
    }
    buf_fini(&out);
    trial_fini(&trial);
}

static void test_mutations(void **state)
{
    static const char bytes[] = "\"{}[]:,\\ntf0-e'x ";
    struct str full = full_stream();
    uint32_t random = 11;

    (void)state;
    for (size_t i = 0; i < MUTATIONS; i++) {
        struct arena copy;
        arena_init(&copy, OUT_MAX, 16 * 1024, NULL);
        char *to = arena_alloc(&copy, full.n);
        memcpy(to, full.p, full.n);
        for (uint32_t k = next_random(&random) % 4; k < 4; k++)
            to[next_random(&random) % full.n] = bytes[next_random(&random) % (sizeof(bytes) - 1)];
        try_stream(str_of(to, full.n));
        arena_fini(&copy);
    }
}

/* Frames in another order, twice, or not at all. */
static void test_shuffled(void **state)
{
    struct str frames[64];
    struct str rest = full_stream();
    uint32_t random = 5;
    size_t n = 0;

    (void)state;
    for (size_t end; (end = str_find(rest, STR("\n\n"), 0)) != SIZE_MAX;) {
        assert_true(n < COUNT_OF(frames));
        frames[n++] = str_head(rest, end + 2);
        rest = str_from(rest, end + 2);
    }
    for (size_t i = 0; i < MUTATIONS; i++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        for (size_t k = 0; k < n; k++) {
            uint32_t chance = next_random(&random) % 12;
            buf_add(&out, frames[chance == 0 ? next_random(&random) % n : k]);
            if (chance == 1)
                k++;
            else if (chance == 2)
                k = k == 0 ? 0 : k - 1;
        }
        try_stream(buf_str(&out));
        buf_fini(&out);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_odd_streams),  TEST(test_whole),     TEST(test_split),
        TEST(test_cut_anywhere), TEST(test_take_over), TEST(test_take_over_says_what_was_sent),
        TEST(test_broken),       TEST(test_encoded),   TEST(test_bounded),
        TEST(test_mutations),    TEST(test_shuffled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
