/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory, as the emulated machine sees it. Implemented by mapcache/ on foreign mappings;
 * tests link their own. Devices do not call this: they use xendm/dma.h, which checks that the
 * device may.
 *
 * There is no function that gives a pointer without taking a length, and none whose pointer
 * outlives its reference.
 * Errors: -EFAULT no memory there (hole, ballooned out), -EINVAL address or length overflow,
 * -ENOMEM/-EAGAIN/-EIO the host cannot.
 */
#ifndef XENDM_GUESTMEM_H
#define XENDM_GUESTMEM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guestmem;

/*
 * Whether an error of guest memory or DMA is the host's failure. All others are the guest's doing.
 */
static inline bool guestmem_host_failed(int error)
{
    return error == -ENOMEM || error == -EAGAIN || error == -EIO;
}

struct guestmem_ref {
    void *ptr;
    size_t len; /* bytes usable at ptr */
    uint64_t gpa;
    bool write;
    void *cookie; /* the implementation's */
};

/*
 * A pinned view of guest memory from `gpa`, at least 1 and at most `len` bytes (a view ends where
 * contiguous mapping
 * ends: call again for the rest). It stays valid, whatever is invalidated meanwhile, until
 * guestmem_put().
 */
int guestmem_get(struct guestmem *gm, uint64_t gpa, size_t len, bool write,
                 struct guestmem_ref *ref);

/*
 * Ends the view. `written`: how many bytes from its start were changed; they are marked dirty for
 * migration.
 */
void guestmem_put(struct guestmem *gm, struct guestmem_ref *ref, size_t written);

/*
 * What will be asked for next, page by page in this order: scattered pages that are not mapped, for
 * which others would have to go, are mapped by one call, and stay so until the next such hint. A
 * hint is no more than that: what is wrong about it is found by guestmem_get(). It pays only when
 * guestmem_is_full(), and does nothing otherwise.
 */
#define GUESTMEM_EXPECT_MAX 64u
bool guestmem_is_full(const struct guestmem *gm);
void guestmem_expect(struct guestmem *gm, const uint64_t *gfns, unsigned count);

/* Copies. On error some of the bytes may have been copied. */
int guestmem_read(struct guestmem *gm, uint64_t gpa, void *buf, size_t len);
int guestmem_write(struct guestmem *gm, uint64_t gpa, const void *buf, size_t len);

/* Marks [gpa, gpa + len), which lies inside a view for writing, as dirty before the view ends. */
void guestmem_written(struct guestmem *gm, uint64_t gpa, size_t len);

/*
 * What is at some guest addresses is not what was there before: Xen's INVALIDATE request, and
 * whoever moves pages himself (video memory). Drops every mapping that no reference pins; pinned
 * ones are dropped when released, and are not found again. The listener is told first: whoever
 * keeps views for long ends them there. One listener, of the machine; NULL: none.
 */
void guestmem_invalidate(struct guestmem *gm);
void guestmem_set_listener(struct guestmem *gm, void (*invalidated)(void *opaque), void *opaque);

#endif
