/* SPDX-License-Identifier: MIT */
/*
 * The list of models.
 *
 * What      Asks each backend for its models and keeps the answers.
 * How       A list is asked for when somebody wants it and it is older than KEEP_MS; who comes
 *           while an old one is there gets the old one, the first waits, at most ASK_MS a backend.
 *           A backend that fails is left out with a warning. `models:` in the configuration wins.
 *           A list may come in pages, one after the other, within the same time; the old list stays
 *           until the last one is there. Who answers that there is no such path (404, 405, 501) has
 *           no list: that is no failure, said once, and asked again after KEEP_NONE_MS.
 * Owns      Per branch one entry a backend, each with its arena; the exchanges that wait are
 *           linked, not owned.
 * Not here  The shape of the list (protocol/).
 */
#include "gateway/models.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/attempt.h"
#include "gateway/gateway_priv.h"
#include "gateway/upstream_head.h"
#include "state/model_alias.h"
#include "text/json_index.h"

enum {
    KEEP_MS = 5 * 60 * 1000,
    KEEP_FAILURE_MS = 30 * 1000,
    KEEP_NONE_MS = 60 * 60 * 1000,
    ASK_MS = 5000,
    LIST_BYTES_MAX = 8 * 1024 * 1024,
    LIST_MODELS_MAX = 10000,
    PAGES_MAX = 64,
    NEXT_BYTES_MAX = 4096,
};

#define MODELS_ENTRY_MAGIC 0x30de15e7u

struct models_list {
    struct arena arena;
    struct model_entry *items;
    size_t n;
};

struct models_entry {
    uint32_t magic;
    struct models *models;
    struct backend *backend;
    struct client_request *request; /* NULL: not being asked */
    struct timer timer;
    struct arena call; /* of the running request */
    struct buf body;
    int status;
    bool known;  /* an answer, or a failure, was there once */
    bool failed; /* the last time */
    bool none;   /* it has no list */
    int64_t fresh_until_ms;
    struct models_list list;
    struct models_list coming; /* of the pages so far */
    size_t pages;              /* that were asked for */
    struct buf next;           /* the query of the page that is being asked for */
};

struct models {
    struct branch *branch;
    struct list waiting; /* exchanges, by models_link */
    struct models_entry entries[];
};

static size_t entry_count(const struct models *models)
{
    return models->branch->site->backends->n;
}

/* Backends whose list comes from neither the configuration nor this program. */
static bool is_asked(const struct backend *backend)
{
    return backend->functional && backend->local == NULL && backend->config->models.n == 0 &&
           !str_is_null(backend->models_path);
}

static bool all_known(const struct models *models)
{
    for (size_t i = 0; i < entry_count(models); i++) {
        const struct models_entry *entry = &models->entries[i];
        if (is_asked(entry->backend) && !entry->known)
            return false;
    }
    return true;
}

static void list_reset(struct models_list *list)
{
    arena_reset(&list->arena);
    list->items = NULL;
    list->n = 0;
}

/* The pages take the old list's place: all of them; those that came where there is no old one. */
static void take_coming(struct models_entry *entry, bool whole)
{
    struct models_list old = entry->list;

    if (whole || (entry->list.n == 0 && entry->coming.n > 0)) {
        entry->list = entry->coming;
        entry->coming = old;
    }
    list_reset(&entry->coming);
}

static void wake(struct models *models)
{
    if (!all_known(models))
        return;
    LIST_FOREACH(node, &models->waiting)
    {
        struct exchange *x = LIST_ENTRY(node, struct exchange, models_link);
        list_remove(&x->models_link);
        exchange_run(x);
    }
}

static void settle(struct models_entry *entry, int64_t keep_ms)
{
    timer_stop(&entry->timer);
    buf_fini(&entry->body);
    buf_fini(&entry->next);
    arena_reset(&entry->call);
    entry->pages = 0;
    entry->known = true;
    entry->fresh_until_ms = loop_now_ms(entry->models->branch->station->loop) + keep_ms;
    wake(entry->models);
}

static void finish(struct models_entry *entry, const char *failure)
{
    entry->failed = failure != NULL;
    if (failure == NULL)
        entry->none = false;
    take_coming(entry, failure == NULL);
    if (failure != NULL)
        LOG(BACKEND, WARN, "models.failed", F_STR("backend", entry->backend->name),
            F_Z("detail", failure));
    settle(entry, failure == NULL ? KEEP_MS : KEEP_FAILURE_MS);
}

static void finish_none(struct models_entry *entry)
{
    if (!entry->none)
        LOG(BACKEND, INFO, "models.none", F_STR("backend", entry->backend->name),
            F_INT("status", entry->status));
    entry->none = true;
    entry->failed = false;
    list_reset(&entry->coming);
    take_coming(entry, true);
    settle(entry, KEEP_NONE_MS);
}

static struct models_entry *entry_of(void *ctx)
{
    struct models_entry *entry;

    CAST(entry, ctx, MODELS_ENTRY_MAGIC);
    return entry;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    entry_of(ctx)->status = m->status;
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    (void)buf_add(&entry_of(ctx)->body, bytes);
}

static void add_model(void *ctx, struct str id, struct str source)
{
    struct models_entry *entry = entry_of(ctx);
    struct models_list *list = &entry->coming;
    int64_t created = 0;

    if (list->n == LIST_MODELS_MAX)
        return;
    if (!str_to_int64(json_object_find(source, STR("created")), &created))
        created = 0;
    size_t size = sizeof(list->items[0]);
    /* Grows by doubling: at each power of two. */
    if ((list->n & (list->n - 1)) == 0)
        list->items = arena_grow(&list->arena, list->items, list->n * size,
                                 (list->n == 0 ? 1 : list->n * 2) * size);
    if (arena_overflowed(&list->arena))
        return;
    list->items[list->n++] = (struct model_entry){
        .id = str_print(&list->arena, "%.*s:%.*s", STR_ARG(entry->backend->name), STR_ARG(id)),
        .owner = entry->backend->name,
        .created_s = created,
    };
}

static void on_end(struct client_request *r, void *ctx)
{
    (void)r;
    entry_of(ctx)->request = NULL;
}

static void ask_page(struct models_entry *entry);

/* Another page follows where the answer says so, unless it is the one that was just asked for. */
static bool has_next(struct models_entry *entry, struct str next)
{
    return next.n > 0 && next.n <= NEXT_BYTES_MAX && !str_eq(next, buf_str(&entry->next)) &&
           entry->pages < PAGES_MAX && entry->coming.n < LIST_MODELS_MAX;
}

static void page_came(struct models_entry *entry)
{
    struct str next = STR_NULL;

    if (entry->status == 404 || entry->status == 405 || entry->status == 501) {
        finish_none(entry);
        return;
    }
    if (entry->status != 200) {
        char why[40];
        (void)snprintf(why, sizeof(why), "status %d", entry->status);
        finish(entry, why);
        return;
    }
    bool ok = entry->backend->protocol->models_decode(buf_str(&entry->body), &entry->call,
                                                      add_model, entry, &next);
    if (arena_overflowed(&entry->coming.arena) || arena_overflowed(&entry->call)) {
        list_reset(&entry->coming);
        ok = false;
    }
    if (!ok || !has_next(entry, next)) {
        finish(entry, ok ? NULL : "the answer is not a list of models");
        return;
    }
    buf_reset(&entry->next);
    (void)buf_add(&entry->next, next);
    buf_reset(&entry->body);
    arena_reset(&entry->call);
    ask_page(entry);
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct models_entry *entry = entry_of(ctx);

    (void)r;
    if (!buf_ok(&entry->body)) {
        client_cancel(&entry->request);
        finish(entry, "the list is too long");
        return;
    }
    if (entry->request == NULL)
        page_came(entry);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct models_entry *entry = entry_of(ctx);

    (void)r;
    entry->request = NULL;
    finish(entry, e->detail);
}

static void on_sent(struct client_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static const struct client_events models_events = {
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

static void on_timer(struct timer *timer)
{
    struct models_entry *entry = CONTAINER_OF(timer, struct models_entry, timer);

    client_cancel(&entry->request);
    finish(entry, "no answer in time");
}

/* The path of the list, with the query of the page. */
static struct str target_of(const struct models_entry *entry, struct arena *arena)
{
    struct str path = entry->backend->models_path;
    const char *separator = str_find_char(path, '?', 0) == SIZE_MAX ? "?" : "&";

    if (entry->next.n == 0)
        return path;
    return str_print(arena, "%.*s%s%.*s", STR_ARG(path), separator, STR_ARG(buf_str(&entry->next)));
}

static void ask_page(struct models_entry *entry)
{
    struct branch *branch = entry->models->branch;
    struct backend *backend = entry->backend;
    struct error e = {.code = OK};

    entry->status = 0;
    entry->pages++;
    struct str head = upstream_head_get(branch->station, backend, target_of(entry, &entry->call),
                                        &entry->call);
    const struct client_call call = {
        .head = head,
        .arena = &entry->call,
        .events = &models_events,
        .ctx = entry,
    };
    struct client_pool *pool = NULL;
    if (branch_pool(branch, backend, &pool, &e) != OK ||
        client_start(pool, &call, &entry->request, &e) != OK)
        finish(entry, e.detail);
}

static void ask(struct models_entry *entry)
{
    assert(entry->pages == 0 && entry->coming.n == 0);
    buf_init(&entry->body, LIST_BYTES_MAX);
    buf_init(&entry->next, NEXT_BYTES_MAX);
    timer_start(&entry->timer, ASK_MS);
    ask_page(entry);
}

struct models *models_new(struct branch *branch)
{
    size_t n = branch->site->backends->n;
    struct models *models = mem_new(sizeof(*models) + n * sizeof(models->entries[0]));

    models->branch = branch;
    list_init(&models->waiting);
    for (size_t i = 0; i < n; i++) {
        struct models_entry *entry = &models->entries[i];
        entry->magic = MODELS_ENTRY_MAGIC;
        entry->models = models;
        entry->backend = &branch->site->backends->items[i];
        timer_init(&entry->timer, branch->station->loop, on_timer);
        arena_init(&entry->list.arena, LIST_BYTES_MAX * 4, 4096, NULL);
        arena_init(&entry->coming.arena, LIST_BYTES_MAX * 4, 4096, NULL);
        arena_init(&entry->call, LIST_BYTES_MAX * 16, 4096, NULL);
        buf_init(&entry->body, LIST_BYTES_MAX);
        buf_init(&entry->next, NEXT_BYTES_MAX);
    }
    return models;
}

void models_stop(struct models *models)
{
    for (size_t i = 0; i < entry_count(models); i++) {
        struct models_entry *entry = &models->entries[i];
        if (entry->request == NULL)
            continue;
        client_cancel(&entry->request);
        finish(entry, "not wanted any more");
    }
}

void models_free(struct models **models)
{
    if (*models == NULL)
        return;
    models_stop(*models);
    assert(list_empty(&(*models)->waiting));
    for (size_t i = 0; i < entry_count(*models); i++) {
        struct models_entry *entry = &(*models)->entries[i];
        timer_stop(&entry->timer);
        arena_fini(&entry->list.arena);
        arena_fini(&entry->coming.arena);
        arena_fini(&entry->call);
        buf_fini(&entry->body);
        buf_fini(&entry->next);
    }
    mem_free(*models);
    *models = NULL;
}

bool models_ready(struct models *models, struct exchange *x)
{
    int64_t now_ms = loop_now_ms(models->branch->station->loop);

    for (size_t i = 0; i < entry_count(models); i++) {
        struct models_entry *entry = &models->entries[i];
        bool stale = !entry->known || now_ms >= entry->fresh_until_ms;
        if (is_asked(entry->backend) && stale && entry->request == NULL)
            ask(entry);
    }
    if (all_known(models))
        return true;
    list_push_back(&models->waiting, &x->models_link);
    return false;
}

void models_forget(struct models *models, struct exchange *x)
{
    assert(models != NULL || !list_linked(&x->models_link));
    list_remove(&x->models_link);
}

struct gather {
    struct arena *arena;
    struct model_entry *items;
    size_t n;
    size_t size;
};

static void gather_add(struct gather *gather, const struct model_entry *entry)
{
    if (gather->n == gather->size) {
        size_t size = gather->size == 0 ? 16 : gather->size * 2;
        gather->items = arena_grow(gather->arena, gather->items, gather->n * sizeof(*entry),
                                   size * sizeof(*entry));
        gather->size = size;
    }
    if (!arena_overflowed(gather->arena))
        gather->items[gather->n++] = *entry;
}

static void gather_id(struct gather *gather, const struct backend *backend, struct str id)
{
    const struct model_entry entry = {
        .id = str_print(gather->arena, "%.*s:%.*s", STR_ARG(backend->name), STR_ARG(id)),
        .owner = backend->name,
    };
    gather_add(gather, &entry);
}

static void gather_backend(struct gather *gather, const struct models_entry *entry)
{
    const struct backend *backend = entry->backend;

    if (!backend->functional)
        return;
    if (backend->config->models.n > 0) {
        for (size_t i = 0; i < backend->config->models.n; i++)
            gather_id(gather, backend, backend->config->models.items[i]);
    } else if (backend->local != NULL) {
        for (const char *const *id = backend->local->models; *id != NULL; id++)
            gather_id(gather, backend, str_c(*id));
    } else {
        for (size_t i = 0; i < entry->list.n; i++)
            gather_add(gather, &entry->list.items[i]);
    }
}

/* Exact ones, as far as what they stand for is there to be asked. */
static void gather_aliases(struct gather *gather, const struct models *models)
{
    const struct site *site = models->branch->site;
    struct backend *backend = NULL;
    struct model_entry entry = {.created_s = 0};
    struct str target;
    struct str model;
    struct error e;
    bool prefixed;

    for (size_t i = 0; model_alias_exact(site->config, i, &entry.id, &target); i++) {
        if (backend_resolve(site->backends, target, &backend, &model, &prefixed, &e) != OK)
            continue;
        entry.owner = backend->name;
        gather_add(gather, &entry);
    }
}

static bool has_prefix(struct str id, struct str backend)
{
    return id.n > backend.n && str_starts(id, backend) && id.p[backend.n] == ':';
}

/* The entry of that id; a name without a backend means the preferred one. */
static const struct model_entry *find(const struct gather *gather, const struct backend *preferred,
                                      struct str id)
{
    for (size_t i = 0; i < gather->n; i++) {
        struct str own = gather->items[i].id;
        if (str_eq(own, id))
            return &gather->items[i];
        if (preferred != NULL && str_eq(gather->items[i].owner, preferred->name) &&
            has_prefix(own, preferred->name) && str_eq(str_from(own, preferred->name.n + 1), id))
            return &gather->items[i];
    }
    return NULL;
}

enum error_code models_answer(struct models *models, struct exchange *x, struct buf *out,
                              struct error *e)
{
    const struct intake *intake = &x->call.intake;
    struct gather gather = {.arena = x->call.arena};

    for (size_t i = 0; i < entry_count(models); i++) {
        const struct models_entry *entry = &models->entries[i];
        gather_backend(&gather, entry);
        if (is_asked(entry->backend) && entry->failed)
            exchange_warn(x, "models_failed", entry->backend->name);
    }
    gather_aliases(&gather, models);
    if (intake->operation == OP_MODELS) {
        intake->protocol->models_encode(gather.items, gather.n, false, out);
        return OK;
    }
    struct str id = intake->rest;
    const struct model_entry *entry = find(&gather, models->branch->site->backends->preferred, id);
    if (entry == NULL)
        return FAIL(e, ERR_MODEL_NOT_FOUND, "%.*s", STR_ARG(str_head(id, 100)));
    intake->protocol->models_encode(entry, 1, true, out);
    return OK;
}

/* --- what is known of it without asking --- */

/* NULL: not known, or not asked of the backend. */
static const struct models_entry *known_entry(const struct models *models,
                                              const struct backend *backend)
{
    const struct models_entry *entry = &models->entries[backend->place];

    assert(entry->backend == backend);
    /* What it said last, also where it has failed since; nothing: it never said any. */
    return entry->known && !entry->none && (entry->list.n > 0 || !entry->failed) ? entry : NULL;
}

static size_t local_count(const struct backend *backend)
{
    size_t n = 0;

    while (backend->local->models[n] != NULL)
        n++;
    return n;
}

size_t models_count(const struct models *models, const struct backend *backend)
{
    if (backend->config->models.n > 0)
        return backend->config->models.n;
    if (backend->local != NULL)
        return local_count(backend);
    const struct models_entry *entry = known_entry(models, backend);
    return entry == NULL ? SIZE_MAX : entry->list.n;
}

int models_listed(const struct models *models, const struct backend *backend, struct str model)
{
    const struct str_list *listed = &backend->config->models;

    for (size_t i = 0; i < listed->n; i++) {
        if (str_eq(listed->items[i], model))
            return 1;
    }
    if (listed->n > 0)
        return 0;
    for (size_t i = 0; backend->local != NULL && backend->local->models[i] != NULL; i++) {
        if (str_eq(str_c(backend->local->models[i]), model))
            return 1;
    }
    if (backend->local != NULL)
        return 0;
    const struct models_entry *entry = known_entry(models, backend);
    for (size_t i = 0; entry != NULL && i < entry->list.n; i++) {
        if (str_eq(str_from(entry->list.items[i].id, backend->name.n + 1), model))
            return 1;
    }
    return entry == NULL ? -1 : 0;
}
