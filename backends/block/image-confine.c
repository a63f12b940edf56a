/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the image server may do: qemu-nbd reads metadata that a guest's owner may have made. It runs
 * as who started xendm, for it opens images and their backing files by name as QEMU would, but of
 * root's capabilities it keeps only that of opening files; no program gives it more; it has a
 * network only if the image is there; and where the kernel has Landlock it can write to the image
 * alone. What is refused here (xendm may not be root) is left out.
 *
 * A CD that came later was named by a process that reads what the guest writes. Its metadata may
 * name anything; so its server is nobody's where the kernel cannot keep it from reading more.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cap-ng.h>

#include <xendm/confine.h>

#include "image-confine.h"

#define MEMORY_MAX (UINT64_C(8) << 30) /* address space: caches, stacks of threads */

void image_confine_keeper(bool network_only)
{
    confine_begin(true);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (network_only) {
        confine_no_root();
    }
}

static bool allow_fd(int rules, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};

    return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool allow(int rules, const char *file, uint64_t access)
{
    int fd = open(file, O_PATH | O_CLOEXEC);
    bool ok = fd >= 0 && allow_fd(rules, fd, access);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

#define WRITING \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/* Rules about those accesses, that allow nothing yet; -1: the kernel has none. */
static int new_rules(uint64_t handled)
{
    const struct landlock_ruleset_attr attr = {.handled_access_fs = handled};

    return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
}

static bool obey(int rules)
{
    return syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

/*
 * Reading is everywhere as before; writing, making and removing on nothing but `file`. QEMU finds
 * out with /dev/null whether files can be locked.
 */
static void write_only_to(const char *file)
{
    int rules = new_rules(WRITING);

    if (rules < 0) {
        return;
    }
    if (allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE) &&
        (!file || allow(rules, file, LANDLOCK_ACCESS_FS_WRITE_FILE))) {
        obey(rules);
    }
    close(rules);
}

/* The program, its libraries, and the open file. */
static bool read_only_from(int image)
{
    static const char *const places[] = {"/usr",         "/lib",
                                         "/lib64",       "/etc/ld.so.cache",
                                         "/dev/urandom", "/sys/devices/system/cpu"};
    int rules = new_rules(WRITING | READING);
    bool ok;

    if (rules < 0) {
        return false;
    }
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) { /* each may be missing */
        if (!allow(rules, places[i], READING)) {
            allow(rules, places[i], LANDLOCK_ACCESS_FS_READ_FILE);
        }
    }
    ok = allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE) &&
         allow_fd(rules, image, LANDLOCK_ACCESS_FS_READ_FILE) && obey(rules);
    close(rules);
    return ok;
}

static void keep_opening_files(void)
{
    if (geteuid() == 0) {
        capng_clear(CAPNG_SELECT_BOTH);
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                     CAP_DAC_OVERRIDE);
        capng_apply(CAPNG_SELECT_BOTH);
    }
}

void image_confine_server(const char *file, bool writable, bool network)
{
    confine_begin(network);
    confine_memory(MEMORY_MAX);
    keep_opening_files();
    write_only_to(writable ? file : NULL);
}

void image_confine_server_of(int image)
{
    confine_begin(false);
    confine_memory(MEMORY_MAX);
    if (read_only_from(image)) {
        keep_opening_files();
    } else if (!confine_become_nobody()) {
        static const char why[] = "this kernel cannot keep the server to its image\n";

        _exit(write(STDERR_FILENO, why, sizeof(why) - 1) < 0 ? 125 : 126);
    }
}
