/* SPDX-License-Identifier: MIT */
/*
 * The backends, as who runs the program sees them.
 *
 * What      Of each: what it is, whether it works and why not, its keys by name and what they are
 *           at, what runs, what went wrong last, how fast it is.
 * Not here  Counting (gateway/perf, backend/keyring); keys themselves are nowhere in it.
 */
#include "admin/admin_backends.h"

#include "admin/admin_json.h"
#include "admin/admin_performance.h"
#include "base/mem.h"
#include "gateway/site.h"
#include "text/json.h"

static void add_number(struct buf *out, const char *name, int64_t value)
{
    (void)buf_print(out, ",\"%s\":", name);
    if (value < 0)
        (void)buf_add(out, STR("null"));
    else
        (void)buf_add_int64(out, value);
}

static void add_text(struct buf *out, const char *name, struct str value)
{
    (void)buf_print(out, ",\"%s\":", name);
    admin_json_text(out, value);
}

/* Without user info, which a backend's URL never has, and without its query. */
static void add_url(const struct backend *backend, struct arena *arena, struct buf *out)
{
    struct str url = STR_NULL;

    if (backend->local == NULL && backend->url.host.n > 0)
        url = str_print(arena, "%s://%.*s%.*s", backend->url.https ? "https" : "http",
                        STR_ARG(backend->authority), STR_ARG(backend->base_path));
    add_text(out, "url", url);
}

static void add_protocols(const struct backend *backend, struct buf *out)
{
    (void)buf_add(out, STR(",\"protocols\":["));
    if (backend->protocol != NULL)
        (void)json_add_string(out, str_c(backend->protocol->name));
    if (backend->also != NULL) {
        (void)buf_add_char(out, ',');
        (void)json_add_string(out, str_c(backend->also->name));
    }
    (void)buf_add_char(out, ']');
}

static void add_key_error(const struct keyring_view *view, int64_t now_ms, struct buf *out)
{
    (void)buf_add(out, STR(",\"last_error\":"));
    if (view->error_age_ms < 0) {
        (void)buf_add(out, STR("null"));
        return;
    }
    (void)buf_add(out, STR("{\"time\":"));
    admin_json_time(out, now_ms - view->error_age_ms);
    add_number(out, "status", view->error_status > 0 ? view->error_status : -1);
    add_text(out, "text", str_c(view->error));
    (void)buf_add_char(out, '}');
}

static void add_key(const struct gateway_ask *ask, const struct backend *backend, size_t index,
                    struct buf *out)
{
    struct keyring_view view;

    keyring_view(backend->keyring, index, ask->mono_ms, &view);
    (void)buf_add(out, STR("{\"name\":"));
    (void)json_add_string(out, backend->config->keys[index].name);
    (void)buf_print(out, ",\"state\":\"%s\",\"until\":",
                    view.invalid          ? "invalid"
                    : view.cooling_ms > 0 ? "cooling"
                                          : "usable");
    admin_json_time(out, view.cooling_ms > 0 ? ask->now_ms + view.cooling_ms : -1);
    add_number(out, "in_flight", view.in_flight);
    add_number(out, "uses", view.uses);
    (void)buf_add(out, STR(",\"latency\":"));
    admin_json_us(out, view.latency_us);
    add_key_error(&view, ask->now_ms, out);
    (void)buf_add_char(out, '}');
}

static void add_keys(const struct gateway_ask *ask, const struct backend *backend, struct buf *out)
{
    add_text(out, "policy",
             str_is_null(backend->config->policy) ? STR("sticky") : backend->config->policy);
    (void)buf_add(out, STR(",\"keys\":["));
    for (size_t i = 0; i < backend->config->keys_n; i++) {
        if (i > 0)
            (void)buf_add_char(out, ',');
        add_key(ask, backend, i, out);
    }
    (void)buf_add_char(out, ']');
}

/* A slot that several backends share tells of none of them. */
static bool is_shared(const struct backend *backend)
{
    return backend->slot == METRIC_SLOTS_BACKEND - 1;
}

static void add_fault(const struct gateway_ask *ask, const struct backend *backend, struct buf *out)
{
    struct perf_fault fault;

    gateway_fault(ask->gateway, backend->slot, &fault);
    (void)buf_add(out, STR(",\"last_error\":"));
    if (fault.time_ms == 0 || is_shared(backend)) {
        (void)buf_add(out, STR("null"));
        return;
    }
    (void)buf_add(out, STR("{\"time\":"));
    admin_json_time(out, fault.time_ms);
    add_number(out, "status", fault.status > 0 ? fault.status : -1);
    add_text(out, "code", fault.code == NULL ? STR_NULL : str_c(fault.code));
    add_text(out, "text", str_of(fault.text, fault.text_n));
    (void)buf_add_char(out, '}');
}

/* What is counted of it, since the start. */
static void add_counts(const struct gateway_ask *ask, const struct backend *backend,
                       struct histogram_sum *sum, struct buf *out)
{
    const struct gateway *gateway = ask->gateway;
    size_t open = atomic_load_explicit(&backend->load->connections, memory_order_relaxed);
    size_t busy = atomic_load_explicit(&backend->load->busy, memory_order_relaxed);
    bool shared = is_shared(backend);

    add_number(out, "in_flight", (int64_t)busy);
    add_number(out, "uses", shared ? -1 : gateway_attempts(gateway, backend->slot));
    add_number(out, "errors",
               shared ? -1
                      : (int64_t)gateway_perf_count(gateway, backend->slot, PERF_ERROR,
                                                    GATEWAY_START));
    (void)buf_print(out, ",\"connections\":{\"open\":%zu,\"busy\":%zu,\"max\":%lld}", open, busy,
                    (long long)backend->config->upstream_connections_max);
    add_fault(ask, backend, out);
    if (shared) {
        (void)buf_add(out, STR(",\"latency\":null"));
        return;
    }
    (void)buf_add(out, STR(",\"latency\":{\"unit\":\"ms\",\"first_byte\":"));
    admin_performance_one(gateway, backend->slot, PERF_FIRST_BYTE, sum, out);
    (void)buf_add(out, STR(",\"total\":"));
    admin_performance_one(gateway, backend->slot, PERF_TOTAL, sum, out);
    (void)buf_add_char(out, '}');
}

static void add_backend(const struct gateway_ask *ask, const struct backend *backend,
                        struct histogram_sum *sum, struct buf *out)
{
    const struct backend_set *set = ask->site->backends;
    size_t models = backend->functional ? gateway_models(ask, backend) : SIZE_MAX;

    (void)buf_add(out, STR("{\"name\":"));
    (void)json_add_string(out, backend->name);
    add_text(out, "type", backend_type(backend));
    add_protocols(backend, out);
    add_url(backend, ask->arena, out);
    (void)buf_print(out, ",\"functional\":%s", backend->functional ? "true" : "false");
    add_text(out, "why", backend->functional ? STR_NULL : backend_why(backend, ask->arena));
    (void)buf_print(out, ",\"default\":%s", backend == set->preferred ? "true" : "false");
    add_text(out, "default_model", backend->default_model);
    add_number(out, "models", models == SIZE_MAX ? -1 : (int64_t)models);
    add_keys(ask, backend, out);
    add_counts(ask, backend, sum, out);
    (void)buf_add_char(out, '}');
}

int admin_backends(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    const struct backend_set *set = ask->site->backends;
    struct histogram_sum *sum = mem_new(sizeof(*sum));

    (void)e; /* what does not fit into memory the gateway sees */
    (void)buf_add(out, STR("{\"backends\":["));
    for (size_t i = 0; i < set->n; i++) {
        if (i > 0)
            (void)buf_add(out, STR(",\n"));
        add_backend(ask, &set->items[i], sum, out);
    }
    (void)buf_add(out, STR("]}\n"));
    mem_free(sum);
    return 200;
}
