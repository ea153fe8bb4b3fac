/* SPDX-License-Identifier: Apache-2.0
 *
 * The CNI plugin: hands on to the node daemon what the container runtime
 * asks, and to the runtime what the daemon answers. It decides nothing.
 *
 * One static program with nothing but libc, since the runtime starts it on
 * hosts that have neither an interpreter nor the libc of our image.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET "/run/kuryr-sriov/cni.sock"
#define DEADLINE 110 /* seconds; the kubelet waits 120 for an answer */
#define SUPPORTED "\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

/* CNI 1.1.0, "Error" and "STATUS". */
enum { ENVIRONMENT = 4, IO = 5, CONTENT = 6, LATER = 11, UNAVAILABLE = 50 };

/* One byte is never written: what is read ends with a NUL. */
static char config[1 << 20], answer[1 << 20], head[1 << 15];
static char version[16] = "1.1.0";
static int away = LATER; /* what it is called when the daemon is away */
static volatile sig_atomic_t expired;

static void expire(int number) { (void)number, expired = 1; }

/* Writes all of it, if the other end reads on; whether it did. */
static int write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(file, text, size);
        if (done < 0 && (errno != EINTR || expired))
            return 0;
        if (done > 0)
            text += done, size -= (size_t)done;
    }
    return 1;
}

/* Ends with a CNI error object. No word of ours needs an escape in JSON. */
static _Noreturn void fail(int code, const char *what, const char *why)
{
    char text[512];
    int size = snprintf(text, sizeof text, "{\"cniVersion\":\"%s\",\"code\":"
        "%d,\"msg\":\"kuryr-sriov: %s: %s\"}\n", version, code, what, why);
    write_all(STDOUT_FILENO, text, (size_t)size);
    _exit(1);
}

/* The timer goes on ticking: no later call can wait for ever. */
static void start_deadline(void)
{
    const char *chosen = getenv("KURYR_SRIOV_CNI_DEADLINE");
    long seconds = chosen ? strtol(chosen, NULL, 10) : 0;
    struct itimerval timer = {{0, 100000},
                              {seconds > 0 ? seconds : DEADLINE, 0}};
    struct sigaction action = {.sa_handler = expire}; /* no SA_RESTART */
    sigset_t none = {0}; /* the runtime may have blocked the alarm */
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGALRM, &action, NULL);
    if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
        fail(ENVIRONMENT, "KURYR_SRIOV_CNI_DEADLINE", strerror(errno));
}

/* Whether a failed call was merely interrupted, with time left. */
static int may_repeat(void)
{
    if (expired)
        fail(away, "no answer in time", "see what the node daemon logs");
    return errno == EINTR;
}

/* Reads to the end; where the peer was killed, ECONNRESET is one. */
static size_t read_all(int file, char *to, size_t room, const char *whose)
{
    size_t size = 0;
    while (size + 1 < room) {
        ssize_t got = read(file, to + size, room - size - 1);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return size;
        if (got > 0)
            size += (size_t)got;
        else if (!may_repeat())
            fail(IO, whose, strerror(errno));
    }
    fail(CONTENT, whose, "it has more than a megabyte");
}

/* Which cniVersion the outermost object has, if it looks like one. */
static void find_version(const char *at)
{
    static const char key[] = "\"cniVersion\"";
    for (int depth = 0; *at; at++) {
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (depth == 1 && strncmp(at, key, sizeof key - 1) == 0) {
            at += sizeof key - 1;
            at += strspn(at, " \t\r\n:");
            size_t size = *at == '"' ? strspn(at + 1, ".0123456789") : 0;
            if (size > 0 && size < sizeof version && at[1 + size] == '"')
                memcpy(version, at + 1, size), version[size] = '\0';
            return;
        }
        if (*at == '"') /* a string, in which brackets do not count */
            for (at++; *at != '"'; at++)
                if (!*at || (*at == '\\' && !*++at))
                    return;
    }
}

/* CNI's variables in headers, the configuration's size; how long it is. */
static size_t write_head(size_t config_size)
{
    static const char *const names[][2] = {
        {"CNI_COMMAND", "Command"}, {"CNI_CONTAINERID", "ContainerID"},
        {"CNI_NETNS", "Netns"}, {"CNI_IFNAME", "IfName"},
        {"CNI_ARGS", "Args"}, {"CNI_PATH", "Path"}};
    size_t size = (size_t)snprintf(head, sizeof head,
        "POST /cni HTTP/1.1\r\nHost: kuryr-sriov\r\nConnection: close\r\n"
        "Content-Length: %zu\r\n", config_size);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i][0]);
        for (const char *at = value ? value : ""; *at; at++)
            if ((unsigned char)*at < ' ' || *at == 0x7f)
                fail(ENVIRONMENT, names[i][0], "has a control character");
        size_t room = sizeof head - size - sizeof "\r\n";
        int more = value ? snprintf(head + size, room, "X-CNI-%s: %s\r\n",
                                    names[i][1], value) : 0;
        if (more < 0 || (size_t)more >= room)
            fail(ENVIRONMENT, names[i][0], "is too long");
        size += (size_t)more;
    }
    return size + (size_t)sprintf(head + size, "\r\n");
}

static int connect_to_daemon(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *chosen = getenv("KURYR_SRIOV_CNI_SOCKET");
    if (chosen && strlen(chosen) >= sizeof address.sun_path)
        fail(ENVIRONMENT, "KURYR_SRIOV_CNI_SOCKET", "is too long a path");
    strcpy(address.sun_path, chosen ? chosen : SOCKET);
    int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(file, (struct sockaddr *)&address, sizeof address) < 0)
        if (!may_repeat())
            fail(away, "the node daemon does not run here", strerror(errno));
    return file;
}

/* The answer's body; "good" if its status is 200. Ends the head by a NUL. */
static const char *check_answer(char *text, size_t size, int *good)
{
    static const char length[] = "\r\nContent-Length:";
    char *end = memmem(text, size, "\r\n\r\n", 4);
    if (!end)
        fail(away, "the node daemon ended without an answer", "see its log");
    *end = '\0';
    const char *found = strcasestr(text, length), *body = end + 4;
    size_t body_size = (size_t)(text + size - body);
    *good = strncmp(text, "HTTP/1.1 200 ", 13) == 0;
    if (strncmp(text, "HTTP/1.", 7) || !found || (!*good && *body != '{'))
        fail(IO, "not what a node daemon of this release answers",
             "see what listens on the socket");
    if (strtoull(found + sizeof length - 1, NULL, 10) != body_size)
        fail(away, "the node daemon ended while it answered", "see its log");
    return body;
}

int main(void)
{
    const char *command = getenv("CNI_COMMAND");
    start_deadline();
    if (!command || !*command)
        fail(ENVIRONMENT, "CNI_COMMAND", "container runtimes set it");
    away = strcmp(command, "STATUS") ? LATER : UNAVAILABLE;
    size_t size = read_all(STDIN_FILENO, config, sizeof config,
                           "the network configuration on standard input");
    find_version(config);
    if (strcmp(command, "VERSION") == 0)
        return dprintf(STDOUT_FILENO, "{\"cniVersion\":\"%s\","
            "\"supportedVersions\":[" SUPPORTED "]}\n", version) < 0;
    size_t head_size = write_head(size);
    int daemon = connect_to_daemon(), good;
    /* One that refuses need not read on: its answer says why. */
    if (write_all(daemon, head, head_size))
        write_all(daemon, config, size);
    size = read_all(daemon, answer, sizeof answer, "the daemon's answer");
    const char *body = check_answer(answer, size, &good);
    return write_all(STDOUT_FILENO, body, (size_t)(answer + size - body)) &&
           good ? 0 : 1;
}
