/* SPDX-License-Identifier: MIT */
/*
 * The TLS context of the listener: the one certificate, and what clients are offered.
 *
 * What      TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers only; "http/1.1" where a
 *           client asks for a protocol. Whatever name a client asks for, it gets this certificate.
 *           Sessions are resumed by tickets, which the client keeps: no state here, and the key to
 *           them is the context's own, gone with it.
 * Owns      The SSL_CTX until tls_context has it.
 * Not here  Who is a client (keys of the gateway): certificates of clients are not asked for.
 */
#include "io/conn.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include "base/mem.h"
#include "io/tls_priv.h"

/* RFC 7301, 3.2: no protocol in common is a fatal alert. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
                           const unsigned char *in, unsigned in_n, void *ctx)
{
    static const unsigned char http[] = "\x08http/1.1";
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)ctx;
    if (SSL_select_next_proto(&chosen, ret_n, http, sizeof(http) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A key under a passphrase is an error, not a question on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static enum error_code use_files(SSL_CTX *ctx, const char *cert, const char *key, struct error *e)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return FAIL(e, ERR_CONFIG, "cannot read a certificate from \"%.150s\": %s", cert,
                    tls_context_error_text());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1)
        return OK;
    if (ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509) {
        ERR_clear_error();
        return FAIL(e, ERR_CONFIG,
                    "the key in \"%.100s\" is not that of the certificate in "
                    "\"%.100s\"",
                    key, cert);
    }
    return FAIL(e, ERR_CONFIG, "cannot read a key from \"%.150s\": %s", key,
                tls_context_error_text());
}

static int64_t wall_ms(const ASN1_TIME *time)
{
    struct tm tm;

    /* Out of what a certificate can say: it never begins. */
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
        return INT64_MAX;
    return (int64_t)timegm(&tm) * 1000;
}

void tls_server_validity(const struct tls_context *context, int64_t *ret_begin_ms,
                         int64_t *ret_end_ms)
{
    const X509 *cert = SSL_CTX_get0_certificate(context->ctx);

    assert(context->server && cert != NULL);
    *ret_begin_ms = wall_ms(X509_get0_notBefore(cert));
    *ret_end_ms = wall_ms(X509_get0_notAfter(cert));
}

enum error_code tls_server_new(struct str cert_file, struct str key_file,
                               struct tls_context **ret_context, struct error *e)
{
    SSL_CTX *ctx = tls_context_begin(TLS_server_method());

    if (ctx == NULL)
        return FAIL(e, ERR_SYSTEM, "TLS: %s", tls_context_error_text());
    /* Of TLS 1.2; those of 1.3 are all such. */
    if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        BUG("OpenSSL refuses the list of ciphers");
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    char *cert = str_dup(cert_file);
    char *key = str_dup(key_file);
    enum error_code code = use_files(ctx, cert, key, e);
    mem_free(cert);
    mem_free(key);
    if (code != OK) {
        SSL_CTX_free(ctx);
        return code;
    }
    *ret_context = tls_context_wrap(ctx);
    (*ret_context)->server = true;
    return OK;
}
