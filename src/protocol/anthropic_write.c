/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: the conversation of a request of another protocol, written.
 *
 * How       canon/fit has put it right: what is here is only printed. Results of tools and what the
 *           user says after them are one message. Thoughts go up only with a signature of this
 *           backend's vendor.
 * Owns      Nothing.
 * Not here  Tools and parameters (anthropic_plan.c).
 */
#include "canon/fit.h"
#include "canon/media.h"
#include "protocol/anthropic_priv.h"

static enum error_code refuse(struct anthropic_writer *w, const char *what)
{
    return FAIL(w->e, ERR_UNSUPPORTED, "%s", what);
}

void anthropic_write_cache(struct anthropic_writer *w, struct str cache)
{
    if (str_is_null(cache))
        return;
    if (w->cache_skip > 0) {
        w->cache_skip--;
        return;
    }
    buf_add(w->out, STR(",\"cache_control\":"));
    buf_add(w->out, cache);
}

/* Between the elements of a list. */
static void add_comma(struct buf *out)
{
    if (out->n > 0 && out->p[out->n - 1] != '[')
        buf_add_char(out, ',');
}

/* --- blocks ------------------------------------------------------------------------------- */

static void add_text(struct anthropic_writer *w, struct str text, struct str cache)
{
    buf_add(w->out, STR("{\"type\":\"text\""));
    anthropic_add_member(w->out, "text", text);
    anthropic_write_cache(w, cache);
    buf_add_char(w->out, '}');
}

static void add_source(struct anthropic_writer *w, const struct part *part, struct str type)
{
    buf_add(w->out, STR(",\"source\":{\"type\":"));
    if (part->is_url) {
        buf_add(w->out, STR("\"url\""));
        anthropic_add_member(w->out, "url", part->data);
    } else {
        buf_add(w->out, STR("\"base64\""));
        anthropic_add_member(w->out, "media_type", type);
        anthropic_add_member(w->out, "data", part->data);
    }
    buf_add_char(w->out, '}');
}

static enum error_code add_image(struct anthropic_writer *w, const struct part *part)
{
    static const char *const types[] = {"image/jpeg", "image/png", "image/gif", "image/webp"};
    struct str type = media_type_of(part);
    bool known = part->is_url;

    if (str_is_null(part->data))
        return refuse(w, "an image by the id of a file");
    for (size_t i = 0; i < COUNT_OF(types); i++)
        known |= str_eq(type, str_c(types[i]));
    if (!known)
        return refuse(w, "an image that is neither JPEG, PNG, GIF nor WebP");
    add_comma(w->out);
    buf_add(w->out, STR("{\"type\":\"image\""));
    add_source(w, part, type);
    anthropic_write_cache(w, part->cache);
    buf_add_char(w->out, '}');
    return OK;
}

/* {"type":"document", up to its source. */
static void document_end(struct anthropic_writer *w, const struct part *part)
{
    if (part->name.n > 0)
        anthropic_add_member(w->out, "title", part->name);
    anthropic_write_cache(w, part->cache);
    buf_add_char(w->out, '}');
}

static enum error_code add_document(struct anthropic_writer *w, const struct part *part)
{
    struct str type = media_type_of(part);
    struct str text = part->text;

    if (str_starts(type, STR("image/")))
        return add_image(w, part);
    if (str_is_null(text) && str_is_null(part->data))
        return refuse(w, "a document by the id of a file");
    if (str_is_null(text) && !part->is_url && str_starts(type, STR("text/")))
        text = media_text(part, w->arena);
    if (str_is_null(text) && !part->is_url && !str_eq(type, STR("application/pdf")))
        return refuse(w, "a document that is neither PDF nor text");
    add_comma(w->out);
    buf_add(w->out, STR("{\"type\":\"document\""));
    if (!str_is_null(text)) {
        buf_add(w->out, STR(",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\""));
        anthropic_add_member(w->out, "data", text);
        buf_add_char(w->out, '}');
    } else {
        add_source(w, part, type);
    }
    document_end(w, part);
    return OK;
}

/* Thoughts of another vendor, or of nobody, would be refused. */
static void add_thinking(struct anthropic_writer *w, const struct part *part)
{
    if (part->signature.n == 0 || str_is_null(part->vendor) ||
        !str_eq(part->vendor, w->how->vendor))
        return;
    add_comma(w->out);
    if (part->redacted) {
        buf_add(w->out, STR("{\"type\":\"redacted_thinking\""));
        anthropic_add_member(w->out, "data", part->signature);
    } else {
        buf_add(w->out, STR("{\"type\":\"thinking\""));
        anthropic_add_member(w->out, "thinking", part->text);
        anthropic_add_member(w->out, "signature", part->signature);
    }
    buf_add_char(w->out, '}');
}

static void add_call(struct anthropic_writer *w, const struct part *part)
{
    add_comma(w->out);
    buf_add(w->out, STR("{\"type\":\"tool_use\""));
    anthropic_add_member(w->out, "id", part->id);
    anthropic_add_member(w->out, "name", part->name);
    buf_add(w->out, STR(",\"input\":"));
    buf_add(w->out, part->text);
    anthropic_write_cache(w, part->cache);
    buf_add_char(w->out, '}');
}

static enum error_code add_parts(struct anthropic_writer *w, const struct part *parts);

static enum error_code add_result(struct anthropic_writer *w, const struct part *part)
{
    const struct part *first = part->parts;

    add_comma(w->out);
    buf_add(w->out, STR("{\"type\":\"tool_result\""));
    anthropic_add_member(w->out, "tool_use_id", part->id);
    if (first != NULL && first->next == NULL && first->kind == PART_TEXT &&
        str_is_null(first->cache)) {
        if (first->text.n > 0)
            anthropic_add_member(w->out, "content", first->text);
    } else if (first != NULL) {
        buf_add(w->out, STR(",\"content\":["));
        TRY(add_parts(w, first));
        buf_add_char(w->out, ']');
    }
    if (part->is_error)
        buf_add(w->out, STR(",\"is_error\":true"));
    anthropic_write_cache(w, part->cache);
    buf_add_char(w->out, '}');
    return OK;
}

static enum error_code add_part(struct anthropic_writer *w, const struct part *part)
{
    switch (part->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        if (part->text.n == 0)
            return OK;
        add_comma(w->out);
        add_text(w, part->text, part->cache);
        return OK;
    case PART_IMAGE:
        return add_image(w, part);
    case PART_FILE:
        return add_document(w, part);
    case PART_AUDIO:
        return refuse(w, "audio");
    case PART_REASONING:
        add_thinking(w, part);
        return OK;
    case PART_TOOL_CALL:
        add_call(w, part);
        return OK;
    case PART_TOOL_RESULT:
        return add_result(w, part);
    case PART_VENDOR:
        return OK;
    case PART_KIND_COUNT:
        break;
    }
    BUG("no such kind of part");
}

static enum error_code add_parts(struct anthropic_writer *w, const struct part *parts)
{
    for (const struct part *part = parts; part != NULL; part = part->next)
        TRY(add_part(w, part));
    return OK;
}

/* --- messages ----------------------------------------------------------------------------- */

/* The text that is all a turn says, so that it can be a plain string; null: it is more. */
static struct str only_text(const struct turn *turn)
{
    const struct part *part = turn->parts;
    bool alone = part != NULL && part->next == NULL && part->kind == PART_TEXT;

    return alone && str_is_null(part->cache) ? part->text : STR_NULL;
}

/* An assistant's text that stands last must not end in blanks. */
static struct str trim_end(struct str text)
{
    while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\n' ||
                          text.p[text.n - 1] == '\r' || text.p[text.n - 1] == '\t'))
        text.n--;
    return text;
}

/* An assistant can only speak, think and call. */
static enum error_code add_assistant_parts(struct anthropic_writer *w, const struct turn *turn)
{
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_IMAGE || part->kind == PART_FILE || part->kind == PART_AUDIO) {
            translation_warn(w->t, "dropped:assistant_media");
            continue;
        }
        if (part->kind == PART_TEXT && part->next == NULL && turn->next == NULL) {
            add_comma(w->out);
            add_text(w, trim_end(part->text), part->cache);
            continue;
        }
        TRY(add_part(w, part));
    }
    return OK;
}

/* Returns the last turn that the message holds: a user's, behind results, is of the same one. */
static enum error_code add_message(struct anthropic_writer *w, const struct turn **turn)
{
    const struct turn *t = *turn;
    bool assistant = t->role == ROLE_ASSISTANT;
    bool more = t->role == ROLE_TOOL && t->next != NULL && t->next->role == ROLE_USER;
    struct str text = more ? STR_NULL : only_text(t);
    size_t begin = w->out->n;

    add_comma(w->out);
    buf_add(w->out, assistant ? STR("{\"role\":\"assistant\",\"content\":")
                              : STR("{\"role\":\"user\",\"content\":"));
    if (!str_is_null(text)) {
        json_add_string(w->out, assistant && t->next == NULL ? trim_end(text) : text);
        buf_add_char(w->out, '}');
        return OK;
    }
    buf_add_char(w->out, '[');
    size_t empty = w->out->n;
    TRY(assistant ? add_assistant_parts(w, t) : add_parts(w, t->parts));
    if (more) {
        *turn = t->next;
        TRY(add_parts(w, t->next->parts));
    }
    if (w->out->n == empty && buf_ok(w->out)) {
        /* Nothing of it can be said here. */
        w->out->n = begin;
        return OK;
    }
    buf_add(w->out, STR("]}"));
    return OK;
}

static size_t count_system(const struct anthropic_writer *w, const struct turn *conversation)
{
    size_t n = 0;

    for (const struct turn *turn = w->request->turns; turn != conversation; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next)
            n += part->kind != PART_TEXT ? 0 : str_is_null(part->cache) ? 1 : 2;
    }
    return n;
}

/* One text alone is a plain string. */
static void add_system(struct anthropic_writer *w, const struct turn *conversation)
{
    size_t n = count_system(w, conversation);
    bool plain = n + (str_is_null(w->note) ? 0 : 1) == 1;

    if (n == 0 && str_is_null(w->note))
        return;
    buf_add(w->out, plain ? STR(",\"system\":") : STR(",\"system\":["));
    for (const struct turn *turn = w->request->turns; turn != conversation; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind != PART_TEXT)
                continue;
            if (plain) {
                json_add_string(w->out, part->text);
                return;
            }
            add_comma(w->out);
            add_text(w, part->text, part->cache);
        }
    }
    if (plain) {
        json_add_string(w->out, w->note);
        return;
    }
    if (!str_is_null(w->note)) {
        add_comma(w->out);
        add_text(w, w->note, STR_NULL);
    }
    buf_add_char(w->out, ']');
}

enum error_code anthropic_write_conversation(struct anthropic_writer *w)
{
    const struct turn *conversation = fit_conversation(w->request);

    add_system(w, conversation);
    buf_add(w->out, STR(",\"messages\":["));
    size_t empty = w->out->n;
    for (const struct turn *turn = conversation; turn != NULL; turn = turn->next)
        TRY(add_message(w, &turn));
    if (conversation != NULL && w->out->n == empty && buf_ok(w->out))
        return FAIL(w->e, ERR_BAD_REQUEST,
                    "the conversation has nothing but what the backend's protocol cannot say");
    buf_add_char(w->out, ']');
    return OK;
}
