/* SPDX-License-Identifier: MIT */
/*
 * For this room's tests only: an owner of a connection that writes down what it is told.
 *
 * `log` gets a letter for each event: C connected, R read (rows of R count once), E eof,
 * W writable, F failed. `got` collects the bytes. `on_event` lets a test act within the event.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "io/conn.h"

struct probe {
    struct conn *conn;
    char log[64];
    size_t log_n;
    size_t reads;
    size_t read_largest;
    struct buf got;
    struct error error;
    bool read_on_connect;
    void (*on_event)(struct probe *probe, char event);
    void *ctx; /* the test's */
};

static inline void probe_note(struct probe *probe, char event)
{
    if (event != 'R' || probe->log_n == 0 || probe->log[probe->log_n - 1] != 'R') {
        assert(probe->log_n < sizeof(probe->log) - 1);
        probe->log[probe->log_n++] = event;
        probe->log[probe->log_n] = '\0';
    }
    if (probe->on_event != NULL)
        probe->on_event(probe, event);
}

static inline void probe_connected(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    if (probe->read_on_connect)
        conn_read_start(conn);
    probe_note(probe, 'C');
}

static inline void probe_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe->reads++;
    if (bytes.n > probe->read_largest)
        probe->read_largest = bytes.n;
    bool ok = buf_add(&probe->got, bytes);
    assert(ok);
    probe_note(probe, 'R');
}

static inline void probe_eof(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe_note(probe, 'E');
}

static inline void probe_writable(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe_note(probe, 'W');
}

static inline void probe_failed(struct conn *conn, void *ctx, const struct error *e)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe->error = *e;
    probe_note(probe, 'F');
}

static const struct conn_events probe_events = {
    .connected = probe_connected,
    .read = probe_read,
    .eof = probe_eof,
    .writable = probe_writable,
    .failed = probe_failed,
};

static inline void probe_init(struct probe *probe)
{
    *probe = (struct probe){.read_on_connect = true};
    buf_init(&probe->got, (size_t)64 << 20);
}

/* Takes the conn over. */
static inline void probe_own(struct probe *probe, struct conn *conn)
{
    probe_init(probe);
    probe->conn = conn;
    conn_set_events(conn, &probe_events, probe);
}

static inline void probe_fini(struct probe *probe)
{
    conn_close(&probe->conn);
    buf_fini(&probe->got);
}
