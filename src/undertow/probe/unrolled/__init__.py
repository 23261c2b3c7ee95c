"""Fused layers opened for one batch: recurrent ones step by step, attention with its probabilities."""
