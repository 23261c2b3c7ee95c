// Functions made of pieces: rectifiers, hard gates, softsign.  Each is a struct with
//     value(x) = f(x),  slope(x) = f′(x), at a kink the derivative from the left,  both(x) = {f, f′},
// built from its one parameter, if it has one.  NaN passes through each.
#pragma once

#include "math.h"

namespace UNDERTOW_ISA {

template <class T>
struct Both {
    T value, slope;
};

template <class Function, class T>
struct Separately {  // both, where nothing is shared
    UNDERTOW_INLINE Both<T> both(T x) const {
        const auto &f = static_cast<const Function &>(*this);
        return {f.value(x), f.slope(x)};
    }
};

template <class T>
struct Relu : Separately<Relu<T>, T> {
    explicit Relu(double) {}
    UNDERTOW_INLINE T value(T x) const { return x <= 0 ? 0 : x; }
    UNDERTOW_INLINE T slope(T x) const { return x > 0 ? 1 : at_least(x, static_cast<T>(0)); }
};

template <class T>
struct ReluSquared : Separately<ReluSquared<T>, T> {
    explicit ReluSquared(double) {}
    UNDERTOW_INLINE T value(T x) const {
        const T above = at_least(x, static_cast<T>(0));
        return above * above;
    }
    UNDERTOW_INLINE T slope(T x) const { return 2 * at_least(x, static_cast<T>(0)); }
};

template <class T>
struct LeakyRelu : Separately<LeakyRelu<T>, T> {
    Pair<T> s;
    explicit LeakyRelu(double slope) : s(split<T>(slope)) {}
    UNDERTOW_INLINE T value(T x) const {
        const T finite = at_least(x, std::numeric_limits<T>::lowest());
        return x > 0 ? x : mad(x, s.hi, finite * s.lo);
    }
    UNDERTOW_INLINE T slope(T x) const { return x > 0 ? 1 : (x <= 0 ? s.hi : x); }
};

template <class T>
UNDERTOW_INLINE Pair<T> sixth() {
    constexpr T hi = static_cast<T>(1.0 / 6);
    return {hi, static_cast<T>(1.0 / 6 - static_cast<double>(hi) + 0x1.5555555555555p-57)};
}

// clamp(x + 3, 0, 6)/6.
template <class T>
struct Hardsigmoid : Separately<Hardsigmoid<T>, T> {
    explicit Hardsigmoid(double) {}
    UNDERTOW_INLINE T value(T x) const {
        const T c = at_most(at_least(x, static_cast<T>(-3)), static_cast<T>(3));
        const Pair<T> y = product(sixth<T>(), quick_sum(static_cast<T>(3), c));
        return y.value();
    }
    UNDERTOW_INLINE T slope(T x) const { return x <= -3 ? 0 : (x > 3 ? 0 : (x == x ? sixth<T>().hi : x)); }
};

// x·clamp(x + 3, 0, 6)/6.
template <class T>
struct Hardswish : Separately<Hardswish<T>, T> {
    explicit Hardswish(double) {}
    UNDERTOW_INLINE T value(T x) const {
        const T c = at_least(x, static_cast<T>(-3));
        const Pair<T> y = product(sixth<T>(), product(quick_sum(static_cast<T>(3), c), c));
        return x > 3 ? x : y.value();
    }
    UNDERTOW_INLINE T slope(T x) const {  // (2x + 3)/6
        const Pair<T> d = product(sixth<T>(), sum(2 * x, static_cast<T>(3)));
        return x <= -3 ? 0 : (x > 3 ? 1 : d.value());
    }
};

// x/(1 + |x|); beyond 2^100 (2^600) the value is ±1 and the slope 0.
template <class T>
struct Softsign {
    explicit Softsign(double) {}
    static UNDERTOW_INLINE T bound(T x) {
        constexpr T most = static_cast<T>(sizeof(T) == 4 ? 0x1p100 : 0x1p600);
        return at_least(at_most(x, most), -most);
    }
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T c = bound(x);
        const Pair<T> s = sum(absolute(c), static_cast<T>(1));
        const T r = 1 / s.hi, error = residual(r, s), y = c * r, d = r * r;
        return {mad(y, error, y), mad(d, error + error, d)};
    }
};

}  // namespace UNDERTOW_ISA
