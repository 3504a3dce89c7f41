// An emulated GPU on the CPU, for the tests of kernels.cu. The threads of a block are coroutines that take turns: each runs
// until it synchronises or returns. Blocks run one after the other. Races between threads are not emulated, with one
// exception: where a kernel lacks a synchronisation, a thread sees the values of earlier threads but not those of later
// ones, and the results are wrong.
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define LINKAGE
#define extern
#define __global__
#define __device__
#define __shared__ static
#define SHARED(name) static float name[12288]
#define MOST_THREADS 1024
#define STACK (64 << 10)

struct place { unsigned int x; };
static struct place threadIdx, blockIdx, blockDim, gridDim;

// A context gives each thread its stack. After that threads switch by jumps, which need no system call and are fifty times
// as fast.
static jmp_buf scheduler, threads[MOST_THREADS];
static char *stacks;
static enum { NEW, WAITING, DONE } states[MOST_THREADS];

// Switches to the next thread; returns when it is this thread's turn again.
static void wait_for_others(void) {
    states[threadIdx.x] = WAITING;
    if (!_setjmp(threads[threadIdx.x])) _longjmp(scheduler, 1);
}

static void __syncthreads(void) { wait_for_others(); }

static float handed[MOST_THREADS];

static float shuffle(float x, int other) {
    handed[threadIdx.x] = x;
    wait_for_others();
    float y = handed[threadIdx.x ^ other];
    wait_for_others();
    return y;
}

static float half_to_float(unsigned short x) {
    _Float16 half;
    memcpy(&half, &x, 2);
    return half;
}

static unsigned short float_to_half(float x) {
    _Float16 half = x;
    unsigned short y;
    memcpy(&y, &half, 2);
    return y;
}

// Integers and addresses are passed in registers and then on the stack, in order; floats are passed in registers of their
// own. A kernel with fewer parameters, in any mixture, therefore finds its own.
typedef void (*kernel)(long long, long long, long long, long long, long long, long long, long long, long long, long long,
                       long long, long long, long long, long long, long long, long long, long long, float, float, float,
                       float, float, float, float, float);
static struct { kernel kernel; const long long *w; const float *r; } running;

static void thread(void) {
    const long long *w = running.w;
    const float *r = running.r;
    running.kernel(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15],
                   r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
    states[threadIdx.x] = DONE;
    _longjmp(scheduler, 1);
}

static void start(unsigned int i) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + (size_t)i * STACK;
    context.uc_stack.ss_size = STACK;
    context.uc_link = NULL;
    makecontext(&context, thread, 0);
    setcontext(&context);
}

// Runs a kernel with at most 16 integer and 8 float arguments.
void launch(kernel kernel, unsigned int blocks, unsigned int per_block, const long long *whole, const float *real) {
    running.kernel = kernel;
    running.w = whole;
    running.r = real;
    if (!stacks) stacks = malloc((size_t)MOST_THREADS * STACK);
    blockDim.x = per_block;
    gridDim.x = blocks;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        for (unsigned int i = 0; i < per_block; i++) states[i] = NEW;
        for (volatile unsigned int left = per_block; left > 0;) {
            left = 0;
            for (threadIdx.x = 0; threadIdx.x < per_block; threadIdx.x++) {
                if (states[threadIdx.x] == DONE) continue;
                if (!_setjmp(scheduler)) {
                    if (states[threadIdx.x] == NEW) start(threadIdx.x);
                    _longjmp(threads[threadIdx.x], 1);
                }
                left += states[threadIdx.x] != DONE;
            }
        }
    }
}
