/* SPDX-License-Identifier: MIT */
/*
 * Bodies that are read and written in a job, with memory of their own. Who owns one (an exchange, a
 * built-in backend's request) starts a job, is told when it is over, and takes what came of it.
 */
#pragma once

#include "protocol/protocol.h"

struct branch;
struct call;
struct large;
struct reasoning_way;
struct restore;
struct server_conn;

enum {
    /* Bodies over it are read in a job (design.md, section 4). */
    LARGE_BYTES = 1024 * 1024,
    /* A body of unknown length leaves the connection's arena past it: growing there leaves what it
     * outgrew behind. */
    LARGE_MOVE_BYTES = 32 * 1024,
};

/* A job is over: what came of it is to be taken. Not after large_free. */
typedef void large_done_fn(void *ctx);
NODISCARD struct large *large_new(struct branch *branch, large_done_fn *done, void *ctx);
/* Takes NULL; nulls. A job that runs is abandoned; what it touches lives until it is over. */
void large_free(struct large **large);
/* A job runs. NULL: false. */
bool large_busy(const struct large *large);
/* The client has left while the job runs: takes its request arena. */
void large_lend(struct large *large, struct server_conn *client);
/* An arena of it passed its cap, or the budget. */
bool large_overflowed(const struct large *large);
bool large_over_budget(const struct large *large);

/* --- a request's body --- */

/* Room for `size` bytes, of which `used` are in use; size_max: what it may grow to by doubling.
 * Returns where the body is now, NULL when inflight_bytes_max is used up. */
char *large_room(struct large *large, size_t used, size_t size, size_t size_max);
size_t large_size(const struct large *large);
/* The body is complete. It may have moved: large_body. */
void large_body_end(struct large *large, size_t n);
struct str large_body(const struct large *large);

/* Starts to read the request. full: with its conversation. What limits point at lives as long as
 * the request arena. */
void large_read(struct large *large, const struct protocol *protocol,
                const struct request_limits *limits, bool full);
/* What was read, with the edits that *request has. It lives until large_let_go. */
NODISCARD enum error_code large_take_request(struct large *large, struct request *request,
                                             struct error *e);
/* Starts to write the upstream's request. full: its conversation is needed. Nobody else changes the
 * request arena meanwhile. */
void large_write(struct large *large, const struct request *request,
                 const struct reasoning_way *way, const struct protocol *upstream,
                 const struct encode_request *how, bool full);
/* The pieces live as long as large, or until the next large_write. */
NODISCARD enum error_code large_take_wire(struct large *large, struct request *request,
                                          struct wire *ret_wire, struct error *e);
/* What writing it noted; as long as the pieces. */
const struct translation *large_translation(const struct large *large);
/* Makes a request's body of what was read of the present one. */
struct large_maker {
    /* In a thread: appends the new body to *to, whose room is counted; nothing: it stays. */
    enum error_code (*make)(void *ctx, struct buf *to, struct error *e);
    /* In the loop, once, before `done`, also when the owner has ended: ctx is its own again. */
    void (*over)(void *ctx);
    void *ctx;
};
void large_make(struct large *large, const struct large_maker *maker, size_t bytes_max);
/* The body is what was made, and nothing was read of it. */
NODISCARD enum error_code large_take_made(struct large *large, struct error *e);
/* Does work(ctx) in a thread. */
void large_work(struct large *large, void (*work)(void *ctx), void *ctx);
/* What it is to allocate from; lives as long as large. */
struct arena *large_work_arena(struct large *large);
/* What was read is there (else large_read comes before large_write). */
bool large_is_read(const struct large *large);
/* The upstream has the request: all but the body, and the pieces that were sent, is given back.
 * call's request keeps only whether it streams, and its edits. */
void large_let_go(struct large *large, struct call *call);

/* --- a whole answer --- */

/* Takes the body out of *body, whose memory counts in inflight_bytes_max. */
void large_adopt(struct large *large, struct buf *body);
/* Starts to read it. how: its limits and the dialect, what it points at is copied. restore: puts
 * its events into the client's terms; NULL: nothing to do. */
void large_read_answer(struct large *large, const struct protocol *upstream,
                       const struct decoder_options *how, struct restore *restore);
/* Its one frame, NULL without one; alive until large_forget_events. */
NODISCARD enum error_code large_take_frame(struct large *large, struct frame **ret_frame,
                                           struct error *e);
/* Where its events may be changed: it lives as long as they do. */
struct arena *large_scratch(struct large *large);
/* Starts to write what the client gets of it: the frame that was taken, and the encoder's end.
 * Without a frame: what the encoder has collected before. The encoder, and the memory that it works
 * in, are the job's. bytes_max: of what comes out. */
void large_encode(struct large *large, const struct protocol *client, void *encoder,
                  const struct frame *frame, size_t bytes_max);
/* Lives as long as large. */
NODISCARD enum error_code large_take_encoded(struct large *large, struct str *ret_bytes,
                                             struct error *e);
/* Gives back all but the body. */
void large_forget_events(struct large *large);
/* Starts to look whether it is JSON at all (the body of an upstream's error). */
void large_check_json(struct large *large);
bool large_is_json(const struct large *large);
