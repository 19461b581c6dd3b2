/* SPDX-License-Identifier: MIT */
/*
 * What TLS connections have in common: versions and modes; for backends and proxies also trust.
 *
 * What      One SSL_CTX, made when the first backend needs it, used by all workers (OpenSSL locks
 *           what they share: the reference count and the store of certificates).
 * How       The system's certificates are looked up by hash in their directory, one by one as they
 *           are needed: parsing the whole bundle takes 30 to 50 ms and some MB. Only a file that
 *           was asked for (ca_file, SSL_CERT_FILE) is read at once.
 * Owns      The SSL_CTX, the BIO's method, the store of sessions; counted references.
 * Not here  Records (conn_tls), the server's certificate (tls_server), sessions (tls_session).
 */
#include "io/conn.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/tls_priv.h"

const char *tls_context_error_text(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return text != NULL ? text : "unknown error";
}

static enum error_code trust_file(SSL_CTX *ctx, const char *path, struct error *e)
{
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(ctx, path) == 1)
        return OK;
    return FAIL(e, ERR_CONFIG, "cannot read certificates from \"%.150s\": %s", path,
                tls_context_error_text());
}

/* As everywhere with OpenSSL. SSL_CERT_DIR, which it reads itself, names the directory. */
static const char *file_of_environment(void)
{
    const char *path = getenv("SSL_CERT_FILE");

    return path != NULL && path[0] != '\0' ? path : NULL;
}

static enum error_code trust(SSL_CTX *ctx, const struct tls_options *options, struct error *e)
{
    if (options->ca_file.n > 0) {
        char *path = str_dup(options->ca_file);
        enum error_code code = trust_file(ctx, path, e);
        mem_free(path);
        return code;
    }
    const char *path = file_of_environment();
    if (path != NULL)
        TRY(trust_file(ctx, path, e));
    if (SSL_CTX_set_default_verify_dir(ctx) != 1)
        return FAIL(e, ERR_SYSTEM, "certificate directory: %s", tls_context_error_text());
    return OK;
}

bool tls_context_reads_file(const struct tls_options *options)
{
    return options->verify && (options->ca_file.n > 0 || file_of_environment() != NULL);
}

SSL_CTX *tls_context_begin(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (ctx == NULL)
        return NULL;
    /* An idle connection gives its two 16 KiB buffers back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        BUG("OpenSSL refuses TLS 1.2");
    return ctx;
}

struct tls_context *tls_context_wrap(SSL_CTX *ctx)
{
    struct tls_context *context = mem_new(sizeof(*context));

    atomic_init(&context->refs, 1);
    context->ctx = ctx;
    context->bio = conn_tls_bio_new();
    return context;
}

/* Ours alone is the store: OpenSSL's own would be one list for all hosts. */
static void set_sessions(struct tls_context *context)
{
    context->sessions = tls_session_store_new();
    SSL_CTX_set_session_cache_mode(context->ctx,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context->ctx, conn_tls_session_came);
}

enum error_code tls_context_new(const struct tls_options *options, struct tls_context **ret_context,
                                struct error *e)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX *ctx = tls_context_begin(TLS_client_method());

    if (ctx == NULL)
        return FAIL(e, ERR_SYSTEM, "TLS: %s", tls_context_error_text());
    /* 0 is success here, unlike everywhere else. */
    if (SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0)
        BUG("OpenSSL refuses the ALPN list");
    SSL_CTX_set_verify(ctx, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    enum error_code code = options->verify ? trust(ctx, options, e) : OK;
    if (code != OK) {
        SSL_CTX_free(ctx);
        return code;
    }
    *ret_context = tls_context_wrap(ctx);
    (*ret_context)->verify = options->verify;
    if (options->verify)
        set_sessions(*ret_context);
    return OK;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(struct tls_context **context)
{
    struct tls_context *old;

    assert(context != NULL);
    old = *context;
    *context = NULL;
    if (old == NULL || atomic_fetch_sub_explicit(&old->refs, 1, memory_order_acq_rel) > 1)
        return;
    tls_session_store_free(&old->sessions);
    SSL_CTX_free(old->ctx);
    BIO_meth_free(old->bio);
    mem_free(old);
}
