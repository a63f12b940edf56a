/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of xenemu run. */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>
#include "../host/ioreq-server.h"
#include "control.h"
#include "options.h"
#include "run.h"

struct run_options opt = {
    .memory = 512,
    .vcpus = 1,
    .domid = 1,
    .start_timeout = 60,
    .access_timeout = 10000,
};

static bool check_options(int argc, char **argv, GError *error)
{
    if (error)
        return complain("%s", error->message);
    if (argc > 1)
        return complain("unexpected argument %s (device model arguments go after --)", argv[1]);
    if (!opt.dm)
        opt.dm = g_strdup("/usr/libexec/xen-qemu-system-i386");
    if (!opt.gdb && access(opt.dm, X_OK))
        return complain("%s: %s", opt.dm, strerror(errno));
    if (!opt.vga)
        opt.vga = g_strdup("cirrus");
    if (strcmp(opt.vga, "cirrus") && strcmp(opt.vga, "stdvga") && strcmp(opt.vga, "none"))
        return complain("--vga takes cirrus, stdvga or none");
    if (opt.hdtype && strcmp(opt.hdtype, "ide") && strcmp(opt.hdtype, "ahci"))
        return complain("--hdtype takes ide or ahci");
    if (!opt.name)
        opt.name = g_strdup_printf("xenemu%d", opt.domid);
    if (opt.memory < 16 || opt.vcpus < 1 || opt.vcpus > (int)XE_MAX_VCPUS || opt.domid < 1 ||
        opt.domid >= 0x7ff0)
        return complain("memory, vcpus or domid out of range");
    return true;
}

static const GOptionEntry entries[] = {
    {"dm", 0, 0, G_OPTION_ARG_FILENAME, &opt.dm,
     "Device model (default /usr/libexec/xen-qemu-system-i386)", "PATH"},
    {"memory", 'm', 0, G_OPTION_ARG_INT, &opt.memory, "Guest memory, video included (512)", "MB"},
    {"vcpus", 0, 0, G_OPTION_ARG_INT, &opt.vcpus, "Virtual CPUs (1)", "N"},
    {"domid", 0, 0, G_OPTION_ARG_INT, &opt.domid, "Domain id (1)", "N"},
    {"name", 0, 0, G_OPTION_ARG_STRING, &opt.name, "Guest name", "NAME"},
    {"disk", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opt.disks, "Disk (hda, hdb, …)", "FILE"},
    {"hdtype", 0, 0, G_OPTION_ARG_STRING, &opt.hdtype, "ide (default) or ahci", "TYPE"},
    {"cdrom", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opt.cdroms,
     "CD-ROM (hdc, hdd); empty string = empty drive", "FILE"},
    {"vga", 0, 0, G_OPTION_ARG_STRING, &opt.vga, "cirrus (default), stdvga or none", "TYPE"},
    {"serial", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.serials, "Serial port, e.g. pty, null", "DEV"},
    {"device", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.devices, "A further -device", "DEV"},
    {"boot", 0, 0, G_OPTION_ARG_STRING, &opt.boot, "Boot order (cda)", "ORDER"},
    {"mmio-hole", 0, 0, G_OPTION_ARG_INT, &opt.mmio_hole, "Size of the hole below 4 GiB", "MB"},
    {"no-platform-device", 0, 0, G_OPTION_ARG_NONE, &opt.no_platform,
     "As xen_platform_pci=0: -machine pc,accel=xen", NULL},
    {"pv", 0, 0, G_OPTION_ARG_NONE, &opt.pv,
     "As for a PV or PVH guest with vfb=['vnc=1']: -machine xenpv", NULL},
    {"restrict", 0, 0, G_OPTION_ARG_NONE, &opt.restrict_dm, "As dm_restrict=1", NULL},
    {"socket", 0, 0, G_OPTION_ARG_FILENAME, &opt.socket, "Where to offer the qtest socket", "PATH"},
    {"script", 0, 0, G_OPTION_ARG_FILENAME, &opt.script, "Run a device script, then end", "FILE"},
    {"timeout", 0, 0, G_OPTION_ARG_INT, &opt.timeout,
     "End after so many seconds (default: on a signal)", "S"},
    {"start-timeout", 0, 0, G_OPTION_ARG_INT, &opt.start_timeout, "Wait for readiness (60)", "S"},
    {"access-timeout", 0, 0, G_OPTION_ARG_INT, &opt.access_timeout,
     "How long a guest access may take (10000)", "MS"},
    {"qmp-check", 0, 0, G_OPTION_ARG_NONE, &opt.qmp_check,
     "Do libxl's QMP exchange after the start", NULL},
    {"leaks", 0, 0, G_OPTION_ARG_NONE, &opt.leaks, "Fail if something is left behind", NULL},
    {"fault", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.faults,
     "Make a call fail: OP[,nth=N][,count=C|all][,errno=E][,…]; xenemu(1)", "SPEC"},
    {"xs-faults", 0, 0, G_OPTION_ARG_NONE, &opt.xs_faults,
     "Put a proxy before xenstored, so that xs-* faults work", NULL},
    {"disk-faults", 0, 0, G_OPTION_ARG_NONE, &opt.disk_faults,
     "Look at disk I/O, so that disk-* faults work", NULL},
    {"xenstore", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.sets, "Write a node before the start",
     "PATH=VALUE"},
    {"xenstored", 0, 0, G_OPTION_ARG_FILENAME, &opt.xenstored, "xenstored to use", "PATH"},
    {"rundir", 0, 0, G_OPTION_ARG_FILENAME, &opt.rundir, "Directory for sockets and logs", "DIR"},
    {"attach", 0, 0, G_OPTION_ARG_FILENAME, &opt.attach,
     "One more domain on the host of another run's directory", "DIR"},
    {"log", 0, 0, G_OPTION_ARG_FILENAME, &opt.log, "Log of the device model", "FILE"},
    {"keep", 0, 0, G_OPTION_ARG_NONE, &opt.keep, "Keep the directory", NULL},
    {"incoming", 0, 0, G_OPTION_ARG_FILENAME, &opt.incoming,
     "Start from a saved state, as libxl does for a restore", "FILE"},
    {"populate", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.populate,
     "Pages that the domain has beside its RAM, as a restored one has its video memory", "GFN[+N]"},
    {"wait-dm", 0, 0, G_OPTION_ARG_NONE, &opt.gdb,
     "Print the command line and let the user start the device model", NULL},
    {"print", 0, 0, G_OPTION_ARG_NONE, &opt.print, "Print argument vector and environment", NULL},
    {"verbose", 'v', 0, G_OPTION_ARG_NONE, &opt.verbose, "Say more", NULL},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

bool options_parse(int argc, char **argv)
{
    GOptionContext *oc = g_option_context_new("[-- device model arguments]");
    GError *error = NULL;
    int i;

    /* Everything after -- belongs to the device model. */
    for (i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--")) {
            run.extra = argv + i + 1;
            argc = i;
            argv = g_memdup2(argv, ((gsize)argc + 1) * sizeof(*argv));
            argv[argc] = NULL;
            break;
        }
    g_option_context_add_main_entries(oc, entries, NULL);
    g_option_context_set_summary(oc,
                                 "Starts a device model as libxl would, with no hypervisor and no "
                                 "root, and offers a qtest\nsocket in place of its CPU.");
    g_option_context_parse(oc, &argc, &argv, &error);
    if (!check_options(argc, argv, error))
        return false;
    opt.print = opt.print || opt.gdb;
    return true;
}
