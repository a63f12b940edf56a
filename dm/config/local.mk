# SPDX-License-Identifier: GPL-2.0-or-later
# What the toolstack says: the command line and the machine description made of it.
noinst_LTLIBRARIES += libdmconfig.la
libdmconfig_la_CPPFLAGS = $(AM_CPPFLAGS)
libdmconfig_la_SOURCES = \
	dm/config/args.c dm/config/args.h dm/config/chardevs.c dm/config/config.h dm/config/devices.c dm/config/drives.c dm/config/instances.c dm/config/kernel.c \
	dm/config/machine-desc.c dm/config/options.c dm/config/optlist.c dm/config/optlist.h dm/config/process.c
libdmconfig_la_LIBADD = $(GLIB_LIBS)
