"""Blueprints by hand: `ut.forecast(ut.blueprint.mlp(50, 512, "tanh"))`."""

from undertow.theory.recipes import mlp as mlp
