/* Pointwise convolution, and the first convolution of a network, which is one of windows' pixels laid side by side. */
#pragma once
#include "products.h"
#include "statistics.h"

/* Rows of the left side of the product: pixels of x, normalised and activated. */
typedef struct {
    const float *x;
    idx ldx;
    Norm norm;
    const int *from;     /* for each channel the one of x that it is; NULL: in order */
    const Shape *window; /* a row is a window of x; NULL: a pixel */
} Source;

static idx rows_a_block(idx channels) { /* about half of a usual second-level cache; few rows: many sums to be loaded */
    idx rows = 131072 / channels / 24 * 24;
    return rows < 48 ? 48 : rows > 192 ? 192 : rows;
}

/* The windows of pixels r0 to r0 + rows, each as size * size * channels numbers; zeros outside of the image. */
static void read_windows(float *out, idx ldo, const float *x, const Shape *d, idx r0, idx rows) {
    idx run = d->size * d->channels, line = d->width * d->channels, pixels = d->out_height * d->out_width;
    for (idx r = 0; r < rows; r++) {
        idx image = (r0 + r) / pixels, at = (r0 + r) % pixels;
        idx top = at / d->out_width * d->stride - d->pad, left = at % d->out_width * d->stride - d->pad;
        idx before = left < 0 ? -left * d->channels : 0, beyond = left + d->size - d->width;
        idx end = beyond > 0 ? run - beyond * d->channels : run; /* numbers of a line that lie in the image */
        for (idx ky = 0; ky < d->size; ky++) {
            float *restrict to = out + r * ldo + ky * run;
            const float *restrict from = x + (image * d->height + top + ky) * line + left * d->channels;
            if (top + ky < 0 || top + ky >= d->height || before >= end) {
                for (idx i = 0; i < run; i++) to[i] = 0;
            } else if (run == 9 && before == 0 && end == 9) {
                for (int i = 0; i < 9; i++) to[i] = from[i];
            } else {
                for (idx i = 0; i < before; i++) to[i] = 0;
                for (idx i = before; i < end; i++) to[i] = from[i];
                for (idx i = end; i < run; i++) to[i] = 0;
            }
        }
    }
}

/* Rows of z, the groups `step` apart. `tmp` holds rows x ins numbers where channels are not in order. */
static void read_source(float *out, idx ldo, idx step, const Source *s, idx r0, idx rows, idx ins, idx groups,
                        float *tmp) {
    const float *x = s->x + r0 * s->ldx;
    idx gi = ins / groups, ldx = s->ldx;
    if (s->window) {
        read_windows(out, ldo, s->x, s->window, r0, rows);
    } else if (!s->from) {
        for (idx k = 0; k < groups; k++)
            read_block(out + k * step, ldo, x + k * gi, ldx, rows, gi, norm_at(s->norm, k * gi));
    } else {
        if (s->norm.s) read_block(tmp, ins, x, ldx, rows, ins, s->norm), x = tmp, ldx = ins;
        for (idx r = 0; r < rows; r++)
            for (idx k = 0; k < groups; k++) {
                const int *restrict from = s->from + k * gi;
                float *restrict to = out + r * ldo + k * step;
                const float *restrict row = x + r * ldx;
                for (idx c = 0; c < gi; c++) to[c] = row[from[c]];
            }
    }
}

static int product_forward(idx pixels, idx ins, idx outs, idx groups, Source source, const float *w, float *y,
                           const Learned *learned, float *out, int paired) {
    idx gi = ins / groups, go = outs / groups, po = padded(go), block = rows_a_block(ins + groups * po);
    idx depth = paired ? (gi + 1) / 2 : gi; /* of a product, in cells */
    int threads = omp_get_max_threads(), failed = 0;
    int as_is = !source.norm.s && !source.from && !source.window, whole = halves(go) == go;
    float *wt = floats(groups * depth * po);
    Stats *stats = new_stats(threads, outs);
    if (!wt || !stats) {
        free(wt), free_stats(stats, threads);
        return 1;
    }
    for (idx g = 0; g < groups; g++) pack(wt + g * depth * po, w + g * go * gi, gi, go, 1, gi, paired);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *a = floats(block * (2 * ins + po + groups * depth)), *tmp = a + block * ins;
        float *c = tmp + block * ins, *cells = c + block * po;
        Stats *mine = stats + omp_get_thread_num();
        idx start, end;
        share(pixels, block, &start, &end);
        if (!a) failed = 1, start = end;
        for (idx r0 = start, rows; r0 < end; r0 += rows, mine->count += rows) {
            rows = least(block, end - r0);
            if (!as_is) read_source(a, ins, gi, &source, r0, rows, ins, groups, tmp);
            const float *left = as_is ? source.x + r0 * source.ldx : a;
            idx ld = as_is ? source.ldx : ins, step = gi;
            if (paired) {
                for (idx g = 0; g < groups; g++)
                    pair_columns(cells + g * depth, groups * depth, left + g * gi, ld, rows, gi);
                left = cells, ld = groups * depth, step = depth;
            }
            for (idx g = 0; g < groups; g++) {
                float *result = y + r0 * outs + g * go, *to = whole ? result : c; /* a product may write beyond go */
                idx ldc = whole ? outs : po;
                multiply(rows, go, depth, left + g * step, ld, 1, wt + g * depth * po, 0, to, ldc, 0, paired);
                block_stats(mine, g * go, result, outs, to, ldc, rows, go);
            }
        }
        free(a);
    }
    free(wt);
    return end_stats(stats, threads, outs, learned, out, failed);
}

int computes_bfloat16(void) { return HAS_PAIRS; }

/* y (pixels x outs) = z w', with z (pixels x ins) the normalised, activated x. w: (outs, ins/groups). With
 * `reduced`, factors are rounded to bfloat16 where that is faster; sums are float32. */
int pointwise_forward(idx pixels, idx ins, idx outs, idx groups, const float *x, idx ldx, const float *norm, int act,
                      const int *from, const float *w, float *y, const Learned *learned, float *out, int reduced) {
    Source source = {x, ldx, {norm, norm ? norm + ins : NULL, NULL, act}, from, NULL};
    return product_forward(pixels, ins, outs, groups, source, w, y, learned, out, reduced && HAS_PAIRS);
}

/* A convolution of few input channels; w: (outs, size, size, channels). */
int stem_forward(const Shape *shape, idx outs, const float *x, const float *w, float *y, const Learned *learned,
                 float *out, int reduced) {
    Source source = {x, 0, {NULL, NULL, NULL, NONE}, NULL, shape};
    idx pixels = shape->images * shape->out_height * shape->out_width;
    idx ins = shape->size * shape->size * shape->channels;
    return product_forward(pixels, ins, outs, 1, source, w, y, learned, out, reduced && HAS_PAIRS);
}

/* Where the gradient of x goes. */
typedef struct {
    float *gx; /* NULL: nowhere */
    idx ldgx;
    const float *more; /* is added to it; NULL: nothing */
    double *sums;
} Target;

/* dx, rows of the product with the groups `step` apart, becomes gx. */
static void write_target(const Target *t, double *sums, const Source *s, const float *dx, idx lddx, idx step, idx r0,
                         idx rows, idx ins, idx groups, float *tmp) {
    idx gi = ins / groups;
    if (s->from) {
        for (idx r = 0; r < rows; r++)
            for (idx k = 0; k < groups; k++) {
                const int *restrict from = s->from + k * gi;
                const float *restrict row = dx + r * lddx + k * step;
                float *restrict to = tmp + r * ins;
                for (idx c = 0; c < gi; c++) to[from[c]] = row[c];
            }
        dx = tmp, lddx = gi = ins, groups = 1;
    }
    for (idx k = 0; k < groups; k++) {
        Flow flow = {t->gx + r0 * t->ldgx + k * gi, t->ldgx, dx + k * step, lddx,
                     t->more ? t->more + r0 * t->ldgx + k * gi : NULL, s->x + r0 * s->ldx + k * gi, s->ldx,
                     t->sums ? sums + k * gi : NULL, ins, NULL};
        flow_back(flow, rows, gi, norm_at(s->norm, k * gi));
    }
}

static int product_backward(idx pixels, idx ins, idx outs, idx groups, const float *g, const float *y,
                            const float *coef, Source source, const float *w, Target target, float *dw,
                            int paired) {
    idx gi = ins / groups, go = outs / groups, pi = padded(gi), ld = groups * pi + VL; /* no power of two */
    idx block = rows_a_block(2 * ld + outs), numbers = block * (2 * ld + outs + (source.from ? ins : 0));
    int threads = omp_get_max_threads(), failed = 0, plain = !source.norm.s && !source.from && halves(gi) == gi;
    int as_is = plain && !source.window && source.ldx % 256; /* else rows would push each other out of the cache */
    int direct = plain && !target.more && !target.sums;
    idx depth = paired ? (go + 1) / 2 : go, across = groups * depth; /* of a product for dx, in cells */
    idx cells = paired ? block * across + (block + 1) / 2 * (outs + ld) : 0;
    float *wp = floats(outs * pi + groups * pi), *dws = floats(threads * outs * pi);
    double *parts = calloc(threads * 2 * ins, sizeof(double));
    if (!wp || !dws || !parts) {
        free(wp), free(dws), free(parts);
        return 1;
    }
    for (idx k = 0; k < groups; k++) pack(wp + k * depth * pi, w + k * go * gi, go, gi, gi, 1, paired);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int me = omp_get_thread_num();
        float *dy = floats(numbers + cells), *z = dy + block * outs, *dx = z + block * ld, *tmp = dx + block * ld;
        float *dy_across = dy + numbers, *dy_down = dy_across + block * across;
        float *z_down = dy_down + (block + 1) / 2 * outs;
        float *mydw = dws + me * outs * pi;
        memset(mydw, 0, outs * pi * sizeof(float));
        idx start, end;
        share(pixels, block, &start, &end);
        if (!dy) failed = 1, start = end;
        else memset(z, 0, block * ld * sizeof(float)); /* columns that pad a group */
        for (idx r0 = start, rows; r0 < end; r0 += rows) {
            rows = least(block, end - r0);
            read_gradient(dy, g + r0 * outs, y + r0 * outs, rows, outs, coef);
            if (!as_is) read_source(z, ld, pi, &source, r0, rows, ins, groups, tmp);
            const float *right = as_is ? source.x + r0 * source.ldx : z, *down = dy, *left = dy;
            idx ldr = as_is ? source.ldx : ld, step = as_is ? gi : pi, high = rows;
            if (paired) {
                high = (rows + 1) / 2;
                pair_rows(z_down, ld, right, ldr, rows, groups * step);
                pair_rows(dy_down, outs, dy, outs, rows, outs);
                for (idx k = 0; k < groups; k++)
                    pair_columns(dy_across + k * depth, across, dy + k * go, outs, rows, go);
                right = z_down, ldr = ld, down = dy_down, left = dy_across;
            }
            for (idx k = 0; k < groups; k++) {
                float *to = direct ? target.gx + r0 * target.ldgx + k * gi : dx + k * pi;
                multiply(go, gi, high, down + k * go, 1, outs, right + k * step, ldr, mydw + k * go * pi, pi, 1,
                         paired);
                if (target.gx)
                    multiply(rows, gi, depth, left + k * depth, across, 1, wp + k * depth * pi, 0, to,
                             direct ? target.ldgx : ld, 0, paired);
            }
            if (target.gx && !direct)
                write_target(&target, parts + me * 2 * ins, &source, dx, ld, pi, r0, rows, ins, groups, tmp);
        }
        free(dy);
    }
    for (idx o = 0; o < outs; o++)
        for (idx i = 0; i < gi; i++) {
            float total = 0;
            for (int k = 0; k < threads; k++) total += dws[(k * outs + o) * pi + i];
            dw[o * gi + i] = total;
        }
    if (target.sums) add_up(target.sums, parts, threads, 2 * ins);
    free(wp), free(dws), free(parts);
    return failed;
}

/* From g and y of the output: dw, and of the input gx = (dx + more) * act'(x) with its sums (sums == NULL: without).
 * norm: s, t, mean of x; NULL: x has none. */
int pointwise_backward(idx pixels, idx ins, idx outs, idx groups, const float *g, const float *y, const float *coef,
                       const float *x, idx ldx, const float *norm, int act, const int *from, const float *w,
                       float *gx, idx ldgx, const float *more, double *sums, float *dw, int reduced) {
    Source source = {x, ldx, {norm, norm ? norm + ins : NULL, norm ? norm + 2 * ins : NULL, act}, from, NULL};
    Target target = {gx, ldgx, more, sums};
    return product_backward(pixels, ins, outs, groups, g, y, coef, source, w, target, dw, reduced && HAS_PAIRS);
}

int stem_backward(const Shape *shape, idx outs, const float *g, const float *y, const float *coef, const float *x,
                  const float *w, float *dw, int reduced) {
    Source source = {x, 0, {NULL, NULL, NULL, NONE}, NULL, shape};
    Target target = {NULL, 0, NULL, NULL};
    idx pixels = shape->images * shape->out_height * shape->out_width;
    idx ins = shape->size * shape->size * shape->channels;
    return product_backward(pixels, ins, outs, 1, g, y, coef, source, w, target, dw, reduced && HAS_PAIRS);
}
