/* SPDX-License-Identifier: MIT */
/* What message.h declares; the names are http_*, and so is the file's. */
#include "http/message.h"

#include "base/arena.h"

/* RFC 9110, section 15, and the registry; 529 is what Anthropic's API answers when overloaded. */
static const struct {
    uint16_t status;
    char text[32];
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
    {529, "Site is overloaded"},
};

void http_headers_grow(struct http_headers *headers, struct arena *arena)
{
    enum { FIRST_SIZE = 16 };
    size_t size = headers->size == 0 ? FIRST_SIZE : headers->size * 2;
    struct http_header *items = arena_grow(arena, headers->items, headers->size * sizeof(*items),
                                           size * sizeof(*items));

    /* The reserve of an overflowed arena is smaller than the array. */
    if (arena_overflowed(arena))
        return;
    headers->items = items;
    headers->size = size;
}

struct str http_headers_get(const struct http_headers *headers, struct str name)
{
    for (size_t i = 0; i < headers->n; i++) {
        const struct http_header *header = &headers->items[i];
        if (header->name.n == name.n && str_eq_nocase(header->name, name))
            return header->value;
    }
    return STR_NULL;
}

struct str http_reason(int status)
{
    size_t begin = 0;
    size_t end = COUNT_OF(reasons);

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        if (reasons[middle].status == status)
            return str_c(reasons[middle].text);
        if (reasons[middle].status < status)
            begin = middle + 1;
        else
            end = middle;
    }
    return STR("Unknown");
}

bool http_list_has(struct str list, struct str token)
{
    struct str part;

    assert(token.n > 0);
    while (str_cut(&list, ',', &part)) {
        if (str_eq_nocase(str_trim(part), token))
            return true;
    }
    return false;
}
