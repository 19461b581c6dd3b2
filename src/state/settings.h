/* SPDX-License-Identifier: MIT */
/*
 * What a session can have set: the table is setting.def. A value; text is borrowed.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum setting {
#define SETTING(kind, field, key) SETTING_##field,
#include "state/setting.def"
#undef SETTING
    SETTING_COUNT
};
_Static_assert(SETTING_COUNT <= 32, "a change has a bit for each");
#define SETTING_BIT(field) (1u << SETTING_##field)

#define SETTING_FIELD_text(name)  struct str name;
#define SETTING_FIELD_count(name) int64_t name;
#define SETTING_FIELD_flag(name)  int name;

struct settings {
#define SETTING(kind, field, key) SETTING_FIELD_##kind(field)
#include "state/setting.def"
#undef SETTING
};

/* Nothing is set. */
void settings_init(struct settings *settings);
/* "project-dir" */
const char *settings_key(enum setting setting);
bool settings_is_set(const struct settings *settings, enum setting setting);
/* As it would be written in !/set(key=value); null: not set. */
struct str settings_value(const struct settings *settings, enum setting setting,
                          struct arena *arena);
/* Those of the mask's bits take the values of from; the rest of to stays. */
void settings_merge(struct settings *to, const struct settings *from, uint32_t mask);
bool settings_equal(const struct settings *a, const struct settings *b);
/* A copy whose text lies in the arena. */
void settings_copy(const struct settings *from, struct arena *arena, struct settings *ret_copy);
/* How many bytes its texts have together. */
size_t settings_text_bytes(const struct settings *settings);
/* A copy whose texts lie in text, which has room for so many. */
void settings_pack(const struct settings *from, char *text, struct settings *ret_copy);
/* {"backend":"openai",…} with what is set. */
bool settings_write(const struct settings *settings, struct buf *out);
/* Reads it back; members that are not known (of a newer program) are left out. BAD_REQUEST. */
NODISCARD enum error_code settings_read(struct str json, struct arena *arena,
                                        struct settings *ret_settings, struct error *e);
