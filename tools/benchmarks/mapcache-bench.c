/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the mapcache costs, against the size of the guest: hits (one hot page; random pages of a
 * working set that fits) and misses (every access to another bucket, so that one is mapped and,
 * once the cache is full, one unmapped), also where the next 64 are told before. The guest is a
 * sparse memfd; a map call is an mmap for each contiguous run, as foreign memory is mapped without
 * its hypercall.
 *
 * One JSON object per line: {"gb": …, "what": …, "ns": …}.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xendm/guestmem.h>
#include <xendm/hypervisor.h>
#include <xendm/mapcache.h>

#define RUNS 9
#define HITS 200000u
#define MISSES 2048u

static int memory_fd;

static void *memory_map(void *opaque, uint64_t gfn, unsigned pages, int *errs)
{
    void *p = mmap(NULL, (size_t)pages << GUEST_PAGE_SHIFT, PROT_READ | PROT_WRITE, MAP_SHARED,
                   memory_fd, (off_t)(gfn << GUEST_PAGE_SHIFT));

    return p == MAP_FAILED ? NULL : p;
}

static void *memory_gather(void *opaque, const uint64_t *gfns, unsigned pages, int *errs)
{
    uint8_t *p = mmap(NULL, (size_t)pages << GUEST_PAGE_SHIFT, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    for (unsigned i = 0; p != MAP_FAILED && i < pages; i++) {
        if (mmap(p + ((size_t)i << GUEST_PAGE_SHIFT), GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, memory_fd,
                 (off_t)(gfns[i] << GUEST_PAGE_SHIFT)) == MAP_FAILED) {
            munmap(p, (size_t)pages << GUEST_PAGE_SHIFT);
            return NULL;
        }
    }
    return p == MAP_FAILED ? NULL : p;
}

static void memory_unmap(void *opaque, void *ptr, unsigned pages)
{
    munmap(ptr, (size_t)pages << GUEST_PAGE_SHIFT);
}

static void memory_modified(void *opaque, uint64_t gfn, unsigned count)
{
}

static const struct mapcache_ops ops = {.map = memory_map,
                                        .gather = memory_gather,
                                        .unmap = memory_unmap,
                                        .modified = memory_modified};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t random_next(void)
{
    static uint64_t state = 1;

    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 20;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void access_one(struct guestmem *gm, uint64_t gpa)
{
    struct guestmem_ref ref;

    if (guestmem_get(gm, gpa, 4, false, &ref) < 0) {
        fprintf(stderr, "mapcache-bench: no memory\n");
        exit(1);
    }
    guestmem_put(gm, &ref, 0);
}

/* Nanoseconds per access: `n` of them, spread over `span` bytes in steps of `step`. */
static double measure(struct guestmem *gm, unsigned n, uint64_t span, uint64_t step, bool told)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX];
    double run[RUNS];

    for (unsigned r = 0; r < RUNS; r++) {
        double start = now_ns();

        for (unsigned i = 0; i < n; i++) {
            uint64_t gpa = random_next() % (span / step) * step;

            if (!told) {
                access_one(gm, gpa);
                continue;
            }
            gfns[i % GUESTMEM_EXPECT_MAX] = gpa >> GUEST_PAGE_SHIFT;
            if ((i + 1) % GUESTMEM_EXPECT_MAX == 0) {
                guestmem_expect(gm, gfns, GUESTMEM_EXPECT_MAX);
                for (unsigned j = 0; j < GUESTMEM_EXPECT_MAX; j++) {
                    access_one(gm, gfns[j] << GUEST_PAGE_SHIFT);
                }
            }
        }
        run[r] = (now_ns() - start) / n;
    }
    qsort(run, RUNS, sizeof(run[0]), compare);
    return run[RUNS / 2];
}

int main(void)
{
    memory_fd = memfd_create("guest", MFD_CLOEXEC);
    for (uint64_t gb = 1; gb <= 1024; gb *= 4) {
        uint64_t size = gb << 30, bucket = (uint64_t)MAPCACHE_BUCKET_PAGES << GUEST_PAGE_SHIFT;
        struct guestmem *gm = mapcache_new(&ops, NULL, NULL);
        uint64_t set = MAPCACHE_MAX_BYTES / 2;

        if (ftruncate(memory_fd, (off_t)size) < 0) {
            perror("mapcache-bench: ftruncate");
            return 1;
        }
        printf("{\"gb\": %" PRIu64 ", \"what\": \"hit, one page\", \"ns\": %.1f}\n", gb,
               measure(gm, HITS, GUEST_PAGE_SIZE, GUEST_PAGE_SIZE, false));
        measure(gm, HITS, set, GUEST_PAGE_SIZE, false);
        printf("{\"gb\": %" PRIu64 ", \"what\": \"hit, random in %u MB\", \"ns\": %.1f}\n", gb,
               (unsigned)(set >> 20), measure(gm, HITS, set, GUEST_PAGE_SIZE, false));
        mapcache_trim(gm);
        printf("{\"gb\": %" PRIu64 ", \"what\": \"miss\", \"ns\": %.1f}\n", gb,
               measure(gm, MISSES, size, bucket, false));
        printf("{\"gb\": %" PRIu64 ", \"what\": \"miss, told\", \"ns\": %.1f}\n", gb,
               measure(gm, MISSES, size, bucket, true));
        mapcache_free(gm);
    }
    return 0;
}
