/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs in order, as an engine keeps those that wait. A job is in one list at most. */
#ifndef BACKENDS_BLOCK_JOB_LIST_H
#define BACKENDS_BLOCK_JOB_LIST_H

#include "engine.h"

struct job_list {
    struct engine_job *first, **end; /* where the next one goes */
};

#define JOB_LIST_EMPTY(list) \
    { \
        .end = &(list).first \
    }

static inline void list_add(struct job_list *list, struct engine_job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

/* The first one; NULL: there is none. */
static inline struct engine_job *list_take(struct job_list *list)
{
    struct engine_job *job = list->first;

    if (job) {
        list->first = job->next;
        if (!list->first) {
            list->end = &list->first;
        }
    }
    return job;
}

/* False: it is not in this one. */
static inline bool list_remove(struct job_list *list, struct engine_job *job)
{
    for (struct engine_job **at = &list->first; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            if (!*at) {
                list->end = at;
            }
            return true;
        }
    }
    return false;
}

#endif
