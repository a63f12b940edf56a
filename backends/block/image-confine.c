/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the image server may do: qemu-nbd reads metadata that a guest's owner may have made. It runs
 * as who started xendm, for it opens images and their backing files by name as QEMU would, but of
 * root's capabilities it keeps only that of opening files; no program gives it more; it has a
 * network only if the image is there; and where the kernel has Landlock it can write to the image
 * alone. What is refused here (xendm may not be root) is left out.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cap-ng.h>

#include "image-confine.h"

#define NOBODY 65534u
#define MEMORY_MAX (UINT64_C(8) << 30) /* address space: caches, stacks of threads */

static void limit(int what, rlim_t n)
{
    const struct rlimit r = {n, n};

    setrlimit(what, &r);
}

static void common(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    limit(RLIMIT_CORE, 0);
    unshare(CLONE_NEWIPC | CLONE_NEWUTS);
}

void image_confine_keeper(bool network_only)
{
    common();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (network_only && geteuid() == 0 &&
        (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
         setresuid(NOBODY, NOBODY, NOBODY) < 0)) {
        _exit(1);
    }
}

static bool allow_writing(int rules, const char *file)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE};
    long rc = -1;

    rule.parent_fd = open(file, O_PATH | O_CLOEXEC);
    if (rule.parent_fd >= 0) {
        rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
    }
    return rc == 0;
}

/*
 * Reading is everywhere as before; writing, making and removing on nothing but `file`. QEMU finds
 * out with /dev/null whether files can be locked.
 */
static void write_only_to(const char *file)
{
    const struct landlock_ruleset_attr all = {
        .handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                             LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                             LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                             LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                             LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM,
    };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

    if (rules < 0) {
        return;
    }
    if (allow_writing(rules, "/dev/null") && (!file || allow_writing(rules, file))) {
        syscall(SYS_landlock_restrict_self, rules, 0);
    }
    close(rules);
}

void image_confine_server(const char *file, bool writable, bool network)
{
    common();
    if (!network) {
        unshare(CLONE_NEWNET);
    }
#ifndef __SANITIZE_ADDRESS__ /* whose shadow alone is larger */
    limit(RLIMIT_AS, MEMORY_MAX);
#endif
    if (geteuid() == 0) {
        capng_clear(CAPNG_SELECT_BOTH);
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                     CAP_DAC_OVERRIDE);
        capng_apply(CAPNG_SELECT_BOTH);
    }
    write_only_to(writable ? file : NULL);
}
