/* SPDX-License-Identifier: MIT */
/*
 * What      A database of SQLite with a row for each session.
 * How       WAL with synchronous=FULL: a commit has reached the disk when it returns. A lock file
 *           and locking_mode=EXCLUSIVE: one process, and no shared memory beside the file.
 *           Opening checks what is there: readable, of our kind and version, quick_check. What
 *           fails that is renamed, never written to. Where it turns out later (a damaged page, the
 *           file or its log was taken away or cut) it is opened again before the next transaction,
 *           and begin() says that what was written before may not be there.
 *           Where nothing can be written at the start (a full disk, a read-only one) the rows of
 *           before are read as far as they can be, and begin() opens it when it can.
 * Owns      The connection, its statements, the lock.
 * Not here  What is written when (session_writer.c), names of files (store_file.c).
 */
#include "state/store_sqlite.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "state/store_file.h"
#include "text/url.h"

enum {
    APPLICATION_ID = 0x6c6d7078, /* "lmpx": whose a file is */
    OPENINGS = 3,                /* a file that is set aside, and the new one; and one more */
    SQL_MAX = 256,
    URI_MAX = 3 * STORE_FILE_PATH_MAX + 32
};

enum statement { PUT, REMOVE, BEGIN, COMMIT, ROLLBACK, STATEMENT_COUNT };

static const char *const statements[STATEMENT_COUNT] = {
    [PUT] = "INSERT OR REPLACE INTO sessions (serial, scope, id, seen_ms, created_ms, requests,"
            " commands, failures, tokens_in, tokens_out, tokens_cached, client, settings, history)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [REMOVE] = "DELETE FROM sessions WHERE serial = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

static const char *const migrations[] = {
#define MIGRATION(version, sql) [(version)-1] = (sql),
#include "state/migrations.def"
#undef MIGRATION
};

/* A file as it was after the last transaction. */
struct file_state {
    ino_t inode; /* 0: not known */
    off_t bytes;
};

enum { FILE_DB, FILE_WAL, FILE_COUNT };

struct store {
    struct session_store base;
    char folder[STORE_FILE_PATH_MAX];
    char path[STORE_FILE_PATH_MAX];
    char wal_path[STORE_FILE_PATH_MAX];
    char lock_path[STORE_FILE_PATH_MAX];
    struct file_state files[FILE_COUNT];
    int lock;    /* -1: not taken */
    sqlite3 *db; /* NULL: to be opened again */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    int rc;        /* of what failed last */
    int cause;     /* errno of what failed last, 0: none */
    int why;       /* errno behind the last statement: SQLite knows it of a failed COMMIT no more */
    bool damaged;  /* it was found out while it was open: not to be opened again */
    bool replaced; /* since the last transaction began: the rows of before are not there */
    bool to_read;  /* db is open for the rows of before, and for nothing else */
    bool unread;   /* there are rows of before, and they could not be read */
    ino_t kept;    /* of the file that has them, where it could be opened by now; 0: it could not */
};

static struct store *store_of(struct session_store *base)
{
    return CONTAINER_OF(base, struct store, base);
}

/* --- errors --- */

static bool is_damage(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

static enum error_code fail_io(struct store *store, int rc, struct error *e)
{
    int why = sqlite3_system_errno(store->db);

    if (why == 0)
        why = store->why;
    switch (why) {
    case ENOSPC:
        return FAIL(e, ERR_SYSTEM, "the disk is full");
    case EDQUOT:
        return FAIL(e, ERR_SYSTEM, "the disk quota is used up");
    case EROFS:
        return FAIL(e, ERR_SYSTEM, "the database cannot be written: read-only");
    case 0:
        return FAIL(e, ERR_SYSTEM, "the database cannot be written: %s", sqlite3_errstr(rc));
    default:
        return FAIL(e, ERR_SYSTEM, "the database cannot be written: %s", strerror(why));
    }
}

static int cause_of(struct store *store, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ENOSPC;
    case SQLITE_READONLY:
        return EROFS;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return sqlite3_system_errno(store->db);
    default:
        return 0;
    }
}

/* What went wrong, in words for users. */
static enum error_code fail(struct store *store, int rc, struct error *e)
{
    store->rc = rc;
    store->cause = cause_of(store, rc);
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return FAIL(e, ERR_SYSTEM, "the disk is full");
    case SQLITE_READONLY:
        return FAIL(e, ERR_SYSTEM, "the database cannot be written: read-only");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return FAIL(e, ERR_SYSTEM, "another process has the database (%s)", store->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return FAIL(e, ERR_SYSTEM, "the database is damaged");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return fail_io(store, rc, e);
    default:
        return FAIL(e, ERR_SYSTEM, "the database cannot be written: %s", sqlite3_errstr(rc));
    }
}

/* --- opening --- */

/* What a file is, as far as one opening has found out. */
enum finding { GOOD, DAMAGED, NEWER, UNUSABLE };

static void close_db(struct store *store)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    int rc = sqlite3_close(store->db);
    assert(rc == SQLITE_OK);
    store->db = NULL;
    memset(store->files, 0, sizeof(store->files));
}

/* Of one row and column; the first 63 bytes of text. */
static int ask(struct store *store, const char *sql, int64_t *ret_value, char ret_text[64])
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        *ret_value = sqlite3_column_int64(statement, 0);
        const unsigned char *text = sqlite3_column_text(statement, 0);
        (void)snprintf(ret_text, 64, "%s", text == NULL ? "" : (const char *)text);
        rc = SQLITE_OK;
    } else if (rc == SQLITE_DONE) {
        rc = SQLITE_CORRUPT;
    }
    (void)sqlite3_finalize(statement);
    return rc;
}

static int run(struct store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL);
}

static int migrate(struct store *store, int64_t version)
{
    char sql[SQL_MAX];
    int rc = SQLITE_OK;

    for (size_t i = (size_t)version; rc == SQLITE_OK && i < COUNT_OF(migrations); i++) {
        (void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %zu",
                       APPLICATION_ID, i + 1);
        rc = run(store, "BEGIN IMMEDIATE");
        if (rc == SQLITE_OK)
            rc = run(store, migrations[i]);
        if (rc == SQLITE_OK)
            rc = run(store, sql);
        if (rc == SQLITE_OK)
            rc = run(store, "COMMIT");
        if (rc != SQLITE_OK)
            (void)run(store, "ROLLBACK");
        else if (i > 0)
            LOG(SESSION, INFO, "sessions.migrated", F_INT("version", i + 1));
    }
    return rc;
}

/* Of what did not go well. What SQLite calls an error is a file that it does not understand. */
static enum finding finding_of(int rc)
{
    return is_damage(rc) || (rc & 0xff) == SQLITE_ERROR ? DAMAGED : UNUSABLE;
}

/* Whose the file is, and of which version; *ret_version 0: it is empty. */
static enum finding look(struct store *store, int64_t *ret_version, int *ret_rc)
{
    int64_t owner = 0;
    int64_t tables = 0;
    int64_t unused;
    char text[64];
    int rc = ask(store, "PRAGMA user_version", ret_version, text);

    if (rc == SQLITE_OK)
        rc = ask(store, "PRAGMA application_id", &owner, text);
    if (rc == SQLITE_OK)
        rc = ask(store, "SELECT count(*) FROM sqlite_master", &tables, text);
    *ret_rc = rc;
    if (rc != SQLITE_OK)
        return finding_of(rc);
    if (tables == 0 && *ret_version == 0 && owner == 0)
        return GOOD;
    if (owner != APPLICATION_ID || *ret_version < 1)
        return DAMAGED;
    if (*ret_version > (int64_t)COUNT_OF(migrations))
        return NEWER;
    rc = ask(store, "PRAGMA quick_check(1)", &unused, text);
    *ret_rc = rc;
    if (rc != SQLITE_OK && !is_damage(rc))
        return UNUSABLE;
    return rc == SQLITE_OK && strcmp(text, "ok") == 0 ? GOOD : DAMAGED;
}

static enum finding open_once(struct store *store, int64_t *ret_version, struct error *e)
{
    char text[64] = "";
    int64_t unused;
    int rc = sqlite3_open_v2(store->path, &store->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                             NULL);

    if (store->db == NULL)
        BUG("out of memory");
    (void)sqlite3_extended_result_codes(store->db, 1);
    if (rc == SQLITE_OK)
        rc = run(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;"
                        "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                        "PRAGMA cache_size = -1024");
    enum finding finding = rc == SQLITE_OK ? look(store, ret_version, &rc) : finding_of(rc);
    if (finding == GOOD && sqlite3_db_readonly(store->db, "main") != 0) {
        finding = UNUSABLE;
        rc = SQLITE_READONLY;
    }
    if (finding == GOOD) {
        rc = ask(store, "PRAGMA journal_mode = WAL", &unused, text);
        if (rc == SQLITE_OK && strcmp(text, "wal") != 0)
            rc = SQLITE_CANTOPEN;
        if (rc == SQLITE_OK)
            rc = run(store, "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216");
        if (rc == SQLITE_OK)
            rc = migrate(store, *ret_version);
        for (size_t i = 0; rc == SQLITE_OK && i < STATEMENT_COUNT; i++)
            rc = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &store->statements[i], NULL);
        if (rc != SQLITE_OK)
            finding = finding_of(rc);
    }
    if (finding == UNUSABLE)
        (void)fail(store, rc, e);
    return finding;
}

static enum error_code set_aside(struct store *store, enum finding finding, int64_t version,
                                 int64_t now_ms, struct error *e)
{
    char name[STORE_FILE_PATH_MAX];
    char reason[32] = "damaged";

    if (finding == NEWER)
        (void)snprintf(reason, sizeof(reason), "newer-v%lld", (long long)version);
    TRY(store_file_set_aside(store->path, reason, now_ms, name, e));
    LOG(SESSION, WARN, "sessions.set_aside", F_Z("file", store->path), F_Z("kept_as", name),
        F_Z("why", finding == NEWER ? "a newer version of the program made it"
                                    : "it is damaged, or no database of sessions"));
    return OK;
}

/* Takes the lock again in any case: the folder may be another one. errno says why it failed, 0: it
 * was not the system's doing. */
static enum error_code open_db(struct store *store, int64_t now_ms, struct error *e)
{
    assert(store->db == NULL);
    if (store->lock >= 0)
        (void)close(store->lock);
    store->lock = -1;
    TRY(store_file_folder(store->folder, e));
    TRY(store_file_lock(store->lock_path, &store->lock, e));
    if (store->damaged)
        TRY(set_aside(store, DAMAGED, 0, now_ms, e));
    store->damaged = false;
    for (int i = 0; i < OPENINGS; i++) {
        int64_t version = 0;
        TRY(store_file_make(store->path, now_ms, e));
        enum finding finding = open_once(store, &version, e);
        if (finding == GOOD) {
            /* Also where nothing was set aside: somebody may have taken the file away. */
            store->replaced = store->replaced || version == 0;
            return OK;
        }
        close_db(store);
        if (finding == UNUSABLE) {
            errno = store->cause;
            return e->code;
        }
        TRY(set_aside(store, finding, version, now_ms, e));
    }
    errno = 0;
    return FAIL(e, ERR_SYSTEM, "the database is damaged as soon as it is made");
}

/* --- what it does --- */

static int bind_text(sqlite3_stmt *statement, int at, struct str text)
{
    if (str_is_null(text))
        return sqlite3_bind_null(statement, at);
    return sqlite3_bind_text64(statement, at, text.p, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* Runs a statement that has no rows, and forgets what was bound to it. */
static enum error_code step(struct store *store, enum statement which, struct error *e)
{
    sqlite3_stmt *statement = store->statements[which];
    int rc;

    errno = 0;
    rc = sqlite3_step(statement);
    store->why = errno;
    assert(rc != SQLITE_ROW);
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return rc == SQLITE_DONE ? OK : fail(store, rc, e);
}

static enum error_code put(struct session_store *base, const struct session_row *row,
                           struct error *e)
{
    struct store *store = store_of(base);
    sqlite3_stmt *statement = store->statements[PUT];
    const struct session_stats *stats = &row->stats;
    const int64_t numbers[] = {stats->seen_ms,    stats->created_ms,   stats->requests,
                               stats->commands,   stats->failures,     stats->tokens_in,
                               stats->tokens_out, stats->tokens_cached};

    int rc = sqlite3_bind_int64(statement, 1, row->serial);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(statement, 2, row->scope.bytes, sizeof(row->scope.bytes),
                               SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = bind_text(statement, 3, row->id);
    for (size_t i = 0; rc == SQLITE_OK && i < COUNT_OF(numbers); i++)
        rc = sqlite3_bind_int64(statement, (int)i + 4, numbers[i]);
    if (rc == SQLITE_OK)
        rc = bind_text(statement, 12, row->client);
    if (rc == SQLITE_OK)
        rc = bind_text(statement, 13, row->settings);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob64(statement, 14, row->history.n == 0 ? "" : row->history.p,
                                 row->history.n, SQLITE_STATIC);
    return rc == SQLITE_OK ? step(store, PUT, e) : fail(store, rc, e);
}

static enum error_code remove_row(struct session_store *base, int64_t serial, struct error *e)
{
    struct store *store = store_of(base);
    int rc = sqlite3_bind_int64(store->statements[REMOVE], 1, serial);

    return rc == SQLITE_OK ? step(store, REMOVE, e) : fail(store, rc, e);
}

static bool look_at(const struct store *store, size_t which, struct file_state *ret_state)
{
    struct stat status;

    if (stat(which == FILE_DB ? store->path : store->wal_path, &status) != 0)
        return false;
    *ret_state = (struct file_state){.inode = status.st_ino, .bytes = status.st_size};
    return true;
}

static void remember_files(struct store *store)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (!look_at(store, i, &store->files[i]))
            store->files[i].inode = 0;
    }
}

/* Whether the database or its log has another name by now, or none, or was cut: SQLite goes on
 * with what it has open, and nobody would find it again. */
static bool was_moved(struct store *store)
{
    int moved = 0;
    int rc = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);

    for (size_t i = 0; moved == 0 && i < FILE_COUNT; i++) {
        const struct file_state *was = &store->files[i];
        struct file_state is;
        if (was->inode != 0 &&
            (!look_at(store, i, &is) || is.inode != was->inode || is.bytes < was->bytes))
            return true;
    }
    return rc == SQLITE_OK && moved != 0;
}

static enum error_code fail_unread(struct error *e)
{
    return FAIL(e, ERR_SYSTEM,
                "the sessions of before could not be read at the start; a restart reads them");
}

/* Rows that nobody knows are not written over. That is found once: to look through all of the file
 * again, each second, would be for nothing. */
static enum error_code open_again(struct store *store, struct error *e)
{
    struct file_state is;

    if (store->kept != 0 && look_at(store, FILE_DB, &is) && is.inode == store->kept)
        return fail_unread(e);
    TRY(open_db(store, clock_real_ms(), e));
    if (store->unread && !store->replaced) {
        store->kept = look_at(store, FILE_DB, &is) ? is.inode : 0;
        close_db(store);
        return fail_unread(e);
    }
    store->unread = false;
    store->kept = 0;
    return OK;
}

static enum error_code begin(struct session_store *base, bool *ret_same, struct error *e)
{
    struct store *store = store_of(base);

    if (store->db != NULL && was_moved(store)) {
        LOG(SESSION, WARN, "sessions.moved", F_Z("file", store->path));
        close_db(store);
        store->damaged = false;
        store->replaced = true;
    }
    if (store->db == NULL)
        TRY(open_again(store, e));
    assert(sqlite3_get_autocommit(store->db) != 0);
    /* What could not be appended to the log may find room where it begins again. */
    if (store->rc != SQLITE_OK)
        (void)run(store, "PRAGMA wal_checkpoint(TRUNCATE)");
    TRY(step(store, BEGIN, e));
    *ret_same = !store->replaced;
    store->replaced = false;
    return OK;
}

/* What cannot get better by itself is opened again. */
static void rollback(struct session_store *base)
{
    struct store *store = store_of(base);

    if (store->db == NULL)
        return;
    int rc = store->rc;
    if (sqlite3_get_autocommit(store->db) == 0) {
        struct error unused;
        (void)step(store, ROLLBACK, &unused);
    }
    store->damaged = is_damage(rc);
    if (store->damaged || rc == SQLITE_MISUSE || sqlite3_get_autocommit(store->db) == 0)
        close_db(store);
    else
        remember_files(store);
}

static enum error_code commit(struct session_store *base, struct error *e)
{
    struct store *store = store_of(base);
    enum error_code code = step(store, COMMIT, e);

    if (code == OK) {
        store->rc = SQLITE_OK;
        remember_files(store);
    } else {
        rollback(base);
    }
    return code;
}

static void free_store(struct session_store *base)
{
    struct store *store = store_of(base);

    if (store->db != NULL)
        close_db(store);
    if (store->lock >= 0)
        (void)close(store->lock);
    mem_free(store);
}

/* --- what there is at the start --- */

static struct str text_of(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    if (text == NULL)
        return STR_NULL;
    return str_of((const char *)text, (size_t)sqlite3_column_bytes(statement, column));
}

static struct str blob_of(sqlite3_stmt *statement, int column)
{
    const char *blob = sqlite3_column_blob(statement, column);

    return blob == NULL ? STR("") : str_of(blob, (size_t)sqlite3_column_bytes(statement, column));
}

static bool load_row(sqlite3_stmt *statement, const struct session_load *load)
{
    struct str scope = blob_of(statement, 1);
    struct session_row row = {
        .serial = sqlite3_column_int64(statement, 0),
        .id = text_of(statement, 2),
        .stats = {.seen_ms = sqlite3_column_int64(statement, 3),
                  .created_ms = sqlite3_column_int64(statement, 4),
                  .requests = sqlite3_column_int64(statement, 5),
                  .commands = sqlite3_column_int64(statement, 6),
                  .failures = sqlite3_column_int64(statement, 7),
                  .tokens_in = sqlite3_column_int64(statement, 8),
                  .tokens_out = sqlite3_column_int64(statement, 9),
                  .tokens_cached = sqlite3_column_int64(statement, 10)},
        .client = text_of(statement, 11),
        .settings = text_of(statement, 12),
        .history = blob_of(statement, 13),
    };

    if (scope.n != sizeof(row.scope.bytes) || row.serial < 1)
        return false;
    memcpy(row.scope.bytes, scope.p, scope.n);
    if (row.id.n > 0 && row.stats.seen_ms < load->since_ms) {
        load->old(load->ctx, row.serial);
        return true;
    }
    return load->row(load->ctx, &row);
}

/* The earliest time of those that are not too many. */
static int cut_off(struct store *store, struct session_load *load)
{
    char sql[SQL_MAX];
    char text[64];
    int64_t count = 0;
    int64_t since_ms = 0;

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM sessions WHERE seen_ms >= %lld",
                   (long long)load->since_ms);
    int rc = ask(store, sql, &count, text);
    if (rc != SQLITE_OK || (size_t)count <= load->max)
        return rc;
    (void)snprintf(sql, sizeof(sql),
                   "SELECT seen_ms FROM sessions ORDER BY seen_ms DESC LIMIT 1 OFFSET %zu",
                   load->max - 1);
    rc = ask(store, sql, &since_ms, text);
    if (rc == SQLITE_OK && since_ms > load->since_ms)
        load->since_ms = since_ms;
    return rc;
}

static int load_rows(struct store *store, const struct session_load *given, int64_t *ret_serial)
{
    struct session_load load = *given;
    sqlite3_stmt *statement = NULL;
    int rc = cut_off(store, &load);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(store->db,
                                "SELECT serial, scope, id, seen_ms, created_ms, requests, commands,"
                                " failures, tokens_in, tokens_out, tokens_cached, client, settings,"
                                " history FROM sessions ORDER BY serial",
                                -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t serial = sqlite3_column_int64(statement, 0);
        if (serial > *ret_serial)
            *ret_serial = serial;
        if (!load_row(statement, &load))
            LOG(SESSION, WARN, "sessions.unreadable_row", F_INT("serial", serial));
    }
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* What is found damaged only now is set aside as well; what was read of it is kept, and written to
 * the new one. */
static enum error_code load_all(struct session_store *base, const struct session_load *load,
                                int64_t *ret_serial, struct error *e)
{
    struct store *store = store_of(base);

    *ret_serial = 0;
    if (store->db == NULL) /* it could not be opened, and there may be nothing */
        return OK;
    int rc = load_rows(store, load, ret_serial);
    if (store->to_read) {
        store->to_read = false;
        store->unread = rc != SQLITE_OK;
        close_db(store);
        return OK;
    }
    if (rc == SQLITE_OK)
        return OK;
    if (!is_damage(rc))
        return fail(store, rc, e);
    close_db(store);
    store->damaged = true;
    return open_db(store, clock_real_ms(), e);
}

static const struct session_store_ops operations = {
    .load = load_all,
    .begin = begin,
    .put = put,
    .remove = remove_row,
    .commit = commit,
    .rollback = rollback,
    .free = free_store,
};

/* --- where nothing can be written --- */

/* Whether it is the disk's state and no mistake in the configuration: requests go on. Who may not
 * write to what was written before is told so by and by, too. */
static bool is_of_the_disk(const struct store *store, int why)
{
    struct file_state state;

    switch (why) {
    case EROFS:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
        return true;
    case EACCES:
    case EPERM:
        return look_at(store, FILE_DB, &state);
    default:
        return false;
    }
}

/* As a URI, which tells that nobody writes to it: so no log is wanted beside it. */
static void uri_of(const char *path, struct buf *uri)
{
    buf_init(uri, URI_MAX);
    (void)buf_add(uri, STR("file:"));
    url_add_encoded(uri, str_c(path), "/");
    (void)buf_add(uri, str_of("?immutable=1", sizeof("?immutable=1"))); /* with its end */
    assert(buf_ok(uri));
}

/* The database as it is, if its log is empty, for the rows of before. False: there may be some, but
 * they cannot be read. */
static bool open_to_read(struct store *store)
{
    struct buf uri;
    struct file_state state;
    int64_t version = 0;
    int rc;

    if (!look_at(store, FILE_DB, &state))
        return !store_file_is_there(store->path);
    if (state.bytes == 0)
        return true;
    if (look_at(store, FILE_WAL, &state) ? state.bytes > 0 : store_file_is_there(store->wal_path))
        return false;
    uri_of(store->path, &uri);
    rc = sqlite3_open_v2(uri.p, &store->db,
                         SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                             SQLITE_OPEN_PRIVATECACHE,
                         NULL);
    buf_fini(&uri);
    if (store->db == NULL)
        BUG("out of memory");
    store->to_read = rc == SQLITE_OK && look(store, &version, &rc) == GOOD &&
                     version == (int64_t)COUNT_OF(migrations);
    if (!store->to_read)
        close_db(store);
    return store->to_read;
}

/* It is opened by and by (begin). */
static void go_on(struct store *store, const struct error *why)
{
    store->base.trouble = *why;
    store->replaced = false;
    store->damaged = false;
    store->unread = !open_to_read(store);
}

enum error_code store_sqlite_open(struct str folder, int64_t now_ms,
                                  struct session_store **ret_store, struct error *e)
{
    struct store *store = mem_new(sizeof(*store));
    struct error why;

    store->base.ops = &operations;
    store->lock = -1;
    int n = snprintf(store->lock_path, sizeof(store->lock_path), "%.*s/sessions.lock",
                     STR_ARG(folder));
    if (n <= 0 || n >= (int)sizeof(store->lock_path) - 64) {
        free_store(&store->base);
        return FAIL(e, ERR_CONFIG, "session.file_path: the name is too long");
    }
    (void)snprintf(store->folder, sizeof(store->folder), "%.*s", STR_ARG(folder));
    (void)snprintf(store->path, sizeof(store->path), "%.*s/sessions.db", STR_ARG(folder));
    (void)snprintf(store->wal_path, sizeof(store->wal_path), "%.*s/sessions.db-wal",
                   STR_ARG(folder));
    if (open_db(store, now_ms, &why) != OK) {
        if (is_of_the_disk(store, errno)) {
            go_on(store, &why);
            *ret_store = &store->base;
            return OK;
        }
        free_store(&store->base);
        return FAIL(e, ERR_CONFIG, "session.file_path: %s", why.detail);
    }
    /* An empty one at the start is nothing to be told. */
    store->replaced = false;
    *ret_store = &store->base;
    return OK;
}
