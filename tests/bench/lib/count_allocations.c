// Preloaded into pgsteer by tests/bench/profile: counts what is allocated and prints it at the exit.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

static atomic_ulong calls, bytes;

void* malloc(size_t size) {
    static void* (*next)(size_t);
    if (!next) next = (void* (*)(size_t))dlsym(RTLD_NEXT, "malloc");
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
    return next(size);
}

__attribute__((destructor)) static void report(void) {
    fprintf(stderr, "allocations=%lu bytes=%lu\n", atomic_load(&calls), atomic_load(&bytes));
}
