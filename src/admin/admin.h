/* SPDX-License-Identifier: MIT */
/* What operators ask the program about itself: health, metrics. Reads only; never in the data
 * path. main registers these routes with the gateway. */
#pragma once

#include "gateway/gateway.h"

extern const struct gateway_route admin_routes[];
extern const size_t admin_routes_n;
/* Resident memory in bytes; 0 where the system does not tell it this way. */
long long admin_resident_bytes(void);
