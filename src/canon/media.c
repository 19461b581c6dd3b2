/* SPDX-License-Identifier: MIT */
#include "canon/media.h"

#include "text/base64.h"
#include "text/url.h"
#include "text/utf8.h"

enum { MAGIC_BYTES = 12, MAGIC_CHARS = 16 };

void media_set_url(struct part *part, struct str url)
{
    size_t marker = str_find(url, STR(";base64,"), 0);

    part->data = url;
    part->is_url = true;
    if (!str_starts_nocase(url, STR("data:")) || marker == SIZE_MAX)
        return;
    part->is_url = false;
    part->media_type = str_from(str_head(url, marker), 5);
    part->data = str_from(url, marker + 8);
}

static struct str base64_of(struct str bytes, struct arena *arena)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = arena_alloc(arena, (bytes.n + 2) / 3 * 4);
    size_t n = 0;

    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t have = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < have ? (unsigned char)bytes.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            to[n++] = k <= have ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
    return str_of(to, n);
}

bool media_take_apart(struct part *part, struct arena *arena)
{
    const struct str base64 = STR(";base64");

    if (!part->is_url || !str_starts_nocase(part->data, STR("data:")))
        return true;
    struct str rest = str_from(part->data, 5);
    size_t comma = str_find_char(rest, ',', 0);
    if (comma == SIZE_MAX)
        return false;
    struct str type = str_head(rest, comma);
    struct str data = url_decode(str_from(rest, comma + 1), false, arena);
    bool encoded = type.n >= base64.n && str_eq_nocase(str_from(type, type.n - base64.n), base64);
    if (encoded)
        type = str_head(type, type.n - base64.n);
    if (type.n > 0)
        part->media_type = type;
    part->data = encoded ? data : base64_of(data, arena);
    part->is_url = false;
    return true;
}

/* --- what the bytes are ------------------------------------------------------------------- */

/* The first bytes of base64 text; how many. */
static size_t first_bytes(struct str data, char to[MAGIC_BYTES])
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    for (size_t i = 0; i < data.n && i < MAGIC_CHARS && n < MAGIC_BYTES; i++) {
        int six = base64_digit(data.p[i]);
        if (six < 0)
            break;
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        to[n++] = (char)(bits >> have & 0xff);
    }
    return n;
}

/* Null: none that we know. */
static struct str sniff(struct str data)
{
    char bytes[MAGIC_BYTES];
    struct str head = str_of(bytes, first_bytes(data, bytes));

    if (str_starts(head, STR("\x89PNG\r\n\x1a\n")))
        return STR("image/png");
    if (str_starts(head, STR("\xff\xd8\xff")))
        return STR("image/jpeg");
    if (str_starts(head, STR("GIF87a")) || str_starts(head, STR("GIF89a")))
        return STR("image/gif");
    if (str_starts(head, STR("RIFF")) && str_eq(str_from(head, 8), STR("WEBP")))
        return STR("image/webp");
    if (str_starts(head, STR("%PDF-")))
        return STR("application/pdf");
    return STR_NULL;
}

/* A type as it is registered; itself where we know no better. */
static struct str normal(struct str type)
{
    static const struct {
        struct str said;
        struct str meant;
    } types[] = {
        {STR_INIT("image/jpg"), STR_INIT("image/jpeg")},
        {STR_INIT("image/jpeg"), STR_INIT("image/jpeg")},
        {STR_INIT("image/pjpeg"), STR_INIT("image/jpeg")},
        {STR_INIT("image/png"), STR_INIT("image/png")},
        {STR_INIT("image/x-png"), STR_INIT("image/png")},
        {STR_INIT("image/gif"), STR_INIT("image/gif")},
        {STR_INIT("image/webp"), STR_INIT("image/webp")},
        {STR_INIT("application/pdf"), STR_INIT("application/pdf")},
        {STR_INIT("application/x-pdf"), STR_INIT("application/pdf")},
        {STR_INIT("text/plain"), STR_INIT("text/plain")},
        {STR_INIT("wav"), STR_INIT("audio/wav")},
        {STR_INIT("audio/wave"), STR_INIT("audio/wav")},
        {STR_INIT("audio/x-wav"), STR_INIT("audio/wav")},
        {STR_INIT("mp3"), STR_INIT("audio/mp3")},
        {STR_INIT("audio/mpeg"), STR_INIT("audio/mp3")},
        {STR_INIT("flac"), STR_INIT("audio/flac")},
        {STR_INIT("ogg"), STR_INIT("audio/ogg")},
        {STR_INIT("aac"), STR_INIT("audio/aac")},
        {STR_INIT("aiff"), STR_INIT("audio/aiff")},
        {STR_INIT("m4a"), STR_INIT("audio/m4a")},
        {STR_INIT("opus"), STR_INIT("audio/opus")},
        {STR_INIT("pcm16"), STR_INIT("audio/pcm")},
    };
    struct str bare = str_trim(str_head(type, str_find_char(type, ';', 0)));

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq_nocase(bare, types[i].said))
            return types[i].meant;
    }
    return bare.n == 0 ? STR_NULL : bare;
}

struct str media_type_of(const struct part *part)
{
    struct str said = normal(part->media_type);
    struct str found = STR_NULL;

    if (!part->is_url && (part->kind == PART_IMAGE || part->kind == PART_FILE))
        found = sniff(part->data);
    /* What an image is said to be and is not, is refused; of a file we know two kinds at best. */
    return str_is_null(found) ? said : found;
}

struct str media_audio_format(const struct part *part)
{
    struct str type = media_type_of(part);

    return str_starts_nocase(type, STR("audio/")) ? str_from(type, 6) : type;
}

struct str media_url(const struct part *part, struct arena *arena)
{
    struct str type = media_type_of(part);
    struct str pieces[4] = {STR("data:"),
                            str_is_null(type) ? STR("application/octet-stream") : type,
                            STR(";base64,"), part->data};
    size_t n = 0;
    char *to;

    if (part->is_url)
        return part->data;
    for (size_t i = 0; i < COUNT_OF(pieces); i++)
        n += pieces[i].n;
    to = arena_alloc(arena, n);
    if (arena_overflowed(arena))
        return STR("");
    n = 0;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        if (pieces[i].n > 0)
            memcpy(to + n, pieces[i].p, pieces[i].n);
        n += pieces[i].n;
    }
    return str_of(to, n);
}

struct str media_text(const struct part *part, struct arena *arena)
{
    char *to = arena_alloc(arena, part->data.n / 4 * 3 + 3);
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    if (arena_overflowed(arena))
        return STR_NULL;
    for (size_t i = 0; i < part->data.n; i++) {
        int six = base64_digit(part->data.p[i]);
        if (part->data.p[i] == '=')
            break;
        if (six < 0)
            return STR_NULL;
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        to[n++] = (char)(bits >> have & 0xff);
    }
    assert(n <= part->data.n / 4 * 3 + 3);
    return utf8_repair(str_of(to, n), arena);
}
