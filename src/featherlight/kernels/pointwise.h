/* Pointwise convolution, and the first convolution of a network, which is one of windows' pixels laid side by side. */
#pragma once
#include "products.h"
#include "statistics.h"

/* Rows of the left side of the product: pixels of x, normalised and activated. */
typedef struct {
    const num *x;
    idx ldx;
    Norm norm;
    idx shuffle;         /* its channels are shuffled in so many groups; 1: not */
    const Shape *window; /* a row is a window of x; NULL: a pixel */
} Source;

static idx rows_a_block(idx channels) { /* about half of a usual second-level cache; few rows: many sums to be loaded */
    idx rows = 131072 / channels / 24 * 24;
    return rows < 48 ? 48 : rows > 192 ? 192 : rows;
}

/* The windows of pixels r0 to r0 + rows, each as size * size * channels numbers; zeros outside of the image. */
static void read_windows(num *out, idx ldo, const num *x, const Shape *d, idx r0, idx rows) {
    idx run = d->size * d->channels, line = d->width * d->channels, pixels = d->out_height * d->out_width;
    idx image = r0 / pixels, oy = r0 % pixels / d->out_width, ox = r0 % d->out_width;
    for (idx r = 0; r < rows; r++) {
        idx top = oy * d->stride - d->pad, left = ox * d->stride - d->pad;
        idx before = left < 0 ? -left * d->channels : 0, beyond = left + d->size - d->width;
        idx end = beyond > 0 ? run - beyond * d->channels : run; /* numbers of a line that lie in the image */
        for (idx ky = 0; ky < d->size; ky++) {
            num *restrict to = out + r * ldo + ky * run;
            const num *restrict from = x + (image * d->height + top + ky) * line + left * d->channels;
            if (top + ky < 0 || top + ky >= d->height || before >= end) {
                for (idx i = 0; i < run; i++) to[i] = 0;
            } else if (run == 9 && before == 0 && end == 9) {
                memcpy(to, from, 9 * sizeof(num));
            } else {
                for (idx i = 0; i < before; i++) to[i] = 0;
                for (idx i = before; i < end; i++) to[i] = from[i];
                for (idx i = end; i < run; i++) to[i] = 0;
            }
        }
        if (++ox == d->out_width) ox = 0, oy++;
        if (oy == d->out_height) oy = 0, image++;
    }
}

/* A row's channels in the order of a shuffle in `groups`, of which the compiler knows the usual numbers. */
INLINE void shuffle_row(num *restrict to, const num *restrict from, idx run, idx groups) {
    for (idx j = 0; j < run; j++)
        for (idx g = 0; g < groups; g++) to[j * groups + g] = from[g * run + j];
}
INLINE void unshuffle_row(float *restrict to, const float *restrict from, idx run, idx groups) {
    for (idx g = 0; g < groups; g++)
        for (idx j = 0; j < run; j++) to[g * run + j] = from[j * groups + g];
}
#define FOR_GROUPS(groups, does, ...)                                                                                  \
    switch (groups) {                                                                                                  \
    case 2: does(__VA_ARGS__, 2); break;                                                                               \
    case 3: does(__VA_ARGS__, 3); break;                                                                               \
    case 4: does(__VA_ARGS__, 4); break;                                                                               \
    case 8: does(__VA_ARGS__, 8); break;                                                                               \
    default: does(__VA_ARGS__, groups);                                                                                \
    }

/* Rows of z, the groups `step` apart. `tmp` holds 2 * rows * ins numbers where channels are not in order. */
static void read_source(num *out, idx ldo, idx step, const Source *s, idx r0, idx rows, idx ins, idx groups, num *tmp) {
    const num *x = s->x + r0 * s->ldx;
    idx gi = ins / groups, ldx = s->ldx;
    Norm norm = s->norm;
    if (s->window) {
        read_windows(out, ldo, s->x, s->window, r0, rows);
        return;
    }
    if (s->shuffle > 1) {
        num *shuffled = tmp + rows * ins;
        if (norm.s) read_block(tmp, ins, x, ldx, rows, ins, norm), x = tmp, ldx = ins, norm.s = NULL;
        for (idx r = 0; r < rows; r++)
            FOR_GROUPS(s->shuffle, shuffle_row, shuffled + r * ins, x + r * ldx, ins / s->shuffle)
        x = shuffled, ldx = ins;
    }
    if (step == gi) gi = ins, groups = 1;
    for (idx k = 0; k < groups; k++) read_block(out + k * step, ldo, x + k * gi, ldx, rows, gi, norm_at(norm, k * gi));
}

/* Weights (outs, gi) in float32 as the packed right sides of the groups' products, or NULL. */
static num *packed_weights(const float *w, idx outs, idx gi, idx groups, int backwards) {
    idx go = outs / groups, size = backwards ? even(go) * padded(gi) : even(gi) * padded(go);
    num *to = nums(groups * size), *numbers = nums(outs * gi);
    for (idx i = 0; numbers && i < outs * gi; i += VL) {
        idx lanes = least(VL, outs * gi - i);
        put_part(numbers + i, load_part(w + i, lanes), lanes);
    }
    for (idx g = 0; to && numbers && g < groups; g++) {
        const num *own = numbers + g * go * gi;
        if (backwards) pack(to + g * size, own, gi, go, gi, 0);
        else pack(to + g * size, own, gi, gi, go, 1);
    }
    if (!numbers) free(to), to = NULL;
    free(numbers);
    return to;
}

static int product_forward(idx pixels, idx ins, idx outs, idx groups, Source source, const float *w, num *y,
                           const Learned *learned, float *out) {
    idx gi = ins / groups, go = outs / groups, step = even(gi), ld = groups * step;
    idx block = rows_a_block(ins + outs), size = step * padded(go);
    int threads = omp_get_max_threads(), failed = 0;
    int as_is = !source.norm.s && source.shuffle == 1 && !source.window && step == gi;
    num *packed = packed_weights(w, outs, gi, groups, 0);
    Stats *stats = new_stats(threads, outs);
    if (!packed || !stats) {
        free(packed), free_stats(stats, threads);
        return 1;
    }
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        num *a = nums(block * (ld + 2 * ins)), *tmp = a + block * ld;
        Stats *mine = stats + omp_get_thread_num();
        idx start, end;
        share(pixels, block, &start, &end);
        if (!a) failed = 1, start = end;
        else memset(a, 0, block * ld * sizeof(num)); /* numbers that fill up a cell */
        for (idx r0 = start, rows; r0 < end; r0 += rows, mine->count += rows) {
            rows = least(block, end - r0);
            if (!as_is) read_source(a, ld, step, &source, r0, rows, ins, groups, tmp);
            const num *left = as_is ? source.x + r0 * source.ldx : a;
            for (idx g = 0; g < groups; g++) {
                Result to = {.y = y + r0 * outs + g * go, .ldy = outs, .c0 = g * go, .stats = mine};
                Left a_g = left_rows(left + g * step, as_is ? source.ldx : ld);
                multiply(OUTPUTS, rows, go, gi, a_g, packed + g * size, &to);
            }
        }
        free(a);
    }
    free(packed);
    return end_stats(stats, threads, outs, learned, out, failed);
}

/* y (pixels x outs) = z w', with z (pixels x ins) the normalised, activated x. w: (outs, ins/groups). */
int pointwise_forward(idx pixels, idx ins, idx outs, idx groups, const num *x, idx ldx, const float *norm, int act,
                      idx shuffle, const float *w, num *y, const Learned *learned, float *out) {
    Source source = {x, ldx, {norm, norm ? norm + ins : NULL, NULL, act}, shuffle, NULL};
    return product_forward(pixels, ins, outs, groups, source, w, y, learned, out);
}

/* A convolution of few input channels; w: (outs, size, size, channels). */
int stem_forward(const Shape *shape, idx outs, const num *x, const float *w, num *y, const Learned *learned,
                 float *out) {
    Source source = {x, 0, {NULL, NULL, NULL, NONE}, 1, shape};
    idx pixels = shape->images * shape->out_height * shape->out_width;
    idx ins = shape->size * shape->size * shape->channels;
    return product_forward(pixels, ins, outs, 1, source, w, y, learned, out);
}

/* Where the gradient of x goes. */
typedef struct {
    num *gx; /* NULL: nowhere */
    idx ldgx;
    const num *more; /* is added to it; NULL: nothing */
    double *sums;
} Target;

typedef struct { /* of one call of product_backward */
    idx ins, outs, groups, gi, go, step; /* step: between groups of dy */
    idx ldd;                             /* between rows of dy */
    int swapped;                         /* dw is computed as its transpose, which wastes less */
    idx ldw;                             /* between rows of that */
    Source source;
    Target target;
    const num *packed;
} Backward;

/* dw += dy' z for a block. room: for a group of both as cells. */
static void weight_gradient(const Backward *b, const num *dy, const num *z, idx ldz, idx rows, num *room, float *dw) {
    for (idx k = 0; k < b->groups; k++) {
        const num *left = dy + k * b->step, *right = z + k * b->gi;
        idx ldl = b->ldd, ldr = ldz, outs = b->go, ins = b->gi;
        if (b->swapped) left = right, right = dy + k * b->step, ldl = ldz, ldr = b->ldd, outs = b->gi, ins = b->go;
        num *packed = room + left_room(rows, outs);
        Left columns = pack_left(room, left, ldl, rows, outs);
        pack(packed, right, ldr, rows, ins, 0);
        Result to = {.c = dw + k * outs * b->ldw, .ldc = b->ldw, .add = 1};
        multiply(SUMS, outs, ins, rows, columns, packed, &to);
    }
}

/* dx = dy w, rows from r0 on, becomes gx. wide: room for it twice where channels are shuffled. */
static void input_gradient(const Backward *b, const num *dy, idx r0, idx rows, double *sums, float *wide) {
    const Source *s = &b->source;
    const Target *t = &b->target;
    idx size = b->step * padded(b->gi);
    Flow flow = {.g = t->gx + r0 * t->ldgx, .ldg = t->ldgx, .more = t->more ? t->more + r0 * t->ldgx : NULL,
                 .x = s->x + r0 * s->ldx, .ldx = s->ldx, .sums = t->sums ? sums : NULL, .channels = b->ins};
    Result all = {.flow = flow, .norm = s->norm}, buffer = {.c = wide, .ldc = b->ins};
    for (idx k = 0; k < b->groups; k++) {
        const num *left = dy + k * b->step, *right = b->packed + k * size;
        Result to = result_at(s->shuffle > 1 ? buffer : all, k * b->gi);
        if (s->shuffle > 1) multiply(SUMS, rows, b->gi, b->go, left_rows(left, b->ldd), right, &to);
        else multiply(GRADIENT, rows, b->gi, b->go, left_rows(left, b->ldd), right, &to);
    }
    if (s->shuffle == 1) return;
    float *sorted = wide + rows * b->ins;
    for (idx r = 0; r < rows; r++)
        FOR_GROUPS(s->shuffle, unshuffle_row, sorted + r * b->ins, wide + r * b->ins, b->ins / s->shuffle)
    flow.wide = sorted, flow.lddz = b->ins;
    flow_back(flow, rows, b->ins, s->norm);
}

static int product_backward(idx pixels, idx ins, idx outs, idx groups, const num *g, const num *y, const float *coef,
                            Source source, const float *w, Target target, float *dw) {
    Backward b = {ins, outs, groups, ins / groups, outs / groups, .source = source, .target = target};
    b.step = even(b.go), b.ldd = groups * b.step;
    b.swapped = b.gi * halves(b.go) < b.go * halves(b.gi), b.ldw = padded(b.swapped ? b.go : b.gi);
    idx block = rows_a_block(2 * ins + outs), of_dw = groups * (b.swapped ? b.gi : b.go) * b.ldw;
    int threads = omp_get_max_threads(), failed = 0;
    int as_is = !source.norm.s && source.shuffle == 1 && !source.window;
    idx numbers = block * (b.ldd + ins + 2 * ins) + left_room(block, b.gi) + left_room(block, b.go);
    num *packed = target.gx ? packed_weights(w, outs, b.gi, groups, 1) : NULL;
    float *dws = floats(threads * of_dw);
    double *parts = calloc(threads * 2 * ins, sizeof(double));
    if ((target.gx && !packed) || !dws || !parts) {
        free(packed), free(dws), free(parts);
        return 1;
    }
    b.packed = packed;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int me = omp_get_thread_num();
        num *dy = nums(numbers), *z = dy + block * b.ldd, *tmp = z + block * ins, *room = tmp + 2 * block * ins;
        float *mydw = dws + me * of_dw, *wide = floats(source.shuffle > 1 ? 2 * block * ins : 1);
        memset(mydw, 0, of_dw * sizeof(float));
        idx start, end;
        share(pixels, block, &start, &end);
        if (!dy || !wide) failed = 1, start = end;
        else memset(dy, 0, block * b.ldd * sizeof(num)); /* numbers that fill up a cell */
        for (idx r0 = start, rows; r0 < end; r0 += rows) {
            rows = least(block, end - r0);
            int whole = b.step == b.go;
            for (idx k = 0; k < (whole ? 1 : groups); k++)
                read_gradient(dy + k * b.step, b.ldd, g + r0 * outs + k * b.go, y + r0 * outs + k * b.go, outs, rows,
                              whole ? outs : b.go, outs, coef + k * b.go);
            if (!as_is) read_source(z, ins, b.gi, &source, r0, rows, ins, groups, tmp);
            const num *right = as_is ? source.x + r0 * source.ldx : z;
            weight_gradient(&b, dy, right, as_is ? source.ldx : ins, rows, room, mydw);
            if (target.gx) input_gradient(&b, dy, r0, rows, parts + me * 2 * ins, wide);
        }
        free(dy), free(wide);
    }
    for (idx o = 0; o < outs; o++)
        for (idx i = 0; i < b.gi; i++) {
            idx at = b.swapped ? (o / b.go * b.gi + i) * b.ldw + o % b.go : o * b.ldw + i;
            float total = 0;
            for (int k = 0; k < threads; k++) total += dws[k * of_dw + at];
            dw[o * b.gi + i] = total;
        }
    if (target.sums) add_up(target.sums, parts, threads, 2 * ins);
    free(packed), free(dws), free(parts);
    return failed;
}

/* From g and y of the output: dw, and of the input gx = (dx + more) * act'(x) with its sums (sums == NULL: without).
 * norm: s, t, mean of x; NULL: x has none. */
int pointwise_backward(idx pixels, idx ins, idx outs, idx groups, const num *g, const num *y, const float *coef,
                       const num *x, idx ldx, const float *norm, int act, idx shuffle, const float *w, num *gx,
                       idx ldgx, const num *more, double *sums, float *dw) {
    Source source = {x, ldx, {norm, norm ? norm + ins : NULL, norm ? norm + 2 * ins : NULL, act}, shuffle, NULL};
    Target target = {gx, ldgx, more, sums};
    return product_backward(pixels, ins, outs, groups, g, y, coef, source, w, target, dw);
}

int stem_backward(const Shape *shape, idx outs, const num *g, const num *y, const float *coef, const num *x,
                  const float *w, float *dw) {
    Source source = {x, 0, {NULL, NULL, NULL, NONE}, 1, shape};
    Target target = {NULL, 0, NULL, NULL};
    idx pixels = shape->images * shape->out_height * shape->out_width;
    idx ins = shape->size * shape->size * shape->channels;
    return product_backward(pixels, ins, outs, 1, g, y, coef, source, w, target, dw);
}
