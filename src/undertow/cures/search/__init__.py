"""Which cures are worth a trial, and the race that finds the best of them."""
