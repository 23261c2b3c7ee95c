// One-pass statistics of a tensor: count, mean, rms, max |x|, zeros, NaNs, infinities, subnormals.
//
// The tensor comes as a DLPack pointer, so one build serves every torch.  A block that fits the first-level cache is
// read once with branch-free code; only a block that holds a NaN or an infinity is read again, value by value.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

#if !defined(__GNUC__)
#error "the kernels need the vector types of GCC or Clang; without them undertow runs on torch alone"
#endif
#if !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
// One clone a vector width, chosen when the module is loaded: the wheel runs on any x86-64.
#define UNDERTOW_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define UNDERTOW_CLONES
#endif
#define UNDERTOW_INLINE inline __attribute__((always_inline))

namespace {

constexpr std::size_t BLOCK = 4096;  // float64: 32 KiB, the first-level cache of common processors
constexpr std::size_t LANES = 8;     // doubles in a vector of 64 bytes
constexpr std::size_t SUMS = 4;      // independent sums hide the latency of an addition; fixed, so sums are reproducible

template <typename T, std::size_t N>
struct VectorOf {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
};
// 64 bytes are split by the compiler into what the machine has.
template <typename T, std::size_t N>
using Vector = typename VectorOf<T, N>::type;
using Doubles = Vector<double, LANES>;
using Floats = Vector<float, LANES>;
using Words = Vector<std::uint32_t, LANES>;

template <typename To, typename From>
UNDERTOW_INLINE void copy_bits(To &to, const From &from) {
    static_assert(sizeof(To) == sizeof(From), "same width");
    std::memcpy(&to, &from, sizeof(to));
}

// What the formats differ in: the width of the bits, where |bits| turn normal and infinite, and how they become doubles.
template <typename Bits_, Bits_ Normal, Bits_ Infinity>
struct Format {
    using Bits = Bits_;
    using Group = Vector<Bits, LANES>;
    static constexpr Bits NORMAL = Normal, INFINITE = Infinity, MAGNITUDE = static_cast<Bits>(~Bits(0)) >> 1;

    static UNDERTOW_INLINE void from_floats(const Words &bits, Doubles &out) {
        Floats floats;
        copy_bits(floats, bits);
        out = __builtin_convertvector(floats, Doubles);
    }
};

struct Double : Format<std::uint64_t, 0x0010000000000000u, 0x7ff0000000000000u> {
    static UNDERTOW_INLINE void widen(const Group &b, Doubles &out) { copy_bits(out, b); }
};
struct Single : Format<std::uint32_t, 0x00800000u, 0x7f800000u> {
    static UNDERTOW_INLINE void widen(const Group &b, Doubles &out) { from_floats(b, out); }
};
struct Brain : Format<std::uint16_t, 0x0080u, 0x7f80u> {
    static UNDERTOW_INLINE void widen(const Group &b, Doubles &out) {
        from_floats(__builtin_convertvector(b, Words) << 16, out);
    }
};
struct Half : Format<std::uint16_t, 0x0400u, 0x7c00u> {
    static UNDERTOW_INLINE void widen(const Group &b, Doubles &out) {
        // Exponent bias 15 in place of 127: the moved bits are 2^-112 of the value, subnormals included.
        const Words wide = __builtin_convertvector(b, Words);
        from_floats((wide & 0x8000u) << 16 | (wide & 0x7fffu) << 13, out);
        out *= 0x1p112;
    }
};

// The same for one value.
template <typename F>
UNDERTOW_INLINE double value(typename F::Bits bits) {
    typename F::Group group = {bits};
    Doubles wide;
    F::widen(group, wide);
    return wide[0];
}

struct Totals {
    double sum = 0, squares = 0;
    std::uint64_t zeros = 0, subnormals = 0, nans = 0, infs = 0;
    std::uint64_t top = 0;  // bits of the largest finite |x|: the order of the bits is the order of the values
};

template <typename F>
UNDERTOW_INLINE void one(typename F::Bits bits, double scale, Totals &t) {
    const auto size = static_cast<typename F::Bits>(bits & F::MAGNITUDE);
    if (size > F::INFINITE) { ++t.nans; return; }
    if (size == F::INFINITE) { ++t.infs; return; }
    const double x = value<F>(bits) * scale;
    t.sum += x;
    t.squares += x * x;
    t.zeros += size == 0;
    t.subnormals += size != 0 && size < F::NORMAL;
    if (size > t.top) t.top = size;
}

// A whole block, branch-free; false (and nothing added) if a value of it is not finite.
template <typename F>
UNDERTOW_INLINE bool block(const typename F::Bits *data, double scale, Totals &t) {
    using Bits = typename F::Bits;
    // Two loops over cached data: together their accumulators would not fit the registers.
    Doubles sum[SUMS] = {}, squares[SUMS] = {};
    for (std::size_t i = 0; i < BLOCK; i += SUMS * LANES)
        for (std::size_t k = 0; k < SUMS; ++k) {
            typename F::Group bits;
            Doubles x;
            std::memcpy(&bits, data + i + k * LANES, sizeof(bits));
            F::widen(bits, x);
            x *= scale;
            sum[k] += x;
            squares[k] += x * x;
        }
    constexpr std::size_t MANY = 64 / sizeof(Bits);
    using Wide = Vector<Bits, MANY>;
    Wide top = {}, zeros = {}, small = {};  // at most 512 rounds a block: no lane overflows 16 bits
    for (std::size_t i = 0; i < BLOCK; i += MANY) {
        Wide bits;
        std::memcpy(&bits, data + i, sizeof(bits));
        const Wide size = bits & F::MAGNITUDE;
        top = size > top ? size : top;
        zeros -= (Wide)(size == 0);  // true is -1 in a vector
        small -= (Wide)(size < F::NORMAL);
    }
    Bits most = 0;
    for (std::size_t k = 0; k < MANY; ++k) most = top[k] > most ? top[k] : most;
    if (most >= F::INFINITE) return false;
    for (std::size_t k = 0; k < SUMS; ++k)
        for (std::size_t j = 0; j < LANES; ++j) {
            t.sum += sum[k][j];
            t.squares += squares[k][j];
        }
    for (std::size_t k = 0; k < MANY; ++k) {
        t.zeros += zeros[k];
        t.subnormals += small[k] - zeros[k];
    }
    if (most > t.top) t.top = most;
    return true;
}

template <typename F>
UNDERTOW_INLINE Totals pass(const typename F::Bits *data, std::size_t n, double scale) {
    Totals t;
    std::size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        if (!block<F>(data + i, scale, t))
            for (std::size_t k = 0; k < BLOCK; ++k) one<F>(data[i + k], scale, t);
    for (; i < n; ++i) one<F>(data[i], scale, t);
    return t;
}

UNDERTOW_CLONES Totals pass_double(const std::uint64_t *d, std::size_t n, double s) { return pass<Double>(d, n, s); }
UNDERTOW_CLONES Totals pass_single(const std::uint32_t *d, std::size_t n) { return pass<Single>(d, n, 1.0); }
UNDERTOW_CLONES Totals pass_brain(const std::uint16_t *d, std::size_t n) { return pass<Brain>(d, n, 1.0); }
UNDERTOW_CLONES Totals pass_half(const std::uint16_t *d, std::size_t n) { return pass<Half>(d, n, 1.0); }

struct Result {
    Totals totals;
    double top, unit;  // the largest finite |x|, and the unit in which the sums were taken
};

// Squares of doubles leave the range of doubles outside about 1e-154 .. 1e154; there a second pass takes the sums in
// units of a power of two near the maximum.  1e±140 leaves room for 1e16 values and for 14 digits below the maximum.
Result of_doubles(const std::uint64_t *data, std::size_t n) {
    Totals t = pass_double(data, n, 1.0);
    const double top = value<Double>(t.top);
    if (top == 0 || (top > 1e-140 && top < 1e140)) return {t, top, 1.0};
    int exponent = 0;
    std::frexp(top, &exponent);
    // The unit must be a finite number, and so must its inverse; 2^1000 lifts the deepest subnormals far enough.
    exponent = exponent < -999 ? -1000 : exponent - 1;
    return {pass_double(data, n, std::ldexp(1.0, -exponent)), top, std::ldexp(1.0, exponent)};
}

using Tensor = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

Result of(const Tensor &x) {
    const void *data = x.data();
    const std::size_t n = x.size();
    const nb::dlpack::dtype type = x.dtype();
    const bool brain = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat);
    if (brain) {
        const Totals t = pass_brain(static_cast<const std::uint16_t *>(data), n);
        return {t, value<Brain>(static_cast<std::uint16_t>(t.top)), 1.0};
    }
    if (type.bits == 16) {
        const Totals t = pass_half(static_cast<const std::uint16_t *>(data), n);
        return {t, value<Half>(static_cast<std::uint16_t>(t.top)), 1.0};
    }
    if (type.bits == 32) {
        const Totals t = pass_single(static_cast<const std::uint32_t *>(data), n);
        return {t, value<Single>(static_cast<std::uint32_t>(t.top)), 1.0};
    }
    return of_doubles(static_cast<const std::uint64_t *>(data), n);
}

void check(const Tensor &x) {
    const nb::dlpack::dtype type = x.dtype();
    const bool floating = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) &&
                          (type.bits == 16 || type.bits == 32 || type.bits == 64);
    const bool brain = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat) && type.bits == 16;
    if (type.lanes != 1 || !(floating || brain))
        throw nb::type_error("statistics takes float16, bfloat16, float32 or float64");
}

nb::tuple statistics(const Tensor &x) {
    check(x);
    Result r;
    {
        nb::gil_scoped_release release;
        r = of(x);
    }
    const Totals &t = r.totals;
    const double finite = static_cast<double>(x.size() - t.nans - t.infs);
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    const double mean = finite > 0 ? t.sum / finite * r.unit : nothing;
    const double rms = finite > 0 ? std::sqrt(t.squares / finite) * r.unit : nothing;
    return nb::make_tuple(x.size(), mean, rms, finite > 0 ? r.top : nothing, t.zeros, t.nans, t.infs, t.subnormals);
}

}  // namespace

void bind_statistics(nb::module_ &m) {
    m.def("statistics", &statistics, nb::arg("tensor").noconvert(),
          "(count, mean, rms, max, zeros, nans, infs, subnormals) of a contiguous float tensor on the CPU.");
}
