/* SPDX-License-Identifier: MIT */
#include "http/http_priv.h"

#include "base/mem.h"
#include "http/message.h"

enum {
    PARTS_SIZE = 16,
    PARTS_SIZE_KEPT = 1024,
    HEAD_BYTES_KEPT = 16 * 1024,
    HEAD_BYTES_MAX = 64 * 1024 * 1024, /* of the caller's own making; never near */
    HEAD_FIXED = 256,                  /* status line, Date, framing, Connection */
    SPARE_MAX = 8,
    BODY_AT = 2,
};

void write_pool_init(struct write_pool *pool)
{
    *pool = (struct write_pool){.date_s = INT64_MIN};
}

void write_pool_fini(struct write_pool *pool)
{
    while (pool->spare != NULL) {
        struct write_batch *batch = pool->spare;
        pool->spare = batch->next;
        buf_fini(&batch->head);
        mem_free(batch->parts);
        mem_free(batch);
    }
    pool->spare_n = 0;
}

struct write_batch *write_take(struct write_pool *pool)
{
    struct write_batch *batch = pool->spare;

    if (batch != NULL) {
        pool->spare = batch->next;
        pool->spare_n--;
        batch->next = NULL;
    } else {
        batch = mem_new(sizeof(*batch));
        buf_init(&batch->head, HEAD_BYTES_MAX);
        batch->parts_size = PARTS_SIZE;
        batch->parts = mem_raw(batch->parts_size * sizeof(*batch->parts));
    }
    batch->parts_n = BODY_AT;
    assert(batch->head.n == 0);
    assert(batch->body_bytes == 0);
    return batch;
}

void write_give(struct write_pool *pool, struct write_batch **batch)
{
    struct write_batch *b = *batch;

    if (b == NULL)
        return;
    *batch = NULL;
    buf_reset(&b->head);
    b->body_bytes = 0;
    if (HAVE_ASAN || pool->spare_n == SPARE_MAX || b->parts_size > PARTS_SIZE_KEPT ||
        b->head.size > HEAD_BYTES_KEPT) {
        buf_fini(&b->head);
        mem_free(b->parts);
        mem_free(b);
        return;
    }
    b->next = pool->spare;
    pool->spare = b;
    pool->spare_n++;
}

/* RFC 9110, section 5.6.7. Formatted once a second. */
static struct str date_of(struct write_pool *pool, int64_t wall_ms)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now_s = wall_ms / 1000;

    if (now_s != pool->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm = {0};
        if (gmtime_r(&t, &tm) == NULL)
            BUG("the clock is beyond the calendar");
        int n = snprintf(pool->date, sizeof(pool->date), "%s, %02u %s %04u %02u:%02u:%02u GMT",
                         days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
                         (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                         (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
        assert(n == 29);
        pool->date_s = now_s;
    }
    return str_of(pool->date, 29);
}

static char *put(char *to, struct str s)
{
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *put_uint(char *to, uint64_t value)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

void write_head(struct write_pool *pool, struct write_batch *batch, const struct write_head *head,
                int64_t wall_ms)
{
    struct str reason = http_reason(head->status);

    assert(head->status >= 100 && head->status <= 999);
    assert(!(head->chunked && head->has_length));
    assert(batch->head.n == 0 && batch->body_bytes == 0);
    assert(head->headers.n == 0 || str_ends(head->headers, STR("\r\n")));

    char *begin = buf_reserve(&batch->head, head->headers.n + HEAD_FIXED);
    assert(begin != NULL);
    char *to = put(begin, STR("HTTP/1.1 "));
    to = put_uint(to, (uint64_t)head->status);
    *to++ = ' ';
    to = put(to, reason);
    to = put(to, STR("\r\n"));
    to = put(to, head->headers);
    to = put(to, STR("Date: "));
    to = put(to, date_of(pool, wall_ms));
    to = put(to, STR("\r\n"));
    if (head->has_length) {
        to = put(to, STR("Content-Length: "));
        to = put_uint(to, head->length);
        to = put(to, STR("\r\n"));
    } else if (head->chunked) {
        to = put(to, STR("Transfer-Encoding: chunked\r\n"));
    }
    if (head->connection.n > 0) {
        to = put(to, STR("Connection: "));
        to = put(to, head->connection);
        to = put(to, STR("\r\n"));
    }
    to = put(to, STR("\r\n"));
    assert((size_t)(to - begin) <= head->headers.n + HEAD_FIXED);
    buf_added(&batch->head, (size_t)(to - begin));
}

void write_body(struct write_batch *batch, struct str bytes)
{
    assert(bytes.n > 0);
    /* One place stays free for the end of the chunk. */
    if (batch->parts_n + 2 > batch->parts_size) {
        batch->parts_size *= 2;
        batch->parts = mem_resize(batch->parts, batch->parts_size * sizeof(*batch->parts));
    }
    batch->parts[batch->parts_n++] = bytes;
    batch->body_bytes += bytes.n;
}

/* "1f40" CRLF: the size of the chunk that all the body bytes make. */
static struct str chunk_head(struct write_batch *batch)
{
    char *end = batch->chunk_size + sizeof(batch->chunk_size);
    char *at = end;
    uint64_t rest = batch->body_bytes;

    *--at = '\n';
    *--at = '\r';
    do {
        *--at = "0123456789abcdef"[rest & 15];
        rest >>= 4;
    } while (rest > 0);
    assert(at >= batch->chunk_size);
    return str_of(at, (size_t)(end - at));
}

enum conn_push write_send(struct write_batch *batch, struct conn *conn, bool chunked, bool last,
                          uint64_t *ret_bytes)
{
    size_t begin = BODY_AT;
    uint64_t bytes = 0;

    if (chunked && batch->body_bytes > 0) {
        batch->parts[--begin] = chunk_head(batch);
        batch->parts[batch->parts_n++] = last ? STR("\r\n0\r\n\r\n") : STR("\r\n");
    } else if (chunked && last) {
        batch->parts[batch->parts_n++] = STR("0\r\n\r\n");
    }
    if (batch->head.n > 0)
        batch->parts[--begin] = buf_str(&batch->head);
    assert(batch->parts_n <= batch->parts_size);
    *ret_bytes = 0;
    if (begin == batch->parts_n)
        return CONN_OK;
    for (size_t i = begin; i < batch->parts_n; i++)
        bytes += batch->parts[i].n;
    *ret_bytes = bytes;
    return conn_write(conn, batch->parts + begin, batch->parts_n - begin);
}
