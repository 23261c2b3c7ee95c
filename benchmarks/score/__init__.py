"""How many faults the diagnosis finds, and how often it cries wolf: `make score`."""
