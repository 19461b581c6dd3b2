/* SPDX-License-Identifier: MIT */
/* Kept responses in the life of an exchange, and what is asked of them; without a network. */
#include "gateway/exchange_probe_priv.h"
#include "gateway/stored.h"
#include "gateway/stored_ask.h"
#include "gateway/stored_priv.h"
#include "text/json.h"

enum { MEMORY = 64 * 1024 * 1024 };

static struct fixture fixture;

/* Only these are looked at. */
static struct protocol responses = {.name = "openai-responses",
                                    .stream_content_type = "text/event-stream"};

static struct client_key anna = {.name = STR_INIT("anna")};
static struct client_key bob = {.name = STR_INIT("bob")};

struct asked {
    struct exchange x;
    struct arena arena;
    struct plan_element element;
    struct error e;
};

static void decode(struct asked *asked)
{
    struct request *request = &asked->x.call.request;
    struct arena *arena = &asked->arena;

    *request = (struct request){.source = body_text(&asked->x)};
    assert_int_equal(json_index_read(&request->index, request->source, 64, NULL, arena, &asked->e),
                     OK);
    const struct json_member *model = json_index_find(&request->index, STR("model"));
    const struct json_member *stream = json_index_find(&request->index, STR("stream"));
    const struct json_member *previous = json_index_find(&request->index,
                                                         STR("previous_response_id"));
    request->model = model == NULL ? STR_NULL : json_string_value(model->value, arena);
    request->stream = stream != NULL && str_eq(stream->value, STR("true"));
    request->previous = previous == NULL ? STR_NULL : json_string_value(previous->value, arena);
}

static struct asked *begin(struct fixture *f, const struct client_key *client, const char *body)
{
    struct asked *asked = mem_new(sizeof(*asked));
    struct exchange *x = &asked->x;
    struct str text = str_c(body);

    arena_init(&asked->arena, MEMORY, 4096, NULL);
    arena_init(&x->answer, MEMORY, 4096, NULL);
    x->magic = EXCHANGE_MAGIC;
    x->state = EXCHANGE_OVER; /* a job that wakes it moves nothing */
    x->station = &f->station;
    x->branch = f->station.branch;
    x->call.config = f->gateway->site->config;
    x->call.backends = f->gateway->site->backends;
    x->call.arena = &asked->arena;
    x->call.intake.client = client;
    x->call.intake.protocol = &responses;
    x->call.intake.operation = OP_GENERATE;
    x->body_n = text.n;
    x->body = str_z(&asked->arena, text);
    x->attempt.backend = f->gateway->site->backends->preferred;
    x->attempt.protocol = x->attempt.backend->protocol;
    asked->element.backend = x->attempt.backend;
    x->call.element = &asked->element;
    decode(asked);
    return asked;
}

static void end(struct asked **asked_ptr)
{
    struct asked *asked = *asked_ptr;

    stored_free(&asked->x.stored);
    stored_ask_free(&asked->x.ask);
    large_free(&asked->x.large);
    large_free(&asked->x.large_answer);
    arena_fini(&asked->x.answer);
    arena_fini(&asked->arena);
    mem_free(asked);
    *asked_ptr = NULL;
}

/* As the exchange does, until nothing more is to be waited for. */
static enum stored_step run_expand(struct asked *asked)
{
    struct exchange *x = &asked->x;

    if (x->large == NULL && x->body_n > LARGE_BYTES) {
        x->large = large_new(x->branch, exchange_wake, x);
        memcpy(large_room(x->large, 0, x->body_n, x->body_n), x->body, x->body_n);
        large_body_end(x->large, x->body_n);
    }
    enum stored_step step = stored_expand(x, &asked->e);
    if (step != STORED_WAIT)
        return step;
    assert_int_equal(stored_expanded(x, &asked->e), STORED_WAIT);
    loop_test_run(fixture.loop);
    return stored_expanded(x, &asked->e);
}

/* Returns the body that goes on. */
static struct str expand(struct asked *asked)
{
    enum stored_step step = run_expand(asked);

    if (step == STORED_FAILED)
        fail_msg("%s", asked->e.detail);
    if (step == STORED_AGAIN) {
        decode(asked);
        assert_int_equal(stored_expand(&asked->x, &asked->e), STORED_DONE);
    }
    return body_text(&asked->x);
}

static void expect_body(struct asked *asked, const char *want)
{
    struct str got = expand(asked);

    if (!str_eq(got, str_c(want)))
        fail_msg("\n--- got\n%.*s\n--- want\n%s", STR_ARG(got), want);
}

static void expect_refused(struct asked *asked, enum error_code code, const char *said)
{
    enum stored_step step = run_expand(asked);
    struct error got = asked->e;

    end(&asked);
    assert_int_equal(step, STORED_FAILED);
    assert_int_equal(got.code, code);
    if (strstr(got.detail, said) == NULL)
        fail_msg("%s", got.detail);
}

/* Their keys are what tells them apart. */
static int begin_test(void **state)
{
    (void)state;
    anna.key = secret_new(STR("the key of anna"));
    bob.key = secret_new(STR("the key of bob"));
    responses.replay = protocol_find(STR("openai-responses"))->replay;
    setup(&fixture);
    connect_client(&fixture);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    teardown(&fixture);
    secret_free(&anna.key);
    secret_free(&bob.key);
    return 0;
}

static struct backend *the_backend(void)
{
    return fixture.gateway->site->backends->preferred;
}

static void speak_responses(void)
{
    the_backend()->protocol = &responses;
    the_backend()->also = NULL;
}

#define ITEM(id, text) "{\"id\":\"" id "\",\"type\":\"message\",\"text\":\"" text "\"}"
#define USER(text)                                                    \
    "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":" \
    "\"input_text\",\"text\":\"" text "\"}]}"
#define RESPONSE(id, status, output)                                                           \
    "{\"id\":\"" id "\",\"object\":\"response\",\"status\":\"" status "\",\"output\":[" output \
    "],\"usage\":null}"

/* An answer that was translated, as a stream or whole. */
static void answer(struct asked *asked, const char *event, const char *response)
{
    static char text[4096];

    if (!asked->x.call.request.stream) {
        stored_bytes(&asked->x, str_c(response));
        stored_end(&asked->x);
        return;
    }
    stored_bytes(&asked->x, STR("event: response.created\ndata: {\"response\":{\"id\":\"no\"}}\n\n"
                                "event: response.output_text.delta\ndata: {\"delta\":\"event: "
                                "response.completed\\ndata: {}\"}\n\n"));
    int n = snprintf(text, sizeof(text),
                     "event: x\ndata: {}\n\nevent: response.%s\ndata: {\"type\":\"response.%s\","
                     "\"sequence_number\":7,\"response\":%s}\n\n",
                     event, event, response);
    stored_bytes(&asked->x, str_of(text, (size_t)n));
    stored_end(&asked->x);
}

static void make(const struct client_key *client, const char *body, const char *event,
                 const char *response)
{
    struct asked *asked = begin(&fixture, client, body);

    (void)expand(asked);
    (void)stored_keeps(&asked->x);
    answer(asked, event, response);
    end(&asked);
}

static bool kept(const struct client_key *client, const char *id)
{
    struct asked *asked = begin(&fixture, client, "{}");
    struct reply reply;
    struct str owner = stored_owner(&asked->x, &asked->arena);
    bool found = stored_get(&asked->x, owner, str_c(id), &asked->arena, &reply);

    end(&asked);
    return found;
}

/* --- continued over any backend --- */

static void test_a_chain_stands_before_the_request(void **state)
{
    (void)state;
    struct asked *asked;

    make(&anna, "{\"input\":\"one\",\"stream\":true}", "completed",
         RESPONSE("resp_1", "completed", ITEM("msg_1", "eins")));
    make(&anna, "{\"previous_response_id\":\"resp_1\",\"input\":[" USER("two") "]}", "",
         RESPONSE("resp_2", "incomplete", ITEM("msg_2", "zwei")));

    asked = begin(&fixture, &anna,
                  "{ \"previous_response_id\" : \"resp_2\", \"input\" : \"three\" , \"a\":1}");
    expect_body(asked, "{ \"input\" : [" USER("one") "," ITEM("msg_1", "eins") "," USER(
                           "two") "," ITEM("msg_2", "zwei") "," USER("three") "] , \"a\":1}");
    /* What the client is told, and what is kept of this one: its own. */
    assert_true(str_eq(asked->x.call.request.previous, STR("resp_2")));
    assert_true(stored_keeps(&asked->x));
    answer(asked, "completed", RESPONSE("resp_3", "completed", ""));
    end(&asked);

    asked = begin(&fixture, &anna, "{\"previous_response_id\":\"resp_3\",\"input\":[]}");
    expect_body(asked, "{\"input\":[" USER("one") "," ITEM("msg_1", "eins") "," USER(
                           "two") "," ITEM("msg_2", "zwei") "," USER("three") "]}");
    end(&asked);
    asked = begin(&fixture, &anna, "{\"input\":null,\"previous_response_id\":\"resp_1\"}");
    expect_body(asked, "{\"input\":[" USER("one") "," ITEM("msg_1", "eins") "]}");
    end(&asked);
    /* Without an input of its own. */
    asked = begin(&fixture, &anna, "{\"previous_response_id\":\"resp_1\"}");
    expect_body(asked, "{\"input\":[" USER("one") "," ITEM("msg_1", "eins") "]}");
    end(&asked);
}

/* Catches: ids and reasoning of one vendor in what goes to another. */
static void test_for_one_that_speaks_responses_the_items_are_bare(void **state)
{
    (void)state;
    make(&anna, "{\"input\":\"one\"}", "",
         RESPONSE("resp_1", "completed",
                  "{\"type\":\"reasoning\",\"id\":\"rs_1\"}," ITEM("msg_1", "eins")));
    speak_responses();
    struct asked *asked = begin(&fixture, &anna,
                                "{\"input\":\"two\",\"previous_response_id\":\"resp_1\"}");
    expect_body(asked, "{\"input\":[" USER("one") ",{\"type\":\"message\",\"text\":\"eins\"}," USER(
                           "two") "]}");
    /* That backend keeps it itself. */
    assert_false(stored_keeps(&asked->x));
    end(&asked);
}

static void test_what_is_not_kept(void **state)
{
    static const char *const refused[] = {
        "{\"input\":\"a\",\"store\":false}",
        "{\"input\":\"a\",\"store\" : false,\"stream\":true}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct asked *asked = begin(&fixture, &anna, refused[i]);
        (void)expand(asked);
        assert_false(stored_keeps(&asked->x));
        answer(asked, "completed", RESPONSE("resp_1", "completed", ""));
        end(&asked);
        assert_false(kept(&anna, "resp_1"));
    }
    /* store: null is the default. A failed one is not kept. */
    make(&anna, "{\"input\":\"a\",\"store\":null}", "", RESPONSE("resp_2", "failed", ""));
    assert_false(kept(&anna, "resp_2"));
    make(&anna, "{\"input\":\"a\",\"store\":null}", "", RESPONSE("resp_2", "completed", ""));
    assert_true(kept(&anna, "resp_2"));
    /* One that broke off has no end. */
    struct asked *asked = begin(&fixture, &anna, "{\"input\":\"a\",\"stream\":true}");
    (void)expand(asked);
    assert_true(stored_keeps(&asked->x));
    stored_bytes(&asked->x, STR("event: response.completed\ndata: {\"response\":" RESPONSE(
                                "resp_3", "completed", "") "}\n\n"));
    end(&asked);
    assert_false(kept(&anna, "resp_3"));
    /* Counting tokens makes none. */
    asked = begin(&fixture, &anna, "{\"input\":\"a\"}");
    asked->x.call.intake.operation = OP_COUNT_TOKENS;
    (void)expand(asked);
    assert_false(stored_keeps(&asked->x));
    end(&asked);
}

static void test_unknown_and_foreign_ones(void **state)
{
    (void)state;
    make(&anna, "{\"input\":\"one\"}", "", RESPONSE("resp_1", "completed", ITEM("msg_1", "x")));
    expect_refused(begin(&fixture, &bob, "{\"input\":\"\",\"previous_response_id\":\"resp_1\"}"),
                   ERR_UNKNOWN_RESPONSE, "resp_1");
    expect_refused(begin(&fixture, NULL, "{\"input\":\"\",\"previous_response_id\":\"resp_1\"}"),
                   ERR_UNKNOWN_RESPONSE, "resp_1");
    expect_refused(begin(&fixture, &anna, "{\"input\":\"\",\"previous_response_id\":\"nope\"}"),
                   ERR_UNKNOWN_RESPONSE, "nope");
    /* An item's place in the store is no response. */
    expect_refused(begin(&fixture, &anna,
                         "{\"input\":\"\",\"previous_response_id\":\"item msg_1\"}"),
                   ERR_UNKNOWN_RESPONSE, "item msg_1");
    /* A hole in the chain. */
    make(&anna, "{\"input\":\"two\",\"previous_response_id\":\"resp_1\"}", "",
         RESPONSE("resp_2", "completed", ""));
    struct asked *asked = begin(&fixture, &anna, "{}");
    assert_true(replies_delete(fixture.gateway->replies, stored_owner(&asked->x, &asked->arena),
                               STR("resp_1")));
    end(&asked);
    expect_refused(begin(&fixture, &anna, "{\"input\":\"\",\"previous_response_id\":\"resp_2\"}"),
                   ERR_UNKNOWN_RESPONSE, "resp_1");
    expect_refused(begin(&fixture, &anna, "{\"input\":7}"), ERR_BAD_REQUEST, "input");
}

static void test_items_that_are_referred_to(void **state)
{
    (void)state;
    make(&anna, "{\"input\":\"one\"}", "", RESPONSE("resp_1", "completed", ITEM("msg_1", "x")));
    struct asked *asked = begin(&fixture, &anna,
                                "{\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}," USER(
                                    "two") "]}");
    expect_body(asked, "{\"input\":[" ITEM("msg_1", "x") "," USER("two") "]}");
    end(&asked);
    expect_refused(begin(&fixture, &bob, "{\"input\":[{\"id\":\"msg_1\"}]}"), ERR_BAD_REQUEST,
                   "msg_1");
    expect_refused(begin(&fixture, &anna, "{\"input\":[{\"id\":\"msg_2\"}]}"), ERR_BAD_REQUEST,
                   "msg_2");
    /* One that speaks Responses knows its own. */
    speak_responses();
    asked = begin(&fixture, &anna, "{\"input\":[{\"id\":\"msg_2\"}]}");
    expect_body(asked, "{\"input\":[{\"id\":\"msg_2\"}]}");
    end(&asked);
}

static void add_words(struct buf *to, size_t bytes)
{
    for (size_t end = to->n + bytes; to->n < end;)
        (void)buf_add(to, STR("some words, "));
}

static const char *text_of(struct buf *body)
{
    (void)buf_add_char(body, '\0');
    return body->p;
}

static void add_references(struct buf *body, int n)
{
    buf_reset(body);
    (void)buf_add(body, STR("{\"input\":["));
    for (int i = 0; i < n; i++)
        (void)buf_add(body, STR("{\"id\":\"msg_1\"},"));
    (void)buf_add(body, STR("1]}"));
}

/* Catches: a whole response copied, or read, for each of very many references. */
static void test_many_references(void **state)
{
    enum { REFERENCES = 20000 };
    static const char item[] = ITEM("msg_1", "x");
    struct buf body;

    (void)state;
    buf_init(&body, MEMORY);
    (void)buf_add(&body, STR("{\"input\":\""));
    add_words(&body, LARGE_BYTES / 2);
    (void)buf_add(&body, STR("\"}"));
    make(&anna, text_of(&body), "", RESPONSE("resp_1", "completed", ITEM("msg_1", "x")));
    add_references(&body, REFERENCES);
    struct asked *asked = begin(&fixture, &anna, text_of(&body));
    struct str got = expand(asked);
    assert_int_equal(got.n, strlen("{\"input\":[1]}") + REFERENCES * sizeof(item));
    assert_true(str_ends(got, STR("," ITEM("msg_1", "x") ",1]}")));
    end(&asked);

    /* Behind an item that takes long to read over. */
    buf_reset(&body);
    (void)buf_add(&body, STR("{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[\""));
    add_words(&body, LARGE_BYTES / 2);
    (void)buf_print(&body, "\",%s]}", item);
    make(&anna, "{\"input\":\"a\"}", "", text_of(&body));
    add_references(&body, 2);
    asked = begin(&fixture, &anna, text_of(&body));
    expect_body(asked, "{\"input\":[" ITEM("msg_1", "x") "," ITEM("msg_1", "x") ",1]}");
    end(&asked);
    add_references(&body, REFERENCES);
    expect_refused(begin(&fixture, &anna, text_of(&body)), ERR_TOO_LARGE, "refers");
    buf_fini(&body);
}

/* Catches: the loop held up by looking for thousands of items that are not here. */
static void test_many_references_to_what_is_not_here(void **state)
{
    enum { REFERENCES = 20000 };
    struct buf body;

    (void)state;
    make(&anna, "{\"input\":\"one\"}", "", RESPONSE("resp_1", "completed", ITEM("msg_1", "x")));
    speak_responses();
    buf_init(&body, MEMORY);
    (void)buf_add(&body, STR("{\"previous_response_id\":\"resp_1\",\"input\":["));
    for (int i = 0; i < REFERENCES; i++)
        (void)buf_add(&body, STR("{\"id\":\"msg_9\"},"));
    (void)buf_add(&body, STR("1]}"));
    struct asked *asked = begin(&fixture, &anna, text_of(&body));
    assert_true(asked->x.body_n < LARGE_BYTES);
    assert_int_equal(stored_expand(&asked->x, &asked->e), STORED_WAIT);
    loop_test_run(fixture.loop);
    assert_int_equal(stored_expanded(&asked->x, &asked->e), STORED_AGAIN);
    assert_true(str_ends(body_text(&asked->x), STR(",{\"id\":\"msg_9\"},1]}")));
    end(&asked);
    buf_fini(&body);
}

/* By a backend that keeps it, with that key. */
static void start_raw_with(const struct client_key *client, const struct backend_key *key,
                           const char *body, const char *id)
{
    struct event event = {.kind = EVENT_START, .start = {.id = str_c(id)}};
    struct frame frame = {.events = &event, .n = 1};
    struct asked *asked = begin(&fixture, client, body);

    asked->x.attempt.key = key;
    (void)expand(asked);
    assert_false(stored_keeps(&asked->x));
    stored_frame(&asked->x, &frame);
    stored_frame(&asked->x, &frame);
    stored_end(&asked->x);
    end(&asked);
}

static void start_raw(const struct client_key *client, const char *body, const char *id)
{
    start_raw_with(client, NULL, body, id);
}

/* Catches: what there is just no memory for said to be too large, and the other way round. */
static void test_there_is_no_memory_for_it(void **state)
{
    struct config *config = fixture.result.config;
    struct arena_budget *budget = &fixture.gateway->inflight;
    size_t body_bytes_max = config->body_bytes_max;
    size_t inflight_bytes_max = config->inflight_bytes_max;
    struct buf body;

    (void)state;
    buf_init(&body, MEMORY);
    (void)buf_add(&body, STR("{\"input\":[\""));
    add_words(&body, LARGE_BYTES / 4);
    (void)buf_add(&body, STR("\"]}"));
    make(&anna, text_of(&body), "", RESPONSE("resp_1", "completed", ""));
    body.n -= 2;
    (void)buf_add(&body, STR(",\"previous_response_id\":\"resp_1\"}"));
    make(&anna, text_of(&body), "", RESPONSE("resp_2", "completed", ""));
    static const char next[] = "{\"input\":\"x\",\"previous_response_id\":\"resp_2\"}";
    const struct {
        size_t body_bytes_max;
        size_t inflight_bytes_max;
        size_t in_use_but; /* of the budget; SIZE_MAX: it is free */
        enum error_code code;
        const char *said;
    } rows[] = {
        {body_bytes_max, inflight_bytes_max, LARGE_BYTES / 4, ERR_OVERLOADED, "inflight"},
        {body_bytes_max, inflight_bytes_max, 0, ERR_OVERLOADED, "inflight"},
        {LARGE_BYTES / 4, inflight_bytes_max, LARGE_BYTES / 4, ERR_TOO_LARGE, "body_bytes_max"},
        {LARGE_BYTES / 4, inflight_bytes_max, SIZE_MAX, ERR_TOO_LARGE, "body_bytes_max"},
        {body_bytes_max, LARGE_BYTES / 4, LARGE_BYTES / 4, ERR_TOO_LARGE, "inflight_bytes_max"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t work_in_job = 0; work_in_job < 2; work_in_job++) {
            size_t used = atomic_load(&budget->used);
            size_t max = atomic_load(&budget->max);
            bool full = rows[i].in_use_but != SIZE_MAX;
            struct asked *asked = begin(&fixture, &anna, next);
            if (work_in_job == 1) { /* as if it came large */
                asked->x.body_n = LARGE_BYTES + 1;
                asked->x.large = large_new(asked->x.branch, exchange_wake, &asked->x);
            }
            config->body_bytes_max = rows[i].body_bytes_max;
            config->inflight_bytes_max = rows[i].inflight_bytes_max;
            if (full)
                atomic_store(&budget->max, used + 4096 + 1024 + rows[i].in_use_but);
            expect_refused(asked, rows[i].code, rows[i].said);
            atomic_store(&budget->max, max);
            config->body_bytes_max = body_bytes_max;
            config->inflight_bytes_max = inflight_bytes_max;
        }
    }
    buf_fini(&body);
}

/* Catches: a response that its backend has, taken for one that is nowhere, as there was no memory
 * for the backend's name. */
static void test_there_is_no_memory_for_its_place(void **state)
{
    struct arena_budget *budget = &fixture.gateway->inflight;
    struct backend_key key = {.name = STR_INIT("the name of a key, longer than the backend's")};
    char id[1024];
    char next[1200];
    bool refused = false;

    (void)state;
    speak_responses();
    for (size_t n = 700; n < sizeof(id); n++) {
        memset(id, 'r', n);
        id[n] = '\0';
        (void)snprintf(next, sizeof(next), "{\"input\":\"b\",\"previous_response_id\":\"%s\"}", id);
        start_raw_with(&anna, &key, "{\"input\":\"a\"}", id);
        struct asked *asked = begin(&fixture, &anna, next);
        size_t max = atomic_load(&budget->max);
        atomic_store(&budget->max, atomic_load(&budget->used) + 1024 + 4096);
        enum stored_step step = stored_expand(&asked->x, &asked->e);
        atomic_store(&budget->max, max);
        if (step == STORED_FAILED) {
            assert_int_equal(asked->e.code, ERR_OVERLOADED);
            refused = true;
        } else {
            assert_int_equal(step, STORED_DONE);
            assert_int_equal(stored_pin(&asked->x, &asked->e), OK);
        }
        end(&asked);
    }
    assert_true(refused);
}

/* Catches: what a job works with freed under it, or never. */
static void test_a_client_leaves_while_the_job_runs(void **state)
{
    struct buf body;

    (void)state;
    buf_init(&body, MEMORY);
    (void)buf_add(&body, STR("{\"input\":[\""));
    add_words(&body, 3 * LARGE_BYTES);
    (void)buf_add(&body, STR("\"]}"));
    for (int begun = 0; begun < 2; begun++) {
        struct asked *asked = begin(&fixture, &anna, text_of(&body));
        asked->x.large = large_new(asked->x.branch, exchange_wake, &asked->x);
        assert_int_equal(stored_expand(&asked->x, &asked->e), STORED_WAIT);
        stored_free(&asked->x.stored);
        if (begun == 1) { /* what the index points into stays, as with an exchange */
            loop_test_run(fixture.loop);
            assert_false(large_busy(asked->x.large));
        }
        large_free(&asked->x.large);
        loop_test_run(fixture.loop);
        end(&asked);
        body.n--;
    }
    buf_fini(&body);
}

/* Catches: a large conversation that is put together in the request's arena, or not at all. */
static void test_large_ones(void **state)
{
    (void)state;
    struct buf body;

    buf_init(&body, MEMORY);
    (void)buf_add(&body, STR("{\"input\":[\""));
    add_words(&body, 3 * LARGE_BYTES / 4);
    (void)buf_add(&body, STR("\"]}"));
    (void)buf_add_char(&body, '\0');
    make(&anna, body.p, "", RESPONSE("resp_1", "completed", ""));
    body.n -= 2; /* behind the input */
    (void)buf_add(&body, STR(",\"previous_response_id\":\"resp_1\"}"));
    (void)buf_add_char(&body, '\0');
    struct asked *asked = begin(&fixture, &anna, body.p);
    struct str got = expand(asked);
    assert_true(got.n > 6 * LARGE_BYTES / 4);
    assert_non_null(asked->x.large);
    assert_int_equal(asked->x.body_n, got.n);
    end(&asked);
    /* And past body_bytes_max it is refused. */
    struct config *config = fixture.result.config;
    size_t before = config->body_bytes_max;
    config->body_bytes_max = LARGE_BYTES;
    expect_refused(begin(&fixture, &anna, body.p), ERR_TOO_LARGE, "body_bytes_max");
    config->body_bytes_max = before;
    buf_fini(&body);
}

/* --- kept by their backend --- */

static void test_one_that_its_backend_keeps_is_continued_there(void **state)
{
    (void)state;
    struct backend other = {.name = STR_INIT("other"), .functional = true, .protocol = &responses};

    speak_responses();
    start_raw(&anna, "{\"input\":\"a\",\"store\":false}", "resp_1");
    assert_false(kept(&anna, "resp_1"));
    start_raw(&anna, "{\"input\":\"a\"}", "resp_1");
    assert_true(kept(&anna, "resp_1"));
    assert_false(kept(&bob, "resp_1"));

    static const char next[] = "{\"input\":\"b\",\"previous_response_id\":\"resp_1\"}";
    struct asked *asked = begin(&fixture, &anna, next);
    expect_body(asked, next);
    assert_int_equal(stored_pin(&asked->x, &asked->e), OK);
    assert_ptr_equal(asked->x.attempt.backend, the_backend());
    /* Without a prefix the model is no reason to go elsewhere. */
    asked->element.backend = &other;
    asked->x.attempt.backend = &other;
    asked->x.call.request.model = STR("m");
    assert_int_equal(stored_pin(&asked->x, &asked->e), OK);
    assert_ptr_equal(asked->x.attempt.backend, the_backend());
    /* With one it is. */
    asked->element = (struct plan_element){.backend = &other, .model = STR("m")};
    assert_int_equal(stored_pin(&asked->x, &asked->e), ERR_UNKNOWN_RESPONSE);
    the_backend()->functional = false;
    assert_int_equal(stored_pin(&asked->x, &asked->e), ERR_UNKNOWN_RESPONSE);
    the_backend()->functional = true;
    end(&asked);
}

/* --- what is asked of them --- */

static struct str ask(struct asked **ret_asked, const struct client_key *client,
                      enum operation operation, const char *rest, const char *query)
{
    struct asked *asked = begin(&fixture, client, "{}");
    struct buf *out = &fixture.station.out;
    struct stored_answer got = {.status = 0};

    *ret_asked = asked;
    asked->x.call.intake.operation = operation;
    asked->x.call.intake.rest = str_c(rest);
    asked->x.call.intake.query = str_c(query);
    asked->x.call.intake.path = STR("/v1/responses/x");
    buf_reset(out);
    enum stored_ask_state step = stored_ask_run(&asked->x, out, &got, &asked->e);
    if (step == STORED_ASK_WAIT) {
        loop_test_run(fixture.loop);
        step = stored_ask_run(&asked->x, out, &got, &asked->e);
    }
    if (step == STORED_ASK_FAILED)
        return STR_NULL;
    assert_int_equal(step, STORED_ASK_DONE);
    assert_int_equal(got.status, 200);
    return got.body;
}

static void expect_answer(const struct client_key *client, enum operation operation,
                          const char *rest, const char *query, const char *want)
{
    struct asked *asked;
    struct str got = ask(&asked, client, operation, rest, query);

    if (!str_eq(got, str_c(want)))
        fail_msg("%s %s: %.*s (%s)", rest, query == NULL ? "" : query, STR_ARG(got),
                 str_is_null(got) ? asked->e.detail : "");
    end(&asked);
}

static void expect_no_answer(const struct client_key *client, enum operation operation,
                             const char *rest, const char *query, enum error_code code)
{
    struct asked *asked;

    assert_true(str_is_null(ask(&asked, client, operation, rest, query)));
    assert_int_equal(asked->e.code, code);
    end(&asked);
}

static void test_what_is_asked_of_one(void **state)
{
    static const char one[] = RESPONSE("resp_1", "completed", ITEM("msg_1", "eins"));
    static const char items[] =
        "{\"object\":\"list\",\"data\":[{\"id\":\"u_1\",\"type\":\"message\",\"role\":\"user\","
        "\"content\":[{\"type\":\"input_text\",\"text\":\"hi\"}]}],\"first_id\":\"u_1\","
        "\"last_id\":\"u_1\",\"has_more\":false}";

    (void)state;
    make(&anna, "{\"input\":[{\"id\":\"u_1\",\"role\":\"user\",\"content\":\"hi\"}]}", "", one);
    expect_answer(&anna, OP_REPLY_GET, "resp_1", NULL, one);
    expect_answer(&anna, OP_REPLY_GET, "resp_1", "include[]=x&stream=false", one);
    expect_answer(&anna, OP_REPLY_INPUT, "resp_1", "order=asc&limit=1", items);
    expect_answer(&anna, OP_REPLY_GET, "resp_1", "stream=true&starting_after=8", "");
    expect_no_answer(&anna, OP_REPLY_GET, "resp_1", "stream=true&starting_after=x",
                     ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_GET, "resp_1", "stream=true&starting_after=-1",
                     ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_GET, "resp_1", "starting_after=1", ERR_BAD_REQUEST);
    expect_no_answer(&bob, OP_REPLY_GET, "resp_1", "stream=true", ERR_NOT_FOUND);
    expect_no_answer(&anna, OP_REPLY_INPUT, "resp_1", "order=up", ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_INPUT, "resp_1", "limit=0", ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_INPUT, "resp_1", "limit=101", ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_INPUT, "resp_1", "after=u_9", ERR_BAD_REQUEST);
    expect_no_answer(&anna, OP_REPLY_CANCEL, "resp_1", NULL, ERR_UNSUPPORTED_VALUE);
    /* Nobody else's. */
    expect_no_answer(&bob, OP_REPLY_GET, "resp_1", NULL, ERR_NOT_FOUND);
    expect_no_answer(&bob, OP_REPLY_INPUT, "resp_1", NULL, ERR_NOT_FOUND);
    expect_no_answer(&bob, OP_REPLY_DELETE, "resp_1", NULL, ERR_NOT_FOUND);
    expect_no_answer(&anna, OP_REPLY_GET, "item msg_1", NULL, ERR_NOT_FOUND);

    expect_answer(&anna, OP_REPLY_DELETE, "resp_1", NULL,
                  "{\"id\":\"resp_1\",\"object\":\"response\",\"deleted\":true}");
    expect_no_answer(&anna, OP_REPLY_GET, "resp_1", NULL, ERR_NOT_FOUND);
    expect_no_answer(&anna, OP_REPLY_DELETE, "resp_1", NULL, ERR_NOT_FOUND);
    /* No backend to ask. */
    expect_no_answer(&anna, OP_REPLY_CANCEL, "resp_1", NULL, ERR_UNSUPPORTED_VALUE);
    expect_no_answer(&anna, OP_COMPACT, NULL, NULL, ERR_UNSUPPORTED_VALUE);
    expect_no_answer(&anna, OP_CONVERSATIONS, NULL, NULL, ERR_UNSUPPORTED_VALUE);
}

/* Catches: responses that clients do not read, and that have left the store, past all bounds; a
 * response held longer than it is needed. */
static void test_what_goes_out_is_counted(void **state)
{
    static const char one[] = RESPONSE("resp_1", "completed", ITEM("msg_1", "eins"));
    static const struct {
        enum operation operation;
        const char *query;
        bool counted;
    } rows[] = {
        {OP_REPLY_INPUT, NULL, false},
        {OP_REPLY_GET, "stream=true", false},
        {OP_REPLY_GET, NULL, true},
        {OP_REPLY_DELETE, NULL, false},
    };
    struct arena_budget *budget = &fixture.gateway->inflight;
    struct asked *asked;

    (void)state;
    make(&anna, "{\"input\":\"a\"}", "", one);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t used = atomic_load(&budget->used);
        struct str got = ask(&asked, &anna, rows[i].operation, "resp_1", rows[i].query);
        assert_true(got.n > 0);
        assert_int_equal(atomic_load(&budget->used) - used, rows[i].counted ? strlen(one) : 0);
        if (rows[i].counted) { /* it leaves the store, and still is there */
            assert_true(replies_delete(fixture.gateway->replies,
                                       stored_owner(&asked->x, &asked->arena), STR("resp_1")));
            assert_true(str_eq(got, str_c(one)));
        }
        end(&asked);
        assert_int_equal(atomic_load(&budget->used), used);
        if (rows[i].counted)
            make(&anna, "{\"input\":\"a\"}", "", one);
    }
    make(&anna, "{\"input\":\"a\"}", "", one);
    size_t max = atomic_load(&budget->max);
    atomic_store(&budget->max, atomic_load(&budget->used) + strlen(one) - 1);
    expect_no_answer(&anna, OP_REPLY_GET, "resp_1", NULL, ERR_OVERLOADED);
    atomic_store(&budget->max, max);
    expect_answer(&anna, OP_REPLY_GET, "resp_1", NULL, one);
}

/* Catches: a stream that tells something else than the response, and one that breaks off where it
 * is large and made in a job. */
static void test_one_is_told_as_a_stream(void **state)
{
    struct buf body;

    (void)state;
    buf_init(&body, MEMORY);
    for (size_t words = 4; words <= 3 * LARGE_BYTES; words = words * 700) {
        buf_reset(&body);
        (void)buf_add(&body, STR("{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[{"
                                 "\"id\":\"msg_1\",\"type\":\"message\",\"content\":[{\"type\":"
                                 "\"output_text\",\"text\":\""));
        add_words(&body, words);
        (void)buf_add(&body, STR("\"}]}]}"));
        size_t n = body.n;
        make(&anna, "{\"input\":\"a\"}", "", text_of(&body));
        struct asked *asked;
        struct str got = ask(&asked, &anna, OP_REPLY_GET, "resp_1", "stream=true");
        assert_true(str_starts(got, STR("event: response.created\ndata: {")));
        assert_true(str_ends(got, STR("\n\n")));
        size_t last = str_find(got, STR("event: response.completed\n"), 0);
        assert_int_not_equal(last, SIZE_MAX);
        assert_int_not_equal(str_find(got, str_of(body.p, n), last), SIZE_MAX);
        end(&asked);
    }
    buf_fini(&body);
}

/* Catches: a response of another client's, cancelled and read at the backend with our key; paths
 * that mean something else there. */
static void test_what_is_not_asked_of_a_backend(void **state)
{
    static const char *const paths[] = {
        "/v1/conversations/../files",        "/v1/conversations/%2e%2e/files",
        "/v1/conversations/conv_1/./items",  "/v1/conversations//items",
        "/v1/conversations/..%2ffiles",      "/v1/conversations/x\\..\\y",
        "/v1/responses/../files/f_1/cancel",
    };

    (void)state;
    speak_responses();
    expect_no_answer(&bob, OP_REPLY_CANCEL, "resp_1", NULL, ERR_NOT_FOUND);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct asked *asked = begin(&fixture, &bob, "{}");
        struct stored_answer got;
        asked->x.call.intake.operation = OP_CONVERSATIONS;
        asked->x.call.intake.path = str_c(paths[i]);
        assert_int_equal(stored_ask_run(&asked->x, &fixture.station.out, &got, &asked->e),
                         STORED_ASK_FAILED);
        assert_int_equal(asked->e.code, ERR_NOT_FOUND);
        end(&asked);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {
        TEST(test_a_chain_stands_before_the_request),
        TEST(test_for_one_that_speaks_responses_the_items_are_bare),
        TEST(test_what_is_not_kept),
        TEST(test_unknown_and_foreign_ones),
        TEST(test_items_that_are_referred_to),
        TEST(test_large_ones),
        TEST(test_one_that_its_backend_keeps_is_continued_there),
        TEST(test_what_is_asked_of_one),
        TEST(test_one_is_told_as_a_stream),
        TEST(test_what_goes_out_is_counted),
        TEST(test_many_references),
        TEST(test_many_references_to_what_is_not_here),
        TEST(test_there_is_no_memory_for_it),
        TEST(test_there_is_no_memory_for_its_place),
        TEST(test_a_client_leaves_while_the_job_runs),
        TEST(test_what_is_not_asked_of_a_backend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
