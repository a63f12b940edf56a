/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See line.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <xendm/error.h>
#include <xendm/one-fd.h>

#include "line.h"

bool line_say(int line, const char *text)
{
    ssize_t n;

    do {
        n = send(line, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)strlen(text);
}

char *line_hear(int line)
{
    g_autofree char *text = g_malloc(LINE_MAX_BYTES + 1);
    ssize_t n;

    do {
        n = recv(line, text, LINE_MAX_BYTES, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return NULL;
    }
    text[n] = '\0';
    return g_strdup(text);
}

/* Up to format 3's beginnings four bytes of it were read. */
#define WORD "line"
#define WORD_EARLY "line early"

bool line_send_fd(int line, int fd, bool early)
{
    const char *word = early ? WORD_EARLY : WORD;

    return one_fd_send(line, word, strlen(word), fd, MSG_DONTWAIT) == (ssize_t)strlen(word);
}

int line_receive_fd(int line, bool *early, GError **err)
{
    char text[sizeof(WORD_EARLY)];
    int fd;
    ssize_t n = one_fd_receive(line, text, sizeof(text), &fd, 0);

    if (n > 0 && fd >= 0) {
        *early = n == sizeof(WORD_EARLY) - 1 && memcmp(text, WORD_EARLY, (size_t)n) == 0;
        return fd;
    }
    g_set_error(err, XENDM_ERROR, EPROTO, "--update-from: whoever is there does not update");
    return -1;
}
