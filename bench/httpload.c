/*
 * httpload: HTTP/1.1 connections that are open before a load begins and after it has ended, on Linux.
 *
 *     httpload REQUEST CONNECTIONS PORT
 *
 * opens CONNECTIONS to 127.0.0.1, prints "ready", and then obeys the lines it reads.  Each is answered with one line of
 * JSON, {"requests": n, "seconds": s, "busy": b}:
 *
 *     once               REQUEST, a whole one with its body, once on each connection
 *     run SECONDS        one after the other on each, for so long; every request is answered before this is
 *
 * So accepting connections is in no figure, which it would be with a generator that connects and asks in one.
 * The end of its input closes the connections.
 *
 * What is checked: the status 200, a Content-Length, and that each body is the first one again.  Anything else, and
 * silence for ten seconds, ends the program with one line on stderr and the status 1.
 *
 * "busy" is the share of the time that this program itself was running: near 1 it measures itself, not the server.
 *
 * Build: cc -O2 -o httpload httpload.c
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define PATIENCE_MS 10000
#define SPACE 16384 /* for a response */

struct connection {
    int fd;
    size_t used;
    char *in; /* what has come of a response, while it is not whole */
};

static struct connection *connections;
static int count, poller;
static const char *request;
static char body[SPACE];
static size_t request_length, body_length;
static int have_body;
static uint64_t in_flight, answered;
static int over; /* no more requests */

static void fail(const char *format, ...) {
    va_list arguments;
    fputs("httpload: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void ask(struct connection *c) {
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        fail("cannot send: %s", strerror(errno));
    in_flight++;
}

/* The length of the response that these bytes begin with, 0 while it is not whole. */
static size_t whole(const char *data, size_t used) {
    const char *end = memmem(data, used, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - data) + 4;
    if (used < 12 || memcmp(data, "HTTP/1.1 200", 12)) fail("answered %.*s", (int)(used < 60 ? used : 60), data);
    const char *length = NULL;
    for (const char *line = data; line < end; line = (const char *)memmem(line, (size_t)(end + 4 - line), "\r\n", 2) + 2)
        if (!strncasecmp(line, "Content-Length:", 15)) length = line + 15;
    if (!length) fail("a response without a Content-Length");
    size_t size = strtoul(length, NULL, 10);
    if (head + size > SPACE) fail("a response of more than %d bytes", SPACE);
    if (used < head + size) return 0;
    if (!have_body) memcpy(body, data + head, size), body_length = size, have_body = 1;
    if (size != body_length || memcmp(body, data + head, size)) fail("a body that is not the first one's");
    return head + size;
}

static void receive(struct connection *c) {
    static char space[SPACE + 1];
    if (c->used) memcpy(space, c->in, c->used);
    ssize_t got = read(c->fd, space + c->used, SPACE - c->used);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("the server has closed a connection");
    size_t used = c->used + (size_t)got;
    space[used] = 0;
    size_t length = whole(space, used);
    if (!length) {
        if (used == SPACE) fail("a response of more than %d bytes", SPACE);
        if (!c->in && !(c->in = malloc(SPACE))) fail("out of memory");
        memcpy(c->in, space, used);
        c->used = used;
        return;
    }
    if (length != used || !in_flight) fail("more bytes than were asked for");
    c->used = 0;
    in_flight--, answered++;
    if (!over) ask(c);
}

static void run(double seconds) {
    struct epoll_event events[EVENTS];
    double begin = now(), cpu = cpu_seconds(), heard = begin;
    answered = 0, over = seconds <= 0;
    for (int i = 0; i < count; i++) ask(&connections[i]);
    while (in_flight) {
        int ready = epoll_wait(poller, events, EVENTS, 1000);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
        double at = now();
        if (at - begin >= seconds) over = 1;
        if (ready > 0) heard = at;
        else if (at - heard > PATIENCE_MS / 1000) fail("%llu requests are not answered", (unsigned long long)in_flight);
    }
    double took = now() - begin;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"busy\": %.4f}\n", (unsigned long long)answered, took,
           (cpu_seconds() - cpu) / took);
    fflush(stdout);
}

static void open_connection(struct connection *c, int port) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to port %d: %s", port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll: %s", strerror(errno));
}

int main(int argc, char **argv) {
    char line[256], end;
    double seconds;
    struct rlimit files;
    if (argc != 4 || (count = atoi(argv[2])) < 1) {
        fputs("usage: httpload REQUEST CONNECTIONS PORT\n", stderr);
        return 2;
    }
    request = argv[1], request_length = strlen(request);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc((size_t)count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) fail("cannot start: %s", strerror(errno));
    for (int i = 0; i < count; i++) open_connection(&connections[i], atoi(argv[3]));
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "once\n")) run(0);
        else if (sscanf(line, "run %lf %c", &seconds, &end) == 1 && seconds > 0) run(seconds);
        else fail("no such command: %s", strtok(line, "\n"));
    }
    return 0;
}
