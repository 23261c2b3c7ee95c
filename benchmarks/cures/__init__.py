"""Whether the cures that `ut.cure` finds are any good: `make score-cures`."""
