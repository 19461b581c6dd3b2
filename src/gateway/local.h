/* SPDX-License-Identifier: MIT */
/* Backends inside this process. */
#pragma once

struct branch;
struct conn;
struct loop;
struct server;

/* A connection to a backend inside this process. */
struct conn *local_connect(struct server *local, struct loop *loop);
struct server *local_server_new(struct branch *branch);
