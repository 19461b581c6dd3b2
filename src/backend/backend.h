/* SPDX-License-Identifier: MIT */
/*
 * Backends: where a protocol is spoken to: URL, keys, key header, dialect.
 *
 * A vendor is one line in backends.def. A backend that speaks a known protocol needs no C at all:
 * `backends.NAME: {protocol, api_url, api_keys}` makes one. The set is made from a configuration
 * and immutable but for its counters.
 */
#pragma once

#include <stdatomic.h>

#include "backend/keyring.h"
#include "protocol/protocol.h"
#include "state/config.h"
#include "text/url.h"

/* How the key is sent. */
enum key_header {
    KEY_BEARER,        /* Authorization: Bearer K */
    KEY_X_API_KEY,     /* x-api-key: K */
    KEY_API_KEY,       /* api-key: K */
    KEY_X_GOOG_API_KEY /* x-goog-api-key: K */
};

/* How the answer of a backend inside this process begins. */
struct local_head {
    int status;
    int64_t wait_ms;       /* before it */
    int64_t length;        /* of the body, as it is declared; -1: not declared */
    int64_t retry_after_s; /* 0: not said */
    bool silent;           /* nothing ever comes, not even this */
};

/* What follows a piece of its body. */
enum local_move {
    LOCAL_MORE,   /* the next one, after a pause */
    LOCAL_END,    /* nothing: the answer is complete */
    LOCAL_CUT,    /* nothing: the connection breaks here */
    LOCAL_SILENT, /* nothing, and the connection stays */
};

/* A backend inside this process: a script of answers, pure like a protocol: the gateway gives it
 * the decoded request and sends what it makes over an in-memory connection, through the same
 * attempt code as any other. It speaks its line's protocol. */
struct local_backend {
    size_t state_size; /* zeroed per request, in the request arena */
    /* request is full. Fills the zeroed *ret_head; the beginning of the body, of an error all of
     * it, may go to out. Of an error (a status of 400 and above) nothing is asked of next. */
    void (*start)(void *state, const struct request *request, int64_t now_s, struct arena *arena,
                  struct buf *out, struct local_head *ret_head);
    /* The next piece of the body goes to out (a last one, too); *ret_wait_ms: pause after it. */
    enum local_move (*next)(void *state, struct buf *out, int64_t *ret_wait_ms);
    /* Nothing more is asked for; whenever start was called, also when the client has left. */
    void (*end)(void *state);
    const char *const *models; /* ids, ended by NULL; the first is the default */
};

/* What is counted of a backend, over all workers. */
struct backend_load {
    atomic_size_t connections; /* open ones */
    atomic_size_t busy;        /* of them, those with a request */
};

struct backend {
    struct str name;
    size_t place; /* in the set */
    size_t slot;  /* of the metric label: the place, until the gateway gives one by the name */
    const struct backend_config *config;
    const struct protocol *protocol; /* NULL only when not functional: not in this build */
    /* That the same URL speaks as well: its clients are served by it, as they came. NULL: none. */
    const struct protocol *also;
    bool also_counts;  /* OP_COUNT_TOKENS is asked of that one */
    struct str vendor; /* whose signatures it makes, and takes back */
    struct dialect dialect;
    const struct local_backend *local; /* NULL: a network backend */
    struct url url;                    /* base, with the version segment */
    struct str base_path;              /* "/v1": what wire.path is appended to */
    bool deployments;                  /* with the model between the two (backend_path) */
    struct str query;                  /* that every request has, "api-version=…"; null: none */
    struct str models_path;            /* of its list of models, with query; null: it has none */
    struct str authority;              /* Host header */
    enum key_header key_header;
    bool key_needed;
    bool functional;
    bool colon_names;
    bool slash_names;
    struct str default_model;  /* null: none known */
    atomic_bool usage_refused; /* it answered 400 to stream_options: never asked again */
    struct backend_load *load; /* own_load, or one that outlives the set (the gateway's) */
    struct backend_load own_load;
    /* Of its keys; with one nameless key where it has none. The twin's elsewhere; NULL there: who
     * uses that backend makes one. */
    struct keyring *keyring;
    const struct backend *twin; /* of one elsewhere: whose keys it has; NULL: it has none */
};

struct backend_set {
    struct config *config; /* a reference */
    struct backend *items;
    size_t n;
    struct backend *preferred; /* default_backend, else the first functional; NULL: none */
    struct arena arena;
};

/* CONFIG errors name the backend and place. */
NODISCARD enum error_code backend_set_new(struct config *config, struct backend_set **ret_set,
                                          struct error *e);
void backend_set_free(struct backend_set **set);
struct backend *backend_find(const struct backend_set *set, struct str name);
/* Whether the protocol is spoken with it: its own, or the one that it has as well. */
static inline bool backend_speaks(const struct backend *backend, const struct protocol *protocol)
{
    return protocol == backend->protocol || (protocol != NULL && protocol == backend->also);
}
/* Appends the path of a request to it: of a path below the API's base, "/chat/completions", and the
 * upstream's model, which some have in the path (null: none is known). Without the query. */
void backend_path_deployment(struct str path, struct str model, struct buf *out);
static inline void backend_path(const struct backend *backend, struct str path, struct str model,
                                struct buf *out)
{
    (void)buf_add(out, backend->base_path);
    if (UNLIKELY(backend->deployments))
        backend_path_deployment(path, model, out);
    (void)buf_add(out, path);
}
/* Appends what the query of every request to it has. first: there is no query yet. */
static inline void backend_path_query(const struct backend *backend, bool first, struct buf *out)
{
    if (LIKELY(str_is_null(backend->query)))
        return;
    (void)buf_add_char(out, first ? '?' : '&');
    (void)buf_add(out, backend->query);
}

/* Whether it is OpenAI by its type, or without one by its name: openai-url holds for it. */
bool backend_is_openai(const struct backend *backend);
/* The backend as it is spoken to at another URL (openai-url; checked by state/url_door before): its
 * name, protocol, dialect, time-outs and counts, not its keys, headers and trust. Those are of
 * ret_backend->twin, a backend of the set, the same perhaps, whose URL has just this scheme, host
 * and port and whose protocol is the same; NULL: there is none, no key goes there, and the top
 * level says what is trusted. Texts are the arena's, or the set's, which must outlive it. CONFIG:
 * the URL. */
NODISCARD enum error_code backend_elsewhere(const struct backend_set *set,
                                            const struct backend *backend, struct str url,
                                            struct arena *arena, struct backend *ret_backend,
                                            struct error *e);
/* Checks every backend of a configuration without keeping anything: faults and warnings as lines
 * for the report of config_read's caller ("config.yaml:12:3: error: …"); returns how many faults.
 * Warned of: backends that are not functional, and why; keys of another shape than the vendor's. */
size_t backend_check(const struct config *config, struct arena *arena, struct buf *report);

/* The vendor whose line it is made by: its type, or its own name; null: it speaks the plain
 * protocol that it names. */
struct str backend_type(const struct backend *backend);
/* Why one is not functional, and what would help: "it has no key (set OPENAI_API_KEY)". */
struct str backend_why(const struct backend *backend, struct arena *arena);

/* Which backend and upstream model a client's model name means (contract, section 4):
 * "backend:model", "backend/model", or a model of `preferred`. model null: the backend's default.
 * The backend is functional. NO_BACKEND with the reason, UNKNOWN_BACKEND with the known names and
 * a hint, BAD_REQUEST for a prefix without a model where there is no default. *ret_model null:
 * leave as it is (absent); *ret_prefixed: the name carried a prefix that the upstream must not
 * see. */
NODISCARD enum error_code backend_resolve(const struct backend_set *set, struct str model,
                                          struct backend **ret_backend, struct str *ret_model,
                                          bool *ret_prefixed, struct error *e);

struct backend_choice {
    struct backend *backend;
    struct str model; /* as above */
    bool prefixed;
};
/* The same with another one in the place of set->preferred: a session's backend, the server's. It
 * may be NULL only when none is functional. */
NODISCARD enum error_code backend_resolve_for(const struct backend_set *set,
                                              struct backend *preferred, struct str model,
                                              struct backend_choice *ret_choice, struct error *e);
/* What follows on "Unknown backend: NAME": " (known: a, b); did you mean a?" */
void backend_resolve_known(const struct backend_set *set, struct str name, struct buf *out);
