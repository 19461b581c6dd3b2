/* SPDX-License-Identifier: MIT */
#include "canon/digest.h"

#include "base/mem.h"
#include "canon/dump.h"

enum { TEXT_BYTES_MAX = 64 * 1024 * 1024 };

struct digest_block {
    struct digest_block *next;
    struct digest_block *older; /* of all, the newest first: events name recent blocks */
    uint32_t choice;
    uint32_t block;
    struct buf head; /* its BLOCK_BEGIN */
    struct buf text;
    struct buf signature;
    struct buf citations;
    struct buf logprobs;
};

struct digest_stop {
    struct digest_stop *next;
    uint32_t choice;
    enum stop_reason reason;
};

struct digest {
    struct digest_block *blocks; /* by choice and block */
    struct digest_block *newest;
    struct digest_stop *stops; /* by choice */
    struct usage usage;
    bool usage_known;
    struct buf error;
};

struct digest *digest_new(void)
{
    struct digest *digest = mem_new(sizeof(*digest));

    buf_init(&digest->error, TEXT_BYTES_MAX);
    return digest;
}

void digest_free(struct digest **digest)
{
    if (*digest == NULL)
        return;
    while ((*digest)->blocks != NULL) {
        struct digest_block *block = (*digest)->blocks;
        (*digest)->blocks = block->next;
        buf_fini(&block->head);
        buf_fini(&block->text);
        buf_fini(&block->signature);
        buf_fini(&block->citations);
        buf_fini(&block->logprobs);
        mem_free(block);
    }
    while ((*digest)->stops != NULL) {
        struct digest_stop *stop = (*digest)->stops;
        (*digest)->stops = stop->next;
        mem_free(stop);
    }
    buf_fini(&(*digest)->error);
    mem_free(*digest);
    *digest = NULL;
}

static void add_block(struct digest *digest, const struct event *event)
{
    struct digest_block **to = &digest->blocks;
    struct digest_block *block = mem_new(sizeof(*block));
    struct event begin = *event;

    assert(event->block != EVENT_NO_BLOCK);
    while (*to != NULL && ((*to)->choice < event->choice ||
                           ((*to)->choice == event->choice && (*to)->block < event->block)))
        to = &(*to)->next;
    block->next = *to;
    block->older = digest->newest;
    block->choice = event->choice;
    block->block = event->block;
    buf_init(&block->head, TEXT_BYTES_MAX);
    buf_init(&block->text, TEXT_BYTES_MAX);
    buf_init(&block->signature, TEXT_BYTES_MAX);
    buf_init(&block->citations, TEXT_BYTES_MAX);
    buf_init(&block->logprobs, TEXT_BYTES_MAX);
    begin.begin.index = EVENT_NO_INDEX;
    if (begin.begin.kind == BLOCK_REASONING || begin.begin.name.n == 0)
        begin.begin.name = STR_NULL;
    /* Such a call has no id on the wire: its id was made up. */
    if (begin.begin.legacy)
        begin.begin.id = STR_NULL;
    dump_event(&block->head, &begin);
    *to = block;
    digest->newest = block;
}

static struct digest_block *find_block(const struct digest *digest, const struct event *event)
{
    struct digest_block *block = digest->newest;

    while (block != NULL && (block->choice != event->choice || block->block != event->block))
        block = block->older;
    assert(block != NULL);
    return block;
}

static void add_stop(struct digest *digest, const struct event *event)
{
    struct digest_stop **to = &digest->stops;
    struct digest_stop *stop = mem_new(sizeof(*stop));

    assert(event->kind == EVENT_STOP);
    while (*to != NULL && (*to)->choice < event->choice)
        to = &(*to)->next;
    stop->next = *to;
    stop->choice = event->choice;
    stop->reason = event->stop.reason;
    *to = stop;
}

static void add_error(struct digest *digest, const struct event *event)
{
    struct event error = *event;

    assert(event->kind == EVENT_ERROR);
    error.error.status = 0;
    dump_event(&digest->error, &error);
}

void digest_event(struct digest *digest, const struct event *event)
{
    switch (event->kind) {
    case EVENT_BLOCK_BEGIN:
        add_block(digest, event);
        return;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_TOOL_ARGS:
        buf_add(&find_block(digest, event)->text, event->text);
        return;
    case EVENT_SIGNATURE:
        buf_add(&find_block(digest, event)->signature, event->text);
        return;
    case EVENT_CITATION:
        buf_add(&find_block(digest, event)->citations, event->text);
        return;
    case EVENT_LOGPROBS:
        buf_add(&find_block(digest, event)->logprobs, event->text);
        return;
    case EVENT_USAGE:
        digest->usage = event->usage;
        digest->usage_known = true;
        return;
    case EVENT_STOP:
        add_stop(digest, event);
        return;
    case EVENT_ERROR:
        add_error(digest, event);
        return;
    case EVENT_START:
    case EVENT_BLOCK_END:
    case EVENT_KEEPALIVE:
        return;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

static void write_texts(struct buf *out, const char *name, const struct buf *texts)
{
    if (texts->n > 0)
        buf_print(out, " %s=%.*s", name, STR_ARG(buf_str(texts)));
}

void digest_write(const struct digest *digest, bool usage, struct buf *out)
{
    for (const struct digest_block *block = digest->blocks; block != NULL; block = block->next) {
        buf_add(out, buf_str(&block->head));
        write_texts(out, "text", &block->text);
        write_texts(out, "signature", &block->signature);
        write_texts(out, "citations", &block->citations);
        write_texts(out, "logprobs", &block->logprobs);
        buf_add_char(out, '\n');
    }
    for (const struct digest_stop *stop = digest->stops; stop != NULL; stop = stop->next)
        buf_print(out, "STOP choice %u %s\n", stop->choice, event_stop_name(stop->reason));
    if (usage && digest->usage_known) {
        const struct event event = {.kind = EVENT_USAGE,
                                    .block = EVENT_NO_BLOCK,
                                    .usage = digest->usage};
        dump_event(out, &event);
        buf_add_char(out, '\n');
    }
    buf_add(out, buf_str(&digest->error));
}
