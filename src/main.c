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
#include "base/manual.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "pipeline/pipeline.h"
#include "state/config.h"

extern char **environ;

static const char main_version[] = LLM_PROXY_VERSION;

enum { CONFIG_ARENA_MAX = 64 * 1024 * 1024, POLL_MS = 20 };

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
    put(stdout, text);
    if (str_is_null(text))
        (void)fprintf(stderr, "unknown topic %.*s; topics: config, errors, metrics\n",
                      STR_ARG(topic));
    return str_is_null(text) ? 1 : 0;
}

static int check_config(const struct config_result *result, size_t backend_faults)
{
    size_t faults = result->faults + backend_faults;

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

/* "http://127.0.0.1:8000", as a client on this machine would say it. */
static struct str base_url(const struct gateway *gateway, struct arena *arena)
{
    struct str host = gateway_host(gateway);
    bool v6 = str_find_char(host, ':', 0) != SIZE_MAX;

    if (str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"))) {
        host = STR("127.0.0.1");
        v6 = false;
    }
    return str_print(arena, "http://%s%.*s%s:%u", v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "",
                     (unsigned)gateway_port(gateway));
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

/* The one screen at the start. */
static void show_banner(const struct gateway *gateway)
{
    struct arena arena;

    arena_init(&arena, CONFIG_ARENA_MAX, 512, NULL);
    struct str url = base_url(gateway, &arena);
    (void)printf("llm-proxy %s\n\n  listening on   %.*s\n", main_version, STR_ARG(url));
    show_backends(gateway_backends(gateway));
    struct str key = show_key(gateway);
    (void)printf("\nTry it:\n\n"
                 "  curl -N %.*s/v1/chat/completions \\\n"
                 "    -H 'Authorization: Bearer %.*s' -H 'Content-Type: application/json' \\\n"
                 "    -d '{\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"Hello\"}]}'\n\n"
                 "  OpenAI(base_url=\"%.*s/v1\", api_key=\"%.*s\")\n\n",
                 STR_ARG(url), STR_ARG(key), STR_ARG(url), STR_ARG(key));
    (void)fflush(stdout);
    arena_fini(&arena);
}

/* Waits for the next signal of the set; with poll at most POLL_MS, and 0: none came. */
static int next_signal(const sigset_t *set, bool poll)
{
    const struct timespec wait = {.tv_sec = 0, .tv_nsec = POLL_MS * 1000000L};
    sigset_t pending;
    int signal = 0;

    if (poll) {
        (void)sigpending(&pending);
        if (sigismember(&pending, SIGTERM) != 1 && sigismember(&pending, SIGINT) != 1) {
            (void)nanosleep(&wait, NULL);
            return 0;
        }
    }
    if (sigwait(set, &signal) != 0)
        BUG("cannot wait for signals");
    return signal;
}

/* Serves until SIGTERM or SIGINT, then drains; a second signal ends at once. */
static void serve(struct gateway *gateway, const sigset_t *set)
{
    for (;;) {
        int signal = next_signal(set, false);
        if (signal != SIGHUP)
            break;
        LOG(MAIN, WARN, "reload.unsupported",
            F_Z("detail", "SIGHUP is ignored: restart to read the configuration again"));
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
        }
    }
}

static int run(struct config *config, struct backend_set *backends)
{
    const struct gateway_options options = {
        .config = config,
        .backends = backends,
        .routes = admin_routes,
        .routes_n = admin_routes_n,
        .version = main_version,
    };
    struct error e = {.code = OK};
    sigset_t set;
    int status = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    /* Before the first thread: all of them inherit it, and only main waits for signals. */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise_file_limit();
    log_start();
    struct gateway *gateway = gateway_new(&options);
    if (gateway_client_key(gateway, &e) == OK && gateway_start(gateway, &e) == OK) {
        LOG(MAIN, INFO, "start.ready", F_Z("version", main_version),
            F_STR("host", gateway_host(gateway)), F_INT("port", gateway_port(gateway)),
            F_INT("workers", config->workers));
        if (config->disable_auth)
            LOG(MAIN, WARN, "start.no_authentication",
                F_Z("detail", "authentication is off: listening on loopback only"));
        tell_stages();
        show_banner(gateway);
        serve(gateway, &set);
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
static int act(const struct config_source *source, struct config_result *result,
               struct arena *arena)
{
    struct buf report;
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};
    size_t backend_faults = 0;
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
        backend_faults = backend_check(result->config, arena, &report);
    put(stderr, result->report);
    put(stderr, buf_str(&report));
    buf_fini(&report);
    if (result->action == CONFIG_CHECK)
        return check_config(result, backend_faults);
    if (result->config == NULL || backend_faults > 0)
        return 1;
    if (result->action == CONFIG_PRINT) {
        put(stdout, config_print(source, result->config, arena));
        return 0;
    }
    log_set_level(result->config->logging_level);
    if (backend_set_new(result->config, &backends, &e) != OK)
        (void)fprintf(stderr, "%s: %s\n", error_text(e.code), e.detail);
    else
        status = run(result->config, backends);
    return status;
}

int main(int argc, char **argv)
{
    const struct config_source source = {.argc = argc,
                                         .argv = argv,
                                         .environ = environ,
                                         .directory = "."};
    struct config_result result = {.action = CONFIG_SERVE};
    struct arena arena;

    mem_setup();
    arena_init(&arena, CONFIG_ARENA_MAX, 4096, NULL);
    config_read(&source, &arena, &result);
    int status = act(&source, &result, &arena);
    config_unref(&result.config);
    arena_fini(&arena);
    return status;
}
