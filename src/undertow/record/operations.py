"""Which torch functions do what to the backward value.

Names are `func.__name__` as a TorchFunctionMode sees them, with leading and trailing underscores dropped, so that
`add`, `__add__`, `__iadd__` and `add_` are one operation.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from undertow.foundation import Effect

WEIGHTS = {
    "linear",
    "bilinear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_tbc",
    "embedding",
    "embedding_bag",
}
PRODUCTS = {"matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "einsum", "tensordot", "inner", "dot"}
"""`weights` where one operand is a Parameter (or a view of one); else a product of two signals, `other`."""
NORMALISATION = {
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "rms_norm",
    "local_response_norm",
    "normalize",
}
BRANCHING = {"add", "radd", "iadd", "sub", "rsub", "isub", "cat", "concat", "concatenate", "stack", "hstack", "vstack"}
PLUMBING = {
    "view",
    "view_as",
    "reshape",
    "reshape_as",
    "flatten",
    "unflatten",
    "ravel",
    "transpose",
    "swapaxes",
    "swapdims",
    "permute",
    "movedim",
    "moveaxis",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "to",
    "float",
    "double",
    "half",
    "bfloat16",
    "type",
    "type_as",
    "cpu",
    "cuda",
    "clone",
    "t",
    "adjoint",
    "detach",
    "requires_grad",
    "get",
    "set",
    "alias",
    "pixel_shuffle",
    "pixel_unshuffle",
    "roll",
    "flip",
    "rot90",
    "register_hook",
    "retain_grad",
    "backward",
}
"""Moves or copies values one to one: the backward value keeps its rms."""
_OPEN = "; ut.examine(model, batch, loss, unroll=True) computes one batch in the open"
FUSED = {
    "lstm": "fused LSTM: gates not observable" + _OPEN,
    "gru": "fused GRU: gates not observable" + _OPEN,
    "rnn_tanh": "fused RNN: hidden states between time steps not observable" + _OPEN,
    "rnn_relu": "fused RNN: hidden states between time steps not observable" + _OPEN,
    "lstm_cell": "fused LSTM cell: gates not observable" + _OPEN,
    "gru_cell": "fused GRU cell: gates not observable" + _OPEN,
    "rnn_tanh_cell": "fused RNN cell: its sum before the tanh is not observable" + _OPEN,
    "rnn_relu_cell": "fused RNN cell: its sum before the ReLU is not observable" + _OPEN,
    "scaled_dot_product_attention": "fused attention: its softmax is not observable" + _OPEN,
    "multi_head_attention_forward": "fused attention: its projections and softmax are not observable" + _OPEN,
}
CHANNELS_FIRST = {name for name in WEIGHTS if name.startswith("conv")}


def operation_name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__).strip("_")


def effect_of(operation: str, args: tuple[Any, ...]) -> Effect:
    """The effect of an operation that is no activation."""
    if operation in WEIGHTS or (operation in PRODUCTS and any(map(is_weight, args))):
        return "weights"
    if operation in NORMALISATION:
        return "normalisation"
    return "branching" if operation in BRANCHING else "other"


def is_weight(operand: Any) -> bool:
    if isinstance(operand, tuple | list):
        return any(map(is_weight, operand))
    if not isinstance(operand, Tensor):
        return False
    return isinstance(operand, nn.Parameter) or (operand._is_view() and isinstance(operand._base, nn.Parameter))
