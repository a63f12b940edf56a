/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See confine.h. Before there are threads: each would keep what it was born with. */
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <xendm/confine.h>

#define NOBODY 65534u

void confine_limit(int resource, uint64_t most)
{
    const struct rlimit r = {most, most};

    setrlimit(resource, &r);
}

void confine_memory(uint64_t bytes)
{
#ifndef __SANITIZE_ADDRESS__ /* whose shadow alone is larger */
    confine_limit(RLIMIT_AS, bytes);
#endif
}

void confine_begin(bool network)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    confine_limit(RLIMIT_CORE, 0);
    unshare(CLONE_NEWIPC | CLONE_NEWUTS | (network ? 0 : CLONE_NEWNET));
}

bool confine_become_nobody(void)
{
    return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
           setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

void confine_no_root(void)
{
    if (geteuid() == 0 && !confine_become_nobody()) {
        _exit(1); /* root, and cannot stop being it: better no service */
    }
}
