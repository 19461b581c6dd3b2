/* SPDX-License-Identifier: MIT */
/*
 * The repository `file`: sessions in a database of SQLite, FOLDER/sessions.db.
 */
#pragma once

#include "state/session_store.h"

/* Makes the folder and the database where they are missing. One that is damaged or of a newer
 * program is set aside under another name, with a warning in the log, and an empty one takes its
 * place. CONFIG: it cannot be made or read, or another process has it; the detail says what to do.
 * Where that is the disk's state (full, read-only) it is opened later, and the store's trouble says
 * why. now_ms: wall clock. */
NODISCARD enum error_code store_sqlite_open(struct str folder, int64_t now_ms,
                                            struct session_store **ret_store, struct error *e);
