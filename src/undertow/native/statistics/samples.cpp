// Samples of tensors before and after a change, and the statistics of the difference.

#include <numeric>

#include "reader.h"

namespace nb = nanobind;

namespace undertow {
namespace {

constexpr std::size_t WIDTH[CODES] = {2, 2, 4, 8};

// Which values of n: all, or `runs` runs of `length` at even strides.
struct Runs {
    std::size_t runs, length, stride;

    std::size_t values() const { return runs * length; }
    void copy(const void *from, char *to, std::size_t width) const {
        const auto *data = static_cast<const char *>(from);
        for (std::size_t k = 0; k < runs; ++k) std::memcpy(to + k * length * width, data + k * stride * width, length * width);
    }
};

class Samples {
  public:
    // Runs of so many tensors: each (count of values, runs, length, stride).
    Samples(const Reader &reader, const nb::list &runs) : reader_(reader), kept_(runs.size()) {
        for (std::size_t k = 0; k < runs.size(); ++k) {
            const nb::tuple given = nb::cast<nb::tuple>(runs[k]);
            const auto number = [&](std::size_t i) { return nb::cast<std::size_t>(given[i]); };
            kept_[k] = {number(0), {number(1), number(2), number(3)}, -1, {}};
            const Runs &r = kept_[k].runs;
            if (!r.runs || (r.runs - 1) * r.stride + r.length > kept_[k].n) throw nb::value_error("runs out of range");
        }
    }

    // Their statistics to rows side by side, and their samples to our memory; the places of those left out.
    nb::list keep(const nb::list &tensors, std::uintptr_t rows) {
        if (tensors.size() != kept_.size()) throw nb::value_error("other tensors");
        nb::list left;
        std::vector<Memory> found(kept_.size());
        std::size_t values = 0;
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            kept_[k].code = reader_.find(tensors[k], found[k]) && found[k].n == kept_[k].n ? found[k].code : -1;
            if (kept_[k].code < 0) left.append(k);
            else values += found[k].n;
        }
        const int threads = reader_.threads(values);
        unlocked(values, [&] {
            auto *row = reinterpret_cast<double *>(rows);
            for (std::size_t k = 0; k < kept_.size(); ++k) {
                Kept &one = kept_[k];
                if (one.code < 0) continue;
                const auto *data = reinterpret_cast<const void *>(found[k].at);
                measure(one.code, {data, nullptr}, one.n, threads, row + FIELDS * k);
                one.before.resize(one.runs.values() * WIDTH[one.code]);
                one.runs.copy(data, one.before.data(), WIDTH[one.code]);
            }
        });
        return left;
    }

    // The statistics of what changed since in the tensors at these places, to the rows of the places; a row stays as
    // it is where the tensor was left out or is another one now.
    void compare(const nb::list &tensors, const nb::list &places, std::uintptr_t rows) {
        if (tensors.size() != places.size()) throw nb::value_error("a place a tensor");
        std::vector<char> after;
        for (std::size_t k = 0; k < places.size(); ++k) {
            const Kept &one = kept_.at(nb::cast<std::size_t>(places[k]));
            Memory now;
            if (one.code < 0 || !reader_.find(tensors[k], now) || now.code != one.code || now.n != one.n) continue;
            const void *data = reinterpret_cast<const void *>(now.at);
            if (one.runs.runs > 1) {
                after.resize(one.before.size());
                one.runs.copy(data, after.data(), WIDTH[one.code]);
                data = after.data();
            }
            auto *row = reinterpret_cast<double *>(rows) + FIELDS * nb::cast<std::size_t>(places[k]);
            measure(one.code, {data, one.before.data()}, one.runs.values(), 1, row);
        }
    }

  private:
    struct Kept {
        std::size_t n;
        Runs runs;
        int code;  // -1: nothing is kept
        std::vector<char> before;
    };
    const Reader &reader_;
    std::vector<Kept> kept_;
};

}  // namespace
}  // namespace undertow

void bind_samples(nb::module_ &m) {
    using namespace undertow;
    nb::class_<Samples>(m, "Samples", "Samples of tensors before a change, to be compared with those after it.")
        .def(nb::init<const Reader &, const nb::list &>(), nb::keep_alive<1, 2>())
        .def("keep", &Samples::keep)
        .def("compare", &Samples::compare);
}
