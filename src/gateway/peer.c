/* SPDX-License-Identifier: MIT */
/*
 * What      Whose request it is, by address, where proxies stand in front.
 * How       Each proxy adds the address that it saw to the right of X-Forwarded-For. From the
 *           right, what trusted ones wrote is believed: the first address that is not itself one
 *           of trusted_proxies is the client. All to its left is the client's own say.
 * Not here  What is done with it (strikes, the log).
 */
#include "gateway/peer.h"

#include "gateway/gateway_priv.h"
#include "io/address.h"

static bool is_trusted(const struct config *config, const struct address *address)
{
    for (size_t i = 0; i < config->trusted_ranges_n; i++) {
        if (address_in(address, &config->trusted_ranges[i]))
            return true;
    }
    return false;
}

/* Takes the last element off *list; false when there is none left. */
static bool cut_last(struct str *list, struct str *ret_element)
{
    size_t at = list->n;

    if (str_is_null(*list))
        return false;
    while (at > 0 && list->p[at - 1] != ',')
        at--;
    *ret_element = str_trim(str_from(*list, at));
    *list = at == 0 ? STR_NULL : str_head(*list, at - 1);
    return true;
}

/* One header's elements from the right. True: *peer is the client. */
static bool walk(const struct config *config, struct str list, struct str *peer)
{
    struct str element;
    struct address address;

    while (cut_last(&list, &element)) {
        /* Nonsense ends it: what a trusted proxy has written last is as near as one can get. */
        if (!address_parse(element, &address))
            return true;
        *peer = element;
        if (!is_trusted(config, &address))
            return true;
    }
    return false;
}

struct str peer_of(const struct config *config, struct str peer, const struct message *m,
                   bool *ret_trusted)
{
    struct address address;

    *ret_trusted = config->trusted_ranges_n > 0 && address_parse(peer, &address) &&
                   is_trusted(config, &address);
    if (!*ret_trusted || m == NULL)
        return peer;
    /* Several lines are one list (RFC 9110, 5.3). */
    for (size_t i = m->headers.n; i > 0; i--) {
        const struct http_header *header = &m->headers.items[i - 1];
        if (str_eq_nocase(header->name, STR("x-forwarded-for")) &&
            walk(config, header->value, &peer))
            break;
    }
    return peer;
}
