/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that two processes have: a file without a name (memfd_create(2)). */
#ifndef XENDM_MEMORY_FILE_H
#define XENDM_MEMORY_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * All zero, close-on-exec; `name` is for those who look. `fixed`: its size stands, so that whoever
 * is given it cannot take the memory from under us, which would be our end by SIGBUS. A descriptor,
 * or -1 with errno.
 */
int memory_file_new(const char *name, size_t bytes, bool fixed);

/* For reading and writing, by all who map it. NULL with errno; of -1, too, as it was. */
void *memory_file_map(int fd, size_t bytes);

/* The same as `fixed`, and nobody maps it for writing any more; who has already may go on. */
bool memory_file_show(int fd);

#endif
