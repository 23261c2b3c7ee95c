// Tensors by what any program in Python can ask of them: no header of torch, and one build for every torch.
#pragma once

#include <vector>

#include "exchange.h"
#include "measure.h"

namespace undertow {

class Reader {
  public:
    // `kinds`: the classes of tensors with memory of their own; `formats`: the dtypes by their code; `threads` gives
    // how many there are; `exchange`: the tensors' `__dlpack_c_exchange_api__`, None where there is none.
    Reader(const nanobind::sequence &kinds, const nanobind::sequence &formats, nanobind::object threads,
           nanobind::handle exchange);

    // The statistics of a tensor to a row, where it is one that can be read; a row that is written stays as it is.
    bool read(nanobind::handle tensor, double *row) const;
    // The statistics of f'(x), and a byte a unit.
    bool slope(nanobind::handle x, const Derivative &f, bool channels_first, std::size_t units, double *row,
               std::uint8_t *alive) const;
    // The same of ReLU by its outputs, whose own statistics go to `value`.
    bool rectified(nanobind::handle y, bool channels_first, std::size_t units, double *value, double *row,
                   std::uint8_t *alive) const;

    // False where the values do not lie side by side in the memory of this machine, in one of the formats.
    bool find(nanobind::handle tensor, Memory &found) const;
    // How the last dimension (or the second) divides so many values without gaps.
    bool lay_out(nanobind::handle tensor, bool channels_first, std::size_t units, Layout &layout) const;
    int threads(std::size_t n) const;

    void measure_at(const Memory &m, double *row) const;

  private:
    bool ask(nanobind::handle tensor, Memory &found) const;

    Exchange exchange_;
    std::vector<nanobind::object> kinds_, formats_;
    nanobind::object threads_, is_cpu_, dtype_, is_contiguous_, is_neg_, numel_, data_ptr_, shape_;
};

nanobind::object interned(const char *name);
// The answer of Python; invalid where it is a RuntimeError.
nanobind::object attribute(nanobind::handle of, const nanobind::object &name);
nanobind::object called(nanobind::handle of, const nanobind::object &name);

}  // namespace undertow
