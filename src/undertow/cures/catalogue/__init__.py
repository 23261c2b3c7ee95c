"""The cures, a file each; a file put here is found by itself."""
