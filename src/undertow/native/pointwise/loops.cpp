// The loops over a piece of memory, compiled once an instruction set: UNDERTOW_ISA names it.
#include "half.h"
#include "kernels.h"
#include "smooth.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace UNDERTOW_ISA {

using undertow::Kernel;
using undertow::Loop;

constexpr std::size_t BLOCK = 4096;  // bytes: a block and its results stay in the first-level cache
constexpr std::size_t LINE = 64;

// A block to memory that is not read again soon: without reading the lines first, and without evicting others.
inline void stream_out(void *to, const void *from, std::size_t bytes) {
    auto *out = static_cast<char *>(to);
    const auto *in = static_cast<const char *>(from);
#if defined(__AVX512F__)
    for (std::size_t i = 0; i < bytes; i += 64)
        _mm512_stream_si512(reinterpret_cast<__m512i *>(out + i), _mm512_load_si512(in + i));
#elif defined(__AVX__)
    for (std::size_t i = 0; i < bytes; i += 32)
        _mm256_stream_si256(reinterpret_cast<__m256i *>(out + i),
                            _mm256_load_si256(reinterpret_cast<const __m256i *>(in + i)));
#elif defined(__SSE2__) || defined(_M_X64)
    for (std::size_t i = 0; i < bytes; i += 16)
        _mm_stream_si128(reinterpret_cast<__m128i *>(out + i), _mm_load_si128(reinterpret_cast<const __m128i *>(in + i)));
#else
    for (std::size_t i = 0; i < bytes; ++i) out[i] = in[i];
#endif
}
inline void stream_end() {
#if defined(__SSE2__) || defined(_M_X64)
    _mm_sfence();
#endif
}
inline bool on_line(const void *p) { return reinterpret_cast<std::uintptr_t>(p) % LINE == 0; }

template <class F, class T, undertow::Operation operation>
UNDERTOW_INLINE void piece(const F &f, const T *UNDERTOW_RESTRICT x, const T *UNDERTOW_RESTRICT g,
                           T *UNDERTOW_RESTRICT y, T *UNDERTOW_RESTRICT d, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        if constexpr (operation == undertow::VALUE) y[i] = f.value(x[i]);
        if constexpr (operation == undertow::SLOPE) y[i] = f.slope(x[i]);
        if constexpr (operation == undertow::TIMES_SLOPE) y[i] = g[i] * f.slope(x[i]);
        if constexpr (operation == undertow::BOTH) {
            const Both<T> b = f.both(x[i]);
            y[i] = b.value;
            d[i] = b.slope;
        }
    }
}

// Without fused multiply-add float is worked in double: as accurate, and nothing else to keep right.
template <template <class> class F, class T>
struct Worked : F<T> {
    using F<T>::F;
};
#ifndef UNDERTOW_FMA
template <template <class> class F>
struct Worked<F, float> {
    F<double> wide;
    explicit Worked(double parameter) : wide(parameter) {}
    UNDERTOW_INLINE float value(float x) const { return static_cast<float>(wide.value(x)); }
    UNDERTOW_INLINE float slope(float x) const { return static_cast<float>(wide.slope(x)); }
    UNDERTOW_INLINE Both<float> both(float x) const {
        const Both<double> b = wide.both(x);
        return {static_cast<float>(b.value), static_cast<float>(b.slope)};
    }
};
#endif

template <class F, class T, undertow::Operation operation>
void loop(const T *x, const T *g, T *y, T *d, std::size_t n, double parameter, bool stream) {
    const F f(parameter);
    constexpr std::size_t block = BLOCK / sizeof(T);
    std::size_t i = 0;
    if (stream && on_line(y) && (operation != undertow::BOTH || on_line(d))) {
        alignas(LINE) T y_block[block], d_block[block];
        for (; i + block <= n; i += block) {
            piece<F, T, operation>(f, x + i, g + i, y_block, d_block, block);
            stream_out(y + i, y_block, BLOCK);
            if constexpr (operation == undertow::BOTH) stream_out(d + i, d_block, BLOCK);
        }
        stream_end();
    }
    piece<F, T, operation>(f, x + i, g + i, y + i, d + i, n - i);
}

// What a function is where its parameter is 1, if that is simpler.
template <template <class> class F, class T>
struct AtOne { using type = Worked<F, T>; };
template <class T>
struct AtOne<Swish, T> { using type = Worked<Silu, T>; };
template <class T>
struct AtOne<Softplus, T> { using type = Worked<PlainSoftplus, T>; };

template <template <class> class F, class T, undertow::Operation operation>
void choose(const T *x, const T *g, T *y, T *d, std::size_t n, double parameter, bool stream) {
    using Simple = typename AtOne<F, T>::type;
    if (parameter == 1) return loop<Simple, T, operation>(x, g, y, d, n, parameter, stream);
    loop<Worked<F, T>, T, operation>(x, g, y, d, n, parameter, stream);
}

#define UNDERTOW_LOOPS(F, T)                                                                            \
    {                                                                                                   \
        choose<F, T, undertow::VALUE>, choose<F, T, undertow::SLOPE>, choose<F, T, undertow::BOTH>,     \
            choose<F, T, undertow::TIMES_SLOPE>                                                         \
    }
#define UNDERTOW_KERNEL(name, F) \
    { name, UNDERTOW_LOOPS(F, float), UNDERTOW_LOOPS(F, double) }

static void scale_16(const float *by, const std::uint16_t *g, std::uint16_t *y, std::size_t n, bool brain) {
    brain ? scale<BrainFloat>(by, g, y, n) : scale<HalfFloat>(by, g, y, n);
}

static const Kernel KERNELS[] = {
    UNDERTOW_KERNEL("relu", Relu),
    UNDERTOW_KERNEL("relu_squared", ReluSquared),
    UNDERTOW_KERNEL("leaky_relu", LeakyRelu),
    UNDERTOW_KERNEL("hardsigmoid", Hardsigmoid),
    UNDERTOW_KERNEL("hardswish", Hardswish),
    UNDERTOW_KERNEL("softsign", Softsign),
    UNDERTOW_KERNEL("sigmoid", Sigmoid),
    UNDERTOW_KERNEL("logsigmoid", Logsigmoid),
    UNDERTOW_KERNEL("softplus", Softplus),
    UNDERTOW_KERNEL("tanh", Tanh),
    UNDERTOW_KERNEL("swish", Swish),
    UNDERTOW_KERNEL("quick_gelu", QuickGelu),
    UNDERTOW_KERNEL("gelu", Gelu),
    UNDERTOW_KERNEL("gelu_tanh", GeluTanh),
    UNDERTOW_KERNEL("mish", Mish),
    UNDERTOW_KERNEL("elu", Elu),
    UNDERTOW_KERNEL("celu", Celu),
    UNDERTOW_KERNEL("selu", Selu),
};

#define UNDERTOW_STRING_(x) #x
#define UNDERTOW_STRING(x) UNDERTOW_STRING_(x)
}  // namespace UNDERTOW_ISA

namespace undertow {
namespace UNDERTOW_ISA {
Set set() {
#ifdef UNDERTOW_FMA
    constexpr bool fused = true;
#else
    constexpr bool fused = false;
#endif
    return {UNDERTOW_STRING(UNDERTOW_ISA), fused, ::UNDERTOW_ISA::KERNELS,
            sizeof(::UNDERTOW_ISA::KERNELS) / sizeof(Kernel),
            ::UNDERTOW_ISA::scale_16};
}
}  // namespace UNDERTOW_ISA
}  // namespace undertow
