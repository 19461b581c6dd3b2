/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses.
 *
 * What      Literal addresses and localhost at once (RFC 6761, 6.3: localhost needs no look-up, and
 *           most local backends are so named; this also keeps a process that talks to nothing else
 *           free of resolver threads). Other names through getaddrinfo in libuv's threads, so that
 *           hosts files and the machine's resolver settings hold.
 * How       libuv's pool has four threads (UV_THREADPOOL_SIZE) for all workers together, and lets
 *           look-ups, its "slow work", have half of them: two at a time, the others wait in line.
 *           A resolver that does not answer thus holds up other look-ups until it gives up
 *           (resolv.conf: timeout, attempts), and their askers run into connect_timeout; it never
 *           holds up the other half, nor a loop, nor a connection that needs no look-up. Who stops
 *           asking while still in line leaves it.
 * Owns      A query belongs to itself: the thread may still be at work when its asker has gone.
 *           dns_cancel cuts the tie, and the query is freed when libuv gives it back.
 * Not here  Caching: the system's resolver does that.
 */
#include "io/io_priv.h"

#include <netdb.h>

#include "base/mem.h"

struct dns_query {
    uv_getaddrinfo_t request;
    struct loop *loop;
    dns_done_fn *done; /* NULL: cancelled */
    void *ctx;
};

enum { HOST_SIZE = 64 };

static bool literal_v6(struct str host, uint16_t port, union dns_address *ret_address)
{
    char z[HOST_SIZE];

    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_of(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= sizeof(z))
        return false;
    memcpy(z, host.p, host.n);
    z[host.n] = '\0';
    return uv_ip6_addr(z, port, &ret_address->v6) == 0;
}

static bool literal_v4(struct str host, uint16_t port, union dns_address *ret_address)
{
    char z[HOST_SIZE];

    if (host.n == 0 || host.n >= sizeof(z))
        return false;
    memcpy(z, host.p, host.n);
    z[host.n] = '\0';
    return uv_ip4_addr(z, port, &ret_address->v4) == 0;
}

bool dns_literal(struct str host, uint16_t port, struct dns_addresses *ret_found)
{
    struct dns_addresses found = {.n = 1};

    if (str_eq_nocase(host, STR("localhost"))) {
        if (!literal_v4(STR("127.0.0.1"), port, &found.at[0]) ||
            !literal_v6(STR("::1"), port, &found.at[1]))
            BUG("loopback addresses are not parsed");
        found.n = 2;
    } else if (!literal_v4(host, port, &found.at[0]) && !literal_v6(host, port, &found.at[0])) {
        return false;
    }
    *ret_found = found;
    return true;
}

static void collect(const struct addrinfo *list, struct dns_addresses *found)
{
    for (const struct addrinfo *it = list; it != NULL; it = it->ai_next) {
        if (found->n == DNS_ADDRESSES_MAX)
            break;
        if (it->ai_family != AF_INET && it->ai_family != AF_INET6)
            continue;
        assert(it->ai_addrlen <= sizeof(union dns_address));
        memcpy(&found->at[found->n++], it->ai_addr, it->ai_addrlen);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct dns_query *query = CONTAINER_OF(request, struct dns_query, request);
    struct loop *loop = query->loop;
    struct dns_addresses found = {.n = 0};

    if (query->done != NULL) {
        collect(list, &found);
        if (status == 0 && found.n == 0)
            status = UV_EAI_NODATA;
        query->done(query->ctx, status, &found);
    }
    uv_freeaddrinfo(list);
    mem_free(query);
    loop_turn_end(loop);
}

int dns_start(struct loop *loop, const char *host, uint16_t port, dns_done_fn *done, void *ctx,
              struct dns_query **ret_query)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct dns_query *query = mem_new(sizeof(*query));
    char service[8];

    assert(loop->uv != NULL);
    assert(done != NULL);
    query->loop = loop;
    query->done = done;
    query->ctx = ctx;
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    int status = uv_getaddrinfo(loop->uv, &query->request, on_resolved, host, service, &hints);
    if (status != 0) {
        mem_free(query);
        return status;
    }
    *ret_query = query;
    return 0;
}

void dns_cancel(struct dns_query **query)
{
    assert(query != NULL);
    if (*query == NULL)
        return;
    (*query)->done = NULL;
    /* Refused when the thread is at it already; then it comes back in its own time. */
    (void)uv_cancel((uv_req_t *)&(*query)->request);
    *query = NULL;
}

static size_t print_v4(const struct in_addr *address, unsigned port, char to[DNS_TEXT_SIZE])
{
    char name[INET_ADDRSTRLEN] = "";

    (void)uv_inet_ntop(AF_INET, address, name, sizeof(name));
    int n = snprintf(to, DNS_TEXT_SIZE, "%s:%u", name, port);
    assert(n > 0 && n < DNS_TEXT_SIZE);
    return (size_t)n;
}

size_t dns_print(const struct sockaddr *address, char to[DNS_TEXT_SIZE])
{
    const void *any = address;
    const struct sockaddr_in6 *v6 = any;
    char name[INET6_ADDRSTRLEN] = "";

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = any;
        return print_v4(&v4->sin_addr, ntohs(v4->sin_port), to);
    }
    assert(address->sa_family == AF_INET6);
    /* A client of a listener for both families is known by its own address. */
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        struct in_addr v4;
        memcpy(&v4, v6->sin6_addr.s6_addr + 12, sizeof(v4));
        return print_v4(&v4, ntohs(v6->sin6_port), to);
    }
    (void)uv_inet_ntop(AF_INET6, &v6->sin6_addr, name, sizeof(name));
    int n = snprintf(to, DNS_TEXT_SIZE, "[%s]:%u", name, (unsigned)ntohs(v6->sin6_port));
    assert(n > 0 && n < DNS_TEXT_SIZE);
    return (size_t)n;
}
