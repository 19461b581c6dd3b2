/* SPDX-License-Identifier: MIT */
/*
 * Which session a request belongs to (behaviour.md, section 5).
 *
 * What counts first: the header x-session-id, the body's session_id, the cookie, what agents send
 * in the head; a UUID in metadata.user_id (Anthropic) or prompt_cache_key (OpenAI's protocols); the
 * session of previous_response_id; and, where nothing says it, how the conversation begins.
 */
#pragma once

#include "pipeline/call.h"

/* Where ids are made that are not a slice of the request. */
struct session_key_room {
    char p[SESSION_ID_MAX];
};

/* A legal id: what was given, where it is one; else the digits of its digest. given: not empty. */
struct str session_key_legal(struct str given, struct session_key_room *room);
/* What the head says alone; null: nothing. */
struct str session_key_of_head(const struct intake *intake, struct session_key_room *room);
/* What head and body say; null: nothing. */
struct str session_key_given(const struct intake *intake, const struct request *request,
                             struct session_key_room *room);

struct session_key_print {
    struct str id;      /* null: the user says nothing */
    bool has_assistant; /* the conversation has a turn of the assistant's already */
    /* The newest turn, where all were gone through; its source null: they were not, or it is no
     * element of a list. */
    struct outline_turn last;
};
/* The id that the beginning of the conversation makes: scope, system text and the first user
 * message, SESSION_KEY_TEXT_MAX bytes of the source of each. The same where a client writes its
 * text as a string or as one part, and whatever stands beside the text. Of several parts each but
 * the last has half of the bytes that those before it left. */
enum { SESSION_KEY_TEXT_MAX = 4096 };
struct session_key_print session_key_print(const struct intake *intake,
                                           const struct request *request,
                                           struct session_key_room *room);
