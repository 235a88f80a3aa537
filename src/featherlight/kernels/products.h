/* Matrix products of blocks that lie in the cache.
 *
 * A matrix consists of cells: a float, or two bfloat16 that follow one another along the depth of the product. These
 * are multiplied and added up in float32 by one instruction, twice as fast, where the processor has it. */
#pragma once
#include "vectors.h"

#if defined(__AVX512F__)
#define MR 8
#define NR 3
#elif defined(__AVX__)
#define MR 6
#define NR 2
#else
#define MR 8
#define NR 3
#endif

typedef float half __attribute__((vector_size(VL * 2)));
typedef half loose_half __attribute__((aligned(4), may_alias));

INLINE half load_half(const float *p) { return *(const loose_half *)p; }
INLINE idx halves(idx n) { return (n + VL / 2 - 1) / (VL / 2) * (VL / 2); } /* what is computed of n columns */

#if defined(__AVX512BF16__)
#define HAS_PAIRS 1
INLINE vec add_pairs(vec sum, vec a, vec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
INLINE half add_half_pairs(half sum, half a, half b) {
    return (half)_mm256_dpbf16_ps((__m256)sum, (__m256bh)a, (__m256bh)b);
}

/* Rows of floats as cells of neighbours in a row. */
static void pair_columns(float *to, idx ldto, const float *from, idx ldfrom, idx rows, idx columns) {
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < columns; c += VL) {
            idx lanes = least(VL, columns - c);
            __m256i cells = (__m256i)_mm512_cvtneps_pbh((__m512)load_part(from + r * ldfrom + c, lanes));
            _mm256_mask_storeu_epi32(to + r * ldto + c / 2, (__mmask8)((1u << (lanes + 1) / 2) - 1), cells);
        }
}

/* Rows of floats as cells of neighbours in a column. */
static void pair_rows(float *to, idx ldto, const float *from, idx ldfrom, idx rows, idx columns) {
    for (idx r = 0; r < rows; r += 2)
        for (idx c = 0; c < columns; c += VL) {
            idx lanes = least(VL, columns - c);
            const float *upper = from + r * ldfrom + c;
            vec a = load_part(upper, lanes), b = r + 1 < rows ? load_part(upper + ldfrom, lanes) : (vec){0};
            __m512i first = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)a));
            __m512i second = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)b));
            store_part(to + r / 2 * ldto + c, (vec)_mm512_or_si512(first, _mm512_slli_epi32(second, 16)), lanes);
        }
}

#else
#define HAS_PAIRS 0
INLINE vec add_pairs(vec sum, vec a, vec b) { return sum + a * b; } /* none of these is called */
INLINE half add_half_pairs(half sum, half a, half b) { return sum + a * b; }
static void pair_columns(float *to, idx ldto, const float *from, idx ldfrom, idx rows, idx columns) {}
static void pair_rows(float *to, idx ldto, const float *from, idx ldfrom, idx rows, idx columns) {}
#endif
INLINE vec add_product(vec sum, vec a, vec b) { return sum + a * b; }
INLINE half add_half_product(half sum, half a, half b) { return sum + a * b; }
INLINE half half_splat(float x) { return x - (half){0}; }

/* M rows of the product, N vectors and H half ones wide, in registers. */
#define TILE(KIND, FULL, HALF, M, N, H)                                                                                \
    static void KIND##_##M##_##N##_##H(idx depth, const float *restrict a, idx ra, idx ka, const float *restrict b,    \
                                       idx ldb, float *restrict c, idx ldc, int add) {                                 \
        vec acc[M][N + 1];                                                                                             \
        half rest[M];                                                                                                  \
        for (int i = 0; i < M; i++) {                                                                                  \
            for (int j = 0; j < N; j++) acc[i][j] = add ? load(c + i * ldc + j * VL) : (vec){0};                       \
            if (H) rest[i] = add ? load_half(c + i * ldc + N * VL) : (half){0};                                        \
        }                                                                                                              \
        for (idx k = 0; k < depth; k++) {                                                                              \
            vec row[N + 1];                                                                                            \
            half last = {0};                                                                                           \
            for (int j = 0; j < N; j++) row[j] = load(b + k * ldb + j * VL);                                           \
            if (H) last = load_half(b + k * ldb + N * VL);                                                             \
            for (int i = 0; i < M; i++) {                                                                              \
                const float *x = a + i * ra + k * ka;                                                                  \
                for (int j = 0; j < N; j++) acc[i][j] = FULL(acc[i][j], CELL(x), row[j]);                              \
                if (H) rest[i] = HALF(rest[i], HALF_CELL(x), last);                                                    \
            }                                                                                                          \
        }                                                                                                              \
        for (int i = 0; i < M; i++) {                                                                                  \
            for (int j = 0; j < N; j++) store(c + i * ldc + j * VL, acc[i][j]);                                        \
            if (H) *(loose_half *)(c + i * ldc + N * VL) = rest[i];                                                    \
        }                                                                                                              \
    }
#define TILES(KIND, FULL, HALF, M)                                                                                     \
    TILE(KIND, FULL, HALF, M, 0, 1)                                                                                    \
    TILE(KIND, FULL, HALF, M, 1, 0)                                                                                    \
    TILE(KIND, FULL, HALF, M, 1, 1)                                                                                    \
    TILE(KIND, FULL, HALF, M, 2, 0)                                                                                    \
    TILE(KIND, FULL, HALF, M, 2, 1)                                                                                    \
    TILE(KIND, FULL, HALF, M, 3, 0)                                                                                    \
    static inline void KIND##_##M(idx n, idx h, idx depth, const float *a, idx ra, idx ka, const float *b, idx ldb,    \
                                  float *c, idx ldc, int add) {                                                        \
        switch (2 * n + h) {                                                                                           \
        case 1: KIND##_##M##_0_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                        \
        case 2: KIND##_##M##_1_0(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                        \
        case 3: KIND##_##M##_1_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                        \
        case 4: KIND##_##M##_2_0(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                        \
        case 5: KIND##_##M##_2_1(depth, a, ra, ka, b, ldb, c, ldc, add); break;                                        \
        default: KIND##_##M##_3_0(depth, a, ra, ka, b, ldb, c, ldc, add);                                              \
        }                                                                                                              \
    }
/* A cell everywhere in a vector. Its bits stay what they are: no arithmetic, which would not know pairs. */
#if defined(__AVX512F__)
#define CELL(x) ((vec)_mm512_set1_ps(*(x)))
#define HALF_CELL(x) ((half)_mm256_set1_ps(*(x)))
#else
#define CELL(x) splat(*(x))
#define HALF_CELL(x) half_splat(*(x))
#endif
#define ALL_TILES(M) TILES(rows, add_product, add_half_product, M) TILES(pairs, add_pairs, add_half_pairs, M)
ALL_TILES(1) ALL_TILES(2) ALL_TILES(4) ALL_TILES(6) ALL_TILES(8)


/* Of the columns that are left (a multiple of half a vector), how many whole vectors the next panel takes, and whether
 * half a one besides. Two panels of like width are faster than a wide and a narrow one. */
static inline idx panel(idx left, idx *h) {
    idx n = left / VL;
    *h = left % VL != 0;
    if (n + *h <= NR && n < 3) return n;
    *h = 0;
    return n > NR && n < 2 * NR ? (n + 1) / 2 : least(n, NR);
}

INLINE unsigned bfloat16(float x) { /* rounded to nearest, to even between two */
    unsigned bits;
    memcpy(&bits, &x, sizeof(bits));
    return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* A matrix (depth x cols, element k,j at k*rk + j*rj) in panels, each contiguous: rows a power of two apart would
 * push each other out of the cache. Columns are padded with zeros. */
static void pack(float *to, const float *from, idx depth, idx cols, idx rk, idx rj, int paired) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        idx n = panel(all - j, &h); /* first: it sets h */
        width = n * VL + h * VL / 2;
        idx given = least(width, cols - j);
        for (idx k = 0; k < depth; k += paired ? 2 : 1, to += width) {
            const float *p = from + k * rk + j * rj;
            idx second = k + 1 < depth ? rk : 0;
            memset(to, 0, width * sizeof(float));
            for (idx i = 0; i < given && !paired; i++) to[i] = p[i * rj];
            for (idx i = 0; i < given && paired; i++) {
                unsigned cell = bfloat16(p[i * rj]) | (second ? bfloat16(p[i * rj + second]) << 16 : 0);
                memcpy(to + i, &cell, sizeof(cell));
            }
        }
    }
}

/* c (rows x cols) = or += a (rows x depth cells; element i,k at i*ra + k*ka) b (depth cells x cols), computed for
 * `halves(cols)` columns; given == 0: b is packed. */
static void multiply(idx rows, idx cols, idx depth, const float *a, idx ra, idx ka, const float *whole, idx given,
                     float *c, idx ldc, int add, int paired) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        idx n = panel(all - j, &h);
        width = n * VL + h * VL / 2;
        idx ldb = given ? given : width;
        const float *b = given ? whole + j : whole + j * depth;
        for (idx i = 0, m; i < rows; i += m) {
            const float *ai = a + i * ra;
            float *ci = c + i * ldc + j;
            idx left = rows - i;
            m = left >= MR ? MR : left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define ROWS(M) (paired ? pairs_##M : rows_##M)(n, h, depth, ai, ra, ka, b, ldb, ci, ldc, add)
            if (m == 8) ROWS(8);
            else if (m == 6) ROWS(6);
            else if (m == 4) ROWS(4);
            else if (m == 2) ROWS(2);
            else ROWS(1);
        }
    }
}
