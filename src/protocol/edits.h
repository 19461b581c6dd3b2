/* SPDX-License-Identifier: MIT */
/*
 * A client's request as its own bytes with a few spans replaced: what the protocols share of it.
 * The request itself stays as it is, so that it can be encoded again for the next attempt.
 */
#pragma once

#include "protocol/protocol.h"

/* The request's own edits, to which others are added; in the arena, whose overflow says whether it
 * is whole. */
NODISCARD struct json_edits edits_copy(const struct request *request, struct arena *arena);
/* The root's model becomes how->model, which may be null: then it stays. */
void edits_model(const struct request *request, const struct encode_request *how,
                 struct json_edits *edits, struct arena *arena);
/* What settings ask of this request; NULL: nothing. What is only counted is not steered. */
const struct steer *edits_steer(const struct encode_request *how);
/* Of the request's model, in OpenAI's protocols. One that nobody knows reasons where settings ask
 * for it: who typed them knows more. */
const struct traits *edits_openai_traits(const struct request *request,
                                         const struct encode_request *how);
/* A member of the root, null where there is none, or null. */
struct str edits_own(const struct request *request, const char *key);
/* Whether the request itself asks for sampling that is not the usual one: members of OpenAI's
 * protocols which models that reason refuse. */
bool edits_samples(const struct request *request);
/* How a member that a request has stands to one that it might get. */
enum edits_names {
    EDITS_OTHER,
    EDITS_SAME,    /* its name, which may be written in another way */
    EDITS_INSTEAD, /* another one that says the same, and does not go together with it */
};
/* Keys unescaped. */
typedef enum edits_names edits_names_fn(struct str has, struct str new_one);
/* Names as proto3 reads them; what excludes each other there. */
edits_names_fn gemini_config_names;
/* What settings ask of a request of a protocol, as members that it may be given: an object. */
typedef struct str edits_steer_fn(const struct request *request, const struct encode_request *how,
                                  const struct steer *steer, struct arena *arena);
edits_steer_fn openai_chat_translate_steer;
edits_steer_fn openai_responses_write_steer;
edits_steer_fn anthropic_steer_members;
edits_steer_fn gemini_config_steer;
/* The members of object that the request does not have (or has as null) become its own: at the
 * root, whose keys are plain ASCII, and in objects of the root and in those that both have.
 * names: NULL, equal keys are the same. */
void edits_merge(const struct request *request, struct str object, edits_names_fn *names,
                 struct json_edits *edits, struct arena *arena);
/* Notes what settings ask of sampling, the request does not say, and object does not have: the
 * model refuses it. */
void edits_tell_unsaid(const struct request *request, const struct encode_request *how,
                       struct str object, struct arena *arena);
/* object with those members of other that it does not have, as edits_merge does it below the root;
 * null without memory. */
struct str edits_union(struct str object, struct str other, edits_names_fn *names,
                       struct arena *arena);
/* The body of wire, by these edits and without session_id, which is ours: pieces in the arena and
 * in the client's body. */
void edits_apply(const struct request *request, struct json_edits *edits, struct arena *arena,
                 struct wire *wire);
