/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are handed to the guest as they are; see xendm/blob.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/backend-classes.h>
#include <xendm/blob.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/firmware.h>
#include <xendm/handover.h>
#include <xendm/tape.h>

struct blob {
    struct backend backend;
    char *file;
    bool firmware;
    int fd;
    uint64_t size;
};

uint64_t blob_size(const struct blob *b)
{
    return b->size;
}

const char *blob_name(const struct blob *b)
{
    return b->file;
}

/* What `done` bytes have filled is taken off. */
static unsigned advance(struct iovec *iov, unsigned count, size_t done)
{
    unsigned full = 0;

    while (full < count && done >= iov[full].iov_len) {
        done -= iov[full++].iov_len;
    }
    if (full > 0) {
        memmove(iov, iov + full, (count - full) * sizeof(*iov));
    }
    if (full < count) {
        iov[0].iov_base = (uint8_t *)iov[0].iov_base + done;
        iov[0].iov_len -= done;
    }
    return count - full;
}

static int read_iov(const struct blob *b, uint64_t at, const struct iovec *iov, unsigned count)
{
    struct iovec left[64];

    while (count > 0) {
        unsigned n = MIN(count, (unsigned)G_N_ELEMENTS(left));

        memcpy(left, iov, n * sizeof(*iov));
        iov += n;
        count -= n;
        for (n = advance(left, n, 0); n > 0;) {
            ssize_t got = preadv(b->fd, left, (int)n, (off_t)at);

            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                return got < 0 ? -errno : -EIO;
            }
            at += (uint64_t)got;
            n = advance(left, n, (size_t)got);
        }
    }
    return 0;
}

/* The pieces are guest memory: what is in them does not go through the machine (xendm/tape.h). */
int blob_read_iov(const struct blob *b, uint64_t at, const struct iovec *iov, unsigned count)
{
    int rc = tape_plays() ? 0 : read_iov(b, at, iov, count);
    uint64_t n[] = {at, (uint64_t)-rc};

    if (tape_on() && tape_inside()) {
        tape_fact(TAPE_FILE_COPIED, b->backend.id, n, NULL, 0);
    }
    return -(int)MIN(n[1], TAPE_ERRNO_MAX);
}

int blob_read(const struct blob *b, uint64_t at, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    int rc = tape_plays() && tape_inside() ? 0 : read_iov(b, at, &iov, 1);
    uint64_t n[] = {at, len, (uint64_t)-rc};

    if (tape_on() && tape_inside()) {
        tape_fact(TAPE_FILE_READ, b->backend.id, n, buf, rc == 0 ? len : 0);
    }
    return -(int)MIN(n[2], TAPE_ERRNO_MAX);
}

static int open_file(struct blob *b, GError **err)
{
    g_autofree char *path =
        b->firmware ? firmware_find(firmware_dirs(), b->file) : g_strdup(b->file);

    /* Of a FIFO nobody waits for the other end. */
    b->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (b->fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "cannot open '%s': %s", path, g_strerror(errno));
        return -1;
    }
    return 0;
}

static int check_file(struct blob *b, GError **err)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0) {
        g_set_error(err, XENDM_ERROR, errno, "'%s': %s", b->file, g_strerror(errno));
        return -1;
    }
    if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "'%s' is %s", b->file,
                    S_ISREG(st.st_mode) ? "empty" : "no file");
        return -1;
    }
    b->size = (uint64_t)st.st_size;
    return 0;
}

static int file_open(struct backend *backend, const struct handover *from, GError **err)
{
    struct blob *b = blob_of(backend);
    g_autofree char *group = from ? backend_group(backend) : NULL;

    b->fd = from ? handover_fd(from, group, "fd") : -1;
    if (b->fd < 0 && open_file(b, err) < 0) {
        return -1;
    }
    if (check_file(b, err) < 0) {
        close(b->fd);
        return -1;
    }
    if (from) { /* what the guest was told */
        b->size = (uint64_t)handover_int(from, group, "size", (int64_t)b->size);
    } else {
        (void)posix_fadvise(b->fd, 0, 0, POSIX_FADV_WILLNEED);
    }
    return 0;
}

static void file_close(struct backend *backend)
{
    close(blob_of(backend)->fd);
}

static void file_hand_over(const struct backend *backend, struct handover *to)
{
    const struct blob *b = (const struct blob *)backend;
    g_autofree char *group = backend_group(backend);

    handover_put_fd(to, group, "fd", b->fd);
    handover_put_int(to, group, "size", (int64_t)b->size);
}

static void file_describe(const struct backend *backend, struct facts *to)
{
    const struct blob *b = (const struct blob *)backend;

    fact_text(to, "file", "%s", b->file);
    fact_int(to, "bytes", (int64_t)b->size);
}

static const struct property file_properties[] = {
    {.name = "file",
     .type = PROP_STRING,
     .offset = offsetof(struct blob, file),
     .required = true,
     .help = "its name"},
    {.name = "firmware",
     .type = PROP_BOOL,
     .offset = offsetof(struct blob, firmware),
     .def = "off",
     .help = "a name without path is in one of the directories of firmware"},
    {.name = NULL},
};

const struct backend_class blob_file_class = {
    .kind = BACKEND_BLOB,
    .driver = "file",
    .help = "a file that the guest is given: kernel, initial RAM disk, boot ROM",
    .size = sizeof(struct blob),
    .properties = file_properties,
    .open = file_open,
    .close = file_close,
    .hand_over = file_hand_over,
    .describe = file_describe,
};
