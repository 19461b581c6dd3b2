/* SPDX-License-Identifier: MIT */
/*
 * Commands in the chat.
 *
 * What      Runs the commands of a request's newest message on a draft of the session's settings,
 *           commits the draft, and answers, or lets the rest of the message go on with it.
 * How       LOOK      a body that cannot hold a command goes on untouched. Else the conversation is
 *                     looked through (command_cut), a large one in a job.
 *           LOOKED    all commands run, in order, on one draft; one that fails makes the draft
 *                     nothing, and the answer says what failed.
 *           COMMITTED the change is in force, or could not be kept.
 * Owns      The draft, in the call's own memory: it is the call's settings from then on.
 * Not here  What commands are (command/), where they stand and how they are cut (command_cut), how
 *           an answer is put (command_reply).
 */
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "pipeline/command_cut.h"
#include "pipeline/command_reply.h"
#include "state/url_door.h"

enum { REPLY_BYTES_MAX = 256 * 1024, COMMANDS_MAX = 256 };

enum phase { PHASE_LOOK, PHASE_LOOKED, PHASE_COMMITTED };

struct command_work {
    enum phase phase;
    struct cut cut;
    struct settings draft;
    uint32_t changed;
    struct str server_backend; /* what it becomes; null: stays */
    struct str reply;
    bool failed;
};

struct command_state {
    struct command_work *work; /* NULL: nothing was looked for */
};

/* --- what commands may ask --------------------------------------------------------------- */

static size_t count_models(void *ctx, const struct backend *backend)
{
    struct call *call = ctx;

    return call->ops == NULL ? SIZE_MAX : call->ops->models(call, backend);
}

static enum command_model find_model(void *ctx, const struct backend *backend, struct str model)
{
    struct call *call = ctx;
    int listed = call->ops == NULL ? -1 : call->ops->model_listed(call, backend, model);

    return listed < 0    ? COMMAND_MODEL_UNKNOWN
           : listed == 0 ? COMMAND_MODEL_NOT_LISTED
                         : COMMAND_MODEL_LISTED;
}

static bool check_url(void *ctx, struct str text, struct arena *arena, struct str *ret_why)
{
    const struct call *call = ctx;
    struct url url;

    return url_door_passes(call->config, text, arena, &url, ret_why);
}

static bool is_directory(void *ctx, struct str path, struct str *ret_why)
{
    const struct call *call = ctx;
    const char *z = str_z(call->arena, path);
    struct stat status;

    if (str_find_char(path, '\0', 0) != SIZE_MAX || arena_overflowed(call->arena) ||
        stat(z, &status) != 0)
        *ret_why = STR("not found");
    else if (!S_ISDIR(status.st_mode))
        *ret_why = STR("not a directory");
    else if (access(z, R_OK | X_OK) != 0)
        *ret_why = STR("not readable");
    else
        return true;
    return false;
}

/* --- running ----------------------------------------------------------------------------- */

/* The commands of a message on one draft. */
struct run {
    struct command_env *env;
    const struct cut_message *message;
    struct buf said;   /* by those that succeeded */
    struct buf failed; /* by the others */
};

static struct buf *line_of(struct buf *buf)
{
    if (buf->n > 0)
        (void)buf_add_char(buf, '\n');
    return buf;
}

/* The key of a security switch that does not stand alone; null: there is none, or it does. */
static struct str crowded(const struct run *run, const struct spot_found *found)
{
    struct args args;
    struct error e;

    if (str_is_null(found->args) || args_read(found->args, run->env->arena, &args, &e) != OK ||
        (run->message->found == 1 && !run->message->rest && args.n == 1))
        return STR_NULL;
    for (size_t i = 0; i < args.n; i++) {
        const struct args one = {.items = &args.items[i], .n = 1, .given = true};
        if (command_is_alone(found->command, &one))
            return str_is_null(args.items[i].key) ? args.items[i].value : args.items[i].key;
    }
    return STR_NULL;
}

static void run_one(struct run *run, const struct spot_found *found)
{
    struct command_env *env = run->env;
    struct buf reply;

    if (found->command == NULL) {
        command_unknown(found->name, line_of(&run->failed));
        return;
    }
    if (!str_is_null(found->fault)) {
        (void)buf_add(line_of(&run->failed), found->fault);
        return;
    }
    struct str key = crowded(run, found);
    if (!str_is_null(key)) {
        (void)buf_print(line_of(&run->failed),
                        "Invalid arguments: %.*s must stand alone in its message", STR_ARG(key));
        return;
    }
    buf_init(&reply, REPLY_BYTES_MAX);
    env->reply = &reply;
    bool done = command_run(env, found->command, found->args);
    (void)buf_add(line_of(done ? &run->said : &run->failed), buf_str(&reply));
    buf_fini(&reply);
    env->reply = NULL;
}

/* All of them, in order. True: all succeeded. *ret_reply: in the arena. */
static bool run_all(struct command_env *env, const struct cut_message *message,
                    struct str *ret_reply)
{
    struct run run = {.env = env, .message = message};

    if (message->found > COMMANDS_MAX) { /* they run on the loop */
        *ret_reply = str_print(env->arena,
                               "Too many commands: %zu are in this message, and at most %d run.\n"
                               "Nothing was changed.",
                               message->found, COMMANDS_MAX);
        return false;
    }
    buf_init(&run.said, REPLY_BYTES_MAX);
    buf_init(&run.failed, REPLY_BYTES_MAX);
    for (size_t i = 0; i < message->n; i++) {
        for (size_t k = 0; k < message->texts[i].spot.n; k++)
            run_one(&run, &message->texts[i].spot.items[k]);
    }
    bool done = run.failed.n == 0;
    if (!done && run.said.n > 0)
        (void)buf_add(line_of(&run.failed), STR("Nothing was changed."));
    *ret_reply = str_copy(env->arena, buf_str(done ? &run.said : &run.failed));
    buf_fini(&run.said);
    buf_fini(&run.failed);
    return done;
}

/* --- the rules of older messages --------------------------------------------------------- */

static bool says(struct str args, struct str word)
{
    for (size_t i = 0; i + word.n <= args.n; i++) {
        if (str_eq_nocase(str_of(args.p + i, word.n), word))
            return true;
    }
    return false;
}

/* One of the commands may have changed the prefix, or interactive mode. */
static bool may_change_rules(const struct cut_message *message)
{
    for (size_t i = 0; i < message->n; i++) {
        const struct spot *spot = &message->texts[i].spot;
        for (size_t k = 0; k < spot->n; k++) {
            const struct spot_found *found = &spot->items[k];
            if (found->command == NULL || !str_is_null(found->fault))
                return false; /* the message failed */
            if (str_eq(str_c(found->command->name), STR("interactive")) ||
                says(found->args, STR("prefix")) || says(found->args, STR("interactive")))
                return true;
        }
    }
    return false;
}

static struct cut_rules rules_of(const struct config *config, const struct settings *settings)
{
    bool own = settings != NULL && !str_is_null(settings->command_prefix);
    int interactive = settings == NULL ? -1 : settings->interactive;

    return (struct cut_rules){
        .prefix = own ? settings->command_prefix : config->command_prefix,
        .interactive = interactive < 0 ? !config->disable_interactive_mode : interactive != 0,
    };
}

/* What the message did when it was new: its commands run once more, on settings that nobody keeps.
 * May be in a thread. */
static bool replay(void *ctx, const struct cut_message *message, struct cut_rules *rules)
{
    struct call *call = ctx;
    struct settings before;
    struct str server_backend = STR_NULL;
    const struct session_stats stats = {.requests = 0};
    struct str unused;

    if (!may_change_rules(message))
        return false;
    settings_init(&before);
    before.command_prefix = rules->prefix;
    before.interactive = rules->interactive;
    struct settings draft = before;
    uint32_t changed = 0;
    struct command_env env = {
        .config = call->config,
        .backends = call->backends,
        .preferred = call->backends->preferred,
        .session_id = call->session_id,
        .before = &before,
        .draft = &draft,
        .changed = &changed,
        .stats = &stats,
        .new_server_backend = &server_backend,
        .version = call->version,
        .is_admin = true,
        .url = check_url,
        .is_directory = is_directory,
        .ctx = ctx,
        .arena = call->arena,
    };
    if (!run_all(&env, message, &unused) ||
        (changed & (SETTING_BIT(command_prefix) | SETTING_BIT(interactive))) == 0)
        return false;
    *rules = rules_of(call->config, &draft);
    return true;
}

/* --- steps ------------------------------------------------------------------------------- */

static bool is_possible(const struct call *call, const struct cut_rules *configured,
                        const struct cut_rules *session)
{
    struct str source = call->request.source;

    if (spot_is_possible(source, session->prefix))
        return true;
    return !str_eq(session->prefix, configured->prefix) &&
           spot_is_possible(source, configured->prefix);
}

static void look(struct call *call, void *arg)
{
    struct command_work *work = arg;

    work->cut.arena = call->arena;
    command_cut_find(&work->cut);
}

/* Of a large body also whether there may be any: strangers can make that slow. */
static void look_large(struct call *call, void *arg)
{
    const struct command_work *work = arg;

    if (is_possible(call, &work->cut.configured, &work->cut.session))
        look(call, arg);
}

/* NULL: there are none. */
static struct command_work *begin(struct call *call, bool large)
{
    struct cut_rules configured = rules_of(call->config, NULL);
    struct cut_rules session = rules_of(call->config, call->settings);

    if (LIKELY(!large && !is_possible(call, &configured, &session)))
        return NULL;
    if (call->ops != NULL)
        call->ops->commands(call);
    struct command_work *work = ARENA_NEW(pipeline_arena(call), struct command_work);
    if (arena_overflowed(pipeline_arena(call)))
        return NULL; /* the gateway answers that */
    work->cut = (struct cut){
        .protocol = call->intake.protocol,
        .request = &call->request,
        .configured = configured,
        .session = session,
        .replay = replay,
        .ctx = call,
    };
    return work;
}

static enum verdict refuse_overflow(struct call *call)
{
    FAIL(&call->error, ERR_TOO_LARGE,
         "looking for commands in it takes more memory than body_bytes_max allows");
    return STOP;
}

static enum verdict reply(struct call *call, struct str text)
{
    command_reply_send(call, text);
    return arena_overflowed(call->arena) ? refuse_overflow(call) : REPLY;
}

/* The change is in force, or has failed. */
static enum verdict committed(struct call *call, struct command_work *work)
{
    work->phase = PHASE_COMMITTED;
    if (call->error.code != OK) {
        struct str text = str_print(call->arena,
                                    "Settings cannot be kept: %s\nNothing was changed.",
                                    call->error.detail);
        call->error = (struct error){.code = OK};
        return reply(call, text);
    }
    call->settings = &work->draft;
    if (!work->cut.newest.rest)
        return reply(call, work->reply);
    command_cut_newest(&work->cut);
    return arena_overflowed(call->arena) ? refuse_overflow(call) : NEXT;
}

static enum verdict commit(struct call *call, struct command_work *work)
{
    struct session_change change = {.mask = work->changed, .values = work->draft};
    struct session *session = call->session;

    if (!str_is_null(work->server_backend)) {
        /* It stands alone in its message: nothing of the session's changes with it. */
        assert(work->changed == 0);
        session = sessions_server(call->sessions);
        settings_init(&change.values);
        change.mask = SETTING_BIT(backend);
        change.values.backend = work->server_backend.n > 0 ? work->server_backend : STR_NULL;
    }
    work->phase = PHASE_COMMITTED;
    if (change.mask != 0 && !call->ops->commit(call, session, &change))
        return WAIT;
    return committed(call, work);
}

/* What !/set(default-backend) says, as long as it is in force; else null. */
static struct str server_backend_of(const struct call *call, const struct backend *preferred)
{
    const struct settings *server = session_settings(sessions_server(call->sessions));
    bool holds = preferred != NULL && str_eq(server->backend, preferred->name);

    session_settings_unref(&server);
    return holds ? preferred->name : STR_NULL;
}

static enum verdict run_newest(struct call *call, struct command_work *work)
{
    struct session_view view;
    struct backend *preferred = pipeline_default_backend(call);

    session_view(call->session, call->arena, &view);
    settings_copy(call->settings, pipeline_arena(call), &work->draft);
    struct command_env env = {
        .config = call->config,
        .backends = call->backends,
        .preferred = preferred,
        .session_id = call->session_id,
        .before = call->settings,
        .draft = &work->draft,
        .changed = &work->changed,
        .stats = &view.stats,
        .server_backend = server_backend_of(call, preferred),
        .new_server_backend = &work->server_backend,
        .version = call->version,
        .is_admin = call->intake.client == NULL || call->intake.client->admin,
        .models = count_models,
        .model = find_model,
        .url = check_url,
        .is_directory = is_directory,
        .ctx = call,
        .arena = pipeline_arena(call),
    };
    bool done = run_all(&env, &work->cut.newest, &work->reply);
    metric_add(call->metrics, METRIC_commands_total, 0, (int64_t)work->cut.newest.found);
    LOG(COMMAND, DEBUG, "commands.run", F_STR("session", call->session_id),
        F_STR("request", call->request_id), F_INT("commands", work->cut.newest.found),
        F_Z("outcome", done ? "done" : "refused"));
    if (arena_overflowed(pipeline_arena(call)) || arena_overflowed(call->arena))
        return refuse_overflow(call);
    return done ? commit(call, work) : reply(call, work->reply);
}

static enum verdict looked(struct call *call, struct command_work *work)
{
    work->phase = PHASE_LOOKED;
    if (arena_overflowed(call->arena))
        return refuse_overflow(call);
    if (work->cut.newest.found > 0)
        return run_newest(call, work);
    if (work->cut.nothing)
        return reply(call,
                     STR("There is nothing to answer: the conversation holds commands only."));
    return NEXT;
}

static enum verdict command_request(struct call *call, void *state)
{
    struct command_state *s = state;

    if (call->config->disable_interactive_commands || call->intake.operation != OP_GENERATE ||
        call->session == NULL)
        return NEXT;
    if (s->work == NULL) {
        bool large = call->request.source.n > CALL_WORK_BYTES && call->ops != NULL;
        s->work = begin(call, large);
        if (LIKELY(s->work == NULL))
            return NEXT;
        if (large && !call->ops->work(call, look_large, s->work)) {
            s->work->phase = PHASE_LOOKED;
            return WAIT;
        }
        if (!large)
            look(call, s->work);
        return looked(call, s->work);
    }
    return s->work->phase == PHASE_LOOKED ? looked(call, s->work) : committed(call, s->work);
}

const struct stage stage_command = {
    .name = "command",
    .state_size = sizeof(struct command_state),
    .request = command_request,
};
