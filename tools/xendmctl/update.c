/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl update: asks a running xendm, over QMP, to go on as another program. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xendm/json.h>

#include "update.h"

/* libxl's monitor; xendm takes several clients on it. */
#define LIBXL_SOCKET "/var/run/xen/qmp-libxl-%s"
/* xendm gives up on a program after 30 s, and on itself after 20 s more. */
#define PATIENCE_S 90

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "xendmctl: %s: %s\n", what, why);
    return 1;
}

static bool is_domid(const char *text)
{
    return text[0] && text[strspn(text, "0123456789")] == '\0';
}

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
            if (node) {
                json_node_unref(node);
            }
            return NULL;
        }
        if (!json_object_has_member(json_node_get_object(node), "event")) {
            return node;
        }
        json_node_unref(node);
    }
}

static JsonNode *execute(FILE *qmp, const char *command, const char *binary)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;
    g_autofree char *text = NULL;

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "execute");
    json_builder_add_string_value(b, command);
    if (binary) {
        json_builder_set_member_name(b, "arguments");
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "binary");
        json_builder_add_string_value(b, binary);
        json_builder_end_object(b);
    }
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    text = json_to_string(root, FALSE);
    fseek(qmp, 0, SEEK_CUR); /* from reading to writing */
    if (fprintf(qmp, "%s\r\n", text) < 0 || fflush(qmp) != 0) {
        return NULL;
    }
    return receive(qmp);
}

static const char *text_of(const JsonObject *object, const char *name, const char *otherwise)
{
    const char *text = json_object_get_string_member(object, name);

    return text ? text : otherwise;
}

static int show(JsonNode *reply, const char *target)
{
    JsonObject *object = json_node_get_object(reply);
    JsonObject *result;

    if (json_object_has_member(object, "error")) {
        return fail(target, text_of(json_node_get_object(json_object_get_member(object, "error")),
                                    "desc", "failed"));
    }
    if (!json_object_has_member(object, "return")) {
        return fail(target, "an answer that is none");
    }
    result = json_node_get_object(json_object_get_member(object, "return"));
    printf("%s: now %s (%s); the guest waited %.1f ms + %.1f ms, %.1f ms in all\n", target,
           text_of(result, "binary", "?"), text_of(result, "version", "?"),
           (double)json_object_get_int_member(result, "check-pause-us") / 1000,
           (double)json_object_get_int_member(result, "pause-us") / 1000,
           (double)json_object_get_int_member(result, "total-us") / 1000);
    return 0;
}

static int update(const char *target, const char *binary)
{
    g_autofree char *path =
        is_domid(target) ? g_strdup_printf(LIBXL_SOCKET, target) : g_strdup(target);
    FILE *qmp = connect_to(path);
    JsonNode *reply;
    int status;

    if (!qmp) {
        return fail(path, g_strerror(errno));
    }
    reply = receive(qmp);
    if (reply) {
        json_node_unref(reply);
        reply = execute(qmp, "qmp_capabilities", NULL);
    }
    if (reply) {
        json_node_unref(reply);
        reply = execute(qmp, "xendm-update", binary);
    }
    status = reply ? show(reply, target) : fail(path, "no answer: is it xendm, and does it run?");
    if (reply) {
        json_node_unref(reply);
    }
    fclose(qmp);
    return status;
}

int update_main(int argc, char **argv)
{
    const char *target = NULL, *option = NULL;
    g_autofree char *binary = NULL;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--binary") == 0 && i + 1 < argc && !option) {
            option = argv[++i];
        } else if (argv[i][0] != '-' && !target) {
            target = argv[i];
        } else {
            return -1;
        }
    }
    if (!target) {
        return -1;
    }
    binary = option ? g_canonicalize_filename(option, NULL) : NULL;
    return update(target, binary);
}
