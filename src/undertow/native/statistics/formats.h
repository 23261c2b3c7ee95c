// The number formats by their bits, and vectors of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

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

namespace undertow {

constexpr std::size_t BYTES = 32;  // of a vector; the compiler splits it into what the machine has

template <typename T, std::size_t N>
struct VectorOf {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <typename T, std::size_t N = BYTES / sizeof(T)>
using Vector = typename VectorOf<T, N>::type;
enum Code { HALF, BRAIN, SINGLE, DOUBLE, CODES };  // as Python calls the formats

using Floats = Vector<float>;
using Doubles = Vector<double, 8>;
constexpr std::size_t LANES = 8;  // floats in a vector

template <typename To, typename From>
UNDERTOW_INLINE void copy_bits(To &to, const From &from) {
    static_assert(sizeof(To) == sizeof(From), "same width");
    std::memcpy(&to, &from, sizeof(to));
}
template <typename V, typename T>
UNDERTOW_INLINE void load(V &to, const T *from) {
    std::memcpy(&to, from, sizeof(to));
}

using Words = Vector<std::uint32_t>;
template <typename T>
using Group = Vector<T, 8>;

// What the formats differ in: the width of the bits, where |bits| turn normal and infinite, and how they become
// numbers.  `spread` makes floats of a vector: of two 16-bit numbers in a word, the lower and the upper one; `widen`
// makes doubles of eight numbers, in their order.  Both take infinities and NaNs for large numbers, where it is not
// `SPECIAL` that they stay what they are.
template <typename Bits_, Bits_ Normal, Bits_ Infinity>
struct Format {
    using Bits = Bits_;
    static constexpr Bits NORMAL = Normal, INFINITE = Infinity, MAGNITUDE = static_cast<Bits>(~Bits(0)) >> 1;
    static constexpr bool COUNTED = true;  // whether zeros and subnormals are of interest
    static constexpr std::size_t VECTORS = 4 / sizeof(Bits);  // of floats in a vector of bits
};

struct Single : Format<std::uint32_t, 0x00800000u, 0x7f800000u> {
    template <bool SPECIAL>
    static UNDERTOW_INLINE void spread(const Words &w, Floats *out) {
        copy_bits(out[0], w);
    }
    static UNDERTOW_INLINE void widen(const Group<std::uint32_t> &b, Doubles &out) {
        Group<float> x;
        copy_bits(x, b);
        out = __builtin_convertvector(x, Doubles);
    }
    static UNDERTOW_INLINE float one(Bits b) {
        float x;
        copy_bits(x, b);
        return x;
    }
};
struct Brain : Format<std::uint16_t, 0x0080u, 0x7f80u> {
    template <bool SPECIAL>
    static UNDERTOW_INLINE void spread(const Words &w, Floats *out) {
        copy_bits(out[0], w << 16);
        copy_bits(out[1], w & 0xffff0000u);
    }
    static UNDERTOW_INLINE void widen(const Group<std::uint16_t> &b, Doubles &out) {
        Single::widen(__builtin_convertvector(b, Group<std::uint32_t>) << 16, out);
    }
    static UNDERTOW_INLINE float one(Bits b) { return Single::one(std::uint32_t(b) << 16); }
};
struct Half : Format<std::uint16_t, 0x0400u, 0x7c00u> {
    // Exponent bias 15 in place of 127: the moved bits are 2^-112 of the value, subnormals included.
    template <bool SPECIAL>
    static UNDERTOW_INLINE void spread(const Words &w, Floats *out) {
        using Signed = Vector<std::int32_t>;
        const Signed moved[2] = {(Signed)(w << 16) >> 3, (Signed)w >> 3};  // three more signs above the exponent
        for (std::size_t k = 0; k < 2; ++k) {
            Words bits = (Words)moved[k] & 0x8fffe000u;
            if constexpr (SPECIAL) bits |= (Words)((bits & MOVED) >= SPECIALS) & 0x7f800000u;
            copy_bits(out[k], bits);
            out[k] *= 0x1p112f;
        }
    }
    static UNDERTOW_INLINE void widen(const Group<std::uint16_t> &b, Doubles &out) {
        const auto wide = __builtin_convertvector(b, Group<std::uint32_t>);
        Single::widen((wide & 0x8000u) << 16 | (wide & 0x7fffu) << 13, out);
        out *= 0x1p112;
    }
    static UNDERTOW_INLINE float one(Bits b) {
        const std::uint32_t size = (b & 0x7fffu) << 13;
        return Single::one((b & 0x8000u) << 16 | size | (size >= SPECIALS ? 0x7f800000u : 0)) * 0x1p112f;
    }

  private:
    static constexpr std::uint32_t MOVED = 0x0fffe000u, SPECIALS = 0x0f800000u;  // infinities and NaNs
};
struct Double : Format<std::uint64_t, 0x0010000000000000u, 0x7ff0000000000000u> {
    static UNDERTOW_INLINE void widen(const Group<std::uint64_t> &b, Doubles &out) { copy_bits(out, b); }
    static UNDERTOW_INLINE double one(Bits b) {
        double x;
        copy_bits(x, b);
        return x;
    }
};

}  // namespace undertow
