/* SPDX-License-Identifier: MIT */
/*
 * Opaque paths: what goes to a backend, and comes from it, as it is (contract, section 2). The
 * parts of an exchange that differ for them; exchange.c moves it, as any other.
 */
#pragma once

#include "gateway/gateway_priv.h"

struct opaque;

/* Whether the path may be one; then what of the head is needed is kept, and the intake filled: x is
 * an opaque exchange from now on. Before the client's body may come. */
NODISCARD bool opaque_admit(struct exchange *x, const struct message *m);
/* The methods that such a path has, for Allow. */
struct str opaque_methods(void);
/* Whether errors of the path go to a client of Anthropic's. */
bool opaque_is_anthropic(const struct message *m);

/* A piece of the request's body, decoded, and its end. */
void opaque_body(struct exchange *x, struct str bytes);
void opaque_body_end(struct exchange *x);
/* Its body waits until the upstream takes more. */
bool opaque_is_paused(const struct exchange *x);
/* All of the body is kept: it may be sent again (opaque_start). */
bool opaque_is_whole(const struct exchange *x);
/* Its path is of none that models work for: files and batches belong to a key, the first one
 * always. */
bool opaque_has_first_key(const struct exchange *x);
/* BODY: whether enough of the body is there to go on: all of it, or all that is looked into. */
bool opaque_is_ready(const struct exchange *x);
/* Looks for the model: fills the call's request. */
NODISCARD enum error_code opaque_look(struct exchange *x, struct error *e);
/* Before plan_next: whether the backend has such paths at all. NOT_FOUND: it has not. */
NODISCARD enum error_code opaque_plan(struct exchange *x, struct error *e);
/* Starts the attempt that plan_next chose. */
NODISCARD enum error_code opaque_start(struct exchange *x, struct error *e);
/* The step of OPAQUE. */
enum exchange_state opaque_run(struct exchange *x);
/* Header lines of the upstream's answer (m) that go down besides those that always do. */
bool opaque_goes_down(const struct message *m, struct str name);
/* Takes NULL; nulls. */
void opaque_free(struct opaque **opaque);
