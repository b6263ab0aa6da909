/*
 * floor: what a request costs at least, a server of one thread on epoll with a fixed answer.
 *
 *     floor PORT
 *
 * listens on 127.0.0.1 and answers the end of every request head, which it looks for and looks at no further, with the
 * same bytes: no parsing, no routing, no clock, no body, no limit, no deadline.  What remains is the kernel's share.
 * Requests may be pipelined; the end of a head may come in pieces.
 *
 * Build: cc -O2 -o floor floor.c
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define FILES 65536
#define SPACE 65536
#define AT_ONCE 64 /* answers that are written in one go */

static const char answer[] =
    "HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/html; charset=UTF-8\r\n"
    "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 12\r\n\r\nHello, world";
#define LENGTH (sizeof answer - 1)

static char answers[AT_ONCE * LENGTH];
static unsigned char matched[FILES]; /* by descriptor: how much of CR LF CR LF has come */
static char input[SPACE];

static int fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    return 1;
}

/* How many heads end in these bytes, those before them in mind. */
static size_t heads(unsigned char *state, const char *data, size_t length) {
    static const char end[] = "\r\n\r\n";
    size_t found = 0;
    unsigned at = *state;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == end[at]) {
            if (++at == 4) found++, at = 0;
        } else {
            at = data[i] == '\r';
        }
    }
    *state = (unsigned char)at;
    return found;
}

/* An answer for each request that is whole; 0 when the connection is over.  Who does not read is cut. */
static int serve(int fd) {
    ssize_t got = read(fd, input, sizeof input);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    for (size_t due = heads(&matched[fd], input, (size_t)got); due;) {
        size_t now = due < AT_ONCE ? due : AT_ONCE;
        if (write(fd, answers, now * LENGTH) != (ssize_t)(now * LENGTH)) return 0;
        due -= now;
    }
    return 1;
}

static void admit(int poller, int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (fd >= FILES || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) close(fd);
        else matched[fd] = 0;
    }
}

int main(int argc, char **argv) {
    int on = 1, listener, poller;
    struct rlimit files;
    if (argc != 2) {
        fputs("usage: floor PORT\n", stderr);
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < AT_ONCE; i++) memcpy(answers + i * LENGTH, answer, LENGTH);
    if ((listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) return fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) return fail("bind");
    if (listen(listener, 4096)) return fail("listen");
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) return fail("epoll");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) return fail("epoll");
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) return fail("epoll");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) admit(poller, listener);
            else if (!serve(fd)) close(fd);
        }
    }
}
