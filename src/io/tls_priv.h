/* SPDX-License-Identifier: MIT */
/* What tls_context, tls_server, tls_session and conn_tls share. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "io/conn.h"

struct tls_context {
    atomic_size_t refs;
    SSL_CTX *ctx;
    BIO_METHOD *bio;                    /* conn_tls's; OpenSSL wants one made at run time */
    struct tls_session_store *sessions; /* NULL: none are kept */
    bool server;
    bool verify;
};

/* Modes and versions of every context, and the struct around it, which takes ctx over. */
NODISCARD struct tls_context *tls_context_wrap(SSL_CTX *ctx);
/* A context to be set up; NULL when OpenSSL cannot: its error queue says why. */
NODISCARD SSL_CTX *tls_context_begin(const SSL_METHOD *method);

/* Through which OpenSSL reads and writes the bytes of a struct conn_tls (the BIO's data). */
NODISCARD BIO_METHOD *conn_tls_bio_new(void);
/* What OpenSSL's error queue says, which is then empty; "unknown error" if it says nothing. */
const char *tls_context_error_text(void);
/* OpenSSL's callback for a client's new session. */
int conn_tls_session_came(SSL *ssl, SSL_SESSION *session);

/* ---- hellos of clients ---- */

/* Zeroed at first. */
struct tls_hello {
    uint32_t record_left;
    uint32_t message_left;
    uint8_t record[5]; /* head of the present record */
    uint8_t record_n;
    uint8_t message[4]; /* head of the present message */
    uint8_t message_n;
};

/* What a client sends in its handshake, however it is cut. False: it announces too much. */
NODISCARD bool tls_hello_feed(struct tls_hello *hello, struct str bytes);

/* ---- sessions, to be resumed ---- */

struct tls_session_store;

enum {
    TLS_SESSION_COUNT_MAX = 64,           /* in a store */
    TLS_SESSION_HOST_MAX = 4,             /* of one host and port */
    TLS_SESSION_BYTES_MAX = 16 * 1024,    /* of one; larger ones are not kept */
    TLS_SESSION_AGE_MAX_MS = 3600 * 1000, /* since the certificate was verified */
};

NODISCARD struct tls_session_store *tls_session_store_new(void);
/* Nulls; takes NULL. */
void tls_session_store_free(struct tls_session_store **store);
/* Keeps a copy. verified_ms: when the other side showed its certificate. Thread-safe. */
void tls_session_keep(struct tls_session_store *store, struct str host, uint16_t port,
                      int64_t verified_ms, SSL_SESSION *session);
/* Moves the youngest of that host and port out, the caller's to free; NULL: there is none. RFC
 * 8446, C.4: a ticket that is offered twice lets onlookers connect the two. Thread-safe. */
NODISCARD SSL_SESSION *tls_session_take(struct tls_session_store *store, struct str host,
                                        uint16_t port, int64_t now_ms, int64_t *ret_verified_ms);
