// Statistics of an activation's derivative straight from its inputs: each block of f′ is made by a pointwise loop,
// looked at while it is in the first-level cache, and forgotten.

#include "pass.h"

#include <cmath>
#include <vector>

#include <nanobind/nanobind.h>

#include "../pointwise/kernels.h"

namespace nb = nanobind;

namespace undertow {
namespace {

constexpr std::size_t RELEASE = std::size_t(1) << 16;  // values that are worth giving up the interpreter's lock
constexpr std::size_t PERIOD = 64;                     // shorter rows are taken several at a time

struct UncountedSingle : Single {
    static constexpr bool COUNTED = false;
};
struct UncountedDouble : Double {
    static constexpr bool COUNTED = false;
};

// Which units have f′ ≠ 0 anywhere.  The unit of value i, in the order of memory, is i / inner % units.
template <typename Bits>
struct Alive {
    std::size_t inner, units, period;
    std::vector<Bits> seen;  // the bits of all f′ of a unit, one over the other, without the sign
    bool all = false;

    Alive(std::size_t inner_, std::size_t units_)
        : inner(inner_), units(units_),
          period(inner == 1 ? (PERIOD + units - 1) / units * units : units), seen(period) {}

    UNDERTOW_INLINE void see(const Bits *data, std::size_t begin, std::size_t n) {
        if (all) return;
        if (inner == 1) rows(data, begin, n);
        else planes(data, begin, n);
        all = std::all_of(seen.begin(), seen.end(), [](Bits b) { return b != 0; });
    }
    std::size_t dead(std::uint8_t *alive) {
        for (std::size_t k = units; k < period; ++k) seen[k % units] |= seen[k];
        std::size_t none = 0;
        for (std::size_t k = 0; k < units; ++k) none += !(alive[k] = seen[k] != 0);
        return none;
    }

  private:
    UNDERTOW_INLINE void rows(const Bits *data, std::size_t begin, std::size_t n) {
        for (std::size_t i = 0, unit = begin % period; i < n; unit = 0) {
            const std::size_t many = std::min(period - unit, n - i);
            Bits *at = seen.data() + unit;
            for (std::size_t k = 0; k < many; ++k) at[k] |= static_cast<Bits>(data[i + k] << 1);
            i += many;
        }
    }
    UNDERTOW_INLINE void planes(const Bits *data, std::size_t begin, std::size_t n) {
        std::size_t unit = begin / inner % units, done = begin % inner;
        for (std::size_t i = 0; i < n; done = 0, unit = unit + 1 == units ? 0 : unit + 1) {
            const std::size_t many = std::min(inner - done, n - i);
            if (!seen[unit]) {
                Bits any = 0;
                for (std::size_t k = 0; k < many; ++k) any |= static_cast<Bits>(data[i + k] << 1);
                seen[unit] = any;
            }
            i += many;
        }
    }
};

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

// Blocks of f′: computed by `loop`, or as they are where there is none.
template <typename T>
struct Slopes {
    using Bits = BitsOf<T>;
    Loop<T> loop;
    const T *x;
    double parameter;
    Bits flat;  // bits of the threshold
    Alive<Bits> alive;
    T *block;
    std::uint64_t below = 0;

    UNDERTOW_INLINE const Bits *operator()(std::size_t begin, std::size_t n) {
        const T *slopes = x + begin;
        if (loop) {
            loop(slopes, nullptr, block, nullptr, n, parameter, false);
            slopes = block;
        }
        const Bits *data = reinterpret_cast<const Bits *>(slopes);
        using Signed = std::make_signed_t<Bits>;
        Signed count = 0;
        for (std::size_t i = 0; i < n; ++i) count += static_cast<Signed>(data[i] << 1 >> 1) < static_cast<Signed>(flat);
        below += static_cast<std::uint64_t>(count);
        alive.see(data, begin, n);
        return data;
    }
};

// Slopes in a 16-bit format, widened.
template <typename F>
struct Widened {
    Slopes<float> slopes;
    const std::uint16_t *data;

    UNDERTOW_INLINE const std::uint32_t *operator()(std::size_t begin, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) slopes.block[i] = F::one(data[begin + i]);
        slopes.x = slopes.block - begin;
        return slopes(begin, n);
    }
};

UNDERTOW_CLONES void pass_single(Slopes<float> &s, std::size_t n, Totals &t) { pass<UncountedSingle>(s, n, t); }
UNDERTOW_CLONES void pass_double(Slopes<double> &s, std::size_t n, Totals &t) { pass<UncountedDouble>(s, n, t); }
UNDERTOW_CLONES void pass_brain(Widened<Brain> &s, std::size_t n, Totals &t) { pass<UncountedSingle>(s, n, t); }
UNDERTOW_CLONES void pass_half(Widened<Half> &s, std::size_t n, Totals &t) { pass<UncountedSingle>(s, n, t); }

template <typename Source, typename Alive>
nb::tuple results(void (*run)(Source &, std::size_t, Totals &), Source &source, std::size_t n, Alive &units,
                  const std::uint64_t &below, std::uintptr_t alive) {
    Totals t;
    const auto all = [&] { run(source, n, t); };
    if (n < RELEASE) {
        all();
    } else {
        nb::gil_scoped_release release;
        all();
    }
    const double finite = static_cast<double>(n - t.nans - t.infs);  // 0 / 0 where there is none: NaN
    const std::size_t dead = units.dead(reinterpret_cast<std::uint8_t *>(alive));
    return nb::make_tuple(sum_of(t.sum) / finite, std::sqrt(sum_of(t.squares) / finite), below, dead);
}

template <typename T>
Slopes<T> slopes_of(Loop<T> loop, std::uintptr_t x, double parameter, double flat, std::size_t inner,
                    std::size_t units, T *block) {
    const T threshold = static_cast<T>(flat);
    Slopes<T> s{loop, reinterpret_cast<const T *>(x), parameter, {}, {inner, units}, block};
    copy_bits(s.flat, threshold);
    return s;
}

// kernel < 0: the values are slopes.
nb::tuple slopes(int code, int kernel_, std::uintptr_t x, std::size_t n, double parameter, double flat,
                 std::size_t inner, std::size_t units, std::uintptr_t alive) {
    if (!inner || !units || !(flat >= 0)) throw nb::value_error("inner, units and flat are out of range");
    const Kernel *k = kernel_ < 0 ? nullptr : &kernel(static_cast<std::size_t>(kernel_));
    alignas(BYTES) double block[BLOCK];
    auto *floats = reinterpret_cast<float *>(block);
    if (code == DOUBLE) {
        auto s = slopes_of<double>(k ? k->twice[SLOPE] : nullptr, x, parameter, flat, inner, units, block);
        return results(pass_double, s, n, s.alive, s.below, alive);
    }
    if (code == SINGLE) {
        auto s = slopes_of<float>(k ? k->single[SLOPE] : nullptr, x, parameter, flat, inner, units, floats);
        return results(pass_single, s, n, s.alive, s.below, alive);
    }
    if (k || (code != BRAIN && code != HALF)) throw nb::value_error("no kernel makes slopes of this format");
    const auto *data = reinterpret_cast<const std::uint16_t *>(x);
    const auto none = [&] { return slopes_of<float>(nullptr, 0, 0, flat, inner, units, floats); };
    if (code == BRAIN) {
        Widened<Brain> w{none(), data};
        return results(pass_brain, w, n, w.slopes.alive, w.slopes.below, alive);
    }
    Widened<Half> w{none(), data};
    return results(pass_half, w, n, w.slopes.alive, w.slopes.below, alive);
}

}  // namespace
}  // namespace undertow

void bind_slopes(nb::module_ &m) {
    m.def("slopes", &undertow::slopes,
          "(mean, rms, values below `flat`, dead units) of f'(x), and a byte a unit: whether it is alive.");
}
