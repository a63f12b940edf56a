noinst_LTLIBRARIES += libhwxen.la
libhwxen_la_SOURCES =
