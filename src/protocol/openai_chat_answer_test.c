/* SPDX-License-Identifier: MIT */
/*
 * Answers of other protocols as chat completions: canonical events in, chunks and bodies out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/openai_chat_priv.h"

enum { OUT_MAX = 16 * 1024 * 1024, EVENTS_MAX = 32 };

/* Events in a line each, as canon/dump writes them, with ' for ". */
static uint32_t read_events(const char *lines, struct arena *arena, struct event events[EVENTS_MAX])
{
    char *text = str_z(arena, str_c(lines));
    struct str rest = str_c(text);
    struct str line;
    uint32_t n = 0;

    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            *c = '"';
    }
    while (str_cut(&rest, '\n', &line)) {
        struct error e;
        assert_true(n < EVENTS_MAX);
        if (dump_event_read(line, arena, &events[n++], &e) != OK)
            fail_msg("%s: %.*s", e.detail, STR_ARG(line));
    }
    return n;
}

/* What the client gets when each event comes in a frame of its own. */
static void encode(const char *lines, bool stream, struct buf *out)
{
    struct arena arena;
    struct event events[EVENTS_MAX];
    struct openai_chat_encoder enc = {.started = false};
    struct str raw;
    struct error e;

    arena_init(&arena, OUT_MAX, 1024, NULL);
    uint32_t n = read_events(lines, &arena, events);
    const struct encoder_options options = {.stream = stream,
                                            .include_usage = true,
                                            .id = STR("ours"),
                                            .model = STR("m"),
                                            .now_s = 7,
                                            .arena = &arena,
                                            .bytes_max = OUT_MAX};
    openai_chat_encode_init(&enc, &options);
    for (uint32_t i = 0; i < n; i++) {
        struct frame frame = {.events = &events[i], .n = 1, .raw = STR("raw of another")};
        assert_int_equal(openai_chat_encode_frame(&enc, &frame, out, &raw, &e), OK);
        assert_true(str_is_null(raw));
    }
    assert_int_equal(openai_chat_encode_end(&enc, out, &e), OK);
    openai_chat_encode_fini(&enc);
    arena_fini(&arena);
}

/* Each chunk's delta and finish reason, a line each; what is not like a chunk stays. */
static void write_short(struct str sse, struct arena *arena, struct buf *out)
{
    struct str rest = sse;
    struct str line;

    while (str_cut(&rest, '\n', &line)) {
        struct str data = str_from(line, 6);
        struct str element = STR_NULL;
        size_t cursor = 0;
        if (line.n == 0)
            continue;
        struct str choices = data.n > 0 && data.p[0] == '{' ? json_object_find(data, STR("choices"))
                                                            : STR_NULL;
        if (str_is_null(choices) || !json_array_next(choices, &cursor, &element)) {
            buf_print(out, "%.*s\n", STR_ARG(data));
            continue;
        }
        assert_true(str_eq(json_object_find(data, STR("id")), STR("\"chatcmpl-ours\"")));
        struct str finish = json_object_find(element, STR("finish_reason"));
        buf_add(out, json_object_find(element, STR("delta")));
        if (!str_eq(finish, STR("null")))
            buf_print(out, " %.*s", STR_ARG(finish));
        buf_add_char(out, '\n');
    }
    (void)arena;
}

struct row {
    const char *what;
    const char *events;
    const char *chunks;
    const char *message; /* of the whole body, with its finish reason */
};

static void expect(const char *what, struct str got, const char *want)
{
    struct arena arena;

    arena_init(&arena, OUT_MAX, 1024, NULL);
    char *text = str_z(&arena, str_c(want));

    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            *c = '"';
    }
    if (!str_eq(got, str_c(text)))
        fail_msg("%s\n--- got\n%.*s\n--- want\n%s", what, STR_ARG(got), text);
    arena_fini(&arena);
}

static void check_row(const struct row *row)
{
    struct arena arena;
    struct buf out;
    struct buf brief;

    arena_init(&arena, OUT_MAX, 1024, NULL);
    buf_init(&out, OUT_MAX);
    buf_init(&brief, OUT_MAX);
    encode(row->events, true, &out);
    write_short(buf_str(&out), &arena, &brief);
    expect(row->what, buf_str(&brief), row->chunks);

    buf_reset(&out);
    buf_reset(&brief);
    encode(row->events, false, &out);
    struct str choices = json_object_find(buf_str(&out), STR("choices"));
    struct str element = STR_NULL;
    size_t cursor = 0;
    if (json_array_next(choices, &cursor, &element))
        buf_print(&brief, "%.*s %.*s", STR_ARG(json_object_find(element, STR("message"))),
                  STR_ARG(json_object_find(element, STR("finish_reason"))));
    else
        buf_add(&brief, buf_str(&out));
    expect(row->what, buf_str(&brief), row->message);
    buf_fini(&out);
    buf_fini(&brief);
    arena_fini(&arena);
}

#define START "{'kind':'START','id':'msg_1','model':'claude'}\n"
#define TEXT(n, text)                                                                     \
    "{'kind':'BLOCK_BEGIN','block':" n ",'block_kind':'TEXT'}\n{'kind':'TEXT','block':" n \
    ",'text':'" text "'}\n"
#define BEGIN(n, of) "{'kind':'BLOCK_BEGIN','block':" n ",'block_kind':'" of "'}\n"
#define CALL(n, id) \
    "{'kind':'BLOCK_BEGIN','block':" n ",'block_kind':'TOOL','id':'" id "','name':'f'}\n"
#define END(n)    "{'kind':'BLOCK_END','block':" n "}\n"
#define STOP(why) "{'kind':'STOP','reason':'" why "','native':'theirs'}"
#define DONE      "[DONE]\n"
#define CHUNK_CALL(n, id) \
    "[{'index':" n ",'id':'" id "','type':'function','function':{'name':'f','arguments':''}}]"
#define CHUNK_ARGS(n, text) "{'tool_calls':[{'index':" n ",'function':{'arguments':'" text "'}}]}\n"
#define WHOLE_CALL(id)                  \
    "{'id':'" id "','type':'function'," \
    "'function':{'name':'f','arguments':'{}'}}"

static const struct row rows[] = {
    {"text", START TEXT("0", "a") END("0") STOP("END"),
     "{'role':'assistant','content':'a'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'stop'"},
    {"nothing", START STOP("LENGTH"), "{'role':'assistant','content':''} 'length'\n" DONE,
     "{'role':'assistant','content':'','refusal':null} 'length'"},
    /* Calls are numbered among themselves; none has arguments that are no JSON. */
    {"two calls behind text",
     START TEXT("0", "a") END("0") CALL("1", "x") END("1")
         CALL("2", "y") "{'kind':'TOOL_ARGS','block':2,"
                        "'text':'{}'}\n{'kind':'SIGNATURE','block':2,'text':'s'}\n" END("2")
                            STOP("TOOL"),
     "{'role':'assistant','content':'a'}\n{'tool_calls':" CHUNK_CALL("0", "x") "}\n" CHUNK_ARGS(
         "0",
         "{}") "{'tool_calls':" CHUNK_CALL("1",
                                           "y") "}\n" CHUNK_ARGS("1",
                                                                 "{}") "{} 'tool_calls'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null,'tool_calls':[" WHOLE_CALL(
         "x") "," WHOLE_CALL("y") "]} 'tool_calls'"},
    {"a call, and nothing else", START CALL("0", "x") END("0") STOP("END"),
     "{'role':'assistant','content':null,'tool_calls':" CHUNK_CALL("0", "x") "}\n" CHUNK_ARGS(
         "0", "{}") "{} 'tool_calls'\n" DONE,
     "{'role':'assistant','content':null,'refusal':null,'tool_calls':[" WHOLE_CALL(
         "x") "]} 'tool_calls'"},
    {"reasoning, signed, and what only its vendor reads",
     START BEGIN(
         "0",
         "REASONING") "{'kind':'REASONING','block':0,"
                      "'text':'hm'}\n{'kind':'SIGNATURE','block':0,'text':'s'}\n" END("0")
                          BEGIN("1", "REDACTED") "{'kind':'SIGNATURE','block':1,'text':'s'}\n" END(
                              "1") TEXT("2", "a") END("2") STOP("END"),
     "{'role':'assistant','content':null,"
     "'reasoning_content':'hm'}\n{'content':'a'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null,'reasoning_content':'hm'} 'stop'"},
    {"a vendor's block is dropped",
     START "{'kind':'BLOCK_BEGIN','block':0,'block_kind':'VENDOR','name':'server_tool_use'}\n"
           "{'kind':'TEXT','block':0,'text':'{}'}\n" END("0") TEXT("1", "a") END("1") STOP("END"),
     "{'role':'assistant','content':'a'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'stop'"},
    {"images",
     START BEGIN(
         "0",
         "MEDIA") "{'kind':'TEXT','block':0,'text':'{\\'media_type\\':\\'image/png\\',\\'data\\':"
                  "\\'QUJD\\'}'}\n" END("0")
                      BEGIN("1",
                            "MEDIA") "{'kind':'TEXT','block':1,"
                                     "'text':'{\\'url\\':\\'https://x/i\\'}'}\n" END("1")
                                         BEGIN("2",
                                               "MEDIA") "{'kind':'TEXT','block':2,"
                                                        "'text':'{\\'media_type\\':\\'audio/wav\\',"
                                                        "\\'data\\':\\'QUJD\\'}'}\n" END("2")
                                                            STOP("END"),
     "{'role':'assistant','content':null,'images':[{'type':'image_url','image_url':{'url':"
     "'data:image/png;base64,QUJD'}}]}\n{'images':[{'type':'image_url','image_url':{'url':"
     "'https://x/i'}}]}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':null,'refusal':null,'images':[{'type':'image_url','image_url':"
     "{'url':'data:image/png;base64,QUJD'}},{'type':'image_url','image_url':{'url':"
     "'https://x/i'}}]} 'stop'"},
    {"citations, known ones",
     START TEXT("0",
                "a") "{'kind':'CITATION','block':0,"
                     "'text':'{\\'type\\':\\'url_citation\\',\\'url_citation\\':"
                     "{\\'url\\':\\'u\\'}}'}\n{'kind':'CITATION','block':0,'text':'{\\'type\\':"
                     "\\'char_location\\'}'}\n" END("0") STOP("END"),
     "{'role':'assistant','content':'a'}\n{'annotations':[{'type':'url_citation','url_citation':"
     "{'url':'u'}}]}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null,'annotations':[{'type':'url_citation',"
     "'url_citation':{'url':'u'}}]} 'stop'"},
    {"a refusal that was said",
     START BEGIN("0", "REFUSAL") "{'kind':'TEXT','block':0,'text':'no'}\n" END("0") STOP("REFUSAL"),
     "{'role':'assistant','content':null,'refusal':'no'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':null,'refusal':'no'} 'stop'"},
    {"a refusal without words", START TEXT("0", "a") END("0") STOP("REFUSAL"),
     "{'role':'assistant','content':'a'}\n{} 'content_filter'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'content_filter'"},
    {"a context that is full", START TEXT("0", "a") END("0") STOP("CONTEXT"),
     "{'role':'assistant','content':'a'}\n{} 'length'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'length'"},
    {"a pause", START TEXT("0", "a") END("0") STOP("PAUSE"),
     "{'role':'assistant','content':'a'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'stop'"},
    {"a word of theirs", START TEXT("0", "a") END("0") STOP("OTHER"),
     "{'role':'assistant','content':'a'}\n{} 'stop'\n" DONE,
     "{'role':'assistant','content':'a','refusal':null} 'stop'"},
    {"an error in their words",
     START "{'kind':'ERROR','type':'overloaded_error','message':'Overloaded'}",
     "{'error':{'message':'Overloaded','type':'server_error','param':null,'code':'overloaded'}}\n",
     "{'error':{'message':'Overloaded','type':'server_error','param':null,'code':'overloaded'}}"},
    {"who refuses our key may quote it",
     START "{'kind':'ERROR','status':401,'message':'key sk-1 is wrong'}",
     "{'error':{'message':'The backend refused its key','type':'backend_error','param':null,"
     "'code':'upstream_auth'}}\n",
     "{'error':{'message':'The backend refused its key','type':'backend_error','param':null,"
     "'code':'upstream_auth'}}"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i]);
}

static void test_usage(void **state)
{
    static const char events[] = START TEXT("0", "a") END("0") STOP(
        "END") "\n{'kind':'USAGE','input':9,'output':5,'cached':3,'cache_written':2,'reasoning':1}";
    static const char usage[] =
        "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14,"
        "\"prompt_tokens_details\":{\"cached_tokens\":3,\"cache_write_tokens\":2},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":1}}}";

    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        encode(events, stream == 1, &out);
        assert_true(str_find(buf_str(&out), str_c(usage), 0) != SIZE_MAX);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
