/* SPDX-License-Identifier: MIT */
/*
 * The files of a database: its folder, who may have it, and where it goes when it cannot be used.
 * Errors are SYSTEM, with words for users; errno says why afterwards, 0 where it was not the
 * system's doing.
 */
#pragma once

#include "base/error.h"

enum { STORE_FILE_PATH_MAX = 1024 };

/* False only where there surely is nothing of that name. */
bool store_file_is_there(const char *path);
/* Makes the folder and those above it where they are missing, for this user only. */
NODISCARD enum error_code store_file_folder(const char *path, struct error *e);
/* Takes the lock file: nobody else gets it until the descriptor is closed or the process has ended.
 * The file stays. One that is there is taken also where nothing can be written. */
NODISCARD enum error_code store_file_lock(const char *path, int *ret_fd, struct error *e);
/* Makes an empty database where there is none; for this user only in any case. A log without its
 * database is set aside. */
NODISCARD enum error_code store_file_make(const char *path, int64_t now_ms, struct error *e);
/* Renames the database and what belongs to it to PATH.REASON-20260102T030405Z; no file is ever
 * overwritten. ret_name: the new one. */
NODISCARD enum error_code store_file_set_aside(const char *path, const char *reason, int64_t now_ms,
                                               char ret_name[STORE_FILE_PATH_MAX], struct error *e);
