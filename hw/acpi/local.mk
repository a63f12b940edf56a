# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libhwacpi.la
libhwacpi_la_SOURCES = hw/acpi/piix4-pm.c
