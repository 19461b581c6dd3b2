/* SPDX-License-Identifier: MIT */
/*
 * Doors: a backend at the URL that a session has set in the place of its own (openai-url).
 *
 * They are a branch's: made on first use, kept with their connections for others that ask for the
 * same, and at most DOORS_MAX of them: then the one that nobody uses and nobody has used for
 * longest goes.
 */
#pragma once

#include "backend/backend.h"
#include "base/list.h"
#include "io/loop.h"

struct branch;
struct client_pool;
struct door;

enum { DOORS_MAX = 32 };

/* In struct branch. */
struct doors {
    struct list all;  /* the last used first */
    struct list gone; /* to be freed at the end of the turn */
    size_t n;         /* of all */
    struct deferred sweep;
};

void door_table_init(struct doors *doors);
/* Nobody uses one any more. */
void door_table_free(struct doors *doors);
/* As client_pool_drain and client_pool_trim, of all. */
void door_table_drain(struct doors *doors);
void door_table_trim(struct doors *doors);

/* The door of a backend to that URL, until door_leave. FORBIDDEN: the configuration does not
 * allow it (url_door). OVERLOADED: all are in use. CONFIG. */
NODISCARD enum error_code door_take(struct branch *branch, const struct backend *backend,
                                    struct str url, struct door **ret_door, struct error *e);
/* Nulls; takes NULL. No request of it runs any more. */
void door_leave(struct door **door);
/* The backend there; lives as long as the door is taken. */
struct backend *door_backend(struct door *door);
/* Its pool, which connects only to addresses that url_door admits. */
struct client_pool *door_pool(const struct door *door);
