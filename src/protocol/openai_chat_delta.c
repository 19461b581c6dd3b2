/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: a chunk, or a whole completion, as events.
 *
 * What      Reads what vendors really send (openai-chat.md, 7.3; quirks.md, section 1) and gives
 *           it the one order of canon/event.h.
 * How       Messages of whole bodies and deltas of streams have the same members and are read by
 *           the same code. Blocks of members that we do not model stay open until the choice stops.
 *           Each change of state counts d->version up: that is what templates rely on.
 * Owns      Choices, in the answer's arena. Events and their text are scratch.
 * Not here  Calls of tools (openai_chat_calls.c), events and blocks (openai_chat_emit.c), framing
 *           and completion (openai_chat_decode.c).
 */
#include "protocol/openai_chat_decode_priv.h"

#include "canon/media.h"

/* --- what a choice says ------------------------------------------------------------------- */

static void say(struct openai_chat_decoder *d, struct openai_chat_choice *c, enum block_kind kind,
                struct str text, struct str name)
{
    if (text.n == 0)
        return;
    uint32_t block = openai_chat_emit_open(d, c, kind, name);
    if (block != EVENT_NO_BLOCK)
        openai_chat_emit_text(d, kind == BLOCK_REASONING ? EVENT_REASONING : EVENT_TEXT, c->index,
                              block, text);
}

/* --- choices ------------------------------------------------------------------------------ */

static struct openai_chat_choice *choice_of(struct openai_chat_decoder *d, yyjson_val *v, size_t at)
{
    int64_t index;

    if (!json_to_int64(json_get(v, STR("index")), &index) || index < 0)
        index = (int64_t)at;
    if (index >= OPENAI_CHAT_CHOICES_MAX)
        return NULL;

    struct openai_chat_choice **to = &d->choices;
    while (*to != NULL && (*to)->index < (uint32_t)index)
        to = &(*to)->next;
    if (*to != NULL && (*to)->index == (uint32_t)index)
        return *to;

    struct openai_chat_choice *c = ARENA_NEW(d->options.arena, struct openai_chat_choice);
    if (arena_overflowed(d->options.arena))
        return NULL;
    assert(*to == NULL || (*to)->index > index);
    c->next = *to;
    c->index = (uint32_t)index;
    c->open = EVENT_NO_BLOCK;
    *to = c;
    d->version++;
    return c;
}

/* --- the other members of a message ------------------------------------------------------- */

/* Whether a list or object says anything: some send forms with nothing filled in. */
static bool is_filled(yyjson_val *v)
{
    size_t at;
    size_t count;
    yyjson_val *key;
    yyjson_val *member;

    if (yyjson_is_arr(v))
        return yyjson_arr_size(v) > 0;
    yyjson_obj_foreach(v, at, count, key, member)
    {
        (void)key;
        if (yyjson_get_len(member) > 0 && !yyjson_is_raw(member))
            return true;
    }
    return false;
}

/* A member that we do not model goes on as it is, in a block of its own. */
static void read_side(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                      yyjson_val *message, const char *member)
{
    yyjson_val *v = openai_chat_member(d, message, str_c(member));
    struct openai_chat_side **to = &c->sides;

    if (yyjson_get_len(v) == 0 || (!yyjson_is_arr(v) && !yyjson_is_obj(v)))
        return;
    while (*to != NULL && (*to)->member != member)
        to = &(*to)->next;
    if (*to == NULL && !is_filled(v))
        return;
    if (*to == NULL) {
        struct openai_chat_side *side = ARENA_NEW(d->options.arena, struct openai_chat_side);
        if (arena_overflowed(d->options.arena))
            return;
        side->member = member;
        side->block = openai_chat_emit_begin(d, c, BLOCK_VENDOR, str_c(member));
        *to = side;
    }
    if ((*to)->block != EVENT_NO_BLOCK)
        openai_chat_emit_text(d, EVENT_TEXT, c->index, (*to)->block,
                              utf8_repair(json_text(v, d->options.scratch), d->options.scratch));
}

/* {"type":"image_url","image_url":{"url":…}}: its URL; null: something else. */
static struct str image_url(struct openai_chat_decoder *d, yyjson_val *image)
{
    return openai_chat_member_text(d, json_get(image, STR("image_url")), "url");
}

static void say_image(struct openai_chat_decoder *d, struct openai_chat_choice *c, struct str url)
{
    struct part image = {.kind = PART_IMAGE};
    uint32_t block = openai_chat_emit_begin(d, c, BLOCK_MEDIA, STR("images"));
    struct arena *scratch = d->options.scratch;
    struct str json;

    if (block == EVENT_NO_BLOCK)
        return;
    media_set_url(&image, url);
    struct str data = json_quote(image.data, scratch);
    struct str type = json_quote(media_type_of(&image), scratch);
    if (image.is_url)
        json = str_print(scratch, "{\"url\":%.*s}", STR_ARG(data));
    else
        json = str_print(scratch, "{\"media_type\":%.*s,\"data\":%.*s}", STR_ARG(type),
                         STR_ARG(data));
    openai_chat_emit_text(d, EVENT_TEXT, c->index, block, json);
    openai_chat_emit(d, EVENT_BLOCK_END, c->index, block);
    d->version++;
}

/* OpenRouter: images that the model made. */
static void read_images(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                        yyjson_val *message)
{
    yyjson_val *images = openai_chat_member(d, message, STR("images"));
    size_t at;
    size_t count;
    yyjson_val *image;

    if (!yyjson_is_arr(images))
        return;
    yyjson_arr_foreach(images, at, count, image)
    {
        if (image_url(d, image).n == 0) {
            read_side(d, c, message, "images");
            return;
        }
    }
    yyjson_arr_foreach(images, at, count, image)
    {
        say_image(d, c, image_url(d, image));
    }
}

static void read_details(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                         yyjson_val *message)
{
    size_t at;
    size_t count;
    yyjson_val *detail;

    /* OpenRouter says the text a second time beside them; where it does not, they are all. */
    if (!c->reasoning_said) {
        yyjson_arr_foreach(openai_chat_member(d, message, STR("reasoning_details")), at, count,
                           detail)
        {
            struct str text = openai_chat_member_text(d, detail, "text");
            if (text.n == 0)
                text = openai_chat_member_text(d, detail, "summary");
            say(d, c, BLOCK_REASONING, text, STR("reasoning_content"));
        }
    }
    read_side(d, c, message, "reasoning_details");
}

static void read_reasoning(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                           yyjson_val *message)
{
    static const char *const members[] = {"reasoning_content", "reasoning"};

    for (size_t i = 0; i < COUNT_OF(members); i++) {
        struct str text = openai_chat_member_text(d, message, members[i]);
        if (text.n == 0)
            continue;
        if (!c->reasoning_said)
            d->version++;
        c->reasoning_said = true;
        say(d, c, BLOCK_REASONING, text, str_c(members[i]));
        d->place.member = members[i];
        d->place.known = true;
        break;
    }
    read_details(d, c, message);
}

static void cite(struct openai_chat_decoder *d, struct openai_chat_choice *c, yyjson_val *v)
{
    uint32_t block = openai_chat_emit_open(d, c, BLOCK_TEXT, STR_NULL);

    if (block != EVENT_NO_BLOCK)
        openai_chat_emit_text(d, EVENT_CITATION, c->index, block,
                              utf8_repair(json_text(v, d->options.scratch), d->options.scratch));
}

/* Mistral's content: a list of parts, thinking among them. */
static void read_content_part(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                              yyjson_val *part)
{
    struct str type = json_get_str(part, STR("type"));
    size_t at;
    size_t count;
    yyjson_val *inner;

    if (yyjson_is_str(part)) {
        say(d, c, BLOCK_TEXT, openai_chat_text_of(d, part), STR_NULL);
    } else if (str_eq(type, STR("thinking"))) {
        yyjson_val *thinking = json_get(part, STR("thinking"));
        say(d, c, BLOCK_REASONING, openai_chat_text_of(d, thinking), STR_NULL);
        yyjson_arr_foreach(thinking, at, count, inner)
        {
            say(d, c, BLOCK_REASONING, openai_chat_member_text(d, inner, "text"), STR_NULL);
        }
    } else if (str_eq(type, STR("refusal"))) {
        say(d, c, BLOCK_REFUSAL, openai_chat_member_text(d, part, "refusal"), STR_NULL);
    } else if (str_eq(type, STR("reference"))) {
        cite(d, c, part);
    } else {
        say(d, c, BLOCK_TEXT, openai_chat_member_text(d, part, "text"), STR_NULL);
    }
}

static void read_content(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                         yyjson_val *message)
{
    yyjson_val *content = openai_chat_member(d, message, STR("content"));
    struct str refusal = openai_chat_member_text(d, message, "refusal");
    size_t at;
    size_t count;
    yyjson_val *v;

    if (yyjson_is_str(content)) {
        struct str text = openai_chat_text_of(d, content);
        say(d, c, BLOCK_TEXT, text, STR_NULL);
        if (text.n > 0) {
            d->place.member = "content";
            d->place.known = true;
        }
    }
    yyjson_arr_foreach(content, at, count, v)
    {
        d->place.known = false;
        read_content_part(d, c, v);
    }
    if (refusal.n > 0) {
        say(d, c, BLOCK_REFUSAL, refusal, STR_NULL);
        d->place.member = "refusal";
        d->place.known = true;
    }
    yyjson_arr_foreach(openai_chat_member(d, message, STR("annotations")), at, count, v)
    {
        if (yyjson_is_obj(v))
            cite(d, c, v);
    }
    /* As openai_chat_mend.c writes those that were parts of the content. */
    yyjson_arr_foreach(openai_chat_member(d, message, STR("references")), at, count, v)
    {
        if (str_eq(json_get_str(v, STR("type")), STR("reference")))
            cite(d, c, v);
    }
}

static void read_logprobs(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                          yyjson_val *choice)
{
    yyjson_val *logprobs = json_get(choice, STR("logprobs"));
    uint32_t block = c->open;

    if (yyjson_arr_size(json_get(logprobs, STR("content"))) == 0 &&
        yyjson_arr_size(json_get(logprobs, STR("refusal"))) == 0)
        return;
    for (struct openai_chat_tool *tool = c->tools; block == EVENT_NO_BLOCK && tool != NULL;
         tool = tool->next)
        block = tool->block;
    if (block == EVENT_NO_BLOCK)
        block = openai_chat_emit_open(d, c, BLOCK_TEXT, STR_NULL);
    if (block != EVENT_NO_BLOCK)
        openai_chat_emit_text(d, EVENT_LOGPROBS, c->index, block,
                              utf8_repair(json_text(logprobs, d->options.scratch),
                                          d->options.scratch));
}

/* --- the end of a choice ------------------------------------------------------------------ */

static enum stop_reason stop_reason_of(struct str native, bool tools)
{
    static const struct {
        const char *word;
        enum stop_reason reason;
    } words[] = {
        {"stop", STOP_END},
        {"tool_calls", STOP_TOOL},
        {"length", STOP_LENGTH},
        {"function_call", STOP_TOOL},
        {"eos", STOP_END},
        {"content_filter", STOP_FILTER},
        {"end_turn", STOP_END},
        {"max_tokens", STOP_LENGTH},
        {"model_length", STOP_CONTEXT},
        {"safety", STOP_FILTER},
        {"recitation", STOP_FILTER},
        {"sensitive", STOP_FILTER},
        {"tool_use", STOP_TOOL},
        {"stop_sequence", STOP_SEQUENCE},
    };
    enum stop_reason reason = native.n == 0 ? STOP_END : STOP_OTHER;

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(native, str_c(words[i].word))) {
            reason = words[i].reason;
            break;
        }
    }
    /* Vendors say the one or the other whatever the model did (quirk 20). */
    if (reason == STOP_END || reason == STOP_TOOL)
        reason = tools ? STOP_TOOL : STOP_END;
    return reason;
}

/* The protocol's word; words that only the vendor's clients know are "stop". */
static struct str finish_word(const struct openai_chat_choice *c, const struct event *stop)
{
    struct event known = *stop;
    bool legacy = false;

    if (known.stop.reason > STOP_TOOL && known.stop.reason != STOP_FILTER &&
        known.stop.reason != STOP_CONTEXT)
        known.stop.reason = STOP_END;
    for (const struct openai_chat_tool *tool = c->tools; tool != NULL; tool = tool->next)
        legacy |= tool->legacy;
    return openai_chat_finish_word(&known, c->tools != NULL, legacy && c->numbers == 0);
}

static void stop(struct openai_chat_decoder *d, struct openai_chat_choice *c, struct str native)
{
    if (c->stopped)
        return;
    assert(d->started);
    openai_chat_emit_close(d, c);
    openai_chat_calls_end(d, c);
    for (struct openai_chat_side *side = c->sides; side != NULL; side = side->next) {
        if (side->block != EVENT_NO_BLOCK)
            openai_chat_emit(d, EVENT_BLOCK_END, c->index, side->block);
    }
    struct event *event = openai_chat_emit(d, EVENT_STOP, c->index, EVENT_NO_BLOCK);
    event->stop.reason = stop_reason_of(native, c->tools != NULL);
    event->stop.native = native.n > 0 ? native : STR_NULL;
    c->stopped = true;
    c->ended_late = d->terminated;
    c->finish = finish_word(c, event);
    d->version++;
}

/* Words with which a vendor says that the answer failed. */
static bool is_failure(struct str native)
{
    static const char *const words[] = {"error", "insufficient_system_resource", "abort",
                                        "network_error"};

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(native, str_c(words[i])))
            return true;
    }
    return false;
}

/* The choice says that the answer failed, and perhaps how (OpenRouter); told behind all else that
 * the frame says. */
static void note_failure(struct openai_chat_decoder *d, yyjson_val *choice, struct str native)
{
    struct event *failure = ARENA_NEW(d->options.scratch, struct event);

    if (d->failure != NULL || arena_overflowed(d->options.scratch))
        return;
    if (!yyjson_is_obj(json_get(choice, STR("error"))) ||
        !openai_chat_read_error(choice, d->options.scratch, failure)) {
        *failure = (struct event){.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};
        failure->error.code = native;
        failure->error.message = str_print(d->options.scratch, "the answer ended with \"%.*s\"",
                                           STR_ARG(native));
    }
    if (failure->error.status == 0)
        failure->error.status = 502;
    if (str_is_null(failure->error.type))
        failure->error.type = STR("server_error");
    d->failure = failure;
}

static void fail_answer(struct openai_chat_decoder *d)
{
    *openai_chat_emit(d, EVENT_ERROR, 0, EVENT_NO_BLOCK) = *d->failure;
    d->over = true;
    d->version++;
}

void openai_chat_delta_stop_all(struct openai_chat_decoder *d)
{
    assert(d->terminated);
    for (struct openai_chat_choice *c = d->choices; c != NULL; c = c->next)
        stop(d, c, STR_NULL);
}

/* A list of calls that is none, or, of a whole message, empty: some clients stumble over it. */
static bool is_wrong_list(const struct openai_chat_decoder *d, yyjson_val *calls)
{
    if (calls == NULL || yyjson_is_null(calls))
        return false;
    return !yyjson_is_arr(calls) || (!d->options.stream && yyjson_arr_size(calls) == 0);
}

/* A function_call that nobody filled in. */
static bool is_empty_legacy(yyjson_val *legacy)
{
    return yyjson_is_obj(legacy) && json_get_str(legacy, STR("name")).n == 0 &&
           json_get_str(legacy, STR("arguments")).n == 0;
}

/* What of a choice that was just read a client would misread. */
static unsigned wrong_in(const struct openai_chat_decoder *d, const struct openai_chat_choice *c,
                         yyjson_val *choice, yyjson_val *message, bool at_home)
{
    struct str role = json_get_str(message, STR("role"));
    unsigned wrong = 0;
    int64_t index;

    if (!json_to_int64(json_get(choice, STR("index")), &index))
        wrong |= OPENAI_CHAT_WRONG_INDEX;
    if (!at_home || !yyjson_is_obj(message))
        wrong |= OPENAI_CHAT_WRONG_HOME;
    if (str_is_null(role) ? !c->role_said : !str_eq(role, STR("assistant")))
        wrong |= OPENAI_CHAT_WRONG_ROLE;
    if (yyjson_is_arr(json_get(message, STR("content"))))
        wrong |= OPENAI_CHAT_WRONG_PARTS;
    if (d->calls_wrong || is_wrong_list(d, json_get(message, STR("tool_calls"))))
        wrong |= OPENAI_CHAT_WRONG_CALLS;
    if (is_empty_legacy(json_get(message, STR("function_call"))))
        wrong |= OPENAI_CHAT_WRONG_LEGACY;
    return wrong;
}

/* Whether the finish_reason says what is meant; finish: the right word, null for none. */
static bool is_right_finish(yyjson_val *choice, struct str finish)
{
    yyjson_val *said = json_get(choice, STR("finish_reason"));

    if (str_is_null(finish))
        return said == NULL || yyjson_is_null(said);
    return str_eq(json_str(said), finish);
}

static void note_wrong(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                       yyjson_val *choice, bool at_home, struct openai_chat_fault *fault)
{
    fault->choice = c;
    fault->end = d->n;
    fault->wrong = wrong_in(d, c, choice, fault->message, at_home);
    fault->finish = c->stopped ? c->finish : STR_NULL;
    if (!is_right_finish(choice, fault->finish))
        fault->wrong |= OPENAI_CHAT_WRONG_FINISH;
    if (!c->role_said)
        d->version++;
    c->role_said = true;
    if (fault->wrong != 0)
        openai_chat_mend_choice(d, fault);
}

/* Behind its end a choice says nothing more, but it may say once more how it ended. */
static void read_stopped(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                         yyjson_val *choice, size_t at)
{
    struct openai_chat_fault fault = {.choice = c, .at = at, .begin = d->n, .end = d->n};

    fault.finish = yyjson_is_str(json_get(choice, STR("finish_reason"))) ? c->finish : STR_NULL;
    if (!d->options.mend || is_right_finish(choice, fault.finish))
        return;
    fault.wrong = OPENAI_CHAT_WRONG_FINISH;
    openai_chat_mend_choice(d, &fault);
}

static void read_message(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                         yyjson_val *choice, yyjson_val *message, bool finishes)
{
    d->message = json_keys_of(message);
    read_reasoning(d, c, message);
    read_content(d, c, message);
    read_logprobs(d, c, choice);
    read_side(d, c, message, "audio");
    read_images(d, c, message);
    read_side(d, c, message, "executed_tools");
    openai_chat_calls_read(d, c, message, finishes);
    d->message.object = NULL;
}

static void read_choice(struct openai_chat_decoder *d, yyjson_val *choice, size_t at, bool whole)
{
    struct openai_chat_choice *c = yyjson_is_obj(choice) ? choice_of(d, choice, at) : NULL;
    /* null, and "" (quirk 21): not yet. */
    struct str native = openai_chat_member_text(d, choice, "finish_reason");
    struct openai_chat_fault fault = {.at = at, .begin = d->n};
    bool is_delta = !whole;

    if (c != NULL && c->stopped)
        read_stopped(d, c, choice, at);
    if (c == NULL || c->stopped)
        return;
    fault.message = json_get(choice, whole ? STR("message") : STR("delta"));
    if (!yyjson_is_obj(fault.message)) {
        fault.message = json_get(choice, whole ? STR("delta") : STR("message"));
        is_delta = whole;
    }
    d->calls_wrong = false;
    d->place.choice_at = at;
    d->place.message = is_delta ? "delta" : "message";
    d->place.inner = NULL;
    d->place.known = false;
    read_message(d, c, choice, fault.message, native.n > 0);
    bool failed = is_failure(native);
    if (!failed && (native.n > 0 || whole))
        stop(d, c, native);
    if (d->options.mend)
        note_wrong(d, c, choice, is_delta != whole, &fault);
    if (failed)
        note_failure(d, choice, native);
}

/* --- a chunk ------------------------------------------------------------------------------ */

/* What the client is told of the answer, in every frame. */
static void remember_head(struct openai_chat_decoder *d, struct event *start)
{
    if (start->start.created_s <= 0)
        start->start.created_s = d->options.now_s;
    d->id = str_copy(d->options.arena, start->start.id);
    d->model = str_copy(d->options.arena, start->start.model);
    d->created_s = start->start.created_s;
}

static void start(struct openai_chat_decoder *d, yyjson_val *root)
{
    struct str id = openai_chat_member_text(d, root, "id");
    struct str model = openai_chat_member_text(d, root, "model");
    struct openai_chat_tool hash = {.args_hash = OPENAI_CHAT_HASH_BEGIN};
    struct event *event = openai_chat_emit(d, EVENT_START, 0, EVENT_NO_BLOCK);
    int64_t created;

    event->start.id = id.n > 0 ? id : STR_NULL;
    event->start.model = model.n > 0 ? model : STR_NULL;
    if (json_to_int64(json_get(root, STR("created")), &created) && created > 0)
        event->start.created_s = created >= OPENAI_CHAT_CREATED_MS_MIN ? created / 1000 : created;
    if (d->options.mend)
        remember_head(d, event);
    openai_chat_delta_count_args(&hash, id);
    d->id_hash = (uint32_t)(hash.args_hash ^ (hash.args_hash >> 32));
    d->started = true;
    d->version++;
}

/* Whether a client would know it for what it is: {"error":{"message":…}}, or {"error":"…"}. */
static bool is_plain_error(yyjson_val *root)
{
    yyjson_val *error = json_get(root, STR("error"));

    return json_str(error).n > 0 || yyjson_is_str(json_get(error, STR("message")));
}

void openai_chat_delta_error(struct openai_chat_decoder *d, yyjson_val *root)
{
    struct event error = {.kind = EVENT_ERROR, .block = EVENT_NO_BLOCK};

    assert(!d->over);
    if (!openai_chat_read_error(root, d->options.scratch, &error))
        error.error.message = STR("the backend sent an error without a message");
    *openai_chat_emit(d, EVENT_ERROR, 0, EVENT_NO_BLOCK) = error;
    d->over = true;
    d->version++;
}

/* Something that a list or object fills. */
static bool is_said(yyjson_val *error)
{
    return yyjson_is_obj(error) || json_str(error).n > 0;
}

/* An error instead of, or within, an answer; NULL: none. */
static yyjson_val *error_in(const struct json_keys *root, bool has_choices, bool whole)
{
    if (whole && has_choices)
        return NULL;
    if (is_said(json_keys_get(root, STR("error"))))
        return root->object;
    yyjson_val *groq = json_keys_get(root, STR("x_groq"));
    if (is_said(json_get(groq, STR("error"))))
        return groq;
    return !has_choices && openai_chat_is_bare_error(root->object) ? root->object : NULL;
}

/* Azure's first chunk has no id and no choices: it says nothing yet. */
static bool starts(const struct json_keys *root, bool has_choices, bool whole)
{
    return whole || has_choices || json_str(json_keys_get(root, STR("id"))).n > 0 ||
           yyjson_is_obj(json_keys_get(root, STR("usage")));
}

static void read_usage(struct openai_chat_decoder *d, const struct json_keys *root, bool lone,
                       struct frame *frame)
{
    struct usage usage;
    enum openai_chat_usage_verdict verdict = openai_chat_usage_read(root, d->options.dialect,
                                                                    &usage);

    if (d->options.mend && verdict > OPENAI_CHAT_USAGE_FINE) {
        d->faults.root |= OPENAI_CHAT_WRONG_USAGE;
        d->faults.usage_verdict = verdict;
        d->faults.usage = usage;
    }
    if (verdict != OPENAI_CHAT_USAGE_FINE && verdict != OPENAI_CHAT_USAGE_MISREAD)
        return;
    openai_chat_emit(d, EVENT_USAGE, 0, EVENT_NO_BLOCK)->usage = usage;
    frame->usage_only = lone;
}

void openai_chat_delta_read(struct openai_chat_decoder *d, yyjson_val *root, bool whole,
                            struct frame *frame)
{
    const struct json_keys keys = json_keys_of(root);
    yyjson_val *choices = json_keys_get(&keys, STR("choices"));
    bool has_choices = yyjson_arr_size(choices) > 0;
    yyjson_val *error = error_in(&keys, has_choices, whole);
    size_t at;
    size_t count;
    yyjson_val *choice;

    assert(!d->over);
    assert(yyjson_is_obj(root));
    if (error != NULL) {
        if (d->options.mend && (error != root || !is_plain_error(root)))
            d->faults.root |= OPENAI_CHAT_WRONG_ERROR;
        openai_chat_delta_error(d, error);
        return;
    }
    if (!d->started && starts(&keys, has_choices, whole))
        start(d, root);
    d->failure = NULL;
    yyjson_arr_foreach(choices, at, count, choice)
    {
        read_choice(d, choice, at, whole);
    }
    if (d->options.mend && d->started)
        openai_chat_mend_root(d, root);
    if (d->started)
        read_usage(d, &keys, !whole && !has_choices && yyjson_is_arr(choices), frame);
    if (d->failure != NULL)
        fail_answer(d);
}
