/* SPDX-License-Identifier: MIT */
/*
 * What the gateway does for stages: work in a thread, changes of sessions, what lists of models
 * say; and what admission says of sessions.
 */
#include "gateway/exchange_answers_priv.h"

#include "gateway/models.h"
#include "text/json.h"
#include "text/json_edit.h"

extern const struct stage stage_resolve;
extern const struct stage stage_session;

/* --- work --- */

enum leaves { STAYS, LEAVES_BEFORE, LEAVES_WITHIN };

static struct {
    struct fixture *f;
    enum leaves leaves;
    int asked;
    int worked;
    int done;
    bool at_once;
    bool no_arena_at_done;
    struct arena *own; /* the call's, as the stage sees it */
} seen;

/* Leaves an edit behind, and much else, in the arena that it is given. */
static void add_member(struct call *call, void *arg)
{
    assert_ptr_equal(arg, &seen);
    seen.worked++;
    assert_true(seen.at_once == (call->arena == seen.own));
    for (int i = 0; i < 100; i++)
        memset(arena_alloc(call->arena, 1000), 'x', 1000);
    json_edit_add(&call->request.edits, call->arena, &call->request.index, STR("user"),
                  json_quote(STR("added"), call->arena));
    if (seen.leaves == LEAVES_WITHIN)
        conn_close(&seen.f->client.conn);
}

static enum verdict work_request(struct call *call, void *state)
{
    (void)state;
    if (seen.asked++ > 0) {
        assert_ptr_equal(call->arena, seen.own); /* it is back */
        return NEXT;
    }
    seen.own = call->arena;
    bool now = call->ops->work(call, add_member, &seen);
    assert_int_equal(now, seen.at_once);
    if (seen.leaves == LEAVES_BEFORE)
        conn_close(&seen.f->client.conn);
    return now ? NEXT : WAIT;
}

static void work_done(struct call *call, void *state)
{
    (void)state;
    seen.done++;
    seen.no_arena_at_done = call->arena == NULL;
}

static const struct stage stage_work = {
    .name = "work",
    .request = work_request,
    .done = work_done,
};

static void make_request(struct buf *out, size_t size)
{
    buf_init(out, TEXT_MAX);
    (void)buf_add(out, STR("{\"model\":\"openai:m-1\",\"messages\":[{\"role\":\"user\","
                           "\"content\":\""));
    while (out->n + 64 < size)
        (void)buf_add(out, STR("sixteen bytes.  "));
    (void)buf_add(out, STR("\"}]}"));
}

static void send_body(struct fixture *f, struct str body)
{
    char head[256];

    send_text(&f->client, head,
              (size_t)snprintf(head, sizeof(head),
                               "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                               "Authorization: Bearer test-client-key-1\r\n"
                               "Content-Length: %zu\r\n\r\n",
                               body.n));
    while (body.n > 0) {
        struct str piece = str_head(body, 256 * 1024);
        (void)conn_write(f->client.conn, &piece, 1);
        body = str_from(body, piece.n);
        loop_test_run(f->loop);
    }
}

static void run_work(size_t size, enum leaves leaves)
{
    const struct stage *stages[] = {&stage_resolve, &stage_work};
    char answer[4096];
    struct fixture f;
    struct buf body;

    setup(&f);
    f.station.stages = stages;
    f.station.stages_n = COUNT_OF(stages);
    memset(&seen, 0, sizeof(seen));
    seen.f = &f;
    seen.leaves = leaves;
    seen.at_once = size <= LARGE_BYTES;
    make_request(&body, size);
    connect_client(&f);
    send_body(&f, buf_str(&body));
    assert_int_equal(seen.done, leaves == STAYS ? 0 : 1);
    if (leaves == STAYS) {
        assert_int_equal(seen.worked, 1);
        assert_int_equal(seen.asked, seen.at_once ? 1 : 2);
        assert_true(str_ends(buf_str(&f.upstream.got), STR(",\"user\":\"added\"}")));
        send_text(&f.upstream, answer, print_answer(answer, sizeof(answer), false));
        loop_test_run(f.loop);
        assert_true(has(&f.client, "200 OK"));
    } else {
        assert_int_equal(f.connects, 0);
        assert_true(seen.no_arena_at_done);
    }
    buf_fini(&body);
    teardown(&f);
    assert_int_equal(seen.done, 1);
}

/* Catches: work on a large body that holds up the loop; what it leaves gone before it is needed. */
static void test_work_of_a_stage(void **state)
{
    (void)state;
    run_work(1000, STAYS);
    run_work(LARGE_BYTES, STAYS);
    run_work(LARGE_BYTES + 1000, STAYS);
    run_work(3 * LARGE_BYTES, STAYS);
}

/* Catches: a client that takes along what the work is about. */
static void test_a_client_leaves_while_a_stage_works(void **state)
{
    (void)state;
    run_work(3 * LARGE_BYTES, LEAVES_BEFORE);
    run_work(3 * LARGE_BYTES, LEAVES_WITHIN);
}

/* --- changes --- */

static enum verdict set_request(struct call *call, void *state)
{
    struct session_change change = {.mask = SETTING_BIT(project)};

    (void)state;
    settings_init(&change.values);
    change.values.project = STR("changed");
    assert_true(call->ops->commit(call, call->session, &change));
    assert_int_equal(call->error.code, OK);
    return NEXT;
}

static const struct stage stage_set = {.name = "set", .request = set_request};

/* In memory a change is in force at once; it is counted, and there for the next request. */
static void test_a_change_at_once(void **state)
{
    const struct stage *stages[] = {&stage_session, &stage_set, &stage_resolve};
    struct session_view view;
    struct fixture f;

    (void)state;
    setup(&f);
    f.station.stages = stages;
    f.station.stages_n = COUNT_OF(stages);
    connect_client(&f);
    send_request(&f, false);
    assert_int_equal(f.connects, 1);
    assert_int_equal(metric_get(&f.station.metrics, METRIC_session_commits_total, 0), 1);
    assert_int_equal(metric_get(&f.station.metrics, METRIC_session_commit_failures_total, 0), 0);
    struct exchange *x = LIST_ENTRY(f.station.exchanges.next, struct exchange, link);
    session_view(x->call.session, &f.arena, &view);
    assert_true(str_eq(view.settings.project, STR("changed")));
    assert_true(str_eq(view.id, x->call.session_id));
    assert_int_equal(sessions_count(f.gateway->sessions), 1);
    teardown(&f);
}

/* --- models --- */

static enum verdict ask_request(struct call *call, void *state)
{
    const struct backend *openai = backend_find(call->backends, STR("openai"));
    const struct backend *demo = backend_find(call->backends, STR("demo"));

    (void)state;
    /* Nobody has asked for the list: it is not known, and is not asked for. */
    assert_true(call->ops->models(call, openai) == SIZE_MAX);
    assert_int_equal(call->ops->model_listed(call, openai, STR("m-1")), -1);
    size_t n = call->ops->models(call, demo);
    assert_true(n > 0 && n < 100);
    assert_int_equal(call->ops->model_listed(call, demo, str_c(demo->local->models[0])), 1);
    assert_int_equal(call->ops->model_listed(call, demo, STR("no such model")), 0);
    seen.asked++;
    return NEXT;
}

static const struct stage stage_ask = {.name = "ask", .request = ask_request};

static void test_models(void **state)
{
    const struct stage *stages[] = {&stage_resolve, &stage_ask};
    struct fixture f;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    setup(&f);
    f.station.stages = stages;
    f.station.stages_n = COUNT_OF(stages);
    connect_client(&f);
    send_request(&f, false);
    assert_int_equal(seen.asked, 1);
    assert_int_equal(f.connects, 1); /* the request's own */
    teardown(&f);
}

/* --- ids in heads --- */

static struct {
    struct str header, cookie, agent;
    struct session_scope scope;
    char text[512];
} head;

static struct str keep(struct str s, char **at)
{
    if (str_is_null(s))
        return s;
    memcpy(*at, s.p, s.n);
    struct str copy = str_of(*at, s.n);
    *at += s.n;
    return copy;
}

static enum verdict look_request(struct call *call, void *state)
{
    char *at = head.text;

    (void)state;
    head.header = keep(call->intake.session_header, &at);
    head.cookie = keep(call->intake.session_cookie, &at);
    head.agent = keep(call->intake.session_agent, &at);
    head.scope = call->intake.scope;
    return NEXT;
}

static const struct stage stage_look = {.name = "look", .request = look_request};

static const char whole_request[] =
    "{\"model\":\"openai:m-1\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

static void look(const char *lines)
{
    const struct stage *stages[] = {&stage_resolve, &stage_look};
    struct fixture f;
    char text[1024];

    setup(&f);
    memset(&head, 0, sizeof(head));
    f.station.stages = stages;
    f.station.stages_n = COUNT_OF(stages);
    connect_client(&f);
    send_text(&f.client, text,
              (size_t)snprintf(text, sizeof(text),
                               "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                               "Authorization: Bearer test-client-key-1\r\n%s"
                               "Content-Length: %zu\r\n\r\n%s",
                               lines, sizeof(whole_request) - 1, whole_request));
    loop_test_run(f.loop);
    teardown(&f);
}

static void check(const char *lines, const char *header, const char *cookie, const char *agent)
{
    look(lines);
    assert_true(str_eq(head.header, header == NULL ? STR("") : str_c(header)));
    assert_true(str_eq(head.cookie, cookie == NULL ? STR("") : str_c(cookie)));
    assert_true(str_eq(head.agent, agent == NULL ? STR("") : str_c(agent)));
}

/* Catches: an id that is missed, taken from another header, or from another cookie. */
static void test_ids_in_a_head(void **state)
{
    (void)state;
    check("", NULL, NULL, NULL);
    check("X-Session-Id: a\r\n", "a", NULL, NULL);
    check("x-session-id: a b\r\nX-SESSION-ID: c\r\n", "a b", NULL, NULL);
    check("x-session-ix: a\r\nx-session-i: b\r\n", NULL, NULL, NULL);
    check("x-session-id:\r\nx-session-id: c\r\n", "c", NULL, NULL);
    check("Cookie: session_id=1\r\n", NULL, "1", NULL);
    check("Cookie: a=session_id=1; b; session_id = \"2\" ;session_id=3\r\n", NULL, "2", NULL);
    check("Cookie: session_id=\"\"; session_id=4\r\n", NULL, "4", NULL);
    check("Cookie: session_id=\"\r\n", NULL, "\"", NULL);
    check("Cookie: session_idx=1; xsession_id=2; SESSION_ID=3; session_id\r\n", NULL, NULL, NULL);
    check("Cookie: a=b\r\nCookie: session_id=5\r\n", NULL, "5", NULL);
    check("conversation_id: c\r\n", NULL, NULL, "c");
    check("conversation_id: c\r\nSession-Id: b\r\n", NULL, NULL, "b");
    check("conversation_id: c\r\nSession-Id: b\r\nSession_Id: a\r\n", NULL, NULL, "a");
    check("session_id:\r\nconversation_id: c\r\n", NULL, NULL, "c");
    check("idempotency-key: i\r\nx-session-id: a\r\nCookie: session_id=b\r\nsession_id: c\r\n", "a",
          "b", "c");
}

/* Catches: keys that share a scope; a scope that is another after a restart. */
static void test_scopes(void **state)
{
    struct client_key keys[2] = {{.name = STR("a"), .key = secret_new(STR("key-number-one"))},
                                 {.name = STR("b"), .key = secret_new(STR("key-number-two"))}};
    const struct mac_key mac = {.bytes = {1}};
    const struct mac_key other = {.bytes = {2}};
    struct site site = {.keys = keys, .keys_n = 2};
    struct site again = {.keys = keys, .keys_n = 2};
    struct site foreign = {.keys = keys, .keys_n = 2};

    (void)state;
    site_make_scopes(&site, &mac);
    site_make_scopes(&again, &mac);
    site_make_scopes(&foreign, &other);
    struct session_scope first = site_scope(&site, &keys[0]);
    struct session_scope second = site_scope(&site, &keys[1]);
    struct session_scope none = site_scope(&site, NULL);
    assert_memory_not_equal(&first, &second, sizeof(first));
    assert_memory_not_equal(&first, &none, sizeof(first));
    struct session_scope same = site_scope(&again, &keys[0]);
    assert_memory_equal(&first, &same, sizeof(first));
    struct session_scope strange = site_scope(&foreign, &keys[0]);
    assert_memory_not_equal(&first, &strange, sizeof(first));
    mem_free(site.scopes);
    mem_free(again.scopes);
    mem_free(foreign.scopes);
    secret_free(&keys[0].key);
    secret_free(&keys[1].key);
    look("");
    assert_memory_not_equal(&head.scope, &none, sizeof(none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_of_a_stage),
        cmocka_unit_test(test_a_client_leaves_while_a_stage_works),
        cmocka_unit_test(test_a_change_at_once),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_ids_in_a_head),
        cmocka_unit_test(test_scopes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
