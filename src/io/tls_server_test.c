/* SPDX-License-Identifier: MIT */
/* The files of a server's certificate and key: what is wrong with them is said, nothing more. */
#include "io/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "io/tls_probe_priv.h"

static struct {
    struct identity one;
    struct identity other;
    char cert[TEMP_PATH_SIZE];
    char key[TEMP_PATH_SIZE];
    char other_key[TEMP_PATH_SIZE];
    char locked_key[TEMP_PATH_SIZE]; /* the one's, under a passphrase */
    char text[TEMP_PATH_SIZE];
} world;

static int world_setup(void **state)
{
    (void)state;
    world.one = identity_new("one", NULL, "DNS:one.test", DAY_S);
    world.other = identity_new("other", NULL, "DNS:other.test", DAY_S);
    identity_write_cert(&world.one, world.cert);
    identity_write_key(&world.one, world.key);
    identity_write_key(&world.other, world.other_key);
    FILE *file = temp_open(world.locked_key);
    (void)PEM_write_PrivateKey(file, world.one.key, EVP_aes_128_cbc(),
                               (const unsigned char *)"passphrase", 10, NULL, NULL);
    (void)fclose(file);
    file = temp_open(world.text);
    (void)fputs("no certificate\n", file);
    return fclose(file);
}

static int world_teardown(void **state)
{
    (void)state;
    identity_free(&world.one);
    identity_free(&world.other);
    (void)unlink(world.cert);
    (void)unlink(world.key);
    (void)unlink(world.other_key);
    (void)unlink(world.locked_key);
    (void)unlink(world.text);
    return 0;
}

/* Catches: a fault that is found by the first client, a text that does not say which file, a
 * question for a passphrase that nobody answers. */
static void test_faults(void **state)
{
    const struct {
        const char *cert;
        const char *key;
        const char *file; /* that the text names */
        const char *text;
    } cases[] = {
        {"/no/such/cert.pem", world.key, "/no/such/cert.pem", "cannot read a certificate from"},
        {world.cert, "/no/such/key.pem", "/no/such/key.pem", "cannot read a key from"},
        {world.text, world.key, world.text, "cannot read a certificate from"},
        {world.key, world.key, world.key, "cannot read a certificate from"},
        {world.cert, world.cert, world.cert, "cannot read a key from"},
        {world.cert, world.locked_key, world.locked_key, "cannot read a key from"},
        {world.cert, world.other_key, world.other_key, "is not that of the certificate in"},
        {"/tmp", world.key, "/tmp", "cannot read a certificate from"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_context *context = NULL;
        struct error e;
        assert_int_equal(tls_server_new(str_c(cases[i].cert), str_c(cases[i].key), &context, &e),
                         ERR_CONFIG);
        assert_null(context);
        assert_non_null(strstr(e.detail, cases[i].file));
        assert_non_null(strstr(e.detail, cases[i].text));
    }
}

/* Catches: a time of the certificate that is misread. */
static void test_validity(void **state)
{
    struct tls_context *context = NULL;
    int64_t begin_ms = 0;
    int64_t end_ms = 0;
    struct error e;
    (void)state;

    assert_int_equal(tls_server_new(str_c(world.cert), str_c(world.key), &context, &e), OK);
    tls_server_validity(context, &begin_ms, &end_ms);
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    assert_in_range(now_ms - begin_ms, 10LL * DAY_S * 1000, (10LL * DAY_S + 600) * 1000);
    assert_in_range(end_ms - begin_ms, 11LL * DAY_S * 1000, (11LL * DAY_S + 600) * 1000);
    struct tls_context *again = tls_context_ref(context);
    tls_context_unref(&context);
    assert_null(context);
    tls_server_validity(again, &begin_ms, &end_ms);
    tls_context_unref(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_validity),
    };

    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
