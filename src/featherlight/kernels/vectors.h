/* Vectors of the processor at hand, activations, memory, and how work is shared. */
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

/* Memory, or NULL. */
static float *floats(idx count) {
    void *p = NULL;
    return posix_memalign(&p, 64, (count + VL) * sizeof(float)) ? NULL : p;
}

enum { NONE = 0, RELU = 1, RELU6 = 2, HARDSWISH = 3 };

INLINE vec activated(vec u, int act) {
    if (act == NONE) return u;
    if (act == RELU) return keep(u, u > 0);
    vec x = act == RELU6 ? u : u + 3;
    mask small = x < 6;
    x = keep(x, x > 0);
    x = keep(x, small) + keep(splat(6), ~small);
    return act == RELU6 ? x : u * x * splat(1 / 6.f);
}

/* g times the activation's derivative at u. */
INLINE vec through(vec g, vec u, int act) {
    if (act == NONE) return g;
    if (act == RELU) return keep(g, u > 0);
    if (act == RELU6) return keep(g, (u > 0) & (u < 6));
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
