/* SPDX-License-Identifier: MIT */
/*
 * A text that a regular expression matches.
 *
 * How       One walk over the pattern writes the text: of alternatives the first is taken, of a
 *           class its first character that can be shown, of a quantifier its minimum and `extra`
 *           more as far as its maximum goes. The walk is repeated with a larger `extra` while the
 *           text is shorter than it has to be.
 * Owns      Nothing.
 * Not here  Matching. An anchor says where the text begins and ends, which is so anyway.
 */
#include "backend/demo_pattern.h"

#include "text/utf8.h"

enum { DEPTH_MAX = 16, REPEAT_MAX = 4096, STEPS_MAX = 20000 };

struct walk {
    struct str pattern;
    size_t at;
    size_t extra;
    size_t steps; /* bounds what groups within groups may repeat */
    size_t depth;
    struct buf *out; /* NULL: only walked over */
    bool failed;
};

static bool walk_ended(const struct walk *w)
{
    return w->at >= w->pattern.n;
}

static char walk_char(const struct walk *w)
{
    return walk_ended(w) ? '\0' : w->pattern.p[w->at];
}

static bool walk_take(struct walk *w, char c)
{
    if (walk_ended(w) || w->pattern.p[w->at] != c)
        return false;
    w->at++;
    return true;
}

static void fail(struct walk *w)
{
    w->failed = true;
    w->at = w->pattern.n;
}

static void emit(struct walk *w, struct str text)
{
    if (w->out != NULL && !buf_add(w->out, text))
        fail(w);
}

/* The code point of \xHH or \uHHHH; its digits are next. */
static uint32_t hex(struct walk *w, size_t digits)
{
    uint32_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        int digit = str_hex_digit(walk_char(w));
        if (digit < 0) {
            fail(w);
            return 'x';
        }
        value = value * 16 + (uint32_t)digit;
        w->at++;
    }
    return value >= 0xD800 && value <= 0xDFFF ? 'x' : value;
}

/* What an escape stands for, after its backslash; a class: one that is in it. */
static uint32_t escaped(struct walk *w, bool *ret_class)
{
    char c = walk_char(w);

    *ret_class = false;
    if (walk_ended(w)) {
        fail(w);
        return 'x';
    }
    w->at++;
    switch (c) {
    case 'd':
        *ret_class = true;
        return '1';
    case 'w':
    case 'D':
    case 'S':
        *ret_class = true;
        return 'a';
    case 's':
    case 'W':
        *ret_class = true;
        return ' ';
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'x':
        return hex(w, 2);
    case 'u':
        return hex(w, 4);
    default:
        break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        fail(w);
    return (unsigned char)c;
}

/* The pattern's next character, as it stands. */
static uint32_t plain(struct walk *w)
{
    size_t n = 1;

    assert(w->at < w->pattern.n && w->pattern.p != NULL);
    struct str rest = str_from(w->pattern, w->at);
    uint32_t cp = (unsigned char)w->pattern.p[w->at];

    while (n < rest.n && n < 4 && ((unsigned char)rest.p[n] & 0xC0) == 0x80)
        n++;
    if (n > 1)
        cp = cp & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        cp = cp << 6 | ((unsigned char)rest.p[i] & 0x3Fu);
    w->at += n;
    return cp;
}

static void emit_char(struct walk *w, uint32_t cp)
{
    char bytes[4];

    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) {
        fail(w);
        return;
    }
    emit(w, str_of(bytes, utf8_encode(cp, bytes)));
}

struct range {
    uint32_t from;
    uint32_t to;
};

enum { RANGES_MAX = 64 };

static void add_range(struct range *ranges, size_t *n, uint32_t from, uint32_t to)
{
    if (*n < RANGES_MAX)
        ranges[(*n)++] = (struct range){from, to};
}

/* The ranges of \d \w \s, their complements where they show. */
static void add_class(struct range *ranges, size_t *n, char c)
{
    if (c == 'd' || c == 'w')
        add_range(ranges, n, '0', '9');
    if (c == 'w' || c == 'D' || c == 'S') {
        add_range(ranges, n, 'a', 'z');
        add_range(ranges, n, 'A', 'Z');
        add_range(ranges, n, '_', '_');
    }
    if (c == 's' || c == 'W' || c == 'D')
        add_range(ranges, n, ' ', ' ');
    if (c == 'S')
        add_range(ranges, n, '0', '9');
}

static bool in_ranges(const struct range *ranges, size_t n, uint32_t cp)
{
    for (size_t i = 0; i < n; i++) {
        if (cp >= ranges[i].from && cp <= ranges[i].to)
            return true;
    }
    return false;
}

/* a, a-z or \d within brackets. */
static void class_item(struct walk *w, struct range *ranges, size_t *n)
{
    bool class = false;
    char name = w->at + 1 < w->pattern.n ? w->pattern.p[w->at + 1] : '\0';
    uint32_t from = walk_take(w, '\\') ? escaped(w, &class) : plain(w);
    uint32_t to = from;

    if (class) {
        add_class(ranges, n, name);
        return;
    }
    if (walk_char(w) == '-' && w->at + 1 < w->pattern.n && w->pattern.p[w->at + 1] != ']') {
        w->at++;
        to = walk_take(w, '\\') ? escaped(w, &class) : plain(w);
        if (class || to < from)
            fail(w);
    }
    add_range(ranges, n, from, to);
}

/* A character that can be shown and is in none of the ranges. */
static void emit_other(struct walk *w, const struct range *ranges, size_t n)
{
    for (uint32_t i = 0; i < 95; i++) {
        uint32_t cp = ' ' + ('a' - ' ' + i) % 95;
        if (!in_ranges(ranges, n, cp)) {
            emit_char(w, cp);
            return;
        }
    }
    fail(w);
}

/* [abc], [^a-z]: after the bracket. */
static void char_class(struct walk *w)
{
    struct range ranges[RANGES_MAX];
    size_t n = 0;
    bool negated = walk_take(w, '^');

    while (!walk_ended(w) && walk_char(w) != ']')
        class_item(w, ranges, &n);
    if (!walk_take(w, ']') || (n == 0 && !negated))
        fail(w);
    else if (negated)
        emit_other(w, ranges, n);
    else
        emit_char(w, ranges[0].from);
}

static void alternatives(struct walk *w);

/* (…), (?:…), (?<name>…): after the parenthesis. */
static void group(struct walk *w)
{
    if (walk_take(w, '?') && !walk_take(w, ':')) {
        if (!walk_take(w, '<') || walk_char(w) == '=' || walk_char(w) == '!') {
            fail(w);
            return;
        }
        while (!walk_ended(w) && !walk_take(w, '>'))
            w->at++;
    }
    if (++w->depth > DEPTH_MAX) {
        fail(w);
        return;
    }
    alternatives(w);
    w->depth--;
    if (!walk_take(w, ')'))
        fail(w);
}

static void atom(struct walk *w)
{
    bool class;

    if (++w->steps > STEPS_MAX)
        fail(w);
    else if (walk_take(w, '('))
        group(w);
    else if (walk_take(w, '['))
        char_class(w);
    else if (walk_take(w, '\\'))
        emit_char(w, escaped(w, &class));
    else if (walk_take(w, '.'))
        emit(w, STR("a"));
    else if (!walk_ended(w) && str_find_char(STR("*+?)"), walk_char(w), 0) == SIZE_MAX)
        emit_char(w, plain(w));
    else
        fail(w);
}

static size_t number(struct walk *w)
{
    size_t value = 0;

    while (walk_char(w) >= '0' && walk_char(w) <= '9' && value <= REPEAT_MAX) {
        value = value * 10 + (size_t)(walk_char(w) - '0');
        w->at++;
    }
    return value;
}

/* *, +, ?, {2}, {2,}, {2,3}; without one: once. */
static void quantifier(struct walk *w, size_t *ret_min, size_t *ret_max)
{
    *ret_min = *ret_max = 1;
    if (walk_take(w, '*')) {
        *ret_min = 0;
        *ret_max = REPEAT_MAX;
    } else if (walk_take(w, '+')) {
        *ret_max = REPEAT_MAX;
    } else if (walk_take(w, '?')) {
        *ret_min = 0;
    } else if (walk_char(w) == '{' && w->at + 1 < w->pattern.n && w->pattern.p[w->at + 1] >= '0' &&
               w->pattern.p[w->at + 1] <= '9') {
        w->at++;
        *ret_min = *ret_max = number(w);
        if (walk_take(w, ','))
            *ret_max = walk_char(w) == '}' ? REPEAT_MAX : number(w);
        if (!walk_take(w, '}') || *ret_min > *ret_max || *ret_min > REPEAT_MAX)
            fail(w);
    } else {
        return;
    }
    (void)walk_take(w, '?'); /* as few as possible: we choose anyway */
}

/* An atom and its quantifier. It is walked once without a word, to see how often it is wanted. */
static void term(struct walk *w)
{
    struct walk look = *w;
    size_t min;
    size_t max;

    look.out = NULL;
    atom(&look);
    size_t end = look.at;
    quantifier(&look, &min, &max);
    if (look.failed) {
        fail(w);
        return;
    }
    size_t begin = w->at;
    size_t n = w->out == NULL ? 0 : min + w->extra < max ? min + w->extra : max;
    w->steps = look.steps;
    for (size_t i = 0; i < n && !w->failed; i++) {
        w->at = begin;
        atom(w);
        assert(w->failed || w->at == end);
    }
    if (!w->failed)
        w->at = look.at;
}

static void alternatives(struct walk *w)
{
    struct buf *out = w->out;

    while (!walk_ended(w) && walk_char(w) != ')') {
        if (walk_take(w, '|'))
            w->out = NULL; /* the first was it */
        else if (walk_char(w) == '^' || walk_char(w) == '$')
            w->at++;
        else if (str_starts(str_from(w->pattern, w->at), STR("\\b")))
            w->at += 2;
        else
            term(w);
    }
    w->out = out;
}

static size_t chars_of(struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xC0) != 0x80;
    return n;
}

bool demo_pattern(struct str pattern, size_t chars_min, struct buf *out)
{
    size_t begin = out->n;
    size_t before = SIZE_MAX;

    for (size_t extra = 0; extra <= REPEAT_MAX; extra = extra < 8 ? extra + 1 : extra * 2) {
        struct walk w = {.pattern = pattern, .extra = extra, .out = out};
        out->n = begin;
        alternatives(&w);
        if (w.failed || !walk_ended(&w) || !buf_ok(out))
            return false;
        size_t chars = chars_of(str_from(buf_str(out), begin));
        if (chars >= chars_min || chars == before)
            return true;
        before = chars;
    }
    return true;
}
