"""Where the first value that is not finite arose, by running its step again on the side."""
