"""Long lines are broken as ruff breaks them."""

import subprocess
import sys

import pytest

from undertow.cures.patching.layout import broken, fitted, one_line

LINES = [
    "return ut.Training(model, optimizer, nn.functional.cross_entropy, batches, clip=1.0, scheduler=scheduler)",
    'for name in ["layers.0", "layers.2", "layers.4", "layers.6", "layers.8", "layers.10", "layers.12"]:\n    pass',
    'for name, channels in {"first.activation": 4, "second.activation": 4, "third.activation": 8}.items():\n    pass',
    'revive_(net, {"layers.0": "layers.1", "layers.2": "layers.3", "layers.4": "layers.5"}, opt)',
    'add_skips(model, [["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"], ["10", "11"], ["12", "13"], ["14"]])',
    'optimizer = torch.optim.Adam([{"params": a.parameters(), "lr": 0.001}, {"params": b.parameters(), "lr": 0.1}])',
    "if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and module.bias is not None and True:\n    pass",
    "if isinstance(module_of_the_user, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):\n    pass",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("indent", ["", "    "])
def test_a_long_line_is_broken_as_ruff_breaks_it(line: str, indent: str):
    head, _, rest = line.partition("\n")
    body = "".join(f"\n{indent}{row}" for row in rest.splitlines())
    ours = "\n".join(broken(head, indent, 88, "    ")) + body
    before, start = ("if True:\n", 1) if indent else ("", 0)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    done = subprocess.run(command, input=f"{before}{indent}{head}{body}\n", capture_output=True, text=True, check=True)
    assert ours.split("\n") == done.stdout.rstrip("\n").split("\n")[start:]


def test_a_comment_behind_a_long_line_goes_above_it():
    assert broken("f(a_long_name)  # why", "    ", 20, "    ") == ["    # why", "    f(a_long_name)"]


def test_short_lines_stay_and_broken_ones_are_joined():
    assert broken("x = f(1)", "    ", 88, "    ") == ["    x = f(1)"]
    assert one_line("for n in [\n    1,\n    2,\n]:\n    f(n)\n") == "for n in [1, 2]:\n    f(n)\n"
    kept = "x = [\n    1,  # one\n    2,\n]\n"
    assert one_line(kept) == kept
    before = "y = f(\n    a_long_name, another\n)\nz = 1\n"
    assert fitted(before, before.replace("a_long_name", "a"), 88, "    ") == "y = f(a, another)\nz = 1\n"


def test_lines_that_the_user_wrote_are_left_alone():
    long = f"x = f({', '.join('abcdefgh' for _ in range(20))})\n"
    assert fitted(long, long + "y = 1\n", 88, "    ") == long + "y = 1\n"
