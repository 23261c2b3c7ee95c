// A large tensor in chunks, on several threads; the result has the same bits for any number of them.
#pragma once

#include <vector>

#include <nanobind/nanobind.h>

#include "../pointwise/kernels.h"
#include "pass.h"

namespace undertow {

constexpr std::size_t GRAIN = 2 * CHUNK;  // values that are worth a thread

inline void add(Totals &to, const Totals &t) {
    to.sum += t.sum;
    to.squares += t.squares;
    to.zeros += t.zeros;
    to.subnormals += t.subnormals;
    to.nans += t.nans;
    to.infs += t.infs;
    to.top = std::max(to.top, t.top);
}

// The totals of n values: `range(begin, end, chunks)` is called for ranges that begin at multiples of CHUNK, by several
// threads at a time, and adds chunk k to chunks[k].
template <typename Range>
void in_chunks(std::size_t n, int threads, Totals &total, const Range &range) {
    if (n <= CHUNK) return range(0, n, &total);
    std::vector<Totals> chunks((n + CHUNK - 1) / CHUNK, total);
    const auto body = [&](std::size_t begin, std::size_t end) {  // a chunk is the job of whoever has its first value
        const auto chunk = [n](std::size_t i) { return std::min((i + CHUNK - 1) / CHUNK * CHUNK, n); };
        if (chunk(begin) < chunk(end)) range(chunk(begin), chunk(end), chunks.data());
    };
    using Body = decltype(body);
    const auto call = [](void *data, std::size_t begin, std::size_t end) { (*static_cast<Body *>(data))(begin, end); };
    parallel(n, GRAIN, threads, call, const_cast<void *>(static_cast<const void *>(&body)));
    for (const Totals &t : chunks) add(total, t);
}

// For more values than this the interpreter's lock is given up, which costs something too.
template <typename Work>
void unlocked(std::size_t n, const Work &work) {
    if (n <= CHUNK) return work();
    nanobind::gil_scoped_release release;
    work();
}

}  // namespace undertow
