# SPDX-License-Identifier: GPL-2.0-or-later
# Sound cards.
noinst_LTLIBRARIES += libhwaudio.la
HW_LIBS += libhwaudio.la
libhwaudio_la_SOURCES = hw/audio/ac97.c
