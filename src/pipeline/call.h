/* SPDX-License-Identifier: MIT */
/*
 * A call: one client request as the stages see it. Not HTTP, not a wire format.
 *
 * struct call is embedded in the gateway's exchange, which makes it, drives the pipeline with it
 * and outlives it. Everything it points at is owned by the exchange unless said otherwise.
 */
#pragma once

#include "backend/backend.h"
#include "base/metric.h"
#include "canon/event.h"
#include "canon/request.h"
#include "state/config.h"
#include "state/session.h"

struct call;
struct pipeline_state;

/* What admission learned from the request's head. */
struct intake {
    const struct client_key *client; /* NULL: authentication is off, or the path needs none */
    struct str peer;                 /* address of the client */
    const struct protocol *protocol; /* the client's */
    enum operation operation;
    struct str method;          /* as it came */
    struct str path;            /* as it came, without the query */
    struct str rest;            /* of the path, for routes that end in '*' */
    struct str query;           /* of the path, null without one */
    struct str forward_headers; /* ready lines for an upstream of the same protocol */
    bool is_head;               /* method HEAD */
    /* Session ids in the head, in the order in which they count; null: none. */
    struct str session_header;   /* x-session-id */
    struct str session_cookie;   /* session_id */
    struct str session_agent;    /* what agents send by themselves */
    struct str session_previous; /* that made what previous_response_id names: counts behind what
                                  * the body says */
    struct session_scope scope;  /* whose sessions the client may see */
};

/* Larger bodies are looked into by call_ops.work. */
enum { CALL_WORK_BYTES = 256 * 1024 };

/* What stages cannot do by themselves; the gateway does it. */
struct call_ops {
    /* Commits a change of the session, or of the server's. True: it is in force, or has failed
     * (call->error). False: the stage is to WAIT; it is woken when it is, and call->error says
     * what came of it (a stage that replies takes it away). */
    bool (*commit)(struct call *call, struct session *session, const struct session_change *change);
    /* Runs work(call, arg) at once (true), or, for what would hold up the loop, in a thread
     * (false): then the stage is to WAIT, and is woken when it has been done. Meanwhile nobody else
     * touches the call. Work allocates from call->arena only (which in a thread is another one that
     * lives as long), and looks at nothing that is the worker's (metrics, models). When the client
     * leaves meanwhile, done hooks run after it, with call->arena NULL. */
    bool (*work)(struct call *call, void (*work)(struct call *call, void *arg), void *arg);
    /* What follows is work on commands, up to the end of the stages: its time is theirs. */
    void (*commands)(struct call *call);
    /* Of the list as it was last asked for; nothing is asked. SIZE_MAX: not known. */
    size_t (*models)(struct call *call, const struct backend *backend);
    /* 1: it is there, 0: it is not, -1: the list is not known. */
    int (*model_listed)(struct call *call, const struct backend *backend, struct str model);
};

/* Where a request is to go: resolve fills it, gateway/plan chooses from it for each attempt. */
struct plan_element {
    struct backend *backend;
    struct str model;   /* the upstream's name; null: leave the request's */
    struct steer steer; /* what settings and model_defaults ask, for this element */
};

enum { PLAN_ELEMENTS_MAX = 1 };

struct plan {
    struct plan_element elements[PLAN_ELEMENTS_MAX];
    size_t n;
};

struct call {
    struct intake intake;
    const struct config *config; /* the snapshot that the exchange began with */
    const struct call_ops *ops;
    struct sessions *sessions;
    struct session *session;         /* a reference, of the stage session; NULL before */
    const struct settings *settings; /* the session's, as this request is to be treated; a reference
                                      * or the command stage's draft, in the arena */
    struct str session_id;           /* for x-session-id; lives as long as the call */
    struct str request_id;           /* ours, ID_SIZE digits; lives as long as the call */
    int64_t now_ms;                  /* wall clock, when the request began */
    const char *version;
    const struct backend_set *backends;
    struct request request;
    struct plan plan;
    struct plan_element *element;    /* of the running attempt, NULL before */
    struct arena *arena;             /* the request's; gone after commit */
    struct metrics *metrics;         /* the worker's */
    struct error error;              /* set by whoever returns STOP */
    struct usage usage;              /* the last USAGE event's; -1 where unknown */
    struct str model_sent;           /* what the backend was asked for; lives as long as the call;
                                      * null: none was asked */
    bool answered;                   /* a stage replied by itself */
    bool succeeded;                  /* for done hooks: a backend answered, and no error; also where
                                      * the client left in the midst of it */
    struct pipeline_state *pipeline; /* stage states; lives as long as the call */
};
