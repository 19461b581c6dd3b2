/* SPDX-License-Identifier: MIT */
/*
 * What      Lines of the log in one of three forms.
 * How       A template is read once into pieces: literal text, or a placeholder with its width.
 * Owns      A form's text and pieces.
 * Not here  Who logs when (log), where lines go.
 */
#include "base/log_form.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/digits.h"
#include "base/mem.h"
#include "base/scan.h"

enum {
    TEMPLATE_BYTES_MAX = 1000,
    PIECES_MAX = 40,
    WIDTH_MAX = 200,
    JSON_END = 24 /* what a cut line still needs */
};

enum piece_kind {
    PIECE_TEXT,
    PIECE_ASCTIME,
    PIECE_NAME,
    PIECE_LEVELNAME,
    PIECE_MESSAGE,
    PIECE_PROCESS,
    PIECE_THREAD,
    PIECE_SESSION,
    PIECE_REQUEST
};

struct piece {
    enum piece_kind kind;
    bool left; /* to the left of its width */
    int width; /* at least; 0: as long as it is */
    struct str text;
};

struct log_form {
    const struct log_form *older;
    bool json;
    size_t n; /* 0: logfmt, or json */
    struct piece pieces[PIECES_MAX];
    size_t text_n;
    char text[TEMPLATE_BYTES_MAX];
};

static const struct {
    const char *name;
    const char *class;
} rooms[ROOM_COUNT] = {
#define LOG_ROOM(name_, text_, class_) [ROOM_##name_] = {text_, class_},
#define LOG_ROOM_ALIAS(name_, text_)
#include "base/log_room.def"
#undef LOG_ROOM
#undef LOG_ROOM_ALIAS
};

const char *log_form_room_name(enum log_room room)
{
    assert((unsigned)room < ROOM_COUNT);
    return rooms[room].name;
}

/* --- pieces of a line --------------------------------------------------------------------- */

/* Most pieces have 8 to 16 bytes: the first and the last eight of them. */
static inline void copy(char *to, const char *from, size_t n)
{
    if (LIKELY(n >= 8 && n <= 16)) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else {
        memcpy(to, from, n);
    }
}

static inline void add(struct log_line *line, const char *p, size_t n)
{
    size_t room = LOG_LINE_SIZE - 1 - line->n; /* one kept for the line end */
    if (UNLIKELY(n > room))
        n = room;
    copy(line->text + line->n, p, n);
    line->n += n;
}

static void add_str(struct log_line *line, struct str s)
{
    add(line, s.p, s.n);
}

static void add_z(struct log_line *line, const char *z)
{
    add(line, z, strlen(z));
}

static void add_int(struct log_line *line, int64_t value)
{
    UNINITIALIZED char digits[DIGITS_MAX];

    if (LIKELY(line->n + DIGITS_MAX < LOG_LINE_SIZE))
        line->n = (size_t)(digits_int(line->text + line->n, value) - line->text);
    else
        add(line, digits, (size_t)(digits_int(digits, value) - digits));
}

/* A logfmt value: bare where it can be, else quoted; control characters never reach a terminal. */
static void add_value(struct log_line *line, struct str s)
{
    if (s.n > 0 && scan_bare(s.p, s.n) == s.n) {
        add(line, s.p, s.n);
        return;
    }
    add(line, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            add(line, escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(escaped, sizeof(escaped), "\\x%02x", c);
            add(line, escaped, 4);
        } else {
            add(line, s.p + i, 1);
        }
    }
    add(line, "\"", 1);
}

/* The text of the present second is made once a second and thread. */
static _Thread_local struct {
    time_t seconds;
    char text[32]; /* "2026-01-02T03:04:05." */
    size_t n;
} log_second;

static void add_time(struct log_line *line, int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    int milliseconds = (int)(now_ms % 1000);
    struct tm t;

    if (log_second.seconds != seconds || log_second.n == 0) {
        if (gmtime_r(&seconds, &t) == NULL)
            return;
        log_second.n = strftime(log_second.text, sizeof(log_second.text), "%Y-%m-%dT%H:%M:%S.", &t);
        log_second.seconds = seconds;
    }
    char digits[4] = {(char)('0' + milliseconds / 100), (char)('0' + milliseconds / 10 % 10),
                      (char)('0' + milliseconds % 10), 'Z'};
    add(line, log_second.text, log_second.n);
    add(line, digits, sizeof(digits));
}

/* "name" of " name=" */
static struct str field_name(const struct log_field *field)
{
    assert(field->label.n > 2);
    return str_of(field->label.p + 1, field->label.n - 2);
}

static void add_fields(struct log_line *line, const struct log_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct log_field *field = &record->fields[i];
        if (field->kind == LOG_FIELD_SKIP)
            continue;
        add_str(line, field->label);
        if (field->kind == LOG_FIELD_INT)
            add_int(line, field->value);
        else if (field->kind == LOG_FIELD_BARE)
            add_str(line, field->str);
        else
            add_value(line, field->str);
    }
}

static void logfmt_line(const struct log_record *record, struct log_line *line)
{
    add_str(line, STR("ts="));
    add_time(line, record->now_ms);
    add_str(line, STR(" level="));
    add_z(line, log_level_name(record->level));
    add_str(line, STR(" room="));
    add_z(line, rooms[record->room].name);
    if (rooms[record->room].class[0] != '\0') {
        add_str(line, STR(" class="));
        add_z(line, rooms[record->room].class);
    }
    add_str(line, STR(" msg="));
    add_value(line, str_c(record->message));
    add_fields(line, record);
}

/* --- JSON --------------------------------------------------------------------------------- */

/* May c be the second byte of a UTF-8 character that begins with first (RFC 3629, section 4)?
 * Neither a longer form than needed, nor a surrogate, nor beyond U+10FFFF. */
static bool second_ok(unsigned char first, unsigned char c)
{
    switch (first) {
    case 0xE0:
        return c >= 0xA0 && c <= 0xBF;
    case 0xED:
        return c >= 0x80 && c <= 0x9F;
    case 0xF0:
        return c >= 0x90 && c <= 0xBF;
    case 0xF4:
        return c >= 0x80 && c <= 0x8F;
    default:
        return c >= 0x80 && c <= 0xBF;
    }
}

/* Length of the UTF-8 character that p begins with; 0: it begins with none. */
static size_t character_size(const unsigned char *p, size_t n)
{
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

    if (p[0] > 0xF4 || size == 0 || size > n)
        return 0;
    if (size > 1 && !second_ok(p[0], p[1]))
        return 0;
    for (size_t i = 2; i < size; i++) {
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    }
    return size;
}

/* What stands for the beginning of p in a JSON string; *ret_used: how much of p that is. */
static struct str json_piece(const char *p, size_t n, char escaped[8], size_t *ret_used)
{
    unsigned char c = (unsigned char)*p;
    size_t size = character_size((const unsigned char *)p, n);

    *ret_used = size > 0 ? size : 1;
    if (size == 0)
        return STR("\\ufffd");
    if (c == '"' || c == '\\') {
        escaped[0] = '\\';
        escaped[1] = (char)c;
        return str_of(escaped, 2);
    }
    if (c < 0x20 || c == 0x7f) {
        int written = snprintf(escaped, 8, "\\u%04x", c);
        return str_of(escaped, (size_t)written);
    }
    return str_of(p, size);
}

/* Returns false when it had to end early. */
static bool add_json_string(struct log_line *line, struct str s)
{
    bool whole = true;
    char escaped[8];
    size_t used;

    add(line, "\"", 1);
    for (size_t i = 0; i < s.n && whole; i += used) {
        struct str piece = json_piece(s.p + i, s.n - i, escaped, &used);
        whole = line->n + piece.n + JSON_END <= LOG_LINE_SIZE;
        if (whole)
            add_str(line, piece);
    }
    add(line, "\"", 1);
    return whole;
}

/* Returns false when there was no room for all of it. */
static bool add_json_field(struct log_line *line, const struct log_field *field)
{
    struct str name = field_name(field);

    if (line->n + name.n + 32 + JSON_END > LOG_LINE_SIZE)
        return false;
    add_str(line, STR(",\""));
    add_str(line, name);
    add_str(line, STR("\":"));
    if (field->kind != LOG_FIELD_INT)
        return add_json_string(line, field->str);
    add_int(line, field->value);
    return true;
}

static void json_line(const struct log_record *record, struct log_line *line)
{
    bool whole = true;

    add_str(line, STR("{\"ts\":\""));
    add_time(line, record->now_ms);
    add_str(line, STR("\",\"level\":\""));
    add_z(line, log_level_name(record->level));
    add_str(line, STR("\",\"room\":\""));
    add_z(line, rooms[record->room].name);
    if (rooms[record->room].class[0] != '\0') {
        add_str(line, STR("\",\"class\":\""));
        add_z(line, rooms[record->room].class);
    }
    add_str(line, STR("\",\"msg\":"));
    whole = add_json_string(line, str_c(record->message));
    for (size_t i = 0; i < record->count; i++) {
        if (record->fields[i].kind != LOG_FIELD_SKIP)
            whole = add_json_field(line, &record->fields[i]) && whole;
    }
    add_z(line, whole ? "}" : ",\"cut\":true}");
}

/* --- templates ---------------------------------------------------------------------------- */

/* "2026-01-02 03:04:05,678", as Python's logging writes it. */
static void add_asctime(struct log_line *line, int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm t;
    char text[40];

    if (localtime_r(&seconds, &t) == NULL)
        return;
    add(line, text, strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S,", &t));
    int written = snprintf(text, sizeof(text), "%03d", (int)(now_ms % 1000));
    add(line, text, (size_t)written);
}

static atomic_int_fast64_t log_threads;
static _Thread_local int64_t log_thread;

/* In the order in which they first logged, from 1. */
static int64_t thread_number(void)
{
    if (log_thread == 0)
        log_thread = atomic_fetch_add_explicit(&log_threads, 1, memory_order_relaxed) + 1;
    return log_thread;
}

static void add_field_named(struct log_line *line, const struct log_record *record, struct str name)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct log_field *field = &record->fields[i];
        if ((field->kind == LOG_FIELD_STR || field->kind == LOG_FIELD_BARE) &&
            str_eq(field_name(field), name) && field->str.n > 0) {
            add_value(line, field->str);
            return;
        }
    }
    add(line, "-", 1);
}

static void add_level_upper(struct log_line *line, enum log_level level)
{
    for (const char *p = log_level_name(level); *p != '\0'; p++) {
        char upper = (char)(*p - 'a' + 'A');
        add(line, &upper, 1);
    }
}

static void add_name(struct log_line *line, enum log_room room)
{
    add_z(line, rooms[room].name);
    if (rooms[room].class[0] != '\0') {
        add(line, " ", 1);
        add_z(line, rooms[room].class);
    }
}

static void add_piece(struct log_line *line, const struct piece *piece,
                      const struct log_record *record)
{
    switch (piece->kind) {
    case PIECE_TEXT:
        add_str(line, piece->text);
        return;
    case PIECE_ASCTIME:
        add_asctime(line, record->now_ms);
        return;
    case PIECE_NAME:
        add_name(line, record->room);
        return;
    case PIECE_LEVELNAME:
        add_level_upper(line, record->level);
        return;
    case PIECE_MESSAGE:
        add_z(line, record->message);
        add_fields(line, record);
        return;
    case PIECE_PROCESS:
        add_int(line, (int64_t)getpid());
        return;
    case PIECE_THREAD:
        add_int(line, thread_number());
        return;
    case PIECE_SESSION:
        add_field_named(line, record, STR("session"));
        return;
    case PIECE_REQUEST:
        add_field_named(line, record, STR("request"));
        return;
    }
    BUG("unknown piece");
}

/* Blanks up to the piece's width, before or behind what was added from `begin` on. */
static void pad(struct log_line *line, size_t begin, const struct piece *piece)
{
    size_t n = line->n - begin;
    size_t width = (size_t)piece->width;

    if (n >= width || begin + width > LOG_LINE_SIZE - 1)
        return;
    if (piece->left) {
        memset(line->text + line->n, ' ', width - n);
    } else {
        memmove(line->text + begin + (width - n), line->text + begin, n);
        memset(line->text + begin, ' ', width - n);
    }
    line->n = begin + width;
}

static void template_line(const struct log_form *form, const struct log_record *record,
                          struct log_line *line)
{
    for (size_t i = 0; i < form->n; i++) {
        size_t begin = line->n;
        add_piece(line, &form->pieces[i], record);
        if (form->pieces[i].width > 0)
            pad(line, begin, &form->pieces[i]);
    }
}

void log_form_line(const struct log_form *form, const struct log_record *record,
                   struct log_line *line)
{
    line->n = 0;
    if (LIKELY(form == NULL || (form->n == 0 && !form->json)))
        logfmt_line(record, line);
    else if (form->json)
        json_line(record, line);
    else
        template_line(form, record, line);
    line->text[line->n++] = '\n';
}

/* --- reading a template ------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum piece_kind kind;
    char conversion; /* besides s, which all have */
} placeholders[] = {
    {"asctime", PIECE_ASCTIME, 's'},     {"name", PIECE_NAME, 's'},
    {"levelname", PIECE_LEVELNAME, 's'}, {"message", PIECE_MESSAGE, 's'},
    {"process", PIECE_PROCESS, 'd'},     {"thread", PIECE_THREAD, 'd'},
    {"session", PIECE_SESSION, 's'},     {"request", PIECE_REQUEST, 's'},
};

static enum error_code add_to(struct log_form *form, struct piece piece, struct error *e)
{
    if (piece.kind == PIECE_TEXT && piece.text.n == 0)
        return OK;
    if (form->n == PIECES_MAX)
        return FAIL(e, ERR_CONFIG, "more than %d placeholders and texts", PIECES_MAX);
    form->pieces[form->n++] = piece;
    return OK;
}

/* Behind the name: flags, width, conversion. */
static bool read_conversion(struct str *rest, struct piece *piece, char conversion)
{
    size_t at = 0;

    for (; at < rest->n && rest->p[at] == '-'; at++)
        piece->left = true;
    for (; at < rest->n && rest->p[at] >= '0' && rest->p[at] <= '9'; at++) {
        piece->width = piece->width * 10 + (rest->p[at] - '0');
        if (piece->width > WIDTH_MAX)
            return false;
    }
    if (at == rest->n || (rest->p[at] != 's' && rest->p[at] != conversion))
        return false;
    *rest = str_from(*rest, at + 1);
    return true;
}

/* "(name)-8s" at the beginning of rest. */
static enum error_code read_placeholder(struct log_form *form, struct str *rest, struct error *e)
{
    size_t end = str_find_char(*rest, ')', 0);

    if (rest->n == 0 || rest->p[0] != '(' || end == SIZE_MAX)
        return FAIL(e, ERR_CONFIG, "a %% stands for itself as %%%%, or begins %%(NAME)s");
    struct str name = str_from(str_head(*rest, end), 1);
    *rest = str_from(*rest, end + 1);
    for (size_t i = 0; i < COUNT_OF(placeholders); i++) {
        struct piece piece = {.kind = placeholders[i].kind};
        if (!str_eq(name, str_c(placeholders[i].name)))
            continue;
        if (!read_conversion(rest, &piece, placeholders[i].conversion))
            return FAIL(e, ERR_CONFIG, "%%(%s) is followed by %s, perhaps after a width up to %d",
                        placeholders[i].name, placeholders[i].conversion == 's' ? "s" : "d",
                        WIDTH_MAX);
        return add_to(form, piece, e);
    }
    return FAIL(e, ERR_CONFIG,
                "%%(%.*s) is unknown; there are asctime, name, levelname, message, process, "
                "thread, session, request",
                STR_ARG(str_head(name, 40)));
}

static enum error_code read_template(struct log_form *form, struct error *e)
{
    struct str rest = str_of(form->text, form->text_n);

    while (rest.n > 0) {
        size_t percent = str_find_char(rest, '%', 0);
        struct str text = str_head(rest, percent == SIZE_MAX ? rest.n : percent);
        TRY(add_to(form, (struct piece){.kind = PIECE_TEXT, .text = text}, e));
        if (percent == SIZE_MAX)
            return OK;
        rest = str_from(rest, percent + 1);
        if (rest.n > 0 && rest.p[0] == '%') {
            TRY(add_to(form, (struct piece){.kind = PIECE_TEXT, .text = str_head(rest, 1)}, e));
            rest = str_from(rest, 1);
            continue;
        }
        TRY(read_placeholder(form, &rest, e));
    }
    return OK;
}

enum error_code log_form_new(struct str text, struct log_form **ret_form, struct error *e)
{
    if (text.n > TEMPLATE_BYTES_MAX)
        return FAIL(e, ERR_CONFIG, "more than %d bytes", TEMPLATE_BYTES_MAX);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return FAIL(e, ERR_CONFIG, "a control character");
    }
    struct log_form *form = mem_new(sizeof(*form));
    memcpy(form->text, text.p, text.n);
    form->text_n = text.n;
    form->json = str_eq_nocase(text, STR("json"));
    if (form->json || str_eq_nocase(text, STR("logfmt"))) {
        *ret_form = form;
        return OK;
    }
    enum error_code code = str_find_char(text, '%', 0) == SIZE_MAX
                               ? FAIL(e, ERR_CONFIG,
                                      "must be json, logfmt, or a template with "
                                      "placeholders as %%(message)s")
                               : read_template(form, e);
    if (code != OK)
        log_form_free(&form);
    else
        *ret_form = form;
    return code;
}

void log_form_free(struct log_form **form)
{
    if (*form != NULL)
        mem_free(*form);
    *form = NULL;
}

bool log_form_same(const struct log_form *a, const struct log_form *b)
{
    struct str logfmt = STR("logfmt");
    struct str text_a = a == NULL ? logfmt : str_of(a->text, a->text_n);
    struct str text_b = b == NULL ? logfmt : str_of(b->text, b->text_n);

    return str_eq(text_a, text_b);
}

void log_form_chain(struct log_form *form, const struct log_form *old)
{
    form->older = old;
}

void log_form_free_all(const struct log_form *form)
{
    while (form != NULL) {
        const struct log_form *older = form->older;
        mem_free((void *)(uintptr_t)form);
        form = older;
    }
}
