"""One forward pass, every torch call that takes part in the gradient, and its backward pass as an account."""
