/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm-image: makes connections to one medium, for a daemon that may open and start nothing any
 * more. Started by xendm, with its socket as descriptor 3:
 *
 *   xendm-image tcp HOST PORT | unix PATH         an NBD server of somebody's
 *   xendm-image serve FORMAT r|w[d] FILE          qemu-storage-daemon on an image; qemu-nbd on one
 *                                                 that is elsewhere ("https:…"). d: past the page
 *                                                 cache
 *   xendm-image serve-open FORMAT                 … on the one that is open as descriptor 4: for
 *                                                 reading, and nothing that its metadata names
 *
 * Each connection to an image has a server of its own: the one before is ended first, in good order
 * if it will, so that at most one has the image. It gets the socket it listens on as descriptor 3,
 * with our connection in its queue already: the socket's name is gone before it runs. xendm's end
 * of our socket is what keeps us.
 *
 * What the medium is was said before xendm gave up its privileges; whoever takes over xendm can ask
 * for connections to it, which it has anyway, and for nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xendm/file-size.h>
#include <xendm/helper.h>
#include <xendm/image-name.h>
#include <xendm/one-fd.h>

#include "image-confine.h"
#include "image-wire.h"

#define END_SECONDS 5 /* from SIGTERM to SIGKILL */
#define CONNECT_SECONDS 5
#define REPLY_TRIES 100 /* 10 ms apart */
#define LISTEN_FD 3     /* SD_LISTEN_FDS_START */

static const char *format, *file; /* of an image */
static bool writable, direct, remote;
static bool passed; /* the image is HELPER_FD_PASSED, and no other file is to be read */

static pid_t server; /* 0: none */
static uint32_t server_serial;
static int output = -1; /* what the server says */
static char said[IMAGE_TEXT];
static size_t said_length;
static time_t kill_at; /* 0: it was not asked to end */
static uint32_t asked; /* IMAGE_CONNECT, IMAGE_LOOK, IMAGE_STOP: when the server has ended; 0 */
static uint32_t asked_serial;

static time_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void sleep_ms(long ms)
{
    const struct timespec moment = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&moment, NULL);
}

/* What the host lacks for a moment is no reason to keep xendm waiting for an answer for ever. */
static void reply(uint32_t kind, uint32_t serial, int error, const char *text)
{
    struct image_message m = {.kind = kind, .serial = serial, .error = error};

    snprintf(m.text, sizeof(m.text), "%s", text ? text : "");
    for (int i = 0; i < REPLY_TRIES; i++) {
        if (send(HELPER_FD_SOCKET, &m, sizeof(m), MSG_NOSIGNAL) == (ssize_t)sizeof(m) ||
            errno == EPIPE || errno == ECONNRESET) {
            return;
        }
        sleep_ms(10);
    }
}

static void reply_connection(uint32_t kind, uint32_t serial, int fd)
{
    struct image_message m = {.kind = kind, .serial = serial};
    bool sent = one_fd_send(HELPER_FD_SOCKET, &m, sizeof(m), fd, 0) == (ssize_t)sizeof(m);
    int e = errno;

    close(fd);
    if (!sent) {
        reply(IMAGE_FAILED, serial, e, "its connection could not be passed on");
    }
}

/* ---- somebody's server ---- */

static int connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
    } else if (fd >= 0) {
        strcpy(a.sun_path, path);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
            return fd;
        }
    }
    if (fd >= 0) {
        int e = errno;

        close(fd);
        errno = e;
    }
    return -1;
}

static int connect_tcp(const char *host, const char *port, const char **why)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    struct addrinfo *list = NULL;
    int fd = -1, rc = getaddrinfo(host, port, &hints, &list);

    if (rc != 0) {
        *why = gai_strerror(rc);
        errno = EHOSTUNREACH;
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) {
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            int e = errno;

            close(fd);
            fd = -1;
            errno = e == EINPROGRESS ? ETIMEDOUT : e;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static void connect_there(uint32_t serial, char **argv)
{
    const char *why = NULL;
    int fd =
        strcmp(argv[1], "unix") == 0 ? connect_unix(argv[2]) : connect_tcp(argv[2], argv[3], &why);

    if (fd < 0) {
        int e = errno;

        reply(IMAGE_FAILED, serial, e, why ? why : strerror(e));
        return;
    }
    reply_connection(IMAGE_CONNECTED_NBD, serial, fd);
}

/* ---- the image server ---- */

#define SERVER (remote ? "qemu-nbd" : "qemu-storage-daemon")

static const char *server_program(void)
{
    static const char *const places[] = {"/usr/bin", "/usr/local/bin", "/usr/lib/xen/bin"};
    static char found[64];
    const char *named = getenv(remote ? "XENDM_QEMU_NBD" : "XENDM_QEMU_STORAGE_DAEMON");

    for (size_t i = 0; !named && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(found, sizeof(found), "%s/%s", places[i], SERVER);
        if (access(found, X_OK) == 0) {
            return found;
        }
    }
    return named && access(named, X_OK) == 0 ? named : NULL;
}

/* A socket that listens, and a connection in its queue. Its name was there for a moment, for us. */
static bool make_pair(int *listener, int *connection)
{
    static const char *const places[] = {"/run/xendm-image-XXXXXX", "/tmp/xendm-image-XXXXXX"};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char directory[64];
    bool ok = false;

    *listener = *connection = -1;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !ok; i++) {
        strcpy(directory, places[i]);
        ok = mkdtemp(directory) != NULL;
    }
    if (!ok) {
        return false;
    }
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", directory);
    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok = *listener >= 0 && bind(*listener, (struct sockaddr *)&a, sizeof(a)) == 0 &&
         listen(*listener, 1) == 0 && (*connection = connect_unix(a.sun_path)) >= 0;
    int e = errno;
    unlink(a.sun_path);
    rmdir(directory);
    if (!ok && *listener >= 0) {
        close(*listener);
    }
    errno = e;
    return ok;
}

/* A comma in an option's value is written twice. */
static char *doubled(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1), *p = out;

    if (!out) {
        _exit(1);
    }
    for (; *text; text++) {
        *p++ = *text;
        if (*text == ',') {
            *p++ = ',';
        }
    }
    *p = '\0';
    return out;
}

static bool is_device(const char *name)
{
    struct stat st;

    return stat(name, &st) == 0 && S_ISBLK(st.st_mode);
}

/* Systemd's socket activation; whatever the name looks like to QEMU, so it is. */
static void arguments_elsewhere(char **argv, bool reads)
{
    int n = 0;

    argv[n++] = "qemu-nbd";
    argv[n++] = "--discard=unmap";
    argv[n++] = direct ? "--cache=none" : "--cache=writeback";
    if (reads) {
        argv[n++] = "--read-only";
    }
    argv[n++] = "--format";
    argv[n++] = (char *)(strcmp(format, "remote") == 0 ? "raw" : format);
    argv[n++] = "--";
    argv[n++] = (char *)file;
    argv[n] = NULL;
}

/* Names of files are names of files, whatever they look like. */
static void arguments_here(char **argv, bool reads, bool look)
{
    static char node[8192], export[128];
    int n = 0;

    snprintf(node, sizeof(node),
             "driver=%s,node-name=image,discard=unmap,read-only=%s,force-share=%s,"
             "cache.direct=%s,file.cache.direct=%s,file.driver=%s,file.locking=on,file.filename=%s",
             format, reads ? "on" : "off", look ? "on" : "off", direct ? "on" : "off",
             direct ? "on" : "off", is_device(file) ? "host_device" : "file", doubled(file));
    snprintf(export, sizeof(export),
             "type=vhost-user-blk,id=image,node-name=image,writable=%s,addr.type=fd,addr.str=%d",
             reads ? "off" : "on", LISTEN_FD);
    argv[n++] = "qemu-storage-daemon";
    argv[n++] = "--blockdev";
    argv[n++] = node;
    argv[n++] = "--export";
    argv[n++] = export;
    argv[n] = NULL;
}

/* The format is always given: nothing is guessed. */
static void server_arguments(char **argv, bool look)
{
    bool reads = !writable || look;

    if (remote) {
        arguments_elsewhere(argv, reads);
    } else {
        arguments_here(argv, reads, look);
    }
}

static void become_server(int listener, int out, const char *program, bool look)
{
    char listen_pid[32], *argv[16];
    char *envp[] = {listen_pid, "LISTEN_FDS=1", "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin", NULL};
    int null = open("/dev/null", O_RDWR);
    sigset_t none;

    snprintf(listen_pid, sizeof(listen_pid), "LISTEN_PID=%d", (int)getpid());
    server_arguments(argv, look);
    /* The listener takes the place of our socket, which was open: it is another number. */
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0 || dup2(listener, LISTEN_FD) < 0) {
        _exit(126);
    }
    close_range(passed ? HELPER_FD_PASSED + 1 : LISTEN_FD + 1, ~0U, 0);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (writable && !look) {
        file_size_allow(FILE_SIZE_ANY); /* an image of a format grows */
    }
    if (passed) {
        image_confine_server_of(HELPER_FD_PASSED);
    } else {
        image_confine_server(remote ? NULL : file, writable && !look, remote);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    execve(program, argv, envp);
    fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(126);
}

static void start_server(uint32_t serial, bool look)
{
    const char *program = server_program();
    int listener, connection, out[2];

    if (!program) {
        reply(IMAGE_FAILED, serial, ENOENT,
              remote ? "there is no qemu-nbd (Debian: the package qemu-utils)"
                     : "there is no qemu-storage-daemon (Debian: the package qemu-system-common)");
        return;
    }
    if (pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0) {
        reply(IMAGE_FAILED, serial, errno, NULL);
        return;
    }
    if (!make_pair(&listener, &connection)) {
        reply(IMAGE_FAILED, serial, errno, "no socket for the image server");
        close(out[0]);
        close(out[1]);
        return;
    }
    server = fork();
    if (server == 0) {
        become_server(listener, out[1], program, look);
    }
    int e = errno;
    close(listener);
    close(out[1]);
    if (server < 0) {
        server = 0;
        close(out[0]);
        close(connection);
        reply(IMAGE_FAILED, serial, e, NULL);
        return;
    }
    output = out[0];
    said_length = 0;
    server_serial = serial;
    kill_at = 0;
    reply_connection(remote ? IMAGE_CONNECTED_NBD : IMAGE_CONNECTED_VHOST, serial, connection);
}

/* Its last words: the front of the last line, without what would spoil a log. */
static void hear_output(void)
{
    char part[512];
    ssize_t n;

    while (output >= 0 && (n = read(output, part, sizeof(part))) != 0) {
        if (n < 0) {
            return;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (said_length < sizeof(said) - 1) {
                said[said_length++] = part[i] == '\n' ? ' ' : part[i] < ' ' ? '?' : part[i];
            }
        }
    }
    if (output >= 0) {
        close(output);
        output = -1;
    }
}

static void end_server(void)
{
    if (server && !kill_at) {
        kill_at = now() + END_SECONDS;
        kill(server, SIGTERM);
        kill(server, SIGCONT);
    }
}

static void server_has_ended(int status)
{
    char text[IMAGE_TEXT];
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    hear_output();
    if (output >= 0) {
        close(output);
        output = -1;
    }
    while (said_length > 0 && said[said_length - 1] == ' ') {
        said_length--;
    }
    said[said_length] = '\0';
    if (said_length > 0 || good) {
        snprintf(text, sizeof(text), "%s", said);
    } else if (WIFSIGNALED(status)) {
        snprintf(text, sizeof(text), "%s was killed by signal %d", SERVER, WTERMSIG(status));
    } else {
        snprintf(text, sizeof(text), "%s ended with status %d", SERVER, WEXITSTATUS(status));
    }
    server = 0;
    kill_at = 0;
    reply(IMAGE_ENDED, server_serial, good ? 0 : EIO, text);
}

static void reap(void)
{
    int status;

    if (server && waitpid(server, &status, WNOHANG) == server) {
        server_has_ended(status);
    }
    if (server && kill_at && now() >= kill_at) {
        kill(server, SIGKILL);
    }
}

/* ---- what we are asked for ---- */

static void serve(char **argv)
{
    uint32_t what = asked, serial = asked_serial;

    if (!what) {
        return;
    }
    if (server) {
        end_server(); /* then */
        return;
    }
    asked = 0;
    if (what == IMAGE_STOP) {
        reply(IMAGE_STOPPED, serial, 0, NULL);
    } else if (!format) {
        connect_there(serial, argv);
    } else {
        start_server(serial, what == IMAGE_LOOK);
    }
}

/* False: xendm has ended. */
static bool hear(void)
{
    struct image_message m;
    ssize_t n = recv(HELPER_FD_SOCKET, &m, sizeof(m), MSG_DONTWAIT);

    if (n < 0 && errno != ECONNRESET) {
        if (errno != EAGAIN && errno != EINTR) {
            sleep_ms(10);
        }
        return true;
    }
    if (n == (ssize_t)sizeof(m) && m.kind >= IMAGE_CONNECT && m.kind <= IMAGE_STOP) {
        asked = m.kind; /* the last one counts: nobody waits for another */
        asked_serial = m.serial;
    }
    return n > 0;
}

static void end(void)
{
    end_server();
    for (int i = 0; i < END_SECONDS * 100 && server; i++) {
        sleep_ms(10);
        reap();
    }
    if (server) {
        kill(server, SIGKILL);
    }
    exit(0);
}

static void wake(int signal)
{
}

static bool understand(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "serve") == 0) {
        format = argv[2];
        writable = argv[3][0] == 'w';
        direct = argv[3][1] == 'd';
        file = argv[4];
        remote = image_is_elsewhere(file);
        return true;
    }
    if (argc == 3 && strcmp(argv[1], "serve-open") == 0) {
        static char name[32];

        snprintf(name, sizeof(name), "/proc/self/fd/%d", HELPER_FD_PASSED);
        passed = true;
        format = argv[2];
        file = name;
        return true;
    }
    return (argc == 4 && strcmp(argv[1], "tcp") == 0) ||
           (argc == 3 && strcmp(argv[1], "unix") == 0);
}

int main(int argc, char **argv)
{
    struct sigaction child = {.sa_handler = wake};
    sigset_t block, open;

    if (!understand(argc, argv)) {
        fprintf(stderr, "xendm-image is started by xendm, for image formats and NBD\n");
        return 1;
    }
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, &open);
    sigaction(SIGCHLD, &child, NULL);
    signal(SIGHUP, SIG_IGN); /* libxl's, to xendm: our end comes by the socket */
    signal(SIGINT, SIG_IGN);
    image_confine_keeper(strcmp(argv[1], "tcp") == 0);
    for (;;) {
        struct pollfd p[2] = {{.fd = HELPER_FD_SOCKET, .events = POLLIN},
                              {.fd = output, .events = POLLIN}};
        const struct timespec second = {.tv_sec = 1};

        /* SIGCHLD comes in here alone. */
        if (ppoll(p, 2, kill_at ? &second : NULL, &open) < 0 && errno != EINTR) {
            sleep_ms(10);
        }
        hear_output();
        reap();
        if (!hear()) {
            end();
        }
        serve(argv);
    }
}
