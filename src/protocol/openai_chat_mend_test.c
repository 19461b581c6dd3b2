/* SPDX-License-Identifier: MIT */
/*
 * Mends: each row an answer as some vendor sends it, and what a client in raw mode gets of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_decode_priv.h"
#include "protocol/openai_chat_lint.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_openai_chat;

enum { OUT_MAX = 64 * 1024 * 1024 };

#define HEAD "\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\""
#define CHOICE(delta, finish)                                                                   \
    "data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":" finish \
    "}]}\n\n"
#define ROLE           CHOICE("\"role\":\"assistant\",\"content\":\"\"", "null")
#define DELTA(in)      CHOICE(in, "null")
#define CALLS(in)      CHOICE("\"tool_calls\":[" in "]", "null")
#define FINISH(w)      CHOICE("", w)
#define DONE           "data: [DONE]\n\n"
#define STOPPED        FINISH("\"stop\"") DONE
#define CALLED         FINISH("\"tool_calls\"") DONE
#define FN(name, args) "\"function\":{\"name\":\"" name "\",\"arguments\":\"" args "\"}"
#define BEGIN(i, id, name, args) \
    "{\"index\":" i ",\"id\":\"" id "\",\"type\":\"function\"," FN(name, args) "}"
#define ARGS(i, args) "{\"index\":" i ",\"function\":{\"arguments\":\"" args "\"}}"
#define WHOLE_HEAD    "\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\""
#define WHOLE(message, finish)                                                               \
    "{" WHOLE_HEAD ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message \
    "},\"finish_reason\":" finish "}]}"

static const struct dialect excluded = {.usage_reasoning_excluded = true};
static const struct dialect cached_excluded = {.usage_cached_excluded = true};

static const struct row {
    const char *what;
    const char *in;
    const char *out; /* NULL: as it came */
    bool whole;
    uint32_t excused; /* rules of the checker */
    const struct dialect *dialect;
} rows[] = {
    {"nothing to mend", ROLE DELTA("\"content\":\"a\"") STOPPED, NULL, .whole = false},
    {"what is new since yesterday stays",
     ROLE DELTA("\"content\":\"a\",\"citations\":[1]") FINISH("\"eos\"") DONE,
     ROLE DELTA("\"content\":\"a\",\"citations\":[1]") STOPPED, .whole = false},
    /* 3: numbers of calls */
    {"calls without numbers (Mistral)",
     ROLE CALLS("{\"id\":\"a\",\"type\":\"function\"," FN("f", "{}") "}") CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLED, .whole = false},
    {"numbers are null (Qwen), and calls come one a chunk",
     ROLE CALLS("{\"index\":null,\"id\":\"a\",\"type\":\"function\"," FN("f", "{}") "}")
         CALLS("{\"index\":null,\"id\":\"b\",\"type\":\"function\"," FN("g", "{}") "}") CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLS(BEGIN("1", "b", "g", "{}")) CALLED,
     .whole = false},
    {"all calls have number 0 (Gemini's endpoint)",
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLS(BEGIN("0", "b", "g", "{}")) CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLS(BEGIN("1", "b", "g", "{}")) CALLED,
     .whole = false},
    {"numbers begin at 1, and leave some out (Anthropic's endpoint)",
     ROLE CALLS(BEGIN("1", "a", "f", "")) CALLS(ARGS("1", "{}")) CALLS(BEGIN("3", "b", "g", "{"))
         CALLS(ARGS("3", "}")) CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(ARGS("0", "{}")) CALLS(BEGIN("1", "b", "g", "{"))
         CALLS(ARGS("1", "}")) CALLED,
     .whole = false},
    /* 4: ids */
    {"calls without ids",
     ROLE CALLS("{\"index\":0,\"type\":\"function\"," FN("f", "{}") "}") CALLED,
     ROLE CALLS(BEGIN("0", "call_296231be000000", "f", "{}")) CALLED, .whole = false},
    {"an id that is empty, and said later",
     ROLE CALLS(BEGIN("0", "", "f", ""))
         CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"{}\"}}") CALLED,
     ROLE CALLS(BEGIN("0", "call_296231be000000", "f", "")) CALLS(ARGS("0", "{}")) CALLED,
     .whole = false},
    {"each piece has an id of its own",
     ROLE CALLS(BEGIN("0", "a1", "f", ""))
         CALLS("{\"index\":0,\"id\":\"a2\",\"function\":{\"arguments\":\"{\"}}")
             CALLS("{\"index\":0,\"id\":\"a3\",\"function\":{\"arguments\":\"}\"}}") CALLED,
     ROLE CALLS(BEGIN("0", "a1", "f", "")) CALLS(ARGS("0", "{")) CALLS(ARGS("0", "}")) CALLED,
     .whole = false},
    {"id and name are said with every piece",
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(BEGIN("0", "a", "f", "{}")) CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(ARGS("0", "{}")) CALLED, .whole = false},
    /* 5: names */
    {"a name that comes later",
     ROLE CALLS(
         "{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"arguments\":\"{\"}}")
         CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}") CALLED,
     ROLE DELTA("") CALLS(BEGIN("0", "a", "f", "{}")) CALLED, .whole = false},
    {"empty names later on are fine (Mistral)",
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(
         "{\"type\":\"function\",\"function\":{\"name\":\"\",\"arguments\":\"{}\"},\"index\":0}")
         CALLED,
     NULL, .whole = false},
    /* 6: type */
    {"no type", ROLE CALLS("{\"index\":0,\"id\":\"a\",\"type\":null," FN("f", "{}") "}") CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLED, .whole = false},
    /* 9 */
    {"the call once more in the finish chunk",
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(ARGS("0", "{}"))
         CHOICE("\"tool_calls\":[" BEGIN("0", "a", "f", "{}") "]", "\"tool_calls\"") DONE,
     ROLE CALLS(BEGIN("0", "a", "f", "")) CALLS(ARGS("0", "{}")) CALLED, .whole = false},
    {"arguments are an object",
     ROLE CALLS("{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                "\"arguments\":{\"x\":1}}}") CALLED,
     ROLE CALLS(BEGIN("0", "a", "f", "{\\\"x\\\":1}")) CALLED, .whole = false},
    {"Google's signature of a call goes along",
     ROLE CALLS("{\"index\":0,\"id\":\"\",\"type\":\"function\"," FN(
         "f", "{}") ",\"extra_content\":"
                    "{\"google\":{\"thought_signature\":\"s\"}}}") CALLED,
     ROLE CALLS("{\"index\":0,\"id\":\"call_296231be000000\",\"type\":\"function\"," FN(
         "f", "{}") ",\"extra_content\":{\"google\":{\"thought_signature\":\"s\"}}}") CALLED,
     .whole = false},
    /* 10: roles */
    {"no role at the begin", DELTA("\"content\":\"a\"") STOPPED,
     DELTA("\"role\":\"assistant\",\"content\":\"a\"") STOPPED, .whole = false},
    {"an empty role", ROLE DELTA("\"role\":\"\",\"content\":\"a\"") STOPPED,
     ROLE DELTA("\"role\":\"assistant\",\"content\":\"a\"") STOPPED, .whole = false},
    /* 20, 21: how it finished */
    {"stop, although tools are called", ROLE CALLS(BEGIN("0", "a", "f", "{}")) STOPPED,
     ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLED, .whole = false},
    {"tool_calls, although none is", ROLE DELTA("\"content\":\"a\"") CALLED,
     ROLE DELTA("\"content\":\"a\"") STOPPED, .whole = false},
    {"finish_reason is empty until the end",
     ROLE CHOICE("\"content\":\"a\"", "\"\"") FINISH("\"stop\"") DONE,
     ROLE DELTA("\"content\":\"a\"") STOPPED, .whole = false},
    {"no finish_reason at all (Snowflake)", ROLE CHOICE("\"content\":\"a\"", "\"\"") DONE,
     ROLE DELTA("\"content\":\"a\"") "data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{},"
                                     "\"finish_reason\":\"stop\"}]}\n\n" DONE,
     .whole = false},
    {"the context is full (Mistral)",
     ROLE DELTA("\"content\":\"a\"") FINISH("\"model_length\"") DONE,
     ROLE DELTA("\"content\":\"a\"") FINISH("\"length\"") DONE, .whole = false},
    {"sensitive (Z.ai)", ROLE FINISH("\"sensitive\"") DONE, ROLE FINISH("\"content_filter\"") DONE,
     .whole = false},
    {"a word of the vendor's own, said twice", ROLE FINISH("\"odd\"") FINISH("\"odd\"") DONE,
     ROLE FINISH("\"stop\"") FINISH("\"stop\"") DONE, .excused = 1u << OPENAI_CHAT_LINT_FINISH},
    {"it failed (DeepSeek)",
     ROLE CHOICE("\"content\":\"a\"", "\"insufficient_system_resource\"") DONE,
     ROLE DELTA("\"content\":\"a\"") "data: {\"error\":{\"message\":\"the answer ended with "
                                     "\\\"insufficient_system_resource\\\"\","
                                     "\"type\":\"server_error\",\"param\":null,"
                                     "\"code\":\"insufficient_system_resource\"}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_AFTER_END},
    /* 17, 25: errors */
    {"an error without the member (vLLM)",
     ROLE "data: {\"object\":\"error\",\"message\":\"boom\",\"type\":\"E\",\"code\":400}\n\n",
     ROLE
     "data: {\"error\":{\"message\":\"boom\",\"type\":\"E\",\"param\":null,\"code\":\"400\"}}\n\n",
     .whole = false},
    {"Groq's error",
     ROLE "data: {" HEAD ",\"choices\":[],\"x_groq\":{\"id\":\"r\",\"error\":\"over\"}}\n\n",
     ROLE "data: {\"error\":{\"message\":\"over\",\"type\":\"server_error\",\"param\":null,"
          "\"code\":null}}\n\n",
     .whole = false},
    {"an error that clients know",
     ROLE "data: {\"error\":{\"message\":\"boom\",\"type\":\"E\"}}\n\n", NULL, .whole = false},
    /* 13, 14, 15, 23: usage */
    {"usage without reasoning (xAI)", ROLE STOPPED "", NULL, .whole = false},
    {"reasoning beside the others",
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":2,\"total_tokens\":10,"
                             "\"completion_tokens_details\":{\"reasoning_tokens\":5},"
                             "\"cost\":1.5}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":7,\"total_tokens\":10,"
                             "\"completion_tokens_details\":{\"reasoning_tokens\":5},"
                             "\"cost\":1.5}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE},
    {"reasoning beside the others, by the dialect",
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":9,\"completion_tokens_details\":"
                             "{\"reasoning_tokens\":5}}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":14,\"total_tokens\":17,"
                             "\"completion_tokens_details\":{\"reasoning_tokens\":5}}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE, .dialect = &excluded},
    {"cached tokens beside the prompt's, by the dialect",
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4,\"prompt_tokens_details\":"
                             "{\"cached_tokens\":5}}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":8,"
                             "\"completion_tokens\":1,\"total_tokens\":9,\"prompt_tokens_details\":"
                             "{\"cached_tokens\":5}}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE, .dialect = &cached_excluded},
    {"more cached than there were",
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4,\"prompt_tokens_details\":"
                             "{\"x\":1,\"cached_tokens\":5}}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4,\"prompt_tokens_details\":"
                             "{\"x\":1,\"cached_tokens\":3}}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE},
    {"cached tokens at the top (Moonshot)",
     ROLE FINISH(
         "\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                     "\"completion_tokens\":1,\"total_tokens\":4,\"cached_tokens\":2}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4,\"prompt_tokens_details\":"
                             "{\"cached_tokens\":2},"
                             "\"cached_tokens\":2}}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE},
    {"usage within the choice (older Moonshot)",
     ROLE "data: {" HEAD
          ",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"usage\":"
          "{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}]}\n\n" DONE,
     ROLE "data: {" HEAD
          ",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"usage\":"
          "{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}],\"usage\":"
          "{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}\n\n" DONE,
     .whole = false},
    {"usage that is empty",
     ROLE
     "data: {" HEAD
     ",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{}}\n\n" DONE,
     ROLE "data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
          "\"usage\":null}\n\n" DONE,
     .whole = false},
    /* 22: heads */
    {"created in milliseconds, no id, no object, no model",
     "data: {\"created\":1700000000123,\"choices\":[{\"index\":0,\"delta\":"
     "{\"role\":\"assistant\","
     "\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n" DONE,
     "data: {\"id\":\"chatcmpl-ours\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
     "\"model\":\"our-model\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
     "\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n" DONE,
     .whole = false},
    {"created is a string, another time a fraction",
     "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":\"7\","
     "\"model\":\"m\",\"choices\":"
     "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},"
     "\"finish_reason\":null}]}\n\n"
     "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7.5,"
     "\"model\":\"m\",\"choices\":"
     "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" DONE,
     "data: {\"created\":1700000000,\"id\":\"c\",\"object\":\"chat.completion.chunk\","
     "\"model\":\"m\",\"choices\":"
     "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},"
     "\"finish_reason\":null}]}\n\n"
     "data: {\"created\":1700000000,\"id\":\"c\",\"object\":\"chat.completion.chunk\","
     "\"model\":\"m\",\"choices\":"
     "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" DONE,
     .whole = false},
    {"no choices beside usage",
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4}}\n\n" DONE,
     ROLE FINISH("\"stop\"") "data: {" HEAD ",\"usage\":{\"prompt_tokens\":3,"
                             "\"completion_tokens\":1,\"total_tokens\":4},\"choices\":"
                             "[]}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_USAGE},
    {"no delta, no index",
     ROLE "data: {" HEAD ",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n" DONE, ROLE STOPPED,
     .whole = false},
    {"a message in a stream",
     "data: {" HEAD
     ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\"},"
     "\"finish_reason\":\"stop\"}]}\n\n" DONE,
     CHOICE("\"role\":\"assistant\",\"content\":\"a\"", "\"stop\"") DONE, .whole = false},
    /* 24: parts */
    {"thinking and text in parts (Mistral)",
     ROLE DELTA(
         "\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"t\"}],"
         "\"closed\":true}]")
         DELTA("\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"reference\","
               "\"reference_ids\":[1]},"
               "{\"type\":\"text\",\"text\":\"b\"}]") STOPPED,
     ROLE DELTA("\"content\":\"\",\"reasoning_content\":\"t\"")
         DELTA("\"content\":\"ab\",\"references\":[{\"type\":\"reference\","
               "\"reference_ids\":[1]}]") STOPPED,
     .whole = false},
    /* framing */
    {"comments, other fields and line ends of the frame stay",
     ": hi\r\nevent: message\r\ndata:{" HEAD
     ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},"
     "\"finish_reason\":\"eos\"}]}\r\nid: 1\r\n\r\n" DONE,
     ": hi\r\nevent: message\r\ndata:{" HEAD
     ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},"
     "\"finish_reason\":\"stop\"}]}\r\nid: 1\r\n\r\n" DONE,
     .whole = false},
    {"data in several lines",
     "data: {" HEAD
     ",\ndata: \"choices\":[{\"index\":0,\ndata: \"delta\":{\"role\":\"assistant\",\ndata: "
     "\"x\":[1,\ndata: 2]},\"finish_reason\":\"eos\"}]}\n\n" DONE,
     "data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\", \"x\":[1, 2]},"
     "\"finish_reason\":\"stop\"}]}\n\n" DONE,
     .excused = 1u << OPENAI_CHAT_LINT_COUNTS},
    /* whole bodies */
    {"whole: nothing to mend", WHOLE("\"content\":\"a\"", "\"stop\""), NULL, .whole = true},
    {"whole: eos (Together)", WHOLE("\"content\":\"a\"", "\"eos\""),
     WHOLE("\"content\":\"a\"", "\"stop\""), .whole = true},
    {"whole: parts",
     WHOLE("\"tool_calls\":null,\"content\":[{\"type\":\"thinking\",\"thinking\":"
           "[{\"type\":\"text\",\"text\":\"t\"}]},{\"type\":\"text\",\"text\":\"a\"}]",
           "\"stop\""),
     "{" WHOLE_HEAD
     ",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\",\"reasoning_content\":\"t\","
     "\"role\":\"assistant\",\"tool_calls\":null},\"finish_reason\":\"stop\"}]}",
     .whole = true},
    {"whole: calls",
     WHOLE("\"content\":null,\"tool_calls\":[{\"id\":\"\",\"function\":{\"name\":\"f\","
           "\"arguments\":{\"x\":1}}}]",
           "\"stop\""),
     WHOLE("\"content\":null,\"tool_calls\":[{\"id\":\"call_296231be000000\","
           "\"type\":\"function\","
           "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]",
           "\"tool_calls\""),
     .whole = true},
    {"whole: no calls in a list (vLLM)", WHOLE("\"content\":\"a\",\"tool_calls\":[]", "\"stop\""),
     WHOLE("\"content\":\"a\"", "\"stop\""), .whole = true},
    {"whole: a form that nobody filled (Snowflake)",
     "{\"choices\":[{\"finish_reason\":\"\",\"index\":0,\"message\":{\"content\":\"a\","
     "\"function_call\":"
     "{\"arguments\":\"\",\"name\":\"\"},\"role\":\"assistant\"}}],\"created\":9,"
     "\"id\":\"\",\"model\":\"m\","
     "\"object\":\"chat.completion\"}",
     "{\"id\":\"chatcmpl-ours\",\"created\":9,\"model\":\"m\","
     "\"object\":\"chat.completion\",\"choices\":["
     "{\"index\":0,\"message\":{\"content\":\"a\",\"role\":\"assistant\"},"
     "\"finish_reason\":\"stop\"}]}",
     .whole = true},
    {"whole: usage that says nothing",
     "{" WHOLE_HEAD
     ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\"},"
     "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":null}}",
     "{" WHOLE_HEAD
     ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\"},"
     "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,"
     "\"total_tokens\":0}}",
     .whole = true},
    {"whole: it failed", WHOLE("\"content\":\"a\"", "\"error\""), NULL, .whole = true,
     .excused = ~0u},
    {"whole: an error beside it (MiniMax)",
     "{\"id\":\"\",\"choices\":null,\"base_resp\":{\"status_code\":1008,"
     "\"status_msg\":\"no money\"}}",
     NULL, .whole = true, .excused = ~0u},
};

static void raw_of(struct str bytes, const struct trial_cuts *cuts, struct buf *out)
{
    struct trial trial;

    trial_decode(&trial, &protocol_openai_chat, bytes, cuts);
    assert_int_equal(trial.error.code, OK);
    trial_raw(&trial, out);
    trial_fini(&trial);
}

static void check_lint(const struct row *row, struct str bytes)
{
    struct error e = {.code = OK};
    struct buf names;

    if (row->whole) {
        /* What is an error keeps its bytes. */
        if (row->excused == 0 && trial_lint(&protocol_openai_chat, bytes, false, &e) != OK)
            fail_msg("%s: %s", row->what, e.detail);
        return;
    }
    /* Usage that nobody asked for is the vendor's; rows say what else is. */
    uint32_t broken = openai_chat_lint(bytes, false) & ~row->excused;
    buf_init(&names, OUT_MAX);
    openai_chat_lint_print(broken, &names);
    if (broken != 0)
        fail_msg("%s: %.*s", row->what, STR_ARG(buf_str(&names)));
    buf_fini(&names);
}

/* Catches: a vendor's habit that a client of the protocol alone misreads; a mend that changes what
 * it need not, or what is said; one that depends on where reads were cut. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        const struct trial_cuts cuts = {.stream = !row->whole,
                                        .mend = true,
                                        .dialect = row->dialect};
        struct str in = str_c(row->in);
        struct str out = str_c(row->out == NULL ? row->in : row->out);
        struct error e = {.code = OK};
        struct buf got;
        buf_init(&got, OUT_MAX);
        raw_of(in, &cuts, &got);
        if (!str_eq(buf_str(&got), out))
            fail_msg("%s\n--- got\n%.*s\n--- want\n%.*s", row->what, STR_ARG(buf_str(&got)),
                     STR_ARG(out));
        if (trial_laws(&protocol_openai_chat, in, &cuts, &e) != OK)
            fail_msg("%s: %s", row->what, e.detail);
        check_lint(row, out);
        buf_fini(&got);
    }
}

/* Catches: a mended frame that differs with where the reads were cut. */
static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct trial_cuts cuts = {.stream = true, .mend = true, .dialect = rows[i].dialect};
        struct str in = str_c(rows[i].in);
        struct buf want;
        struct buf got;
        if (rows[i].whole)
            continue;
        buf_init(&want, OUT_MAX);
        buf_init(&got, OUT_MAX);
        raw_of(in, &cuts, &want);
        for (cuts.at = 1; cuts.at < in.n; cuts.at++) {
            buf_reset(&got);
            raw_of(in, &cuts, &got);
            if (!str_eq(buf_str(&got), buf_str(&want)))
                fail_msg("%s, cut at %zu: %.*s", rows[i].what, cuts.at, STR_ARG(buf_str(&got)));
        }
        buf_fini(&want);
        buf_fini(&got);
    }
}

/* Catches: numbers of calls that differ between what was mended and what is taken over later. */
static void test_goes_on_encoded(void **state)
{
    const struct trial_cuts cuts = {.stream = true, .mend = true};
    const struct encoder_options options = {.stream = true, .same_protocol = true};
    struct str in = STR(ROLE CALLS(BEGIN("0", "a", "f", "{}")) CALLS(BEGIN("0", "b", "g", "{"))
                            CALLS(ARGS("0", "}")) CALLED);
    struct trial trial;
    struct error e;
    struct buf out;

    (void)state;
    for (size_t from = 0; from < 6; from++) {
        buf_init(&out, OUT_MAX);
        trial_decode(&trial, &protocol_openai_chat, in, &cuts);
        trial_change_from(&trial, from);
        assert_int_equal(trial_encode(&trial, &protocol_openai_chat, &options, &out, &e), OK);
        assert_int_equal(openai_chat_lint(buf_str(&out), false), 0);
        trial_fini(&trial);
        buf_fini(&out);
    }
}

/* A byte, or a piece, of a row in another's place. */
static struct str mutate(uint64_t *seed, struct str in, struct buf *out)
{
    static const char *const pieces[] = {"null",  "\"\"", "[]", "{}",        "1",
                                         "\"x\"", ",",    "}",  "]",         "[1,{}]",
                                         "true",  ":",    "\n", "\"index\":"};

    buf_reset(out);
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    size_t at = (size_t)(*seed >> 33) % in.n;
    size_t gone = (size_t)(*seed >> 20) % 12;
    buf_add(out, str_head(in, at));
    buf_add(out, str_c(pieces[(*seed >> 40) % COUNT_OF(pieces)]));
    buf_add(out, str_from(in, at + gone > in.n ? in.n : at + gone));
    return buf_str(out);
}

static void check_mutant(const struct row *row, struct str bytes)
{
    struct trial_cuts cuts = {.stream = !row->whole, .mend = true, .dialect = row->dialect};
    struct trial trial;
    struct trial again;
    struct error e;
    struct buf raw;
    struct buf twice;

    buf_init(&raw, OUT_MAX);
    buf_init(&twice, OUT_MAX);
    trial_decode(&trial, &protocol_openai_chat, bytes, &cuts);
    if (!trial_check(&trial, &e))
        fail_msg("%s\n%.*s", e.detail, STR_ARG(bytes));
    trial_raw(&trial, &raw);
    if (trial.error.code == OK && raw.n > 0) {
        trial_decode(&again, &protocol_openai_chat, buf_str(&raw), &cuts);
        trial_raw(&again, &twice);
        if (again.error.code != OK || !str_eq(buf_str(&raw), buf_str(&twice)))
            fail_msg("%s: mended twice (%s)\n%.*s\n%.*s\n%.*s", row->what, again.error.detail,
                     STR_ARG(bytes), STR_ARG(buf_str(&raw)), STR_ARG(buf_str(&twice)));
        trial_fini(&again);
        if (cuts.stream) {
            cuts.step = 5;
            buf_reset(&twice);
            trial_decode(&again, &protocol_openai_chat, bytes, &cuts);
            trial_raw(&again, &twice);
            assert_true(str_eq(buf_str(&raw), buf_str(&twice)));
            trial_fini(&again);
        }
    }
    trial_fini(&trial);
    buf_fini(&raw);
    buf_fini(&twice);
}

/* Catches: an answer whose mending fails, is not complete, is mended anew, or differs by cuts. */
static void test_mutants(void **state)
{
    uint64_t seed = 42;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (int k = 0; k < 150; k++)
            check_mutant(&rows[i], mutate(&seed, str_c(rows[i].in), &out));
    }
    buf_fini(&out);
}

struct counted {
    size_t n;
    size_t changed;
};

static void each_recording(void *ctx, const struct recording *recording)
{
    const struct trial_cuts cuts = {.stream = recording->stream, .mend = true};
    struct counted *counted = ctx;
    struct error e = {.code = OK};
    struct trial trial;

    if (recording->status >= 400)
        return;
    trial_decode(&trial, &protocol_openai_chat, recording->body, &cuts);
    counted->n++;
    counted->changed += !trial_is_raw(&trial, recording->body);
    trial_fini(&trial);
    if (trial_laws(&protocol_openai_chat, recording->body, &cuts, &e) != OK)
        fail_msg("line %zu (%.*s): %s", recording->line, STR_ARG(recording->provider), e.detail);
}

/* Catches: a mend of what vendors really send that says something else. */
static void test_recordings(void **state)
{
    struct counted counted = {0};

    (void)state;
    if (!recordings_each("openai_chat", each_recording, &counted)) {
        skip();
        return;
    }
    print_message("%zu recordings, %zu mended\n", counted.n, counted.changed);
    assert_true(counted.n > 100 && counted.changed > 0 && counted.changed < counted.n / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_goes_on_encoded),
        cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_recordings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
