// Scalar building blocks without branches, for loops that the compiler turns into vector code.
//
// Every quantity whose rounding would be seen is held as a pair hi + lo.  The file is compiled once for each
// instruction set in a namespace of its own, so that no two sets share an inline function.  The coefficients are
// minimax polynomials from benchmarks/../tools/minimax.py; the comment beside each gives its relative error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#if defined(_MSC_VER) && !defined(__clang__)
#define UNDERTOW_INLINE __forceinline
#define UNDERTOW_RESTRICT __restrict
#else
#define UNDERTOW_INLINE inline __attribute__((always_inline))
#define UNDERTOW_RESTRICT __restrict__
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define UNDERTOW_FMA 1
#endif

namespace UNDERTOW_ISA {

template <class T>
struct Real;

template <>
struct Real<float> {
    using Bits = std::uint32_t;
    static constexpr int MANTISSA = 23, BIAS = 127;
    static constexpr Bits SIGN = 0x80000000u;
    static constexpr float LIMIT = 173;  // e^−LIMIT times any x is 0, and 2^−250 is still two factors of normal numbers
    // 1.5·2^23 + 2·BIAS: the nearest integer of what is added lands in the low bits, with the bias that `Exp` wants.
    static constexpr float MAGIC = 0x1.8p23f + 254;
    static constexpr Bits MAGIC_BITS = 0x4b400000u;
    static constexpr float LN2_HI = 0x1.62e4p-1f, LN2_LO = 0x1.7f7d1cp-20f;  // 15 bits: k·LN2_HI is exact
};

template <>
struct Real<double> {
    using Bits = std::uint64_t;
    static constexpr int MANTISSA = 52, BIAS = 1023;
    static constexpr Bits SIGN = 0x8000000000000000u;
    static constexpr double LIMIT = 1400;
    static constexpr double MAGIC = 0x1.8p52 + 2046;
    static constexpr Bits MAGIC_BITS = 0x4338000000000000u;
    static constexpr double LN2_HI = 0x1.62e42fefap-1, LN2_LO = 0x1.cf79abc9e3b3ap-40;  // 37 bits
};

template <class To, class From>
UNDERTOW_INLINE To bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "same width");
    return __builtin_bit_cast(To, x);
}

template <class T>
UNDERTOW_INLINE T absolute(T x) {
    return bits<T>(static_cast<typename Real<T>::Bits>(bits<typename Real<T>::Bits>(x) & ~Real<T>::SIGN));
}

template <class T>
UNDERTOW_INLINE T with_sign(T size, T of) {
    using Bits = typename Real<T>::Bits;
    return bits<T>(static_cast<Bits>(bits<Bits>(absolute(size)) | (bits<Bits>(of) & Real<T>::SIGN)));
}

// Bounds that let NaN through.
template <class T>
UNDERTOW_INLINE T at_most(T x, T limit) { return x > limit ? limit : x; }
template <class T>
UNDERTOW_INLINE T at_least(T x, T limit) { return x < limit ? limit : x; }

#ifdef UNDERTOW_FMA
UNDERTOW_INLINE float mad(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
UNDERTOW_INLINE double mad(double a, double b, double c) { return __builtin_fma(a, b, c); }
template <class T>
UNDERTOW_INLINE T product_error(T a, T b, T p) { return mad(a, b, -p); }
#else
UNDERTOW_INLINE float mad(float a, float b, float c) { return a * b + c; }
UNDERTOW_INLINE double mad(double a, double b, double c) { return a * b + c; }
UNDERTOW_INLINE float product_error(float a, float b, float p) {
    return static_cast<float>(static_cast<double>(a) * b - p);
}
UNDERTOW_INLINE double product_error(double a, double b, double p) {  // Dekker 1971
    const double ca = 134217729.0 * a, cb = 134217729.0 * b;
    const double ah = ca - (ca - a), bh = cb - (cb - b), al = a - ah, bl = b - bh;
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
}
#endif

template <class T>
struct Pair {
    T hi, lo;
    UNDERTOW_INLINE T value() const { return hi + lo; }
};

// a + b with its rounding error: `quick_sum` where |a| ≥ |b| or a = 0 (Dekker 1971), `sum` always (Knuth).
template <class T>
UNDERTOW_INLINE Pair<T> quick_sum(T a, T b) {
    const T s = a + b;
    return {s, b - (s - a)};
}
template <class T>
UNDERTOW_INLINE Pair<T> sum(T a, T b) {
    const T s = a + b, c = s - a;
    return {s, (a - (s - c)) + (b - c)};
}
template <class T>
UNDERTOW_INLINE Pair<T> product(T a, T b) {
    const T p = a * b;
    return {p, product_error(a, b, p)};
}
template <class T>
UNDERTOW_INLINE Pair<T> product(Pair<T> a, T b) {
    const T p = a.hi * b;
    return {p, mad(a.lo, b, product_error(a.hi, b, p))};
}
template <class T>
UNDERTOW_INLINE Pair<T> product(Pair<T> a, Pair<T> b) {
    const T p = a.hi * b.hi;
    return {p, mad(a.lo, b.hi, mad(a.hi, b.lo, product_error(a.hi, b.hi, p)))};
}
template <class T>
UNDERTOW_INLINE Pair<T> reciprocal(Pair<T> s) {
    const T r = 1 / s.hi, p = r * s.hi;
    return {r, r * ((1 - p) - product_error(r, s.hi, p) - r * s.lo)};
}
// x·a, rounded once; `bounded` is x or, where x is infinite, anything finite.
template <class T>
UNDERTOW_INLINE T scaled(T x, Pair<T> a, T bounded) { return mad(x, a.hi, bounded * a.lo); }

// A parameter given in double.
template <class T>
UNDERTOW_INLINE Pair<T> split(double value) {
    const T hi = static_cast<T>(value);
    return {hi, static_cast<T>(value - static_cast<double>(hi))};
}

template <class T>
UNDERTOW_INLINE T polynomial(T, T c) { return c; }
template <class T, class... Rest>
UNDERTOW_INLINE T polynomial(T x, T c, Rest... rest) { return mad(polynomial(x, rest...), x, c); }

// (e^r − 1 − r)/r² − 1/2 over r, |r| ≤ ln2/2.
UNDERTOW_INLINE float exp_tail(float r) {  // 2^−28
    return polynomial(r, 0x1.55548cp-3f, 0x1.5554bap-5f, 0x1.123e0ep-7f, 0x1.6d8176p-10f);
}
UNDERTOW_INLINE double exp_tail(double r) {  // 2^−60
    return polynomial(r, 0x1.555555555555bp-3, 0x1.555555555555ap-5, 0x1.111111110ee7bp-7, 0x1.6c16c16c14185p-10,
                      0x1.a01a01b3172bap-13, 0x1.a01a01b21949cp-16, 0x1.71ddf06bda609p-19, 0x1.27e4c2446b2dfp-22,
                      0x1.af6c4c540cec1p-26, 0x1.1f9ac962b9266p-29);
}

// e^z = (1 + P)·2^n for −LIMIT ≤ z ≤ LIMIT/2.
template <class T>
struct Exp {
    using R = Real<T>;
    Pair<T> fraction;  // P
    T left, right;     // 2^n as a product, so that n may go far below the normal numbers

    UNDERTOW_INLINE explicit Exp(T z, T lo = 0) {
        const T shifted = mad(z, static_cast<T>(0x1.71547652b82fep0), R::MAGIC), k = shifted - R::MAGIC;
        const typename R::Bits biased = bits<typename R::Bits>(shifted) - R::MAGIC_BITS, half = biased >> 1;
        left = bits<T>(static_cast<typename R::Bits>(half << R::MANTISSA));
        right = bits<T>(static_cast<typename R::Bits>((biased - half) << R::MANTISSA));
        const T r0 = mad(-k, R::LN2_HI, z), t = mad(-k, R::LN2_LO, lo), r = r0 + t;
        fraction = quick_sum(r, mad(r * r, mad(exp_tail(r), r, static_cast<T>(0.5)), (r0 - r) + t));
    }
    // 1 + P, between 1/√2 and √2.
    UNDERTOW_INLINE Pair<T> mantissa() const {
        const Pair<T> s = quick_sum(static_cast<T>(1), fraction.hi);
        return quick_sum(s.hi, s.lo + fraction.lo);
    }
    UNDERTOW_INLINE T scale(T x) const { return x * left * right; }
    UNDERTOW_INLINE Pair<T> scale(Pair<T> x) const { return {scale(x.hi), scale(x.lo)}; }
    UNDERTOW_INLINE T value() const { return scale(mantissa().hi); }
    // e^z − 1 for z ≤ 0.
    UNDERTOW_INLINE Pair<T> minus_one() const {
        const T power = left * right;
        const Pair<T> whole = quick_sum(static_cast<T>(-1), power);
        const Pair<T> s = quick_sum(whole.hi, power * fraction.hi);
        return {s.hi, s.lo + (whole.lo + power * fraction.lo)};
    }
};

// (log(1 + f) − f + f²/2)/f³ for −0.293 ≤ f ≤ 0.4143; the error is that of the whole logarithm.
UNDERTOW_INLINE float log_tail(float f) {  // 2^−28
    return polynomial(f, 0x1.555546p-2f, -0x1.ffffeep-3f, 0x1.99a4e0p-3f, -0x1.5562c8p-3f, 0x1.233976p-3f,
                      -0x1.fb4c58p-4f, 0x1.e6020ep-4f, -0x1.e2a16ep-4f, 0x1.1b91eap-4f);
}
UNDERTOW_INLINE double log_tail(double f) {  // 2^−60
    return polynomial(f, 0x1.5555555555555p-2, -0x1.0000000000008p-2, 0x1.9999999999bb1p-3, -0x1.55555555541c5p-3,
                      0x1.249249247899ep-3, -0x1.0000000088e1bp-3, 0x1.c71c71da050b4p-4, -0x1.999999630a4ebp-4,
                      0x1.745d13546e26dp-4, -0x1.55555a131df0ep-4, 0x1.3b1431a891855p-4, -0x1.24924ed482566p-4,
                      0x1.1106dbbf92976p-4, -0x1.ffeac7fb438f8p-5, 0x1.e2df9fbaadc89p-5, -0x1.c90a68e5e6597p-5,
                      0x1.a86406dff4da6p-5, -0x1.84b3678569848p-5, 0x1.95784c7931077p-5, -0x1.e0521e93906e0p-5,
                      0x1.adad76dc5746ap-5, -0x1.61cebd642e6ebp-6);
}

// log(1 + e) for 0 ≤ e ≤ 1.
template <class T>
UNDERTOW_INLINE Pair<T> log_one_plus(Pair<T> e) {
    const bool upper = e.hi > static_cast<T>(0.4142);  // then log(1 + e) = log 2 + log(1 + (e − 1)/2)
    const T half = static_cast<T>(0.5), less = e.hi - 1;
    const T f = upper ? half * less : e.hi, lo = upper ? half * ((e.hi - (less + 1)) + e.lo) : e.lo;
    const Pair<T> square = product(f, f), s = quick_sum(f, -half * square.hi);
    const T rest = mad(square.hi * f, log_tail(f), mad(-half, square.lo, s.lo + mad(-f, lo, lo)));
    const Pair<T> ln2 = split<T>(0x1.62e42fefa39efp-1), whole = quick_sum(upper ? ln2.hi : 0, s.hi);
    const T ln2_lo = ln2.lo + static_cast<T>(sizeof(T) == 8 ? 0x1.abc9e3b39803fp-56 : 0);
    return {whole.hi, whole.lo + (rest + (upper ? ln2_lo : 0))};
}

// (a + 1)·e^{a²/2}·Q(a) with Q(a) = erfc(a/√2)/2, as c + m·p(m) in m = (a − K)/(a + K).
template <class T>
struct Tail;
template <>
struct Tail<float> {  // 0 ≤ a ≤ 14.7: 2^−26.7
    static constexpr float K = 4, END = 14.7f;
    static constexpr Pair<float> CENTRE = {0x1.e361eap-2f, 0x1.d5dbcap-28f};
    static UNDERTOW_INLINE float tail(float m) {
        return polynomial(m, -0x1.8c18f0p-4f, 0x1.cabd24p-7f, 0x1.d494fep-6f, -0x1.07c2a2p-5f, 0x1.25eeb8p-6f,
                          -0x1.47f48ap-8f, -0x1.3e615cp-12f, 0x1.6b1cf2p-11f, -0x1.ff78a0p-15f, -0x1.2d02fep-14f);
    }
};
template <>
struct Tail<double> {  // 0 ≤ a ≤ 38.9: 2^−56.7
    static constexpr double K = 5, END = 38.9;
    static constexpr Pair<double> CENTRE = {0x1.d8979b0f2b39dp-2, 0x1.b7b4434c49aa3p-56};
    static UNDERTOW_INLINE double tail(double m) {
        return polynomial(m, -0x1.76ff86859eb14p-4, 0x1.fc66cc64a1454p-6, 0x1.47c1d03054855p-7, -0x1.b08e0007b68e1p-6,
                          0x1.92037bab47999p-6, -0x1.f11aab02b5eeep-7, 0x1.ab6d038d33a61p-8, -0x1.b75f4fa0ffd24p-10,
                          0x1.0571a380e412fp-17, 0x1.7e61e835da6c8p-13, -0x1.c1b1c88bd8ba4p-15, -0x1.4c0fd37d08745p-17,
                          0x1.3003aefc56164p-17, -0x1.2c39477d20dfep-24, -0x1.5f357a252aabap-20, 0x1.10761a89896dbp-23,
                          0x1.a77a2299e1c8ap-23, -0x1.ac9567d108a01p-26, -0x1.0d3a4fc31b6a2p-25, 0x1.6b7013145951fp-29,
                          0x1.281f37078a850p-28, 0x1.aadaee1f9ee81p-36, -0x1.2e25a6622fbe7p-32);
    }
};

// e^{a²/2}·Q(a) for 0 ≤ a ≤ END.
template <class T>
UNDERTOW_INLINE Pair<T> scaled_tail(T a) {
    const Pair<T> one = sum(a, static_cast<T>(1));
    const T k = a + Tail<T>::K, r = 1 / (one.hi * k), inverse = r * k, m = (a - Tail<T>::K) * (r * one.hi);
    const T p = inverse * one.hi;
    const T lo = inverse * ((1 - p) - product_error(inverse, one.hi, p) - inverse * one.lo);
    Pair<T> w = quick_sum(Tail<T>::CENTRE.hi, mad(Tail<T>::tail(m), m, Tail<T>::CENTRE.lo));
    return product(w, Pair<T>{inverse, lo});
}

}  // namespace UNDERTOW_ISA
