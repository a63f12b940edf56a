# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libhwchar.la
libhwchar_la_SOURCES = hw/char/serial.c
