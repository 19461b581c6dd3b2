/* SPDX-License-Identifier: MIT */
/*
 * Gemini: a client's request, read.
 *
 * What      The head from the path and the index of the body's root; the conversation on demand.
 * How       The path says the model and whether to stream, the query in which form. All reading is
 *           of spans of the body, as proto3 reads JSON: names in lowerCamelCase or snake_case, null
 *           is absent, a list of one may stand without its brackets (gemini.md, 1 and 3).
 *           Calls without an id get one of their place; results without one are matched with the
 *           calls before them by name and order (mapping.md, 5.4).
 * Owns      Nothing: all of it lies in the request's arena and the body.
 * Not here  Tools and parameters (gemini_params.c), writing (gemini_upstream.c, gemini_write.c).
 */
#include "protocol/gemini_priv.h"

#include "text/url.h"
#include "text/utf8.h"

enum { MATCH_MAX = 1024 }; /* calls that are looked at for one result */

/* --- type errors -------------------------------------------------------------------------- */

/* "contents[2].parts[0].functionCall.name" must be … */
enum error_code gemini_request_fail(struct gemini_reader *r, struct str member, const char *what)
{
    struct buf path;
    enum error_code code;

    assert(r->e != NULL);
    buf_init(&path, ERROR_DETAIL_SIZE);
    if (r->base != NULL)
        buf_print(&path, "%s.", r->base);
    if (r->list != NULL)
        buf_print(&path, "%s[%zu].", r->list, r->at);
    if (r->inner_list != NULL)
        buf_print(&path, "%s[%zu].", r->inner_list, r->inner_at);
    if (r->inner != NULL)
        buf_print(&path, "%s.", r->inner);
    buf_add(&path, member);
    struct str text = buf_str(&path);
    if (str_ends(text, STR(".")))
        text.n--;
    code = FAIL(r->e, ERR_BAD_REQUEST, "\"%.*s\" must be %s", STR_ARG(text), what);
    buf_fini(&path);
    return code;
}

/* --- values ------------------------------------------------------------------------------- */

bool gemini_request_is(struct str key, const char *camel)
{
    size_t at = 0;

    /* "function_call" and "functionCall": an underscore makes the next letter a capital one. */
    for (; *camel != '\0'; camel++) {
        char c = *camel;
        bool capital = c >= 'A' && c <= 'Z';
        if (capital && at < key.n && key.p[at] == '_') {
            at++;
            c = (char)(c - 'A' + 'a');
        }
        if (at >= key.n || key.p[at] != c)
            return false;
        at++;
    }
    return at == key.n;
}

static bool is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

enum error_code gemini_request_string(struct gemini_reader *r, const struct json_member *m,
                                      struct str *ret_value)
{
    if (is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_STRING)
        return gemini_request_fail(r, m->key, "a string");
    *ret_value = json_string_value(m->value, r->arena);
    return OK;
}

enum error_code gemini_request_bool(struct gemini_reader *r, const struct json_member *m,
                                    int *ret_value)
{
    enum json_kind kind = json_kind_of(m->value);

    if (kind == JSON_NULL)
        return OK;
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return gemini_request_fail(r, m->key, "true or false");
    *ret_value = kind == JSON_TRUE;
    return OK;
}

enum error_code gemini_request_object(struct gemini_reader *r, const struct json_member *m,
                                      struct str *ret_value)
{
    if (is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_OBJECT)
        return gemini_request_fail(r, m->key, "an object");
    *ret_value = m->value;
    return OK;
}

enum error_code gemini_request_array(struct gemini_reader *r, const struct json_member *m,
                                     struct str *ret_value)
{
    enum json_kind kind = json_kind_of(m->value);

    if (is_null(m->value))
        return OK;
    if (kind != JSON_ARRAY && kind != JSON_OBJECT)
        return gemini_request_fail(r, m->key, "an array");
    *ret_value = m->value;
    return OK;
}

bool gemini_request_next(struct str list, size_t *cursor, struct str *ret_element)
{
    if (list.n == 0)
        return false;
    if (json_kind_of(list) == JSON_ARRAY)
        return json_array_next(list, cursor, ret_element);
    *ret_element = list;
    return (*cursor)++ == 0;
}

void gemini_request_keep(struct gemini_reader *r, struct extra **to, const struct json_member *m)
{
    (void)request_keep(&r->extra_end, to, m, r->arena);
}

/* --- the head ----------------------------------------------------------------------------- */

/* Who encodes what stands in a query writes "%24alt". */
static bool wants_events(struct str query, struct arena *arena)
{
    struct str name;
    struct str value;

    while (url_query_next(&query, &name, &value)) {
        if (!str_eq(url_decode(value, true, arena), STR("sse")))
            continue;
        name = url_decode(name, true, arena);
        if (str_eq(name, STR("alt")) || str_eq(name, STR("$alt")))
            return true;
    }
    return false;
}

/* "MODEL:generateContent": the last colon, as a model may be "backend:model". */
static enum error_code read_path(const struct request_limits *limits, struct arena *arena,
                                 struct request *request, struct error *e)
{
    struct str rest = limits->rest;
    struct str action = STR_NULL;
    size_t colon = rest.n;

    while (colon > 0 && rest.p[colon - 1] != ':')
        colon--;
    if (colon > 0)
        action = str_from(rest, colon);
    if (limits->operation == OP_COUNT_TOKENS) {
        /* What is counted otherwise has no action. */
        if (str_eq(action, STR("countTokens")))
            rest = str_head(rest, colon - 1);
    } else {
        request->stream = str_eq(action, STR("streamGenerateContent"));
        if (!request->stream && !str_eq(action, STR("generateContent")))
            return FAIL(e, ERR_NOT_FOUND, "there is no method \"%.*s\" of models",
                        STR_ARG(utf8_head(action, 64)));
        rest = str_head(rest, colon - 1);
    }
    request->array = request->stream && !wants_events(limits->query, arena);
    request->model = gemini_model_bare(rest);
    if (request->model.n == 0)
        return FAIL(e, ERR_BAD_REQUEST, "the path names no model");
    return OK;
}

static enum error_code read_head(struct gemini_reader *r, struct request *request)
{
    const struct json_index *index = &request->index;
    struct str ignored = STR_NULL;
    bool contents = false;

    for (size_t i = 0; i < index->n; i++) {
        const struct json_member *m = &index->members[i];
        if (str_eq(m->key, STR("model"))) {
            request->model_member = m;
            TRY(gemini_request_string(r, m, &ignored));
        } else if (str_eq(m->key, STR("session_id"))) {
            TRY(gemini_request_string(r, m, &request->session_id));
        } else if (str_eq(m->key, STR("contents"))) {
            TRY(gemini_request_array(r, m, &ignored));
            contents |= !is_null(m->value);
        } else if (gemini_request_is(m->key, "generateContentRequest")) {
            TRY(gemini_request_object(r, m, &ignored));
            contents |= !is_null(m->value) && r->counting;
        }
    }
    if (!contents)
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"contents\"");
    return OK;
}

enum error_code gemini_request_decode(struct str body, const struct request_limits *limits,
                                      struct arena *arena, struct request *ret_request,
                                      struct error *e)
{
    struct gemini_reader r = {
        .arena = arena,
        .e = e,
        .counting = limits->operation == OP_COUNT_TOKENS,
    };
    struct request request = {.source = body, .include_usage = -1};

    assert(limits->depth_max > 0);
    TRY(read_path(limits, arena, &request, e));
    TRY(json_index_read(&request.index, body, limits->depth_max, limits->memory, arena, e));
    enum error_code code = read_head(&r, &request);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    *ret_request = request;
    return OK;
}

/* --- turns and parts ---------------------------------------------------------------------- */

/* Past its cap the arena hands out the same memory again and again: no node may lie there. */
static struct part *new_part(struct gemini_reader *r, enum part_kind kind, struct str source)
{
    struct part *part = ARENA_NEW(r->arena, struct part);

    if (arena_overflowed(r->arena))
        part = &r->lost;
    *part = (struct part){.kind = kind, .source = source};
    return part;
}

static struct turn *new_turn(struct gemini_reader *r, enum role role, struct str source)
{
    struct turn *turn = ARENA_NEW(r->arena, struct turn);

    if (arena_overflowed(r->arena))
        turn = &r->lost_turn;
    *turn = (struct turn){.role = role, .source = source};
    return turn;
}

/* The parts of one content, in the turns that they make. */
struct content {
    enum role role;
    struct turn *results; /* NULL: none yet */
    struct turn *said;
    struct part **results_end;
    struct part **said_end;
    size_t calls; /* without an id */
    size_t lost;  /* results without a call */
};

static void append(struct gemini_reader *r, struct part ***end, struct part *part)
{
    if (part == &r->lost)
        return;
    **end = part;
    *end = &part->next;
}

static void say(struct gemini_reader *r, struct content *content, struct part *part)
{
    if (content->said == NULL) {
        content->said = new_turn(r, content->role, r->content);
        content->said_end = &content->said->parts;
    }
    append(r, &content->said_end, part);
}

static void answer(struct gemini_reader *r, struct content *content, struct part *part)
{
    if (content->results == NULL) {
        content->results = new_turn(r, ROLE_TOOL, r->content);
        content->results_end = &content->results->parts;
    }
    append(r, &content->results_end, part);
}

/* --- media -------------------------------------------------------------------------------- */

/* Chat Completions' names of audio formats, which the canonical form has. */
static struct str audio_format(struct str type)
{
    struct str format = str_from(type, strlen("audio/"));

    if (str_eq(format, STR("mpeg")) || str_eq(format, STR("mpga")))
        return STR("mp3");
    return str_starts(format, STR("x-")) ? str_from(format, 2) : format;
}

static void set_media_kind(struct part *part)
{
    if (str_starts_nocase(part->media_type, STR("image/"))) {
        part->kind = PART_IMAGE;
    } else if (str_starts_nocase(part->media_type, STR("audio/"))) {
        part->kind = PART_AUDIO;
        part->media_type = audio_format(part->media_type);
    }
}

/* Bytes may come in either alphabet of base64, with or without padding (gemini.md, 1): others know
 * the standard one with it alone. Null without memory. */
static struct str standard_base64(struct gemini_reader *r, struct str text)
{
    size_t n = text.n;
    char *to;

    if (n % 4 == 0 && memchr(text.p, '-', n) == NULL && memchr(text.p, '_', n) == NULL)
        return text;
    to = arena_alloc(r->arena, n + 4);
    if (arena_overflowed(r->arena))
        return STR_NULL;
    for (size_t i = 0; i < n; i++)
        to[i] = text.p[i] == '-' ? '+' : text.p[i] == '_' ? '/' : text.p[i];
    while (n % 4 != 0)
        to[n++] = '=';
    return str_of(to, n);
}

/* inlineData: {mimeType, data, displayName}; fileData: {mimeType, fileUri, displayName}. */
static enum error_code read_media(struct gemini_reader *r, const struct json_member *m,
                                  struct str source, struct part **ret_part)
{
    struct part *part = new_part(r, PART_FILE, source);
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    part->is_url = gemini_request_is(m->key, "fileData");
    r->inner = part->is_url ? "fileData" : "inlineData";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (gemini_request_is(inner.key, "mimeType"))
            TRY(gemini_request_string(r, &inner, &part->media_type));
        else if (gemini_request_is(inner.key, part->is_url ? "fileUri" : "data"))
            TRY(gemini_request_string(r, &inner, &part->data));
        else if (gemini_request_is(inner.key, "displayName"))
            TRY(gemini_request_string(r, &inner, &part->name));
    }
    if (str_is_null(part->data))
        return gemini_request_fail(r, part->is_url ? STR("fileUri") : STR("data"), "a string");
    if (!part->is_url && part->media_type.n == 0)
        return gemini_request_fail(r, STR("mimeType"), "a string");
    if (!part->is_url)
        part->data = standard_base64(r, part->data);
    r->inner = NULL;
    set_media_kind(part);
    *ret_part = part;
    return OK;
}

/* {"level":"MEDIA_RESOLUTION_HIGH"} */
static struct str detail_of(struct gemini_reader *r, struct str resolution)
{
    struct str level = json_kind_of(resolution) == JSON_OBJECT
                           ? json_object_find(resolution, STR("level"))
                           : resolution;

    if (level.n == 0 || json_kind_of(level) != JSON_STRING)
        return STR_NULL;
    level = json_string_value(level, r->arena);
    if (str_ends(level, STR("_LOW")))
        return STR("low");
    return str_ends(level, STR("_HIGH")) ? STR("high") : STR_NULL;
}

/* --- calls and results -------------------------------------------------------------------- */

static void remember_call(struct gemini_reader *r, struct part *part)
{
    struct gemini_pending *pending = ARENA_NEW(r->arena, struct gemini_pending);

    if (arena_overflowed(r->arena))
        return;
    pending->call = part;
    *r->pending_end = pending;
    r->pending_end = &pending->next;
}

static enum error_code read_call(struct gemini_reader *r, struct content *content,
                                 const struct json_member *m, struct str source,
                                 struct part **ret_part)
{
    struct part *part = new_part(r, PART_TOOL_CALL, source);
    struct str object = STR_NULL;
    struct str args = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    if (content->role != ROLE_ASSISTANT)
        return gemini_request_fail(r, m->key, "in a content of the role model");
    r->inner = "functionCall";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("name")))
            TRY(gemini_request_string(r, &inner, &part->name));
        else if (str_eq(inner.key, STR("id")))
            TRY(gemini_request_string(r, &inner, &part->id));
        else if (str_eq(inner.key, STR("args")))
            TRY(gemini_request_object(r, &inner, &args));
    }
    if (part->name.n == 0)
        return gemini_request_fail(r, STR("name"), "a string");
    part->text = str_is_null(args) ? STR("{}") : json_compact(args, r->arena);
    if (part->id.n == 0)
        part->id = str_print(r->arena, "g%zu_%zu", r->at, content->calls++);
    r->inner = NULL;
    remember_call(r, part);
    *ret_part = part;
    return OK;
}

/* The call that a result answers: of that id, or else the first one of that name that has no
 * answer. NULL: none. */
static struct gemini_pending *find_call(struct gemini_reader *r, const struct part *result)
{
    size_t looked = 0;

    while (r->pending != NULL && r->pending->answered)
        r->pending = r->pending->next;
    if (r->pending == NULL)
        r->pending_end = &r->pending;
    for (struct gemini_pending *p = r->pending; p != NULL && looked < MATCH_MAX; p = p->next) {
        looked++;
        if (p->answered)
            continue;
        if (result->id.n > 0 ? str_eq(p->call->id, result->id)
                             : str_eq(p->call->name, result->name))
            return p;
    }
    return NULL;
}

/* response: {"output":…} and {"error":…} alone are what they hold, all else is itself
 * (mapping.md, 4.4). */
static void read_response(struct gemini_reader *r, struct part *result, struct str object)
{
    struct part *text = new_part(r, PART_TEXT, object);
    struct json_member m;
    struct json_member first = {.value = STR_NULL};
    size_t cursor = 0;
    size_t n = 0;

    while (json_object_next(object, &cursor, r->arena, &m)) {
        if (n++ == 0)
            first = m;
    }
    bool error = n == 1 && str_eq(first.key, STR("error"));
    struct str value = error || (n == 1 && str_eq(first.key, STR("output"))) ? first.value : object;
    result->is_error = error && !is_null(value);
    text->text = json_kind_of(value) == JSON_STRING ? json_string_value(value, r->arena)
                                                    : json_compact(value, r->arena);
    result->parts = text;
}

/* parts of a functionResponse: media. */
static enum error_code read_response_parts(struct gemini_reader *r, struct part *result,
                                           const struct json_member *m)
{
    struct part **end = &result->parts;
    struct str list = STR_NULL;
    struct str element;
    size_t cursor = 0;

    while (*end != NULL)
        end = &(*end)->next;
    TRY(gemini_request_array(r, m, &list));
    while (gemini_request_next(list, &cursor, &element)) {
        struct json_member inner;
        size_t inner_cursor = 0;
        if (json_kind_of(element) != JSON_OBJECT)
            return gemini_request_fail(r, m->key, "a list of objects");
        while (json_object_next(element, &inner_cursor, r->arena, &inner)) {
            struct part *part;
            if (!gemini_request_is(inner.key, "inlineData") &&
                !gemini_request_is(inner.key, "fileData"))
                continue;
            TRY(read_media(r, &inner, element, &part));
            append(r, &end, part);
        }
    }
    return OK;
}

static enum error_code read_result(struct gemini_reader *r, struct content *content,
                                   const struct json_member *m, struct str source)
{
    struct part *part = new_part(r, PART_TOOL_RESULT, source);
    struct json_member parts = {.value = STR_NULL};
    struct str object = STR_NULL;
    struct str response = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    r->inner = "functionResponse";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("name")))
            TRY(gemini_request_string(r, &inner, &part->name));
        else if (str_eq(inner.key, STR("id")))
            TRY(gemini_request_string(r, &inner, &part->id));
        else if (str_eq(inner.key, STR("response")))
            TRY(gemini_request_object(r, &inner, &response));
        else if (str_eq(inner.key, STR("parts")))
            parts = inner;
    }
    if (part->name.n == 0)
        return gemini_request_fail(r, STR("name"), "a string");
    part->was_text = parts.value.n == 0;
    if (!str_is_null(response))
        read_response(r, part, response);
    if (parts.value.n > 0)
        TRY(read_response_parts(r, part, &parts));
    r->inner = NULL;

    struct gemini_pending *pending = find_call(r, part);
    if (pending != NULL)
        pending->answered = true;
    if (part->id.n == 0)
        part->id = pending != NULL ? pending->call->id
                                   : str_print(r->arena, "g%zu_r%zu", r->at, content->lost++);
    answer(r, content, part);
    return OK;
}

/* --- one part ----------------------------------------------------------------------------- */

/* Packed ones are base64url without padding; an SDK may have sent the other alphabet. */
static struct str read_signature(struct gemini_reader *r, struct str text)
{
    static const struct str packed = {"cHgxL", 5}; /* base64 of "px1." and some bits */
    char *to;
    size_t n = text.n;

    if (!str_starts(text, packed))
        return text;
    while (n > 0 && text.p[n - 1] == '=')
        n--;
    to = arena_alloc(r->arena, n);
    if (arena_overflowed(r->arena))
        return STR_NULL;
    for (size_t i = 0; i < n; i++)
        to[i] = text.p[i] == '+' ? '-' : text.p[i] == '/' ? '_' : text.p[i];
    return str_of(to, n);
}

/* What a part says beside its payload. */
struct beside {
    struct str text;
    struct str signature;
    struct str resolution;
    int thought;
    struct json_member payload; /* value null: none */
};

static enum error_code read_members(struct gemini_reader *r, struct str source,
                                    struct beside *beside)
{
    static const char *const others[] = {"videoMetadata", "partMetadata"};
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(source, &cursor, r->arena, &m)) {
        if (is_null(m.value))
            continue;
        if (str_eq(m.key, STR("text"))) {
            TRY(gemini_request_string(r, &m, &beside->text));
        } else if (str_eq(m.key, STR("thought"))) {
            TRY(gemini_request_bool(r, &m, &beside->thought));
        } else if (gemini_request_is(m.key, "thoughtSignature")) {
            TRY(gemini_request_string(r, &m, &beside->signature));
            beside->signature = read_signature(r, beside->signature);
        } else if (gemini_request_is(m.key, "mediaResolution")) {
            beside->resolution = m.value;
        } else if (gemini_request_is(m.key, others[0]) || gemini_request_is(m.key, others[1])) {
            continue;
        } else if (beside->payload.value.n > 0) {
            return gemini_request_fail(r, m.key, "the only one of its part");
        } else {
            beside->payload = m;
        }
    }
    return OK;
}

static void say_text(struct gemini_reader *r, struct content *content, struct str source,
                     const struct beside *beside)
{
    bool thought = beside->thought == 1;
    struct part *part = new_part(r, thought ? PART_REASONING : PART_TEXT, source);

    part->text = str_is_null(beside->text) ? STR("") : beside->text;
    part->signature = beside->signature.n > 0 ? beside->signature : STR_NULL;
    part->summary = thought;
    say(r, content, part);
}

/* Code that ran, as others are told of it: fenced text (mapping.md, 4.5). All else is the vendor's
 * own. */
static void say_vendor(struct gemini_reader *r, struct content *content, struct str source,
                       const struct json_member *payload)
{
    bool code = gemini_request_is(payload->key, "executableCode");
    bool output = gemini_request_is(payload->key, "codeExecutionResult");
    struct str text = STR_NULL;

    if ((code || output) && json_kind_of(payload->value) == JSON_OBJECT)
        text = json_object_find(payload->value, code ? STR("code") : STR("output"));
    struct part *part = new_part(r, text.n > 0 ? PART_TEXT : PART_VENDOR, source);
    if (text.n > 0 && json_kind_of(text) == JSON_STRING) {
        text = json_string_value(text, r->arena);
        part->text = str_print(r->arena, "\n```%s\n%.*s%s```\n", code ? "python" : "",
                               STR_ARG(text), str_ends(text, STR("\n")) ? "" : "\n");
    } else {
        part->kind = PART_VENDOR;
        part->name = payload->key;
    }
    say(r, content, part);
}

static enum error_code read_part(struct gemini_reader *r, struct content *content,
                                 struct str source)
{
    struct beside beside = {.thought = -1};
    const struct json_member *payload = &beside.payload;
    struct part *part = NULL;

    if (json_kind_of(source) != JSON_OBJECT)
        return gemini_request_fail(r, STR_NULL, "an object");
    TRY(read_members(r, source, &beside));
    if (payload->value.n == 0) {
        if (!str_is_null(beside.text) || beside.signature.n > 0)
            say_text(r, content, source, &beside);
        return OK;
    }
    if (gemini_request_is(payload->key, "functionResponse"))
        return read_result(r, content, payload, source);
    if (gemini_request_is(payload->key, "functionCall")) {
        TRY(read_call(r, content, payload, source, &part));
    } else if (gemini_request_is(payload->key, "inlineData") ||
               gemini_request_is(payload->key, "fileData")) {
        TRY(read_media(r, payload, source, &part));
        part->detail = detail_of(r, beside.resolution);
    } else {
        say_vendor(r, content, source, payload);
        return OK;
    }
    part->signature = beside.signature.n > 0 ? beside.signature : STR_NULL;
    say(r, content, part);
    return OK;
}

/* --- contents ----------------------------------------------------------------------------- */

static enum error_code read_role(struct gemini_reader *r, struct str source, enum role *ret_role)
{
    struct json_member m = {.key = STR("role"),
                            .value = json_fields_find(&r->fields, source, STR("role"))};
    struct str word = STR_NULL;

    TRY(gemini_request_string(r, &m, &word));
    if (word.n == 0 || str_eq(word, STR("user")) || str_eq(word, STR("function")))
        *ret_role = ROLE_USER;
    else if (str_eq(word, STR("model")))
        *ret_role = ROLE_ASSISTANT;
    else
        return gemini_request_fail(r, m.key, "user or model");
    return OK;
}

static enum error_code read_parts(struct gemini_reader *r, struct content *content,
                                  struct str source)
{
    struct json_member m = {.key = STR("parts"),
                            .value = json_fields_find(&r->fields, source, STR("parts"))};
    struct str list = STR_NULL;
    struct str element;
    size_t cursor = 0;

    TRY(gemini_request_array(r, &m, &list));
    r->inner_list = "parts";
    for (r->inner_at = 0; gemini_request_next(list, &cursor, &element); r->inner_at++)
        TRY(read_part(r, content, element));
    r->inner_list = NULL;
    return OK;
}

static void append_turn(struct gemini_reader *r, struct turn *turn)
{
    if (turn == NULL || turn == &r->lost_turn)
        return;
    *r->turns_end = turn;
    r->turns_end = &turn->next;
}

static enum error_code read_content(struct gemini_reader *r, struct str source)
{
    struct content content = {.role = ROLE_USER};

    if (json_kind_of(source) != JSON_OBJECT)
        return gemini_request_fail(r, STR_NULL, "an object");
    r->content = source;
    TRY(read_role(r, source, &content.role));
    /* A new step: what was not answered before is not answered any more. */
    if (content.role == ROLE_ASSISTANT && r->role != ROLE_ASSISTANT) {
        r->pending = NULL;
        r->pending_end = &r->pending;
    }
    r->role = content.role;
    TRY(read_parts(r, &content, source));
    /* Who answers, answers the calls of the step before. */
    append_turn(r, content.results);
    append_turn(r, content.said);
    return OK;
}

static enum error_code read_contents(struct gemini_reader *r, const struct json_member *m)
{
    struct str list = STR_NULL;
    struct str element;
    size_t cursor = 0;

    TRY(gemini_request_array(r, m, &list));
    r->list = "contents";
    for (r->at = 0; gemini_request_next(list, &cursor, &element); r->at++) {
        enum error_code code = read_content(r, element);
        /* What it says of lost text may not be so. */
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "the conversation does not fit into memory");
        TRY(code);
    }
    r->list = NULL;
    return OK;
}

/* A content, whose role does not count; some send the text alone. */
static enum error_code read_system(struct gemini_reader *r, const struct json_member *m)
{
    struct content content = {.role = ROLE_SYSTEM};

    if (is_null(m->value))
        return OK;
    r->content = m->value;
    if (json_kind_of(m->value) == JSON_STRING) {
        struct beside beside = {.text = json_string_value(m->value, r->arena), .thought = -1};
        say_text(r, &content, m->value, &beside);
    } else {
        struct str object = STR_NULL;
        TRY(gemini_request_object(r, m, &object));
        r->inner = "systemInstruction";
        TRY(read_parts(r, &content, object));
        r->inner = NULL;
    }
    append_turn(r, content.said);
    return OK;
}

/* --- the whole request -------------------------------------------------------------------- */

/* The members of what the conversation stands in: the root, or generateContentRequest of
 * countTokens. */
static enum error_code find_members(struct gemini_reader *r, const struct request *request,
                                    struct json_index *ret_index)
{
    enum { ANY_DEPTH = 1024 }; /* it was checked with the root */

    for (size_t i = 0; i < request->index.n; i++) {
        const struct json_member *m = &request->index.members[i];
        if (!gemini_request_is(m->key, "generateContentRequest") || is_null(m->value))
            continue;
        r->base = "generateContentRequest";
        return json_index_read(ret_index, m->value, ANY_DEPTH, NULL, r->arena, r->e);
    }
    *ret_index = request->index;
    return OK;
}

static enum error_code read_all(struct gemini_reader *r, struct request *request)
{
    struct json_index index;

    TRY(find_members(r, request, &index));
    for (size_t i = 0; i < index.n; i++) {
        if (gemini_request_is(index.members[i].key, "systemInstruction"))
            TRY(read_system(r, &index.members[i]));
    }
    for (size_t i = 0; i < index.n; i++) {
        const struct json_member *m = &index.members[i];
        if (str_eq(m->key, STR("contents")))
            TRY(read_contents(r, m));
        else if (!gemini_request_is(m->key, "systemInstruction"))
            TRY(gemini_params_member(r, request, m));
    }
    return gemini_params_end(r, request);
}

enum error_code gemini_request_decode_full(struct request *request,
                                           const struct request_limits *limits, struct arena *arena,
                                           struct error *e)
{
    struct gemini_reader r = {.arena = arena, .e = e};

    (void)limits; /* the depth was checked with the head */
    if (request->full)
        return OK;
    assert(!str_is_null(request->source));
    request->turns = NULL;
    r.turns_end = &request->turns;
    r.pending_end = &r.pending;
    gemini_params_begin(request);
    enum error_code code = read_all(&r, request);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    request->full = true;
    return OK;
}
