// Hooks of a pass that goes as planned.  What is out of the ordinary is handed to the Python object that follows it.

#include <chrono>

#include "reader.h"

namespace nb = nanobind;

namespace undertow {
namespace {

enum Way { PLAIN, RECTIFIED, SLOPE_OF_INPUT, OTHER, WAYS };

// An error of ours is for the owner to tell; the user's program goes on.
void told(const nb::object &owner, const std::exception &error) {
    const auto *raised = dynamic_cast<const nb::python_error *>(&error);
    if (raised) owner.attr("fail")(raised->value());
    else owner.attr("fail")(nb::handle(PyExc_RuntimeError)(error.what()));
}

// Adds the time of a block to a sum.
class Timed {
  public:
    explicit Timed(double &seconds) : seconds_(seconds), start_(Clock::now()) {}
    ~Timed() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

  private:
    using Clock = std::chrono::steady_clock;
    double &seconds_;
    Clock::time_point start_;
};

struct Step {
    nb::object module;
    std::ptrdiff_t source;  // the operation whose output it is given; -1: not to be looked at
    int way;
    std::size_t operation, value, slope, first, units;  // rows, marks and how many
    bool channels_first;
    Derivative derivative;
};

// The modules of a plan, in the order of their calls.
struct Steps {
    const Reader &reader;
    nb::object tensor;  // the class of tensors
    std::vector<Step> steps;
    nb::object grad_fn = interned("grad_fn");

    Steps(const Reader &reader_, nb::object tensor_) : reader(reader_), tensor(std::move(tensor_)) {}

    void add(nb::object module, std::ptrdiff_t source, int way, std::size_t operation, std::size_t value,
             std::size_t slope, std::size_t first, std::size_t units, bool channels_first, nb::object derivative) {
        if (way < 0 || way >= WAYS || (way == SLOPE_OF_INPUT && derivative.is_none())) throw nb::value_error("no such way");
        const Derivative f = derivative.is_none() ? Derivative{} : nb::cast<Derivative>(derivative);
        steps.push_back({std::move(module), source, way, operation, value, slope, first, units, channels_first, f});
    }
};

// A forward hook on all modules.  `owner` is a weak reference: no cycle, so nothing for the collector.
class Follower {
  public:
    bool ok = true;
    double seconds = 0;  // spent in here

    Follower(const Steps &steps, nb::list nodes, std::uintptr_t rows, std::uintptr_t marks, nb::object owner)
        : steps_(steps), nodes_(std::move(nodes)), rows_(reinterpret_cast<double *>(rows)),
          marks_(reinterpret_cast<std::uint8_t *>(marks)), owner_(std::move(owner)) {}

    bool done() const { return ok && at_ == steps_.steps.size(); }

    void call(nb::handle module, nb::handle args, nb::handle output) {
        if (at_ == steps_.steps.size() || !steps_.steps[at_].module.is(module) || !ok) return;
        const Timed timed(seconds);
        const nb::object owner = owner_();
        if (owner.is_none()) return;
        const std::size_t now = at_++;
        try {
            ok = follow(steps_.steps[now], now, args, output, owner);
        } catch (const std::exception &error) {
            ok = false;
            told(owner, error);
        }
    }

  private:
    bool follow(const Step &s, std::size_t now, nb::handle args, nb::handle output, const nb::object &owner) {
        const bool given = PyTuple_Check(args.ptr()) && PyTuple_GET_SIZE(args.ptr()) > 0;
        const nb::handle x = given ? nb::handle(PyTuple_GET_ITEM(args.ptr(), 0)) : nb::handle();
        if (s.source >= 0) {
            if (!given) return false;
            const nb::object before = attribute(x, steps_.grad_fn);
            if (!before.is_valid() || !before.is(nodes_[s.source])) return false;
        }
        if (s.way == OTHER || (PyObject *)Py_TYPE(output.ptr()) != steps_.tensor.ptr())
            return nb::cast<bool>(owner.attr("follow")(now, args, output));
        const nb::object node = attribute(output, steps_.grad_fn);
        if (!node.is_valid() || node.is_none()) return false;
        double *value = rows_ + FIELDS * s.value, *slope = rows_ + FIELDS * s.slope;
        const Reader &reader = steps_.reader;
        bool read = s.way == RECTIFIED
                        ? reader.rectified(output, s.channels_first, s.units, value, slope, marks_ + s.first)
                        : (s.way == PLAIN ||
                           (given && reader.slope(x, s.derivative, s.channels_first, s.units, slope, marks_ + s.first))) &&
                              reader.read(output, value);
        if (!read) return nb::cast<bool>(owner.attr("follow")(now, args, output));
        nodes_[s.operation] = node;
        return true;
    }

    const Steps &steps_;
    nb::list nodes_;
    double *rows_;
    std::uint8_t *marks_;
    nb::object owner_;
    std::size_t at_ = 0;
};

// Hooks on the nodes of one pass, one for each gradient that is read whole.
class Ears {
  public:
    std::int64_t task = -1;  // the backward pass that is told of

    Ears(const Reader &reader, nb::object running, nb::object owner)
        : reader_(reader), running_(std::move(running)), owner_(std::move(owner)) {}

    void point_at(std::uintptr_t rows) { rows_ = reinterpret_cast<double *>(rows); }

    // `carrier` is any tensor: a node takes over the dict of its hooks, at a tenth of the cost of a handle each.  Both
    // names are torch's own affair; with None in its place public hooks are put on the nodes.
    void listen(nb::handle self, const nb::list &nodes, const nb::list &slots, nb::handle carrier) {
        for (std::size_t k = 0; k < nodes.size(); ++k) {
            const nb::object ear = nb::cast(Ear{nb::borrow(self), nb::cast<std::size_t>(slots[k])});
            if (carrier.is_none()) {
                handles_.append(nodes[k].attr("register_prehook")(ear));
                continue;
            }
            nb::dict hooks;
            hooks[nb::int_(0)] = ear;
            nb::setattr(carrier, "_backward_hooks", hooks);
            nodes[k].attr("_register_hook_dict")(carrier);
            hooks_.append(hooks);
        }
        if (!carrier.is_none()) nb::setattr(carrier, "_backward_hooks", nb::none());
    }

    // Nodes may live on in a graph that is kept: they have no hooks any more.
    void close() {
        for (nb::handle hooks : hooks_) nb::borrow<nb::dict>(hooks).clear();
        for (nb::handle handle : handles_) handle.attr("remove")();
        hooks_.clear();
        handles_.clear();
    }

    void hear(std::size_t slot, nb::handle gradient) {
        const Timed timed(seconds);
        const nb::object owner = owner_();
        // A public hook is given the gradients of all outputs.
        const bool several = PyTuple_Check(gradient.ptr());
        if (several) gradient = PyTuple_GET_SIZE(gradient.ptr()) ? PyTuple_GET_ITEM(gradient.ptr(), 0) : Py_None;
        if (owner.is_none() || gradient.is_none()) return;
        try {
            if (nb::cast<std::int64_t>(running_()) != task && !nb::cast<bool>(owner.attr("listening")())) return;
            came = true;
            if (!reader_.read(gradient, rows_ + FIELDS * slot)) owner.attr("put")(slot, gradient);
        } catch (const std::exception &error) {
            told(owner, error);
        }
    }

    bool came = false;  // whether a gradient has
    double seconds = 0;  // spent in here

    struct Ear {
        nb::object ears;
        std::size_t slot;
        void call(nb::handle gradient) const { nb::cast<Ears &>(ears).hear(slot, gradient); }
    };

  private:
    const Reader &reader_;
    nb::object running_, owner_;
    double *rows_ = nullptr;
    nb::list hooks_, handles_;
};

}  // namespace
}  // namespace undertow

void bind_following(nb::module_ &m) {
    using namespace undertow;
    nb::class_<Steps>(m, "Steps", "The modules of a plan in the order of their calls.")
        .def(nb::init<const Reader &, nb::object>(), nb::keep_alive<1, 2>())
        .def("add", &Steps::add, nb::arg("module"), nb::arg("source"), nb::arg("way"), nb::arg("operation"),
             nb::arg("value"), nb::arg("slope"), nb::arg("first"), nb::arg("units"), nb::arg("channels_first"),
             nb::arg("derivative").none());
    nb::class_<Follower>(m, "Follower", "A hook on all modules for one pass.")
        .def(nb::init<const Steps &, nb::list, std::uintptr_t, std::uintptr_t, nb::object>(), nb::keep_alive<1, 2>())
        .def_ro("ok", &Follower::ok)
        .def_ro("seconds", &Follower::seconds)
        .def_prop_ro("done", &Follower::done)
        .def("__call__", &Follower::call, nb::arg("module"), nb::arg("args"), nb::arg("output").none());
    nb::class_<Ears>(m, "Ears", "Hooks on the nodes of one pass.")
        .def(nb::init<const Reader &, nb::object, nb::object>(), nb::keep_alive<1, 2>())
        .def_rw("task", &Ears::task)
        .def_rw("came", &Ears::came)
        .def_ro("seconds", &Ears::seconds)
        .def("point_at", &Ears::point_at)
        .def("listen", [](nb::pointer_and_handle<Ears> self, const nb::list &nodes, const nb::list &slots,
                          nb::handle carrier) { self.p->listen(self.h, nodes, slots, carrier); },
             nb::arg("nodes"), nb::arg("slots"), nb::arg("carrier").none())
        .def("close", &Ears::close);
    nb::class_<Ears::Ear>(m, "Ear").def("__call__", &Ears::Ear::call, nb::arg("gradient").none());
}
