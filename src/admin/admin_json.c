/* SPDX-License-Identifier: MIT */
#include "admin/admin_json.h"

#include <time.h>

#include "text/json.h"

void admin_json_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (ms < 0 || gmtime_r(&seconds, &tm) == NULL) {
        (void)buf_add(out, STR("null"));
        return;
    }
    (void)buf_print(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year + 1900,
                    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

void admin_json_us(struct buf *out, int64_t us)
{
    if (us < 0)
        (void)buf_add(out, STR("null"));
    else
        (void)buf_print(out, "%lld.%03d", (long long)(us / 1000), (int)(us % 1000));
}

void admin_json_text(struct buf *out, struct str text)
{
    if (str_is_null(text))
        (void)buf_add(out, STR("null"));
    else
        (void)json_add_string(out, text);
}
