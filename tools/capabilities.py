"""Write `docs/capabilities.md`: function × capability, by the checks that the tests run.

python tools/capabilities.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "capabilities.md"
HEAD = """\
# What every activation can do

Written by `make capabilities` from `tests/activations/capability_checks.py`, on the CPU with torch {torch};
`make test-all` asserts the same table.  {full} of {all} cells hold.

| column | what the check asserts |
| --- | --- |
| backward | the gradient of a weighted sum is its central difference, in float64 |
| double backward, third derivative | the same of the gradient, and of the Hessian times a vector |
| forward mode | `torch.func.jvp` and dual numbers give the central difference |
| forward over reverse | `jvp` of `grad` is the Hessian times a vector |
| vmap, vmap of grad | what a loop over the samples gives |
| autocast | between two linear layers in bfloat16: the dtype is kept, gradients are finite |
| complex, integer refused | `InputError` says what was got and what to type |
| float16, bfloat16 | value and gradient are the rounded float64 ones, in the dtype of the input |
| any layout | gaps, transposed memory and channels_last give the same numbers; elementwise ones keep it |
| empty, single | no samples; an elementwise function takes a single number |
| meta | shapes without values |
| pickle, deepcopy | definition and layer come back with the same results; `torch.save`, `state_dict` |
| lean | at most 4 bytes are held until the backward pass for each element of a float32 input, FReLU's 8 |
| compile | `torch.compile(fullgraph=True)`, forward and backward |
| ONNX | `torch.onnx.export(dynamo=True)` into standard operators; onnxruntime gives the same within float32 |

In ONNX there is Erf and no Erfc, so an exported gelu is 0 from x = −5.5 on to the left, as torch's own is.
"""


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "activations"))
    import capability_checks  # pyright: ignore[reportMissingImports]

    warnings.simplefilter("ignore")  # of torch's own compiler and exporter
    table = capability_checks.table()
    held = {s.name: capability_checks.held_for_backward(s) for s in capability_checks.subjects()}
    cells = [(name, [name not in wrong for wrong in table.values()]) for name in held]
    full, every = sum(sum(row) for _, row in cells), len(cells) * len(table)
    lines = [
        HEAD.format(torch=torch.__version__.split("+")[0], full=full, all=every),
        f"| function | {' | '.join(table)} | bytes held |",
        f"| --- |{' :-: |' * len(table)} --: |",
        *(f"| {n} | {' | '.join('✓' if ok else 'no' for ok in row)} | {held[n]:g} |" for n, row in cells),
    ]
    for capability, wrong in table.items():
        for name, reason in wrong.items():
            print(f"{name}: {capability}: {reason}", file=sys.stderr)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {full} of {every} cells hold")


if __name__ == "__main__":
    main()
