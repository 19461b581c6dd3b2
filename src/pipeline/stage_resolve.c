/* SPDX-License-Identifier: MIT */
/*
 * What      Turns the model that the request names, or what its session has in its place, into a
 *           plan of elements, with what settings and model_defaults ask of it.
 * How       The first that is there (behaviour.md, section 4):
 *             the one-off          taken from the session; given back when the call failed
 *             the session's model  of the session's backend, or of the default one
 *             the request's model  without its backend's prefix where the session has a backend
 *             the backend's default
 *           A request's name is looked up in model_aliases before it is read; what a session has
 *           set was looked up when it was set, and what an alias gives is no alias again. The
 *           default backend is the session's, else the server's (!/set(default-backend)), else the
 *           configuration's.
 * Owns      The one-off that was taken, in the call's own memory.
 * Not here  Choosing among elements or keys (gateway/plan), changing the body (request_encode).
 */
#include "pipeline/pipeline.h"
#include "state/model_alias.h"
#include "state/model_defaults.h"

enum { HINT_BYTES_MAX = 512 };

struct resolve_state {
    struct str taken; /* the one-off; null: none was */
};

static struct str command_prefix_of(const struct call *call)
{
    return str_is_null(call->settings->command_prefix) ? call->config->command_prefix
                                                       : call->settings->command_prefix;
}

/* --- backends ---------------------------------------------------------------------------- */

static enum error_code unknown_backend(struct call *call, struct str name)
{
    struct buf text;

    buf_init(&text, HINT_BYTES_MAX);
    (void)buf_print(&text, "%.*s, which this session has set", STR_ARG(name));
    backend_resolve_known(call->backends, name, &text);
    enum error_code code = FAIL(&call->error, ERR_UNKNOWN_BACKEND, "%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return code;
}

/* The backend of a setting. It was there when it was set; the configuration may be another now. */
static enum error_code find_backend(struct call *call, struct str name,
                                    struct backend **ret_backend)
{
    struct backend *backend = backend_find(call->backends, name);

    if (backend == NULL)
        return unknown_backend(call, name);
    if (!backend->functional)
        return FAIL(&call->error, ERR_NO_BACKEND, "%.*s is not functional: %.*s",
                    STR_ARG(backend->name), STR_ARG(backend_why(backend, call->arena)));
    *ret_backend = backend;
    return OK;
}

/* The name without the backend in front; *ret_found: there was one. */
static struct str without_prefix(const struct call *call, const struct backend *preferred,
                                 struct str model, bool *ret_found)
{
    size_t colon = str_find_char(model, ':', 0);
    size_t slash = str_find_char(model, '/', 0);

    *ret_found = true;
    if (colon != SIZE_MAX && backend_find(call->backends, str_head(model, colon)) != NULL)
        return str_from(model, colon + 1);
    if (slash != SIZE_MAX && !preferred->slash_names &&
        backend_find(call->backends, str_head(model, slash)) != NULL)
        return str_from(model, slash + 1);
    *ret_found = false;
    return model;
}

/* --- what is asked for ------------------------------------------------------------------- */

static void choose(struct backend_choice *choice, struct backend *backend, struct str model)
{
    choice->backend = backend;
    choice->model = model.n > 0 ? model : backend->default_model;
}

static enum error_code resolve_oneoff(struct call *call, struct str oneoff,
                                      struct backend_choice *ret_choice)
{
    struct str model = oneoff;
    struct str name;
    struct backend *backend;

    if (!str_cut(&model, ':', &name))
        return unknown_backend(call, oneoff);
    TRY(find_backend(call, name, &backend));
    choose(ret_choice, backend, model);
    return OK;
}

/* A session's model, or backend, or both. */
static enum error_code resolve_session(struct call *call, struct backend_choice *ret_choice)
{
    const struct settings *settings = call->settings;
    struct backend *backend = NULL;
    bool found;

    if (!str_is_null(settings->backend))
        TRY(find_backend(call, settings->backend, &backend));
    bool own = !str_is_null(settings->model);
    struct str model = own ? settings->model
                           : model_alias(call->config, call->request.model, call->arena);
    if (backend == NULL)
        return backend_resolve_for(call->backends, pipeline_default_backend(call), model,
                                   ret_choice, &call->error);
    if (own) {
        choose(ret_choice, backend, model);
        return OK;
    }
    model = without_prefix(call, backend, model, &found);
    if (!found)
        return backend_resolve_for(call->backends, backend, model, ret_choice, &call->error);
    choose(ret_choice, backend, model);
    if (str_is_null(ret_choice->model)) /* "other:" */
        return FAIL(&call->error, ERR_BAD_REQUEST, "model: no name that %.*s could take",
                    STR_ARG(backend->name));
    return OK;
}

/* Of a session only its backend counts, for what names none: its model answers chats. */
static enum error_code resolve_opaque(struct call *call, struct backend_choice *ret_choice)
{
    const struct settings *settings = call->settings;
    struct backend *preferred = pipeline_default_backend(call);

    if (settings != NULL && !str_is_null(settings->backend))
        TRY(find_backend(call, settings->backend, &preferred));
    return backend_resolve_for(call->backends, preferred,
                               model_alias(call->config, call->request.model, call->arena),
                               ret_choice, &call->error);
}

static enum error_code resolve(struct call *call, struct resolve_state *s,
                               struct backend_choice *ret_choice)
{
    const struct settings *settings = call->settings;

    if (call->intake.operation == OP_OPAQUE)
        return resolve_opaque(call, ret_choice);
    if (settings == NULL || (str_is_null(settings->backend) && str_is_null(settings->model) &&
                             str_is_null(settings->oneoff)))
        return backend_resolve_for(call->backends, pipeline_default_backend(call),
                                   model_alias(call->config, call->request.model, call->arena),
                                   ret_choice, &call->error);
    if (!str_is_null(settings->oneoff) && call->intake.operation == OP_GENERATE)
        s->taken = session_take_oneoff(call->session, pipeline_arena(call));
    if (!str_is_null(s->taken))
        return resolve_oneoff(call, s->taken, ret_choice);
    return resolve_session(call, ret_choice);
}

/* --- parameters -------------------------------------------------------------------------- */

static void steer(const struct call *call, const struct backend *backend, struct str model,
                  struct steer *to)
{
    const struct settings *settings = call->settings;

    if (settings != NULL) {
        to->temperature = settings->temperature;
        to->reasoning_effort = str_eq(settings->reasoning_effort, STR("maximum"))
                                   ? STR("max")
                                   : settings->reasoning_effort;
        if (settings->thinking_budget >= 0)
            to->reasoning_budget = str_print(call->arena, "%lld",
                                             (long long)settings->thinking_budget);
        to->generation_config = settings->generation_config;
    }
    if (call->config->model_defaults_n > 0)
        model_defaults_for(call->config, backend->name, model, to);
}

/* --- hooks ------------------------------------------------------------------------------- */

static bool lacks_project(const struct call *call)
{
    return call->config->force_set_project && call->intake.operation == OP_GENERATE &&
           call->settings != NULL && str_is_null(call->settings->project);
}

static enum verdict refuse_without_project(struct call *call)
{
    FAIL(&call->error, ERR_BAD_REQUEST, "the session has no project");
    if (call->config->disable_interactive_commands) {
        call->error.said = STR("Project name not set. The proxy's operator asks for one "
                               "(force_set_project), and has switched off the commands that set "
                               "it (disable_interactive_commands).");
        return STOP;
    }
    call->error.said = str_print(
        call->arena, "Project name not set. Use %.*sset(project=<name>) before sending prompts.",
        STR_ARG(command_prefix_of(call)));
    return STOP;
}

static enum verdict resolve_request(struct call *call, void *state)
{
    struct plan_element *element = &call->plan.elements[0];
    struct backend_choice choice = {.backend = NULL};
    struct str asked = call->request.model;

    if (lacks_project(call))
        return refuse_without_project(call);
    if (resolve(call, state, &choice) != OK)
        return STOP;
    assert(choice.backend != NULL);
    element->backend = choice.backend;
    /* What is the same stays as the client wrote it, to the byte. */
    bool edit = str_is_null(asked) || !str_eq(choice.model, asked);
    element->model = edit ? choice.model : STR_NULL;
    steer(call, choice.backend, choice.model, &element->steer);
    call->plan.n = 1;
    return NEXT;
}

static void resolve_done(struct call *call, void *state)
{
    struct resolve_state *s = state;

    if (!str_is_null(s->taken) && !call->succeeded)
        session_return_oneoff(call->session, s->taken);
}

const struct stage stage_resolve = {
    .name = "resolve",
    .state_size = sizeof(struct resolve_state),
    .request = resolve_request,
    .done = resolve_done,
};
