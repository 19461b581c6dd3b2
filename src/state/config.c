/* SPDX-License-Identifier: MIT */
/*
 * What      Reads the configuration whole: sources in order, checks, and the snapshot with its
 *           reference count.
 * How       defaults ◄─ config file ◄─ environment and .env ◄─ command line, each replacing what
 *           was before; then the checks. Every fault is a line of the report; with any there is
 *           no snapshot.
 * Owns      The snapshot: one arena, freed with the last reference; keys are wiped.
 * Not here  The sources (config_args.c, config_env.c, config_yaml.c), the kinds (option.c).
 */
#include "state/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/config_priv.h"
#include "state/model_alias.h"

enum { WORKERS_DEFAULT_MAX = 4, LATER_BYTES_MAX = 64 * 1024 };

/* --- references --- */

struct config_snapshot *config_snapshot_of(const struct config *config)
{
    const char *p = (const char *)config - offsetof(struct config_snapshot, config);
    struct config_snapshot *snapshot;

    /* The count and the arena are the snapshot's own business, whatever the holder may change. */
    CAST(snapshot, (void *)(uintptr_t)p, CONFIG_MAGIC);
    return snapshot;
}

struct config *config_ref(struct config *config)
{
    size_t before = atomic_fetch_add_explicit(&config_snapshot_of(config)->refs, 1,
                                              memory_order_relaxed);
    assert(before > 0);
    return config;
}

struct str config_origin(const struct config *config, const char *path)
{
    struct config_entry entry = config_table_find(str_c(path));

    assert(entry.kind == CONFIG_ENTRY_OPTION);
    struct str origin = config_snapshot_of(config)->origins[entry.index];
    return str_is_null(origin) ? STR("default") : origin;
}

static void snapshot_free(struct config_snapshot *snapshot)
{
    struct config *config = &snapshot->config;

    assert(atomic_load(&snapshot->refs) == 0);
    config_keys_clients_clear(config);
    for (size_t i = 0; i < config_table_options_n; i++) {
        const struct option *option = &config_table_options[i];
        if (option->kind == OPTION_proxy)
            option_store(option, &(struct option_result){.text = STR_NULL}, config);
    }
    for (size_t i = 0; i < config->backends_n; i++)
        config_keys_backend_clear(&config->backends[i]);
    model_alias_list_fini(config->model_aliases);
    arena_fini(&snapshot->arena);
    snapshot->magic = 0;
    mem_free(snapshot);
}

void config_unref(struct config **config)
{
    if (*config == NULL)
        return;
    struct config_snapshot *snapshot = config_snapshot_of(*config);
    *config = NULL;
    size_t before = atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        snapshot_free(snapshot);
}

/* --- the report --- */

__attribute__((format(printf, 4, 0))) static void add_line(struct config_reader *r,
                                                           struct str where, const char *level,
                                                           const char *format, va_list args)
{
    char text[1024];
    int n = vsnprintf(text, sizeof(text), format, args);

    assert(n >= 0);
    for (char *p = text; *p != '\0'; p++) {
        /* A line is a line, whatever a key or a name holds. */
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    }
    (void)buf_print(&r->report, "%.*s: %s: %s\n", STR_ARG(where), level, text);
}

void config_fault(struct config_reader *r, struct str where, const char *format, ...)
{
    va_list args;

    r->faults++;
    va_start(args, format);
    add_line(r, where, "error", format, args);
    va_end(args);
}

void config_warn(struct config_reader *r, struct str where, const char *format, ...)
{
    va_list args;

    r->warnings++;
    va_start(args, format);
    add_line(r, where, "warning", format, args);
    va_end(args);
}

void config_later(struct config_reader *r, struct str what, struct str where)
{
    assert(what.n > 0);
    if (r->later.n > 0)
        (void)buf_add(&r->later, STR(", "));
    (void)buf_add(&r->later, what);
    if (where.n > 0)
        (void)buf_print(&r->later, " (%.*s)", STR_ARG(where));
}

struct str config_where(struct config_reader *r, const struct yaml_node *node)
{
    return str_print(&r->arena, "%.*s:%d:%d", STR_ARG(r->file), node->line, node->column);
}

/* --- files --- */

/* All of fd, at most CONFIG_FILE_BYTES_MAX bytes. */
static bool read_all(int fd, struct buf *out, int *ret_error)
{
    for (;;) {
        char *to = buf_reserve(out, 4096);
        if (to == NULL) {
            *ret_error = EFBIG;
            return false;
        }
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *ret_error = errno;
            return false;
        }
        if (n == 0)
            return true;
        buf_added(out, (size_t)n);
    }
}

bool config_slurp(struct config_reader *r, struct str name, struct str *ret_text, int *ret_error)
{
    const char *folder = r->source->directory;
    struct str path = name;
    struct buf out;

    assert(name.n > 0);
    *ret_error = 0;
    if (folder != NULL && name.p[0] != '/')
        path = str_print(&r->arena, "%s/%.*s", folder, STR_ARG(name));
    /* Not openat, of which the thread sanitizer knows nothing: at a reload it would take the
     * descriptor for the socket that had its number before. */
    int fd = open(str_z(&r->arena, path), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        *ret_error = errno;
        return false;
    }

    buf_init(&out, CONFIG_FILE_BYTES_MAX);
    bool ok = read_all(fd, &out, ret_error);
    close(fd);
    if (ok)
        *ret_text = str_copy(&r->arena, buf_str(&out));
    if (out.p != NULL)
        mem_wipe(out.p, out.n);
    buf_fini(&out);
    return ok;
}

/* --- values --- */

static struct str_list copy_list(struct arena *arena, const struct str_list *list)
{
    struct str_list to = {.items = arena_array(arena, list->n + 1, sizeof(*to.items)), .n = 0};

    for (size_t i = 0; i < list->n && !arena_overflowed(arena); i++)
        to.items[to.n++] = str_copy(arena, list->items[i]);
    return to;
}

void config_assign(struct config_reader *r, struct str path, const struct option_value *value,
                   struct str where)
{
    struct config_entry entry = config_table_find(path);
    struct arena *arena = &r->snapshot->arena;
    struct option_result result;
    struct str why;

    assert(entry.kind == CONFIG_ENTRY_OPTION || entry.kind == CONFIG_ENTRY_LATER);
    assert(where.n > 0);
    if (!option_parse(entry.option, value, &r->arena, &result, &why)) {
        config_fault(r, where, "%.*s: %.*s", STR_ARG(path), STR_ARG(why));
        return;
    }
    if (entry.kind == CONFIG_ENTRY_LATER) {
        config_later(r, path, where);
        return;
    }
    struct str *origin = &r->snapshot->origins[entry.index];
    if (!value->loose && !str_is_null(*origin)) {
        /* Within the file: the same option by two of its names. */
        config_fault(r, where, "%.*s: %s stands already at %.*s", STR_ARG(path), entry.option->path,
                     STR_ARG(*origin));
        return;
    }
    if (entry.option->kind != OPTION_proxy) /* a secret, which is not to lie in an arena */
        result.text = str_copy(arena, result.text);
    result.list = copy_list(arena, &result.list);
    option_store(entry.option, &result, r->config);
    *origin = str_copy(arena, where);
}

void config_assign_list(struct config_reader *r, const struct config_entry *entry,
                        const struct str_list *list, struct str where)
{
    struct arena *arena = &r->snapshot->arena;
    const struct option_result result = {.list = copy_list(arena, list)};

    assert(entry->kind == CONFIG_ENTRY_OPTION && entry->option->kind == OPTION_levels);
    option_store(entry->option, &result, r->config);
    r->snapshot->origins[entry->index] = str_copy(arena, where);
}

static void set_defaults(struct config_snapshot *snapshot)
{
    for (size_t i = 0; i < config_table_options_n; i++) {
        const struct option *option = &config_table_options[i];
        struct option_value value = {.text = str_c(option->preset), .loose = true};
        struct option_result result;
        struct str why;
        if (!option_is_plain(option->kind))
            continue;
        bool ok = option_parse(option, &value, &snapshot->arena, &result, &why);
        assert(ok);
        option_store(option, &result, &snapshot->config);
    }
}

/* --- the environment --- */

static void read_environment(struct config_reader *r)
{
    for (size_t i = 0; i < config_table_variables_n; i++) {
        const struct config_variable *variable = &config_table_variables[i];
        struct option_value value = {.loose = true};
        struct str where;
        value.text = config_env_get_either(r, variable->name, variable->also, &where);
        if (!str_is_null(value.text))
            config_assign(r, str_c(variable->path), &value, where);
    }
    config_keys_clients_environment(r);
    config_backends_environment(r);
}

/* --- whole --- */

static int64_t workers_default(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t workers = processors / 2;

    if (workers > WORKERS_DEFAULT_MAX)
        workers = WORKERS_DEFAULT_MAX;
    return workers < 1 ? 1 : workers;
}

static struct config_snapshot *snapshot_new(void)
{
    struct config_snapshot *snapshot = mem_new(sizeof(*snapshot));

    snapshot->magic = CONFIG_MAGIC;
    atomic_init(&snapshot->refs, 1);
    arena_init(&snapshot->arena, CONFIG_ARENA_BYTES_MAX, 4096, NULL);
    snapshot->origins = arena_zalloc(&snapshot->arena,
                                     config_table_options_n * sizeof(*snapshot->origins));
    return snapshot;
}

static void read_sources(struct config_reader *r, const struct config_args *args)
{
    struct config *config = r->config;

    assert(config == &r->snapshot->config);
    set_defaults(r->snapshot);
    config_env_read(r);
    config_yaml_read(r, args->file);
    read_environment(r);
    config_args_apply(r, args);
    config_backends_finish(r);
    config_check_all(r);
    if (config->workers == 0)
        config->workers = workers_default();
    if (config->api_keys_n == 1)
        config->api_keys[0].admin = true;
    if (r->later.n > 0) {
        r->warnings++;
        (void)buf_print(&r->report, "warning: accepted, but without effect in this version: %.*s\n",
                        STR_ARG(buf_str(&r->later)));
        r->snapshot->later = str_copy(&r->snapshot->arena, buf_str(&r->later));
    }
    if (arena_overflowed(&r->arena) || arena_overflowed(&r->snapshot->arena))
        config_fault(r, r->file, "the configuration is too large");
}

static void reader_fini(struct config_reader *r)
{
    for (size_t i = 0; i < r->backends_n; i++)
        config_keys_backend_clear(&r->backends[i]);
    buf_fini(&r->report);
    buf_fini(&r->later);
    arena_fini(&r->arena);
}

void config_read(const struct config_source *source, struct arena *arena,
                 struct config_result *ret_result)
{
    struct config_reader *r = mem_new(sizeof(*r));
    struct config_args args;

    assert(source->argc == 0 || source->argv != NULL);
    r->source = source;
    r->file = STR("config.yaml");
    arena_init(&r->arena, CONFIG_ARENA_BYTES_MAX, 4096, NULL);
    buf_init(&r->report, CONFIG_REPORT_BYTES_MAX);
    buf_init(&r->later, LATER_BYTES_MAX);
    config_args_read(r, &args);

    *ret_result = (struct config_result){
        .action = args.action,
        .manual_topic = str_copy(arena, args.manual_topic),
        .report = STR(""),
    };
    if (args.action <= CONFIG_PRINT) {
        r->snapshot = snapshot_new();
        r->config = &r->snapshot->config;
        read_sources(r, &args);
        if (r->faults == 0)
            ret_result->config = r->config;
        else
            config_unref(&r->config);
        ret_result->report = str_copy(arena, buf_str(&r->report));
        ret_result->file_used = r->file_used;
        ret_result->env_used = r->env_n > 0;
        ret_result->faults = r->faults;
        ret_result->warnings = r->warnings;
    }
    reader_fini(r);
    mem_free(r);
}

struct str config_help(struct arena *arena)
{
    struct buf out;

    buf_init(&out, CONFIG_REPORT_BYTES_MAX);
    (void)buf_add(&out,
                  STR("llm-proxy: a proxy between LLM clients and LLM backends.\n\n"
                      "Usage: llm-proxy [OPTION]...   (--option VALUE or --option=VALUE)\n"
                      "       llm-proxy lint-stream --protocol NAME < CAPTURE   (checks an answer; "
                      "see its --help)\n"
                      "       llm-proxy debug-stream [PROMPT]   (a stream's events and their "
                      "times; see its --help)\n\n"));
    config_args_list(&out, false);
    (void)buf_add(&out, STR("\nThe command line wins over the environment, that over .env, that "
                            "over the config file.\nAll options: llm-proxy --manual config\n"));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}
