"""Exact gradients and training of the networks that evsim simulates (needs torch)."""
