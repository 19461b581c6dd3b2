/* SPDX-License-Identifier: MIT */
/*
 * Configuration: an immutable, reference-counted snapshot, read whole and checked whole.
 *
 * Sources, earlier wins: command line, environment, .env of the working directory, config file,
 * defaults. The struct's fields, defaults, range checks, the YAML parser, --print-config and the
 * manual are all made from the tables src/<room>/<room>.opt:
 *
 *   OPT(kind, name, default, min, max, "help")
 *   kind      C field                  in YAML
 *   text      struct str               a string
 *   flag      bool                     true, false, yes, no, on, off
 *   count     int64_t                  a whole number
 *   duration  int64_t, name_ms         seconds (decimals), or with ms s m h
 *   size      size_t, name (bytes)     bytes, or with KiB MiB GiB
 *   level     enum log_level           debug info warning error, any letter case
 *   texts     struct str_list          a list of strings, or one string
 *   proxy     struct secret            the URL of a proxy, checked; printed without its user info
 *   choice    struct str               one of several words; they stand in the place of min: "a|b"
 *   prefix    struct str               what commands begin with, checked
 *   levels    struct str_list          a map of rooms and levels, as "room:level"
 *
 *   OPT_IN(kind, section, name, …)     the same in a YAML section: OPT_IN(level, logging, level, …)
 *                                      is logging.level and the field logging_level
 *
 * Default, min and max are written as in YAML. state/option.def lists the tables.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/secret.h"

struct address_range;
struct model_aliases;
struct model_default;

struct str_list {
    struct str *items;
    size_t n;
};

/* A key that a client may show. */
struct client_key {
    struct str name; /* "key1" where the config gives none */
    struct secret key;
    bool admin; /* also when it is the only one */
};

/* A backend's key. */
struct backend_key {
    struct str name;
    struct secret key;
};

/* One entry of backends:, or one made from the environment. What its vendor brings is not in it. */
struct backend_config {
    struct str name;
    struct str type;        /* vendor; null: by name */
    struct str protocol;    /* null: the vendor's */
    struct str api_url;     /* null: the vendor's */
    struct str api_version; /* null: by the URL */
    struct backend_key *keys;
    size_t keys_n;
    struct str policy; /* which key a request takes; null: sticky */
    int64_t retry_wait_max_ms;
    struct str_list models; /* models: */
    struct str ca_file;
    bool tls_verify;
    int64_t connect_timeout_ms;
    int64_t proxy_timeout_ms;
    int64_t upstream_idle_timeout_ms;
    int64_t upstream_connections_max;
    int colon_names; /* -1: by vendor */
    int slash_names; /* -1: by vendor */
    int think_tags;  /* -1: by vendor */
    bool quirks_off;
    struct str_list headers; /* headers: as "Name: value" */
    struct str where;        /* "config.yaml:12:3", "OPENAI_API_KEY" */
};

#define OPT_FIELD_text(name)     struct str name;
#define OPT_FIELD_flag(name)     bool name;
#define OPT_FIELD_count(name)    int64_t name;
#define OPT_FIELD_duration(name) int64_t name##_ms;
#define OPT_FIELD_size(name)     size_t name;
#define OPT_FIELD_level(name)    enum log_level name;
#define OPT_FIELD_texts(name)    struct str_list name;
#define OPT_FIELD_proxy(name)    struct secret name;
#define OPT_FIELD_choice(name)   struct str name;
#define OPT_FIELD_prefix(name)   struct str name;
#define OPT_FIELD_levels(name)   struct str_list name;

struct config {
#define OPT(kind, name, preset, min, max, help)             OPT_FIELD_##kind(name)
#define OPT_IN(kind, section, name, preset, min, max, help) OPT_FIELD_##kind(section##_##name)
#include "state/option.def"
#undef OPT
#undef OPT_IN
    struct client_key *api_keys;
    size_t api_keys_n;
    struct backend_config *backends;
    size_t backends_n;
    struct address_range *trusted_ranges; /* trusted_proxies, read */
    size_t trusted_ranges_n;
    struct model_aliases *model_aliases;  /* model_alias.h; NULL: none */
    struct model_default *model_defaults; /* model_defaults.h */
    size_t model_defaults_n;
    bool demo; /* --demo, or backends: demo: */
};

struct config *config_ref(struct config *config);
/* Frees with the last reference, wipes the keys. Nulls; takes NULL. */
void config_unref(struct config **config);

/* Where configuration comes from; the process's own in production, made up in tests. */
struct config_source {
    int argc;
    char **argv;
    char **environ;        /* "NAME=value" …, NULL at the end */
    const char *directory; /* of config.yaml and .env; relative paths start here */
    bool again;            /* at a reload: a .env that cannot be read is a fault, not a warning */
    /* The config file, and .env, held something before: when one is gone or empty, as in the moment
     * in which it is written anew, that is a fault. */
    bool file_wanted;
    bool env_wanted;
};

enum config_action {
    CONFIG_SERVE,
    CONFIG_CHECK,  /* --check-config */
    CONFIG_PRINT,  /* --print-config */
    CONFIG_MANUAL, /* --manual TOPIC */
    CONFIG_VERSION,
    CONFIG_HELP
};

struct config_result {
    enum config_action action;
    struct config *config; /* NULL when there are faults; else one reference, the caller's */
    bool file_used;        /* the config file held options */
    bool env_used;         /* .env held variables */
    struct str manual_topic;
    struct str
        report; /* faults and warnings, one a line: "config.yaml:3:7: error: key: …"; arena's */
    size_t faults;
    size_t warnings;
};

/* Reads everything. Never prints. All faults are found, not only the first. */
void config_read(const struct config_source *source, struct arena *arena,
                 struct config_result *ret_result);
/* From where an option has its value: "config.yaml:3:7", "command line", "default". */
struct str config_origin(const struct config *config, const char *path);
/* All options with value and origin ("default", "config.yaml:3:7", "environment PROXY_PORT",
 * ".env PROXY_PORT", "command line"), keys by name only, as YAML with comments. */
struct str config_print(const struct config_source *source, const struct config *config,
                        struct arena *arena);
/* Topics "config" (docs/CONFIGURATION.md, Markdown); null str for an unknown one. The topics
 * "metrics" and "errors" are base/manual.h's. */
struct str config_manual(struct str topic, struct arena *arena);
struct str config_help(struct arena *arena);
/* config.example.yaml: what most set, ready to be used; then every option with its default, each
 * behind a "#" without a blank, which alone has to go for it to count. */
struct str config_example(struct arena *arena);

/* An option of the command line. */
struct config_flag {
    const char *name;  /* "--port" */
    const char *value; /* "PORT"; NULL: takes none */
    const char *help;
    bool later; /* it has no effect yet */
};
/* The i-th in the order of --help; false: there are no more. */
bool config_args_flag(size_t i, struct config_flag *ret_flag);
