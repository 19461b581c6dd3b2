/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: the messages of a body, as a vendor takes them.
 *
 * How       One walk over the list, a message at a time; what must change in it is a span. A text
 *           for the model (w->note) goes to the end of the first message where that is a plain text
 *           of the system's, else into a message in front.
 *           Messages that may not stand together are joined in a walk of their own, over a body
 *           that was fitted already.
 *           Names of tools' results are those of the calls of the last message that had calls; a
 *           hash table finds them, as both may be many.
 * Owns      Nothing.
 * Not here  Order of turns and missing results (canon/fit): a client's own are left as they are.
 */
#include <xxhash.h>

#include "protocol/openai_chat_dialect_priv.h"

#define IMAGE_OMITTED "\"[image omitted: the model takes text only]\""

enum member {
    M_ROLE,
    M_CONTENT,
    M_NAME,
    M_CALLS,
    M_CALL_ID,
    M_PREFIX,
    M_CACHE,
    M_REASONING,
    M_REASONING_CONTENT,
    M_DETAILS,
    M_COUNT
};

static const struct str names[] = {
    STR_INIT("role"),
    STR_INIT("content"),
    STR_INIT("name"),
    STR_INIT("tool_calls"),
    STR_INIT("tool_call_id"),
    STR_INIT("prefix"),
    STR_INIT("cache_control"),
    STR_INIT("reasoning"),
    STR_INIT("reasoning_content"),
    STR_INIT("reasoning_details"),
};

/* A message: its members, in the body's places; value null: not there, and nothing else is set. */
struct message {
    struct str source;
    struct json_member has[M_COUNT];
    enum role role; /* ROLE_COUNT: another */
    bool replaced;  /* its content is ours by now */
};

/* The calls of the last message that had some. */
struct calls {
    struct call {
        struct str id; /* as it stands, with its quotes */
        struct str name;
    } * slots;
    size_t mask; /* 0: none */
};

struct walk {
    struct openai_chat_dialect_work *w;
    struct message message; /* the one that is fitted, or was */
    struct calls calls;
    bool fills; /* reasoning is wanted in each of the assistant's messages */
};

static bool is_kind(struct str value, enum json_kind kind)
{
    return value.n > 0 && json_kind_of(value) == kind;
}

static bool is_there(const struct message *message, enum member member)
{
    return !str_is_null(message->has[member].value);
}

static bool is_string(const struct message *message, enum member member)
{
    return is_kind(message->has[member].value, JSON_STRING);
}

static enum role role_of(struct str word)
{
    static const struct str words[] = {
        [ROLE_SYSTEM] = STR_INIT("system"), [ROLE_DEVELOPER] = STR_INIT("developer"),
        [ROLE_USER] = STR_INIT("user"),     [ROLE_ASSISTANT] = STR_INIT("assistant"),
        [ROLE_TOOL] = STR_INIT("tool"),
    };

    for (size_t role = 0; role < COUNT_OF(words); role++) {
        if (str_eq(word, words[role]))
            return (enum role)role;
    }
    return ROLE_COUNT;
}

/* M_COUNT: another one. */
static inline enum member member_of(struct str key)
{
    size_t i = 0;

    while (i < M_COUNT && !str_eq(key, names[i]))
        i++;
    return (enum member)i;
}

static void read(const struct openai_chat_dialect_work *w, struct str source,
                 struct message *ret_message)
{
    struct json_member m;
    size_t cursor = 0;

    ret_message->source = source;
    ret_message->role = ROLE_COUNT;
    ret_message->replaced = false;
    for (size_t i = 0; i < M_COUNT; i++)
        ret_message->has[i].value = STR_NULL;
    while (json_object_next(source, &cursor, w->arena, &m)) {
        enum member member = member_of(m.key);
        if (member < M_COUNT)
            ret_message->has[member] = openai_chat_dialect_place(w, source, &m);
    }
    struct str role = ret_message->has[M_ROLE].value;
    if (is_kind(role, JSON_STRING))
        ret_message->role = role_of(json_string_value(role, w->arena));
}

static void take_away(struct openai_chat_dialect_work *w, struct message *message,
                      enum member member)
{
    if (!is_there(message, member))
        return;
    openai_chat_dialect_remove(w, &message->has[member]);
    message->has[member].value = STR_NULL;
}

/* "key":value, in front of the message's members, of which one stays. */
static void put(struct openai_chat_dialect_work *w, const struct message *message, const char *key,
                struct str value)
{
    struct str text = str_print(w->arena, "\"%s\":%.*s,", key, STR_ARG(value));

    openai_chat_dialect_front(w, message->source, text);
}

/* --- calls and results -------------------------------------------------------------------- */

static void fit_id(struct openai_chat_dialect_work *w, struct str value)
{
    enum fit_ids ids = w->dialect->tool_ids;

    if (ids == FIT_IDS_ANY || !is_kind(value, JSON_STRING))
        return;
    struct str id = json_string_value(value, w->arena);
    struct str fitted = fit_calls_id(ids, id, w->arena);
    if (!str_eq(id, fitted))
        openai_chat_dialect_value(w, value, json_quote(fitted, w->arena));
}

static struct call *slot_of(const struct calls *calls, struct str id)
{
    size_t at = XXH3_64bits(id.p, id.n) & calls->mask;

    while (!str_is_null(calls->slots[at].id) && !str_eq(calls->slots[at].id, id))
        at = (at + 1) & calls->mask;
    return &calls->slots[at];
}

static size_t count(struct str list)
{
    struct str one;
    size_t cursor = 0;
    size_t n = 0;

    while (json_array_next(list, &cursor, &one))
        n++;
    return n;
}

/* An empty table for the calls of a list. */
static void make_calls(struct walk *walk, struct str list)
{
    struct arena *arena = walk->w->arena;
    size_t n = count(list);
    size_t size = 16;

    while (size < n * 2)
        size *= 2;
    walk->calls.mask = 0;
    walk->calls.slots = arena_array(arena, size, sizeof(*walk->calls.slots));
    if (arena_overflowed(arena))
        return;
    memset(walk->calls.slots, 0, size * sizeof(*walk->calls.slots));
    walk->calls.mask = size - 1;
}

static void fit_calls(struct walk *walk, const struct message *message)
{
    struct openai_chat_dialect_work *w = walk->w;
    struct str list = message->has[M_CALLS].value;
    struct str one;
    size_t cursor = 0;

    if (!is_kind(list, JSON_ARRAY) || message->role != ROLE_ASSISTANT)
        return;
    if (w->dialect->tool_result_name)
        make_calls(walk, list);
    while (json_array_next(list, &cursor, &one)) {
        if (!is_kind(one, JSON_OBJECT))
            continue;
        struct str id = json_object_find(one, STR("id"));
        struct str function = json_object_find(one, STR("function"));
        fit_id(w, id);
        if (walk->calls.mask == 0 || !is_kind(id, JSON_STRING) || !is_kind(function, JSON_OBJECT))
            continue;
        struct call *slot = slot_of(&walk->calls, id);
        slot->id = id;
        slot->name = json_object_find(function, STR("name"));
    }
}

static void fit_result(struct walk *walk, const struct message *message)
{
    struct openai_chat_dialect_work *w = walk->w;
    struct str id = message->has[M_CALL_ID].value;

    if (message->role != ROLE_TOOL)
        return;
    fit_id(w, id);
    if (!w->dialect->tool_result_name || is_there(message, M_NAME) || walk->calls.mask == 0 ||
        !is_kind(id, JSON_STRING))
        return;
    struct str name = slot_of(&walk->calls, id)->name;
    if (is_kind(name, JSON_STRING))
        put(w, message, "name", name);
}

/* --- content ------------------------------------------------------------------------------ */

static struct str url_of(struct str part)
{
    struct str image = json_object_find(part, STR("image_url"));

    return is_kind(image, JSON_OBJECT) ? json_object_find(image, STR("url")) : image;
}

static enum error_code fit_image(struct openai_chat_dialect_work *w, struct str part)
{
    struct str url = url_of(part);

    if (w->dialect->images == DIALECT_IMAGES_NONE) {
        translation_warn(w->t, "dropped:image");
        openai_chat_dialect_value(w, part, STR("{\"type\":\"text\",\"text\":" IMAGE_OMITTED "}"));
        return OK;
    }
    if (!is_kind(url, JSON_STRING))
        return OK;
    if (!w->raw && w->dialect->images == DIALECT_IMAGES_DATA) {
        struct str text = json_string_value(url, w->arena);
        if (str_starts_nocase(text, STR("http://")) || str_starts_nocase(text, STR("https://")))
            return FAIL(w->e, ERR_UNSUPPORTED, "an image by its URL: it must be in the request");
    }
    return OK;
}

/* {"type":"document_url","document_url":…} of a file that has its data, or URL. */
static void fit_document(struct openai_chat_dialect_work *w, struct str part)
{
    struct str file = json_object_find(part, STR("file"));
    struct str url = is_kind(file, JSON_OBJECT) ? json_object_find(file, STR("file_data"))
                                                : STR_NULL;

    if (!is_kind(url, JSON_STRING))
        return;
    struct str name = json_object_find(file, STR("filename"));
    struct str head = openai_chat_join(w->arena,
                                       STR("{\"type\":\"document_url\",\"document_url\":"), url);
    if (is_kind(name, JSON_STRING))
        head = openai_chat_join(w->arena, head,
                                openai_chat_join(w->arena, STR(",\"document_name\":"), name));
    openai_chat_dialect_value(w, part, openai_chat_join(w->arena, head, STR("}")));
}

static void fit_cache(struct openai_chat_dialect_work *w, struct str object)
{
    struct json_member m;
    size_t cursor = 0;

    if (w->dialect->cache != DIALECT_CACHE_REFUSED)
        return;
    while (json_object_next(object, &cursor, w->arena, &m)) {
        struct json_member placed = openai_chat_dialect_place(w, object, &m);
        if (str_eq(m.key, STR("cache_control")))
            openai_chat_dialect_remove(w, &placed);
    }
}

static bool is_type(struct str part, const char *type)
{
    struct str value = json_object_find(part, STR("type"));

    return is_kind(value, JSON_STRING) && str_eq(str_of(value.p + 1, value.n - 2), str_c(type));
}

/* The text that a part is, with its quotes; null: it is none. */
static struct str text_of(const struct openai_chat_dialect_work *w, struct str part)
{
    if (!is_kind(part, JSON_OBJECT))
        return STR_NULL;
    if (is_type(part, "text"))
        return json_object_find(part, STR("text"));
    if (is_type(part, "image_url") && w->dialect->images == DIALECT_IMAGES_NONE)
        return STR(IMAGE_OMITTED);
    return STR_NULL;
}

/* The texts of a list, as one string; null: there is something else in it. */
static struct str joined_texts(const struct openai_chat_dialect_work *w, struct str list)
{
    struct buf out;
    struct str one;
    size_t cursor = 0;
    bool texts = true;

    buf_init(&out, list.n * 3 + 64);
    buf_add_char(&out, '"');
    while (texts && json_array_next(list, &cursor, &one)) {
        struct str text = text_of(w, one);
        texts = is_kind(text, JSON_STRING);
        if (texts && out.n > 1)
            buf_add(&out, STR("\\n\\n"));
        if (texts)
            buf_add(&out, str_of(text.p + 1, text.n - 2));
        if (texts && is_type(one, "image_url"))
            translation_warn(w->t, "dropped:image");
    }
    buf_add_char(&out, '"');
    struct str all = texts && buf_ok(&out) ? str_copy(w->arena, buf_str(&out)) : STR_NULL;
    buf_fini(&out);
    return all;
}

static enum error_code fit_list(struct openai_chat_dialect_work *w, struct str list)
{
    const struct dialect *d = w->dialect;
    bool images = d->images != DIALECT_IMAGES_ANY;
    struct str one;
    size_t cursor = 0;

    if (d->content_text) {
        struct str text = joined_texts(w, list);
        if (!str_is_null(text)) {
            openai_chat_dialect_value(w, list, text);
            return OK;
        }
    }
    if (!images && !d->document_url && d->cache != DIALECT_CACHE_REFUSED)
        return OK;
    while (json_array_next(list, &cursor, &one)) {
        if (!is_kind(one, JSON_OBJECT))
            continue;
        bool image = images && is_type(one, "image_url");
        if (d->document_url && is_type(one, "file")) {
            fit_document(w, one);
            continue;
        }
        if (image)
            TRY(fit_image(w, one));
        if (!image || d->images != DIALECT_IMAGES_NONE)
            fit_cache(w, one);
    }
    return OK;
}

/* --- reasoning of earlier turns ----------------------------------------------------------- */

/* As a part of the content, in front of what stands there. */
static void as_part(struct openai_chat_dialect_work *w, struct message *message)
{
    struct json_member *m = &message->has[M_CONTENT];
    struct str part = str_print(
        w->arena, "{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":%.*s}]}",
        STR_ARG(message->has[M_REASONING_CONTENT].value));
    struct str text = m->value;

    if (is_kind(text, JSON_ARRAY)) {
        bool empty = str_trim(str_of(text.p + 1, text.n - 2)).n == 0;
        openai_chat_dialect_front(w, text,
                                  empty ? part : openai_chat_join(w->arena, part, STR(",")));
    } else if (is_kind(text, JSON_STRING) && text.n > 2) {
        openai_chat_dialect_value(w, text,
                                  str_print(w->arena, "[%.*s,{\"type\":\"text\",\"text\":%.*s}]",
                                            STR_ARG(part), STR_ARG(text)));
    } else if (text.n > 0) {
        openai_chat_dialect_value(w, text, str_print(w->arena, "[%.*s]", STR_ARG(part)));
    } else {
        put(w, message, "content", str_print(w->arena, "[%.*s]", STR_ARG(part)));
    }
}

static void forget(struct openai_chat_dialect_work *w, struct message *message)
{
    bool said = (is_string(message, M_REASONING_CONTENT) &&
                 message->has[M_REASONING_CONTENT].value.n > 2) ||
                (is_string(message, M_REASONING) && message->has[M_REASONING].value.n > 2);

    if (said)
        translation_warn(w->t, "dropped:reasoning");
    take_away(w, message, M_REASONING_CONTENT);
    take_away(w, message, M_REASONING);
    take_away(w, message, M_DETAILS);
}

/* By the one name that the vendor has for it. */
static void name_it(struct openai_chat_dialect_work *w, struct message *message)
{
    bool content = w->dialect->reasoning_out != DIALECT_OUT_REASONING;
    enum member ours = content ? M_REASONING_CONTENT : M_REASONING;
    enum member other = content ? M_REASONING : M_REASONING_CONTENT;

    if (w->dialect->reasoning_out == DIALECT_OUT_PLAIN || !is_there(message, other))
        return;
    if (is_there(message, ours) || !is_string(message, other)) {
        take_away(w, message, other);
        return;
    }
    openai_chat_dialect_rename(w, &message->has[other], names[ours]);
    message->has[ours] = message->has[other];
    message->has[other].value = STR_NULL;
}

/* Parts of the content, of a model that reasons. */
static void part_it(struct openai_chat_dialect_work *w, struct message *message)
{
    bool reasons = openai_chat_dialect_traits(w)->thinking != THINKING_NONE && !message->replaced;

    if (reasons && is_string(message, M_REASONING_CONTENT) &&
        message->has[M_REASONING_CONTENT].value.n > 2) {
        as_part(w, message);
        message->replaced = true;
        take_away(w, message, M_REASONING_CONTENT);
    }
    forget(w, message);
}

/* Whether what the turn has of it is told at all. */
static bool is_told(struct openai_chat_dialect_work *w, const struct message *message)
{
    enum dialect_history history = w->dialect->history;

    if (history == DIALECT_HISTORY_DROP || openai_chat_dialect_traits(w)->history_refused)
        return false;
    return history != DIALECT_HISTORY_CALLS ||
           (is_kind(message->has[M_CALLS].value, JSON_ARRAY) &&
            openai_chat_dialect_traits(w)->thinking != THINKING_NONE);
}

static void fit_reasoning(struct walk *walk, struct message *message)
{
    struct openai_chat_dialect_work *w = walk->w;
    enum dialect_history history = w->dialect->history;

    if (message->role != ROLE_ASSISTANT || history == DIALECT_HISTORY_PLAIN)
        return;
    if (!is_told(w, message)) {
        forget(w, message);
        return;
    }
    if (history == DIALECT_HISTORY_PARTS) {
        part_it(w, message);
        return;
    }
    name_it(w, message);
    if (walk->fills && !is_there(message, M_REASONING_CONTENT) && !is_there(message, M_REASONING))
        put(w, message,
            w->dialect->reasoning_out == DIALECT_OUT_REASONING ? "reasoning" : "reasoning_content",
            STR("\"\""));
}

/* Whether thinking is on, or may be. */
static bool thinks(struct openai_chat_dialect_work *w)
{
    const struct json_member *thinking = w->has[DIALECT_KEY_thinking];
    const struct json_member *effort = w->has[DIALECT_KEY_reasoning_effort];

    if (openai_chat_dialect_traits(w)->thinking == THINKING_NONE)
        return false;
    if (thinking != NULL && is_kind(thinking->value, JSON_OBJECT))
        return !is_type(thinking->value, "disabled");
    return effort == NULL || !str_eq(effort->value, STR("\"none\""));
}

/* --- tools that the vendor has not -------------------------------------------------------- */

/* A result becomes the user's text, a call a text of the assistant's. */
static void untool(struct openai_chat_dialect_work *w, struct message *message)
{
    if (message->role == ROLE_TOOL) {
        openai_chat_dialect_value(w, message->has[M_ROLE].value, STR("\"user\""));
        take_away(w, message, M_CALL_ID);
        take_away(w, message, M_NAME);
        message->role = ROLE_USER;
        return;
    }
    if (message->role != ROLE_ASSISTANT || !is_there(message, M_CALLS))
        return;
    struct str content = message->has[M_CONTENT].value;
    if (!is_kind(content, JSON_STRING) && !is_kind(content, JSON_ARRAY)) {
        struct str text = json_quote(message->has[M_CALLS].value, w->arena);
        if (content.n > 0)
            openai_chat_dialect_value(w, content, text);
        else
            put(w, message, "content", text);
        message->replaced = true;
    }
    take_away(w, message, M_CALLS);
}

/* --- messages ----------------------------------------------------------------------------- */

static void fit_content_null(struct openai_chat_dialect_work *w, const struct message *message)
{
    struct str content = message->has[M_CONTENT].value;

    if (!w->dialect->content_empty || message->role != ROLE_ASSISTANT || message->replaced ||
        is_kind(message->has[M_CALLS].value, JSON_ARRAY))
        return;
    if (str_is_null(content))
        put(w, message, "content", STR("\"\""));
    else if (json_kind_of(content) == JSON_NULL)
        openai_chat_dialect_value(w, content, STR("\"\""));
}

static enum error_code fit_message(struct walk *walk, struct str source)
{
    struct openai_chat_dialect_work *w = walk->w;
    const struct dialect *d = w->dialect;
    struct message *message = &walk->message;

    read(w, source, message);
    if (d->developer_as_system && message->role == ROLE_DEVELOPER)
        openai_chat_dialect_value(w, message->has[M_ROLE].value, STR("\"system\""));
    if (d->message_name_refused && is_there(message, M_NAME) && message->role != ROLE_TOOL) {
        translation_warn(w->t, "dropped:name");
        take_away(w, message, M_NAME);
    }
    if (d->cache == DIALECT_CACHE_REFUSED)
        take_away(w, message, M_CACHE);
    if (d->tools_refused)
        untool(w, message);
    fit_calls(walk, message);
    fit_result(walk, message);
    if (is_kind(message->has[M_CONTENT].value, JSON_ARRAY) && d->history != DIALECT_HISTORY_PARTS)
        TRY(fit_list(w, message->has[M_CONTENT].value));
    else if (is_kind(message->has[M_CONTENT].value, JSON_ARRAY) && message->role != ROLE_ASSISTANT)
        TRY(fit_list(w, message->has[M_CONTENT].value));
    fit_reasoning(walk, message);
    fit_content_null(w, message);
    return OK;
}

/* An assistant's text at the end. What is asked here fitting the message leaves as it was. */
static void fit_last(struct walk *walk, struct str last)
{
    struct openai_chat_dialect_work *w = walk->w;
    enum dialect_prefill prefill = w->dialect->prefill;
    struct message *message = &walk->message;

    if (prefill == DIALECT_PREFILL_KEEP || !is_kind(last, JSON_OBJECT))
        return;
    if (message->source.p != last.p)
        read(w, last, message);
    bool calls = is_kind(message->has[M_CALLS].value, JSON_ARRAY) && !w->dialect->tools_refused;
    if (message->role != ROLE_ASSISTANT || calls)
        return;
    if (prefill == DIALECT_PREFILL_NONE) {
        size_t end = (size_t)(last.p + last.n - w->index->source.p);
        json_edit_span(w->edits, w->arena, end, end,
                       STR(",{\"role\":\"user\",\"content\":\"Continue.\"}"));
    } else if (!is_there(message, M_PREFIX)) {
        put(w, message, "prefix", STR("true"));
    }
}

/* The note, in the system's text. */
static void say_note(struct openai_chat_dialect_work *w, struct str list, struct str first)
{
    struct str text = json_quote(w->note, w->arena);
    bool empty = str_is_null(first);
    UNINITIALIZED struct message message;

    if (arena_overflowed(w->arena))
        return;
    if (is_kind(first, JSON_OBJECT)) {
        read(w, first, &message);
        struct str content = message.has[M_CONTENT].value;
        bool system = message.role == ROLE_SYSTEM || message.role == ROLE_DEVELOPER;
        if (system && is_kind(content, JSON_STRING)) {
            size_t end = (size_t)(content.p + content.n - 1 - w->index->source.p);
            struct str more = openai_chat_join(w->arena, content.n > 2 ? STR("\\n\\n") : STR(""),
                                               str_from(text, 1));
            json_edit_span(w->edits, w->arena, end, end, str_head(more, more.n - 1));
            return;
        }
    }
    openai_chat_dialect_front(w, list,
                              str_print(w->arena, "{\"role\":\"system\",\"content\":%.*s}%s",
                                        STR_ARG(text), empty ? "" : ","));
}

static bool looks_inside(const struct dialect *d)
{
    return d->developer_as_system || d->tools_refused || d->tool_result_name ||
           d->message_name_refused || d->document_url || d->content_empty || d->content_text ||
           d->cache == DIALECT_CACHE_REFUSED || d->tool_ids != FIT_IDS_ANY ||
           d->images != DIALECT_IMAGES_ANY || d->history != DIALECT_HISTORY_PLAIN;
}

enum error_code openai_chat_dialect_messages_fit(struct openai_chat_dialect_work *w)
{
    const struct json_member *messages = w->has[DIALECT_KEY_messages];
    const struct json_member *tools = w->has[DIALECT_KEY_tools];
    UNINITIALIZED struct walk walk;
    struct str first = STR_NULL;
    struct str one;
    size_t cursor = 0;

    if (messages == NULL || !is_kind(messages->value, JSON_ARRAY))
        return OK;
    struct str list = messages->value;
    walk.w = w;
    walk.message.source = STR_NULL;
    walk.calls.mask = 0;
    walk.fills = w->dialect->history == DIALECT_HISTORY_EVERY && tools != NULL &&
                 is_kind(tools->value, JSON_ARRAY) && thinks(w);
    if (looks_inside(w->dialect)) {
        while (json_array_next(list, &cursor, &one)) {
            if (str_is_null(first))
                first = one;
            if (is_kind(one, JSON_OBJECT))
                TRY(fit_message(&walk, one));
            if (arena_overflowed(w->arena))
                return FAIL(w->e, ERR_TOO_LARGE, "the request does not fit into memory");
        }
    } else if (!str_is_null(w->note)) {
        (void)json_array_next(list, &cursor, &first);
    }
    fit_last(&walk, json_index_last(w->index, messages));
    if (!str_is_null(w->note))
        say_note(w, list, first);
    return OK;
}

/* --- turns -------------------------------------------------------------------------------- */

/* Adds the content as elements of a list. */
static void add_elements(struct buf *out, struct str content)
{
    if (is_kind(content, JSON_ARRAY)) {
        buf_add(out, str_of(content.p + 1, content.n - 2));
        return;
    }
    buf_add(out, STR("{\"type\":\"text\",\"text\":"));
    buf_add(out, content);
    buf_add_char(out, '}');
}

/* Messages in a row of one role. */
struct row {
    enum role role;
    struct str first; /* the messages' sources */
    struct str last;
    size_t cursor; /* in the list, in front of the first */
    size_t n;
    bool lists; /* one of them has a list as its content */
};

/* A message's content, behind what the row has already. */
static void add_content(struct buf *out, const struct row *row, struct str content, bool first)
{
    bool string = is_kind(content, JSON_STRING);
    bool empty = is_kind(content, JSON_ARRAY)
                     ? str_trim(str_of(content.p + 1, content.n - 2)).n == 0
                     : !string || content.n == 2;

    if (empty)
        return;
    if (!first)
        buf_add(out, row->lists ? STR(",") : STR("\\n\\n"));
    if (row->lists)
        add_elements(out, content);
    else
        buf_add(out, str_of(content.p + 1, content.n - 2));
}

/* The messages of a row as one. */
static void join_row(struct openai_chat_dialect_work *w, const struct row *row)
{
    struct str span = str_of(row->first.p, (size_t)(row->last.p + row->last.n - row->first.p));
    struct str list = w->has[DIALECT_KEY_messages]->value;
    UNINITIALIZED struct message message;
    size_t cursor = row->cursor;
    struct buf out;
    struct str one;

    buf_init(&out, span.n + row->n * 64 + 64);
    buf_add(&out, row->role == ROLE_USER ? STR("{\"role\":\"user\",\"content\":")
                                         : STR("{\"role\":\"assistant\",\"content\":"));
    buf_add(&out, row->lists ? STR("[") : STR("\""));
    size_t begin = out.n;
    for (size_t i = 0; i < row->n && json_array_next(list, &cursor, &one); i++) {
        read(w, one, &message);
        add_content(&out, row, message.has[M_CONTENT].value, out.n == begin);
    }
    buf_add(&out, row->lists ? STR("]}") : STR("\"}"));
    struct str text = str_copy(w->arena, buf_str(&out));
    buf_fini(&out);
    openai_chat_dialect_value(w, span, text);
}

static void end_row(struct openai_chat_dialect_work *w, const struct row *row)
{
    if (row->n > 1 && !arena_overflowed(w->arena))
        join_row(w, row);
}

void openai_chat_dialect_messages_alternate(struct openai_chat_dialect_work *w)
{
    const struct json_member *messages = w->has[DIALECT_KEY_messages];
    struct row row = {.role = ROLE_COUNT};
    UNINITIALIZED struct message message;
    struct str one;
    size_t cursor = 0;
    size_t before = 0;

    if (messages == NULL || !is_kind(messages->value, JSON_ARRAY))
        return;
    while (json_array_next(messages->value, &cursor, &one) && !arena_overflowed(w->arena)) {
        if (!is_kind(one, JSON_OBJECT))
            return;
        read(w, one, &message);
        bool joins = (message.role == ROLE_USER || message.role == ROLE_ASSISTANT) &&
                     message.role == row.role && !is_there(&message, M_CALLS);
        bool list = is_kind(message.has[M_CONTENT].value, JSON_ARRAY);
        if (joins) {
            row.last = one;
            row.n++;
            row.lists |= list;
        } else {
            end_row(w, &row);
            row = (struct row){message.role, one, one, before, 1, list};
            if (is_there(&message, M_CALLS))
                row.role = ROLE_COUNT;
        }
        before = cursor;
    }
    end_row(w, &row);
}
