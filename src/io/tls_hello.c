/* SPDX-License-Identifier: MIT */
/*
 * How long a client says its hello will be.
 *
 * What      OpenSSL makes room for the whole of a handshake message as soon as its head has come:
 *           for a hello up to 128 KiB, for nine bytes sent. Ours may be 16 KiB long, which is
 *           several times what clients send.
 * How       Follows records and, through them, messages, byte by byte; there are few of them. In
 *           TLS 1.3 all that comes in records of this type is a hello: the first, or the one after
 *           a HelloRetryRequest. In TLS 1.2 what follows the first hello is for OpenSSL to bound,
 *           and is not to be fed: it is encrypted at last.
 * Not here  Whether it is a hello at all.
 */
#include "io/conn.h"

#include "io/tls_priv.h"

enum { RECORD_HANDSHAKE = 22, HELLO_BYTES_MAX = 16 * 1024 };

bool tls_hello_feed(struct tls_hello *hello, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        const uint8_t byte = (uint8_t)bytes.p[i];
        if (hello->record_left == 0) {
            hello->record[hello->record_n++] = byte;
            if (hello->record_n < sizeof(hello->record))
                continue;
            hello->record_n = 0;
            hello->record_left = (uint32_t)hello->record[3] << 8 | hello->record[4];
            continue;
        }
        hello->record_left--;
        if (hello->record[0] != RECORD_HANDSHAKE)
            continue;
        if (hello->message_left > 0) {
            hello->message_left--;
            continue;
        }
        hello->message[hello->message_n++] = byte;
        if (hello->message_n < sizeof(hello->message))
            continue;
        hello->message_n = 0;
        hello->message_left = (uint32_t)hello->message[1] << 16 | (uint32_t)hello->message[2] << 8 |
                              hello->message[3];
        if (hello->message_left > HELLO_BYTES_MAX)
            return false;
    }
    return true;
}
