/* SPDX-License-Identifier: MIT */
/*
 * Keyrings: the keys of a backend as they are used. Which one an attempt takes, which cool down
 * (429), which were refused (401, 403), what runs with each, what it said last, how fast it is.
 *
 * A ring belongs to a backend of a set; the keys on it are shared: with the ring of another
 * configuration (keyring_adopt), so that a key which cools does so across reloads, and with the
 * same backend at another URL of the same host. All workers use a ring at once: choosing takes no
 * lock. A backend without keys has a ring of one key, which has no name.
 *
 * Times are monotonic (loop_now_ms: one clock for all workers). Nothing here holds a secret: a key
 * is known by a digest.
 */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "state/config.h"

enum {
    KEYRING_KEYS_MAX = 64,                      /* of a backend; a bit of `tried` each */
    KEYRING_TEXT_SIZE = 160,                    /* of what it said last */
    KEYRING_COOL_MS = 60000,                    /* where the upstream names no time */
    KEYRING_COOL_MS_MAX = 7 * 24 * 3600 * 1000, /* whatever it names */
};

#define KEYRING_NONE SIZE_MAX /* no key */

/* Which key a request takes. */
enum keyring_policy {
    KEYRING_STICKY, /* a session's own; new sessions, and requests without one, take the next */
    KEYRING_ROUND_ROBIN, /* the next one */
    KEYRING_FAILOVER,    /* the first that works */
    KEYRING_LEAST_USED   /* with the fewest requests in flight, then in all */
};

/* What came of a request, as far as its key is concerned. */
enum keyring_outcome {
    KEYRING_WORKED,  /* it was taken: an answer, or an error that is the request's own fault */
    KEYRING_LIMITED, /* too many, too much (429): it cools */
    KEYRING_REFUSED, /* the key is none (401, 403): it is skipped while another one works */
    KEYRING_FAILED,  /* no fault of the key: unreachable, broken off, the server's error */
    KEYRING_UNKNOWN  /* the client left before anything was known */
};

struct keyring_result {
    enum keyring_outcome outcome;
    int status;         /* of the answer; 0: none came */
    int64_t wait_ms;    /* LIMITED: how long it cools; -1: the upstream did not say */
    int64_t limit;      /* LIMITED: the limit that it named; -1: none */
    int64_t latency_us; /* from the attempt's begin to the answer's head; -1: none came */
    const char *text;   /* LIMITED, REFUSED, FAILED: why, without secrets; NULL: nothing to say */
};

struct keyring_key; /* shared */

/* Read it through the functions below. */
struct keyring {
    enum keyring_policy policy;
    uint32_t id; /* of the backend's name, for sessions */
    size_t n;    /* at least 1 */
    atomic_size_t turn;
    struct keyring_key *keys[KEYRING_KEYS_MAX]; /* a reference each */
};

/* In memory of the caller's; config has at most KEYRING_KEYS_MAX keys. */
void keyring_init(struct keyring *ring, const struct backend_config *config);
/* Nothing runs with its keys that came by this ring. */
void keyring_fini(struct keyring *ring);
/* Before the ring is used: keys that the other one has as well (the backend's name, the key's and
 * the key itself are the same) go on as what they are there. */
void keyring_adopt(struct keyring *ring, struct keyring *before);

struct keyring_ask {
    int64_t now_ms;
    uint64_t tried; /* bits of those that the exchange has tried already */
    size_t last;    /* the one that it tried last, when there is one */
    size_t hint;    /* the session's; KEYRING_NONE: it has none */
};

/* The key for the next attempt, by the policy: of those that neither cool nor were refused; where
 * all were refused, of those. None that the exchange has tried. KEYRING_NONE: none is left;
 * *ret_wait_ms: how long until the first of those that cool may be used (tried or not); -1: none
 * cools. */
NODISCARD size_t keyring_choose(struct keyring *ring, const struct keyring_ask *ask,
                                int64_t *ret_wait_ms);
/* The first that neither cools nor was refused; else the first. For what is no request of a model:
 * nothing is counted. */
size_t keyring_first(const struct keyring *ring, int64_t now_ms);
/* How long this one still cools; 0: it does not. */
int64_t keyring_wait_ms(const struct keyring *ring, size_t index, int64_t now_ms);
/* One that cools and was not refused: it works a moment later. */
bool keyring_recovers(const struct keyring *ring, int64_t now_ms);
/* The limit that one which cools has named; -1: none has. */
int64_t keyring_limit(const struct keyring *ring, int64_t now_ms);
/* How many cool. */
size_t keyring_cooling(const struct keyring *ring, int64_t now_ms);

/* An attempt with the key begins. */
void keyring_begin(struct keyring *ring, size_t index);
/* It is over. Exactly once for each begin. */
void keyring_done(struct keyring *ring, size_t index, const struct keyring_result *result,
                  int64_t now_ms);

/* What a session remembers of a key; never 0. */
uint32_t keyring_key_id(const struct keyring *ring, size_t index);
/* KEYRING_NONE: there is none of that id (any more). */
size_t keyring_find(const struct keyring *ring, uint32_t id);

/* For operators (GET /v2/backends). Any thread. */
struct keyring_view {
    int64_t cooling_ms;   /* that are left; 0: it does not cool */
    bool invalid;         /* it was refused, and has not worked since */
    int64_t in_flight;    /* requests, now */
    int64_t uses;         /* attempts, in all */
    int64_t latency_us;   /* to the head of an answer, the average of the latest; -1: none came */
    int64_t error_age_ms; /* since its last error; -1: it had none */
    int error_status;     /* of that; 0: no answer came */
    char error[KEYRING_TEXT_SIZE]; /* "The backend's rate limit is exceeded"; no secrets in it */
};
/* Names are the configuration's (backend->config->keys[index].name). */
void keyring_view(const struct keyring *ring, size_t index, int64_t now_ms,
                  struct keyring_view *ret_view);
