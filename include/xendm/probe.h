/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes for who looks from outside (bpftrace, perf, gdb): docs/probes.md lists them. Each is one
 * instruction that does nothing, and a note in the program of where it is and where its arguments
 * are. They are there when sys/sdt.h was (Debian: systemtap-sdt-dev); else there is nothing.
 *
 * Arguments are numbers at hand: nothing is computed for a probe.
 */
#ifndef XENDM_PROBE_H
#define XENDM_PROBE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE1(name, a) DTRACE_PROBE1(xendm, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(xendm, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(xendm, name, a, b, c)
#define PROBE4(name, a, b, c, d) DTRACE_PROBE4(xendm, name, a, b, c, d)
#define PROBE5(name, a, b, c, d, e) DTRACE_PROBE5(xendm, name, a, b, c, d, e)
#else
#define PROBE1(name, a) ((void)(a))
#define PROBE2(name, a, b) ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#define PROBE5(name, a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
#endif

#endif
