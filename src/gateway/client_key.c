/* SPDX-License-Identifier: MIT */
/*
 * What      The client key that is made at the first start, where the configuration has none.
 * How       data_dir/client.key, mode 0600, one line "sk-proxy-" + 48 hexadecimal digits; written
 *           to a temporary file and renamed, so that it is never there by half.
 */
#include "gateway/gateway_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { KEY_BYTES = 24, KEY_TEXT_MAX = 256 };

static enum error_code make_directory(const char *path, struct error *e)
{
    char part[1024];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof(part))
        return FAIL(e, ERR_CONFIG, "data_dir: the path is empty or too long");
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return FAIL(e, ERR_CONFIG, "data_dir: cannot make %s: %s", part, strerror(errno));
    }
    return OK;
}

/* Reads the key; *ret_n 0: there is no file. */
static enum error_code read_key(const char *path, char text[KEY_TEXT_MAX], size_t *ret_n,
                                struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *ret_n = 0;
    if (fd < 0 && errno == ENOENT)
        return OK;
    if (fd < 0)
        return FAIL(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    struct stat status;
    if (fstat(fd, &status) == 0 && (status.st_mode & 077) != 0)
        LOG(GATEWAY, WARN, "start.client_key_readable", F_Z("file", path),
            F_Z("detail", "others can read it: chmod 600"));
    ssize_t n = read(fd, text, KEY_TEXT_MAX);
    (void)close(fd);
    if (n < 0)
        return FAIL(e, ERR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    struct str key = str_trim(str_of(text, (size_t)n));
    if (key.n < 16 || key.n == KEY_TEXT_MAX)
        return FAIL(e, ERR_CONFIG, "%s does not hold a key; remove it to get a new one", path);
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return FAIL(e, ERR_CONFIG, "%s does not hold a key; remove it to get a new one", path);
    }
    memmove(text, key.p, key.n);
    *ret_n = key.n;
    return OK;
}

static enum error_code write_key(const char *path, struct str key, struct error *e)
{
    char temporary[1100];
    enum error_code code = OK;

    (void)snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(e, ERR_CONFIG, "cannot make %s: %s", temporary, strerror(errno));
    if (write(fd, key.p, key.n) != (ssize_t)key.n || write(fd, "\n", 1) != 1 || fsync(fd) != 0)
        code = FAIL(e, ERR_CONFIG, "cannot write %s: %s", temporary, strerror(errno));
    (void)close(fd);
    if (code == OK && rename(temporary, path) != 0)
        code = FAIL(e, ERR_CONFIG, "cannot make %s: %s", path, strerror(errno));
    if (code != OK)
        (void)unlink(temporary);
    return code;
}

enum error_code client_key_prepare(struct site *site, struct error *e)
{
    const struct config *config = site->config;
    char text[KEY_TEXT_MAX];
    size_t n = 0;

    if (config->disable_auth || site->keys_n > 0)
        return OK;
    char *directory = str_z(&site->arena, config->data_dir);
    site->key_path = str_print(&site->arena, "%s/client.key", directory);
    char *path = str_z(&site->arena, site->key_path);
    TRY(make_directory(directory, e));
    TRY(read_key(path, text, &n, e));
    if (n == 0) {
        unsigned char bytes[KEY_BYTES];
        id_random_bytes(bytes, sizeof(bytes));
        n = (size_t)snprintf(text, sizeof(text), "sk-proxy-");
        for (size_t i = 0; i < sizeof(bytes); i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%02x", bytes[i]);
        TRY(write_key(path, str_of(text, n), e));
        LOG(GATEWAY, INFO, "client_key.made", F_Z("file", path));
    }
    site->generated = (struct client_key){.name = STR("generated"),
                                          .key = secret_new(str_of(text, n)),
                                          .admin = true};
    site->keys = &site->generated;
    site->keys_n = 1;
    mem_wipe(text, sizeof(text));
    return OK;
}
