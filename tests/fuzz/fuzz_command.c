/* SPDX-License-Identifier: MIT */
/*
 * spot_*, args_*: commands in any text.
 *
 * Input     A byte that chooses (interactive, what part it is, the prefix), then the text.
 * Laws      What is found is in order, inside the text, behind a blank or a line's beginning, and
 *           ends before one; what is cut is the command and blanks. The rest is the text without
 *           it, to the byte. No prefix and name of the rest reach over a place where something was
 *           cut. The same text says the same again. A body that holds a command may hold one, also
 *           as a JSON string with any of its characters escaped. What args_read takes, args_close
 *           ends where it ends; what args_close ends has nothing open.
 */
#include <stdint.h>
#include <stdlib.h>

#include "command/spot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 8192, MEMORY = 64 << 20 };

static const struct str prefixes[] = {STR_INIT("!/"),   STR_INIT("!/"), STR_INIT("!/"),
                                      STR_INIT("$/"),   STR_INIT("``"), STR_INIT("~~~"),
                                      STR_INIT("\"\\"), STR_INIT("ab")};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void check_place(struct str text, const struct spot_found *found)
{
    assert(found->begin == 0 || is_blank(text.p[found->begin - 1]) ||
           text.p[found->begin - 1] == '>');
    if (found->end == text.n || is_blank(text.p[found->end]) || text.p[found->end] == '<')
        return;
    assert(memchr(".,;:!?", text.p[found->end], 6) != NULL);
    assert(found->end + 1 == text.n || is_blank(text.p[found->end + 1]) ||
           text.p[found->end + 1] == '<');
}

static void check_found(struct str text, const struct spot_options *options,
                        const struct spot_found *found)
{
    struct str own = str_of(text.p + found->begin, found->end - found->begin);

    assert(found->cut_begin <= found->begin && found->begin < found->end);
    assert(found->end <= found->cut_end && found->cut_end <= text.n);
    for (size_t i = found->cut_begin; i < found->cut_end; i++)
        assert((i >= found->begin && i < found->end) || text.p[i] == ' ' || text.p[i] == '\t');
    assert(str_starts(own, options->prefix));
    assert(str_starts(str_from(own, options->prefix.n), found->name));
    assert(found->command == command_find(found->name) || found->command == NULL);
    assert(found->command != NULL || (options->interactive && str_is_null(found->fault)));
    check_place(text, found);
    if (!str_is_null(found->fault)) {
        assert(str_is_null(found->args));
        assert(str_starts(found->fault, STR("Invalid arguments: ")));
    } else if (!str_is_null(found->args)) {
        size_t open = options->prefix.n + found->name.n;
        assert(found->args.p == own.p + open + 1);
        assert(own.p[open] == '(' && found->args.n == own.n - open - 2);
        assert(own.p[own.n - 1] == ')');
    }
}

/* The rest, made another way. */
static void check_rest(struct str text, const struct spot *spot, struct str rest)
{
    size_t at = 0;
    size_t i = 0;

    for (size_t from = 0; from < text.n; from++) {
        while (i < spot->n && spot->items[i].cut_end <= from)
            i++;
        if (i < spot->n && spot->items[i].cut_begin <= from)
            continue;
        assert(at < rest.n && rest.p[at] == text.p[from]);
        at++;
    }
    assert(at == rest.n);
}

/* Its prefix and name lie in one piece of the text. (Its arguments may not: what was a tag amid a
 * line may begin one now.) */
static bool is_whole(const struct spot *spot, struct str rest, const struct spot_found *found)
{
    size_t end = (size_t)(found->name.p - rest.p) + found->name.n;
    size_t gone = 0;

    for (size_t i = 0; i < spot->n; i++) {
        size_t at = spot->items[i].cut_begin - gone;
        if (at > found->begin && at < end)
            return false;
        gone += spot->items[i].cut_end - spot->items[i].cut_begin;
    }
    return true;
}

static void check_args(struct str text, struct arena *arena)
{
    char *copy = arena_alloc(arena, text.n + 5);
    const char *why = NULL;
    size_t at = 0;
    struct args args;
    struct error e;

    copy[0] = '(';
    memcpy(copy + 1, text.p, text.n);
    memcpy(copy + 1 + text.n, ") x)", 4);
    struct str whole = str_of(copy, text.n + 5);
    size_t close = args_close(whole, 0, &why, &at);
    assert(close == SIZE_MAX ? why != NULL && at < whole.n : whole.p[close] == ')');
    if (args_read(text, arena, &args, &e) == OK) {
        bool one_line = str_find_char(text, '\n', 0) == SIZE_MAX &&
                        str_find_char(text, '\r', 0) == SIZE_MAX;
        assert(!one_line || close == text.n + 1);
        for (size_t i = 0; i < args.n; i++)
            assert(args.items[i].at < text.n && !str_is_null(args.items[i].value));
    } else {
        assert(str_starts(str_c(e.detail), STR("Invalid arguments: ")));
        assert(close != text.n + 1 ||
               (!str_starts(str_c(e.detail), STR("Invalid arguments: the quote is")) &&
                !str_starts(str_c(e.detail), STR("Invalid arguments: the bracket is"))));
    }
}

static void check_possible(struct str text, struct str prefix, uint8_t way, struct arena *arena)
{
    char *json = arena_alloc(arena, 6 * text.n + 1);
    size_t n = 0;

    assert(spot_is_possible(text, prefix));
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < ' ' || (c < 0x80 && (i * 7 + way) % 3 == 0))
            n += (size_t)snprintf(json + n, 7, way & 1 ? "\\u%04x" : "\\u%04X", c);
        else if (c == '"' || c == '\\' || (c == '/' && (i + way) % 2 == 0))
            n += (size_t)snprintf(json + n, 3, "\\%c", c);
        else
            json[n++] = (char)c;
    }
    assert(spot_is_possible(str_of(json, n), prefix));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct spot spot;
    struct spot again;

    if (size < 1 || size > TEXT_MAX)
        return 0;
    /* A copy of its own size, so that reading past it is seen. */
    char *copy = malloc(size);
    assert(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct str text = str_of(copy, size - 1);
    const struct spot_options options = {
        .prefix = prefixes[data[0] & 7],
        .interactive = (data[0] & 8) == 0,
        .as = (enum spot_as)((data[0] >> 4) % 3),
    };
    arena_init(&arena, MEMORY, 4096, NULL);

    spot_text(text, &options, &arena, &spot);
    for (size_t i = 0; i < spot.n; i++) {
        assert(spot.items[i].cut_begin >= (i == 0 ? 0 : spot.items[i - 1].cut_end));
        check_found(text, &options, &spot.items[i]);
        if (!str_is_null(spot.items[i].args))
            check_args(spot.items[i].args, &arena);
    }
    struct str rest = spot_rest(text, &spot, &arena);
    check_rest(text, &spot, rest);
    spot_text(rest, &options, &arena, &again);
    for (size_t i = 0; i < again.n; i++)
        assert(is_whole(&spot, rest, &again.items[i]));
    spot_text(text, &options, &arena, &again);
    assert(again.n == spot.n && again.rest == spot.rest && again.next == spot.next);
    for (size_t i = 0; i < spot.n; i++)
        assert(again.items[i].cut_begin == spot.items[i].cut_begin);
    if (spot.n > 0)
        check_possible(text, options.prefix, data[0], &arena);
    check_args(text, &arena);
    assert(!arena_overflowed(&arena));
    arena_fini(&arena);
    free(copy);
    return 0;
}
