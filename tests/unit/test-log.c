/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log: what a guest may have written into it in a day, whatever it does. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/log.h>
#include <xendm/recorder.h>

#define DAY 86400

/* As fast as it can, for three days, with lines of every length. */
static void test_budget(void)
{
    struct log_budget b = {.begun = false};
    unsigned told = 0;
    time_t start = 1000;
    uint64_t total[3] = {0};

    for (time_t now = start; now < start + 3 * DAY; now++) {
        for (unsigned len = 1; len < 2000; len += 397) {
            bool was_empty = b.empty;

            if (log_budget_take(&b, now, len)) {
                total[(now - start) / DAY] += len;
            } else if (!was_empty) {
                told++;
            }
        }
    }
    for (unsigned day = 0; day < 3; day++) {
        g_assert_cmpuint(total[day], <=, 1 << 20);
        g_assert_cmpuint(total[day], >=, 512 << 10);
    }
    g_assert_cmpuint(told, <=, 30);
}

/* A quiet guest's line is there after any time. */
static void test_budget_grows(void)
{
    struct log_budget b = {.begun = false};

    while (log_budget_take(&b, 5, 100)) {
    }
    g_assert_false(log_budget_take(&b, 6, 100));
    g_assert_false(log_budget_take(&b, 5 + 3600, 100));
    g_assert_true(log_budget_take(&b, 5 + 5 * 3600, 100));
    g_assert_true(log_budget_take(&b, INT64_C(1) << 40, 100));
    g_assert_cmpuint(b.left, <=, LOG_GUEST_BYTES_BURST);
}

/* Every subsystem's burst at once, with the longest lines: the end is said once. */
static void test_guest_lines(void)
{
    g_autofree char *text = g_strnfill(900, 'x');
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("xendm-log-XXXXXX", &name, NULL), stderr_fd = dup(STDERR_FILENO);
    g_autofree char *log = NULL;
    gsize len;
    unsigned told = 0;

    g_assert_cmpint(fd, >=, 0);
    dup2(fd, STDERR_FILENO);
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned sub = 0; sub < LOG_SUBSYSTEM_COUNT; sub++) {
            if (round % 2) {
                log_guest(sub, "%s", text);
            } else {
                log_provoked(sub, XLOG_INFO, "%s", text);
            }
        }
    }
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    close(fd);
    g_assert_true(g_file_get_contents(name, &log, &len, NULL));
    unlink(name);
    g_assert_cmpuint(len, <=, LOG_GUEST_BYTES_BURST + 1024);
    g_assert_cmpuint(len, >=, LOG_GUEST_BYTES_BURST / 2);
    for (const char *p = log; (p = strstr(p, "used up its share")); p++) {
        told++;
    }
    g_assert_cmpuint(told, ==, 1);
    g_assert_cmpuint(log_guest_count(LOG_IDE), ==, 1000);
}

static char *dump(void)
{
    g_autofree char *name = NULL;
    char *text = NULL;
    int fd = g_file_open_tmp("xendm-log-XXXXXX", &name, NULL);

    recorder_dump(fd, 0);
    close(fd);
    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    unlink(name);
    return text;
}

/* A value that was left out is shown as such; what was kept on request is forgotten on request. */
static void test_recorder(void)
{
    g_autofree char *first = NULL, *second = NULL;

    recorder_note(REC_PIO_READ, 1 | RECORDER_NO_VALUE, 0x60, 0);
    recorder_note(REC_PIO_READ, 1, 0x64, 0x1d);
    first = dump();
    g_assert_nonnull(strstr(first, "a=0x60 b=- aux=0x1\n"));
    g_assert_nonnull(strstr(first, "a=0x64 b=0x1d aux=0x1\n"));
    recorder_set_payload(true);
    recorder_note(REC_PIO_READ, 1, 0x60, 0x1e);
    recorder_set_payload(false);
    second = dump();
    g_assert_null(strstr(second, "0x1e"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/budget", test_budget);
    g_test_add_func("/log/budget-grows", test_budget_grows);
    g_test_add_func("/log/guest-lines", test_guest_lines);
    g_test_add_func("/log/recorder", test_recorder);
    return g_test_run();
}
