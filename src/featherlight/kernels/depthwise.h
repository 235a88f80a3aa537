/* Depthwise convolution. An image is computed in blocks of VL channels, so that a channel's numbers stay in registers
 * and the few rows that a window needs stay in the first-level cache. */
#pragma once
#include "statistics.h"

#define MAX_SIZE 7 /* of a window */

typedef struct { /* a norm's numbers for one block of channels */
    vec s, t, mean;
    int act, plain;
} BlockNorm;

INLINE BlockNorm block_norm(const float *norm, int act, idx channels, idx c, idx n) {
    BlockNorm b = {.act = act, .plain = !norm};
    if (!norm) return b;
    b.s = load_part(norm + c, n), b.t = load_part(norm + channels + c, n);
    b.mean = load_part(norm + 2 * channels + c, n);
    return b;
}

/* Asks for part `number` of `parts` of the numbers at p. A block of channels is read in small pieces far apart, which
 * no processor foresees; so while an image is computed, the next one is fetched, in order. */
INLINE void fetch(const num *p, idx count, idx number, idx parts) {
    idx end = count * (number + 1) / parts;
    for (idx i = count * number / parts; i < end; i += 64 / sizeof(num)) __builtin_prefetch(p + i, 0, 2);
}

/* Reads a row of an image's block of channels into a padded row. */
INLINE void block_row(float *row, const num *x, idx width, idx channels, idx n, idx pad, const BlockNorm norm) {
    for (idx i = 0; i < width; i++) {
        vec y = get_part(x + i * channels, n);
        store(row + (pad + i) * VL, norm.plain ? y : activated(norm.s * y + norm.t, norm.act));
    }
}

/* One row of outputs. Returns sums for the statistics. */
INLINE void forward_row(num *y, const float *const *rows, const vec *taps, idx k, idx stride, idx out_width,
                        idx channels, idx n, vec first, vec *sum, vec *square) {
    vec total = *sum, squares = *square, own[MAX_SIZE * MAX_SIZE]; /* own: no store changes them */
    UNROLLED for (idx i = 0; i < k * k; i++) own[i] = taps[i];
    for (idx ox = 0; ox < out_width; ox++) {
        vec v = {0};
        UNROLLED for (idx ky = 0; ky < k; ky++)
            UNROLLED for (idx kx = 0; kx < k; kx++) v += load(rows[ky] + (ox * stride + kx) * VL) * own[ky * k + kx];
        put_part(y + ox * channels, v, n);
        vec d = v - first;
        total += d, squares += d * d;
    }
    *sum = total, *square = squares;
}

int depthwise_forward(const Shape *shape, const num *x, const float *before, int act, const float *w, num *y,
                      const Learned *learned, float *out) {
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
        idx start, end, pixels = d.out_height * d.out_width, pieces = padded(ch) / VL * d.out_height;
        idx size = d.height * d.width * ch; /* of an image */
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
                BlockNorm norm = block_norm(before, act, ch, c, lanes);
                for (idx i = 0; i < k * k; i++)
                    for (idx l = 0; l < VL; l++) taps[i][l] = l < lanes ? w[(c + l) * k * k + i] : 0;
                vec first = {0}, sum = {0}, square = {0};
                for (idx oy = 0; oy < d.out_height; oy++) {
                    idx top = oy * d.stride - d.pad, part = c / VL * d.out_height + oy;
                    if (n + 1 < end) fetch(x + (n + 1) * size, size, part, pieces);
                    for (; ready < least(d.height, top + k); ready++)
                        block_row(ring + ready % k * wide * VL, x + (n * d.height + ready) * d.width * ch + c, d.width,
                                  ch, lanes, d.pad, norm);
                    const float *rows[MAX_SIZE];
                    for (idx ky = 0; ky < k; ky++) {
                        idx r = top + ky;
                        rows[ky] = r < 0 || r >= d.height ? zeros : ring + r % k * wide * VL;
                    }
                    num *to = y + (n * pixels + oy * d.out_width) * ch + c;
                    if (oy == 0) { /* a value to measure differences from */
                        forward_row(to, rows, taps, k, d.stride, 1, ch, lanes, first, &sum, &square);
                        first = get_part(to, lanes), sum = (vec){0}, square = (vec){0};
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
    return end_stats(stats, threads, ch, learned, out, failed);
}

/* Products of a row of dy with the rows of z under its window: what the filter's gradient is made of. */
INLINE void filter_row(const float *dy, const float *const *rows, vec *sums, idx k, idx stride, idx out_width) {
    vec local[MAX_SIZE * MAX_SIZE];
    UNROLLED for (idx i = 0; i < k * k; i++) local[i] = sums[i];
    for (idx ox = 0; ox < out_width; ox++) {
        vec v = load(dy + ox * VL);
        UNROLLED for (idx ky = 0; ky < k; ky++)
            UNROLLED for (idx kx = 0; kx < k; kx++) local[ky * k + kx] += v * load(rows[ky] + (ox * stride + kx) * VL);
    }
    UNROLLED for (idx i = 0; i < k * k; i++) sums[i] = local[i];
}

/* Adds a row of dy, times the filter, to the rows of dx under its window. */
INLINE void scatter_row(const float *dy, float *const *rows, const vec *taps, idx k, idx stride, idx out_width) {
    for (idx ky = 0; ky < k; ky++) {
        vec own[MAX_SIZE];
        UNROLLED for (idx kx = 0; kx < k; kx++) own[kx] = taps[ky * k + kx];
        for (idx ox = 0; ox < out_width; ox++) {
            vec v = load(dy + ox * VL);
            float *to = rows[ky] + ox * stride * VL;
            UNROLLED for (idx kx = 0; kx < k; kx++) store(to + kx * VL, load(to + kx * VL) + v * own[kx]);
        }
    }
}

/* A row of dx at stride 1: the window of rows of dy around it, with the filter turned round. */
INLINE void gather_row(float *dx, const float *const *rows, const vec *taps, idx k, idx width) {
    vec own[MAX_SIZE * MAX_SIZE];
    UNROLLED for (idx i = 0; i < k * k; i++) own[i] = taps[i];
    for (idx i = 0; i < width; i++) {
        vec v = {0};
        UNROLLED for (idx ky = 0; ky < k; ky++)
            UNROLLED for (idx kx = 0; kx < k; kx++) v += load(rows[ky] + (i + k - 1 - kx) * VL) * own[ky * k + kx];
        store(dx + i * VL, v);
    }
}

/* A finished row of dx, taken through the activation, to gx, with the sums for the norm of x. */
INLINE void leave_row(num *gx, const float *dx, const num *x, idx width, idx channels, idx n, const BlockNorm norm,
                      vec *one, vec *two) {
    vec a = *one, b = *two;
    for (idx i = 0; i < width; i++) {
        vec y = get_part(x + i * channels, n), g = through(load(dx + i * VL), norm.s * y + norm.t, norm.act);
        put_part(gx + i * channels, g, n);
        a += g, b += g * (y - norm.mean);
    }
    *one = a, *two = b;
}

/* From g and y of the output: dw, and of the input gx = dx * act'(x) with its sums (sums == NULL: without). */
int depthwise_backward(const Shape *shape, const num *g, const num *y, const float *coef, const num *x,
                       const float *before, int act, const float *w, num *gx, double *sums, float *dw) {
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
        /* Rings of the rows at hand; row r of an image has place r % deep. */
        idx deep = 2 * k;
        float *z = floats(deep * wide * VL), *dx = floats(deep * wide * VL), *dy = floats(deep * dy_wide * VL);
        float *zeros = floats((wide + dy_wide) * VL), *waste = floats(wide * VL), *mine = dws + me * k * k * pc;
        vec taps[MAX_SIZE * MAX_SIZE], filter[MAX_SIZE * MAX_SIZE];
        idx read_size = d.height * d.width * ch, written_size = d.out_height * d.out_width * ch;
        idx pieces = pc / VL * d.out_height;
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
                BlockNorm norm = block_norm(before, act, ch, c, lanes);
                vec a = load_part(coef + c, lanes), b = load_part(coef + ch + c, lanes);
                vec c0 = load_part(coef + 2 * ch + c, lanes), one = {0}, two = {0};
                for (idx i = 0; i < k * k; i++) {
                    filter[i] = load(mine + i * pc + c);
                    for (idx l = 0; l < VL; l++) taps[i][l] = l < lanes ? w[(c + l) * k * k + i] : 0;
                }
                const num *image = x + n * d.height * d.width * ch + c;
                num *result = gx + n * d.height * d.width * ch + c;
                if (!gathers) memset(dx, 0, deep * wide * VL * sizeof(float));
                for (idx oy = 0; oy < d.out_height; oy++) {
                    idx top = oy * d.stride - d.pad, at = (n * d.out_height + oy) * d.out_width * ch + c;
                    idx part = c / VL * d.out_height + oy;
                    if (n + 1 < end) {
                        fetch(x + (n + 1) * read_size, read_size, part, pieces);
                        fetch(g + (n + 1) * written_size, written_size, part, pieces);
                        fetch(y + (n + 1) * written_size, written_size, part, pieces);
                    }
                    for (; read < least(d.height, top + k); read++)
                        block_row(z + read % deep * wide * VL, image + read * d.width * ch, d.width, ch, lanes, d.pad,
                                  norm);
                    float *row = dy + (oy % deep * dy_wide + side) * VL;
                    for (idx ox = 0; ox < d.out_width; ox++)
                        store(row + ox * VL,
                              a * get_part(g + at + ox * ch, lanes) + b * get_part(y + at + ox * ch, lanes) + c0);
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
                        if (left >= read && !gathers) /* below the last window: nothing flows back */
                            memset(dx + left % deep * wide * VL, 0, wide * VL * sizeof(float));
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
                        leave_row(result + left * d.width * ch, line + d.pad * VL, image + left * d.width * ch, d.width,
                                  ch, lanes, norm, &one, &two);
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
    if (sums) add_up(sums, parts, threads, 2 * ch);
    free(dws), free(parts);
    return failed;
}
