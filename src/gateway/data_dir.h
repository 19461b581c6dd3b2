/* SPDX-License-Identifier: MIT */
/* Small files that the program keeps in data_dir: one line each, for nobody but its user. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

/* The folder, with those above it (0700). CONFIG. */
NODISCARD enum error_code data_dir_make(const char *path, struct error *e);
/* The file's line, without blanks around it; *ret_n 0: there is no file. *ret_open: others can read
 * it. CONFIG: it cannot be read, or is longer than size allows. */
NODISCARD enum error_code data_dir_read(const char *path, char *text, size_t size, size_t *ret_n,
                                        bool *ret_open, struct error *e);
/* Makes the file (0600), whole or not at all. One that is there stays: *ret_made false. CONFIG. */
NODISCARD enum error_code data_dir_write(const char *path, struct str line, bool *ret_made,
                                         struct error *e);
