/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Status pages are read; see page.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/host-time.h>

#include "page.h"

/* A page that is being written is so for microseconds; and it may be so for ever. */
#define TRIES 100
#define TRY_AGAIN_US 1000

static int read_all(int fd, struct status_page *to)
{
    size_t done = 0;

    while (done < sizeof(*to)) {
        ssize_t n = pread(fd, (char *)to + done, sizeof(*to) - done, (off_t)done);

        if (n <= 0) {
            return n < 0 ? -errno : -EINVAL;
        }
        done += (size_t)n;
    }
    return 0;
}

/* The facts of one moment, if there comes one; `before` is from before the copy. */
static int copy(int fd, struct status_page *to)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = 0;
        int rc;

        if (pread(fd, &before, sizeof(before), offsetof(struct status_page, sequence)) !=
            sizeof(before)) {
            return -EINVAL;
        }
        rc = read_all(fd, to);
        if (rc < 0 || (before % 2 == 0 && to->sequence == before)) {
            return rc;
        }
        g_usleep(TRY_AGAIN_US);
    }
    to->length = 0; /* it was left in the middle: there are no facts */
    return 0;
}

static bool is_valid(const struct status_page *raw)
{
    return memcmp(raw->magic, STATUS_MAGIC, sizeof(raw->magic)) == 0 && raw->size == sizeof(*raw) &&
           raw->length < sizeof(raw->facts);
}

static JsonNode *parse(const struct status_page *raw)
{
    g_autofree char *text = g_strndup(raw->facts, raw->length);
    JsonNode *node = g_utf8_validate(text, -1, NULL) && *text ? json_from_string(text, NULL) : NULL;

    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        return node;
    }
    json_node_unref(node);
    return json_node_new(JSON_NODE_OBJECT);
}

struct page *page_read(const char *path, GError **err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct page *page;
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", path,
                    g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    page = g_new0(struct page, 1);
    rc = S_ISREG(st.st_mode) ? copy(fd, &page->raw) : -EINVAL;
    page->served = flock(fd, LOCK_SH | LOCK_NB) < 0;
    page->modified = st.st_mtime;
    page->read_at = host_now_ns();
    page->read_count = recorder_time();
    close(fd);
    if (rc < 0 || !is_valid(&page->raw)) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: %s", path,
                    rc < 0 && rc != -EINVAL ? g_strerror(-rc)
                                            : "not a status page, or one of another version");
        g_free(page);
        return NULL;
    }
    page->raw.name[sizeof(page->raw.name) - 1] = '\0';
    page->raw.version[sizeof(page->raw.version) - 1] = '\0';
    page->raw.turn.source[sizeof(page->raw.turn.source) - 1] = '\0';
    page->facts = parse(&page->raw);
    return page;
}

void page_free(struct page *page)
{
    if (page) {
        json_node_unref(page->facts);
        g_free(page);
    }
}

/* ---- which ---- */

static int by_domid(const void *a, const void *b)
{
    const struct page *const *x = a, *const *y = b;

    return (*x)->raw.domid < (*y)->raw.domid ? -1 : (*x)->raw.domid > (*y)->raw.domid;
}

GPtrArray *pages_read(void)
{
    GPtrArray *pages = g_ptr_array_new_with_free_func((GDestroyNotify)page_free);
    GDir *dir = g_dir_open(status_directory(), 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(status_directory(), name, NULL);
        struct page *page = name[strspn(name, "0123456789")] == '\0' ? page_read(path, NULL) : NULL;

        if (page && (page->served || !page->raw.finished)) {
            g_ptr_array_add(pages, page);
        } else {
            page_free(page);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_ptr_array_sort(pages, by_domid);
    return pages;
}

struct page *page_of_guest(const char *guest)
{
    g_autoptr(GPtrArray) pages = pages_read();
    bool number = *guest && guest[strspn(guest, "0123456789")] == '\0';

    for (guint i = 0; i < pages->len; i++) {
        const struct page *page = g_ptr_array_index(pages, i);
        g_autofree char *domid = g_strdup_printf("%u", page->raw.domid);

        if (strcmp(number ? domid : page->raw.name, guest) == 0) {
            return g_ptr_array_steal_index(pages, i);
        }
    }
    fprintf(stderr, "xendmctl: no xendm serves '%s': %s has no page of it\n", guest,
            status_directory());
    return NULL;
}

/* ---- what is in it ---- */

JsonObject *page_group(const struct page *page, const char *group)
{
    JsonNode *node = json_object_get_member(json_node_get_object(page->facts), group);

    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static JsonNode *value(const struct page *page, const char *group, const char *name)
{
    JsonObject *object = page_group(page, group);

    return object ? json_object_get_member(object, name) : NULL;
}

int64_t page_int(const struct page *page, const char *group, const char *name)
{
    const JsonNode *node = value(page, group, name);

    return json_node_get_boolean(node) ? 1 : json_node_get_int(node);
}

char *page_text(const struct page *page, const char *group, const char *name)
{
    const char *text = json_node_get_string(value(page, group, name));

    return page_clean(text ? text : "");
}

void page_foreach(const struct page *page, const char *kind,
                  void (*fn)(void *opaque, const char *group, const char *id, JsonObject *facts),
                  void *opaque)
{
    g_autoptr(GList) names = json_object_get_members(json_node_get_object(page->facts));
    size_t length = strlen(kind);

    for (const GList *l = names; l; l = l->next) {
        const char *name = l->data;

        if (strncmp(name, kind, length) == 0 && name[length] == ' ' && page_group(page, name)) {
            fn(opaque, name, name + length + 1, page_group(page, name));
        }
    }
}

double page_age(const struct page *page, int64_t since)
{
    return (double)(page->read_at - since) / 1e9;
}

uint64_t page_recorder_first(const struct page *page)
{
    uint64_t end = page->raw.recorder.next;

    return end > RECORDER_SIZE ? end - RECORDER_SIZE : 0;
}

/*
 * Two readings of both clocks are in the page, so that it can be of a daemon that is gone, or of
 * another host: there, times count back from the newest entry.
 */
double page_ago_us(const struct page *page, const struct recorder_entry *e)
{
    const struct recorder *r = &page->raw.recorder;
    uint64_t counted = page->raw.count - r->start_count, now = page->read_count;
    double ns_per_count =
        counted ? (double)(int64_t)(page->raw.when - r->start_ns) / (double)counted : 1;

    if (!page->served && r->next > 0) {
        now = r->entry[(r->next - 1) % RECORDER_SIZE].when;
    }
    return (double)(int64_t)(now - e->when) * ns_per_count / 1000;
}

/* "ports 0x1f0-0x1f7", "function 0x9": see dm/status/topics.c. */
static bool is_at(const char *name, const char *space, uint64_t address)
{
    size_t length = strlen(space);
    char *end;
    uint64_t first, last;

    if (strncmp(name, space, length) != 0 || name[length] != ' ') {
        return false;
    }
    first = g_ascii_strtoull(name + length + 1, &end, 0);
    last = *end == '-' ? g_ascii_strtoull(end + 1, NULL, 0) : first;
    return address >= first && address <= last;
}

char *page_device(const struct page *page, const struct recorder_entry *e)
{
    JsonObject *places = page_group(page, "places");
    g_autoptr(GList) names = places ? json_object_get_members(places) : NULL;
    uint64_t address = e->a;
    const char *space;

    switch (e->kind) {
    case REC_PIO_READ:
    case REC_PIO_WRITE:
        space = "ports";
        break;
    case REC_CFG_READ:
    case REC_CFG_WRITE:
        space = "function";
        address = e->a >> 16;
        break;
    case REC_STRING: /* ports and memory: what has 16 bits is a port */
        space = e->a < 0x10000 ? "ports" : "memory";
        break;
    case REC_MMIO_READ:
    case REC_MMIO_WRITE:
    case REC_BUFFERED:
        space = "memory";
        break;
    default:
        return g_strdup("");
    }
    for (const GList *l = names; l; l = l->next) {
        if (is_at(l->data, space, address)) {
            return page_text(page, "places", l->data);
        }
    }
    return g_strdup("");
}

char *page_clean(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);

    for (char *p = valid; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
    return valid;
}
