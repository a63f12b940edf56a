/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QMP and HMP change about drives while they are used: medium, size, limits. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include <xendm/block.h>
#include <xendm/numbers.h>

#include "internal.h"

#define MIB (UINT64_C(1) << 20)

/* ---- which ---- */

struct drive_search {
    const char *name;
    struct drive_info *found;
    bool done;
};

/* By the device's id, the drive's, or its node's, as QEMU's "id", "device" and "node-name". */
static void match_drive(void *opaque, const struct drive_info *drive)
{
    struct drive_search *search = opaque;

    if (!drive->unplugged && !search->done &&
        (strcmp(drive->qdev, search->name) == 0 || strcmp(drive->id, search->name) == 0 ||
         (search->name[0] == '#' && strcmp(drive->id, search->name + 1) == 0))) {
        *search->found = *drive;
        search->done = true;
    }
}

bool qmp_find_drive(struct qmp *qmp, const char *name, struct drive_info *found)
{
    struct drive_search search = {name, found, false};

    qmp_foreach_drive(qmp, match_drive, &search);
    return search.done;
}

/* ---- nodes: a drive's medium is the only one ---- */

void qmp_build_node_name(JsonBuilder *b, const struct drive_info *drive)
{
    g_autofree char *name = g_strconcat("#", drive->id, NULL);

    qmp_build_string(b, "node-name", name);
}

/* What it takes of its file system; a server's is not known. */
static void build_actual_size(JsonBuilder *b, const struct block *block)
{
    struct stat st;
    int fd = block_fd(block);

    if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        qmp_build_int(b, "actual-size", (gint64)st.st_blocks * 512);
    }
}

static void build_image(JsonBuilder *b, const struct block *block)
{
    json_builder_set_member_name(b, "image");
    json_builder_begin_object(b);
    qmp_build_string(b, "filename", block_file(block));
    qmp_build_string(b, "format", block_format(block));
    qmp_build_int(b, "virtual-size", (gint64)block_size(block));
    build_actual_size(b, block);
    qmp_build_bool(b, "dirty-flag", false);
    json_builder_end_object(b);
}

void qmp_build_medium(JsonBuilder *b, const struct drive_info *drive)
{
    const struct block_cache *cache = block_cache(drive->block);

    qmp_build_string(b, "file", block_file(drive->block));
    qmp_build_node_name(b, drive);
    qmp_build_bool(b, "ro", block_read_only(drive->block));
    qmp_build_string(b, "drv", block_format(drive->block));
    qmp_build_int(b, "backing_file_depth", 0);
    qmp_build_bool(b, "encrypted", false);
    qmp_build_string(b, "detect_zeroes", "off");
    qmp_build_int(b, "write_threshold", 0);
    qmp_build_limits(b, drive->block);
    json_builder_set_member_name(b, "cache");
    json_builder_begin_object(b);
    qmp_build_bool(b, "writeback", !cache->through);
    qmp_build_bool(b, "direct", cache->direct);
    qmp_build_bool(b, "no-flush", cache->no_flush);
    json_builder_end_object(b);
    build_image(b, drive->block);
}

static void add_node(void *opaque, const struct drive_info *drive)
{
    JsonBuilder *b = opaque;

    if (!drive->unplugged && block_present(drive->block)) {
        json_builder_begin_object(b);
        qmp_build_medium(b, drive);
        json_builder_end_object(b);
    }
}

static void run_query_named_block_nodes(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    qmp_foreach_drive(call->qmp, add_node, b);
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

/* ---- size ---- */

static void resized(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

static void resize(struct qmp_call *call, const char *name, uint64_t size)
{
    struct drive_info drive;

    if (!name || !qmp_find_drive(call->qmp, name, &drive)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "Cannot find device='%s' nor node-name=''",
                      name ? name : "");
    } else if (!block_present(drive.block)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "Device '%s' has no medium", name);
    } else {
        block_resize(drive.block, size, resized, call);
    }
}

static void run_block_resize(struct qmp_call *call, JsonObject *args)
{
    const char *device = qmp_arg_string(args, "device"), *node = qmp_arg_string(args, "node-name");
    gint64 size = json_object_get_int_member(args, "size");

    if (size < 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "Parameter 'size' expects a >0 size");
    } else {
        resize(call, device ? device : node, (uint64_t)size);
    }
}

/* "512M"; without a letter MiB are meant. */
static bool read_size(const char *text, uint64_t *size)
{
    static const char letters[] = "BKMGT";
    size_t len = strlen(text);
    const char *letter = len > 0 ? strchr(letters, g_ascii_toupper(text[len - 1])) : NULL;
    g_autofree char *digits = g_strndup(text, letter ? len - 1 : len);
    uint64_t unit = letter ? UINT64_C(1) << (10 * (letter - letters)) : MIB, n;

    if (number_parse(digits, 0, (uint64_t)INT64_MAX / unit, &n) < 0) {
        return false;
    }
    *size = n * unit;
    return true;
}

void hmp_block_resize(struct qmp_call *call, const char *arg)
{
    g_autofree char *name = g_strdup(arg);
    const char *text = hmp_split_word(name);
    uint64_t size;

    if (!*name || !read_size(text, &size)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "block_resize DEVICE SIZE, as 20G; without a letter MiB are meant");
    } else {
        resize(call, name, size);
    }
}

/* ---- limits ---- */

/* QMP's names: "bps", "bps_max", "bps_max_length", … */
static const char *const qmp_rates[BLOCK_RATES] = {
    [BLOCK_BPS_TOTAL] = "bps",   [BLOCK_BPS_READ] = "bps_rd",   [BLOCK_BPS_WRITE] = "bps_wr",
    [BLOCK_IOPS_TOTAL] = "iops", [BLOCK_IOPS_READ] = "iops_rd", [BLOCK_IOPS_WRITE] = "iops_wr",
};

static void build_number(JsonBuilder *b, const char *name, const char *suffix, uint64_t value,
                         bool always)
{
    g_autofree char *full = g_strconcat(name, suffix, NULL);

    if (value || always) {
        qmp_build_int(b, full, (gint64)value);
    }
}

void qmp_build_limits(JsonBuilder *b, const struct block *block)
{
    static const struct block_throttle none;
    const struct block_throttle *t = block_throttle(block) ? block_throttle(block) : &none;

    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        build_number(b, qmp_rates[i], "", t->rate[i].avg, true);
        build_number(b, qmp_rates[i], "_max", t->rate[i].max, false);
        build_number(b, qmp_rates[i], "_max_length", t->rate[i].max ? t->rate[i].length : 0, false);
    }
    build_number(b, "iops_size", "", t->op_size, false);
    if (block_throttle_group(block)) {
        qmp_build_string(b, "group", block_throttle_group(block));
    }
}

void hmp_limits_line(GString *text, const struct block *block)
{
    const struct block_throttle *t = block_throttle(block);
    g_autoptr(GString) line = g_string_new("    I/O throttling:  ");

    if (!t) {
        return;
    }
    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        g_string_append_printf(line, " %s=%" PRIu64 " %s_max=%" PRIu64, qmp_rates[i],
                               t->rate[i].avg, qmp_rates[i], t->rate[i].max);
    }
    hmp_out(text, "%s iops_size=%" PRIu64 " group=%s", line->str, t->op_size,
            block_throttle_group(block));
}

/* Where the argument of that name belongs; NULL: it is no limit. */
static uint64_t *limit_place(struct block_throttle *t, const char *name)
{
    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        const char *rest =
            g_str_has_prefix(name, qmp_rates[i]) ? name + strlen(qmp_rates[i]) : "no";

        if (!*rest) {
            return &t->rate[i].avg;
        }
        if (strcmp(rest, "_max") == 0) {
            return &t->rate[i].max;
        }
        if (strcmp(rest, "_max_length") == 0) {
            return &t->rate[i].length;
        }
    }
    return strcmp(name, "iops_size") == 0 ? &t->op_size : NULL;
}

/* What is wrong with an argument; NULL: nothing. */
static const char *take_limit(struct block_throttle *t, const char *name, JsonNode *node)
{
    uint64_t *place = limit_place(t, name);

    if (!place) {
        return "there is no such argument";
    }
    if (!qmp_has_type(node, QMP_ARG_INT)) {
        return "it must be an integer";
    }
    if (json_node_get_int(node) < 0) {
        return "it cannot be negative";
    }
    *place = (uint64_t)json_node_get_int(node);
    return NULL;
}

static void set_limits(struct qmp_call *call, const char *name, const struct block_throttle *t,
                       const char *group)
{
    struct drive_info drive;
    GError *err = NULL;

    if (!name || !qmp_find_drive(call->qmp, name, &drive)) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "there is no drive '%s'", name ? name : "");
        return;
    }
    block_set_throttle(drive.block, t, group, &err);
    qmp_call_finish(call, err);
}

static void run_block_set_io_throttle(struct qmp_call *call, JsonObject *args)
{
    static const char *const needed[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
    const char *id = qmp_arg_string(args, "id"), *device = qmp_arg_string(args, "device");
    g_autoptr(GList) members = json_object_get_members(args);
    struct block_throttle t = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!json_object_has_member(args, needed[i])) {
            qmp_call_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' is missing", needed[i]);
            return;
        }
    }
    for (GList *l = members; l; l = l->next) {
        static const char *const others[] = {"id", "device", "group", NULL};
        const char *wrong = g_strv_contains(others, l->data)
                                ? NULL
                                : take_limit(&t, l->data, json_object_get_member(args, l->data));

        if (wrong) {
            qmp_call_fail(call, QMP_GENERIC_ERROR, "block_set_io_throttle: argument '%s': %s",
                          (const char *)l->data, wrong);
            return;
        }
    }
    set_limits(call, id ? id : device, &t, qmp_arg_string(args, "group"));
}

void hmp_block_set_io_throttle(struct qmp_call *call, const char *arg)
{
    g_autofree char *name = g_strdup(arg);
    g_auto(GStrv) words = g_strsplit_set(hmp_split_word(name), " \t", -1);
    struct block_throttle t = {0};

    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        if (i >= g_strv_length(words) || number_parse(words[i], 0, INT64_MAX, &t.rate[i].avg) < 0) {
            qmp_call_fail(call, QMP_GENERIC_ERROR,
                          "block_set_io_throttle DEVICE BPS BPS_RD BPS_WR IOPS IOPS_RD IOPS_WR");
            return;
        }
    }
    set_limits(call, name, &t, NULL);
}

const struct qmp_command qmp_block_commands[] = {
    {"query-named-block-nodes",
     run_query_named_block_nodes,
     0,
     {{"flat", QMP_ARG_BOOL | QMP_ARG_OPTIONAL}}},
    {"query-block-jobs", qmp_run_empty_list}, /* nothing works on images in the background */
    {"query-jobs", qmp_run_empty_list},
    {"block_resize",
     run_block_resize,
     QMP_NEEDS_MACHINE,
     {{"device", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"node-name", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"size", QMP_ARG_INT}}},
    {"block_set_io_throttle",
     run_block_set_io_throttle,
     QMP_NEEDS_MACHINE | QMP_ANY_ARGS,
     {{"id", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"device", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"group", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {NULL},
};

/* ---- HMP: info blockstats ---- */

static void stats_line(void *opaque, const struct drive_info *d)
{
    const struct block_stats *s = block_stats(d->block);

    if (!d->unplugged) {
        hmp_out(opaque,
                "%s: rd_bytes=%" PRIu64 " wr_bytes=%" PRIu64 " rd_operations=%" PRIu64
                " wr_operations=%" PRIu64 " flush_operations=%" PRIu64
                " failed_rd_operations=%" PRIu64 " failed_wr_operations=%" PRIu64,
                d->id, s->bytes[BLOCK_READ], s->bytes[BLOCK_WRITE], s->ops[BLOCK_READ],
                s->ops[BLOCK_WRITE], s->ops[BLOCK_FLUSH], s->errors[BLOCK_READ],
                s->errors[BLOCK_WRITE]);
    }
}

void hmp_info_blockstats(struct qmp *qmp, GString *text, const char *arg)
{
    qmp_foreach_drive(qmp, stats_line, text);
}

void hmp_info_block_jobs(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "No active jobs");
}
