"""Data sets, encoders and transforms for evsim."""
