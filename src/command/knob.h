/* SPDX-License-Identifier: MIT */
/*
 * Knobs: what users turn by !/set, !/unset and the short commands. The table is knob.def: one
 * setting each, with what may be said of it, and what is answered.
 */
#pragma once

#include "command/command.h"

enum knob_id {
#define KNOB(name, ...) KNOB_##name,
#include "command/knob.def"
#undef KNOB
    KNOB_COUNT
};
enum { KNOB_SET_COUNT = KNOB_oneoff }; /* those that !/set takes */

struct knob {
    enum setting setting; /* SETTING_COUNT: none of the session */
    const char *said;     /* '*' is the value; NULL: the check says it */
    const char *unsaid;
    const char *wrong; /* NULL: cannot be */
    const char *range;
    const char *synonyms; /* of choices */
};

extern const struct knob knob_table[];
/* What stands in !/set(…), and the bare keys of !/unset(…): by the numbers of the table. */
extern const struct arg_spec knob_specs[];
extern const struct arg_spec knob_keys[];

/* Checks the value, changes the draft and says so; several lines of it are parted by separator.
 * False: reply says why. typed null: the key stood alone, which switches a switch on. */
bool knob_set(struct command_env *env, enum knob_id knob, struct str typed, const char *separator);
bool knob_unset(struct command_env *env, enum knob_id knob);
/* A change of it must stand alone in its message. off: it is switched off, or unset. */
bool knob_is_alone(enum knob_id knob, bool off);
