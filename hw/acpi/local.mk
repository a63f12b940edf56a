noinst_LTLIBRARIES += libhwacpi.la
libhwacpi_la_SOURCES =
