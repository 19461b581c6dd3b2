/* SPDX-License-Identifier: MIT */
/* What is checked of a knob's value beyond its kind, against what it sets. */
#pragma once

#include "command/knob.h"
#include "command/value.h"

struct knob_turn {
    struct command_env *env;
    struct value value;    /* may be changed: it is what is kept */
    const char *separator; /* between lines that are said */
    struct str after;      /* a line to be said behind the knob's own; null: none */
};

/* False: reply says why. */
typedef bool knob_check_fn(struct knob_turn *turn);

/* NULL: its kind is all there is to check. */
knob_check_fn *knob_check_of(enum knob_id knob);
/* Whether this client may change what concerns all; false: reply says so. */
bool knob_check_admin(struct command_env *env);
/* Whether it may be one; false: reply says why not. */
bool knob_check_prefix(struct command_env *env, struct str prefix);
