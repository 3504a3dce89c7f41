// Definitions that kernels.cu needs when NVRTC compiles it; prepended to the source.
#define LINKAGE "C"
#define SHARED(name) extern __shared__ float name[]
#define INFINITY __int_as_float(0x7f800000)

__device__ static float shuffle(float x, int other) { return __shfl_xor_sync(0xffffffff, x, other); }

__device__ static float half_to_float(unsigned short x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

__device__ static unsigned short float_to_half(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
