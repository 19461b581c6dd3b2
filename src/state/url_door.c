/* SPDX-License-Identifier: MIT */
/*
 * What      Which URLs a session may name, and which addresses their hosts may have.
 * How       Names are compared as names, whole and without the dot that may end them; addresses as
 *           addresses, however they are written. Names that a resolver would read as numbers
 *           (127.1, 0x7f000001) are none. What a name stands for is looked at between resolving and
 *           connecting, each time: a name that changes its mind gets nowhere.
 * Not here  Connecting (io), keys (backend).
 */
#include "state/url_door.h"

#include "io/address.h"
#include "state/config.h"

enum { SHOWN_HOST_MAX = 80 };

const char url_door_refusal[] =
    "all addresses of the host of openai-url are private, loopback, link-local or otherwise "
    "special, and none of them is in allowed_url_hosts";

/* --- names --- */

/* "example.com." is example.com. */
static struct str without_dot(struct str host)
{
    return str_ends(host, STR(".")) ? str_head(host, host.n - 1) : host;
}

static bool all_of(struct str s, const char *set)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0' || strchr(set, s.p[i]) == NULL)
            return false;
    }
    return s.n > 0;
}

/* Its last label is a number, also an octal or hexadecimal one: inet_aton takes it for an address,
 * and no name of the DNS ends so. */
static bool looks_numeric(struct str host)
{
    struct str rest = without_dot(host);
    struct str label = rest;

    while (str_cut(&rest, '.', &label))
        ;
    if (str_starts_nocase(label, STR("0x")))
        return label.n == 2 || all_of(str_from(label, 2), "0123456789abcdefABCDEF");
    return all_of(label, "0123456789");
}

static bool is_name(struct str host)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    return host.n <= 253 && all_of(host, letters) && host.p[0] != '.' && !looks_numeric(host);
}

/* --- entries --- */

struct entry {
    bool is_address;
    struct address address;
    struct str name;
    int64_t port; /* 0: any */
};

/* The part of the entry before its port. "::1" needs no brackets, where no port follows. Null: it
 * is none. */
static struct str host_of(struct str text)
{
    size_t colon = str_find_char(text, ':', 0);

    if (text.n > 0 && text.p[0] == '[') {
        size_t end = str_find_char(text, ']', 0);
        return end == SIZE_MAX ? STR_NULL : str_head(text, end + 1);
    }
    if (colon != SIZE_MAX && str_find_char(text, ':', colon + 1) != SIZE_MAX)
        return text;
    return str_head(text, colon);
}

static bool read_port(struct str text, int64_t *ret_port)
{
    return text.n > 1 && text.p[0] == ':' && all_of(str_from(text, 1), "0123456789") &&
           str_to_int64(str_from(text, 1), ret_port) && *ret_port >= 1 && *ret_port <= UINT16_MAX;
}

static bool read_entry(struct str text, struct entry *ret_entry)
{
    struct entry entry = {.name = STR_NULL};
    struct str host = host_of(text);

    if (host.n == 0 || (host.n < text.n && !read_port(str_from(text, host.n), &entry.port)))
        return false;
    entry.is_address = address_parse(host, &entry.address);
    /* Within brackets, or with colons, it is an address or nothing. */
    if (!entry.is_address && !is_name(host))
        return false;
    entry.name = without_dot(host);
    *ret_entry = entry;
    return true;
}

bool url_door_entry_ok(struct str entry)
{
    struct entry read;

    return read_entry(entry, &read);
}

static bool url_address(const struct url *url, struct address *ret_address)
{
    /* No port stands in it, and none is to be looked for. */
    if (!url->host_is_ipv6 && str_find_char(url->host, ':', 0) != SIZE_MAX)
        return false;
    return address_parse(url->host, ret_address);
}

bool url_door_is_address(const struct url *url)
{
    struct address address;

    return url_address(url, &address);
}

/* Whether the address stands in the list for the URL's port. */
static bool lists_address(const struct config *config, const struct url *url,
                          const struct address *address)
{
    struct entry entry;

    for (size_t i = 0; i < config->allowed_url_hosts.n; i++) {
        if (read_entry(config->allowed_url_hosts.items[i], &entry) && entry.is_address &&
            address_eq(&entry.address, address) && (entry.port == 0 || entry.port == url->port))
            return true;
    }
    return false;
}

static bool lists_name(const struct config *config, const struct url *url)
{
    struct str name = without_dot(url->host);
    struct entry entry;

    for (size_t i = 0; i < config->allowed_url_hosts.n; i++) {
        if (read_entry(config->allowed_url_hosts.items[i], &entry) && !entry.is_address &&
            str_eq_nocase(entry.name, name) && (entry.port == 0 || entry.port == url->port))
            return true;
    }
    return false;
}

/* --- asking --- */

static bool refuse(struct str *ret_why, struct str why)
{
    *ret_why = why;
    return false;
}

bool url_door_passes(const struct config *config, struct str text, struct arena *arena,
                     struct url *ret_url, struct str *ret_why)
{
    struct address address;
    struct error e;

    if (config->allowed_url_hosts.n == 0)
        return refuse(ret_why, STR("allowed_url_hosts is empty"));
    if (url_parse(text, arena, ret_url, &e) != OK)
        return refuse(ret_why, str_print(arena, "it must not be %s", e.detail));
    if (!str_is_null(ret_url->query))
        return refuse(ret_why, STR("it must not have a query"));
    bool is_address = url_address(ret_url, &address);
    if (!is_address && (ret_url->host_is_ipv6 || looks_numeric(ret_url->host)))
        return refuse(ret_why, STR("its host is neither a name nor an address as it is usually "
                                   "written"));
    if (is_address ? lists_address(config, ret_url, &address) : lists_name(config, ret_url))
        return true;
    struct str host = str_head(url_authority(ret_url, arena), SHOWN_HOST_MAX);
    return refuse(ret_why,
                  str_print(arena, "its host, %.*s, is not in allowed_url_hosts", STR_ARG(host)));
}

bool url_door_admits(const struct config *config, const struct url *url,
                     const struct address *address)
{
    return address_is_public(address) || lists_address(config, url, address) ||
           (address_is_loopback(address) &&
            str_eq_nocase(without_dot(url->host), STR("localhost")));
}
