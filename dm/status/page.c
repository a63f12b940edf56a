/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The status page is made, kept up to date and left; see status.h, xendm/status.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

#include <config.h>

#include <xendm/clock.h>
#include <xendm/facts.h>
#include <xendm/host-time.h>
#include <xendm/log.h>
#include <xendm/status.h>
#include <xendm/turn.h>

#include "status.h"

/* A busy daemon writes every quarter of a second, and one that falls asleep once more. */
#define BUSY_NS (250 * NS_PER_MS)
#define ASLEEP_NS (1000 * NS_PER_MS)

/* A page of a daemon that did not say that it ended is kept for whoever wants to know why. */
#define KEEP_SECONDS (24 * 3600)

struct status {
    int fd;
    struct status_page *page;
    int64_t written; /* 0: never */
    bool overflow;   /* said */
    bool adopted;    /* somebody else's until we serve */
    void (*collect)(void *opaque, struct facts *to);
    void *opaque;
};

/* ---- pages of others ---- */

/* Of a guest that is gone, whose page nobody has a use for. */
static bool is_left_over(int fd)
{
    struct stat st;
    uint32_t finished = 1;

    if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct status_page) ||
        flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return false;
    }
    if (pread(fd, &finished, sizeof(finished), offsetof(struct status_page, finished)) ==
            sizeof(finished) &&
        finished) {
        return true;
    }
    return time(NULL) - st.st_mtime > KEEP_SECONDS;
}

static void remove_left_over(int dir)
{
    GDir *names = g_dir_open(status_directory(), 0, NULL);
    const char *name;

    while (names && (name = g_dir_read_name(names))) {
        bool number = strspn(name, "0123456789") == strlen(name);
        int fd = number ? openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;

        if (fd >= 0) {
            if (is_left_over(fd)) {
                unlinkat(dir, name, 0);
            }
            close(fd);
        }
    }
    if (names) {
        g_dir_close(names);
    }
}

/* ---- ours ---- */

static struct status *map(int fd)
{
    struct status *s;
    void *p = mmap(NULL, sizeof(struct status_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        log_warning(LOG_DM, "no status page: cannot map it: %s", g_strerror(errno));
        close(fd);
        return NULL;
    }
    s = g_new0(struct status, 1);
    s->fd = fd;
    s->page = p;
    return s;
}

/* A page of its own, whatever had the name. Its space is there, so that no write finds none. */
static int make(int dir, const char *name)
{
    int fd, rc;

    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT) {
        return -1;
    }
    fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -1;
    }
    rc = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno
                                          : posix_fallocate(fd, 0, sizeof(struct status_page));
    if (rc) {
        unlinkat(dir, name, 0);
        close(fd);
        errno = rc;
        return -1;
    }
    return fd;
}

static int open_directory(void)
{
    if (mkdir(status_directory(), 0755) < 0 && errno != EEXIST) {
        return -1;
    }
    return open(status_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

struct status *status_open(unsigned domid, const char *name)
{
    int dir = open_directory(), fd = -1;
    struct status *s;
    char file[16];

    if (dir >= 0) {
        remove_left_over(dir);
        snprintf(file, sizeof(file), "%u", domid);
        fd = make(dir, file);
    }
    if (fd < 0) {
        log_info(LOG_DM, "no status page in %s: %s", status_directory(), g_strerror(errno));
    }
    if (dir >= 0) {
        close(dir);
    }
    s = fd >= 0 ? map(fd) : NULL;
    if (s) {
        s->page->size = sizeof(*s->page);
        s->page->domid = domid;
        g_strlcpy(s->page->name, name ? name : "", sizeof(s->page->name));
    }
    return s;
}

struct status *status_adopt(int fd)
{
    struct status *s;
    struct stat st;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct status_page)) {
        log_info(LOG_DM, "no status page: the one of the program before has another layout");
        close(fd);
        return NULL;
    }
    s = map(fd);
    if (s) {
        s->adopted = true;
    }
    return s;
}

int status_fd(const struct status *status)
{
    return status ? status->fd : -1;
}

void status_serve(struct status *s, void (*collect)(void *opaque, struct facts *to), void *opaque)
{
    g_autofree char *file = NULL;
    struct status_page *page;

    if (!s) {
        return;
    }
    page = s->page;
    file = g_strdup_printf("%s/%u", status_directory(), page->domid);
    s->collect = collect;
    s->opaque = opaque;
    page->pid = getpid();
    page->since = (uint64_t)host_clock_ns(CLOCK_REALTIME);
    g_strlcpy(page->version, VERSION, sizeof(page->version));
    recorder_use(&page->recorder, file);
    turn_publish(&page->turn);
    memcpy(page->magic, STATUS_MAGIC, sizeof(page->magic));
}

static void write_facts(struct status *s, int64_t now)
{
    struct facts *facts = facts_new();
    struct status_page *page = s->page;
    g_autofree char *json = NULL;
    size_t length;

    s->collect(s->opaque, facts);
    json = facts_to_json(facts);
    facts_free(facts);
    length = strlen(json);
    if (length >= sizeof(page->facts)) {
        if (!s->overflow) {
            log_warning(LOG_DM, "%zu bytes of facts do not fit into the status page", length);
        }
        s->overflow = true;
        length = 0;
    }
    __atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_SEQ_CST);
    memcpy(page->facts, json, length);
    page->length = (uint32_t)length;
    page->when = (uint64_t)now;
    page->count = recorder_time();
    __atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_SEQ_CST);
}

int status_refresh(struct status *s)
{
    int64_t now, age;

    if (!s || !s->collect) {
        return -1;
    }
    now = host_now_ns();
    age = now - s->written;
    if (s->written && age < BUSY_NS) {
        return (int)((ASLEEP_NS - age) / NS_PER_MS) + 1;
    }
    turn_of("status page");
    s->written = now;
    write_facts(s, now);
    return -1;
}

void status_close(struct status *s, bool finished)
{
    if (!s) {
        return;
    }
    if (s->collect) {
        recorder_use(NULL, NULL);
        turn_publish(NULL);
        s->page->finished = finished;
    } else if (!s->adopted) {
        s->page->finished = true; /* it never began; whoever started us was told why */
    }
    munmap(s->page, sizeof(*s->page));
    close(s->fd);
    g_free(s);
}
