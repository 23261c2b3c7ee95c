// Functions made of the exponential and more: GELU, Mish, softplus, ELU and their kin.
#pragma once

#include "gates.h"

namespace UNDERTOW_ISA {

// x·Φ(x);  f′ = Φ(x) + xφ(x).  Both from e^{−a²/2}, a = |x|, and g = Q(a)e^{a²/2}.
template <class T>
struct Gelu {
    explicit Gelu(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        constexpr T half = static_cast<T>(-0.5);
        const T a = at_most(absolute(x), Tail<T>::END);
        const Pair<T> square = product(a, a), g = scaled_tail(a);
        const Exp<T> exp(half * square.hi, half * square.lo);
        // max(x, 0) − a·Q(a) holds on both sides.
        const Pair<T> q = exp.grown(g);
        const T y = exp.lift(mad(-a, q.hi, -a * q.lo), at_least(x, static_cast<T>(0)));
        // 1 − d above, d below, d = Q(a) − aφ(a).
        const Pair<T> p = product(split<T>(0x1.9884533d43651p-2, -0x1.cbc0d30ebfd15p-56), a), u = sum(g.hi, -p.hi);
        const T u_lo = u.lo + (g.lo - p.lo);
        const T d = u.hi + exp.growth({u.hi, mad(u_lo, exp.fraction, u_lo)}, 0);
        return {y, reflect(x >= 0, exp, d)};
    }
};

// x·tanh(log(1 + e^x)) = x·A/D with E = e^{−|x|}:  A = 1 + 2E, D = A + 2E² above 0;  A = E(2 + E), D = 2 + A below.
template <class T>
struct Mish {
    explicit Mish(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T a = magnitude(x);
        const Exp<T> exp(-a);
        const bool above = x >= 0;
        const T e = exp.value(), e2 = e + e, step = above ? e2 : e;
        const Pair<T> s = quick_sum(static_cast<T>(above ? 1 : 2), step);  // A above, A/E below
        const T b = above ? e2 : s.hi, c = above ? s.hi : 2, d = mad(e, b, c);
        const T d_lo = mad(e, b, c - d) + (above ? s.lo : e * s.lo), r = 1 / d, error = residual(r, Pair<T>{d, d_lo});
        // y·r, times e^−a below 0.
        const auto over_d = [&](Pair<T> y) {
            const Pair<T> p = product(y, r);
            const T whole = p.hi + mad(p.hi, error, p.lo), less = p.hi + exp.growth(p, error);
            return (above ? whole : less * exp.power) * (above ? 1 : Real<T>::DOWN);
        };
        const T start = above ? a : -2 * a, part = above ? a : -a, n = mad(part, step, start);
        const T y = over_d({n, mad(part, step, start - n)});

        // f′ = (A + 4x E²(1 + E)/D)/D above 0;  E(A/E + 4x(1 + E)/D)/D below.
        const T z = above ? 4 * a * e * e : -4 * a, rise = mad(z, e, z);
        const Pair<T> t = product(Pair<T>{rise, mad(z, e, z - rise)}, r), total = sum(s.hi, t.hi);
        return {x > Real<T>::LIMIT ? x : y, over_d(quick_sum(total.hi, total.lo + (s.lo + mad(t.hi, error, t.lo))))};
    }
};

// log(1 + e^x) = max(x, 0) + log(1 + e^{−|x|}).
template <class T>
struct PlainSoftplus {
    explicit PlainSoftplus(double) {}
    UNDERTOW_INLINE T value(T x) const {
        return log_one_plus(Exp<T>(-magnitude(x)).plus(0)) + at_least(x, static_cast<T>(0));
    }
    UNDERTOW_INLINE T slope(T x) const { return Sigmoid<T>(1).value(x); }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }
};

// log(1 + e^{βx})/β: where βx > 0, x + log(1 + e^{−βx})/β.
template <class T>
struct Softplus {
    Factor<T> factor;
    Pair<T> inverse;
    explicit Softplus(double b) : factor(split<T>(b)), inverse(split<T>(1 / b)) {}
    UNDERTOW_INLINE Exp<T> exp(T x) const {
        const Pair<T> z = factor.size(factor.bounded(x));
        return Exp<T>(-z.hi, -z.lo);
    }
    UNDERTOW_INLINE T value(T x) const {
        const T l = log_one_plus(exp(x).plus(0)), whole = factor.above(x) ? x : 0;
        return mad(l, inverse.hi, mad(l, inverse.lo, whole));
    }
    UNDERTOW_INLINE T slope(T x) const { return reflect(factor.above(x), exp(x), Gate<T>(exp(x)).value()); }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }
};

// log σ(x) = −softplus(−x).
template <class T>
struct Logsigmoid {
    PlainSoftplus<T> softplus;
    explicit Logsigmoid(double b) : softplus(b) {}
    UNDERTOW_INLINE T value(T x) const { return -softplus.value(-x); }
    UNDERTOW_INLINE T slope(T x) const { return softplus.slope(-x); }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }
};

// scale·x above 0, alpha·(e^{x·narrow} − 1) below, where the slope is rise·e^{x·narrow}.
template <class T, bool NARROW, bool SCALED>
struct Exponential {
    Pair<T> scale, alpha, rise;
    Factor<T> narrow;
    Exponential(Pair<T> scale, Pair<T> alpha, Pair<T> rise, Pair<T> narrow)
        : scale(scale), alpha(alpha), rise(rise), narrow(narrow) {}
    UNDERTOW_INLINE Exp<T> exp(T x) const {
        const T z = at_least(x, -narrow.bound);
        if constexpr (NARROW) {
            const Pair<T> p = product(narrow.beta, z);
            return Exp<T>(p.hi, p.lo);
        } else {
            return Exp<T>(z);
        }
    }
    UNDERTOW_INLINE T value(T x) const {
        const Pair<T> m = exp(x).minus_one();
        const T y = mad(m.hi, alpha.hi, mad(m.hi, alpha.lo, m.lo * alpha.hi));
        if constexpr (SCALED) {
            const T bounded = at_most(x, std::numeric_limits<T>::max());
            return x > 0 ? mad(x, scale.hi, bounded * scale.lo) : y;
        } else {
            return x > 0 ? x : y;
        }
    }
    UNDERTOW_INLINE T slope(T x) const {
        const Exp<T> e = exp(x);
        const T d = rise.hi + e.growth({rise.hi, mad(rise.lo, e.fraction, rise.lo)}, 0);
        return x > 0 ? scale.hi : e.lift(d, 0);
    }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }
};

template <class T>
struct Elu : Exponential<T, false, false> {
    explicit Elu(double a) : Exponential<T, false, false>({1, 0}, split<T>(a), split<T>(a), {1, 0}) {}
};
template <class T>
struct Celu : Exponential<T, true, false> {
    explicit Celu(double a) : Exponential<T, true, false>({1, 0}, split<T>(a), {1, 0}, inverse(split<T>(a))) {}
    static Pair<T> inverse(Pair<T> a) {
        const T r = 1 / a.hi;
        return {r, r * residual(r, a)};
    }
};
template <class T>
struct Selu : Exponential<T, false, true> {  // the constants of the paper, as every library rounds them
    static constexpr double SCALE = 1.0507009873554804934193349852946;
    explicit Selu(double) : Exponential<T, false, true>(split<T>(SCALE), below(), below(), {1, 0}) {}
    static Pair<T> below() { return split<T>(0x1.c212cc640f031p+0, 0x1.05161b045a1fep-56); }  // SCALE·1.673…
};

}  // namespace UNDERTOW_ISA
