/* SPDX-License-Identifier: MIT */
/*
 * Where the turns of a request stand in its source, and the strings that hold their text: for who
 * looks for something in it (commands), knows it by its beginning (sessions), or edits it, without
 * reading the conversation. All slices lie in request->source.
 *
 * A protocol's outline_next (protocol/protocol.h) goes through them in the order in which they are
 * meant, one at a time, so that who needs the first ones only does not pay for the rest.
 */
#pragma once

#include "canon/request.h"

struct outline_cursor { /* zeroed to begin with */
    size_t step;
    size_t at;
    struct str list;
};

/* The role is the one that the turn is written with: a user's message that holds results of tools
 * (Anthropic, Gemini) is the user's. What has no role that its protocol knows, and what is no
 * object, is a turn of role TOOL: nobody's words. */
struct outline_turn {
    enum role role;
    bool is_call;       /* an item of its own that is a tool's call (Responses) or reasoning: it
                         * belongs to the assistant's turn before or after it */
    struct str source;  /* the element of the list; null: a member of the root (system), or the
                         * whole list is one string or object: it cannot be removed */
    struct str content; /* what holds its texts: a string, an array of parts, one part; null */
};

/* One string of a turn's text. */
struct outline_text {
    struct str string; /* JSON string with its quotes */
    struct str part;   /* the part that holds it and nothing else: an element that can be removed;
                        * null: the content is the string, or this one part */
};

/* A call of a tool, or a result. */
struct outline_call {
    struct str id;   /* unescaped; null: none */
    struct str name; /* of the tool; null: not said (a result) */
    struct str part; /* the element of the content, or of the list of calls, that is it and nothing
                      * else; null: the turn itself is, or it stands alone */
    bool is_result;
    struct str texts; /* of a result: what holds what it says, as a turn's content does; null */
};

/* The texts of the content that are the user's words: parts of another kind (images, results of
 * tools, thoughts) are passed over. *cursor: 0 to begin with. */
bool outline_text_next(struct str content, size_t *cursor, struct outline_text *ret_text);
/* Parts of the content that are none of these texts. */
PURE_FN size_t outline_others(struct str content);

/* --- what each protocol has of its own (protocol/protocol.h) --- */

/* The next turn of a request whose head was decoded. False: there is none. */
typedef bool outline_next_fn(const struct request *request, struct outline_cursor *cursor,
                             struct outline_turn *ret_turn);
/* The last element of the list, without a walk. False: the list is empty. */
typedef bool outline_last_fn(const struct request *request, struct outline_turn *ret_turn);
/* The next call or result of a tool in the turn; *cursor: 0 to begin with. */
typedef bool outline_call_fn(const struct outline_turn *turn, size_t *cursor, struct arena *arena,
                             struct outline_call *ret_call);
/* What a result says (texts is not null) as the user's own words: the JSON that stands in the place
 * of call->part, or of the whole turn where that is null. What it holds besides texts and may stand
 * with them (images) stays. In the arena; past its cap: anything. */
typedef struct str outline_words_fn(const struct outline_call *call, struct arena *arena);
