/* SPDX-License-Identifier: MIT */
/*
 * Requests: the head, edits of the client's bytes, and the round trip. What single members mean
 * stands in tests/golden/openai_chat/request_*.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/openai_chat_priv.h"
#include "protocol/recordings_for_test.h"

enum { OUT_MAX = 64 * 1024 * 1024 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static const struct request_limits limits = {.depth_max = 64};

static struct request decode(struct str body)
{
    struct request request;
    struct error e;

    if (openai_chat_request_decode(body, &limits, &arena, &request, &e) != OK)
        fail_msg("%s: %.*s", e.detail, STR_ARG(body));
    return request;
}

static struct str encode(struct request *request, const struct encode_request *how)
{
    struct wire wire;
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_int_equal(openai_chat_upstream_encode(request, how, &arena, &wire, &e), OK);
    assert_true(str_eq(wire.method, STR("POST")));
    assert_true(str_eq(wire.path, STR("/chat/completions")));
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(&out, wire.body[i]);
    assert_int_equal(out.n, wire.body_bytes);
    struct str body = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return body;
}

static void expect_str(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
}

/* --- the head ----------------------------------------------------------------------------- */

static void test_head(void **state)
{
    struct request request = decode(
        STR("{ \"mod\\u0065l\" : \"a:b\\n\", \"stream\":true,\"stream_options\":{\"x\":1,"
            "\"include_usage\":false},\"session_id\":\"s\",\"messages\":[7] }"));

    (void)state;
    expect_str(request.model, STR("a:b\n"));
    assert_true(request.stream && !request.full);
    assert_int_equal(request.include_usage, 0);
    expect_str(request.session_id, STR("s"));
    assert_non_null(request.model_member);

    request = decode(
        STR("{\"messages\":[],\"model\":null,\"stream\":null,\"stream_options\":null}"));
    assert_true(str_is_null(request.model) && !request.stream);
    assert_int_equal(request.include_usage, -1);
    assert_true(str_is_null(request.session_id));
}

/* --- type errors -------------------------------------------------------------------------- */

#define MESSAGE(message) "{\"messages\":[" message "]}"
#define PART(part)       MESSAGE("{\"role\":\"user\",\"content\":[" part "]}")
#define CALLS(calls)     MESSAGE("{\"role\":\"assistant\",\"tool_calls\":" calls "}")
#define ROOT(members)    "{\"messages\":[]," members "}"

/* Catches: an error that names the wrong place, or none. */
static void test_type_errors(void **state)
{
    static const char *const cases[][2] = {
        {MESSAGE("7"), "\"messages[0]\" must be an object"},
        {MESSAGE("{}"), "\"messages[0].role\" must be a string"},
        {MESSAGE("{\"role\":\"user\",\"name\":7}"), "\"messages[0].name\" must be a string"},
        {PART("7"), "\"messages[0].content[0]\" must be an object"},
        {PART("{}"), "\"messages[0].content[0].type\" must be a string"},
        {PART("{\"type\":\"text\"}"), "\"messages[0].content[0].text\" must be a string"},
        {PART("{\"type\":\"refusal\"}"), "\"messages[0].content[0].refusal\" must be a string"},
        {PART("{\"type\":\"image_url\"}"),
         "\"messages[0].content[0].image_url\" must be an object"},
        {PART("{\"type\":\"image_url\",\"image_url\":7}"),
         "\"messages[0].content[0].image_url\" must be an object"},
        {PART("{\"type\":\"input_audio\"}"),
         "\"messages[0].content[0].input_audio\" must be an object"},
        {PART("{\"type\":\"input_audio\",\"input_audio\":{}}"),
         "\"messages[0].content[0].input_audio.data\" must be a string"},
        {PART("{\"type\":\"file\",\"file\":{}}"),
         "\"messages[0].content[0].file\" must be an object with file_data or file_id"},
        {CALLS("7"), "\"messages[0].tool_calls\" must be an array"},
        {CALLS("[7]"), "\"messages[0].tool_calls[0]\" must be an object"},
        {CALLS("[{\"function\":{\"name\":\"f\"}}]"),
         "\"messages[0].tool_calls[0].id\" must be a string"},
        {CALLS("[{\"id\":\"a\"}]"), "\"messages[0].tool_calls[0].function\" must be an object"},
        {CALLS("[{\"id\":\"a\",\"function\":{}}]"),
         "\"messages[0].tool_calls[0].function.name\" must be a string"},
        {ROOT("\"tools\":7"), "\"tools\" must be an array"},
        {ROOT("\"tools\":[7]"), "\"tools[0]\" must be an object"},
        {ROOT("\"tools\":[{}]"), "\"tools[0].type\" must be a string"},
        {ROOT("\"tools\":[{\"type\":\"function\"}]"), "\"tools[0].function\" must be an object"},
        {ROOT("\"tools\":[{\"function\":{}}]"), "\"tools[0].function.name\" must be a string"},
        {ROOT("\"functions\":[{}]"), "\"functions[0].name\" must be a string"},
        {ROOT("\"tool_choice\":7"), "\"tool_choice\" must be a string or an object"},
        {ROOT("\"tool_choice\":{\"function\":{}}"),
         "\"tool_choice\" must be an object that names a tool"},
        {ROOT("\"stop\":7"), "\"stop\" must be a string or an array of strings"},
        {ROOT("\"stop\":[7]"), "\"stop\" must be a string or an array of strings"},
        {ROOT("\"logprobs\":1"), "\"logprobs\" must be true or false"},
        {ROOT("\"user\":1"), "\"user\" must be a string"},
        {ROOT("\"response_format\":1"), "\"response_format\" must be an object"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request = decode(str_c(cases[i][0]));
        struct error e = {.code = OK};
        assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e),
                         ERR_BAD_REQUEST);
        expect_str(str_c(e.detail), str_c(cases[i][1]));
    }
}

/* --- members that bear on each other ------------------------------------------------------ */

/* Catches: the older member counting where the newer one stands too, whichever comes first. */
static void test_max_tokens(void **state)
{
    static const struct {
        const char *body;
        const char *tokens;
        bool legacy;
    } cases[] = {
        {ROOT("\"max_tokens\":7"), "7", true},
        {ROOT("\"max_completion_tokens\":5"), "5", false},
        {ROOT("\"max_tokens\":7,\"max_completion_tokens\":5"), "5", false},
        {ROOT("\"max_completion_tokens\":5,\"max_tokens\":7"), "5", false},
        {ROOT("\"max_completion_tokens\":null,\"max_tokens\":7"), "7", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request = decode(str_c(cases[i].body));
        struct error e;
        assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
        expect_str(request.params.max_tokens, str_c(cases[i].tokens));
        assert_int_equal(request.params.max_tokens_was_legacy, cases[i].legacy);
    }
}

#define TOOLS_F_G                                                       \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}," \
    "{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}]"

/* Catches: a tool that is named, said to be of a kind that it is not. */
static void test_named_tool(void **state)
{
    static const struct {
        const char *body;
        const char *choice;
    } cases[] = {
        {ROOT(TOOLS_F_G ",\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}"),
         "\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}"},
        {ROOT(TOOLS_F_G ",\"tool_choice\":{\"function\":{\"name\":\"f\"}}"),
         "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"},
    };
    const struct encode_request how = {.same_protocol = false};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request = decode(str_c(cases[i].body));
        struct error e;
        assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
        struct str body = encode(&request, &how);
        if (str_find(body, str_c(cases[i].choice), 0) == SIZE_MAX)
            fail_msg("%.*s", STR_ARG(body));
    }
}

/* Catches: a vendor's word about reasoning that is not understood, or one that counts before the
 * protocol's own. */
static void test_reasoning(void **state)
{
    static const char *const cases[][2] = {
        {"\"k\":1", ""},
        {"\"reasoning_effort\":\"low\"", "\"reasoning\":\"effort\",\"reasoning_effort\":\"low\""},
        {"\"reasoning_effort\":\"none\"", "\"reasoning\":\"off\",\"reasoning_effort\":\"none\""},
        {"\"reasoning_effort\":\"low\",\"reasoning\":{\"effort\":\"high\",\"exclude\":true}",
         "\"reasoning\":\"effort\",\"reasoning_effort\":\"low\",\"reasoning_visible\":0"},
        {"\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\"}",
         "\"reasoning\":\"effort\",\"reasoning_effort\":\"high\",\"reasoning_summary\":\"auto\""},
        {"\"reasoning\":{\"max_tokens\":2000,\"exclude\":false}",
         "\"reasoning\":\"budget\",\"reasoning_budget\":2000,\"reasoning_visible\":1"},
        {"\"reasoning\":{\"enabled\":true}", "\"reasoning\":\"dynamic\""},
        {"\"reasoning\":{\"enabled\":false,\"effort\":\"high\"}", "\"reasoning\":\"off\""},
        {"\"reasoning\":true,\"include_reasoning\":false", "\"reasoning_visible\":0"},
        {"\"thinking\":{\"type\":\"enabled\"}", "\"reasoning\":\"dynamic\""},
        {"\"thinking\":{\"type\":\"disabled\"}", "\"reasoning\":\"off\""},
        {"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}",
         "\"reasoning\":\"budget\",\"reasoning_budget\":1024"},
        {"\"thinking\":{\"type\":7}", ""},
        {"\"enable_thinking\":true", "\"reasoning\":\"dynamic\""},
        {"\"enable_thinking\":true,\"thinking_budget\":99",
         "\"reasoning\":\"budget\",\"reasoning_budget\":99"},
        {"\"enable_thinking\":false,\"thinking_budget\":99", "\"reasoning\":\"off\""},
        {"\"chat_template_kwargs\":{\"enable_thinking\":false}", "\"reasoning\":\"off\""},
        {"\"chat_template_kwargs\":{\"thinking\":true}", "\"reasoning\":\"dynamic\""},
        {"\"chat_template_kwargs\":7,\"enable_thinking\":7", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request = decode(str_print(&arena, "{\"messages\":[],%s}", cases[i][0]));
        struct error e;
        struct buf got;
        buf_init(&got, OUT_MAX);
        assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
        dump_request(&got, &request);
        struct str params = str_print(&arena, "\"params\":{%s}", cases[i][1]);
        if (str_find(buf_str(&got), params, 0) == SIZE_MAX)
            fail_msg("%s: %.*s", cases[i][0], STR_ARG(buf_str(&got)));
        buf_fini(&got);
    }
}

/* Catches: members lost or out of order where they stand before and behind a nested object's. */
static void test_extra_order(void **state)
{
    struct request request = decode(STR(
        "{\"k1\":1,\"messages\":[{\"a\":1,\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"i\","
        "\"p\":1,\"function\":{\"q\":1,\"name\":\"f\",\"r\":2},\"s\":3}],\"b\":2}],\"tools\":[{"
        "\"x\":1,\"type\":\"function\",\"function\":{\"name\":\"f\",\"y\":2},\"z\":3}],\"k2\":2}"));
    static const char want[] = "k1 k2 | a b | p q r s | x z y | ";
    const struct extra *lists[4];
    struct error e;
    struct buf got;

    (void)state;
    assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
    lists[0] = request.extra;
    lists[1] = request.turns->extra;
    lists[2] = request.turns->parts->extra;
    lists[3] = request.tools->extra;
    buf_init(&got, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        for (const struct extra *extra = lists[i]; extra != NULL; extra = extra->next)
            buf_print(&got, "%.*s ", STR_ARG(extra->key));
        buf_add(&got, STR("| "));
    }
    expect_str(buf_str(&got), str_c(want));
    buf_fini(&got);
}

/* Catches: a conversation read a second time, and what a stage changed in it lost. */
static void test_full_once(void **state)
{
    struct request request = decode(STR(MESSAGE("{\"role\":\"user\",\"content\":\"a\"}")));
    struct error e;

    (void)state;
    assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
    struct turn *turn = request.turns;
    turn->parts->text = STR("b");
    assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
    assert_ptr_equal(request.turns, turn);
    expect_str(request.turns->parts->text, STR("b"));
}

/* --- memory ------------------------------------------------------------------------------- */

#define LONG_TEXT                                                                          \
    "text with \\u00e4n escape, so that it is copied; text with \\u00e4n escape, so that " \
    "it is copied; text with \\u00e4n escape, so that it is copied; "

static const char talk[] =
    "{\"model\":\"b:m\",\"session_id\":\"s\",\"stream\":true,\"k\":1,\"messages\":[{\"role\":"
    "\"system\",\"content\":\"" LONG_TEXT LONG_TEXT "\"},{\"role\":\"user\",\"content\":[{\"type\":"
    "\"text\",\"text\":\"" LONG_TEXT
    "\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\",\"z\":"
    "1}}]},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"i\",\"function\":{\"name\":\"f\","
    "\"arguments\":\"{}\"}}]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"description\":\"" LONG_TEXT "\",\"parameters\":{}}}],\"stop\":[\"" LONG_TEXT "\",\"b\"]}";

/* The upstream's body with that much memory; what failed otherwise. */
static enum error_code forward_within(size_t bytes_max, bool same_protocol, struct buf *out)
{
    const struct encode_request how = {.same_protocol = same_protocol,
                                       .model = STR("another-model"),
                                       .add_usage = true};
    struct arena small;
    struct request request;
    struct wire wire = {.body_n = 0};
    struct error e;
    enum error_code code;

    arena_init(&small, bytes_max, 512, NULL);
    code = openai_chat_request_decode(str_c(talk), &limits, &small, &request, &e);
    if (code == OK && !same_protocol)
        code = openai_chat_request_decode_full(&request, &limits, &small, &e);
    if (code == OK)
        code = openai_chat_upstream_encode(&request, &how, &small, &wire, &e);
    for (size_t i = 0; code == OK && i < wire.body_n; i++)
        buf_add(out, wire.body[i]);
    arena_fini(&small);
    return code;
}

/* Catches: a request sent up that lacks what there was no memory for. */
static void test_memory(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        struct buf whole;
        size_t refused = 0;
        buf_init(&whole, OUT_MAX);
        assert_int_equal(forward_within(1 << 20, same == 1, &whole), OK);
        for (size_t most = 64; most <= 32768; most += 64) {
            struct buf out;
            buf_init(&out, OUT_MAX);
            enum error_code code = forward_within(most, same == 1, &out);
            if (code == OK)
                expect_str(buf_str(&out), buf_str(&whole));
            else
                assert_int_equal(code, ERR_TOO_LARGE);
            refused += code != OK;
            buf_fini(&out);
        }
        assert_true(refused > 4 && refused < 400);
        buf_fini(&whole);
    }
}

/* --- the client's bytes, edited ----------------------------------------------------------- */

/* Catches: a byte changed that nobody asked to change, and invalid JSON after an edit. */
static void test_edits(void **state)
{
    static const struct {
        const char *in;
        const char *model; /* NULL: leave it */
        bool add_usage;
        const char *out;
    } cases[] = {
        {"{\"model\": \"m\" ,\"messages\":[ ]}", NULL, false, NULL},
        {"{\"model\": \"m\" ,\"messages\":[ ]}", "m", false, NULL},
        /* "m" written otherwise is "m" still. */
        {"{\"model\":\"\\u006d\",\"messages\":[]}", "m", false, NULL},
        {"{\"model\": \"b:m\" ,\"messages\":[ ]}", "m\"", false,
         "{\"model\": \"m\\\"\" ,\"messages\":[ ]}"},
        {"{\"model\":null,\"messages\":[]}", "m", false, "{\"model\":\"m\",\"messages\":[]}"},
        {"{\"messages\":[]}", "m", false, "{\"messages\":[],\"model\":\"m\"}"},
        {"{\"session_id\":\"s\",\"messages\":[]}", NULL, false, "{\"messages\":[]}"},
        {"{\"messages\":[],\"session_id\":\"s\"}", "m", false, "{\"messages\":[],\"model\":\"m\"}"},
        {"{\"messages\":[{\"session_id\":\"s\",\"model\":\"x\"}]}", NULL, false, NULL},
        /* Usage is asked for in streams only, and not where the client mentioned it. */
        {"{\"messages\":[]}", NULL, true, NULL},
        {"{\"messages\":[],\"stream\":true}", NULL, true,
         "{\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"messages\":[],\"stream\":true,\"stream_options\":null}", NULL, true,
         "{\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"stream_options\":{ },\"messages\":[],\"stream\":true}", NULL, true,
         "{\"stream_options\":{\"include_usage\":true },\"messages\":[],\"stream\":true}"},
        {"{\"stream_options\":{\"include_obfuscation\":false},\"messages\":[],\"stream\":true}",
         NULL, true,
         "{\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false},"
         "\"messages\":[],\"stream\":true}"},
        {"{\"stream_options\":{\"a\":1,\"include_usage\":null},\"messages\":[],\"stream\":true}",
         NULL, true,
         "{\"stream_options\":{\"a\":1,\"include_usage\":true},\"messages\":[],\"stream\":true}"},
        {"{\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":false}}", NULL,
         true, NULL},
        {"{\"messages\":[],\"stream\":true,\"session_id\":\"s\"}", "m", true,
         "{\"messages\":[],\"stream\":true,\"model\":\"m\","
         "\"stream_options\":{\"include_usage\":true}}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request = decode(str_c(cases[i].in));
        const struct encode_request how = {
            .same_protocol = true,
            .model = str_c(cases[i].model),
            .add_usage = cases[i].add_usage,
        };
        struct str want = str_c(cases[i].out != NULL ? cases[i].out : cases[i].in);
        expect_str(encode(&request, &how), want);
        /* The next attempt encodes the same request again. */
        expect_str(encode(&request, &how), want);
    }
}

/* Catches: edits of stages that are lost, or changed for the next attempt. */
static void test_edits_of_stages(void **state)
{
    struct request request = decode(
        STR("{\"messages\":[],\"model\":\"b:m\",\"temperature\":1,\"session_id\":\"s\"}"));
    struct encode_request how = {.same_protocol = true, .model = STR("m")};
    const struct json_member *temperature = json_index_find(&request.index, STR("temperature"));

    (void)state;
    json_edit_value(&request.edits, &arena, &request.index, temperature, STR("0.5"));
    expect_str(encode(&request, &how),
               STR("{\"messages\":[],\"model\":\"m\",\"temperature\":0.5}"));
    how.model = STR("other");
    expect_str(encode(&request, &how),
               STR("{\"messages\":[],\"model\":\"other\",\"temperature\":0.5}"));
    assert_int_equal(request.edits.n, 1);
}

/* --- round trip --------------------------------------------------------------------------- */

static void dump(struct request *request, struct buf *out)
{
    struct error e;

    if (openai_chat_request_decode_full(request, &limits, &arena, &e) != OK)
        fail_msg("%s", e.detail);
    request->session_id = STR_NULL; /* ours: the upstream never gets it */
    dump_request(out, request);
}

static void round_trip(struct str body)
{
    const struct encode_request how = {.same_protocol = false};
    struct request request = decode(body);
    struct request again;
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    dump(&request, &want);
    again = decode(encode(&request, &how));
    dump(&again, &got);
    expect_str(buf_str(&got), buf_str(&want));
    buf_fini(&want);
    buf_fini(&got);
}

static void test_round_trip(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000\\ud800\\\"b\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"\","
        "\"x\":{\"y\":[1,2.50]}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:a;base64,\","
        "\"z\":null}},{\"type\":\"image_url\",\"image_url\":\"https://h/\"},{\"type\":\"odd\"}]}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":null,\"k\":1},\"q\":2}],\"reasoning\":\"r\","
        "\"refusal\":\"n\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"p\"}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"\",\"content\":[]}]}",
        "{\"messages\":[{\"role\":\"function\",\"name\":\"f\",\"content\":null}],\"functions\":"
        "[{\"name\":\"f\",\"odd\":1}],\"function_call\":\"auto\",\"stop\":[\"\"],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":false}}",
        ("{\"messages\":[],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"},"
         "\"x\":1},{\"type\":\"web\"}],\"tool_choice\":{\"type\":\"allowed_tools\"}}"),
        /* Results and their parts; cache marks. */
        "{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"\"},{\"role\":"
        "\"tool\",\"tool_call_id\":\"b\",\"name\":\"f\",\"cache_control\":{\"type\":\"x\"},"
        "\"k\":1,\"content\":[{\"type\":\"text\",\"text\":\"t\",\"cache_control\":{\"ttl\":1}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}],\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\"},\"cache_control\":{}}]}",
        /* Reasoning that vendors sign. */
        "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":\"r\","
        "\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"r\",\"signature\":\"s\","
        "\"index\":0},{\"type\":\"reasoning.encrypted\",\"data\":\"d\",\"id\":\"i\"},{\"type\":"
        "\"reasoning.summary\",\"summary\":\"u\"}],\"tool_calls\":[{\"id\":\"c\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":{\"google\":{"
        "\"thought_signature\":\"s\"}}}]},{\"role\":\"assistant\",\"content\":\"b\","
        "\"reasoning_details\":[7]}]}",
        /* Parameters. */
        ROOT("\"reasoning\":{\"effort\":\"high\",\"exclude\":true},\"safety_identifier\":\"u\","
             "\"metadata\":{\"a\":\"b\"},\"store\":false,\"prompt_cache_key\":\"k\""),
        ROOT("\"reasoning_effort\":\"none\",\"thinking\":{\"type\":\"enabled\"},\"user\":\"u\","
             "\"safety_identifier\":\"v\""),
        ROOT("\"thinking\":{\"type\":\"disabled\"},\"response_format\":{\"type\":\"text\"}"),
        ROOT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
             "\"description\":\"d\",\"schema\":{\"type\":\"object\"},\"strict\":true}}"),
        ROOT("\"response_format\":{\"type\":\"json_object\",\"schema\":{}}"),
        ROOT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"x\":1}}"),
        ROOT(TOOLS_F_G ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":"
                       "\"required\",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}},"
                       "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        round_trip(str_c(bodies[i]));
}

static void recorded_request(void *ctx, const struct recording *recording)
{
    const struct encode_request how = {.same_protocol = true};
    size_t *count = ctx;

    if (str_is_null(recording->request) || recording->status != 200)
        return;
    struct request request = decode(recording->request);
    expect_str(encode(&request, &how), recording->request);
    round_trip(recording->request);
    *count += 1;
    arena_reset(&arena);
}

/* Catches: real requests that we refuse, change, or do not understand in full. */
static void test_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("openai_chat", recorded_request, &count))
        skip();
    assert_true(count > 50);
}

/* Catches: work that grows with the square of what a client sends. */
static void test_many_nodes(void **state)
{
    struct buf body;
    struct request request;
    struct error e;

    (void)state;
    buf_init(&body, OUT_MAX);
    buf_add(&body, STR("{\"messages\":[{\"role\":\"user\",\"content\":["));
    for (int i = 0; i < 100000; i++)
        buf_add(&body, i == 0 ? STR("{\"type\":\"text\",\"text\":\"\"}")
                              : STR(",{\"type\":\"text\",\"text\":\"\"}"));
    buf_add(&body, STR("]}]"));
    for (int i = 0; i < 100000; i++)
        buf_print(&body, ",\"k%d\":0", i);
    buf_add_char(&body, '}');
    request = decode(buf_str(&body));
    assert_int_equal(openai_chat_request_decode_full(&request, &limits, &arena, &e), OK);
    size_t parts = 0;
    for (const struct part *part = request.turns->parts; part != NULL; part = part->next)
        parts++;
    assert_int_equal(parts, 100000);
    buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_type_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_named_tool, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasoning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extra_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edits_of_stages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recordings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_nodes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
