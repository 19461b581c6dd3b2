/* SPDX-License-Identifier: MIT */
/*
 * Commands in a conversation: what the newest message asks of the proxy, and what of the older ones
 * is not the backend's (behaviour.md, section 6).
 *
 * The older messages are gone through in order, as they once came, and the same conversation gives
 * the same edits at each turn: what begins as it began before goes upstream as it went before, so
 * that prompt caches hold.
 */
#pragma once

#include "command/spot.h"
#include "pipeline/call.h"

/* By what a message is looked at. */
struct cut_rules {
    struct str prefix;
    bool interactive;
};

struct cut_text {
    struct outline_text at;
    struct str text; /* unescaped */
    struct spot spot;
};

/* A user's message with commands in it. */
struct cut_message {
    struct outline_turn turn;
    struct cut_text *texts;
    size_t n;
    size_t found;  /* commands in all texts */
    size_t others; /* parts that are no text; without results of own answers, which go */
    size_t parts;  /* all that stay */
    bool rest;     /* something is left besides the commands */
    bool told;     /* what the client told the model along with them (spot.h) */
};

struct cut {
    /* What is given. */
    const struct protocol *protocol;
    struct request *request; /* gets the edits */
    struct arena *arena;
    struct cut_rules configured;
    struct cut_rules session;
    /* What a message's commands have done to the rules when it was new. False: nothing. */
    bool (*replay)(void *ctx, const struct cut_message *message, struct cut_rules *rules);
    void *ctx;
    /* What is found. */
    struct cut_message newest; /* found 0: no commands to run */
    size_t edits;              /* of the request, with those of the newest message */
    bool nothing;              /* of the conversation only system texts are left */
};

/* Looks through the conversation; the edits of the older messages are made. Whoever asks, asks
 * arena_overflowed before anything of it is used. */
void command_cut_find(struct cut *cut);
/* The newest message, of which something is left, goes on without its commands: what was found is
 * put in force, which takes no time. No edits are added in between. */
void command_cut_newest(struct cut *cut);
