/* SPDX-License-Identifier: MIT */
/*
 * The built-in demo backend.
 *
 * What      Answers like an OpenAI-compatible server, from inside this process. Each of its models
 *           is a script that shows one thing: answers about the proxy itself, tools, reasoning,
 *           long and slow answers, answers that go wrong. None is a language model.
 * How       start finds out what is to be said (struct demo_script) and hands it to demo_play,
 *           which says it as the request wants it; next asks it for the pieces of a stream. What
 *           goes wrong on purpose does so where the bytes are: half of them, then a cut.
 * Owns      Nothing beyond the request's arena but the encoder, which ends with the request.
 * Not here  HTTP, sockets, timers (gateway/local.c); how an answer is cut and encoded
 *           (demo_play.c); the texts of `assistant` (demo_text.c); tools (demo_tools.c).
 */
#include "backend/demo_text.h"

#include "backend/backend.h"
#include "backend/demo_instance.h"
#include "backend/demo_play.h"
#include "backend/demo_tools.h"
#include "text/json.h"
#include "text/utf8.h"

enum {
    WORD_MS = 28,
    THOUGHT_MS = 10,
    SLOW_WORD_MS = 1000,
    NAME_SHOWN_MAX = 80,
    FORMAT_BYTES_MAX = 256 * 1024,
    PARTS_SHOWN_MAX = 16,
    NOTES_BYTES_MAX = 8 * 1024,
    LONG_BYTES = 16 * 1024,
    LONG_BYTES_MAX = 1024 * 1024, /* where max_tokens asks for more */
    LOOP_BYTES = 64 * 1024,
    LINE_BYTES = 63,
    RETRY_AFTER_S = 2,
    CUT_AFTER_PIECES = 6,
    STEP_TOKENS = 1024, /* of a budget of reasoning, a step each */
};

extern const struct protocol protocol_openai_chat;
extern const struct local_backend demo_backend;

struct demo {
    struct demo_play play;
    bool cut;           /* the answer breaks off, whatever it is */
    size_t pieces_left; /* before that */
};

typedef enum error_code say_fn(struct demo_script *script, const struct request *request,
                               struct arena *arena, struct error *e);

static say_fn say_assistant, say_echo, say_slow, say_reason, say_long, say_loop, say_cut;

/* The first is the default. */
static const struct model {
    const char *id;
    say_fn *say;       /* NULL: it does not come to that */
    int status;        /* of those that fail: with this; 0: they do not */
    bool cut;          /* breaks off in its midst */
    const char *error; /* type, and what is said */
    const char *message;
} model_table[] = {
    {.id = "assistant", .say = say_assistant},
    {.id = "echo", .say = say_echo},
    {.id = "tools", .say = demo_tools_answer},
    {.id = "reason", .say = say_reason},
    {.id = "long", .say = say_long},
    {.id = "slow", .say = say_slow},
    {.id = "loop", .say = say_loop},
    {.id = "tool-loop", .say = demo_tools_loop},
    {.id = "error-429",
     .status = 429,
     .error = "rate_limit_error\",\"param\":null,\"code\":\"rate_limit_exceeded",
     .message = "The demo's rate limit is reached, as the model error-429 always says. Please try "
                "again in 2s."},
    {.id = "error-500",
     .status = 500,
     .error = "server_error\",\"param\":null,\"code\":\"internal_error",
     .message = "The demo has failed, as the model error-500 always does."},
    {.id = "error-cut", .say = say_cut, .cut = true},
    {.id = "error-silent"},
};

static const char *const models[] = {
    "assistant", "echo",      "tools",     "reason",    "long",         "slow", "loop",
    "tool-loop", "error-429", "error-500", "error-cut", "error-silent", NULL,
};

/* The name without a backend's prefix; none of our models has a colon or a slash. */
static struct str model_of(const struct request *request)
{
    struct str model = request->model;

    for (size_t i = model.n; i > 0; i--) {
        if (model.p[i - 1] == ':' || model.p[i - 1] == '/')
            return str_from(model, i);
    }
    return model;
}

/* NULL: none of ours. */
static const struct model *find_model(struct str name)
{
    if (name.n == 0)
        return &model_table[0];
    for (size_t i = 0; i < COUNT_OF(model_table); i++) {
        assert(str_eq(str_c(models[i]), str_c(model_table[i].id)));
        if (str_eq(name, str_c(models[i])))
            return &model_table[i];
    }
    return NULL;
}

/* --- what came beside text ------------------------------------------------------------------ */

static void note_part(const struct part *part, struct buf *out)
{
    struct str name = utf8_head(part->name, NAME_SHOWN_MAX);
    struct str type = utf8_head(part->media_type, NAME_SHOWN_MAX);

    (void)buf_print(out, "%s[%s", out->n > 0 ? "\n" : "", request_part_name(part->kind));
    if (name.n > 0)
        (void)buf_print(out, " %.*s", STR_ARG(name));
    if (type.n > 0)
        (void)buf_print(out, ", %.*s", STR_ARG(type));
    if (part->is_url)
        (void)buf_print(out, ", at %.*s", STR_ARG(utf8_head(part->data, 2 * NAME_SHOWN_MAX)));
    else if (part->data.n > 0)
        (void)buf_print(out, ", %zu bytes", part->data.n / 4 * 3);
    else if (part->text.n > 0)
        (void)buf_print(out, ", %zu bytes", part->text.n);
    (void)buf_add_char(out, ']');
}

/* A line for each image, file and the like of the last user message; null without any. */
static struct str notes_of(const struct request *request, struct arena *arena)
{
    const struct turn *last = NULL;
    struct str notes = STR_NULL;
    struct buf out;
    size_t n = 0;

    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        if (turn->role == ROLE_USER)
            last = turn;
    }
    buf_init(&out, NOTES_BYTES_MAX);
    for (const struct part *part = last == NULL ? NULL : last->parts; part != NULL;
         part = part->next) {
        if (part->kind != PART_TEXT && n++ < PARTS_SHOWN_MAX)
            note_part(part, &out);
    }
    if (n > PARTS_SHOWN_MAX)
        (void)buf_print(&out, "\n[%zu more]", n - PARTS_SHOWN_MAX);
    if (n > 0)
        notes = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return notes;
}

/* --- texts ---------------------------------------------------------------------------------- */

static void add_item(struct demo_script *script, enum block_kind kind, struct str text)
{
    assert(script->n < DEMO_ITEMS_MAX);
    script->items[script->n++] = (struct demo_item){.kind = kind, .text = text};
}

/* An instance of the schema that the request gives, or an object with the text in it. */
static enum error_code to_format(const struct request *request, struct str *text,
                                 struct arena *arena, struct error *e)
{
    const struct format *format = &request->params.format;
    struct str message = str_head(request_last_user_text(request, arena), NAME_SHOWN_MAX * 10);
    bool made = true;
    struct buf out;

    if (format->kind == FORMAT_ABSENT)
        return OK;
    buf_init(&out, FORMAT_BYTES_MAX + 6 * text->n);
    if (format->kind == FORMAT_SCHEMA) {
        made = demo_instance(format->schema, utf8_head(message, NAME_SHOWN_MAX * 10), arena, &out);
    } else {
        (void)buf_add(&out, STR("{\"text\":"));
        (void)json_add_string(&out, *text);
        made = buf_add_char(&out, '}');
    }
    if (made)
        *text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    if (!made)
        return FAIL(e, ERR_BAD_REQUEST,
                    "the demo finds nothing that the schema of response_format accepts");
    return OK;
}

static enum error_code say_assistant(struct demo_script *script, const struct request *request,
                                     struct arena *arena, struct error *e)
{
    struct str text = demo_text_answer(request_last_user_text(request, arena));
    struct str notes = notes_of(request, arena);

    (void)e;
    if (!str_is_null(notes))
        text = str_print(arena, "Your message came with\n%.*s\nwhich I cannot look into.\n\n%.*s",
                         STR_ARG(notes), STR_ARG(text));
    add_item(script, BLOCK_TEXT, text);
    return OK;
}

static enum error_code say_echo(struct demo_script *script, const struct request *request,
                                struct arena *arena, struct error *e)
{
    struct str text = request_last_user_text(request, arena);
    struct str notes = notes_of(request, arena);

    (void)e;
    if (!str_is_null(notes))
        text = text.n == 0 ? notes : str_print(arena, "%.*s\n%.*s", STR_ARG(text), STR_ARG(notes));
    add_item(script, BLOCK_TEXT, text);
    return OK;
}

static enum error_code say_slow(struct demo_script *script, const struct request *request,
                                struct arena *arena, struct error *e)
{
    (void)request;
    (void)arena;
    (void)e;
    script->word_ms = SLOW_WORD_MS;
    add_item(script, BLOCK_TEXT,
             STR("One word each second: time enough to cancel this answer, to see its "
                 "words arrive, or to meet a time-out."));
    return OK;
}

static enum error_code say_cut(struct demo_script *script, const struct request *request,
                               struct arena *arena, struct error *e)
{
    (void)request;
    (void)arena;
    (void)e;
    add_item(script, BLOCK_TEXT,
             STR("This answer breaks off in its midst, as if the connection to the backend "
                 "were lost. What you get instead of its end is an error."));
    return OK;
}

/* --- reasoning ------------------------------------------------------------------------------ */

/* How many steps the thoughts have; 0: none. */
static size_t steps_of(const struct params *params)
{
    static const struct {
        struct str effort;
        size_t steps;
    } efforts[] = {
        {STR_INIT("none"), 0}, {STR_INIT("minimal"), 1}, {STR_INIT("low"), 2},
        {STR_INIT("high"), 8}, {STR_INIT("xhigh"), 12},  {STR_INIT("max"), 16},
    };

    int64_t budget;

    if (params->reasoning == REASONING_OFF)
        return 0;
    if (params->reasoning == REASONING_BUDGET && str_to_int64(params->reasoning_budget, &budget))
        return budget < STEP_TOKENS        ? 1
               : budget > 16 * STEP_TOKENS ? 16
                                           : (size_t)budget / STEP_TOKENS;
    for (size_t i = 0; i < COUNT_OF(efforts); i++) {
        if (str_eq(efforts[i].effort, params->reasoning_effort))
            return efforts[i].steps;
    }
    return 4;
}

static enum error_code say_reason(struct demo_script *script, const struct request *request,
                                  struct arena *arena, struct error *e)
{
    static const char *const kinds[] = {"What is asked?", "What do I know of it?",
                                        "What speaks against that?", "Is there a shorter way?"};
    const struct params *params = &request->params;
    bool budget = params->reasoning == REASONING_BUDGET;
    struct str how = budget ? params->reasoning_budget : params->reasoning_effort;
    struct str asked = str_trim(request_last_user_text(request, arena));
    size_t steps = steps_of(&request->params);
    struct buf thoughts;

    (void)e;
    script->word_ms = THOUGHT_MS;
    buf_init(&thoughts, FORMAT_BYTES_MAX);
    for (size_t i = 0; i < steps; i++)
        (void)buf_print(&thoughts, "%sStep %zu of %zu: %s I am a script, so I only count.",
                        i > 0 ? "\n" : "", i + 1, steps, kinds[i % COUNT_OF(kinds)]);
    if (steps > 0)
        add_item(script, BLOCK_REASONING, str_copy(arena, buf_str(&thoughts)));
    buf_fini(&thoughts);
    asked = utf8_head(asked, 4 * NAME_SHOWN_MAX);
    add_item(script, BLOCK_TEXT,
             str_print(arena, "I thought in %zu step%s%s%.*s%s about: %.*s", steps,
                       steps == 1 ? "" : "s",
                       how.n == 0 ? ""
                       : budget   ? ", of "
                                  : ", with effort ",
                       STR_ARG(utf8_head(how, NAME_SHOWN_MAX)), budget ? " tokens," : "",
                       STR_ARG(asked)));
    return OK;
}

/* --- long answers --------------------------------------------------------------------------- */

/* As many bytes as max_tokens lets be said, and some more, so that it is seen to cut. */
static size_t bytes_asked(const struct request *request, size_t none, size_t max)
{
    double tokens;

    if (!str_to_double(request->params.max_tokens, &tokens) || tokens < 1)
        return none;
    return tokens * 4 + LINE_BYTES < (double)max ? (size_t)tokens * 4 + LINE_BYTES : max;
}

/* Lines of equal length, each other than all before. */
static enum error_code say_long(struct demo_script *script, const struct request *request,
                                struct arena *arena, struct error *e)
{
    static const char words[] = "A long answer has very many lines, and this is number 0000000.\n";
    _Static_assert(sizeof(words) - 1 == LINE_BYTES, "lines are equally long");
    size_t lines = bytes_asked(request, LONG_BYTES, LONG_BYTES_MAX) / LINE_BYTES;
    char *text = arena_alloc(arena, lines * LINE_BYTES + 1);

    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "there is no room for an answer of that length");
    for (size_t i = 0; i < lines; i++) {
        char *line = text + i * LINE_BYTES;
        size_t number = i + 1;
        memcpy(line, words, LINE_BYTES);
        for (size_t at = LINE_BYTES - 3; number > 0; at--, number /= 10)
            line[at] = (char)('0' + number % 10);
    }
    add_item(script, BLOCK_TEXT, str_of(text, lines * LINE_BYTES));
    return OK;
}

static enum error_code say_loop(struct demo_script *script, const struct request *request,
                                struct arena *arena, struct error *e)
{
    static const char paragraph[] =
        "I have lost my way and say this paragraph again and again, as models sometimes do, until "
        "somebody stops me or max_tokens does.\n\n";
    size_t n = sizeof(paragraph) - 1;
    size_t times = bytes_asked(request, LOOP_BYTES, LOOP_BYTES) / n + 1;
    char *text = arena_alloc(arena, times * n);

    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "there is no room for an answer of that length");
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, paragraph, n);
    add_item(script, BLOCK_TEXT, str_of(text, times * n));
    return OK;
}

/* --- entry points --------------------------------------------------------------------------- */

static void refuse(const struct error *e, struct buf *out, struct local_head *ret_head)
{
    buf_reset(out);
    protocol_openai_chat.error_encode(e, STR_NULL, false, out);
    *ret_head = (struct local_head){.status = error_status(e)};
}

static void fail_as_asked(const struct model *model, struct buf *out, struct local_head *ret_head)
{
    (void)buf_print(out, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\"}}", model->message,
                    model->error);
    ret_head->status = model->status;
    ret_head->retry_after_s = model->status == 429 ? RETRY_AFTER_S : 0;
}

static enum error_code say(struct demo *demo, const struct model *model,
                           const struct request *request, struct arena *arena, struct error *e)
{
    struct demo_script *script = &demo->play.script;

    script->model = str_c(model->id);
    script->word_ms = WORD_MS;
    TRY(model->say(script, request, arena, e));
    for (size_t i = 0; i < script->n; i++) {
        if (script->items[i].kind == BLOCK_TEXT)
            TRY(to_format(request, &script->items[i].text, arena, e));
    }
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the demo cannot answer a message of this size");
    return OK;
}

static void demo_start(void *state, const struct request *request, int64_t now_s,
                       struct arena *arena, struct buf *out, struct local_head *ret_head)
{
    struct demo *demo = state;
    struct str name = model_of(request);
    const struct model *model = find_model(name);
    struct error e;

    assert(request->full);
    *ret_head = (struct local_head){.status = 200, .length = -1};
    if (model == NULL) {
        (void)FAIL(&e, ERR_MODEL_NOT_FOUND,
                   "%.*s (the demo has assistant, echo, tools, reason, "
                   "long, slow and others: GET /v1/models)",
                   STR_ARG(utf8_head(name, NAME_SHOWN_MAX)));
        refuse(&e, out, ret_head);
        return;
    }
    if (model->status != 0) {
        fail_as_asked(model, out, ret_head);
        return;
    }
    if (model->say == NULL) {
        ret_head->silent = true;
        return;
    }
    if (say(demo, model, request, arena, &e) != OK ||
        demo_play_start(&demo->play, request, now_s, arena, out, &e) != OK) {
        refuse(&e, out, ret_head);
        return;
    }
    if (!request->stream) {
        ret_head->length = (int64_t)out->n;
        ret_head->wait_ms = demo->play.script.word_ms > WORD_MS ? demo_play_wait_ms(&demo->play)
                                                                : 0;
    }
    demo->cut = model->cut;
    if (model->cut) {
        demo->pieces_left = request->stream ? CUT_AFTER_PIECES : 0;
        out->n = request->stream ? out->n : out->n / 2;
    }
}

static enum local_move demo_next(void *state, struct buf *out, int64_t *ret_wait_ms)
{
    struct demo *demo = state;

    size_t before = out->n;

    if (demo->cut && demo->pieces_left-- == 0)
        return LOCAL_CUT;
    enum local_move move = demo_play_next(&demo->play, out, ret_wait_ms);
    if (!demo->cut || move != LOCAL_END)
        return move;
    out->n = before; /* too short to break off earlier */
    return LOCAL_CUT;
}

static void demo_end(void *state)
{
    struct demo *demo = state;

    demo_play_end(&demo->play);
}

const struct local_backend demo_backend = {
    .state_size = sizeof(struct demo),
    .start = demo_start,
    .next = demo_next,
    .end = demo_end,
    .models = models,
};
