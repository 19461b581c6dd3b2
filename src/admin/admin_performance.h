/* SPDX-License-Identifier: MIT */
/* GET /v2/performance. */
#pragma once

#include "gateway/gateway.h"

int admin_performance(const struct gateway_ask *ask, struct buf *out, struct error *e);
/* {"count","p50","p90","p99"} of a measure of a slot's, in milliseconds; sum: room to work in. */
void admin_performance_one(const struct gateway *gateway, size_t slot, size_t measure,
                           struct histogram_sum *sum, struct buf *out);
