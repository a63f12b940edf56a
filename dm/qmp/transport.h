/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's transport: monitors (listening sockets), clients, framing. It knows no command: what
 * happens is told by struct qmp_transport_ops.
 */
#ifndef DM_QMP_TRANSPORT_H
#define DM_QMP_TRANSPORT_H

#include "qmp.h"

#define QMP_COMMAND_MAX (256u << 10) /* bytes of one command */
#define QMP_DEPTH_MAX 1024u          /* nesting of one command */
#define QMP_OUTPUT_HIGH (64u << 10)  /* no more input is read while so much output waits */
#define QMP_EVENT_HIGH (256u << 10)  /* events are dropped while so much output waits */
#define QMP_CLIENTS_MAX 16u          /* per monitor; others stay in the backlog */
#define QMP_CLIENT_FDS_MAX 8u        /* descriptors received and not yet used by add-fd */

struct qmp_call;
struct qmp_client;

struct qmp_transport_ops {
    void (*arrived)(struct qmp_client *client);
    /*
     * One document. As long as it leaves client->call set no other is read; qmp_client_resume()
     * goes on.
     */
    void (*document)(struct qmp_client *client, const char *text, gsize len);
    void (*garbage)(struct qmp_client *client, const char *why); /* what is no document */
    void (*gone)(struct qmp_client *client);
    void (*last_gone)(struct qmp *qmp); /* no client is left on any monitor */
};

/* A listening socket. */
struct qmp_monitor {
    struct qmp_transport *transport;
    struct qmp *qmp; /* whose: for those behind the transport */
    char *id;
    int fd;
    guint source;       /* 0 while no more clients are taken */
    guint retry;        /* timer after a failed accept() */
    GPtrArray *clients; /* struct qmp_client * */
    bool quiet;         /* no events: xentop takes what it reads for one reply */
    char *path;         /* we made it: removed at the end if it is still ours */
    uint64_t device, inode;
};

struct qmp_client {
    struct qmp_monitor *monitor;
    unsigned number;
    int fd;
    GSource *source;
    gpointer tag; /* of the descriptor in the source */
    bool negotiated;
    bool eof;              /* it will send no more */
    bool broken;           /* to be closed as soon as nobody uses it */
    bool closing;          /* to be closed as soon as all is written */
    bool busy;             /* client_process() is at work */
    bool more;             /* its time was up: the next turn goes on with what was read */
    struct qmp_call *call; /* the command under way: no other is begun */

    GByteArray *in;
    struct {
        gsize at;    /* first byte of `in` that was not looked at */
        gsize start; /* of the document */
        unsigned depth;
        guint8 brackets[QMP_DEPTH_MAX / 8]; /* bit n: level n was opened by '[' */
        guint8 quote;                       /* inside a string: what ends it; else 0 */
        bool escape;
        bool skip; /* garbage: to the end of the line */
        gsize skipped;
    } scan;

    GByteArray *out;
    gsize written; /* bytes of `out` that are gone */
    uint64_t events_dropped;

    int fds[QMP_CLIENT_FDS_MAX];
    unsigned nfds;
};

/* The transport's part of struct qmp. */
struct qmp_transport {
    const struct qmp_transport_ops *ops;
    struct qmp *qmp;
    GPtrArray *monitors;  /* struct qmp_monitor * */
    unsigned clients;     /* connected now, on all monitors */
    unsigned next_number; /* for the log and the recorder */
};

/*
 * For a live update: a client without a greeting, a monitor on a socket that another process made.
 */
struct qmp_socket {
    int fd;
    char *path; /* NULL: the toolstack's */
    uint64_t device, inode;
};
struct qmp_client *qmp_client_new(struct qmp_monitor *monitor, int fd);
int qmp_monitor_new(struct qmp_transport *t, const struct monitor_desc *desc,
                    const struct qmp_socket *inherited, GError **err);

void qmp_client_send(struct qmp_client *client, const char *message); /* JSON on one line */
/* its call ended: go on with what was read */
void qmp_client_resume(struct qmp_client *client);

/* The oldest descriptor that came with the client's bytes, or -1. */
int qmp_client_take_fd(struct qmp_client *client);

void qmp_transport_init(struct qmp_transport *t, const struct qmp_transport_ops *ops,
                        struct qmp *qmp);
void qmp_transport_clear(struct qmp_transport *t);

#endif
