"""From a graph of aten operations to the source of a Triton kernel: load once, compute in float32, store once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from undertow.native.triton.operations import FILLED, HELPED, PLAIN, SAME, SPELLED
from undertow.native.triton.trace import Unsupported, trace

HEADER = """\
import triton
import triton.language as tl

from undertow.native.triton import mathematics as maths


@triton.jit
def kernel({arguments}, count, BLOCK: tl.constexpr, FAST: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    x = tl.load(x_at + i, mask=inside).to(tl.float32)
"""
LOAD_G = "    g = tl.load(g_at + i, mask=inside).to(tl.float32)\n"
STORE = "    tl.store(y{n}_at + i, ({value}).to(y{n}_at.dtype.element_ty), mask=inside)\n"


def generate(*functions: Callable[[Tensor], Tensor], times: bool = False) -> str:
    """The source of a kernel that computes y_k = f_k(x), or with `times` y_k = g · f_k(x), all in one pass.

    Parameters
    ----------
    functions:
        Elementwise, of one float32 tensor, in torch operations; what they share is computed once.
    times:
        Whether the kernel also reads g: the backward pass, if the function is a derivative.

    Returns
    -------
    str
        A module with one function, `kernel(x_at, [g_at], y0_at, ..., count, BLOCK, FAST)`: pointers to memory in
        one order, of float32, float16 or bfloat16.  Computed in float32 and rounded once; FAST: to 1e-5.

    Raises
    ------
    Unsupported
        For an operation that isn't elementwise, or that no kernel has.
    """
    writer = _Writer(trace(functions))
    pointers = ["x_at", *(["g_at"] if times else []), *(f"y{n}_at" for n in range(len(functions)))]
    stores = [STORE.format(n=n, value=f"g * ({y})" if times else y) for n, y in enumerate(writer.results)]
    load = LOAD_G if times else ""
    return HEADER.format(arguments=", ".join(pointers)) + load + "".join(writer.lines) + "".join(stores)


class _Writer:
    """One line for each different operation, by the text of its expression."""

    def __init__(self, graph: Graph) -> None:
        self.lines: list[str] = []
        self.results: list[str] = []
        self._names: dict[str, str] = {}
        self._texts: dict[Node, str] = {}
        for node in graph.nodes:
            self._visit(node)

    def _visit(self, node: Node) -> None:
        if node.op == "placeholder":
            self._texts[node] = "x"
        elif node.op == "get_attr":
            self._texts[node] = _literal(node.meta["number"])
        elif node.op == "output":
            self.results = [self._text(a) for a in node.args[0]]  # pyright: ignore
        elif node.op == "call_function":
            self._texts[node] = self._expression(node)
        else:
            raise Unsupported(f"{node.op} in an elementwise function")

    def _text(self, argument: Any) -> str:
        return self._texts[argument] if isinstance(argument, Node) else _literal(argument)

    def _named(self, expression: str) -> str:
        if expression not in self._names:
            self._names[expression] = name = f"t{len(self._names)}"
            self.lines.append(f"    {name} = {expression}\n")
        return self._names[expression]

    def _expression(self, node: Node) -> str:
        name = getattr(node.target, "_opname", getattr(node.target, "__name__", str(node.target)))
        arguments = [self._text(a) for a in node.args if isinstance(a, (Node, int, float))]
        if name == "getitem":  # of log_sigmoid_forward, whose second result is a buffer
            return arguments[0]
        if name in SAME:
            return self._cast(node, arguments[0])
        if name in FILLED:
            number = FILLED[name]
            return _literal(node.args[-1]) if number is None else _literal(number)
        if node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode") is not None:
            raise Unsupported(f"{node.target} with {dict(node.kwargs)}")
        special = getattr(self, f"_{name}", None)
        if special is not None:
            return special(node, *arguments)
        if name in SPELLED:
            return self._named(SPELLED[name].format(*arguments))
        if name in HELPED:
            return self._named(f"maths.{name}({', '.join(arguments)}, FAST)")
        if name in PLAIN:
            return self._named(f"maths.{name}({', '.join(arguments)})")
        raise Unsupported(f"{node.target} in a kernel")

    def _cast(self, node: Node, x: str) -> str:
        dtype = node.kwargs.get("dtype")
        if dtype not in (None, torch.float32, torch.bool):
            raise Unsupported(f"{dtype} in a kernel of float32")
        source = node.args[0]
        was_bool = isinstance(source, Node) and source.meta["val"].dtype == torch.bool
        return self._named(f"{x}.to(tl.float32)") if was_bool and dtype == torch.float32 else x

    def _div(self, node: Node, a: str, b: str) -> str:
        divisor = node.args[1]
        if isinstance(divisor, (int, float)) and abs(math.frexp(divisor)[0]) == 0.5:
            return self._named(f"{a} * {_literal(1 / divisor)}")
        return self._named(SPELLED["div"].format(a, b))

    def _mul(self, node: Node, a: str, b: str) -> str:
        if "1.0" in (a, b):
            return b if a == "1.0" else a
        return self._named(SPELLED["mul"].format(a, b))

    def _clamp(self, node: Node, x: str, *_: str) -> str:
        low, high = (*node.args[1:], node.kwargs.get("min"), node.kwargs.get("max"))[:2]
        if low is not None:
            x = self._named(f"maths.maximum({x}, {self._text(low)})")
        return x if high is None else self._named(f"maths.minimum({x}, {self._text(high)})")

    def _pow(self, node: Node, base: str, exponent: str) -> str:
        n = node.args[1]
        if not isinstance(n, (int, float)) or n != int(n) or not isinstance(node.args[0], Node):
            return self._root(node, base, n)
        y, square, rest = "", base, abs(int(n))
        while rest:
            if rest & 1:
                y = self._named(f"{y} * {square}") if y else square
            rest >>= 1
            square = self._named(f"{square} * {square}") if rest else square
        y = y or "1.0"
        return y if n >= 0 else self._named(f"1.0 / {y}")

    def _root(self, node: Node, base: str, n: object) -> str:
        if n == 0.5:
            return self._named(SPELLED["sqrt"].format(base))
        if n == -0.5:
            return self._named(SPELLED["rsqrt"].format(base))
        raise Unsupported(f"{node.target} with the exponent {n}")

    def _log_sigmoid_forward(self, node: Node, x: str) -> str:
        return self._named(f"maths.log_sigmoid({x}, FAST)")

    def _softplus(self, node: Node, x: str, beta: str = "1", threshold: str = "20") -> str:
        b = float(beta)
        y = self._named(f"maths.softplus({x if b == 1 else f'{x} * {_literal(b)}'}, FAST)")
        return y if b == 1 else self._named(f"{y} / {_literal(b)}")


def _literal(number: Any) -> str:
    if isinstance(number, bool):
        return str(number)
    if not isinstance(number, (int, float)):
        raise Unsupported(f"{number!r} as a number in a kernel")
    if not math.isfinite(number):
        return f'float("{number}")'
    return f"({float(number)!r})" if number < 0 else repr(float(number))
