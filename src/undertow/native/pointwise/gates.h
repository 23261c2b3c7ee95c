// Functions made of σ, written on E = e^{−|z|}, which never overflows.  A result below 0 is scaled by its power of two
// last, so that a subnormal one is rounded once.
#pragma once

#include "piecewise.h"

namespace UNDERTOW_ISA {

// The lower half of σ and what is made of it, from E = (1 + P)·2^n = e^−a:  σ(−a) = E/(1 + E).  All but `tail` leave
// the power of two out, for `Exp::lift`.  The upper half follows: σ(a) = 1 − σ(−a), and with it a·σ(a) = a − a·σ(−a).
template <class T>
struct Gate {
    Exp<T> exp;
    T r, error, half, rough;  // 1/(1 + E) = r·(1 + error); `half` for an E, `rough` for a 1 + E that was rounded

    UNDERTOW_INLINE explicit Gate(T z, T lo) : Gate(Exp<T>(z, lo)) {}
    UNDERTOW_INLINE explicit Gate(Exp<T> e) : exp(e) {
        const Pair<T> s = quick_sum(static_cast<T>(1), exp.value());
        r = 1 / s.hi;
        half = residual(r, s);
        rough = mad(-r, s.hi, static_cast<T>(1));
        error = residual(r, exp.plus(1));
    }
    // σ(−a), in float32 with some of the corrections only: 2 ulp leave room.
    UNDERTOW_INLINE T value() const {
        if constexpr (sizeof(T) == sizeof(float)) {
            return mad(r, exp.fraction + rough, r);
        } else {
            return r + exp.growth({r, 0}, error);
        }
    }
    // x·σ(−a); `times_nearly` as `value`.
    UNDERTOW_INLINE T times(T x) const {
        const Pair<T> p = product(x, r);
        return p.hi + exp.growth(p, error);
    }
    UNDERTOW_INLINE T times_nearly(T x) const {
        if constexpr (sizeof(T) == sizeof(float)) {
            const Pair<T> p = product(x, r);
            return p.hi + mad(p.hi, exp.fraction + half, p.lo);
        } else {
            return times(x);
        }
    }
    // σ(a)σ(−a), as a pair.
    UNDERTOW_INLINE Pair<T> slope() const {
        const Pair<T> s = product(r, r), g = exp.grown(s);
        return {g.hi, mad(g.hi, error + error, g.lo)};
    }
    // The slope of x·σ(z(x)) at z = −a, where x·z′(x) = −w:  (1 − w + E)E/(1 + E)².
    UNDERTOW_INLINE T slope_of_times(Pair<T> w) const {
        const Pair<T> c = quick_sum(static_cast<T>(1), -w.hi), n = quick_sum(c.hi, exp.value()), s = slope();
        return mad(n.hi, s.hi, mad(n.hi, s.lo, (n.lo + (c.lo - w.lo)) * s.hi));
    }
};

template <class T>
UNDERTOW_INLINE T magnitude(T x) { return at_most(absolute(x), Real<T>::LIMIT); }

// y below 0, 1 − y above, y without the power of two of e.
template <class T>
UNDERTOW_INLINE T reflect(bool above, const Exp<T> &e, T y) { return e.lift(above ? -y : y, above ? 1 : 0); }

template <class T>
struct Sigmoid {
    explicit Sigmoid(double) {}
    static UNDERTOW_INLINE Gate<T> gate(T x) { return Gate<T>(Exp<T>(-magnitude(x))); }
    UNDERTOW_INLINE T value(T x) const { return reflect(x >= 0, gate(x).exp, gate(x).value()); }
    UNDERTOW_INLINE T slope(T x) const { return gate(x).exp.lift(gate(x).slope().value(), 0); }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }  // the compiler shares the gate
};

// tanh(x) = −m/(2 + m), m = e^{−2|x|} − 1;  f′ = 4σ(2x)σ(−2x).
template <class T>
struct Tanh {
    explicit Tanh(double) {}
    static UNDERTOW_INLINE Gate<T> gate(T x) { return Sigmoid<T>::gate(2 * x); }
    UNDERTOW_INLINE T value(T x) const {
        const Gate<T> g = gate(x);
        const Pair<T> y = product(g.exp.plus(-1), g.r);
        return with_sign(y.hi + mad(y.hi, g.error, y.lo), x);
    }
    UNDERTOW_INLINE T slope(T x) const { return gate(x).exp.lift(4 * gate(x).slope().value(), 0); }
    UNDERTOW_INLINE Both<T> both(T x) const { return {value(x), slope(x)}; }
};

// x·σ(x).
template <class T>
struct Silu {
    explicit Silu(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T a = magnitude(x);
        const Gate<T> gate(Exp<T>(-a));
        return {gate.exp.lift(gate.times_nearly(-a), at_least(x, static_cast<T>(0))),
                reflect(x >= 0, gate.exp, gate.slope_of_times({a, 0}))};
    }
};

// βx, for an x within the limits of the exponential.
template <class T>
struct Factor {
    Pair<T> beta;
    T bound;
    explicit Factor(Pair<T> b) : beta(b), bound(Real<T>::LIMIT / absolute(b.hi)) {}
    UNDERTOW_INLINE T bounded(T x) const { return at_most(absolute(x), bound); }
    UNDERTOW_INLINE bool above(T x) const { return beta.hi * x >= 0; }
    // |β|·a for a ≥ 0.
    UNDERTOW_INLINE Pair<T> size(T a) const {
        const Pair<T> z = product(beta, a);
        return beta.hi < 0 ? Pair<T>{-z.hi, -z.lo} : z;
    }
};

// x·σ(βx).
template <class T>
struct Swish {
    Factor<T> factor;
    explicit Swish(double beta) : factor(split<T>(beta)) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const T a = factor.bounded(x);
        const Pair<T> z = factor.size(a);
        const Gate<T> gate(-z.hi, -z.lo);
        const bool above = factor.above(x);
        const T part = gate.times(with_sign(a, x));
        return {gate.exp.lift(above ? -part : part, above ? x : 0), reflect(above, gate.exp, gate.slope_of_times(z))};
    }
};
template <class T>
struct QuickGelu : Swish<T> {
    explicit QuickGelu(double) : Swish<T>(1.702) {}
};

// x·(1 + tanh(√(2/π)(x + 0.044715x³)))/2 = x·σ(z), z = bx + cx³.
template <class T>
struct GeluTanh {
    explicit GeluTanh(double) {}
    UNDERTOW_INLINE T value(T x) const { return both(x).value; }
    UNDERTOW_INLINE T slope(T x) const { return both(x).slope; }
    UNDERTOW_INLINE Both<T> both(T x) const {
        const Pair<T> b = split<T>(0x1.9884533d43651p+0, -0x1.cbc0d30ebfd15p-54);
        const Pair<T> c = split<T>(0x1.2444f2a4d8b4bp-4, -0x1.3023b0e5fbc6ep-58);
        const T a = at_most(absolute(x), static_cast<T>(sizeof(T) == 4 ? 11.2 : 26.6));  // z = 118, 1385
        const Pair<T> p = product(product(a, a), c), s = sum(b.hi, p.hi);
        const Pair<T> z = product(Pair<T>{s.hi, s.lo + (p.lo + b.lo)}, a);
        const T twice = 2 * p.hi, w = mad(twice, a, z.hi), w_lo = mad(twice, a, z.hi - w) + mad(2 * p.lo, a, z.lo);
        const Gate<T> gate(-z.hi, -z.lo);
        return {gate.exp.lift(gate.times(-a), at_least(x, static_cast<T>(0))),
                reflect(x >= 0, gate.exp, gate.slope_of_times({w, w_lo}))};
    }
};

}  // namespace UNDERTOW_ISA
