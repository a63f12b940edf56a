/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See confine.h. Made at each start: what starts then, a person waits for anyway. */
#include <errno.h>
#include <sys/mman.h>

#include <seccomp.h>

#include <xendm/confine.h>

#ifdef __SANITIZE_ADDRESS__
bool confine_calls_and_requests(const int *calls, size_t count, const unsigned long *requests,
                                size_t request_count)
{
    return true;
}
#else
static bool allow_without_exec(scmp_filter_ctx f, int call)
{
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
}

/* The kernel takes 32 bits of the request. */
static bool allow_request(scmp_filter_ctx f, unsigned long request)
{
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                            SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)request)) == 0;
}

bool confine_calls_and_requests(const int *calls, size_t count, const unsigned long *requests,
                                size_t request_count)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    bool ok = f != NULL;

    for (size_t i = 0; ok && i < count; i++) {
        ok = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0) == 0;
    }
    for (size_t i = 0; ok && i < request_count; i++) {
        ok = allow_request(f, requests[i]);
    }
    ok = ok && allow_without_exec(f, SCMP_SYS(mmap)) && allow_without_exec(f, SCMP_SYS(mprotect)) &&
         seccomp_load(f) == 0;
    seccomp_release(f);
    return ok;
}
#endif

bool confine_calls(const int *calls, size_t count)
{
    return confine_calls_and_requests(calls, count, NULL, 0);
}
