/* SPDX-License-Identifier: MIT */
/*
 * Fields of multipart/form-data (RFC 7578, RFC 2046), found in the beginning of a body; nothing is
 * copied, and nothing behind the beginning is asked for.
 */
#pragma once

#include "base/str.h"

struct arena;

enum { MULTIPART_BOUNDARY_MAX = 70 }; /* RFC 2046, 5.1.1 */

/* The boundary that a Content-Type names, a slice of it or, with escapes, in the arena; null where
 * it is no multipart/form-data, or none that RFC 2046 allows. */
struct str multipart_boundary(struct str content_type, struct arena *arena);

struct multipart_field {
    size_t begin; /* of its value in the body */
    size_t end;
    size_t count; /* how many whole parts of that name there are: 0, none was found */
};

/* The first part of that name whose end has come as well. body: the beginning of one, or all of
 * it; more of it may find a field that less did not, and never another one. */
struct multipart_field multipart_find(struct str body, struct str boundary, struct str name);
