/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands for servers of directories, at link time: the test answers. */
#ifndef XENDM_TEST_FAKE_P9_H
#define XENDM_TEST_FAKE_P9_H

#include <stdbool.h>
#include <stdint.h>

extern bool fake_p9_refuses;   /* no server is started */
extern unsigned fake_p9_links; /* servers that are there */

/* One of the requests that the newest has, chosen by `which`. False: it has none. */
bool fake_p9_answer(unsigned which, uint32_t length);
/* It is gone. */
void fake_p9_end(void);

#endif
