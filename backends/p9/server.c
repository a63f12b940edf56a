/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm-p9: serves one directory to one guest. Started by xendm or its broker, with the socket as
 * descriptor 3 and the directory as 4:
 *
 *   xendm-p9 MODEL [rw|ro]
 *
 * One request after the other, so none overtakes another. It ends when xendm's end of the socket
 * does.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/helper.h>
#include <xendm/one-fd.h>

#include "confine.h"
#include "session.h"
#include "wire.h"

#define FILES_MAX 16384u /* of the host's, that are open at once */
#define FILES_RESERVED 32u

static unsigned raise_limit(void)
{
    struct rlimit r = {0};

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    getrlimit(RLIMIT_NOFILE, &r);
    return r.rlim_cur > FILES_MAX + FILES_RESERVED ? FILES_MAX
           : r.rlim_cur > 4 * FILES_RESERVED       ? (unsigned)r.rlim_cur - FILES_RESERVED
                                                   : FILES_RESERVED;
}

/* The memory that both have; NULL: it is not what was agreed on. */
static uint8_t *receive_memory(void)
{
    struct p9_wire hello;
    struct stat st;
    int fd = -1;
    void *at = MAP_FAILED;
    size_t size = (size_t)P9_SLOTS * P9_SLOT_SIZE;

    if (one_fd_receive(HELPER_FD_SOCKET, &hello, sizeof(hello), &fd, 0) == sizeof(hello) &&
        fd >= 0 && hello.slot == P9_WIRE_HELLO && hello.length == size && fstat(fd, &st) == 0 &&
        st.st_size == (off_t)size) {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return at == MAP_FAILED ? NULL : at;
}

static bool is_request(const struct p9_wire *w)
{
    return w->slot < P9_SLOTS && w->length <= P9_SLOT_SIZE && w->limit >= P9_LIMIT_MIN &&
           w->limit <= P9_SLOT_SIZE;
}

static int serve(struct session *s, uint8_t *memory)
{
    struct p9_wire w;
    ssize_t n;

    for (;;) {
        n = recv(HELPER_FD_SOCKET, &w, sizeof(w), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n != sizeof(w) || !is_request(&w)) {
            return n == 0 ? 0 : 1;
        }
        w.length =
            (uint32_t)session_handle(s, memory + (size_t)w.slot * P9_SLOT_SIZE, w.length, w.limit);
        if (send(HELPER_FD_SOCKET, &w, sizeof(w), MSG_NOSIGNAL) != sizeof(w)) {
            return 1;
        }
    }
}

int main(int argc, char **argv)
{
    int model =
        argc == 2 || argc == 3 ? model_find(argv[1]) : -1; /* a broker of old says no more */
    unsigned files = raise_limit();
    struct session *s;
    uint8_t *memory;

    if (model < 0) {
        fprintf(stderr, "xendm-p9 is started by xendm, for 9pfs and virtio-9p-pci\n");
        return 1;
    }
    signal(SIGHUP, SIG_IGN); /* libxl's, to xendm: our end comes by the socket */
    signal(SIGINT, SIG_IGN);
    memory = receive_memory();
    s = memory && confine(HELPER_FD_PASSED, model != MODEL_MAPPED)
            ? session_new(HELPER_FD_PASSED, (enum model)model, files)
            : NULL;
    if (s) {
        s->read_only = argc == 3 && strcmp(argv[2], "ro") == 0;
    }
    /* Not by exit(): a leak sanitizer would look for /proc, which is not in this root. */
    _exit(s ? serve(s, memory) : 1);
}
