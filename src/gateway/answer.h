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
/* Header lines of the upstream's answer that go down, appended to out. */
void answer_headers_down(const struct exchange *x, const struct message *m, int64_t now_ms,
                         struct buf *out);
/* The status with which the protocol's clients know an error. */
int answer_status(const struct protocol *protocol, const struct error *e);
/* An error without an exchange (refused before admission). */
void answer_error(struct station *station, struct server_conn *client, const struct error *e,
                  const struct message *m);
