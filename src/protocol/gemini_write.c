/* SPDX-License-Identifier: MIT */
/*
 * Gemini: a request of another protocol as a body of this one.
 *
 * What      The checklist of gemini.md, 12, and the policies of mapping.md, 3 to 5.
 * How       canon/fit puts the conversation into the form that the API takes; here it is printed.
 *           System texts are systemInstruction, or the beginning of the first user content where
 *           the model takes none. A signature stands on the part that it was made for, thoughts
 *           themselves do not go back; a thought's signature stands on what follows it.
 * Owns      Nothing: the body lies in the arena.
 * Not here  The path (gemini_upstream.c); generationConfig (gemini_config.c).
 */
#include "canon/fit.h"
#include "canon/media.h"
#include "canon/schema.h"
#include "canon/traits.h"
#include "protocol/edits.h"
#include "protocol/gemini_priv.h"

enum { TOOLS_MAX = 512 };

/* What Google takes in the place of a signature that got lost (gemini.md, 5.1). */
#define NO_SIGNATURE "skip_thought_signature_validator"

static const struct fit_rules rules = {
    .system = FIT_SYSTEM_USER,
    .ids = FIT_IDS_ANY,
    .names = FIT_NAMES_GEMINI,
    .merge_roles = true,
    .user_first = true,
    .results_as_calls = true,
    .results_one_turn = true,
    .args_object = true,
    .wrap_custom = true,
    .prefill = true,
    .name_of_result = true,
    .tools_max = TOOLS_MAX,
};

/* --- parts -------------------------------------------------------------------------------- */

/* Between elements of a list. */
static void add_comma(struct buf *out)
{
    if (out->n > 0 && out->p[out->n - 1] != '[')
        buf_add_char(out, ',');
}

static void add_text_part(struct gemini_writer *w, struct str text, struct str signature)
{
    add_comma(&w->out);
    buf_add_char(&w->out, '{');
    gemini_add_string(&w->out, STR("text"), text);
    if (signature.n > 0)
        gemini_add_string(&w->out, STR("thoughtSignature"), signature);
    buf_add_char(&w->out, '}');
}

/* Only of the vendor that is asked. */
static struct str own_signature(const struct gemini_writer *w, const struct part *part)
{
    if (part->signature.n == 0 || str_is_null(part->vendor) ||
        !str_eq(part->vendor, w->how->vendor))
        return STR_NULL;
    return part->signature;
}

/* URLs that Google reads itself. */
static bool is_readable(struct str url)
{
    static const char *const heads[] = {
        "gs://",
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://youtu.be/",
    };

    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        if (str_starts(url, str_c(heads[i])))
            return true;
    }
    return false;
}

static struct str type_of(struct gemini_writer *w, const struct part *part)
{
    struct str type = media_type_of(part);

    if (part->kind == PART_AUDIO && str_find_char(part->media_type, '/', 0) == SIZE_MAX)
        return part->media_type.n == 0
                   ? STR("audio/wav")
                   : str_print(w->arena, "audio/%.*s", STR_ARG(part->media_type));
    if (type.n > 0 || part->is_url)
        return type;
    return part->kind == PART_IMAGE ? STR("image/png") : STR("application/octet-stream");
}

/* {"mimeType":…,"data":…} or {"mimeType":…,"fileUri":…} as members of an open object. */
static enum error_code add_media(struct gemini_writer *w, const struct part *part)
{
    const char *what = part->kind == PART_IMAGE   ? "an image"
                       : part->kind == PART_AUDIO ? "sound"
                                                  : "a file";
    struct str type = type_of(w, part);

    if (str_is_null(part->data))
        return FAIL(w->e, ERR_UNSUPPORTED, "%s of another vendor's file store", what);
    if (part->is_url && !is_readable(part->data))
        return FAIL(w->e, ERR_UNSUPPORTED, "%s by its URL (only data, and files of Google's)",
                    what);
    gemini_add_key(&w->out, part->is_url ? STR("fileData") : STR("inlineData"));
    buf_add_char(&w->out, '{');
    if (type.n > 0)
        gemini_add_string(&w->out, STR("mimeType"), type);
    gemini_add_string(&w->out, part->is_url ? STR("fileUri") : STR("data"), part->data);
    buf_add_char(&w->out, '}');
    return OK;
}

static struct str resolution_of(const struct part *part)
{
    if (str_eq(part->detail, STR("low")))
        return STR("MEDIA_RESOLUTION_LOW");
    if (str_eq(part->detail, STR("high")) || str_eq(part->detail, STR("original")))
        return STR("MEDIA_RESOLUTION_HIGH");
    return STR_NULL;
}

/* With its mediaResolution where the model knows one of each part (Gemini 3). */
static enum error_code add_media_part(struct gemini_writer *w, const struct part *part,
                                      struct str signature)
{
    struct str resolution = part->kind == PART_IMAGE ? resolution_of(part) : STR_NULL;

    if (part->kind == PART_FILE && str_is_null(part->data) && !str_is_null(part->text)) {
        struct str header = part->name.n > 0 ? str_print(w->arena, "%.*s\n\n", STR_ARG(part->name))
                                             : STR("");
        add_text_part(w, str_print(w->arena, "%.*s%.*s", STR_ARG(header), STR_ARG(part->text)),
                      signature);
        return OK;
    }
    add_comma(&w->out);
    buf_add_char(&w->out, '{');
    TRY(add_media(w, part));
    if (resolution.n > 0 && w->traits->signatures_needed) {
        gemini_add_key(&w->out, STR("mediaResolution"));
        buf_add_char(&w->out, '{');
        gemini_add_string(&w->out, STR("level"), resolution);
        buf_add_char(&w->out, '}');
    }
    if (signature.n > 0)
        gemini_add_string(&w->out, STR("thoughtSignature"), signature);
    buf_add_char(&w->out, '}');
    return OK;
}

static void add_call_part(struct gemini_writer *w, const struct part *part, struct str signature)
{
    add_comma(&w->out);
    buf_add(&w->out, STR("{\"functionCall\":{"));
    if (w->traits->call_ids)
        gemini_add_string(&w->out, STR("id"), part->id);
    gemini_add_string(&w->out, STR("name"), part->name);
    gemini_add_key(&w->out, STR("args"));
    buf_add(&w->out, part->text);
    buf_add_char(&w->out, '}');
    if (signature.n > 0)
        gemini_add_string(&w->out, STR("thoughtSignature"), signature);
    buf_add_char(&w->out, '}');
}

/* --- results ------------------------------------------------------------------------------ */

static bool is_media(const struct part *part)
{
    return part->kind == PART_IMAGE || part->kind == PART_AUDIO || part->kind == PART_FILE;
}

static bool has_media(const struct part *result)
{
    for (const struct part *part = result->parts; part != NULL; part = part->next) {
        if (is_media(part))
            return true;
    }
    return false;
}

/* Gemini 3 takes media as parts of the result; before it they follow as the user's. */
static enum error_code add_result_media(struct gemini_writer *w, const struct part *result)
{
    if (!w->traits->signatures_needed || !has_media(result))
        return OK;
    gemini_add_key(&w->out, STR("parts"));
    buf_add_char(&w->out, '[');
    for (const struct part *part = result->parts; part != NULL; part = part->next) {
        if (!is_media(part))
            continue;
        add_comma(&w->out);
        buf_add_char(&w->out, '{');
        TRY(add_media(w, part));
        buf_add_char(&w->out, '}');
    }
    buf_add_char(&w->out, ']');
    return OK;
}

static enum error_code add_result(struct gemini_writer *w, const struct part *result)
{
    add_comma(&w->out);
    buf_add(&w->out, STR("{\"functionResponse\":{"));
    if (w->traits->call_ids)
        gemini_add_string(&w->out, STR("id"), result->id);
    gemini_add_string(&w->out, STR("name"), result->name);
    gemini_add_key(&w->out, STR("response"));
    fit_add_result(result, w->arena, &w->out);
    TRY(add_result_media(w, result));
    buf_add(&w->out, STR("}}"));
    return OK;
}

/* The media of a turn's results, as parts of the user content behind it. */
static enum error_code add_late_media(struct gemini_writer *w, const struct turn *results)
{
    if (w->traits->signatures_needed)
        return OK;
    for (const struct part *result = results->parts; result != NULL; result = result->next) {
        for (const struct part *part = result->parts; part != NULL; part = part->next) {
            if (is_media(part))
                TRY(add_media_part(w, part, STR_NULL));
        }
    }
    return OK;
}

static bool has_late_media(const struct gemini_writer *w, const struct turn *results)
{
    bool some = false;

    for (const struct part *result = results->parts; result != NULL; result = result->next)
        some |= has_media(result);
    return some && !w->traits->signatures_needed;
}

/* --- turns -------------------------------------------------------------------------------- */

static void content_begin(struct gemini_writer *w, const char *role)
{
    add_comma(&w->out);
    buf_add(&w->out, STR("{\"role\":\""));
    buf_add(&w->out, str_c(role));
    buf_add(&w->out, STR("\",\"parts\":["));
}

static void content_end(struct gemini_writer *w)
{
    buf_add(&w->out, STR("]}"));
}

static enum error_code add_results(struct gemini_writer *w, const struct turn *turn)
{
    content_begin(w, "user");
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_TOOL_RESULT)
            TRY(add_result(w, part));
    }
    content_end(w);
    if (!has_late_media(w, turn))
        return OK;
    /* Contents of one role in a row are one. */
    if (turn->next != NULL && turn->next->role == ROLE_USER) {
        w->late = turn;
        return OK;
    }
    content_begin(w, "user");
    TRY(add_late_media(w, turn));
    content_end(w);
    return OK;
}

/* The system's texts as parts, and what we have to say ourselves. */
static void add_system_parts(struct gemini_writer *w)
{
    const struct turn *end = fit_conversation(w->request);

    for (const struct turn *turn = w->request->turns; turn != end; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_TEXT && part->text.n > 0)
                add_text_part(w, part->text, STR_NULL);
        }
    }
    if (w->note.n > 0)
        add_text_part(w, w->note, STR_NULL);
}

static enum error_code add_user(struct gemini_writer *w, const struct turn *turn)
{
    content_begin(w, "user");
    if (w->traits->system_refused && !w->system_said)
        add_system_parts(w);
    w->system_said = true;
    if (w->late != NULL)
        TRY(add_late_media(w, w->late));
    w->late = NULL;
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (is_media(part))
            TRY(add_media_part(w, part, STR_NULL));
        else if (part->kind == PART_TEXT || part->kind == PART_REFUSAL)
            add_text_part(w, part->text, STR_NULL);
    }
    content_end(w);
    return OK;
}

/* The signature of a part: its own, that of the thought before it, or the one that stands for a
 * lost one. */
static struct str signature_of(struct gemini_writer *w, const struct part *part, bool first_call,
                               struct str *before)
{
    struct str signature = own_signature(w, part);

    if (signature.n == 0)
        signature = *before;
    *before = STR_NULL;
    if (signature.n == 0 && part->kind == PART_TOOL_CALL && first_call && w->current &&
        w->traits->signatures_needed)
        return STR(NO_SIGNATURE);
    return signature;
}

static enum error_code add_model_part(struct gemini_writer *w, const struct part *part,
                                      struct str signature)
{
    if (part->kind == PART_TOOL_CALL) {
        add_call_part(w, part, signature);
    } else if (is_media(part)) {
        TRY(add_media_part(w, part, signature));
    } else if (part->kind == PART_TEXT || part->kind == PART_REFUSAL) {
        if (part->text.n > 0 || signature.n > 0)
            add_text_part(w, str_is_null(part->text) ? STR("") : part->text, signature);
    }
    return OK;
}

/* Whether the turn has a part that is written. */
static bool says_something(const struct gemini_writer *w, const struct turn *turn)
{
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (own_signature(w, part).n > 0 || part->kind == PART_TOOL_CALL || is_media(part) ||
            ((part->kind == PART_TEXT || part->kind == PART_REFUSAL) && part->text.n > 0))
            return true;
    }
    return false;
}

static enum error_code add_model(struct gemini_writer *w, const struct turn *turn)
{
    struct str before = STR_NULL;
    bool first_call = true;

    if (!says_something(w, turn))
        return OK;
    content_begin(w, "model");
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_REASONING) {
            struct str signature = own_signature(w, part);
            before = signature.n > 0 ? signature : before;
            continue;
        }
        struct str signature = signature_of(w, part, first_call, &before);
        first_call &= part->kind != PART_TOOL_CALL;
        TRY(add_model_part(w, part, signature));
    }
    if (before.n > 0)
        add_text_part(w, STR(""), before);
    content_end(w);
    return OK;
}

static enum error_code add_contents(struct gemini_writer *w)
{
    const struct turn *last_user = NULL;
    const struct turn *first = fit_conversation(w->request);

    for (const struct turn *turn = first; turn != NULL; turn = turn->next) {
        if (turn->role == ROLE_USER)
            last_user = turn;
    }
    w->current = last_user == NULL;
    gemini_add_key(&w->out, STR("contents"));
    buf_add_char(&w->out, '[');
    for (const struct turn *turn = first; turn != NULL; turn = turn->next) {
        if (turn->role == ROLE_ASSISTANT)
            TRY(add_model(w, turn));
        else if (turn->role == ROLE_TOOL)
            TRY(add_results(w, turn));
        else
            TRY(add_user(w, turn));
        w->current |= turn == last_user;
    }
    buf_add_char(&w->out, ']');
    return OK;
}

static void add_system(struct gemini_writer *w)
{
    size_t begin = w->out.n;

    if (w->traits->system_refused)
        return;
    gemini_add_key(&w->out, STR("systemInstruction"));
    buf_add(&w->out, STR("{\"parts\":["));
    size_t empty = w->out.n;
    add_system_parts(w);
    if (w->out.n == empty)
        w->out.n = begin;
    else
        content_end(w);
}

/* --- tools -------------------------------------------------------------------------------- */

static void add_tool(struct gemini_writer *w, const struct tool *tool)
{
    enum schema_target target = w->traits->json_schema ? SCHEMA_GEMINI_JSON : SCHEMA_GEMINI;
    struct str schema = schema_fit(tool->schema, target, w->arena);

    add_comma(&w->out);
    buf_add_char(&w->out, '{');
    gemini_add_string(&w->out, STR("name"), tool->name);
    gemini_add_string(&w->out, STR("description"),
                      tool->description.n > 0 ? tool->description : tool->name);
    if (!str_is_null(schema)) {
        gemini_add_key(&w->out,
                       w->traits->json_schema ? STR("parametersJsonSchema") : STR("parameters"));
        buf_add(&w->out, schema);
    }
    buf_add_char(&w->out, '}');
}

static void add_choice(struct gemini_writer *w)
{
    const struct request *request = w->request;
    const char *mode = "AUTO";
    bool names = false;

    switch (request->tool_choice) {
    case TOOL_CHOICE_ABSENT:
        return;
    case TOOL_CHOICE_AUTO:
        break;
    case TOOL_CHOICE_NONE:
        mode = "NONE";
        break;
    case TOOL_CHOICE_REQUIRED:
        mode = "ANY";
        break;
    case TOOL_CHOICE_NAMED:
        mode = "ANY";
        names = true;
        break;
    case TOOL_CHOICE_SUBSET:
        mode = request->tool_choice_required ? "ANY" : "VALIDATED";
        names = true;
        break;
    case TOOL_CHOICE_OTHER:
        translation_warn(w->t, "dropped:tool_choice");
        return;
    }
    gemini_add_key(&w->out, STR("toolConfig"));
    buf_print(&w->out, "{\"functionCallingConfig\":{\"mode\":\"%s\"", mode);
    for (size_t i = 0; names && i < request->tool_choice_names_n; i++) {
        buf_add(&w->out, i == 0 ? STR(",\"allowedFunctionNames\":[") : STR(","));
        json_add_string(&w->out, request->tool_choice_names[i]);
    }
    buf_add(&w->out, names && request->tool_choice_names_n > 0 ? STR("]}}") : STR("}}"));
}

static void add_tools(struct gemini_writer *w)
{
    if (w->request->tools == NULL)
        return;
    gemini_add_key(&w->out, STR("tools"));
    buf_add(&w->out, STR("[{\"functionDeclarations\":["));
    for (const struct tool *tool = w->request->tools; tool != NULL; tool = tool->next)
        add_tool(w, tool);
    buf_add(&w->out, STR("]}]"));
    add_choice(w);
    if (w->request->params.parallel_tool_calls == 0 && !w->request->functions)
        translation_warn(w->t, "dropped:parallel_tool_calls");
}

/* --- the body ----------------------------------------------------------------------------- */

static enum error_code write_members(struct gemini_writer *w)
{
    TRY(gemini_config_note(w));
    TRY(add_contents(w));
    add_system(w);
    add_tools(w);
    if (w->how->operation != OP_COUNT_TOKENS)
        gemini_config_write(w);
    return OK;
}

static enum error_code write_body(struct gemini_writer *w, struct str model)
{
    bool counting = w->how->operation == OP_COUNT_TOKENS;

    buf_add_char(&w->out, '{');
    if (counting) {
        /* countTokens knows of tools and system texts only in this form. */
        buf_add(&w->out, STR("\"generateContentRequest\":{\"model\":"));
        json_add_string(&w->out, str_print(w->arena, "models/%.*s", STR_ARG(model)));
    }
    TRY(write_members(w));
    buf_add(&w->out, counting ? STR("}}") : STR("}"));
    return OK;
}

enum error_code gemini_write(struct request *request, const struct encode_request *how,
                             struct arena *arena, struct str *ret_body, struct error *e)
{
    struct str model = gemini_model_bare(str_is_null(how->model) ? request->model : how->model);
    struct request steered;
    struct request fitted;
    struct gemini_writer w = {
        .how = how,
        .traits = traits_of(TRAITS_GEMINI, model),
        .t = how->translation,
        .arena = arena,
        .e = e,
    };

    assert(request->full);
    request = steer_request(edits_steer(how), request, &steered);
    TRY(fit_request(request, &rules, how->translation, arena, &fitted, e));
    w.request = &fitted;
    buf_init(&w.out, arena->bytes_max);
    buf_set_budget(&w.out, arena->budget);
    buf_expect(&w.out, request->source.n + request->source.n / 16);
    enum error_code code = write_body(&w, model);
    bool ok = buf_ok(&w.out);
    *ret_body = str_copy(arena, buf_str(&w.out));
    buf_tell(&w.out, arena);
    buf_fini(&w.out);
    if (!ok || arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    return code;
}
