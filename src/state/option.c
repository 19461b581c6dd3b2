/* SPDX-License-Identifier: MIT */
/*
 * What      The kinds of options: parsing, ranges, storing and printing.
 * How       text ─ parse_KIND ─► struct option_result ─ store ─► field. Minimum and maximum are
 *           texts of the same kind and go through the same parser.
 * Owns      Nothing; texts are the arena's, or borrowed from the value.
 * Not here  Sources, places, precedence (config_*.c); which options there are (the tables).
 */
#include "state/option.h"

#include <inttypes.h>
#include <math.h>

#include "base/log.h"
#include "text/json.h"
#include "text/url.h"
#include "text/utf8.h"

enum { SHOWN_MAX = 40 };

static const int64_t KIB = 1024;

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {{"ms", 1},
                                             {"s", 1000},
                                             {"m", 60 * 1000},
                                             {"h", 3600 * 1000},
                                             {NULL, 1000}};
static const struct unit size_units[] = {{"KiB", 1024},
                                         {"MiB", 1024 * 1024},
                                         {"GiB", 1024 * 1024 * 1024},
                                         {NULL, 1}};

static const struct kind_row {
    const char *name;
    const char *must; /* what a value of it must be */
} kinds[OPTION_KIND_COUNT] = {
    [OPTION_text] = {"text", "must be text"},
    [OPTION_flag] = {"flag", "must be true or false"},
    [OPTION_count] = {"count", "must be a whole number"},
    [OPTION_duration] = {"duration", "must be seconds, or a number with ms, s, m or h,"},
    [OPTION_size] = {"size", "must be bytes, or a number with KiB, MiB or GiB,"},
    [OPTION_level] = {"level", "must be debug, info, warning or error"},
    [OPTION_texts] = {"texts", "must be a list of texts, or one text"},
    [OPTION_maybe] = {"flag", "must be true or false"},
    [OPTION_off] = {"flag", "must be true or false, on or off"},
    [OPTION_pairs] = {"map", "must be a map of texts"},
    [OPTION_proxy] = {"proxy", "must be the URL of an http or https proxy, "
                               "http://[user:password@]host[:port]"},
    [OPTION_choice] = {"choice", "must be one of"},
    [OPTION_wait] = {"duration", "must be off, seconds, or a number with ms, s, m or h,"},
    [OPTION_prefix] = {"text",
                       "Invalid command prefix: must be 2 to 10 printable characters without "
                       "blanks; of two, different ones"},
    [OPTION_decimal] = {"number", "must be a number"},
    [OPTION_levels] = {"map", "must be a map of levels"},
    [OPTION_limits] = {"map", "must be a map of limits"},
    [OPTION_routes] = {"map", "must be a map of routes"},
    [OPTION_tree] = {"map", "must be a map or a list"},
};

bool option_is_plain(enum option_kind kind)
{
    return kind <= OPTION_off || kind == OPTION_proxy || kind == OPTION_choice ||
           kind == OPTION_wait || kind == OPTION_prefix || kind == OPTION_decimal;
}

const char *option_kind_name(enum option_kind kind)
{
    assert((unsigned)kind < OPTION_KIND_COUNT);
    return kinds[kind].name;
}

static bool is_number_kind(enum option_kind kind)
{
    return kind == OPTION_count || kind == OPTION_duration || kind == OPTION_size ||
           kind == OPTION_wait || kind == OPTION_decimal;
}

/* --- parsing --- */

/* "1.5 MiB": digits, at most one point, blanks, a unit of the list (ended by the one without). */
static bool parse_with_unit(struct str text, const struct unit *units, int64_t *ret_value)
{
    size_t digits = 0;
    double number;

    while (digits < text.n &&
           ((text.p[digits] >= '0' && text.p[digits] <= '9') || text.p[digits] == '.'))
        digits++;
    if (!str_to_double(str_head(text, digits), &number))
        return false;
    struct str unit = str_trim(str_from(text, digits));
    if (unit.n > 0) {
        while (units->name != NULL && !str_eq_nocase(unit, str_c(units->name)))
            units++;
        if (units->name == NULL)
            return false;
    } else {
        while (units->name != NULL)
            units++;
    }
    double value = number * (double)units->factor;
    /* Doubles are exact for whole numbers up to 2^53; nothing here is larger. */
    if (value > 9007199254740992.0)
        return false;
    *ret_value = llround(value);
    /* 0.4 ms must not pass for 0, which may mean off. */
    return *ret_value > 0 || number <= 0.0;
}

static bool parse_number(enum option_kind kind, struct str text, int64_t *ret_value)
{
    if (kind == OPTION_count)
        return str_to_int64(text, ret_value);
    if (kind == OPTION_size) {
        /* Without a unit these are bytes, of which there are no halves. */
        int64_t bytes;
        bool whole = str_to_int64(text, &bytes);
        if (!whole && text.n > 0 && text.p[text.n - 1] <= '9')
            return false;
        return parse_with_unit(text, size_units, ret_value);
    }
    return parse_with_unit(text, duration_units, ret_value);
}

static bool parse_flag(const struct option_value *value, bool *ret_flag)
{
    static const char *const on[] = {"true", "yes", "on", "1"};
    static const char *const off[] = {"false", "no", "off", "0"};
    size_t n = value->loose ? COUNT_OF(on) : COUNT_OF(on) - 1;

    if (value->quoted)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (str_eq_nocase(value->text, str_c(on[i])) || str_eq_nocase(value->text, str_c(off[i]))) {
            *ret_flag = str_eq_nocase(value->text, str_c(on[i]));
            return true;
        }
    }
    return false;
}

static bool parse_choice(const struct option *option, struct str text)
{
    struct str rest = str_c(option->min);
    struct str choice;

    assert(rest.n > 0);
    while (str_cut(&rest, '|', &choice)) {
        if (str_eq(choice, text))
            return true;
    }
    return false;
}

/* A command's prefix. Characters are bytes here: none of more than one byte is printable in every
 * terminal, and the contract counts characters that can be typed. */
static bool parse_prefix(struct str text)
{
    if (text.n < 2 || text.n > 10 || (text.n == 2 && text.p[0] == text.p[1]))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return false;
    }
    return true;
}

/* "a, b" of one text; empty parts are left out. */
static struct str_list split_list(struct str text, struct arena *arena)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ',';
    struct str_list list = {.items = arena_array(arena, n, sizeof(*list.items)), .n = 0};
    struct str part;
    while (!arena_overflowed(arena) && str_cut(&text, ',', &part)) {
        part = str_trim(part);
        if (part.n > 0)
            list.items[list.n++] = part;
    }
    return list;
}

static struct str_list parse_list(const struct option_value *value, struct arena *arena)
{
    if (value->is_list)
        return value->list;
    if (value->loose && !value->quoted)
        return split_list(value->text, arena);
    struct str_list list = {.items = ARENA_NEW(arena, struct str), .n = 1};
    list.items[0] = value->text;
    return list;
}

static bool in_range(const struct option *option, int64_t number)
{
    int64_t bound = 0;

    if (option->min[0] == '\0')
        return true;
    bool ok = parse_number(option->kind, str_c(option->min), &bound);
    assert(ok);
    if (number < bound)
        return false;
    ok = parse_number(option->kind, str_c(option->max), &bound);
    assert(ok);
    return number <= bound;
}

/* A JSON number: it goes into requests as it stands. */
static bool parse_decimal(const struct option *option, struct str text, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 0};
    double number;
    double bound;

    if (!yyjson_is_raw(json_read(text, &options, arena, NULL)) || !str_to_double(text, &number))
        return false;
    if (option->min[0] == '\0')
        return true;
    bool ok = str_to_double(str_c(option->min), &bound);
    assert(ok);
    if (number < bound)
        return false;
    ok = str_to_double(str_c(option->max), &bound);
    assert(ok);
    return number <= bound;
}

static bool parse_scalar(const struct option *option, const struct option_value *value,
                         struct arena *arena, struct option_result *result)
{
    enum log_level level;

    result->text = value->text;
    switch (option->kind) {
    case OPTION_text:
    case OPTION_proxy: /* parse_proxy */
        return true;
    case OPTION_flag:
    case OPTION_maybe:
    case OPTION_off:
        if (!parse_flag(value, &result->flag))
            return false;
        result->number = result->flag;
        return true;
    case OPTION_wait:
        if (str_eq_nocase(value->text, STR("off")))
            return true;
        return parse_number(option->kind, value->text, &result->number) &&
               in_range(option, result->number);
    case OPTION_count:
    case OPTION_duration:
    case OPTION_size:
        if (value->quoted && option->kind == OPTION_count)
            return false;
        return parse_number(option->kind, value->text, &result->number) &&
               in_range(option, result->number);
    case OPTION_level:
        if (!log_level_parse(value->text, &level))
            return false;
        result->number = (int64_t)level;
        return true;
    case OPTION_choice:
        return parse_choice(option, value->text);
    case OPTION_prefix:
        return parse_prefix(value->text);
    case OPTION_decimal:
        return !value->quoted && parse_decimal(option, value->text, arena);
    case OPTION_texts:
    case OPTION_pairs:
    case OPTION_levels:
    case OPTION_limits:
    case OPTION_routes:
    case OPTION_tree:
    case OPTION_KIND_COUNT:
        break;
    }
    BUG("no scalar");
}

/* The value as a message may show it: quoted, short, printable; "" when it may not. */
static struct str shown(const struct option_value *value, struct arena *arena)
{
    if (value->hidden)
        return STR("");
    if (value->is_list)
        return STR("a list");
    struct str head = str_head(value->text, SHOWN_MAX);
    bool cut = head.n < value->text.n;
    char *text = arena_array(arena, head.n + 1, 1);
    for (size_t i = 0; i < head.n && !arena_overflowed(arena); i++)
        text[i] = head.p[i] >= ' ' && head.p[i] <= '~' ? head.p[i] : '?';
    return str_print(arena, "\"%.*s%s\"", (int)head.n, text, cut ? "..." : "");
}

static struct str choices_of(const struct option *option, struct arena *arena)
{
    struct str rest = str_c(option->min);
    struct str choice;
    struct str all = STR("");

    while (str_cut(&rest, '|', &choice))
        all = str_print(arena, "%.*s%s %.*s", STR_ARG(all), all.n > 0 ? "," : "", STR_ARG(choice));
    return all;
}

struct str option_why(const struct option *option, const char *got, struct arena *arena)
{
    const char *must = kinds[option->kind].must;
    struct str range = STR("");

    assert(must != NULL);
    if (option->kind == OPTION_choice)
        range = choices_of(option, arena);
    else if (is_number_kind(option->kind) && option->min[0] != '\0')
        range = str_print(arena, " from %s to %s", option->min, option->max);
    return str_print(arena, "%s%.*s%s%s", must, STR_ARG(range), got[0] != '\0' ? ", not " : "",
                     got);
}

/* What is wrong is said without the value: a password may stand in it. "" is no proxy. */
static bool parse_proxy(const struct option *option, const struct option_value *value,
                        struct arena *arena, struct option_result *ret_result, struct str *ret_why)
{
    struct url_proxy proxy;
    struct error e = {.detail = "a list"};

    ret_result->text = value->text;
    if (!value->is_list &&
        (value->text.n == 0 || url_parse_proxy(value->text, arena, &proxy, &e) == OK))
        return true;
    *ret_why = option_why(option, e.detail, arena);
    return false;
}

/* A log's template may have tabs between what it names. */
static bool has_control(const struct option *option, struct str text)
{
    struct str part;

    if (!str_eq(str_c(option->path), STR("logging.format")))
        return utf8_has_control(text);
    while (str_cut(&text, '\t', &part)) {
        if (utf8_has_control(part))
            return true;
    }
    return false;
}

/* Texts become names, paths, parts of headers and of the log: each is one line. */
static bool is_one_line(const struct option *option, const struct option_result *result,
                        struct arena *arena, struct str *ret_why)
{
    if (option->kind == OPTION_text && has_control(option, result->text)) {
        *ret_why = STR("must be text without line breaks and control characters");
        return false;
    }
    for (size_t i = 0; i < result->list.n; i++) {
        if (utf8_has_control(result->list.items[i])) {
            *ret_why = str_print(arena, "number %zu has a line break or a control character",
                                 i + 1);
            return false;
        }
    }
    return true;
}

bool option_parse(const struct option *option, const struct option_value *value,
                  struct arena *arena, struct option_result *ret_result, struct str *ret_why)
{
    struct option_result result = {.text = STR_NULL};
    bool ok;

    assert(option_is_plain(option->kind));
    assert(option->min != NULL && option->max != NULL);
    assert(!value->is_list || value->list.items != NULL || value->list.n == 0);
    if (option->kind == OPTION_proxy) {
        *ret_result = result;
        return parse_proxy(option, value, arena, ret_result, ret_why);
    }
    if (option->kind == OPTION_texts) {
        result.list = parse_list(value, arena);
        ok = true;
    } else {
        ok = !value->is_list && parse_scalar(option, value, arena, &result);
    }
    if (!ok) {
        *ret_why = option_why(option, str_z(arena, shown(value, arena)), arena);
        return false;
    }
    if (!is_one_line(option, &result, arena, ret_why))
        return false;
    *ret_result = result;
    return true;
}

/* --- fields --- */

void option_store(const struct option *option, const struct option_result *result, void *base)
{
    void *field = (char *)base + option->offset;

    assert(option->offset != SIZE_MAX);
    switch (option->kind) {
    case OPTION_text:
    case OPTION_choice:
    case OPTION_prefix:
    case OPTION_decimal:
        *(struct str *)field = result->text;
        return;
    case OPTION_flag:
        *(bool *)field = result->flag;
        return;
    case OPTION_off:
        *(bool *)field = !result->flag;
        return;
    case OPTION_maybe:
        *(int *)field = (int)result->number;
        return;
    case OPTION_count:
    case OPTION_duration:
        *(int64_t *)field = result->number;
        return;
    case OPTION_size:
        assert(result->number >= 0);
        *(size_t *)field = (size_t)result->number;
        return;
    case OPTION_level:
        *(enum log_level *)field = (enum log_level)result->number;
        return;
    case OPTION_texts:
    case OPTION_pairs:
    case OPTION_levels:
        *(struct str_list *)field = result->list;
        return;
    case OPTION_proxy:
        secret_free(field);
        *(struct secret *)field = secret_new(result->text);
        return;
    case OPTION_wait:
    case OPTION_limits:
    case OPTION_routes:
    case OPTION_tree:
    case OPTION_KIND_COUNT:
        break;
    }
    BUG("a kind without a field");
}

void option_fetch(const struct option *option, const void *base, struct option_result *ret_result)
{
    const void *field = (const char *)base + option->offset;
    struct option_result result = {.text = STR_NULL};

    assert(option->offset != SIZE_MAX);
    switch (option->kind) {
    case OPTION_text:
    case OPTION_choice:
    case OPTION_prefix:
    case OPTION_decimal:
        result.text = *(const struct str *)field;
        break;
    case OPTION_flag:
        result.flag = *(const bool *)field;
        break;
    case OPTION_off:
        result.flag = !*(const bool *)field;
        break;
    case OPTION_maybe:
        result.number = *(const int *)field;
        break;
    case OPTION_count:
    case OPTION_duration:
        result.number = *(const int64_t *)field;
        break;
    case OPTION_size:
        result.number = (int64_t) * (const size_t *)field;
        break;
    case OPTION_level:
        result.number = (int64_t) * (const enum log_level *)field;
        break;
    case OPTION_texts:
    case OPTION_pairs:
    case OPTION_levels:
        result.list = *(const struct str_list *)field;
        break;
    case OPTION_proxy:
        result.text = secret_reveal(field);
        break;
    case OPTION_wait:
    case OPTION_limits:
    case OPTION_routes:
    case OPTION_tree:
    case OPTION_KIND_COUNT:
        BUG("a kind without a field");
    }
    *ret_result = result;
}

/* --- printing --- */

static void print_duration(int64_t ms, struct buf *out)
{
    assert(ms >= 0);
    if (ms % 1000 == 0)
        (void)buf_print(out, "%" PRId64 "s", ms / 1000);
    else
        (void)buf_print(out, "%" PRId64 "ms", ms);
}

static void print_size(int64_t bytes, struct buf *out)
{
    static const char *const names[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;

    assert(bytes >= 0);
    while (unit + 1 < COUNT_OF(names) && bytes >= KIB && bytes % KIB == 0) {
        bytes /= KIB;
        unit++;
    }
    (void)buf_print(out, "%" PRId64 "%s", bytes, names[unit]);
}

static void print_list(const struct str_list *list, struct buf *out)
{
    (void)buf_add_char(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            (void)buf_add(out, STR(", "));
        (void)json_add_string(out, list->items[i]);
    }
    (void)buf_add_char(out, ']');
}

/* Header lines: the names alone, since a value may be a key. */
static void print_pairs(const struct str_list *list, struct buf *out)
{
    (void)buf_add_char(out, '{');
    for (size_t i = 0; i < list->n; i++) {
        size_t colon = str_find_char(list->items[i], ':', 0);
        if (i > 0)
            (void)buf_add(out, STR(", "));
        (void)json_add_string(out, str_head(list->items[i], colon));
        (void)buf_add(out, STR(": \"***\""));
    }
    (void)buf_add_char(out, '}');
}

static void print_levels(const struct str_list *list, struct buf *out)
{
    (void)buf_add_char(out, '{');
    for (size_t i = 0; i < list->n; i++) {
        size_t colon = str_find_char(list->items[i], ':', 0);
        (void)buf_print(out, "%s%.*s: %.*s", i > 0 ? ", " : "",
                        STR_ARG(str_head(list->items[i], colon)),
                        STR_ARG(str_from(list->items[i], colon + 1)));
    }
    (void)buf_add_char(out, '}');
}

/* Host and port, and that there is more. */
static void print_proxy(struct str text, struct buf *out)
{
    size_t at = str_find_char(text, '@', 0);
    size_t scheme = str_find(text, STR("://"), 0);

    if (at == SIZE_MAX) {
        (void)json_add_string(out, text);
        return;
    }
    for (size_t next = at; next != SIZE_MAX; next = str_find_char(text, '@', at + 1))
        at = next;
    (void)buf_add_char(out, '"');
    if (scheme != SIZE_MAX && scheme < at)
        (void)buf_add(out, str_head(text, scheme + 3));
    (void)buf_add(out, STR("***"));
    (void)buf_add(out, str_from(text, at));
    (void)buf_add_char(out, '"');
}

void option_print(const struct option *option, const struct option_result *result, struct buf *out)
{
    switch (option->kind) {
    case OPTION_flag:
    case OPTION_off:
        (void)buf_add(out, result->flag ? STR("true") : STR("false"));
        return;
    case OPTION_maybe:
        if (result->number >= 0)
            (void)buf_add(out, result->number != 0 ? STR("true") : STR("false"));
        else
            (void)buf_add_char(out, '~');
        return;
    case OPTION_count:
        (void)buf_add_int64(out, result->number);
        return;
    case OPTION_duration:
        print_duration(result->number, out);
        return;
    case OPTION_size:
        print_size(result->number, out);
        return;
    case OPTION_level:
        (void)buf_add(out, str_c(log_level_name((enum log_level)result->number)));
        return;
    case OPTION_texts:
        print_list(&result->list, out);
        return;
    case OPTION_pairs:
        print_pairs(&result->list, out);
        return;
    case OPTION_levels:
        print_levels(&result->list, out);
        return;
    case OPTION_proxy:
        print_proxy(result->text, out);
        return;
    case OPTION_text:
    case OPTION_choice:
    case OPTION_prefix:
        (void)json_add_string(out, result->text);
        return;
    case OPTION_decimal:
        (void)buf_add(out, result->text);
        return;
    case OPTION_wait:
    case OPTION_limits:
    case OPTION_routes:
    case OPTION_tree:
    case OPTION_KIND_COUNT:
        break;
    }
    BUG("a kind without a field");
}
