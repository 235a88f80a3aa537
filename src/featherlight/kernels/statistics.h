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

INLINE void read_strip(const int n, idx c, idx last, num *out, idx ldo, const num *y, idx ldy, idx rows,
                       const Norm norm) {
    vec s[WIDEST], t[WIDEST];
    EACH(j, n) s[j] = load_part(norm.s + c + j * VL, LANES(j, n, last));
    EACH(j, n) t[j] = load_part(norm.t + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = c + j * VL, lanes = LANES(j, n, last);
            vec u = s[j] * get_part(y + r * ldy + at, lanes) + t[j];
            put_part(out + r * ldo + at, activated(u, norm.act), lanes);
        }
}

/* Rows of y as z. */
static void read_block(num *out, idx ldo, const num *y, idx ldy, idx rows, idx channels, Norm norm) {
    if (norm.s) {
        STRIPS(channels, read_strip, out, ldo, y, ldy, rows, norm)
    } else {
        for (idx r = 0; r < rows; r++) memcpy(out + r * ldo, y + r * ldy, channels * sizeof(num));
    }
}

INLINE void gradient_strip(const int n, idx c, idx last, num *out, idx ldo, const num *g, const num *y, idx ldg,
                           idx rows, idx channels, const float *coef) {
    vec a[WIDEST], b[WIDEST], c0[WIDEST];
    EACH(j, n) a[j] = load_part(coef + c + j * VL, LANES(j, n, last));
    EACH(j, n) b[j] = load_part(coef + channels + c + j * VL, LANES(j, n, last));
    EACH(j, n) c0[j] = load_part(coef + 2 * channels + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = r * ldg + c + j * VL, lanes = LANES(j, n, last);
            put_part(out + r * ldo + c + j * VL, a[j] * get_part(g + at, lanes) + b[j] * get_part(y + at, lanes) + c0[j],
                     lanes);
        }
}

/* dy = a g + b y + c for `count` of g's channels; coef holds a, b, c of all of them, one after the other. May be in
 * place. */
static void read_gradient(num *out, idx ldo, const num *g, const num *y, idx ldg, idx rows, idx count, idx channels,
                          const float *coef) {
    STRIPS(count, gradient_strip, out, ldo, g, y, ldg, rows, channels, coef)
}

/* ---- statistics of outputs -------------------------------------------------------------------------------------- */

/* Mean and sum of squared differences a channel, updated by blocks (Chan, Golub, LeVeque 1979). */
typedef struct {
    double count, *mean, *m2;
} Stats;

/* Takes in a block: sums of differences from `first`, a value of it, and of their squares. */
static void merge_block(Stats *st, double count, idx c, idx n, idx pixels, vec first, vec sum, vec square) {
    double total = count + pixels, part = pixels / total, inverse = 1.0 / pixels, weight = count * part;
    double *restrict mean = st->mean + c, *restrict m2 = st->m2 + c;
    float firsts[VL], sums[VL], squares[VL];
    store(firsts, first), store(sums, sum), store(squares, square);
    for (idx i = 0; i < n; i++) {
        double shift = sums[i] * inverse, own = squares[i] - sums[i] * shift, delta = firsts[i] + shift - mean[i];
        mean[i] += delta * part;
        m2[i] += (own > 0 ? own : 0) + delta * delta * weight;
    }
}

INLINE void stats_strip(const int n, idx c, idx last, Stats *st, const num *y, idx ldy, idx rows) {
    vec first[WIDEST], sum[WIDEST], square[WIDEST];
    EACH(j, n) first[j] = get_part(y + c + j * VL, LANES(j, n, last));
    EACH(j, n) sum[j] = square[j] = (vec){0};
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            vec d = get_part(y + r * ldy + c + j * VL, LANES(j, n, last)) - first[j];
            sum[j] += d, square[j] += d * d;
        }
    EACH(j, n) merge_block(st, st->count, c + j * VL, LANES(j, n, last), rows, first[j], sum[j], square[j]);
}

/* Statistics of a block. The caller counts. */
static void block_stats(Stats *st, const num *y, idx ldy, idx rows, idx channels) {
    STRIPS(channels, stats_strip, st, y, ldy, rows)
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
    num *g;
    idx ldg;
    const num *dz; /* of z; the same as g: in place */
    idx lddz;
    const float *wide; /* in its stead; NULL: none; lddz is this one's then */
    const num *more;   /* also of z, by way of a residual connection; NULL: none; as wide as g */
    const num *x;
    idx ldx;
    double *sums; /* NULL: not wanted */
    idx channels; /* of sums, all in all */
    const num *out; /* the mask is that of these values, not of s * x + t; NULL: none */
    idx ldout;
} Flow;

INLINE void add_sums(const Flow *f, idx c, idx lanes, vec one, vec two) {
    float ones[VL], twos[VL];
    store(ones, one), store(twos, two);
    double *restrict first = f->sums + c, *restrict second = first + f->channels;
    for (idx i = 0; i < lanes; i++) first[i] += ones[i];
    for (idx i = 0; i < lanes; i++) second[i] += twos[i];
}

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
            vec g = f.wide ? load_part(f.wide + r * f.lddz + at, lanes) : get_part(f.dz + r * f.lddz + at, lanes);
            if (f.more) g += get_part(f.more + r * f.ldg + at, lanes);
            if (f.out) {
                g = through(g, get_part(f.out + r * f.ldout + at, lanes), norm.act);
            } else if (norm.act != NONE) {
                g = through(g, s[j] * get_part(f.x + r * f.ldx + at, lanes) + t[j], norm.act);
            }
            if (f.g != f.dz || norm.act != NONE) put_part(f.g + r * f.ldg + at, g, lanes);
            if (f.sums) one[j] += g, two[j] += g * (get_part(f.x + r * f.ldx + at, lanes) - mean[j]);
        }
    if (f.sums) EACH(j, n) add_sums(&f, c + j * VL, LANES(j, n, last), one[j], two[j]);
}

/* Takes a block of dz through the activation, and adds to the sums. */
static void flow_back(const Flow f, idx rows, idx channels, const Norm norm) {
    STRIPS(channels, flow_strip, f, rows, norm)
}
