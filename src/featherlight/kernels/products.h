/* Matrix products of blocks that lie in the cache. */
#pragma once
#include "vectors.h"

#if defined(__AVX512F__)
#define MR 8
#define MANY_ROWS rows_8
#define NR 3
#elif defined(__AVX__)
#define MR 6
#define MANY_ROWS rows_6
#define NR 2
#else
#define MR 8
#define MANY_ROWS rows_8
#define NR 3
#endif

typedef float half __attribute__((vector_size(VL * 2)));
typedef half loose_half __attribute__((aligned(4), may_alias));

INLINE half load_half(const float *p) { return *(const loose_half *)p; }
INLINE idx halves(idx n) { return (n + VL / 2 - 1) / (VL / 2) * (VL / 2); } /* what is computed of n columns */

/* M rows of the product, N vectors and H half ones wide, in registers. */
#define TILE(M, N, H)                                                                                                  \
    static void tile_##M##_##N##_##H(idx depth, const float *restrict a, idx ra, idx ka, const float *restrict b,      \
                                     idx ldb, float *restrict c, idx ldc, int add) {                                   \
        vec acc[M][N + 1];                                                                                             \
        half rest[M];                                                                                                  \
        for (int i = 0; i < M; i++) {                                                                                  \
            for (int j = 0; j < N; j++) acc[i][j] = add ? load(c + i * ldc + j * VL) : (vec){0};                        \
            if (H) rest[i] = add ? load_half(c + i * ldc + N * VL) : (half){0};                                        \
        }                                                                                                              \
        for (idx k = 0; k < depth; k++) {                                                                              \
            vec row[N + 1];                                                                                            \
            half last = {0};                                                                                           \
            for (int j = 0; j < N; j++) row[j] = load(b + k * ldb + j * VL);                                           \
            if (H) last = load_half(b + k * ldb + N * VL);                                                             \
            for (int i = 0; i < M; i++) {                                                                              \
                float x = a[i * ra + k * ka];                                                                          \
                for (int j = 0; j < N; j++) acc[i][j] += splat(x) * row[j];                                            \
                if (H) rest[i] += (x - (half){0}) * last;                                                              \
            }                                                                                                          \
        }                                                                                                              \
        for (int i = 0; i < M; i++) {                                                                                  \
            for (int j = 0; j < N; j++) store(c + i * ldc + j * VL, acc[i][j]);                                        \
            if (H) *(loose_half *)(c + i * ldc + N * VL) = rest[i];                                                    \
        }                                                                                                              \
    }
#define TILES(M)                                                                                                       \
    TILE(M, 0, 1) TILE(M, 1, 0) TILE(M, 1, 1) TILE(M, 2, 0) TILE(M, 2, 1) TILE(M, 3, 0)                                \
    static inline void rows_##M(idx n, idx h, idx depth, const float *a, idx ra, idx ka, const float *b, idx ldb,      \
                                float *c, idx ldc, int add) {                                                          \
        switch (2 * n + h) {                                                                                           \
        case 1: tile_##M##_0_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                          \
        case 2: tile_##M##_1_0(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                          \
        case 3: tile_##M##_1_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                          \
        case 4: tile_##M##_2_0(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                          \
        case 5: tile_##M##_2_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                          \
        default: tile_##M##_3_0(depth, a, ra, ka, b, ldb, c, ldc, add);                                                \
        }                                                                                                              \
    }
TILES(1) TILES(2) TILES(4) TILES(6) TILES(8)

/* Of the columns that are left (a multiple of half a vector), how many whole vectors the next panel takes, and whether
 * half a one besides. Two panels of like width are faster than a wide and a narrow one. */
static inline idx panel(idx left, idx *h) {
    idx n = left / VL;
    *h = left % VL != 0;
    if (n + *h <= NR && n < 3) return n;
    *h = 0;
    return n > NR && n < 2 * NR ? (n + 1) / 2 : least(n, NR);
}

/* A matrix (depth x cols, element k,j at k*rk + j*rj) in panels, each contiguous: rows a power of two apart would
 * push each other out of the cache. Columns are padded with zeros. */
static void pack(float *to, const float *from, idx depth, idx cols, idx rk, idx rj) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        width = panel(all - j, &h) * VL + h * VL / 2;
        for (idx k = 0; k < depth; k++)
            for (idx i = 0; i < width; i++) *to++ = j + i < cols ? from[k * rk + (j + i) * rj] : 0;
    }
}

/* c (rows x cols) = or += a (rows x depth; element i,k at i*ra + k*ka) b (depth x cols), computed for `halves(cols)`
 * columns; ldb == 0: b is packed. */
static void multiply(idx rows, idx cols, idx depth, const float *a, idx ra, idx ka, const float *whole, idx given,
                     float *c, idx ldc, int add) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        idx n = panel(all - j, &h), i = 0;
        width = n * VL + h * VL / 2;
        idx ldb = given ? given : width;
        const float *b = given ? whole + j : whole + j * depth;
        for (idx m; i < rows; i += m) {
            const float *ai = a + i * ra;
            float *ci = c + i * ldc + j;
            idx left = rows - i;
            m = left >= MR ? MR : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            if (m == MR) MANY_ROWS(n, h, depth, ai, ra, ka, b, ldb, ci, ldc, add);
            else if (m == 4) rows_4(n, h, depth, ai, ra, ka, b, ldb, ci, ldc, add);
            else if (m == 2) rows_2(n, h, depth, ai, ra, ka, b, ldb, ci, ldc, add);
            else rows_1(n, h, depth, ai, ra, ka, b, ldb, ci, ldc, add);
        }
    }
}

