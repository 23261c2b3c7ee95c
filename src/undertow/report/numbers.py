"""How a measured number is written for a reader."""

from __future__ import annotations

import math

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def written(value: float, digits: int = 3) -> str:
    """The number with so many significant digits: 0.24, 1,797, 3.1×10⁻¹⁷, ∞."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded and not 1e-3 <= abs(rounded) < 1e5:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        return f"{_plain(mantissa)}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    places = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0) if rounded else 0
    return _plain(f"{rounded:,.{places}f}")


def _plain(text: str) -> str:
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def share(value: float, digits: int = 1) -> str:
    """A share as a percentage: 0.958 is 95.8 %."""
    return f"{100 * value:.{digits}f} %".replace("-", "−")


def exact(value: float) -> str:
    """Seven significant digits that `float` reads back, for the numbers of a diagram."""
    return f"{value:.7g}"


def position(value: float, low: float, high: float) -> float:
    """Where a size lies on the log scale from `low` to `high`, from 0 to 1; 0 for a size that is 0 or unknown."""
    if math.isnan(value) or value <= 0:
        return 0.0
    if math.isinf(value) or low >= high:
        return 1.0
    return min(max((math.log(value) - math.log(low)) / (math.log(high) - math.log(low)), 0.0), 1.0)
