/* SPDX-License-Identifier: MIT */
/*
 * How an answer of the demo comes.
 *
 * What      Cuts what is to be said to the request's limits (max_tokens, stop), counts it, and says
 *           it n times over, word by word in a stream, all choices in turn.
 * How       A stream is encoded a piece at a time, when the piece is due: what lies in memory is
 *           the text itself, once, however many choices say it. A whole answer is made at once.
 *           A token is four bytes: the usual estimate for English. So max_tokens cuts at four bytes
 *           each, and the count that is told never passes it.
 * Owns      The encoder, in the arena; demo_play_end lets go of it.
 * Not here  What is said (demo.c, demo_text.c, demo_tools.c).
 */
#include "backend/demo_play.h"

#include "base/id.h"
#include "text/json.h"
#include "text/utf8.h"

enum {
    TOKEN_BYTES = 4,
    PIECES_MAX = 400,                   /* a long text gets larger pieces, not a longer wait */
    PIECE_BYTES_MIN = 24,               /* within text without blanks */
    ANSWER_BYTES_MAX = 8 * 1024 * 1024, /* of a whole answer, all choices */
    CHOICE_OVERHEAD = 4096,
    LOGPROBS_FACTOR = 64, /* a byte of text takes so many of logprobs, at most */
    TOP_LOGPROBS_MAX = 20,
    WHOLE_WAIT_MAX_MS = 60 * 1000,
};

extern const struct protocol protocol_openai_chat;

/* --- what the request allows --------------------------------------------------------------- */

static int64_t tokens_of(size_t bytes)
{
    return (int64_t)((bytes + TOKEN_BYTES - 1) / TOKEN_BYTES);
}

/* An integral number token such as 16, 16.0 or 1e2; absent: otherwise. */
static enum error_code read_count(struct str token, const char *name, int64_t max,
                                  int64_t *ret_value, struct error *e)
{
    double value;

    if (str_is_null(token))
        return OK;
    if (!str_to_double(token, &value) || value < 1 || value != (double)(int64_t)value)
        return FAIL(e, ERR_BAD_REQUEST, "%s must be an integer of at least 1", name);
    if (value > (double)max)
        return FAIL(e, ERR_BAD_REQUEST, "%s may be at most %lld", name, (long long)max);
    *ret_value = (int64_t)value;
    return OK;
}

/* The earliest stop sequence ends the text; a part that follows is not said. */
static void stop_at_sequence(struct demo_play *play, const struct params *params)
{
    for (size_t i = 0; i < play->script.n; i++) {
        struct demo_item *item = &play->script.items[i];
        size_t first = SIZE_MAX;

        if (item->kind != BLOCK_TEXT)
            continue;
        for (size_t k = 0; k < params->stop_n; k++) {
            size_t at = params->stop[k].n == 0 ? SIZE_MAX
                                               : str_find(item->text, params->stop[k], 0);
            if (at < first) {
                first = at;
                play->sequence = params->stop[k];
            }
        }
        if (first == SIZE_MAX)
            continue;
        item->text = str_head(item->text, first);
        play->script.n = i + 1;
        play->stop = STOP_SEQUENCE;
        return;
    }
}

/* What does not fit any more is not begun; what is begun may end in its midst. */
static void stop_at_length(struct demo_play *play, int64_t tokens)
{
    size_t left = (size_t)tokens * TOKEN_BYTES;

    for (size_t i = 0; i < play->script.n; i++) {
        struct demo_item *item = &play->script.items[i];
        /* Each part's count is rounded up by itself. */
        size_t whole = (size_t)tokens_of(item->text.n) * TOKEN_BYTES;

        if (whole <= left) {
            left -= whole;
            continue;
        }
        item->text = utf8_head(item->text, left);
        play->script.n = item->text.n > 0 ? i + 1 : i;
        play->stop = STOP_LENGTH;
        play->sequence = STR_NULL;
        return;
    }
}

static int64_t tokens_of_parts(const struct part *part)
{
    int64_t tokens = 0;

    for (; part != NULL; part = part->next) {
        tokens += tokens_of(part->text.n);
        for (const struct part *inner = part->parts; inner != NULL; inner = inner->next)
            tokens += tokens_of(inner->text.n);
    }
    return tokens;
}

static void count_usage(struct demo_play *play, const struct request *request)
{
    struct usage usage = {.cached = -1, .cache_written = -1, .reasoning = -1};

    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next)
        usage.input += tokens_of_parts(turn->parts);
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next)
        usage.input += tokens_of(tool->source.n);
    for (size_t i = 0; i < play->script.n; i++) {
        const struct demo_item *item = &play->script.items[i];
        int64_t tokens = tokens_of(item->text.n) * (int64_t)play->choices_n;
        usage.output += tokens;
        if (item->kind == BLOCK_REASONING)
            usage.reasoning = tokens;
    }
    usage.total = usage.input + usage.output;
    play->usage = usage;
}

/* A script is certain of each word: its probability is 1, and there is no other one. */
static enum error_code read_logprobs(struct demo_play *play, const struct params *params,
                                     struct error *e)
{
    double top = 0;

    if (!str_is_null(params->top_logprobs) &&
        (!str_to_double(params->top_logprobs, &top) || top < 0 || top > TOP_LOGPROBS_MAX))
        return FAIL(e, ERR_BAD_REQUEST, "top_logprobs must be from 0 to %d", TOP_LOGPROBS_MAX);
    play->logprobs = params->logprobs == 1;
    play->top_logprobs = top >= 1;
    return OK;
}

static enum error_code allow(struct demo_play *play, const struct request *request, struct error *e)
{
    const struct params *params = &request->params;
    int64_t tokens = INT64_MAX / TOKEN_BYTES;
    int64_t n = 1;

    TRY(read_count(params->n, "n", DEMO_CHOICES_MAX, &n, e));
    TRY(read_count(params->max_tokens, "max_tokens", tokens, &tokens, e));
    TRY(read_logprobs(play, params, e));
    play->stop = STOP_END;
    for (size_t i = 0; i < play->script.n; i++) {
        if (play->script.items[i].kind == BLOCK_TOOL)
            play->stop = STOP_TOOL;
    }
    play->choices_n = (size_t)n;
    stop_at_sequence(play, params);
    stop_at_length(play, tokens);
    count_usage(play, request);
    return OK;
}

/* --- pieces -------------------------------------------------------------------------------- */

/* The next word with the blanks after it, at least min bytes where the text goes on. */
static struct str cut_piece(struct str rest, size_t min)
{
    size_t n = 0;

    assert(min > 0 && rest.n > 0);
    while (n < rest.n) {
        bool blank = rest.p[n] == ' ' || rest.p[n] == '\n';
        n++;
        if (n < rest.n && ((unsigned char)rest.p[n] & 0xC0) == 0x80)
            continue;
        if (n >= min && (blank || n >= min + PIECE_BYTES_MIN))
            break;
    }
    return str_head(rest, n);
}

/* A synthetic frame of these events. False: it does not fit into memory. */
static bool say(struct demo_play *play, struct event *events, uint32_t n, struct buf *out)
{
    struct frame frame = {.raw = STR_NULL, .events = events, .n = n, .changed = true};
    struct str bytes = STR_NULL;
    struct error e;

    assert(n > 0);
    if (protocol_openai_chat.response_encode(play->encoder, &frame, out, &bytes, &e) != OK)
        return false;
    assert(str_is_null(bytes));
    return true;
}

static bool say_start(struct demo_play *play, int64_t now_s, struct buf *out)
{
    struct event event = {.kind = EVENT_START,
                          .block = EVENT_NO_BLOCK,
                          .start = {.model = play->script.model, .created_s = now_s}};

    return say(play, &event, 1, out);
}

/* Calls are numbered through all choices, so that no two of an answer have one id. */
static bool say_begin(struct demo_play *play, uint32_t choice, uint32_t block, struct buf *out)
{
    const struct demo_item *item = &play->script.items[block];
    char id[ID_SIZE + 32];
    struct event event = {
        .kind = EVENT_BLOCK_BEGIN,
        .choice = choice,
        .block = block,
        .begin = {.kind = item->kind, .custom = item->custom, .index = EVENT_NO_INDEX},
    };

    if (item->kind == BLOCK_TOOL) {
        /* Of no more than 40 bytes: there are vendors who take no longer ones. */
        int n = snprintf(id, sizeof(id), "call_%.*s_%u_%u", 16, play->id.p + 4, choice, block);
        assert(n > 0 && (size_t)n < sizeof(id));
        event.begin.id = str_of(id, (size_t)n);
        event.begin.name = item->name;
    } else if (item->kind == BLOCK_REASONING) {
        event.begin.name = STR("reasoning_content");
    }
    return say(play, &event, 1, out);
}

static enum event_kind kind_of_text(enum block_kind kind)
{
    assert(kind == BLOCK_TEXT || kind == BLOCK_REASONING || kind == BLOCK_TOOL);
    if (kind == BLOCK_TOOL)
        return EVENT_TOOL_ARGS;
    return kind == BLOCK_REASONING ? EVENT_REASONING : EVENT_TEXT;
}

static void add_logprob(struct buf *out, struct str token)
{
    (void)buf_add(out, STR("{\"token\":"));
    json_add_string(out, token);
    (void)buf_add(out, STR(",\"logprob\":0,\"bytes\":["));
    for (size_t i = 0; i < token.n; i++)
        (void)buf_print(out, i == 0 ? "%u" : ",%u", (unsigned)(unsigned char)token.p[i]);
    (void)buf_add_char(out, ']');
}

/* A text, with the logprobs of its tokens where they are asked for. */
static bool say_text(struct demo_play *play, const struct event *text, struct buf *out)
{
    struct event events[2] = {*text, *text};
    struct str rest = text->text;
    struct buf list;

    if (!play->logprobs || text->kind != EVENT_TEXT)
        return say(play, events, 1, out);
    buf_init(&list, CHOICE_OVERHEAD + rest.n * LOGPROBS_FACTOR);
    (void)buf_add(&list, STR("{\"content\":["));
    while (rest.n > 0) {
        struct str token = utf8_head(rest, TOKEN_BYTES);
        if (token.n == 0)
            token = str_head(rest, TOKEN_BYTES);
        (void)buf_add(&list, rest.p == text->text.p ? STR("") : STR(","));
        add_logprob(&list, token);
        (void)buf_add(&list, STR(",\"top_logprobs\":["));
        if (play->top_logprobs) {
            add_logprob(&list, token);
            (void)buf_add_char(&list, '}');
        }
        (void)buf_add(&list, STR("]}"));
        rest = str_from(rest, token.n);
    }
    (void)buf_add(&list, STR("]}"));
    events[1].kind = EVENT_LOGPROBS;
    events[1].text = buf_str(&list);
    bool said = buf_ok(&list) && say(play, events, 2, out);
    buf_fini(&list);
    return said;
}

/* The choice goes on by a step; *ret_word: that was something which takes time to say. */
static bool step_choice(struct demo_play *play, size_t number, size_t piece_min, struct buf *out,
                        bool *ret_word)
{
    struct demo_choice *choice = &play->choices[number];
    struct event event = {.choice = (uint32_t)number, .block = (uint32_t)choice->item};

    assert(!choice->over);
    *ret_word = false;
    if (choice->item == play->script.n) {
        event.kind = EVENT_STOP;
        event.block = EVENT_NO_BLOCK;
        event.stop.reason = play->stop;
        event.stop.sequence = play->sequence;
        choice->over = true;
        return say(play, &event, 1, out);
    }
    const struct demo_item *item = &play->script.items[choice->item];
    if (!choice->begun) {
        choice->begun = true;
        return say_begin(play, (uint32_t)number, (uint32_t)choice->item, out);
    }
    if (choice->at < item->text.n) {
        event.kind = kind_of_text(item->kind);
        event.text = cut_piece(str_from(item->text, choice->at), piece_min);
        choice->at += event.text.n;
        *ret_word = true;
        return say_text(play, &event, out);
    }
    event.kind = EVENT_BLOCK_END;
    *choice = (struct demo_choice){.item = choice->item + 1};
    return say(play, &event, 1, out);
}

static bool say_end(struct demo_play *play, struct buf *out)
{
    struct event event = {.kind = EVENT_USAGE, .block = EVENT_NO_BLOCK, .usage = play->usage};
    struct error e;

    return say(play, &event, 1, out) &&
           protocol_openai_chat.encoder_end(play->encoder, out, &e) == OK;
}

static bool say_all(struct demo_play *play, struct buf *out)
{
    for (size_t number = 0; number < play->choices_n; number++) {
        while (!play->choices[number].over) {
            bool word;
            if (!step_choice(play, number, ANSWER_BYTES_MAX, out, &word))
                return false;
        }
    }
    return say_end(play, out);
}

/* --- entry points -------------------------------------------------------------------------- */

static size_t text_bytes(const struct demo_play *play)
{
    size_t bytes = 0;

    for (size_t i = 0; i < play->script.n; i++)
        bytes += play->script.items[i].text.n;
    return bytes;
}

/* What the answer is called, behind what the protocol puts in front of every such name. */
static struct str answer_id(struct arena *arena)
{
    struct id_source ids;
    char id[ID_SIZE];

    id_source_init(&ids);
    id_make(&ids, id);
    return str_print(arena, "demo%.*s", ID_SIZE, id);
}

enum error_code demo_play_start(struct demo_play *play, const struct request *request,
                                int64_t now_s, struct arena *arena, struct buf *out,
                                struct error *e)
{
    assert(play->encoder == NULL && request->full);
    TRY(allow(play, request, e));
    size_t bytes = text_bytes(play);
    size_t cost = play->logprobs ? LOGPROBS_FACTOR : 1;
    if (bytes > ANSWER_BYTES_MAX / play->choices_n / cost)
        return FAIL(e, ERR_TOO_LARGE, "the demo says at most %zu bytes, all choices together",
                    ANSWER_BYTES_MAX / cost);
    struct encoder_options options = {
        .stream = request->stream,
        .include_usage = request->include_usage == 1,
        .request = request,
        .model = play->script.model,
        .id = answer_id(arena),
        .now_s = now_s,
        .arena = arena,
        .bytes_max = (bytes * cost + CHOICE_OVERHEAD) * play->choices_n,
    };
    play->id = options.id;
    play->piece_min = bytes / PIECES_MAX + 1;
    play->choices = arena_array(arena, play->choices_n, sizeof(*play->choices));
    void *encoder = arena_zalloc(arena, protocol_openai_chat.encoder_size);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the demo cannot answer a message of this size");
    memset(play->choices, 0, play->choices_n * sizeof(*play->choices));
    protocol_openai_chat.encoder_init(encoder, &options);
    play->encoder = encoder;
    play->stream = request->stream;
    if (!say_start(play, now_s, out) || (!request->stream && !say_all(play, out)))
        return FAIL(e, ERR_TOO_LARGE, "the demo cannot answer a message of this size");
    return OK;
}

/* Each choice says a word: all of them take the time of one. */
enum local_move demo_play_next(struct demo_play *play, struct buf *out, int64_t *ret_wait_ms)
{
    bool words = false;

    assert(play->encoder != NULL);
    if (!play->stream)
        return LOCAL_END;
    for (size_t number = 0; number < play->choices_n; number++) {
        bool word = false;
        while (!word && !play->choices[number].over) {
            if (!step_choice(play, number, play->piece_min, out, &word))
                return LOCAL_CUT;
        }
        words |= word;
    }
    if (!words)
        return say_end(play, out) ? LOCAL_END : LOCAL_CUT;
    *ret_wait_ms = play->script.word_ms;
    return LOCAL_MORE;
}

int64_t demo_play_wait_ms(const struct demo_play *play)
{
    int64_t words = 0;

    for (size_t i = 0; i < play->script.n; i++) {
        struct str rest = play->script.items[i].text;
        while (rest.n > 0 && words * play->script.word_ms < WHOLE_WAIT_MAX_MS) {
            rest = str_from(rest, cut_piece(rest, play->piece_min).n);
            words++;
        }
    }
    return words * play->script.word_ms < WHOLE_WAIT_MAX_MS ? words * play->script.word_ms
                                                            : WHOLE_WAIT_MAX_MS;
}

void demo_play_end(struct demo_play *play)
{
    if (play->encoder != NULL)
        protocol_openai_chat.encoder_fini(play->encoder);
    play->encoder = NULL;
}
