/* SPDX-License-Identifier: MIT */
#include "strict.h"

enum { BODY_MAX = 1 << 26 };

struct reader {
    struct strict *wire;
    struct str bytes;
    size_t at;
};

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_token_char(s.p[i]))
            return false;
    }
    return s.n > 0;
}

/* field-value, and reason-phrase: visible characters, blanks, obs-text. */
static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_plain_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    }
    return true;
}

/* Without blanks and tabs at its ends. */
static struct str trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_from(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static enum strict_kind bad(struct reader *r, const char *why)
{
    r->wire->why = why;
    return STRICT_BAD;
}

static void not_plain(struct reader *r, const char *why)
{
    if (r->wire->plain)
        r->wire->why = why;
    r->wire->plain = false;
}

/* Up to CRLF, which is taken too. */
static enum strict_kind read_line(struct reader *r, struct str *ret_line)
{
    size_t end = str_find(r->bytes, STR("\n"), r->at);

    if (end == SIZE_MAX)
        return STRICT_MORE;
    if (end == r->at || r->bytes.p[end - 1] != '\r')
        return bad(r, "a line without CR");
    *ret_line = str_of(r->bytes.p + r->at, end - 1 - r->at);
    r->at = end + 1;
    return STRICT_DONE;
}

static int read_version(struct str s)
{
    if (str_eq(s, STR("HTTP/1.1")))
        return 1;
    return str_eq(s, STR("HTTP/1.0")) ? 0 : -1;
}

static bool is_plain_method(struct str s)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (str_eq(s, str_c(methods[i])))
            return true;
    }
    return false;
}

static enum strict_kind read_request_line(struct reader *r, struct str line)
{
    struct strict *wire = r->wire;
    size_t one = str_find_char(line, ' ', 0);
    size_t two = one == SIZE_MAX ? SIZE_MAX : str_find_char(line, ' ', one + 1);

    if (two == SIZE_MAX)
        return bad(r, "the request line has not three parts");
    wire->method = str_head(line, one);
    wire->target = str_of(line.p + one + 1, two - one - 1);
    wire->minor = read_version(str_from(line, two + 1));
    if (!is_token(wire->method) || wire->target.n == 0 || wire->minor < 0)
        return bad(r, "the request line");
    for (size_t i = 0; i < wire->target.n; i++) {
        unsigned char c = (unsigned char)wire->target.p[i];
        if (c <= 0x20 || c == 0x7f || c == '#')
            return bad(r, "the target");
        if (c > 0x7f || strchr("\"<>\\^`{|}", c) != NULL)
            not_plain(r, "the target has odd characters");
    }
    if (!is_plain_method(wire->method) || wire->target.p[0] != '/')
        not_plain(r, "method or form of the target");
    return STRICT_DONE;
}

static enum strict_kind read_status_line(struct reader *r, struct str line)
{
    struct strict *wire = r->wire;

    wire->minor = read_version(str_head(line, 8));
    if (wire->minor < 0 || line.n < 12 || line.p[8] != ' ')
        return bad(r, "the status line");
    for (size_t i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return bad(r, "the status");
        wire->status = wire->status * 10 + (line.p[i] - '0');
    }
    if (line.n == 12)
        not_plain(r, "no blank before the reason");
    else if (line.p[12] != ' ')
        return bad(r, "the status");
    if (wire->status < 100 || wire->status > 599)
        return bad(r, "the status");
    if (!is_text(str_from(line, 12)))
        return bad(r, "the reason");
    return STRICT_DONE;
}

static enum strict_kind read_field(struct reader *r, struct str line)
{
    struct strict *wire = r->wire;
    size_t colon = str_find_char(line, ':', 0);

    if (colon == SIZE_MAX || !is_token(str_head(line, colon)))
        return bad(r, "the name of a header");
    struct strict_field field = {.name = str_head(line, colon),
                                 .value = trim(str_from(line, colon + 1))};
    if (!is_text(field.value))
        return bad(r, "the value of a header");
    if (!is_plain_text(field.value))
        not_plain(r, "a header with odd characters");
    assert(wire->field_n < STRICT_FIELDS_MAX);
    wire->fields[wire->field_n++] = field;
    return STRICT_DONE;
}

static size_t count_fields(const struct strict *wire, struct str name, struct str *ret_value)
{
    size_t n = 0;

    for (size_t i = 0; i < wire->field_n; i++) {
        if (!str_eq_nocase(wire->fields[i].name, name))
            continue;
        *ret_value = wire->fields[i].value;
        n++;
    }
    return n;
}

struct str strict_get(const struct strict *wire, struct str name)
{
    struct str value = STR_NULL;

    return count_fields(wire, name, &value) == 1 ? value : STR_NULL;
}

static bool read_number(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return s.n > 0;
}

/* RFC 9112, section 6.3; what is ambiguous is BAD. */
static enum strict_kind read_framing(struct reader *r)
{
    struct strict *wire = r->wire;
    struct str encoding = STR_NULL;
    struct str length = STR_NULL;
    size_t encodings = count_fields(wire, STR("Transfer-Encoding"), &encoding);
    size_t lengths = count_fields(wire, STR("Content-Length"), &length);

    if (encodings > 0 && lengths > 0)
        return bad(r, "Transfer-Encoding and Content-Length");
    if (encodings > 1 || lengths > 1)
        return bad(r, "Transfer-Encoding or Content-Length twice");
    if (encodings == 1 && (!str_eq_nocase(encoding, STR("chunked")) || wire->minor == 0))
        return bad(r, "a Transfer-Encoding that is not chunked, or in HTTP/1.0");
    if (lengths == 1 && !read_number(length, &wire->length))
        return bad(r, "a Content-Length that is no number");
    wire->chunked = encodings == 1;
    wire->has_length = lengths == 1;
    return STRICT_DONE;
}

static enum strict_kind check_request(struct reader *r)
{
    static const char *const odd[] = {"Upgrade",    "Expect",           "Content-Encoding",
                                      "Connection", "Proxy-Connection", "Origin"};
    const struct strict *wire = r->wire;
    struct str value = STR_NULL;
    size_t hosts = count_fields(wire, STR("Host"), &value);

    if (hosts > 1 || (hosts == 0 && wire->minor == 1))
        return bad(r, "the Host header");
    for (size_t i = 0; i < value.n; i++) {
        if (!is_token_char(value.p[i]) || strchr("!#$%&'*+^_`|~", value.p[i]) != NULL)
            not_plain(r, "the host");
    }
    if (hosts == 1 && (value.n == 0 || value.p[0] == '-' || value.p[0] == '.'))
        not_plain(r, "the host");
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        if (count_fields(wire, str_c(odd[i]), &value) > 0)
            not_plain(r, "a header of the connection");
    }
    return STRICT_DONE;
}

static void read_head(struct reader *r, bool request)
{
    struct strict *wire = r->wire;
    struct str line = STR_NULL;

    /* RFC 9112, section 2.2: empty lines before a request are to be ignored. */
    while (r->at < r->bytes.n && (r->bytes.p[r->at] == '\r' || r->bytes.p[r->at] == '\n'))
        r->at++;
    if (r->at > 0)
        not_plain(r, "empty lines before the message");
    wire->head = read_line(r, &line);
    if (wire->head != STRICT_DONE)
        return;
    wire->head = request ? read_request_line(r, line) : read_status_line(r, line);
    while (wire->head == STRICT_DONE) {
        wire->head = read_line(r, &line);
        if (wire->head != STRICT_DONE || line.n == 0)
            break;
        wire->head = read_field(r, line);
    }
    wire->head_size = r->at;
    if (wire->head == STRICT_DONE)
        wire->head = read_framing(r);
    if (wire->head == STRICT_DONE && request)
        wire->head = check_request(r);
}

/* ---- bodies ---- */

static enum strict_kind read_bytes(struct reader *r, uint64_t n)
{
    struct str rest = str_from(r->bytes, r->at);
    struct str piece = str_head(rest, n < rest.n ? (size_t)n : rest.n);
    bool ok = buf_add(&r->wire->body, piece);

    assert(ok);
    r->at += piece.n;
    return piece.n < n ? STRICT_MORE : STRICT_DONE;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum strict_kind read_chunk_size(struct reader *r, struct str line, uint64_t *ret_size)
{
    size_t n = 0;

    *ret_size = 0;
    while (n < line.n && hex_of(line.p[n]) >= 0) {
        if (*ret_size >> 60 != 0)
            return bad(r, "a chunk without bounds");
        *ret_size = *ret_size * 16 + (uint64_t)hex_of(line.p[n++]);
    }
    if (n == 0 || (n < line.n && line.p[n] != ';') || !is_text(line))
        return bad(r, "the size of a chunk");
    if (n < line.n) {
        not_plain(r, "a chunk's extension");
        r->wire->extra_size += line.n - n;
    }
    return STRICT_DONE;
}

static enum strict_kind read_trailers(struct reader *r)
{
    struct str line = STR_NULL;

    for (;;) {
        enum strict_kind kind = read_line(r, &line);
        if (kind != STRICT_DONE || line.n == 0)
            return kind;
        size_t colon = str_find_char(line, ':', 0);
        if (colon == SIZE_MAX || !is_token(str_head(line, colon)) || !is_text(line))
            return bad(r, "a trailer");
        not_plain(r, "trailers");
        r->wire->extra_size += line.n + 2;
    }
}

static enum strict_kind read_chunks(struct reader *r)
{
    struct str line = STR_NULL;
    uint64_t size = 0;

    for (;;) {
        enum strict_kind kind = read_line(r, &line);
        if (kind == STRICT_DONE)
            kind = read_chunk_size(r, line, &size);
        if (kind != STRICT_DONE)
            return kind;
        if (size == 0)
            return read_trailers(r);
        kind = read_bytes(r, size);
        if (kind == STRICT_DONE)
            kind = read_line(r, &line);
        if (kind == STRICT_DONE && line.n > 0)
            kind = bad(r, "a chunk longer than its size");
        if (kind != STRICT_DONE)
            return kind;
    }
}

static void read_begin(struct reader *r, struct strict *wire, struct str bytes)
{
    struct buf body = wire->body;

    buf_reset(&body);
    memset(wire, 0, offsetof(struct strict, fields));
    wire->body = body;
    wire->plain = true;
    wire->why = "";
    *r = (struct reader){.wire = wire, .bytes = bytes};
}

void strict_read_request(struct strict *wire, struct str bytes)
{
    struct reader r;

    read_begin(&r, wire, bytes);
    read_head(&r, true);
    wire->kind = wire->head;
    if (wire->kind == STRICT_DONE && wire->chunked)
        wire->kind = read_chunks(&r);
    else if (wire->kind == STRICT_DONE)
        wire->kind = read_bytes(&r, wire->length);
    wire->size = r.at;
}

void strict_read_answer(struct strict *wire, struct str bytes, bool no_body, bool eof)
{
    struct reader r;

    read_begin(&r, wire, bytes);
    read_head(&r, false);
    wire->kind = wire->head;
    if (wire->kind != STRICT_DONE)
        return;
    if (no_body || wire->status < 200 || wire->status == 204 || wire->status == 304) {
        wire->size = r.at;
        return;
    }
    if (wire->chunked) {
        wire->kind = read_chunks(&r);
    } else if (wire->has_length) {
        wire->kind = read_bytes(&r, wire->length);
    } else {
        wire->until_close = true;
        wire->kind = read_bytes(&r, bytes.n - r.at);
        if (!eof)
            wire->kind = STRICT_MORE;
    }
    wire->size = r.at;
}

void strict_init(struct strict *wire)
{
    memset(wire, 0, sizeof(*wire));
    buf_init(&wire->body, BODY_MAX);
}

void strict_fini(struct strict *wire)
{
    buf_fini(&wire->body);
}
