/* SPDX-License-Identifier: MIT */
/*
 * The gateway: joins HTTP and the pipeline. One struct gateway a process, one station a worker.
 *
 * Threads   gateway_new/start/reload/drain/abort/free, and what reads the present configuration,
 *           are main's. Routes on workers read the site they are given, and of the gateway what is
 *           immutable after start or atomic; stations are touched by their own thread only.
 */
#pragma once

#include "backend/backend.h"
#include "base/metric.h"
#include "gateway/perf_recent.h"
#include "state/session.h"

struct branch;
struct gateway;
struct site;

enum gateway_access {
    ACCESS_OPEN,   /* no key */
    ACCESS_CLIENT, /* any client key */
    ACCESS_ADMIN   /* an admin's; 403 for other clients */
};

/* What a route is asked, and by whom. Borrowed for the call. */
struct gateway_ask {
    const struct gateway *gateway;
    const struct site *site;         /* that the request began with (gateway/site.h) */
    const struct client_key *client; /* NULL: authentication is off, or the route needs none */
    bool is_admin;                   /* an admin's key, or authentication is off */
    struct session_scope scope;      /* whose sessions the client may see */
    struct str method;               /* of the route's; GET also for HEAD */
    struct str rest;                 /* what the path's '*' took, percent-decoded */
    struct str query;                /* null without one */
    int64_t now_ms;                  /* wall clock */
    int64_t mono_ms;                 /* the clock of keys that cool */
    const struct branch *branch;     /* the worker's, for gateway_models */
    struct arena *arena;             /* the request's */
};

/* A path outside the protocols (health, metrics, sessions). answer appends the body to out and
 * returns the HTTP status (204: without a body), or 0 when *e is the answer; it runs on any worker
 * and must not block. HEAD comes with GET. */
struct gateway_route {
    const char *path;    /* ends in '*': the rest of the path, one segment, not empty */
    const char *methods; /* "GET, DELETE"; NULL: GET */
    enum gateway_access access;
    bool public_by_metrics; /* open where metrics_public is set */
    const char *content_type;
    int (*answer)(const struct gateway_ask *ask, struct buf *out, struct error *e);
};

struct gateway_options {
    struct config *config;        /* a reference is taken */
    struct backend_set *backends; /* owned by the gateway from now on */
    const struct gateway_route *routes;
    size_t routes_n;
    const char *version;
    bool one_listener; /* as where the kernel does not balance listeners; for tests */
};

NODISCARD struct gateway *gateway_new(const struct gateway_options *options);
/* Finds or makes the client key (data_dir/client.key, mode 0600) where the configuration has none
 * and authentication is on. CONFIG: the file cannot be read or written. */
NODISCARD enum error_code gateway_client_key(struct gateway *gateway, struct error *e);
/* Opens what is kept, binds and starts the workers. SYSTEM: the port is in use, and so on. CONFIG:
 * a file of what is kept cannot be used. */
NODISCARD enum error_code gateway_start(struct gateway *gateway, struct error *e);
/* Another configuration takes the place of the present one: requests that begin from now on go by
 * it, those that run keep the one they began with. *backends: made of it, taken over and nulled in
 * any case. What cannot change while the program runs stays as it was, and is named in *restart
 * ("port, workers"). On an error everything stays as it was. CONFIG: a file that it names has a
 * fault, or it must not be taken over while the program runs. DRAINING. */
NODISCARD enum error_code gateway_reload(struct gateway *gateway, struct config *config,
                                         struct backend_set **backends, struct buf *restart,
                                         struct error *e);
/* Whether a worker has not taken the new one yet: it does between two turns of its loop. */
bool gateway_reloading(const struct gateway *gateway);
/* Listeners close, running exchanges finish; connections that are open stay so for one more
 * request, which gets 503. */
void gateway_drain(struct gateway *gateway);
/* Whether no exchange runs in any worker, at a glance: one may just begin. */
bool gateway_quiet(const struct gateway *gateway);
/* After gateway_drain: connections without a request close. With them the workers end. */
void gateway_close_idle(struct gateway *gateway);
/* Ends what is still running. */
void gateway_abort(struct gateway *gateway);
/* Workers that have not ended. */
size_t gateway_running(const struct gateway *gateway);
/* Waits for the workers (after drain or abort) and frees. Nulls; takes NULL. */
void gateway_free(struct gateway **gateway);

/* What the banner reads: of the present site. Main's. */
const struct config *gateway_config(const struct gateway *gateway);
const struct backend_set *gateway_backends(const struct gateway *gateway);
/* The generated client key, or the only configured one; empty when there are several or none. */
const struct secret *gateway_only_key(const struct gateway *gateway);
/* Whether the key was made by gateway_client_key, and the file it is in. */
bool gateway_key_generated(const struct gateway *gateway);
struct str gateway_key_path(const struct gateway *gateway);

/* Any thread. */
const char *gateway_version(const struct gateway *gateway);
bool gateway_draining(const struct gateway *gateway);
struct sessions *gateway_sessions(const struct gateway *gateway);
/* False: there is none of that id. What the id of the proxy's own answers meant in it goes too. */
bool gateway_forget_session(const struct gateway_ask *ask, const struct session_scope *scope,
                            struct str id);
uint16_t gateway_port(const struct gateway *gateway);
struct str gateway_host(const struct gateway *gateway);
/* now_ms: monotonic. */
void gateway_metrics(const struct gateway *gateway, const struct site *site, int64_t now_ms,
                     struct buf *out);
/* When the process began, wall clock. */
int64_t gateway_start_ms(const struct gateway *gateway);
/* What a slot of the BACKEND label is called; NULL: it is not in use. */
const char *gateway_slot_name(const struct gateway *gateway, size_t slot);
/* What all workers have observed (gateway/perf.h), added to *sum: since a minute (perf_recent.h),
 * or since the start. */
enum { GATEWAY_START = -1 };
void gateway_perf(const struct gateway *gateway, size_t slot, size_t measure, int64_t minute,
                  struct histogram_sum *sum);
uint64_t gateway_perf_count(const struct gateway *gateway, size_t slot, enum perf_outcome outcome,
                            int64_t minute);
/* Requests sent to the backends of a slot. */
int64_t gateway_attempts(const struct gateway *gateway, size_t slot);
/* What went wrong last with the backends of a slot. */
void gateway_fault(const struct gateway *gateway, size_t slot, struct perf_fault *ret_fault);
/* How many models the backend's list has; SIZE_MAX: it is not known (nothing is asked). */
size_t gateway_models(const struct gateway_ask *ask, const struct backend *backend);
