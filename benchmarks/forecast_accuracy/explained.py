"""Why a row misses its target, or came to hold it: what was tried, with its numbers.  Printed below the row's table."""

from __future__ import annotations

EXPLAINED = {
    "plain512": """
*softplus, matched* was 0.87% a layer off, and not by scatter: over 60 seeds the mean-field value of ln δ at the first
layer is 0.29 ± 0.04 too low, and the wandering of the signal's size makes it 0.39.  The cause is that δ is not
independent of x.  Over 24 seeds, ‖Wᵀδ‖² over what independence makes of it adds 0.20 ± 0.02, the correlation of f′²
with δ² another 0.27 ± 0.03, most of both in the first ten layers.  A layer's weights hand back along x just what δ
holds along W x; where the signal grows on its way (here 150 times in size) and δ does not, that share grows from 1/n
with every layer back.  `theory/alignment.py` follows it, and the same 60 seeds are met to 0.06 ± 0.04 (0.05% a layer in
the seeds of this table).  At unstable points the share reaches a tenth while the signal's own size varies e-fold from
seed to seed; there no first order in 1/n holds, which *unstable* and *narrow* say.
""",
    "plain128": """
What is flagged has χ∥ > 1 (unstable), or β > 1 (narrow): sigmoid, matched, is met in its median, and 15% of its seeds
lie outside of an interval that is made for 5%.
""",
    "weights": """
*softplus, default* misses with few seeds and holds with many: 16% off in the median of 9 seeds, 0.9% in that of 40.
All samples are alike there (x·x′/x² = 1.0000), so that a weight's gradient is one vector, the sum of all samples' δ,
carried through one product of matrices: ln of its norm has a standard deviation of 0.24 over initialisations (0.11 for
the rms of δ, which averages over ten directions), and the median over seeds of 20 layers that share it moves as one.
""",
    "layernorm": """
With 25 to 100 seeds scatter and bias part.  Linear-f-norm was biased by 0.10 to 0.23 in ln δ end to end, for three
reasons of first order in 1/n: the scatter of s² behind an activation was counted twice; LayerNorm's s² has the kurtosis
of f about its mean, not about 0; and the direction x̂ that the norm takes from δ lies where f is steep (E[f′² x̂²] is
1.5 times E[f′²] for ReLU).  Now: relu-LayerNorm -0.02 ± 0.03, gelu-LayerNorm -0.01 ± 0.02, relu-RMSNorm 0.00 ± 0.03,
gelu-RMSNorm -0.01 ± 0.03, silu-RMSNorm 0.00 ± 0.02 (the last four over 100 seeds).  Of Linear-norm-f no bias is seen:
0.01 ± 0.06 for ReLU.  One initialisation of an RMSNorm or norm-first ReLU network has a standard deviation of 0.2 to
0.3, so that a median of 25 is known to 0.06 only.
""",
    "conv": """
*softplus, matched*: one initialisation of 64 channels has a standard deviation of 0.54 in ln δ end to end (its signal's
size wanders freely, κ = 1), so that a median of 40 seeds is known to 0.1; over those the error is 0.09, its mean 0.18 ±
0.09.  With four seeds it is 31%, with six 4%.
""",
    "ledger": """
*ResNet-18*: two causes were found and mended.  A shortcut past a ReLU is open where the next ReLU is (E[δ² f′²] is 8%
more than the product of its factors at every second block), and the sum of a ReLU's output and a normal one is skewed,
its variance behind the next ReLU 11% larger than for a normal sum.  Over 9 seeds the median site went from 5.2% to 3.3%
and the sites outside from 28% to 14%.  What is left are BatchNorms over many places: measured, E[1/s²] E[s²] over the
channels is 1.03 to 1.07 in the first stages, where 2,048 independent places would make it 1.001: neighbouring
positions are so alike that they count as 30 to 70.  Theory follows the mean product of two positions, not its
dependence on their distance, so that each such BatchNorm hands back 1.3 to 4.5% more than forecast.

*GPT-2*: under a causal mask the first tokens have more in common than the last ones; theory has one mean for all
pairs of positions.  The median site is 3% off.

*demo-exploding*: scatter of three seeds at width 64.  Over 40 seeds the median end to end is off by 0.08 in ln δ with
a standard deviation of 0.37 from one initialisation to the next, the median site by 6%, and 8% of sites lie outside.
""",
    "time": """
Two thirds of the time go to reading the module, a pass of torch's own fake tensors over 101 calls; the moments of both
passes take the rest.
""",
}
