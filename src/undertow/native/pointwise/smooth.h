// Functions made of the exponential.  Written on e^{−|z|}, which never overflows; a product with it is scaled by its
// power of two last, so that a subnormal result is rounded once.
#pragma once

#include "piecewise.h"

namespace UNDERTOW_ISA {

template <class T>
UNDERTOW_INLINE Pair<T> pick(bool first, Pair<T> a, Pair<T> b) {
    return {first ? a.hi : b.hi, first ? a.lo : b.lo};
}
template <class T>
UNDERTOW_INLINE Pair<T> one() { return {1, 0}; }
template <class T>
UNDERTOW_INLINE Pair<T> plus(Pair<T> a, Pair<T> b) {
    const Pair<T> s = sum(a.hi, b.hi);
    return {s.hi, s.lo + (a.lo + b.lo)};
}
template <class T>
UNDERTOW_INLINE Pair<T> plus(T c, Pair<T> b) {  // |c| ≥ |b|
    const Pair<T> s = quick_sum(c, b.hi);
    return {s.hi, s.lo + b.lo};
}

// σ(z), x·σ(z) and their slopes, from E = e^{−|z|}:  σ(z) = 1/(1 + E) above 0, E/(1 + E) below.
template <class T>
struct Gate {
    const T z;
    const bool above;
    const Exp<T> exp;
    const Pair<T> mantissa, e, s, r;  // E = mantissa·2^n = e,  s = 1 + E,  r = 1/s

    UNDERTOW_INLINE explicit Gate(T z, T lo = 0)  // |z| ≤ LIMIT
        : z(z), above(z >= 0), exp(above ? -z : z, above ? -lo : lo), mantissa(exp.mantissa()), e(exp.scale(mantissa)),
          s(plus(static_cast<T>(1), e)), r(reciprocal(s)) {}

    // y·E where E was left out of y, below 0.
    UNDERTOW_INLINE T scale(T y) const { return above ? y : exp.scale(y); }
    UNDERTOW_INLINE T value() const { return scale(product(pick(above, one<T>(), mantissa), r).value()); }
    // x·σ(z), where 0 < |bounded| stands for an infinite x.
    UNDERTOW_INLINE T times(T x, T bounded) const {
        return scale(scaled(x, product(pick(above, one<T>(), mantissa), r), bounded));
    }
    // σ(z)σ(−z).
    UNDERTOW_INLINE T slope() const { return exp.scale(product(mantissa, product(r, r)).value()); }
    // The slope of x·σ(z(x)), given w = x·z′(x), which has the sign of z:  σ(z)(1 + w σ(−z)).
    UNDERTOW_INLINE T slope_of_times(Pair<T> w) const {
        const Pair<T> n = plus(s, pick(above, product(e, w), w));
        return scale(product(product(n, pick(above, one<T>(), mantissa)), product(r, r)).value());
    }
};

template <class T>
UNDERTOW_INLINE T limited(T z) { return at_most(at_least(z, -Real<T>::LIMIT), Real<T>::LIMIT); }
template <class T>
UNDERTOW_INLINE T finite(T x) {
    return at_most(at_least(x, std::numeric_limits<T>::lowest()), std::numeric_limits<T>::max());
}

template <class T>
struct Sigmoid {
    explicit Sigmoid(double) {}
    UNDERTOW_INLINE T value(T x) const { return Gate<T>(limited(x)).value(); }
    UNDERTOW_INLINE T slope(T x) const { return Gate<T>(limited(x)).slope(); }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Gate<T> gate(limited(x));
        return {gate.value(), gate.slope()};
    }
};

// parameter·x as a pair that stays within the limits of the exponential.
template <class T>
UNDERTOW_INLINE Pair<T> argument(Pair<T> parameter, T x) {
    const T c = finite(x), z = parameter.hi * c;
    const bool inside = absolute(z) < Real<T>::LIMIT;
    return {limited(z), inside ? mad(parameter.lo, c, product_error(parameter.hi, c, z)) : 0};
}

// x·σ(βx).
template <class T>
struct Swish {
    Pair<T> beta;
    explicit Swish(double b) : beta(split<T>(b)) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Pair<T> z = argument(beta, x);
        const Gate<T> gate(z.hi, z.lo);
        const T y = gate.times(x, finite(x));
        return {z.hi <= -Real<T>::LIMIT ? static_cast<T>(0) : y, gate.slope_of_times(z)};
    }
};

template <class T>
struct QuickGelu : Swish<T> {
    explicit QuickGelu(double) : Swish<T>(1.702) {}
};

// x·(1 + tanh(√(2/π)(x + 0.044715x³)))/2 = x·σ(z), z = ax + bx³.
template <class T>
struct GeluTanh {
    explicit GeluTanh(double) {}
    static UNDERTOW_INLINE T bound(T x) {
        constexpr T most = static_cast<T>(sizeof(T) == 4 ? 12.8 : 26.6);  // |z| = 170, 1385: within the limit
        return at_least(at_most(x, most), -most);
    }
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Pair<T> a = {static_cast<T>(0x1.9884533d43651p+0), low(0x1.9884533d43651p+0, -0x1.cbc0d30ebfd15p-54)};
        const Pair<T> b = {static_cast<T>(0x1.2444f2a4d8b4bp-4), low(0x1.2444f2a4d8b4bp-4, -0x1.3023b0e5fbc6ep-58)};
        const T c = bound(x);
        const Pair<T> cubic = product(product(product(c, c), b), c), linear = product(a, c);
        const Pair<T> z = normal(plus(linear, cubic)), w = plus(linear, Pair<T>{3 * cubic.hi, 3 * cubic.lo});
        const Gate<T> gate(z.hi, z.lo);
        return {gate.times(gate.above ? x : c, c), gate.slope_of_times(w)};
    }

  private:
    // What the constant hi + lo has left below a T.
    static UNDERTOW_INLINE T low(double hi, double lo) {
        return static_cast<T>(hi - static_cast<double>(static_cast<T>(hi)) + lo);
    }
    static UNDERTOW_INLINE Pair<T> normal(Pair<T> a) { return quick_sum(a.hi, a.lo); }
};

// x·Φ(x);  f′ = Φ(x) + xφ(x).  Both from e^{−a²/2}, a = |x|, and Q(a)e^{a²/2}.
template <class T>
struct Gelu {
    explicit Gelu(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T a = at_most(absolute(x), Tail<T>::END);
        const Pair<T> square = product(a, a), q = scaled_tail(a);
        const Exp<T> exp(static_cast<T>(-0.5) * square.hi, static_cast<T>(-0.5) * square.lo);
        const Pair<T> e = exp.mantissa();
        const bool above = x >= 0;

        const Pair<T> upper = product(e, q);  // Q(a) without its power of two
        const Pair<T> phi = pick(above, rest(exp.scale(upper)), upper);
        const T y = scaled(above ? x : -a, phi, above ? a : -a);

        const Pair<T> density = {static_cast<T>(0x1.9884533d43651p-2), root()}, p = product(density, a);
        const Pair<T> u = sum(q.hi, -p.hi), v = product(e, Pair<T>{u.hi, u.lo + (q.lo - p.lo)});
        const Pair<T> slope = pick(above, rest(exp.scale(v)), v);
        return {(above ? y : exp.scale(y)), (above ? slope.value() : exp.scale(slope.value()))};
    }

  private:
    static UNDERTOW_INLINE T root() {  // what 1/√(2π) has left below a T
        constexpr double c = 0x1.9884533d43651p-2;
        return static_cast<T>(c - static_cast<double>(static_cast<T>(c)) - 0x1.bc0da0bd7e67dp-56);
    }
    static UNDERTOW_INLINE Pair<T> rest(Pair<T> b) { return plus(static_cast<T>(1), Pair<T>{-b.hi, -b.lo}); }
};

// tanh(x) = −m/(2 + m), m = e^{−2|x|} − 1;  f′ = 4(1 + m)/(2 + m)².
template <class T>
struct Tanh {
    explicit Tanh(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Exp<T> exp(at_least(-2 * absolute(x), -Real<T>::LIMIT));
        const Pair<T> m = exp.minus_one(), s = quick_sum(static_cast<T>(2), m.hi);
        const Pair<T> r = reciprocal(Pair<T>{s.hi, s.lo + m.lo}), y = product(m, r);
        return {with_sign(y.value(), x), exp.scale(4 * product(exp.mantissa(), product(r, r)).value())};
    }
};

// x·tanh(log(1 + e^x)) = x·A/D with E = e^{−|x|}:  A = 1 + 2E, D = A + 2E² above 0;  A = E(2 + E), D = 2 + A below.
template <class T>
struct Mish {
    explicit Mish(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T z = limited(x);
        const bool above = z >= 0;
        const Exp<T> exp(above ? -z : z);
        const Pair<T> mantissa = exp.mantissa(), e = exp.scale(mantissa), squared = product(e, e);
        const Pair<T> e2 = {2 * e.hi, 2 * e.lo}, squared2 = {2 * squared.hi, 2 * squared.lo};
        const Pair<T> a = plus(above ? static_cast<T>(1) : static_cast<T>(2), pick(above, e2, e));  // A, or A/E
        const Pair<T> ea = product(e, a);
        const Pair<T> d = pick(above, plus(a, squared2), plus(static_cast<T>(2), ea)), r = reciprocal(d);
        const Pair<T> m = pick(above, one<T>(), mantissa);
        const T bounded = above ? finite(x) : z;
        const T y = scaled(above ? x : z, product(product(a, m), r), bounded);

        // f′ = A/D + 4x E²(1 + E)/D² above 0;  (A/E · D + 4x(1 + E))/D² · E below.
        const Pair<T> rise = product(plus(static_cast<T>(1), e), pick(above, squared, one<T>()));
        const Pair<T> ad = product(a, d), l = product(rise, 4 * z), n = plus(ad, l);
        const T slope = product(product(n, m), product(r, r)).value();
        return {above ? y : exp.scale(y), above ? slope : exp.scale(slope)};
    }
};

// log(1 + e^{βx})/β.
template <class T>
struct Softplus {
    Pair<T> beta, inverse;
    explicit Softplus(double b) : beta(split<T>(b)), inverse(reciprocal(beta)) {}
    UNDERTOW_INLINE T value(T x) const {
        const Pair<T> z = argument(beta, x);
        const bool above = z.hi >= 0;
        const Exp<T> exp(above ? -z.hi : z.hi, above ? -z.lo : z.lo);
        const Pair<T> l = log_one_plus(exp.scale(exp.mantissa()));
        const T y = product(inverse, plus(pick(above, z, Pair<T>{0, 0}), l)).value();
        return z.hi >= Real<T>::LIMIT ? x : y;
    }
    UNDERTOW_INLINE T slope(T x) const {
        const Pair<T> z = argument(beta, x);
        return Gate<T>(z.hi, z.lo).value();
    }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }  // the exponential is shared
};

// log σ(x) = −softplus(−x).
template <class T>
struct Logsigmoid {
    Softplus<T> softplus;
    explicit Logsigmoid(double) : softplus(1.0) {}
    UNDERTOW_INLINE T value(T x) const { return -softplus.value(-x); }
    UNDERTOW_INLINE T slope(T x) const { return softplus.slope(-x); }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Both<T> b = softplus.both(-x);
        return {-b.value, b.slope};
    }
};

// scale·x above 0, scale·α(e^{x/width} − 1) below.
template <class T>
struct Exponential {
    Pair<T> scale, alpha, rise, narrow;  // scale, scale·α, scale·α/width, 1/width
    Exponential(Pair<T> scale, Pair<T> alpha, Pair<T> rise, Pair<T> narrow)
        : scale(scale), alpha(alpha), rise(rise), narrow(narrow) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T below = at_most(x, static_cast<T>(0));
        const Pair<T> z = argument(narrow, below);
        const Exp<T> exp(z.hi, z.lo);
        const T y = product(alpha, exp.minus_one()).value(), d = exp.scale(product(rise, exp.mantissa()).value());
        return {x > 0 ? scaled(x, scale, finite(x)) : y, x > 0 ? scale.hi : d};
    }
};

template <class T>
struct Elu : Exponential<T> {
    explicit Elu(double a) : Exponential<T>(one<T>(), split<T>(a), split<T>(a), one<T>()) {}
};
template <class T>
struct Celu : Exponential<T> {
    explicit Celu(double a) : Exponential<T>(one<T>(), split<T>(a), one<T>(), reciprocal(split<T>(a))) {}
};
template <class T>
struct Selu : Exponential<T> {  // the constants of the paper, as every library rounds them
    explicit Selu(double)
        : Exponential<T>(split<T>(SCALE), product(split<T>(SCALE), split<T>(ALPHA)),
                         product(split<T>(SCALE), split<T>(ALPHA)), one<T>()) {}

  private:
    static constexpr double SCALE = 1.0507009873554804934193349852946, ALPHA = 1.6732632423543772848170429916717;
};

}  // namespace UNDERTOW_ISA
