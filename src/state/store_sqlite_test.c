/* SPDX-License-Identifier: MIT */
/* The repository `file`: real files in a temporary folder. */
#include "state/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "state/store_test_priv.h"

/* --- keeping --- */

static void test_all_of_it_is_kept(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    struct session_stats add = {.requests = 1,
                                .commands = 2,
                                .failures = 3,
                                .tokens_in = 4,
                                .tokens_out = 5,
                                .tokens_cached = 6};
    struct session_item item = {.time_ms = NOW,
                                .prompt = STR("what?"),
                                .answer = STR("that \xc3\xa9"),
                                .backend = STR("openai"),
                                .model = STR("gpt"),
                                .project = STR("p"),
                                .tokens_in = 7,
                                .tokens_out = -1};
    struct session_view view;
    struct settings values;
    struct arena arena;
    struct error e;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    settings_init(&values);
    values.backend = STR("b");
    values.generation_config = STR("{\"a\":\"\\n\"}");
    values.interactive = 0;
    values.thinking_budget = 5000;
    assert_int_equal(commit(a, UINT32_MAX, &values, &e), OK);
    session_note(a, &item);
    item.by_proxy = true;
    item.failed = true;
    session_note(a, &item);
    session_count(a, &add);
    session_set_client(a, STR("laptop"));
    session_leave(&a);
    set_model(sessions_server(sessions), "of all");
    sessions_free(&sessions);

    sessions = open_at(place, NOW + 50);
    assert_int_equal(sessions_count(sessions), 1);
    a = session_find(sessions, &ann, STR("a"), NOW + 50);
    assert_non_null(a);
    session_view(a, &arena, &view);
    assert_true(settings_equal(&view.settings, &values));
    assert_true(str_eq(view.client, STR("laptop")));
    assert_int_equal(view.stats.requests, 1);
    assert_int_equal(view.stats.tokens_cached, 6);
    assert_int_equal(view.stats.created_ms, NOW);
    assert_int_equal(view.history_n, 2);
    assert_true(str_eq(view.history[0].answer, STR("that \xc3\xa9")));
    assert_true(view.history[1].by_proxy && view.history[1].failed);
    assert_int_equal(view.history[1].tokens_in, 7);
    session_leave(&a);
    const struct settings *server = session_settings(sessions_server(sessions));
    assert_true(str_eq(server->model, STR("of all")));
    session_settings_unref(&server);
    sessions_free(&sessions);
    arena_fini(&arena);
}

static void mode_is(const char *path, unsigned wanted)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, wanted);
}

static void test_files_are_private(void **state)
{
    struct place *place = *state;
    char wal[128];

    (void)umask(022);
    struct sessions *sessions = open_at(place, NOW);
    set_in(sessions, "a", NOW, "one");
    (void)snprintf(wal, sizeof(wal), "%s-wal", place->db);
    mode_is(place->folder, 0700);
    mode_is(place->db, 0600);
    mode_is(wal, 0600);
    sessions_free(&sessions);
    assert_int_equal(chmod(place->db, 0644), 0);
    sessions = open_at(place, NOW);
    mode_is(place->db, 0600);
    sessions_free(&sessions);
}

/* Settings last from the moment in which they are acknowledged: the file is copied while the table
 * is open, as a process that is killed leaves it. */
static void test_committed_is_on_disk(void **state)
{
    struct place *place = *state;
    struct place copy = *place;
    char command[512];
    struct sessions *sessions = open_at(place, NOW);

    set_in(sessions, "a", NOW, "one");
    set_in(sessions, "a", NOW, "two");
    set_in(sessions, "b", NOW, "three");
    (void)snprintf(copy.folder, sizeof(copy.folder), "%.40s/copy", place->top);
    (void)snprintf(command, sizeof(command), "cp -r %s %s", place->folder, copy.folder);
    assert_int_equal(system(command), 0); /* NOLINT */
    struct sessions *after = open_at(&copy, NOW);
    model_of(after, "a", NOW, "two");
    model_of(after, "b", NOW, "three");
    sessions_free(&after);
    sessions_free(&sessions);
}

static void test_forgotten_stays_forgotten(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct waiting waiting;
    struct error e;

    for (int i = 0; i < 3; i++)
        set_in(sessions, i == 0 ? "a" : i == 1 ? "b" : "c", NOW, "one");
    assert_true(session_forget(sessions, &ann, STR("a")));
    /* A change that comes after, and one that may still wait. */
    struct session *b = session_find(sessions, &ann, STR("b"), NOW);
    struct session_change change = {.mask = SETTING_BIT(model)};
    waiting_init(&waiting);
    settings_init(&change.values);
    change.values.model = STR("late");
    assert_false(session_commit(b, &change, count_done, &waiting, &e));
    assert_true(session_forget(sessions, &ann, STR("b")));
    assert_false(session_commit(b, &change, count_done, &waiting, &e));
    wait_for(&waiting, 2);
    assert_int_equal(waiting.e.code, OK);
    const struct settings *own = session_settings(b);
    assert_true(str_eq(own->model, STR("late")));
    session_settings_unref(&own);
    session_leave(&b);
    /* One that begins anew while somebody has it. */
    struct session *c = session_find(sessions, &ann, STR("c"), NOW);
    struct session *anew = session_enter(sessions, &ann, STR("c"), true, NOW);
    assert_ptr_not_equal(c, anew);
    set_model(c, "of the old one");
    session_leave(&c);
    session_leave(&anew);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, NULL);
    model_of(sessions, "b", NOW, NULL);
    c = session_find(sessions, &ann, STR("c"), NOW);
    if (c != NULL)
        model_of(sessions, "c", NOW, "");
    session_leave(&c);
    /* And the other way round: set after it began anew. */
    set_in(sessions, "d", NOW, "old");
    struct session *held = session_find(sessions, &ann, STR("d"), NOW);
    anew = session_enter(sessions, &ann, STR("d"), true, NOW);
    set_model(anew, "new");
    session_leave(&held);
    session_leave(&anew);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "d", NOW, "new");
    sessions_free(&sessions);
}

static void test_bounds_at_start(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session_bounds few = bounds;
    struct error e;
    char id[16];

    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        set_in(sessions, id, NOW + i, id);
    }
    sessions_free(&sessions);
    /* The latest, as many as may be. */
    few.count_max = 5;
    assert_int_equal(try_open(place, &few, NOW + 100, &sessions, &e), OK);
    assert_int_equal(sessions_count(sessions), 5);
    model_of(sessions, "15", NOW + 100, "15");
    model_of(sessions, "14", NOW + 100, NULL);
    /* In the order of their use. */
    set_in(sessions, "new", NOW + 101, "x");
    model_of(sessions, "15", NOW + 101, NULL);
    model_of(sessions, "16", NOW + 101, "16");
    sessions_free(&sessions);
    /* Those that left are gone from the file too, and those that have expired go. */
    sessions = open_at(place, NOW + 101);
    assert_int_equal(sessions_count(sessions), 5);
    sessions_free(&sessions);
    sessions = open_at(place, NOW + 19 + 100000);
    assert_int_equal(sessions_count(sessions), 1);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), 1);
    sessions_free(&sessions);
}

static void test_oneoff_is_written_behind(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    struct settings values;
    struct arena arena;
    struct error e;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    settings_init(&values);
    values.oneoff = STR("x:y");
    assert_int_equal(commit(a, SETTING_BIT(oneoff), &values, &e), OK);
    assert_true(str_eq(session_take_oneoff(a, &arena), STR("x:y")));
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    a = session_find(sessions, &ann, STR("a"), NOW);
    assert_non_null(a);
    assert_true(str_is_null(session_take_oneoff(a, &arena)));
    session_leave(&a);
    sessions_free(&sessions);
    arena_fini(&arena);
}

static void test_too_large(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    static char text[SESSION_SETTINGS_MAX];
    struct settings values;
    struct error e;

    memset(text, 'x', sizeof(text));
    settings_init(&values);
    values.project = str_of(text, sizeof(text) - 20);
    assert_int_equal(commit(a, SETTING_BIT(project), &values, &e), OK);
    assert_int_equal(try_model(a, "what is too much now", &e), ERR_BAD_REQUEST);
    assert_non_null(strstr(e.detail, "8192 bytes"));
    settings_init(&values);
    assert_int_equal(commit(a, SETTING_BIT(project), &values, &e), OK);
    set_model(a, "fits");
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "fits");
    sessions_free(&sessions);
}

/* A one-off comes back where there is no room for it any more: nothing that was set is lost. */
static void test_oneoff_comes_back(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    static char text[SESSION_SETTINGS_MAX];
    struct settings values;
    struct arena arena;
    struct error e;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    memset(text, 'x', sizeof(text));
    settings_init(&values);
    values.oneoff = str_of(text, sizeof(text) - 100);
    assert_int_equal(commit(a, SETTING_BIT(oneoff), &values, &e), OK);
    struct str oneoff = session_take_oneoff(a, &arena);
    assert_int_equal(oneoff.n, sizeof(text) - 100);
    values.project = str_of(text, sizeof(text) - 100);
    assert_int_equal(commit(a, SETTING_BIT(project), &values, &e), OK);
    session_return_oneoff(a, oneoff);
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    a = session_find(sessions, &ann, STR("a"), NOW);
    assert_non_null(a);
    const struct settings *now = session_settings(a);
    assert_int_equal(now->project.n, sizeof(text) - 100);
    session_settings_unref(&now);
    session_leave(&a);
    sessions_free(&sessions);
    arena_fini(&arena);
}

/* --- files that cannot be used --- */

static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    (void)close(fd);
}

static void content_is(const char *path, const void *bytes, size_t n)
{
    char *text = mem_raw(n + 1);
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, n + 1), n);
    assert_memory_equal(text, bytes, n);
    (void)close(fd);
    mem_free(text);
}

static void test_garbage_is_set_aside(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    char name[256];
    char garbage[5000];

    sessions_free(&sessions);
    memset(garbage, 'g', sizeof(garbage));
    for (int i = 1; i <= 3; i++) {
        write_file(place->db, garbage, sizeof(garbage) - (size_t)i);
        sessions = open_at(place, NOW); /* always at the same time */
        set_in(sessions, "a", NOW, "one");
        assert_int_equal(files_with(place, "sessions.db.damaged-19700101T001640Z", name), i);
        sessions_free(&sessions);
        sessions = open_at(place, NOW);
        model_of(sessions, "a", NOW, "one");
        sessions_free(&sessions);
    }
    /* The first one has its content still. */
    (void)snprintf(name, sizeof(name), "%s.damaged-19700101T001640Z", place->db);
    content_is(name, garbage, sizeof(garbage) - 1);
}

static void test_foreign_and_newer(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    char name[256];

    set_in(sessions, "a", NOW, "one");
    sessions_free(&sessions);
    sql(place, "PRAGMA user_version = 99");
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), 0);
    assert_int_equal(files_with(place, "sessions.db.newer-v99-", name), 1);
    sessions_free(&sessions);
    /* What was set aside is as it was. */
    struct place aside = *place;
    (void)snprintf(aside.db, sizeof(aside.db), "%.95s", name);
    sql(&aside, "PRAGMA user_version = 1");
    assert_int_equal(rename(name, place->db), 0);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "one");
    sessions_free(&sessions);
    /* Somebody else's database. */
    assert_int_equal(remove(place->db), 0);
    sql(place, "CREATE TABLE important (x); INSERT INTO important VALUES (1)");
    sessions = open_at(place, NOW);
    assert_int_equal(files_with(place, "sessions.db.damaged-", name), 1);
    sessions_free(&sessions);
    /* A table of ours that is not as it should be. */
    sql(place, "DROP TABLE sessions; CREATE TABLE sessions (serial INTEGER PRIMARY KEY)");
    sessions = open_at(place, NOW);
    assert_int_equal(files_with(place, "sessions.db.damaged-", name), 2);
    set_in(sessions, "a", NOW, "one");
    sessions_free(&sessions);
}

/* A log whose database was taken away is not read into a new one, nor lost. */
static void test_log_without_database(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    char wal[128];
    char kept[256];

    sessions_free(&sessions);
    assert_int_equal(remove(place->db), 0);
    (void)snprintf(wal, sizeof(wal), "%s-wal", place->db);
    write_file(wal, "a log", 5);
    sessions = open_at(place, NOW);
    (void)snprintf(kept, sizeof(kept), "%s.damaged-19700101T001640Z-wal", place->db);
    content_is(kept, "a log", 5);
    set_in(sessions, "a", NOW, "one");
    sessions_free(&sessions);
}

/* A file that was cut, at each page and within: it is read, or set aside; what is read is true. */
static void test_cut_anywhere(void **state)
{
    enum { SESSIONS = 60 };
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session_item item = {.prompt = STR("some words of a prompt to take some room here"),
                                .tokens_in = -1,
                                .tokens_out = -1};
    struct stat status;
    char id[16];
    char name[256];

    for (int i = 0; i < SESSIONS; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_c(id), false, NOW);
        for (int j = 0; j < 10; j++)
            session_note(session, &item);
        session_leave(&session);
    }
    set_in(sessions, "0", NOW, "zero");
    sessions_free(&sessions);
    assert_int_equal(stat(place->db, &status), 0);
    size_t n = (size_t)status.st_size;
    assert_true(n > 10 * 4096 && n % 4096 == 0);
    char *whole = mem_raw(n);
    int fd = open(place->db, O_RDONLY);
    assert_int_equal(read(fd, whole, n), n);
    (void)close(fd);
    int aside = 0;
    for (size_t at = 0; at < n; at += at % 4096 == 0 ? 1000 : 3096) {
        write_file(place->db, whole, at);
        sessions = open_at(place, NOW);
        int now_aside = files_with(place, "damaged", name);
        /* An empty file is an empty database. */
        assert_int_equal(now_aside, at == 0 ? 0 : aside + 1);
        if (at > 0)
            content_is(name, whole, at);
        aside = now_aside;
        sessions_free(&sessions);
        if (aside > 0)
            assert_int_equal(remove(name), 0);
        aside = 0;
    }
    write_file(place->db, whole, n);
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), SESSIONS);
    model_of(sessions, "0", NOW, "zero");
    sessions_free(&sessions);
    mem_free(whole);
}

/* Bytes changed anywhere: it opens, nothing crashes, and every byte of the old file is in the
 * folder still when it was not taken for good. */
static void test_bytes_changed(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct stat status;
    char name[256];
    uint32_t random = 12345;

    for (int i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_c(id), false, NOW);
        session_set_client(session, STR("somebody"));
        session_leave(&session);
    }
    set_in(sessions, "0", NOW, "zero");
    sessions_free(&sessions);
    assert_int_equal(stat(place->db, &status), 0);
    size_t n = (size_t)status.st_size;
    char *whole = mem_raw(n);
    char *changed = mem_raw(n);

    int fd = open(place->db, O_RDONLY);
    assert_int_equal(read(fd, whole, n), n);
    (void)close(fd);
    int aside = 0;
    for (int i = 0; i < 80; i++) {
        memcpy(changed, whole, n);
        for (int j = 0; j < 4; j++) {
            random = random * 1664525 + 1013904223;
            size_t at = (random >> 8) % (i % 2 == 0 ? n : 200);
            changed[at] = (char)(changed[at] ^ (1 << (random & 7)));
        }
        write_file(place->db, changed, n);
        sessions = open_at(place, NOW);
        set_in(sessions, "new", NOW, "set");
        sessions_free(&sessions);
        sessions = open_at(place, NOW);
        model_of(sessions, "new", NOW, "set");
        sessions_free(&sessions);
        if (files_with(place, "damaged", name) + files_with(place, "newer", name) > 0) {
            aside++;
            content_is(name, changed, n);
            assert_int_equal(remove(name), 0);
        }
    }
    assert_true(aside > 20);
    mem_free(whole);
    mem_free(changed);
}

#define TOO_LARGE_SETTINGS                                                                 \
    "UPDATE sessions SET settings = '{\"project\":\"' || printf('%.17000c', 'x') || '\"}'" \
    " WHERE id = '9'"

/* Rows that are no sessions are left out, and nothing else is. */
static void test_broken_rows(void **state)
{
    static const char *const breaks[] = {
        "UPDATE sessions SET settings = '{' WHERE id = '1'",
        "UPDATE sessions SET settings = CAST(x'7b226d6f64656c223a22ff227d' AS TEXT) WHERE id = '2'",
        "UPDATE sessions SET settings = '{\"model\":5}' WHERE id = '3'",
        "UPDATE sessions SET history = x'01' WHERE id = '4'",
        "UPDATE sessions SET scope = x'01' WHERE id = '5'",
        "UPDATE sessions SET id = printf('%.200c', 'x') WHERE id = '6'",
        "UPDATE sessions SET requests = -1 WHERE id = '7'",
        "UPDATE sessions SET client = CAST(x'ff' AS TEXT) WHERE id = '8'",
        TOO_LARGE_SETTINGS,
        "UPDATE sessions SET serial = -1 WHERE id = '10'",
        "UPDATE sessions SET id = CAST(x'ff' AS TEXT) WHERE id = '11'",
    };
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    char id[16];
    char name[256];

    for (size_t i = 0; i < COUNT_OF(breaks) + 3; i++) {
        (void)snprintf(id, sizeof(id), "%zu", i);
        set_in(sessions, id, NOW, id);
    }
    sessions_free(&sessions);
    for (size_t i = 0; i < COUNT_OF(breaks); i++)
        sql(place, breaks[i]);
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), 3);
    model_of(sessions, "0", NOW, "0");
    model_of(sessions, "12", NOW, "12");
    model_of(sessions, "13", NOW, "13");
    assert_int_equal(files_with(place, "damaged", name), 0);
    /* They do not stand in the way of their successors. */
    set_in(sessions, "3", NOW, "again");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "3", NOW, "again");
    sessions_free(&sessions);
}

/* --- who may have it, and where it cannot be --- */

static void test_one_process(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct sessions *second = NULL;
    struct error e;
    int status = 0;

    assert_int_equal(try_open(place, &bounds, NOW, &second, &e), ERR_CONFIG);
    assert_non_null(strstr(e.detail, "another process has the database"));
    pid_t child = fork();
    if (child == 0)
        _exit(try_open(place, &bounds, NOW, &second, &e) == ERR_CONFIG ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    set_in(sessions, "a", NOW, "still works");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    sessions_free(&sessions);
}

static void test_no_folder(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = NULL;
    struct place other = *place;
    struct error e;

    (void)snprintf(other.folder, sizeof(other.folder), "/proc/none/sessions");
    assert_int_equal(try_open(&other, &bounds, NOW, &sessions, &e), ERR_CONFIG);
    assert_non_null(strstr(e.detail, "session.file_path"));
    /* A file stands where the folder should be. */
    (void)snprintf(other.folder, sizeof(other.folder), "%.40s/file", place->top);
    write_file(other.folder, "x", 1);
    assert_int_equal(try_open(&other, &bounds, NOW, &sessions, &e), ERR_CONFIG);
    (void)snprintf(other.folder, sizeof(other.folder), "%.40s/file/below", place->top);
    assert_int_equal(try_open(&other, &bounds, NOW, &sessions, &e), ERR_CONFIG);
    /* A folder stands where the database should be. */
    sessions = open_at(place, NOW);
    sessions_free(&sessions);
    assert_int_equal(remove(place->db), 0);
    assert_int_equal(mkdir(place->db, 0700), 0);
    assert_int_equal(try_open(place, &bounds, NOW, &sessions, &e), ERR_CONFIG);
    struct session_store *store = NULL;
    static char path[2000];
    memset(path, 'x', sizeof(path));
    assert_int_equal(store_sqlite_open(str_of(path, sizeof(path)), NOW, &store, &e), ERR_CONFIG);
}

/* Taken away while it is open: what is in memory goes to a new one. */
static void test_taken_away(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    char command[256];

    set_in(sessions, "a", NOW, "one");
    set_in(sessions, "b", NOW, "two");
    (void)snprintf(command, sizeof(command), "rm -rf %s", place->folder);
    assert_int_equal(system(command), 0); /* NOLINT */
    set_in(sessions, "a", NOW, "three");
    assert_true(session_forget(sessions, &ann, STR("b")));
    set_in(sessions, "c", NOW, "four");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "three");
    model_of(sessions, "b", NOW, NULL);
    model_of(sessions, "c", NOW, "four");
    sessions_free(&sessions);
}

/* Somebody removes or cuts the log, or cuts the database, which SQLite does not notice while it is
 * open: what is said afterwards lasts, and what was said before is written again. */
static void test_cut_under_way(void **state)
{
    struct place *place = *state;
    static const char *const harms[] = {"rm $DB-wal", ": >$DB-wal", ": >$DB",
                                        "cp $DB-wal $DB-new; mv $DB-new $DB-wal"};
    char command[512];
    char aside[48];

    for (size_t i = 0; i < COUNT_OF(harms); i++) {
        struct sessions *sessions = open_at(place, NOW);
        set_in(sessions, "a", NOW, "one");
        set_in(sessions, "b", NOW, "two");
        (void)snprintf(command, sizeof(command), "DB=%s; %s", place->db, harms[i]);
        assert_int_equal(system(command), 0); /* NOLINT */
        set_in(sessions, "a", NOW, "three");
        /* As a process that is killed leaves it. */
        (void)snprintf(aside, sizeof(aside), "%.40s/copy", place->top);
        bool again = false;
        while (!again) {
            struct place copy = *place;
            struct sessions *kept = NULL;
            struct error e;
            (void)snprintf(copy.folder, sizeof(copy.folder), "%s", aside);
            (void)snprintf(command, sizeof(command), "rm -rf %s && cp -r %s %s", aside,
                           place->folder, aside);
            assert_int_equal(system(command), 0); /* NOLINT */
            assert_int_equal(try_open(&copy, &bounds, NOW, &kept, &e), OK);
            model_of(kept, "a", NOW, "three");
            struct session *b = session_find(kept, &ann, STR("b"), NOW);
            again = b != NULL;
            session_leave(&b);
            sessions_free(&kept);
        }
        sessions_free(&sessions);
        (void)snprintf(command, sizeof(command), "rm -rf %s", place->folder);
        assert_int_equal(system(command), 0); /* NOLINT */
    }
}

/* Damaged while it is open: as soon as that is found out it is set aside, and all that is in memory
 * goes to a new one. */
static void test_damaged_meanwhile(void **state)
{
    enum { SESSIONS = 900 };
    struct place *place = *state;
    struct session_item item = {.tokens_in = -1, .tokens_out = -1};
    struct sessions *sessions = open_at(place, NOW);
    static char text[300];
    struct stat status;
    struct error e;
    char name[256];
    char id[16];

    memset(text, 'x', sizeof(text));
    item.model = str_of(text, 255);
    item.backend = str_of(text, 254);
    for (int i = 0; i < SESSIONS; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_c(id), false, NOW);
        for (int j = 0; j < 10; j++) {
            item.model.n = 255 - (size_t)j;
            item.backend.n = 255 - (size_t)j;
            session_note(session, &item);
        }
        session_leave(&session);
    }
    set_in(sessions, "0", NOW, "zero");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    assert_int_equal(stat(place->db, &status), 0);
    assert_true(status.st_size > 3 * 1024 * 1024);
    int fd = open(place->db, O_WRONLY);
    assert_true(fd >= 0);
    for (off_t at = 4096; at < status.st_size; at += (off_t)sizeof(text))
        assert_int_equal(pwrite(fd, text, sizeof(text), at), sizeof(text));
    (void)close(fd);
    int failed = 0;
    for (int i = 1; i < SESSIONS; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_find(sessions, &ann, str_c(id), NOW);
        assert_non_null(session);
        while (try_model(session, id, &e) != OK) {
            assert_non_null(strstr(e.detail, "damaged"));
            failed++;
        }
        session_leave(&session);
    }
    /* That of the thread may have come first. */
    assert_in_range(failed, 0, 3);
    assert_int_equal(files_with(place, "damaged", name), 1);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), SESSIONS);
    model_of(sessions, "0", NOW, "zero");
    model_of(sessions, "899", NOW, "899");
    sessions_free(&sessions);
}

/* A file that may not grow, as on a full disk: what fails says so and changes nothing, and it gets
 * well by itself. In a process of its own, as the limit is the process's. */
static int full_disk(struct place *place)
{
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    struct arena arena;
    struct rlimit limit;
    struct error e;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    set_model(a, "one");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_model(a, "two", &e), ERR_SYSTEM);
        assert_non_null(strstr(e.detail, "cannot be written"));
        model_of(sessions, "a", NOW, "one");
        assert_false(str_is_null(sessions_problem(sessions, &arena)));
    }
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    /* By itself, within seconds: nobody sets anything. */
    for (int i = 0; i < 1000 && !str_is_null(sessions_problem(sessions, &arena)); i++)
        (void)usleep(20 * 1000);
    assert_true(str_is_null(sessions_problem(sessions, &arena)));
    set_model(a, "three");
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "three");
    sessions_free(&sessions);
    arena_fini(&arena);
    return 0;
}

static void test_full_disk(void **state)
{
    struct place *place = *state;
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(full_disk(place));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* As above, but from the start on: it is made when it can be. */
static int full_from_the_start(struct place *place)
{
    struct sessions *sessions = NULL;
    struct arena arena;
    struct rlimit limit;
    struct error e;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    sessions = open_at(place, NOW);
    assert_false(str_is_null(sessions_problem(sessions, &arena)));
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    assert_int_equal(try_model(a, "one", &e), ERR_SYSTEM);
    assert_non_null(strstr(e.detail, "cannot be written"));
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    set_model(a, "two");
    session_leave(&a);
    assert_true(str_is_null(sessions_problem(sessions, &arena)));
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "two");
    sessions_free(&sessions);
    arena_fini(&arena);
    return 0;
}

static void test_full_from_the_start(void **state)
{
    struct place *place = *state;
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(full_from_the_start(place));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A lock that nobody can make, not even root. False: there is no such place on this system. */
static bool forbid(const struct place *place, char lock[128])
{
    (void)snprintf(lock, 128, "%.60s/sessions.lock", place->folder);
    (void)unlink(lock);
    assert_int_equal(symlink("/sys/none", lock), 0);
    int fd = open(lock, O_RDWR | O_CREAT, 0600);
    assert_true(fd < 0);
    return errno == EACCES || errno == EROFS || errno == EPERM;
}

/* What was there before can be read where nothing can be written; later it can. */
static void test_read_only_from_the_start(void **state)
{
    struct place *place = *state;
    struct arena arena;
    struct error e;
    char lock[128];

    struct sessions *sessions = open_at(place, NOW);
    set_in(sessions, "a", NOW, "one");
    set_in(sessions, "b", NOW, "two");
    sessions_free(&sessions);
    if (!forbid(place, lock))
        skip();
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    sessions = open_at(place, NOW);
    assert_false(str_is_null(sessions_problem(sessions, &arena)));
    model_of(sessions, "a", NOW, "one");
    model_of(sessions, "b", NOW, "two");
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    assert_int_equal(try_model(a, "three", &e), ERR_SYSTEM);
    model_of(sessions, "a", NOW, "one");
    assert_int_equal(unlink(lock), 0);
    set_model(a, "four");
    session_leave(&a);
    set_in(sessions, "c", NOW, "five");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "four");
    model_of(sessions, "b", NOW, "two");
    model_of(sessions, "c", NOW, "five");
    sessions_free(&sessions);
    arena_fini(&arena);
}

/* With a log beside it what was there before cannot be read so: then nothing is written over it. */
static void test_unread_is_not_written_over(void **state)
{
    struct place *place = *state;
    struct error e;
    char lock[128];
    char wal[128];
    char name[256];

    struct sessions *sessions = open_at(place, NOW);
    set_in(sessions, "a", NOW, "one");
    sessions_free(&sessions);
    if (!forbid(place, lock))
        skip();
    (void)snprintf(wal, sizeof(wal), "%.90s-wal", place->db);
    write_file(wal, "something", 9);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, NULL);
    assert_int_equal(unlink(lock), 0);
    struct session *b = session_enter(sessions, &ann, STR("b"), false, NOW);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_model(b, "two", &e), ERR_SYSTEM);
        assert_non_null(strstr(e.detail, "restart"));
        /* Nor is it looked through again and again: opened and closed it would have no log. */
        assert_int_equal(access(wal, F_OK) == 0, i > 0);
        write_file(wal, "something", 9);
    }
    assert_int_equal(unlink(wal), 0);
    session_leave(&b);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "one");
    sessions_free(&sessions);
    assert_int_equal(files_with(place, "damaged", name), 0);
    /* Somebody takes it away: then there is nothing to be written over. */
    if (!forbid(place, lock))
        skip();
    write_file(wal, "something", 9);
    sessions = open_at(place, NOW);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(unlink(place->db), 0);
    set_in(sessions, "b", NOW, "two");
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, NULL);
    model_of(sessions, "b", NOW, "two");
    sessions_free(&sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(test_all_of_it_is_kept),
        IN_PLACE(test_files_are_private),
        IN_PLACE(test_committed_is_on_disk),
        IN_PLACE(test_forgotten_stays_forgotten),
        IN_PLACE(test_bounds_at_start),
        IN_PLACE(test_oneoff_is_written_behind),
        IN_PLACE(test_too_large),
        IN_PLACE(test_oneoff_comes_back),
        IN_PLACE(test_garbage_is_set_aside),
        IN_PLACE(test_foreign_and_newer),
        IN_PLACE(test_log_without_database),
        IN_PLACE(test_cut_anywhere),
        IN_PLACE(test_bytes_changed),
        IN_PLACE(test_broken_rows),
        IN_PLACE(test_one_process),
        IN_PLACE(test_no_folder),
        IN_PLACE(test_taken_away),
        IN_PLACE(test_cut_under_way),
        IN_PLACE(test_damaged_meanwhile),
        IN_PLACE(test_full_disk),
        IN_PLACE(test_full_from_the_start),
        IN_PLACE(test_read_only_from_the_start),
        IN_PLACE(test_unread_is_not_written_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
