// out[i, j] -= sum over samples of log sum_c p[n, c, i] q[n, c, j], for all pairs of points; NaN where a group of
// samples is too small for T. Square roots of probabilities lie as (n, c, point), points padded to whole blocks.
// A thread keeps TM x TN pairs in registers while all samples go by: their product, which starts each group at
// 2^RESTART, and the exponent that was taken off it. Two buffers in shared memory: one is filled while one is used.
//
// Compiled by `fused.py` with DOUBLE, BM, BN, TM, TN (tile of a block and of a thread), SAMPLES and ROWS (of a stage:
// samples, and classes of each), PIECES (stages of one sample), UPPER (only j > i is wanted), CAPPED.
#define THREADS ((BM / TM) * (BN / TN))
#define WIDTH (BM + BN)
#define GROUP 4
#define VECTOR (16 / sizeof(T))
#if DOUBLE
typedef double T;
typedef double2 Vector;
#define WORD long long
#define BITS(x) __double_as_longlong(x)
#define NUMBER(x) __longlong_as_double(x)
#define MANTISSA 52
#define BIAS 1023
#define RESTART 900
#else
typedef float T;
typedef float4 Vector;
#define WORD int
#define BITS(x) __float_as_int(x)
#define NUMBER(x) __int_as_float(x)
#define MANTISSA 23
#define BIAS 127
#define RESTART 100
#endif
#define FLAG (1 << 28)

__device__ __forceinline__ void copy_16_bytes(T *to, const T *from) {
    unsigned int at = (unsigned int)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(at), "l"(from));
}

// Rows of one stage: BM entries of p, then BN of q.
__device__ __forceinline__ void fill(T *buffer, const T *p, const T *q, int p_stride, int q_stride) {
    const int pieces = WIDTH / VECTOR;
    for (int k = threadIdx.x; k < SAMPLES * ROWS * pieces; k += THREADS) {
        int row = k / pieces, column = (k % pieces) * VECTOR;
        const T *from = column < BM ? p + (long long)row * p_stride + column : q + (long long)row * q_stride + (column - BM);
        copy_16_bytes(buffer + row * WIDTH + column, from);
    }
    asm volatile("cp.async.commit_group;\n" ::);
}

// Entries of one side of a thread: vectors that lie `apart`, so that neighbouring threads read neighbouring words.
template <int N>
__device__ __forceinline__ void load(T *values, const T *from, int apart) {
#pragma unroll
    for (int k = 0; k < N / VECTOR; k++)
        *reinterpret_cast<Vector *>(values + k * VECTOR) = *reinterpret_cast<const Vector *>(from + k * apart);
}

// Which row or column a thread's entry k is: the inverse of `load`.
__device__ __forceinline__ int place(int k, int thread, int apart) {
    return (k / (int)VECTOR) * apart + thread * (int)VECTOR + k % (int)VECTOR;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
add_logs(const T *p, const T *q, double *out, int n_groups, int n_p, int n_q, int p_stride, int q_stride, int out_stride,
         const T *cap_floor) {
    const int i0 = blockIdx.y * BM, j0 = blockIdx.x * BN;
    if (UPPER && j0 + BN <= i0) return;
    extern __shared__ __align__(16) unsigned char memory[];
    T *buffers = reinterpret_cast<T *>(memory);
    // a warp takes 4 threads of rows by 8 of columns: each of its loads is then one line of shared memory
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, across = BN / TN / 8;
    const int ty = (warp / across) * 4 + lane / 8, tx = (warp % across) * 8 + lane % 8;
    const int rows_apart = BM / (TM / VECTOR), columns_apart = BN / (TN / VECTOR);
    T sum[TM][TN], product[TM][TN];
    int exponent[TM][TN];
#pragma unroll
    for (int u = 0; u < TM; u++)
#pragma unroll
        for (int v = 0; v < TN; v++) {
            sum[u][v] = 0;
            product[u][v] = NUMBER((WORD)(BIAS + RESTART) << MANTISSA);
            exponent[u][v] = 0;
        }
#if CAPPED
    const T least = *cap_floor;
#endif
    const int n_stages = n_groups * GROUP / SAMPLES * PIECES;
    p += i0;
    q += j0;
    fill(buffers, p, q, p_stride, q_stride);
    for (int stage = 0; stage < n_stages; stage++) {
        p += (long long)SAMPLES * ROWS * p_stride;
        q += (long long)SAMPLES * ROWS * q_stride;
        if (stage + 1 < n_stages) {
            fill(buffers + ((stage + 1) & 1) * SAMPLES * ROWS * WIDTH, p, q, p_stride, q_stride);
            asm volatile("cp.async.wait_group 1;\n" ::);
        } else {
            asm volatile("cp.async.wait_group 0;\n" ::);
        }
        __syncthreads();
        const T *at = buffers + (stage & 1) * SAMPLES * ROWS * WIDTH;
        for (int s = 0; s < SAMPLES; s++) {
#pragma unroll
            for (int c = 0; c < ROWS; c++) {
                T a[TM], b[TN];
                load<TM>(a, at + ty * VECTOR, rows_apart);
                load<TN>(b, at + BM + tx * VECTOR, columns_apart);
                at += WIDTH;
#pragma unroll
                for (int u = 0; u < TM; u++)
#pragma unroll
                    for (int v = 0; v < TN; v++) sum[u][v] += a[u] * b[v];
            }
            if (PIECES > 1 && (stage + 1) % PIECES) continue;
#pragma unroll
            for (int u = 0; u < TM; u++)
#pragma unroll
                for (int v = 0; v < TN; v++) {
#if CAPPED
                    sum[u][v] = sum[u][v] < least ? least : sum[u][v];
#endif
                    product[u][v] *= sum[u][v];
                    sum[u][v] = 0;
                }
        }
        if ((stage + 1) % (GROUP / SAMPLES * PIECES) == 0) {
#pragma unroll
            for (int u = 0; u < TM; u++)
#pragma unroll
                for (int v = 0; v < TN; v++) {
                    const WORD bits = BITS(product[u][v]);
                    exponent[u][v] += (int)(bits >> MANTISSA) - (BIAS + RESTART);
                    if (bits < ((WORD)BIAS << MANTISSA)) exponent[u][v] = FLAG;
                    const WORD mantissa = bits & (((WORD)1 << MANTISSA) - 1);
                    product[u][v] = NUMBER(mantissa | ((WORD)(BIAS + RESTART) << MANTISSA));
                }
        }
        __syncthreads();
    }
    const double ln2 = 0.693147180559945309417;
#pragma unroll
    for (int u = 0; u < TM; u++)
#pragma unroll
        for (int v = 0; v < TN; v++) {
            const int i = i0 + place(u, ty, rows_apart), j = j0 + place(v, tx, columns_apart);
            if (i >= n_p || j >= n_q) continue;
            const double logs = log((double)product[u][v]) + ((double)exponent[u][v] - RESTART) * ln2;
            const bool flagged = exponent[u][v] > FLAG / 2;
            double *to = out + (long long)i * out_stride + j;
            *to = flagged ? __longlong_as_double(0x7ff8000000000000LL) : *to - logs;
        }
}
