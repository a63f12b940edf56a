/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest pages of a device's own: made, moved with its BAR, watched for changes, saved.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include <xendm/devmem.h>
#include <xendm/facts.h>
#include <xendm/guestmem.h>
#include <xendm/log.h>
#include <xendm/machine.h>

#define BAR_FIRST (16ull << 20)
#define BAR_END 0xfc000000ull

#define LOW_END (2ull << 30)
#define HIGH_GAP (4ull << 30)
#define MOVE_STEP 64u /* pages, of which each costs the hypervisor a microsecond or two */

static struct hypervisor *hv_of(const struct devmem *m)
{
    return m->dev->machine->hv;
}

static size_t bytes_of(const struct devmem *m)
{
    return (size_t)m->pages << GUEST_PAGE_SHIFT;
}

static void devmem_tell(struct devmem *m)
{
    if (m->changed) {
        m->changed(m->opaque);
    }
}

/* ---- making ---- */

static void devmem_unmap(struct devmem *m)
{
    if (m->mapped) {
        hv_memory_unmap(hv_of(m), m->ptr, m->pages);
    } else if (m->ptr) {
        munmap(m->ptr, bytes_of(m));
    }
    m->ptr = NULL;
    m->mapped = false;
}

static void taken_drop(struct devmem *m)
{
    if (m->taken) {
        hv_memory_unmap(hv_of(m), m->taken, m->pages);
        m->taken = NULL;
    }
}

/* Memory of ours, so that there is always something to draw from: before a restore. */
static int devmem_stand_in(struct devmem *m, GError **err)
{
    void *p = mmap(NULL, bytes_of(m), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        g_set_error(err, XENDM_ERROR, ENOMEM, "%s: no address space for %zu MiB of memory",
                    m->dev->id, bytes_of(m) >> 20);
        return -ENOMEM;
    }
    m->ptr = p;
    return 0;
}

static uint64_t devmem_first_address(const struct devmem *m)
{
    const struct machine *machine = m->dev->machine;

    if (machine->ram_low_end >= BAR_FIRST && machine->ram_low_end + bytes_of(m) <= LOW_END) {
        return machine->ram_low_end;
    }
    return MAX(machine->ram_high_end, 4ull << 30) + HIGH_GAP;
}

static int devmem_populate(struct devmem *m, GError **err)
{
    uint64_t gfn = devmem_first_address(m) >> GUEST_PAGE_SHIFT;
    int rc = hv_memory_populate(hv_of(m), gfn, m->pages);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "%s: the domain cannot have %zu MiB of video memory: %s",
                    m->dev->id, bytes_of(m) >> 20, g_strerror(-rc));
        return rc;
    }
    m->gfn = gfn;
    m->ptr = hv_memory_map(hv_of(m), gfn, m->pages);
    if (!m->ptr) {
        rc = errno ? -errno : -ENOMEM;
        g_set_error(err, XENDM_ERROR, -rc, "%s: cannot map the video memory: %s", m->dev->id,
                    g_strerror(-rc));
        return rc;
    }
    m->mapped = true;
    return 0;
}

int devmem_create(struct devmem *m, struct device *dev, uint32_t bytes, GError **err)
{
    m->dev = dev;
    m->pages = bytes >> GUEST_PAGE_SHIFT;
    int rc = dev->machine->restored ? devmem_stand_in(m, err) : devmem_populate(m, err);
    if (rc == 0) {
        devmem_tell(m);
    }
    return rc;
}

void devmem_free(struct devmem *m)
{
    if (!m->dev) {
        return;
    }
    devmem_settle(m);
    devmem_dirty_end(m);
    taken_drop(m);
    devmem_unmap(m);
}

/* ---- moving ---- */

/* Their caching and our tracking follow the pages. */
static void devmem_arrived(struct devmem *m, uint64_t gfn)
{
    devmem_dirty_end(m); /* somebody may have looked meanwhile */
    if (m->write_combining) {
        hv_memory_write_combine(hv_of(m), m->gfn, m->pages, false);
    }
    hv_memory_write_combine(hv_of(m), gfn, m->pages, true);
    m->write_combining = true;
    log_debug(LOG_DISPLAY, "%s: video memory moved from gfn 0x%" PRIx64 " to 0x%" PRIx64,
              m->dev->id, m->gfn, gfn);
    m->gfn = gfn;
    devmem_tell(m);
}

/*
 * A guest can have this as often as it likes: it gives back a page of video memory and moves the
 * BAR. What was moved goes back.
 */
static void devmem_stays(struct devmem *m, int rc)
{
    m->stuck++;
    log_guest(LOG_DISPLAY,
              "%s: video memory stays at gfn 0x%" PRIx64 ": cannot move it to 0x%" PRIx64 ": %s",
              m->dev->id, m->gfn, m->move_to, g_strerror(-rc));
    while (m->move_at > 0) {
        m->move_at -= MOVE_STEP;
        hv_memory_relocate(hv_of(m), m->move_to + m->move_at, m->gfn + m->move_at, MOVE_STEP);
        guestmem_invalidate(m->dev->machine->memory);
    }
}

static bool devmem_move_step(void *opaque)
{
    struct devmem *m = opaque;
    uint32_t pages = MIN(m->pages - m->move_at, MOVE_STEP);
    int rc = hv_memory_relocate(hv_of(m), m->gfn + m->move_at, m->move_to + m->move_at, pages);

    /* What was mapped of the old place shows the pages that left, even if only some of them did. */
    guestmem_invalidate(m->dev->machine->memory);
    if (rc < 0) {
        devmem_stays(m, rc);
        return false;
    }
    m->move_at += pages;
    if (m->move_at < m->pages) {
        return true;
    }
    devmem_arrived(m, m->move_to);
    return false;
}

bool devmem_accepts(struct devmem *m, uint64_t address, uint64_t size)
{
    if (address >= BAR_FIRST && address <= BAR_END && size <= BAR_END - address) {
        return true;
    }
    m->refused++;
    log_guest(LOG_DISPLAY, "%s: video memory is not moved to 0x%" PRIx64, m->dev->id, address);
    return false;
}

void devmem_settle(struct devmem *m)
{
    device_work_finish(&m->move);
}

void devmem_move(struct devmem *m, uint64_t address)
{
    devmem_settle(m); /* no access comes between, but a reset of the bus may */
    if (!m->mapped || address >> GUEST_PAGE_SHIFT == m->gfn) {
        return;
    }
    devmem_dirty_end(m);
    devmem_tell(m);
    m->move_to = address >> GUEST_PAGE_SHIFT;
    m->move_at = 0;
    device_work_start(&m->move, m->dev, devmem_move_step, m);
}

/* ---- what changed ---- */

bool devmem_dirty(struct devmem *m, uint32_t first, uint32_t pages, uint64_t *bitmap)
{
    if (m->tracking && (m->track_first != first || m->track_pages != pages)) {
        devmem_dirty_end(m);
    }
    m->tracking = true;
    m->track_first = first;
    m->track_pages = pages;
    return hv_memory_dirty(hv_of(m), m->gfn + first, pages, bitmap) >= 0;
}

void devmem_dirty_end(struct devmem *m)
{
    if (m->tracking) {
        hv_memory_dirty(hv_of(m), m->gfn + m->track_first, 0, NULL);
        m->tracking = false;
    }
}

void devmem_modified(struct devmem *m, uint32_t first, uint32_t pages)
{
    hv_memory_modified(hv_of(m), m->gfn + first, pages);
}

void devmem_describe(const struct devmem *m, struct facts *to)
{
    fact_text(to, "memory", "%zu MiB at 0x%" PRIx64 "%s", bytes_of(m) >> 20,
              m->gfn << GUEST_PAGE_SHIFT, m->mapped ? "" : ", not mapped");
    fact_bool(to, "dirty tracking", m->tracking);
    if (m->refused || m->stuck) {
        fact_int(to, "impossible BAR addresses refused", (int64_t)m->refused);
        fact_int(to, "moves failed", (int64_t)m->stuck);
    }
}

/* ---- saved state ---- */

void devmem_pre_save(struct devmem *m)
{
    m->saved_gfn = m->gfn;
    m->saved_pages = m->pages;
}

/* Without its memory the device would lose what the guest has drawn, and what it draws. */
bool devmem_fits(const struct devmem *saved, const struct devmem *live, GError **err)
{
    struct devmem *m = (struct devmem *)live; /* only `taken` changes, for post_load() */

    if (saved->saved_pages != m->pages) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "video memory has %" PRIu32 " pages here, %" PRIu32 " in the saved state",
                    m->pages, saved->saved_pages);
        return false;
    }
    if (!m->mapped) {
        taken_drop(m);
        m->taken = hv_memory_map(hv_of(m), saved->saved_gfn, m->pages);
        if (!m->taken) {
            g_set_error(err, STATE_ERROR, errno ? errno : ENOMEM,
                        "cannot map the video memory at gfn 0x%" PRIx64 ": %s", saved->saved_gfn,
                        g_strerror(errno ? errno : ENOMEM));
            return false;
        }
    }
    return true;
}

void devmem_post_load(struct devmem *m, uint64_t bar_address)
{
    devmem_dirty_end(m);
    if (m->mapped) { /* loaded into a machine that made its own */
        devmem_move(m, m->saved_gfn << GUEST_PAGE_SHIFT);
        devmem_settle(m);
    } else {
        devmem_unmap(m);
        m->ptr = m->taken;
        m->taken = NULL;
        m->mapped = true;
        m->gfn = m->saved_gfn;
        if (bar_address >> GUEST_PAGE_SHIFT == m->gfn) {
            hv_memory_write_combine(hv_of(m), m->gfn, m->pages, true); /* Xen does not save that */
            m->write_combining = true;
        }
    }
    devmem_tell(m);
}
