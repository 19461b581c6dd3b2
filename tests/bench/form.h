/* SPDX-License-Identifier: MIT */
/*
 * The same questions and answers in the form of each protocol, for the rows that translate: what a
 * client of the one sends, what a backend of the other answers, and how to tell that what came back
 * says the same. Chat Completions' own bytes are those of shape.h.
 */
#pragma once

#include <stdbool.h>

#include "shape.h"

enum form { FORM_CHAT, FORM_ANTHROPIC, FORM_RESPONSES, FORM_GEMINI, FORMS };

/* "chat", …; they are also what the backends are called (b_chat). */
extern const char *const form_names[FORMS];
enum form form_find(const char *name);

/* What a request is about. */
enum form_ask {
    FORM_SMALL, /* 600 bytes or so */
    FORM_AGENT, /* 100 kB: 200 messages, 40 tools */
    FORM_ASKS
};
enum form_ask form_ask_find(const char *name);

/* The whole HTTP request. prefix: before the model's name ("b_chat:", or ""). */
struct shape_text form_request_http(enum form form, enum form_ask ask, enum shape_answer answer,
                                    const char *prefix, unsigned port);

struct shape_text form_unary(enum form form);
/* SHAPE_EVENTS of them. */
struct shape_stream form_stream(enum form form);

/* What must stand in a client's answer, in this order, whatever its form: the pieces of text as the
 * backend of that form sent them, each in quotes; then the word that ends answers of the client's
 * form. The list ends with NULL. */
const char *const *form_needles(enum form client, enum form backend, enum shape_answer answer);
