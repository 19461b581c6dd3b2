/* SPDX-License-Identifier: MIT */
/*
 * What      Fences, inline code, elements and results of tools in a user's text: where they end.
 * How       One pass: what is skipped is not looked at again. Only the closing tag of an element
 *           that shares its first line with its text may be searched for in vain; that has a
 *           budget, so that all of it stays linear whatever the text is.
 * Not here  Commands (spot.c).
 */
#include "command/spot_skip.h"

enum { BUDGET = 256 * 1024, BUDGET_FACTOR = 4, FENCE_MIN = 3, INDENT_MAX = 3, TAB = 4 };

static const struct str looked_into[] = {STR_INIT("task"), STR_INIT("feedback"),
                                         STR_INIT("user_message"), STR_INIT("answer"),
                                         STR_INIT("user_query")};
/* What clients add to their users' messages. Claude Code has its rules and files (CLAUDE.md), and
 * Gemini CLI its folder, in the conversation's first message only. */
static const struct str added[] = {
    STR_INIT("environment_details"),  STR_INIT("system-reminder"),
    STR_INIT("system_reminder"),      STR_INIT("file_content"),
    STR_INIT("folder_content"),       STR_INIT("attached_files"),
    STR_INIT("additional_context"),   STR_INIT("current_note"),
    STR_INIT("session_context"),      STR_INIT("hook_context"),
    STR_INIT("local-command-caveat"), STR_INIT("local-command-stdout"),
    STR_INIT("local-command-stderr"), STR_INIT("command-name"),
    STR_INIT("command-message"),      STR_INIT("command-args"),
    STR_INIT("bash-input"),           STR_INIT("bash-stdout"),
    STR_INIT("bash-stderr"),          STR_INIT("ide_opened_file"),
    STR_INIT("ide_selection")};
/* Of these: what the next message has again (Cline, Roo Code). */
static const struct str again = STR_INIT("environment_details");
/* Of these: what stands on both sides of the user's words in one text. */
static const struct str around[] = {STR_INIT("system-reminder"), STR_INIT("system_reminder")};
/* HTML's that hold nothing and stand in prose. */
static const struct str empty[] = {STR_INIT("br"), STR_INIT("hr"), STR_INIT("img")};
/* Tools by which an agent hears its user. */
static const struct str hearing[] = {STR_INIT("attempt_completion"),
                                     STR_INIT("ask_followup_question"),
                                     STR_INIT("plan_mode_respond"), STR_INIT("plan_mode_response")};

static bool is_in(const struct str *list, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], name))
            return true;
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static size_t skip_blanks(struct str text, size_t at)
{
    while (at < text.n && is_blank(text.p[at]))
        at++;
    return at;
}

static bool ends_line(struct str text, size_t at)
{
    at = skip_blanks(text, at);
    return at == text.n || is_line_end(text.p[at]);
}

static bool begins_line(struct str text, size_t at)
{
    while (at > 0 && is_blank(text.p[at - 1]))
        at--;
    return at == 0 || is_line_end(text.p[at - 1]);
}

static size_t line_end(struct str text, size_t at)
{
    while (at < text.n && !is_line_end(text.p[at]))
        at++;
    return at;
}

/* Behind one line end; at the text's end: there. */
static size_t next_line(struct str text, size_t at)
{
    if (at < text.n && text.p[at] == '\r')
        at++;
    if (at < text.n && text.p[at] == '\n')
        at++;
    return at;
}

/* --- fences --- */

struct fence {
    size_t quotes; /* '>' before it */
    size_t indent; /* columns */
    size_t n;
    char c;
    size_t behind; /* its last character */
};

struct margin {
    size_t at;
    size_t column;
    size_t quotes;
};

static void margin_blanks(struct str text, struct margin *margin)
{
    for (; margin->at < text.n && is_blank(text.p[margin->at]); margin->at++)
        margin->column += text.p[margin->at] == '\t' ? TAB - margin->column % TAB : 1;
}

/* Length of a list's marker with its blank; 0: none. */
static size_t list_marker(struct str text, size_t at)
{
    size_t digits = 0;
    size_t i = at;

    while (i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && digits < 9) {
        digits++;
        i++;
    }
    if (i + 1 >= text.n || !is_blank(text.p[i + 1]))
        return 0;
    char c = text.p[i];
    bool marker = digits > 0 ? c == '.' || c == ')' : c == '-' || c == '*' || c == '+';
    return marker ? digits + 2 : 0;
}

/* The run of backticks or tildes at the margin, if it is one that may open or close a fence. */
static bool fence_run(struct str text, const struct margin *margin, struct fence *fence)
{
    size_t at = margin->at;

    if (at == text.n || (text.p[at] != '`' && text.p[at] != '~'))
        return false;
    fence->c = text.p[at];
    while (at < text.n && text.p[at] == fence->c)
        at++;
    fence->n = at - margin->at;
    fence->behind = at;
    fence->indent = margin->column;
    fence->quotes = margin->quotes;
    return fence->n >= FENCE_MIN;
}

static bool fence_opens(struct str text, size_t at, struct fence *fence)
{
    struct margin margin = {.at = at};
    size_t marker;

    for (;;) {
        margin_blanks(text, &margin);
        if (margin.at < text.n && text.p[margin.at] == '>') {
            margin.quotes++;
            marker = 1;
        } else {
            marker = list_marker(text, margin.at);
        }
        if (marker == 0)
            break;
        margin.at += marker;
        margin.column += marker;
    }
    if (!fence_run(text, &margin, fence))
        return false;
    if (fence->c == '~')
        return true;
    size_t end = line_end(text, fence->behind);
    return memchr(text.p + fence->behind, '`', end - fence->behind) == NULL;
}

/* Behind the line that closes it; where the quote ends that it is in; the text's end. */
static size_t fence_end(struct str text, const struct fence *fence)
{
    size_t at = next_line(text, line_end(text, fence->behind));

    while (at < text.n) {
        struct margin margin = {.at = at};
        struct fence close;
        margin_blanks(text, &margin);
        while (margin.quotes < fence->quotes && margin.at < text.n && text.p[margin.at] == '>') {
            margin.quotes++;
            margin.at++;
            margin.column++;
            margin_blanks(text, &margin);
        }
        if (margin.quotes < fence->quotes)
            return at;
        bool closes = fence_run(text, &margin, &close) && close.c == fence->c &&
                      close.n >= fence->n && close.indent <= fence->indent + INDENT_MAX &&
                      ends_line(text, close.behind);
        at = next_line(text, line_end(text, margin.at));
        if (closes)
            return at;
    }
    return text.n;
}

static bool is_info_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '#' || c == '.' || c == '-';
}

size_t spot_skip_open(struct str text, size_t begin, size_t end)
{
    struct margin margin = {.at = begin};
    struct fence fence = {.c = '`', .behind = end};
    struct spot_skip_ticks ticks;
    size_t last = end;

    while (last > begin && is_blank(text.p[last - 1]))
        last--;
    while (last > begin && is_info_char(text.p[last - 1]))
        last--;
    size_t run = last;
    while (run > begin && text.p[run - 1] == '`')
        run--;
    fence.n = last - run;
    if (fence.n < FENCE_MIN)
        return SIZE_MAX;
    spot_skip_ticks_init(&ticks, text, begin, end);
    size_t at = begin;
    while (at < run) {
        const char *tick = memchr(text.p + at, '`', end - at);
        at = (size_t)(tick - text.p);
        if (at < run)
            at = spot_skip_ticks_next(&ticks, text, at, end);
    }
    if (at > run)
        return SIZE_MAX;
    margin_blanks(text, &margin);
    fence.indent = margin.column;
    return fence_end(text, &fence);
}

/* --- elements --- */

struct tag {
    struct str name;
    size_t end; /* behind its '>' */
    bool closing;
    bool self_closing;
};

static bool is_name_char(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

    return letter ||
           (!first && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ':'));
}

/* Behind the '>' of a tag whose name ends at `at`; SIZE_MAX: none on its line. */
static size_t tag_end(struct str text, size_t at)
{
    char quote = '\0';

    for (; at < text.n && !is_line_end(text.p[at]); at++) {
        char c = text.p[at];
        if (quote != '\0')
            quote = c == quote ? '\0' : quote;
        else if ((c == '"' || c == '\'') && text.p[at - 1] == '=')
            quote = c;
        else if (c == '>')
            return at + 1;
    }
    return SIZE_MAX;
}

static bool tag_read(struct str text, size_t at, struct tag *ret_tag)
{
    struct tag tag = {.closing = false};

    if (at == text.n || text.p[at] != '<')
        return false;
    at++;
    if (at < text.n && text.p[at] == '/') {
        tag.closing = true;
        at++;
    }
    size_t begin = at;
    while (at < text.n && is_name_char(text.p[at], at == begin))
        at++;
    if (at == begin || at == text.n)
        return false;
    tag.name = str_of(text.p + begin, at - begin);
    bool ends = is_blank(text.p[at]) || text.p[at] == '>' ||
                (text.p[at] == '/' && at + 1 < text.n && text.p[at + 1] == '>');
    tag.end = ends ? tag_end(text, at) : SIZE_MAX;
    if (tag.end == SIZE_MAX)
        return false;
    tag.self_closing = text.p[tag.end - 2] == '/';
    *ret_tag = tag;
    return true;
}

/* Behind the closing tag of the name that stands at `at`; 0: none does. */
static size_t closes(struct str text, size_t at, struct str name)
{
    struct str rest = str_from(text, at);

    if (rest.n < name.n + 3 || rest.p[1] != '/' || !str_starts(str_from(rest, 2), name))
        return 0;
    size_t end = skip_blanks(text, at + 2 + name.n);
    return end < text.n && text.p[end] == '>' ? end + 1 : 0;
}

/* Behind the tag that closes the element; SIZE_MAX: none does. *ret_any: there was one. */
static size_t element_end(struct str text, const struct tag *open, bool *ret_any)
{
    size_t depth = 1;
    size_t own_line = line_end(text, open->end);
    struct tag tag;

    *ret_any = false;
    for (size_t at = open->end; (at = str_find_char(text, '<', at)) != SIZE_MAX; at++) {
        size_t end = closes(text, at, open->name);
        if (end != 0) {
            *ret_any = true;
            if ((at < own_line || begins_line(text, at) || ends_line(text, end)) && --depth == 0)
                return end;
        } else if (str_starts(str_from(text, at + 1), open->name) && begins_line(text, at) &&
                   tag_read(text, at, &tag) && str_eq(tag.name, open->name) && !tag.self_closing) {
            depth++;
            own_line = line_end(text, tag.end);
        }
    }
    return SIZE_MAX;
}

/* Behind the last tag that closes the name, from `at` on; SIZE_MAX: none does. */
static size_t last_closing(struct str text, size_t at, struct str name)
{
    for (size_t i = text.n; i > at; i--) {
        size_t end = text.p[i - 1] == '<' ? closes(text, i - 1, name) : 0;
        if (end != 0)
            return end;
    }
    return SIZE_MAX;
}

/* Nothing but more elements of the name stands between. */
static bool only_such(struct str text, size_t at, size_t end, struct str name)
{
    struct tag tag;
    bool any;

    for (;;) {
        while (at < end && (is_blank(text.p[at]) || is_line_end(text.p[at])))
            at++;
        if (at >= end)
            return at == end;
        if (!tag_read(text, at, &tag) || tag.closing || tag.self_closing || !str_eq(tag.name, name))
            return false;
        at = element_end(text, &tag, &any);
    }
}

/* Of an element that a client adds, which may hold a file, or what a program printed. The client
 * closes it behind all of that: a tag that closes it before is not to be believed, and what stands
 * between is nobody's words. */
static enum spot_skip_kind skip_added(const struct spot_skip *skip, const struct tag *tag,
                                      size_t *end)
{
    size_t last = SIZE_MAX;

    if (!is_in(around, COUNT_OF(around), tag->name))
        last = last_closing(skip->text, *end, tag->name);
    if (last != SIZE_MAX) {
        bool more = only_such(skip->text, *end, last, tag->name);
        *end = last;
        if (!more)
            return SPOT_SKIP_ELEMENT;
    }
    return str_eq(tag->name, again) ? SPOT_SKIP_AGAIN : SPOT_SKIP_TOLD;
}

/* What nothing closes is no element, as long as looking for its end has not cost too much. any: a
 * tag closes it, in another place than an element's. */
static bool is_text(struct spot_skip *skip, size_t at, struct str name, bool any)
{
    size_t searched = skip->text.n - at;

    if (searched > skip->budget)
        return false;
    skip->budget -= searched;
    if (!any)
        skip->absent = name;
    return true;
}

static enum spot_skip_kind skip_element(struct spot_skip *skip, size_t at, size_t *ret_end)
{
    struct tag tag;
    bool any;

    if (!tag_read(skip->text, at, &tag) || tag.self_closing)
        return SPOT_SKIP_NONE;
    if (is_in(looked_into, COUNT_OF(looked_into), tag.name)) {
        *ret_end = tag.end;
        return SPOT_SKIP_TAG;
    }
    if (tag.closing || is_in(empty, COUNT_OF(empty), tag.name))
        return SPOT_SKIP_NONE;
    bool is_added = is_in(added, COUNT_OF(added), tag.name);
    bool to_end = is_added || ends_line(skip->text, tag.end);
    if (!to_end && str_eq(tag.name, skip->absent))
        return SPOT_SKIP_NONE;
    size_t end = element_end(skip->text, &tag, &any);
    if (end == SIZE_MAX && !to_end && is_text(skip, at, tag.name, any))
        return SPOT_SKIP_NONE;
    end = end == SIZE_MAX ? skip->text.n : end;
    assert(end > at && end <= skip->text.n);
    *ret_end = end;
    return is_added ? skip_added(skip, &tag, ret_end) : SPOT_SKIP_ELEMENT;
}

void spot_skip_init(struct spot_skip *skip, struct str text)
{
    *skip = (struct spot_skip){.text = text, .budget = BUDGET + BUDGET_FACTOR * text.n};
}

enum spot_skip_kind spot_skip_next(struct spot_skip *skip, size_t at, size_t *ret_end)
{
    struct fence fence;
    size_t first = skip_blanks(skip->text, at);

    assert(at < skip->text.n);
    if (first == skip->text.n)
        return SPOT_SKIP_NONE;
    if (skip->text.p[first] == '<')
        return skip_element(skip, first, ret_end);
    if (!fence_opens(skip->text, at, &fence))
        return SPOT_SKIP_NONE;
    *ret_end = fence_end(skip->text, &fence);
    return SPOT_SKIP_FENCE;
}

size_t spot_skip_tail(struct str text, size_t begin, size_t end)
{
    for (;;) {
        size_t last = end;
        while (last > begin && is_blank(text.p[last - 1]))
            last--;
        if (last == begin || text.p[last - 1] != '>')
            return end;
        size_t open = last - 1;
        while (open > begin && text.p[open] != '<' && last - open < 32)
            open--;
        struct tag tag;
        if (!tag_read(str_head(text, last), open, &tag) || !tag.closing || tag.end != last ||
            !is_in(looked_into, COUNT_OF(looked_into), tag.name))
            return end;
        end = open;
    }
}

/* --- inline code --- */

static size_t run_end(struct str text, size_t at, size_t end)
{
    while (at < end && text.p[at] == '`')
        at++;
    return at;
}

/* The first backtick from `at` on; end: none. */
static size_t run_begin(struct str text, size_t at, size_t end)
{
    size_t found = str_find_char(str_head(text, end), '`', at);

    return found == SIZE_MAX ? end : found;
}

void spot_skip_ticks_init(struct spot_skip_ticks *ticks, struct str text, size_t begin, size_t end)
{
    memset(ticks->last, 0xff, sizeof(ticks->last));
    for (size_t at = run_begin(text, begin, end); at < end; at = run_begin(text, at, end)) {
        size_t behind = run_end(text, at, end);
        if (behind - at <= SPOT_SKIP_TICKS)
            ticks->last[behind - at] = at;
        at = behind;
    }
}

size_t spot_skip_ticks_next(const struct spot_skip_ticks *ticks, struct str text, size_t at,
                            size_t end)
{
    size_t behind = run_end(text, at, end);
    size_t n = behind - at;

    assert(n > 0);
    if (n > SPOT_SKIP_TICKS || ticks->last[n] == SIZE_MAX || ticks->last[n] <= at)
        return behind;
    for (size_t close = behind; close < end;) {
        close = run_begin(text, close, end);
        size_t close_end = run_end(text, close, end);
        if (close_end - close == n)
            return close_end;
        close = close_end;
    }
    return behind;
}

/* --- results of tools --- */

/* Behind the heading of a tool's result that the text begins with; 0: it does not. */
static size_t heading(struct str text, enum spot_as *ret_is)
{
    static const struct str quoted = STR_INIT(" for '");
    size_t at = 0;

    while (at < text.n && (is_blank(text.p[at]) || is_line_end(text.p[at])))
        at++;
    if (at == text.n || text.p[at] != '[')
        return 0;
    size_t begin = ++at;
    while (at < text.n && text.p[at] != ']' && !is_line_end(text.p[at]) &&
           !str_starts(str_from(text, at), quoted))
        at++;
    struct str name = str_of(text.p + begin, at - begin);
    bool hears = is_in(hearing, COUNT_OF(hearing), name);
    *ret_is = hears ? SPOT_WORDS : SPOT_RESULT;
    if (hears && str_starts(str_from(text, at), STR("] Result:")))
        return at + STR("] Result:").n;
    if (!str_starts(str_from(text, at), quoted))
        return 0;
    static const struct str end = STR_INIT("'] Result:");
    at = str_find(text, end, at + quoted.n);
    return at == SIZE_MAX ? 0 : at + end.n;
}

static size_t trim_end(struct str text, size_t end)
{
    while (end > 0 && (is_blank(text.p[end - 1]) || is_line_end(text.p[end - 1])))
        end--;
    return end;
}

/* Where the element begins, at the beginning of a line, whose closing tag ends the text; SIZE_MAX:
 * none of these names does. */
static size_t last_element(struct str text, const struct str *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t close = names[i].n + 3;
        struct tag tag;
        if (text.n < close || closes(text, text.n - close, names[i]) != text.n ||
            text.p[text.n - close] != '<')
            continue;
        for (size_t end = text.n - close; end > 0;) {
            while (--end > 0 && text.p[end] != '<')
                ;
            if (str_starts(str_from(text, end + 1), names[i]) && begins_line(text, end) &&
                tag_read(text, end, &tag) && str_eq(tag.name, names[i]))
                return end;
        }
    }
    return SIZE_MAX;
}

void spot_skip_result(struct str text, enum spot_as as, struct spot_skip_part *ret_part)
{
    struct spot_skip_part part = {.is = as, .end = text.n};
    size_t begin = as == SPOT_TEXT ? heading(text, &part.is) : 0;
    size_t end = trim_end(text, text.n);

    if (as == SPOT_TEXT && begin == 0) {
        part.is = SPOT_TEXT;
        *ret_part = part;
        return;
    }
    if (as == SPOT_TEXT && begin >= end)
        part.next = part.is;
    /* What clients add behind it is none of the user's words, and not the result's. */
    for (size_t at = end; at != SIZE_MAX && at >= begin;) {
        end = trim_end(text, at);
        at = last_element(str_head(text, end), added, COUNT_OF(added));
    }
    part.end = end;
    part.begin = last_element(str_head(text, end), looked_into, COUNT_OF(looked_into));
    if (part.begin == SIZE_MAX || part.begin < begin)
        part.begin = part.end;
    assert(part.begin <= part.end && part.end <= text.n);
    *ret_part = part;
}

/* The opening tag of the name stands at `at`. */
static bool opens(struct str text, size_t at, struct str name)
{
    struct str rest = str_from(text, at + 1);

    return rest.n > name.n && str_starts(rest, name) &&
           (rest.p[name.n] == '>' || is_blank(rest.p[name.n]));
}

bool spot_skip_words(struct str text)
{
    for (size_t i = 0; i < COUNT_OF(looked_into); i++) {
        bool open = false;
        for (size_t at = 0; (at = str_find_char(text, '<', at)) != SIZE_MAX; at++) {
            if (!open)
                open = opens(text, at, looked_into[i]);
            else if (closes(text, at, looked_into[i]) != 0)
                return true;
        }
    }
    return false;
}
