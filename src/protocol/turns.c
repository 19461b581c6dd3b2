/* SPDX-License-Identifier: MIT */
/*
 * Where the turns of a request stand.
 *
 * What      The four protocols' outline_next, outline_last, outline_call and outline_words.
 * How       A table says what a protocol calls its members. The system text, a member of the root,
 *           comes first, then the list, element by element; the last one is found without a walk,
 *           as the index noted where it begins. Each element is stepped over once, and its members
 *           once more; nothing is copied, and nothing is refused: what has another form than its
 *           protocol says holds no text.
 *           Cursors are offsets, so that going on costs nothing: what is behind a list of a
 *           hundred thousand calls is looked for once.
 * Not here  What is text in a content: canon/outline. What a request means: each protocol's reader.
 */
#include "protocol/turns.h"

struct form {
    const char *system[2]; /* names of the member; the second may be NULL */
    const char
        *inside[2]; /* of an object that holds these members in the root's place (counting) */
    const char *list;
    const char *content;
    bool items;         /* an element without a role says by its type what it is */
    bool role_optional; /* without one it is the user's */
};

static const struct form openai_chat = {.list = "messages", .content = "content"};
static const struct form anthropic = {
    .system = {"system", NULL},
    .list = "messages",
    .content = "content",
};
static const struct form openai_responses = {
    .system = {"instructions", NULL},
    .list = "input",
    .content = "content",
    .items = true,
};
static const struct form gemini = {
    .system = {"systemInstruction", "system_instruction"},
    .inside = {"generateContentRequest", "generate_content_request"},
    .list = "contents",
    .content = "parts",
    .role_optional = true,
};

/* --- values ------------------------------------------------------------------------------- */

static bool is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

static bool is_kind(struct str value, enum json_kind kind)
{
    return value.n > 0 && json_kind_of(value) == kind;
}

static bool is_word(struct str value, struct str word)
{
    return is_kind(value, JSON_STRING) && value.n >= 2 &&
           json_string_equals(str_of(value.p + 1, value.n - 2), word);
}

static struct str string_of(struct str value, struct arena *arena)
{
    return is_kind(value, JSON_STRING) ? json_string_value(value, arena) : STR_NULL;
}

/* What can hold texts; null for all else. */
static struct str content_of(struct str value)
{
    enum json_kind kind = json_kind_of(value);

    return kind == JSON_STRING || kind == JSON_ARRAY || kind == JSON_OBJECT ? value : STR_NULL;
}

/* --- where things stand ------------------------------------------------------------------- */

/* The object that is in the root's place, null without one. */
static struct str inside_of(const struct form *form, const struct request *request)
{
    for (size_t i = 0; i < COUNT_OF(form->inside) && form->inside[i] != NULL; i++) {
        const struct json_member *m = json_index_find(&request->index, str_c(form->inside[i]));
        if (m != NULL && !is_null(m->value))
            return m->value;
    }
    return STR_NULL;
}

static struct str root_find(const struct form *form, const struct request *request, const char *key)
{
    struct str inside = inside_of(form, request);

    if (!str_is_null(inside))
        return json_object_find(inside, str_c(key));
    const struct json_member *m = json_index_find(&request->index, str_c(key));
    return m == NULL ? STR_NULL : m->value;
}

/* The i-th system text in the order of the source; null: there is none. */
static struct str find_system(const struct form *form, const struct request *request, size_t i)
{
    struct str found[COUNT_OF(form->system)] = {STR_NULL, STR_NULL};
    size_t n = 0;

    for (size_t k = 0; k < COUNT_OF(found) && form->system[k] != NULL; k++) {
        struct str value = root_find(form, request, form->system[k]);
        if (is_null(value))
            continue;
        found[n++] = value;
        if (n == 2 && found[1].p < found[0].p) {
            found[1] = found[0];
            found[0] = value;
        }
    }
    return found[i];
}

/* --- one turn ----------------------------------------------------------------------------- */

static enum role role_of(const struct form *form, struct str value)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {
        {"user", ROLE_USER},           {"assistant", ROLE_ASSISTANT}, {"model", ROLE_ASSISTANT},
        {"tool", ROLE_TOOL},           {"system", ROLE_SYSTEM},       {"function", ROLE_TOOL},
        {"developer", ROLE_DEVELOPER},
    };

    if (form->role_optional && (is_null(value) || is_word(value, STR(""))))
        return ROLE_USER;
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (is_word(value, str_c(roles[i].word)))
            return roles[i].role;
    }
    return ROLE_TOOL;
}

/* However it is escaped. */
static bool ends_output(struct str type)
{
    const struct str end = STR("_output");

    if (!is_kind(type, JSON_STRING) || type.n < 2)
        return false;
    struct str body = str_of(type.p + 1, type.n - 2);
    if (str_find_char(body, '\\', 0) == SIZE_MAX)
        return str_ends(body, end);
    for (size_t i = 0; i < body.n; i++) {
        if (json_string_equals(str_from(body, i), end))
            return true;
    }
    return false;
}

/* An item that is no message (Responses): whose it is. False: it is a message. */
static bool read_item(struct json_fields *fields, struct str item, struct outline_turn *turn)
{
    struct str type = json_fields_find(fields, item, STR("type"));
    bool reference = is_null(type) && is_null(json_fields_find(fields, item, STR("role"))) &&
                     !is_null(json_fields_find(fields, item, STR("id")));

    if (!reference && (is_null(type) || is_word(type, STR("message"))))
        return false;
    turn->is_call = reference || !ends_output(type);
    turn->role = turn->is_call ? ROLE_ASSISTANT : ROLE_TOOL;
    return true;
}

/* {"role":"user","content":"…"} and nothing else, as most clients write most messages: an element
 * at list.p + at that is read as it stands. *ret_end: behind it. False: it is written in another
 * way. */
static bool read_plain(struct str list, size_t at, struct outline_turn *turn, size_t *ret_end)
{
    static const struct {
        struct str begin;
        enum role role;
    } begins[] = {
        {STR_INIT("{\"role\":\"user\",\"content\":\""), ROLE_USER},
        {STR_INIT("{\"role\":\"assistant\",\"content\":\""), ROLE_ASSISTANT},
        {STR_INIT("{\"role\":\"system\",\"content\":\""), ROLE_SYSTEM},
        {STR_INIT("{\"role\": \"user\", \"content\": \""), ROLE_USER},
        {STR_INIT("{\"role\": \"assistant\", \"content\": \""), ROLE_ASSISTANT},
        {STR_INIT("{\"role\": \"system\", \"content\": \""), ROLE_SYSTEM},
    };
    struct str rest = str_from(list, at);

    for (size_t i = 0; i < COUNT_OF(begins); i++) {
        size_t n = begins[i].begin.n;
        bool escaped;
        if (!str_starts(rest, begins[i].begin))
            continue;
        size_t size = json_string_skip(rest.p + n, rest.n - n, &escaped);
        if (size == SIZE_MAX || n + size + 2 > rest.n || rest.p[n + size + 1] != '}')
            return false;
        *turn = (struct outline_turn){.role = begins[i].role,
                                      .source = str_head(rest, n + size + 2),
                                      .content = str_of(rest.p + n - 1, size + 2)};
        *ret_end = at + n + size + 2;
        return true;
    }
    return false;
}

static void read_turn(const struct form *form, struct str element, struct outline_turn *turn)
{
    struct json_fields fields;

    *turn = (struct outline_turn){.role = ROLE_TOOL, .source = element};
    if (!is_kind(element, JSON_OBJECT))
        return;
    fields.object = STR_NULL;
    if (form->items && read_item(&fields, element, turn))
        return;
    turn->role = role_of(form, json_fields_find(&fields, element, STR("role")));
    turn->content = content_of(json_fields_find(&fields, element, str_c(form->content)));
}

/* A string, a list of parts, or an object that has one. */
static void read_system(const struct form *form, struct str value, struct outline_turn *turn)
{
    if (is_kind(value, JSON_OBJECT))
        value = json_object_find(value, str_c(form->content));
    *turn = (struct outline_turn){.role = ROLE_SYSTEM,
                                  .source = STR_NULL,
                                  .content = content_of(value)};
}

/* A list that is none: the user's words as one string, or one element. False: nothing. */
static bool read_lone(const struct form *form, struct str value, struct outline_turn *turn)
{
    if (form->items && is_kind(value, JSON_STRING)) {
        *turn = (struct outline_turn){.role = ROLE_USER, .content = value};
        return true;
    }
    if (!form->role_optional || !is_kind(value, JSON_OBJECT))
        return false;
    read_turn(form, value, turn);
    turn->source = STR_NULL;
    return true;
}

/* --- the turns in order ------------------------------------------------------------------- */

enum { STEP_SYSTEM, STEP_SYSTEM_TOO, STEP_LIST, STEP_ELEMENTS, STEP_END };

/* The list's next element, where it stands right behind the bracket or a comma, and is plain. */
static bool next_plain(const struct form *form, struct outline_cursor *cursor,
                       struct outline_turn *ret_turn)
{
    size_t at = cursor->at;
    char before = at == 0 ? '[' : ',';

    if (form->items || form->role_optional || at + 1 >= cursor->list.n ||
        cursor->list.p[at] != before)
        return false;
    at++;
    if (cursor->list.p[at] == ' ')
        at++;
    return read_plain(cursor->list, at, ret_turn, &cursor->at);
}

static bool next(const struct form *form, const struct request *request,
                 struct outline_cursor *cursor, struct outline_turn *ret_turn)
{
    struct str element;

    while (cursor->step < STEP_LIST) {
        struct str value = find_system(form, request, cursor->step++);
        if (str_is_null(value))
            continue;
        read_system(form, value, ret_turn);
        return true;
    }
    if (cursor->step == STEP_LIST) {
        cursor->list = root_find(form, request, form->list);
        cursor->at = 0;
        cursor->step = STEP_ELEMENTS;
        if (!is_kind(cursor->list, JSON_ARRAY)) {
            cursor->step = STEP_END;
            return read_lone(form, cursor->list, ret_turn);
        }
    }
    if (cursor->step == STEP_ELEMENTS && next_plain(form, cursor, ret_turn))
        return true;
    if (cursor->step == STEP_END || !json_array_next(cursor->list, &cursor->at, &element)) {
        cursor->step = STEP_END;
        return false;
    }
    read_turn(form, element, ret_turn);
    return true;
}

static bool last(const struct form *form, const struct request *request,
                 struct outline_turn *ret_turn)
{
    const struct json_member *m = json_index_find(&request->index, str_c(form->list));
    struct outline_cursor cursor = {.step = STEP_LIST};
    bool found = false;

    if (m != NULL && str_is_null(inside_of(form, request))) {
        struct str element = json_index_last(&request->index, m);
        if (str_is_null(element))
            return !is_kind(m->value, JSON_ARRAY) && read_lone(form, m->value, ret_turn);
        read_turn(form, element, ret_turn);
        return true;
    }
    while (next(form, request, &cursor, ret_turn))
        found = true;
    return found;
}

/* --- calls and results -------------------------------------------------------------------- */

/* The next element of a list that begins at list within source; *cursor: 0 to begin with, then an
 * offset in source. */
static bool next_element(struct str source, struct str list, size_t *cursor,
                         struct str *ret_element)
{
    size_t at = 0;
    bool more;

    if (*cursor > 0)
        return json_array_next(source, cursor, ret_element);
    if (!is_kind(list, JSON_ARRAY))
        return false;
    assert(list.p >= source.p && list.p + list.n <= source.p + source.n);
    more = json_array_next(list, &at, ret_element);
    *cursor = (size_t)(list.p - source.p) + at;
    return more;
}

/* Of a message of one call or result: once. */
static bool once(size_t *cursor)
{
    bool first = *cursor == 0;

    *cursor = 1;
    return first;
}

/* {id, function: {name}}, {id, custom: {name}} */
static bool chat_call(struct str element, struct arena *arena, struct outline_call *ret_call)
{
    struct json_fields fields;

    if (!is_kind(element, JSON_OBJECT))
        return false;
    fields.object = STR_NULL;
    struct str id = json_fields_find(&fields, element, STR("id"));
    struct str inner = json_fields_find(&fields, element, STR("function"));
    if (!is_kind(inner, JSON_OBJECT))
        inner = json_fields_find(&fields, element, STR("custom"));
    *ret_call = (struct outline_call){
        .id = string_of(id, arena),
        .name = is_kind(inner, JSON_OBJECT) ? string_of(json_object_find(inner, STR("name")), arena)
                                            : STR_NULL,
        .part = element,
    };
    return true;
}

/* What a message itself is: a result, or the call of before there were lists of them. */
static bool chat_message(const struct outline_turn *turn, size_t *cursor, struct arena *arena,
                         struct outline_call *ret_call)
{
    struct str source = turn->source;
    struct str legacy;

    if (turn->role == ROLE_TOOL && once(cursor)) {
        *ret_call = (struct outline_call){
            .id = string_of(json_object_find(source, STR("tool_call_id")), arena),
            .name = string_of(json_object_find(source, STR("name")), arena),
            .is_result = true,
            .texts = turn->content,
        };
        return true;
    }
    if (turn->role != ROLE_ASSISTANT)
        return false;
    legacy = json_object_find(source, STR("function_call"));
    if (!is_kind(legacy, JSON_OBJECT) || !once(cursor))
        return false;
    *ret_call = (struct outline_call){
        .name = string_of(json_object_find(legacy, STR("name")), arena),
    };
    return true;
}

bool turns_openai_chat_call(const struct outline_turn *turn, size_t *cursor, struct arena *arena,
                            struct outline_call *ret_call)
{
    struct str list = STR_NULL;
    struct str element;

    if (!is_kind(turn->source, JSON_OBJECT))
        return false;
    if (*cursor == 0 && turn->role == ROLE_ASSISTANT)
        list = json_object_find(turn->source, STR("tool_calls"));
    if (*cursor <= 1 && !is_kind(list, JSON_ARRAY))
        return chat_message(turn, cursor, arena, ret_call);
    while (next_element(turn->source, list, cursor, &element)) {
        if (chat_call(element, arena, ret_call))
            return true;
    }
    return false;
}

bool turns_openai_responses_call(const struct outline_turn *turn, size_t *cursor,
                                 struct arena *arena, struct outline_call *ret_call)
{
    static const struct {
        const char *type;
        bool result;
    } types[] = {
        {"function_call", false},
        {"custom_tool_call", false},
        {"function_call_output", true},
        {"custom_tool_call_output", true},
    };
    struct json_fields fields;

    if (!is_kind(turn->source, JSON_OBJECT) || !once(cursor))
        return false;
    fields.object = STR_NULL;
    struct str type = json_fields_find(&fields, turn->source, STR("type"));
    struct str id = json_fields_find(&fields, turn->source, STR("call_id"));
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!is_word(type, str_c(types[i].type)))
            continue;
        *ret_call = (struct outline_call){
            .id = string_of(id, arena),
            .name = string_of(json_fields_find(&fields, turn->source, STR("name")), arena),
            .is_result = types[i].result,
        };
        if (types[i].result)
            ret_call->texts = content_of(json_fields_find(&fields, turn->source, STR("output")));
        return true;
    }
    return false;
}

static bool anthropic_call(struct str block, struct arena *arena, struct outline_call *ret_call)
{
    struct json_fields fields;

    if (!is_kind(block, JSON_OBJECT))
        return false;
    fields.object = STR_NULL;
    struct str type = json_fields_find(&fields, block, STR("type"));
    bool result = is_word(type, STR("tool_result"));
    if (!result && !is_word(type, STR("tool_use")))
        return false;
    struct str id = json_fields_find(&fields, block, result ? STR("tool_use_id") : STR("id"));
    *ret_call = (struct outline_call){
        .id = string_of(id, arena),
        .name = result ? STR_NULL : string_of(json_fields_find(&fields, block, STR("name")), arena),
        .part = block,
        .is_result = result,
    };
    if (result)
        ret_call->texts = content_of(json_fields_find(&fields, block, STR("content")));
    return true;
}

bool turns_anthropic_call(const struct outline_turn *turn, size_t *cursor, struct arena *arena,
                          struct outline_call *ret_call)
{
    struct str block;

    while (is_kind(turn->content, JSON_ARRAY) && json_array_next(turn->content, cursor, &block)) {
        if (anthropic_call(block, arena, ret_call))
            return true;
    }
    return false;
}

/* What a response says: Google's own libraries, Cline and Roo Code each have a name for it. */
static struct str gemini_texts(struct str response)
{
    static const char *const keys[] = {"output", "result", "content"};
    struct str texts = STR_NULL;

    for (size_t i = 0; i < COUNT_OF(keys) && str_is_null(texts); i++)
        texts = content_of(json_object_find(response, str_c(keys[i])));
    return texts;
}

static bool gemini_call(struct str part, struct arena *arena, struct outline_call *ret_call)
{
    static const struct {
        const char *key;
        bool result;
    } keys[] = {
        {"functionCall", false},
        {"function_call", false},
        {"functionResponse", true},
        {"function_response", true},
    };
    struct json_fields fields;

    if (!is_kind(part, JSON_OBJECT))
        return false;
    fields.object = STR_NULL;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct str inner = json_fields_find(&fields, part, str_c(keys[i].key));
        if (!is_kind(inner, JSON_OBJECT))
            continue;
        *ret_call = (struct outline_call){
            .id = string_of(json_object_find(inner, STR("id")), arena),
            .name = string_of(json_object_find(inner, STR("name")), arena),
            .part = part,
            .is_result = keys[i].result,
        };
        struct str response = json_object_find(inner, STR("response"));
        if (keys[i].result && is_kind(response, JSON_OBJECT))
            ret_call->texts = gemini_texts(response);
        return true;
    }
    return false;
}

bool turns_gemini_call(const struct outline_turn *turn, size_t *cursor, struct arena *arena,
                       struct outline_call *ret_call)
{
    struct str part;

    if (is_kind(turn->content, JSON_OBJECT)) {
        if (!once(cursor) || !gemini_call(turn->content, arena, ret_call))
            return false;
        ret_call->part = STR_NULL;
        return true;
    }
    while (is_kind(turn->content, JSON_ARRAY) && json_array_next(turn->content, cursor, &part)) {
        if (gemini_call(part, arena, ret_call))
            return true;
    }
    return false;
}

/* --- results that are the user's words ---------------------------------------------------- */

/* Written into memory that is large enough. */
struct words {
    char *p;
    size_t n;
    size_t size;
};

/* size: of all that will be put. False: the arena is over its cap. */
static bool words_begin(struct words *words, size_t size, struct arena *arena)
{
    *words = (struct words){.p = arena_alloc(arena, size), .size = size};
    return !arena_overflowed(arena);
}

static void words_put(struct words *words, struct str s)
{
    assert(s.n <= words->size - words->n);
    memcpy(words->p + words->n, s.p, s.n);
    words->n += s.n;
}

static struct str words_end(const struct words *words)
{
    return str_of(words->p, words->n);
}

/* The content is taken as it stands: what a result may hold a message may hold. */
struct str turns_openai_words(const struct outline_call *call, struct arena *arena)
{
    const struct str begin = STR("{\"role\":\"user\",\"content\":");
    struct words words;

    assert(str_is_null(call->part) && !str_is_null(call->texts));
    if (!words_begin(&words, begin.n + call->texts.n + 1, arena))
        return STR("{}");
    words_put(&words, begin);
    words_put(&words, call->texts);
    words_put(&words, STR("}"));
    return words_end(&words);
}

/* The blocks in a result, as they stand; *ret_last: the last of them. */
static struct str anthropic_blocks(struct str content, struct str *ret_last)
{
    struct str block;
    size_t cursor = 0;

    *ret_last = content;
    if (!is_kind(content, JSON_ARRAY))
        return content;
    while (json_array_next(content, &cursor, &block))
        *ret_last = block;
    return str_trim(str_of(content.p + 1, content.n - 2));
}

/* The blocks of a result are its message's. A mark for the cache stays at their end. */
struct str turns_anthropic_words(const struct outline_call *call, struct arena *arena)
{
    const struct str begin = STR("{\"type\":\"text\",\"text\":");
    const struct str mark = STR(",\"cache_control\":");
    struct str cache = json_object_find(call->part, STR("cache_control"));
    bool open = !is_null(cache);
    struct words words;

    assert(!str_is_null(call->part) && !str_is_null(call->texts));
    if (!words_begin(&words, begin.n + call->texts.n + mark.n + cache.n + 1, arena))
        return STR("{}");
    if (is_kind(call->texts, JSON_STRING)) {
        words_put(&words, begin);
        words_put(&words, call->texts);
        words_put(&words, STR("}"));
    } else {
        struct str last;
        words_put(&words, anthropic_blocks(call->texts, &last));
        open = open && is_kind(last, JSON_OBJECT) && json_object_find(last, STR("type")).n > 0 &&
               json_object_find(last, STR("cache_control")).n == 0;
    }
    if (open) {
        words.n--; /* the brace */
        words_put(&words, mark);
        words_put(&words, cache);
        words_put(&words, STR("}"));
    }
    return words_end(&words);
}

/* A part for each text. */
struct str turns_gemini_words(const struct outline_call *call, struct arena *arena)
{
    const struct str begin = STR("{\"role\":\"user\",\"parts\":[");
    struct outline_text text;
    size_t cursor = 0;
    size_t n = 0;
    struct words words;

    assert(!str_is_null(call->texts));
    while (outline_text_next(call->texts, &cursor, &text))
        n++;
    if (!words_begin(&words, begin.n + call->texts.n + n * sizeof("{\"text\":},") + 2, arena))
        return STR("{}");
    if (str_is_null(call->part))
        words_put(&words, begin);
    cursor = 0;
    for (size_t i = 0; i < n && outline_text_next(call->texts, &cursor, &text); i++) {
        words_put(&words, i == 0 ? STR("{\"text\":") : STR(",{\"text\":"));
        words_put(&words, text.string);
        words_put(&words, STR("}"));
    }
    if (str_is_null(call->part))
        words_put(&words, STR("]}"));
    return words_end(&words);
}

/* --- each protocol's ---------------------------------------------------------------------- */

bool turns_openai_chat_next(const struct request *request, struct outline_cursor *cursor,
                            struct outline_turn *ret_turn)
{
    return next(&openai_chat, request, cursor, ret_turn);
}

bool turns_openai_responses_next(const struct request *request, struct outline_cursor *cursor,
                                 struct outline_turn *ret_turn)
{
    return next(&openai_responses, request, cursor, ret_turn);
}

bool turns_anthropic_next(const struct request *request, struct outline_cursor *cursor,
                          struct outline_turn *ret_turn)
{
    return next(&anthropic, request, cursor, ret_turn);
}

bool turns_gemini_next(const struct request *request, struct outline_cursor *cursor,
                       struct outline_turn *ret_turn)
{
    return next(&gemini, request, cursor, ret_turn);
}

bool turns_openai_chat_last(const struct request *request, struct outline_turn *ret_turn)
{
    return last(&openai_chat, request, ret_turn);
}

bool turns_openai_responses_last(const struct request *request, struct outline_turn *ret_turn)
{
    return last(&openai_responses, request, ret_turn);
}

bool turns_anthropic_last(const struct request *request, struct outline_turn *ret_turn)
{
    return last(&anthropic, request, ret_turn);
}

bool turns_gemini_last(const struct request *request, struct outline_turn *ret_turn)
{
    return last(&gemini, request, ret_turn);
}
