/* SPDX-License-Identifier: MIT */
/*
 * Compiler attributes, bugs and assertions. The only place that knows about compilers.
 *
 * assert() is ours: it is on in every build, and a failure prints where and why and aborts
 * (a bug is never an operating error).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NODISCARD              __attribute__((warn_unused_result))
#define NORETURN               __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define PURE_FN                __attribute__((pure))
#define ALWAYS_INLINE          inline __attribute__((always_inline))
#define COLD                   __attribute__((cold, noinline))
#define LIKELY(x)              __builtin_expect(!!(x), 1)
#define UNLIKELY(x)            __builtin_expect(!!(x), 0)
#define COUNT_OF(a)            (sizeof(a) / sizeof((a)[0]))

/* For a large local variable that is written before it is read: spares it the zeros that
 * -ftrivial-auto-var-init writes at each call. Where it is measured to matter only. */
#define UNINITIALIZED
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#undef UNINITIALIZED
#define UNINITIALIZED __attribute__((uninitialized))
#endif
#endif

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#endif
#ifndef HAVE_ASAN
#define HAVE_ASAN 0
#endif

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#endif
#ifndef HAVE_TSAN
#define HAVE_TSAN 0
#endif

/* Debug and sanitizer builds check what costs too much elsewhere: if (ATTR_CHECKS && …). */
#if defined(__OPTIMIZE__) && !HAVE_ASAN && !HAVE_TSAN
#define ATTR_CHECKS 0
#else
#define ATTR_CHECKS 1
#endif

/* Prints "BUG: why (function, file:line)" to standard error and aborts. */
NORETURN COLD void attr_bug(const char *why, const char *function, const char *file, int line);

#define BUG(why) attr_bug((why), __func__, __FILE__, __LINE__)

#undef assert
#define assert(x)                         \
    do {                                  \
        if (UNLIKELY(!(x)))               \
            BUG("assertion failed: " #x); \
    } while (0)

/*
 * Contexts that travel as void * name themselves: the struct's first member is
 * `uint32_t magic`, set to the type's MAGIC. CAST gives the typed pointer back, or is a bug.
 */
#define CAST(to, from, MAGIC)           \
    do {                                \
        (to) = (from);                  \
        assert((to) != NULL);           \
        assert((to)->magic == (MAGIC)); \
    } while (0)
