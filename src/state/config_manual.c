/* SPDX-License-Identifier: MIT */
/*
 * What      docs/CONFIGURATION.md: the tables as Markdown, with the few words that they need.
 * Owns      Nothing.
 */
#include "state/config_priv.h"

enum { MANUAL_BYTES_MAX = 1024 * 1024 };

static const char intro[] =
    "# Configuration\n\n"
    "Made by `llm-proxy --manual config` from the tables of the source.\n\n"
    "Sources, earlier wins: command line, environment, `.env` in the working directory (it never\n"
    "overrides the real environment), config file (`--config FILE`, else `./config.yaml` when it\n"
    "is there), defaults. `llm-proxy --check-config` names every fault with its line and column;\n"
    "`llm-proxy --print-config` shows each value and where it comes from.\n\n"
    "In texts of the config file `${NAME}` and `${NAME:-default}` are replaced from the\n"
    "environment; without a default an unset variable is an error. A literal `${` is written\n"
    "`$${`. Unknown keys, keys that stand twice, wrong types and values out of range are\n"
    "errors.\n\n"
    "Durations are seconds (`1.5`), or a number with `ms`, `s`, `m` or `h`. Sizes are bytes, or a\n"
    "number with `KiB`, `MiB` or `GiB`. A list may be one text; in the environment and on the\n"
    "command line it is separated by commas. An empty variable is an unset one.\n";

static const char commands_text[] =
    "\n## Commands\n\n"
    "`llm-proxy lint-stream --protocol NAME [--whole] [--array] < CAPTURE` checks the body of an\n"
    "answer, as a client got it (`curl -sN …`), against the grammar of its protocol: a stream of\n"
    "events, with `--whole` one whole body, with `--array` a stream as a JSON array. Files may be\n"
    "named instead of the standard input, many at once. Exit code 0: it is as it should be; 1:\n"
    "`line N: …` says the first violation (of files behind their names); 2: not all was checked.\n"
    "\n"
    "`llm-proxy debug-stream [--url URL] [--model M] [PROMPT]` asks a proxy (or any server of\n"
    "these protocols) for a stream, and prints each event with the milliseconds since the request\n"
    "and since the event before it. The URL is `http://127.0.0.1:8000` without one; its path says\n"
    "the protocol (`/v1/messages`, `/v1/responses`, `…:streamGenerateContent`; else Chat\n"
    "Completions), or `--protocol` does. Without a PROMPT it comes from the standard input. The\n"
    "key is `--api-key`, else `LLM_INTERACTIVE_PROXY_API_KEY`, else, for a proxy on this machine,\n"
    "that of `data/client.key` (`--data-dir`). Exit code 0: the stream came to its end; 1: it did\n"
    "not (an error, no answer, not what the protocol says), with the status and all headers where\n"
    "it was an error; 2: nothing was asked; 130: interrupted.\n";

static const char reload_text[] =
    "\n## Reading it again\n\n"
    "At SIGHUP everything is read again from the same sources: the config file, `.env`, the\n"
    "client key that was made, certificates. It is checked whole: on any fault, which the log\n"
    "names with its line and column (`reload.fault`, `reload.failed`), the old configuration\n"
    "stays in force. So it does when the config file or `.env` is gone or holds nothing, and held\n"
    "something before: so a file looks in the moment in which it is written anew. Else\n"
    "`reload.done` follows, and every request that begins from then on goes by the new one;\n"
    "requests that run, streams too, end as they began, with their backend, key and limits.\n"
    "Connections of clients stay open; idle ones to backends are made anew. A new certificate is\n"
    "shown to who connects from then on.\n\n"
    "`host`, `port` and `workers` need a restart; `reload.done` names those that differ. So does\n"
    "`disable_auth` where the proxy listens on another address than loopback: such a\n"
    "configuration is refused as a whole.\n";

static const char keys_text[] =
    "\n## Client keys\n\n"
    "`api_keys:` (also `auth.api_keys:`) is a list of keys, or of `{name, key, admin}`. In the\n"
    "environment: `API_KEYS=K1,K2` and `LLM_INTERACTIVE_PROXY_API_KEY`. A single key is an\n"
    "admin's; of several those with `admin: true` are. Without any, one is made at the first\n"
    "start and kept in `data_dir`. A key with blanks or quotes around it is an error\n"
    "(`Invalid API key format`); no key is ever printed. A key's name is 1 to 128 bytes. No name\n"
    "and no text of the configuration has line breaks or control characters.\n";

static const char backends_text[] =
    "\n## Backends\n\n"
    "`backends.NAME:` makes a backend; a name is 1 to 64 of `a-z 0-9 _ . -`. A vendor's name, or\n"
    "`type: VENDOR`, brings its URL, key header and dialect; any other name needs `protocol:` and\n"
    "`api_url:`. What a backend does not say itself it takes from the top level, where a default\n"
    "is marked *top level*.\n\n"
    "`api_url` is what an SDK takes as its base. The version may be left out: it is added when no\n"
    "segment of the path is one (`https://host/compat` is `https://host/compat/v1`).\n\n"
    "`api_keys:` (also `api_key:`) is a map `name: key`, a list, or one key.\n\n";

static const char vendors_text[] =
    "\n## Vendors\n\n"
    "A vendor's backend exists when `backends:` names it, when one of its variables is set (its\n"
    "key, numbered keys, `VENDOR_API_BASE_URL`), or when `default_backend` (`--default-backend`,\n"
    "`LLM_BACKEND`) names it. Those at `localhost` need no key; `make run` looks whether one of\n"
    "them listens, and starts with it as the default. The usual port of vLLM is the proxy's own,\n"
    "too: with `--port 8001` it has another one (`make run` does so by itself). They load a model\n"
    "on the first request, which may take minutes, within `proxy_timeout`.\n\n"
    "Several backends of one vendor have names of their own: `backends: team: {type: openai,\n"
    "api_keys: [...]}` is used as `team:gpt-4o`.\n\n"
    "`azure`: with `api_url: https://NAME.openai.azure.com` a model is a deployment, whose name\n"
    "goes into the path, and `api_version` into the query (2024-10-21 if it is not set). With\n"
    "`https://NAME.openai.azure.com/openai/v1` neither is in the URL. With\n"
    "`https://NAME.services.ai.azure.com/models` the model stands in the body, and `api_version`\n"
    "(2024-05-01-preview) in the query. The list of models that Azure gives is of what may be\n"
    "deployed: `models:` names your deployments. A token instead of a key: `headers:\n"
    "{authorization: Bearer ...}`.\n\n"
    "Where names of models have colons or slashes, `colon_names` and `slash_names` are on. Two\n"
    "protocols: clients of the second one are served in it, at the vendor's own URL; those of all\n"
    "others by translation.\n\n"
    "`github`: `GITHUB_TOKEN` is not read, as it is set in many places for other purposes;\n"
    "`api_keys: ${GITHUB_TOKEN}` in the config file takes it.\n";

static const char environment_text[] =
    "\n## Environment\n\n"
    "`VENDOR_API_KEY`, or numbered `VENDOR_API_KEY_1` to `_20`, makes the vendor's backend, or\n"
    "replaces its keys (one that the file has as well keeps its name there);\n"
    "`VENDOR_API_BASE_URL` makes it as well, or replaces its URL. The table of vendors has these\n"
    "names, and others that some vendors' own programs read; those count where the first are not\n"
    "set.\n";

static const char proxies_text[] =
    "\nOf a proxy's two names the lower-case one wins, and the environment over `.env`.\n"
    "`HTTP_PROXY` in capitals is taken too: this is no CGI program, whose clients could set it by\n"
    "a header. An https backend is reached by a tunnel (`CONNECT`) with TLS to the backend in it,\n"
    "an http one by requests with the whole URL in them. A user name and a password in a proxy's\n"
    "URL are percent-encoded. An https proxy is verified by `ca_file` and `tls_verify` of the top\n"
    "level; `connect_timeout` is for all of the way. Other kinds (socks) are an error.\n";

static void add_range(struct buf *out, const struct option *option)
{
    if (option->kind == OPTION_choice)
        for (const char *p = option->min; *p != '\0'; p++)
            (void)(*p == '|' ? buf_add(out, STR(", ")) : buf_add_char(out, *p));
    else if (option->min[0] != '\0')
        (void)buf_print(out, "%s to %s", option->min, option->max);
}

static void add_row(struct buf *out, const struct option *option, bool with_default)
{
    (void)buf_print(out, "| `%s` | %s | ", option->path, option_kind_name(option->kind));
    if (with_default) {
        if (option->preset == config_table_global)
            (void)buf_add(out, STR("*top level*"));
        else if (option->preset[0] != '\0')
            (void)buf_print(out, "`%s`", option->preset);
        (void)buf_add(out, STR(" | "));
    }
    add_range(out, option);
    (void)buf_print(out, " | %s |\n", option->help);
}

static void add_table(struct buf *out, const struct option *options, size_t n, bool with_default)
{
    if (with_default)
        (void)buf_add(out, STR("| option | kind | default | range | |\n|---|---|---|---|---|\n"));
    else
        (void)buf_add(out, STR("| option | kind | range | |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < n; i++)
        add_row(out, &options[i], with_default);
}

static void add_aliases(struct buf *out)
{
    (void)buf_add(out, STR("\nOther places of some options:"));
    for (size_t i = 0; i < config_table_aliases_n; i++)
        (void)buf_print(out, "%s\n`%s` is `%s`", i == 0 ? "" : ",", config_table_aliases[i].path,
                        config_table_aliases[i].means);
    (void)buf_add(out, STR(".\n"));
}

/* "openai-chat", of "protocol_openai_chat" */
static void add_protocol(struct buf *out, struct str variable)
{
    struct str name = str_from(variable, strlen("protocol_"));

    assert(str_starts(variable, STR("protocol_")));
    for (size_t i = 0; i < name.n; i++)
        (void)buf_add_char(out, name.p[i] == '_' ? '-' : name.p[i]);
}

static void add_protocols(struct buf *out, const struct config_vendor *vendor)
{
    const struct str mark = STR(".also = &");
    struct str members = str_c(vendor->members);
    size_t at = str_find(members, mark, 0);

    add_protocol(out, str_c(vendor->protocol));
    if (at == SIZE_MAX)
        return;
    struct str also = str_from(members, at + mark.n);
    (void)buf_add(out, STR(", "));
    add_protocol(out, str_head(also, str_find_char(also, ',', 0)));
}

/* Whether its models' names have colons, and slashes (contract, section 4). */
static void add_names(struct buf *out, const struct config_vendor *vendor)
{
    struct str members = str_c(vendor->members);
    bool colons = str_find(members, STR(".colon_names = true"), 0) != SIZE_MAX;
    bool slashes = str_find(members, STR(".slash_names = true"), 0) != SIZE_MAX;

    (void)buf_add(out, !colons && !slashes ? STR("")
                       : !slashes          ? STR("`:`")
                       : !colons           ? STR("`/`")
                                           : STR("`:` `/`"));
}

static void add_vendors_variables(struct buf *out, const struct config_vendor *vendor)
{
    (void)buf_print(out, "`%s_API_KEY`", vendor->variable);
    for (size_t i = 0; i < config_table_vendor_variables_n; i++) {
        const struct config_vendor_variable *also = &config_table_vendor_variables[i];
        if (str_eq(str_c(also->vendor), str_c(vendor->name)))
            (void)buf_print(out, ", `%s` (`%s`)", also->variable, also->what);
    }
}

static void add_vendors(struct buf *out)
{
    (void)buf_add(out, STR("\n| vendor | variables | URL | key | protocols | names with |\n"
                           "|---|---|---|---|---|---|\n"));
    for (size_t i = 0; i < config_table_vendors_n; i++) {
        const struct config_vendor *vendor = &config_table_vendors[i];
        if (vendor->local)
            continue;
        (void)buf_print(out, "| `%s` | ", vendor->name);
        add_vendors_variables(out, vendor);
        (void)buf_print(out, " | %s | %s | ", vendor->url == NULL ? "your own" : vendor->url,
                        vendor->key_needed ? "needed" : "none needed");
        add_protocols(out, vendor);
        (void)buf_add(out, STR(" | "));
        add_names(out, vendor);
        (void)buf_add(out, STR(" |\n"));
    }
}

static void add_environment(struct buf *out)
{
    (void)buf_add(out, str_of(environment_text, sizeof(environment_text) - 1));
    (void)buf_add(out, STR("\n| variable | option |\n|---|---|\n"));
    for (size_t i = 0; i < config_table_variables_n; i++) {
        const struct config_variable *variable = &config_table_variables[i];
        bool later = config_table_find(str_c(variable->path)).kind == CONFIG_ENTRY_LATER;
        (void)buf_print(out, "| `%s`", variable->name);
        if (variable->also != NULL)
            (void)buf_print(out, ", `%s`", variable->also);
        (void)buf_print(out, " | `%s`%s |\n", variable->path, later ? " (no effect yet)" : "");
    }
    (void)buf_add(out, STR("| `API_KEYS` | `api_keys` |\n"
                           "| `LLM_INTERACTIVE_PROXY_API_KEY` | `api_keys` |\n"));
    (void)buf_add(out, str_of(proxies_text, sizeof(proxies_text) - 1));
}

static void add_later(struct buf *out)
{
    (void)buf_add(out,
                  STR("\n## Accepted, without effect yet\n\n"
                      "These are checked for their type and named in one warning at start.\n\n"));
    add_table(out, config_table_later, config_table_later_n, false);
    (void)buf_add(out, STR("\nWithin a backend:\n\n"));
    add_table(out, config_table_backend_later, config_table_backend_later_n, false);
}

struct str config_manual(struct str topic, struct arena *arena)
{
    struct buf out;

    if (!str_eq(topic, STR("config")))
        return STR_NULL;
    buf_init(&out, MANUAL_BYTES_MAX);
    (void)buf_add(&out, str_of(intro, sizeof(intro) - 1));
    (void)buf_add(&out, STR("\n## Options\n\n"));
    add_table(&out, config_table_options, config_table_options_n, true);
    add_aliases(&out);
    (void)buf_add(&out, str_of(reload_text, sizeof(reload_text) - 1));
    (void)buf_add(&out, str_of(keys_text, sizeof(keys_text) - 1));
    (void)buf_add(&out, str_of(backends_text, sizeof(backends_text) - 1));
    add_table(&out, config_table_backend, config_table_backend_n, true);
    (void)buf_add(&out, str_of(vendors_text, sizeof(vendors_text) - 1));
    add_vendors(&out);
    config_models_manual(&out);
    add_environment(&out);
    (void)buf_add(&out, STR("\n## Command line\n\n"
                            "`--option VALUE` or `--option=VALUE`.\n\n"
                            "| option | is | |\n|---|---|---|\n"));
    config_args_list(&out, true);
    (void)buf_add(&out, str_of(commands_text, sizeof(commands_text) - 1));
    add_later(&out);
    assert(buf_ok(&out));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}
