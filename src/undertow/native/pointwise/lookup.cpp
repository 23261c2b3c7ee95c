// 16-bit formats: every result is looked up in a table of all 65,536, made in wider arithmetic and rounded once.
//
// A processor's gather instructions are slower than plain loads from a cached table, so this file is compiled without
// vector code; four numbers travel in one 64-bit word.

#include "kernels.h"

#include <cstring>

namespace undertow {

void lookup(const std::uint16_t *table, const std::uint16_t *x, std::uint16_t *y, std::size_t n) {
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        std::uint64_t at, found;
        std::memcpy(&at, x + i, sizeof(at));
        found = static_cast<std::uint64_t>(table[at & 0xffff]) | static_cast<std::uint64_t>(table[at >> 16 & 0xffff]) << 16 |
                static_cast<std::uint64_t>(table[at >> 32 & 0xffff]) << 32 | static_cast<std::uint64_t>(table[at >> 48]) << 48;
        std::memcpy(y + i, &found, sizeof(found));
    }
    for (; i < n; ++i) y[i] = table[x[i]];
}

void lookup(const float *table, const std::uint16_t *x, float *y, std::size_t n) {
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        std::uint64_t at;
        std::memcpy(&at, x + i, sizeof(at));
        y[i] = table[at & 0xffff];
        y[i + 1] = table[at >> 16 & 0xffff];
        y[i + 2] = table[at >> 32 & 0xffff];
        y[i + 3] = table[at >> 48];
    }
    for (; i < n; ++i) y[i] = table[x[i]];
}

}  // namespace undertow
