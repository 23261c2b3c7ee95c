// One-pass statistics of tensors and of differences: count, mean, rms, max |x|, zeros, NaNs, infinities, subnormals.
//
// Addresses in, nothing known of torch.  Sums of sixteen numbers at a time are float32, sums of these are float64; the
// same bits on every machine, and for any number of threads.

#include "measure.h"

#include <cmath>
#include <type_traits>

namespace nb = nanobind;

namespace undertow {
namespace {

// after − before: in float64 of float64, else in float32.
template <typename F>
struct Difference {
    using Bits = typename F::Bits;
    using Result = std::conditional_t<sizeof(Bits) == 8, std::uint64_t, std::uint32_t>;
    const Bits *after, *before;
    alignas(BYTES) Result block[BLOCK];

    Difference(const Bits *after_, const Bits *before_) : after(after_), before(before_) {}

    UNDERTOW_INLINE const Result *operator()(std::size_t begin, std::size_t n) {
        constexpr std::size_t MANY = BYTES / sizeof(Bits);
        const Bits *a = after + begin, *b = before + begin;
        std::size_t i = 0;
        for (; i + MANY <= n; i += MANY) vector(a + i, b + i, block + i);
        for (; i < n; ++i) {
            const auto difference = F::one(a[i]) - F::one(b[i]);
            copy_bits(block[i], difference);
        }
        return block;
    }

  private:
    // In the order of `spread`: no statistic depends on it.
    static UNDERTOW_INLINE void vector(const Bits *a, const Bits *b, Result *out) {
        if constexpr (sizeof(Bits) == 8) {
            Vector<double> x, y;
            load(x, a);
            load(y, b);
            x -= y;
            std::memcpy(out, &x, sizeof(x));
        } else {
            Words v, w;
            load(v, a);
            load(w, b);
            Floats x[F::VECTORS], y[F::VECTORS];
            F::template spread<true>(v, x);
            F::template spread<true>(w, y);
            for (std::size_t k = 0; k < F::VECTORS; ++k) x[k] -= y[k];
            std::memcpy(out, x, sizeof(x));
        }
    }
};

template <typename F>
UNDERTOW_INLINE void pass_values(const Values &v, std::size_t begin, std::size_t end, Totals *chunks) {
    using Bits = typename F::Bits;
    const auto *data = static_cast<const Bits *>(v.data);
    if (v.before) {
        Difference<F> source{data, static_cast<const Bits *>(v.before)};
        pass<std::conditional_t<sizeof(Bits) == 8, Double, Single>>(source, begin, end, chunks);
    } else {
        const auto source = [data](std::size_t first, std::size_t) { return data + first; };
        pass<F>(source, begin, end, chunks);
    }
}

#define UNDERTOW_PASS(name, F)                                                                             \
    UNDERTOW_CLONES void name(const Values &v, std::size_t begin, std::size_t end, Totals *chunks) {       \
        pass_values<F>(v, begin, end, chunks);                                                             \
    }
UNDERTOW_PASS(pass_half, Half)
UNDERTOW_PASS(pass_brain, Brain)
UNDERTOW_PASS(pass_single, Single)
UNDERTOW_PASS(pass_double, Double)

double top_of(int code, const Totals &t) {
    if (code == HALF) return Half::one(static_cast<std::uint16_t>(t.top));
    if (code == BRAIN) return Brain::one(static_cast<std::uint16_t>(t.top));
    if (code == SINGLE) return Single::one(static_cast<std::uint32_t>(t.top));
    return Double::one(t.top);
}

void total(int code, const Values &values, std::size_t n, int threads, Totals &t) {
    static constexpr decltype(&pass_half) passes[CODES] = {pass_half, pass_brain, pass_single, pass_double};
    in_chunks(n, threads, t, [&](std::size_t begin, std::size_t end, Totals *chunks) {
        passes[code](values, begin, end, chunks);
    });
}

}  // namespace

void measure(int code, const Values &values, std::size_t n, int threads, double *row) {
    Totals t;
    total(code, values, n, threads, t);
    double top = top_of(values.before && code != DOUBLE ? SINGLE : code, t), unit = 1.0;
    // Squares of doubles leave the range of doubles outside about 1e-154 .. 1e154; there a second pass takes the sums
    // in units of a power of two near the maximum.  1e±140 leaves room for 1e16 values and for 14 digits below it.
    if (code == DOUBLE && top != 0 && !(top > 1e-140 && top < 1e140)) {
        int exponent = 0;
        std::frexp(top, &exponent);
        // The unit must be a finite number, and so must its inverse; 2^1000 lifts the deepest subnormals far enough.
        exponent = exponent < -999 ? -1000 : exponent - 1;
        unit = std::ldexp(1.0, exponent);
        t = Totals();
        t.factor = std::ldexp(1.0, -exponent);
        total(code, values, n, threads, t);
    }
    const double finite = static_cast<double>(n - t.nans - t.infs);
    const bool any = finite > 0;
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    row[0] = static_cast<double>(n);
    row[1] = any ? sum_of(t.sum) / finite * unit : nothing;
    row[2] = any ? std::sqrt(sum_of(t.squares) / finite) * unit : nothing;
    row[3] = any ? top : nothing;
    row[4] = static_cast<double>(t.zeros);
    row[5] = static_cast<double>(t.nans);
    row[6] = static_cast<double>(t.infs);
    row[7] = static_cast<double>(t.subnormals);
}

namespace {

const void *at(std::uintptr_t address) { return reinterpret_cast<const void *>(address); }

void check(int code, std::uintptr_t address, std::size_t n, std::uintptr_t row) {
    if (code < 0 || code >= CODES) throw nb::value_error("statistics takes float16, bfloat16, float32 or float64");
    if ((!address && n) || !row) throw nb::value_error("a tensor without memory");
}

void measure_into(int code, std::uintptr_t data, std::size_t n, std::uintptr_t row, std::uintptr_t before, int threads) {
    check(code, data, n, row);
    unlocked(n, [&] { measure(code, {at(data), at(before)}, n, threads, reinterpret_cast<double *>(row)); });
}

// √Σx² over so many rows; NaN where one of them has a NaN, else inf where one has an infinity.
double norm(std::uintptr_t rows, std::size_t many) {
    const auto *row = reinterpret_cast<const double *>(rows);
    const auto size = [&](std::size_t k) { return row[FIELDS * k] > 0 ? row[FIELDS * k + 2] * std::sqrt(row[FIELDS * k]) : 0; };
    double nans = 0, infs = 0, top = 0, sum = 0;
    for (std::size_t k = 0; k < many; ++k) {
        if (!(row[FIELDS * k] > 0)) continue;
        nans += row[FIELDS * k + 5];
        infs += row[FIELDS * k + 6];
        if (size(k) > top) top = size(k);
    }
    if (nans > 0) return std::numeric_limits<double>::quiet_NaN();
    if (infs > 0) return std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < many && top > 0; ++k) sum += size(k) / top * (size(k) / top);
    return top * std::sqrt(sum);
}

}  // namespace
}  // namespace undertow

void bind_statistics(nb::module_ &m) {
    using namespace undertow;
    m.def("measure", &measure_into, nb::arg("code"), nb::arg("data"), nb::arg("n"), nb::arg("row"),
          nb::arg("before") = 0, nb::arg("threads") = 1,
          "Eight doubles to `row`: the statistics of n values, or of their differences.");
    m.def("norm", &norm, "The norm of all values of so many rows.");
}
