/* SPDX-License-Identifier: MIT */
/*
 * The glue between llhttp and both sides of HTTP.
 *
 * What      Turns bytes, cut anywhere, into steps (parse.h), and a head into a struct message.
 * How       llhttp's callbacks only note things and pause it. While a head is read, tokens are
 *           noted as offsets from its first byte (a str whose p is the offset), so that it does not
 *           matter in how many pieces they come; the bytes themselves are copied to the arena once,
 *           side by side, and when the head is complete the offsets become pointers into that copy.
 *
 *           raw   |GET /x HTTP/1.1..Host: a..Acc|ept: b....|      (arena)
 *                  ^0                            ^raw_n before this feed
 * Owns      Nothing: all memory is the caller's arena.
 * Not here  Time-outs, connections, what a message is for.
 */
#include "http/parse.h"

#include "base/scan_field.h"
#include "text/url.h"

enum { RAW_SIZE_MIN = 1024 };

_Static_assert(sizeof(struct message) <= ARENA_RESERVE, "an overflowed arena has room for it");

static struct parser *parser_of(llhttp_t *http)
{
    return CONTAINER_OF(http, struct parser, http);
}

/* ---- offsets ---- */

static void token_add(const struct parser *parser, struct str *token, const char *at, size_t n)
{
    assert(at >= parser->feed);
    if (token->n == 0)
        token->p = (const char *)(uintptr_t)(parser->raw_n + (size_t)(at - parser->feed));
    token->n += n;
}

static size_t token_offset(struct str token)
{
    return (size_t)(uintptr_t)token.p;
}

static ALWAYS_INLINE struct str token_str(const struct parser *parser, struct str token)
{
    if (token.n == 0)
        return STR(""); /* of a head without a first byte there is no copy */
    assert(token.n <= parser->raw_n);
    assert(token_offset(token) <= parser->raw_n - token.n);
    return str_of(parser->raw + token_offset(token), token.n);
}

static void raw_add(struct parser *parser, const char *p, size_t n)
{
    if (n > parser->raw_size - parser->raw_n) {
        size_t size = parser->raw_n + n;
        if (!parser->head_done)
            size = size < RAW_SIZE_MIN / 2 ? RAW_SIZE_MIN : size * 2;
        char *raw = arena_alloc(parser->arena, size);
        if (arena_overflowed(parser->arena))
            return;
        if (parser->raw_n > 0)
            memcpy(raw, parser->raw, parser->raw_n);
        parser->raw = raw;
        parser->raw_size = size;
    }
    if (n > 0)
        memcpy(parser->raw + parser->raw_n, p, n);
    parser->raw_n += n;
}

/* ---- llhttp's callbacks ---- */

static int on_url(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);
    token_add(parser, &parser->message->target, at, n);
    return HPE_OK;
}

static int on_method(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);
    token_add(parser, &parser->message->method_name, at, n);
    return HPE_OK;
}

static int on_version(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);
    token_add(parser, &parser->version, at, n);
    return HPE_OK;
}

/* The reason phrase is dropped, but what may not stand in it makes the head suspect (RFC 9112, 4):
 * llhttp looks for line ends only. */
static int on_status(llhttp_t *http, const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            llhttp_set_error_reason(http, "a control character in the reason phrase");
            return HPE_USER;
        }
    }
    return HPE_OK;
}

/* Extensions and trailers are dropped, but they are not for free: each name and value costs its
 * bytes and one, in however many pieces it comes. */
static int extra_add(struct parser *parser, size_t n)
{
    parser->extra_bytes += n;
    if (parser->extra_bytes <= parser->head_bytes_max)
        return HPE_OK;
    parser->extra_full = true;
    return HPE_USER;
}

static int on_extra(llhttp_t *http, const char *at, size_t n)
{
    (void)at;
    return extra_add(parser_of(http), n);
}

static int on_extra_complete(llhttp_t *http)
{
    return extra_add(parser_of(http), 1);
}

static int on_header_field(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);
    struct http_headers *headers = &parser->message->headers;

    if (parser->head_done)
        return on_extra(http, at, n);
    if (!parser->name_open) {
        http_headers_add(headers, parser->arena, STR_NULL, STR_NULL);
        if (arena_overflowed(parser->arena))
            return HPE_USER;
        parser->name_open = true;
    }
    token_add(parser, &headers->items[headers->n - 1].name, at, n);
    return HPE_OK;
}

static int on_header_field_complete(llhttp_t *http)
{
    parser_of(http)->name_open = false;
    return parser_of(http)->head_done ? on_extra_complete(http) : HPE_OK;
}

static int on_header_value_complete(llhttp_t *http)
{
    return parser_of(http)->head_done ? on_extra_complete(http) : HPE_OK;
}

static int on_header_value(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);
    struct http_headers *headers = &parser->message->headers;

    if (parser->head_done)
        return on_extra(http, at, n);
    assert(headers->n > 0);
    token_add(parser, &headers->items[headers->n - 1].value, at, n);
    return HPE_OK;
}

static int on_headers_complete(llhttp_t *http)
{
    struct parser *parser = parser_of(http);

    parser->head_done = true;
    parser->step = PARSE_HEAD;
    /* Tunnels and upgrades are not ours: the bytes that follow are HTTP, or an error. */
    parser->message->upgrade = http->upgrade != 0 && http->method != LLHTTP_CONNECT;
    http->upgrade = 0;
    if (parser->no_body)
        http->flags |= F_SKIPBODY;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *http, const char *at, size_t n)
{
    struct parser *parser = parser_of(http);

    if (n == 0)
        return HPE_OK;
    parser->body = str_of(at, n);
    parser->body_bytes += n;
    parser->chunk_ended = (http->flags & F_CHUNKED) != 0 && http->content_length == 0;
    parser->step = PARSE_BODY;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *http)
{
    parser_of(http)->step = PARSE_END;
    return HPE_PAUSED;
}

static const llhttp_settings_t parse_settings = {
    .on_url = on_url,
    .on_method = on_method,
    .on_version = on_version,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_chunk_extension_name = on_extra,
    .on_chunk_extension_name_complete = on_extra_complete,
    .on_chunk_extension_value = on_extra,
    .on_chunk_extension_value_complete = on_extra_complete,
};

/* ---- lines that llhttp need not see ---- */

/* By its length and first letter: Upgrade, Connection, Content-Length, Proxy-Connection and
 * Transfer-Encoding say something to llhttp, and whatever looks like them. */
static bool may_frame(struct str name)
{
    switch (name.n) {
    case 7:
        return (name.p[0] | 0x20) == 'u';
    case 10:
    case 14:
        return (name.p[0] | 0x20) == 'c';
    case 16:
        return (name.p[0] | 0x20) == 'p';
    case 17:
        return (name.p[0] | 0x20) == 't';
    default:
        return false;
    }
}

/*
 * A header's line as all write it, NAME ":" VALUE CR LF, with the next one begun, which does not
 * continue it: its bytes with the CR LF; 0: anything else. *ret_frames: llhttp is to see it.
 */
static size_t plain_line(struct str s, struct http_header *ret_header, bool *ret_frames)
{
    size_t colon = scan_token(s.p, s.n);

    if (colon == 0 || colon == s.n || s.p[colon] != ':')
        return 0;
    size_t value = colon + 1;
    while (value < s.n && s.p[value] == ' ')
        value++;
    size_t end = value + scan_field(s.p + value, s.n - value);
    if (s.n - end < 3 || s.p[end] != '\r' || s.p[end + 1] != '\n' || s.p[end + 2] == ' ' ||
        s.p[end + 2] == '\t')
        return 0;
    ret_header->name = str_head(s, colon);
    ret_header->value = str_of(s.p + value, end - value);
    *ret_frames = may_frame(ret_header->name);
    return end + 2;
}

/* The first line of a head as all write it, with its CR LF; 0: anything else. */
static size_t first_line(const struct parser *parser, struct str s)
{
    static const struct str version = {.p = "HTTP/1.1", .n = 8};
    size_t n = scan_line(s.p, s.n);
    struct str line = str_head(s, n);
    bool plain = parser->side == PARSE_REQUEST ? str_ends(line, version)
                                               : str_starts(line, version);

    return plain && s.n - n > 2 && s.p[n] == '\r' && s.p[n + 1] == '\n' ? n + 2 : 0;
}

/* What token_add would note of a token that lies in the feed whole. */
static struct str token_of(const struct parser *parser, struct str s)
{
    uintptr_t offset = parser->raw_n + (size_t)(s.p - parser->feed);

    return (struct str){.p = (const char *)offset, .n = s.n};
}

static llhttp_errno_t feed_llhttp(struct parser *parser, struct str bytes)
{
    return llhttp_execute(&parser->http, bytes.p, bytes.n);
}

/*
 * Feeds the beginning of a head. llhttp looks at it byte by byte; but of its lines those that frame
 * the message are all that it keeps anything of, and it stands behind a line as it stood before.
 * So it is not shown the others, where nothing is odd about them. *rest becomes what was not fed.
 */
static llhttp_errno_t feed_lines(struct parser *parser, struct str *rest)
{
    struct http_headers *headers = &parser->message->headers;
    struct http_header header = {.name = STR_NULL};
    bool frames = true; /* as the first line does */

    for (size_t n = first_line(parser, *rest); n > 0; n = plain_line(*rest, &header, &frames)) {
        struct str line = str_head(*rest, n);
        if (frames) {
            llhttp_errno_t rc = feed_llhttp(parser, line);
            if (rc != HPE_OK)
                return rc;
        } else {
            http_headers_add(headers, parser->arena, token_of(parser, header.name),
                             token_of(parser, header.value));
            if (arena_overflowed(parser->arena))
                return HPE_OK;
        }
        *rest = str_from(*rest, n);
    }
    return HPE_OK;
}

static llhttp_errno_t feed_all(struct parser *parser, struct str bytes)
{
    llhttp_errno_t rc = HPE_OK;

    if (!parser->head_done && parser->raw_n == 0)
        rc = feed_lines(parser, &bytes);
    return rc == HPE_OK ? feed_llhttp(parser, bytes) : rc;
}

/* ---- the head as a message ---- */

static enum http_method method_of(uint8_t method)
{
    switch (method) {
    case LLHTTP_GET:
        return HTTP_GET;
    case LLHTTP_HEAD:
        return HTTP_HEAD;
    case LLHTTP_POST:
        return HTTP_POST;
    case LLHTTP_PUT:
        return HTTP_PUT;
    case LLHTTP_PATCH:
        return HTTP_PATCH;
    case LLHTTP_DELETE:
        return HTTP_DELETE;
    case LLHTTP_OPTIONS:
        return HTTP_OPTIONS;
    case LLHTTP_CONNECT:
        return HTTP_CONNECT;
    default:
        return HTTP_OTHER;
    }
}

/* RFC 9112, section 3.2: origin-form, absolute-form, authority-form (CONNECT), asterisk-form. */
static void target_split(struct message *m)
{
    struct str rest = m->target;

    if (rest.n == 0)
        return;
    if (m->method == HTTP_CONNECT || rest.p[0] == '*') {
        m->path = rest;
        return;
    }
    if (rest.p[0] != '/') {
        size_t scheme = str_find(rest, STR("://"), 0);
        size_t authority = scheme == SIZE_MAX ? rest.n : scheme + 3;
        size_t end = authority;
        while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
            end++;
        m->absolute = true;
        m->host = str_from(str_head(rest, end), authority);
        rest = str_from(rest, end);
    }
    size_t query = str_find_char(rest, '?', 0);
    m->path = str_head(rest, query);
    if (m->path.n == 0)
        m->path = STR("/");
    if (query != SIZE_MAX)
        m->query = str_from(rest, query + 1);
}

/* What the headers say about framing, and how often. */
struct head_counts {
    unsigned hosts;
    unsigned origins;
    unsigned encodings;
    bool encoding_is_chunked;
    struct str host;
};

static void header_note(struct message *m, const struct http_header *header,
                        struct head_counts *counts)
{
    switch (header->name.n) {
    case 4:
        if (str_eq_nocase(header->name, STR("Host"))) {
            counts->hosts++;
            counts->host = header->value;
            /* RFC 9112, 3.2.2: "the server MUST ignore the received Host header field" where the
             * target brings its own. */
            if (!m->absolute)
                m->host = header->value;
        }
        break;
    case 6:
        /* RFC 9110, 10.1.1: other expectations may be answered with 417; they are ignored, as
         * nobody has one. */
        if (str_eq_nocase(header->name, STR("Expect"))) {
            m->expect_continue |= http_list_has(header->value, STR("100-continue"));
        } else if (str_eq_nocase(header->name, STR("Origin"))) {
            counts->origins++;
            m->origin = header->value;
        }
        break;
    case 16:
        if (str_eq_nocase(header->name, STR("Content-Encoding")))
            m->content_encoding = str_is_null(m->content_encoding) ? header->value : STR("several");
        break;
    case 17:
        if (str_eq_nocase(header->name, STR("Transfer-Encoding"))) {
            counts->encodings++;
            counts->encoding_is_chunked = str_eq_nocase(header->value, STR("chunked"));
        }
        break;
    default:
        break;
    }
}

/* Of the request line; one that goes on where llhttp has seen a whole one ("HEADER /") is
 * another. */
static enum http_method method_read(const struct parser *parser, struct str token)
{
    size_t end = token_offset(token) + token.n;

    if (token.n == 0 || end >= parser->raw_n || parser->raw[end] != ' ')
        return HTTP_OTHER;
    return method_of(parser->http.method);
}

/* Offsets become pointers. Also for a head that was read in part. */
static void message_fill(struct parser *parser, struct head_counts *counts)
{
    struct message *m = parser->message;

    *counts = (struct head_counts){0};
    parser->filled = true;
    m->method = method_read(parser, m->method_name);
    m->method_name = token_str(parser, m->method_name);
    /* A target that the limit or an error has cut is none. */
    m->target = parser->version.n == 0 ? STR_NULL : token_str(parser, m->target);
    target_split(m);
    for (size_t i = 0; i < m->headers.n; i++) {
        struct http_header *header = &m->headers.items[i];
        header->name = token_str(parser, header->name);
        header->value = str_trim(token_str(parser, header->value));
        header_note(m, header, counts);
    }
    m->minor = parser->http.http_minor;
    m->status = parser->http.status_code;
    m->keep_alive = llhttp_should_keep_alive(&parser->http) != 0;
    m->chunked = (parser->http.flags & F_CHUNKED) != 0;
    m->has_length = (parser->http.flags & F_CONTENT_LENGTH) != 0;
    m->content_length = m->has_length ? parser->http.content_length : 0;
    m->expect_continue = m->expect_continue && m->minor >= 1;
}

static enum error_code bad(const struct parser *parser, struct error *e, const char *what)
{
    if (parser->side == PARSE_REQUEST)
        return FAIL(e, ERR_BAD_HTTP, "%s", what);
    return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer is not valid HTTP/1: %s", what);
}

static enum error_code request_line_check(const struct parser *parser, const struct message *m,
                                          struct error *e)
{
    size_t method = (size_t)(m->method_name.p - parser->raw);
    size_t target = (size_t)(m->target.p - parser->raw);
    size_t version = token_offset(parser->version);

    /* RFC 9112, 2.2: empty lines before it are passed over; llhttp takes any CR and LF for them. */
    for (size_t i = 0; i < method; i++) {
        if (method % 2 != 0 || parser->raw[i] != (i % 2 == 0 ? '\r' : '\n'))
            return bad(parser, e, "a bare CR or LF before the request line");
    }
    /* llhttp takes several blanks between the parts, and RTSP and ICE for the protocol. */
    if (target != method + m->method_name.n + 1 ||
        version != target + m->target.n + STR(" HTTP/").n ||
        memcmp(parser->raw + version - 6, " HTTP/", 6) != 0)
        return bad(parser, e, "the request line is not METHOD target HTTP/1.x");
    if (memchr(m->target.p, '#', m->target.n) != NULL)
        return bad(parser, e, "the target has a fragment");
    return OK;
}

/* RFC 9112, 3.2: which of the four forms with which method; CONNECT's is left to who refuses it. */
static enum error_code target_check(const struct parser *parser, const struct message *m,
                                    struct error *e)
{
    assert(m->target.n > 0);
    if (m->target.p[0] == '*' && (m->target.n > 1 || m->method != HTTP_OPTIONS))
        return bad(parser, e, "the target * is for OPTIONS");
    if (m->absolute && !str_starts_nocase(m->target, STR("http://")) &&
        !str_starts_nocase(m->target, STR("https://")))
        return bad(parser, e, "the target's scheme is neither http nor https");
    return OK;
}

/* RFC 9112, 3.2: "A server MUST respond with a 400 status code to any HTTP/1.1 request message that
 * lacks a Host header field and to any [that] contains more than one [or an invalid one]". */
static enum error_code request_check(const struct parser *parser, const struct message *m,
                                     const struct head_counts *counts, struct error *e)
{
    struct str name;
    struct str port;

    if (counts->hosts > 1)
        return bad(parser, e, "two Host headers");
    if (counts->hosts == 0 && m->minor >= 1)
        return bad(parser, e, "the Host header is missing");
    if (counts->hosts == 1 && !url_host_split(counts->host, &name, &port))
        return bad(parser, e, "the Host header is not a host and a port");
    if (m->absolute && !url_host_split(m->host, &name, &port))
        return bad(parser, e, "the target's authority is not a host and a port");
    if (counts->origins > 1)
        return bad(parser, e, "two Origin headers");
    return OK;
}

/* RFC 9112, 2.2: a CR that no LF follows makes its element invalid; llhttp takes two of them for
 * the end of a status line, and what is a reason to others then becomes headers. */
static enum error_code answer_check(const struct parser *parser, const struct message *m,
                                    struct error *e)
{
    size_t version = token_offset(parser->version);
    size_t cr = str_find_char(str_of(parser->raw, parser->raw_n), '\r', version);

    if (cr == SIZE_MAX || cr + 1 == parser->raw_n || parser->raw[cr + 1] != '\n')
        return bad(parser, e, "the status line does not end in CR LF");
    if (m->status < 100 || m->status > 599)
        return bad(parser, e, "the status is not one from 100 to 599");
    return OK;
}

/*
 * Strict llhttp has refused control characters, folded and malformed lines, lengths that are not
 * one number, and a length beside chunked. The rest of RFC 9112, sections 3 and 6:
 */
static enum error_code message_check(const struct parser *parser, const struct message *m,
                                     const struct head_counts *counts, struct error *e)
{
    if (parser->http.http_major != 1)
        return bad(parser, e, "the version is not HTTP/1.0 or HTTP/1.1");
    /* "A server MUST NOT apply [another] transfer coding [unless it knows that it is understood]":
     * nobody sends one, and a smuggler's trick is what is left. */
    if (counts->encodings > 1)
        return bad(parser, e, "two Transfer-Encoding headers");
    if (counts->encodings == 1 && !(counts->encoding_is_chunked && m->chunked))
        return bad(parser, e, "a Transfer-Encoding other than chunked");
    if (counts->encodings == 1 && m->minor == 0)
        return bad(parser, e, "Transfer-Encoding in HTTP/1.0");
    /* No body is so long, and lengths are counted with a sign elsewhere. */
    if (m->has_length && m->content_length > INT64_MAX)
        return bad(parser, e, "Content-Length overflow");
    if (parser->side == PARSE_ANSWER)
        return answer_check(parser, m, e);

    TRY(request_line_check(parser, m, e));
    TRY(target_check(parser, m, e));
    return request_check(parser, m, counts, e);
}

static enum error_code head_too_large(const struct parser *parser, struct error *e)
{
    if (parser->side == PARSE_REQUEST)
        return FAIL(e, ERR_HEADERS_TOO_LARGE,
                    "request line and headers take more than %zu bytes (header_bytes_max)",
                    parser->head_bytes_max);
    return FAIL(e, ERR_UPSTREAM_BROKEN,
                "the answer's head takes more than %zu bytes (header_bytes_max)",
                parser->head_bytes_max);
}

static enum error_code llhttp_fail(const struct parser *parser, llhttp_errno_t code,
                                   struct error *e)
{
    const llhttp_t *http = &parser->http;
    bool chunked = (http->flags & F_TRANSFER_ENCODING) != 0;
    bool length = (http->flags & F_CONTENT_LENGTH) != 0;
    const char *reason = llhttp_get_error_reason(http);

    if (parser->extra_full)
        return parser->side == PARSE_REQUEST
                   ? FAIL(e, ERR_HEADERS_TOO_LARGE,
                          "chunk extensions and trailers take more than %zu bytes "
                          "(header_bytes_max)",
                          parser->head_bytes_max)
                   : bad(parser, e, "too many chunk extensions or trailers");
    if (code == HPE_UNEXPECTED_CONTENT_LENGTH && !chunked)
        return bad(parser, e, "two Content-Length headers");
    if ((code == HPE_INVALID_CONTENT_LENGTH && chunked) ||
        (code == HPE_INVALID_TRANSFER_ENCODING && length))
        return bad(parser, e, "Content-Length and Transfer-Encoding together");
    if (code == HPE_INVALID_METHOD)
        return bad(parser, e, "the method is not known");
    if (code == HPE_PAUSED_H2_UPGRADE)
        return bad(parser, e, "the version is not HTTP/1.0 or HTTP/1.1");
    return bad(parser, e, reason == NULL || reason[0] == '\0' ? "malformed" : reason);
}

/* ---- steps ---- */

void parse_init(struct parser *parser, enum parse_side side, size_t head_bytes_max)
{
    assert(head_bytes_max > 0);
    *parser = (struct parser){.side = (uint8_t)side, .head_bytes_max = head_bytes_max};
    llhttp_init(&parser->http, side == PARSE_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
                &parse_settings);
}

void parse_reset(struct parser *parser)
{
    parser->head_bytes = 0;
    parser->arena = NULL;
    parser->message = NULL;
    parser->head_done = false;
}

void parse_begin(struct parser *parser, struct arena *arena, bool no_body)
{
    assert(!arena_overflowed(arena));
    llhttp_reset(&parser->http);
    parser->arena = arena;
    parser->message = ARENA_NEW(arena, struct message);
    parser->raw = NULL;
    parser->raw_n = 0;
    parser->raw_size = 0;
    parser->version = STR_NULL;
    parser->body_bytes = 0;
    parser->extra_bytes = 0;
    parser->extra_full = false;
    parser->head_done = false;
    parser->name_open = false;
    parser->filled = false;
    parser->chunk_ended = false;
    parser->no_body = no_body;
}

/* After each feed of a head: rc is llhttp's word on it. */
static enum parse_step head_step(struct parser *parser, llhttp_errno_t rc, struct error *e)
{
    struct head_counts counts;

    if (arena_overflowed(parser->arena)) {
        *parser->message = (struct message){.minor = 1};
        parser->filled = true;
        if (arena_over_budget(parser->arena))
            (void)FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
        else
            (void)head_too_large(parser, e);
        return PARSE_FAILED;
    }
    if (rc == HPE_OK && parser->head_bytes < parser->head_bytes_max)
        return PARSE_MORE;

    message_fill(parser, &counts);
    if (rc == HPE_OK) {
        (void)head_too_large(parser, e);
        return PARSE_FAILED;
    }
    if (rc != HPE_PAUSED) {
        (void)llhttp_fail(parser, rc, e);
        return PARSE_FAILED;
    }
    return message_check(parser, parser->message, &counts, e) == OK ? PARSE_HEAD : PARSE_FAILED;
}

/*
 * The next chunk where it is written as all write it, CR LF SIZE CR LF DATA, and lies in the input
 * whole: behind it llhttp stands as it did before it, so that it need not see it. Anything else
 * (extensions, the last chunk, a part of one) is left to llhttp.
 */
static bool take_chunk(struct parser *parser, struct str *input, struct str *ret_body)
{
    enum { DIGITS_MAX = 7 };
    const char *p = input->p;
    size_t size = 0;
    size_t at = 2;

    assert(parser->head_done);
    if (input->n < 2 || p[0] != '\r' || p[1] != '\n')
        return false;
    for (; at < input->n && at < 2 + DIGITS_MAX; at++) {
        int digit = str_hex_digit(p[at]);
        if (digit < 0)
            break;
        size = size * 16 + (size_t)digit;
    }
    if (size == 0 || input->n - at < 2 || p[at] != '\r' || p[at + 1] != '\n')
        return false;
    at += 2;
    if (size > input->n - at)
        return false;
    *ret_body = str_of(p + at, size);
    *input = str_from(*input, at + size);
    parser->body_bytes += size;
    return true;
}

enum parse_step parse_next(struct parser *parser, struct str *input, struct str *ret_body,
                           struct error *e)
{
    bool in_head = !parser->head_done;
    struct str feed = input->p == NULL ? STR("") : *input;

    assert(parser->message != NULL);
    if (parser->chunk_ended) {
        if (LIKELY(take_chunk(parser, &feed, ret_body))) {
            *input = feed;
            return PARSE_BODY;
        }
        parser->chunk_ended = feed.n == 0;
    }
    if (in_head)
        feed = str_head(feed, parser->head_bytes_max - parser->head_bytes);
    parser->feed = feed.p;
    parser->step = PARSE_MORE;

    llhttp_errno_t rc = feed_all(parser, feed);
    size_t used = feed.n;
    if (rc != HPE_OK) {
        const char *at = llhttp_get_error_pos(&parser->http);
        assert(at >= feed.p && at <= feed.p + feed.n);
        used = (size_t)(at - feed.p);
    }
    if (rc == HPE_PAUSED)
        llhttp_resume(&parser->http);
    *input = str_from(*input, used);

    if (in_head) {
        parser->head_bytes += used;
        raw_add(parser, feed.p, used);
        return head_step(parser, rc, e);
    }
    if (rc == HPE_OK)
        return PARSE_MORE;
    if (rc != HPE_PAUSED) {
        (void)llhttp_fail(parser, rc, e);
        return PARSE_FAILED;
    }
    assert(parser->step == PARSE_BODY || parser->step == PARSE_END);
    if (parser->step == PARSE_BODY)
        *ret_body = parser->body;
    return (enum parse_step)parser->step;
}

enum parse_step parse_eof(struct parser *parser, struct error *e)
{
    unsigned long long bytes = parser->body_bytes;

    assert(parser->side == PARSE_ANSWER);
    if (parser->head_bytes == 0 || !parser->head_done) {
        (void)FAIL(e, ERR_UPSTREAM_BROKEN,
                   parser->head_bytes == 0 ? "the connection closed before any answer"
                                           : "the connection closed inside the answer's head");
        return PARSE_FAILED;
    }
    parser->step = PARSE_MORE;
    (void)llhttp_finish(&parser->http);
    if (parser->step == PARSE_END)
        return PARSE_END;
    if ((parser->http.flags & F_CONTENT_LENGTH) != 0) {
        unsigned long long total = bytes + parser->http.content_length;
        (void)FAIL(e, ERR_UPSTREAM_BROKEN, "the connection closed after %llu of %llu bytes", bytes,
                   total);
        return PARSE_FAILED;
    }
    (void)FAIL(e, ERR_UPSTREAM_BROKEN,
               "the connection closed after %llu bytes, before the last chunk", bytes);
    return PARSE_FAILED;
}

struct message *parse_message(struct parser *parser)
{
    struct head_counts counts;

    if (!parser->filled)
        message_fill(parser, &counts);
    return parser->message;
}
