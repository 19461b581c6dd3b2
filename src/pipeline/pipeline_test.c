/* SPDX-License-Identifier: MIT */
/* The verdicts of stages in every state of the pipeline (README.md, the table). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/pipeline.h"

/* cmocka brings its own assert(); ours is for the program. */

enum { ARENA_MAX = 1024 * 1024, HOLD_MAX = 64 * 1024 };

/* What the test's stages do, and what they saw. */
struct script {
    enum verdict request[3];
    int requests[3];
    int events[3];
    int dones[3];
    enum event_verdict event[3];
    bool release; /* the holding stage lets everything pass from now on */
    bool upper_case[3];
    int deaf_after[3]; /* events; 0: listens to the end */
    char order[64];    /* of request and done hooks: "r0r1d1d0" */
};

struct fixture {
    struct arena arena;
    struct call call;
    struct script script;
    char seen[256]; /* texts that reached the sink, in order */
    size_t seen_n;
    int frames;
    bool changed;
    bool refuse;
    int woken;
};

/* The stages find the script through the call's config pointer, which they never read as such. */
static struct script *script_of(const struct call *call)
{
    return (struct script *)(uintptr_t)call->config;
}

static void note(struct script *s, char what, int index)
{
    size_t n = strlen(s->order);
    if (n + 2 < sizeof(s->order)) {
        s->order[n] = what;
        s->order[n + 1] = (char)('0' + index);
        s->order[n + 2] = '\0';
    }
}

static void emit_own(struct call *call, const char *text)
{
    struct event event = {.kind = EVENT_TEXT, .text = str_c(text)};
    struct frame frame = {.events = &event, .n = 1};
    pipeline_reply(call, &frame);
}

static enum verdict run_request(struct call *call, int index)
{
    struct script *s = script_of(call);
    s->requests[index]++;
    note(s, 'r', index);
    if (s->request[index] == STOP)
        (void)FAIL(&call->error, ERR_BAD_REQUEST, "stage %d", index);
    if (s->request[index] == REPLY)
        emit_own(call, "own");
    return s->request[index];
}

static enum event_verdict run_event(struct call *call, int index, struct frame *frame,
                                    struct event *event)
{
    struct script *s = script_of(call);
    s->events[index]++;
    if (s->events[index] == s->deaf_after[index])
        pipeline_ignore(call, EVENT_BIT(EVENT_TEXT));
    if (s->upper_case[index]) {
        event->text = STR("UP");
        frame->changed = true;
    }
    if (s->event[index] == HOLD && s->release)
        return PASS;
    if (s->event[index] == CUT)
        emit_own(call, "cut");
    return s->event[index];
}

#define TEST_STAGE(i)                                                                        \
    static enum verdict request_##i(struct call *call, void *state)                          \
    {                                                                                        \
        (*(int *)state)++;                                                                   \
        return run_request(call, i);                                                         \
    }                                                                                        \
    static enum event_verdict event_##i(struct call *call, void *state, struct frame *frame, \
                                        struct event *event)                                 \
    {                                                                                        \
        (void)state;                                                                         \
        return run_event(call, i, frame, event);                                             \
    }                                                                                        \
    static void done_##i(struct call *call, void *state)                                     \
    {                                                                                        \
        assert_int_equal(*(int *)state, script_of(call)->requests[i]);                       \
        script_of(call)->dones[i]++;                                                         \
        note(script_of(call), 'd', i);                                                       \
    }                                                                                        \
    static const struct stage test_stage_##i = {                                             \
        .name = "test" #i,                                                                   \
        .state_size = sizeof(int),                                                           \
        .event_mask = EVENT_BIT(EVENT_TEXT),                                                 \
        .request = request_##i,                                                              \
        .event = event_##i,                                                                  \
        .done = done_##i,                                                                    \
    }

TEST_STAGE(0);
TEST_STAGE(1);
TEST_STAGE(2);

static const struct stage *const test_stages[] = {&test_stage_0, &test_stage_1, &test_stage_2};

static bool sink(void *ctx, struct frame *frame)
{
    struct fixture *f = ctx;

    if (f->refuse)
        return false;
    f->frames++;
    f->changed = f->changed || frame->changed;
    for (uint32_t i = 0; i < frame->n; i++) {
        struct str text = frame->events[i].kind == EVENT_TEXT ? frame->events[i].text : STR("*");
        assert_true(f->seen_n + text.n + 2 < sizeof(f->seen));
        memcpy(f->seen + f->seen_n, text.p, text.n);
        f->seen_n += text.n;
        f->seen[f->seen_n++] = ' ';
    }
    return true;
}

static void wake(void *ctx)
{
    ((struct fixture *)ctx)->woken++;
}

static void begin(struct fixture *f)
{
    const struct pipeline_options options = {
        .stages = test_stages,
        .stages_n = 3,
        .arena = &f->arena,
        .hold_bytes_max = HOLD_MAX,
        .sink = sink,
        .sink_ctx = f,
        .wake = wake,
    };
    arena_init(&f->arena, ARENA_MAX, 1024, NULL);
    f->call.config = (const struct config *)(uintptr_t)&f->script;
    pipeline_begin(&f->call, &options);
}

static void finish(struct fixture *f)
{
    pipeline_done(&f->call);
    pipeline_done(&f->call); /* the second time does nothing */
    arena_fini(&f->arena);
}

/* A frame of one text event whose memory is gone after the push, as a decoder's is. */
static enum pipeline_push push(struct fixture *f, const char *text)
{
    char memory[64];
    size_t n = strlen(text);

    memcpy(memory, text, n);
    struct event event = {.kind = EVENT_TEXT, .text = str_of(memory, n)};
    struct frame frame = {.raw = str_of(memory, n), .events = &event, .n = 1};
    enum pipeline_push result = pipeline_frame(&f->call, &frame);
    memset(memory, 'x', sizeof(memory));
    return result;
}

static void test_requests_run_down_and_frames_up(void **unused)
{
    struct fixture f = {.frames = 0};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    finish(&f);
    assert_string_equal(f.script.order, "r0r1r2d2d1d0");
    assert_int_equal(f.script.events[0] + f.script.events[1] + f.script.events[2], 3);
    assert_string_equal(f.seen, "a ");
    assert_false(f.changed);
}

static void test_stop_ends_the_way_down(void **unused)
{
    struct fixture f = {.script.request = {NEXT, STOP, NEXT}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), STOP);
    assert_int_equal(f.call.error.code, ERR_BAD_REQUEST);
    finish(&f);
    /* done runs for each stage whose request hook ran, and for no other */
    assert_string_equal(f.script.order, "r0r1d1d0");
}

static void test_reply_climbs_from_the_stage_that_answers(void **unused)
{
    struct fixture f = {.script.request = {NEXT, REPLY, NEXT}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), REPLY);
    assert_true(f.call.answered);
    assert_string_equal(f.seen, "own ");
    assert_int_equal(f.script.events[0], 1);
    assert_int_equal(f.script.events[1], 0);
    assert_true(f.changed);
    finish(&f);
}

static void test_wait_is_asked_again_after_wake(void **unused)
{
    struct fixture f = {.script.request = {NEXT, WAIT, NEXT}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), WAIT);
    pipeline_wake(&f.call);
    assert_int_equal(f.woken, 1);
    f.script.request[1] = NEXT;
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_string_equal(f.script.order, "r0r1r1r2");
    finish(&f);
}

static void test_leaving_while_a_stage_waits_runs_its_done(void **unused)
{
    struct fixture f = {.script.request = {NEXT, WAIT, NEXT}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), WAIT);
    finish(&f);
    assert_string_equal(f.script.order, "r0r1d1d0");
}

static void test_a_stage_stops_listening(void **unused)
{
    struct fixture f = {.script.deaf_after = {0, 2, 1}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_ptr_equal(pipeline_arena(&f.call), &f.arena);
    for (int i = 0; i < 5; i++)
        assert_int_equal(push(&f, "a"), PIPELINE_OK);
    assert_int_equal(f.script.events[0], 5); /* the others go on hearing */
    assert_int_equal(f.script.events[1], 2);
    assert_int_equal(f.script.events[2], 1);
    assert_string_equal(f.seen, "a a a a a ");
    finish(&f);
}

/* When nobody listens any more, frames go straight to the top. */
static void test_all_stages_stop_listening(void **unused)
{
    struct fixture f = {.script.deaf_after = {1, 1, 1}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(push(&f, "a"), PIPELINE_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.script.events[i], 1);
    assert_string_equal(f.seen, "a a a ");
    finish(&f);
}

static void test_drop_removes_the_event_and_marks_the_frame(void **unused)
{
    struct fixture f = {.script.event = {PASS, DROP, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    struct event events[3] = {{.kind = EVENT_KEEPALIVE},
                              {.kind = EVENT_TEXT, .text = STR("gone")},
                              {.kind = EVENT_USAGE}};
    struct frame frame = {.events = events, .n = 3};
    assert_int_equal(pipeline_frame(&f.call, &frame), PIPELINE_OK);
    assert_string_equal(f.seen, "* * ");
    assert_true(f.changed);
    assert_int_equal(f.script.events[0], 0);
    finish(&f);
}

static void test_a_stage_changes_text(void **unused)
{
    struct fixture f = {.script.upper_case = {false, true, false}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    assert_string_equal(f.seen, "UP ");
    assert_true(f.changed);
    finish(&f);
}

static void test_held_frames_keep_order_and_bytes(void **unused)
{
    struct fixture f = {.script.event = {PASS, HOLD, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    assert_int_equal(push(&f, "b"), PIPELINE_OK);
    /* a frame that no stage wants to see waits behind the held ones all the same */
    struct event event = {.kind = EVENT_USAGE};
    struct frame usage = {.raw = STR("u"), .events = &event, .n = 1};
    assert_int_equal(pipeline_frame(&f.call, &usage), PIPELINE_OK);
    assert_int_equal(f.frames, 0);
    assert_true(pipeline_holds(&f.call));
    assert_int_equal(f.script.events[2], 2); /* stages below the holder go on seeing */

    f.script.release = true;
    assert_int_equal(pipeline_release(&f.call), PIPELINE_OK);
    assert_false(pipeline_holds(&f.call));
    assert_int_equal(push(&f, "c"), PIPELINE_OK);
    assert_string_equal(f.seen, "a b * c ");
    assert_false(f.changed);
    assert_int_equal(f.script.events[2], 3); /* and are not asked twice about one frame */
    finish(&f);
}

static void test_released_frames_can_be_held_again(void **unused)
{
    struct fixture f = {.script.event = {PASS, HOLD, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    assert_int_equal(push(&f, "b"), PIPELINE_OK);
    assert_int_equal(pipeline_release(&f.call), PIPELINE_OK);
    assert_true(pipeline_holds(&f.call));
    assert_int_equal(f.frames, 0);
    f.script.release = true;
    assert_int_equal(pipeline_release(&f.call), PIPELINE_OK);
    assert_string_equal(f.seen, "a b ");
    finish(&f);
}

static void test_hold_queue_is_bounded(void **unused)
{
    struct fixture f = {.script.event = {PASS, HOLD, PASS}};
    enum pipeline_push result = PIPELINE_OK;
    int frames = 0;

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    while (result == PIPELINE_OK && frames++ < 100000)
        result = push(&f, "0123456789");
    assert_int_equal(result, PIPELINE_FULL);
    assert_int_equal(f.call.error.code, ERR_UPSTREAM_TOO_LARGE);
    assert_int_equal(f.frames, 0);
    finish(&f);
}

static void test_leaving_while_frames_are_held_frees_them(void **unused)
{
    struct fixture f = {.script.event = {HOLD, PASS, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    finish(&f); /* the leak checker finds what stays */
    assert_int_equal(f.frames, 0);
    assert_int_equal(f.script.dones[0], 1);
}

static void test_cut_ends_the_answer_with_the_stages_own_frames(void **unused)
{
    struct fixture f = {.script.event = {PASS, CUT, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_CUT);
    assert_string_equal(f.seen, "cut ");
    assert_int_equal(f.script.events[0], 1); /* the stage above saw the own frame only */
    assert_int_equal(push(&f, "b"), PIPELINE_CUT);
    assert_string_equal(f.seen, "cut ");
    finish(&f);
}

static void test_cut_behind_held_frames(void **unused)
{
    struct fixture f = {.script.event = {HOLD, PASS, PASS}};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_OK);
    f.script.event[1] = CUT;
    assert_int_equal(push(&f, "b"), PIPELINE_CUT);
    assert_int_equal(f.frames, 0); /* the cutter's own frame waits behind what is held above */
    f.script.release = true;
    assert_int_equal(pipeline_release(&f.call), PIPELINE_OK);
    assert_string_equal(f.seen, "a cut ");
    finish(&f);
}

static void test_a_sink_that_refuses_cuts(void **unused)
{
    struct fixture f = {.refuse = true};

    (void)unused;
    begin(&f);
    assert_int_equal(pipeline_request(&f.call), NEXT);
    assert_int_equal(push(&f, "a"), PIPELINE_CUT);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_run_down_and_frames_up),
        cmocka_unit_test(test_stop_ends_the_way_down),
        cmocka_unit_test(test_reply_climbs_from_the_stage_that_answers),
        cmocka_unit_test(test_wait_is_asked_again_after_wake),
        cmocka_unit_test(test_leaving_while_a_stage_waits_runs_its_done),
        cmocka_unit_test(test_a_stage_stops_listening),
        cmocka_unit_test(test_all_stages_stop_listening),
        cmocka_unit_test(test_drop_removes_the_event_and_marks_the_frame),
        cmocka_unit_test(test_a_stage_changes_text),
        cmocka_unit_test(test_held_frames_keep_order_and_bytes),
        cmocka_unit_test(test_released_frames_can_be_held_again),
        cmocka_unit_test(test_hold_queue_is_bounded),
        cmocka_unit_test(test_leaving_while_frames_are_held_frees_them),
        cmocka_unit_test(test_cut_ends_the_answer_with_the_stages_own_frames),
        cmocka_unit_test(test_cut_behind_held_frames),
        cmocka_unit_test(test_a_sink_that_refuses_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
