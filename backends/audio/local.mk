# SPDX-License-Identifier: GPL-2.0-or-later
# Sound on the host's side. No Xen header here.
noinst_LTLIBRARIES += libbackendsaudio.la
libbackendsaudio_la_SOURCES = backends/audio/audio.c backends/audio/audio.h backends/audio/wav.c
libbackendsaudio_la_LIBADD = $(GLIB_LIBS)
