noinst_LTLIBRARIES += libhwcore.la
libhwcore_la_SOURCES =
