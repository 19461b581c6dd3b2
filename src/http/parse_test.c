/* SPDX-License-Identifier: MIT */
/* The parser: what is read, what is refused and why, and that cuts do not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/parse.h"

enum { HEAD_MAX = 512, LOG_MAX = 1 << 20 };

#define IN(lit)                             \
    {                                       \
        .p = ("" lit), .n = sizeof(lit) - 1 \
    }

/* What a parser tells of the input, cut as `cut` says, as text. */
struct run {
    enum parse_side side;
    bool no_body;
    bool eof; /* after the input */
    struct arena arena;
    struct buf log;
};

static void run_init(struct run *run, enum parse_side side)
{
    *run = (struct run){.side = side};
    arena_init(&run->arena, 1 << 20, 512, NULL);
    buf_init(&run->log, LOG_MAX);
}

static void run_fini(struct run *run)
{
    arena_fini(&run->arena);
    buf_fini(&run->log);
}

/* The host where it is not the Host header's alone, and what else is picked out of the headers. */
static void log_extras(struct run *run, const struct message *m)
{
    if (m->absolute)
        buf_print(&run->log, " host=%.*s", STR_ARG(m->host));
    else
        assert_true(str_eq(m->host, http_headers_get(&m->headers, STR("host"))));
    if (!str_is_null(m->origin))
        buf_print(&run->log, " origin=%.*s", STR_ARG(m->origin));
    if (!str_is_null(m->content_encoding))
        buf_print(&run->log, " coding=%.*s", STR_ARG(m->content_encoding));
}

static void log_head(struct run *run, const struct message *m)
{
    if (run->side == PARSE_REQUEST) {
        buf_print(&run->log, "%.*s %.*s 1.%d", STR_ARG(m->method_name), STR_ARG(m->path), m->minor);
        if (!str_is_null(m->query))
            buf_print(&run->log, " query=%.*s", STR_ARG(m->query));
        log_extras(run, m);
    } else {
        buf_print(&run->log, "%d 1.%d", m->status, m->minor);
    }
    if (m->keep_alive)
        buf_add(&run->log, STR(" keep"));
    if (m->chunked)
        buf_add(&run->log, STR(" chunked"));
    if (m->upgrade)
        buf_add(&run->log, STR(" upgrade"));
    if (m->expect_continue)
        buf_add(&run->log, STR(" expect"));
    if (m->has_length)
        buf_print(&run->log, " length=%llu", (unsigned long long)m->content_length);
    for (size_t i = 0; i < m->headers.n; i++)
        buf_print(&run->log, " [%.*s=%.*s]", STR_ARG(m->headers.items[i].name),
                  STR_ARG(m->headers.items[i].value));
    buf_add(&run->log, STR("\n"));
}

static void log_failure(struct run *run, struct parser *parser, const struct error *e)
{
    const struct message *m = parse_message(parser);

    if (run->side == PARSE_REQUEST)
        buf_print(&run->log, "%s %.*s: %s", error_name(e->code), STR_ARG(m->path), e->detail);
    else
        buf_print(&run->log, "%s: %s", error_name(e->code), e->detail);
}

/* One piece of input. False after a failure. */
static bool run_feed(struct run *run, struct parser *parser, struct str bytes, bool *body_open)
{
    struct str piece = STR_NULL;
    struct error e;

    for (;;) {
        enum parse_step step = parse_next(parser, &bytes, &piece, &e);
        if (*body_open && step != PARSE_MORE && step != PARSE_BODY) {
            buf_add(&run->log, STR("\n"));
            *body_open = false;
        }
        switch (step) {
        case PARSE_MORE:
            assert_int_equal(bytes.n, 0);
            return true;
        case PARSE_HEAD:
            log_head(run, parse_message(parser));
            break;
        case PARSE_BODY:
            assert_true(piece.n > 0);
            buf_add(&run->log, *body_open ? STR("") : STR("body="));
            buf_add(&run->log, piece);
            *body_open = true;
            break;
        case PARSE_END:
            buf_add(&run->log, STR("end\n"));
            if (run->side == PARSE_REQUEST)
                parse_reset(parser);
            parse_begin(parser, &run->arena, run->no_body);
            if (bytes.n == 0)
                return true;
            break;
        case PARSE_FAILED:
            log_failure(run, parser, &e);
            return false;
        }
    }
}

/* The input in pieces of `cut` bytes first, then `step` bytes. */
static struct str run_all(struct run *run, struct str in, size_t cut, size_t step)
{
    struct parser parser;
    struct error e;
    bool body_open = false;
    bool ok = true;

    arena_reset(&run->arena);
    buf_reset(&run->log);
    parse_init(&parser, run->side, HEAD_MAX);
    parse_begin(&parser, &run->arena, run->no_body);
    while (in.n > 0 && ok) {
        ok = run_feed(run, &parser, str_head(in, cut), &body_open);
        in = str_from(in, cut);
        cut = step;
    }
    if (ok && body_open)
        buf_add(&run->log, STR("\n"));
    if (ok && run->eof) {
        if (parse_eof(&parser, &e) == PARSE_END)
            buf_add(&run->log, STR("end\n"));
        else
            log_failure(run, &parser, &e);
    }
    return buf_str(&run->log);
}

/* Whole, at each single split, byte by byte: always the expected text. */
static void assert_law(struct run *run, struct str in, const char *expected)
{
    for (size_t cut = 1; cut <= in.n + 1; cut++) {
        bool bytewise = cut == in.n + 1;
        struct str got = run_all(run, in, bytewise ? 1 : cut, bytewise ? 1 : in.n);
        if (!str_eq(got, str_c(expected)))
            fail_msg("%.*s\ncut at %zu of %zu gives:\n%.*s\nwanted:\n%s", STR_ARG(in), cut, in.n,
                     STR_ARG(got), expected);
    }
}

/* ---- requests ---- */

#define NO_HOST      "BAD_HTTP /: the Host header is not a host and a port"
#define BARE         "a bare CR or LF before the request line"
#define OTHER_CODING "BAD_HTTP /: a Transfer-Encoding other than chunked"
#define CHUNKED      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define BAD_SIZE     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk size"
#define CHUNKED_HEAD "POST / 1.1 keep chunked [Host=a] [Transfer-Encoding=chunked]\n"

static const struct {
    struct str in;
    const char *expected;
} requests[] = {
    {IN("GET /a/b?c=d&e HTTP/1.1\r\nHost: x\r\nX-A: \t b c \t\r\nEmpty:\r\n\r\n"),
     "GET /a/b 1.1 query=c=d&e keep [Host=x] [X-A=b c] [Empty=]\nend\n"},
    {IN("GET /? HTTP/1.1\r\nHost: x\r\n\r\n"), "GET / 1.1 query= keep [Host=x]\nend\n"},
    {IN("\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "GET / 1.0\nend\n"},
    {IN("GET / HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n"),
     "GET / 1.0 keep [Connection=foo, Keep-Alive]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
     "GET / 1.1 [Host=x] [Connection=close]\nend\n"},
    {IN("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello"),
     "POST /p 1.1 keep expect length=5 [Host=x] [Content-Length=5] [Expect=100-Continue]\n"
     "body=hello\nend\n"},
    {IN("PATCH /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2;a=\"b\";c\r\nhe\r\n003\r\nllo\r\n0\r\nTrailer: t\r\nB: c\r\n\r\n"),
     "PATCH /p 1.1 keep chunked [Host=x] [Transfer-Encoding=chunked]\nbody=hello\nend\n"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
        "DELETE /2 HTTP/1.1\r\nHost: b\r\n\r\n"),
     "POST / 1.1 keep length=2 [Host=a] [Content-Length=2]\nbody=ab\nend\n"
     "DELETE /2 1.1 keep [Host=b]\nend\n"},
    {IN("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), "CONNECT h:443 1.1 keep [Host=h]\nend\n"},
    {IN("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), "OPTIONS * 1.1 keep [Host=h]\nend\n"},
    {IN("GET http://h:1/p?q HTTP/1.1\r\nHost: h\r\n\r\n"),
     "GET /p 1.1 query=q host=h:1 keep [Host=h]\nend\n"},
    {IN("GET http://h?q=/x HTTP/1.1\r\nHost: h\r\n\r\n"),
     "GET / 1.1 query=q=/x host=h keep [Host=h]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
     "GET / 1.1 keep upgrade [Host=h] [Upgrade=websocket] [Connection=upgrade]\nend\n"},
    /* The body of a request that asks for an upgrade is HTTP all the same. */
    {IN("POST / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n"
        "Content-Length: 1\r\n\r\nbGET /n HTTP/1.1\r\nHost: h\r\n\r\n"),
     "POST / 1.1 keep upgrade length=1 [Host=h] [Upgrade=x] [Connection=upgrade] "
     "[Content-Length=1]\nbody=b\nend\nGET /n 1.1 keep [Host=h]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa4\r\n\r\n"),
     "GET / 1.1 keep [Host=h] [A=\xc3\xa4]\nend\n"},

    {IN("GET / HTTP/1.1\r\n\r\n"), "BAD_HTTP /: the Host header is missing"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), "BAD_HTTP /: two Host headers"},
    {IN("POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
     "BAD_HTTP /v1: two Content-Length headers"},
    {IN("POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0"),
     "BAD_HTTP /v1: Content-Length and Transfer-Encoding together"},
    {IN("POST /v1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0"),
     "BAD_HTTP /v1: Content-Length and Transfer-Encoding together"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
     "BAD_HTTP /: a Transfer-Encoding other than chunked"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
     "BAD_HTTP /: a Transfer-Encoding other than chunked"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
        "chunked\r\n\r\n"),
     "BAD_HTTP /: Invalid header value char"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n"),
     "BAD_HTTP /: Invalid `Transfer-Encoding` header value"},
    {IN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     "BAD_HTTP /: Transfer-Encoding in HTTP/1.0"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
     "BAD_HTTP /: Invalid character in Content-Length"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na"),
     "BAD_HTTP /: Invalid character in Content-Length"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na"),
     "BAD_HTTP /: Empty Content-Length"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\na"),
     "BAD_HTTP /: Content-Length overflow"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\na"),
     "BAD_HTTP /: Content-Length overflow"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
     "BAD_HTTP /: Unexpected whitespace after header value"},
    {IN("GET / HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: Unexpected space after start line"},
    {IN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "BAD_HTTP /: Invalid header token"},
    {IN("GET / HTTP/1.1\r\nHost\r\n\r\n"), "BAD_HTTP /: Invalid header token"},
    {IN("GET / HTTP/1.1\r\n: a\r\n\r\n"), "BAD_HTTP /: Invalid header token"},
    {IN("GET / HTTP/1.1\nHost: a\n\n"), "BAD_HTTP /: Expected CRLF after version"},
    {IN("GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n"),
     "BAD_HTTP /: Missing expected CR after header value"},
    {IN("GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n"),
     "BAD_HTTP /: Missing expected LF after header value"},
    {IN("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Invalid char in url path"},
    {IN("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Invalid char in url path"},
    {IN("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP /a#b: the target has a fragment"},
    {IN("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the request line is not METHOD target HTTP/1.x"},
    {IN("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the request line is not METHOD target HTTP/1.x"},
    {IN("GET / RTSP/1.0\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the request line is not METHOD target HTTP/1.x"},
    {IN("GET /\r\nHost: a\r\n\r\n"), "BAD_HTTP : the version is not HTTP/1.0 or HTTP/1.1"},
    {IN("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the version is not HTTP/1.0 or HTTP/1.1"},
    {IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "BAD_HTTP *: the version is not HTTP/1.0 or HTTP/1.1"},
    {IN("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), "BAD_HTTP /: Invalid HTTP version"},
    {IN("FETCH / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : the method is not known"},
    {IN("\x16\x03\x01\x02\x03"), "BAD_HTTP : the method is not known"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk size"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk size"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
     CHUNKED_HEAD "body=a\nBAD_HTTP /: Expected LF after chunk data"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Missing expected CR after chunk size"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "10000000000000000\r\na\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Chunk size overflow"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        "Content-Length: 5\r\n\r\n"),
     CHUNKED_HEAD "body=a\nBAD_HTTP /: Content-Length and Transfer-Encoding together"},
    /* Targets and hosts. */
    {IN("GET HTTPS://[::1]:80/p HTTP/1.1\r\nHost: other\r\n\r\n"),
     "GET /p 1.1 host=[::1]:80 keep [Host=other]\nend\n"},
    {IN("GET http://h HTTP/1.1\r\nHost: h:1\r\n\r\n"), "GET / 1.1 host=h keep [Host=h:1]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: a.b-c_d:\r\n\r\n"), "GET / 1.1 keep [Host=a.b-c_d:]\nend\n"},
    {IN("GET //h/p HTTP/1.1\r\nHost: a\r\n\r\n"), "GET //h/p 1.1 keep [Host=a]\nend\n"},
    {IN("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n"), "CONNECT /x 1.1 keep [Host=a]\nend\n"},
    {IN("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP *: the target * is for OPTIONS"},
    {IN("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP *x: the target * is for OPTIONS"},
    {IN("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the target's scheme is neither http nor https"},
    {IN("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /x: the target's authority is not a host and a port"},
    {IN("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
     "BAD_HTTP /: the target's authority is not a host and a port"},
    {IN("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
     "BAD_HTTP /: the Host header is not a host and a port"},
    {IN("GET foo HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Invalid characters in url"},
    {IN("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Unexpected start char in url"},
    {IN("GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Unexpected char in url schema"},
    {IN("GET / HTTP/1.1\r\nHost:\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"), NO_HOST},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n"),
     "GET / 1.1 origin=http://a keep [Host=a] [Origin=http://a]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nOrigin: x\r\norigin: x\r\n\r\n"),
     "BAD_HTTP /: two Origin headers"},
    /* Codings and expectations. */
    {IN("GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n"),
     "GET / 1.1 coding=gzip keep [Host=a] [Content-Encoding=gzip]\nend\n"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n"),
     "GET / 1.1 coding=several keep [Host=a] [Content-Encoding=gzip] [Content-Encoding=gzip]\n"
     "end\n"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nExpect: x, 100-continue\r\nExpect: y\r\n\r\n"),
     "GET / 1.1 keep expect [Host=a] [Expect=x, 100-continue] [Expect=y]\nend\n"},
    {IN("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
     "GET / 1.0 [Expect=100-continue]\nend\n"},
    /* What llhttp takes, or other servers do: each could be another request elsewhere. */
    {IN("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP /: " BARE},
    {IN("\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP /: " BARE},
    {IN("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP /: " BARE},
    {IN(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : the method is not known"},
    {IN("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : the method is not known"},
    {IN("get / HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : the method is not known"},
    {IN("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Expected HTTP/"},
    {IN("GET /\ta HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Invalid characters in url"},
    {IN("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), "BAD_HTTP /: Expected CRLF after version"},
    {IN("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), "BAD_HTTP /: Expected CRLF after version"},
    {IN("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), "BAD_HTTP /: Expected CRLF after version"},
    {IN("GET / http/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Expected HTTP/"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\n\n"), "BAD_HTTP /: Invalid header field char"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\n\rX"), "BAD_HTTP /: Expected LF after headers"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n"), "BAD_HTTP /: Invalid header value char"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"), "BAD_HTTP /: Invalid header value char"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nX\xc3: b\r\n\r\n"), "BAD_HTTP /: Invalid header token"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na"),
     "BAD_HTTP /: Invalid header field char"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n 2\r\n\r\na"),
     "BAD_HTTP /: Unexpected whitespace after header value"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"),
     "BAD_HTTP /: Invalid character in Content-Length"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\na"),
     "BAD_HTTP /: Invalid character in Content-Length"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n"),
     "BAD_HTTP /: Invalid `Transfer-Encoding` header value"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n"),
     "BAD_HTTP /: Invalid `Transfer-Encoding` header value"},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t\r\n\r\n"), OTHER_CODING},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"), OTHER_CODING},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"), OTHER_CODING},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n"), OTHER_CODING},
    {IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"), OTHER_CODING},
    {IN(CHUNKED "5 \r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED "5\t\r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED " 5\r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED "+5\r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED "\r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED ";a\r\nhello\r\n0\r\n\r\n"), BAD_SIZE},
    {IN(CHUNKED "5\rhello\r\n0\r\n\r\n"), CHUNKED_HEAD "BAD_HTTP /: Expected LF after chunk size"},
    {IN(CHUNKED "5;\r\nhello\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk extensions"},
    {IN(CHUNKED "5;a=b\nc\r\nhello\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Missing expected CR after chunk extension value"},
    {IN(CHUNKED "5;a=\"\rb\"\r\nhello\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk extensions quoted value"},
    {IN(CHUNKED "5;a\0\r\nhello\r\n0\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid character in chunk extensions name"},
    {IN(CHUNKED "1\r\na\n0\r\n\r\n"),
     CHUNKED_HEAD "body=a\nBAD_HTTP /: Missing expected CR after chunk data"},
    {IN(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Unexpected whitespace after header value"},
    {IN(CHUNKED "0\r\nA : b\r\n\r\n"), CHUNKED_HEAD "BAD_HTTP /: Invalid header token"},
    {IN(CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
     CHUNKED_HEAD "BAD_HTTP /: Invalid `Transfer-Encoding` header value"},
    {IN(CHUNKED "0\n\r\n"), CHUNKED_HEAD "BAD_HTTP /: Missing expected CR after chunk size"},
    {IN("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), "BAD_HTTP : Invalid char in url path"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n"), "BAD_HTTP /: Invalid header value char"},
    {IN("GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n"), "BAD_HTTP /: Invalid header token"},
};

/* With each byte from `from` on replaced by others: what the input whole gives, right or wrong, is
 * what it gives byte by byte. */
static void assert_mutated(enum parse_side side, const char *in, size_t from)
{
    static const char put[] = {'\r', '\n', '\t', ' ', '0', '9',  'f',    'G',
                               ':',  ';',  ',',  '-', '/', '\0', '\x7f', '\xff'};
    const size_t n = strlen(in);
    struct run run;
    char *bytes = mem_raw(n);
    size_t right = 0;

    run_init(&run, side);
    for (size_t i = from * COUNT_OF(put); i < n * COUNT_OF(put); i++) {
        struct arena kept;
        memcpy(bytes, in, n);
        bytes[i / COUNT_OF(put)] = put[i % COUNT_OF(put)];
        struct str mutated = str_of(bytes, n);
        arena_init(&kept, 1 << 16, 512, NULL);
        struct str one = str_copy(&kept, run_all(&run, mutated, n, 1));
        right += str_ends(one, STR("end\n"));
        struct str other = run_all(&run, mutated, 1, 1);
        if (!str_eq(one, other))
            fail_msg("%.*s\ngives\n%.*s\nand byte by byte\n%.*s", STR_ARG(mutated), STR_ARG(one),
                     STR_ARG(other));
        arena_fini(&kept);
    }
    assert_in_range(right, 100, n * COUNT_OF(put));
    mem_free(bytes);
    run_fini(&run);
}

/* Chunks behind the first one are stepped over when they lie in the input whole. */
static void test_chunks_mutated(void **state)
{
    (void)state;
    assert_mutated(PARSE_REQUEST,
                   CHUNKED
                   "2\r\nab\r\n1\r\nc\r\nA\r\n0123456789\r\n00000000a\r\n\r\n1\r\n1\r\nxy"
                   "\r\n2;x=y\r\nde\r\n00000c\r\nin the midst\r\n1\r\nf\r\n0\r\nA: b\r\n\r\n",
                   sizeof(CHUNKED) - 1);
}

/* Lines of a head that frame nothing are not shown to llhttp. */
static void test_heads_mutated(void **state)
{
    (void)state;
    assert_mutated(PARSE_REQUEST,
                   "POST /v1?a HTTP/1.1\r\nHost: a:80\r\nX-Stainless-OS:Linux \r\nEmpty:\r\n"
                   "Connection: keep-alive\r\nUser-Agent: \"x\" (y; z)\r\nContent-Type: a/b\r\n"
                   "Content-Length: 3\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nA_b-1: c\r\n"
                   "\r\nabc",
                   0);
    assert_mutated(
        PARSE_REQUEST,
        "PUT / HTTP/1.1\r\nhost: a\r\nCONNECTION: close, Upgrade\r\nPurposefully-Ok: 1\r\n"
        "Tab:\ta\tb\r\ntransfer-encoding: chunked\r\nTransfer-Encodinx: y\r\n\r\n"
        "1\r\na\r\n0\r\n\r\n",
        0);
    assert_mutated(
        PARSE_ANSWER,
        "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: Sun, 22 Nov\r\nContent-Length: 2\r\n"
        "X-Y: z\r\n\r\nok",
        0);
}

/* What a smuggler would put into a head, and what surrounds it: lines as all write them, such as
 * frame the message, and odd ones. */
static const struct str lines[] = {
    STR_INIT("Host: a\r\n"),
    STR_INIT("Host: b\r\n"),
    STR_INIT("X-Plain: y\r\n"),
    STR_INIT("empty:\r\n"),
    STR_INIT("Content-Length: 3\r\n"),
    STR_INIT("Content-Length: 4\r\n"),
    STR_INIT("content-length:3 \r\n"),
    STR_INIT("Content-Length: +3\r\n"),
    STR_INIT("Content-Length: 3, 3\r\n"),
    STR_INIT("Content-Length:\r\n"),
    STR_INIT("Content-Length: 18446744073709551619\r\n"),
    STR_INIT("Content-Length : 3\r\n"),
    STR_INIT("Content_Length: 3\r\n"),
    STR_INIT("Transfer-Encoding: chunked\r\n"),
    STR_INIT("TRANSFER-ENCODING:chunked\r\n"),
    STR_INIT("Transfer-Encoding: identity\r\n"),
    STR_INIT("Transfer-Encoding: gzip, chunked\r\n"),
    STR_INIT("Transfer-Encoding:\tchunked\r\n"),
    STR_INIT("Transfer-Encoding: xchunked\r\n"),
    STR_INIT("Transfer-Encoding\t: chunked\r\n"),
    STR_INIT("Connection: close\r\n"),
    STR_INIT("Connection: keep-alive, upgrade\r\n"),
    STR_INIT("Proxy-Connection: close\r\n"),
    STR_INIT("Upgrade: websocket\r\n"),
    STR_INIT("Expect: 100-continue\r\n"),
    STR_INIT(" folded: 1\r\n"),
    STR_INIT("\tfolded\r\n"),
    STR_INIT("X: a\r\n b\r\n"),
    STR_INIT("X: a\nY: b\r\n"),
    STR_INIT("X: a\rY: b\r\n"),
    STR_INIT("X: a\r\r\n"),
    STR_INIT("X: \0\r\n"),
    STR_INIT("X\0: a\r\n"),
    STR_INIT("X: \x7f\r\n"),
    STR_INIT("X: \xe4\xff\r\n"),
    STR_INIT("\xe4: a\r\n"),
    STR_INIT("X y: a\r\n"),
    STR_INIT(": a\r\n"),
    STR_INIT("no colon\r\n"),
    STR_INIT("!#$%&'*+.^`|~: token\r\n"),
    STR_INIT("\r\n"),
    STR_INIT("\n"),
};

/* First lines, and bodies that may be the next message. */
static const struct str firsts[][4] = {
    [PARSE_REQUEST] = {STR_INIT("POST / HTTP/1.1\r\n"), STR_INIT("GET /x HTTP/1.0\r\n"),
                       STR_INIT("OPTIONS * HTTP/1.1\r\n"), STR_INIT("\r\nPUT / HTTP/1.1\r\n")},
    [PARSE_ANSWER] = {STR_INIT("HTTP/1.1 200 OK\r\n"), STR_INIT("HTTP/1.0 200\r\n"),
                      STR_INIT("HTTP/1.1 100 Continue\r\n"), STR_INIT("HTTP/1.1 304 x\r\n")},
};
static const struct str bodies[] = {STR_INIT("abc"), STR_INIT(""),
                                    STR_INIT("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
                                    STR_INIT("1\r\na\r\n0\r\nHost: t\r\n\r\n")};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 11;
}

static void random_message(enum parse_side side, uint64_t *seed, struct buf *out)
{
    uint64_t kind = next_random(seed) % 8;

    buf_add(out, firsts[side][kind < COUNT_OF(firsts[0]) ? kind : 0]);
    if (side == PARSE_REQUEST)
        buf_add(out, lines[0]);
    for (uint64_t n = next_random(seed) % 6; n > 0; n--)
        buf_add(out, lines[next_random(seed) % COUNT_OF(lines)]);
    buf_add(out, STR("\r\n"));
    buf_add(out, bodies[next_random(seed) % COUNT_OF(bodies)]);
}

/* Catches: a line that llhttp is not shown and would have refused, or kept something of; what one
 * message of a pipeline leaves behind for the next. Byte by byte llhttp sees all. In memory as long
 * as the input, so that a sanitizer sees what is read past it. */
static void test_heads_combined(void **state)
{
    enum { ROUNDS = 20000 };
    struct run run;
    struct buf in;
    uint64_t seed = 88172645463325252u;
    size_t right = 0;

    (void)state;
    buf_init(&in, LOG_MAX);
    for (int i = 0; i < ROUNDS; i++) {
        struct arena kept;
        enum parse_side side = i % 4 == 3 ? PARSE_ANSWER : PARSE_REQUEST;
        buf_reset(&in);
        for (uint64_t n = 1 + next_random(&seed) % 3; n > 0; n--)
            random_message(side, &seed, &in);
        char *bytes = mem_raw(in.n);
        memcpy(bytes, in.p, in.n);
        struct str text = str_of(bytes, in.n);
        run_init(&run, side);
        arena_init(&kept, 1 << 16, 512, NULL);
        struct str whole = str_copy(&kept, run_all(&run, text, in.n, 1));
        right += str_find(whole, STR("end\n"), 0) != SIZE_MAX;
        struct str other = run_all(&run, text, 1, 1);
        if (!str_eq(whole, other))
            fail_msg("%.*s\ngives\n%.*s\nand byte by byte\n%.*s", STR_ARG(text), STR_ARG(whole),
                     STR_ARG(other));
        arena_fini(&kept);
        run_fini(&run);
        mem_free(bytes);
    }
    assert_in_range(right, ROUNDS / 10, ROUNDS);
    buf_fini(&in);
}

static void test_requests(void **state)
{
    (void)state;
    struct run run;

    run_init(&run, PARSE_REQUEST);
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        assert_law(&run, requests[i].in, requests[i].expected);
    run_fini(&run);
}

/* ---- answers ---- */

#define BROKEN   "UPSTREAM_BROKEN: "
#define NOT_HTTP BROKEN "the answer is not valid HTTP/1: "

static const struct {
    struct str in;
    bool eof;
    bool is_head;
    const char *expected;
} answers[] = {
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), false, false,
     "200 1.1 keep length=2 [Content-Length=2]\nbody=ok\nend\n"},
    {IN("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), false, false,
     "200 1.1 keep length=0 [Content-Length=0]\nend\n"},
    {IN("HTTP/1.0 404 N\xc3\xb6t\r\nContent-Length: 0\r\n\r\n"), false, false,
     "404 1.0 length=0 [Content-Length=0]\nend\n"},
    {IN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"), false, false,
     "200 1.0 keep length=0 [Connection=keep-alive] [Content-Length=0]\nend\n"},
    {IN("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), false, false,
     "200 1.1 length=0 [Connection=close] [Content-Length=0]\nend\n"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
     false, false, "200 1.1 keep chunked [Transfer-Encoding=chunked]\nbody=abc\nend\n"},
    /* Without any length: up to EOF, and the connection is spent. */
    {IN("HTTP/1.1 200 OK\r\n\r\nuntil the end"), true, false, "200 1.1\nbody=until the end\nend\n"},
    {IN("HTTP/1.1 200 OK\r\n\r\n"), true, false, "200 1.1\nend\n"},
    /* No body whatever the headers say. */
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), false, true,
     "200 1.1 keep length=9 [Content-Length=9]\nend\n"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), false, true,
     "200 1.1 keep chunked [Transfer-Encoding=chunked]\nend\n"},
    {IN("HTTP/1.1 204 No\r\n\r\n"), false, false, "204 1.1 keep\nend\n"},
    {IN("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n"), false, false,
     "304 1.1 keep length=9 [Content-Length=9]\nend\n"},
    {IN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"),
     false, false,
     "100 1.1 keep\nend\n103 1.1 keep [Link=x]\nend\n"
     "200 1.1 keep length=1 [Content-Length=1]\nbody=!\nend\n"},

    /* Not one that a signed number does not hold, not even where no body is to come. */
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n"), false, true,
     "200 1.1 keep length=9223372036854775807 [Content-Length=9223372036854775807]\nend\n"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nab"), false, false,
     BROKEN "the answer is not valid HTTP/1: Content-Length overflow"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"), false, true,
     BROKEN "the answer is not valid HTTP/1: Content-Length overflow"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), true, false,
     "200 1.1 keep length=5 [Content-Length=5]\nbody=ab\n" BROKEN
     "the connection closed after 2 of 5 bytes"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), true, false,
     "200 1.1 keep length=5 [Content-Length=5]\n" BROKEN
     "the connection closed after 0 of 5 bytes"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), true, false,
     "200 1.1 keep chunked [Transfer-Encoding=chunked]\nbody=abc\n" BROKEN
     "the connection closed after 3 bytes, before the last chunk"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), true, false,
     "200 1.1 keep chunked [Transfer-Encoding=chunked]\n" BROKEN
     "the connection closed after 0 bytes, before the last chunk"},
    {IN("HTTP/1.1 200 OK\r\nCont"), true, false,
     BROKEN "the connection closed inside the answer's head"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), false, false,
     NOT_HTTP "two Content-Length headers"},
    {IN("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), false, false,
     NOT_HTTP "Content-Length and Transfer-Encoding together"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), false, false,
     NOT_HTTP "a Transfer-Encoding other than chunked"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"), false, false,
     NOT_HTTP "a Transfer-Encoding other than chunked"},
    {IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab"), false, false,
     "200 1.1 keep chunked [Transfer-Encoding=chunked]\nbody=a\n" NOT_HTTP
     "Expected LF after chunk data"},
    {IN("hello"), false, false, NOT_HTTP "Expected HTTP/"},
    {IN("<html>"), false, false, NOT_HTTP "Expected HTTP/"},
    {IN("ICY 200 OK\r\n\r\n"), false, false, NOT_HTTP "Expected HTTP/"},
    {IN("HTTP/0.9 200 OK\r\n\r\n"), false, false,
     NOT_HTTP "the version is not HTTP/1.0 or HTTP/1.1"},
    {IN("HTTP/2.0 200 OK\r\n\r\n"), false, false,
     NOT_HTTP "the version is not HTTP/1.0 or HTTP/1.1"},
    {IN("HTTP/1.1 099 OK\r\n\r\n"), false, false, NOT_HTTP "the status is not one from 100 to 599"},
    {IN("HTTP/1.1 600 OK\r\n\r\n"), false, false, NOT_HTTP "the status is not one from 100 to 599"},
    {IN("HTTP/1.1 999 OK\r\n\r\n"), false, false, NOT_HTTP "the status is not one from 100 to 599"},
    {IN("HTTP/1.1 2000 OK\r\n\r\n"), false, false, NOT_HTTP "Invalid response status"},
    {IN("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), false, false,
     NOT_HTTP "Missing expected CR after response line"},
    /* A reason that ends in CR CR (RFC 9112, 2.2); llhttp reads a header behind it. */
    {IN("HTTP/1.1 200 OK\r\rContent-Length: 5\r\n\r\nhello"), false, false,
     NOT_HTTP "the status line does not end in CR LF"},
    {IN("HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\n\r\nhello"), false, false,
     NOT_HTTP "Invalid header field char"},
    {IN("HTTP/1.1 200\r\r\n\r\n"), false, false, NOT_HTTP "Invalid header field char"},
    {IN("HTTP/1.1 200 \r\rA: b\r\n\r\n"), false, false,
     NOT_HTTP "the status line does not end in CR LF"},
    {IN("HTTP/1.1 200 OK\rA: b\r\n\r\n"), false, false, NOT_HTTP "Expected LF after CR"},
    {IN("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n"), false, false,
     NOT_HTTP "Unexpected whitespace after header value"},
    {IN("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n"), false, false, NOT_HTTP "Invalid header value char"},
    /* What may go down as it came must not be able to end a line, or be a control. */
    {IN("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n"), false, false,
     NOT_HTTP "Missing expected LF after header value"},
    {IN("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"), false, false,
     NOT_HTTP "Missing expected CR after header value"},
    {IN("HTTP/1.1 200 OK\r\nA: \x1b[1m\r\n\r\n"), false, false,
     NOT_HTTP "Invalid header value char"},
    {IN("HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n"), false, false, NOT_HTTP "Invalid header value char"},
    {IN("\x15\x03\x03\x00\x02\x02\x50"), false, false, NOT_HTTP "Expected HTTP/"},
};

static void test_answers(void **state)
{
    (void)state;
    struct run run;

    run_init(&run, PARSE_ANSWER);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        run.eof = answers[i].eof;
        run.no_body = answers[i].is_head;
        assert_law(&run, answers[i].in, answers[i].expected);
    }
    run_fini(&run);
}

static void test_eof_before_any_answer(void **state)
{
    (void)state;
    struct run run;
    struct parser parser;
    struct error e;

    run_init(&run, PARSE_ANSWER);
    parse_init(&parser, PARSE_ANSWER, HEAD_MAX);
    parse_begin(&parser, &run.arena, false);
    assert_int_equal(parse_eof(&parser, &e), PARSE_FAILED);
    assert_string_equal(e.detail, "the connection closed before any answer");
    run_fini(&run);
}

/* A head much larger than the first guess, in pieces: it is moved while tokens point into it. */
static void test_large_head_in_pieces(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 3, 100, 1000, 4096};
    struct buf in;

    buf_init(&in, 1 << 20);
    buf_add(&in, STR("GET /first HTTP/1.1\r\nHost: x\r\n"));
    for (int i = 0; i < 400; i++)
        buf_print(&in, "Name-%03d: value of %03d\r\n", i, i);
    buf_add(&in, STR("\r\n"));
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct run run;
        struct parser parser;
        bool body_open = false;
        char line[64];
        run_init(&run, PARSE_REQUEST);
        parse_init(&parser, PARSE_REQUEST, 32768);
        parse_begin(&parser, &run.arena, false);
        for (size_t at = 0; at < in.n; at += steps[i])
            assert_true(run_feed(&run, &parser, str_head(str_from(buf_str(&in), at), steps[i]),
                                 &body_open));
        assert_true(str_starts(buf_str(&run.log), STR("GET /first 1.1 keep [Host=x]")));
        for (int k = 0; k < 400; k++) {
            (void)snprintf(line, sizeof(line), " [Name-%03d=value of %03d]", k, k);
            assert_true(str_find(buf_str(&run.log), str_c(line), 0) != SIZE_MAX);
        }
        run_fini(&run);
    }
    buf_fini(&in);
}

/* ---- laws on inputs that nobody thought of ---- */

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* The tables' inputs with some bytes changed, doubled or gone: whatever is said of them, it is the
 * same for every cut. */
static void damage(struct buf *bytes, uint64_t *seed)
{
    static const char likely[] = "\r\n\t :;,/?#0a\x00\x7f\xff";

    for (uint64_t n = next(seed) % 3 + 1; n > 0 && bytes->n > 0; n--) {
        size_t at = next(seed) % bytes->n;
        char c = likely[next(seed) % (sizeof(likely) - 1)];
        switch (next(seed) % 3) {
        case 0:
            bytes->p[at] = c;
            break;
        case 1:
            memmove(bytes->p + at, bytes->p + at + 1, bytes->n - at - 1);
            bytes->n--;
            break;
        default:
            if (buf_add_char(bytes, c))
                memmove(bytes->p + at + 1, bytes->p + at, bytes->n - at - 1);
            break;
        }
    }
}

static void law_of_damaged(enum parse_side side, struct str in, bool eof, uint64_t *seed)
{
    struct run whole;
    struct run cut;
    struct buf bytes;

    run_init(&whole, side);
    run_init(&cut, side);
    whole.eof = cut.eof = eof;
    buf_init(&bytes, 4096);
    for (int round = 0; round < 60; round++) {
        buf_reset(&bytes);
        buf_add(&bytes, in);
        damage(&bytes, seed);
        struct str expected = run_all(&whole, buf_str(&bytes), bytes.n, 1);
        size_t first = next(seed) % 40 + 1;
        size_t step = next(seed) % 40 + 1;
        if (!str_eq(run_all(&cut, buf_str(&bytes), first, step), expected))
            fail_msg("%.*s\ncut at %zu, then %zu gives:\n%.*s\nwhole:\n%.*s",
                     STR_ARG(buf_str(&bytes)), first, step, STR_ARG(buf_str(&cut.log)),
                     STR_ARG(expected));
    }
    buf_fini(&bytes);
    run_fini(&whole);
    run_fini(&cut);
}

static void test_damaged_input_at_any_cut(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15;

    for (size_t i = 0; i < COUNT_OF(requests); i++)
        law_of_damaged(PARSE_REQUEST, requests[i].in, false, &seed);
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        law_of_damaged(PARSE_ANSWER, answers[i].in, true, &seed);
}

/* A head that does not fit the arena is a head that is too large, not a crash. */
static void test_small_arena(void **state)
{
    (void)state;
    struct str in = STR("GET /long/enough HTTP/1.1\r\nHost: x\r\nA: b\r\nC: d\r\nE: f\r\n\r\n");

    for (size_t bytes_max = 520; bytes_max < 2100; bytes_max += 64) {
        for (size_t step = 1; step <= in.n; step += 7) {
            struct run run;
            run_init(&run, PARSE_REQUEST);
            arena_init(&run.arena, bytes_max, 512, NULL);
            struct parser parser;
            bool body_open = false;
            bool ok = true;
            parse_init(&parser, PARSE_REQUEST, HEAD_MAX);
            parse_begin(&parser, &run.arena, false);
            for (size_t at = 0; at < in.n && ok; at += step)
                ok = run_feed(&run, &parser, str_head(str_from(in, at), step), &body_open);
            assert_true(str_starts(buf_str(&run.log), ok ? STR("GET ") : STR("HEADERS_TOO_LARGE")));
            run_fini(&run);
        }
    }
}

/* Nor is it too large where it is the others who hold the memory. */
static void test_budget_used_up(void **state)
{
    (void)state;
    struct arena_budget budget = {.max = 4096};
    struct run run;
    struct parser parser;
    bool body_open = false;

    assert_true(arena_budget_take(&budget, 4000));
    run_init(&run, PARSE_REQUEST);
    arena_init(&run.arena, 1 << 20, 512, &budget);
    parse_init(&parser, PARSE_REQUEST, HEAD_MAX);
    parse_begin(&parser, &run.arena, false);
    assert_false(run_feed(&run, &parser, STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), &body_open));
    assert_true(str_starts(buf_str(&run.log), STR("OVERLOADED")));
    run_fini(&run);
    arena_budget_give(&budget, 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_chunks_mutated),
        cmocka_unit_test(test_heads_mutated),
        cmocka_unit_test(test_heads_combined),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_eof_before_any_answer),
        cmocka_unit_test(test_large_head_in_pieces),
        cmocka_unit_test(test_damaged_input_at_any_cut),
        cmocka_unit_test(test_small_arena),
        cmocka_unit_test(test_budget_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
