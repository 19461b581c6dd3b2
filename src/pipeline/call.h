/* SPDX-License-Identifier: MIT */
/*
 * A call: one client request as the stages see it. Not HTTP, not a wire format.
 *
 * struct call is embedded in the gateway's exchange, which makes it, drives the pipeline with it
 * and outlives it. Everything it points at is owned by the exchange unless said otherwise.
 */
#pragma once

#include "backend/backend.h"
#include "base/metric.h"
#include "canon/event.h"
#include "canon/request.h"
#include "state/config.h"

struct pipeline_state;

/* What admission learned from the request's head. */
struct intake {
    const struct client_key *client; /* NULL: authentication is off, or the path needs none */
    struct str peer;                 /* address of the client */
    const struct protocol *protocol; /* the client's */
    enum operation operation;
    struct str method;          /* as it came */
    struct str path;            /* as it came, without the query */
    struct str rest;            /* of the path, for routes that end in '*' */
    struct str query;           /* of the path, null without one */
    struct str forward_headers; /* ready lines for an upstream of the same protocol */
    bool is_head;               /* method HEAD */
};

/* Where a request is to go: resolve fills it, gateway/plan chooses from it for each attempt. */
struct plan_element {
    struct backend *backend;
    struct str model; /* the upstream's name; null: leave the request's */
};

enum { PLAN_ELEMENTS_MAX = 1 };

struct plan {
    struct plan_element elements[PLAN_ELEMENTS_MAX];
    size_t n;
};

struct call {
    struct intake intake;
    const struct config *config; /* the snapshot that the exchange began with */
    const struct backend_set *backends;
    struct request request;
    struct plan plan;
    struct plan_element *element;    /* of the running attempt, NULL before */
    struct arena *arena;             /* the request's; gone after commit */
    struct metrics *metrics;         /* the worker's */
    struct error error;              /* set by whoever returns STOP */
    struct usage usage;              /* the last USAGE event's; -1 where unknown */
    bool answered;                   /* a stage replied by itself */
    struct pipeline_state *pipeline; /* stage states; lives as long as the call */
};
