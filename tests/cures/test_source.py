"""Cures that are written into the user's source: the trial runs the text that the patch shows."""

import copy
import importlib.util
import inspect
import linecache
import pickle
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import written_nets
from cure_nets import training
from torch import nn

from undertow.cures import Cure, NotApplicableError, Training, chosen
from undertow.cures.search.together import Together
from undertow.cures.surgery.source import Edit, apply_edits_, spliced
from undertow.foundation import ModelError

TANH = "\n                .tanh()"
PARTS = {
    "Detached:reconnect": ["torch.tanh(self.first(x)).detach() -> torch.tanh(self.first(x))"],
    "Data:reconnect": ["h.data -> h"],
    "Decorated:reconnect": ["h.detach() -> h"],
    "Chained:reconnect": [f"self.first(x){TANH}{TANH.replace('tanh', 'detach')} -> self.first(x){TANH}"],
    "Threshold:smooth_step relu": ["(ü > 0.5).float() -> torch.relu(ü - 0.5)"],
    "Threshold:smooth_step sigmoid": ["(ü > 0.5).float() -> torch.sigmoid(ü - 0.5)"],
    "Signs:smooth_step relu": ["torch.sign(h) -> torch.tanh(h)"],
    "Signs:straight_through": ["torch.sign(h) -> torch.sign(h) + h - h.detach()"],
    "Logarithm:safe_where": ["h -> torch.where(h > 0, h, 1.0)"],
    "Logarithm:bounded_operand": ["h -> h.clamp(min=1e-07)"],
    "Root:bounded_operand": ["h -> h.clamp(min=1e-07)"],
    "OneUnit:sigmoid_output": [
        "F.softmax(self.head(torch.tanh(self.body(x))), dim=-1) -> torch.sigmoid(self.head(torch.tanh(self.body(x))))"
    ],
    "Twice:logits": ["self.out(torch.tanh(self.first(x))).softmax(dim=1) -> self.out(torch.tanh(self.first(x)))"],
    "OverBatch:class_axis": ["0 -> -1"],
    "Helped:relu": ["torch.sigmoid(h) -> torch.relu(h)"],
    "Derived:leaky_relu": ["torch.sigmoid(h) -> F.leaky_relu(h, 0.01)"],
}
FAULTS = [name for name in PARTS if not name.endswith(("relu", "logits", "class_axis")) or "step" in name]


def given(net: str) -> Training:
    torch.manual_seed(0)
    model = getattr(written_nets, net)()
    if net == "OneUnit":
        return training(model, loss=lambda output, target: F.binary_cross_entropy(output, (target > 1).float()))
    return training(model, loss=F.nll_loss if net == "OverBatch" else F.cross_entropy)


def one(name: str) -> Cure:
    return chosen([name])[0]


def short(edits: tuple[Edit, ...]) -> list[str]:
    return [f"{e.old} -> {e.new}" for e in edits]


@pytest.fixture
def patched(tmp_path: Path):
    """The module `written_nets` as a user would have it after writing the edits into the file."""

    def load(edits: tuple[Edit, ...]):
        file = Path(written_nets.__file__)
        assert {e.file for e in edits} == {str(file)}
        target = tmp_path / "patched_nets.py"
        target.write_text(spliced(file.read_text(), edits))
        spec = importlib.util.spec_from_file_location("patched_nets", target)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["patched_nets"] = module
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("patched_nets", None)


@pytest.mark.parametrize("pair", PARTS)
def test_the_trial_runs_what_the_patched_file_runs(pair: str, patched):
    net, _, name = pair.partition(":")
    case = given(net)
    edits = one(name).edits(case)
    assert short(edits) == PARTS[pair]
    cured = one(name).apply(case)
    by_hand = getattr(patched(edits), net)()
    by_hand.load_state_dict(cured.model.state_dict())
    x = case.batches[0][0]  # pyright: ignore[reportIndexIssue]
    assert torch.equal(cured.model(x), by_hand(x))
    assert isinstance(cured.model, getattr(written_nets, net))
    assert type(case.model) is getattr(written_nets, net)
    again = pickle.loads(pickle.dumps(copy.deepcopy(cured.model)))
    assert torch.equal(again(x), by_hand(x))
    patch = one(name).patch(case)
    assert all(f"#     {line}\n" in patch for edit in edits for line in edit.new.split("\n"))


@pytest.mark.parametrize("pair", FAULTS)
def test_every_weight_that_is_used_gets_a_finite_gradient(pair: str):
    net, _, name = pair.partition(":")
    cured = one(name).apply(given(net))
    x, y = cured.batches[0]  # pyright: ignore[reportIndexIssue]
    cured.loss(cured.model(x), y).backward()
    first = next(cured.model.parameters())
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
    assert first.grad.abs().max() > 0


def test_a_block_without_gradients_is_opened(patched):
    case = given("Ungraded")
    (edit,) = one("reconnect").edits(case)
    assert edit.old.startswith("with torch.no_grad():")
    assert edit.new == "h = self.first(x)\n        # what follows is fine\n        h = torch.tanh(h)"
    cured = one("reconnect").apply(case)
    x, y = case.batches[0]  # pyright: ignore[reportIndexIssue]
    cured.loss(cured.model(x), y).backward()
    assert all(p.grad is not None for p in cured.model.parameters())
    by_hand = patched((edit,)).Ungraded()
    by_hand.load_state_dict(cured.model.state_dict())
    assert torch.equal(cured.model(x), by_hand(x))


def test_gates_and_outputs_stay():
    assert short(one("relu").edits(given("Gated"))) == []
    assert "calls sigmoid, tanh in forward" in str(one("relu").applies(given("Gated")))
    assert one("relu").edits(given("OverBatch")) != ()
    assert all("softmax" not in e.old or "tanh" in e.old for e in one("relu").edits(given("OverBatch")))


def test_cures_of_source_go_together():
    case = given("Detached")
    both = Together((one("reconnect"), one("relu")))
    (edit,) = both.edits(case)  # one inside of the other
    assert (edit.old, edit.new) == ("torch.tanh(self.first(x)).detach()", "torch.relu(self.first(x))")
    cured = both.apply(case)
    x, y = case.batches[0]  # pyright: ignore[reportIndexIssue]
    cured.loss(cured.model(x), y).backward()
    assert cured.model.first.weight.grad is not None


def test_modules_at_the_output_are_exchanged_in_the_model():
    body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(1))
    case = training(body, loss=lambda output, target: F.binary_cross_entropy(output[:, 0], (target > 1).float()))
    cured = one("sigmoid_output").apply(case)
    assert isinstance(cured.model[3], nn.Sigmoid)
    exec(one("sigmoid_output").patch(case), {"model": case.model})
    assert isinstance(case.model[3], nn.Sigmoid)

    def three(end: nn.Module, loss) -> Training:
        return training(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), end), loss=loss)

    assert isinstance(one("logits").apply(three(nn.Softmax(1), F.cross_entropy)).model[3], nn.Identity)
    assert isinstance(one("logits").apply(three(nn.Sigmoid(), F.cross_entropy)).model[3], nn.Identity)
    assert str(one("logits").apply(three(nn.Softmax(1), F.nll_loss)).model[3]) == "LogSoftmax(dim=1)"
    assert str(one("class_axis").apply(three(nn.LogSoftmax(0), nn.NLLLoss())).model[3]) == "LogSoftmax(dim=-1)"
    assert one("logits").applies(three(nn.LogSoftmax(1), F.cross_entropy)) is not None
    assert one("class_axis").applies(three(nn.LogSoftmax(1), F.nll_loss)) is not None


def test_an_output_that_cannot_reach_its_targets_is_opened():
    def case(net: str, scale: float) -> Training:
        torch.manual_seed(0)
        made = training(getattr(written_nets, net)(), loss=F.mse_loss)
        made.batches = [(x, x[:, 0].abs() * scale) for x, _ in made.batches]  # pyright: ignore
        return made

    assert short(one("linear_output").edits(case("Bounded", 50.0))) == ["torch.sigmoid(y) -> y"]
    (edit,) = one("linear_output").edits(case("Rectified", 1.0))
    assert edit.new == "self.out(torch.tanh(self.body(x))).squeeze(1)"
    assert "no activation on the output" in str(one("linear_output").applies(case("Bounded", 0.1)))
    given = training(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1), nn.Tanh()), loss=F.mse_loss)
    given.batches = [(x, x[:, :1] * 40) for x, _ in given.batches]  # pyright: ignore
    assert isinstance(one("linear_output").apply(given).model[3], nn.Identity)


def test_healthy_code_is_left_alone():
    case = given("Helped")
    for name in ("reconnect", "smooth_step", "straight_through", "safe_where", "bounded_operand"):
        for cure in chosen([name]):
            assert cure.applies(case) is not None
            with pytest.raises(NotApplicableError):
                cure.apply(case)
    for name in ("sigmoid_output", "class_axis", "logits"):
        assert one(name).applies(case) is not None


def test_a_stop_gradient_on_purpose_is_no_cut():
    class Through(written_nets.Layers):
        def forward(self, x):
            h = self.first(x)
            return self.out(self.second(h + (torch.sign(h) - h).detach()))

    assert one("reconnect").applies(training(Through())) is not None


def test_source_that_cannot_be_told_is_refused():
    space = {"nn": nn, "torch": torch, "__name__": "typed"}
    text = inspect.getsource(written_nets.Layers) + inspect.getsource(written_nets.Detached)
    exec(compile(text.replace(": Tensor) -> Tensor", ")"), "<typed>", "exec"), space)
    assert one("reconnect").applies(training(space["Detached"]())) is not None  # pyright: ignore[reportOperatorIssue]


def test_a_file_that_was_changed_since_is_refused(tmp_path: Path):
    file = tmp_path / "changing_nets.py"
    file.write_text(Path(written_nets.__file__).read_text())
    spec = importlib.util.spec_from_file_location("changing_nets", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    case = training(module.Detached())
    (edit,) = one("reconnect").edits(case)
    file.write_text(file.read_text().replace("torch.tanh(self.first(x)).detach()", "torch.tanh(self.first(x) + 1)"))
    linecache.checkcache()
    with pytest.raises(ModelError, match="isn't the code that runs"):
        apply_edits_(case, [edit])


def test_edits_are_refused_where_something_else_stands():
    edit = Edit("a.py", 1, 4, 1, 5, "x", "y")
    assert spliced("a = x\n", [edit]) == "a = y\n"
    for text in ("a = z\n", "a = zx\n"):
        with pytest.raises(ModelError, match="isn't the code that runs"):
            spliced(text, [edit])
    overlapping = Edit("a.py", 1, 0, 1, 5, "a = x", "pass")
    with pytest.raises(ModelError):
        spliced("a = x\n", [edit, overlapping])


def test_a_loss_of_the_users_is_edited_too():
    def scaled(value: torch.Tensor) -> torch.Tensor:
        return value * 3.0

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return scaled(F.cross_entropy(output, target))

    case = training(written_nets.Helped(), loss=loss)
    file, first = inspect.getsourcefile(scaled), inspect.getsourcelines(scaled)[1]
    assert file is not None
    line = linecache.getline(file, first + 1)
    column = line.index("value * 3.0")
    edit = Edit(file, first + 1, column, first + 1, column + len("value * 3.0"), "value * 3.0", "value * 6.0")
    x, y = case.batches[0]  # pyright: ignore[reportIndexIssue]
    before = case.loss(case.model(x), y)
    apply_edits_(case, [edit])
    assert torch.equal(case.loss(case.model(x), y), before * 2)
    assert torch.equal(loss(case.model(x), y), before)
    with pytest.raises(ModelError, match="no method of the model's modules"):
        apply_edits_(training(written_nets.Helped()), [edit])
