"""How each aten operation is spelled in Triton."""

from __future__ import annotations

SPELLED = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "rsub": "{1} - {0}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "abs": "tl.abs({})",
    "square": "{0} * {0}",
    "sqrt": "tl.sqrt_rn({})",
    "rsqrt": "1.0 / tl.sqrt_rn({})",
    "reciprocal": "1.0 / {}",
    "floor": "tl.floor({})",
    "ceil": "tl.ceil({})",
    "sin": "tl.sin({})",
    "cos": "tl.cos({})",
    "relu": "maths.maximum({}, 0.0)",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "isnan": "{0} != {0}",
    "isinf": 'tl.abs({}) == float("inf")',
    "logical_and": "{} & {}",
    "logical_or": "{} | {}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
    "logical_not": "{} == 0",
    "bitwise_not": "{} == 0",
    "where": "tl.where({}, {}, {})",
    "clamp_min": "maths.maximum({}, {})",
    "clamp_max": "maths.minimum({}, {})",
}
HELPED = (*("exp", "expm1", "log1p", "sigmoid", "tanh", "sinh", "cosh", "asinh", "erf", "erfc", "softplus"),)
"""Functions of `mathematics` under their own names, which take FAST."""
PLAIN = "log", "atan", "sign", "maximum", "minimum"
"""Those that don't."""
SAME = "clone", "detach", "alias", "lift_fresh_copy", "_to_copy", "contiguous"
"""Operations that change no value."""
FILLED = {"zeros_like": 0.0, "ones_like": 1.0, "full_like": None, "full": None, "scalar_tensor": None}
"""Operations that give one number everywhere; None where the number is an argument."""
OTHER = "clamp", "pow", "log_sigmoid_forward", "softplus"
KEPT = frozenset((*SPELLED, *HELPED, *PLAIN, *SAME, *FILLED, *OTHER))
"""Operations that tracing leaves whole."""
