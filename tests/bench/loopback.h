/* SPDX-License-Identifier: MIT */
/* Blocking connections to 127.0.0.1, each step bounded by two seconds. */
#pragma once

#include <stdbool.h>

/* A connected socket with TCP_NODELAY, or -1. */
int loopback_connect(unsigned port);

/* Whether GET `path` is answered with 200. */
bool loopback_get(unsigned port, const char *path);

/* Whether the port can be bound now. */
bool loopback_is_free(unsigned port);
