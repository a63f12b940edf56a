/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's monitor; see qmp.h. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xendm/one-fd.h>

#include "page.h"
#include "qmp.h"

#define LIBXL_SOCKET "/var/run/xen/qmp-libxl-%s"
/* xendm gives up on a program after 30 s, and on itself after 20 s more. */
#define PATIENCE_S 90

static FILE *connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return NULL;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return NULL;
    }
    return fdopen(fd, "r+");
}

/* The next message that is no event; NULL when there is none. */
static JsonNode *receive(FILE *qmp)
{
    for (;;) {
        char *text = NULL;
        size_t size = 0;
        ssize_t n = getline(&text, &size, qmp);
        JsonNode *node = n > 0 ? json_from_string(text, NULL) : NULL;

        free(text);
        if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
            json_node_unref(node);
            return NULL;
        }
        if (!json_object_has_member(json_node_get_object(node), "event")) {
            return node;
        }
        json_node_unref(node);
    }
}

/* A descriptor goes with the first byte. */
static bool send_text(FILE *qmp, const char *text, int fd)
{
    size_t len = strlen(text);

    for (size_t done = 0; done < len;) {
        ssize_t n = one_fd_send(fileno(qmp), text + done, fd >= 0 ? 1 : len - done, fd, 0);

        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
        fd = -1;
    }
    return true;
}

JsonNode *qmp_ask(FILE *qmp, const char *command, JsonNode *arguments, int fd)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;
    g_autofree char *text = NULL, *line = NULL;

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "execute");
    json_builder_add_string_value(b, command);
    if (arguments) {
        json_builder_set_member_name(b, "arguments");
        json_builder_add_value(b, arguments);
    }
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    text = json_to_string(root, FALSE);
    line = g_strdup_printf("%s\r\n", text);
    return send_text(qmp, line, fd) ? receive(qmp) : NULL;
}

JsonNode *qmp_do(FILE *qmp, const char *command, JsonNode *arguments, int fd)
{
    g_autoptr(JsonNode) reply = qmp_ask(qmp, command, arguments, fd);
    JsonObject *object = reply ? json_node_get_object(reply) : NULL;
    JsonNode *result = object ? json_object_get_member(object, "return") : NULL;
    JsonNode *error = object ? json_object_get_member(object, "error") : NULL;
    const char *why =
        error ? json_object_get_string_member(json_node_get_object(error), "desc") : NULL;

    if (!result) {
        fprintf(stderr, "xendmctl: %s: %s\n", command,
                why ? why : "the device model does not answer");
        return NULL;
    }
    return json_node_ref(result);
}

static char *socket_of(const char *guest)
{
    g_autoptr(page_t) page = NULL;
    g_autofree char *domid = NULL;

    if (strchr(guest, '/')) {
        return g_strdup(guest);
    }
    if (*guest && guest[strspn(guest, "0123456789")] == '\0') {
        return g_strdup_printf(LIBXL_SOCKET, guest);
    }
    page = page_of_guest(guest);
    domid = page ? g_strdup_printf("%u", page->raw.domid) : NULL;
    return domid ? g_strdup_printf(LIBXL_SOCKET, domid) : NULL;
}

FILE *qmp_open(const char *guest)
{
    g_autofree char *path = socket_of(guest);
    FILE *qmp = path ? connect_to(path) : NULL;
    g_autoptr(JsonNode) greeting = NULL, answer = NULL;

    if (!path) {
        return NULL;
    }
    if (!qmp) {
        fprintf(stderr, "xendmctl: %s: %s\n", path, g_strerror(errno));
        return NULL;
    }
    greeting = receive(qmp);
    answer = greeting ? qmp_ask(qmp, "qmp_capabilities", NULL, -1) : NULL;
    if (!answer) {
        fprintf(stderr, "xendmctl: %s: no answer: is it xendm, and does it run?\n", path);
        fclose(qmp);
        return NULL;
    }
    return qmp;
}
