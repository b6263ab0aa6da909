/*
 * wsload: the load generator of the WebSocket measurements, a client after RFC 6455 on Linux.
 *
 *     wsload PATH CONNECTIONS PORT [PORT ...]
 *
 * opens CONNECTIONS to 127.0.0.1, spread over the ports in turn, shakes hands on each, prints "ready", and then
 * obeys the lines it reads.  Each is answered with one line of JSON:
 *
 *     greeted                                  wait until each connection has got one message that says "joined"
 *     echo text|binary SIZE SECONDS            one message in flight on each connection; each must come back as it was
 *     publish SIZE SECONDS RATE WINDOW         the first connection sends, every connection must get every message:
 *                                              RATE messages a second, or with RATE 0 as many as go, never more than
 *                                              WINDOW that not all have got
 *
 * The end of its input closes all connections with the closing handshake.  In between pings are answered.
 *
 * What is checked: the answer to the handshake; that frames are unmasked, whole, and without reserved bits; of an echo
 * its opcode and every byte (each message differs from the one before); of a published message its number, on every
 * connection in order and without repetition, and its filling.  A message that stays away is counted as "lost"; so are
 * the notices {"lost": true} of webfw's live protocol.  A published message may come inside an envelope.  Anything
 * else, and silence for ten seconds, ends the program with one line on stderr and the status 1.
 *
 * "busy" is the share of the time that this program itself was running: near 1 it measures itself, not the server.
 * Delays are from sending (with a RATE: from when the message was due) to receipt, to 3 %.
 *
 * Build: cc -O2 -o wsload wsload.c
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define PATIENCE (10 * SECOND) /* silence for longer is an error */
#define QUIET (2 * SECOND)     /* after the last published message: what has not come by then is lost */
#define MAX_SIZE (1 << 20)
#define NUMBER 16 /* hexadecimal digits of a number or a time in a message */
#define MARK "wsload:"
#define HEAD (sizeof MARK - 1 + 2 * NUMBER) /* of a published message: mark, number, time */

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { IDLE, ECHO, PUBLISH, CLOSING };

struct connection {
    int fd, index, closed, greetings;
    int waiting;       /* ECHO: a message is in flight */
    uint64_t number;   /* ECHO: of the message in flight; PUBLISH: of the next one that must come */
    int64_t sent_at;
    unsigned char *in, *out;
    size_t in_size, in_used, out_size, out_used;
};

static struct connection *connections;
static int count, poller, timer;
static int mode = IDLE;
static int64_t heard_at; /* when the server was last heard */

/* what the current command asks for, and what has come of it */
static int opcode;
static size_t size;
static int64_t started_at, ends_at;
static unsigned char filling[MAX_SIZE];
static uint64_t sent, received, lost, notices, next_number = 1, first_number;
static double rate;
static uint64_t window;
static uint64_t histogram[64 * 32];

static void fail(const char *format, ...) {
    va_list arguments;
    fputs("wsload: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static uint32_t random32(void) {
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift: a mask need only differ here */
    return (uint32_t)(state >> 32);
}

static void *grown(void *memory, size_t *have, size_t want) {
    if (want <= *have) return memory;
    while (*have < want) *have = *have ? *have * 2 : 4096;
    if (!(memory = realloc(memory, *have))) fail("out of memory");
    return memory;
}

/* --- delays: 32 buckets for each power of two nanoseconds --- */

static void record(int64_t delay) {
    uint64_t value = delay < 32 ? 32 : (uint64_t)delay;
    int power = 63 - __builtin_clzll(value);
    histogram[(power - 5) * 32 + ((value >> (power - 5)) & 31)]++;
}

static double quantile(double share) {
    uint64_t all = 0, seen = 0;
    for (size_t i = 0; i < 64 * 32; i++) all += histogram[i];
    for (size_t i = 0; i < 64 * 32; i++)
        if ((seen += histogram[i]) > 0 && (double)seen >= share * (double)all)
            return (double)((32 + i % 32) << (i / 32)) / 1000;
    return 0;
}

/* --- frames out --- */

static void watch(struct connection *c) {
    struct epoll_event event = {.events = EPOLLIN | (c->out_used ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static void flush(struct connection *c) {
    size_t done = 0;
    while (done < c->out_used) {
        ssize_t n = send(c->fd, c->out + done, c->out_used - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail("connection %d: cannot send: %s", c->index, strerror(errno));
        done += (size_t)n;
    }
    c->out_used -= done;
    memmove(c->out, c->out + done, c->out_used);
}

static void send_frame(struct connection *c, int op, const unsigned char *head, size_t head_size,
                       const unsigned char *tail, size_t tail_size) {
    size_t length = head_size + tail_size, start = c->out_used;
    c->out = grown(c->out, &c->out_size, start + length + 14);
    unsigned char *p = c->out + start;
    uint32_t word = random32();
    unsigned char key[8];
    *p++ = (unsigned char)(0x80 | op);
    if (length < 126) {
        *p++ = (unsigned char)(0x80 | length);
    } else if (length < 65536) {
        *p++ = 0x80 | 126, *p++ = (unsigned char)(length >> 8), *p++ = (unsigned char)length;
    } else {
        *p++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) *p++ = (unsigned char)((uint64_t)length >> shift);
    }
    memcpy(key, &word, 4), memcpy(key + 4, &word, 4);
    memcpy(p, key, 4), p += 4;
    if (head_size) memcpy(p, head, head_size);
    if (tail_size) memcpy(p + head_size, tail, tail_size);
    size_t i = 0;
    for (uint64_t eight, mask; i + 8 <= length; i += 8) {
        memcpy(&eight, p + i, 8), memcpy(&mask, key, 8);
        eight ^= mask;
        memcpy(p + i, &eight, 8);
    }
    for (; i < length; i++) p[i] ^= key[i % 4];
    c->out_used = (size_t)(p - c->out) + length;
    if (start) return; /* the rest of an earlier frame goes first, when the socket takes it */
    flush(c);
    if (c->out_used) watch(c);
}

static void write_hex(unsigned char *to, uint64_t value) {
    for (int i = NUMBER - 1; i >= 0; i--, value >>= 4) to[i] = (unsigned char)"0123456789abcdef"[value & 15];
}

static int read_hex(const unsigned char *from, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < NUMBER; i++) {
        unsigned char ch = from[i];
        if (ch >= '0' && ch <= '9') *value = *value << 4 | (uint64_t)(ch - '0');
        else if (ch >= 'a' && ch <= 'f') *value = *value << 4 | (uint64_t)(ch - 'a' + 10);
        else return 0;
    }
    return 1;
}

static void send_echo(struct connection *c) {
    unsigned char head[NUMBER];
    c->number = next_number++;
    c->waiting = 1;
    c->sent_at = now();
    write_hex(head, c->number);
    sent++;
    send_frame(c, opcode, head, NUMBER, filling, size - NUMBER);
}

static void publish(int64_t due) {
    unsigned char head[HEAD];
    memcpy(head, MARK, sizeof MARK - 1);
    write_hex(head + sizeof MARK - 1, next_number++);
    write_hex(head + sizeof MARK - 1 + NUMBER, (uint64_t)due);
    sent++;
    send_frame(&connections[0], TEXT, head, HEAD, filling, size - HEAD);
}

/* --- frames in --- */

static void echoed(struct connection *c, int op, const unsigned char *payload, size_t length) {
    uint64_t number;
    if (!c->waiting) fail("connection %d: a message came that was not asked for", c->index);
    if (op != opcode) fail("connection %d: opcode %d came back for %d", c->index, op, opcode);
    if (length != size) fail("connection %d: %zu bytes came back for %zu", c->index, length, size);
    if (!read_hex(payload, &number) || number != c->number || memcmp(payload + NUMBER, filling, size - NUMBER))
        fail("connection %d: other bytes came back than were sent", c->index);
    int64_t t = now();
    c->waiting = 0;
    received++;
    record(t - c->sent_at);
    if (t < ends_at) send_echo(c);
}

static void delivered(struct connection *c, int op, const unsigned char *payload, size_t length) {
    const unsigned char *mark = memmem(payload, length, MARK, sizeof MARK - 1);
    uint64_t number, due;
    if (!mark && op == TEXT && memmem(payload, length, "\"lost\"", 6)) {
        notices++;
        return;
    }
    if (op != TEXT || !mark || length - (size_t)(mark - payload) < size || !read_hex(mark + sizeof MARK - 1, &number) ||
        !read_hex(mark + sizeof MARK - 1 + NUMBER, &due) || memcmp(mark + HEAD, filling, size - HEAD))
        fail("connection %d: this was not published: opcode %d, %.*s", c->index, op, (int)(length < 80 ? length : 80),
             payload);
    if (number < first_number) return; /* a late one of the command before, where it was counted as lost */
    if (number < c->number || number >= next_number)
        fail("connection %d: message %llu came when %llu was next", c->index,
             (unsigned long long)(number - first_number), (unsigned long long)(c->number - first_number));
    lost += number - c->number;
    c->number = number + 1;
    received++;
    record(now() - (int64_t)due);
}

static void message(struct connection *c, int op, const unsigned char *payload, size_t length) {
    if (mode == ECHO) echoed(c, op, payload, length);
    else if (mode == PUBLISH) delivered(c, op, payload, length);
    else if (mode == IDLE && memmem(payload, length, "joined", 6)) c->greetings++;
    else if (mode == IDLE && !memmem(payload, length, MARK, sizeof MARK - 1) && !memmem(payload, length, "\"lost\"", 6))
        fail("connection %d: a message came that was not asked for: %.*s", c->index, (int)(length < 80 ? length : 80),
             payload);
}

static void control(struct connection *c, int op, const unsigned char *payload, size_t length) {
    if (op == PING) {
        send_frame(c, PONG, payload, length, NULL, 0);
    } else if (op == CLOSE) {
        int code = length >= 2 ? payload[0] << 8 | payload[1] : 1005;
        if (mode != CLOSING) fail("connection %d: the server closes it with %d", c->index, code);
        c->closed = 1;
    }
}

/* One frame of the bytes at `p`: its length, 0 while it is not all there. */
static size_t frame(struct connection *c, const unsigned char *p, size_t have) {
    if (have < 2) return 0;
    size_t head = 2;
    uint64_t length = p[1] & 127;
    if (length == 126) {
        if (have < (head = 4)) return 0;
        length = (uint64_t)p[2] << 8 | p[3];
    } else if (length == 127) {
        if (have < (head = 10)) return 0;
        length = 0;
        for (int i = 2; i < 10; i++) length = length << 8 | p[i];
    }
    int op = p[0] & 15;
    if (!(p[0] & 0x80) || op == 0) fail("connection %d: a fragment came; wsload knows whole messages only", c->index);
    if (p[0] & 0x70) fail("connection %d: a frame with a reserved bit came", c->index);
    if (p[1] & 0x80) fail("connection %d: a masked frame came", c->index);
    if (op != TEXT && op != BINARY && op != CLOSE && op != PING && op != PONG)
        fail("connection %d: opcode %d came", c->index, op);
    if (length > 2 * MAX_SIZE) fail("connection %d: a frame of %llu bytes came", c->index, (unsigned long long)length);
    if (have < head + length) return 0;
    if (op >= CLOSE) control(c, op, p + head, length);
    else message(c, op, p + head, length);
    return head + length;
}

static void frames(struct connection *c) {
    size_t at = 0, taken;
    while ((taken = frame(c, c->in + at, c->in_used - at)) > 0) at += taken;
    c->in_used -= at;
    memmove(c->in, c->in + at, c->in_used);
}

static void readable(struct connection *c) {
    c->in = grown(c->in, &c->in_size, c->in_used + (c->in_used ? c->in_used : 4096));
    ssize_t n = recv(c->fd, c->in + c->in_used, c->in_size - c->in_used, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (mode != CLOSING) fail("connection %d: %s", c->index, n ? strerror(errno) : "the server has closed it");
        c->closed = 1;
        epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
        return;
    }
    c->in_used += (size_t)n;
    heard_at = now();
    frames(c);
}

/* --- the opening handshake, one connection after the other --- */

static void shake_hands(struct connection *c, const char *path, int port) {
    /* the sample of RFC 6455 section 1.3: the key, and the one right answer to it */
    static const char *field = "\r\nsec-websocket-accept: ", *answer = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    char request[512];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          path, port);
    if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) fail("cannot send a handshake");
    char *end = NULL;
    while (!end) {
        c->in = grown(c->in, &c->in_size, c->in_used + 4096);
        ssize_t n = recv(c->fd, c->in + c->in_used, c->in_size - c->in_used - 1, 0);
        if (n <= 0) fail("connection %d: no answer to the handshake: %s", c->index, n ? strerror(errno) : "closed");
        c->in_used += (size_t)n;
        if (c->in_used > 65536) fail("connection %d: the answer to the handshake has no end", c->index);
        c->in[c->in_used] = 0;
        end = memmem(c->in, c->in_used, "\r\n\r\n", 4);
    }
    size_t head = (size_t)(end + 4 - (char *)c->in);
    char text[head + 1];
    memcpy(text, c->in, head), text[head] = 0;
    if (strncmp(text, "HTTP/1.1 101 ", 13)) fail("connection %d: not upgraded: %.60s", c->index, text);
    const char *accept = strcasestr(text, field);
    if (!accept || strncmp(accept + strlen(field), answer, strlen(answer)))
        fail("connection %d: wrong Sec-WebSocket-Accept", c->index);
    if (strcasestr(text, "\r\nsec-websocket-extensions:")) fail("connection %d: an extension nobody asked for", c->index);
    c->in_used -= head;
    memmove(c->in, c->in + head, c->in_used);
}

static void open_connection(struct connection *c, int index, const char *path, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PATIENCE / SECOND};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->index = index;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to port %d: %s", port, strerror(errno));
    shake_hands(c, path, port);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    frames(c); /* what came together with the answer */
}

/* --- the commands --- */

/* Serve the connections once; `wait` is in milliseconds. */
static void turn(int wait) {
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, wait);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) continue; /* the timer, or standard input: whoever waits for it looks */
        if (events[i].events & EPOLLOUT) {
            flush(c);
            if (!c->out_used) watch(c);
        }
        if (events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
    }
}

static void still_there(const char *what) {
    if (now() - heard_at > PATIENCE)
        fail("%s: silence for %lld s, after %llu sent and %llu received", what, (long long)(PATIENCE / SECOND),
             (unsigned long long)sent, (unsigned long long)received);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void begin(int kind, double seconds) {
    mode = kind;
    sent = received = lost = notices = 0;
    memset(histogram, 0, sizeof histogram);
    first_number = next_number;
    for (size_t i = 0; i < size; i++)
        filling[i] = opcode == TEXT ? (unsigned char)('a' + i % 26) : (unsigned char)random32();
    started_at = heard_at = now();
    ends_at = started_at + (int64_t)(seconds * SECOND);
}

static void report(int64_t ended_at, double cpu) {
    double seconds = (double)(ended_at - started_at) / SECOND;
    printf("{\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"notices\": %llu, \"seconds\": %.6f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"busy\": %.3f}\n",
           (unsigned long long)sent, (unsigned long long)received, (unsigned long long)lost,
           (unsigned long long)notices, seconds, quantile(0.5), quantile(0.99), cpu / seconds);
    fflush(stdout);
    mode = IDLE;
}

static void run_echo(double seconds) {
    double cpu = cpu_seconds();
    begin(ECHO, seconds);
    for (int i = 0; i < count; i++) send_echo(&connections[i]);
    while (received < sent) {
        turn(1000);
        still_there("echo");
    }
    report(now(), cpu_seconds() - cpu);
}

static void set_timer(int64_t at) {
    struct itimerspec when = {.it_value = {at / SECOND, at % SECOND}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static int due_at(uint64_t number, int64_t *due) {
    *due = started_at + (int64_t)((double)number / rate * SECOND);
    return *due < ends_at;
}

static void run_publish(double seconds) {
    double cpu = cpu_seconds();
    int64_t due;
    uint64_t all = (uint64_t)count;
    begin(PUBLISH, seconds);
    for (int i = 0; i < count; i++) connections[i].number = first_number;
    while (now() < ends_at) {
        if (rate > 0) {
            while (due_at(sent, &due) && due <= now()) publish(due);
            if (due_at(sent, &due)) set_timer(due);
            else if (received + lost >= sent * all) break;
        } else {
            while (sent * all - received - lost <= (window - 1) * all) publish(now());
        }
        turn(100);
        still_there("publish");
    }
    /* What was due while this process stood still is late, not left out. */
    while (rate > 0 && due_at(sent, &due)) publish(due);
    set_timer(0);
    while (received + lost < sent * all && now() - heard_at < QUIET) turn(100);
    int64_t ended_at = received + lost < sent * all ? heard_at : now();
    lost = sent * all - received;
    report(ended_at, cpu_seconds() - cpu);
}

static void run_greeted(void) {
    heard_at = now();
    for (int i = 0; i < count;) {
        if (connections[i].greetings) {
            i++;
        } else {
            turn(100);
            still_there("greeted");
        }
    }
    printf("{\"greeted\": %d}\n", count);
    fflush(stdout);
}

static void close_all(void) {
    static const unsigned char normal[] = {1000 >> 8, 1000 & 255};
    mode = CLOSING;
    heard_at = now();
    for (int i = 0; i < count; i++) send_frame(&connections[i], CLOSE, normal, 2, NULL, 0);
    for (int i = 0; i < count;) {
        if (connections[i].closed) {
            i++;
        } else {
            turn(100);
            still_there("closing");
        }
    }
}

static void obey(char *line) {
    char kind[16], end;
    double seconds, wanted;
    unsigned long long most;
    if (!strcmp(line, "greeted")) {
        run_greeted();
    } else if (sscanf(line, "echo %15s %zu %lf %c", kind, &size, &seconds, &end) == 3) {
        opcode = !strcmp(kind, "text") ? TEXT : BINARY;
        if (opcode == BINARY && strcmp(kind, "binary")) fail("echo text or binary, not %s", kind);
        if (size < NUMBER || size > MAX_SIZE) fail("SIZE is %d to %d", NUMBER, MAX_SIZE);
        run_echo(seconds);
    } else if (sscanf(line, "publish %zu %lf %lf %llu %c", &size, &seconds, &wanted, &most, &end) == 4) {
        if (size < HEAD || size > MAX_SIZE) fail("SIZE is %zu to %d", HEAD, MAX_SIZE);
        if (wanted < 0 || most < 1) fail("RATE is 0 or more, WINDOW 1 or more");
        opcode = TEXT, rate = wanted, window = most;
        run_publish(seconds);
    } else {
        fail("no such command: %s", line);
    }
}

/* Serve the connections until a line has been read; 0 at the end of the input. */
static int next_line(char *line, size_t most) {
    static char input[4096];
    static size_t used;
    for (;;) {
        char *end = memchr(input, '\n', used);
        if (end) {
            size_t length = (size_t)(end - input);
            if (length >= most) fail("a line is too long");
            memcpy(line, input, length), line[length] = 0;
            used -= length + 1;
            memmove(input, end + 1, used);
            return 1;
        }
        ssize_t n = read(0, input + used, sizeof input - used);
        if (n > 0) used += (size_t)n;
        else if (n == 0 || errno != EAGAIN) return 0;
        else turn(1000);
    }
}

int main(int argc, char **argv) {
    char line[256];
    struct rlimit files;
    if (argc < 4 || (count = atoi(argv[2])) < 1) {
        fputs("usage: wsload PATH CONNECTIONS PORT [PORT ...]\n", stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc((size_t)count, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!connections || poller < 0 || timer < 0) fail("cannot start: %s", strerror(errno));
    for (int i = 0; i < count; i++) open_connection(&connections[i], i, argv[1], atoi(argv[3 + i % (argc - 3)]));
    fcntl(0, F_SETFL, O_NONBLOCK);
    struct epoll_event other = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &other);
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &other);
    puts("ready");
    fflush(stdout);
    while (next_line(line, sizeof line)) obey(line);
    close_all();
    return 0;
}
