// The memory-bound passes of the operations in `nn` for NVIDIA GPUs, each in one to three kernels, where candle would run
// about ten.
//
// The same source serves every element type: SCALAR is 32 (float), 16 (IEEE half) or 1016 (bfloat16); sums are float. The
// parameters of every kernel are its results, its operands and then its numbers, as `Launch` passes them.
//
// NVRTC compiles it when a GPU is first used, without headers. The tests compile it with a C compiler and an emulated GPU
// (`emulation.c`), so it uses only the common subset of C and CUDA. Every sum has an order fixed by the shapes.

typedef long long count;

#define KERNEL extern LINKAGE __global__ void

union bits {
    float real;
    unsigned int whole;
};

#if SCALAR == 32
typedef float scalar;
__device__ static float read(scalar x) { return x; }
__device__ static scalar rounded(float x) { return x; }
#elif SCALAR == 16
typedef unsigned short scalar;
__device__ static float read(scalar x) { return half_to_float(x); }
__device__ static scalar rounded(float x) { return float_to_half(x); }
#else
typedef unsigned short scalar;
__device__ static float read(scalar x) {
    union bits bits;
    bits.whole = (unsigned int)x << 16;
    return bits.real;
}
// Rounds to nearest, ties to even; NaN stays NaN.
__device__ static scalar rounded(float x) {
    union bits bits;
    bits.real = x;
    if (x != x) return (scalar)((bits.whole >> 16) | 0x40);
    return (scalar)((bits.whole + 0x7fff + ((bits.whole >> 16) & 1)) >> 16);
}
#endif

#define WARP 32

__device__ static float warp_sum(float x) {
    for (int other = WARP / 2; other > 0; other /= 2) x += shuffle(x, other);
    return x;
}

__device__ static float warp_max(float x) {
    for (int other = WARP / 2; other > 0; other /= 2) x = fmaxf(x, shuffle(x, other));
    return x;
}

// The sum over a block of at most 32 whole warps, returned to every thread.
__device__ static float block_sum(float x) {
    __shared__ float parts[WARP];
    int lane = threadIdx.x % WARP;
    x = warp_sum(x);
    if (lane == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    x = warp_sum(lane < blockDim.x / WARP ? parts[lane] : 0.0f);
    __syncthreads();
    return x;
}

__device__ static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ static float normal_cdf(float x) { return 0.5f * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ static float normal_pdf(float x) { return 0.39894228040143268f * expf(-0.5f * x * x); }

// ---- activations: `which` is 0 SiLU, 1 GELU, 2 quick GELU -------------------------------------------------------------

KERNEL activation(scalar *y, const scalar *x, count values, count which) {
    for (count i = (count)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (count)gridDim.x * blockDim.x) {
        float v = read(x[i]);
        float share = which == 0 ? sigmoid(v) : which == 1 ? normal_cdf(v) : sigmoid(1.702f * v);
        y[i] = rounded(v * share);
    }
}

KERNEL activation_back(scalar *dx, const scalar *x, const scalar *g, count values, count which) {
    for (count i = (count)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (count)gridDim.x * blockDim.x) {
        float v = read(x[i]);
        float slope;
        if (which == 1) {
            slope = normal_cdf(v) + v * normal_pdf(v);
        } else {
            float scale = which == 0 ? 1.0f : 1.702f;
            float s = sigmoid(scale * v);
            slope = s + scale * v * s * (1.0f - s);
        }
        dx[i] = rounded(read(g[i]) * slope);
    }
}

// x: (rows, 2 width), value and gate side by side; y: (rows, width). A block per row.
KERNEL geglu(scalar *y, const scalar *x, count width) {
    x += blockIdx.x * 2 * width;
    y += blockIdx.x * width;
    for (count j = threadIdx.x; j < width; j += blockDim.x) {
        float gate = read(x[width + j]);
        y[j] = rounded(read(x[j]) * gate * normal_cdf(gate));
    }
}

KERNEL geglu_back(scalar *dx, const scalar *x, const scalar *g, count width) {
    x += blockIdx.x * 2 * width;
    dx += blockIdx.x * 2 * width;
    g += blockIdx.x * width;
    for (count j = threadIdx.x; j < width; j += blockDim.x) {
        float value = read(x[j]), gate = read(x[width + j]), slope = read(g[j]);
        float cdf = normal_cdf(gate);
        dx[j] = rounded(slope * gate * cdf);
        dx[width + j] = rounded(slope * value * (cdf + gate * normal_pdf(gate)));
    }
}

// ---- layer norm: rows of `width` values -------------------------------------------------------------------------------

// A warp per row.
KERNEL layer_norm(scalar *y, const scalar *x, const scalar *weight, const scalar *bias, count rows, count width,
                  float epsilon) {
    count row = (count)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    // Whole warps return together, so no shuffle waits for them.
    if (row >= rows) return;
    x += row * width;
    y += row * width;
    float sum = 0.0f, squares = 0.0f;
    for (count j = lane; j < width; j += WARP) sum += read(x[j]);
    float mean = warp_sum(sum) / width;
    for (count j = lane; j < width; j += WARP) {
        float centred = read(x[j]) - mean;
        squares += centred * centred;
    }
    float inverse = 1.0f / sqrtf(warp_sum(squares) / width + epsilon);
    for (count j = lane; j < width; j += WARP)
        y[j] = rounded((read(x[j]) - mean) * inverse * read(weight[j]) + read(bias[j]));
}

// `at_once` rows per block, one after the other; to_weight and to_bias: (blocks, width), each block's share of the sums.
// Shared memory: 2 width floats.
KERNEL layer_norm_back(scalar *dx, float *to_weight, float *to_bias, const scalar *x, const scalar *weight,
                       const scalar *g, count rows, count width, count at_once, float epsilon) {
    SHARED(sums);
    float *dw = sums, *db = sums + width;
    for (count j = threadIdx.x; j < width; j += blockDim.x) dw[j] = db[j] = 0.0f;
    count first = blockIdx.x * at_once;
    count end = first + at_once < rows ? first + at_once : rows;
    for (count row = first; row < end; row++) {
        const scalar *xs = x + row * width, *gs = g + row * width;
        float sum = 0.0f, squares = 0.0f, plain = 0.0f, times_x = 0.0f;
        for (count j = threadIdx.x; j < width; j += blockDim.x) sum += read(xs[j]);
        float mean = block_sum(sum) / width;
        for (count j = threadIdx.x; j < width; j += blockDim.x) {
            float centred = read(xs[j]) - mean, h = read(gs[j]) * read(weight[j]);
            squares += centred * centred;
            plain += h;
            times_x += h * centred;
        }
        float inverse = 1.0f / sqrtf(block_sum(squares) / width + epsilon);
        plain = block_sum(plain) / width;
        times_x = block_sum(times_x) * inverse / width;
        for (count j = threadIdx.x; j < width; j += blockDim.x) {
            float normal = (read(xs[j]) - mean) * inverse, slope = read(gs[j]);
            dx[row * width + j] = rounded(inverse * (slope * read(weight[j]) - plain - normal * times_x));
            dw[j] += slope * normal;
            db[j] += slope;
        }
    }
    for (count j = threadIdx.x; j < width; j += blockDim.x) {
        to_weight[blockIdx.x * width + j] = dw[j];
        to_bias[blockIdx.x * width + j] = db[j];
    }
}

// ---- group norm: planes (one channel of one image) of `pixels` values, a block per plane -------------------------------

// The mean of a plane, and the sum of its squared deviations from it.
KERNEL plane_moments(float *means, float *squares, const scalar *x, count pixels) {
    x += blockIdx.x * pixels;
    float sum = 0.0f, square = 0.0f;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) sum += read(x[i]);
    float mean = block_sum(sum) / pixels;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) {
        float centred = read(x[i]) - mean;
        square += centred * centred;
    }
    square = block_sum(square);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = mean;
        squares[blockIdx.x] = square;
    }
}

// The normalisation of a block's plane: (x - mean) scale + shift, with `inverse` the reciprocal of the deviation.
struct normal {
    float mean, inverse, scale, shift;
};

// Computes the normalisation of a block's plane from the moments of the `planes` planes of its group.
__device__ static struct normal normal_of_plane(const scalar *weight, const scalar *bias, const float *means,
                                                const float *squares, count pixels, count channels, count planes,
                                                float epsilon) {
    count channel = blockIdx.x % channels, first = blockIdx.x / planes * planes;
    float sum = 0.0f, square = 0.0f;
    struct normal n;
    for (count i = first; i < first + planes; i++) sum += means[i];
    n.mean = sum / planes;
    for (count i = first; i < first + planes; i++) {
        float apart = means[i] - n.mean;
        square += squares[i] + pixels * apart * apart;
    }
    n.inverse = 1.0f / sqrtf(square / ((float)planes * pixels) + epsilon);
    n.scale = read(weight[channel]) * n.inverse;
    n.shift = read(bias[channel]);
    return n;
}

KERNEL group_norm(scalar *y, const scalar *x, const scalar *weight, const scalar *bias, const float *means,
                  const float *squares, count pixels, count channels, count planes, float epsilon, count silu) {
    struct normal n = normal_of_plane(weight, bias, means, squares, pixels, channels, planes, epsilon);
    x += blockIdx.x * pixels;
    y += blockIdx.x * pixels;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) {
        float v = (read(x[i]) - n.mean) * n.scale + n.shift;
        y[i] = rounded(silu ? v * sigmoid(v) : v);
    }
}

// The gradient of the normalised value v before SiLU, given the gradient g after it.
__device__ static float before_silu(float v, float g, count silu) {
    if (!silu) return g;
    float s = sigmoid(v);
    return g * s * (1.0f + v * (1.0f - s));
}

// The sums over a plane of h, the gradient of the affine output, and of h times the normalised input.
KERNEL group_norm_sums(float *plain, float *times_x, const scalar *x, const scalar *weight, const scalar *bias,
                       const scalar *g, const float *means, const float *squares, count pixels, count channels,
                       count planes, float epsilon, count silu) {
    struct normal n = normal_of_plane(weight, bias, means, squares, pixels, channels, planes, epsilon);
    x += blockIdx.x * pixels;
    g += blockIdx.x * pixels;
    float sum = 0.0f, product = 0.0f;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) {
        float centred = read(x[i]) - n.mean;
        float h = before_silu(centred * n.scale + n.shift, read(g[i]), silu);
        sum += h;
        product += h * centred;
    }
    sum = block_sum(sum);
    product = block_sum(product) * n.inverse;
    if (threadIdx.x == 0) {
        plain[blockIdx.x] = sum;
        times_x[blockIdx.x] = product;
    }
}

// With w the weight and x' the normalised input, dx = (w h - mean(w h) - x' mean(w h x')) / deviation.
KERNEL group_norm_back(scalar *dx, const scalar *x, const scalar *weight, const scalar *bias, const scalar *g,
                       const float *means, const float *squares, const float *plain, const float *times_x,
                       count pixels, count channels, count planes, float epsilon, count silu) {
    struct normal n = normal_of_plane(weight, bias, means, squares, pixels, channels, planes, epsilon);
    count first = blockIdx.x / planes * planes;
    float sum = 0.0f, product = 0.0f;
    for (count i = first; i < first + planes; i++) {
        float w = read(weight[i % channels]);
        sum += w * plain[i];
        product += w * times_x[i];
    }
    sum /= (float)planes * pixels;
    product /= (float)planes * pixels;
    x += blockIdx.x * pixels;
    g += blockIdx.x * pixels;
    dx += blockIdx.x * pixels;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) {
        float centred = read(x[i]) - n.mean;
        float h = before_silu(centred * n.scale + n.shift, read(g[i]), silu);
        dx[i] = rounded(h * n.scale - n.inverse * (sum + centred * n.inverse * product));
    }
}

// ---- attention: rows of scores, a warp per row; `keys` in a row, `queries` rows in a head ------------------------------

// The largest score among the keys that a query attends to, and the sum of exp(score - largest).
__device__ static void row_moments(const scalar *scores, count seen, float *largest, float *sum) {
    int lane = threadIdx.x % WARP;
    float high = -INFINITY, total = 0.0f;
    for (count j = lane; j < seen; j += WARP) high = fmaxf(high, read(scores[j]));
    high = warp_max(high);
    for (count j = lane; j < seen; j += WARP) total += expf(read(scores[j]) - high);
    *largest = high;
    *sum = warp_sum(total);
}

KERNEL softmax(scalar *p, const scalar *scores, count rows, count keys, count queries, count causal) {
    count row = (count)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    count seen = causal ? row % queries + 1 : keys;
    float largest, sum;
    scores += row * keys;
    p += row * keys;
    row_moments(scores, seen, &largest, &sum);
    for (count j = threadIdx.x % WARP; j < keys; j += WARP)
        p[j] = j < seen ? rounded(expf(read(scores[j]) - largest) / sum) : rounded(0.0f);
}

// Given dp, the gradient of the probabilities p: recomputes p, and the gradient of the scores, ds = p (dp - sum(p dp)).
KERNEL softmax_back(scalar *p, scalar *ds, const scalar *scores, const scalar *dp, count rows, count keys, count queries,
                    count causal) {
    count row = (count)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= rows) return;
    count seen = causal ? row % queries + 1 : keys;
    float largest, sum, mean = 0.0f;
    scores += row * keys;
    dp += row * keys;
    row_moments(scores, seen, &largest, &sum);
    for (count j = lane; j < seen; j += WARP) mean += expf(read(scores[j]) - largest) * read(dp[j]);
    mean = warp_sum(mean) / sum;
    for (count j = lane; j < keys; j += WARP) {
        float v = j < seen ? expf(read(scores[j]) - largest) / sum : 0.0f;
        p[row * keys + j] = rounded(v);
        ds[row * keys + j] = rounded(v * (read(dp[j]) - mean));
    }
}

// ---- layouts ----------------------------------------------------------------------------------------------------------

#define SIDE 32

// x: (batch, m, n); y: (batch, n, m). A block of 32 x 8 threads per tile of 32 x 32, so that x is read and y is written
// along rows.
KERNEL transpose(scalar *y, const scalar *x, count m, count n) {
    __shared__ scalar tile[SIDE][SIDE + 1];
    count across = (n + SIDE - 1) / SIDE, down = (m + SIDE - 1) / SIDE;
    count batch = blockIdx.x / (across * down);
    count row = blockIdx.x / across % down * SIDE, column = blockIdx.x % across * SIDE;
    int lane = threadIdx.x % SIDE;
    x += batch * m * n;
    y += batch * m * n;
    for (int i = threadIdx.x / SIDE; i < SIDE; i += blockDim.x / SIDE)
        if (row + i < m && column + lane < n) tile[i][lane] = x[(row + i) * n + column + lane];
    __syncthreads();
    for (int i = threadIdx.x / SIDE; i < SIDE; i += blockDim.x / SIDE)
        if (column + i < n && row + lane < m) y[(column + i) * m + row + lane] = tile[lane][i];
}

// x: (.., a, b, c); y: (.., b, a, c), as between positions and heads. A warp per row of c values.
KERNEL exchange(scalar *y, const scalar *x, count rows, count a, count b, count c) {
    count row = (count)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    count at_a = row % a, at_b = row / a % b, batch = row / (a * b);
    x += ((batch * a + at_a) * b + at_b) * c;
    y += row * c;
    for (count j = threadIdx.x % WARP; j < c; j += WARP) y[j] = x[j];
}

// ---- sums -------------------------------------------------------------------------------------------------------------

// x: (rows, width). A block of 32 x 8 threads per 32 columns and `at_once` rows; sums: (blocks of rows, width).
KERNEL column_sums(float *sums, const scalar *x, count rows, count width, count at_once) {
    __shared__ float parts[8][WARP];
    count across = (width + WARP - 1) / WARP;
    count first = blockIdx.x / across * at_once;
    count end = first + at_once < rows ? first + at_once : rows;
    int lane = threadIdx.x % WARP, line = threadIdx.x / WARP;
    count column = blockIdx.x % across * WARP + lane;
    float sum = 0.0f;
    if (column < width)
        for (count row = first + line; row < end; row += 8) sum += read(x[row * width + column]);
    parts[line][lane] = sum;
    __syncthreads();
    if (line > 0 || column >= width) return;
    for (int i = 1; i < 8; i++) sum += parts[i][lane];
    sums[blockIdx.x / across * width + column] = sum;
}

// The sum of each row of `width` values, a block per row.
KERNEL row_sums(float *sums, const scalar *x, count width) {
    float sum = 0.0f;
    x += blockIdx.x * width;
    for (count i = threadIdx.x; i < width; i += blockDim.x) sum += read(x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Each block's share of the sum of all squares.
KERNEL square_sums(float *sums, const scalar *x, count values) {
    float sum = 0.0f;
    for (count i = (count)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (count)gridDim.x * blockDim.x) {
        float v = read(x[i]);
        sum += v * v;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// ---- biases: a block per row --------------------------------------------------------------------------------------------

// x: (rows, width), bias: (width).
KERNEL add_to_rows(scalar *y, const scalar *x, const scalar *bias, count width) {
    x += blockIdx.x * width;
    y += blockIdx.x * width;
    for (count j = threadIdx.x; j < width; j += blockDim.x) y[j] = rounded(read(x[j]) + read(bias[j]));
}

// x: (.., channels, pixels), bias: (channels).
KERNEL add_to_planes(scalar *y, const scalar *x, const scalar *bias, count pixels, count channels) {
    float b = read(bias[blockIdx.x % channels]);
    x += blockIdx.x * pixels;
    y += blockIdx.x * pixels;
    for (count i = threadIdx.x; i < pixels; i += blockDim.x) y[i] = rounded(read(x[i]) + b);
}

// ---- AdamW ------------------------------------------------------------------------------------------------------------

// Weight, first and second moment after an update, with the order of operations of the trainer's AdamW.
KERNEL adamw(scalar *weights, scalar *firsts, scalar *seconds, const scalar *weight, const scalar *first,
             const scalar *second, const scalar *gradient, count values, float beta1, float beta2, float scale,
             float shrink, float rate, float root, float epsilon) {
    for (count i = (count)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (count)gridDim.x * blockDim.x) {
        float g = read(gradient[i]) * scale;
        float m = beta1 * read(first[i]) + (1.0f - beta1) * g;
        float v = beta2 * read(second[i]) + (1.0f - beta2) * g * g;
        firsts[i] = rounded(m);
        seconds[i] = rounded(v);
        weights[i] = rounded(read(weight[i]) * shrink - rate * m / (sqrtf(v * root) + epsilon));
    }
}
