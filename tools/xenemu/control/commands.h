/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands, and the way to them. */
#ifndef XENEMU_COMMANDS_H
#define XENEMU_COMMANDS_H

struct cmd;
struct session;

/* NULL if the command is unknown. */
char *command_run(struct session *s, char **w, unsigned int n);

char *cmd_domain_create(struct cmd *c);
char *cmd_domain_destroy(struct cmd *c);
char *cmd_domain(struct cmd *c);
char *cmd_domains(struct cmd *c);
char *cmd_socket(struct cmd *c);
char *cmd_vcpu(struct cmd *c);
char *cmd_state(struct cmd *c);
char *cmd_cpu(struct cmd *c);
char *cmd_crash(struct cmd *c);
char *cmd_shutdown(struct cmd *c);
char *cmd_revive(struct cmd *c);
char *cmd_pause(struct cmd *c);
char *cmd_string(struct cmd *c);
char *cmd_pci(struct cmd *c);
char *cmd_bufwrite(struct cmd *c);
char *cmd_broadcast(struct cmd *c);
char *cmd_bench(struct cmd *c);
char *cmd_benchblk(struct cmd *c);
char *cmd_benchnic(struct cmd *c);
char *cmd_bench9p(struct cmd *c);
char *cmd_benchdisk(struct cmd *c);
char *cmd_blit(struct cmd *c);
char *cmd_benchseq(struct cmd *c);
char *cmd_poll(struct cmd *c);
char *cmd_sum(struct cmd *c);
char *cmd_irqstate(struct cmd *c);
char *cmd_lines(struct cmd *c);
char *cmd_intx(struct cmd *c);
char *cmd_msi(struct cmd *c);
char *cmd_watch(struct cmd *c);
char *cmd_xenparam(struct cmd *c);
char *cmd_populate(struct cmd *c);
char *cmd_balloon(struct cmd *c);
char *cmd_memory(struct cmd *c);
char *cmd_setmaxmem(struct cmd *c);
char *cmd_dirty(struct cmd *c);
char *cmd_grant(struct cmd *c);
char *cmd_evtchn(struct cmd *c);
char *cmd_fault(struct cmd *c);
char *cmd_diskcall(struct cmd *c);
char *cmd_servers(struct cmd *c);
char *cmd_stats(struct cmd *c);
char *cmd_missing(struct cmd *c);
char *cmd_pt(struct cmd *c);
char *cmd_leaks(struct cmd *c);
char *cmd_xsproxy(struct cmd *c);
char *cmd_handles(struct cmd *c);

#endif
