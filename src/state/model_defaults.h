/* SPDX-License-Identifier: MIT */
/*
 * Parameters by model (model_defaults of the configuration; behaviour.md, section 4): used where
 * neither the request nor its session has them. What "backend:model" says wins over what "model"
 * says, parameter by parameter.
 */
#pragma once

#include "canon/steer.h"

struct config;

/* One entry. */
struct model_default {
    struct str key; /* "model" or "backend:model" */
    struct steer steer;
    struct str where; /* "config.yaml:12:3" */
};

enum { MODEL_DEFAULTS_MAX = 1024 };

/* What *steer does not say yet is taken from the configuration, as far as that says it for the
 * model, as the backend calls it. Texts are the configuration's. Any thread. */
void model_defaults_for(const struct config *config, struct str backend, struct str model,
                        struct steer *steer);
