/* SPDX-License-Identifier: MIT */
/*
 * What the built-in demo has.
 */

/* Its models, in the order in which it tells them; the first is the default. */
export const DEMO_MODELS = ["assistant", "echo", "tools", "reason", "long", "slow", "loop",
    "tool-loop", "error-429", "error-500", "error-cut", "error-silent"]
    .map((name) => `demo:${name}`);
