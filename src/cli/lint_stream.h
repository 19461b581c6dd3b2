/* SPDX-License-Identifier: MIT */
/*
 * llm-proxy lint-stream --protocol NAME [--whole] [--array] [CAPTURE…] (none: the standard input)
 *
 * Checks an answer, as a client got it, against the grammar of its protocol.
 */
#pragma once

#include <stdio.h>

enum { LINT_STREAM_OK = 0, LINT_STREAM_VIOLATION = 1, LINT_STREAM_USAGE = 2 };

/* argv: what stands behind the command's name. What was found ("line N: …") goes to out, why
 * nothing could be checked to err. Returns the exit code. Blocks. */
int lint_stream_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err);
