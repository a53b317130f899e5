/* y += scale * x A^T B^T for the rows of one step, each with its own slot's A and B; and packing these.

   native.py compiles it with the machine's own compiler and lays out the structs. Any C11 compiler with vector
   extensions (GCC, Clang). */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8 /* floats of a vector; the compiler splits it where the machine's are shorter */
#define ROWS 4  /* rows and ranks that share loads: their sums stay in registers */
#define RANKS 3
#define WIDE 2        /* vectors of columns that do */
#define TURNED 32     /* rows of B that are turned together: they stay in the nearest cache */
#define SMALL 200000L /* multiplications below which starting threads costs more than it saves */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef struct {
    int64_t in, width; /* width: the ranks of all slices together */
    int64_t slices;
    const float *a;        /* (slots, width, in) */
    const float *const *b; /* of each slice (slots, rank, out) */
    const int64_t *rank, *out, *column; /* of each slice; column: where in y it begins */
} module_t;
typedef struct {
    int64_t rows, blocks;
    const int64_t *row;   /* (rows,) slot by slot */
    const int64_t *first; /* (blocks,) index into row: a block is up to ROWS rows of one slot */
    const int64_t *count, *slot; /* (blocks,) */
} layout_t;
typedef struct {
    int64_t slices, in, width; /* width: the packed ranks of all slices together */
    int64_t rank, bf16;        /* of the stacks: the largest rank, and their type */
    const char *const *a;      /* of each slice (slots, rank, in) */
    const char *const *b;      /* of each slice (slots, rows, rank) */
    const int64_t *rows, *out, *fits; /* of each slice; out: rows that count, fits: its packed rank or 0 */
    float *packed_a;                  /* (slots, width, in) */
    float *const *packed_b;           /* of each slice (slots, fits, out) */
} reading_t;

static inline float widen(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, 4);
    return value;
}

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t narrow(float value) {
    uint32_t word;
    memcpy(&word, &value, 4);
    if ((word & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((word >> 16) | 0x40u);
    return (uint16_t)((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
}

/* The first `count` lanes, zero beyond. */
static inline vec load_some(const float *from, int64_t count) {
    float lanes[LANES] = {0};
    memcpy(lanes, from, (size_t)count * sizeof(float));
    return *(const vec *)lanes;
}

static inline float total(vec v) {
    float a = (v[0] + v[4]) + (v[2] + v[6]), b = (v[1] + v[5]) + (v[3] + v[7]);
    return a + b;
}

/* s[i][first + j] = scale * sum over k of x[i][k] a[first + j][k] */
static inline __attribute__((always_inline)) void
shrink_tile(int rows, int ranks, const float *const *x, const float *a, int64_t in, float scale, float *const *s,
            int64_t first) {
    vec sums[ROWS][2 * RANKS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < ranks; j++) sums[i][j] = (vec){0};
    int64_t k = 0;
    for (; k + LANES <= in; k += LANES)
        for (int j = 0; j < ranks; j++) {
            vec weight = *(const vec *)(a + (first + j) * in + k);
            for (int i = 0; i < rows; i++) sums[i][j] += weight * *(const vec *)(x[i] + k);
        }
    if (k < in)
        for (int j = 0; j < ranks; j++) {
            vec weight = load_some(a + (first + j) * in + k, in - k);
            for (int i = 0; i < rows; i++) sums[i][j] += weight * load_some(x[i] + k, in - k);
        }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < ranks; j++) s[i][first + j] = scale * total(sums[i][j]);
}

static inline __attribute__((always_inline)) void
shrink_rows(int rows, int ranks, const float *const *x, const float *a, int64_t in, int64_t width, float scale,
            float *const *s) {
    int64_t first = 0;
    for (; first + ranks <= width; first += ranks) shrink_tile(rows, ranks, x, a, in, scale, s, first);
    for (; first < width; first++) shrink_tile(rows, 1, x, a, in, scale, s, first);
}

/* The first `count` lanes of `added` onto y: all of them where that is known, so that the compiler sees it. */
static inline __attribute__((always_inline)) void add_to(void *y, int64_t at, vec added, int64_t count, int bf16) {
    if (!bf16 && count == LANES) {
        *(vec *)((float *)y + at) += added;
    } else if (!bf16) {
        vec sum = load_some((float *)y + at, count) + added;
        memcpy((float *)y + at, &sum, (size_t)count * sizeof(float));
    } else {
        uint16_t *to = (uint16_t *)y + at;
        for (int64_t lane = 0; lane < count; lane++) to[lane] = narrow(widen(to[lane]) + widen(narrow(added[lane])));
    }
}

/* y[i][column ...] += sum over r of s[i][r] b[r][column ...], for `wide` vectors of columns. */
static inline __attribute__((always_inline)) void
expand_tile(int rows, int wide, const float *const *s, const float *b, int64_t rank, int64_t out, int64_t column,
            int64_t count, void *const *y, int bf16) {
    vec sums[ROWS][2 * WIDE];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < wide; v++) sums[i][v] = (vec){0};
    for (int64_t r = 0; r < rank; r++)
        for (int v = 0; v < wide; v++) {
            const float *from = b + r * out + column + v * LANES;
            vec weight = count == LANES ? *(const vec *)from : load_some(from, count);
            for (int i = 0; i < rows; i++) sums[i][v] += weight * s[i][r];
        }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < wide; v++) add_to(y[i], column + v * LANES, sums[i][v], count, bf16);
}

static inline __attribute__((always_inline)) void
expand_rows(int rows, int wide, const float *const *s, const float *b, int64_t rank, int64_t out, void *const *y,
            int bf16) {
    int64_t column = 0;
    for (; column + wide * LANES <= out; column += wide * LANES)
        expand_tile(rows, wide, s, b, rank, out, column, LANES, y, bf16);
    for (; column + LANES <= out; column += LANES) expand_tile(rows, 1, s, b, rank, out, column, LANES, y, bf16);
    if (column < out) expand_tile(rows, 1, s, b, rank, out, column, out - column, y, bf16);
}

static void shrink_block(int64_t rows, const float *const *x, const float *a, int64_t in, int64_t width,
                         float scale, float *const *s) {
    switch (rows) {
    case 1: shrink_rows(1, 2 * RANKS, x, a, in, width, scale, s); break;
    case 2: shrink_rows(2, RANKS, x, a, in, width, scale, s); break;
    case 3: shrink_rows(3, RANKS, x, a, in, width, scale, s); break;
    default: shrink_rows(ROWS, RANKS, x, a, in, width, scale, s);
    }
}

static void expand_block(int64_t rows, const float *const *s, const float *b, int64_t rank, int64_t out,
                         void *const *y, int bf16) {
    switch (rows) {
    case 1: expand_rows(1, 2 * WIDE, s, b, rank, out, y, bf16); break;
    case 2: expand_rows(2, WIDE, s, b, rank, out, y, bf16); break;
    case 3: expand_rows(3, WIDE, s, b, rank, out, y, bf16); break;
    default: expand_rows(ROWS, WIDE, s, b, rank, out, y, bf16);
    }
}

/* One block of rows: all of its columns. x and y are (T, *) of float, or of bfloat16 where bf16. */
static void add_block(const module_t *m, const layout_t *l, int64_t block, char *y, int64_t y_stride, const char *x,
                      int64_t x_stride, int bf16, float scale, float *scratch) {
    int64_t rows = l->count[block], slot = l->slot[block], size = bf16 ? 2 : 4;
    const float *given[ROWS];
    float *shrunk[ROWS];
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = l->row[l->first[block] + i];
        shrunk[i] = scratch + i * (m->width + (bf16 ? m->in : 0));
        if (bf16) {
            float *wide = shrunk[i] + m->width;
            const uint16_t *bits = (const uint16_t *)(x + row * x_stride * size);
            for (int64_t k = 0; k < m->in; k++) wide[k] = widen(bits[k]);
            given[i] = wide;
        } else
            given[i] = (const float *)(x + row * x_stride * size);
    }
    shrink_block(rows, given, m->a + slot * m->width * m->in, m->in, m->width, scale, shrunk);
    int64_t done = 0;
    for (int64_t slice = 0; slice < m->slices; slice++) {
        const float *parts[ROWS];
        void *to[ROWS];
        for (int64_t i = 0; i < rows; i++) {
            int64_t row = l->row[l->first[block] + i];
            parts[i] = shrunk[i] + done;
            to[i] = y + (row * y_stride + m->column[slice]) * size;
        }
        int64_t rank = m->rank[slice], out = m->out[slice];
        expand_block(rows, parts, m->b[slice] + slot * rank * out, rank, out, to, bf16);
        done += rank;
    }
}

/* Strides are in elements. Returns 0, or 1 if there is no memory: then nothing was added. */
int crma_add_lora(const module_t *m, const layout_t *l, void *y, int64_t y_stride, const void *x, int64_t x_stride,
                  int bf16, float scale) {
    int64_t each = ROWS * (m->width + (bf16 ? m->in : 0));
    float *scratch = malloc((size_t)(l->blocks * each) * sizeof(float));
    if (!scratch) return 1;
    int64_t outs = 0;
    for (int64_t slice = 0; slice < m->slices; slice++) outs += m->rank[slice] * m->out[slice];
    int many = l->blocks > 1 && l->rows * (m->width * m->in + outs) > SMALL;
    (void)many; /* without OpenMP */
#pragma omp parallel for schedule(static) if (many)
    for (int64_t block = 0; block < l->blocks; block++)
        add_block(m, l, block, (char *)y, y_stride, (const char *)x, x_stride, bf16, scale, scratch + block * each);
    free(scratch);
    return 0;
}

static inline float at(const char *from, int64_t place, int64_t bf16) {
    return bf16 ? widen(((const uint16_t *)from)[place]) : ((const float *)from)[place];
}

static const char *of_slot(const char *stack, int64_t slot, int64_t size, int64_t bf16) {
    return stack + slot * size * (bf16 ? 2 : 4);
}

static int is_zero(const char *b, int64_t rows, int64_t columns, int64_t column, int64_t bf16) {
    for (int64_t row = 0; row < rows; row++)
        if (at(b, row * columns + column, bf16) != 0) return 0;
    return 1;
}

/* Of each slice the rank up to which B has a column that is not all zero. */
void crma_ranks(const reading_t *r, int64_t slot, int64_t *used) {
    for (int64_t slice = 0; slice < r->slices; slice++) {
        const char *b = of_slot(r->b[slice], slot, r->rows[slice] * r->rank, r->bf16);
        int64_t rank = r->rank;
        while (rank > 0 && is_zero(b, r->rows[slice], r->rank, rank - 1, r->bf16)) rank--;
        used[slice] = rank;
    }
}

/* The slot's A and B up to the ranks `used`, zeros beyond. A B that is not finite is made so, its A set to NaN:
   zero times infinity would reach the rows that fill up a batch of PyTorch's products. */
void crma_copy(const reading_t *r, int64_t slot, const int64_t *used) {
    float *a = r->packed_a + slot * r->width * r->in;
    for (int64_t slice = 0; slice < r->slices; slice++) {
        int64_t rank = used[slice], fits = r->fits[slice], out = r->out[slice], in = r->in;
        const char *from_a = of_slot(r->a[slice], slot, r->rank * in, r->bf16);
        const char *from_b = of_slot(r->b[slice], slot, r->rows[slice] * r->rank, r->bf16);
        float *b = r->packed_b[slice] + slot * fits * out;
        int finite = 1;
        for (int64_t k = 0; k < rank * in; k++) a[k] = at(from_a, k, r->bf16);
        for (int64_t k = rank * in; k < fits * in; k++) a[k] = 0;
        for (int64_t first = 0; first < out; first += TURNED)
            for (int64_t k = 0; k < rank; k++)
                for (int64_t row = first; row < out && row < first + TURNED; row++) {
                    float value = at(from_b, row * r->rank + k, r->bf16);
                    int good = isfinite(value) != 0;
                    finite &= good;
                    b[k * out + row] = good ? value : 0;
                }
        for (int64_t k = rank * out; k < fits * out; k++) b[k] = 0;
        if (!finite)
            for (int64_t k = 0; k < rank * in; k++) a[k] = NAN;
        a += fits * in;
    }
}
