/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"

enum { OUT_MAX = 1024 * 1024 };

#define ECHO                                                                                 \
    "'object':'response','created_at':1,'model':'m','error':null,'incomplete_details':null," \
    "'instructions':null,'tool_choice':'auto','tools':[],'parallel_tool_calls':true,"        \
    "'temperature':1,'top_p':1,'metadata':{}"
#define USAGE                                                                                 \
    "'usage':{'input_tokens':1,'input_tokens_details':{'cached_tokens':0},'output_tokens':1," \
    "'output_tokens_details':{'reasoning_tokens':0},'total_tokens':2}"
#define EVENT(type, rest) "event: " type "\ndata: {'type':'" type "'," rest "}\n\n"
#define CREATED               \
    EVENT("response.created", \
          "'sequence_number':0,'response':{'id':'r','status':'in_progress','output':[]," ECHO "}")
#define RUNNING                   \
    EVENT("response.in_progress", \
          "'sequence_number':1,'response':{'id':'r','status':'in_progress','output':[]," ECHO "}")
#define MESSAGE(status, content) \
    "{'id':'m','type':'message','status':'" status "','role':'assistant','content':[" content "]}"
#define PART(text) "{'type':'output_text','text':'" text "','annotations':[]}"
#define ADDED                           \
    EVENT("response.output_item.added", \
          "'sequence_number':2,'output_index':0,'item':" MESSAGE("in_progress", ""))
#define PLACE "'item_id':'m','output_index':0,'content_index':0"
#define PART_ADDED \
    EVENT("response.content_part.added", "'sequence_number':3," PLACE ",'part':" PART(""))
#define DELTA \
    EVENT("response.output_text.delta", "'sequence_number':4," PLACE ",'delta':'a','logprobs':[]")
#define TEXT_DONE EVENT("response.output_text.done", "'sequence_number':5," PLACE ",'text':'a'")
#define PART_DONE \
    EVENT("response.content_part.done", "'sequence_number':6," PLACE ",'part':" PART("a"))
#define ITEM_DONE                      \
    EVENT("response.output_item.done", \
          "'sequence_number':7,'output_index':0,'item':" MESSAGE("completed", PART("a")))
#define COMPLETED(n, output)                                                                    \
    EVENT("response.completed",                                                                 \
          "'sequence_number':" n ",'response':{'id':'r','status':'completed','output':[" output \
          "]," USAGE "," ECHO "}")
#define TAIL COMPLETED("8", MESSAGE("completed", PART("a")))

static struct str quoted(const char *text, struct buf *out)
{
    buf_reset(out);
    for (; *text != '\0'; text++)
        buf_add_char(out, *text == '\'' ? '"' : *text);
    return buf_str(out);
}

static const struct {
    const char *stream;
    const char *broken; /* null: nothing is */
} streams[] = {
    {CREATED RUNNING ADDED PART_ADDED DELTA TEXT_DONE PART_DONE ITEM_DONE TAIL, NULL},
    {CREATED RUNNING COMPLETED("2", ""), NULL},
    {": hello\n\n" CREATED RUNNING ": keep-alive\n\n" COMPLETED("2", ""), NULL},
    {CREATED RUNNING EVENT("response.odd", "'sequence_number':2") COMPLETED("3", ""), NULL},
    {EVENT("error", "'sequence_number':0,'message':'m'"), "line 4: the stream ends"},
    {"", "line 1: the stream ends"},
    {CREATED RUNNING, "line 7: the stream ends"},
    {RUNNING COMPLETED("2", ""), "line 1: sequence_number"},
    {CREATED COMPLETED("1", ""), "line 4: response.created and response.in_progress"},
    {CREATED CREATED, "line 4: sequence_number"},
    {CREATED RUNNING COMPLETED("3", ""), "line 7: sequence_number"},
    {CREATED RUNNING COMPLETED("2", "") COMPLETED("3", ""), "line 10: nothing comes"},
    {CREATED RUNNING "data: {'type':'response.odd'}\n\n", "line 7: the event field"},
    {CREATED RUNNING "event: x\ndata: [DONE]\n\n", "line 7: each frame is"},
    {CREATED RUNNING ADDED COMPLETED("3", ""), "line 10: the output has all"},
    {CREATED RUNNING ADDED COMPLETED("3", MESSAGE("completed", "")), "line 10: all items are done"},
    {CREATED RUNNING ADDED DELTA, "line 10: sequence_number"},
    {CREATED RUNNING ADDED PART_ADDED TEXT_DONE, "line 13: sequence_number"},
    {CREATED RUNNING ADDED PART_ADDED DELTA EVENT("response.output_text.done",
                                                  "'sequence_number':5," PLACE ",'text':'b'"),
     "line 16: text that is done"},
    {CREATED RUNNING ADDED PART_ADDED DELTA
         EVENT("response.content_part.done", "'sequence_number':5," PLACE ",'part':" PART("a")),
     "line 16: a part is done after"},
    {CREATED RUNNING ADDED PART_ADDED DELTA
         EVENT("response.output_item.done",
               "'sequence_number':5,'output_index':0,'item':" MESSAGE("completed", PART("a"))),
     "line 16: an item is done when"},
    {CREATED RUNNING ADDED EVENT("response.output_text.delta",
                                 "'sequence_number':3," PLACE ",'delta':'a','logprobs':[]"),
     "line 10: text is said of a part"},
    {CREATED RUNNING EVENT("response.output_text.delta",
                           "'sequence_number':2," PLACE ",'delta':'a','logprobs':[]"),
     "line 7: output_index names"},
    {CREATED RUNNING ADDED
         EVENT("response.output_item.added",
               "'sequence_number':3,'output_index':2,'item':" MESSAGE("in_progress", "")),
     "line 10: the output_index of items"},
    {CREATED RUNNING ADDED
         EVENT("response.output_item.added",
               "'sequence_number':3,'output_index':1,'item':" MESSAGE("in_progress", "")),
     "line 10: ids of items"},
    {CREATED RUNNING ADDED PART_ADDED DELTA TEXT_DONE PART_DONE ITEM_DONE
         COMPLETED("8", MESSAGE("completed", PART("b"))),
     "line 25: the output has the items as"},
    {CREATED RUNNING EVENT("response.output_item.added",
                           "'sequence_number':2,'output_index':0,'item':{'id':'f','type':"
                           "'function_call','call_id':'c','arguments':''}"),
     "line 7: a call has"},
    {CREATED RUNNING EVENT("response.incomplete",
                           "'sequence_number':2,'response':{'id':'r','status':'incomplete',"
                           "'output':[]," USAGE "," ECHO "}"),
     "line 7: an incomplete response has a reason"},
    {CREATED RUNNING EVENT("response.failed",
                           "'sequence_number':2,'response':{'id':'r','status':'failed',"
                           "'output':[]," USAGE "," ECHO "}"),
     "line 7: a failed response has an error"},
    {CREATED RUNNING EVENT("response.completed",
                           "'sequence_number':2,'response':{'id':'s','status':'completed',"
                           "'output':[]," USAGE "," ECHO "}"),
     "line 7: the response's id"},
};

static void test_streams(void **state)
{
    struct buf bytes;

    (void)state;
    buf_init(&bytes, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct error e = {.code = OK};
        struct str stream = quoted(streams[i].stream, &bytes);
        enum error_code code = trial_lint(responses(), stream, true, &e);
        if ((code == OK) != (streams[i].broken == NULL) ||
            (code != OK && !str_starts(str_c(e.detail), str_c(streams[i].broken))))
            fail_msg("case %zu: %s", i, code == OK ? "nothing is broken" : e.detail);
    }
    buf_fini(&bytes);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *body;
        const char *broken;
    } cases[] = {
        {"{'id':'r','status':'completed','output':[" MESSAGE("completed", PART("a")) "]," USAGE
                                                                                     "," ECHO "}",
         NULL},
        {"{'error':{'message':'m','type':'t'}}", NULL},
        {"{'error':{}}", "an error has"},
        {"[]", "the body is"},
        {"{'id':'r','status':'completed','output':[]," ECHO "}", "a response has the member usage"},
        {"{'id':'r','status':'completed','output':[{'id':'x'}]," USAGE "," ECHO "}",
         "an item has an id"},
        {"{'status':'completed','output':[]," USAGE "," ECHO "}", "a response has an id"},
    };
    struct buf bytes;

    (void)state;
    buf_init(&bytes, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e = {.code = OK};
        enum error_code code = trial_lint(responses(), quoted(cases[i].body, &bytes), false, &e);
        if ((code == OK) != (cases[i].broken == NULL) ||
            (code != OK && !str_starts(str_from(str_c(e.detail), sizeof("line 1: ") - 1),
                                       str_c(cases[i].broken))))
            fail_msg("case %zu: %s", i, code == OK ? "nothing is broken" : e.detail);
    }
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
