"""Hot functions on a GPU: our generated kernels, torch eager and torch.compile, as shares of the copy bandwidth.

Needs CUDA.  Where there is none it says so and measures nothing: no number of this file comes from a CPU.
"""

import statistics as sample
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut

ELEMENTS = 1 << 26
"""256 MiB in float32: several times the L2 cache of any GPU, so that every pass comes from memory."""
ROUNDS = 30
DTYPES = (torch.bfloat16, torch.float32)
PEERS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "mish": F.mish,
    "softplus": F.softplus,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "relu_squared": lambda x: F.relu(x).square(),
}
Way = Callable[[Tensor], Tensor]


@pytest.fixture
def gpu():
    if not torch.cuda.is_available():
        print("\nno CUDA here: the Triton kernels are tested in the interpreter only, and no GPU number exists")
        pytest.skip("needs a CUDA GPU")
    return torch.device("cuda")


def milliseconds(work: Callable[[], object]) -> float:
    """The median of single calls, on the GPU's own clock."""
    for _ in range(3):  # compiles, and warms up
        work()
    times = []
    for _ in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sample.median(times)


def copy_rate(x: Tensor) -> float:
    """Bytes in a millisecond, read and written."""
    y = torch.empty_like(x)
    return 2 * x.nbytes / milliseconds(lambda: y.copy_(x))


def passes(function: Way, x: Tensor, g: Tensor) -> tuple[float, float]:
    """Milliseconds of the value without a graph, and of the backward pass alone."""
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    forward = milliseconds(lambda: function(x))
    return forward, milliseconds(lambda: torch.autograd.grad(y, leaf, g, retain_graph=True))


def row(name: str, peer: Way, x: Tensor, g: Tensor, rate: float) -> str:
    ways = {"ours": ut.activation(name), "torch": peer, "compile": torch.compile(peer)}
    timed = {way: passes(function, x, g) for way, function in ways.items()}
    shares = [f"{100 * n * x.nbytes / rate / timed[way][k]:.0f} %" for k, n in ((0, 2), (1, 3)) for way in ways]
    return f"| {name} | {' | '.join(shares)} |"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shares_of_the_copy_bandwidth(benchmark, gpu, dtype):
    x = torch.randn(ELEMENTS, device=gpu, dtype=dtype)
    g, rate = torch.randn_like(x), copy_rate(x)
    lines = benchmark.pedantic(lambda: [row(name, peer, x, g, rate) for name, peer in PEERS.items()], rounds=1)
    print(f"\n{torch.cuda.get_device_name()}, {dtype}, copy {rate / 1e6:.0f} GB/s; value 2 passes, backward 3")
    print("| function | value ours | torch | compile | backward ours | torch | compile |")
    print("|---|---|---|---|---|---|---|", *lines, sep="\n")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
def test_an_activated_linear_against_the_plain_pair(benchmark, gpu, name, dtype):
    act, width = ut.activation(name), 4096
    pair = nn.Sequential(act.layer(), nn.Linear(width, width)).to(gpu, dtype)
    lean = ut.nn.ActivatedLinear(act, width, width).to(gpu, dtype)
    x = torch.randn(8192, width, device=gpu, dtype=dtype, requires_grad=True)

    def step(model: nn.Module) -> Callable[[], None]:
        return lambda: model(x).sum().backward()

    plain, ours = benchmark.pedantic(lambda: [milliseconds(step(model)) for model in (pair, lean)], rounds=1)
    print(f"\nActivatedLinear({name}) {dtype}: {ours:.3f} ms, the plain pair {plain:.3f} ms: {ours / plain:.3f}")
