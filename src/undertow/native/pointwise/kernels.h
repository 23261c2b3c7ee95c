// What the loops of one instruction set offer to the module.
#pragma once

#include <cstddef>
#include <cstdint>

namespace undertow {

enum Operation { VALUE, SLOPE, BOTH, TIMES_SLOPE, OPERATIONS };

// x, g → y, d: f(x) → y;  f′(x) → y;  f(x), f′(x) → y, d;  g·f′(x) → y.  `stream` writes past the caches.
template <class T>
using Loop = void (*)(const T *x, const T *g, T *y, T *d, std::size_t n, double parameter, bool stream);

struct Kernel {
    const char *name;
    Loop<float> single[OPERATIONS];
    Loop<double> twice[OPERATIONS];
};


struct Set {
    const char *isa;
    bool fused;  // multiply-add: without it float64 loses more than 2 ulp here and there
    const Kernel *kernels;
    std::size_t count;
    // y = g·by, rounded once to bfloat16 (or float16).
    void (*scale)(const float *by, const std::uint16_t *g, std::uint16_t *y, std::size_t n, bool brain);
};

namespace baseline { Set set(); }
namespace avx2 { Set set(); }
namespace avx512 { Set set(); }

// That of the instruction set in use; std::out_of_range where there is none of this number.
const Kernel &kernel(std::size_t index);

// y = table[x].
void lookup(const std::uint16_t *table, const std::uint16_t *x, std::uint16_t *y, std::size_t n);
void lookup(const float *table, const std::uint16_t *x, float *y, std::size_t n);

// Runs body(data, begin, end) over 0 … n on at most `threads` threads; pieces begin at multiples of `grain`.
void parallel(std::size_t n, std::size_t grain, int threads, void (*body)(void *, std::size_t, std::size_t), void *data);

}  // namespace undertow
