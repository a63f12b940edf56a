# SPDX-License-Identifier: GPL-2.0-or-later
# Helpers of tools/bench; see docs/benchmarks.md. Built with everything else, so that they do not rot.
noinst_PROGRAMS += tools/benchmarks/floor-dm tools/benchmarks/start-timer tools/benchmarks/mapcache-bench

tools_benchmarks_floor_dm_SOURCES = tools/benchmarks/floor-dm.c
tools_benchmarks_floor_dm_CPPFLAGS = $(AM_CPPFLAGS) -D__XEN_TOOLS__ $(XEN_CFLAGS)
tools_benchmarks_floor_dm_LDADD = -lxendevicemodel -lxenforeignmemory -lxenevtchn -lxenstore

tools_benchmarks_start_timer_SOURCES = tools/benchmarks/start-timer.c
tools_benchmarks_start_timer_LDADD = -lxenstore

tools_benchmarks_mapcache_bench_SOURCES = tools/benchmarks/mapcache-bench.c
tools_benchmarks_mapcache_bench_LDADD = libmapcache.la libbase.la $(GLIB_LIBS)

EXTRA_DIST += tools/bench docs/benchmarks.md tools/benchkit/__init__.py tools/benchkit/access.py \
    tools/benchkit/bench.py tools/benchkit/default.py tools/benchkit/disk.py tools/benchkit/guest.py tools/benchkit/ide.py \
    tools/benchkit/instances.py tools/benchkit/mapcache.py tools/benchkit/memory.py tools/benchkit/net.py \
    tools/benchkit/p9fs.py tools/benchkit/processes.py tools/benchkit/qdisk.py tools/benchkit/result.py tools/benchkit/rfb.py tools/benchkit/start.py \
    tools/benchkit/state.py tools/benchkit/string.py tools/benchkit/vcpus.py tools/benchkit/vnc.py
