/* SPDX-License-Identifier: MIT */
#include "base/digits.h"

const char digits_pairs[201] = "00010203040506070809101112131415161718192021222324"
                               "25262728293031323334353637383940414243444546474849"
                               "50515253545556575859606162636465666768697071727374"
                               "75767778798081828384858687888990919293949596979899";

char *digits_whole(char *at, uint64_t value)
{
    if (value >= 1000)
        return digits_three(digits_whole(at, value / 1000), (unsigned)(value % 1000));
    if (value >= 100)
        return digits_three(at, (unsigned)value);
    if (value >= 10)
        return digits_two(at, (unsigned)value);
    *at = (char)('0' + value);
    return at + 1;
}

char *digits_int(char *at, int64_t value)
{
    if (value >= 0)
        return digits_whole(at, (uint64_t)value);
    *at = '-';
    return digits_whole(at + 1, 0 - (uint64_t)value);
}
