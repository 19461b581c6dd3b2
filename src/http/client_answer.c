/* SPDX-License-Identifier: MIT */
/*
 * What comes back: an answer's head, its body, its end.
 *
 * What      Drives the parser, skips interim answers, decodes gzip and deflate on the way.
 * How       What one read decodes to gathers in the pool's one buffer; when that is full the batch
 *           comes, so that the user lets go of it, and decoding goes on. A user who paused in that
 *           batch gets no more: what is left of the read is held, and decoded when he resumes.
 *           What decodes to very much is done in several turns.
 *
 *           read ─► parser ─► body ─┬─ plain ──────────────────────► user
 *                                   └─ coding_next ─► pool->decoded ─► user, batch when full
 *
 * Owns      The state of the decoding, from the first byte of a coded body to its end.
 * Not here  Who is called when the connection is lost (client.c).
 */
#include "base/buf.h"
#include "base/mem.h"
#include "http/client_priv.h"

enum {
    DECODED_SIZE = 16 * 1024, /* of a pool's buffer */
    HELD_MAX = 1024 * 1024,   /* one read, and what TLS adds to it */
    RATIO_MAX = 100,          /* contract, section 2: beyond it is a bomb */
    /* Of one read, at once: one of 64 KiB may decode to 100 times that, in events of 9 bytes. Then
     * the others of the loop have their turn. */
    TURN_BYTES = 128 * 1024,
};

struct client_coded {
    struct client_request *request;
    struct decoding *decoding;
    struct timer timer; /* the next turn */
    struct buf held;    /* what was read, but not decoded: the user paused, or the turn is over */
    size_t held_body;   /* of held: bytes that the parser has passed already */
};

void client_answer_forget(struct client_request *r)
{
    struct client_coded *coded = r->coded;

    r->coding = CODING_IDENTITY;
    if (coded == NULL)
        return;
    r->coded = NULL;
    timer_stop(&coded->timer);
    coding_free(&coded->decoding);
    buf_fini(&coded->held);
    mem_free(coded);
}

bool client_answer_is_held(const struct client_request *r)
{
    return r->coded != NULL && r->coded->held.n > 0;
}

/* ---- coded bodies ---- */

static void turn_fire(struct timer *timer)
{
    client_run_soon(CONTAINER_OF(timer, struct client_coded, timer)->request);
}

static enum error_code coded_start(struct client_request *r, struct error *e)
{
    struct client_pool *pool = r->pool;
    const struct decoding_options options = {
        .coding = (enum coding)r->coding,
        .bytes_max = r->call.decoded_bytes_max == 0 ? SIZE_MAX : r->call.decoded_bytes_max,
        .ratio_max = RATIO_MAX,
        .budget = pool->options.budget,
    };
    struct decoding *decoding = coding_new(&options);

    if (decoding == NULL)
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    if (pool->decoded == NULL)
        pool->decoded = mem_raw(DECODED_SIZE);
    r->coded = mem_new(sizeof(*r->coded));
    r->coded->request = r;
    r->coded->decoding = decoding;
    timer_init(&r->coded->timer, pool->loop, turn_fire);
    buf_init(&r->coded->held, HELD_MAX);
    buf_set_budget(&r->coded->held, pool->options.budget);
    return OK;
}

/* The upstream's fault, in the client's words. */
static void coded_fail(struct client_request *r, const struct error *cause)
{
    struct error e;

    if (cause->code == ERR_OVERLOADED)
        (void)FAIL(&e, ERR_OVERLOADED, "%.200s", cause->detail);
    else if (cause->code == ERR_TOO_LARGE)
        (void)FAIL(&e, ERR_UPSTREAM_TOO_LARGE,
                   "%.150s; response_bytes_max and %d times what came are the limits",
                   cause->detail, RATIO_MAX);
    else
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "%.200s", cause->detail);
    client_fail(r, &e);
}

static void hold(struct client_request *r, struct str piece, struct str rest)
{
    struct client_coded *coded = r->coded;
    struct error e;

    assert(coded->held.n == 0);
    coded->held_body = piece.n;
    if (buf_add(&coded->held, piece) && buf_add(&coded->held, rest)) {
        if (!r->paused) {
            conn_read_stop(r->conn);
            timer_start(&coded->timer, 0);
        }
        return;
    }
    (void)FAIL(&e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    client_fail(r, &e);
}

/* False: the user has paused, or enough was done in this turn; the rest is held. */
static bool coded_body(struct client_request *r, struct str piece, struct str rest)
{
    struct client_pool *pool = r->pool;
    struct str out = STR_NULL;
    size_t total = 0;
    struct error e;

    for (;;) {
        assert(pool->decoded_n < DECODED_SIZE);
        switch (coding_next(r->coded->decoding, &piece, pool->decoded + pool->decoded_n,
                            DECODED_SIZE - pool->decoded_n, &out, &e)) {
        case DECODING_MORE:
            return true;
        case DECODING_BOMB:
        case DECODING_FAILED:
            coded_fail(r, &e);
            return true;
        case DECODING_PIECE:
            break;
        }
        pool->decoded_n += out.n;
        r->batch_due = true;
        r->call.events->body(r, r->call.ctx, out);
        if (r->state == CLIENT_OVER)
            return true;
        if (pool->decoded_n < DECODED_SIZE)
            continue;
        client_tell_batch(r);
        if (r->state == CLIENT_OVER)
            return true;
        pool->decoded_n = 0;
        total += DECODED_SIZE;
        if ((r->paused || total >= TURN_BYTES) && piece.n + rest.n > 0) {
            hold(r, piece, rest);
            return false;
        }
    }
}

/* Whether the coded stream is whole, now that the body is. */
static bool coded_end(struct client_request *r)
{
    struct error e;

    if (r->coded == NULL || coding_complete(r->coded->decoding))
        return true;
    (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the body ended inside its content coding");
    client_fail(r, &e);
    return false;
}

/* ---- events of the parser ---- */

static void head_come(struct client_request *r)
{
    const struct forward *forward = r->pool->options.forward;
    struct message *m = parse_message(&r->parser);
    struct error e;

    if (m->status == 101) {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the answer switches protocols");
        client_fail(r, &e);
        return;
    }
    r->interim = m->status < 200;
    if (r->interim)
        return;
    /* Only proxies say so; their other refusals cannot be told from an origin's answers. In a
     * tunnel they have no word any more. */
    if (m->status == 407 && forward != NULL && !forward_tunnels(forward)) {
        (void)FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "the proxy %.*s refused: 407 %.*s",
                   STR_ARG(forward_name(forward)), STR_ARG(http_reason(407)));
        client_fail(r, &e);
        return;
    }
    /* An answer that came early and refuses is told, but then nothing more is sent. Others are only
     * eager to begin: they still wait for the rest. */
    r->refused = r->state == CLIENT_SENDING && m->status >= 400;
    r->keep = m->keep_alive;
    if (!r->call.as_is || m->status >= 400)
        r->coding = (uint8_t)coding_of_headers(&m->headers);
    client_tell_sent(r);
    if (r->state == CLIENT_OVER)
        return;
    r->batch_due = true;
    r->call.events->head(r, r->call.ctx, m);
}

/* A piece that is not simply for the user. False: the rest is held, see coded_body. */
static COLD bool body_come(struct client_request *r, struct str piece, struct str rest)
{
    struct error e;

    /* RFC 9110, 15.2: a 1xx response is terminated by the end of the header section. */
    if (r->interim) {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "an interim answer with a body");
        client_fail(r, &e);
        return true;
    }
    if (r->coded == NULL && coded_start(r, &e) != OK) {
        client_fail(r, &e);
        return true;
    }
    return coded_body(r, piece, rest);
}

static void end_come(struct client_request *r)
{
    if (r->interim) {
        parse_begin(&r->parser, r->call.arena, r->call.is_head);
        return;
    }
    if (!coded_end(r))
        return;
    r->keep = r->keep && r->state == CLIENT_SENT;
    r->state = CLIENT_ENDED;
    /* Before the answer's end is told: who has it may come again, and find a place. */
    client_pool_request_down(r->pool);
    r->batch_due = true;
    r->call.events->end(r, r->call.ctx);
}

static bool is_plain(const struct client_request *r)
{
    return !r->interim && r->coding != CODING_GZIP && r->coding != CODING_DEFLATE;
}

static void answer_parse(struct client_request *r, struct str bytes)
{
    struct str piece = STR_NULL;
    UNINITIALIZED struct error e;

    while (r->state == CLIENT_SENDING || r->state == CLIENT_SENT) {
        switch (parse_next(&r->parser, &bytes, &piece, &e)) {
        case PARSE_MORE:
            return;
        case PARSE_HEAD:
            head_come(r);
            break;
        case PARSE_BODY:
            if (LIKELY(is_plain(r))) {
                r->batch_due = true;
                r->call.events->body(r, r->call.ctx, piece);
            } else if (!body_come(r, piece, bytes)) {
                return;
            }
            break;
        case PARSE_END:
            end_come(r);
            break;
        case PARSE_FAILED:
            client_fail(r, &e);
            break;
        }
    }
    /* Bytes that nobody asked for: whose answer they are cannot be known. */
    if (bytes.n > 0)
        r->keep = false;
}

/* ---- from the connection ---- */

void client_answer_read(struct client_request *r, struct str bytes)
{
    assert(r->in_event);
    assert(!client_answer_is_held(r));
    r->pool->decoded_n = 0;
    if (!r->answered) {
        r->answered = true;
        parse_reset(&r->parser);
        parse_begin(&r->parser, r->call.arena, r->call.is_head);
    }
    answer_parse(r, bytes);
}

void client_answer_eof(struct client_request *r)
{
    struct error e;

    assert(r->in_event && r->answered);
    r->pool->decoded_n = 0;
    if (parse_eof(&r->parser, &e) != PARSE_END) {
        client_fail(r, &e);
        return;
    }
    r->keep = false;
    end_come(r);
}

void client_answer_resume(struct client_request *r)
{
    struct client_coded *coded = r->coded;
    struct buf held = coded->held;

    assert(r->in_event && held.n > 0);
    r->pool->decoded_n = 0;
    buf_init(&coded->held, HELD_MAX);
    buf_set_budget(&coded->held, r->pool->options.budget);
    struct str piece = str_head(buf_str(&held), coded->held_body);
    struct str rest = str_from(buf_str(&held), coded->held_body);
    if (coded_body(r, piece, rest))
        answer_parse(r, rest);
    buf_fini(&held);
}
