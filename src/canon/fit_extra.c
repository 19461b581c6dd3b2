/* SPDX-License-Identifier: MIT */
#include "canon/fit_priv.h"

#include "text/json_index.h"

/* What becomes of a member of the root that no other protocol has. */
enum fate {
    WARNED,       /* left out, and told */
    REFUSED,      /* without it the request means something else */
    REFUSED_VALUE /* the member is known, and so said */
};

static const struct {
    const char *key;
    enum fate fate;
} members[] = {
    {"logit_bias", WARNED},
    {"web_search_options", WARNED},
    {"safetySettings", WARNED},
    {"safety_settings", WARNED},
    {"labels", WARNED},
    {"context_management", WARNED},
    {"mcp_servers", WARNED},
    {"container", WARNED},
    {"cachedContent", REFUSED},
    {"cached_content", REFUSED},
    {"conversation", REFUSED},
    {"prompt", REFUSED},
    {"background", REFUSED_VALUE},
    {"audio", REFUSED},
};

/* Such a value says nothing. */
static bool is_neutral(struct str value)
{
    enum json_kind kind = json_kind_of(value);

    return kind == JSON_NULL || kind == JSON_FALSE || str_eq(value, STR("{}")) ||
           str_eq(value, STR("[]"));
}

enum error_code fit_extra_check(struct fitter *f, const struct extra *extra, struct error *e)
{
    for (; extra != NULL; extra = extra->next) {
        for (size_t i = 0; i < COUNT_OF(members); i++) {
            if (!str_eq(extra->key, str_c(members[i].key)) || is_neutral(extra->value))
                continue;
            if (members[i].fate == REFUSED)
                return FAIL(e, ERR_UNSUPPORTED, "\"%s\"", members[i].key);
            if (members[i].fate == REFUSED_VALUE)
                return FAIL(e, ERR_UNSUPPORTED_VALUE, "\"%s\"", members[i].key);
            translation_warn_of(f->t, "dropped", extra->key);
        }
    }
    return OK;
}
