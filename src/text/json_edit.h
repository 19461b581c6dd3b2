/* SPDX-License-Identifier: MIT */
/*
 * Edits of a JSON text by spans: the source stays as it came, the edits are applied while writing.
 * Edits are made in any order, applied by place, and do not overlap (overlapping: a bug); of
 * several insertions at one place the first made comes first. Replacements are borrowed and must
 * outlive the edits (the arena is the usual place). struct json_edits is zeroed to begin with.
 */
#pragma once

#include "text/json_index.h"

enum json_edit_kind { JSON_EDIT_SPAN, JSON_EDIT_REMOVE, JSON_EDIT_ADD };

struct json_edit {
    size_t begin;
    size_t end; /* begin == end: an insertion */
    struct str replacement;
    enum json_edit_kind kind; /* of members: their comma is found when the edits are applied */
};

struct json_edits {
    struct json_edit *items; /* in the order they were made */
    size_t n;
    size_t size;
};

/* source[begin, end) becomes replacement. */
void json_edit_span(struct json_edits *edits, struct arena *arena, size_t begin, size_t end,
                    struct str replacement);
/* The member's value becomes the JSON text value. */
void json_edit_value(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                     const struct json_member *member, struct str value);
/* The member goes, with one comma and the blanks that belong to it; the rest stays valid, also
 * when several members, or all, are removed. */
void json_edit_remove(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                      const struct json_member *member);
/* An element of any array goes, as a member does: with one comma, also when its neighbours or all
 * go. No other edit may be within it. */
void json_edit_element(struct json_edits *edits, struct arena *arena, struct str source,
                       struct str element);
/* The bytes [begin, end) of a string's text go, both ends of characters; cursor goes through that
 * string, so that cuts are made in order, with a character between two. Reading what is left gives
 * the text without them: halves of surrogate pairs that were alone stay alone. */
void json_edit_cut(struct json_edits *edits, struct arena *arena, struct str source,
                   struct json_string_cursor *cursor, size_t begin, size_t end);
/* A new last member of the root; key is plain ASCII without escapes, value is JSON text. Mixes with
 * removals of any members. */
void json_edit_add(struct json_edits *edits, struct arena *arena, const struct json_index *index,
                   struct str key, struct str value);

/* The edited text as pieces of the source and replacements, in the arena. No edits: one piece. */
void json_edit_apply(const struct json_edits *edits, struct str source, struct arena *arena,
                     struct str **ret_parts, size_t *ret_n, size_t *ret_bytes);
