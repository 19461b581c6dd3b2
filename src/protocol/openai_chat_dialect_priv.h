/* SPDX-License-Identifier: MIT */
/* Chat Completions: what the files that fit a body to a vendor share. */
#pragma once

#include "canon/traits.h"
#include "protocol/openai_chat_priv.h"

/* A body that is fitted. */
struct openai_chat_dialect_work {
    const struct dialect *dialect;
    struct str model;            /* as the vendor has its name */
    const struct traits *traits; /* the model's; NULL: nobody asked yet */
    const struct json_index *index;
    const struct json_member *has[DIALECT_KEY_COUNT]; /* NULL: not there, or dealt with */
    struct translation *t;                            /* may be NULL */
    struct arena *arena;
    struct json_edits *edits;
    struct error *e;
    struct str note; /* to be said in the system's text; null: nothing */
    /* The client's own body: what cannot be fitted goes up as it is, for the vendor to answer. */
    bool raw;
};

/* --- openai_chat_dialect.c --- */

/* What is known of the model: looked up when a rule asks, as most requests need none. */
const struct traits *openai_chat_dialect_traits(struct openai_chat_dialect_work *w);

/* --- openai_chat_dialect.c: members of any object of the body --- */

/* A member whose begin and end count from the object, as one of the body's. */
struct json_member openai_chat_dialect_place(const struct openai_chat_dialect_work *w,
                                             struct str object, const struct json_member *m);
/* These take members of the body (see place). */
void openai_chat_dialect_remove(struct openai_chat_dialect_work *w, const struct json_member *m);
void openai_chat_dialect_value(struct openai_chat_dialect_work *w, struct str value,
                               struct str instead);
void openai_chat_dialect_rename(struct openai_chat_dialect_work *w, const struct json_member *m,
                                struct str key);
/* text in front of what an object or a list holds that is not empty, and keeps a member. */
void openai_chat_dialect_front(struct openai_chat_dialect_work *w, struct str container,
                               struct str text);
/* A word of a list that is separated by blanks; NULL has none. */
PURE_FN bool openai_chat_dialect_lists(const char *list, struct str word);

/* --- of the others, what the first one calls --- */

/* tools, tool_choice, parallel_tool_calls */
void openai_chat_dialect_tools_fit(struct openai_chat_dialect_work *w);
/* reasoning_effort of a request, in the vendor's words. */
void openai_chat_dialect_reasoning_fit(struct openai_chat_dialect_work *w);
/* messages, and w->note in them. UNSUPPORTED: an image that the vendor does not take,
 * where the body is not the client's own. */
NODISCARD enum error_code openai_chat_dialect_messages_fit(struct openai_chat_dialect_work *w);
/* Messages that stand together and may not, of a body that was fitted. */
void openai_chat_dialect_messages_alternate(struct openai_chat_dialect_work *w);
