/* SPDX-License-Identifier: MIT */
/*
 * For this room's tests only: certificates, made for each run, files of them, and a client and a
 * server of ours against each other over a pair in memory.
 */
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/str.h"
#include "io/io_probe_priv.h"
#include "io/tls_priv.h"

enum { DAY_S = 24 * 60 * 60 };

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static inline void identity_extend(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert(extension != NULL);
    int status = X509_add_ext(cert, extension, -1);
    assert(status == 1);
    X509_EXTENSION_free(extension);
}

/* Valid from begin_s to end_s, seconds from now. ca NULL: signed by itself. san NULL: may sign. */
static inline struct identity identity_new_between(const char *name, const struct identity *ca,
                                                   const char *san, long begin_s, long end_s)
{
    static long serial = 0;
    struct identity one = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    const unsigned char *cn = (const unsigned char *)name;

    assert(one.key != NULL && one.cert != NULL);
    X509_NAME *subject = X509_get_subject_name(one.cert);
    int status = X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, cn, -1, -1, 0);
    assert(status == 1);
    X509_set_version(one.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(one.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(one.cert), begin_s);
    X509_gmtime_adj(X509_getm_notAfter(one.cert), end_s);
    X509_set_issuer_name(one.cert, ca != NULL ? X509_get_subject_name(ca->cert) : subject);
    X509_set_pubkey(one.cert, one.key);
    if (san != NULL)
        identity_extend(one.cert, NID_subject_alt_name, san);
    else
        identity_extend(one.cert, NID_basic_constraints, "critical,CA:TRUE");
    status = X509_sign(one.cert, ca != NULL ? ca->key : one.key, EVP_sha256());
    assert(status > 0);
    return one;
}

static inline struct identity identity_new(const char *name, const struct identity *ca,
                                           const char *san, long end_s)
{
    return identity_new_between(name, ca, san, -10L * DAY_S, end_s);
}

static inline void identity_free(struct identity *one)
{
    EVP_PKEY_free(one->key);
    X509_free(one->cert);
}

enum { TEMP_PATH_SIZE = 40 };

static inline FILE *temp_open(char path[TEMP_PATH_SIZE])
{
    (void)snprintf(path, TEMP_PATH_SIZE, "/tmp/io_tls_test.XXXXXX");
    int fd = mkstemp(path);
    assert(fd >= 0);
    return fdopen(fd, "w");
}

/* A file of one to three certificates; the path of it is given back, to be unlinked. */
static inline void identity_write_chain(const struct identity *const *chain, size_t n,
                                        char path[TEMP_PATH_SIZE])
{
    FILE *file = temp_open(path);

    for (size_t i = 0; i < n; i++) {
        int status = PEM_write_X509(file, chain[i]->cert);
        assert(status == 1);
    }
    (void)fclose(file);
}

static inline void identity_write_cert(const struct identity *one, char path[TEMP_PATH_SIZE])
{
    identity_write_chain(&one, 1, path);
}

static inline void identity_write_key(const struct identity *one, char path[TEMP_PATH_SIZE])
{
    FILE *file = temp_open(path);
    int status = PEM_write_PrivateKey(file, one->key, NULL, NULL, 0, NULL, NULL);

    assert(status == 1);
    (void)fclose(file);
}

static inline struct tls_context *tls_probe_server(const struct identity *one)
{
    char cert[TEMP_PATH_SIZE];
    char key[TEMP_PATH_SIZE];
    struct tls_context *context = NULL;
    struct error e;

    identity_write_cert(one, cert);
    identity_write_key(one, key);
    enum error_code code = tls_server_new(str_c(cert), str_c(key), &context, &e);
    assert(code == OK);
    (void)unlink(cert);
    (void)unlink(key);
    return context;
}

/* Trusts ca; NULL: everybody. */
static inline struct tls_context *tls_probe_client(const struct identity *ca)
{
    char path[TEMP_PATH_SIZE];
    struct tls_context *context = NULL;
    struct error e;

    if (ca != NULL)
        identity_write_cert(ca, path);
    const struct tls_options options = {.ca_file = ca != NULL ? str_c(path) : STR_NULL,
                                        .verify = ca != NULL};
    enum error_code code = tls_context_new(&options, &context, &e);
    assert(code == OK);
    if (ca != NULL)
        (void)unlink(path);
    return context;
}

/* ---- a client and a server over a pair ---- */

enum { TLS_PROBE_TIMEOUT_MS = 1000, TLS_PROBE_PORT = 443 };

struct pair {
    struct loop *loop;
    struct probe client;
    struct probe server;
    struct conn *client_lower;
    struct conn *server_lower;
};

static inline void pair_secure(struct probe *probe, struct conn *lower,
                               const struct conn_secure_options *options)
{
    struct conn_secure_options timed = *options;

    timed.timeout_ms = TLS_PROBE_TIMEOUT_MS;
    probe_init(probe);
    probe->conn = conn_secure(&lower, &timed, &probe_events, probe);
    assert(lower == NULL);
    assert(probe->log_n == 0);
}

/* Nothing has happened yet. */
static inline void pair_open(struct pair *p, struct tls_context *client, struct tls_context *server,
                             const char *host, uint16_t port)
{
    conn_pair(p->loop, &p->client_lower, &p->server_lower);
    pair_secure(&p->client, p->client_lower,
                &(struct conn_secure_options){.tls = client, .host = str_c(host), .port = port});
    pair_secure(&p->server, p->server_lower, &(struct conn_secure_options){.tls = server});
}

static inline void pair_close(struct pair *p)
{
    probe_fini(&p->client);
    probe_fini(&p->server);
    loop_test_run(p->loop);
}
