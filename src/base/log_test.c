/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log_form.h"
#include "base/mem.h"

/* Two descriptors (or the same one twice), caught: a pipe in their place, emptied by a thread once
 * that is wanted. */
struct catch
{
    int fds[2];
    int was[2];
    int read_end;
    pthread_t reader;
    char *text;
    size_t n;
};

enum { CATCH_MAX = 4 * 1024 * 1024 };

static void catch_begin(struct catch *c, int fd, int other)
{
    int ends[2];

    *c = (struct catch){.fds = {fd, other}, .text = mem_new(CATCH_MAX)};
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        c->was[i] = dup(c->fds[i]);
        assert_true(c->was[i] >= 0);
    }
    for (int i = 0; i < 2; i++)
        assert_true(dup2(ends[1], c->fds[i]) >= 0);
    close(ends[1]);
    c->read_end = ends[0];
}

/* The log goes to standard output too when that is another pipe, so both are caught in one. */
static void catch_both(struct catch *c)
{
    catch_begin(c, STDERR_FILENO, STDOUT_FILENO);
}

static void *read_all(void *arg)
{
    struct catch *c = arg;
    ssize_t n;

    while ((n = read(c->read_end, c->text + c->n, CATCH_MAX - 1 - c->n)) > 0)
        c->n += (size_t)n;
    return NULL;
}

static void catch_read(struct catch *c)
{
    assert_int_equal(pthread_create(&c->reader, NULL, read_all, c), 0);
}

/* The descriptors are what they were; the text ends with NUL. */
static void catch_end(struct catch *c)
{
    for (int i = 0; i < 2; i++) {
        assert_true(dup2(c->was[i], c->fds[i]) >= 0);
        close(c->was[i]);
    }
    pthread_join(c->reader, NULL);
    close(c->read_end);
}

/* After the time, which is checked for its form. */
static const char *after_time(const char *line)
{
    static const char form[] = "ts=0000-00-00T00:00:00.000Z ";

    for (size_t i = 0; form[i] != '\0'; i++) {
        bool digit = line[i] >= '0' && line[i] <= '9';
        if (form[i] == '0' ? !digit : line[i] != form[i])
            fail_msg("the time of \"%s\"", line);
    }
    return line + sizeof(form) - 1;
}

static void test_lines(void **state)
{
    struct catch c;

    (void)state;
    log_set_level(LOG_INFO);
    catch_both(&c);
    LOG(MAIN, INFO, "plain", F_INT("i", 0));
    LOG(GATEWAY, WARN, "fields", F_STR("host", STR("a.b:80")), F_INT("ms", -7), F_Z("z", "x"));
    LOG(HTTP, ERROR, "quoted", F_STR("a", STR("two words")), F_STR("b", STR("")),
        F_STR("c", STR_NULL), F_STR("d", STR("x=\"\\")));
    /* Nothing from outside makes a line of its own or reaches the terminal. */
    LOG(IO, INFO, "control", F_STR("a", STR("1\n2\r3\0\x1b[0m\x7f")));
    LOG(IO, INFO, "skip", F_IF(false, F_INT("no", 1)), F_IF(true, F_INT("yes", INT64_MIN)));
    LOG(IO, DEBUG, "below", F_INT("i", 1));
    LOG_AT(CONFIG, LOG_WARN, "at", F_Z("z", NULL));
    catch_read(&c);
    catch_end(&c);

    static const char *const want[] = {
        "level=info room=main msg=plain i=0",
        "level=warning room=gateway msg=fields host=a.b:80 ms=-7 z=x",
        "level=error room=http msg=quoted a=\"two words\" b=\"\" c=\"\" d=\"x=\\\"\\\\\"",
        "level=info room=io msg=control a=\"1\\x0a2\\x0d3\\x00\\x1b[0m\\x7f\"",
        "level=info room=io msg=skip yes=-9223372036854775808",
        "level=warning room=config msg=at z=\"\"",
    };
    struct str rest = str_of(c.text, c.n);
    struct str line;
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_true(str_cut(&rest, '\n', &line));
        char *z = str_dup(line);
        assert_string_equal(after_time(z), want[i]);
        mem_free(z);
    }
    assert_int_equal(rest.n, 0);
    mem_free(c.text);
}

static void test_long_line(void **state)
{
    struct catch c;
    char many[5000];

    (void)state;
    memset(many, 'm', sizeof(many));
    catch_both(&c);
    LOG(MAIN, INFO, "long", F_STR("a", str_of(many, sizeof(many))), F_INT("b", 1));
    LOG(MAIN, INFO, "next", F_INT("i", 2));
    catch_read(&c);
    catch_end(&c);
    struct str rest = str_of(c.text, c.n);
    struct str line;
    assert_true(str_cut(&rest, '\n', &line));
    assert_true(line.n > 1000 && line.n <= 2048);
    assert_true(str_ends(line, STR("mmm")));
    assert_true(str_cut(&rest, '\n', &line));
    assert_true(str_ends(line, STR("msg=next i=2")));
    mem_free(c.text);
}

/* With the thread: all lines, in their order, also those still queued when it is told to stop. */
static void test_writer(void **state)
{
    enum { LINES = 2000 };
    struct catch c;

    (void)state;
    catch_both(&c);
    catch_read(&c);
    log_start();
    for (int i = 0; i < LINES; i++)
        LOG(MAIN, INFO, "line", F_INT("i", i));
    log_stop();
    log_stop();
    LOG(MAIN, INFO, "after", F_INT("i", 3));
    catch_end(&c);

    struct str rest = str_of(c.text, c.n);
    struct str line;
    for (int i = 0; i < LINES; i++) {
        char want[32];
        int n = snprintf(want, sizeof(want), " i=%d", i);
        assert_true(str_cut(&rest, '\n', &line));
        assert_true(str_ends(line, str_of(want, (size_t)n)));
    }
    assert_true(str_cut(&rest, '\n', &line));
    assert_true(str_ends(line, STR("msg=after i=3")));
    mem_free(c.text);
}

/* Nobody reads: callers never wait; whole lines are dropped and counted, and the writer says so. */
static void test_dropped(void **state)
{
    enum { LINES = 20000 };
    struct catch c;
    uint64_t before = log_dropped();
    size_t lines = 0;

    (void)state;
    catch_both(&c);
    log_start();
    for (int i = 0; i < LINES; i++)
        LOG(MAIN, INFO, "a.line.that.nobody.reads", F_INT("i", i));
    uint64_t dropped = log_dropped() - before;
    assert_true(dropped > 0 && dropped < LINES);
    catch_read(&c);
    log_stop();
    catch_end(&c);

    struct str rest = str_of(c.text, c.n);
    struct str line;
    while (str_cut(&rest, '\n', &line) && line.n > 0) {
        if (str_find(line, STR(" level=warning room=main msg=log.dropped lines="), 0) != SIZE_MAX)
            continue;
        lines++;
        assert_true(str_starts(line, STR("ts=")));
        assert_true(str_find(line, STR(" msg=a.line.that.nobody.reads i="), 0) != SIZE_MAX);
    }
    assert_int_equal(lines + dropped, LINES);
    assert_non_null(strstr(c.text, "msg=log.dropped"));
    mem_free(c.text);
}

/* A pipe of its own gets the log as well: `llm-proxy | grep` has something to find. */
static void test_stdout(void **state)
{
    struct catch errors;
    struct catch output;

    (void)state;
    catch_begin(&errors, STDERR_FILENO, STDERR_FILENO);
    catch_begin(&output, STDOUT_FILENO, STDOUT_FILENO);
    catch_read(&errors);
    catch_read(&output);
    log_start();
    LOG(MAIN, INFO, "seen.twice", F_INT("i", 4));
    log_stop();
    catch_end(&output);
    catch_end(&errors);
    assert_non_null(strstr(errors.text, "msg=seen.twice i=4\n"));
    assert_string_equal(output.text, errors.text);
    mem_free(errors.text);
    mem_free(output.text);
}

static void log_much(int lines)
{
    for (int i = 0; i < lines; i++)
        LOG(MAIN, INFO, "much", F_INT("i", i));
}

/* A copy that nobody reads keeps nothing from standard error; when it is read again it goes on with
 * whole lines. */
static void test_stdout_unread(void **state)
{
    struct catch errors;
    struct catch output;
    int lines = 0;

    (void)state;
    catch_begin(&errors, STDERR_FILENO, STDERR_FILENO);
    catch_begin(&output, STDOUT_FILENO, STDOUT_FILENO);
    catch_read(&errors);
    log_start();
    log_much(2000); /* more than a pipe holds, and less than the ring */
    log_stop();
    catch_read(&output);
    log_start();
    LOG(MAIN, INFO, "again");
    log_stop();
    catch_end(&output);
    catch_end(&errors);
    assert_non_null(strstr(errors.text, " msg=much i=1999\n"));
    assert_non_null(strstr(errors.text, " msg=again\n"));
    assert_non_null(strstr(output.text, " msg=again\n"));
    assert_null(strstr(output.text, " msg=much i=1999\n"));
    for (const char *p = errors.text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 2001);
    mem_free(errors.text);
    mem_free(output.text);
}

/* Standard error is a file; what is in it. */
static bool has_logged(FILE *file, const char *what)
{
    char *text = mem_new(CATCH_MAX);
    ssize_t n = pread(fileno(file), text, CATCH_MAX - 1, 0);
    bool found = n > 0 && strstr(text, what) != NULL;

    mem_free(text);
    return found;
}

static bool is_empty(int fd)
{
    int n = -1;

    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return n == 0;
}

/* Within one run a copy that was given up goes on as well: no line has two lines' words. */
static void test_stdout_read_late(void **state)
{
    const struct timespec moment = {.tv_nsec = 2 * 1000 * 1000};
    FILE *file = tmpfile();
    int was = dup(STDERR_FILENO);
    struct catch output;
    struct str line;

    (void)state;
    assert_true(file != NULL && was >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    catch_begin(&output, STDOUT_FILENO, STDOUT_FILENO);
    log_start();
    log_much(2000);
    while (!has_logged(file, " msg=much i=1999\n"))
        (void)nanosleep(&moment, NULL);
    LOG(MAIN, INFO, "given.up");
    while (!has_logged(file, " msg=given.up\n"))
        (void)nanosleep(&moment, NULL);
    catch_read(&output);
    while (!is_empty(output.read_end))
        (void)nanosleep(&moment, NULL);
    LOG(MAIN, INFO, "left.out");
    log_much(10);
    log_stop();
    catch_end(&output);
    assert_true(dup2(was, STDERR_FILENO) >= 0);
    close(was);
    fclose(file);
    assert_non_null(strstr(output.text, " msg=much i=9\n"));
    assert_null(strstr(output.text, " msg=much i=1999\n"));
    struct str rest = str_of(output.text, output.n);
    while (str_cut(&rest, '\n', &line))
        assert_true(str_find(line, STR("ts="), 1) == SIZE_MAX);
    mem_free(output.text);
}

/* A log that nobody reads does not keep the program from its end. */
static void test_unread(void **state)
{
    struct catch c;

    (void)state;
    catch_both(&c);
    log_start();
    log_much(2000);
    log_stop();
    LOG(MAIN, INFO, "after");
    catch_read(&c);
    catch_end(&c);
    assert_non_null(strstr(c.text, " msg=much i=0\n"));
    assert_null(strstr(c.text, " msg=much i=1999\n"));
    mem_free(c.text);
}

static void test_levels(void **state)
{
    static const struct {
        const char *text;
        enum log_level level;
    } cases[] = {
        {"debug", LOG_DEBUG}, {"Info", LOG_INFO},   {"WARNING", LOG_WARN},
        {"warn", LOG_WARN},   {"error", LOG_ERROR},
    };
    enum log_level level = LOG_DEBUG;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(log_level_parse(str_c(cases[i].text), &level));
        assert_int_equal(level, cases[i].level);
        log_set_level(level);
        for (int k = LOG_DEBUG; k < LOG_LEVEL_COUNT; k++)
            assert_int_equal(log_enabled(ROOM_IO, (enum log_level)k), k >= (int)level);
    }
    assert_false(log_level_parse(STR("loud"), &level));
    assert_false(log_level_parse(STR(""), &level));
    assert_string_equal(log_level_name(LOG_WARN), "warning");
    log_set_level(LOG_INFO);
}

/* One room at another level than the rest. */
static void test_room_levels(void **state)
{
    static const struct {
        const char *name;
        enum log_room room;
    } cases[] = {
        {"backend", ROOM_BACKEND},
        {"src.core.services.backend_service", ROOM_BACKEND},
        {"BackendService", ROOM_BACKEND},
        {"src.core.services.command_service", ROOM_COMMAND},
        {"src.core.services.session_service", ROOM_SESSION},
        {"src.core.repositories.in_memory_session_repository", ROOM_SESSION},
        {"httpx", ROOM_HTTP},
        {"src.performance_tracker", ROOM_GATEWAY},
        {"src.core.cli", ROOM_MAIN},
        {"gateway", ROOM_GATEWAY},
    };
    enum log_room room = ROOM_COUNT;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(log_room_parse(str_c(cases[i].name), &room));
        assert_int_equal(room, cases[i].room);
    }
    assert_false(log_room_parse(STR("nobody"), &room));
    assert_false(log_room_parse(STR(""), &room));
    assert_false(log_room_parse(STR("backend."), &room));
    log_set_level(LOG_WARN);
    log_set_room_level(ROOM_BACKEND, LOG_DEBUG);
    assert_true(log_enabled(ROOM_BACKEND, LOG_DEBUG));
    assert_false(log_enabled(ROOM_GATEWAY, LOG_INFO));
    log_set_level(LOG_INFO);
    assert_false(log_enabled(ROOM_BACKEND, LOG_DEBUG));
    for (size_t i = 0; i < ROOM_COUNT; i++) {
        assert_true(log_room_parse(str_c(log_room_name((enum log_room)i)), &room));
        assert_int_equal(room, i);
    }
}

/* Another form takes the place of the present one in the midst of lines. */
static void test_forms(void **state)
{
    struct log_form *form = NULL;
    struct error e;
    struct catch c;

    (void)state;
    catch_both(&c);
    catch_read(&c);
    log_start();
    LOG(BACKEND, INFO, "first", F_INT("i", 1));
    for (int i = 0; i < 3; i++) { /* the same again is none */
        assert_int_equal(log_form_new(STR("json"), &form, &e), OK);
        log_set_form(form);
    }
    LOG(BACKEND, INFO, "second", F_INT("i", 2));
    assert_int_equal(log_form_new(STR("%(name)s|%(message)s"), &form, &e), OK);
    log_set_form(form);
    LOG(BACKEND, INFO, "third", F_INT("i", 3));
    log_stop();
    LOG(BACKEND, INFO, "fourth", F_INT("i", 4));
    catch_end(&c);
    assert_non_null(strstr(c.text, " room=backend class=BackendService msg=first i=1\n"));
    assert_non_null(strstr(c.text, "\"class\":\"BackendService\",\"msg\":\"second\",\"i\":2}\n"));
    assert_non_null(strstr(c.text, "\nbackend BackendService|third i=3\n"));
    assert_non_null(strstr(c.text, " msg=fourth i=4\n")); /* forms are gone with the thread */
    mem_free(c.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_stdout),
        cmocka_unit_test(test_stdout_unread),
        cmocka_unit_test(test_stdout_read_late),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_room_levels),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
