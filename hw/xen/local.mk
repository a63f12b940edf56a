# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libhwxen.la
libhwxen_la_SOURCES = hw/xen/platform.c hw/xen/pvdevice.c
