/* SPDX-License-Identifier: MIT */
/*
 * Where time goes, for operators.
 *
 * What      Percentiles of each phase (gateway/phase.def) since the start, and of the last minutes:
 *           of all requests, of each backend's, of what the proxy answered by itself.
 * How       The workers' histograms are added up when somebody asks: some 50 kB a backend and
 *           worker are read for an answer.
 * Not here  Observing (gateway/perf), Prometheus' histograms (base/metric).
 */
#include "admin/admin_performance.h"

#include "admin/admin.h"
#include "admin/admin_json.h"
#include "base/mem.h"
#include "text/json.h"

/* What is looked at: slots [first, end), since a minute (gateway_perf), or since the start. */
struct range {
    size_t first;
    size_t end;
    int64_t minute;
};

static void add_measure(const struct gateway *gateway, struct range range, size_t measure,
                        struct histogram_sum *sum, struct buf *out)
{
    static const unsigned permilles[] = {500, 900, 990};

    *sum = (struct histogram_sum){.n = 0};
    for (size_t slot = range.first; slot < range.end; slot++)
        gateway_perf(gateway, slot, measure, range.minute, sum);
    (void)buf_print(out, "{\"count\":%llu", (unsigned long long)sum->n);
    for (size_t i = 0; i < COUNT_OF(permilles); i++) {
        (void)buf_print(out, ",\"p%u\":", permilles[i] / 10);
        admin_json_us(out, histogram_percentile(sum, permilles[i]));
    }
    (void)buf_add_char(out, '}');
}

void admin_performance_one(const struct gateway *gateway, size_t slot, size_t measure,
                           struct histogram_sum *sum, struct buf *out)
{
    add_measure(gateway, (struct range){slot, slot + 1, GATEWAY_START}, measure, sum, out);
}

static unsigned long long count(const struct gateway *gateway, struct range range,
                                enum perf_outcome outcome)
{
    unsigned long long n = 0;

    for (size_t slot = range.first; slot < range.end; slot++)
        n += gateway_perf_count(gateway, slot, outcome, range.minute);
    return n;
}

/* The members of an object, without its braces. */
static void add_members(const struct gateway *gateway, struct range range,
                        struct histogram_sum *sum, struct buf *out)
{
    static const struct {
        const char *name;
        size_t measure;
    } totals[] = {{"total", PERF_TOTAL},
                  {"first_byte", PERF_FIRST_BYTE},
                  {"overhead", PERF_OVERHEAD}};
    unsigned long long ok = count(gateway, range, PERF_OK);
    unsigned long long errors = count(gateway, range, PERF_ERROR);
    unsigned long long cancelled = count(gateway, range, PERF_CANCELLED);

    (void)buf_print(out, "\"requests\":%llu,\"errors\":%llu,\"cancelled\":%llu",
                    ok + errors + cancelled, errors, cancelled);
    for (size_t i = 0; i < COUNT_OF(totals); i++) {
        (void)buf_print(out, ",\"%s\":", totals[i].name);
        add_measure(gateway, range, totals[i].measure, sum, out);
    }
    (void)buf_add(out, STR(",\"phases\":{"));
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        (void)buf_print(out, "%s\"%s\":", i == PHASE_NONE + 1 ? "" : ",", timing_phases[i].name);
        add_measure(gateway, range, i, sum, out);
    }
    (void)buf_add_char(out, '}');
}

/* Since the start, and the same of the last minutes. */
static void add_range(const struct gateway_ask *ask, size_t first, size_t end,
                      struct histogram_sum *sum, struct buf *out)
{
    struct range range = {first, end, GATEWAY_START};

    add_members(ask->gateway, range, sum, out);
    range.minute = perf_recent_minute(ask->mono_ms * 1000);
    (void)buf_add(out, STR(",\n \"recent\":{"));
    add_members(ask->gateway, range, sum, out);
    (void)buf_add_char(out, '}');
}

static void add_backends(const struct gateway_ask *ask, struct histogram_sum *sum, struct buf *out)
{
    const char *comma = "";

    for (size_t slot = 0; slot < METRIC_SLOTS_BACKEND; slot++) {
        const char *name = gateway_slot_name(ask->gateway, slot);
        if (name == NULL)
            continue;
        (void)buf_print(out, "%s{\"backend\":", comma);
        (void)json_add_string(out, str_c(name));
        (void)buf_add_char(out, ',');
        add_range(ask, slot, slot + 1, sum, out);
        (void)buf_add_char(out, '}');
        comma = ",\n";
    }
}

static void add_phases(struct buf *out)
{
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        (void)buf_print(out, "%s\"%s\":{\"overhead\":%s,\"what\":", i == PHASE_NONE + 1 ? "" : ",",
                        timing_phases[i].name,
                        timing_phases[i].kind == PHASE_OWN ? "true" : "false");
        (void)json_add_string(out, str_c(timing_phases[i].what));
        (void)buf_add_char(out, '}');
    }
}

int admin_performance(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    struct histogram_sum *sum = mem_new(sizeof(*sum));
    int64_t start_ms = gateway_start_ms(ask->gateway);
    int64_t up_ms = ask->now_ms > start_ms ? ask->now_ms - start_ms : 0;
    int64_t recent_ms = perf_recent_us(ask->mono_ms * 1000) / 1000;

    (void)e;
    (void)buf_add(out, STR("{\"since\":"));
    admin_json_time(out, start_ms);
    (void)buf_print(out, ",\"uptime_seconds\":%lld.%03d,\"resident_memory_bytes\":%lld",
                    (long long)(up_ms / 1000), (int)(up_ms % 1000), admin_resident_bytes());
    recent_ms = recent_ms < up_ms ? recent_ms : up_ms;
    (void)buf_print(out, ",\"recent_seconds\":%lld.%03d", (long long)(recent_ms / 1000),
                    (int)(recent_ms % 1000));
    (void)buf_add(out, STR(",\"unit\":\"ms\",\"error_max\":0.03125,\"phases\":{"));
    add_phases(out);
    (void)buf_add(out, STR("},\n\"all\":{"));
    add_range(ask, 0, PERF_SLOTS, sum, out);
    (void)buf_add(out, STR("},\n\"proxy\":{"));
    add_range(ask, PERF_PROXY, PERF_PROXY + 1, sum, out);
    (void)buf_add(out, STR("},\n\"backends\":["));
    add_backends(ask, sum, out);
    (void)buf_add(out, STR("]}\n"));
    mem_free(sum);
    return 200;
}
