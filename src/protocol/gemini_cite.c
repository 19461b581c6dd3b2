/* SPDX-License-Identifier: MIT */
/*
 * Gemini: what an answer says of its own text: where it is from, and how probable it was.
 *
 * What      groundingMetadata and citationMetadata as citations, logprobsResult as log
 *           probabilities, and both the other way (mapping.md, 3 and 4.5).
 * How       Gemini counts bytes, the others characters: of an answer's text so much is remembered
 *           as is needed to say one by the other, that is, the pieces that are not ASCII.
 *           For clients of its own the metadata goes along as it came.
 * Owns      Nothing.
 */
#include "protocol/gemini_priv.h"

#include "text/utf8.h"

enum { WIDE_BYTES_MAX = 256 * 1024, SOURCES_MAX = 4096 };

/* --- bytes and characters ----------------------------------------------------------------- */

static bool is_ascii(struct str text)
{
    unsigned char all = 0;

    for (size_t i = 0; i < text.n; i++)
        all |= (unsigned char)text.p[i];
    return all < 0x80;
}

void gemini_cite_count(struct gemini_offsets *offsets, struct str text, struct arena *arena)
{
    size_t begin = offsets->bytes;

    offsets->bytes += text.n;
    if (LIKELY(is_ascii(text)) || offsets->lost)
        return;
    offsets->kept += text.n;
    offsets->lost = offsets->kept > WIDE_BYTES_MAX;
    struct gemini_wide *wide = ARENA_NEW(arena, struct gemini_wide);
    struct str kept = offsets->lost ? STR("") : str_copy(arena, text);
    if (offsets->lost || arena_overflowed(arena))
        return;
    wide->begin = begin;
    wide->text = kept;
    if (offsets->first == NULL)
        offsets->first = wide;
    else
        offsets->last->next = wide;
    offsets->last = wide;
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* false: not known. So below. */
static bool chars_of(const struct gemini_offsets *offsets, int64_t bytes, int64_t *ret_chars)
{
    int64_t chars = bytes;

    if (offsets->lost || bytes < 0 || (uint64_t)bytes > offsets->bytes)
        return false;
    for (const struct gemini_wide *wide = offsets->first; wide != NULL; wide = wide->next) {
        for (size_t i = 0; i < wide->text.n && wide->begin + i < (uint64_t)bytes; i++)
            chars -= continues(wide->text.p[i]) ? 1 : 0;
    }
    *ret_chars = chars;
    return true;
}

static bool bytes_of(const struct gemini_offsets *offsets, int64_t chars, int64_t *ret_bytes)
{
    int64_t bytes = chars;

    if (offsets->lost || chars < 0 || (uint64_t)chars > offsets->bytes)
        return false;
    for (const struct gemini_wide *wide = offsets->first; wide != NULL; wide = wide->next) {
        /* A continuation counts where it belongs to a character before the end. */
        for (size_t i = 0; i < wide->text.n; i++) {
            size_t at = wide->begin + i;
            bool inside = at < (uint64_t)bytes ||
                          (continues(wide->text.p[i]) && at == (uint64_t)bytes);
            if (!inside)
                break;
            bytes += continues(wide->text.p[i]) ? 1 : 0;
        }
    }
    *ret_bytes = bytes;
    return (uint64_t)bytes <= offsets->bytes;
}

/* --- citations, read ---------------------------------------------------------------------- */

static void cite(struct decode *d, struct gemini_choice *c, struct str json)
{
    decode_text(d, EVENT_CITATION, c->index, c->open, utf8_repair(json, d->options.scratch));
}

/* The candidate's own member, for clients that know it. */
static void cite_own(struct decode *d, struct gemini_choice *c, yyjson_val *candidate,
                     const char *key)
{
    yyjson_val *v = json_get(candidate, str_c(key));

    if (yyjson_obj_size(v) == 0)
        return;
    struct str text = json_text(v, d->options.scratch);
    cite(d, c, str_print(d->options.scratch, "{\"%s\":%.*s}", key, STR_ARG(text)));
}

/* Where an object says a span: startIndex (absent: 0), endIndex. */
static bool read_span(const struct gemini_choice *c, yyjson_val *span, int64_t *ret_begin,
                      int64_t *ret_end)
{
    int64_t begin = 0;
    int64_t end = 0;

    (void)json_to_int64(json_get(span, STR("startIndex")), &begin);
    if (!json_to_int64(json_get(span, STR("endIndex")), &end) || begin > end)
        return false;
    return chars_of(&c->offsets, begin, ret_begin) && chars_of(&c->offsets, end, ret_end);
}

static void cite_url(struct decode *d, struct gemini_choice *c, yyjson_val *span, yyjson_val *of)
{
    struct str url = json_get_str(of, STR("uri"));
    struct str title = json_get_str(of, STR("title"));
    int64_t begin;
    int64_t end;
    struct buf out;

    if (url.n == 0 || !read_span(c, span, &begin, &end))
        return;
    buf_init(&out, d->options.scratch->bytes_max);
    buf_print(&out,
              "{\"type\":\"url_citation\",\"url_citation\":{\"start_index\":%lld,"
              "\"end_index\":%lld,\"title\":",
              (long long)begin, (long long)end);
    json_add_string(&out, title.n > 0 ? title : url);
    buf_add(&out, STR(",\"url\":"));
    json_add_string(&out, url);
    buf_add(&out, STR("}}"));
    cite(d, c, str_copy(d->options.scratch, buf_str(&out)));
    buf_fini(&out);
}

/* The page of a chunk: {"web":{uri,title}}, {"retrievedContext":{…}}. */
static yyjson_val *page_of(yyjson_val *chunk)
{
    yyjson_val *web = json_get(chunk, STR("web"));

    return web != NULL ? web : json_get(chunk, STR("retrievedContext"));
}

static void cite_grounding(struct decode *d, struct gemini_choice *c, yyjson_val *grounding)
{
    yyjson_val *list = json_get(grounding, STR("groundingChunks"));
    size_t n = yyjson_arr_size(list);
    size_t at;
    size_t count;
    size_t inner_at;
    size_t inner_count;
    yyjson_val *v;
    yyjson_val *inner;

    if (n == 0 || n > SOURCES_MAX)
        return;
    yyjson_val **chunks = arena_array(d->options.scratch, n, sizeof(yyjson_val *));
    if (arena_overflowed(d->options.scratch))
        return;
    yyjson_arr_foreach(list, at, count, v)
    {
        chunks[at] = page_of(v);
    }
    yyjson_arr_foreach(json_get(grounding, STR("groundingSupports")), at, count, v)
    {
        yyjson_val *indexes = json_get(v, STR("groundingChunkIndices"));
        yyjson_arr_foreach(indexes, inner_at, inner_count, inner)
        {
            int64_t index;
            if (json_to_int64(inner, &index) && index >= 0 && (uint64_t)index < n)
                cite_url(d, c, json_get(v, STR("segment")), chunks[index]);
        }
    }
}

void gemini_cite_read(struct decode *d, struct gemini_choice *c, yyjson_val *candidate)
{
    yyjson_val *sources = json_get(json_get(candidate, STR("citationMetadata")),
                                   STR("citationSources"));
    size_t at;
    size_t count;
    yyjson_val *source;

    assert(c->open != EVENT_NO_BLOCK && c->open_kind == BLOCK_TEXT);
    cite_own(d, c, candidate, "groundingMetadata");
    cite_own(d, c, candidate, "citationMetadata");
    cite_grounding(d, c, json_get(candidate, STR("groundingMetadata")));
    yyjson_arr_foreach(sources, at, count, source)
    {
        cite_url(d, c, source, source);
    }
}

/* --- citations, written ------------------------------------------------------------------- */

/* The last own member of that name that a choice has; null without one. */
static struct str own_member(const struct collect_choice *choice, struct str key)
{
    struct str found = STR_NULL;

    for (const struct collect_block *b = choice->blocks; b != NULL; b = b->next) {
        for (const struct collect_list *l = b->citations; l != NULL; l = l->next) {
            struct str value = json_object_find(l->text, key);
            if (!str_is_null(value))
                found = value;
        }
    }
    return found;
}

struct citation {
    struct str url;
    struct str title;
    int64_t begin;
    int64_t end;
};

static bool read_citation(struct str json, const struct gemini_offsets *offsets,
                          struct arena *scratch, struct citation *ret_citation)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;
    yyjson_val *root = json_read(json, &options, scratch, &ignored);
    yyjson_val *v = json_get(root, STR("url_citation"));
    int64_t begin = -1;
    int64_t end = -1;

    *ret_citation = (struct citation){
        .url = json_get_str(v, STR("url")),
        .title = json_get_str(v, STR("title")),
        .begin = -1,
    };
    if (json_to_int64(json_get(v, STR("start_index")), &begin) &&
        json_to_int64(json_get(v, STR("end_index")), &end) && begin <= end &&
        bytes_of(offsets, begin, &begin) && bytes_of(offsets, end, &end)) {
        ret_citation->begin = begin;
        ret_citation->end = end;
    }
    return ret_citation->url.n > 0;
}

/* One chunk for each citation, and a support for each that says its place. */
static void write_citation(const struct citation *citation, size_t n, struct buf *chunks,
                           struct buf *supports)
{
    buf_add(chunks, n > 0 ? STR(",{\"web\":{\"uri\":") : STR("{\"web\":{\"uri\":"));
    json_add_string(chunks, citation->url);
    if (citation->title.n > 0) {
        buf_add(chunks, STR(",\"title\":"));
        json_add_string(chunks, citation->title);
    }
    buf_add(chunks, STR("}}"));
    if (citation->begin < 0)
        return;
    buf_print(supports,
              "%s{\"segment\":{\"startIndex\":%lld,\"endIndex\":%lld},"
              "\"groundingChunkIndices\":[%zu]}",
              supports->n > 0 ? "," : "", (long long)citation->begin, (long long)citation->end, n);
}

static void write_urls(const struct collect_choice *choice, const struct gemini_offsets *offsets,
                       struct arena *scratch, struct buf *out)
{
    struct buf chunks;
    struct buf supports;
    struct citation citation;
    size_t n = 0;

    buf_init(&chunks, out->size_max);
    buf_init(&supports, out->size_max);
    for (const struct collect_block *b = choice->blocks; b != NULL; b = b->next) {
        for (const struct collect_list *l = b->citations; l != NULL && n < SOURCES_MAX;
             l = l->next) {
            if (read_citation(l->text, offsets, scratch, &citation))
                write_citation(&citation, n++, &chunks, &supports);
        }
    }
    if (n > 0) {
        gemini_add_key(out, STR("groundingMetadata"));
        buf_add(out, STR("{\"groundingChunks\":["));
        buf_add(out, buf_str(&chunks));
        buf_add_char(out, ']');
        if (supports.n > 0) {
            buf_add(out, STR(",\"groundingSupports\":["));
            buf_add(out, buf_str(&supports));
            buf_add_char(out, ']');
        }
        buf_add_char(out, '}');
    }
    out->full |= !buf_ok(&chunks) || !buf_ok(&supports);
    buf_fini(&chunks);
    buf_fini(&supports);
}

void gemini_cite_write(const struct collect_choice *choice, const struct gemini_offsets *offsets,
                       struct arena *scratch, struct buf *out)
{
    struct str grounding = own_member(choice, STR("groundingMetadata"));
    struct str citations = own_member(choice, STR("citationMetadata"));

    if (!str_is_null(grounding)) {
        gemini_add_key(out, STR("groundingMetadata"));
        buf_add(out, grounding);
    }
    if (!str_is_null(citations)) {
        gemini_add_key(out, STR("citationMetadata"));
        buf_add(out, citations);
    }
    if (str_is_null(grounding) && str_is_null(citations))
        write_urls(choice, offsets, scratch, out);
}

/* --- log probabilities -------------------------------------------------------------------- */

/* "token":…,"logprob":…,"bytes":[…] */
static void add_token(struct buf *out, yyjson_val *v)
{
    struct str token = json_get_str(v, STR("token"));
    struct str logprob = json_number_token(json_get(v, STR("logProbability")));

    buf_add(out, STR("{\"token\":"));
    json_add_string(out, token);
    buf_add(out, STR(",\"logprob\":"));
    buf_add(out, logprob.n > 0 ? logprob : STR("0"));
    buf_add(out, STR(",\"bytes\":["));
    for (size_t i = 0; i < token.n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_int64(out, (unsigned char)token.p[i]);
    }
    buf_add_char(out, ']');
}

static void add_top(struct buf *out, yyjson_val *candidates)
{
    size_t at;
    size_t count;
    yyjson_val *v;

    buf_add(out, STR(",\"top_logprobs\":["));
    yyjson_arr_foreach(candidates, at, count, v)
    {
        if (at > 0)
            buf_add_char(out, ',');
        add_token(out, v);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

struct str gemini_cite_logprobs(yyjson_val *result, struct arena *arena)
{
    yyjson_val *chosen = json_get(result, STR("chosenCandidates"));
    yyjson_val *top = json_get(result, STR("topCandidates"));
    yyjson_arr_iter tops;
    size_t at;
    size_t count;
    yyjson_val *v;
    struct buf out;

    if (yyjson_arr_size(chosen) == 0)
        return STR_NULL;
    (void)yyjson_arr_iter_init(top, &tops);
    bool has_top = yyjson_arr_size(top) > 0;
    buf_init(&out, arena->bytes_max);
    buf_add(&out, STR("{\"content\":["));
    yyjson_arr_foreach(chosen, at, count, v)
    {
        yyjson_val *others = has_top ? yyjson_arr_iter_next(&tops) : NULL;
        if (at > 0)
            buf_add_char(&out, ',');
        add_token(&out, v);
        add_top(&out, json_get(others, STR("candidates")));
        buf_add_char(&out, '}');
    }
    buf_add(&out, STR("]}"));
    struct str text = buf_ok(&out) ? utf8_repair(str_copy(arena, buf_str(&out)), arena) : STR_NULL;
    buf_fini(&out);
    return text;
}

static void write_token(struct buf *out, yyjson_val *v)
{
    struct str logprob = json_number_token(json_get(v, STR("logprob")));

    buf_add(out, STR("{\"token\":"));
    json_add_string(out, json_get_str(v, STR("token")));
    buf_add(out, STR(",\"logProbability\":"));
    buf_add(out, logprob.n > 0 ? logprob : STR("0"));
    buf_add_char(out, '}');
}

static void write_top(struct buf *out, yyjson_val *v)
{
    size_t at;
    size_t count;
    yyjson_val *other;

    buf_add(out, out->n > 0 ? STR(",{\"candidates\":[") : STR("{\"candidates\":["));
    yyjson_arr_foreach(json_get(v, STR("top_logprobs")), at, count, other)
    {
        if (at > 0)
            buf_add_char(out, ',');
        write_token(out, other);
    }
    buf_add(out, STR("]}"));
}

bool gemini_cite_write_logprobs(const struct collect_list *logprobs, struct arena *scratch,
                                struct buf *out)
{
    const struct json_read_options options = {.allow_invalid_utf8 = true};
    struct error ignored;
    struct buf chosen;
    struct buf top;
    size_t at;
    size_t count;
    yyjson_val *v;

    buf_init(&chosen, out->size_max);
    buf_init(&top, out->size_max);
    for (; logprobs != NULL; logprobs = logprobs->next) {
        yyjson_val *root = json_read(logprobs->text, &options, scratch, &ignored);
        yyjson_arr_foreach(json_get(root, STR("content")), at, count, v)
        {
            if (chosen.n > 0)
                buf_add_char(&chosen, ',');
            write_token(&chosen, v);
            write_top(&top, v);
        }
    }
    bool some = chosen.n > 0;
    if (some) {
        gemini_add_key(out, STR("logprobsResult"));
        buf_add(out, STR("{\"topCandidates\":["));
        buf_add(out, buf_str(&top));
        buf_add(out, STR("],\"chosenCandidates\":["));
        buf_add(out, buf_str(&chosen));
        buf_add(out, STR("]}"));
    }
    out->full |= !buf_ok(&chosen) || !buf_ok(&top);
    buf_fini(&chosen);
    buf_fini(&top);
    return some;
}
