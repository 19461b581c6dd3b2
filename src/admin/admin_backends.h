/* SPDX-License-Identifier: MIT */
/* GET /v2/backends. */
#pragma once

#include "gateway/gateway.h"

int admin_backends(const struct gateway_ask *ask, struct buf *out, struct error *e);
