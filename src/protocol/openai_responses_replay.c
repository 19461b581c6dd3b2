/* SPDX-License-Identifier: MIT */
/*
 * What      A response that is complete, said again as the stream of its events
 *           (openai-responses.md, 8.1).
 * How       The object's own text is what the events are made of: ids and arguments, and members
 *           that we do not know, are as they were. Each text comes as one delta. Numbers are those
 *           of this stream: how the text was cut the first time nobody knows any more.
 * Owns      Nothing.
 * Not here  Streams that are made of events (openai_responses_encode.c).
 */
#include "protocol/openai_responses_replay.h"

#include "text/json_index.h"

struct replay {
    struct buf *out;
    struct arena *arena; /* keys with escapes */
    int64_t n;           /* of the next event */
    int64_t after;       /* those up to it are left out */
    size_t item_index;
    struct str item_id; /* with its quotes */
    size_t data;        /* where the event's data begin */
};

/* A value of an object that becomes another one. */
struct instead {
    const char *key;
    const char *value; /* NULL: the member goes */
};

/* --- events --- */

/* False: it is left out. */
static bool begin(struct replay *r, const char *type)
{
    int64_t n = r->n++;

    if (n <= r->after)
        return false;
    buf_print(r->out, "event: %s\ndata: ", type);
    r->data = r->out->n;
    buf_print(r->out, "{\"type\":\"%s\",\"sequence_number\":%lld", type, (long long)n);
    return true;
}

/* A line's end in JSON is a blank; in an event it would end the data. */
static void end(struct replay *r)
{
    buf_add(r->out, STR("}"));
    if (buf_ok(r->out)) {
        for (char *p = r->out->p + r->data; p < r->out->p + r->out->n; p++) {
            if (*p == '\n' || *p == '\r')
                *p = ' ';
        }
    }
    buf_add(r->out, STR("\n\n"));
}

static void add_member(struct replay *r, const char *key, struct str value)
{
    buf_print(r->out, ",\"%s\":", key);
    buf_add(r->out, value);
}

static void add_place(struct replay *r, const char *index_key, size_t index)
{
    add_member(r, "item_id", r->item_id);
    buf_print(r->out, ",\"output_index\":%zu", r->item_index);
    if (index_key != NULL)
        buf_print(r->out, ",\"%s\":%zu", index_key, index);
}

/* The object with some of its members' values in others' places. */
static void add_skeleton(struct replay *r, struct str object, const struct instead *rows)
{
    struct json_member member;
    size_t cursor = 0;
    bool some = false;

    buf_add(r->out, STR("{"));
    while (json_object_next(object, &cursor, r->arena, &member)) {
        const struct instead *row = rows;
        while (row->key != NULL && !str_eq(member.key, str_c(row->key)))
            row++;
        if (row->key != NULL && row->value == NULL)
            continue;
        buf_add(r->out, some ? STR(",") : STR(""));
        some = true;
        size_t key_n = (size_t)(member.value.p - object.p) - member.begin;
        buf_add(r->out, str_of(object.p + member.begin, key_n));
        buf_add(r->out, row->key != NULL ? str_c(row->value) : member.value);
    }
    buf_add(r->out, STR("}"));
}

static struct str text_or_empty(struct str value)
{
    return value.n >= 2 && value.p[0] == '"' ? value : STR("\"\"");
}

static struct str list_or_empty(struct str value)
{
    return value.n >= 2 && value.p[0] == '[' ? value : STR("[]");
}

/* --- texts --- */

/* How a text of an item is told. */
struct way {
    const char *delta;
    const char *done;
    const char *index_key; /* NULL: the item has but one */
    const char *key;       /* of the whole in `done` */
    bool logprobs;
};

static void add_text(struct replay *r, const struct way *way, size_t index, struct str text,
                     struct str logprobs)
{
    if (text.n > 2 && begin(r, way->delta)) {
        add_place(r, way->index_key, index);
        add_member(r, "delta", text);
        if (way->logprobs)
            add_member(r, "logprobs", logprobs);
        end(r);
    }
}

/* name: of the tool, null without one. */
static void add_text_done(struct replay *r, const struct way *way, size_t index, struct str text,
                          struct str logprobs, struct str name)
{
    if (!begin(r, way->done))
        return;
    add_place(r, way->index_key, index);
    if (!str_is_null(name))
        add_member(r, "name", name);
    add_member(r, way->key, text);
    if (way->logprobs)
        add_member(r, "logprobs", logprobs);
    end(r);
}

static void add_annotations(struct replay *r, size_t content_index, struct str annotations)
{
    struct str annotation;
    size_t cursor = 0;

    for (size_t i = 0; json_array_next(annotations, &cursor, &annotation); i++) {
        if (!begin(r, "response.output_text.annotation.added"))
            continue;
        add_place(r, "content_index", content_index);
        buf_print(r->out, ",\"annotation_index\":%zu", i);
        add_member(r, "annotation", annotation);
        end(r);
    }
}

/* --- parts --- */

/* A part of an item: added ─ its text ─ done. */
static void add_part(struct replay *r, struct str part, size_t i)
{
    static const struct way text_way = {"response.output_text.delta", "response.output_text.done",
                                        "content_index", "text", true};
    static const struct way refusal_way = {"response.refusal.delta", "response.refusal.done",
                                           "content_index", "refusal", false};
    static const struct way thought_way = {"response.reasoning_text.delta",
                                           "response.reasoning_text.done", "content_index", "text",
                                           false};
    static const struct instead empty[] = {{"text", "\"\""},
                                           {"refusal", "\"\""},
                                           {"annotations", "[]"},
                                           {"logprobs", "[]"},
                                           {NULL, NULL}};
    struct str type = json_object_find(part, STR("type"));
    bool refusal = str_eq(type, STR("\"refusal\""));
    const struct way *way = refusal                                   ? &refusal_way
                            : str_eq(type, STR("\"reasoning_text\"")) ? &thought_way
                                                                      : &text_way;
    struct str text = text_or_empty(json_object_find(part, str_c(way->key)));
    struct str logprobs = list_or_empty(json_object_find(part, STR("logprobs")));

    if (begin(r, "response.content_part.added")) {
        add_place(r, "content_index", i);
        buf_add(r->out, STR(",\"part\":"));
        add_skeleton(r, part, empty);
        end(r);
    }
    add_text(r, way, i, text, logprobs);
    if (way == &text_way)
        add_annotations(r, i, json_object_find(part, STR("annotations")));
    add_text_done(r, way, i, text, logprobs, STR_NULL);
    if (begin(r, "response.content_part.done")) {
        add_place(r, "content_index", i);
        add_member(r, "part", part);
        end(r);
    }
}

static void add_parts(struct replay *r, struct str content)
{
    struct str part;
    size_t cursor = 0;

    for (size_t i = 0; json_array_next(content, &cursor, &part); i++)
        add_part(r, part, i);
}

static void add_summary(struct replay *r, struct str summary)
{
    static const struct way way = {"response.reasoning_summary_text.delta",
                                   "response.reasoning_summary_text.done", "summary_index", "text",
                                   false};
    static const struct instead empty[] = {{"text", "\"\""}, {NULL, NULL}};
    struct str part;
    size_t cursor = 0;

    for (size_t i = 0; json_array_next(summary, &cursor, &part); i++) {
        struct str text = text_or_empty(json_object_find(part, STR("text")));
        if (begin(r, "response.reasoning_summary_part.added")) {
            add_place(r, "summary_index", i);
            buf_add(r->out, STR(",\"part\":"));
            add_skeleton(r, part, empty);
            end(r);
        }
        add_text(r, &way, i, text, STR_NULL);
        add_text_done(r, &way, i, text, STR_NULL, STR_NULL);
        if (begin(r, "response.reasoning_summary_part.done")) {
            add_place(r, "summary_index", i);
            add_member(r, "part", part);
            end(r);
        }
    }
}

/* --- items --- */

static void add_call(struct replay *r, const struct way *way, struct str item, const char *name_key)
{
    struct str text = text_or_empty(json_object_find(item, str_c(way->key)));
    struct str name = name_key == NULL ? STR_NULL : json_object_find(item, str_c(name_key));

    add_text(r, way, 0, text, STR_NULL);
    add_text_done(r, way, 0, text, STR_NULL, name);
}

static void add_body(struct replay *r, struct str item)
{
    static const struct way arguments = {"response.function_call_arguments.delta",
                                         "response.function_call_arguments.done", NULL, "arguments",
                                         false};
    static const struct way input = {"response.custom_tool_call_input.delta",
                                     "response.custom_tool_call_input.done", NULL, "input", false};
    struct str type = json_object_find(item, STR("type"));

    if (str_eq(type, STR("\"message\""))) {
        add_parts(r, json_object_find(item, STR("content")));
    } else if (str_eq(type, STR("\"reasoning\""))) {
        add_summary(r, json_object_find(item, STR("summary")));
        add_parts(r, json_object_find(item, STR("content")));
    } else if (str_eq(type, STR("\"function_call\""))) {
        add_call(r, &arguments, item, "name");
    } else if (str_eq(type, STR("\"custom_tool_call\""))) {
        add_call(r, &input, item, NULL);
    }
}

static void add_item(struct replay *r, struct str item)
{
    static const struct instead empty[] = {{"content", "[]"},
                                           {"summary", "[]"},
                                           {"arguments", "\"\""},
                                           {"input", "\"\""},
                                           {"status", "\"in_progress\""},
                                           {NULL, NULL}};

    r->item_id = text_or_empty(json_object_find(item, STR("id")));
    if (begin(r, "response.output_item.added")) {
        buf_print(r->out, ",\"output_index\":%zu,\"item\":", r->item_index);
        add_skeleton(r, item, empty);
        end(r);
    }
    add_body(r, item);
    if (begin(r, "response.output_item.done")) {
        buf_print(r->out, ",\"output_index\":%zu", r->item_index);
        add_member(r, "item", item);
        end(r);
    }
}

/* --- */

static void add_begin(struct replay *r, const char *type, struct str response)
{
    static const struct instead empty[] = {{"status", "\"in_progress\""},
                                           {"output", "[]"},
                                           {"usage", "null"},
                                           {"error", "null"},
                                           {"incomplete_details", "null"},
                                           {"completed_at", "null"},
                                           {"output_text", NULL},
                                           {NULL, NULL}};

    if (!begin(r, type))
        return;
    buf_add(r->out, STR(",\"response\":"));
    add_skeleton(r, response, empty);
    end(r);
}

void openai_responses_replay(struct str response, int64_t after, struct arena *arena,
                             struct buf *out)
{
    struct replay r = {.out = out, .arena = arena, .after = after};
    struct str status = json_object_find(response, STR("status"));
    struct str output = json_object_find(response, STR("output"));
    struct str item;
    size_t cursor = 0;

    add_begin(&r, "response.created", response);
    add_begin(&r, "response.in_progress", response);
    for (r.item_index = 0; json_array_next(output, &cursor, &item); r.item_index++)
        add_item(&r, item);
    const char *type = str_eq(status, STR("\"incomplete\"")) ? "response.incomplete"
                       : str_eq(status, STR("\"failed\""))   ? "response.failed"
                                                             : "response.completed";
    if (!begin(&r, type))
        return;
    add_member(&r, "response", response);
    end(&r);
}
