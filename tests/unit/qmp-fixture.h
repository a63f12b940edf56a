/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fake daemon behind a real struct qmp, and clients of its sockets. Every function fails the test
 * when something takes twenty seconds, or is not what it must be.
 */
#ifndef QMP_FIXTURE_H
#define QMP_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <xendm/json.h>

#include "dm/qmp/qmp.h"

struct fake_dm {
    struct machine_desc *desc;
    struct qmp_target target;
    struct qmp *qmp;
    char *dir, *path, *quiet_path;
    struct backend_set *backends; /* NULL: no machine */
    char *disk_file;

    enum qmp_status status;
    unsigned conts;
    struct qmp_call *stop; /* not finished yet */
    bool stop_at_once;
    unsigned saves;
    bool save_live;
    int log_dirty;
    unsigned quits;
};

struct fake_dm *dm_new(bool machine); /* false: the probe run, without machine */
void dm_free(struct fake_dm *dm);
void finish_stop(struct fake_dm *dm); /* what is in flight completes */

struct client {
    int fd;
    GString *in;
};

struct client *client_open(const char *path); /* connects */
struct client *client_new(const char *path);  /* … and negotiates */
void client_close(struct client *c);

void settle(void); /* lets the server work until it has nothing to do */

void put(struct client *c, const void *data, size_t len);
void say(struct client *c, const char *text);
bool pull(struct client *c); /* reads what is there; false at the end of the stream */
/* The next line; it must end in CR LF and have no other line end. NULL when the server hung up. */
char *get_line(struct client *c);
JsonNode *get(struct client *c); /* the next line as JSON */
JsonNode *ask(struct client *c, const char *command);
void assert_silence(struct client *c);

/* The value at a path like "return/status" or "return/0/id"; NULL if there is none. */
JsonNode *at(JsonNode *node, const char *path);
const char *text_at(JsonNode *node, const char *path);
void assert_text(JsonNode *reply, const char *path, const char *want);
void assert_int(JsonNode *reply, const char *path, gint64 want);

void assert_ok(struct client *c, const char *command);
void assert_error(struct client *c, const char *command, const char *class,
                  const char *part_of_desc);

/* The reply of human-monitor-command; the caller frees. */
char *human(struct client *c, const char *line);
void assert_human(struct client *c, const char *line, const char *part);

unsigned open_fds(void); /* how many this process has */
/* The descriptors ride on the first byte, as libxl sends them. */
void say_with_fds(struct client *c, const char *text, const int *fds, unsigned nfds);
int open_file(const char *name, int flags);
gint64 add_fd(struct client *c, int fd, const char *command); /* closes fd; the set's id */

#endif
