# SPDX-License-Identifier: GPL-2.0-or-later
# What firmware is given.
noinst_LTLIBRARIES += libhwfw.la
libhwfw_la_SOURCES = hw/fw/fw-cfg.c hw/fw/linux-boot.c hw/fw/linux-boot.h
