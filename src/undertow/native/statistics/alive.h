// Which units have a value other than 0.
#pragma once

#include <vector>

#include "formats.h"
#include "measure.h"

namespace undertow {

constexpr std::size_t PERIOD = 64;  // shorter rows are taken several at a time

template <typename Bits>
struct Alive {
    std::size_t inner, units, period;
    std::vector<Bits> seen;  // the bits of all values of a unit, one over the other, without the sign
    bool all = false;

    explicit Alive(const Layout &layout)
        : inner(layout.inner), units(layout.units),
          period(inner == 1 ? (PERIOD + units - 1) / units * units : units), seen(period) {}

    UNDERTOW_INLINE void see(const Bits *data, std::size_t begin, std::size_t n) {
        if (all) return;
        if (inner == 1) rows(data, begin, n);
        else planes(data, begin, n);
        all = std::all_of(seen.begin(), seen.end(), [](Bits b) { return b != 0; });
    }
    void add(const Alive &other) {
        for (std::size_t k = 0; k < period; ++k) seen[k] |= other.seen[k];
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

}  // namespace undertow
