"""An activation of this package is seen however a model uses it: as a layer, or called by itself in forward."""

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.activations import recognise


class Called(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.act = ut.activation("swish", beta=1.5)

    def forward(self, x):
        return self.last(self.act(self.first(x)))


def factors(model: nn.Module) -> list[tuple[str, float]]:
    torch.manual_seed(1)
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    ledger = ut.examine(model, batch, nn.functional.cross_entropy).ledger
    assert ledger.entries[1].slope is not None
    assert ledger.entries[1].slope.activation == "swish"
    return [(e.site.effect, e.factor) for e in ledger]


def test_called_by_itself_or_as_a_layer_the_account_is_the_same():
    called = Called()
    layered = nn.Sequential(called.first, called.act.layer(), called.last)
    assert [effect for effect, _ in factors(called)] == ["weights", "activation", "weights"]
    assert factors(called) == factors(layered)


def test_an_activation_module_of_hugging_face_is_one_site_with_its_slope():
    hf = pytest.importorskip("transformers.activations")
    torch.manual_seed(0)
    first, last = nn.Linear(8, 8), nn.Linear(8, 3)
    plain, theirs = nn.Sequential(first, nn.GELU("tanh"), last), nn.Sequential(first, hf.NewGELUActivation(), last)
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    one, other = (ut.examine(m, batch, nn.functional.cross_entropy).ledger.entries for m in (plain, theirs))
    assert [e.site.effect for e in other] == ["weights", "activation", "weights"]
    assert other[1].slope == one[1].slope
    assert [e.factor for e in other] == pytest.approx([e.factor for e in one], rel=1e-5)


def test_an_activation_module_that_takes_a_keyword_or_works_in_place_is_seen_by_what_it_calls(monkeypatch):
    hf = pytest.importorskip("transformers.activations")

    class Swish(nn.Module):
        """As timm has it: its input is gone when it returns."""

        def __init__(self, inplace=True):
            super().__init__()
            self.inplace = inplace

        def forward(self, x):
            return x.mul_(x.sigmoid()) if self.inplace else x.mul(x.sigmoid())

    monkeypatch.setattr(Swish.forward, "__module__", "timm.layers.activations")

    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act, self.last = nn.Linear(8, 8), hf.NewGELUActivation(), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.act(input=self.first(x)))

    batch = torch.randn(16, 8), torch.randint(3, (16,))
    assert recognise(Swish()) == ut.activation("silu")
    for model, seen in ((nn.Sequential(nn.Linear(8, 8), Swish(), nn.Linear(8, 3)), "swish"), (Keyword(), "gelu_tanh")):
        ledger = ut.examine(model, batch, nn.functional.cross_entropy).ledger
        assert [e.site.effect for e in ledger] == ["weights", "activation", "weights"]
        assert [e.slope.activation for e in ledger if e.slope is not None] == [seen]
