/* SPDX-License-Identifier: MIT */
/*
 * What      The key that reasoning is sealed with on its way through clients (canon/seal).
 * How       data_dir/seal.key, one line of 64 hexadecimal digits, made at the first start. Where it
 *           cannot be kept there is one for the life of the process: what was sealed before a
 *           restart is then nobody's, and left out.
 */
#include "gateway/gateway_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/data_dir.h"

enum { KEY_TEXT = 2 * MAC_KEY_SIZE, KEY_TEXT_MAX = KEY_TEXT + 32 };

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, size_t n, struct mac_key *ret_key)
{
    if (n != KEY_TEXT)
        return false;
    for (size_t i = 0; i < MAC_KEY_SIZE; i++) {
        int high = hex_of(text[2 * i]);
        int low = hex_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_key->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* *ret_n 0: there is no file. */
static enum error_code read_key(const char *path, struct mac_key *ret_key, size_t *ret_n,
                                struct error *e)
{
    char text[KEY_TEXT_MAX];
    bool is_open = false;

    TRY(data_dir_read(path, text, sizeof(text), ret_n, &is_open, e));
    bool ok = *ret_n == 0 || read_hex(text, *ret_n, ret_key);
    mem_wipe(text, sizeof(text));
    if (!ok)
        return FAIL(e, ERR_CONFIG, "%s does not hold a key; remove it to get a new one", path);
    if (is_open)
        LOG(GATEWAY, WARN, "start.seal_key_readable", F_Z("file", path),
            F_Z("detail", "others can read it: chmod 600"));
    return OK;
}

static enum error_code make_key(const char *directory, const char *path, struct mac_key *ret_key,
                                struct error *e)
{
    char text[KEY_TEXT + 1];
    bool made = false;
    size_t n = 0;

    id_random_bytes(ret_key->bytes, sizeof(ret_key->bytes));
    for (size_t i = 0; i < MAC_KEY_SIZE; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", ret_key->bytes[i]);
    enum error_code code = data_dir_make(directory, e);
    if (code == OK)
        code = data_dir_write(path, str_of(text, KEY_TEXT), &made, e);
    mem_wipe(text, sizeof(text));
    if (code == OK && !made) /* another process was faster */
        code = read_key(path, ret_key, &n, e);
    return code;
}

enum error_code seal_key_prepare(const struct config *config, struct seal *ret_seal,
                                 struct error *e)
{
    struct arena arena;
    struct error why;
    size_t n = 0;

    arena_init(&arena, 64 * 1024, 1024, NULL);
    char *directory = str_z(&arena, config->data_dir);
    char *path = str_z(&arena, str_print(&arena, "%s/seal.key", directory));
    enum error_code code = read_key(path, &ret_seal->key, &n, e);
    if (code == OK && n == 0 && make_key(directory, path, &ret_seal->key, &why) != OK)
        LOG(GATEWAY, WARN, "start.seal_key_not_kept", F_Z("detail", why.detail));
    arena_fini(&arena);
    return code;
}
