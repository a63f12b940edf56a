noinst_LTLIBRARIES += libhwpc.la
libhwpc_la_SOURCES =
