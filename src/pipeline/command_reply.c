/* SPDX-License-Identifier: MIT */
#include "pipeline/command_reply.h"

#include "command/spot.h"
#include "text/json.h"

enum { EVENTS_MAX = 12 };

struct reply {
    struct event events[EVENTS_MAX];
    uint32_t n;
    uint32_t block;
};

static struct event *add(struct reply *reply, enum event_kind kind)
{
    assert(reply->n < EVENTS_MAX);
    struct event *event = &reply->events[reply->n++];
    *event = (struct event){.kind = kind, .block = EVENT_NO_BLOCK};
    return event;
}

static struct event *add_block(struct reply *reply, enum block_kind kind)
{
    struct event *event = add(reply, EVENT_BLOCK_BEGIN);

    event->block = reply->block;
    event->begin.kind = kind;
    event->begin.index = EVENT_NO_INDEX;
    return event;
}

static void end_block(struct reply *reply, enum event_kind kind, struct str text)
{
    struct event *event = add(reply, kind);

    event->block = reply->block;
    event->text = text;
    add(reply, EVENT_BLOCK_END)->block = reply->block++;
}

/* --- who asks ---------------------------------------------------------------------------- */

static bool names_client(struct str text)
{
    return str_find(text, STR("Cline"), 0) != SIZE_MAX || str_find(text, STR("Roo"), 0) != SIZE_MAX;
}

/* The request offers tools; *ret_completion: the one that such clients end with is among them. */
static bool offers_tools(const struct request *request, bool *ret_completion)
{
    const struct json_member *tools = json_index_find(&request->index, STR("tools"));
    struct str first;
    size_t cursor = 0;

    *ret_completion = false;
    if (tools == NULL || json_kind_of(tools->value) != JSON_ARRAY ||
        !json_array_next(tools->value, &cursor, &first))
        return false;
    *ret_completion = str_find(tools->value, STR("\"" COMMAND_REPLY_TOOL "\""), 0) != SIZE_MAX;
    return true;
}

/* By the system text. */
static bool wants_tool(const struct call *call, bool offered)
{
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;
    struct outline_text text;

    while (call->intake.protocol->outline_next(&call->request, &cursor, &turn)) {
        size_t at = 0;
        if (turn.role != ROLE_SYSTEM && turn.role != ROLE_DEVELOPER)
            continue;
        while (outline_text_next(turn.content, &at, &text)) {
            struct str said = json_string_value(text.string, call->arena);
            if (spot_wants_tool(said) || (offered && names_client(said)))
                return true;
        }
    }
    return false;
}

/* --- what is said ------------------------------------------------------------------------ */

static void add_text(struct reply *reply, struct str text)
{
    (void)add_block(reply, BLOCK_TEXT);
    end_block(reply, EVENT_TEXT, text);
}

static void add_call(struct call *call, struct reply *reply, struct str text)
{
    struct event *begin = add_block(reply, BLOCK_TOOL);

    begin->begin.id = str_print(call->arena, "call_%.*s", STR_ARG(call->request_id));
    begin->begin.name = STR(COMMAND_REPLY_TOOL);
    end_block(reply, EVENT_TOOL_ARGS,
              str_print(call->arena, "{\"result\":%.*s}", STR_ARG(json_quote(text, call->arena))));
}

static struct str model_of(const struct call *call)
{
    const struct backend *backend = pipeline_default_backend(call);

    if (!str_is_null(call->request.model))
        return call->request.model;
    if (call->settings != NULL && !str_is_null(call->settings->model))
        return call->settings->model;
    return backend == NULL ? STR_NULL : backend->default_model;
}

void command_reply_send(struct call *call, struct str text)
{
    struct reply reply = {.n = 0};
    bool anthropic = str_eq(str_c(call->intake.protocol->name), STR("anthropic"));
    bool completes = false;
    bool tools = offers_tools(&call->request, &completes);
    /* Newer ones of these clients offer other tools, and refuse a call of what they do not. */
    bool as_tool = (completes || !tools) && wants_tool(call, completes);

    struct event *start = add(&reply, EVENT_START);
    start->start.id = anthropic ? STR("msg_proxy_cmd_processed") : STR("proxy_cmd_processed");
    start->start.model = model_of(call);
    start->start.created_s = call->now_ms / 1000;
    if (!as_tool)
        add_text(&reply, text);
    else if (!tools) /* it reads its calls from the text */
        add_text(&reply, str_print(call->arena,
                                   "<" COMMAND_REPLY_TOOL ">\n<result>\n%.*s\n</result>\n"
                                   "</" COMMAND_REPLY_TOOL ">",
                                   STR_ARG(text)));
    if (as_tool)
        add_call(call, &reply, text);
    add(&reply, EVENT_USAGE)->usage = (struct usage){0, 0, 0, 0, 0, 0};
    struct event *stop = add(&reply, EVENT_STOP);
    stop->stop.reason = as_tool ? STOP_TOOL : STOP_END;
    if (arena_overflowed(call->arena))
        return; /* the gateway asks, too, and answers that */
    struct frame frame = {.events = reply.events, .n = reply.n};
    pipeline_reply(call, &frame);
}
