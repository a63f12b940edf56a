/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes in the background; see writer.c. */
#ifndef XENSTORE_WRITER_H
#define XENSTORE_WRITER_H

struct xenstore_writer;

struct xenstore_writer *xenstore_writer_new(void); /* NULL with errno */
/* Waits for what is under way, but not for a xenstored that does not answer. NULL: no effect. */
void xenstore_writer_free(struct xenstore_writer *w);
/* `path` is absolute. 0, -EAGAIN (no thread), -ENOBUFS (too many different paths wait). */
int xenstore_writer_put(struct xenstore_writer *w, const char *path, const char *value);

#endif
