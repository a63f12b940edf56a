/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's monitor: libxl's socket, on which xendm takes several clients. */
#ifndef XENDMCTL_QMP_H
#define XENDMCTL_QMP_H

#include <stdio.h>

#include <xendm/json.h>

/* By domain id, by the name of a guest that has a page, or by the socket's path. NULL: said. */
FILE *qmp_open(const char *guest);
/*
 * The answer, or NULL when none came: the guest's device model does not run. `arguments` is taken
 * over, NULL: none. `fd` goes along, -1: none.
 */
JsonNode *qmp_ask(FILE *qmp, const char *command, JsonNode *arguments, int fd);
/* Its "return"; NULL: what went wrong was said. */
JsonNode *qmp_do(FILE *qmp, const char *command, JsonNode *arguments, int fd);

#endif
