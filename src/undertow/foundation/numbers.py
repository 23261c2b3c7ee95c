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
        return f"{_plain(mantissa)}×{_ten_to(int(exponent))}"
    places = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0) if rounded else 0
    return _plain(f"{rounded:,.{places}f}")


def power(value: float) -> str:
    """The nearest power of ten for very small and very large sizes (10⁻¹⁷), two digits for the others."""
    if not math.isfinite(value) or value <= 0 or 1e-2 <= value < 1e3:
        return written(value, 2)
    return _ten_to(round(math.log10(value)))


def share(value: float, digits: int = 0) -> str:
    """A share as a percentage: 0.958 is 96 %."""
    return f"{100 * value:.{digits}f} %".replace("-", "−") if math.isfinite(value) else "?"


def _ten_to(exponent: int) -> str:
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def _plain(text: str) -> str:
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


class Number(float):
    """A float that a message writes for a reader: `{x}` as `written`, `{x:2}`, `{x:power}`, `{x:share}`."""

    def __format__(self, spec: str) -> str:
        if spec == "power":
            return power(float(self))
        if spec == "share":
            return share(float(self))
        return written(float(self), int(spec) if spec else 3)
