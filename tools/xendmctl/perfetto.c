/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flight recorder as a trace that Perfetto opens: the "Trace Event Format" (JSON). Each vCPU is a
 * thread, with its accesses; each drive has its requests from begin to end; each interrupt line is
 * a counter.
 */
#include <inttypes.h>

#include "recorder.h"

struct trace {
    const struct page *page;
    double oldest; /* µs ago */
    bool any;
};

enum { THREAD_VCPU = 1, THREAD_OTHERS = 100000 };

static char *quoted(const char *text)
{
    JsonBuilder *b = json_builder_new();
    JsonNode *node;
    char *out;

    json_builder_add_string_value(b, text);
    node = json_builder_get_root(b);
    out = json_to_string(node, FALSE);
    json_node_unref(node);
    json_builder_unref(b);
    return out;
}

static void begin(struct trace *t, const char *phase, const char *name, unsigned thread,
                  double ago_us)
{
    g_autofree char *text = quoted(name);

    printf("%s\n{\"name\": %s, \"ph\": \"%s\", \"pid\": %u, \"tid\": %u, \"ts\": %.3f",
           t->any ? "," : "", text, phase, t->page->raw.domid, thread, t->oldest - ago_us);
    t->any = true;
}

static void name_thread(struct trace *t, unsigned thread, const char *name)
{
    g_autofree char *text = quoted(name);

    begin(t, "M", "thread_name", thread, t->oldest);
    printf(", \"args\": {\"name\": %s}}", text);
}

static void event(struct trace *t, const struct recorder_entry *e)
{
    g_autofree char *device = recorder_device(t->page, e);
    g_autofree char *name =
        g_strdup_printf("%s%s%s", recorder_kind_name(e->kind), *device ? " " : "", device);
    unsigned thread =
        e->kind <= REC_STRING ? THREAD_VCPU + (e->aux >> 8 & 0xffff) : (unsigned)THREAD_OTHERS;

    if (e->kind == REC_BLOCK || e->kind == REC_BLOCK_DONE) {
        return; /* as requests */
    }
    if (e->kind == REC_IRQ) {
        g_autofree char *line =
            g_strdup_printf("%s %" PRIu64, e->b ? "INTx line" : "interrupt line", e->a);

        begin(t, "C", line, thread, page_ago_us(t->page, e));
        printf(", \"args\": {\"level\": %u}}", e->aux);
        return;
    }
    begin(t, "i", name, thread, page_ago_us(t->page, e));
    printf(", \"s\": \"t\", \"args\": {\"address\": \"0x%" PRIx64 "\", ", e->a);
    if (e->kind <= REC_STRING && e->aux & RECORDER_NO_VALUE) {
        printf("\"value\": null}}");
    } else {
        printf("\"value\": \"0x%" PRIx64 "\"}}", e->b);
    }
}

static void request(struct trace *t, const struct recorder_request *r, guint id)
{
    g_autofree char *drive = recorder_device(t->page, r->begin);
    g_autofree char *name = g_strdup_printf("%s %s", recorder_operation(r->begin), drive);

    begin(t, "b", name, THREAD_OTHERS, page_ago_us(t->page, r->begin));
    printf(", \"cat\": \"block\", \"id\": %u, \"args\": {\"offset\": \"0x%" PRIx64
           "\", \"bytes\": %" PRIu64 "}}",
           id, r->begin->a, r->begin->b);
    if (r->end) {
        begin(t, "e", name, THREAD_OTHERS, page_ago_us(t->page, r->end));
        printf(", \"cat\": \"block\", \"id\": %u, \"args\": {\"errno\": %u}}", id,
               r->end->aux & RECORDER_BLOCK_MASK);
    }
}

int recorder_perfetto(const struct page *page, const struct filter *f)
{
    g_autoptr(GPtrArray) entries = recorder_entries(page, f);
    g_autoptr(GArray) requests = recorder_requests(page, f);
    struct trace t = {page, 0, false};
    g_autofree char *name = page_clean(page->raw.name);
    g_autofree char *process = quoted(name);

    if (entries->len > 0) {
        t.oldest = page_ago_us(page, g_ptr_array_index(entries, 0));
    }
    printf("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [");
    begin(&t, "M", "process_name", 0, t.oldest);
    printf(", \"args\": {\"name\": %s}}", process);
    for (unsigned i = 0; i < page_int(page, "machine", "vCPUs") && i < 1024; i++) {
        g_autofree char *vcpu = g_strdup_printf("vCPU %u", i);

        name_thread(&t, THREAD_VCPU + i, vcpu);
    }
    name_thread(&t, THREAD_OTHERS, "interrupts, DMA, disks");
    for (guint i = 0; i < entries->len; i++) {
        event(&t, g_ptr_array_index(entries, i));
    }
    for (guint i = 0; i < requests->len; i++) {
        request(&t, &g_array_index(requests, struct recorder_request, i), i);
    }
    printf("\n]}\n");
    return 0;
}
