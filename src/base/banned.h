/* SPDX-License-Identifier: MIT */
/*
 * Functions that have a better one. Using one of them names an undeclared identifier whose name
 * says what to use. Include it last in a header that everybody includes (str.h does).
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(f, instead) f##_is_banned_use_##instead

#undef strcpy
#define strcpy(a, b) BANNED(strcpy, struct_str)
#undef strncpy
#define strncpy(a, b, n) BANNED(strncpy, struct_str)
#undef strcat
#define strcat(a, b) BANNED(strcat, struct_buf)
#undef strncat
#define strncat(a, b, n) BANNED(strncat, struct_buf)
#undef sprintf
#define sprintf(...) BANNED(sprintf, snprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf, vsnprintf)
#undef strtok
#define strtok(a, b) BANNED(strtok, str_cut)
#undef atoi
#define atoi(a) BANNED(atoi, str_to_int64)
#undef atol
#define atol(a) BANNED(atol, str_to_int64)
#undef gmtime
#define gmtime(a) BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(a) BANNED(localtime, localtime_r)
#undef ctime
#define ctime(a) BANNED(ctime, strftime)
#undef asctime
#define asctime(a) BANNED(asctime, strftime)
#undef alloca
#define alloca(a) BANNED(alloca, arena_alloc)
#undef gets
#define gets(a) BANNED(gets, fgets)
#undef strdup
#define strdup(a) BANNED(strdup, str_dup)
