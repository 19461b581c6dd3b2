/* SPDX-License-Identifier: MIT */
#include "gateway/checked.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_priv.h"

enum { MEMORY_MAX = 512 * 1024 * 1024, WHY_SIZE = 512 };

struct checked {
    const struct protocol *protocol;
    void *state;
    bool ours;     /* something of it was encoded here */
    bool raw_last; /* its end may still be open: what follows is not ours alone */
    bool over;  /* a violation of the upstream's was met, or the end: nothing more is looked at */
    bool whole; /* one whole body */
    struct arena arena;
};

void checked_begin(struct exchange *x)
{
    const struct protocol *protocol = x->call.intake.protocol;

    if (!ATTR_CHECKS || protocol->lint_size == 0)
        return;
    assert(x->checked == NULL);
    struct checked *checked = mem_new(sizeof(*checked));
    arena_init(&checked->arena, MEMORY_MAX, 1024, NULL);
    checked->protocol = protocol;
    checked->whole = !x->call.request.stream;
    checked->state = arena_zalloc(&checked->arena, protocol->lint_size);
    protocol->lint_init(checked->state, &(struct lint_options){
                                            .stream = x->call.request.stream,
                                            .array = x->call.request.array,
                                            .arena = &checked->arena,
                                        });
    x->checked = checked;
}

/* Bytes: with quotes and line ends, for whoever reads the abort. */
NORETURN static void abort_on(const struct exchange *x, struct str bytes, const struct error *e)
{
    char why[WHY_SIZE];

    LOG(GATEWAY, ERROR, "answer.violation", F_STR("request", str_of(x->id, ID_SIZE)),
        F_Z("protocol", x->checked->protocol->name), F_Z("detail", e->detail),
        F_STR("bytes", str_head(bytes, 1024)));
    log_stop(); /* writes what is queued */
    (void)snprintf(why, sizeof(why), "we say what %s does not: %s", x->checked->protocol->name,
                   e->detail);
    attr_bug(why, __func__, __FILE__, __LINE__);
}

static void feed(struct exchange *x, struct str bytes, bool end, bool ours)
{
    struct checked *checked = x->checked;
    struct error e = {.code = OK};

    if (checked->over)
        return;
    if (checked->protocol->lint_bytes(checked->state, bytes, end, &e) != OK) {
        if (ours)
            abort_on(x, bytes, &e);
        checked->over = true;
        if (x->attempt.backend != NULL)
            metric_add(&x->station->metrics, METRIC_raw_violations_total, x->attempt.backend->slot,
                       1);
    }
    checked->over |= end;
}

void checked_bytes(struct exchange *x, struct str bytes, bool raw)
{
    struct checked *checked = x->checked;

    if (!ATTR_CHECKS || checked == NULL || bytes.n == 0)
        return;
    checked->ours |= !raw;
    /* Large ones were read in a job, not in a turn of the loop. */
    if (raw && checked->whole && bytes.n > LARGE_BYTES)
        checked->over = true;
    feed(x, bytes, false, !raw && !checked->raw_last);
    checked->raw_last = raw && !str_ends(bytes, STR("\n\n")) && !str_ends(bytes, STR("\n\r\n"));
}

void checked_end(struct exchange *x)
{
    if (ATTR_CHECKS && x->checked != NULL)
        feed(x, STR_NULL, true, x->checked->ours && !x->checked->raw_last);
}

void checked_free(struct checked **checked_ptr)
{
    struct checked *checked = *checked_ptr;

    *checked_ptr = NULL;
    if (checked == NULL)
        return;
    checked->protocol->lint_fini(checked->state);
    arena_fini(&checked->arena);
    mem_free(checked);
}
