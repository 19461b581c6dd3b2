/* SPDX-License-Identifier: MIT */
/*
 * debug-stream: a client that tells when what came.
 *
 * What      Sends one request with the program's own HTTP client and prints the answer's events.
 * How       main waits for signals  |  a thread runs the loop:
 *             SIGINT -> cancel ----------> begin -> head -> bodies (events) -> over
 *             SIGUSR1 <----------------------------------------------------------'
 *           All events of one read have the time of that read. The bytes also go to the checker of
 *           the protocol's grammar, which says whether the end was one.
 * Owns      The worker, the pool, the arena.
 * Not here  Arguments and the request (debug_ask).
 */
#include "cli/debug_stream.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "cli/debug_ask.h"
#include "http/client.h"
#include "io/conn.h"
#include "io/worker.h"
#include "text/sse.h"

enum {
    ARENA_MAX = 256 * 1024 * 1024,
    EVENT_BYTES_MAX = 16 * 1024 * 1024,
    BODY_BYTES_MAX = 1024 * 1024, /* of an answer that is no stream */
    HEADER_BYTES_MAX = 64 * 1024,
    CONNECT_MS = 10000,
    STREAM_MAGIC = 0x64627374,
};

struct debug_stream {
    uint32_t magic;
    struct debug_ask ask;
    FILE *out;
    FILE *err;
    struct arena arena;
    struct worker *worker;
    struct loop *loop;
    struct tls_context *tls;
    struct client_pool *pool;
    struct client_request *request; /* NULL: none runs */
    pthread_t main;
    bool over;
    int code;
    /* The answer. */
    int status;
    bool streams;
    bool error_event;
    struct sse sse;
    void *lint;
    bool lint_failed;
    struct error violation;
    struct buf body;
    /* Microseconds. */
    int64_t begin_us;
    int64_t last_us;
    int64_t read_us;
    int64_t first_us; /* 0: no event came */
    int64_t pause_us; /* the longest */
    size_t events;
    size_t bytes;
};

static struct debug_stream *stream_of(void *ctx)
{
    struct debug_stream *s;

    CAST(s, ctx, STREAM_MAGIC);
    return s;
}

/* --- the end --- */

static void end_with(struct debug_stream *s, int code)
{
    if (s->over)
        return;
    s->over = true;
    s->code = code;
    client_cancel(&s->request);
    client_pool_free(&s->pool);
    worker_release(s->worker);
}

static void cancel(void *ctx)
{
    struct debug_stream *s = stream_of(ctx);

    if (s->over)
        return;
    (void)fprintf(s->err, "interrupted after %zu events\n", s->events);
    end_with(s, DEBUG_STREAM_INTERRUPTED);
}

static double ms(int64_t us)
{
    return (double)us / 1000;
}

/* --- what came --- */

/* Bytes of others never reach a terminal as control characters. */
static void put_text(FILE *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\n')
            (void)fputs("\\n", out);
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            (void)fprintf(out, "\\x%02x", c);
        else
            (void)fputc(c, out);
    }
}

/* Since the request, and since what was told before. */
static void put_times(struct debug_stream *s)
{
    (void)fprintf(s->out, "%10.3f ms  +%10.3f ms  ", ms(s->read_us - s->begin_us),
                  ms(s->read_us - s->last_us));
    s->last_us = s->read_us;
}

static void on_event(struct debug_stream *s, const struct sse_frame *frame)
{
    int64_t pause_us = s->read_us - s->last_us;

    s->events++;
    if (s->first_us == 0)
        s->first_us = s->read_us;
    else if (pause_us > s->pause_us)
        s->pause_us = pause_us;
    put_times(s);
    if (!str_is_null(frame->event)) {
        put_text(s->out, frame->event);
        (void)fputs(": ", s->out);
    }
    put_text(s->out, str_is_null(frame->data) ? str_trim(frame->raw) : frame->data);
    (void)fputc('\n', s->out);
    if (str_eq(frame->event, STR("error")) || str_starts(frame->data, STR("{\"error\"")))
        s->error_event = true;
}

static void take_events(struct debug_stream *s, bool end)
{
    struct sse_frame frame;
    struct error e = {.code = OK};

    while (sse_next(&s->sse, &frame, &e))
        on_event(s, &frame);
    if (end && e.code == OK && sse_end(&s->sse, &frame))
        on_event(s, &frame);
    if (e.code != OK && !s->lint_failed) {
        s->lint_failed = true;
        s->violation = e;
    }
}

static void check(struct debug_stream *s, struct str bytes, bool end)
{
    if (s->lint_failed || s->lint == NULL)
        return;
    s->lint_failed = s->ask.protocol->lint_bytes(s->lint, bytes, end, &s->violation) != OK;
}

static bool is_told(struct str name)
{
    return str_eq_nocase(name, STR("content-type")) || str_eq_nocase(name, STR("server-timing")) ||
           str_eq_nocase(name, STR("x-session-id")) || str_starts_nocase(name, STR("x-llm-proxy-"));
}

static void begin_stream(struct debug_stream *s)
{
    const struct protocol *protocol = s->ask.protocol;

    sse_init(&s->sse, EVENT_BYTES_MAX);
    if (protocol->lint_size == 0)
        return;
    s->lint = arena_zalloc(&s->arena, protocol->lint_size);
    protocol->lint_init(s->lint, &(struct lint_options){.stream = true, .arena = &s->arena});
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct debug_stream *s = stream_of(ctx);
    struct str type = http_headers_get(&m->headers, STR("content-type"));

    assert(r == s->request);
    s->read_us = loop_now_us(s->loop);
    s->status = m->status;
    s->streams = m->status == 200 && str_starts_nocase(type, STR("text/event-stream"));
    put_times(s);
    (void)fprintf(s->out, "HTTP %d\n", m->status);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        if (s->streams && !is_told(header->name))
            continue;
        (void)fprintf(s->out, "%30s", "");
        put_text(s->out, header->name);
        (void)fputs(": ", s->out);
        put_text(s->out, header->value);
        (void)fputc('\n', s->out);
    }
    if (s->streams)
        begin_stream(s);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct debug_stream *s = stream_of(ctx);

    assert(r == s->request);
    s->read_us = loop_now_us(s->loop);
    s->bytes += bytes.n;
    if (!s->streams) {
        (void)buf_add(&s->body, str_head(bytes, s->body.size_max - s->body.n));
        return;
    }
    sse_feed(&s->sse, bytes);
    take_events(s, false);
    check(s, bytes, false);
}

static int tell_end(struct debug_stream *s)
{
    (void)fprintf(s->out, "%10.3f ms  end: %zu events, %zu bytes", ms(s->read_us - s->begin_us),
                  s->events, s->bytes);
    if (s->first_us != 0)
        (void)fprintf(s->out, "; first after %.3f ms, longest pause %.3f ms",
                      ms(s->first_us - s->begin_us), ms(s->pause_us));
    (void)fputc('\n', s->out);
    if (s->error_event)
        (void)fputs("the stream says an error\n", s->err);
    else if (s->lint_failed)
        (void)fprintf(s->err, "the stream is not what %s says: %s\n", s->ask.protocol->name,
                      s->violation.detail);
    return s->error_event || s->lint_failed ? DEBUG_STREAM_FAILED : DEBUG_STREAM_OK;
}

static int tell_whole(struct debug_stream *s)
{
    put_times(s);
    put_text(s->out, buf_str(&s->body));
    (void)fputc('\n', s->out);
    (void)fprintf(s->err, s->status == 200 ? "the answer is no stream\n" : "status %d\n",
                  s->status);
    if (s->status == 401 && !s->ask.has_key)
        (void)fprintf(s->err,
                      "no key was sent: there is no --api-key, no LLM_INTERACTIVE_PROXY_API_KEY in "
                      "the environment, and %s is no folder of a proxy on this machine\n",
                      s->ask.data_dir);
    return DEBUG_STREAM_FAILED;
}

static void on_end(struct client_request *r, void *ctx)
{
    struct debug_stream *s = stream_of(ctx);

    assert(r == s->request);
    s->request = NULL; /* over after its batch */
    s->read_us = loop_now_us(s->loop);
    if (s->streams) {
        take_events(s, true);
        check(s, STR_NULL, true);
        s->code = tell_end(s);
    } else {
        s->code = tell_whole(s);
    }
}

static void end_later(void *ctx)
{
    struct debug_stream *s = stream_of(ctx);

    end_with(s, s->code);
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct debug_stream *s = stream_of(ctx);

    (void)r;
    if (fflush(s->out) != 0) /* nobody reads it any more */
        s->code = DEBUG_STREAM_FAILED;
    if (s->request == NULL || ferror(s->out) != 0)
        worker_post(s->worker, end_later, s);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct debug_stream *s = stream_of(ctx);

    assert(r == s->request);
    s->request = NULL;
    s->read_us = loop_now_us(s->loop);
    (void)fprintf(s->out, "%10.3f ms  broken off: %zu events, %zu bytes\n",
                  ms(s->read_us - s->begin_us), s->events, s->bytes);
    (void)fflush(s->out);
    (void)fprintf(s->err, "%s: %s\n", error_text(e->code), e->detail);
    s->code = DEBUG_STREAM_FAILED;
    worker_post(s->worker, end_later, s);
}

static const struct client_events stream_events = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

/* --- asking --- */

static void begin(void *ctx)
{
    struct debug_stream *s = stream_of(ctx);
    const struct debug_ask *ask = &s->ask;
    struct error e = {.code = OK};

    if (s->over)
        return; /* interrupted before it began */
    s->pool = client_pool_new(s->loop, &(struct client_pool_options){
                                           .host = ask->url.host,
                                           .port = ask->url.port,
                                           .tls = s->tls,
                                           .connect_timeout_ms = CONNECT_MS,
                                           .silence_timeout_ms = ask->timeout_ms,
                                           .header_bytes_max = HEADER_BYTES_MAX,
                                       });
    (void)fprintf(s->out, "POST %.*s (%s)\n", STR_ARG(ask->shown), ask->protocol->name);
    s->begin_us = s->last_us = s->read_us = loop_now_us(s->loop);
    if (client_start(s->pool,
                     &(struct client_call){
                         .head = ask->head,
                         .body = &ask->body,
                         .body_n = 1,
                         .arena = &s->arena,
                         .events = &stream_events,
                         .ctx = s,
                     },
                     &s->request, &e) == OK)
        return;
    (void)fprintf(s->err, "%s: %s\n", error_text(e.code), e.detail);
    end_with(s, DEBUG_STREAM_FAILED);
}

static void *run_loop(void *ctx)
{
    struct debug_stream *s = stream_of(ctx);

    worker_run(s->worker);
    (void)pthread_kill(s->main, SIGUSR1);
    return NULL;
}

/* Until the thread has told that it is over. */
static void wait_for_end(struct debug_stream *s, const sigset_t *set)
{
    int signal = 0;

    for (bool interrupted = false;; interrupted = true) {
        if (sigwait(set, &signal) != 0)
            BUG("cannot wait for signals");
        if (signal == SIGUSR1)
            return;
        if (interrupted) /* the system's resolver may keep us */
            _exit(DEBUG_STREAM_INTERRUPTED);
        worker_post(s->worker, cancel, s);
    }
}

static int exchange(struct debug_stream *s)
{
    static const struct worker_events none = {.accepted = NULL};
    sigset_t set;
    sigset_t before;
    pthread_t thread;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &set, &before);
    s->main = pthread_self();
    s->worker = worker_new(&(struct worker_options){.events = &none, .listen_fd = -1});
    s->loop = worker_loop(s->worker);
    worker_post(s->worker, begin, s);
    if (pthread_create(&thread, NULL, run_loop, s) != 0)
        BUG("no thread can be made");
    wait_for_end(s, &set);
    (void)pthread_join(thread, NULL);
    worker_free(&s->worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->code;
}

/* Before any event, all of it may go wrong. */
static enum error_code prepare(struct debug_stream *s, FILE *in, struct error *e)
{
    struct debug_ask *ask = &s->ask;

    TRY(debug_ask_make(ask, in, &s->arena, e));
    if (!ask->url.https)
        return OK;
    return tls_context_new(
        &(struct tls_options){
            .ca_file = ask->ca_file == NULL ? STR_NULL : str_c(ask->ca_file),
            .verify = !ask->insecure,
        },
        &s->tls, e);
}

int debug_stream_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err)
{
    struct debug_stream s = {.magic = STREAM_MAGIC, .out = out, .err = err};
    struct error e = {.code = OK};
    int code = DEBUG_STREAM_USAGE;

    if (!debug_ask_arguments(&s.ask, argc, argv, err))
        return DEBUG_STREAM_USAGE;
    if (s.ask.help) {
        debug_ask_usage(out);
        return DEBUG_STREAM_OK;
    }
    arena_init(&s.arena, ARENA_MAX, 4096, NULL);
    buf_init(&s.body, BODY_BYTES_MAX);
    if (prepare(&s, in, &e) == OK)
        code = exchange(&s);
    else
        (void)fprintf(err, "debug-stream: %s\n", e.detail);
    if (s.lint != NULL)
        s.ask.protocol->lint_fini(s.lint);
    if (s.streams)
        sse_fini(&s.sse);
    tls_context_unref(&s.tls);
    buf_fini(&s.body);
    arena_fini(&s.arena);
    return code;
}
