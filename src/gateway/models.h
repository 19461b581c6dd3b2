/* SPDX-License-Identifier: MIT */
/* The list of models that one worker's branch of a site has, asked from the backends. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct backend;
struct branch;
struct exchange;
struct models;

struct models *models_new(struct branch *branch);
void models_free(struct models **models);
/* True: the list is there now. False: x waits and is run again when it is. */
bool models_ready(struct models *models, struct exchange *x);
void models_forget(struct models *models, struct exchange *x);
/* The body for x's request. MODEL_NOT_FOUND. */
NODISCARD enum error_code models_answer(struct models *models, struct exchange *x, struct buf *out,
                                        struct error *e);
/* Of the list as it is; SIZE_MAX: it is not known. Nothing is asked. */
size_t models_count(const struct models *models, const struct backend *backend);
/* Whether the backend's list has the model; -1: it is not known. */
int models_listed(const struct models *models, const struct backend *backend, struct str model);
void models_stop(struct models *models);
