/* SPDX-License-Identifier: MIT */
#include "command/value.h"

#include <inttypes.h>

#include "command/names.h"
#include "text/json.h"
#include "text/utf8.h"

enum { NUMBER_BYTES_MAX = 24, JSON_DEPTH_MAX = 32 };

static const char words_true[] = "true|yes|on|1|enabled|enable|y|t";
static const char words_false[] = "false|no|off|0|disabled|disable|n|f|none";

static enum value_fault read_text(const struct arg_spec *spec, struct str typed)
{
    int64_t max = 0;
    bool known = str_to_int64(str_c(spec->max), &max);

    assert(known && max > 0);
    if (typed.n > (size_t)max)
        return VALUE_LONG;
    return utf8_valid(typed) && !utf8_has_control(typed) ? VALUE_OK : VALUE_BYTES;
}

bool value_is_false(struct str typed)
{
    return names_has(words_false, str_trim(typed));
}

static enum value_fault read_flag(struct str typed, bool *ret_flag)
{
    *ret_flag = names_has(words_true, typed);
    return *ret_flag || value_is_false(typed) ? VALUE_OK : VALUE_WRONG;
}

static enum value_fault read_count(const struct arg_spec *spec, struct str typed,
                                   int64_t *ret_count)
{
    int64_t min = 0;
    int64_t max = 0;
    bool known = str_to_int64(str_c(spec->min), &min) && str_to_int64(str_c(spec->max), &max);

    assert(known && min <= max);
    for (size_t i = 0; i < typed.n; i++) {
        if (!(typed.p[i] >= '0' && typed.p[i] <= '9') && !(i == 0 && typed.p[i] == '-'))
            return VALUE_WRONG;
    }
    /* Only digits: what is no number has too many of them. */
    if (!str_to_int64(typed, ret_count))
        return typed.n > 1 || typed.p[0] != '-' ? VALUE_RANGE : VALUE_WRONG;
    return *ret_count >= min && *ret_count <= max ? VALUE_OK : VALUE_RANGE;
}

/* The token goes into the upstream's JSON as it is, so it must be one of JSON's numbers. */
static bool is_number(struct str s)
{
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    size_t whole = i;

    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    if (i == whole || (s.p[whole] == '0' && i > whole + 1))
        return false;
    if (i == s.n)
        return true;
    if (s.p[i] != '.')
        return false;
    size_t part = ++i;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i > part && i == s.n;
}

static enum value_fault read_number(const struct arg_spec *spec, struct str typed)
{
    double min = 0;
    double max = 0;
    double number = 0;
    bool known = str_to_double(str_c(spec->min), &min) && str_to_double(str_c(spec->max), &max);

    assert(known && min <= max);
    if (typed.n > NUMBER_BYTES_MAX || !is_number(typed) || !str_to_double(typed, &number))
        return VALUE_WRONG;
    return number >= min && number <= max && typed.p[0] != '-' ? VALUE_OK : VALUE_RANGE;
}

static struct str choice_of(const char *list, struct str typed)
{
    struct str rest = str_c(list);
    struct str one;

    while (str_cut(&rest, '|', &one)) {
        size_t sign = str_find_char(one, '=', 0);
        if (names_eq(str_head(one, sign), typed))
            return sign == SIZE_MAX ? one : str_from(one, sign + 1);
    }
    return STR_NULL;
}

static enum value_fault read_json(const struct arg_spec *spec, struct str typed,
                                  struct arena *arena, struct str *ret_text)
{
    const struct json_read_options options = {.depth_max = JSON_DEPTH_MAX};
    int64_t max = 0;
    bool known = str_to_int64(str_c(spec->max), &max);

    assert(known && max > 0);
    if (typed.n > (size_t)max)
        return VALUE_LONG;
    yyjson_val *root = json_read(typed, &options, arena, NULL);
    if (!yyjson_is_obj(root))
        return VALUE_WRONG;
    *ret_text = json_text(root, arena);
    return VALUE_OK;
}

enum value_fault value_read(const struct arg_spec *spec, const char *synonyms, struct str typed,
                            struct arena *arena, struct value *ret_value)
{
    struct value value = {.text = spec->kind == ARG_TEXT ? typed : str_trim(typed)};
    enum value_fault fault = VALUE_OK;

    assert(!str_is_null(typed));
    if (str_trim(typed).n == 0)
        return VALUE_EMPTY;
    switch (spec->kind) {
    case ARG_TEXT:
        fault = read_text(spec, value.text);
        break;
    case ARG_FLAG:
        fault = read_flag(value.text, &value.flag);
        value.text = value.flag ? STR("true") : STR("false");
        break;
    case ARG_COUNT:
        fault = read_count(spec, value.text, &value.count);
        value.text = str_print(arena, "%" PRId64, value.count); /* "007" is 7 */
        break;
    case ARG_NUMBER:
        fault = read_number(spec, value.text);
        break;
    case ARG_CHOICE: {
        struct str word = choice_of(spec->min, value.text);
        value.text = str_is_null(word) ? choice_of(synonyms, value.text) : word;
        fault = str_is_null(value.text) ? VALUE_WRONG : VALUE_OK;
        break;
    }
    case ARG_JSON:
        fault = read_json(spec, value.text, arena, &value.text);
        break;
    case ARG_KEY:
        BUG("a key has no value");
    }
    if (fault == VALUE_OK) {
        value.text = str_copy(arena, value.text);
        *ret_value = value;
    }
    return fault;
}

void value_range(const struct arg_spec *spec, struct buf *out)
{
    switch (spec->kind) {
    case ARG_TEXT:
        (void)buf_print(out, "text of %s to %s bytes", spec->min, spec->max);
        break;
    case ARG_FLAG:
        (void)buf_add(out, STR("true or false (yes no, on off, 1 0, enabled disabled)"));
        break;
    case ARG_COUNT:
        (void)buf_print(out, "a whole number from %s to %s", spec->min, spec->max);
        break;
    case ARG_NUMBER:
        (void)buf_print(out, "a number from %s to %s", spec->min, spec->max);
        break;
    case ARG_CHOICE: {
        struct str rest = str_c(spec->min);
        struct str word;
        bool first = true;
        while (str_cut(&rest, '|', &word)) {
            const char *between = str_is_null(rest) ? " or " : ", ";
            (void)buf_print(out, "%s%.*s", first ? "" : between, STR_ARG(word));
            first = false;
        }
        break;
    }
    case ARG_JSON:
        (void)buf_print(out, "a JSON object of at most %s bytes", spec->max);
        break;
    case ARG_KEY:
        break;
    }
}
