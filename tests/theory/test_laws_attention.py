"""Attention, its parts and its networks, held against plain torch at random initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from sizes import errors
from torch import Tensor, nn
from torch.nn import functional as F

import undertow as ut

WIDTH, HEADS, TOKENS = 128, 4, 24
PARTS = ["norm", "q", "k", "v", "out", "norm2", "up", "act", "down"]


class Block(nn.Module):
    """Pre-norm (or post-norm) block with attention in one call, by hand, or by einsum."""

    def __init__(self, way: str = "fused", causal: bool = True, post: bool = False) -> None:
        super().__init__()
        self.way, self.causal, self.post = way, causal, post
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.act, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        self.softmax = nn.Softmax(-1)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        if self.way == "fused":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            z = torch.einsum("bhid,bhjd->bhij", q, k) if self.way == "einsum" else q @ k.transpose(-2, -1)
            z = z / math.sqrt(q.shape[-1])
            if self.causal:
                z = z.masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), float("-inf"))
            a = self.softmax(z)
            y = torch.einsum("bhij,bhjd->bhid", a, v) if self.way == "einsum" else a @ v
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            x = self.norm(x + self.attend(x))
            return self.norm2(x + self.down(self.act(self.up(x))))
        x = x + self.attend(self.norm(x))
        return x + self.down(self.act(self.up(self.norm2(x))))


def stack(depth: int, std: float, **options: object) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), *(Block(**options) for _ in range(depth)))  # pyright: ignore
    for p in model.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=std)
    return model


def tokens(samples: int = 8) -> Tensor:
    return torch.randn(samples, TOKENS, WIDTH, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    "options", [{}, {"causal": False}, {"way": "hand"}, {"way": "einsum", "causal": False}, {"post": True}]
)
def test_two_blocks_of_unit_weights_are_forecast_within_a_tenth(options: dict[str, object]) -> None:
    modules = ["0", *(f"{block}.{part}" for block in (1, 2) for part in PARTS)]
    modules += ["1.softmax"] if "way" in options else []
    found = errors(lambda: stack(2, WIDTH**-0.5, **options), tokens, modules, seeds=3)
    for name, error in zip(modules, found, strict=True):
        assert error.forward == pytest.approx(0, abs=0.1), name
        assert error.backward == pytest.approx(0, abs=0.15 if "post" in options else 0.1), name


def test_attention_by_hand_is_forecast_as_the_fused_call_is() -> None:
    torch.manual_seed(0)
    fused, by_hand = stack(2, 0.05), stack(2, 0.05, way="hand")
    by_hand.load_state_dict(fused.state_dict())
    one, other = ut.forecast(fused, tokens()), ut.forecast(by_hand, tokens())
    for name in ("1.q#0", "1.k#0", "1.v#0", "2.out#0"):
        assert one[name].backward_rms == pytest.approx(other[name].backward_rms, rel=1e-9)
        assert one[name].forward_rms == pytest.approx(other[name].forward_rms, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("std", "within"), [(0.02, 0.05), (WIDTH**-0.5, 0.2)])
def test_a_stack_of_24_blocks_is_forecast_end_to_end(std: float, within: float) -> None:
    (first,) = errors(lambda: stack(24, std), tokens, ["0"], seeds=3)
    assert first.backward == pytest.approx(0, abs=within)


@pytest.mark.parametrize("batch_first", [True, False])
def test_an_encoder_of_torch_is_forecast(batch_first: bool) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(WIDTH, WIDTH)
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.1, batch_first=batch_first, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(self.first(x) if batch_first else self.first(x).transpose(0, 1))

    modules = ["first", *(f"layers.layers.0.{part}" for part in ("norm1", "self_attn", "norm2", "linear1", "linear2"))]
    for name, error in zip(modules, errors(Encoder, tokens, modules, seeds=3), strict=True):
        assert error == (pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.12)), name


def test_scores_that_no_initialisation_repeats_are_flagged() -> None:
    torch.manual_seed(0)
    calm, wild = stack(1, 0.02), stack(1, 3 * WIDTH**-0.5)
    assert not any("softmax_far_from_uniform" in s.flags for s in ut.forecast(calm, tokens()).sites)
    assert any("softmax_far_from_uniform" in s.flags for s in ut.forecast(wild, tokens()).sites)


def test_a_cross_entropy_gives_its_logits_their_backward_value() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(WIDTH, 50)
            nn.init.normal_(self.head.weight, std=WIDTH**-0.5)

        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            return F.cross_entropy(self.head(x).flatten(0, 1), labels.flatten())

    torch.manual_seed(0)
    model, labels = Classifier(), torch.randint(0, 50, (8, TOKENS))
    labels[:, -4:] = -100
    logits: list[Tensor] = []
    hook = model.head.register_forward_hook(lambda _m, _x, y: logits.append(y))
    loss = model(tokens(), labels)
    hook.remove()
    (delta,) = torch.autograd.grad(loss, logits)
    forecast = ut.forecast(model, (tokens(), labels))
    assert forecast["head"].backward_rms == pytest.approx(delta.square().mean().sqrt().item(), rel=0.03)
    assert forecast["forward:cross_entropy"].forward_rms == pytest.approx(loss.item(), rel=0.03)
