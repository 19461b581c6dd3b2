/* SPDX-License-Identifier: MIT */
#include "state/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 1000 };

/* What SQLite puts beside a database. */
static const char *const companions[] = {"-wal", "-shm", "-journal"};

static enum error_code fail(struct error *e, int why, const char *path, const char *what)
{
    enum error_code code;

    switch (why) {
    case ENOSPC:
        code = FAIL(e, ERR_SYSTEM, "the disk is full");
        break;
    case EDQUOT:
        code = FAIL(e, ERR_SYSTEM, "the disk quota is used up");
        break;
    case EROFS:
        code = FAIL(e, ERR_SYSTEM, "the database cannot be written: read-only");
        break;
    default:
        code = FAIL(e, ERR_SYSTEM, "%s cannot be %s: %s", path, what, strerror(why));
    }
    errno = why;
    return code;
}

enum error_code store_file_folder(const char *path, struct error *e)
{
    char part[STORE_FILE_PATH_MAX];
    size_t n = strlen(path);

    errno = 0;
    if (n == 0 || n >= sizeof(part))
        return FAIL(e, ERR_SYSTEM, "the folder's name is empty or too long");
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) == 0 || errno == EEXIST)
            continue;
        int why = errno;
        /* Of one that is there some systems say first that nothing can be written. */
        if (!(why == EROFS && access(part, F_OK) == 0))
            return fail(e, why, part, "made");
    }
    return OK;
}

enum error_code store_file_lock(const char *path, int *ret_fd, struct error *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        int why = errno;
        if (why == EROFS || why == EACCES)
            fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fail(e, why, path, "made");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        (void)close(fd);
        if (why != EWOULDBLOCK)
            return fail(e, why, path, "locked");
        errno = 0;
        return FAIL(e, ERR_SYSTEM, "another process has the database (%s)", path);
    }
    *ret_fd = fd;
    return OK;
}

/* So that the new name lasts as long as what is written to the file. */
static void sync_folder(const char *path)
{
    char folder[STORE_FILE_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);

    if (n == 0 || n >= sizeof(folder))
        return;
    memcpy(folder, path, n);
    folder[n] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

static bool join(char to[STORE_FILE_PATH_MAX], const char *path, const char *more)
{
    int n = snprintf(to, STORE_FILE_PATH_MAX, "%s%s", path, more);

    return n > 0 && n < STORE_FILE_PATH_MAX;
}

bool store_file_is_there(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 || errno != ENOENT;
}

/* Whether the name, and those of what would go with it, are free. */
static bool is_free(const char *name)
{
    char beside[STORE_FILE_PATH_MAX];

    if (store_file_is_there(name))
        return false;
    for (size_t i = 0; i < COUNT_OF(companions); i++) {
        if (!join(beside, name, companions[i]) || store_file_is_there(beside))
            return false;
    }
    return true;
}

static bool free_name(const char *path, const char *reason, int64_t now_ms,
                      char ret_name[STORE_FILE_PATH_MAX])
{
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm utc;
    char date[32];

    (void)gmtime_r(&now_s, &utc);
    (void)strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &utc);
    for (int i = 1; i < NAMES_MAX; i++) {
        int n = i == 1
                    ? snprintf(ret_name, STORE_FILE_PATH_MAX, "%s.%s-%s", path, reason, date)
                    : snprintf(ret_name, STORE_FILE_PATH_MAX, "%s.%s-%s-%d", path, reason, date, i);
        if (n <= 0 || n >= STORE_FILE_PATH_MAX)
            return false;
        if (is_free(ret_name))
            return true;
    }
    return false;
}

/* The database first: when it ends between, the log is found without it at the next start. */
enum error_code store_file_set_aside(const char *path, const char *reason, int64_t now_ms,
                                     char ret_name[STORE_FILE_PATH_MAX], struct error *e)
{
    char from[STORE_FILE_PATH_MAX];
    char to[STORE_FILE_PATH_MAX];

    errno = 0;
    if (!free_name(path, reason, now_ms, ret_name))
        return FAIL(e, ERR_SYSTEM, "there is no free name for %s to be set aside", path);
    if (rename(path, ret_name) != 0 && errno != ENOENT)
        return fail(e, errno, path, "renamed");
    for (size_t i = 0; i < COUNT_OF(companions); i++) {
        if (!join(from, path, companions[i]) || !join(to, ret_name, companions[i]))
            return FAIL(e, ERR_SYSTEM, "the name %s is too long", path);
        if (rename(from, to) != 0 && errno != ENOENT)
            return fail(e, errno, from, "renamed");
    }
    sync_folder(path);
    return OK;
}

enum error_code store_file_make(const char *path, int64_t now_ms, struct error *e)
{
    char beside[STORE_FILE_PATH_MAX];
    char name[STORE_FILE_PATH_MAX];
    bool made = !store_file_is_there(path);

    for (size_t i = 0; made && i < COUNT_OF(companions); i++) {
        if (!join(beside, path, companions[i]))
            return FAIL(e, ERR_SYSTEM, "the name %s is too long", path);
        if (store_file_is_there(beside))
            TRY(store_file_set_aside(path, "damaged", now_ms, name, e));
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(e, errno, path, made ? "made" : "written");
    struct stat status;
    if (fstat(fd, &status) == 0 && (status.st_mode & 077) != 0)
        (void)fchmod(fd, 0600);
    (void)close(fd);
    if (made)
        sync_folder(path);
    return OK;
}
