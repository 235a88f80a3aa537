/* Products by the processor's matrix unit (AMX), 16 x 16 results at a time, where it has one. What it gives is compared
 * with the other products' results before it is used. Part of products.h. */
#pragma once

#if defined(BFLOAT16) && (defined(__AMX_BF16__) || defined(EMULATED_TILES))
#define HAS_TILES 1
#if !defined(EMULATED_TILES)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { TILE = 16 };    /* rows, and cells in a row */
static int tiles_work; /* not before try_tiles */

/* The compiler knows nothing of what these instructions read and write. */
#define WRITTEN __asm__ volatile("" ::: "memory")

/* Tiles 0 to 3 hold results, 4 and 5 factors of a whole step along the depth, 6 and 7 those of the last, shorter one. */
static void configure_tiles(idx tail) {
    struct {
        unsigned char palette, start, reserved[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.bytes[i] = TILE * 4, config.rows[i] = TILE;
    if (tail) config.bytes[6] = (unsigned short)(tail * 4), config.rows[7] = (unsigned char)tail;
    WRITTEN;
    _tile_loadconfig(&config);
}

/* One step; a1, b1: 16 rows and 16 columns on. */
#define TILE_STEP(A, B, a0, a1, lda, b0, b1, ldb)                                                                      \
    _tile_loadd(A, a0, lda);                                                                                           \
    _tile_loadd(B, b0, ldb);                                                                                           \
    _tile_dpbf16ps(0, A, B);                                                                                           \
    if (wide) {                                                                                                        \
        _tile_loadd(B, b1, ldb);                                                                                       \
        _tile_dpbf16ps(1, A, B);                                                                                       \
    }                                                                                                                  \
    if (high) {                                                                                                        \
        _tile_loadd(A, a1, lda);                                                                                       \
        if (wide) {                                                                                                    \
            _tile_dpbf16ps(3, A, B);                                                                                   \
            _tile_loadd(B, b0, ldb);                                                                                   \
        }                                                                                                              \
        _tile_dpbf16ps(2, A, B);                                                                                       \
    }

/* 16 rows of a product (`high`: 32) times 16 columns (`wide`: 32); rows of a, b and c are so many bytes apart. */
static void multiply_tiles(const num *a, idx lda, int high, const num *b, idx ldb, int wide, idx depth, float *c,
                           idx ldc) {
    const char *left = (const char *)a, *right = (const char *)b, *below = left + TILE * lda;
    char *to = (char *)c;
    idx k = 0;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; k + TILE <= depth; k += TILE) {
        const char *bk = right + k * ldb;
        TILE_STEP(4, 5, left + k * 4, below + k * 4, lda, bk, bk + TILE * 4, ldb)
    }
    if (k < depth) {
        const char *bk = right + k * ldb;
        TILE_STEP(6, 7, left + k * 4, below + k * 4, lda, bk, bk + TILE * 4, ldb)
    }
    _tile_stored(0, to, ldc);
    if (wide) _tile_stored(1, to + TILE * 4, ldc);
    if (high) _tile_stored(2, to + TILE * ldc, ldc);
    if (high && wide) _tile_stored(3, to + TILE * ldc + TILE * 4, ldc);
}

/* As many rows of a panel as fill tiles; returns how many. */
INLINE idx tiles_panel(const int kind, idx vectors, idx width, idx rows, idx lanes, idx depth, Left a, const num *b,
                       const Result *to, Gathered *sums) {
    enum { WIDE = NR * VL };
    float c[2 * TILE * WIDE] __attribute__((aligned(64)));
    idx whole = rows / TILE * TILE;
    if (!tiles_work || !whole) return 0;
    configure_tiles(depth % TILE);
    for (idx i = 0, taken; i < whole; i += taken) {
        taken = least(2 * TILE, whole - i);
        for (idx j = 0; j < vectors; j += 2)
            multiply_tiles(left_row(a, i), a.row * sizeof(num), taken > TILE, b + j * VL * PAIR, width * 4,
                           j + 1 < vectors, depth, c + j * VL, WIDE * 4);
        for (idx r = 0; r < taken; r++)
            for (idx j = 0; j < vectors; j++) {
                idx count = j + 1 < vectors ? VL : lanes;
                vec v = load(c + r * WIDE + j * VL);
                if (kind == SUMS && to->add) v += load_part(to->c + (i + r) * to->ldc + j * VL, count);
                leave_tile(kind, to, sums, i + r, j, count, v);
            }
    }
    _tile_release();
    return whole;
}

/* 16 x 16 cells become columns instead of rows. */
static void turn_cells(num *to, idx ldto, const __m512i *r) {
    __m512i t[16], u[16];
    for (int i = 0; i < 16; i += 2)
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    for (int i = 0; i < 16; i += 4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        __m512i even0 = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88), even1 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
        __m512i odd0 = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd), odd1 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
        _mm512_storeu_si512(to + c * ldto, _mm512_shuffle_i32x4(even0, even1, 0x88));
        _mm512_storeu_si512(to + (4 + c) * ldto, _mm512_shuffle_i32x4(odd0, odd1, 0x88));
        _mm512_storeu_si512(to + (8 + c) * ldto, _mm512_shuffle_i32x4(even0, even1, 0xdd));
        _mm512_storeu_si512(to + (12 + c) * ldto, _mm512_shuffle_i32x4(odd0, odd1, 0xdd));
    }
}

/* The left side of a product whose depth goes down the rows, as tiles want it: along the rows. */
static Left turn_left(num *to, const num *from, idx ld, idx depth, idx cols) {
    idx row = (cells_of(depth) + TILE - 1) / TILE * TILE * PAIR;
    for (idx j = 0; j < cols; j += TILE)
        for (idx k = 0; k < depth; k += TILE * PAIR) {
            num block[TILE * TILE * PAIR] __attribute__((aligned(64)));
            pack_panel(block, from + k * ld + j, ld, least(TILE * PAIR, depth - k), TILE, least(TILE, cols - j));
            turn_cells(to + j * row + k, row, (const __m512i *)block);
        }
    return left_rows(to, row);
}
#else
#define HAS_TILES 0
INLINE idx tiles_panel(const int kind, idx vectors, idx width, idx rows, idx lanes, idx depth, Left a, const num *b,
                       const Result *to, Gathered *sums) {
    return 0;
}
#endif
