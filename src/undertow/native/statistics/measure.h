// What is measured of values by their address.
#pragma once

#include "chunks.h"

namespace undertow {

constexpr std::size_t FIELDS = 8;  // of a row

// Addresses of the values; `before` is null where there is nothing to subtract.
struct Values {
    const void *data, *before;
};

// The eight numbers of a reading.
void measure(int code, const Values &values, std::size_t n, int threads, double *row);

// How values belong to units: the unit of value i, in the order of memory, is i / inner % units.
struct Layout {
    std::size_t inner, units;
};

// A kernel's derivative, or where `kernel` < 0 the values themselves.
struct Derivative {
    int kernel;
    double parameter, flat;
};

struct SlopeNumbers {
    double mean, rms;
    std::uint64_t flat, dead;
};

// Also a byte a unit to `alive`: whether f' is not 0 for any of its values.
SlopeNumbers slope_numbers(int code, const Derivative &f, std::uintptr_t x, std::size_t n, const Layout &layout,
                           std::uint8_t *alive, int threads);

// The same of ReLU, from its outputs and their row: f' is 1 where an output is not 0.
SlopeNumbers rectified_numbers(int code, std::uintptr_t y, std::size_t n, const double *row, const Layout &layout,
                               std::uint8_t *alive);

}  // namespace undertow
