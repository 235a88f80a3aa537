/* Passes over a block of rows that lies in the cache: norms and gradients on the way in, sums on the way out.
 *
 * A pass goes through the rows for four vectors of channels at a time, so that what belongs to a channel (coefficients,
 * sums) stays in registers. */
#pragma once
#include "vectors.h"

#define WIDEST 4 /* vectors in such a strip */

/* Calls pass(n, c, last, ...) for each strip: n vectors from channel c on, `last` numbers in the last of them. */
#define STRIPS(channels, pass, ...)                                                                                    \
    for (idx c = 0, n; c < (channels); c += n * VL) {                                                                  \
        idx vectors = ((channels) - c + VL - 1) / VL;                                                                  \
        n = vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;                                                                   \
        idx last = least(VL, (channels) - c - (n - 1) * VL);                                                           \
        if (n == 4) pass(4, c, last, __VA_ARGS__);                                                                     \
        else if (n == 2) pass(2, c, last, __VA_ARGS__);                                                                \
        else pass(1, c, last, __VA_ARGS__);                                                                            \
    }
#define EACH(j, n) _Pragma("GCC unroll 4") for (int j = 0; j < (n); j++)
#define LANES(j, n, last) ((j) + 1 < (n) ? VL : (last))

/* ---- on the way in ---------------------------------------------------------------------------------------------- */

INLINE void read_strip(const int n, idx c, idx last, float *out, idx ldo, const float *y, idx ldy, idx rows,
                       const Norm norm) {
    vec s[WIDEST], t[WIDEST];
    EACH(j, n) s[j] = load_part(norm.s + c + j * VL, LANES(j, n, last));
    EACH(j, n) t[j] = load_part(norm.t + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = c + j * VL, lanes = LANES(j, n, last);
            vec u = s[j] * load_part(y + r * ldy + at, lanes) + t[j];
            store_part(out + r * ldo + at, activated(u, norm.act), lanes);
        }
}

/* Rows of y as z. */
static void read_block(float *out, idx ldo, const float *y, idx ldy, idx rows, idx channels, Norm norm) {
    if (norm.s) {
        STRIPS(channels, read_strip, out, ldo, y, ldy, rows, norm)
    } else {
        for (idx r = 0; r < rows; r++) memcpy(out + r * ldo, y + r * ldy, channels * sizeof(float));
    }
}

INLINE void gradient_strip(const int n, idx c, idx last, float *out, const float *g, const float *y, idx rows,
                           idx channels, const float *coef) {
    vec a[WIDEST], b[WIDEST], c0[WIDEST];
    EACH(j, n) a[j] = load_part(coef + c + j * VL, LANES(j, n, last));
    EACH(j, n) b[j] = load_part(coef + channels + c + j * VL, LANES(j, n, last));
    EACH(j, n) c0[j] = load_part(coef + 2 * channels + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = r * channels + c + j * VL, lanes = LANES(j, n, last);
            store_part(out + at, a[j] * load_part(g + at, lanes) + b[j] * load_part(y + at, lanes) + c0[j], lanes);
        }
}

/* dy = a g + b y + c; coef holds a, b, c one after the other. May be in place. */
static void read_gradient(float *out, const float *g, const float *y, idx rows, idx channels, const float *coef) {
    STRIPS(channels, gradient_strip, out, g, y, rows, channels, coef)
}

/* ---- statistics of outputs -------------------------------------------------------------------------------------- */

/* Mean and sum of squared differences a channel, updated by blocks (Chan, Golub, LeVeque 1979). */
typedef struct {
    double count, *mean, *m2;
} Stats;

/* Takes in a block: sums of differences from `first`, a value of it, and of their squares. */
static void merge_block(Stats *st, double count, idx c, idx n, idx pixels, vec first, vec sum, vec square) {
    double total = count + pixels, part = pixels / total, inverse = 1.0 / pixels;
    for (idx i = 0; i < n; i++) {
        double shift = sum[i] * inverse, m2 = square[i] - sum[i] * shift;
        double delta = first[i] + shift - st->mean[c + i];
        st->mean[c + i] += delta * part;
        st->m2[c + i] += (m2 > 0 ? m2 : 0) + delta * delta * count * part;
    }
}

INLINE void stats_strip(const int n, idx c, idx last, Stats *st, idx c0, float *y, idx ldy, const float *from, idx ldf,
                        idx rows) {
    vec first[WIDEST], sum[WIDEST], square[WIDEST];
    EACH(j, n) first[j] = load_part(from + c + j * VL, LANES(j, n, last));
    EACH(j, n) sum[j] = square[j] = (vec){0};
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = c + j * VL, lanes = LANES(j, n, last);
            vec v = load_part(from + r * ldf + at, lanes), d = v - first[j];
            if (y != from) store_part(y + r * ldy + at, v, lanes);
            sum[j] += d, square[j] += d * d;
        }
    EACH(j, n) merge_block(st, st->count, c0 + c + j * VL, LANES(j, n, last), rows, first[j], sum[j], square[j]);
}

/* Statistics of a block, for channels from c0 on, which is copied to y (from == y: it is there). The caller counts. */
static void block_stats(Stats *st, idx c0, float *y, idx ldy, const float *from, idx ldf, idx rows, idx channels) {
    STRIPS(channels, stats_strip, st, c0, y, ldy, from, ldf, rows)
}

static void free_stats(Stats *all, int threads) {
    for (int i = 0; all && i < threads; i++) free(all[i].mean);
    free(all);
}

static Stats *new_stats(int threads, idx channels) {
    Stats *all = calloc(threads, sizeof(Stats));
    for (int i = 0; all && i < threads; i++) {
        all[i].mean = calloc(2 * channels, sizeof(double));
        if (!all[i].mean) {
            free_stats(all, threads);
            return NULL;
        }
        all[i].m2 = all[i].mean + channels;
    }
    return all;
}

/* What a norm learns and keeps. */
typedef struct {
    float *gamma, *beta, *running_mean, *running_var;
    double momentum, eps;
} Learned;

/* Merges the threads' statistics in order, unless `failed`, makes of them what the norm needs, and frees them.
 * out: s, t, mean, 1/std. */
static int end_stats(Stats *all, int threads, idx channels, const Learned *norm, float *out, int failed) {
    for (idx c = 0; !failed && c < channels; c++) {
        double count = 0, mean = 0, m2 = 0;
        for (int i = 0; i < threads; i++) {
            double n = all[i].count;
            if (n == 0) continue;
            double delta = all[i].mean[c] - mean, total = count + n;
            mean += delta * n / total;
            m2 += all[i].m2[c] + delta * delta * count * n / total;
            count = total;
        }
        double inverse = 1 / sqrt(m2 / count + norm->eps), gamma = norm->gamma[c];
        out[c] = (float)(gamma * inverse);
        out[channels + c] = (float)(norm->beta[c] - mean * gamma * inverse);
        out[2 * channels + c] = (float)mean;
        out[3 * channels + c] = (float)inverse;
        norm->running_mean[c] += (float)(norm->momentum * (mean - norm->running_mean[c]));
        double variance = m2 / (count > 1 ? count - 1 : 1);
        norm->running_var[c] += (float)(norm->momentum * (variance - norm->running_var[c]));
    }
    free_stats(all, threads);
    return failed;
}

/* ---- gradients of inputs ---------------------------------------------------------------------------------------- */

/* The gradient g of s * x + t, given that of z, and the sums that the norm of x needs: of g and of g * (x - mean). */
typedef struct {
    float *g;
    idx ldg;
    const float *dz; /* of z; the same as g: in place */
    idx lddz;
    const float *more; /* also of z, by way of a residual connection; NULL: none; as wide as g */
    const float *x;
    idx ldx;
    double *sums; /* NULL: not wanted */
    idx channels; /* of sums, all in all */
    const float *out; /* the mask is that of these values, not of s * x + t; as wide as g; NULL: none */
} Flow;

INLINE void flow_strip(const int n, idx c, idx last, const Flow f, idx rows, const Norm norm) {
    vec s[WIDEST], t[WIDEST], mean[WIDEST], one[WIDEST], two[WIDEST];
    EACH(j, n) s[j] = t[j] = mean[j] = one[j] = two[j] = (vec){0};
    if (norm.act != NONE && !f.out) {
        EACH(j, n) s[j] = load_part(norm.s + c + j * VL, LANES(j, n, last));
        EACH(j, n) t[j] = load_part(norm.t + c + j * VL, LANES(j, n, last));
    }
    if (f.sums) EACH(j, n) mean[j] = load_part(norm.mean + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = c + j * VL, lanes = LANES(j, n, last);
            vec g = load_part(f.dz + r * f.lddz + at, lanes);
            if (f.more) g += load_part(f.more + r * f.ldg + at, lanes);
            if (f.out) {
                g = through(g, load_part(f.out + r * f.ldg + at, lanes), norm.act);
            } else if (norm.act != NONE) {
                g = through(g, s[j] * load_part(f.x + r * f.ldx + at, lanes) + t[j], norm.act);
            }
            if (f.g != f.dz || norm.act != NONE) store_part(f.g + r * f.ldg + at, g, lanes);
            if (f.sums) one[j] += g, two[j] += g * (load_part(f.x + r * f.ldx + at, lanes) - mean[j]);
        }
    if (!f.sums) return;
    EACH(j, n)
        for (idx i = 0; i < LANES(j, n, last); i++) {
            f.sums[c + j * VL + i] += one[j][i];
            f.sums[f.channels + c + j * VL + i] += two[j][i];
        }
}

/* Takes a block of dz through the activation, and adds to the sums. */
static void flow_back(const Flow f, idx rows, idx channels, const Norm norm) {
    STRIPS(channels, flow_strip, f, rows, norm)
}
