#include <nanobind/nanobind.h>

void bind_statistics(nanobind::module_ &m);
void bind_slopes(nanobind::module_ &m);
void bind_reader(nanobind::module_ &m);
void bind_samples(nanobind::module_ &m);
void bind_following(nanobind::module_ &m);
void bind_pointwise(nanobind::module_ &m);

NB_MODULE(_kernels, m) {
    m.doc() = "undertow's compiled kernels";
    nanobind::set_leak_warnings(false);  // a module of Python holds a reader until the interpreter ends
    bind_statistics(m);
    bind_slopes(m);
    bind_reader(m);
    bind_samples(m);
    bind_following(m);
    bind_pointwise(m);
}
