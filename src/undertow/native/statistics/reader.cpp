#include "reader.h"

namespace nb = nanobind;

namespace undertow {

nb::object interned(const char *name) { return nb::steal(PyUnicode_InternFromString(name)); }

namespace {

// Sparse tensors and those inside torch.func say by a RuntimeError that they have no memory of their own.
nb::object answer(PyObject *result) {
    if (!result) {
        if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) throw nb::python_error();
        PyErr_Clear();
    }
    return nb::steal(result);
}

}  // namespace

nb::object attribute(nb::handle of, const nb::object &name) {
    return answer(PyObject_GetAttr(of.ptr(), name.ptr()));
}
nb::object called(nb::handle of, const nb::object &name) {
    return answer(PyObject_CallMethodNoArgs(of.ptr(), name.ptr()));
}

namespace {

bool whole(const nb::object &number, std::size_t &to) {
    if (!number.is_valid()) return false;
    to = PyLong_AsSize_t(number.ptr());
    if (to == static_cast<std::size_t>(-1) && PyErr_Occurred()) throw nb::python_error();
    return true;
}

double *row_at(std::uintptr_t row) {
    if (!row) throw nb::value_error("no row");
    return reinterpret_cast<double *>(row);
}

// A row is written once: its count is negative until then.
bool written(const double *row) { return row[0] >= 0; }

nb::list read_all(const Reader &reader, const nb::list &tensors, std::uintptr_t rows) {
    double *row = row_at(rows);
    nb::list left;
    std::vector<std::pair<double *, Memory>> jobs;
    std::size_t values = 0;
    jobs.reserve(tensors.size());
    for (std::size_t k = 0; k < tensors.size(); ++k) {
        Memory m;
        if (reader.find(tensors[k], m)) jobs.emplace_back(row + FIELDS * k, m);
        else left.append(k);
        values += jobs.empty() ? 0 : jobs.back().second.n;
    }
    const int threads = reader.threads(values);
    unlocked(values, [&] {
        for (const auto &[to, m] : jobs) measure(m.code, {reinterpret_cast<const void *>(m.at), nullptr}, m.n, threads, to);
    });
    return left;
}

// count, mean, rms, flat, dead: what a row says of slopes.
void write_slope(double *row, std::size_t n, const SlopeNumbers &s) {
    row[0] = static_cast<double>(n);
    row[1] = s.mean;
    row[2] = s.rms;
    row[3] = static_cast<double>(s.flat);
    row[4] = static_cast<double>(s.dead);
}

}  // namespace

Reader::Reader(const nb::sequence &kinds, const nb::sequence &formats, nb::object threads, nb::handle exchange)
    : exchange_(exchange), threads_(std::move(threads)), is_cpu_(interned("is_cpu")), dtype_(interned("dtype")),
      is_contiguous_(interned("is_contiguous")), is_neg_(interned("is_neg")), numel_(interned("numel")),
      data_ptr_(interned("data_ptr")), shape_(interned("shape")) {
    for (nb::handle kind : kinds) kinds_.push_back(nb::borrow(kind));
    for (nb::handle format : formats) formats_.push_back(nb::borrow(format));
    if (formats_.size() != CODES) throw nb::value_error("one dtype a code");
}

bool Reader::find(nb::handle tensor, Memory &found) const {
    const auto is_of = [&](const nb::object &kind) { return (PyObject *)Py_TYPE(tensor.ptr()) == kind.ptr(); };
    if (std::none_of(kinds_.begin(), kinds_.end(), is_of)) return false;
    if (!(exchange_ ? exchange_.find(tensor, found) : ask(tensor, found))) return false;
    return called(tensor, is_neg_).ptr() == Py_False;
}

// The same by attributes, one question each.
bool Reader::ask(nb::handle tensor, Memory &found) const {
    if (attribute(tensor, is_cpu_).ptr() != Py_True) return false;
    const nb::object dtype = attribute(tensor, dtype_);
    found.code = 0;
    while (found.code < CODES && formats_[found.code].ptr() != dtype.ptr()) ++found.code;
    if (found.code == CODES) return false;
    if (called(tensor, is_contiguous_).ptr() != Py_True) return false;
    return whole(called(tensor, data_ptr_), found.at) && found.at && whole(called(tensor, numel_), found.n);
}

bool Reader::lay_out(nb::handle tensor, bool channels_first, std::size_t units, Layout &layout) const {
    const nb::object shape = attribute(tensor, shape_);
    if (!shape.is_valid() || !PyTuple_Check(shape.ptr())) return false;
    const std::size_t dims = static_cast<std::size_t>(PyTuple_GET_SIZE(shape.ptr()));
    const auto size = [&](std::size_t k) { return PyLong_AsSize_t(PyTuple_GET_ITEM(shape.ptr(), k)); };
    const std::size_t along = channels_first && dims > 2 ? 1 : dims - 1;
    layout = {1, units};
    if (!dims || size(along) != units) return false;
    for (std::size_t k = along + 1; k < dims; ++k) layout.inner *= size(k);
    return true;
}

void Reader::measure_at(const Memory &m, double *row) const {
    const int many = threads(m.n);
    unlocked(m.n, [&] { measure(m.code, {reinterpret_cast<const void *>(m.at), nullptr}, m.n, many, row); });
}

bool Reader::read(nb::handle tensor, double *row) const {
    Memory m;
    if (written(row)) return true;
    if (!find(tensor, m)) return false;
    measure_at(m, row);
    return true;
}

bool Reader::slope(nb::handle x, const Derivative &f, bool channels_first, std::size_t units, double *row,
                   std::uint8_t *alive) const {
    Memory m;
    Layout layout;
    if (!find(x, m) || m.code != SINGLE || !lay_out(x, channels_first, units, layout)) return false;
    write_slope(row, m.n, slope_numbers(m.code, f, m.at, m.n, layout, alive, threads(m.n)));
    return true;
}

bool Reader::rectified(nb::handle y, bool channels_first, std::size_t units, double *value, double *row,
                       std::uint8_t *alive) const {
    Memory m;
    Layout layout;
    if (!find(y, m) || !lay_out(y, channels_first, units, layout)) return false;
    if (!written(value)) measure_at(m, value);
    write_slope(row, m.n, rectified_numbers(m.code, m.at, m.n, value, layout, alive));
    return true;
}

int Reader::threads(std::size_t n) const { return n < 2 * GRAIN ? 1 : nb::cast<int>(threads_()); }

}  // namespace undertow

void bind_reader(nb::module_ &m) {
    using namespace undertow;
    nb::class_<Derivative>(m, "Derivative", "A kernel's f', its parameter, and below which |f'| counts as flat.")
        .def("__init__", [](Derivative *self, int kernel, double parameter, double flat) {
            new (self) Derivative{kernel, parameter, flat};
        });
    nb::class_<Reader>(m, "Reader", "Writes what is measured of tensors to rows of eight doubles, by their address.")
        .def(nb::init<const nb::sequence &, const nb::sequence &, nb::object, nb::handle>(), nb::arg("kinds"),
             nb::arg("formats"), nb::arg("threads"), nb::arg("exchange").none())
        .def("read", [](const Reader &r, nb::handle t, std::uintptr_t row) { return r.read(t, row_at(row)); },
             "Whether the statistics of the tensor are in the row: one that is written stays.")
        .def("statistics",
             [](const Reader &r, nb::handle t) -> nb::object {
                 double row[FIELDS];
                 Memory m;
                 if (!r.find(t, m)) return nb::none();
                 r.measure_at(m, row);
                 const auto count = [&](std::size_t k) { return static_cast<std::uint64_t>(row[k]); };
                 return nb::make_tuple(m.n, row[1], row[2], row[3], count(4), count(5), count(6), count(7));
             },
             "The statistics of a tensor as a tuple; None where it is not read.")
        .def("read_all", &read_all, "The same for a list and rows side by side; the places of those that are not read.")
        .def("slope",
             [](const Reader &r, nb::handle x, const Derivative &f, bool channels_first, std::size_t units,
                std::uintptr_t row, std::uintptr_t alive) {
                 return r.slope(x, f, channels_first, units, row_at(row), reinterpret_cast<std::uint8_t *>(alive));
             },
             "Whether the statistics of f'(x) are in the row, and a byte a unit at `alive`.")
        .def("rectified",
             [](const Reader &r, nb::handle y, bool channels_first, std::size_t units, std::uintptr_t value,
                std::uintptr_t row, std::uintptr_t alive) {
                 auto *marks = reinterpret_cast<std::uint8_t *>(alive);
                 return r.rectified(y, channels_first, units, row_at(value), row_at(row), marks);
             },
             "The same of ReLU, with the statistics of its outputs in a row of their own.");
}
