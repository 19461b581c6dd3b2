/* SPDX-License-Identifier: MIT */
/* For the tests of the configuration: a folder with files, an environment, a command line. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"
#include "state/config.h"

enum { ARENA_MAX = 16 * 1024 * 1024, ARGS_MAX = 16 };

/* One reading of made-up sources in a folder of its own. */
struct fixture {
    char folder[64];
    struct arena arena;
    struct config_result result;
    struct config_source source;
    char *argv[ARGS_MAX];
};

static inline void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    (void)unlink(path);
    if (text == NULL)
        return;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static inline int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    (void)snprintf(f.folder, sizeof(f.folder), "/tmp/llm-proxy-config-XXXXXX");
    if (mkdtemp(f.folder) == NULL)
        return -1;
    arena_init(&f.arena, ARENA_MAX, 4096, NULL);
    *state = &f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    config_unref(&f->result.config);
    arena_fini(&f->arena);
    write_file(f, "config.yaml", NULL);
    write_file(f, "other.yaml", NULL);
    write_file(f, ".env", NULL);
    return rmdir(f->folder);
}

struct inputs {
    const char *yaml; /* NULL: no such file */
    const char *dot_env;
    char **environment;
    const char *arguments; /* separated by blanks */
};

static inline void read_config(struct fixture *f, const struct inputs *in)
{
    struct str rest = str_c(in->arguments);
    struct str word;
    static char program[] = "llm-proxy";

    config_unref(&f->result.config);
    write_file(f, "config.yaml", in->yaml);
    write_file(f, ".env", in->dot_env);
    f->argv[0] = program;
    f->source = (struct config_source){.argc = 1,
                                       .argv = f->argv,
                                       .environ = in->environment,
                                       .directory = f->folder};
    while (str_cut(&rest, ' ', &word)) {
        assert_true(f->source.argc < ARGS_MAX);
        f->argv[f->source.argc++] = str_z(&f->arena, word);
    }
    config_read(&f->source, &f->arena, &f->result);
    assert_int_equal(f->result.config == NULL,
                     f->result.faults > 0 || f->result.action > CONFIG_PRINT);
}

static inline const struct config *good(struct fixture *f, const struct inputs *in)
{
    read_config(f, in);
    if (f->result.config == NULL)
        fail_msg("%.*s", STR_ARG(f->result.report));
    return f->result.config;
}

static inline void assert_str(struct str s, const char *expected)
{
    if (!str_eq(s, str_c(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected);
}

static inline bool has(struct str text, const char *part)
{
    return str_find(text, str_c(part), 0) != SIZE_MAX;
}

static inline void assert_has(struct str text, const char *part)
{
    if (!has(text, part))
        fail_msg("no \"%s\" in:\n%.*s", part, STR_ARG(text));
}
