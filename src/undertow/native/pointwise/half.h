// 16-bit formats in float32, for the product of a gradient with a slope.
#pragma once

#include "math.h"

namespace UNDERTOW_ISA {

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
void scale(const float *UNDERTOW_RESTRICT by, const std::uint16_t *UNDERTOW_RESTRICT g,
           std::uint16_t *UNDERTOW_RESTRICT y, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) y[i] = Format::narrow(Format::widen(g[i]) * by[i]);
}

}  // namespace UNDERTOW_ISA
