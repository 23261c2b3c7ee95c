// One pass over a tensor, block by block; a block stays in the first-level cache while it is looked at.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "formats.h"

namespace undertow {

constexpr std::size_t TREE = 16;            // vectors whose floats are added up before they become doubles
constexpr std::size_t STEP = TREE * LANES;  // values that are looked at together
constexpr std::size_t BLOCK = 4096;         // values
constexpr std::size_t CHUNK = 16 * BLOCK;   // values with totals of their own, whatever the number of threads

struct alignas(sizeof(Doubles)) Totals {
    Doubles sum = {}, squares = {};
    std::uint64_t zeros = 0, subnormals = 0, nans = 0, infs = 0;
    std::uint64_t top = 0;  // bits of the largest finite |x|: the order of the bits is the order of the values
    double factor = 1;      // of doubles, before they are squared; the sums of the other formats have no unit
    std::size_t scale = 2;  // that suited the last block: unscaled
};

// Units in which float32 holds the squares of a block and the sum of sixteen of them.
struct Scale {
    float factor;
    double unit;                // 1 / factor
    std::uint32_t least, most;  // bits of the largest |x| that it is for, as float32
};
constexpr Scale SCALES[] = {
    {0x1p127f, 0x1p-127, 0x00000000u, 0x0b800000u},  // up to 2^-104, subnormals included
    {0x1p64f, 0x1p-64, 0x0b800000u, 0x2b800000u},    // 2^-104 .. 2^-40
    {1.0f, 1.0, 0x2b800000u, 0x5d800000u},           // 2^-40 .. 2^60
    {0x1p-100f, 0x1p100, 0x5d800000u, 0x7f800000u},  // from 2^60
};

template <typename V>
UNDERTOW_INLINE double sum_of(const V &v) {
    double sum = 0;
    for (std::size_t k = 0; k < sizeof(V) / sizeof(v[0]); ++k) sum += v[k];
    return sum;
}

enum Reduction { SUM, LARGEST, SMALLEST };

// Halves a vector until one lane is left.
template <Reduction how, typename T, std::size_t N = BYTES / sizeof(T)>
UNDERTOW_INLINE T reduced(const Vector<T, N> &v) {
    if constexpr (N == 1) {
        return v[0];
    } else {
        Vector<T, N / 2> h[2];
        copy_bits(h, v);
        if constexpr (how == SUM) return reduced<how, T, N / 2>(h[0] + h[1]);
        if constexpr (how == LARGEST) return reduced<how, T, N / 2>(h[0] > h[1] ? h[0] : h[1]);
        if constexpr (how == SMALLEST) return reduced<how, T, N / 2>(h[0] < h[1] ? h[0] : h[1]);
    }
}

template <typename F>
struct Extremes {
    using Bits = typename F::Bits;
    using Size = std::make_signed_t<Bits>;  // few machines compare unsigned vectors
    Vector<Size> top = {}, least = (Vector<Size>)(Vector<Bits>{} + F::MAGNITUDE);

    UNDERTOW_INLINE void see(const Vector<Bits> &bits) {
        const auto size = (Vector<Size>)(bits & F::MAGNITUDE);
        top = size > top ? size : top;
        least = size < least ? size : least;
    }
    UNDERTOW_INLINE Bits largest() const { return static_cast<Bits>(reduced<LARGEST, Size>(top)); }
    UNDERTOW_INLINE Bits smallest() const { return static_cast<Bits>(reduced<SMALLEST, Size>(least)); }
};

template <typename F>
UNDERTOW_INLINE void count_small(const typename F::Bits *data, std::size_t n, Totals &t) {
    using Bits = typename F::Bits;
    using Size = std::make_signed_t<Bits>;
    constexpr std::size_t MANY = BYTES / sizeof(Bits);
    Vector<Bits> zeros[4] = {}, normal[4] = {};  // at most 4096 in all: no sum overflows 16 bits
    for (std::size_t i = 0; i < n; i += 4 * MANY)
        for (std::size_t k = 0; k < 4; ++k) {
            Vector<Bits> bits;
            load(bits, data + i + k * MANY);
            const auto size = (Vector<Size>)(bits & F::MAGNITUDE);
            zeros[k] -= (Vector<Bits>)(size == 0);  // true is -1 in a vector
            normal[k] -= (Vector<Bits>)(size > static_cast<Size>(F::NORMAL - 1));
        }
    const auto total = [](const Vector<Bits>(&v)[4]) { return reduced<SUM, Bits>((v[0] + v[1]) + (v[2] + v[3])); };
    const std::uint64_t nothing = total(zeros);
    t.zeros += nothing;
    t.subnormals += n - nothing - total(normal);
}

// Σx and Σx² over N vectors of floats, lane by lane, as a tree: equal numbers are added up exactly.
template <typename F, bool SCALED, std::size_t N>
UNDERTOW_INLINE void tree(const typename F::Bits *data, float factor, Extremes<F> &extremes, Floats &sum,
                          Floats &squares) {
    if constexpr (N > F::VECTORS) {
        Floats more, more_squares;
        tree<F, SCALED, N / 2>(data, factor, extremes, sum, squares);
        tree<F, SCALED, N / 2>(data + N / 2 * LANES, factor, extremes, more, more_squares);
        sum += more;
        squares += more_squares;
    } else {
        Vector<typename F::Bits> bits;
        load(bits, data);
        extremes.see(bits);
        Words words;
        Floats x[N];
        copy_bits(words, bits);
        F::template spread<false>(words, x);
        if constexpr (SCALED)
            for (Floats &v : x) v *= factor;
        sum = x[0];
        squares = x[0] * x[0];
        for (std::size_t k = 1; k < N; ++k) {
            sum += x[k];
            squares += x[k] * x[k];
        }
    }
}

template <typename F, bool SCALED>
UNDERTOW_INLINE void add_up(const typename F::Bits *data, std::size_t n, double factor, Extremes<F> &extremes,
                            Doubles &sum, Doubles &squares) {
    for (std::size_t i = 0; i < n; i += STEP) {
        Floats some, some_squares;
        tree<F, SCALED, TREE>(data + i, static_cast<float>(factor), extremes, some, some_squares);
        sum += __builtin_convertvector(some, Doubles);
        squares += __builtin_convertvector(some_squares, Doubles);
    }
}
template <typename F>
UNDERTOW_INLINE void add_up_doubles(const std::uint64_t *data, std::size_t n, double factor, Extremes<F> &extremes,
                                    Doubles &sum, Doubles &squares) {
    Vector<double> sums[4] = {}, more[4] = {};
    for (std::size_t i = 0; i < n; i += 16)
        for (std::size_t k = 0; k < 4; ++k) {
            Vector<std::uint64_t> bits;
            Vector<double> x;
            load(bits, data + i + 4 * k);
            extremes.see(bits);
            copy_bits(x, bits);
            x *= factor;
            sums[k] += x;
            more[k] += x * x;
        }
    const Vector<double> halves[2] = {sums[0] + sums[1], sums[2] + sums[3]};
    const Vector<double> squared[2] = {more[0] + more[1], more[2] + more[3]};
    copy_bits(sum, halves);
    copy_bits(squares, squared);
}

// A block of finite numbers; false (and nothing added) where one is not finite.
template <typename F>
UNDERTOW_INLINE bool quick(const typename F::Bits *data, std::size_t n, Totals &t) {
    using Bits = typename F::Bits;
    constexpr bool doubles = sizeof(Bits) == 8;
    for (;;) {
        Doubles sum = {}, squares = {};
        Extremes<F> extremes;
        double unit = 1;
        if constexpr (doubles) add_up_doubles<F>(data, n, t.factor, extremes, sum, squares);
        else if (SCALES[t.scale].factor == 1) add_up<F, false>(data, n, 1, extremes, sum, squares);
        else add_up<F, true>(data, n, SCALES[t.scale].factor, extremes, sum, squares);
        const Bits most = extremes.largest();
        if (most >= F::INFINITE) return false;
        if constexpr (!doubles) {
            std::uint32_t size;
            copy_bits(size, F::one(most));
            const Scale &s = SCALES[t.scale];
            if (size != 0 && (size < s.least || size >= s.most)) {
                for (t.scale = 0; size >= SCALES[t.scale].most;) ++t.scale;
                continue;
            }
            unit = s.unit;
        }
        if constexpr (F::COUNTED)
            if (extremes.smallest() < F::NORMAL) count_small<F>(data, n, t);
        t.sum += sum * unit;
        t.squares += squares * (unit * unit);
        t.top = std::max<std::uint64_t>(t.top, most);
        return true;
    }
}

// Whatever there is, eight at a time in doubles: a block that holds NaNs or infinities, and the rest of a tensor.
template <typename F>
UNDERTOW_INLINE void careful(const typename F::Bits *data, std::size_t n, Totals &t) {
    using Bits = typename F::Bits;
    using Unsigned = Group<Bits>;
    using Signed = Group<std::make_signed_t<Bits>>;
    constexpr auto SMALL = static_cast<std::make_signed_t<Bits>>(F::NORMAL - 1);
    constexpr auto INFINITE = static_cast<std::make_signed_t<Bits>>(F::INFINITE);
    Doubles sum = {}, squares = {};
    Unsigned top = {}, zeros = {}, normal = {}, infs = {}, nans = {};  // at most 512 rounds: no lane overflows 16 bits
    for (std::size_t i = 0; i < n; i += 8) {
        Unsigned bits = {};
        Doubles x;
        if (i + 8 <= n) load(bits, data + i);
        else std::memcpy(&bits, data + i, (n - i) * sizeof(Bits));
        const Signed size = (Signed)(bits & F::MAGNITUDE);
        const Unsigned finite = (Unsigned)(size < INFINITE), kept = (Unsigned)size & finite;
        top = kept > top ? kept : top;
        zeros -= (Unsigned)(size == 0);  // true is -1 in a vector
        normal -= (Unsigned)(size > SMALL);
        infs -= (Unsigned)(size == INFINITE);
        nans -= (Unsigned)(size > INFINITE);
        F::widen(bits & finite, x);
        x *= t.factor;
        sum += x;
        squares += x * x;
    }
    t.sum += sum;
    t.squares += squares;
    t.top = std::max<std::uint64_t>(t.top, reduced<LARGEST, Bits, 8>(top));
    const std::uint64_t filled = (n + 7) / 8 * 8, nothing = reduced<SUM, Bits, 8>(zeros);
    t.zeros += nothing - (filled - n);
    t.subnormals += filled - nothing - reduced<SUM, Bits, 8>(normal);
    t.infs += reduced<SUM, Bits, 8>(infs);
    t.nans += reduced<SUM, Bits, 8>(nans);
}

// Values begin … end, each chunk to its own totals; `block(begin, n)` gives the address of n values, which stay there
// until the next call.
template <typename F, typename Source>
UNDERTOW_INLINE void pass(Source &block, std::size_t begin, std::size_t end, Totals *chunks) {
    for (; begin < end; begin += BLOCK) {
        const std::size_t many = std::min(BLOCK, end - begin), whole = many / STEP * STEP;
        const typename F::Bits *data = block(begin, many);
        Totals &t = chunks[begin / CHUNK];
        const bool done = whole && quick<F>(data, whole, t);
        if (!done) careful<F>(data, many, t);
        else if (whole < many) careful<F>(data + whole, many - whole, t);
    }
}

}  // namespace undertow
