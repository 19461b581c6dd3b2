/* SPDX-License-Identifier: MIT */
/*
 * What      Looks into opaque requests and answers, as far as the proxy must: for whom they are,
 *           and what they cost.
 * How       A body is not checked: what cannot be read is not found, and goes on as it came. In
 *           JSON only members of the root count that have come whole; strings are stepped over, so
 *           that nothing within one is taken for a member.
 * Not here  What follows from it (opaque), which backend a name means (pipeline/stage_resolve).
 */
#include "gateway/opaque_look.h"

#include "text/json.h"
#include "text/json_index.h"
#include "text/multipart.h"
#include "text/url.h"

/* --- paths -------------------------------------------------------------------------------- */

/* Paths under /v2 that are the proxy's own, whether it serves them or not. */
static const struct str own_segments[] = {STR_INIT("audit"), STR_INIT("usage"),
                                          STR_INIT("performance"), STR_INIT("backends"),
                                          STR_INIT("sessions")};

static bool is_unreserved(unsigned c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && c < 0x80 && strchr("-._~", (int)c) != NULL);
}

/* A byte that stands encoded, and has to. */
static bool is_plain_escape(struct str path, size_t at)
{
    int high = at + 2 < path.n ? str_hex_digit(path.p[at + 1]) : -1;
    int low = at + 2 < path.n ? str_hex_digit(path.p[at + 2]) : -1;

    if (high < 0 || low < 0)
        return false;
    unsigned c = (unsigned)high * 16 + (unsigned)low;
    return !is_unreserved(c) && c >= 0x20 && c != 0x7f && c != '/' && c != '\\';
}

static bool is_plain(struct str path)
{
    struct str rest = str_from(path, 1);
    struct str segment;

    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c == '%' ? !is_plain_escape(path, i)
                     : !is_unreserved(c) && (c == 0 || strchr("/:@!$&'()*+,;=", c) == NULL))
            return false;
    }
    while (str_cut(&rest, '/', &segment)) {
        /* What stands behind a ';' some servers drop before they look for dots. */
        segment = str_head(segment, str_find_char(segment, ';', 0));
        if (segment.n == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return false;
    }
    return true;
}

bool opaque_look_path(struct str path, struct str *ret_rest)
{
    static const struct str versions[] = {STR_INIT("/v1/"), STR_INIT("/v2/"),
                                          STR_INIT("/anthropic/v1/")};

    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct str version = versions[i];
        if (!str_starts(path, version) || !is_plain(path))
            continue;
        struct str rest = str_from(path, version.n);
        struct str first = str_head(rest, str_find_char(rest, '/', 0));
        for (size_t j = 0; j < COUNT_OF(own_segments); j++) {
            if (str_eq(version, STR("/v2/")) && str_eq(first, own_segments[j]))
                return false;
        }
        *ret_rest = str_from(path, version.n - 1);
        return true;
    }
    return false;
}

bool opaque_look_is_anthropic(struct str path)
{
    return str_starts(path, STR("/v1/messages/")) || str_starts(path, STR("/v2/messages/")) ||
           str_starts(path, STR("/anthropic/"));
}

bool opaque_look_names_model(struct str method, struct str rest)
{
    static const struct str families[] = {STR_INIT("embeddings"),  STR_INIT("completions"),
                                          STR_INIT("images"),      STR_INIT("audio"),
                                          STR_INIT("moderations"), STR_INIT("rerank")};
    struct str first = str_from(rest, 1);

    first = str_head(first, str_find_char(first, '/', 0));
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        if (str_eq(first, families[i]))
            return str_eq(method, STR("POST"));
    }
    return false;
}

/* --- models ------------------------------------------------------------------------------- */

static enum error_code twice(const char *where, struct error *e)
{
    return FAIL(e, ERR_BAD_REQUEST, "model stands twice in the %s", where);
}

static enum error_code look_query(struct str query, struct arena *arena, struct opaque_model *model,
                                  struct error *e)
{
    struct str rest = query;
    struct str name;
    struct str value;

    while (url_query_next(&rest, &name, &value)) {
        if (!str_eq(url_decode(name, true, arena), STR("model")) || value.n == 0)
            continue;
        if (model->place != OPAQUE_NOWHERE)
            return twice("query", e);
        model->place = OPAQUE_QUERY;
        model->name = url_decode(value, true, arena);
        model->begin = (size_t)(value.p - query.p);
        model->end = model->begin + value.n;
    }
    return OK;
}

/* A string that is one, without its quotes unescaped; null: it is not valid. */
static struct str string_of(struct str value, struct arena *arena)
{
    bool escaped;

    if (json_kind_of(value) != JSON_STRING || value.n < 2 ||
        json_string_scan(value.p + 1, value.n - 1, &escaped) != value.n - 2)
        return STR_NULL;
    return json_string_value(value, arena);
}

static size_t blanks(struct str s)
{
    size_t n = 0;

    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t' || s.p[n] == '\r' || s.p[n] == '\n'))
        n++;
    return n;
}

static enum error_code look_json(struct str body, struct arena *arena, struct opaque_model *model,
                                 struct error *e)
{
    size_t root = blanks(body);
    struct str object = str_from(body, root);
    struct json_member member;
    size_t cursor = 0;
    bool seen = false;

    if (json_kind_of(object) != JSON_OBJECT)
        return OK;
    while (json_object_next(object, &cursor, arena, &member)) {
        if (!str_eq(member.key, STR("model")))
            continue;
        if (seen)
            return twice("body", e);
        seen = true;
        struct str name = string_of(member.value, arena);
        if (name.n == 0)
            continue;
        model->place = OPAQUE_JSON;
        model->name = name;
        model->begin = (size_t)(member.value.p - body.p);
        model->end = model->begin + member.value.n;
    }
    return OK;
}

static enum error_code look_multipart(struct str body, struct str boundary,
                                      struct opaque_model *model, struct error *e)
{
    struct multipart_field field = multipart_find(body, boundary, STR("model"));

    if (field.count > 1)
        return twice("body", e);
    if (field.count == 0 || field.begin == field.end)
        return OK;
    model->place = OPAQUE_MULTIPART;
    model->name = str_of(body.p + field.begin, field.end - field.begin);
    model->begin = field.begin;
    model->end = field.end;
    return OK;
}

/* By its type; without one, or with the one that curl -d says of everything, by its first byte. */
static bool is_json(struct str content_type, struct str body)
{
    struct str type = str_trim(str_head(content_type, str_find_char(content_type, ';', 0)));

    if (type.n == 0 || str_eq_nocase(type, STR("application/x-www-form-urlencoded")))
        return json_kind_of(str_from(body, blanks(body))) == JSON_OBJECT;
    return str_eq_nocase(type, STR("application/json")) ||
           (type.n > 5 && str_eq_nocase(str_from(type, type.n - 5), STR("+json")));
}

enum error_code opaque_look_model(struct str query, struct str content_type, struct str body,
                                  struct arena *arena, struct opaque_model *ret_model,
                                  struct error *e)
{
    *ret_model = (struct opaque_model){.place = OPAQUE_NOWHERE};
    TRY(look_query(query, arena, ret_model, e));
    if (ret_model->place != OPAQUE_NOWHERE || body.n == 0)
        return OK;
    if (is_json(content_type, body))
        return look_json(body, arena, ret_model, e);
    struct str boundary = multipart_boundary(content_type, arena);
    return str_is_null(boundary) ? OK : look_multipart(body, boundary, ret_model, e);
}

struct str opaque_look_write(const struct opaque_model *model, struct str name, struct arena *arena)
{
    switch (model->place) {
    case OPAQUE_QUERY:
        return url_encode(name, "", arena);
    case OPAQUE_JSON:
        return json_quote(name, arena);
    case OPAQUE_MULTIPART:
        return name;
    case OPAQUE_NOWHERE:
        break;
    }
    BUG("there is no model");
}

/* --- answers ------------------------------------------------------------------------------ */

static int64_t number_of(struct str object, struct str first, struct str second)
{
    int64_t n = -1;
    struct str value = json_object_find(object, first);

    if (str_is_null(value))
        value = json_object_find(object, second);
    return str_to_int64(value, &n) && n >= 0 ? n : -1;
}

struct opaque_usage opaque_look_usage(struct str json)
{
    struct opaque_usage usage = {-1, -1, -1};
    struct str object = str_from(json, blanks(json));

    if (json_kind_of(object) != JSON_OBJECT)
        return usage;
    object = json_object_find(object, STR("usage"));
    if (json_kind_of(object) != JSON_OBJECT)
        return usage;
    usage.input = number_of(object, STR("prompt_tokens"), STR("input_tokens"));
    usage.output = number_of(object, STR("completion_tokens"), STR("output_tokens"));
    struct str details = json_object_find(object, STR("prompt_tokens_details"));
    if (str_is_null(details))
        details = json_object_find(object, STR("input_tokens_details"));
    if (json_kind_of(details) == JSON_OBJECT)
        usage.cached = number_of(details, STR("cached_tokens"), STR("cache_read_tokens"));
    return usage;
}
