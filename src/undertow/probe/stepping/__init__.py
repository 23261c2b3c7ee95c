"""The training loop: when a pass ends and an optimizer steps, and what the gradient is at each stage."""
