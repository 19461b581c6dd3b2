/* SPDX-License-Identifier: MIT */
#include "loopback.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in address_of(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

int loopback_connect(unsigned port)
{
    struct sockaddr_in address = address_of(port);
    struct timeval bound = {.tv_sec = 2};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool loopback_get(unsigned port, const char *path)
{
    char text[256];
    size_t have = 0;
    int fd = loopback_connect(port);

    if (fd < 0)
        return false;
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path,
                     port);
    ssize_t done = send(fd, text, (size_t)n, MSG_NOSIGNAL);
    while (done > 0 && have < strlen("HTTP/1.1 200")) {
        done = recv(fd, text + have, sizeof(text) - have, 0);
        if (done > 0)
            have += (size_t)done;
    }
    close(fd);
    return have >= strlen("HTTP/1.1 200") && memcmp(text, "HTTP/1.1 200", 12) == 0;
}

bool loopback_is_free(unsigned port)
{
    struct sockaddr_in address = address_of(port);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return bound;
}
