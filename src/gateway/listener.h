/* SPDX-License-Identifier: MIT */
/* TLS on the port that clients come to (tls.cert, tls.key). */
#pragma once

#include "base/buf.h"
#include "io/conn.h"
#include "state/config.h"

/* The context of the files that the configuration names; NULL where it names none. CONFIG: a file
 * cannot be used; the detail names it. */
NODISCARD enum error_code listener_tls_new(const struct config *config,
                                           struct tls_context **ret_context, struct error *e);
/* The same without a context: faults go to report, a line each ("WHERE: error: …"), and a warning
 * where the certificate is not valid at now_ms (wall clock): it is used all the same. Returns the
 * number of faults. */
NODISCARD size_t listener_check(const struct config *config, int64_t now_ms, struct buf *report);
/* What a client gets that speaks HTTP without TLS. */
extern const struct str listener_plain_answer;
