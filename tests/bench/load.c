/* SPDX-License-Identifier: MIT */
/*
 * The load client of the bench, and the small tools its script needs.
 *
 *   load loop    --port P --answer A [--request R] [--connections N] [--warmup-ms N] [--time-ms N]
 *                [--stagger-us N] [--subject PID]          a closed loop of requests
 *                --backend F [--client F] [--ask Q]         the same in the forms of protocols
 *   load hold    --port P --wake-port P --connections N [--time-ms N] [--subject PID]
 *                                                          silent streams, all open at once
 *   load sessions --port P --answer A --sessions N --times N [--connections N] [--subject PID]
 *                                                          so many sessions, each so many requests
 *   load start   --port P --cpu N --log F -- PROGRAM ARG…  from exec to the first GET /healthz
 *   load wait    --port P                                  until GET /healthz answers
 *   load ports   --connections N                           N free ports
 *   load request --request R --answer A                    prints a request's body (--backend too)
 *
 * Prints one line of key=value. Exit 0, also with errors=… in the line; 1 when nothing could be
 * measured; 2 for a wrong command line.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"
#include "form.h"
#include "loopback.h"
#include "procfs.h"
#include "shape.h"

#define LIFE_S     120
#define WAIT_NS    10000000000LL
#define PORT_FIRST 20000u /* below the range that outgoing connections use */
#define PORT_RANGE 10000u

struct args {
    struct drive_options drive;
    enum shape_answer answer;
    enum shape_request request;
    enum form client;  /* FORMS: the same as the backend's, straight to it */
    enum form backend; /* FORMS: chat completions, as shape.h has them */
    enum form_ask ask;
    int cpu;
    const char *log;
    char **program; /* NULL-terminated; may be empty */
};

static int64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void pause_us(long us)
{
    struct timespec pause = {.tv_nsec = us * 1000};

    nanosleep(&pause, NULL);
}

static int number(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*end != '\0' || end == text || value < 0 || value > INT32_MAX) {
        fprintf(stderr, "load: not a number: %s\n", text);
        exit(2);
    }
    return (int)value;
}

static void form_option(struct args *args, int option, const char *name)
{
    if (option == 'C')
        args->client = form_find(name);
    else if (option == 'B')
        args->backend = form_find(name);
    else if (option == 'A')
        args->ask = form_ask_find(name);
    else if (option == 'S')
        args->drive.sessions = number(name);
    else if (option == 'T')
        args->drive.times = number(name);
    else
        exit(2);
}

static const struct option long_options[] = {
    {"port", required_argument, NULL, 'p'},
    {"wake-port", required_argument, NULL, 'k'},
    {"answer", required_argument, NULL, 'a'},
    {"request", required_argument, NULL, 'r'},
    {"connections", required_argument, NULL, 'c'},
    {"warmup-ms", required_argument, NULL, 'w'},
    {"time-ms", required_argument, NULL, 't'},
    {"stagger-us", required_argument, NULL, 'g'},
    {"subject", required_argument, NULL, 's'},
    {"cpu", required_argument, NULL, 'u'},
    {"log", required_argument, NULL, 'l'},
    {"client", required_argument, NULL, 'C'},
    {"backend", required_argument, NULL, 'B'},
    {"ask", required_argument, NULL, 'A'},
    {"sessions", required_argument, NULL, 'S'},
    {"times", required_argument, NULL, 'T'},
    {NULL, 0, NULL, 0},
};

static void args_parse(struct args *args, int argc, char **argv)
{
    int option;

    *args = (struct args){
        .drive = {.connections = 1, .time_ms = 1000},
        .cpu = -1,
        .client = FORMS,
        .backend = FORMS,
        .log = "/dev/null",
    };
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'p':
            args->drive.port = (unsigned)number(optarg);
            break;
        case 'k':
            args->drive.wake_port = (unsigned)number(optarg);
            break;
        case 'a':
            args->answer = shape_answer_find(optarg);
            break;
        case 'r':
            args->request = shape_request_find(optarg);
            break;
        case 'c':
            args->drive.connections = number(optarg);
            break;
        case 'w':
            args->drive.warmup_ms = number(optarg);
            break;
        case 't':
            args->drive.time_ms = number(optarg);
            break;
        case 'g':
            args->drive.stagger_ns = number(optarg) * 1000LL;
            break;
        case 's':
            args->drive.subject = number(optarg);
            break;
        case 'u':
            args->cpu = number(optarg);
            break;
        case 'l':
            args->log = optarg;
            break;
        default:
            form_option(args, option, optarg);
            break;
        }
    }
    args->program = argv + optind;
}

/* In the forms of two protocols; of one: as it comes from the upstream, to the byte. */
static void forms_fill(struct args *args)
{
    bool same = args->client == args->backend || args->client == FORMS;
    struct shape_text expect;
    char prefix[32] = "";

    if (args->client == FORMS)
        args->client = args->backend;
    else
        snprintf(prefix, sizeof(prefix), "b_%s:", form_names[args->backend]);
    struct shape_text request = form_request_http(args->client, args->ask, args->answer, prefix,
                                                  args->drive.port);
    args->drive.request = request.p;
    args->drive.request_n = request.n;
    args->drive.needles = form_needles(args->client, args->backend, args->answer);
    if (!same)
        return;
    expect = args->answer == SHAPE_UNARY ? form_unary(args->backend)
                                         : form_stream(args->backend).text;
    args->drive.expect = expect.p;
    args->drive.expect_n = expect.n;
}

static void shapes_fill(struct args *args)
{
    if (args->backend != FORMS) {
        forms_fill(args);
        return;
    }
    struct shape_text request = shape_request_http(args->request, args->answer, args->drive.port);
    struct shape_text expect;

    if (args->answer == SHAPE_UNARY) {
        expect = shape_unary();
    } else {
        struct shape_stream stream = shape_stream();

        expect = stream.text;
        args->drive.first_n = stream.end[0];
    }
    args->drive.request = request.p;
    args->drive.request_n = request.n;
    args->drive.expect = expect.p;
    args->drive.expect_n = expect.n;
}

/* In the measured time; answers that it cut count as far as they came. */
static double events_of(const struct drive_result *r)
{
    return r->whole_bytes == 0 ? 0
                               : (double)r->body_bytes * SHAPE_EVENTS * (double)r->whole_answers /
                                     (double)r->whole_bytes;
}

static int run_loop(struct args *args)
{
    shapes_fill(args);
    struct drive_result r = drive_loop(&args->drive);

    printf("answers=%" PRIu64 " errors=%" PRIu64 " wall_ns=%" PRId64 " cpu_ns=%" PRIu64
           " user_ns=%" PRIu64 " events=%.0f p50_ns=%" PRId64 " p99_ns=%" PRId64 "\n",
           r.answers, r.errors, r.wall_ns, r.cpu_ns, r.user_ns, events_of(&r), r.first_byte_p50_ns,
           r.first_byte_p99_ns);
    if (r.why != NULL)
        fprintf(stderr, "load: %" PRIu64 " errors; the first: %s\n", r.errors, r.why);
    return r.answers > 0 ? 0 : 1;
}

static int run_hold(struct args *args)
{
    args->answer = SHAPE_SILENT;
    shapes_fill(args);
    struct drive_result r = drive_hold(&args->drive);

    printf("opened=%d alive=%d errors=%" PRIu64 " rss_before=%" PRIu64 " rss_after=%" PRIu64 "\n",
           r.opened, r.alive, r.errors, r.rss_before, r.rss_after);
    if (r.why != NULL)
        fprintf(stderr, "load: %" PRIu64 " errors; the first: %s\n", r.errors, r.why);
    return r.opened > 0 ? 0 : 1;
}

/* The request with a header that names its session. */
static void name_session(struct args *args)
{
    static const char header[] = "\r\nx-session-id: bench-00000000";
    const char *request = args->drive.request;
    const char *line = memmem(request, args->drive.request_n, "\r\n", 2);
    size_t head_n = (size_t)(line - request);
    size_t header_n = sizeof(header) - 1;
    char *named = malloc(args->drive.request_n + header_n);

    if (named == NULL)
        abort();
    memcpy(named, request, head_n);
    memcpy(named + head_n, header, header_n);
    memcpy(named + head_n + header_n, line, args->drive.request_n - head_n);
    args->drive.request = named;
    args->drive.request_n += header_n;
    args->drive.serial_at = head_n + header_n - DRIVE_SERIAL_DIGITS;
}

static int run_sessions(struct args *args)
{
    shapes_fill(args);
    if (args->drive.sessions == 0 || args->drive.times == 0)
        exit(2);
    name_session(args);
    struct drive_result r = drive_sessions(&args->drive);

    printf("answers=%" PRIu64 " errors=%" PRIu64 " rss_before=%" PRIu64 " rss_after=%" PRIu64 "\n",
           r.answers, r.errors, r.rss_before, r.rss_after);
    if (r.why != NULL)
        fprintf(stderr, "load: %" PRIu64 " errors; the first: %s\n", r.errors, r.why);
    return r.answers > 0 ? 0 : 1;
}

static bool wait_healthy(unsigned port, int64_t until_ns)
{
    while (!loopback_get(port, "/healthz")) {
        if (clock_ns() > until_ns)
            return false;
        pause_us(100);
    }
    return true;
}

static void exec_program(const struct args *args)
{
    int log = open(args->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (args->cpu >= 0) {
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET((unsigned)args->cpu, &cpus);
        sched_setaffinity(0, sizeof(cpus), &cpus);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(args->program[0], args->program);
    _exit(127);
}

/* Ends our own child: politely, then after three seconds not. */
static void end_child(pid_t pid)
{
    int64_t until_ns = clock_ns() + 3000000000LL;

    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_ns() > until_ns) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return;
        }
        pause_us(1000);
    }
}

static int run_start(struct args *args)
{
    if (args->program[0] == NULL) {
        fprintf(stderr, "load start: which program?\n");
        return 2;
    }
    if (!loopback_is_free(args->drive.port)) {
        fprintf(stderr, "load start: port %u is taken\n", args->drive.port);
        return 1;
    }
    int64_t begin_ns = clock_ns();
    pid_t pid = fork();
    if (pid < 0)
        return 1;
    if (pid == 0)
        exec_program(args);
    bool healthy = wait_healthy(args->drive.port, begin_ns + WAIT_NS);
    int64_t took_ns = clock_ns() - begin_ns;
    pause_us(300000); /* what is done lazily after the start is done now */
    struct procfs_tree tree = procfs_tree(pid);
    uint64_t rss = procfs_rss_bytes(&tree);
    end_child(pid);
    printf("start_ns=%" PRId64 " rss=%" PRIu64 "\n", took_ns, rss);
    return healthy ? 0 : 1;
}

static int run_ports(const struct args *args)
{
    unsigned port = PORT_FIRST + (unsigned)getpid() * 7 % PORT_RANGE;
    int found = 0;

    for (unsigned i = 0; i < PORT_RANGE && found < args->drive.connections; i++) {
        unsigned candidate = PORT_FIRST + (port - PORT_FIRST + i) % PORT_RANGE;

        if (loopback_is_free(candidate)) {
            printf("%u\n", candidate);
            found++;
        }
    }
    return found == args->drive.connections ? 0 : 1;
}

static int run_request(struct args *args)
{
    struct shape_text body;

    if (args->backend == FORMS) {
        body = shape_request_body(args->request, args->answer);
    } else {
        shapes_fill(args);
        const char *at = memmem(args->drive.request, args->drive.request_n, "\r\n\r\n", 4) + 4;
        body.p = (char *)at;
        body.n = args->drive.request_n - (size_t)(at - args->drive.request);
    }
    return fwrite(body.p, 1, body.n, stdout) == body.n ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct args args;

    if (argc < 2) {
        fprintf(stderr, "usage: load loop|hold|sessions|start|wait|ports|request [OPTION…]\n");
        return 2;
    }
    args_parse(&args, argc - 1, argv + 1);
    alarm(LIFE_S);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && strcmp(argv[1], "start") != 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (strcmp(argv[1], "loop") == 0)
        return run_loop(&args);
    if (strcmp(argv[1], "hold") == 0)
        return run_hold(&args);
    if (strcmp(argv[1], "sessions") == 0)
        return run_sessions(&args);
    if (strcmp(argv[1], "start") == 0)
        return run_start(&args);
    if (strcmp(argv[1], "wait") == 0)
        return wait_healthy(args.drive.port, clock_ns() + WAIT_NS) ? 0 : 1;
    if (strcmp(argv[1], "ports") == 0)
        return run_ports(&args);
    if (strcmp(argv[1], "request") == 0)
        return run_request(&args);
    fprintf(stderr, "load: what is %s?\n", argv[1]);
    return 2;
}
