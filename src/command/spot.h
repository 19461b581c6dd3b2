/* SPDX-License-Identifier: MIT */
/*
 * Commands in a user's text: where they stand, what is left without them (behaviour.md, section 6).
 *
 * Pure, linear in the text, and the same for a text whenever it is looked at: what was cut from a
 * message when it was new is cut from it when it comes again as history.
 *
 * Not looked into: code fences (``` and ~~~) and inline code, parts that begin "[… for '…']
 * Result:", elements that open on a line of their own, except <task> <feedback> <user_message>
 * <answer> <user_query>.
 */
#pragma once

#include "command/command.h"

struct spot_found {
    const struct command *command; /* NULL: a name that no command has (answered in interactive
                                    * mode, when it stands alone on its line) */
    struct str name;               /* as it was written */
    struct str args;               /* between the parentheses; null: there were none */
    struct str fault;              /* "Invalid arguments: …", for the user: it cannot be run;
                                    * null: none. In the arena */
    size_t begin;                  /* of the command in the text */
    size_t end;
    size_t cut_begin; /* what goes from the text with it: blanks that would be left over */
    size_t cut_end;
};

struct spot_options {
    struct str prefix;
    bool interactive;
};

struct spot {
    struct spot_found *items; /* in order; cuts do not overlap */
    size_t n;
    bool rest; /* something that means something is left besides them: not blanks, not the
                * punctuation behind a command, not the tags of the elements that are looked into,
                * not what clients add to each message (environment_details, system-reminder, …) */
};

/* Whether a body (JSON source, or text) may hold a command at all: the prefix is in it, as it is or
 * with its characters escaped. At memory speed. */
bool spot_is_possible(struct str body, struct str prefix);
/* text: one part of a user's message, unescaped. */
void spot_text(struct str text, const struct spot_options *options, struct arena *arena,
               struct spot *ret_spot);
/* The text without what is cut. In the arena, or the text itself where nothing is. */
struct str spot_rest(struct str text, const struct spot *spot, struct arena *arena);
/* The system text is of a client that takes only calls of tools (Cline, Roo Code). */
bool spot_wants_tool(struct str system_text);
