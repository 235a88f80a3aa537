/* The ends of a chain: where PyTorch's tensors come in and go out. */
#pragma once
#include "statistics.h"

#define BLOCK 64 /* rows at a time */

/* Statistics of a y that somebody else computed. */
int norm_forward(idx pixels, idx channels, float *y, const Learned *norm, float *out) {
    int threads = omp_get_max_threads();
    Stats *stats = new_stats(threads, channels);
    if (!stats) return 1;
#pragma omp parallel num_threads(threads)
    {
        Stats *mine = stats + omp_get_thread_num();
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows, mine->count += rows) {
            rows = least(BLOCK, end - r);
            block_stats(mine, 0, y + r * channels, channels, y + r * channels, channels, rows, channels);
        }
    }
    return end_stats(stats, threads, channels, norm, out, 0);
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

/* z = act(s y + t). */
int leave_forward(idx pixels, idx channels, const float *y, const float *norm, int act, float *z) {
    Norm n = {norm, norm + channels, NULL, act};
#pragma omp parallel
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            rows = least(BLOCK, end - r);
            read_block(z + r * channels, channels, y + r * channels, channels, rows, channels, n);
        }
    }
    return 0;
}

INLINE void add_strip(const int n, idx c, idx last, const float *y, const float *norm, const float *other, int act,
                      float *z, idx rows, idx channels) {
    vec s[WIDEST], t[WIDEST];
    EACH(j, n) s[j] = load_part(norm + c + j * VL, LANES(j, n, last));
    EACH(j, n) t[j] = load_part(norm + channels + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = r * channels + c + j * VL, lanes = LANES(j, n, last);
            vec u = s[j] * load_part(y + at, lanes) + t[j] + load_part(other + at, lanes);
            store_part(z + at, activated(u, act), lanes);
        }
}

/* The end of a unit with a residual connection: z = act(s y + t + other). */
int leave_add(idx pixels, idx channels, const float *y, const float *norm, int act, const float *other, float *z) {
#pragma omp parallel
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            idx at = r * channels;
            rows = least(BLOCK, end - r);
            STRIPS(channels, add_strip, y + at, norm, other + at, act, z + at, rows, channels)
        }
    }
    return 0;
}

/* leave_forward backwards: g = dz * act'(s y + t) with its sums; norm: s, t, mean. With `out`, leave_add backwards:
 * g = dz * act'(out). g == dz: in place. */
int enter_backward(idx pixels, idx channels, const float *dz, const float *y, const float *norm, int act,
                   const float *out, float *g, double *sums) {
    int threads = omp_get_max_threads();
    double *parts = calloc(threads * 2 * channels, sizeof(double));
    if (!parts) return 1;
    Norm n = {norm, norm + channels, norm + 2 * channels, act};
#pragma omp parallel num_threads(threads)
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            idx at = r * channels;
            rows = least(BLOCK, end - r);
            Flow flow = {g + at, channels, dz + at, channels, NULL, y + at, channels,
                         parts + omp_get_thread_num() * 2 * channels, channels, out ? out + at : NULL};
            flow_back(flow, rows, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}

/* dy = a g + b y + c, in place of g. */
int leave_backward(idx pixels, idx channels, float *g, const float *y, const float *coef) {
#pragma omp parallel
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            rows = least(BLOCK, end - r);
            read_gradient(g + r * channels, g + r * channels, y + r * channels, rows, channels, coef);
        }
    }
    return 0;
}

/* ShuffleNetV2's unit: the chain's result z = act(s y + t) and another tensor of as many channels, `left`, are mixed:
 * out[2i] = left[i], out[2i + 1] = z[i]. */
int leave_join(idx pixels, idx channels, const float *y, const float *norm, int act, const float *left, idx ldleft,
               float *out) {
    Norm n = {norm, norm + channels, NULL, act};
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        float *block = floats(BLOCK * channels);
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        if (!block) failed = 1, start = end;
        for (idx r0 = start, rows; r0 < end; r0 += rows) {
            rows = least(BLOCK, end - r0);
            read_block(block, channels, y + r0 * channels, channels, rows, channels, n);
            for (idx r = 0; r < rows; r++) {
                const float *restrict from = left + (r0 + r) * ldleft, *restrict z = block + r * channels;
                float *restrict to = out + 2 * (r0 + r) * channels;
                for (idx c = 0; c < channels; c++) to[2 * c] = from[c], to[2 * c + 1] = z[c];
            }
        }
        free(block);
    }
    return failed;
}

/* Back: dleft, and g = dz * act'(s y + t) with its sums. */
int enter_split(idx pixels, idx channels, const float *dout, const float *y, const float *norm, int act, float *dleft,
                idx lddleft, float *g, double *sums) {
    int threads = omp_get_max_threads();
    double *parts = calloc(threads * 2 * channels, sizeof(double));
    if (!parts) return 1;
    Norm n = {norm, norm + channels, norm + 2 * channels, act};
#pragma omp parallel num_threads(threads)
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r0 = start, rows; r0 < end; r0 += rows) {
            idx at = r0 * channels;
            rows = least(BLOCK, end - r0);
            for (idx r = r0; r < r0 + rows; r++) {
                const float *restrict from = dout + 2 * r * channels;
                float *restrict left = dleft + r * lddleft, *restrict right = g + r * channels;
                for (idx c = 0; c < channels; c++) left[c] = from[2 * c], right[c] = from[2 * c + 1];
            }
            Flow flow = {g + at, channels, g + at, channels, NULL, y + at, channels,
                         parts + omp_get_thread_num() * 2 * channels, channels, NULL};
            flow_back(flow, rows, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}
