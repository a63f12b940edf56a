/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and switches written as text. One reading for command line, QMP, xenstore and files. */
#ifndef XENDM_NUMBERS_H
#define XENDM_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The whole text as a number within [min, max]: 0, -EINVAL or -ERANGE. Decimal or 0x…; no sign, no
 * space, no octal: a leading zero means nothing.
 */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* The same in hexadecimal, with or without 0x, up to `*end`; end NULL: the whole text. */
int number_parse_hex(const char *text, uint64_t max, uint64_t *value, const char **end);

/*
 * "504", "504M", "1G": with a letter in KiB, MiB, GiB or TiB, without in `unit` bytes. 1 to `max`
 * bytes.
 */
int number_parse_size(const char *text, uint64_t unit, uint64_t max, uint64_t *bytes);

/* on/off, yes/no, true/false: 0 or -EINVAL. */
int bool_parse(const char *text, bool *value);

#endif
