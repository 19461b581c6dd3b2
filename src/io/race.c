/* SPDX-License-Identifier: MIT */
/*
 * One connection to a host that has several addresses (happy eyeballs, RFC 8305).
 *
 * What      Begins with the resolver's first address and does not wait for it to fail: an address
 *           that does not answer costs a quarter of a second, not the time of a connect.
 * How       order: the families take turns, beginning with the first address's; within a family
 *           the resolver's order holds (section 4)
 *           begin ─► the next begins 250 ms later (sooner where less time is allowed), or at once
 *                 │  when any has failed (section 5)
 *                 ├─► one connects: the others are closed, `done` gets its socket
 *                 └─► all have failed: `done` gets the last failure
 *           Each attempt is a socket with a uv_poll for it, as a uv_tcp cannot hand over its own.
 *           Both families are there at once: getaddrinfo answers when it has both, so the
 *           resolution delay of section 3 has no place here.
 * Owns      The sockets until `done` takes one. The race itself stays until libuv has let go of
 *           its handles: `holds` counts them, and whoever else needs it.
 * Not here  The time allowed for the whole, and what is said when it is over (conn_tcp).
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/io_priv.h"

struct attempt {
    uv_poll_t poll;
    struct race *race;
    int fd; /* -1: not begun, or over */
};

struct race {
    struct loop *loop;
    race_done_fn *done; /* NULL: told, or cancelled */
    void *ctx;
    struct timer timer; /* until the next begins */
    int64_t delay_ms;
    struct deferred turn; /* all failed before race_start had returned */
    size_t begun;
    size_t running;
    size_t holds;
    struct race_result result; /* of the last one that failed */
    struct dns_addresses addresses;
    struct attempt attempts[]; /* addresses.n */
};

/* RFC 8305, section 4: "the list is interleaved by address family". */
static void interleave(const struct dns_addresses *from, struct dns_addresses *to)
{
    size_t next[2] = {0, 0}; /* of the first family, of the other */
    int first = from->at[0].any.sa_family;

    to->n = 0;
    for (size_t turn = 0; to->n < from->n; turn++) {
        bool other = turn % 2 == 1;
        size_t *i = &next[other];
        while (*i < from->n && (from->at[*i].any.sa_family != first) != other)
            (*i)++;
        if (*i < from->n)
            to->at[to->n++] = from->at[(*i)++];
    }
}

static void release(struct race *race)
{
    assert(race->holds > 0);
    if (--race->holds > 0)
        return;
    assert(race->running == 0);
    assert(!timer_armed(&race->timer));
    mem_free(race);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct loop *loop = CONTAINER_OF(handle, struct attempt, poll)->race->loop;

    release(CONTAINER_OF(handle, struct attempt, poll)->race);
    loop_turn_end(loop);
}

/* Takes the socket out of the attempt, which is over. */
static int take_socket(struct attempt *attempt)
{
    int fd = attempt->fd;

    assert(fd >= 0);
    assert(attempt->race->running > 0);
    attempt->fd = -1;
    attempt->race->running--;
    uv_close((uv_handle_t *)&attempt->poll, on_poll_closed);
    return fd;
}

/* Nothing goes on any more; the caller's hold is still there. */
static void stop(struct race *race)
{
    race->done = NULL;
    timer_stop(&race->timer);
    for (size_t i = 0; i < race->begun; i++) {
        if (race->attempts[i].fd >= 0)
            (void)close(take_socket(&race->attempts[i]));
    }
    assert(race->running == 0);
}

static void tell(struct race *race)
{
    race_done_fn *done = race->done;
    struct race_result result = race->result;

    result.begun = race->begun;
    stop(race);
    if (done != NULL)
        done(race->ctx, &result);
    release(race);
}

static void on_turn(struct deferred *turn)
{
    tell(CONTAINER_OF(turn, struct race, turn));
}

static void note_failure(struct race *race, size_t i, int failure)
{
    assert(failure < 0);
    race->result.status = failure;
    race->result.address = race->addresses.at[i];
}

static void on_poll(uv_poll_t *poll, int status, int events);

static int open_socket(struct attempt *attempt, const union dns_address *address)
{
    bool v6 = address->any.sa_family == AF_INET6;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int status = 0;
    int rc;

    if (fd < 0)
        return -errno;
    do
        rc = connect(fd, &address->any, v6 ? sizeof(address->v6) : sizeof(address->v4));
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EINPROGRESS && errno != EALREADY && errno != EISCONN)
        status = -errno;
    if (status == 0)
        status = uv_poll_init(attempt->race->loop->uv, &attempt->poll, fd);
    if (status != 0) {
        (void)close(fd);
        return status;
    }
    attempt->fd = fd;
    attempt->race->running++;
    attempt->race->holds++;
    return uv_poll_start(&attempt->poll, UV_WRITABLE, on_poll);
}

/* Begins with the next address that can be begun with. */
static void begin_next(struct race *race)
{
    timer_stop(&race->timer);
    while (race->begun < race->addresses.n) {
        size_t i = race->begun++;
        struct attempt *attempt = &race->attempts[i];
        attempt->race = race;
        attempt->fd = -1;
        int status = open_socket(attempt, &race->addresses.at[i]);
        if (status == 0)
            break;
        note_failure(race, i, status);
        if (attempt->fd >= 0)
            (void)close(take_socket(attempt));
    }
    if (race->begun < race->addresses.n)
        timer_start(&race->timer, race->delay_ms);
}

static void on_timer(struct timer *timer)
{
    struct race *race = CONTAINER_OF(timer, struct race, timer);

    begin_next(race);
    assert(race->running > 0); /* the one before is still at it */
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct attempt *attempt = CONTAINER_OF(poll, struct attempt, poll);
    struct race *race = attempt->race;
    struct loop *loop = race->loop;
    size_t i = (size_t)(attempt - race->attempts);
    int error = 0;
    socklen_t size = sizeof(error);

    (void)events;
    int fd = take_socket(attempt);
    /* libuv says EBADF for whatever the socket's error is. */
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
        status = -error;
    if (status == 0) {
        race->result.status = 0;
        race->result.fd = fd;
        race->result.address = race->addresses.at[i];
        tell(race);
    } else {
        (void)close(fd);
        note_failure(race, i, status);
        begin_next(race);
        if (race->running == 0)
            tell(race);
    }
    loop_turn_end(loop);
}

struct race *race_start(struct loop *loop, const struct dns_addresses *addresses, int64_t time_ms,
                        race_done_fn *done, void *ctx)
{
    assert(loop->uv != NULL);
    assert(done != NULL);
    assert(time_ms >= 0);
    assert(addresses->n > 0 && addresses->n <= DNS_ADDRESSES_MAX);
    struct race *race = mem_new(sizeof(*race) + addresses->n * sizeof(struct attempt));

    race->loop = loop;
    race->done = done;
    race->ctx = ctx;
    race->holds = 1;
    race->result.fd = -1;
    race->delay_ms = time_ms / (int64_t)addresses->n;
    if (race->delay_ms > RACE_DELAY_MS)
        race->delay_ms = RACE_DELAY_MS;
    interleave(addresses, &race->addresses);
    timer_init(&race->timer, loop, on_timer);
    list_init(&race->turn.link);
    begin_next(race);
    if (race->running == 0)
        loop_ready(loop, &race->turn, on_turn);
    return race;
}

void race_stand(const struct race *race, struct race_result *ret_result)
{
    assert(race->begun > 0);
    *ret_result = (struct race_result){
        .status = UV_ETIMEDOUT,
        .fd = -1,
        .begun = race->begun,
        .address = race->addresses.at[race->begun - 1],
    };
}

void race_cancel(struct race **race)
{
    assert(race != NULL);
    if (*race == NULL)
        return;
    loop_undefer(&(*race)->turn);
    stop(*race);
    release(*race);
    *race = NULL;
}
