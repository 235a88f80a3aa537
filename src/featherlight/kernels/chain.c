/* Training operators of light networks: pointwise and depthwise convolution, each with the batch norm and activation
 * around it, forwards and backwards.
 *
 * Activations lie channels last, as matrices of pixels x channels. What a layer keeps is its raw output y, before the
 * norm. The norm and the activation, z = act(s * y + t) with s and t a channel, are computed by whoever reads y, in
 * registers; the statistics are gathered by whoever writes it. Backwards likewise: whoever writes the gradient g of
 * s * y + t gathers the two sums that the norm's own gradient needs, and whoever reads it computes
 * dy = a * g + b * y + c on the way. So each tensor is read and written once where the usual operators take five passes.
 *
 * Sums run over blocks in float and between blocks in double, always in the same order for the same number of threads.
 *
 * Each function returns whether it failed for want of memory; then it has changed no statistics.
 */
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
#define VL 16
#define MR 8
#define MANY_ROWS rows_8
#define NR 3
#elif defined(__AVX__)
#define VL 8
#define MR 6
#define MANY_ROWS rows_6
#define NR 2
#else
#define VL 4
#define MR 8
#define MANY_ROWS rows_8
#define NR 3
#endif

typedef float vec __attribute__((vector_size(VL * 4)));
typedef vec loose __attribute__((aligned(4), may_alias)); /* a vector anywhere in memory */
typedef float half __attribute__((vector_size(VL * 2)));
typedef half loose_half __attribute__((aligned(4), may_alias));
typedef long idx;

enum { NONE = 0, RELU = 1, RELU6 = 2 };

static inline vec load(const float *p) { return *(const loose *)p; }
static inline half load_half(const float *p) { return *(const loose_half *)p; }
static inline void store(float *p, vec v) { *(loose *)p = v; }
static inline vec splat(float x) { return x - (vec){0}; }
static inline idx padded(idx n) { return (n + VL - 1) / VL * VL; }
static inline idx halves(idx n) { return (n + VL / 2 - 1) / (VL / 2) * (VL / 2); } /* what is computed of it */
static inline idx least(idx a, idx b) { return a < b ? a : b; }

static float *floats(idx count) {
    void *p = NULL;
    return posix_memalign(&p, 64, (count + VL) * sizeof(float)) ? NULL : p;
}

/* A norm with its activation, as whoever reads y needs it. s == NULL: the value is y itself. */
typedef struct {
    const float *s, *t, *mean;
    int act;
} Norm;

static inline float activate(float v, int act) {
    if (act == RELU || act == RELU6) v = v > 0 ? v : 0;
    if (act == RELU6) v = v < 6 ? v : 6;
    return v;
}

static inline float passes(float v, int act) { /* the activation's derivative */
    if (act == RELU) return v > 0;
    if (act == RELU6) return v > 0 && v < 6;
    return 1;
}

/* Reads `channels` of a row of y as z; `from` names the channel for each place, NULL: in order. */
static inline void read_row(float *restrict out, const float *restrict y, idx channels, const Norm n,
                            const int *from) {
    if (from) {
        if (!n.s)
            for (idx c = 0; c < channels; c++) out[c] = y[from[c]];
        else
            for (idx c = 0; c < channels; c++)
                out[c] = activate(n.s[from[c]] * y[from[c]] + n.t[from[c]], n.act);
    } else if (!n.s) {
        memcpy(out, y, channels * sizeof(float));
    } else if (n.act == RELU) {
        for (idx c = 0; c < channels; c++) out[c] = activate(n.s[c] * y[c] + n.t[c], RELU);
    } else if (n.act == RELU6) {
        for (idx c = 0; c < channels; c++) out[c] = activate(n.s[c] * y[c] + n.t[c], RELU6);
    } else {
        for (idx c = 0; c < channels; c++) out[c] = n.s[c] * y[c] + n.t[c];
    }
}

/* dy = a * g + b * y + c, by channels; coef holds a, b, c one after the other. */
static inline void read_gradient(float *restrict out, const float *restrict g, const float *restrict y, idx channels,
                                 const float *restrict a, const float *restrict b, const float *restrict c0) {
    for (idx c = 0; c < channels; c++) out[c] = a[c] * g[c] + b[c] * y[c] + c0[c];
}

/* ---- matrix products of blocks that lie in the cache ------------------------------------------------------------ */

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

/* ---- statistics ------------------------------------------------------------------------------------------------- */

/* Mean and sum of squared differences a channel, updated by blocks (Chan, Golub, LeVeque 1979). */
typedef struct {
    double count, *mean, *m2;
    float *first, *sum, *square;
} Stats;

static void block_stats(Stats *st, const float *block, idx rows, idx channels, idx ld) {
    float *restrict first = st->first, *restrict sum = st->sum, *restrict square = st->square;
    memcpy(first, block, channels * sizeof(float));
    memset(sum, 0, channels * sizeof(float));
    memset(square, 0, channels * sizeof(float));
    for (idx r = 1; r < rows; r++)
        for (idx c = 0; c < channels; c++) {
            float d = block[r * ld + c] - first[c];
            sum[c] += d;
            square[c] += d * d;
        }
    double total = st->count + rows;
    for (idx c = 0; c < channels; c++) {
        double shift = sum[c] / (double)rows, m2 = square[c] - sum[c] * shift;
        double delta = first[c] + shift - st->mean[c];
        st->mean[c] += delta * rows / total;
        st->m2[c] += (m2 > 0 ? m2 : 0) + delta * delta * st->count * rows / total;
    }
    st->count = total;
}

/* Merges the threads' statistics in order and makes of them what the norm needs.
 * norm: gamma, beta, running mean, running variance; out: s, t, mean, 1/std. */
static void finish_stats(Stats *of_thread, int threads, idx channels, float *const norm[4], double momentum,
                         double eps, float *const out[4]) {
    for (idx c = 0; c < channels; c++) {
        double count = 0, mean = 0, m2 = 0;
        for (int i = 0; i < threads; i++) {
            double n = of_thread[i].count;
            if (n == 0) continue;
            double delta = of_thread[i].mean[c] - mean, total = count + n;
            mean += delta * n / total;
            m2 += of_thread[i].m2[c] + delta * delta * count * n / total;
            count = total;
        }
        double inverse = 1 / sqrt(m2 / count + eps);
        float s = (float)(norm[0][c] * inverse);
        out[0][c] = s;
        out[1][c] = (float)(norm[1][c] - mean * norm[0][c] * inverse);
        out[2][c] = (float)mean;
        out[3][c] = (float)inverse;
        norm[2][c] += (float)(momentum * (mean - norm[2][c]));
        norm[3][c] += (float)(momentum * (m2 / (count > 1 ? count - 1 : 1) - norm[3][c]));
    }
}

static void free_stats(Stats *all, int threads) {
    for (int i = 0; all && i < threads; i++) free(all[i].mean), free(all[i].first);
    free(all);
}

static Stats *new_stats(int threads, idx channels) {
    Stats *all = calloc(threads, sizeof(Stats));
    for (int i = 0; all && i < threads; i++) {
        all[i].mean = calloc(2 * channels, sizeof(double));
        all[i].first = floats(3 * channels);
        if (!all[i].mean || !all[i].first) {
            free_stats(all, threads);
            return NULL;
        }
        all[i].m2 = all[i].mean + channels;
        all[i].sum = all[i].first + channels;
        all[i].square = all[i].sum + channels;
    }
    return all;
}

/* Makes of the threads' statistics what the norm needs (unless `failed`), and frees them. */
static int end_stats(Stats *all, int threads, idx channels, float *gamma, float *beta, float *running_mean,
                     float *running_var, double momentum, double eps, float *out, int failed) {
    float *const norms[4] = {gamma, beta, running_mean, running_var};
    float *const outs[4] = {out, out + channels, out + 2 * channels, out + 3 * channels};
    if (!failed) finish_stats(all, threads, channels, norms, momentum, eps, outs);
    free_stats(all, threads);
    return failed;
}

static idx rows_a_block(idx channels) { /* about half of a usual second-level cache */
    idx rows = 65536 / channels / 24 * 24;
    return rows < 24 ? 24 : rows > 192 ? 192 : rows;
}

static void share(idx count, idx unit, idx *start, idx *end) { /* of this thread */
    idx blocks = (count + unit - 1) / unit, threads = omp_get_num_threads(), me = omp_get_thread_num();
    *start = least(count, blocks * me / threads * unit);
    *end = least(count, blocks * (me + 1) / threads * unit);
}

/* ---- pointwise convolution -------------------------------------------------------------------------------------- */

/* y (pixels x outs) = z w', with z (pixels x ins) the normalised, activated x. w: (outs, ins/groups). */
int pointwise_forward(idx pixels, idx ins, idx outs, idx groups, const float *x, idx ldx, const float *s,
                       const float *t, int act, const int *from, const float *w, float *y, float *gamma, float *beta,
                       float *running_mean, float *running_var, double momentum, double eps, float *out) {
    idx gi = ins / groups, go = outs / groups, po = padded(go);
    int threads = omp_get_max_threads(), failed = 0;
    float *wt = floats(groups * gi * po);
    Stats *stats = new_stats(threads, outs);
    if (!wt || !stats) {
        free(wt), free_stats(stats, threads);
        return 1;
    }
    for (idx g = 0; g < groups; g++) pack(wt + g * gi * po, w + g * go * gi, gi, go, 1, gi);
    idx block = rows_a_block(ins + groups * po);
    Norm norm = {s, t, NULL, act};
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *a = floats(block * ins), *c = floats(block * groups * po);
        Stats *mine = stats + omp_get_thread_num();
        idx start, end;
        share(pixels, block, &start, &end);
        if (!a || !c) failed = 1, start = end;
        for (idx r0 = start; r0 < end; r0 += block) {
            idx rows = least(block, end - r0);
            const float *input = x + r0 * ldx;
            idx lda = ldx;
            if (s || from) {
                for (idx r = 0; r < rows; r++) read_row(a + r * ins, x + (r0 + r) * ldx, ins, norm, from);
                input = a, lda = ins;
            }
            for (idx g = 0; g < groups; g++)
                multiply(rows, go, gi, input + g * gi, lda, 1, wt + g * gi * po, 0, c + g * po, groups * po, 0);
            float *result = y + r0 * outs;
            for (idx r = 0; r < rows; r++)
                for (idx g = 0; g < groups; g++)
                    memcpy(result + r * outs + g * go, c + (r * groups + g) * po, go * sizeof(float));
            block_stats(mine, result, rows, outs, outs);
        }
        free(a), free(c);
    }
    free(wt);
    return end_stats(stats, threads, outs, gamma, beta, running_mean, running_var, momentum, eps, out, failed);
}

/* Adds up, over a block, what the norm of x needs: sums of g and of g * (x - mean). */
static void block_sums(double *total, float *restrict one, float *restrict two, const float *restrict g,
                       const float *restrict x, idx rows, idx channels, idx ldg, idx ldx, const float *restrict mean) {
    memset(one, 0, channels * sizeof(float));
    memset(two, 0, channels * sizeof(float));
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < channels; c++) {
            float v = g[r * ldg + c];
            one[c] += v;
            two[c] += v * (x[r * ldx + c] - mean[c]);
        }
    for (idx c = 0; c < channels; c++) total[c] += one[c], total[channels + c] += two[c];
}

/* g = dz * act'(s y + t), with the sums; in place when g == dz. */
int enter_backward(idx pixels, idx channels, const float *dz, const float *y, const float *s, const float *t,
                    const float *mean, int act, float *g, double *sums) {
    int threads = omp_get_max_threads(), failed = 0;
    double *parts = calloc(threads * 2 * channels, sizeof(double));
    if (!parts) return 1;
    idx block = 64;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *tmp = floats(2 * channels);
        idx start, end;
        share(pixels, block, &start, &end);
        if (!tmp) failed = 1, start = end;
        for (idx r0 = start; r0 < end; r0 += block) {
            idx rows = least(block, end - r0);
            for (idx r = r0; r < r0 + rows; r++) {
                const float *restrict yr = y + r * channels, *restrict dr = dz + r * channels;
                float *gr = g + r * channels;
                if (act == NONE) {
                    if (gr != dr) memcpy(gr, dr, channels * sizeof(float));
                } else if (act == RELU) {
                    for (idx c = 0; c < channels; c++) gr[c] = s[c] * yr[c] + t[c] > 0 ? dr[c] : 0;
                } else {
                    for (idx c = 0; c < channels; c++) gr[c] = dr[c] * passes(s[c] * yr[c] + t[c], act);
                }
            }
            block_sums(parts + omp_get_thread_num() * 2 * channels, tmp, tmp + channels, g + r0 * channels,
                       y + r0 * channels, rows, channels, channels, channels, mean);
        }
        free(tmp);
    }
    for (idx c = 0; c < 2 * channels; c++) {
        sums[c] = 0;
        for (int i = 0; i < threads; i++) sums[c] += parts[i * 2 * channels + c];
    }
    free(parts);
    return failed;
}

/* Coefficients of dy = a g + b y + c, and the gradients of gamma and beta. norm: s, t, mean, 1/std. */
int norm_backward(idx pixels, idx channels, const double *sums, const float *norm, float *coef, float *dgamma,
                   float *dbeta) {
    const float *s = norm, *mean = norm + 2 * channels, *inverse = norm + 3 * channels;
    for (idx c = 0; c < channels; c++) {
        double a = s[c], b = -a * inverse[c] * inverse[c] * sums[channels + c] / pixels;
        coef[c] = (float)a;
        coef[channels + c] = (float)b;
        coef[2 * channels + c] = (float)(-a * sums[c] / pixels - b * mean[c]);
        dgamma[c] = (float)(sums[channels + c] * inverse[c]);
        dbeta[c] = (float)sums[c];
    }
    return 0;
}

/* From g and y of the output: dw, and of the input gx = dx * act'(x) with its sums (sums == NULL: gx = dx). */
int pointwise_backward(idx pixels, idx ins, idx outs, idx groups, const float *g, const float *y, const float *coef,
                        const float *x, idx ldx, const float *s, const float *t, const float *mean, int act,
                        const int *from, const float *w, float *gx, idx ldgx, double *sums, float *dw) {
    idx gi = ins / groups, go = outs / groups, pi = padded(gi), lda = groups * pi + VL; /* no power of two */
    int threads = omp_get_max_threads(), failed = 0;
    float *wp = floats(outs * pi), *dws = floats(threads * outs * pi);
    double *parts = calloc(threads * 2 * ins, sizeof(double));
    if (!wp || !dws || !parts) {
        free(wp), free(dws), free(parts);
        return 1;
    }
    for (idx k = 0; k < groups; k++) pack(wp + k * go * pi, w + k * go * gi, go, gi, gi, 1);
    idx block = rows_a_block(2 * lda + outs);
    Norm norm = {s, t, mean, act};
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int me = omp_get_thread_num();
        float *dy = floats(block * outs), *z = floats(block * lda), *dx = floats(block * lda), *tmp = floats(2 * ins);
        float *mydw = dws + me * outs * pi;
        memset(mydw, 0, outs * pi * sizeof(float));
        idx start, end;
        share(pixels, block, &start, &end);
        if (!dy || !z || !dx || !tmp) failed = 1, start = end;
        else memset(z, 0, block * lda * sizeof(float));
        for (idx r0 = start; r0 < end; r0 += block) {
            idx rows = least(block, end - r0);
            for (idx r = 0; r < rows; r++) {
                read_gradient(dy + r * outs, g + (r0 + r) * outs, y + (r0 + r) * outs, outs, coef, coef + outs,
                              coef + 2 * outs);
                const float *xr = x + (r0 + r) * ldx;
                for (idx k = 0; k < groups; k++) {
                    Norm part = norm;
                    if (from) {
                        read_row(z + r * lda + k * pi, xr, gi, part, from + k * gi);
                    } else {
                        if (s) part.s += k * gi, part.t += k * gi;
                        read_row(z + r * lda + k * pi, xr + k * gi, gi, part, NULL);
                    }
                }
            }
            for (idx k = 0; k < groups; k++) {
                multiply(go, gi, rows, dy + k * go, 1, outs, z + k * pi, lda, mydw + k * go * pi, pi, 1);
                if (gx)
                    multiply(rows, gi, go, dy + k * go, outs, 1, wp + k * go * pi, 0, dx + k * pi, lda, 0);
            }
            if (!gx) continue;
            for (idx r = 0; r < rows; r++) {
                float *restrict to = gx + (r0 + r) * ldgx;
                for (idx k = 0; k < groups; k++) {
                    const float *restrict zr = z + r * lda + k * pi, *restrict dr = dx + r * lda + k * pi;
                    idx base = k * gi;
                    if (from)
                        for (idx c = 0; c < gi; c++) to[from[base + c]] = dr[c] * passes(zr[c], act);
                    else if (act == NONE)
                        memcpy(to + base, dr, gi * sizeof(float));
                    else if (act == RELU)
                        for (idx c = 0; c < gi; c++) to[base + c] = zr[c] > 0 ? dr[c] : 0;
                    else
                        for (idx c = 0; c < gi; c++) to[base + c] = dr[c] * passes(zr[c], act);
                }
            }
            if (sums)
                block_sums(parts + me * 2 * ins, tmp, tmp + ins, gx + r0 * ldgx, x + r0 * ldx, rows, ins, ldgx, ldx,
                           mean);
        }
        free(dy), free(z), free(dx), free(tmp);
    }
    for (idx o = 0; o < outs; o++)
        for (idx i = 0; i < gi; i++) {
            float total = 0;
            for (int k = 0; k < threads; k++) total += dws[(k * outs + o) * pi + i];
            dw[o * gi + i] = total;
        }
    if (sums)
        for (idx c = 0; c < 2 * ins; c++) {
            sums[c] = 0;
            for (int k = 0; k < threads; k++) sums[c] += parts[k * 2 * ins + c];
        }
    free(wp), free(dws), free(parts);
    return failed;
}

/* ---- depthwise convolution --------------------------------------------------------------------------------------
 * An image is computed in blocks of VL channels, so that a channel's numbers stay in registers and the few rows that a
 * window needs stay in the first-level cache. */

typedef struct {
    idx images, height, width, channels, size, stride, pad, out_height, out_width;
} Shape;

#if defined(__AVX512F__)
#include <immintrin.h>
static inline vec load_part(const float *p, idx n) {
    return n >= VL ? load(p) : (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void store_part(float *p, vec v, idx n) {
    if (n >= VL) store(p, v);
    else _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
static inline vec load_part(const float *p, idx n) {
    if (n >= VL) return load(p);
    vec v = {0};
    for (idx i = 0; i < n; i++) v[i] = p[i];
    return v;
}
static inline void store_part(float *p, vec v, idx n) {
    if (n >= VL) store(p, v);
    else
        for (idx i = 0; i < n; i++) p[i] = v[i];
}
#endif

typedef int mask __attribute__((vector_size(VL * 4)));
static inline vec keep(vec v, mask m) { return (vec)((mask)v & m); }

typedef struct { /* a norm's numbers for one block of channels */
    vec s, t, mean;
    int act, plain;
} BlockNorm;

static inline BlockNorm block_norm(const float *s, const float *t, const float *mean, int act, idx c, idx n) {
    BlockNorm b = {.act = act, .plain = !s};
    if (s) b.s = load_part(s + c, n), b.t = load_part(t + c, n);
    if (mean) b.mean = load_part(mean + c, n);
    return b;
}

static inline vec normed(vec y, const BlockNorm *b) {
    if (b->plain) return y;
    vec v = b->s * y + b->t;
    if (b->act != NONE) v = keep(v, v > 0);
    if (b->act == RELU6) {
        mask m = v < 6;
        v = keep(v, m) + keep(splat(6), ~m);
    }
    return v;
}

static inline vec through(vec g, vec z, int act) { /* the activation's derivative, times g */
    if (act == NONE) return g;
    return act == RELU ? keep(g, z > 0) : keep(g, (z > 0) & (z < 6));
}

/* Reads a row of an image's block of channels into a padded row. */
static inline void block_row(float *row, const float *x, idx width, idx channels, idx n, idx pad,
                             const BlockNorm *norm) {
    for (idx i = 0; i < width; i++) store(row + (pad + i) * VL, normed(load_part(x + i * channels, n), norm));
}

/* One row of outputs; rows[ky] is NULL where the window leaves the image. Returns sums for the statistics. */
static inline __attribute__((always_inline)) void forward_row(float *y, const float *const *rows, const vec *taps,
                                                              idx k, idx stride, idx out_width, idx channels, idx n,
                                                              vec first, vec *sum, vec *square) {
    vec total = *sum, squares = *square;
    for (idx ox = 0; ox < out_width; ox++) {
        vec v = {0};
        for (idx ky = 0; ky < k; ky++)
            if (rows[ky])
                for (idx kx = 0; kx < k; kx++) v += load(rows[ky] + (ox * stride + kx) * VL) * taps[ky * k + kx];
        store_part(y + ox * channels, v, n);
        vec d = v - first;
        total += d, squares += d * d;
    }
    *sum = total, *square = squares;
}

static void merge_block(Stats *st, double count, idx c, idx n, idx pixels, vec first, vec sum, vec square) {
    double total = count + pixels;
    for (idx i = 0; i < n; i++) {
        double shift = sum[i] / (double)pixels, m2 = square[i] - sum[i] * shift;
        double delta = first[i] + shift - st->mean[c + i];
        st->mean[c + i] += delta * pixels / total;
        st->m2[c + i] += (m2 > 0 ? m2 : 0) + delta * delta * count * pixels / total;
    }
}

#define MAX_SIZE 7 /* of a depthwise window */

int depthwise_forward(const Shape *shape, const float *x, const float *s, const float *t, int act, const float *w,
                       float *y, float *gamma, float *beta, float *running_mean, float *running_var, double momentum,
                       double eps, float *out) {
    Shape d = *shape;
    idx ch = d.channels, k = d.size, wide = d.width + 2 * d.pad;
    int threads = omp_get_max_threads(), failed = 0;
    Stats *stats = new_stats(threads, ch);
    if (!stats) return 1;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *ring = floats(k * wide * VL), *zeros = floats(wide * VL);
        vec taps[MAX_SIZE * MAX_SIZE];
        Stats *mine = stats + omp_get_thread_num();
        idx start, end, pixels = d.out_height * d.out_width;
        share(d.images, 1, &start, &end);
        if (ring && zeros) {
            memset(zeros, 0, wide * VL * sizeof(float));
            memset(ring, 0, k * wide * VL * sizeof(float)); /* what is left and right of the image stays zero */
        } else {
            failed = 1, start = end;
        }
        for (idx n = start; n < end; n++, mine->count += pixels)
            for (idx c = 0; c < ch; c += VL) {
                idx lanes = least(VL, ch - c), ready = 0;
                BlockNorm norm = block_norm(s, t, NULL, act, c, lanes);
                for (idx i = 0; i < k * k; i++)
                    for (idx l = 0; l < VL; l++) taps[i][l] = l < lanes ? w[(c + l) * k * k + i] : 0;
                vec first = {0}, sum = {0}, square = {0};
                for (idx oy = 0; oy < d.out_height; oy++) {
                    idx top = oy * d.stride - d.pad;
                    for (; ready < least(d.height, top + k); ready++)
                        block_row(ring + ready % k * wide * VL, x + (n * d.height + ready) * d.width * ch + c, d.width,
                                  ch, lanes, d.pad, &norm);
                    const float *rows[MAX_SIZE];
                    for (idx ky = 0; ky < k; ky++) {
                        idx r = top + ky;
                        rows[ky] = r < 0 || r >= d.height ? zeros : ring + r % k * wide * VL;
                    }
                    float *to = y + (n * pixels + oy * d.out_width) * ch + c;
                    if (oy == 0) { /* a value to measure differences from */
                        forward_row(to, rows, taps, k, d.stride, 1, ch, lanes, first, &sum, &square);
                        first = load_part(to, lanes), sum = (vec){0}, square = (vec){0};
                    }
                    if (k == 3 && d.stride == 1)
                        forward_row(to, rows, taps, 3, 1, d.out_width, ch, lanes, first, &sum, &square);
                    else if (k == 3)
                        forward_row(to, rows, taps, 3, d.stride, d.out_width, ch, lanes, first, &sum, &square);
                    else
                        forward_row(to, rows, taps, k, d.stride, d.out_width, ch, lanes, first, &sum, &square);
                }
                merge_block(mine, mine->count, c, lanes, pixels, first, sum, square);
            }
        free(ring), free(zeros);
    }
    return end_stats(stats, threads, ch, gamma, beta, running_mean, running_var, momentum, eps, out, failed);
}

/* Products of a row of dy with the rows of z under its window: what the filter's gradient is made of. */
static inline __attribute__((always_inline)) void filter_row(const float *dy, const float *const *rows, vec *sums,
                                                             idx k, idx stride, idx out_width) {
    vec local[MAX_SIZE * MAX_SIZE];
    for (idx i = 0; i < k * k; i++) local[i] = sums[i];
    for (idx ox = 0; ox < out_width; ox++) {
        vec v = load(dy + ox * VL);
        for (idx ky = 0; ky < k; ky++)
            for (idx kx = 0; kx < k; kx++) local[ky * k + kx] += v * load(rows[ky] + (ox * stride + kx) * VL);
    }
    for (idx i = 0; i < k * k; i++) sums[i] = local[i];
}

/* Adds a row of dy, times the filter, to the rows of dx under its window. */
static inline __attribute__((always_inline)) void scatter_row(const float *dy, float *const *rows, const vec *taps,
                                                              idx k, idx stride, idx out_width) {
    for (idx ky = 0; ky < k; ky++)
        for (idx ox = 0; ox < out_width; ox++) {
            vec v = load(dy + ox * VL);
            float *to = rows[ky] + ox * stride * VL;
            for (idx kx = 0; kx < k; kx++) store(to + kx * VL, load(to + kx * VL) + v * taps[ky * k + kx]);
        }
}

/* A row of dx at stride 1: the window of rows of dy around it, with the filter turned round. */
static inline __attribute__((always_inline)) void gather_row(float *dx, const float *const *rows, const vec *taps,
                                                             idx k, idx width) {
    for (idx i = 0; i < width; i++) {
        vec v = {0};
        for (idx ky = 0; ky < k; ky++)
            for (idx kx = 0; kx < k; kx++) v += load(rows[ky] + (i + k - 1 - kx) * VL) * taps[ky * k + kx];
        store(dx + i * VL, v);
    }
}

/* A finished row of dx, masked by the activation, to gx, with the sums for the norm of x. */
static inline void leave_row(float *gx, const float *dx, const float *z, const float *x, idx width, idx channels,
                             idx n, const BlockNorm *norm, vec *one, vec *two) {
    vec a = *one, b = *two;
    for (idx i = 0; i < width; i++) {
        vec g = through(load(dx + i * VL), load(z + i * VL), norm->act);
        store_part(gx + i * channels, g, n);
        a += g, b += g * (load_part(x + i * channels, n) - norm->mean);
    }
    *one = a, *two = b;
}

int depthwise_backward(const Shape *shape, const float *g, const float *y, const float *coef, const float *x,
                        const float *s, const float *t, const float *mean, int act, const float *w, float *gx,
                        double *sums, float *dw) {
    Shape d = *shape;
    idx ch = d.channels, pc = padded(ch), k = d.size, wide = d.width + 2 * d.pad;
    idx side = k - 1 - d.pad, dy_wide = d.out_width + 2 * side + d.pad; /* zeros around a row of dy, for gathering */
    int threads = omp_get_max_threads(), gathers = d.stride == 1 && side >= 0, failed = 0;
    float *dws = floats(threads * k * k * pc);
    double *parts = calloc(threads * 2 * ch, sizeof(double));
    if (!dws || !parts) {
        free(dws), free(parts);
        return 1;
    }
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int me = omp_get_thread_num();
        /* Rings of the rows at hand; row r of an image has place r % size. Rows of z live until dx is done with them. */
        idx deep = 2 * k;
        float *z = floats(deep * wide * VL), *dx = floats(deep * wide * VL), *dy = floats(deep * dy_wide * VL);
        float *zeros = floats((wide + dy_wide) * VL), *waste = floats(wide * VL), *mine = dws + me * k * k * pc;
        vec taps[MAX_SIZE * MAX_SIZE], filter[MAX_SIZE * MAX_SIZE];
        memset(mine, 0, k * k * pc * sizeof(float));
        idx start, end;
        share(d.images, 1, &start, &end);
        if (z && dx && dy && zeros && waste) {
            memset(zeros, 0, (wide + dy_wide) * VL * sizeof(float));
            memset(z, 0, deep * wide * VL * sizeof(float));
            memset(dy, 0, deep * dy_wide * VL * sizeof(float));
        } else {
            failed = 1, start = end;
        }
        for (idx n = start; n < end; n++)
            for (idx c = 0; c < ch; c += VL) {
                idx lanes = least(VL, ch - c), read = 0, left = 0; /* rows of x read, rows of dx written */
                BlockNorm norm = block_norm(s, t, mean, act, c, lanes);
                vec a = load_part(coef + c, lanes), b = load_part(coef + ch + c, lanes);
                vec c0 = load_part(coef + 2 * ch + c, lanes), one = {0}, two = {0};
                for (idx i = 0; i < k * k; i++) {
                    filter[i] = load(mine + i * pc + c);
                    for (idx l = 0; l < VL; l++) taps[i][l] = l < lanes ? w[(c + l) * k * k + i] : 0;
                }
                const float *image = x + n * d.height * d.width * ch + c;
                float *result = gx + n * d.height * d.width * ch + c;
                if (!gathers) memset(dx, 0, deep * wide * VL * sizeof(float));
                for (idx oy = 0; oy < d.out_height; oy++) {
                    idx top = oy * d.stride - d.pad, at = (n * d.out_height + oy) * d.out_width * ch + c;
                    for (; read < least(d.height, top + k); read++)
                        block_row(z + read % deep * wide * VL, image + read * d.width * ch, d.width, ch, lanes, d.pad,
                                  &norm);
                    float *row = dy + (oy % deep * dy_wide + side) * VL;
                    for (idx ox = 0; ox < d.out_width; ox++)
                        store(row + ox * VL,
                              a * load_part(g + at + ox * ch, lanes) + b * load_part(y + at + ox * ch, lanes) + c0);
                    const float *under[MAX_SIZE];
                    float *onto[MAX_SIZE];
                    for (idx ky = 0; ky < k; ky++) {
                        idx r = top + ky, outside = r < 0 || r >= d.height;
                        under[ky] = outside ? zeros : z + r % deep * wide * VL;
                        onto[ky] = outside ? waste : dx + r % deep * wide * VL;
                    }
                    if (k == 3) filter_row(row, under, filter, 3, d.stride, d.out_width);
                    else filter_row(row, under, filter, k, d.stride, d.out_width);
                    if (!gathers) {
                        if (k == 3) scatter_row(row, onto, taps, 3, d.stride, d.out_width);
                        else scatter_row(row, onto, taps, k, d.stride, d.out_width);
                    }
                    /* Rows of dx that no later row of dy reaches. */
                    idx done = oy + 1 == d.out_height ? d.height : least(d.height, top + d.stride);
                    for (; left < done; left++) {
                        if (left >= read) { /* below the last window: nothing flows back */
                            block_row(z + left % deep * wide * VL, image + left * d.width * ch, d.width, ch, lanes,
                                      d.pad, &norm);
                            if (!gathers) memset(dx + left % deep * wide * VL, 0, wide * VL * sizeof(float));
                        }
                        float *line = dx + left % deep * wide * VL;
                        if (gathers) {
                            const float *around[MAX_SIZE];
                            for (idx ky = 0; ky < k; ky++) {
                                idx r = left + d.pad - ky;
                                around[ky] = r < 0 || r >= d.out_height ? zeros : dy + r % deep * dy_wide * VL;
                            }
                            if (k == 3) gather_row(line + d.pad * VL, around, taps, 3, d.width);
                            else gather_row(line + d.pad * VL, around, taps, k, d.width);
                        }
                        leave_row(result + left * d.width * ch, line + d.pad * VL, z + (left % deep * wide + d.pad) * VL,
                                  image + left * d.width * ch, d.width, ch, lanes, &norm, &one, &two);
                        if (!gathers) memset(line, 0, wide * VL * sizeof(float));
                    }
                }
                for (idx i = 0; i < k * k; i++) store(mine + i * pc + c, filter[i]);
                double *mysums = parts + me * 2 * ch + c;
                for (idx l = 0; l < lanes; l++) mysums[l] += one[l], mysums[ch + l] += two[l];
            }
        free(z), free(dx), free(dy), free(zeros), free(waste);
    }
    for (idx c = 0; c < ch; c++)
        for (idx i = 0; i < k * k; i++) {
            float total = 0;
            for (int m = 0; m < threads; m++) total += dws[(m * k * k + i) * pc + c];
            dw[c * k * k + i] = total;
        }
    if (sums)
        for (idx c = 0; c < 2 * ch; c++) {
            sums[c] = 0;
            for (int m = 0; m < threads; m++) sums[c] += parts[m * 2 * ch + c];
        }
    free(dws), free(parts);
    return failed;
}

/* ---- the ends of a chain ---------------------------------------------------------------------------------------- */

/* Statistics of a y that somebody else computed. */
int norm_forward(idx pixels, idx channels, const float *y, float *gamma, float *beta, float *running_mean,
                  float *running_var, double momentum, double eps, float *out) {
    int threads = omp_get_max_threads();
    Stats *stats = new_stats(threads, channels);
    if (!stats) return 1;
    idx block = 128;
#pragma omp parallel num_threads(threads)
    {
        idx start, end;
        share(pixels, block, &start, &end);
        for (idx r = start; r < end; r += block)
            block_stats(stats + omp_get_thread_num(), y + r * channels, least(block, end - r), channels, channels);
    }
    return end_stats(stats, threads, channels, gamma, beta, running_mean, running_var, momentum, eps, out, 0);
}

/* z = act(s y + t). */
int leave_forward(idx pixels, idx channels, const float *y, const float *s, const float *t, int act, float *z,
                   idx ldz) {
    Norm norm = {s, t, NULL, act};
#pragma omp parallel for schedule(static)
    for (idx r = 0; r < pixels; r++) read_row(z + r * ldz, y + r * channels, channels, norm, NULL);
    return 0;
}

/* dy = a g + b y + c, in place of g. */
int leave_backward(idx pixels, idx channels, float *g, const float *y, const float *coef) {
#pragma omp parallel for schedule(static)
    for (idx r = 0; r < pixels; r++) {
        float *gr = g + r * channels;
        const float *restrict yr = y + r * channels;
        for (idx c = 0; c < channels; c++) gr[c] = coef[c] * gr[c] + coef[channels + c] * yr[c] + coef[2 * channels + c];
    }
    return 0;
}

/* ShuffleNetV2's unit: of the input's 2c channels the first half, left, stays as it is, and the chain's result, z, is
 * mixed with it: out[2i] = left[i], out[2i + 1] = z[i]. */
int leave_join(idx pixels, idx channels, const float *y, const float *s, const float *t, int act, const float *left,
                idx ldleft, float *out) {
    Norm norm = {s, t, NULL, act};
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        float *z = floats(channels);
        idx start, end;
        share(pixels, 1, &start, &end);
        if (!z) failed = 1, start = end;
        for (idx r = start; r < end; r++) {
            read_row(z, y + r * channels, channels, norm, NULL);
            const float *restrict from = left + r * ldleft;
            float *restrict to = out + 2 * r * channels;
            for (idx c = 0; c < channels; c++) to[2 * c] = from[c], to[2 * c + 1] = z[c];
        }
        free(z);
    }
    return failed;
}

/* Back: dleft, and g = dz * act'(s y + t) with its sums. */
int enter_split(idx pixels, idx channels, const float *dout, const float *y, const float *s, const float *t,
                 const float *mean, int act, float *g, double *sums, float *dleft, idx lddleft) {
#pragma omp parallel for schedule(static)
    for (idx r = 0; r < pixels; r++) {
        const float *restrict from = dout + 2 * r * channels;
        float *restrict left = dleft + r * lddleft, *restrict right = g + r * channels;
        for (idx c = 0; c < channels; c++) left[c] = from[2 * c], right[c] = from[2 * c + 1];
    }
    return enter_backward(pixels, channels, g, y, s, t, mean, act, g, sums);
}
