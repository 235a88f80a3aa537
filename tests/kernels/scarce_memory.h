/* Compiled into the kernels by a test: memory runs out after `allowed` requests; negative: never. */
#include <stdlib.h>

static int allowed = -1;
void allow(int requests) { allowed = requests; }

static int is_refused(void) {
    int left;
#pragma omp atomic capture
    left = allowed--;
    if (left < 0) {
#pragma omp atomic write
        allowed = -1;
    }
    return left == 0;
}

static void *scarce_calloc(size_t count, size_t size) { return is_refused() ? NULL : calloc(count, size); }
static int scarce_memalign(void **p, size_t alignment, size_t size) {
    return is_refused() ? 12 : posix_memalign(p, alignment, size);
}
#define calloc scarce_calloc
#define posix_memalign scarce_memalign
