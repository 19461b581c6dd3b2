/* SPDX-License-Identifier: MIT */
#include "base/metric.h"

enum label { LABEL_NONE, LABEL_BACKEND, LABEL_ERROR, LABEL_STATUS, LABEL_TURN, LABEL_BACKEND_TIME };

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

static const int64_t time_bounds_us[METRIC_TIME_BUCKETS - 1] = {
    5000,    10000,   25000,    50000,    100000,   250000,    500000,    1000000,
    2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000,
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

void metric_observe_backend_us(struct metrics *m, enum metric metric, size_t slot, int64_t us)
{
    size_t first = slot * (METRIC_TIME_BUCKETS + 1);
    size_t bucket = 0;

    assert(us >= 0 && slot < METRIC_SLOTS_BACKEND);
    while (bucket < COUNT_OF(time_bounds_us) && us > time_bounds_us[bucket])
        bucket++;
    metric_add(m, metric, first + bucket, 1);
    metric_add(m, metric, first + METRIC_TIME_BUCKETS, us);
}

/* Who names the BACKEND slots. */
struct metric_names {
    metric_label_fn *backend;
    void *ctx;
};

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

/* Of one histogram: where it begins, its bounds, and its label, ready to be said with others. */
struct series {
    size_t first;
    const int64_t *bounds_us;
    size_t bounds_n;
    struct str label; /* "backend=\"x\"", or empty */
};

/* "_sum{backend="x"} " */
static void add_name(struct buf *out, const char *name, const char *suffix, struct str label)
{
    (void)buf_print(out, label.n == 0 ? "llm_proxy_%s%s%.*s " : "llm_proxy_%s%s{%.*s} ", name,
                    suffix, STR_ARG(label));
}

/* Buckets are kept one by one, and said as the format has them: each with all below it. */
static void print_series(const char *name, const struct series *series,
                         const struct metrics *const *sets, size_t n, struct buf *out)
{
    const char *comma = series->label.n == 0 ? "" : ",";
    int64_t count = 0;

    for (size_t i = 0; i <= series->bounds_n; i++) {
        count += sum(sets, n, series->first + i);
        (void)buf_print(out, "llm_proxy_%s_bucket{%.*s%sle=\"", name, STR_ARG(series->label),
                        comma);
        if (i < series->bounds_n)
            (void)buf_print(out, "%g", (double)series->bounds_us[i] / 1e6);
        else
            (void)buf_add(out, STR("+Inf"));
        (void)buf_print(out, "\"} %lld\n", (long long)count);
    }
    add_name(out, name, "_sum", series->label);
    (void)buf_print(out, "%.6f\n",
                    (double)sum(sets, n, series->first + series->bounds_n + 1) / 1e6);
    add_name(out, name, "_count", series->label);
    (void)buf_print(out, "%lld\n", (long long)count);
}

static void print_turns(const struct metric_row *row, const struct metrics *const *sets, size_t n,
                        struct buf *out)
{
    const struct series series = {
        .first = row->first,
        .bounds_us = turn_bounds_us,
        .bounds_n = COUNT_OF(turn_bounds_us),
    };

    print_series(row->name, &series, sets, n, out);
}

enum { LABEL_BYTES_MAX = 4096 };

static void print_times(const struct metric_row *row, const struct metrics *const *sets, size_t n,
                        const struct metric_names *names, struct buf *out)
{
    struct buf label;

    buf_init(&label, LABEL_BYTES_MAX);
    for (size_t slot = 0; slot < METRIC_SLOTS_BACKEND; slot++) {
        const char *value = names->backend(names->ctx, slot);
        if (value == NULL)
            continue;
        buf_reset(&label);
        (void)buf_add(&label, STR("backend=\""));
        add_label_value(&label, value);
        (void)buf_add_char(&label, '"');
        const struct series series = {
            .first = row->first + slot * (METRIC_TIME_BUCKETS + 1),
            .bounds_us = time_bounds_us,
            .bounds_n = COUNT_OF(time_bounds_us),
            .label = buf_str(&label),
        };
        print_series(row->name, &series, sets, n, out);
    }
    buf_fini(&label);
}

static void print_row(const struct metric_row *row, const struct metrics *const *sets, size_t n,
                      const struct metric_names *names, struct buf *out)
{
    static const char *const label_names[] = {"", "backend", "code", "status"};

    for (size_t slot = 0; slot < row->slots; slot++) {
        const char *value = NULL;
        if (row->label == LABEL_BACKEND)
            value = names->backend(names->ctx, slot);
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
    const struct metric_names names = {backend_name, ctx};

    assert(sets != NULL || n == 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)buf_print(out, "# HELP llm_proxy_%s %s\n# TYPE llm_proxy_%s %s\n", rows[i].name,
                        rows[i].help, rows[i].name, kinds[rows[i].kind]);
        if (rows[i].label == LABEL_TURN)
            print_turns(&rows[i], sets, n, out);
        else if (rows[i].label == LABEL_BACKEND_TIME)
            print_times(&rows[i], sets, n, &names, out);
        else
            print_row(&rows[i], sets, n, &names, out);
    }
}
