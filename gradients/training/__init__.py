"""Training: a model to start from, the loop over epochs, and what is kept of a run."""
