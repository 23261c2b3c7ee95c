"""A file a rule; each is found by itself."""
