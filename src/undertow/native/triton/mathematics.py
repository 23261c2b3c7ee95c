"""Elementary functions in float32 from + − × ÷ √ and bits, so that a GPU and Triton's interpreter compute the same.

Triton's own exp and log on NVIDIA GPUs are approximations (|x| · 2⁻²³ relative, and absolute near ln 1 = 0), and its
interpreter has no expm1, log1p, tanh or erfc.  They serve where `fast` says that the result is rounded to 16 bits:
to 1e-5, at a third of the instructions.  NaN passes through all; limits at ±∞ are exact.  The polynomials are
minimax, by `tools/fit_polynomials.py`.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN2_HIGH = tl.constexpr(0.693359375)  # 9 bits: exact times any exponent
LN2_LOW = tl.constexpr(-2.1219444005469057e-4)
MAGIC = tl.constexpr(12582912.0)  # 1.5 · 2²³: adding it rounds to a whole number, found in the low bits of the sum
MAGIC_BITS = tl.constexpr(0x4B400000)
SQRT_HALF_BITS = tl.constexpr(0x3F3504F3)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def ratio(a, b):
    """a / b for 2⁻¹²⁶ < |b| < 2¹²⁶, in two instructions and within 2 ulp on a GPU."""
    return tl.fdiv(a, b, approx=True)


@triton.jit
def exp_rest(r):
    """(e^r − 1 − r) / r², |r| ≤ ln 2 / 2."""
    y = (((0.00019917972 * r + 0.001394619) * r + 0.008333265) * r + 0.04166627) * r + 0.16666667
    return y * r + 0.5


@triton.jit
def log_rest(f):
    """(ln(1 + f) − f + f²/2) / f³, √½ ≤ 1 + f ≤ √2."""
    y = (((0.06915368 * f - 0.117898077) * f + 0.11872976) * f - 0.12384348) * f + 0.14218658
    return (((y * f - 0.16669251) * f + 0.20002227) * f - 0.24999987) * f + 0.3333331


@triton.jit
def erf_rest(s):
    """erf z / z − 1, s = z² ≤ 1."""
    y = (((-9.680137e-06 * s + 0.00011270545) * s - 0.0008484711) * s + 0.005221075) * s - 0.026865445
    return ((y * s + 0.11283783) * s - 0.37612638) * s + 0.12837917


@triton.jit
def erfc_rest(t):
    """erfc z · e^(z²) · (1 + 2z), t = (z − 4) / (z + 4), 0 ≤ z ≤ 10.1."""
    y = (((0.0008850622 * t + 0.0070259036) * t - 0.0158883072) * t + 0.036424268) * t - 0.06663839
    y = (((y * t + 0.09381733) * t - 0.100990735) * t + 0.06809373) * t + 0.015377377
    return (y * t - 0.13962108) * t + 1.2329952


@triton.jit
def atan_rest(s):
    """(atan a − a) / a³, s = a² ≤ tan²(π/8)."""
    return (((-0.060830824 * s + 0.10595862) * s - 0.14243831) * s + 0.19998488) * s - 0.33333316


@triton.jit
def power_of_two(n):
    """2ⁿ for −126 ≤ n ≤ 127; the GPU's own exp2 flushes subnormal results to 0."""
    return ((n + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def reduced(x):
    """A whole n and r with x = n ln 2 + r, |r| ≤ ln 2 / 2."""
    shifted = x * LOG2_E + MAGIC
    k = shifted - MAGIC
    n = shifted.to(tl.int32, bitcast=True) - MAGIC_BITS
    return n, (x - k * LN2_HIGH) - k * LN2_LOW


@triton.jit
def exp_of_sum(x, rest):
    """e^(x + rest), |rest| < 1/8: for a product that was rounded to x."""
    n, r = reduced(minimum(maximum(x, -104.0), 89.0))
    r += rest
    y = (r + r * r * exp_rest(r)) + 1.0
    half = n >> 1  # in two steps: 2ⁿ may be subnormal, or too large by itself
    return y * power_of_two(half) * power_of_two(n - half)


@triton.jit
def exp(x, fast: tl.constexpr):
    return tl.exp(x) if fast else exp_of_sum(x, 0.0)


@triton.jit
def expm1(x, fast: tl.constexpr):
    if fast:
        y = tl.where(tl.abs(x) < 0.34, x + x * x * exp_rest(x), tl.exp(x) - 1.0)
    else:
        n, r = reduced(minimum(maximum(x, -26.0), 89.0))
        half = power_of_two(n - 1)
        y = (half * (r + r * r * exp_rest(r)) + (half - 0.5)) * 2.0
    return y


@triton.jit
def log_of_sum(x, rest):
    """ln x + rest for x ≥ 0, rest small against ln x or against 1."""
    tiny = x < 1.1754943508222875e-38
    bits = tl.where(tiny, x * 16777216.0, x).to(tl.int32, bitcast=True)
    n = (bits - SQRT_HALF_BITS) >> 23
    f = (bits - (n << 23)).to(tl.float32, bitcast=True) - 1.0
    k = n.to(tl.float32) - tl.where(tiny, 24.0, 0.0)
    square = f * f
    low = f * square * log_rest(f) + (k * LN2_LOW + rest)
    y = (low - 0.5 * square) + f + k * LN2_HIGH
    y = tl.where(x == float("inf"), x, y)
    return tl.where(x == 0.0, float("-inf"), tl.where(x >= 0.0, y, float("nan")))


@triton.jit
def log(x):
    return log_of_sum(x, 0.0)


@triton.jit
def log1p(x, fast: tl.constexpr):
    u = 1.0 + x
    if fast:
        near = x - x * x * (0.5 - x * (0.33333334 - x * (0.25 - x * 0.2)))
        y = tl.where(tl.abs(x) < 0.06, near, tl.log(u))
    else:
        rest = tl.where(x < 1.0, x - (u - 1.0), 1.0 - (u - x))  # what 1 + x has lost
        y = log_of_sum(u, tl.where(tl.abs(rest) <= 1.0, ratio(rest, u), 0.0))
    return y


@triton.jit
def sigmoid(x, fast: tl.constexpr):
    e = exp(-tl.abs(x), fast)
    return ratio(tl.where(x < 0.0, e, 1.0), 1.0 + e)


@triton.jit
def softplus(x, fast: tl.constexpr):
    return maximum(x, 0.0) + log1p(exp(-tl.abs(x), fast), fast)


@triton.jit
def log_sigmoid(x, fast: tl.constexpr):
    return minimum(x, 0.0) - log1p(exp(-tl.abs(x), fast), fast)


@triton.jit
def with_sign(size, x):
    return tl.where(x < 0.0, -size, size)


@triton.jit
def tanh(x, fast: tl.constexpr):
    e = expm1(-2.0 * tl.abs(x), fast)
    return tl.where(x == 0.0, x, with_sign(ratio(-e, 2.0 + e), x))


@triton.jit
def sinh(x, fast: tl.constexpr):
    size = tl.abs(x)
    e = expm1(minimum(size, 87.0), fast)
    half = exp(0.5 * size, fast)
    y = tl.where(size < 87.0, 0.5 * (e + ratio(e, 1.0 + e)), half * 0.5 * half)
    return tl.where(x == 0.0, x, with_sign(y, x))


@triton.jit
def cosh(x, fast: tl.constexpr):
    half = exp(0.5 * tl.abs(x), fast)
    return half * 0.5 * half + ratio(ratio(0.5, half), half)


@triton.jit
def asinh(x, fast: tl.constexpr):
    size = tl.abs(x)
    near = minimum(size, 1e4)
    square = near * near
    y = log1p(near + ratio(square, 1.0 + tl.sqrt_rn(1.0 + square)), fast)
    y = tl.where(size > 1e4, log(size) + 0.6931471805599453, y)
    return tl.where(x == 0.0, x, with_sign(y, x))


@triton.jit
def erfc_of_size(z, fast: tl.constexpr):
    """erfc z for z ≥ 0, relative to itself in the tail."""
    z = minimum(z, 10.5)
    t = ratio(z - 4.0, z + 4.0)
    scaled = ratio(erfc_rest(t), 1.0 + 2.0 * z)  # erfc(z) e^(z²)
    if fast:
        tail = tl.exp(-z * z)
    else:
        high = (z.to(tl.int32, bitcast=True) & 0x7FFFF000).to(tl.float32, bitcast=True)  # 12 bits: its square is exact
        tail = exp_of_sum(-high * high, -(z - high) * (z + high))
    return tail * scaled


@triton.jit
def erfc(x, fast: tl.constexpr):
    size = tl.abs(x)
    y = erfc_of_size(size, fast)
    y = tl.where(x < 0.0, 2.0 - y, y)
    if not fast:
        y = tl.where(size < 0.5, 1.0 - (x + x * erf_rest(x * x)), y)
    return y


@triton.jit
def erf(x, fast: tl.constexpr):
    size = tl.abs(x)
    far = with_sign(1.0 - erfc_of_size(size, fast), x)
    return tl.where(size < 1.0, x + x * erf_rest(x * x), far)


@triton.jit
def atan(x):
    size = tl.abs(x)
    inverted = size > 2.414213562373095
    turned = (size > 0.41421356237309503) & (size <= 2.414213562373095)
    above = tl.where(inverted, -1.0, tl.where(turned, size - 1.0, size))
    below = tl.where(inverted, size, tl.where(turned, size + 1.0, 1.0))
    a = ratio(above, below)
    start = tl.where(inverted, 1.5707963267948966, tl.where(turned, 0.7853981633974483, 0.0))
    square = a * a
    y = start + (a + a * square * atan_rest(square))
    return tl.where(size < 1e-4, x, with_sign(y, x))


@triton.jit
def sign(x):
    return tl.where(x > 0.0, 1.0, 0.0) - tl.where(x < 0.0, 1.0, 0.0)
