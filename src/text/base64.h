/* SPDX-License-Identifier: MIT */
/* Base64 (RFC 4648), in either alphabet. */
#pragma once

/* The six bits of a digit; -1: it is none. */
static inline int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}
