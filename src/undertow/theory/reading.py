"""Reads a real model: one forward pass on tensors without values; each operation becomes the law that it follows."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_leaves, tree_map

from undertow.activations import Pointwise, applied, recognise
from undertow.activations.custom import Custom
from undertow.foundation import Effect, InputError, ModelError
from undertow.foundation.calls import seeing
from undertow.record import Site
from undertow.record.names import own_class
from undertow.record.operations import PLUMBING, effect_of, operation_name
from undertow.record.stack import Stack
from undertow.theory.blueprint import Blueprint
from undertow.theory.copies import representatives
from undertow.theory.expressions import ENDS, Expressions
from undertow.theory.inputs import arguments, roles_of_input
from undertow.theory.laws import WHOLE, Activate, Bridged, Call, Embedding, Given, Law, Slot, Spelt, is_field, law_of
from undertow.theory.owners import Owners
from undertow.theory.shapes import Shapes
from undertow.theory.signal import measured
from undertow.theory.silent import Silent
from undertow.theory.untouched import as_in_training, disturbing_nothing, inside, untouched, values_untouched

TABLES = {"embedding", "embedding_bag"}
MAKERS = {
    *(f"{kind}_like" for kind in ("zeros", "ones", "full", "empty", "rand", "randn")),
    *(f"new_{kind}" for kind in ("zeros", "ones", "full", "empty", "tensor")),
}
"""Operations that take no more than the shape and format of a tensor."""


def read(model: nn.Module, inputs: Any) -> Blueprint:
    """The blueprint of a model for this input: a tensor, a tuple of arguments or a dict of keyword arguments.

    The forward pass runs in training mode on tensors that have a shape and no values (a model of any width costs the
    same), and on the real input where its course depends on values.  Weights, buffers, modes and the random state
    are afterwards what they were.

    Raises
    ------
    ModelError
        The model's weights are not there yet (lazy modules), or its forward pass fails.
    InputError
        The input holds no tensor, or the output does not depend on it.
    """
    args, kwargs = arguments(inputs)
    if not any(isinstance(t, Tensor) for t in tree_leaves((args, kwargs))):
        raise InputError(f"an input of {type(inputs).__name__} without a tensor", "a batch", "forecast(model, x)")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise ModelError("a model with lazy modules", "weights, which a first batch makes", "model(batch) first")
    meta = next((name for name, p in model.named_parameters() if p.is_meta), None)
    if meta is not None:
        got = f"a model whose weights have no values ({meta} is on the meta device)"
        raise ModelError(got, "a model with its weights", "model.to_empty(device='cpu'), then initialise")
    with untouched(model), as_in_training(model), torch.no_grad():
        try:
            return _Reader(model, FakeTensorMode(allow_non_fake_inputs=True)).read(args, kwargs)
        except Exception:  # control flow that depends on values, an operation that knows no shapes only
            with values_untouched(model):
                return _on_values(model, args, kwargs)


def look(model: nn.Module, inputs: Any, silent: Silent) -> Blueprint:
    """Reads the model again, on the real input, and shows `silent` what each activation receives.

    Raises
    ------
    ModelError, InputError
        As `read`.
    """
    args, kwargs = arguments(inputs)
    with untouched(model), as_in_training(model), torch.no_grad(), values_untouched(model):
        return _on_values(model, args, kwargs, silent)


def _on_values(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], silent: Silent | None = None
) -> Blueprint:
    try:
        return _Reader(model, None, silent).read(args, kwargs)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        got = f"{type(error).__name__} in the forward pass with an input of shape {shapes}: {error}"
        raise ModelError(got, "a model that takes this input", "model(input)") from error


class _Reader:
    """One forward pass."""

    def __init__(self, model: nn.Module, fake: FakeTensorMode | None, silent: Silent | None = None) -> None:
        self.model, self.fake, self.silent = model, fake, silent
        self.shapes = Shapes(fake) if fake else None
        self.stack = Stack(model)
        self.owners = Owners(model)
        numbers = sum(p.numel() for p in model.parameters())
        name, equal = type(model).__name__, representatives(model.named_parameters())
        self.blueprint = Blueprint(name, parameters=numbers, trained=self.owners.trained, equal=equal)
        self.made: dict[int, int] = {}
        self.kept: list[Tensor] = []
        self.own = {id(t) for t in (*model.parameters(), *model.buffers())}
        self.inputs: dict[int, Tensor] = {}
        self.learnt: set[int] = set()
        """Nodes that depend on a parameter: others have no gradient, and no site in a ledger."""
        self.coded: set[int] = set()
        """A first input of whole numbers: bytes of an image, a signal once they are floating-point numbers."""
        self.expressions = Expressions()
        self.closed: list[nn.Module] = []
        """A module that one law covers, while it runs."""

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Blueprint:
        self.coded = {id(t) for t in args[:1] if isinstance(t, Tensor) and not t.is_floating_point()}
        args, kwargs = tree_map(self._given, (args, kwargs))
        with self.fake or contextlib.nullcontext(), seeing(self.call, self.enter, self.leave):
            output = inside(self.model)(*args, **kwargs)
        found = [self.made[id(t)] for t in tree_leaves(output) if isinstance(t, Tensor) and id(t) in self.made]
        if not found:
            raise InputError("a model whose output does not depend on its input", "one that does", "forecast(model, x)")
        self.blueprint.outputs = found
        self._settle_inputs()
        return self.blueprint

    # ------------------------------------------------------------ tensors

    def _given(self, value: Any) -> Any:
        if not is_field(value):
            return value
        made = self.fake.from_tensor(value.detach()) if self.fake else value.detach().clone()
        with unset_fake_temporarily():
            signal = measured(value, roles_of_input(value, ""))
        index = self.blueprint.add(Given(tuple(value.shape), signal=signal))
        self.inputs[index] = value
        self._note(made, index)
        return made

    def _note(self, tensor: Tensor, index: int) -> None:
        self.made[id(tensor)] = index
        self.kept.append(tensor)

    def _settle_inputs(self) -> None:
        """What an input's axes mean is known from what reads it first."""
        readers = self.blueprint.readers()
        for index, value in self.inputs.items():
            first = next((self.blueprint.nodes[i].law for i in readers[index]), None)
            roles = roles_of_input(value, type(first).__name__ if first else "")
            law = Given(tuple(value.shape), signal=measured(value, roles))
            self.blueprint.nodes[index] = self.blueprint.nodes[index]._replace(law=law)

    # ------------------------------------------------------------ modules

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.stack.enter(module)
        whole = not own_class(module).__module__.startswith("torch.nn")
        if whole and not self.closed and self._of_module(module, args, None) is not None:
            self.closed.append(module)

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        frame = self.stack.leave(module)
        if not self.closed and is_field(output) and id(output) not in self.made:
            self._bridge(module, args, output)
        if not self.closed or self.closed[-1] is not module:
            return
        self.closed.pop()
        if isinstance(output, Tensor) and frame is not None:
            law = self._of_module(module, args, output)
            assert law is not None
            name = law.spelled or own_class(module).__name__.lower()
            site = self.stack.functional(name, law.effect)
            if frame.held:
                site = Site(frame.path, name, frame.call, law.effect, functional=bool(law.spelled))
            sources = [self.made[id(a)] for a in args if isinstance(a, Tensor) and id(a) in self.made]
            names = self.owners.of(module.parameters())
            self._note(output, self.blueprint.add(law, *sources[:1], site=site, parameters=names))
            self.learnt.add(self.made[id(output)])

    def _of_module(self, module: nn.Module, args: tuple[Any, ...], output: Tensor | None) -> Law | None:
        """The law of a whole module of the user's own, given one signal."""
        if not args or id(args[0]) not in self.made or isinstance(module, torch.jit.ScriptModule):
            return None
        shape = tuple((args[0] if output is None else output).shape)
        with unset_fake_temporarily():
            found = recognise(module)
            if isinstance(found, Pointwise):
                return Activate(shape, activation=found)
            call = Call("", module, (Slot(0),), {}, (tuple(args[0].shape),), shape)
            return next((law for ask in WHOLE if (law := ask(module, args, call)) is not None), None)

    def _bridge(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """A module whose inside can't be seen: TorchScript, or code of its own."""
        shown = isinstance(output, FakeTensor) or isinstance(module, torch.jit.ScriptModule)  # else made of constants
        if shown and any(isinstance(t, Tensor) and id(t) in self.made for t in args):
            self._made_by(own_class(module).__name__.lower(), disturbing_nothing(module), args, {}, output)

    # ------------------------------------------------------------ operations

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.closed:
            return function(*args, **kwargs)
        name = args[1].name if function is applied else operation_name(function)
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name in MAKERS and isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return function(torch.empty(args[0].shape, dtype=args[0].dtype), *args[1:], **kwargs)
        if any(id(t) in self.made for t in leaves):
            return self._follow(name, function, args, kwargs)
        if self.fake and self._writes_own(function, args):
            return args[0]
        if self.fake is None or any(isinstance(t, FakeTensor) for t in leaves):
            output = function(*args, **kwargs)
        else:
            with unset_fake_temporarily():
                output = function(*args, **kwargs)
        if name in TABLES:
            return self._looked_up(name, output, self.owners.of(leaves))
        if any(id(t) in self.coded for t in leaves) and isinstance(output, Tensor) and output.is_floating_point():
            return self._given(output)
        self.owners.pass_on(name, leaves, output)
        return output

    def _writes_own(self, function: Any, args: tuple[Any, ...]) -> bool:
        """Whether a call in place would change the model."""
        name = getattr(function, "__name__", "")
        in_place = name.endswith("_") != name.endswith("__") or name in ("__iadd__", "__setitem__", "__imul__")
        return in_place and bool(args) and id(args[0]) in self.own

    def _looked_up(self, name: str, output: Tensor, names: tuple[str, ...]) -> Tensor:
        """Rows of a table: from here on a signal."""
        roles = "S" + "P" * (output.ndim - 2) + "F"
        with unset_fake_temporarily():
            law = Embedding(tuple(output.shape), signal=measured(output, roles))
        made = self.fake.from_tensor(output.detach()) if self.fake else output
        self._note(made, self.blueprint.add(law, site=self.stack.site(name, "weights"), parameters=names))
        self.learnt.add(self.made[id(made)])
        return made

    def _follow(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run = self.shapes.run(name, function, args, kwargs) if self.shapes else function(*args, **kwargs)
        return self._made_by(name, function, args, kwargs, run)

    def _made_by(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Notes what a call has made as nodes."""
        sources: list[int] = []
        shapes: list[tuple[int, ...]] = []
        formats: list[torch.dtype] = []

        def slot(value: Any) -> Any:
            if not isinstance(value, Tensor) or id(value) not in self.made:
                return value
            sources.append(self.made[id(value)])
            shapes.append(tuple(value.shape))
            formats.append(value.dtype)
            return Slot(len(sources) - 1)

        slotted, slotted_kwargs = tree_map(slot, (args, kwargs))
        tensors = [t for t in tree_leaves(output) if is_field(t)]
        names = self.owners.of(t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        first: int | None = None
        for place, tensor in enumerate(tensors):
            shape = tuple(tensor.shape)
            call = Call(name, function, slotted, slotted_kwargs, tuple(shapes), shape, place, tuple(formats))
            with unset_fake_temporarily():
                index = self._node(call, sources, effect_of(name, args), names)
            self.blueprint.nodes[index] = self.blueprint.nodes[index]._replace(first=first)
            if self.silent is not None:
                self.silent.look(index, Activate.read(call), args)
            first = index if first is None else first
            self._note(tensor, index)
        return output

    def _node(self, call: Call, sources: list[int], effect: Effect, names: tuple[str, ...]) -> int:
        name, direct = call.operation, Activate.read(call)
        spelled = self.expressions.law(call, sources)
        hidden = any(isinstance(t, FakeTensor) for t in tree_leaves((call.args, dict(call.kwargs))))
        law: Law = direct or (None if hidden else law_of(call)) or Bridged.read(call)
        given = sources
        if spelled is not None and (direct is not None or len(sources) > 1 or self._ends(spelled[0], name)):
            law, given = spelled[0], [spelled[1]]
            if direct is None and self._ends(spelled[0], name):
                name = spelled[0].activation.name
            elif direct is None:
                law = Spelt(law.shape, activation=spelled[0].activation)
        effect = law.effect if law.effect != "other" else effect
        index = self.blueprint.add(law, *given, parameters=names)
        if self.owners.trains(names) or any(s in self.learnt for s in sources):
            self.learnt.add(index)
            if name not in PLUMBING and not call.output:  # those that have a site in a ledger
                node = self.blueprint.nodes[index]
                self.blueprint.nodes[index] = node._replace(site=self.stack.site(name, effect))
        self.expressions.note(index, call, sources, bent=isinstance(law, Activate))
        return index

    def _ends(self, law: Activate, operation: str) -> bool:
        """Whether the call is the last of those that spell out a function of the catalogue."""
        return operation in ENDS and not isinstance(law.activation, Custom)
