/* Vectors of the processor at hand, numbers in memory, activations, and how work is shared.
 *
 * Tensors hold `num`: float32, or bfloat16 where the kernels are compiled with -DBFLOAT16. Arithmetic is float32. */
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_max_threads(void) { return 1; }
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
#define VL 16
#elif defined(__AVX__)
#define VL 8
#else
#define VL 4
#endif
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 9")

typedef float vec __attribute__((vector_size(VL * 4)));
typedef vec loose __attribute__((aligned(4), may_alias)); /* a vector anywhere in memory */
typedef int mask __attribute__((vector_size(VL * 4)));
typedef long idx;

INLINE vec load(const float *p) { return *(const loose *)p; }
INLINE void store(float *p, vec v) { *(loose *)p = v; }
INLINE vec splat(float x) { return x - (vec){0}; }
INLINE vec keep(vec v, mask m) { return (vec)((mask)v & m); }
INLINE idx padded(idx n) { return (n + VL - 1) / VL * VL; }
INLINE idx least(idx a, idx b) { return a < b ? a : b; }

/* The first n numbers of a vector; the rest is zero, or stays as it is in memory. */
#if defined(__AVX512F__)
INLINE vec load_part(const float *p, idx n) {
    return n >= VL ? load(p) : (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
INLINE void store_part(float *p, vec v, idx n) {
    if (n >= VL) store(p, v);
    else _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
INLINE vec load_part(const float *p, idx n) {
    if (n >= VL) return load(p);
    vec v = {0};
    for (idx i = 0; i < n; i++) v[i] = p[i];
    return v;
}
INLINE void store_part(float *p, vec v, idx n) {
    if (n >= VL) store(p, v);
    else
        for (idx i = 0; i < n; i++) p[i] = v[i];
}
#endif

/* The same for numbers in tensors, and in buffers that take part in products. */
#if defined(BFLOAT16)
#if !defined(__AVX512BF16__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "this processor does not know bfloat16"
#endif
typedef unsigned short num;
#define PART16(n) ((__mmask16)((1u << (n)) - 1))
INLINE vec widened(__m256i x) { return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16); }
INLINE __m256i rounded(vec v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
INLINE vec get(const num *p) { return widened(_mm256_loadu_si256((const __m256i_u *)p)); }
INLINE vec get_part(const num *p, idx n) {
    return n >= VL ? get(p) : widened(_mm256_maskz_loadu_epi16(PART16(n), p));
}
INLINE void put(num *p, vec v) { _mm256_storeu_si256((__m256i_u *)p, rounded(v)); }
INLINE void put_part(num *p, vec v, idx n) {
    if (n >= VL) put(p, v);
    else _mm256_mask_storeu_epi16(p, PART16(n), rounded(v));
}
#else
typedef float num;
INLINE vec get(const num *p) { return load(p); }
INLINE vec get_part(const num *p, idx n) { return load_part(p, n); }
INLINE void put(num *p, vec v) { store(p, v); }
INLINE void put_part(num *p, vec v, idx n) { store_part(p, v, n); }
#endif

/* Memory, or NULL. A vector may be read beyond its end. */
static void *memory(idx bytes) {
    void *p = NULL;
    return posix_memalign(&p, 64, bytes + 64) ? NULL : p;
}
static float *floats(idx count) { return memory(count * sizeof(float)); }
static num *nums(idx count) { return memory(count * sizeof(num)); }

enum { NONE = 0, RELU = 1, RELU6 = 2, HARDSWISH = 3 };

/* NaN stays NaN. */
INLINE vec at_least(vec v, vec low) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)low, (__m512)v);
#else
    return keep(v, ~(v < low)) + keep(low, v < low);
#endif
}
INLINE vec at_most(vec v, vec high) {
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)high, (__m512)v);
#else
    return keep(v, ~(v > high)) + keep(high, v > high);
#endif
}

INLINE vec activated(vec u, int act) {
    if (act == NONE) return u;
    if (act == RELU) return at_least(u, splat(0));
    if (act == RELU6) return at_most(at_least(u, splat(0)), splat(6));
    return u * at_most(at_least(u + 3, splat(0)), splat(6)) * splat(1 / 6.f);
}

/* g times the activation's derivative at u. */
INLINE vec through(vec g, vec u, int act) {
    if (act == NONE) return g;
#if defined(__AVX512F__)
    __m512 zero = _mm512_setzero_ps();
    __mmask16 positive = _mm512_cmp_ps_mask((__m512)u, zero, _CMP_GT_OQ);
    if (act == RELU6) positive = _mm512_mask_cmp_ps_mask(positive, (__m512)u, _mm512_set1_ps(6), _CMP_LT_OQ);
    if (act != HARDSWISH) return (vec)_mm512_maskz_mov_ps(positive, (__m512)g);
#else
    if (act == RELU) return keep(g, u > 0);
    if (act == RELU6) return keep(g, (u > 0) & (u < 6));
#endif
    mask large = u > 3;
    return keep(g, large) + keep(g * (u * splat(1 / 3.f) + 0.5f), ~large & (u > -3));
}

/* A norm with its activation, as whoever reads y needs it: z = act(s * y + t). s == NULL: the value is y itself. */
typedef struct {
    const float *s, *t, *mean;
    int act;
} Norm;

INLINE Norm norm_at(Norm n, idx c) {
    if (n.s) n.s += c, n.t += c;
    if (n.mean) n.mean += c;
    return n;
}

typedef struct { /* of a convolution with a square window */
    idx images, height, width, channels, size, stride, pad, out_height, out_width;
} Shape;

static void share(idx count, idx unit, idx *start, idx *end) { /* of this thread */
    idx blocks = (count + unit - 1) / unit, threads = omp_get_num_threads(), me = omp_get_thread_num();
    *start = least(count, blocks * me / threads * unit);
    *end = least(count, blocks * (me + 1) / threads * unit);
}

/* The total of what each of the threads has added up. */
static void add_up(double *total, const double *parts, int threads, idx count) {
    for (idx c = 0; c < count; c++) {
        total[c] = 0;
        for (int i = 0; i < threads; i++) total[c] += parts[i * count + c];
    }
}
