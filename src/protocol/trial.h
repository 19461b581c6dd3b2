/* SPDX-License-Identifier: MIT */
/*
 * Answers run through a protocol's decoder and another's encoder, with everything kept: the frame
 * of tests and fuzzers. Nothing of it is in the program.
 */
#pragma once

#include "protocol/protocol.h"

struct trial {
    const struct protocol *protocol; /* the upstream's; NULL of events that were only read */
    struct arena arena;              /* of all below */
    void *decoder;                   /* as its _fini left it: for its counters */
    struct frame *frames;            /* copies, with copies of their events */
    size_t n;
    size_t size;
    struct error error; /* how decoding ended */
};

struct trial_cuts {
    bool stream;                    /* false: a whole body */
    bool array;                     /* the stream is a JSON array */
    size_t step;                    /* bytes given at once; 0: all */
    size_t at;                      /* not 0: one cut there, and step is nothing */
    uint64_t seed;                  /* not 0: 1 to step bytes at once */
    void (*prepare)(void *decoder); /* called before the first byte; NULL: nothing */
    const struct dialect *dialect;  /* NULL: the plain protocol */
    bool mend;
};

/* error.code says whether the answer was complete. The trial is to be given to _fini. */
void trial_decode(struct trial *trial, const struct protocol *protocol, struct str bytes,
                  const struct trial_cuts *cuts);
/* Instead of decoding: events as canon/dump writes them, a line each, a frame each. The trial is to
 * be given to _fini also on an error, which is of the line that cannot be read. */
NODISCARD enum error_code trial_read(struct trial *trial, struct str lines, struct error *e);
void trial_fini(struct trial *trial);

/* Whether the events obey canon/check; else why. */
NODISCARD bool trial_check(const struct trial *trial, struct error *ret_why);
/* Whether the frames' raw bytes are those that came. */
bool trial_is_raw(const struct trial *trial, struct str bytes);
bool trial_has(const struct trial *trial, enum event_kind kind);
/* All frames: what they are, and their events. */
void trial_dump(const struct trial *trial, struct buf *out);
/* Their events alone, a line each. */
void trial_events(const struct trial *trial, struct buf *out);
/* What the answer says (canon/digest). */
void trial_digest(const struct trial *trial, bool usage, struct buf *out);

/* From that frame on all are marked as changed by a stage; SIZE_MAX: none is. */
void trial_change_from(struct trial *trial, size_t from);
/* The bytes for a client of protocol. What options leave open of id, model, now_s and bytes_max is
 * filled in; the arena always. encoder_end is called when the answer was complete. */
NODISCARD enum error_code trial_encode(const struct trial *trial, const struct protocol *protocol,
                                       const struct encoder_options *options, struct buf *out,
                                       struct error *e);
/* The protocol's checker over bytes, in one piece and, where they are few, byte by byte: OK, or the
 * first violation. */
NODISCARD enum error_code trial_lint(const struct protocol *protocol, struct str bytes, bool stream,
                                     struct error *e);

/* The frames' bytes, as a client in raw mode gets them. */
void trial_raw(const struct trial *trial, struct buf *out);

/* What holds for whatever an upstream sends: the events are legal, raw frames are the bytes that
 * came (but for mends: those say the same and need no other), no cut changes anything; what is
 * complete and written anew passes the checker, streamed and whole, and is read again. OK, or
 * INTERNAL with what does not hold. */
NODISCARD enum error_code trial_laws(const struct protocol *protocol, struct str bytes,
                                     const struct trial_cuts *how, struct error *e);
