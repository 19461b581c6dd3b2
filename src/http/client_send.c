/* SPDX-License-Identifier: MIT */
/*
 * Bodies that are not there whole when a request begins.
 *
 * What      Takes the rest of a body piece by piece, frames it, and says when there is room.
 * How       What the call had goes first. Then each piece goes to the conn at once, which copies
 *           what the kernel does not take; past its mark the user is to wait for `writable`. A
 *           piece that comes before its turn (the connection does not stand yet) is held: one at
 *           most, as the user then waits.
 *           Small pieces of one turn go together at its end: who sends a byte in each chunk would
 *           else cost a system call for each.
 *           As nothing of it can be sent again, the connection is one that nobody used before: none
 *           that the other side may be closing at this moment.
 *
 *           client_start ─► what the call had ─► held ─► pieces ─► end ─► SENT
 *
 * Owns      The piece that is held; the framing of what the call had lies in the call's arena.
 * Not here  Connecting, time-outs (client.c).
 */
#include "base/buf.h"
#include "base/mem.h"
#include "http/client_priv.h"

enum {
    FRAMING_MAX = 32,
    SMALL_MAX = 4 * 1024, /* below it a piece waits for others of its turn */
    SMALLS_MAX = 16 * 1024
};

struct client_upload {
    struct buf held;   /* framed */
    struct buf smalls; /* not framed; empty between turns */
    bool choked;       /* smalls that went at a turn's end were too much: the next piece is told */
    bool full;         /* the user waits for `writable` */
    bool ended;
};

static const struct str last_chunk = STR_INIT("0\r\n\r\n");

/* "1f40" CRLF, at the end of room. */
static struct str chunk_size(size_t n, char room[FRAMING_MAX])
{
    char *at = room + FRAMING_MAX;

    *--at = '\n';
    *--at = '\r';
    do {
        *--at = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    return str_of(at, (size_t)(room + FRAMING_MAX - at));
}

void client_send_begin(struct client_request *r)
{
    assert(r->upload == NULL);
    if (!r->call.more)
        return;
    r->upload = mem_new(sizeof(*r->upload));
    buf_init(&r->upload->held, CLIENT_SEND_MAX + 2 * FRAMING_MAX);
    buf_init(&r->upload->smalls, SMALLS_MAX);
}

void client_send_forget(struct client_request *r)
{
    if (r->upload == NULL)
        return;
    buf_fini(&r->upload->held);
    buf_fini(&r->upload->smalls);
    mem_free(r->upload);
    r->upload = NULL;
}

bool client_send_frame(struct client_call *call)
{
    size_t total = 0;

    assert(call->more || !call->chunked);
    for (size_t i = 0; i < call->body_n; i++)
        total += call->body[i].n;
    if (!call->chunked || total == 0)
        return true;
    struct str *parts = arena_array(call->arena, call->body_n + 2, sizeof(*parts));
    char *room = arena_alloc(call->arena, FRAMING_MAX);
    if (arena_overflowed(call->arena))
        return false;
    parts[0] = chunk_size(total, room);
    for (size_t i = 0; i < call->body_n; i++)
        parts[1 + i] = call->body[i];
    parts[1 + call->body_n] = STR("\r\n");
    call->body = parts;
    call->body_n += 2;
    return true;
}

bool client_send_is_kept(const struct client_request *r)
{
    return r->upload == NULL || r->part <= r->call.body_n;
}

bool client_send_waits(const struct client_request *r)
{
    return r->upload != NULL && r->state == CLIENT_SENDING && !r->upload->full &&
           !r->upload->ended && !r->refused;
}

bool client_send_go_on(struct client_request *r)
{
    struct client_upload *upload = r->upload;
    struct str held = STR_NULL;

    assert(r->state == CLIENT_SENDING);
    if (upload == NULL)
        return true;
    if (upload->held.n > 0) {
        held = buf_str(&upload->held);
        bool full = conn_write(r->conn, &held, 1) == CONN_FULL;
        buf_fini(&upload->held);
        if (full && !upload->ended)
            return false;
    }
    if (upload->ended)
        return true;
    upload->choked = false;
    if (upload->full) {
        assert(r->in_event);
        upload->full = false;
        r->call.events->writable(r, r->call.ctx);
    }
    return false;
}

/* The smalls and the piece as they go to the wire. Returns how many parts. */
static size_t frame(const struct client_request *r, struct str bytes, char room[FRAMING_MAX],
                    struct str parts[5])
{
    struct str smalls = buf_str(&r->upload->smalls);
    size_t total = smalls.n + bytes.n;
    bool chunked = r->call.chunked;
    size_t n = 0;

    if (chunked && total > 0)
        parts[n++] = chunk_size(total, room);
    if (smalls.n > 0)
        parts[n++] = smalls;
    if (bytes.n > 0)
        parts[n++] = bytes;
    if (chunked && total > 0)
        parts[n++] = STR("\r\n");
    if (chunked && r->upload->ended)
        parts[n++] = last_chunk;
    return n;
}

/* It is not its turn yet. */
static void hold(struct client_upload *upload, const struct str *parts, size_t n)
{
    bool held = upload->held.n == 0;

    for (size_t i = 0; i < n; i++)
        held = buf_add(&upload->held, parts[i]) && held;
    assert(held); /* one piece */
}

/* With what waits. True: that is enough for now. */
static bool give(struct client_request *r, struct str bytes)
{
    char room[FRAMING_MAX];
    struct str parts[5];
    size_t n = frame(r, bytes, room, parts);

    bool full = n > 0 && conn_write(r->conn, parts, n) == CONN_FULL;
    buf_fini(&r->upload->smalls);
    return full;
}

void client_send_flush(struct client_request *r)
{
    struct client_upload *upload = r->upload;

    if (upload == NULL || upload->smalls.n == 0 || r->state != CLIENT_SENDING)
        return;
    if (r->refused)
        buf_fini(&upload->smalls);
    else
        upload->choked = give(r, STR(""));
}

/* Whether the piece waits for the turn's end. */
static bool gather(struct client_request *r, struct str bytes)
{
    struct client_upload *upload = r->upload;

    if (upload->choked || bytes.n >= SMALL_MAX || upload->smalls.n + bytes.n > SMALLS_MAX)
        return false;
    if (upload->smalls.n == 0)
        client_run_soon(r);
    bool ok = buf_add(&upload->smalls, bytes);
    assert(ok);
    return true;
}

enum client_push client_send(struct client_request *r, struct str bytes, bool end)
{
    struct client_upload *upload = r->upload;

    client_check(r);
    if (r->state != CLIENT_CONNECTING && r->state != CLIENT_SENDING)
        return CLIENT_OK; /* in its last event: nobody wants it any more */
    assert(upload != NULL && !upload->ended && !upload->full);
    assert(bytes.n <= CLIENT_SEND_MAX);
    upload->ended = end;
    if (r->refused)
        return CLIENT_OK;
    r->read_ms = loop_now_ms(r->pool->loop);
    if (client_send_is_kept(r)) {
        char room[FRAMING_MAX];
        struct str parts[5];
        hold(upload, parts, frame(r, bytes, room, parts));
        upload->full = bytes.n > 0 && !end;
        return upload->full ? CLIENT_FULL : CLIENT_OK;
    }
    if (!end && gather(r, bytes))
        return CLIENT_OK;
    bool full = give(r, bytes);
    if (end) {
        client_sent(r);
        return CLIENT_OK;
    }
    upload->full = full;
    return full ? CLIENT_FULL : CLIENT_OK;
}
