/* SPDX-License-Identifier: MIT */
/* GET /v2/sessions, GET and DELETE /v2/sessions/{id}. */
#pragma once

#include "gateway/gateway.h"

int admin_sessions_list(const struct gateway_ask *ask, struct buf *out, struct error *e);
int admin_sessions_one(const struct gateway_ask *ask, struct buf *out, struct error *e);
