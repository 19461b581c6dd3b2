/* SPDX-License-Identifier: MIT */
/*
 * The law of outlines, for tests and fuzzers: what an outline finds in a request is what reading
 * the request in full finds, whatever the request. The two share no code but the walkers of JSON.
 */
#pragma once

#include "protocol/protocol.h"
#include "text/json.h"

enum { TURNS_FOUND_MAX = 1024 };

/* A text, call or result; at: where its part begins. */
struct turns_found {
    enum role role;
    const char *at;
    struct str text; /* of a call: its id */
    struct str name;
    struct str source;
};

struct turns_findings {
    struct turns_found texts[TURNS_FOUND_MAX];
    size_t texts_n;
    struct turns_found calls[TURNS_FOUND_MAX];
    size_t calls_n;
    struct turns_found results[TURNS_FOUND_MAX];
    size_t results_n;
    bool too_many;
    bool twice; /* a part has a member twice (Gemini, where that is not checked) */
};

static inline void turns_add(struct turns_findings *to, struct turns_found *list, size_t *n,
                             struct turns_found found)
{
    if (*n == TURNS_FOUND_MAX)
        to->too_many = true;
    else
        list[(*n)++] = found;
}

/* Whether a part that was read as text says this text itself: no result of a search, no code. */
static inline bool turns_says(const struct part *part, struct arena *arena)
{
    if (json_kind_of(part->source) == JSON_STRING)
        return true;
    struct str text = json_object_find(part->source, STR("text"));
    return text.n > 0 && json_kind_of(text) == JSON_STRING &&
           str_eq(json_string_value(text, arena), part->text);
}

static inline void turns_find_read(const struct request *request, struct arena *arena,
                                   struct turns_findings *to)
{
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            struct turns_found found = {.role = turn->role,
                                        .at = part->source.p,
                                        .text = part->text,
                                        .name = part->name};
            if (part->kind == PART_TEXT && turns_says(part, arena))
                turns_add(to, to->texts, &to->texts_n, found);
            found.text = part->id;
            if (part->kind == PART_TOOL_CALL && !str_starts(part->id, STR("call_legacy")))
                turns_add(to, to->calls, &to->calls_n, found);
            if (part->kind == PART_TOOL_RESULT && !str_starts(part->id, STR("call_legacy")))
                turns_add(to, to->results, &to->results_n, found);
        }
    }
}

/* A part of Gemini's whose type is said is of no kind there. */
static inline bool turns_typed(struct str part)
{
    struct str type = json_object_find(part, STR("type"));

    return type.n > 0 && json_kind_of(type) != JSON_NULL;
}

static inline void turns_find_texts(const struct outline_turn *turn, bool gemini,
                                    struct arena *arena, struct turns_findings *to)
{
    struct outline_text text;
    size_t cursor = 0;

    while (outline_text_next(turn->content, &cursor, &text)) {
        struct str part = str_is_null(text.part) ? turn->content : text.part;
        struct turns_found found = {.role = turn->role, .at = part.p};
        assert(text.string.p >= part.p && text.string.p + text.string.n <= part.p + part.n);
        found.text = json_string_value(text.string, arena);
        if (gemini && turn->role == ROLE_TOOL)
            found.role = ROLE_USER;
        if (!gemini || !turns_typed(part))
            turns_add(to, to->texts, &to->texts_n, found);
    }
}

static inline void turns_find_calls(const struct protocol *p, const struct outline_turn *turn,
                                    struct arena *arena, struct turns_findings *to)
{
    struct outline_call call;
    size_t cursor = 0;

    while (p->outline_call(turn, &cursor, arena, &call)) {
        struct turns_found found = {.role = turn->role,
                                    .at = call.part.p,
                                    .text = call.id,
                                    .name = call.name,
                                    .source = turn->source};
        if (p == protocol_find(STR("openai-chat")) && str_is_null(call.id))
            continue; /* of before there were ids */
        if (call.is_result)
            turns_add(to, to->results, &to->results_n, found);
        else
            turns_add(to, to->calls, &to->calls_n, found);
    }
}

/* Gemini's parts in single objects are not checked for members that stand twice. */
static inline bool turns_twice(const struct outline_turn *turn, struct arena *arena)
{
    struct str list = turn->content;
    struct json_index index;
    struct str part;
    struct error e;
    size_t cursor = 0;

    if (list.n > 0 && json_kind_of(list) == JSON_OBJECT)
        return json_index_read(&index, list, 1024, NULL, arena, &e) != OK;
    while (json_array_next(list, &cursor, &part)) {
        if (json_index_read(&index, part, 1024, NULL, arena, &e) != OK)
            return true;
    }
    return false;
}

static inline const char *turns_find_outline(const struct protocol *p,
                                             const struct request *request, struct arena *arena,
                                             struct turns_findings *to)
{
    bool gemini = p == protocol_find(STR("gemini"));
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;
    struct outline_turn end = {.role = ROLE_COUNT};
    struct outline_turn walked = {.role = ROLE_COUNT};

    while (p->outline_next(request, &cursor, &turn)) {
        assert(turn.role < ROLE_COUNT);
        to->twice = to->twice || (gemini && turns_twice(&turn, arena));
        if (gemini || turn.role != ROLE_TOOL)
            turns_find_texts(&turn, gemini, arena, to);
        turns_find_calls(p, &turn, arena, to);
        if (turn.role != ROLE_SYSTEM || !str_is_null(turn.source))
            walked = turn;
    }
    (void)p->outline_last(request, &end);
    if (end.role != walked.role || !str_eq(end.source, walked.source) ||
        end.source.p != walked.source.p || end.content.p != walked.content.p)
        return "another last turn";
    return NULL;
}

/* A turn that was made of another one: results, what Gemini's functions say, and what the vendor's
 * own tools gave. */
static inline bool turns_is_role(const struct turn *read, const struct outline_turn *turn)
{
    if (turn->role == read->role || read->role == ROLE_TOOL)
        return true;
    if (turn->role != ROLE_TOOL)
        return false;
    return read->role == ROLE_USER || (read->role == ROLE_ASSISTANT && read->parts != NULL &&
                                       read->parts->kind == PART_VENDOR);
}

/* The roles are those of the messages they are of; several items may be one turn. */
static inline const char *turns_compare_roles(const struct protocol *p,
                                              const struct request *request)
{
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn = {.role = ROLE_COUNT};

    for (const struct turn *read = request->turns; read != NULL; read = read->next) {
        if (read->role == ROLE_SYSTEM && read->source.n > 0 &&
            (json_kind_of(read->source) != JSON_OBJECT || str_eq(str_c(p->name), STR("gemini"))))
            continue;
        while (turn.source.p != read->source.p &&
               (!str_is_null(turn.source) || turn.content.p != read->source.p)) {
            if (!p->outline_next(request, &cursor, &turn))
                return str_eq(str_c(p->name), STR("gemini"))
                           ? NULL /* a single object in the list's place */
                           : "a turn that is not found";
        }
        if (!turns_is_role(read, &turn))
            return "another role";
    }
    return NULL;
}

/* exact: texts, else calls, whose ids may have been made up and whose names have a prefix. */
static inline bool turns_same(const struct turns_found *a, const struct turns_found *b, size_t n,
                              bool exact)
{
    for (size_t i = 0; i < n; i++) {
        bool same = exact ? a[i].at == b[i].at && a[i].role == b[i].role &&
                                str_eq(a[i].text, b[i].text)
                          : (b[i].text.n == 0 || str_eq(a[i].text, b[i].text)) &&
                                str_ends(a[i].name, b[i].name) &&
                                (b[i].at == NULL || a[i].at == NULL || a[i].at == b[i].at ||
                                 b[i].name.n == 0);
        if (!same)
            return false;
    }
    return true;
}

/* Takes turns, parts and beginnings of texts out, as the bits of what say; then the request, of
 * which the head was read, reads again. */
static inline const char *turns_edit(const struct protocol *p, const struct request *request,
                                     const struct request_limits *limits, uint64_t what,
                                     struct arena *arena)
{
    struct outline_cursor cursor = {.step = 0};
    struct request edited = *request;
    struct outline_turn turn;
    struct outline_text text;
    struct error e;

    for (; p->outline_next(request, &cursor, &turn); what = what >> 3 | what << 61) {
        size_t at = 0;
        if ((what & 1) != 0 && !str_is_null(turn.source)) {
            json_edit_element(&edited.edits, arena, request->source, turn.source);
            continue;
        }
        for (; outline_text_next(turn.content, &at, &text); what = what >> 1 | what << 63) {
            struct json_string_cursor string;
            struct str said = json_string_value(text.string, arena);
            size_t end = 1;
            if ((what & 2) != 0 && !str_is_null(text.part)) {
                json_edit_element(&edited.edits, arena, request->source, text.part);
                continue;
            }
            while (end < said.n && ((unsigned char)said.p[end] & 0xC0) == 0x80)
                end++;
            json_string_begin(&string, text.string);
            if (said.n > 0)
                json_edit_cut(&edited.edits, arena, request->source, &string, 0, end);
        }
    }
    enum error_code code = protocol_read_full(p, &edited, limits, arena, &e);
    return code != OK && edited.edits.n > 0 ? "edited, it is no request any more" : NULL;
}

/* Of a request of which only the head was read. */
static inline const char *turns_walk(const struct protocol *p, const struct request *request,
                                     const struct request_limits *limits, struct arena *arena)
{
    struct turns_findings *found = ARENA_NEW(arena, struct turns_findings);
    uint64_t what = request->source.n * UINT64_C(0x9E3779B97F4A7C15);

    assert(!arena_overflowed(arena));
    const char *problem = turns_find_outline(p, request, arena, found);
    return problem != NULL ? problem : turns_edit(p, request, limits, what, arena);
}

/* The request is full. NULL: they agree; else what does not. */
static inline const char *turns_disagree(const struct protocol *p, const struct request *request,
                                         struct arena *arena)
{
    struct turns_findings *read = ARENA_NEW(arena, struct turns_findings);
    struct turns_findings *outlined = ARENA_NEW(arena, struct turns_findings);

    assert(request->full && !arena_overflowed(arena));
    turns_find_read(request, arena, read);
    const char *problem = turns_find_outline(p, request, arena, outlined);
    if (outlined->too_many || read->too_many || outlined->twice)
        return NULL;
    if (problem == NULL)
        problem = turns_compare_roles(p, request);
    if (problem != NULL)
        return problem;
    if (read->texts_n != outlined->texts_n ||
        !turns_same(read->texts, outlined->texts, read->texts_n, true))
        return "other texts";
    if (read->calls_n != outlined->calls_n ||
        !turns_same(read->calls, outlined->calls, read->calls_n, false))
        return "other calls";
    if (read->results_n != outlined->results_n ||
        !turns_same(read->results, outlined->results, read->results_n, false))
        return "other results";
    return NULL;
}
