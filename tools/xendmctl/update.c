/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl update: asks a running xendm, over QMP, to go on as another program. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <xendm/json.h>

#include "qmp.h"
#include "update.h"

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "xendmctl: %s: %s\n", what, why);
    return 1;
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
    FILE *qmp = qmp_open(target);
    JsonObject *arguments = json_object_new();
    g_autoptr(JsonNode) reply = NULL;

    if (binary) {
        json_object_set_string_member(arguments, "binary", binary);
    }
    reply = qmp ? qmp_ask(qmp, "xendm-update", json_node_of_object(arguments), -1) : NULL;
    json_object_unref(arguments);
    if (!qmp) {
        return 1;
    }
    fclose(qmp);
    return reply ? show(reply, target) : fail(target, "no answer: is it xendm, and does it run?");
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
