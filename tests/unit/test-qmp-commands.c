/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's commands and the human monitor, on a fake machine (qmp-fakes.c): what libxl asks, what it
 * gets, and what becomes of nonsense.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/vnc.h>
#include <xendm/log.h>

#include "qmp-fakes.h"
#include "qmp-fixture.h"

/* ---- commands ---- */

static void test_errors(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    assert_error(c, "{\"execute\":\"no-such-command\"}", "CommandNotFound", "no-such-command");
    assert_error(c, "{\"execute\":\"query-status\",\"arguments\":{\"x\":1}}", "GenericError",
                 "'x'");
    assert_error(c, "{\"execute\":\"xen-set-global-dirty-log\"}", "GenericError",
                 "'enable' is missing");
    assert_error(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":1}}",
                 "GenericError", "'enable' must be a boolean");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":\"1\"}}", "GenericError",
                 "'id' must be an integer");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":1.5}}", "GenericError",
                 "'id' must be an integer");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":{}}}", "GenericError",
                 "'id' must be an integer");
    assert_error(c, "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":null}}",
                 "GenericError", "'password' must be a string");
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"nothing\"}}", "DeviceNotFound",
                 "nothing");
    assert_error(c, "{\"execute\":\"eject\"}", "GenericError", "'id'");
    client_close(c);
    dm_free(dm);
}

static void test_life(void)
{
    static const struct {
        enum qmp_status status;
        const char *name;
    } statuses[] = {
        {QMP_STATUS_PRELAUNCH, "prelaunch"}, {QMP_STATUS_INMIGRATE, "inmigrate"},
        {QMP_STATUS_PAUSED, "paused"},       {QMP_STATUS_RUNNING, "running"},
        {QMP_STATUS_SUSPENDED, "suspended"}, {QMP_STATUS_SHUTDOWN, "shutdown"},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);

    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        g_autoptr(JsonNode) reply = NULL;

        dm->status = statuses[i].status;
        reply = ask(c, "{\"execute\":\"query-status\"}");
        assert_text(reply, "return/status", statuses[i].name);
        g_assert_true(json_node_get_boolean(at(reply, "return/running")) ==
                      (dm->status == QMP_STATUS_RUNNING));
    }
    dm->stop_at_once = true;
    assert_ok(c, "{\"execute\":\"cont\"}");
    assert_ok(c, "{\"execute\":\"cont\"}");
    g_assert_cmpuint(dm->conts, ==, 2);
    assert_ok(c, "{\"execute\":\"stop\"}");
    g_assert_cmpint(dm->status, ==, QMP_STATUS_PAUSED);
    assert_ok(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":true}}");
    g_assert_cmpint(dm->log_dirty, ==, 1);
    assert_ok(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":false}}");
    g_assert_cmpint(dm->log_dirty, ==, 0);
    assert_ok(c, "{\"execute\":\"system_reset\"}");
    g_assert_cmpuint(fake_qmp.resets, ==, 1);
    assert_error(c, "{\"execute\":\"system_wakeup\"}", "GenericError", "not suspended");
    assert_error(c, "{\"execute\":\"system_powerdown\"}", "GenericError", "xl trigger");
    client_close(c);
    dm_free(dm);
}

static void test_queries(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) chardev = ask(c, "{\"execute\":\"query-chardev\"}");
    g_autoptr(JsonNode) vnc = ask(c, "{\"execute\":\"query-vnc\"}");
    g_autoptr(JsonNode) version = ask(c, "{\"execute\":\"query-version\"}");
    g_autoptr(JsonNode) pci = ask(c, "{\"execute\":\"query-pci\"}");
    g_autoptr(JsonNode) options = ask(c, "{\"execute\":\"query-command-line-options\"}");
    JsonArray *all = json_node_get_array(at(options, "return"));
    bool chroot_found = false, user_found = false;

    assert_text(chardev, "return/0/label", "serial0");
    assert_text(chardev, "return/0/filename", "null");
    g_assert_true(json_node_get_boolean(at(chardev, "return/0/frontend-open")));
    assert_text(chardev, "return/1/label", "libxl-cmd");
    g_assert_false(json_node_get_boolean(at(vnc, "return/enabled")));
    assert_error(c, "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":\"x\"}}",
                 "DeviceNotActive", "no VNC server");
    assert_int(version, "return/qemu/major", 7);
    assert_int(pci, "return/0/bus", 0);
    assert_int(pci, "return/0/devices/0/slot", 3);
    assert_int(pci, "return/0/devices/0/function", 1);
    assert_text(pci, "return/0/devices/0/qdev_id", "fake-pci");
    assert_int(pci, "return/0/devices/0/regions/0/address", 0xf0000000);
    g_assert_null(at(pci, "return/0/devices/1")); /* the unplugged one is not shown */
    for (guint i = 0; i < json_array_get_length(all); i++) {
        JsonNode *option = json_array_get_element(all, i);

        if (strcmp(text_at(option, "option"), "run-with") == 0) {
            chroot_found = strcmp(text_at(option, "parameters/0/name"), "chroot") == 0;
            user_found = strcmp(text_at(option, "parameters/1/name"), "user") == 0;
        }
    }
    g_assert_true(chroot_found && user_found);
    client_close(c);
    dm_free(dm);
}

static void test_vnc(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    dm->target.vnc = (struct vnc *)&fake_qmp; /* who asks gets what the fake says of any */
    g_autoptr(JsonNode) vnc = ask(c, "{\"execute\":\"query-vnc\"}");
    g_autoptr(JsonNode) servers = ask(c, "{\"execute\":\"query-vnc-servers\"}");
    g_assert_true(json_node_get_boolean(at(vnc, "return/enabled")));
    assert_text(vnc, "return/host", "127.0.0.1");
    assert_text(vnc, "return/service", "5901"); /* a string, as libxl wants it */
    assert_text(vnc, "return/auth", "vnc");
    assert_text(vnc, "return/clients/0/host", "192.0.2.7");
    assert_text(servers, "return/0/id", "default");
    assert_text(servers, "return/0/server/0/service", "5901");
    assert_text(servers, "return/0/clients/0/service", "40000");
    assert_ok(c, "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":\"x\"}}");
    g_assert_cmpstr(fake_qmp.password, ==, "x");
    assert_ok(c, "{\"execute\":\"set_password\",\"arguments\":"
                 "{\"protocol\":\"vnc\",\"password\":\"y\",\"connected\":\"keep\"}}");
    g_assert_cmpstr(fake_qmp.password, ==, "y");
    assert_error(c,
                 "{\"execute\":\"set_password\",\"arguments\":"
                 "{\"protocol\":\"spice\",\"password\":\"y\"}}",
                 "GenericError", "spice");
    assert_error(c,
                 "{\"execute\":\"set_password\",\"arguments\":"
                 "{\"protocol\":\"vnc\",\"password\":\"y\",\"connected\":\"disconnect\"}}",
                 "GenericError", "disconnect");
    assert_ok(c, "{\"execute\":\"expire_password\",\"arguments\":"
                 "{\"protocol\":\"vnc\",\"time\":\"never\"}}");
    g_assert_cmpint(fake_qmp.expires, ==, VNC_NEVER);
    assert_ok(c, "{\"execute\":\"expire_password\",\"arguments\":"
                 "{\"protocol\":\"vnc\",\"time\":\"1000\"}}");
    g_assert_cmpint(fake_qmp.expires, ==, 1000);
    assert_error(c,
                 "{\"execute\":\"expire_password\",\"arguments\":"
                 "{\"protocol\":\"vnc\",\"time\":\"soon\"}}",
                 "GenericError", "soon");
    assert_error(c, "{\"execute\":\"set_link\",\"arguments\":{\"name\":\"net7\",\"up\":true}}",
                 "DeviceNotFound", "net7");
    client_close(c);
    dm_free(dm);
}

static void test_cpus(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) fast = ask(c, "{\"execute\":\"query-cpus-fast\"}");
    g_autoptr(JsonNode) pluggable = ask(c, "{\"execute\":\"query-hotpluggable-cpus\"}");
    g_autofree char *add = NULL;

    assert_int(fast, "return/0/cpu-index", 0);
    assert_int(fast, "return/1/cpu-index", 1);
    g_assert_null(at(fast, "return/2"));
    add = g_strdup_printf("{\"execute\":\"device_add\",\"arguments\":{\"id\":\"cpu-2\",\"driver\":"
                          "\"%s\",\"socket-id\":2,"
                          "\"core-id\":0,\"thread-id\":0}}",
                          text_at(pluggable, "return/0/type"));
    assert_ok(c, add);
    g_assert_true(fake_qmp.vcpu_online[2]);
    assert_ok(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":3}}");
    g_assert_true(fake_qmp.vcpu_online[3]);
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":4}}", "GenericError", "4");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":-1}}", "GenericError", "-1");
    assert_ok(c, "{'execute':'device_add','arguments':{'driver':'nic','id':'n1','mac':'m','n':7,"
                 "'bus':'pci.0'}}");
    g_assert_cmpstr(fake_qmp.plugged, ==, "nic n1 m 7"); /* text is the class's to read */
    assert_ok(c, "{'execute':'device_add','arguments':{'driver':'nic','n':true}}");
    g_assert_cmpstr(fake_qmp.plugged, ==, "nic - - on");
    assert_error(c, "{'execute':'device_add','arguments':{'driver':'nic','n':[1]}}", "GenericError",
                 "'n'");
    assert_error(c, "{'execute':'device_add','arguments':{'driver':'fixed'}}", "GenericError",
                 "hotplugging");
    assert_error(c, "{'execute':'device_del','arguments':{'id':'fake-pci'}}", "GenericError",
                 "hotplugging");
    assert_error(
        c,
        "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":\"1\"}}",
        "GenericError", "'socket-id' must be an integer");
    assert_error(c,
                 "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":"
                 "1,\"x\":2}}",
                 "GenericError", "'x'");
    client_close(c);
    dm_free(dm);
}

/* xl cd-insert, as libxl does it. */
static void test_cd(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autofree char *iso = g_strdup_printf("%s/a,b.iso", dm->dir);
    g_autofree char *add =
        g_strdup_printf("{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"raw:%s\"}}", iso);
    static const char *const change =
        "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\","
        "\"filename\":\"/dev/fdset/0\",\"format\":\"raw\"}}";
    unsigned before;

    g_assert_true(g_file_set_contents(iso, "iso", 3, NULL));
    before = open_fds();
    for (int i = 0; i < 3; i++) {
        g_autoptr(JsonNode) full = NULL, empty = NULL;

        assert_ok(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\"}}");
        g_assert_cmpint(add_fd(c, open_file(iso, O_RDONLY), add), ==, 0);
        assert_ok(c, change);
        full = ask(c, "{\"execute\":\"query-block\"}");
        assert_text(full, "return/1/device", "ide-5632");
        assert_text(full, "return/1/inserted/file", iso);
        g_assert_true(json_node_get_boolean(at(full, "return/1/inserted/ro")));
        assert_ok(c,
                  "{\"execute\":\"eject\",\"arguments\":{\"device\":\"ide-5632\",\"force\":true}}");
        empty = ask(c, "{\"execute\":\"query-block\"}");
        g_assert_null(at(empty, "return/1/inserted"));
    }
    g_assert_cmpuint(open_fds(), ==, before);
    assert_error(c, change, "GenericError", "/dev/fdset/0");
    fake_qmp.tray_locked = true;
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\"}}", "GenericError",
                 "locked");
    g_assert_cmpint(add_fd(c, open_file(iso, O_RDONLY), add), ==, 0);
    assert_error(c, change, "GenericError", "locked");
    g_assert_cmpuint(open_fds(), ==, before); /* not kept */
    fake_qmp.tray_locked = false;
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide0-hd0\"}}", "GenericError",
                 "ide0-hd0");
    assert_error(c,
                 "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\","
                 "\"filename\":\"/nowhere\"}}",
                 "GenericError", "nowhere");
    assert_error(c,
                 "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\","
                 "\"filename\":\"\"}}",
                 "GenericError", "filename");
    /* The guest unplugged its disk: it is no longer listed. */
    fake_qmp.disk_unplugged = true;
    {
        g_autoptr(JsonNode) rest = ask(c, "{\"execute\":\"query-block\"}");
        assert_text(rest, "return/0/device", "ide-5632");
        g_assert_null(at(rest, "return/1"));
    }
    fake_qmp.disk_unplugged = false;
    g_unlink(iso);
    client_close(c);
    dm_free(dm);
}

/* Size and limits, and who is told. */
static void test_drives(void)
{
    static const char limits[] = "'bps':0,'bps_rd':0,'bps_wr':0,'iops_rd':0,'iops_wr':0,'iops':";
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) nodes = ask(c, "{'execute':'query-named-block-nodes'}");
    g_autoptr(JsonNode) blocks = NULL, stats = ask(c, "{'execute':'query-blockstats'}");
    g_autofree char *set =
        g_strdup_printf("{'execute':'block_set_io_throttle','arguments':{'device':'ide0-hd0',%s100,"
                        "'iops_max':500,'iops_max_length':2,'iops_size':4096,'group':'g'}}",
                        limits);
    g_autofree char *low = g_strdup_printf("{'execute':'block_set_io_throttle','arguments':"
                                           "{'device':'ide0-hd0',%s100,'iops_max':50}}",
                                           limits);
    g_autofree char *odd = g_strdup_printf("{'execute':'block_set_io_throttle','arguments':"
                                           "{'device':'ide0-hd0',%s-1}}",
                                           limits);
    g_autofree char *text = NULL;
    gsize len;

    assert_text(nodes, "return/0/node-name", "#ide0-hd0");
    assert_text(nodes, "return/0/file", dm->disk_file);
    assert_text(nodes, "return/0/drv", "raw");
    assert_int(nodes, "return/0/image/virtual-size", 512);
    assert_int(nodes, "return/0/iops", 0);
    g_assert_true(json_node_get_boolean(at(nodes, "return/0/cache/writeback")));
    g_assert_null(at(nodes, "return/1")); /* the CD drive is empty */
    assert_text(stats, "return/0/node-name", "#ide0-hd0");
    assert_int(stats, "return/0/stats/rd_bytes", 0);
    assert_ok(c, "{'execute':'block_resize','arguments':{'device':'ide0-hd0','size':2048}}");
    g_assert_true(g_file_get_contents(dm->disk_file, &text, &len, NULL));
    g_assert_cmpuint(len, ==, 2048);
    assert_error(c, "{'execute':'block_resize','arguments':{'device':'ide0-hd0','size':-1}}",
                 "GenericError", "'size'");
    assert_error(c, "{'execute':'block_resize','arguments':{'device':'ide0-hd0','size':0}}",
                 "GenericError", "no bytes");
    assert_error(c, "{'execute':'block_resize','arguments':{'size':512}}", "GenericError",
                 "Cannot find device=''");
    assert_error(c, "{'execute':'block_resize','arguments':{'device':'ide-5632','size':512}}",
                 "GenericError", "no medium");
    assert_human(c, "block_resize #ide0-hd0 4K", "");
    assert_human(c, "block_resize ide0-hd0 x", "block_resize DEVICE SIZE");
    assert_human(c, "block_resize", "DEVICE SIZE");
    assert_ok(c, set);
    blocks = ask(c, "{'execute':'query-block'}");
    assert_int(blocks, "return/0/inserted/image/virtual-size", 4096);
    assert_int(blocks, "return/0/inserted/iops", 100);
    assert_int(blocks, "return/0/inserted/iops_max", 500);
    assert_int(blocks, "return/0/inserted/iops_max_length", 2);
    assert_int(blocks, "return/0/inserted/iops_size", 4096);
    assert_text(blocks, "return/0/inserted/group", "g");
    assert_text(blocks, "return/0/io-status", "ok");
    assert_human(c, "info block ide0-hd0", "iops=100 iops_max=500");
    assert_human(c, "info block -v", "limits of: g");
    assert_human(c, "info blockstats", "ide0-hd0: rd_bytes=0 wr_bytes=0");
    assert_error(c, low, "GenericError", "cannot be lower");
    assert_error(c, odd, "GenericError", "negative");
    assert_human(c, "block_set_io_throttle ide0-hd0 1 2 0 0 0 0", "cannot both be limited");
    assert_human(c, "block_set_io_throttle ide0-hd0 1", "BPS_RD");
    assert_human(c, "block_set_io_throttle ide0-hd0 0 0 0 0 0 0", "");
    blocks = (json_node_unref(blocks), ask(c, "{'execute':'query-block'}"));
    assert_int(blocks, "return/0/inserted/iops", 0);
    g_assert_null(at(blocks, "return/0/inserted/group"));
    assert_ok(c, "{'execute':'query-block-jobs'}");
    client_close(c);
    dm_free(dm);
}

static void test_seat(void)
{
    static const char *const wrong[][2] = {
        {"{'type':'foo','data':{}}", "'foo'"},
        {"{'type':'abs','data':{'axis':'q','value':1}}", "'q'"},
        {"{'type':'abs','data':{'axis':'x','value':'1'}}", "'value'"},
        {"{'type':'btn','data':{'down':true,'button':'nose'}}", "'nose'"},
        {"{'type':'btn','data':{'button':'left'}}", "'down'"},
        {"{'type':'btn'}", "'down'"},
        {"{'type':'key','data':{'down':true,'key':{'type':'qcode','data':'nokey'}}}", "nokey"},
        {"{'type':'key','data':{'down':true,'key':{'type':'number','data':200}}}", "200"},
        {"{'type':'key','data':{'down':true}}", "key"},
        {"7", "'type'"},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) mice = ask(c, "{'execute':'query-mice'}");

    assert_ok(c, "{'execute':'input-send-event','arguments':{'events':["
                 "{'type':'btn','data':{'down':true,'button':'left'}},"
                 "{'type':'btn','data':{'down':true,'button':'wheel-down'}},"
                 "{'type':'btn','data':{'down':false,'button':'wheel-down'}},"
                 "{'type':'rel','data':{'axis':'y','value':-5}},"
                 "{'type':'abs','data':{'axis':'x','value':20000}},"
                 "{'type':'key','data':{'down':true,'key':{'type':'qcode','data':'a'}}},"
                 "{'type':'key','data':{'down':false,'key':{'type':'number','data':30}}}]}}");
    g_assert_cmpstr(fake_qmp.events, ==,
                    "button 110 1, move 0 0 -1, move 0 -5 0, x=20000, key 30 1, key 30 0, sync; ");
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *command =
            g_strdup_printf("{'execute':'input-send-event','arguments':{'events':["
                            "{'type':'rel','data':{'axis':'x','value':1}},%s]}}",
                            wrong[i][0]);
        fake_qmp.events[0] = '\0';
        assert_error(c, command, "GenericError", wrong[i][1]);
        g_assert_cmpstr(fake_qmp.events, ==, ""); /* all or none */
    }
    assert_error(c, "{'execute':'input-send-event','arguments':{'device':'d','events':[]}}",
                 "DeviceNotFound", "'d'");
    assert_int(mice, "return/0/index", 3);
    g_assert_true(json_node_get_boolean(at(mice, "return/0/absolute")));
    g_assert_false(json_node_get_boolean(at(mice, "return/1/current")));
    assert_human(c, "info mice", "* Mouse #3: tablet (absolute)\r\n  Mouse #2: mouse\r\n");
    assert_human(c, "mouse_set 2", "");
    assert_human(c, "info mice", "* Mouse #2");
    assert_human(c, "mouse_set 7", "Mouse at index '7' not found");
    assert_human(c, "mouse_set x", "mouse_set NUMBER");
    assert_human(c, "mouse_move -3 4 1", "");
    assert_human(c, "mouse_button 5", "");
    g_assert_cmpstr(fake_qmp.events, ==,
                    "move -3 4 1, sync; button 110 1, button 112 0, button 111 1, sync; ");
    assert_human(c, "mouse_move 1", "DX DY");
    assert_human(c, "mouse_button 1 2", "STATE");
    client_close(c);
    dm_free(dm);
}

/* Networks come and go; nobody names a descriptor of ours. */
static void test_netdev(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    unsigned before = open_fds();

    assert_error(c, "{'execute':'netdev_add','arguments':{'type':'user','id':'n'}}", "GenericError",
                 "user");
    assert_error(c, "{'execute':'netdev_add','arguments':{'type':'tap','id':'n','fd':'3'}}",
                 "GenericError", "add-fd");
    assert_error(c, "{'execute':'netdev_add','arguments':{'type':'tap','id':'n','fd':3}}",
                 "GenericError", "add-fd");
    g_assert_cmpint(add_fd(c, open_file(dm->disk_file, O_RDWR), "{'execute':'add-fd'}"), ==, 0);
    assert_error(c,
                 "{'execute':'netdev_add','arguments':{'type':'tap','id':'n','fd':'/dev/fdset/0'}}",
                 "GenericError", "tap");
    g_assert_cmpint(add_fd(c, open_file(dm->disk_file, O_RDWR), "{'execute':'add-fd'}"), ==, 0);
    assert_error(c,
                 "{'execute':'netdev_add','arguments':{'type':'tap','id':'n','fd':'/dev/fdset/0',"
                 "'x':1}}",
                 "GenericError", "x");
    g_assert_cmpuint(open_fds(), ==, before);
    assert_error(c, "{'execute':'netdev_del','arguments':{'id':'n'}}", "DeviceNotFound", "'n'");
    assert_human(c, "netdev_del n", "'n' not found");
    assert_human(c, "netdev_add", "KIND");
    assert_human(c, "netdev_add user,id=n", "Error: ");
    assert_human(c, "device_add nic,id=n1,mac=m,n=7", "");
    g_assert_cmpstr(fake_qmp.plugged, ==, "nic n1 m 7");
    assert_human(c, "device_add fixed", "hotplugging");
    assert_human(c, "device_del nothing", "nothing");
    client_close(c);
    dm_free(dm);
}

/* What is not here says what to use instead. */
static void test_elsewhere(void)
{
    static const char *const words[][2] = {
        {"drive-backup", "storage"},      {"migrate", "xl migrate"},
        {"migrate-set-parameters", "xl"}, {"block-job-cancel", "no jobs"},
        {"inject-nmi", "xl trigger"},     {"query-tpm", "no TPM"},
        {"qom-get", "info devices"},      {"savevm", "xl save"},
        {"query-qmp-schema", "xendm(8)"}, {"blockdev-add", "xl block-attach"},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autofree char *command = g_strdup_printf("{'execute':'%s'}", words[i][0]);

        assert_error(c, command, "CommandNotFound", words[i][1]);
    }
    assert_error(c, "{'execute':'balloon','arguments':{'value':1}}", "DeviceNotActive", "mem-set");
    assert_error(c, "{'execute':'query-balloon'}", "DeviceNotActive", "mem-set");
    assert_human(c, "drive_backup ide0-hd0 x", "storage");
    assert_human(c, "info balloon", "mem-set");
    assert_human(c, "info nonsense", "lists them");
    assert_human(c, "nmi", "xl trigger");
    client_close(c);
    dm_free(dm);
}

static void test_human(void)
{
    static const char *const infos[][2] = {
        {"info status", "VM status: running\r\n"},
        {"info version", "xendm "},
        {"  info   name \\t", "g"},
        {"info block", "ide0-hd0"},
        {"info chardev", "serial0: filename=null"},
        {"info mtree", "fake-region"},
        {"info pci", "00:03.1 5853:0001"},
        {"info cpus", "vCPU 1: plugged"},
        {"info irq", "ISA  1: low"},
        {"info devices", "fake-pci"},
        {"info device fake-pci", "says: this"},
        {"info device nope", "Error: "},
        {"info device", "Error: "},
        {"info recorder", "\r\n"},
        {"info recorder 3", "\r\n"},
        {"info recorder 0", "Error: "},
        {"info recorder x", "Error: "},
        {"info log", "ide: info"},
        {"info mapcache", "buckets: 3\r\n"},
        {"info nonsense", "Error: "},
        {"info registers", "xenctx 7"},
        {"info", "info block"},
        {"info help", "info block"},
        {"help", "screendump -- FILE"},
        {"", ""},
        {"nonsense \\\"a}", "Error: "},
        {"log ide debug", ""},
        {"info log", "ide: debug"},
        {"log ide", "Error: "},
        {"log x debug", "Error: "},
        {"log ide info", ""},
        {"sendkey ctrl-alt-delete 100", ""},
        {"sendkey ctrl-nokey", "nokey"},
        {"sendkey a x", "Error: "},
        {"sendkey", "Error: "},
        {"screendump", "Error: "},
        {"balloon 512", "xl mem-set"},
        {"savevm x", "xl save"},
        {"xp /4x 0", "dump-core"},
        {"system_powerdown", "xl trigger"},
        {"recorder payload", "Error: "},
        {"screendump /tmp/a b.png", ""},
        {"cont", ""},
        {"c", ""},
        {"system_reset", ""},
    };
    static const char *const bad_keys[] = {
        "{'execute':'send-key','arguments':{'keys':[]}}",
        "{'execute':'send-key','arguments':{'keys':{}}}",
        "{'execute':'send-key','arguments':{'keys':[1]}}",
        "{'execute':'send-key','arguments':{'keys':[{}]}}",
        "{'execute':'send-key','arguments':{'keys':[{'type':'qcode','data':'nokey'}]}}",
        "{'execute':'send-key','arguments':{'keys':[{'type':'qcode','data':1}]}}",
        "{'execute':'send-key','arguments':{'keys':[{'type':'number','data':30}]}}",
        "{'execute':'send-key','arguments':{'hold-time':-1,'keys':[{'type':'qcode','data':'a'}]}}",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);
    g_autoptr(JsonNode) reply = NULL;

    dm->status = QMP_STATUS_RUNNING;
    for (size_t i = 0; i < G_N_ELEMENTS(infos); i++) {
        assert_human(c, infos[i][0], infos[i][1]);
        if (!*infos[i][1]) {
            g_autofree char *text = human(c, infos[i][0]);
            g_assert_cmpstr(text, ==, "");
        }
    }
    g_assert_cmpstr(fake_qmp.keys, ==, "ctrl-alt-delete");
    assert_ok(c, "{'execute':'send-key','arguments':{'keys':[{'type':'qcode','data':'a'}]}}");
    g_assert_cmpstr(fake_qmp.keys, ==, "1 keys from 30 for 100 ms");
    assert_ok(c, "{'execute':'send-key','arguments':{'hold-time':7,'keys':[{'type':'qcode',"
                 "'data':'a'},{'type':'qcode','data':'a'}]}}");
    g_assert_cmpstr(fake_qmp.keys, ==, "2 keys from 30 for 7 ms");
    assert_error(c, "{'execute':'device_del','arguments':{'id':'nothing'}}", "DeviceNotFound",
                 "nothing");
    assert_ok(c, "{'execute':'query-kvm'}");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad_keys); i++) {
        assert_error(c, bad_keys[i], "GenericError", "key");
    }
    g_assert_cmpstr(fake_qmp.screendump, ==, "/tmp/a b.png");
    say(c, "{\"execute\":\"human-monitor-command\",\"id\":8,\"arguments\":{\"command-line\":"
           "\"stop\"}}");
    assert_silence(c);
    finish_stop(dm);
    reply = get(c);
    assert_int(reply, "id", 8);
    assert_text(reply, "return", "");
    client_close(c);
    dm_free(dm);
}

/* Contract 1.9. */
static void test_probe(void)
{
    struct fake_dm *dm = dm_new(false);
    struct client *c = client_new(dm->path);

    assert_ok(c, "{\"execute\":\"query-command-line-options\",\"id\":1}");
    assert_ok(
        c, "{\"execute\":\"query-command-line-options\",\"arguments\":{\"option\":\"run-with\"}}");
    assert_error(c, "{\"execute\":\"query-command-line-options\",\"arguments\":{\"option\":\"x\"}}",
                 "GenericError", "'x'");
    assert_ok(c, "{\"execute\":\"query-block\"}");
    assert_ok(c, "{\"execute\":\"query-chardev\"}");
    assert_error(c, "{\"execute\":\"cont\"}", "GenericError", "machine");
    assert_error(c, "{\"execute\":\"query-pci\"}", "GenericError", "machine");
    assert_human(c, "info pci", "Error: ");
    assert_human(c, "cont", "Error: ");
    assert_ok(c, "{\"execute\":\"quit\"}");
    g_assert_cmpuint(dm->quits, ==, 1);
    client_close(c);
    dm_free(dm);
}

/* ---- everything with anything ---- */

/* Whatever arguments a command gets, it answers, and the connection lives. */
static void test_every_command(void)
{
    static const char *const values[] = {
        "0",
        "-1",
        "9223372036854775807",
        "1.5",
        "\"\"",
        "\"/dev/fdset/0\"",
        "\"ide-5632\"",
        "\"ide0-hd0\"",
        "\"xen-vcpu\"",
        "true",
        "null",
        "{}",
        "[]",
        "\"\\u0000\"",
        "\"info recorder\"",
    };
    static const char *const names[] = {
        "id",        "device",    "filename",    "format",         "force",
        "enable",    "live",      "driver",      "socket-id",      "core-id",
        "thread-id", "fdset-id",  "fd",          "opaque",         "command-line",
        "password",  "option",    "query-nodes", "read-only-mode", "size",
        "events",    "node-name", "bps",         "group",          "type",
        "typename",  "value",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);
    g_autoptr(JsonNode) list = ask(c, "{\"execute\":\"query-commands\"}");
    JsonArray *commands = json_node_get_array(at(list, "return"));
    GRand *rand = g_rand_new_with_seed(1);
    unsigned n = json_array_get_length(commands);

    dm->stop_at_once = true;
    g_assert_cmpuint(n, >, 25);
    for (unsigned round = 0; round < 40 * n; round++) {
        const char *name = text_at(json_array_get_element(commands, round % n), "name");
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(JsonNode) reply = NULL;

        g_string_printf(text, "{\"execute\":\"%s\",\"id\":%u,\"arguments\":{", name, round);
        for (int k = g_rand_int_range(rand, 0, 4); k > 0; k--) {
            g_string_append_printf(text, "\"%s\":%s%s",
                                   names[g_rand_int_range(rand, 0, G_N_ELEMENTS(names))],
                                   values[g_rand_int_range(rand, 0, G_N_ELEMENTS(values))],
                                   k > 1 ? "," : "");
        }
        g_string_append(text, "}}");
        reply = ask(c, text->str);
        assert_int(reply, "id", round);
        g_assert_true((at(reply, "return") != NULL) != (at(reply, "error") != NULL));
    }
    g_rand_free(rand);
    client_close(c);
    dm_free(dm);
}

/* Mutations of a conversation; only that the server stands it and serves others. */
static void test_mutations(void)
{
    static const char conversation[] =
        "{\"execute\":\"qmp_capabilities\"}\r\n{\"execute\":\"query-block\",\"id\":{\"a\":[1,2,"
        "\"\\\"}\"]}}\n"
        "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\",\"force\":true},\"id\":-3}"
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info "
        "mtree\"}}\r\n"
        "{\"execute\":\"add-fd\"}{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-"
        "vcpu\",\"socket-id\":1}}";
    struct fake_dm *dm = dm_new(true);
    struct client *witness = client_new(dm->quiet_path);
    GRand *rand = g_rand_new_with_seed(2);

    dm->stop_at_once = true;
    for (int round = 0; round < 1500; round++) {
        struct client *c = client_open(dm->path);
        g_autofree char *text = g_memdup2(conversation, sizeof(conversation));
        size_t len = sizeof(conversation) - 1;

        for (int k = g_rand_int_range(rand, 0, 6); k > 0; k--) {
            static const char interesting[] = "{}[]\"\\,:\n\0\xff"
                                              "0a";
            size_t where = (size_t)g_rand_int_range(rand, 0, (gint32)len);

            if (g_rand_int_range(rand, 0, 3) == 0) {
                len = where + 1;
            } else {
                text[where] = interesting[g_rand_int_range(rand, 0, sizeof(interesting) - 1)];
            }
        }
        put(c, text, len);
        settle();
        pull(c);
        client_close(c);
    }
    settle();
    assert_ok(witness, "{\"execute\":\"query-status\"}");
    g_rand_free(rand);
    client_close(witness);
    dm_free(dm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("qmp", "error");
    g_test_add_func("/qmp/errors", test_errors);
    g_test_add_func("/qmp/life", test_life);
    g_test_add_func("/qmp/queries", test_queries);
    g_test_add_func("/qmp/vnc", test_vnc);
    g_test_add_func("/qmp/cpus", test_cpus);
    g_test_add_func("/qmp/cd", test_cd);
    g_test_add_func("/qmp/drives", test_drives);
    g_test_add_func("/qmp/seat", test_seat);
    g_test_add_func("/qmp/netdev", test_netdev);
    g_test_add_func("/qmp/elsewhere", test_elsewhere);
    g_test_add_func("/qmp/human", test_human);
    g_test_add_func("/qmp/probe", test_probe);
    g_test_add_func("/qmp/every-command", test_every_command);
    g_test_add_func("/qmp/mutations", test_mutations);
    return g_test_run();
}
