/* SPDX-License-Identifier: MIT */
#include "mock_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define VALID_S (7L * 24 * 60 * 60)

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static void must(int ok, const char *what)
{
    if (ok == 1)
        return;
    fprintf(stderr, "mock_upstream: TLS: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void extend(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    must(extension != NULL && X509_add_ext(cert, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

/* ca NULL: signed by itself. names NULL: a CA. RSA, as most of what providers show. */
static struct identity identity_new(const char *name, const struct identity *ca, const char *names)
{
    static long serial = 1;
    struct identity one = {.key = EVP_RSA_gen(2048), .cert = X509_new()};
    const unsigned char *cn = (const unsigned char *)name;

    must(one.key != NULL && one.cert != NULL, "key");
    X509_NAME *subject = X509_get_subject_name(one.cert);
    must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, cn, -1, -1, 0), "name");
    X509_set_version(one.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(one.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(one.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(one.cert), VALID_S);
    X509_set_issuer_name(one.cert, ca != NULL ? X509_get_subject_name(ca->cert) : subject);
    X509_set_pubkey(one.cert, one.key);
    if (names != NULL) {
        extend(one.cert, NID_subject_alt_name, names);
        extend(one.cert, NID_ext_key_usage, "serverAuth");
    } else {
        extend(one.cert, NID_basic_constraints, "critical,CA:TRUE");
        extend(one.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    must(X509_sign(one.cert, ca != NULL ? ca->key : one.key, EVP_sha256()) > 0, "signature");
    return one;
}

SSL_CTX *mock_tls_new(const char *ca_path)
{
    struct identity root = identity_new("Bench Root", NULL, NULL);
    struct identity middle = identity_new("Bench Intermediate", &root, NULL);
    struct identity leaf = identity_new("localhost", &middle, "DNS:localhost,IP:127.0.0.1");
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    FILE *file = fopen(ca_path, "w");

    must(file != NULL && PEM_write_X509(file, root.cert) == 1, ca_path);
    fclose(file);
    must(ctx != NULL && SSL_CTX_use_certificate(ctx, leaf.cert) == 1, "certificate");
    must(SSL_CTX_use_PrivateKey(ctx, leaf.key), "key");
    must(SSL_CTX_add1_chain_cert(ctx, middle.cert) == 1, "chain");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

SSL *mock_tls_accept(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);

    must(ssl != NULL && SSL_set_fd(ssl, fd) == 1, "connection");
    SSL_set_accept_state(ssl);
    return ssl;
}

static ssize_t answer(SSL *ssl, int status)
{
    int reason = SSL_get_error(ssl, status);

    ERR_clear_error();
    if (status > 0)
        return status;
    if (reason == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}

ssize_t mock_tls_send(SSL *ssl, const char *p, size_t n)
{
    return answer(ssl, SSL_write(ssl, p, (int)n));
}

ssize_t mock_tls_recv(SSL *ssl, char *p, size_t n)
{
    return answer(ssl, SSL_read(ssl, p, (int)n));
}
