/* SPDX-License-Identifier: MIT */
/* TLS for the mock upstream: a chain of three certificates made at start, and sockets that look
 * like plain ones. */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

/* localhost and 127.0.0.1, by a CA in between, as providers have it. The CA at the root goes to the
 * file. Exits with a message when it cannot. */
SSL_CTX *mock_tls_new(const char *ca_path);
SSL *mock_tls_accept(SSL_CTX *ctx, int fd);

/* As send(2) and recv(2) on a non-blocking socket; the handshake is made on the way. */
ssize_t mock_tls_send(SSL *ssl, const char *p, size_t n);
ssize_t mock_tls_recv(SSL *ssl, char *p, size_t n);
