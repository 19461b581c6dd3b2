/* SPDX-License-Identifier: MIT */
#include "canon/request.h"

#include "base/arena.h"

struct extra *request_keep(struct extra_end *end, struct extra **list, const struct json_member *m,
                           struct arena *arena)
{
    struct extra *extra = ARENA_NEW(arena, struct extra);

    if (arena_overflowed(arena))
        return NULL;
    if (end->list != list || *list == NULL) {
        end->list = list;
        end->at = list;
        while (*end->at != NULL)
            end->at = &(*end->at)->next;
    }
    *extra = (struct extra){.key = m->key, .value = m->value};
    assert(*end->at == NULL);
    *end->at = extra;
    end->at = &extra->next;
    return extra;
}

const char *request_role_name(enum role role)
{
    switch (role) {
    case ROLE_SYSTEM:
        return "system";
    case ROLE_DEVELOPER:
        return "developer";
    case ROLE_USER:
        return "user";
    case ROLE_ASSISTANT:
        return "assistant";
    case ROLE_TOOL:
        return "tool";
    case ROLE_COUNT:
        break;
    }
    BUG("no such role");
}

const char *request_part_name(enum part_kind kind)
{
    switch (kind) {
    case PART_TEXT:
        return "text";
    case PART_IMAGE:
        return "image";
    case PART_AUDIO:
        return "audio";
    case PART_FILE:
        return "file";
    case PART_REFUSAL:
        return "refusal";
    case PART_REASONING:
        return "reasoning";
    case PART_TOOL_CALL:
        return "tool_call";
    case PART_TOOL_RESULT:
        return "tool_result";
    case PART_VENDOR:
        return "vendor";
    case PART_KIND_COUNT:
        break;
    }
    BUG("no such kind of part");
}

struct str request_last_user_text(const struct request *request, struct arena *arena)
{
    const struct turn *last = NULL;
    size_t total = 0;
    size_t count = 0;
    struct str only = STR_NULL;

    assert(request->full);
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        if (turn->role == ROLE_USER)
            last = turn;
    }
    if (last == NULL)
        return STR_NULL;
    for (const struct part *part = last->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT)
            continue;
        total += part->text.n + 1;
        only = part->text;
        count++;
    }
    if (count == 0)
        return STR("");
    if (count == 1)
        return only;

    char *text = arena_alloc(arena, total);
    size_t n = 0;
    if (arena_overflowed(arena))
        return STR("");
    for (const struct part *part = last->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT)
            continue;
        if (n > 0)
            text[n++] = '\n';
        if (part->text.n > 0)
            memcpy(text + n, part->text.p, part->text.n);
        n += part->text.n;
    }
    assert(n <= total);
    return str_of(text, n);
}
