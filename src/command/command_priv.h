/* SPDX-License-Identifier: MIT */
/* What the commands share. */
#pragma once

#include "command/command.h"

#define COMMAND(variable) extern const struct command variable;
#include "command/commands.def"
#undef COMMAND

/* The argument that fits the command's specification of that number: its value; null: absent. */
struct str command_arg(const struct command *command, const struct args *args, size_t spec);
/* The number of the specification that the argument fits; SIZE_MAX: none. */
size_t command_spec_of(const struct command *command, const struct arg *arg);
/* "Invalid arguments: set needs …, as in !/set(…)"; returns false. */
bool command_missing(struct command_env *env, const struct command *command,
                     const struct args *args);
/* In force: what commands begin with; whether unknown ones are answered; the backend of models
 * without a prefix (NULL: none). */
struct str command_prefix(const struct command_env *env);
bool command_interactive(const struct command_env *env);
struct backend *command_backend(const struct command_env *env);
/* < 0, 0, > 0: the order of bytes. */
int command_order(struct str a, struct str b);
