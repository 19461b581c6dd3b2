/* SPDX-License-Identifier: MIT */
/*
 * Pools of upstream connections.
 *
 * What      Counts places, keeps idle connections, recycles the memory of requests.
 * How       A connection has a place in the count of open ones from its birth to its end, idle time
 *           included; a request has one in the count of busy ones where there are several pools.
 * Owns      All client_requests of the pool; the counts are shared with other pools.
 * Not here  What happens on a connection.
 */
#include "base/mem.h"
#include "http/client_priv.h"

enum { SPARE_MAX = 256 };

/* ---- memory ---- */

struct client_request *client_pool_take(struct client_pool *pool)
{
    struct client_request *r = NULL;

    if (!list_empty(&pool->spare)) {
        r = LIST_ENTRY(pool->spare.next, struct client_request, link);
        list_remove(&r->link);
        pool->spare_count--;
        memset(r, 0, sizeof(*r));
    } else {
        r = mem_new(sizeof(*r));
    }
    r->magic = CLIENT_MAGIC;
    r->pool = pool;
    list_init(&r->link);
    return r;
}

void client_pool_give(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state == CLIENT_OVER && r->conn == NULL);
    assert(!timer_armed(&r->timer));
    assert(r->coded == NULL && r->upload == NULL);
    r->magic = 0;
    if (HAVE_ASAN || pool->spare_count == SPARE_MAX) {
        mem_free(r);
        return;
    }
    list_push_front(&pool->spare, &r->link);
    pool->spare_count++;
}

/* ---- places ---- */

static void count_down(atomic_size_t *count)
{
    if (count != NULL)
        atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* False: it was at the limit, and stays there. */
static bool count_up(atomic_size_t *count, size_t max)
{
    if (count == NULL || atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    count_down(count);
    return false;
}

bool client_pool_request_up(const struct client_pool *pool)
{
    return count_up(pool->options.busy, pool->options.connections_max);
}

void client_pool_request_down(const struct client_pool *pool)
{
    count_down(pool->options.busy);
}

bool client_pool_connection_up(const struct client_pool *pool)
{
    const struct client_pool_options *options = &pool->options;

    if (count_up(options->connections, options->connections_max))
        return true;
    if (options->busy == NULL)
        return false;
    /* The places are taken by connections that other pools keep for later. */
    atomic_fetch_add_explicit(options->connections, 1, memory_order_relaxed);
    options->crowded(options->connect_ctx);
    return true;
}

static bool over_limit(const struct client_pool *pool)
{
    const struct client_pool_options *options = &pool->options;

    return options->connections != NULL &&
           atomic_load_explicit(options->connections, memory_order_relaxed) >
               options->connections_max;
}

void client_pool_close(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state != CLIENT_OVER);
    client_send_forget(r);
    client_answer_forget(r);
    if (r->state == CLIENT_IDLE) {
        list_remove(&r->link);
        pool->idle_count--;
    } else {
        assert(pool->running_count > 0);
        pool->running_count--;
        if (r->state != CLIENT_ENDED)
            client_pool_request_down(pool);
    }
    r->state = CLIENT_OVER;
    conn_close(&r->conn);
    forward_tunnel_free(&r->tunnel);
    timer_stop(&r->timer);
    loop_undefer(&r->deferred);
    count_down(pool->options.connections);
}

void client_pool_park(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state == CLIENT_ENDED);
    if (!r->keep || pool->draining || pool->options.idle_timeout_ms == 0 || over_limit(pool)) {
        client_pool_close(r);
        return;
    }
    client_send_forget(r);
    client_answer_forget(r);
    pool->running_count--;
    pool->idle_count++;
    r->state = CLIENT_IDLE;
    r->call = (struct client_call){0};
    r->part = 0;
    loop_undefer(&r->deferred);
    list_push_front(&pool->idle, &r->link);
    /* Also of who does not pause any more, but had the end from what was held. */
    conn_read_start(r->conn);
    timer_start(&r->timer, pool->options.idle_timeout_ms);
}

/* ---- pools ---- */

struct client_pool *client_pool_new(struct loop *loop, const struct client_pool_options *options)
{
    struct client_pool *pool = mem_new(sizeof(*pool));

    assert(loop != NULL);
    assert(options->header_bytes_max > 0);
    assert(options->idle_timeout_ms >= 0 && options->silence_timeout_ms > 0);
    assert(options->connect != NULL || options->host.n > 0);
    assert(options->busy == NULL || (options->connections != NULL && options->crowded != NULL));
    pool->magic = CLIENT_POOL_MAGIC;
    pool->loop = loop;
    pool->options = *options;
    pool->host = str_dup(options->host);
    pool->options.host = str_c(pool->host);
    list_init(&pool->idle);
    list_init(&pool->spare);
    return pool;
}

static void idle_close(struct client_pool *pool)
{
    LIST_FOREACH(link, &pool->idle)
    {
        struct client_request *r = LIST_ENTRY(link, struct client_request, link);
        assert(!r->in_event);
        client_pool_close(r);
        client_pool_give(r);
    }
    assert(pool->idle_count == 0);
}

void client_pool_free(struct client_pool **pool)
{
    struct client_pool *p = *pool;

    if (p == NULL)
        return;
    assert(p->magic == CLIENT_POOL_MAGIC);
    assert(p->running_count == 0);
    idle_close(p);
    LIST_FOREACH(link, &p->spare)
    {
        list_remove(link);
        mem_free(LIST_ENTRY(link, struct client_request, link));
    }
    forward_free(&p->options.forward);
    mem_free(p->host);
    mem_free(p->decoded);
    p->magic = 0;
    mem_free(p);
    *pool = NULL;
}

void client_pool_drain(struct client_pool *pool)
{
    pool->draining = true;
    idle_close(pool);
}

void client_pool_drop_oldest(struct client_pool *pool)
{
    if (list_empty(&pool->idle))
        return;
    struct client_request *r = LIST_ENTRY(pool->idle.prev, struct client_request, link);
    assert(!r->in_event);
    client_pool_close(r);
    client_pool_give(r);
}

void client_pool_trim(struct client_pool *pool)
{
    while (over_limit(pool) && !list_empty(&pool->idle))
        client_pool_drop_oldest(pool);
}

size_t client_pool_idle_count(const struct client_pool *pool)
{
    return pool->idle_count;
}
