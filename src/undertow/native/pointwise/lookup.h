// 16-bit formats: every result is looked up in a table of all 65,536, made in wider arithmetic and rounded once.
#pragma once

#include "math.h"

namespace UNDERTOW_ISA {

inline void lookup(const std::uint16_t *UNDERTOW_RESTRICT table, const std::uint16_t *UNDERTOW_RESTRICT x,
                   std::uint16_t *UNDERTOW_RESTRICT y, std::size_t n) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {  // eight independent loads in flight
        const std::uint16_t a = table[x[i]], b = table[x[i + 1]], c = table[x[i + 2]], d = table[x[i + 3]];
        const std::uint16_t e = table[x[i + 4]], f = table[x[i + 5]], g = table[x[i + 6]], h = table[x[i + 7]];
        y[i] = a, y[i + 1] = b, y[i + 2] = c, y[i + 3] = d;
        y[i + 4] = e, y[i + 5] = f, y[i + 6] = g, y[i + 7] = h;
    }
    for (; i < n; ++i) y[i] = table[x[i]];
}

// A 16-bit format as float, and float rounded to it, half to even.
struct BrainFloat {
    static UNDERTOW_INLINE float widen(std::uint16_t b) { return bits<float>(static_cast<std::uint32_t>(b) << 16); }
    static UNDERTOW_INLINE std::uint16_t narrow(float x) {
        const std::uint32_t b = bits<std::uint32_t>(x);
        const std::uint32_t rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
        return static_cast<std::uint16_t>(x == x ? rounded : 0x7fc0u);
    }
};
struct HalfFloat {
    // Exponent bias 15 in place of 127: the moved bits are 2^−112 of the value, subnormals included.
    static UNDERTOW_INLINE float widen(std::uint16_t h) {
        const std::uint32_t moved = static_cast<std::uint32_t>(h & 0x7fffu) << 13;
        const float size = moved >= 0x0f800000u ? bits<float>(moved | 0x7f800000u) : bits<float>(moved) * 0x1p112f;
        return bits<float>(bits<std::uint32_t>(size) | static_cast<std::uint32_t>(h & 0x8000u) << 16);
    }
    static UNDERTOW_INLINE std::uint16_t narrow(float x) {
        const std::uint32_t b = bits<std::uint32_t>(x), size = b & 0x7fffffffu;
        // Normal: drop 13 bits.  Below 2^−14: adding 1/2 leaves the multiple of 2^−24 in the last bits.
        const std::uint32_t normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
        const std::uint32_t small = bits<std::uint32_t>(bits<float>(size) + 0.5f) - 0x3f000000u;
        const std::uint32_t finite = size < 0x38800000u ? small : normal;
        const std::uint32_t h = size >= 0x47800000u ? (size > 0x7f800000u ? 0x7e00u : 0x7c00u) : finite;
        return static_cast<std::uint16_t>(h | (b >> 16 & 0x8000u));
    }
};

template <class Format>
void lookup_times_in(const float *UNDERTOW_RESTRICT table, const std::uint16_t *UNDERTOW_RESTRICT x,
                     const std::uint16_t *UNDERTOW_RESTRICT g, std::uint16_t *UNDERTOW_RESTRICT y, std::size_t n) {
    constexpr std::size_t MOST = 1024;
    float slopes[MOST];
    for (std::size_t i = 0; i < n; i += MOST) {
        const std::size_t m = n - i < MOST ? n - i : MOST;
        for (std::size_t k = 0; k < m; ++k) slopes[k] = table[x[i + k]];
        for (std::size_t k = 0; k < m; ++k) y[i + k] = Format::narrow(Format::widen(g[i + k]) * slopes[k]);
    }
}
inline void lookup_times(const float *table, const std::uint16_t *x, const std::uint16_t *g, std::uint16_t *y,
                         std::size_t n, bool brain) {
    brain ? lookup_times_in<BrainFloat>(table, x, g, y, n) : lookup_times_in<HalfFloat>(table, x, g, y, n);
}

}  // namespace UNDERTOW_ISA
