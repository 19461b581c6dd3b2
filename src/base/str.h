/* SPDX-License-Identifier: MIT */
/*
 * Byte slices: two words, passed and returned by value. A str owns nothing and has no NUL at its
 * end; whoever made the bytes says how long they live. {NULL, 0} is "absent", {"", 0} is "empty":
 * str_is_null tells them apart, every other function treats them alike.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "base/attr.h"

struct arena;

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){.p = ("" lit), .n = sizeof(lit) - 1})
/* For tables of constants. */
#define STR_INIT(lit)                       \
    {                                       \
        .p = ("" lit), .n = sizeof(lit) - 1 \
    }
#define STR_NULL ((struct str){.p = NULL, .n = 0})
/* For printf: ("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, ((s).p == NULL ? "" : (s).p)

static inline struct str str_of(const char *p, size_t n)
{
    return (struct str){.p = p, .n = n};
}

/* The bytes of a C string, without its NUL; NULL gives the absent str. */
static inline struct str str_c(const char *z)
{
    return (struct str){.p = z, .n = z == NULL ? 0 : strlen(z)};
}

static inline bool str_is_null(struct str s)
{
    return s.p == NULL;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Of equally long strings; use str_eq_nocase. */
PURE_FN bool str_same_letters(const char *a, const char *b, size_t n);

/* Most names differ in their first letter: that is seen without a call. */
static inline bool str_same_start(const char *a, const char *b, size_t n)
{
    return n == 0 || ((((unsigned char)a[0] ^ (unsigned char)b[0]) & 0xdfu) == 0 &&
                      str_same_letters(a, b, n));
}

/* ASCII letters of either case are equal. */
static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_same_start(a.p, b.p, a.n);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_same_start(s.p, prefix.p, prefix.n);
}

PURE_FN bool str_ends(struct str s, struct str suffix);
/* The value of a hexadecimal digit of either case; -1: it is none. */
static inline int str_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* From index begin (clamped) to the end. */
static inline struct str str_from(struct str s, size_t begin)
{
    if (begin > s.n)
        begin = s.n;
    return (struct str){.p = s.p == NULL ? NULL : s.p + begin, .n = s.n - begin};
}

/* The first n bytes (clamped). */
static inline struct str str_head(struct str s, size_t n)
{
    return (struct str){.p = s.p, .n = n < s.n ? n : s.n};
}

/* Index of the first c at or after from, or SIZE_MAX. */
PURE_FN size_t str_find_char(struct str s, char c, size_t from);

/* Index of the first needle at or after from, or SIZE_MAX. An empty needle is found at from. */
PURE_FN size_t str_find(struct str s, struct str needle, size_t from);

/* Without blanks (space, tab, CR, LF) at both ends. */
PURE_FN struct str str_trim_blanks(struct str s);
/* The same; most have none: that is seen without a call. */
static inline struct str str_trim(struct str s)
{
    bool bare = s.n == 0 || ((unsigned char)s.p[0] > ' ' && (unsigned char)s.p[s.n - 1] > ' ');
    return bare ? s : str_trim_blanks(s);
}

/* Takes the part before the first sep off *s, and sep too; without sep, all of it (then *s is
 * null). Returns false when *s was null: for (…; str_cut(&rest, ',', &part);) */
bool str_cut(struct str *s, char sep, struct str *ret_part);

/* The whole of s as a decimal number, optional sign; false on anything else or overflow. */
NODISCARD bool str_to_int64(struct str s, int64_t *ret_value);
/* The whole of s as a finite decimal number such as JSON has; false on anything else. */
NODISCARD bool str_to_double(struct str s, double *ret_value);

/* Compares in time that depends on the lengths only. */
PURE_FN bool str_eq_secret(struct str a, struct str b);

/* Number of single-byte edits from a to b, at most limit + 1 ("did you mean"). */
size_t str_distance(struct str a, struct str b, size_t limit);

/* A copy in the arena; absent stays absent. */
struct str str_copy(struct arena *arena, struct str s);
/* A NUL-terminated copy in the arena, for libc and library edges. */
char *str_z(struct arena *arena, struct str s);
/* printf into the arena. */
struct str str_print(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
/* A NUL-terminated heap copy; mem_free it. */
NODISCARD char *str_dup(struct str s);

#include "base/banned.h"
