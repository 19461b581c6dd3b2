/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: an answer's usage.
 *
 * What      Reads the counts from any place where vendors put them (quirk 13), as they are meant;
 *           writes them again where a client that knows the protocol alone would misread them.
 * How       Counts are put right by what they add up to (mapping.md, 10); where that says nothing,
 *           by the dialect.
 * Owns      Nothing.
 * Not here  The same of our own chunks: openai_chat_add_usage.
 */
#include "protocol/openai_chat_decode_priv.h"

/* A count, or -1. Vendors' sums are guesses at times, ours must not overflow. */
static inline int64_t count_of(yyjson_val *v)
{
    const int64_t count_max = (int64_t)1 << 50;
    int64_t value;

    if (v == NULL || !json_to_int64(v, &value) || value < 0)
        return -1;
    return value > count_max ? count_max : value;
}

static inline int64_t read_count(const struct json_keys *keys, struct str key)
{
    return count_of(json_keys_get(keys, key));
}

/* Whether reasoning tokens stand beside the others, not within. */
static bool excludes_reasoning(const struct usage *usage, const struct dialect *dialect)
{
    if (usage->reasoning <= 0 || usage->output < 0)
        return false;
    if (usage->reasoning > usage->output)
        return true;
    if (usage->input >= 0 && usage->total == usage->input + usage->output + usage->reasoning)
        return true;
    bool adds_up = usage->input >= 0 && usage->total == usage->input + usage->output;
    return dialect != NULL && dialect->usage_reasoning_excluded && !adds_up;
}

/* Vendors that count reasoning tokens beside the others, not within; and that say more cached
 * tokens than the prompt had: all of it then was, and the total stays (mapping.md, 10), unless the
 * vendor counts those aside. */
static void correct(struct usage *usage, const struct dialect *dialect)
{
    bool corrected = false;

    if (usage->output < 0 && usage->reasoning > 0) {
        usage->output = usage->reasoning;
        corrected = true;
    } else if (excludes_reasoning(usage, dialect)) {
        usage->output += usage->reasoning;
        corrected = true;
    }
    if (usage->input < 0 && usage->cached > 0) {
        usage->input = usage->cached;
        corrected = true;
    }
    if (usage->input >= 0 && usage->cached > usage->input) {
        if (dialect != NULL && dialect->usage_cached_excluded) {
            usage->input += usage->cached;
            corrected = true;
        } else {
            usage->cached = usage->input;
        }
    }
    if (usage->input >= 0 && usage->output >= 0 && (corrected || usage->total < 0))
        usage->total = usage->input + usage->output;
}

/* What the protocol's own members say. */
static struct usage own_counts(const struct json_keys *keys, const struct json_keys *prompt)
{
    yyjson_val *completion = json_keys_get(keys, STR("completion_tokens_details"));

    return (struct usage){
        .input = read_count(keys, STR("prompt_tokens")),
        .output = read_count(keys, STR("completion_tokens")),
        .total = read_count(keys, STR("total_tokens")),
        .cached = read_count(prompt, STR("cached_tokens")),
        .cache_written = read_count(prompt, STR("cache_write_tokens")),
        .reasoning = count_of(json_get(completion, STR("reasoning_tokens"))),
    };
}

/* What it does not say, from where vendors say it. */
static void add_others(const struct json_keys *keys, const struct json_keys *prompt,
                       struct usage *usage)
{
    if (usage->cached < 0)
        usage->cached = read_count(keys, STR("prompt_cache_hit_tokens"));
    if (usage->cached < 0)
        usage->cached = read_count(keys, STR("cached_tokens"));
    if (usage->cached < 0)
        usage->cached = read_count(keys, STR("num_cached_tokens"));
    if (usage->cached < 0)
        usage->cached = read_count(keys, STR("cache_read_input_tokens"));
    if (usage->cache_written < 0)
        usage->cache_written = read_count(prompt, STR("cache_creation_input_tokens"));
    if (usage->cache_written < 0)
        usage->cache_written = read_count(keys, STR("cache_creation_input_tokens"));
    if (usage->reasoning < 0)
        usage->reasoning = read_count(keys, STR("reasoning_tokens"));
}

/* Whether who reads the protocol's own members sees something else. */
static bool is_misread(const struct usage *own, const struct usage *usage)
{
    return own->input != usage->input || usage->input < 0 || own->output != usage->output ||
           usage->output < 0 || own->total != usage->total || usage->total < 0 ||
           (usage->cached > 0 && own->cached != usage->cached) ||
           (usage->reasoning > 0 && own->reasoning != usage->reasoning);
}

/* What v says; false: nothing. */
static bool read_from(yyjson_val *v, const struct dialect *dialect, struct usage *ret_usage,
                      bool *ret_misread)
{
    if (!yyjson_is_obj(v))
        return false;
    struct json_keys keys = json_keys_of(v);
    struct json_keys prompt = json_keys_of(json_keys_get(&keys, STR("prompt_tokens_details")));
    const struct usage own = own_counts(&keys, &prompt);
    *ret_usage = own;
    if (own.input < 0 && own.output < 0 && own.total < 0)
        return false;
    add_others(&keys, &prompt, ret_usage);
    correct(ret_usage, dialect);
    assert(ret_usage->reasoning <= ret_usage->output || ret_usage->output < 0);
    assert(ret_usage->cached <= ret_usage->input || ret_usage->input < 0);
    *ret_misread = is_misread(&own, ret_usage);
    return true;
}

enum openai_chat_usage_verdict openai_chat_usage_read(const struct json_keys *root,
                                                      const struct dialect *dialect,
                                                      struct usage *ret_usage)
{
    yyjson_val *own = json_keys_get(root, STR("usage"));
    size_t at;
    size_t count;
    yyjson_val *choice;
    bool misread;

    if (read_from(own, dialect, ret_usage, &misread))
        return misread ? OPENAI_CHAT_USAGE_MISREAD : OPENAI_CHAT_USAGE_FINE;
    /* Groq says it once more in its place, where it was asked for. */
    if (read_from(json_get(json_keys_get(root, STR("x_groq")), STR("usage")), dialect, ret_usage,
                  &misread))
        return OPENAI_CHAT_USAGE_FINE;
    yyjson_arr_foreach(json_keys_get(root, STR("choices")), at, count, choice)
    {
        if (read_from(json_get(choice, STR("usage")), dialect, ret_usage, &misread))
            return OPENAI_CHAT_USAGE_MISREAD;
    }
    return yyjson_is_obj(own) ? OPENAI_CHAT_USAGE_EMPTY : OPENAI_CHAT_USAGE_NONE;
}

/* --- writing ------------------------------------------------------------------------------ */

static void write_count(struct buf *out, const char *key, int64_t count)
{
    openai_chat_add_key(out, str_c(key));
    buf_add_int64(out, count < 0 ? 0 : count);
}

/* An object's members but for those keys, behind the '{' that out has. */
static void copy_others(struct buf *out, struct str object, const char *const *but, size_t n,
                        struct arena *arena)
{
    struct json_member member;
    size_t cursor = 0;

    if (object.n == 0 || json_kind_of(object) != JSON_OBJECT)
        return;
    while (json_object_next(object, &cursor, arena, &member)) {
        bool left_out = false;
        for (size_t i = 0; i < n && !left_out; i++)
            left_out = str_eq(member.key, str_c(but[i]));
        if (left_out)
            continue;
        openai_chat_add_key(out, member.key);
        buf_add(out, member.value);
    }
}

static void write_detail(struct buf *out, struct str usage, const char *key, const char *inner,
                         int64_t count, struct arena *arena)
{
    struct str details = usage.n == 0 ? STR_NULL : json_object_find(usage, str_c(key));

    if (count <= 0) {
        if (details.n > 0) {
            openai_chat_add_key(out, str_c(key));
            buf_add(out, details);
        }
        return;
    }
    openai_chat_add_key(out, str_c(key));
    buf_add_char(out, '{');
    copy_others(out, details, &inner, 1, arena);
    write_count(out, inner, count);
    buf_add_char(out, '}');
}

void openai_chat_usage_write(struct buf *out, struct str source, const struct usage *usage,
                             struct arena *arena)
{
    static const char *const own[] = {"prompt_tokens", "completion_tokens", "total_tokens",
                                      "prompt_tokens_details", "completion_tokens_details"};
    int64_t input = usage->input < 0 ? 0 : usage->input;
    int64_t output = usage->output < 0 ? 0 : usage->output;

    if (source.n == 0 || json_kind_of(source) != JSON_OBJECT)
        source = STR_NULL;
    buf_add_char(out, '{');
    write_count(out, "prompt_tokens", input);
    write_count(out, "completion_tokens", output);
    write_count(out, "total_tokens", usage->total < 0 ? input + output : usage->total);
    write_detail(out, source, "prompt_tokens_details", "cached_tokens", usage->cached, arena);
    write_detail(out, source, "completion_tokens_details", "reasoning_tokens", usage->reasoning,
                 arena);
    copy_others(out, source, own, COUNT_OF(own), arena);
    buf_add_char(out, '}');
}
