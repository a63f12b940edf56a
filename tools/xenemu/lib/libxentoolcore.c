/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxentoolcore.so.1: the list of active handles. The real libxenstore registers here too, so
 * xentoolcore_restrict_all() behaves as on Xen: some handles are restricted, some become /dev/null.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "client.h"

int xentoolcore_restrict_all(uint16_t domid);

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct xe_active_handle *list_head;

void xentoolcore__register_active_handle(struct xe_active_handle *ah)
{
    pthread_mutex_lock(&list_lock);
    ah->entry.le_next = list_head;
    if (list_head)
        list_head->entry.le_prev = &ah->entry.le_next;
    list_head = ah;
    ah->entry.le_prev = &list_head;
    pthread_mutex_unlock(&list_lock);
}

void xentoolcore__deregister_active_handle(struct xe_active_handle *ah)
{
    pthread_mutex_lock(&list_lock);
    if (ah->entry.le_next)
        ah->entry.le_next->entry.le_prev = ah->entry.le_prev;
    *ah->entry.le_prev = ah->entry.le_next;
    pthread_mutex_unlock(&list_lock);
}

int xentoolcore_restrict_all(uint16_t domid)
{
    struct xe_active_handle *ah;
    int r = 0;

    pthread_mutex_lock(&list_lock);
    for (ah = list_head; ah && !r; ah = ah->entry.le_next)
        r = ah->restrict_callback(ah, domid);
    pthread_mutex_unlock(&list_lock);
    return r;
}

int xentoolcore__restrict_by_dup2_null(int fd)
{
    int null_fd, saved, r;

    if (fd < 0)
        return 0;
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0)
        return -1;
    r = dup3(null_fd, fd, O_CLOEXEC);
    saved = errno;
    close(null_fd);
    errno = saved;
    return r < 0 ? -1 : 0;
}
