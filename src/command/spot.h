/* SPDX-License-Identifier: MIT */
/*
 * Commands in a user's text: where they stand, what is left without them (behaviour.md, section 6).
 *
 * Pure, linear in the text, and the same for a text whenever it is looked at: what was cut from a
 * message when it was new is cut from it when it comes again as history.
 *
 * A command is the prefix and directly behind it a name of lower case letters, digits, '-' and '_'
 * ('_' is '-'), at the beginning of a line or behind a blank; its name, or its ')', is followed by
 * a blank, the end, or one of . , ; : ! ? and then a blank or the end. Blanks are space, tab and
 * line ends (LF, CR LF, CR); no others of Unicode. Where a known name is followed by blanks and '('
 * or its '(' is not closed, it is found with a fault, and reaches to its ')' or the line's end.
 * What stands in the parentheses behind a known name is part of it, also where it is text because
 * of what follows. A name that no command has, also one with upper case letters, is found where
 * there are nothing but commands on its line.
 *
 * Not looked into: code fences (``` and ~~~, indented or not, in quotes and lists too, ``` also at
 * the end of a line; up to their end or the text's), inline code (within a line), elements whose
 * tag begins a line, with what is in them: up to the closing tag that begins or ends a line; where
 * a tag stands alone on its line and nothing closes it, up to the text's end. <br>, <hr>, <img> and
 * <x/> hold nothing. Not so <task> <feedback> <user_message> <answer> <user_query>: in these the
 * text is the user's.
 *
 * A tool's result in an agent's user message, "[TOOL for '…'] Result:", is not looked into but for
 * such an element at its very end, which is what the user added. It is in the same part or in the
 * next (spot_options.as).
 */
#pragma once

#include "command/command.h"

/* What a part is by the one before it in its message. */
enum spot_as {
    SPOT_TEXT,
    SPOT_RESULT, /* the text of a tool's result */
    SPOT_WORDS   /* the same of a tool by which an agent hears its user (attempt_completion,
                  * ask_followup_question, plan_mode_respond): the user's element at its end is
                  * all that it says */
};

struct spot_found {
    const struct command *command; /* NULL: a name that no command has (answered in interactive
                                    * mode, when it stands alone on its line) */
    struct str name;               /* as it was written */
    struct str args;               /* between the parentheses; null: there were none */
    struct str fault;              /* "Invalid arguments: …", for the user: it cannot be run;
                                    * null: none. In the arena. Past 16 in a text they do not say
                                    * what, but that there are more */
    size_t begin;                  /* of the command in the text */
    size_t end;
    size_t cut_begin; /* what goes from the text with it: blanks that would be left over */
    size_t cut_end;
};

struct spot_options {
    struct str prefix;
    bool interactive; /* names that no command has are found, too */
    enum spot_as as;  /* ret_spot->next of the text part before it in its message */
};

struct spot {
    struct spot_found *items; /* in order; cuts do not overlap */
    size_t n;
    bool rest;         /* something that means something is left besides them: not blanks, not the
                * punctuation behind a command, not the tags of the elements that are looked into,
                * not what clients add by themselves (environment_details, system-reminder, …),
                * not what they say around the user's words (SPOT_WORDS) */
    bool told;         /* there is something that clients add by themselves, and maybe only once: it
                * is for the model, also where nothing else is left */
    enum spot_as next; /* of the message's next part: this one says that it is a tool's result */
};

/* Whether a body (JSON source, or text) may hold a command at all: the prefix is in it, as it is or
 * with its characters escaped. May say so where it is not. At memory speed. */
bool spot_is_possible(struct str body, struct str prefix);
/* text: one part of a user's message, unescaped. Past the arena's cap nothing is found. */
void spot_text(struct str text, const struct spot_options *options, struct arena *arena,
               struct spot *ret_spot);
/* The text without what is cut. In the arena, or the text itself where nothing is. */
struct str spot_rest(struct str text, const struct spot *spot, struct arena *arena);
/* The text holds one of the elements in which the user's words are, wherever: <feedback>…. That is
 * how agents put them into the result of a tool. */
bool spot_holds_words(struct str text);
/* The system text is of a client that takes only calls of tools (Cline, Roo Code). */
bool spot_wants_tool(struct str system_text);
