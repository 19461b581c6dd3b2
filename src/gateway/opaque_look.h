/* SPDX-License-Identifier: MIT */
/*
 * What an opaque request says of itself: its path, and the model in its query or in the beginning
 * of its body. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

/* Whether the path may be an opaque one: it has a version and something behind that, and means at
 * the backend what it means here: no empty segment and none that leads elsewhere, nothing encoded
 * that could stand there as it is, or that another server would take for a slash. What is not in
 * the proxy's own gift: routes and protocols come first. *ret_rest: what follows on the version,
 * from its slash. */
bool opaque_look_path(struct str path, struct str *ret_rest);
/* Whether Anthropic's clients ask it, by the path alone. */
bool opaque_look_is_anthropic(struct str path);

/* Whether requests of the path are work for a model, so that any key will do, also where the model
 * was not found (behind a file, longer than what is looked into) or is left to the backend. rest:
 * the path behind its version. */
bool opaque_look_names_model(struct str method, struct str rest);

enum opaque_place { OPAQUE_NOWHERE, OPAQUE_QUERY, OPAQUE_JSON, OPAQUE_MULTIPART };

struct opaque_model {
    enum opaque_place place;
    struct str name; /* decoded; null: none was found */
    size_t begin;    /* of its source in the query or the body: in JSON with its quotes */
    size_t end;
};

/* body: the beginning of it, or all. BAD_REQUEST: it stands twice in one place, where whoever comes
 * next may take the other. */
NODISCARD enum error_code opaque_look_model(struct str query, struct str content_type,
                                            struct str body, struct arena *arena,
                                            struct opaque_model *ret_model, struct error *e);
/* What is to stand in the source's place for another name. */
struct str opaque_look_write(const struct opaque_model *model, struct str name,
                             struct arena *arena);

/* How many tokens an answer says (its member usage), as far as it does; -1: not said. json: the
 * whole body. */
struct opaque_usage {
    int64_t input;
    int64_t output;
    int64_t cached;
};
struct opaque_usage opaque_look_usage(struct str json);
