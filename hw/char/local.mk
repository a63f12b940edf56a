noinst_LTLIBRARIES += libhwchar.la
libhwchar_la_SOURCES = hw/char/serial.c
