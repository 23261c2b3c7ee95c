// The Python side of the loops: addresses in, nothing known of torch.

#include "kernels.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace nb = nanobind;

namespace undertow {
namespace {

constexpr std::size_t GRAIN = 16384;          // elements that are worth a thread
constexpr std::size_t RELEASE = 4096;         // elements that are worth giving up the interpreter's lock
constexpr std::size_t CACHE = std::size_t(32) << 20;  // where the system doesn't say

// The instruction sets that this machine runs, best first.
std::vector<Set> sets() {
    std::vector<Set> found;
#if defined(UNDERTOW_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        found.push_back(avx512::set());
#endif
#if defined(UNDERTOW_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(avx2::set());
#endif
    found.push_back(baseline::set());
    return found;
}

const std::vector<Set> &available() {
    static const std::vector<Set> found = sets();
    return found;
}
Set active = available().front();

// Results of half the last cache and more are written past it: they would only push out what they were made from.
bool past_cache(std::size_t bytes) {
    static const std::size_t cache = [] {
#if defined(_SC_LEVEL3_CACHE_SIZE)
        const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
        if (size > 0) return static_cast<std::size_t>(size);
#endif
        return CACHE;
    }();
    return bytes >= cache / 2;
}

template <class Body>
void spread(std::size_t n, int threads, Body &body) {
    const auto call = [](void *data, std::size_t begin, std::size_t end) { (*static_cast<Body *>(data))(begin, end); };
    if (n < RELEASE) return body(0, n);
    nb::gil_scoped_release release;
    parallel(n, GRAIN, threads, call, &body);
}

template <class T>
void run(Loop<T> loop, std::uintptr_t x, std::uintptr_t g, std::uintptr_t y, std::uintptr_t d, std::size_t n,
         int threads, double parameter) {
    const bool stream = past_cache(n * sizeof(T) * (d ? 2 : 1));
    auto at = [](std::uintptr_t base, std::size_t i) { return base ? reinterpret_cast<T *>(base) + i : nullptr; };
    auto body = [&](std::size_t begin, std::size_t end) {
        loop(at(x, begin), at(g, begin), at(y, begin), at(d, begin), end - begin, parameter, stream);
    };
    spread(n, threads, body);
}

void apply(std::size_t kernel, std::size_t operation, bool twice, std::uintptr_t x, std::uintptr_t g, std::uintptr_t y,
           std::uintptr_t d, std::size_t n, int threads, double parameter) {
    if (operation >= OPERATIONS) throw std::out_of_range("no such operation");
    const Kernel &k = undertow::kernel(kernel);
    if (twice)
        run<double>(k.twice[operation], x, g, y, d, n, threads, parameter);
    else
        run<float>(k.single[operation], x, g, y, d, n, threads, parameter);
}

const std::uint16_t *words(std::uintptr_t p) { return reinterpret_cast<const std::uint16_t *>(p); }

void look_up(std::uintptr_t table, std::uintptr_t x, std::uintptr_t y, std::size_t n, int threads) {
    auto body = [&](std::size_t begin, std::size_t end) {
        lookup(words(table), words(x) + begin, reinterpret_cast<std::uint16_t *>(y) + begin, end - begin);
    };
    spread(n, threads, body);
}

void lookup_times(std::uintptr_t table, std::uintptr_t x, std::uintptr_t g, std::uintptr_t y, std::size_t n,
                  int threads, bool brain) {
    auto body = [&](std::size_t begin, std::size_t end) {
        constexpr std::size_t BLOCK = 1024;
        float slopes[BLOCK];
        for (std::size_t i = begin; i < end; i += BLOCK) {
            const std::size_t m = std::min(BLOCK, end - i);
            lookup(reinterpret_cast<const float *>(table), words(x) + i, slopes, m);
            active.scale(slopes, words(g) + i, reinterpret_cast<std::uint16_t *>(y) + i, m, brain);
        }
    };
    spread(n, threads, body);
}

std::vector<std::string> names() {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < active.count; ++i) all.emplace_back(active.kernels[i].name);
    return all;
}

std::vector<std::string> isas() {
    std::vector<std::string> all;
    for (const Set &set : available()) all.emplace_back(set.isa);
    return all;
}

void choose(const std::string &isa) {
    for (const Set &set : available())
        if (isa == set.isa) {
            active = set;
            return;
        }
    throw nb::value_error("this machine or this build doesn't have that instruction set");
}

}  // namespace

const Kernel &kernel(std::size_t index) {
    if (index >= active.count) throw std::out_of_range("no such kernel");
    return active.kernels[index];
}

}  // namespace undertow

void bind_pointwise(nanobind::module_ &m) {
    using namespace undertow;
    m.def("pointwise", &apply, "One operation of one kernel over n elements at the given addresses (0: none).");
    m.def("lookup", &look_up, "16-bit y = table[x].");
    m.def("lookup_times", &lookup_times, "16-bit y = g·table[x], the table in float32.");
    m.def("pointwise_names", &names, "Names of the kernels, in their order.");
    m.def("isa", [] { return std::string(active.isa); }, "The instruction set in use.");
    m.def("has_float64", [] { return active.fused; }, "Whether its float64 results keep the promised accuracy.");
    m.def("isas", &isas, "Those that this machine and this build have, best first.");
    m.def("choose_isa", &choose, "Use another of them, to test it.");
}
