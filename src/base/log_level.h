/* SPDX-License-Identifier: MIT */
#pragma once

/* The order is the order of importance. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };
