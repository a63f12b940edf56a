/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA: how a device reaches guest memory. Every function takes a length. Refused with an error,
 * never fatal:
 *   -EPERM   the device may not (PCI bus master off)
 *   -ELOOP   the address belongs to a device's registers
 *   -EFAULT  no memory there
 *   -EINVAL  address + length overflows
 * and the device then does what its chip does on a master abort. A guest structure is fetched once
 * into a local; nothing in a mapped view may be read twice. Written pages are marked dirty for
 * migration.
 */
#ifndef XENDM_DMA_H
#define XENDM_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xendm/guestmem.h>

struct device;

enum dma_direction {
    DMA_TO_DEVICE,   /* the device reads guest memory */
    DMA_FROM_DEVICE, /* the device writes guest memory */
};

int dma_read(struct device *dev, uint64_t gpa, void *buf, size_t len);
int dma_write(struct device *dev, uint64_t gpa, const void *buf, size_t len);
/*
 * The same for who knows what it is, which is what becomes of it in a recording that is scrubbed:
 * payload goes. Of dma_read() what is longer than descriptors are is taken for payload.
 */
enum dma_content {
    DMA_ANYTHING,
    DMA_STRUCTURE,
    DMA_HEADERS, /* a frame from its beginning on: its headers are structure */
    DMA_PAYLOAD, /* what a user stores, sends or types */
};
int dma_read_content(struct device *dev, uint64_t gpa, void *buf, size_t len,
                     enum dma_content what);

/*
 * A list of pieces of guest memory, as PRDs, PRPs, SGLs, TRBs and virtio descriptors name them:
 * built piece by piece, then used as an iovec or copied from and to. Made once, used for each
 * request.
 *
 *   begin → add* → (iov | put | get)* → end
 *
 * A piece is checked and mapped when it is added, and stays mapped until the end, whatever becomes
 * of the address meanwhile. The memory is the guest's, who writes it while we look: nothing in it
 * may be read twice. dma_list_end() is also for lists that were not used, and harmless for empty
 * ones.
 */
struct dma_list;
struct dma_list *dma_list_new(struct device *dev, unsigned pieces); /* views it can hold */
void dma_list_free(struct dma_list *l);                             /* NULL is allowed; ends it */
void dma_list_begin(struct dma_list *l, enum dma_direction direction);
/*
 * Adds [gpa, gpa + len), len > 0, or the beginning of it: returns how many bytes were taken, 0 when
 * the list is full, or an error of the head of this file with the list as it was before.
 */
int64_t dma_list_add(struct dma_list *l, uint64_t gpa, size_t len);
size_t dma_list_bytes(const struct dma_list *l);
/*
 * What the next pieces will be, by the guest's table that names them: `entries` entries of `size`
 * bytes, up to the first of which `parse` says, by false, that it is the last. For tables that are
 * walked piece by piece: where many pages of guest memory would have to be mapped, each for another
 * that is not any more, they are mapped together (guestmem_expect()). Only a hint, which is neither
 * believed nor counted nor recorded; what is in the table is read again by who walks it.
 */
#define DMA_FORESEE_MAX 64u       /* entries */
#define DMA_FORESEE_ENTRY_MAX 16u /* bytes */
typedef bool (*dma_entry)(const uint8_t *entry, uint64_t *gpa, uint64_t *len);
void dma_foresee(struct device *dev, uint64_t table, unsigned entries, unsigned size,
                 dma_entry parse);
/* The same for a table that was fetched already. */
void dma_foresee_fetched(struct device *dev, const uint8_t *table, unsigned entries, unsigned size,
                         dma_entry parse);
/*
 * `len` bytes from `skip` on, or as many as there are, as an iovec of `*count` elements that is
 * valid until the next call for this list. What is contiguous for us is one element.
 */
struct iovec *dma_list_iov(struct dma_list *l, size_t skip, size_t len, unsigned *count);
/*
 * Copies into guest memory (FROM_DEVICE) or out of it (TO_DEVICE). -EPERM: bus mastering was
 * switched off meanwhile; -EINVAL: beyond the end of the list. Nothing is moved then.
 */
int dma_list_put(struct dma_list *l, size_t at, const void *buf, size_t len);
int dma_list_get(struct dma_list *l, size_t at, void *buf, size_t len);
/* The beginning of a frame, whose headers stay when a recording is scrubbed. */
int dma_list_get_headers(struct dma_list *l, void *buf, size_t len);
/*
 * Unmaps; `done` bytes from the start were transferred: they are counted, and dirty when written.
 */
void dma_list_end(struct dma_list *l, size_t done);

/*
 * Memory that device and guest both go on using: rings, contexts, doorbells in RAM. It is accessed
 * by offset and never by pointer, with acquire loads and release stores, so that what the guest
 * wrote before an index is seen after it, and the reverse. Values are little-endian.
 *
 * The mapping follows the guest's memory: when that changes (Xen's INVALIDATE, pages that move) it
 * ends, and the next access maps anew. If that fails, if bus mastering is off, or beyond the end,
 * loads return all ones, stores vanish, and copies say why; dma_window_error() says what the last
 * access met. Accesses that are naturally aligned in guest memory are atomic.
 */
#define DMA_WINDOW_MAX (8u << 20) /* bytes: twice the largest NVMe queue */
struct dma_window;
struct dma_window *dma_window_new(struct device *dev, uint64_t gpa, size_t len, bool write,
                                  int *error);
void dma_window_free(struct dma_window *w); /* NULL is allowed */
uint16_t dma_window_load16(struct dma_window *w, size_t at);
uint32_t dma_window_load32(struct dma_window *w, size_t at);
uint64_t dma_window_load64(struct dma_window *w, size_t at);
void dma_window_store16(struct dma_window *w, size_t at, uint16_t value);
void dma_window_store32(struct dma_window *w, size_t at, uint32_t value);
void dma_window_store64(struct dma_window *w, size_t at, uint64_t value);
/*
 * Without order among their bytes: for what an index made ours. Maybe some bytes before an error.
 */
int dma_window_read(struct dma_window *w, size_t at, void *buf, size_t len);
int dma_window_write(struct dma_window *w, size_t at, const void *buf, size_t len);
int dma_window_error(const struct dma_window *w); /* of the last access; 0: none */

/* Totals for status output. */
struct dma_counters {
    uint64_t reads, writes, bytes_read, bytes_written, refused;
};

#endif
