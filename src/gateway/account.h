/* SPDX-License-Identifier: MIT */
/*
 * What an exchange was, for the log and for the metrics: told and counted once, at its end.
 */
#pragma once

#include "gateway/gateway_priv.h"

/* Its wide line, and with logging.response_logging the short one. left: by its client, before the
 * answer was whole. */
void account_tell(const struct exchange *x, bool left);
/* Its metrics, and its backend's percentiles. */
void account_count(struct exchange *x, bool left);
