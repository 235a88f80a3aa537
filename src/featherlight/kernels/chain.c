/* Training operators of light networks: pointwise and depthwise convolution and the first one of a network, each with
 * the batch norm and activation around it, forwards and backwards.
 *
 * Activations lie channels last, as matrices of pixels x channels. What a layer keeps is its raw output y, before the
 * norm. The norm and the activation, z = act(s * y + t) with s and t a channel, are computed by whoever reads y, in
 * registers; the statistics are gathered by whoever writes it. Backwards likewise: whoever writes the gradient g of
 * s * y + t gathers the two sums that the norm's own gradient needs, and whoever reads it computes
 * dy = a * g + b * y + c on the way. So each tensor is read and written once where the usual operators take five
 * passes.
 *
 * Sums run over blocks in float and between blocks in double, always in the same order for the same number of threads.
 *
 * Each function returns whether it failed for want of memory; then it has changed no statistics.
 */
#include "ends.h"
#include "depthwise.h"
#include "pointwise.h"

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif

/* What tensors hold here, and whether these kernels could be compiled for bfloat16. */
int bytes_a_number(void) { return sizeof(num); }
int knows_bfloat16(void) {
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    return 1;
#else
    return 0;
#endif
}

/* Memory that is given back is kept for the next step; asking the system for it anew costs about as much as writing it.
 * The limits are the largest that there are. */
int keep_memory(void) {
#if defined(__GLIBC__)
    return !mallopt(M_MMAP_THRESHOLD, 32 << 20) || !mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
#else
    return 0;
#endif
}

/* Memory that is new comes in large pages, where the system has them: fewer interruptions. */
int use_large_pages(char *p, idx bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    enum { LARGE = 2 << 20 };
    size_t start = ((size_t)p + LARGE - 1) / LARGE * LARGE, end = ((size_t)p + bytes) / LARGE * LARGE;
    if (end > start + LARGE) madvise((void *)start, end - start, MADV_HUGEPAGE); /* a wish; it may fail */
#endif
    return 0;
}
