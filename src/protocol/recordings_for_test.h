/* SPDX-License-Identifier: MIT */
/*
 * Recorded exchanges and files for this room's tests. The recordings are no part of the project:
 * where ../shared/recordings is absent, tests say so and skip.
 */
#pragma once

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "text/json.h"

struct recording {
    size_t line;
    bool stream;
    int status;
    struct str provider;
    struct str body;    /* of the response */
    struct str request; /* JSON text; null: not recorded */
};

typedef void recording_fn(void *ctx, const struct recording *recording);

/* A file's bytes in the arena; null where there is none. */
static inline struct str recordings_read_file(const char *path, struct arena *arena)
{
    FILE *file = fopen(path, "rb");
    struct str text = STR_NULL;
    long size;

    if (file == NULL)
        return text;
    assert(fseek(file, 0, SEEK_END) == 0);
    size = ftell(file);
    assert(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
    char *to = arena_alloc(arena, (size_t)size + 1);
    assert(!arena_overflowed(arena));
    size_t n = fread(to, 1, (size_t)size, file);
    assert(n == (size_t)size);
    (void)fclose(file);
    return str_of(to, n);
}

static inline void recordings_give(struct str line, size_t number, const char *api,
                                   recording_fn *each, void *ctx)
{
    const struct json_read_options options = {.depth_max = 200};
    struct arena arena;
    struct error e;
    int64_t status = 0;

    arena_init(&arena, 256u * 1024 * 1024, 64 * 1024, NULL);
    yyjson_val *root = json_read(line, &options, &arena, &e);
    assert(root != NULL);
    if (str_eq(json_get_str(root, STR("api")), str_c(api))) {
        bool known = json_to_int64(json_get(root, STR("status")), &status);
        assert(known);
        yyjson_val *request = json_get(root, STR("request"));
        struct recording recording = {
            .line = number,
            .stream = yyjson_is_true(json_get(root, STR("stream"))),
            .status = (int)status,
            .provider = json_get_str(root, STR("provider")),
            .body = json_get_str(root, STR("response_body")),
            .request = yyjson_is_obj(request) ? json_text(request, &arena) : STR_NULL,
        };
        each(ctx, &recording);
    }
    arena_fini(&arena);
}

/* Gives every recording of that kind; false, with a message, where there are none. */
static inline bool recordings_each(const char *api, recording_fn *each, void *ctx)
{
    static const char *const places[] = {"../shared/recordings/shared.jsonl"};
    struct arena arena;
    struct str rest = STR_NULL;
    struct str line;
    size_t number = 0;

    arena_init(&arena, 256u * 1024 * 1024, 64 * 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(places) && str_is_null(rest); i++)
        rest = recordings_read_file(places[i], &arena);
    if (str_is_null(rest)) {
        printf("no ../shared/recordings: skipped\n");
        arena_fini(&arena);
        return false;
    }
    while (str_cut(&rest, '\n', &line)) {
        if (line.n > 0)
            recordings_give(line, number, api, each, ctx);
        number++;
    }
    arena_fini(&arena);
    return true;
}
