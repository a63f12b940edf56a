/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's seat for programs: what follows each verb; an exit status, -1: wrong usage. */
#ifndef XENDMCTL_SEAT_H
#define XENDMCTL_SEAT_H

int seat_screen(int argc, char **argv);
int seat_type(int argc, char **argv);
int seat_key(int argc, char **argv);
int seat_click(int argc, char **argv);
int seat_wait_screen(int argc, char **argv);
int seat_wait_serial(int argc, char **argv);
int seat_film(int argc, char **argv);

#endif
