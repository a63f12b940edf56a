/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manifest of a live update; see handover.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/error.h>

#include <xendm/handover.h>

#define MANIFEST_MAX (16 << 20) /* QMP clients' buffers are the largest part of one */
#define FDS_MAX 1024u
#define MAIN_GROUP "manifest"
#define FD_PREFIX "fd-" /* keys of descriptors begin so */

struct handover {
    GKeyFile *file;
    int fds[FDS_MAX];
    unsigned nfds;
};

struct handover *handover_new(void)
{
    struct handover *h = g_new0(struct handover, 1);

    h->file = g_key_file_new();
    g_key_file_set_integer(h->file, MAIN_GROUP, "format", HANDOVER_FORMAT);
    return h;
}

void handover_free(struct handover *h)
{
    if (h) {
        g_key_file_free(h->file);
        g_free(h);
    }
}

static bool keep_fd(struct handover *h, int fd)
{
    if (h->nfds == FDS_MAX) {
        return false;
    }
    h->fds[h->nfds++] = fd;
    return true;
}

/* ---- reading and writing ---- */

static char *read_text(int fd, gsize *len, GError **err)
{
    struct stat st;
    g_autofree char *text = NULL;
    gsize done = 0;

    if (fstat(fd, &st) < 0) {
        g_set_error(err, XENDM_ERROR, errno, "update manifest: descriptor %d: %s", fd,
                    g_strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > MANIFEST_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "update manifest: descriptor %d is no file of 1 to %d bytes", fd, MANIFEST_MAX);
        return NULL;
    }
    text = g_malloc((gsize)st.st_size);
    while (done < (gsize)st.st_size) {
        ssize_t n = pread(fd, text + done, (gsize)st.st_size - done, (off_t)done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            g_set_error(err, XENDM_ERROR, n < 0 ? errno : EIO, "update manifest: cannot read it");
            return NULL;
        }
        done += (gsize)n;
    }
    *len = done;
    return g_steal_pointer(&text);
}

/* Each must be open, or the one who wrote the manifest was not the one who started us. */
static bool find_fds(struct handover *h, GError **err)
{
    g_auto(GStrv) groups = g_key_file_get_groups(h->file, NULL);

    for (char **g = groups; *g; g++) {
        g_auto(GStrv) keys = g_key_file_get_keys(h->file, *g, NULL, NULL);

        for (char **k = keys; k && *k; k++) {
            int fd;

            if (!g_str_has_prefix(*k, FD_PREFIX)) {
                continue;
            }
            fd = g_key_file_get_integer(h->file, *g, *k, NULL);
            if (fd <= STDERR_FILENO || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !keep_fd(h, fd)) {
                g_set_error(err, XENDM_ERROR, EBADF,
                            "update manifest: %s of %s: descriptor %d was not handed on", *k, *g,
                            fd);
                return false;
            }
        }
    }
    return true;
}

struct handover *handover_read(int fd, GError **err)
{
    gsize len = 0;
    g_autofree char *text = read_text(fd, &len, err);
    struct handover *h;
    GError *error = NULL;
    int format;

    if (!text) {
        return NULL;
    }
    h = g_new0(struct handover, 1);
    h->file = g_key_file_new();
    if (!g_key_file_load_from_data(h->file, text, len, G_KEY_FILE_NONE, &error)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: %s", error->message);
        g_error_free(error);
        handover_free(h);
        return NULL;
    }
    format = g_key_file_get_integer(h->file, MAIN_GROUP, "format", NULL);
    if (format != HANDOVER_FORMAT) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: format %d is not known, only %d",
                    format, HANDOVER_FORMAT);
        handover_free(h);
        return NULL;
    }
    if (!find_fds(h, err)) {
        handover_free(h);
        return NULL;
    }
    return h;
}

int handover_write(const struct handover *h, GError **err)
{
    gsize len = 0, done = 0;
    g_autofree char *text = g_key_file_to_data(h->file, &len, NULL);
    int fd = memfd_create("xendm-update", MFD_CLOEXEC);

    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, text + done, len - done);

        if (n < 0 && errno != EINTR) {
            close(fd);
            fd = -1;
        }
        done += n > 0 ? (gsize)n : 0;
    }
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "update manifest: cannot write it: %s",
                    g_strerror(errno));
    }
    return fd;
}

/* ---- values ---- */

void handover_put_fd(struct handover *h, const char *group, const char *key, int fd)
{
    g_autofree char *name = g_strconcat(FD_PREFIX, key, NULL);

    /* The reader refuses what is not named, so a full table is an update refused, no lost file. */
    if (fd >= 0) {
        g_key_file_set_integer(h->file, group, name, keep_fd(h, fd) ? fd : -1);
    }
}

void handover_put_int(struct handover *h, const char *group, const char *key, int64_t value)
{
    g_key_file_set_int64(h->file, group, key, value);
}

void handover_put_bytes(struct handover *h, const char *group, const char *key, const void *data,
                        size_t len)
{
    g_autofree char *text = len ? g_base64_encode(data, len) : g_strdup("");

    g_key_file_set_value(h->file, group, key, text);
}

void handover_put_text(struct handover *h, const char *group, const char *key, const char *text)
{
    if (text) {
        handover_put_bytes(h, group, key, text, strlen(text));
    }
}

void handover_remove(struct handover *h, const char *group, const char *key)
{
    g_key_file_remove_key(h->file, group, key, NULL);
}

bool handover_has(const struct handover *h, const char *group)
{
    return g_key_file_has_group(h->file, group);
}

int handover_fd(const struct handover *h, const char *group, const char *key)
{
    g_autofree char *name = g_strconcat(FD_PREFIX, key, NULL);

    return g_key_file_has_key(h->file, group, name, NULL)
               ? g_key_file_get_integer(h->file, group, name, NULL)
               : -1;
}

int64_t handover_int(const struct handover *h, const char *group, const char *key, int64_t def)
{
    GError *error = NULL;
    int64_t value = g_key_file_get_int64(h->file, group, key, &error);

    if (error) {
        g_error_free(error);
        return def;
    }
    return value;
}

uint8_t *handover_bytes(const struct handover *h, const char *group, const char *key, size_t *len)
{
    g_autofree char *text = g_key_file_get_value(h->file, group, key, NULL);
    g_autofree guchar *data = NULL;
    uint8_t *copy;
    gsize size = 0;

    if (!text) {
        return NULL;
    }
    data = g_base64_decode(text, &size);
    copy = g_malloc(size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    if (len) {
        *len = size;
    }
    return copy;
}

char *handover_text(const struct handover *h, const char *group, const char *key)
{
    return (char *)handover_bytes(h, group, key, NULL);
}

void handover_set_inheritable(const struct handover *h, bool on)
{
    for (unsigned i = 0; i < h->nfds; i++) {
        fcntl(h->fds[i], F_SETFD, on ? 0 : FD_CLOEXEC);
    }
}
