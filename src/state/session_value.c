/* SPDX-License-Identifier: MIT */
#include "state/session_value.h"

#include "base/mem.h"
#include "state/session.h"

struct session_value *session_value_new(const struct settings *settings)
{
    bool any = false;

    for (enum setting i = 0; i < SETTING_COUNT; i++)
        any = any || settings_is_set(settings, i);
    if (!any)
        return NULL;
    struct session_value *value = mem_raw(sizeof(*value) + settings_text_bytes(settings));
    atomic_init(&value->refs, 1);
    settings_pack(settings, value->text, &value->settings);
    return value;
}

struct session_value *session_value_merge(const struct session_value *base,
                                          const struct settings *values, uint32_t mask)
{
    struct settings merged;

    if (base == NULL)
        settings_init(&merged);
    else
        merged = base->settings;
    settings_merge(&merged, values, mask);
    return session_value_new(&merged);
}

struct session_value *session_value_ref(struct session_value *value)
{
    if (value != NULL) {
        size_t before = atomic_fetch_add_explicit(&value->refs, 1, memory_order_relaxed);
        assert(before > 0);
    }
    return value;
}

void session_value_unref(struct session_value *value)
{
    if (value == NULL)
        return;
    size_t before = atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        mem_free(value);
}

bool session_value_write(const struct session_value *value, struct buf *out)
{
    return value == NULL ? buf_add(out, STR("{}")) : settings_write(&value->settings, out);
}

bool session_value_equal(const struct session_value *a, const struct session_value *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return settings_equal(&a->settings, &b->settings);
}

void session_value_refuse(struct error *e)
{
    (void)FAIL(e, ERR_BAD_REQUEST, "all settings of a session may have %d bytes together",
               SESSION_SETTINGS_MAX);
}

bool session_value_fits(const struct session_value *value)
{
    struct buf out;

    if (value == NULL)
        return true;
    if (settings_text_bytes(&value->settings) > SESSION_SETTINGS_MAX)
        return false;
    buf_init(&out, SESSION_SETTINGS_MAX);
    bool fits = session_value_write(value, &out);
    buf_fini(&out);
    return fits;
}
