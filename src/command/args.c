/* SPDX-License-Identifier: MIT */
/*
 * What      The arguments of a command, found and read.
 * How       args_close and args_read go by the same pieces: where a value may begin, a quote or a
 *           bracket opens a group, which ends where group_end says. So what the one takes for the
 *           closing parenthesis is what the other takes for the end.
 * Not here  Which keys there are and what may be in them (command.c).
 */
#include "command/args.h"

#include "text/utf8.h"

enum { PLACE_AROUND = 40 };

struct fault {
    const char *why;
    size_t at;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* --- groups --- */

/* The offset of the quote that closes the one at `at`; SIZE_MAX: none on its line. */
static size_t quote_end(struct str text, size_t at)
{
    char quote = text.p[at];

    for (size_t i = at + 1; i < text.n && !is_line_end(text.p[i]); i++) {
        if (text.p[i] == quote)
            return i;
        if (text.p[i] == '\\' && i + 1 < text.n && !is_line_end(text.p[i + 1]))
            i++;
    }
    return SIZE_MAX;
}

/* The same of a bracket. */
static size_t bracket_end(struct str text, size_t at, struct fault *fault)
{
    uint64_t braces = 0; /* a bit a level: '{' */
    unsigned depth = 0;

    *fault = (struct fault){"the bracket is not closed", at};
    for (size_t i = at; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"') {
            size_t end = quote_end(text, i);
            if (end == SIZE_MAX) {
                *fault = (struct fault){"the quote is not closed", i};
                return SIZE_MAX;
            }
            i = end;
        } else if (c == '{' || c == '[') {
            if (depth == ARGS_DEPTH_MAX) {
                *fault = (struct fault){"there are too many brackets in each other", i};
                return SIZE_MAX;
            }
            braces = braces << 1 | (c == '{');
            depth++;
        } else if (c == '}' || c == ']') {
            if ((braces & 1) != (c == '}')) {
                *fault = (struct fault){"this closes no bracket of its kind", i};
                return SIZE_MAX;
            }
            braces >>= 1;
            if (--depth == 0)
                return i;
        }
    }
    return SIZE_MAX;
}

static bool opens_group(char c)
{
    return is_quote(c) || c == '{' || c == '[';
}

/* The offset of what closes the group that opens at `at`. */
static size_t group_end(struct str text, size_t at, struct fault *fault)
{
    if (!is_quote(text.p[at]))
        return bracket_end(text, at, fault);
    *fault = (struct fault){"the quote is not closed", at};
    return quote_end(text, at);
}

size_t args_close(struct str text, size_t open, const char **ret_why, size_t *ret_at)
{
    struct fault fault;
    size_t depth = 0;
    bool fresh = false; /* a value may begin here */

    assert(open < text.n && text.p[open] == '(');
    for (size_t at = open; at < text.n && !is_line_end(text.p[at]); at++) {
        char c = text.p[at];
        if (fresh && opens_group(c)) {
            size_t end = group_end(text, at, &fault);
            if (end == SIZE_MAX) {
                *ret_why = fault.why;
                *ret_at = fault.at;
                return SIZE_MAX;
            }
            at = end;
            fresh = false;
            continue;
        }
        if (c == '(')
            depth++;
        if (c == ')' && --depth == 0)
            return at;
        fresh = c == '(' || c == ',' || c == '=' || is_blank(c);
    }
    *ret_why = "the parenthesis is not closed";
    *ret_at = open;
    return SIZE_MAX;
}

/* --- reading --- */

struct reader {
    struct str text;
    size_t at;
    struct arena *arena;
    struct error *e;
};

struct str args_place(struct str text, size_t at, struct arena *arena)
{
    size_t begin = at;
    size_t end = at;
    size_t count = 1;

    assert(at <= text.n);
    for (size_t i = 0; i < at; i++)
        count += (text.p[i] & 0xc0) != 0x80;
    while (begin > 0 && !is_line_end(text.p[begin - 1]) && at - begin < PLACE_AROUND)
        begin--;
    while (begin < at && (text.p[begin] & 0xc0) == 0x80)
        begin++;
    while (end < text.n && !is_line_end(text.p[end]) && end - at < PLACE_AROUND)
        end++;
    struct str around = utf8_repair(utf8_head(str_from(text, begin), end - begin), arena);
    return str_print(arena, "character %zu of: %s%.*s%s", count, begin > 0 ? "..." : "",
                     STR_ARG(around), begin + around.n < text.n ? "..." : "");
}

static enum error_code wrong(struct reader *reader, const char *what, struct str about, size_t at)
{
    struct str place = args_place(reader->text, at, reader->arena);
    struct str shown = utf8_head(about, PLACE_AROUND);

    return FAIL(reader->e, ERR_BAD_REQUEST, "Invalid arguments: %s%.*s%s, at %.*s", what,
                STR_ARG(shown), shown.n < about.n ? "..." : "", STR_ARG(place));
}

static char at_hand(const struct reader *reader)
{
    return reader->at < reader->text.n ? reader->text.p[reader->at] : '\0';
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->text.n &&
           (is_blank(at_hand(reader)) || is_line_end(at_hand(reader))))
        reader->at++;
}

static bool is_mark(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static struct str unescape(struct str quoted, struct arena *arena)
{
    if (str_find_char(quoted, '\\', 0) == SIZE_MAX)
        return quoted;
    char *to = arena_alloc(arena, quoted.n);
    size_t n = 0;
    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < quoted.n; i++) {
        if (quoted.p[i] == '\\' && i + 1 < quoted.n && is_mark(quoted.p[i + 1]))
            i++;
        to[n++] = quoted.p[i];
    }
    return str_of(to, n);
}

static enum error_code read_quoted(struct reader *reader, struct str *ret_value)
{
    size_t begin = reader->at;
    size_t end = quote_end(reader->text, begin);

    if (end == SIZE_MAX)
        return wrong(reader, "the quote is not closed", STR_NULL, begin);
    *ret_value = unescape(str_of(reader->text.p + begin + 1, end - begin - 1), reader->arena);
    reader->at = end + 1;
    if (reader->at < reader->text.n) {
        char next = at_hand(reader);
        if (next != ',' && next != '=' && !is_blank(next) && !is_line_end(next))
            return wrong(reader, "a comma or the end must follow the closing quote", STR_NULL,
                         reader->at);
    }
    return OK;
}

/* Up to where a bare value goes that begins at reader->at. */
static enum error_code skip_bare(struct reader *reader)
{
    struct str text = reader->text;
    bool fresh = true;
    struct fault fault;

    for (; reader->at < text.n; reader->at++) {
        char c = text.p[reader->at];
        if (is_quote(c))
            return wrong(reader, "a quote within a value; put all of the value in quotes", STR_NULL,
                         reader->at);
        if (c == '(' || c == ')')
            return wrong(reader, "a value with parentheses must be in quotes", STR_NULL,
                         reader->at);
        if (fresh && opens_group(c)) {
            size_t end = bracket_end(text, reader->at, &fault);
            if (end == SIZE_MAX)
                return wrong(reader, fault.why, STR_NULL, fault.at);
            reader->at = end;
        } else if (c == ',' || is_blank(c) || is_line_end(c)) {
            return OK;
        }
        fresh = c == '=';
    }
    return OK;
}

/* What stands before a '=' directly behind it: a key; or the beginning of a bare value. */
static bool is_bare_value(struct str before)
{
    for (size_t i = 0; i < before.n; i++) {
        if (before.p[i] == ':' || before.p[i] == '/' || before.p[i] == '?' || before.p[i] == '[' ||
            before.p[i] == '{')
            return true;
    }
    return false;
}

/* Takes the key and its '=', if there is one. */
static enum error_code read_key(struct reader *reader, struct str *ret_key)
{
    struct str text = reader->text;
    size_t end = reader->at;

    *ret_key = STR_NULL;
    while (end < text.n && text.p[end] != '=' && text.p[end] != ',' && !is_blank(text.p[end]) &&
           !is_line_end(text.p[end]) && !is_quote(text.p[end]) && text.p[end] != '(' &&
           text.p[end] != ')')
        end++;
    struct str before = str_of(text.p + reader->at, end - reader->at);
    if (end == text.n || text.p[end] != '=' || is_bare_value(before))
        return OK;
    if (before.n == 0)
        return wrong(reader, "there is no name before '='", STR_NULL, end);
    for (size_t i = 0; i < before.n; i++) {
        if (!is_key_char(before.p[i]))
            return wrong(reader, "a name has letters, digits, '-' and '_' only", STR_NULL,
                         reader->at + i);
    }
    *ret_key = before;
    reader->at = end + 1;
    return OK;
}

static enum error_code read_value(struct reader *reader, struct str key, struct str *ret_value)
{
    size_t begin = reader->at;

    if (is_blank(at_hand(reader)) || is_line_end(at_hand(reader)))
        return wrong(reader, "no blank is allowed behind '=', after ", key, begin);
    if (is_quote(at_hand(reader)))
        return read_quoted(reader, ret_value);
    TRY(skip_bare(reader));
    if (reader->at == begin && !str_is_null(key))
        return wrong(reader, "there is no value behind '=', after ", key, begin);
    if (reader->at == begin)
        return wrong(reader, "there is nothing before the comma", STR_NULL, begin);
    *ret_value = str_of(reader->text.p + begin, reader->at - begin);
    return OK;
}

/* Behind an argument: a comma and the next, or the end. */
static enum error_code read_separator(struct reader *reader, const struct arg *arg)
{
    bool quoted = reader->text.p[reader->at - 1] == '"' || reader->text.p[reader->at - 1] == '\'';
    size_t end = reader->at;

    skip_blanks(reader);
    if (reader->at == reader->text.n)
        return OK;
    if (at_hand(reader) == ',') {
        reader->at++;
        skip_blanks(reader);
        if (reader->at == reader->text.n)
            return wrong(reader, "there is nothing behind the last comma", STR_NULL, reader->at);
        return OK;
    }
    struct str typed = str_is_null(arg->key) ? arg->value : arg->written;
    if (at_hand(reader) == '=' && quoted && str_is_null(arg->key))
        return wrong(reader, "names stand without quotes: ", typed, arg->at);
    if (at_hand(reader) == '=' && !quoted)
        return wrong(reader, "no blank is allowed before '=', after ", typed, end);
    return wrong(reader, "a comma is missing, or quotes around a value with blanks, after ", typed,
                 reader->at);
}

static enum error_code read_arg(struct reader *reader, struct args *args)
{
    struct arg *arg = &args->items[args->n];

    *arg = (struct arg){.at = reader->at};
    TRY(read_key(reader, &arg->written));
    TRY(read_value(reader, arg->written, &arg->value));
    if (!str_is_null(arg->written)) {
        arg->key = args_name(arg->written, reader->arena);
        for (size_t i = 0; i < args->n; i++) {
            if (!str_is_null(args->items[i].key) && str_eq(args->items[i].key, arg->key))
                return wrong(reader, "this is there twice: ", arg->written, arg->at);
        }
    }
    args->n++;
    return read_separator(reader, arg);
}

enum error_code args_read(struct str text, struct arena *arena, struct args *ret_args,
                          struct error *e)
{
    struct reader reader = {.text = text, .arena = arena, .e = e};
    struct args args = {.given = !str_is_null(text)};
    size_t room = 1;

    for (size_t i = 0; i < text.n && room < ARGS_MAX; i++)
        room += text.p[i] == ',';
    skip_blanks(&reader);
    if (reader.at < text.n)
        args.items = arena_array(arena, room, sizeof(*args.items));
    while (reader.at < text.n) {
        if (args.n == ARGS_MAX)
            return wrong(&reader, "there are too many of them", STR_NULL, reader.at);
        TRY(read_arg(&reader, &args));
    }
    *ret_args = args;
    return OK;
}

struct str args_name(struct str written, struct arena *arena)
{
    char *to = arena_alloc(arena, written.n + 1);

    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < written.n; i++) {
        char c = written.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        to[i] = c == '_' ? '-' : c;
    }
    return str_of(to, written.n);
}
