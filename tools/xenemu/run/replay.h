/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xenemu replay: a recording of xendm's, played. */
#ifndef XENEMU_REPLAY_H
#define XENEMU_REPLAY_H

int replay_main(int argc, char **argv);

#endif
