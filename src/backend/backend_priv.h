/* SPDX-License-Identifier: MIT */
/* What the files of this room share. */
#pragma once

#include "backend/backend.h"

/* A line of backends.def, or a name of state/later.def. */
struct backend_vendor {
    const char *name;
    const struct protocol *protocol; /* NULL: this build does not have it */
    const struct protocol *also;     /* spoken at its own URL, too; NULL: none */
    const char *url;                 /* NULL: local */
    const char *variable;            /* prefix of its key's and URL's; NULL: local */
    enum key_header key_header;
    bool key_needed;
    const struct local_backend *local;
    const char *key_prefix; /* of its keys, at its own URL; NULL: none */
    bool colon_names;
    bool slash_names;
    struct dialect dialect;
};

/* NULL: no vendor's name. */
const struct backend_vendor *backend_vendor_of(struct str name);

/* What to do when no backend is. */
extern const char backend_advice[];
