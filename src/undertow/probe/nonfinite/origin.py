"""Where the first value that is not finite arose: one pass run again with a look at every call and every node.

An infinity that is written (a mask of -inf) is no fault, nor is one that nothing carries on: the search starts from
what went wrong, the model's output or a gradient, and goes back to the call that first made it so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from undertow.probe.nonfinite.search import Call, Given, Search, Value, first_value, run
from undertow.record import Origin, Reading


class Pass(Protocol):
    """A forward pass that was kept (see `probe.witness`)."""

    @property
    def gradients(self) -> dict[int, Tensor]: ...
    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def setting(self) -> AbstractContextManager[None]: ...


@dataclass(eq=False)
class Fault:
    """A node of the backward pass: finite values came in and others went out."""

    node: Any
    value: Value
    incoming: Given
    outgoing: Reading


def origin_of(twin: nn.Module, kept: Pass, step: int) -> Origin | None:
    """The first value of a pass that is not finite; None where all are finite.  Uses up `twin`'s gradients.

    Parameters
    ----------
    twin:
        A replica of the model (see `probe.replica`), with the weights of the step.
    kept:
        The pass; without a gradient that came in at its output, one of random values is sent.
    step:
        For the origin.
    """
    with kept.setting():
        search = Search(twin)
        output = run(search, *kept.inputs())
        outputs = {i: t for i, t in enumerate(tree_leaves(output)) if isinstance(t, Tensor)}
        root = next((b.root for t in outputs.values() if (b := search.known(t)) is not None and b.root), None)
        if root is not None:
            operands, made = _operands(twin, kept, root)
            return _origin(step, root, "forward", root.value, operands, made or root.reading)
        given = kept.gradients or _random_gradients(outputs)
        value = first_value(given.values())
        if value is not None:
            came = Given.of(given.values()).together.inputs[0]
            return _origin(step, Call("loss", "loss"), "backward", value, Given.of(outputs.values()), came)
        fault = _backward(outputs, given)
        for parameter in twin.parameters():
            parameter.grad = None
        if fault is None:
            outside = Origin(step, "loss", "loss", "backward", "nan", None, (), exact=False)
            return None if kept.gradients else outside
        call = search.nodes.get(fault.node) or Call("forward", fault.node.name().removesuffix("Backward"))
    inputs = fault.incoming + _operands(twin, kept, call)[0]
    return _origin(step, call, "backward", fault.value, inputs, fault.outgoing, exact=bool(kept.gradients))


def _origin(
    step: int,
    call: Call,
    direction: Literal["forward", "backward"],
    value: Value,
    given: Given,
    made: Reading | None,
    exact: bool = True,
) -> Origin:
    of = step, call.site, call.operation, direction, value, call.source
    return Origin(*of, given.inputs, exact, made, given.ranges)


def _operands(twin: nn.Module, kept: Pass, call: Call) -> tuple[Given, Reading | None]:
    """What the call was given and made: read in one more run, the first just before it, since it may overwrite them."""
    if not call.number:
        return Given(), None
    with kept.setting():
        search = Search(twin, call.number)
        run(search, *kept.inputs())
    return search.operands, search.made


def _backward(outputs: dict[int, Tensor], given: dict[int, Tensor]) -> Fault | None:
    """Sends the gradients in and listens at every node for the first one that makes a value that is not finite."""
    found: list[Fault] = []

    def listen(node: Any) -> Any:
        def hook(outgoing: tuple[Tensor | None, ...], incoming: tuple[Tensor | None, ...]) -> None:
            if found:
                return
            came = [g for g in incoming if g is not None]
            value = first_value((*came, *outgoing))
            if value is not None:
                found.append(Fault(node, value, Given.of(came).together, _sent(came, outgoing)))

        return hook

    tensors = [outputs[i] for i in given]
    handles = [node.register_hook(listen(node)) for node in _reachable(t.grad_fn for t in tensors)]
    try:
        torch.autograd.backward(tensors, list(given.values()))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _sent(incoming: list[Tensor], outgoing: tuple[Tensor | None, ...]) -> Reading:
    return Given.of([g for g in outgoing if g is not None] or incoming).together.inputs[0]


def _reachable(nodes: Iterator[Any]) -> set[Any]:
    seen: set[Any] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [n for n, _ in node.next_functions]
    return seen


def _random_gradients(outputs: dict[int, Tensor]) -> dict[int, Tensor]:
    return {i: torch.randn_like(t) / t.numel() for i, t in outputs.items() if t.requires_grad and t.numel()}
