/* SPDX-License-Identifier: MIT */
#include "state/settings.h"

#include "text/json.h"

enum kind { KIND_text, KIND_count, KIND_flag };

/* A line of setting.def. */
struct row {
    const char *key;
    enum kind kind;
    size_t offset;
};

static const struct row rows[SETTING_COUNT] = {
#define SETTING(kind_, field, key_) \
    {.key = (key_), .kind = KIND_##kind_, .offset = offsetof(struct settings, field)},
#include "state/setting.def"
#undef SETTING
};

static const void *place(const struct settings *settings, enum setting setting)
{
    assert((unsigned)setting < SETTING_COUNT);
    return (const char *)settings + rows[setting].offset;
}

static struct str text_of(const struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_text);
    return *(const struct str *)place(settings, setting);
}

static int64_t count_of(const struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_count);
    return *(const int64_t *)place(settings, setting);
}

static int flag_of(const struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_flag);
    return *(const int *)place(settings, setting);
}

static struct str *text_at(struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_text);
    return (struct str *)((char *)settings + rows[setting].offset);
}

static int64_t *count_at(struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_count);
    return (int64_t *)(void *)((char *)settings + rows[setting].offset);
}

static int *flag_at(struct settings *settings, enum setting setting)
{
    assert(rows[setting].kind == KIND_flag);
    return (int *)(void *)((char *)settings + rows[setting].offset);
}

void settings_init(struct settings *settings)
{
    /* The padding too, so that copies are the same to the byte. */
    memset(settings, 0, sizeof(*settings));
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].kind == KIND_count)
            *count_at(settings, i) = -1;
        else if (rows[i].kind == KIND_flag)
            *flag_at(settings, i) = -1;
    }
}

const char *settings_key(enum setting setting)
{
    assert((unsigned)setting < SETTING_COUNT);
    return rows[setting].key;
}

bool settings_is_set(const struct settings *settings, enum setting setting)
{
    switch (rows[setting].kind) {
    case KIND_text:
        return !str_is_null(text_of(settings, setting));
    case KIND_count:
        return count_of(settings, setting) >= 0;
    case KIND_flag:
        return flag_of(settings, setting) >= 0;
    default:
        BUG("a setting of no kind");
    }
}

struct str settings_value(const struct settings *settings, enum setting setting,
                          struct arena *arena)
{
    if (!settings_is_set(settings, setting))
        return STR_NULL;
    if (rows[setting].kind == KIND_count)
        return str_print(arena, "%lld", (long long)count_of(settings, setting));
    if (rows[setting].kind == KIND_flag)
        return flag_of(settings, setting) > 0 ? STR("true") : STR("false");
    return text_of(settings, setting);
}

void settings_merge(struct settings *to, const struct settings *from, uint32_t mask)
{
    assert(to != from);
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if ((mask & (1u << i)) == 0)
            continue;
        if (rows[i].kind == KIND_text)
            *text_at(to, i) = text_of(from, i);
        else if (rows[i].kind == KIND_count)
            *count_at(to, i) = count_of(from, i);
        else
            *flag_at(to, i) = flag_of(from, i);
    }
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        bool set = settings_is_set(a, i);
        if (set != settings_is_set(b, i))
            return false;
        if (!set)
            continue;
        if (rows[i].kind == KIND_text && !str_eq(text_of(a, i), text_of(b, i)))
            return false;
        if (rows[i].kind == KIND_count && count_of(a, i) != count_of(b, i))
            return false;
        if (rows[i].kind == KIND_flag && (flag_of(a, i) > 0) != (flag_of(b, i) > 0))
            return false;
    }
    return true;
}

void settings_copy(const struct settings *from, struct arena *arena, struct settings *ret_copy)
{
    struct settings copy = *from;

    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].kind == KIND_text)
            *text_at(&copy, i) = str_copy(arena, text_of(from, i));
    }
    *ret_copy = copy;
}

size_t settings_text_bytes(const struct settings *settings)
{
    size_t bytes = 0;

    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].kind == KIND_text)
            bytes += text_of(settings, i).n;
    }
    return bytes;
}

void settings_pack(const struct settings *from, char *text, struct settings *ret_copy)
{
    struct settings copy = *from;

    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].kind != KIND_text || str_is_null(text_of(from, i)))
            continue;
        struct str value = text_of(from, i);
        if (value.n > 0)
            memcpy(text, value.p, value.n);
        *text_at(&copy, i) = str_of(text, value.n);
        text += value.n;
    }
    *ret_copy = copy;
}

bool settings_write(const struct settings *settings, struct buf *out)
{
    bool first = true;

    (void)buf_add_char(out, '{');
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        if (!settings_is_set(settings, i))
            continue;
        if (!first)
            (void)buf_add_char(out, ',');
        first = false;
        (void)json_add_string(out, str_c(rows[i].key));
        (void)buf_add_char(out, ':');
        if (rows[i].kind == KIND_text)
            (void)json_add_string(out, text_of(settings, i));
        else if (rows[i].kind == KIND_count)
            (void)buf_add_int64(out, count_of(settings, i));
        else
            (void)buf_add(out, flag_of(settings, i) > 0 ? STR("true") : STR("false"));
    }
    (void)buf_add_char(out, '}');
    return buf_ok(out);
}

/* False: it is of another kind. */
static bool read_value(struct settings *settings, enum setting setting, yyjson_val *value,
                       struct arena *arena)
{
    if (rows[setting].kind == KIND_text) {
        if (!yyjson_is_str(value))
            return false;
        *text_at(settings, setting) = str_copy(arena, json_str(value));
        return true;
    }
    if (rows[setting].kind == KIND_flag) {
        if (!yyjson_is_bool(value))
            return false;
        *flag_at(settings, setting) = yyjson_is_true(value) ? 1 : 0;
        return true;
    }
    int64_t count;
    if (!json_to_int64(value, &count) || count < 0)
        return false;
    *count_at(settings, setting) = count;
    return true;
}

enum error_code settings_read(struct str json, struct arena *arena, struct settings *ret_settings,
                              struct error *e)
{
    struct json_read_options options = {.depth_max = 0};
    struct settings settings;
    yyjson_val *root = json_read(json, &options, arena, e);

    if (root == NULL)
        return e->code;
    if (!yyjson_is_obj(root))
        return FAIL(e, ERR_BAD_REQUEST, "settings are an object");
    settings_init(&settings);
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        yyjson_val *value = json_get(root, str_c(rows[i].key));
        if (value == NULL || yyjson_is_null(value))
            continue;
        if (!read_value(&settings, i, value, arena))
            return FAIL(e, ERR_BAD_REQUEST, "%s has a value of another kind", rows[i].key);
    }
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "settings need too much memory");
    *ret_settings = settings;
    return OK;
}
