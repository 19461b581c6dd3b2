/* SPDX-License-Identifier: MIT */
/* What tls_context and conn_tls share. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "io/conn.h"

struct tls_context {
    atomic_size_t refs;
    SSL_CTX *ctx;
    BIO_METHOD *bio; /* conn_tls's; OpenSSL wants one made at run time */
    bool verify;
};

/* Through which OpenSSL reads and writes the bytes of a struct conn_tls (the BIO's data). */
NODISCARD BIO_METHOD *conn_tls_bio_new(void);
/* What OpenSSL's error queue says, which is then empty; "unknown error" if it says nothing. */
const char *tls_context_error_text(void);
