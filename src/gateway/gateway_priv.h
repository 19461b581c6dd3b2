/* SPDX-License-Identifier: MIT */
/* What the files of this room share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/id.h"
#include "base/list.h"
#include "base/metric.h"
#include "canon/seal.h"
#include "gateway/attempt.h"
#include "gateway/body.h"
#include "gateway/branch.h"
#include "gateway/door.h"
#include "gateway/gateway.h"
#include "gateway/keys.h"
#include "gateway/large.h"
#include "gateway/ops.h"
#include "gateway/perf_recent.h"
#include "gateway/site.h"
#include "gateway/timing.h"
#include "http/client.h"
#include "http/server.h"
#include "io/conn.h"
#include "io/worker.h"
#include "pipeline/pipeline.h"

#define STATION_MAGIC  0x57a71042u
#define EXCHANGE_MAGIC 0xe8c4a26eu
#define BRANCH_MAGIC   0xb4a2c4e5u

struct checked;
struct conn_filter;
struct detours;
struct forward;
struct stored;
struct stored_ask;
struct exchange;
struct models;
struct opaque;
struct reasoning;
struct replies;
struct restore;
struct strikes;
struct unpack;
struct station;
struct vault;

/* What the values of the BACKEND label are called, and what is counted across sites. A name keeps
 * its slot as long as the process lives; the last slot is for all that the others have no room
 * for. Main adds (names first, then n), any thread reads. */
struct gateway_slots {
    const char *names[METRIC_SLOTS_BACKEND];
    struct backend_load loads[METRIC_SLOTS_BACKEND];
    atomic_size_t n;
    atomic_bool other; /* the last slot is in use */
    struct perf_faults faults;
    struct perf_recent recent;
};

struct gateway {
    struct site *site; /* the present one. Main's: a worker goes by its branch's */
    const struct gateway_route *routes;
    size_t routes_n;
    const char *version;
    struct arena arena; /* names and addresses. Main's */
    struct gateway_slots slots;
    /* What it was started with, and keeps. */
    struct str host;
    uint16_t port;
    int64_t port_wanted; /* 0: any */
    struct arena_budget inflight;
    struct strikes *strikes; /* wrong keys */
    struct replies *replies; /* responses that may be asked for again */
    struct detours *detours; /* answers of the proxy itself, to go on from */
    struct vault *vault;     /* reasoning that clients drop */
    struct seal seal;        /* of what goes through them */
    uint64_t owner_seed;     /* makes of a client's key the name of what is the client's */
    struct sessions *sessions;
    struct str repository; /* that it was started with, and its folder */
    struct str file_path;
    int64_t start_ms; /* wall clock */
    atomic_size_t connections;
    atomic_bool draining;
    atomic_size_t running;
    struct station *stations;
    size_t stations_n;
    struct worker **workers;        /* of the stations */
    bool one_listener;              /* the first worker listens for all */
    const struct metrics **metrics; /* of the stations */
};

/* What one worker has of one site. Its worker's alone. */
struct branch {
    uint32_t magic;
    struct list link; /* the station's branches */
    struct station *station;
    struct site *site;          /* a reference */
    struct client_pool **pools; /* per backend, made on first use */
    struct doors doors;         /* backends at other URLs */
    struct models *models;
    struct server *local; /* of the backends inside this process; made on first use */
    size_t users;         /* exchanges, and jobs that outlive theirs */
    bool retired;         /* another one has taken its place */
    struct deferred end;
};

/* One per worker. */
struct station {
    uint32_t magic;
    struct gateway *gateway;
    struct worker *worker;
    struct loop *loop;
    pthread_t thread;
    bool started;
    struct server *server;
    struct branch *branch;             /* the present one */
    struct list branches;              /* with those that still have exchanges */
    _Atomic(struct site *) next_site;  /* to be taken, with a reference; NULL: none */
    struct json_memory *memory;        /* how far bodies were read before */
    const struct stage *const *stages; /* pipeline_stages; tests have their own */
    size_t stages_n;
    struct id_source ids;
    struct metrics metrics;
    struct perf perf;
    struct buf out;       /* body bytes made in this turn for one answer */
    struct buf head;      /* header lines made in this turn */
    struct arena scratch; /* events of the frame being pushed */
    struct list exchanges;
    struct list free_exchanges;
    size_t free_n;
    bool stopping;
    bool aborted; /* what still ran was ended */
    bool ended;
    struct deferred end_check;
};

enum exchange_state {
#define NEXT_TO(name)                 0
#define STATE(name, what, successors) EXCHANGE_##name,
#include "gateway/exchange.def"
#undef STATE
#undef NEXT_TO
    EXCHANGE_STATE_COUNT
};

struct exchange {
    uint32_t magic;
    enum exchange_state state;
    struct list link;
    struct station *station;
    struct branch *branch;             /* that it began in */
    struct server_conn *client;        /* NULL: left */
    const struct gateway_route *route; /* NULL: the protocols' */
    struct call call;
    struct door *door; /* of openai-url; NULL: none was taken */
    struct attempt attempt;
    struct keys_use keys;
    char *body; /* the request's, in its arena, or in large */
    size_t body_n;
    size_t body_size;
    size_t body_hint;           /* its declared length */
    struct ops_commit *commit;  /* that a stage waits for; NULL: none */
    struct ops_work work;       /* of a stage, while it works */
    struct large *large;        /* the request's body has memory of its own; NULL: it has not */
    struct large *large_answer; /* a whole answer that is read, or written, in a job */
    struct frame *large_frame;  /* of it; NULL: none */
    bool large_changed;         /* by restore */
    bool large_encodes;         /* a job is to write it */
    struct arena answer;        /* decoder, encoder, stage states */
    void *decoder;
    void *encoder;
    struct checked *checked;         /* of debug builds; NULL: not checked */
    struct translation *translation; /* of the request; in the answer arena. NULL: none */
    struct restore *restore;         /* of the answer; NULL: nothing to do */
    struct reasoning *reasoning;     /* in the answer; NULL: it goes as it came */
    struct stored_ask *ask;          /* what a backend was asked of a response; NULL: nothing */
    struct stored *stored; /* what is remembered for the store of responses; NULL: nothing */
    struct str whole;      /* a whole body that goes out as it came; in HAND what is left of it */
    struct str model_sent; /* for the log; in the answer arena */
    struct str allow;      /* of a 405 and of OPTIONS */
    struct str origin;     /* of a web page that may read the answer; null: no page, or our own */
    struct str preflight;  /* lines of the answer to a preflight */
    struct unpack *unpack; /* of the request's body; NULL: it comes as it is */
    struct opaque *opaque; /* of an opaque path; NULL: it is none */
    struct embed *embed;   /* such a path that is translated; NULL: it is none */
    char id[ID_SIZE];
    struct timing timing;
    int64_t sent_us;  /* the attempt began */
    int64_t first_us; /* the first answer byte came */
    uint64_t bytes_up;
    uint64_t bytes_down;
    uint64_t frames;
    int status;   /* what the client got; 0: nothing yet */
    bool running; /* the driver is inside */
    bool body_complete;
    bool committed;
    bool released; /* the request arena was given back */
    bool error_event;
    bool lingers;         /* the client has left, a job that uses x's memory runs */
    bool works;           /* a job does a stage's work */
    bool settled;         /* what came of it is known to the stages */
    bool admitted;        /* its answer says the session */
    bool upstreams_error; /* the call's error is what the upstream said */
    bool estimate;        /* the backend cannot count tokens */
    bool estimated;       /* what the client gets was */
    bool terminated;      /* the upstream's end marker came */
    int error_status;     /* that it stands for; 0: unknown */
    int attempts;
    bool quiet; /* no line in the log: probes */
    uint8_t peer_n;
    char peer[56]; /* the client's address, for the log */
    bool taken_over;
    bool usage_added;        /* we asked for usage in the stream, the client did not */
    struct list models_link; /* among those that wait for the list of models */
};

/* exchange.c */
struct exchange *exchange_new(struct station *station, struct server_conn *client);
/* Runs the state machine until it sleeps or is over (then x is gone). */
void exchange_run(struct exchange *x);
void exchange_wake(void *x); /* the same, as a callback */
/* The client left, or the connection failed. x is gone. */
void exchange_gone(struct exchange *x);
/* The answer has left. x is gone. */
void exchange_done(struct exchange *x);
/* Answers with the error in x->call.error, or ends the stream with it. */
void exchange_fail(struct exchange *x);
/* Tells the stages what came of the call, once. For an error before the client has a byte of it:
 * who reads the error and asks again finds what it gave back (a one-off). */
void exchange_settle(struct exchange *x);
/* The client's protocol is spoken with the backend as well. */
static inline bool exchange_is_same(const struct exchange *x)
{
    return x->attempt.protocol == x->call.intake.protocol;
}
/* What decoding the client's request is to know. */
struct request_limits exchange_limits(const struct exchange *x);
/* Something to be told in x-llm-proxy-warnings ("CODE:NAME"). */
void exchange_warn(struct exchange *x, const char *code, struct str name);
void exchange_fail_starved(const struct exchange *x, struct error *e);
/* Whether an arena of x passed its cap; then *e says so. */
NODISCARD bool exchange_overflowed(const struct exchange *x, struct error *e);
/* Gives memory of the request back as soon as nothing needs it any more: what was made of a large
 * body when it was sent whole; all of it when the answer was committed as well (an eager upstream
 * answers before it has the request). */
void exchange_release(struct exchange *x);
void exchange_writable(struct exchange *x);

/* gateway.c */
/* Opens what is kept across requests, with what was prepared: scopes of keys, sessions. CONFIG. */
NODISCARD enum error_code gateway_open(struct gateway *gateway, struct error *e);

/* client_key.c */
/* Finds or makes the key (data_dir/client.key) where the configuration has none and authentication
 * is on. CONFIG: the file cannot be read or written. */
NODISCARD enum error_code client_key_prepare(struct site *site, struct error *e);

/* seal_key.c */
/* Finds or makes the key (data_dir/seal.key). CONFIG: the file cannot be read, or holds none. */
NODISCARD enum error_code seal_key_prepare(const struct config *config, struct seal *ret_seal,
                                           struct error *e);

/* station.c */
/* station: zeroed memory. Its first site is the gateway's. */
void station_init(struct station *station, struct gateway *gateway, struct loop *loop);
/* Everything must have ended (station->ended). Before the worker is freed. */
void station_fini(struct station *station);
/* The thread's main. */
void *station_main(void *station);
/* In the station's thread: no new connections, the rest ends in its own time. */
void station_stop(struct station *station);
/* In the station's thread, after station_stop: connections without a request end now. */
void station_close_idle(void *station);
extern const struct worker_events station_worker_events; /* ctx: the station */
/* In the station's thread: closes every connection at once. */
void station_abort(void *station);
/* In the station's thread: what begins from now on goes by station->next_site. */
void station_take_site(void *station);
/* A branch of it was freed. */
void station_branch_ended(struct station *station);
/* Asks the other workers to close idle connections to backends that have too many. */
void station_crowded(struct station *station);
