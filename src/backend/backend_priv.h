/* SPDX-License-Identifier: MIT */
/* What the files of this room share. */
#pragma once

#include "backend/backend.h"

/* A line of backends.def. */
struct backend_vendor {
    const char *name;
    const struct protocol *protocol;
    const struct protocol *also; /* spoken at its own URL, too; NULL: none */
    bool also_counts;            /* tokens of a request are counted by that one */
    const char *url;             /* NULL: everybody has their own, or none (local) */
    const char *variable;        /* prefix of its key's and URL's; NULL: local */
    enum key_header key_header;
    bool key_needed;
    const struct local_backend *local;
    const char *key_prefix; /* of its keys, at its own URL; NULL: none */
    bool colon_names;
    bool slash_names;
    bool bare_url; /* its base has no version: none is added to a URL without one */
    /* Where its list of models is, from the root of its host, while the path of the URL is its own
     * one. NULL: below the base, where the protocol has it. */
    const char *models_path;
    bool deployments; /* the model stands in the path, and the version in the query (Azure) */
    struct dialect dialect;
};

/* NULL: no vendor's name. */
const struct backend_vendor *backend_vendor_of(struct str name);

/* What to do when no backend is. */
extern const char backend_advice[];
