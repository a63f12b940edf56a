noinst_LTLIBRARIES += libmapcache.la
libmapcache_la_SOURCES = mapcache/mapcache.c
