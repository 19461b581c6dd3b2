/* SPDX-License-Identifier: MIT */
/*
 * What      What upstreams say of their limits in headers, as clients of another protocol know it
 *           (mapping.md, section 11), and how long it says to wait.
 * How       Of OpenAI:    x-ratelimit-{limit,remaining,reset}-{requests,tokens}; a duration
 *           Of Anthropic: anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}; a time
 *           (RFC 3339). Anthropic's other limits, and Gemini, have no counterpart.
 * Not here  Headers that go down as they are, and Retry-After (answer).
 */
#include "gateway/quota.h"

#include <stdio.h>
#include <time.h>

#include "http/message.h"
#include "protocol/protocol.h"

enum { WAIT_S_MAX = 7 * 24 * 3600, DAY_S = 24 * 3600 };

enum { KINDS = 2, MEMBERS = 3, REMAINING = 1, RESET = 2 };

/* --- times --- */

/* What a duration's number counts, in seconds; 0: no unit. *ret_n: its length. */
static double unit_of(struct str text, size_t *ret_n)
{
    static const struct {
        struct str name;
        double seconds;
    } units[] = {
        {STR_INIT("ms"), 0.001}, {STR_INIT("s"), 1},     {STR_INIT("m"), 60},
        {STR_INIT("h"), 3600},   {STR_INIT("d"), DAY_S},
    };

    for (size_t i = 0; i < COUNT_OF(units); i++) {
        *ret_n = units[i].name.n;
        if (str_starts(text, units[i].name))
            return units[i].seconds;
    }
    return 0;
}

/* "6m0s", "120ms", "1m26.4s", "12". */
static bool read_duration(struct str text, double *ret_s)
{
    double total = 0;

    if (str_to_double(text, ret_s))
        return *ret_s >= 0 && *ret_s <= WAIT_S_MAX;
    while (text.n > 0) {
        double value;
        size_t n = 0;
        while (n < text.n && ((text.p[n] >= '0' && text.p[n] <= '9') || text.p[n] == '.'))
            n++;
        if (!str_to_double(str_head(text, n), &value))
            return false;
        text = str_from(text, n);
        double unit = unit_of(text, &n);
        if (unit <= 0)
            return false;
        total += value * unit;
        text = str_from(text, n);
    }
    *ret_s = total;
    return total >= 0 && total <= WAIT_S_MAX;
}

/* How far a zone is east of Greenwich, in seconds: "Z", "+02:00", behind ".5". */
static bool read_zone(struct str zone, int64_t *ret_east_s)
{
    int64_t hours = 0;
    int64_t minutes = 0;

    if (zone.n > 0 && zone.p[0] == '.') {
        size_t n = 1;
        while (n < zone.n && zone.p[n] >= '0' && zone.p[n] <= '9')
            n++;
        zone = str_from(zone, n);
    }
    *ret_east_s = 0;
    if (str_eq_nocase(zone, STR("z")))
        return true;
    if (zone.n != 6 || (zone.p[0] != '+' && zone.p[0] != '-') ||
        !str_to_int64(str_of(zone.p + 1, 2), &hours) ||
        !str_to_int64(str_of(zone.p + 4, 2), &minutes))
        return false;
    *ret_east_s = hours * 3600 + minutes * 60;
    if (zone.p[0] == '-')
        *ret_east_s = -*ret_east_s;
    return true;
}

static bool digits(struct str text, size_t at, size_t n, int *ret)
{
    int64_t value;

    if (at + n > text.n || text.p[at] < '0' || text.p[at] > '9' ||
        !str_to_int64(str_of(text.p + at, n), &value))
        return false;
    *ret = (int)value;
    return true;
}

/* "2026-01-01T00:00:00Z", "2026-01-01T02:00:00.5+02:00" (RFC 3339), as seconds from now, at least
 * 0. */
static bool read_time(struct str text, int64_t now_ms, double *ret_s)
{
    enum { CLOCK_END = 19 };
    struct tm tm = {.tm_year = 0};
    int64_t east_s;

    if (!digits(text, 0, 4, &tm.tm_year) || !digits(text, 5, 2, &tm.tm_mon) ||
        !digits(text, 8, 2, &tm.tm_mday) || !digits(text, 11, 2, &tm.tm_hour) ||
        !digits(text, 14, 2, &tm.tm_min) || !digits(text, 17, 2, &tm.tm_sec))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (!read_zone(str_from(text, CLOCK_END), &east_s))
        return false;
    double wait = (double)(timegm(&tm) - east_s) - (double)now_ms / 1000;
    *ret_s = wait > 0 ? wait : 0;
    return wait <= WAIT_S_MAX;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) as seconds from now, at least 0. */
static bool date_to_wait(struct str value, int64_t now_ms, double *ret_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    enum { DATE_SIZE = 29, DAY = 5, MONTH = 8, YEAR = 12, CLOCK = 17 };
    int64_t day, year, hour, minute, second, month = 0;

    if (value.n != DATE_SIZE || !str_ends(value, STR(" GMT")) ||
        !str_to_int64(str_of(value.p + DAY, 2), &day) ||
        !str_to_int64(str_of(value.p + YEAR, 4), &year) ||
        !str_to_int64(str_of(value.p + CLOCK, 2), &hour) ||
        !str_to_int64(str_of(value.p + CLOCK + 3, 2), &minute) ||
        !str_to_int64(str_of(value.p + CLOCK + 6, 2), &second))
        return false;
    while (month < 12 && memcmp(months + 3 * month, value.p + MONTH, 3) != 0)
        month++;
    if (month == 12)
        return false;
    struct tm tm = {.tm_year = (int)(year - 1900),
                    .tm_mon = (int)month,
                    .tm_mday = (int)day,
                    .tm_hour = (int)hour,
                    .tm_min = (int)minute,
                    .tm_sec = (int)second};
    double wait = (double)timegm(&tm) - (double)now_ms / 1000;
    *ret_s = wait > 0 ? wait : 0;
    return true;
}

bool quota_retry_after(struct str value, int64_t now_ms, double *ret_s)
{
    return (str_to_double(value, ret_s) || date_to_wait(value, now_ms, ret_s)) && *ret_s >= 0 &&
           *ret_s <= 1e9;
}

/* --- headers --- */

enum family { FAMILY_NONE, FAMILY_OPENAI, FAMILY_ANTHROPIC };

static enum family family_of(const struct protocol *protocol)
{
    struct str name = str_c(protocol->name);

    if (str_starts(name, STR("openai-")))
        return FAMILY_OPENAI;
    return str_eq(name, STR("anthropic")) ? FAMILY_ANTHROPIC : FAMILY_NONE;
}

/* The header's name. */
static struct str name_of(enum family family, size_t kind, size_t member)
{
    static const struct str openai[KINDS][MEMBERS] = {
        {STR_INIT("x-ratelimit-limit-requests"), STR_INIT("x-ratelimit-remaining-requests"),
         STR_INIT("x-ratelimit-reset-requests")},
        {STR_INIT("x-ratelimit-limit-tokens"), STR_INIT("x-ratelimit-remaining-tokens"),
         STR_INIT("x-ratelimit-reset-tokens")},
    };
    static const struct str anthropic[KINDS][MEMBERS] = {
        {STR_INIT("anthropic-ratelimit-requests-limit"),
         STR_INIT("anthropic-ratelimit-requests-remaining"),
         STR_INIT("anthropic-ratelimit-requests-reset")},
        {STR_INIT("anthropic-ratelimit-tokens-limit"),
         STR_INIT("anthropic-ratelimit-tokens-remaining"),
         STR_INIT("anthropic-ratelimit-tokens-reset")},
    };

    return family == FAMILY_OPENAI ? openai[kind][member] : anthropic[kind][member];
}

static struct str value_of(const struct message *m, enum family family, size_t kind, size_t member)
{
    return http_headers_get(&m->headers, name_of(family, kind, member));
}

static bool read_reset(enum family family, struct str value, int64_t now_ms, double *ret_s)
{
    if (str_is_null(value))
        return false;
    return family == FAMILY_OPENAI ? read_duration(value, ret_s) : read_time(value, now_ms, ret_s);
}

static void add_reset(enum family family, double wait_s, int64_t now_ms, struct buf *out)
{
    if (family == FAMILY_OPENAI) {
        (void)buf_print(out, "%.3fs\r\n", wait_s);
        return;
    }
    time_t when = (time_t)(now_ms / 1000) + (time_t)(wait_s + 0.999);
    struct tm tm;
    char text[32];
    (void)gmtime_r(&when, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)buf_add(out, str_of(text, n));
    (void)buf_add(out, STR("\r\n"));
}

void quota_lines(const struct protocol *from_protocol, const struct protocol *to_protocol,
                 const struct message *m, int64_t now_ms, struct buf *out)
{
    enum family from = family_of(from_protocol);
    enum family to = family_of(to_protocol);

    if (from == FAMILY_NONE || to == FAMILY_NONE)
        return;
    for (size_t kind = 0; kind < KINDS; kind++) {
        for (size_t member = 0; member < MEMBERS; member++) {
            struct str value = value_of(m, from, kind, member);
            double wait_s = 0;
            int64_t count;
            if (member == RESET ? !read_reset(from, value, now_ms, &wait_s)
                                : !str_to_int64(value, &count))
                continue;
            (void)buf_add(out, name_of(to, kind, member));
            (void)buf_add(out, STR(": "));
            if (member == RESET && from != to) {
                add_reset(to, wait_s, now_ms, out);
                continue;
            }
            (void)buf_add(out, value);
            (void)buf_add(out, STR("\r\n"));
        }
    }
}

enum { NAME_SIZE_MAX = 96 };

/* If the header says that a limit is used up: what the header with its `member` ("reset") says;
 * null otherwise. x-ratelimit-remaining-KIND, anthropic-ratelimit-KIND-remaining; whatever kind. */
static struct str used_up(const struct message *m, const struct http_header *header,
                          struct str member, enum family *ret_family)
{
    static const struct str openai = STR_INIT("x-ratelimit-remaining-");
    static const struct str anthropic = STR_INIT("anthropic-ratelimit-");
    static const struct str left = STR_INIT("-remaining");
    char room[NAME_SIZE_MAX];
    struct str name = header->name;

    if (!str_eq(header->value, STR("0")) || name.n > NAME_SIZE_MAX / 2)
        return STR_NULL;
    int n = 0;
    if (str_starts_nocase(name, openai)) {
        *ret_family = FAMILY_OPENAI;
        n = snprintf(room, sizeof(room), "x-ratelimit-%.*s-%.*s", STR_ARG(member),
                     STR_ARG(str_from(name, openai.n)));
    } else if (str_starts_nocase(name, anthropic) && name.n > anthropic.n + left.n &&
               str_eq_nocase(str_from(name, name.n - left.n), left)) {
        *ret_family = FAMILY_ANTHROPIC;
        n = snprintf(room, sizeof(room), "%.*s-%.*s", STR_ARG(str_head(name, name.n - left.n)),
                     STR_ARG(member));
    }
    if (n <= 0 || (size_t)n >= sizeof(room))
        return STR_NULL;
    return http_headers_get(&m->headers, str_of(room, (size_t)n));
}

/* Of what is used up, the longest. */
static double reset_wait_s(const struct message *m, int64_t now_ms)
{
    double longest = 0;

    for (size_t i = 0; i < m->headers.n; i++) {
        enum family family = FAMILY_NONE;
        double wait_s = 0;
        struct str reset = used_up(m, &m->headers.items[i], STR("reset"), &family);
        if (read_reset(family, reset, now_ms, &wait_s) && wait_s > longest)
            longest = wait_s;
    }
    return longest;
}

int64_t quota_limit(const struct message *m)
{
    int64_t limit = -1;

    for (size_t i = 0; i < m->headers.n; i++) {
        enum family family;
        struct str value = used_up(m, &m->headers.items[i], STR("limit"), &family);
        if (str_to_int64(value, &limit) && limit >= 0)
            return limit;
    }
    struct str value = http_headers_get(&m->headers, STR("x-ratelimit-limit"));
    return str_to_int64(value, &limit) && limit >= 0 ? limit : -1;
}

double quota_told_s(const struct message *m, int64_t now_ms)
{
    struct str value = http_headers_get(&m->headers, STR("retry-after-ms"));
    double wait = 0;

    if (str_to_double(value, &wait) && wait >= 0 && wait <= 1e12)
        return wait / 1000;
    value = http_headers_get(&m->headers, STR("retry-after"));
    return quota_retry_after(value, now_ms, &wait) ? wait : -1;
}

double quota_wait_s(const struct message *m, int64_t now_ms)
{
    double wait_s = reset_wait_s(m, now_ms);
    int64_t at_ms = 0;

    if (wait_s > 0)
        return wait_s;
    /* OpenRouter: when, in milliseconds since 1970. */
    struct str value = http_headers_get(&m->headers, STR("x-ratelimit-reset"));
    if (str_to_int64(value, &at_ms) && at_ms > now_ms &&
        at_ms - now_ms < WAIT_S_MAX * INT64_C(1000))
        return (double)(at_ms - now_ms) / 1000;
    return 0;
}
