/* SPDX-License-Identifier: MIT */
/* What the files that read the configuration share. */
#pragma once

#include <stdatomic.h>

#include "base/metric.h"
#include "state/option.h"
#include "text/yaml.h"

#define CONFIG_MAGIC 0xc0f16a7eu

enum {
    CONFIG_FILE_BYTES_MAX = 1024 * 1024,
    CONFIG_REPORT_BYTES_MAX = 1024 * 1024,
    CONFIG_ARENA_BYTES_MAX = 256 * 1024 * 1024,
    CONFIG_BACKENDS_MAX = METRIC_SLOTS_BACKEND - 1,
    CONFIG_BACKEND_OPTIONS_MAX = 32,
    CONFIG_NUMBERED_KEYS_MAX = 20,
};

/* From where each option of a backend has its value; null: the default. */
struct config_note {
    struct str origins[CONFIG_BACKEND_OPTIONS_MAX];
    struct str keys;
};

/* What a reference holds: the public struct and what goes with it. */
struct config_snapshot {
    uint32_t magic;
    atomic_size_t refs;
    struct arena arena;
    struct str *origins; /* as config_table_options; null: the default */
    struct str keys_origin;
    struct str aliases_origin; /* of model_aliases; null: there are none */
    struct config_note *notes; /* as config.backends */
    struct str later;          /* given but without effect, as a list; "" none */
    struct config config;
};

struct config_env_line {
    struct str name;
    struct str value;
};

/* One run of config_read. */
struct config_reader {
    const struct config_source *source;
    struct arena arena; /* of this run; what stays is copied into the snapshot's */
    struct config_snapshot *snapshot;
    struct config *config; /* the snapshot's */
    struct buf report;
    struct buf later;
    size_t faults;
    size_t warnings;
    struct config_env_line *env; /* of .env, in order */
    size_t env_n;
    struct str file; /* as messages show it */
    bool file_used;
    struct backend_config backends[CONFIG_BACKENDS_MAX];
    struct config_note notes[CONFIG_BACKENDS_MAX];
    size_t backends_n;
};

/* config.c */
/* A line of the report: "WHERE: error: …". */
void config_fault(struct config_reader *r, struct str where, const char *format, ...)
    PRINTF_LIKE(3, 4);
void config_warn(struct config_reader *r, struct str where, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* An option of a later feature was given. */
void config_later(struct config_reader *r, struct str what, struct str where);
/* "config.yaml:3:7" */
struct str config_where(struct config_reader *r, const struct yaml_node *node);
/* A file of the source's directory. False: *ret_error says why. */
NODISCARD bool config_slurp(struct config_reader *r, struct str name, struct str *ret_text,
                            int *ret_error);
/* Checks the value and, for an option that this build has, keeps it, copied. path: as the user
 * wrote it. */
void config_assign(struct config_reader *r, struct str path, const struct option_value *value,
                   struct str where);
struct config_entry;
/* The same of a map's pairs, which were checked. */
void config_assign_list(struct config_reader *r, const struct config_entry *entry,
                        const struct str_list *list, struct str where);
struct config_snapshot *config_snapshot_of(const struct config *config);

/* config_table.c */
enum config_entry_kind {
    CONFIG_ENTRY_NONE,
    CONFIG_ENTRY_OPTION,
    CONFIG_ENTRY_LATER,
    CONFIG_ENTRY_SECTION,
    CONFIG_ENTRY_KEYS,     /* api_keys */
    CONFIG_ENTRY_BACKENDS, /* backends */
    CONFIG_ENTRY_ALIASES,  /* model_aliases */
    CONFIG_ENTRY_DEFAULTS, /* model_defaults */
};
struct config_entry {
    enum config_entry_kind kind;
    const struct option *option; /* OPTION, LATER */
    size_t index;                /* OPTION: its row */
};
struct config_alias {
    const char *path;
    const char *means;
};
struct config_vendor {
    const char *name;
    const char *variable; /* of its key and URL: prefix; NULL for a local one */
    const char *url;      /* NULL: local, or everybody has their own */
    const char *protocol; /* its variable, "protocol_openai_chat" */
    const char *members;  /* what else its line says, as it stands there */
    bool key_needed;
    bool local; /* inside this process */
};
/* Another variable of a vendor's: its SDK's. */
struct config_vendor_variable {
    const char *vendor;
    const char *what; /* "api_keys", "api_url", "api_version" */
    const char *variable;
};
struct config_variable {
    const char *name;
    const char *path;
    const char *also; /* another name; NULL: none */
};
extern const struct option config_table_options[];
extern const size_t config_table_options_n;
extern const struct option config_table_later[];
extern const size_t config_table_later_n;
extern const struct option config_table_backend[];
extern const size_t config_table_backend_n;
extern const struct option config_table_backend_later[];
extern const size_t config_table_backend_later_n;
extern const struct config_alias config_table_aliases[];
extern const size_t config_table_aliases_n;
extern const struct config_vendor config_table_vendors[];
extern const size_t config_table_vendors_n;
extern const struct config_vendor_variable config_table_vendor_variables[];
extern const size_t config_table_vendor_variables_n;
extern const struct config_variable config_table_variables[];
extern const size_t config_table_variables_n;
extern const char config_table_global[]; /* the preset of what falls back to the top level */

PURE_FN struct config_entry config_table_find(struct str path);
PURE_FN struct config_entry config_table_find_backend(struct str key);
PURE_FN const struct config_vendor *config_table_vendor(struct str name);
/* The valid key most like it: of the same section ("" the top level), or of that name in another
 * one. Static text. */
struct str config_table_nearest(struct str section, struct str key);
struct str config_table_nearest_backend(struct str key);

/* config_env.c */
/* Reads .env, which may be absent. */
void config_env_read(struct config_reader *r);
/* Null: not set, or empty. *ret_where: "environment NAME" or ".env NAME". */
struct str config_env_get(struct config_reader *r, const char *name, struct str *ret_where);
/* Of two names: the environment wins over .env, then also over name. also may be NULL. */
struct str config_env_get_either(struct config_reader *r, const char *name, const char *also,
                                 struct str *ret_where);
/* ${NAME} and ${NAME:-default} replaced; *ret_expanded: there was one. False: a fault was
 * reported. */
NODISCARD bool config_env_expand(struct config_reader *r, struct str text, struct str where,
                                 struct str *ret_text, bool *ret_expanded);

/* config_yaml.c */
/* name: of --config, or null: config.yaml when it is there. */
void config_yaml_read(struct config_reader *r, struct str name);
enum config_yaml_result { CONFIG_YAML_VALUE, CONFIG_YAML_NULL, CONFIG_YAML_FAULT };
/* A scalar or a list of them, expanded. what: the key, for messages. */
NODISCARD enum config_yaml_result config_yaml_value(struct config_reader *r,
                                                    const struct yaml_node *node, struct str what,
                                                    struct option_value *ret_value);
/* Reports and skips a key that stood before in its map. */
NODISCARD bool config_yaml_is_duplicate(struct config_reader *r, const struct yaml_node *map,
                                        const struct yaml_node *child, struct str what);
/* Checks an option of a later feature. */
void config_yaml_later(struct config_reader *r, const struct option *option,
                       const struct yaml_node *node, struct str what);

/* config_keys.c */
/* api_keys: of the file, and a comma list from elsewhere; each replaces what was there. */
void config_keys_clients(struct config_reader *r, const struct yaml_node *node);
void config_keys_clients_text(struct config_reader *r, struct str text, struct str where);
void config_keys_clients_environment(struct config_reader *r);
void config_keys_clients_clear(struct config *config);
void config_keys_backend(struct config_reader *r, struct backend_config *backend,
                         const struct yaml_node *node, struct str what);
/* Appends one; reports one that cannot be a key. */
void config_keys_backend_add(struct config_reader *r, struct backend_config *backend,
                             struct str name, struct str key, struct str where);
void config_keys_backend_clear(struct backend_config *backend);
/* A key as a source says it. */
struct config_key {
    struct str name;
    struct str text;
    struct str where;
};
/* These instead of those that the backend has from the file, with a warning where some of those are
 * lost. One that stands in the file keeps its name; where they are the same keys the file's stay as
 * they are: false. */
bool config_keys_backend_replace(struct config_reader *r, struct backend_config *backend,
                                 const struct config_key *keys, size_t n);

/* config_backends.c */
void config_backends_yaml(struct config_reader *r, const struct yaml_node *node);
void config_backends_environment(struct config_reader *r);
void config_backends_demo(struct config_reader *r, struct str where);
/* Inherits, checks, and moves them into the snapshot. */
void config_backends_finish(struct config_reader *r);

/* config_models.c */
void config_models_aliases(struct config_reader *r, const struct yaml_node *node);
void config_models_defaults(struct config_reader *r, const struct yaml_node *node);
/* As --print-config shows them, and as docs/CONFIGURATION.md explains them. */
void config_models_print(const struct config_snapshot *snapshot, struct buf *out);
void config_models_manual(struct buf *out);

/* config_args.c */
struct config_args_item {
    size_t row;
    struct str value;
};
enum { CONFIG_ARGS_MAX = 128 };
struct config_args {
    enum config_action action;
    struct str file; /* null: not given */
    struct str manual_topic;
    bool demo;
    struct config_args_item items[CONFIG_ARGS_MAX];
    size_t n;
};
void config_args_read(struct config_reader *r, struct config_args *ret_args);
void config_args_apply(struct config_reader *r, const struct config_args *args);
/* The options, one a line: as text, or as rows of a Markdown table. */
void config_args_list(struct buf *out, bool markdown);

/* config_print.c */
/* Ends the line that began at start with its origin. */
void config_print_origin(struct buf *out, size_t start, struct str origin);

/* config_check.c */
/* What concerns single options beyond their kind, and options together. */
void config_check_all(struct config_reader *r);
