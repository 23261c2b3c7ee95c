"""Step functions in the user's source: comparisons and rounding, whose derivative is 0 or missing."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from undertow.cures.surgery.calls import calls
from undertow.cures.surgery.cut import cut_calls
from undertow.cures.surgery.place import Place, bracketed
from undertow.cures.training import Training

COMPARED = {"gt", "ge", "lt", "le"}
ROUNDED = {"sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "heaviside"}
CASTS = {"float", "double", "half", "bfloat16", "to", "type", "type_as"}


@dataclass(frozen=True)
class Step:
    place: Place
    whole: ast.expr
    """With the cast that makes numbers of a comparison."""
    argument: str
    """What the step is taken of: `h - 0.5` of `h > 0.5`."""
    signed: bool
    """Whether it goes from -1 to 1, and not from 0 to 1."""
    rounds: bool
    """Whether it has many steps of 1, and so follows its argument."""
    simple: bool
    """Whether the argument is a name, which can be written twice."""

    @property
    def text(self) -> str:
        return self.place.source(self.whole)

    @property
    def alone(self) -> bool:
        """Whether nothing but an assignment, a return or a call's brackets is around it."""
        outer = next(iter(Place.around(self.place)), None)
        for node in self.place.around():
            if self.whole in ast.iter_child_nodes(node):
                outer = node
        return isinstance(outer, ast.Assign | ast.Return | ast.AnnAssign)


def steps(training: Training) -> list[Step]:
    """Those that cut weights off, each once."""
    rounded = {id(c.place): c for c in calls(training) if c.name in ROUNDED and any(t.requires_grad for t in c.tensors)}
    found = [*cut_calls(training), *rounded.values()]
    made = [_step(c.name, c.place) for c in found if c.place and c.graded]
    return list({step.place: step for step in made if step is not None}.values())


def _step(name: str, place: Place) -> Step | None:
    node = place.node
    if name in COMPARED and isinstance(node, ast.Compare) and len(node.ops) == 1:
        more, less = node.left, node.comparators[0]
        if isinstance(node.ops[0], ast.Lt | ast.LtE):
            more, less = less, more
        zero = isinstance(less, ast.Constant) and less.value == 0
        above = bracketed(place.source(more), more)
        argument = place.source(more) if zero else f"{above} - {bracketed(place.source(less), less)}"
        return Step(place, _cast(place, node), argument, False, False, zero and _is_name(more))
    operand = place.operand
    if name not in ROUNDED or operand is None or node is None:
        return None
    rounds = name not in ("sign", "sgn", "heaviside")
    return Step(place, node, place.source(operand), name in ("sign", "sgn"), rounds, _is_name(operand))


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _cast(place: Place, node: ast.expr) -> ast.expr:
    """`(h > 0).float()` for `h > 0`: what makes numbers of it."""
    around = list(place.around())
    match around[:2]:
        case [ast.Attribute(attr=attr), ast.Call() as call] if attr in CASTS and call.func is around[0]:
            return call
    return node
