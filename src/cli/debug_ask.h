/* SPDX-License-Identifier: MIT */
/* What debug-stream is to ask, and whom: its arguments, and the request made of them. */
#pragma once

#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "protocol/protocol.h"
#include "text/url.h"

struct debug_ask {
    /* As it was said. */
    const char *url_text;
    const char *model; /* NULL: the proxy's own choice */
    const char *key;   /* NULL: looked for */
    const char *protocol_name;
    const char *ca_file;
    const char *data_dir;
    const char *prompt; /* NULL: the standard input */
    int64_t timeout_ms; /* of silence */
    bool insecure;
    bool help;
    /* Made of it. */
    struct url url;
    struct str target; /* path and query */
    struct str shown;  /* the URL, for people */
    const struct protocol *protocol;
    struct str head;
    struct str body;
    bool has_key;
};

/* False: what is wrong was told on err. */
NODISCARD bool debug_ask_arguments(struct debug_ask *ask, int argc, char *const *argv, FILE *err);
/* Reads the prompt, finds the key, makes the request, in the arena. CONFIG: the URL. BAD_REQUEST.
 */
NODISCARD enum error_code debug_ask_make(struct debug_ask *ask, FILE *in, struct arena *arena,
                                         struct error *e);
void debug_ask_usage(FILE *to);
