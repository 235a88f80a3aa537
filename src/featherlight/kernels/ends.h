/* The ends of a chain: where PyTorch's tensors come in and go out. */
#pragma once
#include "statistics.h"

#define BLOCK 64 /* rows at a time */

/* Statistics of a y that somebody else computed. */
int norm_forward(idx pixels, idx channels, const num *y, const Learned *norm, float *out) {
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
            block_stats(mine, y + r * channels, channels, rows, channels);
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
int leave_forward(idx pixels, idx channels, const num *y, const float *norm, int act, num *z) {
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

INLINE void add_strip(const int n, idx c, idx last, const num *y, const float *norm, const num *other, int act,
                      num *z, idx rows, idx channels) {
    vec s[WIDEST], t[WIDEST];
    EACH(j, n) s[j] = load_part(norm + c + j * VL, LANES(j, n, last));
    EACH(j, n) t[j] = load_part(norm + channels + c + j * VL, LANES(j, n, last));
    for (idx r = 0; r < rows; r++)
        EACH(j, n) {
            idx at = r * channels + c + j * VL, lanes = LANES(j, n, last);
            vec u = s[j] * get_part(y + at, lanes) + t[j] + get_part(other + at, lanes);
            put_part(z + at, activated(u, act), lanes);
        }
}

/* The end of a unit with a residual connection: z = act(s y + t + other). */
int leave_add(idx pixels, idx channels, const num *y, const float *norm, int act, const num *other, num *z) {
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
int enter_backward(idx pixels, idx channels, const num *dz, const num *y, const float *norm, int act, const num *out,
                   num *g, double *sums) {
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
            Flow flow = {.g = g + at, .ldg = channels, .dz = dz + at, .lddz = channels, .x = y + at, .ldx = channels,
                         .sums = parts + omp_get_thread_num() * 2 * channels, .channels = channels,
                         .out = out ? out + at : NULL, .ldout = channels};
            flow_back(flow, rows, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}

INLINE void mean_strip(const int n, idx c, idx last, const num *y, const float *norm, int act, float *z, idx rows,
                       idx channels) {
    vec s[WIDEST], t[WIDEST], sum[WIDEST];
    EACH(j, n) s[j] = load_part(norm + c + j * VL, LANES(j, n, last));
    EACH(j, n) t[j] = load_part(norm + channels + c + j * VL, LANES(j, n, last));
    EACH(j, n) sum[j] = (vec){0};
    for (idx r = 0; r < rows; r++)
        EACH(j, n) sum[j] += activated(s[j] * get_part(y + r * channels + c + j * VL, LANES(j, n, last)) + t[j], act);
    EACH(j, n) store_part(z + c + j * VL, sum[j] * splat(1.f / rows), LANES(j, n, last));
}

/* z (images x channels) = the mean of act(s y + t) over an image's `area` pixels. */
int leave_mean(idx images, idx area, idx channels, const num *y, const float *norm, int act, float *z) {
#pragma omp parallel
    {
        idx start, end;
        share(images, 1, &start, &end);
        for (idx i = start; i < end; i++)
            STRIPS(channels, mean_strip, y + i * area * channels, norm, act, z + i * channels, area, channels)
    }
    return 0;
}

/* Back: g = dz / area * act'(s y + t) with its sums. dz is overwritten. */
int enter_mean(idx images, idx area, idx channels, float *dz, const num *y, const float *norm, int act, num *g,
               double *sums) {
    int threads = omp_get_max_threads();
    double *parts = calloc(threads * 2 * channels, sizeof(double));
    if (!parts) return 1;
    Norm n = {norm, norm + channels, norm + 2 * channels, act};
#pragma omp parallel num_threads(threads)
    {
        idx start, end;
        share(images, 1, &start, &end);
        for (idx i = start; i < end; i++) {
            float *row = dz + i * channels;
            idx at = i * area * channels;
            for (idx c = 0; c < channels; c++) row[c] /= area;
            Flow flow = {.g = g + at, .ldg = channels, .wide = row, .lddz = 0, .x = y + at, .ldx = channels,
                         .sums = parts + omp_get_thread_num() * 2 * channels, .channels = channels};
            flow_back(flow, area, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}

/* dy = a g + b y + c, in place of g. */
int leave_backward(idx pixels, idx channels, num *g, const num *y, const float *coef) {
#pragma omp parallel
    {
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            rows = least(BLOCK, end - r);
            idx at = r * channels;
            read_gradient(g + at, channels, g + at, y + at, channels, rows, channels, channels, coef);
        }
    }
    return 0;
}

/* ShuffleNetV2's unit: the chain's result z = act(s y + t) and another tensor of as many channels, `left`, are mixed:
 * out[2i] = left[i], out[2i + 1] = z[i]. */
int leave_join(idx pixels, idx channels, const num *y, const float *norm, int act, const num *left, idx ldleft,
               num *out) {
    Norm n = {norm, norm + channels, NULL, act};
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        num *block = nums(BLOCK * channels);
        idx start, end;
        share(pixels, BLOCK, &start, &end);
        if (!block) failed = 1, start = end;
        for (idx r0 = start, rows; r0 < end; r0 += rows) {
            rows = least(BLOCK, end - r0);
            read_block(block, channels, y + r0 * channels, channels, rows, channels, n);
            for (idx r = 0; r < rows; r++) {
                const num *restrict from = left + (r0 + r) * ldleft, *restrict z = block + r * channels;
                num *restrict to = out + 2 * (r0 + r) * channels;
                for (idx c = 0; c < channels; c++) to[2 * c] = from[c], to[2 * c + 1] = z[c];
            }
        }
        free(block);
    }
    return failed;
}

/* Back: dleft, and g = dz * act'(s y + t) with its sums. */
int enter_split(idx pixels, idx channels, const num *dout, const num *y, const float *norm, int act, num *dleft,
                idx lddleft, num *g, double *sums) {
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
                const num *restrict from = dout + 2 * r * channels;
                num *restrict left = dleft + r * lddleft, *restrict right = g + r * channels;
                for (idx c = 0; c < channels; c++) left[c] = from[2 * c], right[c] = from[2 * c + 1];
            }
            Flow flow = {.g = g + at, .ldg = channels, .dz = g + at, .lddz = channels, .x = y + at, .ldx = channels,
                         .sums = parts + omp_get_thread_num() * 2 * channels, .channels = channels};
            flow_back(flow, rows, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}

/* ---- the end of ShuffleNetV1's units that halve the image ------------------------------------------------------- */

INLINE void pool_strip(const int n, idx c, idx last, const num *const *window, idx count, num *to, int act) {
    vec sum[WIDEST];
    EACH(j, n) sum[j] = (vec){0};
    for (idx i = 0; i < count; i++) EACH(j, n) sum[j] += get_part(window[i] + c + j * VL, LANES(j, n, last));
    EACH(j, n) put_part(to + c + j * VL, activated(sum[j] * splat(1 / 9.f), act), LANES(j, n, last));
}

/* out = act of the concatenation of x, averaged over 3 x 3 pixels at stride 2 (zeros around the image count), and of
 * s y + t. Shape: of the averaging. */
int leave_pool(const Shape *shape, idx channels, const num *x, const num *y, const float *norm, int act, num *out) {
    Shape d = *shape;
    idx all = d.channels + channels, rows = d.images * d.out_height;
    Norm n = {norm, norm + channels, NULL, act};
#pragma omp parallel
    {
        idx start, end;
        share(rows, 1, &start, &end);
        for (idx row = start; row < end; row++) {
            const num *image = x + row / d.out_height * d.height * d.width * d.channels;
            num *to = out + row * d.out_width * all;
            idx top = row % d.out_height * 2 - 1;
            for (idx ox = 0; ox < d.out_width; ox++) {
                const num *window[9];
                idx count = 0;
                for (idx iy = top < 0 ? 0 : top; iy < least(d.height, top + 3); iy++)
                    for (idx ix = ox ? 2 * ox - 1 : 0; ix < least(d.width, 2 * ox + 2); ix++)
                        window[count++] = image + (iy * d.width + ix) * d.channels;
                STRIPS(d.channels, pool_strip, window, count, to + ox * all, act)
            }
            read_block(to + d.channels, all, y + row * d.out_width * channels, channels, d.out_width, channels, n);
        }
    }
    return 0;
}

INLINE void unpool_strip(const int n, idx c, idx last, const idx *windows, idx count, const num *dout, const num *out,
                         int act, num *to) {
    vec sum[WIDEST];
    EACH(j, n) sum[j] = (vec){0};
    for (idx i = 0; i < count; i++)
        EACH(j, n) {
            idx at = windows[i] + c + j * VL, lanes = LANES(j, n, last);
            sum[j] += through(get_part(dout + at, lanes), get_part(out + at, lanes), act);
        }
    EACH(j, n) put_part(to + c + j * VL, sum[j] * splat(1 / 9.f), LANES(j, n, last));
}

/* Back: the gradient of x by way of the averaging, and g of s y + t with its sums; the activation's mask is that of
 * out. */
int enter_pool(const Shape *shape, idx channels, const num *dout, const num *y, const float *norm, int act,
               const num *out, num *dx, num *g, double *sums) {
    Shape d = *shape;
    idx all = d.channels + channels, pixels = d.images * d.out_height * d.out_width;
    int threads = omp_get_max_threads();
    if (act == NONE) out = dout; /* any values do */
    double *parts = calloc(threads * 2 * channels, sizeof(double));
    if (!parts) return 1;
    Norm n = {norm, norm + channels, norm + 2 * channels, act};
#pragma omp parallel num_threads(threads)
    {
        double *mine = parts + omp_get_thread_num() * 2 * channels;
        idx start, end;
        share(d.images * d.height, 1, &start, &end);
        for (idx row = start; row < end; row++)
            for (idx ix = 0; ix < d.width; ix++) {
                idx windows[4], count = 0, iy = row % d.height;
                for (idx oy = iy / 2; oy < least(d.out_height, (iy + 1) / 2 + 1); oy++)
                    for (idx ox = ix / 2; ox < least(d.out_width, (ix + 1) / 2 + 1); ox++)
                        windows[count++] = ((row / d.height * d.out_height + oy) * d.out_width + ox) * all;
                STRIPS(d.channels, unpool_strip, windows, count, dout, out, act, dx + (row * d.width + ix) * d.channels)
            }
        share(pixels, BLOCK, &start, &end);
        for (idx r = start, rows; r < end; r += rows) {
            idx from = r * all + d.channels, at = r * channels;
            rows = least(BLOCK, end - r);
            Flow flow = {.g = g + at, .ldg = channels, .dz = dout + from, .lddz = all, .x = y + at, .ldx = channels,
                         .sums = mine, .channels = channels, .out = out + from, .ldout = all};
            flow_back(flow, rows, channels, n);
        }
    }
    add_up(sums, parts, threads, 2 * channels);
    free(parts);
    return 0;
}
