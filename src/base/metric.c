/* SPDX-License-Identifier: MIT */
#include "base/metric.h"

enum label { LABEL_NONE, LABEL_BACKEND, LABEL_ERROR, LABEL_STATUS, LABEL_TURN };

static const struct metric_row {
    const char *name;
    const char *help;
    enum metric_kind kind;
    enum label label;
    size_t first;
    size_t slots;
} rows[] = {
#define METRIC(kind_, name_, label_, help_) \
    {#name_, (help_), METRIC_##kind_, LABEL_##label_, METRIC_##name_, METRIC_SLOTS_##label_},
#include "base/metric.def"
#undef METRIC
};

/* Upper bounds, inclusive; what is above the last one is in one more. */
static const int64_t turn_bounds_us[METRIC_TURN_BUCKETS - 1] = {
    1000, 2000, 3000, 4000, 5000, 10000, 20000, 50000, 100000, 1000000,
};

void metric_observe_us(struct metrics *m, enum metric metric, int64_t us)
{
    size_t bucket = 0;

    assert(us >= 0);
    while (bucket < COUNT_OF(turn_bounds_us) && us > turn_bounds_us[bucket])
        bucket++;
    metric_add(m, metric, bucket, 1);
    metric_add(m, metric, METRIC_TURN_BUCKETS, us);
}

static int64_t sum(const struct metrics *const *sets, size_t n, size_t slot)
{
    int64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += atomic_load_explicit(&sets[i]->slots[slot], memory_order_relaxed);
    return total;
}

/* A label value with the escapes of the text format. */
static void add_label_value(struct buf *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            (void)buf_add_char(out, '\\');
        if (*value != '\n')
            (void)buf_add_char(out, *value);
    }
}

static const char *const status_names[METRIC_SLOTS_STATUS] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

/* Buckets are kept one by one, and said as the format has them: each with all below it. */
static void print_histogram(const struct metric_row *row, const struct metrics *const *sets,
                            size_t n, struct buf *out)
{
    int64_t count = 0;

    for (size_t i = 0; i < METRIC_TURN_BUCKETS; i++) {
        count += sum(sets, n, row->first + i);
        if (i < COUNT_OF(turn_bounds_us))
            (void)buf_print(out, "llm_proxy_%s_bucket{le=\"%g\"} %lld\n", row->name,
                            (double)turn_bounds_us[i] / 1e6, (long long)count);
    }
    (void)buf_print(out,
                    "llm_proxy_%s_bucket{le=\"+Inf\"} %lld\nllm_proxy_%s_sum %.6f\n"
                    "llm_proxy_%s_count %lld\n",
                    row->name, (long long)count, row->name,
                    (double)sum(sets, n, row->first + METRIC_TURN_BUCKETS) / 1e6, row->name,
                    (long long)count);
}

static void print_row(const struct metric_row *row, const struct metrics *const *sets, size_t n,
                      metric_label_fn *backend_name, void *ctx, struct buf *out)
{
    static const char *const label_names[] = {"", "backend", "code", "status"};

    for (size_t slot = 0; slot < row->slots; slot++) {
        const char *value = NULL;
        if (row->label == LABEL_BACKEND)
            value = backend_name(ctx, slot);
        else if (row->label == LABEL_ERROR)
            value = slot == OK ? NULL : error_name((enum error_code)slot);
        else if (row->label == LABEL_STATUS)
            value = status_names[slot];
        if (value == NULL && row->label != LABEL_NONE)
            continue;
        (void)buf_print(out, "llm_proxy_%s", row->name);
        if (value != NULL) {
            (void)buf_print(out, "{%s=\"", label_names[row->label]);
            add_label_value(out, value);
            (void)buf_add(out, STR("\"}"));
        }
        (void)buf_print(out, " %lld\n", (long long)sum(sets, n, row->first + slot));
    }
}

void metric_print(const struct metrics *const *sets, size_t n, metric_label_fn *backend_name,
                  void *ctx, struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    assert(sets != NULL || n == 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)buf_print(out, "# HELP llm_proxy_%s %s\n# TYPE llm_proxy_%s %s\n", rows[i].name,
                        rows[i].help, rows[i].name, kinds[rows[i].kind]);
        if (rows[i].kind == METRIC_HISTOGRAM)
            print_histogram(&rows[i], sets, n, out);
        else
            print_row(&rows[i], sets, n, backend_name, ctx, out);
    }
}
