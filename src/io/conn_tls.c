/* SPDX-License-Identifier: MIT */
/*
 * TLS: a connection over another one, as client or as server.
 *
 * What      Handshake (clients: with SNI, verification and sessions of before), records in both
 *           directions.
 * How       OpenSSL reads and writes through a BIO of ours, which copies nothing on the way in and
 *           gathers records on the way out:
 *
 *             lower's read event: lent bytes ─► `in` ─► SSL_read ─► scratch.plain ─► read event
 *             conn_write: parts ─► scratch.gather ─► SSL_write ─► scratch.cipher ─► one write below
 *
 *           States: CONNECTING or STANDING ─► HANDSHAKE ─► OPEN; any of them ─► DEAD (has failed).
 *           The lower connection may be TLS itself: each has the scratch of its depth, as the outer
 *           one's records are the inner one's plaintext, and the other way round.
 *           All that a lent piece holds is decrypted before the owner is told, so that nothing of
 *           it is left if the owner stops reading or closes. What comes together with the
 *           handshake's end before the owner reads is kept in `stash`, what the owner wrote
 *           before it in `early`; else a connection has no buffer of its own but OpenSSL's. What is
 *           written between two records of one ticket waits in `early` as well: OpenSSL writes
 *           nothing until it has that whole (RFC 8446, 5.1: messages may span records).
 *           Only close_notify is told as EOF. The stream's end without it may be anybody's doing,
 *           and is told as a failure (RFC 9112, 9.8: a body that ends with the connection would be
 *           cut unnoticed).
 * Owns      The lower connection, the SSL, a reference to the context. The scratch memory is the
 *           loop's, one a depth for all.
 * Not here  Trust and versions (tls_context, tls_server), keeping sessions (tls_session), the
 *           socket (conn_tcp).
 */
#include "io/conn.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/io_priv.h"
#include "io/tls_priv.h"

enum {
    RECORD_SIZE = 16 * 1024,        /* plaintext */
    RECORD_CIPHER_SIZE = 17 * 1024, /* with header and tag, at most */
    CIPHER_SIZE = 64 * 1024,
    NAME_DETAIL_SIZE = 120,
    /* Of what TLS itself says (key updates that the other side asked for) while that side takes
     * nothing. */
    REPLIES_MAX = 16 * 1024,
};

static const size_t EARLY_MAX = SIZE_MAX / 4;

/* One per loop, used within a call or an event only. */
struct tls_scratch {
    size_t cipher_n;
    char gather[RECORD_SIZE];
    char cipher[CIPHER_SIZE];  /* records on their way down; empty between calls */
    char plain[CONN_READ_MAX]; /* lent to read events */
};

/* One lent piece of the lowest connection, and in each TLS above it a record begun. */
_Static_assert(CONN_READ_MAX >= LOOP_READ_SIZE + TLS_DEPTH * RECORD_CIPHER_SIZE,
               "a lent piece must fit");

enum tls_state {
    TLS_CONNECTING, /* the lower connection says when it stands */
    TLS_STANDING,   /* it stands; the handshake begins in a turn of its own */
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_DEAD,
};

struct conn_tls {
    struct conn conn;
    struct conn *lower;
    SSL *ssl; /* NULL before the handshake */
    struct tls_context *context;
    struct str in; /* ciphertext for OpenSSL to read */
    struct buf stash;
    struct buf early;
    struct timer timer; /* of the handshake */
    int64_t timeout_ms;
    int64_t deadline_ms;
    int64_t verified_ms; /* when the other side last showed its certificate: of a session resumed */
    uint32_t replies;    /* bytes that TLS itself has said since the lower queue was empty */
    struct str plain_answer;
    struct tls_hello hello; /* servers */
    uint16_t port;
    uint8_t depth;  /* how many TLS lie below */
    uint8_t state;  /* enum tls_state */
    bool ended;     /* the stream of the other side: eof is to be told, or was */
    bool offered;   /* a session of before */
    bool has_fresh; /* a session came with this connection */
    char host[];    /* clients: NUL-terminated, as a certificate says it */
};

static const struct conn_ops tls_ops;

static struct conn_tls *tls_of(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(conn->ops == &tls_ops);
    return CONTAINER_OF(conn, struct conn_tls, conn);
}

static struct tls_scratch *scratch_of(const struct conn_tls *tls)
{
    return tls->conn.loop->tls[tls->depth];
}

/* Who the other side is, for error texts: at most NAME_DETAIL_SIZE bytes. */
static struct str name_of(const struct conn_tls *tls)
{
    struct str name = tls->context->server ? conn_peer(tls->lower) : str_c(tls->host);

    return str_head(name, NAME_DETAIL_SIZE);
}

/* All below, down to the socket, are to say when they have drained. */
static void want_lower_writable(struct conn_tls *tls)
{
    struct conn *lower = tls->lower;

    for (; lower->ops == &tls_ops; lower = tls_of(lower)->lower)
        lower->want_writable = true;
    lower->want_writable = true;
}

/* ---- the BIO ---- */

static void flush(struct conn_tls *tls)
{
    struct tls_scratch *scratch = scratch_of(tls);
    const struct str records = str_of(scratch->cipher, scratch->cipher_n);

    if (records.n == 0)
        return;
    scratch->cipher_n = 0;
    /* After our close_notify OpenSSL may still want to answer a key update: nobody listens. */
    if (!tls->lower->shut)
        (void)conn_write(tls->lower, &records, 1);
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct conn_tls *tls = BIO_get_data(bio);
    struct tls_scratch *scratch = scratch_of(tls);

    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if ((size_t)n > sizeof(scratch->cipher) - scratch->cipher_n)
        flush(tls);
    assert((size_t)n <= sizeof(scratch->cipher));
    memcpy(scratch->cipher + scratch->cipher_n, p, (size_t)n);
    scratch->cipher_n += (size_t)n;
    return n;
}

static int bio_read(BIO *bio, char *to, int n)
{
    struct conn_tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if (tls->in.n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    struct str bytes = str_head(tls->in, (size_t)n);
    memcpy(to, bytes.p, bytes.n);
    tls->in = str_from(tls->in, bytes.n);
    return (int)bytes.n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *conn_tls_bio_new(void)
{
    /* No index of its own: a process has some 127 of them, and each reload makes methods. */
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "conn_tls");

    if (method == NULL || BIO_meth_set_write(method, bio_write) != 1 ||
        BIO_meth_set_read(method, bio_read) != 1 || BIO_meth_set_ctrl(method, bio_ctrl) != 1 ||
        BIO_meth_set_create(method, bio_create) != 1)
        BUG("no BIO method can be made");
    return method;
}

/* ---- failing ---- */

static void tls_fail(struct conn_tls *tls, const struct error *e)
{
    tls->state = TLS_DEAD;
    tls->in = STR_NULL;
    timer_stop(&tls->timer);
    conn_read_stop(tls->lower);
    conn_emit_failed(&tls->conn, e);
}

static void handshake_failed(struct conn_tls *tls, const char *why)
{
    struct error e;

    FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "TLS: %s (%.*s)", why, STR_ARG(name_of(tls)));
    tls_fail(tls, &e);
}

static void on_handshake_timer(struct timer *timer)
{
    struct conn_tls *tls = CONTAINER_OF(timer, struct conn_tls, timer);
    struct error e;

    FAIL(&e, ERR_UPSTREAM_TIMEOUT, "no TLS handshake within %lld ms%s (%.*s)",
         (long long)tls->timeout_ms, tls->context->server ? "" : " (connect_timeout)",
         STR_ARG(name_of(tls)));
    tls_fail(tls, &e);
}

static void broken(struct conn_tls *tls, const char *why)
{
    struct error e;

    FAIL(&e, ERR_UPSTREAM_BROKEN, "TLS: %s", why);
    tls_fail(tls, &e);
}

/* ---- reading ---- */

/* Until more comes from below. SSL_MODE_RELEASE_BUFFERS leaves 16 KiB to write with, and for a
 * server as much to read with, after a message of the handshake, of which session tickets come
 * last. Within a record its beginning lies in the buffer: OpenSSL 3.0 frees it without looking. */
static void rest(struct conn_tls *tls)
{
    if (strcmp(SSL_rstate_string(tls->ssl), "RH") == 0)
        (void)SSL_free_buffers(tls->ssl);
}

/* Sends what TLS itself has to say. False: nobody reads it, and it becomes more and more. */
static bool flush_replies(struct conn_tls *tls)
{
    size_t n = scratch_of(tls)->cipher_n;

    if (n == 0)
        return true;
    if (conn_queued(tls->lower) == 0)
        tls->replies = 0;
    tls->replies += (uint32_t)n;
    flush(tls);
    return tls->replies <= REPLIES_MAX;
}

static void write_held(struct conn_tls *tls);

/* Decrypts all of `in`, tells the owner, then whether the stream has ended or broken. */
static void pull(struct conn_tls *tls)
{
    struct tls_scratch *scratch = scratch_of(tls);
    size_t n = 0;
    size_t got = 0;

    assert(tls->state == TLS_OPEN);
    ERR_clear_error();
    while (SSL_read_ex(tls->ssl, scratch->plain + n, sizeof(scratch->plain) - n, &got) == 1) {
        n += got;
        assert(n < sizeof(scratch->plain));
    }
    int reason = SSL_get_error(tls->ssl, 0);
    const char *why = reason == SSL_ERROR_SSL ? tls_context_error_text() : NULL;
    if (!flush_replies(tls) && why == NULL)
        why = "the other side asks for much and takes nothing";
    tls->in = STR_NULL;
    rest(tls);
    bool held = tls->early.n > 0 && why == NULL;
    if (held)
        write_held(tls);
    if (n > 0)
        conn_emit_read(&tls->conn, str_of(scratch->plain, n));
    if (tls->conn.closed || tls->state != TLS_OPEN)
        return;
    if (why != NULL)
        broken(tls, why);
    else if (reason == SSL_ERROR_ZERO_RETURN)
        tls->ended = true;
    if (held && tls->state == TLS_OPEN)
        (void)conn_drained(&tls->conn);
}

static void tell_end(struct conn_tls *tls)
{
    if (tls->conn.closed || tls->state != TLS_OPEN || !tls->ended || !tls->conn.reading)
        return;
    conn_read_stop(tls->lower);
    conn_emit_eof(&tls->conn);
}

static void tls_read(struct conn *conn)
{
    struct conn_tls *tls = tls_of(conn);

    if (tls->state != TLS_OPEN)
        return;
    if (!conn->reading)
        conn_read_stop(tls->lower);
    else if (tls->stash.n > 0 || tls->ended)
        conn_soon(conn);
    else
        conn_read_start(tls->lower);
}

static void begin(struct conn_tls *tls);

/* Asked for by conn_tls_secure, or by tls_read: what had to wait for the owner. */
static void tls_turn(struct conn *conn)
{
    struct conn_tls *tls = tls_of(conn);

    if (tls->state == TLS_STANDING) {
        begin(tls);
        return;
    }
    if (!conn->reading || tls->state != TLS_OPEN)
        return;
    if (tls->stash.n > 0) {
        struct buf stash = tls->stash;
        buf_init(&tls->stash, CONN_READ_MAX);
        tls->in = buf_str(&stash);
        pull(tls);
        buf_fini(&stash);
    }
    tell_end(tls);
    if (!conn->closed && conn->reading)
        conn_read_start(tls->lower);
}

/* Whether it took leave (close_notify) or not: behind the stream's end below nothing comes. */
static bool tls_has_left(const struct conn *conn)
{
    const struct conn_tls *tls = (const void *)conn;

    assert(conn->ops == &tls_ops);
    return tls->ended || conn_has_left(tls->lower);
}

/* ---- writing ---- */

enum encrypted { ENCRYPTED, ENCRYPT_LATER, ENCRYPT_FAILED };

/* At most a record. FAILED, when OpenSSL refuses, is told later. */
static enum encrypted encrypt(struct conn_tls *tls, struct str bytes)
{
    size_t written = 0;

    assert(bytes.n > 0 && bytes.n <= RECORD_SIZE);
    ERR_clear_error();
    if (SSL_write_ex(tls->ssl, bytes.p, bytes.n, &written) == 1) {
        assert(written == bytes.n);
        return ENCRYPTED;
    }
    if (SSL_get_error(tls->ssl, 0) == SSL_ERROR_WANT_READ)
        return ENCRYPT_LATER;
    ERR_clear_error();
    conn_fail_soon(&tls->conn, UV_EPROTO);
    return ENCRYPT_FAILED;
}

struct cursor {
    const struct str *parts;
    size_t n;
    size_t at; /* in parts[0] */
};

/* The next record's bytes: lent from one part where it is long enough, else gathered. */
static struct str next_record(struct cursor *cursor, char gather[RECORD_SIZE])
{
    size_t filled = 0;

    while (cursor->n > 0 && filled < RECORD_SIZE) {
        struct str rest = str_from(cursor->parts[0], cursor->at);
        struct str take = str_head(rest, RECORD_SIZE - filled);
        bool alone = filled == 0 && (take.n == RECORD_SIZE || (cursor->n == 1 && take.n > 0));
        cursor->at += take.n;
        if (take.n == rest.n) {
            cursor->parts++;
            cursor->n--;
            cursor->at = 0;
        }
        if (alone)
            return take;
        if (take.n > 0)
            memcpy(gather + filled, take.p, take.n);
        filled += take.n;
    }
    return str_of(gather, filled);
}

/* The parts without their first `skip` bytes. */
static size_t write_early(struct conn_tls *tls, const struct str *parts, size_t n, size_t skip,
                          size_t queue_max)
{
    size_t taken = 0;

    for (size_t i = 0; i < n; i++) {
        size_t room = queue_max > tls->early.n ? queue_max - tls->early.n : 0;
        struct str part = str_from(parts[i], skip);
        struct str bytes = str_head(part, room);
        bool ok = buf_add(&tls->early, bytes);
        assert(ok);
        skip -= parts[i].n - part.n;
        taken += bytes.n;
        if (bytes.n < part.n)
            break;
    }
    return taken;
}

/* With a bound on the queue it stops as soon as the kernel does not keep up: then at most the
 * records of one scratch are queued. */
static size_t tls_write(struct conn *conn, const struct str *parts, size_t n, size_t queue_max)
{
    struct conn_tls *tls = tls_of(conn);
    struct tls_scratch *scratch = scratch_of(tls);
    struct cursor cursor = {.parts = parts, .n = n};
    bool bounded = queue_max != SIZE_MAX;
    size_t total = conn_parts_total(parts, n);
    size_t taken = 0;

    if (tls->state == TLS_DEAD)
        return total;
    if (tls->state < TLS_OPEN || tls->early.n > 0)
        return write_early(tls, parts, n, 0, queue_max);
    assert(scratch->cipher_n == 0);
    while (taken < total) {
        if (bounded && scratch->cipher_n == 0 && conn_queued(tls->lower) > 0)
            break;
        struct str record = next_record(&cursor, scratch->gather);
        enum encrypted encrypted = encrypt(tls, record);
        if (encrypted != ENCRYPTED) {
            flush(tls);
            return encrypted == ENCRYPT_FAILED
                       ? total
                       : taken + write_early(tls, parts, n, taken, queue_max);
        }
        taken += record.n;
        if (sizeof(scratch->cipher) - scratch->cipher_n < RECORD_CIPHER_SIZE)
            flush(tls);
    }
    flush(tls);
    if (taken < total)
        want_lower_writable(tls);
    return taken;
}

static size_t tls_queued(const struct conn *conn)
{
    const struct conn_tls *tls = (const void *)conn;

    assert(conn->ops == &tls_ops);
    return conn_queued(tls->lower) + tls->early.n;
}

static void say_goodbye(struct conn_tls *tls)
{
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
    flush(tls);
}

static void tls_shutdown(struct conn *conn)
{
    struct conn_tls *tls = tls_of(conn);

    if (tls->state != TLS_OPEN || tls->early.n > 0)
        return;
    say_goodbye(tls);
    conn_shutdown(tls->lower);
}

/* What the owner did while OpenSSL could not write. */
static void write_held(struct conn_tls *tls)
{
    struct conn *conn = &tls->conn;
    struct buf held = tls->early;
    const struct str bytes = buf_str(&held);

    buf_init(&tls->early, EARLY_MAX);
    if (bytes.n > 0)
        (void)tls_write(conn, &bytes, 1, SIZE_MAX);
    buf_fini(&held);
    if (conn->want_writable)
        want_lower_writable(tls);
    if (conn->shut)
        tls_shutdown(conn);
}

/* ---- the handshake ---- */

/* RFC 6066, 3: literal addresses are not permitted in server_name. */
static bool set_name(struct conn_tls *tls)
{
    struct dns_addresses literal;
    bool is_name = !dns_literal(str_c(tls->host), 0, &literal) ||
                   str_eq_nocase(str_c(tls->host), STR("localhost"));

    /* RFC 9110, 4.3.4: "A reference identity of type CN-ID MUST NOT be used by clients": the
     * subject's common name is none. */
    SSL_set_hostflags(tls->ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (is_name)
        return SSL_set_tlsext_host_name(tls->ssl, tls->host) == 1 &&
               SSL_set1_host(tls->ssl, tls->host) == 1;
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), tls->host) == 1;
}

/* A session of before: the server shows no certificate again, so that it must be one of the same
 * host and port, with which it did. */
static void offer_session(struct conn_tls *tls)
{
    int64_t now_ms = loop_now_ms(tls->conn.loop);
    SSL_SESSION *session = NULL;

    tls->verified_ms = now_ms;
    if (tls->context->sessions == NULL)
        return;
    session = tls_session_take(tls->context->sessions, str_c(tls->host), tls->port, now_ms,
                               &tls->verified_ms);
    if (session == NULL)
        return;
    tls->offered = SSL_set_session(tls->ssl, session) == 1;
    SSL_SESSION_free(session);
}

static void keep_session(struct conn_tls *tls, SSL_SESSION *session)
{
    bool resumed = SSL_session_reused(tls->ssl) == 1;

    if (tls->context->sessions == NULL || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return;
    tls_session_keep(tls->context->sessions, str_c(tls->host), tls->port,
                     resumed ? tls->verified_ms : loop_now_ms(tls->conn.loop), session);
    tls->has_fresh = true;
}

int conn_tls_session_came(SSL *ssl, SSL_SESSION *session)
{
    keep_session(BIO_get_data(SSL_get_rbio(ssl)), session);
    return 0; /* the reference stays OpenSSL's */
}

/* A session is taken to be offered once. In TLS 1.2 it may be used again, and the server need not
 * make a new one. */
static void keep_resumed(struct conn_tls *tls)
{
    if (tls->offered && !tls->has_fresh && SSL_session_reused(tls->ssl) == 1 &&
        SSL_version(tls->ssl) <= TLS1_2_VERSION)
        keep_session(tls, SSL_get_session(tls->ssl));
}

static void ssl_open(struct conn_tls *tls)
{
    BIO *bio = BIO_new(tls->context->bio);
    SSL *ssl = SSL_new(tls->context->ctx);

    if (bio == NULL || ssl == NULL)
        BUG("out of memory");
    BIO_set_data(bio, tls);
    SSL_set_bio(ssl, bio, bio);
    tls->ssl = ssl;
    if (tls->context->server) {
        SSL_set_accept_state(ssl);
        return;
    }
    SSL_set_connect_state(ssl);
    /* Without a name to verify, nothing may be verified instead. */
    if (set_name(tls))
        offer_session(tls);
    else
        handshake_failed(tls, "not a host name");
}

static void handshake_done(struct conn_tls *tls)
{
    struct conn *conn = &tls->conn;

    timer_stop(&tls->timer);
    tls->state = TLS_OPEN;
    keep_resumed(tls);
    write_held(tls);
    conn_emit_connected(conn);
    if (conn->closed || tls->state != TLS_OPEN)
        return;
    (void)conn_drained(conn);
    if (conn->closed || tls->state != TLS_OPEN || conn->reading)
        return;
    conn_read_stop(tls->lower);
    bool ok = buf_add(&tls->stash, tls->in);
    assert(ok);
    tls->in = STR_NULL;
}

/* OpenSSL gave up. Its alert is on its way. */
static void handshake_refused(struct conn_tls *tls)
{
    long verified = SSL_get_verify_result(tls->ssl);

    if (tls->context->verify && verified != X509_V_OK) {
        handshake_failed(tls, X509_verify_cert_error_string(verified));
    } else if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST) {
        /* No alert then, as the other side could not read it. */
        if (tls->plain_answer.n > 0 && !tls->lower->shut)
            (void)conn_write(tls->lower, &tls->plain_answer, 1);
        handshake_failed(tls, "the client speaks HTTP without TLS");
    } else {
        handshake_failed(tls, tls_context_error_text());
    }
    ERR_clear_error();
}

static void handshake(struct conn_tls *tls)
{
    assert(tls->state == TLS_HANDSHAKE);
    ERR_clear_error();
    int status = SSL_do_handshake(tls->ssl);
    int reason = SSL_get_error(tls->ssl, status);
    /* Also the alert that tells the other side what we did not like. */
    flush(tls);
    rest(tls);
    if (status == 1)
        handshake_done(tls);
    else if (reason != SSL_ERROR_WANT_READ)
        handshake_refused(tls);
}

static void begin(struct conn_tls *tls)
{
    tls->state = TLS_HANDSHAKE;
    ssl_open(tls);
    if (tls->conn.closed || tls->state != TLS_HANDSHAKE)
        return;
    conn_read_start(tls->lower);
    handshake(tls);
}

static void on_lower_connected(struct conn *lower, void *ctx)
{
    struct conn_tls *tls = tls_of(ctx);
    int64_t left_ms = tls->deadline_ms - loop_now_ms(tls->conn.loop);

    (void)lower;
    assert(tls->state == TLS_CONNECTING);
    timer_start(&tls->timer, left_ms > 0 ? left_ms : 0);
    begin(tls);
}

static void on_lower_read(struct conn *lower, void *ctx, struct str bytes)
{
    struct conn_tls *tls = tls_of(ctx);

    (void)lower;
    assert(tls->stash.n == 0);
    tls->in = bytes;
    if (tls->state == TLS_HANDSHAKE && tls->context->server &&
        SSL_version(tls->ssl) >= TLS1_3_VERSION && !tls_hello_feed(&tls->hello, bytes))
        handshake_failed(tls, "the client's hello is too long");
    else if (tls->state == TLS_HANDSHAKE)
        handshake(tls);
    if (!tls->conn.closed && tls->state == TLS_OPEN && tls->in.n > 0)
        pull(tls);
    tls->in = STR_NULL;
    tell_end(tls);
}

static void on_lower_eof(struct conn *lower, void *ctx)
{
    struct conn_tls *tls = tls_of(ctx);

    (void)lower;
    if (tls->state == TLS_HANDSHAKE) {
        handshake_failed(tls, "the connection was closed in the handshake");
    } else if (tls->state == TLS_OPEN && !tls->ended) {
        broken(tls, "the connection was cut (no close_notify)");
    }
}

static void on_lower_writable(struct conn *lower, void *ctx)
{
    (void)lower;
    (void)conn_drained(&tls_of(ctx)->conn);
}

static void on_lower_failed(struct conn *lower, void *ctx, const struct error *e)
{
    struct conn_tls *tls = tls_of(ctx);
    struct error again;

    (void)lower;
    if (tls->state == TLS_HANDSHAKE && e->code == ERR_UPSTREAM_BROKEN) {
        FAIL(&again, ERR_UPSTREAM_UNREACHABLE, "TLS handshake: %.80s (%.*s)", e->detail,
             STR_ARG(name_of(tls)));
        e = &again;
    }
    tls_fail(tls, e);
}

static const struct conn_events lower_events = {
    .connected = on_lower_connected,
    .read = on_lower_read,
    .eof = on_lower_eof,
    .writable = on_lower_writable,
    .failed = on_lower_failed,
};

/* ---- closing ---- */

static void tls_free_turn(struct deferred *deferred)
{
    struct conn_tls *tls = CONTAINER_OF(deferred, struct conn_tls, conn.turn);

    assert(tls->conn.closed);
    assert(tls->lower == NULL);
    SSL_free(tls->ssl);
    tls_context_unref(&tls->context);
    buf_fini(&tls->stash);
    buf_fini(&tls->early);
    tls->conn.magic = 0;
    mem_free(tls);
}

static void tls_close(struct conn *conn, bool reset)
{
    struct conn_tls *tls = tls_of(conn);

    timer_stop(&tls->timer);
    if (reset) {
        conn_reset(&tls->lower);
    } else {
        /* RFC 8446, 6.1: close_notify comes before the end, unless an error alert did. */
        if (tls->state == TLS_OPEN && !conn->shut)
            say_goodbye(tls);
        conn_close(&tls->lower);
    }
    loop_ready(conn->loop, &conn->turn, tls_free_turn);
}

static struct str tls_peer(const struct conn *conn)
{
    const struct conn_tls *tls = (const void *)conn;

    assert(conn->ops == &tls_ops);
    return conn_peer(tls->lower);
}

static const struct conn_ops tls_ops = {
    .is_tls = true,
    .read = tls_read,
    .write = tls_write,
    .queued = tls_queued,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .turn = tls_turn,
    .peer = tls_peer,
    .has_left = tls_has_left,
};

/* Without the brackets of an IPv6 literal and the dot of an absolute name: as certificates say. */
static struct str certified_name(struct str host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return str_of(host.p + 1, host.n - 2);
    if (host.n > 1 && host.p[host.n - 1] == '.')
        return str_head(host, host.n - 1);
    return host;
}

static struct conn_tls *tls_new(struct conn *lower, const struct conn_secure_options *options)
{
    struct str host = certified_name(options->host);
    struct conn_tls *tls = mem_new(sizeof(*tls) + host.n + 1);
    struct loop *loop = conn_loop(lower);

    conn_init(&tls->conn, &tls_ops, loop);
    tls->lower = lower;
    tls->context = tls_context_ref(options->tls);
    tls->depth = lower->ops == &tls_ops ? (uint8_t)(tls_of(lower)->depth + 1) : 0;
    tls->port = options->port;
    tls->plain_answer = options->plain_answer;
    tls->timeout_ms = options->timeout_ms;
    tls->deadline_ms = loop_now_ms(loop) + options->timeout_ms;
    if (host.n > 0)
        memcpy(tls->host, host.p, host.n);
    assert(tls->depth < TLS_DEPTH);
    if (loop->tls[tls->depth] == NULL) {
        loop->tls[tls->depth] = mem_raw(sizeof(struct tls_scratch));
        loop->tls[tls->depth]->cipher_n = 0;
    }
    buf_init(&tls->stash, CONN_READ_MAX);
    buf_init(&tls->early, EARLY_MAX);
    timer_init(&tls->timer, loop, on_handshake_timer);
    conn_set_events(lower, &lower_events, &tls->conn);
    return tls;
}

struct conn *conn_tls_client(struct conn *lower, const struct conn_target *target)
{
    const struct conn_secure_options options = {.tls = target->tls,
                                                .host = target->host,
                                                .port = target->port,
                                                .timeout_ms = target->connect_timeout_ms};

    assert(!target->tls->server);
    return &tls_new(lower, &options)->conn;
}

struct conn *conn_tls_secure(struct conn *lower, const struct conn_secure_options *options)
{
    struct conn_tls *tls = NULL;

    assert(!lower->closed && !lower->eof && !lower->failed && !lower->shut);
    conn_read_stop(lower);
    tls = tls_new(lower, options);
    tls->state = TLS_STANDING;
    timer_start(&tls->timer, options->timeout_ms);
    conn_soon(&tls->conn);
    return &tls->conn;
}
