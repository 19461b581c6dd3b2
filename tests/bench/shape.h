/* SPDX-License-Identifier: MIT */
/*
 * The bytes of the bench: what clients ask and what the upstream answers.
 *
 * Both programs build them from here, so the client can compare every answer byte for byte.
 * They are the same in every run. All of them are made once at start and never freed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHAPE_EVENTS 64

struct shape_text {
    char *p;
    size_t n;
    size_t size;
};

struct shape_stream {
    struct shape_text text;   /* all events, as they stand in the SSE body */
    size_t end[SHAPE_EVENTS]; /* where each event ends in it */
};

enum shape_answer {
    SHAPE_UNARY,  /* one JSON body */
    SHAPE_BURST,  /* 64 events in one write */
    SHAPE_PACED,  /* an event per 5 ms */
    SHAPE_FIRST,  /* the first event at once, the other 63 in one write a millisecond later */
    SHAPE_SILENT, /* the first event, the others when the mock is told to */
    SHAPE_ANSWERS
};

enum shape_request {
    SHAPE_SMALL,  /* a body of 600 bytes */
    SHAPE_PROMPT, /* an agent's prompt of about 100 kB */
    SHAPE_REQUESTS
};

/* The answer is chosen by the request's model: "bench-" and one of these names. */
extern const char *const shape_answer_names[SHAPE_ANSWERS];
extern const char *const shape_request_names[SHAPE_REQUESTS];

/* The index of `name`; exits with a message when there is none. */
enum shape_answer shape_answer_find(const char *name);
enum shape_request shape_request_find(const char *name);

__attribute__((format(printf, 2, 3))) void shape_add(struct shape_text *text, const char *format,
                                                     ...);
void shape_add_bytes(struct shape_text *text, const void *bytes, size_t n);

/* About n bytes of prose and code, as they stand inside a JSON string. */
void shape_add_prose(struct shape_text *text, uint32_t *seed, size_t n);
/* The i-th piece of text of a stream, without the blank before it. */
const char *shape_word(int i);

/* Body of a request, and the whole HTTP request around it, with the head of an OpenAI SDK. */
struct shape_text shape_request_body(enum shape_request request, enum shape_answer answer);
struct shape_text shape_request_http(enum shape_request request, enum shape_answer answer,
                                     unsigned port);

struct shape_text shape_unary(void);
struct shape_text shape_models(void);
struct shape_stream shape_stream(void);
