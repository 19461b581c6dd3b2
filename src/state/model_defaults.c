/* SPDX-License-Identifier: MIT */
/*
 * What      Which parameters the configuration has for a model.
 * How       A walk over the entries, comparing lengths first: no name is ever put together, and a
 *           key needs no reading ("llama3:8b" is a model of ollama's, and would be the model 8b of
 *           a backend llama3).
 * Not here  Reading them from YAML (config_models.c).
 */
#include "state/model_defaults.h"

#include "state/config.h"

static bool is_both(struct str key, struct str backend, struct str model)
{
    return key.n == backend.n + 1 + model.n && str_starts(key, backend) &&
           key.p[backend.n] == ':' && str_ends(key, model);
}

void model_defaults_for(const struct config *config, struct str backend, struct str model,
                        struct steer *steer)
{
    const struct model_default *general = NULL;

    assert(config->model_defaults_n == 0 || config->model_defaults != NULL);
    if (model.n == 0)
        return;
    for (size_t i = 0; i < config->model_defaults_n; i++) {
        const struct model_default *entry = &config->model_defaults[i];
        if (is_both(entry->key, backend, model))
            steer_add(steer, &entry->steer);
        else if (str_eq(entry->key, model))
            general = entry;
    }
    if (general != NULL)
        steer_add(steer, &general->steer);
}
