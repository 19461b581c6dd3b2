/* SPDX-License-Identifier: MIT */
/*
 * What      Finds the session of a request, takes its settings, and notes in its history what came
 *           of the request.
 * How       The id is what the request gives, or the digest of how the conversation begins
 *           (session_key). Of the answer the beginning is listened to, and nothing behind it.
 * Owns      For the call: the reference of its session, and of the settings that it began with.
 * Not here  What sessions are (state/session); what they have set does (stage_command,
 *           stage_resolve).
 */
#include "pipeline/pipeline.h"
#include "pipeline/session_key.h"
#include "text/utf8.h"

#define LISTENS (EVENT_BIT(EVENT_BLOCK_BEGIN) | EVENT_BIT(EVENT_TEXT))

enum { WALK_BYTES_MAX = 64 * 1024 };

/* What a request's body says of its session. */
struct session_look {
    struct session_state *state;
    bool generates;
    bool anew;
    struct str id; /* a slice of the request, or in room */
    struct session_key_room room;
};

struct session_state {
    const struct settings *settings; /* a reference */
    struct session_look *look;       /* of a large body; NULL: none was begun */
    bool is_text;                    /* the block that began last is */
    uint8_t prompt_n;
    uint8_t answer_n;
    char prompt[SESSION_BEGINNING_MAX];
    char answer[SESSION_BEGINNING_MAX];
};
_Static_assert(SESSION_BEGINNING_MAX <= UINT8_MAX, "lengths of beginnings are bytes");

/* Appends what there is room for, in whole characters. False: there was more. */
static bool keep(char *to, uint8_t *n, struct str text)
{
    struct str head = utf8_head(text, (size_t)SESSION_BEGINNING_MAX - *n);

    if (head.n > 0)
        memcpy(to + *n, head.p, head.n);
    *n = (uint8_t)(*n + head.n);
    return head.n == text.n && *n < SESSION_BEGINNING_MAX;
}

/* The beginning of a string's body in the source, which may be long. */
static struct str head_of(struct str body, struct arena *arena)
{
    size_t n = 0;

    if (LIKELY(str_find_char(str_head(body, SESSION_BEGINNING_MAX), '\\', 0) == SIZE_MAX))
        return str_head(body, SESSION_BEGINNING_MAX + 4);
    for (size_t characters = 0; n < body.n && characters < SESSION_BEGINNING_MAX; characters++) {
        bool escape = body.p[n] == '\\' && n + 1 < body.n;
        n += !escape ? 1 : body.p[n + 1] == 'u' ? 6 : 2;
    }
    /* The quotes are not looked at: what stands there may be anything. */
    n = n < body.n ? n : body.n;
    return json_string_value(str_of(body.p - 1, n + 2), arena);
}

static bool is_system(const struct outline_turn *turn)
{
    return turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER;
}

/* The newest message; behind it there may be system texts (Claude Code ends with such): then it is
 * walked to, where that is not far. */
static bool newest(const struct call *call, struct outline_turn *ret_turn)
{
    const struct protocol *protocol = call->intake.protocol;
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;

    if (!protocol->outline_last(&call->request, ret_turn))
        return false;
    if (LIKELY(!is_system(ret_turn)))
        return true;
    while (call->request.source.n <= WALK_BYTES_MAX &&
           protocol->outline_next(&call->request, &cursor, &turn)) {
        if (!is_system(&turn))
            *ret_turn = turn;
    }
    return true;
}

/* The beginning of the newest message's text, where that is the user's. */
static void keep_prompt(struct call *call, struct session_state *s, struct outline_turn *last)
{
    struct outline_text text;
    size_t cursor = 0;

    if ((str_is_null(last->source) || is_system(last)) && !newest(call, last))
        return;
    if (last->role != ROLE_USER || !outline_text_next(last->content, &cursor, &text))
        return;
    assert(text.string.n >= 2);
    (void)keep(s->prompt, &s->prompt_n,
               head_of(str_of(text.string.p + 1, text.string.n - 2), call->arena));
}

/* Pure, as far as the worker is concerned. */
static void look(struct call *call, void *arg)
{
    struct session_look *look = arg;
    struct outline_turn last = {.source = STR_NULL};

    look->id = session_key_given(&call->intake, &call->request, &look->room);
    if (str_is_null(look->id) && str_eq(call->config->session_continuity, STR("fingerprint"))) {
        struct session_key_print print = session_key_print(&call->intake, &call->request,
                                                           &look->room);
        look->id = print.id;
        look->anew = look->generates && !print.has_assistant;
        last = print.last;
    }
    if (look->generates)
        keep_prompt(call, look->state, &last);
}

static enum verdict enter(struct call *call, struct session_state *s,
                          const struct session_look *look)
{
    struct str id = str_is_null(look->id) ? call->request_id : look->id;

    call->session = session_enter(call->sessions, &call->intake.scope, id, look->anew,
                                  call->now_ms);
    call->session_id = str_copy(pipeline_arena(call), id);
    if (call->intake.client != NULL)
        session_set_client(call->session, call->intake.client->name);
    s->settings = session_settings(call->session);
    call->settings = s->settings;
    if (!look->generates)
        pipeline_ignore(call, LISTENS);
    return NEXT;
}

/* Of a session that the head names. One is not begun for what has no conversation. */
static enum verdict enter_opaque(struct call *call, struct session_state *s)
{
    struct session_look look = {.state = s, .generates = false};

    look.id = session_key_of_head(&call->intake, &look.room);
    if (!str_is_null(look.id))
        return enter(call, s, &look);
    pipeline_ignore(call, LISTENS);
    return NEXT;
}

static enum verdict session_request(struct call *call, void *state)
{
    struct session_state *s = state;
    struct session_look now;

    if (call->sessions == NULL) { /* this process keeps none */
        pipeline_ignore(call, LISTENS);
        return NEXT;
    }
    if (call->intake.operation == OP_OPAQUE)
        return enter_opaque(call, s);
    if (s->look != NULL)
        return enter(call, s, s->look);
    now.state = s;
    now.generates = call->intake.operation == OP_GENERATE;
    now.anew = false;
    if (LIKELY(call->request.source.n <= CALL_WORK_BYTES) || call->ops == NULL) {
        look(call, &now);
        return enter(call, s, &now);
    }
    s->look = ARENA_NEW(pipeline_arena(call), struct session_look);
    *s->look = now;
    return call->ops->work(call, look, s->look) ? enter(call, s, s->look) : WAIT;
}

static enum event_verdict session_event(struct call *call, void *state, struct frame *frame,
                                        struct event *event)
{
    struct session_state *s = state;

    (void)frame;
    if (event->kind == EVENT_BLOCK_BEGIN) {
        s->is_text = event->begin.kind == BLOCK_TEXT || event->begin.kind == BLOCK_REFUSAL;
        return PASS;
    }
    assert(event->kind == EVENT_TEXT);
    if (!s->is_text)
        return PASS;
    if (!keep(s->answer, &s->answer_n, event->text))
        pipeline_ignore(call, LISTENS);
    return PASS;
}

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

static void note(const struct call *call, const struct session_state *s)
{
    const struct usage *usage = &call->usage;
    bool failed = !call->answered && !call->succeeded;

    session_note(call->session,
                 &(struct session_item){
                     .time_ms = call->now_ms,
                     .by_proxy = call->answered,
                     .failed = failed,
                     .prompt = str_of(s->prompt, s->prompt_n),
                     .answer = str_of(s->answer, s->answer_n),
                     .backend = call->element == NULL ? STR_NULL : call->element->backend->name,
                     .model = call->model_sent,
                     .project = call->settings->project,
                     .tokens_in = usage->input,
                     .tokens_out = usage->output,
                 });
    session_count(call->session, &(struct session_stats){
                                     .requests = call->answered ? 0 : 1,
                                     .commands = call->answered ? 1 : 0,
                                     .failures = failed ? 1 : 0,
                                     .tokens_in = at_least_0(usage->input),
                                     .tokens_out = at_least_0(usage->output),
                                     .tokens_cached = at_least_0(usage->cached),
                                 });
}

static void session_done(struct call *call, void *state)
{
    struct session_state *s = state;

    if (call->session == NULL)
        return;
    if (call->intake.operation == OP_GENERATE && (call->answered || call->element != NULL))
        note(call, s);
    call->settings = NULL;
    session_settings_unref(&s->settings);
    session_leave(&call->session);
}

const struct stage stage_session = {
    .name = "session",
    .state_size = sizeof(struct session_state),
    .event_mask = LISTENS,
    .request = session_request,
    .event = session_event,
    .done = session_done,
};
