/* SPDX-License-Identifier: MIT */
/*
 * What      Backends at URLs that sessions have set: made, kept, found again, dropped.
 * How       The URL is checked each time that it is taken, as far as it can be told by its text;
 *           each address that its name stands for, each time that a connection is made. Through a
 *           proxy only literal addresses are reached: what a name stands for would be the proxy's
 *           to say, out of our sight.
 *           One that has to go leaves the list at once and is freed at the end of the turn: its
 *           pool may be in the middle of an event.
 * Owns      The doors with their pools; keys are the configuration's.
 * Not here  Which URLs are allowed (state/url_door), what a backend is elsewhere (backend).
 */
#include "gateway/door.h"

#include "base/mem.h"
#include "gateway/gateway_priv.h"
#include "http/forward.h"
#include "io/address.h"
#include "state/url_door.h"

enum { DOOR_BYTES_MAX = 64 * 1024, SHOWN_HOST_MAX = 80 };

struct door {
    struct list link;
    struct branch *branch;
    const struct backend *from;
    struct str text; /* the URL as it was set */
    struct url url;
    struct backend backend;
    struct conn_filter filter;
    struct client_pool *pool;
    struct keyring keyring; /* where no keys go there; n is 0 otherwise */
    size_t users;
    struct arena arena;
};

void door_table_init(struct doors *doors)
{
    list_init(&doors->all);
    list_init(&doors->gone);
    list_init(&doors->sweep.link);
    doors->n = 0;
}

static struct door *door_of(struct list *link)
{
    return LIST_ENTRY(link, struct door, link);
}

static void door_free(struct door *door)
{
    assert(door->users == 0);
    client_pool_free(&door->pool);
    keyring_fini(&door->keyring);
    list_remove(&door->link);
    arena_fini(&door->arena);
    mem_free(door);
}

static void free_gone(struct deferred *deferred)
{
    struct doors *doors = CONTAINER_OF(deferred, struct doors, sweep);

    LIST_FOREACH(link, &doors->gone)
    {
        door_free(door_of(link));
    }
}

void door_table_free(struct doors *doors)
{
    loop_undefer(&doors->sweep);
    free_gone(&doors->sweep);
    LIST_FOREACH(link, &doors->all)
    {
        door_free(door_of(link));
    }
    doors->n = 0;
}

void door_table_drain(struct doors *doors)
{
    LIST_FOREACH(link, &doors->all)
    {
        client_pool_drain(door_of(link)->pool);
    }
}

void door_table_trim(struct doors *doors)
{
    LIST_FOREACH(link, &doors->all)
    {
        client_pool_trim(door_of(link)->pool);
    }
}

/* --- making one --- */

static bool admits(const struct conn_filter *filter, const struct sockaddr *socket_address)
{
    const struct door *door = (const void *)((const char *)filter - offsetof(struct door, filter));
    struct address address = address_of_socket(socket_address);

    return url_door_admits(door->branch->site->config, &door->url, &address);
}

static enum error_code make_pool(struct door *door, struct error *e)
{
    const struct backend *twin = door->backend.twin;
    struct site *site = door->branch->site;
    struct tls_context *tls = NULL;
    struct forward *forward = NULL;

    if (door->backend.url.https && twin != NULL)
        TRY(site_tls(site, twin, &tls, e));
    else if (door->backend.url.https)
        TRY(site_tls_top(site, &tls, e));
    TRY(site_forward(site, &door->backend, tls, &forward, e));
    if (forward != NULL && !url_door_is_address(&door->url)) {
        forward_free(&forward);
        return FAIL(e, ERR_FORBIDDEN,
                    "openai-url: %.*s would be looked up by a proxy, whose answer cannot be "
                    "checked; no_proxy can name it",
                    STR_ARG(str_head(door->backend.authority, SHOWN_HOST_MAX)));
    }
    door->pool = branch_pool_new(door->branch, &door->backend, tls, forward, &door->filter);
    return OK;
}

static enum error_code fill(struct door *door, struct str url, struct error *e)
{
    const struct backend_set *set = door->branch->site->backends;

    TRY(backend_elsewhere(set, door->from, url, &door->arena, &door->backend, e));
    if (arena_overflowed(&door->arena))
        return FAIL(e, ERR_FORBIDDEN, "openai-url: it is too long");
    if (door->backend.keyring == NULL) {
        keyring_init(&door->keyring, door->backend.config);
        door->backend.keyring = &door->keyring;
    }
    return make_pool(door, e);
}

/* Room for one more: the one that was used longest ago, by nobody now, goes. */
static enum error_code make_room(struct branch *branch, struct error *e)
{
    struct doors *doors = &branch->doors;
    struct list *link = doors->all.prev;

    if (doors->n < DOORS_MAX)
        return OK;
    while (link != &doors->all && door_of(link)->users > 0)
        link = link->prev;
    if (link == &doors->all)
        return FAIL(e, ERR_OVERLOADED, "more than %d URLs of openai-url are in use", DOORS_MAX);
    list_remove(link);
    list_push_back(&doors->gone, link);
    doors->n--;
    loop_defer(branch->station->loop, &doors->sweep, free_gone);
    return OK;
}

static enum error_code make(struct branch *branch, const struct backend *backend, struct str text,
                            struct door **ret_door, struct error *e)
{
    TRY(make_room(branch, e));
    struct door *door = mem_new(sizeof(*door));
    struct str why = STR("");

    list_init(&door->link);
    arena_init(&door->arena, DOOR_BYTES_MAX, 1024, NULL);
    door->branch = branch;
    door->from = backend;
    door->text = str_copy(&door->arena, text);
    door->filter = (struct conn_filter){.admits = admits, .why = url_door_refusal};
    /* Its slices stay: they are compared with addresses later. */
    bool passes = url_door_passes(branch->site->config, door->text, &door->arena, &door->url, &why);
    enum error_code code = passes ? fill(door, door->text, e)
                                  : FAIL(e, ERR_FORBIDDEN, "openai-url: %.*s", STR_ARG(why));
    if (code != OK) {
        door_free(door);
        return code;
    }
    branch->doors.n++;
    *ret_door = door;
    return OK;
}

/* --- using one --- */

static struct door *find(const struct doors *doors, const struct backend *backend, struct str url)
{
    LIST_FOREACH(link, &doors->all)
    {
        struct door *door = door_of(link);
        if (door->from == backend && str_eq(door->text, url))
            return door;
    }
    return NULL;
}

enum error_code door_take(struct branch *branch, const struct backend *backend, struct str url,
                          struct door **ret_door, struct error *e)
{
    /* A branch's configuration never changes: what passed once passes again. */
    struct door *door = find(&branch->doors, backend, url);

    assert(backend_is_openai(backend) && backend->local == NULL);
    if (door == NULL)
        TRY(make(branch, backend, url, &door, e));
    else
        list_remove(&door->link);
    list_push_front(&branch->doors.all, &door->link);
    door->users++;
    *ret_door = door;
    return OK;
}

void door_leave(struct door **door)
{
    if (*door == NULL)
        return;
    assert((*door)->users > 0);
    (*door)->users--;
    *door = NULL;
}

struct backend *door_backend(struct door *door)
{
    return &door->backend;
}

struct client_pool *door_pool(const struct door *door)
{
    return door->pool;
}
