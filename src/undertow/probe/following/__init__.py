"""A pass that runs as it did before is followed by a plan of it, at a fraction of the cost of tracing it anew."""
