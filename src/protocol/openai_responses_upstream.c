/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: the request that an upstream gets.
 *
 * What      A client's request of this protocol as its own bytes with a few spans replaced; any
 *           other request written from its canonical form (openai-responses.md, 10).
 * How       same_protocol: a copy of the request's edits, and of ours: the model's name, no
 *           session_id, what settings ask for. Else canon/fit puts the conversation right, and
 *           this prints it: system texts in front are instructions, later ones messages; every part
 *           of the assistant's that is no text becomes an item of its own, in order.
 * Owns      Nothing: pieces lie in the arena and in the client's body.
 * Not here  Parameters and tools (openai_responses_write.c).
 */
#include "protocol/openai_responses_priv.h"

#include "canon/fit.h"
#include "canon/media.h"
#include "canon/traits.h"
#include "protocol/edits.h"

/* --- edits of the client's body ----------------------------------------------------------- */

static void edit_source(const struct request *request, const struct encode_request *how,
                        struct arena *arena, struct wire *wire)
{
    struct json_edits edits = edits_copy(request, arena);

    edits_model(request, how, &edits, arena);
    if (edits_steer(how) != NULL) {
        struct str members = openai_responses_write_steer(request, how, edits_steer(how), arena);
        edits_tell_unsaid(request, how, members, arena);
        edits_merge(request, members, NULL, &edits, arena);
    }
    edits_apply(request, &edits, arena, wire);
}

/* --- parts -------------------------------------------------------------------------------- */

struct writer {
    struct buf out;
    const struct encode_request *how;
    const struct traits *traits;
    struct arena *arena;
    struct error *e;
    size_t items; /* of the input, so far */
};

static void begin_object(struct writer *w, const char *type)
{
    buf_add_char(&w->out, '{');
    openai_responses_add_string(&w->out, "type", str_c(type));
}

static enum error_code refuse(struct writer *w, const char *what)
{
    return FAIL(w->e, ERR_UNSUPPORTED, "%s", what);
}

static void add_text(struct writer *w, const char *type, const char *key, struct str text)
{
    begin_object(w, type);
    openai_responses_add_string(&w->out, key, str_is_null(text) ? STR("") : text);
    buf_add_char(&w->out, '}');
}

static enum error_code add_image(struct writer *w, const struct part *part)
{
    if (str_is_null(part->data))
        return refuse(w, "an image by the id of a file that another vendor keeps");
    begin_object(w, "input_image");
    openai_responses_add_string(&w->out, "image_url", media_url(part, w->arena));
    openai_responses_add_string(&w->out, "detail",
                                str_is_null(part->detail) ? STR("auto") : part->detail);
    buf_add_char(&w->out, '}');
    return OK;
}

/* Files have a name; its ending says what they are. */
static struct str file_name(const struct part *part)
{
    if (part->name.n > 0)
        return part->name;
    return str_eq(media_type_of(part), STR("application/pdf")) ? STR("document.pdf")
                                                               : STR("document");
}

static enum error_code add_file(struct writer *w, const struct part *part)
{
    if (!str_is_null(part->text)) {
        struct str text = part->name.n == 0 ? part->text
                                            : str_print(w->arena, "%.*s\n\n%.*s",
                                                        STR_ARG(part->name), STR_ARG(part->text));
        add_text(w, "input_text", "text", text);
        return OK;
    }
    if (str_is_null(part->data))
        return refuse(w, "a file by the id under which another vendor keeps it");
    if (str_starts(media_type_of(part), STR("video/")) ||
        str_starts(media_type_of(part), STR("audio/")))
        return refuse(w, "sound or moving pictures in a message");
    begin_object(w, "input_file");
    if (part->is_url) {
        openai_responses_add_string(&w->out, "file_url", part->data);
    } else {
        openai_responses_add_string(&w->out, "filename", file_name(part));
        openai_responses_add_string(&w->out, "file_data", media_url(part, w->arena));
    }
    buf_add_char(&w->out, '}');
    return OK;
}

/* An element of a user's message, or of what a tool gave back. */
static enum error_code add_input_part(struct writer *w, const struct part *part)
{
    switch (part->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        add_text(w, "input_text", "text", part->text);
        return OK;
    case PART_IMAGE:
        return add_image(w, part);
    case PART_FILE:
        return add_file(w, part);
    case PART_AUDIO:
        return refuse(w, "audio in a message");
    case PART_REASONING:
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_VENDOR:
        return refuse(w, "a part of this kind in a user's message");
    case PART_KIND_COUNT:
        break;
    }
    BUG("no such kind of part");
}

static enum error_code add_input_parts(struct writer *w, const struct part *parts)
{
    buf_add_char(&w->out, '[');
    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (part != parts)
            buf_add_char(&w->out, ',');
        TRY(add_input_part(w, part));
    }
    buf_add_char(&w->out, ']');
    return OK;
}

/* --- items -------------------------------------------------------------------------------- */

static void next_item(struct writer *w)
{
    if (w->items++ > 0)
        buf_add_char(&w->out, ',');
}

static enum error_code add_message(struct writer *w, const struct turn *turn, const char *role)
{
    next_item(w);
    begin_object(w, "message");
    openai_responses_add_string(&w->out, "role", str_c(role));
    openai_responses_add_key(&w->out, "content");
    TRY(add_input_parts(w, turn->parts));
    buf_add_char(&w->out, '}');
    return OK;
}

/* An item a part. Text is a plain string: parts of an assistant's message must have ids that only
 * the server gives. */
static void add_said(struct writer *w, const struct turn *turn, const struct part *part)
{
    next_item(w);
    begin_object(w, "message");
    openai_responses_add_string(&w->out, "role", STR("assistant"));
    openai_responses_add_string(&w->out, "phase", turn->phase);
    if (part->kind == PART_TEXT) {
        openai_responses_add_string(&w->out, "content", part->text);
    } else {
        openai_responses_add_key(&w->out, "content");
        buf_add_char(&w->out, '[');
        add_text(w, "refusal", "refusal", part->text);
        buf_add_char(&w->out, ']');
    }
    buf_add_char(&w->out, '}');
}

/* Only its own vendor's, and only before what it led to. */
static void add_reasoning(struct writer *w, const struct part *part)
{
    const struct part *next = part->next;

    while (next != NULL && next->kind == PART_REASONING)
        next = next->next;
    if (next == NULL || part->signature.n == 0 || part->vendor.n == 0 ||
        !str_eq(part->vendor, w->how->vendor))
        return;
    next_item(w);
    begin_object(w, "reasoning");
    if (str_starts(part->id, STR("rs_")))
        openai_responses_add_string(&w->out, "id", part->id);
    openai_responses_add_key(&w->out, "summary");
    buf_add_char(&w->out, '[');
    if (part->text.n > 0)
        add_text(w, "summary_text", "text", part->text);
    buf_add_char(&w->out, ']');
    openai_responses_add_string(&w->out, "encrypted_content", part->signature);
    buf_add_char(&w->out, '}');
}

static void add_call(struct writer *w, const struct part *part)
{
    struct str text = str_trim(part->text);

    if (!part->custom && (text.n == 0 || str_eq(text, STR("null"))))
        text = STR("{}");
    else
        text = str_is_null(part->text) ? STR("") : part->text;
    next_item(w);
    begin_object(w, part->custom ? "custom_tool_call" : "function_call");
    openai_responses_add_string(&w->out, "call_id", part->id);
    openai_responses_add_string(&w->out, "name", part->name);
    openai_responses_add_string(&w->out, part->custom ? "input" : "arguments", text);
    buf_add_char(&w->out, '}');
}

static enum error_code add_assistant(struct writer *w, const struct turn *turn)
{
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_TEXT || part->kind == PART_REFUSAL)
            add_said(w, turn, part);
        else if (part->kind == PART_REASONING)
            add_reasoning(w, part);
        else if (part->kind == PART_TOOL_CALL)
            add_call(w, part);
        else if (part->kind == PART_IMAGE || part->kind == PART_FILE || part->kind == PART_AUDIO)
            translation_warn(w->how->translation, "dropped:assistant_media");
    }
    return OK;
}

static enum error_code add_result(struct writer *w, const struct part *part)
{
    bool media = false;
    struct str text = fit_result_text(part, w->arena, &media);

    next_item(w);
    begin_object(w, part->custom ? "custom_tool_call_output" : "function_call_output");
    openai_responses_add_string(&w->out, "call_id", part->id);
    openai_responses_add_key(&w->out, "output");
    if (media)
        TRY(add_input_parts(w, part->parts));
    else
        json_add_string(&w->out, text);
    if (part->is_error && !part->custom)
        openai_responses_add_string(&w->out, "status", STR("incomplete"));
    buf_add_char(&w->out, '}');
    return OK;
}

static enum error_code add_turn(struct writer *w, const struct turn *turn)
{
    switch (turn->role) {
    case ROLE_SYSTEM:
    case ROLE_DEVELOPER:
        return add_message(w, turn, w->traits->developer ? "developer" : "system");
    case ROLE_USER:
        return add_message(w, turn, "user");
    case ROLE_ASSISTANT:
        return add_assistant(w, turn);
    case ROLE_TOOL:
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_TOOL_RESULT)
                TRY(add_result(w, part));
        }
        return OK;
    case ROLE_COUNT:
        break;
    }
    BUG("no such role");
}

/* The system texts in front, with blank lines between; note: null without one. */
static void add_instructions(struct writer *w, const struct request *request,
                             const struct turn *end, struct str note)
{
    size_t n = 0;

    if (request->turns == end && str_is_null(note))
        return;
    openai_responses_add_key(&w->out, "instructions");
    buf_add_char(&w->out, '"');
    for (const struct turn *turn = request->turns; turn != end; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind != PART_TEXT)
                continue;
            if (n++ > 0)
                buf_add(&w->out, STR("\\n\\n"));
            json_add_escaped(&w->out, part->text);
        }
    }
    if (!str_is_null(note)) {
        if (n > 0)
            buf_add(&w->out, STR("\\n\\n"));
        json_add_escaped(&w->out, note);
    }
    buf_add_char(&w->out, '"');
}

/* --- the body ----------------------------------------------------------------------------- */

static enum error_code write_request(struct writer *w, const struct request *request)
{
    const struct turn *begin = fit_conversation(request);
    struct str model = str_is_null(w->how->model) ? request->model : w->how->model;

    buf_add_char(&w->out, '{');
    openai_responses_add_string(&w->out, "model", model);
    /* There must be some input: nothing but system texts are messages. */
    if (begin == NULL)
        begin = request->turns;
    add_instructions(w, request, begin, openai_responses_write_json_note(request));
    openai_responses_add_key(&w->out, "input");
    buf_add_char(&w->out, '[');
    for (const struct turn *turn = begin; turn != NULL; turn = turn->next)
        TRY(add_turn(w, turn));
    buf_add_char(&w->out, ']');
    TRY(openai_responses_write_params(&w->out, request, w->how, w->arena, w->e));
    buf_add_char(&w->out, '}');
    return OK;
}

static enum error_code write_body(struct request *request, const struct encode_request *how,
                                  struct arena *arena, struct wire *wire, struct error *e)
{
    static const struct fit_rules rules = {
        .system = FIT_SYSTEM_KEEP,
        .ids = FIT_IDS_RESPONSES,
        .names = FIT_NAMES_OPENAI,
        .user_bytes_max = FIT_OPENAI_USER_BYTES_MAX,
        .prefill = true,
    };
    struct str *piece = ARENA_NEW(arena, struct str);
    struct str model = str_is_null(how->model) ? request->model : how->model;
    struct request steered;
    struct request fitted;
    struct writer w = {
        .how = how,
        .traits = traits_of(TRAITS_OPENAI, model),
        .arena = arena,
        .e = e,
    };

    assert(request->full);
    request = steer_request(edits_steer(how), request, &steered);
    TRY(fit_request(request, &rules, how->translation, arena, &fitted, e));
    buf_init(&w.out, arena->bytes_max);
    buf_expect(&w.out, request->source.n + request->source.n / 16);
    enum error_code code = write_request(&w, &fitted);
    bool ok = buf_ok(&w.out);
    *piece = str_copy(arena, buf_str(&w.out));
    buf_fini(&w.out);
    TRY(code);
    if (!ok || arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    wire->body = piece;
    wire->body_n = 1;
    wire->body_bytes = piece->n;
    return OK;
}

enum error_code openai_responses_upstream_encode(struct request *request,
                                                 const struct encode_request *how,
                                                 struct arena *arena, struct wire *ret_wire,
                                                 struct error *e)
{
    struct wire wire = {
        .method = STR("POST"),
        .path = how->operation == OP_COUNT_TOKENS ? STR("/responses/input_tokens")
                                                  : STR("/responses"),
        .query = STR_NULL,
        .content_type = STR("application/json"),
    };

    if (how->same_protocol)
        edit_source(request, how, arena, &wire);
    else
        TRY(write_body(request, how, arena, &wire, e));
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_wire = wire;
    return OK;
}
