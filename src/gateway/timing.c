/* SPDX-License-Identifier: MIT */
/*
 * What      Sums of phases, and their texts.
 * How       Each answer has the line and each exchange the log's field, so the texts are put
 *           together from ready pieces in a buffer that is large enough for all of them.
 * Not here  When which phase begins (exchange.c, attempt.c); percentiles (perf).
 */
#include "gateway/timing.h"

#include "base/digits.h"

const struct phase_row timing_phases[PHASE_COUNT] = {
#define PHASE(id, name_, kind_, what_) [PHASE_##id] = {#name_, PHASE_##kind_, what_},
#include "gateway/phase.def"
#undef PHASE
};

/* Pieces are copied whole and counted by their length. */
enum { PIECE_SIZE = 20, NUMBER_MAX = 24 };

static const struct piece {
    char header[PIECE_SIZE];
    char log[PIECE_SIZE];
    uint8_t header_n;
    uint8_t log_n;
    bool always;
} pieces[PHASE_COUNT] = {
#define PHASE(id, name, kind, what)                                                             \
    [PHASE_##id] = {#name ";dur=", #name ":", sizeof(#name ";dur=") - 1, sizeof(#name ":") - 1, \
                    PHASE_##kind == PHASE_OWN || PHASE_##id == PHASE_BACKEND},
#include "gateway/phase.def"
#undef PHASE
};

_Static_assert(PHASE_COUNT *(PIECE_SIZE + NUMBER_MAX) + 64 <= TIMING_TEXT_MAX,
               "there is room for each phase");

int64_t timing_own_us(const struct timing *t)
{
    return t->us[PHASE_ADMISSION] + t->us[PHASE_DECODE] + t->us[PHASE_SESSION] +
           t->us[PHASE_COMMAND] + t->us[PHASE_ROUTE] + t->us[PHASE_ENCODE];
}

int64_t timing_upstream_us(const struct timing *t)
{
    return t->us[PHASE_CONNECT] + t->us[PHASE_BACKEND] + t->us[PHASE_STREAM];
}

/* "12.034" milliseconds. */
static char *put_ms(char *at, int64_t us)
{
    at = digits_whole(at, (uint64_t)us / 1000);
    *at++ = '.';
    return digits_three(at, (unsigned)((uint64_t)us % 1000));
}

/* "1.234056" seconds. */
static char *put_seconds(char *at, int64_t us)
{
    unsigned rest = (unsigned)((uint64_t)us % 1000000);

    at = digits_whole(at, (uint64_t)us / 1000000);
    *at++ = '.';
    at = digits_two(at, rest / 10000);
    at = digits_two(at, rest / 100 % 100);
    return digits_two(at, rest % 100);
}

static char *put_header(char *at, const struct timing *t)
{
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        const struct piece *piece = &pieces[i];
        if (!piece->always && t->us[i] == 0)
            continue;
        memcpy(at, piece->header, PIECE_SIZE);
        at = put_ms(at + piece->header_n, t->us[i]);
        *at++ = ',';
        *at++ = ' ';
    }
    return at;
}

void timing_header(const struct timing *t, struct buf *out)
{
    static const char name[] = "server-timing: ";
    static const char total[] = "total;dur=";
    UNINITIALIZED char text[TIMING_TEXT_MAX];
    char *at = text;

    memcpy(at, name, sizeof(name) - 1);
    at = put_header(at + sizeof(name) - 1, t);
    memcpy(at, total, sizeof(total) - 1);
    at = put_ms(at + sizeof(total) - 1, timing_total_us(t));
    *at++ = '\r';
    *at++ = '\n';
    (void)buf_add(out, str_of(text, (size_t)(at - text)));
}

size_t timing_breakdown(const struct timing *t, char text[TIMING_TEXT_MAX])
{
    char *at = text;

    *at++ = '[';
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        if (t->us[i] == 0)
            continue;
        memcpy(at, pieces[i].log, PIECE_SIZE);
        at = put_seconds(at + pieces[i].log_n, t->us[i]);
        *at++ = ',';
    }
    if (at[-1] == ',')
        at--;
    *at++ = ']';
    return (size_t)(at - text);
}

size_t timing_seconds(int64_t us, unsigned decimals, char text[TIMING_SECONDS_MAX])
{
    char *at = text;

    assert(us >= 0 && (decimals == 3 || decimals == 6));
    if (decimals == 6)
        at = put_seconds(at, us);
    else
        at = put_ms(at, (us + 500) / 1000);
    *at++ = 's';
    return (size_t)(at - text);
}
