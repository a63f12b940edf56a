/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about the machine's devices: drives, PCI functions, vCPUs. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <xendm/block.h>
#include <xendm/bus.h>
#include <xendm/device.h>
#include <xendm/ide.h>
#include <xendm/pci.h>

#include "config/config.h"
#include "internal.h"

/* What query-hotpluggable-cpus calls a vCPU; libxl hands it back in device_add. */
#define CPU_TYPE "xen-vcpu"

/* ---- drives ---- */

static void add_block(JsonBuilder *b, const struct drive_info *drive)
{
    json_builder_begin_object(b);
    qmp_build_string(b, "device", drive->id);
    qmp_build_string(b, "qdev", drive->qdev);
    qmp_build_string(b, "type", "unknown");
    if (drive->device) {
        qmp_build_string(b, "io-status", "ok"); /* an error stops no guest here */
    }
    qmp_build_bool(b, "removable", drive->cd);
    qmp_build_bool(b, "locked", drive->cd && ide_cd_tray_locked(drive->device));
    if (drive->cd) {
        qmp_build_bool(b, "tray_open", ide_cd_tray_open(drive->device));
    }
    if (block_present(drive->block)) {
        json_builder_set_member_name(b, "inserted");
        json_builder_begin_object(b);
        qmp_build_medium(b, drive);
        json_builder_end_object(b);
    }
    json_builder_end_object(b);
}

static void add_stats(JsonBuilder *b, const struct drive_info *drive)
{
    const struct block_stats *s = block_stats(drive->block);

    json_builder_begin_object(b);
    qmp_build_string(b, "device", drive->id);
    qmp_build_string(b, "qdev", drive->qdev);
    qmp_build_node_name(b, drive);
    json_builder_set_member_name(b, "stats");
    json_builder_begin_object(b);
    qmp_build_int(b, "rd_bytes", (gint64)s->bytes[BLOCK_READ]);
    qmp_build_int(b, "wr_bytes", (gint64)s->bytes[BLOCK_WRITE]);
    qmp_build_int(b, "unmap_bytes", (gint64)s->bytes[BLOCK_DISCARD]);
    qmp_build_int(b, "rd_operations", (gint64)s->ops[BLOCK_READ]);
    qmp_build_int(b, "wr_operations", (gint64)s->ops[BLOCK_WRITE]);
    qmp_build_int(b, "flush_operations", (gint64)s->ops[BLOCK_FLUSH]);
    qmp_build_int(b, "unmap_operations", (gint64)s->ops[BLOCK_DISCARD]);
    qmp_build_int(b, "failed_rd_operations", (gint64)s->errors[BLOCK_READ]);
    qmp_build_int(b, "failed_wr_operations", (gint64)s->errors[BLOCK_WRITE]);
    qmp_build_int(b, "failed_flush_operations", (gint64)s->errors[BLOCK_FLUSH]);
    qmp_build_int(b, "failed_unmap_operations", (gint64)s->errors[BLOCK_DISCARD]);
    json_builder_end_object(b);
    json_builder_end_object(b);
}

struct drive_list {
    JsonBuilder *b;
    void (*add)(JsonBuilder *b, const struct drive_info *drive);
};

static void list_drive(void *opaque, const struct drive_info *drive)
{
    const struct drive_list *list = opaque;

    if (!drive->unplugged) {
        list->add(list->b, drive);
    }
}

static void list_drives(struct qmp_call *call,
                        void (*add)(JsonBuilder *b, const struct drive_info *drive))
{
    struct drive_list list = {json_builder_new(), add};

    json_builder_begin_array(list.b);
    qmp_foreach_drive(call->qmp, list_drive, &list);
    json_builder_end_array(list.b);
    qmp_call_build(call, list.b);
}

static void run_query_block(struct qmp_call *call, JsonObject *args)
{
    list_drives(call, add_block);
}

static void run_query_blockstats(struct qmp_call *call, JsonObject *args)
{
    list_drives(call, add_stats);
}

/*
 * The CD drive that "id" (2.8 and later) or "device" names, with a back end whose medium can
 * change. false: the call was answered.
 */
static bool find_cd(struct qmp_call *call, JsonObject *args, struct drive_info *drive)
{
    const char *id = qmp_arg_string(args, "id"), *device = qmp_arg_string(args, "device");
    const char *name = id ? id : device;

    if (!id == !device) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "give either 'id' or 'device'");
        return false;
    }
    if (!qmp_find_drive(call->qmp, name, drive)) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "there is no drive '%s'", name);
        return false;
    }
    if (!drive->cd) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "the medium of drive '%s' cannot change", name);
        return false;
    }
    return true;
}

static void run_eject(struct qmp_call *call, JsonObject *args)
{
    struct drive_info drive;
    GError *err = NULL;

    if (!find_cd(call, args, &drive)) {
        return;
    }
    if (ide_cd_request_eject(drive.device, qmp_arg_bool(args, "force", false), &err) == 0) {
        block_eject(drive.block);
    }
    qmp_call_finish(call, err);
}

/*
 * add-fd's "<format>:<path>" of libxl (toolstack.md 2.2) tells the file's name, which xentop wants
 * to see in query-block.
 */
static char *name_of_passed_file(const char *path, const char *opaque)
{
    const char *colon = opaque ? strchr(opaque, ':') : NULL;

    return g_strdup(colon && colon[1] ? colon + 1 : path);
}

struct change {
    struct qmp_call *call;
    int fd; /* that was passed; -1 */
};

static void medium_changed(void *opaque, GError *err)
{
    struct change *c = opaque;

    if (err && c->fd >= 0) { /* else the back end's now */
        close(c->fd);
    }
    qmp_call_finish(c->call, err);
    g_free(c);
}

static void run_change_medium(struct qmp_call *call, JsonObject *args)
{
    const char *file = qmp_arg_string(args, "filename");
    const char *mode = qmp_arg_string(args, "read-only-mode");
    const char *format = qmp_arg_string(args, "format");
    struct block_options options = {.format = format ? format : "raw", .read_only = true, .fd = -1};
    g_autofree char *opaque = NULL, *name = NULL;
    struct drive_info drive;
    struct change *change;
    GError *err = NULL;

    if (!find_cd(call, args, &drive)) {
        return;
    }
    if (!*file || (mode && strcmp(mode, "retain") != 0 && strcmp(mode, "read-only") != 0)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      *file ? "argument 'read-only-mode': a CD drive is read-only"
                            : "argument 'filename' is empty");
        return;
    }
    if (qmp_fdset_is_path(file)) {
        options.fd = qmp_fdset_take(call->qmp, file, false, &opaque, &err);
        if (options.fd < 0) {
            qmp_call_finish(call, err);
            return;
        }
    }
    name = name_of_passed_file(file, opaque);
    options.id = drive.id;
    options.file = name;
    change = g_new(struct change, 1);
    *change = (struct change){.call = call, .fd = options.fd};
    if (ide_cd_ask_eject(drive.device, qmp_arg_bool(args, "force", false), &err) < 0) {
        medium_changed(change, err);
    } else {
        block_insert(drive.block, &options, medium_changed, change);
    }
}

/* "-f" in front: *force. The rest. */
static const char *take_force(const char *arg, JsonObject *args)
{
    bool force = g_str_has_prefix(arg, "-f ");

    json_object_set_boolean_member(args, "force", force);
    return force ? arg + 3 + strspn(arg + 3, " \t") : arg;
}

void hmp_eject(struct qmp_call *call, const char *arg)
{
    g_autoptr(JsonObject) args = json_object_new();

    json_object_set_string_member(args, "device", take_force(arg, args));
    run_eject(call, args);
}

/* QEMU's order: change DEVICE [-f] FILE [FORMAT [MODE]]. */
void hmp_change(struct qmp_call *call, const char *arg)
{
    static const char *const names[] = {"filename", "format", "read-only-mode"};
    g_autoptr(JsonObject) args = json_object_new();
    g_autofree char *device = g_strdup(arg);
    g_autofree char *rest = g_strdup(take_force(hmp_split_word(device), args));
    char *word = rest;

    json_object_set_string_member(args, "device", device);
    for (size_t i = 0; i < G_N_ELEMENTS(names) && *word; i++) {
        char *next = (char *)hmp_split_word(word);

        json_object_set_string_member(args, names[i], word);
        word = next;
    }
    if (*word || !json_object_has_member(args, "filename")) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "change DEVICE [-f] FILE [FORMAT [read-only]]%s",
                      strcmp(device, "vnc") == 0
                          ? "; VNC's password: QMP's set_password, xl's configuration"
                          : "");
        return;
    }
    run_change_medium(call, args);
}

/* ---- PCI ---- */

static void add_pci_region(JsonBuilder *b, const struct pci_device *pci, unsigned n)
{
    const struct pci_bar *bar = &pci->bar[n];
    enum pci_bar_type type = n == PCI_BAR_ROM ? PCI_BAR_MEM32 : pci->dev.class->pci->bar[n].type;

    if (type == PCI_BAR_NONE || !bar->size || bar->address == PCI_BAR_UNMAPPED) {
        return;
    }
    json_builder_begin_object(b);
    qmp_build_int(b, "bar", n);
    qmp_build_string(b, "type", type == PCI_BAR_IO ? "io" : "memory");
    qmp_build_int(b, "address", (gint64)bar->address);
    qmp_build_int(b, "size", (gint64)bar->size);
    if (type != PCI_BAR_IO) {
        qmp_build_bool(b, "prefetch", n != PCI_BAR_ROM && pci->dev.class->pci->bar[n].prefetchable);
        qmp_build_bool(b, "mem_type_64", type == PCI_BAR_MEM64);
    }
    json_builder_end_object(b);
}

static void add_pci_device(void *opaque, struct pci_device *pci)
{
    JsonBuilder *b = opaque;
    const struct pci_info *info = pci->dev.class->pci;

    if (pci->powered_down) {
        return;
    }
    json_builder_begin_object(b);
    qmp_build_int(b, "bus", 0);
    qmp_build_int(b, "slot", PCI_SLOT(pci->devfn));
    qmp_build_int(b, "function", PCI_FUNCTION(pci->devfn));
    qmp_build_string(b, "qdev_id", pci->dev.id);
    json_builder_set_member_name(b, "class_info");
    json_builder_begin_object(b);
    qmp_build_int(b, "class", info->class >> 8);
    qmp_build_string(b, "desc", pci->dev.class->help ? pci->dev.class->help : pci->dev.class->name);
    json_builder_end_object(b);
    json_builder_set_member_name(b, "id");
    json_builder_begin_object(b);
    qmp_build_int(b, "vendor", info->vendor);
    qmp_build_int(b, "device", info->device);
    qmp_build_int(b, "subsystem-vendor", info->subsystem_vendor);
    qmp_build_int(b, "subsystem", info->subsystem);
    json_builder_end_object(b);
    if (info->intx_pin) {
        qmp_build_int(b, "irq_pin", info->intx_pin);
        qmp_build_int(b, "irq", pci->config[0x3c]);
    }
    json_builder_set_member_name(b, "regions");
    json_builder_begin_array(b);
    for (unsigned n = 0; n <= PCI_BAR_ROM; n++) {
        add_pci_region(b, pci, n);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
}

static void run_query_pci(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    json_builder_begin_object(b);
    qmp_build_int(b, "bus", 0);
    json_builder_set_member_name(b, "devices");
    json_builder_begin_array(b);
    qmp_foreach_pci(call->qmp, add_pci_device, b);
    json_builder_end_array(b);
    json_builder_end_object(b);
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

/* ---- vCPUs: Xen runs them; here is only which of them the guest's ACPI shows ---- */

static void add_cpu_props(JsonBuilder *b, unsigned vcpu)
{
    json_builder_set_member_name(b, "props");
    json_builder_begin_object(b);
    qmp_build_int(b, "socket-id", vcpu);
    qmp_build_int(b, "core-id", 0);
    qmp_build_int(b, "thread-id", 0);
    json_builder_end_object(b);
}

static void run_query_cpus(struct qmp_call *call, JsonObject *args)
{
    struct machine *m = call->qmp->target->machine;
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    for (unsigned vcpu = 0; vcpu < m->vcpus; vcpu++) {
        if (board_vcpu_is_online(m, vcpu)) {
            json_builder_begin_object(b);
            qmp_build_int(b, "cpu-index", vcpu);
            qmp_build_string(b, "target", "x86_64");
            add_cpu_props(b, vcpu);
            json_builder_end_object(b);
        }
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void run_query_hotpluggable_cpus(struct qmp_call *call, JsonObject *args)
{
    struct machine *m = call->qmp->target->machine;
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    for (unsigned vcpu = m->vcpus; vcpu-- > 0;) {
        json_builder_begin_object(b);
        add_cpu_props(b, vcpu);
        qmp_build_int(b, "vcpus-count", 1);
        if (board_vcpu_is_online(m, vcpu)) {
            g_autofree char *path = g_strdup_printf("/machine/vcpu[%u]", vcpu);
            qmp_build_string(b, "qom-path", path);
        }
        qmp_build_string(b, "type", CPU_TYPE);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void plug_vcpu(struct qmp_call *call, gint64 vcpu)
{
    struct machine *m = call->qmp->target->machine;
    int rc;

    if (vcpu < 0 || vcpu >= (gint64)m->vcpus) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "there is no vCPU %" G_GINT64_FORMAT ", the last one is %u", vcpu,
                      m->vcpus - 1);
        return;
    }
    rc = board_vcpu_online(m, (unsigned)vcpu);
    if (rc < 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "vCPU %" G_GINT64_FORMAT ": %s", vcpu,
                      g_strerror(-rc));
    } else {
        qmp_call_return(call, NULL);
    }
}

static void run_cpu_add(struct qmp_call *call, JsonObject *args)
{
    plug_vcpu(call, json_object_get_int_member(args, "id"));
}

/* An integer argument of device_add: 0, or what is wrong with it. */
static const char *cpu_number(JsonObject *args, const char *name, gint64 *value)
{
    JsonNode *node = json_object_get_member(args, name);

    if (!node) {
        return "is missing";
    }
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != JSON_TYPE_INT) {
        return "must be an integer";
    }
    *value = json_node_get_int(node);
    return NULL;
}

/* An argument as the text that the class's own table reads; NULL: of no type that becomes text. */
static char *option_text(JsonNode *node)
{
    if (!JSON_NODE_HOLDS_VALUE(node)) {
        return NULL;
    }
    switch (json_node_get_value_type(node)) {
    case JSON_TYPE_STRING:
        return g_strdup(json_node_get_string(node));
    case JSON_TYPE_INT:
        return g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
    case JSON_TYPE_BOOLEAN:
        return g_strdup(json_node_get_boolean(node) ? "on" : "off");
    default:
        return NULL;
    }
}

struct object_desc *qmp_describe_object(struct qmp_call *call, JsonObject *args,
                                        const char *driver_key, struct object_desc *o)
{
    g_autoptr(GList) members = json_object_get_members(args);

    for (GList *l = members; l; l = l->next) {
        const char *name = l->data;
        g_autofree char *text = option_text(json_object_get_member(args, name));

        if (strcmp(name, driver_key) == 0 || strcmp(name, "id") == 0) {
            continue;
        }
        if (!text) {
            qmp_call_fail(call, QMP_GENERIC_ERROR,
                          "%s: '%s' is neither text, nor a number, nor true or false",
                          call->command->name, name);
            object_desc_free(o);
            return NULL;
        }
        object_desc_set(o, name, text);
    }
    return o;
}

static void plug_device(struct qmp_call *call, JsonObject *args)
{
    struct object_desc *o =
        qmp_describe_object(call, args, "driver",
                            object_desc_new(OBJECT_DEVICE, 0, qmp_arg_string(args, "driver"),
                                            qmp_arg_string(args, "id")));
    GError *err = NULL;

    if (o) {
        device_plug(call->qmp->target->machine, o, &err);
        object_desc_free(o);
        qmp_call_finish(call, err);
    }
}

static void plug_cpu_device(struct qmp_call *call, JsonObject *args)
{
    static const char *const known[] = {"driver", "id", "socket-id", "core-id", "thread-id", NULL};
    const char *driver = qmp_arg_string(args, "driver");
    g_autoptr(GList) members = json_object_get_members(args);
    gint64 number[3] = {0, 0, 0};

    for (GList *l = members; l; l = l->next) {
        if (!g_strv_contains(known, l->data)) {
            qmp_call_fail(call, QMP_GENERIC_ERROR, "device_add: there is no argument '%s' for %s",
                          (char *)l->data, driver);
            return;
        }
    }
    for (int i = 0; i < 3; i++) {
        const char *wrong = cpu_number(args, known[2 + i], &number[i]);

        if (wrong) {
            qmp_call_fail(call, QMP_GENERIC_ERROR, "device_add: argument '%s' %s", known[2 + i],
                          wrong);
            return;
        }
    }
    if (number[1] != 0 || number[2] != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "device_add: every vCPU is core 0, thread 0 of its socket");
        return;
    }
    plug_vcpu(call, number[0]);
}

static void run_device_add(struct qmp_call *call, JsonObject *args)
{
    if (strcmp(qmp_arg_string(args, "driver"), CPU_TYPE) == 0) {
        plug_cpu_device(call, args);
    } else {
        plug_device(call, args);
    }
}

void hmp_device_add(struct qmp_call *call, const char *arg)
{
    GError *err = NULL;
    struct object_desc *o =
        config_parse_object(OBJECT_DEVICE, 0, "device_add", "driver", arg, &err);

    if (o) {
        device_plug(call->qmp->target->machine, o, &err);
        object_desc_free(o);
    }
    qmp_call_finish(call, err);
}

/*
 * The guest is asked, where the bus has a way: DEVICE_DELETED tells when it is gone. libxl takes
 * DeviceNotFound for "gone already", and goes on.
 */
static void run_device_del(struct qmp_call *call, JsonObject *args)
{
    const char *id = qmp_arg_string(args, "id");
    struct device *dev = machine_find(call->qmp->target->machine, id);
    GError *err = NULL;

    if (!dev) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "there is no device '%s'", id);
        return;
    }
    device_request_unplug(dev, &err);
    qmp_call_finish(call, err);
}

void hmp_device_del(struct qmp_call *call, const char *arg)
{
    g_autoptr(JsonObject) args = json_object_new();

    json_object_set_string_member(args, "id", arg);
    run_device_del(call, args);
}

/* ---- what a driver takes ---- */

static void build_property(JsonBuilder *b, const struct property *p)
{
    static const char *const types[] = {
        [PROP_BOOL] = "bool",  [PROP_UINT32] = "uint32", [PROP_UINT64] = "uint64",
        [PROP_STRING] = "str", [PROP_BACKEND] = "str",
    };

    json_builder_begin_object(b);
    qmp_build_string(b, "name", p->name);
    qmp_build_string(b, "type", types[p->type]);
    if (p->help) {
        qmp_build_string(b, "description", p->help);
    }
    if (p->def) {
        qmp_build_string(b, "default-value", p->def);
    }
    json_builder_end_object(b);
}

static void run_device_list_properties(struct qmp_call *call, JsonObject *args)
{
    const struct device_class *class = device_class_find(qmp_arg_string(args, "typename"));
    JsonBuilder *b;

    if (!class) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
                      qmp_arg_string(args, "typename"));
        return;
    }
    b = json_builder_new();
    json_builder_begin_array(b);
    for (const struct property *p = class->properties; p && p->name; p++) {
        build_property(b, p);
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

const struct qmp_command qmp_device_commands[] = {
    {"device-list-properties", run_device_list_properties, 0, {{"typename", QMP_ARG_STRING}}},
    {"device_del", run_device_del, QMP_NEEDS_MACHINE, {{"id", QMP_ARG_STRING}}},
    {"query-block", run_query_block},
    {"query-blockstats",
     run_query_blockstats,
     0,
     {{"query-nodes", QMP_ARG_BOOL | QMP_ARG_OPTIONAL}}},
    {"eject",
     run_eject,
     QMP_NEEDS_MACHINE,
     {{"id", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"device", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"force", QMP_ARG_BOOL | QMP_ARG_OPTIONAL}}},
    {"blockdev-change-medium",
     run_change_medium,
     QMP_NEEDS_MACHINE,
     {{"id", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"device", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"filename", QMP_ARG_STRING},
      {"format", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"force", QMP_ARG_BOOL | QMP_ARG_OPTIONAL},
      {"read-only-mode", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"query-pci", run_query_pci, QMP_NEEDS_MACHINE},
    {"query-cpus-fast", run_query_cpus, QMP_NEEDS_MACHINE},
    {"query-hotpluggable-cpus", run_query_hotpluggable_cpus, QMP_NEEDS_MACHINE},
    {"device_add",
     run_device_add,
     QMP_NEEDS_MACHINE | QMP_ANY_ARGS,
     {{"driver", QMP_ARG_STRING}, {"id", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"cpu-add", run_cpu_add, QMP_NEEDS_MACHINE, {{"id", QMP_ARG_INT}}},
    {NULL},
};
