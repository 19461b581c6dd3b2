/* SPDX-License-Identifier: MIT */
#include "base/attr.h"

#include <stdio.h>
#include <stdlib.h>

void attr_bug(const char *why, const char *function, const char *file, int line)
{
    fprintf(stderr, "BUG: %s (%s, %s:%d)\n", why, function, file, line);
    fflush(stderr);
    abort();
}
