/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the small programs beside the daemon give up alike: they talk to strangers, or work on what
 * a guest wrote. What each gives up beyond this it knows itself. What the kernel refuses, since
 * xendm need not be root, is left out, but where a function says otherwise.
 *
 * base/confine.c needs no library, base/confine-calls.c needs libseccomp: each program is built
 * with those that it uses. Sanitizers need more memory and more calls than any program of ours.
 */
#ifndef XENDM_CONFINE_H
#define XENDM_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No new privileges, no core dumps, IPC and names of its own; without `network` no network. */
void confine_begin(bool network);

/* A limit of setrlimit() that nobody raises again; of the address space. */
void confine_limit(int resource, uint64_t most);
void confine_memory(uint64_t bytes);

/* Nobody's user and group, and no others. False: it is who it was, which may be nobody already. */
bool confine_become_nobody(void);
/* The same for root, and its end if that cannot be; others stay who they are. */
void confine_no_root(void);

/*
 * Of all system calls these, and memory that is not to be executed; others fail with ENOSYS. False:
 * there is no such filter.
 */
bool confine_calls(const int *calls, size_t count);
/* … and ioctl(), with these requests alone. */
bool confine_calls_and_requests(const int *calls, size_t count, const unsigned long *requests,
                                size_t request_count);

#endif
