/* SPDX-License-Identifier: MIT */
#include "gateway/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "state/store_file.h"

enum error_code data_dir_make(const char *path, struct error *e)
{
    struct error why = {.code = OK};

    if (store_file_folder(path, &why) == OK)
        return OK;
    return FAIL(e, ERR_CONFIG, "data_dir: %s", why.detail);
}

enum error_code data_dir_read(const char *path, char *text, size_t size, size_t *ret_n,
                              bool *ret_open, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *ret_n = 0;
    *ret_open = false;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return OK;
    if (fd < 0)
        return FAIL(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    struct stat status;
    *ret_open = fstat(fd, &status) == 0 && (status.st_mode & 077) != 0;
    ssize_t n = read(fd, text, size);
    (void)close(fd);
    if (n < 0)
        return FAIL(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    struct str line = str_trim(str_of(text, (size_t)n));
    if (line.n == 0 || (size_t)n == size)
        return FAIL(e, ERR_CONFIG, "%s does not hold a key; remove it to get a new one", path);
    memmove(text, line.p, line.n);
    *ret_n = line.n;
    return OK;
}

enum error_code data_dir_write(const char *path, struct str line, bool *ret_made, struct error *e)
{
    char temporary[STORE_FILE_PATH_MAX + 100];
    uint64_t number;
    enum error_code code = OK;

    *ret_made = false;
    /* Not by the process's number: in a container that is always the same, also where one broke off
     * here. */
    id_random_bytes((unsigned char *)&number, sizeof(number));
    (void)snprintf(temporary, sizeof(temporary), "%s.%016llx", path, (unsigned long long)number);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(e, ERR_CONFIG, "cannot make %s: %s", temporary, strerror(errno));
    if (write(fd, line.p, line.n) != (ssize_t)line.n || write(fd, "\n", 1) != 1 || fsync(fd) != 0)
        code = FAIL(e, ERR_CONFIG, "cannot write %s: %s", temporary, strerror(errno));
    (void)close(fd);
    if (code == OK) {
        *ret_made = link(temporary, path) == 0;
        if (!*ret_made && errno != EEXIST)
            code = FAIL(e, ERR_CONFIG, "cannot make %s: %s", path, strerror(errno));
    }
    (void)unlink(temporary);
    return code;
}
