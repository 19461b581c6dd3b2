/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: whole messages, written from what canon/collect put together.
 */
#include "protocol/anthropic_priv.h"

#include "canon/fit.h"

static void add_citations(struct buf *out, const struct collect_block *block, struct arena *arena)
{
    size_t n = 0;
    struct buf text;

    buf_init(&text, out->size_max);
    for (const struct collect_list *c = block->citations; c != NULL; c = c->next) {
        buf_reset(&text);
        if (!anthropic_add_citation(&text, c->text, arena))
            continue;
        buf_add(out, n++ == 0 ? STR(",\"citations\":[") : STR(","));
        buf_add(out, buf_str(&text));
    }
    if (n > 0)
        buf_add_char(out, ']');
    buf_fini(&text);
}

static void add_tool(struct buf *out, const struct collect_block *block, struct arena *arena)
{
    buf_add(out, STR("{\"type\":\"tool_use\""));
    anthropic_add_member(out, "id", block->id);
    anthropic_add_member(out, "name", block->name);
    buf_add(out, STR(",\"input\":"));
    buf_add(out, fit_arguments(buf_str(&block->text), NULL, arena));
    buf_add_char(out, '}');
}

static void add_thinking(struct buf *out, const struct anthropic_encoder *enc,
                         const struct collect_block *block)
{
    bool known = block->signature.n > 0 || enc->options.same_protocol;

    buf_add(out, STR("{\"type\":\"thinking\""));
    anthropic_add_member(out, "thinking", buf_str(&block->text));
    anthropic_add_member(out, "signature", known ? block->signature : ANTHROPIC_UNSIGNED);
    buf_add_char(out, '}');
}

/* Whether the client gets that block. */
static bool is_sent(const struct anthropic_encoder *enc, const struct collect_block *block)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        return block->text.n > 0;
    case BLOCK_REASONING:
        return block->text.n > 0 || block->signature.n > 0;
    case BLOCK_REDACTED:
        return block->signature.n > 0;
    case BLOCK_TOOL:
        return true;
    case BLOCK_VENDOR:
        return enc->options.same_protocol && block->text.n > 0;
    case BLOCK_MEDIA:
        return false;
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

static void add_block(struct buf *out, struct anthropic_encoder *enc,
                      const struct collect_block *block)
{
    if (block->kind == BLOCK_TOOL) {
        add_tool(out, block, enc->options.arena);
    } else if (block->kind == BLOCK_REASONING) {
        add_thinking(out, enc, block);
    } else if (block->kind == BLOCK_REDACTED) {
        buf_add(out, STR("{\"type\":\"redacted_thinking\""));
        anthropic_add_member(out, "data", block->signature);
        buf_add_char(out, '}');
    } else if (block->kind == BLOCK_VENDOR) {
        buf_add(out, buf_str(&block->text));
    } else {
        enc->refused |= block->kind == BLOCK_REFUSAL;
        buf_add(out, STR("{\"type\":\"text\""));
        anthropic_add_member(out, "text", buf_str(&block->text));
        add_citations(out, block, enc->options.arena);
        buf_add_char(out, '}');
    }
}

void anthropic_collect_write(struct anthropic_encoder *enc, struct buf *out)
{
    const struct collect *collect = &enc->collect;
    const struct collect_choice *choice = collect_choice(collect, 0);
    size_t n = 0;

    if (collect->failed) {
        anthropic_add_error(out, &collect->error, enc->options.same_protocol);
        return;
    }
    enc->id = collect->id;
    enc->model = collect->model;
    anthropic_add_head(out, enc);
    buf_add(out, STR(",\"content\":["));
    for (const struct collect_block *block = choice == NULL ? NULL : choice->blocks; block != NULL;
         block = block->next) {
        if (!is_sent(enc, block))
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        add_block(out, enc, block);
    }
    if (choice != NULL) {
        enc->reason = choice->reason;
        enc->native = choice->native;
        enc->sequence = choice->sequence;
        enc->has_tool = choice->has_tool;
    }
    buf_add(out, STR("],"));
    anthropic_add_stop(out, enc);
    anthropic_add_usage(out, &collect->usage, true);
    buf_add_char(out, '}');
}
