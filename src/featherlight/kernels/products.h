/* Matrix products of blocks that lie in the cache.
 *
 * A product runs along its depth in cells: a float, or two bfloat16 that follow one another along the depth. These are
 * multiplied and added up in float32 by one instruction, twice as fast. What a product's result becomes (stored with
 * its statistics, taken through an activation) is done while it lies in registers. */
#pragma once
#include "statistics.h"

#if defined(__AVX512F__)
#define MR 8 /* rows of a tile in registers */
#define NR 3 /* its widest in vectors */
#elif defined(__AVX__)
#define MR 6
#define NR 2
#else
#define MR 8
#define NR 3
#endif

typedef float half __attribute__((vector_size(VL * 2)));
typedef half loose_half __attribute__((aligned(2), may_alias));
typedef vec loose_cells __attribute__((aligned(2), may_alias));
typedef float loose_cell __attribute__((aligned(2), may_alias));

INLINE idx halves(idx n) { return (n + VL / 2 - 1) / (VL / 2) * (VL / 2); } /* what is computed of n columns */

/* Cells are read and spread without arithmetic, which would not know pairs. */
INLINE vec cells(const num *p) { return *(const loose_cells *)p; }
INLINE half half_cells(const num *p) { return *(const loose_half *)p; }
#if defined(__AVX512F__)
INLINE vec cell(const num *p) { return (vec)_mm512_set1_ps(*(const loose_cell *)p); }
INLINE half half_cell(const num *p) { return (half)_mm256_set1_ps(*(const loose_cell *)p); }
#else
INLINE vec cell(const num *p) { return splat(*(const loose_cell *)p); }
INLINE half half_cell(const num *p) { return *(const loose_cell *)p - (half){0}; }
#endif

#if defined(BFLOAT16)
#define PAIR 2 /* numbers in a cell */
INLINE vec add_product(vec sum, vec a, vec b) { return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
INLINE half add_half_product(half sum, half a, half b) {
    return (half)_mm256_dpbf16_ps((__m256)sum, (__m256bh)a, (__m256bh)b);
}
/* Cells of which row 0 is the lower half and row 1 the upper one. */
INLINE void put_cells(num *to, const num *row0, const num *row1, idx n) {
    __mmask16 part = n >= VL ? 0xffff : PART16(n);
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(part, row0));
    __m512i high = row1 ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(part, row1)) : _mm512_setzero_si512();
    _mm512_mask_storeu_epi32(to, part, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#else
#define PAIR 1
INLINE vec add_product(vec sum, vec a, vec b) { return sum + a * b; }
INLINE half add_half_product(half sum, half a, half b) { return sum + a * b; }
INLINE void put_cells(num *to, const num *row0, const num *row1, idx n) { put_part(to, get_part(row0, n), n); }
#endif
INLINE idx cells_of(idx n) { return (n + PAIR - 1) / PAIR; }
INLINE idx even(idx n) { return cells_of(n) * PAIR; } /* what n numbers take up as cells */

INLINE vec widen(half h) {
    vec v = {0};
    memcpy(&v, &h, sizeof(h));
    return v;
}

/* Of the columns that are left (a multiple of half a vector), how many whole vectors the next panel takes, and whether
 * half a one besides. Two panels of like width are faster than a wide and a narrow one. */
static inline idx panel(idx left, idx *h) {
    idx n = left / VL;
    *h = left % VL != 0;
    if (n + *h <= NR && n < 3) return n;
    *h = 0;
    return n > NR && n < 2 * NR ? (n + 1) / 2 : least(n, NR);
}

/* A part of a packed matrix, a panel of `width` columns of which so many are given, from rows of numbers `ld` apart. */
static void pack_panel(num *to, const num *from, idx ld, idx depth, idx width, idx given) {
    for (idx k = 0; k < depth; k += PAIR, to += width * PAIR) {
        const num *row = from + k * ld, *next = k + 1 < depth ? row + ld : NULL;
        for (idx c = 0; c < given; c += VL) put_cells(to + c * PAIR, row + c, next ? next + c : NULL, given - c);
        if (given < width) memset(to + given * PAIR, 0, (width - given) * PAIR * sizeof(num));
    }
}

/* The same from columns of numbers `ld` apart. */
static void pack_across(num *to, const num *from, idx ld, idx depth, idx width, idx given) {
    for (idx k = 0; k < depth; k += PAIR, to += width * PAIR) {
        const num *p = from + k;
        if (k + PAIR <= depth) {
            for (idx i = 0; i < given; i++) memcpy(to + i * PAIR, p + i * ld, PAIR * sizeof(num));
        } else {
            for (idx i = 0; i < given; i++) to[i * PAIR] = p[i * ld], to[i * PAIR + PAIR - 1] = 0;
        }
        memset(to + given * PAIR, 0, (width - given) * PAIR * sizeof(num));
    }
}

/* The right side of a product in panels of cells, each contiguous: rows a power of two apart would push each other out
 * of the cache. Columns are padded with zeros. Element k,j is at k * ld + j, or `across`: at j * ld + k. */
static void pack(num *to, const num *from, idx ld, idx depth, idx cols, int across) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        idx n = panel(all - j, &h); /* first: it sets h */
        width = n * VL + h * VL / 2;
        if (across) pack_across(to, from + j * ld, ld, depth, width, least(width, cols - j));
        else pack_panel(to, from + j, ld, depth, width, least(width, cols - j));
        to += cells_of(depth) * width * PAIR;
    }
}

/* Where a product's left side lies: cell i,k is at i / VL * block + i % VL * row + k * cell. */
typedef struct {
    const num *at;
    idx row, cell, block;
} Left;
INLINE const num *left_row(Left a, idx i) { return a.at + i / VL * a.block + i % VL * a.row; }
INLINE Left left_rows(const num *at, idx ld) { return (Left){at, ld, PAIR, ld * VL}; }
INLINE Left left_panels(const num *at, idx depth) { return (Left){at, PAIR, VL * PAIR, cells_of(depth) * VL * PAIR}; }

/* ---- what becomes of a product ---------------------------------------------------------------------------------- */

enum { SUMS, OUTPUTS, GRADIENT };

typedef struct {
    float *c; /* SUMS: the product is stored here, or added to what is there */
    idx ldc;
    int add;
    num *y; /* OUTPUTS: where it is stored; its statistics are gathered */
    idx ldy, c0; /* its first channel */
    Stats *stats;
    Flow flow; /* GRADIENT: of the input; without dz */
    Norm norm;
} Result;

INLINE Result result_at(Result r, idx column) {
    if (r.c) r.c += column;
    if (r.y) r.y += column;
    r.c0 += column;
    if (r.flow.g) {
        r.flow.g += column;
        if (r.flow.more) r.flow.more += column;
        if (r.flow.x) r.flow.x += column;
        if (r.flow.sums) r.flow.sums += column;
    }
    r.norm = norm_at(r.norm, column);
    return r;
}

typedef struct { /* of a panel's columns, what is gathered */
    vec one[NR + 1], two[NR + 1], first[NR + 1];
} Gathered;

/* Rows i of a tile, vector j of it: column j * VL on. */
INLINE void leave_tile(const int kind, const Result *to, Gathered *sums, idx i, const int j, idx lanes, vec v) {
    idx at = j * VL;
    if (kind == SUMS) {
        store_part(to->c + i * to->ldc + at, v, lanes);
    } else if (kind == OUTPUTS) {
        put_part(to->y + i * to->ldy + at, v, lanes);
        if (i == 0) sums->first[j] = v;
        vec d = v - sums->first[j];
        sums->one[j] += d, sums->two[j] += d * d;
    } else {
        const Flow *f = &to->flow;
        vec x = {0};
        if (f->more) v += get_part(f->more + i * f->ldg + at, lanes);
        if (f->sums) {
            x = get_part(f->x + i * f->ldx + at, lanes);
            vec s = load_part(to->norm.s + at, lanes), t = load_part(to->norm.t + at, lanes);
            v = through(v, s * x + t, to->norm.act);
            sums->one[j] += v, sums->two[j] += v * (x - load_part(to->norm.mean + at, lanes));
        }
        put_part(f->g + i * f->ldg + at, v, lanes);
    }
}

/* M rows of the product, N vectors and H half ones wide, in registers; `lanes`: columns of the last of them. */
INLINE void tile(const int kind, const int M, const int N, const int H, idx depth, const Left left, const num *b,
                 idx i0, idx lanes, const Result *to, Gathered *sums) {
    const num *a = left_row(left, i0);
    const idx ra = left.row, ka = left.cell, ldb = (N * VL + H * VL / 2) * PAIR;
    vec acc[MR][NR];
    half rest[MR];
    UNROLLED for (int i = 0; i < M; i++) {
        UNROLLED for (int j = 0; j < N; j++) acc[i][j] = (vec){0};
        rest[i] = (half){0};
    }
    for (idx k = 0; k < depth; k++) {
        vec row[NR];
        half last = {0};
        UNROLLED for (int j = 0; j < N; j++) row[j] = cells(b + k * ldb + j * VL * PAIR);
        if (H) last = half_cells(b + k * ldb + N * VL * PAIR);
        UNROLLED for (int i = 0; i < M; i++) {
            const num *x = a + i * ra + k * ka;
            UNROLLED for (int j = 0; j < N; j++) acc[i][j] = add_product(acc[i][j], cell(x), row[j]);
            if (H) rest[i] = add_half_product(rest[i], half_cell(x), last);
        }
    }
    if (kind == SUMS && to->add) {
        UNROLLED for (int i = 0; i < M; i++) {
            const float *c = to->c + (i0 + i) * to->ldc;
            UNROLLED for (int j = 0; j < N; j++) acc[i][j] += load_part(c + j * VL, j + 1 < N + H ? VL : lanes);
            if (H) rest[i] += *(const loose_half *)(c + N * VL);
        }
    }
    UNROLLED for (int j = 0; j < N + H; j++)
        UNROLLED for (int i = 0; i < M; i++)
            leave_tile(kind, to, sums, i0 + i, j, j + 1 < N + H ? VL : lanes, j < N ? acc[i][j] : widen(rest[i]));
}

/* Rows of a panel from i on. */
#define PANEL(KIND, N, H)                                                                                              \
    static void KIND##_##N##_##H(idx i, idx rows, idx lanes, idx depth, Left a, const num *b, const Result *result,           \
                                 Gathered *gathered) {                                                                 \
        const Result own = *result, *to = &own; /* which nothing that is stored can change */                          \
        Gathered local = *gathered, *sums = &local;                                                                    \
        for (; i + MR <= rows; i += MR) tile(KIND, MR, N, H, depth, a, b, i, lanes, to, sums);                         \
        if (i + 4 <= rows) tile(KIND, 4, N, H, depth, a, b, i, lanes, to, sums), i += 4;                               \
        if (i + 2 <= rows) tile(KIND, 2, N, H, depth, a, b, i, lanes, to, sums), i += 2;                               \
        if (i < rows) tile(KIND, 1, N, H, depth, a, b, i, lanes, to, sums);                                            \
        *gathered = local;                                                                                             \
    }
#define PANELS(KIND)                                                                                                   \
    PANEL(KIND, 0, 1) PANEL(KIND, 1, 0) PANEL(KIND, 1, 1) PANEL(KIND, 2, 0) PANEL(KIND, 2, 1) PANEL(KIND, 3, 0)        \
    static void KIND##_panel(idx n, idx h, idx i, idx rows, idx lanes, idx depth, Left a, const num *b, const Result *to,     \
                             Gathered *sums) {                                                                         \
        switch (2 * n + h) {                                                                                           \
        case 1: KIND##_0_1(i, rows, lanes, depth, a, b, to, sums); break;                                    \
        case 2: KIND##_1_0(i, rows, lanes, depth, a, b, to, sums); break;                                    \
        case 3: KIND##_1_1(i, rows, lanes, depth, a, b, to, sums); break;                                    \
        case 4: KIND##_2_0(i, rows, lanes, depth, a, b, to, sums); break;                                    \
        case 5: KIND##_2_1(i, rows, lanes, depth, a, b, to, sums); break;                                    \
        default: KIND##_3_0(i, rows, lanes, depth, a, b, to, sums);                                          \
        }                                                                                                              \
    }
PANELS(SUMS) PANELS(OUTPUTS) PANELS(GRADIENT)

#include "tiles.h"

/* The left side of a product whose depth goes down the rows. */
static Left pack_left(num *to, const num *from, idx ld, idx depth, idx cols) {
#if HAS_TILES
    if (tiles_work) return turn_left(to, from, ld, depth, cols);
#endif
    num *panels = to;
    for (idx j = 0; j < cols; j += VL, to += cells_of(depth) * VL * PAIR)
        pack_panel(to, from + j, ld, depth, VL, least(VL, cols - j));
    return left_panels(panels, depth);
}
INLINE idx left_room(idx depth, idx cols) { return (even(depth) + 2 * VL) * padded(cols); } /* numbers that it takes */

/* The product a (rows x depth) b (depth x cols), of which b is packed, becomes what `to` says. */
INLINE void multiply(const int kind, idx rows, idx cols, idx depth, Left a, const num *b, const Result *to) {
    idx all = halves(cols), h;
    for (idx j = 0, width; j < all; j += width) {
        idx n = panel(all - j, &h), vectors = n + h;
        width = n * VL + h * VL / 2;
        idx shown = least(width, cols - j), lanes = shown - (vectors - 1) * VL;
        const num *bj = b + j * cells_of(depth) * PAIR;
        Result part = result_at(*to, j);
        Gathered sums;
        for (idx i = 0; i < vectors; i++) sums.one[i] = sums.two[i] = (vec){0};
        idx done = tiles_panel(kind, vectors, width, rows, lanes, cells_of(depth), a, bj, &part, &sums);
        if (kind == SUMS) SUMS_panel(n, h, done, rows, lanes, cells_of(depth), a, bj, &part, &sums);
        if (kind == OUTPUTS) OUTPUTS_panel(n, h, done, rows, lanes, cells_of(depth), a, bj, &part, &sums);
        if (kind == GRADIENT) GRADIENT_panel(n, h, done, rows, lanes, cells_of(depth), a, bj, &part, &sums);
        for (idx i = 0; i < vectors; i++) {
            idx c = i * VL, count = least(VL, shown - c);
            if (kind == OUTPUTS)
                merge_block(part.stats, part.stats->count, part.c0 + c, count, rows, sums.first[i], sums.one[i],
                            sums.two[i]);
            if (kind == GRADIENT && part.flow.sums) add_sums(&part.flow, c, count, sums.one[i], sums.two[i]);
        }
    }
}

/* Whether the matrix unit's products are those of the other instructions; from now on it is used. */
int try_tiles(void) {
#if HAS_TILES
    enum { ROWS = 83, COLUMNS = 41, DEPTH = 77, MOST = 96 };
#if !defined(EMULATED_TILES)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA)) return 0;
#endif
    static num a[DEPTH * ROWS + VL], b[DEPTH * COLUMNS + VL], left[(MOST + 2 * VL) * MOST], right[(DEPTH + 1) * MOST];
    static float c[2][ROWS * COLUMNS];
    for (idx i = 0; i < DEPTH * ROWS; i++) put_part(a + i, splat((float)(i % 37 - 18)), 1);
    for (idx i = 0; i < DEPTH * COLUMNS; i++) put_part(b + i, splat((float)(i % 23 - 11) / 8), 1);
    pack(right, b, COLUMNS, DEPTH, COLUMNS, 0);
    for (tiles_work = 0; tiles_work < 2; tiles_work++) {
        Result to = {.c = c[tiles_work], .ldc = COLUMNS};
        multiply(SUMS, ROWS, COLUMNS, DEPTH, pack_left(left, a, ROWS, DEPTH, ROWS), right, &to);
    }
    tiles_work = !memcmp(c[0], c[1], sizeof(c[0])); /* these sums are exact in any order */
    return tiles_work;
#else
    return 0;
#endif
}
