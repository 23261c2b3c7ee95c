"""Cures written into user files of many kinds: the patched file is the trial's training, and nothing else changes."""

import functools
import importlib.util
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from undertow.cures import NotApplicableError, Training, all_cures, chosen
from undertow.cures import cure as search
from undertow.cures.patching import Patched, patched, prove, write
from undertow.cures.search.together import Together
from undertow.cures.trials.seeding import seed_everything
from undertow.foundation import InputError

SCRIPTS = {path.stem: path for path in sorted((Path(__file__).parent / "scripts").glob("*.py"))}
INLINE = """\
import torch
from torch import nn
import undertow as ut


def model_and_optimizer():
    net = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    return net, torch.optim.Adam(net.parameters(), lr=3e-3, betas=(0.8, 0.99))


def batches():
    x = torch.randn(128, 6, generator=torch.Generator().manual_seed(7))
    return list(zip(x.split(16), (x[:, 0] > 0).long().split(16)))


def make(seed): return ut.Training(*model_and_optimizer(), nn.functional.cross_entropy, batches())
"""
KINDS = {
    ("sequential", "relu"): "edited in place",
    ("sequential", "batch_norm"): "edited in place",
    ("sequential", "residual"): "lines inserted",
    ("loop_class", "adam"): "edited in place",
    ("loop_class", "clip_norm"): "edited in place",
    ("functional", "gelu"): "edited in place",
    ("functional", "standardise"): "lines inserted",
    ("helpers", "relu"): "edited in place",
    ("helpers", "learning_rate ×10"): "edited in place",
    ("groups", "adam"): "lines inserted",
    ("lstm", "forget_bias"): "lines inserted",
    ("lstm", "clip_value"): "edited in place",
    ("rnn", "gated_recurrence"): "edited in place",
    ("transformer", "learning_rate ×0.1"): "edited in place",
    ("conv", "leaky_relu"): "edited in place",
    ("conv", "momentum"): None,  # it has momentum already
    ("regression", "standardise_targets"): "lines inserted",
    ("regression", "linear_output"): "edited in place",
    ("regression", "warm_up"): "lines inserted",
    ("inline", "zero_bias"): "lines inserted",
    ("inline", "clip_norm"): "edited in place",
    ("inline", "standardise"): "lines only",
}


@pytest.fixture
def placed(tmp_path: Path):
    """A script as a file of its own, formatted at the standard width, loaded as a user's program would be."""
    names: list[str] = []

    def load(name: str, text: str | None = None, newline: str = "\n"):
        path = tmp_path / f"{name}.py"
        text = text or (INLINE if name == "inline" else SCRIPTS[name].read_text())
        path.write_bytes(text.replace("\n", newline).encode())
        if name in SCRIPTS:
            subprocess.run([sys.executable, "-m", "ruff", "format", "-q", "--isolated", path], check=True)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        names.append(name)
        spec.loader.exec_module(module)
        return module.make

    yield load
    for name in names:
        sys.modules.pop(name, None)


def one(label: str):
    return chosen([label])[0]


def check_patch(make, cure) -> Patched:
    found = patched(make, cure)
    if found.kind == "lines only":
        assert found.why_not
        assert not found.source
        assert not found.diff
        return found
    assert found.exact, found.diff
    assert not found.why_not
    compile(found.source, "patched", "exec")
    kept = [line[1:] for line in found.diff.splitlines()[2:] if line.startswith((" ", "-"))]
    assert all(line in found.original.splitlines() for line in kept)
    return found


def is_formatted(text: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout == text


@pytest.mark.parametrize(("script", "label"), KINDS)
def test_the_patched_file_is_the_trials_training(script: str, label: str, placed):
    make = placed(script)
    if KINDS[script, label] is None:
        with pytest.raises(NotApplicableError):
            patched(make, one(label))
        return
    found = check_patch(make, one(label))
    assert found.kind == KINDS[script, label]
    if found.source and script != "inline":
        assert is_formatted(found.source)


@pytest.mark.slow
@pytest.mark.parametrize("script", [*SCRIPTS, "inline"])
def test_every_cure_on_every_script(script: str, placed):
    make = placed(script)
    refused = {"lines only": set(), "unformatted": set()}
    for cure in all_cures():
        seed_everything(0)
        if cure.applies(make(0)):
            continue
        found = check_patch(make, cure)
        if found.kind == "lines only":
            refused["lines only"].add(cure.label)
        elif script != "inline" and not is_formatted(found.source):
            refused["unformatted"].add(cure.label)
    # Whole helper classes are pasted as they are written in the package, whose lines are longer.
    pasted = {"qk_norm"} & refused["unformatted"]
    assert refused == {"lines only": {"standardise"} if script == "inline" else set(), "unformatted": pasted}


def test_two_cures_together(placed):
    found = check_patch(placed("sequential"), Together((one("relu"), one("adam"), one("clip_norm"))))
    assert found.kind == "edited in place"
    added = [line[1:].strip() for line in found.diff.splitlines()[2:] if line.startswith("+")]
    assert added == [
        "nn.ReLU(),  # the fault",
        "nn.ReLU(),",
        "ut.init.match_(model)  # weights drawn with the gain of these activations",
        "optimizer = torch.optim.Adam(model.parameters(), lr=0.001)",
        "return ut.Training(model, optimizer, nn.functional.cross_entropy, batches, clip=1.0)",
    ]


def test_a_rate_that_is_a_constant_stays_one(placed):
    found = check_patch(placed("loop_class"), one("learning_rate ×0.1"))
    changes = [line for line in found.diff.splitlines()[2:] if line[0] in "+-"]
    assert changes == ["-RATE = 0.05", "+RATE = 0.005"]


def test_names_of_an_import_are_kept_in_order(placed):
    found = check_patch(placed("loop_class"), one("adam"))
    assert "SGD" not in found.source
    assert "torch.optim.Adam(net.parameters(), lr=RATE)" in found.source
    assert "RATE = 0.001" in found.source


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_all_other_bytes_stay(newline: str, placed, tmp_path: Path):
    text = f"# -*- coding: utf-8 -*-\n# é, 활성화\n{INLINE.rstrip()}"  # and no newline at the end
    found = check_patch(placed("inline", text, newline), one("learning_rate ×10"))
    write(found, tmp_path / "cured.py")
    raw = (tmp_path / "inline.py").read_bytes()
    assert (tmp_path / "cured.py").read_bytes() == raw.replace(b"lr=3e-3", b"lr=0.03")
    assert "\\ No newline at end of file" not in found.diff  # the change is far from it
    assert found.diff.count("\n-") == found.diff.count("\n+") - 1 == 1


def test_a_byte_order_mark_and_another_encoding_stay(placed, tmp_path: Path):
    for mark, encoding in (("", "latin-1"), ("\ufeff", "utf-8")):
        path = tmp_path / f"{encoding.replace('-', '_')}.py"
        path.write_bytes(f"{mark}# -*- coding: {encoding} -*-\n# é\n{INLINE}".encode(encoding))
        spec = importlib.util.spec_from_file_location("marked", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        written = write(check_patch(module.make, one("learning_rate ×10")), tmp_path / f"cured_{path.name}")
        assert written.read_bytes() == path.read_bytes().replace(b"lr=3e-3", b"lr=0.03")


def test_nothing_is_written_over(placed, tmp_path: Path):
    make = placed("sequential")
    found = patched(make, one("adam"))
    before = (tmp_path / "sequential.py").read_bytes()
    with pytest.raises(InputError, match="there already"):
        write(found, tmp_path / "sequential.py")
    assert (tmp_path / "sequential.py").read_bytes() == before
    with pytest.raises(InputError, match="cannot be written"):
        write(found, tmp_path / "nowhere" / "cured.py")
    assert write(found, tmp_path / "cured.py").read_text() == found.source
    with pytest.raises(InputError, match="lines only"):
        write(replace(found, source="", kind="lines only"), tmp_path / "other.py")


def test_without_a_file_there_are_lines(placed):
    make = placed("sequential")

    def inner(seed: int) -> Training:
        return make(seed)

    space: dict = {"make": make}
    exec("def typed(seed):\n    return make(seed)", space)
    for odd, words in (
        (functools.partial(make), "no function but a partial"),
        (lambda seed: make(seed), "not a function at the top"),
        (inner, "not a function at the top"),
        (space["typed"], "can't be read"),
    ):
        found = patched(odd, one("adam"))
        assert found.kind == "lines only"
        assert words in found.why_not
        assert "torch.optim.Adam" in found.lines


def test_a_script_that_would_train_on_import_is_not_run_again(placed):
    make = placed("script", INLINE)
    make.__module__ = "__main__"
    found = patched(make, one("zero_bias"))
    assert found.kind == "lines only"
    assert "whenever it is imported" in found.why_not


def test_a_file_that_cannot_be_run_again_is_told(placed):
    text = (
        "import sys\n\nif hasattr(sys, 'ran_before'):\n    raise RuntimeError('the data is gone')\nsys.ran_before = 1\n"
    )
    make = placed("script", text + INLINE)
    try:
        found = patched(make, one("zero_bias"))
    finally:
        del sys.ran_before  # pyright: ignore[reportAttributeAccessIssue]
    assert found.kind == "lines only"
    assert "the data is gone" in found.why_not


def test_a_model_from_elsewhere_gets_its_lines_before_the_training(placed, tmp_path: Path):
    (tmp_path / "parts_elsewhere.py").write_text(INLINE.partition("def make")[0])
    sys.path.insert(0, str(tmp_path))
    try:
        make = placed(
            "script",
            "import undertow as ut\nfrom torch import nn\n"
            "from parts_elsewhere import batches, model_and_optimizer\n\n\n"
            "def make(seed):\n    net, opt = model_and_optimizer()\n"
            "    return ut.Training(net, opt, nn.functional.cross_entropy, batches())\n",
        )
        found = check_patch(make, one("batch_norm"))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("parts_elsewhere", None)
    assert found.kind == "lines inserted"
    assert "opt = torch.optim.Adam(net.parameters(), lr=0.003, betas=(0.8, 0.99))" in found.source


def test_a_loop_of_the_users_own_is_told_of(placed):
    loop = "\n\nif __name__ == '__main__':\n    training = make(0)\n    training.optimizer.step()\n"
    make = placed("script", INLINE + loop)
    line = (INLINE + loop).splitlines().index("    training.optimizer.step()") + 1
    told = patched(make, one("clip_norm")).note
    assert told.startswith(f"script.py has a training loop of its own (line {line})")
    assert "its clip there" in told
    assert not patched(make, one("zero_bias")).note
    assert not patched(placed("inline"), one("clip_norm")).note


def test_names_that_the_user_has_stay_theirs(placed):
    text = SCRIPTS["sequential"].read_text().replace("model = nn.", "module = 3\n    model = nn.")
    text = text.replace("return ut.Training(", "assert module == 3\n    return ut.Training(")
    found = check_patch(
        placed("script", text.replace("def make", "class Skip:\n    pass\n\n\ndef make")), one("zero_bias")
    )
    assert "for module_ in model.modules():" in found.source
    found = check_patch(
        placed("other", text.replace("def make", "class Skip:\n    pass\n\n\ndef make")), one("residual")
    )
    assert "class Skip_(nn.Module):" in found.source


def test_the_patched_file_is_run_to_prove_it(placed):
    make = placed("sequential")
    verdicts = search(make, cures=["adam", "relu"], steps=20, progress=False, diagnose=False)
    state = torch.get_rng_state()
    same = prove(patched(make, one("adam")), verdicts["adam"], verdicts.seeds, verdicts.steps)
    assert same.equal
    assert same.holds
    assert same.metrics == verdicts["adam"].afters
    assert "bit for bit" in same.says
    drawn = prove(patched(make, one("relu")), verdicts["relu"], verdicts.seeds, verdicts.steps)
    assert (drawn.equal, drawn.equal_aligned, drawn.holds) == (False, True, True)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_patch_that_does_something_else_is_not_proven(placed):
    make = placed("sequential")
    verdict = search(make, cures=["adam"], steps=20, progress=False, diagnose=False)["adam"]
    found = patched(make, one("adam"))
    wrong = {name: getattr(found, name).replace("lr=0.001", "lr=1e-7") for name in ("source", "aligned")}
    other = prove(replace(found, **wrong), verdict, (0, 1, 2), 20)
    assert not other.equal
    assert not other.holds
    assert "not proven" in other.says
    broken = {name: getattr(found, name).replace("lr=0.001", "lr=-1") for name in ("source", "aligned")}
    failed = prove(replace(found, **broken), verdict, (0, 1, 2), 20)
    assert not failed.holds
    assert "Invalid learning rate" in failed.says
    assert all(map(math.isnan, failed.metrics))
    with pytest.raises(InputError, match="2 seeds"):
        prove(found, verdict, (0, 1))
