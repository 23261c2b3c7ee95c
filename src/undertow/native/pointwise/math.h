// Scalar building blocks without branches, for loops that the compiler turns into vector code.
//
// Every quantity whose rounding would be seen is held as a pair hi + lo.  The file is compiled once for each
// instruction set in a namespace of its own, so that no two sets share an inline function.  The coefficients are
// minimax polynomials from tools/minimax.py; the comment beside each gives its relative error.
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
    static constexpr int MANTISSA = 23;
    static constexpr Bits SIGN = 0x80000000u;
    static constexpr float LIMIT = 125;  // e^−LIMIT·LIMIT rounds to 0
    // Powers of two are held times 2^100, so that one factor reaches far below the normal numbers.
    static constexpr float DOWN = 0x1p-100f;
    // 1.5·2^23 + bias + 100: adding it rounds to an integer n, and the low bits of the sum are the exponent of 2^(n+100).
    static constexpr float MAGIC = 0x1.8p23f + 227;
    static constexpr float LOG2E = 0x1.715476p0f, LN2 = 0x1.62e43p-1f;
    static constexpr float LN2_HI = 0x1.62e4p-1f, LN2_LO = 0x1.7f7d1cp-20f;  // 15 bits: n·LN2_HI is exact
};

template <>
struct Real<double> {
    using Bits = std::uint64_t;
    static constexpr int MANTISSA = 52;
    static constexpr Bits SIGN = 0x8000000000000000u;
    static constexpr double LIMIT = 1400;
    static constexpr double DOWN = 0x1p-1000;
    static constexpr double MAGIC = 0x1.8p52 + 2023;
    static constexpr double LOG2E = 0x1.71547652b82fep0, LN2 = 0x1.62e42fefa39efp-1;
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
// 1/s = r·(1 + residual).
template <class T>
UNDERTOW_INLINE T residual(T r, Pair<T> s) {
#ifdef UNDERTOW_FMA
    return mad(-r, s.lo, mad(-r, s.hi, static_cast<T>(1)));
#else
    const T p = r * s.hi;
    return mad(-r, s.lo, (1 - p) - product_error(r, s.hi, p));
#endif
}

// A parameter given in double.
template <class T>
UNDERTOW_INLINE Pair<T> split(double value, double rest = 0) {
    const T hi = static_cast<T>(value);
    return {hi, static_cast<T>(value - static_cast<double>(hi) + rest)};
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

// e^z = (1 + P)·2^n for −LIMIT ≤ z ≤ 0, given as z + lo.
template <class T>
struct Exp {
    using R = Real<T>;
    T main, rest, fraction;  // P = main + rest, |rest| < 0.07
    T power, small;          // 2^n/DOWN, a normal number,  2^n

    UNDERTOW_INLINE explicit Exp(T z) { finish(reduce(z)); }
    UNDERTOW_INLINE Exp(T z, T lo) { finish(reduce(z) + lo); }

    // e^z + c for c = 0, 1, −1.
    UNDERTOW_INLINE Pair<T> plus(T c) const {
        const Pair<T> whole = quick_sum(c, small);
        const T s = mad(small, fraction, whole.hi);
        return {s, mad(small, fraction, whole.hi - s) + whole.lo};
    }
    // e^z − 1 with the digits that P has lost.
    UNDERTOW_INLINE Pair<T> minus_one() const {
        const Pair<T> s = plus(-1);
        return {s.hi, mad(small, rest - (fraction - main), s.lo)};
    }
    UNDERTOW_INLINE T value() const { return mad(small, fraction, small); }
    // x·(P + more) + its rest, |more| small.
    UNDERTOW_INLINE T growth(Pair<T> x, T more) const { return mad(x.hi, main, mad(x.hi, rest + more, x.lo)); }
    // x·(1 + P), as a pair.
    UNDERTOW_INLINE Pair<T> grown(Pair<T> x) const {
        const Pair<T> base = quick_sum(static_cast<T>(1), main), p = product(x.hi, base.hi);
        return {p.hi, mad(x.hi, base.lo + rest, mad(x.lo, base.hi, p.lo))};
    }
    // base + y·e^z/(1 + P).
    UNDERTOW_INLINE T lift(T y, T base) const { return mad(y * power, R::DOWN, base); }

  private:
    T n;
    UNDERTOW_INLINE T reduce(T z) {
        const T shifted = mad(z, R::LOG2E, R::MAGIC);
        power = bits<T>(static_cast<typename R::Bits>(bits<typename R::Bits>(shifted) << R::MANTISSA));
        small = power * R::DOWN;
        n = shifted - R::MAGIC;
        return mad(-n, R::LN2_HI, z);
    }
    UNDERTOW_INLINE void finish(T r0) {
        main = mad(-n, R::LN2_LO, r0);
        const T lost = mad(-n, R::LN2_LO, r0 - main);
        rest = mad(main * main, mad(exp_tail(main), main, static_cast<T>(0.5)), lost);
        fraction = main + rest;
    }
};

// (log(1 + f) − f + f²/2)/f³ for −1/4 ≤ f ≤ 1/2; the error is that of the whole logarithm.
UNDERTOW_INLINE float log_tail(float f) {  // 2^−27.3
    return polynomial(f, 0x1.55559ep-2f, -0x1.000084p-2f, 0x1.996c34p-3f, -0x1.54ddd2p-3f, 0x1.283c4ep-3f,
                      -0x1.0dfe30p-3f, 0x1.b1e18cp-4f, -0x1.7b6f98p-5f);
}
UNDERTOW_INLINE double log_tail(double f) {  // 2^−57.1
    return polynomial(f, 0x1.5555555555555p-2, -0x1.fffffffffffe8p-3, 0x1.9999999999948p-3, -0x1.55555555575c2p-3,
                      0x1.2492492499741p-3, -0x1.fffffffe110dfp-4, 0x1.c71c71beb09bfp-4, -0x1.99999a0a2fb2fp-4,
                      0x1.745d19bab3d7ap-4, -0x1.555548ace5a68p-4, 0x1.3b134d4d29bedp-4, -0x1.2492c694ab372p-4,
                      0x1.1119dcc66fc7cp-4, -0x1.0008fa62cc1a4p-4, 0x1.e11a1224ce8a1p-5, -0x1.c4cf7c76ac642p-5,
                      0x1.b17a4d4a4e7a2p-5, -0x1.aeafa80c7de50p-5, 0x1.a3ed80e2b4576p-5, -0x1.538d6a28cfd3cp-5,
                      0x1.6c9e54b2297f8p-6, -0x1.707487003f92cp-8);
}

// log(1 + e) for 0 ≤ e ≤ 1; above 1/2 it is log 2 + log(1 + (e − 1)/2).
template <class T>
UNDERTOW_INLINE T log_one_plus(Pair<T> e) {
    constexpr T half = static_cast<T>(0.5);
    const bool upper = e.hi > half;
    const T f = upper ? mad(half, e.hi, -half) : e.hi;
    const T lo = mad(-half * e.hi, e.lo, e.lo);  // e.lo/(1 + e), nearly
    return f + mad(f * f, mad(log_tail(f), f, -half), lo) + (upper ? Real<T>::LN2 : 0);
}

// (a + K)·e^{a²/2}·Q(a), Q(a) = erfc(a/√2)/2, as c + m·(slope + m·p(m)) in m = (a − M)/(a + K).
template <class T>
struct Tail;
template <>
struct Tail<float> {  // 0 ≤ a ≤ 14.7; 2^−29.6 to 14.5, where results turn subnormal
    static constexpr float K = 3, M = 2, END = 14.7f;
    static constexpr Pair<float> CENTRE = {0x1.ae5754p-1f, -0x1.407a44p-28f};
    static constexpr float SLOPE = -0x1.74b576p-1f;
    // slope + m·p(m).
    static UNDERTOW_INLINE Pair<float> steep(float m) { return quick_sum(SLOPE, rest(m) * m); }
    static UNDERTOW_INLINE float rest(float m) {
        return polynomial(m, 0x1.7882ccp-2f, -0x1.01149ap-4f, -0x1.194d96p-5f, 0x1.97f992p-7f,
                          0x1.a03e50p-8f, -0x1.d8de14p-10f, -0x1.b167180p-10f, 0x1.d8f8b6p-14f, 0x1.68060ap-12f);
    }
};
template <>
struct Tail<double> {  // 0 ≤ a ≤ 38.9: 2^−60.9, each coefficient fitted after the one before it was rounded
    static constexpr double K = 6, M = 6, END = 38.9;
    static constexpr Pair<double> CENTRE = {0x1.8e010d2b8a0eap-1, -0x1.d2d950427ce10p-55};
    static constexpr Pair<double> SLOPE = {-0x1.66eaa7d09640fp-1, 0x1.05278f0924b0dp-55};
    static constexpr double BEND = 0x1.234fe3fd925bep-1;
    // slope + m·(bend + m·p(m)): the rounding of p alone stays.
    static UNDERTOW_INLINE Pair<double> steep(double m) {
        const double p = rest(m), h = mad(p, m, BEND), l = mad(p, m, BEND - h);
        const Pair<double> t = product(Pair<double>{h, l}, m), s = quick_sum(SLOPE.hi, t.hi);
        return {s.hi, s.lo + (t.lo + SLOPE.lo)};
    }
    static UNDERTOW_INLINE double rest(double m) {
        return polynomial(m, -0x1.a7d6577269bc0p-2, 0x1.1267d7383da8dp-2, -0x1.38b069dbb6488p-3,
                          0x1.33e7777600099p-4, -0x1.fba9d52f4f85cp-6, 0x1.48a83bd299187p-7, -0x1.1764cdbc7d759p-9,
                          0x1.13bbc9dc515bfp-15, 0x1.7c57452b77f32p-13, -0x1.0f96cf8d55951p-14, 0x1.207fb40f51581p-20,
                          0x1.c8111c62c2fcep-18, -0x1.e2a2c6827ae75p-20, -0x1.cc12e2e9b66b1p-22, 0x1.4b10f00b392dap-22,
                          0x1.9ea9815fa1c1ap-28, -0x1.69bfe8479dc9bp-25, 0x1.afd2332c561d8p-29, 0x1.60f7fe1cf02eap-28,
                          -0x1.b203158de4c72p-32, -0x1.c8a1f5ee10c3ap-32);
    }
};

// e^{a²/2}·Q(a) for 0 ≤ a ≤ END.
template <class T>
UNDERTOW_INLINE Pair<T> scaled_tail(T a) {
    const Pair<T> s = quick_sum(Tail<T>::K, a);
    const T r = 1 / s.hi, e = residual(r, s), m0 = mad(-(Tail<T>::K + Tail<T>::M), r, static_cast<T>(1));
    const T m = mad(m0 - 1, e, m0);
    const Pair<T> t = product(Tail<T>::steep(m), m);
    const Pair<T> w = quick_sum(Tail<T>::CENTRE.hi, t.hi);
    const Pair<T> g = product(Pair<T>{w.hi, w.lo + (t.lo + Tail<T>::CENTRE.lo)}, r);
    return {g.hi, mad(g.hi, e, g.lo)};
}

}  // namespace UNDERTOW_ISA
