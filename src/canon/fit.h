/* SPDX-License-Identifier: MIT */
/*
 * A request put into the form that a target protocol takes (mapping.md, sections 4 and 5): who
 * writes it then only prints it. Pure and deterministic: the same request gives the same bytes, so
 * that prompt caches hold; its input is never changed, as another attempt may need another form.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "canon/request.h"
#include "canon/translation.h"

/* What becomes of system and developer texts that stand later than in front (4.1). */
enum fit_system {
    FIT_SYSTEM_KEEP,  /* where they are */
    FIT_SYSTEM_FRONT, /* appended to those in front, "changed:system" */
    FIT_SYSTEM_USER   /* user texts that begin with a line "[system]" */
};

enum fit_ids {
    FIT_IDS_ANY,       /* unique, otherwise as they came */
    FIT_IDS_ANTHROPIC, /* ^[A-Za-z0-9_-]{1,64}$ */
    FIT_IDS_OPENAI,    /* at most 40 characters */
    FIT_IDS_RESPONSES, /* at most 64 characters */
    FIT_IDS_MISTRAL    /* 9 of [A-Za-z0-9] */
};

enum fit_names {
    FIT_NAMES_OPENAI,    /* [A-Za-z0-9_-]{1,64} */
    FIT_NAMES_ANTHROPIC, /* [A-Za-z0-9_-]{1,128} */
    FIT_NAMES_GEMINI     /* [A-Za-z_][A-Za-z0-9_.:-]{0,63} */
};

enum { FIT_OPENAI_USER_BYTES_MAX = 64 };

struct fit_rules {
    enum fit_system system;
    enum fit_ids ids;
    enum fit_names names;
    bool merge_roles;      /* turns of one role in a row become one (4.2) */
    bool user_first;       /* "." where the assistant, or nobody, begins */
    bool results_as_calls; /* results in the order of their calls */
    bool results_one_turn; /* all results of one assistant turn in one TOOL turn */
    bool args_object;      /* arguments are JSON objects: "" -> {}, others wrapped (5.5) */
    bool wrap_custom;      /* custom tools, and calls of them, become functions with one string,
                            * input (5.1); noted in the translation */
    bool prefill;          /* an assistant's text may stand last; else "Continue." follows (4.2) */
    bool name_of_result;   /* results say the tool's name (Gemini) */
    bool text_first;       /* texts before calls in an assistant's turn (4.3) */
    bool no_blank_texts;   /* texts of blanks alone are refused */
    size_t user_bytes_max; /* of a longer user's id the head; 0: no bound */
    size_t tools_max;      /* 0: no bound; more: BAD_REQUEST */
};

/* *ret_request: what the target is to be told; shares text with request. No empty texts, no empty
 * turns; every call has its result and every result its call; ids unique. Vendor parts and tools
 * (PART_VENDOR, tool.vendor) are dropped with a warning, and so are members of the root in extra
 * that meant something (mapping.md, 3). BAD_REQUEST: too many tools; nothing is left of what was
 * said; no token to answer with. UNSUPPORTED: a member that
 * cannot be left out. TOO_LARGE: the arena. */
NODISCARD enum error_code fit_request(const struct request *request, const struct fit_rules *rules,
                                      struct translation *t, struct arena *arena,
                                      struct request *ret_request, struct error *e);

/* The system turns in front, and where the conversation begins: for protocols that have the system
 * text apart. */
const struct turn *fit_conversation(const struct request *fitted);

/* A call's id as that kind of ids has it: itself where it is one, else made of it, the same each
 * time. */
struct str fit_calls_id(enum fit_ids ids, struct str id, struct arena *arena);
/* JSON text of an object from a call's arguments: "" and null are {}, other values are wrapped as
 * {"value":…}, what is no JSON as {"_invalid_json":"…"} with a warning (5.5). */
struct str fit_arguments(struct str text, struct translation *t, struct arena *arena);
/* Adds a tool's result as Gemini wants it (4.4): an object as it is, else {"output":…}, of an error
 * {"error":…}. */
void fit_add_result(const struct part *result, struct arena *arena, struct buf *out);
/* The texts of a result joined by LF; "" without one. *ret_media: it has other parts too. */
struct str fit_result_text(const struct part *result, struct arena *arena, bool *ret_media);
