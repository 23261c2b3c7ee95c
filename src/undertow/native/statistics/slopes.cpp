// Statistics of an activation's derivative straight from its inputs: each block of f′ is made by a pointwise loop,
// looked at while it is in the first-level cache, and forgotten.

#include "alive.h"

#include <cmath>
#include <mutex>

namespace nb = nanobind;

namespace undertow {
namespace {

struct UncountedSingle : Single {
    static constexpr bool COUNTED = false;
};
struct UncountedDouble : Double {
    static constexpr bool COUNTED = false;
};

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

struct Task {
    std::uintptr_t x;
    Derivative f;
    Layout layout;
};

// Blocks of f′: computed by `loop`, or as they are where there is none.
template <typename T>
struct Slopes {
    using Bits = BitsOf<T>;
    Loop<T> loop;
    const T *x;
    double parameter;
    Bits flat;  // bits of the threshold
    Alive<Bits> alive;
    std::uint64_t below = 0;
    alignas(BYTES) T block[BLOCK];

    Slopes(const Task &task, Loop<T> loop_)
        : loop(loop_), x(reinterpret_cast<const T *>(task.x)), parameter(task.f.parameter), alive(task.layout) {
        const T threshold = static_cast<T>(task.f.flat);
        copy_bits(flat, threshold);
    }
    void add(const Slopes &other) {
        below += other.below;
        alive.add(other.alive);
    }

    UNDERTOW_INLINE const Bits *operator()(std::size_t begin, std::size_t n) {
        const Bits *data = of(x + begin, n);
        alive.see(data, begin, n);
        return data;
    }

  protected:
    UNDERTOW_INLINE const Bits *of(const T *slopes, std::size_t n) {
        if (loop) {
            loop(slopes, nullptr, block, nullptr, n, parameter, false);
            slopes = block;
        }
        const Bits *data = reinterpret_cast<const Bits *>(slopes);
        using Signed = std::make_signed_t<Bits>;
        Signed count = 0;
        for (std::size_t i = 0; i < n; ++i) count += static_cast<Signed>(data[i] << 1 >> 1) < static_cast<Signed>(flat);
        below += static_cast<std::uint64_t>(count);
        return data;
    }
};

// f' costs several times what reading x does.  Of many values it is computed for SAMPLE of them, in short runs from the
// first to the last: that gives the rms to 1/(2 sqrt(SAMPLE)) = 0.2 % where f' varies as much as its rms.
constexpr std::size_t SAMPLE = CHUNK, RUN = 128, RUNS = SAMPLE / RUN;
constexpr std::size_t SEEN = 16;  // values of a unit, without which nothing is said by a sample

// The same of a sample: value i of it lies in run i / RUN.
template <typename T>
struct Sampled : Slopes<T> {
    using typename Slopes<T>::Bits;
    std::size_t room, period;
    alignas(BYTES) T gathered[BLOCK];

    Sampled(const Task &task, Loop<T> loop_, std::size_t n)
        : Slopes<T>(task, loop_), period(std::min(task.layout.inner * task.layout.units, n / 2)) {
        room = n - RUN - period;
    }

    UNDERTOW_INLINE const Bits *operator()(std::size_t begin, std::size_t n) {
        const std::size_t first = begin / RUN, runs = n / RUN;
        for (std::size_t k = 0; k < runs; ++k)
            std::memcpy(gathered + k * RUN, this->x + origin(first + k), RUN * sizeof(T));
        const Bits *data = this->of(gathered, n);
        for (std::size_t k = 0; k < runs; ++k) this->alive.see(data + k * RUN, origin(first + k), RUN);
        return data;
    }

  private:
    // At even distances, and there at other units each time: multiples of the golden section are spread evenly.
    std::size_t origin(std::size_t run) const {
        const std::uint64_t turn = static_cast<std::uint32_t>(run * 0x9e3779b9u);
        return run * room / (RUNS - 1) + static_cast<std::size_t>(turn * period >> 32);
    }
};
static_assert(BLOCK % RUN == 0, "whole runs a block");

// Slopes in a 16-bit format, widened.
template <typename F>
struct Widened : Slopes<float> {
    const std::uint16_t *data;

    Widened(const Task &task, Loop<float>)
        : Slopes<float>(task, nullptr), data(reinterpret_cast<const std::uint16_t *>(task.x)) {}

    UNDERTOW_INLINE const std::uint32_t *operator()(std::size_t begin, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) block[i] = F::one(data[begin + i]);
        x = block - begin;
        return Slopes<float>::operator()(begin, n);
    }
};

#define UNDERTOW_PASS(name, F, Source)                                                               \
    UNDERTOW_CLONES void name(Source &source, std::size_t begin, std::size_t end, Totals *chunks) {  \
        pass<F>(source, begin, end, chunks);                                                         \
    }
UNDERTOW_PASS(pass_single, UncountedSingle, Slopes<float>)
UNDERTOW_PASS(pass_double, UncountedDouble, Slopes<double>)
UNDERTOW_PASS(pass_brain, UncountedSingle, Widened<Brain>)
UNDERTOW_PASS(pass_half, UncountedSingle, Widened<Half>)
UNDERTOW_PASS(sample_single, UncountedSingle, Sampled<float>)
UNDERTOW_PASS(sample_double, UncountedDouble, Sampled<double>)

// Of the finite ones among n; 0 / 0 where there is none: NaN.
double finite(const Totals &t, std::size_t n) { return static_cast<double>(n - t.nans - t.infs); }
double mean_of(const Totals &t, std::size_t n) { return sum_of(t.sum) / finite(t, n); }
double rms_of(const Totals &t, std::size_t n) { return std::sqrt(sum_of(t.squares) / finite(t, n)); }

template <typename Source, typename T>
SlopeNumbers results(void (*run)(Source &, std::size_t, std::size_t, Totals *), const Task &task, Loop<T> loop,
                     std::size_t n, int threads, std::uint8_t *alive) {
    Totals t;
    Source all(task, loop);
    unlocked(n, [&] {
        std::mutex one_at_a_time;
        in_chunks(n, threads, t, [&](std::size_t begin, std::size_t end, Totals *chunks) {
            if (end - begin == n) return run(all, begin, end, chunks);
            Source part(task, loop);
            run(part, begin, end, chunks);
            const std::lock_guard<std::mutex> lock(one_at_a_time);
            all.add(part);
        });
    });
    return {mean_of(t, n), rms_of(t, n), all.below, all.alive.dead(alive)};
}

// By a sample; false where it leaves a unit without a slope, which only all values can tell.
template <typename T>
bool sampled(void (*run)(Sampled<T> &, std::size_t, std::size_t, Totals *), const Task &task, Loop<T> loop,
             std::size_t n, std::uint8_t *alive, SlopeNumbers &found) {
    if (!loop || n < 2 * SAMPLE || task.layout.units > SAMPLE / SEEN) return false;
    Totals t;
    Sampled<T> some(task, loop, n);
    unlocked(n, [&] { run(some, 0, SAMPLE, &t); });
    const double share = static_cast<double>(some.below) / SAMPLE;
    found = {mean_of(t, SAMPLE), rms_of(t, SAMPLE), static_cast<std::uint64_t>(std::llround(share * static_cast<double>(n))),
             some.alive.dead(alive)};
    return found.dead == 0;
}

template <typename Bits>
std::size_t dead_units(std::uintptr_t y, std::size_t n, const Layout &layout, std::uint8_t *alive) {
    const auto *data = reinterpret_cast<const Bits *>(y);
    Alive<Bits> found(layout);
    unlocked(n, [&] {
        for (std::size_t i = 0; i < n && !found.all; i += BLOCK) found.see(data + i, i, std::min(BLOCK, n - i));
    });
    return found.dead(alive);
}

}  // namespace

SlopeNumbers slope_numbers(int code, const Derivative &f, std::uintptr_t x, std::size_t n, const Layout &layout,
                           std::uint8_t *alive, int threads) {
    const Kernel *k = f.kernel < 0 ? nullptr : &kernel(static_cast<std::size_t>(f.kernel));
    const Task task{x, f, layout};
    const Loop<double> twice = k ? k->twice[SLOPE] : nullptr;
    const Loop<float> single = k ? k->single[SLOPE] : nullptr;
    SlopeNumbers found;
    if (code == SINGLE && sampled(sample_single, task, single, n, alive, found)) return found;
    if (code == DOUBLE && sampled(sample_double, task, twice, n, alive, found)) return found;
    if (code == DOUBLE) return results(pass_double, task, twice, n, threads, alive);
    if (code == SINGLE) return results(pass_single, task, single, n, threads, alive);
    if (k || (code != BRAIN && code != HALF)) throw nb::value_error("no kernel makes slopes of this format");
    if (code == BRAIN) return results(pass_brain, task, single, n, threads, alive);
    return results(pass_half, task, single, n, threads, alive);
}

SlopeNumbers rectified_numbers(int code, std::uintptr_t y, std::size_t n, const double *row, const Layout &layout,
                               std::uint8_t *alive) {
    const std::size_t dead = code == DOUBLE ? dead_units<std::uint64_t>(y, n, layout, alive)
                             : code == SINGLE ? dead_units<std::uint32_t>(y, n, layout, alive)
                                              : dead_units<std::uint16_t>(y, n, layout, alive);
    const double zeros = row[4], numbers = row[0] - row[5], mean = (numbers - zeros) / numbers;
    return {mean, std::sqrt(mean), static_cast<std::uint64_t>(zeros), dead};
}

namespace {

// kernel < 0: the values are slopes.
nb::tuple slopes(int code, int kernel_, std::uintptr_t x, std::size_t n, double parameter, double flat,
                 std::size_t inner, std::size_t units, std::uintptr_t alive, int threads) {
    if (!inner || !units || !(flat >= 0)) throw nb::value_error("inner, units and flat are out of range");
    if (!alive || !x) throw nb::value_error("a tensor without memory");
    const SlopeNumbers found = slope_numbers(code, {kernel_, parameter, flat}, x, n, {inner, units},
                                             reinterpret_cast<std::uint8_t *>(alive), threads);
    return nb::make_tuple(found.mean, found.rms, found.flat, found.dead);
}

}  // namespace
}  // namespace undertow

void bind_slopes(nb::module_ &m) {
    m.def("slopes", &undertow::slopes,
          "(mean, rms, values below `flat`, dead units) of f'(x), and a byte a unit: whether it is alive.");
}
