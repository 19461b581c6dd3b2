/* SPDX-License-Identifier: MIT */
#include "canon/translation.h"

enum { CODE_MAX = 32, NAME_SHOWN_MAX = 64 };

/* --- warnings --- */

static const struct str more = STR_INIT("more");

/* As many as are told: a request may name thousands. */
static bool is_full(const struct translation *t)
{
    return t->warnings_n == TRANSLATION_WARNINGS_MAX &&
           str_eq(t->warnings[TRANSLATION_WARNINGS_MAX - 1], more);
}

static void warn(struct translation *t, struct str code)
{
    for (size_t i = 0; i < t->warnings_n; i++) {
        if (str_eq(t->warnings[i], code))
            return;
    }
    if (t->warnings_n == TRANSLATION_WARNINGS_MAX) {
        t->warnings[TRANSLATION_WARNINGS_MAX - 1] = more;
        return;
    }
    struct str kept = str_copy(t->arena, code);
    if (!arena_overflowed(t->arena))
        t->warnings[t->warnings_n++] = kept;
}

void translation_warn(struct translation *t, const char *code)
{
    if (t != NULL)
        warn(t, str_c(code));
}

/* What is no visible ASCII, or has a meaning in the header, as %XX; cut where shown is full. */
static size_t show_name(struct str name, char shown[NAME_SHOWN_MAX])
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool plain = c > ' ' && c <= '~' && c != ',' && c != '%';
        if (n + (plain ? 1 : 3) > NAME_SHOWN_MAX)
            break;
        shown[n++] = plain ? (char)c : '%';
        if (plain)
            continue;
        shown[n++] = hex[c >> 4];
        shown[n++] = hex[c & 15];
    }
    return n;
}

void translation_warn_of(struct translation *t, const char *code, struct str name)
{
    char shown[NAME_SHOWN_MAX];
    char text[CODE_MAX + 1 + NAME_SHOWN_MAX + 1];

    if (t == NULL || is_full(t))
        return;
    size_t shown_n = show_name(name, shown);
    int n = snprintf(text, sizeof(text), "%s:%.*s", code, (int)shown_n, shown);
    assert(n > 0 && (size_t)n < sizeof(text)); /* codes are ours */
    warn(t, str_of(text, (size_t)n));
}

void translation_write_warnings(const struct translation *t, struct buf *out)
{
    for (size_t i = 0; i < t->warnings_n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add(out, t->warnings[i]);
    }
}

/* --- tools --- */

void translation_rename(struct translation *t, struct str ours, struct str theirs)
{
    struct renamed *node = ARENA_NEW(t->arena, struct renamed);
    struct str kept_ours = str_copy(t->arena, ours);
    struct str kept_theirs = str_copy(t->arena, theirs);

    if (arena_overflowed(t->arena))
        return;
    *node = (struct renamed){.ours = kept_ours, .theirs = kept_theirs, .next = t->renamed};
    t->renamed = node;
}

struct str translation_ours(const struct translation *t, struct str theirs)
{
    for (const struct renamed *node = t->renamed; node != NULL; node = node->next) {
        if (str_eq(node->theirs, theirs))
            return node->ours;
    }
    return theirs;
}

void translation_wrap(struct translation *t, struct str name)
{
    struct tool_name *node = ARENA_NEW(t->arena, struct tool_name);
    struct str kept = str_copy(t->arena, name);

    if (arena_overflowed(t->arena))
        return;
    *node = (struct tool_name){.name = kept, .next = t->wrapped};
    t->wrapped = node;
}

bool translation_is_wrapped(const struct translation *t, struct str name)
{
    for (const struct tool_name *node = t->wrapped; node != NULL; node = node->next) {
        if (str_eq(node->name, name))
            return true;
    }
    return false;
}

/* --- the answer --- */

bool translation_changes_answer(const struct translation *t)
{
    return t->renamed != NULL || t->wrapped != NULL || !str_is_null(t->json_tool) ||
           t->stop_n > 0 || t->echo.n > 0;
}

void translation_copy(const struct translation *from, struct arena *arena,
                      struct translation *ret_copy)
{
    *ret_copy = (struct translation){.arena = arena};
    for (size_t i = 0; i < from->warnings_n; i++)
        warn(ret_copy, from->warnings[i]);
    for (const struct renamed *node = from->renamed; node != NULL; node = node->next)
        translation_rename(ret_copy, node->ours, node->theirs);
    for (const struct tool_name *node = from->wrapped; node != NULL; node = node->next)
        translation_wrap(ret_copy, node->name);
    ret_copy->json_tool = str_copy(arena, from->json_tool);
    ret_copy->echo = str_copy(arena, from->echo);
    struct str *stop = arena_array(arena, from->stop_n, sizeof(*stop));
    if (from->stop_n == 0 || arena_overflowed(arena))
        return;
    for (size_t i = 0; i < from->stop_n; i++)
        stop[i] = str_copy(arena, from->stop[i]);
    ret_copy->stop = stop;
    ret_copy->stop_n = from->stop_n;
}
