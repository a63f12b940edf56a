/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's words, of QMP and HMP, for what is not the device model's under Xen, or is not here: why,
 * and what to use instead. tests/dm/test-words.py holds them against QEMU's own lists.
 */
#include <string.h>

#include "internal.h"

#define MIGRATION "migration is the toolstack's: xl migrate, xl save, xl restore"
#define SNAPSHOTS \
    "snapshots are the storage's: LVM, the file system, qemu-img snapshot while no guest has the " \
    "image"
#define JOBS "nothing copies images in the background here, so there are no jobs"
#define COPIES \
    "images are copied by the storage (LVM, the file system), or by qemu-img convert from such a " \
    "snapshot"
#define GRAPH \
    "a drive is one image: blockdev-change-medium changes a CD, xl block-attach adds a disk"
#define MEMORY "the guest's memory is Xen's: xl dump-core, gdbsx"
#define VCPUS "the vCPUs are Xen's: xl vcpu-list, xenctx, gdbsx"
#define OBJECTS "there is no object model: info devices, info device ID, device-list-properties"
#define REPLAY "xendmctl record makes a recording, xenemu replay plays it; info recording"
#define EXPORTS "images are not served to others: qemu-nbd"
#define TRACES "info recorder shows what happened last; log SUBSYSTEM LEVEL changes what is logged"

struct word {
    const char *name; /* with a '*' at its end: all that begin so */
    const char *why;
};

/* Of QMP and, with '_' for '-', of HMP. */
static const struct word words[] = {
    {"add_client", "only VNC has viewers, and they connect to its address: query-vnc"},
    {"balloon", "the guest's memory is Xen's: xl mem-set"},
    {"block-dirty-bitmap-*", "no map of changed blocks is kept; xl block-attach from LVM or DRBD"},
    {"block-export-*", EXPORTS},
    {"block-job-*", JOBS},
    {"block-commit", COPIES},
    {"block-stream", COPIES},
    {"block-latency-histogram-set", "query-blockstats has no histograms"},
    {"block-set-write-threshold", "not implemented: watch the storage's fill level on the host"},
    {"blockdev-change-medium", "change"},
    {"blockdev-backup", COPIES},
    {"blockdev-mirror", COPIES},
    {"blockdev-snapshot*", SNAPSHOTS},
    {"blockdev-close-tray", "xl cd-insert, or blockdev-change-medium, closes the tray"},
    {"blockdev-open-tray", "eject opens the tray"},
    {"blockdev-insert-medium", "blockdev-change-medium"},
    {"blockdev-remove-medium", "eject"},
    {"blockdev-*", GRAPH},
    {"boot_set", "the boot order is the toolstack's: boot= in the configuration"},
    {"calc-dirty-rate", MIGRATION},
    {"cancel-vcpu-dirty-limit", MIGRATION},
    {"change-backing-file", GRAPH},
    {"chardev-*", "character devices are given at the start: serial= in the configuration"},
    {"client_migrate_info", MIGRATION},
    {"closefd", "descriptors are passed by add-fd, and taken back by remove-fd"},
    {"commit", COPIES},
    {"cpu", VCPUS},
    {"delvm", SNAPSHOTS},
    {"display-reload", "VNC has no TLS here to load again"},
    {"display-update", "set VNC's address in the configuration"},
    {"drive_add", "xl block-attach"},
    {"drive_del", "xl block-detach, or device_del"},
    {"drive-backup", COPIES},
    {"drive-mirror", COPIES},
    {"dump-guest-memory", MEMORY},
    {"dumpdtb", "a PC has no device tree"},
    {"exit_preconfig", "there is no such state: the guest is described on the command line"},
    {"expire_password", "over QMP, where passwords are in no history of a shell"},
    {"gdbserver", "the vCPUs are Xen's: gdbsx"},
    {"getfd", "descriptors are passed by add-fd"},
    {"gpa2hpa", MEMORY},
    {"gpa2hva", MEMORY},
    {"gva2gpa", MEMORY},
    {"i", "the ports are the guest's: info mtree, info device ID"},
    {"inject-nmi", "xl trigger GUEST nmi"},
    {"job-*", JOBS},
    {"loadvm", "xl restore"},
    {"logfile", "the log is the toolstack's: /var/log/xen/qemu-dm-NAME.log"},
    {"mce", "xen-mceinj"},
    {"memsave", MEMORY},
    {"migrate*", MIGRATION},
    {"nbd_server_*", EXPORTS},
    {"nmi", "xl trigger GUEST nmi"},
    {"o", "the ports are the guest's"},
    {"object-*", OBJECTS},
    {"p", VCPUS},
    {"pcie_aer_inject_error", "the guest's PCI bus is no PCI Express"},
    {"pmemsave", MEMORY},
    {"print", VCPUS},
    {"q", "xl destroy"},
    {"qemu-io", "disks are the guest's while it runs"},
    {"qom-*", OBJECTS},
    {"quit", "xl destroy"},
    {"replay*", REPLAY},
    {"ringbuf-*", "there is no ring buffer of characters: serial=\"file:…\" keeps them"},
    {"rtc-reset-reinjection", "the clock's interrupts are Xen's: timer_mode in the configuration"},
    {"savevm", "xl save"},
    {"set_password", "over QMP, where passwords are in no history of a shell"},
    {"set-action", "what happens at a guest's end is the toolstack's: on_reboot, on_poweroff, …"},
    {"set-numa-node", "vnuma in the configuration"},
    {"set-vcpu-dirty-limit", MIGRATION},
    {"sev-*", "the guest's memory is not encrypted"},
    {"singlestep", VCPUS},
    {"snapshot*", SNAPSHOTS},
    {"stopcapture", "sound is not recorded here"},
    {"sum", MEMORY},
    {"sync-profile", "info loop shows what takes long"},
    {"trace-event*", TRACES},
    {"transaction", "one command at a time: there is nothing here to be done together"},
    {"watchdog*", "the watchdog is Xen's: xen-watchdog in the guest"},
    {"wavcapture", "sound is not recorded here"},
    {"x", MEMORY},
    {"x-blockdev-*", GRAPH},
    {"x-colo-*", MIGRATION},
    {"x-debug-*", GRAPH},
    {"x-exit-preconfig", "there is no such state: the guest is described on the command line"},
    {"x-query-*", "HMP's info TOPIC is here as human-monitor-command: info help"},
    {"xen-load-devices-state", "a saved state is given at the start: -incoming fd:N"},
    {"xp", MEMORY},
    {"yank", "no connection of this process keeps anybody waiting"},
};

/* query-X of QMP, `info X` of HMP. */
static const struct word topics[] = {
    {"acpi-ospm-status", "the guest's ACPI has no slots for memory"},
    {"balloon", "the guest's memory is Xen's: xl list, xl mem-set"},
    {"block-exports", EXPORTS},
    {"capture", "sound is not recorded here"},
    {"colo-status", MIGRATION},
    {"cpu-*", "the vCPUs are Xen's: cpuid= in the configuration, xen-cpuid"},
    {"dirty-rate", MIGRATION},
    {"display-options", "there is no display but VNC: query-vnc"},
    {"dump*", MEMORY},
    {"history", "a line of HMP comes over QMP: there is no history"},
    {"lapic", "the interrupt controllers are Xen's: xen-hvmctx"},
    {"mem", VCPUS},
    {"memdev", MEMORY},
    {"migrate-*", MIGRATION},
    {"numa", "vnuma in the configuration; xl vcpu-list"},
    {"pic", "the interrupt controllers are Xen's: xen-hvmctx"},
    {"pr-managers", "persistent reservations are not passed on"},
    {"qdm", "xendm -device help, device-list-properties"},
    {"qmp-schema", "query-commands has the names, xendm(8) the table"},
    {"qom-tree", OBJECTS},
    {"qtree", "info devices, info device ID, info pci, info usb"},
    {"ramblock", "info mtree, info mapcache"},
    {"rdma", MIGRATION},
    {"replay", REPLAY},
    {"rocker*", "there is no such switch"},
    {"roms", "the ROMs are in info devices"},
    {"rx-filter", "info network, info device ID"},
    {"sev*", "the guest's memory is not encrypted"},
    {"sgx*", "guests under Xen have no SGX"},
    {"spice", "there is no SPICE: query-vnc"},
    {"stats*", "info loop, info ioreq, info mapcache, query-blockstats"},
    {"sync-profile", "info loop"},
    {"tlb", VCPUS},
    {"tpm", "there is no TPM"},
    {"trace-events", TRACES},
    {"usbhost", "devices of the host are not passed through"},
    {"vcpu-dirty-limit", MIGRATION},
    {"virtio*", "info device ID"},
    {"vm-generation-id", "it is hvmloader's, from the toolstack: ms_vm_genid in the configuration"},
    {"yank", "no connection of this process keeps anybody waiting"},
};

/* '-' and '_' are the same. */
static bool matches(const char *pattern, const char *name)
{
    for (; *pattern && *pattern != '*'; pattern++, name++) {
        char a = *pattern == '_' ? '-' : *pattern, b = *name == '_' ? '-' : *name;

        if (a != b) {
            return false;
        }
    }
    return *pattern == '*' || !*name;
}

static const char *find(const struct word *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(list[i].name, name)) {
            return list[i].why;
        }
    }
    return NULL;
}

const char *elsewhere_topic(const char *topic)
{
    return find(topics, G_N_ELEMENTS(topics), topic);
}

const char *elsewhere_command(const char *name)
{
    return g_str_has_prefix(name, "query-") ? elsewhere_topic(name + strlen("query-"))
                                            : find(words, G_N_ELEMENTS(words), name);
}
