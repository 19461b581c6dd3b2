/* SPDX-License-Identifier: MIT */
/* For the tests of the repository `file`: a folder of the test's own, and changes that are waited
 * for. */
#pragma once

#include <ftw.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "state/sessions_priv.h"
#include "state/store_sqlite.h"

enum { NOW = 1000000, ARENA_BYTES = 4 * 1024 * 1024 };

static const struct session_scope ann = {.bytes = "ann"};
static const struct session_bounds bounds = {.count_max = 1000,
                                             .idle_ms_max = 100000,
                                             .history_max = 10,
                                             .tick_ms = 20};

/* --- a folder of the test's own --- */

struct place {
    char folder[64]; /* does not exist at first */
    char top[64];
    char db[96];
};

static inline int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)status;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline int setup(void **state)
{
    struct place *place = mem_raw(sizeof(*place));

    /* In memory where there is such a place: a disk takes seconds for so many commits. */
    (void)snprintf(place->top, sizeof(place->top), "%s/store_sqlite_XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(place->top));
    (void)snprintf(place->folder, sizeof(place->folder), "%.40s/data/sessions", place->top);
    (void)snprintf(place->db, sizeof(place->db), "%.60s/sessions.db", place->folder);
    *state = place;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *place = *state;

    (void)nftw(place->top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(place);
    return 0;
}

static inline enum error_code try_open(struct place *place, const struct session_bounds *with,
                                       int64_t now_ms, struct sessions **ret_sessions,
                                       struct error *e)
{
    struct session_store *store = NULL;

    TRY(store_sqlite_open(str_c(place->folder), now_ms, &store, e));
    enum error_code code = sessions_make(with, store, now_ms, ret_sessions, e);
    if (code != OK)
        store->ops->free(store);
    return code;
}

static inline struct sessions *open_at(struct place *place, int64_t now_ms)
{
    struct sessions *sessions = NULL;
    struct error e = {.code = OK};

    if (try_open(place, &bounds, now_ms, &sessions, &e) != OK)
        fail_msg("it does not open: %s", e.detail);
    return sessions;
}

/* How many files of the folder have a name with that in it; the last one's goes to ret_name. */
static inline int files_with(struct place *place, const char *part, char ret_name[256])
{
    char command[512];
    int n = 0;
    char line[256];

    (void)snprintf(command, sizeof(command), "ls -1 %s", place->folder);
    FILE *names = popen(command, "r"); /* NOLINT */
    assert_non_null(names);
    while (fgets(line, sizeof(line), names) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strstr(line, part) == NULL || strstr(line, "-wal") != NULL ||
            strstr(line, "-shm") != NULL)
            continue;
        (void)snprintf(ret_name, 256, "%.70s/%.150s", place->folder, line);
        n++;
    }
    assert_int_equal(pclose(names), 0);
    return n;
}

/* --- changes --- */

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int done;
    struct error e; /* of the last */
};

static inline void waiting_init(struct waiting *waiting)
{
    memset(waiting, 0, sizeof(*waiting));
    (void)pthread_mutex_init(&waiting->lock, NULL);
    (void)pthread_cond_init(&waiting->cond, NULL);
}

static inline void count_done(void *ctx, const struct error *e)
{
    struct waiting *waiting = ctx;

    pthread_mutex_lock(&waiting->lock);
    waiting->e = *e;
    waiting->done++;
    pthread_cond_signal(&waiting->cond);
    pthread_mutex_unlock(&waiting->lock);
}

static inline void wait_for(struct waiting *waiting, int n)
{
    pthread_mutex_lock(&waiting->lock);
    while (waiting->done < n)
        (void)pthread_cond_wait(&waiting->cond, &waiting->lock);
    pthread_mutex_unlock(&waiting->lock);
}

static inline enum error_code commit(struct session *session, uint32_t mask,
                                     const struct settings *values, struct error *e)
{
    struct session_change change = {.mask = mask, .values = *values};
    struct waiting waiting;

    waiting_init(&waiting);
    assert_false(session_commit(session, &change, count_done, &waiting, e));
    wait_for(&waiting, 1);
    *e = waiting.e;
    return e->code;
}

static inline enum error_code try_model(struct session *session, const char *model, struct error *e)
{
    struct settings values;

    settings_init(&values);
    values.model = str_c(model);
    return commit(session, SETTING_BIT(model), &values, e);
}

static inline void set_model(struct session *session, const char *model)
{
    struct error e;

    if (try_model(session, model, &e) != OK)
        fail_msg("%s was not set: %s", model, e.detail);
}

static inline void model_of(struct sessions *sessions, const char *id, int64_t now_ms,
                            const char *wanted)
{
    struct session *session = session_find(sessions, &ann, str_c(id), now_ms);

    if (session == NULL) {
        if (wanted != NULL)
            fail_msg("there is no session %s", id);
        return;
    }
    const struct settings *settings = session_settings(session);
    if (wanted == NULL || !str_eq(settings->model, str_c(wanted)))
        fail_msg("%s has the model '%.*s'", id, STR_ARG(settings->model));
    session_settings_unref(&settings);
    session_leave(&session);
}

static inline void set_in(struct sessions *sessions, const char *id, int64_t now_ms,
                          const char *model)
{
    struct session *session = session_enter(sessions, &ann, str_c(id), false, now_ms);

    set_model(session, model);
    session_leave(&session);
}

static inline void sql(struct place *place, const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(place->db, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
