"""One run of a training, and what several of them prove."""
