/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manifest of a live update; see handover.h. On the socket it is a few packets: the first
 * brings a memory file with the text and the number of descriptors, each as many of these as the
 * kernel lets pass at once (253).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/error.h>

#include <xendm/handover.h>

#define MANIFEST_MAX (16 << 20) /* QMP clients' buffers are the largest part of one */
#define FDS_MAX 1024u
#define FDS_PER_PACKET 250u
#define MAIN_GROUP "manifest"
#define FD_PREFIX "fd-" /* keys of descriptors begin so; the value is their place in the list */

struct handover {
    GKeyFile *file;
    int fds[FDS_MAX];
    unsigned nfds;
    bool *taken; /* by place: the descriptor is somebody's. NULL: it was not received */
};

struct packet {
    char word[4];      /* "XUH2" */
    uint32_t fds_left; /* in this one and those that follow, without the text's */
};
static const char packet_word[4] = "XUH2";

struct handover *handover_new(void)
{
    struct handover *h = g_new0(struct handover, 1);

    h->file = g_key_file_new();
    g_key_file_set_integer(h->file, MAIN_GROUP, "format", HANDOVER_FORMAT);
    return h;
}

void handover_free(struct handover *h)
{
    if (!h) {
        return;
    }
    for (unsigned i = 0; h->taken && i < h->nfds; i++) {
        if (!h->taken[i]) {
            close(h->fds[i]);
        }
    }
    g_clear_pointer(&h->file, g_key_file_free);
    g_free(h->taken);
    g_free(h);
}

/* ---- sending ---- */

static int write_text(const struct handover *h, GError **err)
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

static int send_packet(int socket, const int *fds, unsigned nfds, uint32_t left)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * (FDS_PER_PACKET + 1))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int) * nfds),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct packet packet = {.fds_left = left};
    struct iovec iov = {.iov_base = &packet, .iov_len = sizeof(packet)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(sizeof(int) * nfds)};

    memcpy(packet.word, packet_word, sizeof(packet.word));
    memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * nfds);
    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(packet) ? 0 : -1;
}

int handover_send(const struct handover *h, int socket, GError **err)
{
    int fds[FDS_PER_PACKET + 1], text_fd = write_text(h, err), rc = 0;
    unsigned done = 0, extra = 1;

    if (text_fd < 0) {
        return -1;
    }
    fds[0] = text_fd;
    do {
        unsigned n = MIN(h->nfds - done, FDS_PER_PACKET);

        memcpy(fds + extra, h->fds + done, n * sizeof(fds[0]));
        rc = send_packet(socket, fds, n + extra, h->nfds - done);
        done += n;
        extra = 0;
    } while (rc == 0 && done < h->nfds);
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, errno, "update manifest: cannot send it: %s",
                    g_strerror(errno));
    }
    close(text_fd);
    return rc;
}

/* ---- receiving ---- */

static char *read_text(int fd, gsize *len, GError **err)
{
    struct stat st;
    g_autofree char *text = NULL;
    gsize done = 0;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
        st.st_size > MANIFEST_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: it is no file of 1 to %d bytes",
                    MANIFEST_MAX);
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

static void keep_received(struct handover *h, const struct msghdr *msg, int *text_fd)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (text_fd && *text_fd < 0) {
                *text_fd = fd;
            } else if (h->nfds < FDS_MAX) {
                h->fds[h->nfds++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* How many descriptors are still to come, this packet's included; -1 with err. */
static int64_t receive_packet(struct handover *h, int socket, int *text_fd, GError **err)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * (FDS_PER_PACKET + 1))];
    } control;
    struct packet packet;
    struct iovec iov = {.iov_base = &packet, .iov_len = sizeof(packet)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n;

    do {
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        g_set_error(err, XENDM_ERROR, n < 0 ? errno : EPIPE, "update manifest: %s",
                    n < 0 ? g_strerror(errno) : "nobody is there to send it");
        return -1;
    }
    keep_received(h, &msg, text_fd);
    if (n != (ssize_t)sizeof(packet) || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) ||
        memcmp(packet.word, packet_word, sizeof(packet.word)) != 0 || packet.fds_left > FDS_MAX) {
        g_set_error(err, XENDM_ERROR, EPROTO, "update manifest: a packet that is none");
        return -1;
    }
    return packet.fds_left;
}

static bool receive_all(struct handover *h, int socket, int *text_fd, GError **err)
{
    int64_t left = receive_packet(h, socket, text_fd, err);
    int64_t total = left;

    while (left > 0 && h->nfds < total) {
        unsigned before = h->nfds;

        left = receive_packet(h, socket, NULL, err);
        if (left >= 0 && (left != total - before || h->nfds == before)) {
            g_set_error(err, XENDM_ERROR, EPROTO, "update manifest: descriptors are missing");
            return false;
        }
    }
    return left >= 0;
}

/* A descriptor that is named and did not come must not pass for a drive that is empty. */
static bool check_fds(const struct handover *h, GError **err)
{
    g_auto(GStrv) groups = g_key_file_get_groups(h->file, NULL);

    for (char **g = groups; *g; g++) {
        g_auto(GStrv) keys = g_key_file_get_keys(h->file, *g, NULL, NULL);

        for (char **k = keys; k && *k; k++) {
            GError *error = NULL;
            int place = 0;

            if (g_str_has_prefix(*k, FD_PREFIX)) {
                place = g_key_file_get_integer(h->file, *g, *k, &error);
                if (error || place < 0 || (unsigned)place >= h->nfds) {
                    g_clear_error(&error);
                    g_set_error(err, XENDM_ERROR, EBADF,
                                "update manifest: %s of %s: descriptor %d was not handed on", *k,
                                *g, place);
                    return false;
                }
            }
        }
    }
    return true;
}

static bool parse_text(struct handover *h, int text_fd, GError **err)
{
    gsize len = 0;
    g_autofree char *text = read_text(text_fd, &len, err);
    GError *error = NULL;
    int format;

    if (!text) {
        return false;
    }
    if (!g_key_file_load_from_data(h->file, text, len, G_KEY_FILE_NONE, &error)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: %s", error->message);
        g_error_free(error);
        return false;
    }
    format = g_key_file_get_integer(h->file, MAIN_GROUP, "format", NULL);
    if (format != HANDOVER_FORMAT) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: format %d is not known, only %d",
                    format, HANDOVER_FORMAT);
        return false;
    }
    return check_fds(h, err);
}

struct handover *handover_receive(int socket, GError **err)
{
    struct handover *h = g_new0(struct handover, 1);
    int text_fd = -1;
    bool good;

    h->file = g_key_file_new();
    h->taken = g_new0(bool, FDS_MAX);
    good = receive_all(h, socket, &text_fd, err) && parse_text(h, text_fd, err);
    if (text_fd >= 0) {
        close(text_fd);
    }
    if (!good) {
        handover_free(h);
        return NULL;
    }
    return h;
}

/* ---- values ---- */

void handover_put_fd(struct handover *h, const char *group, const char *key, int fd)
{
    g_autofree char *name = g_strconcat(FD_PREFIX, key, NULL);

    if (fd < 0) {
        return;
    }
    /* A full list is an update refused, no lost file: the reader looks whether all are there. */
    g_key_file_set_integer(h->file, group, name, (int)h->nfds);
    if (h->nfds < FDS_MAX) {
        h->fds[h->nfds++] = fd;
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

static bool begins_with_any(const char *text, const char *const *prefixes)
{
    for (; *prefixes; prefixes++) {
        if (g_str_has_prefix(text, *prefixes)) {
            return true;
        }
    }
    return false;
}

static void digest_fd(GString *text, const struct handover *h, int place)
{
    struct stat st;

    if (place >= 0 && (unsigned)place < h->nfds && fstat(h->fds[place], &st) == 0) {
        g_string_append_printf(text, "%d %" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "\n",
                               h->fds[place], (guint64)st.st_dev, (guint64)st.st_ino);
    }
}

char *handover_digest(const struct handover *h, const char *const *but)
{
    g_auto(GStrv) groups = g_key_file_get_groups(h->file, NULL);
    GString *text = g_string_new(NULL);

    for (char **g = groups; *g; g++) {
        g_auto(GStrv) keys =
            begins_with_any(*g, but) ? NULL : g_key_file_get_keys(h->file, *g, NULL, NULL);

        for (char **k = keys; k && *k; k++) {
            g_autofree char *value = g_key_file_get_value(h->file, *g, *k, NULL);

            g_string_append_printf(text, "[%s] %s=", *g, *k);
            if (g_str_has_prefix(*k, FD_PREFIX)) {
                digest_fd(text, h, g_key_file_get_integer(h->file, *g, *k, NULL));
            } else {
                g_string_append_printf(text, "%s\n", value);
            }
        }
    }
    return g_string_free(text, FALSE);
}

bool handover_has(const struct handover *h, const char *group)
{
    return g_key_file_has_group(h->file, group);
}

int handover_fd(const struct handover *h, const char *group, const char *key)
{
    g_autofree char *name = g_strconcat(FD_PREFIX, key, NULL);
    int place;

    if (!g_key_file_has_key(h->file, group, name, NULL)) {
        return -1;
    }
    place = g_key_file_get_integer(h->file, group, name, NULL);
    if (place < 0 || (unsigned)place >= h->nfds) {
        return -1;
    }
    if (h->taken) {
        h->taken[place] = true;
    }
    return h->fds[place];
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
