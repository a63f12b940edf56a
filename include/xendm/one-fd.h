/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A message with one descriptor, between processes of ours (SCM_RIGHTS, unix(7)). Needs the C
 * library alone: the small programs beside the daemon have it, too.
 */
#ifndef XENDM_ONE_FD_H
#define XENDM_ONE_FD_H

#include <stddef.h>
#include <sys/types.h>

/* `fd` -1: without. `flags` as sendmsg()'s; there is no SIGPIPE. Bytes, or -1 with errno. */
ssize_t one_fd_send(int socket, const void *data, size_t size, int fd, int flags);

/*
 * Bytes, 0 at the end, or -1 with errno. `*fd`: what came, close-on-exec, or -1. Whoever sends more
 * than one leaves none here.
 */
ssize_t one_fd_receive(int socket, void *data, size_t size, int *fd, int flags);

#endif
