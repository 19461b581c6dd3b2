/* SPDX-License-Identifier: MIT */
/*
 * Byte-stream connections: TCP, TLS over TCP, and pairs in memory, behind one interface.
 *
 * Owner     Exactly one owner holds a conn, gives it its events and context, and closes it.
 *           After conn_close no event comes any more; the memory goes when the loop is done.
 * Events    Always come from the loop, never from within a conn_* call (async, always). Bytes
 *           passed to `read` are lent for the call (they lie in the worker's read buffer).
 * Writing   conn_write takes all it is given: what the kernel does not take at once is copied to
 *           the conn's queue. CONN_FULL says that the queue is above its mark: the writer is to
 *           stop producing until `writable`. conn_write_some takes what fits and leaves the rest
 *           with the caller: for large bodies, which then are never copied whole.
 * Errors    `failed` comes at most once, instead of any later event; the owner then closes.
 *           Reading EOF is not a failure: `eof` comes once, writing still works.
 * TLS       Verification failures and handshake errors come as `failed` with ERR_UPSTREAM_*, and
 *           so does an end of the stream without close_notify: `eof` is the other side's own word.
 *           TLS may lie over any connection, also over TLS (an https proxy), no deeper.
 */
#pragma once

#include "base/error.h"
#include "io/loop.h"

struct conn;
struct sockaddr;
struct tls_context;

enum conn_push { CONN_OK, CONN_FULL };

enum {
    CONN_QUEUE_MARK = 64 * 1024, /* above: CONN_FULL */
    /* The longest piece that a read event lends: of a socket LOOP_READ_SIZE, of TLS a little
     * more. */
    CONN_READ_MAX = LOOP_READ_SIZE + 34 * 1024,
};

struct conn_events {
    void (*connected)(struct conn *conn, void *ctx); /* clients only; TLS: handshake complete */
    void (*read)(struct conn *conn, void *ctx, struct str bytes); /* bytes.n > 0 */
    void (*eof)(struct conn *conn, void *ctx);
    void (*writable)(struct conn *conn, void *ctx); /* after CONN_FULL or a short write_some */
    void (*failed)(struct conn *conn, void *ctx, const struct error *e);
};

/* Sets (or changes) who is told; events and ctx are borrowed until changed or conn_close. */
void conn_set_events(struct conn *conn, const struct conn_events *events, void *ctx);

/* A conn is born with reading stopped. EOF and reset of the peer are noticed only while reading. */
void conn_read_start(struct conn *conn);
void conn_read_stop(struct conn *conn);
/* For an owner who does not read: whether the peer has ended its stream, or broken it. Asks the
 * kernel. What the peer ended behind bytes that it could not send yet (its own queue, while ours is
 * full) nobody can see. False of a conn that does not stand yet. */
bool conn_has_left(const struct conn *conn);

/* One writev(2) where possible. Takes everything; parts are borrowed for the call. Writing on a
 * conn that has failed (its event is on the way) is legal and goes nowhere. */
enum conn_push conn_write(struct conn *conn, const struct str *parts, size_t n);

/* Returns how many bytes of the parts were taken (0..total); less than total: `writable` follows
 * when it is worth trying again. At most one CONN_QUEUE_MARK is copied. */
NODISCARD size_t conn_write_some(struct conn *conn, const struct str *parts, size_t n);

/* Bytes taken but not yet given to the kernel. */
size_t conn_queued(const struct conn *conn);

/* After the queue has drained, sends FIN (TLS: close_notify first). Reading goes on. */
void conn_shutdown(struct conn *conn);

/* Closes at once and drops the queue. NULLs the pointer. Takes NULL. */
void conn_close(struct conn **conn);
/* The same, but the peer sees a reset instead of EOF: it cannot take the end for a regular one. */
void conn_reset(struct conn **conn);

struct loop *conn_loop(const struct conn *conn);
/* "127.0.0.1:4711" of the peer, "memory" for in-memory ones; borrowed from the conn. */
struct str conn_peer(const struct conn *conn);
bool conn_is_tls(const struct conn *conn);

/* ---- TCP and TLS clients (libuv loops only) ---- */

/* Which of a host's addresses may be connected to: asked of each when the name has been resolved
 * (of a literal address too), each time that a connection is made. With none left `failed` says
 * why (FORBIDDEN). Asked in the loop's thread. */
struct conn_filter {
    bool (*admits)(const struct conn_filter *filter, const struct sockaddr *address);
    const char *why;
};

struct conn_target {
    struct str host; /* name or literal address; copied */
    uint16_t port;
    struct tls_context *tls;          /* NULL: plain TCP. Borrowed, must outlive the conn */
    int64_t connect_timeout_ms;       /* resolving, connecting and handshake together */
    const struct conn_filter *filter; /* NULL: all may. Borrowed, must outlive the conn */
};

/* Resolves (a literal address without a thread), connects to whichever address of the host answers
 * first (RFC 8305), and for TLS makes the handshake with SNI and host name verification.
 * `connected` or `failed` (ERR_UPSTREAM_UNREACHABLE, ERR_UPSTREAM_TIMEOUT, ERR_FORBIDDEN) follows.
 * Never NULL. */
NODISCARD struct conn *conn_connect(struct loop *loop, const struct conn_target *target,
                                    const struct conn_events *events, void *ctx);

/* ---- TLS over a connection that stands ---- */

struct conn_secure_options {
    struct tls_context *tls; /* tls_server_new's makes us the server, else we are the client; a
                              * reference is kept */
    struct str host;         /* clients: for SNI and verification; copied */
    /* Servers: sent in the clear, before `failed`, to a client that speaks HTTP without TLS;
     * borrowed until the conn is closed. Null: nothing is sent. */
    struct str plain_answer;
    uint16_t port;      /* clients: sessions are resumed with the same host and port only */
    int64_t timeout_ms; /* of the handshake; 0: it is too late already, and `failed` says so */
};

/* Takes over *lower (nulls it): an accepted connection, or a tunnel through a proxy, of which
 * nothing may have been read that belongs to TLS. `connected` follows when the handshake is
 * complete, or `failed`. */
NODISCARD struct conn *conn_secure(struct conn **lower, const struct conn_secure_options *options,
                                   const struct conn_events *events, void *ctx);

/* ---- in memory ---- */

/* Two ends; what is written to one is read at the other, in a later turn. Both connected already.
 * Works on test loops and on workers (built-in backends use it). */
void conn_pair(struct loop *loop, struct conn **ret_a, struct conn **ret_b);
/* Tests: the reader at this end gets at most n bytes in one read event (0: no bound). */
void conn_mem_read_max(struct conn *conn, size_t n);
/* Tests: at most n unread bytes fit in the way to the other end (0: none at all); writes beyond it
 * queue. It is CONN_QUEUE_MARK at first. */
void conn_mem_window(struct conn *conn, size_t n);
/* Tests: the peer sees a reset (failed) instead of EOF. */
void conn_mem_reset(struct conn *conn);

/* ---- TLS context ---- */

struct tls_options {
    struct str ca_file; /* absent: SSL_CERT_FILE, else the system's hashed directory */
    bool verify;
};

/* For connections to backends and proxies. One for all connections with equal options; thread-safe
 * to use from several workers. Sessions are kept in it and resumed, per host and port. */
NODISCARD enum error_code tls_context_new(const struct tls_options *options,
                                          struct tls_context **ret_context, struct error *e);
/* Whether that reads a whole file of certificates, ca_file or SSL_CERT_FILE: tens of milliseconds,
 * which no loop has. */
bool tls_context_reads_file(const struct tls_options *options);
/* For connections that were accepted. cert: the chain (PEM), the own certificate first. key: its
 * key (PEM). CONFIG: one cannot be read, or they do not belong together. */
NODISCARD enum error_code tls_server_new(struct str cert_file, struct str key_file,
                                         struct tls_context **ret_context, struct error *e);
/* From when until when its certificate is valid: wall clock, milliseconds. */
void tls_server_validity(const struct tls_context *context, int64_t *ret_begin_ms,
                         int64_t *ret_end_ms);
/* Thread-safe; connections keep one each. */
struct tls_context *tls_context_ref(struct tls_context *context);
/* Nulls; takes NULL. Freed with the last reference. */
void tls_context_unref(struct tls_context **context);
