/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping privileges. The order matters: chroot needs the privilege that setuid gives away, and
 * names are looked up before the root changes. Afterwards it is checked that there is no way back.
 * The system calls come last: the others need some that go.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cap-ng.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/numbers.h>

#include "broker.h"
#include "sandbox.h"
#include "syscalls.h"

struct sandbox {
    char *root;
    unsigned domid;
    bool change_user;
    uid_t uid;
    gid_t gid;
    enum sandbox_choice choice;
    bool locked_up;  /* to a root, a user or a domain, as the toolstack asked */
    bool has_broker; /* so that names are nothing that we need */
};

static int fail(GError **err, int e, const char *what, const char *value)
{
    g_set_error(err, XENDM_ERROR, e, "%s '%s': %s", what, value, g_strerror(e));
    return -1;
}

/* "uid:gid" as libxl writes it for a uid of the range, or a user's name. */
static int look_up(struct sandbox *s, const char *text, GError **err)
{
    const char *colon = strchr(text, ':');
    g_autofree char *first = g_strndup(text, colon ? (gsize)(colon - text) : 0);
    uint64_t uid, gid;

    if (colon) {
        if (number_parse(first, 0, UINT32_MAX - 1, &uid) < 0 ||
            number_parse(colon + 1, 0, UINT32_MAX - 1, &gid) < 0) {
            return fail(err, EINVAL, "-runas", text);
        }
        s->uid = (uid_t)uid;
        s->gid = (gid_t)gid;
    } else {
        struct passwd *pw = getpwnam(text);

        if (!pw) {
            return fail(err, ENOENT, "-runas: no such user", text);
        }
        s->uid = pw->pw_uid;
        s->gid = pw->pw_gid;
    }
    if (s->uid == 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "-runas '%s': that is the superuser", text);
        return -1;
    }
    s->change_user = true;
    return 0;
}

struct sandbox *sandbox_prepare(const struct machine_desc *desc, GError **err)
{
    struct sandbox *s = g_new0(struct sandbox, 1);

    s->root = g_strdup(desc->chroot_dir);
    s->domid = desc->domid;
    s->choice = desc->sandbox;
    s->locked_up = desc->chroot_dir || desc->run_as || desc->restrict_domid;
    s->has_broker = broker_is_there();
    if (desc->run_as && look_up(s, desc->run_as, err) < 0) {
        g_free(s->root);
        g_free(s);
        return NULL;
    }
    return s;
}

static int restrict_syscalls(const struct sandbox *s, bool updated, GError **err)
{
    g_autoptr(GError) why = NULL;

    if (s->choice == SANDBOX_OFF || (updated && syscalls_restricted()) ||
        syscalls_restrict(s->locked_up || s->has_broker, &why) == 0) {
        return 0;
    }
    if (s->choice == SANDBOX_ON) {
        g_propagate_prefixed_error(err, g_steal_pointer(&why), "-sandbox on: ");
        return -1;
    }
    log_warning(LOG_DM, "%s", why->message);
    return 0;
}

/*
 * An empty directory that is mounted nowhere, so that it holds up nobody's umount either. A
 * namespace of mounts would keep all of the host's; without capabilities nothing can be mounted
 * here, and no other root be entered.
 */
static int enter_empty_root(void)
{
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), root = -1, e;

    if (fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) == 0 &&
        fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) == 0 &&
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        root =
            fsmount(fs, FSMOUNT_CLOEXEC,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    }
    e = root < 0 || fchdir(root) < 0 || chroot(".") < 0 ? errno : 0;
    if (fs >= 0) {
        close(fs);
    }
    if (root >= 0) {
        close(root);
    }
    return -e;
}

/*
 * What nobody asked for but is done anyway, where a broker does what needs names and capabilities.
 * What the kernel refuses is left out.
 */
static void leave_names(const struct sandbox *s)
{
#ifdef SYSCALLS_FREE
    bool wanted = false; /* a sanitizer reads /proc at the end */
#else
    bool wanted = s->has_broker;
#endif
    int e = wanted ? enter_empty_root() : 0;

    if (e < 0) {
        log_info(LOG_DM, "sandbox: no empty root: %s", g_strerror(-e));
    }
}

/*
 * libxenstore has a thread of its own by now, which blocks all signals: a call that drops
 * capabilities changes the caller's only, and whoever is in the process can have that thread run
 * what he likes. What the C library does for all threads is a change of user, by which the others
 * lose everything. This one keeps what takes it back, and then drops it. The user is nobody's: one
 * that exists could kill the other threads. (systemd, "Users, Groups, UIDs and GIDs": the range has
 * no use.)
 */
#define UNUSED_UID 0x7fff0000u

static int drop_in_other_threads(unsigned domid)
{
    uid_t uid = UNUSED_UID + domid;
    int e;

    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(uid, uid, uid) < 0) {
        return -errno;
    }
    capng_get_caps_process();
    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, CAP_SETUID);
    e = capng_apply(CAPNG_SELECT_CAPS) != 0 ? EPERM : 0;
    if (e == 0 && syscall(SYS_setresuid, 0, 0, 0) < 0) {
        e = errno;
    }
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as before the change */
    return -e;
}

static void drop_capabilities(const struct sandbox *s)
{
    int e = !s->has_broker || geteuid() != 0 ? 0 : drop_in_other_threads(s->domid);

    if (e < 0) {
        log_info(LOG_DM, "sandbox: threads keep their capabilities: %s", g_strerror(-e));
    }
    if (s->has_broker) {
        capng_clear(CAPNG_SELECT_BOTH);
        if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
            log_info(LOG_DM, "sandbox: the capabilities stay");
        }
    }
}

int sandbox_enter(struct sandbox *s, bool updated, GError **err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return fail(err, errno, "cannot give up gaining privileges", "no_new_privs");
    }
    if (s->root) {
        if (chdir(s->root) < 0 || chroot(s->root) < 0 || chdir("/") < 0) {
            return fail(err, errno, "-chroot", s->root);
        }
    } else {
        leave_names(s);
    }
    if (s->change_user) {
        char user[32];

        g_snprintf(user, sizeof(user), "%u:%u", s->uid, s->gid);
        if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
            setresuid(s->uid, s->uid, s->uid) < 0) {
            return fail(err, errno, "-runas", user);
        }
        if (setuid(0) == 0 || seteuid(0) == 0) {
            return fail(err, EPERM, "-runas left a way back to uid 0", user);
        }
        capng_clear(CAPNG_SELECT_BOTH);
        if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
            return fail(err, EPERM, "cannot drop the capabilities of", user);
        }
    } else {
        drop_capabilities(s);
    }
    if (restrict_syscalls(s, updated, err) < 0) {
        return -1;
    }
    if (s->has_broker) {
        broker_give_names_up();
    }
    g_free(s->root);
    g_free(s);
    return 0;
}
