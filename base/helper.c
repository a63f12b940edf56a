/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See helper.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/helper.h>
#include <xendm/turn.h>

char *helper_program(const char *variable, const char *folder, const char *name)
{
    const char *named = g_getenv(variable);
    char *path = named ? g_strdup(named) : g_build_filename(XENDM_LIBEXECDIR, name, NULL);
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);

    if (!named && self && access(path, X_OK) < 0) {
        g_autofree char *dir = g_path_get_dirname(self);
        char *built = g_build_filename(dir, folder, name, NULL);
        if (access(built, X_OK) == 0) {
            g_free(path);
            return built;
        }
        g_free(built);
    }
    return path;
}

void helper_reset_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++) {
        signal(s, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- the start ---- */

/*
 * Between fork and exec: async-signal-safe calls only. A child of a child, so that nobody has to
 * wait for its end.
 */
static G_GNUC_NORETURN void become(int fd, int passed, char *const argv[], char *const envp[])
{
    pid_t pid = fork();

    if (pid != 0) {
        _exit(pid < 0);
    }
    /* First out of the way of each other. */
    if (passed >= 0) {
        passed = fcntl(passed, F_DUPFD, HELPER_FD_PASSED + 1);
        fd = fcntl(fd, F_DUPFD, HELPER_FD_PASSED + 1);
        if (passed < 0 || fd < 0 || dup2(passed, HELPER_FD_PASSED) < 0) {
            _exit(127);
        }
    }
    if (fd == HELPER_FD_SOCKET ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, HELPER_FD_SOCKET) < 0) {
        _exit(127);
    }
    close_range(passed >= 0 ? HELPER_FD_PASSED + 1 : HELPER_FD_PASSED, ~0U, 0);
    setsid();
    helper_reset_signals();
    execve(argv[0], argv, envp);
    _exit(127);
}

int helper_start(char *const argv[], int passed, GError **err)
{
    g_auto(GStrv) envp = g_get_environ();
    int pair[2], status = 0, error;
    pid_t pid;

    if (access(argv[0], X_OK) < 0) {
        error = errno;
        g_set_error(err, XENDM_ERROR, error, "%s: %s", argv[0], g_strerror(error));
        return -error;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error = errno;
        g_set_error(err, XENDM_ERROR, error, "socketpair: %s", g_strerror(error));
        return -error;
    }
    pid = fork();
    if (pid == 0) {
        become(pair[1], passed, argv, envp);
    }
    close(pair[1]);
    if (pid > 0) {
        turn_waits();
        waitpid(pid, &status, 0);
    }
    if (pid < 0 || status != 0) {
        close(pair[0]);
        g_set_error(err, XENDM_ERROR, EAGAIN, "%s cannot be started: %s", argv[0],
                    g_strerror(EAGAIN));
        return -EAGAIN;
    }
    return pair[0];
}
