/* SPDX-License-Identifier: MIT */
#include "canon/outline.h"

/* What a text may have beside it where its part says no type (Gemini): one other member, and the
 * part is something else. */
static bool is_beside(struct str key)
{
    static const char *const keys[] = {
        "text",
        "thought",
        "thoughtSignature",
        "thought_signature",
        "mediaResolution",
        "media_resolution",
        "videoMetadata",
        "video_metadata",
        "partMetadata",
        "part_metadata",
    };

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static bool is_text_type(struct str type)
{
    static const char *const types[] = {"text", "input_text", "output_text"};

    if (json_kind_of(type) != JSON_STRING || type.n < 2)
        return false;
    struct str body = str_of(type.p + 1, type.n - 2);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (json_string_equals(body, str_c(types[i])))
            return true;
    }
    return false;
}

/* The string of a part that is text; null: it is something else. */
static struct str text_of(struct str part)
{
    struct json_fields fields;

    if (json_kind_of(part) != JSON_OBJECT)
        return STR_NULL;
    fields.object = STR_NULL;
    struct str text = json_fields_find(&fields, part, STR("text"));
    struct str type = json_fields_find(&fields, part, STR("type"));
    if (text.n == 0 || json_kind_of(text) != JSON_STRING)
        return STR_NULL;
    if (type.n > 0 && json_kind_of(type) != JSON_NULL)
        return is_text_type(type) ? text : STR_NULL;
    if (fields.n == JSON_FIELDS_MAX ||
        json_kind_of(json_fields_find(&fields, part, STR("thought"))) == JSON_TRUE)
        return STR_NULL;
    for (size_t i = 0; i < fields.n; i++) {
        const struct json_field *field = &fields.items[i];
        if (json_kind_of(field->value) != JSON_NULL &&
            (field->escaped ? !json_string_equals(field->key, STR("text"))
                            : !is_beside(field->key)))
            return STR_NULL;
    }
    return text;
}

/* Each part in turn; *ret_whole: the content is it. */
static bool next_part(struct str content, size_t *cursor, struct str *ret_part, bool *ret_whole)
{
    *ret_whole = content.n > 0 && json_kind_of(content) == JSON_OBJECT;
    if (*ret_whole) {
        *ret_part = content;
        return (*cursor)++ == 0;
    }
    return json_array_next(content, cursor, ret_part);
}

bool outline_text_next(struct str content, size_t *cursor, struct outline_text *ret_text)
{
    struct str part;
    bool whole;

    if (content.n > 0 && json_kind_of(content) == JSON_STRING) {
        *ret_text = (struct outline_text){.string = content, .part = STR_NULL};
        return (*cursor)++ == 0;
    }
    while (next_part(content, cursor, &part, &whole)) {
        struct str string = text_of(part);
        if (str_is_null(string))
            continue;
        *ret_text = (struct outline_text){.string = string, .part = whole ? STR_NULL : part};
        return true;
    }
    return false;
}

size_t outline_others(struct str content)
{
    struct str part;
    size_t cursor = 0;
    size_t n = 0;
    bool whole;

    while (next_part(content, &cursor, &part, &whole))
        n += str_is_null(text_of(part));
    return n;
}
