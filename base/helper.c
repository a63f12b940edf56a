/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See helper.h. */
#include <signal.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/helper.h>

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
