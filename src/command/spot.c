/* SPDX-License-Identifier: MIT */
/*
 * What      Commands in a user's text, and what is left without them.
 * How       Line by line. What is not looked into is stepped over (spot_skip); in the rest of a
 *           line each prefix is tried where it stands. When a line is over it is known whether
 *           there is nothing but commands on it, which names that nobody has need, what goes with
 *           each, and whether something is left.
 * Owns      Nothing: what is found lies in the caller's arena.
 * Not here  What a command means (command.c), its arguments (args.c).
 */
#include "command/spot.h"

#include "base/scan.h"
#include "command/spot_skip.h"

enum { FOUND_MIN = 1, FAULTS_MAX = 16 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_space(char c)
{
    return is_blank(c) || is_line_end(c);
}

static bool is_mark(char c)
{
    return c == '.' || c == ',' || c == ';' || c == ':' || c == '!' || c == '?';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* --- is there any --- */

/* Behind c, as it is or as JSON has it; 0: something else stands there. */
static size_t skip_char(struct str body, size_t at, char c)
{
    struct str rest = str_from(body, at);

    if (rest.n > 0 && rest.p[0] == c && c != '\\')
        return at + 1;
    if (rest.n < 2 || rest.p[0] != '\\')
        return 0;
    if (rest.p[1] == c)
        return at + 2;
    if (!str_starts(rest, STR("\\u00")) || rest.n < 6)
        return 0;
    int high = str_hex_digit(rest.p[4]);
    int low = str_hex_digit(rest.p[5]);
    return high >= 0 && low >= 0 && high * 16 + low == (unsigned char)c ? at + 6 : 0;
}

static bool is_prefix_at(struct str body, size_t at, struct str prefix)
{
    if (str_starts(str_from(body, at), prefix))
        return true;
    for (size_t i = 0; i < prefix.n; i++) {
        at = skip_char(body, at, prefix.p[i]);
        if (at == 0)
            return false;
    }
    return true;
}

/* The first place at or behind `at` where the prefix may begin; the body's end: nowhere. */
static size_t next_mark(struct str body, struct str prefix, size_t at)
{
    char c = prefix.p[0];

    if (c != '"' && c != '\\' && c != '/')
        return at + scan_find_mark(body.p + at, body.n - at, c, prefix.p[1]);
    while (at < body.n && body.p[at] != c && body.p[at] != '\\')
        at++;
    return at;
}

bool spot_is_possible(struct str body, struct str prefix)
{
    if (prefix.n < 2 || body.n < prefix.n)
        return false;
    /* Most bodies have neither; the library looks for one character the fastest. */
    if (memchr(body.p, prefix.p[0], body.n) == NULL && memchr(body.p, '\\', body.n) == NULL)
        return false;
    for (size_t i = 0; i < prefix.n; i++) {
        if ((unsigned char)prefix.p[i] >= 0x80 && str_find(body, STR("\\u"), 0) != SIZE_MAX)
            return true;
    }
    for (size_t at = 0; (at = next_mark(body, prefix, at)) < body.n; at++) {
        if (is_prefix_at(body, at, prefix))
            return true;
    }
    return false;
}

/* --- one text --- */

struct line {
    size_t begin; /* of what is looked into */
    size_t end;
    bool fresh; /* nothing but tags stands before its beginning */
};

struct spotting {
    struct str text; /* up to where it is looked into */
    struct str prefix;
    bool interactive;
    struct arena *arena;
    struct spot *spot;
    size_t room;
    size_t prefix_at; /* the first prefix at or behind any place that was asked for last */
    size_t limit;     /* the same of a prefix that might begin a command */
    size_t faults;
};

static size_t line_end(struct str text, size_t at)
{
    while (at < text.n && !is_line_end(text.p[at]))
        at++;
    return at;
}

static size_t find_prefix(const struct spotting *s, size_t at)
{
    return at + scan_find(s->text.p + at, s->text.n - at, s->prefix.p, s->prefix.n);
}

/* The first prefix at or behind `at`; the text's end: none. */
static size_t next_prefix(struct spotting *s, size_t at)
{
    if (s->prefix_at < at)
        s->prefix_at = find_prefix(s, at);
    return s->prefix_at;
}

/* The end of what a command's arguments may reach that go on over its line's end: another may
 * begin there. */
static size_t limit_behind(struct spotting *s, size_t at)
{
    size_t n = s->prefix.n;

    if (s->limit != 0 && s->limit >= at)
        return s->limit;
    for (at = find_prefix(s, at); at < s->text.n; at = find_prefix(s, at + 1)) {
        if (is_space(s->text.p[at - 1]) && s->text.n - at > n && is_letter(s->text.p[at + n]))
            break;
    }
    s->limit = at;
    return at;
}

static void add_found(struct spotting *s, const struct spot_found *found)
{
    struct spot *spot = s->spot;

    if (spot->n == s->room) {
        size_t room = s->room == 0 ? FOUND_MIN : 2 * s->room;
        struct spot_found *items = arena_array(s->arena, room, sizeof(*items));
        if (arena_overflowed(s->arena))
            return;
        if (spot->n > 0)
            memcpy(items, spot->items, spot->n * sizeof(*items));
        spot->items = items;
        s->room = room;
    }
    spot->items[spot->n++] = *found;
}

/* --- one command --- */

static size_t name_end(struct str text, size_t at, bool *ret_lower)
{
    *ret_lower = true;
    if (at >= text.n || !is_letter(text.p[at]))
        return at;
    for (; at < text.n; at++) {
        char c = text.p[at];
        bool other = (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!is_letter(c) && !other)
            break;
        *ret_lower = *ret_lower && !(c >= 'A' && c <= 'Z');
    }
    return at;
}

/* What stands behind a command lets it be one. */
static bool may_follow(const struct spotting *s, const struct line *line, size_t at)
{
    if (at >= line->end || is_space(s->text.p[at]))
        return true;
    return is_mark(s->text.p[at]) && (at + 1 >= line->end || is_space(s->text.p[at + 1]));
}

static struct str say(struct spotting *s, struct str what, struct str command, size_t at)
{
    struct str place = args_place(command, at, s->arena);

    return str_print(s->arena, "Invalid arguments: %.*s, at %.*s", STR_ARG(what), STR_ARG(place));
}

/* One fault more; of very many only that there are more. */
static bool too_many(struct spotting *s, struct spot_found *found)
{
    if (s->faults++ < FAULTS_MAX)
        return false;
    found->fault = STR("Invalid arguments: there are more of these");
    return true;
}

static size_t trim_blanks(const struct spotting *s, size_t begin, size_t end)
{
    while (end > begin && is_blank(s->text.p[end - 1]))
        end--;
    return end;
}

/* The command reaches to the end of its line. */
static void fault_open(struct spotting *s, struct line *line, struct spot_found *found,
                       const char *why, size_t at)
{
    found->end = trim_blanks(s, found->begin, line->end);
    found->args = STR_NULL;
    at = at < found->end ? at : found->end;
    if (too_many(s, found))
        return;
    struct str command = str_of(s->text.p + found->begin, found->end - found->begin);
    found->fault = say(s, str_c(why), command, at - found->begin);
}

/* A known name, blanks, '(' at `open`: no arguments, as the user will be told. */
static void fault_blank(struct spotting *s, struct line *line, struct spot_found *found,
                        size_t open)
{
    const char *why;
    size_t why_at;
    size_t blank = found->end;
    size_t end = args_close(str_head(s->text, line->end), open, &why, &why_at);

    if (end == SIZE_MAX) {
        end = line->end;
    } else {
        end++;
        while (!may_follow(s, line, end))
            end++;
    }
    found->end = trim_blanks(s, found->begin, end);
    if (too_many(s, found))
        return;
    struct str command = str_of(s->text.p + found->begin, found->end - found->begin);
    struct str what = str_print(s->arena, "no blank is allowed between %.*s and '('",
                                STR_ARG(str_head(found->name, 40)));
    found->fault = say(s, what, command, blank - found->begin);
}

/* Arguments that go on over the end of the line take the lines with them. */
static void reach(const struct spotting *s, struct line *line, size_t end)
{
    if (end < line->end)
        return;
    size_t last = line_end(s->text, end);
    line->end = spot_skip_tail(s->text, end, last);
}

/* The '(' at found->end. False: what follows makes it text, *ret_resume is behind it. */
static bool take_args(struct spotting *s, struct line *line, struct spot_found *found,
                      size_t *ret_resume)
{
    const char *why;
    size_t why_at;
    size_t open = found->end;
    size_t limit = limit_behind(s, line->end);
    size_t close = args_close(str_head(s->text, limit), open, &why, &why_at);

    if (close == SIZE_MAX || (close >= line->end && line_end(s->text, open) >= close)) {
        if (close != SIZE_MAX) { /* behind a closing tag on its line */
            why = "the parenthesis is not closed";
            why_at = open;
        }
        fault_open(s, line, found, why, why_at);
        return true;
    }
    found->args = str_of(s->text.p + open + 1, close - open - 1);
    found->end = close + 1;
    reach(s, line, found->end);
    *ret_resume = found->end;
    return may_follow(s, line, found->end);
}

/* The name of what is found ends the command, unless blanks and '(' stand behind it. */
static void look_behind(struct spotting *s, struct line *line, struct spot_found *found)
{
    size_t open = found->end;

    while (open < line->end && is_blank(s->text.p[open]))
        open++;
    if (open < line->end && s->text.p[open] == '(')
        fault_blank(s, line, found, open);
}

/* A line begins at `at`, or a blank stands before it. */
static bool may_begin(const struct spotting *s, const struct line *line, size_t at)
{
    return at == line->begin ? line->fresh : is_space(s->text.p[at - 1]);
}

/* The prefix at `at`. True: it begins what is in *found; unknown: also a name that no command has.
 * *ret_resume: from where on to look. */
static bool take(struct spotting *s, struct line *line, size_t at, bool unknown,
                 struct spot_found *found, size_t *ret_resume)
{
    bool lower;
    size_t begin = at + s->prefix.n;
    size_t end = name_end(str_head(s->text, line->end), begin, &lower);

    *ret_resume = at + 1;
    if (!may_begin(s, line, at) || begin >= line->end || end == begin)
        return false;
    *ret_resume = end;
    *found = (struct spot_found){.begin = at, .end = end};
    found->name = str_of(s->text.p + begin, end - begin);
    found->command = lower ? command_find(found->name) : NULL;
    if (found->command == NULL && !unknown)
        return false;
    if (end < line->end && s->text.p[end] == '(') {
        if (!take_args(s, line, found, ret_resume))
            return false;
    } else if (!may_follow(s, line, end)) {
        return false;
    } else if (found->command != NULL) {
        look_behind(s, line, found);
    }
    *ret_resume = found->end;
    if (found->command == NULL)
        found->fault = STR_NULL;
    return true;
}

/* --- one line --- */

static size_t skip_mark(const struct spotting *s, const struct line *line, size_t at)
{
    return at < line->end && is_mark(s->text.p[at]) ? at + 1 : at;
}

static bool is_space_only(const struct spotting *s, size_t begin, size_t end)
{
    while (begin < end && is_space(s->text.p[begin]))
        begin++;
    return begin >= end;
}

/* How far it is known what is on a line. */
struct seen {
    size_t to;    /* behind its last command and the mark there */
    bool only;    /* up to there it has nothing but commands */
    bool unknown; /* some have names that no command has */
};

static void see_command(const struct spotting *s, const struct line *line, struct seen *seen,
                        const struct spot_found *found)
{
    assert(found->begin >= seen->to && found->end > found->begin);
    seen->only = seen->only && is_space_only(s, seen->to, found->begin);
    seen->to = skip_mark(s, line, found->end);
    seen->unknown |= found->command == NULL;
}

/* The line's end moves with a command that goes on over it. unknown: names that no command has are
 * found, too. */
static struct seen find_commands(struct spotting *s, struct line *line, bool unknown)
{
    struct seen seen = {.to = line->begin, .only = true};
    struct spot_skip_ticks ticks;
    struct spot_found found;
    size_t ticks_to = 0;
    size_t at = line->begin;

    while (next_prefix(s, at) < line->end) {
        size_t here = s->prefix_at;
        size_t tick = str_find_char(str_head(s->text, here + 1), '`', at);
        if (tick != SIZE_MAX && ticks_to < line->end) {
            spot_skip_ticks_init(&ticks, s->text, tick, line->end);
            ticks_to = line->end;
        }
        if (tick < here) {
            at = spot_skip_ticks_next(&ticks, s->text, tick, line->end);
            continue;
        }
        bool only = unknown && line->fresh && seen.only && is_space_only(s, seen.to, here);
        if (take(s, line, here, only, &found, &at)) {
            see_command(s, line, &seen, &found);
            add_found(s, &found);
        } else if (tick == here && at == here + 1) {
            at = spot_skip_ticks_next(&ticks, s->text, tick, line->end);
        }
    }
    seen.only = seen.only && is_space_only(s, seen.to, line->end);
    return seen;
}

/* --- what goes with a command --- */

/* Moves the beginning of what is cut over the blanks before it, also before what is cut there. */
static void cut_before(const struct spotting *s, const struct line *line, struct spot_found *found,
                       size_t before)
{
    for (;; found--, before--) {
        size_t floor = before > 0 ? found[-1].cut_end : line->begin;
        found->cut_begin = trim_blanks(s, floor, found->cut_begin);
        if (before == 0 || found->cut_begin > floor)
            return;
    }
}

static void cut_line(struct spotting *s, const struct line *line, size_t first)
{
    for (size_t i = first; i < s->spot->n; i++) {
        struct spot_found *found = &s->spot->items[i];
        size_t right = found->end;
        while (right < line->end && is_blank(s->text.p[right]))
            right++;
        found->cut_begin = found->begin;
        found->cut_end = found->end;
        bool last = right >= line->end || is_line_end(s->text.p[right]);
        if (last || right > found->end)
            found->cut_end = right;
        if (last || (right == found->end && is_mark(s->text.p[right])))
            cut_before(s, line, found, i - first);
    }
}

/* Returns where the next one begins. */
static size_t look_at_line(struct spotting *s, struct line *line)
{
    struct spot *spot = s->spot;
    struct line whole = *line;
    size_t first = spot->n;

    struct seen seen = find_commands(s, line, s->interactive);
    if (seen.unknown && !seen.only) {
        spot->n = first;
        s->prefix_at = find_prefix(s, whole.begin);
        *line = whole;
        seen = find_commands(s, line, false);
    }
    spot->rest |= !seen.only;
    cut_line(s, line, first);
    size_t end = s->prefix.p[0] == '`' ? SIZE_MAX : spot_skip_open(s->text, seen.to, line->end);
    if (end != SIZE_MAX)
        return end;
    end = line_end(s->text, line->end);
    return end + (end < s->text.n);
}

/* --- the text --- */

/* A prefix may look like what begins a fence or a tag: commands come first. */
static bool is_command(const struct spotting *s, size_t at)
{
    bool lower;
    char c = s->prefix.p[0];

    if (c != '`' && c != '~' && c != '<')
        return false;
    while (at < s->text.n && is_blank(s->text.p[at]))
        at++;
    if (!str_starts(str_from(s->text, at), s->prefix))
        return false;
    size_t begin = at + s->prefix.n;
    size_t end = name_end(s->text, begin, &lower);
    return lower && command_find(str_of(s->text.p + begin, end - begin)) != NULL;
}

static void look_at_text(struct spotting *s, size_t at)
{
    struct spot_skip skip;
    bool fresh = true;
    size_t end = at;

    spot_skip_init(&skip, s->text);
    while (at < s->text.n && !arena_overflowed(s->arena)) {
        enum spot_skip_kind kind = SPOT_SKIP_NONE;
        if (fresh && !is_command(s, at))
            kind = spot_skip_next(&skip, at, &end);
        if (kind == SPOT_SKIP_NONE) {
            struct line line = {.begin = at, .fresh = fresh};
            line.end = spot_skip_tail(s->text, at, line_end(s->text, at));
            end = look_at_line(s, &line);
        }
        s->spot->rest |= kind == SPOT_SKIP_FENCE || kind == SPOT_SKIP_ELEMENT;
        s->spot->told |= kind == SPOT_SKIP_TOLD;
        assert(end > at);
        at = end;
        fresh = kind == SPOT_SKIP_TAG || is_line_end(s->text.p[at - 1]);
    }
}

void spot_text(struct str text, const struct spot_options *options, struct arena *arena,
               struct spot *ret_spot)
{
    struct spotting s = {.prefix = options->prefix,
                         .interactive = options->interactive,
                         .arena = arena,
                         .spot = ret_spot};
    struct spot_skip_part part;

    assert(s.prefix.n >= 2);
    *ret_spot = (struct spot){.items = NULL};
    spot_skip_result(text, options->as, &part);
    ret_spot->next = part.next;
    s.text = str_head(text, part.end);
    s.prefix_at = find_prefix(&s, part.begin);
    look_at_text(&s, part.begin);
    /* What says nothing of its own: the heading of what the user is asked to say, and what stands
     * around that. */
    bool heading = part.next == SPOT_WORDS;
    if (part.is != SPOT_TEXT && (part.is == SPOT_RESULT || part.begin == part.end) && !heading)
        ret_spot->rest = true;
    assert(ret_spot->n == 0 || ret_spot->items[ret_spot->n - 1].cut_end <= text.n);
    if (arena_overflowed(arena))
        *ret_spot = (struct spot){.rest = true};
}

struct str spot_rest(struct str text, const struct spot *spot, struct arena *arena)
{
    size_t n = 0;
    size_t at = 0;

    if (spot->n == 0)
        return text;
    char *to = arena_alloc(arena, text.n + 1);
    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i <= spot->n; i++) {
        size_t end = i < spot->n ? spot->items[i].cut_begin : text.n;
        assert(at <= end && end <= text.n);
        memcpy(to + n, text.p + at, end - at);
        n += end - at;
        at = i < spot->n ? spot->items[i].cut_end : end;
    }
    return str_of(to, n);
}

/* --- clients --- */

bool spot_holds_words(struct str text)
{
    return spot_skip_words(text);
}

static bool is_word_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool spot_wants_tool(struct str system_text)
{
    static const struct str names[] = {STR_INIT("You are Cline"), STR_INIT("You are Roo"),
                                       STR_INIT("attempt_completion")};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        for (size_t at = 0; (at = str_find(system_text, names[i], at)) != SIZE_MAX; at++) {
            size_t end = at + names[i].n;
            if ((at == 0 || !is_word_char(system_text.p[at - 1])) &&
                (end == system_text.n || !is_word_char(system_text.p[end])))
                return true;
        }
    }
    return false;
}
