/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -daemonize and -pidfile; see service.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/handover.h>

#include "service.h"

static int waits = -1;  /* whoever started us hears by it that we serve */
static int errors = -1; /* its standard error, until then */
static int pid_fd = -1; /* the file with our process id, locked */
static const char *pid_file;
static struct stat pid_stat; /* of it: a process that has it not open removes it */

static int fail(GError **err, const char *what, const char *name)
{
    int e = errno;

    g_set_error(err, XENDM_ERROR, e, "%s %s: %s", what, name, g_strerror(e));
    return -e;
}

/* ---- the background ---- */

/* What was started: it ends with the news. */
static void wait_for(pid_t child, int news) __attribute__((noreturn));
static void wait_for(pid_t child, int news)
{
    char word;
    ssize_t n;
    int status = 0;

    do {
        n = read(news, &word, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1) {
        _exit(EXIT_SUCCESS);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    /* Not having said so, it did not serve, whatever its status. */
    _exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

/* A file, or systemd's journal by its own word (systemd.exec(5)): nobody's terminal. */
static bool is_log(int fd)
{
    const char *journal = g_getenv("JOURNAL_STREAM");
    g_autofree char *ours = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return false;
    }
    ours = g_strdup_printf("%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    return S_ISREG(st.st_mode) || g_strcmp0(journal, ours) == 0;
}

/* At once, so that no process of ours has what whoever reads it waits for the end of. */
static int leave_streams(GError **err)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);

    errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (nowhere < 0) {
        return fail(err, "-daemonize:", "/dev/null");
    }
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    if (!is_log(STDERR_FILENO)) {
        dup2(nowhere, STDERR_FILENO);
    }
    close(nowhere);
    return 0;
}

static int go_to_background(GError **err)
{
    int news[2];
    pid_t child;

    if (pipe2(news, O_CLOEXEC) < 0) {
        return fail(err, "-daemonize:", "a pipe");
    }
    child = fork();
    if (child < 0) {
        return fail(err, "-daemonize:", "a process");
    }
    if (child > 0) {
        close(news[1]);
        wait_for(child, news[0]);
    }
    close(news[0]);
    waits = news[1];
    setsid();
    return leave_streams(err);
}

void service_say(const char *text)
{
    dprintf(errors >= 0 ? errors : STDERR_FILENO, "xendm: %s\n", text);
}

/* ---- the file ---- */

static int lock(int fd)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &all);
}

/* The one that had it may have removed it before it let go of the lock. */
static bool is_there(const char *file)
{
    struct stat named;

    return stat(file, &named) == 0 && named.st_dev == pid_stat.st_dev &&
           named.st_ino == pid_stat.st_ino;
}

static int take_file(const char *file, GError **err)
{
    do {
        if (pid_fd >= 0) {
            close(pid_fd);
        }
        pid_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (pid_fd < 0) {
            return fail(err, "-pidfile", file);
        }
        if (lock(pid_fd) < 0) {
            errno = errno == EAGAIN || errno == EACCES ? EBUSY : errno;
            return fail(err, "-pidfile", file);
        }
    } while (fstat(pid_fd, &pid_stat) < 0 || !is_there(file));
    pid_file = file;
    if (ftruncate(pid_fd, 0) < 0 || dprintf(pid_fd, "%ld\n", (long)getpid()) < 0) {
        return fail(err, "-pidfile", file);
    }
    return 0;
}

void service_end(void)
{
    if (pid_file && is_there(pid_file)) {
        unlink(pid_file);
    }
}

/* ---- life ---- */

int service_begin(const struct machine_desc *desc, GError **err)
{
    int rc = desc->daemonize ? go_to_background(err) : 0;

    return rc == 0 && desc->pid_file ? take_file(desc->pid_file, err) : rc;
}

int service_ready(GError **err)
{
    if (waits < 0) {
        return 0;
    }
    if (chdir("/") < 0) { /* in the sandbox it may not, and is in an empty directory already */
        errno = 0;
    }
    if (write(waits, "", 1) != 1) {
        return fail(err, "-daemonize:", "whoever started us is gone");
    }
    close(waits);
    close(errors);
    waits = errors = -1;
    return 0;
}

void service_hand_over(struct handover *to)
{
    handover_put_fd(to, "service", "pid-file", pid_fd);
}

void service_take_over(const struct handover *from)
{
    pid_fd = handover_fd(from, "service", "pid-file");
}
