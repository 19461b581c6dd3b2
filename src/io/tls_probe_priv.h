/* SPDX-License-Identifier: MIT */
/* For this room's tests only: certificates, made for each run, and files of them. */
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/str.h"
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
