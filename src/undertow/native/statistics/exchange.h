// Where the values of a tensor lie, by DLPack's table of C functions (version 1.3): one call in place of five questions
// asked in Python.  The layouts are those of the standard, https://dmlc.github.io/dlpack/latest/c_api.html.
#pragma once

#include <cstdint>

#include <nanobind/nanobind.h>

#include "formats.h"

namespace undertow {

struct Memory {
    int code;
    std::uintptr_t at;
    std::size_t n;
};

class Exchange {
  public:
    // `capsule` may be None; a table of another major version is not used.
    explicit Exchange(nanobind::handle capsule) {
        constexpr const char *NAME = "dlpack_exchange_api";
        if (!PyCapsule_IsValid(capsule.ptr(), NAME)) return;
        auto *table = static_cast<const Table *>(PyCapsule_GetPointer(capsule.ptr(), NAME));
        if (table->major == 1) describe_ = table->describe;
    }
    explicit operator bool() const { return describe_ != nullptr; }

    // False where they do not lie side by side in the memory of this machine, in one of the formats.
    bool find(nanobind::handle tensor, Memory &found) const {
        Description d;
        if (describe_(tensor.ptr(), &d)) {
            // Sparse tensors and those inside torch.func say by a RuntimeError that they have no memory of their own.
            if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) throw nanobind::python_error();
            PyErr_Clear();
            return false;
        }
        found.code = format(d);
        found.at = reinterpret_cast<std::uintptr_t>(d.data) + d.offset;
        found.n = 1;
        for (std::int32_t k = d.dims; k-- > 0; found.n *= static_cast<std::size_t>(d.shape[k]))
            if (d.shape[k] != 1 && d.strides[k] != static_cast<std::int64_t>(found.n)) return false;
        return d.data && d.device == CPU && found.code < CODES;
    }

  private:
    static constexpr std::int32_t CPU = 1;
    static constexpr std::uint8_t FLOAT = 2, BFLOAT = 4;

    struct Description {
        void *data;
        std::int32_t device, device_number, dims;
        std::uint8_t kind, bits;
        std::uint16_t lanes;
        std::int64_t *shape, *strides;
        std::uint64_t offset;
    };
    struct Table {
        std::uint32_t major, minor;
        const void *older;
        void (*allocate)(), (*managed)(), (*to_object)();
        int (*describe)(void *object, Description *to);
    };

    static int format(const Description &d) {
        if (d.lanes != 1) return CODES;
        if (d.kind == BFLOAT && d.bits == 16) return BRAIN;
        if (d.kind != FLOAT) return CODES;
        return d.bits == 16 ? HALF : d.bits == 32 ? SINGLE : d.bits == 64 ? DOUBLE : CODES;
    }

    int (*describe_)(void *, Description *) = nullptr;
};

}  // namespace undertow
