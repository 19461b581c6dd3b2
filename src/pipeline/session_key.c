/* SPDX-License-Identifier: MIT */
#include "pipeline/session_key.h"

#include <xxhash.h>

enum { UUID_SIZE = 36, DIGEST_DIGITS = 32, TEXTS_MAX = 8 };

static bool is_legal(struct str id)
{
    if (id.n == 0 || id.n > SESSION_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        char lower = (char)(c | 0x20);
        if ((lower < 'a' || lower > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' &&
            c != ':' && c != '-')
            return false;
    }
    return true;
}

static struct str write_digest(XXH128_hash_t digest, char *to)
{
    static const char digits[] = "0123456789abcdef";
    XXH128_canonical_t bytes;

    XXH128_canonicalFromHash(&bytes, digest);
    for (size_t i = 0; i < sizeof(bytes.digest); i++) {
        to[2 * i] = digits[bytes.digest[i] >> 4];
        to[2 * i + 1] = digits[bytes.digest[i] & 15];
    }
    return str_of(to, DIGEST_DIGITS);
}

struct str session_key_legal(struct str given, struct session_key_room *room)
{
    assert(given.n > 0);
    if (LIKELY(is_legal(given)))
        return given;
    return write_digest(XXH3_128bits(given.p, given.n), room->p);
}

struct str session_key_of_head(const struct intake *intake, struct session_key_room *room)
{
    if (intake->session_header.n > 0)
        return session_key_legal(intake->session_header, room);
    if (intake->session_cookie.n > 0)
        return session_key_legal(intake->session_cookie, room);
    if (intake->session_agent.n > 0)
        return session_key_legal(intake->session_agent, room);
    return STR_NULL;
}

/* 8-4-4-4-12 hexadecimal digits, and no more of them around. */
static bool is_uuid_at(struct str text, size_t at)
{
    for (size_t i = 0; i < UUID_SIZE; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text.p[at + i] != '-' : str_hex_digit(text.p[at + i]) < 0)
            return false;
    }
    return (at == 0 || str_hex_digit(text.p[at - 1]) < 0) &&
           (at + UUID_SIZE == text.n || str_hex_digit(text.p[at + UUID_SIZE]) < 0);
}

/* The last one in the text: where an account's stands with a session's, that comes last. */
static struct str last_uuid(struct str text)
{
    for (size_t at = text.n < UUID_SIZE ? 0 : text.n - UUID_SIZE + 1; at-- > 0;) {
        if (text.p[at + 8] == '-' && is_uuid_at(text, at))
            return str_of(text.p + at, UUID_SIZE);
    }
    return STR_NULL;
}

/* What a protocol's clients put into the body for other reasons, and which tells conversations
 * apart all the same. */
static struct str uuid_of_body(const struct intake *intake, const struct request *request)
{
    const struct json_index *index = &request->index;
    const struct str metadata = STR("metadata");
    const struct str cache_key = STR("prompt_cache_key");

    for (size_t i = 0; i < index->n; i++) {
        const struct json_member *m = &index->members[i];
        if (m->key.n == metadata.n && str_eq(m->key, metadata) &&
            str_eq(str_c(intake->protocol->name), STR("anthropic")) &&
            json_kind_of(m->value) == JSON_OBJECT)
            return last_uuid(json_object_find(m->value, STR("user_id")));
        if (m->key.n == cache_key.n && str_eq(m->key, cache_key) &&
            str_starts(str_c(intake->protocol->name), STR("openai")))
            return last_uuid(m->value);
    }
    return STR_NULL;
}

struct str session_key_given(const struct intake *intake, const struct request *request,
                             struct session_key_room *room)
{
    if (intake->session_header.n == 0 && request->session_id.n > 0)
        return session_key_legal(request->session_id, room);
    struct str id = session_key_of_head(intake, room);
    if (str_is_null(id))
        id = uuid_of_body(intake, request);
    if (str_is_null(id) && intake->session_previous.n > 0)
        id = intake->session_previous;
    return id;
}

/* --- how a conversation begins --- */

/* What was seen of it: of each role one digest. */
struct print {
    XXH128_hash_t sum[ROLE_COUNT];
    size_t left[ROLE_COUNT]; /* bytes that still count */
};

/* Of the text at most so many bytes. */
static void add_text(struct print *print, enum role role, struct str text, size_t bytes_max)
{
    XXH128_hash_t link[2];
    size_t n = text.n < bytes_max ? text.n : bytes_max;

    assert(bytes_max <= print->left[role]);
    if (n == 0)
        return;
    link[0] = print->sum[role];
    link[1] = XXH3_128bits(text.p, n);
    bool first = print->left[role] == SESSION_KEY_TEXT_MAX;
    print->left[role] -= n;
    print->sum[role] = first ? link[1] : XXH3_128bits(link, sizeof(link));
}

static XXH128_hash_t print_end(const struct print *print, const struct session_scope *scope)
{
    struct {
        struct session_scope scope;
        XXH128_hash_t sum[ROLE_COUNT];
    } link;

    link.scope = *scope;
    memcpy(link.sum, print->sum, sizeof(link.sum));
    return XXH3_128bits(&link, sizeof(link));
}

/* False: it says nothing. A text that another one follows leaves it half of the bytes: what a
 * client tells the model ahead of its user's words (Gemini CLI its folder) does not hide them. */
static bool add_turn(struct print *print, enum role role, struct str content)
{
    struct outline_text text;
    struct str last = STR_NULL;
    size_t cursor = 0;
    size_t *left = &print->left[role];

    for (size_t i = 0; i<TEXTS_MAX && * left> 0 && outline_text_next(content, &cursor, &text);
         i++) {
        assert(text.string.n >= 2);
        if (i > 0)
            add_text(print, role, last, *left / 2);
        last = str_of(text.string.p + 1, text.string.n - 2);
    }
    if (str_is_null(last) && role == ROLE_USER && content.n > 0)
        last = content; /* an image, say */
    add_text(print, role, last, *left);
    return !str_is_null(last);
}

static enum role role_of(const struct outline_turn *turn)
{
    if (turn->is_call)
        return ROLE_ASSISTANT;
    return turn->role == ROLE_DEVELOPER ? ROLE_SYSTEM : turn->role;
}

struct session_key_print session_key_print(const struct intake *intake,
                                           const struct request *request,
                                           struct session_key_room *room)
{
    struct session_key_print ret = {.id = STR_NULL};
    struct print print;
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;
    bool found = false;
    bool more = true;

    memset(print.sum, 0, sizeof(print.sum));
    for (size_t i = 0; i < ROLE_COUNT; i++)
        print.left[i] = SESSION_KEY_TEXT_MAX;
    /* Up to the first user message, and on to the first sign of an answer. */
    while (!(found && ret.has_assistant)) {
        more = intake->protocol->outline_next(request, &cursor, &turn);
        if (!more)
            break;
        ret.last = turn;
        enum role role = role_of(&turn);
        if (role == ROLE_ASSISTANT || role == ROLE_TOOL)
            ret.has_assistant = true;
        else if (!found && add_turn(&print, role, turn.content) && role == ROLE_USER)
            found = true;
    }
    if (more)
        ret.last = (struct outline_turn){.source = STR_NULL};
    if (!found)
        return ret;
    memcpy(room->p, "fp-", 3);
    ret.id = str_of(room->p, write_digest(print_end(&print, &intake->scope), room->p + 3).n + 3);
    return ret;
}
