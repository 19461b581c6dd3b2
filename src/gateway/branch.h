/* SPDX-License-Identifier: MIT */
/* What one worker has of one site: its pools, its list of models; freed with its last exchange. */
#pragma once

#include "base/error.h"

struct backend;
struct branch;
struct client_pool;
struct conn_filter;
struct forward;
struct site;
struct station;
struct tls_context;

/* The reference on site is taken over. */
struct branch *branch_new(struct station *station, struct site *site);
/* An exchange, or a job of one, begins in it, and is over. */
struct branch *branch_enter(struct branch *branch);
void branch_leave(struct branch *branch);
/* Nothing new begins in it; it is freed when the last exchange has left, at the end of a turn. */
void branch_retire(struct branch *branch);
void branch_check_end(struct branch *branch);
/* The worker stops: whoever waits for lists of models waits no longer, pools are drained. */
void branch_stop(struct branch *branch);
/* At once, where nothing ever ran in it. */
void branch_free(struct branch *branch);
/* Closes idle connections where a backend has too many. */
void branch_trim(struct branch *branch);
/* The pool of a backend of its site, made on first use. CONFIG: its TLS cannot be set up. */
NODISCARD enum error_code branch_pool(struct branch *branch, struct backend *backend,
                                      struct client_pool **ret_pool, struct error *e);

/* A pool of a backend of its site, or of one at another URL. forward is taken over. */
struct client_pool *branch_pool_new(struct branch *branch, const struct backend *backend,
                                    struct tls_context *tls, struct forward *forward,
                                    const struct conn_filter *filter);
