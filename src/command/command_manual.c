/* SPDX-License-Identifier: MIT */
/*
 * What      docs/COMMANDS.md: the grammar in short, each command, each key, and what is answered.
 * How       From the tables; the answers by running the commands, each on a session of its own,
 *           in an environment made up here. So the page cannot tell what is not so.
 * Owns      The configuration and the backends of that environment, for the call.
 * Not here  The checks themselves.
 */
#include "command/command_priv.h"
#include "command/knob.h"
#include "command/spot.h"
#include "command/value.h"
#include "state/url_door.h"

enum { PAGE_BYTES_MAX = 1024 * 1024, ARENA_BYTES_MAX = 8 * 1024 * 1024, REPLY_BYTES_MAX = 65536 };

static const char head[] =
    "# Commands\n\n"
    "Made by `llm-proxy --manual commands`: the keys and ranges are those of the program's\n"
    "tables, and each answer is what the command really said.\n\n"
    "A command is typed into the chat, in any client: `!/set(model=openai:gpt-4o)`. The\n"
    "proxy takes it out of the message and does what it says. When nothing else is left in\n"
    "the message, or the command fails, the proxy answers by itself and no backend is\n"
    "called; else the rest goes to the backend, with the new settings.\n\n"
    "## How commands are written\n\n"
    "- The prefix (`!/`, or `command_prefix`), the name directly after it, in small letters,\n"
    "  `(` directly after the name.\n"
    "- Arguments are `key=value` or bare, with a comma between them; no blanks around `=`.\n"
    "  Keys may have letters of either case. In names and keys `_` and `-` are equal. A\n"
    "  trailing `-enabled` of a switch may be left out.\n"
    "- Values with commas, blanks or parentheses stand in `'` or `\"`; `\\` escapes within\n"
    "  them. A JSON object needs no quotes.\n"
    "- Switches are `true false`, `yes no`, `on off`, `1 0` or `enabled disabled`.\n"
    "- A command begins a line or stands after a blank. It ends with `)` or its name; a\n"
    "  blank, the end, or one of `.,;:!?` with a blank or the end behind it follows.\n"
    "  Anything else is text: paths, URLs, shebangs, regular expressions. Code, inline or\n"
    "  fenced, is not looked into, nor are files and results of tools in a message.\n"
    "- They are looked for in the newest message only, when it is the user's. Several run\n"
    "  in order. One that fails changes nothing, not even by its valid arguments, and\n"
    "  neither do the others of its message. Of more than 256 in a message none runs.\n"
    "- What opens a door must stand alone in its message: `openai-url`,\n"
    "  `redact-api-keys-in-prompts`, `default-backend`, and what switches a guard off or\n"
    "  back to its default (`loop-detection`, `tool-loop-detection`).\n"
    "- Names that no command has are answered in interactive mode, when they stand alone on\n"
    "  their line; else they are text. `disable_interactive_commands: true` switches all of\n"
    "  it off.\n\n"
    "## What holds\n\n"
    "A one-off, then the session's model and backend, replace what a request names. For\n"
    "everything else the request wins, then the session, then `model_defaults`.\n"
    "`set(model=b:m)` sets backend and model, as if both were given; `unset(model)`\n"
    "afterwards leaves the backend. `set(backend=B)` leaves the model's name as it is. A\n"
    "bare model is one of the session's backend, else of the default one. `status` tells\n"
    "what holds.\n\n"
    "`reasoning-effort` and `thinking-budget` are said in each vendor's own words, as near to\n"
    "what was set as the model takes it; where both are set, the budget counts. A model that\n"
    "is known not to reason is asked for none.\n\n"
    "In interactive mode a model that its backend does not list is used all the same, with\n"
    "a line in the answer that says so.\n\n";

/* --- the environment --- */

/* What to type for each key: a good value, one of a wrong kind, one out of range. */
static const struct sample {
    const char *good;
    const char *wrong; /* NULL: there is none */
    const char *range;
} samples[KNOB_COUNT] = {
    [KNOB_backend] = {"anthropic", "gemini", "nowhere"},
    [KNOB_model] = {"gpt-4o", "nowhere:gpt-4o", "''"},
    [KNOB_default_backend] = {"anthropic", "gemini", "nowhere"},
    [KNOB_project] = {"\"my project\"", NULL, "''"},
    [KNOB_project_dir] = {"/tmp", "/no/such/folder", "''"},
    [KNOB_interactive] = {"off", "perhaps", NULL},
    [KNOB_temperature] = {"0.7", "warm", "2.1"},
    [KNOB_reasoning_effort] = {"high", "extreme", NULL},
    [KNOB_thinking_budget] = {"2048", "much", "100"},
    [KNOB_gemini_generation_config] = {"{\"topK\": 20, \"responseModalities\": [\"TEXT\"]}", "20",
                                       NULL},
    [KNOB_openai_url] = {"https://llm.example.com/v1", "llm.example.com", "''"},
    [KNOB_loop_detection] = {"no", "perhaps", NULL},
    [KNOB_tool_loop_detection] = {"1", "perhaps", NULL},
    [KNOB_tool_loop_max_repeats] = {"3", "few", "1"},
    [KNOB_tool_loop_ttl] = {"60", "long", "0"},
    [KNOB_tool_loop_mode] = {"chance_then_break", "shout", NULL},
    [KNOB_redact_api_keys] = {"disabled", "perhaps", NULL},
    [KNOB_command_prefix] = {"$/", "$", "''"},
    [KNOB_oneoff] = {NULL, NULL, NULL},
};

/* Beyond the keys. */
static const char *const others[] = {
    "!/set(model=anthropic:claude-sonnet-4-5, temperature=0.2)",
    "!/set(tool_loop_detection_enabled=true, tool_loop_max_repeats=3)",
    "!/set(backend='')",
    "!/set(default-backend='')",
    "!/set(project=mine, temperature=9)",
    "!/set",
    "!/set (project=mine)",
    "!/set(project = mine)",
    "!/set(\"project\"=\"mine\")",
    "!/set(project=mine temperature=0.7)",
    "!/set(project=\"mine)",
    "!/set(project)",
    "!/set(mode=gpt-4o)",
    "!/set(model=a, model=b)",
    "!/set(command-prefix=\"$ /\")",
    "!/set(command-prefix=$$)",
    "!/set(command-prefix=12345678901)",
    "!/set(openai-url=https://elsewhere.example/v1)",
    "!/unset",
    "!/unset(model, temperature)",
    "!/unset(modle)",
    "!/unset(model=x)",
    "!/model(gpt-4o)",
    "!/model(openai:gpt-4o)",
    "!/model(openai/gpt-4o)",
    "!/model",
    "!/backend(anthropic)",
    "!/backend(name=openai)",
    "!/temperature(value=1)",
    "!/project(mine)",
    "!/project-dir(/tmp)",
    "!/interactive(true)",
    "!/interactive(false)",
    "!/oneoff(openai:gpt-4o)",
    "!/one-off(anthropic/claude-sonnet-4-5)",
    "!/oneoff(gpt-4o)",
    "!/oneoff(openai:)",
    "!/pwd",
    "!/pwd(x)",
    "!/help(hepl)",
    "!/hepl",
};

struct made {
    struct arena arena;
    struct config *config;
    struct backend_config *backends; /* the configuration's own */
    size_t backends_n;
    struct str_list hosts;
    struct backend_set *set;
};

static void make(struct made *made)
{
    struct arena *arena = &made->arena;

    arena_init(arena, ARENA_BYTES_MAX, 4096, NULL);
    char *argv[] = {str_z(arena, STR("llm-proxy")), NULL};
    char *environment[] = {str_z(arena, STR("OPENAI_API_KEY=example")),
                           str_z(arena, STR("ANTHROPIC_API_KEY=example")),
                           str_z(arena, STR("LLM_BACKEND=openai")), NULL};
    const struct config_source source = {.argc = 1,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct config_result result;
    struct error e;

    config_read(&source, arena, &result);
    made->config = result.config;
    assert(made->config != NULL);
    made->backends = made->config->backends;
    made->backends_n = made->config->backends_n;
    /* One more that has no key. */
    struct backend_config *entries = arena_array(arena, made->backends_n + 1, sizeof(*entries));
    memcpy(entries, made->backends, made->backends_n * sizeof(*entries));
    entries[made->backends_n] = (struct backend_config){.name = STR("gemini"),
                                                        .colon_names = -1,
                                                        .slash_names = -1,
                                                        .think_tags = -1};
    made->config->backends = entries;
    made->config->backends_n++;
    made->hosts = made->config->allowed_url_hosts;
    struct str *allowed = ARENA_NEW(arena, struct str);
    *allowed = STR("llm.example.com");
    made->config->allowed_url_hosts = (struct str_list){.items = allowed, .n = 1};
    enum error_code code = backend_set_new(made->config, &made->set, &e);
    assert(code == OK);
    assert(!arena_overflowed(arena));
}

static void unmake(struct made *made)
{
    backend_set_free(&made->set);
    made->config->backends = made->backends;
    made->config->backends_n = made->backends_n;
    made->config->allowed_url_hosts = made->hosts;
    config_unref(&made->config);
    arena_fini(&made->arena);
}

static size_t models_of(void *ctx, const struct backend *backend)
{
    (void)ctx;
    return str_eq(backend->name, STR("openai")) ? 42 : SIZE_MAX;
}

static bool url_passes(void *ctx, struct str text, struct arena *arena, struct str *ret_why)
{
    const struct made *made = ctx;
    struct url url;

    return url_door_passes(made->config, text, arena, &url, ret_why);
}

static bool is_directory(void *ctx, struct str path, struct str *ret_why)
{
    (void)ctx;
    *ret_why = STR("not found");
    return str_eq(path, STR("/tmp"));
}

/* What the proxy answers to the message, in a new session. */
static struct str answer(struct made *made, struct str message)
{
    struct settings before;
    struct settings draft;
    struct str server_backend = STR_NULL;
    uint32_t changed = 0;
    struct buf reply;
    struct spot spot;
    const struct spot_options options = {.prefix = STR("!/"), .interactive = true};
    struct command_env env = {.config = made->config,
                              .backends = made->set,
                              .preferred = made->set->preferred,
                              .session_id = STR("my-session"),
                              .before = &before,
                              .draft = &draft,
                              .changed = &changed,
                              .new_server_backend = &server_backend,
                              .version = "VERSION",
                              .is_admin = true,
                              .models = models_of,
                              .url = url_passes,
                              .is_directory = is_directory,
                              .ctx = made,
                              .arena = &made->arena,
                              .reply = &reply};

    settings_init(&before);
    settings_init(&draft);
    buf_init(&reply, REPLY_BYTES_MAX);
    spot_text(message, &options, &made->arena, &spot);
    assert(spot.n == 1);
    const struct spot_found *found = &spot.items[0];
    if (!str_is_null(found->fault))
        (void)buf_add(&reply, found->fault);
    else if (found->command == NULL)
        command_unknown(found->name, &reply);
    else
        (void)command_run(&env, found->command, found->args);
    assert(reply.n > 0 && buf_ok(&reply));
    struct str text = str_copy(&made->arena, buf_str(&reply));
    buf_fini(&reply);
    return text;
}

/* --- the page --- */

/* One row; its lines are parted by <br>. */
static void add_row(struct made *made, struct str message, struct buf *out)
{
    struct str rest = answer(made, message);
    struct str line;
    const char *before = "";

    (void)buf_print(out, "| `%.*s` | ", STR_ARG(message));
    while (str_cut(&rest, '\n', &line)) {
        assert(str_find_char(line, '`', 0) == SIZE_MAX);
        (void)buf_print(out, "%s`%.*s`", before, STR_ARG(line));
        before = "<br>";
    }
    (void)buf_add(out, STR(" |\n"));
}

static void add_knob_rows(struct made *made, enum knob_id id, struct buf *out)
{
    const char *key = knob_specs[id].key;
    const char *typed[] = {samples[id].good, samples[id].wrong, samples[id].range};

    for (size_t i = 0; i < COUNT_OF(typed); i++) {
        if (typed[i] != NULL)
            add_row(made, str_print(&made->arena, "!/set(%s=%s)", key, typed[i]), out);
    }
    add_row(made, str_print(&made->arena, "!/unset(%s)", key), out);
}

static void add_replies(struct made *made, struct buf *out)
{
    (void)buf_add(
        out, STR("## What is answered\n\n"
                 "Each in a session of its own, of an administrator. The backends are "
                 "`openai` (the default) and\n`anthropic`; `gemini` has no key; `llm.example.com` "
                 "is one of\n`allowed_url_hosts`. Lines of one answer are parted by "
                 "`<br>`.\n\n"
                 "| typed | answer |\n|---|---|\n"));
    for (size_t i = 0; i < KNOB_COUNT; i++)
        add_knob_rows(made, (enum knob_id)i, out);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        add_row(made, str_c(others[i]), out);
    static const char *const long_ones[] = {"!/hello", "!/status", "!/stats", "!/help",
                                            "!/help(temperature)"};
    for (size_t i = 0; i < COUNT_OF(long_ones); i++)
        (void)buf_print(out, "\n`%s`\n\n```\n%.*s\n```\n", long_ones[i],
                        STR_ARG(answer(made, str_c(long_ones[i]))));
}

static void add_keys(struct buf *out)
{
    (void)buf_add(out, STR("\n### Keys of set and unset\n\n"
                           "| key | also written | value | meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        const struct arg_spec *spec = &knob_specs[i];
        struct str rest = str_c(spec->aliases);
        struct str alias;
        const char *before = "";
        (void)buf_print(out, "| `%s` | ", spec->key);
        while (str_cut(&rest, '|', &alias)) {
            (void)buf_print(out, "%s`%.*s`", before, STR_ARG(alias));
            before = " ";
        }
        (void)buf_add(out, STR(" | "));
        if (i < KNOB_SET_COUNT)
            value_range(spec, out);
        else
            (void)buf_add(out, STR("of unset only"));
        (void)buf_print(out, " | %s |\n", spec->help);
    }
}

static void add_command(const struct command *command, struct buf *out)
{
    struct str rest = str_c(command->examples);
    struct str aliases = str_c(command->aliases);
    struct str one;

    (void)buf_print(out, "\n### %s\n\n%s Format: `!/%s`.", command->name, command->help,
                    command->usage);
    while (str_cut(&aliases, '|', &one))
        (void)buf_print(out, " Also: `!/%.*s`.", STR_ARG(one));
    (void)buf_add(out, STR("\n\n```\n"));
    while (str_cut(&rest, '\n', &one))
        (void)buf_print(out, "!/%.*s\n", STR_ARG(one));
    (void)buf_add(out, STR("```\n"));
    if (command->args_n != 1)
        return;
    const struct arg_spec *spec = &command->args[0];
    rest = str_c(spec->aliases);
    (void)buf_add(out, STR("\nThe value is "));
    value_range(spec, out);
    (void)buf_add(out, STR("; it may have a key:"));
    while (str_cut(&rest, '|', &one))
        (void)buf_print(out, " `%.*s`", STR_ARG(one));
    (void)buf_add(out, STR(".\n"));
}

struct str command_manual(struct arena *arena)
{
    struct made made;
    struct buf out;

    make(&made);
    buf_init(&out, PAGE_BYTES_MAX);
    (void)buf_add(&out, str_c(head));
    (void)buf_add(&out, STR("## The commands\n"));
    for (size_t i = 0; i < command_count; i++)
        add_command(command_table[i], &out);
    add_keys(&out);
    (void)buf_add_char(&out, '\n');
    add_replies(&made, &out);
    assert(buf_ok(&out));
    struct str page = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    unmake(&made);
    return page;
}
