/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the two benchmarks. */
#ifndef XENEMU_BENCH_H
#define XENEMU_BENCH_H

/* For qsort() of uint32_t. */
int bench_compare(const void *a, const void *b);

#endif
