"""Constants of activations to 106 bits: a float is √(2/π) only to 53."""

from __future__ import annotations

from fractions import Fraction


class Exact(float):
    """The double nearest to a decimal number; `lo` is the rest, to another 53 bits.

    Everything but `Twofold` takes it for the plain float that it is, and so does Python: 2 · SQRT_HALF has no rest, so
    write 2 · (x · SQRT_HALF).  (torch.compile can't trace a float that makes others of its own type.)
    """

    lo: float

    def __new__(cls, value: str | Fraction) -> Exact:
        self = super().__new__(cls, value)
        self.lo = float(Fraction(value) - Fraction(float(self)))
        return self

    def __getnewargs__(self) -> tuple[Fraction]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (fraction(self),)


def fraction(x: float) -> Fraction:
    """The number itself, with its rest where it has one."""
    return Fraction(float(x)) + Fraction(getattr(x, "lo", 0.0))


SQRT_HALF = Exact("0.707106781186547524400844362104849039284835938")
"""1/√2"""
SQRT_2 = Exact("1.41421356237309504880168872420969807856967188")
"""√2"""
SQRT_2_OVER_PI = Exact("0.797884560802865355879892119868763736951717262")
"""√(2/π)"""
TWO_OVER_SQRT_PI = Exact("1.12837916709551257389615890312154517168810126")
"""2/√π"""
RSQRT_2PI = Exact("0.398942280401432677939946059934381868475858631")
"""1/√(2π), the Gaussian density at 0"""
LN_2 = Exact("0.693147180559945309417232121458176568075500134")
"""ln 2"""
PI = Exact("3.14159265358979323846264338327950288419716940")
"""π"""
