/* SPDX-License-Identifier: MIT */
/*
 * What      Finds a field in the beginning of a multipart/form-data body.
 * How       delimiter ─► header lines ─► empty line ─► value ─► delimiter ─► …
 *           A delimiter is "--" and the boundary at the beginning of a line; what stands before the
 *           first one is for nobody. A part counts once the delimiter behind it has come whole, so
 *           that a cut can hide a part and never change one.
 * Not here  Content-Transfer-Encoding (RFC 7578, 4.7: not used), nested multiparts.
 */
#include "text/multipart.h"

#include "base/arena.h"

/* --- parameters: ; name=token or ; name="quoted" ------------------------------------------ */

/* Where a parameter's name ends, or a value without quotes: no byte behind that is looked at, so
 * that many parameters in one line cost what their bytes do. */
static size_t token_end(struct str s, bool of_name)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != ';' && !(of_name && s.p[n] == '='))
        n++;
    return n;
}

static struct str without_blanks(struct str s)
{
    size_t n = 0;

    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t' || s.p[n] == '\r' || s.p[n] == '\n'))
        n++;
    return str_from(s, n);
}

/* Takes the next parameter off *rest, which stands before its ';'. The value is as it stands,
 * within its quotes. False: there is none, or no more that could be read. */
static bool parameter_next(struct str *rest, struct str *ret_name, struct str *ret_value,
                           bool *ret_quoted)
{
    size_t at = str_find_char(*rest, ';', 0);

    if (at == SIZE_MAX)
        return false;
    struct str s = str_from(*rest, at + 1);
    size_t end = token_end(s, true);
    *ret_name = str_trim(str_head(s, end));
    *ret_quoted = false;
    if (end == s.n || s.p[end] == ';') { /* a name alone */
        *ret_value = STR("");
        *rest = str_from(s, end);
        return true;
    }
    s = without_blanks(str_from(s, end + 1));
    *ret_quoted = str_starts(s, STR("\""));
    if (!*ret_quoted) {
        end = token_end(s, false);
        *ret_value = str_trim(str_head(s, end));
        *rest = str_from(s, end);
        return true;
    }
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\') {
            i++;
        } else if (s.p[i] == '"') {
            *ret_value = str_of(s.p + 1, i - 1);
            *rest = str_from(s, i + 1);
            return true;
        }
    }
    return false;
}

/* A quoted value without its backslashes. */
static struct str unescape(struct str value, struct arena *arena)
{
    if (str_find_char(value, '\\', 0) == SIZE_MAX)
        return value;
    char *to = arena_alloc(arena, value.n);
    size_t n = 0;
    if (arena_overflowed(arena))
        return STR_NULL;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\\' && i + 1 < value.n)
            i++;
        to[n++] = value.p[i];
    }
    return str_of(to, n);
}

/* Whether a quoted value, without its backslashes, is text. */
static bool value_is(struct str value, bool quoted, struct str text)
{
    size_t at = 0;

    if (!quoted)
        return str_eq(value, text);
    for (size_t i = 0; i < value.n; i++, at++) {
        if (value.p[i] == '\\' && i + 1 < value.n)
            i++;
        if (at == text.n || value.p[i] != text.p[at])
            return false;
    }
    return at == text.n;
}

static bool is_boundary(struct str s)
{
    if (s.n == 0 || s.n > MULTIPART_BOUNDARY_MAX || s.p[s.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    }
    return true;
}

struct str multipart_boundary(struct str content_type, struct arena *arena)
{
    struct str type = str_trim(str_head(content_type, str_find_char(content_type, ';', 0)));
    struct str rest = content_type;
    struct str name;
    struct str value;
    bool quoted;

    if (!str_eq_nocase(type, STR("multipart/form-data")))
        return STR_NULL;
    while (parameter_next(&rest, &name, &value, &quoted)) {
        if (!str_eq_nocase(name, STR("boundary")))
            continue;
        value = quoted ? unescape(value, arena) : value;
        return is_boundary(value) ? value : STR_NULL;
    }
    return STR_NULL;
}

/* --- parts -------------------------------------------------------------------------------- */

/* Behind a delimiter there are blanks and the line's end, or "--" for the last one. Returns where
 * the part begins; SIZE_MAX where this is no delimiter, or more of it has to come. */
static size_t delimiter_end(struct str body, size_t at, bool *ret_last)
{
    *ret_last = str_starts(str_from(body, at), STR("--"));
    if (*ret_last)
        return at + 2;
    while (at < body.n && (body.p[at] == ' ' || body.p[at] == '\t'))
        at++;
    return str_starts(str_from(body, at), STR("\r\n")) ? at + 2 : SIZE_MAX;
}

/* The next delimiter at or behind `from`, which is the beginning of a line or within one. Returns
 * where what stands before it ends; *ret_next: where what stands behind it begins. */
static size_t delimiter_find(struct str body, struct str boundary, size_t from, size_t *ret_next,
                             bool *ret_last)
{
    for (size_t at = from; (at = str_find(body, boundary, at)) != SIZE_MAX; at++) {
        if (at < 2 || body.p[at - 1] != '-' || body.p[at - 2] != '-')
            continue;
        size_t line = at - 2;
        bool begins = line == 0 ||
                      (line >= 2 && body.p[line - 2] == '\r' && body.p[line - 1] == '\n');
        size_t next = begins ? delimiter_end(body, at + boundary.n, ret_last) : SIZE_MAX;
        if (next == SIZE_MAX)
            continue;
        *ret_next = next;
        /* The line's end before it is the delimiter's. */
        return line == 0 ? 0 : line - 2;
    }
    return SIZE_MAX;
}

static bool is_named(struct str line, struct str name)
{
    static const struct str header = STR_INIT("content-disposition:");
    struct str found;
    struct str value;
    bool quoted;

    if (!str_starts_nocase(line, header))
        return false;
    line = str_from(line, header.n);
    if (!str_eq_nocase(str_trim(str_head(line, str_find_char(line, ';', 0))), STR("form-data")))
        return false;
    while (parameter_next(&line, &found, &value, &quoted)) {
        if (str_eq_nocase(found, STR("name")))
            return value_is(value, quoted, name);
    }
    return false;
}

/* Where a header ends that begins at `from`: with a line that no folded one follows (RFC 5322,
 * 2.2.3). SIZE_MAX: it does not. */
static size_t header_end(struct str part, size_t from)
{
    size_t end = str_find(part, STR("\r\n"), from);

    while (end != SIZE_MAX && end != from && end + 2 < part.n &&
           (part.p[end + 2] == ' ' || part.p[end + 2] == '\t'))
        end = str_find(part, STR("\r\n"), end + 2);
    return end;
}

/* Whether the part is of that name; *ret_value: where its value begins in it. */
static bool part_is(struct str part, struct str name, size_t *ret_value)
{
    bool named = false;

    for (size_t at = 0; at <= part.n;) {
        size_t end = header_end(part, at);
        if (end == SIZE_MAX)
            return false;
        if (end == at) {
            *ret_value = at + 2;
            return named;
        }
        named = named || is_named(str_of(part.p + at, end - at), name);
        at = end + 2;
    }
    return false;
}

struct multipart_field multipart_find(struct str body, struct str boundary, struct str name)
{
    struct multipart_field field = {.count = 0};
    size_t begin = 0;
    size_t next = 0;
    size_t value = 0;
    bool last = false;

    assert(boundary.n > 0);
    if (delimiter_find(body, boundary, 0, &begin, &last) == SIZE_MAX)
        return field;
    while (!last) {
        size_t end = delimiter_find(body, boundary, begin, &next, &last);
        if (end == SIZE_MAX)
            break;
        /* A part without a byte: its delimiter's line end is the one before the next. */
        struct str part = end < begin ? STR("") : str_of(body.p + begin, end - begin);
        if (part_is(part, name, &value)) {
            if (field.count == 0) {
                field.begin = begin + value;
                field.end = end;
            }
            field.count++;
        }
        begin = next;
    }
    return field;
}
