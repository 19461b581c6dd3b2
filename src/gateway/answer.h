/* SPDX-License-Identifier: MIT */
/* Heads of answers, and whole error answers. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct exchange;
struct message;
struct protocol;
struct server_conn;
struct station;

/* Queues the head of an answer. lines: further header lines. */
void answer_head(struct exchange *x, int status, struct str content_type, int64_t length);
/* The status with which the protocol's clients know an error. */
int answer_status(const struct protocol *protocol, const struct error *e);
/* An error without an exchange (refused before admission). */
void answer_error(struct station *station, struct server_conn *client, const struct error *e,
                  const struct message *m);
