/* SPDX-License-Identifier: MIT */
/*
 * What      The client key that is made at the first start, where the configuration has none.
 * How       data_dir/client.key, one line "sk-proxy-" + 48 hexadecimal digits.
 */
#include "gateway/gateway_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/data_dir.h"

enum { KEY_BYTES = 24, KEY_TEXT_MAX = 256 };

/* Reads the key; *ret_n 0: there is no file. */
static enum error_code read_key(const char *path, char text[KEY_TEXT_MAX], size_t *ret_n,
                                struct error *e)
{
    bool is_open = false;

    TRY(data_dir_read(path, text, KEY_TEXT_MAX, ret_n, &is_open, e));
    if (is_open)
        LOG(GATEWAY, WARN, "start.client_key_readable", F_Z("file", path),
            F_Z("detail", "others can read it: chmod 600"));
    if (*ret_n == 0)
        return OK;
    for (size_t i = 0; i < *ret_n; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            *ret_n = 0;
    }
    if (*ret_n < 16)
        return FAIL(e, ERR_CONFIG, "%s does not hold a key; remove it to get a new one", path);
    return OK;
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
    TRY(data_dir_make(directory, e));
    TRY(read_key(path, text, &n, e));
    if (n == 0) {
        unsigned char bytes[KEY_BYTES];
        id_random_bytes(bytes, sizeof(bytes));
        n = (size_t)snprintf(text, sizeof(text), "sk-proxy-");
        for (size_t i = 0; i < sizeof(bytes); i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%02x", bytes[i]);
        bool made = false;
        TRY(data_dir_write(path, str_of(text, n), &made, e));
        if (made)
            LOG(GATEWAY, INFO, "client_key.made", F_Z("file", path));
        else /* another process was faster */
            TRY(read_key(path, text, &n, e));
    }
    site->generated = (struct client_key){.name = STR("generated"),
                                          .key = secret_new(str_of(text, n)),
                                          .admin = true};
    site->keys = &site->generated;
    site->keys_n = 1;
    mem_wipe(text, sizeof(text));
    return OK;
}
