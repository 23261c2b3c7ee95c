#include <nanobind/nanobind.h>

void bind_statistics(nanobind::module_ &m);
void bind_slopes(nanobind::module_ &m);
void bind_pointwise(nanobind::module_ &m);

NB_MODULE(_kernels, m) {
    m.doc() = "undertow's compiled kernels";
    bind_statistics(m);
    bind_slopes(m);
    bind_pointwise(m);
}
