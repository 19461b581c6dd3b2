/* SPDX-License-Identifier: MIT */
/*
 * restore_*: what comes out is an answer, and the same for each cut.
 *
 * Input     A byte of what is to be restored (tags, wrapped tools, the JSON tool, a name, stop
 *           sequences from the next byte on), then the answer: bytes from 0xf0 on begin and end
 *           blocks, stop, or change the block; others are text of the present one, letters of which
 *           tags, stop sequences and wrapped arguments are made.
 * Laws      The events obey canon/check. Fed as one frame, event by event, and with each text cut
 *           into characters, they have one digest. What is not said to be changed has the same
 *           number of events. Nothing after a cut but USAGE.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "canon/check.h"
#include "canon/digest.h"
#include "canon/restore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS_MAX = 2048, BLOCKS_MAX = 8, STOPS_MAX = 3, STOP_SIZE_MAX = 6, MEMORY = 16 << 20 };

static const char letters[] =
    "<think>/ENDa{\"input\":\"\\nu00e9\\ud83d\\ude00\"} \n\xc3\xa9\xe2\x82\xac";

struct block {
    enum block_kind kind;
    bool open;
};

struct script {
    struct event events[EVENTS_MAX];
    size_t n;
    struct block blocks[BLOCKS_MAX];
    uint32_t blocks_n;
    uint32_t now;
};

static void add(struct script *script, const struct event *event)
{
    if (script->n < EVENTS_MAX)
        script->events[script->n++] = *event;
}

static void begin_block(struct script *script, unsigned what)
{
    static const enum block_kind kinds[] = {BLOCK_TEXT, BLOCK_TOOL, BLOCK_REASONING, BLOCK_TOOL};
    static const char *const names[] = {"", "wrapped", "", "json"};
    struct event begin = {
        .kind = EVENT_BLOCK_BEGIN,
        .block = script->blocks_n,
        .begin = {.kind = kinds[what & 3], .index = EVENT_NO_INDEX},
    };

    if (script->blocks_n == BLOCKS_MAX)
        return;
    if (begin.begin.kind == BLOCK_TOOL) {
        begin.begin.id = STR("c");
        begin.begin.name = str_c((what & 4) != 0 ? "a_b" : names[what & 3]);
    }
    add(script, &begin);
    script->now = script->blocks_n;
    script->blocks[script->blocks_n++] = (struct block){.kind = kinds[what & 3], .open = true};
}

static void end_block(struct script *script, uint32_t block)
{
    const struct event end = {.kind = EVENT_BLOCK_END, .block = block};

    if (block >= script->blocks_n || !script->blocks[block].open)
        return;
    script->blocks[block].open = false;
    add(script, &end);
}

/* Whole characters of the letters, one a byte. */
static struct str letter_of(uint8_t byte)
{
    size_t at = byte % (sizeof(letters) - 1);
    size_t end;

    while (((unsigned char)letters[at] & 0xc0) == 0x80)
        at--;
    for (end = at + 1; end < sizeof(letters) - 1 && ((unsigned char)letters[end] & 0xc0) == 0x80;)
        end++;
    return str_of(letters + at, end - at);
}

static void say(struct script *script, struct str text)
{
    struct event event = {.kind = EVENT_TEXT, .block = script->now, .text = text};

    if (text.n == 0 || script->now >= script->blocks_n || !script->blocks[script->now].open)
        return;
    if (script->blocks[script->now].kind == BLOCK_TOOL)
        event.kind = EVENT_TOOL_ARGS;
    else if (script->blocks[script->now].kind == BLOCK_REASONING)
        event.kind = EVENT_REASONING;
    add(script, &event);
}

static void read_script(const uint8_t *data, size_t size, struct arena *arena,
                        struct script *script)
{
    const struct event start = {.kind = EVENT_START};
    const struct event usage = {.kind = EVENT_USAGE};
    const struct event stop = {.kind = EVENT_STOP, .stop.reason = STOP_TOOL};
    char *text = arena_alloc(arena, 4 * size + 1);
    size_t n = 0;
    size_t from = 0;

    add(script, &start);
    for (size_t i = 0; i < size && script->n < EVENTS_MAX - 2 * BLOCKS_MAX - 2; i++) {
        if (data[i] < 0xf0) {
            struct str letter = letter_of(data[i]);
            memcpy(text + n, letter.p, letter.n);
            n += letter.n;
            continue;
        }
        say(script, str_of(text + from, n - from));
        from = n;
        if (data[i] >= 0xf8)
            begin_block(script, data[i] & 7);
        else if (data[i] >= 0xf4)
            end_block(script, data[i] & 3);
        else if (script->blocks_n > 0)
            script->now = (data[i] & 3) % script->blocks_n;
    }
    say(script, str_of(text + from, n - from));
    for (uint32_t i = 0; i < script->blocks_n; i++)
        end_block(script, i);
    add(script, &usage);
    add(script, &stop);
}

static bool is_text(const struct event *event)
{
    return event->kind == EVENT_TEXT || event->kind == EVENT_REASONING ||
           event->kind == EVENT_TOOL_ARGS;
}

static void cut_script(const struct script *from, struct script *to)
{
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        struct event event = from->events[i];
        struct str text = event.text;
        size_t begin = 0;
        for (size_t end = 1; is_text(&event) && end < text.n && to->n < EVENTS_MAX - 1024; end++) {
            if (((unsigned char)text.p[end] & 0xc0) == 0x80)
                continue;
            event.text = str_of(text.p + begin, end - begin);
            add(to, &event);
            begin = end;
        }
        if (is_text(&event))
            event.text = str_from(text, begin);
        add(to, &event);
    }
}

struct what {
    struct translation translation;
    struct str stops[STOPS_MAX];
    bool think;
};

static void feed(const struct what *what, const struct script *script, size_t each,
                 struct buf *ret_digest)
{
    struct arena arena;
    struct arena scratch;
    struct digest *digest = digest_new();
    struct error e;
    bool cut = false;

    arena_init(&arena, MEMORY, 4096, NULL);
    arena_init(&scratch, MEMORY, 4096, NULL);
    struct check *check = check_new(&arena);
    struct restore *restore = restore_new(&(struct restore_options){
        .translation = &what->translation, .think_tags = what->think, .arena = &arena});
    for (size_t i = 0; i < script->n; i += each) {
        size_t n = script->n - i < each ? script->n - i : each;
        struct frame frame = {.events = arena_array(&scratch, n, sizeof(struct event)),
                              .n = (uint32_t)n};
        memcpy(frame.events, &script->events[i], n * sizeof(struct event));
        if (restore != NULL) {
            enum restore_verdict verdict = restore_frame(restore, &frame, &scratch);
            assert(verdict != RESTORE_FULL && (!cut || verdict == RESTORE_CUT));
            assert(frame.changed || frame.n == n);
            for (uint32_t k = 0; cut && k < frame.n; k++)
                assert(frame.events[k].kind == EVENT_USAGE);
            cut = verdict == RESTORE_CUT;
        }
        for (uint32_t k = 0; k < frame.n; k++) {
            if (check_event(check, &frame.events[k], &e) != OK)
                BUG(e.detail);
            digest_event(digest, &frame.events[k]);
        }
        arena_rewind(&scratch);
    }
    if (check_end(check, true, &e) != OK)
        BUG(e.detail);
    digest_write(digest, true, ret_digest);
    digest_free(&digest);
    arena_fini(&arena);
    arena_fini(&scratch);
}

static void compare(const struct what *what, const struct script *script, size_t each,
                    const struct buf *wanted)
{
    struct buf got;

    buf_init(&got, MEMORY);
    feed(what, script, each, &got);
    assert(str_eq(buf_str(&got), buf_str(wanted)));
    buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buf wanted;
    struct what what = {.think = false};

    if (size < 2 || size > 1000)
        return 0;
    arena_init(&arena, MEMORY, 4096, NULL);
    buf_init(&wanted, MEMORY);
    struct script *script = mem_new(sizeof(*script));
    struct script *cut = mem_new(sizeof(*cut));
    uint8_t flags = data[0];
    size_t at = 1;
    what.translation.arena = &arena;
    what.translation.stop = what.stops;
    what.think = (flags & 1) != 0;
    if ((flags & 2) != 0)
        translation_wrap(&what.translation, STR("wrapped"));
    if ((flags & 4) != 0)
        what.translation.json_tool = STR("json");
    if ((flags & 8) != 0)
        translation_rename(&what.translation, STR("a.b"), STR("a_b"));
    for (size_t i = 0; i < (size_t)(flags >> 4 & 3) && at < size; i++) {
        struct buf stop;
        buf_init(&stop, 64);
        for (size_t n = 1 + data[at++] % STOP_SIZE_MAX; n > 0 && at < size; n--)
            buf_add(&stop, letter_of(data[at++]));
        what.stops[what.translation.stop_n++] = str_copy(&arena, buf_str(&stop));
        buf_fini(&stop);
    }
    read_script(data + at, size - at, &arena, script);
    cut_script(script, cut);
    feed(&what, script, 1, &wanted);
    compare(&what, script, EVENTS_MAX, &wanted);
    compare(&what, script, 3, &wanted);
    compare(&what, cut, 1, &wanted);
    compare(&what, cut, EVENTS_MAX, &wanted);
    mem_free(script);
    mem_free(cut);
    buf_fini(&wanted);
    arena_fini(&arena);
    return 0;
}
