/* SPDX-License-Identifier: MIT */
/* Admission: from a request's head alone. */
#pragma once

#include "base/error.h"

struct exchange;
struct gateway_route;
struct message;
struct protocol;

/* The protocol whose errors a client expects that asks for this. */
const struct protocol *admit_shape(const struct message *m);
/* Route, key, limits. ERR_*: what the client is to be told. On OK the intake is filled.
 * *ret_route: a path outside the protocols. */
NODISCARD enum error_code admit(struct exchange *x, const struct message *m,
                                const struct gateway_route **ret_route, struct error *e);
