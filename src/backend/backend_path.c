/* SPDX-License-Identifier: MIT */
/*
 * What      The path of a request where the model stands in it: …/openai/deployments/MODEL/….
 * Not here  The base and the query (backend.c), the model's name (backend_resolve.c).
 */
#include "backend/backend.h"

#include "text/url.h"

/* What a deployment is asked for; the rest of the API is the resource's. */
static bool is_of_deployment(struct str path)
{
    static const char *const paths[] = {"/chat/completions",     "/completions",
                                        "/embeddings",           "/images/generations",
                                        "/images/edits",         "/audio/speech",
                                        "/audio/transcriptions", "/audio/translations"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (str_eq(path, str_c(paths[i])))
            return true;
    }
    return false;
}

void backend_path_deployment(struct str path, struct str model, struct buf *out)
{
    if (model.n == 0 || !is_of_deployment(path))
        return;
    (void)buf_add(out, STR("/deployments/"));
    url_add_encoded(out, model, "");
}
