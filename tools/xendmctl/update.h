/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef XENDMCTL_UPDATE_H
#define XENDMCTL_UPDATE_H

#define UPDATE_ARGUMENTS "DOMID|SOCKET [--binary PATH]"

/* What follows "update"; the exit status, or -1: wrong usage. */
int update_main(int argc, char **argv);

#endif
