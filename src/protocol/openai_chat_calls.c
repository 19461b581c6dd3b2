/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: calls of tools, of a message or of the deltas of a stream.
 *
 * What      Which call a delta goes on with, and its events; whatever of index, id and name the
 *           vendor says or leaves out (quirks.md, section 1).
 * How       A call is known by its index (else its position), the newest first; an id that is new
 *           at an old index is a new call. It begins when its name is known; what came of its
 *           arguments before that waits. Calls interleave: they stay open until the choice stops.
 *           What says more than arguments counts d->version up: that is what templates rely on.
 * Owns      The calls of a choice, in the answer's arena.
 * Not here  The rest of a message (openai_chat_delta.c), calls of requests (openai_chat_request.c).
 */
#include "protocol/openai_chat_decode_priv.h"

/* What one delta says of a call. */
struct tool_delta {
    uint32_t index;
    bool index_said;
    bool custom;
    bool legacy;
    bool finishing; /* in the chunk with the finish reason */
    bool type_said; /* that it is a function's, or a custom tool's */
    bool odd_args;  /* no string */
    struct str id;
    struct str name;
    struct str args;
    struct str signature; /* null: none */
};

static struct openai_chat_tool *tool_by_id(struct openai_chat_choice *c, struct str id)
{
    for (struct openai_chat_tool *tool = c->tools; tool != NULL; tool = tool->next) {
        if (str_eq(tool->id, id))
            return tool;
    }
    return NULL;
}

/* The newest of that index. */
static struct openai_chat_tool *tool_by_index(struct openai_chat_choice *c,
                                              const struct tool_delta *delta)
{
    struct openai_chat_tool *newest = NULL;

    for (struct openai_chat_tool *tool = c->tools; tool != NULL; tool = tool->next) {
        if (tool->wire_index == delta->index && tool->legacy == delta->legacy)
            newest = tool;
    }
    return newest;
}

/* By an id at a new index. Some give all calls the same id: with a name and an index of its own it
 * is another call. */
static struct openai_chat_tool *tool_by_id_alone(struct openai_chat_choice *c,
                                                 const struct tool_delta *delta)
{
    struct openai_chat_tool *tool = tool_by_id(c, delta->id);
    bool another = tool != NULL && tool->name.n > 0 && delta->name.n > 0 && tool->index_said &&
                   delta->index_said;

    return another ? NULL : tool;
}

/* By an id that is not the newest's, at its index. Some give each piece of a call an id of its own:
 * what begins one has a name. */
static struct openai_chat_tool *tool_by_other_id(struct openai_chat_choice *c,
                                                 const struct tool_delta *delta,
                                                 struct openai_chat_tool *newest)
{
    struct openai_chat_tool *other = tool_by_id(c, delta->id);
    bool piece = delta->name.n == 0 && delta->args.n > 0 && newest->name.n > 0;

    return other == NULL && piece ? newest : other;
}

/* The call that the delta goes on with; NULL: it begins one. */
static struct openai_chat_tool *tool_find(struct openai_chat_choice *c,
                                          const struct tool_delta *delta)
{
    struct openai_chat_tool *newest = tool_by_index(c, delta);

    if (newest == NULL && delta->id.n > 0)
        return tool_by_id_alone(c, delta);
    if (newest == NULL)
        return NULL;
    if (delta->id.n > 0 && newest->id.n > 0)
        return str_eq(delta->id, newest->id) ? newest : tool_by_other_id(c, delta, newest);

    if (delta->name.n == 0 || newest->name.n == 0)
        return newest;
    if (!str_eq(delta->name, newest->name))
        return NULL;
    if (newest->args_n == 0)
        return newest;
    /* Whole calls, one a chunk, without id or index: only their arguments tell them apart. */
    bool anew = delta->id.n > 0 || (!delta->index_said && str_starts(delta->args, STR("{")));
    return anew ? NULL : newest;
}

static struct openai_chat_tool *tool_new(struct openai_chat_decoder *d,
                                         struct openai_chat_choice *c,
                                         const struct tool_delta *delta)
{
    struct openai_chat_tool *tool = ARENA_NEW(d->options.arena, struct openai_chat_tool);
    struct openai_chat_tool **to = &c->tools;
    uint32_t count = 0;

    assert(delta->id.n > 0 || delta->name.n > 0 || delta->args.n > 0);
    for (; *to != NULL; to = &(*to)->next)
        count++;
    if (count >= OPENAI_CHAT_BLOCKS_MAX)
        d->too_many = true;
    if (d->too_many || arena_overflowed(d->options.arena))
        return NULL;
    tool->wire_index = delta->index;
    tool->index_said = delta->index_said;
    tool->custom = delta->custom;
    tool->legacy = delta->legacy;
    tool->block = EVENT_NO_BLOCK;
    tool->args_hash = OPENAI_CHAT_HASH_BEGIN;
    *to = tool;
    d->version++;
    return tool;
}

static void tool_begin(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                       struct openai_chat_tool *tool)
{
    assert(tool->block == EVENT_NO_BLOCK);
    openai_chat_emit_close(d, c);
    tool->block = openai_chat_emit_begin(d, c, BLOCK_TOOL, tool->name);
    if (!tool->legacy)
        tool->number = c->numbers++;
    if (tool->block == EVENT_NO_BLOCK || d->n == 0)
        return;

    struct event *event = &d->events[d->n - 1];
    assert(event->kind == EVENT_BLOCK_BEGIN || arena_overflowed(d->options.scratch));
    event->begin.id = tool->id.n > 0 ? tool->id
                                     : str_print(d->options.arena, "call_%08x%02x%04x", d->id_hash,
                                                 c->index, d->synthetic_ids++);
    event->begin.custom = tool->custom;
    event->begin.legacy = tool->legacy;
    event->begin.index = tool->index_said ? tool->wire_index : EVENT_NO_INDEX;
    /* What the client has seen is mended. */
    if (d->options.mend && !tool->legacy)
        event->begin.index = tool->number;
    if (tool->waiting.n > 0)
        openai_chat_emit_text(d, EVENT_TOOL_ARGS, c->index, tool->block, tool->waiting);
    tool->waiting = STR_NULL;
}

/* Whether the delta says the whole call again that was streamed before (quirk 9). */
static bool tool_said_again(const struct openai_chat_tool *tool, const struct tool_delta *delta)
{
    struct openai_chat_tool again = {.args_hash = OPENAI_CHAT_HASH_BEGIN};

    if (!delta->finishing || delta->name.n == 0 || delta->args.n != tool->args_n)
        return false;
    openai_chat_delta_count_args(&again, delta->args);
    return again.args_hash == tool->args_hash;
}

/* The call that the delta is of, new where it begins one; NULL: it says nothing. */
static struct openai_chat_tool *tool_of(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                                        const struct tool_delta *delta)
{
    /* In a whole message each element of the list is a call. */
    struct openai_chat_tool *tool = d->options.stream ? tool_find(c, delta) : NULL;

    if (tool != NULL)
        return tool_said_again(tool, delta) ? NULL : tool;
    /* Some send empty calls with every answer. */
    if (delta->id.n == 0 && delta->name.n == 0 && delta->args.n == 0)
        return NULL;
    return tool_new(d, c, delta);
}

static void tool_name(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                      struct openai_chat_tool *tool, const struct tool_delta *delta)
{
    if (tool->id.n == 0 && delta->id.n > 0) {
        tool->id = str_copy(d->options.arena, delta->id);
        d->version++;
    }
    if (tool->name.n == 0 && delta->name.n > 0) {
        tool->name = str_copy(d->options.arena, delta->name);
        d->version++;
    }
    if (tool->block == EVENT_NO_BLOCK && tool->name.n > 0)
        tool_begin(d, c, tool);
}

/* Google's: each call of theirs is signed once, at its begin. */
static void tool_sign(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                      struct openai_chat_tool *tool, struct str signature)
{
    if (signature.n == 0 || tool->signature_said || tool->block == EVENT_NO_BLOCK)
        return;
    openai_chat_emit_text(d, EVENT_SIGNATURE, c->index, tool->block, signature);
    tool->signature_said = true;
    d->version++;
}

/* Whether a client that knows the protocol alone would take the delta for something else. begins:
 * the call did, with it. */
static bool tool_is_misread(const struct openai_chat_decoder *d,
                            const struct openai_chat_tool *tool, const struct tool_delta *delta,
                            bool begins)
{
    if (tool == NULL || tool->block == EVENT_NO_BLOCK || delta->odd_args)
        return true;
    if (d->options.stream && (!delta->index_said || delta->index != tool->number))
        return true;
    if (begins)
        return delta->id.n == 0 || !delta->type_said;
    /* What stands there a second time is joined to the first. */
    return delta->id.n > 0 || delta->name.n > 0;
}

static void tool_delta_apply(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                             const struct tool_delta *delta)
{
    struct openai_chat_tool *tool = tool_of(d, c, delta);
    bool begun = tool != NULL && tool->block != EVENT_NO_BLOCK;
    bool waited = tool != NULL && tool->waiting.n > 0;

    d->place.known = false;
    if (tool != NULL)
        tool_name(d, c, tool, delta);
    if (d->options.mend && !delta->legacy && (waited || tool_is_misread(d, tool, delta, !begun)))
        d->calls_wrong = true;
    if (tool == NULL)
        return;
    tool_sign(d, c, tool, delta->signature);
    if (delta->args.n == 0)
        return;
    openai_chat_delta_count_args(tool, delta->args);
    if (tool->block != EVENT_NO_BLOCK) {
        openai_chat_emit_text(d, EVENT_TOOL_ARGS, c->index, tool->block, delta->args);
        d->place.tool = tool;
        /* With an id or a name, which call is meant depends on more than the index. */
        d->place.known = delta->id.n == 0 && delta->name.n == 0 && !delta->legacy;
        return;
    }
    tool->waiting = openai_chat_join(d->options.arena, tool->waiting, delta->args);
    d->version++;
}

/* function.arguments or custom.input: a string; vendors have sent objects. */
static struct str read_args(struct openai_chat_decoder *d, yyjson_val *v)
{
    if (yyjson_is_obj(v))
        return json_text(v, d->options.scratch);
    return openai_chat_text_of(d, v);
}

static void read_tool_call(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                           yyjson_val *call, size_t at, bool finishing)
{
    yyjson_val *function = json_get(call, STR("function"));
    yyjson_val *custom = json_get(call, STR("custom"));
    bool is_custom = yyjson_is_obj(custom) && !yyjson_is_obj(function);
    yyjson_val *inner = is_custom ? custom : function;
    struct tool_delta delta = {.custom = is_custom, .finishing = finishing};
    int64_t index;

    if (!yyjson_is_obj(call)) {
        d->calls_wrong = true;
        return;
    }
    delta.index_said = json_to_int64(json_get(call, STR("index")), &index) && index >= 0 &&
                       index < EVENT_NO_INDEX;
    delta.index = delta.index_said ? (uint32_t)index : (uint32_t)at;
    delta.id = openai_chat_member_text(d, call, "id");
    delta.name = openai_chat_member_text(d, inner, "name");
    yyjson_val *args = json_get(inner, is_custom ? STR("input") : STR("arguments"));
    struct str type = json_get_str(call, STR("type"));
    delta.args = read_args(d, args);
    delta.odd_args = args != NULL && !yyjson_is_str(args) && !yyjson_is_null(args);
    delta.odd_args |= !d->options.stream && !yyjson_is_str(args);
    delta.type_said = str_eq(type, is_custom ? STR("custom") : STR("function"));
    yyjson_val *google = json_get(json_get(call, STR("extra_content")), STR("google"));
    delta.signature = openai_chat_member_text(d, google, "thought_signature");
    d->place.tool_at = at;
    d->place.inner = is_custom ? "custom" : "function";
    d->place.member = is_custom ? "input" : "arguments";
    tool_delta_apply(d, c, &delta);
}

void openai_chat_calls_read(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                            yyjson_val *message, bool finishing)
{
    yyjson_val *calls = openai_chat_member(d, message, STR("tool_calls"));
    yyjson_val *legacy = openai_chat_member(d, message, STR("function_call"));
    size_t at;
    size_t count;
    yyjson_val *call;

    yyjson_arr_foreach(calls, at, count, call)
    {
        read_tool_call(d, c, call, at, finishing);
    }
    if (yyjson_is_obj(legacy)) {
        struct tool_delta delta = {
            .index = 0,
            .legacy = true,
            .finishing = finishing,
            .name = openai_chat_member_text(d, legacy, "name"),
            .args = read_args(d, json_get(legacy, STR("arguments"))),
        };
        tool_delta_apply(d, c, &delta);
    }
}

void openai_chat_calls_end(struct openai_chat_decoder *d, struct openai_chat_choice *c)
{
    for (struct openai_chat_tool *tool = c->tools; tool != NULL; tool = tool->next) {
        if (tool->block == EVENT_NO_BLOCK) {
            tool_begin(d, c, tool);
            d->calls_wrong = true;
        }
        if (tool->block != EVENT_NO_BLOCK)
            openai_chat_emit(d, EVENT_BLOCK_END, c->index, tool->block);
    }
}
