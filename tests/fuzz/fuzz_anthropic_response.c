/* SPDX-License-Identifier: MIT */
/*
 * anthropic_decode_bytes, anthropic_encode_frame, anthropic_encode_end, anthropic_lint_bytes.
 *
 * The first byte says what the rest is: 'w' a whole body, anything else a stream.
 * Oracles: any cut = none; canon/check; raw frames are the input; what we write passes the checker,
 * streamed and whole, and is read again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/trial.h"

extern const struct protocol protocol_anthropic;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;

    if (size < 2)
        return 0;
    const struct trial_cuts cuts = {.stream = data[0] != 'w'};
    struct str bytes = str_of((const char *)data + 1, size - 1);
    if (trial_laws(&protocol_anthropic, bytes, &cuts, &e) != OK) {
        fprintf(stderr, "%s\n%.*s\n", e.detail, STR_ARG(bytes));
        abort();
    }
    return 0;
}
