"""Models on many ranks: what each says of its part, in one small message a measured step."""
