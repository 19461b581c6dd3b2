/* SPDX-License-Identifier: MIT */
/*
 * Embeddings: Gemini's answers, read as they come, into OpenAI's list.
 *
 * What      {"embeddings":[{"values":[0.1,…]},…],"usageMetadata":{"promptTokenCount":4}} becomes
 *           {"object":"list","data":[{"object":"embedding","index":0,"embedding":…},…],…}.
 * How       A thousand vectors are some forty megabytes of digits: nothing of them is kept and
 *           nothing is looked at twice. Each byte moves a small automaton of JSON's grammar (what
 *           may come next, which containers are open); where the path says so a number goes on,
 *           as it stands, or as four bytes in base64.
 *
 *             VALUE ─► STRING │ NUMBER │ WORD ─► AFTER ─► VALUE … END
 *             VALUE ─ '{' ─► FIRST_KEY ─► STRING ─► COLON ─► VALUE
 *
 * Owns      Nothing: state is the caller's, text goes to its buffer.
 * Not here  Errors of the upstream: what has another status than 200 is not for us.
 */
#include "protocol/embeddings.h"

#include <float.h>
#include <math.h>

#include "text/json.h"

enum state {
    VALUE,
    FIRST_VALUE, /* or the array's end */
    FIRST_KEY,   /* or the object's end */
    KEY,
    COLON,
    AFTER, /* a value has ended within a container */
    STRING,
    ESCAPE,
    NUMBER,
    WORD, /* true, false, null */
    END,
};

/* In a container at a depth: what the path means. The root is at depth 1. */
enum { AT_ROOT = 1, AT_LIST = 2, AT_ELEMENT = 3, AT_VALUES = 4, AT_USAGE = 2 };

static enum error_code broken(struct error *e, const char *what)
{
    return FAIL(e, ERR_UPSTREAM_BROKEN, "embeddings: %s", what);
}

static bool in_object(const struct embeddings_reader *r)
{
    return r->depth > 0 && (r->objects >> (r->depth - 1) & 1) != 0;
}

static bool token_is(const struct embeddings_reader *r, struct str name)
{
    return r->token_n == name.n && memcmp(r->token, name.p, name.n) == 0;
}

static void token_add(struct embeddings_reader *r, char c)
{
    if (r->token_n < sizeof(r->token))
        r->token[r->token_n] = c;
    if (r->token_n <= sizeof(r->token))
        r->token_n++;
}

/* --- base64 ------------------------------------------------------------------------------- */

static void add_base64(struct buf *out, const unsigned char b[3], size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
    char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                    digits[bits & 63]};

    for (size_t i = n + 1; i < 4; i++)
        four[i] = '=';
    buf_add(out, str_of(four, 4));
}

/* A float's four bytes, the lowest first, behind those that wait. */
static void add_float(struct embeddings_answer *a, float value)
{
    unsigned char bytes[6];
    size_t n = a->carry_n;
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    memcpy(bytes, a->carry, n);
    for (unsigned i = 0; i < 4; i++)
        bytes[n++] = (unsigned char)(bits >> (8 * i));
    size_t at = 0;
    for (; n - at >= 3; at += 3)
        add_base64(a->out, bytes + at, 3);
    a->carry_n = n - at;
    assert(a->carry_n < 3);
    memcpy(a->carry, bytes + at, a->carry_n);
}

static void end_base64(struct embeddings_answer *a)
{
    unsigned char bytes[3] = {0, 0, 0};

    memcpy(bytes, a->carry, a->carry_n);
    if (a->carry_n > 0)
        add_base64(a->out, bytes, a->carry_n);
    a->carry_n = 0;
}

/* --- what means something ----------------------------------------------------------------- */

/* Past the digits at *at; false: there are none. */
static bool skip_digits(struct str s, size_t *at)
{
    size_t begin = *at;

    while (*at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9')
        ++*at;
    return *at > begin;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool is_number(struct str s)
{
    size_t at = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    size_t begin = at;

    if (!skip_digits(s, &at) || (s.p[begin] == '0' && at > begin + 1))
        return false;
    if (at < s.n && s.p[at] == '.') {
        at++;
        if (!skip_digits(s, &at))
            return false;
    }
    if (at < s.n && (s.p[at] | 0x20) == 'e') {
        at++;
        if (at < s.n && (s.p[at] == '+' || s.p[at] == '-'))
            at++;
        if (!skip_digits(s, &at))
            return false;
    }
    return at == s.n;
}

static enum error_code add_number(struct embeddings_answer *a, struct str token, struct error *e)
{
    struct embeddings_reader *r = &a->reader;
    double value;

    if (!str_to_double(token, &value) || fabs(value) > (double)FLT_MAX)
        return broken(e, "a number is no float");
    if (a->asked->base64) {
        add_float(a, (float)value);
    } else {
        if (r->numbers > 0)
            buf_add_char(a->out, ',');
        buf_add(a->out, token);
    }
    r->numbers++;
    return OK;
}

static enum error_code end_number(struct embeddings_answer *a, struct error *e)
{
    struct embeddings_reader *r = &a->reader;
    struct str token = str_of(r->token, r->token_n);
    bool counts = r->count;

    r->count = false;
    if (r->token_n > sizeof(r->token) || !is_number(token))
        return broken(e, "a number is none, or too long");
    if (r->values)
        return add_number(a, token, e);
    if (counts && (!str_to_int64(token, &r->tokens) || r->tokens < 0))
        r->tokens = -1;
    return OK;
}

/* A vector's place in the list: those of calls before come first. */
static size_t index_of(const struct embeddings_answer *a)
{
    return a->call * EMBEDDINGS_CALL_MAX + a->reader.vectors;
}

static size_t wanted(const struct embeddings_answer *a)
{
    size_t left = a->asked->n - a->call * EMBEDDINGS_CALL_MAX;

    return left < EMBEDDINGS_CALL_MAX ? left : EMBEDDINGS_CALL_MAX;
}

static enum error_code begin_vector(struct embeddings_answer *a, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (r->vector)
        return broken(e, "an element has two vectors");
    if (r->vectors == wanted(a))
        return broken(e, "there are more of them than inputs");
    r->vector = true;
    r->numbers = 0;
    buf_print(a->out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":%c",
              index_of(a) > 0 ? "," : "", index_of(a), a->asked->base64 ? '"' : '[');
    return OK;
}

static enum error_code end_vector(struct embeddings_answer *a, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (r->numbers == 0)
        return broken(e, "a vector is empty");
    if (a->asked->base64)
        end_base64(a);
    buf_add(a->out, a->asked->base64 ? STR("\"}") : STR("]}"));
    r->vectors++;
    r->values = false;
    return OK;
}

/* --- the grammar -------------------------------------------------------------------------- */

/* Of the key that has just ended: what its value means. */
static void end_key(struct embeddings_reader *r)
{
    r->values = r->list && r->depth == AT_ELEMENT && token_is(r, STR("values"));
    r->count = r->usage && r->depth == AT_USAGE && token_is(r, STR("promptTokenCount"));
    if (r->depth == AT_ROOT) {
        r->list = token_is(r, STR("embeddings"));
        r->usage = token_is(r, STR("usageMetadata"));
    }
}

static enum error_code open_container(struct embeddings_answer *a, bool object, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (r->depth == EMBEDDINGS_DEPTH_MAX)
        return broken(e, "it is nested too deep");
    if (r->depth == 0 && !object)
        return broken(e, "no object");
    if (r->values && (object || r->depth != AT_ELEMENT))
        return broken(e, "a vector is no array of numbers");
    r->objects = (r->objects & ~(UINT64_C(1) << r->depth)) | (uint64_t)object << r->depth;
    r->depth++;
    r->state = object ? FIRST_KEY : FIRST_VALUE;
    r->count = false;
    if (r->depth == AT_LIST) {
        r->list = r->list && !object;
        r->usage = r->usage && object;
    }
    if (r->list && r->depth == AT_ELEMENT)
        r->vector = false;
    return r->values ? begin_vector(a, e) : OK;
}

static enum error_code close_container(struct embeddings_answer *a, bool object, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (r->depth == 0 || in_object(r) != object)
        return broken(e, "it is no JSON");
    if (r->values && r->depth == AT_VALUES)
        TRY(end_vector(a, e));
    if (r->list && r->depth == AT_ELEMENT && !r->vector)
        return broken(e, "an element has no vector");
    r->depth--;
    if (r->depth == AT_ROOT)
        r->list = r->usage = false;
    r->state = r->depth == 0 ? END : AFTER;
    return OK;
}

static enum error_code begin_value(struct embeddings_answer *a, char c, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (c == '{' || c == '[')
        return open_container(a, c == '{', e);
    if (r->depth == 0)
        return broken(e, "no object");
    bool number = c == '-' || (c >= '0' && c <= '9');
    if (r->values && (!number || r->depth != AT_VALUES))
        return broken(e, "a vector is no array of numbers");
    if (r->list && r->depth == AT_LIST)
        return broken(e, "an element is no object");
    r->token_n = 0;
    r->key = false;
    if (c == '"') {
        r->state = STRING;
        return OK;
    }
    r->state = number ? NUMBER : WORD;
    token_add(r, c);
    return OK;
}

static enum error_code end_word(const struct embeddings_reader *r, struct error *e)
{
    if (token_is(r, STR("true")) || token_is(r, STR("false")) || token_is(r, STR("null")))
        return OK;
    return broken(e, "it is no JSON");
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Between tokens. */
static enum error_code step_between(struct embeddings_answer *a, char c, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (is_blank(c))
        return OK;
    switch ((enum state)r->state) {
    case FIRST_VALUE:
        return c == ']' ? close_container(a, false, e) : begin_value(a, c, e);
    case VALUE:
        return begin_value(a, c, e);
    case FIRST_KEY:
    case KEY:
        if (c == '}' && r->state == FIRST_KEY)
            return close_container(a, true, e);
        r->token_n = 0;
        r->key = true;
        r->state = STRING;
        return c == '"' ? OK : broken(e, "it is no JSON");
    case COLON:
        r->state = VALUE;
        return c == ':' ? OK : broken(e, "it is no JSON");
    case AFTER:
        if (c == ',') {
            r->state = in_object(r) ? KEY : VALUE;
            return OK;
        }
        return c == '}' || c == ']' ? close_container(a, c == '}', e) : broken(e, "it is no JSON");
    case STRING:
    case ESCAPE:
    case NUMBER:
    case WORD:
    case END:
        break;
    }
    return broken(e, "something follows its end");
}

static void step_string(struct embeddings_reader *r, char c)
{
    if (r->state == ESCAPE || (c != '"' && c != '\\')) {
        r->state = STRING;
        token_add(r, c);
    } else if (c == '\\') {
        /* No key of ours has an escape in it: this is none of them. */
        r->state = ESCAPE;
        token_add(r, c);
    } else if (r->key) {
        r->state = COLON;
        end_key(r);
    } else {
        r->state = AFTER;
        r->count = false;
    }
}

static bool in_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '+';
}

static enum error_code step(struct embeddings_answer *a, char c, struct error *e)
{
    struct embeddings_reader *r = &a->reader;

    if (r->state == STRING || r->state == ESCAPE) {
        step_string(r, c);
        return OK;
    }
    if (r->state == NUMBER || r->state == WORD) {
        if (in_token(c)) {
            token_add(r, c);
            return OK;
        }
        if (r->state == NUMBER)
            TRY(end_number(a, e));
        else
            TRY(end_word(r, e));
        r->state = AFTER;
    }
    return step_between(a, c, e);
}

/* --- one answer, all answers -------------------------------------------------------------- */

static void begin_call(struct embeddings_answer *a)
{
    a->reader = (struct embeddings_reader){.state = VALUE, .tokens = -1};
    a->carry_n = 0;
    a->begin = a->out->n;
}

void embeddings_answer_init(struct embeddings_answer *answer, const struct embeddings *asked,
                            struct str model, struct buf *out)
{
    assert(asked->n > 0);
    *answer = (struct embeddings_answer){.asked = asked, .out = out, .model = model};
    buf_add(out, STR("{\"object\":\"list\",\"data\":["));
    begin_call(answer);
}

enum error_code embeddings_answer_add(struct embeddings_answer *answer, struct str bytes,
                                      struct error *e)
{
    assert(answer->call < embeddings_calls(answer->asked));
    for (size_t i = 0; i < bytes.n; i++)
        TRY(step(answer, bytes.p[i], e));
    if (!buf_ok(answer->out))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "embeddings: more than response_bytes_max");
    return OK;
}

/* About as many as the inputs of the present call are, where nobody said (mapping.md, 14). */
static int64_t estimate(const struct embeddings_answer *a)
{
    const struct str *inputs = a->asked->inputs + a->call * EMBEDDINGS_CALL_MAX;
    int64_t tokens = 0;

    for (size_t i = 0; i < wanted(a); i++)
        tokens += (int64_t)(inputs[i].n - 2 + 3) / 4;
    return tokens;
}

enum error_code embeddings_answer_next(struct embeddings_answer *answer, struct error *e)
{
    if (answer->reader.state != END)
        return broken(e, "the answer broke off");
    if (answer->reader.vectors != wanted(answer))
        return FAIL(e, ERR_UPSTREAM_BROKEN, "embeddings: %zu of them for %zu inputs",
                    answer->reader.vectors, wanted(answer));
    if (answer->reader.tokens < 0)
        answer->estimated = true;
    answer->tokens += answer->reader.tokens < 0 ? estimate(answer) : answer->reader.tokens;
    answer->call++;
    begin_call(answer);
    return OK;
}

void embeddings_answer_again(struct embeddings_answer *answer)
{
    assert(answer->begin <= answer->out->n);
    answer->out->n = answer->begin;
    begin_call(answer);
}

enum error_code embeddings_answer_end(struct embeddings_answer *answer, struct error *e)
{
    struct buf *out = answer->out;

    assert(answer->call == embeddings_calls(answer->asked));
    buf_add(out, STR("],\"model\":"));
    json_add_string(out, answer->model);
    buf_print(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}",
              (long long)answer->tokens, (long long)answer->tokens);
    if (!buf_ok(out))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "embeddings: more than response_bytes_max");
    return OK;
}
