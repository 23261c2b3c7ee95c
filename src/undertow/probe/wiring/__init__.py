"""How model, loss and optimizer hang together, seen once in the first measured steps."""
