"""Initialisers: `match_` sets weights by the gain of the activation that follows them."""

from undertow.theory import match_ as match_
