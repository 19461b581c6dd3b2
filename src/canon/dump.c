/* SPDX-License-Identifier: MIT */
#include "canon/dump.h"

#include "text/json.h"

enum { LINE_DEPTH_MAX = 8 };

/* --- writing members ---------------------------------------------------------------------- */

/* After '{' or '[' comes no comma. */
static void comma(struct buf *out)
{
    if (out->n > 0 && out->p[out->n - 1] != '{' && out->p[out->n - 1] != '[')
        buf_add_char(out, ',');
}

static void add_key(struct buf *out, const char *key)
{
    comma(out);
    json_add_string(out, str_c(key));
    buf_add_char(out, ':');
}

static void add_str(struct buf *out, const char *key, struct str value)
{
    if (str_is_null(value))
        return;
    add_key(out, key);
    json_add_string(out, value);
}

/* value is JSON text. */
static void add_json(struct buf *out, const char *key, struct str value)
{
    if (str_is_null(value))
        return;
    add_key(out, key);
    buf_add(out, value);
}

static void add_int(struct buf *out, const char *key, int64_t value, int64_t neutral)
{
    if (value == neutral)
        return;
    add_key(out, key);
    buf_add_int64(out, value);
}

static void add_true(struct buf *out, const char *key, bool value)
{
    if (value)
        add_json(out, key, STR("true"));
}

static void add_open(struct buf *out, const char *key, char bracket)
{
    add_key(out, key);
    buf_add_char(out, bracket);
}

/* --- events ------------------------------------------------------------------------------- */

static void dump_begin(struct buf *out, const struct event *event)
{
    add_str(out, "block_kind", str_c(event_block_name(event->begin.kind)));
    add_str(out, "id", event->begin.id);
    add_str(out, "name", event->begin.name);
    add_true(out, "custom", event->begin.custom);
    add_true(out, "legacy", event->begin.legacy);
    add_int(out, "index", event->begin.index, EVENT_NO_INDEX);
}

static void dump_usage(struct buf *out, const struct usage *usage)
{
    add_int(out, "input", usage->input, -1);
    add_int(out, "output", usage->output, -1);
    add_int(out, "total", usage->total, -1);
    add_int(out, "cached", usage->cached, -1);
    add_int(out, "cache_written", usage->cache_written, -1);
    add_int(out, "reasoning", usage->reasoning, -1);
}

static void dump_kind(struct buf *out, const struct event *event)
{
    switch (event->kind) {
    case EVENT_START:
        add_str(out, "id", event->start.id);
        add_str(out, "model", event->start.model);
        add_int(out, "created", event->start.created_s, 0);
        return;
    case EVENT_BLOCK_BEGIN:
        dump_begin(out, event);
        return;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
        add_str(out, "text", event->text);
        return;
    case EVENT_USAGE:
        dump_usage(out, &event->usage);
        return;
    case EVENT_STOP:
        add_str(out, "reason", str_c(event_stop_name(event->stop.reason)));
        add_str(out, "native", event->stop.native);
        add_str(out, "sequence", event->stop.sequence);
        return;
    case EVENT_ERROR:
        add_int(out, "status", event->error.status, 0);
        add_str(out, "type", event->error.type);
        add_str(out, "code", event->error.code);
        add_str(out, "message", event->error.message);
        return;
    case EVENT_BLOCK_END:
    case EVENT_KEEPALIVE:
        return;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

bool dump_event(struct buf *out, const struct event *event)
{
    buf_add_char(out, '{');
    add_str(out, "kind", str_c(event_kind_name(event->kind)));
    add_int(out, "choice", event->choice, 0);
    add_int(out, "block", event->block, EVENT_NO_BLOCK);
    dump_kind(out, event);
    buf_add_char(out, '}');
    return buf_ok(out);
}

/* --- events, read ------------------------------------------------------------------------- */

/* Names of an enumeration's members by number. */
typedef const char *name_fn(uint32_t number);

static const char *kind_name(uint32_t number)
{
    return event_kind_name((enum event_kind)number);
}

static const char *block_name(uint32_t number)
{
    return event_block_name((enum block_kind)number);
}

static const char *reason_name(uint32_t number)
{
    return event_stop_name((enum stop_reason)number);
}

/* The number that has this name; count when none has. */
static uint32_t read_name(struct str name, uint32_t count, name_fn *name_of)
{
    uint32_t number = 0;

    while (number < count && !str_eq(name, str_c(name_of(number))))
        number++;
    return number;
}

static int64_t read_int(yyjson_val *object, struct str key, int64_t neutral)
{
    int64_t value;

    return json_to_int64(json_get(object, key), &value) ? value : neutral;
}

static bool read_flag(yyjson_val *object, struct str key)
{
    return yyjson_is_true(json_get(object, key));
}

static bool read_begin(yyjson_val *object, struct event *event)
{
    uint32_t kind = read_name(json_get_str(object, STR("block_kind")), BLOCK_KIND_COUNT,
                              block_name);

    if (kind == BLOCK_KIND_COUNT)
        return false;
    event->begin.kind = (enum block_kind)kind;
    event->begin.id = json_get_str(object, STR("id"));
    event->begin.name = json_get_str(object, STR("name"));
    event->begin.custom = read_flag(object, STR("custom"));
    event->begin.legacy = read_flag(object, STR("legacy"));
    event->begin.index = (uint32_t)read_int(object, STR("index"), EVENT_NO_INDEX);
    return true;
}

static bool read_stop(yyjson_val *object, struct event *event)
{
    uint32_t reason = read_name(json_get_str(object, STR("reason")), STOP_REASON_COUNT,
                                reason_name);

    if (reason == STOP_REASON_COUNT)
        return false;
    event->stop.reason = (enum stop_reason)reason;
    event->stop.native = json_get_str(object, STR("native"));
    event->stop.sequence = json_get_str(object, STR("sequence"));
    return true;
}

static void read_usage(yyjson_val *object, struct usage *usage)
{
    usage->input = read_int(object, STR("input"), -1);
    usage->output = read_int(object, STR("output"), -1);
    usage->total = read_int(object, STR("total"), -1);
    usage->cached = read_int(object, STR("cached"), -1);
    usage->cache_written = read_int(object, STR("cache_written"), -1);
    usage->reasoning = read_int(object, STR("reasoning"), -1);
}

static bool read_kind(yyjson_val *object, struct event *event)
{
    switch (event->kind) {
    case EVENT_START:
        event->start.id = json_get_str(object, STR("id"));
        event->start.model = json_get_str(object, STR("model"));
        event->start.created_s = read_int(object, STR("created"), 0);
        return true;
    case EVENT_BLOCK_BEGIN:
        return read_begin(object, event);
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
        event->text = json_get_str(object, STR("text"));
        return !str_is_null(event->text);
    case EVENT_USAGE:
        read_usage(object, &event->usage);
        return true;
    case EVENT_STOP:
        return read_stop(object, event);
    case EVENT_ERROR:
        event->error.status = (int)read_int(object, STR("status"), 0);
        event->error.type = json_get_str(object, STR("type"));
        event->error.code = json_get_str(object, STR("code"));
        event->error.message = json_get_str(object, STR("message"));
        return true;
    case EVENT_BLOCK_END:
    case EVENT_KEEPALIVE:
        return true;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

enum error_code dump_event_read(struct str line, struct arena *arena, struct event *ret_event,
                                struct error *e)
{
    const struct json_read_options options = {.depth_max = LINE_DEPTH_MAX};
    struct error why = {0};
    yyjson_val *object = json_read(line, &options, arena, &why);
    struct event event = {0};

    if (object == NULL)
        return FAIL(e, ERR_INTERNAL, "event: %s", why.detail);
    uint32_t kind = read_name(json_get_str(object, STR("kind")), EVENT_KIND_COUNT, kind_name);
    if (kind == EVENT_KIND_COUNT)
        return FAIL(e, ERR_INTERNAL, "event: no kind that there is");
    event.kind = (enum event_kind)kind;
    event.choice = (uint32_t)read_int(object, STR("choice"), 0);
    event.block = (uint32_t)read_int(object, STR("block"), EVENT_NO_BLOCK);
    if (!read_kind(object, &event))
        return FAIL(e, ERR_INTERNAL, "event %s: a member is missing", event_kind_name(event.kind));
    *ret_event = event;
    return OK;
}

/* --- requests ----------------------------------------------------------------------------- */

static void dump_extra_of(struct buf *out, const struct extra *extra, bool inner)
{
    assert(out->n > 0 && !str_is_null(extra->key));
    for (; extra != NULL; extra = extra->next) {
        if (extra->inner != inner)
            continue;
        comma(out);
        buf_add_char(out, '{');
        add_str(out, "key", extra->key);
        add_json(out, "value", extra->value);
        add_true(out, "inner", extra->inner);
        buf_add_char(out, '}');
    }
}

/* The order counts within each object, not between the two. */
static void dump_extra(struct buf *out, const struct extra *extra)
{
    if (extra == NULL)
        return;
    add_open(out, "extra", '[');
    dump_extra_of(out, extra, false);
    dump_extra_of(out, extra, true);
    buf_add_char(out, ']');
}

/* Without its brackets and what it holds. */
static void dump_part_members(struct buf *out, const struct part *part)
{
    add_str(out, "kind", str_c(request_part_name(part->kind)));
    add_str(out, "text", part->text);
    add_str(out, "id", part->id);
    add_str(out, "name", part->name);
    add_str(out, "media_type", part->media_type);
    add_str(out, "data", part->data);
    add_str(out, "detail", part->detail);
    add_true(out, "is_url", part->is_url);
    add_str(out, "signature", part->signature);
    add_str(out, "vendor", part->vendor);
    add_json(out, "cache", part->cache);
    add_json(out, "citations", part->citations);
    add_true(out, "custom", part->custom);
    add_true(out, "is_error", part->is_error);
    add_true(out, "redacted", part->redacted);
    add_true(out, "summary", part->summary);
    add_true(out, "was_text", part->was_text);
    if (part->kind == PART_VENDOR)
        add_json(out, "source", part->source);
    dump_extra(out, part->extra);
}

static void dump_inner_part(struct buf *out, const struct part *part)
{
    comma(out);
    buf_add_char(out, '{');
    dump_part_members(out, part);
    buf_add_char(out, '}');
}

static void dump_part(struct buf *out, const struct part *part)
{
    comma(out);
    buf_add_char(out, '{');
    dump_part_members(out, part);
    if (part->parts != NULL) {
        add_open(out, "parts", '[');
        for (const struct part *inner = part->parts; inner != NULL; inner = inner->next)
            dump_inner_part(out, inner);
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}

static void dump_turn(struct buf *out, const struct turn *turn)
{
    comma(out);
    buf_add_char(out, '{');
    add_str(out, "role", str_c(request_role_name(turn->role)));
    add_str(out, "name", turn->name);
    add_str(out, "phase", turn->phase);
    add_true(out, "content_was_text", turn->content_was_text);
    add_true(out, "content_was_null", turn->content_was_null);
    add_open(out, "parts", '[');
    for (const struct part *part = turn->parts; part != NULL; part = part->next)
        dump_part(out, part);
    buf_add_char(out, ']');
    dump_extra(out, turn->extra);
    buf_add_char(out, '}');
}

static void dump_tool(struct buf *out, const struct tool *tool)
{
    comma(out);
    buf_add_char(out, '{');
    add_str(out, "name", tool->name);
    add_true(out, "custom", tool->custom);
    if (tool->vendor)
        add_json(out, "source", tool->source);
    add_str(out, "description", tool->description);
    add_json(out, "schema", tool->schema);
    add_json(out, "format", tool->format);
    add_json(out, "cache", tool->cache);
    add_str(out, "space", tool->space);
    add_int(out, "strict", tool->strict, -1);
    dump_extra(out, tool->extra);
    buf_add_char(out, '}');
}

static const char *tool_choice_name(enum tool_choice_kind kind)
{
    switch (kind) {
    case TOOL_CHOICE_ABSENT:
        return NULL;
    case TOOL_CHOICE_AUTO:
        return "auto";
    case TOOL_CHOICE_NONE:
        return "none";
    case TOOL_CHOICE_REQUIRED:
        return "required";
    case TOOL_CHOICE_NAMED:
        return "named";
    case TOOL_CHOICE_SUBSET:
        return "subset";
    case TOOL_CHOICE_OTHER:
        return "other";
    }
    BUG("no such tool choice");
}

static const char *reasoning_name(enum reasoning_mode mode)
{
    switch (mode) {
    case REASONING_ABSENT:
        return NULL;
    case REASONING_OFF:
        return "off";
    case REASONING_EFFORT:
        return "effort";
    case REASONING_BUDGET:
        return "budget";
    case REASONING_DYNAMIC:
        return "dynamic";
    case REASONING_MODE_COUNT:
        break;
    }
    BUG("no such mode of reasoning");
}

static void dump_strings(struct buf *out, const char *key, const struct str *strings, size_t n)
{
    if (n == 0)
        return;
    add_open(out, key, '[');
    for (size_t i = 0; i < n; i++) {
        comma(out);
        json_add_string(out, strings[i]);
    }
    buf_add_char(out, ']');
}

static void dump_reasoning(struct buf *out, const struct params *params)
{
    add_str(out, "reasoning", str_c(reasoning_name(params->reasoning)));
    add_str(out, "reasoning_effort", params->reasoning_effort);
    add_json(out, "reasoning_budget", params->reasoning_budget);
    add_str(out, "reasoning_summary", params->reasoning_summary);
    add_int(out, "reasoning_visible", params->reasoning_visible, -1);
}

static void dump_format(struct buf *out, const struct format *format)
{
    if (format->kind == FORMAT_ABSENT)
        return;
    add_open(out, "format", '{');
    add_str(out, "kind", format->kind == FORMAT_JSON ? STR("json") : STR("schema"));
    add_str(out, "name", format->name);
    add_str(out, "description", format->description);
    add_json(out, "schema", format->schema);
    add_int(out, "strict", format->strict, -1);
    buf_add_char(out, '}');
}

static void dump_params(struct buf *out, const struct params *params)
{
    add_open(out, "params", '{');
    add_json(out, "max_tokens", params->max_tokens);
    add_true(out, "max_tokens_was_legacy", params->max_tokens_was_legacy);
    add_json(out, "temperature", params->temperature);
    add_json(out, "top_p", params->top_p);
    add_json(out, "top_k", params->top_k);
    add_json(out, "n", params->n);
    add_json(out, "frequency_penalty", params->frequency_penalty);
    add_json(out, "presence_penalty", params->presence_penalty);
    add_json(out, "seed", params->seed);
    add_json(out, "top_logprobs", params->top_logprobs);
    add_int(out, "logprobs", params->logprobs, -1);
    add_int(out, "parallel_tool_calls", params->parallel_tool_calls, -1);
    dump_strings(out, "stop", params->stop, params->stop_n);
    dump_reasoning(out, params);
    add_str(out, "verbosity", params->verbosity);
    add_str(out, "service_tier", params->service_tier);
    add_str(out, "user", params->user);
    add_json(out, "metadata", params->metadata);
    add_int(out, "store", params->store, -1);
    add_str(out, "cache_key", params->cache_key);
    dump_format(out, &params->format);
    buf_add_char(out, '}');
}

bool dump_request(struct buf *out, const struct request *request)
{
    assert(request->full);
    buf_add_char(out, '{');
    add_str(out, "model", request->model);
    add_true(out, "stream", request->stream);
    add_int(out, "include_usage", request->include_usage, -1);
    add_str(out, "session_id", request->session_id);
    add_true(out, "array", request->array);
    add_str(out, "previous", request->previous);
    add_open(out, "turns", '[');
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next)
        dump_turn(out, turn);
    buf_add_char(out, ']');
    add_open(out, "tools", '[');
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next)
        dump_tool(out, tool);
    buf_add_char(out, ']');
    add_str(out, "tool_choice", str_c(tool_choice_name(request->tool_choice)));
    dump_strings(out, "tool_choice_names", request->tool_choice_names,
                 request->tool_choice_names_n);
    add_true(out, "tool_choice_required", request->tool_choice_required);
    if (request->tool_choice == TOOL_CHOICE_OTHER)
        add_json(out, "tool_choice_source", request->tool_choice_source);
    dump_params(out, &request->params);
    add_str(out, "bound", request->bound);
    dump_extra(out, request->extra);
    buf_add_char(out, '}');
    return buf_ok(out);
}
