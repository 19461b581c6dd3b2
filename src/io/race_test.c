/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/io_probe_priv.h"

enum { LIMIT_MS = 10000 };

/* A world with a race in it. */
struct ring {
    struct world world; /* first: world_run hands it out */
    struct race *race;
    int told;
    struct race_result result;
    int64_t began_ms;
    int64_t took_ms;
};

static struct ring *of(struct world *world)
{
    return CONTAINER_OF(world, struct ring, world);
}

static void on_done(void *ctx, const struct race_result *result)
{
    struct ring *here = ctx;

    here->told++;
    here->result = *result;
    here->race = NULL;
    here->took_ms = loop_now_ms(here->world.loop) - here->began_ms;
}

static void begin(struct ring *here, const struct dns_addresses *addresses)
{
    here->told = 0;
    here->result = (struct race_result){.fd = -1};
    here->began_ms = loop_now_ms(here->world.loop);
    here->race = race_start(here->world.loop, addresses, LIMIT_MS, on_done, here);
    assert_int_equal(here->told, 0);
}

static bool told(struct world *world)
{
    return of(world)->told > 0;
}

static void run_to_end(struct ring *here, const struct dns_addresses *addresses)
{
    begin(here, addresses);
    assert_true(world_run(&here->world, told, LIMIT_MS));
    assert_int_equal(here->told, 1);
    assert_null(here->race);
}

static union dns_address address_of(int family, uint16_t port)
{
    struct dns_addresses found;
    struct str host = family == '6' ? STR("::1") : STR("127.0.0.1");

    assert_true(dns_literal(host, port, &found));
    return found.at[0];
}

/* A port that nobody listens on, in neither family. */
static uint16_t dead_port(void)
{
    struct error e;
    uint16_t port = 0;
    int fd = -1;

    assert_int_equal(worker_listen(STR("::"), 0, true, &fd, &port, &e), OK);
    assert_int_equal(close(fd), 0);
    return port;
}

static void assert_port(const union dns_address *address, uint16_t port)
{
    assert_int_equal(ntohs(address->v4.sin_port), port);
}

/* Catches: families that do not take turns, the resolver's order lost within one, an address left
 * out or tried twice, a fd that is not the winner's. All but one of the addresses refuse. */
static void test_order(void **state)
{
    static const struct {
        const char *families;
        const char *place; /* of each address in the order of the attempts */
    } cases[] = {
        {"4", "1"},
        {"6", "1"},
        {"46", "12"},
        {"64", "12"},
        {"44", "12"},
        {"446", "132"},
        {"664", "132"},
        {"4466", "1324"},
        {"644", "123"},
        {"466", "123"},
        {"6664", "1342"},
        {"6444", "1234"},
        {"66664444", "13572468"},
    };
    struct ring here = {.told = 0};
    struct error e;
    uint16_t alive = 0;
    uint16_t dead = dead_port();
    int listener = -1;
    (void)state;

    world_init(&here.world);
    /* Of its own, for both families; what connects stays in its queue. */
    assert_int_equal(worker_listen(STR("::"), 0, true, &listener, &alive, &e), OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dns_addresses addresses = {.n = strlen(cases[i].families)};
        for (size_t winner = 0; winner < addresses.n; winner++) {
            for (size_t k = 0; k < addresses.n; k++)
                addresses.at[k] = address_of(cases[i].families[k], k == winner ? alive : dead);
            run_to_end(&here, &addresses);
            assert_int_equal(here.result.status, 0);
            assert_port(&here.result.address, alive);
            assert_int_equal(here.result.begun, cases[i].place[winner] - '0');
            /* Failures do not wait: seven of them would take longer than this. */
            assert_true(here.took_ms < 6 * RACE_DELAY_MS);
            struct sockaddr_in6 name;
            socklen_t size = sizeof(name);
            assert_int_equal(getpeername(here.result.fd, (struct sockaddr *)&name, &size), 0);
            assert_int_equal(ntohs(name.sin6_port), alive);
            assert_int_equal(close(here.result.fd), 0);
        }
    }
    assert_int_equal(close(listener), 0);
    world_fini(&here.world);
}

/* Catches: an address that does not answer and is waited for, a second attempt that begins too
 * early, sockets of losers that stay. */
static void test_silent_address(void **state)
{
    struct ring here = {.told = 0};
    struct black_hole hole;
    struct error e;
    uint16_t alive = 0;
    int listener = -1;
    (void)state;

    black_hole_init(&hole);
    world_init(&here.world);
    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &listener, &alive, &e), OK);
    size_t before = probe_open_fds();
    const struct dns_addresses addresses = {.n = 3,
                                            .at = {address_of('4', hole.port),
                                                   address_of('4', hole.port),
                                                   address_of('4', alive)}};
    run_to_end(&here, &addresses);
    assert_int_equal(here.result.status, 0);
    assert_int_equal(here.result.begun, 3);
    assert_port(&here.result.address, alive);
    assert_true(here.took_ms >= 2 * (RACE_DELAY_MS - TIMER_SLACK_MS));
    assert_int_equal(probe_open_fds(), before + 1);
    assert_int_equal(close(here.result.fd), 0);
    assert_int_equal(close(listener), 0);
    world_fini(&here.world);
    black_hole_fini(&hole);
}

static bool two_begun(struct world *world)
{
    struct race_result stand;

    if (of(world)->race == NULL)
        return false;
    race_stand(of(world)->race, &stand);
    return stand.begun == 2;
}

/* Catches: an address that is never tried because the time allowed is short. */
static void test_little_time(void **state)
{
    struct ring here = {.told = 0};
    struct black_hole hole;
    struct dns_addresses addresses = {.n = DNS_ADDRESSES_MAX};
    (void)state;

    black_hole_init(&hole);
    world_init(&here.world);
    for (size_t i = 0; i < addresses.n; i++)
        addresses.at[i] = address_of('4', hole.port);
    addresses.at[addresses.n - 1] = address_of('4', here.world.port);
    here.race = race_start(here.world.loop, &addresses, 400, on_done, &here);
    here.began_ms = loop_now_ms(here.world.loop);
    assert_true(world_run(&here.world, told, LIMIT_MS));
    assert_int_equal(here.result.status, 0);
    assert_int_equal(here.result.begun, addresses.n);
    assert_true(here.took_ms < 7 * RACE_DELAY_MS);
    assert_int_equal(close(here.result.fd), 0);
    world_fini(&here.world);
    black_hole_fini(&hole);
}

/* Catches: an attempt that is given up when the next begins: the first answers late, and wins. */
static void test_late_winner(void **state)
{
    struct ring here = {.told = 0};
    struct black_hole holes[2];
    (void)state;

    black_hole_init(&holes[0]);
    black_hole_init(&holes[1]);
    world_init(&here.world);
    const struct dns_addresses addresses = {.n = 2,
                                            .at = {address_of('4', holes[0].port),
                                                   address_of('4', holes[1].port)}};
    begin(&here, &addresses);
    assert_true(world_run(&here.world, two_begun, LIMIT_MS));
    black_hole_open(&holes[0]);
    assert_true(world_run(&here.world, told, LIMIT_MS));
    assert_int_equal(here.result.status, 0);
    assert_int_equal(here.result.begun, 2);
    assert_port(&here.result.address, holes[0].port);
    assert_int_equal(close(here.result.fd), 0);
    world_fini(&here.world);
    black_hole_fini(&holes[0]);
    black_hole_fini(&holes[1]);
}

/* Catches: a failure told too early, or not as the last one's. */
static void test_all_fail(void **state)
{
    struct ring here = {.told = 0};
    uint16_t dead = dead_port();
    struct dns_addresses addresses = {.n = 3};
    (void)state;

    world_init(&here.world);
    addresses.at[0] = address_of('4', dead);
    addresses.at[1] = address_of('6', dead);
    addresses.at[2] = address_of('4', dead);
    run_to_end(&here, &addresses);
    assert_int_equal(here.result.status, UV_ECONNREFUSED);
    assert_int_equal(here.result.begun, 3);
    assert_int_equal(here.result.fd, -1);

    /* connect(2) refuses the broadcast address at once: all is over before race_start returns. */
    assert_true(dns_literal(STR("255.255.255.255"), 9, &addresses));
    addresses.at[1] = addresses.at[0];
    addresses.n = 2;
    run_to_end(&here, &addresses);
    assert_true(here.result.status < 0);
    assert_int_equal(here.result.begun, 2);
    begin(&here, &addresses);
    race_cancel(&here.race);
    assert_null(here.race);
    race_cancel(&here.race);
    world_fini(&here.world);
    assert_int_equal(here.told, 0);
}

static bool never(struct world *world)
{
    (void)world;
    return false;
}

/* Catches: use after free, `done` after the end, sockets that stay, whenever it is cancelled. */
static void test_cancel(void **state)
{
    struct ring here = {.told = 0};
    struct black_hole hole;
    uint16_t dead = dead_port();
    (void)state;

    black_hole_init(&hole);
    world_init(&here.world);
    size_t before = probe_open_fds();
    const struct dns_addresses silent = {.n = 3,
                                         .at = {address_of('4', hole.port),
                                                address_of('4', hole.port), address_of('6', dead)}};
    begin(&here, &silent);
    race_cancel(&here.race); /* at once */
    assert_int_equal(probe_open_fds(), before);
    begin(&here, &silent);
    assert_false(world_run(&here.world, never, 5));
    race_cancel(&here.race); /* one in flight */
    begin(&here, &silent);
    assert_true(world_run(&here.world, two_begun, LIMIT_MS));
    race_cancel(&here.race); /* two in flight, or one and one that failed */
    assert_int_equal(probe_open_fds(), before);
    begin(&here, &(const struct dns_addresses){.n = 2,
                                               .at = {address_of('4', here.world.port),
                                                      address_of('4', dead)}});
    race_cancel(&here.race); /* connected, and not told yet */
    assert_int_equal(probe_open_fds(), before);
    world_fini(&here.world);
    black_hole_fini(&hole);
    assert_int_equal(here.told, 0);
}

/* Catches: a lack of descriptors that hangs, or does not say so, or ends an attempt that has one
 * already. */
static void test_out_of_descriptors(void **state)
{
    struct ring here = {.told = 0};
    struct rlimit before;
    struct rlimit limit;
    int fill[64];
    size_t filled = 0;
    (void)state;

    world_init(&here.world);
    int spare = dup(0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)spare + 1;
    assert_int_equal(close(spare), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (filled < COUNT_OF(fill) && (fill[filled] = dup(0)) >= 0)
        filled++;
    assert_true(filled > 0 && filled < COUNT_OF(fill));
    const struct dns_addresses addresses = {.n = 2,
                                            .at = {address_of('4', here.world.port),
                                                   address_of('6', here.world.port)}};
    run_to_end(&here, &addresses);
    assert_int_equal(here.result.status, UV_EMFILE);
    assert_int_equal(here.result.begun, 2);
    worker_accept_pause(here.world.worker, true);
    assert_int_equal(close(fill[--filled]), 0);
    run_to_end(&here, &addresses);
    assert_int_equal(here.result.status, 0);
    assert_int_equal(close(here.result.fd), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (filled > 0)
        assert_int_equal(close(fill[--filled]), 0);
    world_fini(&here.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_silent_address),
        cmocka_unit_test(test_little_time),
        cmocka_unit_test(test_late_winner),
        cmocka_unit_test(test_all_fail),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_out_of_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
