/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: a request of another protocol in the form of this one.
 *
 * What      A canonical request becomes one that openai_chat_upstream.c can print: messages with
 *           what they may hold, parameters with values that the model takes.
 * How       canon/fit orders turns, calls and results; what it gives is our copy and is changed in
 *           place. Then a list of messages is made of it: system texts in front become one message,
 *           each result is one, and what a result shows beside text comes from the user, after the
 *           last result in the row. Members of the source that were not modelled are left out.
 * Owns      Nothing: all lies in the arena.
 * Not here  Printing (openai_chat_upstream.c, openai_chat_params.c).
 */
#include "protocol/openai_chat_priv.h"

#include "canon/fit.h"
#include "canon/media.h"
#include "canon/schema.h"
#include "canon/traits.h"
#include "protocol/edits.h"

enum { TOOLS_MAX = 128, STOPS_MAX = 4, NAME_MAX_BYTES = 64, WORDS_BYTES_MAX = 4096 };

struct translator {
    const struct encode_request *how;
    const struct traits *traits;
    struct translation *t;
    struct arena *arena;
    struct error *e;
    struct request *request;
    struct turn **end;     /* of the messages so far */
    struct turn *attached; /* the user's message with what results show; NULL: nothing yet */
    struct part **attached_end;
    bool keeps_reasoning;
};

/* --- texts -------------------------------------------------------------------------------- */

/* The texts of these parts of that kind, joined. Null: there is none. */
static struct str join_texts(const struct translator *x, const struct part *parts,
                             enum part_kind kind, struct str between)
{
    struct str only = STR_NULL;
    size_t total = 0;
    size_t n = 0;

    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (part->kind != kind || str_is_null(part->text))
            continue;
        total += part->text.n + between.n;
        only = part->text;
        n++;
    }
    if (n <= 1)
        return only;
    char *to = arena_alloc(x->arena, total);
    if (arena_overflowed(x->arena))
        return STR("");
    n = 0;
    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (part->kind != kind || str_is_null(part->text))
            continue;
        if (n > 0 && between.n > 0) {
            memcpy(to + n, between.p, between.n);
            n += between.n;
        }
        if (part->text.n > 0)
            memcpy(to + n, part->text.p, part->text.n);
        n += part->text.n;
    }
    assert(n <= total);
    return str_of(to, n);
}

/* NULL past the arena's cap. */
static struct part *new_part(const struct translator *x, enum part_kind kind, struct str text)
{
    struct part *part = ARENA_NEW(x->arena, struct part);

    if (arena_overflowed(x->arena))
        return NULL;
    part->kind = kind;
    part->text = text;
    return part;
}

static void add_message(struct translator *x, struct turn *turn)
{
    turn->next = NULL;
    turn->extra = NULL;
    turn->phase = STR_NULL;
    *x->end = turn;
    x->end = &turn->next;
}

static struct turn *new_message(struct translator *x, enum role role, struct part *parts)
{
    struct turn *turn = ARENA_NEW(x->arena, struct turn);

    if (arena_overflowed(x->arena))
        return NULL;
    turn->role = role;
    turn->content_was_text = true;
    turn->parts = parts;
    add_message(x, turn);
    return turn;
}

/* --- system texts ------------------------------------------------------------------------- */

static enum role system_role(const struct translator *x)
{
    if (x->traits->system_refused)
        return ROLE_USER;
    return x->traits->developer ? ROLE_DEVELOPER : ROLE_SYSTEM;
}

/* What we must say to the model: the last of the system texts. */
static struct str note_of_format(const struct translator *x, const struct format *format)
{
    struct str pieces[] = {STR("Respond only with a JSON object that follows this JSON Schema:\n"),
                           format->schema};

    if (format->kind == FORMAT_SCHEMA && !x->traits->schema)
        return openai_chat_join(x->arena, pieces[0], pieces[1]);
    return STR("Respond only with a JSON object.");
}

static bool says_json(struct str text)
{
    for (size_t at = 0; at + 4 <= text.n; at++) {
        if ((text.p[at] | 0x20) == 'j' && str_starts_nocase(str_from(text, at), STR("json")))
            return true;
    }
    return false;
}

/* Servers refuse json_object where nothing in the conversation says "JSON". */
static bool conversation_says_json(const struct request *request)
{
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_TEXT && says_json(part->text))
                return true;
        }
    }
    return false;
}

static struct turn *next_turn(struct turn *turn)
{
    return turn->next;
}

static bool is_system(const struct turn *turn)
{
    return turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER;
}

/* Where the vendor takes them: how far a prompt is to be cached stands at its texts. */
static struct str cache_of(const struct translator *x, const struct part *part)
{
    bool taken = x->how->dialect != NULL && x->how->dialect->cache == DIALECT_CACHE_TAKEN;

    return taken && part->kind == PART_TEXT ? part->cache : STR_NULL;
}

/* Nothing but what this protocol has. */
static void strip(struct part *part)
{
    part->source = STR_NULL;
    part->cache = STR_NULL;
    part->citations = STR_NULL;
    part->extra = NULL;
}

/* The texts alone, where one of them has a place to cache up to; else NULL. */
static struct part *cached_texts(const struct translator *x, struct part *parts)
{
    struct part *texts = NULL;
    struct part **end = &texts;
    bool some = false;

    for (const struct part *part = parts; part != NULL; part = part->next)
        some |= !str_is_null(cache_of(x, part));
    for (struct part *part = parts, *next; some && part != NULL; part = next) {
        struct str cache = cache_of(x, part);
        next = part->next;
        if (part->kind != PART_TEXT)
            continue;
        strip(part);
        part->cache = cache;
        part->next = NULL;
        *end = part;
        end = &part->next;
    }
    return texts;
}

/* One message of all system texts in front, and of ours. Returns the turn behind them. */
static struct turn *system_in_front(struct translator *x, struct str note)
{
    struct part *parts = NULL;
    struct part **end = &parts;
    struct turn *turn = x->request->turns;

    for (; turn != NULL && is_system(turn); turn = next_turn(turn)) {
        *end = turn->parts;
        while (*end != NULL)
            end = &(*end)->next;
    }
    if (!str_is_null(note))
        *end = new_part(x, PART_TEXT, note);
    struct part *cached = cached_texts(x, parts);
    if (cached != NULL) {
        struct turn *message = new_message(x, system_role(x), cached);
        if (message != NULL)
            message->content_was_text = false;
        return turn;
    }
    struct str text = join_texts(x, parts, PART_TEXT, STR("\n\n"));
    if (!str_is_null(text))
        (void)new_message(x, system_role(x), new_part(x, PART_TEXT, text));
    return turn;
}

static void system_later(struct translator *x, struct turn *turn)
{
    struct str text = join_texts(x, turn->parts, PART_TEXT, STR("\n\n"));

    turn->role = system_role(x);
    turn->parts = new_part(x, PART_TEXT, text);
    turn->content_was_text = true;
    add_message(x, turn);
}

/* --- what users say ----------------------------------------------------------------------- */

static enum error_code fit_file(struct translator *x, struct part *part)
{
    if (!str_is_null(part->text)) {
        struct str title = part->name;
        if (title.n > 0)
            part->text = openai_chat_join(x->arena, openai_chat_join(x->arena, title, STR("\n\n")),
                                          part->text);
        part->kind = PART_TEXT;
        part->name = STR_NULL;
        return OK;
    }
    if (str_is_null(part->data))
        return FAIL(x->e, ERR_UNSUPPORTED, "a file by its id, which another backend has");
    if (str_starts_nocase(part->media_type, STR("video/")))
        return FAIL(x->e, ERR_UNSUPPORTED, "a film");
    if (part->is_url && (x->how->dialect == NULL || !x->how->dialect->document_url))
        return FAIL(x->e, ERR_UNSUPPORTED, "a file by its URL: it must be in the request");
    part->id = STR_NULL;
    part->media_type = media_type_of(part);
    if (part->name.n == 0)
        part->name = str_eq(part->media_type, STR("application/pdf")) ? STR("document.pdf")
                                                                      : STR("document");
    if (str_is_null(part->media_type))
        part->media_type = STR("application/octet-stream");
    return OK;
}

static enum error_code fit_media(struct translator *x, struct part *part)
{
    switch (part->kind) {
    case PART_IMAGE:
        if (str_is_null(part->data))
            return FAIL(x->e, ERR_UNSUPPORTED, "an image by its id, which another backend has");
        part->id = STR_NULL;
        part->media_type = media_type_of(part);
        if (str_eq(part->detail, STR("original")))
            part->detail = STR("high");
        return OK;
    case PART_AUDIO:
        if (part->is_url || str_is_null(part->data))
            return FAIL(x->e, ERR_UNSUPPORTED, "audio by its URL: it must be in the request");
        part->media_type = media_audio_format(part);
        return OK;
    case PART_FILE:
        return fit_file(x, part);
    case PART_TEXT:
    case PART_REFUSAL:
    case PART_REASONING:
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_VENDOR:
    case PART_KIND_COUNT:
        break;
    }
    return OK;
}

static enum error_code say_user(struct translator *x, struct turn *turn)
{
    bool texts = true;

    for (struct part *part = turn->parts; part != NULL; part = part->next) {
        TRY(fit_media(x, part));
        struct str cache = cache_of(x, part);
        strip(part);
        part->cache = cache;
        texts = texts && part->kind == PART_TEXT && str_is_null(cache);
    }
    turn->content_was_text = texts;
    if (texts && turn->parts->next != NULL)
        turn->parts = new_part(x, PART_TEXT, join_texts(x, turn->parts, PART_TEXT, STR("\n\n")));
    add_message(x, turn);
    return OK;
}

/* --- what the assistant said -------------------------------------------------------------- */

/* {"google":{"thought_signature":"…"}}: Gemini's own, and of who passes them on. */
static struct extra *signature_of(const struct translator *x, const struct part *call)
{
    struct extra *extra;

    bool own = !str_is_null(call->vendor) && str_eq(call->vendor, x->how->vendor);

    if (str_is_null(call->signature) || (!own && !str_eq(x->how->vendor, STR("gemini"))))
        return NULL;
    extra = ARENA_NEW(x->arena, struct extra);
    if (arena_overflowed(x->arena))
        return NULL;
    extra->key = STR("extra_content");
    extra->value = openai_chat_join(x->arena,
                                    openai_chat_join(x->arena,
                                                     STR("{\"google\":{\"thought_signature\":"),
                                                     json_quote(call->signature, x->arena)),
                                    STR("}}"));
    return extra;
}

/* The calls, in a list of their own. */
static struct part *calls_of(struct translator *x, struct part *parts)
{
    struct part *calls = NULL;
    struct part **end = &calls;

    for (struct part *part = parts, *next; part != NULL; part = next) {
        next = part->next;
        if (part->kind == PART_IMAGE || part->kind == PART_AUDIO || part->kind == PART_FILE)
            translation_warn_of(x->t, "dropped:part", str_c(request_part_name(part->kind)));
        if (part->kind != PART_TOOL_CALL)
            continue;
        struct extra *extra = signature_of(x, part);
        *end = part;
        end = &part->next;
        strip(part);
        part->extra = extra;
    }
    *end = NULL;
    return calls;
}

/* A part with that text in front of the others; text null: as they were. */
static struct part *in_front(const struct translator *x, enum part_kind kind, struct str text,
                             struct str member, struct part *parts)
{
    struct part *part;

    if (str_is_null(text))
        return parts;
    part = new_part(x, kind, text);
    if (part == NULL)
        return parts;
    part->name = member;
    part->next = parts;
    return part;
}

/* Null: it is not told. Who takes reasoning back wants it in every message of the assistant's. */
static struct str reasoning_of(const struct translator *x, const struct turn *turn)
{
    struct str text = join_texts(x, turn->parts, PART_REASONING, STR("\n\n"));

    if (!x->keeps_reasoning)
        return STR_NULL;
    bool every = x->how->dialect->history == DIALECT_HISTORY_EVERY;
    return str_is_null(text) && every ? STR("") : text;
}

static bool is_json_list(struct str text, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 0};

    return yyjson_is_arr(json_read(text, &options, arena, NULL));
}

/* reasoning_details as their vendor said them: they came as what only it understands. NULL:
 * none. */
static struct part *details_of(struct translator *x, const struct part *said)
{
    const bool dropped = x->how->dialect != NULL &&
                         x->how->dialect->history == DIALECT_HISTORY_DROP;
    struct part *parts = NULL;
    struct part **end = &parts;
    struct str element;

    for (; said != NULL && !dropped; said = said->next) {
        bool own = said->kind == PART_REASONING && said->redacted && said->vendor.n > 0 &&
                   said->signature.n > 0 && said->signature.p[0] == '[';
        if (!own || !is_json_list(said->signature, x->arena))
            continue;
        size_t at = 0;
        while (json_array_next(said->signature, &at, &element)) {
            struct part *part = new_part(x, PART_REASONING, STR_NULL);
            if (part == NULL)
                return parts;
            part->name = STR("reasoning_details");
            part->source = element;
            *end = part;
            end = &part->next;
        }
    }
    return parts;
}

/* A message has one text, one refusal, one reasoning, and its calls. */
static void say_assistant(struct translator *x, struct turn *turn)
{
    struct str text = join_texts(x, turn->parts, PART_TEXT, STR(""));
    struct str refusal = join_texts(x, turn->parts, PART_REFUSAL, STR(""));
    struct str reasoning = reasoning_of(x, turn);
    struct part *details = details_of(x, turn->parts);
    struct part *parts = calls_of(x, turn->parts);
    bool other = parts != NULL || !str_is_null(refusal);

    if (!other && str_is_null(text) && reasoning.n == 0 && details == NULL)
        return;
    /* Without calls or refusal many refuse null. */
    if (str_is_null(text) && !other)
        text = STR("");
    turn->content_was_null = str_is_null(text);
    turn->content_was_text = !turn->content_was_null;
    parts = in_front(x, PART_REASONING, reasoning, STR("reasoning_content"), parts);
    parts = in_front(x, PART_REFUSAL, refusal, STR("refusal"), parts);
    turn->parts = in_front(x, PART_TEXT, text, STR_NULL, parts);
    if (details != NULL) {
        struct part *last = details;
        while (last->next != NULL)
            last = last->next;
        last->next = turn->parts;
        turn->parts = details;
    }
    add_message(x, turn);
}

/* --- results ------------------------------------------------------------------------------ */

/* What a result shows beside its text: in a message of the user's, after all results. */
static enum error_code attach(struct translator *x, struct part *result)
{
    struct part *label;

    if (x->attached == NULL) {
        x->attached = ARENA_NEW(x->arena, struct turn);
        if (arena_overflowed(x->arena))
            return OK;
        x->attached->role = ROLE_USER;
        x->attached_end = &x->attached->parts;
    }
    label = new_part(x, PART_TEXT,
                     str_print(x->arena, "[attached to the tool result %.*s]",
                               STR_ARG(result->id)));
    if (label == NULL)
        return OK;
    *x->attached_end = label;
    x->attached_end = &label->next;
    for (struct part *part = result->parts, *next; part != NULL; part = next) {
        next = part->next;
        if (part->kind == PART_TEXT)
            continue;
        TRY(fit_media(x, part));
        strip(part);
        part->next = NULL;
        *x->attached_end = part;
        x->attached_end = &part->next;
    }
    return OK;
}

static void add_attached(struct translator *x)
{
    if (x->attached == NULL)
        return;
    add_message(x, x->attached);
    x->attached = NULL;
}

static struct str what_is_attached(const struct part *parts)
{
    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (part->kind != PART_TEXT && part->kind != PART_IMAGE)
            return STR("[file attached]");
    }
    return STR("[image attached]");
}

/* A plain string: what all servers take. */
static enum error_code say_result(struct translator *x, struct turn *turn)
{
    struct part *result = turn->parts;
    bool media;
    struct str text = fit_result_text(result, x->arena, &media);

    assert(result->kind == PART_TOOL_RESULT && result->next == NULL);
    if (result->is_error && !str_starts_nocase(text, STR("error")))
        text = openai_chat_join(x->arena, STR("Error: "), text);
    if (media) {
        struct str note = what_is_attached(result->parts);
        if (text.n > 0)
            text = openai_chat_join(x->arena, text, STR("\n"));
        text = openai_chat_join(x->arena, text, note);
        TRY(attach(x, result));
    }
    struct part *said = new_part(x, PART_TEXT, text);
    if (said != NULL) {
        said->cache = result->cache;
        said->cache = cache_of(x, said);
        result->was_text = str_is_null(said->cache);
    }
    strip(result);
    result->parts = said;
    turn->name = STR_NULL;
    turn->content_was_null = false;
    add_message(x, turn);
    return OK;
}

/* --- messages ----------------------------------------------------------------------------- */

static bool has_reasoning(const struct request *request)
{
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_REASONING && part->text.n > 0)
                return true;
        }
    }
    return false;
}

static enum error_code make_messages(struct translator *x, struct str note)
{
    struct turn *turn;
    struct turn *messages = NULL;

    x->end = &messages;
    x->keeps_reasoning = x->how->dialect != NULL &&
                         x->how->dialect->history > DIALECT_HISTORY_DROP &&
                         has_reasoning(x->request);
    turn = system_in_front(x, note);
    for (struct turn *next; turn != NULL && !arena_overflowed(x->arena); turn = next) {
        next = turn->next;
        if (turn->role != ROLE_TOOL)
            add_attached(x);
        switch (turn->role) {
        case ROLE_SYSTEM:
        case ROLE_DEVELOPER:
            system_later(x, turn);
            break;
        case ROLE_USER:
            TRY(say_user(x, turn));
            break;
        case ROLE_ASSISTANT:
            say_assistant(x, turn);
            break;
        case ROLE_TOOL:
            TRY(say_result(x, turn));
            break;
        case ROLE_COUNT:
            BUG("no such role");
        }
    }
    add_attached(x);
    x->request->turns = messages;
    return OK;
}

/* The text that the conversation ends with, where such a vendor's answer may repeat it. */
static struct str echo_of(const struct translator *x)
{
    const struct turn *last = x->request->turns;

    if (x->how->dialect == NULL || !x->how->dialect->repeats_last_text || last == NULL)
        return STR_NULL;
    while (last->next != NULL)
        last = last->next;
    return last->role == ROLE_ASSISTANT ? join_texts(x, last->parts, PART_TEXT, STR("")) : STR_NULL;
}

/* --- parameters --------------------------------------------------------------------------- */

static bool is_number(struct str token, double value)
{
    double is;

    return !str_is_null(token) && str_to_double(token, &is) && is >= value && is <= value;
}

/* Drops a parameter; neutral: the value that says nothing. */
static void drop(struct translator *x, struct str *token, double neutral, const char *warning)
{
    if (str_is_null(*token))
        return;
    if (!is_number(*token, neutral))
        translation_warn(x->t, warning);
    *token = STR_NULL;
}

static void fit_sampling(struct translator *x, struct params *params)
{
    bool off = x->traits->sampling_when_off && str_eq(params->reasoning_effort, STR("none"));
    double temperature;

    if (x->how->dialect == NULL || !x->how->dialect->top_k)
        drop(x, &params->top_k, -1, "dropped:top_k");
    if (str_to_double(params->temperature, &temperature) && temperature > 2) {
        params->temperature = STR("2");
        translation_warn(x->t, "changed:temperature");
    }
    if (!x->traits->sampling_refused || off)
        return;
    drop(x, &params->temperature, 1, "dropped:temperature");
    drop(x, &params->top_p, 1, "dropped:top_p");
    drop(x, &params->frequency_penalty, 0, "dropped:frequency_penalty");
    drop(x, &params->presence_penalty, 0, "dropped:presence_penalty");
    drop(x, &params->top_logprobs, 0, "dropped:top_logprobs");
    if (params->logprobs == 1)
        translation_warn(x->t, "dropped:logprobs");
    params->logprobs = -1;
}

static void fit_stop(struct translator *x, struct params *params)
{
    if (x->traits->stop_refused && params->stop_n > 0) {
        x->t->stop = params->stop;
        x->t->stop_n = params->stop_n;
        params->stop_n = 0;
    }
    if (params->stop_n > STOPS_MAX) {
        translation_warn(x->t, "dropped:stop");
        params->stop_n = STOPS_MAX;
    }
}

/* Null: the default, or not known here. */
static struct str tier_of(struct str tier)
{
    static const struct {
        struct str said;
        struct str meant;
    } tiers[] = {
        {STR_INIT("standard_only"), STR_INIT("default")}, /* Anthropic */
        {STR_INIT("standard"), STR_INIT("default")},      /* Gemini */
        {STR_INIT("default"), STR_INIT("default")},
        {STR_INIT("flex"), STR_INIT("flex")},
        {STR_INIT("priority"), STR_INIT("priority")},
        {STR_INIT("scale"), STR_INIT("scale")},
        {STR_INIT("fast"), STR_INIT("fast")},
    };

    for (size_t i = 0; i < COUNT_OF(tiers); i++) {
        if (str_eq_nocase(tier, tiers[i].said))
            return tiers[i].meant;
    }
    return STR_NULL;
}

/* [A-Za-z0-9_-]{1,64} */
static struct str format_name(const struct translator *x, struct str name)
{
    char *to;

    if (name.n == 0)
        return STR("response");
    name = str_head(name, NAME_MAX_BYTES);
    to = arena_alloc(x->arena, name.n);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        to[i] = plain || c == '-' ? c : '_';
    }
    return str_of(to, name.n);
}

/* Returns what the model must be told about it; null: nothing. */
static struct str fit_format(struct translator *x, struct format *format)
{
    const struct format asked = *format;

    if (format->kind == FORMAT_ABSENT)
        return STR_NULL;
    if (str_is_null(format->schema))
        format->kind = FORMAT_JSON;
    if (format->kind == FORMAT_SCHEMA && x->traits->schema) {
        format->name = format_name(x, format->name);
        return STR_NULL;
    }
    *format = (struct format){.kind = FORMAT_JSON, .strict = -1};
    if (asked.kind == FORMAT_JSON && conversation_says_json(x->request))
        return STR_NULL;
    return note_of_format(x, &asked);
}

/* What was asked of reasoning, in the words of a vendor who has his own. */
static void say_reasoning(struct translator *x, const struct params *asked)
{
    const struct dialect *dialect = x->how->dialect;
    struct extra_end end = {.list = NULL};
    struct json_member m;
    struct buf words;
    size_t cursor = 0;

    if (dialect == NULL ||
        (dialect->reasoning == DIALECT_REASONING_EFFORT && dialect->efforts == 0))
        return;
    x->request->params.reasoning_effort = STR_NULL;
    buf_init(&words, WORDS_BYTES_MAX);
    buf_add_char(&words, '{');
    openai_chat_dialect_reasoning_write(&words, asked, dialect, x->traits);
    buf_add_char(&words, '}');
    struct str object = str_copy(x->arena, buf_str(&words));
    buf_fini(&words);
    while (json_object_next(object, &cursor, x->arena, &m))
        (void)request_keep(&end, &x->request->extra, &m, x->arena);
    if (object.n == 2 && asked->reasoning > REASONING_OFF)
        translation_warn(x->t, "dropped:reasoning");
}

static void fit_params(struct translator *x)
{
    struct params *params = &x->request->params;
    const struct params asked = *params;
    const char *effort = NULL;

    if (x->traits->thinking == THINKING_EFFORT)
        effort = traits_effort(params, x->traits->efforts);
    params->reasoning_effort = str_c(effort);
    params->max_tokens_was_legacy = x->how->dialect != NULL && x->how->dialect->max_tokens_legacy &&
                                    !x->traits->developer;
    fit_sampling(x, params);
    fit_stop(x, params);
    if (!str_is_null(params->top_logprobs))
        params->logprobs = 1;
    if (!x->traits->custom_tools)
        params->verbosity = STR_NULL;
    if (params->store == 0)
        params->store = -1;
    params->service_tier = tier_of(params->service_tier);
    say_reasoning(x, &asked);
}

/* --- tools -------------------------------------------------------------------------------- */

static bool is_chosen(const struct request *request, struct str name)
{
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (str_eq(request->tool_choice_names[i], name))
            return true;
    }
    return false;
}

/* A choice that servers do not know as such: those tools alone. */
static void keep_chosen(struct request *request)
{
    struct tool **to = &request->tools;

    while (*to != NULL) {
        if (is_chosen(request, (*to)->name))
            to = &(*to)->next;
        else
            *to = (*to)->next;
    }
    request->tool_choice = request->tool_choice_required ? TOOL_CHOICE_REQUIRED : TOOL_CHOICE_AUTO;
}

static void fit_tools(struct translator *x)
{
    struct request *request = x->request;

    if (request->tool_choice == TOOL_CHOICE_SUBSET && !x->traits->custom_tools)
        keep_chosen(request);
    for (struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        tool->source = STR_NULL;
        tool->cache = STR_NULL;
        tool->extra = NULL;
        if (!tool->custom)
            tool->schema = schema_fit(tool->schema, SCHEMA_OPENAI_TOOL, x->arena);
    }
}

enum error_code openai_chat_translate_request(const struct request *request,
                                              const struct encode_request *how, struct arena *arena,
                                              struct request *ret_request, struct error *e)
{
    const struct traits *traits = edits_openai_traits(request, how);
    const struct fit_rules rules = {
        .system = FIT_SYSTEM_KEEP,
        .ids = FIT_IDS_OPENAI,
        .names = FIT_NAMES_OPENAI,
        .user_bytes_max = FIT_OPENAI_USER_BYTES_MAX,
        .wrap_custom = !traits->custom_tools,
        .prefill = true,
        .tools_max = TOOLS_MAX,
    };
    struct translator x = {.how = how,
                           .traits = traits,
                           .t = how->translation,
                           .arena = arena,
                           .e = e,
                           .request = ret_request};

    assert(how->translation != NULL);
    TRY(fit_request(request, &rules, how->translation, arena, ret_request, e));
    ret_request->extra = NULL;
    fit_params(&x);
    fit_tools(&x);
    struct str note = fit_format(&x, &ret_request->params.format);
    TRY(make_messages(&x, note));
    how->translation->echo = echo_of(&x);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    return OK;
}

/* --- settings ----------------------------------------------------------------------------- */

/* What the request itself says about reasoning, in whichever vendor's words. */
static void own_reasoning(struct request *mine, const struct request *request, struct arena *arena)
{
    static const char *const keys[] = {"reasoning",       "include_reasoning",
                                       "thinking",        "enable_thinking",
                                       "thinking_budget", "chat_template_kwargs"};
    struct str effort = edits_own(request, "reasoning_effort");
    struct extra_end end = {.list = NULL};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct json_member *m = json_index_find(&request->index, str_c(keys[i]));
        if (m != NULL)
            (void)request_keep(&end, &mine->extra, m, arena);
    }
    mine->params.reasoning_effort = json_string_value(effort, arena);
    openai_chat_reasoning_read(mine, arena);
}

struct str openai_chat_translate_steer(const struct request *request,
                                       const struct encode_request *how, const struct steer *steer,
                                       struct arena *arena)
{
    struct request mine = {.full = true, .params = steer_none()};
    struct translator x = {
        .how = how,
        .traits = edits_openai_traits(request, how),
        .arena = arena,
        .request = &mine,
    };
    struct buf out;

    own_reasoning(&mine, request, arena);
    if (arena_overflowed(arena))
        return STR("{}");
    bool said = mine.params.reasoning != REASONING_ABSENT;
    mine.extra = NULL;
    steer_fill(steer, &mine.params);
    fit_params(&x);
    /* A model that samples only while it does not reason goes on as the request wants it. */
    said |= x.traits->sampling_when_off && edits_samples(request) &&
            !str_eq(mine.params.reasoning_effort, STR("none"));
    if (said) {
        mine.params.reasoning_effort = STR_NULL;
        mine.extra = NULL;
    }
    buf_init(&out, 64 * 1024);
    buf_add_char(&out, '{');
    openai_chat_params_write(&out, &mine, arena);
    buf_add_char(&out, '}');
    struct str object = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return object;
}
