/* SPDX-License-Identifier: MIT */
#include "admin/admin.h"

#include <unistd.h>

#include "admin/admin_backends.h"
#include "admin/admin_performance.h"
#include "admin/admin_sessions.h"
#include "base/log.h"
#include "gateway/site.h"
#include "text/json.h"

static int answer_root(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    (void)e;
    assert(gateway_version(ask->gateway) != NULL);
    (void)buf_add(out, STR("{\"name\":\"llm-proxy\",\"version\":"));
    (void)json_add_string(out, str_c(gateway_version(ask->gateway)));
    (void)buf_add(out, STR("}\n"));
    return 200;
}

static int answer_healthz(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    (void)ask;
    (void)e;
    (void)buf_add(out, STR("{\"status\":\"ok\"}\n"));
    return 200;
}

/* Ready: at least one backend is functional and no shutdown has begun. Degraded: what users set
 * cannot be kept just now; requests go on. */
static int answer_readyz(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    const struct backend_set *set = ask->site->backends;
    bool functional = false;

    (void)e;
    assert(set->n == 0 || set->items != NULL);
    for (size_t i = 0; i < set->n; i++)
        functional = functional || set->items[i].functional;
    if (gateway_draining(ask->gateway)) {
        (void)buf_add(out, STR("{\"status\":\"draining\"}\n"));
        return 503;
    }
    if (!functional) {
        (void)buf_add(out, STR("{\"status\":\"no functional backends\"}\n"));
        return 503;
    }
    struct str problem = sessions_problem(gateway_sessions(ask->gateway), ask->arena);
    if (problem.n > 0) {
        (void)buf_add(out, STR("{\"status\":\"degraded\",\"sessions\":"));
        (void)json_add_string(out, problem);
        (void)buf_add(out, STR("}\n"));
        return 200;
    }
    (void)buf_add(out, STR("{\"status\":\"ready\"}\n"));
    return 200;
}

long long admin_resident_bytes(void)
{
    long long pages = 0;
    long long resident = 0;
    long page = sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");

    assert(page > 0);
    if (file == NULL)
        return 0;
    if (fscanf(file, "%lld %lld", &pages, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    assert(resident >= 0);
    return resident * page;
}

static int answer_metrics(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    (void)e;
    gateway_metrics(ask->gateway, ask->site, ask->mono_ms, out);
    (void)buf_print(out,
                    "# HELP process_resident_memory_bytes Resident memory.\n"
                    "# TYPE process_resident_memory_bytes gauge\n"
                    "process_resident_memory_bytes %lld\n",
                    admin_resident_bytes());
    (void)buf_print(out,
                    "# HELP llm_proxy_log_lines_dropped_total Lines that the log's queue had no "
                    "room for.\n"
                    "# TYPE llm_proxy_log_lines_dropped_total counter\n"
                    "llm_proxy_log_lines_dropped_total %llu\n",
                    (unsigned long long)log_dropped());
    return 200;
}

const struct gateway_route admin_routes[] = {
    {.path = "/", .access = ACCESS_OPEN, .content_type = "application/json", .answer = answer_root},
    {.path = "/healthz",
     .access = ACCESS_OPEN,
     .content_type = "application/json",
     .answer = answer_healthz},
    {.path = "/readyz",
     .access = ACCESS_OPEN,
     .content_type = "application/json",
     .answer = answer_readyz},
    {.path = "/metrics",
     .access = ACCESS_ADMIN,
     .public_by_metrics = true,
     .content_type = "text/plain; version=0.0.4; charset=utf-8",
     .answer = answer_metrics},
    {.path = "/v2/backends",
     .access = ACCESS_ADMIN,
     .content_type = "application/json",
     .answer = admin_backends},
    {.path = "/v2/performance",
     .access = ACCESS_ADMIN,
     .content_type = "application/json",
     .answer = admin_performance},
    {.path = "/v2/sessions",
     .access = ACCESS_CLIENT,
     .content_type = "application/json",
     .answer = admin_sessions_list},
    {.path = "/v2/sessions/*",
     .methods = "GET, DELETE",
     .access = ACCESS_CLIENT,
     .content_type = "application/json",
     .answer = admin_sessions_one},
};
const size_t admin_routes_n = COUNT_OF(admin_routes);
