"""Write the digits that ship with the demo from scikit-learn's copy of the UCI test set: `python tools/make_digits.py`.

One line an image: 64 counts of 0..16, row by row, then the digit.  The bytes are the same each time.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]

TARGET = Path(__file__).parents[1] / "src/undertow/demo/data/digits.csv.gz"


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    rows = np.column_stack([images, labels]).astype(int)
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n"
    TARGET.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(f"{TARGET}: {len(rows)} images, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
