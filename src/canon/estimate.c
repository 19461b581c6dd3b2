/* SPDX-License-Identifier: MIT */
#include "canon/estimate.h"

enum { BYTES_A_TOKEN = 4, TOKENS_A_TURN = 4, TOKENS_A_MEDIUM = 1500 };

struct sum {
    uint64_t bytes;
    uint64_t tokens;
};

static void add_part(struct sum *sum, const struct part *part)
{
    sum->bytes += part->text.n;
    if (part->kind == PART_TOOL_CALL)
        sum->bytes += part->name.n;
    if (part->kind == PART_VENDOR)
        sum->bytes += part->source.n;
    /* A document of plain text has its text. */
    if (part->kind == PART_IMAGE || part->kind == PART_AUDIO ||
        (part->kind == PART_FILE && str_is_null(part->text)))
        sum->tokens += TOKENS_A_MEDIUM;
}

static void add_tool(struct sum *sum, const struct tool *tool)
{
    sum->bytes += tool->name.n + tool->description.n + tool->schema.n + tool->format.n;
    if (tool->vendor)
        sum->bytes += tool->source.n;
}

int64_t estimate_tokens(const struct request *request)
{
    struct sum sum = {.bytes = request->params.format.schema.n};

    assert(request->full);
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        sum.tokens += TOKENS_A_TURN;
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            add_part(&sum, part);
            for (const struct part *inner = part->parts; inner != NULL; inner = inner->next)
                add_part(&sum, inner);
        }
    }
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next)
        add_tool(&sum, tool);
    return (int64_t)(sum.tokens + (sum.bytes + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN);
}
