/* SPDX-License-Identifier: MIT */
#include "answer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_init(struct answer *answer, const char *expect, size_t expect_n)
{
    answer->expect = expect;
    answer->expect_n = expect_n;
    answer_reset(answer);
}

void answer_init_loose(struct answer *answer, const char *const *needles)
{
    answer_init(answer, NULL, 0);
    answer->needles = needles;
}

void answer_reset(struct answer *answer)
{
    answer->seen = 0;
    answer->left = 0;
    answer->state = ANSWER_HEAD;
    answer->digits = false;
    answer->size_done = false;
    answer->why = NULL;
    answer->head_n = 0;
}

static void fail(struct answer *answer, const char *why)
{
    answer->state = ANSWER_BAD;
    answer->why = why;
}

/* Each behind the one before it. */
static bool holds_needles(const struct answer *answer)
{
    const char *at = answer->body;
    const char *end = answer->body + answer->seen;

    for (const char *const *needle = answer->needles; *needle != NULL; needle++) {
        at = at == NULL ? NULL : memmem(at, (size_t)(end - at), *needle, strlen(*needle));
        if (at == NULL)
            return false;
        at += strlen(*needle);
    }
    return true;
}

/* The body ended: was it all of it? */
static void finish(struct answer *answer)
{
    if (answer->expect == NULL && holds_needles(answer))
        answer->state = ANSWER_DONE;
    else if (answer->expect == NULL)
        fail(answer, "the body does not say what the upstream said");
    else if (answer->seen == answer->expect_n)
        answer->state = ANSWER_DONE;
    else
        fail(answer, "the body is shorter than it must be");
}

/* The value of a header in a complete head, or NULL. `name` has its colon and a line before. */
static const char *header(const struct answer *answer, const char *name)
{
    const char *found = strcasestr(answer->head, name);

    return found == NULL ? NULL : found + strlen(name);
}

static void head_done(struct answer *answer)
{
    const char *length = header(answer, "\r\ncontent-length:");
    const char *coding = header(answer, "\r\ntransfer-encoding:");

    if (strncmp(answer->head, "HTTP/1.1 200", 12) != 0) {
        fail(answer, "the status is not 200");
    } else if (coding != NULL) {
        answer->state = ANSWER_CHUNK_SIZE;
    } else if (length != NULL) {
        answer->left = strtoul(length, NULL, 10);
        answer->state = ANSWER_LENGTH;
        if (answer->left == 0)
            finish(answer);
    } else {
        fail(answer, "neither content-length nor chunked");
    }
}

static size_t feed_head(struct answer *answer, const char *p, size_t n)
{
    size_t room = ANSWER_HEAD_MAX - 1 - answer->head_n;
    size_t take = n < room ? n : room;
    size_t before = answer->head_n;
    size_t from = before < 3 ? 0 : before - 3;

    memcpy(answer->head + before, p, take);
    answer->head_n += take;
    answer->head[answer->head_n] = '\0';

    char *end = memmem(answer->head + from, answer->head_n - from, "\r\n\r\n", 4);
    if (end == NULL) {
        if (answer->head_n == ANSWER_HEAD_MAX - 1)
            fail(answer, "the head is too long");
        return take;
    }
    answer->head_n = (size_t)(end - answer->head) + 4;
    answer->head[answer->head_n] = '\0';
    head_done(answer);
    return answer->head_n - before;
}

static void keep(struct answer *answer, const char *p, size_t n)
{
    if (answer->body_size - answer->seen < n) {
        answer->body_size = 2 * (answer->seen + n);
        answer->body = realloc(answer->body, answer->body_size);
        if (answer->body == NULL)
            abort();
    }
    memcpy(answer->body + answer->seen, p, n);
}

static size_t feed_body(struct answer *answer, const char *p, size_t n)
{
    size_t take = n < answer->left ? n : answer->left;

    if (answer->expect == NULL) {
        keep(answer, p, take);
    } else if (answer->expect_n - answer->seen < take) {
        fail(answer, "the body is longer than it must be");
        return take;
    }
    if (answer->expect != NULL && memcmp(answer->expect + answer->seen, p, take) != 0) {
        fail(answer, "the body is not the one that the upstream sent");
        return take;
    }
    answer->seen += take;
    answer->left -= take;
    if (answer->left == 0) {
        if (answer->state == ANSWER_LENGTH)
            finish(answer);
        else
            answer->state = ANSWER_CHUNK_END;
    }
    return take;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void feed_size(struct answer *answer, char c)
{
    if (c == '\n') {
        if (!answer->digits)
            fail(answer, "a chunk without a size");
        else if (answer->left == 0)
            answer->state = ANSWER_TRAILER;
        else
            answer->state = ANSWER_CHUNK_DATA;
        answer->digits = false;
        answer->size_done = false;
        return;
    }
    if (answer->size_done || c == '\r' || c == ';') {
        answer->size_done = true;
        return;
    }
    if (hex(c) < 0 || answer->left > 0xfffffff) {
        fail(answer, "a bad chunk size");
        return;
    }
    answer->left = answer->left * 16 + (size_t)hex(c);
    answer->digits = true;
}

static void feed_char(struct answer *answer, char c)
{
    switch (answer->state) {
    case ANSWER_CHUNK_SIZE:
        feed_size(answer, c);
        break;
    case ANSWER_CHUNK_END:
        if (c == '\n')
            answer->state = ANSWER_CHUNK_SIZE;
        else if (c != '\r')
            fail(answer, "a chunk without its line end");
        break;
    case ANSWER_TRAILER:
        if (c == '\n')
            finish(answer);
        else if (c != '\r')
            fail(answer, "a trailer");
        break;
    case ANSWER_DONE:
        fail(answer, "bytes after the answer");
        break;
    case ANSWER_HEAD:
    case ANSWER_LENGTH:
    case ANSWER_CHUNK_DATA:
    case ANSWER_BAD:
        assert(0);
        break;
    }
}

enum answer_state answer_feed(struct answer *answer, const char *p, size_t n)
{
    while (n > 0 && answer->state != ANSWER_BAD) {
        size_t used = 1;

        if (answer->state == ANSWER_HEAD)
            used = feed_head(answer, p, n);
        else if (answer->state == ANSWER_LENGTH || answer->state == ANSWER_CHUNK_DATA)
            used = feed_body(answer, p, n);
        else
            feed_char(answer, *p);
        assert(used <= n);
        p += used;
        n -= used;
    }
    return answer->state;
}
