/* SPDX-License-Identifier: MIT */
/*
 * llm-proxy: the command line, the start, the signals, the end.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_form.h"
#include "base/manual.h"
#include "base/mem.h"
#include "cli/completion.h"
#include "cli/debug_stream.h"
#include "cli/lint_stream.h"
#include "cli/man_page.h"
#include "command/command.h"
#include "gateway/gateway.h"
#include "gateway/listener.h"
#include "gateway/site.h"
#include "pipeline/pipeline.h"
#include "state/config.h"

extern char **environ;

static const char main_version[] = LLM_PROXY_VERSION;

enum { CONFIG_ARENA_MAX = 64 * 1024 * 1024, POLL_MS = 20, ABORT_MS = 3000, TAKE_MS = 1000 };

static void put(FILE *to, struct str s)
{
    if (s.n > 0)
        (void)fwrite(s.p, 1, s.n, to);
}

/* An exchange in the air needs two descriptors: take what the system gives. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        LOG(MAIN, WARN, "start.file_limit", F_Z("detail", strerror(errno)));
}

static int show_manual(struct str topic, struct arena *arena)
{
    struct str text = config_manual(topic, arena);

    if (str_is_null(text))
        text = manual_page(topic, arena);
    if (str_is_null(text))
        text = completion_script(topic, arena);
    if (str_is_null(text) && str_eq_nocase(topic, STR("commands")))
        text = command_manual(arena);
    if (str_is_null(text) && str_eq(topic, STR("example")))
        text = config_example(arena);
    if (str_is_null(text) && str_eq(topic, STR("man")))
        text = man_page(main_version, arena);
    put(stdout, text);
    if (str_is_null(text))
        (void)fprintf(stderr,
                      "unknown topic %.*s; topics: commands, config, errors, example, metrics; "
                      "man (roff); bash, zsh, fish (completion)\n",
                      STR_ARG(topic));
    return str_is_null(text) ? 1 : 0;
}

/* What cannot be used although it is written as it should be. Returns the number of faults. */
static size_t check_use(struct config *config, struct arena *arena, struct buf *report)
{
    return backend_check(config, arena, report) + listener_check(config, clock_real_ms(), report) +
           site_check(config, report);
}

static int check_config(const struct config_result *result, size_t other_faults)
{
    size_t faults = result->faults + other_faults;

    if (faults > 0) {
        (void)printf("%zu fault%s\n", faults, faults == 1 ? "" : "s");
        return 1;
    }
    (void)printf("configuration ok\n");
    return 0;
}

/* One line names the active stages in their order. */
static void tell_stages(void)
{
    struct buf line;

    buf_init(&line, 4096);
    for (size_t i = 0; i < pipeline_stages_n; i++)
        (void)buf_print(&line, "%sStage %s initialized: %zu of %zu", i == 0 ? "" : ", ",
                        pipeline_stages[i]->name, i + 1, pipeline_stages_n);
    LOG(PIPELINE, INFO, "start.stages", F_STR("stages", buf_str(&line)));
    buf_fini(&line);
}

/* A line each, so that a backend's log has something from the beginning. Of those that are not
 * functional a warning has told. */
static void tell_backends(const struct backend_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct backend *backend = &set->items[i];
        if (backend->functional)
            LOG(BACKEND, INFO, "backend.ready", F_STR("backend", backend->name),
                F_Z("protocol", backend->protocol->name),
                F_IF(backend->local == NULL, F_STR("host", backend->authority)),
                F_INT("keys", backend->config->keys_n),
                F_IF(backend == set->preferred, F_BARE("default", STR("true"))));
    }
}

static void show_backends(const struct backend_set *set)
{
    (void)printf("  backends       ");
    const char *between = "";
    for (size_t i = 0; i < set->n; i++) {
        const struct backend *backend = &set->items[i];
        if (!backend->functional)
            continue;
        (void)printf("%s%.*s%s", between, STR_ARG(backend->name),
                     backend == set->preferred ? " (default)" : "");
        between = ", ";
    }
    (void)printf("%s\n", between[0] == '\0' ? "none is functional" : "");
}

/* "http://127.0.0.1:8000", or https://, as a client on this machine would say it. */
static struct str base_url(const struct gateway *gateway, struct arena *arena)
{
    struct str host = gateway_host(gateway);
    bool is_tls = gateway_config(gateway)->tls_cert.n > 0;
    bool v6 = str_find_char(host, ':', 0) != SIZE_MAX;

    if (str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"))) {
        host = STR("127.0.0.1");
        v6 = false;
    }
    return str_print(arena, "http%s://%s%.*s%s:%u", is_tls ? "s" : "", v6 ? "[" : "", STR_ARG(host),
                     v6 ? "]" : "", (unsigned)gateway_port(gateway));
}

/* What to show as the client's key: itself on a terminal only. Returns what goes into examples. */
static struct str show_key(const struct gateway *gateway)
{
    const struct config *config = gateway_config(gateway);
    const struct secret *key = gateway_only_key(gateway);

    if (config->disable_auth) {
        (void)printf("  client key     none needed (authentication is off, loopback only)\n");
        return STR("none-needed");
    }
    if (isatty(STDOUT_FILENO) == 1 && !secret_is_empty(key)) {
        (void)printf("  client key     %.*s\n", STR_ARG(secret_reveal(key)));
        return secret_reveal(key);
    }
    if (gateway_key_generated(gateway))
        (void)printf("  client key     in %.*s\n", STR_ARG(gateway_key_path(gateway)));
    else
        (void)printf("  client keys    %zu configured\n", config->api_keys_n);
    return STR("YOUR_KEY");
}

/* What to ask, once there is somebody to ask. A backend without a default needs a model's name. */
static void show_example(const struct gateway *gateway, struct str url, struct str key)
{
    const struct backend *backend = gateway_backends(gateway)->preferred;

    if (backend == NULL || !backend->functional) {
        (void)printf(
            "\nNo backend can answer yet: set a vendor's key (OPENAI_API_KEY=...), write a "
            "config.yaml,\nor start with --demo.\n\n");
        return;
    }
    bool named = str_is_null(backend->default_model);
    (void)printf("\nTry it:\n\n"
                 "  curl -N %.*s/v1/chat/completions \\\n"
                 "    -H 'Authorization: Bearer %.*s' -H 'Content-Type: application/json' \\\n"
                 "    -d '{%s\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"Hello\"}]}'\n\n"
                 "  OpenAI(base_url=\"%.*s/v1\", api_key=\"%.*s\")\n\n",
                 STR_ARG(url), STR_ARG(key), named ? "\"model\":\"MODEL\"," : "", STR_ARG(url),
                 STR_ARG(key));
    if (named)
        (void)printf("  MODEL is one that the backend has; GET /v1/models lists them.\n\n");
}

/* The one screen at the start. */
static void show_banner(const struct gateway *gateway)
{
    struct arena arena;

    arena_init(&arena, CONFIG_ARENA_MAX, 512, NULL);
    struct str url = base_url(gateway, &arena);
    (void)printf("llm-proxy %s\n\n  listening on   %.*s\n", main_version, STR_ARG(url));
    show_backends(gateway_backends(gateway));
    struct str key = show_key(gateway);
    show_example(gateway, url, key);
    const struct config *config = gateway_config(gateway);
    if (!config->disable_interactive_commands)
        (void)printf("  Say %.*shelp in the chat: it lists the commands.\n\n",
                     STR_ARG(config->command_prefix));
    (void)fflush(stdout);
    arena_fini(&arena);
}

/* --- the log ---------------------------------------------------------------------------- */

/* Levels and form, as the configuration has them. It was checked. */
static void set_up_log(const struct config *config)
{
    struct log_form *form = NULL;
    struct error e;

    log_set_level(config->logging_level);
    for (size_t i = 0; i < config->logging_per_module.n; i++) {
        struct str name = STR_NULL;
        struct str level_text = config->logging_per_module.items[i];
        enum log_room room;
        enum log_level level;
        bool ok = str_cut(&level_text, ':', &name) && log_room_parse(name, &room) &&
                  log_level_parse(level_text, &level);
        assert(ok);
        log_set_room_level(room, level);
    }
    enum error_code code = log_form_new(config->logging_format, &form, &e);
    assert(code == OK);
    log_set_form(form);
}

/* --- another configuration --- */

/* Faults and warnings become lines of the log. */
static void log_report(struct str report)
{
    while (report.n > 0) {
        size_t end = str_find_char(report, '\n', 0);
        struct str line = str_head(report, end == SIZE_MAX ? report.n : end);
        bool fault = str_find(line, STR("warning: "), 0) == SIZE_MAX;
        if (line.n > 0)
            LOG_AT(MAIN, fault ? LOG_ERROR : LOG_WARN, fault ? "reload.fault" : "reload.warning",
                   F_STR("detail", line));
        report = str_from(report, line.n + 1 > report.n ? report.n : line.n + 1);
    }
}

/* Gives it to the gateway. False: the old one stays. */
static bool take_config(struct gateway *gateway, struct config *config, struct buf *restart,
                        struct error *e)
{
    struct backend_set *backends = NULL;

    if (backend_set_new(config, &backends, e) != OK)
        return false;
    if (gateway_reload(gateway, config, &backends, restart, e) != OK)
        return false;
    /* So that what is told as done is in force. A worker takes it within its turn. */
    for (int ms = 0; ms < TAKE_MS && gateway_reloading(gateway); ms++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    return true;
}

static void tell_reload(const struct config *config, struct str restart)
{
    if (config->disable_auth)
        LOG(MAIN, WARN, "start.no_authentication",
            F_Z("detail", "authentication is off: listening on loopback only"));
    if (restart.n > 0)
        LOG(MAIN, WARN, "reload.done", F_STR("needs_restart", restart),
            F_Z("detail", "the values from the start stay in force for these"));
    else
        LOG(MAIN, INFO, "reload.done");
}

/* It is taken: what held something now must not be empty the next time. */
static void remember(struct config_source *source, const struct config_result *result)
{
    source->file_wanted = result->file_used;
    source->env_wanted = result->env_used;
}

/* Reads everything anew, from the same sources. On any fault all stays as it was. */
static void reload(struct gateway *gateway, struct config_source *source)
{
    struct config_result result = {.action = CONFIG_SERVE};
    struct error e = {.code = OK};
    struct arena arena;
    struct buf report;
    struct buf restart;
    size_t faults;

    arena_init(&arena, CONFIG_ARENA_MAX, 4096, NULL);
    buf_init(&report, CONFIG_ARENA_MAX);
    buf_init(&restart, 1024);
    source->again = true;
    config_read(source, &arena, &result);
    faults = result.faults;
    if (result.config != NULL)
        faults += check_use(result.config, &arena, &report);
    log_report(result.report);
    log_report(buf_str(&report));
    if (result.config == NULL || faults > 0) {
        LOG(MAIN, ERROR, "reload.failed", F_INT("faults", faults),
            F_Z("detail", "the old configuration stays"));
    } else if (!take_config(gateway, result.config, &restart, &e)) {
        LOG(MAIN, ERROR, "reload.failed", F_Z("code", error_name(e.code)), F_Z("detail", e.detail));
    } else {
        remember(source, &result);
        set_up_log(result.config);
        tell_reload(result.config, buf_str(&restart));
    }
    config_unref(&result.config);
    buf_fini(&restart);
    buf_fini(&report);
    arena_fini(&arena);
}

/* --- signals --- */

static bool stop_pending(void)
{
    sigset_t pending;

    (void)sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

/* Waits for the next signal of the set; with poll at most POLL_MS, and 0: none came. */
static int next_signal(const sigset_t *set, bool poll)
{
    const struct timespec wait = {.tv_sec = 0, .tv_nsec = POLL_MS * 1000000L};
    int signal = 0;

    if (poll && !stop_pending()) {
        (void)nanosleep(&wait, NULL);
        return 0;
    }
    if (sigwait(set, &signal) != 0)
        BUG("cannot wait for signals");
    return signal;
}

/* Nothing is served any more, and still a worker has not ended: a thread hangs in the system's
 * resolver, or on a disk, which nothing can interrupt, and exit would wait for it. */
static void leave_behind(void)
{
    LOG(MAIN, WARN, "stop.left_behind",
        F_Z("detail", "a look-up of a name, or the disk, has not come back; leaving without it"));
    log_stop();
    _exit(0);
}

/* Serves until SIGTERM or SIGINT, then drains; a second signal ends at once. SIGHUP reads the
 * configuration again, and means nothing any more while it drains. */
static void serve(struct gateway *gateway, struct config_source *source, const sigset_t *set)
{
    while (next_signal(set, false) == SIGHUP) {
        if (!stop_pending()) /* the end does not wait behind a row of these */
            reload(gateway, source);
    }
    int64_t drain_ms = gateway_config(gateway)->drain_timeout_ms;
    int64_t end_ms = clock_mono_ms() + drain_ms;
    LOG(MAIN, INFO, "stop.draining", F_INT("timeout_ms", drain_ms));
    gateway_drain(gateway);
    bool aborted = false;
    while (gateway_running(gateway) > 0) {
        /* Each time anew: a worker may not have begun to stop yet. */
        if (gateway_quiet(gateway))
            gateway_close_idle(gateway);
        int signal = next_signal(set, true);
        bool again = signal == SIGTERM || signal == SIGINT;
        if (!aborted && (again || clock_mono_ms() >= end_ms)) {
            LOG(MAIN, WARN, "stop.aborting");
            gateway_abort(gateway);
            aborted = true;
            end_ms = clock_mono_ms() + ABORT_MS;
        } else if (aborted && clock_mono_ms() >= end_ms) {
            leave_behind();
        }
    }
}

/* The reference on *config is given back (nulled) when the gateway has its own. */
static int run(struct config_source *source, struct config **config, struct backend_set *backends)
{
    const struct gateway_options options = {
        .config = *config,
        .backends = backends,
        .routes = admin_routes,
        .routes_n = admin_routes_n,
        .version = main_version,
    };
    struct error e = {.code = OK};
    sigset_t set;
    int status = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write that fails */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    /* Before the first thread: all of them inherit it, and only main waits for signals. */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise_file_limit();
    log_start();
    struct gateway *gateway = gateway_new(&options);
    config_unref(config);
    if (gateway_client_key(gateway, &e) == OK && gateway_start(gateway, &e) == OK) {
        LOG(MAIN, INFO, "start.ready", F_Z("version", main_version),
            F_STR("host", gateway_host(gateway)), F_INT("port", gateway_port(gateway)),
            F_INT("workers", gateway_config(gateway)->workers));
        if (gateway_config(gateway)->disable_auth)
            LOG(MAIN, WARN, "start.no_authentication",
                F_Z("detail", "authentication is off: listening on loopback only"));
        tell_stages();
        tell_backends(gateway_backends(gateway));
        show_banner(gateway);
        serve(gateway, source, &set);
        status = 0;
    } else {
        LOG(MAIN, ERROR, "start.failed", F_Z("code", error_name(e.code)), F_Z("detail", e.detail));
        gateway_abort(gateway);
    }
    gateway_free(&gateway);
    log_stop();
    return status;
}

/* Reads, reports, and does what the command line asks for. */
static int act(struct config_source *source, struct config_result *result, struct arena *arena)
{
    struct buf report;
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};
    size_t other_faults = 0;
    int status = 1;

    if (result->action == CONFIG_VERSION) {
        (void)printf("llm-proxy %s\n", main_version);
        return 0;
    }
    if (result->action == CONFIG_HELP) {
        put(stdout, config_help(arena));
        return 0;
    }
    if (result->action == CONFIG_MANUAL)
        return show_manual(result->manual_topic, arena);
    buf_init(&report, CONFIG_ARENA_MAX);
    if (result->config != NULL)
        other_faults = check_use(result->config, arena, &report);
    put(stderr, result->report);
    put(stderr, buf_str(&report));
    buf_fini(&report);
    if (result->action == CONFIG_CHECK)
        return check_config(result, other_faults);
    if (result->config == NULL || other_faults > 0)
        return 1;
    if (result->action == CONFIG_PRINT) {
        put(stdout, config_print(source, result->config, arena));
        return 0;
    }
    set_up_log(result->config);
    if (backend_set_new(result->config, &backends, &e) != OK)
        (void)fprintf(stderr, "%s: %s\n", error_text(e.code), e.detail);
    else
        status = run(source, &result->config, backends);
    return status;
}

int main(int argc, char **argv)
{
    struct config_source source = {.argc = argc,
                                   .argv = argv,
                                   .environ = environ,
                                   .directory = "."};
    struct config_result result = {.action = CONFIG_SERVE};
    struct arena arena;

    mem_setup();
    if (argc > 1 && strcmp(argv[1], "lint-stream") == 0)
        return lint_stream_run(argc - 2, argv + 2, stdin, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "debug-stream") == 0)
        return debug_stream_run(argc - 2, argv + 2, stdin, stdout, stderr);
    arena_init(&arena, CONFIG_ARENA_MAX, 4096, NULL);
    config_read(&source, &arena, &result);
    remember(&source, &result);
    int status = act(&source, &result, &arena);
    config_unref(&result.config);
    arena_fini(&arena);
    return status;
}
